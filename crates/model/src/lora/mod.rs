//! Low-rank adapters (Hu et al. 2021, arXiv:2106.09685) as PEFT defines them: settings, which modules they reach, and
//! attaching fresh ones. Names in the parameter store are the names in PEFT's file.

mod attach;
mod config;
mod targets;

pub use attach::attach;
pub use config::{BiasMode, Init, LoraConfig, Targets};
pub use targets::{Target, targets};
pub(crate) use targets::{contains as contains_component, ends_with, short_names};

use crate::family::Place;
use engine::ParamId;

/// In front of every tensor name of a PEFT file: the wrapper's own attribute path.
pub(crate) const PREFIX: &str = "base_model.model.";

/// A low-rank branch that was attached.
#[derive(Clone, Debug)]
pub struct AdaptedModule {
    /// Module path, e.g. `model.layers.0.self_attn.q_proj`.
    pub path: String,
    /// `[rank, inputs]`.
    pub a: ParamId,
    /// `[outputs, rank]`.
    pub b: ParamId,
}

/// A tensor of the model that is saved whole with the adapter: `modules_to_save`, trained biases, resized embeddings.
#[derive(Clone, Debug)]
pub struct WholeTensor {
    /// Name in PEFT's file.
    pub name: String,
    /// Which tensor.
    pub place: Place,
    /// The file holds the transpose (`Conv1D`).
    pub transposed: bool,
    /// Shape in the file.
    pub shape: Vec<usize>,
}

/// An adapter that is part of a decoder: what there is to save.
#[derive(Clone, Debug)]
pub struct Adapter {
    /// Its settings.
    pub config: LoraConfig,
    /// Low-rank branches in the order of the forward pass.
    pub modules: Vec<AdaptedModule>,
    /// Whole tensors.
    pub whole: Vec<WholeTensor>,
}
