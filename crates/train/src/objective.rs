//! What is minimised: the loop asks an [`Objective`] for gradients and knows nothing else of the model.
//!
//! Next-token prediction on rendered rows is the one objective so far; another method (preference pairs, distillation) is
//! another implementation, not another loop.

use std::collections::BTreeMap;

use dataset::{Batch, Rendered};
use engine::{Arena, Mode, ParamStore, Segments, Tape, Target, TokenKey};
use model::{Decoder, ModelError};

use crate::observe::{Evaluator, EvaluatorError};

/// Size of a row: what the loop needs to order, count and normalise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowSize {
    /// Tokens computed.
    pub tokens: usize,
    /// Tokens that are trained.
    pub trained: usize,
}

/// Something to minimise over rows of data.
pub(crate) trait Objective {
    /// Sizes of all rows.
    fn sizes(&self) -> &[RowSize];

    /// The number under which the caller knows a row, counted from 1.
    fn number(&self, row: usize) -> usize {
        row + 1
    }

    /// Adds to the gradients in `params` those of (sum of the rows' token losses) / `normaliser`, and returns that sum,
    /// not divided. `step` keys random numbers.
    ///
    /// # Errors
    /// If the model cannot compute these rows.
    fn accumulate(&mut self, params: &mut ParamStore, rows: &[usize], step: u64, normaliser: u64) -> Result<f64, ModelError>;
}

/// Next-token prediction: the mean of -log p over the trained tokens.
pub(crate) struct NextToken<'a> {
    decoder: &'a Decoder,
    arena: &'a Arena,
    rows: Vec<&'a Rendered>,
    numbers: Vec<usize>,
    sizes: Vec<RowSize>,
    seed: u64,
}

impl<'a> NextToken<'a> {
    /// An objective over those of `rows` that have a trained token.
    pub fn new(decoder: &'a Decoder, arena: &'a Arena, rows: &'a [Rendered], seed: u64) -> Self {
        let kept = rows.iter().enumerate().filter(|(_, row)| row.trained_tokens() > 0);
        let (numbers, rows): (Vec<usize>, Vec<&Rendered>) = kept.map(|(index, row)| (index + 1, row)).unzip();
        let sizes = rows.iter().map(|row| RowSize { tokens: row.input_ids.len(), trained: row.trained_tokens() }).collect();
        Self { decoder, arena, rows, numbers, sizes, seed }
    }

    /// The rows that are trained.
    pub fn rows(&self) -> &[&'a Rendered] {
        &self.rows
    }
}

impl NextToken<'_> {
    /// Runs forward only, as an evaluation would; the sum of the rows' token losses.
    pub fn look(&self, params: &ParamStore, rows: &[usize]) -> Result<f64, ModelError> {
        let batch = Batch::new(rows.iter().map(|&row| self.rows[row]));
        let mut tape = Tape::inference(params, self.arena);
        Ok(-log_probs(&mut tape, self.decoder, &batch, 0.0)?.iter().map(|&p| f64::from(p)).sum::<f64>())
    }
}

impl Objective for NextToken<'_> {
    fn sizes(&self) -> &[RowSize] {
        &self.sizes
    }

    fn number(&self, row: usize) -> usize {
        self.numbers[row]
    }

    fn accumulate(&mut self, params: &mut ParamStore, rows: &[usize], step: u64, normaliser: u64) -> Result<f64, ModelError> {
        let batch = Batch::new(rows.iter().map(|&row| self.rows[row]));
        // Dropout is keyed by the row's own key, so masks do not depend on how rows are batched.
        let mode = Mode::Training { seed: self.seed, step, tokens: TokenKey::for_rows(&batch.keys, &batch.lengths) };
        let mut tape = Tape::new(params, self.arena, mode);
        let log_probs = log_probs(&mut tape, self.decoder, &batch, 1.0 / normaliser as f32)?;
        tape.backward();
        Ok(-log_probs.iter().map(|&p| f64::from(p)).sum::<f64>())
    }
}

/// Runs the model over a batch: log-probabilities of its trained tokens in order. Rows stay apart, and logits are computed
/// for those tokens only.
fn log_probs(tape: &mut Tape<'_>, decoder: &Decoder, batch: &Batch, weight: f32) -> Result<Vec<f32>, ModelError> {
    let segments = Segments::from_lengths(&batch.lengths);
    let hidden = decoder.forward(tape, &batch.input_ids, &segments, None)?;
    let targets: Vec<Target> =
        batch.targets().iter().map(|target| Target { row: target.position as u32, token: target.token, weight }).collect();
    Ok(tape.cross_entropy(&hidden, decoder.head(), &targets)?)
}

/// The plainest evaluator: loss and perplexity of held-out rows.
pub struct HeldOutLoss<'a> {
    rows: &'a [Rendered],
    batch_size: usize,
}

impl<'a> HeldOutLoss<'a> {
    /// An evaluator of these rows, `batch_size` at a time.
    pub fn new(rows: &'a [Rendered], batch_size: usize) -> Self {
        Self { rows, batch_size: batch_size.max(1) }
    }
}

impl Evaluator for HeldOutLoss<'_> {
    fn evaluate(&mut self, decoder: &Decoder, params: &ParamStore, arena: &Arena) -> Result<BTreeMap<String, f64>, EvaluatorError> {
        let (mut sum, mut tokens) = (0.0, 0u64);
        for rows in self.rows.chunks(self.batch_size) {
            let mut tape = Tape::inference(params, arena);
            let log_probs = log_probs(&mut tape, decoder, &Batch::new(rows), 0.0)?;
            sum -= log_probs.iter().map(|&p| f64::from(p)).sum::<f64>();
            tokens += log_probs.len() as u64;
        }
        if tokens == 0 {
            return Err("the held-out rows have no token to predict".into());
        }
        let loss = sum / tokens as f64;
        Ok(BTreeMap::from([("loss".to_owned(), loss), ("perplexity".to_owned(), loss.exp())]))
    }
}
