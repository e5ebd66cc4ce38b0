//! Base + adapter -> one model, a tensor at a time: the peak is the largest tensor, not the model. (Running out of memory
//! after hours of training, in the merge, is a classic.)

use super::add_low_rank;
use super::pretrained::{SaveOptions, write_model};
use crate::error::Result;
use crate::family::{Place, Slot, slots};
use crate::load::base::transposed;
use crate::load::{BaseModel, load_adapter};
use std::path::Path;

/// What a merge did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeReport {
    /// Tensors written.
    pub tensors: usize,
    /// Matrices that a low-rank branch was added to.
    pub merged: usize,
    /// Tensors replaced by the adapter's own.
    pub replaced: usize,
    /// Parameters of the merged model.
    pub parameters: usize,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// Merges the adapter in `adapter` into the base at `base` (Hugging Face directory or GGUF, mapped) and writes a Hugging Face
/// directory. `base_hash` is the base's content hash, checked against the adapter's; `None` skips the check. Tokenizer
/// files are the caller's.
///
/// # Errors
/// If either cannot be read, they do not belong together, or a file cannot be written.
pub fn merge(
    base: impl AsRef<Path>,
    adapter: impl AsRef<Path>,
    out: impl AsRef<Path>,
    base_hash: Option<&str>,
    options: SaveOptions,
) -> Result<MergeReport> {
    let base = BaseModel::open(base)?;
    let adapter = load_adapter(adapter)?;
    if let Some(hash) = base_hash {
        adapter.check_base(hash)?;
    }
    let family = base.config.family;
    let base_slots = slots(&base.config);
    let (targets, plan) = adapter.check(family, &base_slots, base.config.tied)?;
    let head = family.names.head;
    let mut config = base.config.clone();
    config.vocab_size = plan.rows;
    // a branch on a tied head makes it another matrix than the embedding
    config.tied = plan.tied && !targets.iter().any(|t| t.path == head);
    let base_embed = base_slots.iter().find(|s| s.place == Place::Embed);

    let read = |slot: &Slot| -> Result<Vec<f32>> {
        // the untied head of a tied base starts from the embedding: the adapter's if that one is shared, else the base's
        let whole = adapter
            .whole
            .get(&slot.name)
            .or_else(|| (slot.place == Place::Head && plan.tied).then(|| adapter.whole.get(&format!("{}.weight", family.names.embed)))?);
        let mut data = match whole {
            Some(whole) if slot.transposed => transposed(&whole.data, slot.shape[1], slot.shape[0]),
            Some(whole) => whole.data.clone(),
            None => match base_embed.filter(|_| slot.place == Place::Head && base.config.tied) {
                Some(embed) => base.read(embed)?,
                None => base.read(slot)?,
            },
        };
        if slot.shape.len() == 2
            && let Some(target) = targets.iter().find(|t| t.path == slot.module)
            && let Some(branch) = adapter.branches.get(&target.path)
        {
            add_low_rank(&mut data, &branch.a, &branch.b, target.rank, target.scale);
        }
        Ok(data)
    };
    let generation = base.path().join("generation_config.json");
    let generation = if generation.is_file() { Some(crate::load::json(&generation)?) } else { None };
    write_model(out.as_ref(), &config, generation, options, read)?;
    let written = slots(&config);
    let mut notes = base.notes.clone();
    if base.config.tied && !config.tied {
        notes.push("the adapter changes embedding or head alone: they are two matrices in the merged model".into());
    }
    Ok(MergeReport { tensors: written.len(), merged: targets.len(), replaced: adapter.whole.len(), parameters: config.parameters(), notes })
}
