//! Other tools' names for our keys, so that a LLaMA-Factory or Hugging Face file works after little or no editing.
//!
//! A name that changes what is computed is translated or refused; a name that only steers the other tool's machinery is accepted
//! and reported, never dropped in silence.

use crate::RecipeError;
use crate::document::{Entry, Node, Place, Value};

/// (their name, our dotted path).
const RENAMED: &[(&str, &str)] = &[
    ("model_name_or_path", "model"),
    ("val_size", "dataset.val_size"),
    ("max_samples", "dataset.max_samples"),
    ("train_on_prompt", "task.train_on_prompt"),
    ("mask_history", "task.mask_history"),
    ("r", "lora_rank"),
    ("target_modules", "lora_target"),
    ("additional_target", "modules_to_save"),
    ("name_module_trainable", "freeze_trainable_modules"),
    ("num_layer_trainable", "freeze_trainable_layers"),
    ("evaluation_strategy", "eval_strategy"),
    ("early_stopping_steps", "early_stopping_patience"),
    ("max_length", "cutoff_len"),
    ("max_seq_length", "cutoff_len"),
    ("per_gpu_train_batch_size", "per_device_train_batch_size"),
];

/// Keys of other tools that have no meaning here and change no result: accepted, and named in the notes.
const WITHOUT_MEANING: &[&str] = &[
    "do_train",
    "do_eval",
    "overwrite_cache",
    // An occupied directory is refused when the run begins, in words that say what to do.
    "overwrite_output_dir",
    "preprocessing_num_workers",
    "dataloader_num_workers",
    "plot_loss",
    "ddp_timeout",
    "trust_remote_code",
    "flash_attn",
    "save_only_model",
    "include_num_input_tokens_seen",
    "remove_unused_columns",
    "packing",
    "neat_packing",
    "group_by_length",
    "disable_tqdm",
];

/// Keys of other tools that would change the result and are not offered: (name, why and what instead).
const REFUSED: &[(&str, &str)] = &[
    ("quantization_bit", "training on quantised weights is not available yet; GGUF files are widened to f32 at load"),
    ("adapter_name_or_path", "going on from an adapter is not available yet; merge it first (`tunesmith merge`)"),
    ("resume_from_checkpoint", "write `--resume` on the command line instead"),
    ("neftune_noise_alpha", "not available yet"),
    ("deepspeed", "there is one process here; delete the key"),
    ("use_dora", "not available yet"),
];

/// Rewrites the root mapping in place; gives a note for every key without meaning here.
pub(crate) fn translate(root: &mut Node) -> Result<Vec<String>, RecipeError> {
    let mut notes = Vec::new();
    let Value::Map(entries) = std::mem::replace(&mut root.value, Value::Map(Vec::new())) else {
        return Err(RecipeError::Invalid {
            place: root.place.clone(),
            field: "recipe".into(),
            reason: "a recipe is a mapping of keys to values (`model: …`)".into(),
        });
    };
    let entries = from_catalogue(entries)?;
    for Entry { key, place, node } in entries {
        assign(root, &key, place, node, Given::File, &mut notes)?;
    }
    Ok(notes)
}

/// LLaMA-Factory's `dataset: name` with `dataset_dir: folder`: an entry of `folder/dataset_info.json`.
fn from_catalogue(mut entries: Vec<Entry>) -> Result<Vec<Entry>, RecipeError> {
    let Some(at) = entries.iter().position(|e| e.key == "dataset_dir") else { return Ok(entries) };
    let folder = entries.remove(at);
    let invalid = |field: &str, reason: &str| {
        Err(RecipeError::Invalid { place: folder.place.clone(), field: field.to_owned(), reason: reason.to_owned() })
    };
    let Value::Str(dir) = &folder.node.value else { return invalid("dataset_dir", "a folder's path is expected") };
    let Some(dataset) = entries.iter_mut().find(|e| e.key == "dataset") else {
        return invalid("dataset_dir", "`dataset` must name an entry of its dataset_info.json");
    };
    let Value::Str(name) = &dataset.node.value else {
        return invalid("dataset_dir", "goes with a `dataset` that is a name; a data set with sources of its own needs no folder");
    };
    if name.contains(',') {
        return invalid("dataset", "several data sets at once are not available yet: put their rows into one file");
    }
    let place = dataset.node.place.clone();
    let text = |value: String| Node { value: Value::Str(value), place: place.clone() };
    let entry = |key: &str, node: Node| Entry { key: key.to_owned(), place: place.clone(), node };
    let path = format!("{}/dataset_info.json", dir.trim_end_matches('/'));
    let source = vec![entry("source", text(path)), entry("name", text(name.clone()))];
    let source = Node { value: Value::Map(source), place: place.clone() };
    dataset.node.value = Value::List(vec![source]);
    Ok(entries)
}

/// Where a key comes from: in a file a key given twice is a mistake, an override is meant to replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    File,
    Override,
}

/// Puts one key, by whatever name, at its place in the root.
pub(crate) fn assign(
    root: &mut Node,
    key: &str,
    place: Place,
    node: Node,
    given: Given,
    notes: &mut Vec<String>,
) -> Result<(), RecipeError> {
    if let Some((_, reason)) = REFUSED.iter().find(|(name, _)| *name == key) {
        if is_off(&node) {
            return Ok(());
        }
        return Err(RecipeError::Invalid { place, field: key.to_owned(), reason: (*reason).to_owned() });
    }
    if WITHOUT_MEANING.contains(&key) {
        notes.push(format!("{place}: {key} has no meaning here and is passed over"));
        return Ok(());
    }
    match key {
        "stage" => return translate_stage(root, node, place),
        "template" => return translate_template(root, node, notes),
        _ => {}
    }
    let ours = RENAMED.iter().find(|(theirs, _)| *theirs == key).map_or(key, |(_, ours)| ours);
    if given == Given::File && ours != "dataset" && lookup(root, ours).is_some() {
        let reason = format!("`{ours}` is given twice (other tools' names count)");
        return Err(RecipeError::Invalid { place, field: key.to_owned(), reason });
    }
    // `val_size` may stand above or below `dataset:`, which may have its short form: both are kept.
    let before = root.get(ours).filter(|b| given == Given::File && ours == "dataset" && matches!(b.value, Value::Map(_))).cloned();
    if ours.starts_with("dataset.") {
        lengthen_dataset(root)?;
    }
    root.set(ours, node)?;
    if let Some(before) = before {
        lengthen_dataset(root)?;
        for e in before.entries() {
            root.set(&format!("dataset.{}", e.key), e.node.clone())?;
        }
    }
    if ours == key {
        relocate_key(root, key, place);
    }
    Ok(())
}

fn lookup<'n>(root: &'n Node, path: &str) -> Option<&'n Node> {
    path.split('.').try_fold(root, |node, step| node.get(step))
}

fn is_off(node: &Node) -> bool {
    matches!(node.value, Value::Null | Value::Bool(false)) || node.value == Value::Str("none".into())
}

/// `set` places a key where its value stands; a key written in the file stands on its own line.
fn relocate_key(root: &mut Node, key: &str, place: Place) {
    if let Value::Map(entries) = &mut root.value
        && let Some(entry) = entries.iter_mut().find(|e| e.key == key)
    {
        entry.place = place;
    }
}

fn lengthen_dataset(root: &mut Node) -> Result<(), RecipeError> {
    let Some(short) = root.get("dataset").filter(|n| !matches!(n.value, Value::Map(_))).cloned() else { return Ok(()) };
    let place = short.place.clone();
    let sources = match short.value {
        Value::List(_) => short,
        _ => Node { value: Value::List(vec![short]), place: place.clone() },
    };
    root.set("dataset", Node { value: Value::Map(Vec::new()), place })?;
    root.set("dataset.sources", sources)
}

/// LLaMA-Factory's `stage`.
fn translate_stage(root: &mut Node, node: Node, place: Place) -> Result<(), RecipeError> {
    let kind = match &node.value {
        Value::Str(s) if s == "sft" => "sft",
        Value::Str(s) if s == "pt" => "text",
        _ => {
            let reason = "sft and pt are available; rm, ppo, dpo and kto are not yet".to_owned();
            return Err(RecipeError::Invalid { place, field: "stage".into(), reason });
        }
    };
    if root.get("task").is_some_and(|t| t.get("type").is_some()) {
        return Ok(());
    }
    root.set("task.type", Node { value: Value::Str(kind.into()), place: node.place })
}

/// LLaMA-Factory's `template`: names of ours go to the task; a model family's name means the template that the model brings.
fn translate_template(root: &mut Node, node: Node, notes: &mut Vec<String>) -> Result<(), RecipeError> {
    let ours = ["model", "alpaca", "chatml", "vicuna", "plain"];
    match &node.value {
        Value::Str(name) if ours.contains(&name.as_str()) => root.set("task.template", node),
        Value::Str(name) => {
            notes.push(format!("{}: template: `{name}` is taken to mean the chat template that the model brings", node.place));
            Ok(())
        }
        _ => root.set("task.template", node),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn translated(yaml: &str) -> Result<(serde_json::Value, Vec<String>), String> {
        let mut root = Node::parse(yaml, "r.yaml").unwrap();
        let notes = translate(&mut root).map_err(|e| e.to_string())?;
        Ok((root.to_json(), notes))
    }

    #[test]
    fn a_llama_factory_file_becomes_ours() {
        let (json, notes) = translated(
            "model_name_or_path: m\nstage: sft\ndo_train: true\nval_size: 0.1\ndataset: d.json\nmax_samples: 7\ntemplate: qwen\nlora_rank: 4\n",
        )
        .unwrap();
        let want = json!({"model": "m", "task": {"type": "sft"}, "dataset": {"sources": ["d.json"], "max_samples": 7}, "lora_rank": 4});
        // val_size stood above `dataset:`; the short form takes it along.
        assert_eq!(json["model"], want["model"]);
        assert_eq!(json["task"], want["task"]);
        assert_eq!(json["dataset"]["sources"], want["dataset"]["sources"]);
        assert_eq!(json["dataset"]["max_samples"], 7);
        assert_eq!(json["dataset"]["val_size"], 0.1);
        assert_eq!(
            notes,
            [
                "r.yaml:3: do_train has no meaning here and is passed over",
                "r.yaml:7: template: `qwen` is taken to mean the chat template that the model brings"
            ]
        );
    }

    #[test]
    fn a_catalogue_s_entry_is_found_by_name() {
        let (json, _) = translated("dataset: identity\ndataset_dir: data/\nval_size: 0.2").unwrap();
        let want = json!({"sources": [{"source": "data/dataset_info.json", "name": "identity"}], "val_size": 0.2});
        assert_eq!(json["dataset"], want);
        assert!(translated("dataset: a,b\ndataset_dir: data").unwrap_err().starts_with("r.yaml:2: dataset: several"));
        assert!(translated("dataset_dir: data").unwrap_err().contains("dataset_info.json"));
    }

    #[test]
    fn the_same_thing_twice_is_refused() {
        let error = translated("model: a\nmodel_name_or_path: b").unwrap_err();
        assert_eq!(error, "r.yaml:2: model_name_or_path: `model` is given twice (other tools' names count)");
        assert!(translated("model_name_or_path: a\nmodel: b").unwrap_err().starts_with("r.yaml:2: model: "));
    }

    #[test]
    fn what_changes_the_result_is_refused_by_name() {
        assert!(translated("quantization_bit: 4").unwrap_err().starts_with("r.yaml:1: quantization_bit: "));
        assert!(translated("stage: dpo").unwrap_err().contains("dpo"));
        // Switched off, it asks for nothing.
        translated("quantization_bit: null\nuse_dora: false").unwrap();
        assert!(translated("[1]").is_err());
    }
}
