//! Products with one short side: the low-rank branch of a linear layer, and linear layers on a few rows.
//!
//! General matrix products pack their operands into panels, which does not pay when a side is 8 wide or a handful of
//! rows is multiplied with a large weight that has to come from memory anyway.

use crate::cpu::{Isa, isa};
use crate::mat::{Mat, MatMut, Update};
use crate::par::{self, Shared};
use crate::simd::{Simd, dispatch, load_n};
use crate::tile::{Broadcast, product};

/// `M × N` dot products over `k` elements; each is one chain of vector sums, so that blocking changes no bit.
#[inline(always)]
unsafe fn dot_block<S: Simd, const M: usize, const N: usize>(
    y: *mut f32,
    (y_row, y_col): (usize, usize),
    x: *const f32,
    xs: usize,
    w: *const f32,
    ws: usize,
    k: usize,
    alpha: f32,
    update: Update,
) {
    unsafe {
        let mut acc = [[S::splat(0.0); N]; M];
        let mut kk = 0;
        while kk < k {
            let n = k - kk;
            let mut xv = [S::splat(0.0); M];
            for i in 0..M {
                xv[i] = load_n::<S>(x.add(i * xs + kk), n);
            }
            for j in 0..N {
                let wv = load_n::<S>(w.add(j * ws + kk), n);
                for i in 0..M {
                    acc[i][j] = S::fma(xv[i], wv, acc[i][j]);
                }
            }
            kk += S::LANES;
        }
        for i in 0..M {
            for j in 0..N {
                let at = y.add(i * y_row + j * y_col);
                let v = alpha * S::sum(acc[i][j]);
                *at = if update == Update::Add { *at + v } else { v };
            }
        }
    }
}

/// All dot products of `m` rows of x with `n` rows of w.
#[inline(always)]
unsafe fn dots_body<S: Simd>(
    y: *mut f32,
    y_row: usize,
    x: *const f32,
    xs: usize,
    w: *const f32,
    ws: usize,
    (m, n, k): (usize, usize, usize),
    alpha: f32,
    update: Update,
) {
    unsafe {
        macro_rules! rows {
            ($j:expr, $count:literal) => {{
                let mut i = 0;
                while i + 3 <= m {
                    let (y, x) = (y.add(i * y_row + $j), x.add(i * xs));
                    dot_block::<S, 3, $count>(y, (y_row, 1), x, xs, w.add($j * ws), ws, k, alpha, update);
                    i += 3;
                }
                while i < m {
                    let (y, x) = (y.add(i * y_row + $j), x.add(i * xs));
                    dot_block::<S, 1, $count>(y, (y_row, 1), x, xs, w.add($j * ws), ws, k, alpha, update);
                    i += 1;
                }
            }};
        }
        let mut j = 0;
        if S::LANES == 16 {
            while j + 8 <= n {
                rows!(j, 8);
                j += 8;
            }
        }
        while j + 4 <= n {
            rows!(j, 4);
            j += 4;
        }
        while j < n {
            rows!(j, 1);
            j += 1;
        }
    }
}
dispatch!(fn dots_isa = dots_body(
    y: *mut f32, y_row: usize, x: *const f32, xs: usize, w: *const f32, ws: usize, mnk: (usize, usize, usize),
    alpha: f32, update: Update));

/// `y = alpha · x·wᵀ` (or `+=`) by dot products: few rows of `x` (a token being decoded) or few of `w` (a rank).
pub fn dots(y: MatMut, x: Mat, w: Mat, alpha: f32, update: Update) {
    dots_on(isa(), y, x, w, alpha, update);
}

/// [`dots`] on a given path, for tests.
#[doc(hidden)]
pub fn dots_on(isa: Isa, y: MatMut, x: Mat, w: Mat, alpha: f32, update: Update) {
    let (m, n, k) = (x.rows, w.rows, x.cols);
    assert_eq!((m, n, k), (y.rows, y.cols, w.cols), "dots: shapes disagree");
    if m == 0 || n == 0 {
        return;
    }
    let (ys, xs, ws) = (y.stride, x.stride, w.stride);
    let out = Shared::new(y.data);
    let run = |i: usize, rows: usize, j: usize, cols: usize| {
        // SAFETY: `MatMut` and `Mat` checked the bounds; no other task writes these elements.
        unsafe {
            let y = out.ptr().add(i * ys + j);
            let (x, w) = (x.data.as_ptr().add(i * xs), w.data.as_ptr().add(j * ws));
            dots_isa(isa, y, ys, x, xs, w, ws, (rows, cols, k), alpha, update);
        }
    };
    if m >= n {
        // A multiple of the block height, so that tasks lose nothing at their borders.
        let step = par::rows_per_task(n * k).next_multiple_of(12);
        par::ranges(m, step, |i, rows| run(i, rows, 0, n));
    } else {
        let step = par::rows_per_task(m * k).next_multiple_of(16);
        par::ranges(n, step, |j, cols| run(0, m, j, cols));
    }
}

#[inline(always)]
unsafe fn product_body<S: Simd>(
    mnk: (usize, usize, usize),
    c: *mut f32,
    cs: usize,
    a: Broadcast,
    b: *const f32,
    bs: usize,
    update: Update,
) {
    // SAFETY: the caller vouches for the instruction set and the bounds.
    unsafe { product::<S>(mnk, c, cs, a, b, bs, update == Update::Add) }
}
dispatch!(fn product_isa = product_body(
    mnk: (usize, usize, usize), c: *mut f32, cs: usize, a: Broadcast, b: *const f32, bs: usize, update: Update));

/// `y = u·w` (or `+=`): `u [m, r]`, `w [r, n]`, `y [m, n]` with a short inner dimension.
pub fn expand(y: MatMut, u: Mat, w: Mat, update: Update) {
    expand_on(isa(), y, u, w, update);
}

/// [`expand`] on a given path, for tests.
#[doc(hidden)]
pub fn expand_on(isa: Isa, y: MatMut, u: Mat, w: Mat, update: Update) {
    let (m, n, r) = (u.rows, w.cols, u.cols);
    assert_eq!((m, n, r), (y.rows, y.cols, w.rows), "expand: shapes disagree");
    if n == 0 {
        return;
    }
    let stride = y.stride;
    let out = Shared::new(y.data);
    par::ranges(m, par::rows_per_task(n).next_multiple_of(6), |i, rows| {
        // SAFETY: `MatMut` and `Mat` checked the bounds; no other task writes these rows.
        unsafe {
            let a = Broadcast { p: u.data.as_ptr().add(i * u.stride), row: u.stride, col: 1 };
            let c = out.ptr().add(i * stride);
            product_isa(isa, (rows, n, r), c, stride, a, w.data.as_ptr(), w.stride, update);
        }
    });
}

/// `g = uᵀ·x` (or `+=`): `u [t, r]`, `x [t, n]`, `g [r, n]` with few rows `r`; summed over t in order.
pub fn outer(g: MatMut, u: Mat, x: Mat, update: Update) {
    outer_on(isa(), g, u, x, update);
}

/// [`outer`] on a given path, for tests.
#[doc(hidden)]
pub fn outer_on(isa: Isa, g: MatMut, u: Mat, x: Mat, update: Update) {
    let (r, n, t) = (u.cols, x.cols, u.rows);
    assert_eq!((r, n, t), (g.rows, g.cols, x.rows), "outer: shapes disagree");
    if r == 0 {
        return;
    }
    let stride = g.stride;
    let out = Shared::new(g.data);
    let step = if t * r * n < par::GRAIN { n } else { 64 };
    par::ranges(n, step, |j, cols| {
        // SAFETY: `MatMut` and `Mat` checked the bounds; no other task writes these columns.
        unsafe {
            let a = Broadcast { p: u.data.as_ptr(), row: 1, col: u.stride };
            let (c, b) = (out.ptr().add(j), x.data.as_ptr().add(j));
            product_isa(isa, (r, cols, t), c, stride, a, b, x.stride, update);
        }
    });
}
