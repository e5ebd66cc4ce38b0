//! The learning rate of each optimizer step, as transformers' `get_*_schedule_with_warmup` compute it.
//!
//! Those functions give the *first* step a rate of 0 when there is a warm-up, and the step after the last one a rate of 0;
//! this module keeps both, so that a run can be compared with one of theirs step by step.

use crate::arguments::{SchedulerType, Steps, TrainingArguments};

/// A learning-rate schedule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    kind: SchedulerType,
    peak: f64,
    warmup: u64,
    total: u64,
}

impl Schedule {
    /// The schedule that the settings describe.
    pub fn new(arguments: &TrainingArguments, steps: &Steps) -> Self {
        Self { kind: arguments.lr_scheduler_type, peak: arguments.learning_rate, warmup: steps.warmup, total: steps.total }
    }

    /// The rate of the step that follows `done` finished steps.
    pub fn rate_after(&self, done: u64) -> f64 {
        if done < self.warmup {
            return self.peak * (done as f64 / self.warmup.max(1) as f64);
        }
        let progress = (done - self.warmup) as f64 / self.total.saturating_sub(self.warmup).max(1) as f64;
        let factor = match self.kind {
            SchedulerType::Constant => 1.0,
            SchedulerType::Linear => (1.0 - progress).max(0.0),
            SchedulerType::Cosine => (0.5 * (1.0 + (std::f64::consts::PI * progress).cos())).max(0.0),
        };
        self.peak * factor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(kind: SchedulerType, warmup: u64, total: u64) -> Vec<f64> {
        let schedule = Schedule { kind, peak: 1.0, warmup, total };
        (0..=total).map(|done| schedule.rate_after(done)).collect()
    }

    fn assert_close(a: &[f64], b: &[f64]) {
        assert_eq!(a.len(), b.len());
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() < 1e-12, "{a} is not {b}");
        }
    }

    #[test]
    fn equal_to_transformers() {
        // get_linear_schedule_with_warmup(optimizer, 2, 6), get_cosine_schedule_with_warmup(optimizer, 2, 6) with lr 1.
        assert_close(&rates(SchedulerType::Linear, 2, 6), &[0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0]);
        let r = std::f64::consts::FRAC_1_SQRT_2 / 2.0;
        assert_close(&rates(SchedulerType::Cosine, 2, 6), &[0.0, 0.5, 1.0, 0.5 + r, 0.5, 0.5 - r, 0.0]);
        assert_close(&rates(SchedulerType::Constant, 2, 4), &[0.0, 0.5, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn a_warmup_longer_than_the_run_only_rises() {
        assert_close(&rates(SchedulerType::Linear, 8, 3), &[0.0, 0.125, 0.25, 0.375]);
    }
}
