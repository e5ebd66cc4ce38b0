//! Activation functions, plain and gated.

use super::{Columns, Op};
use crate::data::{Data, Wide};
use crate::error::{Result, check};
use crate::tape::Tape;
use crate::tensor::{Tensor, View};
use kernels::activation::{self, Kind};
use kernels::elementwise;
use kernels::mat::{Mat, MatMut, Update};

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

impl Activation {
    fn kind(self) -> Kind {
        match self {
            Activation::Silu => Kind::Silu,
            Activation::Gelu => Kind::Gelu,
            Activation::GeluTanh => Kind::GeluTanh,
            Activation::Relu => Kind::Relu,
        }
    }
}

impl Tape<'_> {
    /// `f(x)`. Recomputed in backward.
    ///
    /// # Errors
    /// None at present.
    pub fn activation(&mut self, x: &Tensor, f: Activation) -> Result<Tensor> {
        self.sweep();
        let mut y = Data::take(&self.arena, self.nodes[x.id as usize].dtype, x.rows * x.cols);
        self.activation_into(&mut y, x.id, f);
        let requires_grad = self.requires_grad(x.id);
        if requires_grad {
            self.keep(x.id);
        }
        let keys = self.nodes[x.id as usize].keys;
        Ok(self.push(x.rows, x.cols, y, keys, requires_grad, Op::Activation { x: x.id, f }))
    }

    /// `f(gate) ∘ up` (Shazeer 2020, arXiv:2002.05202). Recomputed in backward.
    ///
    /// # Errors
    /// If the views differ in shape.
    pub fn glu(&mut self, gate: View, up: View, f: Activation) -> Result<Tensor> {
        const OP: &str = "glu";
        Self::check_view(OP, &gate)?;
        Self::check_view(OP, &up)?;
        check(OP, "width of up", gate.width, up.width)?;
        check(OP, "rows of up", gate.tensor.rows, up.tensor.rows)?;
        self.sweep();
        let (rows, cols) = (gate.tensor.rows, gate.width);
        let columns = |v: &View| Columns { id: v.tensor.id, col: v.col, width: v.width };
        let (gate, up) = (columns(&gate), columns(&up));
        let mut y = Data::take(&self.arena, self.nodes[gate.id as usize].dtype, rows * cols);
        self.glu_into(&mut y, gate, up, f);
        let requires_grad = self.requires_grad(gate.id) || self.requires_grad(up.id);
        if requires_grad {
            self.keep(gate.id);
            self.keep(up.id);
        }
        let keys = self.nodes[gate.id as usize].keys;
        Ok(self.push(rows, cols, y, keys, requires_grad, Op::Glu { gate, up, f }))
    }

    /// A column range of widened numbers as a matrix.
    fn columns<'w>(&self, wide: &'w Wide<'_>, c: Columns) -> Mat<'w> {
        let node = &self.nodes[c.id as usize];
        Mat::strided(&wide[c.col.min(wide.len())..], node.rows, c.width, node.cols)
    }

    fn whole(&self, id: u32) -> Columns {
        Columns { id, col: 0, width: self.nodes[id as usize].cols }
    }

    pub(crate) fn activation_into(&self, y: &mut Data, x: u32, f: Activation) {
        self.activated(y, self.whole(x), None, f);
    }

    pub(crate) fn glu_into(&self, y: &mut Data, gate: Columns, up: Columns, f: Activation) {
        self.activated(y, gate, Some(up), f);
    }

    fn activated(&self, y: &mut Data, x: Columns, up: Option<Columns>, f: Activation) {
        let wide_x = self.wide(x.id);
        let wide_up = up.map(|up| self.wide(up.id));
        let x = self.columns(&wide_x, x);
        let up = up.zip(wide_up.as_ref()).map(|(up, wide)| self.columns(wide, up));
        match y {
            Data::F32(y) => activation::forward(y, x, up, f.kind()),
            Data::Bf16(y) => {
                let mut wide = self.arena.take(y.len());
                activation::forward(&mut wide, x, up, f.kind());
                crate::data::narrow(y, &wide);
            }
        }
    }

    pub(crate) fn activation_backward(&mut self, x: u32, f: Activation, dy: &Data) {
        self.ensure_data(x);
        let (mut dx, update) = self.open_grad(x);
        let wide = self.wide(x);
        activation::backward(&mut dx, &dy.widen(&self.arena), self.columns(&wide, self.whole(x)), f.kind(), update);
        drop(wide);
        self.close_grad(x, dx);
    }

    pub(crate) fn glu_backward(&mut self, gate: Columns, up: Columns, f: Activation, dy: &Data) {
        self.ensure_data(gate.id);
        self.ensure_data(up.id);
        let arena = self.arena.clone();
        let dy = &dy.widen(&arena)[..];
        let stride = |tape: &Self, c: Columns| tape.nodes[c.id as usize].cols;
        if gate.id == up.id {
            let cols = stride(self, gate);
            let (mut d, mut update) = self.open_grad(gate.id);
            if update == Update::Set && cols != 2 * gate.width {
                elementwise::fill(&mut d, 0.0);
                update = Update::Add;
            }
            let wide = self.wide(gate.id);
            let (g, u) = (self.columns(&wide, gate), self.columns(&wide, up));
            activation::glu_backward_fused(&mut d, cols, gate.col, up.col, dy, g, u, f.kind(), update);
            drop(wide);
            self.close_grad(gate.id, d);
            return;
        }
        // Both gradients come out of one pass; one that nobody wants goes to a buffer that is thrown away.
        let take = |tape: &mut Self, c: Columns| {
            let node = &tape.nodes[c.id as usize];
            if !node.requires_grad {
                (tape.arena.take(node.rows * node.cols), Update::Set)
            } else if c.width == node.cols {
                tape.open_grad(c.id)
            } else {
                (tape.open_grad_zeroed(c.id), Update::Add)
            }
        };
        let (mut dg, mut gate_update) = take(self, gate);
        let (mut du, up_update) = take(self, up);
        if gate_update != up_update {
            elementwise::fill(if gate_update == Update::Set { &mut dg } else { &mut du }, 0.0);
            gate_update = Update::Add;
        }
        let rows = self.nodes[gate.id as usize].rows;
        let (gate_stride, up_stride) = (stride(self, gate), stride(self, up));
        let (gate_from, up_from) = (gate.col.min(dg.len()), up.col.min(du.len()));
        let (wide_gate, wide_up) = (self.wide(gate.id), self.wide(up.id));
        activation::glu_backward(
            MatMut::strided(&mut dg[gate_from..], rows, gate.width, gate_stride),
            MatMut::strided(&mut du[up_from..], rows, up.width, up_stride),
            dy,
            self.columns(&wide_gate, gate),
            self.columns(&wide_up, up),
            f.kind(),
            gate_update,
        );
        drop((wide_gate, wide_up));
        if self.requires_grad(gate.id) {
            self.close_grad(gate.id, dg);
        }
        if self.requires_grad(up.id) {
            self.close_grad(up.id, du);
        }
    }
}
