//! What can be typed after `tunesmith label simulate|audit|weak|pseudo`.

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
    /// Rows with labels: a file or any data source
    pub data: String,
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
    /// Rows: a file or any data source; labels, where there are some, only judge
    pub data: String,
    /// The rules
    #[arg(long, value_name = "RULES.yaml")]
    pub rules: PathBuf,
    #[command(flatten)]
    pub labelled: LabelledArgs,
    /// Rows to judge the end model on
    #[arg(long, value_name = "FILE")]
    pub test: Option<String>,
    /// Write probabilistic labels here, as JSON lines {id, text, label, confidence, probabilities}
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub features: FeatureArgs,
    #[command(flatten)]
    pub learner: LearnerArgs,
}

#[derive(Debug, Args)]
pub struct Pseudo {
    /// Rows with labels: a file or any data source
    pub data: String,
    #[command(flatten)]
    pub labelled: LabelledArgs,
    /// Rows without labels
    #[arg(long, value_name = "FILE")]
    pub unlabelled: String,
    /// Rows to judge on
    #[arg(long, value_name = "FILE")]
    pub test: String,
    /// Calibrated probability from which self-training believes a label
    #[arg(long, value_name = "P", default_value_t = 0.8)]
    pub threshold: f64,
    /// Write the labels of the better method here, as JSON lines {id, text, label, confidence, method}
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub features: FeatureArgs,
    #[command(flatten)]
    pub learner: LearnerArgs,
}
