//! The tape: who owns an activation, how long, and in which order gradients flow.

use crate::error::Result;
use crate::params::ParamStore;
use crate::tensor::Tensor;
use kernels::pool::Arena;
use kernels::rng;

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
    pub(crate) fn mask_key(self, seed: u64, step: u64, module: u64) -> u64 {
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

pub(crate) enum Params<'a> {
    Shared(&'a ParamStore),
    Exclusive(&'a mut ParamStore),
}

/// Records operations on activations and runs them backward.
pub struct Tape<'a> {
    pub(crate) params: Params<'a>,
    pub(crate) arena: Arena,
    pub(crate) mode: Mode,
}

impl<'a> Tape<'a> {
    /// A tape that may train: gradients are added to those in `params`.
    pub fn new(params: &'a mut ParamStore, arena: &Arena, mode: Mode) -> Self {
        Tape { params: Params::Exclusive(params), arena: arena.clone(), mode }
    }

    /// A tape that only runs forward; several may share one `params`.
    pub fn inference(params: &'a ParamStore, arena: &Arena) -> Self {
        Tape { params: Params::Shared(params), arena: arena.clone(), mode: Mode::Inference }
    }

    /// True if operations may be recorded.
    pub fn is_training(&self) -> bool {
        matches!(self.mode, Mode::Training { .. })
    }

    /// The trainable parameters.
    pub fn params(&self) -> &ParamStore {
        match &self.params {
            Params::Shared(p) => p,
            Params::Exclusive(p) => p,
        }
    }

    /// A constant tensor from numbers of the caller (row-major); no gradient flows into it.
    pub fn input(&mut self, rows: usize, cols: usize, data: &[f32]) -> Result<Tensor> {
        todo!()
    }

    /// Copies a tensor out.
    pub fn read(&self, x: &Tensor) -> Vec<f32> {
        todo!()
    }

    /// Adds `gradient` to the gradient of `x`, from which [`Self::backward`] will start.
    pub fn seed(&mut self, x: &Tensor, gradient: &[f32]) -> Result<()> {
        todo!()
    }

    /// Sends the gradients seeded by [`Self::cross_entropy`] and [`Self::seed`] back to the parameters.
    pub fn backward(self) {
        todo!()
    }
}
