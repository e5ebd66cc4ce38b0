//! Text to ids and ids to text.

use std::ops::Range;

use super::{DecodeStream, Tokenizer};
use crate::error::{Result, TextError};

/// Ids, and where in the text each came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoding {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Byte range in the text of each id; empty (`0..0`) for a token that the tokenizer added itself. Ranges lie on character
    /// borders: tokens that share one character (an emoji in four tokens) all have its range.
    pub offsets: Vec<Range<usize>>,
}

impl Encoding {
    /// For each token, whether it lies in one of `spans` (byte ranges of the text, sorted or not).
    ///
    /// The rule is that of `transformers`' assistant mask: from the token that holds a span's first byte to the one that holds
    /// its last byte, both included.
    pub fn mask(&self, spans: &[Range<usize>]) -> Vec<bool> {
        let mut mask = vec![false; self.ids.len()];
        for span in spans.iter().filter(|s| !s.is_empty()) {
            let first = self.offsets.iter().position(|o| o.contains(&span.start));
            let last = self.offsets.iter().rposition(|o| o.contains(&(span.end - 1)));
            // A border that falls into white space that no token covers: whatever overlaps the span.
            let first = first.or_else(|| self.offsets.iter().position(|o| !o.is_empty() && o.start >= span.start));
            let last = last.or_else(|| self.offsets.iter().rposition(|o| !o.is_empty() && o.end <= span.end));
            if let (Some(first), Some(last)) = (first, last)
                && first <= last
            {
                mask[first..=last].fill(true);
            }
        }
        mask
    }
}

impl Tokenizer {
    /// The ids of `text`. Special tokens spelled in the text become their ids; with `add_special` the tokenizer's own frame (BOS
    /// for Llama, nothing for SmolLM or GPT-2) is put around.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>> {
        let encoding = self.inner.encode_fast(text, add_special).map_err(|e| TextError::Tokenize(e.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// As [`Tokenizer::encode`], with the byte range of each token.
    pub fn encode_with_offsets(&self, text: &str, add_special: bool) -> Result<Encoding> {
        let encoding = self.inner.encode(text, add_special).map_err(|e| TextError::Tokenize(e.to_string()))?;
        Ok(Encoding { ids: encoding.get_ids().to_vec(), offsets: encoding.get_offsets().iter().map(|&(start, end)| start..end).collect() })
    }

    /// The text of `ids`; bytes that are no UTF-8 become `�`. With `skip_special`, special tokens leave no trace.
    ///
    /// # Errors
    /// [`TextError::UnknownId`] for an id outside the vocabulary (the library would drop it without a word).
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        self.check_ids(ids)?;
        self.inner.decode(ids, skip_special).map_err(|e| TextError::Tokenize(e.to_string()))
    }

    /// A decoder that takes ids one by one and never gives half a character.
    pub fn decode_stream(&self, skip_special: bool) -> DecodeStream<'_> {
        DecodeStream::new(self, skip_special)
    }

    /// Refuses ids that are not in the vocabulary.
    pub(super) fn check_ids(&self, ids: &[u32]) -> Result<()> {
        match ids.iter().find(|&&id| !self.surfaces.has(id)) {
            Some(&id) => Err(TextError::UnknownId { id, vocab_size: self.vocab_size() }),
            None => Ok(()),
        }
    }
}
