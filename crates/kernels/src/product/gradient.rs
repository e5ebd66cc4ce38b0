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

/// Few rows: the right side is read in place.
#[cfg(target_arch = "x86_64")]
fn short(g: MatMut, left: Acts, right: Acts, scale: f32, update: Update, arena: &Arena) {
    use super::finish::finish;
    use super::{PANEL, run, short};
    use crate::cpu::Isa;

    /// Columns of a task.
    const TASK: usize = 3 * short::COLS;
    let (rows, cols) = (g.rows, g.cols);
    let (groups, width) = (left.rows().div_ceil(2), rows.next_multiple_of(16));
    let mut packed: Buffer<u32> = arena.take(groups * width);
    // SAFETY: `packed` has that size; the caller has the path from `cpu`, which checked the processor.
    unsafe { turn::interleave(Bf16Path::Avx512Bf16, left, 0, groups, 0, width, packed.as_mut_ptr()) }
    let f = Finish::new(Out::F32(g), &Epilogue { update, ..Epilogue::default() }, scale);
    let packed = Shared::new(&mut packed);
    par::ranges(cols, TASK, |first, count| {
        run::with_scratch(short::ROWS * PANEL, |acc| {
            for j in (first..first + count).step_by(short::COLS) {
                for i in (0..rows).step_by(short::ROWS) {
                    // SAFETY: as above; the scratch has room for a tile; tasks store disjoint columns.
                    unsafe {
                        short::tile(packed.ptr().add(i), width, groups, &right, j, acc.cast());
                        let cols = short::COLS.min(first + count - j);
                        finish(Isa::Avx512, &f, acc.cast(), (i, short::ROWS.min(rows - i)), (j, cols));
                    }
                }
            }
        });
    });
}

fn product(path: Bf16Path, g: MatMut, left: Acts, right: Acts, scale: f32, update: Update, arena: &Arena) {
    let (rows, cols) = (g.rows, g.cols);
    #[cfg(target_arch = "x86_64")]
    if rows <= SHORT && path == Bf16Path::Avx512Bf16 {
        return short(g, left, right, scale, update, arena);
    }
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
