//! Activation functions, plain and gated.

use crate::error::Result;
use crate::tape::Tape;
use crate::tensor::{Tensor, View};

/// An element-wise non-linearity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x · σ(x)` (also "swish").
    Silu,
    /// `x · Φ(x)` with the error function (`gelu`).
    Gelu,
    /// The tanh approximation (`gelu_new`, `gelu_pytorch_tanh`).
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
}

impl Tape<'_> {
    /// `f(x)`. Recomputed in backward.
    pub fn activation(&mut self, x: &Tensor, f: Activation) -> Result<Tensor> {
        todo!()
    }

    /// `f(gate) ∘ up` (Shazeer 2020, arXiv:2002.05202). Recomputed in backward.
    pub fn glu(&mut self, gate: View, up: View, f: Activation) -> Result<Tensor> {
        todo!()
    }
}
