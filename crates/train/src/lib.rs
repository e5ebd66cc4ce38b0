//! Training: the loop, its settings, checkpoints that resume bit for bit, metrics, and the plan beforehand.

pub mod arguments;
pub mod error;
pub mod finetuning;

pub use arguments::{TRAINING_ALIASES, TrainingArguments};
pub use error::{Result, TrainError};
pub use finetuning::{FINETUNING_ALIASES, FinetuningArguments, FinetuningType};
