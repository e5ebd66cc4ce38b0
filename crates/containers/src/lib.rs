//! GGUF and safetensors, read and written.
//!
//! - *Reading* maps the file and checks the whole header at once: [`SafetensorsFile`], [`ShardedSafetensors`],
//!   [`GgufFile`], all behind [`TensorSource`]. A damaged file gives an error, never a panic, and a header that lies about
//!   its sizes costs no memory.
//! - *Values* come out as f32 through [`TensorView::to_f32`]; [`quant`] holds one readable function per stored type.
//! - *Writing* ([`save`]) takes tensors one at a time, so a model larger than memory can be written, and a file appears
//!   under its name only when complete.
//!
//! What is deliberately absent: any knowledge of what the tensors mean. Names, permutations and transposes belong to `model`.

mod dtype;
mod error;
pub mod gguf;
mod mmap;
pub mod quant;
pub mod safetensors;
pub mod save;
mod view;

pub use dtype::DType;
pub use error::{BoxError, Error, QuantError, Result};
pub use gguf::{Array, GgufFile, Metadata, Value};
pub use safetensors::{SafetensorsFile, ShardedSafetensors};
pub use view::{TensorSource, TensorView};
