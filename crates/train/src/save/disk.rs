//! The few file operations that training needs, as a trait: the seam at which tests pull the plug.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use crate::error::{Result, TrainError};

/// File operations. Each method is one step that can fail or be the last thing the process does.
pub(crate) trait Disk {
    /// Creates a directory and its parents.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Creates a file, or empties it.
    fn create(&self, path: &Path) -> io::Result<Box<dyn OutFile>>;
    /// Opens a file to write at its end; creates it if it does not exist.
    fn append(&self, path: &Path) -> io::Result<Box<dyn OutFile>>;
    /// Cuts a file.
    fn set_len(&self, path: &Path, len: u64) -> io::Result<()>;
    /// Renames a file or directory: all or nothing.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a directory and what is in it; being interrupted leaves a part of it.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Brings an existing file (or, on Unix, a directory's list of names) from the system's memory to the disk.
    fn sync(&self, path: &Path) -> io::Result<()>;
}

/// A file that is being written.
pub(crate) trait OutFile {
    /// Writes all bytes or fails, possibly after some of them.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Brings the file to the disk.
    fn sync(&mut self) -> io::Result<()>;
}

/// The real thing.
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn OutFile>> {
        Ok(Box::new(File::create(path)?))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn OutFile>> {
        Ok(Box::new(OpenOptions::new().create(true).append(true).open(path)?))
    }

    fn set_len(&self, path: &Path, len: u64) -> io::Result<()> {
        OpenOptions::new().write(true).open(path)?.set_len(len)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() && !cfg!(unix) {
            return Ok(()); // only Unix opens directories
        }
        File::open(path)?.sync_all()
    }
}

impl OutFile for File {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        Write::write_all(self, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

/// Turns a system error into ours, with what was being done and where.
pub(crate) trait At<T> {
    /// Adds the action (`write`, `rename`, …) and the path.
    fn at(self, action: &'static str, path: &Path) -> Result<T>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| TrainError::Io { action, path: path.to_path_buf(), source })
    }
}
