//! The same oracles in bf16 and int8: what rounding may cost, stated.
//!
//! The bounds are relative errors (Euclidean norm) of whole tensors of two-layer models a few dozen numbers wide; a wrong
//! formula is off by a tenth or more.

mod common;

use common::*;
use engine::{ComputeDtype, ParamStore};
use model::freeze::{FreezePart, FreezeSpec, select};
use model::load::BaseModel;
use model::{load_adapter, load_model, load_model_in};

struct Bounds {
    compute: ComputeDtype,
    logits: f64,
    loss: f64,
    /// Of all gradients together, as one vector.
    gradient: f64,
}

const BF16: Bounds = Bounds { compute: ComputeDtype::Bf16, logits: 0.03, loss: 5e-3, gradient: 0.08 };
const INT8: Bounds = Bounds { compute: ComputeDtype::Int8, logits: 0.1, loss: 0.02, gradient: 0.2 };

fn all_gradients(params: &ParamStore) -> Vec<f32> {
    params.iter().flat_map(|(_, p)| p.grad.iter().copied()).collect()
}

#[track_caller]
fn within(found: &[f32], wanted: &[f32], bound: f64, what: &str) {
    let error = relative(found, wanted);
    assert!(error < bound, "{what}: relative error {error:.2e}, allowed {bound:.0e}");
}

/// Full fine-tuning from f32 masters; what stays frozen (nothing) would be packed.
fn full(case: &str, b: &Bounds) {
    let dir = data(case);
    let expected = Expected::open(&dir);
    let rows = expected.rows();
    let what = format!("{case} in {}", b.compute.name());
    let packed = load_model_in(&dir, b.compute).unwrap();
    for (i, found) in logits(&packed, &ParamStore::new(), &rows).iter().enumerate() {
        within(found, &expected.tensor(&format!("logits.{i}")), b.logits, &format!("{what}: logits {i}"));
    }
    let gradients = |compute| {
        let mut decoder = load_model(&dir).unwrap();
        let mut params = ParamStore::new();
        select(&mut decoder, &mut params, &FreezeSpec::Full).unwrap();
        decoder.pack(compute).unwrap();
        let loss = loss_and_gradients(&decoder, &mut params, &rows);
        assert!((loss - expected.loss()).abs() < b.loss * expected.loss(), "{what}: loss {loss} {}", expected.loss());
        all_gradients(&params)
    };
    within(&gradients(b.compute), &gradients(ComputeDtype::F32), b.gradient, &format!("{what}: gradients"));
}

/// Adapters beside packed weights.
fn adapter(case: &str, name: &str, b: &Bounds) {
    let dir = data(case);
    let adapter_dir = dir.join("adapters").join(name);
    let rows = Expected::open(&dir).rows();
    let expected = Expected::open(&adapter_dir);
    let what = format!("{case}/{name} in {}", b.compute.name());
    let gradients = |compute| {
        let mut decoder = load_model_in(&dir, compute).unwrap();
        let mut params = ParamStore::new();
        load_adapter(&adapter_dir).unwrap().attach(&mut decoder, &mut params).unwrap();
        for (i, found) in logits(&decoder, &params, &rows).iter().enumerate() {
            within(found, &expected.tensor(&format!("logits.{i}")), b.logits, &format!("{what}: logits {i}"));
        }
        let loss = loss_and_gradients(&decoder, &mut params, &rows);
        assert!((loss - expected.loss()).abs() < b.loss * expected.loss(), "{what}: loss {loss} {}", expected.loss());
        all_gradients(&params)
    };
    within(&gradients(b.compute), &gradients(ComputeDtype::F32), b.gradient, &format!("{what}: gradients"));
}

#[test]
fn whole_models_in_bf16() {
    ["llama_mha", "llama_gqa", "llama_bias", "gpt2"].iter().for_each(|case| full(case, &BF16));
}

#[test]
fn whole_models_in_int8() {
    ["llama_mha", "llama_gqa", "llama_bias", "gpt2"].iter().for_each(|case| full(case, &INT8));
}

const ADAPTERS: [(&str, &str); 8] = [
    ("llama_mha", "all_linear"),
    ("llama_gqa", "all_linear"),
    ("llama_bias", "all_linear"),
    ("gpt2", "all_linear"),
    ("llama_mha", "modules_to_save"),
    ("llama_mha", "lm_head"),
    ("llama_gqa", "patterns"),
    ("llama_bias", "bias_all"),
];

#[test]
fn adapters_in_bf16() {
    ADAPTERS.iter().for_each(|(case, name)| adapter(case, name, &BF16));
}

#[test]
fn adapters_in_int8() {
    ADAPTERS.iter().for_each(|(case, name)| adapter(case, name, &INT8));
}

#[test]
fn what_was_trained_is_not_quantised_beside_frozen_int8() {
    let dir = data("llama_gqa");
    let rows = Expected::open(&dir).rows();
    let last = FreezeSpec::Part(FreezePart { layers: 1, ..FreezePart::default() });
    let base = BaseModel::open(&dir).unwrap();
    // As training has it: masters of what trains, the rest packed.
    let mut decoder = base.load().unwrap();
    let mut params = ParamStore::new();
    select(&mut decoder, &mut params, &last).unwrap();
    decoder.pack(ComputeDtype::Int8).unwrap();
    let trained = logits(&decoder, &params, &rows);
    let opened = logits(&base.load_beside(ComputeDtype::Int8, &last).unwrap(), &ParamStore::new(), &rows);
    assert_eq!(opened, trained);
    let quantised = logits(&base.load_in(ComputeDtype::Int8).unwrap(), &ParamStore::new(), &rows);
    assert_ne!(quantised, trained, "the last layer in int8 is another model");
    let whole = logits(&base.load_beside(ComputeDtype::Int8, &FreezeSpec::Full).unwrap(), &ParamStore::new(), &rows);
    assert_eq!(whole, logits(&base.load_in(ComputeDtype::Bf16).unwrap(), &ParamStore::new(), &rows));
    assert!(base.load_beside(ComputeDtype::Int8, &FreezeSpec::Part(FreezePart { layers: 9, ..FreezePart::default() })).is_err());
}
