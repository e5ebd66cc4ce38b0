//! `tunesmith bench train-step`: forward, backward and AdamW on random tokens.

use std::fmt::Write;

use dataset::Rendered;
use engine::{Arena, ComputeDtype};
use serde::Serialize;
use train::{Stepper, TrainingArguments};

use super::work::{self, Rows};
use super::{Method, Peak, Subject, at_least_one, check_context, check_memory, median_ms, peak, peak_rss_mb, random_row, timed};
use crate::environment::Environment;
use crate::error::{Result, StageError};
use crate::human;
use crate::progress::{Progress, Unit};

/// Steps are small enough that random weights stay finite for as long as anybody measures.
const LEARNING_RATE: f64 = 1e-4;

/// What to time.
#[derive(Clone, Debug)]
pub struct TrainStepJob {
    /// The model.
    pub subject: Subject,
    /// What trains.
    pub method: Method,
    /// LoRA's rank.
    pub rank: usize,
    /// Rows of a step.
    pub batch: usize,
    /// Tokens of a row.
    pub seq: usize,
    /// What products are computed in.
    pub dtype: ComputeDtype,
    /// Steps that are timed; one more before them is not.
    pub steps: usize,
    /// Train only so many tokens at the end of each row; `None` trains every position.
    pub completion: Option<usize>,
    /// Time later epochs, in which the frozen layers below the first trainable one come from the cache.
    pub cached: bool,
    /// Compute the insides of layers twice instead of keeping them.
    pub gradient_checkpointing: bool,
    /// Measure the machine's peaks afterwards.
    pub peak: bool,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct TrainStep {
    /// The model.
    pub model: String,
    /// Its parameters.
    pub parameters: u64,
    /// Those that train.
    pub trainable: u64,
    /// What trained.
    pub method: Method,
    /// Rows of a step.
    pub batch: usize,
    /// Tokens of a row.
    pub seq: usize,
    /// Predictions of a row that counted.
    pub trained_tokens_per_row: usize,
    /// What products were computed in.
    #[serde(serialize_with = "super::dtype_name")]
    pub dtype: ComputeDtype,
    /// Worker threads.
    pub threads: usize,
    /// Whether frozen layers came from the cache.
    pub cached: bool,
    /// Whether the insides of layers were computed twice.
    pub gradient_checkpointing: bool,
    /// Steps that were timed.
    pub steps: usize,
    /// Median milliseconds of a step.
    pub ms_per_step: f64,
    /// The fastest.
    pub ms_min: f64,
    /// The slowest.
    pub ms_max: f64,
    /// Tokens of a step / its median time.
    pub tokens_per_s: f64,
    /// Most memory that the process held, from its start to the end of the last step, in MiB.
    pub peak_rss_mb: u64,
    /// Of that, buffers for activations, in MiB.
    pub activations_mb: u64,
    /// Arithmetic that a step needs, 10^9 operations; what is computed a second time does not count.
    pub gflop: f64,
    /// `gflop` a second.
    pub gflops: f64,
    /// What the machine can do, unless that was not to be measured.
    pub peak: Option<Peak>,
    /// `gflops / peak.gflops`.
    pub fraction_of_peak: Option<f64>,
    /// Mean loss of the last step: a sign that something was computed.
    pub loss: f64,
}

/// Times training steps.
///
/// # Errors
/// Sizes of zero, a row longer than the model's context, `cached` where nothing below is frozen; a model that cannot be had.
pub fn train_step(environment: &Environment, job: &TrainStepJob, progress: &mut dyn Progress) -> Result<TrainStep> {
    let (batch, seq) = (job.batch, job.seq);
    at_least_one(&[("--batch", batch), ("--steps", job.steps), ("--rank", job.rank), ("--completion-only", job.completion.unwrap_or(1))])?;
    if seq < 2 {
        return Err(StageError::input(format!("--seq {seq}: a row needs two tokens, one to predict the other")));
    }
    if job.cached && !matches!(job.method, Method::Last(_)) {
        return Err(StageError::input("--cached needs frozen layers below the first trainable one: --method last5, for example"));
    }
    if job.dtype == ComputeDtype::Native {
        return Err(StageError::input("--dtype native: a file's own groups are for running a model; train in int8, bf16 or f32"));
    }
    if job.dtype == ComputeDtype::Int8 && job.method == Method::Full {
        return Err(StageError::input("--dtype int8 is for frozen weights, and --method full trains all: choose lora or last5, or bf16"));
    }
    let steps = job.steps.saturating_add(1);
    // Ids and labels.
    check_memory("the rows of all steps (--batch, --seq, --steps)", [steps, batch, seq, 2 * size_of::<u32>()])?;
    let trains_weights = job.method != Method::Lora;
    let mut decoder = job.subject.build(environment, job.dtype, trains_weights, progress)?;
    check_context(&decoder, "--seq", seq)?;
    let mut prepared = train::prepare(&mut decoder, &job.method.arguments(job.rank), None, 0)?;
    decoder.pack(job.dtype)?;
    let vocab = decoder.config.vocab_size;

    // Every step has rows of its own, as in an epoch.
    let rows: Vec<Rendered> = (0..steps * batch).map(|i| random_row(vocab, seq, job.completion, i as u64)).collect();
    let wanted = rows.first().map_or(0, Rendered::trained_tokens);
    let arena = Arena::new();
    let mut seconds = Vec::new();
    let mut loss = f64::NAN;
    {
        let arguments = TrainingArguments { gradient_checkpointing: job.gradient_checkpointing, ..TrainingArguments::default() };
        let mut stepper = Stepper::new(&decoder, &prepared.params, &arena, &rows, &arguments, job.cached)?;
        progress.begin("train", Some(steps as u64), 0, Unit::Rows);
        for step in 0..steps {
            if progress.cancelled() {
                progress.end();
                return Err(StageError::Stopped { help: None });
            }
            let of_step: Vec<usize> = (step * batch..(step + 1) * batch).collect();
            let (now, took) = timed(|| Ok(stepper.step(&mut prepared.params, &of_step, LEARNING_RATE)?))?;
            loss = now;
            // The first step of a process meets cold caches and new memory.
            if step > 0 {
                seconds.push(took);
            }
            progress.advance(1);
        }
        progress.end();
    }
    let (peak_rss_mb, activations) = (peak_rss_mb(), arena.stats().bytes_peak as u64);
    let gflop = work::train_step(&decoder, &prepared.params, Rows { batch, seq, wanted }, job.cached) / 1e9;
    let peak = job.peak.then(|| peak(job.dtype));
    let ms_per_step = median_ms(&mut seconds);
    let gflops = gflop / ms_per_step * 1e3;
    Ok(TrainStep {
        model: job.subject.to_string(),
        parameters: decoder.parameters() as u64,
        trainable: prepared.params.numel() as u64,
        method: job.method,
        batch,
        seq,
        trained_tokens_per_row: wanted,
        dtype: job.dtype,
        threads: kernels::cpu::threads(),
        cached: job.cached,
        gradient_checkpointing: job.gradient_checkpointing,
        steps: job.steps,
        ms_per_step,
        ms_min: seconds.first().map_or(f64::NAN, |s| s * 1e3),
        ms_max: seconds.last().map_or(f64::NAN, |s| s * 1e3),
        tokens_per_s: (batch * seq) as f64 / ms_per_step * 1e3,
        peak_rss_mb,
        activations_mb: crate::environment::mebibytes(activations),
        gflop,
        gflops,
        peak,
        fraction_of_peak: peak.map(|peak| gflops / peak.gflops),
        loss,
    })
}

impl TrainStep {
    /// As a person reads it.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        let trained = if self.trained_tokens_per_row + 1 == self.seq {
            "every position".to_owned()
        } else {
            format!("the last {} tokens of each row", self.trained_tokens_per_row)
        };
        let cached = if self.cached { ", frozen layers from the cache" } else { "" };
        let twice = if self.gradient_checkpointing { ", layers computed twice" } else { "" };
        let _ = writeln!(
            out,
            "{}: {} [{} x {}] in {}, {} threads, loss on {trained}{cached}{twice}",
            self.model,
            self.method,
            self.batch,
            self.seq,
            self.dtype.name(),
            self.threads
        );
        let _ = writeln!(out, "parameters  {}, {} trainable", human::count(self.parameters), human::count(self.trainable));
        let _ =
            writeln!(out, "step        {:.1} ms (median of {}; {:.1} to {:.1})", self.ms_per_step, self.steps, self.ms_min, self.ms_max);
        let _ = writeln!(out, "rate        {:.0} tokens/s", self.tokens_per_s);
        let _ = writeln!(out, "memory      {} MiB at most, {} of them activations", self.peak_rss_mb, self.activations_mb);
        let _ = write!(out, "arithmetic  {:.1} GFLOP a step, {:.0} GFLOP/s", self.gflop, self.gflops);
        if let (Some(fraction), Some(peak)) = (self.fraction_of_peak, self.peak) {
            let _ = write!(out, ": {:.0}% of the {:.0} that this machine can do in {}", 100.0 * fraction, peak.gflops, self.dtype.name());
        }
        out
    }
}
