//! Label Studio's JSON: tasks with annotations (one an annotator) and predictions of models.
//!
//! JSON-MIN, a flat row for each annotation, is read too; it leaves relations and predictions out itself.
//!
//! Cancelled annotations say nothing and are kept. Results that this model has no word for (ratings, taxonomies, pairwise choices) are
//! kept whole; so are relations whose ends are not there, which are counted as lost.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::import::{Keys, LabelsAre, ReadOptions};
use super::{
    Answer, Author, AuthorKind, Body, Document, Format, Label, Losses, Native, Statement, Surface, fresh_id, native_of, offset, scalar,
    surface,
};
use crate::error::BadRow;
use crate::import::Row;

/// The document that a task is.
pub fn read(mut row: Row, options: &ReadOptions, keys: &mut Keys, losses: &mut Losses) -> Result<Document, BadRow> {
    if !row.fields.contains_key("data") && ["annotation_id", "lead_time"].iter().any(|key| row.fields.contains_key(*key)) {
        let task = Row { fields: task_of_min(row.fields, options), file: row.file, line: row.line };
        let mut document = read(task, options, keys, losses)?;
        // Rows of a task have its id: they are one document.
        if let Some(id) = document.id.as_ref().and_then(scalar) {
            document.row = id;
        }
        return Ok(document);
    }
    let mut data = match row.fields.shift_remove("data") {
        Some(Value::Object(data)) => data,
        Some(_) => return Err(row.bad("data", "is no object")),
        None => return Err(row.bad("data", "no such key: this is no task of Label Studio's JSON export")),
    };
    let text_key = match options.text.as_deref() {
        Some(key) => key.to_owned(),
        None if data.contains_key("text") => "text".to_owned(),
        None => {
            let mut texts = data.iter().filter(|(_, v)| v.is_string()).map(|(k, _)| k.clone());
            match (texts.next(), texts.next()) {
                (Some(only), None) => only,
                _ => return Err(row.bad("data.text", "no such key; name the one that holds the text with --text-column")),
            }
        }
    };
    let text = match data.shift_remove(&text_key) {
        Some(Value::String(text)) => text,
        _ => return Err(row.bad(format!("data.{text_key}"), "is not a text")),
    };
    let id = row.fields.shift_remove("id").filter(|id| scalar(id).is_some());
    let mut statements = Vec::new();
    for key in ["annotations", "completions"] {
        let Some(value) = row.fields.shift_remove(key) else { continue };
        let Value::Array(list) = value else { return Err(row.bad(key, "is no list")) };
        for (i, item) in list.into_iter().enumerate() {
            statements.push(annotation(item, options, losses).map_err(|(at, why)| row.bad(format!("{key}[{i}]{at}"), why))?);
        }
    }
    let mut bare = Vec::new();
    if let Some(value) = row.fields.shift_remove("predictions") {
        let Value::Array(list) = value else { return Err(row.bad("predictions", "is no list")) };
        for (i, item) in list.into_iter().enumerate() {
            // The short export lists predictions by their ids alone.
            if !item.is_object() {
                bare.push(item);
                continue;
            }
            statements.push(prediction(item, losses).map_err(|(at, why)| row.bad(format!("predictions[{i}]{at}"), why))?);
        }
    }
    if !bare.is_empty() {
        row.fields.insert("prediction_ids".into(), bare.into());
    }
    if text_key != "text" {
        row.fields.insert("text_key".into(), text_key.into());
    }
    statements.iter_mut().for_each(|s| s.place = Some(row.line as u64));
    let source = match data.get("source") {
        Some(Value::Object(_)) => data.shift_remove("source").and_then(|s| s.as_object().cloned()),
        _ => None,
    };
    let native = Native::new(Format::LabelStudio, row.fields);
    Ok(Document { row: keys.key(id.as_ref(), row.line), id, text, source, meta: data, native, statements, ..Document::default() })
}

/// The task that a flat row of JSON-MIN is. Its keys are the task's data, `id`, what was said, and from `annotator` on who said it and
/// when; of a list of regions and of objects that is clear without their order, too.
fn task_of_min(fields: Map<String, Value>, options: &ReadOptions) -> Map<String, Value> {
    let mut task = Map::new();
    let (mut data, mut annotation, mut results) = (Map::new(), Map::new(), Vec::new());
    let ordered = fields.contains_key("id");
    let mut after_id = false;
    for (key, value) in fields {
        match key.as_str() {
            "id" => {
                after_id = true;
                task.insert(key, value);
            }
            "annotator" => {
                after_id = false;
                annotation.insert("completed_by".into(), value);
            }
            "annotation_id" => {
                annotation.insert("id".into(), value);
            }
            "created_at" | "updated_at" | "lead_time" | "agreement" => {
                annotation.insert(key, value);
            }
            _ => {
                let regions = value.as_array().is_some_and(|l| l.iter().any(|i| i.get("labels").is_some() || i.get("choices").is_some()));
                let said = ordered && after_id || regions || value.get("choices").is_some() || options.label.as_ref() == Some(&key);
                if said {
                    results.extend(results_of_min(&key, value, options));
                } else {
                    data.insert(key, value);
                }
            }
        }
    }
    annotation.insert("result".into(), results.into());
    task.insert("data".into(), data.into());
    task.insert("annotations".into(), json!([annotation]));
    task
}

/// What JSON-MIN has under the name of a control: one text, or a value, or a list of both.
fn results_of_min(name: &str, value: Value, options: &ReadOptions) -> Vec<Value> {
    let items = match value {
        Value::Array(items) => items,
        Value::Null => Vec::new(),
        one => vec![one],
    };
    let result = |(i, item): (usize, Value)| {
        let (kind, value) = match item {
            Value::String(text) if options.labels_are == LabelsAre::Texts => ("textarea", json!({"text": [text]})),
            Value::String(text) => ("choices", json!({"choices": [text]})),
            item if item.get("labels").is_some() => ("labels", item),
            item if item.get("choices").is_some() => ("choices", item),
            item if item.get("text").is_some_and(Value::is_array) => ("textarea", item),
            item => ("other", item),
        };
        json!({"id": format!("{name}-{}", i + 1), "from_name": name, "to_name": "text", "type": kind, "value": value})
    };
    items.into_iter().enumerate().map(result).collect()
}

/// Where in the annotation, and why it cannot be used.
type Complaint = (String, String);

fn annotation(item: Value, options: &ReadOptions, losses: &mut Losses) -> Result<Statement, Complaint> {
    let Value::Object(mut fields) = item else { return Err((String::new(), "is no object".into())) };
    let labels = results(fields.shift_remove("result"), losses)?;
    let mut statement = options.statement(labels);
    let who = fields.get("completed_by");
    let name = who.and_then(|w| scalar(w).or_else(|| ["email", "id"].iter().find_map(|k| w.get(*k).and_then(scalar))));
    if let Some(name) = name {
        statement.author.name = name;
    }
    if fields.get("was_cancelled") == Some(&Value::Bool(true)) {
        statement.answer = Answer::Ignore;
    }
    statement.native = Native::new(Format::LabelStudio, fields);
    Ok(statement)
}

fn prediction(item: Value, losses: &mut Losses) -> Result<Statement, Complaint> {
    let Value::Object(mut fields) = item else { return Err((String::new(), "is no object".into())) };
    let labels = results(fields.shift_remove("result"), losses)?;
    let name = fields.get("model_version").and_then(scalar).unwrap_or_default();
    let confidence = fields.get("score").and_then(Value::as_f64).filter(|s| (0.0..=1.0).contains(s));
    let author = Author { kind: AuthorKind::Model, name };
    Ok(Statement { author, confidence, labels, native: Native::new(Format::LabelStudio, fields), ..Statement::default() })
}

fn results(value: Option<Value>, losses: &mut Losses) -> Result<Vec<Label>, Complaint> {
    let list = match value {
        Some(Value::Array(list)) => list,
        None | Some(Value::Null) => Vec::new(),
        Some(_) => return Err((".result".into(), "is no list".into())),
    };
    let mut labels = Vec::new();
    let regions: BTreeSet<String> = list.iter().filter_map(|item| item.get("id").and_then(scalar)).collect();
    for (i, item) in list.into_iter().enumerate() {
        let Value::Object(fields) = item else { return Err((format!(".result[{i}]"), "is no object".into())) };
        if dangles(&fields, &regions) {
            losses.add("relations", 1, "they join a region that is not in their annotation: kept for label-studio alone");
            labels.push(Label::new(Body::Other { label: "relation".into(), value: fields.into() }));
            continue;
        }
        result(fields, &mut labels).map_err(|why| (format!(".result[{i}]"), why))?;
    }
    Ok(labels)
}

/// Whether a result is a relation of which an end is no region of the same annotation: somebody deleted the region, or the task was cut
/// out of a larger one.
fn dangles(fields: &Map<String, Value>, regions: &BTreeSet<String>) -> bool {
    let relation = fields.get("type").and_then(Value::as_str).is_some_and(|kind| kind.eq_ignore_ascii_case("relation"));
    let missing = |key: &str| fields.get(key).and_then(scalar).is_some_and(|id| !regions.contains(&id));
    relation && (missing("from_id") || missing("to_id"))
}

/// Which of a region's labels this is, where it has several (`x`, `x/1`, `x/2` share the region `x`).
const PART: &str = "part_of";

fn result(mut fields: Map<String, Value>, labels: &mut Vec<Label>) -> Result<(), String> {
    let kind = fields.get("type").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
    let id = fields.get("id").and_then(scalar).unwrap_or_default();
    let list = |value: Option<&Value>| -> Vec<String> {
        value.and_then(Value::as_array).map(|l| l.iter().filter_map(scalar).collect()).unwrap_or_default()
    };
    let value = fields.get("value").cloned().unwrap_or(Value::Null);
    let (start, end) = (offset(value.get("start")), offset(value.get("end")));
    match (kind.as_str(), start, end) {
        ("labels" | "hypertextlabels", Some(start), Some(end)) => {
            let names = value.get("labels").or(value.get("hypertextlabels")).map(|v| list(Some(v))).unwrap_or_default();
            let said = value.get("text").and_then(Value::as_str).map(|text| Surface { text: text.into(), loose: false });
            let mut native = rest(fields, &["start", "end", "text", "labels"]);
            if said.is_none() {
                native.insert("no_text".into(), true.into());
            }
            if names.is_empty() {
                native.insert("no_label".into(), true.into());
                labels.push(Label { id, body: Body::Span { label: String::new(), ranges: vec![[start, end]], surface: said }, native });
                return Ok(());
            }
            for (i, name) in names.into_iter().enumerate() {
                let body = Body::Span { label: name, ranges: vec![[start, end]], surface: said.clone() };
                if i == 0 {
                    labels.push(Label { id: id.clone(), body, native: native.clone() });
                } else {
                    let native = Map::from_iter([(PART.to_owned(), id.as_str().into())]);
                    labels.push(Label { id: format!("{id}/{i}"), body, native });
                }
            }
        }
        ("choices", None, None) => {
            let group = fields.get("from_name").and_then(scalar).unwrap_or_default();
            let names = list(value.get("choices"));
            if names.is_empty() {
                labels.push(Label::new(Body::Other { label: kind, value: fields.into() }));
                return Ok(());
            }
            let native = rest(fields, &["choices"]);
            for (i, name) in names.into_iter().enumerate() {
                let body = Body::Class { group: group.clone(), label: name };
                if i == 0 {
                    labels.push(Label { id: id.clone(), body, native: native.clone() });
                } else {
                    let native = Map::from_iter([(PART.to_owned(), id.as_str().into())]);
                    labels.push(Label { id: String::new(), body, native });
                }
            }
        }
        ("relation", ..) => {
            let end = |key: &str| fields.get(key).and_then(scalar).ok_or_else(|| format!("{key} is missing"));
            let args = vec![("from".to_owned(), end("from_id")?), ("to".to_owned(), end("to_id")?)];
            let names = list(fields.get("labels"));
            for key in ["from_id", "to_id", "labels", "type"] {
                fields.shift_remove(key);
            }
            fields.insert("labels".into(), names.clone().into());
            labels.push(Label { id, body: Body::Relation { label: names.join("|"), args }, native: fields });
        }
        ("textarea", None, None) if value.get("text").is_some_and(|t| t.is_array() || t.is_string()) => {
            let name = fields.get("from_name").and_then(scalar).unwrap_or_default();
            let texts = match value.get("text") {
                Some(Value::String(text)) => vec![text.clone()],
                many => list(many),
            };
            let [text] = &texts[..] else {
                labels.push(Label::new(Body::Other { label: kind, value: fields.into() }));
                return Ok(());
            };
            let mut native = rest(fields, &["text"]);
            native.insert("one".into(), value["text"].is_string().into());
            labels.push(Label { id, body: Body::Text { name, text: text.clone() }, native });
        }
        _ => labels.push(Label { id, body: Body::Other { label: kind, value: fields.into() }, native: Map::new() }),
    }
    Ok(())
}

/// A result without what the model knows of its `value`, to be written again.
fn rest(mut fields: Map<String, Value>, known: &[&str]) -> Map<String, Value> {
    fields.shift_remove("id");
    if let Some(Value::Object(value)) = fields.get_mut("value") {
        for key in known {
            value.shift_remove(*key);
        }
        // Label Studio names the list by the tag's type.
        if known.contains(&"labels") {
            value.shift_remove("hypertextlabels");
        }
    }
    fields
}

/// The task that a document is, with all that was said of it.
pub fn write(document: &Document, losses: &mut Losses) -> Value {
    let native = native_of(&document.native, Format::LabelStudio);
    let mut task = Map::new();
    if let Some(id) = &document.id {
        task.insert("id".into(), id.clone());
    }
    let text_key = native.and_then(|n| n.get("text_key")).and_then(Value::as_str).unwrap_or("text");
    let mut data = Map::new();
    data.insert(text_key.to_owned(), document.text.as_str().into());
    for (key, value) in &document.meta {
        data.entry(key.clone()).or_insert_with(|| value.clone());
    }
    if let Some(source) = &document.source {
        data.insert("source".into(), source.clone().into());
    }
    task.insert("data".into(), data.into());
    let (mut annotations, mut predictions) = (Vec::new(), Vec::new());
    for statement in &document.statements {
        let fields = write_statement(document, statement, losses);
        if statement.author.kind.is_human() { &mut annotations } else { &mut predictions }.push(Value::Object(fields));
    }
    task.insert("annotations".into(), annotations.into());
    if let Some(Value::Array(ids)) = native.and_then(|n| n.get("prediction_ids")) {
        predictions.extend(ids.iter().cloned());
    }
    task.insert("predictions".into(), predictions.into());
    for (key, value) in native.into_iter().flatten() {
        if !matches!(key.as_str(), "text_key" | "prediction_ids") {
            task.insert(key.clone(), value.clone());
        }
    }
    task.into()
}

fn write_statement(document: &Document, statement: &Statement, losses: &mut Losses) -> Map<String, Value> {
    let native = native_of(&statement.native, Format::LabelStudio);
    let mut fields = native.cloned().unwrap_or_default();
    if native.is_none() {
        if statement.native.as_ref().is_some_and(|n| n.format.has_own_fields()) {
            losses.add("fields", 1, "rows have fields that only another format understands");
        }
        if statement.author.kind.is_human() {
            if !statement.author.name.is_empty() {
                fields.insert("completed_by".into(), statement.author.name.as_str().into());
            }
            fields.insert("was_cancelled".into(), (statement.answer == Answer::Ignore).into());
        } else {
            fields.insert("model_version".into(), statement.author.name.as_str().into());
            if let Some(score) = statement.confidence {
                fields.insert("score".into(), score.into());
            }
        }
    }
    if statement.answer == Answer::Reject {
        losses.add("rejections", 1, "label-studio has no word for evidence against labels");
        fields.insert("result".into(), Value::Array(Vec::new()));
        return fields;
    }
    let mut taken: BTreeSet<String> = statement.labels.iter().map(|l| l.id.clone()).collect();
    let mut results: Vec<Value> = Vec::new();
    for label in &statement.labels {
        write_label(document, statement, label, &mut results, &mut taken, losses);
    }
    fields.insert("result".into(), results.into());
    fields
}

fn write_label(
    document: &Document,
    statement: &Statement,
    label: &Label,
    results: &mut Vec<Value>,
    taken: &mut BTreeSet<String>,
    losses: &mut Losses,
) {
    // One of several labels of a region joins the result before it.
    if label.native.contains_key(PART)
        && let Some(last) = results.last_mut()
    {
        let (key, name) = match &label.body {
            Body::Span { label, .. } => ("labels", label),
            Body::Class { label, .. } => ("choices", label),
            _ => return,
        };
        if let Some(list) = last["value"][key].as_array_mut() {
            list.push(name.as_str().into());
            return;
        }
    }
    let ours = native_of(&statement.native, Format::LabelStudio).is_some() && !label.native.is_empty();
    let mut fields = if ours { label.native.clone() } else { Map::new() };
    if !label.id.is_empty() {
        fields.insert("id".into(), label.id.as_str().into());
    } else if !ours && !matches!(label.body, Body::Relation { .. } | Body::Other { .. }) {
        fields.insert("id".into(), fresh_id(taken, "r").into());
    }
    let value = |fields: &mut Map<String, Value>, add: Value| {
        let mut value = match fields.shift_remove("value") {
            Some(Value::Object(value)) => value,
            _ => Map::new(),
        };
        value.extend(add.as_object().cloned().unwrap_or_default());
        fields.insert("value".into(), value.into());
    };
    let named = |fields: &mut Map<String, Value>, from: &str, kind: &str| {
        if !ours {
            fields.insert("from_name".into(), from.into());
            fields.insert("to_name".into(), "text".into());
            fields.insert("type".into(), kind.into());
        }
    };
    match &label.body {
        Body::Span { label: name, ranges, .. } => {
            if ranges.len() > 1 {
                losses.add("discontinuous spans", 1, "label-studio knows one range a region: the parts became one, gaps included");
            }
            let (start, end) = (ranges.iter().map(|r| r[0]).min().unwrap_or(0), ranges.iter().map(|r| r[1]).max().unwrap_or(0));
            let mut add = json!({"start": start, "end": end});
            if fields.shift_remove("no_text").is_none() {
                add["text"] = surface(&document.text, &[[start, end]]).into();
            }
            if fields.shift_remove("no_label").is_none() {
                add["labels"] = json!([name]);
            }
            value(&mut fields, add);
            named(&mut fields, "label", "labels");
        }
        Body::Class { group, label: name } => {
            value(&mut fields, json!({"choices": [name]}));
            named(&mut fields, if group.is_empty() { "class" } else { group }, "choices");
        }
        Body::Text { name, text } => {
            let one = fields.shift_remove("one") == Some(Value::Bool(true));
            value(&mut fields, json!({"text": if one { json!(text) } else { json!([text]) }}));
            named(&mut fields, if name.is_empty() { "answer" } else { name }, "textarea");
        }
        Body::Relation { label: name, args } => {
            let [(_, from), (_, to), more @ ..] = &args[..] else {
                losses.add("relations", 1, "label-studio's have two ends");
                return;
            };
            losses.add("arguments of relations", more.len(), "label-studio's have two ends");
            let labels = fields.shift_remove("labels").unwrap_or_else(|| json!([name]));
            fields.insert("type".into(), "relation".into());
            fields.insert("from_id".into(), from.as_str().into());
            fields.insert("to_id".into(), to.as_str().into());
            if !ours {
                fields.insert("direction".into(), "right".into());
            }
            fields.insert("labels".into(), labels);
        }
        Body::Other { value, .. } if value.is_object() => {
            results.push(value.clone());
            return;
        }
        other => {
            losses.add(other.kind(), 1, "label-studio has no place for them");
            return;
        }
    }
    results.push(fields.into());
}
