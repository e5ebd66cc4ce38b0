//! An adapter as PEFT names it, and beside it what PEFT has no field for.

use super::{create, format_pt, sorted, write_json};
use crate::decoder::Decoder;
use crate::error::{ModelError, Result};
use crate::load::base::{container, transposed};
use crate::lora::{Adapter, PREFIX, short_names};
use containers::DType;
use containers::save::{LazyTensor, write_safetensors};
use engine::ParamStore;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Name of the file beside the adapter.
pub const SIDE_FILE: &str = "tunesmith.json";

/// What Tunesmith stores beside an adapter: which base it belongs to, by content. The caller may add fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SideFile {
    /// The base as the user named it.
    #[serde(default)]
    pub base_model: String,
    /// Content hash of the base.
    #[serde(default)]
    pub base_hash: String,
    /// Further fields (tokenizer hash, task, versions).
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// Writes `adapter_config.json`, `adapter_model.safetensors` (f32) and [`SIDE_FILE`] into `dir`. Tokenizer files are the
/// caller's.
///
/// # Errors
/// If a file cannot be written, or a tensor holds a NaN or an infinity: such an adapter is worthless and looks like success.
pub fn save_adapter(dir: impl AsRef<Path>, decoder: &Decoder, params: &ParamStore, adapter: &Adapter, side: &SideFile) -> Result<()> {
    let dir = dir.as_ref();
    create(dir)?;
    let mut tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)> = BTreeMap::new();
    for module in &adapter.modules {
        for (letter, id) in [('A', module.a), ('B', module.b)] {
            let p = params.get(id);
            tensors.insert(format!("{PREFIX}{}.lora_{letter}.weight", module.path), (p.shape.clone(), p.value.clone()));
        }
    }
    for whole in &adapter.whole {
        let weight =
            decoder.weight(whole.place).ok_or_else(|| ModelError::setting(&whole.name, "the model has no such tensor any more"))?;
        let data = weight.to_f32(params);
        // the file holds the transpose: [in, out] of our [out, in]
        let data = if whole.transposed { transposed(&data, whole.shape[1], whole.shape[0]) } else { data };
        tensors.insert(whole.name.clone(), (whole.shape.clone(), data));
    }
    if let Some((name, _)) = tensors.iter().find(|(_, (_, data))| data.iter().any(|x| !x.is_finite())) {
        let file = dir.join("adapter_model.safetensors").display().to_string();
        let reason = "holds a NaN or an infinity; the adapter is not saved".into();
        return Err(ModelError::Tensor { file, tensor: name.clone(), reason });
    }
    let lazy = tensors.iter().map(|(name, (shape, data))| LazyTensor::from_f32(name, DType::F32, shape.clone(), data));
    write_safetensors(dir.join("adapter_model.safetensors"), &format_pt(), lazy).map_err(container)?;

    let paths: Vec<&str> = adapter.modules.iter().map(|m| m.path.as_str()).collect();
    let names = short_names(&paths, decoder.config.family, &decoder.slots());
    let mut config = adapter.config.clone();
    if config.base_model.is_none() && !side.base_model.is_empty() {
        config.base_model = Some(side.base_model.clone());
    }
    let side = serde_json::to_value(side).map_err(|e| ModelError::file(&dir.join(SIDE_FILE), e))?;
    write_json(&dir.join(SIDE_FILE), &sorted(side))?;
    write_json(&dir.join("adapter_config.json"), &config.to_json(&names, decoder.config.family.names.conv1d))
}
