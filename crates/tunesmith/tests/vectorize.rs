//! `vectorize` and the few-label verbs of `label` that take a data file: from rows to what scripts read, and what is refused.

mod common;

use std::fmt::Write;

use common::{Bench, REPORT_KEYS, keys};

const GOOD: [&str; 5] = ["wonderful", "moving", "bright", "funny", "superb"];
const BAD: [&str; 5] = ["dull", "tedious", "awful", "flat", "weak"];

/// Rows `from..to`: odd ones praise, even ones do not; both words of a row change with its number.
fn rows(from: usize, to: usize) -> String {
    let mut out = String::from("text,label\n");
    for i in from..to {
        let (words, label) = if i % 2 == 1 { (GOOD, "pos") } else { (BAD, "neg") };
        let (a, b) = (words[i / 2 % 5], words[(i / 2 + 1 + i / 10) % 5]);
        writeln!(out, "the film {i} was {a} and {b} to see,{label}").unwrap();
    }
    out
}

fn bench() -> Bench {
    let bench = Bench::new();
    bench.write("train.csv", rows(0, 60));
    bench.write("test.csv", rows(60, 100));
    bench
}

#[test]
fn a_classifier_is_trained_measured_asked_and_explained() {
    let bench = bench();
    let columns = ["--text-column", "text", "--label-column", "label"];
    for features in ["tfidf", "bow", "hashing", "word2vec", "doc2vec", "ngram+word2vec"] {
        let mut args = vec!["vectorize", "classify", "train", "train.csv", "--features", features, "--output-dir", features, "--json"];
        args.extend(columns);
        if features != "tfidf" {
            args.extend(["--folds", "0"]);
        }
        let report = bench.json(&args);
        assert_eq!((&report["rows"], &report["labels"]), (&60.into(), &serde_json::json!(["neg", "pos"])), "{features}");
        let eval = bench.json(&["vectorize", "classify", "eval", features, "--data", "test.csv", "--json"]);
        assert_eq!(keys(&eval), REPORT_KEYS, "{features}: the keys of `tunesmith eval`");
        assert_eq!(eval["n"], 40);
        if !features.contains("2vec") {
            assert_eq!(eval["accuracy"], 1.0, "{features}: the words decide");
        }
    }
    // A question that no row holds.
    let answer = bench.json(&["vectorize", "classify", "predict", "tfidf", "a superb and funny film", "--json"]);
    assert_eq!(answer["label"], "pos");
    let why = bench.json(&["vectorize", "classify", "explain", "tfidf", "--json"]);
    let words = |class: usize| {
        let of = why["classes"][class]["features"].as_array().unwrap().iter().take(5);
        of.map(|f| f["feature"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(words(0).iter().all(|w| BAD.contains(&w.as_str())), "{:?}", words(0));
    assert!(words(1).iter().all(|w| GOOD.contains(&w.as_str())), "{:?}", words(1));

    bench.refused(&["vectorize", "classify", "eval", "nowhere", "--data", "test.csv"], &["nowhere", "classifier.json"]);
    bench.refused(
        &["vectorize", "classify", "train", "train.csv", "--text-column", "nope", "--output-dir", "x"],
        &["train.csv:2: nope", "text, label"],
    );
    bench.write("one.csv", "text,label\na,same\nb,same\n");
    bench.refused(&["vectorize", "classify", "train", "one.csv", "--output-dir", "x"], &["one.csv", "at least two labels"]);
}

#[test]
fn white_space_at_the_ends_of_a_text_counts_among_characters() {
    let bench = Bench::new();
    let texts = ["  lead two", "trail  ", "\ttab in\n\n new", " 你好  世界 ", "plain"];
    bench.write("spaces.jsonl", texts.iter().map(|t| format!("{}\n", serde_json::json!({"text": t}))).collect::<String>());
    let args = ["--features", "bow", "--analyzer", "char", "--ngram-range", "1-3", "--min-df", "1", "--output-dir", "x", "--json"];
    let fitted = bench.json(&[&["vectorize", "fit", "spaces.jsonl"], &args[..]].concat());
    // CountVectorizer(analyzer="char", ngram_range=(1, 3)) of scikit-learn 1.x; of trimmed texts it would be 66.
    assert_eq!(fitted["features"], 77, "{fitted}");
}

#[test]
fn features_vectors_keywords_and_clusters() {
    let bench = bench();
    let fitted = bench.json(&["vectorize", "fit", "train.csv", "--output-dir", "features", "--json"]);
    assert_eq!(fitted["rows"], 60);
    let row = bench.json(&["vectorize", "transform", "features", "--text", "superb, and superb again", "--json"]);
    assert!(row["features"]["superb"].as_f64().unwrap() > 0.0 && row["features"].get("again").is_none(), "{row}");

    let learn = ["vectorize", "fit", "train.csv", "--features", "word2vec", "--min-count", "1", "--vector-size", "16"];
    let run = |dir: &str, file: &str| bench.json(&[&learn[..], &["--output-dir", dir, "--save-vectors", file, "--json"]].concat());
    run("w2v", "a.bin");
    run("again", "b.bin");
    assert!(bench.read("a.bin") == bench.read("b.bin"), "one worker repeats itself to the bit");
    let near = bench.json(&["vectorize", "neighbours", "a.bin", "superb", "--json"]);
    assert!(!near["neighbours"].as_array().unwrap().is_empty());
    bench.refused(&["vectorize", "neighbours", "a.bin", "unheard"], &["unheard"]);

    let groups = bench.ok(&["vectorize", "keywords", "train.csv", "--group-by", "label", "--json"]).rows();
    assert_eq!(groups.len(), 2);
    let clusters = bench.json(&["vectorize", "cluster", "train.csv", "--k", "2", "--json"]);
    assert_eq!((&clusters["rows"], &clusters["k"]), (&60.into(), &2.into()));
}

#[test]
fn few_labels() {
    let bench = bench();
    let simulate = ["label", "simulate", "train.csv", "--test", "test.csv", "--strategy", "margin,random", "--seeds", "2", "--batch", "10"];
    let report = bench.json(&[&simulate[..], &["--initial", "10", "--budget", "0.5", "--json"]].concat());
    assert_eq!(report["full"], 1.0);
    let curves = report["curves"].as_array().unwrap();
    assert_eq!(curves.len(), 4, "two strategies, two seeds");
    for curve in curves {
        let labels: Vec<u64> = curve["points"].as_array().unwrap().iter().map(|p| p["labels"].as_u64().unwrap()).collect();
        assert_eq!(labels, [10, 20, 30], "{curve}");
    }
    bench.refused(&[&simulate[..], &["--initial", "10", "--budget", "1"]].concat(), &["--budget 1", "fewer than --initial 10"]);

    // Two labels are wrong on purpose: they lead the list.
    let wrong: Vec<String> =
        rows(0, 60).lines().enumerate().map(|(i, l)| if [21, 41].contains(&i) { flip(l) } else { l.to_owned() }).collect();
    bench.write("wrong.csv", wrong.join("\n") + "\n");
    let audit = bench.json(&["label", "audit", "wrong.csv", "--json"]);
    let mut first: Vec<&str> = audit["top"].as_array().unwrap().iter().take(2).map(|r| r["origin"].as_str().unwrap()).collect();
    first.sort_unstable();
    assert_eq!(first, ["wrong.csv:22", "wrong.csv:42"], "{audit}");

    bench.write(
        "rules.yaml",
        "rules:\n  - {label: pos, keywords: [wonderful, moving, funny]}\n  - {label: neg, keywords: [dull, awful, weak]}\n  - {label: pos, regex: 'bright|superb'}\n",
    );
    let weak = bench.json(&["label", "weak", "train.csv", "--rules", "rules.yaml", "--test", "test.csv", "--json"]);
    assert_eq!(weak["functions"].as_array().unwrap().len(), 3);
    assert!(weak["end_model_accuracy"].as_f64().unwrap() > 0.9, "{weak}");
    bench.write("bad.yaml", "rules:\n  - {label: neg, keywords: [dull]}\n  - {label: pos, keyword: [good]}\n");
    bench.refused(&["label", "weak", "train.csv", "--rules", "bad.yaml"], &["bad.yaml:3", "keyword"]);

    bench.write("few.csv", rows(0, 12));
    let pseudo = bench.json(&["label", "pseudo", "few.csv", "--unlabelled", "train.csv", "--test", "test.csv", "--json"]);
    assert_eq!(keys(&pseudo)[..4], ["labelled", "unlabelled", "supervised", "methods"]);
    assert_eq!(pseudo["labelled"], 12);
}

fn flip(line: &str) -> String {
    match line.strip_suffix(",neg") {
        Some(text) => format!("{text},pos"),
        None => line.replace(",pos", ",neg"),
    }
}
