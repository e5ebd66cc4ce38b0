//! Prodigy's JSONL: spans, text categories asked one by one or chosen from options, relations, several annotators.
//!
//! `end` is exclusive and `token_end` inclusive. `reject` is evidence against, `ignore` says nothing. Each annotator has a row of their
//! own for the same input: such rows are one document, told by `_input_hash` (or the text where there is none) and by how often this
//! annotator had this input before.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value, json};

use super::import::{Keys, ReadOptions};
use super::tokens::tokenize;
use super::{
    Answer, AuthorKind, Body, Document, Format, Label, Losses, Native, Range, Statement, Surface, count_unsayable, native_of, offset,
    scalar, slice,
};
use crate::error::BadRow;
use crate::import::Row;

/// Which rows belong to one document.
#[derive(Debug, Default)]
pub struct Tasks {
    seen: HashMap<(String, String), usize>,
    rows: HashMap<(String, usize), String>,
}

impl Tasks {
    /// The document's row key. `who` is the annotator with the question that was asked: the same question asked twice is another
    /// document, as a duplicate in the data is.
    fn key(&mut self, input: &str, who: Option<String>, id: Option<&Value>, line: usize, keys: &mut Keys) -> String {
        let Some(who) = who else { return keys.key(id, line) };
        let n = self.seen.entry((input.to_owned(), who)).or_default();
        *n += 1;
        let place = (input.to_owned(), *n);
        self.rows.entry(place).or_insert_with(|| keys.key(id, line)).clone()
    }
}

/// The document that a row is.
pub fn read(mut row: Row, options: &ReadOptions, keys: &mut Keys, tasks: &mut Tasks) -> Result<Document, BadRow> {
    let text = match row.fields.shift_remove("text") {
        Some(Value::String(text)) => text,
        Some(_) => return Err(row.bad("text", "is not a text")),
        None => return Err(row.bad("text", "no such key: only tasks on texts can be read")),
    };
    let answer = row.fields.get("answer").and_then(Value::as_str).map(str::to_owned);
    let answer = match answer.as_deref() {
        None => None,
        Some(name) => match Answer::of_name(name) {
            Some(answer) => Some(answer),
            None => return Err(row.bad("answer", format!("{name:?} is none of accept, reject, ignore"))),
        },
    };
    let tokens = Tokens::read(&row)?;
    let mut labels = Vec::new();
    let mut asked = false;
    if let Some(value) = row.fields.get("label") {
        let name = scalar(value).ok_or_else(|| row.bad("label", "is no text"))?;
        labels.push(Label::new(Body::class(name)));
        asked = true;
    }
    if let Some(value) = row.fields.get("accept") {
        let Value::Array(list) = value else { return Err(row.bad("accept", "is no list")) };
        for value in list {
            let mut label = Label::new(Body::class(scalar(value).ok_or_else(|| row.bad("accept", "holds what is no text"))?));
            label.native.insert("accept".into(), value.clone());
            labels.push(label);
        }
        asked = true;
    }
    asked |= row.fields.contains_key("options");
    if let Some(value) = row.fields.get("spans") {
        let Value::Array(list) = value else { return Err(row.bad("spans", "is no list")) };
        asked = asked || !list.is_empty() || answer.is_some();
        for (i, item) in list.iter().enumerate() {
            labels.push(span(item, i, &tokens).map_err(|why| row.bad(format!("spans[{i}]"), why))?);
        }
    }
    if let Some(value) = row.fields.get("relations") {
        let Value::Array(list) = value else { return Err(row.bad("relations", "is no list")) };
        asked = true;
        for (i, item) in list.iter().enumerate() {
            let label = relation(item, &mut labels, &tokens).map_err(|why| row.bad(format!("relations[{i}]"), why))?;
            labels.push(label);
        }
    }
    if let Some(Value::String(written)) = row.fields.get("user_input") {
        labels.push(Label::new(Body::Text { name: "user_input".into(), text: written.clone() }));
        asked = true;
    }
    let annotator = ["_annotator_id", "_session_id"].iter().find_map(|key| row.fields.get(*key).and_then(scalar));
    let id = row.fields.get("id").filter(|id| scalar(id).is_some()).cloned();
    let hash = |key: &str| row.fields.get(key).and_then(scalar);
    let input = hash("_input_hash").unwrap_or_else(|| text.clone());
    // Without annotators only Prodigy's own hashes tell which rows ask further questions of one input.
    let hashed = hash("_input_hash").is_some() && hash("_task_hash").is_some();
    let name = annotator.clone().or(hashed.then(String::new));
    let who = name.map(|name| format!("{name}\u{0}{}", hash("_task_hash").unwrap_or_default()));
    let key = tasks.key(&input, who, id.as_ref(), row.line, keys);
    let meta = match row.fields.get("meta") {
        Some(Value::Object(meta)) => meta.clone(),
        _ => Map::new(),
    };
    let source = row.fields.get("source").and_then(Value::as_object).cloned();
    let mut statements = Vec::new();
    let mut native = None;
    if answer.is_some() || asked && !labels.is_empty() {
        let mut statement = options.statement(labels);
        statement.answer = answer.unwrap_or_default();
        if let Some(name) = annotator {
            statement.author.name = name;
        }
        statement.place = Some(row.line as u64);
        // What the labels say is taken out; all the rest of the row is kept as it is.
        let mut rest = std::mem::take(&mut row.fields);
        for known in ["label", "accept", "spans", "relations", "user_input", "meta", "source", "id"] {
            if let Some(value) = rest.get_mut(known) {
                // That the key was there is remembered by a null: empty lists are written again.
                *value = Value::Null;
            }
        }
        if answer.is_some() {
            rest.shift_remove("answer");
        } else {
            rest.insert("answer".into(), Value::Null);
        }
        statement.native = Native::new(Format::Prodigy, rest);
        statements.push(statement);
    } else {
        for known in ["meta", "source", "id"] {
            row.fields.shift_remove(known);
        }
        native = Native::new(Format::Prodigy, row.fields);
    }
    Ok(Document { row: key, id, text, source, meta, native, statements, ..Document::default() })
}

/// The tokens of a row.
struct Tokens(Vec<(usize, Range, String)>);

impl Tokens {
    fn read(row: &Row) -> Result<Tokens, BadRow> {
        let Some(value) = row.fields.get("tokens") else { return Ok(Tokens(Vec::new())) };
        let Value::Array(list) = value else { return Err(row.bad("tokens", "is no list")) };
        let token = |(i, token): (usize, &Value)| {
            let id = offset(token.get("id")).unwrap_or(i);
            Some((id, [offset(token.get("start"))?, offset(token.get("end"))?], token.get("text")?.as_str()?.to_owned()))
        };
        let tokens: Option<Vec<_>> = list.iter().enumerate().map(token).collect();
        tokens.map(Tokens).ok_or_else(|| row.bad("tokens", "each needs text, start and end"))
    }

    /// The texts from token `first` to token `last`, both included.
    fn surface(&self, first: usize, last: usize) -> Option<Surface> {
        let text: String = self.0.iter().filter(|(id, ..)| (first..=last).contains(id)).map(|(.., text)| text.as_str()).collect();
        (!text.is_empty()).then_some(Surface { text, loose: true })
    }

    fn range(&self, id: usize) -> Option<Range> {
        self.0.iter().find(|(i, ..)| *i == id).map(|(_, range, _)| *range)
    }
}

const SPAN_KEYS: [&str; 5] = ["start", "end", "label", "token_start", "token_end"];

fn span(item: &Value, i: usize, tokens: &Tokens) -> Result<Label, String> {
    let fields = item.as_object().ok_or("is no object")?;
    let bound = |key: &str| offset(fields.get(key)).ok_or_else(|| format!("{key} is no offset"));
    let (start, end) = (bound("start")?, bound("end")?);
    let name = fields.get("label").and_then(scalar).unwrap_or_default();
    let (first, last) = (offset(fields.get("token_start")), offset(fields.get("token_end")));
    let said = fields.get("text").and_then(Value::as_str).map(|text| Surface { text: text.into(), loose: false });
    let surface = said.or_else(|| tokens.surface(first?, last?));
    // Offsets of tokens are written again from the tokens; whether they were there is remembered.
    let mut native: Map<String, Value> = fields.clone();
    for key in SPAN_KEYS {
        native.shift_remove(key);
    }
    if first.is_none() || last.is_none() {
        native.insert("token_start".into(), Value::Null);
    }
    if !fields.contains_key("label") {
        native.insert("label".into(), Value::Null);
    }
    Ok(Label { id: format!("s{i}"), body: Body::Span { label: name, ranges: vec![[start, end]], surface }, native })
}

/// Ends of relations are the last tokens of spans, or tokens by themselves: these become spans of no type.
fn relation(item: &Value, labels: &mut Vec<Label>, tokens: &Tokens) -> Result<Label, String> {
    let fields = item.as_object().ok_or("is no object")?;
    let mut args = Vec::new();
    for (role, at) in [("head", "head_span"), ("child", "child_span")] {
        let token = offset(fields.get(role));
        let bounds = |span: &Map<String, Value>| Some([offset(span.get("start"))?, offset(span.get("end"))?]);
        let range = fields.get(at).and_then(Value::as_object).and_then(bounds);
        let end = token.and_then(|token| tokens.range(token)).map(|[_, end]| end);
        let known = labels.iter().find(|label| {
            label.span().is_some_and(|(_, ranges)| match range {
                Some(range) => ranges[0] == range,
                None => end == Some(ranges[0][1]),
            })
        });
        let id = match known {
            Some(label) => label.id.clone(),
            None => {
                let found = range.or(token.and_then(|token| tokens.range(token)));
                let [start, end] = found.ok_or_else(|| match token {
                    Some(token) => format!("{role}: there is no token {token}"),
                    None => format!("{role} is no token"),
                })?;
                let id = format!("t{start}-{end}");
                let mut label = Label::named(id.clone(), Body::span("", start, end));
                label.native.insert("implicit".into(), true.into());
                labels.push(label);
                id
            }
        };
        args.push((role.to_owned(), id));
    }
    let name = fields.get("label").and_then(scalar).ok_or("label is missing")?;
    let mut native = fields.clone();
    native.shift_remove("label");
    Ok(Label { id: String::new(), body: Body::Relation { label: name, args }, native })
}

const SAYABLE: [&str; 4] = ["classes", "spans", "relations", "texts"];

/// The rows that a document is: one a statement, each with its place in the original file; one without labels if there is none.
pub fn write(document: &Document, losses: &mut Losses) -> Vec<(Option<u64>, Map<String, Value>)> {
    if document.statements.is_empty() {
        return vec![(None, base(document, native_of(&document.native, Format::Prodigy)))];
    }
    let mut rows: Vec<(Option<u64>, Map<String, Value>)> =
        document.statements.iter().map(|s| (s.place, row(document, s, losses))).collect();
    // Several rows without Prodigy's own hashes would be read as so many documents.
    if rows.len() > 1 && rows.iter().all(|(_, row)| !row.contains_key("_input_hash") && !row.contains_key("_task_hash")) {
        let input = fnv(&[&document.row, "\0", &document.text]);
        for (i, (_, row)) in rows.iter_mut().enumerate() {
            row.insert("_input_hash".into(), input.into());
            row.insert("_task_hash".into(), fnv(&[&document.row, "\0", &i.to_string()]).into());
        }
    }
    rows
}

/// A number of 31 bits for a text (FNV-1a), as Prodigy's hashes are.
fn fnv(parts: &[&str]) -> u32 {
    parts.iter().flat_map(|p| p.bytes()).fold(0x811C_9DC5u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193)) >> 1
}

fn base(document: &Document, native: Option<&Map<String, Value>>) -> Map<String, Value> {
    let mut row = Map::new();
    row.insert("text".into(), document.text.as_str().into());
    if let Some(id) = &document.id {
        row.insert("id".into(), id.clone());
    }
    if let Some(source) = &document.source {
        row.insert("source".into(), source.clone().into());
    }
    if !document.meta.is_empty() || native.is_some_and(|n| n.contains_key("meta")) {
        row.insert("meta".into(), document.meta.clone().into());
    }
    for (key, value) in native.into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        row.insert(key.clone(), value.clone());
    }
    row
}

fn row(document: &Document, statement: &Statement, losses: &mut Losses) -> Map<String, Value> {
    count_unsayable(losses, statement, Format::Prodigy, &SAYABLE);
    let native = native_of(&statement.native, Format::Prodigy);
    let had = |key: &str| native.is_some_and(|n| n.contains_key(key));
    let mut row = base(document, native);
    let spans: Vec<(&Label, &str, Vec<Range>)> =
        statement.labels.iter().filter_map(|l| l.span().map(|(name, ranges)| (l, name, ranges.to_vec()))).collect();
    let relations: Vec<&Label> = statement.labels.iter().filter(|l| matches!(l.body, Body::Relation { .. })).collect();
    if !row.contains_key("tokens") && native.is_none() && !spans.is_empty() {
        let cuts: BTreeSet<usize> = spans.iter().flat_map(|(_, _, ranges)| ranges.iter().flatten().copied()).collect();
        let tokens = tokenize(&document.text, &cuts);
        let list = tokens.iter().enumerate().map(|(id, &[start, end])| {
            let text = slice(&document.text, start, end).unwrap_or_default();
            let space = document.text.chars().nth(end).is_some_and(char::is_whitespace);
            json!({"text": text, "start": start, "end": end, "id": id, "ws": space})
        });
        row.insert("tokens".into(), list.collect());
    }
    let tokens: Vec<(usize, Range)> = row.get("tokens").and_then(Value::as_array).map_or_else(Vec::new, |list| {
        let token = |(i, t): (usize, &Value)| Some((offset(t.get("id")).unwrap_or(i), [offset(t.get("start"))?, offset(t.get("end"))?]));
        list.iter().enumerate().filter_map(token).collect()
    });
    let first = |start: usize| tokens.iter().find(|(_, [s, e])| *s <= start && start < *e).map(|(id, _)| *id);
    let last = |end: usize| tokens.iter().find(|(_, [s, e])| *s < end && end <= *e).map(|(id, _)| *id);
    let nothing = Map::new();
    let mut list = Vec::new();
    for (label, name, ranges) in &spans {
        if label.native.get("implicit").is_some() {
            continue;
        }
        if ranges.len() > 1 {
            losses.add("discontinuous spans", 1, "prodigy knows one range a span: the parts became one, gaps included");
        }
        let [start, end] = hull(ranges);
        let mut fields = Map::new();
        fields.insert("start".into(), start.into());
        fields.insert("end".into(), end.into());
        let own = if native.is_some() { &label.native } else { &nothing };
        if !own.contains_key("token_start")
            && let (Some(first), Some(last)) = (first(start), last(end))
        {
            fields.insert("token_start".into(), first.into());
            fields.insert("token_end".into(), last.into());
        }
        if !own.contains_key("label") {
            fields.insert("label".into(), (*name).into());
        }
        fields.extend(own.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), v.clone())));
        list.push(Value::Object(fields));
    }
    if !list.is_empty() || had("spans") {
        row.insert("spans".into(), list.into());
    }
    let mut list = Vec::new();
    for label in relations {
        let Body::Relation { label: name, args } = &label.body else { continue };
        let [(_, head), (_, child), more @ ..] = &args[..] else {
            losses.add("relations", 1, "prodigy's have two ends");
            continue;
        };
        losses.add("arguments of relations", more.len(), "prodigy's have two ends");
        let end = |id: &str| spans.iter().find(|(l, ..)| l.id == id).map(|(l, name, ranges)| (l, name, hull(ranges)));
        let (Some(head), Some(child)) = (end(head), end(child)) else {
            losses.add("relations", 1, "an end is no span");
            continue;
        };
        let mut fields = Map::new();
        for (role, (label, name, [start, stop])) in [("head", head), ("child", child)] {
            let (first, last) = (first(start), last(stop));
            fields.insert(role.into(), last.into());
            let mut span = json!({"start": start, "end": stop, "token_start": first, "token_end": last});
            if label.native.get("implicit").is_none() {
                span["label"] = (**name).into();
            }
            fields.insert(format!("{role}_span"), span);
        }
        fields.insert("label".into(), name.as_str().into());
        if native.is_some() && !label.native.is_empty() {
            // The row's own relation: what it had, and no more.
            fields.retain(|key, _| key == "label" || label.native.contains_key(key));
            fields.extend(label.native.clone());
        }
        list.push(Value::Object(fields));
    }
    if !list.is_empty() || had("relations") {
        row.insert("relations".into(), list.into());
    }
    write_classes(&mut row, statement, native, losses);
    if !native.is_some_and(|n| n.get("answer").is_some_and(Value::is_null)) {
        row.insert("answer".into(), statement.answer.name().into());
    }
    if statement.author.kind != AuthorKind::Human {
        losses.add("authors", 1, "prodigy knows people only: rules and models became annotators");
    }
    if !statement.author.name.is_empty() && native.is_none() {
        row.insert("_annotator_id".into(), statement.author.name.as_str().into());
    }
    row
}

fn write_classes(row: &mut Map<String, Value>, statement: &Statement, native: Option<&Map<String, Value>>, losses: &mut Losses) {
    let had = |key: &str| native.is_some_and(|n| n.contains_key(key));
    let mut names = Vec::new();
    for label in &statement.labels {
        match &label.body {
            Body::Class { group, label: name } => {
                losses.add("groups of classes", usize::from(!group.is_empty()), "prodigy asks one question a row");
                names.push(label.native.get("accept").cloned().unwrap_or_else(|| name.as_str().into()));
            }
            Body::Text { name, text } => {
                losses.add("names of texts", usize::from(name != "user_input"), "prodigy has one text field");
                row.insert("user_input".into(), text.as_str().into());
            }
            _ => {}
        }
    }
    let single = names.len() == 1 && !had("accept") && !had("options");
    if single {
        row.insert("label".into(), names.remove(0));
    } else if !names.is_empty() || had("accept") {
        if !row.contains_key("options") && native.is_none() {
            let options: Vec<Value> = names.iter().map(|name| json!({"id": name, "text": name})).collect();
            row.insert("options".into(), options.into());
        }
        row.insert("accept".into(), names.into());
    }
}

fn hull(ranges: &[Range]) -> Range {
    [ranges.iter().map(|r| r[0]).min().unwrap_or(0), ranges.iter().map(|r| r[1]).max().unwrap_or(0)]
}
