//! `tunesmith label pseudo`: rows without labels as more rows to learn from, and whether that helped.

use std::fmt::Write;
use std::path::PathBuf;

use annotate::methods::active::accuracy;
use annotate::methods::pseudo::{Given, Propagation, Rows, SelfTraining, fit_propagated, propagate, self_training};
use serde::Serialize;
use serde_json::json;

use super::{learner, prepare, test_rows};
use crate::environment::Environment;
use crate::error::Result;
use crate::manifest::write_atomic;
use crate::progress::Progress;
use crate::vectorize::choices::{FeatureChoice, LearnerChoice};
use crate::vectorize::table::{DataChoice, Labels, read};

/// What a propagated label counts for, against 1 of a labelled row.
const PROPAGATED_WEIGHT: f64 = 0.5;
/// Gain in accuracy below which a method is not said to have helped.
const GAIN: f64 = 0.005;

/// What to learn from.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// Rows with labels.
    pub data: DataChoice,
    /// Rows without.
    pub unlabelled: String,
    /// Rows to judge on.
    pub test: String,
    /// Calibrated probability from which self-training believes a label.
    pub threshold: f64,
    /// Features.
    pub features: FeatureChoice,
    /// Classifier.
    pub learner: LearnerChoice,
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

/// Tries self-training and label propagation.
///
/// # Errors
/// Data or settings that cannot be used.
pub fn run(environment: &Environment, job: &Job, progress: &mut dyn Progress) -> Result<Report> {
    let choice = DataChoice { data: job.unlabelled.clone(), limit: None, filter: Vec::new(), ..job.data.clone() };
    let rest = read(environment, &choice, Labels::Ignored, progress)?;
    let prepared = prepare(environment, &job.data, &job.features, &rest.texts, progress)?;
    let (test, test_y) = test_rows(environment, &job.data, &job.test, &prepared, progress)?;
    let unlabelled = prepared.vectorizer.transform(&rest.texts)?;
    let settings = learner(job.learner);
    let learner = settings.learner();
    let rows = Rows { labelled: &prepared.x, y: &prepared.y, unlabelled: &unlabelled, classes: prepared.labels.len() };
    let supervised = accuracy(&learner.fit(&prepared.x, &prepared.y, None, rows.classes)?, &test, &test_y);
    let (trained, sure) = self_training(learner, rows, SelfTraining { threshold: job.threshold, ..Default::default() })?;
    let spread = propagate(rows, Propagation::default());
    let propagated = fit_propagated(learner, rows, &spread, PROPAGATED_WEIGHT)?;
    let tried: Vec<(&str, f64, &[Given])> = vec![
        ("self-training", accuracy(&trained, &test, &test_y), &sure),
        ("label-propagation", accuracy(&propagated, &test, &test_y), &spread),
    ];
    let best = tried.iter().fold(tried[0], |b, &t| if t.1 > b.1 { t } else { b });
    let helped = (best.1 >= supervised + GAIN).then(|| best.0.to_owned());
    if let Some(path) = &job.output {
        let mut lines = String::new();
        for g in best.2 {
            let label = &prepared.labels[g.class as usize];
            let line =
                json!({"id": rest.ids[g.row], "text": rest.texts[g.row], "label": label, "confidence": g.confidence, "method": best.0});
            lines.push_str(&line.to_string());
            lines.push('\n');
        }
        write_atomic(path, lines.as_bytes())?;
    }
    Ok(Report {
        labelled: prepared.y.len(),
        unlabelled: rest.texts.len(),
        supervised,
        methods: tried.iter().map(|t| Method { method: t.0.to_owned(), accuracy: t.1, given: t.2.len() }).collect(),
        helped,
        output: job.output.clone(),
    })
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
        out
    }
}
