//! The shape and arithmetic of a model, read from `config.json` or from GGUF metadata.
//!
//! A configuration is resolved once, here; nothing later looks at a field name. Whatever would change the arithmetic and is not
//! implemented is refused by name.

mod fields;
mod gguf;
mod hf;

use crate::family::Family;
use crate::rope::{RopeConfig, RopeScaling};
use engine::Activation;
use serde_json::{Map, Value, json};

/// No size of a model is larger. A damaged or hostile file must not make anybody allocate by its word; products of two such
/// sizes fit 64 bits.
const MAX_SIZE: usize = 1 << 28;
/// No model has more layers.
const MAX_LAYERS: usize = 1 << 14;

/// Dropout probabilities that a model's own configuration asks for in training.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Dropouts {
    /// After the embeddings.
    pub embedding: f32,
    /// On what attention and MLP add to the residual stream.
    pub residual: f32,
    /// On attention probabilities. Not computed: the fused attention has no place for it; see [`ModelConfig::notes`].
    pub attention: f32,
}

/// A resolved model configuration.
#[derive(Clone, Debug)]
pub struct ModelConfig {
    /// Which family.
    pub family: &'static Family,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Number of layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key/value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head (need not be `hidden_size / heads`).
    pub head_dim: usize,
    /// Context length; with learned positions a hard limit.
    pub max_positions: usize,
    /// Epsilon of every normalisation.
    pub norm_eps: f32,
    /// Activation of the MLP.
    pub activation: Activation,
    /// Rotary embeddings; `None` means learned positions.
    pub rope: Option<RopeConfig>,
    /// Biases of queries, keys, values.
    pub qkv_bias: bool,
    /// Bias of the attention output.
    pub output_bias: bool,
    /// Biases of the MLP.
    pub mlp_bias: bool,
    /// The head is the embedding.
    pub tied: bool,
    /// Sliding window of each layer.
    pub windows: Vec<Option<usize>>,
    /// Score multiplier of each layer.
    pub attention_scales: Vec<f32>,
    /// Dropout in training.
    pub dropout: Dropouts,
    /// The file's own fields, kept so that saving loses none; empty for GGUF.
    raw: Map<String, Value>,
}

impl ModelConfig {
    /// Width of keys and of values, as [`engine::KvCache::new`] wants it.
    pub fn kv_dim(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Number of parameters (a tied matrix counts once).
    pub fn parameters(&self) -> usize {
        crate::family::slots(self).iter().map(|s| s.numel()).sum()
    }

    /// What a user should know about settings that are read but have no effect here.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.dropout.attention > 0.0 {
            notes.push(format!(
                "the model's configuration asks for a dropout of {} on attention probabilities in training; it is not applied",
                self.dropout.attention
            ));
        }
        notes
    }

    /// Token ids that the configuration names as end of text.
    pub fn eos_token_ids(&self) -> Vec<u32> {
        match self.raw.get("eos_token_id") {
            Some(Value::Number(n)) => n.as_u64().map(|n| n as u32).into_iter().collect(),
            Some(Value::Array(list)) => list.iter().filter_map(|v| v.as_u64()).map(|n| n as u32).collect(),
            _ => Vec::new(),
        }
    }

    /// `config.json` for a model saved in `dtype` (`"float32"`, `"bfloat16"`, `"float16"`): the fields that were read
    /// (unknown ones included) with what has changed since, or, for a model from GGUF, the complete set that
    /// transformers needs (version 4 or 5).
    pub fn to_config_json(&self, dtype: &str) -> Value {
        let mut map = if self.raw.contains_key("model_type") { self.raw.clone() } else { self.synthesised() };
        map.insert("architectures".into(), json!([self.family.architecture]));
        map.insert("vocab_size".into(), json!(self.vocab_size));
        map.insert("tie_word_embeddings".into(), json!(self.tied));
        // `dtype` is read by version 5 only, this name by both
        map.remove("dtype");
        map.insert("torch_dtype".into(), json!(dtype));
        map.remove("_name_or_path");
        Value::Object(map)
    }

    /// Fields of a Hugging Face configuration written from the resolved values.
    fn synthesised(&self) -> Map<String, Value> {
        let mut map = self.raw.clone();
        let mut put = |key: &str, value: Value| {
            map.insert(key.into(), value);
        };
        put("model_type", json!(self.family.model_type));
        let activation = match self.activation {
            Activation::Silu => "silu",
            Activation::Gelu => "gelu",
            Activation::GeluTanh => "gelu_new",
            Activation::Relu => "relu",
        };
        if self.family.model_type == "gpt2" {
            put("activation_function", json!(activation));
            put("n_embd", json!(self.hidden_size));
            put("n_layer", json!(self.layers));
            put("n_head", json!(self.heads));
            put("n_positions", json!(self.max_positions));
            put("n_inner", json!(self.intermediate_size));
            put("layer_norm_epsilon", json!(shortest(self.norm_eps)));
            return map;
        }
        put("hidden_act", json!(activation));
        put("hidden_size", json!(self.hidden_size));
        put("intermediate_size", json!(self.intermediate_size));
        put("num_hidden_layers", json!(self.layers));
        put("num_attention_heads", json!(self.heads));
        put("num_key_value_heads", json!(self.kv_heads));
        put("max_position_embeddings", json!(self.max_positions));
        let eps = if self.family.layer_norm { "layer_norm_eps" } else { "rms_norm_eps" };
        put(eps, json!(shortest(self.norm_eps)));
        match self.family.model_type {
            "llama" => {
                put("head_dim", json!(self.head_dim));
                put("attention_bias", json!(self.qkv_bias));
                put("mlp_bias", json!(self.mlp_bias));
            }
            "mistral" => {
                put("head_dim", json!(self.head_dim));
                put("sliding_window", json!(self.windows.first().copied().flatten()));
            }
            "stablelm" => put("use_qkv_bias", json!(self.qkv_bias)),
            _ => {}
        }
        if let Some(rope) = &self.rope {
            put("rope_theta", json!(rope.theta));
            if rope.rotary_dims != self.head_dim {
                put("partial_rotary_factor", json!(rope.rotary_dims as f64 / self.head_dim as f64));
            }
            if let Some(scaling) = rope_scaling_json(&rope.scaling) {
                put("rope_scaling", scaling);
            }
        }
        map
    }
}

/// The f64 that prints as the f32 does (1e-5, not 9.999999747378752e-6).
fn shortest(x: f32) -> f64 {
    x.to_string().parse().unwrap_or(x as f64)
}

fn rope_scaling_json(scaling: &RopeScaling) -> Option<Value> {
    Some(match scaling {
        RopeScaling::None => return None,
        RopeScaling::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
        RopeScaling::Dynamic { factor } => json!({"rope_type": "dynamic", "factor": factor}),
        RopeScaling::Yarn { factor, original, attention_factor, beta_fast, beta_slow, mscale, mscale_all_dim, truncate } => {
            let mut map = Map::new();
            map.insert("rope_type".into(), json!("yarn"));
            map.insert("factor".into(), json!(factor));
            map.insert("original_max_position_embeddings".into(), json!(original));
            map.insert("beta_fast".into(), json!(beta_fast));
            map.insert("beta_slow".into(), json!(beta_slow));
            let optional = [("attention_factor", attention_factor), ("mscale", mscale), ("mscale_all_dim", mscale_all_dim)];
            for (key, value) in optional {
                if let Some(value) = value {
                    map.insert(key.into(), json!(value));
                }
            }
            if !truncate {
                map.insert("truncate".into(), json!(false));
            }
            Value::Object(map)
        }
        RopeScaling::Llama3 { factor, low, high, original } => json!({
            "rope_type": "llama3", "factor": factor, "low_freq_factor": low, "high_freq_factor": high,
            "original_max_position_embeddings": original,
        }),
        RopeScaling::LongRope { short, long, original, attention_factor } => json!({
            "rope_type": "longrope", "short_factor": short, "long_factor": long,
            "original_max_position_embeddings": original, "attention_factor": attention_factor,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every kind of scaling, and every family, is written so that it is read back as the same.
    #[test]
    fn synthesised_configurations_are_read_back() {
        let kinds = [
            json!({"rope_type": "linear", "factor": 3.0}),
            json!({"rope_type": "dynamic", "factor": 2.0}),
            json!({"rope_type": "longrope", "short_factor": ([1.0; 8]), "long_factor": ([2.0; 8]),
                   "original_max_position_embeddings": 64}),
            json!({"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 32, "mscale": 0.8,
                   "mscale_all_dim": 0.5, "truncate": false}),
            json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                   "original_max_position_embeddings": 64}),
        ];
        for family in &crate::family::FAMILIES {
            for kind in &kinds {
                let json = json!({
                    "model_type": family.model_type, "vocab_size": 9, "hidden_size": 64, "intermediate_size": 48,
                    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "n_embd": 64, "n_head": 4,
                    "n_layer": 2, "n_positions": 77, "n_inner": 99, "max_position_embeddings": 256, "rope_theta": 77.0,
                    "rope_scaling": kind, "rms_norm_eps": 3e-5, "layer_norm_eps": 3e-5, "attention_bias": true,
                    "mlp_bias": true, "use_qkv_bias": true, "partial_rotary_factor": if family.model_type == "stablelm" { 0.5 } else { 1.0 },
                    "tie_word_embeddings": true,
                });
                let mut json = json;
                if family.model_type == "stablelm" && kind["rope_type"] == "longrope" {
                    json["rope_scaling"]["short_factor"] = json!([1.0; 4].to_vec());
                    json["rope_scaling"]["long_factor"] = json!([2.0; 4].to_vec());
                }
                let read = |json: &Value| ModelConfig::from_config_json(json, "config.json").expect("a valid configuration");
                let config = read(&json);
                let mut bare = config.clone();
                bare.raw.clear();
                let again = read(&bare.to_config_json("float32"));
                let shown = |mut c: ModelConfig| {
                    c.raw.clear();
                    // dropout is not written: GGUF, for which this is, has none
                    c.dropout = Dropouts::default();
                    format!("{c:?}")
                };
                assert_eq!(shown(again), shown(config), "{family:?} {kind}");
            }
        }
    }
}
