//! `tunesmith data preview`: rows as the model will see them, and everything that was cut or left out.

use std::collections::BTreeMap;
use std::fmt::Write;

use dataset::preview::{Lengths, PreviewRow, lengths, preview_row};
use dataset::render::{DroppedSample, Truncated};
use dataset::{BadRow, Sample, Shape};
use recipe::Recipe;
use serde::Serialize;

use crate::environment::Environment;
use crate::error::Result;
use crate::fetch::Used;
use crate::progress::Progress;
use crate::{human, rows};

/// Rows with a reason that the text shows; JSON has them all.
const SHOWN: usize = 10;

/// What there is to see.
pub struct Preview {
    /// Rows in full.
    pub rows: Vec<PreviewRow>,
    /// Everything else.
    pub summary: Summary,
}

/// Counts, lengths and reasons.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The rows' source.
    pub source: Used,
    /// What one row is.
    pub shape: Shape,
    /// Rows read.
    pub read: usize,
    /// Rows that the `where` filter left out.
    pub filtered: usize,
    /// Rows beyond `max_samples`.
    pub unused: usize,
    /// Rows to train on.
    pub train: usize,
    /// Rows held out.
    pub heldout: usize,
    /// Rows of each class to train on.
    pub labels: BTreeMap<String, usize>,
    /// Rows that cannot be used, each with its place and reason.
    pub bad: Vec<BadRow>,
    /// Rows that gave nothing to train, with reasons.
    pub dropped: Vec<DroppedSample>,
    /// Rows that lost tokens.
    pub truncated: Vec<Truncated>,
    /// Lengths of the training rows.
    pub lengths: Lengths,
}

/// Reads and renders a recipe's rows.
pub fn run(environment: &Environment, recipe: &Recipe, show: usize, progress: &mut dyn Progress) -> Result<Preview> {
    let rows::Ready { data, tokens, .. } = rows::ready(environment, recipe, None, progress)?;
    let shown = tokens.train.rows.iter().zip(&tokens.train.samples).take(show);
    let rows = shown.map(|(row, &sample)| preview_row(&data.train[sample], row, tokens.renderer.tokenizer())).collect();
    let mut labels = BTreeMap::new();
    data.train.iter().filter_map(Sample::label).for_each(|l| *labels.entry(l.to_owned()).or_insert(0) += 1);
    let summary = Summary {
        source: data.used,
        shape: data.facts.shape,
        read: data.facts.read,
        filtered: data.facts.filtered,
        unused: data.facts.unused,
        train: tokens.train.rows.len(),
        heldout: data.heldout.len(),
        labels,
        bad: data.facts.bad,
        dropped: tokens.train.dropped,
        truncated: tokens.train.truncated,
        lengths: lengths(&tokens.train.rows),
    };
    Ok(Preview { rows, summary })
}

impl Preview {
    /// As a person reads it; with `colour`, trained tokens are green and untrained ones grey, else trained ones stand in brackets.
    pub fn to_text(&self, colour: bool) -> String {
        let mut out = String::new();
        for row in &self.rows {
            let answer = row.answer.as_deref().map(|a| format!(" → {a}")).unwrap_or_default();
            let origin = row.origin.to_string();
            let place = if row.id == origin { String::new() } else { format!(" ({origin})") };
            let _ = writeln!(out, "{}{place}{answer}", row.id);
            for (i, token) in row.tokens.iter().enumerate() {
                // Tokens that hold a part of a character show a dot; the last of them shows the whole character.
                let text = if token.text.is_empty() { "·".to_owned() } else { token.text.replace('\n', "⏎").replace('\t', "⇥") };
                // Neighbouring tokens alternate between two shades, so that their borders show.
                let _ = match (colour, token.trained, i % 2) {
                    (true, true, 0) => write!(out, "\x1b[30;42m{text}\x1b[0m"),
                    (true, true, _) => write!(out, "\x1b[30;102m{text}\x1b[0m"),
                    (true, false, 0) => write!(out, "\x1b[37;100m{text}\x1b[0m"),
                    (true, false, _) => write!(out, "\x1b[90;47m{text}\x1b[0m"),
                    (false, true, _) => write!(out, "[{text}]"),
                    (false, false, _) => write!(out, "{text}│"),
                };
            }
            let _ = writeln!(out, "\n  input_ids      {}", join(&row.input_ids));
            let _ = writeln!(out, "  attention_mask {}", join(&row.attention_mask));
            let _ = writeln!(out, "  labels         {}", join(&row.labels));
            if row.cut > 0 {
                let _ = writeln!(out, "  {} tokens were cut off", row.cut);
            }
            out.push('\n');
        }
        self.summary.write(&mut out, colour);
        out.trim_end().to_owned()
    }
}

impl Summary {
    fn write(&self, out: &mut String, colour: bool) {
        let key = if colour {
            "trained tokens are \x1b[30;42m green \x1b[0m, untrained \x1b[37;100m grey \x1b[0m"
        } else {
            "trained tokens stand in [brackets]"
        };
        let l = &self.lengths;
        let _ = writeln!(out, "{key}; -100 in labels is untrained");
        let _ = writeln!(out, "{}: {} of shape {}", self.source.source, human::plural(self.read, "row"), self.shape);
        let _ = writeln!(
            out,
            "{} to train on, {} held out, {} left out by the filter, {} beyond max_samples",
            self.train, self.heldout, self.filtered, self.unused
        );
        for (label, n) in &self.labels {
            let _ = writeln!(out, "  label {label}: {n}");
        }
        let _ = writeln!(
            out,
            "{} tokens, {} of them trained; lengths {} to {}, median {}, 95% up to {}",
            human::count(l.tokens as u64),
            human::count(l.trained_tokens as u64),
            l.min,
            l.max,
            l.median,
            l.p95
        );
        let most = l.histogram.iter().map(|b| b.rows).max().unwrap_or(0).max(1);
        for bar in &l.histogram {
            let width = (bar.rows * 40).div_ceil(most);
            let _ = writeln!(out, "  {:>5}-{:<5} {:<40} {}", bar.from, bar.to, "█".repeat(width), bar.rows);
        }
        let mut list = |title: (&str, &str), reasons: Vec<String>| {
            if reasons.is_empty() {
                return;
            }
            let _ =
                writeln!(out, "{}:", if reasons.len() == 1 { format!("1 {}", title.0) } else { format!("{} {}", reasons.len(), title.1) });
            reasons.iter().take(SHOWN).for_each(|r| {
                let _ = writeln!(out, "  {r}");
            });
            if reasons.len() > SHOWN {
                let _ = writeln!(out, "  … and {} more (--json shows all)", reasons.len() - SHOWN);
            }
        };
        list(("row cannot be used", "rows cannot be used"), self.bad.iter().map(ToString::to_string).collect());
        list(("row was left out", "rows were left out"), self.dropped.iter().map(|d| format!("{}: {}", d.origin, d.reason)).collect());
        list(("row was cut", "rows were cut"), self.truncated.iter().map(|t| format!("{}: {} tokens cut off", t.origin, t.cut)).collect());
    }
}

fn join<T: std::fmt::Display>(values: &[T]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
