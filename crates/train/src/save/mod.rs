//! Everything that training writes: checkpoints, `metrics.jsonl`, TensorBoard events, and the lock on the directory.
//!
//! The promise of this folder: whenever the process dies, the disk fills up or the power fails, the checkpoints that
//! were reported as saved are whole. All writing goes through `disk::Disk`, so that tests can break every single file
//! operation and look at what is left.

pub(crate) mod checkpoint;
pub(crate) mod disk;
mod events;
#[cfg(test)]
pub(crate) mod faults;
#[cfg(test)]
mod laws;
mod lines;
mod metrics;
#[cfg(test)]
mod once;
mod output;
pub(crate) mod prefix;
mod tensors;

pub(crate) use events::EventsFile;
pub(crate) use metrics::MetricsFile;
pub use output::OutputDir;

/// The file with one line of numbers per log line or evaluation.
pub const METRICS_FILE: &str = "metrics.jsonl";
/// The folder of TensorBoard's event files.
pub const TENSORBOARD_DIR: &str = "tensorboard";
