//! `tunesmith vectorize …`: classic vectorisers and classifiers on data files.

pub mod choices;
pub mod classify;
pub mod explore;
pub(crate) mod features;
pub mod fit;
pub mod table;

pub use crate::language::states::ModelChoice;
pub use vectorize::StatePooling;
pub use vectorize::embed::{Architecture, Pooling};
pub use vectorize::{Frequency, Norm, StripAccents, Unit};

use crate::error::StageError;

impl From<vectorize::VectorizeError> for StageError {
    fn from(error: vectorize::VectorizeError) -> Self {
        use vectorize::VectorizeError as E;
        match error {
            E::Stopped => StageError::Stopped { help: None },
            E::Io { ref source, .. } if source.kind() != std::io::ErrorKind::NotFound => {
                StageError::Work { message: error.to_string(), help: None }
            }
            E::Model { reason } => StageError::Work { message: reason, help: None },
            other => StageError::input(other.to_string()),
        }
    }
}
