//! Logits, loss and every gradient against transformers and PEFT (`oracles/tiny_models.py`).

mod common;

use common::*;
use engine::ParamStore;
use model::freeze::{FreezeSpec, select};
use model::{load_adapter, load_model};

/// Full fine-tuning: logits, loss and the gradient of every tensor of the model.
fn full(case: &str) {
    let dir = data(case);
    let expected = Expected::open(&dir);
    let mut decoder = load_model(&dir).unwrap();
    assert_eq!(decoder.notes, Vec::<String>::new());
    let mut params = ParamStore::new();
    let rows = expected.rows();
    for (i, found) in logits(&decoder, &params, &rows).iter().enumerate() {
        close(found, &expected.tensor(&format!("logits.{i}")), &format!("{case}: logits {i}"));
    }
    let names = select(&mut decoder, &mut params, &FreezeSpec::Full).unwrap();
    let mut wanted = expected.gradients();
    wanted.sort();
    let mut sorted = names.clone();
    sorted.sort();
    assert_eq!(sorted, wanted);
    let loss = loss_and_gradients(&decoder, &mut params, &rows);
    assert!((loss - expected.loss()).abs() < 1e-5 * expected.loss(), "{case}: loss {loss} {}", expected.loss());
    let slots = decoder.slots();
    for name in names {
        let slot = slots.iter().find(|s| s.name == name).unwrap();
        let p = params.get(params.by_name(&name).unwrap());
        assert!(p.received, "{case}: {name} received no gradient");
        assert_eq!(slot.file_shape(), expected.shape(&format!("grad.{name}")));
        close(&in_file_order(&p.grad, slot), &expected.tensor(&format!("grad.{name}")), &format!("{case}: gradient of {name}"));
    }
}

fn in_file_order(data: &[f32], slot: &model::family::Slot) -> Vec<f32> {
    if !slot.transposed {
        return data.to_vec();
    }
    let (rows, cols) = (slot.shape[0], slot.shape[1]);
    (0..rows * cols).map(|i| data[i % rows * cols + i / rows]).collect()
}

/// An adapter that PEFT saved: loaded, run, and every one of its gradients.
fn adapter(case: &str, name: &str) {
    let dir = data(case);
    let adapter_dir = dir.join("adapters").join(name);
    let rows = Expected::open(&dir).rows();
    let expected = Expected::open(&adapter_dir);
    let mut decoder = load_model(&dir).unwrap();
    let mut params = ParamStore::new();
    load_adapter(&adapter_dir).unwrap().attach(&mut decoder, &mut params).unwrap();
    let what = format!("{case}/{name}");
    for (i, found) in logits(&decoder, &params, &rows).iter().enumerate() {
        close(found, &expected.tensor(&format!("logits.{i}")), &format!("{what}: logits {i}"));
    }
    let loss = loss_and_gradients(&decoder, &mut params, &rows);
    assert!((loss - expected.loss()).abs() < 1e-5 * expected.loss(), "{what}: loss {loss} {}", expected.loss());
    let mut wanted = expected.gradients();
    wanted.sort();
    let mut found: Vec<String> = params.iter().map(|(_, p)| p.name.clone()).collect();
    found.sort();
    assert_eq!(found, wanted, "{what}");
    for (_, p) in params.iter() {
        assert!(p.received, "{what}: {} received no gradient", p.name);
        assert_eq!(p.shape, expected.shape(&format!("grad.{}", p.name)));
        close(&p.grad, &expected.tensor(&format!("grad.{}", p.name)), &format!("{what}: gradient of {}", p.name));
    }
}

fn logits_only(case: &str) {
    let dir = data(case);
    let expected = Expected::open(&dir);
    let decoder = load_model(&dir).unwrap();
    let params = ParamStore::new();
    // alone, as the oracle ran them: two of the scaling methods look at the longest sequence of a batch
    for (i, row) in expected.rows().iter().enumerate() {
        let found = logits(&decoder, &params, std::slice::from_ref(row));
        close(&found[0], &expected.tensor(&format!("logits.{i}")), &format!("{case}: logits {i}"));
    }
}

#[test]
fn llama_multi_head_untied() {
    full("llama_mha");
}

#[test]
fn llama_grouped_query_tied_with_its_own_head_dim() {
    full("llama_gqa");
}

#[test]
fn llama_with_biases() {
    full("llama_bias");
}

#[test]
fn gpt2() {
    full("gpt2");
}

#[test]
fn lora_on_every_linear_layer() {
    for case in ["llama_mha", "llama_gqa", "llama_bias", "gpt2"] {
        adapter(case, "all_linear");
    }
}

#[test]
fn lora_with_modules_saved_whole() {
    adapter("llama_mha", "modules_to_save");
}

#[test]
fn lora_on_the_head() {
    adapter("llama_mha", "lm_head");
}

#[test]
fn rslora_with_patterns_of_rank_and_alpha() {
    adapter("llama_gqa", "patterns");
}

#[test]
fn lora_in_some_layers() {
    adapter("llama_gqa", "layers");
}

#[test]
fn lora_with_trained_biases() {
    adapter("llama_bias", "bias_lora_only");
    adapter("llama_bias", "bias_all");
}

#[test]
fn lora_on_fused_attention_alone() {
    adapter("gpt2", "c_attn");
}

#[test]
fn every_rope_scaling_within_and_beyond_the_trained_context() {
    for case in ["rope_linear", "rope_dynamic", "rope_yarn", "rope_yarn_mscale", "rope_llama3", "rope_longrope"] {
        logits_only(case);
    }
}

#[test]
fn relatives_of_llama() {
    for case in ["mistral_window", "qwen2", "stablelm_partial"] {
        logits_only(case);
    }
}

/// llama.cpp stores Q and K permuted, GPT-2's matrices transposed: both come out as Hugging Face has them.
#[test]
fn gguf_gives_the_same_model() {
    for case in ["llama_gqa", "gpt2"] {
        let rows = Expected::open(&data(case)).rows();
        let expected = Expected::open(&data(case));
        let decoder = load_model(data(&format!("gguf/{case}.gguf"))).unwrap();
        let found = logits(&decoder, &ParamStore::new(), &rows);
        for (i, found) in found.iter().enumerate() {
            close(found, &expected.tensor(&format!("logits.{i}")), &format!("{case}.gguf: logits {i}"));
        }
        // the numbers themselves, so that an adapter trained on one fits the other
        let original = load_model(data(case)).unwrap();
        for slot in original.slots() {
            let a = original.weight(slot.place).unwrap().to_f32(&ParamStore::new());
            let b = decoder.weight(slot.place).unwrap().to_f32(&ParamStore::new());
            assert_eq!(a, b, "{case}: {}", slot.name);
        }
    }
}
