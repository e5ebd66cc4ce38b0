//! Pages a second of text extraction: `cargo run --release -p documents --example pages_per_second -- FILE.pdf… [threads]`.
//!
//! Compare with `time pdftotext FILE.pdf /dev/null`.

use std::path::Path;
use std::time::Instant;

use documents::import::ReadOptions;
use documents::ingest;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let threads = arguments.last().and_then(|a| a.parse::<usize>().ok());
    if threads.is_some() {
        arguments.pop();
    }
    rayon::ThreadPoolBuilder::new().num_threads(threads.unwrap_or(2)).stack_size(32 << 20).build_global()?;
    for name in arguments {
        let bytes = std::fs::read(&name)?;
        let mut best = f64::MAX;
        let mut pages = 0;
        for _ in 0..3 {
            let begun = Instant::now();
            let read = ingest::read(Path::new(&name), bytes.clone(), &ReadOptions::default(), None, &|_| {})?;
            best = best.min(begun.elapsed().as_secs_f64());
            pages = read.pages.len();
        }
        println!("{name}: {pages} pages, {:.1} ms, {:.0} pages/s", 1e3 * best, pages as f64 / best);
    }
    Ok(())
}
