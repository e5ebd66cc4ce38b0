//! Small tokenizers for tests, written as the files of a Hugging Face directory and read as any other.
#![cfg(test)]

use std::sync::Arc;

use serde_json::{Value, json};
use text::Tokenizer;

use crate::sample::{Origin, Sample, SampleKind, Turn};
use text::Message;

/// GPT-2's letters for the 256 bytes.
fn byte_letters() -> Vec<char> {
    let printable = |b: u32| (33..=126).contains(&b) || (161..=172).contains(&b) || (174..=255).contains(&b);
    let mut next = 256;
    (0..256u32)
        .map(|b| {
            let code = if printable(b) { b } else { next };
            next += u32::from(!printable(b));
            char::from_u32(code).unwrap()
        })
        .collect()
}

fn load(tokenizer: &Value, config: &Value) -> Arc<Tokenizer> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    std::fs::write(dir.path().join("tokenizer_config.json"), config.to_string()).unwrap();
    Arc::new(Tokenizer::from_dir(dir.path()).unwrap())
}

fn added(id: usize, content: &str) -> Value {
    json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true})
}

/// Byte-level BPE with a few merges, two of which cross a line end; `<|im_end|>` is EOS. With `bos`, `<|begin|>` comes first.
pub(crate) fn byte_level(bos: bool) -> Arc<Tokenizer> {
    let letters = byte_letters();
    let mut vocab: serde_json::Map<String, Value> = letters.iter().enumerate().map(|(i, c)| (c.to_string(), i.into())).collect();
    let mut merges = Vec::new();
    for pair in [["Ġ", "p"], ["Ġp", "o"], ["Ġ", "n"], ["g", "o"], ["go", "o"], ["goo", "d"], ["Ċ", "Ċ"], [":", "Ċ"]] {
        let id = vocab.len();
        vocab.insert(pair.concat(), id.into());
        merges.push(pair.join(" "));
    }
    let n = vocab.len();
    let special = ["<|im_start|>", "<|im_end|>", "<|begin|>", "<|end|>"];
    let tokens: Vec<Value> = special.iter().enumerate().map(|(i, s)| added(n + i, s)).collect();
    let frame = json!({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|begin|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<|begin|>": {"id": "<|begin|>", "ids": [n + 2], "tokens": ["<|begin|>"]}}});
    let tokenizer = json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": tokens, "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false},
        "post_processor": if bos { frame } else { Value::Null },
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
                  "fuse_unk": false, "byte_fallback": false, "vocab": vocab, "merges": merges}});
    load(&tokenizer, &json!({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin|>", "eos_token": "<|im_end|>"}))
}

/// SentencePiece as Llama 2 has it: a space before every text, bytes for what is unknown, `<s>` first, `</s>` is EOS.
pub(crate) fn sentence_piece() -> Arc<Tokenizer> {
    let mut vocab: serde_json::Map<String, Value> =
        ["<unk>", "<s>", "</s>"].iter().enumerate().map(|(i, s)| (s.to_string(), i.into())).collect();
    let mut add = |token: String| {
        let id = vocab.len();
        vocab.insert(token, id.into());
    };
    (0..256).for_each(|b| add(format!("<0x{b:02X}>")));
    "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ[]/:?!.,".chars().for_each(|c| add(c.to_string()));
    ["▁a", "▁y"].iter().for_each(|t| add(t.to_string()));
    let tokens = [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")];
    let tokenizer = json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": tokens,
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": null,
        "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null, "end_of_word_suffix": null,
                  "fuse_unk": true, "byte_fallback": true, "vocab": vocab, "merges": ["▁ a", "▁ y"]}});
    load(&tokenizer, &json!({"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}))
}

pub(crate) fn sample(kind: SampleKind) -> Sample {
    Sample::new("f:1".into(), Origin { file: "f".into(), line: 1 }, kind)
}

pub(crate) fn review(text: &str, label: &str) -> Sample {
    sample(SampleKind::Classify { fields: [("text".to_owned(), text.to_owned())].into(), label: Some(label.into()) })
}

pub(crate) fn chat(turns: &[(&str, &str)]) -> Sample {
    let turns = turns.iter().map(|(role, text)| Turn::from(Message::new(*role, *text))).collect();
    sample(SampleKind::Messages { turns, tools: None })
}
