//! LLaMA-Factory's `dataset_info.json`: a catalogue that says for each data set where it is and what its columns mean.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::Error;
use crate::settings::{ColumnSpec, Shape, SourceEntry, Tags};

/// A catalogue of data sets.
#[derive(Debug, Clone)]
pub struct DatasetInfo {
    path: PathBuf,
    entries: BTreeMap<String, InfoEntry>,
}

/// One data set of the catalogue. Keys that mean nothing for training on text (`images`, …) are ignored: the file is foreign.
#[derive(Debug, Clone, Deserialize)]
struct InfoEntry {
    file_name: Option<String>,
    hf_hub_url: Option<String>,
    script_url: Option<String>,
    formatting: Option<String>,
    #[serde(default)]
    ranking: bool,
    subset: Option<String>,
    split: Option<String>,
    num_samples: Option<usize>,
    #[serde(default)]
    columns: BTreeMap<String, Option<String>>,
    #[serde(default)]
    tags: InfoTags,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct InfoTags {
    role_tag: Option<String>,
    content_tag: Option<String>,
    user_tag: Option<String>,
    assistant_tag: Option<String>,
    observation_tag: Option<String>,
    function_tag: Option<String>,
    system_tag: Option<String>,
}

impl DatasetInfo {
    /// Whether this path is a catalogue by its name.
    pub fn is_one(path: &Path) -> bool {
        path.file_name().is_some_and(|name| name == "dataset_info.json")
    }

    /// Reads a catalogue; for a directory, the `dataset_info.json` in it.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let path = if path.is_dir() { path.join("dataset_info.json") } else { path.to_path_buf() };
        let text = std::fs::read_to_string(&path).map_err(|e| Error::io(&path, e))?;
        let text = text.strip_prefix('\u{FEFF}').unwrap_or(&text);
        let entries = serde_json::from_str(text).map_err(|e| Error::file(&path, e.line(), format!("not a dataset_info.json: {e}")))?;
        Ok(DatasetInfo { path, entries })
    }

    /// The names of the data sets, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// What the catalogue says about `name`, as a recipe would: a file beside the catalogue, or a hub data set.
    pub fn entry(&self, name: &str) -> Result<SourceEntry, Error> {
        let refuse = |reason: String| Error::setting("name", format!("{}: {name}: {reason}", self.path.display()));
        let Some(info) = self.entries.get(name) else {
            let names: Vec<&str> = self.names().collect();
            return Err(refuse(format!("no such data set; there are: {}", names.join(", "))));
        };
        if info.ranking {
            return Err(refuse("preference pairs (`ranking: true`) cannot be trained on here".into()));
        }
        let source = match (&info.file_name, &info.hf_hub_url) {
            (Some(file), _) => self.path.parent().unwrap_or(Path::new("")).join(file).to_string_lossy().into_owned(),
            (None, Some(_)) if info.subset.as_deref().is_some_and(|s| s != "default") => {
                return Err(refuse("`subset` is not followed: name the files with `source: hf:datasets/org/name/path`".into()));
            }
            (None, Some(url)) => format!("hf:datasets/{url}"),
            (None, None) if info.script_url.is_some() => return Err(refuse("`script_url`: scripts are not run".into())),
            (None, None) => return Err(refuse("neither `file_name` nor `hf_hub_url`".into())),
        };
        let (shape, roles): (Shape, &[(&str, &str)]) = match info.formatting.as_deref().unwrap_or("alpaca") {
            "alpaca" => (Shape::Alpaca, &[("prompt", "instruction"), ("query", "input"), ("response", "output"), ("history", "history")]),
            "sharegpt" => (Shape::Sharegpt, &[("messages", "conversations")]),
            "openai" => (Shape::Messages, &[("messages", "messages")]),
            other => return Err(refuse(format!("`formatting: {other}` is unknown; there are alpaca, sharegpt and openai"))),
        };
        let shared = [("system", "system"), ("tools", "tools")];
        let columns = roles.iter().chain(&shared).filter_map(|(theirs, ours)| {
            let column = info.columns.get(*theirs)?.as_deref()?;
            Some(((*ours).to_owned(), ColumnSpec::from(column)))
        });
        let tags = info.tags.clone();
        Ok(SourceEntry {
            source,
            split: info.split.clone(),
            shape: Some(shape),
            columns: columns.collect(),
            tags: Tags {
                role_tag: tags.role_tag,
                content_tag: tags.content_tag,
                user_tag: tags.user_tag,
                assistant_tag: tags.assistant_tag,
                observation_tag: tags.observation_tag,
                function_tag: tags.function_tag,
                system_tag: tags.system_tag,
            },
            num_samples: info.num_samples,
            ..Default::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::file;
    use super::*;

    const INFO: &str = r#"{
        "alpaca_zh": {"file_name": "alpaca_zh.json", "columns": {"prompt": "问", "response": "答", "images": "pics"}, "num_samples": 10},
        "chats": {"hf_hub_url": "org/chats", "split": "train", "formatting": "sharegpt",
                  "columns": {"messages": "conv", "system": "sys"}, "tags": {"user_tag": "customer"}},
        "pairs": {"file_name": "x.json", "ranking": true}, "other": {"hf_hub_url": "a/b", "subset": "en"}
    }"#;

    #[test]
    fn entries_become_sources() {
        let (dir, path) = file("dataset_info.json", INFO);
        assert!(DatasetInfo::is_one(&path));
        let info = DatasetInfo::open(dir.path()).unwrap();
        let entry = info.entry("alpaca_zh").unwrap();
        assert_eq!(Path::new(&entry.source), dir.path().join("alpaca_zh.json"));
        assert_eq!((entry.shape, entry.num_samples), (Some(Shape::Alpaca), Some(10)));
        assert_eq!(entry.columns, BTreeMap::from([("instruction".into(), "问".into()), ("output".into(), "答".into())]));
        let entry = info.entry("chats").unwrap();
        assert_eq!((entry.source.as_str(), entry.split.as_deref()), ("hf:datasets/org/chats", Some("train")));
        assert_eq!(entry.columns["conversations"], "conv".into());
        assert_eq!(entry.tags.user_tag.as_deref(), Some("customer"));
    }

    #[test]
    fn what_cannot_be_used_says_so() {
        let (_dir, path) = file("dataset_info.json", INFO);
        let info = DatasetInfo::open(&path).unwrap();
        for (name, part) in [("none", "alpaca_zh, chats, other, pairs"), ("pairs", "ranking"), ("other", "subset")] {
            let error = info.entry(name).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
