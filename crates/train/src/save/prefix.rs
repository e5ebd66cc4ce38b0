//! A file of what frozen layers computed for each row: a table of checksums, then the rows, each at a place that follows from the
//! lengths.
//!
//! It is a cache: whatever is wrong with it costs time, never a result. A row's checksum is written behind the row, so that a
//! row that was not written to its end is not taken for one.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::Result;
use crate::save::disk::At;

/// Its name in the output directory.
pub(crate) const PREFIX_FILE: &str = "frozen_prefix.cache";
/// Format and version.
const MAGIC: &[u8; 16] = b"tunesmith-pfx-01";
/// Magic, key, and the checksum of nothing else: the table follows.
const HEADER: usize = 48;

/// Checksum of a row.
pub(crate) type Check = [u8; 32];

/// The file, open.
pub(crate) struct PrefixFile {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    /// Checksum of each row; zeros for rows that are not there.
    pub(crate) table: Vec<Check>,
    /// Where each row begins, and where the last one ends.
    pub(crate) offsets: Vec<u64>,
    key: Check,
    bytes: Vec<u8>,
}

/// The checksum of row number `row`.
pub(crate) fn check(row: usize, bytes: &[u8]) -> Check {
    let mut hash = Sha256::new();
    hash.update((row as u64).to_le_bytes());
    hash.update(bytes);
    hash.finalize().into()
}

impl PrefixFile {
    /// Opens the file in `dir`, or makes it, or makes it anew if it has another key. `lengths` are the numbers of each row. The
    /// text, if any, says why nothing of an old file is used.
    pub fn open(dir: &Path, key: Check, lengths: &[usize]) -> Result<(Self, Option<String>)> {
        let path = dir.join(PREFIX_FILE);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).at("open", &path)?;
        let mut offset = (HEADER + lengths.len() * size_of::<Check>()) as u64;
        let mut offsets = vec![offset];
        for len in lengths {
            offset += (len * size_of::<u16>()) as u64;
            offsets.push(offset);
        }
        let mut this = Self { path, file, table: vec![[0; 32]; lengths.len()], offsets, key, bytes: Vec::new() };
        let old = this.file.metadata().at("read", &this.path)?.len();
        if old > 0 && this.read_table().is_ok_and(|same| same) {
            return Ok((this, None));
        }
        this.clear()?;
        Ok((this, (old > 0).then(|| "what was kept of the frozen layers is of other rows or settings and is computed again".into())))
    }

    /// Reads the table; false if it is not of this key.
    fn read_table(&mut self) -> io::Result<bool> {
        let mut header = [0; HEADER];
        self.file.seek(SeekFrom::Start(0))?;
        self.file.read_exact(&mut header)?;
        if header[..16] != MAGIC[..] || header[16..] != self.key {
            return Ok(false);
        }
        let mut table = vec![0; self.table.len() * size_of::<Check>()];
        self.file.read_exact(&mut table)?;
        for (check, bytes) in self.table.iter_mut().zip(table.chunks_exact(size_of::<Check>())) {
            check.copy_from_slice(bytes);
        }
        Ok(true)
    }

    /// Forgets all rows.
    pub fn clear(&mut self) -> Result<()> {
        self.table.fill([0; 32]);
        let head: Vec<u8> = MAGIC.iter().chain(&self.key).copied().collect();
        let write = |file: &mut File, table: usize| {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&head)?;
            file.set_len((HEADER + table) as u64)
        };
        write(&mut self.file, self.table.len() * size_of::<Check>()).at("write", &self.path)
    }

    /// A row that is there.
    pub fn first(&self) -> Option<usize> {
        self.table.iter().position(|check| *check != [0; 32])
    }

    /// Keeps a row.
    pub fn put(&mut self, row: usize, numbers: &[u16]) -> Result<()> {
        self.bytes.clear();
        self.bytes.extend(numbers.iter().flat_map(|n| n.to_le_bytes()));
        let check = check(row, &self.bytes);
        let write = |file: &mut File, at: u64, bytes: &[u8]| {
            file.seek(SeekFrom::Start(at))?;
            file.write_all(bytes)
        };
        write(&mut self.file, self.offsets[row], &self.bytes).at("write", &self.path)?;
        write(&mut self.file, (HEADER + row * size_of::<Check>()) as u64, &check).at("write", &self.path)?;
        self.table[row] = check;
        Ok(())
    }
}

/// Removes the file of `dir`, if there is one: a run that is done needs it no more.
pub(crate) fn remove(dir: &Path) {
    // A cache that stays costs space and nothing else.
    let _ = std::fs::remove_file(dir.join(PREFIX_FILE));
}
