//! Configurations: what is read, what is refused by name, what is written back.

mod common;

use common::data;
use model::ModelConfig;
use model::rope::RopeScaling;
use serde_json::{Value, json};

fn llama(changes: Value) -> Value {
    let mut base = json!({
        "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 100, "hidden_size": 64,
        "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "hidden_act": "silu",
    });
    for (key, value) in changes.as_object().unwrap() {
        base[key] = value.clone();
    }
    base
}

fn read(changes: Value) -> model::Result<ModelConfig> {
    ModelConfig::from_config_json(&llama(changes), "config.json")
}

#[track_caller]
fn refused(changes: Value, words: &[&str]) {
    let why = read(changes).expect_err("must be refused").to_string();
    for word in words {
        assert!(why.contains(word), "{why:?} does not say {word:?}");
    }
}

#[test]
fn rope_settings_of_transformers_4_and_5_mean_the_same() {
    let scalings = [
        json!({"rope_type": "linear", "factor": 4.0}),
        json!({"rope_type": "dynamic", "factor": 2.0}),
        json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "beta_fast": 16.0}),
        json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 64}),
    ];
    for scaling in scalings {
        let old = read(json!({"rope_theta": 5000.0, "rope_scaling": scaling})).unwrap();
        let mut with_theta = scaling.clone();
        with_theta["rope_theta"] = json!(5000.0);
        let new = read(json!({"rope_parameters": with_theta})).unwrap();
        assert_eq!(old.rope, new.rope);
        assert_ne!(old.rope.as_ref().unwrap().scaling, RopeScaling::None);
        // the oldest spelling
        let mut oldest = scaling.clone();
        oldest["type"] = oldest.as_object_mut().unwrap().remove("rope_type").unwrap();
        assert_eq!(read(json!({"rope_theta": 5000.0, "rope_scaling": oldest})).unwrap().rope, new.rope);
    }
    let plain = read(json!({"rope_theta": 5000.0, "rope_scaling": null})).unwrap();
    assert_eq!(plain.rope, read(json!({"rope_parameters": {"rope_theta": 5000.0, "rope_type": "default"}})).unwrap().rope);
}

#[test]
fn what_would_change_the_arithmetic_is_refused_by_name() {
    refused(json!({"model_type": "mamba"}), &["config.json", "model_type", "mamba", "llama", "gpt2"]);
    refused(json!({"architectures": ["LlamaForSequenceClassification"]}), &["architectures", "LlamaForCausalLM"]);
    refused(json!({"hidden_act": "mish"}), &["hidden_act", "mish", "silu"]);
    refused(json!({"rope_scaling": {"rope_type": "ntk-by-parts", "factor": 2.0}}), &["rope_scaling.rope_type", "yarn"]);
    refused(json!({"rope_scaling": {"rope_type": "linear", "factor": 2.0, "wobble": 3}}), &["rope_scaling.wobble"]);
    refused(json!({"rope_parameters": {"full_attention": {"rope_type": "default"}}}), &["full_attention", "every layer"]);
    refused(json!({"partial_rotary_factor": 0.5}), &["partial_rotary_factor", "0.5"]);
    refused(json!({"quantization_config": {"quant_method": "gptq"}}), &["quantization_config", "gptq"]);
    refused(json!({"sliding_window": 128}), &["sliding_window", "mistral"]);
    refused(json!({"final_logit_softcapping": 30.0}), &["final_logit_softcapping"]);
    refused(json!({"num_local_experts": 8}), &["num_local_experts", "dense"]);
    refused(json!({"rope_interleaved": true}), &["rope_interleaved"]);
    let mistral = json!({"model_type": "mistral", "architectures": null, "sliding_window": 4, "layer_types": ["full_attention"]});
    refused(mistral, &["layer_types", "2 entries"]);
    let stable = |more: Value| {
        let mut all = json!({"model_type": "stablelm", "architectures": null});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    refused(stable(json!({"use_parallel_residual": true})), &["use_parallel_residual"]);
    refused(stable(json!({"qk_layernorm": true})), &["qk_layernorm"]);
    refused(stable(json!({"hidden_dropout": 0.1})), &["hidden_dropout"]);
}

#[test]
fn impossible_values_say_where() {
    refused(json!({"hidden_size": 0}), &["config.json: hidden_size", "zero"]);
    refused(json!({"hidden_size": "wide"}), &["hidden_size", "whole number", "wide"]);
    refused(json!({"vocab_size": null}), &["vocab_size", "missing"]);
    refused(json!({"num_key_value_heads": 3}), &["num_key_value_heads", "3 does not divide the 4"]);
    refused(json!({"num_attention_heads": 5, "num_key_value_heads": 5}), &["num_attention_heads", "head_dim"]);
    refused(json!({"head_dim": 7}), &["head_dim", "even"]);
    refused(json!({"rope_scaling": {"rope_type": "linear"}}), &["rope_scaling.factor", "missing"]);
    refused(json!({"rope_scaling": {"rope_type": "linear", "factor": 0.5}}), &["factor", "at least 1"]);
    refused(
        json!({"rope_scaling": {"rope_type": "longrope", "short_factor": [1.0], "long_factor": [1.0]}}),
        &["short_factor", "8 entries"],
    );
    refused(json!({"rms_norm_eps": "1e-5"}), &["rms_norm_eps", "a number"]);
    assert!(ModelConfig::from_config_json(&json!([]), "x").unwrap_err().to_string().contains("JSON object"));
}

#[test]
fn neutral_values_of_refused_fields_pass() {
    let config = read(json!({
        "rope_interleaved": false, "quantization_config": null, "pretraining_tp": 1, "is_llama_config": true, "sliding_window": null,
        "attention_dropout": 0.0, "num_experts": 0, "transformers.js_config": {"kv_cache_dtype": {}}, "use_cache": true,
    }));
    assert!(config.unwrap().notes().is_empty());
}

#[test]
fn sliding_windows_by_family_and_layer() {
    let windows = |changes: Value| read(changes).unwrap().windows;
    let base = |kind: &str, more: Value| {
        let mut all = json!({"model_type": kind, "architectures": null, "num_hidden_layers": 3});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    assert_eq!(windows(base("mistral", json!({"sliding_window": 5}))), [Some(5); 3]);
    assert_eq!(windows(base("mistral", json!({"sliding_window": null}))), [None; 3]);
    // the file names a window and switches it off
    assert_eq!(windows(base("qwen2", json!({"sliding_window": 5, "use_sliding_window": false}))), [None; 3]);
    let on = json!({"sliding_window": 5, "use_sliding_window": true, "max_window_layers": 2});
    assert_eq!(windows(base("qwen2", on)), [None, None, Some(5)]);
    let types = json!({"sliding_window": 5, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]});
    assert_eq!(windows(base("mistral", types)), [Some(5), None, Some(5)]);
}

#[test]
fn gpt2_reads_both_spellings_and_notes_attention_dropout() {
    let config = json!({"model_type": "gpt2", "hidden_size": 24, "num_attention_heads": 2, "n_layer": 3, "resid_pdrop": 0.0,
        "scale_attn_by_inverse_layer_idx": true});
    let config = ModelConfig::from_config_json(&config, "config.json").unwrap();
    assert_eq!((config.hidden_size, config.heads, config.layers, config.intermediate_size), (24, 2, 3, 96));
    assert_eq!(config.attention_scales[2], config.attention_scales[0] / 3.0);
    assert_eq!(config.dropout.residual, 0.0);
    assert_eq!(config.dropout.embedding, 0.1);
    assert!(config.notes()[0].contains("attention probabilities"));
}

#[test]
fn unknown_fields_survive_saving() {
    let config = read(json!({"summary": {"by": "某人"}, "dtype": "bfloat16", "_name_or_path": "/home/x"})).unwrap();
    let out = config.to_config_json("float32");
    assert_eq!(out["summary"]["by"], "某人");
    assert_eq!(out["torch_dtype"], "float32");
    assert!(out.get("dtype").is_none() && out.get("_name_or_path").is_none());
    let again = ModelConfig::from_config_json(&out, "config.json").unwrap();
    assert_eq!(format!("{:?}", again.rope), format!("{:?}", config.rope));
}

/// A configuration from GGUF, written for transformers and read again, is the same model.
#[test]
fn gguf_configuration_round_trip() {
    for (case, changed) in [("llama_gqa", "head_dim"), ("gpt2", "n_embd")] {
        let file = containers::GgufFile::open(data(&format!("gguf/{case}.gguf"))).unwrap();
        let gguf = ModelConfig::from_gguf(&file).unwrap();
        let out = gguf.to_config_json("float32");
        assert!(out.get(changed).is_some());
        let text = std::fs::read_to_string(data(case).join("config.json")).unwrap();
        let original = ModelConfig::from_config_json(&serde_json::from_str(&text).unwrap(), "config.json").unwrap();
        for config in [&gguf, &ModelConfig::from_config_json(&out, "out").unwrap()] {
            assert_eq!(config.rope, original.rope);
            assert_eq!(config.norm_eps, original.norm_eps);
            assert_eq!(model::family::slots(config), model::family::slots(&original));
            assert_eq!(config.attention_scales, original.attention_scales);
            assert_eq!(config.activation, original.activation);
            assert_eq!(config.eos_token_ids(), [2]);
        }
    }
}

fn gguf_with(changes: &[(&str, containers::Value)]) -> model::Result<ModelConfig> {
    use containers::TensorSource;
    let file = containers::GgufFile::open(data("gguf/llama_gqa.gguf")).unwrap();
    let mut metadata = containers::Metadata::new();
    for (key, value) in file.metadata().iter().filter(|(k, _)| !k.starts_with("tokenizer.")) {
        metadata.insert(key, value.clone());
    }
    for (key, value) in changes {
        metadata.insert(*key, value.clone());
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("changed.gguf");
    let views = file.names();
    let tensors = views.iter().map(|n| containers::save::LazyTensor::copy(file.tensor(n).unwrap()));
    containers::save::write_gguf(&path, &metadata, tensors).unwrap();
    ModelConfig::from_gguf(&containers::GgufFile::open(&path).unwrap())
}

#[test]
fn gguf_keys_that_change_the_arithmetic() {
    use containers::Value::*;
    let yarn = [
        ("llama.rope.scaling.type", String("yarn".into())),
        ("llama.rope.scaling.factor", F32(4.0)),
        ("llama.rope.scaling.original_context_length", U32(16)),
    ];
    let config = gguf_with(&yarn).unwrap();
    assert!(matches!(config.rope.as_ref().unwrap().scaling, RopeScaling::Yarn { factor: 4.0, original: 16, .. }));
    let again = ModelConfig::from_config_json(&config.to_config_json("float32"), "x").unwrap();
    assert_eq!(again.rope, config.rope);
    let linear = gguf_with(&[("llama.rope.scale_linear", F32(2.0))]).unwrap();
    assert_eq!(linear.rope.unwrap().scaling, RopeScaling::Linear { factor: 2.0 });
    let window = gguf_with(&[("llama.attention.sliding_window", U32(8))]).unwrap();
    assert_eq!((window.family.model_type, window.windows[1]), ("mistral", Some(8)));

    let refused = |key: &str, value: containers::Value| gguf_with(&[(key, value)]).unwrap_err().to_string();
    assert!(refused("llama.logit_scale", F32(0.5)).contains("llama.logit_scale = 0.5 is not supported"));
    assert!(refused("llama.expert_count", U32(8)).contains("dense"));
    assert!(refused("llama.rope.dimension_count", U32(4)).contains("rope.dimension_count"));
    assert!(refused("llama.rope.scaling.type", String("longrope".into())).contains("none, linear, yarn"));
    assert!(refused("general.architecture", String("rwkv6".into())).contains("llama, qwen2, stablelm, gpt2"));
    assert!(refused("llama.block_count", U32(0)).contains("llama.block_count: must not be zero"));
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (0u64..70).prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-z_0-9]{0,8}".prop_map(Value::from),
            prop::collection::vec(0u64..5, 0..4).prop_map(Value::from),
        ]
    }

    fn object(keys: &'static [&'static str]) -> impl Strategy<Value = Value> {
        prop::collection::vec((prop::sample::select(keys), value()), 0..4)
            .prop_map(|list| Value::Object(list.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()))
    }

    const FIELDS: &[&str] = &[
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "max_position_embeddings",
        "rms_norm_eps",
        "hidden_act",
        "rope_theta",
        "sliding_window",
        "layer_types",
        "tie_word_embeddings",
        "n_embd",
        "n_head",
        "n_layer",
        "n_inner",
        "n_positions",
        "partial_rotary_factor",
        "architectures",
        "use_sliding_window",
        "max_window_layers",
        "embd_pdrop",
    ];
    const ROPE: &[&str] = &[
        "factor",
        "rope_theta",
        "original_max_position_embeddings",
        "attention_factor",
        "beta_fast",
        "beta_slow",
        "low_freq_factor",
        "high_freq_factor",
        "short_factor",
        "long_factor",
        "truncate",
        "partial_rotary_factor",
    ];

    proptest! {
        /// Whatever stands in the fields: an error or a configuration whose tensors can be listed, never a panic or an
        /// allocation by the file's word.
        #[test]
        fn any_configuration_is_read_or_refused(
            family in prop::sample::select(&["llama", "mistral", "qwen2", "stablelm", "gpt2"][..]),
            changes in object(FIELDS),
            rope in object(ROPE),
            kind in prop::sample::select(&["default", "linear", "dynamic", "yarn", "llama3", "longrope"][..]),
        ) {
            let mut json = llama(changes);
            json["model_type"] = json!(family);
            if family != "llama" && json["architectures"][0] == "LlamaForCausalLM" {
                json["architectures"] = Value::Null;
            }
            json["rope_parameters"] = rope;
            json["rope_parameters"]["rope_type"] = json!(kind);
            if let Ok(config) = ModelConfig::from_config_json(&json, "config.json") {
                prop_assert!(!model::family::slots(&config).is_empty());
                prop_assert!(config.parameters() > 0);
                if let Some(rope) = &config.rope {
                    prop_assert_eq!(rope.frequencies(1).0.len(), rope.rotary_dims / 2);
                }
                let again = ModelConfig::from_config_json(&config.to_config_json("float32"), "x").unwrap();
                prop_assert_eq!(model::family::slots(&again), model::family::slots(&config));
            }
        }
    }
}
