//! The output directory of a run: claimed before anything expensive happens, and held until the run ends.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::disk::At;
use crate::error::{Result, TrainError};

/// The file that is locked; empty but for the owner's process number.
const LOCK_FILE: &str = ".tunesmith.lock";

/// A directory that belongs to this process while the value lives.
#[derive(Debug)]
pub struct OutputDir {
    path: PathBuf,
    resume: bool,
    /// The system releases the lock when the process ends, however it ends.
    _lock: File,
}

impl OutputDir {
    /// Creates the directory if need be and locks it.
    ///
    /// # Errors
    /// [`TrainError::Locked`] if another run holds it; [`TrainError::OutputNotEmpty`] if it holds files and `resume` is
    /// false; [`TrainError::Io`] if it cannot be created or written to.
    pub fn claim(path: impl Into<PathBuf>, resume: bool) -> Result<Self> {
        let path = path.into();
        fs::create_dir_all(&path).at("create", &path)?;
        let lock_path = path.join(LOCK_FILE);
        // Refused before anything is written: a directory of somebody's own stays as it was. (One that a run holds has a lock file,
        // and is looked at again once that is held.)
        if !resume && !lock_path.exists() {
            refuse_files(&path)?;
        }
        let mut lock = File::options().create(true).truncate(false).read(true).write(true).open(&lock_path).at("create", &lock_path)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let owner = fs::read_to_string(&lock_path).unwrap_or_default();
                let owner = if owner.trim().is_empty() { String::new() } else { format!(" (process {})", owner.trim()) };
                return Err(TrainError::Locked { dir: path, owner });
            }
            // Some network file systems have no locks; that must not make training impossible there.
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Unsupported => {}
            Err(TryLockError::Error(error)) => return Err(error).at("lock", &lock_path),
        }
        if !resume {
            refuse_files(&path)?;
        }
        lock.set_len(0).and_then(|()| write!(lock, "{}", std::process::id())).at("write", &lock_path)?;
        Ok(Self { path, resume, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a run in it should continue from its last checkpoint.
    pub fn resume(&self) -> bool {
        self.resume
    }
}

/// Refuses a directory that holds files.
fn refuse_files(path: &Path) -> Result<()> {
    let entries = fs::read_dir(path).at("list", path)?.collect::<std::io::Result<Vec<_>>>().at("list", path)?;
    let names = entries.iter().map(|e| e.file_name().to_string_lossy().into_owned()).filter(|name| name != LOCK_FILE);
    match names.min() {
        Some(first) => Err(TrainError::OutputNotEmpty { dir: path.to_path_buf(), first }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_do_not_share_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        let first = OutputDir::claim(&path, false).unwrap();
        let error = OutputDir::claim(&path, true).unwrap_err();
        assert!(matches!(error, TrainError::Locked { .. }));
        assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
        drop(first);
        OutputDir::claim(&path, true).unwrap();
    }

    #[test]
    fn files_in_the_directory_need_resume() {
        let dir = tempfile::tempdir().unwrap();
        drop(OutputDir::claim(dir.path(), false).unwrap());
        drop(OutputDir::claim(dir.path(), false).unwrap()); // the lock's own file does not count
        fs::write(dir.path().join("notes.txt"), "").unwrap();
        let error = OutputDir::claim(dir.path(), false).unwrap_err();
        assert!(error.is_user_input() && error.to_string().contains("notes.txt") && error.to_string().contains("--resume"), "{error}");
        OutputDir::claim(dir.path(), true).unwrap();
    }

    #[test]
    fn a_refused_directory_is_left_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("notes.txt"), "").unwrap();
        OutputDir::claim(dir.path(), false).unwrap_err();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
