//! The inner loop on AVX2: pairs of products in 16 bits (`vpmaddubsw`), pairs of those in 32 (`vpmaddwd`).

use super::{Format, PANEL, Tile};
use std::arch::x86_64::*;

const Q4_0: u8 = 0;
const Q4_1: u8 = 1;
const Q8_0: u8 = 2;
/// Vectors in a panel.
const V: usize = PANEL / 8;

/// Up to six rows with one panel.
///
/// # Safety
/// See [`Tile`]; the processor has AVX2, FMA and F16C.
pub(super) unsafe fn run(format: Format, rows: usize, t: &Tile) {
    for r in 0..rows {
        // SAFETY: the caller vouches for pointers and processor.
        unsafe {
            match format {
                Format::Q4_0 => row::<Q4_0>(t, r),
                Format::Q4_1 => row::<Q4_1>(t, r),
                Format::Q8_0 => row::<Q8_0>(t, r),
            }
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn row<const F: u8>(t: &Tile, r: usize) {
    unsafe {
        let (low, ones, high) = (_mm256_set1_epi8(15), _mm256_set1_epi16(1), _mm256_set1_epi8(-128));
        let mut y = [_mm256_setzero_ps(); V];
        let mut p = t.panel;
        for g in 0..t.groups {
            let head = p;
            let half = |at: usize| _mm256_cvtph_ps(_mm_loadu_si128(head.add(2 * at).cast()));
            p = p.add(if F == Q4_1 { 4 * PANEL } else { 2 * PANEL });
            let x = t.x.add(32 * (r * t.groups + g));
            let meta = *t.meta.add(r * t.groups + g);
            let four = |step: usize| _mm256_set1_epi32(x.add(4 * step).cast::<i32>().read_unaligned());
            let start = match F {
                Q4_0 => meta.minus_sum << 3,
                _ => 0,
            };
            let mut acc = [_mm256_set1_epi32(start); V];
            for step in 0..if F == Q8_0 { 8 } else { 4 } {
                let (first, second) = (four(step), four(step + 4 * (F != Q8_0) as usize));
                for (v, acc) in acc.iter_mut().enumerate() {
                    let w = _mm256_loadu_si256(p.add(32 * v).cast());
                    // Pairs of products fit 16 bits: 2·15·127, and 2·128·127 with the sign moved to the activation.
                    let pairs = if F == Q8_0 {
                        let w = _mm256_xor_si256(w, high);
                        let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(first, w));
                        _mm256_madd_epi16(pairs, ones)
                    } else {
                        let a = _mm256_maddubs_epi16(_mm256_and_si256(w, low), first);
                        let b = _mm256_maddubs_epi16(_mm256_and_si256(_mm256_srli_epi16::<4>(w), low), second);
                        _mm256_madd_epi16(_mm256_add_epi16(a, b), ones)
                    };
                    *acc = _mm256_add_epi32(*acc, pairs);
                }
                p = p.add(4 * PANEL);
            }
            let (scale, sum) = (_mm256_set1_ps(meta.scale), _mm256_set1_ps(meta.sum));
            for v in 0..V {
                y[v] = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(acc[v]), scale), half(8 * v), y[v]);
                if F == Q4_1 {
                    y[v] = _mm256_fmadd_ps(sum, half(PANEL + 8 * v), y[v]);
                }
            }
        }
        let mut out = [0.0f32; PANEL];
        for v in 0..V {
            _mm256_storeu_ps(out.as_mut_ptr().add(8 * v), y[v]);
        }
        for (j, y) in out.iter().enumerate().take(t.cols) {
            let to = t.out.add(r * t.out_stride + j);
            *to = if t.add { *to + y } else { *y };
        }
    }
}
