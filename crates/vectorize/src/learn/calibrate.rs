//! Probabilities that mean what they say: of the rows that are called with 0.8, four in five should be right.
//!
//! Scores of rows that the model had not seen (cross-validation) are mapped to probabilities, one class against the rest:
//! by a logistic curve (Platt 1999, fitted as Lin, Lin & Weng 2007) or by a rising staircase (isotonic regression, pool adjacent
//! violators); then rows are scaled to sum 1. This is scikit-learn's `CalibratedClassifierCV(ensemble=False)`.

use serde::{Deserialize, Serialize};

use super::folds::{out_of_fold, stratified};
use super::{Fitted, Learner, normalize};
use crate::error::Result;
use crate::features::{ByClass, Features};

/// The curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CalibrationMethod {
    /// `1 / (1 + e^(a·s + b))`: for few rows.
    Sigmoid,
    /// Any rising function: for a thousand rows and more.
    Isotonic,
}

/// From the score of one class to its probability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Curve {
    /// `1 / (1 + e^(a·s + b))`.
    Sigmoid {
        /// Slope, below 0 for a score that means something.
        a: f64,
        /// Shift.
        b: f64,
    },
    /// Probabilities at ascending scores, straight lines between.
    Isotonic {
        /// Scores.
        scores: Vec<f64>,
        /// Probabilities.
        probabilities: Vec<f64>,
    },
}

impl Curve {
    /// Fits to scores and whether each row is of the class.
    pub fn fit(method: CalibrationMethod, scores: &[f64], truth: &[bool], weights: &[f64]) -> Self {
        match method {
            CalibrationMethod::Sigmoid => platt(scores, truth, weights),
            CalibrationMethod::Isotonic => isotonic(scores, truth, weights),
        }
    }

    /// The probability of a score.
    pub fn at(&self, score: f64) -> f64 {
        match self {
            Curve::Sigmoid { a, b } => super::sigmoid(-(a * score + b)),
            Curve::Isotonic { scores, probabilities } => {
                let at = scores.partition_point(|&s| s <= score);
                if at == 0 {
                    return probabilities.first().copied().unwrap_or(0.5);
                }
                if at == scores.len() {
                    return probabilities[at - 1];
                }
                let share = (score - scores[at - 1]) / (scores[at] - scores[at - 1]);
                probabilities[at - 1] + share * (probabilities[at] - probabilities[at - 1])
            }
        }
    }
}

/// Newton's method with backtracking on two numbers (Lin, Lin & Weng 2007, "A note on Platt's probabilistic outputs").
fn platt(scores: &[f64], truth: &[bool], weights: &[f64]) -> Curve {
    let positive: f64 = truth.iter().zip(weights).filter(|(t, _)| **t).map(|(_, w)| w).sum();
    let negative: f64 = weights.iter().sum::<f64>() - positive;
    // Targets a little inside 0 and 1: the posterior means under a uniform prior.
    let (high, low) = ((positive + 1.0) / (positive + 2.0), 1.0 / (negative + 2.0));
    let target = |t: bool| if t { high } else { low };
    let loss = |a: f64, b: f64| -> f64 {
        let one = |((&s, &t), &w): ((&f64, &bool), &f64)| {
            let f = a * s + b;
            let t = target(t);
            w * if f >= 0.0 { t * f + (-f).exp().ln_1p() } else { (t - 1.0) * f + f.exp().ln_1p() }
        };
        scores.iter().zip(truth).zip(weights).map(one).sum()
    };
    let (mut a, mut b) = (0.0, ((negative + 1.0) / (positive + 1.0)).ln());
    let mut value = loss(a, b);
    for _ in 0..100 {
        let (mut h11, mut h22, mut h21, mut g1, mut g2) = (1e-12, 1e-12, 0.0, 0.0, 0.0);
        for ((&s, &t), &w) in scores.iter().zip(truth).zip(weights) {
            let p = super::sigmoid(-(a * s + b));
            let curve = w * p * (1.0 - p);
            h11 += s * s * curve;
            h22 += curve;
            h21 += s * curve;
            let d = w * (target(t) - p);
            g1 += s * d;
            g2 += d;
        }
        if g1.abs() < 1e-7 && g2.abs() < 1e-7 {
            break;
        }
        let det = h11 * h22 - h21 * h21;
        let (da, db) = (-(h22 * g1 - h21 * g2) / det, -(h11 * g2 - h21 * g1) / det);
        let slope = g1 * da + g2 * db;
        let mut step = 1.0;
        while step >= 1e-10 {
            let new = loss(a + step * da, b + step * db);
            if new < value + 1e-4 * step * slope {
                (a, b, value) = (a + step * da, b + step * db, new);
                break;
            }
            step /= 2.0;
        }
        if step < 1e-10 {
            break;
        }
    }
    Curve::Sigmoid { a, b }
}

/// Pool adjacent violators; equal scores are one point, as in scikit-learn.
fn isotonic(scores: &[f64], truth: &[bool], weights: &[f64]) -> Curve {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&i, &j| scores[i].total_cmp(&scores[j]));
    // (first score, last score, weight of positives, weight)
    let mut blocks: Vec<(f64, f64, f64, f64)> = Vec::new();
    for &i in &order {
        let hit = if truth[i] { weights[i] } else { 0.0 };
        match blocks.last_mut().filter(|b| b.0 == scores[i]) {
            Some(block) => {
                block.2 += hit;
                block.3 += weights[i];
            }
            None => blocks.push((scores[i], scores[i], hit, weights[i])),
        }
    }
    let mut pooled: Vec<(f64, f64, f64, f64)> = Vec::new();
    for block in blocks {
        pooled.push(block);
        while let [.., before, last] = &pooled[..] {
            if before.2 * last.3 < last.2 * before.3 {
                break;
            }
            let merged = (before.0, last.1, before.2 + last.2, before.3 + last.3);
            pooled.truncate(pooled.len() - 2);
            pooled.push(merged);
        }
    }
    let (mut xs, mut ys) = (Vec::new(), Vec::new());
    for (first, last, hits, weight) in pooled {
        let p = if weight > 0.0 { hits / weight } else { 0.5 };
        xs.push(first);
        ys.push(p);
        if last > first {
            xs.push(last);
            ys.push(p);
        }
    }
    Curve::Isotonic { scores: xs, probabilities: ys }
}

/// A model with a curve for each class (for two classes one, of the second).
#[derive(Clone, Debug, PartialEq)]
pub struct Calibrated {
    /// What gives the scores.
    pub base: Fitted,
    /// From scores to probabilities.
    pub curves: Vec<Curve>,
}

impl Calibrated {
    pub(super) fn probabilities(&self, x: &Features) -> ByClass {
        let mut out = self.base.scores(x);
        for row in out.values.chunks_exact_mut(out.classes) {
            match &self.curves[..] {
                [one] => {
                    let p = one.at(row[1]);
                    row.copy_from_slice(&[1.0 - p, p]);
                }
                curves => {
                    row.iter_mut().zip(curves).for_each(|(s, curve)| *s = curve.at(*s));
                    normalize(row);
                }
            }
        }
        out
    }
}

/// A curve for each class from scores of rows that the model had not seen.
pub fn curves(method: CalibrationMethod, scores: &ByClass, y: &[u32], weights: Option<&[f64]>) -> Vec<Curve> {
    let weights = weights.map_or_else(|| vec![1.0; y.len()], <[f64]>::to_vec);
    let which = if scores.classes == 2 { 1..2 } else { 0..scores.classes };
    which
        .map(|class| {
            let of: Vec<f64> = (0..y.len()).map(|i| scores.row(i)[class]).collect();
            let truth: Vec<bool> = y.iter().map(|&c| c as usize == class).collect();
            Curve::fit(method, &of, &truth, &weights)
        })
        .collect()
}

/// Fits on all rows, with curves from a cross-validation.
///
/// # Errors
/// The learner's own.
pub fn fit_calibrated(
    learner: &dyn Learner,
    method: CalibrationMethod,
    (x, y, weights, classes): (&Features, &[u32], Option<&[f64]>, usize),
    folds: usize,
    seed: u64,
) -> Result<Fitted> {
    let fold_of = stratified(y, None, folds, seed);
    let unseen = out_of_fold(learner, x, y, weights, classes, &fold_of)?;
    let curves = curves(method, &unseen.scores, y, weights);
    Ok(Fitted::Calibrated(Box::new(Calibrated { base: learner.fit(x, y, weights, classes)?, curves })))
}

/// The exponent that makes probabilities of rows that a model had not seen mean what they say (temperature scaling, Guo et al. 2017):
/// the likeliest of all up to 1, since what a model is less sure of than it says is the usual fault, and a few rows prove no other. The
/// order of a row's classes stays what it is.
pub fn temper(unseen: &ByClass, y: &[u32]) -> f64 {
    // The log-likelihood is concave in the exponent: its slope falls through 0 once.
    let slope = |t: f64| -> f64 {
        let one = |(i, &class): (usize, &u32)| {
            let (row, scaled) = (unseen.row(i), tempered(unseen.row(i), t));
            let expected: f64 = row.iter().zip(&scaled).map(|(p, q)| q * log(*p)).sum();
            log(row[class as usize]) - expected
        };
        y.iter().enumerate().map(one).sum()
    };
    if slope(1.0) >= 0.0 {
        return 1.0;
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..50 {
        let middle = f64::midpoint(low, high);
        if slope(middle) >= 0.0 { low = middle } else { high = middle }
    }
    high
}

/// A row of probabilities to the power of `t`, scaled to sum 1.
pub fn tempered(row: &[f64], t: f64) -> Vec<f64> {
    let best = row.iter().map(|p| log(*p)).fold(f64::NEG_INFINITY, f64::max);
    let mut out: Vec<f64> = row.iter().map(|p| (t * (log(*p) - best)).exp()).collect();
    normalize(&mut out);
    out
}

/// A logarithm that is finite.
fn log(p: f64) -> f64 {
    p.max(f64::MIN_POSITIVE).ln()
}

/// Mean distance between confidence and accuracy over ten equal bins of confidence (expected calibration error, Guo et al. 2017).
pub fn calibration_error(probabilities: &ByClass, y: &[u32]) -> f64 {
    let mut bins = [(0.0, 0.0); 10];
    for (i, &class) in y.iter().enumerate() {
        let best = probabilities.best(i);
        let confidence = probabilities.row(i)[best];
        let bin = &mut bins[((confidence * 10.0) as usize).min(9)];
        bin.0 += confidence;
        bin.1 += f64::from(u8::from(best == class as usize));
    }
    bins.iter().map(|(confidence, right)| (confidence - right).abs()).sum::<f64>() / y.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_find_the_truth_behind_the_scores() {
        // True probability 1 / (1 + e^-(2s - 1)), each score with its share of positives.
        let (mut scores, mut truth, mut weights) = (Vec::new(), Vec::new(), Vec::new());
        for i in -40..=40 {
            let s = f64::from(i) / 10.0;
            let p = super::super::sigmoid(2.0 * s - 1.0);
            for (t, w) in [(true, p), (false, 1.0 - p)] {
                scores.push(s);
                truth.push(t);
                weights.push(w * 100.0);
            }
        }
        for method in [CalibrationMethod::Sigmoid, CalibrationMethod::Isotonic] {
            let curve = Curve::fit(method, &scores, &truth, &weights);
            for s in [-2.0, 0.0, 0.5, 1.5] {
                assert!((curve.at(s) - super::super::sigmoid(2.0 * s - 1.0)).abs() < 0.01, "{method:?} {s} {}", curve.at(s));
            }
        }
    }

    #[test]
    fn what_is_too_sure_is_tempered_and_keeps_its_order() {
        // Said: 0.99; true: three in four.
        let n = 400;
        let mut unseen = ByClass::zeros(n, 3);
        let y: Vec<u32> = (0..n).map(|i| if i % 4 == 0 { 2 } else { 1 }).collect();
        unseen.values.chunks_exact_mut(3).for_each(|row| row.copy_from_slice(&[0.001, 0.99, 0.009]));
        let t = temper(&unseen, &y);
        let row = tempered(unseen.row(0), t);
        assert!((0.01..0.5).contains(&t) && (row[1] - 0.7).abs() < 0.1, "{t} {row:?}");
        assert!(row[1] > row[2] && row[2] > row[0] && (row.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert_eq!(temper(&unseen, &vec![1; n]), 1.0, "what is right is believed as it is");
        assert_eq!(tempered(&[0.0, 1.0], 1.0)[1], 1.0);
    }

    #[test]
    fn a_staircase_rises() {
        let curve = isotonic(&[1.0, 2.0, 3.0, 4.0], &[false, true, false, true], &[1.0; 4]);
        assert_eq!(curve, Curve::Isotonic { scores: vec![1.0, 2.0, 3.0, 4.0], probabilities: vec![0.0, 0.5, 0.5, 1.0] });
        assert_eq!((curve.at(0.0), curve.at(9.0), curve.at(1.5)), (0.0, 1.0, 0.25));
    }
}
