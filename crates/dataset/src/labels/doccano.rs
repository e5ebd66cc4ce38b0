//! doccano's files: JSONL (text classification, sequence labelling, relations, intents with slots, sequence to sequence), JSON, CSV
//! with `#` between several labels, fastText lines and plain text lines.

use serde_json::{Map, Value, json};

use super::import::{Keys, LabelsAre, ReadOptions};
use super::jsonl::{class, class_value, triple_span};
use super::{Body, Document, Format, Label, Losses, Native, Statement, count_unsayable, native_of, offset, scalar};
use crate::error::BadRow;
use crate::import::Row;

/// The document that a row of JSONL, JSON or CSV is.
pub fn read(mut row: Row, options: &ReadOptions, keys: &mut Keys, table: bool) -> Result<Document, BadRow> {
    let text_key = match options.text.as_deref() {
        Some(key) => key,
        // Older versions called it `data`.
        None if !row.fields.contains_key("text") && row.fields.contains_key("data") => "data",
        None => "text",
    };
    let text = match row.fields.shift_remove(text_key) {
        Some(Value::String(text)) => text,
        Some(_) => return Err(row.bad(text_key, "is not a text")),
        None => return Err(row.bad(text_key, "no such key; name the one that holds the text with --text-column")),
    };
    let id = row.fields.shift_remove("id").filter(|id| scalar(id).is_some());
    let mut labels = Vec::new();
    // Which keys the row had: they are written again even where they are empty.
    let mut forms: Vec<Value> = Vec::new();
    let mut said = false;
    let label_keys = match options.label.as_deref() {
        Some(key) => vec![key],
        None => vec!["label", "labels", "cats"],
    };
    for key in label_keys {
        let Some(value) = row.fields.shift_remove(key) else { continue };
        forms.push(form(key, &value));
        match value {
            Value::Null => {}
            Value::String(text) if text.is_empty() => {}
            Value::String(text) if table => {
                said = true;
                for name in text.split('#') {
                    labels.push(named(name.into(), key, options));
                }
            }
            Value::Array(list) => {
                said = true;
                for (i, item) in list.into_iter().enumerate() {
                    let place = || format!("{key}[{i}]");
                    match &item {
                        Value::Array(triple) => {
                            labels.push(triple_span(triple).ok_or_else(|| row.bad(place(), "is no [start, end, \"label\"]"))?);
                        }
                        Value::Object(fields) => labels.push(entity(fields).map_err(|why| row.bad(place(), why))?),
                        item if scalar(item).is_some() => labels.push(named(item.clone(), key, options)),
                        _ => return Err(row.bad(place(), "is neither a class nor [start, end, \"label\"]")),
                    }
                }
            }
            value if scalar(&value).is_some() => {
                said = true;
                labels.push(named(value, key, options));
            }
            _ => return Err(row.bad(key, "is neither a label nor a list")),
        }
    }
    if let Some(value) = row.fields.shift_remove("entities") {
        forms.push(form("entities", &value));
        said = true;
        let Value::Array(list) = value else { return Err(row.bad("entities", "is no list")) };
        for (i, item) in list.iter().enumerate() {
            let label = match item {
                Value::Array(triple) => triple_span(triple).ok_or_else(|| "is no [start, end, \"label\"]".to_owned()),
                Value::Object(fields) => entity(fields),
                _ => Err("is neither an object nor [start, end, \"label\"]".to_owned()),
            };
            labels.push(label.map_err(|why| row.bad(format!("entities[{i}]"), why))?);
        }
    }
    if let Some(value) = row.fields.shift_remove("relations") {
        forms.push(form("relations", &value));
        let Value::Array(list) = value else { return Err(row.bad("relations", "is no list")) };
        for (i, item) in list.iter().enumerate() {
            labels.push(relation(item).ok_or_else(|| row.bad(format!("relations[{i}]"), "needs from_id, to_id and type"))?);
        }
    }
    let others = match row.fields.get("annotations") {
        Some(Value::Array(_)) => by_user(&row, options)?,
        _ => Vec::new(),
    };
    if !others.is_empty() || row.fields.get("annotations").is_some_and(|list| list.as_array().is_some_and(Vec::is_empty)) {
        row.fields.shift_remove("annotations");
    }
    let mut fields = Map::new();
    if !forms.is_empty() {
        fields.insert("forms".into(), forms.into());
    }
    let mut statements = Vec::new();
    if said {
        let mut statement = options.statement(labels);
        statement.place = Some(row.line as u64);
        statement.native = Native::new(Format::Doccano, fields);
        statements.push(statement);
    }
    statements.extend(others);
    let meta = std::mem::take(&mut row.fields);
    let native = (text_key != "text").then(|| json!({"text_key": text_key}).as_object().cloned().unwrap_or_default());
    let native = native.and_then(|fields| Native::new(Format::Doccano, fields));
    Ok(Document { row: keys.key(id.as_ref(), row.line), id, text, meta, native, statements, ..Document::default() })
}

/// The list of older exports: each label with the number of who gave it, and the label's number instead of its name.
fn by_user(row: &Row, options: &ReadOptions) -> Result<Vec<Statement>, BadRow> {
    let mut statements: Vec<(String, Statement)> = Vec::new();
    for (i, item) in row.fields.get("annotations").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let bad = |why: String| row.bad(format!("annotations[{i}]"), why);
        let Value::Object(fields) = item else { return Err(bad("is no object with a label".into())) };
        let mut label = match fields.get("label").and_then(scalar) {
            Some(_) if ["start_offset", "end_offset", "start", "end"].iter().any(|key| fields.contains_key(*key)) => {
                entity(fields).map_err(bad)?
            }
            Some(name) => Label::new(Body::class(name)),
            None => match fields.get("text").and_then(Value::as_str) {
                Some(text) => Label::new(Body::Text { name: String::new(), text: text.to_owned() }),
                None => return Err(bad("has neither a label nor a text".into())),
            },
        };
        label.native.shift_remove("user");
        let user = fields.get("user").and_then(scalar).unwrap_or_default();
        let at = statements.iter().position(|(name, _)| *name == user).unwrap_or_else(|| {
            let mut statement = options.statement(Vec::new());
            statement.place = Some(row.line as u64);
            if !user.is_empty() {
                statement.author.name.clone_from(&user);
            }
            statements.push((user, statement));
            statements.len() - 1
        });
        statements[at].1.labels.push(label);
    }
    Ok(statements.into_iter().map(|(_, statement)| statement).collect())
}

/// How a key held its labels: `["label", "list"]`, `["cats", "one"]`, `["entities", "triples"]`, …
fn form(key: &str, value: &Value) -> Value {
    let shape = match value {
        Value::Array(list) => match list.first() {
            Some(Value::Array(_)) => "triples",
            Some(Value::Object(_)) => "objects",
            _ => "list",
        },
        Value::Null => "null",
        _ => "one",
    };
    json!([key, shape])
}

/// A class, or the text that an answer is; labels of `cats` are intents beside slots.
fn named(value: Value, key: &str, options: &ReadOptions) -> Label {
    let mut label = match options.labels_are {
        LabelsAre::Texts => Label::new(Body::Text { name: String::new(), text: scalar(&value).unwrap_or_default() }),
        LabelsAre::Classes => class(&value).unwrap_or_else(|| Label::new(Body::class(""))),
    };
    if key == "cats" {
        label.native.insert("key".into(), "cats".into());
    }
    label
}

fn entity(fields: &Map<String, Value>) -> Result<Label, String> {
    let bound = |names: [&str; 2]| {
        let found = names.iter().find_map(|name| fields.get(*name));
        offset(found).ok_or_else(|| format!("{} is no offset", names[0]))
    };
    let (start, end) = (bound(["start_offset", "start"])?, bound(["end_offset", "end"])?);
    let label = fields.get("label").and_then(scalar).ok_or("label is missing")?;
    let id = fields.get("id").and_then(scalar).unwrap_or_default();
    let mut native = fields.clone();
    for known in ["start_offset", "end_offset", "start", "end", "label"] {
        native.shift_remove(known);
    }
    if native.get("id").is_none_or(Value::is_string) {
        native.shift_remove("id");
    }
    Ok(Label { id, body: Body::span(label, start, end), native })
}

fn relation(item: &Value) -> Option<Label> {
    let fields = item.as_object()?;
    let end = |key: &str| fields.get(key).and_then(scalar);
    let args = vec![("from".to_owned(), end("from_id")?), ("to".to_owned(), end("to_id")?)];
    let body = Body::Relation { label: end("type")?, args };
    let mut native = fields.clone();
    for known in ["from_id", "to_id", "type"] {
        native.shift_remove(known);
    }
    if native.get("id").is_none_or(Value::is_string) {
        native.shift_remove("id");
    }
    Some(Label { id: fields.get("id").and_then(scalar).unwrap_or_default(), body, native })
}

/// `__label__a __label__b the text`, or a text alone.
pub fn read_line(line: &str, number: usize, options: &ReadOptions, keys: &mut Keys) -> Option<Document> {
    let mut rest = line.trim_end_matches(['\r', '\n']);
    let mut labels = Vec::new();
    while let Some(after) = rest.strip_prefix("__label__") {
        let end = after.find([' ', '\t']).unwrap_or(after.len());
        labels.push(Label::new(Body::class(&after[..end])));
        rest = after.get(end + 1..).unwrap_or_default();
    }
    if rest.is_empty() && labels.is_empty() {
        return None;
    }
    let mut statements = Vec::new();
    if !labels.is_empty() {
        let mut statement = options.statement(labels);
        statement.place = Some(number as u64);
        statements.push(statement);
    }
    Some(Document { row: keys.key(None, number), text: rest.to_owned(), statements, ..Document::default() })
}

/// What doccano can say.
const SAYABLE: [&str; 4] = ["classes", "spans", "relations", "texts"];

/// The row of JSONL that a document with its current labels is.
pub fn write(document: &Document, current: Option<&Statement>, losses: &mut Losses) -> Map<String, Value> {
    let mut row = Map::new();
    if let Some(id) = &document.id {
        row.insert("id".into(), id.clone());
    }
    let text_key = native_of(&document.native, Format::Doccano).and_then(|f| f.get("text_key")).and_then(Value::as_str);
    row.insert(text_key.unwrap_or("text").to_owned(), document.text.as_str().into());
    if let Some(statement) = current {
        count_unsayable(losses, statement, Format::Doccano, &SAYABLE);
        write_labels(&mut row, statement, losses);
    }
    if let Some(source) = &document.source {
        row.insert("source".into(), source.clone().into());
    }
    for (key, value) in &document.meta {
        if row.contains_key(key) {
            losses.add("meta fields", 1, format!("the key {key:?} has a meaning of its own in doccano"));
        } else {
            row.insert(key.clone(), value.clone());
        }
    }
    row
}

fn write_labels(row: &mut Map<String, Value>, statement: &Statement, losses: &mut Losses) {
    let forms: Vec<(&str, &str)> = native_of(&statement.native, Format::Doccano)
        .and_then(|fields| fields.get("forms")?.as_array())
        .map(|forms| forms.iter().filter_map(|f| Some((f.get(0)?.as_str()?, f.get(1)?.as_str()?))).collect())
        .unwrap_or_default();
    let own = native_of(&statement.native, Format::Doccano).is_some();
    let shape_of = |key: &str| forms.iter().find(|(k, _)| *k == key).map(|(_, shape)| *shape);
    let relations = statement.labels.iter().any(|l| matches!(l.body, Body::Relation { .. }));
    let spans = statement.labels.iter().any(|l| l.span().is_some());
    // Where the file's own keys say it they are used again; otherwise relations need ids, and classes beside spans a key of their own.
    let class_key = ["label", "labels"].into_iter().find(|k| matches!(shape_of(k), Some("list" | "one" | "null"))).unwrap_or("label");
    let span_key = if shape_of("entities").is_some() || relations {
        "entities"
    } else {
        ["label", "labels"].into_iter().find(|k| matches!(shape_of(k), Some("triples" | "objects"))).unwrap_or("label")
    };
    let span_shape = match shape_of(span_key) {
        Some("triples") if !relations => "triples",
        Some("objects") => "objects",
        _ if span_key == "entities" && (relations || statement.labels.iter().any(|l| !l.id.is_empty())) => "objects",
        _ => "triples",
    };
    for (key, shape) in &forms {
        let empty = if matches!(*shape, "one" | "null") { Value::Null } else { Value::Array(Vec::new()) };
        row.insert((*key).to_owned(), empty);
    }
    let mut push = |key: &str, value: Value| {
        let slot = row.entry(key.to_owned()).or_insert(Value::Null);
        match slot {
            Value::Array(list) => list.push(value),
            // A key that held one label outside a list holds one again.
            Value::Null if shape_of(key) == Some("one") => *slot = value,
            Value::Null => *slot = Value::Array(vec![value]),
            other => *other = Value::Array(vec![other.take(), value]),
        }
    };
    for label in &statement.labels {
        match &label.body {
            Body::Class { group, label: name } => {
                if !group.is_empty() {
                    losses.add("groups of classes", 1, "doccano has one list of labels");
                }
                let beside = spans && span_key == class_key;
                let key = if label.native.get("key").is_some() || beside { "cats" } else { class_key };
                push(key, class_value(label, name));
            }
            Body::Text { name, text } => {
                if !name.is_empty() {
                    losses.add("names of texts", 1, "doccano has one list of labels");
                }
                push(class_key, text.as_str().into());
            }
            Body::Span { label: name, ranges, .. } => {
                if ranges.len() > 1 {
                    losses.add("discontinuous spans", 1, "doccano knows one range a span: the parts became one, gaps included");
                }
                let (start, end) = (ranges.iter().map(|r| r[0]).min().unwrap_or(0), ranges.iter().map(|r| r[1]).max().unwrap_or(0));
                if span_shape == "objects" {
                    let mut fields = Map::new();
                    fields.insert("id".into(), id_of(label));
                    fields.insert("label".into(), name.as_str().into());
                    fields.insert("start_offset".into(), start.into());
                    fields.insert("end_offset".into(), end.into());
                    fields.extend(label.native.clone().into_iter().filter(|_| own));
                    if label.id.is_empty() {
                        fields.shift_remove("id");
                    }
                    push(span_key, fields.into());
                } else {
                    push(span_key, json!([start, end, name]));
                }
            }
            Body::Relation { label: name, args } => {
                let [(_, from), (_, to), more @ ..] = &args[..] else {
                    losses.add("relations", 1, "doccano's have two ends");
                    continue;
                };
                if !more.is_empty() {
                    losses.add("arguments of relations", more.len(), "doccano's have two ends");
                }
                let mut fields = Map::new();
                if !label.id.is_empty() {
                    fields.insert("id".into(), id_of(label));
                }
                fields.insert("from_id".into(), reference(from));
                fields.insert("to_id".into(), reference(to));
                fields.insert("type".into(), name.as_str().into());
                fields.extend(label.native.clone().into_iter().filter(|_| own));
                push("relations", fields.into());
            }
            _ => {}
        }
    }
    if row.keys().all(|key| !matches!(key.as_str(), "label" | "labels" | "entities" | "cats")) {
        row.insert("label".into(), Value::Array(Vec::new()));
    }
}

/// An id as doccano numbers them, if it is a number.
fn id_of(label: &Label) -> Value {
    reference(&label.id)
}

fn reference(id: &str) -> Value {
    // `007` is a name, not a number.
    match id.parse::<u64>() {
        Ok(number) if number.to_string() == id => number.into(),
        _ => id.into(),
    }
}
