//! Everything that training reads back: checkpoints and `metrics.jsonl`. The counterpart of [`crate::save`].

pub(crate) mod checkpoint;
pub mod metrics;
pub(crate) mod prefix;
mod tensors;
