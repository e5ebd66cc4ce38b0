//! Messages to the text that a model was trained on.

use std::ops::Range;

use serde_json::{Map, Value};

use crate::error::Result;
use crate::message::Message;
use crate::tokenizer::SpecialTokens;

/// A compiled chat template.
pub struct ChatTemplate {
    source: String,
}

/// A rendered conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// The text; special tokens spelled out. Encode it without adding special tokens.
    pub text: String,
    /// Byte ranges of what `{% generation %}` blocks wrote: the assistant's own words. Empty if the template has no such block.
    pub generation_spans: Vec<Range<usize>>,
}

/// A moment in local time, for `strftime_now`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// Year.
    pub year: i32,
    /// 1..=12.
    pub month: u8,
    /// 1..=31.
    pub day: u8,
    /// 0..=23.
    pub hour: u8,
    /// 0..=59.
    pub minute: u8,
    /// 0..=60.
    pub second: u8,
    /// 0..=999_999.
    pub microsecond: u32,
}

impl ChatTemplate {
    /// Compiles a template.
    pub fn new(source: &str, _special: SpecialTokens) -> Result<Self> {
        Ok(ChatTemplate { source: source.into() })
    }

    /// The same template with a clock that stands at `now`.
    pub fn at(self, _now: LocalTime) -> Self {
        self
    }

    /// The template's source.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether the template marks the assistant's words with `{% generation %}`.
    pub fn marks_generation(&self) -> bool {
        false
    }

    /// Renders a conversation.
    pub fn render(
        &self,
        _messages: &[Message],
        _tools: Option<&[Value]>,
        _add_generation_prompt: bool,
        _extra: &Map<String, Value>,
    ) -> Result<Rendered> {
        todo!()
    }
}
