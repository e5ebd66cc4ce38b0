//! Everything that can go wrong between text and ids, said so that a user can act on it.

use std::path::PathBuf;

/// The crate's result.
pub type Result<T> = std::result::Result<T, TextError>;

/// What went wrong, where, why, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// A file that a tokenizer directory must have, or that it names, is absent or unreadable.
    #[error("{path}: cannot read: {source}", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A tokenizer file could not be written.
    #[error("{path}: cannot write: {source}", path = .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A directory holds no tokenizer that this crate reads.
    #[error("{path}: no tokenizer.json here{hint}", path = .path.display())]
    NoTokenizer {
        /// The directory.
        path: PathBuf,
        /// What was found instead and what to do, or nothing.
        hint: String,
    },
    /// A file is there but its content is not what its name promises.
    #[error("{path}: {field}: {reason}", path = .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The field, or `line L column C` for a syntax error.
        field: String,
        /// Why it cannot be used.
        reason: String,
    },
    /// The vocabulary inside a GGUF file cannot be turned into a tokenizer.
    #[error("GGUF metadata {key}: {reason}")]
    Gguf {
        /// The metadata key.
        key: String,
        /// Why, and what would be accepted.
        reason: String,
    },
    /// The tokenizer library refused a text or a list of ids.
    #[error("tokenizer: {0}")]
    Tokenize(String),
    /// An id that the vocabulary does not have.
    #[error("token id {id} is outside the vocabulary of {vocab_size} tokens: these ids come from another tokenizer")]
    UnknownId {
        /// The id.
        id: u32,
        /// Number of ids.
        vocab_size: usize,
    },
    /// A chat template does not parse.
    #[error("chat template{at}: {reason}", at = at(.line))]
    TemplateSyntax {
        /// Line in the template, from 1.
        line: Option<usize>,
        /// The parser's reason.
        reason: String,
    },
    /// A chat template failed while it rendered.
    #[error("chat template{at}: {reason}", at = at(.line))]
    TemplateRender {
        /// Line in the template, from 1.
        line: Option<usize>,
        /// The reason.
        reason: String,
    },
    /// The template itself refused these messages through `raise_exception`; the message is the template author's.
    #[error("the chat template refuses these messages: {0}")]
    TemplateRaised(String),
    /// The directory has several named templates and none of them is the default.
    #[error("the model has no chat template named \"{name}\"; it has: {known}")]
    UnknownTemplate {
        /// The name asked for.
        name: String,
        /// The names there are, comma-separated.
        known: String,
    },
}

fn at(line: &Option<usize>) -> String {
    line.map(|l| format!(" line {l}")).unwrap_or_default()
}
