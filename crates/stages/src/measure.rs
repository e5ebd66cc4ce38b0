//! One way to judge a model on rows: the same for `train` (before and after), `eval`, and evaluations in the midst of training.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use dataset::{Rendered, Renderer, Sample, TaskSpec};
use engine::{Arena, ParamStore};
use evaluate::classify::{Classification, classify, hits};
use evaluate::intervals::{Bootstrap, paired_difference};
use evaluate::results::{RowLoss, text_difference};
use evaluate::{Difference, EvalReport, EvaluateError};
use model::Decoder;
use serde::{Deserialize, Serialize};

use crate::error::{Result, StageError};
use crate::progress::{Progress, Unit};

/// What was measured, with what is needed to compare it row by row with another measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measurement {
    pub report: EvalReport,
    /// For a classification: 1 for a row that is right, 0 for one that is wrong.
    pub hits: Vec<f64>,
    /// Otherwise: sum of the token losses and number of tokens of each row.
    pub losses: Vec<(f64, u64)>,
    /// What the model said of each row, for a classification.
    pub rows: Vec<RowVerdict>,
}

/// A row's verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RowVerdict {
    pub sample: usize,
    pub label: String,
    pub normalized: evaluate::Labelled<f64>,
}

/// A model with what it needs to be asked.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub decoder: &'a Decoder,
    pub params: &'a ParamStore,
    pub arena: &'a Arena,
    pub renderer: &'a Renderer,
}

/// Judges `samples`; `rendered` are the same rows as tokens, used where labels are not scored.
pub(crate) fn measure(
    asked: Asked<'_>,
    samples: &[Sample],
    rendered: &[Rendered],
    what: &str,
    progress: &mut dyn Progress,
) -> Result<Measurement> {
    let classification = matches!(asked.renderer.task(), TaskSpec::Classify(_));
    let total = if classification { samples.len() } else { rendered.len() };
    progress.begin(what, Some(total as u64), 0, Unit::Rows);
    let mut done = 0;
    let result = {
        let mut advance = |now: usize, _: usize| {
            progress.advance((now - done) as u64);
            done = now;
            if progress.cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        if classification { classified(asked, samples, &mut advance) } else { continued(asked, rendered, &mut advance) }
    };
    progress.end();
    result.map_err(|e| match e {
        StageError::Evaluate(EvaluateError::Stopped { .. }) => StageError::Stopped { help: None },
        other => other,
    })
}

fn classified(asked: Asked<'_>, samples: &[Sample], advance: &mut evaluate::Progress<'_>) -> Result<Measurement> {
    let c = classify(asked.decoder, asked.params, asked.arena, asked.renderer, samples, advance)?;
    let decisions = c.decisions(samples)?;
    Ok(Measurement { report: c.evaluate(samples, Bootstrap::default())?, hits: hits(&decisions), losses: Vec::new(), rows: verdicts(&c) })
}

fn verdicts(c: &Classification) -> Vec<RowVerdict> {
    let one = |row: &evaluate::classify::ClassifiedRow| RowVerdict {
        sample: row.sample,
        label: c.labels[row.scored.predicted].clone(),
        normalized: evaluate::Labelled::new(c.labels.iter().cloned().zip(row.scored.normalized.iter().copied())),
    };
    c.rows.iter().map(one).collect()
}

fn continued(asked: Asked<'_>, rendered: &[Rendered], advance: &mut evaluate::Progress<'_>) -> Result<Measurement> {
    let losses = evaluate::perplexity::row_losses(asked.decoder, asked.params, asked.arena, rendered, advance)?;
    let report = evaluate::results::text_report(&losses, Bootstrap::default());
    Ok(Measurement { report, hits: Vec::new(), losses: losses.iter().map(|l| (l.nll, l.tokens)).collect(), rows: Vec::new() })
}

impl Measurement {
    /// Change of the accuracy from `before` to this, row by row on the same rows.
    pub fn accuracy_change(&self, before: &Measurement) -> Option<Difference> {
        if self.hits.is_empty() {
            return None;
        }
        paired_difference(&before.hits, &self.hits, Bootstrap::default())
    }

    /// Change of the loss of a token from `before` to this, on the same rows.
    pub fn loss_change(&self, before: &Measurement) -> Option<Difference> {
        if self.losses.is_empty() {
            return None;
        }
        let rows = |m: &Measurement| m.losses.iter().map(|&(nll, tokens)| RowLoss { nll, tokens }).collect::<Vec<_>>();
        text_difference(&rows(before), &rows(self), Bootstrap::default())
    }
}

/// Judges in the midst of training.
pub(crate) struct During<'a> {
    pub renderer: &'a Renderer,
    pub samples: &'a [Sample],
    pub rendered: &'a [Rendered],
}

impl train::Evaluator for During<'_> {
    fn evaluate(
        &mut self,
        decoder: &Decoder,
        params: &ParamStore,
        arena: &Arena,
    ) -> std::result::Result<BTreeMap<String, f64>, train::observe::EvaluatorError> {
        let asked = Asked { decoder, params, arena, renderer: self.renderer };
        // A stop that is asked for now is honoured by the loop, after this evaluation and with a checkpoint.
        let measured = measure(asked, self.samples, self.rendered, "evaluate", &mut crate::progress::Silent)?;
        let report = measured.report;
        let numbers = [
            ("loss", report.loss),
            ("perplexity", report.perplexity),
            ("accuracy", report.accuracy),
            ("f1", report.macro_avg.as_ref().map(|m| m.f1)),
            ("precision", report.macro_avg.as_ref().map(|m| m.precision)),
            ("recall", report.macro_avg.as_ref().map(|m| m.recall)),
        ];
        Ok(numbers.into_iter().filter_map(|(name, value)| value.map(|v| (name.to_owned(), v))).collect())
    }
}

/// The numbers of a report in one line: `accuracy 0.839 [0.816, 0.861], macro F1 0.838`.
pub(crate) fn headline(report: &EvalReport) -> String {
    let within = |value: f64, interval: Option<evaluate::Interval>| match interval {
        Some(i) => format!("{value:.3} [{:.3}, {:.3}]", i.low, i.high),
        None => format!("{value:.3}"),
    };
    let confidence = report.confidence.as_ref();
    let mut parts = Vec::new();
    if let Some(accuracy) = report.accuracy {
        parts.push(format!("accuracy {}", within(accuracy, confidence.and_then(|c| c.accuracy))));
    }
    if let Some(averages) = &report.macro_avg {
        parts.push(format!("macro F1 {:.3}", averages.f1));
    }
    if let Some(loss) = report.loss {
        parts.push(format!("loss {}", within(loss, confidence.and_then(|c| c.loss))));
    }
    if let Some(perplexity) = report.perplexity {
        parts.push(format!("perplexity {perplexity:.2}"));
    }
    parts.join(", ")
}

/// Numbers of an evaluation in the midst of training, in one line.
pub(crate) fn headline_of_numbers(numbers: &BTreeMap<String, f64>) -> String {
    numbers.iter().map(|(name, value)| format!("{name} {value:.4}")).collect::<Vec<_>>().join(", ")
}
