//! Training: rows of token ids and a model with trainable tensors in, trained tensors out.
//!
//! | I want to know | look at |
//! |---|---|
//! | what can be set | [`arguments`], [`finetuning`] |
//! | which tensors train | [`mod@prepare`] |
//! | what one step does, and what happens around it | [`mod@run`]: the loop, top to bottom |
//! | which rows a step sees, and its learning rate | [`order`], [`schedule`] |
//! | what is minimised | `objective` |
//! | what of it is computed only once a run, or twice a step | `prefix`, `recompute` |
//! | what a run tells and asks | [`observe`] |
//! | what a run will need, beforehand | [`mod@plan`] |
//! | one step, to be timed | [`step`] |
//! | how a run survives being killed | `save` (and `load`) |
//!
//! Invariants: nothing here prints, reads a clock or the environment; files are touched in `save` and `load` only; a step
//! is a function of settings, data and progress, so a resumed run equals an uninterrupted one bit for bit.

pub mod arguments;
pub mod error;
pub mod finetuning;
pub mod load;
mod objective;
pub mod observe;
pub mod order;
pub mod plan;
mod prefix;
pub mod prepare;
mod progress;
mod recompute;
pub mod run;
pub mod save;
pub mod schedule;
pub mod step;
mod tensorboard;

pub use arguments::{TRAINING_ALIASES, TrainingArguments};
pub use error::{Result, TrainError};
pub use finetuning::{FINETUNING_ALIASES, FinetuningArguments, FinetuningType};
pub use objective::HeldOutLoss;
pub use observe::{Clock, Evaluator, Event, Observer};
pub use prefix::{PrefixPlace, PrefixPlan};
pub use prepare::{Prepared, prepare, trained_tensors};
pub use run::{Job, Outcome, ResumePoint, TrainReport, resume_point, run};
pub use save::OutputDir;
pub use step::Stepper;
