//! The tokenizer of a real model: SmolLM2-135M-Instruct as a GGUF file.
//!
//! The file (98 MB) is not in the repository. `TUNESMITH_REAL_MODEL` names it, or a directory that holds it anywhere below (the cache
//! of `tunesmith pull`); without it this test says that it skips. Values from `oracles/tokenizer_smollm.py`.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;
use text::{Message, Tokenizer};

const NAME: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

/// The real file, if this machine has it.
fn real_model() -> Option<PathBuf> {
    fn find(at: &Path) -> Option<PathBuf> {
        if at.is_file() {
            return (at.file_name()? == NAME).then(|| at.to_owned());
        }
        let mut entries: Vec<PathBuf> = std::fs::read_dir(at).ok()?.flatten().map(|e| e.path()).collect();
        entries.sort();
        entries.iter().find_map(|e| find(e))
    }
    let Some(root) = std::env::var_os("TUNESMITH_REAL_MODEL") else {
        // Straight to standard error: what a passing test prints is swallowed.
        let _ = writeln!(std::io::stderr(), "SKIPPED real_model: set TUNESMITH_REAL_MODEL to {NAME} or a directory that holds it");
        return None;
    };
    let root = PathBuf::from(root);
    let found = find(&root);
    // Asked for and not there is a failure, not a skip.
    assert!(found.is_some(), "TUNESMITH_REAL_MODEL={}: no {NAME} there", root.display());
    found
}

fn data(name: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn smollm_from_gguf_is_the_published_tokenizer() {
    let Some(path) = real_model() else { return };
    let tokenizer = Tokenizer::from_gguf(&containers::GgufFile::open(&path).unwrap()).unwrap();
    let oracle = data("smollm_ids.json");
    let corpus: Vec<String> = serde_json::from_value(data("corpus.json")).unwrap();
    let rows = oracle["rows"].as_array().unwrap();
    assert_eq!(corpus.len(), rows.len());
    for (text, row) in corpus.iter().zip(rows) {
        let want: Vec<u32> = serde_json::from_value(row["ids"].clone()).unwrap();
        assert_eq!(tokenizer.encode(text, true).unwrap(), want, "{text:?}");
        let encoding = tokenizer.encode_with_offsets(text, true).unwrap();
        assert_eq!(encoding.ids, want);
        let points = |byte: usize| text[..byte].chars().count();
        let offsets: Vec<_> = encoding.offsets.iter().map(|o| [points(o.start), points(o.end)]).collect();
        assert_eq!(serde_json::to_value(offsets).unwrap(), row["offsets"], "{text:?}");
        let whole = row["decoded"].as_str().unwrap_or(text);
        let plain = row["skipped"].as_str().unwrap_or(whole);
        assert_eq!(tokenizer.decode(&want, false).unwrap(), whole);
        assert_eq!(tokenizer.decode(&want, true).unwrap(), plain);
        for (skip, expected) in [(false, whole), (true, plain)] {
            let mut stream = tokenizer.decode_stream(skip);
            let mut streamed: String = want.iter().map(|&id| stream.push(id).unwrap()).collect();
            streamed += &stream.finish();
            assert_eq!(streamed, expected);
        }
    }

    assert_eq!(tokenizer.vocab_size() as u64, oracle["vocab_size"].as_u64().unwrap());
    assert_eq!(tokenizer.eos().map(u64::from), oracle["eos"].as_u64());
    assert_eq!(tokenizer.bos().map(u64::from), oracle["bos"].as_u64());
    assert_eq!(tokenizer.pad().map(u64::from), oracle["pad"].as_u64());
    assert_eq!(tokenizer.token(2).as_deref(), Some("<|im_end|>"));
    assert_eq!(tokenizer.eos_ids(), [2, 0], "<|im_end|> and <|endoftext|>");
    assert!(!tokenizer.adds_bos() && !tokenizer.adds_eos());
    assert!(tokenizer.notes().is_empty());
    assert_eq!(tokenizer.encode("2024", false).unwrap().len(), 4, "each digit is a token");

    let template = tokenizer.chat_template().unwrap().expect("the file has a template");
    let text = template.render(&[Message::user("Hi")], None, true, &Default::default()).unwrap().text;
    assert_eq!(
        text,
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n\
         <|im_start|>assistant\n"
    );
    let ids = tokenizer.encode(&text, true).unwrap();
    assert_eq!(ids.iter().filter(|&&id| id == 1).count(), 3);
    assert_eq!(ids.iter().filter(|&&id| id == 2).count(), 2);

    let dir = tempfile::tempdir().unwrap();
    tokenizer.save(dir.path()).unwrap();
    let again = Tokenizer::from_dir(dir.path()).unwrap();
    assert_eq!(again.hash(), tokenizer.hash());
    assert_eq!(again.eos(), tokenizer.eos());
    assert_eq!(again.chat_template_source(), tokenizer.chat_template_source());
    for text in &corpus {
        assert_eq!(again.encode(text, true).unwrap(), tokenizer.encode(text, true).unwrap());
    }
}
