//! The tokens with a role: beginning, end, padding, unknown, and whatever else a model names.

use std::collections::BTreeMap;

/// Named special tokens, as `tokenizer_config.json` names them (`bos_token`, `eos_token`, …).
///
/// Chat templates see every name as a variable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    named: BTreeMap<String, String>,
}

impl SpecialTokens {
    /// No special token at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces `name` (`bos_token`, …).
    pub fn with(mut self, name: impl Into<String>, token: impl Into<String>) -> Self {
        self.set(name, token);
        self
    }

    /// Adds or replaces `name`.
    pub fn set(&mut self, name: impl Into<String>, token: impl Into<String>) {
        self.named.insert(name.into(), token.into());
    }

    /// The token called `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.named.get(name).map(String::as_str)
    }

    /// Every (name, token), sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.named.iter().map(|(name, token)| (name.as_str(), token.as_str()))
    }

    /// Beginning of a text.
    pub fn bos(&self) -> Option<&str> {
        self.get("bos_token")
    }

    /// End of a text or turn.
    pub fn eos(&self) -> Option<&str> {
        self.get("eos_token")
    }

    /// Filler for batches.
    pub fn pad(&self) -> Option<&str> {
        self.get("pad_token")
    }

    /// Stand-in for what the vocabulary cannot spell.
    pub fn unk(&self) -> Option<&str> {
        self.get("unk_token")
    }
}
