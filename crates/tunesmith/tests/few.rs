//! The few-label verbs with what a language model knows, a knowledge base, and a store: from the command line to what is kept.

mod common;

use std::fmt::Write;

use common::{Bench, keys, tiny};
use serde_json::{Value, json};

const GOOD: [&str; 5] = ["wonderful", "moving", "bright", "funny", "很好"];
const BAD: [&str; 5] = ["dull", "tedious", "awful", "flat", "无聊"];

/// Rows `from..to` as (text, label): odd ones praise, even ones do not.
fn rows(from: usize, to: usize) -> Vec<(String, &'static str)> {
    let one = |i: usize| {
        let (words, label) = if i % 2 == 1 { (GOOD, "pos") } else { (BAD, "neg") };
        (format!("the film {i} was {} and {} to see", words[i / 2 % 5], words[(i / 2 + 1 + i / 10) % 5]), label)
    };
    (from..to).map(one).collect()
}

fn csv(rows: &[(String, &str)]) -> String {
    rows.iter().fold("text,label\n".to_owned(), |mut out, (text, label)| {
        writeln!(out, "{text},{label}").unwrap();
        out
    })
}

fn bench() -> Bench {
    let bench = Bench::new();
    bench.write("few.csv", csv(&rows(0, 60)));
    bench.write("rest.csv", csv(&rows(60, 160)));
    bench.write("test.csv", csv(&rows(160, 220)));
    bench
}

/// A store with all rows, of which a person labelled the first `n`.
fn store(bench: &Bench, n: usize) {
    let mut all = String::new();
    for (i, (text, label)) in rows(0, 120).into_iter().enumerate() {
        let mut row = json!({"id": i.to_string(), "text": text});
        if i < n {
            row["label"] = label.into();
        }
        writeln!(all, "{row}").unwrap();
    }
    bench.write("all.jsonl", all);
    bench.json(&["label", "import", "jsonl", "all.jsonl", "--store", "project", "--annotator", "kim", "--json"]);
}

fn author_of(bench: &Bench, kind: &str) -> Option<Value> {
    let status = bench.json(&["label", "status", "--store", "project", "--json"]);
    status["annotators"].as_array().unwrap().iter().find(|a| a["kind"] == kind).cloned()
}

#[test]
fn hidden_states_are_features_that_are_kept_and_come_back() {
    let bench = bench();
    let model = tiny().display().to_string();
    for (features, more) in [("lm", &[][..]), ("tfidf+lm", &["--lm-prompt", "Film: {text}\nIt is", "--lm-layer", "1"])] {
        let mut args = vec!["vectorize", "classify", "train", "few.csv", "--features", features, "--model", &model, "--folds", "2"];
        args.extend(more);
        args.extend(["--output-dir", features, "--json"]);
        let trained = bench.json(&args);
        assert!(trained["cross_validation"]["report"]["accuracy"].as_f64().unwrap() >= 0.5, "{trained}");
        let eval = bench.json(&["vectorize", "classify", "eval", features, "--data", "test.csv", "--json"]);
        assert_eq!(eval["n"], 60);
        // What was computed is read, not computed again, and says the same.
        let again = bench.json(&["vectorize", "classify", "eval", features, "--data", "test.csv", "--json"]);
        assert_eq!(eval, again);
        let one = bench.json(&["vectorize", "classify", "predict", features, "a wonderful film", "--json"]);
        assert!(one["normalized"]["pos"].is_number());
    }
    // Two ways of asking: two files of vectors.
    assert_eq!(std::fs::read_dir(bench.path("cache/vectors")).unwrap().count(), 2);
    // With the terms beside them the words decide.
    let eval = bench.json(&["vectorize", "classify", "eval", "tfidf+lm", "--data", "test.csv", "--json"]);
    assert!(eval["accuracy"].as_f64().unwrap() > 0.9, "{eval}");
    let pseudo = ["label", "pseudo", "few.csv", "--unlabelled", "rest.csv", "--test", "test.csv", "--features", "lm", "--model", &model];
    let pseudo = bench.json(&[&pseudo[..], &["--json"]].concat());
    assert_eq!(pseudo["methods"].as_array().unwrap().len(), 2, "naive Bayes cannot count states: {pseudo}");
    bench.refused(&["label", "audit", "few.csv", "--features", "lm"], &["--model"]);
    bench.refused(&["label", "audit", "few.csv", "--model", &model], &["--features lm"]);
    bench.refused(
        &["label", "audit", "few.csv", "--features", "lm", "--model", &model, "--lm-layer", "9"],
        &["--lm-layer 9", "layers 1 to"],
    );
}

#[test]
fn a_run_judges_what_it_did_not_learn_and_teaches() {
    let bench = Bench::classify();
    bench.train("classify.yaml", "run", &[]);
    let labels = ["--text-column", "review", "--label-column", "sentiment"];
    let audit = |run: &str| {
        let args = ["label", "audit", "reviews.csv", "--folds", "3", "--json", "--run", run].map(str::to_owned);
        [&args[..], &labels.map(str::to_owned)].concat()
    };
    let args = audit("run");
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let report = bench.json(&args);
    assert_eq!((&report["runs"][0]["trained_on"], &report["runs"][0]["judged"]), (&48.into(), &12.into()), "{report}");
    let args = audit(&tiny().display().to_string());
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    bench.refused(&args, &["which labels it gives"]);
    // Every row was a lesson: there is nothing to judge.
    let lines = String::from_utf8(bench.read("run/train.jsonl")).unwrap();
    let own: Vec<Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let table: String = own.iter().map(|r| format!("{}\n", json!({"review": r["text"], "sentiment": r["label"]}))).collect();
    bench.write("own.jsonl", table);
    let args = [&["label", "audit", "own.jsonl", "--run", "run"], &labels[..]].concat();
    bench.refused(&args, &["trained on every one"]);

    bench.write("new.csv", common::reviews(90, "pos", "neg"));
    let distill =
        ["label", "distill", "reviews.csv", "--unlabelled", "new.csv", "--test", "new.csv", "--teacher", "run", "--output", "soft.jsonl"];
    let report = bench.json(&[&distill[..], &labels, &["--json"]].concat());
    assert_eq!(
        keys(&report),
        ["labelled", "unlabelled", "teacher", "calibration", "teacher_accuracy", "supervised", "distilled", "weight", "helped", "output"]
    );
    assert_eq!((&report["labelled"], &report["unlabelled"]), (&60.into(), &90.into()));
    let soft: Vec<Value> = String::from_utf8(bench.read("soft.jsonl")).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let by = |who: &str| soft.iter().filter(|r| r["by"] == who).count();
    assert_eq!((by("human"), by("teacher")), (60, 90), "people's labels and the teacher's are kept apart");
    let last = &soft[149]["probabilities"];
    assert!((last["pos"].as_f64().unwrap() + last["neg"].as_f64().unwrap() - 1.0).abs() < 1e-9, "{last}");
    bench.refused(&[&distill[..], &["--label-map", "pos=good", "--json"], &labels].concat(), &["does not know the label", "--label-map"]);
}

#[test]
fn rules_ask_classifiers_and_language_models() {
    let bench = bench();
    bench.json(&["vectorize", "classify", "train", "few.csv", "--folds", "0", "--output-dir", "tfidf", "--json"]);
    let rules = format!(
        "model: {}\nrules:\n  - {{label: pos, keywords: [wonderful, 很好]}}\n  - {{label: neg, keywords: [dull, 无聊]}}\n  \
         - {{name: learned, classifier: tfidf, threshold: 0.6}}\n  \
         - {{name: asked, prompt: \"Film: {{text}}\\nIt is\", texts: {{neg: \" bad\", pos: \" good\"}}, threshold: 0.5}}\n",
        common::yaml(&tiny())
    );
    bench.write("rules.yaml", &rules);
    let weak = ["label", "weak", "rest.csv", "--rules", "rules.yaml", "--output", "weak.jsonl", "--json"];
    let report = bench.json(&weak);
    let of = |name: &str| report["functions"].as_array().unwrap().iter().find(|f| f["name"] == name).cloned().unwrap();
    assert!(of("learned")["accuracy"].as_f64().unwrap() > 0.95, "{report}");
    assert_eq!(of("asked")["coverage"], 1.0, "from 0.5 on one of two labels is always likely enough");
    let first = bench.read("weak.jsonl");
    assert_eq!(bench.json(&weak), report);
    assert!(first == bench.read("weak.jsonl"), "remembered votes are the same votes");
    for (from, to, words) in [
        ("texts: {neg: \" bad\", pos: \" good\"}", "texts: {neg: \" bad\"}", ["rules.yaml:6", "pos"]),
        ("threshold: 0.5", "threshold: 5", ["rules.yaml:6", "no probability"]),
        ("model:", "modle:", ["rules.yaml:1", "unknown key"]),
        ("rules:\n", "balance: {neg: .7, pos: .7}\nrules:\n", ["rules.yaml:2: balance", "1 together, not 1.4"]),
        ("rules:\n", "balance: {neg: .5, pos: .5, other: .1}\nrules:\n", ["rules.yaml:2: balance", "\"other\" is none of neg, pos"]),
        ("  - {label: neg", "\t- {label: neg", ["rules.yaml:4", "a tab cannot indent in YAML"]),
    ] {
        bench.write("wrong.yaml", rules.replace(from, to).replace("rules.yaml", "wrong.yaml"));
        bench.refused(&["label", "weak", "rest.csv", "--rules", "wrong.yaml"], &[&words[0].replace("rules", "wrong"), words[1]]);
    }
}

#[test]
fn a_rule_on_a_column_that_is_not_there_is_said_to_say_nothing() {
    let bench = bench();
    let rules = "rules:\n  - {label: pos, keywords: [wonderful]}\n  - {label: neg, keywords: [dull]}\n  - {name: 星, label: neg, column: stars, values: [1]}\n";
    bench.write("rules.yaml", rules);
    let ran = bench.ok(&["label", "weak", "rest.csv", "--rules", "rules.yaml", "--json"]);
    let report = &ran.rows()[0];
    assert_eq!((&report["missing_columns"], &report["functions"][2]["coverage"]), (&json!(["stars"]), &json!(0.0)), "{report}");
    assert!(ran.err.contains("rule \"星\": no row has a column \"stars\""), "{}", ran.err);
}

#[test]
fn a_store_keeps_what_methods_found_apart_and_lets_go_of_it() {
    let bench = bench();
    store(&bench, 40);
    bench.write(
        "rules.yaml",
        "rules:\n  - {label: pos, keywords: [wonderful, moving, 很好]}\n  - {label: neg, keywords: [dull, awful, 无聊]}\n",
    );
    let weak = ["label", "weak", "--store", "project", "--rules", "rules.yaml", "--json"];
    let report = bench.json(&weak);
    assert!(report["label_model_accuracy"].as_f64().unwrap() > 0.9, "people's labels judge: {report}");
    let written = report["store"]["documents"].as_u64().unwrap();
    assert_eq!(author_of(&bench, "rule").unwrap()["documents"], written);
    assert_eq!(bench.json(&weak)["store"]["action"], Value::Null, "the same again is nothing new");
    // Other rules replace what the former said.
    bench.write("rules.yaml", "rules:\n  - {label: pos, keywords: [wonderful]}\n  - {label: neg, keywords: [dull]}\n");
    let second = bench.json(&weak);
    assert_eq!(second["store"]["replaced"], json!([report["store"]["action"]]), "{second}");
    assert_eq!(author_of(&bench, "rule").unwrap()["documents"], second["store"]["documents"]);
    // Taken back, what it replaced counts again; that taken back, too, nothing does.
    bench.json(&["label", "undo", &second["store"]["action"].to_string(), "--store", "project", "--json"]);
    assert_eq!(author_of(&bench, "rule").unwrap()["documents"], written);
    bench.json(&["label", "undo", &report["store"]["action"].to_string(), "--store", "project", "--json"]);
    assert!(author_of(&bench, "rule").is_none());

    let pseudo = bench.json(&["label", "pseudo", "--store", "project", "--json"]);
    assert_eq!((&pseudo["labelled"], &pseudo["unlabelled"]), (&40.into(), &80.into()), "{pseudo}");
    bench.json(&["vectorize", "classify", "train", "few.csv", "--folds", "0", "--output-dir", "teacher", "--json"]);
    let distill = bench.json(&["label", "distill", "--store", "project", "--teacher", "teacher", "--json"]);
    assert_eq!(distill["store"]["documents"], 80);
    assert_eq!(author_of(&bench, "teacher").unwrap()["name"], "teacher");
    // A wrong label of a person is doubted; the doubt is a model's word and changes nothing that people said.
    let row = json!({"id": "0", "text": rows(0, 1)[0].0, "label": "pos"});
    bench.write("slip.jsonl", format!("{row}\n"));
    bench.json(&["label", "import", "jsonl", "slip.jsonl", "--source", "all.jsonl", "--store", "project", "--annotator", "kim", "--json"]);
    let audit = bench.json(&["label", "audit", "--store", "project", "--folds", "4", "--json"]);
    assert_eq!((&audit["top"][0]["id"], &audit["top"][0]["suggested"]), (&"0".into(), &"neg".into()), "{audit}");
    assert_eq!(audit["rows"], 40);
    bench.json(&["label", "export", "jsonl", "--split", ".6,.2,.2", "--store", "project", "--output", "data", "--json"]);
    for file in ["data/val.jsonl", "data/test.jsonl"] {
        let text = String::from_utf8(bench.read(file)).unwrap();
        let held: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert!(held.iter().all(|r| r["id"].as_str().unwrap().parse::<u32>().unwrap() < 40), "{file} holds people's labels only");
    }
    bench.refused(&["label", "weak", "--rules", "rules.yaml"], &["<DATA>"]);
    bench.refused(&["label", "pseudo", "--store", "nowhere"], &["nowhere", "label import"]);
}

#[test]
fn a_later_run_that_does_not_help_takes_the_earlier_ones_place() {
    let bench = bench();
    store(&bench, 4);
    let pseudo = ["label", "pseudo", "--store", "project", "--test", "test.csv", "--json"];
    let first = bench.json(&pseudo);
    assert!(first["helped"].is_string(), "{first}");
    assert_eq!((&author_of(&bench, "pseudo").unwrap()["documents"], &first["store"]["documents"]), (&116.into(), &116.into()));
    // With ten times the labels there is nothing left to gain.
    let labelled: Vec<(String, &str)> = rows(0, 120);
    let more = (0..40).map(|i| format!("{}\n", json!({"id": i.to_string(), "text": labelled[i].0, "label": labelled[i].1})));
    bench.write("more.jsonl", more.collect::<String>());
    bench.json(&["label", "import", "jsonl", "more.jsonl", "--source", "all.jsonl", "--store", "project", "--annotator", "kim", "--json"]);
    let second = bench.json(&pseudo);
    assert_eq!((&second["supervised"], &second["helped"]), (&json!(1.0), &Value::Null), "{second}");
    assert_eq!((&second["store"]["documents"], &second["store"]["replaced"]), (&0.into(), &json!([first["store"]["action"]])));
    assert!(author_of(&bench, "pseudo").is_none(), "what the first run said counts no more");
    let third = bench.json(&pseudo);
    assert_eq!((&third["store"]["action"], &third["store"]["replaced"]), (&Value::Null, &json!([])), "there is nothing more to take back");
    let undo = |action: &Value| bench.json(&["label", "undo", &action.to_string(), "--store", "project", "--json"]);
    undo(&second["store"]["action"]);
    assert_eq!(author_of(&bench, "pseudo").unwrap()["documents"], 116, "undone, the first run counts again");
    undo(&first["store"]["action"]);
    assert!(author_of(&bench, "pseudo").is_none());
}

#[test]
fn a_knowledge_base_proposes_and_people_dispose() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("kb")).unwrap();
    bench.write("kb/entities.csv", "id,name,type,aliases\n1,Acme,ORG,Acme Ltd.|艾克米公司\n2,Ann Lee,PER,李安\n3,Acme,BRAND,\n");
    bench.write("kb/relations.csv", "subject,relation,object\n2,runs,1\n");
    let texts = ["😀 Ann Lee runs ACME  Ltd. since May.", "李安经营艾克米公司。", "Acmes are flowers.", "Acme sells."];
    let lines: String = texts.iter().enumerate().map(|(i, t)| format!("{}\n", json!({"id": i.to_string(), "text": t}))).collect();
    bench.write("texts.jsonl", lines);
    let found = bench.json(&["label", "distant", "kb", "texts.jsonl", "--output", "candidates.jsonl", "--json"]);
    assert_eq!((&found["documents"], &found["matched"], &found["entities_found"]), (&4.into(), &3.into(), &3.into()), "{found}");
    assert_eq!((&found["spans"], &found["relations"]), (&json!({"BRAND": 1, "ORG": 3, "PER": 2}), &json!({"runs": 2})));
    let counts = bench.json(&["label", "import", "jsonl", "candidates.jsonl", "--store", "other", "--json"]);
    assert_eq!((&counts["spans"], &counts["relations"], &counts["lost"]), (&6.into(), &2.into(), &json!([])), "{counts}");

    bench.json(&["label", "import", "jsonl", "texts.jsonl", "--store", "project", "--json"]);
    let distant = ["label", "distant", "kb", "--store", "project", "--json"];
    let first = bench.json(&distant);
    assert_eq!((&first["store"]["documents"], &first["precision"]["spans"]["reviewed"]), (&3.into(), &0.into()));
    // The queue brings the candidates along, ready to be copied.
    bench.json(&["label", "queue", "--n", "4", "--store", "project", "--output", "todo.jsonl", "--json"]);
    let todo = String::from_utf8(bench.read("todo.jsonl")).unwrap();
    let todo: Vec<Value> = todo.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let asked = todo.iter().find(|r| r["id"] == "1").unwrap();
    assert_eq!(asked["proposed_spans"][1], json!({"id": "T2", "label": "ORG", "text": "艾克米公司", "start": 4, "end": 9}));
    assert_eq!(asked["proposed_relations"][0]["args"][1], json!({"role": "to", "id": "T2"}));
    // A person goes through a file: the first document is right as it is, of the last one neither type is.
    bench.json(&["label", "export", "jsonl", "--store", "project", "--output", "review.jsonl", "--json"]);
    let review = String::from_utf8(bench.read("review.jsonl")).unwrap();
    let mut rows: Vec<Value> = review.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(rows[0]["relations"][0]["label"], "runs", "{review}");
    let kept = json!({"document": rows[0]["document"], "id": "0", "text": rows[0]["text"], "spans": rows[0]["spans"], "relations": rows[0]["relations"]});
    let none = json!({"document": rows[3]["document"], "id": "3", "text": rows[3]["text"], "spans": []});
    rows = vec![kept, none];
    bench.write("reviewed.jsonl", rows.iter().map(|r| format!("{r}\n")).collect::<String>());
    bench.json(&["label", "import", "jsonl", "reviewed.jsonl", "--store", "project", "--annotator", "kim", "--json"]);
    let again = bench.json(&distant);
    assert_eq!(again["store"]["action"], Value::Null, "nothing new was found: {again}");
    let spans = &again["precision"]["spans"];
    assert_eq!((&spans["reviewed"], &spans["right"], &spans["precision"]), (&4.into(), &2.into(), &json!(0.5)), "{again}");
    assert_eq!(again["precision"]["labels"]["runs"]["right"], 1);
    let (low, high) = (spans["low"].as_f64().unwrap(), spans["high"].as_f64().unwrap());
    assert!((low - 0.150).abs() < 1e-3 && (high - 0.850).abs() < 1e-3, "Wilson's interval of 2 of 4: {low} {high}");
    bench.write("kb/relations.csv", "subject,relation,object\nBob,runs,1\n2,runs,1\n");
    let lost = &bench.json(&distant)["lost"];
    assert!(lost[0]["count"] == 1 && lost[0]["reason"].as_str().unwrap().contains("relations.csv:2: \"Bob\""), "{lost}");
}
