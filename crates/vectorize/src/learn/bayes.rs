//! Naive Bayes on term weights: multinomial, and complement for classes of unequal size (Rennie et al. 2003); scikit-learn's
//! `MultinomialNB` and `ComplementNB`.

use serde::{Deserialize, Serialize};

use super::{Fitted, Learner, Linear, Link, check};
use crate::error::{Result, VectorizeError};
use crate::features::Features;

/// Settings; the names are scikit-learn's.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NaiveBayes {
    /// Added to every count.
    pub alpha: f64,
    /// Estimate each class from the rows of all others.
    pub complement: bool,
}

impl Default for NaiveBayes {
    fn default() -> Self {
        Self { alpha: 1.0, complement: false }
    }
}

impl Learner for NaiveBayes {
    fn fit(&self, x: &Features, y: &[u32], weights: Option<&[f64]>, classes: usize) -> Result<Fitted> {
        check(x, y, weights, classes)?;
        if !(self.alpha.is_finite() && self.alpha > 0.0) {
            return Err(VectorizeError::setting("alpha", format!("{} is not above 0", self.alpha)));
        }
        if x.min() < 0.0 {
            return Err(VectorizeError::data(
                "naive Bayes counts terms, and these features are negative in part: take tfidf or bow, or another classifier",
            ));
        }
        let (k, columns) = (classes, x.columns());
        let mut counts = vec![0.0; columns * k];
        let mut rows = vec![0.0; k];
        for (i, &class) in y.iter().enumerate() {
            let weight = weights.map_or(1.0, |w| w[i]);
            rows[class as usize] += weight;
            x.entries(i).for_each(|(c, v)| counts[c as usize * k + class as usize] += weight * v);
        }
        if self.complement {
            for of_column in counts.chunks_exact_mut(k) {
                let all: f64 = of_column.iter().sum();
                of_column.iter_mut().for_each(|n| *n = all - *n);
            }
        }
        let mut totals = vec![0.0; k];
        for of_column in counts.chunks_exact_mut(k) {
            of_column.iter_mut().zip(&mut totals).for_each(|(n, t)| {
                *n += self.alpha;
                *t += *n;
            });
        }
        let sign = if self.complement { -1.0 } else { 1.0 };
        for of_column in counts.chunks_exact_mut(k) {
            of_column.iter_mut().zip(&totals).for_each(|(n, t)| *n = sign * (n.ln() - t.ln()));
        }
        let all: f64 = rows.iter().sum();
        // The complement's score has no prior, as in scikit-learn.
        let prior = |n: &f64| if self.complement { 0.0 } else { (n / all).ln() };
        let intercepts = rows.iter().map(prior).collect();
        Ok(Fitted::Linear(Linear { classes, outputs: k, weights: counts, intercepts, link: Link::Softmax }))
    }

    fn name(&self) -> &'static str {
        if self.complement { "complement-nb" } else { "multinomial-nb" }
    }
}
