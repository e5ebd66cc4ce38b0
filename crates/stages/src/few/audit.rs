//! `tunesmith label audit`: which labels of a data file are likely wrong, most likely first.

use std::fmt::Write;
use std::path::PathBuf;

use annotate::methods::audit::{Judges, Outside, Reason, audit};
use dataset::labels::AuthorKind;
use serde::Serialize;
use serde_json::{Value, json};
use vectorize::learn::{Knn, LogisticRegression, NaiveBayes};
use vectorize::{ByClass, Learner};

use super::evidence::{self, Said, Written};
use super::{Prepared, prepare};
use crate::environment::Environment;
use crate::error::{Result, StageError};
use crate::human::plural;
use crate::language::teacher::Teacher;
use crate::manifest::write_atomic;
use crate::progress::Progress;
use crate::vectorize::choices::{FeatureChoice, LOGISTIC_C};
use crate::vectorize::table::DataChoice;

/// What to look through.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// Rows with labels.
    pub data: DataChoice,
    /// Features.
    pub features: FeatureChoice,
    /// Runs of `train` whose scores count, too, each on the rows that it was not trained on.
    pub runs: Vec<String>,
    /// Folds of the cross-validation.
    pub folds: usize,
    /// Seed.
    pub seed: u64,
    /// Rows in the report.
    pub top: usize,
    /// Write the whole ranked list here, as JSON lines.
    pub output: Option<PathBuf>,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Rows looked at.
    pub rows: usize,
    /// Rows with a reason.
    pub doubtful: usize,
    /// Rows of each reason.
    pub reasons: serde_json::Map<String, Value>,
    /// The runs, and how many rows each judged.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<Run>,
    /// The most doubtful, first.
    pub top: Vec<Row>,
    /// What went into the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<Written>,
}

/// A run that judged.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// Its directory.
    pub run: String,
    /// Rows that it was not trained on: it judged these.
    pub judged: usize,
    /// Rows that it was trained on: of these it says nothing.
    pub trained_on: usize,
    /// How often it agrees with the labels of the rows that it judged.
    pub agreement: f64,
}

/// What a run says of the rows that it had not seen.
fn outside(environment: &Environment, run: &str, prepared: &Prepared, progress: &mut dyn Progress) -> Result<(Outside, Run)> {
    let teacher = Teacher::open(environment, run, None, progress)?;
    if !teacher.is_run() {
        return Err(StageError::input_help(
            format!("--run {run}: does not say which rows it was trained on"),
            "give the directory of a run of `tunesmith train`",
        ));
    }
    teacher.check(&prepared.labels)?;
    let texts = &prepared.table.texts;
    let unseen: Vec<bool> = texts.iter().map(|t| !teacher.has_seen(t)).collect();
    let asked: Vec<String> = texts.iter().zip(&unseen).filter(|(_, u)| **u).map(|(t, _)| t.clone()).collect();
    if asked.is_empty() {
        return Err(StageError::input_help(
            format!("--run {run}: was trained on every one of these rows"),
            "a model finds its own lessons right: train one on a part of the rows (val_size) and audit the rest",
        ));
    }
    let said = teacher.probabilities(&asked, &prepared.labels, progress)?;
    let mut probabilities = ByClass::zeros(texts.len(), prepared.labels.len());
    let (mut at, mut right) = (0, 0usize);
    for i in (0..texts.len()).filter(|&i| unseen[i]) {
        probabilities.values[i * said.classes..(i + 1) * said.classes].copy_from_slice(said.row(at));
        right += usize::from(said.best(at) == prepared.y[i] as usize);
        at += 1;
    }
    let agreement = right as f64 / at as f64;
    Ok((Outside { probabilities, unseen }, Run { run: run.to_owned(), judged: at, trained_on: texts.len() - at, agreement }))
}

/// A row in doubt.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Place in the list, from 1.
    pub rank: usize,
    /// The row.
    pub id: String,
    /// Its file and line.
    pub origin: String,
    /// Its label.
    pub label: String,
    /// The label that the learners would give.
    pub suggested: String,
    /// Mean probability that they give it.
    pub probability: f64,
    /// How doubtful, -1 to about 1.
    pub score: f64,
    /// Why, in words.
    pub reasons: Vec<String>,
    /// The text.
    pub text: String,
}

/// Ranks all rows.
///
/// # Errors
/// Data or settings that cannot be used.
pub fn run(environment: &Environment, job: &Job, progress: &mut dyn Progress) -> Result<Report> {
    let prepared = prepare(environment, &job.data, &job.features, &[], progress)?;
    if job.folds < 2 {
        return Err(StageError::input("--folds: at least 2"));
    }
    // Two that err differently: one draws borders, one counts (or remembers, where features cannot be counted).
    let (logistic, knn) =
        (LogisticRegression { c: if job.features.kind.needs_model() { 1.0 } else { LOGISTIC_C }, ..Default::default() }, Knn::default());
    let bayes = NaiveBayes { alpha: 0.5, complement: true };
    let second: &dyn Learner = if prepared.x.min() >= 0.0 { &bayes } else { &knn };
    let learners = [&logistic as &dyn Learner, second];
    let mut given = Vec::new();
    let mut runs = Vec::new();
    for run in &job.runs {
        let (outside, said) = outside(environment, run, &prepared, progress)?;
        given.push(outside);
        runs.push(said);
    }
    let judges = Judges { learners: &learners, folds: job.folds, given: &given, seed: job.seed };
    let doubts = audit(&prepared.x, &prepared.y, prepared.labels.len(), &prepared.table.texts, &judges)?;
    let table = &prepared.table;
    let in_words = |reason: &Reason| match reason {
        Reason::ConfidentlyOther { learners, of } => format!("{learners} of {of} learners are confident of another label"),
        Reason::SameText { row } => format!("the same text has another label at {}", table.origins[*row]),
        Reason::NearlySameText { row, similarity } => {
            format!("nearly the same text ({similarity:.2}) has another label at {}", table.origins[*row])
        }
        Reason::Outlier { similarity } => format!("no other row is like it (nearest: {similarity:.2})"),
    };
    let kind = |reason: &Reason| match reason {
        Reason::ConfidentlyOther { .. } => "confidently_other",
        Reason::SameText { .. } => "same_text",
        Reason::NearlySameText { .. } => "nearly_same_text",
        Reason::Outlier { .. } => "outlier",
    };
    let row = |(place, d): (usize, &annotate::methods::audit::Doubt)| Row {
        rank: place + 1,
        id: table.ids[d.row].clone(),
        origin: table.origins[d.row].to_string(),
        label: prepared.labels[prepared.y[d.row] as usize].clone(),
        suggested: prepared.labels[d.suggested as usize].clone(),
        probability: d.probability,
        score: d.score,
        reasons: d.reasons.iter().map(in_words).collect(),
        text: table.texts[d.row].clone(),
    };
    let mut reasons = serde_json::Map::new();
    for reason in doubts.iter().flat_map(|d| &d.reasons) {
        let n = reasons.get(kind(reason)).and_then(Value::as_u64).unwrap_or(0);
        reasons.insert(kind(reason).to_owned(), json!(n + 1));
    }
    if let Some(path) = &job.output {
        let mut lines = String::new();
        for place in doubts.iter().enumerate() {
            // Strings and numbers: nothing in it can fail to serialise.
            lines.push_str(&serde_json::to_string(&row(place)).unwrap_or_default());
            lines.push('\n');
        }
        write_atomic(path, lines.as_bytes())?;
    }
    let store = match &job.data.store {
        Some(dir) => {
            let doubtful = doubts.iter().filter(|d| !d.reasons.is_empty() && d.suggested != prepared.y[d.row]);
            let one = |d: &annotate::methods::audit::Doubt| {
                Said::class(table.documents[d.row], &table.group, &prepared.labels[d.suggested as usize], d.probability)
            };
            Some(evidence::write(dir, "audit", AuthorKind::Model, "audit", json!({}), doubtful.map(one).collect())?)
        }
        None => None,
    };
    Ok(Report {
        rows: doubts.len(),
        doubtful: doubts.iter().filter(|d| !d.reasons.is_empty()).count(),
        reasons,
        runs,
        store,
        top: doubts.iter().enumerate().take(job.top).map(row).collect(),
    })
}

impl Report {
    /// As a person reads it.
    pub fn to_text(&self) -> String {
        let mut out = format!("{}, {} in doubt", plural(self.rows, "row"), self.doubtful);
        for (reason, n) in &self.reasons {
            let _ = write!(out, "\n  {n:>6}  {}", reason.replace('_', " "));
        }
        for run in &self.runs {
            let (judged, n, agreement) = (plural(run.judged, "row"), run.trained_on, run.agreement);
            let _ = write!(
                out,
                "\n{} judged {judged} that it was not trained on ({n} it was), and agrees with {agreement:.3} of the labels",
                run.run
            );
        }
        for r in &self.top {
            let text: String = r.text.chars().take(90).collect();
            let _ = write!(out, "\n{:>4}  {}  {} -> {} ({:.2})  {text}", r.rank, r.origin, r.label, r.suggested, r.probability);
            r.reasons.iter().for_each(|why| {
                let _ = write!(out, "\n        {why}");
            });
        }
        if let Some(store) = &self.store {
            let _ = write!(out, "\n{}", store.to_text());
        }
        out
    }
}
