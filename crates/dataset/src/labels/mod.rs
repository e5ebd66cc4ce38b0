//! Labelled documents as the field's tools write them, read into one neutral model and written back.
//!
//! file → [`import`] → [`Document`] (text, and what each author said of it) → [`export`] → file. One module a format:
//! [`brat`], [`conll`], [`csv`], [`doccano`], [`jsonl`], [`label_studio`], [`labelbox`] (read only), [`prodigy`].
//!
//! Offsets are code points of the text as the file has it, and every imported span is held against its surface ([`check`]). What a
//! format knows and this model does not is kept beside it ([`Native`]) and written back by the same format; what a format cannot say
//! is counted ([`Losses`]), never dropped in silence.

pub mod brat;
pub mod check;
pub mod conll;
pub mod csv;
pub mod doccano;
pub mod export;
pub mod import;
pub mod jsonl;
pub mod label_studio;
pub mod labelbox;
pub mod prodigy;
pub(crate) mod tokens;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A way to write labels down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// brat standoff: a directory of `.txt` and `.ann` files.
    Brat,
    /// Tokens in columns, one a line.
    Conll,
    /// A table with a column of texts and one of labels.
    Csv,
    /// doccano's JSONL, JSON, CSV and fastText files.
    Doccano,
    /// Our own JSON lines.
    Jsonl,
    /// Label Studio's JSON.
    LabelStudio,
    /// Labelbox NDJSON (import only).
    Labelbox,
    /// Prodigy's JSONL.
    Prodigy,
}

impl Format {
    /// All, in the order of their names.
    pub const ALL: [Format; 8] =
        [Format::Brat, Format::Conll, Format::Csv, Format::Doccano, Format::Jsonl, Format::LabelStudio, Format::Labelbox, Format::Prodigy];

    /// The name that a user types.
    pub fn name(self) -> &'static str {
        match self {
            Format::Brat => "brat",
            Format::Conll => "conll",
            Format::Csv => "csv",
            Format::Doccano => "doccano",
            Format::Jsonl => "jsonl",
            Format::LabelStudio => "label-studio",
            Format::Labelbox => "labelbox",
            Format::Prodigy => "prodigy",
        }
    }

    /// Whether what is kept for the format beside the labels is the file's own, and not just how it was spelled.
    pub(crate) fn has_own_fields(self) -> bool {
        matches!(self, Format::Conll | Format::LabelStudio | Format::Labelbox | Format::Prodigy)
    }

    /// The format of that name; `_` counts as `-`.
    pub fn of_name(name: &str) -> Option<Format> {
        let name = name.to_ascii_lowercase().replace('_', "-");
        Format::ALL.into_iter().find(|f| f.name() == name)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text and what was said of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// Which row of its source it is: the row's own id, `:` and the line where it has none, or brat's relative path. Documents are the
    /// same if source, row and text are; equal texts alone are not enough.
    pub row: String,
    /// The row's own id as the file has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Value>,
    /// Where our own exports say the document came from: source and row of the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_as: Option<(String, String)>,
    /// The text, byte for byte as the file has it.
    pub text: String,
    /// Where the text was cut from: `file`, `sha256`, `page`, `page_end`, `start`, `end`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Map<String, Value>>,
    /// What else the row says that is the user's own.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub meta: Map<String, Value>,
    /// What only its format understands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native: Option<Native>,
    /// Who said what; a document without is unlabelled.
    #[serde(default)]
    pub statements: Vec<Statement>,
}

/// Fields that only one format understands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Native {
    /// Whose.
    pub format: Format,
    /// The fields.
    pub fields: Map<String, Value>,
}

impl Native {
    /// `None` if there is nothing to keep.
    pub fn new(format: Format, fields: Map<String, Value>) -> Option<Native> {
        (!fields.is_empty()).then_some(Native { format, fields })
    }
}

/// The fields kept for `format`, if these are its.
pub(crate) fn native_of(native: &Option<Native>, format: Format) -> Option<&Map<String, Value>> {
    native.as_ref().filter(|n| n.format == format).map(|n| &n.fields)
}

/// What one author said of one document at one time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Statement {
    /// Who or what.
    #[serde(default)]
    pub author: Author,
    /// Whether the labels are said to be right, wrong, or nothing is said.
    #[serde(default)]
    pub answer: Answer,
    /// How sure the author was, from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// The labels. None at all is a statement too: there is nothing here.
    #[serde(default)]
    pub labels: Vec<Label>,
    /// What only its format understands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native: Option<Native>,
    /// The place in its file (line or row, from 1), by which exports keep an order that interleaves documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<u64>,
}

/// Who or what speaks.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Author {
    /// What it is.
    #[serde(default)]
    pub kind: AuthorKind,
    /// Its name; empty where a file names none.
    #[serde(default)]
    pub name: String,
}

/// What an author is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthorKind {
    /// A person.
    #[default]
    Human,
    /// A person who settles what others disagree about: this wins over everything else.
    Adjudicator,
    /// A labelling function.
    Rule,
    /// A match with a knowledge base.
    Distant,
    /// A model's label on which it is to be trained itself.
    Pseudo,
    /// A larger model.
    Teacher,
    /// A model's prediction.
    Model,
}

impl AuthorKind {
    /// All.
    pub const ALL: [AuthorKind; 7] = [
        AuthorKind::Human,
        AuthorKind::Adjudicator,
        AuthorKind::Rule,
        AuthorKind::Distant,
        AuthorKind::Pseudo,
        AuthorKind::Teacher,
        AuthorKind::Model,
    ];

    /// Its name in files and stores.
    pub fn name(self) -> &'static str {
        match self {
            AuthorKind::Human => "human",
            AuthorKind::Adjudicator => "adjudicator",
            AuthorKind::Rule => "rule",
            AuthorKind::Distant => "distant",
            AuthorKind::Pseudo => "pseudo",
            AuthorKind::Teacher => "teacher",
            AuthorKind::Model => "model",
        }
    }

    /// The kind of that name.
    pub fn of_name(name: &str) -> Option<AuthorKind> {
        AuthorKind::ALL.into_iter().find(|k| k.name() == name)
    }

    /// Whether a person speaks.
    pub fn is_human(self) -> bool {
        matches!(self, AuthorKind::Human | AuthorKind::Adjudicator)
    }
}

/// What a statement says of its labels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// They are right.
    #[default]
    Accept,
    /// They are wrong: evidence against them.
    Reject,
    /// Nothing is said: the author passed the document over.
    Ignore,
}

impl Answer {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Answer::Accept => "accept",
            Answer::Reject => "reject",
            Answer::Ignore => "ignore",
        }
    }

    /// The answer of that name.
    pub fn of_name(name: &str) -> Option<Answer> {
        [Answer::Accept, Answer::Reject, Answer::Ignore].into_iter().find(|a| a.name() == name)
    }
}

/// One thing that was said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Label {
    /// Name by which others of the same statement refer to it (`T1`); empty where nothing does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// What it says.
    #[serde(flatten)]
    pub body: Body,
    /// Fields that only the statement's format understands.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub native: Map<String, Value>,
}

/// Start and end of a stretch of text in code points; the end is not part of it.
pub type Range = [usize; 2];

/// What a label says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Body {
    /// The document is of a class.
    Class {
        /// Of which question this is an answer (`sentiment`); empty where a file asks only one.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        group: String,
        /// The class.
        label: String,
    },
    /// Stretches of the text are of a type: one range, or several of a discontinuous span. Spans may nest, cross and repeat.
    Span {
        /// The type.
        label: String,
        /// The stretches, in the order of the file.
        ranges: Vec<Range>,
        /// The text that the file says they are; needed only until it was checked.
        #[serde(skip)]
        surface: Option<Surface>,
    },
    /// Labels stand in a relation.
    Relation {
        /// Its type.
        label: String,
        /// Roles and the ids that play them.
        args: Vec<(String, String)>,
    },
    /// Something happens.
    Event {
        /// Its type.
        label: String,
        /// Id of the span that says so.
        trigger: String,
        /// Roles and the ids that play them.
        args: Vec<(String, String)>,
    },
    /// A label has a property.
    Attribute {
        /// The property.
        label: String,
        /// The id that has it.
        target: String,
        /// Its value, if it is not just there or not there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<String>,
        /// Written with brat's former letter `M`.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        legacy: bool,
    },
    /// Labels mean the same.
    Equiv {
        /// Its type, `Equiv` as a rule.
        label: String,
        /// Their ids.
        members: Vec<String>,
    },
    /// A remark on a label.
    Note {
        /// Its type, `AnnotatorNotes` as a rule.
        label: String,
        /// The id that is remarked on.
        target: String,
        /// The remark, leading spaces included.
        text: String,
    },
    /// A label names an entry of a knowledge base.
    Normalisation {
        /// Its type, `Reference` as a rule.
        label: String,
        /// The id that is an entry's name.
        target: String,
        /// Knowledge base and key (`Wiki:123`).
        entry: String,
        /// The entry's own name.
        text: String,
    },
    /// Free text: a translation, a summary, a keyword.
    Text {
        /// What it is (`summary`, `keyword`); empty where a file asks only one thing.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        name: String,
        /// The text.
        text: String,
    },
    /// A question that the document answers.
    Qa {
        /// The question.
        question: String,
        /// The answer.
        answer: String,
        /// Where the text says so.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ranges: Vec<Range>,
    },
    /// Something that only the file's format understands, kept whole.
    Other {
        /// Its type there.
        label: String,
        /// All of it.
        value: Value,
    },
}

/// What a file says that a span's text is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surface {
    /// The text.
    pub text: String,
    /// It was put together from tokens: white space does not count.
    pub loose: bool,
}

impl Body {
    /// What kinds of thing are called where they are counted.
    pub fn kind(&self) -> &'static str {
        match self {
            Body::Class { .. } => "classes",
            Body::Span { .. } => "spans",
            Body::Relation { .. } => "relations",
            Body::Event { .. } => "events",
            Body::Attribute { .. } => "attributes",
            Body::Equiv { .. } => "equivs",
            Body::Note { .. } => "notes",
            Body::Normalisation { .. } => "normalisations",
            Body::Text { .. } => "texts",
            Body::Qa { .. } => "questions",
            Body::Other { .. } => "others",
        }
    }

    /// A span whose text is not in the file.
    pub fn span(label: impl Into<String>, start: usize, end: usize) -> Body {
        Body::Span { label: label.into(), ranges: vec![[start, end]], surface: None }
    }

    /// A class of the only question.
    pub fn class(label: impl Into<String>) -> Body {
        Body::Class { group: String::new(), label: label.into() }
    }

    /// The ids that this refers to.
    pub fn refers_to(&self) -> Vec<&str> {
        match self {
            Body::Relation { args, .. } => args.iter().map(|(_, id)| id.as_str()).collect(),
            Body::Event { trigger, args, .. } => std::iter::once(trigger.as_str()).chain(args.iter().map(|(_, id)| id.as_str())).collect(),
            Body::Attribute { target, .. } | Body::Note { target, .. } | Body::Normalisation { target, .. } => vec![target],
            Body::Equiv { members, .. } => members.iter().map(String::as_str).collect(),
            _ => Vec::new(),
        }
    }
}

impl Label {
    /// A label that nothing refers to.
    pub fn new(body: Body) -> Label {
        Label { id: String::new(), body, native: Map::new() }
    }

    /// A label with a name.
    pub fn named(id: impl Into<String>, body: Body) -> Label {
        Label { id: id.into(), body, native: Map::new() }
    }

    /// Its class, if it is one.
    pub fn class(&self) -> Option<&str> {
        match &self.body {
            Body::Class { label, .. } => Some(label),
            _ => None,
        }
    }

    /// Its type and ranges, if it is a span.
    pub fn span(&self) -> Option<(&str, &[Range])> {
        match &self.body {
            Body::Span { label, ranges, .. } => Some((label, ranges)),
            _ => None,
        }
    }
}

impl Statement {
    /// What a person said.
    pub fn human(name: impl Into<String>, labels: Vec<Label>) -> Statement {
        Statement { author: Author { kind: AuthorKind::Human, name: name.into() }, labels, ..Statement::default() }
    }

    /// The classes in order.
    pub fn classes(&self) -> impl Iterator<Item = &str> {
        self.labels.iter().filter_map(Label::class)
    }
}

/// The text between code points `start` and `end`; `None` if there is none.
pub fn slice(text: &str, start: usize, end: usize) -> Option<&str> {
    if start > end {
        return None;
    }
    let mut bounds = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    let from = bounds.nth(start)?;
    let to = if end == start { from } else { bounds.nth(end - start - 1)? };
    text.get(from..to)
}

/// The text of a span: of a discontinuous one its parts, joined by one space.
pub fn surface(text: &str, ranges: &[Range]) -> Option<String> {
    let parts: Option<Vec<&str>> = ranges.iter().map(|&[start, end]| slice(text, start, end)).collect();
    parts.map(|parts| parts.join(" "))
}

/// What a format could not say, or an import could not use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Losses(BTreeMap<(String, String), usize>);

/// One kind of loss.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// Of what.
    pub what: String,
    /// How many.
    pub count: usize,
    /// Why.
    pub reason: String,
}

impl Losses {
    /// `count` of `what` are lost.
    pub fn add(&mut self, what: &str, count: usize, reason: impl Into<String>) {
        if count > 0 {
            *self.0.entry((what.to_owned(), reason.into())).or_default() += count;
        }
    }

    /// Takes over what another counted.
    pub fn extend(&mut self, other: Losses) {
        for ((what, reason), count) in other.0 {
            self.add(&what, count, reason);
        }
    }

    /// Whether nothing is lost.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many of `what`.
    pub fn count(&self, what: &str) -> usize {
        self.0.iter().filter(|((w, _), _)| w == what).map(|(_, n)| n).sum()
    }

    /// The list that scripts read.
    pub fn list(&self) -> Vec<Lost> {
        self.0.iter().map(|((what, reason), &count)| Lost { what: what.clone(), count, reason: reason.clone() }).collect()
    }
}

/// Counts what `format` cannot say of a statement's labels.
pub(crate) fn count_unsayable(losses: &mut Losses, statement: &Statement, format: Format, sayable: &[&str]) {
    for label in &statement.labels {
        let kind = label.body.kind();
        if !sayable.contains(&kind) {
            losses.add(kind, 1, format!("{format} has no place for them"));
        }
    }
    if let Some(native) = statement.native.as_ref().filter(|n| n.format != format && n.format.has_own_fields()) {
        losses.add("fields", 1, format!("rows have fields that only {} understands", native.format));
    }
}

/// Hands out names that are not taken: `T1`, `T2`, …
pub(crate) fn fresh_id(taken: &mut std::collections::BTreeSet<String>, letter: &str) -> String {
    let mut n = taken.len() + 1;
    // Fewer names are taken than numbers are tried: one of them is free.
    if let Some(first) = (1..=n).find(|i| !taken.contains(&format!("{letter}{i}"))) {
        n = first;
    }
    let id = format!("{letter}{n}");
    taken.insert(id.clone());
    id
}

/// A scalar as text; `None` for lists, objects and null.
pub(crate) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// A non-negative whole number, also as `7.0`, which some tools write.
pub(crate) fn offset(value: Option<&Value>) -> Option<usize> {
    let value = value?;
    if let Some(n) = value.as_u64() {
        return usize::try_from(n).ok();
    }
    value.as_f64().filter(|f| f.fract() == 0.0 && *f >= 0.0 && *f < 1e15).map(|f| f as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_count_code_points() {
        let text = "a😀é你\r\nz";
        assert_eq!(slice(text, 1, 3), Some("😀é"));
        assert_eq!(slice(text, 0, 7), Some(text));
        assert_eq!(slice(text, 7, 7), Some(""));
        assert_eq!(slice(text, 2, 1), None);
        assert_eq!(slice(text, 3, 8), None);
        assert_eq!(surface(text, &[[0, 1], [3, 4]]), Some("a 你".into()));
    }

    #[test]
    fn labels_survive_json() {
        let bodies = [
            Body::class("好"),
            Body::Span { label: "P".into(), ranges: vec![[0, 1], [3, 4]], surface: None },
            Body::Relation { label: "r".into(), args: vec![("Arg1".into(), "T1".into())] },
            Body::Event { label: "e".into(), trigger: "T1".into(), args: vec![] },
            Body::Attribute { label: "a".into(), target: "T1".into(), value: None, legacy: true },
            Body::Equiv { label: "Equiv".into(), members: vec!["T1".into()] },
            Body::Note { label: "n".into(), target: "T1".into(), text: "  x".into() },
            Body::Normalisation { label: "Reference".into(), target: "T1".into(), entry: "W:1".into(), text: "x".into() },
            Body::Text { name: String::new(), text: "t".into() },
            Body::Qa { question: "q".into(), answer: "a".into(), ranges: vec![[0, 1]] },
            Body::Other { label: "rating".into(), value: serde_json::json!({"rating": 3}) },
        ];
        for body in bodies {
            let label = Label::named("T1", body);
            let text = serde_json::to_string(&label).unwrap();
            assert_eq!(serde_json::from_str::<Label>(&text).unwrap(), label, "{text}");
        }
    }

    #[test]
    fn losses_add_up() {
        let mut losses = Losses::default();
        losses.add("spans", 2, "overlap");
        losses.add("spans", 1, "overlap");
        losses.add("notes", 0, "none");
        assert_eq!(losses.list(), [Lost { what: "spans".into(), count: 3, reason: "overlap".into() }]);
    }

    #[test]
    fn fresh_names_are_free() {
        let mut taken = ["T1", "T3"].map(String::from).into();
        assert_eq!(fresh_id(&mut taken, "T"), "T2");
        assert_eq!(fresh_id(&mut taken, "T"), "T4");
    }
}
