//! What the loop tells its caller and asks of it: events, time, evaluation, and whether to stop.
//!
//! The loop prints nothing, reads no clock and knows no metric but its own loss; all of that comes in through the three
//! traits here, so that the command line and a server drive the same function.

use std::collections::BTreeMap;
use std::path::Path;

use engine::{Arena, ParamStore};
use model::Decoder;

/// Listens to a run. All methods have empty defaults except [`Observer::on`].
pub trait Observer {
    /// Something happened.
    fn on(&mut self, event: Event<'_>);

    /// Asked between any two batches: whether to save a checkpoint and return.
    fn should_stop(&mut self) -> bool {
        false
    }
}

/// An observer that hears nothing and never stops.
pub struct Silent;

impl Observer for Silent {
    fn on(&mut self, _: Event<'_>) {}
}

/// The time, from outside.
pub trait Clock {
    /// Seconds since some fixed moment; never goes back.
    fn seconds(&self) -> f64;

    /// Seconds since 1970.
    fn unix_time(&self) -> f64;
}

/// Why an evaluator failed.
pub type EvaluatorError = Box<dyn std::error::Error + Send + Sync>;

/// Judges the model in the midst of training.
pub trait Evaluator {
    /// Numbers by name (`loss`, `accuracy`, …), without the prefix `eval_`.
    ///
    /// # Errors
    /// Whatever goes wrong; it ends the run.
    fn evaluate(&mut self, decoder: &Decoder, params: &ParamStore, arena: &Arena) -> Result<BTreeMap<String, f64>, EvaluatorError>;
}

/// What happens in a run, in order.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The loop is about to begin.
    Start(&'a Start),
    /// The run goes on from a checkpoint.
    Resumed {
        /// The checkpoint's directory.
        checkpoint: &'a Path,
        /// Optimizer steps done.
        step: u64,
        /// Batches done of the step after those.
        batches: u64,
        /// Lines that were cut from `metrics.jsonl` because they came after the checkpoint.
        metrics_cut: u64,
    },
    /// An optimizer step is done.
    Step(&'a StepRecord),
    /// A line was written to `metrics.jsonl`: the mean since the last one.
    Logged(&'a LogRecord),
    /// An evaluation begins.
    EvaluationStarts {
        /// Optimizer steps done.
        step: u64,
    },
    /// An evaluation is done.
    Evaluated(&'a EvaluationRecord),
    /// A checkpoint is safely on disk.
    Saved {
        /// Its directory.
        checkpoint: &'a Path,
        /// Optimizer steps done.
        step: u64,
        /// Its size.
        bytes: u64,
    },
    /// An old checkpoint was removed (`save_total_limit`).
    Removed {
        /// The directory that is gone.
        checkpoint: &'a Path,
    },
    /// Something the reader should know: rows left out, a damaged checkpoint, early stopping, the best weights restored.
    Message(&'a str),
}

/// What is about to be trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// Rows to train on.
    pub rows: usize,
    /// Tokens of one epoch.
    pub tokens: u64,
    /// Trained tokens of one epoch.
    pub trained_tokens: u64,
    /// Optimizer steps of the whole run.
    pub total_steps: u64,
    /// Optimizer steps already done (after a resumption).
    pub done_steps: u64,
    /// Trainable numbers.
    pub trainable_parameters: u64,
    /// All numbers of the model, the trainable ones included.
    pub total_parameters: u64,
}

/// One optimizer step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepRecord {
    /// Steps done, this one included.
    pub step: u64,
    /// Steps of the whole run.
    pub total_steps: u64,
    /// Epochs passed.
    pub epoch: f64,
    /// Mean loss over the trained tokens of the step.
    pub loss: f64,
    /// Learning rate used.
    pub learning_rate: f64,
    /// Gradient norm before clipping.
    pub grad_norm: f64,
    /// Tokens of the step.
    pub tokens: u64,
    /// Trained tokens of the step.
    pub trained_tokens: u64,
    /// Tokens per second over the last few steps.
    pub tokens_per_second: f64,
    /// Seconds until the last step, without evaluations; estimated from the last few steps.
    pub seconds_left: f64,
}

/// One line of training metrics.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LogRecord {
    /// Steps done.
    pub step: u64,
    /// Epochs passed.
    pub epoch: f64,
    /// Mean loss over the trained tokens since the last line.
    pub loss: f64,
    /// Learning rate of the last step.
    pub learning_rate: f64,
    /// Gradient norm of the last step before clipping.
    pub grad_norm: f64,
    /// Tokens since the start of the run.
    pub tokens: u64,
    /// Trained tokens since the start of the run.
    pub trained_tokens: u64,
}

/// One evaluation in the midst of training.
#[derive(Clone, Debug, PartialEq)]
pub struct EvaluationRecord {
    /// Steps done.
    pub step: u64,
    /// Epochs passed.
    pub epoch: f64,
    /// Numbers by name, without the prefix `eval_`.
    pub metrics: BTreeMap<String, f64>,
    /// Whether it is the best so far by `metric_for_best_model`.
    pub best: bool,
    /// How long it took.
    pub seconds: f64,
}
