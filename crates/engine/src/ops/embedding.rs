//! Rows of a table.

use crate::error::Result;
use crate::tape::Tape;
use crate::tensor::Tensor;
use crate::weights::Matrix;

impl Tape<'_> {
    /// Row `ids[i]` of `table` in row `i` (token embeddings, learned positions).
    pub fn embedding(&mut self, table: &Matrix, ids: &[u32]) -> Result<Tensor> {
        todo!()
    }
}
