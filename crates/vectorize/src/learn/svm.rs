//! Linear support vector machine: squared hinge loss, L2 penalty, one class against the rest (scikit-learn's `LinearSVC` with its
//! defaults, whose intercept is a weight of a column of ones and is penalised like the others).

use serde::{Deserialize, Serialize};

use super::logistic::{check_c, row_weights};
use super::tron::{Objective, minimize};
use super::{Fitted, Learner, Linear, Link, check};
use crate::error::Result;
use crate::features::Features;

/// Settings; the names are scikit-learn's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinearSvm {
    /// Inverse strength of the penalty.
    pub c: f64,
    /// Weigh rows so that every class counts the same.
    pub balanced: bool,
    /// Largest entry that the gradient of the mean loss may have at the end.
    pub tol: f64,
    /// Most Newton steps.
    pub max_iter: usize,
}

impl Default for LinearSvm {
    fn default() -> Self {
        Self { c: 1.0, balanced: false, tol: 1e-8, max_iter: 200 }
    }
}

impl Learner for LinearSvm {
    fn fit(&self, x: &Features, y: &[u32], weights: Option<&[f64]>, classes: usize) -> Result<Fitted> {
        check(x, y, weights, classes)?;
        check_c(self.c)?;
        let weights = row_weights(y, weights, classes, self.balanced);
        let total: f64 = weights.iter().sum();
        let by_column = x.transpose();
        let outputs = if classes == 2 { 1 } else { classes };
        let mut all = vec![0.0; x.columns() * outputs];
        let mut intercepts = vec![0.0; outputs];
        for output in 0..outputs {
            let positive = if outputs == 1 { 1 } else { output as u32 };
            let signs: Vec<f64> = y.iter().map(|&c| if c == positive { 1.0 } else { -1.0 }).collect();
            let mut f =
                Problem { x, by_column: &by_column, signs, weights: &weights, c: self.c, z: vec![0.0; y.len()], r: vec![0.0; y.len()] };
            let mut w = vec![0.0; x.columns() + 1];
            minimize(&mut f, &mut w, self.tol * self.c * total.max(1e-300), self.max_iter);
            intercepts[output] = w[x.columns()];
            (0..x.columns()).for_each(|c| all[c * outputs + output] = w[c]);
        }
        Ok(Fitted::Linear(Linear { classes, outputs, weights: all, intercepts, link: Link::Margin }))
    }

    fn name(&self) -> &'static str {
        "svm"
    }
}

/// `½·‖w‖² + C·Σ weight·max(0, 1 - y·s)²`; the intercept is the last unknown.
struct Problem<'a> {
    x: &'a Features,
    by_column: &'a Features,
    signs: Vec<f64>,
    weights: &'a [f64],
    c: f64,
    /// `max(0, 1 - y·s)` of each row.
    z: Vec<f64>,
    r: Vec<f64>,
}

impl Problem<'_> {
    fn scores(&self, w: &[f64], out: &mut [f64]) {
        self.x.times(w, 1, out);
        let b = w[self.x.columns()];
        out.iter_mut().for_each(|s| *s += b);
    }

    fn back(&self, add: &[f64], out: &mut [f64]) {
        let n = self.x.columns();
        self.by_column.times(&self.r, 1, &mut out[..n]);
        out[n] = self.r.iter().sum();
        out.iter_mut().zip(add).for_each(|(o, a)| *o += a);
    }
}

impl Objective for Problem<'_> {
    fn len(&self) -> usize {
        self.x.columns() + 1
    }

    fn value(&mut self, w: &[f64]) -> f64 {
        let mut z = std::mem::take(&mut self.z);
        self.scores(w, &mut z);
        let mut loss = 0.0;
        for ((z, y), weight) in z.iter_mut().zip(&self.signs).zip(self.weights) {
            *z = (1.0 - y * *z).max(0.0);
            loss += weight * *z * *z;
        }
        self.z = z;
        self.c * loss + 0.5 * w.iter().map(|w| w * w).sum::<f64>()
    }

    fn gradient(&mut self, w: &[f64], out: &mut [f64]) {
        for i in 0..self.r.len() {
            self.r[i] = -2.0 * self.c * self.weights[i] * self.signs[i] * self.z[i];
        }
        self.back(w, out);
    }

    fn hessian_times(&mut self, v: &[f64], out: &mut [f64]) {
        let mut r = std::mem::take(&mut self.r);
        self.scores(v, &mut r);
        for i in 0..r.len() {
            r[i] *= if self.z[i] > 0.0 { 2.0 * self.c * self.weights[i] } else { 0.0 };
        }
        self.r = r;
        self.back(v, out);
    }

    fn diagonal(&mut self, out: &mut [f64]) {
        out.fill(1.0);
        let curve = |i: usize| if self.z[i] > 0.0 { 2.0 * self.c * self.weights[i] } else { 0.0 };
        for column in 0..self.x.columns() {
            out[column] += self.by_column.entries(column).map(|(i, v)| v * v * curve(i as usize)).sum::<f64>();
        }
        out[self.x.columns()] += (0..self.z.len()).map(curve).sum::<f64>();
    }
}
