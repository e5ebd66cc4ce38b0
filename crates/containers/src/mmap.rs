//! Files as byte slices, and large pages for what is decoded from them: the crate's only `unsafe`.
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

/// Buffers below this size gain nothing from large pages.
#[cfg(target_os = "linux")]
const LARGE: usize = 4 << 20;

/// Zeros that are about to be written in full. Asks the kernel for large pages: with small ones, the page faults of a fresh
/// buffer take longer than decoding into it, and matrix products over the weights miss the TLB. It is a hint; where the
/// system has it switched off or no large page free, nothing changes.
pub(crate) fn zeros(len: usize) -> Vec<f32> {
    #[cfg_attr(not(target_os = "linux"), allow(unused_mut))]
    let mut buffer = vec![0.0f32; len];
    #[cfg(target_os = "linux")]
    if size_of_val(buffer.as_slice()) >= LARGE {
        const PAGE: usize = 4096; // a larger base page makes the call fail, harmlessly
        let range = buffer.as_mut_ptr_range();
        let (start, end) = ((range.start as usize).next_multiple_of(PAGE), range.end as usize / PAGE * PAGE);
        // SAFETY: the range lies within `buffer`, which this function owns; MADV_HUGEPAGE changes how the kernel backs
        // memory, never what it contains. The result is ignored because the advice may be refused.
        unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_HUGEPAGE) };
    }
    buffer
}
