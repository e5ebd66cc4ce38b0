//! Cross-entropy straight from hidden states.

use crate::error::Result;
use crate::tape::Tape;
use crate::tensor::Tensor;
use crate::weights::Linear;

/// A token whose probability is wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// Row of the hidden states that predicts it.
    pub row: u32,
    /// The token.
    pub token: u32,
    /// Factor of `-log p` in the loss (usually 1 / number of trained tokens of the step); 0 gives no gradient.
    pub weight: f32,
}

impl Tape<'_> {
    /// `log p(token)` of each target under `softmax(head(hidden[row]))`, in the order of `targets`.
    ///
    /// Logits exist for a tile of rows at a time and never for rows without a target. In training mode the gradient
    /// of `Σ -weight·log p` is seeded into the tape (and the head's own gradient accumulated) in the same pass.
    /// Several targets may share a row.
    pub fn cross_entropy(&mut self, hidden: &Tensor, head: &Linear, targets: &[Target]) -> Result<Vec<f32>> {
        todo!()
    }
}
