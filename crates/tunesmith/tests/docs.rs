//! `docs`: from files to chunks as a script would go, what it prints, what it refuses.

mod common;

use common::{Bench, keys};

fn with_documents() -> Bench {
    let bench = Bench::new();
    std::fs::create_dir_all(bench.path("in/more")).unwrap();
    bench.write(
        "in/lease.md",
        "# Lease\n\nRent is due on the 3rd. Mail to ann@example.com or 13812345678.\n\n| Item | Price |\n| --- | --- |\n| Rent | 850 |\n",
    );
    bench.write(
        "in/more/合同.txt",
        [0xFF, 0xFE].into_iter().chain("第一条　租金。\n\n第二条　押金。".encode_utf16().flat_map(u16::to_le_bytes)).collect::<Vec<u8>>(),
    );
    bench.write("in/page.html", "<h1>Title</h1><p>See <a href='https://example.org'>this</a>.</p>");
    bench.write("in/broken.pdf", "%PDF-1.4 but nothing more");
    bench
}

#[test]
fn from_files_to_chunks() {
    let bench = with_documents();
    let report = bench.json(&["docs", "ingest", "in", "--store", "work", "--json"]);
    assert_eq!(keys(&report), ["files", "pages", "ocr_pages", "empty_pages", "failed", "passed_over", "gone"]);
    assert_eq!((&report["files"], &report["pages"]), (&3.into(), &3.into()));
    assert_eq!(keys(&report["failed"][0]), ["file", "page", "reason"]);
    assert_eq!((&report["failed"][0]["file"], &report["failed"][0]["page"]), (&"in/broken.pdf".into(), &serde_json::Value::Null));
    assert_eq!(bench.json(&["docs", "ingest", "in", "--store", "work", "--json"]), report, "again: the same");
    let said = bench.ok(&["docs", "ingest", "in", "--store", "other"]);
    assert!(said.out.contains("3 files, 3 pages") && said.out.contains("in/broken.pdf"), "{}", said.out);
    assert!(said.err.contains("UTF-16LE"), "the encoding is shown: {}", said.err);

    let list = bench.json(&["docs", "list", "--store", "work", "--json"]);
    assert_eq!(keys(&list), ["files", "pages", "chunks", "empty", "failed"]);
    assert_eq!(list["files"].as_array().unwrap().len(), 4);

    assert_eq!(bench.ok(&["docs", "show", "合同.txt", "--store", "work"]).out.trim(), "第一条　租金。\n\n第二条　押金。");
    let markdown = bench.ok(&["docs", "show", "page.html", "--store", "work", "--format", "markdown"]).out;
    assert_eq!(markdown.trim(), "# Title\n\nSee [this](https://example.org).");
    let shown = bench.json(&["docs", "show", "lease.md", "--store", "work", "--format", "json"]);
    assert_eq!(keys(&shown), ["file", "pages", "blocks", "text"]);
    let block = &shown["blocks"][1];
    let text: Vec<char> = shown["text"].as_str().unwrap().chars().collect();
    let (start, end) = (block["start"].as_u64().unwrap() as usize, block["end"].as_u64().unwrap() as usize);
    assert_eq!(text[start..end].iter().collect::<String>(), block["text"].as_str().unwrap());

    bench.write("clean.yaml", "steps:\n  - whitespace\n  - pii\n");
    let preview = bench.json(&["docs", "preview", "--store", "work", "--clean", "clean.yaml", "--json"]);
    assert_eq!(keys(&preview), ["documents", "steps", "dropped", "changes"]);
    assert_eq!(preview["steps"][1]["kinds"]["email"], 1);
    let said = bench.ok(&["docs", "preview", "lease.md", "--store", "work", "--clean", "clean.yaml"]).out;
    assert!(said.contains("[-ann@example.com-]{+[EMAIL]+}"), "{said}");

    let cut = ["docs", "chunks", "--store", "work", "--clean", "clean.yaml", "--size", "40", "--output", "chunks.jsonl", "--json"];
    let report = bench.json(&cut);
    assert_eq!(keys(&report), ["documents", "chunks", "mean_length", "longest", "over_size", "unit", "steps", "dropped", "output"]);
    let first = bench.read("chunks.jsonl");
    let rows: Vec<serde_json::Value> =
        String::from_utf8(first.clone()).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(rows.len(), report["chunks"].as_u64().unwrap() as usize);
    assert_eq!(keys(&rows[0]), ["id", "text", "source"]);
    assert_eq!(keys(&rows[0]["source"]), ["file", "sha256", "page", "page_end", "start", "end"]);
    assert!(!String::from_utf8_lossy(&first).contains("ann@example.com"));
    bench.json(&[&cut[..], &["--threads", "1"]].concat());
    assert_eq!(bench.read("chunks.jsonl"), first, "the same bytes again");

    // A run that learnt from a document is named when the document goes.
    std::fs::create_dir_all(bench.path("runs/a")).unwrap();
    let lease = rows.iter().find(|r| r["source"]["file"] == "in/lease.md").unwrap();
    bench.write("runs/a/train.jsonl", format!("{lease}\n{{\"text\": \"other\"}}\n"));
    let taint = bench.json(&["docs", "rm", "lease.md", "--store", "work", "--runs", "runs", "--json"]);
    assert_eq!(keys(&taint), ["removed", "chunks", "rows", "labels", "runs", "dry_run"]);
    assert_eq!((&taint["rows"], &taint["labels"]), (&0.into(), &0.into()), "there is no store of labels");
    assert_eq!((&taint["runs"][0]["run"], &taint["runs"][0]["rows"]), (&"runs/a".into(), &1.into()));
    bench.refused(&["docs", "show", "lease.md", "--store", "work"], &["lease.md", "no such document", "docs list"]);
}

#[test]
fn what_is_passed_over_gone_or_never_ends_is_told() {
    let bench = with_documents();
    bench.write("in/old.doc", b"\xD0\xCF\x11\xE0\0\0");
    bench.write("in/noext", "text");
    let report = bench.json(&["docs", "ingest", "in", "--store", "work", "--json"]);
    assert_eq!(keys(&report["passed_over"][0]), ["file", "reason"]);
    assert_eq!((&report["passed_over"][1]["file"], &report["gone"]), (&"in/old.doc".into(), &serde_json::json!([])));
    std::fs::remove_file(bench.path("in/lease.md")).unwrap();
    let said = bench.ok(&["docs", "ingest", "./in/", "--store", "work"]).out;
    for words in ["in/old.doc: an old Word document: save it as .docx or PDF", "in/noext", "passed over (2)", "in/lease.md", "docs rm"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    bench.ok(&["docs", "rm", "in/lease.md", "--store", "work"]);
    assert_eq!(bench.json(&["docs", "ingest", "in", "--store", "work", "--json"])["gone"], serde_json::json!([]));
    bench.write("in/f.rtf", "{\\rtf1 hi}");
    let refused = bench.run(&["docs", "ingest", "in/f.rtf", "--store", "other"]);
    assert!(refused.code == Some(2) && refused.err.contains("in/f.rtf") && refused.err.contains("RTF"), "{}", refused.err);
    // A pattern that is satisfied by nothing once looked for it for ever.
    bench.write("clean.yaml", "steps:\n  - pii: {custom: [{name: x, pattern: '\\d*'}]}\n");
    bench.refused(&["docs", "preview", "--store", "work", "--clean", "clean.yaml"], &["clean.yaml:2", "\"x\"", "empty text"]);
}

#[test]
fn removal_names_rows_and_labels_too() {
    let bench = with_documents();
    bench.json(&["docs", "ingest", "in", "--store", "work", "--json", "--quiet"]);
    bench.json(&["label", "import", "chunks", "--store", "work", "--size", "40", "--json", "--quiet"]);
    bench.ok(&["label", "export", "jsonl", "--store", "work", "--output", "all.jsonl"]);
    let all = String::from_utf8(bench.read("all.jsonl")).unwrap();
    let rows: Vec<serde_json::Value> = all.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let of_lease = rows.iter().filter(|r| r["source"]["file"] == "in/lease.md").count();
    let labelled: String = rows
        .into_iter()
        .map(|mut r| {
            r["labels"] = serde_json::json!(["a", "b"]);
            r.to_string() + "\n"
        })
        .collect();
    bench.write("labelled.jsonl", labelled);
    bench.ok(&["label", "import", "jsonl", "labelled.jsonl", "--annotator", "kim", "--store", "work"]);
    let taint = bench.json(&["docs", "rm", "lease.md", "--store", "work", "--dry-run", "--json"]);
    assert!(of_lease > 1);
    assert_eq!((&taint["rows"], &taint["labels"]), (&of_lease.into(), &(2 * of_lease).into()));
    // What was taken back taints nothing any more; the rows are still there.
    bench.ok(&["label", "undo", "--store", "work"]);
    let said = bench.ok(&["docs", "rm", "lease.md", "--store", "work"]).out;
    assert!(said.contains(&format!("labels.db holds {of_lease} rows of their text with 0 labels")), "{said}");
}

#[test]
fn chunks_as_parquet_train_with_their_provenance() {
    let bench = with_documents();
    bench.json(&["docs", "ingest", "in", "--store", "work", "--json", "--quiet"]);
    let cut = |output: &str| bench.json(&["docs", "chunks", "--store", "work", "--size", "40", "--output", output, "--json", "--quiet"]);
    assert_eq!(cut("c.parquet")["output"], "c.parquet");
    let first = bench.read("c.parquet");
    cut("c.parquet");
    assert_eq!(bench.read("c.parquet"), first, "the same bytes again");
    cut("c.jsonl");
    let lines = |name: &str| -> Vec<serde_json::Value> {
        String::from_utf8(bench.read(name)).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    };
    bench.write(
        "r.yaml",
        format!(
            "model: {}\ndataset: {{sources: [{{source: c.parquet}}], val_size: 0}}\ntask: {{type: text}}\nfinetuning_type: lora\n\
             max_steps: 1\nper_device_train_batch_size: 1\n",
            common::yaml(&common::tiny())
        ),
    );
    bench.train("r.yaml", "run", &[]);
    let (trained, given) = (lines("run/train.jsonl"), lines("c.jsonl"));
    assert_eq!(trained.len(), given.len());
    for row in given {
        let found = trained.iter().find(|t| t["id"] == row["id"]).unwrap();
        assert_eq!((&found["text"], &found["source"]), (&row["text"], &row["source"]));
    }
    bench.refused(&["docs", "chunks", "--store", "work", "--output", "none/c.parquet"], &["none/c.parquet"]);
}

/// A pipe holds 64 KiB here; what a program says beyond that waits until somebody reads.
const PIPE: usize = 64 << 10;

#[test]
fn killed_in_the_midst_ingest_goes_on_where_it_was() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("in")).unwrap();
    // Each file is told with its encoding and its long name: far more than a pipe holds, so that a process whose words nobody reads
    // stands still before it is done, whatever the machine's speed.
    let name = |i: usize| format!("in/{i:04}-{}.txt", "long".repeat(45));
    let files = 2 * PIPE / name(0).len();
    for i in 0..files {
        let text: Vec<u8> = [0xFF, 0xFE].into_iter().chain(format!("第{i}条　租金").encode_utf16().flat_map(u16::to_le_bytes)).collect();
        bench.write(&name(i), text);
    }
    let ingest = |store: &str| bench.command(&["docs", "ingest", "in", "--store", store]);
    let listed = |store: &str| bench.json(&["docs", "list", "--store", store, "--json"]);
    bench.json(&["docs", "ingest", "in", "--store", "whole", "--json", "--quiet"]);

    let mut child = ingest("killed").spawn().unwrap();
    let mut line = String::new();
    let mut err = std::io::BufReader::new(child.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut err, &mut line).unwrap();
    assert!(line.contains("UTF-16LE"), "{line}");
    child.kill().unwrap(); // SIGKILL
    assert_eq!(child.wait().unwrap().code(), None);
    let there = listed("killed")["files"].as_array().unwrap().len();
    assert!(0 < there && there < files, "{there} of {files}");

    let ran = common::Ran::from(ingest("killed").output().unwrap());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.out.contains(&format!("{there} files unchanged")), "{}", ran.out);
    assert_eq!(listed("killed"), listed("whole"));
    assert_eq!(listed("killed")["files"].as_array().unwrap().len(), files);
}

#[test]
fn mistakes_are_told() {
    let bench = with_documents();
    bench.refused(&["docs", "list", "--store", "nowhere"], &["nowhere", "docs ingest"]);
    bench.refused(&["docs", "ingest", "nothing", "--store", "work"], &["nothing", "cannot read"]);
    // Nothing could be read: the report is there all the same, and the exit code says it.
    for (args, words) in [
        (["in/broken.pdf", "--quiet"].as_slice(), ["in/broken.pdf", "not a PDF"]),
        (&["in/more", "--encoding", "klingon"], ["klingon", "gb18030"]),
    ] {
        let ran = bench.run(&[&["docs", "ingest", "--store", "work", "--json"], args].concat());
        assert_eq!(ran.code, Some(2), "{}", ran.err);
        assert!(ran.out.contains("\"files\":0") && words.iter().all(|w| ran.err.contains(w)), "{}{}", ran.out, ran.err);
    }
    bench.ok(&["docs", "ingest", "in", "--store", "work"]);
    bench.refused(&["docs", "chunks", "--store", "work", "--size", "10", "--overlap", "9"], &["--overlap", "more than half"]);
    bench.write("bad.yaml", "steps:\n  - control\n  - whitspace\n");
    bench.refused(&["docs", "preview", "--store", "work", "--clean", "bad.yaml"], &["bad.yaml:3", "steps[1]", "whitspace"]);
}
