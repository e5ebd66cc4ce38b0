//! The renderer: a sample becomes input ids, attention mask and labels.
//!
//! There is one, and training, evaluation, prediction and serving all use it: what a model is asked is what it was taught.

use std::sync::Arc;

use serde::Serialize;
use text::{ChatTemplate, Message, Tokenizer};

use crate::error::Error;
use crate::sample::{Origin, Sample};
use crate::settings::{TaskSpec, Truncation};

/// The label of a token that is not trained (PyTorch's `ignore_index`).
pub const IGNORED: i32 = -100;

/// One row as the model sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// Token ids.
    pub input_ids: Vec<u32>,
    /// As long as `input_ids`: the id at the same place where it is trained, [`IGNORED`] elsewhere (as Hugging Face has it; the loss
    /// shifts).
    pub labels: Vec<i32>,
    /// Number of tokens that were cut off because the row was too long.
    pub cut: usize,
    /// Key of the row for counter-based random numbers (dropout): from its text alone, so that it does not depend on the order of
    /// files or rows.
    pub key: u64,
}

impl Rendered {
    /// The attention mask: rows are never padded, so it is all ones.
    pub fn attention_mask(&self) -> Vec<u8> {
        vec![1; self.input_ids.len()]
    }

    /// Number of predictions that are trained. A row's first token is predicted by nothing and never counts.
    pub fn trained_tokens(&self) -> usize {
        self.labels.iter().skip(1).filter(|&&label| label != IGNORED).count()
    }
}

/// Why a sample gives no row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{reason}")]
pub struct Dropped {
    /// What is wrong with it.
    pub reason: String,
}

/// What the model is given when it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Token ids, BOS included where the model wants one.
    pub ids: Vec<u32>,
    /// The exact text that was tokenised (without a BOS that the tokenizer adds).
    pub text: String,
    /// Number of tokens that were cut off because the row was too long.
    pub cut: usize,
}

/// Many samples rendered, and what became of those that were cut or left out.
#[derive(Debug, Clone, Default)]
pub struct RenderedRows {
    /// The rows, in the order of the samples.
    pub rows: Vec<Rendered>,
    /// For each row, the index of its sample.
    pub samples: Vec<usize>,
    /// Rows that lost tokens.
    pub truncated: Vec<Truncated>,
    /// Samples that gave no row.
    pub dropped: Vec<DroppedSample>,
}

/// A row that lost tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Truncated {
    /// Index of the sample.
    pub sample: usize,
    /// Its id.
    pub id: String,
    /// Where it was read.
    pub origin: Origin,
    /// Number of tokens cut off.
    pub cut: usize,
}

/// A sample that gave no row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DroppedSample {
    /// Index of the sample.
    pub sample: usize,
    /// Its id.
    pub id: String,
    /// Where it was read.
    pub origin: Origin,
    /// Why.
    pub reason: String,
}

/// Turns samples into ids.
pub struct Renderer {
    tokenizer: Arc<Tokenizer>,
}

impl Renderer {
    /// A renderer for one task.
    ///
    /// `template` is the model's own chat template, if it has one. `cutoff_len` is the most tokens that a row may have.
    pub fn new(
        tokenizer: Arc<Tokenizer>,
        template: Option<ChatTemplate>,
        task: TaskSpec,
        cutoff_len: usize,
        truncation: Truncation,
    ) -> Result<Self, Error> {
        let _ = (template, task, cutoff_len, truncation);
        Ok(Renderer { tokenizer })
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// The task.
    pub fn task(&self) -> &TaskSpec {
        todo!()
    }

    /// The source of the chat template in use (the model's or the declared one): it is saved with the result. `None` if the task
    /// uses none.
    pub fn template_source(&self) -> Option<&str> {
        todo!()
    }

    /// The row (or rows, for a text that is split) of one sample.
    pub fn render(&self, _sample: &Sample) -> Result<Vec<Rendered>, Dropped> {
        todo!()
    }

    /// The rows of many samples, in parallel; the result does not depend on the number of threads.
    ///
    /// # Errors
    /// [`Error::NothingTrained`] if not one token would be trained, [`Error::NoTemplate`] if there are conversations and no way to
    /// write them.
    pub fn render_all(&self, _samples: &[Sample]) -> Result<RenderedRows, Error> {
        todo!()
    }

    /// What the model is given for a sample, without the answer: in classification exactly the ids that precede the label in the
    /// training row.
    pub fn prompt(&self, _sample: &Sample) -> Result<Prompt, Dropped> {
        todo!()
    }

    /// What the model is given to go on with a conversation.
    pub fn chat_prompt(&self, _messages: &[Message], _tools: Option<&[serde_json::Value]>) -> Result<Prompt, Dropped> {
        todo!()
    }

    /// The classes and their tokens, in the recipe's order; empty if the task is no classification.
    pub fn label_ids(&self) -> &[LabelIds] {
        todo!()
    }
}

/// A class as the model writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelIds {
    /// The class's name.
    pub name: String,
    /// Its text.
    pub text: String,
    /// The text's tokens, tokenised by itself, without EOS.
    pub ids: Vec<u32>,
}
