//! Activations, quantised as a product needs them.

use super::GROUP;
use crate::mat::Mat;
use crate::par::{self, Shared};
use crate::pool::{Arena, Buffer};
use crate::simd::{Simd, dispatch};

/// What a product needs of a group of activations besides its numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub(super) struct Meta {
    /// A unit of the numbers: `max|x| / 127`.
    pub scale: f32,
    /// Minus the sum of the numbers.
    pub minus_sum: i32,
    /// The sum times the scale.
    pub sum: f32,
    unused: u32,
}

/// Rows of activations `[m, k]` as int8 in groups of 32 with a scale each.
pub struct Rows {
    rows: usize,
    cols: usize,
    numbers: Buffer<i8>,
    /// `[m, k / 32]` of [`Meta`], as four dwords each.
    meta: Buffer<u32>,
}

impl Rows {
    /// Quantises: the largest magnitude of a group becomes 127, the others are rounded to nearest, ties to even. A group with
    /// a NaN or an infinity gets a scale that is none either, so that they reach the result.
    ///
    /// # Panics
    /// If the columns are not whole groups.
    pub fn new(x: Mat, arena: &Arena) -> Self {
        let groups = x.cols / GROUP;
        assert!(x.cols.is_multiple_of(GROUP), "quant: rows of {} numbers", x.cols);
        let mut rows = Rows { rows: x.rows, cols: x.cols, numbers: arena.take(x.rows * x.cols), meta: arena.take(x.rows * groups * 4) };
        let numbers = Shared::new(&mut rows.numbers);
        // SAFETY: `Meta` is four dwords without padding, for which every bit pattern is a value; buffers are aligned to lines.
        let meta = Shared::new(unsafe { std::slice::from_raw_parts_mut(rows.meta.as_mut_ptr().cast::<Meta>(), x.rows * groups) });
        par::ranges(x.rows, par::rows_per_task(x.cols), |first, count| {
            for i in first..first + count {
                // SAFETY: rows are disjoint and in bounds.
                let (numbers, meta) = unsafe { (numbers.slice(i * x.cols, x.cols), meta.slice(i * groups, groups)) };
                quantise_isa(crate::cpu::isa(), numbers, meta, x.row(i));
            }
        });
        rows
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    pub(super) fn groups(&self) -> usize {
        self.cols / GROUP
    }

    pub(super) fn numbers(&self) -> &[i8] {
        &self.numbers
    }

    pub(super) fn meta(&self) -> &[Meta] {
        // SAFETY: as in `new`.
        unsafe { std::slice::from_raw_parts(self.meta.as_ptr().cast(), self.rows * self.groups()) }
    }
}

/// Written for the compiler to vectorise; only compiled once for each instruction set.
#[inline(always)]
unsafe fn quantise<S: Simd>(numbers: &mut [i8], meta: &mut [Meta], x: &[f32]) {
    // Adding 1.5·2²³ leaves the nearest integer in the low bits.
    const MAGIC: f32 = 12_582_912.0;
    let groups = x.as_chunks::<GROUP>().0.iter().zip(numbers.as_chunks_mut::<GROUP>().0);
    for ((x, q), meta) in groups.zip(meta) {
        // Magnitudes compare as their bits do, with infinities and NaN on top.
        let top = x.iter().fold(0u32, |top, x| top.max(x.to_bits() & 0x7fff_ffff));
        let top = f32::from_bits(top);
        // So small that the quotient would overflow: as good as zero.
        let inverse = if top > 1e-36 { 127.0 / top } else { 0.0 };
        let mut sum = 0i32;
        for (q, x) in q.iter_mut().zip(x) {
            let n = (x * inverse + MAGIC).to_bits().wrapping_sub(MAGIC.to_bits()) as i32;
            *q = n as i8;
            sum += *q as i32;
        }
        let scale = top / 127.0;
        *meta = Meta { scale, minus_sum: -sum, sum: sum as f32 * scale, unused: 0 };
    }
}
dispatch!(fn quantise_isa = quantise(numbers: &mut [i8], meta: &mut [Meta], x: &[f32]));
