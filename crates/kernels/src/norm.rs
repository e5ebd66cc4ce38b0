//! RMSNorm and LayerNorm, forward and backward, one row at a time in registers and L1.
//!
//! RMSNorm is LayerNorm without the mean: both run the same code, with the mean fixed at zero.

use crate::cpu::{Isa, isa};
use crate::element::Element;
use crate::mat::Update;
use crate::par::{self, Shared};
use crate::simd::{Simd, dispatch, load_n, store_n};

/// Rows are normalised by the root of their mean square ([`Kind::Rms`]) or by mean and variance ([`Kind::Layer`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `x / √(mean(x²) + eps)`.
    Rms,
    /// `(x − mean) / √(var + eps)`.
    Layer,
}

/// `Σ f(x)` over a row, four running vectors, combined in a fixed order.
#[inline(always)]
unsafe fn row_sum<S: Simd>(len: usize, f: impl Fn(usize, usize) -> S::V) -> f32 {
    unsafe {
        let mut acc = [S::splat(0.0); 4];
        let mut i = 0;
        while i + 4 * S::LANES <= len {
            for (u, a) in acc.iter_mut().enumerate() {
                *a = S::add(*a, f(i + u * S::LANES, S::LANES));
            }
            i += 4 * S::LANES;
        }
        while i < len {
            acc[0] = S::add(acc[0], f(i, len - i));
            i += S::LANES;
        }
        S::sum(S::add(S::add(acc[0], acc[2]), S::add(acc[1], acc[3])))
    }
}

/// `(mean, 1/std)` of a row.
#[inline(always)]
unsafe fn stats<S: Simd>(x: &[impl Element], kind: Kind, eps: f32) -> (f32, f32) {
    unsafe {
        let p = x.as_ptr();
        let n = x.len() as f32;
        let mean = match kind {
            Kind::Rms => 0.0,
            Kind::Layer => row_sum::<S>(x.len(), |i, m| load_n::<S>(p.add(i), m)) / n,
        };
        let center = S::splat(mean);
        let squares = row_sum::<S>(x.len(), |i, m| {
            let d = S::sub(load_n::<S>(p.add(i), m), center);
            let d2 = S::mul(d, d);
            // Lanes beyond the row hold -mean after the subtraction; they must not count.
            if m < S::LANES { mask_tail::<S>(d2, m) } else { d2 }
        });
        (mean, 1.0 / (squares / n + eps).sqrt())
    }
}

#[inline(always)]
unsafe fn mask_tail<S: Simd>(v: S::V, n: usize) -> S::V {
    unsafe {
        let mut lanes = [0.0f32; 16];
        S::store(lanes.as_mut_ptr(), v);
        S::load_partial(lanes.as_ptr(), n)
    }
}

#[inline(always)]
unsafe fn forward_body<S: Simd, Y: Element, X: Element>(y: &mut [Y], x: &[X], w: &[f32], b: Option<&[f32]>, kind: Kind, eps: f32) {
    unsafe {
        let len = w.len();
        for (y, x) in y.chunks_exact_mut(len).zip(x.chunks_exact(len)) {
            let (mean, rstd) = stats::<S>(x, kind, eps);
            let (mean, rstd) = (S::splat(mean), S::splat(rstd));
            for i in (0..len).step_by(S::LANES) {
                let n = len - i;
                let hat = S::mul(S::sub(load_n::<S>(x.as_ptr().add(i), n), mean), rstd);
                let mut v = S::mul(hat, load_n::<S>(w.as_ptr().add(i), n));
                if let Some(b) = b {
                    v = S::add(v, load_n::<S>(b.as_ptr().add(i), n));
                }
                store_n::<S>(y.as_mut_ptr().add(i), v, n);
            }
        }
    }
}
dispatch!(
    /// [`forward`] of some rows on a given path.
    pub(crate) fn forward_isa<Y, X> =
        forward_body(y: &mut [Y], x: &[X], w: &[f32], b: Option<&[f32]>, kind: Kind, eps: f32)
);

#[inline(always)]
unsafe fn backward_body<S: Simd, D: Element, X: Element>(
    dx: &mut [f32],
    dy: &[D],
    x: &[X],
    w: &[f32],
    kind: Kind,
    eps: f32,
    update: Update,
) {
    unsafe {
        let len = w.len();
        let inv = 1.0 / len as f32;
        for ((dx, dy), x) in dx.chunks_exact_mut(len).zip(dy.chunks_exact(len)).zip(x.chunks_exact(len)) {
            let (mean, rstd) = stats::<S>(x, kind, eps);
            let (vmean, vrstd) = (S::splat(mean), S::splat(rstd));
            let (px, pdy, pw) = (x.as_ptr(), dy.as_ptr(), w.as_ptr());
            let g = |i: usize, n: usize| S::mul(load_n::<S>(pdy.add(i), n), load_n::<S>(pw.add(i), n));
            let hat = |i: usize, n: usize| S::mul(S::sub(load_n::<S>(px.add(i), n), vmean), vrstd);
            // g is zero beyond the row, so products with it are too.
            let projection = row_sum::<S>(len, |i, n| S::mul(g(i, n), hat(i, n))) * inv;
            let average = match kind {
                Kind::Rms => 0.0,
                Kind::Layer => row_sum::<S>(len, g) * inv,
            };
            let (projection, average) = (S::splat(projection), S::splat(average));
            for i in (0..len).step_by(S::LANES) {
                let n = len - i;
                let inner = S::sub(S::sub(g(i, n), average), S::mul(hat(i, n), projection));
                let mut v = S::mul(inner, vrstd);
                let p = dx.as_mut_ptr().add(i);
                if update == Update::Add {
                    v = S::add(v, load_n::<S>(p, n));
                }
                store_n::<S>(p, v, n);
            }
        }
    }
}
dispatch!(
    /// [`backward`] of some rows on a given path.
    pub(crate) fn backward_isa<D, X> = backward_body(
        dx: &mut [f32], dy: &[D], x: &[X], w: &[f32], kind: Kind, eps: f32, update: Update)
);

#[inline(always)]
unsafe fn stats_body<S: Simd, X: Element>(out: &mut [f32], x: &[X], cols: usize, kind: Kind, eps: f32) {
    for (out, x) in out.chunks_exact_mut(2).zip(x.chunks_exact(cols)) {
        // SAFETY: the caller vouches for the instruction set.
        (out[0], out[1]) = unsafe { stats::<S>(x, kind, eps) };
    }
}
dispatch!(fn stats_isa<X> = stats_body(out: &mut [f32], x: &[X], cols: usize, kind: Kind, eps: f32));

#[inline(always)]
unsafe fn weight_body<S: Simd, D: Element, X: Element>(dw: &mut [f32], dy: &[D], x: &[X], mean: f32, rstd: f32) {
    unsafe {
        let (mean, rstd) = (S::splat(mean), S::splat(rstd));
        for i in (0..dw.len()).step_by(S::LANES) {
            let n = dw.len() - i;
            let hat = S::mul(S::sub(load_n::<S>(x.as_ptr().add(i), n), mean), rstd);
            let p = dw.as_mut_ptr().add(i);
            store_n::<S>(p, S::fma(load_n::<S>(dy.as_ptr().add(i), n), hat, load_n::<S>(p, n)), n);
        }
    }
}
dispatch!(fn weight_isa<D, X> = weight_body(dw: &mut [f32], dy: &[D], x: &[X], mean: f32, rstd: f32));

/// `y = norm(x)·w + b` for each row of `w.len()` elements.
pub fn forward<Y: Element, X: Element>(y: &mut [Y], x: &[X], w: &[f32], b: Option<&[f32]>, kind: Kind, eps: f32) {
    let cols = w.len();
    assert!(y.len() == x.len() && cols > 0 && x.len().is_multiple_of(cols), "norm: shapes disagree");
    assert!(b.is_none_or(|b| b.len() == cols), "norm: the bias has another length than the weight");
    let out = Shared::new(y);
    par::ranges(x.len() / cols, par::rows_per_task(cols), |first, count| {
        // SAFETY: row ranges are disjoint and in bounds.
        let y = unsafe { out.slice(first * cols, count * cols) };
        forward_isa(isa(), y, &x[first * cols..][..count * cols], w, b, kind, eps);
    });
}

/// The gradient to `x`, set or added to `dx`.
pub fn backward<D: Element, X: Element>(dx: &mut [f32], dy: &[D], x: &[X], w: &[f32], kind: Kind, eps: f32, update: Update) {
    let cols = w.len();
    assert!(dx.len() == x.len() && dy.len() == x.len() && cols > 0 && x.len().is_multiple_of(cols), "norm: shapes disagree");
    let out = Shared::new(dx);
    par::ranges(x.len() / cols, par::rows_per_task(cols), |first, count| {
        let range = first * cols..(first + count) * cols;
        // SAFETY: row ranges are disjoint and in bounds.
        let dx = unsafe { out.slice(range.start, range.len()) };
        backward_isa(isa(), dx, &dy[range.clone()], &x[range], w, kind, eps, update);
    });
}

/// `dw += Σ dy·x̂`, rows in order. `scratch` holds two numbers for each row.
pub fn backward_weight<D: Element, X: Element>(dw: &mut [f32], dy: &[D], x: &[X], kind: Kind, eps: f32, scratch: &mut [f32]) {
    let cols = dw.len();
    assert!(dy.len() == x.len() && cols > 0 && x.len().is_multiple_of(cols), "norm: shapes disagree");
    let rows = x.len() / cols;
    assert!(scratch.len() >= 2 * rows, "norm: scratch too short");
    let out = Shared::new(scratch);
    par::ranges(rows, par::rows_per_task(cols), |first, count| {
        // SAFETY: row ranges are disjoint and in bounds.
        let stats = unsafe { out.slice(2 * first, 2 * count) };
        stats_isa(isa(), stats, &x[first * cols..][..count * cols], cols, kind, eps);
    });
    let stats = &*scratch;
    let out = Shared::new(dw);
    par::ranges(cols, 64, |first, count| {
        // SAFETY: column ranges are disjoint and in bounds.
        let dw = unsafe { out.slice(first, count) };
        for i in 0..rows {
            let at = i * cols + first;
            weight_isa(isa(), dw, &dy[at..][..count], &x[at..][..count], stats[2 * i], stats[2 * i + 1]);
        }
    });
}

/// Runs the row kernels on a given path, for tests.
#[doc(hidden)]
pub fn paths<Y: Element>(isa: Isa, y: &mut [Y], dx: &mut [f32], dy: &[Y], x: &[f32], w: &[f32], kind: Kind, eps: f32) {
    forward_isa(isa, y, x, w, None, kind, eps);
    backward_isa(isa, dx, dy, x, w, kind, eps, Update::Set);
}
