//! `tunesmith eval`: a run or a model judged on rows that it has not seen.

use std::fmt::Write;
use std::path::PathBuf;

use dataset::{DatasetSpec, SourceEntry, TaskSpec};
use evaluate::{EvalReport, LabelMap};
use recipe::Recipe;

use crate::environment::Environment;
use crate::error::{Result, StageError};
use crate::fetch::{self, Used};
use crate::human::plural;
use crate::measure::{Asked, headline, measure};
use crate::open::Opened;
use crate::progress::Progress;
use crate::rows::say_loaded;

/// What to measure on.
pub struct Job {
    /// A file or any data source.
    pub data: String,
    /// `pos=positive,neg=negative`; empty for none.
    pub label_map: String,
    /// Only the first rows.
    pub limit: Option<usize>,
}

/// The verdict.
pub struct Outcome {
    /// The numbers.
    pub report: EvalReport,
}

/// Judges.
pub fn run(environment: &Environment, opened: &mut Opened, job: &Job, progress: &mut dyn Progress) -> Result<Outcome> {
    let Some(mut recipe) = opened.recipe.clone() else {
        return Err(StageError::input_help(
            "a bare model has no task to be measured on",
            "give a recipe that says it: --recipe examples/rotten-tomatoes.yaml",
        ));
    };
    map_labels(&mut recipe.task, &job.label_map)?;
    opened.recipe = Some(recipe.clone());
    let (entry, files, used) = other_rows(environment, &recipe, &job.data, progress)?;
    let loaded = dataset::import::load(&files, &entry, &recipe.task).map_err(with_label_map)?;
    progress.note(&format!("data   {} ({})", used.source, fetch::short(&used.sha256)));
    say_loaded(&loaded, progress);
    if loaded.bad.iter().any(|row| row.reason.contains(UNKNOWN_LABEL)) {
        progress.warn(&format!("  {LABEL_MAP_HELP}"));
    }
    let mut samples = loaded.samples;
    samples.truncate(job.limit.unwrap_or(usize::MAX));
    let renderer = opened.renderer()?;
    let rendered = match recipe.task {
        TaskSpec::Classify(_) => Vec::new(),
        _ => renderer.render_all(&samples)?.rows,
    };
    let asked = Asked { decoder: &opened.decoder, params: &opened.params, arena: &opened.arena, renderer: &renderer };
    let measured = measure(asked, &samples, &rendered, "evaluate", progress)?;
    Ok(Outcome { report: measured.report })
}

/// How the data set's reader begins its complaint about a label that the recipe does not list.
const UNKNOWN_LABEL: &str = "unknown label";
const LABEL_MAP_HELP: &str =
    "labels that the run calls otherwise are translated with --label-map, e.g. --label-map pos=positive,neg=negative";

/// The error of rows that cannot be read, with the way out where their labels are the reason.
fn with_label_map(error: dataset::Error) -> StageError {
    let message = error.to_string();
    if message.contains(UNKNOWN_LABEL) { StageError::input_help(message, LABEL_MAP_HELP) } else { error.into() }
}

/// Files of other rows, and how to read them: as the recipe reads its own where their columns allow it, by their own names
/// otherwise (a run's `heldout.jsonl`).
pub(crate) fn other_rows(
    environment: &Environment,
    recipe: &Recipe,
    data: &str,
    progress: &mut dyn Progress,
) -> Result<(SourceEntry, Vec<PathBuf>, Used)> {
    let spec = match recipe.dataset.sources.iter().find(|s| s.source == data) {
        Some(own) => DatasetSpec::new(vec![own.clone()]),
        None => DatasetSpec::new(vec![SourceEntry::new(data)]),
    };
    let (mut entry, resolved, used) = fetch::dataset(environment, recipe, &spec, None, progress)?;
    let own = recipe.dataset.sources.first().filter(|own| own.source != data);
    if let (Some(own), Some(file)) = (own, resolved.files.first()) {
        entry = dataset::import::entry_for(file, own)?;
    }
    Ok((entry, resolved.files, used))
}

fn map_labels(task: &mut TaskSpec, text: &str) -> Result<()> {
    if text.trim().is_empty() {
        return Ok(());
    }
    let map = LabelMap::parse(text).map_err(|e| StageError::input(format!("--label-map: {e}")))?;
    let TaskSpec::Classify(classify) = task else {
        return Err(StageError::input(format!("--label-map: the task is {} and has no labels", task.name())));
    };
    for (from, to) in map.iter() {
        classify.labels.add_alias(from, to).map_err(|e| StageError::input(format!("--label-map: {e}")))?;
    }
    Ok(())
}

impl Outcome {
    /// As a person reads it.
    pub fn to_text(&self) -> String {
        let mut out = format!("{} on {}", headline(&self.report), plural(self.report.n, "row"));
        if let Some(classes) = &self.report.per_class {
            let width = classes.iter().map(|(l, _)| l.chars().count()).max().unwrap_or(0).max(5);
            let _ = write!(out, "\n\n{:<width$}  precision  recall  f1     rows", "class");
            for (label, scores) in classes.iter() {
                let _ = write!(
                    out,
                    "\n{label:<width$}  {:<9.3}  {:<6.3}  {:<5.3}  {}",
                    scores.precision, scores.recall, scores.f1, scores.support
                );
            }
        }
        if let Some(confusion) = &self.report.confusion {
            let width = confusion.iter().map(|(l, _)| l.chars().count()).max().unwrap_or(0).max(6);
            let _ = write!(out, "\n\n{:<width$}  predicted", "truth");
            let _ = write!(out, "\n{:<width$}", "");
            confusion.iter().for_each(|(l, _)| {
                let _ = write!(out, "  {l:>width$}");
            });
            for (label, row) in confusion.iter() {
                let _ = write!(out, "\n{label:<width$}");
                row.iter().for_each(|(_, n)| {
                    let _ = write!(out, "  {n:>width$}");
                });
            }
        }
        out
    }
}
