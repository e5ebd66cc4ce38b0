//! A linear layer on packed weights: bf16 or int8 products with bias, residual and low-rank branch on the tile while it is
//! in registers.

use super::linear::{Call, SHORT};
use crate::data::{Data, on};
use crate::params::ParamStore;
use crate::tape::Params;
use crate::weights::Lora;
use kernels::mat::{Acts, Mat, MatMut, Out, Update};
use kernels::pool::{Arena, Buffer};
use kernels::product::{self, Epilogue, Weights};
use kernels::{dropout, elementwise};

/// The branch's input: the layer's, or a masked copy.
enum Branch<'x> {
    Same(&'x Data),
    Masked(Buffer),
}

impl Branch<'_> {
    fn acts(&self, rows: usize, cols: usize) -> Acts<'_> {
        match self {
            Branch::Same(x) => x.acts(rows, cols),
            Branch::Masked(x) => Acts::F32(Mat::new(x, rows, cols)),
        }
    }
}

impl Call<'_> {
    fn branch<'x>(&self, x: &'x Data, lora: &Lora, arena: &Arena) -> Branch<'x> {
        match &self.masks {
            None => Branch::Same(x),
            Some(keys) => {
                let mut masked = arena.take(self.rows * self.inputs);
                on!(x, x => dropout::apply(&mut masked, x, self.inputs, keys, lora.dropout, Update::Set));
                Branch::Masked(masked)
            }
        }
    }

    /// [`Call::forward`] on packed weights.
    pub(super) fn forward_packed(
        &self,
        y: &mut Data,
        x: &Data,
        residual: Option<&[f32]>,
        store: &ParamStore,
        arena: &Arena,
    ) -> Option<Buffer> {
        let (t, n, k) = (self.rows, self.outputs, self.inputs);
        let mut u = None;
        let mut bt = None;
        if let Some(lora) = &self.layer.lora {
            let r = self.rank(store, lora);
            let mut low: Buffer = arena.take(t * r);
            let branch = self.branch(x, lora, arena);
            let a = Mat::new(&store.get(lora.a).value, r, k);
            if r <= SHORT {
                product::nt_narrow(MatMut::new(&mut low, t, r), branch.acts(t, k), a, 1.0, Update::Set, arena);
                let mut scaled: Buffer = arena.take(r * n);
                elementwise::transpose_small(&mut scaled, &store.get(lora.b).value, n, r, lora.scale, Update::Set);
                bt = Some(scaled);
            } else {
                let out = Out::F32(MatMut::new(&mut low, t, r));
                product::nt(out, branch.acts(t, k), Weights::F32(a), &Epilogue::default(), arena);
            }
            u = Some(low);
        }
        let low_rank = match (&u, &bt) {
            (Some(u), Some(bt)) => {
                let r = u.len() / t.max(1);
                Some((Mat::new(u, t, r), Mat::new(bt, r, n)))
            }
            _ => None,
        };
        let epilogue = Epilogue {
            update: Update::Set,
            residual: residual.map(|r| Mat::new(r, t, n)),
            bias: self.layer.bias.as_ref().map(|b| b.f32(store)),
            low_rank,
        };
        product::nt(y.out(t, n), x.acts(t, k), self.layer.weight.weights(store), &epilogue, arena);
        if let (Some(lora), Some(u), None) = (&self.layer.lora, &u, &bt) {
            let r = self.rank(store, lora);
            let mut scaled: Buffer = arena.take(t * r);
            elementwise::copy(&mut scaled, u);
            elementwise::scale(&mut scaled, lora.scale);
            let epilogue = Epilogue { update: Update::Add, ..Epilogue::default() };
            let b = Weights::F32(Mat::new(&store.get(lora.b).value, n, r));
            product::nt(y.out(t, n), Acts::F32(Mat::new(&scaled, t, r)), b, &epilogue, arena);
        }
        u
    }

    /// [`Call::backward`] on packed weights.
    pub(super) fn backward_packed(
        &self,
        dy: &Data,
        x: Option<&Data>,
        u: Option<&[f32]>,
        dx: Option<(&mut Data, Update)>,
        params: &mut Params,
        arena: &Arena,
    ) {
        let (t, n, k) = (self.rows, self.outputs, self.inputs);
        let dy_acts = || dy.acts(t, n);
        if let Some(id) = self.layer.bias.as_ref().and_then(|b| b.param()) {
            let param = params.store_mut().receiver(id);
            on!(dy, dy => elementwise::add_column_sums(&mut param.grad, Mat::new(dy, t, n)));
            param.received = true;
        }
        if let (Some(id), Some(x)) = (self.layer.weight.param(), x) {
            let param = params.store_mut().receiver(id);
            let update = param.first_or_add();
            product::tn(MatMut::new(&mut param.grad, n, k), dy_acts(), x.acts(t, k), 1.0, update, arena);
            param.received = true;
        }
        let mut du = None;
        if let (Some(lora), Some(x), Some(u)) = (&self.layer.lora, x, u) {
            let r = self.rank(params.store(), lora);
            // du = scale·dy·B
            let mut low: Buffer = arena.take(t * r);
            let b = Mat::new(&params.store().get(lora.b).value, n, r);
            if r <= SHORT {
                product::nn_narrow(MatMut::new(&mut low, t, r), dy_acts(), b, lora.scale, Update::Set, arena);
            } else {
                product::nn(Out::F32(MatMut::new(&mut low, t, r)), dy_acts(), Weights::F32(b), &Epilogue::default(), arena);
                elementwise::scale(&mut low, lora.scale);
            }
            // dB += scale·dyᵀ·u
            let param = params.store_mut().receiver(lora.b);
            param.received = true;
            product::tn(MatMut::new(&mut param.grad, n, r), dy_acts(), Acts::F32(Mat::new(u, t, r)), lora.scale, Update::Add, arena);
            // dA += duᵀ·dropout(x)
            let branch = self.branch(x, lora, arena);
            let param = params.store_mut().receiver(lora.a);
            param.received = true;
            let g = MatMut::new(&mut param.grad, r, k);
            product::tn(g, Acts::F32(Mat::new(&low, t, r)), branch.acts(t, k), 1.0, Update::Add, arena);
            du = Some((lora, r, low));
        }
        let Some((dx, update)) = dx else { return };
        let store = params.store();
        let w = self.layer.weight.weights(store);
        match (&du, &self.masks) {
            // dx += du·A on the tile
            (Some((lora, r, du)), None) if *r <= SHORT => {
                let low_rank = Some((Mat::new(du, t, *r), Mat::new(&store.get(lora.a).value, *r, k)));
                product::nn(dx.out(t, k), dy_acts(), w, &Epilogue { update, low_rank, ..Epilogue::default() }, arena);
            }
            _ => {
                product::nn(dx.out(t, k), dy_acts(), w, &Epilogue { update, ..Epilogue::default() }, arena);
                let Some((lora, r, du)) = &du else { return };
                // dx += dropout'(du·A)
                let mut through: Buffer = arena.take(t * k);
                let a = Weights::F32(Mat::new(&store.get(lora.a).value, *r, k));
                let out = Out::F32(MatMut::new(&mut through, t, k));
                product::nn(out, Acts::F32(Mat::new(du, t, *r)), a, &Epilogue::default(), arena);
                match &self.masks {
                    None => dx.assign(&through, Update::Add),
                    Some(keys) => {
                        let mut masked: Buffer = arena.take(t * k);
                        dropout::apply(&mut masked, &through, k, keys, lora.dropout, Update::Set);
                        dx.assign(&masked, Update::Add);
                    }
                }
            }
        }
    }
}
