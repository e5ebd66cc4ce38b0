//! `tunesmith label pseudo`: rows without labels as more rows to learn from, and whether that helped.

use std::fmt::Write;
use std::path::PathBuf;

use annotate::methods::active::accuracy;
use annotate::methods::pseudo::{Given, Propagation, Rows, SelfTraining, expectation, fit_propagated, propagate, self_training};
use dataset::labels::AuthorKind;
use serde::Serialize;
use serde_json::json;
use vectorize::{Fitted, Learner};

use super::evidence::{self, Said, Written};
use super::{Learning, comparison, learner, prepare, unlabelled};
use crate::environment::Environment;
use crate::error::Result;
use crate::manifest::write_atomic;
use crate::progress::Progress;

/// What a propagated label counts for, against 1 of a labelled row.
const PROPAGATED_WEIGHT: f64 = 0.5;
/// Gain in accuracy below which a method is not said to have helped.
const GAIN: f64 = 0.005;

/// What to learn from.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// Rows with labels, features and classifier.
    pub learning: Learning,
    /// Rows without; of a store those that people did not settle, if not given.
    pub unlabelled: Option<String>,
    /// Rows to judge on; a fifth of the labelled rows if not given.
    pub test: Option<String>,
    /// Calibrated probability from which self-training believes a label.
    pub threshold: f64,
    /// Write the labels of the better method here, as JSON lines.
    pub output: Option<PathBuf>,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Labelled rows.
    pub labelled: usize,
    /// Rows without a label.
    pub unlabelled: usize,
    /// Accuracy of labelled rows alone.
    pub supervised: f64,
    /// Each method.
    pub methods: Vec<Method>,
    /// The method that helped most; none if none did.
    pub helped: Option<String>,
    /// The file of labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<PathBuf>,
    /// What went into the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<Written>,
}

/// A method.
#[derive(Clone, Debug, Serialize)]
pub struct Method {
    /// Its name.
    pub method: String,
    /// Accuracy on the test rows.
    pub accuracy: f64,
    /// Labels given.
    pub given: usize,
}

/// Names of the methods.
const METHODS: [&str; 3] = ["self-training", "label-propagation", "expectation"];
/// Folds of the calibration.
const FOLDS: usize = 3;

/// A method's model, and the labels that it gave.
fn method(name: &str, learner: &dyn Learner, rows: Rows<'_>, threshold: f64) -> Result<(Fitted, Vec<Given>)> {
    if name == METHODS[0] {
        return Ok(self_training(learner, rows, SelfTraining { threshold, ..Default::default() })?);
    }
    if name == METHODS[2] {
        return Ok(expectation(rows, FOLDS, 42)?);
    }
    let given = propagate(rows, Propagation::default());
    Ok((fit_propagated(learner, rows, &given, PROPAGATED_WEIGHT)?, given))
}

/// Tries self-training, label propagation and expectation.
///
/// # Errors
/// Data or settings that cannot be used.
pub fn run(environment: &Environment, job: &Job, progress: &mut dyn Progress) -> Result<Report> {
    let rest = unlabelled(environment, &job.learning.data, job.unlabelled.as_deref(), progress)?;
    let prepared = prepare(environment, &job.learning.data, &job.learning.features, &rest.texts, progress)?;
    let judged = comparison(environment, &job.learning.data, job.test.as_deref(), &prepared, progress)?;
    let unlabelled = prepared.transform(&rest.texts, progress)?;
    let settings = learner(job.learning.learner, &job.learning.features);
    let learner = settings.learner();
    let classes = prepared.labels.len();
    let rows = Rows { labelled: &judged.x, y: &judged.y, unlabelled: &unlabelled, classes };
    let score = |model: &Fitted| accuracy(model, &judged.test, &judged.test_y);
    let supervised = score(&learner.fit(&judged.x, &judged.y, None, classes)?);
    let mut tried: Vec<(&str, f64, Vec<Given>)> = Vec::new();
    // Naive Bayes counts: hidden states and word vectors are negative in part.
    let counts = prepared.x.min() >= 0.0 && unlabelled.min() >= 0.0;
    for name in METHODS.into_iter().filter(|name| counts || *name != METHODS[2]) {
        let (model, given) = method(name, learner, rows, job.threshold)?;
        tried.push((name, score(&model), given));
    }
    let methods = tried.iter().map(|t| Method { method: t.0.to_owned(), accuracy: t.1, given: t.2.len() }).collect();
    let best = (0..tried.len()).fold(0, |b, i| if tried[i].1 > tried[b].1 { i } else { b });
    let (name, accuracy, mut given) = tried.swap_remove(best);
    let helped = (accuracy >= supervised + GAIN).then(|| name.to_owned());
    if judged.rows.is_some() && (job.output.is_some() || job.learning.data.store.is_some()) {
        // The fifth that judged teaches, too, now that it is known which method is better.
        let all = Rows { labelled: &prepared.x, y: &prepared.y, unlabelled: &unlabelled, classes };
        given = method(name, learner, all, job.threshold)?.1;
    }
    if let Some(path) = &job.output {
        let mut lines = String::new();
        for g in &given {
            let label = &prepared.labels[g.class as usize];
            let line =
                json!({"id": rest.ids[g.row], "text": rest.texts[g.row], "label": label, "confidence": g.confidence, "method": name});
            lines.push_str(&line.to_string());
            lines.push('\n');
        }
        write_atomic(path, lines.as_bytes())?;
    }
    let store = match &job.learning.data.store {
        Some(dir) => {
            let one =
                |g: &Given| Said::class(rest.documents[g.row], &prepared.table.group, &prepared.labels[g.class as usize], g.confidence);
            // What did not help is not for keeping, nor is what an earlier run said: with these labels it would not say it again. Rows of
            // a file are not the store's.
            let keep = helped.is_some() && !rest.documents.is_empty();
            let said = if keep { given.iter().map(one).collect() } else { Vec::new() };
            let detail = json!({"method": helped, "supervised": supervised, "accuracy": accuracy});
            Some(evidence::write(dir, "pseudo", AuthorKind::Pseudo, "pseudo", detail, said)?)
        }
        None => None,
    };
    Ok(Report { labelled: prepared.y.len(), unlabelled: rest.texts.len(), supervised, methods, helped, output: job.output.clone(), store })
}

impl Report {
    /// As a person reads it.
    pub fn to_text(&self) -> String {
        let mut out = format!("{} labelled rows alone: accuracy {:.3}", self.labelled, self.supervised);
        for m in &self.methods {
            let _ = write!(
                out,
                "\n{:<18} {:.3} ({:+.3}), {} of {} rows labelled",
                m.method,
                m.accuracy,
                m.accuracy - self.supervised,
                m.given,
                self.unlabelled
            );
        }
        let _ = match &self.helped {
            Some(name) => write!(out, "\n{name} helped"),
            None => write!(out, "\nno method helped on these rows"),
        };
        if let Some(store) = &self.store {
            let _ = write!(out, "\n{}", store.to_text());
        }
        out
    }
}
