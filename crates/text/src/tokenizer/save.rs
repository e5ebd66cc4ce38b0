//! A tokenizer to a Hugging Face directory that `transformers` loads as it is.

use std::path::Path;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::Tokenizer;
use crate::error::{Result, TextError};

impl Tokenizer {
    /// Writes `tokenizer.json`, `tokenizer_config.json`, `special_tokens_map.json`, and `chat_template.jinja` (with
    /// `additional_chat_templates/NAME.jinja` where there are several) into `dir`, which is made if need be. A model with several
    /// end-of-turn ids also gets a `generation_config.json` that lists them, unless the directory has one.
    pub fn save(&self, dir: &Path) -> Result<()> {
        make_dir(dir)?;
        let json = self.inner.to_string(true).map_err(|e| TextError::Tokenize(e.to_string()))?;
        write(&dir.join("tokenizer.json"), &json)?;
        write_json(&dir.join("tokenizer_config.json"), &self.saved_config())?;
        let map = self.special.iter().map(|(name, token)| (name.to_owned(), Value::from(token))).collect();
        write_json(&dir.join("special_tokens_map.json"), &map)?;
        self.save_ends(dir)?;
        for (name, source) in &self.templates {
            if name == "default" {
                write(&dir.join("chat_template.jinja"), source)?;
            } else {
                let more = dir.join("additional_chat_templates");
                make_dir(&more)?;
                write(&more.join(format!("{name}.jinja")), source)?;
            }
        }
        Ok(())
    }

    /// Keeps the ids that end a generation: a tokenizer directory has no other place for more than one.
    fn save_ends(&self, dir: &Path) -> Result<()> {
        let path = dir.join("generation_config.json");
        if self.eos_ids.len() < 2 || path.exists() {
            return Ok(());
        }
        let mut config = Map::new();
        for (key, id) in [("bos_token_id", self.bos), ("pad_token_id", self.pad)] {
            config.extend(id.map(|id| (key.to_owned(), id.into())));
        }
        config.insert("eos_token_id".into(), self.eos_ids.clone().into());
        write_json(&path, &config)
    }

    /// SHA-256 (hexadecimal) over everything that decides how messages become ids: vocabulary, rules, special tokens, templates.
    /// The same for a tokenizer and for what [`Tokenizer::save`] made of it. Computed once.
    pub fn hash(&self) -> &str {
        self.hash.get_or_init(|| {
            let mut hash = Sha256::new();
            let mut part = |name: &str, value: &str| {
                // Lengths in front, so that no two lists of parts read the same.
                hash.update(format!("{name}:{}:", value.len()));
                hash.update(value);
            };
            // A tokenizer that was built from JSON writes itself as JSON.
            part("tokenizer", &self.inner.to_string(false).unwrap_or_default());
            for (name, token) in self.special.iter() {
                part(name, token);
            }
            for (name, source) in &self.templates {
                part(name, source);
            }
            hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
        })
    }

    /// `tokenizer_config.json`: what came with the model, brought up to date with the special tokens in use.
    fn saved_config(&self) -> Map<String, Value> {
        let mut config = self.config.clone();
        for (name, token) in self.special.iter() {
            let same = config.get(name).is_some_and(|v| v == token || v["content"] == token);
            if !same {
                config.insert(name.to_owned(), token.into());
            }
        }
        // The class that takes tokenizer.json at its word, in transformers 4 and 5. A class of the model's own lives in Python files
        // that are not saved here.
        if config.shift_remove("auto_map").is_some() {
            config.shift_remove("tokenizer_class");
        }
        config.entry("tokenizer_class").or_insert_with(|| "PreTrainedTokenizerFast".into());
        config
    }
}

fn make_dir(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|source| TextError::Write { path: dir.into(), source })
}

fn write_json(path: &Path, map: &Map<String, Value>) -> Result<()> {
    let mut text = format!("{:#}", Value::Object(map.clone()));
    text.push('\n');
    write(path, &text)
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|source| TextError::Write { path: path.into(), source })
}
