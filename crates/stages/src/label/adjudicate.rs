//! `tunesmith label adjudicate --store DIR`: settles what people disagree about, one document by name here; see
//! [`annotate`](super::annotate) for going through all of them.

use std::path::PathBuf;

use ::annotate::session::candidates;
use ::annotate::{Store, current};
use dataset::labels::{Author, AuthorKind, Body, Label, Statement};
use serde::Serialize;
use serde_json::json;

use super::now;
use crate::error::{Result, StageError};

/// What to settle.
#[derive(Debug, Clone)]
pub struct Job {
    /// The store's directory.
    pub store: PathBuf,
    /// The document's number, as `label agree` names it.
    pub document: i64,
    /// Who settles it.
    pub adjudicator: String,
    /// What stands.
    pub choice: Choice,
}

/// What stands.
#[derive(Debug, Clone)]
pub enum Choice {
    /// The labels of this annotator.
    Of(String),
    /// These classes.
    Classes(Vec<String>),
}

/// What scripts may rely on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The document's number.
    pub document: i64,
    /// The classes that count now.
    pub classes: Vec<String>,
    /// How many labels of every kind count now.
    pub labels: usize,
    /// The action, for `label undo`.
    pub action: i64,
}

/// Settles a document.
///
/// # Errors
/// If there is no such document, or the annotator said nothing of it.
pub fn run(job: &Job) -> Result<Report> {
    let mut store = Store::existing(&job.store)?;
    let entry = store.entry(job.document)?;
    let labels = match &job.choice {
        Choice::Classes(classes) => classes.iter().map(|c| Label::new(Body::class(c))).collect(),
        Choice::Of(name) => {
            let all = candidates(&entry);
            let found = all.iter().find(|(who, _)| who.split(", ").any(|w| w == name));
            let names: Vec<&str> = all.iter().map(|(who, _)| who.as_str()).collect();
            let error = || StageError::input(format!("{name} said nothing of document {}; there are: {}", job.document, names.join(", ")));
            found.ok_or_else(error)?.1.clone()
        }
    };
    let author = Author { kind: AuthorKind::Adjudicator, name: job.adjudicator.clone() };
    store.begin()?;
    let action = store.act("adjudicate", now(), &json!({"document": job.document}))?;
    store.say(job.document, &Statement { author, labels, ..Statement::default() }, action)?;
    store.commit()?;
    let entry = store.entry(job.document)?;
    let now = current(&entry.document.statements, &entry.actions);
    let statement = now.resolved();
    Ok(Report {
        document: job.document,
        classes: statement.map(|s| s.classes().map(str::to_owned).collect()).unwrap_or_default(),
        labels: statement.map_or(0, |s| s.labels.len()),
        action,
    })
}
