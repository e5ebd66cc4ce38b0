//! A sample: one row with a meaning, and where it came from.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use text::Message;

/// Where a row was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// File name, without its directory: results must not depend on where a machine keeps its files.
    pub file: String,
    /// Line on which the row starts, from 1 (row number in Parquet).
    pub line: usize,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// One row that can be trained on, measured with, or answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The row's own `id`, or `file:line`.
    pub id: String,
    /// Where it was read.
    pub origin: Origin,
    /// What it says.
    pub kind: SampleKind,
    /// SHA-256 of what is given to the model, without the answer: the key by which rows are chosen and split. One text field is
    /// hashed as its UTF-8 bytes, several in the order of their names with a zero byte between.
    pub text_hash: [u8; 32],
    /// Where the text was cut from, if the row says so by an object `source`: that object, with the row's `file`, `page` and `range`
    /// beside it. Carried along to the rows that a run writes.
    pub provenance: Map<String, Value>,
}

/// What a sample says.
#[derive(Debug, Clone, PartialEq)]
pub enum SampleKind {
    /// Fields of a classification prompt, and the class's name if it is known.
    Classify {
        /// The fields that the prompt names, white space around them cut.
        fields: BTreeMap<String, String>,
        /// The class.
        label: Option<String>,
    },
    /// Two texts that follow each other.
    Prompt {
        /// Given.
        prompt: String,
        /// To be written; absent in rows to be answered.
        completion: Option<String>,
    },
    /// A conversation.
    Messages {
        /// Its turns.
        turns: Vec<Turn>,
        /// Descriptions of tools that the assistant may call, as JSON schemas.
        tools: Option<Vec<Value>>,
    },
    /// Text to continue.
    Text {
        /// The text.
        text: String,
    },
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// Who says what.
    pub message: Message,
    /// Whether the data itself says that this turn is (or is not) trained: `train: false`, or `weight: 0` as OpenAI writes it.
    pub train: Option<bool>,
}

impl From<Message> for Turn {
    fn from(message: Message) -> Self {
        Turn { message, train: None }
    }
}

impl Sample {
    /// A sample with its text hash computed.
    pub fn new(id: String, origin: Origin, kind: SampleKind) -> Self {
        let text_hash = kind.text_hash();
        Sample { id, origin, kind, text_hash, provenance: Map::new() }
    }

    /// The class's name, of a classification row that has one.
    pub fn label(&self) -> Option<&str> {
        match &self.kind {
            SampleKind::Classify { label, .. } => label.as_deref(),
            _ => None,
        }
    }

    /// The text that a person would recognise the row by: its text field, prompt, last user turn or text.
    pub fn text(&self) -> String {
        match &self.kind {
            SampleKind::Classify { fields, .. } => match fields.get("text") {
                Some(text) => text.clone(),
                None => fields.values().cloned().collect::<Vec<_>>().join("\n"),
            },
            SampleKind::Prompt { prompt, .. } => prompt.clone(),
            SampleKind::Messages { turns, .. } => {
                let user = turns.iter().rev().find(|t| t.message.role == "user").or(turns.last());
                user.map(|t| t.message.text()).unwrap_or_default()
            }
            SampleKind::Text { text } => text.clone(),
        }
    }

    /// What comes before the answer, in full: of a conversation of several turns every one of them, each with its role.
    pub fn question(&self) -> String {
        let SampleKind::Messages { turns, .. } = &self.kind else { return self.text() };
        let given = if self.answer().is_some() { &turns[..turns.len() - 1] } else { &turns[..] };
        match given {
            [only] => only.message.text(),
            several => several.iter().map(|t| format!("{}: {}", t.message.role, t.message.text())).collect::<Vec<_>>().join("\n"),
        }
    }

    /// The expected answer: label, completion or last assistant turn.
    pub fn answer(&self) -> Option<String> {
        match &self.kind {
            SampleKind::Classify { label, .. } => label.clone(),
            SampleKind::Prompt { completion, .. } => completion.clone(),
            SampleKind::Messages { turns, .. } => turns.last().filter(|t| t.message.role == "assistant").map(|t| t.message.text()),
            SampleKind::Text { .. } => None,
        }
    }
}

impl SampleKind {
    /// See [`Sample::text_hash`].
    fn text_hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut first = true;
        let mut part = |bytes: &[u8]| {
            if !std::mem::take(&mut first) {
                hash.update([0]);
            }
            hash.update(bytes);
        };
        match self {
            SampleKind::Classify { fields, .. } => fields.values().for_each(|text| part(text.as_bytes())),
            SampleKind::Prompt { prompt, .. } => part(prompt.as_bytes()),
            SampleKind::Messages { turns, .. } => {
                // The last answer is left out: the same question with another answer must not straddle a split either.
                let given = match turns.last() {
                    Some(last) if last.message.role == "assistant" => &turns[..turns.len() - 1],
                    _ => turns,
                };
                for turn in given {
                    part(turn.message.role.as_bytes());
                    part(turn.message.text().as_bytes());
                }
            }
            SampleKind::Text { text } => part(text.as_bytes()),
        }
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        Origin { file: "a".into(), line: 1 }
    }

    #[test]
    fn one_field_hashes_as_its_bytes_and_the_answer_does_not_count() {
        let sample = |label: &str| {
            let fields = BTreeMap::from([("text".to_owned(), "很好".to_owned())]);
            Sample::new("1".into(), origin(), SampleKind::Classify { fields, label: Some(label.into()) })
        };
        let plain: [u8; 32] = Sha256::digest("很好".as_bytes()).into();
        assert_eq!(sample("a").text_hash, plain);
        assert_eq!(sample("b").text_hash, plain);
    }

    #[test]
    fn a_question_is_the_whole_conversation_before_the_answer() {
        let question = |turns: &[(&str, &str)]| {
            let turns = turns.iter().map(|(role, text)| Turn::from(Message::new(*role, *text))).collect();
            Sample::new("1".into(), origin(), SampleKind::Messages { turns, tools: None }).question()
        };
        assert_eq!(question(&[("user", "a"), ("assistant", "x")]), "a");
        assert_eq!(
            question(&[("system", "s"), ("user", "a"), ("assistant", "x"), ("user", "b"), ("assistant", "y")]),
            "system: s\nuser: a\nassistant: x\nuser: b"
        );
        assert_eq!(question(&[("user", "a")]), "a");
    }

    #[test]
    fn conversations_hash_without_their_last_answer() {
        let hash = |turns: &[(&str, &str)]| {
            let turns = turns.iter().map(|(role, text)| Turn::from(Message::new(*role, *text))).collect();
            Sample::new("1".into(), origin(), SampleKind::Messages { turns, tools: None }).text_hash
        };
        assert_eq!(hash(&[("user", "a"), ("assistant", "x")]), hash(&[("user", "a"), ("assistant", "y")]));
        assert_ne!(hash(&[("user", "a"), ("assistant", "x")]), hash(&[("user", "b"), ("assistant", "x")]));
        assert_ne!(hash(&[("user", "ab")]), hash(&[("user", "a"), ("user", "b")]));
    }
}
