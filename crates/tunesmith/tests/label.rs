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
    assert!(!bench.ok(&["label", "export", "--help"]).out.contains("labelbox"), "what cannot be written is not offered");
    assert!(bench.ok(&["label", "import", "--help"]).out.contains("labelbox"));
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
    assert_eq!(keys(&found), ["classes", "spans", "relations", "disagreements"]);
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
fn what_is_held_out_holds_peoples_labels_only() {
    let bench = Bench::new();
    let row = |i: usize, rest: Value| {
        let mut row = json!({"id": i.to_string(), "text": format!("Ann runs shop number {i}")});
        row.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        row.to_string() + "\n"
    };
    let classes: String = (0..20).map(|i| row(i, json!({"label": (["a", "b"][i % 2])}))).collect();
    let spans: String = (0..20).map(|i| row(i, json!({"spans": [{"id": "T1", "label": "PER", "start": 0, "end": 3}]}))).collect();
    bench.write("classes.jsonl", classes);
    bench.write("spans.jsonl", spans);
    import(&bench, "jsonl", "classes.jsonl", &["--annotator", "kim", "--source", "rows"]);
    import(&bench, "jsonl", "spans.jsonl", &["--author-kind", "model", "--annotator", "m1", "--source", "rows"]);
    let report = export(&bench, "jsonl", "data", &["--split", ".6,.2,.2"]);
    assert_eq!((&report["split"]["train"], &report["split"]["test"], &report["split"]["left_out"]), (&json!(12), &json!(4), &json!(0)));
    assert_eq!(report["lost"][0]["count"], 8, "{report}");
    for row in rows(&bench, "data/test.jsonl") {
        assert!(row["label"].is_string() && row.get("spans").is_none(), "{row}");
    }
    assert!(rows(&bench, "data/train.jsonl").iter().all(|row| row["label"].is_string() && row["spans"][0]["label"] == "PER"));
}

/// A store of documents: English with a table and a telephone number, Chinese, and a text with a character that nobody sees.
fn ingested() -> Bench {
    let bench = Bench::new();
    fs::create_dir(bench.path("in")).unwrap();
    bench.write(
        "in/lease.md",
        "# Lease\n\nRent is due on the 3rd.   Call 13812345678 to pay.\n\n| Item | Price |\n| --- | --- |\n| Rent | 850 |\n",
    );
    bench.write("in/合同.txt", "第一条　租金按月支付。\u{200b}联系人电话13812345678。\n\n第二条　押金为两个月租金。\n");
    bench.json(&["docs", "ingest", "in", "--store", "store", "--json", "--quiet"]);
    bench
}

fn chunked(bench: &Bench, more: &[&str]) -> Value {
    bench.json(&[&["label", "import", "chunks", "--store", "store", "--json", "--quiet"], more].concat())
}

#[test]
fn chunks_of_documents_become_rows_that_know_their_place() {
    let bench = ingested();
    let dry = chunked(&bench, &["--size", "40", "--dry-run"]);
    assert!(!bench.path("store/labels.db").exists(), "a dry run changes nothing");
    assert_eq!(bench.json(&["docs", "list", "--store", "store", "--json"])["chunks"], 0);
    let first = chunked(&bench, &["--size", "40"]);
    assert_eq!(keys(&first), keys(&dry));
    assert_eq!((&first["documents"], &first["source"], &first["lost"]), (&dry["documents"], &json!("chunks"), &json!([])));
    assert!(first["documents"].as_u64().unwrap() >= 4, "{first}");
    // The rows are those that `docs chunks` writes, with the same ids and places; nothing is added twice.
    bench.ok(&["docs", "chunks", "--store", "store", "--size", "40", "--output", "c.jsonl"]);
    export(&bench, "jsonl", "all.jsonl", &[]);
    let plain = |name: &str| -> Vec<Value> {
        rows(&bench, name).into_iter().map(|r| json!({"id": r["id"], "text": r["text"], "source": r["source"]})).collect()
    };
    assert_eq!(plain("all.jsonl"), plain("c.jsonl"));
    for more in [&["--size", "40"][..], &[]] {
        assert_eq!(chunked(&bench, more)["documents"], 0, "{more:?}");
    }
    // Another cut: rows that nobody labelled make room, a labelled one stays, an undo brings all back.
    let mut labelled = rows(&bench, "all.jsonl").remove(0);
    labelled["label"] = json!("money");
    bench.write("one.jsonl", labelled.to_string());
    import(&bench, "jsonl", "one.jsonl", &[]);
    let before = status(&bench);
    let second = chunked(&bench, &["--size", "400"]);
    assert_eq!(status(&bench)["documents"].as_u64().unwrap(), second["documents"].as_u64().unwrap() + 1);
    bench.ok(&["label", "undo", "--store", "store"]);
    assert_eq!(status(&bench)["documents"].as_u64(), before["documents"].as_u64().map(|n| n + second["documents"].as_u64().unwrap()));
    // Documents that were read later are named; the same bytes under another name are rows of their own.
    bench.write("in/copy.txt", bench.read("in/合同.txt"));
    bench.json(&["docs", "ingest", "in", "--store", "store", "--json", "--quiet"]);
    let lost = chunked(&bench, &[])["lost"].clone();
    assert_eq!((&lost[0]["what"], &lost[0]["count"]), (&json!("documents"), &json!(1)));
    let copies = chunked(&bench, &["--size", "40", "--source", "other"]);
    assert!(copies["documents"].as_u64() > first["documents"].as_u64());
    // Chunks that came as a file are the same rows.
    let other = ingested();
    other.ok(&["docs", "chunks", "--store", "store", "--size", "40", "--output", "c.jsonl"]);
    assert_eq!(import(&other, "jsonl", "c.jsonl", &[])["documents"], first["documents"]);
    assert_eq!(chunked(&other, &[])["documents"], 0);
    bench.refused(&["label", "import", "chunks", "in", "--store", "store"], &["takes no file", "docs ingest in"]);
    bench.refused(&["label", "import", "chunks", "--annotator", "kim", "--store", "store"], &["--annotator", "no labels"]);
    bench.refused(&["label", "import", "chunks", "--store", "nowhere"], &["no store of documents", "docs ingest"]);
    bench.refused(&["label", "import", "jsonl", "--store", "store"], &["which file"]);
    bench.refused(&["label", "import", "jsonl", "c.jsonl", "--size", "9", "--store", "store"], &["--size", "label import chunks"]);
}

/// The part of a text that is `words`, as a span.
fn span(text: &str, words: &str, label: &str) -> Value {
    let start = text.split(words).next().unwrap().chars().count();
    json!({"label": label, "start": start, "end": start + words.chars().count(), "text": words})
}

#[test]
fn labels_follow_their_text_through_another_cleaning() {
    let bench = ingested();
    chunked(&bench, &["--size", "60", "--clean", "none"]);
    bench.json(&["label", "queue", "--store", "store", "--output", "todo.jsonl", "--json", "--quiet"]);
    let mut filled = String::new();
    for mut row in rows(&bench, "todo.jsonl") {
        let text = row["text"].as_str().unwrap().to_owned();
        row["label"] = json!(if text.contains("Rent") || text.contains("租金") { "money" } else { "other" });
        let marks = [("13812345678", "PHONE"), ("Rent", "WHAT"), ("租金", "WHAT"), ("\u{200b}", "NOTHING"), ("3rd", "WHEN")];
        let spans: Vec<Value> =
            marks.iter().filter(|(words, _)| text.contains(words)).map(|(words, label)| span(&text, words, label)).collect();
        row["spans"] = json!(spans);
        filled += &(row.to_string() + "\n");
    }
    bench.write("kim.jsonl", &filled);
    let said = import(&bench, "jsonl", "kim.jsonl", &["--annotator", "kim"]);
    assert_eq!(said["lost"], json!([]));
    let before = status(&bench);
    let old = {
        export(&bench, "jsonl", "old.jsonl", &[]);
        rows(&bench, "old.jsonl")
    };

    bench.write("mask.yaml", "steps:\n  - control\n  - whitespace\n  - pii: {kinds: [phone]}\n");
    let migrate = |more: &[&str]| {
        bench.json(&[&["label", "migrate", "--store", "store", "--clean", "mask.yaml", "--json", "--quiet"], more].concat())
    };
    let dry = migrate(&["--dry-run"]);
    assert_eq!(status(&bench), before, "a dry run changes nothing");
    let report = migrate(&[]);
    assert_eq!(keys(&report), ["documents", "unchanged", "labels", "spans", "relations", "changed", "lost", "action", "dry_run"]);
    ["documents", "unchanged", "labels", "spans", "changed", "lost"].iter().for_each(|key| assert_eq!(report[key], dry[key], "{key}"));
    // Two telephone numbers read otherwise; the mark on what nobody sees is lost, and counted.
    assert_eq!((&report["changed"], &report["lost"][0]["what"], &report["lost"][0]["count"]), (&json!(2), &json!("spans"), &json!(1)));
    assert_eq!(report["labels"].as_u64().unwrap() + 1, said["labels"].as_u64().unwrap());
    let now = status(&bench);
    assert_eq!(
        (&now["documents"], &now["used"], &now["human"], &now["classes"]),
        (&before["documents"], &before["used"], &before["human"], &before["classes"])
    );
    export(&bench, "jsonl", "new.jsonl", &[]);
    let new = rows(&bench, "new.jsonl");
    let mut phones = 0;
    for row in &new {
        let text: Vec<char> = row["text"].as_str().unwrap().chars().collect();
        assert!(!row["text"].as_str().unwrap().contains("138") && row["annotator"] == "kim");
        let (start, end) = (row["source"]["start"].as_u64().unwrap(), row["source"]["end"].as_u64().unwrap());
        assert_eq!((end - start) as usize, text.len());
        for span in row["spans"].as_array().into_iter().flatten() {
            let marked: String = text[span["start"].as_u64().unwrap() as usize..span["end"].as_u64().unwrap() as usize].iter().collect();
            match span["label"].as_str().unwrap() {
                "PHONE" => assert_eq!(marked, "[PHONE]"),
                "WHAT" => assert!(["Rent", "租金"].contains(&marked.as_str())),
                label => assert_eq!((label, marked.as_str()), ("WHEN", "3rd")),
            }
            phones += usize::from(span["label"] == "PHONE");
        }
    }
    assert_eq!((new.len(), phones), (old.len(), 2));
    // Again there is nothing to do; and the chunks of the former cleaning do not come back.
    assert_eq!(chunked(&bench, &[])["documents"], 0);
    assert_eq!(status(&bench), now);
    let again = migrate(&[]);
    assert_eq!((&again["documents"], &again["labels"], &again["action"]), (&json!(0), &json!(0), &Value::Null));
    // A queue from before, filled in by somebody else meanwhile, is not lost: it waits, and is carried the next time.
    bench.write("lee.jsonl", &filled);
    let late = import(&bench, "jsonl", "lee.jsonl", &["--annotator", "lee"]);
    assert!(late["lost"][0]["reason"].as_str().unwrap().contains("label migrate"), "{late}");
    assert_eq!(status(&bench)["used"], before["used"]);
    assert_eq!(migrate(&[])["labels"], report["labels"]);
    assert_eq!(status(&bench)["used"].as_u64(), before["used"].as_u64().map(|n| 2 * n));
    assert_eq!(bench.json(&["label", "agree", "--store", "store", "--json"])["disagreements"], json!([]));
    // Undone, the former text and labels count, and those alone.
    let actions = bench.ok(&["label", "undo", "--list", "--store", "store", "--json"]).rows();
    for action in actions.iter().rev().filter(|a| a["kind"] != "undo").take(3) {
        bench.ok(&["label", "undo", &action["id"].to_string(), "--store", "store"]);
    }
    assert_eq!(status(&bench), before);
    export(&bench, "jsonl", "back.jsonl", &[]);
    assert_eq!(rows(&bench, "back.jsonl"), old);
    // A cleaning that has no place for English puts those rows aside, with their labels counted; a second step goes on from the first.
    migrate(&[]);
    bench.write("zh.yaml", "steps:\n  - control\n  - pii: {kinds: [phone]}\n  - language: {keep: [zh]}\n");
    let report = bench.json(&["label", "migrate", "--store", "store", "--clean", "zh.yaml", "--json", "--quiet"]);
    let lost: Vec<&str> = report["lost"].as_array().unwrap().iter().map(|l| l["what"].as_str().unwrap()).collect();
    assert_eq!(lost, ["documents", "labels"]);
    export(&bench, "jsonl", "zh.jsonl", &[]);
    assert!(rows(&bench, "zh.jsonl").iter().all(|r| r["source"]["file"] == "in/合同.txt" && r["label"] == "money"));
    bench.refused(&["label", "migrate", "--store", "store", "--clean", "none.yaml"], &["none.yaml", "cannot read"]);
}

/// Reviews of which some speak for both sides: a row is `good`, `bad` or `mixed`, in English or Chinese.
fn opinions(n: usize) -> String {
    const GOOD: [&str; 4] = ["a wonderful warm film", "funny and charming", "这部电影非常精彩", "演员很棒很好看"];
    const BAD: [&str; 4] = ["a dreadful cold film", "dull and boring", "这部电影太差了", "故事很无聊没意思"];
    let text = |i: usize| match i % 5 {
        4 => format!("{}, {}", GOOD[i / 5 % 4], BAD[i / 5 % 4]),
        k if k % 2 == 0 => GOOD[i % 4].to_owned(),
        _ => BAD[i % 4].to_owned(),
    };
    let row = |i: usize| json!({"id": format!("{}{i}", if i % 5 == 4 { "mixed" } else { "clear" }), "text": format!("{} {i}", text(i))});
    (0..n).map(|i| row(i).to_string() + "\n").collect()
}

/// Labels of the first `n` rows that are not mixed.
fn first_labels(n: usize) -> String {
    let rows = opinions(4 * n).lines().map(|l| serde_json::from_str::<Value>(l).unwrap()).collect::<Vec<_>>();
    let clear = rows.into_iter().filter(|r| r["id"].as_str().unwrap().starts_with("clear")).take(n);
    let good = |text: &str| ["wonderful", "funny", "精彩", "棒"].iter().any(|w| text.contains(w));
    clear
        .map(|mut row| {
            row["label"] = json!(if good(row["text"].as_str().unwrap()) { "pos" } else { "neg" });
            row.to_string() + "\n"
        })
        .collect()
}

#[test]
fn a_queue_asks_what_the_learner_does_not_know() {
    let bench = Bench::new();
    bench.write("r.jsonl", opinions(120));
    import(&bench, "jsonl", "r.jsonl", &[]);
    let queue = |strategy: &str, n: &str| {
        let args = ["label", "queue", "--n", n, "--strategy", strategy, "--store", "store", "--output", "q.jsonl", "--json", "--quiet"];
        (bench.json(&args), rows(&bench, "q.jsonl"))
    };
    // Nothing to learn from: groups of similar texts, and that is said.
    let (report, cold) = queue("margin", "10");
    let names = ["output", "rows", "task", "waiting", "strategy", "used", "reason", "learned_from", "classes", "left_out"];
    assert_eq!((keys(&report), &report["left_out"]), (names.to_vec(), &json!([])));
    assert_eq!((&report["strategy"], &report["used"], &report["learned_from"]), (&json!("margin"), &json!("cluster"), &json!(0)));
    assert!(report["reason"].as_str().unwrap().contains("cold start"), "{report}");
    assert!(cold[0]["queued"]["why"].as_str().unwrap().contains("group of similar texts"));
    bench.write("labels.jsonl", first_labels(30));
    import(&bench, "jsonl", "labels.jsonl", &["--source", "r.jsonl"]);
    let strategies = ["random", "least-confidence", "margin", "entropy", "committee", "cluster-margin", "density", "cluster", "balanced"];
    for strategy in strategies {
        let (report, rows) = queue(strategy, "12");
        assert_eq!((&report["rows"], &report["waiting"], &report["used"]), (&json!(12), &json!(90), &json!(strategy)), "{report}");
        assert_eq!(report["reason"], Value::Null);
        let mut ids: Vec<&str> = rows.iter().map(|r| r["id"].as_str().unwrap()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 12, "{strategy}");
        for row in &rows {
            assert_eq!(keys(&row["queued"]), ["strategy", "score", "why"]);
            assert!(row["label"] == "" && !row["queued"]["why"].as_str().unwrap().is_empty());
        }
        if ["least-confidence", "margin", "entropy"].contains(&strategy) {
            assert!(rows.iter().all(|r| r["id"].as_str().unwrap().starts_with("mixed")), "{strategy}: {ids:?}");
            let scores: Vec<f64> = rows.iter().map(|r| r["queued"]["score"].as_f64().unwrap()).collect();
            assert!(scores.windows(2).all(|w| w[0] >= w[1]), "{scores:?}");
            assert_eq!((&report["learned_from"], &report["classes"]), (&json!(30), &json!(["neg", "pos"])));
            assert!(rows[0]["queued"]["why"].as_str().unwrap().contains("neg 0."), "{}", rows[0]);
        }
    }
    let first = queue("committee", "12").1;
    assert_eq!(queue("committee", "12").1, first, "the same bytes again");
    let said = bench.ok(&["label", "queue", "--strategy", "margin", "--store", "store", "--output", "q.jsonl"]);
    assert!(said.out.contains("chosen by margin from 30 labels of 2 classes"), "{}", said.out);
    // What was queued is filled in and comes back as any other row.
    let mut row = first[0].clone();
    row["label"] = json!("pos");
    bench.write("f.jsonl", row.to_string());
    assert_eq!(import(&bench, "jsonl", "f.jsonl", &["--annotator", "kim"])["labels"], 1);
}

#[test]
fn classes_of_people_count_beside_spans_of_machines() {
    let bench = Bench::new();
    bench.write("labels.jsonl", first_labels(60));
    import(&bench, "jsonl", "labels.jsonl", &["--annotator", "kim"]);
    let with_spans = |mut row: Value| {
        row.as_object_mut().unwrap().shift_remove("label");
        row["spans"] = json!([{"id": "T1", "label": "WORD", "start": 0, "end": 2}]);
        row.to_string() + "\n"
    };
    let spans: Vec<String> = rows(&bench, "labels.jsonl").into_iter().map(with_spans).collect();
    bench.write("spans.jsonl", spans.concat());
    import(&bench, "jsonl", "spans.jsonl", &["--author-kind", "model", "--annotator", "m1", "--source", "labels.jsonl"]);
    let now = status(&bench);
    assert_eq!((&now["used"], &now["human"], &now["model"]), (&json!(60), &json!(60), &json!(0)), "{now}");
    let of = |now: &Value, at: usize| ["question", "human", "model"].map(|key| now["questions"][at][key].clone());
    assert_eq!(of(&now, 0), [json!("class"), json!(60), json!(0)]);
    assert_eq!(of(&now, 1), [json!("spans"), json!(0), json!(60)]);
    assert_eq!((&now["classes"][0]["thin"], &now["spans"][0]["thin"]), (&json!(false), &json!(true)));
    assert_eq!(now["learning_curve"]["labels"], 60, "{now}");
    assert_eq!(bench.json(&["label", "audit", "--store", "store", "--folds", "2", "--json"])["rows"], 60);
    // Classes are all there; spans wait, and are proposed without the class that a person gave.
    let queue = ["label", "queue", "--store", "store", "--output", "q.jsonl"];
    bench.refused(&queue, &["kind `class`", "--task spans"]);
    let queued = bench.json(&[&queue[..], &["--task", "spans", "--json"]].concat());
    assert_eq!((&queued["task"], &queued["waiting"]), (&json!("spans"), &json!(60)));
    let row = rows(&bench, "q.jsonl").remove(0);
    assert!(row["proposed_spans"][0]["label"] == "WORD" && row.get("proposed").is_none(), "{row}");
    assert!(bench.ok(&[&queue[..], &["--task", "spans"]].concat()).out.contains("put `spans`"));
    // A person answers one: that is one more answer, and one row less.
    bench.write("one.jsonl", &spans[0]);
    import(&bench, "jsonl", "one.jsonl", &["--annotator", "kim", "--source", "labels.jsonl"]);
    let now = status(&bench);
    assert_eq!((&now["used"], &of(&now, 1)[1]), (&json!(61), &json!(1)), "{now}");
    assert_eq!(bench.json(&[&queue[..], &["--task", "spans", "--json"]].concat())["waiting"], 59);
    let said = bench.ok(&["label", "status", "--store", "store", "--no-curve"]).out;
    assert!(said.contains("spans: 1 settled by people (0 adjudicated), 59 by machines only"), "{said}");
}

#[test]
fn status_tells_what_more_labels_should_bring() {
    let bench = Bench::new();
    bench.write("r.jsonl", first_labels(20));
    import(&bench, "jsonl", "r.jsonl", &[]);
    let now = status(&bench);
    assert_eq!(now["learning_curve"], Value::Null);
    assert!(now["no_learning_curve"].as_str().unwrap().contains("50 are needed"), "{now}");
    bench.write("more.jsonl", first_labels(60));
    import(&bench, "jsonl", "more.jsonl", &[]);
    let now = status(&bench);
    let curve = &now["learning_curve"];
    let names = ["question", "classes", "others", "several", "labels", "folds", "seeds", "points", "fit", "now", "next", "gain"];
    assert_eq!((keys(curve), &now["no_learning_curve"]), (names.to_vec(), &Value::Null));
    assert_eq!((&curve["labels"], &curve["classes"]), (&json!(80), &json!(["neg", "pos"])));
    assert_eq!(curve["next"]["labels"], 180);
    for point in curve["points"].as_array().unwrap().iter().chain([&curve["now"], &curve["next"]]) {
        let of = |key: &str| point[key].as_f64().unwrap();
        assert!(0.0 <= of("low") && of("low") <= of("high") && of("high") <= 1.0, "{point}");
    }
    let of = |key: &str| curve["gain"][key].as_f64().unwrap();
    assert!(of("labels") == 100.0 && of("low") <= of("high") && of("low") >= 0.0);
    let said = bench.ok(&["label", "status", "--store", "store"]).out;
    assert!(said.contains("100 more labels should bring"), "{said}");
    assert!(!bench.ok(&["label", "status", "--store", "store", "--no-curve"]).out.contains("more labels"));
}

#[test]
fn what_a_curve_says_nothing_of_is_counted_and_several_classes_are_learned_each() {
    let bench = Bench::new();
    // One class, a slip of two, none that fits, a dispute, spans alone.
    bench.write("one.jsonl", first_labels(60));
    import(&bench, "jsonl", "one.jsonl", &["--annotator", "kim"]);
    let row = |id: &str, rest: &Value| {
        let mut row = json!({"id": id, "text": format!("第 {id} 部电影 is a film")});
        row.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        row.to_string() + "\n"
    };
    let spans = json!({"spans": [{"label": "X", "start": 0, "end": 1}]});
    let odd = [row("two", &json!({"labels": ["neg", "pos"]})), row("none", &json!({"labels": []})), row("split", &json!({"label": "neg"}))];
    bench.write("odd.jsonl", odd.concat() + &row("s1", &spans) + &row("s2", &spans));
    import(&bench, "jsonl", "odd.jsonl", &["--annotator", "kim"]);
    bench.write("lee.jsonl", row("split", &json!({"label": "pos"})));
    import(&bench, "jsonl", "lee.jsonl", &["--annotator", "lee", "--source", "odd.jsonl"]);
    let now = status(&bench);
    let curve = &now["learning_curve"];
    assert_eq!((&curve["labels"], &curve["others"], &curve["several"]), (&json!(60), &json!(5), &json!(false)), "{now}");
    let left = |report: &Value| -> Vec<(u64, String)> {
        let of = |l: &Value| (l["count"].as_u64().unwrap(), l["reason"].as_str().unwrap().split([':', ',']).next().unwrap().to_owned());
        report["left_out"].as_array().unwrap().iter().map(of).collect()
    };
    let reasons = [(1, "several classes"), (1, "no class"), (1, "people disagree on the class"), (2, "spans or texts")];
    assert_eq!(left(&now), reasons.map(|(n, reason)| (n, reason.to_owned())), "{now}");
    let said = bench.ok(&["label", "status", "--store", "store"]).out;
    assert!(said.contains("not learned from: 1 document (several classes: "), "{said}");
    // The queue's classifier: the same.
    bench.write("wait.jsonl", row("w", &json!({})));
    import(&bench, "jsonl", "wait.jsonl", &[]);
    let queue = |task: &str| {
        let args =
            ["label", "queue", "--strategy", "margin", "--task", task, "--store", "store", "--output", "q.jsonl", "--json", "--quiet"];
        bench.json(&args)
    };
    let queued = queue("class");
    assert_eq!((&queued["learned_from"], left(&queued)), (&json!(60), left(&now)));
    let queued = queue("spans");
    assert_eq!((&queued["used"], &queued["learned_from"]), (&json!("cluster"), &json!(0)));
    assert!(queued["reason"].as_str().unwrap().contains("which spans are in doubt"), "{queued}");

    // Where many have several, each class is learned by itself: none is left out but what has no class.
    let both: String = rows(&bench, "one.jsonl")
        .into_iter()
        .enumerate()
        .map(|(i, mut row)| {
            let own = row.as_object_mut().unwrap().shift_remove("label").unwrap();
            let chinese = row["text"].as_str().unwrap().chars().any(|c| c > '\u{4e00}');
            row["labels"] = if chinese { json!([own, "中文"]) } else { json!([own]) };
            row["id"] = json!(format!("b{i}"));
            row.to_string() + "\n"
        })
        .collect();
    bench.write("both.jsonl", both);
    import(&bench, "jsonl", "both.jsonl", &["--annotator", "kim"]);
    let now = status(&bench);
    let curve = &now["learning_curve"];
    assert_eq!((&curve["several"], &curve["classes"]), (&json!(true), &json!(["neg", "pos", "中文"])), "{now}");
    assert_eq!((&curve["labels"], &curve["others"]), (&json!(122), &json!(3)), "{now}");
    assert!(curve["points"].as_array().unwrap().last().unwrap()["accuracy"].as_f64().unwrap() > 0.5, "{curve}");
    assert!(bench.ok(&["label", "status", "--store", "store"]).out.contains("all classes right"));
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
    bench.refused(
        &["label", "queue", "--store", "store", "--output", "q", "--strategy", "magic"],
        &["magic", "random, uncertainty", "cluster-margin"],
    );
    bench.refused(&["label", "export", "csv", "--store", "store", "--output", "q", "--split", ".8,.1,.1"], &["label export jsonl --split"]);
    bench.refused(&["label", "export", "jsonl", "--store", "store", "--output", "q", "--split", ".8,.2"], &["three shares"]);
    bench.refused(&["label", "export", "jsonl", "--store", "store", "--output", "q", "--split", ".8,.1,.2"], &["1 together, not 1.1"]);
    let parts = bench.ok(&["label", "export", "jsonl", "--store", "store", "--output", "q", "--split", "1,1,2"]);
    assert!(parts.err.contains("become the shares 0.25, 0.25 and 0.5"), "{}", parts.err);
    bench.refused(&["label", "undo", "77", "--store", "store"], &["no action 77"]);
}

#[test]
fn what_cannot_be_read_at_all_is_refused() {
    let bench = Bench::new();
    // 好 in GB18030 under a header of ASCII.
    bench.write("gb.csv", b"text,label\n\xba\xc3,pos\n");
    bench.write("header.csv", "text,label\n");
    bench.write("empty.csv", "");
    bench.write("torn.jsonl", "{\"text\": \"a\n{\"text\"\n");
    bench.write("images.jsonl", "{\"filename\": \"a.png\", \"label\": [\"cat\"]}\n");
    for (format, file, words) in [
        ("csv", "gb.csv", "--encoding gb18030"),
        ("csv", "header.csv", "there is no row in it"),
        ("csv", "empty.csv", "there is no row in it"),
        ("jsonl", "torn.jsonl", "nothing at all could be read: not JSON"),
        ("doccano", "images.jsonl", "nothing at all could be read: text: no such key"),
    ] {
        let ran = bench.run(&["label", "import", format, file, "--store", "store", "--json"]);
        assert_eq!(ran.code, Some(2), "{file}: {}{}", ran.out, ran.err);
        assert!(ran.err.contains(words), "{file}: {}", ran.err);
        assert_eq!(ran.rows()[0]["documents"], 0, "what was found is said all the same");
    }
    let read = import(&bench, "csv", "gb.csv", &["--encoding", "gb18030"]);
    assert_eq!((&read["documents"], &read["labels"]), (&json!(1), &json!(1)));
    assert_eq!(import(&bench, "csv", "gb.csv", &["--encoding", "gb18030"])["documents"], 0, "what is there already is no mistake");
}

#[test]
fn rows_of_a_table_are_told_apart_whatever_they_were() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("corpus/b")).unwrap();
    for (name, text) in [("corpus/a", "Ann"), ("corpus/b/a", "李安")] {
        bench.write(&format!("{name}.txt"), text);
        bench.write(&format!("{name}.ann"), "");
    }
    bench.write("corpus/a.a1", "T1\tPER 0 3\tAnn\n");
    let read = import(&bench, "brat", "corpus", &[]);
    assert!(read["lost"][0]["reason"].as_str().unwrap().contains("BioNLP"), "{read}");
    bench.write("c.csv", "id,text,label\n7,x,\n,y,a\n");
    import(&bench, "csv", "c.csv", &[]);
    export(&bench, "csv", "out.csv", &[]);
    assert_eq!(String::from_utf8(bench.read("out.csv")).unwrap(), "id,text,label\na,Ann,\nb/a,李安,\n7,x,\n,y,a\n");
    let own = import(&bench, "csv", "out.csv", &[]);
    assert_eq!((&own["documents"], &own["labels"]), (&json!(0), &json!(0)), "our own export adds nothing: {own}");
}
