//! What a long stage tells its caller: the terminal draws it, the web page will stream it, tests record it.

use sources::DownloadProgress;

/// What is being counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes of a download or a file.
    Bytes,
    /// Rows of data.
    Rows,
    /// Files.
    Files,
    /// Words of text.
    Words,
}

/// What the training loop says, ready to be shown.
#[derive(Clone, Debug, PartialEq)]
pub enum TrainEvent {
    /// The loop is about to begin.
    Start {
        /// What trains, in one line.
        text: String,
        /// Optimizer steps already done (after a resumption).
        done_steps: u64,
        /// Optimizer steps of the whole run.
        total_steps: u64,
    },
    /// An optimizer step is done: for a live line that is overwritten.
    Step {
        /// Step, loss, learning rate, gradient norm, rate, memory, time left.
        text: String,
        /// Steps done.
        step: u64,
    },
    /// Something that stays: a log line, an evaluation, a checkpoint.
    Line(String),
    /// The loop ended.
    End,
}

/// Listens to a stage. One bar at a time; training has events of its own.
pub trait Progress {
    /// Something worth a line.
    fn note(&mut self, text: &str);
    /// Something that the user should not miss: rows left out, a fallback taken.
    fn warn(&mut self, text: &str);
    /// Countable work begins: `total` where known, `already` done by an earlier run.
    fn begin(&mut self, what: &str, total: Option<u64>, already: u64, unit: Unit);
    /// `n` more are done.
    fn advance(&mut self, n: u64);
    /// The work that was begun last ended.
    fn end(&mut self);
    /// The training loop says something.
    fn train(&mut self, event: &TrainEvent);
    /// Asked often: whether to stop, save what there is and return.
    fn cancelled(&self) -> bool;
}

/// Hears nothing, never stops.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn note(&mut self, _: &str) {}
    fn warn(&mut self, _: &str) {}
    fn begin(&mut self, _: &str, _: Option<u64>, _: u64, _: Unit) {}
    fn advance(&mut self, _: u64) {}
    fn end(&mut self) {}
    fn train(&mut self, _: &TrainEvent) {}
    fn cancelled(&self) -> bool {
        false
    }
}

/// Lets downloads speak through a stage's progress.
pub(crate) struct Downloads<'p>(pub &'p mut dyn Progress);

impl DownloadProgress for Downloads<'_> {
    fn start(&mut self, what: &str, total: Option<u64>, already: u64) {
        self.0.begin(what, total, already, Unit::Bytes);
    }
    fn advance(&mut self, n: u64) {
        self.0.advance(n);
    }
    fn finish(&mut self) {
        self.0.end();
    }
    fn note(&mut self, msg: &str) {
        self.0.note(msg);
    }
    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}
