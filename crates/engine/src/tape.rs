//! The tape: who owns an activation, how long, and in which order gradients flow.
//!
//! Life of an activation's numbers:
//! - an operation computes them into a buffer of the arena;
//! - when model code drops its last [`Tensor`] handle, they go back to the arena, unless a recorded operation marked
//!   them as needed in backward (`keep`);
//! - numbers that are needed but cheap to recompute (outputs of norms and activations) go back as well and are
//!   computed again, by the same kernel and hence to the same bits, when backward gets there;
//! - backward walks the nodes from last to first and frees each as soon as its own gradient has been passed on.

use crate::cache::KvCache;
use crate::data::{ComputeDtype, Data, Dtype, Wide};
use crate::error::{EngineError, Result, check};
use crate::ops::Op;
use crate::params::ParamStore;
use crate::segments::Segments;
use crate::tensor::{Handles, Tensor, View};
use crate::weights::Linear;
use kernels::mat::Update;
use kernels::pool::{Arena, Buffer};
use kernels::{elementwise, rng, team};
use std::rc::Rc;
use std::sync::Arc;

/// Most rows of a product that takes no longer than reading its weights.
const EXPECT_ROWS: usize = 8;

/// Names a token independently of the batch it is in: which row of the data, and where in it.
///
/// Dropout masks are keyed by it, so that neither batch composition nor order changes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenKey {
    /// Identity of the row of data.
    pub row: u64,
    /// Position within the row.
    pub position: u32,
}

impl TokenKey {
    /// Keys of whole rows laid end to end.
    pub fn for_rows(rows: &[u64], lengths: &[usize]) -> Vec<TokenKey> {
        rows.iter().zip(lengths).flat_map(|(&row, &len)| (0..len as u32).map(move |position| TokenKey { row, position })).collect()
    }

    /// A 64-bit key of this token for one dropout site in one step.
    fn mask_key(self, seed: u64, step: u64, module: u64) -> u64 {
        rng::fold(seed, &[step, module, self.row, self.position as u64])
    }
}

/// What a tape is for.
#[derive(Clone, Debug)]
pub enum Mode {
    /// Nothing is recorded; buffers return to the arena with the last handle; no dropout.
    Inference,
    /// Operations above a trainable tensor are recorded.
    Training {
        /// Seed of the run (dropout).
        seed: u64,
        /// Step of the run (dropout).
        step: u64,
        /// Key of each token of the batch; may be empty if nothing uses dropout.
        tokens: Vec<TokenKey>,
    },
}

/// The parameters as a tape holds them: several inference tapes may share one store.
pub(crate) enum Params<'a> {
    Shared(&'a ParamStore),
    Exclusive(&'a mut ParamStore),
}

impl Params<'_> {
    pub(crate) fn store(&self) -> &ParamStore {
        match self {
            Params::Shared(p) => p,
            Params::Exclusive(p) => p,
        }
    }

    /// The store, to add gradients to. Only recorded operations ask for it, and those exist only on a tape that was
    /// made with an exclusive store.
    pub(crate) fn store_mut(&mut self) -> &mut ParamStore {
        match self {
            Params::Shared(_) => unreachable!("an inference tape records nothing"),
            Params::Exclusive(p) => p,
        }
    }
}

/// One activation.
pub(crate) struct Node {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    /// The numbers; `None` when given back (or to be recomputed).
    pub(crate) data: Option<Data>,
    /// Type of the numbers.
    pub(crate) dtype: Dtype,
    /// The gradient so far. Shared where a sum passed the gradient it received to both of its terms.
    grad: Option<Rc<Data>>,
    /// True if a gradient has to reach this node.
    pub(crate) requires_grad: bool,
    /// True if backward (of this node or of one that used it) reads the numbers.
    pub(crate) keep: bool,
    /// Which set of token keys belongs to the rows.
    pub(crate) keys: u32,
    pub(crate) op: Op,
}

/// Records operations on activations and runs them backward.
pub struct Tape<'a> {
    pub(crate) params: Params<'a>,
    pub(crate) arena: Arena,
    pub(crate) training: bool,
    pub(crate) nodes: Vec<Node>,
    handles: Rc<Handles>,
    seed: u64,
    step: u64,
    /// Keys of the batch's tokens, then of every selection of rows.
    pub(crate) key_sets: Vec<Vec<TokenKey>>,
    /// The segments of the last attention: layers share them.
    segments: Option<Arc<Segments>>,
    /// Recomputation can be switched off to prove that it changes nothing.
    pub(crate) recompute: bool,
    /// Arithmetic of matrix products.
    pub(crate) compute: ComputeDtype,
}

impl<'a> Tape<'a> {
    /// A tape for `mode`; in training, gradients are added to those in `params`.
    pub fn new(params: &'a mut ParamStore, arena: &Arena, mode: Mode) -> Self {
        let mut tape = Self::with(Params::Exclusive(params), arena);
        if let Mode::Training { seed, step, tokens } = mode {
            tape.training = true;
            tape.seed = seed;
            tape.step = step;
            tape.key_sets[0] = tokens;
        }
        tape
    }

    /// A tape that only runs forward; several may share one `params`.
    pub fn inference(params: &'a ParamStore, arena: &Arena) -> Self {
        Self::with(Params::Shared(params), arena)
    }

    fn with(params: Params<'a>, arena: &Arena) -> Self {
        Tape {
            params,
            arena: arena.clone(),
            training: false,
            nodes: Vec::new(),
            handles: Rc::default(),
            seed: 0,
            step: 0,
            key_sets: vec![Vec::new()],
            segments: None,
            recompute: true,
            compute: ComputeDtype::F32,
        }
    }

    /// Chooses the arithmetic of the operations that follow; a model calls it before its first one.
    pub fn compute_in(&mut self, compute: ComputeDtype) {
        self.compute = compute;
    }

    /// Says which layers are computed after the product that comes next, at `rows` rows. Where rows are so few that memory sets the
    /// pace, threads that wait meanwhile fetch their weights. Changes no result.
    ///
    /// # Panics
    /// If there are more layers than [`team::RANGES`].
    pub fn expect<'l>(&self, rows: usize, layers: impl IntoIterator<Item = &'l Linear>) {
        if rows > EXPECT_ROWS {
            return;
        }
        let mut ranges = [&[][..]; team::RANGES];
        let mut count = 0;
        for layer in layers {
            ranges[count] = layer.weight.stream();
            count += 1;
        }
        team::expect(&ranges[..count]);
    }

    /// True if operations may be recorded.
    pub fn is_training(&self) -> bool {
        self.training
    }

    /// The trainable parameters.
    pub fn params(&self) -> &ParamStore {
        self.params.store()
    }

    /// Keeps the outputs of norms and activations instead of computing them again in backward. Costs memory, changes
    /// no bit of the result.
    pub fn keep_everything(&mut self) {
        self.recompute = false;
    }

    /// A constant tensor from numbers of the caller (row-major); no gradient flows into it.
    ///
    /// # Errors
    /// If `data` is not `rows * cols` long.
    pub fn input(&mut self, rows: usize, cols: usize, data: &[f32]) -> Result<Tensor> {
        check("input", "number of elements", rows * cols, data.len())?;
        self.sweep();
        let mut y = self.arena.take(data.len());
        elementwise::copy(&mut y, data);
        Ok(self.push(rows, cols, y, 0, false, Op::None))
    }

    /// As [`Self::input`], with a gradient that [`Self::backward_to`] gives back.
    ///
    /// # Errors
    /// If `data` is not `rows * cols` long.
    pub fn variable(&mut self, rows: usize, cols: usize, data: &[f32]) -> Result<Tensor> {
        let x = self.input(rows, cols, data)?;
        self.nodes[x.id as usize].requires_grad = self.training;
        Ok(x)
    }

    /// A tensor's numbers, in place if they are f32.
    pub fn numbers(&self, x: &Tensor) -> impl std::ops::Deref<Target = [f32]> + '_ {
        self.wide(x.id)
    }

    /// Copies a tensor out.
    pub fn read(&self, x: &Tensor) -> Vec<f32> {
        self.wide(x.id).to_vec()
    }

    /// Adds `gradient` to the gradient of `x`, from which [`Self::backward`] will start.
    ///
    /// # Errors
    /// If `gradient` has another size than `x`.
    pub fn seed(&mut self, x: &Tensor, gradient: &[f32]) -> Result<()> {
        check("seed", "number of elements", x.rows * x.cols, gradient.len())?;
        if self.nodes[x.id as usize].requires_grad {
            self.add_grad(x.id, gradient);
        }
        Ok(())
    }

    /// Sends the gradients seeded by [`Self::cross_entropy`] and [`Self::seed`] back to the parameters.
    pub fn backward(mut self) {
        self.walk(0);
    }

    /// As [`Self::backward`]; the gradient that reached the [`variable`](Self::variable) `x`, if one did.
    pub fn backward_to(mut self, x: Tensor) -> Option<Buffer> {
        // Nothing is above what the caller put there before any operation.
        self.walk(x.id + 1);
        match self.nodes[x.id as usize].grad.take().map(Rc::try_unwrap)? {
            Ok(Data::F32(gradient)) => Some(gradient),
            Ok(narrow) => Some(self.copied(&narrow.widen(&self.arena))),
            Err(shared) => Some(self.copied(&shared.widen(&self.arena))),
        }
    }

    fn copied(&self, numbers: &[f32]) -> Buffer {
        let mut copy = self.arena.take(numbers.len());
        elementwise::copy(&mut copy, numbers);
        copy
    }

    /// Passes gradients on, from the last node down to node `end`.
    fn walk(&mut self, end: u32) {
        for id in (end..self.nodes.len() as u32).rev() {
            let node = &mut self.nodes[id as usize];
            let op = std::mem::replace(&mut node.op, Op::None);
            if let Some(grad) = node.grad.take() {
                self.backward_of(id, op, grad);
            }
            self.nodes[id as usize].data = None;
        }
    }

    // ---- for the operations ----

    /// Registers an activation and returns its first handle.
    pub(crate) fn push(&mut self, rows: usize, cols: usize, data: impl Into<Data>, keys: u32, requires_grad: bool, op: Op) -> Tensor {
        let data = data.into();
        let dtype = match &data {
            Data::F32(_) => Dtype::F32,
            Data::Bf16(_) => Dtype::Bf16,
        };
        let id = self.nodes.len() as u32;
        let op = if self.training { op } else { Op::None };
        self.nodes.push(Node { rows, cols, data: Some(data), dtype, grad: None, requires_grad, keep: false, keys, op });
        self.handles.register(id);
        Tensor { id, rows, cols, handles: Rc::clone(&self.handles) }
    }

    /// Frees what model code has let go of since the last operation. Every operation begins with it.
    pub(crate) fn sweep(&mut self) {
        while let Some(id) = self.handles.pop_dead() {
            self.let_go(id);
        }
    }

    fn let_go(&mut self, id: u32) {
        let node = &self.nodes[id as usize];
        if node.keep {
            let Some(inputs) = self.recomputable_from(id) else { return };
            for input in inputs.into_iter().flatten() {
                self.nodes[input as usize].keep = true;
            }
        }
        self.nodes[id as usize].data = None;
    }

    /// The inputs from which node `id` can be computed again cheaply, if that is so and they will be there.
    fn recomputable_from(&self, id: u32) -> Option<[Option<u32>; 2]> {
        if !self.recompute {
            return None;
        }
        let inputs = self.nodes[id as usize].op.cheap_inputs()?;
        let present = |input: &u32| {
            let node = &self.nodes[*input as usize];
            node.data.is_some() || (node.keep && node.op.cheap_inputs().is_some())
        };
        inputs.iter().flatten().all(present).then_some(inputs)
    }

    /// The numbers of a node that model code still holds or that backward has made present.
    pub(crate) fn data(&self, id: u32) -> &Data {
        self.nodes[id as usize].data.as_ref().expect("numbers stay while a handle or a recorded operation needs them")
    }

    /// The same as f32, widened if they are not.
    pub(crate) fn wide(&self, id: u32) -> Wide<'_> {
        self.data(id).widen(&self.arena)
    }

    /// Marks a node's numbers as needed in backward.
    pub(crate) fn keep(&mut self, id: u32) {
        self.nodes[id as usize].keep = true;
    }

    pub(crate) fn requires_grad(&self, id: u32) -> bool {
        self.nodes[id as usize].requires_grad
    }

    /// Computes a node's numbers again if they were given back.
    pub(crate) fn ensure_data(&mut self, id: u32) {
        if self.nodes[id as usize].data.is_some() {
            return;
        }
        // The operation goes back in its place: its own backward is still to come.
        let op = std::mem::replace(&mut self.nodes[id as usize].op, Op::None);
        for input in op.cheap_inputs().into_iter().flatten().flatten() {
            self.ensure_data(input);
        }
        let data = self.recompute_op(id, &op);
        let node = &mut self.nodes[id as usize];
        node.op = op;
        node.data = Some(data);
    }

    /// Type of a node's gradient. That of a norm's output is a sum over several projections: f32.
    pub(crate) fn grad_dtype(&self, id: u32) -> Dtype {
        let node = &self.nodes[id as usize];
        match node.op {
            Op::Norm { .. } => Dtype::F32,
            _ => node.dtype,
        }
    }

    /// The gradient buffer of a node, to be written with the returned [`Update`] and put back.
    pub(crate) fn take_grad(&mut self, id: u32) -> (Data, Update) {
        let dtype = self.grad_dtype(id);
        let node = &mut self.nodes[id as usize];
        let len = node.rows * node.cols;
        match node.grad.take().map(Rc::try_unwrap) {
            None => (Data::take(&self.arena, dtype, len), Update::Set),
            Some(Ok(own)) => (own, Update::Add),
            Some(Err(shared)) => (shared.copy_of(&self.arena), Update::Add),
        }
    }

    /// As [`Self::take_grad`], with zeros where there was none: for operations that write only parts of it.
    pub(crate) fn take_grad_zeroed(&mut self, id: u32) -> Data {
        let (mut grad, update) = self.take_grad(id);
        if update == Update::Set {
            grad.zero();
        }
        grad
    }

    pub(crate) fn put_grad(&mut self, id: u32, grad: Data) {
        self.nodes[id as usize].grad = Some(Rc::new(grad));
    }

    /// As [`Self::take_grad`] for operations that compute in f32, whatever the gradient is kept in; to be given back
    /// by [`Self::close_grad`].
    pub(crate) fn open_grad(&mut self, id: u32) -> (Buffer, Update) {
        match self.take_grad(id) {
            (Data::F32(grad), update) => (grad, update),
            (Data::Bf16(grad), update) => {
                let mut wide = self.arena.take(grad.len());
                if update == Update::Add {
                    elementwise::cast(&mut wide, &grad);
                }
                (wide, update)
            }
        }
    }

    /// As [`Self::open_grad`], with zeros where there was none: for operations that write only parts of it.
    pub(crate) fn open_grad_zeroed(&mut self, id: u32) -> Buffer {
        let (mut grad, update) = self.open_grad(id);
        if update == Update::Set {
            elementwise::fill(&mut grad, 0.0);
        }
        grad
    }

    pub(crate) fn close_grad(&mut self, id: u32, grad: Buffer) {
        let grad = match self.grad_dtype(id) {
            Dtype::F32 => Data::F32(grad),
            Dtype::Bf16 => {
                let mut narrow = self.arena.take(grad.len());
                elementwise::cast(&mut narrow, &grad);
                Data::Bf16(narrow)
            }
        };
        self.put_grad(id, grad);
    }

    /// Adds f32 numbers to the gradient of node `id`.
    pub(crate) fn add_grad(&mut self, id: u32, gradient: &[f32]) {
        let (mut grad, update) = self.take_grad(id);
        grad.assign(gradient, update);
        self.put_grad(id, grad);
    }

    /// Adds a gradient to that of node `id`, without a copy if it has none.
    pub(crate) fn pass_grad(&mut self, id: u32, grad: &Rc<Data>) {
        if !self.requires_grad(id) {
            return;
        }
        let same = matches!((self.grad_dtype(id), &**grad), (Dtype::F32, Data::F32(_)) | (Dtype::Bf16, Data::Bf16(_)));
        if same && self.nodes[id as usize].grad.is_none() {
            self.nodes[id as usize].grad = Some(Rc::clone(grad));
        } else {
            let wide = grad.widen(&self.arena.clone());
            self.add_grad(id, &wide);
        }
    }

    /// Dropout keys of the rows of key set `keys` at one site.
    pub(crate) fn mask_keys(&self, op: &'static str, keys: u32, rows: usize, module: u64) -> Result<Vec<u64>> {
        let set = &self.key_sets[keys as usize];
        if set.len() != rows {
            return Err(EngineError::Invalid {
                op,
                reason: format!("dropout needs a key for each of {rows} tokens, {} were given", set.len()),
            });
        }
        Ok(set.iter().map(|k| k.mask_key(self.seed, self.step, module)).collect())
    }

    /// The segments, shared by all layers of a pass.
    pub(crate) fn share_segments(&mut self, segments: &Segments) -> Arc<Segments> {
        match &self.segments {
            Some(shared) if **shared == *segments => Arc::clone(shared),
            _ => {
                let shared = Arc::new(segments.clone());
                self.segments = Some(Arc::clone(&shared));
                shared
            }
        }
    }

    /// Errors unless `v` lies inside its tensor.
    pub(crate) fn check_view(op: &'static str, v: &View) -> Result<()> {
        if v.col + v.width > v.tensor.cols {
            return Err(EngineError::Index { op, what: "column", index: v.col + v.width, len: v.tensor.cols });
        }
        Ok(())
    }

    /// Errors unless a cache may be used here.
    pub(crate) fn check_cache(&self, op: &'static str, cache: &KvCache, layer: usize, kv_dim: usize) -> Result<()> {
        if self.training {
            return Err(EngineError::Invalid { op, reason: "a cache is for inference only".into() });
        }
        if layer >= cache.layers() {
            return Err(EngineError::Index { op, what: "cache layer", index: layer, len: cache.layers() });
        }
        check(op, "width of the cache", kv_dim, cache.kv_dim())
    }
}
