//! Messages to the text that a model was trained on.
//!
//! A chat template is a Jinja program that came with the model; `transformers` runs it with Python's Jinja2 and this folder runs it
//! so that the same bytes come out: `engine` owns the `minijinja` library and gives templates what Hugging Face gives them, `python`
//! prints values and JSON as Python does, `filters` and `methods` hold what Jinja2 and Python do otherwise than the library,
//! `generation` handles `{% generation %}` blocks and `clock` the date.

mod clock;
mod engine;
mod filters;
mod generation;
mod methods;
mod python;

use std::ops::Range;

use serde_json::{Map, Value};

use crate::error::Result;
use crate::message::Message;
use crate::tokenizer::SpecialTokens;
pub use clock::LocalTime;
use engine::Engine;

/// A compiled chat template.
///
/// Without a clock ([`ChatTemplate::at`]) `strftime_now` is not defined, and templates that ask for it politely (Llama 3.1's) fall back
/// to a fixed date: what is trained today is then what was trained yesterday.
#[derive(Debug)]
pub struct ChatTemplate {
    source: String,
    special: SpecialTokens,
    engine: Engine,
}

/// A rendered conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The text; special tokens spelled out. Encode it *without* adding special tokens: the template has written them already.
    pub text: String,
    /// Byte ranges of what `{% generation %}` blocks wrote: the assistant's own words. Empty if the template has no such block.
    pub generation_spans: Vec<Range<usize>>,
}

impl ChatTemplate {
    /// Compiles a template. It will see the special tokens as `bos_token`, `eos_token`, ….
    ///
    /// # Errors
    /// [`crate::TextError::TemplateSyntax`] with the line.
    pub fn new(source: &str, special: SpecialTokens) -> Result<Self> {
        Ok(ChatTemplate { source: source.into(), special, engine: Engine::new(source)? })
    }

    /// The same template with a clock that stands at `now`: for `strftime_now`.
    pub fn at(mut self, now: LocalTime) -> Self {
        self.engine.set_clock(now);
        self
    }

    /// The template's source.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether the template marks the assistant's words with `{% generation %}`, so that
    /// [`Rendered::generation_spans`] tells what to train on.
    pub fn marks_generation(&self) -> bool {
        self.engine.marks_generation()
    }

    /// Renders a conversation.
    ///
    /// - `tools`: JSON schemas of the tools the assistant may call; `None` is Python's `None`.
    /// - `add_generation_prompt`: end with the header of the assistant's next turn.
    /// - `extra`: further variables (`enable_thinking`, `documents`, `date_string`, …); they win over special tokens of the same name.
    ///
    /// # Errors
    /// [`crate::TextError::TemplateRaised`] if the template refuses the messages (`raise_exception`),
    /// [`crate::TextError::TemplateRender`] with the line for anything else.
    pub fn render(
        &self,
        messages: &[Message],
        tools: Option<&[Value]>,
        add_generation_prompt: bool,
        extra: &Map<String, Value>,
    ) -> Result<Rendered> {
        let mut variables = Map::new();
        variables.extend(self.special.iter().map(|(name, token)| (name.to_owned(), Value::from(token))));
        variables.insert("documents".into(), Value::Null);
        variables.extend(extra.iter().map(|(name, value)| (name.clone(), value.clone())));
        variables.insert("messages".into(), messages.iter().map(Message::to_template).collect());
        variables.insert("tools".into(), tools.map_or(Value::Null, |tools| tools.to_vec().into()));
        variables.insert("add_generation_prompt".into(), add_generation_prompt.into());
        self.engine.render(&variables)
    }
}
