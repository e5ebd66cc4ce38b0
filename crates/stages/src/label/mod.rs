//! `tunesmith label …`: files of labels into a store and out of it, and the work on what is in it. One file a verb.

pub mod adjudicate;
pub mod agree;
pub mod annotate;
pub mod choose;
pub mod chunks;
mod duplicates;
pub mod export;
pub mod import;
mod learn;
pub mod migrate;
pub mod queue;
pub mod status;
pub mod undo;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ::annotate::Entry;
use sha2::{Digest, Sha256};

use crate::error::{Result, StageError};

pub use ::annotate::Kind;
pub use ::annotate::session::{Key, Piece, Screen, Style, Task};
pub use dataset::labels::conll::Scheme;
pub use dataset::labels::import::{LabelsAre, ReadOptions};
pub use dataset::labels::{AuthorKind, Format, Lost};

/// Seconds since 1970: what evidence is dated with.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX))
}

/// SHA-256 of a file, or of a directory's files with their paths in order.
fn hash(path: &Path) -> Result<[u8; 32]> {
    let mut files = Vec::new();
    collect(path, &mut files).map_err(|e| StageError::input(format!("{}: {e}", path.display())))?;
    files.sort();
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    for file in files {
        if file != path {
            let relative = file.strip_prefix(path).unwrap_or(&file);
            hash.update(relative.to_string_lossy().as_bytes());
            hash.update([0]);
        }
        let mut input = File::open(&file).map_err(|e| StageError::input(format!("{}: {e}", file.display())))?;
        loop {
            let n = input.read(&mut buffer).map_err(|e| StageError::io(&file, "read", &e))?;
            if n == 0 {
                break;
            }
            hash.update(&buffer[..n]);
        }
    }
    Ok(hash.finalize().into())
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if !std::fs::metadata(path)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        let circles = entry.path().is_dir() && entry.path().is_symlink();
        if !hidden && !circles {
            collect(&entry.path(), files)?;
        }
    }
    Ok(())
}

/// What a person calls a document: its own id, or its source and line.
pub(crate) fn shown_id(entry: &Entry) -> String {
    match &entry.document.id {
        Some(serde_json::Value::String(id)) => id.clone(),
        Some(id) => id.to_string(),
        None if entry.document.row.starts_with(':') => format!("{}{}", entry.source, entry.document.row),
        None => entry.document.row.clone(),
    }
}
