//! Words and documents as short dense vectors: word2vec and doc2vec.

mod corpus;
mod doc2vec;
mod pool;
mod train;
mod vectors;
mod word2vec;

pub use doc2vec::{Doc2Vec, Doc2VecSettings};
pub use pool::{Pooled, Pooling, VectorSettings};
pub use vectors::{Near, WordVectors};
pub use word2vec::{Architecture, Word2VecSettings, train};
