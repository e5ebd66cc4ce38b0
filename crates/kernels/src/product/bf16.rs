//! Products of bf16 operands.

use super::finish::Finish;
use super::run::{Job, Left, Right};
use super::tile::bf16_tile;
use super::{Bf16Panels, Epilogue, PANEL, turn};
use crate::cpu::{Bf16Path, Isa};
use crate::mat::{Acts, Mat, Out};
use crate::par::{self, Shared};
use crate::pool::{Arena, Buffer};

/// Groups (pairs) of a block along the inner dimension: a block of a panel (192 KB) passes through L1 once a tile and stays in L2.
/// Blocks that stay in L1 cost more, in sums taken up and laid down again, than they save.
pub(super) const BLOCK: usize = 768;

/// Size of the blocks into which `groups` are cut: equal but for the last, a multiple of 32, at most [`BLOCK`].
pub(super) fn block(groups: usize) -> usize {
    round_up(groups, BLOCK)
}

/// Equal blocks of at most `most` groups, in multiples of 16.
pub(super) fn round_up(groups: usize, most: usize) -> usize {
    let blocks = groups.div_ceil(most).max(1);
    groups.div_ceil(blocks).next_multiple_of(32).min(most)
}

/// Panels as they lie.
struct Packed<'a> {
    data: &'a [u32],
    panel: usize,
}

// SAFETY: panels begin at cache lines, and so do their groups.
unsafe impl Right for Packed<'_> {
    const IN_PLACE: bool = true;

    unsafe fn block(&self, p: usize, g: usize, _count: usize, _scratch: *mut u32) -> *const u32 {
        unsafe { self.data.as_ptr().add(p * self.panel + g * PANEL) }
    }
}

/// bf16 activations in groups of two: in place, or rounded or padded into `copy`.
pub(super) struct Rows {
    _copy: Option<Buffer<u16>>,
    pub left: Left,
}

impl Rows {
    pub(super) fn new(path: Bf16Path, x: Acts, arena: &Arena) -> Self {
        let (rows, cols) = (x.rows(), x.cols());
        if let Acts::Bf16(m) = x
            && cols.is_multiple_of(2)
        {
            return Rows { _copy: None, left: Left::rows(m.data.as_ptr().cast(), m.stride * 2) };
        }
        let stride = cols.next_multiple_of(2);
        let mut copy: Buffer<u16> = arena.take(rows * stride);
        let to = Shared::new(&mut copy[..]);
        par::ranges(rows, par::rows_per_task(cols), |first, count| {
            for i in first..first + count {
                // SAFETY: row `i` of the copy, which is this task's; the paths come from `cpu`, which checked the processor.
                unsafe { turn::round(path, x, i, to.slice(i * stride, stride)) }
            }
        });
        let left = Left::rows(copy.as_ptr().cast(), stride * 2);
        Rows { _copy: Some(copy), left }
    }
}

/// Packed panels of the transposed weight.
struct Turned<'a> {
    isa: Isa,
    data: &'a [u32],
    pairs: usize,
}

// SAFETY: writes whole groups to the scratch, which begins at a cache line.
unsafe impl Right for Turned<'_> {
    unsafe fn block(&self, p: usize, g: usize, count: usize, scratch: *mut u32) -> *const u32 {
        unsafe { turn::turned(self.isa, self.data.as_ptr(), self.pairs, p, g, count, scratch) }
        scratch
    }
}

/// Row-major f32, rounded: rows become the panel's outputs.
struct RoundedRows<'a> {
    path: Bf16Path,
    w: Mat<'a>,
}

// SAFETY: as for `Turned`.
unsafe impl Right for RoundedRows<'_> {
    unsafe fn block(&self, p: usize, g: usize, count: usize, scratch: *mut u32) -> *const u32 {
        unsafe { turn::columns(self.path, Acts::F32(self.w), g, count, p * PANEL, PANEL, scratch) }
        scratch
    }
}

/// Row-major numbers, rounded if they are f32: columns become the panel's outputs.
pub(super) struct Interleaved<'a> {
    pub path: Bf16Path,
    pub x: Acts<'a>,
}

// SAFETY: as for `Turned`.
unsafe impl Right for Interleaved<'_> {
    unsafe fn block(&self, p: usize, g: usize, count: usize, scratch: *mut u32) -> *const u32 {
        unsafe { turn::interleave(self.path, self.x, g, count, p * PANEL, PANEL, scratch) }
        scratch
    }
}

fn product<R: Right>(path: Bf16Path, out: Out, left: Left, right: &R, groups: usize, e: &Epilogue, scale: f32) {
    let (rows, cols) = (out.rows(), out.cols());
    let finish = Finish::new(out, e, scale);
    let block = block(groups);
    Job { rows, cols, groups, block, left, right, quant: None, tile: bf16_tile(path), isa: path.isa(), finish: &finish }.run();
}

/// `out (+)= x·wᵀ + …` on packed weights.
pub(super) fn nt(path: Bf16Path, out: Out, x: Acts, w: &Bf16Panels, e: &Epilogue, arena: &Arena) {
    let acts = Rows::new(path, x, arena);
    let right = Packed { data: w.data(), panel: w.panel_len() };
    product(path, out, acts.left, &right, w.cols().div_ceil(2), e, 1.0);
}

/// `out (+)= x·wᵀ + …` on weights in f32.
pub(super) fn nt_f32(path: Bf16Path, out: Out, x: Acts, w: Mat, e: &Epilogue, scale: f32, arena: &Arena) {
    let acts = Rows::new(path, x, arena);
    product(path, out, acts.left, &RoundedRows { path, w }, w.cols.div_ceil(2), e, scale);
}

/// `out (+)= dy·w + …` on packed weights.
pub(super) fn nn(path: Bf16Path, out: Out, dy: Acts, w: &Bf16Panels, e: &Epilogue, arena: &Arena) {
    let acts = Rows::new(path, dy, arena);
    let right = Turned { isa: path.isa(), data: w.data(), pairs: w.cols().div_ceil(2) };
    product(path, out, acts.left, &right, w.rows().div_ceil(2), e, 1.0);
}

/// `out (+)= dy·w + …` on weights in f32.
pub(super) fn nn_f32(path: Bf16Path, out: Out, dy: Acts, w: Mat, e: &Epilogue, scale: f32, arena: &Arena) {
    let acts = Rows::new(path, dy, arena);
    product(path, out, acts.left, &Interleaved { path, x: Acts::F32(w) }, w.rows.div_ceil(2), e, scale);
}
