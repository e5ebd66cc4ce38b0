//! The JSON of an evaluation and of a prediction. Scripts rely on these names: adding a key is fine, changing one
//! is not.

use crate::intervals::{self, Bootstrap, Difference, Interval};
use crate::labels::Labelled;
use crate::metrics::{Averages, ClassScores, Confusion, log_loss};
use serde::{Deserialize, Serialize};

/// The result of an evaluation. Only what the task has is present: a classifier has no perplexity, a text model no
/// confusion matrix.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EvalReport {
    /// Rows evaluated.
    pub n: usize,
    /// Fraction of rows whose predicted label is the gold label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Averages over classes, each class counting the same.
    #[serde(default, rename = "macro", skip_serializing_if = "Option::is_none")]
    pub macro_avg: Option<Averages>,
    /// Averages over rows (equal to the accuracy when each row has one label).
    #[serde(default, rename = "micro", skip_serializing_if = "Option::is_none")]
    pub micro_avg: Option<Averages>,
    /// Scores of each class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_class: Option<Labelled<ClassScores>>,
    /// gold label -> predicted label -> rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confusion: Option<Labelled<Labelled<u64>>>,
    /// Classification: mean of -ln(normalized probability of the gold label). Text: mean of -ln p over trained
    /// tokens. Nats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// exp(loss) for text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perplexity: Option<f64>,
    /// Tokens that the loss of a text task is averaged over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Confidence intervals of the numbers above; absent without rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<Confidence>,
}

/// Confidence intervals, each `[low, high]`, keyed like the numbers they belong to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Confidence {
    /// The level, e.g. 0.95.
    pub level: f64,
    /// How they were computed.
    pub method: String,
    /// Draws.
    pub resamples: usize,
    /// Of the accuracy. Where every row is right, or every row wrong, Wilson's interval (see [`intervals::wilson`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<Interval>,
    /// Of the macro averages.
    #[serde(default, rename = "macro", skip_serializing_if = "Option::is_none")]
    pub macro_avg: Option<AverageIntervals>,
    /// Of each class's scores, over the draws in which the score is defined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_class: Option<Labelled<AverageIntervals>>,
    /// Of the loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<Interval>,
    /// Of the perplexity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perplexity: Option<Interval>,
}

/// Intervals of precision, recall and F1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AverageIntervals {
    /// Of the precision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Interval>,
    /// Of the recall.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recall: Option<Interval>,
    /// Of F1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub f1: Option<Interval>,
}

/// One classified row as `predict` prints it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The row's text.
    pub text: String,
    /// The label with the highest probability.
    pub label: String,
    /// Sum of the natural log-probabilities of each label text's tokens, without end-of-sequence.
    pub scores: Labelled<f64>,
    /// Softmax over the scores (after the end-of-sequence rule, see [`crate::score`]): it decides.
    pub normalized: Labelled<f64>,
    /// The exact text scored, on request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The text of the predicted label, on request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_text: Option<String>,
}

/// The scores of one row, classes in the task's order.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredRow {
    /// Sum of log-probabilities of each label's tokens.
    pub scores: Vec<f64>,
    /// Probabilities of the labels; sum 1.
    pub normalized: Vec<f64>,
    /// The class of the highest probability, the first of equals.
    pub predicted: usize,
}

impl ScoredRow {
    /// From the label scores and, where the end-of-sequence rule applies, log p(EOS) after each label.
    pub fn new(scores: Vec<f64>, eos: Option<&[f64]>) -> Self {
        let decide: Vec<f64> = match eos {
            Some(eos) => scores.iter().zip(eos).map(|(s, e)| s + e).collect(),
            None => scores.clone(),
        };
        let max = decide.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = decide.iter().map(|s| (s - max).exp()).collect();
        let sum: f64 = weights.iter().sum();
        let normalized: Vec<f64> = weights.iter().map(|w| w / sum).collect();
        // On the scores themselves: two far apart labels can both round to a probability of 1 and 0.
        let predicted = (0..decide.len()).fold(0, |best, i| if decide[i] > decide[best] { i } else { best });
        Self { scores, normalized, predicted }
    }

    /// The JSON form. `labels` and the row's classes are in the same order.
    pub fn to_prediction(&self, labels: &[String], text: &str) -> Prediction {
        let labelled = |v: &[f64]| Labelled::new(labels.iter().cloned().zip(v.iter().copied()));
        Prediction {
            text: text.to_owned(),
            label: labels.get(self.predicted).cloned().unwrap_or_default(),
            scores: labelled(&self.scores),
            normalized: labelled(&self.normalized),
            prompt: None,
            label_text: None,
        }
    }
}

/// One row of a classification as the report needs it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decision {
    /// Class of the data.
    pub gold: usize,
    /// Class of the model.
    pub predicted: usize,
    /// Probability that the model gave to the gold class.
    pub gold_probability: f64,
}

/// All metrics of a classification with their intervals.
pub fn classification_report(labels: &[String], rows: &[Decision], settings: Bootstrap) -> EvalReport {
    let k = labels.len();
    let confusion = Confusion::from_pairs(k, rows.iter().map(|r| (r.gold, r.predicted)));
    let name = |i: usize| labels[i].clone();
    EvalReport {
        n: rows.len(),
        accuracy: Some(confusion.accuracy()),
        macro_avg: Some(confusion.macro_average()),
        micro_avg: Some(confusion.micro_average()),
        per_class: Some(Labelled::new((0..k).map(|i| (name(i), confusion.class(i))))),
        confusion: Some(Labelled::new((0..k).map(|g| (name(g), Labelled::new((0..k).map(|p| (name(p), confusion.count(g, p)))))))),
        loss: Some(log_loss(rows.iter().map(|r| r.gold_probability))),
        confidence: classification_confidence(labels, rows, &confusion, settings),
        ..Default::default()
    }
}

fn classification_confidence(labels: &[String], rows: &[Decision], seen: &Confusion, settings: Bootstrap) -> Option<Confidence> {
    if rows.is_empty() {
        return None;
    }
    let k = labels.len();
    let losses: Vec<f64> = rows.iter().map(|r| log_loss([r.gold_probability])).collect();
    // accuracy, loss, macro (3), each class (3): all from one set of draws.
    let found = intervals::bootstrap(rows.len(), 5 + 3 * k, settings, |drawn, out| {
        let mut c = Confusion::new(k);
        let mut loss = 0.0;
        for &i in drawn {
            let r = &rows[i as usize];
            c.add(r.gold, r.predicted, 1);
            loss += losses[i as usize];
        }
        let m = c.macro_average();
        out[..5].copy_from_slice(&[c.accuracy(), loss / drawn.len() as f64, m.precision, m.recall, m.f1]);
        for i in 0..k {
            let s = c.class(i);
            let o = &mut out[5 + 3 * i..8 + 3 * i];
            // A score without rows to compute it from is undefined on this draw, not 0.
            if c.predicted(i) > 0 {
                o[0] = s.precision;
            }
            if s.support > 0 {
                o[1] = s.recall;
            }
            if c.predicted(i) + s.support > 0 {
                o[2] = s.f1;
            }
        }
    });
    let three = |v: &[Option<Interval>]| AverageIntervals { precision: v[0], recall: v[1], f1: v[2] };
    let one_sided = seen.correct() == 0 || seen.correct() == seen.total();
    Some(Confidence {
        level: settings.level,
        method: "percentile bootstrap over rows".into(),
        resamples: settings.resamples,
        accuracy: if one_sided { intervals::wilson(seen.correct(), seen.total(), settings.level) } else { found[0] },
        loss: found[1],
        macro_avg: Some(three(&found[2..5])),
        per_class: Some(Labelled::new(labels.iter().enumerate().map(|(i, l)| (l.clone(), three(&found[5 + 3 * i..8 + 3 * i]))))),
        perplexity: None,
    })
}

/// The negative log-likelihood of one row's trained tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowLoss {
    /// Sum of -ln p over the row's trained tokens.
    pub nll: f64,
    /// How many tokens that are.
    pub tokens: u64,
}

/// Loss and perplexity of a text task, averaged over tokens; the intervals draw whole rows, because tokens of one
/// row are not independent.
pub fn text_report(rows: &[RowLoss], settings: Bootstrap) -> EvalReport {
    let mean = |rows: &mut dyn Iterator<Item = &RowLoss>| {
        let (nll, tokens) = rows.fold((0.0, 0u64), |(a, t), r| (a + r.nll, t + r.tokens));
        if tokens == 0 { f64::NAN } else { nll / tokens as f64 }
    };
    let loss = mean(&mut rows.iter());
    if loss.is_nan() {
        return EvalReport { n: rows.len(), tokens: Some(0), ..Default::default() };
    }
    let interval = intervals::bootstrap(rows.len(), 1, settings, |drawn, out| {
        out[0] = mean(&mut drawn.iter().map(|&i| &rows[i as usize]));
    })[0];
    EvalReport {
        n: rows.len(),
        loss: Some(loss),
        perplexity: Some(loss.exp()),
        tokens: Some(rows.iter().map(|r| r.tokens).sum()),
        confidence: Some(Confidence {
            level: settings.level,
            method: "percentile bootstrap over rows".into(),
            resamples: settings.resamples,
            accuracy: None,
            macro_avg: None,
            per_class: None,
            loss: interval,
            // exp is increasing: it maps percentiles to percentiles.
            perplexity: interval.map(|i| Interval { low: i.low.exp(), high: i.high.exp() }),
        }),
        ..Default::default()
    }
}

/// Change of the token-averaged loss of the same rows, with a paired bootstrap over rows. `None` if there is nothing
/// to compare or the rows differ.
pub fn text_difference(before: &[RowLoss], after: &[RowLoss], settings: Bootstrap) -> Option<Difference> {
    if before.len() != after.len() || before.iter().zip(after).any(|(a, b)| a.tokens != b.tokens) {
        return None;
    }
    let mean = |rows: &mut dyn Iterator<Item = usize>| {
        let (nll, tokens) = rows.fold((0.0, 0u64), |(d, t), i| (d + after[i].nll - before[i].nll, t + after[i].tokens));
        if tokens == 0 { f64::NAN } else { nll / tokens as f64 }
    };
    let interval = intervals::bootstrap(before.len(), 1, settings, |drawn, out| out[0] = mean(&mut drawn.iter().map(|&i| i as usize)))[0]?;
    Some(Difference { mean: mean(&mut (0..before.len())), interval, n: before.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Vec<String> {
        vec!["negative".into(), "positive".into()]
    }

    #[test]
    fn the_json_has_the_promised_keys_and_no_others_without_reason() {
        let rows = [
            Decision { gold: 0, predicted: 0, gold_probability: 0.9 },
            Decision { gold: 1, predicted: 0, gold_probability: 0.25 },
            Decision { gold: 1, predicted: 1, gold_probability: 0.75 },
        ];
        let r = classification_report(&labels(), &rows, Bootstrap { resamples: 50, ..Default::default() });
        let json = serde_json::to_value(&r).unwrap();
        let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["n", "accuracy", "macro", "micro", "per_class", "confusion", "loss", "confidence"]);
        assert_eq!(
            json["confusion"],
            serde_json::json!({"negative": {"negative": 1, "positive": 0}, "positive": {"negative": 1, "positive": 1}})
        );
        assert_eq!(json["per_class"]["positive"]["support"], 2);
        assert_eq!(json["macro"].as_object().unwrap().keys().collect::<Vec<_>>(), ["precision", "recall", "f1"]);
        assert_eq!(json["confidence"]["accuracy"].as_array().unwrap().len(), 2);
        assert_eq!(serde_json::from_value::<EvalReport>(json).unwrap(), r);

        let t = text_report(&[RowLoss { nll: 6.0, tokens: 3 }, RowLoss { nll: 2.0, tokens: 1 }], Bootstrap::default());
        let json = serde_json::to_value(&t).unwrap();
        assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>(), ["n", "loss", "perplexity", "tokens", "confidence"]);
        assert_eq!((t.loss, t.tokens), (Some(2.0), Some(4)));
        assert!((t.perplexity.unwrap() - 2f64.exp()).abs() < 1e-12);
    }

    #[test]
    fn certainty_is_not_claimed_from_twenty_lucky_rows() {
        let rows = [Decision { gold: 0, predicted: 0, gold_probability: 1.0 }; 20];
        let c = classification_report(&labels(), &rows, Bootstrap::default()).confidence.unwrap();
        let i = c.accuracy.unwrap();
        assert!(i.low < 0.85 && i.high == 1.0, "{i:?}");
        // A class that never occurs has no interval.
        assert!(c.per_class.unwrap().get("positive").unwrap().f1.is_none());
    }

    #[test]
    fn no_rows_no_numbers_out_of_thin_air() {
        let r = classification_report(&labels(), &[], Bootstrap::default());
        assert!(r.n == 0 && r.confidence.is_none());
        let t = text_report(&[RowLoss { nll: 0.0, tokens: 0 }], Bootstrap::default());
        assert!(t.loss.is_none() && t.perplexity.is_none(), "fully masked rows have no loss, not a loss of 0");
    }

    #[test]
    fn token_weighting_not_row_weighting() {
        let t = text_report(&[RowLoss { nll: 100.0, tokens: 100 }, RowLoss { nll: 3.0, tokens: 1 }], Bootstrap::default());
        assert!((t.loss.unwrap() - 103.0 / 101.0).abs() < 1e-12);
        let ppl = t.confidence.unwrap();
        let (l, p) = (ppl.loss.unwrap(), ppl.perplexity.unwrap());
        assert!((l.low.exp() - p.low).abs() < 1e-12 && l.low >= 1.0 && l.high <= 3.0);
    }

    #[test]
    fn losses_are_compared_on_the_same_rows_only() {
        let a: Vec<RowLoss> = (1..30).map(|i| RowLoss { nll: i as f64, tokens: i }).collect();
        let b: Vec<RowLoss> = a.iter().map(|r| RowLoss { nll: r.nll - 0.5 * r.tokens as f64, ..*r }).collect();
        let d = text_difference(&a, &b, Bootstrap::default()).unwrap();
        assert!((d.mean + 0.5).abs() < 1e-12 && (d.interval.low + 0.5).abs() < 1e-12 && (d.interval.high + 0.5).abs() < 1e-12);
        assert!(text_difference(&a, &b[1..], Bootstrap::default()).is_none());
        let other: Vec<RowLoss> = b.iter().map(|r| RowLoss { tokens: r.tokens + 1, ..*r }).collect();
        assert!(text_difference(&a, &other, Bootstrap::default()).is_none());
    }

    #[test]
    fn scored_row_decides_by_the_normalised_scores() {
        let r = ScoredRow::new(vec![-1.0, -2.0], None);
        assert_eq!(r.predicted, 0);
        assert!((r.normalized[0] - 1.0 / (1.0 + (-1f64).exp())).abs() < 1e-15);
        assert!((r.normalized.iter().sum::<f64>() - 1.0).abs() < 1e-15);
        // The end-of-sequence rule changes the decision, never the reported scores.
        let e = ScoredRow::new(vec![-1.0, -2.0], Some(&[-5.0, -0.1]));
        assert_eq!((e.predicted, e.scores), (1, vec![-1.0, -2.0]));
        // Very unlikely labels do not underflow to 0/0; equal ones go to the first.
        let far = ScoredRow::new(vec![-900.0, -900.0, -2000.0], None);
        assert_eq!((far.predicted, far.normalized), (0, vec![0.5, 0.5, 0.0]));
    }

    #[test]
    fn prediction_json_shape() {
        let p = ScoredRow::new(vec![-3.0, -1.0], None).to_prediction(&labels(), "好看");
        let json = serde_json::to_value(&p).unwrap();
        assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>(), ["text", "label", "scores", "normalized"]);
        assert_eq!((json["label"].as_str(), json["scores"]["negative"].as_f64()), (Some("positive"), Some(-3.0)));
    }
}
