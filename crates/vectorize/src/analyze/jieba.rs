//! Chinese words. Owns the `jieba-rs` library.

use std::sync::OnceLock;

use jieba_rs::Jieba as Dictionary;

use crate::error::{Result, VectorizeError};

/// Cuts Chinese text into words (dictionary and hidden Markov model, as `jieba.lcut`).
pub(super) enum Jieba {
    /// The common dictionary.
    Common(&'static Dictionary),
    /// With words of the user's.
    Own(Box<Dictionary>),
}

/// The dictionary is large: it is read once.
fn common() -> &'static Dictionary {
    static COMMON: OnceLock<Dictionary> = OnceLock::new();
    COMMON.get_or_init(Dictionary::new)
}

impl Jieba {
    /// `lines` of a user dictionary: `word [frequency] [tag]`; empty ones count for nothing.
    pub fn new(lines: &[String]) -> Result<Self> {
        if lines.iter().all(|l| l.trim().is_empty()) {
            return Ok(Jieba::Common(common()));
        }
        let mut own = Dictionary::new();
        for (i, line) in lines.iter().enumerate() {
            let mut parts = line.trim().trim_start_matches('\u{feff}').split_whitespace();
            let Some(word) = parts.next() else { continue };
            let (frequency, tag) = match (parts.next(), parts.next(), parts.next()) {
                (None, _, _) => (None, None),
                (Some(second), None, _) => match second.parse::<usize>() {
                    Ok(frequency) => (Some(frequency), None),
                    // As jieba reads it: a tag may follow the word directly, and is letters.
                    Err(_) if second.len() <= 3 && second.chars().all(|c| c.is_ascii_lowercase()) => (None, Some(second)),
                    Err(_) => return Err(wrong(i, line)),
                },
                (Some(frequency), Some(tag), None) => (Some(frequency.parse().map_err(|_| wrong(i, line))?), Some(tag)),
                _ => return Err(wrong(i, line)),
            };
            own.add_word(word, frequency, tag);
        }
        Ok(Jieba::Own(Box::new(own)))
    }

    pub fn cut(&self, text: &str, each: &mut dyn FnMut(&str)) {
        let dictionary = match self {
            Jieba::Common(dictionary) => dictionary,
            Jieba::Own(dictionary) => &**dictionary,
        };
        dictionary.cut(text, true).iter().for_each(|t| each(t.word));
    }
}

fn wrong(index: usize, line: &str) -> VectorizeError {
    VectorizeError::setting("user_dictionary", format!("line {}: `{}` is not `word [frequency] [tag]`", index + 1, line.trim()))
}
