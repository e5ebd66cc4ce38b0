//! Text to token ids and back.
//!
//! This folder owns the `tokenizers` library: nothing of it shows in a signature. Whatever a tokenizer comes from, it becomes one
//! `tokenizer.json` document first (`gguf` builds that document from a GGUF vocabulary), so there is one way to build it, one way
//! to save it and one hash.

mod encode;
mod gguf;
mod load;
mod pre;
mod save;
mod special;
mod stream;
mod surface;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::{Map, Value};

use crate::error::{Result, TextError};
use crate::template::ChatTemplate;
pub use encode::Encoding;
pub use special::SpecialTokens;
pub use stream::DecodeStream;
use surface::Surfaces;

/// A model's tokenizer: vocabulary, special tokens, and the chat templates that came with it.
///
/// Cheap to share behind an `Arc`; every method takes `&self` and may be called from many threads.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    surfaces: Surfaces,
    special: SpecialTokens,
    bos: Option<u32>,
    eos: Option<u32>,
    pad: Option<u32>,
    unk: Option<u32>,
    /// Ids that end a turn, the tokenizer's own first.
    eos_ids: Vec<u32>,
    adds_bos: bool,
    adds_eos: bool,
    /// `tokenizer_config.json` as it will be saved, without the template.
    config: Map<String, Value>,
    /// Chat templates by name; the usual one is called `default`.
    templates: BTreeMap<String, String>,
    /// What the user should know about how this tokenizer came about.
    notes: Vec<String>,
    hash: OnceLock<String>,
}

/// What a tokenizer is made of, whichever file it came from.
struct Parts {
    /// The library's tokenizer.
    inner: tokenizers::Tokenizer,
    special: SpecialTokens,
    /// Ids that end a turn beyond the special token's own.
    eos_ids: Vec<u32>,
    config: Map<String, Value>,
    templates: BTreeMap<String, String>,
}

/// The library's tokenizer of a `tokenizer.json` document; the error is a bare reason to which the caller adds the file or key.
fn library(json: &str) -> std::result::Result<tokenizers::Tokenizer, String> {
    tokenizers::Tokenizer::from_bytes(json.trim_start_matches('\u{feff}')).map_err(|e| e.to_string())
}

impl Tokenizer {
    /// Completes the library's tokenizer; the error is a bare reason.
    fn build(parts: Parts) -> std::result::Result<Self, String> {
        let mut inner = parts.inner;
        // A truncation or padding rule left in the file by whoever exported it would cut rows without a word.
        inner.with_truncation(None).map_err(|e| e.to_string())?;
        inner.with_padding(None);
        let missing: Vec<_> = parts
            .special
            .iter()
            .filter(|(_, token)| inner.token_to_id(token).is_none())
            .map(|(_, token)| tokenizers::AddedToken::from(token, true))
            .collect();
        inner.add_special_tokens(missing).map_err(|e| e.to_string())?;

        let id = |token: Option<&str>| token.and_then(|t| inner.token_to_id(t));
        let (bos, eos) = (id(parts.special.bos()), id(parts.special.eos()));
        let (pad, unk) = (id(parts.special.pad()), id(parts.special.unk()));
        let mut eos_ids: Vec<u32> = Vec::new();
        for id in eos.into_iter().chain(parts.eos_ids) {
            if inner.id_to_token(id).is_some() && !eos_ids.contains(&id) {
                eos_ids.push(id);
            }
        }
        let framed = inner.encode_fast("a", true).map_err(|e| e.to_string())?;
        let plain = inner.encode_fast("a", false).map_err(|e| e.to_string())?;
        let grew = framed.get_ids().len() > plain.get_ids().len();
        let adds_bos = grew && bos.is_some() && framed.get_ids().first().copied() == bos;
        let adds_eos = grew && eos.is_some() && framed.get_ids().last().copied() == eos;
        let surfaces = Surfaces::of(&inner);
        Ok(Tokenizer {
            inner,
            surfaces,
            special: parts.special,
            bos,
            eos,
            pad,
            unk,
            eos_ids,
            adds_bos,
            adds_eos,
            config: parts.config,
            templates: parts.templates,
            notes: Vec::new(),
            hash: OnceLock::new(),
        })
    }

    /// Number of ids, added tokens included: one more than the largest id.
    pub fn vocab_size(&self) -> usize {
        self.surfaces.len()
    }

    /// The token with this id, as the vocabulary spells it (`Ġthe`, `▁the`); [`Tokenizer::byte_surface`] gives what it stands for.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// The id of a token in the vocabulary's own spelling.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Whether the id is a special token: one that `decode` can skip.
    pub fn is_special(&self, id: u32) -> bool {
        self.surfaces.is_special(id)
    }

    /// The bytes that this one token stands for; half a character for some. `None` for an id outside the vocabulary.
    pub fn byte_surface(&self, id: u32) -> Option<Vec<u8>> {
        self.surfaces.bytes(&self.inner, id)
    }

    /// Beginning-of-text id.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// End-of-text (or end-of-turn) id: the one that training appends.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// Padding id.
    pub fn pad(&self) -> Option<u32> {
        self.pad
    }

    /// Unknown id.
    pub fn unk(&self) -> Option<u32> {
        self.unk
    }

    /// Every id that ends a generation: [`Tokenizer::eos`] first, then those of `generation_config.json` (or of GGUF's
    /// `eot`/`eom` keys). Empty if the model has none.
    pub fn eos_ids(&self) -> &[u32] {
        &self.eos_ids
    }

    /// Whether `encode(text, true)` begins with the beginning-of-text id.
    pub fn adds_bos(&self) -> bool {
        self.adds_bos
    }

    /// Whether `encode(text, true)` ends with the end-of-text id.
    pub fn adds_eos(&self) -> bool {
        self.adds_eos
    }

    /// What the user should know about how this tokenizer came about (a file that does not name its pre-tokenizer); usually empty.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The special tokens by name: what a chat template sees.
    pub fn special_tokens(&self) -> &SpecialTokens {
        &self.special
    }

    /// Names of the chat templates that came with the model, sorted; the usual one is `default`.
    pub fn chat_template_names(&self) -> impl Iterator<Item = &str> {
        self.templates.keys().map(String::as_str)
    }

    /// Source of the default chat template.
    pub fn chat_template_source(&self) -> Option<&str> {
        self.templates.get("default").map(String::as_str)
    }

    /// The compiled default chat template; `None` if the model came without one.
    pub fn chat_template(&self) -> Result<Option<ChatTemplate>> {
        match self.templates.get("default") {
            Some(source) => ChatTemplate::new(source, self.special.clone()).map(Some),
            None if self.templates.is_empty() => Ok(None),
            None => Err(self.unknown_template("default")),
        }
    }

    /// The compiled chat template called `name` (`tool_use`, `rag`, …).
    pub fn named_chat_template(&self, name: &str) -> Result<ChatTemplate> {
        let source = self.templates.get(name).ok_or_else(|| self.unknown_template(name))?;
        ChatTemplate::new(source, self.special.clone())
    }

    /// Replaces the default chat template: it is saved and hashed with the tokenizer from then on.
    ///
    /// # Errors
    /// If the source does not parse.
    pub fn set_chat_template(&mut self, source: &str) -> Result<()> {
        ChatTemplate::new(source, self.special.clone())?;
        self.templates.insert("default".into(), source.into());
        self.hash = OnceLock::new();
        Ok(())
    }

    fn unknown_template(&self, name: &str) -> TextError {
        let known: Vec<_> = self.chat_template_names().collect();
        TextError::UnknownTemplate { name: name.into(), known: if known.is_empty() { "none".into() } else { known.join(", ") } }
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer")
            .field("vocab_size", &self.vocab_size())
            .field("special", &self.special)
            .field("eos_ids", &self.eos_ids)
            .finish_non_exhaustive()
    }
}
