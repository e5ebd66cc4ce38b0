//! Cleaning pipelines: from a YAML file, the default, or none.

use std::path::Path;

use documents::clean::Pipeline;
use serde_json::{Value, json};

use crate::error::{Result, StageError};

/// What `--clean` may say besides a file.
pub(super) const DEFAULT: &str = "default";
/// See [`DEFAULT`].
const NONE: &str = "none";

/// Settings of steps that may stand as a bare name.
fn bare(name: &str) -> Option<Value> {
    Some(match name {
        "unicode" => json!("nfc"),
        "width" => json!("alphanumeric"),
        "control" => json!("remove"),
        "whitespace" => json!("collapse"),
        "headers_footers" | "pii" | "duplicates" => json!({}),
        _ => return None,
    })
}

/// The pipeline of a file, `default` or `none`.
///
/// # Errors
/// A file that cannot be read, is no YAML, or names steps that do not exist: with file, line and field.
pub fn load(name: &str) -> Result<Pipeline> {
    match name {
        DEFAULT => return Ok(Pipeline::default()),
        NONE => return Ok(Pipeline { steps: Vec::new() }),
        _ => {}
    }
    let path = Path::new(name);
    let text = std::fs::read_to_string(path).map_err(|e| {
        StageError::input_help(format!("{name}: cannot read this pipeline: {e}"), "--clean takes a YAML file, 'default' or 'none'")
    })?;
    if recipe::Node::is_blank(&text) {
        let help = "a list of `steps`; --clean none cleans nothing, and `docs preview` shows what the default does";
        return Err(StageError::input_help(format!("{name}: the file is empty; a pipeline needs `steps`"), help));
    }
    let root = recipe::Node::parse(&text, name)?;
    let mut value = root.to_json();
    if let Some(steps) = value.get_mut("steps").and_then(Value::as_array_mut) {
        for step in steps {
            if let Some(settings) = step.as_str().and_then(bare) {
                *step = json!({step.as_str().unwrap_or_default(): settings});
            } else if let Some((key, Value::Null)) = step.as_object().and_then(|m| m.iter().next()).map(|(k, v)| (k.clone(), v.clone()))
                && let Some(settings) = bare(&key)
            {
                *step = json!({key: settings});
            }
        }
    }
    let place = |path: &str| root.place_of(path).clone();
    let pipeline: Pipeline = serde_path_to_error::deserialize(value).map_err(|e| {
        let field = e.path().to_string().trim_end_matches(['.', '?']).to_owned();
        StageError::input(format!("{}: {field}: {}", place(&field), e.inner()))
    })?;
    pipeline.check().map_err(|(i, reason)| {
        let field = format!("steps[{i}].{}", pipeline.steps[i].name());
        StageError::input(format!("{}: {field}: {reason}", place(&field)))
    })?;
    Ok(pipeline)
}

#[cfg(test)]
mod tests {
    use super::*;
    use documents::clean::{Form, Step};

    fn of(yaml: &str) -> std::result::Result<Pipeline, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clean.yaml");
        std::fs::write(&path, yaml).unwrap();
        load(path.to_str().unwrap()).map_err(|e| e.to_string().replace(&format!("{}/", dir.path().display()), ""))
    }

    #[test]
    fn pipelines_are_read_and_mistakes_are_located() {
        let all = "steps:\n  - unicode: nfkc\n  - width: all\n  - control\n  - headers_footers: {share: 0.5}\n  - whitespace:\n  - pii:\n      kinds: [email, cn_id]\n      custom: [{name: contract, pattern: '合同\\d+号'}]\n  - language: {keep: [zh, en]}\n  - length: {min: 20}\n  - duplicates: {near: 0.8}\n";
        let pipeline = of(all).unwrap();
        assert_eq!(pipeline.steps.len(), 9);
        assert_eq!(pipeline.steps[0], Step::Unicode(Form::Nfkc));
        for (yaml, words) in [
            ("steps:\n  - unicod: nfc\n", vec!["clean.yaml:2", "steps[0]", "unicod"]),
            ("steps:\n  - control\n  - pii: {kind: [email]}\n", vec!["clean.yaml:3", "kind"]),
            ("steps:\n  - language: {keep: [klingon]}\n", vec!["clean.yaml:2", "steps[0].language", "klingon"]),
            ("steps:\n  - pii: {custom: [{name: x, pattern: '('}]}\n", vec!["clean.yaml:2", "custom pattern \"x\""]),
            ("steps:\n  - pii: {custom: [{name: x, pattern: '\\d*'}]}\n", vec!["clean.yaml:2", "pattern \"x\"", "empty text", "\\d+"]),
            ("step: []\n", vec!["clean.yaml:1", "step"]),
            ("# nothing yet\n", vec!["clean.yaml: the file is empty", "`steps`"]),
        ] {
            let error = of(yaml).unwrap_err();
            assert!(words.iter().all(|w| error.contains(w)), "{error}");
        }
        assert_eq!(load("default").unwrap(), Pipeline::default());
        assert!(load("none").unwrap().steps.is_empty());
        assert!(load("nowhere.yaml").unwrap_err().help().unwrap().contains("default"));
    }
}
