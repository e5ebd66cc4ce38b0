//! Softmax over the vocabulary: what cross-entropy needs from a tile of logits.

use crate::cpu::isa;
use crate::par::{self, Shared};
use crate::simd::{Simd, dispatch, exp, load_n, store_n};

/// Elements whose exponentials are summed in f32 before the sum goes on in f64.
const BLOCK: usize = 1024;

#[inline(always)]
unsafe fn log_sum_exp_body<S: Simd>(x: &[f32]) -> f32 {
    unsafe {
        let p = x.as_ptr();
        let mut top = S::splat(f32::NEG_INFINITY);
        let mut i = 0;
        while i + S::LANES <= x.len() {
            top = S::max(top, S::load(p.add(i)));
            i += S::LANES;
        }
        let mut max = S::max_lane(top);
        for &v in &x[i..] {
            max = if v > max { v } else { max };
        }
        if max == f32::NEG_INFINITY {
            // Nothing finite (or nothing at all): the differences below would be NaN.
            max = 0.0;
        }
        let shift = S::splat(max);
        let mut total = 0.0f64;
        for block in x.chunks(BLOCK) {
            let mut acc = [S::splat(0.0); 2];
            let mut i = 0;
            while i + 2 * S::LANES <= block.len() {
                for (u, a) in acc.iter_mut().enumerate() {
                    let v = S::load(block.as_ptr().add(i + u * S::LANES));
                    *a = S::add(*a, exp::<S>(S::sub(v, shift)));
                }
                i += 2 * S::LANES;
            }
            total += S::sum(S::add(acc[0], acc[1])) as f64;
            let mut rest = [f32::NEG_INFINITY; 16];
            while i < block.len() {
                let n = (block.len() - i).min(S::LANES);
                rest[..n].copy_from_slice(&block[i..i + n]);
                rest[n..].fill(f32::NEG_INFINITY);
                total += S::sum(exp::<S>(S::sub(S::load(rest.as_ptr()), shift))) as f64;
                i += n;
            }
        }
        (max as f64 + total.ln()) as f32
    }
}
dispatch!(
    /// [`log_sum_exp_rows`] of one row on a given path, for tests.
    #[doc(hidden)]
    pub fn log_sum_exp_on = log_sum_exp_body(x: &[f32]) -> f32
);

/// `log Σ exp(x)` of one row, on the calling thread. A NaN makes the result NaN; nothing finite, minus infinity.
pub fn log_sum_exp(x: &[f32]) -> f32 {
    log_sum_exp_on(isa(), x)
}

#[inline(always)]
unsafe fn arg_max_body<S: Simd>(x: &[f32]) -> usize {
    unsafe {
        let (whole, rest) = x.split_at(x.len() / S::LANES * S::LANES);
        let mut top = S::splat(f32::NEG_INFINITY);
        for i in (0..whole.len()).step_by(S::LANES) {
            top = S::max(top, S::load(whole.as_ptr().add(i)));
        }
        let top = rest.iter().fold(S::max_lane(top), |top, &v| if v > top { v } else { top });
        // Blocks first: comparing lanes one by one until the place is found would take longer than finding the maximum.
        let block = x.chunks(64).position(|c| c.iter().fold(false, |any, &v| any | (v == top))).unwrap_or(0);
        block * 64 + x[block * 64..].iter().position(|&v| v == top).unwrap_or(0)
    }
}
dispatch!(
    /// [`arg_max`] on a given path, for tests.
    #[doc(hidden)]
    pub fn arg_max_on = arg_max_body(x: &[f32]) -> usize
);

/// The first place of the largest element (of a row without NaN); 0 for an empty row.
pub fn arg_max(x: &[f32]) -> usize {
    if x.is_empty() { 0 } else { arg_max_on(isa(), x) }
}

#[inline(always)]
unsafe fn scaled_softmax_body<S: Simd>(x: &mut [f32], lse: f32, scale: f32) {
    unsafe {
        let (shift, scale) = (S::splat(lse), S::splat(scale));
        for i in (0..x.len()).step_by(S::LANES) {
            let n = x.len() - i;
            let p = x.as_mut_ptr().add(i);
            let v = S::mul(scale, exp::<S>(S::sub(load_n::<S>(p, n), shift)));
            store_n::<S>(p, v, n);
        }
    }
}
#[inline(always)]
unsafe fn weighted_softmax_body<S: Simd>(to: &mut [u16], x: &[f32], lse: f32, scale: f32) {
    assert_eq!(to.len(), x.len(), "softmax: shapes disagree");
    unsafe {
        let (shift, scale) = (S::splat(lse), S::splat(scale));
        for i in (0..x.len()).step_by(S::LANES) {
            let n = x.len() - i;
            let v = S::mul(scale, exp::<S>(S::sub(load_n::<S>(x.as_ptr().add(i), n), shift)));
            store_n::<S>(to.as_mut_ptr().add(i), v, n);
        }
    }
}
dispatch!(
    /// [`weighted_softmax_rows`] of one row, whose sum is known, on a given path, for tests.
    #[doc(hidden)]
    pub fn weighted_softmax_on = weighted_softmax_body(to: &mut [u16], x: &[f32], lse: f32, scale: f32)
);

dispatch!(
    /// [`scaled_softmax_rows`] of one row on a given path, for tests.
    #[doc(hidden)]
    pub fn scaled_softmax_on = scaled_softmax_body(x: &mut [f32], lse: f32, scale: f32)
);

/// `lse[i] = log Σ exp(x[i, ·])` for each row of `cols` elements.
///
/// A NaN in a row makes its result NaN.
pub fn log_sum_exp_rows(lse: &mut [f32], x: &[f32], cols: usize) {
    assert_eq!(x.len(), lse.len() * cols, "log_sum_exp: shapes disagree");
    let rows = lse.len();
    let out = Shared::new(lse);
    par::ranges(rows, par::rows_per_task(4 * cols), |first, count| {
        // SAFETY: ranges are disjoint and in bounds.
        let lse = unsafe { out.slice(first, count) };
        for (i, l) in lse.iter_mut().enumerate() {
            *l = log_sum_exp_on(isa(), &x[(first + i) * cols..][..cols]);
        }
    });
}

/// [`log_sum_exp_rows`] and, while a row is in cache, what its gradient is but for the targets: `grad[i, ·] = scale[i] · exp(x[i, ·] − lse[i])`,
/// rounded to bf16, as products with the head round it.
pub fn weighted_softmax_rows(lse: &mut [f32], grad: &mut [u16], x: &[f32], scale: &[f32], cols: usize) {
    assert!(x.len() == lse.len() * cols && x.len() == grad.len() && scale.len() == lse.len(), "softmax: shapes disagree");
    let rows = lse.len();
    let (lse, grad) = (Shared::new(lse), Shared::new(grad));
    par::ranges(rows, par::rows_per_task(4 * cols), |first, count| {
        for i in first..first + count {
            let row = &x[i * cols..][..cols];
            let sum = log_sum_exp_on(isa(), row);
            // SAFETY: row `i` of both is this task's.
            unsafe {
                lse.slice(i, 1)[0] = sum;
                weighted_softmax_on(isa(), grad.slice(i * cols, cols), row, sum, scale[i]);
            }
        }
    });
}

/// One element before rounding, as [`weighted_softmax_rows`] computes it.
pub fn weighted_softmax(x: f32, lse: f32, scale: f32) -> f32 {
    let mut one = [x];
    scaled_softmax_on(isa(), &mut one, lse, scale);
    one[0]
}

/// `x[i, ·] = scale[i] · exp(x[i, ·] − lse[i])`: rows of logits become rows of weighted probabilities in place.
pub fn scaled_softmax_rows(x: &mut [f32], lse: &[f32], scale: &[f32], cols: usize) {
    assert!(x.len() == lse.len() * cols && scale.len() == lse.len(), "softmax: shapes disagree");
    let out = Shared::new(x);
    par::ranges(lse.len(), par::rows_per_task(4 * cols), |first, count| {
        for i in first..first + count {
            // SAFETY: rows are disjoint and in bounds.
            scaled_softmax_on(isa(), unsafe { out.slice(i * cols, cols) }, lse[i], scale[i]);
        }
    });
}
