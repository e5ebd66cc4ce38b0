//! How well a model predicts the trained tokens of rows held out: the loss of training, on other rows.
//!
//! The same definition as in training: the mean of `-ln p` over trained tokens, all rows pooled, so that a long row
//! counts for more than a short one. Perplexity is `exp` of it. Positions that are not trained never reach the head.

use crate::error::{EvaluateError, Progress, Result};
use crate::results::RowLoss;
use crate::score::BATCH_TOKENS;
use dataset::Rendered;
use dataset::pack::{Batch, groups_by_tokens};
use engine::{Arena, ParamStore, Segments, Tape, Target};
use model::Decoder;

/// The loss of each row, in the order of the rows; [`crate::results::text_report`] sums up. Rows are packed into
/// batches of about [`BATCH_TOKENS`] tokens, which changes the numbers by rounding at most.
///
/// # Errors
/// A row longer than the model's positions, a model that gives NaN, a progress callback that breaks.
pub fn row_losses(
    decoder: &Decoder,
    params: &ParamStore,
    arena: &Arena,
    rows: &[Rendered],
    progress: &mut Progress<'_>,
) -> Result<Vec<RowLoss>> {
    let order: Vec<usize> = (0..rows.len()).collect();
    let mut losses = Vec::with_capacity(rows.len());
    for group in groups_by_tokens(rows, &order, BATCH_TOKENS) {
        let batch = Batch::new(group.iter().map(|&i| &rows[i]));
        losses.extend(batch_losses(decoder, params, arena, &batch)?);
        if let Some(bad) = losses.iter().position(|l| !l.nll.is_finite()) {
            return Err(EvaluateError::NonFinite { row: format!("row {}", bad + 1) });
        }
        if progress(losses.len(), rows.len()).is_break() && losses.len() < rows.len() {
            return Err(EvaluateError::Stopped { done: losses.len(), total: rows.len() });
        }
    }
    Ok(losses)
}

/// The loss of each row of one packed batch.
fn batch_losses(decoder: &Decoder, params: &ParamStore, arena: &Arena, batch: &Batch) -> Result<Vec<RowLoss>> {
    let mut losses = vec![RowLoss { nll: 0.0, tokens: 0 }; batch.lengths.len()];
    let targets: Vec<Target> = batch.targets().iter().map(|t| Target { row: t.position as u32, token: t.token, weight: 0.0 }).collect();
    if targets.is_empty() {
        return Ok(losses);
    }
    let mut tape = Tape::inference(params, arena);
    let hidden = decoder.forward(&mut tape, &batch.input_ids, &Segments::from_lengths(&batch.lengths), None)?;
    let log_p = tape.cross_entropy(&hidden, decoder.head(), &targets)?;
    // Targets are in the order of positions, so each row's are together.
    let mut row = 0;
    let mut end = batch.lengths.first().copied().unwrap_or(0);
    for (target, p) in targets.iter().zip(log_p) {
        while target.row as usize >= end {
            row += 1;
            end += batch.lengths[row];
        }
        losses[row].nll -= f64::from(p);
        losses[row].tokens += 1;
    }
    Ok(losses)
}
