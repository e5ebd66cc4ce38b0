//! One optimizer step apart from a run: the loop's own objective and optimizer on rows that the caller made, without order, schedule,
//! clipping, files or reports. What `tunesmith bench` times.

use std::path::Path;

use dataset::Rendered;
use engine::{AdamW, AdamWConfig, Arena, ParamStore};
use model::Decoder;

use crate::arguments::TrainingArguments;
use crate::error::{Result, TrainError};
use crate::objective::{NextToken, Objective};
use crate::prefix::{PrefixPlace, PrefixPlan};

/// Forward, backward and AdamW, one batch at a time.
pub struct Stepper<'a> {
    objective: NextToken<'a>,
    optimizer: AdamW,
    steps: u64,
}

impl<'a> Stepper<'a> {
    /// Over `rows`, as `arguments` say of passes and dropout. With `cached`, what the frozen layers make of them is computed now and kept in memory, as it is from the second
    /// epoch of a run on.
    ///
    /// # Errors
    /// If a row has no trained token: batches are named by position among all rows. If the model cannot compute the rows.
    pub fn new(
        decoder: &'a Decoder,
        params: &ParamStore,
        arena: &'a Arena,
        rows: &'a [Rendered],
        arguments: &TrainingArguments,
        cached: bool,
    ) -> Result<Self> {
        let mut objective = NextToken::new(decoder, arena, rows, arguments);
        if objective.sizes().len() != rows.len() || rows.is_empty() {
            return Err(TrainError::NothingTrained { rows: rows.len() });
        }
        if cached {
            let refused = |why: model::ModelError| TrainError::Model { step: 0, why: why.to_string() };
            let plan = PrefixPlan { layers: decoder.frozen_layers(), bytes: 0, place: PrefixPlace::Memory };
            objective = objective.keep_prefix(plan, Path::new(""), "", params).map_err(refused)?;
            objective.prepare(params, &(0..rows.len()).collect::<Vec<_>>()).map_err(refused)?;
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
        let done = self
            .objective
            .accumulate(params, batch, step, trained as u64)
            .map_err(|why| TrainError::Model { step, why: why.to_string() })?;
        self.optimizer.step(params, learning_rate, 1.0);
        Ok(done.loss / trained as f64)
    }
}
