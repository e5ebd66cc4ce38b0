//! Attention over packed segments.
//!
//! Rotation, scaling and the change of layout happen inside: what is saved for backward is the projections as they
//! came (they have to stay anyway), the output and one number for each token and head. Backward rotates again.

use super::{Columns, Op};
use crate::cache::KvCache;
use crate::data::{Data, Dtype, on};
use crate::error::{EngineError, Result, check};
use crate::rope::{RopeLayout, RopeTable};
use crate::segments::{Paths, Run, Segments};
use crate::tape::Tape;
use crate::tensor::{Tensor, View};
use kernels::attention::{self, Heads, MAX_HEAD, Shape, Span};
use kernels::pool::Buffer;
use kernels::rope::{Angles, Pairs, Place, rotate, rotate_back};
use kernels::{elementwise, paths};
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
struct Prepared {
    q: Buffer,
    k: Buffer,
    /// Values path by path; without shared beginnings they are read where they are.
    v: Option<Buffer>,
    spans: Vec<Span>,
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

        let mut out = self.arena.take(queries * q_dim);
        let keys = self.nodes[q.id as usize].keys;
        if let Some((cache, layer)) = cache {
            self.check_cache(OP, cache, layer, kv_dim)?;
            self.attend_cached(&mut out, (q, k, v), spec, segments, cache, layer)?;
            let out = self.kept(out);
            return Ok(self.push(queries, q_dim, out, keys, false, Op::None));
        }
        if segments.iter().any(|s| s.past > 0 && s.parent.is_none()) {
            return Err(EngineError::Invalid { op: OP, reason: "segments with a past need their cache".into() });
        }
        let requires_grad = [q, k, v].iter().any(|c| self.requires_grad(c.id));
        let mut lse = requires_grad.then(|| self.arena.take(queries * spec.n_heads));
        let prepared = self.prepare(q, k, v, spec, segments);
        let (keys_at, values_at) = self.heads(&prepared, v, spec, tokens);
        attention::forward(&mut out, lse.as_deref_mut(), &prepared.q, keys_at, values_at, &prepared.spans, &spec.shape(queries));
        drop(prepared);
        let out = self.kept(out);
        let Some(lse) = lse else {
            return Ok(self.push(queries, q_dim, out, keys, false, Op::None));
        };
        for c in [q, k, v] {
            self.keep(c.id);
        }
        let segments = self.share_segments(segments);
        let y = self.push(queries, q_dim, out, keys, true, Op::Attention { q, k, v, spec: spec.clone(), segments, lse });
        // Backward needs the output itself: Σ dout·out is the softmax's correction.
        self.keep(y.id);
        Ok(y)
    }

    /// The output as activations are kept.
    fn kept(&self, out: Buffer) -> Data {
        match self.compute.activations() {
            Dtype::F32 => Data::F32(out),
            Dtype::Bf16 => {
                let mut narrow = self.arena.take(out.len());
                elementwise::cast(&mut narrow, &out);
                Data::Bf16(narrow)
            }
        }
    }

    /// Queries (scaled) and keys, rotated, head-major, with the spans that say who sees what.
    fn prepare(&self, q: Columns, k: Columns, v: Columns, spec: &AttentionSpec, segments: &Segments) -> Prepared {
        let (queries, tokens, dim) = (segments.queries(), segments.tokens(), spec.head_dim);
        let turn = |c: Columns, rows: usize, positions: &[u32], heads: usize, scale: f32| {
            let node = &self.nodes[c.id as usize];
            let mut to = self.arena.take(rows * heads * dim);
            let from = Place { base: c.col, token: node.cols, head: dim };
            let angles = |t: usize| spec.angles(positions[t]);
            let angles = spec.rope.as_ref().map(|_| &angles as _);
            on!(self.data(c.id), x => rotate(&mut to, head_major(rows, dim), x, from, (rows, heads, dim), angles, spec.pairs(), scale));
            to
        };
        let q_rot = turn(q, queries, &segments.query_positions(), spec.n_heads, spec.scale);
        let k_rot = turn(k, tokens, &segments.positions(), spec.n_kv_heads, 1.0);
        let runs = segments.runs();
        // The kernels read f32: values that are kept narrower become head-major on the way.
        let v_wide = match self.data(v.id) {
            Data::F32(_) => None,
            Data::Bf16(x) => {
                let from = Place { base: v.col, token: self.nodes[v.id as usize].cols, head: dim };
                let mut wide = self.arena.take(tokens * kv_dim(spec));
                rotate(&mut wide, head_major(tokens, dim), x, from, (tokens, spec.n_kv_heads, dim), None, spec.pairs(), 1.0);
                Some(wide)
            }
        };
        let (v_col, stride) = if v_wide.is_some() { (0, dim) } else { (v.col, self.nodes[v.id as usize].cols) };
        let span =
            |run: &Run, key_base: usize, value_base: usize| Span { start: run.query, len: run.len, past: run.past, key_base, value_base };
        if !segments.is_tree() {
            let spans = runs.iter().map(|run| {
                let first = segments.as_slice()[run.segment].start;
                span(run, first * dim, v_col + first * stride)
            });
            let spans = spans.collect();
            return Prepared { q: q_rot, k: k_rot, v: v_wide, spans };
        }
        // Who shares a beginning gets a copy of it in front of its own keys.
        let Paths { base, pieces, keys } = segments.paths(&runs);
        let size = (spec.n_kv_heads, dim);
        let mut k_path = self.arena.take(keys * kv_dim(spec));
        paths::gather(&mut k_path, keys, &k_rot, head_major(tokens, dim), &pieces, size);
        let mut v_path = self.arena.take(keys * kv_dim(spec));
        match (&v_wide, self.data(v.id)) {
            (None, Data::F32(x)) => {
                paths::gather(&mut v_path, keys, x, Place { base: v_col, token: stride, head: dim }, &pieces, size);
            }
            (wide, _) => {
                let wide = wide.as_ref().expect("made above where values are kept narrower");
                paths::gather(&mut v_path, keys, wide, head_major(tokens, dim), &pieces, size);
            }
        }
        let spans = runs.iter().zip(base).map(|(run, base)| span(run, base * dim, base * dim)).collect();
        Prepared { q: q_rot, k: k_path, v: Some(v_path), spans }
    }

    /// Where keys and values lie.
    fn heads<'p>(&'p self, prepared: &'p Prepared, v: Columns, spec: &AttentionSpec, tokens: usize) -> (Heads<'p>, Heads<'p>) {
        let dim = spec.head_dim;
        let rows = if prepared.v.is_some() { prepared.k.len() / kv_dim(spec) } else { tokens };
        let keys = Heads { data: &prepared.k, token: dim, head: rows * dim };
        let values = match &prepared.v {
            Some(v) => Heads { data: v, token: dim, head: rows * dim },
            None => Heads { data: self.data(v.id).f32(), token: self.nodes[v.id as usize].cols, head: dim },
        };
        (keys, values)
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
        let mut q_rot = self.arena.take(queries * spec.n_heads * dim);
        let from = |c: Columns| Place { base: c.col, token: self.nodes[c.id as usize].cols, head: dim };
        let angles = |t: usize| spec.angles(asking[t]);
        let with_angles = spec.rope.as_ref().map(|_| &angles as _);
        let size = (queries, spec.n_heads, dim);
        let to = head_major(queries, dim);
        on!(self.data(q.id), x => rotate(&mut q_rot, to, x, from(q), size, with_angles, spec.pairs(), spec.scale));
        let store = cache.layer_mut(layer);
        for (s, base) in segments.iter().zip(&bases) {
            let to = Place { base: base + s.past * kv_dim, token: kv_dim, head: dim };
            let size = (s.len, spec.n_kv_heads, dim);
            let row = |c: Columns| {
                let place = from(c);
                Place { base: place.base + s.start * place.token, ..place }
            };
            let angles = |t: usize| spec.angles(positions[s.start + t]);
            let with_angles = spec.rope.as_ref().map(|_| &angles as _);
            on!(self.data(k.id), x => rotate(&mut store.keys, to, x, row(k), size, with_angles, spec.pairs(), 1.0));
            on!(self.data(v.id), x => rotate(&mut store.values, to, x, row(v), size, None, spec.pairs(), 1.0));
        }
        let runs = segments.runs();
        let span = |r: &Run| Span { start: r.query, len: r.len, past: r.past, key_base: bases[r.segment], value_base: bases[r.segment] };
        let spans: Vec<Span> = runs.iter().map(span).collect();
        attention::forward(
            out,
            None,
            &q_rot,
            Heads { data: &store.keys, token: kv_dim, head: dim },
            Heads { data: &store.values, token: kv_dim, head: dim },
            &spans,
            &spec.shape(queries),
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
        dy: &Data,
    ) {
        let (queries, tokens, dim) = (segments.queries(), segments.tokens(), spec.head_dim);
        let shape = spec.shape(queries);
        let prepared = self.prepare(q, k, v, spec, segments);
        let longest = prepared.spans.iter().map(|s| s.len).max().unwrap_or(0);
        let mut parts = attention::backward_parts(&shape, longest);
        // Each span's keys have gradients of their own; without shared beginnings these are the rows of the tensors.
        let key_rows = attention::key_rows(&prepared.spans);
        let mut dq = self.arena.take(queries * spec.n_heads * dim);
        let mut dk = self.arena.take(parts * key_rows * kv_dim(spec));
        let mut dv = self.arena.take(parts * key_rows * kv_dim(spec));
        let (keys_at, values_at) = self.heads(&prepared, v, spec, tokens);
        let gradients = (&mut dq[..], &mut dk[..], &mut dv[..]);
        let (dy, out) = (dy.widen(&self.arena), self.wide(id));
        attention::backward(gradients, parts, &dy, &out, lse, &prepared.q, keys_at, values_at, &prepared.spans, &shape);
        drop((prepared, dy, out));
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
