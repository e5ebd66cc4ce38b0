//! What can go wrong inside the engine, with the operation and the numbers that disagree.

/// Result of every fallible engine call.
pub type Result<T> = std::result::Result<T, EngineError>;

/// An error of the engine. Shapes are checked where an operation is recorded, so that a kernel never reads out of
/// bounds because of a damaged file or a tokenizer that does not belong to the model.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EngineError {
    /// Two shapes that must agree do not.
    #[error("{op}: {what} should be {expected} but is {found}")]
    Shape {
        /// The operation.
        op: &'static str,
        /// Which of its dimensions.
        what: &'static str,
        /// The size that the other operands imply.
        expected: usize,
        /// The size that was given.
        found: usize,
    },
    /// An index (token id, row, position, slot) beyond the table it points into.
    #[error("{op}: {what} {index} is out of range: there are {len}")]
    Index {
        /// The operation.
        op: &'static str,
        /// What the index counts.
        what: &'static str,
        /// The offending index.
        index: usize,
        /// The number of entries.
        len: usize,
    },
    /// A setting that an operation cannot work with.
    #[error("{op}: {reason}")]
    Invalid {
        /// The operation.
        op: &'static str,
        /// Why.
        reason: String,
    },
    /// A saved optimizer state or parameter that does not fit the ones in memory.
    #[error("{name}: {reason}")]
    State {
        /// Name of the parameter.
        name: String,
        /// Why.
        reason: String,
    },
}

/// `Ok` if `found == expected`, else a [`EngineError::Shape`].
pub(crate) fn check(op: &'static str, what: &'static str, expected: usize, found: usize) -> Result<()> {
    if expected == found { Ok(()) } else { Err(EngineError::Shape { op, what, expected, found }) }
}
