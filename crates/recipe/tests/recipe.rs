//! The recipe at its border: the committed examples read, every kind of mistake gives file, line, field and what to do.

use std::path::Path;

use recipe::{Recipe, json_schema};

const SMALL: &str = "model: m\ndataset: rows.jsonl\n";

fn error(yaml: &str, sets: &[&str]) -> String {
    let sets: Vec<String> = sets.iter().map(|s| (*s).to_owned()).collect();
    match Recipe::parse(yaml, "r.yaml", &sets) {
        Ok(_) => panic!("accepted: {yaml}"),
        Err(e) => e.to_string(),
    }
}

#[test]
fn the_examples_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "yaml") {
            let recipe = Recipe::load(&path, &[]).unwrap();
            assert!(recipe.notes.is_empty(), "{:?}", recipe.notes);
            seen += 1;
        }
    }
    assert!(seen >= 2);
}

#[test]
fn defaults_are_hugging_faces() {
    let recipe = Recipe::parse(SMALL, "r.yaml", &[]).unwrap();
    assert_eq!(recipe.training.learning_rate, 5e-5);
    assert_eq!(recipe.training.num_train_epochs, 3.0);
    assert_eq!(recipe.finetuning.lora_rank, 8);
    assert_eq!(recipe.task.name(), "sft");
}

#[test]
fn resolved_and_read_again_is_the_same() {
    let sets = ["lora_target=[q_proj, v_proj]".to_owned(), "eval_steps=5".to_owned(), "task={type: text}".to_owned()];
    let recipe = Recipe::parse(SMALL, "r.yaml", &sets).unwrap();
    let again = Recipe::from_json(&recipe.to_json().to_string(), "recipe.json").unwrap();
    assert_eq!(again.to_json(), recipe.to_json());
    assert_eq!(again.fingerprint(), recipe.fingerprint());
}

#[test]
fn an_override_replaces_a_key_or_reaches_into_it() {
    let yaml = "model_name_or_path: m\ndataset: d\ntask: {type: classify, prompt: '{text}', labels: [a, b]}\n";
    let of = |set: &str| Recipe::parse(yaml, "r.yaml", &[set.to_owned()]).unwrap();
    assert_eq!(of("task={type: text}").task.name(), "text");
    assert_eq!(of("model=other").model[0].to_string(), of("model_name_or_path=other").model[0].to_string());
    let inside = of("dataset.max_samples=7");
    assert_eq!((inside.dataset.max_samples, inside.dataset.sources[0].source.as_str()), (Some(7), "d"));
    assert_eq!(of("task.prompt=x").task.name(), "classify");
}

#[test]
fn a_change_shows_in_the_fingerprint_and_the_output_directory_does_not() {
    let of = |set: &str| Recipe::parse(SMALL, "r.yaml", &[set.to_owned()]).unwrap().fingerprint();
    let base = of("seed=42");
    assert_eq!(base, of("output_dir=elsewhere"));
    for set in ["seed=43", "lora_rank=4", "cutoff_len=9", "dataset.max_samples=3", "task={type: text}"] {
        assert_ne!(base, of(set), "{set}");
    }
}

#[test]
fn mistakes_say_where_and_what() {
    assert_eq!(error("model: m\ndataset: d\nlearning_rte: 1\n", &[]), "r.yaml:3: learning_rte: unknown key; did you mean 'learning_rate'?");
    assert_eq!(error(SMALL, &["lora_rnk=3"]), "--set lora_rnk=3: lora_rnk: unknown key; did you mean 'lora_rank'?");
    assert_eq!(error("dataset: d\n", &[]), "r.yaml:1: model: is missing");
    let text = error("model: m\ndataset: d\nlearning_rate: fast\n", &[]);
    assert!(text.starts_with("r.yaml:3: learning_rate: "), "{text}");
    let text = error("model: m\ndataset: d\nnum_train_epochs: [1]\n", &[]);
    assert!(text.starts_with("r.yaml:3: num_train_epochs: ") && text.contains("a number"), "{text}");
    let text = error("model: m\ndataset: d\ncompute_dtype: f32\nbf16: true\n", &[]);
    assert!(text.starts_with("r.yaml:4: bf16: "), "{text}");
    let text = error("model: m\ndataset: d\ntask:\n  type: classify\n  prompt: x\n  labels: {a: {frm: 1}, b: {}}\n", &[]);
    assert_eq!(text, "r.yaml:6: task.labels.a.frm: unknown key; did you mean 'from'?");
    let text = error("model: m\ndataset: d\ntask:\n  type: classfy\n", &[]);
    assert!(text.starts_with("r.yaml:") && text.contains("classfy"), "{text}");
    let text = error("model: 'pypi:'\ndataset: d\n", &[]);
    assert!(text.starts_with("r.yaml:1: model: "), "{text}");
    assert!(error("model: []\ndataset: d\n", &[]).contains("at least one source"));
}

#[test]
fn a_missing_file_says_how_to_get_one() {
    let text = Recipe::load(Path::new("no-such.yaml"), &[]).unwrap_err().to_string();
    assert!(text.starts_with("no-such.yaml: ") && text.contains("tunesmith init"), "{text}");
}

#[test]
fn the_schema_describes_every_key() {
    let schema = json_schema();
    let properties = schema["properties"].as_object().unwrap();
    for key in ["model", "dataset", "task", "lora_rank", "learning_rate", "cutoff_len", "finetuning_type", "evaluation"] {
        let description = properties[key].get("description").or_else(|| properties[key].get("$ref"));
        assert!(description.is_some(), "{key} is not described");
    }
}

#[test]
fn int8_needs_something_frozen() {
    let full = "model: m\ndataset: d\nfinetuning_type: full\ncompute_dtype: int8\n";
    let text = error(full, &[]);
    for word in ["r.yaml:4", "compute_dtype", "int8", "full", "lora or freeze"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    for kept in ["finetuning_type=freeze", "finetuning_type=lora", "compute_dtype=bf16"] {
        assert!(Recipe::parse(full, "r.yaml", &[kept.to_owned()]).is_ok(), "{kept}");
    }
}
