//! Attention over packed segments, forward and backward, without a score matrix in memory
//! (Dao et al. 2022, arXiv:2205.14135; the tiles here are sized for L1/L2 instead of a GPU's shared memory).
//!
//! *Lanes are queries.* For one key/value head the queries of all its query heads form one list (token-major, the
//! heads of the group innermost); a task takes `LANES` of them, transposed once, and walks the keys in tiles counted
//! from the beginning of the sequence. Scores of a tile are `[key, query]`, so that maximum, sum and rescaling are
//! vertical operations, keys and values are read as they lie, and each query's arithmetic is the same whichever
//! others share its task: a token decoded alone with a cache gets the same bits as in a full pass, a segment packed
//! with others the same as alone.

use crate::cpu::{Isa, isa};
use crate::par::Shared;
use crate::rope::Place;
use crate::simd::{Simd, dispatch, exp};
use crate::team;
use crate::tile::{Broadcast, product};
use std::mem::MaybeUninit;

pub mod bf16;
mod few;

/// Queries that a task takes.
const LANES: usize = 64;
/// Keys in a tile.
const KEYS: usize = 64;
/// Widest head.
pub const MAX_HEAD: usize = crate::rope::MAX_ROTARY;
/// Stands for "no key seen yet" in running maxima; finite so that differences stay defined.
const LOWEST: f32 = -1e30;

/// One sequence: its queries are rows `start..start + len` of the packed tensors, its keys the `past` earlier ones
/// followed by as many as there are queries.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// First row of the packed tensors.
    pub start: usize,
    /// Number of queries.
    pub len: usize,
    /// Keys before the first query.
    pub past: usize,
    /// Offset of key 0 of head 0 in the keys.
    pub key_base: usize,
    /// Offset of value 0 of head 0 in the values.
    pub value_base: usize,
}

/// Keys or values: key `j` of head `h` of a span begins at `base + j·token + h·head`.
#[derive(Clone, Copy)]
pub struct Heads<'a, T = f32> {
    /// The numbers.
    pub data: &'a [T],
    /// Distance of neighbouring keys.
    pub token: usize,
    /// Distance of neighbouring heads.
    pub head: usize,
}

impl<T> Heads<'_, T> {
    fn check(&self, base: usize, keys: usize, heads: usize, dim: usize) {
        let end = base + keys.saturating_sub(1) * self.token + (heads - 1) * self.head + dim;
        assert!(keys == 0 || self.data.len() >= end, "attention: keys or values too short");
    }
}

/// Shape of the attention.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Rows of the packed tensors.
    pub tokens: usize,
    /// Query heads.
    pub heads: usize,
    /// Key/value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head, at most [`MAX_HEAD`].
    pub dim: usize,
    /// Queries see only keys up to their own position.
    pub causal: bool,
    /// Queries see only this many keys up to their own position (`usize::MAX`: all).
    pub window: usize,
}

impl Shape {
    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    fn check<T>(&self, spans: &[Span], k: &Heads<T>, v: &Heads<T>) {
        assert!(self.dim > 0 && self.dim <= MAX_HEAD, "attention: heads of {} elements", self.dim);
        assert!(self.kv_heads > 0 && self.heads.is_multiple_of(self.kv_heads), "attention: heads do not divide");
        let mut next = 0;
        for s in spans {
            // In order and without overlap: tasks of different spans write different rows.
            assert!(s.start >= next && s.start + s.len <= self.tokens, "attention: spans overlap");
            next = s.start + s.len;
            k.check(s.key_base, s.past + s.len, self.kv_heads, self.dim);
            v.check(s.value_base, s.past + s.len, self.kv_heads, self.dim);
        }
    }

    /// Keys `first..last` that some query at positions `low..=high` of a span sees.
    fn visible(&self, span: &Span, low: usize, high: usize) -> (usize, usize) {
        let all = span.past + span.len;
        let last = if self.causal { high + 1 } else { all };
        let first = (low + 1).saturating_sub(self.window);
        (first, last.min(all))
    }
}

/// Scratch of a task; on its stack. A vector in it does not straddle cache lines.
#[repr(align(64))]
struct Scratch<const N: usize>(MaybeUninit<[f32; N]>);

impl<const N: usize> Scratch<N> {
    #[inline(always)]
    fn new() -> Self {
        Scratch(MaybeUninit::uninit())
    }

    #[inline(always)]
    fn ptr(&mut self) -> *mut f32 {
        self.0.as_mut_ptr().cast()
    }
}

/// Where the lanes of a task come from.
#[derive(Clone, Copy)]
struct Lanes {
    /// First index in the list of the span's queries (token-major, heads of the group innermost).
    first: usize,
    count: usize,
    group: usize,
    kv_head: usize,
}

impl Lanes {
    /// `(token within the span, query head)` of a lane.
    #[inline(always)]
    fn at(&self, lane: usize) -> (usize, usize) {
        let i = self.first + lane;
        (i / self.group, self.kv_head * self.group + i % self.group)
    }

    fn tokens(&self) -> (usize, usize) {
        (self.first / self.group, (self.first + self.count - 1) / self.group)
    }
}

/// Positions of a block's first and last query, and the keys that its queries see.
#[derive(Clone, Copy, Default)]
struct Reach {
    low: usize,
    high: usize,
    first: usize,
    last: usize,
}

impl Reach {
    #[inline(always)]
    fn of(shape: &Shape, span: &Span, lanes: Lanes) -> Reach {
        let (low, high) = lanes.tokens();
        let (low, high) = (span.past + low, span.past + high);
        let (first, last) = shape.visible(span, low, high);
        Reach { low, high, first, last }
    }

    /// Keys of the tile at `key0` that this block sees.
    #[inline(always)]
    fn keys(&self, key0: usize) -> usize {
        if key0 + KEYS <= self.first { 0 } else { KEYS.min(self.last.saturating_sub(key0)) }
    }
}

/// Sets scores of keys that a lane must not see to minus infinity.
#[inline(always)]
unsafe fn mask<S: Simd>(s: *mut f32, width: usize, (key0, keys): (usize, usize), position: *const f32, shape: &Shape) {
    unsafe {
        let hidden = S::splat(f32::NEG_INFINITY);
        for j in 0..keys {
            let key = (key0 + j) as f32;
            let oldest = if shape.window == usize::MAX { f32::INFINITY } else { key + shape.window as f32 };
            for i in (0..width).step_by(S::LANES) {
                let p = s.add(j * LANES + i);
                let at = S::load(position.add(i));
                let mut v = S::load(p);
                if shape.causal {
                    v = S::select_lt(at, S::splat(key), hidden, v);
                }
                // Seen if position < key + window.
                v = S::select_lt(at, S::splat(oldest), v, hidden);
                S::store(p, v);
            }
        }
    }
}

/// True if every lane sees every key of the tile.
#[inline(always)]
fn unmasked(shape: &Shape, key0: usize, keys: usize, low: usize, high: usize) -> bool {
    (!shape.causal || key0 + keys <= low + 1) && (shape.window == usize::MAX || high < key0 + shape.window)
}

#[inline(always)]
unsafe fn forward_task<S: Simd>(
    shape: &Shape,
    span: &Span,
    lanes: Lanes,
    out: Shared,
    out_at: Place,
    lse: Option<Shared>,
    q: &[f32],
    k: &Heads,
    v: &Heads,
) {
    unsafe {
        let dim = shape.dim;
        let width = lanes.count.next_multiple_of(S::LANES);
        let mut qt = Scratch::<{ MAX_HEAD * LANES }>::new();
        let mut ot = Scratch::<{ MAX_HEAD * LANES }>::new();
        let mut scores = Scratch::<{ KEYS * LANES }>::new();
        let (qt, ot, scores) = (qt.ptr(), ot.ptr(), scores.ptr());
        let mut position = [0.0f32; LANES];
        for lane in 0..width {
            // Lanes beyond the last repeat it: real numbers, ignored in the end.
            let (t, h) = lanes.at(lane.min(lanes.count - 1));
            position[lane] = (span.past + t) as f32;
            let row = &q[(h * shape.tokens + span.start + t) * dim..][..dim];
            for d in 0..dim {
                *qt.add(d * LANES + lane) = row[d];
            }
        }
        let mut top = [LOWEST; LANES];
        let mut sum = [0.0f32; LANES];
        for i in 0..dim * LANES {
            *ot.add(i) = 0.0;
        }

        let (low, high) = lanes.tokens();
        let (low, high) = (span.past + low, span.past + high);
        let (first, last) = shape.visible(span, low, high);
        let mut key0 = first / KEYS * KEYS;
        while key0 < last {
            let keys = KEYS.min(last - key0);
            let kp = k.data.as_ptr().add(span.key_base + lanes.kv_head * k.head + key0 * k.token);
            let a = Broadcast { p: kp, row: k.token, col: 1 };
            product::<S>((keys, width, dim), scores, LANES, a, qt, LANES, false);
            if !unmasked(shape, key0, keys, low, high) {
                mask::<S>(scores, width, (key0, keys), position.as_ptr(), shape);
            }
            for i in (0..width).step_by(S::LANES) {
                let old = S::load(top.as_ptr().add(i));
                let mut new = old;
                for j in 0..keys {
                    new = S::max(new, S::load(scores.add(j * LANES + i)));
                }
                let shrink = exp::<S>(S::sub(old, new));
                let mut total = S::mul(S::load(sum.as_ptr().add(i)), shrink);
                for j in 0..keys {
                    let p = scores.add(j * LANES + i);
                    let e = exp::<S>(S::sub(S::load(p), new));
                    total = S::add(total, e);
                    S::store(p, e);
                }
                S::store(top.as_mut_ptr().add(i), new);
                S::store(sum.as_mut_ptr().add(i), total);
                // Left alone where the factors are exactly one: the same bits.
                if S::any_lt(old, new) {
                    for d in 0..dim {
                        let p = ot.add(d * LANES + i);
                        S::store(p, S::mul(S::load(p), shrink));
                    }
                }
            }
            let vp = v.data.as_ptr().add(span.value_base + lanes.kv_head * v.head + key0 * v.token);
            let a = Broadcast { p: vp, row: 1, col: v.token };
            product::<S>((dim, width, keys), ot, LANES, a, scores, LANES, true);
            key0 += KEYS;
        }

        for lane in 0..lanes.count {
            let (t, h) = lanes.at(lane);
            let inverse = if sum[lane] > 0.0 { 1.0 / sum[lane] } else { sum[lane] };
            // Rows of this span's tokens and heads belong to this task alone.
            let row = out.slice(out_at.base + (span.start + t) * out_at.token + h * out_at.head, dim);
            for d in 0..dim {
                row[d] = *ot.add(d * LANES + lane) * inverse;
            }
            if let Some(lse) = lse {
                lse.slice(h * shape.tokens + span.start + t, 1)[0] = top[lane] + sum[lane].ln();
            }
        }
    }
}
dispatch!(fn forward_isa = forward_task(
    shape: &Shape, span: &Span, lanes: Lanes, out: Shared, out_at: Place, lse: Option<Shared>, q: &[f32],
    k: &Heads, v: &Heads));

/// The span to which `task` belongs, and its number there, if `count` tells how many tasks each has.
fn find(spans: &[Span], count: impl Fn(&Span) -> usize, mut task: usize) -> (&Span, usize) {
    for s in spans {
        let n = count(s);
        if task < n {
            return (s, task);
        }
        task -= n;
    }
    unreachable!("tasks are numbered below the sum of the counts")
}

/// Calls `f(span, lanes)` for every task of the forward pass, each of so many lanes.
fn each_task(shape: &Shape, spans: &[Span], lanes: usize, f: impl Fn(&Span, Lanes) + Sync + Send) {
    let group = shape.group();
    let tasks = |s: &Span| (s.len * group).div_ceil(lanes);
    let run = |s: &Span, i: usize| {
        let (tile, kv_head) = (i / shape.kv_heads, i % shape.kv_heads);
        let first = tile * lanes;
        let count = lanes.min(s.len * group - first);
        f(s, Lanes { first, count, group, kv_head });
    };
    let count = |s: &Span| tasks(s) * shape.kv_heads;
    let total = spans.iter().map(count).sum();
    team::run(total, |task| {
        let (span, i) = find(spans, count, task);
        // Late tiles see the most keys: begin with them.
        run(span, count(span) - 1 - i);
    });
}

/// `out = softmax(q·kᵀ)·v` for each span and head.
///
/// `q` is `[heads, tokens, dim]` and already scaled; `out` is `[tokens, heads·dim]`; `lse`, wanted for backward, is
/// `[heads, tokens]`: the logarithm of each softmax's denominator.
pub fn forward(out: &mut [f32], lse: Option<&mut [f32]>, q: &[f32], k: Heads, v: Heads, spans: &[Span], shape: &Shape) {
    forward_on(isa(), out, lse, q, k, v, spans, shape);
}

/// [`forward`] on a given path, for tests.
#[doc(hidden)]
pub fn forward_on(isa: Isa, out: &mut [f32], lse: Option<&mut [f32]>, q: &[f32], k: Heads, v: Heads, spans: &[Span], shape: &Shape) {
    shape.check(spans, &k, &v);
    let size = shape.tokens * shape.heads * shape.dim;
    assert!(out.len() == size && q.len() == size, "attention: shapes disagree");
    assert!(lse.as_ref().is_none_or(|l| l.len() == shape.tokens * shape.heads), "attention: shapes disagree");
    let out_at = Place { base: 0, token: shape.heads * shape.dim, head: shape.dim };
    let (out, lse) = (Shared::new(out), lse.map(Shared::new));
    each_task(shape, spans, LANES, |span, lanes| {
        if lanes.count <= few::FEW {
            few::f32_path(isa, shape, span, lanes, out, lse, q, &k, &v);
        } else {
            forward_isa(isa, shape, span, lanes, out, out_at, lse, q, &k, &v);
        }
    });
}

/// Number of partial sums of the keys' and values' gradients for spans of at most `longest` queries: enough tasks
/// for many threads where one sequence is long, decided by the shape alone.
pub fn backward_parts(shape: &Shape, longest: usize) -> usize {
    (longest * shape.group()).div_ceil(16 * LANES).clamp(1, 4)
}

#[inline(always)]
unsafe fn backward_task<S: Simd>(
    shape: &Shape,
    span: &Span,
    lanes: Lanes,
    dq: Shared,
    dk: *mut f32,
    dv: *mut f32,
    dout: &[f32],
    out: &[f32],
    lse: &[f32],
    q: &[f32],
    k: &Heads,
    v: &Heads,
) {
    unsafe {
        let dim = shape.dim;
        let width = lanes.count.next_multiple_of(S::LANES);
        let mut rows_q = Scratch::<{ MAX_HEAD * LANES }>::new();
        let mut rows_do = Scratch::<{ MAX_HEAD * LANES }>::new();
        let mut qt = Scratch::<{ MAX_HEAD * LANES }>::new();
        let mut dot = Scratch::<{ MAX_HEAD * LANES }>::new();
        let mut dqt = Scratch::<{ MAX_HEAD * LANES }>::new();
        let mut probs = Scratch::<{ KEYS * LANES }>::new();
        let mut dprobs = Scratch::<{ KEYS * LANES }>::new();
        let (rows_q, rows_do, qt, dot, dqt) = (rows_q.ptr(), rows_do.ptr(), qt.ptr(), dot.ptr(), dqt.ptr());
        let (probs, dprobs) = (probs.ptr(), dprobs.ptr());
        let mut position = [0.0f32; LANES];
        let mut denominator = [0.0f32; LANES];
        let mut delta = [0.0f32; LANES];
        for lane in 0..width {
            let (t, h) = lanes.at(lane.min(lanes.count - 1));
            let at = ((span.start + t) * shape.heads + h) * dim;
            let q_row = &q[(h * shape.tokens + span.start + t) * dim..][..dim];
            let (do_row, o_row) = (&dout[at..][..dim], &out[at..][..dim]);
            position[lane] = (span.past + t) as f32;
            denominator[lane] = lse[h * shape.tokens + span.start + t];
            let mut dot_sum = 0.0;
            for d in 0..dim {
                *qt.add(d * LANES + lane) = q_row[d];
                *dot.add(d * LANES + lane) = do_row[d];
                *rows_q.add(lane * dim + d) = q_row[d];
                *rows_do.add(lane * dim + d) = do_row[d];
                dot_sum += do_row[d] * o_row[d];
            }
            delta[lane] = dot_sum;
        }
        for i in 0..dim * LANES {
            *dqt.add(i) = 0.0;
        }

        let (low, high) = lanes.tokens();
        let (low, high) = (span.past + low, span.past + high);
        let (first, last) = shape.visible(span, low, high);
        let mut key0 = first / KEYS * KEYS;
        while key0 < last {
            let keys = KEYS.min(last - key0);
            let kp = k.data.as_ptr().add(span.key_base + lanes.kv_head * k.head + key0 * k.token);
            let vp = v.data.as_ptr().add(span.value_base + lanes.kv_head * v.head + key0 * v.token);
            let by_key = |p, token| Broadcast { p, row: token, col: 1 };
            product::<S>((keys, width, dim), probs, LANES, by_key(kp, k.token), qt, LANES, false);
            product::<S>((keys, width, dim), dprobs, LANES, by_key(vp, v.token), dot, LANES, false);
            if !unmasked(shape, key0, keys, low, high) {
                mask::<S>(probs, width, (key0, keys), position.as_ptr(), shape);
            }
            for i in (0..width).step_by(S::LANES) {
                let l = S::load(denominator.as_ptr().add(i));
                let d = S::load(delta.as_ptr().add(i));
                for j in 0..keys {
                    let (pp, dp) = (probs.add(j * LANES + i), dprobs.add(j * LANES + i));
                    let p = exp::<S>(S::sub(S::load(pp), l));
                    S::store(pp, p);
                    S::store(dp, S::mul(p, S::sub(S::load(dp), d)));
                }
            }
            // dv += pᵀ·do, dk += dsᵀ·q (over the real lanes), dq += ds·k.
            let by_score = |p: *mut f32| Broadcast { p, row: LANES, col: 1 };
            let count = lanes.count;
            product::<S>((keys, dim, count), dv.add(key0 * dim), dim, by_score(probs), rows_do, dim, true);
            product::<S>((keys, dim, count), dk.add(key0 * dim), dim, by_score(dprobs), rows_q, dim, true);
            let a = Broadcast { p: kp, row: 1, col: k.token };
            product::<S>((dim, width, keys), dqt, LANES, a, dprobs, LANES, true);
            key0 += KEYS;
        }

        for lane in 0..lanes.count {
            let (t, h) = lanes.at(lane);
            // Rows of this span's tokens and heads belong to this task alone.
            let row = dq.slice((h * shape.tokens + span.start + t) * dim, dim);
            for d in 0..dim {
                row[d] = *dqt.add(d * LANES + lane);
            }
        }
    }
}
dispatch!(fn backward_isa = backward_task(
    shape: &Shape, span: &Span, lanes: Lanes, dq: Shared, dk: *mut f32, dv: *mut f32, dout: &[f32], out: &[f32],
    lse: &[f32], q: &[f32], k: &Heads, v: &Heads));

/// Spans in a row that read the same path: stretches of one sequence's queries, a sequence and what continues it.
pub(crate) fn groups(spans: &[Span]) -> impl Iterator<Item = &[Span]> {
    spans.chunk_by(|a, b| (a.key_base, a.value_base) == (b.key_base, b.value_base))
}

/// Keys that some span of a group may see.
pub(crate) fn reach(group: &[Span]) -> usize {
    group.iter().map(|s| s.past + s.len).max().unwrap_or(0)
}

/// Rows of the gradients of keys and values: each span has one for each of its keys, the earlier ones included, and
/// the spans follow one another; but spans in a row whose keys begin at the same place share theirs. For whole sequences these
/// are the rows of the packed tensors.
pub fn key_rows(spans: &[Span]) -> usize {
    groups(spans).map(reach).sum()
}

/// Gradients of [`forward`].
///
/// `dq` is `[heads, tokens, dim]` to the scaled queries; `dk` and `dv` are `[parts, kv_heads, key_rows, dim]` with
/// [`key_rows`]`(spans)` rows wherever the keys and values themselves lie: partial sums that the caller adds in order,
/// as it adds the rows of keys that several spans have in their past. All three are overwritten.
pub fn backward(
    (dq, dk, dv): (&mut [f32], &mut [f32], &mut [f32]),
    parts: usize,
    dout: &[f32],
    out: &[f32],
    lse: &[f32],
    q: &[f32],
    k: Heads,
    v: Heads,
    spans: &[Span],
    shape: &Shape,
) {
    backward_on(isa(), (dq, dk, dv), parts, dout, out, lse, q, k, v, spans, shape);
}

/// [`backward`] on a given path, for tests.
#[doc(hidden)]
pub fn backward_on(
    isa: Isa,
    (dq, dk, dv): (&mut [f32], &mut [f32], &mut [f32]),
    parts: usize,
    dout: &[f32],
    out: &[f32],
    lse: &[f32],
    q: &[f32],
    k: Heads,
    v: Heads,
    spans: &[Span],
    shape: &Shape,
) {
    shape.check(spans, &k, &v);
    let (tokens, dim) = (shape.tokens, shape.dim);
    let size = tokens * shape.heads * dim;
    let rows = key_rows(spans);
    let kv_size = rows * shape.kv_heads * dim;
    assert!([dq.len(), dout.len(), out.len(), q.len()] == [size; 4], "attention: shapes disagree");
    assert!([dk.len(), dv.len()] == [parts * kv_size; 2], "attention: shapes disagree");
    assert!(lse.len() == tokens * shape.heads && parts > 0, "attention: shapes disagree");
    crate::elementwise::fill(dq, 0.0);
    crate::elementwise::fill(dk, 0.0);
    crate::elementwise::fill(dv, 0.0);
    let group = shape.group();
    let (dq, dk, dv) = (Shared::new(dq), Shared::new(dk), Shared::new(dv));
    let mut placed = Vec::new();
    let mut first_row = 0;
    for spans in groups(spans) {
        placed.push((first_row, spans));
        first_row += reach(spans);
    }
    let each = shape.kv_heads * parts;
    team::run(placed.len() * each, |task| {
        let (index, i) = (task / each, task % each);
        let (first_row, spans) = placed[index];
        let (kv_head, part) = (i / parts, i % parts);
        let at = ((part * shape.kv_heads + kv_head) * rows + first_row) * dim;
        let len = reach(spans) * dim;
        // SAFETY: part, head and group name a block that only this task touches.
        let (dk, dv) = unsafe { (dk.slice(at, len), dv.slice(at, len)) };
        for span in spans {
            let tiles = (span.len * group).div_ceil(LANES);
            // Tiles are dealt out in turn, so that each part gets cheap early and dear late ones.
            for tile in (part..tiles).step_by(parts) {
                let first = tile * LANES;
                let count = LANES.min(span.len * group - first);
                let lanes = Lanes { first, count, group, kv_head };
                let (dk, dv) = (dk.as_mut_ptr(), dv.as_mut_ptr());
                backward_isa(isa, shape, span, lanes, dq, dk, dv, dout, out, lse, q, &k, &v);
            }
        }
    });
}
