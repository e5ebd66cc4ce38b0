//! What a row means: the shapes that training data comes in, recognised or declared, turned into samples.

mod chat;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::error::{BadRow, Error};
use crate::import::Row;
use crate::prompt::PromptTemplate;
use crate::sample::{Origin, Sample, SampleKind, Turn};
use crate::settings::{LabelSet, Resolve, Shape, SourceEntry, TaskSpec};
use text::Message;

/// Whether a row must bring the answer that it is to teach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// For training and measuring: a row without an answer is bad.
    Required,
    /// For prediction: an answer is taken if there is one that makes sense.
    Optional,
}

/// Keys of a row that tell where its text was cut from.
const PROVENANCE: [&str; 4] = ["source", "file", "page", "range"];

/// Turns rows into samples.
#[derive(Debug, Clone)]
pub struct Converter {
    entry: SourceEntry,
    task: TaskSpec,
    answers: Answers,
    /// Fields that a classification prompt names.
    fields: Vec<String>,
    shape: Option<Shape>,
}

impl Converter {
    /// A converter for rows of one source.
    ///
    /// # Errors
    /// If the declared shape and the task do not go together, or the prompt does not parse.
    pub fn new(entry: &SourceEntry, task: &TaskSpec, answers: Answers) -> Result<Self, Error> {
        let fits = |shape: Shape| match task {
            TaskSpec::Classify(_) => shape == Shape::TextLabel,
            TaskSpec::Sft(_) => matches!(shape, Shape::Alpaca | Shape::Sharegpt | Shape::Messages | Shape::PromptCompletion),
            TaskSpec::Text(_) => shape == Shape::Text,
        };
        if let Some(shape) = entry.shape.filter(|&shape| !fits(shape)) {
            return Err(Error::setting("shape", format!("rows of shape {shape} do not fit a task of type {}", task.name())));
        }
        let (fields, shape) = match task {
            TaskSpec::Classify(classify) => (prompt_fields(&classify.prompt)?, Some(Shape::TextLabel)),
            TaskSpec::Text(_) => (Vec::new(), Some(Shape::Text)),
            TaskSpec::Sft(_) => (Vec::new(), entry.shape),
        };
        Ok(Converter { entry: entry.clone(), task: task.clone(), answers, fields, shape })
    }

    /// The shape, once it is known.
    pub fn shape(&self) -> Option<Shape> {
        self.shape
    }

    /// The sample that a row is.
    pub fn convert(&mut self, row: Row) -> Result<Sample, BadRow> {
        let shape = match self.shape {
            Some(shape) => shape,
            None => {
                let shape = self.detect(&row)?;
                self.shape = Some(shape);
                shape
            }
        };
        let kind = match &self.task {
            TaskSpec::Classify(task) => self.classify(&row, &task.labels)?,
            TaskSpec::Text(_) => SampleKind::Text { text: self.text(&row, "text", &["text"])? },
            TaskSpec::Sft(_) => match shape {
                Shape::PromptCompletion => self.prompt_completion(&row)?,
                Shape::Alpaca => self.alpaca(&row)?,
                _ => self.conversation(&row)?,
            },
        };
        let id = match self.cell(&row, "id", &["id"]).1 {
            Some(Value::String(id)) if !id.trim().is_empty() => id.trim().to_owned(),
            Some(Value::Number(id)) => id.to_string(),
            _ => format!("{}:{}", row.file, row.line),
        };
        let mut sample = Sample::new(id, Origin { file: row.file.to_string(), line: row.line }, kind);
        if row.fields.get("source").is_some_and(Value::is_object) {
            let kept = row.fields.into_iter().filter(|(key, value)| PROVENANCE.contains(&key.as_str()) && !value.is_null());
            sample.provenance = kept.collect();
        }
        Ok(sample)
    }

    /// The shape of conversational rows by their columns: first what the recipe declares, then what the row has.
    fn detect(&self, row: &Row) -> Result<Shape, BadRow> {
        let declared = |role: &str| self.entry.columns.contains_key(role);
        let there = |name: &str| row.fields.contains_key(name);
        let stages: [&dyn Fn(&str) -> bool; 2] = [&declared, &there];
        for has in stages {
            let found = if has("messages") {
                Some(Shape::Messages)
            } else if has("conversations") || has("conversation") {
                Some(Shape::Sharegpt)
            } else if has("instruction") || (has("prompt") && has("response")) {
                Some(Shape::Alpaca)
            } else if has("prompt") && (has("completion") || self.answers == Answers::Optional) {
                Some(Shape::PromptCompletion)
            } else {
                None
            };
            if let Some(shape) = found {
                return Ok(shape);
            }
        }
        Err(row.bad(
            "",
            format!(
                "cannot tell what the row is: it has {}; name its columns with `columns:` (messages, conversations, instruction and \
                 output, or prompt and completion)",
                names(row)
            ),
        ))
    }

    /// The column that plays `role` and its value: as declared, or the first of `usual` that the row has.
    fn cell<'a>(&'a self, row: &'a Row, role: &str, usual: &[&'a str]) -> (&'a str, Option<&'a Value>) {
        match self.entry.columns.get(role) {
            Some(spec) => (&spec.column, row.fields.get(&spec.column)),
            None => usual
                .iter()
                .find_map(|&name| Some((name, Some(row.fields.get(name)?))))
                .unwrap_or((usual.first().copied().unwrap_or_default(), None)),
        }
    }

    /// As [`Converter::cell`] where the row must have it; nulls count as there.
    fn needed<'a>(&'a self, row: &'a Row, role: &str, usual: &[&'a str]) -> Result<(&'a str, &'a Value), BadRow> {
        match self.cell(row, role, usual) {
            (column, Some(value)) => Ok((column, value)),
            (column, None) => {
                let hint = format!("if another one is meant, say so: `columns: {{{role}: …}}`");
                Err(row.bad(column, format!("no such column; the row has: {}; {hint}", names(row))))
            }
        }
    }

    /// A text that must be there and say something.
    fn text(&self, row: &Row, role: &str, usual: &[&str]) -> Result<String, BadRow> {
        let (column, value) = self.needed(row, role, usual)?;
        let text = self.stripped(role, plain(value).map_err(|reason| row.bad(column, reason))?, false);
        if text.trim().is_empty() {
            return Err(row.bad(column, "empty"));
        }
        Ok(text)
    }

    /// A text that may be absent or null: then it is empty.
    fn optional_text(&self, row: &Row, role: &str, usual: &[&str]) -> Result<String, BadRow> {
        let (column, value) = self.cell(row, role, usual);
        let text = plain(value.unwrap_or(&Value::Null)).map_err(|reason| row.bad(column, reason))?;
        Ok(self.stripped(role, text, false))
    }

    fn stripped(&self, role: &str, text: String, by_default: bool) -> String {
        match self.entry.columns.get(role).and_then(|spec| spec.strip).unwrap_or(by_default) {
            true => strip(&text).to_owned(),
            false => text,
        }
    }

    fn classify(&self, row: &Row, labels: &LabelSet) -> Result<SampleKind, BadRow> {
        let mut fields = BTreeMap::new();
        for field in &self.fields {
            let (column, value) = self.needed(row, field, &[field])?;
            let text = plain(value).map_err(|reason| row.bad(column, reason))?;
            fields.insert(field.clone(), self.stripped(field, text, true));
        }
        if fields.values().all(|text| text.trim().is_empty()) {
            let column = self.fields.first().map_or("", |field| self.cell(row, field, &[field]).0);
            return Err(row.bad(column, "empty"));
        }
        let label = match self.answers {
            Answers::Required => {
                let (column, value) = self.needed(row, "label", &["label", "labels"])?;
                let label = labels.resolve(value).map_err(|why| match why {
                    Resolve::Missing => row.bad(column, "empty"),
                    Resolve::Unknown(_) => row.bad(column, format!("{why}; known: {}", labels.known())),
                })?;
                Some(label.to_owned())
            }
            Answers::Optional => {
                let value = self.cell(row, "label", &["label", "labels"]).1;
                value.and_then(|value| labels.resolve(value).ok()).map(str::to_owned)
            }
        };
        Ok(SampleKind::Classify { fields, label })
    }

    fn prompt_completion(&self, row: &Row) -> Result<SampleKind, BadRow> {
        let (column, prompt) = self.needed(row, "prompt", &["prompt"])?;
        if let Value::Array(given) = prompt {
            return self.conversational_prompt(row, column, given);
        }
        let prompt = self.text(row, "prompt", &["prompt"])?;
        let completion = match self.answers {
            Answers::Required => Some(self.text(row, "completion", &["completion"])?),
            Answers::Optional => Some(self.optional_text(row, "completion", &["completion"])?).filter(|text| !text.trim().is_empty()),
        };
        Ok(SampleKind::Prompt { prompt, completion })
    }
}

/// A sample for a text that a person typed: the single field of a classification prompt, a user's turn, a prompt, or a text to go on
/// with, as the rows of `shape` are.
///
/// # Errors
/// If the prompt has several fields: one text cannot fill them.
pub fn from_text(task: &TaskSpec, shape: Shape, text: &str, number: usize) -> Result<Sample, Error> {
    let kind = match task {
        TaskSpec::Classify(task) => match &prompt_fields(&task.prompt)?[..] {
            [field] => SampleKind::Classify { fields: BTreeMap::from([(field.clone(), strip(text).to_owned())]), label: None },
            fields => {
                let names = fields.join(", ");
                return Err(Error::setting("prompt", format!("it has the fields {names}: give rows with these columns, not a bare text")));
            }
        },
        TaskSpec::Text(_) => SampleKind::Text { text: text.to_owned() },
        TaskSpec::Sft(_) if shape == Shape::PromptCompletion => SampleKind::Prompt { prompt: text.to_owned(), completion: None },
        TaskSpec::Sft(_) => SampleKind::Messages { turns: vec![Turn::from(Message::user(text))], tools: None },
    };
    let origin = Origin { file: "text".to_owned(), line: number };
    Ok(Sample::new(format!("text:{number}"), origin, kind))
}

/// The fields of a classification prompt; there must be at least one.
pub(crate) fn prompt_fields(prompt: &str) -> Result<Vec<String>, Error> {
    let template = PromptTemplate::parse(prompt).map_err(|reason| Error::setting("prompt", reason))?;
    let fields: Vec<String> = template.fields().into_iter().map(str::to_owned).collect();
    if fields.is_empty() {
        return Err(Error::setting("prompt", "it names no field: write {text} where a row's text goes"));
    }
    Ok(fields)
}

/// Cuts the white space that Python's `str.strip` cuts, so that rows prepared there and here agree.
pub(crate) fn strip(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || ('\x1c'..='\x1f').contains(&c))
}

/// A cell as text: numbers and truth values as they print, null as nothing.
fn plain(value: &Value) -> Result<String, String> {
    match value {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        other => Err(format!("{}, where a text was expected", kind_of(other))),
    }
}

/// What a JSON value is, for messages.
pub(crate) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn names(row: &Row) -> String {
    row.fields.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    pub(super) fn convert(entry: Value, task: Value, row: Value) -> Result<Sample, String> {
        convert_as(Answers::Required, entry, task, row)
    }

    pub(super) fn convert_as(answers: Answers, entry: Value, task: Value, row: Value) -> Result<Sample, String> {
        let Value::Object(mut with_source) = entry else { panic!() };
        with_source.insert("source".into(), "s".into());
        let entry = serde_json::from_value(Value::Object(with_source)).unwrap();
        let task = serde_json::from_value(task).unwrap();
        let Value::Object(fields) = row else { panic!() };
        let mut converter = Converter::new(&entry, &task, answers).map_err(|e| e.to_string())?;
        converter.convert(Row { fields, file: "f".into(), line: 7 }).map_err(|e| e.to_string())
    }

    fn classify(prompt: &str) -> Value {
        json!({"type": "classify", "prompt": prompt, "labels": ["好评", "差评"]})
    }

    #[test]
    fn prompts_take_any_columns() {
        let row = json!({"标题": " 一 ", "body": "二\n", "类别": "好评", "id": 12});
        let entry = json!({"columns": {"label": "类别", "text": {"column": "body", "strip": false}}});
        let sample = convert(entry, classify("{标题}/{text}:"), row).unwrap();
        let SampleKind::Classify { fields, label } = &sample.kind else { panic!() };
        assert_eq!(fields, &BTreeMap::from([("标题".into(), "一".into()), ("text".into(), "二\n".into())]));
        assert_eq!((label.as_deref(), sample.id.as_str(), sample.origin.line), (Some("好评"), "12", 7));
    }

    #[test]
    fn cells_that_are_no_text_are_named() {
        let bad = |row| convert(json!({}), classify("{text}:"), row).unwrap_err();
        assert_eq!(bad(json!({"text": ["a"], "label": "好评"})), "f:7: text: a list, where a text was expected");
        assert_eq!(bad(json!({"text": " \x1f ", "label": "好评"})), "f:7: text: empty");
        assert_eq!(bad(json!({"text": "a", "label": null})), "f:7: label: empty");
        assert_eq!(
            bad(json!({"text": "a", "lable": "好评"})),
            "f:7: label: no such column; the row has: text, lable; if another one is meant, say so: `columns: {label: …}`"
        );
        assert!(bad(json!({"text": "a", "label": "中评"})).contains("known: 好评; 差评"));
        assert_eq!(convert(json!({}), classify("{text}:"), json!({"text": 12.5, "label": "好评"})).unwrap().text(), "12.5");
    }

    #[test]
    fn prompt_and_completion_keep_their_white_space() {
        let sample = convert(json!({}), json!({"type": "sft"}), json!({"prompt": "Q: \n", "completion": " A"})).unwrap();
        assert_eq!(sample.kind, SampleKind::Prompt { prompt: "Q: \n".into(), completion: Some(" A".into()) });
        let asked = convert_as(Answers::Optional, json!({}), json!({"type": "sft"}), json!({"prompt": "Q"})).unwrap();
        assert_eq!(asked.answer(), None);
        assert!(
            convert(json!({}), json!({"type": "sft"}), json!({"prompt": "Q", "completion": ""})).unwrap_err().contains("completion: empty")
        );
    }

    #[test]
    fn unknown_rows_and_unfit_shapes_are_refused() {
        let message = convert(json!({}), json!({"type": "sft"}), json!({"q": "a", "a": "b"})).unwrap_err();
        assert!(message.contains("it has q, a; name its columns"), "{message}");
        let message = convert(json!({"shape": "alpaca"}), json!({"type": "text"}), json!({"text": "a"})).unwrap_err();
        assert!(message.contains("alpaca do not fit a task of type text"), "{message}");
        let message = convert(json!({}), classify("no field"), json!({})).unwrap_err();
        assert!(message.contains("names no field"), "{message}");
    }

    #[test]
    fn a_typed_text_becomes_what_the_rows_were() {
        let task: TaskSpec = serde_json::from_value(classify("{text}:")).unwrap();
        assert_eq!(from_text(&task, Shape::TextLabel, " 好 ", 1).unwrap().text(), "好");
        let two: TaskSpec = serde_json::from_value(classify("{a}{b}:")).unwrap();
        assert!(from_text(&two, Shape::TextLabel, "x", 1).unwrap_err().to_string().contains("a, b"));
        let sft: TaskSpec = serde_json::from_value(json!({"type": "sft"})).unwrap();
        assert!(matches!(from_text(&sft, Shape::Messages, "x", 1).unwrap().kind, SampleKind::Messages { .. }));
        assert!(matches!(from_text(&sft, Shape::PromptCompletion, "x", 1).unwrap().kind, SampleKind::Prompt { .. }));
    }
}
