//! Blocks of panels made on the way: transposed, interleaved, rounded.
//!
//! Each function has a body in plain Rust, which says what it does, and one for AVX-512 with the same result (but for
//! subnormal numbers, which AVX-512 BF16's conversion takes for zeros, as its products do).

use super::PANEL;
use crate::cpu::{Bf16Path, Isa};
use crate::element::Element;
use crate::mat::Acts;

/// The bf16 bits of element (`i`, `j`), zero beyond the borders.
#[inline(always)]
fn bits_at(x: Acts, i: usize, j: usize) -> u32 {
    if i >= x.rows() || j >= x.cols() {
        return 0;
    }
    match x {
        Acts::F32(m) => u16::from_f32(m.data[i * m.stride + j]) as u32,
        Acts::Bf16(m) => m.data[i * m.stride + j] as u32,
    }
}

/// Rows `2g..` of `x` in pairs: `to [count][width]` dwords `(x[2(g + q)][j + c], x[2(g + q) + 1][j + c])`, zeros beyond
/// the borders. `width` is a multiple of 16.
///
/// # Safety
/// `count · width` writable dwords at `to`; the instruction set.
pub(super) unsafe fn interleave(path: Bf16Path, x: Acts, g: usize, count: usize, j: usize, width: usize, to: *mut u32) {
    unsafe {
        #[cfg(target_arch = "x86_64")]
        match path {
            Bf16Path::Avx512Bf16 => return x86::interleave_native(x, g, count, j, width, to),
            Bf16Path::Widened(Isa::Avx512) => return x86::interleave_plain(x, g, count, j, width, to),
            _ => (),
        }
        for q in 0..count {
            for c in 0..width {
                let pair = |i| bits_at(x, 2 * (g + q) + i, j + c);
                to.add(q * width + c).write(pair(0) | pair(1) << 16);
            }
        }
    }
}

/// Row `i` of `x` in bf16; zeros beyond its end.
///
/// # Safety
/// The instruction set.
pub(super) unsafe fn round(path: Bf16Path, x: Acts, i: usize, to: &mut [u16]) {
    #[cfg(target_arch = "x86_64")]
    unsafe {
        match path {
            Bf16Path::Avx512Bf16 => return x86::round_native(x, i, to),
            Bf16Path::Widened(Isa::Avx512) => return x86::round_plain(x, i, to),
            _ => (),
        }
    }
    let _ = path;
    for (j, to) in to.iter_mut().enumerate() {
        *to = bits_at(x, i, j) as u16;
    }
}

/// Columns `2g..` of rows `i..i + width` in pairs: `to [count][width]` dwords `(w[i + c][2(g + q)], w[i + c][2(g + q) +
/// 1])`, zeros beyond the borders. `width` is a multiple of 16.
///
/// # Safety
/// `count · width` writable dwords at `to`; the instruction set.
pub(super) unsafe fn columns(path: Bf16Path, w: Acts, g: usize, count: usize, i: usize, width: usize, to: *mut u32) {
    unsafe {
        #[cfg(target_arch = "x86_64")]
        match path {
            Bf16Path::Avx512Bf16 => return x86::columns_native(w, g, count, i, width, to),
            Bf16Path::Widened(Isa::Avx512) => return x86::columns_plain(w, g, count, i, width, to),
            _ => (),
        }
        for q in 0..count {
            for c in 0..width {
                let pair = |l| bits_at(w, i + c, 2 * (g + q) + l);
                to.add(q * width + c).write(pair(0) | pair(1) << 16);
            }
        }
    }
}

/// Turns packed bf16 panels round: `to [count][PANEL]` dwords `(w[2(g + q)][64p + c], w[2(g + q) + 1][64p + c])` from
/// `data [n / 64][pairs][64]` of `(w[j][2q], w[j][2q + 1])`. `count` may be rounded up to a multiple of 8; `g` is one.
///
/// # Safety
/// The panels hold rows `2g..2(g + count)`; `count` rounded up to 8 times `PANEL` writable dwords at `to`; the
/// instruction set.
pub(super) unsafe fn turned(isa: Isa, data: *const u32, pairs: usize, p: usize, g: usize, count: usize, to: *mut u32) {
    unsafe {
        #[cfg(target_arch = "x86_64")]
        if isa == Isa::Avx512 {
            return x86::turned(data, pairs, p, g, count, to);
        }
        let _ = isa;
        let at = |n: usize, k: usize| {
            if k / 2 >= pairs {
                return 0;
            }
            *data.add((n / PANEL * pairs + k / 2) * PANEL + n % PANEL) >> (16 * (k % 2)) & 0xffff
        };
        for q in 0..count {
            for c in 0..PANEL {
                let (n, k) = (2 * (g + q), p * PANEL + c);
                to.add(q * PANEL + c).write(at(n, k) | at(n + 1, k) << 16);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{transpose, turns, words};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::super::PANEL;
    use crate::mat::Acts;
    use std::arch::x86_64::*;

    /// The transpose of 16 x 16 dwords.
    ///
    /// # Safety
    /// The instruction set.
    #[inline(always)]
    pub(in super::super) unsafe fn transpose(r: &mut [__m512i; 16]) {
        unsafe {
            let mut t = [_mm512_setzero_si512(); 16];
            for i in 0..8 {
                t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
                t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
            }
            for i in 0..4 {
                r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
                r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
                r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
                r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
            }
            // Now r[4a + b], lane c = column 4c + b of rows 4a..4a + 4.
            for b in 0..4 {
                let x = _mm512_shuffle_i32x4::<0b10_00_10_00>(r[b], r[4 + b]);
                let y = _mm512_shuffle_i32x4::<0b11_01_11_01>(r[b], r[4 + b]);
                let z = _mm512_shuffle_i32x4::<0b10_00_10_00>(r[8 + b], r[12 + b]);
                let w = _mm512_shuffle_i32x4::<0b11_01_11_01>(r[8 + b], r[12 + b]);
                t[b] = _mm512_shuffle_i32x4::<0b10_00_10_00>(x, z);
                t[8 + b] = _mm512_shuffle_i32x4::<0b11_01_11_01>(x, z);
                t[4 + b] = _mm512_shuffle_i32x4::<0b10_00_10_00>(y, w);
                t[12 + b] = _mm512_shuffle_i32x4::<0b11_01_11_01>(y, w);
            }
            *r = t;
        }
    }

    /// 16 f32 rounded to bf16 in the low halves of dwords; integer arithmetic, as [`crate::element`] does it.
    #[inline(always)]
    unsafe fn rounded(x: __m512) -> __m512i {
        unsafe {
            let bits = _mm512_castps_si512(x);
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let sum = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(x, x);
            _mm512_srli_epi32::<16>(_mm512_mask_or_epi32(sum, nan, bits, _mm512_set1_epi32(0x40_0000)))
        }
    }

    /// The first `n` of 32 lanes.
    #[inline(always)]
    fn first(n: usize) -> __mmask32 {
        if n >= 32 { u32::MAX } else { (1u32 << n) - 1 }
    }

    /// Elements `j..j + 32` of row `i` as bf16, zeros beyond the borders. `NATIVE`: by the processor's conversion.
    ///
    /// # Safety
    /// The instruction set.
    #[inline(always)]
    pub(in super::super) unsafe fn words<const NATIVE: bool>(x: &Acts, i: usize, j: usize) -> __m512i {
        unsafe {
            if i >= x.rows() || j >= x.cols() {
                return _mm512_setzero_si512();
            }
            let mask = first(x.cols() - j);
            match x {
                Acts::F32(m) => {
                    let p = m.data.as_ptr().add(i * m.stride + j);
                    let low = _mm512_maskz_loadu_ps(mask as __mmask16, p);
                    let high = _mm512_maskz_loadu_ps((mask >> 16) as __mmask16, p.wrapping_add(16));
                    if NATIVE {
                        std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low))
                    } else {
                        let low = _mm512_castsi256_si512(_mm512_cvtepi32_epi16(rounded(low)));
                        _mm512_inserti64x4::<1>(low, _mm512_cvtepi32_epi16(rounded(high)))
                    }
                }
                Acts::Bf16(m) => _mm512_maskz_loadu_epi16(mask, m.data.as_ptr().add(i * m.stride + j).cast()),
            }
        }
    }

    /// Indices that take words of two vectors in turn: of their first halves, of their second halves.
    ///
    /// # Safety
    /// The instruction set.
    #[inline(always)]
    pub(in super::super) unsafe fn turns() -> (__m512i, __m512i) {
        let mut turns = [0u16; 64];
        for l in 0..32 {
            (turns[2 * l], turns[2 * l + 1]) = (l as u16, l as u16 + 32);
        }
        unsafe { (_mm512_loadu_si512(turns.as_ptr().cast()), _mm512_loadu_si512(turns.as_ptr().add(32).cast())) }
    }

    #[inline(always)]
    unsafe fn interleave<const NATIVE: bool>(x: Acts, g: usize, count: usize, j: usize, width: usize, to: *mut u32) {
        unsafe {
            let (low, high) = turns();
            for q in 0..count {
                for c in (0..width).step_by(32) {
                    let a = words::<NATIVE>(&x, 2 * (g + q), j + c);
                    let b = words::<NATIVE>(&x, 2 * (g + q) + 1, j + c);
                    let to = to.add(q * width + c);
                    _mm512_storeu_si512(to.cast(), _mm512_permutex2var_epi16(a, low, b));
                    if c + 16 < width {
                        _mm512_storeu_si512(to.add(16).cast(), _mm512_permutex2var_epi16(a, high, b));
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn columns<const NATIVE: bool>(w: Acts, g: usize, count: usize, i: usize, width: usize, to: *mut u32) {
        unsafe {
            for c in (0..width).step_by(16) {
                for q in (0..count).step_by(16) {
                    let mut r = [_mm512_setzero_si512(); 16];
                    for l in 0..16 {
                        r[l] = words::<NATIVE>(&w, i + c + l, 2 * (g + q));
                    }
                    transpose(&mut r);
                    for (l, row) in r.iter().enumerate().take(count - q) {
                        _mm512_storeu_si512(to.add((q + l) * width + c).cast(), *row);
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn round<const NATIVE: bool>(x: Acts, i: usize, to: &mut [u16]) {
        unsafe {
            for j in (0..to.len()).step_by(32) {
                let mask = first(to.len() - j);
                _mm512_mask_storeu_epi16(to.as_mut_ptr().add(j).cast(), mask, words::<NATIVE>(&x, i, j));
            }
        }
    }

    macro_rules! both {
        ($body:ident, $plain:ident, $native:ident, ($($arg:ident: $ty:ty),*)) => {
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
            pub(super) unsafe fn $plain($($arg: $ty),*) {
                unsafe { $body::<false>($($arg),*) }
            }
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
            pub(super) unsafe fn $native($($arg: $ty),*) {
                unsafe { $body::<true>($($arg),*) }
            }
        };
    }
    both!(interleave, interleave_plain, interleave_native, (x: Acts, g: usize, count: usize, j: usize, width: usize, to: *mut u32));
    both!(columns, columns_plain, columns_native, (w: Acts, g: usize, count: usize, i: usize, width: usize, to: *mut u32));
    both!(round, round_plain, round_native, (x: Acts, i: usize, to: &mut [u16]));

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) unsafe fn turned(data: *const u32, pairs: usize, p: usize, g: usize, count: usize, to: *mut u32) {
        unsafe {
            for q in (0..count).step_by(8) {
                let n = 2 * (g + q);
                let from = data.add(n / PANEL * pairs * PANEL + n % PANEL);
                for c in (0..PANEL).step_by(32) {
                    let k = (p * PANEL + c) / 2;
                    let mut r = [_mm512_setzero_si512(); 16];
                    for l in 0..16 {
                        // Rows in the order in which unpacking leaves the columns sorted.
                        let row = k + l / 4 * 2 + l % 2 + l % 4 / 2 * 8;
                        if row < pairs {
                            r[l] = _mm512_load_si512(from.add(row * PANEL).cast());
                        }
                    }
                    transpose(&mut r);
                    for l in 0..8 {
                        let to = to.add((q + l) * PANEL + c);
                        _mm512_store_si512(to.cast(), _mm512_unpacklo_epi16(r[2 * l], r[2 * l + 1]));
                        _mm512_store_si512(to.add(16).cast(), _mm512_unpackhi_epi16(r[2 * l], r[2 * l + 1]));
                    }
                }
            }
        }
    }
}
