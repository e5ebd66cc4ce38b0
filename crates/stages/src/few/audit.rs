//! `tunesmith label audit`: which labels of a data file are likely wrong, most likely first.

use std::fmt::Write;
use std::path::PathBuf;

use annotate::methods::audit::{Judges, Reason, audit};
use serde::Serialize;
use serde_json::{Value, json};
use vectorize::Learner;
use vectorize::learn::{Knn, LogisticRegression, NaiveBayes};

use super::prepare;
use crate::environment::Environment;
use crate::error::{Result, StageError};
use crate::human::plural;
use crate::manifest::write_atomic;
use crate::progress::Progress;
use crate::vectorize::choices::FeatureChoice;
use crate::vectorize::table::DataChoice;

/// What to look through.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// Rows with labels.
    pub data: DataChoice,
    /// Features.
    pub features: FeatureChoice,
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
    /// The most doubtful, first.
    pub top: Vec<Row>,
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
    let (logistic, knn) = (LogisticRegression { c: 3.0, ..Default::default() }, Knn::default());
    let bayes = NaiveBayes { alpha: 0.5, complement: true };
    let second: &dyn Learner = if prepared.x.min() >= 0.0 { &bayes } else { &knn };
    let learners = [&logistic as &dyn Learner, second];
    let judges = Judges { learners: &learners, folds: job.folds, given: None, seed: job.seed };
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
    Ok(Report {
        rows: doubts.len(),
        doubtful: doubts.iter().filter(|d| !d.reasons.is_empty()).count(),
        reasons,
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
        for r in &self.top {
            let text: String = r.text.chars().take(90).collect();
            let _ = write!(out, "\n{:>4}  {}  {} -> {} ({:.2})  {text}", r.rank, r.origin, r.label, r.suggested, r.probability);
            r.reasons.iter().for_each(|why| {
                let _ = write!(out, "\n        {why}");
            });
        }
        out
    }
}
