//! What happens to a tile of sums before it is stored.

use super::run::prefetch;
use super::{Epilogue, PANEL};
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
        for i in i..i + rows {
            if !self.residual.is_null() {
                prefetch(self.residual.wrapping_add(i * self.residual_stride + j).cast(), PANEL, 0, 1);
            }
            if self.add && self.out16.is_null() {
                prefetch(self.out32.wrapping_add(i * self.stride + j).cast(), PANEL, 0, 1);
            } else if self.add {
                prefetch(self.out16.wrapping_add(i * self.stride + j).cast(), PANEL / 2, 0, 1);
            }
        }
    }

    /// With a factor for each column.
    pub(super) fn scaled_by_columns(mut self, scales: &[f32]) -> Self {
        self.column_scales = scales.as_ptr();
        self
    }
}

/// `M` rows by `N` vectors at (`i`, `j`) of the output; `n` columns if `N` is 1.
#[inline(always)]
unsafe fn part<S: Simd, const M: usize, const N: usize>(f: &Finish, acc: *const f32, i: usize, j: usize, n: usize) {
    unsafe {
        let n = if N == 1 { n } else { S::LANES };
        let scale = S::splat(f.scale);
        let mut v = [[S::splat(0.0); N]; M];
        for c in 0..N {
            let column = j + c * S::LANES;
            for r in 0..M {
                v[r][c] = S::mul(S::load(acc.add(r * PANEL + c * S::LANES)), scale);
            }
            if !f.column_scales.is_null() {
                let s = load_n::<S>(f.column_scales.add(column), n);
                for r in 0..M {
                    v[r][c] = S::mul(v[r][c], s);
                }
            }
        }
        for l in 0..f.rank {
            let mut w = [S::splat(0.0); N];
            for c in 0..N {
                w[c] = load_n::<S>(f.w.add(l * f.w_stride + j + c * S::LANES), n);
            }
            for r in 0..M {
                let u = S::splat(*f.u.add((i + r) * f.u_stride + l));
                for c in 0..N {
                    v[r][c] = S::fma(u, w[c], v[r][c]);
                }
            }
        }
        for c in 0..N {
            let column = j + c * S::LANES;
            let bias = if f.bias.is_null() { S::splat(0.0) } else { load_n::<S>(f.bias.add(column), n) };
            for r in 0..M {
                let mut x = v[r][c];
                if !f.residual.is_null() {
                    x = S::add(x, load_n::<S>(f.residual.add((i + r) * f.residual_stride + column), n));
                }
                if !f.bias.is_null() {
                    x = S::add(x, bias);
                }
                if f.out16.is_null() {
                    let to = f.out32.add((i + r) * f.stride + column);
                    if f.add {
                        x = S::add(x, load_n::<S>(to, n));
                    }
                    store_n::<S>(to, x, n);
                } else {
                    let to = f.out16.add((i + r) * f.stride + column);
                    if f.add {
                        x = S::add(x, load_n::<S>(to, n));
                    }
                    store_n::<S>(to, x, n);
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn finish_body<S: Simd>(f: &Finish, acc: *const f32, (i, rows): (usize, usize), (j, cols): (usize, usize)) {
    unsafe {
        let mut c = 0;
        while c + 4 * S::LANES <= cols {
            let mut r = 0;
            while r + 3 <= rows {
                part::<S, 3, 4>(f, acc.add(r * PANEL + c), i + r, j + c, 0);
                r += 3;
            }
            while r < rows {
                part::<S, 1, 4>(f, acc.add(r * PANEL + c), i + r, j + c, 0);
                r += 1;
            }
            c += 4 * S::LANES;
        }
        while c < cols {
            for r in 0..rows {
                part::<S, 1, 1>(f, acc.add(r * PANEL + c), i + r, j + c, (cols - c).min(S::LANES));
            }
            c += S::LANES;
        }
    }
}
dispatch!(
    /// Stores rows `i..i + rows`, columns `j..j + cols` from the tile `acc` `[rows][PANEL]`.
    pub(super) fn finish = finish_body(f: &Finish, acc: *const f32, rows: (usize, usize), cols: (usize, usize)));
