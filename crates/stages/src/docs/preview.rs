//! `docs preview`: what a pipeline would change, before anything is changed.

use std::fmt::Write as _;
use std::path::PathBuf;

use documents::Store;
use documents::clean::{Cleaner, Draft, Edit, Outcome, StepCount};
use serde::Serialize;

use super::pipeline;
use crate::error::{Result, StageError};
use crate::human::{count, plural};
use crate::progress::{Progress, Unit};

/// Characters shown on each side of a change.
const CONTEXT: usize = 24;

/// What to look at.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// The store's directory.
    pub store: PathBuf,
    /// Documents; none named: all.
    pub names: Vec<String>,
    /// A pipeline's file, `default` or `none`.
    pub clean: String,
    /// Changes of each step that are shown of a document.
    pub show: usize,
}

/// A change as it is shown.
#[derive(Clone, Debug, Serialize)]
pub struct Change {
    /// The document.
    pub file: String,
    /// The step.
    pub step: String,
    /// Text before it.
    pub before: String,
    /// What goes.
    pub removed: String,
    /// What comes.
    pub added: String,
    /// Text behind it.
    pub after: String,
}

/// A document that a pipeline leaves out.
#[derive(Clone, Debug, Serialize)]
pub struct Dropped {
    /// The document.
    pub file: String,
    /// Why.
    pub reason: String,
}

/// What a pipeline would change.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Documents looked at.
    pub documents: usize,
    /// Counts of each step over all of them.
    pub steps: Vec<StepCount>,
    /// Documents that would be left out.
    pub dropped: Vec<Dropped>,
    /// Some changes of each step and document.
    pub changes: Vec<Change>,
}

/// Runs a pipeline over documents and keeps nothing.
///
/// # Errors
/// No store; no such document; a pipeline that cannot be used.
pub fn run(job: &Job, progress: &mut dyn Progress) -> Result<Report> {
    let pipeline = pipeline::load(&job.clean)?;
    let store = Store::open(&job.store)?;
    let files =
        if job.names.is_empty() { store.files()? } else { job.names.iter().map(|n| store.find(n)).collect::<documents::Result<_>>()? };
    let mut cleaner = Cleaner::new(pipeline);
    let mut report = Report::default();
    progress.begin("cleaning", Some(files.len() as u64), 0, Unit::Files);
    for file in files.iter().filter(|f| f.failed.is_none()) {
        if progress.cancelled() {
            return Err(StageError::Stopped { help: Some("run the same command again".into()) });
        }
        let mut seen = Draft::new(&store.blocks(file)?);
        let outcome = cleaner.clean(&file.name, seen.clone(), &store.pages(file)?);
        report.documents += 1;
        add(&mut report.steps, &outcome.counts);
        if let Some(reason) = &outcome.dropped {
            report.dropped.push(Dropped { file: file.name.clone(), reason: reason.clone() });
        }
        changes(&mut report.changes, &file.name, &mut seen.text, &outcome, job.show);
        progress.advance(1);
    }
    progress.end();
    Ok(report)
}

/// Adds the counts of one document to those of all.
pub(super) fn add(all: &mut Vec<StepCount>, one: &[StepCount]) {
    if all.is_empty() {
        *all = one.iter().map(|c| StepCount { step: c.step.clone(), ..StepCount::default() }).collect();
    }
    for (sum, count) in all.iter_mut().zip(one) {
        sum.edits += count.edits;
        sum.removed += count.removed;
        sum.added += count.added;
        sum.dropped += count.dropped;
        count.kinds.iter().for_each(|(kind, n)| *sum.kinds.entry(kind.clone()).or_default() += n);
    }
}

/// The first changes of each step, each in the text that the step saw.
fn changes(out: &mut Vec<Change>, file: &str, text: &mut String, outcome: &Outcome, show: usize) {
    for (edits, count) in outcome.edits.iter().zip(&outcome.counts) {
        for edit in edits.iter().take(show) {
            let tail = |s: &str| s.chars().rev().take(CONTEXT).collect::<Vec<_>>().into_iter().rev().collect::<String>();
            out.push(Change {
                file: file.to_owned(),
                step: count.step.clone(),
                before: tail(&text[..edit.range.start]),
                removed: text[edit.range.clone()].to_owned(),
                added: edit.with.clone(),
                after: text[edit.range.end..].chars().take(CONTEXT).collect(),
            });
        }
        *text = applied(text, edits);
    }
}

fn applied(text: &str, edits: &[Edit]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for edit in edits {
        out.push_str(&text[at..edit.range.start]);
        out.push_str(&edit.with);
        at = edit.range.end;
    }
    out.push_str(&text[at..]);
    out
}

impl Report {
    /// As a person reads it; what goes is red and struck out, what comes is green. Without colour: `[-gone-]{+come+}`.
    pub fn to_text(&self, colour: bool) -> String {
        let mut out = String::new();
        let mut last = "";
        for change in &self.changes {
            if change.file != last {
                let _ = writeln!(out, "{}", change.file);
                last = &change.file;
            }
            let visible = |s: &str| {
                let shown: String = s.chars().take(120).collect();
                shown
                    .chars()
                    .map(|c| {
                        if c == '\n' {
                            "⏎".to_owned()
                        } else if c.is_control() || is_unseen(c) {
                            format!("<U+{:04X}>", u32::from(c))
                        } else {
                            c.to_string()
                        }
                    })
                    .collect::<String>()
            };
            let (gone, come) = (visible(&change.removed), visible(&change.added));
            let gone = if gone.is_empty() {
                gone
            } else if colour {
                format!("\u{1b}[31;9m{gone}\u{1b}[0m")
            } else {
                format!("[-{gone}-]")
            };
            let come = if come.is_empty() {
                come
            } else if colour {
                format!("\u{1b}[32m{come}\u{1b}[0m")
            } else {
                format!("{{+{come}+}}")
            };
            let _ = writeln!(out, "  {:<16} {}{gone}{come}{}", change.step, visible(&change.before), visible(&change.after));
        }
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&steps_text(&self.steps, self.documents));
        for dropped in &self.dropped {
            let _ = write!(out, "\n  left out: {}: {}", dropped.file, dropped.reason);
        }
        out
    }
}

/// Characters that take no place on a screen.
fn is_unseen(c: char) -> bool {
    matches!(c, '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}')
}

/// The counts of steps as a table.
pub(super) fn steps_text(steps: &[StepCount], documents: usize) -> String {
    let rows: Vec<Vec<String>> = steps
        .iter()
        .map(|s| {
            let kinds: Vec<String> = s.kinds.iter().map(|(kind, n)| format!("{kind} {n}")).collect();
            vec![
                s.step.clone(),
                count(s.edits as u64),
                count(s.removed as u64),
                count(s.added as u64),
                count(s.dropped as u64),
                kinds.join(", "),
            ]
        })
        .collect();
    let table = super::columns(&["step", "changes", "removed", "added", "left out", ""], &rows);
    format!("{table}\n\n{}; removed and added count characters", plural(documents, "document"))
}
