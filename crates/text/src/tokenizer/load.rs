//! A tokenizer from a Hugging Face directory.
//!
//! `tokenizer.json` rules; `tokenizer_config.json` (or, in older directories, `special_tokens_map.json`) says which tokens have a
//! role; `generation_config.json` and `config.json` add the ids that end a generation; chat templates come from
//! `chat_template.jinja`, `additional_chat_templates/*.jinja`, `chat_template.json` or the configuration, in this order of
//! precedence (that of `transformers`).

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use tokenizers::AddedToken;

use super::{Parts, SpecialTokens, Tokenizer, library};
use crate::error::{Result, TextError};

impl Tokenizer {
    /// Reads the tokenizer of the model directory `dir`.
    ///
    /// # Errors
    /// [`TextError::NoTokenizer`] if there is no `tokenizer.json`, [`TextError::Malformed`] if a file is damaged (with line and
    /// column where there is one).
    pub fn from_dir(dir: &Path) -> Result<Self> {
        let path = dir.join("tokenizer.json");
        let Some(json) = read(&path)? else {
            return Err(TextError::NoTokenizer { path: dir.into(), hint: hint(dir) });
        };
        let mut config = read_json(&dir.join("tokenizer_config.json"))?.unwrap_or_default();
        let map = read_json(&dir.join("special_tokens_map.json"))?.unwrap_or_default();
        let generation = read_json(&dir.join("generation_config.json"))?.unwrap_or_default();
        let model = read_json(&dir.join("config.json"))?.unwrap_or_default();

        let mut special = SpecialTokens::new();
        for (name, value) in map.iter().chain(&config) {
            if let Some(token) = name.ends_with("_token").then(|| token_text(value)).flatten() {
                special.set(name, token);
            }
        }
        let mut templates = templates(dir, config.remove("chat_template"))?;
        templates.retain(|_, source| !source.is_empty());

        let malformed = |reason: String| TextError::Malformed { path: path.clone(), field: "tokenizer".into(), reason };
        let mut inner = library(&json).map_err(malformed)?;
        let configured = configured_tokens(&config, &inner);
        inner.add_tokens(configured).map_err(|e| malformed(e.to_string()))?;
        // Old directories (GPT-2's) name no special token at all; the ids in the model's configuration tell.
        for (name, key) in [("bos_token", "bos_token_id"), ("eos_token", "eos_token_id"), ("pad_token", "pad_token_id")] {
            let id = [&generation, &model].into_iter().find_map(|m| ids(m.get(key)).first().copied());
            if special.get(name).is_none()
                && !config.contains_key(name)
                && let Some(token) = id.and_then(|id| inner.id_to_token(id))
            {
                special.set(name, token);
            }
        }
        let mut eos_ids = ids(generation.get("eos_token_id"));
        if eos_ids.is_empty() {
            eos_ids = ids(model.get("eos_token_id"));
        }
        Self::build(Parts { inner, special, eos_ids, config, templates }).map_err(malformed)
    }
}

/// Tokens that the configuration has and `tokenizer.json` lacks; `transformers` adds them too, in this order.
fn configured_tokens(config: &Map<String, Value>, inner: &tokenizers::Tokenizer) -> Vec<AddedToken> {
    let mut listed: Vec<(u64, AddedToken)> = Vec::new();
    for (id, token) in config.get("added_tokens_decoder").and_then(Value::as_object).into_iter().flatten() {
        let flag = |name: &str| token.get(name).and_then(Value::as_bool).unwrap_or(false);
        if let (Ok(id), Some(content)) = (id.parse(), token_text(token)) {
            let token = AddedToken::from(content, flag("special"))
                .single_word(flag("single_word"))
                .lstrip(flag("lstrip"))
                .rstrip(flag("rstrip"))
                .normalized(flag("normalized"));
            listed.push((id, token));
        }
    }
    listed.sort_by_key(|(id, _)| *id);
    let mut tokens: Vec<AddedToken> = listed.into_iter().map(|(_, token)| token).collect();
    for key in ["additional_special_tokens", "extra_special_tokens"] {
        let more: Vec<&Value> = match config.get(key) {
            Some(Value::Array(list)) => list.iter().collect(),
            Some(Value::Object(map)) => map.values().collect(),
            _ => Vec::new(),
        };
        tokens.extend(more.into_iter().filter_map(token_text).map(|token| AddedToken::from(token, true)));
    }
    tokens.retain(|token| inner.token_to_id(&token.content).is_none());
    tokens
}

/// The chat templates of a directory by name.
fn templates(dir: &Path, configured: Option<Value>) -> Result<BTreeMap<String, String>> {
    let mut templates = BTreeMap::new();
    match configured {
        Some(Value::String(source)) => drop(templates.insert("default".into(), source)),
        // Several: [{"name": "default", "template": "…"}, {"name": "tool_use", …}], or a plain map.
        Some(Value::Array(list)) => {
            for entry in list {
                if let (Some(name), Some(source)) = (entry["name"].as_str(), entry["template"].as_str()) {
                    templates.insert(name.into(), source.into());
                }
            }
        }
        Some(Value::Object(map)) => {
            templates.extend(map.into_iter().filter_map(|(name, source)| Some((name, source.as_str()?.to_owned()))));
        }
        _ => {}
    }
    if let Some(file) = read_json(&dir.join("chat_template.json"))?
        && let Some(source) = file.get("chat_template").and_then(Value::as_str)
    {
        templates.insert("default".into(), source.into());
    }
    let more = dir.join("additional_chat_templates");
    if let Ok(entries) = std::fs::read_dir(&more) {
        for path in entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "jinja")) {
            if let (Some(name), Some(source)) = (path.file_stem().and_then(|s| s.to_str()), read(&path)?) {
                templates.insert(name.into(), source);
            }
        }
    }
    if let Some(source) = read(&dir.join("chat_template.jinja"))? {
        templates.insert("default".into(), source);
    }
    Ok(templates)
}

/// What else is in a directory without `tokenizer.json`, and what to do about it.
fn hint(dir: &Path) -> String {
    for name in ["tokenizer.model", "spiece.model", "vocab.json", "vocab.txt", "tekken.json"] {
        if dir.join(name).exists() {
            return format!(
                "; it has {name}, the form of slow tokenizers: convert it once with \
                 transformers' AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR), or use a GGUF file of the model"
            );
        }
    }
    "; a model directory needs it beside config.json".into()
}

/// A special token's text: a plain string or `{"content": "…", "lstrip": …}`.
fn token_text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content").and_then(Value::as_str))
}

/// An id or a list of ids.
fn ids(value: Option<&Value>) -> Vec<u32> {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Some(Value::Array(list)) => list.iter().filter_map(id).collect(),
        Some(value) => id(value).into_iter().collect(),
        None => Vec::new(),
    }
}

/// A file's text; `None` if it is not there.
fn read(path: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(TextError::Read { path: path.into(), source }),
    }
}

/// A JSON object from a file; `None` if it is not there.
fn read_json(path: &Path) -> Result<Option<Map<String, Value>>> {
    let Some(text) = read(path)? else { return Ok(None) };
    match parse(&text, path)? {
        Value::Object(map) => Ok(Some(map)),
        _ => Err(TextError::Malformed { path: path.into(), field: "line 1".into(), reason: "not a JSON object".into() }),
    }
}

fn parse(text: &str, path: &Path) -> Result<Value> {
    serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|e| TextError::Malformed {
        path: path.into(),
        field: format!("line {} column {}", e.line(), e.column()),
        reason: format!("not JSON: {e}; the file may have been cut short"),
    })
}
