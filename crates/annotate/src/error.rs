//! What can go wrong with a store of labels.

use std::path::PathBuf;

/// The outcome of work on labels.
pub type Result<T> = std::result::Result<T, Error>;

/// Why it ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The database refused.
    #[error("{path}: {reason}", path = .path.display())]
    Store {
        /// The database file.
        path: PathBuf,
        /// The database's reason, and what to do where we know it.
        reason: String,
    },
    /// A file of labels cannot be used.
    #[error(transparent)]
    Dataset(#[from] dataset::Error),
    /// Something the user asked for cannot be done with what is there.
    #[error("{0}")]
    Input(String),
}

impl Error {
    /// Whether the user's input is at fault (and not the work itself).
    pub fn is_user_input(&self) -> bool {
        matches!(self, Error::Dataset(_) | Error::Input(_))
    }
}
