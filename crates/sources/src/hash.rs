//! Digests: of bytes as they arrive, of files, of sets of files, and a memory of files that were hashed before.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::cache::Cache;
use crate::error::{Result, SourceError};
use crate::progress::DownloadProgress;

/// Bytes read at once.
const CHUNK: usize = 1 << 18;

/// A file of at least this size shows progress while it is hashed.
const WORTH_SHOWING: u64 = 256 << 20;

/// SHA-256 of a file's content, hexadecimal.
///
/// # Errors
/// [`SourceError::Io`] when it cannot be read.
pub fn sha256_file(path: &Path) -> Result<String> {
    let mut hasher = Sha256::new();
    for_each_chunk(path, |bytes| {
        hasher.update(bytes);
        Ok(())
    })?;
    Ok(hex(&hasher.finalize()))
}

fn for_each_chunk(path: &Path, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let read = |e| SourceError::io("reading", path, e);
    let mut file = fs::File::open(path).map_err(read)?;
    let mut buffer = vec![0; CHUNK];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => take(&buffer[..n])?,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(read(e)),
        }
    }
}

/// SHA-256 of a text, hexadecimal.
pub(crate) fn sha256_text(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from_digit(n.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}

/// Whether `text` is a digest of `bytes` bytes in hexadecimal.
pub(crate) fn is_hex_digest(text: &str, bytes: usize) -> bool {
    text.len() == 2 * bytes && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// URL-safe base64 without padding, as wheels' RECORD writes digests (PEP 376, PEP 427).
pub(crate) fn base64url(bytes: &[u8]) -> String {
    base64(bytes, b"-_", false)
}

/// The same digest in the other notation.
pub(crate) fn hex_to_base64url(digits: &str) -> String {
    let bytes: Vec<u8> =
        digits.as_bytes().chunks(2).map(|pair| pair.iter().fold(0, |n, c| n << 4 | (*c as char).to_digit(16).unwrap_or(0) as u8)).collect();
    base64url(&bytes)
}

/// Ordinary base64 with padding (RFC 4648), for basic authentication.
pub(crate) fn base64_padded(bytes: &[u8]) -> String {
    base64(bytes, b"+/", true)
}

fn base64(bytes: &[u8], last_two: &[u8; 2], pad: bool) -> String {
    let symbol = |n: u32| match n {
        0..26 => b'A' + n as u8,
        26..52 => b'a' + (n - 26) as u8,
        52..62 => b'0' + (n - 52) as u8,
        _ => last_two[(n - 62) as usize],
    };
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let n = (0..3).fold(0u32, |n, i| n << 8 | u32::from(group.get(i).copied().unwrap_or(0)));
        for i in 0..4 {
            if i <= group.len() {
                out.push(symbol(n >> (18 - 6 * i) & 63) as char);
            } else if pad {
                out.push('=');
            }
        }
    }
    out
}

/// A digest that a source announces for a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Checksum {
    Sha256(String),
    Sha384(String),
    Sha512(String),
    /// SHA-1 over `blob LENGTH\0CONTENT`, by which git (and so the hub) names files that are not in large-file storage.
    GitBlob(String),
}

impl Checksum {
    /// From an algorithm's name and hexadecimal digits; `None` for one that is unknown or too weak to be worth checking.
    pub fn from_name(name: &str, digest: &str) -> Option<Self> {
        let digest = digest.trim().to_ascii_lowercase();
        match name.trim().to_ascii_lowercase().as_str() {
            "sha256" if is_hex_digest(&digest, 32) => Some(Self::Sha256(digest)),
            "sha384" if is_hex_digest(&digest, 48) => Some(Self::Sha384(digest)),
            "sha512" if is_hex_digest(&digest, 64) => Some(Self::Sha512(digest)),
            _ => None,
        }
    }

    /// Compares with the file; `sha256` is that file's SHA-256, which is known already.
    pub fn verify(&self, path: &Path, sha256: &str, what: &str) -> Result<()> {
        let (algorithm, expected, actual) = match self {
            Self::Sha256(expected) => ("sha256", expected, sha256.to_owned()),
            Self::Sha384(expected) => ("sha384", expected, digest_file::<Sha384>(path, Sha384::new())?),
            Self::Sha512(expected) => ("sha512", expected, digest_file::<Sha512>(path, Sha512::new())?),
            Self::GitBlob(expected) => {
                let size = fs::metadata(path).map_err(|e| SourceError::io("reading", path, e))?.len();
                let hasher = sha1::Sha1::new_with_prefix(format!("blob {size}\0"));
                ("git-sha1", expected, digest_file::<sha1::Sha1>(path, hasher)?)
            }
        };
        if expected.eq_ignore_ascii_case(&actual) {
            return Ok(());
        }
        Err(SourceError::Checksum { what: what.to_owned(), algorithm, expected: expected.clone(), actual })
    }
}

fn digest_file<D: Digest>(path: &Path, mut hasher: D) -> Result<String> {
    for_each_chunk(path, |bytes| {
        hasher.update(bytes);
        Ok(())
    })?;
    Ok(hex(hasher.finalize().as_slice()))
}

/// One digest for a set of files: SHA-256 over `sha256  name` lines in the order of names, the format of `sha256sum`.
pub(crate) fn content_hash(mut files: Vec<(String, String)>) -> String {
    files.sort();
    let mut hasher = Sha256::new();
    for (name, sha256) in &files {
        hasher.update(format!("{sha256}  {name}\n").as_bytes());
    }
    hex(&hasher.finalize())
}

/// Remembers the SHA-256 of files by path, size, and times of change, so that a model of gigabytes is hashed once. The notes lie
/// in the cache, never beside the file: that may be the user's own directory, or the hub client's.
#[derive(Debug, Clone)]
pub(crate) struct HashMemory {
    dir: PathBuf,
}

#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
struct Note {
    path: String,
    stamp: String,
    sha256: String,
}

impl HashMemory {
    pub fn new(cache: &Cache) -> Self {
        Self { dir: cache.root().join("hashes") }
    }

    /// The file's SHA-256, remembered or computed.
    pub fn sha256(&self, path: &Path, progress: &mut dyn DownloadProgress) -> Result<String> {
        let known = self.key(path).and_then(|(note_path, name, stamp)| {
            let note: Note = serde_json::from_slice(&fs::read(note_path).ok()?).ok()?;
            (note.path == name && note.stamp == stamp && is_hex_digest(&note.sha256, 32)).then_some(note.sha256)
        });
        if let Some(sha256) = known {
            return Ok(sha256);
        }
        let size = fs::metadata(path).map_err(|e| SourceError::io("reading", path, e))?.len();
        let show = size >= WORTH_SHOWING;
        if show {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            progress.start(&format!("checking {name}"), Some(size), 0);
        }
        let mut hasher = Sha256::new();
        let result = for_each_chunk(path, |bytes| {
            hasher.update(bytes);
            if show {
                progress.advance(bytes.len() as u64);
            }
            if progress.cancelled() { Err(SourceError::Cancelled) } else { Ok(()) }
        });
        if show {
            progress.finish();
        }
        result?;
        let sha256 = hex(&hasher.finalize());
        self.remember(path, &sha256);
        Ok(sha256)
    }

    /// Notes a digest that is known from the download. A cache that cannot be written only costs time later.
    pub fn remember(&self, path: &Path, sha256: &str) {
        let Some((note_path, name, stamp)) = self.key(path) else { return };
        let note = Note { path: name, stamp, sha256: sha256.to_owned() };
        if let Ok(json) = serde_json::to_vec(&note) {
            let _ = crate::cache::write_atomically(&note_path, &json);
        }
    }

    /// Where the note for `path` lies, the path's text, and what identifies the file's present state.
    fn key(&self, path: &Path) -> Option<(PathBuf, String, String)> {
        let real = fs::canonicalize(path).ok()?;
        let name = real.to_str()?.to_owned();
        let meta = fs::metadata(&real).ok()?;
        let stamp = stamp(&meta)?;
        Some((self.dir.join(format!("{}.json", &sha256_text(&name)[..32])), name, stamp))
    }
}

/// Size and modification time; on Unix also inode and change time, which a copy that keeps `mtime` does not keep.
fn stamp(meta: &fs::Metadata) -> Option<String> {
    let modified = meta.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?.as_nanos();
    #[cfg(unix)]
    let more = {
        use std::os::unix::fs::MetadataExt;
        format!(" {} {}.{:09}", meta.ino(), meta.ctime(), meta.ctime_nsec())
    };
    #[cfg(not(unix))]
    let more = "";
    Some(format!("{} {modified}{more}", meta.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    #[test]
    fn digests_match_published_vectors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, "abc").unwrap();
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; // FIPS 180-2, B.1
        assert_eq!(sha256_file(&path).unwrap(), sha256);
        assert_eq!(sha256_text("abc"), sha256);
        let sha512 = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                      2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"; // FIPS 180-2, C.1
        Checksum::from_name("SHA512", sha512).unwrap().verify(&path, sha256, "f").unwrap();
        // `printf abc | git hash-object --stdin`
        Checksum::GitBlob("f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f".into()).verify(&path, sha256, "f").unwrap();
        let wrong = Checksum::Sha256("0".repeat(64)).verify(&path, sha256, "the file").unwrap_err().to_string();
        assert!(wrong.contains("the file") && wrong.contains(sha256) && wrong.contains("mismatch"), "{wrong}");
        assert_eq!(Checksum::from_name("md5", "900150983cd24fb0d6963f7d28e17f72"), None);
        assert_eq!(Checksum::from_name("sha256", "12"), None);
    }

    #[test]
    fn base64_matches_rfc_4648() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64_padded(plain.as_bytes()), coded);
            assert_eq!(base64url(plain.as_bytes()), coded.trim_end_matches('='));
        }
        assert_eq!(hex_to_base64url("fbff"), "-_8");
        assert_eq!((base64_padded(&[0xfb, 0xff]), base64url(&[0xfb, 0xff])), ("+/8=".into(), "-_8".into()));
    }

    #[test]
    fn a_set_has_one_hash_whatever_its_order() {
        let a = ("a".to_owned(), "1".repeat(64));
        let b = ("b".to_owned(), "2".repeat(64));
        assert_eq!(content_hash(vec![a.clone(), b.clone()]), content_hash(vec![b.clone(), a.clone()]));
        assert_ne!(
            content_hash(vec![a.clone(), b]),
            content_hash(vec![("b".to_owned(), "1".repeat(64)), ("a".to_owned(), "2".repeat(64))])
        );
        // The same line as `sha256sum` prints.
        assert_eq!(content_hash(vec![a]), sha256_text(&format!("{}  a\n", "1".repeat(64))));
    }

    #[test]
    fn memory_follows_changes() {
        let dir = tempfile::tempdir().unwrap();
        let memory = HashMemory::new(&Cache::new(dir.path().join("cache")));
        let path = dir.path().join("f");
        fs::write(&path, "one").unwrap();
        assert_eq!(memory.sha256(&path, &mut Silent).unwrap(), sha256_text("one"));
        // A note is believed while the stamp holds …
        memory.remember(&path, &"a".repeat(64));
        assert_eq!(memory.sha256(&path, &mut Silent).unwrap(), "a".repeat(64));
        // … and no longer once the file was replaced.
        fs::write(dir.path().join("g"), "two").unwrap();
        fs::rename(dir.path().join("g"), &path).unwrap();
        assert_eq!(memory.sha256(&path, &mut Silent).unwrap(), sha256_text("two"));
        assert!(memory.sha256(&dir.path().join("none"), &mut Silent).is_err());
    }
}
