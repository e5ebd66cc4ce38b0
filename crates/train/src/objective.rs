//! What is minimised: the loop asks an [`Objective`] for gradients and knows nothing else of the model.
//!
//! Next-token prediction on rendered rows is the one objective so far; another method (preference pairs, distillation) is
//! another implementation, not another loop.

use std::collections::BTreeMap;
use std::path::Path;

use dataset::Rendered;
use dataset::share::{SharedBatch, SharedTarget, groups};
use engine::{Arena, Mode, ParamStore, Segments, Tape, Target, TokenKey};
use model::{Decoder, ModelError};

use crate::arguments::TrainingArguments;
use crate::observe::{Evaluator, EvaluatorError};
use crate::prefix::{Prefix, PrefixPlace, PrefixPlan};
use crate::recompute::Pass;

/// Size of a row: what the loop needs to order, count and normalise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowSize {
    /// Tokens of the row, each counted however little of it has to be computed.
    pub tokens: usize,
    /// Tokens that are trained.
    pub trained: usize,
}

/// What was done for some rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Done {
    /// Sum of the rows' token losses.
    pub loss: f64,
    /// Tokens that were not computed because another row of the batch begins with the same ones.
    pub shared_tokens: u64,
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
    fn accumulate(&mut self, params: &mut ParamStore, rows: &[usize], step: u64, normaliser: u64) -> Result<Done, ModelError>;

    /// What the user should know of what happened since the last call.
    fn take_notes(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// Next-token prediction: the mean of -log p over the trained tokens.
pub(crate) struct NextToken<'a> {
    decoder: &'a Decoder,
    arena: &'a Arena,
    rows: Vec<&'a Rendered>,
    numbers: Vec<usize>,
    sizes: Vec<RowSize>,
    seed: u64,
    /// Rows that begin alike compute that once.
    share: bool,
    /// Most tokens of one pass forward and backward, unless a row has more.
    pass_tokens: usize,
    /// Insides of layers are computed twice instead of kept.
    recompute: bool,
    prefix: Option<Prefix<'a>>,
    /// The residual stream behind the frozen layers.
    states: Vec<f32>,
}

impl<'a> NextToken<'a> {
    /// An objective over those of `rows` that have a trained token.
    pub fn new(decoder: &'a Decoder, arena: &'a Arena, rows: &'a [Rendered], arguments: &TrainingArguments) -> Self {
        let kept = rows.iter().enumerate().filter(|(_, row)| row.trained_tokens() > 0);
        let (numbers, rows): (Vec<usize>, Vec<&Rendered>) = kept.map(|(index, row)| (index + 1, row)).unzip();
        let sizes = rows.iter().map(|row| RowSize { tokens: row.input_ids.len(), trained: row.trained_tokens() }).collect();
        Self {
            decoder,
            arena,
            rows,
            numbers,
            sizes,
            seed: arguments.seed,
            // Dropout is keyed by the row: with it no two rows are alike.
            share: arguments.share_prefixes && !decoder.drops(),
            pass_tokens: arguments.tokens_per_pass.unwrap_or(PASS_TOKENS),
            recompute: arguments.gradient_checkpointing,
            prefix: None,
            states: Vec::new(),
        }
    }

    /// Most tokens of one pass, unless a row has more.
    pub fn pass_tokens(&self) -> usize {
        self.pass_tokens
    }

    /// Keeps what frozen layers compute; in a file in `dir`, if it is to be the disk, for a model that `identity` names.
    ///
    /// # Errors
    /// If the model cannot compute a row.
    pub fn keep_prefix(mut self, plan: PrefixPlan, dir: &Path, identity: &str, params: &ParamStore) -> Result<Self, ModelError> {
        let prefix = Prefix::new(self.decoder, self.arena, plan.layers, &self.rows);
        self.prefix = Some(match plan.place {
            PrefixPlace::Memory => prefix,
            PrefixPlace::Disk => prefix.on_disk(dir, identity, params)?,
        });
        Ok(self)
    }

    /// Computes the frozen layers as ever but keeps nothing.
    #[cfg(test)]
    pub fn forget_prefix(mut self) -> Self {
        self.prefix = self.prefix.map(Prefix::forgetful);
        self
    }

    /// The rows that are trained.
    pub fn rows(&self) -> &[&'a Rendered] {
        &self.rows
    }

    /// Brings what frozen layers compute for these rows to where it is kept; the tokens that had to be computed for that.
    pub fn prepare(&mut self, params: &ParamStore, rows: &[usize]) -> Result<u64, ModelError> {
        let Some(prefix) = &mut self.prefix else { return Ok(0) };
        let before = prefix.computed();
        for &row in rows {
            let batch = SharedBatch::new(&[self.rows[row]], false);
            prefix.states(params, &batch.forest, &[row], &mut self.states)?;
        }
        Ok(prefix.computed() - before)
    }

    /// Forward and backward for rows that are computed together.
    fn pass(&mut self, params: &mut ParamStore, rows: &[usize], step: u64, weight: f32, longest: usize) -> Result<Done, ModelError> {
        let list: Vec<&Rendered> = rows.iter().map(|&row| self.rows[row]).collect();
        let batch = SharedBatch::new(&list, self.share);
        if let Some(prefix) = &mut self.prefix {
            prefix.states(params, &batch.forest, rows, &mut self.states)?;
        }
        // Dropout is keyed by the row's own key, so masks do not depend on how rows are batched.
        let tokens = if self.share { Vec::new() } else { TokenKey::for_rows(&batch.keys, &batch.lengths) };
        let below = self.prefix.as_ref().map(|prefix| (prefix.layers(), &self.states[..]));
        let log_probs = if self.recompute {
            let (decoder, arena, seed) = (self.decoder, self.arena, self.seed);
            Pass { decoder, arena, batch: &batch, longest, seed, step, tokens: &tokens }.run(params, weight, below)?
        } else {
            let mut tape = Tape::new(params, self.arena, Mode::Training { seed: self.seed, step, tokens });
            let log_probs = log_probs(&mut tape, self.decoder, &batch, weight, longest, below)?;
            tape.backward();
            log_probs
        };
        let loss = -log_probs.iter().zip(&batch.targets).map(|(&p, target)| f64::from(p) * f64::from(target.rows)).sum::<f64>();
        Ok(Done { loss, shared_tokens: batch.spared as u64 })
    }
}

impl NextToken<'_> {
    /// Runs forward only, as an evaluation would; the sum of the rows' token losses.
    pub fn look(&self, params: &ParamStore, rows: &[usize]) -> Result<f64, ModelError> {
        Ok(loss_of(self.decoder, params, self.arena, &rows.iter().map(|&row| self.rows[row]).collect::<Vec<_>>())?.0)
    }
}

impl Objective for NextToken<'_> {
    fn sizes(&self) -> &[RowSize] {
        &self.sizes
    }

    fn number(&self, row: usize) -> usize {
        self.numbers[row]
    }

    fn accumulate(&mut self, params: &mut ParamStore, rows: &[usize], step: u64, normaliser: u64) -> Result<Done, ModelError> {
        let list: Vec<&Rendered> = rows.iter().map(|&row| self.rows[row]).collect();
        let longest = list.iter().map(|row| row.input_ids.len()).max().unwrap_or(0);
        let mut done = Done::default();
        for group in groups(&list, self.share, self.pass_tokens) {
            let group: Vec<usize> = group.into_iter().map(|i| rows[i]).collect();
            let of_group = self.pass(params, &group, step, 1.0 / normaliser as f32, longest)?;
            done.loss += of_group.loss;
            done.shared_tokens += of_group.shared_tokens;
        }
        Ok(done)
    }

    fn take_notes(&mut self) -> Vec<String> {
        self.prefix.as_mut().map(Prefix::take_notes).unwrap_or_default()
    }
}

/// Most tokens of one pass: rows are independent, so a batch may be computed in parts. Each part reads all weights again and, where
/// whole matrices train, adds to all of their gradients again. (SmolLM2-135M, 64 reviews a batch, two cores: from 256 to 4,096 tokens
/// speed differs by no more than it wavers, 10 %; LoRA takes 0.6 GB at 256, 0.9 at 1,024 and 1.4 at 4,096, full fine-tuning 2.9 at
/// 1,024 and 3.4 at 4,096.)
const PASS_TOKENS: usize = 1024;

/// Runs the model over a batch: log-probabilities of its targets in order. Rows stay apart, and logits, and all that only they
/// need of the last layer, are computed for those tokens only. `below` is the residual stream before a layer, if the layers below
/// need not run.
fn log_probs(
    tape: &mut Tape<'_>,
    decoder: &Decoder,
    batch: &SharedBatch,
    weight: f32,
    longest: usize,
    below: Option<(usize, &[f32])>,
) -> Result<Vec<f32>, ModelError> {
    let segments = segments_of(batch, longest)?;
    let wanted = Wanted::of(batch, weight);
    let hidden = match below {
        None => decoder.forward_rows(tape, &batch.input_ids, &segments, None, Some(&wanted.rows))?,
        Some((layers, states)) => {
            let x = tape.input(segments.tokens(), decoder.config.hidden_size, states)?;
            decoder.forward_from(tape, x, &segments, None, layers, Some(&wanted.rows))?
        }
    };
    Ok(tape.cross_entropy(&hidden, decoder.head(), &wanted.targets)?)
}

/// How the rows of a batch lie; positions are stretched for `longest` tokens.
pub(crate) fn segments_of(batch: &SharedBatch, longest: usize) -> engine::Result<Segments> {
    Ok(Segments::tree(&batch.forest.parts())?.reaching(longest))
}

/// What of a batch reaches the head.
pub(crate) struct Wanted {
    /// Rows of the residual stream.
    pub rows: Vec<u32>,
    /// What is predicted there.
    pub targets: Vec<Target>,
}

impl Wanted {
    pub fn of(batch: &SharedBatch, weight: f32) -> Self {
        let (rows, places) = batch.wanted();
        let target = |(target, &row): (&SharedTarget, &u32)| Target { row, token: target.token, weight: weight * target.rows as f32 };
        Self { rows, targets: batch.targets.iter().zip(&places).map(target).collect() }
    }
}

/// Sum of the rows' token losses, and their number, forward only.
fn loss_of(decoder: &Decoder, params: &ParamStore, arena: &Arena, rows: &[&Rendered]) -> Result<(f64, u64), ModelError> {
    let batch = SharedBatch::new(rows, true);
    let mut tape = Tape::inference(params, arena);
    let log_probs = log_probs(&mut tape, decoder, &batch, 0.0, batch.longest, None)?;
    let rows = || batch.targets.iter().map(|target| target.rows);
    let loss = -log_probs.iter().zip(rows()).map(|(&p, rows)| f64::from(p) * f64::from(rows)).sum::<f64>();
    Ok((loss, rows().map(u64::from).sum()))
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
            let (loss, predicted) = loss_of(decoder, params, arena, &rows.iter().collect::<Vec<_>>())?;
            sum += loss;
            tokens += predicted;
        }
        if tokens == 0 {
            return Err("the held-out rows have no token to predict".into());
        }
        let loss = sum / tokens as f64;
        Ok(BTreeMap::from([("loss".to_owned(), loss), ("perplexity".to_owned(), loss.exp())]))
    }
}
