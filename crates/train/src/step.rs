//! One optimizer step apart from a run: the loop's own objective and optimizer on rows that the caller made, without order, schedule,
//! clipping, files or reports. What `tunesmith bench` times.

use dataset::Rendered;
use engine::{AdamW, AdamWConfig, Arena, ParamStore};
use model::Decoder;

use crate::error::{Result, TrainError};
use crate::objective::{NextToken, Objective};

/// Forward, backward and AdamW, one batch at a time.
pub struct Stepper<'a> {
    objective: NextToken<'a>,
    optimizer: AdamW,
    steps: u64,
}

impl<'a> Stepper<'a> {
    /// Over `rows`; `seed` keys dropout.
    ///
    /// # Errors
    /// If a row has no trained token: batches are named by position among all rows.
    pub fn new(decoder: &'a Decoder, params: &ParamStore, arena: &'a Arena, rows: &'a [Rendered], seed: u64) -> Result<Self> {
        let objective = NextToken::new(decoder, arena, rows, seed);
        if objective.sizes().len() != rows.len() || rows.is_empty() {
            return Err(TrainError::NothingTrained { rows: rows.len() });
        }
        Ok(Self { objective, optimizer: AdamW::new(AdamWConfig::default(), params), steps: 0 })
    }

    /// One step on the rows at these positions; the mean loss of their trained tokens.
    ///
    /// # Errors
    /// If the model cannot compute these rows.
    pub fn step(&mut self, params: &mut ParamStore, batch: &[usize], learning_rate: f64) -> Result<f64> {
        let trained: usize = batch.iter().map(|&row| self.objective.sizes()[row].trained).sum();
        self.steps += 1;
        let step = self.steps;
        params.zero_grads();
        let sum = self
            .objective
            .accumulate(params, batch, step, trained as u64)
            .map_err(|why| TrainError::Model { step, why: why.to_string() })?;
        self.optimizer.step(params, learning_rate);
        Ok(sum / trained as f64)
    }
}
