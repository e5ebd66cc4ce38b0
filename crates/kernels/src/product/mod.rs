//! Matrix products on packed weights: bf16 operands with f32 sums, and int8 with scales.
//!
//! A weight is packed once, in panels of [`PANEL`] outputs ([`Bf16Panels`], [`I8Panels`]); [`nt`] reads them as they
//! lie, [`nn`] turns blocks of them round on the way. Activations are f32 (rounded or quantised as they are read) or
//! bf16. What follows the product in a layer (residual, bias, low-rank branch, rounding) happens on each tile of the
//! result while it is in cache: [`Epilogue`].
//!
//! Each element of a result is one chain of sums over the inner dimension, the same for every number of rows and threads:
//! a row multiplied alone and the same row in a batch agree in every bit (for a given path, see [`crate::cpu`]).

mod bf16;
#[cfg(target_arch = "x86_64")]
mod dots;
mod finish;
mod gradient;
mod int8;
mod narrow;
mod panels;
mod run;
#[cfg(target_arch = "x86_64")]
mod short;
mod tile;
mod tile8;
mod turn;
mod turn8;

pub use panels::{Bf16Panels, I8Panels, PANEL};

use crate::cpu::Paths;
use crate::mat::{Acts, Mat, MatMut, Out, Update};
use crate::pool::Arena;

/// The weight `[n = outputs, k = inputs]` of a product.
#[derive(Clone, Copy)]
pub enum Weights<'a> {
    /// Packed bf16: activations are rounded to bf16.
    Bf16(&'a Bf16Panels),
    /// Packed int8: activations are quantised row by row.
    I8(&'a I8Panels),
    /// Row-major f32 (a trained weight), rounded to bf16 block by block as it is used.
    F32(Mat<'a>),
}

impl Weights<'_> {
    /// Number of outputs, `n`.
    pub fn rows(&self) -> usize {
        match self {
            Weights::Bf16(w) => w.rows(),
            Weights::I8(w) => w.rows(),
            Weights::F32(w) => w.rows,
        }
    }

    /// Number of inputs, `k`.
    pub fn cols(&self) -> usize {
        match self {
            Weights::Bf16(w) => w.cols(),
            Weights::I8(w) => w.cols(),
            Weights::F32(w) => w.cols,
        }
    }
}

/// What is added to a product before it is stored: `out (+)= product + low_rank + residual + bias`, all in f32.
#[derive(Clone, Copy)]
pub struct Epilogue<'a> {
    /// Whether the old contents of the output stay.
    pub update: Update,
    /// As large as the output.
    pub residual: Option<Mat<'a>>,
    /// A row, added to every row.
    pub bias: Option<&'a [f32]>,
    /// `u [rows, r]` and `w [r, cols]` (any scale folded in): `u·w` is added, in f32.
    pub low_rank: Option<(Mat<'a>, Mat<'a>)>,
}

impl Default for Epilogue<'_> {
    fn default() -> Self {
        Epilogue { update: Update::Set, residual: None, bias: None, low_rank: None }
    }
}

impl Epilogue<'_> {
    /// Adds to what the output holds and nothing else.
    pub fn add() -> Self {
        Epilogue { update: Update::Add, ..Self::default() }
    }

    fn check(&self, rows: usize, cols: usize) {
        if let Some(r) = self.residual {
            assert_eq!((r.rows, r.cols), (rows, cols), "product: shape of the residual");
        }
        if let Some(b) = self.bias {
            assert_eq!(b.len(), cols, "product: length of the bias");
        }
        if let Some((u, w)) = self.low_rank {
            assert_eq!((u.rows, w.cols, u.cols), (rows, cols, w.rows), "product: shapes of the low-rank branch");
        }
    }
}

/// `out [m, n] (+)= x [m, k]·wᵀ + …`: a linear layer forward.
///
/// # Panics
/// If the shapes disagree.
pub fn nt(out: Out, x: Acts, w: Weights, e: &Epilogue, arena: &Arena) {
    nt_on(Paths::best(), out, x, w, e, arena);
}

/// [`nt`] on given paths, for tests.
#[doc(hidden)]
pub fn nt_on(paths: Paths, out: Out, x: Acts, w: Weights, e: &Epilogue, arena: &Arena) {
    assert_eq!((x.rows(), w.rows(), x.cols()), (out.rows(), out.cols(), w.cols()), "product nt: shapes disagree");
    e.check(out.rows(), out.cols());
    match w {
        Weights::Bf16(w) => bf16::nt(paths.bf16, out, x, w, e, arena),
        Weights::F32(w) => bf16::nt_f32(paths.bf16, out, x, w, e, 1.0, arena),
        Weights::I8(w) => int8::nt(paths.int8, out, x, w, e, arena),
    }
}

/// `out [m, k] (+)= dy [m, n]·w + …`: a linear layer's gradient to its input.
///
/// # Panics
/// If the shapes disagree.
pub fn nn(out: Out, dy: Acts, w: Weights, e: &Epilogue, arena: &Arena) {
    nn_on(Paths::best(), out, dy, w, e, arena);
}

/// [`nn`] on given paths, for tests.
#[doc(hidden)]
pub fn nn_on(paths: Paths, out: Out, dy: Acts, w: Weights, e: &Epilogue, arena: &Arena) {
    assert_eq!((dy.rows(), w.cols(), dy.cols()), (out.rows(), out.cols(), w.rows()), "product nn: shapes disagree");
    e.check(out.rows(), out.cols());
    match w {
        Weights::Bf16(w) => bf16::nn(paths.bf16, out, dy, w, e, arena),
        Weights::F32(w) => bf16::nn_f32(paths.bf16, out, dy, w, e, 1.0, arena),
        Weights::I8(w) => int8::nn(paths.int8, out, dy, w, e, arena),
    }
}

/// `g [n, k] (+)= scale · dyᵀ·x` with `dy [t, n]`, `x [t, k]` rounded to bf16: a linear layer's gradient to its weight.
/// Also for a short side (a low-rank branch's gradients).
///
/// # Panics
/// If the shapes disagree.
pub fn tn(g: MatMut, dy: Acts, x: Acts, scale: f32, update: Update, arena: &Arena) {
    tn_on(Paths::best(), g, dy, x, scale, update, arena);
}

/// [`tn`] on given paths, for tests.
#[doc(hidden)]
pub fn tn_on(paths: Paths, g: MatMut, dy: Acts, x: Acts, scale: f32, update: Update, arena: &Arena) {
    assert_eq!((dy.cols(), x.cols(), dy.rows()), (g.rows, g.cols, x.rows()), "product tn: shapes disagree");
    gradient::tn(paths.bf16, g, dy, x, scale, update, arena);
}

/// `u [m, r] = scale · x [m, k]·aᵀ` with a short `a [r, k]` (rank up to a few dozen), rounded to bf16: the first half of a
/// low-rank branch.
///
/// # Panics
/// If the shapes disagree.
pub fn nt_narrow(u: MatMut, x: Acts, a: Mat, scale: f32, update: Update, arena: &Arena) {
    nt_narrow_on(Paths::best(), u, x, a, scale, update, arena);
}

/// [`nt_narrow`] on given paths, for tests.
#[doc(hidden)]
pub fn nt_narrow_on(paths: Paths, u: MatMut, x: Acts, a: Mat, scale: f32, update: Update, arena: &Arena) {
    assert_eq!((x.rows(), a.rows, x.cols()), (u.rows, u.cols, a.cols), "product nt_narrow: shapes disagree");
    narrow::nt(paths.bf16, u, x, a, scale, update, arena);
}

/// `du [m, r] = scale · dy [m, n]·b` with a narrow `b [n, r]`, rounded to bf16: the low-rank branch backward.
///
/// # Panics
/// If the shapes disagree.
pub fn nn_narrow(du: MatMut, dy: Acts, b: Mat, scale: f32, update: Update, arena: &Arena) {
    nn_narrow_on(Paths::best(), du, dy, b, scale, update, arena);
}

/// [`nn_narrow`] on given paths, for tests.
#[doc(hidden)]
pub fn nn_narrow_on(paths: Paths, du: MatMut, dy: Acts, b: Mat, scale: f32, update: Update, arena: &Arena) {
    assert_eq!((dy.rows(), b.cols, dy.cols()), (du.rows, du.cols, b.rows), "product nn_narrow: shapes disagree");
    narrow::nn(paths.bf16, du, dy, b, scale, update, arena);
}
