//! What the products need of a vector beyond [`Simd`]: bf16 in memory.

use crate::simd::{Portable, Simd};

/// # Safety
/// As [`Simd`]'s methods.
#[allow(clippy::missing_safety_doc)] // stated once, for the trait
pub(super) trait Lanes: Simd {
    /// `LANES` dwords of two bf16: the first ones and the second ones, widened.
    unsafe fn load_pairs(p: *const u32) -> (Self::V, Self::V);
    /// `n ≤ LANES` bf16, widened; zeros beyond.
    unsafe fn load16(p: *const u16, n: usize) -> Self::V;
    /// The first `n ≤ LANES` lanes, rounded to bf16 (nearest, ties to even).
    unsafe fn store16(p: *mut u16, v: Self::V, n: usize);
}

/// The bits of a number rounded to bf16: nearest, ties to even; a NaN stays one.
#[inline(always)]
pub(super) fn round_bits(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

impl Lanes for Portable {
    #[inline(always)]
    unsafe fn load_pairs(p: *const u32) -> ([f32; 8], [f32; 8]) {
        let v = unsafe { p.cast::<[u32; 8]>().read_unaligned() };
        (v.map(|x| f32::from_bits(x << 16)), v.map(|x| f32::from_bits(x & 0xffff_0000)))
    }
    #[inline(always)]
    unsafe fn load16(p: *const u16, n: usize) -> [f32; 8] {
        let mut v = [0.0; 8];
        for i in 0..n.min(8) {
            v[i] = f32::from_bits((unsafe { *p.add(i) } as u32) << 16);
        }
        v
    }
    #[inline(always)]
    unsafe fn store16(p: *mut u16, v: [f32; 8], n: usize) {
        for i in 0..n.min(8) {
            unsafe { *p.add(i) = round_bits(v[i]) }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Lanes;
    use crate::simd::{Avx2, Avx512};
    use std::arch::x86_64::*;

    impl Lanes for Avx2 {
        #[inline(always)]
        unsafe fn load_pairs(p: *const u32) -> (__m256, __m256) {
            unsafe {
                let v = _mm256_loadu_si256(p.cast());
                let high = _mm256_and_si256(v, _mm256_set1_epi32(0xffff_0000u32 as i32));
                (_mm256_castsi256_ps(_mm256_slli_epi32::<16>(v)), _mm256_castsi256_ps(high))
            }
        }
        #[inline(always)]
        unsafe fn load16(p: *const u16, n: usize) -> __m256 {
            unsafe {
                let v = if n >= 8 {
                    _mm_loadu_si128(p.cast())
                } else {
                    let mut part = [0u16; 8];
                    std::ptr::copy_nonoverlapping(p, part.as_mut_ptr(), n);
                    _mm_loadu_si128(part.as_ptr().cast())
                };
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(v)))
            }
        }
        #[inline(always)]
        unsafe fn store16(p: *mut u16, v: __m256, n: usize) {
            unsafe {
                let bits = _mm256_castps_si256(v);
                let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
                let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
                let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x40_0000));
                let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(v, v));
                let high = _mm256_srli_epi32::<16>(_mm256_blendv_epi8(rounded, quiet, nan));
                let packed = _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256::<1>(high));
                if n >= 8 {
                    _mm_storeu_si128(p.cast(), packed);
                } else {
                    let mut part = [0u16; 8];
                    _mm_storeu_si128(part.as_mut_ptr().cast(), packed);
                    std::ptr::copy_nonoverlapping(part.as_ptr(), p, n);
                }
            }
        }
    }

    impl Lanes for Avx512 {
        #[inline(always)]
        unsafe fn load_pairs(p: *const u32) -> (__m512, __m512) {
            unsafe {
                let v = _mm512_loadu_si512(p.cast());
                let high = _mm512_and_si512(v, _mm512_set1_epi32(0xffff_0000u32 as i32));
                (_mm512_castsi512_ps(_mm512_slli_epi32::<16>(v)), _mm512_castsi512_ps(high))
            }
        }
        #[inline(always)]
        unsafe fn load16(p: *const u16, n: usize) -> __m512 {
            unsafe {
                let v = if n >= 16 {
                    _mm256_loadu_si256(p.cast())
                } else {
                    _mm256_maskz_loadu_epi16((1u32 << n).wrapping_sub(1) as __mmask16, p.cast())
                };
                _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(v)))
            }
        }
        #[inline(always)]
        unsafe fn store16(p: *mut u16, v: __m512, n: usize) {
            unsafe {
                let bits = _mm512_castps_si512(v);
                let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
                let rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
                let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v);
                let all = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x40_0000));
                let packed = _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(all));
                if n >= 16 {
                    _mm256_storeu_si256(p.cast(), packed);
                } else {
                    _mm256_mask_storeu_epi16(p.cast(), (1u32 << n).wrapping_sub(1) as __mmask16, packed);
                }
            }
        }
    }
}
