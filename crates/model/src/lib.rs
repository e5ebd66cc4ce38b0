//! One parametric decoder, built from `config.json` or GGUF metadata, and everything that moves its weights: loading,
//! LoRA, freezing, saving, merging.
//!
//! Families (Llama, Mistral, Qwen2, StableLM, GPT-2) are rows of one table ([`family`]); the forward pass is written once
//! ([`Decoder::forward`]) on the engine's operations. Files are touched in `load` and `save` only.

mod boundary;
pub mod config;
pub mod decoder;
pub mod error;
pub mod family;
pub mod freeze;
pub mod load;
pub mod lora;
pub mod rope;
pub mod save;
pub mod weights;

pub use config::ModelConfig;
pub use decoder::Decoder;
pub use error::{ModelError, Result};
pub use freeze::FreezeSpec;
pub use load::{BaseModel, LoadedAdapter, load_adapter, load_model, load_model_in};
pub use lora::{Adapter, LoraConfig};
