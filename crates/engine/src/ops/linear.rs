//! Linear layers with bias and low-rank branch.
//!
//! The branch is part of the operation: `scale·u·Bᵀ` (with `u = dropout(x)·Aᵀ`, `rank` numbers a token, saved) joins the
//! large product. Backward needs `x`, which is usually recomputed from a norm, and `u`. The arithmetic is in
//! `linear_f32` (the reference), `linear_packed` (bf16, int8) and `linear_groups` (inference on weights as a GGUF file has them).

use super::Op;
use super::glue::check_probability;
use crate::data::{ComputeDtype, Data, Dtype};
use crate::error::{EngineError, Result, check};
use crate::params::ParamStore;
use crate::tape::{Params, Tape};
use crate::tensor::Tensor;
use crate::weights::{Linear, Lora};
use kernels::mat::Update;
use kernels::pool::{Arena, Buffer};

/// Ranks up to this run on the kernels for short sides.
pub(super) const SHORT: usize = 32;

/// A linear layer's shape and dropout keys, checked.
pub(crate) struct Call<'l> {
    pub(crate) layer: &'l Linear,
    pub(crate) rows: usize,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// Keys of the rows' dropout masks, if the branch has dropout and this is training.
    pub(crate) masks: Option<Vec<u64>>,
    /// Arithmetic of the products.
    pub(crate) compute: ComputeDtype,
}

impl Call<'_> {
    pub(super) fn rank(&self, store: &ParamStore, lora: &Lora) -> usize {
        store.get(lora.a).shape[0]
    }

    /// Writes `y` (with the residual added) and returns `u` of the branch.
    pub(crate) fn forward(&self, y: &mut Data, x: &Data, residual: Option<&[f32]>, store: &ParamStore, arena: &Arena) -> Option<Buffer> {
        if let Some(groups) = self.layer.weight.groups() {
            self.forward_groups(y, x, groups, residual, store, arena);
            return None;
        }
        match (self.compute, self.layer.weight.f32(store), y, x) {
            (ComputeDtype::F32 | ComputeDtype::Native, Some(w), Data::F32(y), Data::F32(x)) => {
                self.forward_f32(y, x, w, residual, store, arena)
            }
            (_, _, y, x) => self.forward_packed(y, x, residual, store, arena),
        }
    }

    /// Adds the parameters' gradients and writes `dx` if wanted. `x` is needed unless only `dx` is wanted and there
    /// is no branch.
    pub(crate) fn backward(
        &self,
        dy: &Data,
        x: Option<&Data>,
        u: Option<&[f32]>,
        mut dx: Option<(&mut Data, Update)>,
        params: &mut Params,
        arena: &Arena,
    ) {
        if self.compute == ComputeDtype::F32
            && self.layer.weight.f32(params.store()).is_some()
            && let Data::F32(dy) = dy
            && let None | Some(Data::F32(_)) = x
            && let None | Some((Data::F32(_), _)) = dx
        {
            let x = x.map(|x| x.f32());
            let dx = dx.as_mut().map(|(dx, update)| (dx.f32_mut(), *update));
            return self.backward_f32(dy, x, u, dx, params, arena);
        }
        self.backward_packed(dy, x, u, dx, params, arena);
    }

    /// True if backward reads the layer's input.
    pub(crate) fn needs_input(&self) -> bool {
        self.layer.weight.param().is_some() || self.layer.lora.is_some()
    }
}

impl Tape<'_> {
    /// `x·Wᵀ + bias + scale·(dropout(x)·Aᵀ)·Bᵀ`.
    ///
    /// # Errors
    /// If a tensor's shape does not fit.
    pub fn linear(&mut self, x: &Tensor, layer: &Linear) -> Result<Tensor> {
        self.linear_op(x, layer, None, self.compute.activations())
    }

    /// [`Self::linear`] with an f32 result whatever activations are kept in: logits are compared with each other.
    ///
    /// # Errors
    /// As [`Self::linear`].
    pub fn logits(&mut self, x: &Tensor, head: &Linear) -> Result<Tensor> {
        self.linear_op(x, head, None, Dtype::F32)
    }

    /// `residual + linear(x)` in one pass over the output.
    ///
    /// # Errors
    /// If a tensor's shape does not fit.
    pub fn linear_add(&mut self, x: &Tensor, layer: &Linear, residual: &Tensor) -> Result<Tensor> {
        // The residual stream is f32 in every mode.
        self.linear_op(x, layer, Some(residual), Dtype::F32)
    }

    fn linear_op(&mut self, x: &Tensor, layer: &Linear, residual: Option<&Tensor>, dtype: Dtype) -> Result<Tensor> {
        const OP: &str = "linear";
        self.sweep();
        let keys = self.nodes[x.id as usize].keys;
        let call = self.linear_call(OP, layer, x.rows, x.cols, keys)?;
        let n = call.outputs;
        if let Some(r) = residual {
            check(OP, "rows of the residual", x.rows, r.rows)?;
            check(OP, "columns of the residual", n, r.cols)?;
        }
        let mut y = Data::take(&self.arena, dtype, x.rows * n);
        let wide = residual.map(|r| self.wide(r.id));
        let u = call.forward(&mut y, self.data(x.id), wide.as_deref(), self.params.store(), &self.arena);
        drop(wide);
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
        if self.training && layer.weight.groups().is_some() {
            let reason = "weights in their file's own groups are for inference; load the model in f32, bf16 or int8 to train".into();
            return Err(EngineError::Invalid { op, reason });
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
        Ok(Call { layer, rows, inputs, outputs, masks, compute: self.compute })
    }

    pub(crate) fn linear_op_backward(&mut self, x: u32, layer: &Linear, u: Option<&[f32]>, dy: &Data) {
        let node = &self.nodes[x as usize];
        let (rows, inputs, keys, wants_dx) = (node.rows, node.cols, node.keys, node.requires_grad);
        let call = self.linear_call("linear", layer, rows, inputs, keys).expect("forward checked the same shapes");
        if call.needs_input() {
            self.ensure_data(x);
        }
        let mut dx = wants_dx.then(|| self.take_grad(x));
        let Tape { nodes, params, arena, .. } = self;
        let numbers = nodes[x as usize].data.as_ref();
        call.backward(dy, numbers, u, dx.as_mut().map(|(b, update)| (b, *update)), params, arena);
        if let Some((dx, _)) = dx {
            self.put_grad(x, dx);
        }
    }
}
