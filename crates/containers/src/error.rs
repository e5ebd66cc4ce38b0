//! What can go wrong with a container file, said so that the reader knows what to do.

use std::path::{Path, PathBuf};

use crate::DType;

/// Result of this crate's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error, as returned by the closures that produce a tensor's bytes.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A failure to read or write a container. Every message names the file (or tensor), the reason and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried, as an infinitive ("open", "write").
        action: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file contradicts its format: cut short, bits flipped, or written by a faulty program.
    #[error("{}: {place}: {reason}; the file is damaged or incomplete: fetch it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it: `header`, a metadata key, a tensor's name, a byte position.
        place: String,
        /// What is wrong there.
        reason: String,
    },
    /// The file is sound but of a kind that is not read.
    #[error("{}: {what}; {hint}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: String,
        /// What to do instead.
        hint: &'static str,
    },
    /// A directory without loadable weights.
    #[error(
        "{}: no model.safetensors and no model.safetensors.index.json{found}; {hint}", dir.display()
    )]
    NoWeights {
        /// The directory.
        dir: PathBuf,
        /// What lies there instead, as a clause, or empty.
        found: String,
        /// What to do.
        hint: &'static str,
    },
    /// The index names a shard that is not there.
    #[error(
        "{}: shard `{shard}` is missing: {tensors} tensors (`{first}`, …) are said to lie in it; fetch the model again",
        index.display()
    )]
    MissingShard {
        /// The index file.
        index: PathBuf,
        /// File name of the shard.
        shard: String,
        /// How many tensors it should hold.
        tensors: usize,
        /// One of them.
        first: String,
    },
    /// A tensor is not in the file.
    #[error("{}: there is no tensor `{name}`{nearest}", path.display())]
    MissingTensor {
        /// The file (or index).
        path: PathBuf,
        /// The tensor asked for.
        name: String,
        /// A clause with a similar name, or empty.
        nearest: String,
    },
    /// A metadata key is absent or of another type.
    #[error("{}: metadata key `{key}` {reason}", path.display())]
    Metadata {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// `is missing`, or which type was found and which wanted.
        reason: String,
    },
    /// A tensor's values cannot be converted.
    #[error("tensor `{name}`: {source}")]
    Tensor {
        /// The tensor.
        name: String,
        /// Why.
        source: QuantError,
    },
    /// What was asked to be written is impossible (duplicate name, wrong byte count, type the format cannot hold).
    #[error("cannot write {}: tensor `{name}`: {reason}", path.display())]
    Unwritable {
        /// The file to be written.
        path: PathBuf,
        /// The tensor or metadata key.
        name: String,
        /// Why.
        reason: String,
    },
    /// The closure that should have produced a tensor's bytes failed.
    #[error("cannot write {}: tensor `{name}`: {source}", path.display())]
    Produce {
        /// The file to be written.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The closure's error.
        source: BoxError,
    },
}

/// A conversion between stored bytes and f32 that cannot be done.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum QuantError {
    /// Integers, packed foreign formats and scale-less 8-bit floats are not numbers that a weight could be read from.
    #[error("{0} is not a type that weights are read from; convert the model to F32, F16 or BF16 first")]
    NotWeights(DType),
    /// A block format that is recognised but not decoded.
    #[error("{0} is not decoded; use a file with Q2_K…Q6_K, Q4_0…Q8_0, IQ4_NL, IQ4_XS, F16, BF16 or F32 instead")]
    Undecoded(DType),
    /// No encoder for this type.
    #[error("{0} cannot be written; use F32, F16, BF16, Q8_0, Q4_0 or Q4_1")]
    NoEncoder(DType),
    /// The lengths of the two sides do not fit.
    #[error("{dtype}: {bytes} bytes do not hold {values} values")]
    Length {
        /// The stored type.
        dtype: DType,
        /// Bytes on the stored side.
        bytes: usize,
        /// Values on the f32 side.
        values: usize,
    },
    /// A row does not consist of whole blocks.
    #[error("{dtype}: rows of {row} values are not whole blocks of {block}; keep this tensor in F16 or F32")]
    Row {
        /// The type to be written.
        dtype: DType,
        /// Values of a row.
        row: usize,
        /// Values of a block.
        block: usize,
    },
    /// A value that the target type cannot hold (NaN or infinity in a block format, overflow in F16).
    #[error("{dtype}: value {value} at position {index} does not fit; use BF16 or F32 for this tensor")]
    Value {
        /// The type to be written.
        dtype: DType,
        /// Where in the tensor, counted in values.
        index: usize,
        /// The value.
        value: f32,
    },
}

impl Error {
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { path, action, source }
    }

    pub(crate) fn damaged(path: &Path, place: impl Into<String>, reason: impl Into<String>) -> Error {
        Error::Damaged { path: path.to_owned(), place: place.into(), reason: reason.into() }
    }
}
