//! `--set key=value`: the command line's last word on any key.

use crate::RecipeError;
use crate::aliases::{self, Given};
use crate::document::{Node, Place};

/// Applies `key=value` arguments in order. Keys are dotted paths (`dataset.max_samples`, `dataset.sources.0.split` or `sources[0]`); values are
/// YAML, so `--set lora_target=[q_proj,v_proj]` and `--set learning_rate=2e-4` mean what they mean in the file.
/// Other tools' names count too; gives the same notes as [`aliases::translate`].
pub(crate) fn apply(root: &mut Node, sets: &[String]) -> Result<Vec<String>, RecipeError> {
    let mut notes = Vec::new();
    for set in sets {
        let place = Place { source: format!("--set {set}").into(), line: 0 };
        let invalid = |reason: &str| RecipeError::Invalid { place: place.clone(), field: set.clone(), reason: reason.to_owned() };
        let (key, text) = set.split_once('=').ok_or_else(|| invalid("write it as key=value"))?;
        // Errors write `dataset.sources[0].split`: what they print can be typed.
        let key = key.trim().replace('[', ".").replace(']', "");
        let key = key.as_str();
        if key.is_empty() || key.split('.').any(str::is_empty) {
            return Err(invalid("the part before '=' must be a key such as learning_rate or dataset.max_samples"));
        }
        let mut node = if text.trim().is_empty() {
            Node { value: crate::document::Value::Null, place: place.clone() }
        } else {
            let quoted = format!("{text:?}");
            let quote = || RecipeError::Invalid {
                place: place.clone(),
                field: key.to_owned(),
                reason: format!("braces and brackets are YAML here; quote a text that holds them: --set '{key}={quoted}'"),
            };
            match Node::parse(text, &place.source) {
                // `{text}` is a mapping with a key and nothing under it: nobody means that.
                Ok(node) if is_placeholder(&node) => return Err(quote()),
                Err(_) if text.trim_start().starts_with(['{', '[']) => return Err(quote()),
                parsed => parsed?,
            }
        };
        relocate(&mut node, &place);
        aliases::assign(root, key, place, node, Given::Override, &mut notes)?;
    }
    Ok(notes)
}

/// Whether this is `{word}`.
fn is_placeholder(node: &Node) -> bool {
    let entries = node.entries();
    !entries.is_empty() && entries.iter().all(|entry| entry.node.value == crate::document::Value::Null)
}

/// An override has no lines: errors below it should name the argument, not "line 1".
fn relocate(node: &mut Node, place: &Place) {
    use crate::document::Value;
    node.place = place.clone();
    match &mut node.value {
        Value::List(items) => items.iter_mut().for_each(|n| relocate(n, place)),
        Value::Map(entries) => {
            for entry in entries {
                entry.place = place.clone();
                relocate(&mut entry.node, place);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(yaml: &str, sets: &[&str]) -> Result<serde_json::Value, String> {
        let mut root = Node::parse(yaml, "r.yaml").unwrap();
        let sets: Vec<String> = sets.iter().map(|s| (*s).to_owned()).collect();
        apply(&mut root, &sets).map_err(|e| e.to_string())?;
        Ok(root.to_json())
    }

    #[test]
    fn values_are_yaml_and_the_last_wins() {
        let got = after("seed: 1", &["seed=2", "seed=3", "lora_target=[q_proj, v_proj]", "dataset.val_size=.2", "output_dir="]).unwrap();
        let want = serde_json::json!({"seed": 3, "lora_target": ["q_proj", "v_proj"], "dataset": {"val_size": 0.2}, "output_dir": null});
        assert_eq!(got, want);
    }

    #[test]
    fn an_entry_of_a_list_is_written_as_errors_write_it() {
        let yaml = "dataset: {sources: [{source: a}, {source: b}]}";
        let got = after(yaml, &["dataset.sources[1].split=test", "dataset.sources.0.split=train"]).unwrap();
        assert_eq!(got["dataset"]["sources"], serde_json::json!([{"source": "a", "split": "train"}, {"source": "b", "split": "test"}]));
    }

    #[test]
    fn equals_signs_in_the_value_are_kept() {
        assert_eq!(after("a: 1", &["task.prompt=x = {text}"]).unwrap()["task"]["prompt"], "x = {text}");
    }

    #[test]
    fn mistakes_name_the_argument() {
        assert_eq!(after("a: 1", &["seed"]).unwrap_err(), "--set seed: seed: write it as key=value");
        assert!(after("a: 1", &["=3"]).unwrap_err().contains("--set =3"));
        for prompt in ["{text}", "{text}\nSentiment:", "[{text}"] {
            let error = after("a: 1", &[&format!("task.prompt={prompt}")]).unwrap_err();
            assert!(error.contains("task.prompt: ") && error.contains("quote"), "{error}");
        }
        let quoted = after("a: 1", &["task.prompt=\"{text}\\nSentiment:\""]).unwrap();
        assert_eq!(quoted["task"]["prompt"], "{text}\nSentiment:");
        assert_eq!(after("a: 1", &["x={p: 1}"]).unwrap()["x"], serde_json::json!({"p": 1}));
    }
}
