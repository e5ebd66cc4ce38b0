//! A small matrix product on tiles that sit in cache: the inner loop of attention and of the low-rank branches.
//!
//! `C[m, n] (+)= A[m, k] · B[k, n]`: elements of A are broadcast (any strides), rows of B and C are contiguous. Every
//! element of C is one sum over k in order, whatever m and n are, so that tiling never changes a bit.

use crate::simd::{Simd, load_n, store_n};

/// Operand `A`: element `(i, k)` is at `p + i·row + k·col`.
#[derive(Clone, Copy)]
pub(crate) struct Broadcast {
    pub p: *const f32,
    pub row: usize,
    pub col: usize,
}

#[inline(always)]
unsafe fn block<S: Simd, const M: usize, const N: usize>(
    c: *mut f32,
    cs: usize,
    a: Broadcast,
    b: *const f32,
    bs: usize,
    k: usize,
    n: usize,
    add: bool,
) {
    unsafe {
        let mut acc = [[S::splat(0.0); N]; M];
        if add {
            for i in 0..M {
                for j in 0..N {
                    let at = c.add(i * cs + j * S::LANES);
                    acc[i][j] = if N == 1 { load_n::<S>(at, n) } else { S::load(at) };
                }
            }
        }
        for kk in 0..k {
            let row = b.add(kk * bs);
            let mut bv = [S::splat(0.0); N];
            for j in 0..N {
                bv[j] = if N == 1 { load_n::<S>(row, n) } else { S::load(row.add(j * S::LANES)) };
            }
            for i in 0..M {
                let av = S::splat(*a.p.add(i * a.row + kk * a.col));
                for j in 0..N {
                    acc[i][j] = S::fma(av, bv[j], acc[i][j]);
                }
            }
        }
        for i in 0..M {
            for j in 0..N {
                let at = c.add(i * cs + j * S::LANES);
                if N == 1 { store_n::<S>(at, acc[i][j], n) } else { S::store(at, acc[i][j]) }
            }
        }
    }
}

#[inline(always)]
unsafe fn columns<S: Simd, const M: usize, const N: usize>(
    m: usize,
    c: *mut f32,
    cs: usize,
    a: Broadcast,
    b: *const f32,
    bs: usize,
    k: usize,
    n: usize,
    add: bool,
) {
    unsafe {
        let mut i = 0;
        while i + M <= m {
            let ai = Broadcast { p: a.p.add(i * a.row), ..a };
            block::<S, M, N>(c.add(i * cs), cs, ai, b, bs, k, n, add);
            i += M;
        }
        while i + 2 <= m {
            let ai = Broadcast { p: a.p.add(i * a.row), ..a };
            block::<S, 2, N>(c.add(i * cs), cs, ai, b, bs, k, n, add);
            i += 2;
        }
        if i < m {
            let ai = Broadcast { p: a.p.add(i * a.row), ..a };
            block::<S, 1, N>(c.add(i * cs), cs, ai, b, bs, k, n, add);
        }
    }
}

/// The product; `add` keeps what `C` holds.
///
/// # Safety
/// All elements that the shapes and strides name are readable (`C`: writable, not aliased by the operands); the
/// instruction set.
#[inline(always)]
pub(crate) unsafe fn product<S: Simd>(
    (m, n, k): (usize, usize, usize),
    c: *mut f32,
    cs: usize,
    a: Broadcast,
    b: *const f32,
    bs: usize,
    add: bool,
) {
    unsafe {
        let mut j = 0;
        if S::LANES == 16 {
            // 32 registers: 6 x 4 accumulators, 4 of B, one broadcast.
            while j + 4 * S::LANES <= n {
                columns::<S, 6, 4>(m, c.add(j), cs, a, b.add(j), bs, k, 0, add);
                j += 4 * S::LANES;
            }
        }
        while j + 2 * S::LANES <= n {
            columns::<S, 6, 2>(m, c.add(j), cs, a, b.add(j), bs, k, 0, add);
            j += 2 * S::LANES;
        }
        while j < n {
            columns::<S, 6, 1>(m, c.add(j), cs, a, b.add(j), bs, k, n - j, add);
            j += S::LANES;
        }
    }
}
