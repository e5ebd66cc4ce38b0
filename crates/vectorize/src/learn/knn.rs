//! Nearest neighbours by cosine, found through the columns that a row shares with the others.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Fitted, Learner, check, normalize};
use crate::error::{Result, VectorizeError};
use crate::features::{ByClass, Features, Norm};

/// Settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Knn {
    /// How many neighbours have a say.
    pub neighbors: usize,
    /// Nearer ones count more (by their cosine).
    pub weighted: bool,
}

impl Default for Knn {
    fn default() -> Self {
        Self { neighbors: 15, weighted: true }
    }
}

/// The rows that were learned.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbours {
    /// Settings.
    pub settings: Knn,
    /// Number of classes.
    pub classes: usize,
    /// The rows, of length 1, by columns.
    by_column: Features,
    /// Class of each row.
    pub labels: Vec<u32>,
    /// Weight of each row.
    pub weights: Vec<f64>,
}

impl Neighbours {
    /// From rows and their classes.
    pub(crate) fn new(settings: Knn, x: &Features, labels: Vec<u32>, weights: Vec<f64>, classes: usize) -> Self {
        let mut rows = x.clone();
        rows.normalize(Norm::L2);
        Self { settings, classes, by_column: rows.transpose(), labels, weights }
    }

    /// Rows to be found again, without classes.
    pub fn of_rows(settings: Knn, x: &Features) -> Self {
        Self::new(settings, x, vec![0; x.rows()], vec![1.0; x.rows()], 1)
    }

    /// For each row of `x` the nearest rows with their cosines, nearest first; rows that share no column are not there.
    pub fn nearest_all(&self, x: &Features) -> Vec<Vec<(u32, f64)>> {
        let blocks: Vec<usize> = (0..x.rows()).step_by(64).collect();
        let one = |&first: &usize| {
            let mut dots = vec![0.0; self.labels.len()];
            let mut touched = Vec::new();
            let rows = first..(first + 64).min(x.rows());
            rows.map(|i| self.nearest(x, i, &mut dots, &mut touched)).collect::<Vec<_>>()
        };
        blocks.par_iter().flat_map_iter(one).collect()
    }

    /// The rows as they were learned, of length 1.
    pub(crate) fn rows(&self) -> Features {
        self.by_column.transpose()
    }

    /// The nearest rows of one row with their cosines, nearest first; of equals the first.
    fn nearest(&self, x: &Features, i: usize, dots: &mut [f64], touched: &mut Vec<u32>) -> Vec<(u32, f64)> {
        let norm = x.row(i).1.iter().map(|v| v * v).sum::<f64>().sqrt();
        for (column, v) in x.entries(i) {
            for (row, w) in self.by_column.entries(column as usize) {
                if dots[row as usize] == 0.0 {
                    touched.push(row);
                }
                dots[row as usize] += v * w / norm;
            }
        }
        let mut found: Vec<(u32, f64)> = Vec::with_capacity(touched.len());
        touched.sort_unstable();
        touched.dedup();
        touched.drain(..).for_each(|row| found.push((row, std::mem::take(&mut dots[row as usize]))));
        let order = |a: &(u32, f64), b: &(u32, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        let k = self.settings.neighbors;
        if found.len() > k {
            found.select_nth_unstable_by(k - 1, order);
            found.truncate(k);
        }
        found.sort_unstable_by(order);
        found
    }

    pub(super) fn probabilities(&self, x: &Features) -> ByClass {
        let mut out = ByClass::zeros(x.rows(), self.classes);
        out.values.par_chunks_mut(self.classes * 64).enumerate().for_each(|(block, out)| {
            let mut dots = vec![0.0; self.labels.len()];
            let mut touched = Vec::new();
            for (r, row) in out.chunks_exact_mut(self.classes).enumerate() {
                for (neighbour, cosine) in self.nearest(x, block * 64 + r, &mut dots, &mut touched) {
                    let vote = if self.settings.weighted { cosine.max(0.0) } else { 1.0 };
                    row[self.labels[neighbour as usize] as usize] += vote * self.weights[neighbour as usize];
                }
                normalize(row);
            }
        });
        out
    }
}

impl Learner for Knn {
    fn fit(&self, x: &Features, y: &[u32], weights: Option<&[f64]>, classes: usize) -> Result<Fitted> {
        check(x, y, weights, classes)?;
        if self.neighbors == 0 {
            return Err(VectorizeError::setting("neighbors", "is at least 1"));
        }
        let weights = weights.map_or_else(|| vec![1.0; y.len()], <[f64]>::to_vec);
        Ok(Fitted::Neighbours(Neighbours::new(*self, x, y.to_vec(), weights, classes)))
    }

    fn name(&self) -> &'static str {
        "knn"
    }
}
