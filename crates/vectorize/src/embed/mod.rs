//! Words and documents as short dense vectors: word2vec, doc2vec, and a language model's hidden states.

mod corpus;
mod doc2vec;
mod pool;
mod states;
mod train;
mod vectors;
mod word2vec;

pub use doc2vec::{Doc2Vec, Doc2VecSettings};
pub use pool::{Pooled, Pooling, VectorSettings};
pub use states::{ModelSettings, StatePooling, States, TextModel};
pub use vectors::{Near, WordVectors};
pub use word2vec::{Architecture, Word2VecSettings, train};
