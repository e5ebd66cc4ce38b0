//! Loops on slices: the only place where Tunesmith's arithmetic on activations and weights happens.
//!
//! Each kernel takes plain slices with their shapes and strides, allocates nothing, runs on as many threads as rayon's
//! current pool has (through [`team`]), and gives the same bytes whatever the number of threads: work is cut by shape alone, and a reduction over
//! rows sums fixed chunks in a fixed order. [`mod@reference`] holds a slow readable version of every kernel; tests
//! compare the two at odd sizes on every instruction set that the machine has (see [`cpu`]).
//!
//! `unsafe` lives here (and in the one module of `containers` that maps files) and nowhere else.

pub mod activation;
pub mod adamw;
pub mod attention;
pub mod cpu;
pub mod dropout;
pub mod element;
pub mod elementwise;
pub mod embed;
pub mod lowrank;
pub mod mat;
pub mod matmul;
mod memory;
pub mod norm;
mod pairs;
mod par;
pub mod paths;
pub mod peak;
pub mod pool;
pub mod product;
pub mod quant;
pub mod reduce;
pub mod reference;
pub mod rng;
pub mod rope;
mod simd;
pub mod softmax;
pub mod team;
mod tile;
