//! One conversation that keeps its key/value cache between turns: what the model has read already is not read again.

use crate::decode::{self, Event, Generation, Model, OnEvent, Prompt};
use crate::error::GenerateError;
use crate::params::SamplingParams;
use engine::{Arena, KvCache, ParamStore};
use model::Decoder;
use std::ops::ControlFlow;
use text::Tokenizer;

/// A cache with the tokens that it holds.
///
/// Each turn gives the *whole* rendered conversation; the part that agrees with what was read before is reused, the
/// rest is read. So a template that rewrites history (or a user who edits it) costs time and never correctness. The
/// weights must not change between turns; after a change start a new session.
#[derive(Debug)]
pub struct Session {
    cache: KvCache,
    /// The tokens in the cache.
    held: Vec<u32>,
}

impl Session {
    /// A session of at most `context` tokens (the model's own context if that is shorter, or if 0 is given).
    pub fn new(decoder: &Decoder, context: usize) -> Self {
        let most = decoder.config.max_positions;
        let capacity = if context == 0 { most } else { context.min(most) };
        Self { cache: decoder.cache(1, capacity), held: Vec::new() }
    }

    /// Tokens that a conversation may have.
    pub fn capacity(&self) -> usize {
        self.cache.capacity()
    }

    /// Tokens that the cache holds.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Continues the conversation; `on_piece` receives the text as it becomes certain and may break to stop.
    ///
    /// # Errors
    /// As [`crate::generate`]; a conversation longer than [`Self::capacity`] is
    /// [`GenerateError::PromptTooLong`]: drop its oldest turns and call again.
    pub fn reply(
        &mut self,
        decoder: &Decoder,
        params: &ParamStore,
        arena: &Arena,
        tokenizer: &Tokenizer,
        prompt: &Prompt,
        sampling: &SamplingParams,
        on_piece: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Generation, GenerateError> {
        decode::check_prompts(decoder, std::slice::from_ref(prompt), self.capacity())?;
        // The last token is always read again: its hidden state, which predicts the first new token, is not kept.
        let same = self.held.iter().zip(&prompt.ids).take_while(|(a, b)| a == b).count().min(prompt.ids.len() - 1);
        self.cache.truncate(0, same);
        // If the run fails midway, what the slot holds beyond this is unknown: next time it is read again.
        self.held.truncate(same);
        let mut on_event: Box<OnEvent<'_>> = Box::new(|event| match event {
            Event::Text { piece, .. } => on_piece(piece),
            Event::Done { .. } => ControlFlow::Continue(()),
        });
        let model = Model { decoder, params, arena, tokenizer };
        let result = decode::run(model, &mut self.cache, &[same], std::slice::from_ref(prompt), sampling, &mut *on_event);
        let generation = match result {
            Ok(mut one) => one.pop(),
            Err(e) => {
                self.cache.truncate(0, same);
                return Err(e);
            }
        };
        let generation = generation.ok_or(GenerateError::EmptyPrompt { index: 0 })?;
        self.held = prompt.ids.iter().chain(&generation.tokens).copied().take(self.cache.len(0)).collect();
        Ok(generation)
    }
}
