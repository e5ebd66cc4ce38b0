//! What can go wrong between a model's files and a running decoder: each error names the file, the field or tensor,
//! the reason, and where there is something to do, what.

use std::path::{Path, PathBuf};

/// Result of this crate's fallible calls.
pub type Result<T> = std::result::Result<T, ModelError>;

/// An error of reading, building or writing a model or an adapter.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A field of a configuration has no usable value.
    #[error("{file}: {field}: {reason}")]
    Config {
        /// The file (or `config.json` of a model in memory).
        file: String,
        /// The field, dotted.
        field: String,
        /// Why its value cannot be used.
        reason: String,
    },
    /// A configuration asks for arithmetic that this program does not have. It is refused, because ignoring it would
    /// compute another model.
    #[error("{file}: {field} = {value} is not supported: {supported}")]
    Unsupported {
        /// The file.
        file: String,
        /// The field, dotted.
        field: String,
        /// Its value.
        value: String,
        /// What is supported instead.
        supported: String,
    },
    /// The path is neither a model directory nor a GGUF file.
    #[error("{path}: {reason}")]
    NotAModel {
        /// The path.
        path: PathBuf,
        /// What was looked for and not found.
        reason: String,
    },
    /// Tensors that the configuration implies are not in the file.
    #[error("{file}: {} of {expected} tensors are missing: {}", names.len(), few(names))]
    Missing {
        /// The file or directory.
        file: String,
        /// How many tensors the configuration implies.
        expected: usize,
        /// The missing names.
        names: Vec<String>,
    },
    /// Tensors in the file that the configuration has no place for, and that would change the result if they had.
    #[error(
        "{file}: {} tensors have no place in this {model_type} model: {}. The configuration and the weights do not \
         belong together",
        names.len(),
        few(names)
    )]
    Unexpected {
        /// The file or directory.
        file: String,
        /// The configuration's model type.
        model_type: String,
        /// The names.
        names: Vec<String>,
    },
    /// A tensor has another shape than the configuration implies.
    #[error("{file}: {tensor}: the shape is {found:?} but {why} implies {expected:?}")]
    Shape {
        /// The file.
        file: String,
        /// Name of the tensor in the file.
        tensor: String,
        /// The implied shape.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
        /// What implies the shape.
        why: String,
    },
    /// A tensor could not be decoded.
    #[error("{file}: {tensor}: {reason}")]
    Tensor {
        /// The file.
        file: String,
        /// Name of the tensor.
        tensor: String,
        /// Why.
        reason: String,
    },
    /// A container (safetensors, GGUF) is damaged or cannot be written; the text names the file.
    #[error("{0}")]
    Container(String),
    /// A file could not be read or written.
    #[error("{file}: {reason}")]
    File {
        /// The file.
        file: String,
        /// Why.
        reason: String,
    },
    /// Settings of an adapter or of freezing that fit no module of the model.
    #[error("{setting}: {reason}")]
    Setting {
        /// The setting's name.
        setting: String,
        /// Why it cannot be applied, and what could.
        reason: String,
    },
    /// The base model is not the one that the adapter was trained on.
    #[error(
        "{adapter} was trained on a base model with content hash {expected}, this one has {found}. Use the base that the \
         adapter names ({base}), or train again"
    )]
    OtherBase {
        /// The adapter's directory.
        adapter: String,
        /// Name of the base in the adapter.
        base: String,
        /// Hash stored beside the adapter.
        expected: String,
        /// Hash of the base at hand.
        found: String,
    },
    /// The engine refused an operation.
    #[error(transparent)]
    Engine(#[from] engine::EngineError),
}

impl ModelError {
    pub(crate) fn file(path: &Path, reason: impl std::fmt::Display) -> Self {
        ModelError::File { file: path.display().to_string(), reason: reason.to_string() }
    }

    pub(crate) fn config(file: &str, field: impl Into<String>, reason: impl Into<String>) -> Self {
        ModelError::Config { file: file.into(), field: field.into(), reason: reason.into() }
    }

    pub(crate) fn setting(setting: impl Into<String>, reason: impl Into<String>) -> Self {
        ModelError::Setting { setting: setting.into(), reason: reason.into() }
    }
}

/// The first few of many names.
pub(crate) fn few(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut text = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}
