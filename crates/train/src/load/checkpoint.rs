//! Finds the newest whole checkpoint of a directory and puts its state back.

use std::fs;
use std::path::{Path, PathBuf};

use engine::{AdamW, Moments, ParamStore};

use super::tensors::Tensors;
use crate::error::{ChangedKey, Result, TrainError};
use crate::save::checkpoint::{FORMAT, MARKER, Marker, STATE, Saved, TENSORS, hash_file};
use crate::save::disk::At;

/// A checkpoint by its directory's name, not yet looked into.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    /// Optimizer steps done.
    pub step: u64,
    /// Batches done of the next step.
    pub batches: u64,
    /// The directory.
    pub path: PathBuf,
}

/// All checkpoints of a directory, oldest first. Unfinished ones have other names and are not among them.
pub(crate) fn list(output: &Path) -> Result<Vec<Found>> {
    let entries = fs::read_dir(output).at("list", output)?.collect::<std::io::Result<Vec<_>>>().at("list", output)?;
    let mut found: Vec<Found> = entries
        .iter()
        .filter_map(|entry| {
            let name = entry.file_name();
            let (step, batches) = parse(name.to_str()?)?;
            Some(Found { step, batches, path: entry.path() })
        })
        .collect();
    found.sort();
    Ok(found)
}

fn parse(name: &str) -> Option<(u64, u64)> {
    let rest = name.strip_prefix("checkpoint-")?;
    match rest.split_once('+') {
        None => Some((rest.parse().ok()?, 0)),
        Some((step, batches)) => Some((step.parse().ok()?, batches.parse().ok()?)),
    }
}

/// Where a run can go on.
#[derive(Debug, Default)]
pub(crate) struct Newest {
    /// The newest whole checkpoint and what it says.
    pub checkpoint: Option<(Found, Saved)>,
    /// A line on each newer one that is damaged.
    pub notes: Vec<String>,
}

/// The newest whole checkpoint and what it says, and a note on each newer one that is damaged.
///
/// # Errors
/// If there are checkpoints but none is whole: starting over would hide the damage.
pub(crate) fn newest(output: &Path) -> Result<Newest> {
    let (mut notes, mut first_error) = (Vec::new(), None);
    for found in list(output)?.into_iter().rev() {
        match open(&found.path) {
            Ok(saved) => return Ok(Newest { checkpoint: Some((found, saved)), notes }),
            Err(error) => {
                notes.push(format!("{error}; going back to the checkpoint before it"));
                first_error.get_or_insert(error);
            }
        }
    }
    match first_error {
        Some(error) => Err(error),
        None => Ok(Newest::default()),
    }
}

/// Checks that a checkpoint is whole, byte by byte, and reads `trainer_state.json`.
pub(crate) fn open(checkpoint: &Path) -> Result<Saved> {
    let damaged = |why: String| TrainError::Checkpoint { path: checkpoint.to_path_buf(), why };
    let marker = fs::read(checkpoint.join(MARKER)).map_err(|_| damaged(format!("incomplete: its marker {MARKER} cannot be read")))?;
    let marker: Marker = serde_json::from_slice(&marker).map_err(|error| damaged(format!("its marker {MARKER} is damaged: {error}")))?;
    if marker.format > FORMAT {
        return Err(damaged(format!("written by a newer version (format {}, this one reads {FORMAT})", marker.format)));
    }
    for file in &marker.files {
        let actual = hash_file(&checkpoint.join(&file.name))?;
        if actual.bytes != file.bytes || actual.sha256 != file.sha256 {
            return Err(damaged(format!("damaged: {} is not what was written", file.name)));
        }
    }
    let state = checkpoint.join(STATE);
    let text = fs::read(&state).at("read", &state)?;
    serde_json::from_slice(&text).map_err(|error| damaged(format!("{STATE} is not understood: {error}")))
}

/// Refuses a checkpoint that was made with another recipe.
///
/// # Errors
/// [`TrainError::RecipeChanged`] with every key that differs.
pub(crate) fn check_recipe(checkpoint: &Path, old: &[(String, String)], new: &[(String, String)]) -> Result<()> {
    let value = |list: &[(String, String)], key: &str| {
        list.iter().find(|(name, _)| name == key).map_or_else(|| "(not set)".to_owned(), |(_, value)| value.clone())
    };
    let mut keys: Vec<&str> = new.iter().chain(old).map(|(key, _)| key.as_str()).collect();
    let mut seen = std::collections::BTreeSet::new();
    keys.retain(|key| seen.insert(*key));
    let changes: Vec<ChangedKey> = keys
        .into_iter()
        .map(|key| ChangedKey { key: key.to_owned(), old: value(old, key), new: value(new, key) })
        .filter(|change| change.old != change.new)
        .collect();
    if changes.is_empty() { Ok(()) } else { Err(TrainError::RecipeChanged { checkpoint: checkpoint.to_path_buf(), changes }) }
}

/// Puts weights, optimizer and, within an accumulation group, gradients back.
///
/// # Errors
/// If the tensors are not those of `params`.
pub(crate) fn restore(checkpoint: &Path, saved: &Saved, params: &mut ParamStore, optimizer: &mut AdamW) -> Result<()> {
    restore_values(checkpoint, params)?;
    let path = checkpoint.join(TENSORS);
    let mut tensors = Tensors::open(&path)?;
    let mut moments = Vec::with_capacity(params.len());
    for (index, (_, param)) in params.iter_mut().enumerate() {
        let mut read = |kind: &str, into: &mut [f32]| tensors.read_into(&format!("{kind}/{}", param.name), &param.shape, into);
        let mut of_param = Moments { m: vec![0.0; param.value.len()], v: vec![0.0; param.value.len()] };
        read("m", &mut of_param.m)?;
        read("v", &mut of_param.v)?;
        if saved.progress.batches > 0 {
            read("grad", &mut param.grad)?;
            param.received = saved.received.get(index).copied().unwrap_or(false);
        }
        moments.push(of_param);
    }
    optimizer.restore(saved.optimizer_steps, moments, params).map_err(|error| TrainError::Checkpoint { path, why: error.to_string() })
}

/// Puts the weights alone back.
///
/// # Errors
/// If the tensors are not those of `params`.
pub(crate) fn restore_values(checkpoint: &Path, params: &mut ParamStore) -> Result<()> {
    let path = checkpoint.join(TENSORS);
    let mut tensors = Tensors::open(&path)?;
    if tensors.count("value/") != params.len() {
        let why = format!("it holds {} trained tensors, the model has {}", tensors.count("value/"), params.len());
        return Err(TrainError::Checkpoint { path, why });
    }
    for (_, param) in params.iter_mut() {
        tensors.read_into(&format!("value/{}", param.name), &param.shape, &mut param.value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_checkpoints() {
        assert_eq!(parse("checkpoint-12"), Some((12, 0)));
        assert_eq!(parse("checkpoint-12+3"), Some((12, 3)));
        for other in ["checkpoint-12.partial", "checkpoint-12+3.old", "checkpoint-", "checkpoint-best", "model"] {
            assert_eq!(parse(other), None, "{other}");
        }
        let mut names = ["checkpoint-9", "checkpoint-10", "checkpoint-9+2"].map(|name| (parse(name), name));
        names.sort();
        assert_eq!(names.map(|(_, name)| name), ["checkpoint-9", "checkpoint-9+2", "checkpoint-10"]);
    }

    #[test]
    fn every_changed_key_is_named_once() {
        let list = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect::<Vec<_>>();
        let old = list(&[("learning_rate", "0.1"), ("seed", "1"), ("gone", "x")]);
        let new = list(&[("learning_rate", "0.2"), ("seed", "1"), ("added", "y")]);
        let error = check_recipe(Path::new("run/checkpoint-3"), &old, &new).unwrap_err();
        let TrainError::RecipeChanged { changes, .. } = &error else { panic!("{error}") };
        assert_eq!(changes.iter().map(|c| c.key.as_str()).collect::<Vec<_>>(), ["learning_rate", "added", "gone"]);
        assert!(error.is_user_input() && error.to_string().contains("learning_rate: was 0.1, now 0.2"), "{error}");
        check_recipe(Path::new("x"), &old, &old).unwrap();
    }
}
