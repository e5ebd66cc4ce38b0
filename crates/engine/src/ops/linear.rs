//! Linear layers with bias and low-rank branch.
//!
//! The branch is part of the operation: `y` starts as `scale·u·Bᵀ` (with `u = dropout(x)·Aᵀ`, `rank` numbers a token,
//! saved), and the large product is added to it. Backward needs `x`, which is usually recomputed from a norm, and `u`.

use super::Op;
use super::glue::check_probability;
use crate::error::{Result, check};
use crate::params::ParamStore;
use crate::tape::{Params, Tape};
use crate::tensor::Tensor;
use crate::weights::{Linear, Lora};
use kernels::mat::{Mat, MatMut, Update};
use kernels::matmul::{matmul_nn, matmul_nt, matmul_tn};
use kernels::pool::{Arena, Buffer};
use kernels::{dropout, elementwise, lowrank};

/// Ranks up to this run on the kernels for short sides.
const SHORT: usize = 32;
/// Rows up to this are multiplied by dot products, which read the weight once as it lies: below this, packing it into
/// panels costs more than it gains (measured; at one row everything waits for memory anyway).
const FEW: usize = 48;

/// A linear layer's shape and dropout keys, checked.
pub(crate) struct Call<'l> {
    pub(crate) layer: &'l Linear,
    pub(crate) rows: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// Keys of the rows' dropout masks, if the branch has dropout and this is training.
    pub(crate) masks: Option<Vec<u64>>,
}

fn product_nt(y: MatMut, x: Mat, w: Mat, rows: usize, update: Update) {
    if rows <= FEW {
        lowrank::dots(y, x, w, 1.0, update);
    } else {
        matmul_nt(y, x, w, 1.0, update);
    }
}

impl Call<'_> {
    fn rank(&self, store: &ParamStore, lora: &Lora) -> usize {
        store.get(lora.a).shape[0]
    }

    /// `x` as the branch sees it: itself, or a masked copy.
    fn branch_input<'x>(&self, arena: &Arena, x: &'x [f32], lora: &Lora) -> Masked<'x> {
        match &self.masks {
            None => Masked::Same(x),
            Some(keys) => {
                let mut masked = arena.take(x.len());
                dropout::apply(&mut masked, x, self.inputs, keys, lora.dropout, Update::Set);
                Masked::Copy(masked)
            }
        }
    }

    /// Writes `y` (adding to it if it holds a residual) and returns `u` of the branch.
    pub(crate) fn forward(&self, y: &mut [f32], x: &[f32], store: &ParamStore, arena: &Arena, mut update: Update) -> Option<Buffer> {
        let (t, n, k) = (self.rows, self.outputs, self.inputs);
        let mut saved = None;
        if let Some(lora) = &self.layer.lora {
            let r = self.rank(store, lora);
            let branch = self.branch_input(arena, x, lora);
            let mut u = arena.take(t * r);
            let (um, xm) = (MatMut::new(&mut u, t, r), Mat::new(branch.get(), t, k));
            let a = Mat::new(&store.get(lora.a).value, r, k);
            if r <= SHORT {
                lowrank::dots(um, xm, a, 1.0, Update::Set)
            } else {
                matmul_nt(um, xm, a, 1.0, Update::Set)
            }
            if r <= SHORT {
                let mut bt = arena.take(r * n);
                elementwise::transpose_small(&mut bt, &store.get(lora.b).value, n, r, lora.scale, Update::Set);
                lowrank::expand(MatMut::new(y, t, n), Mat::new(&u, t, r), Mat::new(&bt, r, n), update);
            } else {
                let b = Mat::new(&store.get(lora.b).value, n, r);
                matmul_nt(MatMut::new(y, t, n), Mat::new(&u, t, r), b, lora.scale, update);
            }
            update = Update::Add;
            saved = Some(u);
        }
        if let Some(bias) = &self.layer.bias {
            let y = MatMut::new(y, t, n);
            match update {
                Update::Set => elementwise::broadcast_row(y, bias.f32(store)),
                Update::Add => elementwise::add_row(y, bias.f32(store)),
            }
            update = Update::Add;
        }
        let w = Mat::new(self.layer.weight.f32(store), n, k);
        product_nt(MatMut::new(y, t, n), Mat::new(x, t, k), w, t, update);
        saved
    }

    /// Adds the parameters' gradients and writes `dx` if wanted. `x` is needed unless only `dx` is wanted and there
    /// is no branch.
    pub(crate) fn backward(
        &self,
        dy: &[f32],
        x: Option<&[f32]>,
        u: Option<&[f32]>,
        mut dx: Option<(&mut [f32], Update)>,
        params: &mut Params,
        arena: &Arena,
    ) {
        let (t, n, k) = (self.rows, self.outputs, self.inputs);
        let dym = Mat::new(dy, t, n);
        if let Some(id) = self.layer.bias.as_ref().and_then(|b| b.param()) {
            let param = params.store_mut().get_mut(id);
            elementwise::add_column_sums(&mut param.grad, dym);
            param.received = true;
        }
        if let (Some(id), Some(x)) = (self.layer.weight.param(), x) {
            let param = params.store_mut().get_mut(id);
            matmul_tn(MatMut::new(&mut param.grad, n, k), dym, Mat::new(x, t, k), 1.0, Update::Add);
            param.received = true;
        }
        if let (Some(lora), Some(x), Some(u)) = (&self.layer.lora, x, u) {
            self.branch_backward(lora, dy, x, u, &mut dx, params, arena);
        }
        if let Some((dx, update)) = dx {
            let w = Mat::new(self.layer.weight.f32(params.store()), n, k);
            matmul_nn(MatMut::new(dx, t, k), dym, w, 1.0, update);
        }
    }

    fn branch_backward(
        &self,
        lora: &Lora,
        dy: &[f32],
        x: &[f32],
        u: &[f32],
        dx: &mut Option<(&mut [f32], Update)>,
        params: &mut Params,
        arena: &Arena,
    ) {
        let (t, n, k) = (self.rows, self.outputs, self.inputs);
        let r = self.rank(params.store(), lora);
        let short = r <= SHORT;
        let (dym, um) = (Mat::new(dy, t, n), Mat::new(u, t, r));

        // du = scale·dy·B
        let mut du = arena.take(t * r);
        let b = &params.store().get(lora.b).value;
        if short {
            let mut bt = arena.take(r * n);
            elementwise::transpose_small(&mut bt, b, n, r, lora.scale, Update::Set);
            lowrank::dots(MatMut::new(&mut du, t, r), dym, Mat::new(&bt, r, n), 1.0, Update::Set);
        } else {
            matmul_nn(MatMut::new(&mut du, t, r), dym, Mat::new(b, n, r), lora.scale, Update::Set);
        }

        // dB += scale·dyᵀ·u
        let param = params.store_mut().get_mut(lora.b);
        param.received = true;
        if short {
            let mut dbt = arena.take(r * n);
            lowrank::outer(MatMut::new(&mut dbt, r, n), um, dym, Update::Set);
            elementwise::transpose_small(&mut param.grad, &dbt, r, n, lora.scale, Update::Add);
        } else {
            matmul_tn(MatMut::new(&mut param.grad, n, r), dym, um, lora.scale, Update::Add);
        }

        // dA += duᵀ·dropout(x)
        let branch = self.branch_input(arena, x, lora);
        let (dum, xm) = (Mat::new(&du, t, r), Mat::new(branch.get(), t, k));
        let param = params.store_mut().get_mut(lora.a);
        param.received = true;
        let da = MatMut::new(&mut param.grad, r, k);
        if short {
            lowrank::outer(da, dum, xm, Update::Add)
        } else {
            matmul_tn(da, dum, xm, 1.0, Update::Add)
        }

        // dx += dropout'(du·A)
        if let Some((dx, update)) = dx {
            let a = Mat::new(&params.store().get(lora.a).value, r, k);
            let expand = |y: &mut [f32], update| {
                let y = MatMut::new(y, t, k);
                if short { lowrank::expand(y, dum, a, update) } else { matmul_nn(y, dum, a, 1.0, update) }
            };
            match &self.masks {
                None => expand(dx, *update),
                Some(keys) => {
                    let mut through = arena.take(t * k);
                    expand(&mut through, Update::Set);
                    dropout::apply(dx, &through, k, keys, lora.dropout, *update);
                }
            }
            *update = Update::Add;
        }
    }

    /// True if backward reads the layer's input.
    pub(crate) fn needs_input(&self) -> bool {
        self.layer.weight.param().is_some() || self.layer.lora.is_some()
    }
}

/// The branch's input, borrowed or masked.
enum Masked<'x> {
    Same(&'x [f32]),
    Copy(Buffer),
}

impl Masked<'_> {
    fn get(&self) -> &[f32] {
        match self {
            Masked::Same(x) => x,
            Masked::Copy(x) => x,
        }
    }
}

impl Tape<'_> {
    /// `x·Wᵀ + bias + scale·(dropout(x)·Aᵀ)·Bᵀ`.
    ///
    /// # Errors
    /// If a tensor's shape does not fit.
    pub fn linear(&mut self, x: &Tensor, layer: &Linear) -> Result<Tensor> {
        self.linear_op(x, layer, None)
    }

    /// `residual + linear(x)` in one pass over the output.
    ///
    /// # Errors
    /// If a tensor's shape does not fit.
    pub fn linear_add(&mut self, x: &Tensor, layer: &Linear, residual: &Tensor) -> Result<Tensor> {
        self.linear_op(x, layer, Some(residual))
    }

    fn linear_op(&mut self, x: &Tensor, layer: &Linear, residual: Option<&Tensor>) -> Result<Tensor> {
        const OP: &str = "linear";
        self.sweep();
        let keys = self.nodes[x.id as usize].keys;
        let call = self.linear_call(OP, layer, x.rows, x.cols, keys)?;
        let n = call.outputs;
        if let Some(r) = residual {
            check(OP, "rows of the residual", x.rows, r.rows)?;
            check(OP, "columns of the residual", n, r.cols)?;
        }
        let mut y = self.arena.take(x.rows * n);
        let update = match residual {
            None => Update::Set,
            Some(r) => {
                elementwise::copy(&mut y, self.data(r.id));
                Update::Add
            }
        };
        let u = call.forward(&mut y, self.data(x.id), self.params.store(), &self.arena, update);
        let needs_input = call.needs_input();
        let residual = residual.map(|r| r.id);
        let requires_grad =
            self.training && (self.requires_grad(x.id) || layer.trainable() || residual.is_some_and(|r| self.requires_grad(r)));
        if !requires_grad {
            return Ok(self.push(x.rows, n, y, keys, false, Op::None));
        }
        if needs_input {
            self.keep(x.id);
        }
        let op = Op::Linear { x: x.id, layer: layer.clone(), u, residual };
        Ok(self.push(x.rows, n, y, keys, true, op))
    }

    /// Checks a layer's shapes and draws its dropout keys.
    pub(crate) fn linear_call<'l>(&self, op: &'static str, layer: &'l Linear, rows: usize, inputs: usize, keys: u32) -> Result<Call<'l>> {
        let store = self.params();
        let (outputs, expected) = layer.weight.shape(store);
        check(op, "columns of the input", expected, inputs)?;
        if let Some(bias) = &layer.bias {
            check(op, "length of the bias", outputs, bias.len(store))?;
        }
        let mut masks = None;
        if let Some(lora) = &layer.lora {
            let (a, b) = (&store.get(lora.a).shape, &store.get(lora.b).shape);
            check(op, "dimensions of LoRA's A", 2, a.len())?;
            check(op, "dimensions of LoRA's B", 2, b.len())?;
            check(op, "columns of LoRA's A", inputs, a[1])?;
            check(op, "rows of LoRA's B", outputs, b[0])?;
            check(op, "columns of LoRA's B", a[0], b[1])?;
            if self.training && lora.dropout != 0.0 {
                check_probability(op, lora.dropout)?;
                masks = Some(self.mask_keys(op, keys, rows, lora.module)?);
            }
        }
        Ok(Call { layer, rows, inputs, outputs, masks })
    }

    pub(crate) fn linear_op_backward(&mut self, x: u32, layer: &Linear, u: Option<&[f32]>, dy: &[f32]) {
        let node = &self.nodes[x as usize];
        let (rows, inputs, keys, wants_dx) = (node.rows, node.cols, node.keys, node.requires_grad);
        let call = self.linear_call("linear", layer, rows, inputs, keys).expect("forward checked the same shapes");
        if call.needs_input() {
            self.ensure_data(x);
        }
        let mut dx = wants_dx.then(|| self.take_grad(x));
        let Tape { nodes, params, arena, .. } = self;
        let numbers = nodes[x as usize].data.as_deref();
        call.backward(dy, numbers, u, dx.as_mut().map(|(b, update)| (&mut b[..], *update)), params, arena);
        if let Some((dx, _)) = dx {
            self.put_grad(x, dx);
        }
    }
}
