//! Decoding of a batch of prompts, token by token, with a key/value cache.

use serde::Serialize;

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FinishReason {
    /// The model ended the text itself (end-of-sequence token) or a stop string appeared.
    Stop,
    /// `max_new_tokens` or the context window was reached.
    Length,
    /// The caller asked to stop.
    Cancelled,
}

/// A text to continue.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    /// The exact text, shown in the result.
    pub text: String,
    /// Its tokens, as the renderer made them.
    pub ids: Vec<u32>,
    /// Names the random stream: prompts with the same stream and seed see the same random numbers. Use the row's
    /// number, so that equal prompts in a file may differ and a row's text does not depend on its batch.
    pub stream: u64,
}

/// One finished text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Generation {
    /// The prompt's text.
    pub prompt: String,
    /// What the model wrote, without end-of-sequence token and stop string.
    pub text: String,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Sum of the natural log-probabilities of all tokens chosen, the end-of-sequence token included, under the
    /// model itself (before temperature, penalty and filters).
    pub logprob: f64,
    /// The tokens chosen, the end-of-sequence token included.
    #[serde(skip)]
    pub tokens: Vec<u32>,
}

/// What happens while a batch decodes.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<'a> {
    /// More text of a prompt is certain.
    Text {
        /// Position of the prompt in the request.
        index: usize,
        /// The new piece: whole characters, never part of a stop string.
        piece: &'a str,
    },
    /// A prompt is finished.
    Done {
        /// Position of the prompt in the request.
        index: usize,
        /// Its result.
        generation: &'a Generation,
    },
}
