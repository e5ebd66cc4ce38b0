//! Rows of a table.

use super::Op;
use crate::data::{Data, Dtype, on};
use crate::error::{EngineError, Result};
use crate::params::ParamId;
use crate::tape::Tape;
use crate::tensor::Tensor;
use crate::weights::Matrix;
use kernels::elementwise;
use kernels::pool::Buffer;

impl Tape<'_> {
    /// Row `ids[i]` of `table` in row `i` (token embeddings, learned positions).
    ///
    /// # Errors
    /// If an id is not a row of the table.
    pub fn embedding(&mut self, table: &Matrix, ids: &[u32]) -> Result<Tensor> {
        const OP: &str = "embedding";
        let (rows, cols) = table.shape(self.params());
        if let Some(&id) = ids.iter().find(|&&id| id as usize >= rows) {
            return Err(EngineError::Index { op: OP, what: "row", index: id as usize, len: rows });
        }
        self.sweep();
        let mut y = self.arena.take(ids.len() * cols);
        table.gather_rows(self.params.store(), ids, &mut y);
        if self.compute.activations() == Dtype::Bf16 && table.f32(self.params.store()).is_some() {
            // A table kept in f32 (a master) gives the rows that it will give once it is packed.
            let mut rounded: Buffer<u16> = self.arena.take(y.len());
            elementwise::cast(&mut rounded, &y);
            elementwise::cast(&mut y, &rounded);
        }
        let trained = table.param().filter(|_| self.training);
        let op = trained.map_or(Op::None, |table| Op::Embedding { table, ids: ids.to_vec() });
        Ok(self.push(ids.len(), cols, y, 0, trained.is_some(), op))
    }

    pub(crate) fn embedding_backward(&mut self, table: ParamId, ids: &[u32], dy: &Data) {
        let param = self.params.store_mut().receiver(table);
        let cols = param.shape.get(1).copied().unwrap_or(1);
        on!(dy, dy => elementwise::scatter_add_rows(&mut param.grad, dy, cols, ids));
        param.received = true;
    }
}
