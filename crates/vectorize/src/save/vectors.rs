//! Word vectors as files of the word2vec program: what gensim, fastText and spaCy read.

use std::io::Write;
use std::path::Path;

use containers::save::AtomicFile;

use crate::embed::WordVectors;
use crate::error::{Result, VectorizeError};

/// How the numbers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VectorFormat {
    /// A line a word: `word 0.1 0.2 …`.
    Text,
    /// `word`, a space, and the numbers as 32-bit floats, little endian.
    Binary,
}

/// Writes vectors; the first line says how many there are and how long.
///
/// # Errors
/// A word with white space in it, which neither form can hold; what the system refuses.
pub fn word2vec(path: &Path, vectors: &WordVectors, format: VectorFormat) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    word2vec_to(&mut file, path, vectors, format)?;
    Ok(file.commit()?)
}

/// The same into anything; `path` stands in errors.
///
/// # Errors
/// As [`word2vec`].
pub fn word2vec_to(out: &mut impl Write, path: &Path, vectors: &WordVectors, format: VectorFormat) -> Result<()> {
    if let Some(i) = vectors.words().iter().position(|w| w.is_empty() || w.contains([' ', '\n', '\r', '\t'])) {
        return Err(VectorizeError::file(
            path,
            i + 2,
            format!("the word {:?} holds white space, which the format cannot", vectors.words()[i]),
        ));
    }
    let write = |out: &mut dyn Write| -> std::io::Result<()> {
        writeln!(out, "{} {}", vectors.len(), vectors.dim())?;
        for (i, word) in vectors.words().iter().enumerate() {
            out.write_all(word.as_bytes())?;
            match format {
                VectorFormat::Text => {
                    for v in vectors.row(i as u32) {
                        write!(out, " {v}")?;
                    }
                }
                VectorFormat::Binary => {
                    out.write_all(b" ")?;
                    for v in vectors.row(i as u32) {
                        out.write_all(&v.to_le_bytes())?;
                    }
                }
            }
            out.write_all(b"\n")?;
        }
        Ok(())
    };
    write(out).map_err(VectorizeError::io(path, "write"))
}
