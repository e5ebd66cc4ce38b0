//! A tokenizer rebuilt from the vocabulary inside a GGUF file.

use super::Tokenizer;
use crate::error::Result;

/// The `tokenizer.*` metadata of a GGUF file.
#[derive(Clone, Debug, Default)]
pub struct GgufVocabulary {
    /// `tokenizer.ggml.model`: `gpt2` (byte-level BPE), `llama` (SentencePiece BPE), `t5` (unigram), …
    pub model: String,
    /// `tokenizer.ggml.pre`: which pre-tokenizer a byte-level BPE uses.
    pub pre: Option<String>,
    /// `tokenizer.ggml.tokens`.
    pub tokens: Vec<String>,
    /// `tokenizer.ggml.token_type`: 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte.
    pub token_types: Vec<i32>,
    /// `tokenizer.ggml.scores`.
    pub scores: Vec<f32>,
    /// `tokenizer.ggml.merges`.
    pub merges: Vec<String>,
    /// `tokenizer.ggml.NAME_token_id`, by NAME (`bos`, `eos`, `unknown`, `padding`, `eot`, …).
    pub ids: std::collections::BTreeMap<String, u32>,
    /// `tokenizer.ggml.add_bos_token`.
    pub add_bos: Option<bool>,
    /// `tokenizer.ggml.add_eos_token`.
    pub add_eos: Option<bool>,
    /// `tokenizer.ggml.add_space_prefix`.
    pub add_space_prefix: Option<bool>,
    /// `tokenizer.chat_template` as `default`, `tokenizer.chat_template.NAME` as NAME.
    pub templates: std::collections::BTreeMap<String, String>,
}

impl Tokenizer {
    /// Rebuilds the tokenizer of a GGUF vocabulary.
    pub fn from_gguf_vocabulary(_vocabulary: GgufVocabulary) -> Result<Self> {
        todo!()
    }
}
