//! What is done with a run: `eval`, `predict`, `merge`, `chat`.

mod common;

use common::{Bench, REPORT_KEYS, keys, number, reviews, tiny};
use serde_json::{Value, json};

/// The sum of an object's numbers.
fn sum(value: &Value) -> f64 {
    value.as_object().unwrap().values().map(|v| v.as_f64().unwrap()).sum()
}

#[test]
fn eval_tells_what_the_task_has() {
    let bench = Bench::classify();
    let summary = bench.train("classify.yaml", "run", &[]);
    let held_out = bench.json(&["eval", "run", "--data", "run/heldout.jsonl", "--json"]);
    assert_eq!(held_out, summary["metrics"]["after"], "what train measured, measured again");

    // The user's own file, with the columns that the recipe maps.
    bench.write("test.csv", reviews(30, "pos", "neg"));
    let report = bench.json(&["eval", "run", "--data", "test.csv", "--json"]);
    assert_eq!(keys(&report), REPORT_KEYS);
    assert_eq!(report["n"], 30);
    for average in ["macro", "micro"] {
        assert_eq!(keys(&report[average]), ["precision", "recall", "f1"]);
    }
    assert_eq!(keys(&report["per_class"]), ["negative", "positive"]);
    assert_eq!(keys(&report["per_class"]["negative"]), ["precision", "recall", "f1", "support"]);
    let right: f64 = ["negative", "positive"].iter().map(|l| number(&report, &format!("/confusion/{l}/{l}"))).sum();
    assert!((right / 30.0 - number(&report, "/accuracy")).abs() < 1e-12);
    assert_eq!(sum(&report["confusion"]["negative"]) + sum(&report["confusion"]["positive"]), 30.0);
    let text = bench.ok(&["eval", "run", "--data", "test.csv"]).out;
    assert!(text.contains("accuracy 0.") && text.contains("on 30 rows") && text.contains("predicted"), "{text}");
    assert_eq!(bench.json(&["eval", "run", "--data", "test.csv", "--limit", "7", "--json"])["n"], 7);

    // A bare model takes its task from a recipe: the untouched model is what train measured before.
    let model = tiny().display().to_string();
    let before = bench.json(&["eval", &model, "--recipe", "classify.yaml", "--data", "run/heldout.jsonl", "--json"]);
    assert_eq!(before, summary["metrics"]["before"]);
    bench.refused(&["eval", &model, "--data", "test.csv"], &["task", "--recipe"]);
}

#[test]
fn labels_of_another_file_are_mapped() {
    let bench = Bench::classify();
    bench.train("classify.yaml", "run", &["--max-steps", "2"]);
    bench.write("stars.csv", reviews(10, "great", "awful"));
    bench.refused(&["eval", "run", "--data", "stars.csv"], &["stars.csv:2", "label", "\"great\"", "positive", "--label-map pos=positive"]);
    let report = bench.json(&["eval", "run", "--data", "stars.csv", "--label-map", "great=positive,awful=negative", "--json"]);
    assert_eq!((&report["n"], &report["per_class"]["positive"]["support"]), (&json!(10), &json!(5)));
    bench.refused(
        &["eval", "run", "--data", "stars.csv", "--label-map", "great=positiv"],
        &["--label-map", "positiv", "negative, positive"],
    );
    bench.refused(&["eval", "run", "--data", "stars.csv", "--label-map", "great"], &["--label-map"]);
    // A few unknown ones are left out, with the same advice.
    bench.write("mixed.csv", format!("{}\"wonderful\",great\r\n", reviews(10, "pos", "neg")));
    let ran = bench.ok(&["eval", "run", "--data", "mixed.csv"]);
    assert!(ran.err.contains("1 of 11 rows cannot be used") && ran.err.contains("--label-map"), "{}", ran.err);
    assert!(bench.ok(&["eval", "run", "--data", "mixed.csv", "--limit", "1"]).out.contains("on 1 row\n"));
}

#[test]
fn predict_prints_a_line_a_row() {
    let bench = Bench::classify();
    bench.train("classify.yaml", "run", &[]);
    let texts = ["a wonderful film, warm", "这部电影太差了"];
    let plain = bench.ok(&["predict", "run", texts[0], texts[1]]).rows();
    let shown = bench.ok(&["predict", "run", texts[0], texts[1], "--show-prompt"]).rows();
    assert_eq!((plain.len(), shown.len()), (2, 2));
    for ((row, full), text) in plain.iter().zip(&shown).zip(texts) {
        assert_eq!(keys(row), ["text", "label", "scores", "normalized"]);
        assert_eq!(keys(full), ["text", "label", "scores", "normalized", "prompt", "label_text"]);
        assert_eq!(row["text"], text);
        assert_eq!(full["prompt"], format!("Review: {text}\nSentiment:"));
        assert_eq!(full["label_text"], format!(" {}", full["label"].as_str().unwrap()));
        assert_eq!(row["scores"], full["scores"]);
        let best = if number(row, "/normalized/positive") > number(row, "/normalized/negative") { "positive" } else { "negative" };
        assert_eq!(row["label"], best);
        assert!((sum(&row["normalized"]) - 1.0).abs() < 1e-9);
        // Neither label's text begins the other: normalized is the softmax of the scores.
        let odds = (number(row, "/scores/positive") - number(row, "/scores/negative")).exp();
        assert!((number(row, "/normalized/positive") - odds / (1.0 + odds)).abs() < 1e-6);
    }

    // A file: without labels, in order, whatever the batch; and lines on standard input.
    bench.write("new.csv", "id,review\n1,\"a wonderful film, warm\"\n2,这部电影太差了\n3,\"three,\nlines\"\n");
    let rows = bench.ok(&["predict", "run", "--input", "new.csv"]).rows();
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[2]["text"], "three,\nlines");
    for (row, single) in rows.iter().zip(&plain) {
        assert_eq!((&row["text"], &row["label"]), (&single["text"], &single["label"]));
        assert!((number(row, "/scores/positive") - number(single, "/scores/positive")).abs() < 1e-4);
    }
    assert_eq!(bench.ok(&["predict", "run", "--input", "new.csv", "--batch-size", "1"]).rows().len(), 3);
    let piped = bench.run_with_input(&["predict", "run", "--input", "-"], "a wonderful film, warm\n这部电影太差了\n");
    assert_eq!(piped.rows(), plain);
    bench.refused(&["predict", "run"], &["nothing to predict", "--input"]);
}

#[test]
fn a_tuned_assistant_is_asked() {
    let bench = Bench::chat();
    let summary = bench.train("chat.yaml", "run", &[]);
    assert!(number(&summary, "/metrics/after/loss") < number(&summary, "/metrics/before/loss"));
    let report = bench.json(&["eval", "run", "--data", "chat.jsonl", "--json"]);
    assert_eq!(keys(&report), ["n", "loss", "perplexity", "tokens", "confidence"]);
    assert_eq!(report["n"], 24);
    assert!((number(&report, "/loss").exp() - number(&report, "/perplexity")).abs() < 1e-6 * number(&report, "/perplexity"));

    let args = ["predict", "run", "请问怎么重置密码？", "Where is my order?", "--max-new-tokens", "6"];
    let ran = bench.ok(&args);
    let rows = ran.rows();
    assert_eq!(rows.len(), 2);
    for row in &rows {
        assert_eq!(keys(row), ["prompt", "text", "finish_reason", "logprob"]);
        assert!(row["finish_reason"] == "length" || row["finish_reason"] == "stop", "{row}");
        assert!(number(row, "/logprob") < 0.0);
    }
    assert_eq!(rows[0]["prompt"], "<|im_start|>user\n请问怎么重置密码？<|im_end|>\n<|im_start|>assistant\n");
    assert_eq!(ran.out, bench.ok(&args).out);
    // Sampling is keyed by the seed.
    let sampled = |seed| bench.ok(&[&args[..], &["--temperature", "1.5", "--seed", seed]].concat()).out;
    assert_eq!(sampled("1"), sampled("1"));
    assert_ne!(sampled("1"), sampled("2"));
    // A file's last answer is what is asked for, so it is no part of the prompt.
    let rows = bench.ok(&["predict", "run", "--input", "run/heldout.jsonl", "--max-new-tokens", "2"]).rows();
    assert_eq!(rows.len(), number(&summary, "/metrics/after/n") as usize);
    assert!(rows.iter().all(|r| r["prompt"].as_str().unwrap().ends_with("<|im_end|>\n<|im_start|>assistant\n")), "{rows:?}");
    bench.refused(&["predict", "run", "x", "--top-p", "1.5"], &["top_p", "1.5"]);
}

#[test]
fn chat_answers_what_is_piped_in() {
    let bench = Bench::new();
    let model = tiny().display().to_string();
    let args = ["chat", &model, "--max-new-tokens", "5", "--json", "--system", "Be brief."];
    let ran = bench.run_with_input(&args, "Hello\n你好\n/clear\nHello\n");
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let turns = ran.rows();
    assert_eq!(turns.len(), 3);
    assert!(turns.iter().all(|t| keys(t) == ["prompt", "text", "finish_reason", "logprob"]));
    let prompt = |i: usize| turns[i]["prompt"].as_str().unwrap();
    assert_eq!(prompt(0), "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n");
    let answered = format!("{}{}<|im_end|>\n<|im_start|>user\n你好", prompt(0), turns[0]["text"].as_str().unwrap());
    assert!(prompt(1).starts_with(&answered), "{} / {answered}", prompt(1));
    assert_eq!(turns[2], turns[0], "/clear forgets, and greedy answers repeat");
    // Without --json the bare answers stream out.
    let ran = bench.run_with_input(&args[..4], "Hello\n/quit\nnever read\n");
    assert_eq!((ran.code, ran.out.lines().count()), (Some(0), 1), "{}", ran.out);
}

#[test]
fn a_merged_model_is_the_run() {
    let bench = Bench::classify();
    // In f32: merging rounds only once there.
    let settings = ["--set", "use_rslora=true", "--set", "lora_dropout=0", "--set", "compute_dtype=f32"];
    let summary = bench.train("classify.yaml", "run", &settings);
    let after = &summary["metrics"]["after"];
    let merged = bench.json(&["merge", "run", "--output", "merged", "--json"]);
    assert_eq!(keys(&merged), ["output", "dtype", "tensors", "merged", "bytes"]);
    assert_eq!((&merged["dtype"], &merged["merged"]), (&json!("f32"), &json!(14)), "7 matrices in each of 2 layers");
    for file in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"] {
        assert!(bench.path("merged").join(file).is_file(), "{file}");
    }
    let eval = |dir: &str| {
        let task = ["--recipe", "classify.yaml", "--compute-dtype", "f32"];
        bench.json(&[&["eval", dir, "--data", "run/heldout.jsonl", "--json"][..], &task].concat())
    };
    let report = eval("merged");
    assert_eq!(report["accuracy"], after["accuracy"]);
    assert!((number(&report, "/loss") - number(after, "/loss")).abs() < 1e-4, "{report} {after}");

    let small = bench.json(&["merge", "run", "--output", "small", "--dtype", "bf16", "--json"]);
    assert!(number(&small, "/bytes") < 0.6 * number(&merged, "/bytes"));
    assert!((number(&eval("small"), "/loss") - number(after, "/loss")).abs() < 0.05);
    bench.refused(&["merge", "run", "--output", "merged"], &["merged", "not empty", "--output"]);
    bench.refused(&["merge", "merged", "--output", "again"], &["merged", "is no run", "run.json"]);

    // The base is the one that was trained on, or it is refused: by content, not by name.
    let other = Bench::classify();
    other.copy_model("base");
    other.train("classify.yaml", "run", &["--set", "model=base", "--max-steps", "2"]);
    let mut weights = other.read("base/model.safetensors");
    *weights.last_mut().unwrap() ^= 1;
    other.write("base/model.safetensors", weights);
    other.refused(&["merge", "run", "--output", "merged"], &["model", "has changed"]);
    other.refused(&["predict", "run", "text"], &["model", "has changed"]);
}

#[test]
fn standard_input_may_be_named_as_a_device() {
    let bench = Bench::classify();
    bench.train("classify.yaml", "run", &["--max-steps", "1"]);
    let lines = "a wonderful film\n这部电影太差了\n";
    let dash = bench.run_with_input(&["predict", "run", "--input", "-"], lines);
    let device = bench.run_with_input(&["predict", "run", "--input", "/dev/stdin"], lines);
    assert_eq!((dash.code, dash.rows().len()), (Some(0), 2), "{}", dash.err);
    assert_eq!(dash.out, device.out, "{}", device.err);
}

#[test]
fn a_conversation_that_outgrows_the_context_says_so() {
    let bench = Bench::new();
    // The tiny model's context is 256 tokens.
    let turns: String = (0..6).map(|i| format!("{i} {}\n", "how do I reset it ".repeat(6))).collect();
    let model = tiny().display().to_string();
    let ran = bench.run_with_input(&["chat", &model, "--max-new-tokens", "4"], &turns);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(
        ran.err.contains("the conversation outgrew the model's context: the model no longer sees its oldest 2 messages"),
        "{}",
        ran.err
    );
    let short = bench.run_with_input(&["chat", &model, "--max-new-tokens", "4"], "hello\nhello\n");
    assert!(short.code == Some(0) && !short.err.contains("outgrew"), "{}", short.err);
}

#[test]
fn tools_that_a_template_does_not_know_are_not_passed_over() {
    let bench = Bench::chat();
    let plain = bench.ok(&["train", "chat.yaml", "--output-dir", "plain", "--max-steps", "1"]);
    assert!(!plain.err.contains("does not know"), "{}", plain.err);
    let tool = json!({"type": "function", "function": {"name": "clock", "description": "tells the time", "parameters": {}}});
    let row = |i: usize| {
        let turns = [json!({"role": "user", "content": format!("what time is it {i}")}), json!({"role": "assistant", "content": "noon"})];
        json!({"messages": turns, "tools": [tool]}).to_string() + "\n"
    };
    bench.write("chat.jsonl", (0..20).map(row).collect::<String>());
    let ran = bench.ok(&["train", "chat.yaml", "--output-dir", "tools", "--max-steps", "1"]);
    assert!(ran.err.contains("20 rows describe tools, but the chat template does not know `tools`"), "{}", ran.err);
}

#[test]
fn the_report_shows_the_whole_conversation() {
    let bench = Bench::chat();
    let row = |i: usize| {
        let says = |role: &str, text: &str| json!({"role": role, "content": format!("{text} {i}")});
        json!({"messages": [says("user", "first question"), says("assistant", "first answer"), says("user", "second question"),
               says("assistant", "second answer")]})
        .to_string()
            + "\n"
    };
    bench.write("chat.jsonl", (0..20).map(row).collect::<String>());
    bench.train("chat.yaml", "run", &["--max-steps", "1"]);
    let page = String::from_utf8(bench.read("run/report.html")).unwrap();
    for part in ["user: first question", "assistant: first answer", "user: second question"] {
        assert!(page.contains(part), "{part}");
    }
}
