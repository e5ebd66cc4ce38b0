//! One way to write a vectorised loop for every instruction set.
//!
//! A kernel body is generic over [`Simd`] and `#[inline(always)]`; [`dispatch!`] instantiates it inside functions
//! that enable the instruction set, so that everything inlines into straight vector code. Memory is reached through
//! slices: whole vectors by index with a bounds check in debug builds, ends of rows through partial loads.

use crate::element::Element;
use crate::element::sealed::Lanes;

/// A vector of f32 lanes with the operations that the kernels need.
///
/// # Safety
/// Methods may only be called where the processor has the instruction set (inside [`dispatch!`]ed functions).
/// Loads and stores need as many readable/writable elements at the pointer as they touch.
#[allow(clippy::missing_safety_doc)] // stated once, for the trait
pub trait Simd: Copy {
    /// The vector.
    type V: Copy;
    /// Number of lanes.
    const LANES: usize;
    unsafe fn splat(x: f32) -> Self::V;
    unsafe fn load(p: *const f32) -> Self::V;
    unsafe fn store(p: *mut f32, v: Self::V);
    /// The first `n < LANES` elements; the other lanes are zero.
    unsafe fn load_partial(p: *const f32, n: usize) -> Self::V;
    /// Only the first `n < LANES` elements.
    unsafe fn store_partial(p: *mut f32, v: Self::V, n: usize);
    /// Widens bf16 numbers (their bits).
    unsafe fn load_bf16(p: *const u16) -> Self::V;
    /// Narrows as [`crate::element::Element::from_f32`] does.
    unsafe fn store_bf16(p: *mut u16, v: Self::V);
    /// Narrows two vectors, one after the other.
    #[inline(always)]
    unsafe fn store_bf16_two(p: *mut u16, a: Self::V, b: Self::V) {
        unsafe {
            Self::store_bf16(p, a);
            Self::store_bf16(p.add(Self::LANES), b);
        }
    }
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    /// `a·b + c`, rounded once.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The second operand if either is NaN.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// The second operand if either is NaN.
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sqrt(a: Self::V) -> Self::V;
    /// Nearest integer, ties to even.
    unsafe fn round(a: Self::V) -> Self::V;
    /// `2^n` for integral `n` in `-126..=127`.
    unsafe fn exp2i(n: Self::V) -> Self::V;
    /// The sign of `b` on the magnitude of `a`.
    unsafe fn copysign(a: Self::V, b: Self::V) -> Self::V;
    /// `if a < b { x } else { y }` in each lane.
    unsafe fn select_lt(a: Self::V, b: Self::V, x: Self::V, y: Self::V) -> Self::V;
    /// `p·2ⁿ` where `z = n + 1.5·2²³` carries the integer n in its low bits; no check of the range.
    unsafe fn scale_by_bits(p: Self::V, z: Self::V) -> Self::V;
    /// True if `a < b` in some lane.
    unsafe fn any_lt(a: Self::V, b: Self::V) -> bool;
    /// Transposes the `LANES × LANES` matrix of these rows.
    #[inline(always)]
    unsafe fn transpose(m: &mut [Self::V]) {
        let mut from = [0.0f32; 256];
        let mut to = [0.0f32; 256];
        unsafe {
            for i in 0..Self::LANES {
                Self::store(from.as_mut_ptr().add(i * Self::LANES), m[i]);
            }
            for i in 0..Self::LANES {
                for j in 0..Self::LANES {
                    to[i * Self::LANES + j] = from[j * Self::LANES + i];
                }
                m[i] = Self::load(to.as_ptr().add(i * Self::LANES));
            }
        }
    }
    /// Sum of the lanes in a fixed order (halves added until one lane is left).
    unsafe fn sum(a: Self::V) -> f32;
    /// Largest lane.
    unsafe fn max_lane(a: Self::V) -> f32;
}

/// Lanes of plain Rust; the compiler uses what the target guarantees.
#[derive(Clone, Copy)]
pub struct Portable;

macro_rules! lanewise {
    ($a:expr, $b:expr, $f:expr) => {{
        let (a, b) = ($a, $b);
        let mut out = [0.0f32; 8];
        for i in 0..8 {
            out[i] = $f(a[i], b[i]);
        }
        out
    }};
}

impl Simd for Portable {
    type V = [f32; 8];
    const LANES: usize = 8;
    #[inline(always)]
    unsafe fn splat(x: f32) -> [f32; 8] {
        [x; 8]
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> [f32; 8] {
        unsafe { p.cast::<[f32; 8]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: [f32; 8]) {
        unsafe { p.cast::<[f32; 8]>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn load_partial(p: *const f32, n: usize) -> [f32; 8] {
        let mut v = [0.0; 8];
        unsafe { std::ptr::copy_nonoverlapping(p, v.as_mut_ptr(), n) };
        v
    }
    #[inline(always)]
    unsafe fn store_partial(p: *mut f32, v: [f32; 8], n: usize) {
        unsafe { std::ptr::copy_nonoverlapping(v.as_ptr(), p, n) }
    }
    #[inline(always)]
    unsafe fn load_bf16(p: *const u16) -> [f32; 8] {
        let bits = unsafe { p.cast::<[u16; 8]>().read_unaligned() };
        bits.map(|b| b.to_f32())
    }
    #[inline(always)]
    unsafe fn store_bf16(p: *mut u16, v: [f32; 8]) {
        unsafe { p.cast::<[u16; 8]>().write_unaligned(v.map(u16::from_f32)) }
    }
    #[inline(always)]
    unsafe fn add(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        lanewise!(a, b, |x: f32, y: f32| x + y)
    }
    #[inline(always)]
    unsafe fn sub(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        lanewise!(a, b, |x: f32, y: f32| x - y)
    }
    #[inline(always)]
    unsafe fn mul(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        lanewise!(a, b, |x: f32, y: f32| x * y)
    }
    #[inline(always)]
    unsafe fn div(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        lanewise!(a, b, |x: f32, y: f32| x / y)
    }
    /// Rounded twice: a fused multiply-add without hardware support would be a library call.
    #[inline(always)]
    unsafe fn fma(a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        let mut out = [0.0f32; 8];
        for i in 0..8 {
            out[i] = a[i] * b[i] + c[i];
        }
        out
    }
    #[inline(always)]
    unsafe fn max(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        lanewise!(a, b, |x: f32, y: f32| if x > y { x } else { y })
    }
    #[inline(always)]
    unsafe fn min(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        lanewise!(a, b, |x: f32, y: f32| if x < y { x } else { y })
    }
    #[inline(always)]
    unsafe fn sqrt(a: [f32; 8]) -> [f32; 8] {
        a.map(f32::sqrt)
    }
    #[inline(always)]
    unsafe fn round(a: [f32; 8]) -> [f32; 8] {
        // Adding and subtracting 1.5·2²³ rounds to nearest even wherever |a| < 2²², which the callers guarantee.
        const MAGIC: f32 = 12_582_912.0;
        a.map(|x| (x + MAGIC) - MAGIC)
    }
    #[inline(always)]
    unsafe fn exp2i(n: [f32; 8]) -> [f32; 8] {
        n.map(|x| f32::from_bits(((x as i32 + 127) << 23) as u32))
    }
    #[inline(always)]
    unsafe fn copysign(a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        lanewise!(a, b, f32::copysign)
    }
    #[inline(always)]
    unsafe fn select_lt(a: [f32; 8], b: [f32; 8], x: [f32; 8], y: [f32; 8]) -> [f32; 8] {
        let mut out = [0.0f32; 8];
        for i in 0..8 {
            out[i] = if a[i] < b[i] { x[i] } else { y[i] };
        }
        out
    }
    #[inline(always)]
    unsafe fn scale_by_bits(p: [f32; 8], z: [f32; 8]) -> [f32; 8] {
        lanewise!(p, z, |p: f32, z: f32| f32::from_bits(p.to_bits().wrapping_add(z.to_bits() << 23)))
    }
    #[inline(always)]
    unsafe fn any_lt(a: [f32; 8], b: [f32; 8]) -> bool {
        (0..8).any(|i| a[i] < b[i])
    }
    #[inline(always)]
    unsafe fn sum(a: [f32; 8]) -> f32 {
        ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]))
    }
    #[inline(always)]
    unsafe fn max_lane(a: [f32; 8]) -> f32 {
        a.into_iter().fold(f32::NEG_INFINITY, |m, x| if x > m { x } else { m })
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512, Avx512Of};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Simd;
    use std::arch::x86_64::*;

    /// AVX2 and FMA.
    #[derive(Clone, Copy)]
    pub struct Avx2;

    /// A window of this table is a mask of `n` leading lanes.
    static LEADING: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

    #[inline(always)]
    unsafe fn leading(n: usize) -> __m256i {
        unsafe { _mm256_loadu_si256(LEADING.as_ptr().add(8 - n).cast()) }
    }

    impl Simd for Avx2 {
        type V = __m256;
        const LANES: usize = 8;
        #[inline(always)]
        unsafe fn splat(x: f32) -> __m256 {
            unsafe { _mm256_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> __m256 {
            unsafe { _mm256_loadu_ps(p) }
        }
        #[inline(always)]
        unsafe fn store(p: *mut f32, v: __m256) {
            unsafe { _mm256_storeu_ps(p, v) }
        }
        #[inline(always)]
        unsafe fn load_partial(p: *const f32, n: usize) -> __m256 {
            unsafe { _mm256_maskload_ps(p, leading(n)) }
        }
        #[inline(always)]
        unsafe fn store_partial(p: *mut f32, v: __m256, n: usize) {
            unsafe { _mm256_maskstore_ps(p, leading(n), v) }
        }
        #[inline(always)]
        unsafe fn load_bf16(p: *const u16) -> __m256 {
            unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast())))) }
        }
        #[inline(always)]
        unsafe fn store_bf16(p: *mut u16, v: __m256) {
            unsafe {
                let bits = _mm256_castps_si256(v);
                let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
                let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF)));
                let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x40_0000));
                let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(v, v));
                let upper = _mm256_srli_epi32::<16>(_mm256_blendv_epi8(rounded, quiet, nan));
                let packed = _mm_packus_epi32(_mm256_castsi256_si128(upper), _mm256_extracti128_si256::<1>(upper));
                _mm_storeu_si128(p.cast(), packed);
            }
        }
        #[inline(always)]
        unsafe fn add(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_add_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn sub(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_sub_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn mul(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_mul_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn div(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_div_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
            unsafe { _mm256_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn max(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_max_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn min(a: __m256, b: __m256) -> __m256 {
            unsafe { _mm256_min_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn sqrt(a: __m256) -> __m256 {
            unsafe { _mm256_sqrt_ps(a) }
        }
        #[inline(always)]
        unsafe fn round(a: __m256) -> __m256 {
            unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
        }
        #[inline(always)]
        unsafe fn exp2i(n: __m256) -> __m256 {
            unsafe {
                let biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased))
            }
        }
        #[inline(always)]
        unsafe fn copysign(a: __m256, b: __m256) -> __m256 {
            unsafe {
                let sign = _mm256_set1_ps(-0.0);
                _mm256_or_ps(_mm256_andnot_ps(sign, a), _mm256_and_ps(sign, b))
            }
        }
        #[inline(always)]
        unsafe fn select_lt(a: __m256, b: __m256, x: __m256, y: __m256) -> __m256 {
            unsafe { _mm256_blendv_ps(y, x, _mm256_cmp_ps::<_CMP_LT_OQ>(a, b)) }
        }
        #[inline(always)]
        unsafe fn scale_by_bits(p: __m256, z: __m256) -> __m256 {
            unsafe { _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), _mm256_slli_epi32::<23>(_mm256_castps_si256(z)))) }
        }
        #[inline(always)]
        unsafe fn any_lt(a: __m256, b: __m256) -> bool {
            unsafe { _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(a, b)) != 0 }
        }
        #[inline(always)]
        unsafe fn sum(a: __m256) -> f32 {
            unsafe {
                let q = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
                let d = _mm_add_ps(q, _mm_movehl_ps(q, q));
                _mm_cvtss_f32(_mm_add_ss(d, _mm_movehdup_ps(d)))
            }
        }
        #[inline(always)]
        unsafe fn max_lane(a: __m256) -> f32 {
            unsafe {
                let q = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
                let d = _mm_max_ps(q, _mm_movehl_ps(q, q));
                _mm_cvtss_f32(_mm_max_ss(d, _mm_movehdup_ps(d)))
            }
        }
    }

    /// AVX-512 F, BW, DQ, VL, and with `BF16` its products of bf16 pairs.
    #[derive(Clone, Copy)]
    pub struct Avx512Of<const BF16: bool>;
    /// AVX-512 F, BW, DQ, VL.
    pub type Avx512 = Avx512Of<false>;

    impl<const BF16: bool> Simd for Avx512Of<BF16> {
        type V = __m512;
        const LANES: usize = 16;
        #[inline(always)]
        unsafe fn splat(x: f32) -> __m512 {
            unsafe { _mm512_set1_ps(x) }
        }
        #[inline(always)]
        unsafe fn load(p: *const f32) -> __m512 {
            unsafe { _mm512_loadu_ps(p) }
        }
        #[inline(always)]
        unsafe fn store(p: *mut f32, v: __m512) {
            unsafe { _mm512_storeu_ps(p, v) }
        }
        #[inline(always)]
        unsafe fn load_partial(p: *const f32, n: usize) -> __m512 {
            unsafe { _mm512_maskz_loadu_ps((1u32 << n).wrapping_sub(1) as __mmask16, p) }
        }
        #[inline(always)]
        unsafe fn store_partial(p: *mut f32, v: __m512, n: usize) {
            unsafe { _mm512_mask_storeu_ps(p, (1u32 << n).wrapping_sub(1) as __mmask16, v) }
        }
        #[inline(always)]
        unsafe fn load_bf16(p: *const u16) -> __m512 {
            unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(p.cast())))) }
        }
        #[inline(always)]
        unsafe fn store_bf16(p: *mut u16, v: __m512) {
            unsafe {
                let bits = _mm512_castps_si512(v);
                let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
                let rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
                let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v);
                let chosen = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x40_0000));
                _mm256_storeu_si256(p.cast(), _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(chosen)));
            }
        }
        #[inline(always)]
        unsafe fn store_bf16_two(p: *mut u16, a: __m512, b: __m512) {
            unsafe {
                if _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(a, b) != 0 {
                    Self::store_bf16(p, a);
                    return Self::store_bf16(p.add(16), b);
                }
                let rounded = |v| {
                    let bits = _mm512_castps_si512(v);
                    let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
                    _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)))
                };
                // The upper words of both.
                let mut upper = [0u16; 32];
                for l in 0..32 {
                    upper[l] = 2 * l as u16 + 1;
                }
                let upper = _mm512_loadu_si512(upper.as_ptr().cast());
                _mm512_storeu_si512(p.cast(), _mm512_permutex2var_epi16(rounded(a), upper, rounded(b)));
            }
        }
        #[inline(always)]
        unsafe fn add(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_add_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn sub(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_sub_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn mul(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_mul_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn div(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_div_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        unsafe fn max(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_max_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn min(a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_min_ps(a, b) }
        }
        #[inline(always)]
        unsafe fn sqrt(a: __m512) -> __m512 {
            unsafe { _mm512_sqrt_ps(a) }
        }
        #[inline(always)]
        unsafe fn round(a: __m512) -> __m512 {
            unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
        }
        #[inline(always)]
        unsafe fn exp2i(n: __m512) -> __m512 {
            unsafe {
                let biased = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
                _mm512_castsi512_ps(_mm512_slli_epi32::<23>(biased))
            }
        }
        #[inline(always)]
        unsafe fn copysign(a: __m512, b: __m512) -> __m512 {
            unsafe {
                let sign = _mm512_set1_ps(-0.0);
                _mm512_or_ps(_mm512_andnot_ps(sign, a), _mm512_and_ps(sign, b))
            }
        }
        #[inline(always)]
        unsafe fn select_lt(a: __m512, b: __m512, x: __m512, y: __m512) -> __m512 {
            unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), y, x) }
        }
        #[inline(always)]
        unsafe fn scale_by_bits(p: __m512, z: __m512) -> __m512 {
            unsafe { _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), _mm512_slli_epi32::<23>(_mm512_castps_si512(z)))) }
        }
        #[inline(always)]
        unsafe fn any_lt(a: __m512, b: __m512) -> bool {
            unsafe { _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b) != 0 }
        }
        #[inline(always)]
        unsafe fn transpose(m: &mut [__m512]) {
            unsafe {
                let m = &mut m[..16];
                let mut r = [_mm512_setzero_ps(); 16];
                for i in 0..4 {
                    // Columns 4L + 0 … 4L + 3 of rows 4i … 4i + 3 in the quarters L of four vectors.
                    let (a, b) = (_mm512_unpacklo_ps(m[4 * i], m[4 * i + 1]), _mm512_unpackhi_ps(m[4 * i], m[4 * i + 1]));
                    let (c, d) = (_mm512_unpacklo_ps(m[4 * i + 2], m[4 * i + 3]), _mm512_unpackhi_ps(m[4 * i + 2], m[4 * i + 3]));
                    r[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(c)));
                    r[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(c)));
                    r[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(b), _mm512_castps_pd(d)));
                    r[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(b), _mm512_castps_pd(d)));
                }
                for c in 0..4 {
                    let (a, b) = (_mm512_shuffle_f32x4::<0x88>(r[c], r[4 + c]), _mm512_shuffle_f32x4::<0x88>(r[8 + c], r[12 + c]));
                    let (d, e) = (_mm512_shuffle_f32x4::<0xDD>(r[c], r[4 + c]), _mm512_shuffle_f32x4::<0xDD>(r[8 + c], r[12 + c]));
                    m[c] = _mm512_shuffle_f32x4::<0x88>(a, b);
                    m[4 + c] = _mm512_shuffle_f32x4::<0x88>(d, e);
                    m[8 + c] = _mm512_shuffle_f32x4::<0xDD>(a, b);
                    m[12 + c] = _mm512_shuffle_f32x4::<0xDD>(d, e);
                }
            }
        }
        #[inline(always)]
        unsafe fn sum(a: __m512) -> f32 {
            unsafe {
                let o = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a));
                let q = _mm_add_ps(_mm256_castps256_ps128(o), _mm256_extractf128_ps::<1>(o));
                let d = _mm_add_ps(q, _mm_movehl_ps(q, q));
                _mm_cvtss_f32(_mm_add_ss(d, _mm_movehdup_ps(d)))
            }
        }
        #[inline(always)]
        unsafe fn max_lane(a: __m512) -> f32 {
            unsafe {
                let o = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a));
                let q = _mm_max_ps(_mm256_castps256_ps128(o), _mm256_extractf128_ps::<1>(o));
                let d = _mm_max_ps(q, _mm_movehl_ps(q, q));
                _mm_cvtss_f32(_mm_max_ss(d, _mm_movehdup_ps(d)))
            }
        }
    }
}

/// Defines `fn $name($isa, $args…)` that runs the generic body `$body::<S>($args…)` compiled for `isa`; type parameters
/// after the name are [`crate::element::Element`]s, and the body's after its `S`.
///
/// ```ignore
/// #[inline(always)]
/// unsafe fn body<S: Simd>(x: &mut [f32], factor: f32) { … }
/// dispatch!(fn scale_isa = body(x: &mut [f32], factor: f32));
/// ```
macro_rules! dispatch {
    ($(#[$meta:meta])* $vis:vis fn $name:ident $(<$($g:ident),+>)? = $body:ident ( $($arg:ident : $ty:ty),* $(,)? ) $(-> $ret:ty)?) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        #[inline]
        $vis fn $name $(<$($g: $crate::element::Element),+>)? (isa: $crate::cpu::Isa, $($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            unsafe fn avx512 $(<$($g: $crate::element::Element),+>)? ($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: the caller vouches for the instruction set.
                unsafe { $body::<$crate::simd::Avx512 $(, $($g),+)?>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2 $(<$($g: $crate::element::Element),+>)? ($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: the caller vouches for the instruction set.
                unsafe { $body::<$crate::simd::Avx2 $(, $($g),+)?>($($arg),*) }
            }
            match isa {
                // SAFETY: `Isa` values other than `Portable` come from `cpu`, which checked the processor.
                #[cfg(target_arch = "x86_64")]
                $crate::cpu::Isa::Avx512 => unsafe { avx512($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::cpu::Isa::Avx2 => unsafe { avx2($($arg),*) },
                // SAFETY: needs no instruction set.
                _ => unsafe { $body::<$crate::simd::Portable $(, $($g),+)?>($($arg),*) },
            }
        }
    };
}
pub(crate) use dispatch;

/// Loads `n ≤ LANES` elements, zeros beyond.
///
/// # Safety
/// `n` readable elements at `p`; the instruction set.
#[inline(always)]
pub(crate) unsafe fn load_n<S: Simd>(p: *const impl Lanes, n: usize) -> S::V {
    unsafe { if n >= S::LANES { Lanes::load::<S>(p) } else { Lanes::load_partial::<S>(p, n) } }
}

/// Stores the first `n ≤ LANES` elements.
///
/// # Safety
/// `n` writable elements at `p`; the instruction set.
#[inline(always)]
pub(crate) unsafe fn store_n<S: Simd>(p: *mut impl Lanes, v: S::V, n: usize) {
    unsafe { if n >= S::LANES { Lanes::store::<S>(p, v) } else { Lanes::store_partial::<S>(p, v, n) } }
}

/// `eˣ` to about one unit in the last place; 0 below -87.3, finite up to 88.
///
/// Cephes' `expf`: `x = n·ln 2 + r` with ln 2 in two parts, a polynomial of degree 6 in r.
///
/// # Safety
/// The instruction set.
#[inline(always)]
pub(crate) unsafe fn exp<S: Simd>(x: S::V) -> S::V {
    unsafe {
        let lowest = S::splat(-87.336_54);
        // A NaN in the second operand of min and max stays: it must reach the loss, not vanish here.
        let clamped = S::min(S::splat(88.0), S::max(lowest, x));
        let n = S::round(S::mul(clamped, S::splat(std::f32::consts::LOG2_E)));
        let r = S::fma(n, S::splat(-0.693_359_4), clamped);
        let r = S::fma(n, S::splat(2.121_944_4e-4), r);
        let mut p = S::splat(1.987_569_1e-4);
        p = S::fma(p, r, S::splat(1.398_199_9e-3));
        p = S::fma(p, r, S::splat(8.333_452e-3));
        p = S::fma(p, r, S::splat(4.166_579_6e-2));
        p = S::fma(p, r, S::splat(1.666_666_6e-1));
        p = S::fma(p, r, S::splat(5.000_000_3e-1));
        p = S::fma(p, S::mul(r, r), S::add(r, S::splat(1.0)));
        S::select_lt(x, lowest, S::splat(0.0), S::mul(p, S::exp2i(n)))
    }
}

/// `2ᵗ` to 3·10⁻⁶ of its value, exactly 1 at zero; 0 at and below -126, for `t ≤ 127`. For numbers that are rounded to bf16.
///
/// A minimax polynomial of degree 4 on [-½, ½] with the constant fixed.
///
/// # Safety
/// The instruction set.
#[inline(always)]
pub(crate) unsafe fn exp2_coarse<S: Simd>(t: S::V) -> S::V {
    unsafe {
        let magic = S::splat(12_582_912.0);
        let z = S::add(t, magic);
        let f = S::sub(t, S::sub(z, magic));
        let mut p = S::splat(9.582_853e-3);
        p = S::fma(p, f, S::splat(5.590_642_5e-2));
        p = S::fma(p, f, S::splat(2.402_41e-1));
        p = S::fma(p, f, S::splat(6.931_242e-1));
        p = S::fma(p, f, S::splat(1.0));
        S::select_lt(S::splat(-126.0), t, S::scale_by_bits(p, z), S::splat(0.0))
    }
}

/// `1 / (1 + e⁻ˣ)`.
///
/// # Safety
/// The instruction set.
#[inline(always)]
pub(crate) unsafe fn sigmoid<S: Simd>(x: S::V) -> S::V {
    unsafe {
        let e = exp::<S>(S::sub(S::splat(0.0), x));
        S::div(S::splat(1.0), S::add(S::splat(1.0), e))
    }
}

/// `tanh x`, through `e^(2|x|)`, a polynomial near zero where that would cancel.
///
/// # Safety
/// The instruction set.
#[inline(always)]
pub(crate) unsafe fn tanh<S: Simd>(x: S::V) -> S::V {
    unsafe {
        let one = S::splat(1.0);
        let a = S::copysign(x, one);
        let e = exp::<S>(S::min(S::splat(40.0), S::add(a, a)));
        let big = S::sub(one, S::div(S::splat(2.0), S::add(e, one)));
        // Cephes' tanhf for |x| < 0.625.
        let z = S::mul(x, x);
        let mut p = S::splat(-5.704_988_7e-3);
        p = S::fma(p, z, S::splat(2.063_909e-2));
        p = S::fma(p, z, S::splat(-5.373_971_5e-2));
        p = S::fma(p, z, S::splat(1.333_144_2e-1));
        p = S::fma(p, z, S::splat(-3.333_328e-1));
        let small = S::fma(S::mul(p, z), x, x);
        S::select_lt(a, S::splat(0.625), small, S::copysign(big, x))
    }
}

/// `erf x` to about two units in the last place: an odd rational function on [-4, 4], beyond which it is ±1 in f32
/// (the coefficients of Eigen's and XLA's f32 approximation).
///
/// # Safety
/// The instruction set.
#[inline(always)]
#[allow(clippy::excessive_precision)] // as published
pub(crate) unsafe fn erf<S: Simd>(x: S::V) -> S::V {
    unsafe {
        let x = S::min(S::splat(4.0), S::max(S::splat(-4.0), x));
        let z = S::mul(x, x);
        let mut p = S::splat(-2.72614225801306e-10);
        p = S::fma(p, z, S::splat(2.77068142495902e-08));
        p = S::fma(p, z, S::splat(-2.10102402082508e-06));
        p = S::fma(p, z, S::splat(-5.69250639462346e-05));
        p = S::fma(p, z, S::splat(-7.34990630326855e-04));
        p = S::fma(p, z, S::splat(-2.95459980854025e-03));
        p = S::fma(p, z, S::splat(-1.60960333262415e-02));
        let mut q = S::splat(-1.45660718464996e-05);
        q = S::fma(q, z, S::splat(-2.13374055278905e-04));
        q = S::fma(q, z, S::splat(-1.68282697438203e-03));
        q = S::fma(q, z, S::splat(-7.37332916720468e-03));
        q = S::fma(q, z, S::splat(-1.42647390514189e-02));
        S::div(S::mul(x, p), q)
    }
}
