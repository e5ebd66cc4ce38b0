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
    assert_eq!(keys(&report), ["files", "pages", "ocr_pages", "empty_pages", "failed"]);
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
    assert_eq!(keys(&taint), ["removed", "chunks", "runs", "dry_run"]);
    assert_eq!((&taint["runs"][0]["run"], &taint["runs"][0]["rows"]), (&"runs/a".into(), &1.into()));
    bench.refused(&["docs", "show", "lease.md", "--store", "work"], &["lease.md", "no such document", "docs list"]);
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
