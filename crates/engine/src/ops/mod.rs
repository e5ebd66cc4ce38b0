//! The operations: one file each, forward and backward side by side.

mod activation;
pub mod attention;
mod embedding;
mod glue;
mod linear;
pub mod loss;
mod norm;

pub use activation::Activation;
