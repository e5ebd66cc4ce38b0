//! What happens to a tile of sums before it is stored: a few short passes over it while it lies in L1, each without a branch inside.

use super::run::prefetch;
use super::{Epilogue, PANEL};
use crate::element::sealed::Lanes;
use crate::mat::{Out, Update};
use crate::simd::{Simd, dispatch, load_n, store_n};

/// An [`Epilogue`] with its output, as pointers that tasks share.
pub(super) struct Finish {
    out32: *mut f32,
    out16: *mut u16,
    stride: usize,
    add: bool,
    residual: *const f32,
    residual_stride: usize,
    bias: *const f32,
    u: *const f32,
    u_stride: usize,
    rank: usize,
    w: *const f32,
    w_stride: usize,
    /// The sums are multiplied with this first,
    scale: f32,
    /// and with each column's own factor, if any.
    column_scales: *const f32,
}

// SAFETY: tasks write disjoint tiles of the output, everything else is read only.
unsafe impl Sync for Finish {}

impl Finish {
    /// The shapes have been checked.
    pub(super) fn new(out: Out, e: &Epilogue, scale: f32) -> Self {
        let none = std::ptr::null_mut::<u16>();
        let (out32, out16, stride) = match out {
            Out::F32(m) => (m.data.as_mut_ptr(), none, m.stride),
            Out::Bf16(m) => (std::ptr::null_mut(), m.data.as_mut_ptr(), m.stride),
        };
        let mut f = Finish {
            out32,
            out16,
            stride,
            add: e.update == Update::Add,
            residual: std::ptr::null(),
            residual_stride: 0,
            bias: e.bias.map_or(std::ptr::null(), |b| b.as_ptr()),
            u: std::ptr::null(),
            u_stride: 0,
            rank: 0,
            w: std::ptr::null(),
            w_stride: 0,
            scale,
            column_scales: std::ptr::null(),
        };
        if let Some(r) = e.residual {
            (f.residual, f.residual_stride) = (r.data.as_ptr(), r.stride);
        }
        if let Some((u, w)) = e.low_rank {
            (f.u, f.u_stride, f.rank) = (u.data.as_ptr(), u.stride, u.cols);
            (f.w, f.w_stride) = (w.data.as_ptr(), w.stride);
        }
        f
    }

    /// Asks for what will be added to a tile of the output.
    pub(super) fn ahead(&self, (i, rows): (usize, usize), j: usize) {
        if !self.residual.is_null() {
            for i in i..i + rows {
                prefetch(self.residual.wrapping_add(i * self.residual_stride + j).cast(), PANEL);
            }
        }
        if self.add && self.out16.is_null() {
            for i in i..i + rows {
                prefetch(self.out32.wrapping_add(i * self.stride + j).cast(), PANEL);
            }
        } else if self.add {
            for i in i..i + rows {
                prefetch(self.out16.wrapping_add(i * self.stride + j).cast(), PANEL / 2);
            }
        }
    }

    /// With a factor for each column.
    pub(super) fn scaled_by_columns(mut self, scales: &[f32]) -> Self {
        self.column_scales = scales.as_ptr();
        self
    }
}

/// `M` rows by `N` vectors of the tile, in place: factors and the low-rank branch.
#[inline(always)]
unsafe fn scale_and_branch<S: Simd, const M: usize, const N: usize>(f: &Finish, acc: *mut f32, i: usize, j: usize) {
    unsafe {
        let scale = S::splat(f.scale);
        let mut v = [[S::splat(0.0); N]; M];
        for c in 0..N {
            for r in 0..M {
                v[r][c] = S::mul(S::load(acc.add(r * PANEL + c * S::LANES)), scale);
            }
        }
        if !f.column_scales.is_null() {
            for c in 0..N {
                let s = S::load(f.column_scales.add(j + c * S::LANES));
                for r in 0..M {
                    v[r][c] = S::mul(v[r][c], s);
                }
            }
        }
        for l in 0..f.rank {
            let mut w = [S::splat(0.0); N];
            for c in 0..N {
                w[c] = S::load(f.w.add(l * f.w_stride + j + c * S::LANES));
            }
            for r in 0..M {
                let u = S::splat(*f.u.add((i + r) * f.u_stride + l));
                for c in 0..N {
                    v[r][c] = S::fma(u, w[c], v[r][c]);
                }
            }
        }
        for c in 0..N {
            for r in 0..M {
                S::store(acc.add(r * PANEL + c * S::LANES), v[r][c]);
            }
        }
    }
}

/// Every row of a tile as wide as a panel, in place.
#[inline(always)]
unsafe fn scale_and_branch_rows<S: Simd>(f: &Finish, acc: *mut f32, i: usize, rows: usize, j: usize) {
    unsafe {
        for c in (0..PANEL).step_by(4 * S::LANES) {
            let mut r = 0;
            if S::LANES == 16 && rows == 6 {
                scale_and_branch::<S, 6, 4>(f, acc.add(c), i, j + c);
                r = 6;
            }
            while r + 2 <= rows {
                scale_and_branch::<S, 2, 4>(f, acc.add(r * PANEL + c), i + r, j + c);
                r += 2;
            }
            if r < rows {
                scale_and_branch::<S, 1, 4>(f, acc.add(r * PANEL + c), i + r, j + c);
            }
        }
    }
}

/// Adds the row `from` to the tile's row `acc`.
#[inline(always)]
unsafe fn add_row<S: Simd>(acc: *mut f32, from: *const f32) {
    unsafe {
        for c in (0..PANEL).step_by(S::LANES) {
            S::store(acc.add(c), S::add(S::load(acc.add(c)), S::load(from.add(c))));
        }
    }
}

/// Stores a row of the tile, or adds it to what is there.
#[inline(always)]
unsafe fn store_row<S: Simd, const ADD: bool, T: Lanes>(to: *mut T, acc: *const f32) {
    unsafe {
        for c in (0..PANEL).step_by(2 * S::LANES) {
            let (mut a, mut b) = (S::load(acc.add(c)), S::load(acc.add(c + S::LANES)));
            if ADD {
                a = S::add(a, T::load::<S>(to.add(c)));
                b = S::add(b, T::load::<S>(to.add(c + S::LANES)));
            }
            T::store_two::<S>(to.add(c), a, b);
        }
    }
}

/// The whole of it for one vector, of which `n` columns exist.
#[inline(always)]
unsafe fn border<S: Simd>(f: &Finish, acc: *const f32, i: usize, j: usize, n: usize) {
    unsafe {
        let mut x = S::mul(S::load(acc), S::splat(f.scale));
        if !f.column_scales.is_null() {
            x = S::mul(x, load_n::<S>(f.column_scales.add(j), n));
        }
        for l in 0..f.rank {
            x = S::fma(S::splat(*f.u.add(i * f.u_stride + l)), load_n::<S>(f.w.add(l * f.w_stride + j), n), x);
        }
        if !f.residual.is_null() {
            x = S::add(x, load_n::<S>(f.residual.add(i * f.residual_stride + j), n));
        }
        if !f.bias.is_null() {
            x = S::add(x, load_n::<S>(f.bias.add(j), n));
        }
        if f.out16.is_null() {
            let to = f.out32.add(i * f.stride + j);
            if f.add {
                x = S::add(x, load_n::<S>(to, n));
            }
            store_n::<S>(to, x, n);
        } else {
            let to = f.out16.add(i * f.stride + j);
            if f.add {
                x = S::add(x, load_n::<S>(to, n));
            }
            store_n::<S>(to, x, n);
        }
    }
}

#[inline(always)]
unsafe fn finish_body<S: Simd>(f: &Finish, acc: *mut f32, (i, rows): (usize, usize), (j, cols): (usize, usize)) {
    unsafe {
        if cols < PANEL {
            for r in 0..rows {
                for c in (0..cols).step_by(S::LANES) {
                    border::<S>(f, acc.add(r * PANEL + c), i + r, j + c, (cols - c).min(S::LANES));
                }
            }
            return;
        }
        if f.rank > 0 || f.scale != 1.0 || !f.column_scales.is_null() {
            scale_and_branch_rows::<S>(f, acc, i, rows, j);
        }
        if !f.residual.is_null() {
            for r in 0..rows {
                add_row::<S>(acc.add(r * PANEL), f.residual.add((i + r) * f.residual_stride + j));
            }
        }
        if !f.bias.is_null() {
            for r in 0..rows {
                add_row::<S>(acc.add(r * PANEL), f.bias.add(j));
            }
        }
        for r in 0..rows {
            let (at, acc) = ((i + r) * f.stride + j, acc.add(r * PANEL));
            match (f.out16.is_null(), f.add) {
                (true, false) => store_row::<S, false, _>(f.out32.add(at), acc),
                (true, true) => store_row::<S, true, _>(f.out32.add(at), acc),
                (false, false) => store_row::<S, false, _>(f.out16.add(at), acc),
                (false, true) => store_row::<S, true, _>(f.out16.add(at), acc),
            }
        }
    }
}
dispatch!(
    /// Stores rows `i..i + rows`, columns `j..j + cols` from the tile `acc` `[rows][PANEL]`, whose contents are lost.
    pub(super) fn finish = finish_body(f: &Finish, acc: *mut f32, rows: (usize, usize), cols: (usize, usize)));
