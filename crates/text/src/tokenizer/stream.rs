//! Ids to text, one at a time, as a model produces them.

use super::Tokenizer;
use super::surface::Spelling;
use crate::error::{Result, TextError};

/// Turns ids into text piece by piece; a character that is spread over several tokens comes out with its last one.
///
/// All pieces and [`DecodeStream::finish`] joined are [`Tokenizer::decode`] of all ids. (One exception: bytes that are not UTF-8 at
/// all. With a SentencePiece vocabulary the library looks at a whole run of byte tokens and replaces all of it, which nobody can do
/// while streaming; here only the broken bytes become `�`.)
pub struct DecodeStream<'t> {
    tokenizer: &'t Tokenizer,
    skip_special: bool,
    /// Bytes that do not make a whole character yet: at most three.
    pending: Vec<u8>,
    /// Nothing has been given out yet, so a leading space may have to go.
    first: bool,
    /// The last id, for vocabularies in which a token's text depends on its neighbour.
    previous: Option<u32>,
}

impl<'t> DecodeStream<'t> {
    pub(super) fn new(tokenizer: &'t Tokenizer, skip_special: bool) -> Self {
        DecodeStream { tokenizer, skip_special, pending: Vec::new(), first: true, previous: None }
    }

    /// Takes one id; gives the text that is certain now, empty if the id is half a character (or special and skipped).
    pub fn push(&mut self, id: u32) -> Result<String> {
        let tokenizer = self.tokenizer;
        if self.skip_special && tokenizer.is_special(id) {
            return Ok(String::new());
        }
        let spelling = tokenizer.surfaces.spelling();
        if spelling == Spelling::Other {
            return self.push_by_neighbour(id);
        }
        let bytes = tokenizer.byte_surface(id).ok_or_else(|| TextError::UnknownId { id, vocab_size: tokenizer.vocab_size() })?;
        let strip = self.first && matches!(spelling, Spelling::Metaspace { strip_first: true, .. });
        self.first = false;
        self.pending.extend_from_slice(if strip { bytes.strip_prefix(b" ").unwrap_or(&bytes) } else { &bytes });
        Ok(self.take_whole_characters())
    }

    /// The rest: half a character that will never be completed, as `�`.
    pub fn finish(mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.pending)).into_owned()
    }

    /// Moves every whole character (and every byte that can never become one, as `�`) out of `pending`.
    fn take_whole_characters(&mut self) -> String {
        let mut text = String::new();
        let mut rest: &[u8] = &self.pending;
        loop {
            match std::str::from_utf8(rest) {
                Ok(whole) => {
                    text.push_str(whole);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (good, bad) = rest.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(good));
                    let Some(len) = error.error_len() else {
                        rest = bad;
                        break;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = &bad[len..];
                }
            }
        }
        self.pending = rest.to_vec();
        text
    }

    /// For spellings whose text depends on the token before: the difference that this token makes.
    fn push_by_neighbour(&mut self, id: u32) -> Result<String> {
        let text = match self.previous {
            None => self.tokenizer.decode(&[id], self.skip_special)?,
            Some(previous) => {
                let before = self.tokenizer.decode(&[previous], self.skip_special)?;
                let both = self.tokenizer.decode(&[previous, id], self.skip_special)?;
                both.strip_prefix(&before).unwrap_or(&both).to_owned()
            }
        };
        self.previous = Some(id);
        Ok(text)
    }
}
