//! Progress on standard error: bars in a terminal, plain lines elsewhere, nothing when asked to be quiet.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use stages::{Progress, TrainEvent, Unit};

use crate::{output, stop};

/// Between two plain lines of the same work.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

/// How much is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Bars,
    Lines,
    Quiet,
}

/// The terminal as a stage's listener.
pub struct Screen {
    style: Style,
    bar: Option<ProgressBar>,
    what: String,
    total: Option<u64>,
    done: u64,
    here: u64,
    unit: Unit,
    begun: Instant,
    shown: Instant,
}

impl Screen {
    /// Bars if standard error is a terminal.
    pub fn new(quiet: bool) -> Self {
        let style = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Style::Quiet,
            (false, true) => Style::Bars,
            (false, false) => Style::Lines,
        };
        let now = Instant::now();
        Self { style, bar: None, what: String::new(), total: None, done: 0, here: 0, unit: Unit::Rows, begun: now, shown: now }
    }

    fn say(&self, text: &str) {
        match (&self.bar, self.style) {
            (_, Style::Quiet) => {}
            (Some(bar), Style::Bars) => bar.println(text),
            _ => output::note(text),
        }
    }

    fn count(&self, n: u64) -> String {
        match self.unit {
            Unit::Bytes => stages::human::bytes(n),
            Unit::Rows | Unit::Files | Unit::Words => n.to_string(),
        }
    }

    fn plain(&self) -> String {
        let rate = self.here as f64 / self.begun.elapsed().as_secs_f64().max(1e-3);
        let per = match self.unit {
            Unit::Bytes => format!("{}/s", stages::human::bytes(rate as u64)),
            Unit::Rows => format!("{rate:.0} rows/s"),
            Unit::Files => format!("{rate:.1} files/s"),
            Unit::Words => format!("{rate:.0} words/s"),
        };
        match self.total.filter(|t| *t > 0) {
            Some(total) => {
                let left = (total.saturating_sub(self.done)) as f64 / rate.max(1e-9);
                // Before the first piece is done there is no rate to judge by.
                let left = if self.done < total && self.here > 0 { format!(", {} left", stages::duration(left)) } else { String::new() };
                format!("{}: {} of {} ({}%), {per}{left}", self.what, self.count(self.done), self.count(total), self.done * 100 / total)
            }
            None => format!("{}: {}, {per}", self.what, self.count(self.done)),
        }
    }
}

impl Progress for Screen {
    fn note(&mut self, text: &str) {
        self.say(text);
    }

    fn warn(&mut self, text: &str) {
        match self.style {
            // What must not be missed is shown even when quiet.
            Style::Quiet => output::note(format_args!("warning: {text}")),
            _ => self.say(&format!("warning: {text}")),
        }
    }

    fn begin(&mut self, what: &str, total: Option<u64>, already: u64, unit: Unit) {
        let now = Instant::now();
        (self.what, self.total, self.done, self.here, self.unit) = (what.to_owned(), total, already, 0, unit);
        (self.begun, self.shown) = (now, now);
        if self.style == Style::Bars {
            let template = match unit {
                Unit::Bytes => "{msg} {wide_bar:.cyan/dim} {bytes}/{total_bytes} {bytes_per_sec} {eta} left",
                Unit::Rows | Unit::Files => "{msg} {wide_bar:.cyan/dim} {pos}/{len} {per_sec} {eta} left",
                Unit::Words if total.is_none() => "{msg} {spinner} {pos} words {per_sec}",
                Unit::Words => "{msg} {wide_bar:.cyan/dim} {pos}/{len} {per_sec} {eta} left",
            };
            let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr()).with_message(what.to_owned());
            bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_position(already);
            bar.reset_eta();
            self.bar = Some(bar);
        }
    }

    fn advance(&mut self, n: u64) {
        self.done += n;
        self.here += n;
        if let Some(bar) = &self.bar {
            bar.inc(n);
        } else if self.style == Style::Lines && self.total != Some(self.done) && self.shown.elapsed() >= PLAIN_INTERVAL {
            // (The last line is `end`'s.)
            self.shown = Instant::now();
            self.say(&self.plain());
        }
    }

    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        if !self.what.is_empty() {
            self.say(&self.plain());
            self.what.clear();
        }
    }

    fn train(&mut self, event: &TrainEvent) {
        match event {
            TrainEvent::Start { text, done_steps, total_steps } => {
                self.say(text);
                if self.style == Style::Bars {
                    let bar = ProgressBar::with_draw_target(Some(*total_steps), ProgressDrawTarget::stderr());
                    let style = ProgressStyle::with_template("{wide_bar:.cyan/dim} {msg}");
                    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                    bar.set_position(*done_steps);
                    self.bar = Some(bar);
                }
            }
            TrainEvent::Step { text, step } => {
                if let Some(bar) = &self.bar {
                    bar.set_position(*step);
                    bar.set_message(text.clone());
                }
            }
            TrainEvent::Line(text) => self.say(text),
            TrainEvent::End => {
                if let Some(bar) = self.bar.take() {
                    bar.finish_and_clear();
                }
            }
        }
    }

    fn cancelled(&self) -> bool {
        stop::asked()
    }
}
