//! Files that appear whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Error, Result};

/// A file under construction beside its destination; [`commit`](AtomicFile::commit) makes it durable and puts it in place,
/// dropping it without a commit removes it. A reader sees the old file or the new one, also after a crash.
#[derive(Debug)]
pub struct AtomicFile {
    target: PathBuf,
    temporary: PathBuf,
    /// `None` once committed.
    writer: Option<BufWriter<File>>,
}

impl AtomicFile {
    /// Starts a file that will become `target`. The directory must exist.
    pub fn create(target: impl AsRef<Path>) -> Result<AtomicFile> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let target = target.as_ref();
        let Some(name) = target.file_name() else {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "not a file name");
            return Err(Error::Io { path: target.to_owned(), action: "write", source });
        };
        // Process and counter in the name: two writers never share a temporary file.
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let temporary = target.with_file_name(format!(".{}.{}-{number}.tmp", name.to_string_lossy(), std::process::id()));
        let file = File::create(&temporary).map_err(Error::io(target, "write"))?;
        Ok(AtomicFile { target: target.to_owned(), temporary, writer: Some(BufWriter::with_capacity(1 << 18, file)) })
    }

    /// Appends bytes; the error names the destination.
    pub fn put(&mut self, bytes: &[u8]) -> Result<()> {
        Write::write_all(self, bytes).map_err(Error::io(&self.target, "write"))
    }

    /// Flushes to the disk and renames over the destination.
    pub fn commit(mut self) -> Result<()> {
        let result = self.finish().map_err(Error::io(&self.target, "write"));
        if result.is_err() {
            let _ = fs::remove_file(&self.temporary); // best effort: the error at hand matters more
        }
        result
    }

    fn finish(&mut self) -> io::Result<()> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        drop(file); // Windows does not rename open files
        fs::rename(&self.temporary, &self.target)?;
        sync_directory(&self.target)
    }
}

/// The rename itself survives a power cut only once the directory is on disk.
#[cfg(unix)]
fn sync_directory(target: &Path) -> io::Result<()> {
    let dir = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match File::open(dir)?.sync_all() {
        // Some network file systems cannot; the file is in place all the same.
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        other => other,
    }
}

#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.writer {
            Some(writer) => writer.write(bytes),
            None => Err(io::Error::other("already committed")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            drop(writer.into_parts()); // without flushing what is thrown away
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Writes `bytes` to `target` atomically.
pub fn write_atomic(target: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    let mut file = AtomicFile::create(target)?;
    file.put(bytes)?;
    file.commit()
}
