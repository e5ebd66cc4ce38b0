//! A classifier of texts: features and a learner, fitted together, with names of classes.

use std::sync::Arc;

use evaluate::EvalReport;
use evaluate::intervals::Bootstrap;
use evaluate::results::{Decision, Prediction, ScoredRow, classification_report};
use serde::{Deserialize, Serialize};

use crate::embed::{TextModel, WordVectors};
use crate::error::{Result, VectorizeError};
use crate::features::{ByClass, Features};
use crate::learn::calibrate::{calibration_error, fit_calibrated};
use crate::learn::folds::stratified;
use crate::learn::{CalibrationMethod, Fitted, LearnerSettings};
use crate::pipeline::{FeatureSettings, Given, Vectorizer};
use crate::terms::hash_text;

/// Folds of the cross-validation that calibrates.
const CALIBRATION_FOLDS: usize = 3;

/// All settings of a classifier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassifierSettings {
    /// From texts to rows.
    pub features: FeatureSettings,
    /// From rows to classes.
    pub learner: LearnerSettings,
    /// How scores become probabilities; as the learner has them if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationMethod>,
    /// Seed of every choice.
    pub seed: u64,
}

/// Texts with their classes.
#[derive(Clone, Copy, Debug)]
pub struct Labelled<'a> {
    /// The texts.
    pub texts: &'a [String],
    /// Class number of each.
    pub classes: &'a [u32],
    /// Names of the classes.
    pub labels: &'a [String],
    /// Word vectors from a file, for features that use them.
    pub pretrained: Option<&'a Arc<WordVectors>>,
    /// The language model that features come from, for features that use one.
    pub model: Option<&'a Arc<dyn TextModel>>,
}

/// A fitted classifier.
#[derive(Debug)]
pub struct Classifier {
    /// How it was made.
    pub settings: ClassifierSettings,
    /// Names of the classes, in the order of their numbers.
    pub labels: Vec<String>,
    /// From texts to rows.
    pub vectorizer: Vectorizer,
    /// From rows to classes.
    pub model: Fitted,
}

/// A term's part in a decision.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Contribution {
    /// The term, or the place of the column.
    pub feature: String,
    /// Its weight for the class (of a text: weight times value).
    pub weight: f64,
}

/// What a cross-validation found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CrossValidation {
    /// Number of folds.
    pub folds: usize,
    /// Accuracy in each fold.
    pub accuracies: Vec<f64>,
    /// Mean distance between confidence and accuracy over ten bins of confidence.
    pub calibration_error: f64,
    /// The verdict over all rows, each judged by the model that had not seen it.
    pub report: EvalReport,
}

impl Classifier {
    /// Fits features and learner on all rows. `step` hears of words that vectors have learned from and may end the work.
    ///
    /// # Errors
    /// Settings or rows that cannot be used; [`VectorizeError::Stopped`].
    pub fn train(settings: &ClassifierSettings, data: Labelled<'_>, step: &mut (dyn FnMut(u64) -> bool + Send)) -> Result<Self> {
        let given = Given { pretrained: data.pretrained, model: data.model, step };
        let (vectorizer, x) = Vectorizer::fit_transform(&settings.features, data.texts, given)?;
        let model = fit(settings, &x, data.classes, data.labels.len())?;
        Ok(Self { settings: settings.clone(), labels: data.labels.to_vec(), vectorizer, model })
    }

    /// Probability of every class for every text.
    ///
    /// # Errors
    /// Texts that cannot be vectorised.
    pub fn predict_proba<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Result<ByClass> {
        Ok(self.model.predict_proba(&self.vectorizer.transform(texts)?))
    }

    /// Predictions as `tunesmith predict` prints them: `scores` are natural logarithms of the probabilities.
    ///
    /// # Errors
    /// Texts that cannot be vectorised.
    pub fn predict(&self, texts: &[String]) -> Result<Vec<Prediction>> {
        let p = self.predict_proba(texts)?;
        let one = |(i, text): (usize, &String)| {
            let row = p.row(i);
            let scores = row.iter().map(|p| p.max(f64::MIN_POSITIVE).ln()).collect();
            ScoredRow { scores, normalized: row.to_vec(), predicted: p.best(i) }.to_prediction(&self.labels, text)
        };
        Ok(texts.iter().enumerate().map(one).collect())
    }

    /// Judges on rows of known class.
    ///
    /// # Errors
    /// Texts that cannot be vectorised; no rows.
    pub fn evaluate(&self, texts: &[String], classes: &[u32]) -> Result<EvalReport> {
        if texts.is_empty() {
            return Err(VectorizeError::data("there is no row to judge on"));
        }
        Ok(report(&self.predict_proba(texts)?, classes, &self.labels))
    }

    /// The columns that speak most for each class, strongest first.
    ///
    /// # Errors
    /// A model without weights.
    pub fn top_features(&self, n: usize) -> Result<Vec<Vec<Contribution>>> {
        let linear = self.model.linear().ok_or_else(no_weights)?;
        let of_class = |class: usize| {
            // Against the mean of all classes: with naive Bayes a weight by itself says only how frequent the term is.
            let relative = |column: usize| {
                let mean = (0..linear.classes).map(|c| linear.weight(column, c)).sum::<f64>() / linear.classes as f64;
                linear.weight(column, class) - mean
            };
            let columns = self.vectorizer.columns();
            strongest((0..columns).map(|c| (c, relative(c))), n, |c| self.vectorizer.name(c))
        };
        Ok((0..self.labels.len()).map(of_class).collect())
    }

    /// The columns of one text that speak most for `class`, strongest first, and those against it at the end.
    ///
    /// # Errors
    /// A model without weights; a text that cannot be vectorised.
    pub fn explain(&self, text: &str, class: usize, n: usize) -> Result<Vec<Contribution>> {
        let linear = self.model.linear().ok_or_else(no_weights)?;
        let x = self.vectorizer.transform(&[text])?;
        let mean = |column: usize| (0..linear.classes).map(|c| linear.weight(column, c)).sum::<f64>() / linear.classes as f64;
        let parts: Vec<(usize, f64)> =
            x.entries(0).map(|(c, v)| (c as usize, v * (linear.weight(c as usize, class) - mean(c as usize)))).collect();
        let mut by_size = parts;
        by_size.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()).then(a.0.cmp(&b.0)));
        by_size.truncate(n);
        by_size.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        Ok(by_size.into_iter().map(|(c, weight)| Contribution { feature: self.vectorizer.name(c), weight }).collect())
    }
}

fn no_weights() -> VectorizeError {
    VectorizeError::setting("classifier", "nearest neighbours have no weights to show; logistic, svm and naive Bayes do")
}

/// The `n` largest, of equals the first column.
fn strongest(all: impl Iterator<Item = (usize, f64)>, n: usize, name: impl Fn(usize) -> String) -> Vec<Contribution> {
    let mut all: Vec<(usize, f64)> = all.filter(|(_, w)| *w > 0.0).collect();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    all.truncate(n);
    all.into_iter().map(|(c, weight)| Contribution { feature: name(c), weight }).collect()
}

/// The learner on rows, calibrated if asked for.
fn fit(settings: &ClassifierSettings, x: &Features, y: &[u32], classes: usize) -> Result<Fitted> {
    let learner = settings.learner.learner();
    match settings.calibration {
        Some(method) => fit_calibrated(learner, method, (x, y, None, classes), CALIBRATION_FOLDS, settings.seed),
        None => learner.fit(x, y, None, classes),
    }
}

/// Metrics of probabilities against the truth.
pub fn report(probabilities: &ByClass, classes: &[u32], labels: &[String]) -> EvalReport {
    let decisions: Vec<Decision> = classes
        .iter()
        .enumerate()
        .map(|(i, &gold)| Decision {
            gold: gold as usize,
            predicted: probabilities.best(i),
            gold_probability: probabilities.row(i)[gold as usize],
        })
        .collect();
    classification_report(labels, &decisions, Bootstrap::default())
}

/// Judges the settings on the rows themselves: features and learner are fitted on all folds but one and asked about that one. Equal
/// texts stand in one fold. `step` hears of every fold done and may end the work.
///
/// # Errors
/// Settings or rows that cannot be used; too few rows of a class; [`VectorizeError::Stopped`].
pub fn cross_validate(
    settings: &ClassifierSettings,
    data: Labelled<'_>,
    folds: usize,
    step: &mut dyn FnMut(usize) -> bool,
) -> Result<CrossValidation> {
    let classes = data.labels.len();
    let mut rows = vec![0usize; classes];
    data.classes.iter().for_each(|&c| rows[c as usize] += 1);
    if folds < 2 {
        return Err(VectorizeError::setting("folds", "are at least 2"));
    }
    if let Some(class) = rows.iter().position(|&n| n < folds) {
        return Err(VectorizeError::data(format!(
            "class {:?} has {} rows, fewer than the {folds} folds of the cross-validation: take fewer folds, or 0 for none",
            data.labels[class], rows[class]
        )));
    }
    let groups: Vec<u64> = data.texts.iter().map(|t| hash_text(t)).collect();
    let fold_of = stratified(data.classes, Some(&groups), folds, settings.seed);
    let mut unseen = ByClass::zeros(data.texts.len(), classes);
    let mut accuracies = Vec::with_capacity(folds);
    for fold in 0..folds as u32 {
        let (inside, outside): (Vec<usize>, Vec<usize>) = (0..data.texts.len()).partition(|&i| fold_of[i] == fold);
        if inside.is_empty() {
            continue;
        }
        let texts: Vec<&str> = outside.iter().map(|&i| data.texts[i].as_str()).collect();
        let y: Vec<u32> = outside.iter().map(|&i| data.classes[i]).collect();
        let given = Given { pretrained: data.pretrained, model: data.model, step: &mut |_| true };
        let (vectorizer, x) = Vectorizer::fit_transform(&settings.features, &texts, given)?;
        let model = fit(settings, &x, &y, classes)?;
        let asked: Vec<&str> = inside.iter().map(|&i| data.texts[i].as_str()).collect();
        let p = model.predict_proba(&vectorizer.transform(&asked)?);
        let hits = inside.iter().enumerate().filter(|(at, i)| p.best(*at) == data.classes[**i] as usize).count();
        accuracies.push(hits as f64 / inside.len() as f64);
        inside.iter().enumerate().for_each(|(at, &i)| unseen.values[i * classes..(i + 1) * classes].copy_from_slice(p.row(at)));
        if !step(inside.len()) {
            return Err(VectorizeError::Stopped);
        }
    }
    Ok(CrossValidation {
        folds,
        accuracies,
        calibration_error: calibration_error(&unseen, data.classes),
        report: report(&unseen, data.classes, data.labels),
    })
}
