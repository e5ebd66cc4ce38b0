//! safetensors out: one file, or shards with an index.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::{AtomicFile, LazyTensor, check_names, unwritable, write_atomic};
use crate::Result;
use crate::safetensors::{INDEX_FILE, SINGLE_FILE};

/// Writes a safetensors file. Tensors lie in the given order, except that wider elements come first (stably), so that each
/// tensor is aligned to its element.
///
/// # Errors
/// [`Error::Unwritable`](crate::Error::Unwritable) for a duplicate name, a wrong byte count or a ggml block type;
/// [`Error::Produce`](crate::Error::Produce) when a closure fails; [`Error::Io`](crate::Error::Io). After an error the
/// destination is as it was before.
pub fn write_safetensors<'a>(
    path: impl AsRef<Path>,
    metadata: &BTreeMap<String, String>,
    tensors: impl IntoIterator<Item = LazyTensor<'a>>,
) -> Result<()> {
    write_file(path.as_ref(), metadata, tensors.into_iter().collect())
}

fn write_file(path: &Path, metadata: &BTreeMap<String, String>, mut tensors: Vec<LazyTensor<'_>>) -> Result<()> {
    check_names(path, &tensors)?;
    tensors.sort_by_key(|t| std::cmp::Reverse(t.dtype.block_bytes()));
    let header = header(path, metadata, &tensors)?;
    let mut file = AtomicFile::create(path)?;
    file.put(&(header.len() as u64).to_le_bytes())?;
    file.put(&header)?;
    for tensor in tensors {
        let (_, bytes) = tensor.bytes(path)?;
        file.put(&bytes)?;
    }
    file.commit()
}

/// The JSON header, padded with spaces so that the data start at a multiple of eight.
fn header(path: &Path, metadata: &BTreeMap<String, String>, tensors: &[LazyTensor<'_>]) -> Result<Vec<u8>> {
    let mut object = Map::new(); // keeps the order of insertion
    if !metadata.is_empty() {
        object.insert("__metadata__".to_owned(), json!(metadata));
    }
    let mut begin = 0usize;
    for t in tensors {
        let size = checked_size(path, t)?;
        let end = begin.checked_add(size).ok_or_else(|| unwritable(path, t.name(), "the file would be too large"))?;
        object.insert(t.name.clone(), json!({"dtype": t.dtype.name(), "shape": t.shape, "data_offsets": [begin, end]}));
        begin = end;
    }
    let mut text = Value::Object(object).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    Ok(text)
}

/// The tensor's size, if a safetensors file can hold it.
fn checked_size(path: &Path, t: &LazyTensor<'_>) -> Result<usize> {
    if !t.dtype.in_safetensors() {
        return Err(unwritable(path, t.name(), format!("safetensors has no {}; store it as F32, F16 or BF16", t.dtype)));
    }
    if t.name == "__metadata__" {
        return Err(unwritable(path, t.name(), "the name is reserved"));
    }
    t.size(path)
}

/// Writes `model.safetensors` into `dir`, or, if the tensors take more than `max_shard_bytes`, shards
/// `model-00001-of-0000N.safetensors` with `model.safetensors.index.json`, split in the given order as Hugging Face's
/// `save_pretrained` does. Returns the files, the index last. Weights of an earlier, differently sharded model in `dir`
/// are removed once the new ones are in place; a write that fails may leave `dir` without a loadable model, never with one
/// mixed of both.
///
/// # Errors
/// As [`write_safetensors`].
pub fn write_sharded<'a>(
    dir: impl AsRef<Path>,
    metadata: &BTreeMap<String, String>,
    tensors: impl IntoIterator<Item = LazyTensor<'a>>,
    max_shard_bytes: u64,
) -> Result<Vec<PathBuf>> {
    let dir = dir.as_ref();
    let tensors: Vec<_> = tensors.into_iter().collect();
    check_names(dir, &tensors)?;
    let mut shards: Vec<Vec<LazyTensor<'a>>> = vec![Vec::new()];
    let (mut total, mut parameters, mut in_shard) = (0u64, 0u64, 0u64);
    for tensor in tensors {
        let size = checked_size(dir, &tensor)? as u64;
        let full = in_shard > 0 && in_shard.saturating_add(size) > max_shard_bytes;
        if full {
            shards.push(Vec::new());
            in_shard = 0;
        }
        in_shard = in_shard.saturating_add(size);
        total = total.saturating_add(size);
        parameters = parameters.saturating_add(tensor.shape.iter().map(|&d| d as u64).product());
        shards.last_mut().expect("starts with one and only grows").push(tensor);
    }
    let files = if shards.len() == 1 {
        let path = dir.join(SINGLE_FILE);
        write_file(&path, metadata, shards.remove(0))?;
        vec![path]
    } else {
        write_shards(dir, metadata, shards, total, parameters)?
    };
    remove_stale(dir, &files)?;
    Ok(files)
}

fn write_shards(
    dir: &Path,
    metadata: &BTreeMap<String, String>,
    shards: Vec<Vec<LazyTensor<'_>>>,
    total: u64,
    parameters: u64,
) -> Result<Vec<PathBuf>> {
    // Shards of an earlier model may have the same names: without its index a write that ends halfway leaves a directory
    // that is no model, rather than one mixed of two.
    let index_path = dir.join(INDEX_FILE);
    match std::fs::remove_file(&index_path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(crate::Error::io(&index_path, "remove")(e)),
        _ => {}
    }
    let count = shards.len();
    let mut files = Vec::with_capacity(count + 1);
    let mut weight_map = BTreeMap::new();
    for (i, shard) in shards.into_iter().enumerate() {
        let name = format!("model-{:05}-of-{count:05}.safetensors", i + 1);
        weight_map.extend(shard.iter().map(|t| (t.name.clone(), name.clone())));
        let path = dir.join(&name);
        write_file(&path, metadata, shard)?;
        files.push(path);
    }
    let index = json!({"metadata": {"total_parameters": parameters, "total_size": total}, "weight_map": weight_map});
    // The index last: without it the shards are not a model. Pretty, as Hugging Face writes it; people read this file.
    let text = format!("{index:#}\n");
    write_atomic(&index_path, text.as_bytes())?;
    files.push(index_path);
    Ok(files)
}

/// A directory holds one model: readers prefer `model.safetensors` to an index, so a stale one would win.
fn remove_stale(dir: &Path, keep: &[PathBuf]) -> Result<()> {
    let entries = std::fs::read_dir(dir).map_err(crate::Error::io(dir, "list"))?;
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if is_weights_file(name) && !keep.contains(&path) {
            std::fs::remove_file(&path).map_err(crate::Error::io(&path, "remove"))?;
        }
    }
    Ok(())
}

/// `model.safetensors`, its index, or `model-00001-of-00002.safetensors`.
fn is_weights_file(name: &str) -> bool {
    if name == SINGLE_FILE || name == INDEX_FILE {
        return true;
    }
    let digits = |s: &str| s.len() == 5 && s.bytes().all(|b| b.is_ascii_digit());
    name.strip_prefix("model-")
        .and_then(|s| s.strip_suffix(".safetensors"))
        .and_then(|s| s.split_once("-of-"))
        .is_some_and(|(a, b)| digits(a) && digits(b))
}
