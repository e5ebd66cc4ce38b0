//! Packed weights.

use crate::mat::{Mat, Mat16};
use half::bf16;
use rayon::prelude::*;

/// Outputs in a panel.
pub const PANEL: usize = 64;

/// Memory in cache lines.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u32; 16]);

/// Dwords that begin at a cache line.
struct Dwords(Vec<Line>);

impl Dwords {
    fn zeroed(len: usize) -> Self {
        Dwords(vec![Line([0; 16]); len.div_ceil(16)])
    }

    fn get(&self) -> &[u32] {
        // SAFETY: `Line` is 16 dwords without padding.
        unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), self.0.len() * 16) }
    }

    fn get_mut(&mut self) -> &mut [u32] {
        // SAFETY: as above, borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len() * 16) }
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
        panels.fill(|i, j| bf16::from_f32(w.row(i)[j]).to_bits());
        panels
    }

    /// Packs bf16 bits.
    pub fn from_bits(w: Mat16) -> Self {
        let mut panels = Self::zeroed(w.rows, w.cols);
        panels.fill(|i, j| w.data[i * w.stride + j]);
        panels
    }

    /// Packs other numbers of the same shape in place: `rows · cols` of them, row-major.
    ///
    /// # Panics
    /// If there are more or fewer.
    pub fn repack(&mut self, w: &[f32]) {
        assert_eq!(w.len(), self.rows * self.cols, "Bf16Panels::repack: number of elements");
        let cols = self.cols;
        self.fill(|i, j| bf16::from_f32(w[i * cols + j]).to_bits());
    }

    fn fill(&mut self, bits: impl Fn(usize, usize) -> u16 + Sync) {
        let (rows, cols) = (self.rows, self.cols);
        let panel = self.panel_len();
        if panel == 0 {
            return;
        }
        self.data.get_mut().par_chunks_mut(panel).enumerate().for_each(|(p, to)| {
            for (q, group) in to.chunks_mut(PANEL).enumerate() {
                for (j, dword) in group.iter_mut().enumerate().take((rows - p * PANEL).min(PANEL)) {
                    let low = bits(p * PANEL + j, 2 * q);
                    let high = if 2 * q + 1 < cols { bits(p * PANEL + j, 2 * q + 1) } else { 0 };
                    *dword = low as u32 | (high as u32) << 16;
                }
            }
        });
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
            out.par_chunks_mut(self.cols).enumerate().for_each(|(i, row)| self.copy_row(i, row));
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
}

impl I8Panels {
    /// Quantises and packs.
    pub fn new(w: Mat) -> Self {
        let data = Dwords::zeroed(w.rows.div_ceil(PANEL) * PANEL * w.cols.div_ceil(4));
        let mut panels = I8Panels { rows: w.rows, cols: w.cols, data, scales: vec![0.0; w.rows] };
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
        let panel = self.panel_len();
        if panel == 0 {
            return;
        }
        let tasks = self.data.get_mut().par_chunks_mut(panel).zip(self.scales.par_chunks_mut(PANEL)).enumerate();
        tasks.for_each(|(p, (to, scales))| {
            for (j, scale) in scales.iter_mut().enumerate() {
                let row = w.row(p * PANEL + j);
                *scale = row.iter().fold(0.0f32, |m, x| m.max(x.abs())) / 127.0;
                let inverse = if *scale > 0.0 { 1.0 / *scale } else { 0.0 };
                for (q, four) in row.chunks(4).enumerate() {
                    let mut bytes = [0u8; 4];
                    for (b, x) in bytes.iter_mut().zip(four) {
                        *b = (x * inverse).round_ties_even() as i8 as u8;
                    }
                    to[q * PANEL + j] = u32::from_le_bytes(bytes);
                }
            }
        });
    }

    #[allow(dead_code)] // for the int8 kernels
    /// The packed dwords.
    pub(super) fn data(&self) -> &[u32] {
        self.data.get()
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
        size_of_val(self.data.get()) + size_of_val(&self.scales[..])
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
            out.par_chunks_mut(self.cols).enumerate().for_each(|(i, row)| self.copy_row(i, row));
        }
        out
    }
}
