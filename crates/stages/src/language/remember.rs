//! Vectors that took long to compute, kept in the cache by the text that they belong to.
//!
//! One file for each model and way of asking it: a head of 16 bytes (magic, numbers of a vector), then records of text hash, `f32`s and a
//! check. Records are only appended, under a lock; one that does not fit its check (a power cut) is as good as none.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use crate::environment::Environment;
use crate::error::{Result, StageError};

/// Half a SHA-256 of a text: no two texts of a lifetime share it.
pub(super) type Key = [u8; 16];

const MAGIC: &[u8; 12] = b"tune-vectors";
const HEAD: usize = 16;
const CHECK: usize = 8;

/// The key of a text.
pub(super) fn key(text: &str) -> Key {
    first(&Sha256::digest(text.as_bytes()))
}

fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[..N]);
    out
}

/// A file of vectors.
#[derive(Debug)]
pub(super) struct Remembered {
    path: PathBuf,
    dim: usize,
}

impl Remembered {
    /// The file for what `identity` names in full; it need not be there yet.
    pub fn new(environment: &Environment, identity: &str, dim: usize) -> Self {
        let name: String = key(identity).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { path: environment.sources.cache().root().join("vectors").join(name), dim }
    }

    fn record(&self) -> usize {
        size_of::<Key>() + 4 * self.dim + CHECK
    }

    fn head(&self) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head[..12].copy_from_slice(MAGIC);
        head[12..].copy_from_slice(&(self.dim as u32).to_le_bytes());
        head
    }

    /// What is known of these texts. A file that is not there or not ours knows nothing.
    pub fn known(&self, wanted: &HashSet<Key>) -> HashMap<Key, Vec<f32>> {
        let mut out = HashMap::new();
        let Ok(file) = File::open(&self.path) else { return out };
        let mut file = BufReader::with_capacity(1 << 20, file);
        let mut head = [0; HEAD];
        if file.read_exact(&mut head).is_err() || head != self.head() {
            return out;
        }
        let mut record = vec![0; self.record()];
        while file.read_exact(&mut record).is_ok() {
            let (said, check) = record.split_at(record.len() - CHECK);
            let key: Key = first(said);
            if wanted.contains(&key) && first::<CHECK>(&Sha256::digest(said)) == check {
                let values = said[size_of::<Key>()..].as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
                out.insert(key, values);
            }
        }
        out
    }

    /// Adds vectors.
    ///
    /// # Errors
    /// A cache that cannot be written to.
    pub fn add<'v>(&self, vectors: impl Iterator<Item = (Key, &'v [f32])>) -> Result<()> {
        let mut bytes = Vec::new();
        for (key, values) in vectors {
            let from = bytes.len();
            bytes.extend_from_slice(&key);
            values.iter().for_each(|v| bytes.extend_from_slice(&v.to_le_bytes()));
            let check = Sha256::digest(&bytes[from..]);
            bytes.extend_from_slice(&check[..CHECK]);
        }
        self.append(&bytes).map_err(|e| StageError::io(&self.path, "write", &e))
    }

    fn append(&self, bytes: &[u8]) -> std::io::Result<()> {
        if let Some(dir) = self.path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&self.path)?;
        file.lock()?;
        let mut head = [0; HEAD];
        let ours = file.read_exact(&mut head).is_ok() && head == self.head();
        let length = if ours { file.metadata()?.len() } else { 0 };
        // What a killed process left of a record goes.
        let whole = length.saturating_sub(HEAD as u64) / self.record() as u64 * self.record() as u64;
        if ours {
            file.set_len(HEAD as u64 + whole)?;
        } else {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(&self.head())?;
        }
        file.seek(SeekFrom::End(0))?;
        file.write_all(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_come_back_and_damage_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let of = |dim| Remembered { path: dir.path().join("a/b"), dim };
        let keys: Vec<Key> = ["一", "two", "three"].iter().map(|t| key(t)).collect();
        let wanted: HashSet<Key> = keys.iter().copied().collect();
        assert!(of(2).known(&wanted).is_empty());
        of(2).add([(keys[0], &[1.0, -2.5][..]), (keys[1], &[0.0, 4.0])].into_iter()).unwrap();
        of(2).add([(keys[2], &[7.0, 8.0][..])].into_iter()).unwrap();
        assert_eq!(of(2).known(&wanted).len(), 3);
        assert_eq!(of(2).known(&HashSet::from([keys[0]])), HashMap::from([(keys[0], vec![1.0, -2.5])]));
        // Of another width nothing is known.
        assert!(of(3).known(&wanted).is_empty());
        // A flipped byte in the first record, and half a record at the end.
        let mut bytes = std::fs::read(dir.path().join("a/b")).unwrap();
        bytes[HEAD + 17] ^= 1;
        bytes.truncate(bytes.len() - 5);
        std::fs::write(dir.path().join("a/b"), &bytes).unwrap();
        assert_eq!(of(2).known(&wanted).into_keys().collect::<Vec<_>>(), [keys[1]]);
        of(2).add([(keys[2], &[7.0, 8.0][..])].into_iter()).unwrap();
        assert_eq!(of(2).known(&wanted).len(), 2);
    }
}
