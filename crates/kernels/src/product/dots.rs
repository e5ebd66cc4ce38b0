//! Dot products of bf16 rows: products with a handful of outputs.
//!
//! With as few outputs as a low-rank branch has, a panel would leave lanes idle and every number of the activations
//! would be broadcast for little. Here both sides are rows, and sums lie across the lanes until the end.

use std::arch::x86_64::*;

/// Outputs taken together.
pub(super) const OUTPUTS: usize = 8;
/// Rows taken together.
const ROWS: usize = 3;

/// Rows of bf16 `stride` elements apart.
#[derive(Clone, Copy)]
pub(super) struct Rows16 {
    pub p: *const u16,
    pub stride: usize,
}

#[inline(always)]
unsafe fn block<const R: usize>(x: Rows16, w: Rows16, k: usize, out: *mut f32) {
    unsafe {
        let mut acc = [[_mm512_setzero_ps(); OUTPUTS]; R];
        for l in (0..k).step_by(32) {
            let mask = if k - l >= 32 { u32::MAX } else { (1u32 << (k - l)) - 1 };
            let mut xv = [_mm512_setzero_si512(); R];
            for i in 0..R {
                xv[i] = _mm512_maskz_loadu_epi16(mask, x.p.add(i * x.stride + l).cast());
            }
            for j in 0..OUTPUTS {
                let wv = as_bf16(_mm512_load_si512(w.p.add(j * w.stride + l).cast()));
                for i in 0..R {
                    acc[i][j] = _mm512_dpbf16_ps(acc[i][j], as_bf16(xv[i]), wv);
                }
            }
        }
        for i in 0..R {
            _mm256_storeu_ps(out.add(i * OUTPUTS), sums(&acc[i]));
        }
    }
}

/// The sums of the lanes of eight vectors: halves added until one lane of each is left.
#[inline(always)]
unsafe fn sums(v: &[__m512; OUTPUTS]) -> __m256 {
    unsafe {
        let mut h = [_mm256_setzero_ps(); OUTPUTS];
        for j in 0..OUTPUTS {
            h[j] = _mm256_add_ps(_mm512_castps512_ps256(v[j]), _mm512_extractf32x8_ps::<1>(v[j]));
        }
        let mut q = [_mm256_setzero_ps(); 4];
        for j in 0..4 {
            // Lower and upper halves of `h[j]` and `h[j + 4]`, added crosswise.
            let low = _mm256_permute2f128_ps::<0x20>(h[j], h[j + 4]);
            q[j] = _mm256_add_ps(low, _mm256_permute2f128_ps::<0x31>(h[j], h[j + 4]));
        }
        let a = _mm256_add_ps(_mm256_unpacklo_ps(q[0], q[1]), _mm256_unpackhi_ps(q[0], q[1]));
        let b = _mm256_add_ps(_mm256_unpacklo_ps(q[2], q[3]), _mm256_unpackhi_ps(q[2], q[3]));
        _mm256_add_ps(_mm256_shuffle_ps::<0b01_00_01_00>(a, b), _mm256_shuffle_ps::<0b11_10_11_10>(a, b))
    }
}

#[inline(always)]
fn as_bf16(x: __m512i) -> __m512bh {
    // SAFETY: both are 64 bytes of which any value is valid.
    unsafe { std::mem::transmute(x) }
}

/// `out [rows][OUTPUTS] = x·wᵀ` with `rows` rows of `x` and [`OUTPUTS`] of `w`, each of which begins at a cache line and is
/// zeros from `k` to the end of the line.
///
/// # Safety
/// AVX-512 with BF16; the pointers cover what the sizes say.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2")]
pub(super) unsafe fn dots(rows: usize, x: Rows16, w: Rows16, k: usize, out: *mut f32) {
    unsafe {
        let mut i = 0;
        while i + ROWS <= rows {
            block::<ROWS>(Rows16 { p: x.p.add(i * x.stride), ..x }, w, k, out.add(i * OUTPUTS));
            i += ROWS;
        }
        while i < rows {
            block::<1>(Rows16 { p: x.p.add(i * x.stride), ..x }, w, k, out.add(i * OUTPUTS));
            i += 1;
        }
    }
}
