//! What can be typed after `tunesmith label simulate|audit|weak|distant|pseudo|distill`.

use std::path::PathBuf;

use clap::Args;

use super::vectorize::{DataArgs, FeatureArgs, LearnerArgs};

/// Rows with labels.
#[derive(Debug, Args)]
pub struct LabelledArgs {
    #[command(flatten)]
    pub rows: DataArgs,
    /// Column of the labels
    #[arg(long, value_name = "COLUMN", default_value = "label")]
    pub label_column: String,
    /// Translate the file's labels: 0=negative,1=positive
    #[arg(long, value_name = "FROM=TO,…", value_delimiter = ',')]
    pub label_map: Vec<String>,
}

/// A data file, or a project's store.
#[derive(Debug, Args)]
pub struct RowsArgs {
    /// Rows: a file or any data source
    #[arg(required_unless_present = "store")]
    pub data: Option<String>,
    /// The documents of this project instead, labelled as people settled them; what is found goes back as evidence of its own kind
    #[arg(long, value_name = "DIR", conflicts_with = "data")]
    pub store: Option<PathBuf>,
}

/// Rows with labels, and what learns from them.
#[derive(Debug, Args)]
pub struct LearningArgs {
    #[command(flatten)]
    pub from: RowsArgs,
    #[command(flatten)]
    pub labelled: LabelledArgs,
    #[command(flatten)]
    pub features: FeatureArgs,
    #[command(flatten)]
    pub learner: LearnerArgs,
}

/// Rows without labels beside them, and rows that judge what those brought.
#[derive(Debug, Args)]
pub struct RestArgs {
    /// Rows without labels (of a store: those that people did not settle)
    #[arg(long, value_name = "FILE", required_unless_present = "store")]
    pub unlabelled: Option<String>,
    /// Rows to judge on (default: a fifth of the labelled rows)
    #[arg(long, value_name = "FILE")]
    pub test: Option<String>,
}

#[derive(Debug, Args)]
pub struct Simulate {
    /// Rows with labels: a file or any data source
    pub data: String,
    #[command(flatten)]
    pub labelled: LabelledArgs,
    /// Rows to judge on (default: a fifth of the rows)
    #[arg(long, value_name = "FILE")]
    pub test: Option<String>,
    /// random, least-confidence, margin, entropy, committee, cluster-margin, density, cluster, balanced
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', default_value = "margin,random")]
    pub strategy: Vec<String>,
    /// How many seeds
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub seeds: u64,
    /// Labels to begin with
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub initial: usize,
    /// Labels of each round
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub batch: usize,
    /// Labels to end with: a share below 1, or a number
    #[arg(long, value_name = "N", default_value_t = 0.5)]
    pub budget: f64,
    #[command(flatten)]
    pub features: FeatureArgs,
    #[command(flatten)]
    pub learner: LearnerArgs,
}

#[derive(Debug, Args)]
pub struct Audit {
    #[command(flatten)]
    pub from: RowsArgs,
    /// A run of `tunesmith train` that judges, too, the rows that it was not trained on (repeat for several runs)
    #[arg(long = "run", value_name = "RUN")]
    pub runs: Vec<String>,
    #[command(flatten)]
    pub labelled: LabelledArgs,
    /// Folds of the cross-validation
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub folds: usize,
    /// Same seed, same list
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// Rows shown
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub top: usize,
    /// Write the whole ranked list here, as JSON lines
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub features: FeatureArgs,
}

#[derive(Debug, Args)]
pub struct Weak {
    /// The rules
    #[arg(long, value_name = "RULES.yaml")]
    pub rules: PathBuf,
    /// Rows to judge the end model on
    #[arg(long, value_name = "FILE")]
    pub test: Option<String>,
    /// Write probabilistic labels here, as JSON lines {id, text, label, confidence, probabilities}
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub learning: LearningArgs,
}

#[derive(Debug, Args)]
pub struct Pseudo {
    #[command(flatten)]
    pub rest: RestArgs,
    /// Calibrated probability from which self-training believes a label
    #[arg(long, value_name = "P", default_value_t = 0.8)]
    pub threshold: f64,
    /// Write the labels of the better method here, as JSON lines {id, text, label, confidence, method}. The confidence is the method's own
    /// probability of its label, never below that of another class: calibrated on labelled rows (self-training, expectation), or the share
    /// of what its neighbours handed on (label-propagation)
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub learning: LearningArgs,
}

#[derive(Debug, Args)]
pub struct Distill {
    /// Who teaches: a run of `tunesmith train`, a directory of `vectorize classify train`, or with --recipe any model
    #[arg(long, value_name = "RUN_OR_MODEL")]
    pub teacher: String,
    /// Says the task of a teacher that is no run: prompt and labels
    #[arg(long, value_name = "RECIPE.yaml")]
    pub recipe: Option<PathBuf>,
    #[command(flatten)]
    pub rest: RestArgs,
    /// Write the data set here, as JSON lines: people's rows {id, text, label, by: human}, then the teacher's {id, text, label, by:
    /// teacher, teacher, confidence, probabilities}
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub learning: LearningArgs,
}

#[derive(Debug, Args)]
pub struct Distant {
    /// The knowledge base: a directory with entities.csv and relations.csv (or .jsonl), one file of rows, or an SQLite file
    #[arg(value_name = "KB")]
    pub knowledge: PathBuf,
    /// Character encoding of a knowledge base that is no UTF-8 (default: that of --encoding)
    #[arg(long, value_name = "NAME")]
    pub kb_encoding: Option<String>,
    #[command(flatten)]
    pub from: RowsArgs,
    #[command(flatten)]
    pub rows: DataArgs,
    /// Propose a relation wherever its ends stand in one document, not in one sentence
    #[arg(long)]
    pub across_sentences: bool,
    /// Write the documents with candidates here, as JSON lines that `label import jsonl` reads
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}
