//! The inner loop on AVX-512 with VNNI: `vpdpbusd` multiplies four unsigned bytes of each of 16 outputs with four signed bytes
//! of a row, broadcast.

use super::{Format, PANEL, Tile};
use std::arch::x86_64::*;

const Q4_0: u8 = 0;
const Q4_1: u8 = 1;
const Q8_0: u8 = 2;

/// Up to six rows with one panel.
///
/// # Safety
/// See [`Tile`]; the processor has AVX-512 (F, BW, VL) and VNNI.
pub(super) unsafe fn run(format: Format, rows: usize, t: &Tile) {
    macro_rules! rows {
        ($format:ident) => {
            match rows {
                1 => tile::<$format, 1>(t),
                2 => tile::<$format, 2>(t),
                3 => tile::<$format, 3>(t),
                4 => tile::<$format, 4>(t),
                5 => tile::<$format, 5>(t),
                _ => tile::<$format, 6>(t),
            }
        };
    }
    // SAFETY: the caller vouches for pointers and processor.
    unsafe {
        match format {
            Format::Q4_0 => rows!(Q4_0),
            Format::Q4_1 => rows!(Q4_1),
            Format::Q8_0 => rows!(Q8_0),
        }
    }
}

/// How far ahead of its use a single row asks for its weights.
const AHEAD: usize = 4096;

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn tile<const F: u8, const R: usize>(t: &Tile) {
    unsafe {
        let low = _mm512_set1_epi8(15);
        let mut y = [[_mm512_setzero_ps(); 2]; R];
        let mut p = t.panel;
        let row = 32 * t.groups;
        for g in 0..t.groups {
            let head = p;
            let halves = |at: usize| {
                let from = |z: usize| _mm512_cvtph_ps(_mm256_load_si256(head.add(2 * at + 32 * z).cast()));
                [from(0), from(1)]
            };
            p = p.add(if F == Q4_1 { 4 * PANEL } else { 2 * PANEL });
            let x = t.x.add(32 * g);
            let meta = t.meta.add(g);
            let mut acc = [[_mm512_setzero_si512(); 2]; R];
            if F != Q4_1 {
                for r in 0..R {
                    let shift = if F == Q4_0 { 3 } else { 7 };
                    acc[r] = [_mm512_set1_epi32((*meta.add(r * t.groups)).minus_sum << shift); 2];
                }
            }
            if F == Q8_0 {
                for step in 0..8 {
                    let w = [_mm512_load_si512(p.cast()), _mm512_load_si512(p.add(64).cast())];
                    if R == 1 {
                        ahead(p);
                    }
                    p = p.add(128);
                    for r in 0..R {
                        let xv = _mm512_set1_epi32(x.add(r * row + 4 * step).cast::<i32>().read_unaligned());
                        acc[r][0] = _mm512_dpbusd_epi32(acc[r][0], w[0], xv);
                        acc[r][1] = _mm512_dpbusd_epi32(acc[r][1], w[1], xv);
                    }
                }
            } else {
                for step in 0..4 {
                    let w = [_mm512_load_si512(p.cast()), _mm512_load_si512(p.add(64).cast())];
                    if R == 1 {
                        ahead(p);
                    }
                    p = p.add(128);
                    let first = [_mm512_and_si512(w[0], low), _mm512_and_si512(w[1], low)];
                    for r in 0..R {
                        let xv = _mm512_set1_epi32(x.add(r * row + 4 * step).cast::<i32>().read_unaligned());
                        acc[r][0] = _mm512_dpbusd_epi32(acc[r][0], first[0], xv);
                        acc[r][1] = _mm512_dpbusd_epi32(acc[r][1], first[1], xv);
                    }
                    let second = [_mm512_and_si512(_mm512_srli_epi16::<4>(w[0]), low), _mm512_and_si512(_mm512_srli_epi16::<4>(w[1]), low)];
                    for r in 0..R {
                        let xv = _mm512_set1_epi32(x.add(r * row + 16 + 4 * step).cast::<i32>().read_unaligned());
                        acc[r][0] = _mm512_dpbusd_epi32(acc[r][0], second[0], xv);
                        acc[r][1] = _mm512_dpbusd_epi32(acc[r][1], second[1], xv);
                    }
                }
            }
            let d = halves(0);
            for r in 0..R {
                let scale = _mm512_set1_ps((*meta.add(r * t.groups)).scale);
                for z in 0..2 {
                    y[r][z] = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(acc[r][z]), scale), d[z], y[r][z]);
                }
            }
            if F == Q4_1 {
                let m = halves(PANEL);
                for r in 0..R {
                    let sum = _mm512_set1_ps((*meta.add(r * t.groups)).sum);
                    for z in 0..2 {
                        y[r][z] = _mm512_fmadd_ps(sum, m[z], y[r][z]);
                    }
                }
            }
        }
        for r in 0..R {
            for z in 0..2 {
                let cols = t.cols.saturating_sub(16 * z).min(16);
                let mask = ((1u32 << cols) - 1) as __mmask16;
                let to = t.out.add(r * t.out_stride + 16 * z);
                let mut v = y[r][z];
                if t.add {
                    v = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, to), v);
                }
                _mm512_mask_storeu_ps(to, mask, v);
            }
        }
    }
}

/// Fetches two lines that a later step needs. The address may lie beyond the weight: a prefetch never faults.
#[inline(always)]
unsafe fn ahead(p: *const u8) {
    unsafe {
        _mm_prefetch::<_MM_HINT_T0>(p.wrapping_add(AHEAD).cast());
        _mm_prefetch::<_MM_HINT_T0>(p.wrapping_add(AHEAD + 64).cast());
    }
}
