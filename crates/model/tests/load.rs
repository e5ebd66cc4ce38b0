//! Loading: file layouts that exist in the wild, and what is said when something does not fit.

mod common;

use common::*;
use containers::save::{LazyTensor, write_safetensors, write_sharded};
use containers::{DType, SafetensorsFile};
use engine::{Mode, ParamStore, Segments, Tape, TokenKey};
use model::load_model;
use std::collections::BTreeMap;
use std::path::Path;

/// A copy of a case whose tensors `change` may rename, drop or replace; `add` come on top.
fn changed(case: &str, change: impl Fn(&str) -> Option<String>, dtype: DType, add: &[(&str, Vec<usize>)], to: &Path) {
    std::fs::copy(data(case).join("config.json"), to.join("config.json")).unwrap();
    let file = SafetensorsFile::open(data(case).join("model.safetensors")).unwrap();
    let kept: Vec<_> = file.tensors().filter_map(|t| Some((change(t.name)?, t))).collect();
    let mut tensors: Vec<LazyTensor> = kept
        .iter()
        .map(|(name, t)| {
            let values = t.to_f32().unwrap();
            LazyTensor::encoded(name, dtype, t.shape, move || Ok::<_, containers::Error>(values))
        })
        .collect();
    for (name, shape) in add {
        let values = vec![0.0; shape.iter().product()];
        tensors.push(LazyTensor::encoded(*name, dtype, shape.clone(), move || Ok::<_, containers::Error>(values)));
    }
    write_safetensors(to.join("model.safetensors"), &BTreeMap::new(), tensors).unwrap();
}

fn same(name: &str) -> Option<String> {
    Some(name.to_owned())
}

#[track_caller]
fn says(path: impl AsRef<Path>, words: &[&str]) {
    let why = load_model(path).expect_err("must not load").to_string();
    for word in words {
        assert!(why.contains(word), "{why:?} does not say {word:?}");
    }
}

fn check_logits(case: &str, path: &Path, bound: f64) {
    let expected = Expected::open(&data(case));
    let decoder = load_model(path).unwrap();
    for (i, found) in logits(&decoder, &ParamStore::new(), &expected.rows()).iter().enumerate() {
        let error = relative(found, &expected.tensor(&format!("logits.{i}")));
        assert!(error < bound, "{case}: {error:.2e}");
    }
}

#[test]
fn gpt2_as_first_published_without_prefix_and_with_masks() {
    let dir = tempfile::tempdir().unwrap();
    let strip = |n: &str| Some(n.strip_prefix("transformer.").unwrap_or(n).to_owned());
    let masks = [("h.0.attn.bias", vec![1, 1, 32, 32]), ("h.1.attn.masked_bias", vec![1])];
    changed("gpt2", strip, DType::F32, &masks, dir.path());
    check_logits("gpt2", dir.path(), BOUND);
    assert!(load_model(dir.path()).unwrap().notes.is_empty());
}

#[test]
fn half_precision_and_shards() {
    for (dtype, bound) in [(DType::F16, 2e-2), (DType::BF16, 2e-1)] {
        let dir = tempfile::tempdir().unwrap();
        changed("llama_mha", same, dtype, &[], dir.path());
        check_logits("llama_mha", dir.path(), bound);
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(data("llama_bias/config.json"), dir.path().join("config.json")).unwrap();
    let file = SafetensorsFile::open(data("llama_bias/model.safetensors")).unwrap();
    let files = write_sharded(dir.path(), &BTreeMap::new(), file.tensors().map(LazyTensor::copy), 4096).unwrap();
    assert!(files.len() > 3);
    check_logits("llama_bias", dir.path(), BOUND);
    std::fs::remove_file(&files[1]).unwrap();
    says(dir.path(), &["model-00002-of", "missing"]);
}

#[test]
fn missing_tensors_are_named() {
    let dir = tempfile::tempdir().unwrap();
    changed("llama_mha", |n| (!n.contains("layers.1.mlp")).then(|| n.to_owned()), DType::F32, &[], dir.path());
    says(dir.path(), &["3 of 21 tensors are missing", "model.layers.1.mlp.up_proj.weight"]);
}

#[test]
fn tensors_without_a_place_in_a_layer_are_an_error_and_others_a_note() {
    let dir = tempfile::tempdir().unwrap();
    // a bias that the configuration does not know: ignoring it would compute another model
    changed("llama_mha", same, DType::F32, &[("model.layers.0.self_attn.q_proj.bias", vec![16])], dir.path());
    says(dir.path(), &["1 tensors have no place in this llama model", "layers.0.self_attn.q_proj.bias"]);
    let dir = tempfile::tempdir().unwrap();
    let extra = [("v_head.weight", vec![1, 16]), ("model.layers.0.self_attn.rotary_emb.inv_freq", vec![2])];
    changed("llama_mha", same, DType::F32, &extra, dir.path());
    let decoder = load_model(dir.path()).unwrap();
    assert_eq!(decoder.notes, ["1 tensors of the file are not used: v_head.weight"]);
    // a tied model whose file repeats the head
    let dir = tempfile::tempdir().unwrap();
    changed("llama_gqa", same, DType::F32, &[("lm_head.weight", vec![48, 16])], dir.path());
    assert!(load_model(dir.path()).unwrap().notes.is_empty());
}

#[test]
fn shapes_are_compared_with_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    changed("llama_mha", same, DType::F32, &[], dir.path());
    let text = std::fs::read_to_string(dir.path().join("config.json")).unwrap();
    let text = text.replace("\"num_key_value_heads\": 4", "\"num_key_value_heads\": 2");
    std::fs::write(dir.path().join("config.json"), text).unwrap();
    says(dir.path(), &["model.layers.0.self_attn.k_proj.weight", "[16, 16]", "config.json implies [8, 16]"]);
}

#[test]
fn integers_are_not_weights() {
    let dir = tempfile::tempdir().unwrap();
    changed("llama_mha", |n| (n != "lm_head.weight").then(|| n.to_owned()), DType::F32, &[], dir.path());
    let file = SafetensorsFile::open(dir.path().join("model.safetensors")).unwrap();
    let mut tensors: Vec<_> = file.tensors().map(LazyTensor::copy).collect();
    tensors.push(LazyTensor::new("lm_head.weight", DType::I8, vec![48, 16], || Ok::<_, containers::Error>(vec![1; 768])));
    let other = tempfile::tempdir().unwrap();
    write_safetensors(other.path().join("model.safetensors"), &BTreeMap::new(), tensors).unwrap();
    std::fs::copy(dir.path().join("config.json"), other.path().join("config.json")).unwrap();
    says(other.path(), &["lm_head.weight", "I8"]);
}

#[test]
fn paths_that_are_no_models() {
    says("/nowhere/at/all", &["/nowhere/at/all", "no such file or directory"]);
    let dir = tempfile::tempdir().unwrap();
    says(dir.path(), &["config.json", "gguf"]);
    std::fs::write(dir.path().join("config.json"), "{\"model_type\": ").unwrap();
    says(dir.path(), &["config.json", "line 1"]);
    std::fs::copy(data("llama_mha/config.json"), dir.path().join("config.json")).unwrap();
    says(dir.path(), &["no model.safetensors"]);
    says(data("llama_mha/model.safetensors"), &["give the directory"]);
    std::fs::write(dir.path().join("x.gguf"), b"GGUF\x03\x00\x00\x00").unwrap();
    says(dir.path().join("x.gguf"), &["x.gguf"]);
}

#[test]
fn a_sequence_beyond_learned_positions_is_refused() {
    let decoder = load_model(data("gpt2")).unwrap();
    let params = ParamStore::new();
    let arena = engine::Arena::new();
    let mut tape = Tape::inference(&params, &arena);
    let why = decoder.forward(&mut tape, &[5; 33], &Segments::from_lengths(&[33]), None).unwrap_err().to_string();
    assert!(why.contains("33 tokens") && why.contains("32 positions"), "{why}");
    let mut tape = Tape::inference(&params, &arena);
    assert!(decoder.forward(&mut tape, &[48], &Segments::from_lengths(&[1]), None).is_err());
}

/// Decoding step by step with a cache gives what one pass over the whole sequence gives.
#[test]
fn cached_equals_uncached() {
    for case in ["llama_gqa", "gpt2", "mistral_window", "stablelm_partial", "rope_yarn"] {
        let decoder = load_model(data(case)).unwrap();
        let params = ParamStore::new();
        let rows = Expected::open(&data(case)).rows();
        let whole = logits(&decoder, &params, &rows);
        let arena = engine::Arena::new();
        let mut cache = decoder.cache(rows.len(), 64);
        let vocab = decoder.config.vocab_size;
        let shortest = rows.iter().map(|r| r.ids.len()).min().unwrap();
        // a prompt of three, then one token at a time for all rows together
        let mut at = 0;
        for n in std::iter::once(3).chain(std::iter::repeat_n(1, shortest - 3)) {
            let parts: Vec<_> = (0..rows.len()).map(|slot| (slot, n)).collect();
            let segments = Segments::cached(&cache, &parts).unwrap();
            let ids: Vec<u32> = rows.iter().flat_map(|r| r.ids[at..at + n].to_vec()).collect();
            let mut tape = Tape::inference(&params, &arena);
            let hidden = decoder.forward(&mut tape, &ids, &segments, Some(&mut cache)).unwrap();
            let logits = tape.linear(&hidden, decoder.head()).unwrap();
            let found = tape.read(&logits);
            for (r, whole) in whole.iter().enumerate() {
                let found = &found[r * n * vocab..(r + 1) * n * vocab];
                let error = relative(found, &whole[at * vocab..(at + n) * vocab]);
                assert!(error < 1e-5, "{case}: row {r} at {at}: {error:.2e}");
            }
            at += n;
        }
        assert_eq!(cache.len(0), shortest);
    }
}

/// Rows laid end to end do not see each other: the same bits as alone.
#[test]
fn packed_equals_alone() {
    for case in ["llama_mha", "gpt2"] {
        let decoder = load_model(data(case)).unwrap();
        let params = ParamStore::new();
        let rows = Expected::open(&data(case)).rows();
        let packed = logits(&decoder, &params, &rows);
        for (row, packed) in rows.iter().zip(packed) {
            let alone = logits(&decoder, &params, std::slice::from_ref(row)).remove(0);
            assert!(relative(&packed, &alone) < 1e-6, "{case}");
        }
    }
}

/// GPT-2's own dropout: off when running, keyed by row and position when training, whatever else is in the batch.
#[test]
fn dropout_of_the_model_itself() {
    let mut decoder = load_model(data("gpt2")).unwrap();
    let mut params = ParamStore::new();
    let rows = Expected::open(&data("gpt2")).rows();
    decoder.dropout.embedding = 0.2;
    decoder.dropout.residual = 0.3;
    let mut run = |order: &[usize], step: u64| -> Vec<Vec<f32>> {
        let lengths: Vec<usize> = order.iter().map(|&i| rows[i].ids.len()).collect();
        let ids: Vec<u32> = order.iter().flat_map(|&i| rows[i].ids.clone()).collect();
        let keys: Vec<u64> = order.iter().map(|&i| i as u64).collect();
        let arena = engine::Arena::new();
        let mode = Mode::Training { seed: 1, step, tokens: TokenKey::for_rows(&keys, &lengths) };
        let mut tape = Tape::new(&mut params, &arena, mode);
        let hidden = decoder.forward(&mut tape, &ids, &Segments::from_lengths(&lengths), None).unwrap();
        let all = tape.read(&hidden);
        let mut from = 0;
        let mut parts = Vec::new();
        for n in lengths {
            parts.push(all[from * 16..(from + n) * 16].to_vec());
            from += n;
        }
        parts
    };
    let both = run(&[0, 1], 0);
    assert_eq!(both, run(&[0, 1], 0));
    assert_ne!(both, run(&[0, 1], 1), "another step draws other masks");
    let turned = run(&[1, 0], 0);
    assert!(relative(&turned[1], &both[0]) < 1e-6 && relative(&turned[0], &both[1]) < 1e-6);
    let expected = Expected::open(&data("gpt2"));
    close(&logits(&decoder, &params, &rows)[0], &expected.tensor("logits.0"), "running has no dropout");
}
