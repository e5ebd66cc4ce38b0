//! Products with a short side: the low-rank branch of a linear layer.

use super::bf16::{Rows, nn_f32, nt_f32};
use super::finish::{Finish, finish};
use super::run::{Left, with_scratch};
use super::tile::{TALL, Tile, bf16_tile};
use super::{Epilogue, PANEL, turn};
use crate::cpu::Bf16Path;
use crate::mat::{Acts, Mat, MatMut, Out, Update};
use crate::par;
use crate::pool::{Arena, Buffer};

/// Rows of a task.
const TASK_ROWS: usize = 4 * TALL;

/// Width of a panel that holds `r ≤ PANEL` columns: 16, 32 or 64.
fn width(r: usize) -> usize {
    r.next_power_of_two().max(16)
}

/// `out (+)= scale · left·b` with `b [groups][width]` in cache; the rows of `left` are evenly spaced.
fn run(path: Bf16Path, out: MatMut, left: Left, b: &[u32], groups: usize, scale: f32, update: Update) {
    let (rows, cols) = (out.rows, out.cols);
    let e = Epilogue { update, ..Epilogue::default() };
    let finish_with = Finish::new(Out::F32(out), &e, scale);
    let (tile, width) = (bf16_tile(path), width(cols));
    let height = super::tile::height(width);
    par::ranges(rows, TASK_ROWS, |first, count| {
        with_scratch(height * PANEL, |scratch| {
            for i in (first..first + count).step_by(height) {
                let n = height.min(first + count - i);
                // SAFETY: the scratch has room for a tile; rows and groups exist; tasks store disjoint rows.
                unsafe {
                    let (a, acc) = (left.at(i, 0), scratch.cast());
                    let (a_scales, sums, a_scale_row) = (std::ptr::null(), std::ptr::null(), 0);
                    let (a_row, a_group, b) = (left.row, left.group, b.as_ptr());
                    let t = Tile { a, a_row, a_group, b, width, groups, acc, first: true, a_scales, sums, a_scale_row };
                    tile(n, &t);
                    finish(path.isa(), &finish_with, acc, (i, n), (0, cols));
                }
            }
        });
    });
}

/// `u (+)= scale · x·aᵀ`.
pub(super) fn nt(path: Bf16Path, u: MatMut, x: Acts, a: Mat, scale: f32, update: Update, arena: &Arena) {
    let groups = a.cols.div_ceil(2);
    if a.rows > PANEL {
        return nt_f32(path, Out::F32(u), x, a, &Epilogue { update, ..Epilogue::default() }, scale, arena);
    }
    let width = width(a.rows);
    let mut b: Buffer<u32> = arena.take(groups * width);
    // SAFETY: `b` has that size.
    unsafe { turn::columns(path.isa(), Acts::F32(a), 0, groups, 0, width, b.as_mut_ptr()) }
    let acts = Rows::new(x, arena);
    run(path, u, acts.left, &b, groups, scale, update);
}

/// `du (+)= scale · dy·b`.
pub(super) fn nn(path: Bf16Path, du: MatMut, dy: Acts, b: Mat, scale: f32, update: Update, arena: &Arena) {
    let groups = b.rows.div_ceil(2);
    if b.cols > PANEL {
        return nn_f32(path, Out::F32(du), dy, b, &Epilogue { update, ..Epilogue::default() }, scale, arena);
    }
    let width = width(b.cols);
    let mut packed: Buffer<u32> = arena.take(groups * width);
    // SAFETY: `packed` has that size.
    unsafe { turn::interleave(path.isa(), Acts::F32(b), 0, groups, 0, width, packed.as_mut_ptr()) }
    let acts = Rows::new(dy, arena);
    run(path, du, acts.left, &packed, groups, scale, update);
}
