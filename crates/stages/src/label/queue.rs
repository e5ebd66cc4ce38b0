//! `tunesmith label queue --n N --strategy … --output F`: rows to fill in anywhere and import back.

use std::path::PathBuf;

use ::annotate::queue::{Gather, Strategy};
use ::annotate::{Basis, Current, Store, current};
use dataset::labels::export::{WriteOptions, Writer};
use dataset::labels::jsonl::Detail;
use dataset::labels::{Format, Label};
use serde::Serialize;
use serde_json::Value;

use super::shown_id;
use crate::error::{Result, StageError};

/// Strategies that need nothing but the store.
pub const STRATEGIES: [(&str, Strategy); 2] = [("random", Strategy::Random), ("uncertainty", Strategy::Uncertainty)];

/// What to choose.
#[derive(Debug, Clone)]
pub struct Job {
    /// The store's directory.
    pub store: PathBuf,
    /// How many rows.
    pub n: usize,
    /// How they are chosen, by name.
    pub strategy: String,
    /// Where the rows go.
    pub output: PathBuf,
    /// Which of equals come first.
    pub seed: u64,
    /// Leave out what this annotator looked at, instead of what anybody did.
    pub annotator: Option<String>,
}

/// What scripts may rely on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The file.
    pub output: PathBuf,
    /// Rows written.
    pub rows: usize,
    /// Documents that wait.
    pub waiting: usize,
    /// The strategy.
    pub strategy: String,
    /// Mean uncertainty of the rows that machines labelled, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uncertainty: Option<f64>,
}

/// Chooses and writes: each row has an empty `label` to fill in, and `proposed` where a machine labelled it.
///
/// # Errors
/// If there is no store, the strategy is unknown, or nothing waits.
pub fn run(job: &Job) -> Result<Report> {
    let strategy = STRATEGIES.iter().find(|(name, _)| *name == job.strategy).map(|(_, strategy)| *strategy).ok_or_else(|| {
        let names: Vec<&str> = STRATEGIES.iter().map(|(name, _)| *name).collect();
        StageError::input(format!("--strategy {}: there is no such strategy; known: {}", job.strategy, names.join(", ")))
    })?;
    let store = Store::existing(&job.store)?;
    let mut gather = Gather::new(job.seed, job.annotator.clone());
    let (mut waiting, mut spoken) = (0, 0);
    store.each(&mut |entry| {
        gather.add(&entry);
        Ok(())
    })?;
    let all = gather.choose(strategy, usize::MAX);
    waiting += all.len();
    spoken += all.iter().filter(|w| w.uncertainty.is_some()).count();
    if waiting == 0 {
        return Err(StageError::input("no document waits for a label: people looked at all of them"));
    }
    if strategy == Strategy::Uncertainty && spoken == 0 {
        return Err(StageError::input_help(
            "--strategy uncertainty needs labels of machines with their confidence, and the store has none",
            "import predictions with `label import jsonl FILE --author-kind model` (rows with `document`, `label`, `confidence`), or choose --strategy random",
        ));
    }
    let options = WriteOptions { detail: Detail::Blank, ..WriteOptions::default() };
    let mut writer = Writer::create(Format::Jsonl, &job.output, options)?;
    let chosen = &all[..job.n.min(all.len())];
    for row in chosen {
        let mut entry = store.entry(row.document)?;
        entry.document.known_as = Some((entry.source.clone(), entry.document.row.clone()));
        if entry.document.id.is_none() {
            entry.document.id = Some(shown_id(&entry).into());
        }
        if let Current::Resolved(now, Basis::Model) = current(&entry.document.statements, &entry.actions) {
            let classes: Vec<Value> = now.labels.iter().filter_map(Label::class).map(Value::from).collect();
            entry.document.meta.insert("proposed".into(), classes.into());
        }
        writer.write(&entry.document, None)?;
    }
    writer.finish()?;
    let unsure: Vec<f64> = chosen.iter().filter_map(|w| w.uncertainty).collect();
    let uncertainty = (!unsure.is_empty()).then(|| unsure.iter().sum::<f64>() / unsure.len() as f64);
    Ok(Report { output: job.output.clone(), rows: chosen.len(), waiting, strategy: job.strategy.clone(), uncertainty })
}
