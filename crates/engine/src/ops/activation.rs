//! Activation functions, plain and gated.

use super::{Columns, Op};
use crate::data::{Data, on};
use crate::error::{EngineError, Result, check};
use crate::tape::Tape;
use crate::tensor::{Tensor, View};
use kernels::activation::{self, Kind};
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
    /// If the views differ in shape or type.
    pub fn glu(&mut self, gate: View, up: View, f: Activation) -> Result<Tensor> {
        const OP: &str = "glu";
        Self::check_view(OP, &gate)?;
        Self::check_view(OP, &up)?;
        check(OP, "width of up", gate.width, up.width)?;
        check(OP, "rows of up", gate.tensor.rows, up.tensor.rows)?;
        let dtype = |v: &View| self.nodes[v.tensor.id as usize].dtype;
        if dtype(&gate) != dtype(&up) {
            return Err(EngineError::Invalid { op: OP, reason: "gate and up are of different types".into() });
        }
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

    /// A column range of a node's numbers as a matrix.
    fn columns<'d, T>(&self, data: &'d [T], c: Columns) -> Mat<'d, T> {
        let node = &self.nodes[c.id as usize];
        Mat::strided(&data[c.col.min(data.len())..], node.rows, c.width, node.cols)
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
        match (self.data(x.id), up.map(|up| (up, self.data(up.id)))) {
            (data, None) => on!(data, numbers => on!(y, y => activation::forward(y, self.columns(numbers, x), None, f.kind()))),
            (Data::F32(gate), Some((up, Data::F32(numbers)))) => {
                on!(y, y => activation::forward(y, self.columns(gate, x), Some(self.columns(numbers, up)), f.kind()));
            }
            (Data::Bf16(gate), Some((up, Data::Bf16(numbers)))) => {
                on!(y, y => activation::forward(y, self.columns(gate, x), Some(self.columns(numbers, up)), f.kind()));
            }
            _ => unreachable!("glu checked that both are of one type"),
        }
    }

    pub(crate) fn activation_backward(&mut self, x: u32, f: Activation, dy: &Data) {
        self.ensure_data(x);
        let (mut dx, update) = self.take_grad(x);
        let whole = self.whole(x);
        on!(&mut dx, dx => on!(dy, dy => on!(self.data(x), x => {
            activation::backward(dx, dy, self.columns(x, whole), f.kind(), update)
        })));
        self.put_grad(x, dx);
    }

    pub(crate) fn glu_backward(&mut self, gate: Columns, up: Columns, f: Activation, dy: &Data) {
        self.ensure_data(gate.id);
        self.ensure_data(up.id);
        if gate.id == up.id {
            return self.glu_backward_fused(gate, up, f, dy);
        }
        // Both gradients come out of one pass; one that nobody wants goes to a buffer that is thrown away.
        let take = |tape: &mut Self, c: Columns| {
            let node = &tape.nodes[c.id as usize];
            if !node.requires_grad {
                (Data::take(&tape.arena, node.dtype, node.rows * node.cols), Update::Set)
            } else if c.width == node.cols {
                tape.take_grad(c.id)
            } else {
                (tape.take_grad_zeroed(c.id), Update::Add)
            }
        };
        let (mut dg, mut gate_update) = take(self, gate);
        let (mut du, up_update) = take(self, up);
        if gate_update != up_update {
            let fresh = if gate_update == Update::Set { &mut dg } else { &mut du };
            fresh.zero();
            gate_update = Update::Add;
        }
        let rows = self.nodes[gate.id as usize].rows;
        let stride = |c: Columns| self.nodes[c.id as usize].cols;
        let (gate_from, up_from) = (gate.col.min(rows * stride(gate)), up.col.min(rows * stride(up)));
        macro_rules! run {
            ($dg:expr, $du:expr, $gate:expr, $up:expr) => {
                on!(dy, dy => activation::glu_backward(
                    MatMut::strided(&mut $dg[gate_from..], rows, gate.width, stride(gate)),
                    MatMut::strided(&mut $du[up_from..], rows, up.width, stride(up)),
                    dy,
                    self.columns($gate, gate),
                    self.columns($up, up),
                    f.kind(),
                    gate_update,
                ))
            };
        }
        match (&mut dg, &mut du, self.data(gate.id), self.data(up.id)) {
            (Data::F32(dg), Data::F32(du), Data::F32(g), Data::F32(u)) => run!(dg, du, g, u),
            (Data::Bf16(dg), Data::Bf16(du), Data::Bf16(g), Data::Bf16(u)) => run!(dg, du, g, u),
            _ => unreachable!("glu checked that both are of one type, and gradients follow"),
        }
        if self.requires_grad(gate.id) {
            self.put_grad(gate.id, dg);
        }
        if self.requires_grad(up.id) {
            self.put_grad(up.id, du);
        }
    }

    /// Both halves are columns of one node.
    fn glu_backward_fused(&mut self, gate: Columns, up: Columns, f: Activation, dy: &Data) {
        let cols = self.nodes[gate.id as usize].cols;
        let (mut d, mut update) = self.take_grad(gate.id);
        if update == Update::Set && cols != 2 * gate.width {
            d.zero();
            update = Update::Add;
        }
        on!(&mut d, d => on!(dy, dy => on!(self.data(gate.id), x => {
            let (g, u) = (self.columns(x, gate), self.columns(x, up));
            activation::glu_backward_fused(d, cols, gate.col, up.col, dy, g, u, f.kind(), update);
        })));
        self.put_grad(gate.id, d);
    }
}
