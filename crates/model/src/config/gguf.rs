//! GGUF metadata.
//!
//! llama.cpp's keys say less than a `config.json`: whether there are biases or a separate head is told by the tensors, and
//! Llama 3's rope scaling only by a tensor of divisors, from which its four numbers are recovered here (the merged
//! model's `config.json` needs them).

use super::{Dropouts, ModelConfig};
use crate::error::{ModelError, Result};
use crate::family::Family;
use crate::rope::{RopeConfig, RopeScaling};
use containers::{GgufFile, TensorSource, Value as GgufValue};
use engine::Activation;
use serde_json::{Map, json};

/// Keys under the architecture's name that are read below, or that change nothing.
const KNOWN: &[&str] = &[
    "context_length",
    "embedding_length",
    "block_count",
    "feed_forward_length",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.layer_norm_rms_epsilon",
    "attention.layer_norm_epsilon",
    "attention.key_length",
    "attention.value_length",
    "attention.sliding_window",
    "attention.causal",
    "rope.freq_base",
    "rope.dimension_count",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.attn_factor",
    "rope.scaling.finetuned",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "rope.scale_linear",
    "vocab_size",
    "expert_count",
    "expert_used_count",
    "tensor_data_layout",
    // what decides is whether the second normalisation's tensors are there
    "use_parallel_residual",
];

struct Keys<'a> {
    file: &'a GgufFile,
    name: String,
    arch: &'a str,
}

impl Keys<'_> {
    fn key(&self, field: &str) -> String {
        format!("{}.{field}", self.arch)
    }

    fn error(&self, field: &str, reason: impl Into<String>) -> ModelError {
        ModelError::config(&self.name, self.key(field), reason)
    }

    fn unsupported(&self, key: &str, value: impl std::fmt::Display, supported: &str) -> ModelError {
        ModelError::Unsupported { file: self.name.clone(), field: key.into(), value: value.to_string(), supported: supported.into() }
    }

    fn usize(&self, field: &str) -> Result<Option<usize>> {
        let key = self.key(field);
        match self.file.metadata().get(&key) {
            None => Ok(None),
            // some converters write one entry for each layer
            Some(GgufValue::Array(list)) => {
                let list = list.integers().unwrap_or_default();
                match list.first() {
                    Some(&first) if first >= 0 && list.iter().all(|n| *n == first) => Ok(Some(first as usize)),
                    _ => Err(self.unsupported(&key, "a list of different values", "the same value in every layer")),
                }
            }
            Some(value) => {
                let n = value.as_u64().ok_or_else(|| self.error(field, "a whole number is expected"))?;
                Ok(Some(n as usize))
            }
        }
    }

    fn size(&self, field: &str) -> Result<usize> {
        match self.usize(field)? {
            None => Err(self.error(field, "the key is missing")),
            Some(0) => Err(self.error(field, "must not be zero")),
            Some(n) if n > super::MAX_SIZE => Err(self.error(field, format!("{n} is more than any model has"))),
            Some(n) => Ok(n),
        }
    }

    fn size_or(&self, field: &str, default: usize) -> Result<usize> {
        if self.file.metadata().contains(&self.key(field)) { self.size(field) } else { Ok(default) }
    }

    fn f64(&self, field: &str) -> Result<Option<f64>> {
        self.file
            .metadata()
            .get(&self.key(field))
            .map(|v| v.as_f64().filter(|f| f.is_finite()).ok_or_else(|| self.error(field, "a number is expected")))
            .transpose()
    }

    fn has(&self, tensor: &str) -> bool {
        self.file.tensor(tensor).is_some()
    }
}

impl ModelConfig {
    /// Reads the configuration of a GGUF file.
    ///
    /// # Errors
    /// If a key is missing, has an impossible value, or asks for arithmetic that is not implemented.
    pub fn from_gguf(file: &GgufFile) -> Result<Self> {
        let name = file.path().display().to_string();
        let arch = file.architecture().ok_or_else(|| ModelError::config(&name, "general.architecture", "the key is missing"))?;
        let k = Keys { file, name, arch };
        let mut family = Family::by_gguf(arch).ok_or_else(|| {
            let known = crate::family::FAMILIES.iter().map(|f| f.gguf).collect::<Vec<_>>();
            let mut known = known;
            known.dedup();
            k.unsupported("general.architecture", arch, &known.join(", "))
        })?;
        let prefix = format!("{arch}.");
        for (key, value) in file.metadata().iter() {
            if let Some(field) = key.strip_prefix(&prefix)
                && !KNOWN.contains(&field)
            {
                let shown = value.as_f64().map_or_else(|| value.type_name().to_owned(), |v| v.to_string());
                return Err(k.unsupported(key, shown, "a model whose arithmetic does not need this key"));
            }
        }
        if let Some(n) = k.usize("expert_count")?.filter(|n| *n > 1) {
            return Err(k.unsupported(&k.key("expert_count"), n, "dense models"));
        }
        if file.metadata().bool(&k.key("attention.causal")) == Some(false) {
            return Err(k.unsupported(&k.key("attention.causal"), "false", "causal decoders"));
        }

        let hidden_size = k.size("embedding_length")?;
        let heads = k.size("attention.head_count")?;
        let kv_heads = k.size_or("attention.head_count_kv", heads)?;
        if !heads.is_multiple_of(kv_heads) {
            return Err(k.error("attention.head_count_kv", format!("{kv_heads} does not divide {heads} heads")));
        }
        let head_dim = match k.usize("attention.key_length")? {
            Some(n) if n > 0 => k.size("attention.key_length")?.min(n),
            _ if hidden_size.is_multiple_of(heads) => hidden_size / heads,
            _ => return Err(k.error("attention.head_count", format!("{heads} does not divide {hidden_size}"))),
        };
        if let Some(n) = k.usize("attention.value_length")?.filter(|n| *n != head_dim) {
            return Err(k.unsupported(&k.key("attention.value_length"), n, "values as wide as keys"));
        }
        let layers = k.size("block_count")?;
        if layers > super::MAX_LAYERS {
            return Err(k.error("block_count", format!("{layers} is more than any model has")));
        }
        let max_positions = k.size("context_length")?;
        let window = k.usize("attention.sliding_window")?.filter(|n| *n > 0);
        if let Some(n) = window {
            match family.model_type {
                // the same architecture to llama.cpp
                "llama" | "mistral" => family = Family::by_model_type("mistral").unwrap_or(family),
                _ => return Err(k.unsupported(&k.key("attention.sliding_window"), n, "0 for this architecture")),
            }
        }
        let embedding = file.tensor("token_embd.weight").ok_or_else(|| ModelError::Missing {
            file: k.name.clone(),
            expected: 1,
            names: vec!["token_embd.weight".into()],
        })?;
        let (vocab_size, _) = embedding.rows_cols();
        let learned = !family.names.positions.is_empty();
        let rope = if learned { None } else { Some(rope(&k, family, head_dim, max_positions)?) };
        let eps_field = if family.layer_norm { "attention.layer_norm_epsilon" } else { "attention.layer_norm_rms_epsilon" };
        let fused = !family.names.fused_qkv.is_empty();
        let mut raw = Map::new();
        for field in ["bos_token_id", "eos_token_id", "padding_token_id"] {
            if let Some(id) = file.metadata().u64(&format!("tokenizer.ggml.{field}")) {
                raw.insert(field.replace("padding", "pad"), json!(id));
            }
        }
        Ok(ModelConfig {
            family,
            vocab_size,
            hidden_size,
            intermediate_size: k.size("feed_forward_length")?,
            layers,
            heads,
            kv_heads,
            head_dim,
            max_positions,
            norm_eps: k.f64(eps_field)?.ok_or_else(|| k.error(eps_field, "the key is missing"))? as f32,
            activation: if family.names.gate.is_empty() { Activation::GeluTanh } else { Activation::Silu },
            rope,
            qkv_bias: k.has(if fused { "blk.0.attn_qkv.bias" } else { "blk.0.attn_q.bias" }),
            output_bias: k.has("blk.0.attn_output.bias"),
            mlp_bias: k.has("blk.0.ffn_down.bias"),
            tied: !k.has("output.weight"),
            windows: vec![window; layers],
            attention_scales: vec![(head_dim as f64).powf(-0.5) as f32; layers],
            // GGUF does not carry dropout: it is a format for running models
            dropout: Dropouts::default(),
            raw,
        })
    }
}

fn rope(k: &Keys, family: &Family, head_dim: usize, max_positions: usize) -> Result<RopeConfig> {
    let theta = k.f64("rope.freq_base")?.unwrap_or(10_000.0);
    let rotary_dims = k.size_or("rope.dimension_count", head_dim)?;
    if rotary_dims > head_dim || !rotary_dims.is_multiple_of(2) {
        let reason = format!("{rotary_dims} of {head_dim} elements would be rotated");
        return Err(k.error("rope.dimension_count", reason));
    }
    if rotary_dims != head_dim && family.gguf_permutes_qk {
        let supported = "all elements of a head rotated in this architecture";
        return Err(k.unsupported(&k.key("rope.dimension_count"), rotary_dims, supported));
    }
    let original = k.size_or("rope.scaling.original_context_length", max_positions)?;
    let factor = k.f64("rope.scaling.factor")?;
    let kind_key = k.key("rope.scaling.type");
    let scaling = match k.file.metadata().str(&kind_key).unwrap_or("none") {
        // the key of files from before 2024
        "none" => match k.f64("rope.scale_linear")?.or(factor).filter(|f| *f != 1.0 && *f != 0.0) {
            Some(factor) => RopeScaling::Linear { factor },
            None => RopeScaling::None,
        },
        "linear" => RopeScaling::Linear { factor: factor.ok_or_else(|| k.error("rope.scaling.factor", "the key is missing"))? },
        "yarn" => {
            let factor = factor.ok_or_else(|| k.error("rope.scaling.factor", "the key is missing"))?;
            // llama.cpp multiplies the method's own factor by this one
            let extra = k.f64("rope.scaling.attn_factor")?.unwrap_or(1.0);
            let own = if factor > 1.0 { 0.1 * factor.ln() + 1.0 } else { 1.0 };
            RopeScaling::Yarn {
                factor,
                original,
                attention_factor: (extra != 1.0).then_some(extra * own),
                beta_fast: k.f64("rope.scaling.yarn_beta_fast")?.unwrap_or(32.0),
                beta_slow: k.f64("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0),
                mscale: None,
                mscale_all_dim: None,
                truncate: true,
            }
        }
        other => return Err(k.unsupported(&kind_key, other, "none, linear, yarn")),
    };
    for tensor in ["rope_factors_long.weight", "rope_factors_short.weight"] {
        if k.has(tensor) {
            return Err(k.unsupported(tensor, "present", "no LongRoPE in GGUF; load the Hugging Face directory"));
        }
    }
    let plain = RopeConfig { theta, rotary_dims, scaling, max_positions };
    let Some(divisors) = k.file.tensor("rope_freqs.weight") else { return Ok(plain) };
    let divisors = divisors.to_f32().map_err(|e| ModelError::Tensor {
        file: k.name.clone(),
        tensor: "rope_freqs.weight".into(),
        reason: e.to_string(),
    })?;
    llama3_from_divisors(&plain, &divisors).ok_or_else(|| {
        let supported = "divisors of Llama 3's method (low 1, high 4, trained context 8192)";
        k.unsupported("rope_freqs.weight", format!("{} divisors", divisors.len()), supported)
    })
}

/// Finds the Llama 3 settings under which each frequency is the plain one over its divisor.
///
/// Only `factor` differs between the published models (8 and 32): it is the largest divisor. The other three are the same in
/// all of them, and the result is checked against every divisor.
fn llama3_from_divisors(plain: &RopeConfig, divisors: &[f32]) -> Option<RopeConfig> {
    if plain.scaling != RopeScaling::None || divisors.len() != plain.rotary_dims / 2 {
        return None;
    }
    if divisors.iter().all(|d| *d == 1.0) {
        return Some(plain.clone());
    }
    let factor = divisors.iter().copied().fold(1.0f32, f32::max) as f64;
    let scaling = RopeScaling::Llama3 { factor, low: 1.0, high: 4.0, original: 8192 };
    let found = RopeConfig { scaling, ..plain.clone() };
    let (wanted, _) = plain.frequencies(1);
    let (scaled, _) = found.frequencies(1);
    let fits = wanted.iter().zip(&scaled).zip(divisors).all(|((p, s), d)| (p / d - s).abs() <= 1e-4 * s.abs());
    fits.then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama3_settings_are_recovered_from_divisors_and_foreign_ones_refused() {
        let plain = RopeConfig { theta: 500_000.0, rotary_dims: 64, scaling: RopeScaling::None, max_positions: 131_072 };
        let scaling = RopeScaling::Llama3 { factor: 32.0, low: 1.0, high: 4.0, original: 8192 };
        let scaled = RopeConfig { scaling: scaling.clone(), ..plain.clone() };
        let mut divisors: Vec<f32> = plain.frequencies(1).0.iter().zip(scaled.frequencies(1).0).map(|(p, s)| p / s).collect();
        assert_eq!(llama3_from_divisors(&plain, &divisors).map(|c| c.scaling), Some(scaling));
        divisors[10] *= 1.5;
        assert!(llama3_from_divisors(&plain, &divisors).is_none());
    }
}
