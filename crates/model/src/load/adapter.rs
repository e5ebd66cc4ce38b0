//! An adapter directory as PEFT writes it: `adapter_config.json` and `adapter_model.safetensors`, with our side file.

use crate::decoder::Decoder;
use crate::error::{ModelError, Result, few};
use crate::family::{Family, Place, Slot};
use crate::freeze::make_trainable;
use crate::load::base::{container, transposed};
use crate::lora::{AdaptedModule, Adapter, LoraConfig, PREFIX, Target, WholeTensor, ends_with, targets};
use crate::save::{SIDE_FILE, SideFile};
use crate::weights::Weight;
use containers::SafetensorsFile;
use engine::{FrozenMatrix, Lora, Matrix, ParamStore, Vector};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The two matrices of a low-rank branch.
#[derive(Clone, Debug)]
pub struct LowRank {
    /// `[rank, inputs]`.
    pub a: Vec<f32>,
    /// `[outputs, rank]`.
    pub b: Vec<f32>,
    /// Their shapes.
    pub shapes: [Vec<usize>; 2],
}

/// An adapter read from its directory, not yet part of a model.
#[derive(Debug)]
pub struct LoadedAdapter {
    /// Its settings.
    pub config: LoraConfig,
    /// What Tunesmith stored beside it; absent if another program wrote the adapter.
    pub side: Option<SideFile>,
    dir: PathBuf,
    /// Module path -> branch.
    pub(crate) branches: BTreeMap<String, LowRank>,
    /// File name without prefix and wrapper -> (file name, shape, numbers): whole tensors.
    pub(crate) whole: BTreeMap<String, Whole>,
}

/// A tensor that replaces one of the model's.
#[derive(Clone, Debug)]
pub(crate) struct Whole {
    name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<f32>,
}

/// Reads an adapter directory. If it holds no adapter itself but exactly one subdirectory does (PEFT puts adapters that are not
/// called "default" there), that one is read.
///
/// # Errors
/// If files are missing or damaged, or the adapter is of a kind that is not implemented.
pub fn load_adapter(dir: impl AsRef<Path>) -> Result<LoadedAdapter> {
    let dir = find(dir.as_ref())?;
    let config_path = dir.join("adapter_config.json");
    let config = LoraConfig::from_json(&super::json(&config_path)?, &config_path.display().to_string())?;
    let weights = dir.join("adapter_model.safetensors");
    if !weights.is_file() {
        let bin = dir.join("adapter_model.bin").is_file();
        return Err(ModelError::NotAModel {
            path: dir,
            reason: if bin {
                "adapter_model.bin is a Python pickle and is not read; load it with PEFT and save it again as safetensors"
            } else {
                "adapter_model.safetensors is missing beside adapter_config.json"
            }
            .into(),
        });
    }
    let source = SafetensorsFile::open(&weights).map_err(container)?;
    let file = weights.display().to_string();
    type Stored = (Vec<usize>, Vec<f32>);
    let mut halves: BTreeMap<String, [Option<Stored>; 2]> = BTreeMap::new();
    let mut whole = BTreeMap::new();
    for view in source.tensors() {
        let unsupported = |what: &str| ModelError::Tensor {
            file: file.clone(),
            tensor: view.name.into(),
            reason: format!("{what} is not supported; adapters of linear layers are"),
        };
        if view.name.contains("lora_embedding_") {
            return Err(unsupported("LoRA on an embedding"));
        }
        if view.name.contains("lora_magnitude_vector") {
            return Err(unsupported("DoRA"));
        }
        let data = view.to_f32().map_err(container)?;
        let shape = view.shape.to_vec();
        let name = view.name.strip_prefix(PREFIX).unwrap_or(view.name);
        match branch(name) {
            Some((module, which)) => halves.entry(module.to_owned()).or_default()[which] = Some((shape, data)),
            None => {
                whole.insert(unwrapped(name), Whole { name: view.name.to_owned(), shape, data });
            }
        }
    }
    let mut branches = BTreeMap::new();
    for (module, [a, b]) in halves {
        let (Some((sa, a)), Some((sb, b))) = (a, b) else {
            return Err(ModelError::Tensor { file, tensor: module, reason: "only one of lora_A and lora_B is there".into() });
        };
        branches.insert(module, LowRank { a, b, shapes: [sa, sb] });
    }
    let side_path = dir.join(SIDE_FILE);
    let side = if side_path.is_file() {
        let value = super::json(&side_path)?;
        Some(serde_json::from_value(value).map_err(|e| ModelError::file(&side_path, e))?)
    } else {
        None
    };
    Ok(LoadedAdapter { config, side, dir, branches, whole })
}

fn find(dir: &Path) -> Result<PathBuf> {
    const CONFIG: &str = "adapter_config.json";
    if dir.join(CONFIG).is_file() {
        return Ok(dir.into());
    }
    let mut inside: Vec<PathBuf> = std::fs::read_dir(dir)
        .map_err(|e| ModelError::file(dir, format!("cannot be read: {e}")))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|p| p.join(CONFIG).is_file())
        .collect();
    inside.sort();
    match inside.len() {
        1 => Ok(inside.remove(0)),
        0 => Err(ModelError::NotAModel { path: dir.into(), reason: "there is no adapter_config.json".into() }),
        _ => {
            let names: Vec<String> = inside.iter().map(|p| p.display().to_string()).collect();
            let reason = format!("it holds several adapters; name one of them: {}", few(&names));
            Err(ModelError::NotAModel { path: dir.into(), reason })
        }
    }
}

/// `….q_proj.lora_A.weight` (or `….lora_A.default.weight`, as state dictionaries have it) -> (module, 0 for A, 1 for B).
fn branch(name: &str) -> Option<(&str, usize)> {
    [".lora_A.", ".lora_B."].iter().enumerate().find_map(|(which, mark)| {
        let (module, rest) = name.split_once(mark)?;
        (rest == "weight" || rest.ends_with(".weight")).then_some((module, which))
    })
}

/// Takes PEFT's wrappers out of a name: `base_layer`, `modules_to_save.default`.
fn unwrapped(name: &str) -> String {
    let parts: Vec<&str> = name.split('.').collect();
    let mut kept = Vec::with_capacity(parts.len());
    let mut i = 0;
    while i < parts.len() {
        match parts[i] {
            "base_layer" | "original_module" => {}
            // followed by the adapter's name, unless weight or bias follows at once
            "modules_to_save" => i += (i + 2 < parts.len()) as usize,
            part => kept.push(part),
        }
        i += 1;
    }
    kept.join(".")
}

/// What an adapter's whole tensors do to embedding and head.
pub(crate) struct VocabPlan {
    /// Rows of the vocabulary afterwards.
    pub(crate) rows: usize,
    /// The head is the embedding afterwards.
    pub(crate) tied: bool,
}

impl LoadedAdapter {
    /// The directory it was read from.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Refuses another base than the adapter was trained on. `found` is the content hash of the base at hand. Adapters of
    /// other programs carry no hash: they pass.
    ///
    /// # Errors
    /// If the hashes differ.
    pub fn check_base(&self, found: &str) -> Result<()> {
        match &self.side {
            Some(side) if !side.base_hash.is_empty() && side.base_hash != found => Err(ModelError::OtherBase {
                adapter: self.dir.display().to_string(),
                base: side.base_model.clone(),
                expected: side.base_hash.clone(),
                found: found.into(),
            }),
            _ => Ok(()),
        }
    }

    fn file(&self) -> String {
        self.dir.join("adapter_model.safetensors").display().to_string()
    }

    fn error(&self, tensor: &str, reason: impl Into<String>) -> ModelError {
        ModelError::Tensor { file: self.file(), tensor: tensor.into(), reason: reason.into() }
    }

    /// Checks everything against the model: each branch has a module of its shape that the settings name, each whole tensor a
    /// place. Returns the branches' targets in the order of the forward pass.
    pub(crate) fn check(&self, family: &Family, slots: &[Slot], tied: bool) -> Result<(Vec<Target>, VocabPlan)> {
        let reached = if self.branches.is_empty() { Vec::new() } else { targets(&self.config, family, slots, false)? };
        let head = &family.names.head;
        for (module, branch) in &self.branches {
            let Some(target) = reached.iter().find(|t| t.path == *module) else {
                let reason = "the model has no such linear layer, or adapter_config.json does not name it";
                return Err(self.error(module, reason));
            };
            let slot = slots
                .iter()
                .find(|s| s.module == *module && s.shape.len() == 2)
                .or_else(|| slots.iter().find(|s| module == head && s.place == Place::Embed));
            let vocab = self.whole.get(&format!("{head}.weight")).map(|w| w.shape[0]);
            let outputs = slot.map(|s| if module == head { vocab.unwrap_or(s.shape[0]) } else { s.shape[0] });
            let inputs = slot.map_or(0, |s| s.shape[1]);
            let expected = [vec![target.rank, inputs], vec![outputs.unwrap_or(0), target.rank]];
            for (letter, (found, expected)) in ["A", "B"].iter().zip(branch.shapes.iter().zip(expected)) {
                if *found != expected {
                    return Err(ModelError::Shape {
                        file: self.file(),
                        tensor: format!("{module}.lora_{letter}.weight"),
                        expected,
                        found: found.clone(),
                        why: "the base model with adapter_config.json".into(),
                    });
                }
            }
        }
        let plan = self.vocab_plan(family, slots, tied)?;
        for (name, whole) in &self.whole {
            if *name == format!("{head}.weight") {
                continue;
            }
            let Some(slot) = slots.iter().find(|s| s.name == *name) else {
                return Err(self.error(&whole.name, "the model has no such tensor"));
            };
            let mut expected = slot.file_shape();
            if slot.place == Place::Embed {
                expected[0] = plan.rows;
            }
            if whole.shape != expected {
                return Err(ModelError::Shape {
                    file: self.file(),
                    tensor: whole.name.clone(),
                    expected,
                    found: whole.shape.clone(),
                    why: "the base model".into(),
                });
            }
        }
        let targets = reached.into_iter().filter(|t| self.branches.contains_key(&t.path)).collect();
        Ok((targets, plan))
    }

    /// Embedding and head may come along, with more rows than the base has (a vocabulary resized before training).
    fn vocab_plan(&self, family: &Family, slots: &[Slot], tied: bool) -> Result<VocabPlan> {
        let base = slots.iter().find(|s| s.place == Place::Embed).map_or(&[][..], |s| &s.shape);
        let (old, width) = (base.first().copied().unwrap_or(0), base.get(1).copied().unwrap_or(0));
        let embed = self.whole.get(&format!("{}.weight", family.names.embed));
        let head = self.whole.get(&format!("{}.weight", family.names.head));
        for whole in [embed, head].into_iter().flatten() {
            if whole.shape.len() != 2 || whole.shape[1] != width {
                return Err(ModelError::Shape {
                    file: self.file(),
                    tensor: whole.name.clone(),
                    expected: vec![old, width],
                    found: whole.shape.clone(),
                    why: "the base model".into(),
                });
            }
        }
        let rows = |w: Option<&Whole>| w.map(|w| w.shape[0]);
        let plan = |rows, tied| Ok(VocabPlan { rows, tied });
        match (rows(embed), rows(head)) {
            (None, None) => plan(old, tied),
            (Some(e), Some(h)) if e == h => {
                // equal numbers in a tied base were one matrix
                plan(e, tied && embed.map(|w| &w.data) == head.map(|w| &w.data))
            }
            // resized, and the head of a tied base follows
            (Some(e), None) if tied && e != old => plan(e, true),
            // PEFT unties what it wraps: the other one stays the base's
            (Some(e), None) if e == old => plan(e, false),
            (None, Some(h)) if h == old => plan(h, false),
            (e, h) => {
                let found = format!("embedding {}, head {}", shown(e), shown(h));
                Err(self.error(family.names.embed, format!("the base has {old} rows, the adapter {found}; they do not fit together")))
            }
        }
    }

    /// Makes the adapter part of `decoder`. Its tensors join `params` under their file names, so that it can be run or trained
    /// further; a resized vocabulary resizes the model.
    ///
    /// # Errors
    /// If a tensor has no place in the model or another shape.
    pub fn attach(&self, decoder: &mut Decoder, params: &mut ParamStore) -> Result<Adapter> {
        let (targets, plan) = self.check(decoder.config.family, &decoder.slots(), decoder.is_tied())?;
        let whole = self.attach_whole(decoder, params, &plan)?;
        let mut modules = Vec::with_capacity(targets.len());
        for target in targets {
            let branch = &self.branches[&target.path];
            let linear = decoder.linear_mut(&target.path).ok_or_else(|| self.error(&target.path, "the model has no such linear layer"))?;
            if linear.lora.is_some() {
                return Err(self.error(&target.path, "the model has an adapter here already"));
            }
            let name = |letter: char| format!("{PREFIX}{}.lora_{letter}.weight", target.path);
            let a = params.add(name('A'), &branch.shapes[0], branch.a.clone(), true)?;
            let b = params.add(name('B'), &branch.shapes[1], branch.b.clone(), true)?;
            let dropout = self.config.dropout;
            linear.lora = Some(Lora { a, b, scale: target.scale, dropout, module: target.index as u64 });
            modules.push(AdaptedModule { path: target.path, a, b });
        }
        Ok(Adapter { config: self.config.clone(), modules, whole })
    }

    fn attach_whole(&self, decoder: &mut Decoder, params: &mut ParamStore, plan: &VocabPlan) -> Result<Vec<WholeTensor>> {
        let was_tied = decoder.is_tied();
        decoder.set_vocabulary(plan.rows, plan.tied);
        let head = decoder.config.family.names.head;
        let mut entries = Vec::new();
        for slot in self.placed(decoder) {
            let whole = &self.whole[&slot.name];
            let data = if slot.transposed { transposed(&whole.data, slot.shape[1], slot.shape[0]) } else { whole.data.clone() };
            let weight = if slot.shape.len() == 2 {
                Weight::Matrix(Matrix::Frozen(Arc::new(FrozenMatrix::from_f32(slot.shape[0], slot.shape[1], data)?)))
            } else {
                Weight::Vector(Vector::Frozen(Arc::new(data)))
            };
            decoder.set_weight(slot.place, weight);
            // what came along only because the vocabulary was resized was not trained
            let saved = self.config.modules_to_save.iter().any(|m| ends_with(&slot.module, m));
            if saved || slot.name.ends_with(".bias") {
                make_trainable(decoder, params, &slot, &whole.name)?;
            }
            let entry = |name: &str, place| WholeTensor { name: name.into(), place, transposed: slot.transposed, shape: slot.file_shape() };
            entries.push(entry(&whole.name, slot.place));
            if slot.place == Place::Embed && was_tied && plan.tied {
                // saved again as it was: under both names, if it came so
                entries.extend(self.whole.get(&format!("{head}.weight")).map(|w| entry(&w.name, Place::Head)));
            }
        }
        Ok(entries)
    }

    /// Slots of the (resized) model that the adapter replaces.
    fn placed(&self, decoder: &Decoder) -> Vec<Slot> {
        decoder.slots().into_iter().filter(|s| self.whole.contains_key(&s.name)).collect()
    }
}

fn shown(rows: Option<usize>) -> String {
    rows.map_or_else(|| "absent".into(), |n| format!("{n} rows"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_peft_version() {
        let q = "model.layers.0.self_attn.q_proj";
        assert_eq!(branch(&format!("{q}.lora_A.weight")), Some((q, 0)));
        assert_eq!(branch(&format!("{q}.lora_B.default.weight")), Some((q, 1)));
        assert_eq!(branch("lm_head.weight"), None);
        assert_eq!(unwrapped("lm_head.base_layer.weight"), "lm_head.weight");
        assert_eq!(unwrapped("lm_head.modules_to_save.weight"), "lm_head.weight");
        assert_eq!(unwrapped("lm_head.modules_to_save.default.weight"), "lm_head.weight");
        assert_eq!(unwrapped("model.norm.weight"), "model.norm.weight");
    }
}
