//! One turn of a conversation, in the shape that chat templates expect.
//!
//! A template can ask whether a key is there (`message.tool_calls is defined`), whether it is none, and can print a whole tool call
//! as JSON, so absent and `null` stay distinct and unknown keys and the order of keys survive.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// What a message says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Content {
    /// Plain text: the usual case.
    Text(String),
    /// Typed parts as in `[{"type": "text", "text": "…"}]`.
    Parts(Vec<Value>),
    /// An explicit `null`, as OpenAI's rows have beside `tool_calls`.
    Null,
    /// Anything else: a tool's result that is an object or a number.
    Other(Value),
}

impl Content {
    /// The text: a plain text itself, the text parts joined, or JSON for anything else.
    pub fn text(&self) -> String {
        match self {
            Content::Text(text) => text.clone(),
            Content::Null => String::new(),
            Content::Other(value) => value.to_string(),
            Content::Parts(parts) => parts.iter().filter_map(|p| p.as_str().or_else(|| p.get("text").and_then(Value::as_str))).collect(),
        }
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Content::Text(text.to_owned())
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Content::Text(text)
    }
}

/// One turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant`, `tool`, or whatever else the template knows.
    pub role: String,
    /// What is said; absent and `null` are different things to a template.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub content: Option<Content>,
    /// Calls that the assistant makes: `{"type": "function", "function": {"name", "arguments"}}`, kept as they came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<Vec<Value>>,
    /// Every other key (`name`, `tool_call_id`, `reasoning_content`, …), in order.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Message {
    /// A plain turn.
    pub fn new(role: impl Into<String>, content: impl Into<Content>) -> Self {
        Message { role: role.into(), content: Some(content.into()), tool_calls: None, extra: Map::new() }
    }

    /// A turn of the system.
    pub fn system(content: impl Into<Content>) -> Self {
        Self::new("system", content)
    }

    /// A turn of the user.
    pub fn user(content: impl Into<Content>) -> Self {
        Self::new("user", content)
    }

    /// A turn of the assistant.
    pub fn assistant(content: impl Into<Content>) -> Self {
        Self::new("assistant", content)
    }

    /// The message as a template sees it: its keys, with reasoning under every name that templates use (as `transformers` 5 does).
    pub(crate) fn to_template(&self) -> Value {
        let mut map = match serde_json::to_value(self) {
            Ok(Value::Object(map)) => map,
            // Strings, lists and maps with string keys: JSON can hold all of it.
            _ => Map::new(),
        };
        let reasoning = ["reasoning_content", "thinking", "reasoning"].iter().find_map(|key| map.get(*key).filter(|v| !v.is_null()));
        if let Some(reasoning) = reasoning.cloned() {
            map.entry("thinking").or_insert_with(|| reasoning.clone());
            map.insert("reasoning_content".into(), reasoning);
        }
        Value::Object(map)
    }

    /// The text of the turn, empty where there is none.
    pub fn text(&self) -> String {
        self.content.as_ref().map(Content::text).unwrap_or_default()
    }
}

/// Keeps `null` apart from "not there": serde's own `Option` folds them together.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Content>, D::Error> {
    Content::deserialize(deserializer).map(Some)
}
