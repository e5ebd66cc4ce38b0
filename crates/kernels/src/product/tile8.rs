//! The inner loops of [`super::tile`] for 8-bit numbers.
//!
//! A block's sums are exact, so that every path gives the same; they join the tile's f32 sums multiplied with the row's
//! scale of this block. Activations are stored with 128 added; `sums` holds 128 times the sum of each output's numbers,
//! which takes that away again.

use super::PANEL;
use super::tile::Tile;

/// What every path computes.
///
/// # Safety
/// The pointers of `t` cover what its sizes say.
pub(super) unsafe fn portable(rows: usize, t: &Tile) {
    unsafe {
        for i in 0..rows {
            let mut sums = [0i32; PANEL];
            for g in 0..t.groups {
                let a = t.a.add(i * t.a_row + g * t.a_group).cast::<[u8; 4]>().read().map(|x| x as i32 - 128);
                let b = t.b.add(g * PANEL).cast::<[[i8; 4]; PANEL]>();
                for (sum, b) in sums.iter_mut().zip(&*b) {
                    *sum += a[0] * b[0] as i32 + a[1] * b[1] as i32 + a[2] * b[2] as i32 + a[3] * b[3] as i32;
                }
            }
            let scale = *t.a_scales.add(i * t.a_scale_row);
            for (j, sum) in sums.iter().enumerate() {
                let to = t.acc.add(i * PANEL + j);
                *to = *sum as f32 * scale + if t.first { 0.0 } else { *to };
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) mod x86 {
    use super::super::PANEL;
    use super::super::tile::x86::ask_line;
    use super::super::tile::{AHEAD, LINE, Tile, by_count};
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
    unsafe fn rows<const R: usize, const STREAM: bool>(t: &Tile) {
        unsafe {
            let mut acc = [[_mm512_setzero_si512(); 4]; R];
            let (mut a, mut a_next, mut b) = (t.a, t.a_next, t.b);
            for g in 0..t.groups {
                if g % LINE == 0 && !a_next.is_null() {
                    a_next = ask_line::<R>(a_next, t.a_row);
                }
                let mut bv = [_mm512_setzero_si512(); 4];
                for j in 0..4 {
                    if STREAM {
                        _mm_prefetch::<_MM_HINT_T0>(b.wrapping_add(AHEAD + j * 16).cast());
                    }
                    bv[j] = _mm512_load_si512(b.add(j * 16).cast());
                }
                for r in 0..R {
                    let av = _mm512_set1_epi32(a.add(r * t.a_row).cast::<i32>().read_unaligned());
                    for j in 0..4 {
                        acc[r][j] = _mm512_dpbusd_epi32(acc[r][j], av, bv[j]);
                    }
                }
                a = a.add(t.a_group);
                b = b.add(PANEL);
            }
            for r in 0..R {
                let scale = _mm512_set1_ps(*t.a_scales.add(r * t.a_scale_row));
                for j in 0..4 {
                    let exact = _mm512_sub_epi32(acc[r][j], _mm512_loadu_si512(t.sums.add(j * 16).cast()));
                    let to = t.acc.add(r * PANEL + j * 16);
                    let old = if t.first { _mm512_setzero_ps() } else { _mm512_load_ps(to) };
                    _mm512_store_ps(to, _mm512_fmadd_ps(_mm512_cvtepi32_ps(exact), scale, old));
                }
            }
        }
    }

    /// # Safety
    /// The pointers of `t` cover what its sizes say, `acc` and `b` begin at a cache line; the instruction set.
    pub(in super::super) unsafe fn vnni(count: usize, t: &Tile) {
        unsafe { by_count!(rows, count, t) }
    }

    /// `R` rows by 16 outputs: even and odd numbers of each group widened to 16 bits.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn narrow_rows<const R: usize>(t: &Tile, j: usize) {
        unsafe {
            let mut acc = [[_mm256_setzero_si256(); 2]; R];
            for g in 0..t.groups {
                let mut b = [(_mm256_setzero_si256(), _mm256_setzero_si256()); 2];
                for c in 0..2 {
                    let v = _mm256_loadu_si256(t.b.add(g * PANEL + j + c * 8).cast());
                    b[c] = (_mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(v)), _mm256_srai_epi16::<8>(v));
                }
                for r in 0..R {
                    let four = t.a.add(r * t.a_row + g * t.a_group).cast::<i32>().read_unaligned();
                    let v = _mm256_set1_epi32(four ^ 0x8080_8080u32 as i32);
                    let (even, odd) = (_mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(v)), _mm256_srai_epi16::<8>(v));
                    for c in 0..2 {
                        let sum = _mm256_add_epi32(_mm256_madd_epi16(even, b[c].0), _mm256_madd_epi16(odd, b[c].1));
                        acc[r][c] = _mm256_add_epi32(acc[r][c], sum);
                    }
                }
            }
            for r in 0..R {
                let scale = _mm256_set1_ps(*t.a_scales.add(r * t.a_scale_row));
                for c in 0..2 {
                    let to = t.acc.add(r * PANEL + j + c * 8);
                    let old = if t.first { _mm256_setzero_ps() } else { _mm256_loadu_ps(to) };
                    _mm256_storeu_ps(to, _mm256_fmadd_ps(_mm256_cvtepi32_ps(acc[r][c]), scale, old));
                }
            }
        }
    }

    /// # Safety
    /// The pointers of `t` cover what its sizes say; the instruction set.
    pub(in super::super) unsafe fn avx2(count: usize, t: &Tile) {
        unsafe {
            for j in (0..PANEL).step_by(16) {
                let mut i = 0;
                while i < count {
                    let part =
                        Tile { a: t.a.add(i * t.a_row), acc: t.acc.add(i * PANEL), a_scales: t.a_scales.add(i * t.a_scale_row), ..*t };
                    match count - i {
                        1 => narrow_rows::<1>(&part, j),
                        2 => narrow_rows::<2>(&part, j),
                        _ => narrow_rows::<3>(&part, j),
                    }
                    i += 3;
                }
            }
        }
    }
}
