//! Words: Python's `\w`, and regular expressions that are written for Python.
//!
//! Owns the `regex` and `regex-syntax` libraries.

use std::sync::OnceLock;

use regex::Regex;
use regex_syntax::hir::{Class, HirKind};

use crate::error::{Result, VectorizeError};

/// scikit-learn's default `token_pattern`.
const DEFAULT: &str = r"(?u)\b\w\w+\b";
/// The other one that everybody writes: words of one character count, too.
const SHORT: &str = r"(?u)\b\w+\b";

/// One bit for each code point.
type Table = [u64; 0x11_0000 / 64];

/// Whether Python's `\w` matches: a letter, a number of any kind, or `_`. (Rust's also takes combining marks.)
pub(crate) fn is_word(c: char) -> bool {
    let c = c as usize;
    table()[c / 64] >> (c % 64) & 1 == 1
}

fn table() -> &'static Table {
    static TABLE: OnceLock<Box<Table>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = Box::new([0u64; 0x11_0000 / 64]);
        // A fixed expression that parses to a class of characters.
        if let Ok(hir) = regex_syntax::parse(r"[\p{L}\p{N}_]")
            && let HirKind::Class(Class::Unicode(class)) = hir.kind()
        {
            for range in class.ranges() {
                for c in range.start() as usize..=range.end() as usize {
                    table[c / 64] |= 1 << (c % 64);
                }
            }
        }
        table
    })
}

/// Finds words.
pub(super) enum Words {
    /// Runs of word characters at least this long: what the usual patterns mean.
    Runs(usize),
    /// An expression; the group that is the token (0: the whole match).
    Pattern(Regex, usize),
}

impl Words {
    pub fn new(pattern: Option<&str>) -> Result<Self> {
        match pattern {
            None | Some(DEFAULT) | Some(r"\b\w\w+\b") => return Ok(Words::Runs(2)),
            Some(SHORT) | Some(r"\b\w+\b" | r"\w+" | r"(?u)\w+") => return Ok(Words::Runs(1)),
            Some(_) => {}
        }
        let pattern = pattern.unwrap_or(DEFAULT);
        let wrong = |reason: String| VectorizeError::setting("token_pattern", reason);
        let regex = Regex::new(&translated(pattern)).map_err(|e| wrong(e.to_string()))?;
        match regex.captures_len() {
            1 => Ok(Words::Pattern(regex, 0)),
            2 => Ok(Words::Pattern(regex, 1)),
            _ => Err(wrong("more than one group; write `(?:…)` for those that are not the token".into())),
        }
    }

    pub fn find(&self, text: &str, each: &mut dyn FnMut(&str)) {
        match self {
            Words::Runs(shortest) => runs(text, *shortest, each),
            Words::Pattern(regex, 0) => regex.find_iter(text).for_each(|m| each(m.as_str())),
            Words::Pattern(regex, group) => {
                regex.captures_iter(text).for_each(|c| each(c.get(*group).map_or("", |m| m.as_str())));
            }
        }
    }
}

/// Python's `\w` and `\W` in Rust's spelling.
fn translated(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 32);
    let (mut chars, mut class) = (pattern.chars(), false);
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('w') => out.push_str(if class { r"\p{L}\p{N}_" } else { r"[\p{L}\p{N}_]" }),
                Some('W') => out.push_str(r"[^\p{L}\p{N}_]"),
                Some(other) => out.extend(['\\', other]),
                None => out.push('\\'),
            },
            '[' => {
                class = true;
                out.push(c);
            }
            ']' => {
                class = false;
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

/// ASCII bytes of words.
const ASCII_WORD: [bool; 128] = {
    let mut table = [false; 128];
    let mut b = 0;
    while b < 128 {
        table[b] = (b as u8).is_ascii_alphanumeric() || b as u8 == b'_';
        b += 1;
    }
    table
};

/// Maximal runs of word characters that are at least `shortest` characters long.
fn runs(text: &str, shortest: usize, each: &mut dyn FnMut(&str)) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let (start, mut length) = (at, 0);
        while at < bytes.len() {
            let b = bytes[at];
            if b < 128 {
                if !ASCII_WORD[b as usize] {
                    break;
                }
                at += 1;
            } else {
                // `at` is at a character: every step before went from one to the next.
                let Some(c) = text[at..].chars().next().filter(|&c| is_word(c)) else { break };
                at += c.len_utf8();
            }
            length += 1;
        }
        if length >= shortest {
            each(&text[start..at]);
        }
        // What ended the run, one character.
        if at < bytes.len() {
            at += if bytes[at] < 128 { 1 } else { text[at..].chars().next().map_or(1, char::len_utf8) };
        }
    }
}

/// Whether a character is a Chinese one: the blocks that jieba cuts.
fn is_han(c: char) -> bool {
    matches!(c as u32, 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x20000..=0x323AF)
}

/// Pieces of one script, Chinese or not.
pub(super) fn by_script(text: &str, each: &mut dyn FnMut(&str, bool)) {
    let (mut start, mut was) = (0, false);
    for (at, c) in text.char_indices() {
        let han = is_han(c);
        if han != was && at > start {
            each(&text[start..at], was);
            start = at;
        }
        was = han;
    }
    if start < text.len() {
        each(&text[start..], was);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn word_characters_are_python_s() {
        for c in ['a', 'Z', '0', '_', 'é', '你', '²', '½', 'Ⅷ', 'ﬁ'] {
            assert!(is_word(c), "{c}");
        }
        for c in [' ', '-', '.', '\u{301}', '。', '\u{1F600}', '\u{200D}', '‿', 'ⓐ'] {
            assert!(!is_word(c), "{c}");
        }
    }

    proptest! {
        #[test]
        fn runs_are_what_the_expression_finds(text in "[aZ0_ é²你\u{301}\u{1F600}.-]{0,40}") {
            for (shortest, pattern) in [(2, r"[\p{L}\p{N}_]{2,}"), (1, r"[\p{L}\p{N}_]+")] {
                let want: Vec<&str> = Regex::new(pattern).unwrap().find_iter(&text).map(|m| m.as_str()).collect();
                let mut got = Vec::new();
                runs(&text, shortest, &mut |w| got.push(w.to_owned()));
                prop_assert_eq!(got, want);
            }
        }
    }
}
