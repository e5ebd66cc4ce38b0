//! Weights as operations see them: frozen storage or a trainable parameter, and the layers built from them.

use crate::data::ComputeDtype;
use crate::error::{EngineError, Result, check};
use crate::params::{ParamId, ParamStore};
use kernels::elementwise;
use kernels::mat::Mat;
use kernels::product::{Bf16Panels, I8Panels, Weights};
use kernels::quant::{Format as GroupFormat, GROUP, QuantPanels};
use std::sync::Arc;

/// How the numbers of a [`FrozenMatrix`] are kept; model code never sees it.
enum Storage {
    F32(Vec<f32>),
    Bf16(Bf16Panels),
    Int8(I8Panels),
    Groups(QuantPanels),
}

/// A weight that is never trained: `[rows = outputs, cols = inputs]`, row-major, opaque storage.
///
/// Share it through [`Arc`]; there is one copy however many layers, adapters or threads use it.
pub struct FrozenMatrix {
    rows: usize,
    cols: usize,
    storage: Storage,
}

impl FrozenMatrix {
    /// Takes `rows * cols` numbers in row-major order.
    ///
    /// # Errors
    /// If `data` has another length.
    pub fn from_f32(rows: usize, cols: usize, data: Vec<f32>) -> Result<Self> {
        check("FrozenMatrix::from_f32", "number of elements", rows * cols, data.len())?;
        Ok(FrozenMatrix { rows, cols, storage: Storage::F32(data) })
    }

    /// As [`Self::from_f32`], kept in what products of type `compute` read: f32 as it is, bf16 or int8 packed into panels
    /// (rounded once, here).
    ///
    /// # Errors
    /// If `data` has another length.
    pub fn packed(rows: usize, cols: usize, data: Vec<f32>, compute: ComputeDtype) -> Result<Self> {
        check("FrozenMatrix::packed", "number of elements", rows * cols, data.len())?;
        let storage = match compute {
            ComputeDtype::F32 | ComputeDtype::Native => Storage::F32(data),
            ComputeDtype::Bf16 => Storage::Bf16(Bf16Panels::new(Mat::new(&data, rows, cols))),
            ComputeDtype::Int8 => Storage::Int8(I8Panels::new(Mat::new(&data, rows, cols))),
        };
        Ok(FrozenMatrix { rows, cols, storage })
    }

    /// Takes the blocks of a GGUF tensor as they are; row `i` is row `row(i)` of the file's. For inference only.
    ///
    /// # Errors
    /// If `blocks` has another length, the columns are not whole groups, or `row` leaves the tensor.
    pub fn from_groups(rows: usize, cols: usize, format: GroupFormat, blocks: &[u8], row: impl Fn(usize) -> usize + Sync) -> Result<Self> {
        const OP: &str = "FrozenMatrix::from_groups";
        check(OP, "columns beyond whole groups", 0, cols % GROUP)?;
        check(OP, "bytes of blocks", rows * (cols / GROUP) * format.block_bytes(), blocks.len())?;
        if let Some(i) = (0..rows).find(|&i| row(i) >= rows) {
            return Err(EngineError::Index { op: OP, what: "row", index: row(i), len: rows });
        }
        Ok(FrozenMatrix { rows, cols, storage: Storage::Groups(QuantPanels::new(format, rows, cols, blocks, row)) })
    }

    /// Number of rows (outputs of a linear layer, entries of a vocabulary).
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns (inputs of a linear layer, width of an embedding).
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// All numbers in row-major order, widened to f32.
    pub fn to_f32(&self) -> Vec<f32> {
        match &self.storage {
            Storage::F32(data) => data.clone(),
            Storage::Bf16(panels) => panels.to_f32(),
            Storage::Int8(panels) => panels.to_f32(),
            Storage::Groups(panels) => panels.to_f32(),
        }
    }

    /// Copies row `i`, widened to f32, into `out`.
    ///
    /// # Panics
    /// If `i` is not a row or `out` is not as long as one.
    pub fn copy_row(&self, i: usize, out: &mut [f32]) {
        match &self.storage {
            Storage::F32(data) => out.copy_from_slice(&data[i * self.cols..(i + 1) * self.cols]),
            Storage::Bf16(panels) => panels.copy_row(i, out),
            Storage::Int8(panels) => panels.copy_row(i, out),
            Storage::Groups(panels) => panels.copy_row(i, out),
        }
    }

    /// Bytes that the storage occupies.
    pub fn bytes(&self) -> usize {
        match &self.storage {
            Storage::F32(data) => size_of_val(&data[..]),
            Storage::Bf16(panels) => panels.bytes(),
            Storage::Int8(panels) => panels.bytes(),
            Storage::Groups(panels) => panels.bytes(),
        }
    }

    /// In which arithmetic its products run.
    pub fn compute(&self) -> ComputeDtype {
        match &self.storage {
            Storage::F32(_) => ComputeDtype::F32,
            Storage::Bf16(_) => ComputeDtype::Bf16,
            Storage::Int8(_) => ComputeDtype::Int8,
            Storage::Groups(_) => ComputeDtype::Native,
        }
    }

    /// The numbers in place if they are kept in f32: for measurements beside the engine's own products.
    #[doc(hidden)]
    pub fn as_f32(&self) -> Option<&[f32]> {
        match &self.storage {
            Storage::F32(data) => Some(data),
            _ => None,
        }
    }

    /// The groups, if the weight is kept in them.
    pub(crate) fn groups(&self) -> Option<&QuantPanels> {
        match &self.storage {
            Storage::Groups(panels) => Some(panels),
            _ => None,
        }
    }

    /// What a product of few rows streams from memory, in the order in which it begins to; nothing for f32.
    fn stream(&self) -> &[u8] {
        match &self.storage {
            Storage::F32(_) => &[],
            Storage::Bf16(panels) => panels.stream(),
            Storage::Int8(panels) => panels.stream(),
            Storage::Groups(panels) => panels.stream(),
        }
    }

    fn weights(&self) -> Weights<'_> {
        match &self.storage {
            Storage::F32(data) => Weights::F32(Mat::new(data, self.rows, self.cols)),
            Storage::Bf16(panels) => Weights::Bf16(panels),
            Storage::Int8(panels) => Weights::I8(panels),
            Storage::Groups(_) => unreachable!("groups have products of their own, and no gradient: the tape refuses to train on them"),
        }
    }
}

impl std::fmt::Debug for FrozenMatrix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FrozenMatrix[{}, {}]", self.rows, self.cols)
    }
}

/// A two-dimensional weight, frozen or trainable.
#[derive(Clone, Debug)]
pub enum Matrix {
    /// Shared, never trained.
    Frozen(Arc<FrozenMatrix>),
    /// Trained; the same id may be used in several places (tied embeddings), its gradient is then the sum.
    Param(ParamId),
}

impl Matrix {
    /// `(rows, cols)`.
    pub fn shape(&self, params: &ParamStore) -> (usize, usize) {
        match self {
            Matrix::Frozen(m) => (m.rows, m.cols),
            Matrix::Param(id) => {
                let shape = &params.get(*id).shape;
                (shape.first().copied().unwrap_or(1), shape.get(1).copied().unwrap_or(1))
            }
        }
    }

    /// All numbers in row-major order as f32.
    pub fn to_f32(&self, params: &ParamStore) -> Vec<f32> {
        match self {
            Matrix::Frozen(m) => m.to_f32(),
            Matrix::Param(id) => params.get(*id).value.clone(),
        }
    }

    /// The numbers in place if they are kept in f32.
    pub(crate) fn f32<'s>(&'s self, params: &'s ParamStore) -> Option<&'s [f32]> {
        match self {
            Matrix::Frozen(m) => m.as_f32(),
            Matrix::Param(id) => Some(&params.get(*id).value),
        }
    }

    /// The groups, if the weight is kept in them.
    pub(crate) fn groups(&self) -> Option<&QuantPanels> {
        match self {
            Matrix::Frozen(m) => m.groups(),
            Matrix::Param(_) => None,
        }
    }

    /// What a product of few rows streams from memory; nothing for parameters, which seldom serve single tokens.
    pub fn stream(&self) -> &[u8] {
        match self {
            Matrix::Frozen(m) => m.stream(),
            Matrix::Param(_) => &[],
        }
    }

    /// As an operand of a product in bf16 or int8.
    pub(crate) fn weights<'s>(&'s self, params: &'s ParamStore) -> Weights<'s> {
        match self {
            Matrix::Frozen(m) => m.weights(),
            Matrix::Param(id) => {
                let (rows, cols) = self.shape(params);
                Weights::Bf16(params.get(*id).panels(rows, cols))
            }
        }
    }

    /// Rows `ids`, widened to f32, one after the other.
    pub(crate) fn gather_rows(&self, params: &ParamStore, ids: &[u32], out: &mut [f32]) {
        let (_, cols) = self.shape(params);
        match (self.f32(params), self) {
            (Some(table), _) => elementwise::gather_rows(out, table, cols, ids),
            (None, Matrix::Frozen(m)) => {
                for (row, &id) in out.chunks_exact_mut(cols.max(1)).zip(ids) {
                    m.copy_row(id as usize, row);
                }
            }
            (None, Matrix::Param(_)) => unreachable!("parameters are f32"),
        }
    }

    pub(crate) fn param(&self) -> Option<ParamId> {
        match self {
            Matrix::Frozen(_) => None,
            Matrix::Param(id) => Some(*id),
        }
    }
}

/// A one-dimensional weight (bias, norm weight), frozen or trainable.
#[derive(Clone, Debug)]
pub enum Vector {
    /// Shared, never trained.
    Frozen(Arc<Vec<f32>>),
    /// Trained.
    Param(ParamId),
}

impl Vector {
    /// Number of elements.
    pub fn len(&self, params: &ParamStore) -> usize {
        match self {
            Vector::Frozen(v) => v.len(),
            Vector::Param(id) => params.get(*id).value.len(),
        }
    }

    /// The numbers.
    pub fn to_f32(&self, params: &ParamStore) -> Vec<f32> {
        match self {
            Vector::Frozen(v) => v.to_vec(),
            Vector::Param(id) => params.get(*id).value.clone(),
        }
    }

    pub(crate) fn f32<'s>(&'s self, params: &'s ParamStore) -> &'s [f32] {
        match self {
            Vector::Frozen(v) => v,
            Vector::Param(id) => &params.get(*id).value,
        }
    }

    pub(crate) fn param(&self) -> Option<ParamId> {
        match self {
            Vector::Frozen(_) => None,
            Vector::Param(id) => Some(*id),
        }
    }
}

/// A low-rank branch beside a linear layer: `y += scale · (dropout(x)·Aᵀ)·Bᵀ` (Hu et al. 2021, arXiv:2106.09685).
#[derive(Clone, Debug)]
pub struct Lora {
    /// `[rank, inputs]`.
    pub a: ParamId,
    /// `[outputs, rank]`.
    pub b: ParamId,
    /// `alpha / rank`, or `alpha / √rank` for rsLoRA.
    pub scale: f32,
    /// Probability with which an element of the branch's input is zeroed in training.
    pub dropout: f32,
    /// Key of this module's dropout masks; unique within the model.
    pub module: u64,
}

/// `y = x·Wᵀ + bias`, optionally with a low-rank branch.
#[derive(Clone, Debug)]
pub struct Linear {
    /// `[outputs, inputs]`.
    pub weight: Matrix,
    /// `[outputs]`.
    pub bias: Option<Vector>,
    /// The low-rank branch.
    pub lora: Option<Lora>,
}

impl Linear {
    /// A linear layer without bias and branch.
    pub fn new(weight: Matrix) -> Self {
        Linear { weight, bias: None, lora: None }
    }

    /// Number of outputs.
    pub fn outputs(&self, params: &ParamStore) -> usize {
        self.weight.shape(params).0
    }

    /// Number of inputs.
    pub fn inputs(&self, params: &ParamStore) -> usize {
        self.weight.shape(params).1
    }

    /// True if any of its tensors is trained.
    pub fn trainable(&self) -> bool {
        self.lora.is_some() || self.weight.param().is_some() || self.bias.as_ref().is_some_and(|b| b.param().is_some())
    }
}

/// Which normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// `x / √(mean(x²) + eps) · w` (Zhang & Sennrich 2019, arXiv:1910.07467).
    Rms,
    /// `(x − mean) / √(var + eps) · w + b` (Ba et al. 2016, arXiv:1607.06450).
    Layer,
}

/// Normalisation of each row.
#[derive(Clone, Debug)]
pub struct Norm {
    /// Which one.
    pub kind: NormKind,
    /// `[cols]`.
    pub weight: Vector,
    /// `[cols]`; also allowed for RMS.
    pub bias: Option<Vector>,
    /// Added under the root.
    pub eps: f32,
}

impl Norm {
    /// True if any of its tensors is trained.
    pub fn trainable(&self) -> bool {
        self.weight.param().is_some() || self.bias.as_ref().is_some_and(|b| b.param().is_some())
    }
}
