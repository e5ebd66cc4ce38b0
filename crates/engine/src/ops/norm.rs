//! RMSNorm and LayerNorm.

use super::Op;
use crate::data::{Data, on};
use crate::error::{Result, check};
use crate::tape::Tape;
use crate::tensor::Tensor;
use crate::weights::{Norm, NormKind};
use kernels::elementwise;
use kernels::mat::Mat;
use kernels::norm::{self, Kind};

fn kind(norm: &Norm) -> Kind {
    match norm.kind {
        NormKind::Rms => Kind::Rms,
        NormKind::Layer => Kind::Layer,
    }
}

impl Tape<'_> {
    /// Normalises each row. Recomputed in backward.
    ///
    /// # Errors
    /// If weight or bias are not as long as a row.
    pub fn norm(&mut self, x: &Tensor, norm: &Norm) -> Result<Tensor> {
        check("norm", "length of the weight", x.cols, norm.weight.len(self.params()))?;
        if let Some(bias) = &norm.bias {
            check("norm", "length of the bias", x.cols, bias.len(self.params()))?;
        }
        self.sweep();
        let mut y = Data::take(&self.arena, self.compute.activations(), x.rows * x.cols);
        self.norm_into(&mut y, x.id, norm);
        let requires_grad = self.training && (self.requires_grad(x.id) || norm.trainable());
        if requires_grad {
            self.keep(x.id);
        }
        let keys = self.nodes[x.id as usize].keys;
        Ok(self.push(x.rows, x.cols, y, keys, requires_grad, Op::Norm { x: x.id, norm: norm.clone() }))
    }

    pub(crate) fn norm_into(&self, y: &mut Data, x: u32, norm: &Norm) {
        let store = self.params.store();
        let bias = norm.bias.as_ref().map(|b| b.f32(store));
        let weight = norm.weight.f32(store);
        on!(y, y => on!(self.data(x), x => norm::forward(y, x, weight, bias, kind(norm), norm.eps)));
    }

    pub(crate) fn norm_backward(&mut self, x: u32, norm: &Norm, dy: &Data) {
        self.ensure_data(x);
        let (rows, cols) = (self.nodes[x as usize].rows, self.nodes[x as usize].cols);
        if let Some(id) = norm.weight.param() {
            let mut scratch = self.arena.take(2 * rows);
            let Tape { nodes, params, .. } = self;
            let numbers = nodes[x as usize].data.as_ref().expect("made present above");
            let param = params.store_mut().receiver(id);
            let grad = &mut param.grad;
            on!(dy, dy => on!(numbers, x => norm::backward_weight(grad, dy, x, kind(norm), norm.eps, &mut scratch)));
            param.received = true;
        }
        if let Some(id) = norm.bias.as_ref().and_then(|b| b.param()) {
            let param = self.params.store_mut().receiver(id);
            on!(dy, dy => elementwise::add_column_sums(&mut param.grad, Mat::new(dy, rows, cols)));
            param.received = true;
        }
        if self.requires_grad(x) {
            let (mut dx, update) = self.open_grad(x);
            let weight = norm.weight.f32(self.params.store());
            on!(dy, dy => on!(self.data(x), x => norm::backward(&mut dx, dy, x, weight, kind(norm), norm.eps, update)));
            self.close_grad(x, dx);
        }
    }
}
