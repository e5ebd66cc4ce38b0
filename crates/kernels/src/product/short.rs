//! `dyᵀ·x` with a short `dy`: every number of `x` is read once, where it lies, for eight rows of the result.

use super::PANEL;
use super::turn::{turns, words};
use crate::mat::Acts;
use std::arch::x86_64::*;

/// Rows of the result taken together.
pub(super) const ROWS: usize = 8;
/// Columns taken together.
pub(super) const COLS: usize = 32;

/// Rows ahead that are asked for: some hundred nanoseconds.
const AHEAD: usize = 24;

/// `acc [ROWS][PANEL] = leftᵀ·x[.., j..j + COLS]`: `left` holds pairs, `[groups][width]` dwords, of which the first [`ROWS`]
/// are taken.
///
/// # Safety
/// AVX-512 with BF16; the pointers cover what the sizes say.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
pub(super) unsafe fn tile(left: *const u32, width: usize, groups: usize, x: &Acts, j: usize, acc: *mut f32) {
    unsafe {
        let (low, high) = turns();
        let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
        for g in 0..groups {
            match x {
                Acts::F32(m) => {
                    let p = m.data.as_ptr().wrapping_add((2 * g + AHEAD) * m.stride + j);
                    for p in [p, p.wrapping_add(16), p.wrapping_add(m.stride), p.wrapping_add(m.stride + 16)] {
                        _mm_prefetch::<_MM_HINT_T0>(p.cast());
                    }
                }
                Acts::Bf16(m) => {
                    let p = m.data.as_ptr().wrapping_add((2 * g + AHEAD) * m.stride + j);
                    _mm_prefetch::<_MM_HINT_T0>(p.cast());
                    _mm_prefetch::<_MM_HINT_T0>(p.wrapping_add(m.stride).cast());
                }
            }
            let (a, b) = (words::<true>(x, 2 * g, j), words::<true>(x, 2 * g + 1, j));
            let pairs = [as_bf16(_mm512_permutex2var_epi16(a, low, b)), as_bf16(_mm512_permutex2var_epi16(a, high, b))];
            for i in 0..ROWS {
                let v = as_bf16(_mm512_set1_epi32(*left.add(g * width + i) as i32));
                for c in 0..2 {
                    sums[i][c] = _mm512_dpbf16_ps(sums[i][c], v, pairs[c]);
                }
            }
        }
        for i in 0..ROWS {
            for c in 0..2 {
                _mm512_storeu_ps(acc.add(i * PANEL + c * 16), sums[i][c]);
            }
        }
    }
}

#[inline(always)]
fn as_bf16(x: __m512i) -> __m512bh {
    // SAFETY: both are 64 bytes of which any value is valid.
    unsafe { std::mem::transmute(x) }
}
