//! A linear layer in f32, operand by operand: the reference that the packed products are tested against.

use super::linear::{Call, SHORT};
use crate::data::Wide;
use crate::params::ParamStore;
use crate::tape::Params;
use crate::weights::Lora;
use kernels::mat::{Mat, MatMut, Update};
use kernels::matmul::{matmul_nn, matmul_nt, matmul_tn};
use kernels::pool::{Arena, Buffer};
use kernels::{dropout, elementwise, lowrank};

/// Rows up to this are multiplied by dot products, which read the weight once as it lies: below this, packing it into
/// panels costs more than it gains (measured; at one row everything waits for memory anyway).
const FEW: usize = 48;

fn product_nt(y: MatMut, x: Mat, w: Mat, rows: usize, update: Update) {
    if rows <= FEW {
        lowrank::dots(y, x, w, 1.0, update);
    } else {
        matmul_nt(y, x, w, 1.0, update);
    }
}

impl Call<'_> {
    /// `x` as the branch sees it: itself, or a masked copy.
    fn branch_input<'x>(&self, arena: &Arena, x: &'x [f32], lora: &Lora) -> Wide<'x> {
        match &self.masks {
            None => Wide::Same(x),
            Some(keys) => {
                let mut masked = arena.take(x.len());
                dropout::apply(&mut masked, x, self.inputs, keys, lora.dropout, Update::Set);
                Wide::Copy(masked)
            }
        }
    }

    /// [`Call::forward`] in f32.
    pub(super) fn forward_f32(
        &self,
        y: &mut [f32],
        x: &[f32],
        w: &[f32],
        residual: Option<&[f32]>,
        store: &ParamStore,
        arena: &Arena,
    ) -> Option<Buffer> {
        let (t, n, k) = (self.rows, self.outputs, self.inputs);
        let (update, saved) = self.beside_f32(y, x, residual, store, arena);
        product_nt(MatMut::new(y, t, n), Mat::new(x, t, k), Mat::new(w, n, k), t, update);
        saved
    }

    /// Writes everything but the large product: residual, branch, bias. Returns whether anything was written, and `u` of the
    /// branch.
    pub(super) fn beside_f32(
        &self,
        y: &mut [f32],
        x: &[f32],
        residual: Option<&[f32]>,
        store: &ParamStore,
        arena: &Arena,
    ) -> (Update, Option<Buffer>) {
        let (t, n, k) = (self.rows, self.outputs, self.inputs);
        let mut update = Update::Set;
        if let Some(residual) = residual {
            elementwise::copy(y, residual);
            update = Update::Add;
        }
        let mut saved = None;
        if let Some(lora) = &self.layer.lora {
            let r = self.rank(store, lora);
            let branch = self.branch_input(arena, x, lora);
            let mut u = arena.take(t * r);
            let (um, xm) = (MatMut::new(&mut u, t, r), Mat::new(&branch, t, k));
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
        (update, saved)
    }

    /// [`Call::backward`] in f32.
    pub(super) fn backward_f32(
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
            let param = params.store_mut().receiver(id);
            elementwise::add_column_sums(&mut param.grad, dym);
            param.received = true;
        }
        if let (Some(id), Some(x)) = (self.layer.weight.param(), x) {
            let param = params.store_mut().receiver(id);
            let update = param.first_or_add();
            matmul_tn(MatMut::new(&mut param.grad, n, k), dym, Mat::new(x, t, k), 1.0, update);
            param.received = true;
        }
        if let (Some(lora), Some(x), Some(u)) = (&self.layer.lora, x, u) {
            self.branch_backward(lora, dy, x, u, &mut dx, params, arena);
        }
        if let Some((dx, update)) = dx {
            let w = self.layer.weight.f32(params.store()).expect("weights of f32 products are f32");
            matmul_nn(MatMut::new(dx, t, k), dym, Mat::new(w, n, k), 1.0, update);
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
        let param = params.store_mut().receiver(lora.b);
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
        let (dum, xm) = (Mat::new(&du, t, r), Mat::new(&branch, t, k));
        let param = params.store_mut().receiver(lora.a);
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
}
