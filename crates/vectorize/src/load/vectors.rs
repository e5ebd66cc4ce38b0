//! Word vectors from files of the word2vec program, text or binary, told apart by themselves.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::embed::WordVectors;
use crate::error::{Result, VectorizeError};

/// Longest word that a file may hold, in bytes: what is longer is not a word but a broken file.
const LONGEST: usize = 10_000;

/// Reads vectors. Of a word that is there twice the first counts, as in gensim.
///
/// # Errors
/// A file that is not what it should be, with the line (of a binary file: the entry).
pub fn word2vec(path: &Path) -> Result<WordVectors> {
    let file = File::open(path).map_err(VectorizeError::io(path, "read"))?;
    let bytes = file.metadata().map_err(VectorizeError::io(path, "read"))?.len();
    word2vec_from(path, bytes, file)
}

/// The same from anything that gives `bytes` bytes; `path` stands in errors.
///
/// # Errors
/// As [`word2vec`].
pub fn word2vec_from(path: &Path, bytes: u64, input: impl Read) -> Result<WordVectors> {
    let mut input = BufReader::with_capacity(1 << 18, input);
    let mut first = Vec::new();
    (&mut input).take(100).read_until(b'\n', &mut first).map_err(VectorizeError::io(path, "read"))?;
    let header = || VectorizeError::file(path, 1, "the first line is not `number-of-words numbers-of-a-vector`");
    let text = std::str::from_utf8(&first).map_err(|_| header())?;
    let sizes: Vec<u64> = text.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>().map_err(|_| header())?;
    let [words, dim] = sizes[..] else { return Err(header()) };
    // The smallest entry is a word of one byte with its numbers, of two bytes each at least in text.
    if dim == 0 || dim > 100_000 || words.checked_mul(dim).is_none_or(|n| n.saturating_mul(2) > bytes) {
        return Err(VectorizeError::file(
            path,
            1,
            format!("{words} vectors of {dim} numbers do not fit into {bytes} bytes: is it cut off?"),
        ));
    }
    let (words, dim) = (words as usize, dim as usize);
    let mut all = Entries { path, names: Vec::with_capacity(words), values: Vec::with_capacity(words * dim), seen: Default::default() };
    let start = peek(&mut input).map_err(VectorizeError::io(path, "read"))?;
    if is_text(&start, dim) {
        text_entries(&mut input, words, dim, &mut all)?
    } else {
        binary_entries(&mut input, words, dim, &mut all)?
    }
    WordVectors::new(all.names, dim, all.values)
}

struct Entries<'p> {
    path: &'p Path,
    names: Vec<String>,
    values: Vec<f32>,
    seen: std::collections::HashSet<String>,
}

impl Entries<'_> {
    fn push(&mut self, name: String, values: &[f32]) {
        if self.seen.insert(name.clone()) {
            self.names.push(name);
            self.values.extend_from_slice(values);
        }
    }
}

fn peek(input: &mut BufReader<impl Read>) -> std::io::Result<Vec<u8>> {
    Ok(input.fill_buf()?.to_vec())
}

/// Whether what follows the header is a line of a word and `dim` numbers (or as much of it as fits the buffer).
fn is_text(start: &[u8], dim: usize) -> bool {
    let line = start.split(|&b| b == b'\n').next().unwrap_or_default();
    let whole = line.len() < start.len();
    let Ok(line) = std::str::from_utf8(line) else { return false };
    let mut numbers = line.trim_end().split(' ').skip(1).collect::<Vec<_>>();
    if !whole {
        numbers.pop();
    }
    !numbers.is_empty() && (!whole || numbers.len() == dim) && numbers.iter().all(|n| n.parse::<f32>().is_ok())
}

fn text_entries(input: &mut impl BufRead, words: usize, dim: usize, all: &mut Entries<'_>) -> Result<()> {
    let mut line = Vec::new();
    let mut values = vec![0.0; dim];
    for entry in 0..words {
        let number = entry + 2;
        line.clear();
        // A number takes a few dozen bytes at most.
        let most = (LONGEST + dim * 64) as u64;
        input.take(most).read_until(b'\n', &mut line).map_err(VectorizeError::io(all.path, "read"))?;
        let wrong = |reason: String| VectorizeError::file(all.path, number, reason);
        if line.is_empty() {
            return Err(wrong(format!("the file ends after {entry} of {words} words")));
        }
        let text = String::from_utf8_lossy(&line);
        let mut parts = text.trim_end().split(' ');
        let word = parts.next().unwrap_or_default().to_owned();
        let mut filled = 0;
        for part in parts {
            let value = part.parse().map_err(|_| wrong(format!("`{part}` is no number")))?;
            *values.get_mut(filled).ok_or_else(|| wrong(format!("more than {dim} numbers")))? = value;
            filled += 1;
        }
        if filled != dim {
            return Err(wrong(format!("{filled} numbers instead of {dim}")));
        }
        all.push(word, &values);
    }
    Ok(())
}

fn binary_entries(input: &mut impl BufRead, words: usize, dim: usize, all: &mut Entries<'_>) -> Result<()> {
    let mut buffer = vec![0u8; dim * 4];
    for entry in 0..words {
        let wrong = |reason: &str| VectorizeError::file(all.path, entry + 2, reason);
        let mut word = Vec::new();
        input.take(LONGEST as u64).read_until(b' ', &mut word).map_err(VectorizeError::io(all.path, "read"))?;
        if word.pop() != Some(b' ') {
            return Err(wrong("no word and space where an entry should begin: is the file cut off?"));
        }
        input.read_exact(&mut buffer).map_err(|_| wrong("the file ends within a vector"))?;
        // Some writers end an entry with a line break, some do not.
        let name = String::from_utf8_lossy(&word).trim_start_matches('\n').to_owned();
        let values: Vec<f32> = buffer.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        all.push(name, &values);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::save::vectors::{VectorFormat, word2vec as save};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn both_forms_come_back_to_the_bit(rows in prop::collection::vec(prop::collection::vec(-1e3f32..1e3, 3), 1..20)) {
            let words: Vec<String> = (0..rows.len()).map(|i| format!("{}{i}", ["词", "word", "é"][i % 3])).collect();
            let vectors = WordVectors::new(words, 3, rows.concat()).unwrap();
            let dir = tempfile::tempdir().unwrap();
            for format in [VectorFormat::Text, VectorFormat::Binary] {
                let path = dir.path().join("v");
                save(&path, &vectors, format).unwrap();
                prop_assert_eq!(&word2vec(&path).unwrap(), &vectors);
            }
        }

        #[test]
        fn no_file_panics(bytes in prop::collection::vec(any::<u8>(), 0..80), header in "[0-9]{1,3} [0-9]{1,2}\n|") {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("v");
            std::fs::write(&path, [header.as_bytes(), &bytes].concat()).unwrap();
            let _ = word2vec(&path);
        }
    }

    #[test]
    fn damage_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("v.txt");
        let error = |text: &str| {
            std::fs::write(&path, text).unwrap();
            word2vec(&path).unwrap_err().to_string()
        };
        assert!(error("2 2\na 1 2\nb 1\n").contains(":3: 1 numbers instead of 2"));
        assert!(error("2 2\na 1 2\n    ").contains(":3: "));
        assert!(error("999999999 9\n").contains("cut off"));
        assert!(error("hello\n").contains("first line"));
    }
}
