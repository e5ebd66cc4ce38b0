//! How to train: the settings of the loop, under the names of Hugging Face's `TrainingArguments`.
//!
//! A recipe composes [`TrainingArguments`] with the other groups of settings; the JSON schema of the recipe is
//! generated from the doc comments here, so every comment is written for the person who edits the YAML.
//! [`TrainingArguments::validate`] refuses what cannot be honoured (`bf16`, other optimizers) by name instead of
//! ignoring it, and [`TrainingArguments::steps_for`] turns epochs, ratios and intervals into step numbers once.

use engine::ComputeDtype;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Result, TrainError};

/// Settings of the training loop. Names and defaults are those of Hugging Face's `TrainingArguments`, except that
/// `logging_steps` is 10 (a loss curve of a short run should have points).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TrainingArguments {
    /// Rows computed together. Rows are laid end to end without padding, so a larger batch costs memory, not waste.
    pub per_device_train_batch_size: usize,
    /// Rows computed together during evaluation.
    pub per_device_eval_batch_size: usize,
    /// Batches whose gradients are summed before one optimizer step. The loss is the mean over all trained tokens of
    /// the whole group, so 4 x 4 trains exactly as 16 x 1 does.
    pub gradient_accumulation_steps: usize,
    /// Passes over the data; a fraction is allowed. Ignored if `max_steps` is positive.
    pub num_train_epochs: f64,
    /// Optimizer steps in total; -1 lets `num_train_epochs` decide.
    pub max_steps: i64,
    /// Peak learning rate of AdamW, reached at the end of the warm-up.
    #[serde(deserialize_with = "lenient::f64")]
    pub learning_rate: f64,
    /// How the learning rate develops after the warm-up.
    pub lr_scheduler_type: SchedulerType,
    /// Steps over which the learning rate rises from 0; a number below 1 is a ratio of all steps.
    pub warmup_steps: Amount,
    /// Ratio of all steps used as warm-up; the older spelling of a `warmup_steps` below 1.
    pub warmup_ratio: f64,
    /// The optimizer; AdamW under any of its usual names.
    pub optim: Optimizer,
    /// Decoupled weight decay of AdamW. Biases and normalisation weights do not decay.
    #[serde(deserialize_with = "lenient::f64")]
    pub weight_decay: f64,
    /// AdamW's decay of the first moment.
    pub adam_beta1: f64,
    /// AdamW's decay of the second moment.
    pub adam_beta2: f64,
    /// AdamW's term against division by zero.
    #[serde(deserialize_with = "lenient::f64")]
    pub adam_epsilon: f64,
    /// Gradients are scaled so that their global norm does not exceed this; 0 switches clipping off.
    pub max_grad_norm: f64,
    /// Seed of everything random: data order, dropout, LoRA initialisation.
    pub seed: u64,
    /// Seed of the data order alone; `seed` if not given.
    pub data_seed: Option<u64>,
    /// The order of rows within an epoch.
    pub train_sampling_strategy: SamplingStrategy,
    /// Leave out the last batch of an epoch if it is not full. By default it is trained like any other.
    pub dataloader_drop_last: bool,
    /// When the loss is written to `metrics.jsonl` and TensorBoard.
    pub logging_strategy: Strategy,
    /// Steps between two log lines; a number below 1 is a ratio of all steps.
    pub logging_steps: Amount,
    /// Also log the very first step.
    pub logging_first_step: bool,
    /// When the held-out rows are evaluated. The end of training is then always evaluated too.
    #[serde(alias = "evaluation_strategy")]
    pub eval_strategy: Strategy,
    /// Steps between two evaluations (`logging_steps` if not given); a number below 1 is a ratio of all steps.
    pub eval_steps: Option<Amount>,
    /// When a checkpoint is saved; `best` saves at each evaluation that is the best so far. An interrupted run saves one
    /// in any case.
    pub save_strategy: SaveStrategy,
    /// Steps between two checkpoints; a number below 1 is a ratio of all steps.
    pub save_steps: Amount,
    /// Checkpoints kept at most, oldest removed first; the best and the newest always stay.
    pub save_total_limit: Option<usize>,
    /// Finish with the weights of the best evaluation instead of the last step's. Each new best is saved as a checkpoint.
    pub load_best_model_at_end: bool,
    /// The evaluated number that decides what is best, with or without the prefix `eval_`; `loss` if not given.
    pub metric_for_best_model: Option<String>,
    /// Whether a larger value is better; if not given, yes unless the name ends in `loss` or `perplexity`.
    pub greater_is_better: Option<bool>,
    /// Stop after this many evaluations without improvement.
    #[serde(alias = "early_stopping_steps")]
    pub early_stopping_patience: Option<usize>,
    /// By how much the metric must improve to count for early stopping.
    pub early_stopping_threshold: f64,
    /// Where to report besides `metrics.jsonl`: `tensorboard` (or `all`) or `none`.
    pub report_to: ReportTo,
    /// Arithmetic of the matrix products: `bf16` (accumulated in f32; parameters, residual stream, losses and optimizer stay
    /// f32), `int8` (frozen weights and what meets them quantised row by row; the rest, and what trains, as bf16; not with
    /// `finetuning_type: full`, which leaves nothing frozen), `f32` (the reference), or
    /// `auto`: bf16 where the processor multiplies it natively, otherwise f32.
    pub compute_dtype: ComputeChoice,
    /// Compute in bfloat16: the same as `compute_dtype: bf16`.
    pub bf16: bool,
    /// Compute in float16. Not available: must be false.
    pub fp16: bool,
    /// Keep only what flows between layers and compute the inside of each a second time in the backward pass: less memory for
    /// long rows, about a third more time, the same bits. (Cheap operations are always recomputed. For batches of many rows
    /// `tokens_per_pass` bounds memory without it.)
    pub gradient_checkpointing: bool,
    /// Accepted for compatibility: training runs on the CPU.
    pub use_cpu: bool,
    /// Rows of a batch that begin with the same tokens (a common prompt) compute these once. The result is the same but for
    /// rounding; off by itself where dropout makes rows differ.
    pub share_prefixes: bool,
    /// Most tokens that are computed in one pass forward and backward; a batch of more is computed in parts with the same result
    /// but for rounding, in less memory. If not given, 1,024. A single row is never divided.
    pub tokens_per_pass: Option<usize>,
    /// Whether results of layers that do not train (below the first that does) are kept from epoch to epoch, rounded to
    /// bfloat16. `auto`: if there is more than one epoch and a budget suffices. The rounding is part of the run, wherever the
    /// results are kept; `off` (and `auto` where no budget suffices) does without it.
    pub frozen_prefix_cache: PrefixCache,
    /// MiB of memory that results of frozen layers may take.
    pub frozen_prefix_cache_memory_mb: u64,
    /// MiB of disk (in the output directory, until the run is done) that results of frozen layers may take.
    pub frozen_prefix_cache_disk_mb: u64,
}

impl Default for TrainingArguments {
    fn default() -> Self {
        Self {
            per_device_train_batch_size: 8,
            per_device_eval_batch_size: 8,
            gradient_accumulation_steps: 1,
            num_train_epochs: 3.0,
            max_steps: -1,
            learning_rate: 5e-5,
            lr_scheduler_type: SchedulerType::Linear,
            warmup_steps: Amount(0.0),
            warmup_ratio: 0.0,
            optim: Optimizer::AdamW,
            weight_decay: 0.0,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            max_grad_norm: 1.0,
            seed: 42,
            data_seed: None,
            train_sampling_strategy: SamplingStrategy::Random,
            dataloader_drop_last: false,
            logging_strategy: Strategy::Steps,
            logging_steps: Amount(10.0),
            logging_first_step: false,
            eval_strategy: Strategy::No,
            eval_steps: None,
            save_strategy: SaveStrategy::Steps,
            save_steps: Amount(500.0),
            save_total_limit: None,
            load_best_model_at_end: false,
            metric_for_best_model: None,
            greater_is_better: None,
            early_stopping_patience: None,
            early_stopping_threshold: 0.0,
            report_to: ReportTo::One(ReportTarget::Tensorboard),
            compute_dtype: ComputeChoice::Auto,
            bf16: false,
            fp16: false,
            gradient_checkpointing: false,
            use_cpu: true,
            share_prefixes: true,
            tokens_per_pass: None,
            frozen_prefix_cache: PrefixCache::Auto,
            frozen_prefix_cache_memory_mb: 2048,
            frozen_prefix_cache_disk_mb: 16384,
        }
    }
}

/// A number of steps, or, below 1, a ratio of all steps (as in Hugging Face v5). 1 means one step.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Amount(pub f64);

impl Amount {
    /// The number of steps out of `total`: whole numbers as they are, ratios rounded up.
    pub fn steps(self, total: u64) -> u64 {
        if self.0 < 1.0 { (self.0 * total as f64).ceil() as u64 } else { self.0 as u64 }
    }

    /// Whether this is a whole number of steps or a ratio of them.
    fn is_sound(self) -> bool {
        self.0.is_finite() && self.0 >= 0.0 && (self.0 < 1.0 || (self.0.fract() == 0.0 && self.0 < 1e15))
    }
}

/// How the learning rate develops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SchedulerType {
    /// Falls to 0 in a straight line.
    Linear,
    /// Falls to 0 along half a cosine.
    Cosine,
    /// Stays. A warm-up is honoured if given (Hugging Face calls that `constant_with_warmup`).
    #[serde(alias = "constant_with_warmup")]
    Constant,
}

/// The optimizers that are known by name; all are AdamW with decoupled weight decay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Optimizer {
    /// AdamW (Loshchilov & Hutter 2019).
    #[serde(rename = "adamw", alias = "adamw_torch", alias = "adamw_torch_fused", alias = "adamw_hf")]
    AdamW,
}

/// When something regular happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Never.
    No,
    /// Every so many steps.
    Steps,
    /// At the end of each epoch.
    Epoch,
}

/// When a checkpoint is saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SaveStrategy {
    /// Never, except when the run is interrupted.
    No,
    /// Every so many steps, and at the end.
    Steps,
    /// At the end of each epoch, and at the end.
    Epoch,
    /// At each evaluation that is the best so far.
    Best,
}

/// The order of rows within an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SamplingStrategy {
    /// A fresh shuffle for each epoch, keyed by seed and epoch.
    Random,
    /// As given.
    Sequential,
    /// Rows of like length together, batches in random order. Rows are packed without padding, so this saves nothing
    /// here; it evens out memory.
    GroupByLength,
}

/// Where results of frozen layers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PrefixCache {
    /// In memory or on disk, if there is more than one epoch and the budget of either suffices.
    Auto,
    /// In memory.
    Memory,
    /// In a file in the output directory.
    Disk,
    /// Nowhere: they are computed in every epoch, without rounding.
    Off,
}

/// One place that receives metrics besides `metrics.jsonl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReportTarget {
    /// TensorBoard event files in `tensorboard/` of the output directory.
    #[serde(alias = "all")]
    Tensorboard,
    /// Nowhere.
    None,
}

/// Where metrics go besides `metrics.jsonl`: one name or a list of names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ReportTo {
    /// One name.
    One(ReportTarget),
    /// Several names.
    Several(Vec<ReportTarget>),
}

impl ReportTo {
    /// Whether TensorBoard events are written.
    pub fn tensorboard(&self) -> bool {
        match self {
            ReportTo::One(target) => *target == ReportTarget::Tensorboard,
            ReportTo::Several(targets) => targets.contains(&ReportTarget::Tensorboard),
        }
    }
}

/// Numbers that YAML 1.1 tools write as text (`5e-5` without a dot is a string there) are accepted as numbers.
mod lenient {
    use serde::{Deserialize, Deserializer, de::Error};

    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a number")]
    enum Number {
        Number(f64),
        Text(String),
    }

    pub(super) fn f64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        match Number::deserialize(deserializer)? {
            Number::Number(number) => Ok(number),
            Number::Text(text) => text.trim().parse().map_err(|_| D::Error::custom(format!("`{text}` is not a number"))),
        }
    }
}

/// Second names under which a key is understood: (alias, key).
pub const TRAINING_ALIASES: &[(&str, &str)] =
    &[("evaluation_strategy", "eval_strategy"), ("early_stopping_steps", "early_stopping_patience")];

/// Keys that change neither a weight nor a metric, so that a resumed run may have other values.
const FREE_ON_RESUME: &[&str] = &["per_device_eval_batch_size", "save_total_limit", "report_to", "use_cpu", "gradient_checkpointing"];

/// Optimizer steps and where they fall, worked out once from the settings and the number of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// Batches (of `per_device_train_batch_size` rows) an epoch.
    pub batches_per_epoch: u64,
    /// Optimizer steps an epoch, the last of which may be of fewer batches.
    pub per_epoch: u64,
    /// Optimizer steps of the whole run.
    pub total: u64,
    /// Steps of the warm-up.
    pub warmup: u64,
    /// Steps between two log lines; 0 is never.
    pub logging: u64,
    /// Steps between two evaluations; 0 is never (or by epoch).
    pub eval: u64,
    /// Steps between two checkpoints; 0 is never (or by epoch).
    pub save: u64,
}

impl TrainingArguments {
    /// The arithmetic asked for; `native` is what `auto` means on this machine.
    pub fn compute(&self, native: ComputeDtype) -> ComputeDtype {
        match self.compute_dtype {
            ComputeChoice::Auto if self.bf16 => ComputeDtype::Bf16,
            ComputeChoice::Auto => native,
            ComputeChoice::F32 => ComputeDtype::F32,
            ComputeChoice::Bf16 => ComputeDtype::Bf16,
            ComputeChoice::Int8 => ComputeDtype::Int8,
        }
    }

    /// The keys a recipe may use, in order of declaration.
    pub fn keys() -> Vec<String> {
        keys_of(&Self::default())
    }

    /// What a checkpoint remembers to recognise a changed recipe: (key, value as JSON) of every setting that can change
    /// a weight or a metric.
    pub fn fingerprint(&self) -> Vec<(String, String)> {
        fingerprint_of(self, FREE_ON_RESUME)
    }

    /// The name of the number that decides what is best, without the prefix `eval_`.
    pub fn best_metric(&self) -> &str {
        let name = self.metric_for_best_model.as_deref().unwrap_or("loss");
        name.strip_prefix("eval_").unwrap_or(name)
    }

    /// Whether a larger value of [`Self::best_metric`] is better.
    pub fn best_is_greater(&self) -> bool {
        let name = self.best_metric();
        self.greater_is_better.unwrap_or(!(name.ends_with("loss") || name.ends_with("perplexity")))
    }

    /// Refuses settings that contradict each other or that cannot be honoured.
    ///
    /// # Errors
    /// [`TrainError::Setting`] names the key, its value, why it is refused and what to write instead.
    pub fn validate(&self) -> Result<()> {
        let refuse = |key: &'static str, value: String, why: &str| Err(TrainError::Setting { key, value, why: why.into() });
        let positive = |key: &'static str, value: usize| match value {
            0 => refuse(key, "0".into(), "must be at least 1"),
            _ => Ok(()),
        };
        positive("per_device_train_batch_size", self.per_device_train_batch_size)?;
        positive("per_device_eval_batch_size", self.per_device_eval_batch_size)?;
        positive("gradient_accumulation_steps", self.gradient_accumulation_steps)?;
        positive("tokens_per_pass", self.tokens_per_pass.unwrap_or(1))?;
        if self.max_steps == 0 || self.max_steps < -1 {
            return refuse("max_steps", self.max_steps.to_string(), "must be positive, or -1 to let num_train_epochs decide");
        }
        if self.max_steps == -1 && !(self.num_train_epochs.is_finite() && self.num_train_epochs > 0.0) {
            return refuse("num_train_epochs", self.num_train_epochs.to_string(), "must be a positive number");
        }
        for (key, value) in [
            ("learning_rate", self.learning_rate),
            ("weight_decay", self.weight_decay),
            ("max_grad_norm", self.max_grad_norm),
            ("early_stopping_threshold", self.early_stopping_threshold),
        ] {
            if !(value.is_finite() && value >= 0.0) {
                return refuse(key, value.to_string(), "must be a finite number, not negative");
            }
        }
        if !(self.adam_epsilon.is_finite() && self.adam_epsilon > 0.0) {
            return refuse("adam_epsilon", self.adam_epsilon.to_string(), "must be positive");
        }
        for (key, value) in [("adam_beta1", self.adam_beta1), ("adam_beta2", self.adam_beta2)] {
            if !(0.0..1.0).contains(&value) {
                return refuse(key, value.to_string(), "must be at least 0 and below 1");
            }
        }
        if !(0.0..=1.0).contains(&self.warmup_ratio) {
            return refuse("warmup_ratio", self.warmup_ratio.to_string(), "must be between 0 and 1");
        }
        let eval_steps = self.eval_steps.unwrap_or(self.logging_steps);
        for (key, amount) in [
            ("warmup_steps", self.warmup_steps),
            ("logging_steps", self.logging_steps),
            ("eval_steps", eval_steps),
            ("save_steps", self.save_steps),
        ] {
            if !amount.is_sound() {
                return refuse(key, amount.0.to_string(), "must be a whole number of steps, or a ratio of all steps below 1");
            }
        }
        if self.warmup_steps.0 > 0.0 && self.warmup_ratio > 0.0 {
            return refuse("warmup_ratio", self.warmup_ratio.to_string(), "warmup_steps is given too: keep one of them");
        }
        for (key, amount, used) in [
            ("logging_steps", self.logging_steps, self.logging_strategy == Strategy::Steps),
            ("eval_steps", eval_steps, self.eval_strategy == Strategy::Steps),
            ("save_steps", self.save_steps, self.save_strategy == SaveStrategy::Steps),
        ] {
            if used && amount.0 == 0.0 {
                return refuse(key, "0".into(), "must be positive; to switch it off, set the strategy to `no`");
            }
        }
        if self.save_total_limit == Some(0) {
            return refuse("save_total_limit", "0".into(), "must be at least 1; to save no checkpoints set save_strategy: no");
        }
        if self.eval_strategy == Strategy::No {
            let why = "needs evaluations: set eval_strategy to `steps` or `epoch`";
            if self.load_best_model_at_end {
                return refuse("load_best_model_at_end", "true".into(), why);
            }
            if let Some(patience) = self.early_stopping_patience {
                return refuse("early_stopping_patience", patience.to_string(), why);
            }
            if self.save_strategy == SaveStrategy::Best {
                return refuse("save_strategy", "best".into(), why);
            }
        }
        if self.early_stopping_patience == Some(0) {
            return refuse("early_stopping_patience", "0".into(), "must be at least 1; leave it out to switch it off");
        }
        if self.bf16 && !matches!(self.compute_dtype, ComputeChoice::Auto | ComputeChoice::Bf16) {
            return refuse("bf16", "true".into(), "compute_dtype says otherwise: keep one of them");
        }
        if self.fp16 {
            return refuse("fp16", "true".into(), "float16 training is not available: use `compute_dtype: bf16` or f32");
        }
        Ok(())
    }

    /// Turns epochs, ratios and intervals into step numbers for `rows` training rows.
    ///
    /// As in Hugging Face, an epoch has `ceil(batches / gradient_accumulation_steps)` steps: the last group of an epoch
    /// may be short and is trained all the same.
    pub fn steps_for(&self, rows: usize) -> Steps {
        let (rows, batch) = (rows as u64, self.per_device_train_batch_size.max(1) as u64);
        let batches_per_epoch = if self.dataloader_drop_last { (rows / batch).max(1) } else { rows.div_ceil(batch) };
        let per_epoch = batches_per_epoch.div_ceil(self.gradient_accumulation_steps.max(1) as u64);
        let total = match u64::try_from(self.max_steps) {
            Ok(steps) => steps,
            Err(_) => (self.num_train_epochs * per_epoch as f64).ceil() as u64,
        };
        let warmup =
            if self.warmup_steps.0 > 0.0 { self.warmup_steps.steps(total) } else { (self.warmup_ratio * total as f64).ceil() as u64 };
        let every = |used: bool, amount: Amount| if used { amount.steps(total).max(1) } else { 0 };
        Steps {
            batches_per_epoch,
            per_epoch,
            total,
            warmup,
            logging: every(self.logging_strategy == Strategy::Steps, self.logging_steps),
            eval: every(self.eval_strategy == Strategy::Steps, self.eval_steps.unwrap_or(self.logging_steps)),
            save: every(self.save_strategy == SaveStrategy::Steps, self.save_steps),
        }
    }
}

/// Which arithmetic, or who chooses it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ComputeChoice {
    /// The fastest that loses no accuracy on this processor.
    #[default]
    Auto,
    /// The reference.
    #[serde(alias = "fp32", alias = "float32")]
    F32,
    /// bfloat16 products.
    #[serde(alias = "bfloat16")]
    Bf16,
    /// Products with frozen weights in 8-bit integers.
    Int8,
}

impl From<ComputeDtype> for ComputeChoice {
    fn from(dtype: ComputeDtype) -> Self {
        match dtype {
            ComputeDtype::F32 => ComputeChoice::F32,
            ComputeDtype::Bf16 => ComputeChoice::Bf16,
            ComputeDtype::Int8 => ComputeChoice::Int8,
            // Nothing trains in it.
            ComputeDtype::Native => ComputeChoice::Auto,
        }
    }
}

/// The keys of a settings struct, in order of declaration.
pub(crate) fn keys_of<T: Serialize>(settings: &T) -> Vec<String> {
    match serde_json::to_value(settings) {
        Ok(serde_json::Value::Object(map)) => map.into_iter().map(|(key, _)| key).collect(),
        _ => Vec::new(),
    }
}

/// (key, value as JSON) of every setting but those named.
pub(crate) fn fingerprint_of<T: Serialize>(settings: &T, except: &[&str]) -> Vec<(String, String)> {
    match serde_json::to_value(settings) {
        Ok(serde_json::Value::Object(map)) => {
            map.into_iter().filter(|(key, _)| !except.contains(&key.as_str())).map(|(key, value)| (key, value.to_string())).collect()
        }
        _ => Vec::new(),
    }
}
