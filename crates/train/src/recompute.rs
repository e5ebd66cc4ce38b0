//! A pass in less memory: between the layers the residual stream is kept, what is inside a layer is computed again when its
//! gradient is due (Chen et al. 2016, *Training Deep Nets with Sublinear Memory Cost*, with one layer a segment).
//!
//! Forward runs twice, by the same kernels on the same numbers and with the same dropout: every gradient has the bits of
//! the plain pass.

use dataset::share::SharedBatch;
use engine::{Arena, Buffer, Mode, ParamStore, Tape, Tensor, TokenKey};
use model::{Decoder, ModelError};

use crate::objective::{Wanted, segments_of};

/// What a pass is over.
pub(crate) struct Pass<'a> {
    pub decoder: &'a Decoder,
    pub arena: &'a Arena,
    pub batch: &'a SharedBatch,
    /// Length that positions are stretched for.
    pub longest: usize,
    /// Keys of dropout.
    pub seed: u64,
    pub step: u64,
    pub tokens: &'a [TokenKey],
}

impl Pass<'_> {
    /// Forward and backward; log-probabilities of the targets in order. `below` is the residual stream before a layer, if the
    /// layers below need not run.
    ///
    /// # Errors
    /// If the model cannot compute the rows.
    pub fn run(&self, params: &mut ParamStore, weight: f32, below: Option<(usize, &[f32])>) -> Result<Vec<f32>, ModelError> {
        let segments = &segments_of(self.batch, self.longest)?;
        let wanted = Wanted::of(self.batch, weight);
        // The last layer's inside is needed at once: it is computed once.
        let last = self.decoder.layers.len().saturating_sub(1);
        let first = below.map_or(self.decoder.untrained_layers(), |(layers, _)| layers).min(last);
        let mut kept = vec![match below {
            Some((_, states)) => self.copied(states),
            None => {
                let mut tape = self.tape(params);
                let x = self.decoder.forward_to(&mut tape, &self.batch.input_ids, segments, None, first)?;
                self.copied(&tape.numbers(&x))
            }
        }];
        for layer in first..last {
            let mut tape = self.tape(params);
            let x = self.constant(&mut tape, &kept[layer - first])?;
            let y = self.decoder.forward_through(&mut tape, x, segments, layer..layer + 1)?;
            let y = self.copied(&tape.numbers(&y));
            kept.push(y);
        }

        // Below the first of these layers a gradient is wanted only by the embedding.
        let embeds = below.is_none() && self.decoder.trains_embedding();
        let asks = |layer: usize| layer > first || embeds;
        let mut tape = self.tape(params);
        let x = self.stream(&mut tape, kept.pop(), asks(last))?;
        let hidden = self.decoder.forward_from(&mut tape, x.clone(), segments, None, last, Some(&wanted.rows))?;
        let log_probs = tape.cross_entropy(&hidden, self.decoder.head(), &wanted.targets)?;
        drop(hidden);
        let mut gradient = tape.backward_to(x);
        for layer in (first..last).rev() {
            let Some(dy) = gradient else { return Ok(log_probs) };
            let mut tape = self.tape(params);
            let x = self.stream(&mut tape, kept.pop(), asks(layer))?;
            let y = self.decoder.forward_through(&mut tape, x.clone(), segments, layer..layer + 1)?;
            tape.seed(&y, &dy)?;
            drop((y, dy));
            gradient = tape.backward_to(x);
        }
        if let Some(dx) = gradient.filter(|_| embeds) {
            let mut tape = self.tape(params);
            let x = self.decoder.forward_to(&mut tape, &self.batch.input_ids, segments, None, 0)?;
            tape.seed(&x, &dx)?;
            tape.backward();
        }
        Ok(log_probs)
    }

    fn tape<'p>(&self, params: &'p mut ParamStore) -> Tape<'p> {
        Tape::new(params, self.arena, Mode::Training { seed: self.seed, step: self.step, tokens: self.tokens.to_vec() })
    }

    fn copied(&self, numbers: &[f32]) -> Buffer {
        let mut copy = self.arena.take(numbers.len());
        copy.copy_from_slice(numbers);
        copy
    }

    fn constant(&self, tape: &mut Tape<'_>, numbers: &[f32]) -> Result<Tensor, ModelError> {
        Ok(tape.input(numbers.len() / self.hidden(), self.hidden(), numbers)?)
    }

    /// The residual stream before a layer, with a gradient if that is `asked` for.
    fn stream(&self, tape: &mut Tape<'_>, numbers: Option<Buffer>, asked: bool) -> Result<Tensor, ModelError> {
        let numbers = numbers.unwrap_or_else(|| self.arena.take(0));
        match asked {
            true => Ok(tape.variable(numbers.len() / self.hidden(), self.hidden(), &numbers)?),
            false => self.constant(tape, &numbers),
        }
    }

    fn hidden(&self) -> usize {
        self.decoder.config.hidden_size
    }
}
