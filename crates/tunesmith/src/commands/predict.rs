//! `tunesmith predict RUN_OR_MODEL [TEXT… | --input FILE]`

use std::io::Read;

use stages::predict::{Input, Job};
use stages::{Result, StageError};

use super::{Context, open, sampling};
use crate::cli::Predict;
use crate::output;

pub fn run(context: &Context, args: &Predict) -> Result<()> {
    let input = match args.input.as_deref() {
        // The device by name is meant as lines, too: there is no file to look at twice.
        Some("-" | "/dev/stdin" | "/proc/self/fd/0") => Input::Texts(standard_input()?),
        Some(file) => Input::File(file.to_owned()),
        None if args.texts.is_empty() => {
            return Err(StageError::input_help(
                "nothing to predict",
                "give texts, or a file with --input (`-` reads lines from standard input)",
            ));
        }
        None => Input::Texts(args.texts.clone()),
    };
    let mut screen = context.screen();
    let mut opened = open(context, &args.target, &mut screen)?;
    let job = Job { input, show_prompt: args.show_prompt, batch_size: args.batch_size, sampling: sampling(&args.sampling) };
    // One JSON line a row in any case: predictions are for machines as much as for people.
    stages::predict::run(&context.environment, &mut opened, &job, &mut |row| output::json(row), &mut screen)
}

fn standard_input() -> Result<Vec<String>> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|e| StageError::input(format!("standard input: {e}")))?;
    Ok(text.lines().filter(|l| !l.trim().is_empty()).map(str::to_owned).collect())
}
