//! A file that only grows, and that a resumed run cuts back to where its checkpoint was.

use std::path::{Path, PathBuf};

use super::disk::{At, Disk, OutFile};
use crate::error::Result;

/// A growing file and its length.
pub(crate) struct Growing {
    file: Box<dyn OutFile>,
    path: PathBuf,
    bytes: u64,
}

impl Growing {
    /// Opens the file and cuts it to `keep` bytes (which it must have).
    pub fn open(disk: &dyn Disk, path: &Path, keep: u64) -> Result<Self> {
        let file = disk.append(path).at("open", path)?;
        disk.set_len(path, keep).at("cut", path)?;
        Ok(Self { file, path: path.to_path_buf(), bytes: keep })
    }

    /// Writes at the end, in one operation: a reader sees whole records.
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).at("write", &self.path)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Brings the file to the disk and returns its length, for a checkpoint to remember.
    pub fn settle(&mut self) -> Result<u64> {
        self.file.sync().at("write", &self.path)?;
        Ok(self.bytes)
    }
}
