//! Panels of int8 turned round on the way.

use super::PANEL;
use crate::cpu::Isa;

/// `to [count][PANEL]` dwords of four `w[4(g + q)..][64p + c]` from `data [n / 64][fours][64]` of four `w[j][4q..]`.
/// `count` may be rounded up to a multiple of 4; `g` is one.
///
/// # Safety
/// The panels hold rows `4g..4(g + count)`; `count` rounded up to 4 times `PANEL` writable dwords at `to`, which begins at
/// a cache line as `data` does; the instruction set.
pub(super) unsafe fn turned(isa: Isa, data: *const u32, fours: usize, p: usize, g: usize, count: usize, to: *mut u32) {
    unsafe {
        #[cfg(target_arch = "x86_64")]
        if isa == Isa::Avx512 {
            return x86::turned(data, fours, p, g, count, to);
        }
        let _ = isa;
        let at = |n: usize, k: usize| {
            if k / 4 >= fours {
                return 0;
            }
            (*data.add((n / PANEL * fours + k / 4) * PANEL + n % PANEL)).to_le_bytes()[k % 4]
        };
        for q in 0..count {
            for c in 0..PANEL {
                let k = p * PANEL + c;
                let bytes = std::array::from_fn(|l| at(4 * (g + q) + l, k));
                to.add(q * PANEL + c).write(u32::from_le_bytes(bytes));
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::super::PANEL;
    use super::super::turn::transpose;
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) unsafe fn turned(data: *const u32, fours: usize, p: usize, g: usize, count: usize, to: *mut u32) {
        unsafe {
            for q in (0..count).step_by(4) {
                let n = 4 * (g + q);
                let from = data.add(n / PANEL * fours * PANEL + n % PANEL);
                let k = p * PANEL / 4;
                let mut r = [_mm512_setzero_si512(); 16];
                for l in 0..16 {
                    // Rows in the order in which unpacking leaves the columns sorted.
                    let row = k + l % 4 * 4 + l / 4;
                    if row < fours {
                        r[l] = _mm512_load_si512(from.add(row * PANEL).cast());
                    }
                }
                transpose(&mut r);
                for l in 0..4 {
                    let (a, b, c, d) = (r[4 * l], r[4 * l + 1], r[4 * l + 2], r[4 * l + 3]);
                    let (ab, cd) = (_mm512_unpacklo_epi8(a, b), _mm512_unpacklo_epi8(c, d));
                    let to = to.add((q + l) * PANEL);
                    _mm512_store_si512(to.cast(), _mm512_unpacklo_epi16(ab, cd));
                    _mm512_store_si512(to.add(16).cast(), _mm512_unpackhi_epi16(ab, cd));
                    let (ab, cd) = (_mm512_unpackhi_epi8(a, b), _mm512_unpackhi_epi8(c, d));
                    _mm512_store_si512(to.add(32).cast(), _mm512_unpacklo_epi16(ab, cd));
                    _mm512_store_si512(to.add(48).cast(), _mm512_unpackhi_epi16(ab, cd));
                }
            }
        }
    }
}
