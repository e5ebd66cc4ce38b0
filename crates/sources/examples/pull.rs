//! Brings the first of the given sources that works, and says what it is:
//! `cargo run -p sources --example pull -- [--offline] [--refresh] [--split NAME] SOURCE…`

use std::time::Duration;

use sources::{Lines, SourceError, SourceOptions, SourceSpec, Sources, Want};

fn main() {
    if let Err(error) = run() {
        eprintln!("error: {error}");
        std::process::exit(if error.is_user_input() { 2 } else { 1 });
    }
}

fn run() -> Result<(), SourceError> {
    let mut options = SourceOptions::from_env()?;
    let (mut specs, mut split) = (Vec::<SourceSpec>::new(), None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--offline" => options = options.offline(true),
            "--refresh" => options = options.refresh(true),
            "--split" => split = arguments.next(),
            source => specs.push(source.parse()?),
        }
    }
    let want = match (&split, specs.first()) {
        (Some(_), _) => Want::DatasetSplit { split },
        (None, Some(spec)) => spec.usual_want(),
        (None, None) => return Err(SourceError::NoSource),
    };
    let mut progress = Lines::new(std::io::stderr(), Duration::from_secs(1));
    let (index, found) = Sources::new(options).resolve_first(&specs, want, &mut progress)?;
    println!(
        "{}\n  from {}\n  root {}\n  sha256 {}\n  cached {}",
        specs[index],
        found.origin,
        found.root.display(),
        found.sha256,
        found.from_cache
    );
    for file in found.files {
        println!("  {}", file.display());
    }
    Ok(())
}
