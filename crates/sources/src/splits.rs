//! Which files of a data set's repository make up a split: what its README declares, else what the file names say, by the rules of
//! Hugging Face's `datasets` (its pages "Structure your repository" and "File names and splits").

use std::collections::BTreeMap;

use crate::error::{Result, SourceError};
use crate::glob;
use crate::readme::{self, Config};
use crate::select::{Offer, Selection, check_parts, inside, listed, missing, unusable};

/// Formats that are read, the most faithful first: where a split exists in several, the first of these is taken.
const FORMATS: &[&str] = &["parquet", "jsonl", "ndjson", "json", "csv", "tsv", "txt"];

/// Words for splits in file and folder names, by the split's usual name.
const KEYWORDS: &[(&str, &[&str])] = &[
    ("train", &["train", "training"]),
    ("validation", &["validation", "valid", "val", "dev"]),
    ("test", &["test", "testing", "eval", "evaluation"]),
];

/// Chooses the files of `split`. `path` names a folder, or a configuration that the README declares.
pub(crate) fn choose(offer: &Offer<'_>, path: Option<&str>, split: Option<&str>) -> Result<Selection> {
    let mut notes = Vec::new();
    let configs = match offer.readme.map(readme::configs) {
        Some(Ok(configs)) => configs,
        Some(Err(reason)) => {
            notes.push(format!("{}: README.md: {reason}; the splits are taken from the file names", offer.what));
            Vec::new()
        }
        None => Vec::new(),
    };
    let named = path.and_then(|p| configs.iter().find(|c| c.name == p));
    let config = match (named, path) {
        (Some(config), _) => Some(config),
        (None, Some(_)) => None,
        (None, None) => default_config(offer, &configs)?,
    };
    let folder = match (config, path) {
        (Some(config), _) => config.data_dir.clone().unwrap_or_default(),
        (None, path) => path.unwrap_or_default().to_owned(),
    };
    if config.is_none() && !folder.is_empty() && !offer.names.iter().any(|n| inside(n, &folder).is_some()) {
        return Err(missing(offer, &folder));
    }
    let splits = match config.filter(|c| !c.splits.is_empty()) {
        Some(config) => declared(offer, config, &folder),
        None => inferred(offer, &folder),
    };
    let (name, files) = take(offer, &splits, split, &mut notes)?;
    let files = one_format(files);
    if files.is_empty() {
        return Err(unusable(offer, format!("its split `{name}` has no file in a format that is read ({})", FORMATS.join(", "))));
    }
    check_parts(offer, &files)?;
    Ok(Selection { files, dir: Some(String::new()), notes })
}

/// Whether there is any file of data at all. Repositories that are only a loading script have none.
pub(crate) fn has_data(names: &[String]) -> bool {
    names.iter().any(|n| is_data(n))
}

fn default_config<'c>(offer: &Offer<'_>, configs: &'c [Config]) -> Result<Option<&'c Config>> {
    let chosen = configs.iter().find(|c| c.default).or_else(|| configs.iter().find(|c| c.name == "default"));
    match (chosen, configs) {
        (Some(config), _) => Ok(Some(config)),
        (None, []) => Ok(None),
        (None, [one]) => Ok(Some(one)),
        (None, several) => {
            let names: Vec<&str> = several.iter().map(|c| c.name.as_str()).collect();
            let reason = format!("it has several configurations: add /NAME with one of {}", listed(&names));
            Err(unusable(offer, reason))
        }
    }
}

/// Files by the README's patterns, in the order of their names within each split.
fn declared(offer: &Offer<'_>, config: &Config, folder: &str) -> BTreeMap<String, Vec<String>> {
    let mut splits = BTreeMap::new();
    for (split, patterns) in &config.splits {
        let taken = |name: &&String| {
            inside(name, folder).is_some_and(|rest| {
                patterns.iter().any(|pattern| match glob::is_pattern(pattern) {
                    true => glob::matches(pattern, rest),
                    // A plain name is a file, or a folder with all that is in it.
                    false => rest == pattern || inside(rest, pattern.trim_end_matches('/')).is_some(),
                })
            })
        };
        let mut files: Vec<String> = offer.names.iter().filter(taken).cloned().collect();
        files.sort();
        splits.insert(split.clone(), files);
    }
    splits
}

/// Files by the words in their names: first in folders, then in file names; if no name has such a word, everything is `train`.
fn inferred(offer: &Offer<'_>, folder: &str) -> BTreeMap<String, Vec<String>> {
    let mut data: Vec<(&String, &str)> = offer.names.iter().filter(|n| is_data(n)).filter_map(|n| Some((n, inside(n, folder)?))).collect();
    data.sort();
    let by = |split_of: &dyn Fn(&str) -> Option<String>| {
        let mut splits: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, rest) in &data {
            if let Some(split) = split_of(rest) {
                splits.entry(split).or_default().push((*name).clone());
            }
        }
        splits
    };
    // `unsupervised-00000-of-00001.parquet`: the writer's own form, whose stem is the split whatever its name.
    let sharded = by(&|rest| shard_split(rest));
    if data.iter().all(|(_, rest)| shard_split(rest).is_some()) && !sharded.is_empty() {
        return sharded;
    }
    for split_of in [folder_split as fn(&str) -> Option<String>, file_split] {
        let found = by(&split_of);
        if !found.is_empty() {
            return found;
        }
    }
    by(&|_| Some("train".to_owned()))
}

fn shard_split(rest: &str) -> Option<String> {
    let file = rest.rsplit('/').next()?;
    let (stem, _) = file.rsplit_once('.')?;
    let (front, count) = stem.split_once("-of-")?;
    let (split, number) = front.rsplit_once('-')?;
    let five = |t: &str| t.len() >= 5 && t.bytes().take(5).all(|b| b.is_ascii_digit());
    let word = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.');
    (five(number) && five(count) && word(split)).then(|| keyword(split).map_or_else(|| split.to_owned(), str::to_owned))
}

fn folder_split(rest: &str) -> Option<String> {
    let (folders, _) = rest.rsplit_once('/')?;
    folders.rsplit('/').find_map(keyword).map(str::to_owned)
}

fn file_split(rest: &str) -> Option<String> {
    let file = rest.rsplit('/').next()?;
    keyword(file.rsplit_once('.').map_or(file, |(stem, _)| stem)).map(str::to_owned)
}

/// The split that a name speaks of: a keyword standing alone between delimiters.
fn keyword(name: &str) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase();
    let mut words = lower.split(|c: char| !c.is_ascii_alphabetic()).filter(|w| !w.is_empty());
    words.find_map(|word| KEYWORDS.iter().find(|(_, words)| words.contains(&word)).map(|(split, _)| *split))
}

/// Picks from the splits; without a wish `train`, or the only one.
fn take(
    offer: &Offer<'_>,
    splits: &BTreeMap<String, Vec<String>>,
    wish: Option<&str>,
    notes: &mut Vec<String>,
) -> Result<(String, Vec<String>)> {
    let names: Vec<&str> = splits.keys().map(String::as_str).collect();
    if names.is_empty() {
        let held: Vec<&str> = offer.names.iter().map(String::as_str).collect();
        let reason = format!("no file in it is in a format that is read ({}); it holds {}", FORMATS.join(", "), listed(&held));
        return Err(unusable(offer, reason));
    }
    let found = match wish {
        // The usual words are one another's synonyms; a split's own name wins.
        Some(wish) => names.iter().find(|n| **n == wish).or_else(|| {
            let meant = keyword(wish)?;
            names.iter().find(|n| keyword(n) == Some(meant))
        }),
        None => match &names[..] {
            [only] => Some(only),
            several => several.iter().find(|n| **n == "train"),
        },
    };
    match (found, wish) {
        (Some(name), wish) => {
            if wish.is_none() && names.len() > 1 {
                notes.push(format!("{}: taking the split `{name}` of {}", offer.what, names.join(", ")));
            }
            Ok(((*name).to_owned(), splits[*name].clone()))
        }
        (None, Some(wish)) => Err(SourceError::NotFound {
            what: format!("the split `{wish}` of {}", offer.what),
            reason: format!("its splits are {}", names.join(", ")),
        }),
        (None, None) => {
            Err(unusable(offer, format!("it has several splits and none is named `train`: choose one of {}", names.join(", "))))
        }
    }
}

/// Of a split that exists in several formats, one.
fn one_format(files: Vec<String>) -> Vec<String> {
    let of = |format: &str| files.iter().filter(|f| format_of(f) == Some(format)).cloned().collect::<Vec<_>>();
    FORMATS.iter().map(|format| of(format)).find(|files| !files.is_empty()).unwrap_or_default()
}

fn format_of(name: &str) -> Option<&'static str> {
    let (_, extension) = name.rsplit('/').next()?.rsplit_once('.')?;
    FORMATS.iter().copied().find(|f| extension.eq_ignore_ascii_case(f))
}

/// A file of rows, as opposed to the files that describe or accompany them.
fn is_data(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
    let hidden = name.split('/').any(|part| part.starts_with('.') || part.starts_with("__"));
    let describes = matches!(
        file.as_str(),
        "dataset_info.json" | "dataset_infos.json" | "dataset_dict.json" | "state.json" | "config.json" | "metadata.json" | "package.json"
    );
    let text = file.ends_with(".txt") && ["readme", "license", "licence", "requirements", "citation"].iter().any(|w| file.starts_with(w));
    format_of(name).is_some() && !hidden && !describes && !text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(names: &[&str], readme: Option<&str>, path: Option<&str>, split: Option<&str>) -> std::result::Result<Vec<String>, String> {
        let names: Vec<String> = names.iter().map(|n| n.to_string()).collect();
        choose(&Offer { what: "hf:datasets/o/n", names: &names, readme }, path, split).map(|s| s.files).map_err(|e| e.to_string())
    }

    #[test]
    fn splits_at_the_top_and_in_data() {
        // cornell-movie-review-data/rotten_tomatoes, with and without what its README says.
        let names = [".gitattributes", "README.md", "test.parquet", "train.parquet", "validation.parquet"];
        let readme = "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: train.parquet\n  - split: validation\n    \
                      path: validation.parquet\n  - split: test\n    path: test.parquet\n---\n";
        for readme in [None, Some(readme)] {
            assert_eq!(pick(&names, readme, None, Some("train")).unwrap(), ["train.parquet"]);
            assert_eq!(pick(&names, readme, None, None).unwrap(), ["train.parquet"]);
            assert_eq!(pick(&names, readme, None, Some("dev")).unwrap(), ["validation.parquet"]);
            let wrong = pick(&names, readme, None, Some("extra")).unwrap_err();
            assert!(wrong.contains("`extra`") && wrong.contains("test, train, validation"), "{wrong}");
        }
        let names = ["data/train-00001-of-00002.parquet", "data/train-00000-of-00002.parquet", "data/unsupervised-00000-of-00001.parquet"];
        assert_eq!(pick(&names, None, None, Some("train")).unwrap(), [names[1], names[0]]);
        assert_eq!(pick(&names, None, None, Some("unsupervised")).unwrap(), [names[2]]);
        assert!(pick(&names[1..], None, None, Some("train")).unwrap_err().contains("train-00001-of-00002.parquet` is missing"));
    }

    #[test]
    fn words_in_names() {
        let names = ["train/a.csv", "train/b.csv", "test/a.csv", "dataset_info.json", "requirements.txt"];
        assert_eq!(pick(&names, None, None, Some("train")).unwrap(), ["train/a.csv", "train/b.csv"]);
        assert_eq!(pick(&["my_training_set.csv", "my-dev.csv", "contest.csv"], None, None, Some("validation")).unwrap(), ["my-dev.csv"]);
        assert_eq!(pick(&["reviews.csv"], None, None, Some("train")).unwrap(), ["reviews.csv"], "a single file is all for training");
        assert_eq!(pick(&["contest.csv", "trainer.csv"], None, None, None).unwrap(), ["contest.csv", "trainer.csv"]);
        assert_eq!(pick(&["评论/train.jsonl", "评论/test.jsonl"], None, Some("评论"), None).unwrap(), ["评论/train.jsonl"]);
        assert!(pick(&["test.csv", "validation.csv"], None, None, None).unwrap_err().contains("test, validation"));
        assert!(pick(&["a.py", "README.md"], None, None, None).unwrap_err().contains("format"));
        assert!(pick(&["a.csv"], None, Some("zh"), None).unwrap_err().contains("`zh`"));
    }

    #[test]
    fn one_format_of_several() {
        let names = ["train.csv", "train.parquet", "train.json", "test.csv"];
        assert_eq!(pick(&names, None, None, Some("train")).unwrap(), ["train.parquet"]);
        assert_eq!(pick(&names, None, None, Some("test")).unwrap(), ["test.csv"]);
        assert_eq!(pick(&names, None, Some("train.csv"), None).map_err(|e| e.contains("was not found")), Err(true));
    }

    #[test]
    fn configurations() {
        let readme = "---\nconfigs:\n- config_name: en\n  data_files:\n  - {split: train, path: 'en/*.jsonl'}\n- config_name: zh\n  data_dir: 中文\n---\n";
        let names = ["en/a.jsonl", "en/b.jsonl", "中文/train.csv", "中文/test.csv"];
        assert_eq!(pick(&names, Some(readme), Some("en"), None).unwrap(), ["en/a.jsonl", "en/b.jsonl"]);
        assert_eq!(pick(&names, Some(readme), Some("zh"), Some("test")).unwrap(), ["中文/test.csv"]);
        assert!(pick(&names, Some(readme), None, None).unwrap_err().contains("add /NAME with one of en, zh"));
        let broken = "---\na: [\n---\n";
        assert_eq!(pick(&["train.csv"], Some(broken), None, None).unwrap(), ["train.csv"]);
        let default = readme.replace("config_name: en\n", "config_name: en\n  default: true\n");
        assert_eq!(pick(&names, Some(&default), None, None).unwrap().len(), 2);
        let folder = "---\nconfigs:\n- config_name: default\n  data_files: en/\n---\n";
        assert_eq!(pick(&names, Some(folder), None, None).unwrap().len(), 2);
        let gone = "---\nconfigs:\n- config_name: default\n  data_files: x/*.csv\n---\n";
        assert!(pick(&names, Some(gone), None, None).unwrap_err().contains("no file in a format"));
    }
}
