//! Products of 8-bit operands.
//!
//! Weights are int8 with one scale a row; activations are quantised row by row and block by block of the inner dimension
//! ([`BLOCK`]) to 255 levels around zero. Within a block sums are exact in i32 (at most 640 · 255 · 127, far from the
//! limit); across blocks they are f32, in order.
//!
//! *Error.* Each activation is off by at most half a step, `max|x| / 254` of its block; so an element of the result is off
//! by at most `Σ_blocks max|x_b| / 254 · Σ_{l∈b} |w_l|` beyond the rounding of the weight itself and of the f32 sums.

use super::bf16::round_up;
use super::finish::Finish;
use super::run::{Job, Left, Quant, Right};
use super::tile::int8_tile;
use super::{Epilogue, I8Panels, PANEL, turn8};
use crate::cpu::{Int8Path, Isa};
use crate::element::Element;
use crate::mat::{Acts, Out};
use crate::par::{self, Shared};
use crate::pool::{Arena, Buffer};

/// Most groups (of four) of a block, which has one scale a row: 640 inputs, whose panel block (40 KB) just fits L1.
const BLOCK: usize = 160;

/// Groups in a block of an inner dimension of `groups`; a multiple of 16 unless it is everything.
pub(super) fn block(groups: usize) -> usize {
    round_up(groups, BLOCK)
}

/// Number of blocks, at least one.
pub(super) fn blocks(groups: usize) -> usize {
    groups.div_ceil(block(groups).max(1)).max(1)
}

/// Quantised activations: `[rows][groups]` dwords of four numbers plus 128, and `[rows][blocks]` scales.
struct Rows {
    numbers: Buffer<u32>,
    scales: Buffer,
    groups: usize,
}

impl Rows {
    /// Each column is multiplied with its factor first, if there are any.
    fn new(isa: Isa, x: Acts, factors: Option<&[f32]>, arena: &Arena) -> Self {
        let (rows, cols) = (x.rows(), x.cols());
        let groups = cols.div_ceil(4);
        let (block, blocks) = (4 * block(groups), blocks(groups));
        let (mut numbers, mut scales): (Buffer<u32>, Buffer) = (arena.take(rows * groups), arena.take(rows * blocks));
        let (to, to_scales) = (Shared::new(&mut numbers[..]), Shared::new(&mut scales[..]));
        par::ranges(rows, par::rows_per_task(cols), |first, count| {
            for i in first..first + count {
                // SAFETY: row `i` of both is this task's.
                let (row, scales) = unsafe { (to.slice(i * groups, groups), to_scales.slice(i * blocks, blocks)) };
                for b in 0..blocks {
                    let (at, end) = (b * block, ((b + 1) * block).min(cols));
                    let (to, factors) = (&mut row[at / 4..end.div_ceil(4)], factors.map(|f| &f[at..end]));
                    scales[b] = match x {
                        Acts::F32(m) => quantise(isa, &m.data[i * m.stride..][at..end], factors, to),
                        Acts::Bf16(m) => quantise(isa, &m.data[i * m.stride..][at..end], factors, to),
                    };
                }
            }
        });
        Rows { numbers, scales, groups }
    }
}

/// Quantises numbers, each times its factor, to `to` with 128 added; returns the scale.
pub(super) fn quantise<T: Element>(isa: Isa, x: &[T], factors: Option<&[f32]>, to: &mut [u32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if isa == Isa::Avx512 {
        // SAFETY: `Isa` values come from `cpu`, which checked the processor; four numbers of `x` or fewer per dword of
        // `to`, as many factors as numbers.
        return unsafe { x86::quantise(x, factors, to) };
    }
    let _ = isa;
    let value = |l: usize| x[l].to_f32() * factors.map_or(1.0, |f| f[l]);
    // As integers, magnitudes sort like numbers, and a NaN is the largest: it must reach the scale, and so the loss.
    let top = f32::from_bits((0..x.len()).fold(0, |m, l| m.max(value(l).abs().to_bits())));
    let inverse = inverse(top);
    for (g, dword) in to.iter_mut().enumerate() {
        let mut bytes = [128u8; 4];
        for l in 0..4.min(x.len() - 4 * g) {
            bytes[l] = ((value(4 * g + l) * inverse).round_ties_even() as i32 + 128) as u8;
        }
        *dword = u32::from_le_bytes(bytes);
    }
    top / 127.0
}

/// What numbers up to `top` are multiplied with to lie within ±127.
fn inverse(top: f32) -> f32 {
    // Below this the quotient overflows; such numbers count as zeros.
    if top > 1e-36 { 127.0 / top } else { 0.0 }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::inverse;
    use crate::element::Element;
    use crate::simd::{Avx512, Simd, load_n};
    use std::arch::x86_64::*;

    /// Numbers `l..l + 16`, each times its factor; zeros beyond the end.
    #[inline(always)]
    unsafe fn sixteen<T: Element>(x: &[T], factors: Option<&[f32]>, l: usize) -> __m512 {
        unsafe {
            let n = x.len() - l;
            let v = load_n::<Avx512>(x.as_ptr().add(l), n);
            match factors {
                None => v,
                Some(f) => Avx512::mul(v, load_n::<Avx512>(f.as_ptr().add(l), n)),
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) unsafe fn quantise<T: Element>(x: &[T], factors: Option<&[f32]>, to: &mut [u32]) -> f32 {
        unsafe {
            let n = x.len();
            // As integers, magnitudes sort like numbers, and a NaN is the largest.
            let mut tops = [_mm512_setzero_si512(); 2];
            for l in (0..n).step_by(32) {
                tops[0] = _mm512_max_epu32(tops[0], _mm512_castps_si512(_mm512_abs_ps(sixteen(x, factors, l))));
                if l + 16 < n {
                    tops[1] = _mm512_max_epu32(tops[1], _mm512_castps_si512(_mm512_abs_ps(sixteen(x, factors, l + 16))));
                }
            }
            let top = f32::from_bits(_mm512_reduce_max_epu32(_mm512_max_epu32(tops[0], tops[1])));
            let inverse = _mm512_set1_ps(inverse(top));
            let to_bytes = to.as_mut_ptr().cast::<u8>();
            for l in (0..n).step_by(16) {
                let q = _mm512_cvtps_epi32(_mm512_mul_ps(sixteen(x, factors, l), inverse));
                let bytes = _mm512_cvtepi32_epi8(_mm512_add_epi32(q, _mm512_set1_epi32(128)));
                if n - l >= 16 {
                    _mm_storeu_si128(to_bytes.add(l).cast(), bytes);
                } else {
                    let whole = (n - l).next_multiple_of(4);
                    _mm_mask_storeu_epi8(to_bytes.add(l).cast(), ((1u32 << whole) - 1) as __mmask16, bytes);
                }
            }
            top / 127.0
        }
    }
}

/// Panels as they lie.
struct Packed<'a>(&'a I8Panels);

// SAFETY: panels begin at cache lines, and so do their groups.
unsafe impl Right for Packed<'_> {
    const IN_PLACE: bool = true;

    unsafe fn block(&self, p: usize, g: usize, _count: usize, _scratch: *mut u32) -> *const u32 {
        unsafe { self.0.data().as_ptr().add(p * self.0.panel_len() + g * PANEL) }
    }
}

/// Panels of the transposed weight.
struct Turned<'a> {
    isa: Isa,
    w: &'a I8Panels,
}

// SAFETY: writes whole groups to the scratch, which begins at a cache line.
unsafe impl Right for Turned<'_> {
    unsafe fn block(&self, p: usize, g: usize, count: usize, scratch: *mut u32) -> *const u32 {
        unsafe { turn8::turned(self.isa, self.w.data().as_ptr(), self.w.cols().div_ceil(4), p, g, count, scratch) }
        scratch
    }
}

fn product<R: Right>(path: Int8Path, rows: usize, cols: usize, x: &Rows, right: &R, sums: &[i32], finish: &Finish) {
    let groups = x.groups;
    let left = Left::rows(x.numbers.as_ptr().cast(), groups * 4);
    let quant = Quant { scales: x.scales.as_ptr(), sums: sums.as_ptr(), blocks: blocks(groups) };
    let (tile, isa) = (int8_tile(path), path.isa());
    Job { rows, cols, groups, block: block(groups), left, right, quant: Some(quant), tile, isa, finish }.run();
}

/// `out (+)= x·wᵀ + …`.
pub(super) fn nt(path: Int8Path, out: Out, x: Acts, w: &I8Panels, e: &Epilogue, arena: &Arena) {
    let (rows, cols) = (out.rows(), out.cols());
    let acts = Rows::new(path.isa(), x, None, arena);
    let finish = Finish::new(out, e, 1.0).scaled_by_columns(w.scales());
    product(path, rows, cols, &acts, &Packed(w), w.sums(), &finish);
}

/// `out (+)= dy·w + …`; the weight's scales are folded into `dy` before that is quantised.
pub(super) fn nn(path: Int8Path, out: Out, dy: Acts, w: &I8Panels, e: &Epilogue, arena: &Arena) {
    let (rows, cols) = (out.rows(), out.cols());
    let acts = Rows::new(path.isa(), dy, Some(w.scales()), arena);
    let finish = Finish::new(out, e, 1.0);
    product(path, rows, cols, &acts, &Turned { isa: path.isa(), w }, w.turned_sums(), &finish);
}
