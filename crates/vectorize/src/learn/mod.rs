//! Classifiers on sparse rows: one trait to fit them, one enum of what they become.

mod bayes;
pub mod calibrate;
pub mod folds;
mod knn;
mod logistic;
mod svm;
mod tron;

use serde::{Deserialize, Serialize};

use crate::error::{Result, VectorizeError};
use crate::features::{ByClass, Features};
pub use bayes::NaiveBayes;
pub use calibrate::{Calibrated, CalibrationMethod};
pub use knn::{Knn, Neighbours};
pub use logistic::LogisticRegression;
pub use svm::LinearSvm;

/// Learns from rows with a class each.
pub trait Learner: Sync {
    /// Fits. `y` are class numbers below `classes`; `weights` count rows more or less than once.
    ///
    /// # Errors
    /// Rows that this learner cannot use; numbers of rows, classes and weights that do not fit together.
    fn fit(&self, x: &Features, y: &[u32], weights: Option<&[f64]>, classes: usize) -> Result<Fitted>;

    /// Its name as a user types it.
    fn name(&self) -> &'static str;
}

/// A learner that has learned.
#[derive(Clone, Debug, PartialEq)]
pub enum Fitted {
    /// Weights for every column.
    Linear(Linear),
    /// The rows themselves.
    Neighbours(Neighbours),
    /// Another one, with its scores made probabilities.
    Calibrated(Box<Calibrated>),
}

/// How scores of a linear model become probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// One score for the second of two classes: `1 / (1 + e⁻ˢ)`.
    Logistic,
    /// One score a class: `eˢ / Σ eˢ`.
    Softmax,
    /// One margin a class (or one for the second of two), which is no probability: its logistic function, scaled to sum 1.
    Margin,
}

/// `scores = x·weights + intercepts`.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Classes told apart.
    pub classes: usize,
    /// Scores a row: 1 (two classes) or one a class.
    pub outputs: usize,
    /// `columns × outputs`.
    pub weights: Vec<f64>,
    /// One an output.
    pub intercepts: Vec<f64>,
    /// What the scores mean.
    pub link: Link,
}

impl Linear {
    /// `rows × outputs` scores.
    pub fn scores(&self, x: &Features) -> Vec<f64> {
        let mut out = vec![0.0; x.rows() * self.outputs];
        x.times(&self.weights, self.outputs, &mut out);
        out.chunks_exact_mut(self.outputs).for_each(|row| row.iter_mut().zip(&self.intercepts).for_each(|(s, b)| *s += b));
        out
    }

    /// One score a class: of a model with one output, minus the score for the first class.
    fn by_class(&self, x: &Features) -> ByClass {
        let scores = self.scores(x);
        let values = if self.outputs == 1 { scores.iter().flat_map(|&s| [-s, s]).collect() } else { scores };
        ByClass { classes: self.classes, values }
    }

    fn probabilities(&self, x: &Features) -> ByClass {
        let mut out = match self.link {
            // Softmax over (0, s) is the logistic function of s.
            Link::Logistic => {
                let values = self.scores(x).iter().flat_map(|&s| [0.0, s]).collect();
                ByClass { classes: self.classes, values }
            }
            Link::Softmax | Link::Margin => self.by_class(x),
        };
        for row in out.values.chunks_exact_mut(self.classes) {
            match self.link {
                Link::Margin => {
                    row.iter_mut().for_each(|s| *s = sigmoid(*s));
                    normalize(row);
                }
                _ => softmax(row),
            }
        }
        out
    }

    /// Weight of a column for a class; for two classes that of the first is minus that of the second.
    pub fn weight(&self, column: usize, class: usize) -> f64 {
        match self.outputs {
            1 if class == 0 => -self.weights[column],
            1 => self.weights[column],
            k => self.weights[column * k + class],
        }
    }
}

impl Fitted {
    /// Probability of every class for every row; each row sums to 1.
    pub fn predict_proba(&self, x: &Features) -> ByClass {
        match self {
            Fitted::Linear(linear) => linear.probabilities(x),
            Fitted::Neighbours(neighbours) => neighbours.probabilities(x),
            Fitted::Calibrated(calibrated) => calibrated.probabilities(x),
        }
    }

    /// A score for every class: margins or log-probabilities, higher is likelier.
    pub fn scores(&self, x: &Features) -> ByClass {
        match self {
            Fitted::Linear(linear) => linear.by_class(x),
            Fitted::Neighbours(neighbours) => neighbours.probabilities(x),
            Fitted::Calibrated(calibrated) => calibrated.base.scores(x),
        }
    }

    /// The weights, of a model that has some.
    pub fn linear(&self) -> Option<&Linear> {
        match self {
            Fitted::Linear(linear) => Some(linear),
            Fitted::Neighbours(_) => None,
            Fitted::Calibrated(calibrated) => calibrated.base.linear(),
        }
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        match self {
            Fitted::Linear(linear) => linear.classes,
            Fitted::Neighbours(neighbours) => neighbours.classes,
            Fitted::Calibrated(calibrated) => calibrated.base.classes(),
        }
    }
}

pub(crate) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `eˣ / Σ eˣ` in place.
pub(crate) fn softmax(row: &mut [f64]) {
    let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    row.iter_mut().for_each(|v| *v = (*v - max).exp());
    normalize(row);
}

/// Scales to sum 1; what sums to nothing becomes equal shares.
pub(crate) fn normalize(row: &mut [f64]) {
    let sum: f64 = row.iter().sum();
    if sum > 0.0 {
        row.iter_mut().for_each(|v| *v /= sum);
    } else {
        let share = 1.0 / row.len().max(1) as f64;
        row.fill(share);
    }
}

/// What every learner asks of its rows.
pub(crate) fn check(x: &Features, y: &[u32], weights: Option<&[f64]>, classes: usize) -> Result<()> {
    if x.rows() != y.len() || weights.is_some_and(|w| w.len() != y.len()) {
        return Err(VectorizeError::data(format!("{} rows, {} classes of rows: they must be as many", x.rows(), y.len())));
    }
    if classes < 2 {
        return Err(VectorizeError::data("a classifier needs rows of at least two classes"));
    }
    if y.iter().any(|&c| c as usize >= classes) {
        return Err(VectorizeError::data(format!("a class number is not below {classes}")));
    }
    if y.is_empty() {
        return Err(VectorizeError::data("there is no row to learn from"));
    }
    Ok(())
}

/// The learners that a user can name, with their settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "classifier", rename_all = "kebab-case")]
pub enum LearnerSettings {
    /// Logistic regression.
    Logistic(LogisticRegression),
    /// Linear support vector machine.
    Svm(LinearSvm),
    /// Naive Bayes, multinomial or complement.
    Bayes(NaiveBayes),
    /// Nearest neighbours.
    Knn(Knn),
}

impl LearnerSettings {
    /// The learner.
    pub fn learner(&self) -> &dyn Learner {
        match self {
            LearnerSettings::Logistic(l) => l,
            LearnerSettings::Svm(l) => l,
            LearnerSettings::Bayes(l) => l,
            LearnerSettings::Knn(l) => l,
        }
    }
}
