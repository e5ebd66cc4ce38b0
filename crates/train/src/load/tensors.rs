//! Reads the tensors of a checkpoint, one at a time, straight into place.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Result, TrainError};
use crate::save::disk::At;

/// Largest header that is believed.
const MAX_HEADER: u64 = 100 << 20;
/// Bytes read at a time.
const CHUNK: usize = 1 << 20;

#[derive(Deserialize)]
struct Described {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

/// An open file of tensors.
pub(crate) struct Tensors {
    file: File,
    path: PathBuf,
    data_start: u64,
    entries: BTreeMap<String, Described>,
}

impl Tensors {
    /// Opens the file and reads its header.
    pub fn open(path: &Path) -> Result<Self> {
        let mut file = File::open(path).at("read", path)?;
        let mut length = [0; 8];
        file.read_exact(&mut length).at("read", path)?;
        let length = u64::from_le_bytes(length);
        if length > MAX_HEADER {
            return Err(bad(path, format!("its header claims {length} bytes")));
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header).at("read", path)?;
        let entries = serde_json::from_slice(&header).map_err(|error| bad(path, format!("its header is not understood: {error}")))?;
        Ok(Self { file, path: path.to_path_buf(), data_start: 8 + length, entries })
    }

    /// Number of tensors whose name begins with `prefix`.
    pub fn count(&self, prefix: &str) -> usize {
        self.entries.keys().filter(|name| name.starts_with(prefix)).count()
    }

    /// Reads the tensor `name`, which must have this shape, into `into`.
    pub fn read_into(&mut self, name: &str, shape: &[usize], into: &mut [f32]) -> Result<()> {
        let entry = self
            .entries
            .get(name)
            .ok_or_else(|| bad(&self.path, format!("{name} is missing: this checkpoint is of other trainable tensors")))?;
        let [start, end] = entry.data_offsets;
        if entry.dtype != "F32" || entry.shape != shape || end.checked_sub(start) != Some(4 * into.len() as u64) {
            let why = format!("{name} is {} {:?}, the model has F32 {shape:?}", entry.dtype, entry.shape);
            return Err(bad(&self.path, why));
        }
        self.file.seek(SeekFrom::Start(self.data_start + start)).at("read", &self.path)?;
        let mut buffer = vec![0; CHUNK.min(4 * into.len())];
        for part in into.chunks_mut(CHUNK / 4) {
            let bytes = &mut buffer[..4 * part.len()];
            self.file.read_exact(bytes).at("read", &self.path)?;
            for (number, bytes) in part.iter_mut().zip(bytes.chunks_exact(4)) {
                *number = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            }
        }
        Ok(())
    }
}

fn bad(path: &Path, why: String) -> TrainError {
    TrainError::Checkpoint { path: path.to_path_buf(), why }
}
