//! What can go wrong in training, said so that the reader knows what to do next.
//!
//! Each error knows whether the user's input is to blame (exit code 2) or the work failed (exit code 1); see
//! [`TrainError::is_user_input`].

use std::path::PathBuf;

/// Result of this crate.
pub type Result<T> = std::result::Result<T, TrainError>;

/// Any failure of training.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A setting has a value that cannot be honoured.
    #[error("{key}: {value}: {why}")]
    Setting {
        /// The key of the recipe.
        key: &'static str,
        /// Its value.
        value: String,
        /// Why it is refused, and what to write instead.
        why: String,
    },
    /// The output directory holds files and the run is not a resumption.
    #[error("{dir}: the output directory is not empty (it holds {first}); choose another one, or continue the run in it with --resume")]
    OutputNotEmpty {
        /// The directory.
        dir: PathBuf,
        /// A file in it.
        first: String,
    },
    /// Another run works in the output directory.
    #[error("{dir}: another run is working in this directory{owner}; wait for it to end or choose another output directory")]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// What the lock file says about its owner, e.g. ` (process 4711)`.
        owner: String,
    },
    /// The recipe differs from the one the checkpoint was made with.
    #[error("cannot resume from {checkpoint}: the recipe has changed:\n{}\nrestore the old values, or train into another output directory", changes.iter().map(|c| format!("  {}: was {}, now {}", c.key, c.old, c.new)).collect::<Vec<_>>().join("\n"))]
    RecipeChanged {
        /// The checkpoint.
        checkpoint: PathBuf,
        /// Every key that differs.
        changes: Vec<ChangedKey>,
    },
    /// There is nothing to train on.
    #[error("no row has a trained token ({rows} rows were given): look at the rows with `data preview`")]
    NothingTrained {
        /// Rows given.
        rows: usize,
    },
    /// No tensor is trainable.
    #[error("no tensor is trainable: check finetuning_type and its options")]
    NoTrainableTensor,
    /// The loss is not a number, or infinite.
    #[error(
        "step {step}: the loss is {loss}: training has diverged and was stopped, nothing of this step was saved; try a lower learning_rate, a longer warm-up or a smaller max_grad_norm (rows of the batch, counted from 1: {rows})"
    )]
    NonFiniteLoss {
        /// The optimizer step, counted from 1.
        step: u64,
        /// The loss.
        loss: f64,
        /// The rows of the batch by their number in the training set, counted from 1.
        rows: String,
    },
    /// A gradient is not a number, or infinite.
    #[error(
        "step {step}: the gradient of {tensor} is not finite (global norm {norm}): training was stopped, nothing of this step was saved; try a lower learning_rate or a longer warm-up"
    )]
    NonFiniteGradient {
        /// The optimizer step, counted from 1.
        step: u64,
        /// The first tensor concerned.
        tensor: String,
        /// The global gradient norm.
        norm: f64,
    },
    /// A weight became infinite or not a number.
    #[error(
        "step {step}: the weight {tensor} is not finite: training was stopped and this state was not saved; the last checkpoint is good"
    )]
    NonFiniteWeight {
        /// The optimizer step, counted from 1.
        step: u64,
        /// The first tensor concerned.
        tensor: String,
    },
    /// Tensors are meant to be trained but no gradient reaches them.
    #[error("no gradient reaches {}: {names}: they would never change; leave them out of the trained modules", if *count == 1 { "a trainable tensor".into() } else { format!("{count} trainable tensors") })]
    NoGradient {
        /// How many tensors.
        count: usize,
        /// Their names, the first few.
        names: String,
    },
    /// The metric that decides what is best was not among those evaluated.
    #[error("metric_for_best_model: {metric}: the evaluation has no such number; it has: {available}")]
    UnknownMetric {
        /// The name asked for.
        metric: String,
        /// The names there are.
        available: String,
    },
    /// `eval_strategy` asks for evaluations but there is nothing to evaluate with.
    #[error("eval_strategy: evaluation was asked for but there are no held-out rows; set val_size (e.g. 0.1) or eval_strategy: no")]
    NoEvaluator,
    /// A checkpoint cannot be read.
    #[error("{path}: {why}")]
    Checkpoint {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file could not be read or written.
    #[error("{path}: cannot {action}: {source}{}", disk_hint(source))]
    Io {
        /// What was being done: `write`, `rename`, ….
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The model refused to compute.
    #[error("step {step}: the model failed: {why}")]
    Model {
        /// The optimizer step, counted from 1.
        step: u64,
        /// Its message.
        why: String,
    },
    /// The tensors to train could not be selected.
    #[error("{0}")]
    Selection(String),
    /// The evaluator failed.
    #[error("evaluation at step {step} failed: {why}")]
    Evaluation {
        /// The optimizer step after which it ran.
        step: u64,
        /// Its message.
        why: String,
    },
    /// The result could not be written.
    #[error("{path}: cannot save the result: {why}")]
    Export {
        /// Where to.
        path: PathBuf,
        /// The message.
        why: String,
    },
}

/// One key of the recipe that changed between the checkpoint and now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedKey {
    /// The key.
    pub key: String,
    /// The value in the checkpoint, `(not set)` if it had none.
    pub old: String,
    /// The value now, `(not set)` if it has none.
    pub new: String,
}

impl TrainError {
    /// Whether the user's input is to blame (exit code 2) rather than the work having failed (exit code 1).
    pub fn is_user_input(&self) -> bool {
        use TrainError::*;
        match self {
            Setting { .. }
            | OutputNotEmpty { .. }
            | Locked { .. }
            | RecipeChanged { .. }
            | NothingTrained { .. }
            | NoTrainableTensor
            | NoGradient { .. }
            | UnknownMetric { .. }
            | NoEvaluator
            | Selection(_) => true,
            NonFiniteLoss { .. }
            | NonFiniteGradient { .. }
            | NonFiniteWeight { .. }
            | Checkpoint { .. }
            | Io { .. }
            | Model { .. }
            | Evaluation { .. }
            | Export { .. } => false,
        }
    }
}

/// What to do when the disk is full.
fn disk_hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            "; free some space and continue with --resume: earlier checkpoints are untouched"
        }
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            "; choose an output directory that can be written to"
        }
        _ => "",
    }
}
