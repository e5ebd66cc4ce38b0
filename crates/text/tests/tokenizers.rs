//! Tokenizers against the libraries they come from: values from `oracles/tokenizers_tiny.py`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use containers::{Array, GgufFile, Metadata, Value as Gguf};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;
use text::{Message, TextError, Tokenizer};

fn data_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn data<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let path = data_path(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn corpus() -> Vec<String> {
    data("corpus.json")
}

fn strings(values: &[impl AsRef<str>]) -> Gguf {
    Gguf::Array(Array::String(values.iter().map(|v| v.as_ref().to_owned()).collect()))
}

#[derive(Deserialize)]
struct ByteLevel {
    tokens: Vec<String>,
    merges: Vec<String>,
    families: BTreeMap<String, Vec<Vec<u32>>>,
}

impl ByteLevel {
    /// The metadata that llama.cpp's converter writes.
    fn metadata(&self, pre: &str) -> Metadata {
        let mut types = vec![1; self.tokens.len()];
        types[..4].copy_from_slice(&[3, 3, 3, 4]);
        let mut m = Metadata::new();
        m.insert("general.architecture", Gguf::String("llama".into()));
        m.insert("llama.context_length", Gguf::U32(2048));
        m.insert("tokenizer.ggml.model", Gguf::String("gpt2".into()));
        m.insert("tokenizer.ggml.pre", Gguf::String(pre.into()));
        m.insert("tokenizer.ggml.tokens", strings(&self.tokens));
        m.insert("tokenizer.ggml.token_type", Gguf::Array(Array::I32(types)));
        m.insert("tokenizer.ggml.merges", strings(&self.merges));
        m.insert("tokenizer.ggml.bos_token_id", Gguf::U32(1));
        m.insert("tokenizer.ggml.eos_token_id", Gguf::U32(2));
        m
    }
}

#[derive(Deserialize)]
struct Pieces {
    tokens: Vec<String>,
    scores: Vec<f32>,
    types: Vec<i32>,
    prefix: bool,
    texts: Vec<usize>,
    ids: Vec<Vec<u32>>,
    decoded: BTreeMap<String, String>,
}

impl Pieces {
    fn metadata(&self) -> Metadata {
        let mut m = Metadata::new();
        m.insert("tokenizer.ggml.model", Gguf::String("llama".into()));
        m.insert("tokenizer.ggml.tokens", strings(&self.tokens));
        m.insert("tokenizer.ggml.token_type", Gguf::Array(Array::I32(self.types.clone())));
        m.insert("tokenizer.ggml.scores", Gguf::Array(Array::F32(self.scores.clone())));
        m.insert("tokenizer.ggml.add_space_prefix", Gguf::Bool(self.prefix));
        m.insert("tokenizer.ggml.bos_token_id", Gguf::U32(1));
        m.insert("tokenizer.ggml.eos_token_id", Gguf::U32(2));
        m.insert("tokenizer.ggml.unknown_token_id", Gguf::U32(0));
        m
    }
}

/// The tokenizer after a trip through the bytes of a GGUF file.
fn through_gguf(metadata: &Metadata) -> Result<Tokenizer, TextError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    containers::save::write_gguf(&path, metadata, []).unwrap();
    Tokenizer::from_gguf(&GgufFile::open(&path).unwrap())
}

fn stream(tokenizer: &Tokenizer, ids: &[u32], skip: bool) -> String {
    let mut stream = tokenizer.decode_stream(skip);
    let pieces: String = ids.iter().map(|&id| stream.push(id).unwrap()).collect();
    pieces + &stream.finish()
}

/// Saved and loaded again: the same tokenizer by every measure.
fn assert_survives_saving(tokenizer: &Tokenizer) {
    let dir = tempfile::tempdir().unwrap();
    tokenizer.save(dir.path()).unwrap();
    let again = Tokenizer::from_dir(dir.path()).unwrap();
    assert_eq!(again.hash(), tokenizer.hash());
    assert_eq!(again.special_tokens(), tokenizer.special_tokens());
    assert_eq!(again.eos_ids(), tokenizer.eos_ids());
    assert_eq!(
        (again.adds_bos(), again.adds_eos(), again.vocab_size()),
        (tokenizer.adds_bos(), tokenizer.adds_eos(), tokenizer.vocab_size())
    );
    assert_eq!(again.chat_template_names().collect::<Vec<_>>(), tokenizer.chat_template_names().collect::<Vec<_>>());
    for text in corpus() {
        assert_eq!(again.encode(&text, true).unwrap(), tokenizer.encode(&text, true).unwrap());
    }
}

#[test]
fn every_family_of_pre_tokenizers() {
    let oracle: ByteLevel = data("byte_level.json");
    let corpus = corpus();
    for (name, rows) in &oracle.families {
        let tokenizer = Tokenizer::from_gguf_metadata(&oracle.metadata(name)).unwrap();
        for (text, want) in corpus.iter().zip(rows) {
            assert_eq!(&tokenizer.encode(text, true).unwrap(), want, "{name}: {text:?}");
            let body = if tokenizer.adds_bos() { &want[1..] } else { &want[..] };
            assert_eq!(tokenizer.encode(text, false).unwrap(), body);
            assert_eq!(stream(&tokenizer, want, true), tokenizer.decode(want, true).unwrap(), "{name}: {text:?}");
            assert_eq!(stream(&tokenizer, want, false), tokenizer.decode(want, false).unwrap(), "{name}: {text:?}");
        }
        assert_eq!(tokenizer.notes().len(), usize::from(name == "default"), "only an unnamed pre-tokenizer is worth a note");
    }
    assert_eq!(oracle.families.values().map(Vec::len).sum::<usize>(), corpus.len() * oracle.families.len());
}

#[test]
fn byte_level_through_a_gguf_file() {
    let oracle: ByteLevel = data("byte_level.json");
    let mut metadata = oracle.metadata("qwen2");
    metadata.insert("tokenizer.chat_template", Gguf::String("{{ messages[0].content }}".into()));
    metadata.insert("tokenizer.chat_template.tool_use", Gguf::String("{{ tools }}".into()));
    let tokenizer = through_gguf(&metadata).unwrap();
    for (text, want) in corpus().iter().zip(&oracle.families["qwen2"]) {
        assert_eq!(&tokenizer.encode(text, true).unwrap(), want);
    }
    assert_eq!(tokenizer.bos(), Some(1));
    assert_eq!(tokenizer.eos_ids(), [2, 0], "<|endoftext|> ends a text too");
    assert_eq!(tokenizer.pad(), None);
    assert!(tokenizer.is_special(0) && !tokenizer.is_special(3) && !tokenizer.is_special(4));
    assert_eq!(tokenizer.chat_template_names().collect::<Vec<_>>(), ["default", "tool_use"]);
    let error = tokenizer.named_chat_template("rag").unwrap_err().to_string();
    assert!(error.contains("rag") && error.contains("default, tool_use"), "{error}");
    assert_survives_saving(&tokenizer);

    metadata.insert("tokenizer.ggml.add_bos_token", Gguf::Bool(true));
    metadata.insert("tokenizer.ggml.add_eos_token", Gguf::Bool(true));
    metadata.insert("tokenizer.ggml.eot_token_id", Gguf::U32(0));
    metadata.insert("tokenizer.ggml.padding_token_id", Gguf::U32(u32::MAX));
    let framed = through_gguf(&metadata).unwrap();
    assert!(framed.adds_bos() && framed.adds_eos());
    assert_eq!(framed.pad(), None);
    let ids = framed.encode("a", true).unwrap();
    assert_eq!((ids[0], ids[2], ids.len()), (1, 2, 3));
    assert_survives_saving(&framed);
    assert_ne!(framed.hash(), tokenizer.hash());
}

#[test]
fn sentencepiece_through_a_gguf_file() {
    let oracle: BTreeMap<String, Pieces> = data("sentencepiece.json");
    let corpus = corpus();
    for (name, model) in &oracle {
        let tokenizer = through_gguf(&model.metadata()).unwrap();
        assert!(tokenizer.adds_bos() && !tokenizer.adds_eos());
        for (&text, want) in model.texts.iter().zip(&model.ids) {
            let (key, text) = (text.to_string(), &corpus[text]);
            assert_eq!(&tokenizer.encode(text, false).unwrap(), want, "{name}: {text:?}");
            let decoded = model.decoded.get(&key).unwrap_or(text);
            assert_eq!(&tokenizer.decode(want, true).unwrap(), decoded, "{name}");
            assert_eq!(&stream(&tokenizer, want, true), decoded, "{name}");
        }
        assert_survives_saving(&tokenizer);
    }
    assert_eq!(oracle.len(), 4);

    // Phi-3's end-of-turn tokens swallow the white space behind them, which only its name tells.
    let mut metadata = oracle["bpe"].metadata();
    let plain = through_gguf(&metadata).unwrap().encode("</s>\n a", false).unwrap();
    metadata.insert("general.name", Gguf::String("Phi3 Mini 4k".into()));
    let phi = through_gguf(&metadata).unwrap();
    assert_eq!(phi.encode("</s>\n a", false).unwrap(), phi.encode("</s>a", false).unwrap());
    assert_ne!(phi.encode("</s>\n a", false).unwrap(), plain);
    assert_eq!(phi.encode("<s>\n a", false).unwrap()[1..], plain[1..], "not behind <s>");
}

#[derive(Deserialize)]
struct Dir {
    ids: Vec<Vec<u32>>,
    plain: Vec<Vec<u32>>,
    decoded: Vec<String>,
    special: BTreeMap<String, Value>,
    vocab_size: usize,
    eos: Option<u32>,
    bos: Option<u32>,
    pad: Option<u32>,
    chats: Vec<Vec<Message>>,
    masks: Vec<Mask>,
}

#[derive(Deserialize)]
struct Mask {
    ids: Vec<u32>,
    mask: Vec<u8>,
}

#[test]
fn directories_as_transformers_loads_them() {
    let oracle: BTreeMap<String, Dir> = data("dirs.json");
    for (name, dir) in &oracle {
        let tokenizer = Tokenizer::from_dir(&data_path(name)).unwrap();
        for (index, text) in corpus().iter().enumerate() {
            assert_eq!(tokenizer.encode(text, true).unwrap(), dir.ids[index], "{name}: {text:?}");
            assert_eq!(tokenizer.encode(text, false).unwrap(), dir.plain[index], "{name}: {text:?}");
            assert_eq!(tokenizer.decode(&dir.ids[index], true).unwrap(), dir.decoded[index], "{name}: {text:?}");
        }
        assert_eq!(tokenizer.vocab_size(), dir.vocab_size);
        assert_eq!((tokenizer.eos(), tokenizer.bos(), tokenizer.pad()), (dir.eos, dir.bos, dir.pad));
        for (role, token) in &dir.special {
            if let Some(token) = token.as_str() {
                assert_eq!(tokenizer.special_tokens().get(role), Some(token));
            }
        }
        assert_survives_saving(&tokenizer);
        let Some(template) = tokenizer.chat_template().unwrap().filter(|t| t.marks_generation()) else { continue };
        for (chat, want) in dir.chats.iter().zip(&dir.masks) {
            let rendered = template.render(chat, None, false, &Default::default()).unwrap();
            let encoding = tokenizer.encode_with_offsets(&rendered.text, false).unwrap();
            assert_eq!(encoding.ids, want.ids);
            let mask: Vec<u8> = encoding.mask(&rendered.generation_spans).into_iter().map(u8::from).collect();
            assert_eq!(mask, want.mask, "{:?}", rendered.text);
            assert!(mask.contains(&1));
        }
    }
    assert!(oracle["gpt2_dir"].masks.len() > 5);
    assert_eq!(Tokenizer::from_dir(&data_path("llama_dir")).unwrap().chat_template_names().count(), 2);
}

#[test]
fn unusable_gguf_vocabularies_name_the_key() {
    let oracle: ByteLevel = data("byte_level.json");
    let pieces: BTreeMap<String, Pieces> = data("sentencepiece.json");
    let fails = |key: &str, value: Option<Gguf>, parts: &[&str]| {
        let mut metadata = Metadata::new();
        for (k, v) in oracle.metadata("gpt-2").iter().filter(|(k, _)| *k != key) {
            metadata.insert(k, v.clone());
        }
        if let Some(value) = value {
            metadata.insert(key, value);
        }
        let error = Tokenizer::from_gguf_metadata(&metadata).expect_err(key);
        assert!(matches!(&error, TextError::Gguf { .. }), "{error:?}");
        let error = error.to_string();
        for part in parts {
            assert!(error.contains(part), "{key}: {error:?} lacks {part:?}");
        }
    };
    fails("tokenizer.ggml.pre", Some(Gguf::String("newmodel-7".into())), &["tokenizer.ggml.pre", "\"newmodel-7\"", "tokenizer.json"]);
    fails("tokenizer.ggml.model", Some(Gguf::String("rwkv".into())), &["tokenizer.ggml.model", "\"rwkv\"", "gpt2, llama"]);
    fails("tokenizer.ggml.model", None, &["tokenizer.ggml.model", "no tokenizer"]);
    fails("tokenizer.ggml.tokens", None, &["tokenizer.ggml.tokens"]);
    fails("tokenizer.ggml.tokens", Some(strings(&[""; 0])), &["0 tokens"]);
    fails("tokenizer.ggml.tokens", Some(strings(&["a", "b", "a"])), &["token_type"]);
    fails("tokenizer.ggml.merges", None, &["tokenizer.ggml.merges"]);
    fails("tokenizer.ggml.merges", Some(strings(&["ab"])), &["tokenizer.ggml.merges", "\"ab\""]);
    fails("tokenizer.ggml.merges", Some(strings(&["nope neither"])), &["nope"]);
    fails("tokenizer.ggml.token_type", Some(Gguf::Array(Array::I32(vec![1, 2]))), &["token_type", "2 entries"]);
    fails("tokenizer.ggml.eos_token_id", Some(Gguf::U32(99_999)), &["eos_token_id", "99999"]);
    fails("tokenizer.ggml.eos_token_id", Some(Gguf::String("x".into())), &["eos_token_id"]);
    let mut doubled = oracle.metadata("gpt-2");
    let mut tokens = oracle.tokens.clone();
    tokens[7] = tokens[6].clone();
    doubled.insert("tokenizer.ggml.tokens", strings(&tokens));
    assert!(Tokenizer::from_gguf_metadata(&doubled).unwrap_err().to_string().contains("6 and 7"));
    let mut unscored = Metadata::new();
    for (k, v) in pieces["bpe"].metadata().iter().filter(|(k, _)| !k.ends_with("scores")) {
        unscored.insert(k, v.clone());
    }
    assert!(Tokenizer::from_gguf_metadata(&unscored).unwrap_err().to_string().contains("tokenizer.ggml.scores"));
}

/// A copy of a fixture directory that a test may change.
fn copy_of(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(data_path(name)).unwrap().flatten().filter(|e| e.path().is_file()) {
        std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    dir
}

fn put(dir: &Path, name: &str, text: &str) {
    std::fs::write(dir.join(name), text).unwrap();
}

#[test]
fn directories_of_other_shapes() {
    // An old GPT-2: no special token named anywhere but in config.json; several ends in generation_config.json.
    let dir = copy_of("gpt2_dir");
    put(dir.path(), "tokenizer_config.json", r#"{"model_max_length": 1024}"#);
    put(dir.path(), "config.json", r#"{"bos_token_id": 0, "eos_token_id": 0}"#);
    put(dir.path(), "generation_config.json", r#"{"eos_token_id": [2, 0, 4000000000]}"#);
    let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
    assert_eq!(tokenizer.special_tokens().eos(), Some("<|im_end|>"));
    assert_eq!((tokenizer.bos(), tokenizer.eos_ids()), (Some(0), &[2u32, 0][..]));
    assert_survives_saving(&tokenizer);

    // Special tokens as objects, in special_tokens_map.json; templates as a list; tokens only in added_tokens_decoder.
    let dir = copy_of("gpt2_dir");
    std::fs::remove_file(dir.path().join("chat_template.jinja")).unwrap();
    let next = tokenizer.vocab_size();
    let config = serde_json::json!({
        "added_tokens_decoder": {next.to_string(): {"content": "<late>", "special": true}},
        "chat_template": [{"name": "default", "template": "D"}, {"name": "rag", "template": "R"}],
        "additional_special_tokens": ["<later>"],
    });
    put(dir.path(), "tokenizer_config.json", &config.to_string());
    put(dir.path(), "special_tokens_map.json", r#"{"eos_token": {"content": "<|im_end|>", "lstrip": false}, "pad_token": "<|im_start|>"}"#);
    let tokenizer = Tokenizer::from_dir(dir.path()).unwrap();
    assert_eq!((tokenizer.eos(), tokenizer.pad()), (Some(2), Some(1)));
    assert_eq!(tokenizer.encode("a<late>b<later>", false).unwrap()[1], next as u32);
    assert_eq!(tokenizer.id("<later>"), Some(next as u32 + 1));
    assert_eq!(tokenizer.decode(&[next as u32], true).unwrap(), "");
    assert_eq!(tokenizer.chat_template_source(), Some("D"));
    assert_eq!(tokenizer.chat_template_names().collect::<Vec<_>>(), ["default", "rag"]);
    assert_survives_saving(&tokenizer);

    // A tokenizer class in Python files of the model's own (ChatGLM): tokenizer.json says it all, the class is not saved.
    put(dir.path(), "tokenizer_config.json", r#"{"auto_map": {"AutoTokenizer": ["own.Own", null]}, "tokenizer_class": "Own", "kept": 1}"#);
    let saved = tempfile::tempdir().unwrap();
    Tokenizer::from_dir(dir.path()).unwrap().save(saved.path()).unwrap();
    let config: Value = serde_json::from_slice(&std::fs::read(saved.path().join("tokenizer_config.json")).unwrap()).unwrap();
    assert_eq!(
        (&config["auto_map"], &config["tokenizer_class"], &config["kept"]),
        (&Value::Null, &"PreTrainedTokenizerFast".into(), &1.into())
    );
}

#[test]
fn broken_directories_say_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let error = Tokenizer::from_dir(dir.path()).unwrap_err();
    assert!(matches!(error, TextError::NoTokenizer { .. }));
    put(dir.path(), "tokenizer.model", "x");
    let error = Tokenizer::from_dir(dir.path()).unwrap_err().to_string();
    assert!(error.contains("tokenizer.model") && error.contains("save_pretrained"), "{error}");
    let whole = std::fs::read_to_string(data_path("gpt2_dir/tokenizer.json")).unwrap();
    put(dir.path(), "tokenizer.json", &whole[..whole.len() / 2]);
    let error = Tokenizer::from_dir(dir.path()).unwrap_err().to_string();
    assert!(error.contains("tokenizer.json") && error.contains("column"), "{error}");
    put(dir.path(), "tokenizer.json", "{\"version\": \"1.0\"}");
    let error = Tokenizer::from_dir(dir.path()).unwrap_err().to_string();
    assert!(error.contains("tokenizer.json"), "{error}");
    put(dir.path(), "tokenizer.json", &whole);
    put(dir.path(), "tokenizer_config.json", "{\n  \"eos_token\": \n}");
    let error = Tokenizer::from_dir(dir.path()).unwrap_err().to_string();
    assert!(error.contains("tokenizer_config.json: line 3"), "{error}");
    let file = dir.path().join("tokenizer_config.json");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    assert!(matches!(Tokenizer::from_dir(dir.path()).unwrap_err(), TextError::Read { .. }));
    let tokenizer = Tokenizer::from_dir(&data_path("gpt2_dir")).unwrap();
    assert!(matches!(tokenizer.save(&dir.path().join("tokenizer.json")).unwrap_err(), TextError::Write { .. }));
}

#[test]
fn ids_of_another_tokenizer_are_refused() {
    let tokenizer = Tokenizer::from_dir(&data_path("gpt2_dir")).unwrap();
    let beyond = tokenizer.vocab_size() as u32;
    assert!(matches!(tokenizer.decode(&[0, beyond], false), Err(TextError::UnknownId { .. })));
    assert!(matches!(tokenizer.decode_stream(false).push(beyond), Err(TextError::UnknownId { .. })));
    assert_eq!(tokenizer.byte_surface(beyond), None);
}

#[test]
fn half_characters_wait_or_become_replacement_characters() {
    let oracle: ByteLevel = data("byte_level.json");
    let tokenizer = Tokenizer::from_gguf_metadata(&oracle.metadata("gpt-2")).unwrap();
    // The four bytes of an emoji as four tokens.
    let ids: Vec<u32> = ["ð", "Ł", "ĺ", "Ģ"].iter().map(|t| tokenizer.id(t).unwrap()).collect();
    let bytes: Vec<u8> = ids.iter().flat_map(|&id| tokenizer.byte_surface(id).unwrap()).collect();
    assert_eq!(bytes, "😀".as_bytes());
    let mut stream = tokenizer.decode_stream(true);
    let pieces: Vec<String> = ids.iter().map(|&id| stream.push(id).unwrap()).collect();
    assert_eq!(pieces, ["", "", "", "😀"]);
    // A special token in the middle of a character: the character is lost, the rest is not.
    let mut stream = tokenizer.decode_stream(false);
    let pieces: Vec<String> = [ids[0], ids[1], 2, ids[3]].iter().map(|&id| stream.push(id).unwrap()).collect();
    assert_eq!(pieces.concat() + &stream.finish(), tokenizer.decode(&[ids[0], ids[1], 2, ids[3]], false).unwrap());
    let mut stream = tokenizer.decode_stream(true);
    assert_eq!(stream.push(ids[0]).unwrap(), "");
    assert_eq!(stream.finish(), "\u{FFFD}");
}

#[test]
fn a_new_template_is_part_of_the_tokenizer() {
    let mut tokenizer = Tokenizer::from_dir(&data_path("gpt2_dir")).unwrap();
    let before = tokenizer.hash().to_owned();
    assert!(tokenizer.set_chat_template("{% if").is_err());
    assert_eq!(tokenizer.hash(), before);
    tokenizer.set_chat_template("{{ messages[0].content }}!").unwrap();
    assert_ne!(tokenizer.hash(), before);
    let text = tokenizer.chat_template().unwrap().unwrap().render(&[Message::user("问")], None, false, &Default::default()).unwrap().text;
    assert_eq!(text, "问!");
    assert_survives_saving(&tokenizer);
}

#[test]
#[allow(clippy::single_range_in_vec_init)] // one span is a list of one range
fn masks_follow_spans() {
    let offsets: Vec<Range<usize>> = vec![0..0, 0..3, 3..5, 6..9, 9..9];
    let encoding = text::Encoding { ids: vec![0; 5], offsets };
    let on = |spans: &[Range<usize>]| encoding.mask(spans).iter().positions();
    assert_eq!(on(&[3..9]), [2, 3]);
    assert_eq!(on(&[4..5]), [2]);
    assert_eq!(on(&[5..9]), [3], "a span that begins between tokens");
    assert_eq!(on(&[0..1, 8..9]), [1, 3]);
    assert_eq!(on(&[5..6]), [0usize; 0]);
    assert_eq!(on(&[]), [0usize; 0]);
}

/// Where a mask is true.
trait Positions {
    fn positions(self) -> Vec<usize>;
}

impl<'a, I: Iterator<Item = &'a bool>> Positions for I {
    fn positions(self) -> Vec<usize> {
        self.enumerate().filter(|(_, on)| **on).map(|(at, _)| at).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever the text: a byte-level tokenizer gives it back, its surfaces and its stream spell it, its offsets cover it.
    #[test]
    fn byte_level_round_trips_any_text(text in "(\\PC|[ \t\r\n]|[0-9a-z]|[一-三]|😀|👩‍👧){0,40}") {
        thread_local!(static TOKENIZER: Tokenizer = {
            let oracle: ByteLevel = data("byte_level.json");
            Tokenizer::from_gguf_metadata(&oracle.metadata("smollm")).unwrap()
        });
        TOKENIZER.with(|tokenizer| {
            let encoding = tokenizer.encode_with_offsets(&text, true).unwrap();
            prop_assert_eq!(tokenizer.decode(&encoding.ids, false).unwrap(), text.as_str());
            prop_assert_eq!(stream(tokenizer, &encoding.ids, false), text.as_str());
            let bytes: Vec<u8> = encoding.ids.iter().flat_map(|&id| tokenizer.byte_surface(id).unwrap()).collect();
            prop_assert_eq!(bytes, text.as_bytes());
            let mut end = 0;
            for range in &encoding.offsets {
                prop_assert!(range.start <= end && range.end >= end && text.get(range.clone()).is_some());
                end = range.end;
            }
            prop_assert_eq!(end, text.len());
            Ok(())
        })?;
    }

    /// Any ids, sense or nonsense: streaming equals decoding.
    #[test]
    fn streaming_any_ids(ids in prop::collection::vec(0u32..1200, 0..30), skip: bool) {
        thread_local!(static TOKENIZER: Tokenizer = {
            let oracle: ByteLevel = data("byte_level.json");
            Tokenizer::from_gguf_metadata(&oracle.metadata("gpt-2")).unwrap()
        });
        TOKENIZER.with(|tokenizer| {
            prop_assert_eq!(stream(tokenizer, &ids, skip), tokenizer.decode(&ids, skip).unwrap());
            Ok(())
        })?;
    }
}
