//! What can go wrong while generating, each with what to do about it.

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// A sampling setting is out of its range.
    #[error("sampling: {name} is {value}, but must be {must}")]
    Setting {
        /// Name of the setting as in a recipe.
        name: &'static str,
        /// What was given.
        value: String,
        /// The accepted range in words.
        must: &'static str,
    },
    /// A prompt has no tokens: there is no position to predict from.
    #[error("prompt {index} has no tokens; give some text (a model without a BOS token cannot start from nothing)")]
    EmptyPrompt {
        /// Position of the prompt in the request.
        index: usize,
    },
    /// A prompt fills the context window, so not one token could follow.
    #[error(
        "prompt {index} has {tokens} tokens, but the model's context holds {context}: shorten it by at least {} tokens",
        tokens + 1 - context
    )]
    PromptTooLong {
        /// Position of the prompt in the request.
        index: usize,
        /// Its length in tokens.
        tokens: usize,
        /// The model's context window in tokens.
        context: usize,
    },
    /// A token id lies outside the model's vocabulary.
    #[error("prompt {index} holds token id {id}, but the model has {vocab} tokens: is this the model's own tokenizer?")]
    UnknownToken {
        /// Position of the prompt in the request.
        index: usize,
        /// The id.
        id: u32,
        /// Rows of the model's embedding.
        vocab: usize,
    },
    /// The model produced NaN or only minus infinity.
    #[error("the model's output at token {position} is not a number: the weights or the adapter are damaged")]
    NonFinite {
        /// Length of the sequence that produced it.
        position: usize,
    },
    /// The tokenizer could not turn ids into text.
    #[error("decoding tokens: {0}")]
    Tokenizer(String),
    /// The model or the engine refused.
    #[error("running the model: {0}")]
    Model(String),
}
