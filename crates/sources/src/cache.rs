//! The one cache: where things lie in it, locks between processes, atomic writes.
//!
//! ```text
//! CACHEDIR.TAG                                   backup programs pass it by
//! hf/models--org--name/refs/REVISION             the commit that a branch or tag stood for
//! hf/models--org--name/listings/COMMIT.json      the repository's files with sizes and digests
//! hf/models--org--name/snapshots/COMMIT/…        the files (the hub client's own layout, without its links)
//! pypi/PACKAGE/VERSION/wheel.json                the wheel and its members
//! pypi/PACKAGE/VERSION/files/…                   members that were asked for
//! url/HASH/FILE                                  one file each
//! partial/                                       downloads under way; they are continued
//! locks/                                         one per thing that is being fetched
//! hashes/                                        digests of files that were hashed before
//! ```
//! A file stands at its final place only when it is complete and verified, so a reader needs no lock. Files brought by hand to these
//! places are found.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Result, SourceError};
use crate::hash::sha256_text;
use crate::progress::DownloadProgress;

/// The cache directory (`TUNESMITH_CACHE`, else `$XDG_CACHE_HOME/tunesmith`, else `~/.cache/tunesmith`).
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// Held while one thing is being fetched; released when dropped, and by the system when the process dies.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// <https://bford.info/cachedir/>
const TAG: &str =
    "Signature: 8a477f597d28d172789f06886806bc55\n# Downloads of tunesmith; they may be deleted, and will be fetched again.\n";

impl Cache {
    /// Names the directory; it is created by the first write.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Creates a directory of the cache, and the cache's own tag.
    pub(crate) fn create_dir(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir).map_err(|e| SourceError::cache_io("creating", dir, e))?;
        let tag = self.root.join("CACHEDIR.TAG");
        if dir.starts_with(&self.root) && !tag.exists() {
            let _ = fs::write(tag, TAG);
        }
        Ok(())
    }

    /// The directory that holds an address's file.
    pub(crate) fn url_dir(&self, url: &str) -> PathBuf {
        self.root.join("url").join(&sha256_text(url)[..32])
    }

    /// The directory of one version of a package.
    pub(crate) fn package_dir(&self, normal_name: &str, version: &str) -> PathBuf {
        self.root.join("pypi").join(normal_name).join(version)
    }

    /// The hub's part, in the layout of the hub client's cache.
    pub(crate) fn hub_dir(&self) -> PathBuf {
        self.root.join("hf")
    }

    /// Where a download under way lies: on the same file system as its destination, under a name that says what it is.
    pub(crate) fn partial(&self, identity: &str, name: &str) -> PathBuf {
        let safe: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect();
        let tail = &safe[safe.len().saturating_sub(80)..];
        self.root.join("partial").join(format!("{}-{tail}", &sha256_text(identity)[..16]))
    }

    /// Waits until this process is the only one to fetch `what`.
    pub(crate) fn lock(&self, what: &str, progress: &mut dyn DownloadProgress) -> Result<Lock> {
        let dir = self.root.join("locks");
        self.create_dir(&dir)?;
        let path = dir.join(format!("{}.lock", &sha256_text(what)[..32]));
        let file = File::options().create(true).append(true).open(&path).map_err(|e| SourceError::cache_io("opening", &path, e))?;
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { _file: file }),
                Err(TryLockError::WouldBlock) => {
                    if !told {
                        progress.note(&format!("another process is fetching {what}; waiting for it"));
                        told = true;
                    }
                    if progress.cancelled() {
                        return Err(SourceError::Cancelled);
                    }
                    std::thread::sleep(Duration::from_millis(100));
                }
                Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(TryLockError::Error(e)) => {
                    // Some network file systems have no locks. Files still appear at once or not at all.
                    progress.note(&format!("{} cannot be locked ({e}); run one process at a time with this cache", path.display()));
                    return Ok(Lock { _file: file });
                }
            }
        }
    }
}

/// Writes a small file so that readers see all of it or none.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir).map_err(|e| SourceError::cache_io("creating", dir, e))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Two processes may write the same note at once, so the temporary name is this process's own.
    let temporary = dir.join(format!(".{name}.{}.tmp", std::process::id()));
    let written = File::create(&temporary).and_then(|mut f| f.write_all(bytes).and_then(|()| f.sync_all()));
    let result = written.and_then(|()| fs::rename(&temporary, path));
    result.map_err(|e| {
        let _ = fs::remove_file(&temporary);
        SourceError::cache_io("writing", path, e)
    })
}

/// Moves a finished, synced file to its place and makes the move durable.
pub(crate) fn put_in_place(from: &Path, to: &Path) -> Result<()> {
    let dir = to.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir).map_err(|e| SourceError::cache_io("creating", dir, e))?;
    fs::rename(from, to).map_err(|e| SourceError::cache_io("writing", to, e))?;
    // A directory cannot be synced everywhere; where it cannot, the rename is still atomic.
    if let Ok(dir) = File::open(dir) {
        let _ = dir.sync_all();
    }
    Ok(())
}

/// Removes a file that may not exist; failing to is no reason to fail.
pub(crate) fn discard(path: &Path) {
    let _ = fs::remove_file(path);
}

/// A path inside a source, as a path below a directory of the cache. The parts were checked when the name was read, but listings come
/// from outside: nothing leaves the directory.
pub(crate) fn below(dir: &Path, inner: &str) -> Option<PathBuf> {
    let safe = |part: &&str| !part.is_empty() && *part != "." && *part != ".." && !part.contains(['\\', ':', '\0']);
    let mut path = dir.to_owned();
    for part in inner.split('/') {
        path.push(Some(part).filter(|p| safe(p))?);
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    #[derive(Default)]
    struct Notes(Vec<String>, bool);
    impl DownloadProgress for Notes {
        fn start(&mut self, _: &str, _: Option<u64>, _: u64) {}
        fn advance(&mut self, _: u64) {}
        fn finish(&mut self) {}
        fn note(&mut self, msg: &str) {
            self.0.push(msg.to_owned());
        }
        fn cancelled(&self) -> bool {
            self.1
        }
    }

    #[test]
    fn a_second_holder_waits_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().join("c"));
        let first = cache.lock("hf:a/b", &mut Silent).unwrap();
        let _other = cache.lock("hf:a/c", &mut Silent).unwrap();
        // A lock belongs to the open file, so a second handle in this process meets it as another process would.
        let mut impatient = Notes(Vec::new(), true);
        assert!(matches!(cache.lock("hf:a/b", &mut impatient), Err(SourceError::Cancelled)));
        assert_eq!(impatient.0, ["another process is fetching hf:a/b; waiting for it"]);
        let waiter = std::thread::spawn({
            let cache = cache.clone();
            move || {
                let mut notes = Notes::default();
                cache.lock("hf:a/b", &mut notes).map(|_| notes.0.len())
            }
        });
        std::thread::sleep(Duration::from_millis(50));
        drop(first);
        assert!(waiter.join().unwrap().is_ok());
        assert!(dir.path().join("c/CACHEDIR.TAG").exists());
    }

    #[test]
    fn nothing_leaves_its_directory() {
        let dir = Path::new("/c");
        assert_eq!(below(dir, "a/b.txt"), Some("/c/a/b.txt".into()));
        for bad in ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/./b", "C:/x", "a\\..\\b", "a/\0"] {
            assert_eq!(below(dir, bad), None, "{bad}");
        }
    }

    #[test]
    fn small_files_are_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er/f");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        fs::create_dir(dir.path().join("d")).unwrap();
        assert!(write_atomically(&dir.path().join("d"), b"x").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "no temporary file stays behind");
    }

    #[test]
    fn partial_names_are_safe_and_told_apart() {
        let cache = Cache::new("/c");
        let a = cache.partial("x", "a/../b c.gguf");
        assert!(a.starts_with("/c/partial") && a.to_str().unwrap().ends_with("-a_.._b_c.gguf"));
        assert_ne!(a, cache.partial("y", "a/../b c.gguf"));
        assert!(cache.partial("x", &"long".repeat(90)).file_name().unwrap().len() < 100);
    }
}
