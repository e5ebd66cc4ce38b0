//! What one token stands for: its bytes, outside of any sentence.
//!
//! Vocabularies spell their tokens in ways that are not the text: GPT-2's byte-level alphabet writes a space as `Ġ` and every byte
//! as a printable character; SentencePiece writes a space as `▁` and odd bytes as `<0x0A>`. Streaming needs the bytes (half
//! characters must wait for their other half), and so does anybody who shows tokens one by one.

use serde_json::Value;

/// How the vocabulary spells text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// GPT-2's alphabet: one character for each byte.
    ByteLevel,
    /// SentencePiece: `▁` for a space; `<0xAB>` for a byte if `bytes`; the first space of a text dropped if `strip_first`.
    Metaspace { bytes: bool, strip_first: bool },
    /// Anything else (WordPiece, word level, …): the text depends on the neighbours.
    Other,
}

/// The spelling of a vocabulary, and which ids there are.
pub(super) struct Surfaces {
    spelling: Spelling,
    /// For each id: 0 absent, 1 ordinary, 2 special.
    kind: Vec<u8>,
}

impl Surfaces {
    /// Looks at the tokenizer's decoder and vocabulary.
    pub(super) fn of(inner: &tokenizers::Tokenizer) -> Self {
        let decoder = inner.get_decoder().and_then(|d| serde_json::to_value(d).ok()).unwrap_or(Value::Null);
        let mut kind = Vec::new();
        let mut set = |id: u32, to: u8| {
            let id = id as usize;
            if kind.len() <= id {
                kind.resize(id + 1, 0);
            }
            kind[id] = kind[id].max(to);
        };
        for id in inner.get_vocab(true).into_values() {
            set(id, 1);
        }
        for (id, token) in inner.get_added_tokens_decoder() {
            set(id, if token.special { 2 } else { 1 });
        }
        Surfaces { spelling: spelling(&decoder), kind }
    }

    pub(super) fn spelling(&self) -> Spelling {
        self.spelling
    }

    /// One more than the largest id.
    pub(super) fn len(&self) -> usize {
        self.kind.len()
    }

    pub(super) fn has(&self, id: u32) -> bool {
        self.kind.get(id as usize).is_some_and(|&k| k > 0)
    }

    pub(super) fn is_special(&self, id: u32) -> bool {
        self.kind.get(id as usize) == Some(&2)
    }

    /// The bytes of one token.
    pub(super) fn bytes(&self, inner: &tokenizers::Tokenizer, id: u32) -> Option<Vec<u8>> {
        let token = inner.id_to_token(id)?;
        Some(match self.spelling {
            Spelling::ByteLevel => from_byte_level(&token).unwrap_or_else(|| token.into_bytes()),
            Spelling::Metaspace { bytes: true, .. } if byte_token(&token).is_some() => byte_token(&token).into_iter().collect(),
            Spelling::Metaspace { .. } => token.replace('▁', " ").into_bytes(),
            Spelling::Other => token.into_bytes(),
        })
    }
}

/// Reads the spelling off a `decoder` section of `tokenizer.json`.
fn spelling(decoder: &Value) -> Spelling {
    let steps: Vec<&Value> = match decoder["type"].as_str() {
        Some("Sequence") => decoder["decoders"].as_array().map(|d| d.iter().collect()).unwrap_or_default(),
        Some(_) => vec![decoder],
        None => return Spelling::Other,
    };
    let has = |kind: &str| steps.iter().any(|s| s["type"] == kind);
    let spaces = steps.iter().any(|s| s["type"] == "Replace" && s["pattern"]["String"] == "▁" && s["content"] == " ");
    if has("ByteLevel") && steps.len() == 1 {
        Spelling::ByteLevel
    } else if has("Metaspace") || spaces {
        let metaspace = steps.iter().find(|s| s["type"] == "Metaspace");
        let prepends = metaspace.is_some_and(|m| m["prepend_scheme"] != "never" && m["add_prefix_space"] != false);
        let strips = steps.iter().any(|s| s["type"] == "Strip" && s["content"] == " " && s["start"].as_u64() > Some(0));
        Spelling::Metaspace { bytes: has("ByteFallback"), strip_first: prepends || strips }
    } else {
        Spelling::Other
    }
}

/// The bytes that a byte-level token stands for; `None` if it has a character outside GPT-2's alphabet: printable Latin-1 stands for
/// itself, the other bytes for U+0100 and following, in order.
fn from_byte_level(token: &str) -> Option<Vec<u8>> {
    token
        .chars()
        .map(|c| match c as u32 {
            0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => Some(c as u32 as u8),
            code @ 0x100..=0x143 => {
                // The bytes that are not printable, in order: 0..=32, 127..=160, 173.
                let index = (code - 0x100) as u8;
                Some(match index {
                    0..=32 => index,
                    33..=66 => index - 33 + 127,
                    _ => 173,
                })
            }
            _ => None,
        })
        .collect()
}

/// The byte of a SentencePiece byte token (`<0x0A>`).
pub(super) fn byte_token(token: &str) -> Option<u8> {
    let hex = token.strip_prefix("<0x")?.strip_suffix('>')?;
    if hex.len() == 2 { u8::from_str_radix(hex, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alphabet_is_the_librarys() {
        // The library's alphabet, byte by byte: each must come back as exactly one byte, and all 256 must come.
        let alphabet = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet();
        let mut bytes: Vec<u8> = alphabet.iter().flat_map(|c| from_byte_level(&c.to_string()).unwrap()).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        assert_eq!(from_byte_level("Ġa"), Some(b" a".to_vec()));
        assert_eq!(from_byte_level("ĊĀġŃ"), Some(vec![b'\n', 0, 127, 173]));
        assert_eq!(from_byte_level("中"), None);
    }

    #[test]
    fn byte_tokens() {
        assert_eq!(byte_token("<0x0A>"), Some(10));
        assert_eq!(byte_token("<0xfg>"), None);
        assert_eq!(byte_token("<0x0AB>"), None);
    }
}
