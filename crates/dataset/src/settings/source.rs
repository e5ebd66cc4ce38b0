//! `dataset:` of a recipe: where rows come from, which of them are taken, and what their columns mean.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::scalar::Condition;
use super::short_form;

/// The data of a run: alternatives for where to get it, and how many rows of it are trained on and held out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(transform = also_string_or_list)]
pub struct DatasetSpec {
    /// Alternatives, tried in order; the first that can be had is used, alone. They need not be copies of each other: each has its
    /// own split, filter and column map.
    pub sources: Vec<SourceEntry>,
    /// Take at most this many rows (training and held-out rows together), the same share of every label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_samples: Option<usize>,
    /// Rows held out to measure on: a share below 1 or a number of rows; 0 holds out none.
    #[serde(default)]
    pub val_size: ValSize,
    /// Whether training rows come in an order drawn from the seed (the default) or in the order of the file.
    #[serde(default = "yes")]
    pub shuffle: bool,
}

fn yes() -> bool {
    true
}

impl DatasetSpec {
    /// The rows of these alternatives with everything else at its default.
    pub fn new(sources: Vec<SourceEntry>) -> Self {
        DatasetSpec { sources, max_samples: None, val_size: ValSize::default(), shuffle: true }
    }
}

short_form!(DatasetSpec, "a data set (`sources: [...]`), one source, or a list of sources", {
    fn visit_str<E: de::Error>(self, source: &str) -> Result<Self::Value, E> {
        Ok(DatasetSpec::new(vec![SourceEntry::new(source)]))
    }
    fn visit_seq<A: de::SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        Vec::deserialize(de::value::SeqAccessDeserializer::new(seq)).map(DatasetSpec::new)
    }
});

/// One alternative: a source, how to read it, which rows of it count, and what its columns mean. A plain string is a source with
/// everything else detected.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(transform = also_string)]
pub struct SourceEntry {
    /// `hf:[datasets/]org/name[@revision][/path]`, `pypi:package==version/path`, `https://…` or a local path.
    pub source: String,
    /// The split of a hub data set (`train`, `test`, …).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// The entry's name, where the source is a `dataset_info.json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How the file is written; by its extension if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<FileFormat>,
    /// What one row is; by its columns and the task if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Shape>,
    /// Only rows whose columns have these values.
    #[serde(default, rename = "where", skip_serializing_if = "BTreeMap::is_empty")]
    pub filter: BTreeMap<String, Condition>,
    /// Which column plays which role: `text`, `label`, `id`, `prompt`, `completion`, `instruction`, `input`, `output`, `history`,
    /// `system`, `tools`, `messages`, `conversations`, or any field that the task's prompt names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, ColumnSpec>,
    /// How turns of a conversation are written, where not as `role`/`content` or `from`/`value`.
    #[serde(default, skip_serializing_if = "Tags::is_default")]
    pub tags: Tags,
    /// Read at most this many rows of the file, from its start (LLaMA-Factory's `num_samples`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_samples: Option<usize>,
    /// The separator of a CSV file; found in its first line if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
    /// The column names of a CSV file that has no header line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Vec<String>>,
    /// The file's character encoding (`gb18030`, `windows-1252`, …); UTF-8, or UTF-16 with or without a byte-order mark, if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// What one row of a plain text file is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_by: Option<SampleBy>,
}

impl SourceEntry {
    /// A source with everything else detected.
    pub fn new(source: impl Into<String>) -> Self {
        SourceEntry { source: source.into(), ..Default::default() }
    }
}

short_form!(SourceEntry, "a source as text, or {source: ..., split: ..., where: ..., columns: ...}", {
    fn visit_str<E: de::Error>(self, source: &str) -> Result<Self::Value, E> {
        Ok(SourceEntry::new(source))
    }
});

/// How a data file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FileFormat {
    /// One JSON array of objects, one object with a list of rows under some key (`data`, `rows`, …), or one object.
    Json,
    /// One JSON object a line.
    Jsonl,
    /// Comma-separated (or another separator), with a header line.
    Csv,
    /// Tab-separated, with a header line.
    Tsv,
    /// Apache Parquet.
    Parquet,
    /// Plain text; the only column is `text`.
    Text,
}

impl fmt::Display for FileFormat {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            FileFormat::Json => "json",
            FileFormat::Jsonl => "jsonl",
            FileFormat::Csv => "csv",
            FileFormat::Tsv => "tsv",
            FileFormat::Parquet => "parquet",
            FileFormat::Text => "text",
        })
    }
}

/// What one row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// `instruction`, `input`, `output`, with `system` and `history` where there are any.
    Alpaca,
    /// `conversations: [{from, value}]`.
    Sharegpt,
    /// `messages: [{role, content}]`, as OpenAI writes them.
    Messages,
    /// `prompt` and `completion`, two texts that follow each other.
    PromptCompletion,
    /// `text` alone.
    Text,
    /// The fields that the task's prompt names, and a `label`.
    TextLabel,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Shape::Alpaca => "alpaca",
            Shape::Sharegpt => "sharegpt",
            Shape::Messages => "messages",
            Shape::PromptCompletion => "prompt_completion",
            Shape::Text => "text",
            Shape::TextLabel => "text_label",
        })
    }
}

/// What one row of a plain text file is (the names of Hugging Face's text loader).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SampleBy {
    /// Every line that is not blank.
    #[default]
    Line,
    /// Every run of lines between blank lines.
    Paragraph,
    /// The whole file.
    Document,
}

/// A column that plays a role: its name, or its name and how its text is taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, remote = "Self")]
#[schemars(transform = also_string)]
pub struct ColumnSpec {
    /// The column's name in the file.
    pub column: String,
    /// Whether white space around the text is cut off. By default it is for fields of a classification prompt, and is not for
    /// anything else, where white space may mean something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strip: Option<bool>,
}

impl From<&str> for ColumnSpec {
    fn from(column: &str) -> Self {
        ColumnSpec { column: column.to_owned(), strip: None }
    }
}

short_form!(ColumnSpec, "a column name, or {column: name, strip: false}", {
    fn visit_str<E: de::Error>(self, column: &str) -> Result<Self::Value, E> {
        Ok(ColumnSpec::from(column))
    }
});

/// How the turns of a conversation are written. What is not given is recognised in every usual spelling.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tags {
    /// The key that says who speaks (`role`, `from`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_tag: Option<String>,
    /// The key that holds what is said (`content`, `value`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_tag: Option<String>,
    /// The user's name (`user`, `human`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_tag: Option<String>,
    /// The assistant's name (`assistant`, `gpt`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assistant_tag: Option<String>,
    /// The name of a tool's answer (`tool`, `observation`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observation_tag: Option<String>,
    /// The name of an assistant's call of a tool (`function_call`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function_tag: Option<String>,
    /// The system's name (`system`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_tag: Option<String>,
}

impl Tags {
    pub(crate) fn is_default(&self) -> bool {
        *self == Tags::default()
    }
}

/// How many rows are held out, in LLaMA-Factory's convention: a share below 1, or a number of rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValSize {
    /// This share of the rows, in `0.0..1.0`.
    Share(f64),
    /// This many rows.
    Rows(usize),
}

impl Default for ValSize {
    /// A tenth: a run whose result nobody measured is not the default.
    fn default() -> Self {
        ValSize::Share(0.1)
    }
}

impl ValSize {
    /// The number of rows out of `total`; an error says why it cannot be.
    pub fn rows(self, total: usize) -> Result<usize, String> {
        let rows = match self {
            ValSize::Share(share) => (share * total as f64).round() as usize,
            ValSize::Rows(rows) => rows,
        };
        if rows > 0 && rows >= total {
            return Err(format!("{self} would hold out {rows} of {total} rows and leave none to train on"));
        }
        Ok(rows)
    }
}

impl fmt::Display for ValSize {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            ValSize::Share(share) => share.fmt(f),
            ValSize::Rows(rows) => rows.fmt(f),
        }
    }
}

impl Serialize for ValSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            ValSize::Share(share) => serializer.serialize_f64(*share),
            ValSize::Rows(rows) => serializer.serialize_u64(*rows as u64),
        }
    }
}

impl<'de> Deserialize<'de> for ValSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = f64::deserialize(deserializer)?;
        match value {
            v if (0.0..1.0).contains(&v) => Ok(ValSize::Share(v)),
            // Below 2^53 a whole number is exact in an f64.
            v if v >= 1.0 && v.fract() == 0.0 && v < 9e15 => Ok(ValSize::Rows(v as usize)),
            v => Err(de::Error::custom(format!("{v} is neither a share (0 or more, below 1) nor a number of rows"))),
        }
    }
}

impl JsonSchema for ValSize {
    fn schema_name() -> Cow<'static, str> {
        "ValSize".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Rows held out to measure on: a share below 1, or a number of rows; 0 holds out none.",
            "type": "number",
            "minimum": 0
        })
    }
}

/// Adds the short form to a derived schema: serde's attribute for it (`remote`) is invisible to schemars.
pub(super) fn also_string(schema: &mut schemars::Schema) {
    let long = schema.clone();
    *schema = schemars::json_schema!({"anyOf": [{"type": "string"}, long]});
}

/// As [`also_string`], and a list of sources.
fn also_string_or_list(schema: &mut schemars::Schema) {
    let long = schema.clone();
    let items = long.get("properties").and_then(|p| p.pointer("/sources/items")).cloned().unwrap_or_default();
    *schema = schemars::json_schema!({"anyOf": [{"type": "string"}, {"type": "array", "items": items}, long]});
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_dataset_reads_in_short_and_long_form() {
        let long: DatasetSpec = serde_json::from_value(json!({
            "sources": [
                {"source": "hf:datasets/a/b", "split": "train", "where": {"source": "rotten_tomatoes", "label": [0, 1]},
                 "columns": {"text": "review", "title": {"column": "标题", "strip": false}}},
                "data.csv"
            ],
            "max_samples": 2000, "val_size": 0.1
        }))
        .unwrap();
        assert_eq!(long.sources[1], SourceEntry::new("data.csv"));
        assert_eq!(long.sources[0].columns["title"], ColumnSpec { column: "标题".into(), strip: Some(false) });
        assert_eq!(long.val_size, ValSize::Share(0.1));
        let short: DatasetSpec = serde_json::from_value(json!("data.csv")).unwrap();
        assert_eq!(short, serde_json::from_value(json!(["data.csv"])).unwrap());
        let back: DatasetSpec = serde_json::from_str(&serde_json::to_string(&long).unwrap()).unwrap();
        assert_eq!(back, long);
    }

    #[test]
    fn unknown_keys_are_named() {
        let error = serde_json::from_value::<DatasetSpec>(json!({"sources": [], "max_sample": 1})).unwrap_err().to_string();
        assert!(error.contains("max_sample") && error.contains("max_samples"), "{error}");
        let error = serde_json::from_value::<SourceEntry>(json!({"source": "a", "were": {}})).unwrap_err().to_string();
        assert!(error.contains("`were`"), "{error}");
    }

    #[test]
    fn val_size_is_a_share_or_a_count() {
        let read = |v| serde_json::from_value::<ValSize>(v);
        assert_eq!(read(json!(0)).unwrap().rows(10), Ok(0));
        assert_eq!(read(json!(0.25)).unwrap().rows(10), Ok(3));
        assert_eq!(read(json!(4)).unwrap().rows(10), Ok(4));
        assert!(read(json!(1)).unwrap().rows(1).is_err());
        assert!(read(json!(-0.1)).is_err() && read(json!(1.5)).is_err());
    }

    #[test]
    fn the_schema_knows_both_forms() {
        let schema = serde_json::to_value(schemars::schema_for!(DatasetSpec)).unwrap();
        let text = schema.to_string();
        assert_eq!(schema["anyOf"][0]["type"], "string", "{text}");
        assert_eq!(schema["anyOf"][2]["additionalProperties"], false, "{text}");
        assert_eq!(schema["anyOf"][1]["items"], schema["anyOf"][2]["properties"]["sources"]["items"], "{text}");
        assert!(text.contains("\"where\""), "{text}");
    }
}
