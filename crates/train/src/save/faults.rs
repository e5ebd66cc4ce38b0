//! A disk that fails on purpose, for tests: at the n-th operation the process dies, the power fails, or the disk is full.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::disk::{Disk, OutFile};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The process dies in the midst of the operation; nothing after it has any effect.
    Kill,
    /// The same, and files lose half of what was written to them since they were last synced; renamings in directories that
    /// were not synced since are undone.
    PowerLoss,
    /// From this operation on nothing can be written or created, but renaming and removing work.
    Full,
}

/// A disk that works for some operations. Its syncs cost nothing, which makes tests fast.
#[derive(Clone)]
pub(crate) struct FaultyDisk(Rc<State>);

struct State {
    fault: Fault,
    left: Cell<u64>,
    failed: Cell<bool>,
    used: Cell<u64>,
    /// Files with unsynced data, and how long they were when last synced.
    unsynced: RefCell<BTreeMap<PathBuf, u64>>,
    /// Renamings (from, to) whose directory was not synced since.
    renamed: RefCell<Vec<(PathBuf, PathBuf)>>,
}

impl FaultyDisk {
    /// A disk that fails at the operation after `operations` others.
    pub fn failing_after(operations: u64, fault: Fault) -> Self {
        Self(Rc::new(State {
            fault,
            left: Cell::new(operations),
            failed: Cell::new(false),
            used: Cell::new(0),
            unsynced: RefCell::new(BTreeMap::new()),
            renamed: RefCell::default(),
        }))
    }

    /// A disk that never fails.
    pub fn sound() -> Self {
        Self::failing_after(u64::MAX, Fault::Kill)
    }

    /// Operations so far.
    pub fn used(&self) -> u64 {
        self.0.used.get()
    }

    /// Counts an operation: `Ok(true)` to do it, `Ok(false)` to do half of it and then ask [`Self::error`].
    fn operation(&self, writes: bool) -> io::Result<bool> {
        let state = &self.0;
        state.used.set(state.used.get() + 1);
        if state.failed.get() {
            return if state.fault == Fault::Full && !writes { Ok(true) } else { Err(self.error()) };
        }
        if state.left.get() > 0 {
            state.left.set(state.left.get() - 1);
            return Ok(true);
        }
        if state.fault == Fault::Full && !writes {
            return Ok(true); // the next writing operation fails
        }
        state.failed.set(true);
        Ok(false)
    }

    /// What the failed operation reports; a power failure takes its toll here.
    fn error(&self) -> io::Error {
        match self.0.fault {
            Fault::Full => ErrorKind::StorageFull.into(),
            Fault::Kill => io::Error::other("killed"),
            Fault::PowerLoss => {
                for (path, synced) in std::mem::take(&mut *self.0.unsynced.borrow_mut()) {
                    if let Ok(file) = OpenOptions::new().write(true).open(&path) {
                        let length = file.metadata().map_or(0, |file| file.len());
                        let _ = file.set_len(synced + length.saturating_sub(synced) / 2);
                    }
                }
                for (from, to) in std::mem::take(&mut *self.0.renamed.borrow_mut()).into_iter().rev() {
                    let _ = fs::rename(to, from);
                }
                io::Error::other("power failure")
            }
        }
    }

    fn all_or_nothing<T>(&self, writes: bool, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        if self.operation(writes)? { operation() } else { Err(self.error()) }
    }
}

impl Disk for FaultyDisk {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.all_or_nothing(true, || fs::create_dir_all(path))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn OutFile>> {
        let file = self.all_or_nothing(true, || File::create(path))?;
        Ok(Box::new(FaultyFile { file, path: path.to_path_buf(), disk: self.clone() }))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn OutFile>> {
        let file = self.all_or_nothing(true, || OpenOptions::new().create(true).append(true).open(path))?;
        Ok(Box::new(FaultyFile { file, path: path.to_path_buf(), disk: self.clone() }))
    }

    fn set_len(&self, path: &Path, len: u64) -> io::Result<()> {
        self.all_or_nothing(false, || OpenOptions::new().write(true).open(path)?.set_len(len))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.all_or_nothing(false, || {
            fs::rename(from, to)?;
            let mut unsynced = self.0.unsynced.borrow_mut();
            self.0.renamed.borrow_mut().push((from.to_path_buf(), to.to_path_buf()));
            let moved = |path: PathBuf| path.strip_prefix(from).map_or(path.clone(), |rest| to.join(rest));
            *unsynced = std::mem::take(&mut *unsynced).into_iter().map(|(path, synced)| (moved(path), synced)).collect();
            Ok(())
        })
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        if self.operation(false)? {
            return fs::remove_dir_all(path);
        }
        // Interrupted: one entry is gone, the others are not.
        if let Some(entry) = fs::read_dir(path)?.flatten().find(|entry| entry.path().is_file()) {
            fs::remove_file(entry.path())?;
        }
        Err(self.error())
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.all_or_nothing(false, || {
            assert!(path.exists(), "{path:?} is synced and does not exist");
            self.0.unsynced.borrow_mut().remove(path);
            self.0.renamed.borrow_mut().retain(|(_, to)| to.parent() != Some(path));
            Ok(())
        })
    }
}

struct FaultyFile {
    file: File,
    path: PathBuf,
    disk: FaultyDisk,
}

impl OutFile for FaultyFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let whole = self.disk.operation(true)?;
        let length = self.file.metadata()?.len();
        self.disk.0.unsynced.borrow_mut().entry(self.path.clone()).or_insert(length);
        if whole {
            return self.file.write_all(bytes);
        }
        self.file.write_all(&bytes[..bytes.len() / 2])?;
        Err(self.disk.error())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.all_or_nothing(true, || {
            self.disk.0.unsynced.borrow_mut().remove(&self.path);
            Ok(())
        })
    }
}
