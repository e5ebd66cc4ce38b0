//! Which files of a repository, wheel or directory make up what the caller wants, judged from their names alone, so that nothing
//! superfluous is downloaded (a repository often holds the same weights three times).

use std::path::Path;

use crate::Want;
use crate::error::{Result, SourceError};
use crate::splits;

/// The files to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selection {
    /// Paths from the listing's top, sorted.
    pub files: Vec<String>,
    /// The directory that they are relative to (empty: the top), or `None` when the first file itself is what is wanted.
    pub dir: Option<String>,
    /// What the user should know about the choice.
    pub notes: Vec<String>,
}

impl Selection {
    pub fn file(path: &str) -> Self {
        Self { files: vec![path.to_owned()], dir: None, notes: Vec::new() }
    }
}

/// What there is to choose from.
pub(crate) struct Offer<'a> {
    /// Names the source in messages.
    pub what: &'a str,
    /// Every file, with `/` between parts.
    pub names: &'a [String],
    /// The text of its README, whose head may describe a data set's splits.
    pub readme: Option<&'a str>,
}

/// Chooses. `path` is the file or folder inside the source that its name gives.
pub(crate) fn choose(offer: &Offer<'_>, path: Option<&str>, want: &Want) -> Result<Selection> {
    let path = path.map(|p| p.trim_matches('/')).filter(|p| !p.is_empty());
    let exact = path.filter(|p| offer.names.iter().any(|n| n == p));
    match want {
        Want::File => match (exact, path) {
            (Some(file), _) => Ok(Selection::file(file)),
            (None, Some(path)) => Err(missing(offer, path)),
            (None, None) => Err(unusable(offer, format!("it holds many files: add the path of one, such as {}", example(offer)))),
        },
        Want::ModelDir => match (exact, path) {
            (Some(file), _) => model_file(offer, file),
            (None, Some(folder)) if !has_folder(offer, folder) => Err(missing(offer, folder)),
            (None, folder) => model_dir(offer, folder.unwrap_or_default()),
        },
        Want::DatasetSplit { split } => match exact {
            Some(file) => Ok(Selection::file(file)),
            None => splits::choose(offer, path, split.as_deref()),
        },
    }
}

fn has_folder(offer: &Offer<'_>, folder: &str) -> bool {
    offer.names.iter().any(|n| inside(n, folder).is_some())
}

/// The rest of `name` below `folder` (empty: the top).
pub(crate) fn inside<'a>(name: &'a str, folder: &str) -> Option<&'a str> {
    if folder.is_empty() { Some(name) } else { name.strip_prefix(folder)?.strip_prefix('/') }
}

pub(crate) fn unusable(offer: &Offer<'_>, reason: String) -> SourceError {
    SourceError::Unusable { what: offer.what.to_owned(), reason }
}

/// Not there; the nearest thing that is.
pub(crate) fn missing(offer: &Offer<'_>, path: &str) -> SourceError {
    let last = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    let mut near: Vec<&str> = offer.names.iter().map(String::as_str).filter(|n| n.to_ascii_lowercase().contains(&last)).collect();
    let known = if near.is_empty() { "it holds" } else { "did you mean" };
    if near.is_empty() {
        near = offer.names.iter().map(String::as_str).collect();
    }
    SourceError::NotFound { what: format!("`{path}` in {}", offer.what), reason: format!("{known} {}", listed(&near)) }
}

/// The first few names.
pub(crate) fn listed(names: &[&str]) -> String {
    const SHOWN: usize = 12;
    match names.len() {
        0 => "no files at all".to_owned(),
        n if n <= SHOWN => names.join(", "),
        n => format!("{}, and {} more", names[..SHOWN].join(", "), n - SHOWN),
    }
}

fn example<'a>(offer: &'a Offer<'_>) -> &'a str {
    offer.names.iter().map(String::as_str).find(|n| !n.starts_with('.') && *n != "README.md").unwrap_or("file")
}

fn extension(name: &str) -> String {
    name.rsplit('/').next().and_then(|n| n.rsplit_once('.')).map(|(_, e)| e.to_ascii_lowercase()).unwrap_or_default()
}

/// A model that is one named file: a GGUF, with its other parts where it is split.
fn model_file(offer: &Offer<'_>, file: &str) -> Result<Selection> {
    if extension(file) != "gguf" {
        let reason = format!("`{file}` alone is no model: name a .gguf file, or the folder with config.json and *.safetensors");
        return Err(unusable(offer, reason));
    }
    let mut selection = Selection::file(file);
    if let Some(parts) = parts_of(file) {
        selection.files = all_parts(offer, &parts)?;
    }
    Ok(selection)
}

/// `stem-00001-of-00003.ext`: the stem with its folder, the number of parts, the digits' width, the extension.
struct Parts<'a> {
    stem: &'a str,
    count: usize,
    width: usize,
    ext: &'a str,
}

fn parts_of(name: &str) -> Option<Parts<'_>> {
    let (rest, ext) = name.rsplit_once('.')?;
    let (rest, count) = rest.rsplit_once("-of-")?;
    let (stem, number) = rest.rsplit_once('-')?;
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    (digits(number) && digits(count)).then_some(())?;
    Some(Parts { stem, count: count.parse().ok().filter(|&n| (1..=10_000).contains(&n))?, width: number.len(), ext })
}

impl Parts<'_> {
    fn name(&self, number: usize) -> String {
        let width = self.width;
        format!("{}-{number:0width$}-of-{count:0width$}.{}", self.stem, self.ext, count = self.count)
    }
}

/// Every part of a file that is split, or an error that names the first that is missing. Data sets count from 0, weights from 1.
fn all_parts(offer: &Offer<'_>, parts: &Parts<'_>) -> Result<Vec<String>> {
    let has = |name: &String| offer.names.contains(name);
    let first = if has(&parts.name(0)) { 0 } else { 1 };
    let names: Vec<String> = (first..first + parts.count).map(|i| parts.name(i)).collect();
    match names.iter().find(|n| !has(n)) {
        Some(gap) => Err(unusable(offer, format!("it is incomplete: `{gap}` is missing"))),
        None => Ok(names),
    }
}

/// Checks that files which are parts of something are all there.
pub(crate) fn check_parts(offer: &Offer<'_>, files: &[String]) -> Result<()> {
    for file in files {
        if let Some(parts) = parts_of(file) {
            all_parts(offer, &parts)?;
        }
    }
    Ok(())
}

/// Files that belong to a model beside its weights.
const MODEL_FILES: &[&str] = &[
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "chat_template.jinja",
    "chat_template.json",
    "adapter_config.json",
    "adapter_model.safetensors",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    // What this project itself leaves beside an adapter.
    "tunesmith.json",
];

fn model_dir(offer: &Offer<'_>, folder: &str) -> Result<Selection> {
    let here: Vec<(&str, &str)> = offer.names.iter().filter_map(|n| Some((n.as_str(), inside(n, folder)?))).collect();
    let has = |name: &str| here.iter().any(|(_, rest)| *rest == name);
    let top: Vec<(&str, &str)> = here.iter().copied().filter(|(_, rest)| !rest.contains('/')).collect();
    let adapter = has("adapter_config.json") && has("adapter_model.safetensors");
    if !has("config.json") && !adapter {
        return sole_gguf(offer, &here);
    }
    let mut files: Vec<String> = top.iter().filter(|(_, rest)| MODEL_FILES.contains(rest)).map(|(n, _)| (*n).to_owned()).collect();
    // Pooling layers and additional chat templates lie one folder down.
    let one_down = |rest: &str| {
        rest.split_once('/').is_some_and(|(dir, name)| {
            dir.ends_with("_Pooling") && name == "config.json" || dir == "additional_chat_templates" && name.ends_with(".jinja")
        })
    };
    files.extend(here.iter().filter(|(_, rest)| one_down(rest)).map(|(n, _)| (*n).to_owned()));
    let safetensors: Vec<&str> = top.iter().filter(|(_, rest)| extension(rest) == "safetensors").map(|(n, _)| *n).collect();
    if has("model.safetensors") {
        files.push(join(folder, "model.safetensors"));
    } else if has("model.safetensors.index.json") {
        files.push(join(folder, "model.safetensors.index.json"));
        let shards: Vec<String> = safetensors.iter().filter(|n| parts_of(n).is_some()).map(|n| (*n).to_owned()).collect();
        if shards.is_empty() {
            return Err(unusable(offer, "it has model.safetensors.index.json but none of the shards that it lists".into()));
        }
        check_parts(offer, &shards)?;
        files.extend(shards);
    } else if !adapter {
        // Neither name: one other file of weights is taken for the model, several are not guessed at.
        match &safetensors[..] {
            [one] => files.push((*one).to_owned()),
            [] if top.iter().any(|(_, rest)| extension(rest) == "gguf") => return sole_gguf(offer, &here),
            [] => {
                let pickles = top.iter().any(|(_, rest)| matches!(extension(rest).as_str(), "bin" | "pt" | "pth" | "h5" | "msgpack"));
                let reason = if pickles {
                    "its weights are in formats that are not read (pickles run code when they are opened); look for a revision with \
                     *.safetensors, such as @refs/pr/N in the repository's discussions, or a GGUF version"
                } else {
                    "it has config.json but no weights (*.safetensors or *.gguf)"
                };
                return Err(unusable(offer, reason.into()));
            }
            several => return Err(unusable(offer, format!("several files could be its weights: {}", listed(several)))),
        }
    }
    files.sort();
    files.dedup();
    Ok(Selection { files, dir: Some(folder.to_owned()), notes: Vec::new() })
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// A directory without `config.json` is a model when it holds exactly one GGUF (in one or several parts).
fn sole_gguf(offer: &Offer<'_>, here: &[(&str, &str)]) -> Result<Selection> {
    let ggufs = here.iter().map(|(name, _)| *name).filter(|n| extension(n) == "gguf");
    // Projectors of multi-modal models lie beside the model itself; of a split file the first part stands for all.
    let is_model = |n: &&str| {
        let first = parts_of(n).is_none_or(|p| p.name(1) == **n);
        first && !n.rsplit('/').next().unwrap_or(n).to_ascii_lowercase().starts_with("mmproj")
    };
    let models: Vec<&str> = ggufs.filter(is_model).collect();
    match &models[..] {
        [one] => model_file(offer, one),
        [] => {
            // A package or a folder of one model, such as `package/model/{config.json,model.safetensors}`.
            let weights = |folder: &str| {
                here.iter().any(|(n, _)| inside(n, folder).is_some_and(|r| !r.contains('/') && extension(r) == "safetensors"))
            };
            let homes = here.iter().filter(|(_, rest)| rest.contains('/')).filter_map(|(name, _)| name.strip_suffix("/config.json"));
            let homes: Vec<&str> = homes.filter(|folder| weights(folder)).collect();
            match &homes[..] {
                [one] => return model_dir(offer, one),
                [_, _, ..] => {
                    return Err(unusable(offer, format!("it holds several models: add the path of one of {}", listed(&homes))));
                }
                [] => {}
            }
            let names: Vec<&str> = here.iter().map(|(name, _)| *name).collect();
            Err(unusable(offer, format!("it is no model: neither config.json nor a .gguf file is in it; it holds {}", listed(&names))))
        }
        several => Err(unusable(offer, format!("it holds several models: add the path of one of {}", listed(several)))),
    }
}

/// Reads `model.safetensors.index.json` where there is one, and checks that every shard that it names was chosen. The index itself
/// is not known before it is downloaded.
pub(crate) fn check_index(root: &Path, what: &str) -> Result<()> {
    let index = root.join("model.safetensors.index.json");
    if root.join("model.safetensors").exists() || !index.exists() {
        return Ok(());
    }
    let bytes = std::fs::read(&index).map_err(|e| SourceError::io("reading", &index, e))?;
    let wrong = |reason: String| SourceError::Unusable { what: what.to_owned(), reason };
    let json: serde_json::Value = serde_json::from_slice(&bytes)
        .map_err(|e| wrong(format!("{}: not JSON: {e}; delete the file to fetch it again", index.display())))?;
    let map = json.get("weight_map").and_then(|m| m.as_object());
    let map = map.ok_or_else(|| wrong(format!("{}: weight_map: missing", index.display())))?;
    let mut shards: Vec<&str> = map.values().filter_map(|v| v.as_str()).collect();
    shards.sort_unstable();
    shards.dedup();
    match shards.iter().find(|s| !root.join(s).exists()) {
        Some(gap) => Err(wrong(format!("{} names the shard `{gap}`, which is missing", index.display()))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(names: &[&str], path: Option<&str>, want: Want) -> Result<Selection> {
        let names: Vec<String> = names.iter().map(|n| n.to_string()).collect();
        choose(&Offer { what: "hf:o/n", names: &names, readme: None }, path, &want)
    }

    fn model(names: &[&str], path: Option<&str>) -> std::result::Result<Vec<String>, String> {
        pick(names, path, Want::ModelDir).map(|s| s.files).map_err(|e| e.to_string())
    }

    #[test]
    fn a_hub_model_without_its_duplicates() {
        // The listing of HuggingFaceTB/SmolLM2-135M-Instruct.
        let names = [
            ".gitattributes",
            "README.md",
            "all_results.json",
            "config.json",
            "eval_results.json",
            "generation_config.json",
            "merges.txt",
            "model.safetensors",
            "onnx/model.onnx",
            "onnx/config.json",
            "runs/events.out.tfevents",
            "special_tokens_map.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "train_results.json",
            "vocab.json",
            "pytorch_model.bin",
        ];
        let picked = pick(&names, None, Want::ModelDir).unwrap();
        let want = [
            "config.json",
            "generation_config.json",
            "merges.txt",
            "model.safetensors",
            "special_tokens_map.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "vocab.json",
        ];
        assert_eq!(picked.files, want);
        assert_eq!(picked.dir.as_deref(), Some(""));
        assert!(model(&names, Some("onnx")).unwrap_err().contains("no weights"));
        assert!(model(&names, Some("none")).unwrap_err().contains("`none` in hf:o/n was not found"));
        assert!(model(&names, Some("config.json")).unwrap_err().contains("alone is no model"));
    }

    #[test]
    fn sharded_weights_come_whole() {
        let names = [
            "config.json",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
            "consolidated.safetensors",
        ];
        let files = model(&names, None).unwrap();
        assert_eq!(files.len(), 4);
        assert!(!files.contains(&"consolidated.safetensors".to_owned()));
        assert!(model(&names[1..], None).unwrap_err().contains("no model"));
        let gap = model(&[names[0], names[2], names[3]], None).unwrap_err();
        assert!(gap.contains("`model-00001-of-00002.safetensors` is missing"), "{gap}");
        let below: Vec<String> = names.iter().map(|n| format!("a/b/{n}")).collect();
        let below: Vec<&str> = below.iter().map(String::as_str).collect();
        assert_eq!(pick(&below, Some("a/b/"), Want::ModelDir).unwrap().dir.as_deref(), Some("a/b"));
    }

    #[test]
    fn the_index_is_checked_against_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let index = dir.path().join("model.safetensors.index.json");
        std::fs::write(&index, r#"{"weight_map": {"a": "x-1.safetensors", "b": "x-2.safetensors"}}"#).unwrap();
        std::fs::write(dir.path().join("x-1.safetensors"), "").unwrap();
        assert!(check_index(dir.path(), "m").unwrap_err().to_string().contains("`x-2.safetensors`"));
        std::fs::write(dir.path().join("x-2.safetensors"), "").unwrap();
        check_index(dir.path(), "m").unwrap();
        std::fs::write(&index, "{}").unwrap();
        assert!(check_index(dir.path(), "m").unwrap_err().to_string().contains("weight_map"));
    }

    #[test]
    fn ggufs() {
        assert_eq!(model(&["README.md", "m.gguf", "mmproj-f16.gguf"], None).unwrap(), ["m.gguf"]);
        assert!(model(&["a.Q4_0.gguf", "a.Q8_0.gguf"], None).unwrap_err().contains("a.Q4_0.gguf, a.Q8_0.gguf"));
        assert_eq!(model(&["a.Q4_0.gguf", "a.Q8_0.gguf"], Some("a.Q8_0.gguf")).unwrap(), ["a.Q8_0.gguf"]);
        let split = ["q/m-00001-of-00002.gguf", "q/m-00002-of-00002.gguf"];
        assert_eq!(model(&split, None).unwrap(), split);
        assert_eq!(model(&split, Some(split[0])).unwrap(), split);
        assert!(model(&split[..1], None).unwrap_err().contains("m-00002-of-00002.gguf` is missing"));
        assert_eq!(model(&["config.json", "m.gguf"], None).unwrap(), ["m.gguf"]);
    }

    #[test]
    fn a_model_one_folder_down() {
        let names = ["p/__init__.py", "p/model/1_Pooling/config.json", "p/model/config.json", "p/model/model.safetensors"];
        let picked = pick(&names, None, Want::ModelDir).unwrap();
        assert_eq!((picked.dir.as_deref(), picked.files.len()), (Some("p/model"), 3));
        let two = ["a/config.json", "a/model.safetensors", "b/config.json", "b/model.safetensors"];
        assert!(model(&two, None).unwrap_err().contains("one of a, b"));
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        assert!(model(&["config.json", "pytorch_model.bin"], None).unwrap_err().contains("pickles"));
        assert!(model(&["config.json"], None).unwrap_err().contains("no weights"));
        assert!(model(&["config.json", "a.safetensors", "b.safetensors"], None).unwrap_err().contains("several"));
        assert!(model(&[], None).unwrap_err().contains("no files at all"));
        let adapter = model(&["adapter_config.json", "adapter_model.safetensors", "README.md", "optimizer.pt"], None).unwrap();
        assert_eq!(adapter, ["adapter_config.json", "adapter_model.safetensors"]);
        assert!(pick(&["a", "b"], None, Want::File).unwrap_err().to_string().contains("add the path of one"));
        assert!(pick(&["x/Data.csv"], Some("data.csv"), Want::File).unwrap_err().to_string().contains("did you mean x/Data.csv"));
        assert_eq!(pick(&["x/y.bin"], Some("x/y.bin"), Want::File).unwrap().files, ["x/y.bin"]);
    }
}
