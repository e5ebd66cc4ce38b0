//! Products of bf16 operands on tiles that sit in cache: [`mod@crate::tile`] with two products in each step.
//!
//! Operands are pairs of bf16 in a `u32`, the first in the low half. `C[m, n] (+)= Σ a₀·b₀ + a₁·b₁`: pairs of A are
//! broadcast (any strides), rows of B are contiguous pairs, C is f32. Every element of C is one sum over the pairs in
//! order, whatever m and n are.

use crate::simd::{Simd, load_n, store_n};

/// Vectors of bf16 and of pairs of them.
///
/// # Safety
/// As for [`Simd`].
#[allow(clippy::missing_safety_doc)] // stated once, for the trait
pub(crate) trait Pairs: Simd {
    /// `LANES` bf16.
    type H: Copy;
    /// `LANES` pairs.
    type P: Copy;
    unsafe fn load_half(p: *const u16) -> Self::H;
    unsafe fn store_half(p: *mut u16, h: Self::H);
    /// Rounds to nearest, ties to even; denormals may become zeros.
    unsafe fn round_half(v: Self::V) -> Self::H;
    /// `(lo[i], hi[i])`.
    unsafe fn zip(lo: Self::H, hi: Self::H) -> Self::P;
    unsafe fn load_pairs(p: *const u32) -> Self::P;
    unsafe fn store_pairs(p: *mut u32, v: Self::P);
    /// One pair, of any alignment, in all lanes.
    unsafe fn splat_pair(p: *const u16) -> Self::P;
    /// `acc + a₀·b₀ + a₁·b₁`.
    unsafe fn dot(acc: Self::V, a: Self::P, b: Self::P) -> Self::V;
}

mod portable {
    use super::Pairs;
    use crate::element::Element;
    use crate::simd::{Portable, Simd};

    impl Pairs for Portable {
        type H = [u16; 8];
        type P = [u32; 8];
        #[inline(always)]
        unsafe fn load_half(p: *const u16) -> [u16; 8] {
            unsafe { p.cast::<[u16; 8]>().read_unaligned() }
        }
        #[inline(always)]
        unsafe fn store_half(p: *mut u16, h: [u16; 8]) {
            unsafe { p.cast::<[u16; 8]>().write_unaligned(h) }
        }
        #[inline(always)]
        unsafe fn round_half(v: [f32; 8]) -> [u16; 8] {
            v.map(u16::from_f32)
        }
        #[inline(always)]
        unsafe fn zip(lo: [u16; 8], hi: [u16; 8]) -> [u32; 8] {
            let mut out = [0; 8];
            for i in 0..8 {
                out[i] = lo[i] as u32 | (hi[i] as u32) << 16;
            }
            out
        }
        #[inline(always)]
        unsafe fn load_pairs(p: *const u32) -> [u32; 8] {
            unsafe { p.cast::<[u32; 8]>().read_unaligned() }
        }
        #[inline(always)]
        unsafe fn store_pairs(p: *mut u32, v: [u32; 8]) {
            unsafe { p.cast::<[u32; 8]>().write_unaligned(v) }
        }
        #[inline(always)]
        unsafe fn splat_pair(p: *const u16) -> [u32; 8] {
            [unsafe { p.cast::<u32>().read_unaligned() }; 8]
        }
        #[inline(always)]
        unsafe fn dot(acc: [f32; 8], a: [u32; 8], b: [u32; 8]) -> [f32; 8] {
            let lo = |x: [u32; 8]| x.map(|x| f32::from_bits(x << 16));
            let hi = |x: [u32; 8]| x.map(|x| f32::from_bits(x & 0xFFFF_0000));
            unsafe { Portable::fma(lo(a), lo(b), Portable::fma(hi(a), hi(b), acc)) }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Pairs;
    use crate::simd::{Avx2, Avx512Of, Simd};
    use std::arch::x86_64::*;

    impl Pairs for Avx2 {
        type H = __m128i;
        type P = __m256i;
        #[inline(always)]
        unsafe fn load_half(p: *const u16) -> __m128i {
            unsafe { _mm_loadu_si128(p.cast()) }
        }
        #[inline(always)]
        unsafe fn store_half(p: *mut u16, h: __m128i) {
            unsafe { _mm_storeu_si128(p.cast(), h) }
        }
        #[inline(always)]
        unsafe fn round_half(v: __m256) -> __m128i {
            let mut half = [0u16; 8];
            unsafe {
                Avx2::store_bf16(half.as_mut_ptr(), v);
                _mm_loadu_si128(half.as_ptr().cast())
            }
        }
        #[inline(always)]
        unsafe fn zip(lo: __m128i, hi: __m128i) -> __m256i {
            unsafe { _mm256_or_si256(_mm256_cvtepu16_epi32(lo), _mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(hi))) }
        }
        #[inline(always)]
        unsafe fn load_pairs(p: *const u32) -> __m256i {
            unsafe { _mm256_loadu_si256(p.cast()) }
        }
        #[inline(always)]
        unsafe fn store_pairs(p: *mut u32, v: __m256i) {
            unsafe { _mm256_storeu_si256(p.cast(), v) }
        }
        #[inline(always)]
        unsafe fn splat_pair(p: *const u16) -> __m256i {
            unsafe { _mm256_set1_epi32(p.cast::<i32>().read_unaligned()) }
        }
        #[inline(always)]
        unsafe fn dot(acc: __m256, a: __m256i, b: __m256i) -> __m256 {
            unsafe {
                let upper = _mm256_castsi256_ps(_mm256_set1_epi32(0xFFFF_0000u32 as i32));
                let (a1, b1) = (_mm256_and_ps(_mm256_castsi256_ps(a), upper), _mm256_and_ps(_mm256_castsi256_ps(b), upper));
                let (a0, b0) = (_mm256_slli_epi32::<16>(a), _mm256_slli_epi32::<16>(b));
                _mm256_fmadd_ps(_mm256_castsi256_ps(a0), _mm256_castsi256_ps(b0), _mm256_fmadd_ps(a1, b1, acc))
            }
        }
    }

    impl<const BF16: bool> Pairs for Avx512Of<BF16> {
        type H = __m256i;
        type P = __m512i;
        #[inline(always)]
        unsafe fn load_half(p: *const u16) -> __m256i {
            unsafe { _mm256_loadu_si256(p.cast()) }
        }
        #[inline(always)]
        unsafe fn store_half(p: *mut u16, h: __m256i) {
            unsafe { _mm256_storeu_si256(p.cast(), h) }
        }
        #[inline(always)]
        unsafe fn round_half(v: __m512) -> __m256i {
            unsafe {
                if BF16 {
                    return std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(v));
                }
                let mut half = [0u16; 16];
                Self::store_bf16(half.as_mut_ptr(), v);
                _mm256_loadu_si256(half.as_ptr().cast())
            }
        }
        #[inline(always)]
        unsafe fn zip(lo: __m256i, hi: __m256i) -> __m512i {
            unsafe {
                let order = _mm512_set_epi16(
                    31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0,
                );
                _mm512_permutexvar_epi16(order, _mm512_inserti64x4::<1>(_mm512_castsi256_si512(lo), hi))
            }
        }
        #[inline(always)]
        unsafe fn load_pairs(p: *const u32) -> __m512i {
            unsafe { _mm512_loadu_si512(p.cast()) }
        }
        #[inline(always)]
        unsafe fn store_pairs(p: *mut u32, v: __m512i) {
            unsafe { _mm512_storeu_si512(p.cast(), v) }
        }
        #[inline(always)]
        unsafe fn splat_pair(p: *const u16) -> __m512i {
            unsafe { _mm512_set1_epi32(p.cast::<i32>().read_unaligned()) }
        }
        #[inline(always)]
        unsafe fn dot(acc: __m512, a: __m512i, b: __m512i) -> __m512 {
            unsafe {
                if BF16 {
                    return _mm512_dpbf16_ps(acc, std::mem::transmute::<__m512i, __m512bh>(a), std::mem::transmute::<__m512i, __m512bh>(b));
                }
                let upper = _mm512_set1_epi32(0xFFFF_0000u32 as i32);
                let (a1, b1) = (_mm512_and_si512(a, upper), _mm512_and_si512(b, upper));
                let (a0, b0) = (_mm512_slli_epi32::<16>(a), _mm512_slli_epi32::<16>(b));
                let acc = _mm512_fmadd_ps(_mm512_castsi512_ps(a1), _mm512_castsi512_ps(b1), acc);
                _mm512_fmadd_ps(_mm512_castsi512_ps(a0), _mm512_castsi512_ps(b0), acc)
            }
        }
    }
}

/// As [`crate::simd::dispatch!`], by [`crate::cpu::Bf16Path`] for bodies generic over [`Pairs`].
macro_rules! dispatch_pairs {
    ($vis:vis fn $name:ident = $body:ident ( $($arg:ident : $ty:ty),* $(,)? )) => {
        #[allow(clippy::too_many_arguments)]
        #[inline]
        $vis fn $name(path: $crate::cpu::Bf16Path, $($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]
            unsafe fn bf16($($arg: $ty),*) {
                // SAFETY: the caller vouches for the instruction set.
                unsafe { $body::<$crate::simd::Avx512Of<true>>($($arg),*) }
            }
            $crate::simd::dispatch!(fn widened = $body($($arg: $ty),*));
            match path {
                // SAFETY: the path comes from `cpu`, which checked the processor.
                #[cfg(target_arch = "x86_64")]
                $crate::cpu::Bf16Path::Avx512Bf16 => unsafe { bf16($($arg),*) },
                path => widened(path.isa(), $($arg),*),
            }
        }
    };
}
pub(crate) use dispatch_pairs;

/// Operand `A`: pair `(i, k)` is at `p + i·row + k·col`, in elements of 16 bits.
#[derive(Clone, Copy)]
pub(crate) struct PairRows {
    pub p: *const u16,
    pub row: usize,
    pub col: usize,
}

#[inline(always)]
unsafe fn block<S: Pairs, const M: usize, const N: usize>(
    c: *mut f32,
    cs: usize,
    a: PairRows,
    b: *const u32,
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
        let (mut a_at, mut b_at) = (a.p, b);
        for _ in 0..k {
            let mut bv = [S::load_pairs(b_at); N];
            for j in 1..N {
                bv[j] = S::load_pairs(b_at.add(j * S::LANES));
            }
            for i in 0..M {
                let av = S::splat_pair(a_at.add(i * a.row));
                for j in 0..N {
                    acc[i][j] = S::dot(acc[i][j], av, bv[j]);
                }
            }
            a_at = a_at.wrapping_add(a.col);
            b_at = b_at.wrapping_add(bs);
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
unsafe fn columns<S: Pairs, const N: usize>(
    m: usize,
    c: *mut f32,
    cs: usize,
    a: PairRows,
    b: *const u32,
    bs: usize,
    k: usize,
    n: usize,
    add: bool,
) {
    unsafe {
        let from = |i: usize| PairRows { p: a.p.add(i * a.row), ..a };
        let mut i = 0;
        while i + 6 <= m {
            block::<S, 6, N>(c.add(i * cs), cs, from(i), b, bs, k, n, add);
            i += 6;
        }
        if i + 4 <= m {
            block::<S, 4, N>(c.add(i * cs), cs, from(i), b, bs, k, n, add);
            i += 4;
        }
        while i + 2 <= m {
            block::<S, 2, N>(c.add(i * cs), cs, from(i), b, bs, k, n, add);
            i += 2;
        }
        if i < m {
            block::<S, 1, N>(c.add(i * cs), cs, from(i), b, bs, k, n, add);
        }
    }
}

/// The product of `m` rows, `n` columns and `k` pairs; `add` keeps what `C` holds.
///
/// # Safety
/// All elements that the shapes and strides name are readable (`C`: writable, not aliased by the operands), rows of B
/// up to a whole number of vectors; the instruction set.
#[inline(always)]
pub(crate) unsafe fn pair_product<S: Pairs>(
    (m, n, k): (usize, usize, usize),
    c: *mut f32,
    cs: usize,
    a: PairRows,
    b: *const u32,
    bs: usize,
    add: bool,
) {
    unsafe {
        let mut j = 0;
        if S::LANES == 16 {
            // 32 registers: 6 x 4 accumulators, 4 of B, one broadcast.
            while j + 4 * S::LANES <= n {
                columns::<S, 4>(m, c.add(j), cs, a, b.add(j), bs, k, 0, add);
                j += 4 * S::LANES;
            }
        }
        while j + 2 * S::LANES <= n {
            columns::<S, 2>(m, c.add(j), cs, a, b.add(j), bs, k, 0, add);
            j += 2 * S::LANES;
        }
        while j < n {
            columns::<S, 1>(m, c.add(j), cs, a, b.add(j), bs, k, n - j, add);
            j += S::LANES;
        }
    }
}
