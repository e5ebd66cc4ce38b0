//! Attention over packed segments.
//!
//! Rotation, scaling and the change of layout happen inside: what is saved for backward is the projections as they
//! came (they have to stay anyway), the output and one number for each token and head. Backward rotates again.

use super::{Columns, Op};
use crate::cache::{KvCache, LayerCache};
use crate::data::{Data, Dtype, on};
use crate::error::{EngineError, Result, check};
use crate::rope::{RopeLayout, RopeTable};
use crate::segments::{Paths, Run, Segments};
use crate::tape::Tape;
use crate::tensor::{Tensor, View};
use kernels::attention::{self, Heads, MAX_HEAD, Shape, Span};
use kernels::element::Element;
use kernels::paths;
use kernels::pool::Buffer;
use kernels::rope::{Angles, Pairs, Place, rotate, rotate_back};
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

    /// Cosines and sines of a position; called only where there is a table.
    fn angles(&self, position: u32) -> (&[f32], &[f32]) {
        self.rope.as_ref().expect("called only where there is a table").at(position as usize)
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
        if !self.causal && !segments.is_plain() {
            return invalid("only causal attention can share beginnings or leave rows out".into());
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

/// What the kernels take: rotated, head-major.
struct Prepared<E: Kept> {
    q: Buffer<E>,
    k: Buffer<E>,
    /// Values path by path; without shared beginnings they are read where they are.
    v: Option<Buffer<E>>,
    spans: Vec<Span>,
}

/// Gradients to queries, keys and values, head-major.
type Gradients<'g> = (&'g mut [f32], &'g mut [f32], &'g mut [f32]);

/// An element type that attention runs on.
trait Kept: Element {
    /// A node's numbers, which are of this type.
    fn of(data: &Data) -> &[Self];
    /// The reverse.
    fn wrap(buffer: Buffer<Self>) -> Data;
    /// Keys and values of a cache's layer, if it is kept in this type.
    fn cached(layer: &mut LayerCache) -> Option<(&mut [Self], &mut [Self])>;
    fn forward(out: &mut [Self], lse: Option<&mut [f32]>, q: &[Self], kv: [Heads<Self>; 2], spans: &[Span], shape: &Shape);
    fn parts(spans: &[Span], shape: &Shape) -> usize;
    fn backward(
        gradients: Gradients,
        parts: usize,
        dout: &[Self],
        out: &[Self],
        lse: &[f32],
        q: &[Self],
        kv: [Heads<Self>; 2],
        spans: &[Span],
        shape: &Shape,
    );
}

impl Kept for f32 {
    fn of(data: &Data) -> &[f32] {
        data.f32()
    }
    fn wrap(buffer: Buffer) -> Data {
        Data::F32(buffer)
    }
    fn cached(layer: &mut LayerCache) -> Option<(&mut [f32], &mut [f32])> {
        match layer {
            LayerCache::F32 { keys, values } => Some((keys, values)),
            LayerCache::Bf16 { .. } => None,
        }
    }
    fn forward(out: &mut [f32], lse: Option<&mut [f32]>, q: &[f32], [k, v]: [Heads; 2], spans: &[Span], shape: &Shape) {
        attention::forward(out, lse, q, k, v, spans, shape);
    }
    fn parts(spans: &[Span], shape: &Shape) -> usize {
        attention::backward_parts(shape, spans.iter().map(|s| s.len).max().unwrap_or(0))
    }
    fn backward(
        gradients: Gradients,
        parts: usize,
        dout: &[f32],
        out: &[f32],
        lse: &[f32],
        q: &[f32],
        [k, v]: [Heads; 2],
        spans: &[Span],
        shape: &Shape,
    ) {
        attention::backward(gradients, parts, dout, out, lse, q, k, v, spans, shape);
    }
}

impl Kept for u16 {
    fn of(data: &Data) -> &[u16] {
        match data {
            Data::Bf16(x) => x,
            Data::F32(_) => unreachable!("the caller has seen that these are bf16"),
        }
    }
    fn wrap(buffer: Buffer<u16>) -> Data {
        Data::Bf16(buffer)
    }
    fn cached(layer: &mut LayerCache) -> Option<(&mut [u16], &mut [u16])> {
        match layer {
            LayerCache::Bf16 { keys, values } => Some((keys, values)),
            LayerCache::F32 { .. } => None,
        }
    }
    fn forward(out: &mut [u16], lse: Option<&mut [f32]>, q: &[u16], [k, v]: [Heads<u16>; 2], spans: &[Span], shape: &Shape) {
        attention::bf16::forward(out, lse, q, k, v, spans, shape);
    }
    fn parts(spans: &[Span], shape: &Shape) -> usize {
        attention::bf16::backward_parts(spans, shape)
    }
    fn backward(
        gradients: Gradients,
        parts: usize,
        dout: &[u16],
        out: &[u16],
        lse: &[f32],
        q: &[u16],
        [k, v]: [Heads<u16>; 2],
        spans: &[Span],
        shape: &Shape,
    ) {
        attention::bf16::backward(gradients, parts, dout, out, lse, q, k, v, spans, shape);
    }
}

/// Width of all keys (or values) of a token.
fn kv_dim(spec: &AttentionSpec) -> usize {
    spec.n_kv_heads * spec.head_dim
}

/// Head-major: `[heads, tokens, dim]`.
fn head_major(tokens: usize, dim: usize) -> Place {
    Place { base: 0, token: dim, head: tokens * dim }
}

impl Tape<'_> {
    /// Attention within each segment: `q [Q, n_heads·d]`, `k` and `v` `[T, n_kv_heads·d]` give `[Q, n_heads·d]`, where Q is T
    /// unless only some rows ask ([`Segments::asking`]).
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
        let (queries, tokens) = (segments.queries(), segments.tokens());
        let (q_dim, kv_dim) = (spec.n_heads * spec.head_dim, spec.n_kv_heads * spec.head_dim);
        for (view, width, rows) in [(&q, q_dim, queries), (&k, kv_dim, tokens), (&v, kv_dim, tokens)] {
            Self::check_view(OP, view)?;
            check(OP, "width of a projection", width, view.width)?;
            check(OP, "rows of a projection", rows, view.tensor.rows)?;
        }
        spec.check(OP, segments)?;
        self.sweep();
        let columns = |v: &View| Columns { id: v.tensor.id, col: v.col, width: v.width };
        let (q, k, v) = (columns(&q), columns(&k), columns(&v));

        let dtype = |c: Columns| self.nodes[c.id as usize].dtype;
        if dtype(q) != dtype(k) || dtype(q) != dtype(v) {
            return Err(EngineError::Invalid { op: OP, reason: "queries, keys and values are of different types".into() });
        }
        match dtype(q) {
            Dtype::F32 => self.attend::<f32>(q, k, v, spec, segments, cache),
            Dtype::Bf16 => self.attend::<u16>(q, k, v, spec, segments, cache),
        }
    }

    fn attend<E: Kept>(
        &mut self,
        q: Columns,
        k: Columns,
        v: Columns,
        spec: &AttentionSpec,
        segments: &Segments,
        cache: Option<(&mut KvCache, usize)>,
    ) -> Result<Tensor> {
        const OP: &str = "attention";
        let (queries, tokens, q_dim) = (segments.queries(), segments.tokens(), spec.n_heads * spec.head_dim);
        let mut out: Buffer<E> = self.arena.take(queries * q_dim);
        let keys = self.nodes[q.id as usize].keys;
        if let Some((cache, layer)) = cache {
            self.check_cache(OP, cache, layer, kv_dim(spec))?;
            self.attend_cached(&mut out, (q, k, v), spec, segments, cache, layer)?;
            return Ok(self.push(queries, q_dim, E::wrap(out), keys, false, Op::None));
        }
        if segments.iter().any(|s| s.past > 0 && s.parent.is_none()) {
            return Err(EngineError::Invalid { op: OP, reason: "segments with a past need their cache".into() });
        }
        let requires_grad = [q, k, v].iter().any(|c| self.requires_grad(c.id));
        let mut lse = requires_grad.then(|| self.arena.take(queries * spec.n_heads));
        let prepared = self.prepare(q, k, v, spec, segments);
        let kv = self.heads(&prepared, v, spec, tokens);
        E::forward(&mut out, lse.as_deref_mut(), &prepared.q, kv, &prepared.spans, &spec.shape(queries));
        drop(prepared);
        let Some(lse) = lse else {
            return Ok(self.push(queries, q_dim, E::wrap(out), keys, false, Op::None));
        };
        for c in [q, k, v] {
            self.keep(c.id);
        }
        let segments = self.share_segments(segments);
        let op = Op::Attention { q, k, v, spec: spec.clone(), segments, lse };
        let y = self.push(queries, q_dim, E::wrap(out), keys, true, op);
        // Backward needs the output itself: Σ dout·out is the softmax's correction.
        self.keep(y.id);
        Ok(y)
    }

    /// Queries (scaled) and keys, rotated, head-major, with the spans that say who sees what.
    fn prepare<E: Kept>(&self, q: Columns, k: Columns, v: Columns, spec: &AttentionSpec, segments: &Segments) -> Prepared<E> {
        let (queries, tokens, dim) = (segments.queries(), segments.tokens(), spec.head_dim);
        let turn = |c: Columns, rows: usize, positions: &[u32], heads: usize, scale: f32| {
            let node = &self.nodes[c.id as usize];
            let mut to = self.arena.take(rows * heads * dim);
            let from = Place { base: c.col, token: node.cols, head: dim };
            let angles = |t: usize| spec.angles(positions[t]);
            let angles = spec.rope.as_ref().map(|_| &angles as _);
            let numbers = E::of(self.data(c.id));
            rotate(&mut to, head_major(rows, dim), numbers, from, (rows, heads, dim), angles, spec.pairs(), scale);
            to
        };
        let q_rot = turn(q, queries, &segments.query_positions(), spec.n_heads, spec.scale);
        let k_rot = turn(k, tokens, &segments.positions(), spec.n_kv_heads, 1.0);
        let runs = segments.runs();
        let (values, stride) = (E::of(self.data(v.id)), self.nodes[v.id as usize].cols);
        let span =
            |run: &Run, key_base: usize, value_base: usize| Span { start: run.query, len: run.len, past: run.past, key_base, value_base };
        if !segments.is_tree() {
            let spans = runs.iter().map(|run| {
                let first = segments.as_slice()[run.segment].start;
                span(run, first * dim, v.col + first * stride)
            });
            let spans = spans.collect();
            return Prepared { q: q_rot, k: k_rot, v: None, spans };
        }
        // Who shares a beginning gets a copy of it in front of its own keys.
        let Paths { base, pieces, keys } = segments.paths(&runs);
        let size = (spec.n_kv_heads, dim);
        let mut k_path = self.arena.take(keys * kv_dim(spec));
        paths::gather(&mut k_path, keys, &k_rot, head_major(tokens, dim), &pieces, size);
        let mut v_path = self.arena.take(keys * kv_dim(spec));
        paths::gather(&mut v_path, keys, values, Place { base: v.col, token: stride, head: dim }, &pieces, size);
        let spans = runs.iter().zip(base).map(|(run, base)| span(run, base * dim, base * dim)).collect();
        Prepared { q: q_rot, k: k_path, v: Some(v_path), spans }
    }

    /// Where keys and values lie.
    fn heads<'p, E: Kept>(&'p self, prepared: &'p Prepared<E>, v: Columns, spec: &AttentionSpec, tokens: usize) -> [Heads<'p, E>; 2] {
        let dim = spec.head_dim;
        let rows = if prepared.v.is_some() { prepared.k.len() / kv_dim(spec) } else { tokens };
        let keys = Heads { data: &prepared.k[..], token: dim, head: rows * dim };
        let values = match &prepared.v {
            Some(v) => Heads { data: &v[..], token: dim, head: rows * dim },
            None => Heads { data: E::of(self.data(v.id)), token: self.nodes[v.id as usize].cols, head: dim },
        };
        [keys, values]
    }

    fn attend_cached<E: Kept>(
        &mut self,
        out: &mut [E],
        (q, k, v): (Columns, Columns, Columns),
        spec: &AttentionSpec,
        segments: &Segments,
        cache: &mut KvCache,
        layer: usize,
    ) -> Result<()> {
        const OP: &str = "attention";
        let dim = spec.head_dim;
        let (capacity, kv_dim, slots) = (cache.capacity(), cache.kv_dim(), cache.slots());
        let mut bases = Vec::with_capacity(segments.len());
        for s in segments.iter() {
            let fits = |&i: &usize| i < slots && cache.len(i) == s.past && s.past + s.len <= capacity;
            let Some(slot) = s.slot.filter(fits) else {
                let reason = "these segments do not continue what the cache holds".into();
                return Err(EngineError::Invalid { op: OP, reason });
            };
            bases.push(slot * capacity * kv_dim);
        }
        let queries = segments.queries();
        let (positions, asking) = (segments.positions(), segments.query_positions());
        let mut q_rot: Buffer<E> = self.arena.take(queries * spec.n_heads * dim);
        let from = |c: Columns| Place { base: c.col, token: self.nodes[c.id as usize].cols, head: dim };
        let angles = |t: usize| spec.angles(asking[t]);
        let with_angles = spec.rope.as_ref().map(|_| &angles as _);
        let size = (queries, spec.n_heads, dim);
        let to = head_major(queries, dim);
        rotate(&mut q_rot, to, E::of(self.data(q.id)), from(q), size, with_angles, spec.pairs(), spec.scale);
        let Some((kept_keys, kept_values)) = E::cached(cache.layer_mut(layer)) else {
            return Err(EngineError::Invalid { op: OP, reason: "the cache keeps another type than activations have".into() });
        };
        for (s, base) in segments.iter().zip(&bases) {
            let to = Place { base: base + s.past * kv_dim, token: kv_dim, head: dim };
            let size = (s.len, spec.n_kv_heads, dim);
            let row = |c: Columns| {
                let place = from(c);
                Place { base: place.base + s.start * place.token, ..place }
            };
            let angles = |t: usize| spec.angles(positions[s.start + t]);
            let with_angles = spec.rope.as_ref().map(|_| &angles as _);
            rotate(kept_keys, to, E::of(self.data(k.id)), row(k), size, with_angles, spec.pairs(), 1.0);
            rotate(kept_values, to, E::of(self.data(v.id)), row(v), size, None, spec.pairs(), 1.0);
        }
        let runs = segments.runs();
        let span = |r: &Run| Span { start: r.query, len: r.len, past: r.past, key_base: bases[r.segment], value_base: bases[r.segment] };
        let spans: Vec<Span> = runs.iter().map(span).collect();
        let keys = Heads { data: &*kept_keys, token: kv_dim, head: dim };
        let values = Heads { data: &*kept_values, token: kv_dim, head: dim };
        E::forward(out, None, &q_rot, [keys, values], &spans, &spec.shape(queries));
        Ok(())
    }

    /// Fills `dq`; gives the parts of the gradients to keys and values, their number and their rows.
    fn attend_back<E: Kept>(
        &self,
        dq: &mut [f32],
        (id, v, lse, dy): (u32, Columns, &[f32], &Data),
        prepared: Prepared<E>,
        spec: &AttentionSpec,
        tokens: usize,
        shape: &Shape,
    ) -> (Buffer, Buffer, usize, usize) {
        let parts = E::parts(&prepared.spans, shape);
        // Each span's keys have gradients of their own; without shared beginnings these are the rows of the tensors.
        let key_rows = attention::key_rows(&prepared.spans);
        let mut dk = self.arena.take(parts * key_rows * kv_dim(spec));
        let mut dv = self.arena.take(parts * key_rows * kv_dim(spec));
        let kv = self.heads(&prepared, v, spec, tokens);
        let out = E::of(self.data(id));
        E::backward((dq, &mut dk, &mut dv), parts, E::of(dy), out, lse, &prepared.q, kv, &prepared.spans, shape);
        (dk, dv, parts, key_rows)
    }

    pub(crate) fn attention_backward(
        &mut self,
        id: u32,
        (q, k, v): (Columns, Columns, Columns),
        spec: &AttentionSpec,
        segments: &Segments,
        lse: &[f32],
        dy: &Data,
    ) {
        let (queries, tokens, dim) = (segments.queries(), segments.tokens(), spec.head_dim);
        let shape = spec.shape(queries);
        let mut dq = self.arena.take(queries * spec.n_heads * dim);
        let node = (id, v, lse, dy);
        let (mut dk, mut dv, mut parts, key_rows) = match dy {
            Data::F32(_) => self.attend_back::<f32>(&mut dq, node, self.prepare(q, k, v, spec, segments), spec, tokens, &shape),
            Data::Bf16(_) => self.attend_back::<u16>(&mut dq, node, self.prepare(q, k, v, spec, segments), spec, tokens, &shape),
        };
        if !segments.is_plain() {
            let Paths { pieces, keys, .. } = segments.paths(&segments.runs());
            debug_assert_eq!(keys, key_rows);
            let fold = |copies: Buffer| {
                let mut sum = self.arena.take(tokens * kv_dim(spec));
                paths::fold(&mut sum, tokens, &copies, (parts, keys), &pieces, (spec.n_kv_heads, dim));
                sum
            };
            (dk, dv) = (fold(dk), fold(dv));
            parts = 1;
        }

        let (asking, positions) = (segments.query_positions(), segments.positions());
        let of_query = |t: usize| spec.angles(asking[t]);
        let of_key = |t: usize| spec.angles(positions[t]);
        let pieces = [
            (q, dq, 1, queries, spec.n_heads, spec.scale, Some(&of_query as Angles)),
            (k, dk, parts, tokens, spec.n_kv_heads, 1.0, Some(&of_key as Angles)),
            (v, dv, parts, tokens, spec.n_kv_heads, 1.0, None),
        ];
        for (c, d, parts, rows, heads, scale, angles) in pieces {
            if !self.requires_grad(c.id) {
                continue;
            }
            let cols = self.nodes[c.id as usize].cols;
            let (mut grad, update) =
                if c.width == cols { self.take_grad(c.id) } else { (self.take_grad_zeroed(c.id), kernels::mat::Update::Add) };
            on!(&mut grad, grad => rotate_back(
                grad,
                Place { base: c.col, token: cols, head: dim },
                &d,
                head_major(rows, dim),
                (parts, rows * heads * dim),
                (rows, heads, dim),
                angles.filter(|_| spec.rope.is_some()),
                spec.pairs(),
                scale,
                update,
            ));
            self.put_grad(c.id, grad);
        }
    }
}
