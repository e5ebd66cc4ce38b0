//! What can go wrong while evaluating, each with what to do about it.

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// The task has no labels to choose from.
    #[error("the task has no labels: classification needs `task: {{type: classify, labels: …}}` in the recipe")]
    NoLabels,
    /// A label's text gives no tokens.
    #[error("label `{label}`: its text gives no tokens, so the model cannot score it; give it a text")]
    EmptyLabel {
        /// The label.
        label: String,
    },
    /// A label's text begins another's, and the model has no end-of-sequence token to tell them apart.
    #[error(
        "label text `{prefix}` begins `{longer}`, and this tokenizer has no end-of-sequence token to tell them apart: choose other label texts"
    )]
    PrefixWithoutEos {
        /// The shorter text.
        prefix: String,
        /// The longer text.
        longer: String,
    },
    /// A prompt gives no tokens: there is no position to predict from.
    #[error("{row}: the prompt gives no tokens")]
    EmptyPrompt {
        /// Which row.
        row: String,
    },
    /// A row without a label, or with one that the task does not have, where the truth is needed.
    #[error("{origin}: label: {reason}")]
    NoGold {
        /// `file:line` of the row.
        origin: String,
        /// What is wrong.
        reason: String,
    },
    /// The model gave NaN or an infinite score.
    #[error("{row}: the model's output is not a number: the weights or the adapter are damaged")]
    NonFinite {
        /// Which row.
        row: String,
    },
    /// The caller asked to stop.
    #[error("stopped after {done} of {total} rows")]
    Stopped {
        /// Rows done.
        done: usize,
        /// Rows asked for.
        total: usize,
    },
    /// The model refused.
    #[error(transparent)]
    Model(#[from] model::ModelError),
    /// The engine refused.
    #[error(transparent)]
    Engine(#[from] engine::EngineError),
}

/// Result of this crate's fallible calls.
pub type Result<T> = std::result::Result<T, EvaluateError>;

/// Called with (rows done, rows in all); breaking stops the work with [`EvaluateError::Stopped`].
pub type Progress<'a> = dyn FnMut(usize, usize) -> std::ops::ControlFlow<()> + 'a;
