//! Models that run on their file's own groups: the numbers are the file's, the results those of f32 but for the rounding of
//! activations, and a token decoded with a cache gets the bits of a whole pass.

mod common;

use common::{Row, logits, loss_and_gradients, relative};
use containers::save::{LazyTensor, write_gguf};
use containers::{DType, Metadata, Value};
use engine::rng::Rng;
use engine::{Arena, ComputeDtype, ParamStore, Segments, Tape};
use model::lora::{LoraConfig, attach};
use model::{Decoder, load_model, load_model_in};
use std::path::{Path, PathBuf};

const HIDDEN: usize = 64;
const VOCAB: usize = 70;

/// A random Llama of two layers, its matrices in `dtype`.
fn write(dir: &Path, dtype: DType) -> PathBuf {
    let mut metadata = Metadata::new();
    let mut set = |key: &str, value| metadata.insert(key, value);
    set("general.architecture", Value::String("llama".into()));
    for (key, value) in [
        ("context_length", 64),
        ("embedding_length", HIDDEN),
        ("block_count", 2),
        ("feed_forward_length", 96),
        ("attention.head_count", 4),
        ("attention.head_count_kv", 2),
        ("rope.dimension_count", 16),
    ] {
        set(&format!("llama.{key}"), Value::U32(value as u32));
    }
    set("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5));
    set("llama.rope.freq_base", Value::F32(500.0));
    let mut tensors: Vec<(String, Vec<usize>)> = vec![("token_embd".into(), vec![VOCAB, HIDDEN]), ("output_norm".into(), vec![HIDDEN])];
    for i in 0..2 {
        for (name, shape) in [
            ("attn_q", vec![HIDDEN, HIDDEN]),
            ("attn_k", vec![HIDDEN / 2, HIDDEN]),
            ("attn_v", vec![HIDDEN / 2, HIDDEN]),
            ("attn_output", vec![HIDDEN, HIDDEN]),
            ("ffn_gate", vec![96, HIDDEN]),
            ("ffn_up", vec![96, HIDDEN]),
            ("ffn_down", vec![HIDDEN, 96]),
            ("attn_norm", vec![HIDDEN]),
            ("ffn_norm", vec![HIDDEN]),
        ] {
            tensors.push((format!("blk.{i}.{name}"), shape));
        }
    }
    let numbers: Vec<Vec<f32>> = tensors
        .iter()
        .enumerate()
        .map(|(i, (_, shape))| {
            let mut rng = Rng::keyed(9, &[i as u64]);
            let one = shape.len() == 1;
            (0..shape.iter().product()).map(|_| if one { 1.0 + 0.1 * rng.normal() } else { 0.15 * rng.normal() }).collect()
        })
        .collect();
    let path = dir.join(format!("{dtype}.gguf"));
    let lazy = tensors.iter().zip(&numbers).map(|((name, shape), numbers)| {
        let dtype = if shape.len() == 1 { DType::F32 } else { dtype };
        LazyTensor::from_f32(format!("{name}.weight"), dtype, shape.clone(), numbers)
    });
    write_gguf(&path, &metadata, lazy).unwrap();
    path
}

fn rows() -> Vec<Row> {
    [13, 1, 30].iter().map(|&n| Row { ids: (0..n).map(|i| (i * 7 + n) % VOCAB as u32).collect(), labels: vec![-100; n as usize] }).collect()
}

fn weights(decoder: &Decoder) -> Vec<Vec<u32>> {
    let params = ParamStore::new();
    let bits = |place| decoder.weight(place).unwrap().to_f32(&params).iter().map(|x| x.to_bits()).collect();
    decoder.slots().iter().map(|slot| bits(slot.place)).collect()
}

#[test]
fn weights_are_the_files_and_results_near_those_of_f32() {
    let dir = tempfile::tempdir().unwrap();
    for (dtype, share, bound) in [
        (DType::Q4_0, 0.16, 0.04),
        (DType::Q4_1, 0.18, 0.04),
        (DType::Q8_0, 0.28, 0.04),
        // One rounding of each activation.
        (DType::BF16, 0.55, 0.01),
        (DType::F32, 1.0, 1e-6),
    ] {
        let path = write(dir.path(), dtype);
        let (wide, native) = (load_model(&path).unwrap(), load_model_in(&path, ComputeDtype::Native).unwrap());
        assert_eq!(weights(&wide), weights(&native), "{dtype}");
        assert!(native.is_tied());
        let bytes = |d: &Decoder| {
            d.modules().iter().map(|(_, l)| if let engine::Matrix::Frozen(m) = &l.weight { m.bytes() } else { 0 }).sum::<usize>()
        };
        assert!(bytes(&native) as f64 <= share * bytes(&wide) as f64 * 1.2, "{dtype}: {} of {}", bytes(&native), bytes(&wide));
        let params = ParamStore::new();
        for (a, b) in logits(&native, &params, &rows()).iter().zip(&logits(&wide, &params, &rows())) {
            let error = relative(a, b);
            assert!(error < bound, "{dtype}: {error}");
        }
    }
}

#[test]
fn decoding_with_a_cache_gives_the_bits_of_a_whole_pass() {
    let dir = tempfile::tempdir().unwrap();
    for dtype in [DType::Q4_0, DType::Q4_1, DType::Q8_0] {
        let decoder = load_model_in(write(dir.path(), dtype), ComputeDtype::Native).unwrap();
        let (params, arena, rows) = (ParamStore::new(), Arena::new(), rows());
        let whole = logits(&decoder, &params, &rows);
        for (row, whole) in rows.iter().zip(&whole) {
            let mut cache = decoder.cache(1, 64);
            for (i, &id) in row.ids.iter().enumerate() {
                let segments = Segments::cached(&cache, &[(0, 1)]).unwrap();
                let mut tape = Tape::inference(&params, &arena);
                let hidden = decoder.forward(&mut tape, &[id], &segments, Some(&mut cache)).unwrap();
                let logits = tape.linear(&hidden, decoder.head()).unwrap();
                assert_eq!(tape.read(&logits), whole[i * VOCAB..][..VOCAB], "{dtype} at {i}");
            }
        }
    }
}

#[test]
fn training_on_groups_is_refused_and_an_adapter_runs_on_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), DType::Q8_0);
    let with_adapter = |compute| {
        let mut decoder = load_model_in(&path, compute).unwrap();
        let mut params = ParamStore::new();
        let config = LoraConfig { r: 4, ..LoraConfig::default() };
        attach(&mut decoder, &mut params, &config, 3).unwrap();
        for (i, (_, p)) in params.iter_mut().enumerate() {
            let mut rng = Rng::keyed(1, &[i as u64]);
            p.value.iter_mut().for_each(|v| *v = 0.05 * rng.normal());
        }
        (decoder, params)
    };
    let (wide, params) = with_adapter(ComputeDtype::F32);
    let (native, mut same) = with_adapter(ComputeDtype::Native);
    let (a, b) = (logits(&native, &same, &rows()), logits(&wide, &params, &rows()));
    let plain = logits(&load_model(&path).unwrap(), &ParamStore::new(), &rows());
    for ((a, b), plain) in a.iter().zip(&b).zip(&plain) {
        assert!(relative(a, b) < 0.04 && relative(plain, b) > 0.05, "{} {}", relative(a, b), relative(plain, b));
    }
    let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| loss_and_gradients(&native, &mut same, &rows())));
    let why = refused.expect_err("training needs the other direction");
    let why = why.downcast_ref::<String>().cloned().unwrap_or_default();
    assert!(why.contains("for inference"), "{why}");
}
