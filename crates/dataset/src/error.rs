//! What can go wrong with data, and what to do about it.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// An error that ends the work: the data as a whole cannot be used. Single rows that cannot are [`BadRow`]s.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused to read or write a file.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file is not what it should be, from this line on.
    #[error("{path}:{line}: {reason}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Line (or row, in Parquet) counted from 1.
        line: usize,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A setting of the recipe that cannot be obeyed.
    #[error("{field}: {reason}")]
    Setting {
        /// The key with its parents below `dataset` or `task` (`columns.text`).
        field: String,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// Files were read and no row can be used.
    #[error("{what}: no row can be used: {reasons}")]
    NoRows {
        /// The source.
        what: String,
        /// Why, most frequent reason first, with an example's place.
        reasons: String,
    },
    /// Rows were rendered and not one token of them would be trained.
    #[error("nothing would be trained: {reasons}")]
    NothingTrained {
        /// Why, most frequent reason first, with an example's place.
        reasons: String,
    },
    /// Conversations, and no template to write them with.
    #[error(
        "the data holds conversations, but the model has no chat template: declare one with `task: {{template: alpaca}}` (or chatml, vicuna, plain)"
    )]
    NoTemplate,
    /// The tokenizer or template refused.
    #[error(transparent)]
    Text(#[from] text::TextError),
}

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Error::Io { path: path.into(), source }
    }

    pub(crate) fn file(path: impl Into<PathBuf>, line: usize, reason: impl Into<String>) -> Self {
        Error::File { path: path.into(), line, reason: reason.into() }
    }

    pub(crate) fn setting(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Error::Setting { field: field.into(), reason: reason.into() }
    }
}

/// A row that cannot be used. The run goes on without it; it is counted and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BadRow {
    /// File name.
    pub file: String,
    /// Line on which the row starts, from 1 (row number in Parquet).
    pub line: usize,
    /// The column, or the way to the value inside it (`messages[2].role`); empty if the row as a whole is bad.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.reason)
    }
}

/// Groups reasons, most frequent first, each with the place of its first row: `120 rows: label: empty (first: a.csv:7); …`.
pub(crate) fn summarise<'a>(reasons: impl Iterator<Item = (String, &'a str)>) -> String {
    let mut groups: Vec<(String, usize, &str)> = Vec::new();
    for (reason, place) in reasons {
        // Reasons that differ in their numbers ("needs 812 tokens", "needs 9003 tokens") are one kind, shown by its first.
        match groups.iter().position(|(known, _, _)| kind_of(known) == kind_of(&reason)) {
            Some(at) => groups[at].1 += 1,
            // Beyond a few kinds the message helps nobody; the counts of the first kinds stay exact.
            None if groups.len() < 64 => groups.push((reason, 1, place)),
            None => {}
        }
    }
    groups.sort_by_key(|(_, n, _)| std::cmp::Reverse(*n));
    let more = groups.len().saturating_sub(5);
    let mut text: Vec<String> = groups
        .iter()
        .take(5)
        .map(|(reason, n, place)| format!("{n} row{}: {reason} (first: {place})", if *n == 1 { "" } else { "s" }))
        .collect();
    if more > 0 {
        text.push(format!("and {more} other reasons"));
    }
    text.join("; ")
}

/// A reason without its numbers ("needs # tokens"): what rows that were left out for one reason have in common.
pub fn kind_of(reason: &str) -> String {
    let mut kind = String::with_capacity(reason.len());
    for c in reason.chars() {
        match c {
            '0'..='9' if kind.ends_with('#') => {}
            '0'..='9' => kind.push('#'),
            c => kind.push(c),
        }
    }
    kind
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_that_differ_in_numbers_are_one_kind() {
        let reasons = [("needs 812 tokens", "a:1"), ("empty", "a:2"), ("needs 9003 tokens", "a:3")];
        let text = summarise(reasons.iter().map(|(reason, place)| ((*reason).to_owned(), *place)));
        assert_eq!(text, "2 rows: needs 812 tokens (first: a:1); 1 row: empty (first: a:2)");
    }
}
