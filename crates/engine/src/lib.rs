//! The differentiable core of Tunesmith: a tape of a dozen *fused* operations with hand-derived backward passes.
//!
//! Why not a general autodiff library: fine-tuning a small model on a CPU spends its memory on saved activations and
//! its time on matrix products, and both are decided by what an operation keeps and fuses. Here
//!
//! - frozen weights ([`FrozenMatrix`]) are opaque storage that gives `x·Wᵀ` and `dy·W` and never gets a gradient buffer;
//! - trainable tensors live in a [`ParamStore`] with their gradient beside them;
//! - activations live in an [`Arena`] that is reused from step to step;
//! - a [`Tape`] records what backward needs and no more: outputs of norms and activations are recomputed from their
//!   inputs, buffers return to the arena as soon as nobody can need them, and nothing at all is recorded below the
//!   lowest trainable tensor or in inference mode.
//!
//! A [`Tensor`] is a handle, not a slice: model code never touches numbers except through [`Tape::read`], so that
//! another implementation of the same operations (a GPU) can take this one's place.
//!
//! Everything here is deterministic: equal inputs give equal bytes whatever the number of threads.

mod cache;
mod data;
mod error;
mod ops;
mod optim;
mod params;
mod rope;
mod segments;
mod tape;
mod tensor;
mod weights;

pub use cache::KvCache;
pub use data::ComputeDtype;
pub use error::{EngineError, Result};
pub use kernels::pool::{Arena, ArenaStats, Buffer};
pub use kernels::quant::Format as GroupFormat;
pub use kernels::softmax::{arg_max, log_sum_exp};
pub use kernels::{cpu, rng};
pub use ops::Activation;
pub use ops::attention::AttentionSpec;
pub use ops::loss::Target;
pub use optim::{AdamW, AdamWConfig, Moments};
pub use params::{Param, ParamId, ParamStore};
pub use rope::{RopeLayout, RopeTable};
pub use segments::{Segment, Segments};
pub use tape::{Mode, Tape, TokenKey};
pub use tensor::{Tensor, View};
pub use weights::{FrozenMatrix, Linear, Lora, Matrix, Norm, NormKind, Vector};
