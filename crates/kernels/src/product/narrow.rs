//! Products with a short side: the low-rank branch of a linear layer.

use super::bf16::{Rows, nn_f32, nt_f32};
use super::finish::{Finish, finish};
use super::run::{Left, with_scratch};
use super::tile::{ROWS, Tile, bf16_tile};
use super::{Epilogue, PANEL, turn};
use crate::cpu::Bf16Path;
use crate::mat::{Acts, Mat, MatMut, Out, Update};
use crate::par;
use crate::pool::{Arena, Buffer};

/// Rows of a task.
const TASK_ROWS: usize = 48;

/// Width of a panel that holds `r ≤ PANEL` columns: 16, 32 or 64.
fn width(r: usize) -> usize {
    r.next_power_of_two().max(16)
}

/// `out (+)= scale · left·b` with `b [groups][width]` in cache; the rows of `left` are evenly spaced.
fn panel(path: Bf16Path, out: MatMut, left: Left, b: &[u32], groups: usize, scale: f32, update: Update) {
    let (rows, cols) = (out.rows, out.cols);
    let finish_with = Finish::new(Out::F32(out), &Epilogue { update, ..Epilogue::default() }, scale);
    let (tile, width) = (bf16_tile(path), width(cols));
    par::ranges(rows, TASK_ROWS, |first, count| {
        with_scratch(ROWS * PANEL, |scratch| {
            for i in (first..first + count).step_by(ROWS) {
                let n = ROWS.min(first + count - i);
                // SAFETY: the scratch has room for a tile; rows and groups exist; tasks store disjoint rows.
                unsafe {
                    let (a, a_next, acc) = (left.at(i, 0), std::ptr::null(), scratch.cast());
                    let (a_scales, sums, a_scale_row) = (std::ptr::null(), std::ptr::null(), 0);
                    let (a_row, a_group, b, first, stream) = (left.row, left.group, b.as_ptr(), true, false);
                    let t = Tile { a, a_next, a_row, a_group, b, width, groups, acc, first, stream, a_scales, sums, a_scale_row };
                    tile(n, &t);
                    finish(path.isa(), &finish_with, acc, (i, n), (0, cols));
                }
            }
        });
    });
}

/// `u (+)= scale · x·aᵀ`.
pub(super) fn nt(path: Bf16Path, u: MatMut, x: Acts, a: Mat, scale: f32, update: Update, arena: &Arena) {
    if a.rows > PANEL {
        return nt_f32(path, Out::F32(u), x, a, &Epilogue { update, ..Epilogue::default() }, scale, arena);
    }
    let acts = Rows::new(path, x, arena);
    #[cfg(target_arch = "x86_64")]
    if path == Bf16Path::Avx512Bf16 {
        return native::run(u, &acts, Acts::F32(a), scale, update, arena);
    }
    let (groups, width) = (a.cols.div_ceil(2), width(a.rows));
    let mut b: Buffer<u32> = arena.take(groups * width);
    // SAFETY: `b` has that size.
    unsafe { turn::columns(path, Acts::F32(a), 0, groups, 0, width, b.as_mut_ptr()) }
    panel(path, u, acts.left, &b, groups, scale, update);
}

/// `du (+)= scale · dy·b`.
pub(super) fn nn(path: Bf16Path, du: MatMut, dy: Acts, b: Mat, scale: f32, update: Update, arena: &Arena) {
    if b.cols > PANEL {
        return nn_f32(path, Out::F32(du), dy, b, &Epilogue { update, ..Epilogue::default() }, scale, arena);
    }
    let acts = Rows::new(path, dy, arena);
    #[cfg(target_arch = "x86_64")]
    if path == Bf16Path::Avx512Bf16 {
        let mut turned: Buffer = arena.take(b.rows * b.cols);
        for (i, row) in (0..b.rows).map(|i| b.row(i)).enumerate() {
            for (j, v) in row.iter().enumerate() {
                turned[j * b.rows + i] = *v;
            }
        }
        return native::run(du, &acts, Acts::F32(Mat::new(&turned, b.cols, b.rows)), scale, update, arena);
    }
    let (groups, width) = (b.rows.div_ceil(2), width(b.cols));
    let mut packed: Buffer<u32> = arena.take(groups * width);
    // SAFETY: `packed` has that size.
    unsafe { turn::interleave(path, Acts::F32(b), 0, groups, 0, width, packed.as_mut_ptr()) }
    panel(path, du, acts.left, &packed, groups, scale, update);
}

#[cfg(target_arch = "x86_64")]
mod native {
    use super::super::dots::{OUTPUTS, Rows16, dots};
    use super::*;
    use crate::par::Shared;

    /// `out (+)= scale · x·wᵀ` by dot products.
    pub(super) fn run(out: MatMut, x: &Rows, w: Acts, scale: f32, update: Update, arena: &Arena) {
        let (rows, cols, k, out_stride) = (out.rows, out.cols, w.cols(), out.stride);
        let stride = k.next_multiple_of(32);
        let count = cols.next_multiple_of(OUTPUTS);
        let mut rounded: Buffer<u16> = arena.take(count * stride);
        if stride > 0 {
            for (j, row) in rounded.chunks_mut(stride).enumerate() {
                // SAFETY: the caller has this path from `cpu`, which checked the processor.
                unsafe { turn::round(Bf16Path::Avx512Bf16, w, j, row) }
            }
        }
        let weight = Shared::new(&mut rounded[..]);
        let (to, left) = (Shared::new(out.data), x.left);
        par::ranges(rows, TASK_ROWS, |first, height| {
            with_scratch(TASK_ROWS * OUTPUTS, |scratch| {
                for j in (0..cols).step_by(OUTPUTS) {
                    // SAFETY: the scratch has room for a task's sums, rows exist, tasks store disjoint rows.
                    unsafe {
                        let x = Rows16 { p: left.at(first, 0).cast(), stride: left.row / 2 };
                        let w = Rows16 { p: weight.ptr().add(j * stride), stride };
                        let sums = scratch.cast::<f32>();
                        dots(height, x, w, k, sums);
                        for i in 0..height {
                            let row = to.slice((first + i) * out_stride + j, OUTPUTS.min(cols - j));
                            for (l, to) in row.iter_mut().enumerate() {
                                let v = scale * *sums.add(i * OUTPUTS + l);
                                *to = if update == Update::Add { *to + v } else { v };
                            }
                        }
                    }
                }
            });
        });
    }
}
