//! GGUF files: ggml's container of metadata, tokenizer and (quantised) weights in one file.
//!
//! Source: the GGUF specification (`docs/gguf.md` of ggml). Versions 2 and 3, little endian; a model split over several
//! files (`…-00001-of-00003.gguf`) is opened through its first file.

mod metadata;
mod parse;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

pub use metadata::{Array, Metadata, Value};

use crate::mmap::Bytes;
use crate::{DType, Error, Result, TensorSource, TensorView};

pub(crate) use parse::{DEFAULT_ALIGNMENT, MAGIC, MAX_DIMS, ValueType};

/// An opened GGUF model.
#[derive(Debug)]
pub struct GgufFile {
    path: PathBuf,
    version: u32,
    metadata: Metadata,
    parts: Vec<Bytes>,
    tensors: Vec<Entry>,
    index: HashMap<String, usize>,
}

/// A tensor's place: `data` bytes `start..end` of part `part`.
#[derive(Debug)]
struct Entry {
    name: String,
    dtype: DType,
    shape: Vec<usize>,
    part: usize,
    start: usize,
    end: usize,
}

impl GgufFile {
    /// Maps the file and checks its header: every length, every tensor's place.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Unsupported`] (big endian, version 1, unknown types), [`Error::Io`].
    pub fn open(path: impl AsRef<Path>) -> Result<GgufFile> {
        let path = path.as_ref();
        let first = Self::from_part(path, Bytes::map(path)?)?;
        first.with_other_parts()
    }

    /// Reads a GGUF file that is already in memory; `name` stands for the path in messages.
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<GgufFile> {
        Self::from_part(Path::new(name), Bytes::Owned(bytes))
    }

    fn from_part(path: &Path, bytes: Bytes) -> Result<GgufFile> {
        let parsed = parse::parse(path, &bytes)?;
        let mut file = GgufFile {
            path: path.to_owned(),
            version: parsed.version,
            metadata: parsed.metadata,
            parts: vec![bytes],
            tensors: Vec::new(),
            index: HashMap::new(),
        };
        file.add(path, parsed.tensors)?;
        Ok(file)
    }

    /// Takes in the tensors of the part that was added last.
    fn add(&mut self, path: &Path, tensors: Vec<parse::TensorInfo>) -> Result<()> {
        let part = self.parts.len() - 1;
        for t in tensors {
            if self.index.insert(t.name.clone(), self.tensors.len()).is_some() {
                return Err(Error::damaged(path, format!("tensor `{}`", t.name), "is there twice"));
            }
            self.tensors.push(Entry { name: t.name, dtype: t.dtype, shape: t.shape, part, start: t.start, end: t.end });
        }
        Ok(())
    }

    /// Opens the rest of a split model (`llama-gguf-split`): keys `split.no`, `split.count`, `split.tensors.count`, files
    /// `<prefix>-%05d-of-%05d.gguf` side by side.
    fn with_other_parts(mut self) -> Result<GgufFile> {
        let count = self.metadata.u64("split.count").unwrap_or(1);
        if count <= 1 {
            return Ok(self);
        }
        let file_name = self.path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let Some(prefix) = file_name.strip_suffix(&format!("-00001-of-{count:05}.gguf")) else {
            return Err(Error::Unsupported {
                path: self.path.clone(),
                what: format!("one of {count} parts of a split model, but not the first by its name"),
                hint: "give the file that ends in `-00001-of-….gguf` and keep all parts in one directory",
            });
        };
        let prefix = prefix.to_owned();
        for no in 2..=count {
            let path = self.path.with_file_name(format!("{prefix}-{no:05}-of-{count:05}.gguf"));
            let bytes = Bytes::map(&path)?;
            let parsed = parse::parse(&path, &bytes)?;
            if parsed.metadata.u64("split.no") != Some(no - 1) {
                return Err(Error::damaged(&path, "metadata key `split.no`", format!("should be {}", no - 1)));
            }
            self.parts.push(bytes);
            self.add(&path, parsed.tensors)?;
        }
        match self.metadata.u64("split.tensors.count") {
            Some(n) if n != self.tensors.len() as u64 => Err(Error::damaged(
                &self.path,
                "metadata key `split.tensors.count`",
                format!("promises {n} tensors, the parts hold {}", self.tensors.len()),
            )),
            _ => Ok(self),
        }
    }

    /// Settings, tokenizer and everything else that is not a tensor.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Format version, 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Key `general.architecture`, e.g. `llama`.
    pub fn architecture(&self) -> Option<&str> {
        self.metadata.str("general.architecture")
    }

    /// All tensors in the file's order.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = TensorView<'_>> {
        self.tensors.iter().map(|t| self.view(t))
    }

    fn view<'a>(&'a self, t: &'a Entry) -> TensorView<'a> {
        // In bounds: `parse` checked every range against the length of this part.
        TensorView { name: &t.name, dtype: t.dtype, shape: &t.shape, data: &self.parts[t.part][t.start..t.end] }
    }
}

impl TensorSource for GgufFile {
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
