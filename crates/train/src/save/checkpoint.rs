//! Checkpoints: written beside their place, marked when whole, then moved there.
//!
//! A checkpoint is a directory `checkpoint-STEP` (`checkpoint-STEP+BATCHES` if it was taken within an accumulation group):
//!
//! | file | content |
//! |---|---|
//! | `state.safetensors` | `value/NAME`, `m/NAME`, `v/NAME` of each trainable tensor; `grad/NAME` within a group |
//! | `trainer_state.json` | [`Saved`]: progress, recipe, lengths of the metric files |
//! | others | what the caller's exporter adds, e.g. a PEFT adapter |
//! | `DONE` | the marker, last: size and SHA-256 of every other file |
//!
//! It is built as `NAME.partial` and renamed when everything is on the disk, so a directory of the final name is whole.
//! Removal goes the other way: renamed to `NAME.old` first. Leftovers of either kind are swept away by the next run.

use std::fs;
use std::path::{Path, PathBuf};

use engine::{AdamW, ParamStore};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::disk::{At, Disk};
use super::tensors::{self, Entry, HashedFile, Written, hex};
use crate::error::{Result, TrainError};
use crate::progress::Progress;

/// The marker's name.
pub(crate) const MARKER: &str = "DONE";
/// The tensors' file.
pub(crate) const TENSORS: &str = "state.safetensors";
/// The file of everything else.
pub(crate) const STATE: &str = "trainer_state.json";
/// Version of this layout; readers refuse a newer one.
pub(crate) const FORMAT: u32 = 1;

/// `trainer_state.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Saved {
    /// Version of the layout.
    pub format: u32,
    /// How far the run is.
    pub progress: Progress,
    /// Updates made by the optimizer.
    pub optimizer_steps: u64,
    /// Within an accumulation group: which tensors have received a gradient, in the store's order.
    pub received: Vec<bool>,
    /// Length of `metrics.jsonl`.
    pub metrics_bytes: u64,
    /// TensorBoard's file and its length.
    pub events: Option<(String, u64)>,
    /// The recipe: (key, value).
    pub recipe: Vec<(String, String)>,
}

/// `DONE`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marker {
    /// Version of the layout.
    pub format: u32,
    /// Every other file.
    pub files: Vec<MarkedFile>,
}

/// A file of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MarkedFile {
    /// Its path within the checkpoint.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
}

/// The directory name of a checkpoint.
pub(crate) fn name(step: u64, batches: u64) -> String {
    if batches == 0 { format!("checkpoint-{step}") } else { format!("checkpoint-{step}+{batches}") }
}

/// Adds files to a checkpoint that is being written, e.g. the adapter in PEFT's format.
pub(crate) type Export<'a> = &'a dyn Fn(&Path) -> Result<()>;

/// Writes a checkpoint into `output` and returns its directory and size.
///
/// # Errors
/// If anything cannot be written; `output` then holds the checkpoints it held before.
pub(crate) fn write(
    disk: &dyn Disk,
    output: &Path,
    saved: &Saved,
    params: &ParamStore,
    optimizer: &AdamW,
    export: Option<Export<'_>>,
) -> Result<(PathBuf, u64)> {
    let name = name(saved.progress.step, saved.progress.batches);
    let target = output.join(&name);
    let partial = output.join(format!("{name}.partial"));
    if partial.exists() {
        disk.remove_dir_all(&partial).at("remove", &partial)?;
    }
    let bytes = match build(disk, &partial, saved, params, optimizer, export) {
        Ok(bytes) => bytes,
        Err(error) => {
            // Best effort: on a full disk the half-written files should not stay. The first error is the one that matters.
            let _ = disk.remove_dir_all(&partial);
            return Err(error);
        }
    };
    if target.exists() {
        // Only a damaged one can be there: the loop never writes the same checkpoint twice.
        remove(disk, &target)?;
    }
    disk.rename(&partial, &target).at("rename", &partial)?;
    disk.sync(output).at("write", output)?;
    Ok((target, bytes))
}

/// Writes all files of a checkpoint, the marker last, and returns their size.
fn build(
    disk: &dyn Disk,
    partial: &Path,
    saved: &Saved,
    params: &ParamStore,
    optimizer: &AdamW,
    export: Option<Export<'_>>,
) -> Result<u64> {
    disk.create_dir_all(partial).at("create", partial)?;
    let mut files = Vec::new();
    let mut add = |name: &str, written: Written| {
        files.push(MarkedFile { name: name.to_owned(), bytes: written.bytes, sha256: written.sha256 });
    };

    let mut entries = Vec::new();
    for ((_, param), moments) in params.iter().zip(optimizer.moments()) {
        let mut entry = |kind: &str, data| entries.push(Entry { name: format!("{kind}/{}", param.name), shape: &param.shape, data });
        entry("value", param.value.as_slice());
        entry("m", moments.m.as_slice());
        entry("v", moments.v.as_slice());
        if saved.progress.batches > 0 {
            entry("grad", param.grad.as_slice());
        }
    }
    add(TENSORS, tensors::write(disk, &partial.join(TENSORS), &entries)?);
    add(STATE, write_json(disk, &partial.join(STATE), saved)?);

    if let Some(export) = export {
        export(partial)?;
        let mut exported = Vec::new();
        list_files(partial, Path::new(""), &mut exported)?;
        for name in exported.into_iter().filter(|name| name != TENSORS && name != STATE) {
            let path = partial.join(&name);
            disk.sync(&path).at("write", &path)?;
            add(&name, hash_file(&path)?);
        }
    }
    let marker = Marker { format: FORMAT, files };
    let bytes = marker.files.iter().map(|file| file.bytes).sum();
    // The files' names must be on the disk before the marker that vouches for them.
    disk.sync(partial).at("write", partial)?;
    write_json(disk, &partial.join(MARKER), &marker)?;
    disk.sync(partial).at("write", partial)?;
    Ok(bytes)
}

fn write_json(disk: &dyn Disk, path: &Path, value: &impl Serialize) -> Result<Written> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|error| TrainError::Checkpoint { path: path.to_path_buf(), why: format!("cannot be written: {error}") })?;
    text.push('\n');
    let mut file = HashedFile::create(disk, path)?;
    file.write(text.as_bytes())?;
    file.finish()
}

/// Names of all files below `root`, sorted, with `/` between the parts.
fn list_files(root: &Path, below: &Path, names: &mut Vec<String>) -> Result<()> {
    let dir = root.join(below);
    let mut entries = fs::read_dir(&dir).at("list", &dir)?.collect::<std::io::Result<Vec<_>>>().at("list", &dir)?;
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        let path = below.join(entry.file_name());
        if entry.path().is_dir() {
            list_files(root, &path, names)?;
        } else {
            names.push(path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/"));
        }
    }
    Ok(())
}

/// Length and hash of a file on the disk.
pub(crate) fn hash_file(path: &Path) -> Result<Written> {
    use std::io::Read;
    let mut file = fs::File::open(path).at("read", path)?;
    let (mut hash, mut bytes, mut buffer) = (Sha256::new(), 0u64, vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).at("read", path)? {
            0 => return Ok(Written { bytes, sha256: hex(&hash.finalize()) }),
            read => {
                hash.update(&buffer[..read]);
                bytes += read as u64;
            }
        }
    }
}

/// Removes a checkpoint; if interrupted, no directory of its name is left.
///
/// # Errors
/// If it cannot be renamed or removed.
pub(crate) fn remove(disk: &dyn Disk, checkpoint: &Path) -> Result<()> {
    let old = suffixed(checkpoint, ".old");
    if old.exists() {
        disk.remove_dir_all(&old).at("remove", &old)?;
    }
    disk.rename(checkpoint, &old).at("rename", checkpoint)?;
    if let Some(output) = checkpoint.parent() {
        disk.sync(output).at("write", output)?; // else a power failure could bring the name back without its files
    }
    disk.remove_dir_all(&old).at("remove", &old)
}

/// Renames a damaged checkpoint so that it is not taken for one, replacing an earlier one of that name.
///
/// # Errors
/// If it cannot be renamed.
pub(crate) fn set_aside(disk: &dyn Disk, checkpoint: &Path) -> Result<()> {
    let aside = suffixed(checkpoint, ".damaged");
    if aside.exists() {
        disk.remove_dir_all(&aside).at("remove", &aside)?;
    }
    disk.rename(checkpoint, &aside).at("rename", checkpoint)
}

/// Removes what interrupted writing and removing left behind.
///
/// # Errors
/// If something cannot be removed.
pub(crate) fn sweep(disk: &dyn Disk, output: &Path) -> Result<()> {
    let entries = fs::read_dir(output).at("list", output)?.collect::<std::io::Result<Vec<_>>>().at("list", output)?;
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("checkpoint-") && (name.ends_with(".partial") || name.ends_with(".old")) {
            disk.remove_dir_all(&entry.path()).at("remove", &entry.path())?;
        }
    }
    Ok(())
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
