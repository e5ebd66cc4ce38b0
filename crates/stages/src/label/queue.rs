//! `tunesmith label queue --n N --strategy … --output F`: rows to fill in anywhere and import back.

use std::path::PathBuf;

use ::annotate::{Kind, Standing, Store, standings};
use dataset::labels::export::{WriteOptions, Writer};
use dataset::labels::jsonl::Detail;
use dataset::labels::{Body, Format, Label, surface};
use serde::Serialize;
use serde_json::{Value, json};

use super::choose::{Choosing, choose};
use super::learn::LeftOut;
use super::shown_id;
use crate::environment::Environment;
use crate::error::{Result, StageError};
use crate::progress::Progress;

/// What to choose.
#[derive(Debug, Clone)]
pub struct Job {
    /// The store's directory.
    pub store: PathBuf,
    /// How rows are chosen, and how many.
    pub choosing: Choosing,
    /// Where the rows go.
    pub output: PathBuf,
}

/// What scripts may rely on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The file.
    pub output: PathBuf,
    /// Rows written.
    pub rows: usize,
    /// What is asked: `class`, `spans` or `texts`.
    pub task: &'static str,
    /// Documents that wait for that.
    pub waiting: usize,
    /// The strategy that was asked for.
    pub strategy: String,
    /// The strategy that chose.
    pub used: String,
    /// Why it is another.
    pub reason: Option<String>,
    /// Labels that a classifier learned from.
    pub learned_from: usize,
    /// Their classes.
    pub classes: Vec<String>,
    /// Documents that people labelled and the classifier did not learn from, with the reasons.
    pub left_out: Vec<LeftOut>,
    /// Mean uncertainty of the rows that machines labelled, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uncertainty: Option<f64>,
}

/// Chooses and writes: each row has an empty `label` to fill in, `proposed` (`proposed_spans`, `proposed_relations`) where a machine labelled it, and `queued` with why it is here.
///
/// # Errors
/// If there is no store, the strategy is unknown, or nothing waits.
pub fn run(environment: &Environment, job: &Job, progress: &mut dyn Progress) -> Result<Report> {
    let store = Store::existing(&job.store)?;
    let choice = choose(environment, &store, &job.choosing, progress, &mut |_, _| {})?;
    if choice.waiting == 0 {
        let others: Vec<&str> = Kind::ALL.into_iter().filter(|k| *k != choice.kind).map(Kind::name).collect();
        return Err(StageError::input_help(
            format!("no document waits for an answer of the kind `{}`: people looked at all of them", choice.kind.name()),
            format!("--task {} asks for another kind", others.join(" or ")),
        ));
    }
    let options = WriteOptions { detail: Detail::Blank, ..WriteOptions::default() };
    let mut writer = Writer::create(Format::Jsonl, &job.output, options)?;
    for row in &choice.rows {
        let mut entry = store.entry(row.document)?;
        entry.document.known_as = Some((entry.source.clone(), entry.document.row.clone()));
        if entry.document.id.is_none() {
            entry.document.id = Some(shown_id(&entry).into());
        }
        let proposed = standings(&entry.document.statements, &entry.actions).into_values().filter(Standing::is_proposed);
        let proposed: Vec<Label> = proposed.flat_map(|s| s.labels).collect();
        let classes: Vec<Value> = proposed.iter().filter_map(Label::class).map(Value::from).collect();
        let (spans, relations) = (spans(&entry.document.text, &proposed), relations(&proposed));
        for (key, list) in [("proposed", classes), ("proposed_spans", spans), ("proposed_relations", relations)] {
            if !list.is_empty() {
                entry.document.meta.insert(key.into(), list.into());
            }
        }
        let queued = json!({"strategy": choice.used, "score": row.score, "why": row.why});
        entry.document.meta.insert("queued".into(), queued);
        writer.write(&entry.document, None)?;
    }
    writer.finish()?;
    let unsure: Vec<f64> = choice.rows.iter().filter_map(|w| w.uncertainty).collect();
    let uncertainty = (!unsure.is_empty()).then(|| unsure.iter().sum::<f64>() / unsure.len() as f64);
    Ok(Report {
        output: job.output.clone(),
        rows: choice.rows.len(),
        task: choice.kind.name(),
        waiting: choice.waiting,
        strategy: job.choosing.strategy.clone(),
        used: choice.used,
        reason: choice.reason,
        learned_from: choice.learned_from,
        classes: choice.classes,
        left_out: choice.left_out,
        uncertainty,
    })
}

/// Proposed spans as a row's `spans` are written: copied there, they are confirmed.
fn spans(text: &str, proposed: &[Label]) -> Vec<Value> {
    let one = |label: &Label| {
        let (kind, ranges) = label.span()?;
        let said = json!({"id": label.id, "label": kind, "text": surface(text, ranges)});
        let place = match ranges {
            [[start, end]] => json!({"start": start, "end": end}),
            several => json!({"ranges": several}),
        };
        let mut said = said.as_object().cloned().unwrap_or_default();
        said.extend(place.as_object().cloned().unwrap_or_default());
        Some(Value::from(said))
    };
    proposed.iter().filter_map(one).collect()
}

/// Proposed relations as a row's `relations` are written.
fn relations(proposed: &[Label]) -> Vec<Value> {
    let one = |label: &Label| match &label.body {
        Body::Relation { label: kind, args } => {
            let args: Vec<Value> = args.iter().map(|(role, id)| json!({"role": role, "id": id})).collect();
            Some(json!({"id": label.id, "label": kind, "args": args}))
        }
        _ => None,
    };
    proposed.iter().filter_map(one).collect()
}
