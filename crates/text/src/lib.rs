//! Between characters and token ids.
//!
//! Three jobs, one crate, because they must never disagree:
//!
//! - [`Tokenizer`]: text to ids and back, read from a Hugging Face directory (`tokenizer.json` and its companions) or rebuilt
//!   from the vocabulary inside a GGUF file, written back so that `transformers` loads the same thing.
//! - [`ChatTemplate`]: messages to the one text that a model was trained on, rendered as `transformers` renders it, with the byte
//!   ranges that the assistant wrote.
//! - [`spans`]: offsets counted in code points, the unit in which labels are stored, converted to and from bytes and UTF-16.
//!
//! Deliberately absent: a wall clock (a template's `strftime_now` gets its time from the caller), the network, printing. Files
//! are touched in [`tokenizer`]'s `load` and `save` modules alone.

pub mod error;
pub mod message;
pub mod spans;
pub mod template;
pub mod tokenizer;

pub use error::{Result, TextError};
pub use message::{Content, Message};
pub use template::{ChatTemplate, LocalTime, Rendered};
pub use tokenizer::{DecodeStream, Encoding, SpecialTokens, Tokenizer};
