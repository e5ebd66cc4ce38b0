//! The database of a labelling project: `labels.db` in the store's directory. Owns the `rusqlite` library.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::error::{Error, Result};

/// File name in the store's directory.
pub const FILE: &str = "labels.db";

/// An open store.
#[derive(Debug)]
pub struct Store {
    #[expect(dead_code, reason = "read by the tables that follow")]
    connection: Connection,
    path: PathBuf,
}

impl Store {
    /// Opens the store in `dir`; both are created if they are not there.
    ///
    /// # Errors
    /// If the directory cannot be made, or the file is no database.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        let fail = |reason: String| Error::Store { path: path.clone(), reason };
        fs::create_dir_all(dir).map_err(|e| fail(e.to_string()))?;
        let connection = Connection::open(&path).map_err(|e| fail(e.to_string()))?;
        // Write-ahead log: a reader is never in the way of the writer, and what is committed survives kill -9.
        connection.pragma_update(None, "journal_mode", "WAL").map_err(|e| fail(e.to_string()))?;
        Ok(Store { connection, path })
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_appears_where_it_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("a/b")).unwrap();
        assert!(store.path().ends_with("a/b/labels.db") && store.path().exists());
        std::fs::write(dir.path().join(FILE), "no database at all, just text that is long enough to look like one").unwrap();
        assert!(Store::open(dir.path()).unwrap_err().to_string().contains("labels.db"));
    }
}
