//! Linear layers with bias and low-rank branch.

use crate::error::Result;
use crate::tape::Tape;
use crate::tensor::Tensor;
use crate::weights::Linear;

impl Tape<'_> {
    /// `x·Wᵀ + bias + scale·(dropout(x)·Aᵀ)·Bᵀ`.
    pub fn linear(&mut self, x: &Tensor, layer: &Linear) -> Result<Tensor> {
        todo!()
    }

    /// `residual + linear(x)` in one pass over the output.
    pub fn linear_add(&mut self, x: &Tensor, layer: &Linear, residual: &Tensor) -> Result<Tensor> {
        todo!()
    }
}
