//! What the model would see: the data behind `tunesmith data preview`. Rows as tokens with what is trained of them, the three sequences
//! (input ids, attention mask, labels), lengths, and everything that was cut or left out.

use std::collections::BTreeMap;

use serde::Serialize;
use text::Tokenizer;

use crate::error::BadRow;
use crate::import::Loaded;
use crate::render::{DroppedSample, IGNORED, Rendered, RenderedRows, Renderer, Truncated};
use crate::sample::{Origin, Sample};
use crate::settings::Shape;

/// The most bars that a histogram has.
const BARS: usize = 12;

/// All that a preview shows.
#[derive(Debug, Clone, Serialize)]
pub struct Preview {
    /// What one row is.
    pub shape: Shape,
    /// Rows read from the files, those left out included.
    pub read: usize,
    /// Rows that the `where` filter left out.
    pub filtered: usize,
    /// Samples of each class, before any selection.
    pub labels: BTreeMap<String, usize>,
    /// Rows that cannot be used.
    pub bad: Vec<BadRow>,
    /// Samples that gave no row.
    pub dropped: Vec<DroppedSample>,
    /// Rows that lost tokens.
    pub truncated: Vec<Truncated>,
    /// Lengths of the rendered rows.
    pub lengths: Lengths,
    /// The first rows in full.
    pub rows: Vec<PreviewRow>,
}

/// How long the rows are, in tokens.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Lengths {
    /// Number of rows.
    pub rows: usize,
    /// Tokens of all rows.
    pub tokens: usize,
    /// Tokens that are trained.
    pub trained_tokens: usize,
    /// The shortest row.
    pub min: usize,
    /// Half of the rows are not longer.
    pub median: usize,
    /// 95 of 100 rows are not longer.
    pub p95: usize,
    /// The longest row.
    pub max: usize,
    /// The mean.
    pub mean: f64,
    /// Rows by length, in bars of equal width without gaps.
    pub histogram: Vec<Bar>,
}

/// One bar of a histogram: rows with `from <= length <= to`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bar {
    /// Shortest length in it.
    pub from: usize,
    /// Longest length in it.
    pub to: usize,
    /// Number of rows.
    pub rows: usize,
}

/// One row in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PreviewRow {
    /// The sample's id.
    pub id: String,
    /// Where it was read.
    pub origin: Origin,
    /// Label, completion or last answer.
    pub answer: Option<String>,
    /// Its tokens.
    pub tokens: Vec<PreviewToken>,
    /// The first sequence.
    pub input_ids: Vec<u32>,
    /// The second sequence: all ones, as rows are never padded.
    pub attention_mask: Vec<u8>,
    /// The third sequence: -100 where nothing is trained.
    pub labels: Vec<i32>,
    /// Tokens that were cut off.
    pub cut: usize,
}

/// One token of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PreviewToken {
    /// Its id.
    pub id: u32,
    /// What it stands for. Of tokens that share a character the last has it and the others have nothing, so that the texts of a row
    /// joined are the row's text.
    pub text: String,
    /// Its bytes in hexadecimal, if they are not whole characters (`E4BD`, two thirds of 你).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<String>,
    /// Whether the model learns to write it.
    pub trained: bool,
}

/// The preview of rendered rows, the first `show` of them in full. `samples` are those that were rendered.
pub fn preview(loaded: &Loaded, samples: &[Sample], rendered: &RenderedRows, renderer: &Renderer, show: usize) -> Preview {
    let rows = rendered.rows.iter().zip(&rendered.samples).take(show);
    Preview {
        shape: loaded.shape,
        read: loaded.read,
        filtered: loaded.filtered,
        labels: loaded.label_counts(),
        bad: loaded.bad.clone(),
        dropped: rendered.dropped.clone(),
        truncated: rendered.truncated.clone(),
        lengths: lengths(&rendered.rows),
        rows: rows.map(|(row, &sample)| preview_row(&samples[sample], row, renderer.tokenizer())).collect(),
    }
}

/// One row in full.
pub fn preview_row(sample: &Sample, row: &Rendered, tokenizer: &Tokenizer) -> PreviewRow {
    // Bytes of characters that are not whole yet.
    let mut pending: Vec<u8> = Vec::new();
    let mut tokens = Vec::with_capacity(row.input_ids.len());
    for (i, &id) in row.input_ids.iter().enumerate() {
        let own = tokenizer.byte_surface(id).unwrap_or_default();
        pending.extend_from_slice(&own);
        let text = whole_characters(&mut pending, i + 1 == row.input_ids.len());
        let bytes = std::str::from_utf8(&own).is_err().then(|| own.iter().map(|b| format!("{b:02X}")).collect());
        // The first token of a row is predicted by nothing.
        tokens.push(PreviewToken { id, text, bytes, trained: i > 0 && row.labels[i] != IGNORED });
    }
    PreviewRow {
        id: sample.id.clone(),
        origin: sample.origin.clone(),
        answer: sample.answer(),
        tokens,
        input_ids: row.input_ids.clone(),
        attention_mask: row.attention_mask(),
        labels: row.labels.clone(),
        cut: row.cut,
    }
}

/// Takes what is decodable off `pending`: an unfinished character at its end stays, unless nothing can follow.
fn whole_characters(pending: &mut Vec<u8>, last: bool) -> String {
    let mut text = String::new();
    while let Err(e) = std::str::from_utf8(pending) {
        let valid = e.valid_up_to();
        text.push_str(&String::from_utf8_lossy(&pending[..valid]));
        match e.error_len() {
            None if !last => {
                pending.drain(..valid);
                return text;
            }
            bad => {
                text.push('\u{FFFD}');
                pending.drain(..bad.map_or(pending.len(), |n| valid + n));
            }
        }
    }
    text.push_str(&String::from_utf8_lossy(pending));
    pending.clear();
    text
}

/// Statistics of row lengths.
pub fn lengths(rows: &[Rendered]) -> Lengths {
    let mut sorted: Vec<usize> = rows.iter().map(|row| row.input_ids.len()).collect();
    sorted.sort_unstable();
    let (Some(&min), Some(&max)) = (sorted.first(), sorted.last()) else {
        return Lengths::default();
    };
    let tokens: usize = sorted.iter().sum();
    // The smallest length that at least this share of the rows does not exceed.
    let quantile = |percent: usize| sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1];
    let width = nice_width(max - min + 1);
    let first = min / width * width;
    let mut histogram: Vec<Bar> = (first..=max).step_by(width).map(|from| Bar { from, to: from + width - 1, rows: 0 }).collect();
    sorted.iter().for_each(|length| histogram[(length - first) / width].rows += 1);
    Lengths {
        rows: rows.len(),
        tokens,
        trained_tokens: rows.iter().map(Rendered::trained_tokens).sum(),
        min,
        median: quantile(50),
        p95: quantile(95),
        max,
        mean: tokens as f64 / rows.len() as f64,
        histogram,
    }
}

/// The smallest of 1, 2, 5, 10, 20, 50, … that covers `range` in few enough bars, one spare for the first bar's rounding down.
fn nice_width(range: usize) -> usize {
    let mut decade = 1;
    loop {
        for step in [1, 2, 5] {
            if range.div_ceil(decade * step) < BARS {
                return decade * step;
            }
        }
        decade *= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::Renderer;
    use crate::settings::Truncation;
    use crate::testing::{byte_level, review};
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn a_preview_shows_the_three_sequences_and_what_was_left_out() {
        let task = serde_json::from_value(json!({"type": "classify", "prompt": "{text}:", "labels": {"好": " p", "差": " n"}})).unwrap();
        let renderer = Renderer::new(byte_level(false), None, task, 10, Truncation::Right).unwrap();
        let samples = [review("好", "好"), review("abcdefghijk", "差"), review("x", "?")];
        let rendered = renderer.render_all(&samples).unwrap();
        let loaded =
            Loaded { samples: samples.to_vec(), bad: vec![], read: 5, filtered: 2, shape: Shape::TextLabel, columns: vec!["text".into()] };
        let preview = preview(&loaded, &samples, &rendered, &renderer, 1);
        let row = &preview.rows[0];
        let tokens: Vec<_> = row.tokens.iter().map(|t| (t.text.as_str(), t.trained)).collect();
        assert_eq!(tokens, [("", false), ("", false), ("好", false), (":", false), (" p", true), ("<|im_end|>", true)]);
        assert_eq!(row.tokens[1].bytes.as_deref(), Some("A5"));
        assert_eq!(row.attention_mask, [1; 6]);
        assert_eq!(row.labels[..4], [IGNORED; 4]);
        assert_eq!((preview.truncated.len(), preview.dropped.len(), preview.rows.len()), (1, 1, 1));
        assert_eq!((preview.lengths.rows, preview.lengths.max, preview.lengths.trained_tokens), (2, 10, 4));
        assert_eq!(preview.labels["差"], 1);
        assert!(serde_json::to_string(&preview).unwrap().contains("\"attention_mask\":[1,1,1,1,1,1]"));
    }

    #[test]
    fn half_characters_wait_for_their_other_half() {
        let mut pending = b"a\xE5\xA5".to_vec();
        assert_eq!(whole_characters(&mut pending, false), "a");
        pending.push(0xBD);
        assert_eq!(whole_characters(&mut pending, false), "好");
        pending.extend(b"\xFFb\xE5");
        assert_eq!(whole_characters(&mut pending, false), "\u{FFFD}b");
        assert_eq!(whole_characters(&mut pending, true), "\u{FFFD}");
        assert!(pending.is_empty());
    }

    fn row(length: usize) -> Rendered {
        Rendered { input_ids: vec![0; length], labels: vec![IGNORED; length], cut: 0, key: 0 }
    }

    #[test]
    fn quantiles_are_lengths_that_are_there() {
        let rows: Vec<Rendered> = (1..=100).map(row).collect();
        let l = lengths(&rows);
        assert_eq!((l.min, l.median, l.p95, l.max, l.mean), (1, 50, 95, 100, 50.5));
        assert_eq!(lengths(&[]), Lengths::default());
    }

    proptest! {
        #[test]
        fn every_row_stands_in_one_bar(sizes in prop::collection::vec(1usize..3000, 1..50)) {
            let rows: Vec<Rendered> = sizes.iter().map(|&n| row(n)).collect();
            let bars = lengths(&rows).histogram;
            prop_assert!(bars.len() <= BARS);
            for bar in &bars {
                prop_assert_eq!(bar.rows, sizes.iter().filter(|&&n| bar.from <= n && n <= bar.to).count());
            }
            prop_assert_eq!(bars.iter().map(|b| b.rows).sum::<usize>(), sizes.len());
        }
    }
}
