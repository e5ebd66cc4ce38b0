//! A whole model as a Hugging Face directory.

use super::{add_low_rank, create, format_pt, sorted, write_json};
use crate::config::ModelConfig;
use crate::decoder::Decoder;
use crate::error::{ModelError, Result};
use crate::family::Slot;
use crate::load::base::{BaseModel, container, transposed};
use containers::DType;
use containers::save::{LazyTensor, write_sharded};
use engine::ParamStore;
use serde_json::{Map, Value, json};
use std::path::Path;

/// How numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum FileType {
    /// 32 bits: exact.
    #[default]
    F32,
    /// 16 bits with f32's range.
    Bf16,
    /// 16 bits, IEEE.
    F16,
}

impl FileType {
    /// torch's name, as `config.json` has it.
    pub fn torch_name(self) -> &'static str {
        match self {
            FileType::F32 => "float32",
            FileType::Bf16 => "bfloat16",
            FileType::F16 => "float16",
        }
    }

    /// Bytes a number takes.
    pub fn bytes(self) -> usize {
        match self {
            FileType::F32 => 4,
            FileType::Bf16 | FileType::F16 => 2,
        }
    }

    pub(super) fn dtype(self) -> DType {
        match self {
            FileType::F32 => DType::F32,
            FileType::Bf16 => DType::BF16,
            FileType::F16 => DType::F16,
        }
    }
}

/// How a model is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaveOptions {
    /// How numbers are stored.
    pub file_type: FileType,
    /// Weights beyond this many bytes go into several files.
    pub max_shard_bytes: u64,
}

impl Default for SaveOptions {
    /// f32, shards of 5 GB (as transformers had it for years).
    fn default() -> Self {
        SaveOptions { file_type: FileType::F32, max_shard_bytes: 5_000_000_000 }
    }
}

/// Writes `config.json`, `generation_config.json` and the weights into `dir`. Low-rank branches are merged into their
/// matrices. Tokenizer files are the caller's.
///
/// Tensors that were not trained are taken from `base` if it is given: the decoder may hold them rounded for its products.
///
/// # Errors
/// If a file cannot be written, or a tensor holds a NaN or an infinity.
pub fn save_pretrained(
    dir: impl AsRef<Path>,
    decoder: &Decoder,
    params: &ParamStore,
    base: Option<&BaseModel>,
    options: SaveOptions,
) -> Result<()> {
    let mut config = decoder.config.clone();
    let head = decoder.config.family.names.head;
    // a branch on a tied head makes it another matrix than the embedding
    config.tied = decoder.is_tied() && decoder.lm_head.lora.is_none();
    write_model(dir.as_ref(), &config, None, options, |slot| {
        let missing = || ModelError::setting(&slot.name, "the model has no such tensor");
        let weight = decoder.weight(slot.place).ok_or_else(missing)?;
        // A head that was tied in the base and is a matrix of its own here was trained, so it is not asked for there.
        let mut data = match base.filter(|_| weight.param().is_none()) {
            Some(base) => base.read(slot)?,
            None => weight.to_f32(params),
        };
        let lora = decoder.modules().into_iter().find(|(path, _)| *path == slot.module).and_then(|(_, l)| l.lora.clone());
        if let Some(lora) = lora.filter(|_| slot.shape.len() == 2 && (slot.module != head || !config.tied)) {
            let (a, b) = (params.get(lora.a), params.get(lora.b));
            add_low_rank(&mut data, &a.value, &b.value, a.shape[0], lora.scale);
        }
        Ok(data)
    })
}

/// Writes a model whose tensors `read` gives one at a time in the decoder's layout.
pub(super) fn write_model(
    dir: &Path,
    config: &ModelConfig,
    generation: Option<Value>,
    options: SaveOptions,
    read: impl Fn(&Slot) -> Result<Vec<f32>> + Sync,
) -> Result<()> {
    create(dir)?;
    let slots = crate::family::slots(config);
    let read = &read;
    let tensors = slots.iter().map(|slot| {
        LazyTensor::encoded(slot.name.clone(), options.file_type.dtype(), slot.file_shape(), move || {
            let data = read(slot)?;
            if data.iter().any(|x| !x.is_finite()) {
                return Err(ModelError::Tensor {
                    file: "the model to be saved".into(),
                    tensor: slot.name.clone(),
                    reason: "holds a NaN or an infinity".into(),
                });
            }
            Ok(if slot.transposed { transposed(&data, slot.shape[0], slot.shape[1]) } else { data })
        })
    });
    write_sharded(dir, &format_pt(), tensors, options.max_shard_bytes).map_err(container)?;
    let json = config.to_config_json(options.file_type.torch_name());
    write_json(&dir.join("generation_config.json"), &generation.unwrap_or_else(|| generation_config(&json)))?;
    // last: a directory without it is not a model
    write_json(&dir.join("config.json"), &sorted(json))
}

/// The token ids of `config.json`, which is where transformers takes a missing `generation_config.json` from.
fn generation_config(config: &Value) -> Value {
    let mut map = Map::new();
    map.insert("_from_model_config".into(), json!(true));
    for key in ["bos_token_id", "eos_token_id", "pad_token_id"] {
        if let Some(id) = config.get(key).filter(|v| !v.is_null()) {
            map.insert(key.into(), id.clone());
        }
    }
    Value::Object(map)
}
