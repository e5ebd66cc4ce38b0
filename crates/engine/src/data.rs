//! The numbers of an activation or a gradient: f32, or bf16 where the compute type allows it.

use crate::error::{EngineError, Result};
use kernels::elementwise;
use kernels::mat::{Acts, Mat, Mat16, MatMut, MatMut16, Out, Update};
use kernels::pool::{Arena, Buffer};
use std::ops::Deref;
use std::str::FromStr;

/// In which arithmetic matrix products run and activations are kept.
///
/// Parameters, the residual stream, norm statistics, softmax, losses and the optimizer are f32 in every mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ComputeDtype {
    /// Everything in f32: the reference.
    #[default]
    F32,
    /// Products of bf16 numbers accumulated in f32; projections, attention and MLP activations (and their gradients)
    /// are kept in bf16.
    Bf16,
    /// As [`Self::Bf16`], but products with frozen weights of linear layers in int8: weights with one scale a row,
    /// activations and gradients quantised row by row on the fly.
    Int8,
    /// Inference only: activations in f32, weights as their file keeps them. Groups of 4 or 8 bits stay such groups (and
    /// activations are quantised to int8 by the same groups on the fly), bf16 stays bf16.
    Native,
}

impl ComputeDtype {
    /// The name in recipes and reports.
    pub fn name(self) -> &'static str {
        match self {
            ComputeDtype::F32 => "f32",
            ComputeDtype::Bf16 => "bf16",
            ComputeDtype::Int8 => "int8",
            ComputeDtype::Native => "native",
        }
    }

    /// How activations between operations are kept.
    pub(crate) fn activations(self) -> Dtype {
        match self {
            ComputeDtype::F32 | ComputeDtype::Native => Dtype::F32,
            ComputeDtype::Bf16 | ComputeDtype::Int8 => Dtype::Bf16,
        }
    }
}

impl FromStr for ComputeDtype {
    type Err = EngineError;
    fn from_str(name: &str) -> Result<Self> {
        let all = [ComputeDtype::F32, ComputeDtype::Bf16, ComputeDtype::Int8, ComputeDtype::Native];
        all.into_iter().find(|d| d.name() == name).ok_or_else(|| EngineError::Invalid {
            op: "compute_dtype",
            reason: format!("`{name}` is not known; there are f32, bf16, int8 and native"),
        })
    }
}

/// Element type of an activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dtype {
    F32,
    Bf16,
}

/// Runs one expression on the numbers of a [`Data`], whatever their type.
macro_rules! on {
    ($data:expr, $x:ident => $body:expr) => {
        match $data {
            $crate::data::Data::F32($x) => $body,
            $crate::data::Data::Bf16($x) => $body,
        }
    };
}
pub(crate) use on;

/// A buffer of either type.
pub(crate) enum Data {
    F32(Buffer<f32>),
    Bf16(Buffer<u16>),
}

impl From<Buffer<f32>> for Data {
    fn from(buffer: Buffer<f32>) -> Self {
        Data::F32(buffer)
    }
}

impl Data {
    pub(crate) fn take(arena: &Arena, dtype: Dtype, len: usize) -> Self {
        match dtype {
            Dtype::F32 => Data::F32(arena.take(len)),
            Dtype::Bf16 => Data::Bf16(arena.take(len)),
        }
    }

    /// Numbers that are known to be f32.
    pub(crate) fn f32(&self) -> &[f32] {
        match self {
            Data::F32(x) => x,
            Data::Bf16(_) => unreachable!("the caller has seen that these are f32"),
        }
    }

    /// Numbers that are known to be f32, to change.
    pub(crate) fn f32_mut(&mut self) -> &mut [f32] {
        match self {
            Data::F32(x) => x,
            Data::Bf16(_) => unreachable!("the caller has seen that these are f32"),
        }
    }

    /// Numbers as f32: in place, or widened.
    pub(crate) fn widen(&self, arena: &Arena) -> Wide<'_> {
        match self {
            Data::F32(x) => Wide::Same(x),
            Data::Bf16(x) => {
                let mut wide = arena.take(x.len());
                elementwise::cast(&mut wide, x);
                Wide::Copy(wide)
            }
        }
    }

    /// As an operand of a matrix product.
    pub(crate) fn acts(&self, rows: usize, cols: usize) -> Acts<'_> {
        match self {
            Data::F32(x) => Acts::F32(Mat::new(x, rows, cols)),
            Data::Bf16(x) => Acts::Bf16(Mat16::new(x, rows, cols)),
        }
    }

    /// As the destination of a matrix product.
    pub(crate) fn out(&mut self, rows: usize, cols: usize) -> Out<'_> {
        match self {
            Data::F32(x) => Out::F32(MatMut::new(x, rows, cols)),
            Data::Bf16(x) => Out::Bf16(MatMut16::new(x, rows, cols)),
        }
    }

    pub(crate) fn zero(&mut self) {
        match self {
            Data::F32(x) => elementwise::fill(x, 0.0),
            Data::Bf16(x) => elementwise::fill(x, 0),
        }
    }

    /// Sets or adds f32 numbers.
    pub(crate) fn assign(&mut self, x: &[f32], update: Update) {
        match update {
            Update::Set => on!(self, y => elementwise::cast(y, x)),
            Update::Add => on!(self, y => elementwise::accumulate(y, x)),
        }
    }

    pub(crate) fn copy_of(&self, arena: &Arena) -> Self {
        match self {
            Data::F32(x) => {
                let mut y = arena.take(x.len());
                elementwise::copy(&mut y, x);
                Data::F32(y)
            }
            Data::Bf16(x) => {
                let mut y = arena.take(x.len());
                elementwise::copy(&mut y, x);
                Data::Bf16(y)
            }
        }
    }
}

/// Borrowed numbers, or a copy of them.
pub(crate) enum Wide<'a> {
    Same(&'a [f32]),
    Copy(Buffer),
}

impl Deref for Wide<'_> {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        match self {
            Wide::Same(x) => x,
            Wide::Copy(x) => x,
        }
    }
}
