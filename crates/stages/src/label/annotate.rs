//! `tunesmith label annotate --store DIR`: a session of one annotator over the documents that wait for them. Keys come in and screens
//! go out; the terminal (or a page) is the caller's.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ::annotate::session::{Effect, Key, Screen, Session, Task};
use ::annotate::{Current, Entry, Kind, Store};
use dataset::labels::Body;
use serde::Serialize;
use serde_json::json;

use super::choose::{Choosing, choose};
use super::now;
use crate::environment::Environment;
use crate::error::Result;
use crate::human::plural;
use crate::progress::Progress;

/// What to annotate.
#[derive(Debug, Clone)]
pub struct Job {
    /// The store's directory.
    pub store: PathBuf,
    /// Who annotates.
    pub annotator: String,
    /// What is asked; told from the store if not given.
    pub task: Option<Task>,
    /// Classes that are offered, in order, before those that the store knows.
    pub classes: Vec<String>,
    /// The order of documents, by the strategy's name (as in `label queue`).
    pub strategy: String,
    /// At most this many documents.
    pub limit: usize,
    /// Which of equals come first.
    pub seed: u64,
}

/// What scripts may rely on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Documents that got an answer.
    pub answered: usize,
    /// Documents that waited.
    pub waiting: usize,
    /// Answers taken back.
    pub undone: usize,
}

/// A session that is under way, with its store.
#[derive(Debug)]
pub struct Annotating {
    store: Store,
    session: Session,
    actions: Vec<i64>,
    kind: &'static str,
    undone: usize,
}

/// Opens a session.
///
/// # Errors
/// If there is no store, or the strategy is unknown.
pub fn open(environment: &Environment, job: &Job, progress: &mut dyn Progress) -> Result<Annotating> {
    let store = Store::existing(&job.store)?;
    let mut disputed: Vec<i64> = Vec::new();
    let mut classes: BTreeMap<String, usize> = BTreeMap::new();
    let mut types: BTreeMap<String, usize> = BTreeMap::new();
    let mut several = false;
    let kind = match job.task {
        Some(Task::Spans) => Some(Kind::Spans),
        Some(Task::Class | Task::Classes) => Some(Kind::Class),
        Some(Task::Adjudicate) => None,
        // Who names classes and no task asks for classes.
        None => (!job.classes.is_empty()).then_some(Kind::Class),
    };
    let choosing = Choosing {
        kind,
        // What is in dispute is not chosen: all of it waits for the adjudicator.
        strategy: if job.task == Some(Task::Adjudicate) { "random".into() } else { job.strategy.clone() },
        n: job.limit,
        seed: job.seed,
        annotator: Some(job.annotator.clone()),
        ..Choosing::default()
    };
    let choice = choose(environment, &store, &choosing, progress, &mut |entry, now| {
        if matches!(now, Current::Tied(_)) {
            disputed.push(entry.id);
        }
        for statement in &entry.document.statements {
            several |= statement.classes().count() > 1;
            for label in &statement.labels {
                match &label.body {
                    Body::Class { label, .. } => *classes.entry(label.clone()).or_default() += 1,
                    Body::Span { label, .. } => *types.entry(label.clone()).or_default() += 1,
                    _ => {}
                }
            }
        }
    })?;
    if let Some(reason) = &choice.reason {
        progress.warn(reason);
    }
    for left in &choice.left_out {
        progress.note(&format!("not learned from: {} ({})", plural(left.count, "document"), left.reason));
    }
    let task = job.task.unwrap_or(match (choice.kind, several) {
        (Kind::Spans, _) => Task::Spans,
        (_, true) => Task::Classes,
        _ => Task::Class,
    });
    let known = if task == Task::Spans { types } else { classes };
    let mut offered = job.classes.clone();
    let mut known: Vec<(String, usize)> = known.into_iter().filter(|(name, _)| !offered.contains(name)).collect();
    // The most frequent have the first keys.
    known.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    offered.extend(known.into_iter().map(|(name, _)| name));
    let ids: Vec<i64> = match task {
        Task::Adjudicate => disputed.into_iter().take(job.limit).collect(),
        _ => choice.rows.into_iter().map(|row| row.document).collect(),
    };
    let entries: Vec<Entry> = ids.into_iter().map(|id| store.entry(id)).collect::<::annotate::Result<_>>()?;
    let session = Session::new(task, &job.annotator, entries, offered);
    let kind = if task == Task::Adjudicate { "adjudicate" } else { "annotate" };
    Ok(Annotating { store, session, actions: Vec::new(), kind, undone: 0 })
}

impl Annotating {
    /// Takes a key and does what it asks for, at once. Returns whether the session goes on.
    ///
    /// # Errors
    /// If the store refuses.
    pub fn key(&mut self, key: Key) -> Result<bool> {
        for effect in self.session.key(key) {
            match effect {
                Effect::Quit => return Ok(false),
                Effect::Say { document, statements } => {
                    self.store.begin()?;
                    let action = self.store.act(self.kind, now(), &json!({"document": document}))?;
                    for statement in &statements {
                        self.store.say(document, statement, action)?;
                    }
                    self.store.commit()?;
                    self.actions.push(action);
                }
                Effect::Undo => {
                    if let Some(action) = self.actions.pop() {
                        self.store.undo(action, now())?;
                        self.undone += 1;
                    }
                }
            }
        }
        Ok(true)
    }

    /// What is to be seen on `width` columns.
    pub fn screen(&self, width: usize) -> Screen {
        self.session.screen(width)
    }

    /// How far the session came.
    pub fn report(&self) -> Report {
        let (answered, waiting) = self.session.progress();
        Report { answered, waiting, undone: self.undone }
    }
}
