//! `config.json`.

use super::fields::Fields;
use super::{Dropouts, ModelConfig};
use crate::error::{ModelError, Result};
use crate::family::Family;
use crate::rope::{RopeConfig, RopeScaling};
use engine::Activation;
use serde_json::{Map, Value, json};

/// Fields of any family that change the arithmetic when they differ from these neutral values. Absent and null are
/// neutral too. They occur in relatives that share a `model_type` or were edited by hand.
fn neutral_fields() -> Vec<(&'static str, Vec<Value>, &'static str)> {
    let off = || vec![json!(false)];
    let one = || vec![json!(1), json!(1.0)];
    vec![
        ("quantization_config", vec![], "load the unquantised weights, or a GGUF file"),
        ("rope_interleaved", off(), "only the half-split layout of Hugging Face's Llama is read"),
        ("add_cross_attention", off(), "decoders without an encoder"),
        ("is_encoder_decoder", off(), "decoders without an encoder"),
        ("use_parallel_residual", off(), "attention and MLP one after the other"),
        ("qk_layernorm", off(), "attention without normalised queries and keys"),
        ("use_qk_norm", off(), "attention without normalised queries and keys"),
        ("num_experts", vec![json!(0), json!(1)], "dense models"),
        ("num_local_experts", vec![json!(0), json!(1)], "dense models"),
        ("attn_logit_softcapping", vec![], "plain attention scores"),
        ("final_logit_softcapping", vec![], "plain logits"),
        ("logit_scale", one(), "plain logits"),
        ("logits_scaling", one(), "plain logits"),
        ("embedding_multiplier", one(), "plain embeddings"),
        ("residual_multiplier", one(), "plain residuals"),
        ("attention_multiplier", vec![], "scores scaled by 1/sqrt(head_dim)"),
        ("query_pre_attn_scalar", vec![], "scores scaled by 1/sqrt(head_dim)"),
        ("clip_qkv", vec![], "unclipped projections"),
        ("no_rope_layers", vec![json!([])], "rotary positions in every layer"),
        ("no_rope_layer_interval", vec![json!(0)], "rotary positions in every layer"),
        ("attention_chunk_size", vec![], "full or sliding attention"),
        ("use_mrope", off(), "one position per token"),
        ("scale_embedding", off(), "plain embeddings"),
    ]
}

impl ModelConfig {
    /// Reads the content of a `config.json`; `file` names it in errors.
    ///
    /// # Errors
    /// If a field is missing or has an impossible value, or asks for arithmetic that is not implemented.
    pub fn from_config_json(config: &Value, file: &str) -> Result<Self> {
        let map = config.as_object().ok_or_else(|| ModelError::config(file, "(top level)", "a JSON object is expected"))?;
        let f = Fields { file, prefix: "", map };
        let model_type = f.str("model_type")?.ok_or_else(|| f.error("model_type", "the field is missing"))?;
        let family =
            Family::by_model_type(model_type).ok_or_else(|| f.unsupported("model_type", &json!(model_type), Family::supported()))?;
        if let Some(Value::Array(list)) = f.get("architectures") {
            // a classifier or reward model under the same model_type has another head
            if !list.is_empty() && !list.iter().any(|a| a == family.architecture) {
                return Err(f.unsupported("architectures", &Value::Array(list.clone()), family.architecture));
            }
        }
        for (field, neutral, supported) in neutral_fields() {
            if let Some(value) = f.get(field)
                && !neutral.contains(value)
            {
                return Err(f.unsupported(field, value, supported));
            }
        }
        let config = match model_type {
            "gpt2" => gpt2(f, family)?,
            _ => llama_like(f, family)?,
        };
        config.check(&f)?;
        Ok(config)
    }

    /// Relations between the sizes.
    fn check(&self, f: &Fields) -> Result<()> {
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(f.error("num_key_value_heads", format!("{} does not divide the {} attention heads", self.kv_heads, self.heads)));
        }
        if let Some(rope) = &self.rope
            && (!rope.rotary_dims.is_multiple_of(2) || rope.rotary_dims == 0 || rope.rotary_dims > self.head_dim)
        {
            return Err(f.error(
                "head_dim",
                format!("{} of {} elements would be rotated; an even number is needed", rope.rotary_dims, self.head_dim),
            ));
        }
        Ok(())
    }
}

fn activation(f: &Fields, field: &str, default: &str) -> Result<Activation> {
    let name = f.str(field)?.unwrap_or(default);
    Ok(match name {
        "silu" | "swish" => Activation::Silu,
        "gelu" => Activation::Gelu,
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Activation::GeluTanh,
        "relu" => Activation::Relu,
        _ => {
            let known = "silu, gelu, gelu_new, gelu_pytorch_tanh, relu";
            return Err(f.unsupported(field, &json!(name), known));
        }
    })
}

/// `1/√head_dim`, rounded once as torch rounds it.
fn scale(head_dim: usize) -> f32 {
    (head_dim as f64).powf(-0.5) as f32
}

/// Llama and the families that share its module names.
fn llama_like(f: Fields, family: &'static Family) -> Result<ModelConfig> {
    let hidden_size = f.size("hidden_size")?;
    let heads = f.size("num_attention_heads")?;
    let layers = f.layers("num_hidden_layers")?;
    let max_positions = f.size_or("max_position_embeddings", 2048)?;
    let head_dim = match f.usize("head_dim")? {
        // stablelm computes it, whatever the file says
        Some(_) if family.model_type != "stablelm" => f.size("head_dim")?,
        _ if hidden_size.is_multiple_of(heads) => hidden_size / heads,
        _ => {
            let reason = format!("{heads} heads do not divide hidden_size {hidden_size}, and there is no head_dim");
            return Err(f.error("num_attention_heads", reason));
        }
    };
    let (qkv_bias, output_bias, mlp_bias) = match family.model_type {
        "llama" => {
            let attention = f.bool_or("attention_bias", false)?;
            (attention, attention, f.bool_or("mlp_bias", false)?)
        }
        "qwen2" => (true, false, false),
        "stablelm" => (f.bool_or("use_qkv_bias", false)?, false, false),
        _ => (false, false, false),
    };
    let (eps_field, eps_default) = if family.layer_norm { ("layer_norm_eps", 1e-5) } else { ("rms_norm_eps", 1e-6) };
    let dropout = Dropouts {
        embedding: 0.0,
        // stablelm: on the MLP only; refused below
        residual: 0.0,
        attention: f.f64_or("attention_dropout", 0.0)? as f32,
    };
    if let Some(value) = f.get("hidden_dropout")
        && value.as_f64() != Some(0.0)
    {
        return Err(f.unsupported("hidden_dropout", value, "0.0"));
    }
    Ok(ModelConfig {
        family,
        vocab_size: f.size("vocab_size")?,
        hidden_size,
        intermediate_size: f.size("intermediate_size")?,
        layers,
        heads,
        kv_heads: f.size_or("num_key_value_heads", heads)?,
        head_dim,
        max_positions,
        norm_eps: f.f64_or(eps_field, eps_default)? as f32,
        activation: activation(&f, "hidden_act", "silu")?,
        rope: Some(rope(&f, family, head_dim, max_positions)?),
        qkv_bias,
        output_bias,
        mlp_bias,
        tied: f.bool_or("tie_word_embeddings", false)?,
        windows: windows(&f, family, layers)?,
        attention_scales: vec![scale(head_dim); layers],
        dropout,
        raw: f.map.clone(),
    })
}

/// The sliding window of each layer.
fn windows(f: &Fields, family: &Family, layers: usize) -> Result<Vec<Option<usize>>> {
    let window = match family.model_type {
        "mistral" => f.usize("sliding_window")?,
        "qwen2" if f.bool_or("use_sliding_window", false)? => f.usize("sliding_window")?,
        "qwen2" => None,
        _ => match f.get("sliding_window") {
            None => None,
            Some(value) => {
                return Err(f.unsupported("sliding_window", value, "null for this model_type (mistral and qwen2 have one)"));
            }
        },
    };
    if window == Some(0) {
        return Err(f.error("sliding_window", "must not be zero"));
    }
    if let Some(types) = f.get("layer_types") {
        let types = types
            .as_array()
            .filter(|t| t.len() == layers)
            .ok_or_else(|| f.error("layer_types", format!("a list of {layers} entries is expected, one for each layer")))?;
        return types
            .iter()
            .map(|kind| match kind.as_str() {
                Some("full_attention") => Ok(None),
                Some("sliding_attention") if window.is_some() => Ok(window),
                _ => Err(f.unsupported("layer_types", kind, "full_attention, or sliding_attention with a sliding_window")),
            })
            .collect();
    }
    let first = if family.model_type == "qwen2" { f.usize("max_window_layers")?.unwrap_or(28) } else { 0 };
    Ok((0..layers).map(|i| window.filter(|_| i >= first)).collect())
}

/// Rotary embeddings from `rope_parameters` (transformers 5) or `rope_theta` and `rope_scaling` (4).
fn rope(f: &Fields, family: &Family, head_dim: usize, max_positions: usize) -> Result<RopeConfig> {
    let empty = Map::new();
    let (name, map) = match (f.object("rope_parameters")?, f.object("rope_scaling")?) {
        (Some(map), _) => ("rope_parameters.", map),
        (None, Some(map)) => ("rope_scaling.", map),
        (None, None) => ("rope_parameters.", &empty),
    };
    let r = Fields { file: f.file, prefix: name, map };
    if let Some((key, nested)) = map.iter().find(|(_, v)| v.is_object()) {
        return Err(r.unsupported(key, nested, "the same rotary embedding in every layer"));
    }
    let theta = match r.f64("rope_theta")? {
        Some(theta) => theta,
        None => f.f64_or("rope_theta", 10_000.0)?,
    };
    if theta <= 1.0 {
        return Err(r.error("rope_theta", format!("a base above 1 is expected, found {theta}")));
    }
    let partial = match r.f64("partial_rotary_factor")? {
        Some(p) => p,
        None => f.f64_or("partial_rotary_factor", if family.model_type == "stablelm" { 0.25 } else { 1.0 })?,
    };
    if partial != 1.0 && family.model_type != "stablelm" {
        return Err(r.unsupported("partial_rotary_factor", &json!(partial), "1.0 for this model_type"));
    }
    let rotary_dims = (head_dim as f64 * partial) as usize;
    let original = || -> Result<usize> {
        match f.usize("original_max_position_embeddings")? {
            Some(n) => Ok(n),
            None => r.size_or("original_max_position_embeddings", max_positions),
        }
    };
    let factor = || -> Result<f64> {
        let factor = r.number("factor")?;
        if factor < 1.0 { Err(r.error("factor", format!("at least 1 is expected, found {factor}"))) } else { Ok(factor) }
    };
    let kind = match r.str("rope_type")? {
        Some(kind) => kind,
        None => r.str("type")?.unwrap_or("default"),
    };
    let known: &[&str] = match kind {
        "default" => &[],
        "linear" | "dynamic" => &["factor"],
        "yarn" => &[
            "factor",
            "attention_factor",
            "beta_fast",
            "beta_slow",
            "mscale",
            "mscale_all_dim",
            "truncate",
            "original_max_position_embeddings",
        ],
        "llama3" => &["factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"],
        "longrope" | "su" => &["factor", "attention_factor", "short_factor", "long_factor", "original_max_position_embeddings"],
        _ => {
            let supported = "default, linear, dynamic, yarn, llama3, longrope";
            return Err(r.unsupported("rope_type", &json!(kind), supported));
        }
    };
    let common = ["rope_type", "type", "rope_theta", "partial_rotary_factor", "original_max_position_embeddings"];
    for (key, value) in map {
        if !value.is_null() && !common.contains(&key.as_str()) && !known.contains(&key.as_str()) {
            return Err(r.unsupported(key, value, format!("rope_type {kind} has no such setting")));
        }
    }
    let scaling = match kind {
        "linear" => RopeScaling::Linear { factor: factor()? },
        "dynamic" if rotary_dims <= 2 => {
            return Err(r.error("rope_type", "dynamic scaling needs more than two rotated elements"));
        }
        "dynamic" => RopeScaling::Dynamic { factor: factor()? },
        "yarn" => RopeScaling::Yarn {
            factor: match r.get("factor") {
                Some(_) => factor()?,
                None => max_positions as f64 / original()? as f64,
            },
            original: original()?,
            attention_factor: r.f64("attention_factor")?,
            beta_fast: r.f64("beta_fast")?.filter(|b| *b != 0.0).unwrap_or(32.0),
            beta_slow: r.f64("beta_slow")?.filter(|b| *b != 0.0).unwrap_or(1.0),
            mscale: r.f64("mscale")?,
            mscale_all_dim: r.f64("mscale_all_dim")?,
            truncate: r.bool_or("truncate", true)?,
        },
        "llama3" => {
            let (low, high) = (r.number("low_freq_factor")?, r.number("high_freq_factor")?);
            if high <= low || low <= 0.0 {
                return Err(r.error("high_freq_factor", format!("must be above low_freq_factor {low}, found {high}")));
            }
            RopeScaling::Llama3 { factor: factor()?, low, high, original: original()? }
        }
        "longrope" | "su" => {
            let (short, long) = (r.numbers("short_factor")?, r.numbers("long_factor")?);
            for (field, list) in [("short_factor", &short), ("long_factor", &long)] {
                if list.len() != rotary_dims / 2 {
                    let reason = format!("{} entries are expected, found {}", rotary_dims / 2, list.len());
                    return Err(r.error(field, reason));
                }
            }
            let original = original()?;
            let factor = r.f64_or("factor", max_positions as f64 / original as f64)?;
            let attention_factor = r
                .f64("attention_factor")?
                .unwrap_or_else(|| if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / (original as f64).ln()).sqrt() });
            RopeScaling::LongRope { short, long, original, attention_factor }
        }
        _ => RopeScaling::None,
    };
    Ok(RopeConfig { theta, rotary_dims, scaling, max_positions })
}

fn gpt2(f: Fields, family: &'static Family) -> Result<ModelConfig> {
    // the attribute map of transformers' GPT2Config: either name may be in the file
    let size = |name: &str, alias: &str, default: usize| -> Result<usize> {
        if f.get(name).is_none() && f.get(alias).is_some() { f.size(alias) } else { f.size_or(name, default) }
    };
    let hidden_size = size("n_embd", "hidden_size", 768)?;
    let heads = size("n_head", "num_attention_heads", 12)?;
    let layers = match ["n_layer", "num_hidden_layers"].iter().find(|name| f.get(name).is_some()) {
        Some(name) => f.layers(name)?,
        None => 12,
    };
    if !hidden_size.is_multiple_of(heads) {
        return Err(f.error("n_head", format!("{heads} heads do not divide n_embd {hidden_size}")));
    }
    let head_dim = hidden_size / heads;
    let base = if f.bool_or("scale_attn_weights", true)? { scale(head_dim) } else { 1.0 };
    let by_layer = f.bool_or("scale_attn_by_inverse_layer_idx", false)?;
    // `reorder_and_upcast_attn` changes the order of operations in half precision, nothing in f32
    Ok(ModelConfig {
        family,
        vocab_size: f.size_or("vocab_size", 50257)?,
        hidden_size,
        intermediate_size: f.size_or("n_inner", 4 * hidden_size)?,
        layers,
        heads,
        kv_heads: heads,
        head_dim,
        max_positions: size("n_positions", "max_position_embeddings", 1024)?,
        norm_eps: f.f64_or("layer_norm_epsilon", 1e-5)? as f32,
        activation: activation(&f, "activation_function", "gelu_new")?,
        rope: None,
        qkv_bias: true,
        output_bias: true,
        mlp_bias: true,
        tied: f.bool_or("tie_word_embeddings", true)?,
        windows: vec![None; layers],
        attention_scales: (0..layers).map(|i| if by_layer { base / (i + 1) as f32 } else { base }).collect(),
        dropout: Dropouts {
            embedding: f.f64_or("embd_pdrop", 0.1)? as f32,
            residual: f.f64_or("resid_pdrop", 0.1)? as f32,
            attention: f.f64_or("attn_pdrop", 0.1)? as f32,
        },
        raw: f.map.clone(),
    })
}
