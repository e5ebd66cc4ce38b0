//! Models that need no file: well-known shapes with random weights. Speed depends on shapes, not on what the numbers say.

use engine::ComputeDtype;
use engine::rng::Rng;
use model::family::Slot;
use model::{Decoder, ModelConfig};
use rayon::prelude::*;
use serde_json::{Value, json};

use crate::error::{Result, StageError};

/// Every shape that can be asked for by name.
pub const NAMES: [&str; 7] = ["smollm2-135m", "smollm2-360m", "gpt2", "qwen2-0.5b", "llama-1.1b", "qwen2-1.5b", "tiny"];

/// Standard deviation of the weights, as most models are initialised: activations stay in an ordinary range.
const DEVIATION: f32 = 0.02;
/// Weights that one task makes; also the unit of the random stream, so that the number of threads changes nothing.
const CHUNK: usize = 1 << 16;

/// The configuration of a named shape.
pub(super) fn config(name: &str) -> Result<ModelConfig> {
    let llama = |vocab: u32, hidden: u32, inner: u32, layers: u32, heads: (u32, u32), tied: bool| {
        json!({
            "model_type": "llama", "vocab_size": vocab, "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers,
            "num_attention_heads": heads.0, "num_key_value_heads": heads.1, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5,
            "tie_word_embeddings": tied, "rope_theta": 100000.0,
        })
    };
    let qwen2 = |hidden: u32, inner: u32, layers: u32, heads: (u32, u32)| {
        let mut config = llama(151_936, hidden, inner, layers, heads, true);
        config["model_type"] = json!("qwen2");
        config["max_position_embeddings"] = json!(32768);
        config
    };
    let json: Value = match name {
        "smollm2-135m" => llama(49_152, 576, 1536, 30, (9, 3), true),
        "smollm2-360m" => llama(49_152, 960, 2560, 32, (15, 5), true),
        "qwen2-0.5b" => qwen2(896, 4864, 24, (14, 2)),
        "qwen2-1.5b" => qwen2(1536, 8960, 28, (12, 2)),
        "llama-1.1b" => llama(32_000, 2048, 5632, 22, (32, 4), false),
        "tiny" => llama(512, 64, 160, 4, (4, 2), true),
        "gpt2" => json!({
            "model_type": "gpt2", "vocab_size": 50_257, "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024,
            "layer_norm_epsilon": 1e-5, "activation_function": "gelu_new", "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
        }),
        other => {
            return Err(StageError::input_help(
                format!("--arch {other}: there is no such shape"),
                format!("choose one of {}, or time your own model with --model", NAMES.join(", ")),
            ));
        }
    };
    Ok(ModelConfig::from_config_json(&json, name)?)
}

/// A decoder of that shape. Each tensor is brought into its storage as it is made: memory never holds all of them in f32.
pub(super) fn build(name: &str, dtype: ComputeDtype) -> Result<Decoder> {
    let config = config(name)?;
    let mut index = 0;
    let decoder = Decoder::assemble_in(config, dtype, |slot| {
        index += 1;
        Ok(weights(slot, index))
    })?;
    Ok(decoder)
}

/// Random matrices, neutral norms, biases of zero.
fn weights(slot: &Slot, index: u64) -> Vec<f32> {
    let n = slot.numel();
    match (slot.shape.len(), slot.name.ends_with(".bias")) {
        (1, true) => vec![0.0; n],
        (1, false) => vec![1.0; n],
        _ => {
            let mut data = vec![0f32; n];
            // Uniform numbers of that deviation: cheaper than normal ones, and no kernel can tell.
            let reach = DEVIATION * 3f32.sqrt();
            data.par_chunks_mut(CHUNK).enumerate().for_each(|(i, chunk)| {
                let mut rng = Rng::keyed(0, &[index, i as u64]);
                chunk.iter_mut().for_each(|x| *x = (2.0 * rng.uniform() - 1.0) * reach);
            });
            data
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_have_the_sizes_that_they_are_named_after() {
        let millions = |name: &str| config(name).map(|c| c.parameters() / 1_000_000).unwrap_or(0);
        let sizes: Vec<usize> = NAMES.iter().map(|name| millions(name)).collect();
        assert_eq!(sizes, [134, 361, 124, 494, 1100, 1543, 0]);
        let error = config("gpt5").map(|_| ()).unwrap_err();
        assert!(error.help().is_some_and(|help| help.contains("smollm2-135m")), "{error}");
    }

    #[test]
    fn weights_do_not_depend_on_threads() {
        let slot = &model::family::slots(&config("tiny").unwrap())[0];
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(|| weights(slot, 1));
        let several = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap().install(|| weights(slot, 1));
        assert!(alone == several);
        assert!(alone.iter().any(|&x| x > 0.03) && alone.iter().all(|&x| x.abs() < 0.04));
    }
}
