//! The weights of a Hugging Face directory: `model.safetensors`, or shards with `model.safetensors.index.json`.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::SafetensorsFile;
use crate::{Error, Result, TensorSource, TensorView};

/// File name of weights that are not sharded.
pub const SINGLE_FILE: &str = "model.safetensors";
/// File name of the index of sharded weights.
pub const INDEX_FILE: &str = "model.safetensors.index.json";
/// An index is a list of names; more than this is no index.
const MAX_INDEX: u64 = 256 << 20;

/// The weights of a directory, sharded or not.
#[derive(Debug)]
pub struct ShardedSafetensors {
    /// The single file, or the index.
    path: PathBuf,
    shards: Vec<SafetensorsFile>,
    /// Tensor name to shard.
    index: HashMap<String, usize>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl ShardedSafetensors {
    /// Opens `model.safetensors` of `dir`, or else every shard that its index names, and checks that each tensor of the
    /// index is in its shard.
    ///
    /// # Errors
    /// [`Error::NoWeights`], [`Error::MissingShard`], [`Error::MissingTensor`], and those of [`SafetensorsFile::open`].
    pub fn open_dir(dir: impl AsRef<Path>) -> Result<ShardedSafetensors> {
        let dir = dir.as_ref();
        let single = dir.join(SINGLE_FILE);
        if single.is_file() {
            return Self::open_file(single);
        }
        let index = dir.join(INDEX_FILE);
        if index.is_file() { Self::open_index(&index) } else { Err(no_weights(dir)) }
    }

    /// One file, under any name, as if it were a directory's only shard.
    pub fn open_file(path: impl AsRef<Path>) -> Result<ShardedSafetensors> {
        let shard = SafetensorsFile::open(path.as_ref())?;
        let index = shard.tensors().map(|t| (t.name.to_owned(), 0)).collect();
        Ok(ShardedSafetensors { path: path.as_ref().to_owned(), shards: vec![shard], index })
    }

    /// The shards that the index file at `path` names.
    pub fn open_index(path: impl AsRef<Path>) -> Result<ShardedSafetensors> {
        let path = path.as_ref();
        let map = read_index(path)?;
        let mut by_shard: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (tensor, shard) in &map {
            by_shard.entry(shard).or_default().push(tensor);
        }
        let mut shards = Vec::with_capacity(by_shard.len());
        let mut index = HashMap::with_capacity(map.len());
        for (shard, tensors) in by_shard {
            let file = path.with_file_name(shard);
            if !file.is_file() {
                return Err(Error::MissingShard {
                    index: path.to_owned(),
                    shard: shard.to_owned(),
                    tensors: tensors.len(),
                    first: tensors[0].to_owned(), // a shard is listed because of a tensor
                });
            }
            let opened = SafetensorsFile::open(&file)?;
            for tensor in tensors {
                opened.require(tensor)?;
                index.insert(tensor.to_owned(), shards.len());
            }
            shards.push(opened);
        }
        Ok(ShardedSafetensors { path: path.to_owned(), shards, index })
    }

    /// The files, sorted by name.
    pub fn files(&self) -> Vec<PathBuf> {
        self.shards.iter().map(|s| s.path().to_owned()).collect()
    }

    /// The `__metadata__` of the first file.
    pub fn metadata(&self) -> Option<&BTreeMap<String, String>> {
        self.shards.first().map(SafetensorsFile::metadata)
    }
}

fn read_index(path: &Path) -> Result<BTreeMap<String, String>> {
    let size = std::fs::metadata(path).map_err(Error::io(path, "read the size of"))?.len();
    if size > MAX_INDEX {
        return Err(Error::damaged(path, "index", format!("{size} bytes are too many for an index")));
    }
    let text = std::fs::read(path).map_err(Error::io(path, "read"))?;
    let index: Index = serde_json::from_slice(&text).map_err(|e| Error::damaged(path, "index", e.to_string()))?;
    for (tensor, shard) in &index.weight_map {
        // A name, not a path: an index must not be able to point outside its directory.
        if shard.is_empty() || shard == ".." || shard == "." || shard.contains(['/', '\\', '\0']) {
            let reason = format!("`{shard}` is not a file name");
            return Err(Error::damaged(path, format!("weight_map of `{tensor}`"), reason));
        }
    }
    Ok(index.weight_map)
}

fn no_weights(dir: &Path) -> Error {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .map(|entries| entries.flatten().filter_map(|e| e.file_name().into_string().ok()).collect())
        .unwrap_or_default();
    names.sort();
    let like = |ending: &str| names.iter().find(|n| n.ends_with(ending)).cloned();
    let (found, hint) = if let Some(name) = like(".gguf") {
        (format!(", but `{name}`"), "give the path of that file instead of its directory")
    } else if names.iter().any(|n| n == "adapter_model.safetensors") {
        (", but an adapter".to_owned(), "an adapter needs its base model: give the base model here")
    } else if let Some(name) = like(".bin").or_else(|| like(".pt")).or_else(|| like(".pth")) {
        (format!(", but `{name}`"), "convert it with `save_pretrained(safe_serialization=True)`: pickled weights run code when read")
    } else if !dir.is_dir() {
        (" (there is no such directory)".to_owned(), "check the path")
    } else {
        (String::new(), "give a directory that holds a model")
    };
    Error::NoWeights { dir: dir.to_owned(), found, hint }
}

impl TensorSource for ShardedSafetensors {
    fn names(&self) -> Vec<String> {
        let listed = |i: usize, name: &str| self.index.get(name) == Some(&i);
        self.shards.iter().enumerate().flat_map(|(i, shard)| shard.names().into_iter().filter(move |n| listed(i, n))).collect()
    }

    fn tensor(&self, name: &str) -> Option<TensorView<'_>> {
        self.index.get(name).and_then(|&i| self.shards[i].tensor(name))
    }

    fn path(&self) -> &Path {
        &self.path
    }
}
