//! A table: a column of texts, one of labels (several joined by a separator), the others kept.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::import::{Keys, LabelsAre, ReadOptions};
use super::{Body, Document, Format, Label, Losses, Native, Statement, count_unsayable, native_of, scalar};
use crate::error::BadRow;
use crate::import::Row;

/// The document that a row is.
pub fn read(mut row: Row, options: &ReadOptions, keys: &mut Keys) -> Result<Document, BadRow> {
    let columns: Vec<Value> = row.fields.keys().map(|k| k.as_str().into()).collect();
    let text_key = options.text.as_deref().unwrap_or("text");
    let text = match row.fields.shift_remove(text_key) {
        Some(Value::String(text)) => text,
        _ => {
            let there: Vec<&str> = columns.iter().filter_map(Value::as_str).collect();
            let reason = format!("no such column; the row has: {}; name the one that holds the text with --text-column", there.join(", "));
            return Err(row.bad(text_key, reason));
        }
    };
    let id = row.fields.shift_remove(options.id.as_deref().unwrap_or("id")).filter(|v| v.as_str().is_some_and(|s| !s.trim().is_empty()));
    let label_key = match &options.label {
        Some(key) => key.as_str(),
        None if row.fields.contains_key("label") => "label",
        None => "labels",
    };
    let mut labels = Vec::new();
    if let Some(Value::String(cell)) = row.fields.shift_remove(label_key) {
        let parts: Vec<&str> = match &options.separator {
            Some(separator) if !separator.is_empty() => cell.split(separator.as_str()).collect(),
            _ => vec![&cell],
        };
        for part in parts.into_iter().filter(|part| !part.trim().is_empty()) {
            labels.push(Label::new(match options.labels_are {
                LabelsAre::Classes => Body::class(part),
                LabelsAre::Texts => Body::Text { name: String::new(), text: part.to_owned() },
            }));
        }
    }
    let annotator = row.fields.shift_remove("annotator").and_then(|v| scalar(&v)).unwrap_or_default();
    let mut statements = Vec::new();
    if !labels.is_empty() {
        let mut statement = options.statement(labels);
        if !annotator.is_empty() {
            statement.author.name = annotator;
        }
        statement.place = Some(row.line as u64);
        statements.push(statement);
    }
    let known_as = match (row.fields.get("document_source"), row.fields.get("document_row")) {
        (Some(Value::String(source)), Some(Value::String(key))) => Some((source.clone(), key.clone())),
        _ => None,
    };
    if known_as.is_some() {
        row.fields.shift_remove("document_source");
        row.fields.shift_remove("document_row");
    }
    let mut native = Map::from_iter([("columns".to_owned(), columns.into())]);
    for (role, key) in [("text", text_key), ("label", label_key), ("id", options.id.as_deref().unwrap_or("id"))] {
        if role != key {
            native.insert(role.to_owned(), key.into());
        }
    }
    let meta = row.fields;
    let native = Native::new(Format::Csv, native);
    Ok(Document { row: keys.key(id.as_ref(), row.line), id, known_as, text, meta, native, statements, ..Document::default() })
}

/// The columns of a table, gathered over all documents before the first is written.
#[derive(Debug, Clone, Default)]
pub struct Columns {
    names: Vec<String>,
    known: BTreeSet<String>,
    text: String,
    label: String,
    id: String,
    started: bool,
    labelled: bool,
}

impl Columns {
    /// Takes in what a document needs.
    pub fn see(&mut self, document: &Document, current: Option<&Statement>) {
        let native = native_of(&document.native, Format::Csv);
        let name = |role: &str| native.and_then(|n| n.get(role)).and_then(Value::as_str).unwrap_or(role).to_owned();
        if !self.started {
            self.started = true;
            (self.text, self.label, self.id) = (name("text"), name("label"), name("id"));
            match native.and_then(|n| n.get("columns")).and_then(Value::as_array) {
                Some(columns) => columns.iter().filter_map(Value::as_str).for_each(|c| self.add(c)),
                None => {
                    let id = self.id.clone();
                    self.add(&id);
                }
            }
            let text = self.text.clone();
            self.add(&text);
        }
        if document.id.is_some() {
            let id = self.id.clone();
            self.add(&id);
        }
        if current.is_some() && !self.labelled {
            self.labelled = true;
            let label = self.label.clone();
            self.add(&label);
        }
        document.meta.keys().for_each(|key| self.add(key));
        if document.source.is_some() {
            self.add("source");
        }
    }

    /// The names of the columns of texts, labels and ids.
    pub fn roles(&self) -> (Option<String>, Option<String>, Option<String>) {
        let name = |name: &String| (!name.is_empty()).then(|| name.clone());
        (name(&self.text), name(&self.label), name(&self.id))
    }

    fn add(&mut self, name: &str) {
        if self.known.insert(name.to_owned()) {
            self.names.push(name.to_owned());
        }
    }

    /// The header line.
    pub fn header(&self) -> String {
        line(self.names.iter().map(String::as_str))
    }

    /// A document's line.
    pub fn row(&self, document: &Document, current: Option<&Statement>, separator: &str, losses: &mut Losses) -> String {
        let mut names: Vec<&str> = Vec::new();
        if let Some(statement) = current {
            count_unsayable(losses, statement, Format::Csv, &["classes", "texts"]);
            for label in &statement.labels {
                match &label.body {
                    Body::Class { group, label: name } => {
                        losses.add("groups of classes", usize::from(!group.is_empty()), "a table has one column of labels");
                        names.push(name);
                    }
                    Body::Text { name, text } => {
                        losses.add("names of texts", usize::from(!name.is_empty()), "a table has one column of labels");
                        names.push(text);
                    }
                    _ => {}
                }
            }
            if names.len() > 1 && names.iter().any(|name| name.contains(separator)) {
                losses.add("borders of labels", 1, format!("a label holds the separator {separator:?}"));
            }
            if names.is_empty() && statement.labels.is_empty() {
                losses.add("empty statements", 1, "an empty cell means: not labelled yet");
            }
        }
        let labels = names.join(separator);
        let cells = self.names.iter().map(|name| -> String {
            if *name == self.text {
                return document.text.clone();
            }
            if *name == self.label && self.labelled {
                return labels.clone();
            }
            if *name == self.id {
                return document.id.as_ref().and_then(scalar).unwrap_or_default();
            }
            if name == "annotator" && !document.meta.contains_key("annotator") {
                return current.map(|s| s.author.name.clone()).unwrap_or_default();
            }
            match document.meta.get(name) {
                Some(value) => scalar(value).unwrap_or_else(|| if value.is_null() { String::new() } else { value.to_string() }),
                None if name == "source" => document.source.as_ref().map(|s| Value::Object(s.clone()).to_string()).unwrap_or_default(),
                None => String::new(),
            }
        });
        let cells: Vec<String> = cells.collect();
        line(cells.iter().map(String::as_str))
    }
}

/// One record, quoted where it must be.
fn line<'a>(cells: impl Iterator<Item = &'a str>) -> String {
    let mut out = String::new();
    let mut first = true;
    let mut only_empty = true;
    for cell in cells {
        if !std::mem::take(&mut first) {
            out.push(',');
            only_empty = false;
        }
        only_empty &= cell.is_empty();
        let quoted = cell.contains([',', '"', '\n', '\r', ';', '\t', '|'])
            || cell.starts_with(char::is_whitespace)
            || cell.ends_with(char::is_whitespace);
        if quoted {
            out.push('"');
            out.push_str(&cell.replace('"', "\"\""));
            out.push('"');
        } else {
            out.push_str(cell);
        }
    }
    if only_empty {
        // A line without anything would be skipped by readers.
        out.push_str("\"\"");
    }
    out.push('\n');
    out
}
