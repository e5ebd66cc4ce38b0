//! One file from the wire to its place: continued where an earlier run stopped, checked, and moved in place whole.
//!
//! The bytes gather in a partial file beside which a note says what they belong to. They are continued only when that is still the
//! same thing: the announced digest is equal, or the server confirms its validator (`If-Range`, RFC 9110 section 13.1.5).

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cache::{discard, put_in_place, write_atomically};
use crate::error::{Result, SourceError};
use crate::hash::{Checksum, hex};
use crate::http::{Client, Fetch, Reply};
use crate::progress::{DownloadProgress, bytes as size_text};

/// Bytes read at once.
const CHUNK: usize = 1 << 17;

/// An attempt that brings at least this much counts as progress and renews the patience.
const WORTHWHILE: u64 = 1 << 20;

/// Attempts in all, whatever progress they make.
const MAX_ATTEMPTS: u32 = 200;

/// A file to bring.
pub(crate) struct Job<'a> {
    pub fetch: Fetch,
    /// For people.
    pub name: &'a str,
    /// Where it gathers.
    pub partial: PathBuf,
    /// Where it shall stand.
    pub place: PathBuf,
    pub checksum: Option<Checksum>,
    pub size: Option<u64>,
    /// Whether a web page is a plausible answer.
    pub page_is_fine: bool,
    /// Turns an answer that is no success into the source's own words.
    pub refusal: &'a dyn Fn(Reply) -> SourceError,
}

/// A file that was brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Brought {
    pub sha256: String,
    pub size: u64,
    /// The server's validator, for the record.
    pub etag: Option<String>,
}

/// What the bytes in a partial file belong to.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    url: String,
    checksum: Option<Checksum>,
    etag: Option<String>,
    last_modified: Option<String>,
    total: Option<u64>,
}

impl Note {
    /// What the server is to confirm before bytes are added: a strong validator, or nothing where the digest decides at the end.
    fn validator(&self) -> Option<&str> {
        self.etag.as_deref().filter(|e| !e.starts_with("W/")).or(self.last_modified.as_deref())
    }
}

/// The partial file with the digest of what is in it.
struct Part<'a> {
    job: &'a Job<'a>,
    file: File,
    hasher: Sha256,
    length: u64,
    note: Note,
    note_path: PathBuf,
    /// Some bytes were not received in this run.
    inherited: bool,
    /// A digest that came with the answer, for want of one in the listing.
    announced: Option<Checksum>,
}

/// Brings the file.
///
/// # Errors
/// As the source and the disk give them; what arrived is kept for the next run unless it is wrong.
pub(crate) fn download(client: &Client, job: &Job<'_>, progress: &mut dyn DownloadProgress) -> Result<Brought> {
    let mut part = Part::open(job, progress)?;
    let (mut failures, mut attempts, mut restarted) = (0, 0, false);
    loop {
        if progress.cancelled() {
            return Err(SourceError::Cancelled);
        }
        let before = part.length;
        let complete = part.expected_size() == Some(part.length) && part.length > 0;
        let outcome = if complete { Ok(()) } else { attempt(client, &mut part, progress) };
        match outcome {
            Ok(()) => match part.finish() {
                Ok(brought) => return Ok(brought),
                // The inherited bytes may be what is wrong (a power cut leaves holes): once from the start, then it is the source.
                Err(SourceError::Checksum { .. }) if part.inherited && !restarted => {
                    restarted = true;
                    progress.note(&format!("{}: what an earlier run left behind is damaged; starting over", job.name));
                    part.restart()?;
                }
                Err(error) => {
                    if matches!(error, SourceError::Checksum { .. }) {
                        part.discard();
                    }
                    return Err(error);
                }
            },
            Err(Trouble::Final(error)) => return Err(error),
            Err(Trouble::Passing { reason, stalled }) => {
                attempts += 1;
                let patience = job.fetch.patience;
                failures = if part.length >= before + WORTHWHILE { 0 } else { failures + 1 };
                let give_up = failures > patience.retries || attempts >= MAX_ATTEMPTS || stalled && !patience.after_stall;
                if give_up {
                    let host = job.fetch.url.authority();
                    let reason =
                        format!("{}: {reason} after {}; what arrived is kept and will be continued", job.name, size_text(part.length));
                    return Err(SourceError::Unreachable { host, reason });
                }
                progress.note(&format!("{}: {reason}; continuing at {}", job.name, size_text(part.length)));
                client.pause(Duration::from_millis(500) * failures.clamp(1, 8));
            }
        }
    }
}

enum Trouble {
    Final(SourceError),
    /// The transfer broke; another attempt may continue it.
    Passing {
        reason: String,
        stalled: bool,
    },
}

impl From<SourceError> for Trouble {
    fn from(error: SourceError) -> Self {
        Self::Final(error)
    }
}

/// One request and its body.
fn attempt(client: &Client, part: &mut Part<'_>, progress: &mut dyn DownloadProgress) -> Result<(), Trouble> {
    let job = part.job;
    let mut fetch = job.fetch.clone();
    // Compressed on the way, lengths and ranges would mean something else.
    fetch.headers.push(("accept-encoding", "identity".into()));
    if part.length > 0 {
        fetch.headers.push(("range", format!("bytes={}-", part.length)));
        if job.checksum.is_none()
            && let Some(validator) = part.note.validator()
        {
            fetch.headers.push(("if-range", validator.to_owned()));
        }
    }
    let mut reply = client.get(&fetch)?;
    // The hub says what the file is on its redirect to the storage host.
    part.announced = reply.announced("x-linked-etag").and_then(|v| Checksum::from_name("sha256", v.trim_matches('"')));
    match reply.answer.status {
        206 if part.length > 0 => {
            let (start, total) = reply.header("content-range").and_then(content_range).unwrap_or((u64::MAX, None));
            let other = total.is_some_and(|t| part.expected_size().is_some_and(|known| known != t));
            let renamed = job.checksum.is_none() && part.note.etag.is_some() && reply.header("etag") != part.note.etag.as_deref();
            if start != part.length || other || renamed {
                part.restart()?;
                return Err(Trouble::Passing { reason: "the file changed at its source".into(), stalled: false });
            }
            part.note.total = part.note.total.or(total);
        }
        416 if part.length > 0 => {
            part.restart()?;
            return Err(Trouble::Passing { reason: "the server has no such range".into(), stalled: false });
        }
        200 => {
            let kind = reply.header("content-type").unwrap_or_default().to_ascii_lowercase();
            if kind.starts_with("text/html") && !job.page_is_fine && job.checksum.is_none() {
                let reason = "this is a web page, not a file; give the address that the page's download link has (on the hub: \
                              `/resolve/` instead of `/blob/`)";
                return Err(SourceError::Answer { url: reply.url.shown(), reason: reason.into() }.into());
            }
            part.restart()?;
            part.describe(&reply)?;
        }
        _ => return Err((job.refusal)(reply).into()),
    }
    let expected = part.expected_size();
    progress.start(job.name, expected, part.length);
    let result = receive(part, &mut reply, progress);
    progress.finish();
    result?;
    match expected {
        Some(total) if part.length < total => Err(Trouble::Passing { reason: "the transfer ended early".into(), stalled: false }),
        Some(total) if part.length > total => {
            let reason = format!("{} bytes arrived, {total} were announced", part.length);
            part.discard();
            Err(SourceError::Answer { url: reply.url.shown(), reason }.into())
        }
        _ => Ok(()),
    }
}

fn receive(part: &mut Part<'_>, reply: &mut Reply, progress: &mut dyn DownloadProgress) -> Result<(), Trouble> {
    let mut buffer = vec![0; CHUNK];
    loop {
        match reply.answer.body.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => {
                part.append(&buffer[..n])?;
                progress.advance(n as u64);
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => {
                return Err(Trouble::Passing { stalled: e.kind() == ErrorKind::TimedOut, reason: format!("the transfer broke ({e})") });
            }
        }
        if progress.cancelled() {
            return Err(SourceError::Cancelled.into());
        }
    }
}

/// `bytes 5-9/10` to start and total.
fn content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.trim().strip_prefix("bytes")?.trim().split_once('/')?;
    Some((range.split_once('-')?.0.trim().parse().ok()?, total.trim().parse().ok()))
}

impl<'a> Part<'a> {
    /// Opens or creates the partial file; what is in it is kept when its note says that it belongs to this job.
    fn open(job: &'a Job<'a>, progress: &mut dyn DownloadProgress) -> Result<Self> {
        let dir = job.partial.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(dir).map_err(|e| SourceError::cache_io("creating", dir, e))?;
        let mut note_path = job.partial.clone().into_os_string();
        note_path.push(".json");
        let note_path = PathBuf::from(note_path);
        let note: Option<Note> = fs::read(&note_path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let url = job.fetch.url.shown();
        let same = |note: &Note| match &job.checksum {
            Some(checksum) => note.checksum.as_ref() == Some(checksum),
            None => note.checksum.is_none() && note.url == url && note.validator().is_some(),
        };
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&job.partial)
            .map_err(|e| SourceError::cache_io("creating", &job.partial, e))?;
        let fresh = Note { url: url.clone(), checksum: job.checksum.clone(), ..Note::default() };
        let kept = note.filter(same);
        let mut part = Part { job, file, hasher: Sha256::new(), length: 0, note: fresh, note_path, inherited: false, announced: None };
        match kept {
            Some(note) => {
                part.note = note;
                part.rehash(progress)?;
                if part.expected_size().is_some_and(|total| part.length > total) {
                    part.restart()?;
                }
            }
            None => part.restart()?,
        }
        Ok(part)
    }

    fn expected_size(&self) -> Option<u64> {
        self.job.size.or(self.note.total)
    }

    /// Takes up the bytes of an earlier run.
    fn rehash(&mut self, progress: &mut dyn DownloadProgress) -> Result<()> {
        let read = |e| SourceError::io("reading", &self.job.partial, e);
        let mut buffer = vec![0; CHUNK];
        self.file.seek(SeekFrom::Start(0)).map_err(read)?;
        loop {
            match self.file.read(&mut buffer).map_err(read)? {
                0 => break,
                n => {
                    self.hasher.update(&buffer[..n]);
                    self.length += n as u64;
                }
            }
            if progress.cancelled() {
                return Err(SourceError::Cancelled);
            }
        }
        self.inherited = self.length > 0;
        Ok(())
    }

    /// Forgets what was gathered.
    fn restart(&mut self) -> Result<()> {
        let write = |e| SourceError::cache_io("writing", &self.job.partial, e);
        self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0))).map_err(write)?;
        self.hasher = Sha256::new();
        self.length = 0;
        self.inherited = false;
        let note = Note { url: self.job.fetch.url.shown(), checksum: self.job.checksum.clone(), ..Note::default() };
        if note != self.note {
            self.note = note;
            self.save_note()?;
        }
        Ok(())
    }

    /// Notes what a fresh answer says about the file, before its first byte is written.
    fn describe(&mut self, reply: &Reply) -> Result<()> {
        let text = |name: &str| reply.header(name).map(str::to_owned);
        self.note.etag = text("etag");
        self.note.last_modified = text("last-modified");
        self.note.total = self.job.size.or_else(|| text("content-length").and_then(|v| v.trim().parse().ok()));
        self.save_note()
    }

    fn save_note(&self) -> Result<()> {
        let json = serde_json::to_vec(&self.note).unwrap_or_default();
        write_atomically(&self.note_path, &json)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        if let Err(e) = self.file.write_all(bytes) {
            // Whatever part of these bytes reached the disk is not counted; keep file and count equal.
            let _ = self.file.set_len(self.length);
            return Err(match SourceError::cache_io("writing", &self.job.partial, e) {
                SourceError::DiskFull { path, .. } => {
                    let left = self.expected_size().map(|t| t.saturating_sub(self.length));
                    let needed = left.map(|n| format!(": {} more are needed for {}", size_text(n), self.job.name));
                    SourceError::DiskFull { path, needed: needed.unwrap_or_default() }
                }
                other => other,
            });
        }
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Checks and puts in place.
    fn finish(&mut self) -> Result<Brought> {
        let sha256 = hex(&self.hasher.clone().finalize());
        if let Some(checksum) = self.job.checksum.as_ref().or(self.announced.as_ref()) {
            let what = format!("{} ({})", self.job.name, self.job.fetch.url.shown());
            checksum.verify(&self.job.partial, &sha256, &what)?;
        }
        self.file.sync_all().map_err(|e| SourceError::cache_io("writing", &self.job.partial, e))?;
        put_in_place(&self.job.partial, &self.job.place)?;
        discard(&self.note_path);
        Ok(Brought { sha256, size: self.length, etag: self.note.etag.clone() })
    }

    fn discard(&self) {
        discard(&self.job.partial);
        discard(&self.note_path);
    }
}

#[cfg(test)]
#[path = "download_tests.rs"]
mod tests;
