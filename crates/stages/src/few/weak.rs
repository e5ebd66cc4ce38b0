//! `tunesmith label weak`: rules that err and abstain, weighed against each other, become labels and a classifier.

use std::fmt::Write;
use std::path::PathBuf;

use annotate::methods::active::accuracy;
use annotate::methods::rules::{Rule, Test};
use annotate::methods::weak::{FunctionStats, LabelModel, Votes, majority, table};
use dataset::labels::AuthorKind;
use serde::Serialize;
use serde_json::json;
use vectorize::ByClass;

use super::Learning;
use super::evidence::{self, Said, Written};
use super::rules::{Function, Rules, Which, load};
use crate::environment::Environment;
use crate::error::{Result, StageError};
use crate::human::plural;
use crate::language::teacher::{Teacher, without_preference};
use crate::manifest::write_atomic;
use crate::progress::Progress;
use crate::vectorize::choices::LOGISTIC_C;
use crate::vectorize::classify;
use crate::vectorize::features::Source;
use crate::vectorize::table::{Labels, Table, read};

/// What to label.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// Rows (their labels, where they have some, only judge), features of the end model, and the end model.
    pub learning: Learning,
    /// The rules.
    pub rules: PathBuf,
    /// Rows to judge the end model on.
    pub test: Option<String>,
    /// Write probabilistic labels here, as JSON lines.
    pub output: Option<PathBuf>,
}

/// What the rules know.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Rows.
    pub rows: usize,
    /// Rows that at least one rule votes on.
    pub covered: usize,
    /// Names of the labels.
    pub labels: Vec<String>,
    /// Share of each label, as the label model has it.
    pub balance: Vec<f64>,
    /// The rules in numbers.
    pub functions: Vec<FunctionRow>,
    /// Accuracy of the majority's vote on covered rows of known label; ties count in part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub majority_accuracy: Option<f64>,
    /// Accuracy of the label model there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_model_accuracy: Option<f64>,
    /// Accuracy on `--test` of the classifier that learned from the probabilistic labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_model_accuracy: Option<f64>,
    /// Columns that rules ask for and no row has: those rules say nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing_columns: Vec<String>,
    /// The file of labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<PathBuf>,
    /// What went into the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<Written>,
}

/// A rule in numbers.
#[derive(Clone, Debug, Serialize)]
pub struct FunctionRow {
    /// Its name.
    pub name: String,
    /// Coverage, overlap, conflict, accuracies.
    #[serde(flatten)]
    pub stats: FunctionStats,
}

/// Votes of every function.
fn votes(environment: &Environment, rules: &Rules, rows: &Table, progress: &mut dyn Progress) -> Result<Votes> {
    let mut columns = Vec::with_capacity(rules.functions.len());
    for function in &rules.functions {
        columns.push(match function {
            Function::Rule(rule) => rows.texts.iter().zip(&rows.fields).map(|(t, f)| rule.vote(t, f)).collect::<Vec<Option<u32>>>(),
            Function::Model { which, threshold, only, .. } => {
                let p = probabilities(environment, which, rules, rows, progress)?;
                let one = |i: usize| {
                    let best = p.best(i);
                    (p.row(i)[best] >= *threshold && only.is_none_or(|o| o as usize == best)).then_some(best as u32)
                };
                (0..rows.texts.len()).map(one).collect()
            }
        });
    }
    Ok(Votes::from_columns(&columns, rules.labels.len()))
}

/// What a model says of every row.
fn probabilities(environment: &Environment, which: &Which, rules: &Rules, rows: &Table, progress: &mut dyn Progress) -> Result<ByClass> {
    match which {
        Which::Directory(dir) => {
            Teacher::open(environment, &dir.display().to_string(), None, progress)?.probabilities(&rows.texts, &rules.labels, progress)
        }
        Which::Prompt { model, prompt, labels, calibrate } => {
            let teacher = Teacher::prompted(environment, model, prompt, labels.clone(), progress)?;
            let mut p = teacher.probabilities(&rows.texts, &rules.labels, progress)?;
            if *calibrate {
                without_preference(&mut p, rules.balance.as_deref());
            }
            Ok(p)
        }
    }
}

/// Share of the covered rows of known label whose likeliest label it is; ties count in part.
fn judged(p: &[f64], votes: &Votes, truth: &[Option<u32>], classes: usize) -> Option<f64> {
    let (mut sum, mut n) = (0.0, 0.0);
    for (i, class) in truth.iter().enumerate().filter(|(i, _)| votes.covered(*i)).filter_map(|(i, t)| t.map(|t| (i, t as usize))) {
        let row = &p[i * classes..(i + 1) * classes];
        let max = row.iter().copied().fold(0.0, f64::max);
        let tied = row.iter().filter(|v| **v >= max - 1e-12).count() as f64;
        n += 1.0;
        sum += if row[class] >= max - 1e-12 { 1.0 / tied } else { 0.0 };
    }
    (n > 0.0).then(|| sum / n)
}

/// Applies the rules, learns the label model, trains the end model.
///
/// # Errors
/// Rules or data that cannot be used.
pub fn run(environment: &Environment, job: &Job, progress: &mut dyn Progress) -> Result<Report> {
    let rules = load(&job.rules)?;
    let rows = read(environment, &job.learning.data, Labels::Optional, progress)?;
    let k = rules.labels.len();
    let mut missing_columns: Vec<String> = Vec::new();
    for function in &rules.functions {
        if let Function::Rule(Rule { name, test: Test::Equals { column, .. }, .. }) = function
            && !rows.fields.iter().any(|fields| fields.contains_key(column))
        {
            progress.warn(&format!("{}: rule {name:?}: no row has a column {column:?}; the rule says nothing", job.rules.display()));
            if !missing_columns.contains(column) {
                missing_columns.push(column.clone());
            }
        }
    }
    let votes = votes(environment, &rules, &rows, progress)?;
    let model = LabelModel::fit(&votes, rules.balance.as_deref());
    let p = model.probabilities(&votes);
    let truth = rows.numbers(&rules.labels);
    let covered: Vec<usize> = (0..votes.rows()).filter(|&i| votes.covered(i)).collect();
    if covered.is_empty() {
        return Err(StageError::input(format!("{}: no rule says anything of any of {}", job.rules.display(), plural(votes.rows(), "row"))));
    }
    let functions = rules
        .functions
        .iter()
        .zip(table(&votes, &model, &truth))
        .map(|(f, stats)| FunctionRow { name: f.name().to_owned(), stats })
        .collect();
    if let Some(path) = &job.output {
        let mut lines = String::new();
        for &i in &covered {
            let row = &p[i * k..(i + 1) * k];
            let best = (0..k).fold(0, |b, c| if row[c] > row[b] { c } else { b });
            let soft: serde_json::Map<String, serde_json::Value> =
                rules.labels.iter().cloned().zip(row.iter().map(|&v| json!(v))).collect();
            let line = json!({"id": rows.ids[i], "text": rows.texts[i], "label": rules.labels[best], "confidence": row[best], "probabilities": soft});
            lines.push_str(&line.to_string());
            lines.push('\n');
        }
        write_atomic(path, lines.as_bytes())?;
    }
    let store = match &job.learning.data.store {
        Some(dir) => {
            let one = |&i: &usize| {
                let row = &p[i * k..(i + 1) * k];
                let best = (0..k).fold(0, |b, c| if row[c] > row[b] { c } else { b });
                Said::class(rows.documents[i], &rows.group, &rules.labels[best], row[best])
            };
            let detail = json!({"rules": job.rules.display().to_string()});
            Some(evidence::write(dir, "weak", AuthorKind::Rule, "weak", detail, covered.iter().map(one).collect())?)
        }
        None => None,
    };
    let end_model_accuracy = match &job.test {
        Some(file) => Some(end_model(environment, job, file, &rules.labels, (&rows, &covered, &p), progress)?),
        None => None,
    };
    Ok(Report {
        rows: votes.rows(),
        covered: covered.len(),
        majority_accuracy: judged(&majority(&votes), &votes, &truth, k),
        label_model_accuracy: judged(&p, &votes, &truth, k),
        balance: model.balance.clone(),
        labels: rules.labels,
        functions,
        end_model_accuracy,
        missing_columns,
        output: job.output.clone(),
        store,
    })
}

/// A classifier of the probabilistic labels: every row counts for each class with that class's probability.
fn end_model(
    environment: &Environment,
    job: &Job,
    file: &str,
    labels: &[String],
    (rows, covered, p): (&Table, &[usize], &[f64]),
    progress: &mut dyn Progress,
) -> Result<f64> {
    let k = labels.len();
    let mut test = read(environment, &job.learning.data.other(file), Labels::Required, progress)?;
    let test_y = classify::known(&mut test, labels, progress)?;
    let source = Source::open(environment, &job.learning.features, &rows.texts, progress)?;
    let (vectorizer, x) = source.fit(&rows.texts, progress)?;
    let (mut chosen, mut y, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    for &i in covered {
        for c in 0..k {
            let weight = p[i * k + c];
            if weight > 1e-3 {
                chosen.push(i);
                y.push(c as u32);
                weights.push(weight);
            }
        }
    }
    let learner = job.learning.learner.on(job.learning.features.kind, LOGISTIC_C).settings();
    let model = learner.learner().fit(&x.select(&chosen), &y, Some(&weights), k)?;
    Ok(accuracy(&model, &source.transform(&vectorizer, &test.texts, progress)?, &test_y))
}

impl Report {
    /// As a person reads it.
    pub fn to_text(&self) -> String {
        let width = self.functions.iter().map(|f| f.name.chars().count()).max().unwrap_or(0).max(4);
        let mut out = format!("{:<width$}  coverage  overlap  conflict  accuracy  estimated", "rule");
        for f in &self.functions {
            let s = &f.stats;
            let known = s.accuracy.map_or("-".to_owned(), |a| format!("{a:.3}"));
            let _ = write!(
                out,
                "\n{:<width$}  {:<8.3}  {:<7.3}  {:<8.3}  {known:<8}  {:.3}",
                f.name, s.coverage, s.overlap, s.conflict, s.estimated_accuracy
            );
        }
        let _ = write!(out, "\n\n{} of {} covered", self.covered, plural(self.rows, "row"));
        let shares: Vec<String> = self.labels.iter().zip(&self.balance).map(|(l, b)| format!("{l} {b:.2}")).collect();
        let _ = write!(out, "; balance {}", shares.join(", "));
        for (what, value) in [
            ("majority vote", self.majority_accuracy),
            ("label model", self.label_model_accuracy),
            ("end model on --test", self.end_model_accuracy),
        ] {
            if let Some(value) = value {
                let _ = write!(out, "\n{what:<20} accuracy {value:.3}");
            }
        }
        if let Some(store) = &self.store {
            let _ = write!(out, "\n{}", store.to_text());
        }
        out
    }
}
