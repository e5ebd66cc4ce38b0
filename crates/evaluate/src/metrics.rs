//! The one definition of accuracy, precision, recall, F1 and the confusion matrix (each row has exactly one gold
//! and one predicted label). Equal to scikit-learn's with its defaults; `oracles/metrics_sklearn.py` made the values
//! that the tests compare with.

use serde::{Deserialize, Serialize};

/// Precision, recall and F1 averaged over classes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Averages {
    /// Of the rows called X, the fraction that is X.
    pub precision: f64,
    /// Of the rows that are X, the fraction called X.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
}

/// The scores of one class. A quotient without rows counts as 0.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClassScores {
    /// Of the rows predicted as this class, the fraction that is of it.
    pub precision: f64,
    /// Of the rows of this class, the fraction predicted as it.
    pub recall: f64,
    /// Harmonic mean of precision and recall.
    pub f1: f64,
    /// Rows of this class.
    pub support: u64,
}

/// Counts of (gold, predicted) pairs. Square: rows are gold, columns predicted, classes in the task's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    counts: Vec<u64>,
}

impl Confusion {
    /// An empty matrix.
    pub fn new(classes: usize) -> Self {
        Self { classes, counts: vec![0; classes * classes] }
    }

    /// Counts every (gold, predicted) pair; class numbers are below `classes`.
    pub fn from_pairs(classes: usize, pairs: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let mut c = Self::new(classes);
        for (gold, predicted) in pairs {
            c.add(gold, predicted, 1);
        }
        c
    }

    /// Adds `times` rows of one cell.
    pub fn add(&mut self, gold: usize, predicted: usize, times: u64) {
        self.counts[gold * self.classes + predicted] += times;
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Rows of class `gold` that were called `predicted`.
    pub fn count(&self, gold: usize, predicted: usize) -> u64 {
        self.counts[gold * self.classes + predicted]
    }

    /// All rows counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Rows on the diagonal.
    pub fn correct(&self) -> u64 {
        (0..self.classes).map(|i| self.count(i, i)).sum()
    }

    /// Rows of a class.
    pub fn support(&self, class: usize) -> u64 {
        (0..self.classes).map(|p| self.count(class, p)).sum()
    }

    /// Rows called by a class's name.
    pub fn predicted(&self, class: usize) -> u64 {
        (0..self.classes).map(|g| self.count(g, class)).sum()
    }

    /// Fraction of rows on the diagonal; 0 without rows.
    pub fn accuracy(&self) -> f64 {
        ratio(self.correct(), self.total())
    }

    /// Precision, recall, F1 and support of one class.
    pub fn class(&self, class: usize) -> ClassScores {
        let hit = self.count(class, class);
        let (support, predicted) = (self.support(class), self.predicted(class));
        ClassScores {
            precision: ratio(hit, predicted),
            recall: ratio(hit, support),
            // 2PR/(P+R) = 2·hit/(predicted+support), which needs no case for P + R = 0.
            f1: ratio(2 * hit, predicted + support),
            support,
        }
    }

    /// Unweighted mean over the classes that occur in gold or predicted rows (the others are undefined, not 0:
    /// scikit-learn's default).
    pub fn macro_average(&self) -> Averages {
        let present: Vec<ClassScores> =
            (0..self.classes).filter(|&c| self.support(c) + self.predicted(c) > 0).map(|c| self.class(c)).collect();
        let mean = |f: fn(&ClassScores) -> f64| {
            if present.is_empty() { 0.0 } else { present.iter().map(f).sum::<f64>() / present.len() as f64 }
        };
        Averages { precision: mean(|c| c.precision), recall: mean(|c| c.recall), f1: mean(|c| c.f1) }
    }

    /// Precision, recall and F1 of all decisions pooled. With one label a row all three equal the accuracy.
    pub fn micro_average(&self) -> Averages {
        let a = self.accuracy();
        Averages { precision: a, recall: a, f1: a }
    }
}

fn ratio(a: u64, b: u64) -> f64 {
    if b == 0 { 0.0 } else { a as f64 / b as f64 }
}

/// Mean of `-ln p(gold)` over rows (scikit-learn's `log_loss`): how surprised the classifier was by the truth.
/// A probability of 0 counts as the smallest positive f64 so that one absurd row cannot make the mean infinite.
pub fn log_loss(gold_probability: impl IntoIterator<Item = f64>) -> f64 {
    let (mut sum, mut n) = (0.0, 0u64);
    for p in gold_probability {
        sum -= p.max(f64::MIN_POSITIVE).ln();
        n += 1;
    }
    if n == 0 { 0.0 } else { sum / n as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn empty_is_zero_and_finite() {
        let c = Confusion::new(3);
        assert_eq!((c.accuracy(), c.macro_average().f1, c.class(1).precision), (0.0, 0.0, 0.0));
        assert_eq!(log_loss([]), 0.0);
        assert!(log_loss([0.0]).is_finite());
    }

    #[test]
    fn a_small_matrix_by_hand() {
        // gold 0: 3 right, 1 called 1; gold 1: 2 right, 2 called 0
        let c = Confusion::from_pairs(2, [(0, 0), (0, 0), (0, 0), (0, 1), (1, 1), (1, 1), (1, 0), (1, 0)]);
        assert_eq!(c.accuracy(), 5.0 / 8.0);
        assert_eq!(c.class(0), ClassScores { precision: 3.0 / 5.0, recall: 3.0 / 4.0, f1: 6.0 / 9.0, support: 4 });
        assert_eq!(c.class(1), ClassScores { precision: 2.0 / 3.0, recall: 2.0 / 4.0, f1: 4.0 / 7.0, support: 4 });
    }

    proptest! {
        #[test]
        fn laws(pairs in prop::collection::vec((0usize..4, 0usize..4), 1..80)) {
            let c = Confusion::from_pairs(4, pairs.iter().copied());
            prop_assert_eq!(c.total(), pairs.len() as u64);
            // Swapping gold and predicted swaps precision and recall.
            let t = Confusion::from_pairs(4, pairs.iter().map(|&(g, p)| (p, g)));
            for k in 0..4 {
                let (a, b) = (c.class(k), t.class(k));
                prop_assert_eq!((a.precision, a.recall, a.f1), (b.recall, b.precision, b.f1));
                if a.precision + a.recall > 0.0 {
                    prop_assert!((a.f1 - 2.0 * a.precision * a.recall / (a.precision + a.recall)).abs() < 1e-12);
                }
            }
            prop_assert_eq!(c.accuracy(), c.micro_average().recall);
        }
    }
}
