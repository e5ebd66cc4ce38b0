//! How well a model predicts the trained tokens of rows held out: the loss of training, on other rows.
//!
//! The same definition as in training: the mean of `-ln p` over trained tokens, all rows pooled, so that a long row
//! counts for more than a short one. Perplexity is `exp` of it. Positions that are not trained never reach the head.

use crate::error::{EvaluateError, Progress, Result};
use crate::results::RowLoss;
use crate::score::BATCH_TOKENS;
use dataset::Rendered;
use dataset::pack::groups_by_tokens;
use dataset::share::{SharedBatch, SharedTarget};
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
        let group: Vec<&Rendered> = group.iter().map(|&i| &rows[i]).collect();
        losses.extend(batch_losses(decoder, params, arena, &group)?);
        if let Some(bad) = losses.iter().position(|l| !l.nll.is_finite()) {
            return Err(EvaluateError::NonFinite { row: format!("row {}", bad + 1) });
        }
        if progress(losses.len(), rows.len()).is_break() && losses.len() < rows.len() {
            return Err(EvaluateError::Stopped { done: losses.len(), total: rows.len() });
        }
    }
    Ok(losses)
}

/// The loss of each row of one packed batch. Rows that begin alike compute that once.
fn batch_losses(decoder: &Decoder, params: &ParamStore, arena: &Arena, rows: &[&Rendered]) -> Result<Vec<RowLoss>> {
    let batch = SharedBatch::new(rows, true);
    let mut losses = vec![RowLoss { nll: 0.0, tokens: 0 }; rows.len()];
    if batch.targets.is_empty() {
        return Ok(losses);
    }
    let segments = Segments::tree(&batch.forest.parts())?.reaching(batch.longest);
    let (wanted, places) = batch.wanted();
    let target = |(t, &row): (&SharedTarget, &u32)| Target { row, token: t.token, weight: 0.0 };
    let targets: Vec<Target> = batch.targets.iter().zip(&places).map(target).collect();
    let mut tape = Tape::inference(params, arena);
    let hidden = decoder.forward_rows(&mut tape, &batch.input_ids, &segments, None, Some(&wanted))?;
    let log_p = tape.cross_entropy(&hidden, decoder.head(), &targets)?;
    for (loss, targets) in losses.iter_mut().zip(&batch.of_row) {
        for &target in targets {
            loss.nll -= f64::from(log_p[target as usize]);
            loss.tokens += 1;
        }
    }
    Ok(losses)
}
