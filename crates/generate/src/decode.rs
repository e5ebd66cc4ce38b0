//! Decoding of a batch of prompts, token by token, with a key/value cache.
//!
//! A prompt is read in pieces of at most [`PREFILL_TOKENS`] tokens (several short prompts share a piece, laid end to
//! end), then every running sequence advances by one token per step; those that are finished leave the batch. The
//! output head is applied to the last position of each sequence and nowhere else.

use crate::error::GenerateError;
use crate::params::SamplingParams;
use crate::sample;
use crate::stop::StopMatcher;
use engine::rng::Rng;
use engine::{Arena, KvCache, ParamStore, Segments, Tape, Tensor};
use model::Decoder;
use serde::Serialize;
use std::ops::ControlFlow;
use text::{DecodeStream, Tokenizer};

/// Tokens of prompts that are read in one pass: enough to keep the matrix products at full speed, few enough to
/// keep the activations of a long prompt small.
pub const PREFILL_TOKENS: usize = 1024;

/// Prompts that decode together; more of them follow in batches. Bounds the memory of the cache, and beyond it a step
/// gains little: the weights are read once for all of them.
pub const MOST_TOGETHER: usize = 16;

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FinishReason {
    /// The model ended the text itself (end-of-sequence token) or a stop string appeared.
    Stop,
    /// `max_new_tokens` or the context window was reached.
    Length,
    /// The caller asked to stop.
    Cancelled,
}

/// A text to continue.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prompt {
    /// The exact text, shown in the result.
    pub text: String,
    /// Its tokens, as the renderer made them.
    pub ids: Vec<u32>,
    /// Names the random stream: prompts with the same stream and seed see the same random numbers. Use the row's
    /// number, so that equal prompts in a file may differ and a row's text does not depend on its batch.
    pub stream: u64,
}

/// One finished text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Generation {
    /// The prompt's text.
    pub prompt: String,
    /// What the model wrote, without end-of-sequence token and stop string.
    pub text: String,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Sum of the natural log-probabilities of all tokens chosen, the end-of-sequence token included, under the
    /// model itself (before temperature, penalty and filters).
    pub logprob: f64,
    /// The tokens chosen, the end-of-sequence token included.
    #[serde(skip)]
    pub tokens: Vec<u32>,
}

/// What happens while a batch decodes.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<'a> {
    /// More text of a prompt is certain.
    Text {
        /// Position of the prompt in the request.
        index: usize,
        /// The new piece: whole characters, never part of a stop string.
        piece: &'a str,
    },
    /// A prompt is finished.
    Done {
        /// Position of the prompt in the request.
        index: usize,
        /// Its result.
        generation: &'a Generation,
    },
}

/// Called with each [`Event`]; breaking ends all sequences that still run with [`FinishReason::Cancelled`].
pub type OnEvent<'a> = dyn FnMut(Event<'_>) -> ControlFlow<()> + 'a;

/// Continues every prompt and returns the texts in the order of the prompts, [`MOST_TOGETHER`] at a time. After a break
/// the prompts that were never begun come back empty, without an event.
///
/// # Errors
/// Settings out of range, empty or too long prompts, ids outside the vocabulary, a model that gives NaN.
pub fn generate(
    decoder: &Decoder,
    params: &ParamStore,
    arena: &Arena,
    tokenizer: &Tokenizer,
    prompts: &[Prompt],
    sampling: &SamplingParams,
    on_event: &mut OnEvent<'_>,
) -> Result<Vec<Generation>, GenerateError> {
    sampling.validate()?;
    let context = decoder.config.max_positions;
    check_prompts(decoder, prompts, context)?;
    let model = Model { decoder, params, arena, tokenizer };
    let mut results = Vec::with_capacity(prompts.len());
    let mut cancelled = false;
    for batch in prompts.chunks(MOST_TOGETHER) {
        let first = results.len();
        let mut on_event = |event: Event<'_>| {
            let flow = on_event(match event {
                Event::Text { index, piece } => Event::Text { index: first + index, piece },
                Event::Done { index, generation } => Event::Done { index: first + index, generation },
            });
            cancelled |= flow.is_break();
            flow
        };
        let longest = batch.iter().map(|p| p.ids.len()).max().unwrap_or(0);
        let mut cache = decoder.cache(batch.len(), context.min(longest.saturating_add(sampling.max_new_tokens)));
        results.extend(run(model, &mut cache, &vec![0; batch.len()], batch, sampling, &mut on_event)?);
        if cancelled {
            break;
        }
    }
    // Prompts that were never begun.
    for p in &prompts[results.len()..] {
        let prompt = p.text.clone();
        results.push(Generation { prompt, text: String::new(), finish_reason: FinishReason::Cancelled, logprob: 0.0, tokens: Vec::new() });
    }
    Ok(results)
}

/// What a run reads and never changes.
#[derive(Clone, Copy)]
pub(crate) struct Model<'a> {
    pub decoder: &'a Decoder,
    pub params: &'a ParamStore,
    pub arena: &'a Arena,
    pub tokenizer: &'a Tokenizer,
}

/// Refuses prompts that cannot be read, or after which no token would fit into `context`.
pub(crate) fn check_prompts(decoder: &Decoder, prompts: &[Prompt], context: usize) -> Result<(), GenerateError> {
    for (index, p) in prompts.iter().enumerate() {
        let (tokens, vocab) = (p.ids.len(), decoder.config.vocab_size);
        if tokens == 0 {
            return Err(GenerateError::EmptyPrompt { index });
        }
        if tokens >= context {
            return Err(GenerateError::PromptTooLong { index, tokens, context });
        }
        if let Some(&id) = p.ids.iter().find(|&&id| id as usize >= vocab) {
            return Err(GenerateError::UnknownToken { index, id, vocab });
        }
    }
    Ok(())
}

/// Decodes prompts that were checked; the first `cached[i]` tokens of prompt i are in slot i already (fewer than it
/// has). Afterwards slot i holds the prompt and every chosen token but the last.
pub(crate) fn run(
    model: Model<'_>,
    cache: &mut KvCache,
    cached: &[usize],
    prompts: &[Prompt],
    sampling: &SamplingParams,
    on_event: &mut OnEvent<'_>,
) -> Result<Vec<Generation>, GenerateError> {
    sampling.validate()?;
    let sequences = prompts.iter().map(|p| Sequence::start(model.tokenizer, p, sampling)).collect::<Result<_, _>>()?;
    let tape = Tape::inference(model.params, model.arena);
    let mut run = Run { model, tape, cache, prompts, sampling, sequences, cancelled: false, on_event };
    run.read_prompts(cached)?;
    run.settle();
    while run.step()? {
        run.settle();
    }
    Ok(run.sequences.into_iter().filter_map(|s| s.done).collect())
}

/// One sequence on its way. Sequence i lives in slot i of the cache.
struct Sequence<'t> {
    /// Prompt and chosen tokens.
    seen: Vec<u32>,
    prompt_len: usize,
    stream: Option<DecodeStream<'t>>,
    stops: StopMatcher,
    text: String,
    logprob: f64,
    /// Set when the last token is chosen; the result follows in [`Run::settle`].
    reason: Option<FinishReason>,
    done: Option<Generation>,
}

impl<'t> Sequence<'t> {
    fn start(tokenizer: &'t Tokenizer, prompt: &Prompt, sampling: &SamplingParams) -> Result<Self, GenerateError> {
        // The stream reads the prompt too, so that the text continues it exactly: a vocabulary that drops the space
        // at the start of a text must not drop the one between prompt and continuation.
        let mut stream = tokenizer.decode_stream(true);
        for &id in &prompt.ids {
            stream.push(id).map_err(|e| GenerateError::Tokenizer(e.to_string()))?;
        }
        Ok(Self {
            seen: prompt.ids.clone(),
            prompt_len: prompt.ids.len(),
            stream: Some(stream),
            stops: StopMatcher::new(&sampling.stop),
            text: String::new(),
            logprob: 0.0,
            reason: None,
            done: None,
        })
    }
}

/// A part of a prompt that is read in one pass.
struct Piece {
    index: usize,
    from: usize,
    to: usize,
}

/// Cuts what is not cached yet into pieces and gathers them into passes. A prompt is cut at multiples of
/// [`PREFILL_TOKENS`] of its own, never where its neighbours happen to end.
fn passes(cached: &[usize], prompts: &[Prompt]) -> Vec<Vec<Piece>> {
    let mut passes: Vec<Vec<Piece>> = Vec::new();
    let mut filled = 0;
    for (index, prompt) in prompts.iter().enumerate() {
        let mut from = cached[index];
        while from < prompt.ids.len() {
            let to = prompt.ids.len().min(from + PREFILL_TOKENS);
            let piece = Piece { index, from, to };
            match passes.last_mut() {
                // Pieces of one prompt follow each other and cannot share a pass.
                Some(pass) if filled + to - from <= PREFILL_TOKENS && pass.iter().all(|p| p.index != index) => {
                    filled += to - from;
                    pass.push(piece);
                }
                _ => {
                    filled = to - from;
                    passes.push(vec![piece]);
                }
            }
            from = to;
        }
    }
    passes
}

/// The state of [`run`].
struct Run<'r, 'e> {
    model: Model<'r>,
    tape: Tape<'r>,
    cache: &'r mut KvCache,
    prompts: &'r [Prompt],
    sampling: &'r SamplingParams,
    sequences: Vec<Sequence<'r>>,
    cancelled: bool,
    on_event: &'r mut OnEvent<'e>,
}

impl Run<'_, '_> {
    /// Reads all prompts and chooses the first token of each.
    fn read_prompts(&mut self, cached: &[usize]) -> Result<(), GenerateError> {
        for pass in passes(cached, self.prompts) {
            let ids: Vec<u32> = pass.iter().flat_map(|p| &self.prompts[p.index].ids[p.from..p.to]).copied().collect();
            let parts: Vec<(usize, usize)> = pass.iter().map(|p| (p.index, p.to - p.from)).collect();
            // Only the piece that ends a prompt has a next token.
            let mut row = 0;
            let (mut rows, mut whose) = (Vec::new(), Vec::new());
            for p in &pass {
                row += p.to - p.from;
                if p.to == self.prompts[p.index].ids.len() {
                    rows.push(row as u32 - 1);
                    whose.push(p.index);
                }
            }
            let last = self.forward(&ids, &parts, Some(&rows))?;
            if !rows.is_empty() {
                self.choose(&last, &whose)?;
            }
        }
        Ok(())
    }

    /// Reads the newest token of every running sequence and chooses the next; false if none runs.
    fn step(&mut self) -> Result<bool, GenerateError> {
        let running: Vec<usize> = (0..self.sequences.len()).filter(|&i| self.sequences[i].reason.is_none()).collect();
        if running.is_empty() {
            return Ok(false);
        }
        let ids: Vec<u32> = running.iter().filter_map(|&i| self.sequences[i].seen.last().copied()).collect();
        let parts: Vec<(usize, usize)> = running.iter().map(|&i| (i, 1)).collect();
        let hidden = self.forward(&ids, &parts, None)?;
        self.choose(&hidden, &running)?;
        Ok(true)
    }

    /// Hidden states of new tokens, `(slot, how many)` in `parts`; of `rows` of them only.
    fn forward(&mut self, ids: &[u32], parts: &[(usize, usize)], rows: Option<&[u32]>) -> Result<Tensor, GenerateError> {
        let segments = Segments::cached(self.cache, parts).map_err(engine)?;
        let decoder = self.model.decoder;
        decoder.forward_rows(&mut self.tape, ids, &segments, Some(self.cache), rows).map_err(|e| GenerateError::Model(e.to_string()))
    }

    /// Chooses one token for each sequence in `whose` from its row of `hidden`.
    fn choose(&mut self, hidden: &Tensor, whose: &[usize]) -> Result<(), GenerateError> {
        let logits = self.tape.logits(hidden, self.model.decoder.head()).map_err(engine)?;
        let mut choices = Vec::with_capacity(whose.len());
        {
            let rows = self.tape.numbers(&logits);
            for (&i, row) in whose.iter().zip(rows.chunks_exact(logits.cols())) {
                let s = &self.sequences[i];
                let uniform = if self.sampling.is_greedy() {
                    0.0
                } else {
                    let chosen = (s.seen.len() - s.prompt_len) as u64;
                    Rng::keyed(self.sampling.seed, &[STREAM, self.prompts[i].stream, chosen]).uniform_f64()
                };
                let choice = sample::choose(row, &s.seen, self.sampling, uniform);
                choices.push((i, choice.ok_or(GenerateError::NonFinite { position: s.seen.len() })?));
            }
        }
        for (i, choice) in choices {
            self.take(i, choice)?;
        }
        Ok(())
    }

    /// Adds a chosen token to its sequence and sends the text that became certain.
    fn take(&mut self, index: usize, choice: sample::Choice) -> Result<(), GenerateError> {
        let s = &mut self.sequences[index];
        s.seen.push(choice.token);
        s.logprob += choice.logprob;
        if self.model.tokenizer.eos_ids().contains(&choice.token) {
            s.reason = Some(FinishReason::Stop);
            return Ok(());
        }
        let piece = match &mut s.stream {
            Some(stream) => stream.push(choice.token).map_err(|e| GenerateError::Tokenizer(e.to_string()))?,
            None => String::new(),
        };
        let certain = s.stops.push(&piece);
        if s.stops.matched().is_some() {
            s.reason = Some(FinishReason::Stop);
        } else if s.seen.len() - s.prompt_len >= self.sampling.max_new_tokens || s.seen.len() > self.cache.capacity() {
            // Another token could only follow if there were room to read this one.
            s.reason = Some(FinishReason::Length);
        }
        self.send(index, &certain);
        Ok(())
    }

    /// Hands out a piece of text.
    fn send(&mut self, index: usize, piece: &str) {
        if !piece.is_empty() {
            self.sequences[index].text.push_str(piece);
            self.cancelled |= (self.on_event)(Event::Text { index, piece }).is_break();
        }
    }

    /// Finishes the sequences that have chosen their last token; all of them once the caller has asked to stop.
    fn settle(&mut self) {
        for index in 0..self.sequences.len() {
            let s = &mut self.sequences[index];
            if s.reason.is_none() && self.cancelled {
                s.reason = Some(FinishReason::Cancelled);
            }
            if s.reason.is_none() || s.done.is_some() {
                continue;
            }
            // What was held back as a half character or the beginning of a stop string that never came.
            let rest = s.stream.take().map(|stream| stream.finish()).unwrap_or_default();
            let mut tail = s.stops.push(&rest);
            tail += &s.stops.finish();
            if s.stops.matched().is_some() {
                s.reason = Some(FinishReason::Stop);
            }
            self.send(index, &tail);
            let s = &mut self.sequences[index];
            let generation = Generation {
                prompt: self.prompts[index].text.clone(),
                text: std::mem::take(&mut s.text),
                finish_reason: s.reason.unwrap_or(FinishReason::Cancelled),
                logprob: s.logprob,
                tokens: s.seen[s.prompt_len..].to_vec(),
            };
            let generation = s.done.insert(generation);
            self.cancelled |= (self.on_event)(Event::Done { index, generation }).is_break();
        }
        // A break while finishing ends those that come before it in the list as well.
        if self.cancelled && self.sequences.iter().any(|s| s.reason.is_none()) {
            self.settle();
        }
    }
}

/// Keeps these draws apart from every other use of the same seed ("text" in ASCII).
const STREAM: u64 = 0x7465_7874;

fn engine(e: engine::EngineError) -> GenerateError {
    GenerateError::Model(e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(n: usize) -> Prompt {
        Prompt { ids: vec![0; n], ..Default::default() }
    }

    #[test]
    fn prompts_are_cut_at_multiples_of_their_own() {
        let prompts = [prompt(10), prompt(2500), prompt(20), prompt(5)];
        let got: Vec<Vec<(usize, usize, usize)>> =
            passes(&[0, 0, 0, 4], &prompts).iter().map(|p| p.iter().map(|x| (x.index, x.from, x.to)).collect()).collect();
        assert_eq!(got, [vec![(0, 0, 10)], vec![(1, 0, 1024)], vec![(1, 1024, 2048)], vec![(1, 2048, 2500), (2, 0, 20), (3, 4, 5)]]);
    }
}
