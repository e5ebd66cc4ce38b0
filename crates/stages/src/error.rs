//! What can go wrong in a stage: the libraries' errors, each knowing whose fault it is, and the stages' own.

use std::path::Path;

/// Why a stage ended early.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The recipe.
    #[error(transparent)]
    Recipe(#[from] recipe::RecipeError),
    /// A model or data set could not be fetched.
    #[error(transparent)]
    Source(#[from] sources::SourceError),
    /// The rows.
    #[error(transparent)]
    Dataset(#[from] dataset::Error),
    /// The store of labels.
    #[error(transparent)]
    Annotate(#[from] annotate::Error),
    /// The model's files.
    #[error(transparent)]
    Model(#[from] model::ModelError),
    /// The tokenizer or chat template.
    #[error(transparent)]
    Text(#[from] text::TextError),
    /// The training.
    #[error(transparent)]
    Train(#[from] train::TrainError),
    /// The measuring.
    #[error(transparent)]
    Evaluate(#[from] evaluate::EvaluateError),
    /// The decoding.
    #[error(transparent)]
    Generate(#[from] generate::GenerateError),
    /// Something the user gave is wrong.
    #[error("{message}")]
    Input {
        /// What and where.
        message: String,
        /// What to do.
        help: Option<String>,
    },
    /// The work failed.
    #[error("{message}")]
    Work {
        /// What and where.
        message: String,
        /// What to do.
        help: Option<String>,
    },
    /// The user asked to stop; `help` says how to go on.
    #[error("stopped")]
    Stopped {
        /// How to go on.
        help: Option<String>,
    },
}

/// Exit status after Ctrl-C, as shells count it.
const STOPPED: u8 = 130;

/// The outcome of a stage.
pub type Result<T> = std::result::Result<T, StageError>;

impl StageError {
    /// Wrong input.
    pub fn input(message: impl Into<String>) -> Self {
        StageError::Input { message: message.into(), help: None }
    }

    /// Wrong input, with what to do.
    pub fn input_help(message: impl Into<String>, help: impl Into<String>) -> Self {
        StageError::Input { message: message.into(), help: Some(help.into()) }
    }

    /// A file that cannot be written or read in the midst of the work.
    pub(crate) fn io(path: &Path, action: &str, error: &std::io::Error) -> Self {
        let help = match error.kind() {
            std::io::ErrorKind::StorageFull => Some("free some space and try again; what was saved before is untouched".to_owned()),
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                Some("choose a place that can be written to".to_owned())
            }
            _ => None,
        };
        StageError::Work { message: format!("{}: cannot {action}: {error}", path.display()), help }
    }

    /// 2: the input is wrong; 1: the work failed; 130: the user stopped it.
    pub fn exit_code(&self) -> u8 {
        let user = match self {
            StageError::Recipe(_) | StageError::Input { .. } | StageError::Dataset(_) | StageError::Text(_) => true,
            StageError::Source(sources::SourceError::Cancelled) | StageError::Stopped { .. } => return STOPPED,
            StageError::Source(e) => e.is_user_input(),
            StageError::Annotate(e) => e.is_user_input(),
            StageError::Train(e) => e.is_user_input(),
            // Loading and attaching judge the user's files; the engine's own refusals are failures of the work.
            StageError::Model(e) => !matches!(e, model::ModelError::Engine(_)),
            StageError::Evaluate(e) => {
                use evaluate::EvaluateError as E;
                if matches!(e, E::Stopped { .. }) {
                    return STOPPED;
                }
                !matches!(e, E::NonFinite { .. } | E::Model(_) | E::Engine(_))
            }
            StageError::Generate(e) => {
                use generate::GenerateError as E;
                matches!(e, E::Setting { .. } | E::EmptyPrompt { .. } | E::PromptTooLong { .. })
            }
            StageError::Work { .. } => false,
        };
        if user { 2 } else { 1 }
    }

    /// What to do next, where the message itself does not say it.
    pub fn help(&self) -> Option<String> {
        match self {
            StageError::Input { help, .. } | StageError::Work { help, .. } | StageError::Stopped { help } => help.clone(),
            _ => None,
        }
    }
}
