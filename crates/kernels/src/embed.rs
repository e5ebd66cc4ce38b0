//! The inner loop of word2vec and doc2vec with negative sampling (Mikolov et al. 2013): one hidden vector against a few rows of the
//! output matrix.
//!
//! Workers share the matrices without locks (Niu et al. 2011, "Hogwild!"): two that write one row at the same time may lose a part of
//! one update, which training by small random steps does not notice. With one worker nothing is lost and results repeat to the bit.
//! Relaxed atomics (two numbers in a word) would be the same moves, but the compiler does not gather them into vectors: measured with two
//! workers, CBOW fell from 2.5 to 1.0 and skip-gram from 0.97 to 0.69 million words a second.

use std::cell::UnsafeCell;

use crate::cpu::isa;
use crate::simd::{Simd, dispatch};

/// Floats of the widest vector: rows are padded to a multiple of it, so that loops need no tails.
const WIDEST: usize = 16;
/// Rows whose dot products are taken before the first of them is changed.
const TOGETHER: usize = 32;

/// A matrix that several workers read and write at the same time. Rows are padded with zeros, which stay zeros.
pub struct SharedRows {
    data: Box<[UnsafeCell<f32>]>,
    rows: usize,
    dim: usize,
    stride: usize,
}

// SAFETY: the elements are plain floats. Concurrent writers may overwrite each other's sums (see the module); no value is ever
// used as an address, an index or a length.
unsafe impl Sync for SharedRows {}

impl std::fmt::Debug for SharedRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SharedRows({} x {})", self.rows, self.dim)
    }
}

impl SharedRows {
    /// Zeros.
    pub fn zeros(rows: usize, dim: usize) -> Self {
        let stride = dim.next_multiple_of(WIDEST);
        let data = (0..rows * stride).map(|_| UnsafeCell::new(0.0)).collect();
        Self { data, rows, dim, stride }
    }

    /// From `rows × dim` numbers.
    ///
    /// # Panics
    /// If `values` is no whole number of rows.
    pub fn from_values(values: &[f32], dim: usize) -> Self {
        assert!(dim > 0 && values.len().is_multiple_of(dim), "rows of {dim} numbers out of {}", values.len());
        let mut out = Self::zeros(values.len() / dim, dim);
        for (i, row) in values.chunks_exact(dim).enumerate() {
            out.row_mut(i).copy_from_slice(row);
        }
        out
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Numbers of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Numbers of a row with its padding: the length of the buffers that the functions below take.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// One row, while nobody else has the matrix.
    pub fn row_mut(&mut self, row: usize) -> &mut [f32] {
        let start = row * self.stride;
        let cells = &mut self.data[start..start + self.dim];
        // SAFETY: `UnsafeCell<f32>` has the layout of `f32`, and the exclusive borrow of `self` rules out other users.
        unsafe { std::slice::from_raw_parts_mut(cells.as_mut_ptr().cast(), cells.len()) }
    }

    /// All rows without padding, as they are now: meant for when no worker is at them.
    pub fn values(&self) -> Vec<f32> {
        let mut out = Vec::with_capacity(self.rows * self.dim);
        for i in 0..self.rows {
            // SAFETY: in bounds; a float that a worker writes at the same time is read as it was or as it will be.
            out.extend(self.data[i * self.stride..][..self.dim].iter().map(|cell| unsafe { cell.get().read() }));
        }
        out
    }

    /// The start of a row, padding included.
    fn at(&self, row: u32) -> *mut f32 {
        let row = row as usize;
        assert!(row < self.rows, "row {row} of {}", self.rows);
        self.data[row * self.stride].get()
    }
}

/// `out = scale·Σ rows[indices]`.
///
/// # Panics
/// If an index is out of range or `out` is not [`SharedRows::stride`] long.
pub fn gather(rows: &SharedRows, indices: &[u32], scale: f32, out: &mut [f32]) {
    assert_eq!(out.len(), rows.stride);
    out.fill(0.0);
    for &i in indices {
        add_isa(isa(), out.as_mut_ptr(), rows.at(i), rows.stride, 1.0);
    }
    if scale != 1.0 {
        out.iter_mut().for_each(|v| *v *= scale);
    }
}

/// `rows[row] += scale·x`.
///
/// # Panics
/// If the row is out of range or `x` is not [`SharedRows::stride`] long.
pub fn add(rows: &SharedRows, row: u32, x: &[f32], scale: f32) {
    assert_eq!(x.len(), rows.stride);
    add_isa(isa(), rows.at(row), x.as_ptr(), rows.stride, scale);
}

/// `y += scale·x` over `n` elements, a multiple of [`WIDEST`].
#[inline(always)]
unsafe fn add_body<S: Simd>(y: *mut f32, x: *const f32, n: usize, scale: f32) {
    unsafe {
        let scale = S::splat(scale);
        let mut i = 0;
        while i < n {
            S::store(y.add(i), S::fma(scale, S::load(x.add(i)), S::load(y.add(i))));
            i += S::LANES;
        }
    }
}
dispatch!(fn add_isa = add_body(y: *mut f32, x: *const f32, n: usize, scale: f32));

/// One step: the row `targets[0]` of `output` should score high against `hidden`, the others low. Adds the step of `hidden` to
/// `error`, and with `learn` makes the rows' own steps.
///
/// # Panics
/// If a target is out of range, or `hidden` and `error` are not [`SharedRows::stride`] long.
pub fn step(output: &SharedRows, hidden: &[f32], error: &mut [f32], targets: &[u32], rate: f32, learn: bool) {
    assert!(hidden.len() == output.stride && error.len() == output.stride);
    for (chunk, targets) in targets.chunks(TOGETHER).enumerate() {
        let mut rows = [std::ptr::null_mut(); TOGETHER];
        rows.iter_mut().zip(targets).for_each(|(row, &t)| *row = output.at(t));
        let rows = &rows[..targets.len()];
        step_isa(isa(), rows, hidden, error, rate, if chunk == 0 { 1.0 } else { 0.0 }, learn);
    }
}

/// `rows` are all as long as `hidden` and `error`; `first` is the label of the first of them, the others' is 0.
#[inline(always)]
unsafe fn step_body<S: Simd>(rows: &[*mut f32], hidden: &[f32], error: &mut [f32], rate: f32, first: f32, learn: bool) {
    unsafe {
        let n = hidden.len();
        let (h, e) = (hidden.as_ptr(), error.as_mut_ptr());
        let mut gradients = [0.0f32; TOGETHER];
        for (g, &row) in gradients.iter_mut().zip(rows) {
            let (mut a, mut i) = (S::splat(0.0), 0);
            while i < n {
                a = S::fma(S::load(h.add(i)), S::load(row.add(i)), a);
                i += S::LANES;
            }
            *g = S::sum(a);
        }
        for (t, g) in gradients[..rows.len()].iter_mut().enumerate() {
            let label = if t == 0 { first } else { 0.0 };
            *g = (label - 1.0 / (1.0 + (-*g).exp())) * rate;
        }
        let mut i = 0;
        while i < n {
            let hv = S::load(h.add(i));
            let mut sum = S::load(e.add(i));
            for (g, &row) in gradients.iter().zip(rows) {
                let g = S::splat(*g);
                let o = S::load(row.add(i));
                sum = S::fma(g, o, sum);
                if learn {
                    S::store(row.add(i), S::fma(g, hv, o));
                }
            }
            S::store(e.add(i), sum);
            i += S::LANES;
        }
    }
}
dispatch!(fn step_isa =
    step_body(rows: &[*mut f32], hidden: &[f32], error: &mut [f32], rate: f32, first: f32, learn: bool));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// The same, written as the formulas are.
    fn slow(output: &mut [Vec<f32>], hidden: &[f32], error: &mut [f32], targets: &[u32], rate: f32, learn: bool) {
        for (t, &row) in targets.iter().enumerate() {
            let dot: f32 = output[row as usize].iter().zip(hidden).map(|(o, h)| o * h).sum();
            let g = (f32::from(u8::from(t == 0)) - 1.0 / (1.0 + (-dot).exp())) * rate;
            for i in 0..hidden.len() {
                error[i] += g * output[row as usize][i];
                if learn {
                    output[row as usize][i] += g * hidden[i];
                }
            }
        }
    }

    #[test]
    fn a_step_is_that_of_the_formulas() {
        let mut rng = Rng::keyed(1, &[]);
        for dim in [1, 7, 16, 100] {
            for (targets, learn) in [(vec![2u32, 0, 4], true), (vec![1], false), ((0..40).collect::<Vec<u32>>(), true)] {
                let values: Vec<f32> = (0..40 * dim).map(|_| rng.normal() * 0.3).collect();
                let mut output = SharedRows::from_values(&values, dim);
                let mut want: Vec<Vec<f32>> = values.chunks(dim).map(<[f32]>::to_vec).collect();
                let mut hidden = vec![0.0; output.stride()];
                (0..dim).for_each(|i| hidden[i] = rng.normal());
                let mut error = vec![0.0; output.stride()];
                let mut want_error = vec![0.0; dim];
                step(&output, &hidden, &mut error, &targets, 0.05, learn);
                slow(&mut want, &hidden[..dim], &mut want_error, &targets, 0.05, learn);
                let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
                assert!(near(&error, &want_error) && error[dim..].iter().all(|v| *v == 0.0), "{dim}");
                want.iter().enumerate().for_each(|(i, row)| assert!(near(output.row_mut(i), row), "{dim} row {i}"));
                let mut sum = vec![0.0; output.stride()];
                gather(&output, &[1, 3], 0.5, &mut sum);
                let both: Vec<f32> = want[1].iter().zip(&want[3]).map(|(a, b)| (a + b) * 0.5).collect();
                assert!(near(&sum, &both));
                add(&output, 5, &sum, 2.0);
                let moved: Vec<f32> = want[5].iter().zip(&both).map(|(a, b)| a + 2.0 * b).collect();
                assert!(near(output.row_mut(5), &moved));
            }
        }
    }
}
