//! Packed weights.

use super::run::with_scratch;
use super::{int8, turn};
use crate::cpu::{bf16_path, isa};
use crate::mat::{Acts, Mat, Mat16};
use crate::memory::Bytes;
use crate::par::{self, Shared};

/// Outputs in a panel.
pub const PANEL: usize = 64;

/// Dwords that begin at a cache line.
struct Dwords(Bytes);

impl Dwords {
    fn zeroed(len: usize) -> Self {
        Dwords(Bytes::zeroed(4 * len))
    }

    fn get(&self) -> &[u32] {
        let bytes = self.0.get();
        // SAFETY: aligned to cache lines; any bits are a value.
        unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len() / 4) }
    }

    fn get_mut(&mut self) -> &mut [u32] {
        let bytes = self.0.get_mut();
        // SAFETY: as above, borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len() / 4) }
    }
}

/// A weight `[rows = outputs, cols = inputs]` in bf16, packed: `[rows / 64][cols / 2][64 outputs][2 inputs]`, zeros
/// beyond its borders.
pub struct Bf16Panels {
    rows: usize,
    cols: usize,
    data: Dwords,
}

impl Bf16Panels {
    fn zeroed(rows: usize, cols: usize) -> Self {
        Bf16Panels { rows, cols, data: Dwords::zeroed(rows.div_ceil(PANEL) * PANEL * cols.div_ceil(2)) }
    }

    /// Rounds (to nearest, ties to even) and packs.
    pub fn new(w: Mat) -> Self {
        let mut panels = Self::zeroed(w.rows, w.cols);
        panels.fill(Acts::F32(w));
        panels
    }

    /// Packs bf16 bits.
    pub fn from_bits(w: Mat16) -> Self {
        let mut panels = Self::zeroed(w.rows, w.cols);
        panels.fill(Acts::Bf16(w));
        panels
    }

    /// Packs other numbers of the same shape in place: `rows · cols` of them, row-major.
    ///
    /// # Panics
    /// If there are more or fewer.
    pub fn repack(&mut self, w: &[f32]) {
        assert_eq!(w.len(), self.rows * self.cols, "Bf16Panels::repack: number of elements");
        self.fill(Acts::F32(Mat::new(w, self.rows, self.cols)));
    }

    fn fill(&mut self, w: Acts) {
        let (panel, groups) = (self.panel_len(), self.cols.div_ceil(2));
        let panels = self.rows.div_ceil(PANEL);
        let to = Shared::new(self.data.get_mut());
        par::ranges(panels, 1, |first, count| {
            for p in first..first + count {
                // SAFETY: panel `p`, which is this task's.
                unsafe { turn::columns(bf16_path(), w, 0, groups, p * PANEL, PANEL, to.slice(p * panel, panel).as_mut_ptr()) }
            }
        });
    }

    /// What a product reads, in the order in which it begins to.
    pub fn stream(&self) -> &[u8] {
        self.data.0.get()
    }

    /// The packed dwords.
    pub(super) fn data(&self) -> &[u32] {
        self.data.get()
    }

    /// Dwords in a panel.
    pub(super) fn panel_len(&self) -> usize {
        self.cols.div_ceil(2) * PANEL
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
        size_of_val(self.data.get())
    }

    /// Widens row `i` into `out`.
    ///
    /// # Panics
    /// If there is no such row or `out` is not as long as one.
    pub fn copy_row(&self, i: usize, out: &mut [f32]) {
        assert!(i < self.rows && out.len() == self.cols, "Bf16Panels::copy_row: row {i} of {} into {}", self.rows, out.len());
        let panel = &self.data.get()[i / PANEL * self.panel_len()..];
        for (j, out) in out.iter_mut().enumerate() {
            *out = f32::from_bits(panel[j / 2 * PANEL + i % PANEL] >> (16 * (j % 2)) << 16);
        }
    }

    /// All numbers, row-major.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.rows * self.cols];
        if self.cols > 0 {
            out.chunks_mut(self.cols).enumerate().for_each(|(i, row)| self.copy_row(i, row));
        }
        out
    }
}

/// A weight `[rows = outputs, cols = inputs]` in int8, each row divided by its scale (its largest magnitude / 127),
/// packed: `[rows / 64][cols / 4][64 outputs][4 inputs]`, zeros beyond its borders.
pub struct I8Panels {
    rows: usize,
    cols: usize,
    data: Dwords,
    scales: Vec<f32>,
    /// 128 times the sums of each output's numbers, `[panels][blocks of inputs][PANEL]`.
    sums: Vec<i32>,
    /// 128 times the sums of each input's numbers, `[panels of inputs][blocks of outputs][PANEL]`.
    turned_sums: Vec<i32>,
}

impl I8Panels {
    /// Quantises and packs.
    pub fn new(w: Mat) -> Self {
        let (panels, fours) = (w.rows.div_ceil(PANEL), w.cols.div_ceil(4));
        let sums = |of: usize, over: usize| vec![0; of.div_ceil(PANEL) * int8::blocks(over.div_ceil(4)) * PANEL];
        let mut panels = I8Panels {
            rows: w.rows,
            cols: w.cols,
            data: Dwords::zeroed(panels * PANEL * fours),
            scales: vec![0.0; w.rows],
            sums: sums(w.rows, w.cols),
            turned_sums: sums(w.cols, w.rows),
        };
        panels.fill(w);
        panels
    }

    /// Quantises and packs other numbers of the same shape in place: `rows · cols` of them, row-major.
    ///
    /// # Panics
    /// If there are more or fewer.
    pub fn repack(&mut self, w: &[f32]) {
        assert_eq!(w.len(), self.rows * self.cols, "I8Panels::repack: number of elements");
        self.fill(Mat::new(w, self.rows, self.cols));
    }

    fn fill(&mut self, w: Mat) {
        let (rows, panel, fours) = (self.rows, self.panel_len(), self.cols.div_ceil(4));
        let (block, blocks) = (int8::block(fours).max(1), int8::blocks(fours));
        let (data, scales) = (Shared::new(self.data.get_mut()), Shared::new(&mut self.scales[..]));
        let sums = Shared::new(&mut self.sums[..]);
        par::ranges(rows.div_ceil(PANEL), 1, |first, count| {
            for p in first..first + count {
                let height = PANEL.min(rows - p * PANEL);
                // SAFETY: panel `p`, which is this task's; the scratch has room for a row.
                let (to, scales, sums) = unsafe {
                    (data.slice(p * panel, panel), scales.slice(p * PANEL, height), sums.slice(p * blocks * PANEL, blocks * PANEL))
                };
                with_scratch(fours, |row| {
                    // SAFETY: as above.
                    let row = unsafe { std::slice::from_raw_parts_mut(row, fours) };
                    for (j, scale) in scales.iter_mut().enumerate() {
                        *scale = int8::quantise(isa(), w.row(p * PANEL + j), None, row);
                        for (q, four) in row.iter().enumerate() {
                            to[q * PANEL + j] = four ^ 0x8080_8080;
                        }
                        for (b, four) in row.chunks(block).enumerate() {
                            let sum = |four: &u32| four.to_le_bytes().iter().map(|&x| x as i32 - 128).sum::<i32>();
                            sums[b * PANEL + j] = 128 * four.iter().map(sum).sum::<i32>();
                        }
                    }
                });
            }
        });
        self.fill_turned_sums();
    }

    fn fill_turned_sums(&mut self) {
        let (rows, panel, fours) = (self.rows, self.panel_len(), self.cols.div_ceil(4));
        let (block, blocks) = (4 * int8::block(rows.div_ceil(4)).max(1), int8::blocks(rows.div_ceil(4)));
        let (data, sums) = (self.data.get(), Shared::new(&mut self.turned_sums[..]));
        par::ranges(fours.div_ceil(PANEL / 4), 1, |first, count| {
            for p in first..first + count {
                // SAFETY: this task's panel of inputs.
                let sums = unsafe { sums.slice(p * blocks * PANEL, blocks * PANEL) };
                sums.fill(0);
                for i in (0..rows).step_by(PANEL) {
                    // A block is whole panels, or everything.
                    let sums = &mut sums[i / block * PANEL..][..PANEL];
                    for q in 0..(PANEL / 4).min(fours - p * PANEL / 4) {
                        let from = &data[i / PANEL * panel + (p * PANEL / 4 + q) * PANEL..][..PANEL];
                        for four in from {
                            for (sum, byte) in sums[4 * q..].iter_mut().zip(four.to_le_bytes()) {
                                *sum += 128 * (byte as i8 as i32);
                            }
                        }
                    }
                }
            }
        });
    }

    /// What a product reads, in the order in which it begins to.
    pub fn stream(&self) -> &[u8] {
        self.data.0.get()
    }

    /// The packed dwords.
    pub(super) fn data(&self) -> &[u32] {
        self.data.get()
    }

    /// Scales of the rows.
    pub(super) fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// See the field.
    pub(super) fn sums(&self) -> &[i32] {
        &self.sums
    }

    /// See the field.
    pub(super) fn turned_sums(&self) -> &[i32] {
        &self.turned_sums
    }

    /// Dwords in a panel.
    pub(super) fn panel_len(&self) -> usize {
        self.cols.div_ceil(4) * PANEL
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
        size_of_val(self.data.get()) + 4 * (self.scales.len() + self.sums.len() + self.turned_sums.len())
    }

    /// Row `i`'s numbers (rounded to multiples of its scale) into `out`.
    ///
    /// # Panics
    /// If there is no such row or `out` is not as long as one.
    pub fn copy_row(&self, i: usize, out: &mut [f32]) {
        assert!(i < self.rows && out.len() == self.cols, "I8Panels::copy_row: row {i} of {} into {}", self.rows, out.len());
        let panel = &self.data.get()[i / PANEL * self.panel_len()..];
        for (j, out) in out.iter_mut().enumerate() {
            *out = panel[j / 4 * PANEL + i % PANEL].to_le_bytes()[j % 4] as i8 as f32 * self.scales[i];
        }
    }

    /// All numbers, row-major.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.rows * self.cols];
        if self.cols > 0 {
            out.chunks_mut(self.cols).enumerate().for_each(|(i, row)| self.copy_row(i, row));
        }
        out
    }
}
