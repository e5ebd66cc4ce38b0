//! What can go wrong, said so that a user can act on it.

use std::path::{Path, PathBuf};

/// The crate's result.
pub type Result<T> = std::result::Result<T, DocumentError>;

/// What went wrong, where, why, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// A file or directory cannot be read or written.
    #[error("{path}: cannot {action}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A file that cannot be used as what it claims to be.
    #[error("{path}: {reason}", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// An option that makes no sense.
    #[error("{option}: {reason}")]
    Option {
        /// The option's name as typed.
        option: String,
        /// Why, and what would be right.
        reason: String,
    },
    /// A name that stands for no document, or for several.
    #[error("{name}: {reason}")]
    Name {
        /// As typed.
        name: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The store's database refused.
    #[error("{path}: {reason}", path = .path.display())]
    Store {
        /// The database.
        path: PathBuf,
        /// What it said, and what to do.
        reason: String,
        /// Whether the user gave the wrong directory (else the work failed).
        user: bool,
    },
    /// The tokenizer refused a text.
    #[error(transparent)]
    Text(#[from] text::TextError),
    /// The caller asked to stop; what was finished is kept.
    #[error("stopped")]
    Stopped,
}

impl DocumentError {
    /// An I/O error with its path.
    pub(crate) fn io(path: &Path, action: &'static str, source: std::io::Error) -> Self {
        DocumentError::Io { path: path.to_path_buf(), action, source }
    }

    /// Whether the user's input is to blame (exit code 2) and not the work (1).
    pub fn is_user_input(&self) -> bool {
        match self {
            DocumentError::Io { source, .. } => {
                matches!(
                    source.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::NotADirectory
                )
            }
            DocumentError::Store { user, .. } => *user,
            DocumentError::Stopped => false,
            _ => true,
        }
    }
}
