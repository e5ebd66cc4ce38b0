//! Writing containers: one tensor in memory at a time, and a file under its name only when it is complete.

mod atomic;
mod gguf;
mod safetensors;

use std::borrow::Cow;
use std::path::Path;

pub use atomic::{AtomicFile, write_atomic};
pub use gguf::write_gguf;
pub use safetensors::{write_safetensors, write_sharded};

use crate::{BoxError, DType, Error, Result, TensorView, quant};

type Produce<'a> = Box<dyn FnOnce() -> Result<Cow<'a, [u8]>, BoxError> + Send + 'a>;

/// A tensor to be written: its description now, its bytes when their turn comes.
pub struct LazyTensor<'a> {
    name: String,
    dtype: DType,
    shape: Vec<usize>,
    produce: Produce<'a>,
}

impl<'a> LazyTensor<'a> {
    /// A tensor whose bytes (`dtype`, little endian, row-major) `produce` will give. It is called once, and its result is
    /// dropped before the next tensor is asked for.
    pub fn new<F, E>(name: impl Into<String>, dtype: DType, shape: impl Into<Vec<usize>>, produce: F) -> LazyTensor<'a>
    where
        F: FnOnce() -> Result<Vec<u8>, E> + Send + 'a,
        E: Into<BoxError>,
    {
        let produce = Box::new(move || produce().map(Cow::Owned).map_err(Into::into));
        LazyTensor { name: name.into(), dtype, shape: shape.into(), produce }
    }

    /// A tensor whose values `produce` will give as f32, stored as `dtype` (see [`quant::encode`]).
    pub fn encoded<F, E>(name: impl Into<String>, dtype: DType, shape: impl Into<Vec<usize>>, produce: F) -> LazyTensor<'a>
    where
        F: FnOnce() -> Result<Vec<f32>, E> + Send + 'a,
        E: Into<BoxError>,
    {
        let shape = shape.into();
        let row = shape.last().copied().unwrap_or(1);
        LazyTensor::new(name, dtype, shape, move || -> Result<Vec<u8>, BoxError> {
            let values = produce().map_err(Into::into)?;
            Ok(quant::encode(dtype, &values, row)?)
        })
    }

    /// f32 values that are in memory already, stored as `dtype`.
    pub fn from_f32(name: impl Into<String>, dtype: DType, shape: impl Into<Vec<usize>>, values: &'a [f32]) -> LazyTensor<'a> {
        let shape = shape.into();
        let row = shape.last().copied().unwrap_or(1);
        LazyTensor::new(name, dtype, shape, move || quant::encode(dtype, values, row))
    }

    /// A stored tensor, copied as it is.
    pub fn copy(view: TensorView<'a>) -> LazyTensor<'a> {
        let produce = Box::new(move || Ok(Cow::Borrowed(view.data)));
        LazyTensor { name: view.name.to_owned(), dtype: view.dtype, shape: view.shape.to_vec(), produce }
    }

    /// The same under another name.
    pub fn renamed(mut self, name: impl Into<String>) -> LazyTensor<'a> {
        self.name = name.into();
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its bytes on disk; an error when the shape overflows or is no whole number of blocks.
    fn size(&self, path: &Path) -> Result<usize> {
        let numel = self.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let whole_rows = self.shape.last().copied().unwrap_or(1).is_multiple_of(self.dtype.block_len());
        numel
            .filter(|_| whole_rows)
            .and_then(|n| self.dtype.bytes_for(n))
            .ok_or_else(|| unwritable(path, &self.name, format!("shape {:?} cannot be stored as {}", self.shape, self.dtype)))
    }

    /// Produces the bytes and checks that they are as many as promised.
    fn bytes(self, path: &Path) -> Result<(String, Cow<'a, [u8]>)> {
        let size = self.size(path)?;
        match (self.produce)() {
            Ok(bytes) if bytes.len() == size => Ok((self.name, bytes)),
            Ok(bytes) => {
                let reason =
                    format!("{} bytes were produced for shape {:?} of {}, which takes {size}", bytes.len(), self.shape, self.dtype);
                Err(unwritable(path, &self.name, reason))
            }
            Err(source) => Err(Error::Produce { path: path.to_owned(), name: self.name, source }),
        }
    }
}

fn unwritable(path: &Path, name: &str, reason: impl Into<String>) -> Error {
    Error::Unwritable { path: path.to_owned(), name: name.to_owned(), reason: reason.into() }
}

/// Refuses two tensors of one name before anything is written.
fn check_names(path: &Path, tensors: &[LazyTensor<'_>]) -> Result<()> {
    let mut names: Vec<&str> = tensors.iter().map(LazyTensor::name).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(unwritable(path, pair[0], "is to be written twice")),
        None => Ok(()),
    }
}
