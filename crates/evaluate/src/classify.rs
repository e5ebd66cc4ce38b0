//! From samples to predictions and an evaluation: the renderer, the scorer and the metrics put together.

use crate::error::{EvaluateError, Progress, Result};
use crate::intervals::Bootstrap;
use crate::results::{Decision, EvalReport, Prediction, ScoredRow, classification_report};
use crate::score::Scorer;
use dataset::{Renderer, Sample};
use engine::{Arena, ParamStore};
use model::Decoder;

/// What became of a list of samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Classification {
    /// Names of the labels in the task's order.
    pub labels: Vec<String>,
    /// Texts of the labels in the same order.
    pub label_texts: Vec<String>,
    /// Rows that were scored, in the order of the samples.
    pub rows: Vec<ClassifiedRow>,
    /// Samples that gave no prompt.
    pub dropped: Vec<NotScored>,
}

/// A sample that was scored.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassifiedRow {
    /// Index of the sample.
    pub sample: usize,
    /// The exact text that was scored, without the label.
    pub prompt: String,
    /// Tokens cut off because the row was too long.
    pub cut: usize,
    /// Its scores.
    pub scored: ScoredRow,
}

/// A sample that was not scored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotScored {
    /// Index of the sample.
    pub sample: usize,
    /// `file:line`.
    pub origin: String,
    /// Why.
    pub reason: String,
}

/// Scores every sample with the task's labels; gold labels are not looked at.
///
/// # Errors
/// As [`Scorer`]; a progress callback that breaks.
pub fn classify(
    decoder: &Decoder,
    params: &ParamStore,
    arena: &Arena,
    renderer: &Renderer,
    samples: &[Sample],
    progress: &mut Progress<'_>,
) -> Result<Classification> {
    let scorer = Scorer::new(renderer.label_ids(), renderer.tokenizer().eos())?;
    let (mut prompts, mut dropped) = (Vec::with_capacity(samples.len()), Vec::new());
    for (i, sample) in samples.iter().enumerate() {
        match renderer.prompt(sample) {
            Ok(prompt) => prompts.push((i, prompt)),
            Err(d) => dropped.push(NotScored { sample: i, origin: sample.origin.to_string(), reason: d.reason }),
        }
    }
    let ids: Vec<&[u32]> = prompts.iter().map(|(_, p)| p.ids.as_slice()).collect();
    let locate = |e: EvaluateError| locate(e, |row| prompts.get(row).map(|(i, _)| samples[*i].origin.to_string()));
    let scored = scorer.score_all(decoder, params, arena, &ids, progress).map_err(locate)?;
    let rows =
        prompts.into_iter().zip(scored).map(|((sample, p), scored)| ClassifiedRow { sample, prompt: p.text, cut: p.cut, scored }).collect();
    Ok(Classification { labels: scorer.labels().to_vec(), label_texts: scorer.texts().to_vec(), rows, dropped })
}

/// Puts `file:line` where the scorer only knows a row's number.
fn locate(error: EvaluateError, origin: impl Fn(usize) -> Option<String>) -> EvaluateError {
    let name = |row: String| row.strip_prefix("row ").and_then(|n| n.parse::<usize>().ok()).and_then(|n| origin(n - 1)).unwrap_or(row);
    match error {
        EvaluateError::EmptyPrompt { row } => EvaluateError::EmptyPrompt { row: name(row) },
        EvaluateError::NonFinite { row } => EvaluateError::NonFinite { row: name(row) },
        other => other,
    }
}

impl Classification {
    /// Rows that lost tokens to the cut-off.
    pub fn truncated(&self) -> usize {
        self.rows.iter().filter(|r| r.cut > 0).count()
    }

    /// One prediction for each scored row, as `predict` prints it; with `show_prompt` also the exact text scored and
    /// the text of the predicted label.
    pub fn predictions<'a>(&'a self, samples: &'a [Sample], show_prompt: bool) -> impl Iterator<Item = Prediction> + 'a {
        self.rows.iter().map(move |row| {
            let mut p = row.scored.to_prediction(&self.labels, &samples[row.sample].text());
            if show_prompt {
                p.prompt = Some(row.prompt.clone());
                p.label_text = self.label_texts.get(row.scored.predicted).cloned();
            }
            p
        })
    }

    /// Gold and predicted class of each scored row.
    ///
    /// # Errors
    /// [`EvaluateError::NoGold`] for a row without a label or with one that the task does not have.
    pub fn decisions(&self, samples: &[Sample]) -> Result<Vec<Decision>> {
        let one = |row: &ClassifiedRow| {
            let sample = &samples[row.sample];
            let no_gold = |reason: String| EvaluateError::NoGold { origin: sample.origin.to_string(), reason };
            let label = sample.label().ok_or_else(|| no_gold("the row has none; evaluation needs to know the right answer".into()))?;
            let gold = self.labels.iter().position(|l| l == label).ok_or_else(|| {
                no_gold(format!(
                    "`{label}` is not one of the task's labels ({}); map it with --label-map {label}=…",
                    self.labels.join(", ")
                ))
            })?;
            Ok(Decision { gold, predicted: row.scored.predicted, gold_probability: row.scored.normalized[gold] })
        };
        self.rows.iter().map(one).collect()
    }

    /// All metrics with their intervals.
    ///
    /// # Errors
    /// As [`Self::decisions`].
    pub fn evaluate(&self, samples: &[Sample], settings: Bootstrap) -> Result<EvalReport> {
        Ok(classification_report(&self.labels, &self.decisions(samples)?, settings))
    }
}

/// 1 where the decision is right and 0 where it is wrong, for [`crate::intervals::paired_difference`].
pub fn hits(decisions: &[Decision]) -> Vec<f64> {
    decisions.iter().map(|d| f64::from(u8::from(d.gold == d.predicted))).collect()
}
