//! Standard output and the end of the process: results as text or JSON, errors as miette shows them, exit codes.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};
use serde::Serialize;
use stages::StageError;

/// Writes one line to standard output. A reader that went away (`| head`) ends the process quietly, as other tools do.
pub fn line(text: impl fmt::Display) {
    let mut out = io::stdout().lock();
    if let Err(e) = writeln!(out, "{text}").and_then(|()| out.flush()) {
        let broken = e.kind() == io::ErrorKind::BrokenPipe;
        if !broken {
            note(format_args!("error: standard output: {e}"));
        }
        std::process::exit(if broken { 0 } else { 1 });
    }
}

/// Writes one line to standard error. One that nobody reads any more (`2>&1 | head`, a terminal that was closed) must not end the work
/// that it tells of.
pub fn note(text: impl fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// As [`line`], without ending the line: text that arrives in pieces.
pub fn piece(text: &str) {
    let mut out = io::stdout().lock();
    if write!(out, "{text}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// One JSON object on one line.
pub fn json(value: &impl Serialize) {
    match serde_json::to_string(value) {
        Ok(text) => line(text),
        Err(e) => {
            note(format_args!("error: the result cannot be written as JSON: {e}"));
            std::process::exit(1);
        }
    }
}

/// An error with its help, as miette wants it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Shown {
    message: String,
    help: Option<String>,
}

impl Diagnostic for Shown {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|h| Box::new(h) as Box<dyn fmt::Display>)
    }
}

/// Shows an error on standard error and gives the exit code: 2 for wrong input, 1 for failed work, 130 after Ctrl-C.
pub fn fail(error: &StageError) -> ExitCode {
    let shown = Shown { message: error.to_string(), help: error.help() };
    let terminal = io::stderr().is_terminal();
    let theme = match (terminal, std::env::var_os("NO_COLOR").is_none()) {
        (true, true) => GraphicalTheme::unicode(),
        (true, false) => GraphicalTheme::unicode_nocolor(),
        (false, _) => GraphicalTheme::none(),
    };
    let mut text = String::new();
    // Lines are not wrapped: `file:line: field` must survive a pipe into grep.
    let handler = GraphicalReportHandler::new_themed(theme).with_width(usize::MAX / 2).with_wrap_lines(false);
    if !terminal || handler.render_report(&mut text, &shown).is_err() {
        text = format!("error: {}", shown.message);
        if let Some(help) = &shown.help {
            text.push_str(&format!("\n  help: {help}"));
        }
    }
    note(text.trim_end());
    ExitCode::from(error.exit_code())
}
