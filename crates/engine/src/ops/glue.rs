//! Sums, selections of rows, dropout.

use crate::error::Result;
use crate::tape::Tape;
use crate::tensor::Tensor;

impl Tape<'_> {
    /// `a + b`.
    pub fn add(&mut self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        todo!()
    }

    /// Rows `rows[i]` of `x` (each may appear once, more than once or not at all).
    pub fn select_rows(&mut self, x: &Tensor, rows: &[u32]) -> Result<Tensor> {
        todo!()
    }

    /// Zeroes elements with probability `p` and scales the rest by `1/(1-p)`; the identity in inference and for
    /// `p = 0`. The mask is keyed by (seed, step, row, position, `module`, column).
    pub fn dropout(&mut self, x: &Tensor, p: f32, module: u64) -> Result<Tensor> {
        todo!()
    }
}
