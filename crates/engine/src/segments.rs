//! Which rows of a packed tensor belong together.
//!
//! Sequences are laid end to end in one `[tokens, d]` tensor: no padding is computed and no sequence sees another.
//! When decoding, a segment also names the cache slot that holds what came before it.
//!
//! Sequences that begin alike may share their beginning: a segment can name a parent, whose tokens (and the parent's
//! parent's) come before its own. And where only some rows' results are wanted, only these need to ask: the others are
//! keys and values.

use crate::cache::KvCache;
use crate::error::{EngineError, Result};
use kernels::paths::Piece;
use std::sync::Arc;

/// One sequence (or the new part of one).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First row.
    pub start: usize,
    /// Number of rows.
    pub len: usize,
    /// Number of tokens that came before: in the cache, or in the parent and what came before it.
    pub past: usize,
    /// Slot of the cache.
    pub slot: Option<usize>,
    /// The segment that this one continues, an earlier one of the same list.
    pub parent: Option<usize>,
}

/// The segments of a packed tensor, in order of their rows and without gaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segments {
    list: Vec<Segment>,
    tokens: usize,
    /// The rows that ask, ascending, if not all do.
    asking: Option<Arc<[u32]>>,
    /// Length of the longest sequence, if the caller says that there are longer ones than are laid out.
    reach: usize,
}

/// A stretch of queries: rows `query..query + len` of the queries, at positions `past..past + len` of the path that ends
/// with `segment`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) query: usize,
    pub(crate) len: usize,
    pub(crate) past: usize,
    pub(crate) segment: usize,
}

/// Keys of paths: each path's keys lie together, from its first token on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Paths {
    /// First key of each run's path.
    pub(crate) base: Vec<usize>,
    /// Where the keys are from; in the order of the paths, so that sums over copies have one order.
    pub(crate) pieces: Vec<Piece>,
    /// Number of keys, copies counted.
    pub(crate) keys: usize,
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

    /// A forest: each `(parent, length)` is a segment that continues an earlier one, or begins a sequence. Positions go
    /// on from the parent, and a token sees its own segment and its parents' only. Sequences that begin alike cost their
    /// common beginning once. Depth first (a child right behind its parent) costs the least memory.
    ///
    /// # Errors
    /// If a parent is not an earlier segment.
    pub fn tree(parts: &[(Option<usize>, usize)]) -> Result<Self> {
        const OP: &str = "Segments::tree";
        let mut segments = Segments::default();
        for (i, &(parent, len)) in parts.iter().enumerate() {
            let past = match parent {
                None => 0,
                Some(p) if p < i => segments.list[p].past + segments.list[p].len,
                Some(p) => return Err(EngineError::Index { op: OP, what: "parent", index: p, len: i }),
            };
            segments.push(len, past, None);
            segments.list[i].parent = parent;
        }
        Ok(segments)
    }

    /// The same segments of which only these rows ask (ascending, each once): [`crate::Tape::attention`] then takes the queries
    /// of these rows alone and answers them alone. Keys and values are still those of all rows.
    ///
    /// # Errors
    /// If a row does not exist or the rows do not ascend.
    pub fn asking(&self, rows: &[u32]) -> Result<Self> {
        const OP: &str = "Segments::asking";
        if let Some(&last) = rows.last().filter(|&&r| r as usize >= self.tokens) {
            return Err(EngineError::Index { op: OP, what: "row", index: last as usize, len: self.tokens });
        }
        if rows.windows(2).any(|w| w[0] >= w[1]) {
            return Err(EngineError::Invalid { op: OP, reason: "the rows that ask must ascend".into() });
        }
        let asking = (rows.len() < self.tokens).then(|| rows.into());
        Ok(Segments { asking, ..self.clone() })
    }

    /// The same segments, which stand for sequences of which the longest has `tokens` tokens: what is not laid out (because
    /// nothing depends on it) still counts where a model's arithmetic depends on the length.
    pub fn reaching(mut self, tokens: usize) -> Self {
        self.reach = self.reach.max(tokens);
        self
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
        self.list.push(Segment { start: self.tokens, len, past, slot, parent: None });
        self.tokens += len;
        self.reach = self.reach.max(past + len);
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

    /// Number of rows that ask: all, unless [`Self::asking`] chose some.
    pub fn queries(&self) -> usize {
        self.asking.as_ref().map_or(self.tokens, |rows| rows.len())
    }

    /// Tokens of the longest sequence, with all that came before.
    pub fn longest(&self) -> usize {
        self.reach
    }

    /// True if no segment has a parent and all rows ask.
    pub(crate) fn is_plain(&self) -> bool {
        self.asking.is_none() && !self.is_tree()
    }

    /// True if some segment has a parent.
    pub(crate) fn is_tree(&self) -> bool {
        self.list.iter().any(|s| s.parent.is_some())
    }

    /// Positions of the rows that ask.
    pub(crate) fn query_positions(&self) -> Vec<u32> {
        let all = self.positions();
        match &self.asking {
            None => all,
            Some(rows) => rows.iter().map(|&r| all[r as usize]).collect(),
        }
    }

    /// The queries in stretches of consecutive rows of one segment, in order.
    pub(crate) fn runs(&self) -> Vec<Run> {
        let Some(rows) = &self.asking else {
            let run = |(segment, s): (usize, &Segment)| Run { query: s.start, len: s.len, past: s.past, segment };
            return self.list.iter().enumerate().map(run).collect();
        };
        let mut runs: Vec<Run> = Vec::new();
        let mut segment = 0;
        for (query, &row) in rows.iter().enumerate() {
            let row = row as usize;
            while row >= self.list[segment].start + self.list[segment].len {
                segment += 1;
            }
            let past = self.list[segment].past + row - self.list[segment].start;
            match runs.last_mut() {
                Some(run) if run.segment == segment && run.past + run.len == past => run.len += 1,
                _ => runs.push(Run { query, len: 1, past, segment }),
            }
        }
        runs
    }

    /// Lays out the keys that `runs` see, path by path: those of a run's segment up to its last query, behind those of
    /// the segment's parents. A run that goes on where the one before it is (in the same segment or in a child of it)
    /// uses the same path, which then reaches further.
    pub(crate) fn paths(&self, runs: &[Run]) -> Paths {
        let mut paths = Paths::default();
        let mut before: Option<Run> = None;
        for run in runs {
            let reach = run.past + run.len;
            // A path holds whole parents; of its last segment what has been asked for so far.
            let held = match before {
                Some(b) if b.segment == run.segment || self.list[run.segment].parent == Some(b.segment) => b.past + b.len,
                _ => 0,
            };
            if held == 0 {
                paths.base.push(paths.keys);
            } else {
                paths.base.push(paths.base[paths.base.len() - 1]);
            }
            let base = paths.base[paths.base.len() - 1];
            let first = paths.pieces.len();
            let mut at = Some(run.segment);
            while let Some(s) = at.map(|i| self.list[i]).filter(|s| s.past + s.len > held || s.len == 0) {
                let from = s.past.max(held);
                let to = (s.past + s.len).min(reach);
                if to > from {
                    paths.pieces.push(Piece { packed: s.start + from - s.past, path: base + from, len: to - from });
                }
                at = s.parent;
            }
            paths.pieces[first..].reverse();
            paths.keys = base + reach.max(held);
            before = Some(*run);
        }
        paths
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
