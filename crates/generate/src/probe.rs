//! The work of reading a prompt and of decoding, without a tokenizer, for callers who time it.
//!
//! The same passes as [`crate::generate`] makes for one sequence, on random tokens.

use crate::decode::PREFILL_TOKENS;
use crate::error::GenerateError;
use engine::rng::Rng;
use engine::{Arena, KvCache, ParamStore, Segments, Tape, arg_max};
use model::Decoder;

/// One sequence with its cache.
pub struct Probe<'a> {
    decoder: &'a Decoder,
    tape: Tape<'a>,
    cache: KvCache,
    rng: Rng,
    /// The token that the last pass made likeliest.
    next: u32,
}

impl<'a> Probe<'a> {
    /// A probe of a sequence of at most `tokens` tokens (the model's context if that is shorter).
    pub fn new(decoder: &'a Decoder, params: &'a ParamStore, arena: &'a Arena, tokens: usize, seed: u64) -> Self {
        let capacity = tokens.min(decoder.config.max_positions);
        let tape = Tape::inference(params, arena);
        Probe { decoder, tape, cache: decoder.cache(1, capacity), rng: Rng::keyed(seed, &[0]), next: 0 }
    }

    /// Tokens that the sequence has.
    pub fn len(&self) -> usize {
        self.cache.len(0)
    }

    /// True if the sequence has no token.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets the sequence.
    pub fn clear(&mut self) {
        self.cache.truncate(0, 0);
    }

    /// Appends `tokens` random tokens, read together (in pieces, as prompts are), and finds the likeliest next one.
    ///
    /// # Errors
    /// If they do not fit.
    pub fn prefill(&mut self, tokens: usize) -> Result<(), GenerateError> {
        let mut left = tokens;
        while left > 0 {
            let n = left.min(PREFILL_TOKENS);
            left -= n;
            let vocab = self.decoder.config.vocab_size as f64;
            let ids: Vec<u32> = (0..n).map(|_| (self.rng.uniform_f64() * vocab) as u32).collect();
            self.read(&ids, left == 0)?;
        }
        Ok(())
    }

    /// Appends `tokens` tokens, one at a time, each the likeliest after those before.
    ///
    /// # Errors
    /// If they do not fit.
    pub fn decode(&mut self, tokens: usize) -> Result<(), GenerateError> {
        (0..tokens).try_for_each(|_| self.read(&[self.next], true))
    }

    fn read(&mut self, ids: &[u32], wants_next: bool) -> Result<(), GenerateError> {
        let engine = |e: engine::EngineError| GenerateError::Model(e.to_string());
        let segments = Segments::cached(&self.cache, &[(0, ids.len())]).map_err(engine)?;
        let last = [ids.len() as u32 - 1];
        let rows = wants_next.then_some(&last[..]);
        let hidden = self.decoder.forward_rows(&mut self.tape, ids, &segments, Some(&mut self.cache), rows).map_err(engine)?;
        if wants_next {
            let logits = self.tape.logits(&hidden, self.decoder.head()).map_err(engine)?;
            self.next = arg_max(&self.tape.numbers(&logits)) as u32;
        }
        Ok(())
    }
}
