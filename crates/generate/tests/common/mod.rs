//! A tiny random model and a tokenizer that fits it, for tests of decoding and of scoring.

use model::Decoder;
use serde_json::{Value, json};
use std::path::PathBuf;
use text::Tokenizer;

/// One of the models that `oracles/tiny_models.py` made.
pub fn load(name: &str) -> Decoder {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../model/tests/data").join(name);
    model::load_model(dir).unwrap()
}

/// Byte-level BPE over the tiny models' 48 ids: letters, a space, and the three bytes of 中 as tokens of their own.
pub fn tokenizer(eos: u32) -> Tokenizer {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(String::from).into();
    tokens.extend(('a'..='z').map(String::from));
    tokens.extend(
        ["Ġ", ".", "!", "ä", "¸", "Ń", "th", "in", "er", "an", "on", "at", "en", "ed", "or", "es", "is", "it", "al"].map(String::from),
    );
    assert_eq!(tokens.len(), 48);
    let merges: Vec<String> = tokens[35..].iter().map(|t| format!("{} {}", &t[..1], &t[1..])).collect();
    let vocab: serde_json::Map<String, Value> = tokens.iter().enumerate().map(|(i, t)| (t.clone(), json!(i))).collect();
    let special = |id: u32| json!({"id": id, "content": tokens[id as usize], "special": true, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false});
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let document = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
        "added_tokens": [special(0), special(1), special(2)],
        "pre_tokenizer": byte_level, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
                  "fuse_unk": false, "byte_fallback": false, "vocab": vocab, "merges": merges}
    });
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("tokenizer.json"), document.to_string()).unwrap();
    let config = json!({"bos_token": "<s>", "eos_token": tokens[eos as usize], "unk_token": "<unk>"});
    std::fs::write(dir.path().join("tokenizer_config.json"), config.to_string()).unwrap();
    Tokenizer::from_dir(dir.path()).unwrap()
}
