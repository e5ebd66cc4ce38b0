//! What can go wrong with texts, settings and saved vectorisers.

use std::path::{Path, PathBuf};

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VectorizeError {
    /// A setting that cannot be obeyed.
    #[error("{field}: {reason}")]
    Setting {
        /// The setting as the user knows it (`min_df`).
        field: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// The rows cannot be used for this.
    #[error("{reason}")]
    Data {
        /// What is wrong and what would help.
        reason: String,
    },
    /// A file is not what it should be.
    #[error("{path}:{line}: {reason}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1 (of a binary file: the entry).
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// The system refused.
    #[error("{path}: cannot {action}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// read, write.
        action: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file of numbers.
    #[error(transparent)]
    Container(#[from] containers::Error),
    /// A language model did not give what was asked.
    #[error("{reason}")]
    Model {
        /// What happened.
        reason: String,
    },
    /// The caller asked to stop.
    #[error("stopped")]
    Stopped,
}

/// The outcome.
pub type Result<T> = std::result::Result<T, VectorizeError>;

impl VectorizeError {
    pub(crate) fn setting(field: impl Into<String>, reason: impl Into<String>) -> Self {
        VectorizeError::Setting { field: field.into(), reason: reason.into() }
    }

    pub(crate) fn data(reason: impl Into<String>) -> Self {
        VectorizeError::Data { reason: reason.into() }
    }

    pub(crate) fn file(path: &Path, line: usize, reason: impl Into<String>) -> Self {
        VectorizeError::File { path: path.to_path_buf(), line, reason: reason.into() }
    }

    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| VectorizeError::Io { path, action, source }
    }
}
