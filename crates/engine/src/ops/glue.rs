//! Sums, selections of rows, dropout.

use super::Op;
use crate::data::{Data, on};
use crate::error::{EngineError, Result, check};
use crate::tape::Tape;
use crate::tensor::Tensor;
use kernels::mat::Update;
use kernels::{dropout, elementwise};

impl Tape<'_> {
    /// `a + b`.
    ///
    /// # Errors
    /// If the shapes differ.
    pub fn add(&mut self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        check("add", "rows", a.rows, b.rows)?;
        check("add", "columns", a.cols, b.cols)?;
        self.sweep();
        let mut y = self.arena.take(a.rows * a.cols);
        on!(self.data(a.id), a => on!(self.data(b.id), b => elementwise::add(&mut y, a, b)));
        let requires_grad = self.requires_grad(a.id) || self.requires_grad(b.id);
        let keys = self.nodes[a.id as usize].keys;
        Ok(self.push(a.rows, a.cols, y, keys, requires_grad, Op::Add { a: a.id, b: b.id }))
    }

    /// Rows `rows[i]` of `x` (each may appear once, more than once or not at all).
    ///
    /// # Errors
    /// If a row does not exist.
    pub fn select_rows(&mut self, x: &Tensor, rows: &[u32]) -> Result<Tensor> {
        const OP: &str = "select_rows";
        if let Some(&row) = rows.iter().find(|&&r| r as usize >= x.rows) {
            return Err(EngineError::Index { op: OP, what: "row", index: row as usize, len: x.rows });
        }
        self.sweep();
        let y = self.gathered(x.id, rows);
        let requires_grad = self.requires_grad(x.id);
        let keys = self.select_keys(self.nodes[x.id as usize].keys, rows, x.rows);
        let op = if requires_grad { Op::SelectRows { x: x.id, rows: rows.to_vec() } } else { Op::None };
        Ok(self.push(rows.len(), x.cols, y, keys, requires_grad, op))
    }

    /// Copies of rows of a node.
    pub(crate) fn gathered(&self, x: u32, rows: &[u32]) -> Data {
        let cols = self.nodes[x as usize].cols;
        let mut y = Data::take(&self.arena, self.nodes[x as usize].dtype, rows.len() * cols);
        on!(&mut y, y => on!(self.data(x), x => elementwise::gather_rows(y, x, cols, rows)));
        y
    }

    pub(crate) fn select_rows_backward(&mut self, x: u32, rows: &[u32], dy: &Data) {
        let cols = self.nodes[x as usize].cols;
        let mut dx = self.take_grad_zeroed(x);
        on!(&mut dx, dx => on!(dy, dy => elementwise::scatter_add_rows(dx, dy, cols, rows)));
        self.put_grad(x, dx);
    }

    /// Zeroes elements with probability `p` and scales the rest by `1/(1-p)`; the identity in inference and for
    /// `p = 0`. The mask is keyed by (seed, step, row, position, `module`, column).
    ///
    /// # Errors
    /// If `p` is not in `[0, 1)` or the tape was given no keys for the tokens.
    pub fn dropout(&mut self, x: &Tensor, p: f32, module: u64) -> Result<Tensor> {
        const OP: &str = "dropout";
        if !self.training || p == 0.0 {
            return Ok(x.clone());
        }
        check_probability(OP, p)?;
        self.sweep();
        let keys = self.nodes[x.id as usize].keys;
        let masks = self.mask_keys(OP, keys, x.rows, module)?;
        let mut y = self.arena.take(x.rows * x.cols);
        on!(self.data(x.id), numbers => dropout::apply(&mut y, numbers, x.cols, &masks, p, Update::Set));
        let requires_grad = self.requires_grad(x.id);
        Ok(self.push(x.rows, x.cols, y, keys, requires_grad, Op::Dropout { x: x.id, p, module }))
    }

    pub(crate) fn dropout_backward(&mut self, x: u32, p: f32, module: u64, dy: &Data) {
        let node = &self.nodes[x as usize];
        let (rows, cols, keys) = (node.rows, node.cols, node.keys);
        let masks = self.mask_keys("dropout", keys, rows, module).expect("forward found a key for each token");
        let (mut dx, update) = self.take_grad(x);
        on!(&mut dx, dx => on!(dy, dy => dropout::apply(dx, dy, cols, &masks, p, update)));
        self.put_grad(x, dx);
    }
}

/// Errors unless `p` is a probability below one.
pub(super) fn check_probability(op: &'static str, p: f32) -> Result<()> {
    if (0.0..1.0).contains(&p) {
        return Ok(());
    }
    Err(EngineError::Invalid { op, reason: format!("a dropout probability is in [0, 1), this one is {p}") })
}
