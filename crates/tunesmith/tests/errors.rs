//! What a user can get wrong: exit code 2, a message that names the place and says what to do, and nothing that stands in the way of
//! the next try.

mod common;

use common::{Bench, classify_recipe, conversations, reviews, tiny, yaml};

/// `train classify.yaml --output-dir run` with more arguments.
fn train<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["train", "classify.yaml", "--output-dir", "run"], more].concat()
}

#[test]
fn mistakes_in_a_recipe_name_line_and_field() {
    let bench = Bench::classify();
    let recipe = classify_recipe("reviews.csv");
    for (old, new, words) in [
        ("learning_rate:", "learning_rat:", vec!["r.yaml:15: learning_rat: unknown key; did you mean 'learning_rate'?"]),
        ("  val_size", "  val_sise", vec!["r.yaml:4: dataset.val_sise: unknown key", "'val_size'"]),
        ("learning_rate: 1e-2", "learning_rate: fast", vec!["r.yaml:15: learning_rate:", "fast", "number"]),
        ("learning_rate: 1e-2", "learning_rate: -1", vec!["r.yaml:15: learning_rate: -1"]),
        (
            "per_device_train_batch_size: 4",
            "per_device_train_batch_size: 2.5",
            vec!["r.yaml:14: per_device_train_batch_size:", "whole number"],
        ),
        ("finetuning_type: lora", "finetuning_type: lore", vec!["r.yaml:11: finetuning_type:", "lora"]),
        ("logging_steps: 1", "fp16: true", vec!["r.yaml:18: fp16:"]),
        ("save_steps: 2", "save_steps: 2\nsave_steps: 3", vec!["r.yaml:18: save_steps: ", "line 17"]),
        ("task:", "task: [", vec!["r.yaml:"]),
        ("{text}", "{body}", vec!["body"]),
        ("model:", "modell:", vec!["r.yaml:1: modell: unknown key", "'model'"]),
    ] {
        assert!(recipe.contains(old), "{old}");
        bench.write("r.yaml", recipe.replacen(old, new, 1));
        bench.refused(&["train", "r.yaml", "--output-dir", "run"], &words);
    }
    bench.refused(&train(&["--set", "learning_rat=1"]), &["--set learning_rat=1", "unknown key", "'learning_rate'"]);
    bench.refused(&train(&["--set", "dataset.val_size=-1"]), &["val_size", "-1"]);
    bench.refused(&train(&["--set", "task.prompt={text}"]), &["task.prompt: ", "quote", "'task.prompt=\"{text}\"'"]);
    bench.refused(&train(&["--set", "dataset.sources[0].columns.text=reveiw"]), &["reveiw", "no such column", "columns: {text: …}"]);
    bench.refused(&train(&["--set", "seed"]), &["--set seed", "key=value"]);
    bench.refused(&["train", "none.yaml", "--output-dir", "run"], &["none.yaml: there is no such recipe", "tunesmith init"]);
    bench.refused(&["train", "classify.yaml"], &["output directory", "--output-dir"]);
    // After all these, the directory is free for the right recipe.
    bench.train("classify.yaml", "run", &["--max-steps", "1"]);
}

#[test]
fn a_used_directory_is_left_alone() {
    let bench = Bench::classify();
    std::fs::create_dir(bench.path("run")).unwrap();
    bench.write("run/thesis.txt", "years of work");
    bench.refused(&train(&[]), &["run: the output directory is not empty", "thesis.txt", "--resume"]);
    assert_eq!(bench.read("run/thesis.txt"), b"years of work");
    assert_eq!(std::fs::read_dir(bench.path("run")).unwrap().count(), 1, "nothing is added");
}

#[test]
fn resume_refuses_what_has_changed_and_touches_nothing() {
    let bench = Bench::classify();
    bench.train("classify.yaml", "run", &["--max-steps", "4"]);
    let all =
        |bench: &Bench| ["run.json", "train.jsonl", "metrics.jsonl", "adapter_model.safetensors"].map(|f| bench.read(&format!("run/{f}")));
    let before = all(&bench);
    let resume = |more: &[&'static str]| train(&[&["--resume", "--max-steps", "4"], more].concat());
    bench.refused(
        &resume(&["--set", "lora_rank=8", "--set", "learning_rate=1e-3"]),
        &["lora_rank: was 4, now 8", "learning_rate: was 0.01, now 0.001", "another output directory"],
    );
    bench.refused(&resume(&["--set", "task.prompt={text}?"]), &["task", "{text}?"]);
    bench.refused(&resume(&["--set", "model=elsewhere"]), &["model", "no longer names", "--output-dir"]);
    bench.write("reviews.csv", reviews(62, "pos", "neg"));
    bench.refused(&resume(&[]), &["data set: reviews.csv has changed", "--output-dir"]);
    assert!(all(&bench) == before, "a refusal changes nothing");
    bench.write("reviews.csv", reviews(60, "pos", "neg"));
    bench.ok(&resume(&[]));
}

#[test]
fn rows_that_teach_nothing_do_not_start_a_run() {
    let bench = Bench::classify();
    bench.write("chat.jsonl", conversations(8));
    let sft = format!("model: {}\ndataset: chat.jsonl\noutput_dir: chat\n", yaml(&tiny()));
    bench.write("chat.yaml", &sft);
    // Nothing but questions.
    bench.write("chat.jsonl", "{\"messages\": [{\"role\": \"user\", \"content\": \"你好\"}]}\n".repeat(4));
    bench.refused(&["train", "chat.yaml"], &["chat.jsonl"]);
    // Every answer beyond the cut.
    bench.write("chat.jsonl", conversations(8));
    bench.refused(&["train", "chat.yaml", "--set", "cutoff_len=4"], &["cutoff_len"]);
    assert!(!bench.path("chat/run.json").exists());

    // Labels that the recipe does not know, the first of each with its place.
    bench.write("reviews.csv", reviews(20, "great", "awful"));
    bench.refused(&train(&[]), &["reviews.csv", "label", "\"great\"", "\"awful\"", "reviews.csv:2", "positive"]);
    bench.write("reviews.csv", "text,stars\na,1\n");
    bench.refused(&train(&[]), &["reviews.csv", "review", "text, stars"]);
    bench.write("reviews.csv", "");
    bench.refused(&train(&[]), &["reviews.csv"]);
    bench.write("reviews.csv", reviews(20, "pos", "neg"));
    bench.train("classify.yaml", "run", &["--max-steps", "1"]);
}

#[test]
fn missing_files_are_named() {
    let bench = Bench::classify();
    bench.refused(&train(&["--set", "dataset.sources.0.source=no.csv"]), &["no.csv", "no such file"]);
    bench.refused(&train(&["--set", "model=no/model"]), &["no/model", "no such file", "hf:no/model"]);
    bench.refused(&["init", "no.csv"], &["no.csv"]);
    bench.train("classify.yaml", "run", &["--max-steps", "1"]);
    bench.refused(&["eval", "run", "--data", "no.csv"], &["no.csv", "no such file"]);
    bench.refused(&["predict", "run", "--input", "no.csv"], &["no.csv", "no such file"]);
    bench.refused(&["predict", "no-run", "text"], &["no-run", "no such file"]);
    bench.refused(&["chat", "no-run"], &["no-run"]);
    bench.refused(&["merge", "no-run", "--output", "m"], &["no-run", "is no run"]);
}

#[test]
fn offline_names_what_is_missing_and_how_to_bring_it() {
    let bench = Bench::classify();
    let refusals = [
        ("model=hf:org/name", vec!["offline", "hf:org/name", "cache/hf/models--org--name"]),
        ("model=[hf:org/name, hf:org/other]", vec!["none of the 2 sources", "hf:org/name", "hf:org/other", "offline"]),
        ("model=https://example.com/m.gguf", vec!["offline", "https://example.com/m.gguf"]),
        ("dataset.sources.0.source=hf:datasets/org/rows", vec!["offline", "hf:datasets/org/rows"]),
    ];
    for (set, words) in &refusals {
        bench.refused(&train(&["--set", set]), words);
    }
    // The variable does what the option does.
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tunesmith"));
    command.args(["pull", "hf:org/name"]).env("TUNESMITH_OFFLINE", "1").env("TUNESMITH_CACHE", bench.path("cache"));
    let output = command.env("HOME", bench.path("")).env_remove("HF_HOME").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("offline"));
    // An alternative that is there is taken, and said.
    let sets = format!("model=[hf:org/name, {}]", yaml(&tiny()));
    let ran = bench.ok(&train(&["--max-steps", "1", "--set", &sets]));
    assert!(ran.err.contains("hf:org/name") && ran.err.contains("trying"), "{}", ran.err);
}

#[test]
fn damaged_models_are_named() {
    let bench = Bench::classify();
    let base = bench.copy_model("base");
    let set = ["--set", "model=base"];
    let whole = bench.read("base/model.safetensors");
    bench.write("base/model.safetensors", &whole[..whole.len() / 2]);
    bench.refused(&train(&set), &["base/model.safetensors", "damaged or incomplete"]);
    bench.write("base/model.safetensors", b"not a model at all");
    bench.refused(&train(&set), &["base/model.safetensors"]);
    bench.write("base/model.safetensors", &whole);

    let config = String::from_utf8(bench.read("base/config.json")).unwrap();
    bench.write("base/config.json", config.replace("\"hidden_size\": 32", "\"hidden_size\": 48"));
    bench.refused(&train(&set), &["base"]);
    bench.write("base/config.json", config.replace("\"llama\"", "\"zebra\""));
    bench.refused(&train(&set), &["config.json", "zebra"]);
    bench.write("base/config.json", &config[..config.len() / 2]);
    bench.refused(&train(&set), &["config.json"]);
    bench.write("base/config.json", &config);

    let tokenizer = bench.read("base/tokenizer.json");
    std::fs::remove_file(base.join("tokenizer.json")).unwrap();
    bench.refused(&train(&set), &["base", "tokenizer.json"]);
    bench.write("base/tokenizer.json", &tokenizer[..tokenizer.len() / 2]);
    bench.refused(&train(&set), &["tokenizer.json"]);
    bench.write("base/tokenizer.json", tokenizer);
    bench.train("classify.yaml", "run", &["--set", "model=base", "--max-steps", "1"]);

    // A run whose tokenizer was exchanged is not what was trained.
    let own = bench.read("run/tokenizer.json");
    let mut other: serde_json::Value = serde_json::from_slice(&own).unwrap();
    let words = &mut other["model"]["vocab"];
    (words["a"], words["b"]) = (words["b"].clone(), words["a"].clone());
    bench.write("run/tokenizer.json", other.to_string());
    bench.refused(&["predict", "run", "text"], &["run", "tokenizer"]);
    bench.write("run/tokenizer.json", own);
    let adapter = bench.read("run/adapter_model.safetensors");
    bench.write("run/adapter_model.safetensors", &adapter[..adapter.len() - 100]);
    bench.refused(&["predict", "run", "text"], &["run/adapter_model.safetensors"]);
}

#[test]
fn a_run_that_diverges_fails_in_words() {
    let bench = Bench::classify();
    let ran = bench.run(&train(&["--set", "finetuning_type=full", "--set", "learning_rate=1e30", "--set", "max_grad_norm=0"]));
    assert_eq!(ran.code, Some(1), "the work failed, not the input: {}", ran.err);
    assert!(ran.err.contains("step ") && ran.err.contains("lower learning_rate"), "{}", ran.err);
}
