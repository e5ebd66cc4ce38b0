//! A tokenizer rebuilt from the vocabulary inside a GGUF file.
//!
//! A GGUF file has the tokens, their types, merges or scores, and a name for the pre-tokenizer. From these we write the
//! `tokenizer.json` that the model was published with, as closely as they determine it, and load that.
//!
//! Two kinds of vocabulary: `gpt2` (byte-level BPE: merges and a pre-tokenizer's name) and `llama` (SentencePiece: scores, byte
//! tokens; BPE where the scores are ranks, unigram where they are log-probabilities).

use std::collections::{BTreeMap, HashMap};

use containers::{GgufFile, Metadata};
use serde_json::{Map, Value, json};

use super::{Parts, SpecialTokens, Tokenizer, library, pre};
use crate::error::{Result, TextError};

/// `tokenizer.ggml.token_type`: what kind of token an entry is.
mod kind {
    pub const NORMAL: i32 = 1;
    pub const UNKNOWN: i32 = 2;
    pub const CONTROL: i32 = 3;
    pub const USER: i32 = 4;
    pub const BYTE: i32 = 6;
}

/// Control tokens that end a turn or a text in some family; a GGUF file has no `generation_config.json` to list them.
const ENDS: [&str; 12] = [
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<|endoftext|>",
    "<|end|>",
    "<end_of_turn>",
    "<|end_of_turn|>",
    "<|return|>",
    "<｜end▁of▁sentence｜>",
    "<EOT>",
    "<|END_OF_TURN_TOKEN|>",
];

impl Tokenizer {
    /// Rebuilds the tokenizer of a GGUF file, chat template included.
    ///
    /// # Errors
    /// [`TextError::Gguf`] names the metadata key and what would be accepted: an unknown kind of vocabulary, an unknown
    /// pre-tokenizer (guessing one would give a slightly wrong model), lengths that do not agree.
    pub fn from_gguf(file: &GgufFile) -> Result<Self> {
        Self::from_gguf_metadata(file.metadata())
    }

    /// As [`Tokenizer::from_gguf`], from the metadata alone.
    pub fn from_gguf_metadata(metadata: &Metadata) -> Result<Self> {
        let vocabulary = Vocabulary::read(metadata)?;
        let mut note = None;
        let (sections, add_bos, add_eos) = match vocabulary.model.as_str() {
            "gpt2" => {
                let name = vocabulary.pre.as_deref();
                if name.is_none_or(|n| n == "default") {
                    note = Some(
                        "the GGUF file does not say how its tokenizer cuts text (tokenizer.ggml.pre); llama.cpp's default is used, and \
                         numbers and punctuation may be cut differently than in training",
                    );
                }
                let rule = pre::rule(name.unwrap_or("default")).ok_or_else(|| {
                    err(
                        "tokenizer.ggml.pre",
                        format!(
                            "the pre-tokenizer \"{}\" is not known here, and guessing one would change the ids of numbers and white \
                             space; use the model's Hugging Face directory (with tokenizer.json) instead of this file",
                            name.unwrap_or_default()
                        ),
                    )
                })?;
                (vocabulary.byte_level(rule)?, rule.add_bos, false)
            }
            "llama" => (vocabulary.sentencepiece()?, true, false),
            other => {
                return Err(err(
                    "tokenizer.ggml.model",
                    format!(
                        "the vocabulary \"{other}\" is not supported (known: gpt2, llama); use the model's Hugging Face directory (with \
                         tokenizer.json) instead"
                    ),
                ));
            }
        };
        let mut tokenizer = vocabulary.assemble(sections, add_bos, add_eos)?;
        tokenizer.notes.extend(note.map(str::to_owned));
        Ok(tokenizer)
    }
}

/// The `tokenizer.*` metadata, checked.
struct Vocabulary<'m> {
    model: String,
    pre: Option<String>,
    tokens: Vec<String>,
    kinds: Vec<i32>,
    scores: Option<Vec<f32>>,
    metadata: &'m Metadata,
}

/// The sections of `tokenizer.json` that the kind of vocabulary decides.
struct Sections {
    model: Value,
    normalizer: Value,
    pre_tokenizer: Value,
    decoder: Value,
    /// Steps of the post-processor before the BOS/EOS frame.
    post: Vec<Value>,
}

fn err(key: impl Into<String>, reason: impl Into<String>) -> TextError {
    TextError::Gguf { key: key.into(), reason: reason.into() }
}

impl<'m> Vocabulary<'m> {
    fn read(metadata: &'m Metadata) -> Result<Self> {
        let model = metadata
            .str("tokenizer.ggml.model")
            .ok_or_else(|| err("tokenizer.ggml.model", "missing: the file carries no tokenizer"))?
            .to_owned();
        let mut tokens = metadata
            .str_array("tokenizer.ggml.tokens")
            .ok_or_else(|| err("tokenizer.ggml.tokens", "missing, or not a list of strings: the file carries no vocabulary"))?
            .to_vec();
        let count = tokens.len();
        if count == 0 || u32::try_from(count).is_err() {
            return Err(err("tokenizer.ggml.tokens", format!("has {count} tokens")));
        }
        let same_length = |key: &str, len: usize| {
            if len == count { Ok(()) } else { Err(err(key, format!("has {len} entries for {count} tokens: the file is damaged"))) }
        };
        let kinds = match metadata.i32_array("tokenizer.ggml.token_type") {
            Some(kinds) => kinds,
            None if metadata.contains("tokenizer.ggml.token_type") => {
                return Err(err("tokenizer.ggml.token_type", "not a list of integers"));
            }
            None => vec![kind::NORMAL; count],
        };
        same_length("tokenizer.ggml.token_type", kinds.len())?;
        let scores = metadata.f32_array("tokenizer.ggml.scores");
        if let Some(scores) = &scores {
            same_length("tokenizer.ggml.scores", scores.len())?;
        }
        let mut seen: HashMap<String, usize> = HashMap::with_capacity(count);
        for (id, token) in tokens.iter_mut().enumerate() {
            if token.is_empty() {
                *token = format!("[EMPTY_{id}]");
            }
            if let Some(first) = seen.insert(token.clone(), id) {
                return Err(err("tokenizer.ggml.tokens", format!("the token {token:?} stands twice, as {first} and {id}")));
            }
        }
        let pre = metadata.str("tokenizer.ggml.pre").filter(|p| !p.is_empty()).map(str::to_owned);
        Ok(Vocabulary { model, pre, tokens, kinds, scores, metadata })
    }

    /// The ids of all tokens, in order, as `model.vocab` wants them.
    fn vocab(&self) -> Value {
        Value::Object(self.tokens.iter().enumerate().map(|(id, token)| (token.clone(), id.into())).collect())
    }

    /// Byte-level BPE.
    fn byte_level(&self, rule: pre::Rule) -> Result<Sections> {
        let merges = self
            .metadata
            .str_array("tokenizer.ggml.merges")
            .ok_or_else(|| err("tokenizer.ggml.merges", "missing: a byte-level vocabulary cannot be used without its merges"))?;
        let merges: Vec<Value> = merges
            .iter()
            .map(|merge| {
                // A space may begin the first half, never end it.
                let at = merge.char_indices().skip(1).find(|(_, c)| *c == ' ').map(|(at, _)| at);
                match at {
                    Some(at) => Ok(json!([merge[..at], merge[at + 1..]])),
                    None => Err(err("tokenizer.ggml.merges", format!("the entry {merge:?} is not two tokens"))),
                }
            })
            .collect::<Result<_>>()?;
        Ok(Sections {
            model: json!({
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
                "fuse_unk": false, "byte_fallback": false, "ignore_merges": rule.ignore_merges,
                "vocab": self.vocab(), "merges": merges,
            }),
            normalizer: if rule.nfc { json!({"type": "NFC"}) } else { Value::Null },
            pre_tokenizer: rule.to_json(),
            decoder: json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}),
            post: vec![json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true})],
        })
    }

    /// SentencePiece.
    ///
    /// A space goes before the text and after each special token in it, as in Llama 2's published tokenizer and in llama.cpp; the
    /// file cannot say that a model wants it at the beginning only (Mistral's later ones do).
    fn sentencepiece(&self) -> Result<Sections> {
        let scores = self
            .scores
            .as_deref()
            .ok_or_else(|| err("tokenizer.ggml.scores", "missing: a SentencePiece vocabulary cannot be used without its scores"))?;
        let bytes = self.kinds.contains(&kind::BYTE);
        let unk = self.id("unknown", Some(0))?;
        let normal = || (0..self.tokens.len()).filter(|&id| self.kinds[id] == kind::NORMAL);
        // BPE pieces are scored by rank (0, -1, -2, …), unigram pieces by log-probability.
        let ranked = normal().filter(|&id| scores[id].fract() == 0.0).count() * 2 > normal().count();
        let model = if ranked {
            json!({
                "type": "BPE", "dropout": null, "unk_token": unk.map(|id| &self.tokens[id as usize]), "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": bytes, "ignore_merges": false,
                "vocab": self.vocab(), "merges": self.merges_of_scores(scores),
            })
        } else {
            let vocab: Vec<Value> = self.tokens.iter().zip(scores).map(|(token, score)| json!([token, f64::from(*score)])).collect();
            json!({"type": "Unigram", "unk_id": unk, "vocab": vocab, "byte_fallback": bytes})
        };
        let prefix = self.metadata.bool("tokenizer.ggml.add_space_prefix").unwrap_or(true);
        let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
        let mut decoders = vec![
            json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
            json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}),
        ];
        if prefix {
            decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        Ok(Sections {
            model,
            normalizer: if prefix {
                json!({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace]})
            } else {
                replace
            },
            pre_tokenizer: Value::Null,
            decoder: json!({"type": "Sequence", "decoders": decoders}),
            post: Vec::new(),
        })
    }

    /// The merges that lead to SentencePiece's pieces: every way to make a piece of two others, best score first. The order among
    /// equals is that of `transformers`' converter, hence of published tokenizers: longer left halves first, then longer right ones,
    /// then the piece's id, then the halves' ids.
    fn merges_of_scores(&self, scores: &[f32]) -> Vec<Value> {
        let mergeable = |id: usize| matches!(self.kinds[id], kind::NORMAL | kind::USER);
        let ids: HashMap<&str, usize> =
            self.tokens.iter().enumerate().filter(|(id, _)| mergeable(*id)).map(|(id, token)| (token.as_str(), id)).collect();
        struct Merge<'t> {
            score: f32,
            lengths: (usize, usize),
            halves: (&'t str, &'t str),
        }
        let mut merges = Vec::new();
        for (id, token) in self.tokens.iter().enumerate().filter(|(id, _)| mergeable(*id)) {
            let length = token.chars().count();
            let mut ways: Vec<(usize, usize, Merge)> = token
                .char_indices()
                .enumerate()
                .skip(1)
                .filter_map(|(left, (at, _))| {
                    let halves = token.split_at(at);
                    let (l, r) = (*ids.get(halves.0)?, *ids.get(halves.1)?);
                    Some((l, r, Merge { score: scores[id], lengths: (left, length - left), halves }))
                })
                .collect();
            ways.sort_by_key(|&(l, r, _)| (l, r));
            merges.extend(ways.into_iter().map(|(_, _, merge)| merge));
        }
        merges.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| b.lengths.cmp(&a.lengths)));
        merges.into_iter().map(|m| json!([m.halves.0, m.halves.1])).collect()
    }

    /// The id under `tokenizer.ggml.NAME_token_id`, checked.
    fn id(&self, name: &str, default: Option<u32>) -> Result<Option<u32>> {
        let key = format!("tokenizer.ggml.{name}_token_id");
        let id = match self.metadata.get(&key) {
            // Some converters write -1 (as u32: 4294967295) for "none".
            Some(value) => match value.as_i64() {
                Some(id) if id < 0 || id == i64::from(u32::MAX) => return Ok(None),
                Some(id) => id as usize,
                None => return Err(err(key, format!("{} is not an id", value.type_name()))),
            },
            None => match default {
                Some(id) if (id as usize) < self.tokens.len() => id as usize,
                _ => return Ok(None),
            },
        };
        if id >= self.tokens.len() {
            return Err(err(key, format!("{id} is outside the vocabulary of {} tokens", self.tokens.len())));
        }
        Ok(u32::try_from(id).ok())
    }

    /// Puts the sections, the special tokens and the frame together.
    fn assemble(&self, mut sections: Sections, add_bos: bool, add_eos: bool) -> Result<Tokenizer> {
        let default = |id: u32| (self.model == "llama").then_some(id);
        let mut special = SpecialTokens::new();
        let mut ids = BTreeMap::new();
        let mut roles = Vec::new();
        for (name, role, default) in [
            ("bos", "bos_token", default(1)),
            ("eos", "eos_token", default(2)),
            ("unknown", "unk_token", default(0)),
            ("padding", "pad_token", None),
            ("seperator", "sep_token", None),
            ("cls", "cls_token", None),
            ("mask", "mask_token", None),
        ] {
            if let Some(id) = self.id(name, default)? {
                special.set(role, &self.tokens[id as usize]);
                ids.insert(role, id);
                roles.push(id);
            }
        }
        let added: Vec<Value> = (0..self.tokens.len())
            .filter_map(|id| {
                // A token with a role is special whatever its type says.
                let named = roles.contains(&(id as u32));
                let is_special = named || matches!(self.kinds[id], kind::CONTROL | kind::UNKNOWN);
                (is_special || self.kinds[id] == kind::USER).then(|| {
                    json!({
                        "id": id, "content": self.tokens[id], "single_word": false, "lstrip": false,
                        "rstrip": is_special && self.strips_behind(id), "normalized": false, "special": is_special,
                    })
                })
            })
            .collect();

        let bos = self.metadata.bool("tokenizer.ggml.add_bos_token").unwrap_or(add_bos) && ids.contains_key("bos_token");
        let eos = self.metadata.bool("tokenizer.ggml.add_eos_token").unwrap_or(add_eos) && ids.contains_key("eos_token");
        if bos || eos {
            let frame = |role: &str, on: bool| if on { special.get(role).zip(ids.get(role).copied()) } else { None };
            sections.post.push(frame_template(frame("bos_token", bos), frame("eos_token", eos)));
        }
        let post_processor = match sections.post.len() {
            0 => Value::Null,
            1 => sections.post.swap_remove(0),
            _ => json!({"type": "Sequence", "processors": sections.post}),
        };
        let document = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
            "normalizer": sections.normalizer, "pre_tokenizer": sections.pre_tokenizer, "post_processor": post_processor,
            "decoder": sections.decoder, "model": sections.model,
        });

        let mut config = Map::new();
        config.insert("add_bos_token".into(), bos.into());
        config.insert("add_eos_token".into(), eos.into());
        config.insert("clean_up_tokenization_spaces".into(), false.into());
        config.insert("tokenizer_class".into(), "PreTrainedTokenizerFast".into());
        let architecture = self.metadata.str("general.architecture").unwrap_or_default();
        if let Some(length) = self.metadata.u64(&format!("{architecture}.context_length")) {
            config.insert("model_max_length".into(), length.into());
        }
        let eos_ids = self.ends()?;
        library(&document.to_string())
            .and_then(|inner| Tokenizer::build(Parts { inner, special, eos_ids, config, templates: self.templates() }))
            .map_err(|reason| err("tokenizer.ggml", format!("the vocabulary cannot be used: {reason}")))
    }

    /// Whether white space behind a special token belongs to it: so in Phi-3's tokenizer, and a GGUF file has no field for it. As in
    /// llama.cpp, the model's name tells.
    fn strips_behind(&self, id: usize) -> bool {
        let name = self.metadata.str("general.name").unwrap_or_default().to_lowercase();
        (name.contains("phi-3") || name.contains("phi3")) && !["<unk>", "<s>", "<|endoftext|>"].contains(&self.tokens[id].as_str())
    }

    /// Ids beyond EOS that end a generation.
    fn ends(&self) -> Result<Vec<u32>> {
        let mut ends = Vec::new();
        for name in ["eot", "eom"] {
            ends.extend(self.id(name, None)?);
        }
        for (id, token) in self.tokens.iter().enumerate() {
            if self.kinds[id] == kind::CONTROL && ENDS.contains(&token.as_str()) {
                ends.push(id as u32);
            }
        }
        Ok(ends)
    }

    /// Chat templates by name.
    fn templates(&self) -> BTreeMap<String, String> {
        self.metadata
            .iter()
            .filter_map(|(key, value)| {
                let name = key.strip_prefix("tokenizer.chat_template")?;
                let name = if name.is_empty() { "default" } else { name.strip_prefix('.')? };
                Some((name.to_owned(), value.as_str()?.to_owned()))
            })
            .collect()
    }
}

/// The post-processor step that puts BOS before and EOS behind.
fn frame_template(bos: Option<(&str, u32)>, eos: Option<(&str, u32)>) -> Value {
    let token = |(token, _): (&str, u32), side: u8| json!({"SpecialToken": {"id": token, "type_id": side}});
    let one = |name: &str, side: u8| -> Vec<Value> {
        let text = json!({"Sequence": {"id": name, "type_id": side}});
        bos.map(|b| token(b, side)).into_iter().chain([text]).chain(eos.map(|e| token(e, side))).collect()
    };
    let specials: Map<String, Value> =
        bos.into_iter().chain(eos).map(|(token, id)| (token.to_owned(), json!({"id": token, "ids": [id], "tokens": [token]}))).collect();
    let pair: Vec<Value> = one("A", 0).into_iter().chain(one("B", 1)).collect();
    json!({"type": "TemplateProcessing", "single": one("A", 0), "pair": pair, "special_tokens": specials})
}
