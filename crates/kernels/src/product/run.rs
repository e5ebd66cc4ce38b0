//! The loops around the tiles: panels by blocks of rows, cut by shape alone.

use super::PANEL;
use super::finish::{Finish, finish};
use super::tile::{ROWS, Tile, TileFn};
use crate::cpu::{Isa, threads};
use crate::par;
use std::cell::RefCell;

/// Rows of a task: its sums (64 KB), if there are several blocks, and a block of a panel stay in L2.
const TASK_ROWS: usize = 258;
/// The broadcast operand: group `g` of row `i` is the dword at `base + i / width · strip + i % width · row + g · group`
/// (in bytes). A tile does not straddle strips: `width` is a multiple of [`ROWS`].
#[derive(Clone, Copy)]
pub(super) struct Left {
    pub base: *const u8,
    pub width: usize,
    pub strip: usize,
    pub row: usize,
    pub group: usize,
}

// SAFETY: read only.
unsafe impl Sync for Left {}

impl Left {
    /// Rows of groups one after the other, `stride` bytes apart.
    pub(super) fn rows(base: *const u8, stride: usize) -> Self {
        Left { base, width: ROWS, strip: ROWS * stride, row: stride, group: 4 }
    }

    /// Group `g` of row `i`.
    ///
    /// # Safety
    /// They exist.
    pub(super) unsafe fn at(&self, i: usize, g: usize) -> *const u8 {
        unsafe { self.base.add(i / self.width * self.strip + i % self.width * self.row + g * self.group) }
    }
}

/// The operand in panels.
///
/// # Safety
/// `block` returns `[count][PANEL]` readable dwords, aligned to a cache line: in place, or written to `scratch`, which
/// has that much space (`count` rounded up to 8).
pub(super) unsafe trait Right: Sync {
    /// `block` does not use the scratch.
    const IN_PLACE: bool = false;
    /// Groups `g..g + count` of panel `p`.
    ///
    /// # Safety
    /// They exist; the instruction set that the operand was made for.
    unsafe fn block(&self, p: usize, g: usize, count: usize, scratch: *mut u32) -> *const u32;
}

/// What products of 8-bit numbers need besides.
#[derive(Clone, Copy)]
pub(super) struct Quant {
    /// `[rows][blocks]`.
    pub scales: *const f32,
    /// `[panels][blocks][PANEL]`.
    pub sums: *const i32,
    pub blocks: usize,
}

// SAFETY: read only.
unsafe impl Sync for Quant {}

/// A product `[rows, cols]` over `groups` groups.
pub(super) struct Job<'a, R> {
    pub rows: usize,
    pub cols: usize,
    pub groups: usize,
    /// Groups in a block; a multiple of 32 unless it is everything.
    pub block: usize,
    pub left: Left,
    pub right: &'a R,
    pub quant: Option<Quant>,
    pub tile: TileFn,
    pub isa: Isa,
    pub finish: &'a Finish,
}

/// Memory in cache lines.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u32; 16]);

thread_local! {
    /// Sums of a task and a block of a panel: as large as the largest that the thread has seen.
    static SCRATCH: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// Asks the cache for `dwords` dwords at `p`.
pub(super) fn prefetch(p: *const u32, dwords: usize) {
    for at in (0..dwords).step_by(16) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a hint; any address will do.
        unsafe {
            use std::arch::x86_64::*;
            _mm_prefetch::<_MM_HINT_T1>(p.wrapping_add(at).cast());
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (p, at);
    }
}

/// Calls `f` with `dwords` of this thread's scratch.
pub(super) fn with_scratch(dwords: usize, f: impl FnOnce(*mut u32)) {
    SCRATCH.with(|s| {
        let mut s = s.borrow_mut();
        if s.len() * 16 < dwords {
            s.resize(dwords.div_ceil(16), Line([0; 16]));
        }
        f(s.as_mut_ptr().cast())
    });
}

impl<R: Right> Job<'_, R> {
    /// Computes and stores everything.
    pub(super) fn run(&self) {
        if self.rows == 0 || self.cols == 0 {
            return;
        }
        let panels = self.cols.div_ceil(PANEL);
        // Where a block has to be made first, more rows share it and fewer tasks make it again.
        let (most, least, tasks, even) = if R::IN_PLACE { (TASK_ROWS, 48, 24usize, 4) } else { (2 * TASK_ROWS, 96, 16, 2) };
        let fewest = self.rows.div_ceil(most);
        let mut strips = tasks.div_ceil(panels).min(self.rows / least).max(fewest);
        while !(panels * strips).is_multiple_of(even) && self.rows / (strips + 1) >= least {
            strips += 1;
        }
        let height = self.rows.div_ceil(strips).next_multiple_of(ROWS);
        let strips = self.rows.div_ceil(height);
        let threads = threads();
        par::ranges(panels * strips, 1, |first, count| {
            for task in first..first + count {
                // A single strip of few rows waits for the weights.
                let p = if strips == 1 { par::apart(task, panels, threads) } else { task / strips };
                let i = task % strips * height;
                self.task(p, i, height.min(self.rows - i));
            }
        });
    }

    /// Panel `p`, `rows` rows from `i`.
    fn task(&self, p: usize, i: usize, rows: usize) {
        // One tile alone gains nothing from a block that stays in L1.
        let block = if R::IN_PLACE && rows <= ROWS && self.quant.is_none() { self.groups } else { self.block.min(self.groups) }.max(1);
        let blocks = self.groups.div_ceil(block).max(1);
        let tiles = rows.div_ceil(ROWS);
        let sums_room = if blocks == 1 { ROWS * PANEL } else { tiles * ROWS * PANEL };
        let cols = PANEL.min(self.cols - p * PANEL);
        let room = if R::IN_PLACE { 0 } else { block.next_multiple_of(32) * PANEL };
        with_scratch(sums_room + room, |scratch| {
            for b in 0..blocks {
                let (g, last) = (b * block, b + 1 == blocks);
                let groups = block.min(self.groups - g);
                // SAFETY: the scratch has room for the sums and a block; rows and groups exist in the operands, as
                // whoever made the job has checked; tasks store disjoint tiles.
                unsafe {
                    let right = self.right.block(p, g, groups, scratch.add(sums_room));
                    for t in 0..tiles {
                        let count = ROWS.min(rows - t * ROWS);
                        let acc = scratch.cast::<f32>().add(if blocks == 1 { 0 } else { t * ROWS * PANEL });
                        let first_row = i + t * ROWS;
                        let a = self.left.at(first_row, g);
                        let (mut a_scales, mut sums, mut a_scale_row) = (std::ptr::null(), std::ptr::null(), 0);
                        if let Some(q) = self.quant {
                            a_scales = q.scales.add(first_row * q.blocks + b);
                            sums = q.sums.add((p * q.blocks + b) * PANEL);
                            a_scale_row = q.blocks;
                        }
                        let (a_row, a_group, first) = (self.left.row, self.left.group, b == 0);
                        // Rows that lie apart come in many short runs, which processors do not foresee.
                        let apart = a_group == 4 && t + 1 < tiles;
                        let a_next = if apart { self.left.at(first_row + ROWS, g) } else { std::ptr::null() };
                        let (b, width, stream) = (right, PANEL, R::IN_PLACE && t == 0);
                        let tile = Tile { a, a_next, a_row, a_group, b, width, groups, acc, first, stream, a_scales, sums, a_scale_row };
                        if last {
                            self.finish.ahead((first_row, count), p * PANEL);
                        }
                        (self.tile)(count, &tile);
                        if last {
                            finish(self.isa, self.finish, acc, (first_row, count), (p * PANEL, cols));
                        }
                    }
                }
            }
        });
    }
}
