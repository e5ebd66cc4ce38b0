//! `tunesmith bench prefill` and `decode`: reading a prompt, and writing token after token.

use std::fmt::Write;

use engine::{Arena, ComputeDtype, ParamStore, Segments, Tape};
use model::Decoder;
use serde::Serialize;

use super::{Peak, Subject, at_least_one, check_context, check_memory, median_ms, peak, peak_rss_mb, random_ids, timed, work};
use crate::doctor;
use crate::environment::Environment;
use crate::error::{Result, StageError};
use crate::progress::{Progress, Unit};

/// What to time of reading.
#[derive(Clone, Debug)]
pub struct PrefillJob {
    /// The model.
    pub subject: Subject,
    /// Tokens of the prompt.
    pub tokens: usize,
    /// Prompts that are read together.
    pub batch: usize,
    /// What products are computed in; `None` is what [`open`](crate::open()) would choose: a file's own groups if it has some, else
    /// the processor's fastest.
    pub dtype: Option<ComputeDtype>,
    /// Repetitions that are timed; one more before them is not.
    pub repeats: usize,
    /// Measure the machine's peaks afterwards.
    pub peak: bool,
}

/// What was measured of reading.
#[derive(Clone, Debug, Serialize)]
pub struct Prefill {
    /// The model.
    pub model: String,
    /// Its parameters.
    pub parameters: u64,
    /// Tokens of the prompt.
    pub tokens: usize,
    /// Prompts that were read together.
    pub batch: usize,
    /// What products were computed in.
    #[serde(serialize_with = "super::dtype_name")]
    pub dtype: ComputeDtype,
    /// Worker threads.
    pub threads: usize,
    /// Repetitions that were timed.
    pub repeats: usize,
    /// Median milliseconds until each prompt's next token is predicted.
    pub ms: f64,
    /// Tokens of all prompts / the median time.
    pub tokens_per_s: f64,
    /// Most memory that the process held, from its start to the end of the last repetition, in MiB.
    pub peak_rss_mb: u64,
    /// Arithmetic that it needs, 10^9 operations.
    pub gflop: f64,
    /// `gflop` a second.
    pub gflops: f64,
    /// What the machine can do, unless that was not to be measured.
    pub peak: Option<Peak>,
    /// `gflops / peak.gflops`.
    pub fraction_of_peak: Option<f64>,
}

/// What to time of writing.
#[derive(Clone, Debug)]
pub struct DecodeJob {
    /// The model.
    pub subject: Subject,
    /// Tokens that are written.
    pub tokens: usize,
    /// Tokens that were read before.
    pub context: usize,
    /// Sequences that are written together.
    pub batch: usize,
    /// What products are computed in; `None` is what [`open`](crate::open()) would choose: a file's own groups if it has some, else
    /// the processor's fastest.
    pub dtype: Option<ComputeDtype>,
    /// Repetitions that are timed; one more before them is not.
    pub repeats: usize,
    /// Measure the machine's peaks afterwards.
    pub peak: bool,
}

/// What was measured of writing.
#[derive(Clone, Debug, Serialize)]
pub struct Decode {
    /// The model.
    pub model: String,
    /// Its parameters.
    pub parameters: u64,
    /// Tokens that were written by each sequence.
    pub tokens: usize,
    /// Tokens that were read before.
    pub context: usize,
    /// Sequences that were written together.
    pub batch: usize,
    /// What products were computed in.
    #[serde(serialize_with = "super::dtype_name")]
    pub dtype: ComputeDtype,
    /// Worker threads.
    pub threads: usize,
    /// Repetitions that were timed.
    pub repeats: usize,
    /// Median milliseconds of a token of every sequence.
    pub ms_per_token: f64,
    /// Tokens of all sequences a second.
    pub tokens_per_s: f64,
    /// Most memory that the process held, from its start to the end of the last repetition, in MiB.
    pub peak_rss_mb: u64,
    /// Weights that each token reads, 10^9 bytes.
    pub weights_gb: f64,
    /// `weights_gb` a second.
    pub read_gb_per_second: f64,
    /// What the machine can do, unless that was not to be measured.
    pub peak: Option<Peak>,
    /// `read_gb_per_second / peak.read_gb_per_second`.
    pub fraction_of_read: Option<f64>,
    /// Reading these very weights and nothing else, 10^9 bytes a second: where in memory they lie decides, too.
    pub weights_read_gb_per_second: Option<f64>,
}

/// Times the reading of a prompt.
///
/// # Errors
/// Sizes of zero or beyond the context; a model that cannot be had.
pub fn prefill(environment: &Environment, job: &PrefillJob, progress: &mut dyn Progress) -> Result<Prefill> {
    at_least_one(&[("--tokens", job.tokens), ("--repeats", job.repeats), ("--batch", job.batch)])?;
    let (decoder, dtype) = job.subject.to_run(environment, job.dtype, progress)?;
    let (params, arena) = (ParamStore::new(), Arena::new());
    check_context(&decoder, "--tokens", job.tokens)?;
    check_cache(&decoder, job.batch, job.tokens)?;
    let prompts: Vec<Vec<u32>> = (0..job.batch).map(|i| random_ids(decoder.config.vocab_size, job.tokens, i as u64)).collect();
    let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    let mut seconds = repeat(job.repeats, progress, "read", || {
        let mut reader = Reader::new(&decoder, &params, &arena, job.batch, job.tokens);
        timed(|| reader.read(&prompts)).map(|(_, took)| took)
    })?;
    let peak_rss_mb = peak_rss_mb();
    let ms = median_ms(&mut seconds);
    let gflop = job.batch as f64 * work::prefill(&decoder, &params, job.tokens) / 1e9;
    let (gflops, peak) = (gflop / ms * 1e3, job.peak.then(|| peak(dtype)));
    Ok(Prefill {
        model: job.subject.to_string(),
        parameters: decoder.parameters() as u64,
        tokens: job.tokens,
        batch: job.batch,
        dtype,
        threads: kernels::cpu::threads(),
        repeats: job.repeats,
        ms,
        tokens_per_s: (job.batch * job.tokens) as f64 / ms * 1e3,
        peak_rss_mb,
        gflop,
        gflops,
        peak,
        fraction_of_peak: peak.map(|peak| gflops / peak.gflops),
    })
}

/// Times the writing of tokens.
///
/// # Errors
/// Sizes of zero or beyond the context; a model that cannot be had.
pub fn decode(environment: &Environment, job: &DecodeJob, progress: &mut dyn Progress) -> Result<Decode> {
    at_least_one(&[("--tokens", job.tokens), ("--repeats", job.repeats), ("--batch", job.batch)])?;
    let (decoder, dtype) = job.subject.to_run(environment, job.dtype, progress)?;
    let (params, arena) = (ParamStore::new(), Arena::new());
    let length = job.context.saturating_add(job.tokens).saturating_add(1);
    check_context(&decoder, "--context and --tokens together", length)?;
    check_cache(&decoder, job.batch, length)?;
    let vocab = decoder.config.vocab_size;
    let mut seconds = repeat(job.repeats, progress, "write", || {
        let mut reader = Reader::new(&decoder, &params, &arena, job.batch, length);
        // One token at least is there to go on from.
        let prompts: Vec<Vec<u32>> = (0..job.batch).map(|i| random_ids(vocab, job.context.max(1), i as u64)).collect();
        let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
        let mut next = if job.context > 0 { reader.read(&prompts)? } else { prompts.iter().map(|p| p[0]).collect() };
        timed(|| {
            for _ in 0..job.tokens {
                let parts: Vec<&[u32]> = next.chunks(1).collect();
                next = reader.read(&parts)?;
            }
            Ok(())
        })
        .map(|((), took)| took / job.tokens as f64)
    })?;
    let peak_rss_mb = peak_rss_mb();
    let ms = median_ms(&mut seconds);
    let weights_gb = weight_bytes(&decoder) as f64 / 1e9;
    let (read, peak) = (weights_gb / ms * 1e3, job.peak.then(|| peak(dtype)));
    Ok(Decode {
        model: job.subject.to_string(),
        parameters: decoder.parameters() as u64,
        tokens: job.tokens,
        context: job.context,
        batch: job.batch,
        dtype,
        threads: kernels::cpu::threads(),
        repeats: job.repeats,
        ms_per_token: ms,
        tokens_per_s: job.batch as f64 / ms * 1e3,
        peak_rss_mb,
        weights_gb,
        read_gb_per_second: read,
        peak,
        fraction_of_read: peak.map(|peak| read / peak.read_gb_per_second),
        weights_read_gb_per_second: job.peak.then(|| doctor::measure_reading_of(&streams(&decoder))),
    })
}

/// Refuses keys and values that memory cannot hold.
fn check_cache(decoder: &Decoder, batch: usize, length: usize) -> Result<()> {
    let config = &decoder.config;
    check_memory("keys and values of all sequences", [2, config.layers, config.kv_heads * config.head_dim, length, batch, size_of::<f32>()])
}

/// Runs `work` once unseen and then `repeats` times.
fn repeat(repeats: usize, progress: &mut dyn Progress, what: &str, mut work: impl FnMut() -> Result<f64>) -> Result<Vec<f64>> {
    let mut seconds = Vec::with_capacity(repeats);
    progress.begin(what, Some(repeats as u64 + 1), 0, Unit::Rows);
    for i in 0..=repeats {
        if progress.cancelled() {
            progress.end();
            return Err(StageError::Stopped { help: None });
        }
        let took = work()?;
        if i > 0 {
            seconds.push(took);
        }
        progress.advance(1);
    }
    progress.end();
    Ok(seconds)
}

/// A model with a cache, as generation drives it; the likeliest token is taken.
struct Reader<'a> {
    decoder: &'a Decoder,
    params: &'a ParamStore,
    tape: Tape<'a>,
    cache: engine::KvCache,
}

impl<'a> Reader<'a> {
    fn new(decoder: &'a Decoder, params: &'a ParamStore, arena: &Arena, slots: usize, capacity: usize) -> Self {
        Self { decoder, params, tape: Tape::inference(params, arena), cache: decoder.cache(slots, capacity) }
    }

    /// Reads what each sequence goes on with; the likeliest next token of each.
    fn read(&mut self, parts: &[&[u32]]) -> Result<Vec<u32>> {
        let refused = |e: engine::EngineError| StageError::from(model::ModelError::from(e));
        let ids = parts.concat();
        let lengths: Vec<(usize, usize)> = parts.iter().enumerate().map(|(slot, part)| (slot, part.len())).collect();
        let segments = Segments::cached(&self.cache, &lengths).map_err(refused)?;
        let last = segments.last_rows();
        let hidden = self.decoder.forward_rows(&mut self.tape, &ids, &segments, Some(&mut self.cache), Some(&last)).map_err(refused)?;
        let logits = self.tape.logits(&hidden, self.decoder.head()).map_err(refused)?;
        let vocab = self.decoder.head().outputs(self.params);
        Ok(self.tape.numbers(&logits).chunks_exact(vocab).map(|row| engine::arg_max(row) as u32).collect())
    }
}

/// The weights that a token reads, as they lie in memory.
fn streams(decoder: &Decoder) -> Vec<&[u8]> {
    decoder.layers.iter().flat_map(work::linears).chain([&decoder.lm_head]).map(|linear| linear.weight.stream()).collect()
}

/// Bytes of weights that a token has to read: every matrix of the layers and the head; of the embedding a single row, which is
/// nothing.
fn weight_bytes(decoder: &Decoder) -> usize {
    let bytes = |m: &engine::Matrix| match m {
        engine::Matrix::Frozen(frozen) => frozen.bytes(),
        engine::Matrix::Param(_) => 0,
    };
    let layers: usize = decoder.layers.iter().flat_map(work::linears).map(|l| bytes(&l.weight)).sum();
    layers + bytes(&decoder.lm_head.weight)
}

impl Prefill {
    /// As a person reads it.
    pub fn to_text(&self) -> String {
        let mut out = format!("{}: reading {} tokens in {}, {} threads\n", self.model, self.tokens, self.dtype.name(), self.threads);
        let _ = writeln!(out, "time        {:.1} ms (median of {})", self.ms, self.repeats);
        let _ = writeln!(out, "rate        {:.0} tokens/s", self.tokens_per_s);
        let _ = writeln!(out, "memory      {} MiB at most", self.peak_rss_mb);
        let _ = write!(out, "arithmetic  {:.1} GFLOP, {:.0} GFLOP/s", self.gflop, self.gflops);
        if let (Some(fraction), Some(peak)) = (self.fraction_of_peak, self.peak) {
            let _ = write!(out, ": {:.0}% of the {:.0} that this machine can do in {}", 100.0 * fraction, peak.gflops, self.dtype.name());
        }
        out
    }
}

impl Decode {
    /// As a person reads it.
    pub fn to_text(&self) -> String {
        let together = if self.batch > 1 { format!(", {} sequences together", self.batch) } else { String::new() };
        let mut out = format!(
            "{}: writing {} tokens after {} in {}, {} threads{together}\n",
            self.model,
            self.tokens,
            self.context,
            self.dtype.name(),
            self.threads
        );
        let _ = writeln!(out, "time        {:.2} ms a token (median of {})", self.ms_per_token, self.repeats);
        let _ = writeln!(out, "rate        {:.0} tokens/s", self.tokens_per_s);
        let _ = writeln!(out, "memory      {} MiB at most", self.peak_rss_mb);
        let _ = write!(out, "reading     {:.3} GB of weights a token, {:.1} GB/s", self.weights_gb, self.read_gb_per_second);
        if let (Some(fraction), Some(peak)) = (self.fraction_of_read, self.peak) {
            let _ = write!(out, ": {:.0}% of the {:.1} GB/s at which this machine reads memory", 100.0 * fraction, peak.read_gb_per_second);
        }
        if let Some(weights) = self.weights_read_gb_per_second {
            let _ = write!(out, " (these weights and nothing else: {weights:.1} GB/s)");
        }
        out
    }
}
