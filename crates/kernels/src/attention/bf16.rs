//! Attention on bf16 operands: queries, keys, values and their gradients' operands are bf16, scores, softmax and all
//! sums f32.
//!
//! The structure is that of the f32 kernels (lanes are queries, tiles of keys counted from the beginning of the
//! sequence), with two products a lane and step ([`crate::pairs`]). A task takes several blocks of lanes and walks each
//! tile of keys for all of them, so that keys, values and the gradients of a tile pass through the cache once for up
//! to 256 queries. Pairs of keys, wanted where a product sums over keys, are made tile by tile.
//!
//! Rounding: unnormalised probabilities (at most 1) before they multiply values, probabilities and score gradients
//! before they multiply in backward, the output, once each. `lse` and the softmax's denominator are of unrounded
//! exponentials, which are good to 3·10⁻⁶.

use super::{Heads, KEYS, LANES, LOWEST, Lanes, Reach, Scratch, Shape, Span, each_task, few, groups, key_rows, mask, reach, unmasked};
use crate::cpu::{Bf16Path, bf16_path};
use crate::element::Element;
use crate::pairs::{PairRows, Pairs, dispatch_pairs, pair_product};
use crate::par::Shared;
use crate::simd::{Simd, exp2_coarse, load_n, store_n};
use crate::team;

/// Words of a task's scratch: one block of the widest heads in backward.
const WORDS: usize = 88 << 10;
/// Most blocks of lanes in a task.
const BLOCKS: usize = 4;
/// Vectors of bf16 rows that hold a head are whole for every instruction set.
const PAD: usize = 16;

/// Parts of the scratch, each beginning at a cache line.
struct Carve {
    next: *mut u32,
    left: usize,
}

impl Carve {
    /// `n` words.
    #[inline(always)]
    fn take<T>(&mut self, n: usize) -> *mut T {
        let n = n.next_multiple_of(16);
        assert!(n <= self.left, "attention: scratch exhausted");
        let p = self.next;
        // SAFETY: inside the scratch, asserted above.
        self.next = unsafe { p.add(n) };
        self.left -= n;
        p.cast()
    }
}

/// Blocks of lanes that a task takes at most: what fits the scratch.
fn blocks(dim: usize, backward: bool) -> usize {
    let (half, padded) = (dim.div_ceil(2), dim.next_multiple_of(PAD));
    let (each, shared) = if backward {
        let each = 2 * half * LANES + 2 * (LANES / 2) * padded + dim * LANES + 3 * LANES;
        (each, 2 * KEYS * LANES + KEYS * LANES + KEYS / 2 * padded + 2 * KEYS * half.next_multiple_of(16))
    } else {
        (half * LANES + dim * LANES + 3 * LANES, KEYS * LANES + KEYS / 2 * padded + KEYS * half.next_multiple_of(16))
    };
    ((WORDS - shared - 256) / (each + 128)).clamp(1, BLOCKS)
}

/// Pairs of dimensions of each lane's row: `to[pair][lane]`.
#[inline(always)]
pub(super) unsafe fn pairs_of_dims<S: Pairs>(to: *mut u32, row: impl Fn(usize) -> *const u16, width: usize, dim: usize) {
    unsafe {
        for lane0 in (0..width).step_by(S::LANES) {
            let mut pair = 0;
            while 2 * (pair + S::LANES) <= dim {
                let mut m = [S::splat(0.0); 16];
                for l in 0..S::LANES {
                    m[l] = S::load(row(lane0 + l).add(2 * pair).cast());
                }
                S::transpose(&mut m[..S::LANES]);
                for l in 0..S::LANES {
                    S::store(to.add((pair + l) * LANES + lane0).cast(), m[l]);
                }
                pair += S::LANES;
            }
            for l in 0..S::LANES {
                let row = row(lane0 + l);
                for p in pair..dim.div_ceil(2) {
                    let hi = if 2 * p + 1 < dim { *row.add(2 * p + 1) } else { 0 };
                    *to.add(p * LANES + lane0 + l) = *row.add(2 * p) as u32 | (hi as u32) << 16;
                }
            }
        }
    }
}

/// One vector of a row, zeros beyond its end or if there is no row.
#[inline(always)]
unsafe fn half_row<S: Pairs>(row: Option<*const u16>, i: usize, dim: usize) -> S::H {
    unsafe {
        match row {
            Some(p) if i + S::LANES <= dim => S::load_half(p.add(i)),
            Some(p) if i < dim => {
                let mut rest = [0u16; 16];
                std::ptr::copy_nonoverlapping(p.add(i), rest.as_mut_ptr(), dim - i);
                S::load_half(rest.as_ptr())
            }
            _ => S::round_half(S::splat(0.0)),
        }
    }
}

/// `to[i] = (lo[i], hi[i])`, zeros for a row that is not there and up to the padded width.
#[inline(always)]
unsafe fn zip_rows<S: Pairs>(to: *mut u32, lo: Option<*const u16>, hi: Option<*const u16>, dim: usize) {
    unsafe {
        for i in (0..dim.next_multiple_of(PAD)).step_by(S::LANES) {
            S::store_pairs(to.add(i), S::zip(half_row::<S>(lo, i, dim), half_row::<S>(hi, i, dim)));
        }
    }
}

/// A tile's rows as pairs of dimensions: in place if the width is even, else copied with a zero at the end.
#[inline(always)]
unsafe fn dims_of_keys(rows: *const u16, token: usize, keys: usize, dim: usize, copy: *mut u16) -> PairRows {
    if dim.is_multiple_of(2) {
        return PairRows { p: rows, row: token, col: 2 };
    }
    unsafe {
        for j in 0..keys {
            std::ptr::copy_nonoverlapping(rows.add(j * token), copy.add(j * (dim + 1)), dim);
            *copy.add(j * (dim + 1) + dim) = 0;
        }
    }
    PairRows { p: copy, row: dim + 1, col: 2 }
}

/// A tile's rows as pairs of keys: `to[key / 2][dim]`.
#[inline(always)]
pub(super) unsafe fn pairs_of_keys<S: Pairs>(to: *mut u32, rows: *const u16, token: usize, keys: usize, dim: usize) -> PairRows {
    unsafe {
        let padded = dim.next_multiple_of(PAD);
        for j in (0..keys).step_by(2) {
            let hi = (j + 1 < keys).then(|| rows.add((j + 1) * token));
            zip_rows::<S>(to.add(j / 2 * padded), Some(rows.add(j * token)), hi, dim);
        }
        PairRows { p: to.cast(), row: 2, col: 2 * padded }
    }
}

/// Rows of lanes from their columns `from[dim][lane]`: `row(lane)[d]`, rounded if the rows are bf16.
#[inline(always)]
unsafe fn rows_of_lanes<S: Simd, Y: Element>(from: *const f32, row: impl Fn(usize) -> *mut Y, count: usize, dim: usize) {
    unsafe {
        for lane0 in (0..count).step_by(S::LANES) {
            for d0 in (0..dim).step_by(S::LANES) {
                let n = S::LANES.min(dim - d0);
                let mut m = [S::splat(0.0); 16];
                for d in 0..n {
                    m[d] = S::load(from.add((d0 + d) * LANES + lane0));
                }
                S::transpose(&mut m[..S::LANES]);
                for l in 0..S::LANES.min(count - lane0) {
                    store_n::<S>(row(lane0 + l).add(d0), m[l], n);
                }
            }
        }
    }
}

/// The lanes of block `b` of a task.
#[inline(always)]
fn block_of(lanes: Lanes, b: usize) -> Lanes {
    Lanes { first: lanes.first + b * LANES, count: LANES.min(lanes.count - b * LANES), ..lanes }
}

/// What forward keeps of a block.
#[derive(Clone, Copy)]
struct Query {
    lanes: Lanes,
    reach: Reach,
    width: usize,
    qt: *mut u32,
    ot: *mut f32,
    position: *mut f32,
    top: *mut f32,
    sum: *mut f32,
}

const LOG2_E: f32 = std::f32::consts::LOG2_E;

/// `e^(score + shift)`, the shift in units of ln 2.
#[inline(always)]
unsafe fn exp_score<S: Simd>(score: *const f32, shift: S::V) -> S::V {
    // SAFETY: the caller's.
    unsafe { exp2_coarse::<S>(S::fma(S::load(score), S::splat(LOG2_E), shift)) }
}

/// Scores of a tile become unnormalised probabilities, in pairs of keys in the same place; maxima, sums and the output
/// so far follow.
#[inline(always)]
unsafe fn softmax_tile<S: Pairs>(scores: *mut f32, keys: usize, b: &Query, dim: usize) {
    unsafe {
        let log2_e = S::splat(LOG2_E);
        for i in (0..b.width).step_by(S::LANES) {
            let at = |j: usize| scores.add(j * LANES + i);
            let old = S::load(b.top.add(i));
            let mut tops = [old; 4];
            let mut j = 0;
            while j + 4 <= keys {
                for (u, t) in tops.iter_mut().enumerate() {
                    *t = S::max(*t, S::load(at(j + u)));
                }
                j += 4;
            }
            while j < keys {
                tops[0] = S::max(tops[0], S::load(at(j)));
                j += 1;
            }
            let new = S::max(S::max(tops[0], tops[1]), S::max(tops[2], tops[3]));
            let shift = S::mul(new, S::splat(-LOG2_E));
            let mut sums = [S::splat(0.0); 2];
            let mut j = 0;
            while j < keys {
                let lo = exp_score::<S>(at(j), shift);
                let hi = if j + 1 < keys { exp_score::<S>(at(j + 1), shift) } else { S::splat(0.0) };
                sums = [S::add(sums[0], lo), S::add(sums[1], hi)];
                // Row j / 2 of pairs: its scores have been read.
                S::store_pairs(at(j / 2).cast(), S::zip(S::round_half(lo), S::round_half(hi)));
                j += 2;
            }
            let total = S::add(sums[0], sums[1]);
            let sum = b.sum.add(i);
            if S::any_lt(old, new) {
                // Exactly one where the maximum stays, which the rounding of the shift would miss: a lane must not depend on its
                // neighbours.
                let shrink = S::select_lt(old, new, exp2_coarse::<S>(S::fma(old, log2_e, shift)), S::splat(1.0));
                S::store(b.top.add(i), new);
                S::store(sum, S::fma(S::load(sum), shrink, total));
                for d in 0..dim {
                    let p = b.ot.add(d * LANES + i);
                    S::store(p, S::mul(S::load(p), shrink));
                }
            } else {
                // Every factor is one.
                S::store(sum, S::add(S::load(sum), total));
            }
        }
    }
}

#[inline(always)]
unsafe fn forward_task<S: Pairs>(
    shape: &Shape,
    span: &Span,
    lanes: Lanes,
    out: Shared<u16>,
    lse: Option<Shared>,
    q: &[u16],
    k: &Heads<u16>,
    v: &Heads<u16>,
) {
    unsafe {
        let dim = shape.dim;
        let (half, padded) = (dim.div_ceil(2), dim.next_multiple_of(PAD));
        let mut scratch = Scratch::<WORDS>::new();
        let mut carve = Carve { next: scratch.ptr().cast(), left: WORDS };
        let scores: *mut f32 = carve.take(KEYS * LANES);
        let v_pairs: *mut u32 = carve.take(KEYS / 2 * padded);
        let k_copy: *mut u16 = carve.take(KEYS * half);
        let n = lanes.count.div_ceil(LANES);
        let mut queries: [Option<Query>; BLOCKS] = [None; BLOCKS];
        let (mut first, mut last) = (usize::MAX, 0);
        for (i, slot) in queries[..n].iter_mut().enumerate() {
            let lanes = block_of(lanes, i);
            let reach = Reach::of(shape, span, lanes);
            (first, last) = (first.min(reach.first), last.max(reach.last));
            let width = lanes.count.next_multiple_of(S::LANES);
            let b = Query {
                lanes,
                reach,
                width,
                qt: carve.take(half * LANES),
                ot: carve.take(dim * LANES),
                position: carve.take(LANES),
                top: carve.take(LANES),
                sum: carve.take(LANES),
            };
            // Lanes beyond the last repeat it: real numbers, ignored in the end.
            let at = |lane: usize| lanes.at(lane.min(lanes.count - 1));
            let row = |lane: usize| {
                let (t, h) = at(lane);
                q.as_ptr().add((h * shape.tokens + span.start + t) * dim)
            };
            pairs_of_dims::<S>(b.qt, row, width, dim);
            for lane in 0..width {
                *b.position.add(lane) = (span.past + at(lane).0) as f32;
                *b.top.add(lane) = LOWEST;
                *b.sum.add(lane) = 0.0;
            }
            for i in (0..dim * LANES).step_by(S::LANES) {
                S::store(b.ot.add(i), S::splat(0.0));
            }
            *slot = Some(b);
        }

        let mut key0 = first / KEYS * KEYS;
        while key0 < last {
            let keys = KEYS.min(last - key0);
            let kp = k.data.as_ptr().add(span.key_base + lanes.kv_head * k.head + key0 * k.token);
            let vp = v.data.as_ptr().add(span.value_base + lanes.kv_head * v.head + key0 * v.token);
            let k_rows = dims_of_keys(kp, k.token, keys, dim, k_copy);
            let v_cols = pairs_of_keys::<S>(v_pairs, vp, v.token, keys, dim);
            for b in queries[..n].iter().flatten() {
                let keys = b.reach.keys(key0);
                if keys == 0 {
                    continue;
                }
                pair_product::<S>((keys, b.width, half), scores, LANES, k_rows, b.qt, LANES, false);
                if !unmasked(shape, key0, keys, b.reach.low, b.reach.high) {
                    mask::<S>(scores, b.width, (key0, keys), b.position, shape);
                }
                softmax_tile::<S>(scores, keys, b, dim);
                pair_product::<S>((dim, b.width, keys.div_ceil(2)), b.ot, LANES, v_cols, scores.cast(), LANES, true);
            }
            key0 += KEYS;
        }

        for b in queries[..n].iter().flatten() {
            for i in (0..b.width).step_by(S::LANES) {
                let inverse = S::div(S::splat(1.0), S::load(b.sum.add(i)));
                for d in 0..dim {
                    let p = b.ot.add(d * LANES + i);
                    S::store(p, S::mul(S::load(p), inverse));
                }
            }
            let row = |lane: usize| {
                let (t, h) = b.lanes.at(lane);
                out.ptr().add(((span.start + t) * shape.heads + h) * dim)
            };
            // Rows of this span's tokens and heads belong to this task alone.
            rows_of_lanes::<S, u16>(b.ot, row, b.lanes.count, dim);
            if let Some(lse) = lse {
                for lane in 0..b.lanes.count {
                    let (t, h) = b.lanes.at(lane);
                    *lse.ptr().add(h * shape.tokens + span.start + t) = *b.top.add(lane) + (*b.sum.add(lane)).ln();
                }
            }
        }
    }
}
dispatch_pairs!(fn forward_path = forward_task(
    shape: &Shape, span: &Span, lanes: Lanes, out: Shared<u16>, lse: Option<Shared>, q: &[u16], k: &Heads<u16>,
    v: &Heads<u16>));

/// `out = softmax(q·kᵀ)·v` for each span and head: [`super::forward`] on bf16.
///
/// `q` is `[heads, tokens, dim]` and already scaled; `out` is `[tokens, heads·dim]`; `lse`, wanted for backward, is
/// `[heads, tokens]`: the natural logarithm of each softmax's denominator.
pub fn forward(out: &mut [u16], lse: Option<&mut [f32]>, q: &[u16], k: Heads<u16>, v: Heads<u16>, spans: &[Span], shape: &Shape) {
    forward_on(bf16_path(), out, lse, q, k, v, spans, shape);
}

/// [`forward`] on a given path, for tests.
#[doc(hidden)]
pub fn forward_on(
    path: Bf16Path,
    out: &mut [u16],
    lse: Option<&mut [f32]>,
    q: &[u16],
    k: Heads<u16>,
    v: Heads<u16>,
    spans: &[Span],
    shape: &Shape,
) {
    shape.check(spans, &k, &v);
    let size = shape.tokens * shape.heads * shape.dim;
    assert!(out.len() == size && q.len() == size, "attention: shapes disagree");
    assert!(lse.as_ref().is_none_or(|l| l.len() == shape.tokens * shape.heads), "attention: shapes disagree");
    let (out, lse) = (Shared::new(out), lse.map(Shared::new));
    let lanes = blocks(shape.dim, false) * LANES;
    each_task(shape, spans, lanes, |span, lanes| {
        let body = if lanes.count <= few::FEW { few::bf16_path } else { forward_path };
        body(path, shape, span, lanes, out, lse, q, &k, &v);
    });
}

/// Parts in which the gradients of the keys of a group of spans are summed: by the group's own queries alone.
fn parts_of(shape: &Shape, group: &[Span]) -> usize {
    let queries: usize = group.iter().map(|s| s.len).sum();
    match (queries * shape.group()).div_ceil(LANES) {
        0..=5 => 1,
        6..=63 => 2,
        _ => 4,
    }
}

/// Number of partial sums of the keys' and values' gradients: enough tasks for several threads where a sequence is
/// long, decided by the shapes alone.
pub fn backward_parts(spans: &[Span], shape: &Shape) -> usize {
    groups(spans).map(|g| parts_of(shape, g)).max().unwrap_or(1)
}

/// What backward keeps of a block.
#[derive(Clone, Copy)]
struct Grad {
    lanes: Lanes,
    reach: Reach,
    width: usize,
    /// Queries and output gradients, pairs of dims by lane.
    qt: *mut u32,
    dot: *mut u32,
    /// The same, pairs of lanes by dim.
    q_rows: *mut u32,
    do_rows: *mut u32,
    dqt: *mut f32,
    position: *mut f32,
    /// Negative logarithms (base 2) of the denominators.
    shift: *mut f32,
    delta: *mut f32,
}

/// One row of [`gradient_tile`]: the gradients of its scores.
#[inline(always)]
unsafe fn gradient_row<S: Pairs>(
    (scores, dprobs): (*const f32, *const f32),
    (shift, delta): (S::V, S::V),
    (p_row, ds_row): (*mut u16, *mut u16),
) -> S::H {
    unsafe {
        let p = exp_score::<S>(scores, shift);
        let ds = S::round_half(S::mul(p, S::sub(S::load(dprobs), delta)));
        S::store_half(p_row, S::round_half(p));
        S::store_half(ds_row, ds);
        ds
    }
}

/// From scores and `dout·v`: probabilities and score gradients as rows of bf16, the latter in pairs of keys too, in the
/// place of `dprobs`.
#[inline(always)]
unsafe fn gradient_tile<S: Pairs>(scores: *const f32, dprobs: *mut f32, keys: usize, b: &Grad, p_rows: *mut u16, ds_rows: *mut u16) {
    unsafe {
        for i in (0..b.width).step_by(S::LANES) {
            let factors = (S::load(b.shift.add(i)), S::load(b.delta.add(i)));
            let mut j = 0;
            while j < keys {
                let at = j * LANES + i;
                let lo = gradient_row::<S>((scores.add(at), dprobs.add(at)), factors, (p_rows.add(at), ds_rows.add(at)));
                let hi = if j + 1 < keys {
                    let at = at + LANES;
                    gradient_row::<S>((scores.add(at), dprobs.add(at)), factors, (p_rows.add(at), ds_rows.add(at)))
                } else {
                    S::round_half(S::splat(0.0))
                };
                // Row j / 2 of pairs: its numbers have been read.
                S::store_pairs(dprobs.add(j / 2 * LANES + i).cast(), S::zip(lo, hi));
                j += 2;
            }
        }
    }
}

#[inline(always)]
unsafe fn backward_task<S: Pairs>(
    shape: &Shape,
    span: &Span,
    lanes: Lanes,
    dq: Shared,
    dk: *mut f32,
    dv: *mut f32,
    dout: &[u16],
    out: &[u16],
    lse: &[f32],
    q: &[u16],
    k: &Heads<u16>,
    v: &Heads<u16>,
) {
    unsafe {
        let dim = shape.dim;
        let (half, padded) = (dim.div_ceil(2), dim.next_multiple_of(PAD));
        let mut scratch = Scratch::<WORDS>::new();
        let mut carve = Carve { next: scratch.ptr().cast(), left: WORDS };
        let scores: *mut f32 = carve.take(KEYS * LANES);
        let dprobs: *mut f32 = carve.take(KEYS * LANES);
        let p_rows: *mut u16 = carve.take(KEYS * LANES / 2);
        let ds_rows: *mut u16 = carve.take(KEYS * LANES / 2);
        let k_pairs: *mut u32 = carve.take(KEYS / 2 * padded);
        let k_copy: *mut u16 = carve.take(KEYS * half);
        let v_copy: *mut u16 = carve.take(KEYS * half);
        let n = lanes.count.div_ceil(LANES);
        let mut grads: [Option<Grad>; BLOCKS] = [None; BLOCKS];
        let (mut first, mut last) = (usize::MAX, 0);
        for (i, slot) in grads[..n].iter_mut().enumerate() {
            let lanes = block_of(lanes, i);
            let reach = Reach::of(shape, span, lanes);
            (first, last) = (first.min(reach.first), last.max(reach.last));
            let width = lanes.count.next_multiple_of(S::LANES);
            let b = Grad {
                lanes,
                reach,
                width,
                qt: carve.take(half * LANES),
                dot: carve.take(half * LANES),
                q_rows: carve.take(LANES / 2 * padded),
                do_rows: carve.take(LANES / 2 * padded),
                dqt: carve.take(dim * LANES),
                position: carve.take(LANES),
                shift: carve.take(LANES),
                delta: carve.take(LANES),
            };
            let at = |lane: usize| lanes.at(lane.min(lanes.count - 1));
            let q_row = |lane: usize| {
                let (t, h) = at(lane);
                q.as_ptr().add((h * shape.tokens + span.start + t) * dim)
            };
            let packed = |lane: usize| {
                let (t, h) = at(lane);
                ((span.start + t) * shape.heads + h) * dim
            };
            let do_row = |lane: usize| dout.as_ptr().add(packed(lane));
            pairs_of_dims::<S>(b.qt, q_row, width, dim);
            pairs_of_dims::<S>(b.dot, do_row, width, dim);
            for lane in (0..width).step_by(2) {
                // Lanes beyond the last must not count in sums over lanes.
                let real = |l: usize| l < lanes.count;
                let row = |f: &dyn Fn(usize) -> *const u16, l: usize| if real(l) { Some(f(l)) } else { None };
                zip_rows::<S>(b.q_rows.add(lane / 2 * padded), row(&q_row, lane), row(&q_row, lane + 1), dim);
                zip_rows::<S>(b.do_rows.add(lane / 2 * padded), row(&do_row, lane), row(&do_row, lane + 1), dim);
            }
            for lane in 0..width {
                let (t, h) = at(lane);
                *b.position.add(lane) = (span.past + t) as f32;
                *b.shift.add(lane) = lse[h * shape.tokens + span.start + t] * -LOG2_E;
                let (g, o) = (do_row(lane), out.as_ptr().add(packed(lane)));
                let mut sum = S::splat(0.0);
                for d in (0..dim).step_by(S::LANES) {
                    sum = S::fma(load_n::<S>(g.add(d), dim - d), load_n::<S>(o.add(d), dim - d), sum);
                }
                *b.delta.add(lane) = S::sum(sum);
            }
            for i in (0..dim * LANES).step_by(S::LANES) {
                S::store(b.dqt.add(i), S::splat(0.0));
            }
            *slot = Some(b);
        }

        let mut key0 = first / KEYS * KEYS;
        while key0 < last {
            let keys = KEYS.min(last - key0);
            let kp = k.data.as_ptr().add(span.key_base + lanes.kv_head * k.head + key0 * k.token);
            let vp = v.data.as_ptr().add(span.value_base + lanes.kv_head * v.head + key0 * v.token);
            let k_rows = dims_of_keys(kp, k.token, keys, dim, k_copy);
            let v_rows = dims_of_keys(vp, v.token, keys, dim, v_copy);
            let k_cols = pairs_of_keys::<S>(k_pairs, kp, k.token, keys, dim);
            for b in grads[..n].iter().flatten() {
                let keys = b.reach.keys(key0);
                if keys == 0 {
                    continue;
                }
                pair_product::<S>((keys, b.width, half), scores, LANES, k_rows, b.qt, LANES, false);
                pair_product::<S>((keys, b.width, half), dprobs, LANES, v_rows, b.dot, LANES, false);
                if !unmasked(shape, key0, keys, b.reach.low, b.reach.high) {
                    mask::<S>(scores, b.width, (key0, keys), b.position, shape);
                }
                gradient_tile::<S>(scores, dprobs, keys, b, p_rows, ds_rows);
                // dv += pᵀ·do, dk += dsᵀ·q, dq += ds·k.
                let by_key = |p: *const u16| PairRows { p, row: LANES, col: 2 };
                let lanes = b.lanes.count.div_ceil(2);
                pair_product::<S>((keys, dim, lanes), dv.add(key0 * dim), dim, by_key(p_rows), b.do_rows, padded, true);
                pair_product::<S>((keys, dim, lanes), dk.add(key0 * dim), dim, by_key(ds_rows), b.q_rows, padded, true);
                pair_product::<S>((dim, b.width, keys.div_ceil(2)), b.dqt, LANES, k_cols, dprobs.cast(), LANES, true);
            }
            key0 += KEYS;
        }

        for b in grads[..n].iter().flatten() {
            let row = |lane: usize| {
                let (t, h) = b.lanes.at(lane);
                dq.ptr().add((h * shape.tokens + span.start + t) * dim)
            };
            // Rows of this span's tokens and heads belong to this task alone.
            rows_of_lanes::<S, f32>(b.dqt, row, b.lanes.count, dim);
        }
    }
}
dispatch_pairs!(fn backward_path = backward_task(
    shape: &Shape, span: &Span, lanes: Lanes, dq: Shared, dk: *mut f32, dv: *mut f32, dout: &[u16], out: &[u16],
    lse: &[f32], q: &[u16], k: &Heads<u16>, v: &Heads<u16>));

/// Gradients of [`forward`]: [`super::backward`] on bf16.
///
/// `dq` is `[heads, tokens, dim]` to the scaled queries; `dk` and `dv` are `[parts, kv_heads, key_rows, dim]` with
/// [`key_rows`]`(spans)` rows wherever the keys and values themselves lie: partial sums that the caller adds in order.
/// `parts` is at least [`backward_parts`]; the gradients of a sequence's keys are cut by its own length, so that their sum
/// does not depend on what else is packed. All three are overwritten.
pub fn backward(
    (dq, dk, dv): (&mut [f32], &mut [f32], &mut [f32]),
    parts: usize,
    dout: &[u16],
    out: &[u16],
    lse: &[f32],
    q: &[u16],
    k: Heads<u16>,
    v: Heads<u16>,
    spans: &[Span],
    shape: &Shape,
) {
    backward_on(bf16_path(), (dq, dk, dv), parts, dout, out, lse, q, k, v, spans, shape);
}

/// [`backward`] on a given path, for tests.
#[doc(hidden)]
pub fn backward_on(
    path: Bf16Path,
    (dq, dk, dv): (&mut [f32], &mut [f32], &mut [f32]),
    parts: usize,
    dout: &[u16],
    out: &[u16],
    lse: &[f32],
    q: &[u16],
    k: Heads<u16>,
    v: Heads<u16>,
    spans: &[Span],
    shape: &Shape,
) {
    shape.check(spans, &k, &v);
    let (tokens, dim, group) = (shape.tokens, shape.dim, shape.group());
    let size = tokens * shape.heads * dim;
    let rows = key_rows(spans);
    let kv_size = rows * shape.kv_heads * dim;
    assert!(dq.len() == size && [dout.len(), out.len(), q.len()] == [size; 3], "attention: shapes disagree");
    assert!([dk.len(), dv.len()] == [parts * kv_size; 2], "attention: shapes disagree");
    assert!(lse.len() == tokens * shape.heads, "attention: shapes disagree");
    assert!(parts >= backward_parts(spans, shape), "attention: too few parts");
    if spans.iter().map(|s| s.len).sum::<usize>() < tokens {
        crate::elementwise::fill(dq, 0.0);
    }
    let (dq, dk, dv) = (Shared::new(dq), Shared::new(dk), Shared::new(dv));
    let mut placed = Vec::new();
    let mut first_row = 0;
    for spans in groups(spans) {
        placed.push((first_row, spans));
        first_row += reach(spans);
    }
    let each = shape.kv_heads * parts;
    let most = blocks(dim, true);
    team::run(placed.len() * each, |task| {
        let (index, i) = (task / each, task % each);
        let (first_row, spans) = placed[index];
        let (kv_head, part) = (i / parts, i % parts);
        let at = ((part * shape.kv_heads + kv_head) * rows + first_row) * dim;
        let len = reach(spans) * dim;
        // SAFETY: part, head and group name a block that only this task touches.
        let (dk, dv) = unsafe { (dk.slice(at, len), dv.slice(at, len)) };
        dk.fill(0.0);
        dv.fill(0.0);
        let parts = parts_of(shape, spans);
        if part >= parts {
            return;
        }
        // Dealt out to and fro, so that each part gets cheap early and dear late ones.
        let mut dealt = 0;
        for span in spans {
            // Few blocks together in a short sequence, so that its parts are of one size.
            let blocks = (span.len * group).div_ceil(LANES);
            let lanes = most.min((blocks / (2 * parts)).max(1)) * LANES;
            for first in (0..span.len * group).step_by(lanes) {
                let (round, place) = (dealt / parts, dealt % parts);
                dealt += 1;
                if place != if round % 2 == 0 { part } else { parts - 1 - part } {
                    continue;
                }
                let count = lanes.min(span.len * group - first);
                let lanes = Lanes { first, count, group, kv_head };
                backward_path(path, shape, span, lanes, dq, dk.as_mut_ptr(), dv.as_mut_ptr(), dout, out, lse, q, &k, &v);
            }
        }
    });
}
