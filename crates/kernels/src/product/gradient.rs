//! `dyᵀ·x`: gradients to weights.

use super::bf16::{Interleaved, block};
use super::finish::Finish;
use super::run::{Job, Left};
use super::tile::{ROWS, bf16_tile};
use super::{Epilogue, turn};
use crate::cpu::Bf16Path;
use crate::elementwise::transpose_small;
use crate::mat::{Acts, MatMut, Out, Update};
use crate::par::{self, Shared};
use crate::pool::{Arena, Buffer};

/// Columns of a strip of the packed left side: whole tiles, whole vectors.
const STRIP: usize = 8 * ROWS;
/// Columns up to which the product is computed transposed, so that the short side is the broadcast one.
const SHORT: usize = 32;
/// Groups that one task packs.
const PACK: usize = 64;

/// `g (+)= scale · dyᵀ·x`.
pub(super) fn tn(path: Bf16Path, g: MatMut, dy: Acts, x: Acts, scale: f32, update: Update, arena: &Arena) {
    let (n, k) = (g.rows, g.cols);
    if k > SHORT || n <= k {
        return product(path, g, dy, x, scale, update, arena);
    }
    let mut transposed: Buffer = arena.take(n * k);
    product(path, MatMut::new(&mut transposed, k, n), x, dy, scale, Update::Set, arena);
    if g.stride == k {
        return transpose_small(&mut g.data[..n * k], &transposed, k, n, 1.0, update);
    }
    for i in 0..n {
        for j in 0..k {
            let to = &mut g.data[i * g.stride + j];
            *to = transposed[j * n + i] + if update == Update::Add { *to } else { 0.0 };
        }
    }
}

fn product(path: Bf16Path, g: MatMut, left: Acts, right: Acts, scale: f32, update: Update, arena: &Arena) {
    let (rows, cols) = (g.rows, g.cols);
    let groups = left.rows().div_ceil(2);
    let strips = rows.div_ceil(STRIP);
    let mut packed: Buffer<u32> = arena.take(strips * groups * STRIP);
    let to = Shared::new(&mut packed);
    let chunks = groups.div_ceil(PACK);
    par::ranges(chunks * strips, 1, |first, count| {
        for task in first..first + count {
            // Strips change fastest: neighbours read the same rows.
            let (chunk, s) = (task / strips, task % strips);
            let g = chunk * PACK;
            // SAFETY: this task's part of the strip.
            unsafe {
                let to = to.ptr().add((s * groups + g) * STRIP);
                turn::interleave(path, left, g, PACK.min(groups - g), s * STRIP, STRIP, to);
            }
        }
    });
    let left = Left { base: packed.as_ptr().cast(), width: STRIP, strip: groups * STRIP * 4, row: 4, group: STRIP * 4 };
    let e = Epilogue { update, ..Epilogue::default() };
    let finish = Finish::new(Out::F32(g), &e, scale);
    let right = Interleaved { path, x: right };
    Job {
        rows,
        cols,
        groups,
        block: block(groups),
        left,
        right: &right,
        quant: None,
        tile: bf16_tile(path),
        isa: path.isa(),
        finish: &finish,
    }
    .run();
}
