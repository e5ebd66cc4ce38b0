//! `tunesmith label import FORMAT PATH --store DIR`: a file of labels into the store. What is there already is not added again.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ::annotate::Store;
use dataset::labels::import::ReadOptions;
use dataset::labels::{Body, Document, Format, Losses, Lost, Statement};
use dataset::{BadRow, import::RowError, kind_of};
use serde::Serialize;
use serde_json::json;

use super::{hash, now};
use crate::error::{Result, StageError};
use crate::progress::{Progress, Unit};

/// Documents between two commits.
const BATCH: usize = 20_000;
/// How many unreadable rows are shown by name; all are counted.
const SHOWN: usize = 5;
/// How many reasons are named where nothing could be read.
const REASONS: usize = 3;

/// What to import.
#[derive(Debug, Clone)]
pub struct Job {
    /// How it is written.
    pub format: Format,
    /// The file; of brat the directory.
    pub path: PathBuf,
    /// The store's directory.
    pub store: PathBuf,
    /// Count only, change nothing.
    pub dry_run: bool,
    /// Name under which its documents are known (default: the file's name).
    pub source: Option<String>,
    /// What the user says about the file.
    pub options: ReadOptions,
}

/// What scripts may rely on.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// Documents that are new in the store.
    pub documents: usize,
    /// New labels of every kind.
    pub labels: usize,
    /// New spans among them.
    pub spans: usize,
    /// New relations among them.
    pub relations: usize,
    /// Spans of the file whose offsets were recounted.
    pub repaired: usize,
    /// What of the file could not be used or kept.
    pub lost: Vec<Lost>,
    /// How the file counted its offsets, if that was repaired.
    pub repair: Option<String>,
    /// What the file holds, new or not.
    pub read: Counts,
    /// Name under which the documents are known.
    pub source: String,
    /// Whether nothing was changed.
    pub dry_run: bool,
}

/// Counts of what was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Rows (files, in brat) that are documents or say something of one.
    pub rows: usize,
    /// Statements.
    pub statements: usize,
    /// Labels of every kind.
    pub labels: usize,
    /// Spans among them.
    pub spans: usize,
    /// Relations among them.
    pub relations: usize,
}

/// Imports.
///
/// # Errors
/// If the file cannot be read at all; what was committed before stays, and importing again goes on from there.
pub fn run(job: &Job, progress: &mut dyn Progress) -> Result<Report> {
    let mut import = dataset::labels::import::open(job.format, &job.path, &job.options)?;
    let fresh = job.dry_run && !job.store.join(::annotate::store::FILE).exists();
    let mut store = if fresh { Store::in_memory()? } else { Store::open(&job.store)? };
    let mut source = job.source.clone().unwrap_or_else(|| import.name());
    // One of our own exports, byte for byte, under whatever name it lies now.
    if job.source.is_none()
        && let Some(name) = store.export_of(&hash(&job.path)?)?
    {
        progress.note(&format!("this is the export {name:?} of this very store"));
        source = name;
        if job.options.separator.is_none() {
            // Tables of ours part several labels by what `label export` puts there.
            let separator = Some(dataset::labels::export::WriteOptions::default().separator);
            import = dataset::labels::import::open(job.format, &job.path, &ReadOptions { separator, ..job.options.clone() })?;
        }
    }
    let mut report = Report { repair: import.repair(), source: source.clone(), dry_run: job.dry_run, ..Report::default() };
    if let Some(way) = &report.repair {
        progress.warn(&format!("the file counts offsets as {way}; all its spans agree, so they were recounted"));
    }
    let mut documents = import.documents()?;
    let mut bad = BadRows::default();
    let mut aside = 0;
    let detail = json!({"format": job.format.name(), "file": import.name(), "source": source});
    progress.begin("import", None, 0, Unit::Rows);
    let mut done = false;
    while !done {
        store.begin()?;
        let action = store.act("import", now(), &detail)?;
        let mut added = 0;
        // A dry run is one batch: what it pretends to add is seen until its end.
        for _ in 0..if job.dry_run { usize::MAX } else { BATCH } {
            let Some(row) = documents.next() else {
                done = true;
                break;
            };
            match row {
                Ok(document) => {
                    let new = store.add(&source, &document, action)?;
                    added += usize::from(new.new) + new.statements.len();
                    aside += if new.aside { new.statements.iter().map(|&i| document.statements[i].labels.len()).sum() } else { 0 };
                    count(&mut report, &document, new.new, &new.statements);
                }
                Err(RowError::Bad(row)) => bad.add(row, progress),
                Err(RowError::File(error)) => {
                    // What came before it is good; importing again will not add it twice.
                    store.roll_back()?;
                    return Err(error.into());
                }
            }
            progress.advance(1);
        }
        if added == 0 || job.dry_run {
            store.roll_back()?;
        } else {
            store.commit()?;
        }
        if progress.cancelled() {
            progress.end();
            return Err(StageError::Stopped { help: Some("run the same command again: what is there is not added twice".into()) });
        }
    }
    progress.end();
    report.repaired = documents.repaired;
    let mut losses = std::mem::take(&mut documents.losses);
    bad.count(&mut losses);
    losses.add("labels", aside, "said of documents that are put aside; `label migrate` carries them to the text that counts");
    report.lost = losses.list();
    Ok(report)
}

impl Report {
    /// An error where nothing at all could be read.
    ///
    /// # Errors
    /// That, with the first reasons.
    pub fn verdict(&self) -> Result<()> {
        if self.read.rows > 0 {
            return Ok(());
        }
        let reasons: Vec<&str> = self.lost.iter().take(REASONS).map(|lost| lost.reason.as_str()).collect();
        Err(match reasons[..] {
            [] => StageError::input(format!("{}: there is no row in it", self.source)),
            _ => StageError::input(format!("{}: nothing at all could be read: {}", self.source, reasons.join("; "))),
        })
    }
}

pub(super) fn count(report: &mut Report, document: &Document, new: bool, statements: &[usize]) {
    let kinds = |statement: &Statement| {
        let of = |want: fn(&Body) -> bool| statement.labels.iter().filter(|l| want(&l.body)).count();
        (statement.labels.len(), of(|b| matches!(b, Body::Span { .. })), of(|b| matches!(b, Body::Relation { .. })))
    };
    report.documents += usize::from(new);
    report.read.rows += 1;
    for (i, statement) in document.statements.iter().enumerate() {
        let (labels, spans, relations) = kinds(statement);
        report.read.statements += 1;
        report.read.labels += labels;
        report.read.spans += spans;
        report.read.relations += relations;
        if statements.contains(&i) {
            report.labels += labels;
            report.spans += spans;
            report.relations += relations;
        }
    }
}

/// Rows that cannot be used, by reason.
#[derive(Default)]
struct BadRows(BTreeMap<String, (usize, String)>, usize);

impl BadRows {
    fn add(&mut self, row: BadRow, progress: &mut dyn Progress) {
        self.1 += 1;
        if self.1 <= SHOWN {
            progress.warn(&row.to_string());
        }
        let reason = if row.field.is_empty() { row.reason.clone() } else { format!("{}: {}", row.field, row.reason) };
        let entry = self.0.entry(kind_of(&reason)).or_insert_with(|| (0, format!("{reason} (first: {}:{})", row.file, row.line)));
        entry.0 += 1;
    }

    fn count(self, losses: &mut Losses) {
        for (_, (count, reason)) in self.0 {
            losses.add("rows", count, reason);
        }
    }
}
