//! Our own JSON lines, which any tool reads: one document a line, its labels by kind.
//!
//! ```text
//! {"id": "7", "text": "Ann runs Acme", "label": "business",
//!  "spans": [{"id": "T1", "label": "PER", "start": 0, "end": 3, "text": "Ann"}],
//!  "relations": [{"label": "runs", "args": [{"role": "from", "id": "T1"}, …]}],
//!  "annotator": "kim", "source": {"file": "a.pdf", "sha256": "…", "page": 1, "page_end": 1, "start": 0, "end": 13}}
//! ```
//!
//! One class is `label`, none or several are `labels`. Where several authors spoke, `annotations` lists what each said and the labels
//! beside it are the current ones, which are not read back. Keys that are not known are the user's own and stay (`meta`).

use serde_json::{Map, Value, json};

use super::import::{Keys, ReadOptions};
use super::{Answer, Author, AuthorKind, Body, Document, Format, Label, Native, Range, Statement, Surface, offset, scalar, surface};
use crate::error::BadRow;
use crate::import::Row;

/// Keys that hold labels, in the order in which they are read.
const LABELS: [&str; 13] = [
    "label",
    "labels",
    "classes",
    "spans",
    "relations",
    "events",
    "attributes",
    "equivs",
    "notes",
    "normalisations",
    "texts",
    "questions",
    "others",
];
/// Keys of a statement beside its labels.
const STATEMENT: [&str; 5] = ["annotator", "author", "answer", "confidence", "native"];
/// Keys of a document.
const DOCUMENT: [&str; 7] = ["id", "text", "source", "document", "annotations", "format_fields", "user_fields"];

/// The document that a row is.
pub fn read(mut row: Row, options: &ReadOptions, keys: &mut Keys) -> Result<Document, BadRow> {
    let text_key = options.text.as_deref().unwrap_or("text");
    let text = match row.fields.shift_remove(text_key) {
        Some(Value::String(text)) => text,
        Some(_) => return Err(row.bad(text_key, "is not a text")),
        None => return Err(row.bad(text_key, "no such key; name the one that holds the text with --text-column")),
    };
    let id_key = options.id.as_deref().unwrap_or("id");
    let id = row.fields.shift_remove(id_key).filter(|id| scalar(id).is_some());
    if let Some(label_key) = options.label.as_deref().filter(|key| *key != "label")
        && let Some(value) = row.fields.shift_remove(label_key)
    {
        row.fields.insert("label".into(), value);
    }
    let known_as = match row.fields.shift_remove("document") {
        Some(Value::Object(known)) => match (known.get("source").and_then(Value::as_str), known.get("row").and_then(Value::as_str)) {
            (Some(source), Some(key)) => Some((source.to_owned(), key.to_owned())),
            _ => return Err(row.bad("document", "needs `source` and `row`, both texts")),
        },
        Some(other) => {
            row.fields.insert("document".into(), other);
            None
        }
        None => None,
    };
    let source = match row.fields.shift_remove("source") {
        Some(Value::Object(source)) => Some(source),
        Some(other) => {
            // A column of that name which is not provenance is the user's own.
            row.fields.insert("source".into(), other);
            None
        }
        None => None,
    };
    let native = row.fields.shift_remove("format_fields").and_then(|v| serde_json::from_value(v).ok());
    let mut statements = Vec::new();
    let clashing = row.fields.shift_remove("user_fields");
    match row.fields.shift_remove("annotations") {
        Some(Value::Array(list)) => {
            for (i, value) in list.into_iter().enumerate() {
                let place = format!("annotations[{i}]");
                let Value::Object(mut fields) = value else { return Err(row.bad(place, "is no object")) };
                let found = statement(&mut fields, options).map_err(|(key, why)| row.bad(format!("{place}.{key}"), why))?;
                statements.push(found.unwrap_or_default());
            }
            for key in LABELS.iter().chain(&STATEMENT) {
                row.fields.shift_remove(*key);
            }
        }
        Some(_) => return Err(row.bad("annotations", "is no list")),
        None => {
            let mut fields = std::mem::take(&mut row.fields);
            let found = statement(&mut fields, options);
            row.fields = fields;
            statements.extend(found.map_err(|(key, why)| row.bad(key, why))?);
        }
    }
    statements.iter_mut().for_each(|s| s.place = Some(row.line as u64));
    match clashing {
        Some(Value::Object(fields)) => row.fields.extend(fields),
        Some(other) => {
            row.fields.insert("user_fields".into(), other);
        }
        None => {}
    }
    Ok(Document { row: keys.key(id.as_ref(), row.line), id, known_as, text, source, meta: row.fields, native, statements })
}

/// A complaint: the key, and what is wrong with it.
type Complaint = (String, String);

fn complain<T>(key: impl Into<String>, why: impl Into<String>) -> Result<T, Complaint> {
    Err((key.into(), why.into()))
}

/// Takes a statement's keys out of `fields`; `None` if it has none of them.
fn statement(fields: &mut Map<String, Value>, options: &ReadOptions) -> Result<Option<Statement>, Complaint> {
    let mut said = false;
    let mut labels = Vec::new();
    for key in LABELS {
        let Some(value) = fields.shift_remove(key) else { continue };
        match value {
            Value::Null => {}
            Value::String(text) if text.trim().is_empty() => {}
            value => {
                said = true;
                read_labels(key, value, &mut labels)?;
            }
        }
    }
    let kind = match fields.shift_remove("author") {
        Some(Value::String(name)) => match AuthorKind::of_name(&name) {
            Some(kind) => {
                said = true;
                Some(kind)
            }
            None => {
                fields.insert("author".into(), name.into());
                None
            }
        },
        Some(other) => {
            fields.insert("author".into(), other);
            None
        }
        None => None,
    };
    let name = fields.shift_remove("annotator").and_then(|v| scalar(&v));
    let answer = match fields.shift_remove("answer") {
        Some(Value::String(name)) => match Answer::of_name(&name) {
            Some(answer) => {
                said = true;
                answer
            }
            None => {
                fields.insert("answer".into(), name.into());
                Answer::Accept
            }
        },
        Some(other) => {
            fields.insert("answer".into(), other);
            Answer::Accept
        }
        None => Answer::Accept,
    };
    let confidence = match fields.get("confidence").and_then(Value::as_f64) {
        Some(value) if (0.0..=1.0).contains(&value) => {
            fields.shift_remove("confidence");
            Some(value)
        }
        _ => None,
    };
    let native: Option<Native> = match fields.shift_remove("native") {
        Some(value) => match serde_json::from_value(value.clone()) {
            Ok(native) => Some(native),
            Err(_) => {
                fields.insert("native".into(), value);
                None
            }
        },
        None => None,
    };
    if !said {
        return Ok(None);
    }
    let name = name.or_else(|| options.author.clone()).unwrap_or_default();
    Ok(Some(Statement {
        author: Author { kind: kind.unwrap_or(options.author_kind), name },
        answer,
        confidence,
        labels,
        native,
        place: None,
    }))
}

fn read_labels(key: &str, value: Value, labels: &mut Vec<Label>) -> Result<(), Complaint> {
    if matches!(key, "label" | "labels") {
        return match value {
            Value::Array(list) => {
                for (i, item) in list.into_iter().enumerate() {
                    match item {
                        Value::Array(triple) => labels.push(triple_span(&triple).ok_or((format!("{key}[{i}]"), TRIPLE.to_owned()))?),
                        other => labels.push(class(&other).ok_or((format!("{key}[{i}]"), "is no class".to_owned()))?),
                    }
                }
                Ok(())
            }
            other => {
                labels.push(class(&other).ok_or((key.to_owned(), "is neither a class nor a list".to_owned()))?);
                Ok(())
            }
        };
    }
    let Value::Array(list) = value else { return complain(key, "is no list") };
    for (i, item) in list.into_iter().enumerate() {
        let place = || format!("{key}[{i}]");
        let label = match item {
            Value::Array(triple) if key == "spans" => triple_span(&triple).ok_or((place(), TRIPLE.to_owned()))?,
            Value::String(text) if key == "texts" => Label::new(Body::Text { name: String::new(), text }),
            Value::Object(fields) => one(key, fields).map_err(|(field, why)| (format!("{}.{field}", place()), why))?,
            _ => return complain(place(), "is no object"),
        };
        labels.push(label);
    }
    Ok(())
}

const TRIPLE: &str = "is no [start, end, \"label\"]";

/// A class from a text, a number or a flag; what it was is remembered.
pub(super) fn class(value: &Value) -> Option<Label> {
    let mut label = Label::new(Body::class(scalar(value)?));
    if !value.is_string() {
        label.native.insert("value".into(), value.clone());
    }
    Some(label)
}

/// What [`class`] read.
pub(super) fn class_value(label: &Label, name: &str) -> Value {
    match label.native.get("value") {
        Some(value) if scalar(value).as_deref() == Some(name) => value.clone(),
        _ => name.into(),
    }
}

/// `[start, end, "label"]`.
pub(super) fn triple_span(triple: &[Value]) -> Option<Label> {
    let [start, end, label] = triple else { return None };
    Some(Label::new(Body::span(scalar(label)?, offset(Some(start))?, offset(Some(end))?)))
}

fn one(key: &str, mut fields: Map<String, Value>) -> Result<Label, Complaint> {
    let id = fields.shift_remove("id").and_then(|v| scalar(&v)).unwrap_or_default();
    let mut native = match fields.shift_remove("native") {
        Some(Value::Object(native)) => native,
        _ => Map::new(),
    };
    let mut text = |field: &str| -> Result<String, Complaint> {
        match fields.shift_remove(field).as_ref().map(scalar) {
            Some(Some(text)) => Ok(text),
            Some(None) => complain(field, "is no text"),
            None => complain(field, "no such key"),
        }
    };
    let body = match key {
        "classes" => Body::Class { label: text("label")?, group: text("group").unwrap_or_default() },
        "spans" => {
            let (label, said) = (text("label")?, text("text").ok());
            let ranges = match fields.shift_remove("ranges") {
                Some(value) => ranges(&value).ok_or_else(|| ("ranges".to_owned(), "is no list of [start, end]".to_owned()))?,
                None => {
                    let mut bound = |field: &str| {
                        offset(fields.shift_remove(field).as_ref()).ok_or_else(|| (field.to_owned(), "is no offset".to_owned()))
                    };
                    vec![[bound("start")?, bound("end")?]]
                }
            };
            Body::Span { label, ranges, surface: said.map(|text| Surface { text, loose: false }) }
        }
        "relations" => Body::Relation { label: text("label")?, args: args(&mut fields)? },
        "events" => Body::Event { label: text("label")?, trigger: text("trigger")?, args: args(&mut fields)? },
        "attributes" => {
            let (label, target, value) = (text("label")?, text("target")?, text("value").ok());
            Body::Attribute { label, target, value, legacy: fields.shift_remove("legacy") == Some(Value::Bool(true)) }
        }
        "equivs" => {
            let label = text("label")?;
            let members = fields.shift_remove("members");
            let members = members.as_ref().and_then(Value::as_array).map(|m| m.iter().filter_map(scalar).collect());
            Body::Equiv { label, members: members.ok_or_else(|| ("members".to_owned(), "is no list of ids".to_owned()))? }
        }
        "notes" => Body::Note { label: text("label")?, target: text("target")?, text: text("text")? },
        "normalisations" => {
            Body::Normalisation { label: text("label")?, target: text("target")?, entry: text("entry")?, text: text("text")? }
        }
        "texts" => Body::Text { text: text("text")?, name: text("name").unwrap_or_default() },
        "questions" => {
            let (question, answer) = (text("question")?, text("answer")?);
            let found = fields.shift_remove("ranges").map(|value| ranges(&value));
            let ranges = found.unwrap_or(Some(Vec::new())).ok_or_else(|| ("ranges".to_owned(), "is no list of [start, end]".to_owned()))?;
            Body::Qa { question, answer, ranges }
        }
        _ => Body::Other { label: text("label")?, value: fields.shift_remove("value").unwrap_or(Value::Null) },
    };
    native.extend(fields);
    Ok(Label { id, body, native })
}

fn ranges(value: &Value) -> Option<Vec<Range>> {
    let list = value.as_array()?;
    list.iter()
        .map(|pair| match &pair.as_array()?[..] {
            [start, end] => Some([offset(Some(start))?, offset(Some(end))?]),
            _ => None,
        })
        .collect()
}

/// `[{"role": …, "id": …}]`, or an object of roles.
fn args(fields: &mut Map<String, Value>) -> Result<Vec<(String, String)>, Complaint> {
    let found = match fields.shift_remove("args") {
        Some(Value::Object(roles)) => roles.iter().map(|(role, id)| Some((role.clone(), scalar(id)?))).collect(),
        Some(Value::Array(list)) => {
            list.iter().map(|arg| Some((arg.get("role").and_then(scalar)?, arg.get("id").and_then(scalar)?))).collect()
        }
        _ => None,
    };
    found.ok_or_else(|| ("args".to_owned(), "is no list of {role, id}".to_owned()))
}

/// How much of a document a row tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Everything that was said, by whom, so that the file rebuilds the store.
    Full,
    /// The current labels: rows to train on.
    Plain,
}

/// The row that a document is; `current` are the labels that count.
pub fn write(document: &Document, current: Option<&Statement>, detail: Detail) -> Map<String, Value> {
    let mut row = Map::new();
    row.insert("id".into(), document.id.clone().unwrap_or_else(|| document.row.as_str().into()));
    row.insert("text".into(), document.text.as_str().into());
    let spoken = &document.statements;
    let simple = match (&spoken[..], current) {
        ([], _) => true,
        ([only], Some(current)) => only.native.is_none() && only.labels == current.labels && only.author == current.author,
        _ => false,
    };
    if let Some(current) = current {
        let all = detail == Detail::Full && simple;
        write_statement(&mut row, &document.text, current, detail == Detail::Plain || simple, all);
    }
    if detail == Detail::Full && !simple {
        let said = spoken.iter().map(|statement| {
            let mut fields = Map::new();
            write_statement(&mut fields, &document.text, statement, true, true);
            if let Some(native) = &statement.native {
                // Plain strings and JSON: it cannot fail to serialise.
                fields.insert("native".into(), serde_json::to_value(native).unwrap_or_default());
            }
            Value::Object(fields)
        });
        row.insert("annotations".into(), said.collect());
    }
    if let Some(source) = &document.source {
        row.insert("source".into(), source.clone().into());
    }
    let mut clashing = Map::new();
    for (key, value) in &document.meta {
        if is_known(key) {
            clashing.insert(key.clone(), value.clone());
        } else {
            row.insert(key.clone(), value.clone());
        }
    }
    if !clashing.is_empty() {
        row.insert("user_fields".into(), clashing.into());
    }
    if detail == Detail::Full
        && let Some(native) = &document.native
    {
        row.insert("format_fields".into(), serde_json::to_value(native).unwrap_or_default());
    }
    if let Some((source, key)) = &document.known_as {
        row.insert("document".into(), json!({"source": source, "row": key}));
    }
    row
}

/// Keys that a row of ours gives a meaning to.
fn is_known(key: &str) -> bool {
    LABELS.contains(&key) || STATEMENT.contains(&key) || DOCUMENT.contains(&key)
}

/// `who`: with the author and the answer; `natives`: with what only a format understands.
fn write_statement(row: &mut Map<String, Value>, text: &str, statement: &Statement, who: bool, natives: bool) {
    let mut classes = Vec::new();
    let mut by_key: [Vec<Value>; LABELS.len()] = Default::default();
    for label in &statement.labels {
        let (key, mut fields) = write_label(text, label);
        if key == "label" {
            // A class without a group stands by its name alone.
            classes.push(class_value(label, label.class().unwrap_or_default()));
            continue;
        }
        if !label.id.is_empty() {
            fields.insert("id".into(), label.id.as_str().into());
        }
        if natives && !label.native.is_empty() {
            fields.insert("native".into(), label.native.clone().into());
        }
        if let Some(at) = LABELS.iter().position(|k| *k == key) {
            by_key[at].push(fields.into());
        }
    }
    let others = by_key.iter().any(|list| !list.is_empty());
    match &mut classes[..] {
        [only] => {
            row.insert("label".into(), only.take());
        }
        // A statement without any label is one that says: nothing is here.
        [] if others => {}
        _ => {
            row.insert("labels".into(), classes.into());
        }
    }
    for (key, list) in LABELS.iter().zip(by_key) {
        if !list.is_empty() {
            row.insert((*key).to_owned(), list.into());
        }
    }
    if !who {
        return;
    }
    if !statement.author.name.is_empty() {
        row.insert("annotator".into(), statement.author.name.as_str().into());
    }
    if statement.author.kind != AuthorKind::Human {
        row.insert("author".into(), statement.author.kind.name().into());
    }
    if statement.answer != Answer::Accept {
        row.insert("answer".into(), statement.answer.name().into());
    }
    if let Some(confidence) = statement.confidence {
        row.insert("confidence".into(), confidence.into());
    }
}

fn write_label(text: &str, label: &Label) -> (&'static str, Map<String, Value>) {
    let args = |args: &[(String, String)]| -> Value { args.iter().map(|(role, id)| json!({"role": role, "id": id})).collect() };
    let (key, value) = match &label.body {
        Body::Class { group, .. } if group.is_empty() => ("label", Value::Null),
        Body::Class { group, label } => ("classes", json!({"group": group, "label": label})),
        Body::Span { label, ranges, .. } => {
            let mut fields = json!({"label": label});
            match ranges[..] {
                [[start, end]] => {
                    fields["start"] = start.into();
                    fields["end"] = end.into();
                }
                _ => fields["ranges"] = json!(ranges),
            }
            fields["text"] = surface(text, ranges).into();
            ("spans", fields)
        }
        Body::Relation { label, args: given } => ("relations", json!({"label": label, "args": args(given)})),
        Body::Event { label, trigger, args: given } => ("events", json!({"label": label, "trigger": trigger, "args": args(given)})),
        Body::Attribute { label, target, value, legacy } => {
            let mut fields = json!({"label": label, "target": target});
            if let Some(value) = value {
                fields["value"] = value.as_str().into();
            }
            if *legacy {
                fields["legacy"] = true.into();
            }
            ("attributes", fields)
        }
        Body::Equiv { label, members } => ("equivs", json!({"label": label, "members": members})),
        Body::Note { label, target, text } => ("notes", json!({"label": label, "target": target, "text": text})),
        Body::Normalisation { label, target, entry, text } => {
            ("normalisations", json!({"label": label, "target": target, "entry": entry, "text": text}))
        }
        Body::Text { name, text } => ("texts", json!({"name": name, "text": text})),
        Body::Qa { question, answer, ranges } => ("questions", json!({"question": question, "answer": answer, "ranges": ranges})),
        Body::Other { label, value } => ("others", json!({"label": label, "value": value})),
    };
    match value {
        Value::Object(fields) => (key, fields),
        _ => (key, Map::new()),
    }
}

/// The format whose remainder an import of this format keeps.
pub const FORMAT: Format = Format::Jsonl;
