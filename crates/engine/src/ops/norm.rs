//! RMSNorm and LayerNorm.

use crate::error::Result;
use crate::tape::Tape;
use crate::tensor::Tensor;
use crate::weights::Norm;

impl Tape<'_> {
    /// Normalises each row. Recomputed in backward.
    pub fn norm(&mut self, x: &Tensor, norm: &Norm) -> Result<Tensor> {
        todo!()
    }
}
