//! Logistic regression with an L2 penalty, to the optimum: two classes with one score, more with one each (softmax). The function is
//! scikit-learn's: `C·Σ weight·loss + ½·‖w‖²`, intercepts free.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::tron::{Objective, minimize};
use super::{Fitted, Learner, Linear, Link, check};
use crate::error::{Result, VectorizeError};
use crate::features::Features;

/// Columns that one task takes.
const BLOCK: usize = 4096;

/// Settings; the names are scikit-learn's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogisticRegression {
    /// Inverse strength of the penalty.
    pub c: f64,
    /// Weigh rows so that every class counts the same.
    pub balanced: bool,
    /// Largest entry that the gradient of the mean loss may have at the end.
    pub tol: f64,
    /// Most Newton steps.
    pub max_iter: usize,
}

impl Default for LogisticRegression {
    fn default() -> Self {
        Self { c: 1.0, balanced: false, tol: 1e-8, max_iter: 100 }
    }
}

/// Weight of every row: the given ones, times `n / (classes · rows of its class)` if classes are to count the same.
pub(super) fn row_weights(y: &[u32], weights: Option<&[f64]>, classes: usize, balanced: bool) -> Vec<f64> {
    let mut out = weights.map_or_else(|| vec![1.0; y.len()], <[f64]>::to_vec);
    if balanced {
        let mut rows = vec![0.0; classes];
        y.iter().for_each(|&c| rows[c as usize] += 1.0);
        out.iter_mut().zip(y).for_each(|(w, &c)| *w *= y.len() as f64 / (classes as f64 * rows[c as usize]));
    }
    out
}

pub(super) fn check_c(c: f64) -> Result<()> {
    if c.is_finite() && c > 0.0 { Ok(()) } else { Err(VectorizeError::setting("C", format!("{c} is not above 0"))) }
}

impl Learner for LogisticRegression {
    fn fit(&self, x: &Features, y: &[u32], weights: Option<&[f64]>, classes: usize) -> Result<Fitted> {
        check(x, y, weights, classes)?;
        check_c(self.c)?;
        let outputs = if classes == 2 { 1 } else { classes };
        let weights = row_weights(y, weights, classes, self.balanced);
        let total: f64 = weights.iter().sum();
        let mut f = Problem::new(x, y, &weights, outputs, self.c);
        let mut w = vec![0.0; f.len()];
        // The gradient of the sum is that of the mean times C·n.
        let outcome = minimize(&mut f, &mut w, self.tol * self.c * total.max(1e-300), self.max_iter);
        if !outcome.gradient.is_finite() {
            return Err(VectorizeError::data("the features hold numbers that are not finite"));
        }
        let mut intercepts = w.split_off(x.columns() * outputs);
        if outputs > 1 {
            // Adding a number to all intercepts changes nothing: of all optima the one whose intercepts sum to 0.
            let mean = intercepts.iter().sum::<f64>() / outputs as f64;
            intercepts.iter_mut().for_each(|b| *b -= mean);
        }
        let link = if outputs == 1 { Link::Logistic } else { Link::Softmax };
        Ok(Fitted::Linear(Linear { classes, outputs, weights: w, intercepts, link }))
    }

    fn name(&self) -> &'static str {
        "logistic"
    }
}

/// The unknowns are `columns × outputs` weights, then the intercepts.
struct Problem<'a> {
    x: &'a Features,
    by_column: Features,
    y: &'a [u32],
    weights: &'a [f64],
    outputs: usize,
    c: f64,
    /// Probability of each output for each row.
    p: Vec<f64>,
    /// A number for each row and output.
    r: Vec<f64>,
}

impl<'a> Problem<'a> {
    fn new(x: &'a Features, y: &'a [u32], weights: &'a [f64], outputs: usize, c: f64) -> Self {
        let n = x.rows() * outputs;
        Self { x, by_column: x.transpose(), y, weights, outputs, c, p: vec![0.0; n], r: vec![0.0; n] }
    }

    fn scores(&self, w: &[f64], out: &mut [f64]) {
        let (k, split) = (self.outputs, self.x.columns() * self.outputs);
        self.x.times(w, k, out);
        out.chunks_exact_mut(k).for_each(|row| row.iter_mut().zip(&w[split..]).for_each(|(s, b)| *s += b));
    }

    /// `out = add + Xᵀ·r` for weights, `Σ r` for intercepts.
    fn back(&self, add: &[f64], out: &mut [f64]) {
        let (k, split) = (self.outputs, self.x.columns() * self.outputs);
        let (weights, intercepts) = out.split_at_mut(split);
        weights.par_chunks_mut(BLOCK * k).enumerate().for_each(|(b, out)| {
            for (i, out) in out.chunks_exact_mut(k).enumerate() {
                let column = b * BLOCK + i;
                out.copy_from_slice(&add[column * k..(column + 1) * k]);
                for (row, v) in self.by_column.entries(column) {
                    for (o, r) in out.iter_mut().zip(&self.r[row as usize * k..]) {
                        *o += v * r;
                    }
                }
            }
        });
        intercepts.fill(0.0);
        self.r.chunks_exact(k).for_each(|row| intercepts.iter_mut().zip(row).for_each(|(o, r)| *o += r));
    }
}

impl Objective for Problem<'_> {
    fn len(&self) -> usize {
        (self.x.columns() + 1) * self.outputs
    }

    fn value(&mut self, w: &[f64]) -> f64 {
        let (k, split) = (self.outputs, self.x.columns() * self.outputs);
        let mut p = std::mem::take(&mut self.p);
        self.scores(w, &mut p);
        let mut loss = 0.0;
        for ((row, &y), weight) in p.chunks_exact_mut(k).zip(self.y).zip(self.weights) {
            if k == 1 {
                let s = row[0];
                // ln(1 + eˢ) - y·s without overflow.
                let log = s.max(0.0) + (-s.abs()).exp().ln_1p();
                loss += weight * (log - f64::from(y) * s);
                row[0] = super::sigmoid(s);
            } else {
                let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let own = row[y as usize] - max;
                row.iter_mut().for_each(|s| *s = (*s - max).exp());
                let sum: f64 = row.iter().sum();
                loss += weight * (sum.ln() - own);
                row.iter_mut().for_each(|p| *p /= sum);
            }
        }
        self.p = p;
        self.c * loss + 0.5 * w[..split].iter().map(|w| w * w).sum::<f64>()
    }

    fn gradient(&mut self, w: &[f64], out: &mut [f64]) {
        let k = self.outputs;
        for i in 0..self.y.len() {
            for j in 0..k {
                let truth = if k == 1 { f64::from(self.y[i]) } else { f64::from(u8::from(self.y[i] as usize == j)) };
                self.r[i * k + j] = self.c * self.weights[i] * (self.p[i * k + j] - truth);
            }
        }
        self.back(w, out);
    }

    fn hessian_times(&mut self, v: &[f64], out: &mut [f64]) {
        let k = self.outputs;
        let mut r = std::mem::take(&mut self.r);
        self.scores(v, &mut r);
        for ((z, p), weight) in r.chunks_exact_mut(k).zip(self.p.chunks_exact(k)).zip(self.weights) {
            let scale = self.c * weight;
            if k == 1 {
                z[0] *= scale * p[0] * (1.0 - p[0]);
            } else {
                let mean: f64 = z.iter().zip(p).map(|(z, p)| z * p).sum();
                z.iter_mut().zip(p).for_each(|(z, p)| *z = scale * p * (*z - mean));
            }
        }
        self.r = r;
        self.back(v, out);
    }

    fn diagonal(&mut self, out: &mut [f64]) {
        let (k, split) = (self.outputs, self.x.columns() * self.outputs);
        for (i, weight) in self.weights.iter().enumerate() {
            for j in 0..k {
                let p = self.p[i * k + j];
                self.r[i * k + j] = self.c * weight * p * (1.0 - p);
            }
        }
        let r = &self.r;
        let (weights, intercepts) = out.split_at_mut(split);
        weights.par_chunks_mut(BLOCK * k).enumerate().for_each(|(b, out)| {
            for (i, out) in out.chunks_exact_mut(k).enumerate() {
                out.fill(1.0);
                for (row, v) in self.by_column.entries(b * BLOCK + i) {
                    for (o, r) in out.iter_mut().zip(&r[row as usize * k..]) {
                        *o += v * v * r;
                    }
                }
            }
        });
        intercepts.fill(1e-10);
        r.chunks_exact(k).for_each(|row| intercepts.iter_mut().zip(row).for_each(|(o, r)| *o += r));
    }
}
