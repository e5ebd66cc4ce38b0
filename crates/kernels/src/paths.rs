//! Rows that several paths share, copied together and summed back.
//!
//! Attention wants the keys of a sequence one behind the other. Where sequences share their beginning in a packed tensor, the
//! shared rows are copied into the path of each, and the copies' gradients are added up in the order of the pieces.

use crate::par::Shared;
use crate::rope::Place;
use crate::team;

/// Rows that move together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// First row of the packed tensor; several pieces may name the same rows.
    pub packed: usize,
    /// First row of the paths; no two pieces overlap here.
    pub path: usize,
    /// Number of rows.
    pub len: usize,
}

/// Copies `heads` heads of `dim` elements from `src` (at `from`) into `dst`, which is `[heads, keys, dim]`. Rows of `dst` that no
/// piece names keep what they hold.
///
/// # Panics
/// If a piece lies outside `src` or `dst`.
pub fn gather<T: Copy + Send + Sync>(dst: &mut [T], keys: usize, src: &[T], from: Place, pieces: &[Piece], (heads, dim): (usize, usize)) {
    assert_eq!(dst.len(), heads * keys * dim, "gather: shapes disagree");
    if dst.is_empty() {
        return;
    }
    let to = Shared::new(dst);
    team::run(heads, |h| {
        // SAFETY: heads are apart and inside, as asserted above.
        let dst = unsafe { to.slice(h * keys * dim, keys * dim) };
        for p in pieces {
            let rows = &mut dst[p.path * dim..(p.path + p.len) * dim];
            let first = from.base + p.packed * from.token + h * from.head;
            if from.token == dim {
                rows.copy_from_slice(&src[first..first + p.len * dim]);
                continue;
            }
            for (i, row) in rows.chunks_exact_mut(dim).enumerate() {
                row.copy_from_slice(&src[first + i * from.token..][..dim]);
            }
        }
    });
}

/// The transpose of [`gather`], summed over `parts`: `dst`, `[heads, tokens, dim]`, becomes the sum of all copies of each row in
/// `src`, `[parts, heads, keys, dim]`. Parts are added first, then pieces in their order.
///
/// # Panics
/// If a piece lies outside `src` or `dst`.
pub fn fold(dst: &mut [f32], tokens: usize, src: &[f32], (parts, keys): (usize, usize), pieces: &[Piece], (heads, dim): (usize, usize)) {
    assert_eq!(dst.len(), heads * tokens * dim, "fold: shapes disagree");
    assert_eq!(src.len(), parts * heads * keys * dim, "fold: shapes disagree");
    if dst.is_empty() {
        return;
    }
    let stride = heads * keys * dim;
    let to = Shared::new(dst);
    team::run(heads, |h| {
        // SAFETY: heads are apart and inside, as asserted above.
        let dst = unsafe { to.slice(h * tokens * dim, tokens * dim) };
        dst.fill(0.0);
        for p in pieces {
            let rows = &mut dst[p.packed * dim..(p.packed + p.len) * dim];
            let first = (h * keys + p.path) * dim;
            for (i, y) in rows.iter_mut().enumerate() {
                let mut sum = src[first + i];
                for part in 1..parts {
                    sum += src[first + i + part * stride];
                }
                *y += sum;
            }
        }
    });
}
