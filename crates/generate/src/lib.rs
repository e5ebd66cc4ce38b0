//! Text out of a decoder: sampling, stop strings and decoding with a key/value cache.
//!
//! What belongs together is split by what it needs to know:
//!
//! | module | its one job | knows |
//! |---|---|---|
//! | [`params`] | the settings of a generation and their checks | nothing |
//! | [`sample`] | one row of logits + one uniform number -> one token | numbers |
//! | [`stop`] | stop strings over text that arrives in pieces | strings |
//! | [`decode`] | a batch of prompts through the model, token by token | model, tokenizer |
//! | [`probe`] | the same work on random tokens, for callers who time it | model |
//! | [`session`] | one conversation that keeps its cache between turns | model, tokenizer |
//!
//! Nothing here prints, reads a clock or draws hidden randomness: the caller receives every piece of text through a
//! callback, and each sampled token depends only on (seed, stream, position) and the logits, so
//! neither its neighbours in a batch nor the number of threads decide what a prompt gives.

pub mod decode;
pub mod error;
pub mod params;
pub mod probe;
pub mod sample;
pub mod session;
pub mod stop;

pub use decode::{Event, FinishReason, Generation, OnEvent, Prompt, generate};
pub use error::GenerateError;
pub use params::SamplingParams;
pub use probe::Probe;
pub use session::Session;
pub use stop::StopMatcher;
