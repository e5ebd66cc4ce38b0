//! Labelbox's NDJSON export, read only: data rows with the labels of each project.
//!
//! `end` of a location is inclusive as far as exports show; the `token` beside it decides, over the whole file.

use serde_json::{Map, Value};

use super::import::{Keys, ReadOptions};
use super::{Answer, Body, Document, Format, Label, Losses, Native, Statement, Surface, offset, scalar};
use crate::error::BadRow;
use crate::import::Row;

/// The document that a data row is.
pub fn read(mut row: Row, options: &ReadOptions, keys: &mut Keys, losses: &mut Losses) -> Result<Document, BadRow> {
    let mut data = match row.fields.shift_remove("data_row") {
        Some(Value::Object(data)) => data,
        _ => return Err(row.bad("data_row", "no such object: this is no row of a Labelbox export")),
    };
    let text = match data.shift_remove("row_data") {
        Some(Value::String(text)) => text,
        _ => return Err(row.bad("data_row.row_data", "is not a text")),
    };
    if (text.starts_with("https://") || text.starts_with("http://")) && !text.contains(char::is_whitespace) {
        return Err(row.bad("data_row.row_data", "is an address and not the text: export the data rows with their content"));
    }
    let id = ["external_id", "global_key", "id"].iter().find_map(|key| data.get(*key).filter(|v| scalar(v).is_some())).cloned();
    let mut statements = Vec::new();
    let projects = match row.fields.shift_remove("projects") {
        Some(Value::Object(projects)) => projects,
        _ => Map::new(),
    };
    for (project, value) in &projects {
        for (i, label) in value.get("labels").and_then(Value::as_array).into_iter().flatten().enumerate() {
            let found = statement(label, options, losses);
            let mut statement = found.map_err(|(at, why)| row.bad(format!("projects.{project}.labels[{i}]{at}"), why))?;
            statement.place = Some(row.line as u64);
            statements.push(statement);
        }
    }
    let meta = match row.fields.shift_remove("metadata_fields") {
        Some(Value::Array(list)) if !list.is_empty() => Map::from_iter([("metadata_fields".to_owned(), list.into())]),
        _ => Map::new(),
    };
    row.fields.insert("data_row".into(), data.into());
    let native = Native::new(Format::Labelbox, row.fields);
    Ok(Document { row: keys.key(id.as_ref(), row.line), id, text, meta, native, statements, ..Document::default() })
}

type Complaint = (String, String);

fn statement(label: &Value, options: &ReadOptions, losses: &mut Losses) -> Result<Statement, Complaint> {
    let annotations = label.get("annotations").unwrap_or(&Value::Null);
    let list = |value: &Value, key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut labels = Vec::new();
    for (i, object) in list(annotations, "objects").iter().enumerate() {
        let complain = |why: &str| (format!(".annotations.objects[{i}]"), why.to_owned());
        let kind = object.get("annotation_kind").and_then(Value::as_str).unwrap_or("TextEntity");
        if kind != "TextEntity" {
            losses.add("objects", 1, format!("{kind} is no label of a text"));
            continue;
        }
        // Newer exports say `text_location`.
        let place = object.get("location").or(object.get("text_location")).or(object.get("data")).ok_or(complain("location is missing"))?;
        let (Some(start), Some(end)) = (offset(place.get("start")), offset(place.get("end"))) else {
            return Err(complain("location.start and location.end must be offsets"));
        };
        let said = place.get("token").and_then(Value::as_str).map(|text| Surface { text: text.into(), loose: false });
        let name = ["name", "value"].iter().find_map(|key| object.get(*key).and_then(scalar)).unwrap_or_default();
        let id = object.get("feature_id").and_then(scalar).unwrap_or_else(|| format!("o{i}"));
        labels.push(Label::named(id.clone(), Body::Span { label: name, ranges: vec![[start, end]], surface: said }));
        for class in list(object, "classifications") {
            for value in answers(&class) {
                let group = class.get("name").and_then(scalar).unwrap_or_default();
                labels.push(Label::new(Body::Attribute { label: group, target: id.clone(), value: Some(value), legacy: false }));
            }
        }
    }
    for class in list(annotations, "classifications") {
        let group = class.get("name").and_then(scalar).unwrap_or_default();
        let free = class.get("text_answer").is_some();
        for value in answers(&class) {
            labels.push(Label::new(match free {
                true => Body::Text { name: group.clone(), text: value },
                false => Body::Class { group: group.clone(), label: value },
            }));
        }
    }
    for (i, relation) in list(annotations, "relationships").iter().enumerate() {
        let ends = ["unidirectional_relationship", "bidirectional_relationship", "relationship"].iter().find_map(|key| relation.get(*key));
        let ends = ends.unwrap_or(relation);
        let end = |key: &str| {
            let why = || (format!(".annotations.relationships[{i}]"), format!("{key} is missing"));
            ends.get(key).and_then(scalar).ok_or_else(why)
        };
        let args = vec![("source".to_owned(), end("source")?), ("target".to_owned(), end("target")?)];
        let name = ["name", "value"].iter().find_map(|key| relation.get(*key).and_then(scalar)).unwrap_or_default();
        let id = relation.get("feature_id").and_then(scalar).unwrap_or_default();
        labels.push(Label::named(id, Body::Relation { label: name, args }));
    }
    let mut statement = options.statement(labels);
    let who = label.get("label_details").and_then(|d| d.get("created_by")).or(label.get("created_by"));
    if let Some(name) = who.and_then(scalar) {
        statement.author.name = name;
    }
    if label.get("skipped") == Some(&Value::Bool(true)) {
        statement.answer = Answer::Ignore;
    }
    Ok(statement)
}

/// The answers of a radio button, a check list or a text field.
fn answers(class: &Value) -> Vec<String> {
    let name = |answer: &Value| ["name", "value"].iter().find_map(|key| answer.get(*key).and_then(scalar));
    if let Some(answer) = class.get("radio_answer") {
        return name(answer).into_iter().collect();
    }
    for key in ["checklist_answers", "dropdown_answers"] {
        if let Some(list) = class.get(key).and_then(Value::as_array) {
            return list.iter().filter_map(name).collect();
        }
    }
    class.get("text_answer").and_then(|a| a.get("content").and_then(scalar)).into_iter().collect()
}
