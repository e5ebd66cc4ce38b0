//! How far a run has come: everything a checkpoint must remember beside tensors, and the judgement of evaluations.
//!
//! Place in the data, learning rate and random numbers are functions of the step and so are not stored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::arguments::TrainingArguments;
use crate::error::{Result, TrainError};

/// A sum of losses over trained tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LossSum {
    /// Sum of the tokens' losses.
    pub loss: f64,
    /// Number of tokens.
    pub tokens: u64,
}

impl LossSum {
    /// Adds another sum.
    pub fn add(&mut self, other: LossSum) {
        self.loss += other.loss;
        self.tokens += other.tokens;
    }

    /// Mean loss of a token; NaN if there is none.
    pub fn mean(&self) -> f64 {
        self.loss / self.tokens as f64
    }
}

/// The best evaluation so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Its value of `metric_for_best_model`.
    pub value: f64,
    /// The step after which it was made.
    pub step: u64,
}

/// How far a run has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Optimizer steps done.
    pub step: u64,
    /// Batches done of the next step; their gradients are in the checkpoint.
    pub batches: u64,
    /// Losses of those batches.
    pub group: LossSum,
    /// Losses since the last log line.
    pub window: LossSum,
    /// Losses of the whole run.
    pub whole: LossSum,
    /// Tokens of the rows of the whole run, trained or not.
    pub tokens: u64,
    /// Tokens of these that were computed once for several rows.
    #[serde(default)]
    pub shared_tokens: u64,
    /// Seconds spent in the loop, without evaluation and saving.
    pub train_seconds: f64,
    /// The best evaluation so far.
    pub best: Option<Best>,
    /// Evaluations since the last sufficient improvement.
    pub stale: u64,
    /// The step of the last evaluation.
    pub evaluated_at: Option<u64>,
    /// The step at which early stopping ended the run.
    pub stopped_early_at: Option<u64>,
}

/// What an evaluation means for the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// It is the best so far.
    pub best: bool,
    /// The run should end: too many evaluations without improvement.
    pub stop: bool,
}

impl Progress {
    /// Closes an optimizer step: its losses join the sums. Returns them.
    pub fn finish_step(&mut self) -> LossSum {
        let group = std::mem::take(&mut self.group);
        self.window.add(group);
        self.whole.add(group);
        self.step += 1;
        self.batches = 0;
        group
    }

    /// Takes an evaluation into account.
    ///
    /// As in transformers, a new best needs any improvement, but patience is only restored by one of more than
    /// `early_stopping_threshold`. A value that is not a number is no improvement.
    ///
    /// # Errors
    /// [`TrainError::UnknownMetric`] if the deciding metric is asked for and missing.
    pub fn judge(&mut self, arguments: &TrainingArguments, metrics: &BTreeMap<String, f64>) -> Result<Verdict> {
        self.evaluated_at = Some(self.step);
        let name = arguments.best_metric();
        let Some(&value) = metrics.get(name) else {
            if arguments.metric_for_best_model.is_none() && !arguments.load_best_model_at_end && arguments.early_stopping_patience.is_none()
            {
                return Ok(Verdict { best: false, stop: false });
            }
            let available = metrics.keys().cloned().collect::<Vec<_>>().join(", ");
            return Err(TrainError::UnknownMetric { metric: name.into(), available });
        };
        let gain = |best: &Best| if arguments.best_is_greater() { value - best.value } else { best.value - value };
        let gain = self.best.as_ref().map_or(f64::INFINITY, gain);
        let best = value.is_finite() && gain > 0.0;
        if best && gain > arguments.early_stopping_threshold {
            self.stale = 0;
        } else {
            self.stale += 1;
        }
        if best {
            self.best = Some(Best { value, step: self.step });
        }
        let stop = arguments.early_stopping_patience.is_some_and(|patience| self.stale >= patience as u64);
        Ok(Verdict { best, stop })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(arguments: &TrainingArguments, values: &[f64]) -> (Progress, Vec<(bool, bool)>) {
        let mut progress = Progress::default();
        let verdicts = values
            .iter()
            .map(|&value| {
                progress.step += 1;
                let metrics = BTreeMap::from([("loss".to_owned(), value), ("accuracy".to_owned(), value)]);
                let verdict = progress.judge(arguments, &metrics).unwrap();
                (verdict.best, verdict.stop)
            })
            .collect();
        (progress, verdicts)
    }

    #[test]
    fn patience_counts_evaluations_without_enough_improvement() {
        let arguments = TrainingArguments { early_stopping_patience: Some(2), early_stopping_threshold: 0.1, ..Default::default() };
        let (progress, verdicts) = judge(&arguments, &[1.0, 0.95, 0.5, 0.6, f64::NAN]);
        assert_eq!(verdicts, [(true, false), (true, false), (true, false), (false, false), (false, true)]);
        assert_eq!(progress.best, Some(Best { value: 0.5, step: 3 }));
    }

    #[test]
    fn larger_accuracy_is_better() {
        let arguments = TrainingArguments { metric_for_best_model: Some("eval_accuracy".into()), ..Default::default() };
        let (progress, _) = judge(&arguments, &[0.5, 0.7, 0.6]);
        assert_eq!(progress.best, Some(Best { value: 0.7, step: 2 }));
        let smaller = TrainingArguments { greater_is_better: Some(false), ..arguments };
        assert_eq!(judge(&smaller, &[0.5, 0.7, 0.4]).0.best, Some(Best { value: 0.4, step: 3 }));
    }

    #[test]
    fn a_missing_metric_is_named_with_those_there_are() {
        let arguments = TrainingArguments { metric_for_best_model: Some("f1".into()), ..Default::default() };
        let error = Progress::default().judge(&arguments, &BTreeMap::from([("accuracy".into(), 0.5), ("loss".into(), 1.0)])).unwrap_err();
        assert!(error.to_string().contains("f1") && error.to_string().contains("accuracy, loss"), "{error}");
    }
}
