//! What a report is made of: plain data that the caller gathers. Every part may be missing; the page shows what
//! there is.

use crate::intervals::Difference;
use crate::labels::Labelled;
use crate::results::EvalReport;
use serde::{Deserialize, Serialize};

/// Everything that the page shows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReportData {
    /// Heading; without one it says which model was tuned on which data.
    pub title: Option<String>,
    /// The base model's short name, e.g. `SmolLM2-135M-Instruct`.
    pub model: String,
    /// The data set's short name, e.g. `rotten_tomatoes`.
    pub dataset: String,
    /// How it was tuned in a few words, e.g. `LoRA, rank 8, all linear layers`.
    pub method: String,
    /// The task in a few words, e.g. `classify: negative, positive`.
    pub task: String,
    /// When, as the caller wants it shown.
    pub created: Option<String>,
    /// Tunesmith's version.
    pub version: Option<String>,
    /// Evaluation of the untuned model.
    pub before: Option<EvalReport>,
    /// Evaluation of the tuned model.
    pub after: Option<EvalReport>,
    /// Change of the accuracy on the same rows (paired).
    pub accuracy_change: Option<Difference>,
    /// Change of the loss on the same rows (paired); for a text task it carries the verdict.
    pub loss_change: Option<Difference>,
    /// The loop's totals.
    pub training: Option<TrainingSummary>,
    /// Logged points in order of steps.
    pub curve: Vec<CurvePoint>,
    /// Rows held out with what the model says.
    pub samples: Vec<SampleRow>,
    /// Where the rows came from and what happened to them.
    pub data: DataSummary,
    /// Every setting as it was resolved.
    pub settings: Vec<SettingGroup>,
    /// Sources, hashes, versions, machine.
    pub provenance: Vec<Fact>,
    /// What repeats this run.
    pub reproduce: Vec<Command>,
    /// What one would do next.
    pub next: Vec<Command>,
}

/// Totals of the training loop.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainingSummary {
    /// Optimizer steps taken.
    pub steps: u64,
    /// Passes over the data.
    pub epochs: f64,
    /// Mean training loss.
    pub train_loss: Option<f64>,
    /// Seconds of the loop alone.
    pub seconds: f64,
    /// Non-pad tokens per second of the loop.
    pub tokens_per_second: f64,
    /// Tokens that had a target.
    pub trained_tokens: u64,
    /// Peak resident memory of the process.
    pub peak_rss_mb: Option<f64>,
    /// Parameters that were trained.
    pub trainable_parameters: u64,
    /// All parameters.
    pub total_parameters: u64,
    /// Anything out of the ordinary: `stopped early at step 40`, `resumed from step 60`.
    pub notes: Vec<String>,
}

/// One logged point.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CurvePoint {
    /// Optimizer step.
    pub step: u64,
    /// Passes over the data so far.
    pub epoch: Option<f64>,
    /// Training loss.
    pub loss: Option<f64>,
    /// Learning rate.
    pub learning_rate: Option<f64>,
    /// Norm of the gradient before clipping.
    pub grad_norm: Option<f64>,
    /// Loss on rows held out.
    pub eval_loss: Option<f64>,
    /// Accuracy on rows held out.
    pub eval_accuracy: Option<f64>,
}

/// A row held out, classified or continued.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SampleRow {
    /// The row's text, or the prompt.
    pub text: String,
    /// Where it stands, e.g. `reviews.csv:118`.
    pub origin: Option<String>,
    /// The right label, or the right continuation.
    pub gold: String,
    /// The tuned model's label or continuation.
    pub predicted: String,
    /// The untuned model's.
    pub before: Option<String>,
    /// Probabilities of the labels by the tuned model (classification).
    pub normalized: Option<Labelled<f64>>,
}

/// What happened to the rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DataSummary {
    /// Rows read from the source, before filters.
    pub rows_read: Option<usize>,
    /// Rows trained on.
    pub train_rows: usize,
    /// Rows evaluated on.
    pub heldout_rows: usize,
    /// Rows left out, by reason.
    pub dropped: Vec<Dropped>,
    /// Rows cut to `cutoff_len`.
    pub truncated: usize,
    /// The longest row allowed, in tokens.
    pub cutoff_len: Option<usize>,
    /// Tokens of the rows trained on, in one epoch.
    pub tokens: u64,
    /// Of these, tokens with a target.
    pub trained_tokens: u64,
    /// Histogram of row lengths in tokens.
    pub lengths: Vec<LengthBin>,
    /// Row lengths in short.
    pub length_stats: Option<LengthStats>,
    /// Rows of each label.
    pub labels: Vec<LabelCount>,
    /// Anything else worth a line: source, filter, split.
    pub facts: Vec<Fact>,
}

/// Rows left out for one reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dropped {
    /// Why.
    pub reason: String,
    /// How many.
    pub count: usize,
    /// Where the first one stands.
    #[serde(default)]
    pub example: Option<String>,
}

/// Rows of `from..=to` tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LengthBin {
    /// Fewest tokens.
    pub from: usize,
    /// Most tokens.
    pub to: usize,
    /// Rows.
    pub count: usize,
}

/// Row lengths in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LengthStats {
    /// Shortest.
    pub min: usize,
    /// Half of the rows are no longer.
    pub median: usize,
    /// 95 of 100 rows are no longer.
    pub p95: usize,
    /// Longest.
    pub max: usize,
}

/// Rows of one label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelCount {
    /// The label.
    pub label: String,
    /// Rows trained on.
    pub train: usize,
    /// Rows held out.
    pub heldout: usize,
}

/// A name and a value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    /// What it is.
    pub name: String,
    /// Its value.
    pub value: String,
    /// True for hashes, paths and identifiers: set in a fixed-width face.
    #[serde(default)]
    pub code: bool,
}

/// Settings that belong together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SettingGroup {
    /// What they are about.
    pub title: String,
    /// The settings.
    pub rows: Vec<Setting>,
}

/// One setting as resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// Its key in the recipe.
    pub key: String,
    /// Its value.
    pub value: String,
    /// True if the recipe or the command line gave it; false for a default.
    #[serde(default)]
    pub given: bool,
}

/// A command to type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// What it does.
    pub what: String,
    /// The exact text.
    pub command: String,
}

impl Fact {
    /// A fact in plain text.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into(), code: false }
    }

    /// A hash, path or identifier.
    pub fn code(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { code: true, ..Self::new(name, value) }
    }
}

impl DataSummary {
    /// Fills the histogram (at most 40 bins of equal, round width) and the short statistics from row lengths.
    pub fn set_lengths(&mut self, lengths: &[usize]) {
        let mut sorted = lengths.to_vec();
        sorted.sort_unstable();
        let (Some(&min), Some(&max)) = (sorted.first(), sorted.last()) else {
            self.lengths.clear();
            self.length_stats = None;
            return;
        };
        // The smallest value that at least this share of the rows does not exceed.
        let at = |share: f64| sorted[((share * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len()) - 1];
        self.length_stats = Some(LengthStats { min, median: at(0.5), p95: at(0.95), max });
        let width = (0..).flat_map(|e| [1, 2, 5].map(|d: usize| d * 10usize.pow(e))).find(|w| max / w - min / w < 40).unwrap_or(max);
        self.lengths = (min / width..=max / width)
            .map(|b| {
                let (from, to) = (b * width, b * width + width - 1);
                LengthBin { from, to, count: sorted.partition_point(|&l| l <= to) - sorted.partition_point(|&l| l < from) }
            })
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_by_hand() {
        let mut d = DataSummary::default();
        d.set_lengths(&[3, 5, 9, 9, 120]); // bins of 5
        assert_eq!(d.length_stats, Some(LengthStats { min: 3, median: 9, p95: 120, max: 120 }));
        assert_eq!(d.lengths[0], LengthBin { from: 0, to: 4, count: 1 }, "{:?}", d.lengths);
        d.set_lengths(&[]);
        assert!(d.lengths.is_empty() && d.length_stats.is_none());
    }

    proptest! {
        #[test]
        fn every_row_is_in_exactly_one_bin(lengths in prop::collection::vec(0usize..5000, 1..200)) {
            let mut d = DataSummary::default();
            d.set_lengths(&lengths);
            prop_assert_eq!(d.lengths.iter().map(|b| b.count).sum::<usize>(), lengths.len());
            prop_assert!(d.lengths.len() <= 40);
            for pair in d.lengths.windows(2) { prop_assert_eq!(pair[0].to + 1, pair[1].from); }
        }
    }
}
