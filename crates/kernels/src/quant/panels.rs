//! The layout of weights.
//!
//! A panel is 32 outputs, one group of 32 inputs after the other, so that a product reads it from front to back. A group
//! is: 32 scales (f16), 32 minima (f16, only `Q4_1`), then the numbers in dwords, `[step][output]`. A dword holds four
//! neighbouring inputs of one output, one a byte; with 4 bits two such quadruples, inputs `4s..` in the low nibbles and `16 + 4s..`
//! in the high ones, which is how GGUF's blocks have them too. Signed bytes are stored 128 higher, because the int8 dot product
//! takes one operand without sign.

use super::{Format, GROUP, PANEL};
use crate::memory::Bytes;
use crate::par::Shared;
use crate::team;
use half::f16;

/// A weight `[rows = outputs, cols = inputs]` in groups of 32 inputs, zeros beyond its last row.
pub struct QuantPanels {
    format: Format,
    rows: usize,
    cols: usize,
    data: Bytes,
}

impl QuantPanels {
    /// Packs the blocks of a GGUF tensor; output `i` is row `row(i)` of the file's.
    ///
    /// # Panics
    /// If the columns are not whole groups, or `blocks` is not `rows · cols` numbers long, or there is no such row.
    pub fn new(format: Format, rows: usize, cols: usize, blocks: &[u8], row: impl Fn(usize) -> usize + Sync) -> Self {
        let groups = cols / GROUP;
        let row_bytes = groups * format.block_bytes();
        assert!(cols.is_multiple_of(GROUP), "QuantPanels: rows of {cols} numbers");
        assert_eq!(blocks.len(), rows * row_bytes, "QuantPanels: bytes of {rows} x {cols} numbers");
        let len = groups * format.panel_bytes();
        let mut data = Bytes::zeroed(rows.div_ceil(PANEL) * len);
        let to = Shared::new(data.get_mut());
        team::run(if len == 0 { 0 } else { rows.div_ceil(PANEL) }, |p| {
            // SAFETY: panels are disjoint and in bounds.
            let panel = unsafe { to.slice(p * len, len) };
            for j in 0..PANEL.min(rows - p * PANEL) {
                let from = &blocks[row(p * PANEL + j) * row_bytes..][..row_bytes];
                match format {
                    Format::Q4_0 => pack::<18, 2>(panel, from, j, 0),
                    Format::Q4_1 => pack::<20, 4>(panel, from, j, 0),
                    Format::Q8_0 => pack::<34, 2>(panel, from, j, 0x8080_8080),
                }
            }
        });
        QuantPanels { format, rows, cols, data }
    }

    /// How numbers are stored.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Number of outputs.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of inputs.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.data.get().len()
    }

    /// What a product reads, in the order in which it begins to.
    pub fn stream(&self) -> &[u8] {
        self.data.get()
    }

    /// Number of panels.
    pub(super) fn panels(&self) -> usize {
        self.rows.div_ceil(PANEL)
    }

    /// Bytes of a panel.
    pub(super) fn panel_len(&self) -> usize {
        self.cols / GROUP * self.format.panel_bytes()
    }

    /// Panel `p`; outputs beyond the last have scale zero.
    pub(super) fn panel(&self, p: usize) -> &[u8] {
        &self.data.get()[p * self.panel_len()..][..self.panel_len()]
    }

    /// Row `i`, as the file's blocks are defined (`d·q + m`, every operation rounded to f32), into `out`.
    ///
    /// # Panics
    /// If there is no such row or `out` is not as long as one.
    pub fn copy_row(&self, i: usize, out: &mut [f32]) {
        assert!(i < self.rows && out.len() == self.cols, "QuantPanels::copy_row: row {i} of {} into {}", self.rows, out.len());
        let (panel, j) = (self.panel(i / PANEL), i % PANEL);
        let half = |group: &[u8], at: usize| f16::from_le_bytes([group[2 * at], group[2 * at + 1]]).to_f32();
        for (group, out) in panel.chunks_exact(self.format.panel_bytes()).zip(out.as_chunks_mut::<GROUP>().0) {
            let d = half(group, j);
            match self.format {
                Format::Q4_0 => nibbles(&group[2 * PANEL..], j, out, |q| d * (q as f32 - 8.0)),
                Format::Q4_1 => {
                    let m = half(group, PANEL + j);
                    nibbles(&group[4 * PANEL..], j, out, |q| d * q as f32 + m);
                }
                Format::Q8_0 => {
                    for (i, out) in out.iter_mut().enumerate() {
                        *out = d * (group[2 * PANEL..][i / 4 * 4 * PANEL + 4 * j + i % 4] as f32 - 128.0);
                    }
                }
            }
        }
    }

    /// All numbers, row-major.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.rows * self.cols];
        let (to, cols) = (Shared::new(&mut out), self.cols);
        crate::par::ranges(self.rows, crate::par::rows_per_task(cols), |first, count| {
            for i in first..first + count {
                // SAFETY: rows are disjoint and in bounds.
                self.copy_row(i, unsafe { to.slice(i * cols, cols) });
            }
        });
        out
    }
}

/// Moves a row's blocks of `B` bytes, of which `H` are scale and minimum, to output `j` of a panel.
#[inline(always)]
fn pack<const B: usize, const H: usize>(panel: &mut [u8], row: &[u8], j: usize, flip: u32) {
    for (group, block) in panel.chunks_exact_mut(PANEL * B).zip(row.as_chunks::<B>().0) {
        for h in 0..H / 2 {
            group[2 * (h * PANEL + j)..][..2].copy_from_slice(&block[2 * h..][..2]);
        }
        let numbers = &mut group[PANEL * H..];
        for (step, four) in block[H..].as_chunks::<4>().0.iter().enumerate() {
            let four = u32::from_le_bytes(*four) ^ flip;
            numbers[4 * (step * PANEL + j)..][..4].copy_from_slice(&four.to_le_bytes());
        }
    }
}

/// The numbers of output `j` in a group of nibbles.
fn nibbles(numbers: &[u8], j: usize, out: &mut [f32; GROUP], value: impl Fn(u8) -> f32) {
    for i in 0..GROUP / 2 {
        let byte = numbers[i / 4 * 4 * PANEL + 4 * j + i % 4];
        out[i] = value(byte & 15);
        out[16 + i] = value(byte >> 4);
    }
}
