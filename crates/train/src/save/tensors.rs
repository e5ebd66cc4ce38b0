//! Writes named f32 tensors in the layout of safetensors: length of the header, header in JSON, data.
//!
//! Written here rather than through `containers`, because every byte must pass the seam of [`super::disk`] and be hashed
//! on its way; the layout is public, so any safetensors reader opens the file.

use std::path::Path;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::disk::{At, Disk, OutFile};
use crate::error::Result;

/// One tensor to write.
pub(crate) struct Entry<'a> {
    /// Its name in the file.
    pub name: String,
    /// Its shape, outermost first.
    pub shape: &'a [usize],
    /// Its numbers, row-major.
    pub data: &'a [f32],
}

/// Size and hash of a file that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Length.
    pub bytes: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

/// A file whose bytes are counted and hashed as they are written.
pub(crate) struct HashedFile<'p> {
    file: Box<dyn OutFile>,
    path: &'p Path,
    hash: Sha256,
    bytes: u64,
}

impl<'p> HashedFile<'p> {
    /// Creates the file.
    pub fn create(disk: &dyn Disk, path: &'p Path) -> Result<Self> {
        Ok(Self { file: disk.create(path).at("create", path)?, path, hash: Sha256::new(), bytes: 0 })
    }

    /// Writes at the end.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).at("write", self.path)?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Brings the file to the disk and closes it.
    pub fn finish(mut self) -> Result<Written> {
        self.file.sync().at("write", self.path)?;
        Ok(Written { bytes: self.bytes, sha256: hex(&self.hash.finalize()) })
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Numbers that are converted to bytes at a time.
const CHUNK: usize = 1 << 18;

/// Writes the tensors in the given order.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn write(disk: &dyn Disk, path: &Path, tensors: &[Entry<'_>]) -> Result<Written> {
    let mut header = Map::new();
    let mut offset = 0u64;
    for tensor in tensors {
        let end = offset + 4 * tensor.data.len() as u64;
        header.insert(tensor.name.clone(), json!({ "dtype": "F32", "shape": tensor.shape, "data_offsets": [offset, end] }));
        offset = end;
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut file = HashedFile::create(disk, path)?;
    file.write(&(header.len() as u64).to_le_bytes())?;
    file.write(&header)?;
    let mut bytes = Vec::with_capacity(4 * CHUNK);
    for tensor in tensors {
        for chunk in tensor.data.chunks(CHUNK) {
            if bytes.len() + 4 * chunk.len() > 4 * CHUNK {
                file.write(&bytes)?;
                bytes.clear();
            }
            bytes.extend(chunk.iter().flat_map(|number| number.to_le_bytes()));
        }
    }
    file.write(&bytes)?;
    file.finish()
}
