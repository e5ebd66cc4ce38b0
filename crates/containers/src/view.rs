//! A tensor as it lies in a file, and the trait that all containers share.

use crate::{DType, Error, QuantError, Result, mmap, quant};

/// A stored tensor, borrowed from the (memory-mapped) file.
///
/// The container checked at opening that `data` holds exactly the bytes that `dtype` and `shape` ask for.
#[derive(Clone, Copy, Debug)]
pub struct TensorView<'a> {
    /// Name in the file.
    pub name: &'a str,
    /// Element type.
    pub dtype: DType,
    /// Row-major, outermost dimension first (GGUF's order is reversed on reading). Empty for a scalar.
    pub shape: &'a [usize],
    /// The bytes, little endian. Not aligned.
    pub data: &'a [u8],
}

impl<'a> TensorView<'a> {
    /// Number of values.
    pub fn numel(&self) -> usize {
        self.shape.iter().product()
    }

    /// `(rows, cols)`: cols is the innermost dimension, rows all the others multiplied. A scalar is `(1, 1)`.
    pub fn rows_cols(&self) -> (usize, usize) {
        match self.shape.split_last() {
            None => (1, 1),
            Some((&cols, outer)) => (outer.iter().product(), cols),
        }
    }

    /// All values as f32. Parallel over blocks; the same bits whatever the thread count.
    ///
    /// # Errors
    /// [`Error::Tensor`] when the type holds no weights (integers) or is not decoded.
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        if !self.dtype.is_readable_as_f32() {
            // Before the allocation: a huge integer tensor should not cost memory to be refused.
            return Err(self.error(quant::unreadable(self.dtype)));
        }
        let mut out = mmap::zeros(self.numel());
        self.to_f32_into(&mut out)?;
        Ok(out)
    }

    /// As [`to_f32`](Self::to_f32), into a buffer of [`numel`](Self::numel) values.
    ///
    /// # Errors
    /// As `to_f32`, and when the length differs.
    pub fn to_f32_into(&self, out: &mut [f32]) -> Result<()> {
        quant::dequantize(self.dtype, self.data, out).map_err(|e| self.error(e))
    }

    /// Values of rows `first..first + n` with `n = out.len() / cols`, for what needs a few rows of a large matrix.
    ///
    /// # Errors
    /// As `to_f32`; also when the rows do not exist or a row is not a whole number of blocks.
    pub fn rows_to_f32_into(&self, first: usize, out: &mut [f32]) -> Result<()> {
        let (_, cols) = self.rows_cols();
        let length = || self.error(QuantError::Length { dtype: self.dtype, bytes: self.data.len(), values: out.len() });
        let row_bytes = self
            .dtype
            .bytes_for(cols)
            .ok_or_else(|| self.error(QuantError::Row { dtype: self.dtype, row: cols, block: self.dtype.block_len() }))?;
        if cols == 0 || !out.len().is_multiple_of(cols) {
            return if out.is_empty() { Ok(()) } else { Err(length()) };
        }
        let start = first.checked_mul(row_bytes).ok_or_else(length)?;
        let end = start.checked_add(out.len() / cols * row_bytes).ok_or_else(length)?;
        let data = self.data.get(start..end).ok_or_else(length)?;
        quant::dequantize(self.dtype, data, out).map_err(|e| self.error(e))
    }

    fn error(&self, source: QuantError) -> Error {
        Error::Tensor { name: self.name.to_owned(), source }
    }
}

/// Anything that holds named tensors: one safetensors file, a sharded directory, a GGUF file.
pub trait TensorSource: Send + Sync {
    /// All names, in the order in which the data lies in the file(s).
    fn names(&self) -> Vec<String>;

    /// The tensor called `name`.
    fn tensor(&self, name: &str) -> Option<TensorView<'_>>;

    /// Where it was read from, for messages.
    fn path(&self) -> &std::path::Path;

    /// The tensor called `name`, or an error that says which file lacks it and what comes near.
    fn require(&self, name: &str) -> Result<TensorView<'_>> {
        self.tensor(name).ok_or_else(|| {
            // The nearest name by common suffix: loaders look for the right leaf under the wrong prefix.
            let leaf = name.rsplit('.').take(2).collect::<Vec<_>>();
            let near = self.names().into_iter().find(|n| n.rsplit('.').take(2).eq(leaf.iter().copied()));
            Error::MissingTensor {
                path: self.path().to_owned(),
                name: name.to_owned(),
                nearest: near.map(|n| format!("; there is `{n}`")).unwrap_or_default(),
            }
        })
    }
}
