//! Few-label verbs on a store: its rows as a table, and what a method found as evidence of its own kind. What the same method said before is
//! taken back in the same breath, so that a document never carries two states of one method.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ::annotate::{Action, Store, standings};
use dataset::Origin;
use dataset::labels::{Author, AuthorKind, Body, Label, Statement};
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::{Result, StageError};
use crate::label::{now, shown_id};
use crate::progress::Progress;
use crate::vectorize::table::{DataChoice, Labels, Table};

/// Every document with its text; the label is what people settled on, machines' labels do not count. With [`Labels::Required`] only
/// documents that have one.
pub(crate) fn read(dir: &Path, choice: &DataChoice, labels: Labels, progress: &mut dyn Progress) -> Result<Table> {
    let told = [
        ("--where", !choice.filter.is_empty()),
        ("--split", choice.split.is_some()),
        ("--encoding", choice.encoding.is_some()),
        ("--label-map", !choice.label_map.is_empty()),
    ];
    if let Some((option, _)) = told.iter().find(|(_, given)| *given) {
        return Err(StageError::input(format!("{option}: is for data files; a store's documents are taken as they are")));
    }
    let store = Store::existing(dir)?;
    let mut table = Table { source: dir.display().to_string(), ..Default::default() };
    let (mut several, mut empty) = (0usize, 0usize);
    let mut groups: BTreeSet<String> = BTreeSet::new();
    store.each(&mut |entry| {
        table.read += 1;
        // People's classes count whatever machines say of the rest.
        let standings = standings(&entry.document.statements, &entry.actions);
        let settled = standings.values().filter(|s| s.is_human()).flat_map(|s| &s.labels);
        let class = |l: &Label| match &l.body {
            Body::Class { group, label } => Some((group.clone(), label.clone())),
            _ => None,
        };
        let mut classes: Vec<(String, String)> = settled.filter_map(class).collect();
        several += usize::from(classes.len() > 1);
        let label = match (classes.pop(), classes.is_empty()) {
            (Some((group, label)), true) => {
                groups.insert(group);
                Some(label)
            }
            _ => None,
        };
        if entry.document.text.trim().is_empty() {
            empty += 1;
            return Ok(());
        }
        let full = table.texts.len() >= choice.limit.unwrap_or(usize::MAX);
        if full || labels == Labels::Required && label.is_none() {
            return Ok(());
        }
        table.ids.push(shown_id(&entry));
        let line = entry.document.row.strip_prefix(':').and_then(|l| l.parse().ok()).unwrap_or(entry.id as usize);
        table.origins.push(Origin { file: entry.source.clone(), line });
        table.texts.push(entry.document.text);
        table.labels.push(label.filter(|_| labels != Labels::Ignored));
        table.fields.push(entry.document.meta);
        table.documents.push(entry.id);
        Ok(())
    })?;
    if groups.len() > 1 && labels != Labels::Ignored {
        let names: Vec<&str> = groups.iter().map(String::as_str).collect();
        return Err(StageError::input(format!(
            "{}: people answered several questions ({}); export the rows of one and use the file",
            dir.display(),
            names.join(", ")
        )));
    }
    table.group = groups.pop_first().unwrap_or_default();
    if several > 0 {
        progress.warn(&format!("{several} documents have several classes and are not used as labelled rows"));
    }
    if empty > 0 {
        progress.warn(&format!("{empty} documents have no text"));
    }
    if table.texts.is_empty() {
        let why = if labels == Labels::Required { "people settled no document's class yet" } else { "it holds no document" };
        return Err(StageError::input(format!("{}: {why}", dir.display())));
    }
    Ok(table)
}

/// What a method says of a document.
pub(crate) struct Said {
    /// The document.
    pub document: i64,
    /// The labels.
    pub labels: Vec<Label>,
    /// How sure.
    pub confidence: Option<f64>,
}

impl Said {
    /// A class of the question that people answered.
    pub fn class(document: i64, group: &str, label: &str, confidence: f64) -> Self {
        let body = Body::Class { group: group.to_owned(), label: label.to_owned() };
        Self { document, labels: vec![Label::new(body)], confidence: Some(confidence) }
    }
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Written {
    /// The action, for `label undo`; `None` if all was said before.
    pub action: Option<i64>,
    /// Documents that it speaks of.
    pub documents: usize,
    /// Former actions of the same method in whose place it stands.
    pub replaced: Vec<i64>,
}

/// Writes evidence of one author, in place of what that author said before. A run that found nothing says nothing, and takes the place of
/// the former one all the same.
///
/// # Errors
/// If the store refuses; then nothing has changed.
pub(crate) fn write(dir: &Path, verb: &str, kind: AuthorKind, name: &str, mut detail: Value, said: Vec<Said>) -> Result<Written> {
    let mut store = Store::existing(dir)?;
    let author = Author { kind, name: name.to_owned() };
    let statement =
        |s: &Said| Statement { author: author.clone(), confidence: s.confidence, labels: s.labels.clone(), ..Statement::default() };
    let (mut before, mut old): (BTreeMap<i64, Vec<[u8; 32]>>, BTreeSet<i64>) = Default::default();
    store.each(&mut |entry| {
        for (s, action) in entry.document.statements.iter().zip(&entry.actions).filter(|(s, _)| s.author == author) {
            before.entry(entry.id).or_default().push(::annotate::store::digest(s));
            old.insert(*action);
        }
        Ok(())
    })?;
    let mut after: BTreeMap<i64, Vec<[u8; 32]>> = BTreeMap::new();
    said.iter().for_each(|s| after.entry(s.document).or_default().push(::annotate::store::digest(&statement(s))));
    let documents = after.len();
    if before == after {
        return Ok(Written { action: None, documents, replaced: Vec::new() });
    }
    // Only actions of such a verb hold nothing but this author's words: an import may hold others', too. A run that found nothing holds no
    // words, and has its place nevertheless: undone after this one, it would bring back what was said before it.
    let silent = |a: &Action| a.detail["author"] == name && a.detail["documents"] == 0;
    let own = store.actions()?.into_iter().filter(|a| a.kind == verb && !a.undone);
    let replaced: Vec<i64> = own.filter(|a| old.contains(&a.id) || silent(a)).map(|a| a.id).collect();
    if let Some(detail) = detail.as_object_mut() {
        detail.insert("author".into(), json!(name));
        detail.insert("documents".into(), json!(documents));
    }
    store.begin()?;
    let work = |store: &mut Store| -> Result<i64> {
        let action = store.act(verb, now(), &detail)?;
        for &former in &replaced {
            store.supersede(former, action, now())?;
        }
        for s in &said {
            store.say(s.document, &statement(s), action)?;
        }
        Ok(action)
    };
    match work(&mut store) {
        Ok(action) => {
            store.commit()?;
            Ok(Written { action: Some(action), documents, replaced })
        }
        Err(error) => {
            // The first error is the one to tell.
            let _ = store.roll_back();
            Err(error)
        }
    }
}

impl Written {
    /// As a person reads it.
    pub fn to_text(&self) -> String {
        match self.action {
            None if self.documents == 0 => "nothing for the store, and nothing there to take back".to_owned(),
            Some(action) if self.documents == 0 => {
                format!("what it said before is taken back, action {action}; `label undo {action}` brings it back")
            }
            None => format!("the store has it already ({} documents)", self.documents),
            Some(action) => {
                let former = if self.replaced.is_empty() { String::new() } else { ", in place of what it said before".to_owned() };
                format!("into the store: {} documents, action {action}{former}; `label undo {action}` takes it back", self.documents)
            }
        }
    }
}
