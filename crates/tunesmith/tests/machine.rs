//! The verbs around the work: `doctor`, `schema`, `pull`, help.

mod common;

use common::{Bench, keys, number, tiny};
use serde_json::{Value, json};

#[test]
fn doctor_measures_this_machine() {
    let bench = Bench::new();
    let report = bench.json(&["doctor", "--json", "--threads", "2"]);
    assert_eq!(keys(&report), ["version", "cpu", "threads", "memory_mb", "available_memory_mb", "cache", "offline", "measured"]);
    assert_eq!((&report["threads"], &report["offline"]), (&json!(2), &json!(true)));
    assert_eq!(report["cache"]["path"], bench.path("cache").display().to_string());
    assert_eq!(keys(&report["measured"]), ["gflops_f32", "gflops_bf16", "gops_int8", "read_gb_per_second"]);
    assert!(keys(&report["measured"]).iter().all(|key| number(&report["measured"], &format!("/{key}")) > 0.0), "{report}");
    assert!(!bench.path("cache").exists(), "looking leaves nothing");
}

#[test]
fn the_schema_knows_the_keys_of_a_recipe() {
    let bench = Bench::new();
    let schema: Value = serde_json::from_str(&bench.ok(&["schema"]).out).expect("JSON");
    for key in ["model", "dataset", "task", "finetuning_type", "learning_rate", "per_device_train_batch_size", "lora_rank", "save_steps"] {
        assert!(schema["properties"].get(key).is_some(), "{key}");
    }
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn pull_takes_a_local_path_as_it_is() {
    let bench = Bench::new();
    bench.write("数据.csv", "text,label\na,b\n");
    let model = tiny().display().to_string();
    let rows = bench.ok(&["pull", &model, "数据.csv", "--json"]).rows();
    assert_eq!(rows.len(), 2);
    for row in &rows {
        assert_eq!(keys(row), ["source", "path", "files", "sha256", "bytes", "from_cache"]);
        assert_eq!(row["sha256"].as_str().unwrap().len(), 64);
    }
    assert!(rows[0]["files"].as_array().unwrap().iter().any(|f| f.as_str().unwrap().ends_with("model.safetensors")));
    assert_eq!((&rows[1]["bytes"], &rows[1]["path"]), (&json!(15), &json!(bench.path("数据.csv"))));
    bench.refused(&["pull", "nowhere.csv"], &["nowhere.csv", "no such file"]);
    bench.refused(&["pull", "hf:org/name"], &["offline", "org/name", "put"]);
    bench.refused(&["pull", "ftp:thing"], &["ftp:"]);
}

#[test]
fn every_verb_explains_itself() {
    let bench = Bench::new();
    let help = bench.ok(&["--help"]).out;
    for verb in ["pull", "init", "data", "plan", "train", "eval", "predict", "chat", "merge", "doctor", "bench", "schema"] {
        assert!(help.contains(&format!("\n  {verb} ")), "{verb}: {help}");
        assert!(bench.ok(&[verb, "--help"]).out.contains("Usage:"), "{verb}");
    }
    bench.refused(&["trian"], &["trian", "train"]);
    bench.refused(&["train"], &["RECIPE"]);
    bench.refused(&["doctor", "--threads", "0"], &["--threads"]);
}
