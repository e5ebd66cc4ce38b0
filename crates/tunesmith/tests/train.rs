//! `train`, and what comes before it (`init`, `data preview`, `plan`), as a script relies on it.

mod common;

use common::{Bench, REPORT_KEYS, keys, number, reviews, tiny, yaml};
use serde_json::{Value, json};

const TRAIN_KEYS: [&str; 10] = [
    "output_dir",
    "steps",
    "epochs",
    "train_loss",
    "train_seconds",
    "tokens_per_second",
    "trained_tokens",
    "shared_tokens",
    "peak_rss_mb",
    "metrics",
];

#[test]
fn a_run_says_what_scripts_rely_on_and_leaves_its_files() {
    let bench = Bench::classify();
    let ran = bench.ok(&["train", "classify.yaml", "--output-dir", "run", "--json"]);
    let rows = ran.rows();
    assert_eq!(rows.len(), 1, "one object, progress elsewhere");
    let summary = &rows[0];
    assert_eq!(keys(summary), TRAIN_KEYS);
    assert_eq!(summary["output_dir"], "run");
    assert_eq!(summary["steps"], 12);
    assert_eq!(summary["epochs"], 1.0);
    // 48 rows with a label of " negative" or " positive" and an end each.
    assert!(number(summary, "/trained_tokens") >= 96.0);
    assert!(number(summary, "/train_loss") > 0.0 && number(summary, "/train_seconds") > 0.0);
    assert!(number(summary, "/tokens_per_second") > 0.0 && number(summary, "/peak_rss_mb") >= 1.0);
    for side in ["before", "after"] {
        assert_eq!(keys(&summary["metrics"][side]), REPORT_KEYS, "{side}");
        assert_eq!(summary["metrics"][side]["n"], 12);
    }
    assert!(number(summary, "/metrics/after/loss") < number(summary, "/metrics/before/loss"), "{summary}");
    for line in ["model ", "rows   48 to train on", "12 held out", "step    12/12", "before accuracy", "after  accuracy"] {
        assert!(ran.err.contains(line), "`{line}` is not in:\n{}", ran.err);
    }

    for file in [
        "adapter_config.json",
        "adapter_model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "tunesmith.json",
        "run.json",
        "train.jsonl",
        "heldout.jsonl",
        "metrics.jsonl",
        "report.html",
        "checkpoint-12/adapter_model.safetensors",
    ] {
        assert!(bench.path("run").join(file).is_file(), "{file} is missing");
    }
    assert!(bench.path("run/tensorboard").is_dir());
    assert!(bench.read("run/checkpoint-12/adapter_model.safetensors") == bench.read("run/adapter_model.safetensors"));
    let lines = |name: &str| -> Vec<Value> {
        let text = String::from_utf8(bench.read(name)).unwrap();
        text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    };
    let metrics = lines("run/metrics.jsonl");
    assert_eq!(metrics.len(), 13, "a line a step, and the run's");
    assert_eq!(metrics[12]["train_loss"], summary["train_loss"]);
    assert_eq!(keys(&metrics[0])[..5], ["step", "epoch", "loss", "learning_rate", "grad_norm"]);
    let (train, heldout) = (lines("run/train.jsonl"), lines("run/heldout.jsonl"));
    assert_eq!((train.len(), heldout.len()), (48, 12));
    assert!(train.iter().chain(&heldout).all(|row| row["text"].is_string() && (row["label"] == "positive" || row["label"] == "negative")));
    assert!(!heldout.iter().any(|row| train.iter().any(|t| t["text"] == row["text"])), "no text on both sides");
    let adapter: Value = serde_json::from_slice(&bench.read("run/adapter_config.json")).unwrap();
    assert_eq!((&adapter["peft_type"], &adapter["r"], &adapter["base_model_name_or_path"]), (&json!("LORA"), &json!(4), &json!(tiny())));
    let report = String::from_utf8(bench.read("run/report.html")).unwrap();
    assert!(report.contains("<svg") && report.contains("电影") && !report.contains("src=\"http"), "self-contained, with rows of the data");
}

#[test]
fn equal_inputs_give_equal_bytes_whatever_the_thread_count() {
    let bench = Bench::classify();
    let one = bench.train("classify.yaml", "one", &["--threads", "1"]);
    let two = bench.train("classify.yaml", "two", &["--threads", "2"]);
    bench.same_runs("one", "two");
    assert_eq!(one["metrics"], two["metrics"]);
    let other = bench.train("classify.yaml", "three", &["--set", "seed=7"]);
    assert_ne!(one["train_loss"], other["train_loss"], "the seed counts");
}

#[test]
fn full_and_freeze_leave_a_model_that_can_be_asked() {
    let bench = Bench::classify();
    for (name, sets) in [("full", vec!["finetuning_type=full"]), ("freeze", vec!["finetuning_type=freeze", "freeze_trainable_layers=1"])] {
        let mut more = Vec::new();
        sets.iter().for_each(|s| more.extend(["--set", s]));
        let summary = bench.train("classify.yaml", name, &more);
        assert!(number(&summary, "/metrics/after/loss") < number(&summary, "/metrics/before/loss"), "{name}: {summary}");
        assert!(bench.path(name).join("model.safetensors").is_file() && !bench.path(name).join("adapter_config.json").exists());
        let held_out = format!("{name}/heldout.jsonl");
        let again = bench.json(&["eval", name, "--data", &held_out, "--json"]);
        assert_eq!(again, summary["metrics"]["after"], "{name}: the saved model is the one that was measured");
        let row = bench.json(&["predict", name, "这部电影很好看"]);
        assert_eq!(keys(&row), ["text", "label", "scores", "normalized"]);
    }
    // The frozen layer is the base's, the last one is not.
    let (base, freeze) = (containers_of(&tiny().join("model.safetensors")), containers_of(&bench.path("freeze/model.safetensors")));
    let same = |name: &str| close(&base[name], &freeze[name]);
    assert!(same("model.layers.0.mlp.up_proj.weight") && !same("model.layers.1.mlp.up_proj.weight"));
}

/// Tensors of a safetensors file as f32, by name: read here without any of the program's own code.
fn containers_of(path: &std::path::Path) -> std::collections::BTreeMap<String, Vec<f32>> {
    let bytes = std::fs::read(path).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let index: Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let tensors = index.as_object().unwrap().iter().filter(|(name, _)| *name != "__metadata__");
    let read = |(name, tensor): (&String, &Value)| {
        let at = |i: usize| 8 + header + tensor["data_offsets"][i].as_u64().unwrap() as usize;
        let data = &bytes[at(0)..at(1)];
        let values = match tensor["dtype"].as_str().unwrap() {
            "BF16" => data.chunks(2).map(|b| f32::from_bits(u32::from(u16::from_le_bytes([b[0], b[1]])) << 16)).collect(),
            "F32" => data.chunks(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
            other => panic!("{other}"),
        };
        (name.clone(), values)
    };
    tensors.map(read).collect()
}

fn close(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b)
}

#[test]
fn from_a_file_to_a_run_by_init() {
    let bench = Bench::new();
    bench.write("reviews.csv", reviews(40, "好评", "差评"));
    let found = bench.json(&["init", "reviews.csv", "--json"]);
    assert_eq!(keys(&found), ["recipe", "shape", "rows", "columns", "labels"]);
    assert_eq!(found["rows"], 40);
    assert_eq!(found["labels"], json!({"好评": 20, "差评": 20}));
    assert_eq!(found["columns"], json!(["review", "sentiment"]));
    let text = String::from_utf8(bench.read("reviews.yaml")).unwrap();
    assert!(text.starts_with('#') && text.contains("finetuning_type: lora"), "{text}");
    bench.refused(&["init", "reviews.csv"], &["reviews.yaml", "is there already", "--force"]);

    let model = format!("model={}", tiny().display());
    let summary = bench.json(&["train", "reviews.yaml", "--output-dir", "run", "--set", &model, "--max-steps", "3", "--json"]);
    assert_eq!(summary["steps"], 3);
    let row = bench.json(&["predict", "run", "这部电影很好看"]);
    assert_eq!(keys(&row["scores"]), ["好评", "差评"]);

    // Conversations are recognised as well.
    bench.write("talk.jsonl", common::conversations(12));
    let found = bench.json(&["init", "talk.jsonl", "--json"]);
    assert_eq!((&found["shape"], &found["rows"]), (&json!("messages"), &json!(12)));
    bench.json(&["train", "talk.yaml", "--output-dir", "talk", "--set", &model, "--max-steps", "2", "--json"]);
}

#[test]
fn preview_shows_what_is_trained_and_what_is_left_out() {
    let bench = Bench::classify();
    let mut data = reviews(20, "pos", "neg");
    data.push_str("\"of no known kind\",meh\r\n");
    bench.write("reviews.csv", data);
    let ran = bench.ok(&["data", "preview", "classify.yaml", "--rows", "2", "--json"]);
    let rows = ran.rows();
    let [first, second, summary] = &rows[..] else { panic!("two rows and a summary: {}", ran.out) };
    for row in [first, second] {
        let length = row["input_ids"].as_array().unwrap().len();
        for name in ["tokens", "labels", "attention_mask"] {
            assert_eq!(row[name].as_array().unwrap().len(), length, "{name}");
        }
        // The answer and the end of the text are trained, the prompt is not.
        let labels: Vec<i64> = row["labels"].as_array().unwrap().iter().map(|l| l.as_i64().unwrap()).collect();
        let begin = labels.iter().position(|l| *l != -100).unwrap();
        assert!(begin > 3 && labels[begin..].iter().all(|l| *l != -100), "{labels:?}");
        let ids: Vec<i64> = row["input_ids"].as_array().unwrap().iter().map(|l| l.as_i64().unwrap()).collect();
        assert_eq!(labels[begin..], ids[begin..]);
        assert_eq!(*ids.last().unwrap(), 2, "<|im_end|>");
    }
    assert_eq!((&summary["read"], &summary["train"], &summary["heldout"]), (&json!(21), &json!(16), &json!(4)));
    assert_eq!(summary["labels"], json!({"negative": 8, "positive": 8}));
    let bad = summary["bad"].as_array().unwrap();
    assert_eq!(bad.len(), 1);
    // The row is on line 23 of the file: a header, twenty rows, one of them on two lines.
    assert!(bad[0].to_string().contains("23") && bad[0].to_string().contains("meh"), "{}", bad[0]);
    assert!(ran.err.contains("reviews.csv:23: "), "{}", ran.err);

    let text = bench.ok(&["data", "preview", "classify.yaml", "--rows", "1", "--set", "cutoff_len=14"]).out;
    assert!(text.contains("input_ids") && text.contains("attention_mask") && text.contains("were cut"), "{text}");
}

#[test]
fn plan_predicts_without_leaving_anything() {
    let bench = Bench::classify();
    let plan = bench.json(&["plan", "classify.yaml", "--json"]);
    for key in ["phases", "peak_memory_mb", "available_memory_mb", "fits", "seconds", "advice"] {
        assert!(plan.get(key).is_some(), "{key}: {plan}");
    }
    assert_eq!(plan["steps"], 12);
    let phases: Vec<&str> = plan["phases"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    for phase in ["load", "train", "merge"] {
        assert!(phases.contains(&phase), "{phases:?}");
    }
    let mut left: Vec<_> = std::fs::read_dir(bench.path("")).unwrap().flatten().map(|f| f.file_name()).collect();
    left.sort();
    assert!(left.iter().all(|f| f != "runs"), "{left:?}");
}

#[test]
fn a_recipe_s_paths_are_found_beside_it_and_its_run_from_anywhere() {
    let bench = Bench::classify();
    bench.copy_model("base");
    let recipe = common::classify_recipe("reviews.csv").replace(&yaml(&tiny()), "base");
    bench.write("classify.yaml", recipe);
    std::fs::create_dir(bench.path("elsewhere")).unwrap();
    bench.train("classify.yaml", "run", &["--max-steps", "4"]);
    let manifest = bench.read("run/run.json");
    let there = |args: &[&str]| {
        let output = bench.command(args).current_dir(bench.path("elsewhere")).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let run = bench.path("run").display().to_string();
    let label: Value = serde_json::from_str(&there(&["predict", "../run", "dull and bad"])).unwrap();
    assert!(label["label"].is_string());
    there(&["merge", &run, "--output", "merged"]);
    there(&["train", "../classify.yaml", "--output-dir", &run, "--max-steps", "4", "--resume"]);
    assert!(bench.read("run/run.json") == manifest, "the same run, spelled as before");
}
