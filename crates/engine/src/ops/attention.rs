//! Attention over packed segments.
//!
//! Rotation, scaling and the change of layout happen inside: what is saved for backward is the projections as they
//! came (they have to stay anyway), the output and one number for each token and head. Backward rotates again.

use super::{Columns, Op};
use crate::cache::KvCache;
use crate::error::{EngineError, Result, check};
use crate::rope::{RopeLayout, RopeTable};
use crate::segments::Segments;
use crate::tape::Tape;
use crate::tensor::{Tensor, View};
use kernels::attention::{self, Heads, MAX_HEAD, Shape, Span};
use kernels::pool::Buffer;
use kernels::rope::{Pairs, Place, rotate, rotate_back};
use std::sync::Arc;

/// What kind of attention.
#[derive(Clone, Debug)]
pub struct AttentionSpec {
    /// Query heads.
    pub n_heads: usize,
    /// Key/value heads; divides `n_heads` (grouped-query attention, Ainslie et al. 2023, arXiv:2305.13245).
    pub n_kv_heads: usize,
    /// Width of a head, at most 256.
    pub head_dim: usize,
    /// Multiplies the scores, usually `1/√head_dim`.
    pub scale: f32,
    /// Rotates queries and keys by their position.
    pub rope: Option<Arc<RopeTable>>,
    /// Each token sees only itself and what came before.
    pub causal: bool,
    /// Each token sees only the last `window` tokens, itself included.
    pub window: Option<usize>,
}

impl AttentionSpec {
    fn pairs(&self) -> Pairs {
        match self.rope.as_ref().map(|r| r.layout()) {
            Some(RopeLayout::Interleaved) => Pairs::Interleaved,
            _ => Pairs::Half,
        }
    }

    fn shape(&self, tokens: usize) -> Shape {
        Shape {
            tokens,
            heads: self.n_heads,
            kv_heads: self.n_kv_heads,
            dim: self.head_dim,
            causal: self.causal,
            window: self.window.unwrap_or(usize::MAX),
        }
    }

    fn check(&self, op: &'static str, segments: &Segments) -> Result<()> {
        let invalid = |reason: String| Err(EngineError::Invalid { op, reason });
        if self.n_kv_heads == 0 || self.n_heads == 0 || !self.n_heads.is_multiple_of(self.n_kv_heads) {
            return invalid(format!("{} query heads cannot share {} key heads", self.n_heads, self.n_kv_heads));
        }
        if self.head_dim == 0 || self.head_dim > MAX_HEAD {
            return invalid(format!("heads of {} elements; 1 to {MAX_HEAD} are supported", self.head_dim));
        }
        if self.window == Some(0) {
            return invalid("a window of 0 tokens sees nothing".into());
        }
        if let Some(rope) = &self.rope {
            if rope.rotary_dims() > self.head_dim {
                let n = rope.rotary_dims();
                return invalid(format!("{n} rotary dimensions in heads of {} elements", self.head_dim));
            }
            let longest = segments.iter().map(|s| s.past + s.len).max().unwrap_or(0);
            if longest > rope.max_positions() {
                return Err(EngineError::Index { op, what: "position", index: longest - 1, len: rope.max_positions() });
            }
        }
        Ok(())
    }
}

/// Head-major: `[heads, tokens, dim]`.
fn head_major(tokens: usize, dim: usize) -> Place {
    Place { base: 0, token: dim, head: tokens * dim }
}

/// Absolute position of each row of a packed tensor.
fn positions(segments: &Segments) -> Vec<u32> {
    segments.positions()
}

impl Tape<'_> {
    /// Attention within each segment: `q [T, n_heads·d]`, `k` and `v` `[T, n_kv_heads·d]` give `[T, n_heads·d]`.
    ///
    /// With a cache (inference only) the new keys and values are appended to layer `cache.1` of each segment's slot
    /// and the queries see everything there; call [`KvCache::advance`] after the last layer.
    ///
    /// # Errors
    /// If shapes, segments and cache do not fit together.
    pub fn attention(
        &mut self,
        q: View,
        k: View,
        v: View,
        spec: &AttentionSpec,
        segments: &Segments,
        cache: Option<(&mut KvCache, usize)>,
    ) -> Result<Tensor> {
        const OP: &str = "attention";
        let tokens = q.tensor.rows;
        let (q_dim, kv_dim) = (spec.n_heads * spec.head_dim, spec.n_kv_heads * spec.head_dim);
        for (view, width) in [(&q, q_dim), (&k, kv_dim), (&v, kv_dim)] {
            Self::check_view(OP, view)?;
            check(OP, "width of a projection", width, view.width)?;
            check(OP, "rows of a projection", tokens, view.tensor.rows)?;
        }
        check(OP, "tokens of the segments", tokens, segments.tokens())?;
        spec.check(OP, segments)?;
        self.sweep();
        let columns = |v: &View| Columns { id: v.tensor.id, col: v.col, width: v.width };
        let (q, k, v) = (columns(&q), columns(&k), columns(&v));

        let mut out = self.arena.take(tokens * q_dim);
        let keys = self.nodes[q.id as usize].keys;
        if let Some((cache, layer)) = cache {
            self.check_cache(OP, cache, layer, kv_dim)?;
            self.attend_cached(&mut out, (q, k, v), spec, segments, cache, layer)?;
            return Ok(self.push(tokens, q_dim, out, keys, false, Op::None));
        }
        if segments.iter().any(|s| s.past > 0) {
            return Err(EngineError::Invalid { op: OP, reason: "segments with a past need their cache".into() });
        }
        let requires_grad = [q, k, v].iter().any(|c| self.requires_grad(c.id));
        let (q_rot, k_rot) = self.rotated(q, k, spec, segments);
        let mut lse = requires_grad.then(|| self.arena.take(tokens * spec.n_heads));
        attention::forward(
            &mut out,
            lse.as_deref_mut(),
            &q_rot,
            Heads { data: &k_rot, token: spec.head_dim, head: tokens * spec.head_dim },
            self.values(v, spec),
            &self.spans(segments, v, spec),
            &spec.shape(tokens),
        );
        drop((q_rot, k_rot));
        let Some(lse) = lse else {
            return Ok(self.push(tokens, q_dim, out, keys, false, Op::None));
        };
        for c in [q, k, v] {
            self.keep(c.id);
        }
        let segments = self.share_segments(segments);
        let y = self.push(tokens, q_dim, out, keys, true, Op::Attention { q, k, v, spec: spec.clone(), segments, lse });
        // Backward needs the output itself: Σ dout·out is the softmax's correction.
        self.keep(y.id);
        Ok(y)
    }

    /// Queries (scaled) and keys, rotated, head-major.
    fn rotated(&self, q: Columns, k: Columns, spec: &AttentionSpec, segments: &Segments) -> (Buffer, Buffer) {
        let tokens = segments.tokens();
        let positions = positions(segments);
        let angles = |t: usize| spec.rope.as_ref().map(|r| r.at(positions[t] as usize)).expect("called only where there is a table");
        let turn = |c: Columns, heads: usize, scale: f32| {
            let node = &self.nodes[c.id as usize];
            let mut to = self.arena.take(tokens * heads * spec.head_dim);
            let from = Place { base: c.col, token: node.cols, head: spec.head_dim };
            let size = (tokens, heads, spec.head_dim);
            let angles = spec.rope.as_ref().map(|_| &angles as _);
            rotate(&mut to, head_major(tokens, spec.head_dim), self.data(c.id), from, size, angles, spec.pairs(), scale);
            to
        };
        (turn(q, spec.n_heads, spec.scale), turn(k, spec.n_kv_heads, 1.0))
    }

    fn values(&self, v: Columns, spec: &AttentionSpec) -> Heads<'_> {
        Heads { data: self.data(v.id), token: self.nodes[v.id as usize].cols, head: spec.head_dim }
    }

    fn spans(&self, segments: &Segments, v: Columns, spec: &AttentionSpec) -> Vec<Span> {
        let stride = self.nodes[v.id as usize].cols;
        let span = |s: &crate::segments::Segment| Span {
            start: s.start,
            len: s.len,
            past: 0,
            key_base: s.start * spec.head_dim,
            value_base: v.col + s.start * stride,
        };
        segments.iter().map(span).collect()
    }

    fn attend_cached(
        &mut self,
        out: &mut [f32],
        (q, k, v): (Columns, Columns, Columns),
        spec: &AttentionSpec,
        segments: &Segments,
        cache: &mut KvCache,
        layer: usize,
    ) -> Result<()> {
        const OP: &str = "attention";
        let (tokens, dim) = (segments.tokens(), spec.head_dim);
        let (capacity, kv_dim, slots) = (cache.capacity(), cache.kv_dim(), cache.slots());
        let mut spans = Vec::with_capacity(segments.len());
        for s in segments.iter() {
            let slot = s.slot.filter(|&i| i < slots && cache.len(i) == s.past && s.past + s.len <= capacity);
            let Some(slot) = slot else {
                let reason = "these segments do not continue what the cache holds".into();
                return Err(EngineError::Invalid { op: OP, reason });
            };
            let base = slot * capacity * kv_dim;
            spans.push(Span { start: s.start, len: s.len, past: s.past, key_base: base, value_base: base });
        }
        let positions = positions(segments);
        let angles = |t: usize| spec.rope.as_ref().map(|r| r.at(positions[t] as usize)).expect("called only where there is a table");
        let mut q_rot = self.arena.take(tokens * spec.n_heads * dim);
        let from = |c: Columns| Place { base: c.col, token: self.nodes[c.id as usize].cols, head: dim };
        let with_angles = spec.rope.as_ref().map(|_| &angles as _);
        let size = (tokens, spec.n_heads, dim);
        let to = head_major(tokens, dim);
        rotate(&mut q_rot, to, self.data(q.id), from(q), size, with_angles, spec.pairs(), spec.scale);
        let store = cache.layer_mut(layer);
        for (s, span) in segments.iter().zip(&spans) {
            let to = Place { base: span.key_base + s.past * kv_dim, token: kv_dim, head: dim };
            let size = (s.len, spec.n_kv_heads, dim);
            let row = |c: Columns| {
                let place = from(c);
                Place { base: place.base + s.start * place.token, ..place }
            };
            let angles = |t: usize| angles(s.start + t);
            let with_angles = spec.rope.as_ref().map(|_| &angles as _);
            rotate(&mut store.keys, to, self.data(k.id), row(k), size, with_angles, spec.pairs(), 1.0);
            rotate(&mut store.values, to, self.data(v.id), row(v), size, None, spec.pairs(), 1.0);
        }
        attention::forward(
            out,
            None,
            &q_rot,
            Heads { data: &store.keys, token: kv_dim, head: dim },
            Heads { data: &store.values, token: kv_dim, head: dim },
            &spans,
            &spec.shape(tokens),
        );
        Ok(())
    }

    pub(crate) fn attention_backward(
        &mut self,
        id: u32,
        (q, k, v): (Columns, Columns, Columns),
        spec: &AttentionSpec,
        segments: &Segments,
        lse: &[f32],
        dy: &[f32],
    ) {
        let (tokens, dim) = (segments.tokens(), spec.head_dim);
        let shape = spec.shape(tokens);
        let (q_rot, k_rot) = self.rotated(q, k, spec, segments);
        let longest = segments.iter().map(|s| s.len).max().unwrap_or(0);
        let parts = attention::backward_parts(&shape, longest);
        let kv_size = tokens * spec.n_kv_heads * dim;
        let mut dq = self.arena.take(tokens * spec.n_heads * dim);
        let mut dk = self.arena.take(parts * kv_size);
        let mut dv = self.arena.take(parts * kv_size);
        attention::backward(
            (&mut dq, &mut dk, &mut dv),
            parts,
            dy,
            self.data(id),
            lse,
            &q_rot,
            Heads { data: &k_rot, token: dim, head: tokens * dim },
            self.values(v, spec),
            &self.spans(segments, v, spec),
            &shape,
        );
        drop((q_rot, k_rot));

        let positions = positions(segments);
        let angles = |t: usize| spec.rope.as_ref().map(|r| r.at(positions[t] as usize)).expect("called only where there is a table");
        let with_angles = spec.rope.as_ref().map(|_| &angles as _);
        let pieces = [
            (q, dq, 1, spec.n_heads, spec.scale, true),
            (k, dk, parts, spec.n_kv_heads, 1.0, true),
            (v, dv, parts, spec.n_kv_heads, 1.0, false),
        ];
        for (c, mut d, parts, heads, scale, turned) in pieces {
            if !self.requires_grad(c.id) {
                continue;
            }
            let cols = self.nodes[c.id as usize].cols;
            let (mut grad, update) =
                if c.width == cols { self.take_grad(c.id) } else { (self.take_grad_zeroed(c.id), kernels::mat::Update::Add) };
            rotate_back(
                &mut grad,
                Place { base: c.col, token: cols, head: dim },
                &mut d,
                head_major(tokens, dim),
                (parts, kv_size),
                (tokens, heads, dim),
                if turned { with_angles } else { None },
                spec.pairs(),
                scale,
                update,
            );
            self.put_grad(c.id, grad);
        }
    }
}
