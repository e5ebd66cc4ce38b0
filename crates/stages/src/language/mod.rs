//! A language model as one learner among others: what it makes of a text ([`states`]), which label it would give it ([`teacher`]). Both
//! cost seconds for a hundred texts and are remembered by text and model ([`remember`]).

mod remember;
pub(crate) mod states;
pub(crate) mod teacher;

use dataset::{ClassifyTask, Renderer, Sample, Shape, TaskSpec, Truncation};
use std::sync::Arc;

use serde_json::json;
use text::Tokenizer;

use crate::error::{Result, StageError};

/// A renderer that puts a text into `prompt`, as a classification does: the place of the text is its only field.
fn asking(tokenizer: &Arc<Tokenizer>, prompt: &str, labels: serde_json::Value, most: usize) -> Result<Renderer> {
    let labels = serde_json::from_value(labels).map_err(|e| StageError::input(format!("labels: {e}")))?;
    let task = TaskSpec::Classify(ClassifyTask { prompt: prompt.to_owned(), labels, truncate_field: None });
    Ok(Renderer::new(tokenizer.clone(), None, task, most, Truncation::default())?)
}

/// A renderer whose answers nobody asks for.
fn reading(tokenizer: &Arc<Tokenizer>, prompt: &str, most: usize) -> Result<Renderer> {
    asking(tokenizer, prompt, json!(["a", "b"]), most)
}

/// A bare text as a row of the renderer's task.
fn sample(renderer: &Renderer, text: &str, number: usize) -> Result<Sample> {
    Ok(dataset::shape::from_text(renderer.task(), Shape::Messages, text, number)?)
}
