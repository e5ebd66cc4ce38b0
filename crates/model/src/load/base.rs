//! A base model: a Hugging Face directory (safetensors, sharded or not) or a GGUF file, memory-mapped.
//!
//! [`BaseModel`] knows where each [`Slot`]'s numbers lie and how to turn them into the decoder's layout; the loader asks it
//! for all of them, merging asks for one after the other.

use crate::config::ModelConfig;
use crate::decoder::{Decoder, Piece};
use crate::error::{ModelError, Result};
use crate::family::{Place, Slot, slots};
use crate::freeze::{self, FreezeSpec};
use containers::{DType, GgufFile, ShardedSafetensors, TensorSource, TensorView};
use engine::{ComputeDtype, GroupFormat};
use rayon::prelude::*;
use std::path::{Path, PathBuf};

/// An opened base model: configuration and mapped weights, nothing decoded yet.
pub struct BaseModel {
    /// The configuration.
    pub config: ModelConfig,
    /// What the user should know (tensors that are not used).
    pub notes: Vec<String>,
    path: PathBuf,
    file: String,
    source: Box<dyn TensorSource>,
    gguf: bool,
    /// For each slot in order, its tensor's name in the file.
    names: Vec<(Slot, String)>,
}

impl BaseModel {
    /// Opens a directory with `config.json` and safetensors, or a `.gguf` file, and checks that every tensor is there in
    /// the right shape.
    ///
    /// # Errors
    /// If the path is neither, the configuration cannot be used, or tensors are missing, unknown or of another shape.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let not = |reason: &str| ModelError::NotAModel { path: path.into(), reason: reason.into() };
        let (config, source, file, gguf): (_, Box<dyn TensorSource>, _, _) = if path.is_dir() {
            let config_path = path.join("config.json");
            if !config_path.is_file() {
                return Err(not("there is no config.json in this directory. A model is a directory with config.json and \
                     model.safetensors, or a .gguf file"));
            }
            let config = ModelConfig::from_config_json(&super::json(&config_path)?, &config_path.display().to_string())?;
            let source = ShardedSafetensors::open_dir(path).map_err(container)?;
            (config, Box::new(source), path.display().to_string(), false)
        } else if path.is_file() {
            if path.extension().is_some_and(|e| e == "safetensors" || e == "json") {
                return Err(not("give the directory that holds this file, so that config.json is found beside it"));
            }
            let source = GgufFile::open(path).map_err(container)?;
            (ModelConfig::from_gguf(&source)?, Box::new(source), path.display().to_string(), true)
        } else {
            return Err(not("there is no such file or directory"));
        };
        let mut base = BaseModel { notes: config.notes(), config, path: path.into(), file, source, gguf, names: Vec::new() };
        base.names = base.locate()?;
        Ok(base)
    }

    /// The path it was opened from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// True for a GGUF file.
    pub fn is_gguf(&self) -> bool {
        self.gguf
    }

    /// True if matrices lie in groups that products can read as they are ([`ComputeDtype::Native`]).
    pub fn has_groups(&self) -> bool {
        self.names.iter().any(|(_, name)| self.source.tensor(name).is_some_and(|view| group_format(view.dtype).is_some()))
    }

    /// The tensors of the model.
    pub fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.names.iter().map(|(slot, _)| slot)
    }

    /// Pairs slots with names in the file; finds what is missing, unknown, misshapen.
    fn locate(&mut self) -> Result<Vec<(Slot, String)>> {
        let prefix = self.config.family.names.optional_prefix;
        let mut missing = Vec::new();
        let mut found = Vec::new();
        let list = slots(&self.config);
        let expected = list.len();
        for slot in list {
            let wanted = if self.gguf { &slot.gguf_name } else { &slot.name };
            let short = wanted.strip_prefix(prefix).filter(|_| !self.gguf && !prefix.is_empty());
            let name = [Some(wanted.as_str()), short].into_iter().flatten().find(|n| self.source.tensor(n).is_some());
            match name.map(str::to_owned) {
                Some(name) => found.push((slot, name)),
                None => missing.push(wanted.clone()),
            }
        }
        if !missing.is_empty() {
            return Err(ModelError::Missing { file: self.file.clone(), expected, names: missing });
        }
        for (slot, name) in &found {
            if let Some(view) = self.source.tensor(name) {
                let expected = if self.gguf { slot.shape.clone() } else { slot.file_shape() };
                if view.shape != expected {
                    return Err(ModelError::Shape {
                        file: self.file.clone(),
                        tensor: name.clone(),
                        expected,
                        found: view.shape.to_vec(),
                        why: if self.gguf { "the metadata" } else { "config.json" }.into(),
                    });
                }
            }
        }
        self.unexpected(&found)?;
        Ok(found)
    }

    /// Tensors without a place: those inside a layer would change the result and are an error, others are noted.
    fn unexpected(&mut self, found: &[(Slot, String)]) -> Result<()> {
        let known: std::collections::BTreeSet<&str> = found.iter().map(|(_, n)| n.as_str()).collect();
        let names = self.config.family.names;
        let short = names.layers.strip_prefix(names.optional_prefix).unwrap_or(names.layers);
        let (mut wrong, mut unused) = (Vec::new(), Vec::new());
        for name in self.source.names() {
            if known.contains(name.as_str()) || self.is_constant(&name) {
                continue;
            }
            let in_layer = |prefix: &str| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'));
            let in_layer = if self.gguf { in_layer("blk") } else { in_layer(names.layers) || in_layer(short) };
            if in_layer { wrong.push(name) } else { unused.push(name) }
        }
        if !wrong.is_empty() {
            let model_type = self.config.family.model_type.into();
            return Err(ModelError::Unexpected { file: self.file.clone(), model_type, names: wrong });
        }
        if !unused.is_empty() {
            self.notes.push(format!("{} tensors of the file are not used: {}", unused.len(), crate::error::few(&unused)));
        }
        Ok(())
    }

    /// Tensors that are computed from the configuration, or repeat another one.
    fn is_constant(&self, name: &str) -> bool {
        if self.gguf {
            return name == "rope_freqs.weight";
        }
        let masks = self.config.family.model_type == "gpt2" && (name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias"));
        masks || name.ends_with("rotary_emb.inv_freq") || (self.config.tied && name == format!("{}.weight", self.config.family.names.head))
    }

    fn error(&self, tensor: &str, reason: impl std::fmt::Display) -> ModelError {
        ModelError::Tensor { file: self.file.clone(), tensor: tensor.into(), reason: reason.to_string() }
    }

    /// The numbers of a slot in the decoder's layout: decoded, transposed, Q and K rows in Hugging Face's order.
    ///
    /// # Errors
    /// If the tensor cannot be decoded.
    pub fn read(&self, slot: &Slot) -> Result<Vec<f32>> {
        let name = self
            .names
            .iter()
            .find(|(s, _)| s.place == slot.place)
            .map(|(_, n)| n.as_str())
            .ok_or_else(|| self.error(&slot.name, "the model has no such tensor"))?;
        self.read_named(slot, name)
    }

    fn read_named(&self, slot: &Slot, name: &str) -> Result<Vec<f32>> {
        let view = self.source.require(name).map_err(container)?;
        let error = |e: containers::Error| self.error(name, e);
        match (slot.permuted_heads.filter(|_| self.gguf), slot.transposed && !self.gguf) {
            (Some(heads), _) => unpermuted(&view, heads).map_err(error),
            (None, true) => {
                let stored = view.to_f32().map_err(error)?;
                Ok(transposed(&stored, slot.shape[1], slot.shape[0]))
            }
            (None, false) => view.to_f32().map_err(error),
        }
    }

    /// A tensor as the decoder keeps it for products in `compute`.
    fn piece(&self, slot: &Slot, name: &str, compute: ComputeDtype) -> Result<Piece> {
        if compute == ComputeDtype::Native && slot.shape.len() == 2 && slot.place != Place::Positions {
            let view = self.source.require(name).map_err(container)?;
            if let Some(format) = group_format(view.dtype) {
                return match slot.permuted_heads.filter(|_| self.gguf) {
                    Some(heads) => {
                        let dim = slot.shape[0] / heads;
                        Piece::from_groups(slot, format, view.data, |row| stored_row(row, dim))
                    }
                    None => Piece::from_groups(slot, format, view.data, |row| row),
                };
            }
            // Other narrow formats have no products of their own here: bf16 holds them as well as their own steps do.
            if view.dtype != DType::F32 && view.dtype != DType::F64 {
                return Piece::new(slot, self.read_named(slot, name)?, ComputeDtype::Bf16);
            }
        }
        Piece::new(slot, self.read_named(slot, name)?, compute)
    }

    /// Builds the decoder in f32; see [`Self::load_in`].
    ///
    /// # Errors
    /// If a tensor cannot be decoded.
    pub fn load(&self) -> Result<Decoder> {
        self.load_in(ComputeDtype::F32)
    }

    /// Builds the decoder for products in `compute`: every tensor decoded and packed, a few at a time, the parallelism inside
    /// and across tensors.
    ///
    /// # Errors
    /// If a tensor cannot be decoded.
    pub fn load_in(&self, compute: ComputeDtype) -> Result<Decoder> {
        self.load_each(compute, &|_| compute)
    }

    /// As [`Self::load_in`], where tensors that `trained` names are kept as training computes with them: int8 is for what is
    /// frozen, what trains is multiplied in bf16.
    ///
    /// # Errors
    /// If `trained` reaches no tensor of this model, or one cannot be decoded.
    pub fn load_beside(&self, compute: ComputeDtype, trained: &FreezeSpec) -> Result<Decoder> {
        if compute != ComputeDtype::Int8 {
            return self.load_in(compute);
        }
        let trained = freeze::places(&self.config, trained)?;
        self.load_each(compute, &|slot| if trained.contains(&slot.place) { ComputeDtype::Bf16 } else { compute })
    }

    fn load_each(&self, compute: ComputeDtype, of: &(dyn Fn(&Slot) -> ComputeDtype + Sync)) -> Result<Decoder> {
        let piece = |(slot, name): &(Slot, String)| Ok((slot.place, self.piece(slot, name, of(slot))?));
        let pieces = self.names.par_iter().map(piece).collect::<Result<_>>()?;
        let mut decoder = Decoder::from_pieces(self.config.clone(), compute, pieces)?;
        decoder.notes = self.notes.clone();
        Ok(decoder)
    }
}

/// Loads a model to run or to train: a Hugging Face directory or a GGUF file. Everything is frozen.
///
/// # Errors
/// See [`BaseModel::open`] and [`BaseModel::load`].
pub fn load_model(path: impl AsRef<Path>) -> Result<Decoder> {
    BaseModel::open(path)?.load()
}

/// As [`load_model`], for products in `compute`.
///
/// # Errors
/// See [`BaseModel::open`] and [`BaseModel::load_in`].
pub fn load_model_in(path: impl AsRef<Path>, compute: ComputeDtype) -> Result<Decoder> {
    BaseModel::open(path)?.load_in(compute)
}

pub(crate) fn container(e: containers::Error) -> ModelError {
    match e {
        containers::Error::Io { path, action, source } => ModelError::file(&path, format!("cannot {action}: {source}")),
        other => ModelError::Container(other.to_string()),
    }
}

/// The formats that products read as they are.
fn group_format(dtype: DType) -> Option<GroupFormat> {
    match dtype {
        DType::Q4_0 => Some(GroupFormat::Q4_0),
        DType::Q4_1 => Some(GroupFormat::Q4_1),
        DType::Q8_0 => Some(GroupFormat::Q8_0),
        _ => None,
    }
}

/// `[rows, cols]` row-major to `[cols, rows]`.
pub(crate) fn transposed(data: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    let mut out = vec![0.0; data.len()];
    if rows == 0 {
        return out;
    }
    // a strip of output rows at a time reads each input line a few times from cache instead of once from memory per row
    const STRIP: usize = 16;
    out.par_chunks_mut(STRIP * rows).enumerate().for_each(|(strip, chunk)| {
        for r in 0..rows {
            for (k, row) in chunk.chunks_mut(rows).enumerate() {
                row[r] = data[r * cols + strip * STRIP + k];
            }
        }
    });
    out
}

/// Rows of Q or K in Hugging Face's order (rotated pairs `(i, i + d/2)`) from GGUF's (pairs `(2i, 2i + 1)`).
///
/// llama.cpp's converter stores, for each head, row `j·d/2 + i` (j = 0, 1) of the original at `2i + j`.
fn unpermuted(view: &TensorView<'_>, heads: usize) -> containers::Result<Vec<f32>> {
    let stored = view.to_f32()?;
    let rows = view.shape.first().copied().unwrap_or(0);
    let cols = stored.len().checked_div(rows).unwrap_or(0);
    let dim = rows / heads;
    let mut out = vec![0.0; stored.len()];
    for (row, to) in out.chunks_exact_mut(cols.max(1)).enumerate() {
        to.copy_from_slice(&stored[stored_row(row, dim) * cols..][..cols]);
    }
    Ok(out)
}

/// Where GGUF has the row that is row `row` in Hugging Face's order, in heads of `dim` rows.
fn stored_row(row: usize, dim: usize) -> usize {
    let (dim, half) = (dim.max(1), (dim / 2).max(1));
    let (head, in_head) = (row / dim, row % dim);
    let (j, i) = (in_head / half, in_head % half);
    head * dim + 2 * i + j
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposing_odd_shapes() {
        for (rows, cols) in [(1, 1), (3, 50), (37, 5), (16, 16), (2, 33)] {
            let data: Vec<f32> = (0..rows * cols).map(|i| i as f32).collect();
            let t = transposed(&data, rows, cols);
            for r in 0..rows {
                for c in 0..cols {
                    assert_eq!(t[c * rows + r], data[r * cols + c]);
                }
            }
        }
        assert!(transposed(&[], 0, 5).is_empty());
    }
}
