//! Linear layers on weights in a GGUF file's own groups: inference only.

use super::Op;
use super::linear::Call;
use crate::data::{Data, Dtype};
use crate::error::Result;
use crate::params::ParamStore;
use crate::tape::Tape;
use crate::tensor::Tensor;
use crate::weights::Linear;
use kernels::elementwise;
use kernels::mat::{Mat, MatMut};
use kernels::pool::Arena;
use kernels::quant::{self, Product, QuantPanels, Rows};

impl Call<'_> {
    /// [`Call::forward`] on groups.
    pub(super) fn forward_groups(
        &self,
        y: &mut Data,
        x: &Data,
        groups: &QuantPanels,
        residual: Option<&[f32]>,
        store: &ParamStore,
        arena: &Arena,
    ) {
        let (t, n, k) = (self.rows, self.outputs, self.inputs);
        let x = x.widen(arena);
        match y {
            Data::F32(y) => {
                let (update, _) = self.beside_f32(y, &x, residual, store, arena);
                quant::nt(MatMut::new(y, t, n), Mat::new(&x, t, k), groups, update, arena);
            }
            Data::Bf16(y) => {
                let mut wide = arena.take(t * n);
                let (update, _) = self.beside_f32(&mut wide, &x, residual, store, arena);
                quant::nt(MatMut::new(&mut wide, t, n), Mat::new(&x, t, k), groups, update, arena);
                elementwise::cast(y, &wide);
            }
        }
    }
}

impl Tape<'_> {
    /// [`Self::linear`] of several layers with the same input. Where they allow it (inference on a file's own groups), the
    /// input is quantised once and all run as one: at one row, a layer of a small model takes a few microseconds.
    ///
    /// # Errors
    /// As [`Self::linear`].
    pub fn linears<const N: usize>(&mut self, x: &Tensor, layers: [&Linear; N]) -> Result<[Tensor; N]> {
        const OP: &str = "linear";
        let keys = self.nodes[x.id as usize].keys;
        for layer in layers {
            self.linear_call(OP, layer, x.rows, x.cols, keys)?;
        }
        let joint = self.compute.activations() == Dtype::F32 && layers.iter().all(|l| l.weight.groups().is_some());
        if !joint {
            return Ok(layers.map(|layer| self.linear(x, layer).expect("shapes were checked")));
        }
        self.sweep();
        let numbers = self.wide(x.id);
        let rows = Rows::new(Mat::new(&numbers, x.rows, x.cols), &self.arena);
        let store = self.params.store();
        let mut ys = layers.map(|layer| self.arena.take(x.rows * layer.outputs(store)));
        let mut list = layers.iter();
        let products = ys.each_mut().map(|y| {
            let layer = list.next().expect("as many outputs as layers");
            let call = self.linear_call(OP, layer, x.rows, x.cols, keys).expect("shapes were checked");
            let (update, _) = call.beside_f32(y, &numbers, None, store, &self.arena);
            Product::new(MatMut::new(y, x.rows, call.outputs), layer.weight.groups().expect("all are groups"), update)
        });
        quant::several(&products, &rows);
        drop(numbers);
        let mut list = layers.iter();
        Ok(ys.map(|y| {
            let outputs = list.next().map_or(0, |layer| layer.outputs(self.params()));
            self.push(x.rows, outputs, y, keys, false, Op::None)
        }))
    }
}
