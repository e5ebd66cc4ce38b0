//! The trainable tensors of a run, each with its gradient.
//!
//! Order of insertion is the order of everything: iteration, optimizer state, the sum in the gradient norm.

use crate::error::{EngineError, Result, check};
use kernels::mat::{Mat, Update};
use kernels::product::Bf16Panels;
use kernels::reduce;
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// Names a parameter of a [`ParamStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParamId(pub(crate) u32);

impl ParamId {
    /// Position in the store's order of insertion.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One trainable tensor.
#[derive(Clone, Debug)]
pub struct Param {
    /// Name under which it is saved.
    pub name: String,
    /// Shape, outermost first.
    pub shape: Vec<usize>,
    /// The master copy, f32, row-major.
    pub value: Vec<f32>,
    /// Sum of the gradients since [`ParamStore::zero_grads`] or the optimizer's step; zeros if nothing was received since.
    pub grad: Vec<f32>,
    /// True if a backward pass has reached it since [`ParamStore::zero_grads`] or the optimizer's step.
    pub received: bool,
    /// True if weight decay applies to it.
    pub decay: bool,
    pub(crate) packed: Packed,
}

/// A matrix's values rounded to bf16 and packed for products: made when a product first asks, renewed by the optimizer, dropped
/// when somebody else may change the values.
#[derive(Default)]
pub(crate) struct Packed(OnceLock<Bf16Panels>);

impl Packed {
    fn of(&self, value: &[f32], rows: usize, cols: usize) -> &Bf16Panels {
        self.0.get_or_init(|| Bf16Panels::new(Mat::new(value, rows, cols)))
    }

    /// The values have changed.
    pub(crate) fn renew(&mut self, value: &[f32]) {
        if let Some(panels) = self.0.get_mut() {
            panels.repack(value);
        }
    }
}

impl Clone for Packed {
    fn clone(&self) -> Self {
        Packed::default()
    }
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", if self.0.get().is_some() { "packed" } else { "not packed" })
    }
}

impl Param {
    /// Number of elements.
    pub fn numel(&self) -> usize {
        self.value.len()
    }

    /// The values as a matrix `[rows, cols]`, rounded to bf16 and packed.
    pub(crate) fn panels(&self, rows: usize, cols: usize) -> &Bf16Panels {
        self.packed.of(&self.value, rows, cols)
    }

    /// What a gradient that is the whole of a product does with the numbers before it: nothing has arrived, they are zeros.
    pub(crate) fn first_or_add(&self) -> Update {
        if self.received { Update::Add } else { Update::Set }
    }
}

/// All trainable tensors.
#[derive(Clone, Debug, Default)]
pub struct ParamStore {
    params: Vec<Param>,
    by_name: BTreeMap<String, ParamId>,
}

impl ParamStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a parameter; its gradient starts at zero.
    ///
    /// # Errors
    /// If the shape does not fit the number of values, or the name is taken.
    pub fn add(&mut self, name: impl Into<String>, shape: &[usize], value: Vec<f32>, decay: bool) -> Result<ParamId> {
        let name = name.into();
        check("ParamStore::add", "number of elements", shape.iter().product(), value.len())?;
        if self.by_name.contains_key(&name) {
            return Err(EngineError::State { name, reason: "a parameter of this name exists already".into() });
        }
        let id = ParamId(self.params.len() as u32);
        self.by_name.insert(name.clone(), id);
        let grad = vec![0.0; value.len()];
        self.params.push(Param { name, shape: shape.to_vec(), value, grad, received: false, decay, packed: Packed::default() });
        Ok(id)
    }

    /// The parameter `id`.
    pub fn get(&self, id: ParamId) -> &Param {
        &self.params[id.index()]
    }

    /// The parameter `id`, to change its values.
    pub fn get_mut(&mut self, id: ParamId) -> &mut Param {
        let param = &mut self.params[id.index()];
        param.packed = Packed::default();
        param
    }

    /// The parameter `id`, to add to its gradient.
    pub(crate) fn receiver(&mut self, id: ParamId) -> &mut Param {
        &mut self.params[id.index()]
    }

    /// All parameters; who changes values renews what is packed.
    pub(crate) fn params_mut(&mut self) -> impl ExactSizeIterator<Item = &mut Param> {
        self.params.iter_mut()
    }

    /// The parameter of that name.
    pub fn by_name(&self, name: &str) -> Option<ParamId> {
        self.by_name.get(name).copied()
    }

    /// All parameters in order of insertion.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (ParamId, &Param)> {
        self.params.iter().enumerate().map(|(i, p)| (ParamId(i as u32), p))
    }

    /// All parameters in order of insertion, to change them.
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = (ParamId, &mut Param)> {
        self.params.iter_mut().enumerate().map(|(i, p)| {
            p.packed = Packed::default();
            (ParamId(i as u32), p)
        })
    }

    /// Number of parameters (tensors).
    pub fn len(&self) -> usize {
        self.params.len()
    }

    /// True if nothing is trainable.
    pub fn is_empty(&self) -> bool {
        self.params.is_empty()
    }

    /// Number of trainable numbers.
    pub fn numel(&self) -> usize {
        self.params.iter().map(Param::numel).sum()
    }

    /// Sets every gradient to zero and forgets which parameters received one.
    pub fn zero_grads(&mut self) {
        for p in &mut self.params {
            kernels::elementwise::fill(&mut p.grad, 0.0);
            p.received = false;
        }
    }

    /// Euclidean norm of all gradients together, accumulated in f64 in a fixed order.
    pub fn grad_norm(&self) -> f64 {
        self.params.iter().map(|p| reduce::sum_of_squares(&p.grad)).sum::<f64>().sqrt()
    }

    /// Names of the parameters that no backward pass has reached since [`Self::zero_grads`].
    pub fn params_without_gradient(&self) -> Vec<&str> {
        self.params.iter().filter(|p| !p.received).map(|p| p.name.as_str()).collect()
    }

    /// Name of the first parameter whose gradient holds a NaN or an infinity.
    pub fn first_non_finite_grad(&self) -> Option<&str> {
        self.params.iter().find(|p| !reduce::all_finite(&p.grad)).map(|p| p.name.as_str())
    }

    /// Name of the first parameter whose value holds a NaN or an infinity.
    pub fn first_non_finite_value(&self) -> Option<&str> {
        self.params.iter().find(|p| !reduce::all_finite(&p.value)).map(|p| p.name.as_str())
    }
}
