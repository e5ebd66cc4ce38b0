//! safetensors: one file, or a directory of shards with an index.
//!
//! The format is a length, a JSON header and raw data, so the header is read here rather than by the `safetensors` crate:
//! that one cannot say which tensor is at fault, overflows on some hostile headers, and its writer neither streams nor
//! survives a full disk. The crate is the independent oracle of the tests instead.

mod header;
mod sharded;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

pub use sharded::{INDEX_FILE, SINGLE_FILE, ShardedSafetensors};

use crate::mmap::Bytes;
use crate::{Result, TensorSource, TensorView};

/// An opened safetensors file.
#[derive(Debug)]
pub struct SafetensorsFile {
    path: PathBuf,
    bytes: Bytes,
    metadata: BTreeMap<String, String>,
    /// In the order of their data.
    tensors: Vec<header::Entry>,
    index: HashMap<String, usize>,
}

impl SafetensorsFile {
    /// Maps the file and checks its whole header: types, shapes, and that the data tile the file exactly.
    ///
    /// # Errors
    /// [`Error::Damaged`](crate::Error::Damaged), [`Error::Unsupported`](crate::Error::Unsupported) for element types
    /// that are not known, [`Error::Io`](crate::Error::Io).
    pub fn open(path: impl AsRef<Path>) -> Result<SafetensorsFile> {
        let path = path.as_ref();
        Self::from_part(path, Bytes::map(path)?)
    }

    /// Reads a file that is already in memory; `name` stands for the path in messages.
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<SafetensorsFile> {
        Self::from_part(Path::new(name), Bytes::Owned(bytes))
    }

    fn from_part(path: &Path, bytes: Bytes) -> Result<SafetensorsFile> {
        let header = header::parse(path, &bytes)?;
        let index = header.tensors.iter().enumerate().map(|(i, t)| (t.name.clone(), i)).collect();
        Ok(SafetensorsFile { path: path.to_owned(), bytes, metadata: header.metadata, tensors: header.tensors, index })
    }

    /// The free-form `__metadata__` of the header, e.g. `format: pt`.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// All tensors in the order of their data.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = TensorView<'_>> {
        self.tensors.iter().map(|t| self.view(t))
    }

    fn view<'a>(&'a self, t: &'a header::Entry) -> TensorView<'a> {
        // In bounds: `header::parse` checked every range against the file's length.
        TensorView { name: &t.name, dtype: t.dtype, shape: &t.shape, data: &self.bytes[t.start..t.end] }
    }
}

impl TensorSource for SafetensorsFile {
    fn names(&self) -> Vec<String> {
        self.tensors.iter().map(|t| t.name.clone()).collect()
    }

    fn tensor(&self, name: &str) -> Option<TensorView<'_>> {
        self.index.get(name).map(|&i| self.view(&self.tensors[i]))
    }

    fn path(&self) -> &Path {
        &self.path
    }
}
