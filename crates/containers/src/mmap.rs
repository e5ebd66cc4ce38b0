//! Files as byte slices: the crate's only `unsafe`.
//!
//! A mapping costs no memory of its own and lets a model of any size be opened in microseconds.

use std::fs::File;
use std::ops::Deref;
use std::path::Path;

use crate::{Error, Result};

/// The bytes of a file, mapped or held in memory.
#[derive(Debug)]
pub(crate) enum Bytes {
    Mapped(memmap2::Mmap),
    Owned(Vec<u8>),
}

impl Bytes {
    /// Maps the file at `path` read-only.
    pub(crate) fn map(path: &Path) -> Result<Bytes> {
        let file = File::open(path).map_err(Error::io(path, "open"))?;
        let meta = file.metadata().map_err(Error::io(path, "read the size of"))?;
        if meta.is_dir() {
            return Err(Error::Io { path: path.to_owned(), action: "open", source: std::io::ErrorKind::IsADirectory.into() });
        }
        if meta.len() == 0 {
            return Ok(Bytes::Owned(Vec::new())); // an empty mapping is not portable
        }
        // SAFETY: the mapping is private and read-only, and lives as long as the slices handed out (`Deref` borrows from
        // `self`). What the type system cannot exclude is that another process truncates or rewrites the file meanwhile:
        // a truncation raises SIGBUS, a rewrite shows other numbers. Model files are replaced by rename (our own writers
        // do so), which leaves existing mappings intact; every reader of this kind (llama.cpp, the safetensors library)
        // makes the same assumption. No reference to the bytes is ever interpreted as anything with invalid bit patterns.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(Error::io(path, "map"))?;
        Ok(Bytes::Mapped(map))
    }
}

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Owned(vec) => vec,
        }
    }
}
