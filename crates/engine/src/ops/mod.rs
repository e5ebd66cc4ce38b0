//! The operations: one file each, forward and backward side by side.
//!
//! Adding one: a variant of [`Op`] with what its backward needs, a `Tape` method that computes, marks the inputs that
//! backward reads (`keep`) and pushes, and an arm in `backward_of`. An operation without backward does not compile
//! into the tape.

mod activation;
pub mod attention;
mod embedding;
mod glue;
pub(crate) mod linear;
mod linear_f32;
mod linear_groups;
mod linear_packed;
pub mod loss;
mod norm;

use crate::data::Data;
use crate::params::ParamId;
use crate::segments::Segments;
use crate::tape::Tape;
use crate::weights::{Linear, Norm};
pub use activation::Activation;
use attention::AttentionSpec;
use kernels::pool::Buffer;
use std::rc::Rc;
use std::sync::Arc;

/// A column range of a node.
#[derive(Clone, Copy)]
pub(crate) struct Columns {
    pub(crate) id: u32,
    pub(crate) col: usize,
    pub(crate) width: usize,
}

/// What a node remembers of how it came about. Buffers in here are saved for backward.
pub(crate) enum Op {
    /// A constant, or nothing to remember.
    None,
    Embedding {
        table: ParamId,
        ids: Vec<u32>,
    },
    Linear {
        x: u32,
        layer: Linear,
        u: Option<Buffer>,
        residual: Option<u32>,
    },
    Norm {
        x: u32,
        norm: Norm,
    },
    Attention {
        q: Columns,
        k: Columns,
        v: Columns,
        spec: AttentionSpec,
        segments: Arc<Segments>,
        lse: Buffer,
    },
    Activation {
        x: u32,
        f: Activation,
    },
    Glu {
        gate: Columns,
        up: Columns,
        f: Activation,
    },
    Add {
        a: u32,
        b: u32,
    },
    SelectRows {
        x: u32,
        rows: Vec<u32>,
    },
    Dropout {
        x: u32,
        p: f32,
        module: u64,
    },
}

impl Op {
    /// The inputs of an operation that is cheaper to compute again than to remember.
    pub(crate) fn cheap_inputs(&self) -> Option<[Option<u32>; 2]> {
        match self {
            Op::Norm { x, .. } | Op::Activation { x, .. } => Some([Some(*x), None]),
            Op::Glu { gate, up, .. } => Some([Some(gate.id), Some(up.id)]),
            _ => None,
        }
    }
}

impl Tape<'_> {
    /// Passes `grad`, the gradient of node `id`, to the inputs and parameters of `op`.
    pub(crate) fn backward_of(&mut self, id: u32, op: Op, grad: Rc<Data>) {
        let dy = &*grad;
        match op {
            Op::None => {}
            Op::Add { a, b } => {
                self.pass_grad(a, &grad);
                self.pass_grad(b, &grad);
            }
            Op::Embedding { table, ids } => self.embedding_backward(table, &ids, dy),
            Op::Linear { x, layer, u, residual } => {
                self.linear_op_backward(x, &layer, u.as_deref(), dy);
                if let Some(residual) = residual {
                    self.pass_grad(residual, &grad);
                }
            }
            Op::Norm { x, norm } => self.norm_backward(x, &norm, dy),
            Op::Attention { q, k, v, spec, segments, lse } => {
                self.attention_backward(id, (q, k, v), &spec, &segments, &lse, dy);
            }
            Op::Activation { x, f } => self.activation_backward(x, f, dy),
            Op::Glu { gate, up, f } => self.glu_backward(gate, up, f, dy),
            Op::SelectRows { x, rows } => self.select_rows_backward(x, &rows, dy),
            Op::Dropout { x, p, module } => self.dropout_backward(x, p, module, dy),
        }
    }

    /// Computes the numbers of node `id` again; its inputs are present.
    pub(crate) fn recompute_op(&mut self, id: u32, op: &Op) -> Data {
        let node = &self.nodes[id as usize];
        let mut y = Data::take(&self.arena, node.dtype, node.rows * node.cols);
        match op {
            Op::Norm { x, norm } => self.norm_into(&mut y, *x, norm),
            Op::Activation { x, f } => self.activation_into(&mut y, *x, *f),
            Op::Glu { gate, up, f } => self.glu_into(&mut y, *gate, *up, *f),
            _ => unreachable!("only operations with cheap inputs are recomputed"),
        }
        y
    }
}
