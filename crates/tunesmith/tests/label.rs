//! `tunesmith label`: files of every tool into a store and out of it again, several annotators, and from labels to a training run.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Bench, keys, tiny, yaml};
use serde_json::{Value, json};

/// A fixture of the `dataset` crate.
fn fixture(name: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dataset/tests/data/labels").join(name);
    path.display().to_string()
}

fn import(bench: &Bench, format: &str, path: &str, more: &[&str]) -> Value {
    bench.json(&[&["label", "import", format, path, "--store", "store", "--json", "--quiet"], more].concat())
}

fn export(bench: &Bench, format: &str, output: &str, more: &[&str]) -> Value {
    bench.json(&[&["label", "export", format, "--store", "store", "--output", output, "--json", "--quiet"], more].concat())
}

fn status(bench: &Bench) -> Value {
    bench.json(&["label", "status", "--store", "store", "--json"])
}

fn rows(bench: &Bench, name: &str) -> Vec<Value> {
    String::from_utf8(bench.read(name)).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut stack = vec![dir.to_owned()];
    while let Some(at) = stack.pop() {
        for entry in fs::read_dir(&at).unwrap().flatten() {
            match entry.path().is_dir() {
                true => stack.push(entry.path()),
                false => found.push((entry.path().strip_prefix(dir).unwrap().display().to_string(), fs::read(entry.path()).unwrap())),
            }
        }
    }
    found.sort();
    found
}

#[test]
fn every_format_comes_back_as_it_was_and_adds_nothing() {
    let cases = [
        ("doccano", "doccano.jsonl", "a.jsonl"),
        ("prodigy", "prodigy.jsonl", "a.jsonl"),
        ("label-studio", "label-studio.json", "a.json"),
        ("conll", "conll2003.txt", "a.txt"),
        ("conll", "bioes.txt", "a.txt"),
        ("jsonl", "chunks.jsonl", "a.jsonl"),
        ("csv", "doccano.csv", "a.csv"),
        ("brat", "brat", "out"),
    ];
    for (format, name, output) in cases {
        let bench = Bench::new();
        let separator: &[&str] = if format == "csv" { &["--label-separator", "#"] } else { &[] };
        let dry = import(&bench, format, &fixture(name), &[separator, &["--dry-run"]].concat());
        assert!(!bench.path("store").exists(), "a dry run changes nothing");
        let first = import(&bench, format, &fixture(name), separator);
        let counts = ["documents", "labels", "spans", "relations", "repaired", "lost"];
        assert_eq!(keys(&first)[..6], counts);
        counts.iter().for_each(|key| assert_eq!(first[key], dry[key], "{name}: {key}"));
        let before = status(&bench);
        let again = import(&bench, format, &fixture(name), separator);
        assert_eq!((&again["documents"], &again["labels"]), (&json!(0), &json!(0)), "{name}");
        export(&bench, format, output, &[]);
        match format {
            "brat" => assert_eq!(files(&bench.path(output)), files(Path::new(&fixture(name)))),
            "conll" => assert_eq!(bench.read(output), fs::read(fixture(name)).unwrap()),
            "csv" => assert_eq!(
                String::from_utf8(bench.read(output)).unwrap(),
                fs::read_to_string(fixture(name)).unwrap().replace("\"x#y\"", "x#y")
            ),
            "label-studio" => {
                let parse = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
                assert_eq!(parse(&bench.read(output)), parse(&fs::read(fixture(name)).unwrap()));
            }
            _ => {
                let given: Vec<Value> =
                    fs::read_to_string(fixture(name)).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
                let mut written = rows(&bench, output);
                if format == "jsonl" {
                    written.iter_mut().for_each(|row| assert!(row.as_object_mut().unwrap().shift_remove("document").is_some()));
                }
                assert_eq!(written, given, "{name}");
            }
        }
        let own = import(&bench, format, output, separator);
        assert_eq!((&own["documents"], &own["labels"]), (&json!(0), &json!(0)), "{name}: our own export adds nothing");
        // Under another name, too.
        fs::rename(bench.path(output), bench.path(&format!("moved-{output}"))).unwrap();
        import(&bench, format, &format!("moved-{output}"), separator);
        assert_eq!(status(&bench), before, "{name}");
    }
}

#[test]
fn exports_to_other_tools_add_nothing_when_they_come_back() {
    let bench = Bench::new();
    import(&bench, "prodigy", &fixture("prodigy.jsonl"), &[]);
    import(&bench, "brat", &fixture("brat"), &[]);
    import(&bench, "label-studio", &fixture("label-studio.json"), &[]);
    import(&bench, "labelbox", &fixture("labelbox.ndjson"), &[]);
    let before = status(&bench);
    for (format, output) in
        [("doccano", "d.jsonl"), ("doccano", "d.csv"), ("conll", "c.txt"), ("csv", "t.csv"), ("jsonl", "j.jsonl"), ("brat", "b")]
    {
        let report = export(&bench, format, output, &[]);
        assert_eq!(report["documents"], before["documents"], "{output}");
        if format != "jsonl" {
            assert!(!report["lost"].as_array().unwrap().is_empty(), "{output} cannot say everything");
        }
        import(&bench, format, output, if format == "csv" { &["--label-separator", "#"] } else { &[] });
        assert_eq!(status(&bench), before, "{output}");
    }
    // A store of its own is rebuilt from our lines: the same documents, labels and annotators.
    fs::rename(bench.path("store"), bench.path("first")).unwrap();
    import(&bench, "jsonl", "j.jsonl", &[]);
    assert_eq!(status(&bench), before);
    export(&bench, "jsonl", "k.jsonl", &[]);
    assert_eq!(rows(&bench, "k.jsonl"), rows(&bench, "j.jsonl"));
    export(&bench, "brat", "again", &[]);
    for (name, bytes) in files(Path::new(&fixture("brat"))) {
        assert_eq!(bench.read(&format!("again/{name}")), bytes, "{name}");
    }
    bench.refused(&["label", "export", "labelbox", "--store", "store", "--output", "x"], &["imported only"]);
}

#[test]
fn an_edited_brat_file_keeps_its_untouched_lines() {
    let bench = Bench::new();
    fs::create_dir(bench.path("c")).unwrap();
    bench.write("c/a.txt", "Ann Lee runs Acme");
    bench.write("c/a.ann", "T2\tOrg  13 17\tAcme \nT1\tPerson 0 7\tAnn Lee\n#1\tAnnotatorNotes T1\t  hm");
    import(&bench, "brat", "c", &[]);
    export(&bench, "jsonl", "a.jsonl", &[]);
    let mut row = rows(&bench, "a.jsonl").remove(0);
    row.as_object_mut().unwrap().shift_remove("annotations");
    row["spans"][0]["label"] = json!("Company");
    bench.write("a.jsonl", row.to_string());
    let report = import(&bench, "jsonl", "a.jsonl", &[]);
    assert_eq!((&report["documents"], &report["labels"]), (&json!(0), &json!(3)));
    export(&bench, "brat", "out", &[]);
    let text = String::from_utf8(bench.read("out/a.ann")).unwrap();
    assert_eq!(text, "T2\tCompany 13 17\tAcme\nT1\tPerson 0 7\tAnn Lee\n#1\tAnnotatorNotes T1\t  hm");
    // Taken back, the file is what it was.
    bench.ok(&["label", "undo", "--store", "store"]);
    export(&bench, "brat", "out", &[]);
    assert_eq!(bench.read("out/a.ann"), bench.read("c/a.ann"));
}

/// 40 rows of 10 files, half good, half bad.
fn chunks() -> String {
    let row = |i: usize| {
        let text = if i.is_multiple_of(2) { format!("a wonderful film {i}") } else { format!("这部电影太差了 {i}") };
        let file = format!("{}.pdf", i / 4);
        let source = json!({"file": file, "sha256": format!("{:064x}", i / 4), "page": i % 4 + 1, "page_end": i % 4 + 1, "start": 10 * i, "end": 10 * i + text.chars().count()});
        json!({"id": format!("c{i}"), "text": text, "source": source}).to_string() + "\n"
    };
    (0..40).map(row).collect()
}

/// What `who` makes of a queue's rows; every `wrong`th is mistaken.
fn fill_in(bench: &Bench, queue: &str, who: &str, wrong: usize) {
    let mut text = String::new();
    for (i, mut row) in rows(bench, queue).into_iter().enumerate() {
        assert_eq!(row["label"], "");
        let good = row["text"].as_str().unwrap().contains("wonderful") ^ (wrong > 0 && i % wrong == 0);
        row["label"] = json!(if good { "pos" } else { "neg" });
        text += &(row.to_string() + "\n");
    }
    bench.write(&format!("{who}.jsonl"), text);
    let report = import(bench, "jsonl", &format!("{who}.jsonl"), &["--annotator", who]);
    assert_eq!(report["documents"], 0);
}

#[test]
fn from_chunks_over_two_annotators_to_a_trained_run() {
    let bench = Bench::new();
    bench.write("chunks.jsonl", chunks());
    assert_eq!(import(&bench, "jsonl", "chunks.jsonl", &[])["documents"], 40);
    let queued = bench.json(&["label", "queue", "--n", "30", "--store", "store", "--output", "todo.jsonl", "--json"]);
    assert_eq!((&queued["rows"], &queued["waiting"]), (&json!(30), &json!(40)));
    fill_in(&bench, "todo.jsonl", "kim", 0);
    fill_in(&bench, "todo.jsonl", "lee", 10);
    let found = bench.json(&["label", "agree", "--store", "store", "--json"]);
    assert_eq!((&found["classes"][0]["documents"], &found["classes"][0]["observed"]), (&json!(30), &json!(0.9)));
    let disputed: Vec<i64> = found["disagreements"].as_array().unwrap().iter().map(|d| d["document"].as_i64().unwrap()).collect();
    assert_eq!(disputed.len(), 3);
    assert_eq!(status(&bench)["unresolved"], 3);
    let settled =
        bench.json(&["label", "adjudicate", "--store", "store", "--document", &disputed[0].to_string(), "--take", "kim", "--json"]);
    assert_eq!(settled["labels"], 1);
    bench.ok(&["label", "adjudicate", "--store", "store", "--document", &disputed[1].to_string(), "--label", "pos"]);
    bench.refused(
        &["label", "adjudicate", "--store", "store", "--document", "1", "--take", "nobody"],
        &["nobody said nothing of document 1"],
    );
    // A machine labels all; people's word stands, and what they did not see is its.
    let machine: String = chunks()
        .lines()
        .map(|l| {
            let mut row: Value = serde_json::from_str(l).unwrap();
            row["label"] = json!("pos");
            row["confidence"] = json!(0.6);
            row.to_string() + "\n"
        })
        .collect();
    bench.write("m.jsonl", machine);
    import(&bench, "jsonl", "m.jsonl", &["--author-kind", "model", "--annotator", "m1", "--source", "chunks.jsonl"]);
    let now = status(&bench);
    let of = |key: &str| now[key].as_u64().unwrap();
    assert_eq!((of("human"), of("adjudicated"), of("model"), of("unresolved"), of("unlabelled")), (29, 2, 10, 1, 0));
    assert_eq!((of("used"), of("left")), (62, 938));
    let report = export(&bench, "jsonl", "data", &["--split", ".6,.2,.2"]);
    let parts = &report["split"];
    let count = |key: &str| parts[key].as_u64().unwrap() as usize;
    assert_eq!(count("train") + count("val") + count("test") + count("left_out"), 39);
    let test = rows(&bench, "data/test.jsonl");
    assert!(test.len() == count("test") && test.len() >= 3, "{report}");
    let file = |row: &Value| row["file"].as_str().unwrap().to_owned();
    for row in &test {
        assert_ne!(row["author"], "model");
        assert!(rows(&bench, "data/train.jsonl").iter().all(|other| file(other) != file(row)));
    }
    assert_eq!(import(&bench, "jsonl", "data/train.jsonl", &[])["labels"], 0);
    let recipe = format!(
        "model: {}\ndataset: {{sources: [{{source: data/train.jsonl}}], val_size: 0}}\ntask: {{type: classify, prompt: \"{{text}}:\", \
         labels: [neg, pos]}}\nfinetuning_type: lora\nmax_steps: 2\nper_device_train_batch_size: 2\n",
        yaml(&tiny())
    );
    bench.write("r.yaml", recipe);
    bench.train("r.yaml", "run", &[]);
    let trained = rows(&bench, "run/train.jsonl");
    assert_eq!(trained.len(), count("train"));
    for row in trained {
        let given = rows(&bench, "data/train.jsonl").into_iter().find(|given| given["id"] == row["id"]).unwrap();
        for key in ["file", "page", "range", "source"] {
            assert!(row[key] == given[key] && !row[key].is_null(), "{key}: {row}");
        }
    }
}

#[test]
fn near_duplicates_leave_one_the_one_that_people_labelled() {
    let bench = Bench::new();
    let words =
        |n: usize| (0..60).map(|i| format!("w{}", (i * 7919 + n * 104_729 + i * i * (n + 1)) % 50_021)).collect::<Vec<_>>().join(" ");
    let mut rows: Vec<Value> = (0..20).map(|n| json!({"text": words(n)})).collect();
    // A word more; spaces and capitals; letter for letter, and that one is labelled.
    rows.push(json!({"text": words(3) + " more"}));
    rows.push(json!({"text": words(4).to_uppercase().replace(' ', "  ")}));
    rows.push(json!({"text": words(5), "label": "x"}));
    bench.write("rows.jsonl", rows.iter().map(|r| format!("{r}\n")).collect::<String>());
    import(&bench, "jsonl", "rows.jsonl", &[]);
    let report = export(&bench, "jsonl", "out.jsonl", &["--near-duplicates", ".8"]);
    assert_eq!(
        (report["documents"].as_u64(), report["duplicates"].as_u64(), report["labelled"].as_u64()),
        (Some(20), Some(3), Some(1)),
        "{report}"
    );
    let report = export(&bench, "jsonl", "equal.jsonl", &["--near-duplicates", "1"]);
    assert_eq!(report["duplicates"], 1, "{report}");
    let all = export(&bench, "jsonl", "all.jsonl", &[]);
    assert!(all["documents"] == 23 && all.get("duplicates").is_none(), "{all}");
    bench.refused(&["label", "export", "jsonl", "--store", "store", "--output", "q", "--near-duplicates", ".2"], &["between 0.5"]);
}

/// A store of documents from everywhere: whatever format they are written in, importing that again adds nothing.
#[test]
fn exports_of_a_mixed_store_add_nothing_when_they_come_back() {
    let bench = Bench::new();
    for (format, file) in [
        ("brat", "brat"),
        ("doccano", "doccano.jsonl"),
        ("prodigy", "prodigy.jsonl"),
        ("label-studio", "label-studio.json"),
        ("labelbox", "labelbox.ndjson"),
        ("conll", "conll2003.txt"),
        ("conll", "bioes.txt"),
        ("csv", "doccano.csv"),
    ] {
        import(&bench, format, &fixture(file), &[]);
    }
    let documents = status(&bench)["documents"].as_u64().unwrap();
    for (format, file) in [
        ("brat", "out"),
        ("conll", "out.txt"),
        ("csv", "out.csv"),
        ("doccano", "out.jsonl"),
        ("jsonl", "ours.jsonl"),
        ("label-studio", "out.json"),
        ("prodigy", "prodigy.jsonl"),
    ] {
        export(&bench, format, file, &[]);
        let again = import(&bench, format, file, &[]);
        assert_eq!((again["documents"].as_u64(), again["labels"].as_u64()), (Some(0), Some(0)), "{format}: {again}");
        let read = again["read"]["rows"].as_u64().unwrap();
        assert!(read >= documents, "{format}: {read} of {documents} came back: {again}");
    }
}

#[test]
fn mistakes_are_named() {
    let bench = Bench::new();
    bench.refused(&["label", "status", "--store", "none"], &["none: there is no labels.db in it", "label import"]);
    bench.refused(&["label", "import", "jsonl", "none.jsonl", "--store", "s"], &["none.jsonl"]);
    bench.write("a.jsonl", "{\"text\":\"a\"}\n");
    import(&bench, "jsonl", "a.jsonl", &[]);
    bench.refused(&["label", "annotate", "--store", "store"], &["needs a terminal", "label queue"]);
    bench.refused(&["label", "queue", "--store", "store", "--output", "q", "--strategy", "uncertainty"], &["needs labels of machines"]);
    bench.refused(&["label", "queue", "--store", "store", "--output", "q", "--strategy", "magic"], &["magic", "random, uncertainty"]);
    bench.refused(&["label", "export", "csv", "--store", "store", "--output", "q", "--split", ".8,.1,.1"], &["label export jsonl --split"]);
    bench.refused(&["label", "export", "jsonl", "--store", "store", "--output", "q", "--split", ".8,.2"], &["three shares"]);
    bench.refused(&["label", "undo", "77", "--store", "store"], &["no action 77"]);
}
