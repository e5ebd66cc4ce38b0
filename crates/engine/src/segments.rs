//! Which rows of a packed tensor belong together.
//!
//! Sequences are laid end to end in one `[tokens, d]` tensor: no padding is computed and no sequence sees another.
//! When decoding, a segment also names the cache slot that holds what came before it.

use crate::cache::KvCache;
use crate::error::{EngineError, Result};

/// One sequence (or the new part of one).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First row.
    pub start: usize,
    /// Number of rows.
    pub len: usize,
    /// Number of tokens that came before and are in the cache.
    pub past: usize,
    /// Slot of the cache.
    pub slot: Option<usize>,
}

/// The segments of a packed tensor, in order of their rows and without gaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segments {
    list: Vec<Segment>,
    tokens: usize,
}

impl Segments {
    /// Whole sequences of the given lengths, end to end. Zero lengths are allowed.
    pub fn from_lengths(lengths: &[usize]) -> Self {
        let mut segments = Segments::default();
        for &len in lengths {
            segments.push(len, 0, None);
        }
        segments
    }

    /// Continuations: for each `(slot, new tokens)` the rows that follow what `cache` holds in that slot.
    ///
    /// # Errors
    /// If a slot does not exist, appears twice, or has no room for the new tokens.
    pub fn cached(cache: &KvCache, parts: &[(usize, usize)]) -> Result<Self> {
        const OP: &str = "Segments::cached";
        let mut segments = Segments::default();
        for (i, &(slot, len)) in parts.iter().enumerate() {
            if slot >= cache.slots() {
                return Err(EngineError::Index { op: OP, what: "cache slot", index: slot, len: cache.slots() });
            }
            if parts[..i].iter().any(|p| p.0 == slot) {
                return Err(EngineError::Invalid { op: OP, reason: format!("cache slot {slot} is named twice") });
            }
            let past = cache.len(slot);
            if past + len > cache.capacity() {
                return Err(EngineError::Invalid {
                    op: OP,
                    reason: format!("cache slot {slot} holds {past} of at most {} tokens, no room for {len} more", cache.capacity()),
                });
            }
            segments.push(len, past, Some(slot));
        }
        Ok(segments)
    }

    fn push(&mut self, len: usize, past: usize, slot: Option<usize>) {
        self.list.push(Segment { start: self.tokens, len, past, slot });
        self.tokens += len;
    }

    /// The segments in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Segment> {
        self.list.iter()
    }

    /// The segments in order.
    pub fn as_slice(&self) -> &[Segment] {
        &self.list
    }

    /// Number of segments.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// True if there is no segment.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Number of rows of the packed tensor.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// Position of each row within its sequence (what came before counted), as learned position embeddings need it.
    pub fn positions(&self) -> Vec<u32> {
        self.list.iter().flat_map(|s| (s.past..s.past + s.len).map(|p| p as u32)).collect()
    }

    /// The last row of each segment (of an empty one: none), as generation needs it.
    pub fn last_rows(&self) -> Vec<u32> {
        self.list.iter().filter(|s| s.len > 0).map(|s| (s.start + s.len - 1) as u32).collect()
    }
}
