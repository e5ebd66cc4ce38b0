//! Attention of a few queries, as in decoding: the same sums in the same order as [`super::forward`] and
//! [`super::bf16::forward`], bit for bit, with *keys* in the lanes.
//!
//! A decoded token brings as many queries to a key/value head as the group has heads: three of sixty-four lanes. Here a tile
//! of keys is turned round instead (`[dim, key]`), scores are `[query, key]`, and outputs `[query, dim]` take values as they
//! lie. Each score is still one chain over the dimensions, each output one chain over the keys; the sums of exponentials are
//! chained as the other bodies chain them.

use super::bf16::{pairs_of_dims, pairs_of_keys};
use super::{Heads, KEYS, LANES, LOWEST, Lanes, MAX_HEAD, Reach, Scratch, Shape, Span, unmasked};
use crate::pairs::{PairRows, Pairs, dispatch_pairs, pair_product};
use crate::par::Shared;
use crate::simd::{Simd, dispatch, exp, exp2_coarse, load_n, store_n};
use crate::tile::{Broadcast, product};

/// Most queries that are few: half of the narrowest useful vector of queries.
pub(super) const FEW: usize = 8;

const LOG2_E: f32 = std::f32::consts::LOG2_E;

/// Widest row of outputs.
const WIDTH: usize = MAX_HEAD;

/// Hides from a query at `position` what it must not see of the tile's scores, and what lies beyond its keys.
#[inline(always)]
unsafe fn hide(scores: *mut f32, position: usize, key0: usize, keys: usize, width: usize, shape: &Shape) {
    let first = (position + 1).saturating_sub(shape.window).saturating_sub(key0).min(keys);
    let last = if shape.causal { (position + 1).saturating_sub(key0).min(keys) } else { keys };
    for j in (0..first).chain(last.max(first)..width) {
        // SAFETY: `width` scores are there.
        unsafe { *scores.add(j) = f32::NEG_INFINITY };
    }
}

/// The largest of a row's scores and `old`.
#[inline(always)]
unsafe fn largest<S: Simd>(scores: *const f32, width: usize, old: f32) -> f32 {
    unsafe {
        let mut top = S::splat(old);
        for j in (0..width).step_by(S::LANES) {
            top = S::max(top, S::load(scores.add(j)));
        }
        S::max_lane(top)
    }
}

/// One number through a vector function, so that it is rounded as in the lanes of the other bodies.
#[inline(always)]
unsafe fn lane<S: Simd>(v: S::V) -> f32 {
    let mut out = [0.0f32; 16];
    unsafe { S::store(out.as_mut_ptr(), v) };
    out[0]
}

#[inline(always)]
unsafe fn scale_row<S: Simd>(row: *mut f32, dim: usize, factor: f32) {
    unsafe {
        let factor = S::splat(factor);
        for d in (0..dim).step_by(S::LANES) {
            S::store(row.add(d), S::mul(S::load(row.add(d)), factor));
        }
    }
}

#[inline(always)]
unsafe fn bf16_task<S: Pairs>(
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
        let (half, padded) = (dim.div_ceil(2), dim.next_multiple_of(16));
        let mut turned = Scratch::<{ MAX_HEAD / 2 * LANES }>::new();
        let mut v_pairs = Scratch::<{ KEYS / 2 * WIDTH }>::new();
        let mut scores = Scratch::<{ FEW * KEYS }>::new();
        let mut outs = Scratch::<{ FEW * WIDTH }>::new();
        let mut rows = Scratch::<{ FEW * (MAX_HEAD / 2) }>::new();
        let mut probs = Scratch::<{ FEW * KEYS / 2 }>::new();
        let turned: *mut u32 = turned.ptr().cast();
        let v_pairs: *mut u32 = v_pairs.ptr().cast();
        let (scores, outs) = (scores.ptr(), outs.ptr());
        let probs: *mut u16 = probs.ptr().cast();
        let rows: *mut u16 = rows.ptr().cast();
        let (mut top, mut sum) = ([LOWEST; FEW], [0.0f32; FEW]);
        for i in 0..lanes.count {
            let (t, h) = lanes.at(i);
            let row = q.as_ptr().add((h * shape.tokens + span.start + t) * dim);
            *rows.add(i * 2 * half + 2 * half - 1) = 0;
            std::ptr::copy_nonoverlapping(row, rows.add(i * 2 * half), dim);
            for d in (0..padded).step_by(S::LANES) {
                S::store(outs.add(i * WIDTH + d), S::splat(0.0));
            }
        }
        let reach = Reach::of(shape, span, lanes);
        let mut key0 = reach.first / KEYS * KEYS;
        while key0 < reach.last {
            let keys = KEYS.min(reach.last - key0);
            let width = keys.next_multiple_of(S::LANES);
            let kp = k.data.as_ptr().add(span.key_base + lanes.kv_head * k.head + key0 * k.token);
            let vp = v.data.as_ptr().add(span.value_base + lanes.kv_head * v.head + key0 * v.token);
            // Lanes beyond the last key repeat it: real numbers, hidden below.
            pairs_of_dims::<S>(turned, |j| kp.add(j.min(keys - 1) * k.token), width, dim);
            let v_cols = pairs_of_keys::<S>(v_pairs, vp, v.token, keys, dim);
            let queries = PairRows { p: rows, row: 2 * half, col: 2 };
            pair_product::<S>((lanes.count, width, half), scores, KEYS, queries, turned, LANES, false);
            let whole = keys == width && unmasked(shape, key0, keys, reach.low, reach.high);
            for i in 0..lanes.count {
                let s = scores.add(i * KEYS);
                if !whole {
                    hide(s, span.past + lanes.at(i).0, key0, keys, width, shape);
                }
                let (old, new) = (top[i], largest::<S>(s, width, top[i]));
                let shift = S::mul(S::splat(new), S::splat(-LOG2_E));
                for j in (0..width).step_by(S::LANES) {
                    let e = exp2_coarse::<S>(S::fma(S::load(s.add(j)), S::splat(LOG2_E), shift));
                    S::store(s.add(j), e);
                    S::store_half(probs.add(i * KEYS + j), S::round_half(e));
                }
                let mut sums = [0.0f32; 2];
                for j in (0..keys).step_by(2) {
                    sums[0] += *s.add(j);
                    // Beyond an odd number of keys lies a zero, or the width ends: then nothing was stored there.
                    sums[1] += if j + 1 < keys { *s.add(j + 1) } else { 0.0 };
                }
                if keys % 2 == 1 {
                    *probs.add(i * KEYS + keys) = 0;
                }
                let total = sums[0] + sums[1];
                if old < new {
                    let shrink = exp2_coarse::<S>(S::fma(S::splat(old), S::splat(LOG2_E), shift));
                    sum[i] = lane::<S>(S::fma(S::splat(sum[i]), shrink, S::splat(total)));
                    top[i] = new;
                    scale_row::<S>(outs.add(i * WIDTH), padded, lane::<S>(shrink));
                } else {
                    sum[i] += total;
                }
            }
            let weights = PairRows { p: probs, row: KEYS, col: 2 };
            let values = v_cols.p.cast();
            pair_product::<S>((lanes.count, padded, keys.div_ceil(2)), outs, WIDTH, weights, values, padded, true);
            key0 += KEYS;
        }
        for i in 0..lanes.count {
            let (t, h) = lanes.at(i);
            let inverse = S::div(S::splat(1.0), S::splat(sum[i]));
            let to = out.ptr().add(((span.start + t) * shape.heads + h) * dim);
            for d in (0..dim).step_by(S::LANES) {
                store_n::<S>(to.add(d), S::mul(S::load(outs.add(i * WIDTH + d)), inverse), dim - d);
            }
            if let Some(lse) = lse {
                *lse.ptr().add(h * shape.tokens + span.start + t) = top[i] + sum[i].ln();
            }
        }
    }
}
dispatch_pairs!(pub(super) fn bf16_path = bf16_task(
    shape: &Shape, span: &Span, lanes: Lanes, out: Shared<u16>, lse: Option<Shared>, q: &[u16], k: &Heads<u16>,
    v: &Heads<u16>));

/// `to[d][key]` of a tile's rows; lanes beyond the last key repeat it.
#[inline(always)]
unsafe fn turn_keys<S: Simd>(to: *mut f32, rows: *const f32, token: usize, keys: usize, width: usize, dim: usize) {
    unsafe {
        for j0 in (0..width).step_by(S::LANES) {
            let row = |l: usize| rows.add((j0 + l).min(keys - 1) * token);
            for d0 in (0..dim).step_by(S::LANES) {
                let n = S::LANES.min(dim - d0);
                let mut m = [S::splat(0.0); 16];
                for l in 0..S::LANES {
                    m[l] = load_n::<S>(row(l).add(d0), n);
                }
                S::transpose(&mut m[..S::LANES]);
                for d in 0..n {
                    S::store(to.add((d0 + d) * KEYS + j0), m[d]);
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn f32_task<S: Simd>(shape: &Shape, span: &Span, lanes: Lanes, out: Shared, lse: Option<Shared>, q: &[f32], k: &Heads, v: &Heads) {
    unsafe {
        let dim = shape.dim;
        let mut turned = Scratch::<{ MAX_HEAD * KEYS }>::new();
        let mut scores = Scratch::<{ FEW * KEYS }>::new();
        let mut outs = Scratch::<{ FEW * WIDTH }>::new();
        let mut rows = Scratch::<{ FEW * MAX_HEAD }>::new();
        let (turned, scores, outs, rows) = (turned.ptr(), scores.ptr(), outs.ptr(), rows.ptr());
        let (mut top, mut sum) = ([LOWEST; FEW], [0.0f32; FEW]);
        for i in 0..lanes.count {
            let (t, h) = lanes.at(i);
            std::ptr::copy_nonoverlapping(q.as_ptr().add((h * shape.tokens + span.start + t) * dim), rows.add(i * dim), dim);
            for d in (0..dim).step_by(S::LANES) {
                S::store(outs.add(i * WIDTH + d), S::splat(0.0));
            }
        }
        let reach = Reach::of(shape, span, lanes);
        let mut key0 = reach.first / KEYS * KEYS;
        while key0 < reach.last {
            let keys = KEYS.min(reach.last - key0);
            let width = keys.next_multiple_of(S::LANES);
            let kp = k.data.as_ptr().add(span.key_base + lanes.kv_head * k.head + key0 * k.token);
            let vp = v.data.as_ptr().add(span.value_base + lanes.kv_head * v.head + key0 * v.token);
            turn_keys::<S>(turned, kp, k.token, keys, width, dim);
            product::<S>((lanes.count, width, dim), scores, KEYS, Broadcast { p: rows, row: dim, col: 1 }, turned, KEYS, false);
            let whole = keys == width && unmasked(shape, key0, keys, reach.low, reach.high);
            for i in 0..lanes.count {
                let s = scores.add(i * KEYS);
                if !whole {
                    hide(s, span.past + lanes.at(i).0, key0, keys, width, shape);
                }
                let (old, new) = (top[i], largest::<S>(s, width, top[i]));
                let shrink = exp::<S>(S::sub(S::splat(old), S::splat(new)));
                for j in (0..width).step_by(S::LANES) {
                    S::store(s.add(j), exp::<S>(S::sub(S::load(s.add(j)), S::splat(new))));
                }
                let mut total = lane::<S>(S::mul(S::splat(sum[i]), shrink));
                for j in 0..keys {
                    total += *s.add(j);
                }
                (top[i], sum[i]) = (new, total);
                if old < new {
                    scale_row::<S>(outs.add(i * WIDTH), dim, lane::<S>(shrink));
                }
            }
            product::<S>((lanes.count, dim, keys), outs, WIDTH, Broadcast { p: scores, row: KEYS, col: 1 }, vp, v.token, true);
            key0 += KEYS;
        }
        for i in 0..lanes.count {
            let (t, h) = lanes.at(i);
            let inverse = if sum[i] > 0.0 { 1.0 / sum[i] } else { sum[i] };
            let to = out.ptr().add(((span.start + t) * shape.heads + h) * dim);
            for d in (0..dim).step_by(S::LANES) {
                store_n::<S>(to.add(d), S::mul(S::load(outs.add(i * WIDTH + d)), S::splat(inverse)), dim - d);
            }
            if let Some(lse) = lse {
                *lse.ptr().add(h * shape.tokens + span.start + t) = top[i] + sum[i].ln();
            }
        }
    }
}
dispatch!(pub(super) fn f32_path = f32_task(
    shape: &Shape, span: &Span, lanes: Lanes, out: Shared, lse: Option<Shared>, q: &[f32], k: &Heads, v: &Heads));
