//! The hub against a network of the test's own: what is asked for, what is verified, what is read in place.

use std::fs;

use super::*;
use crate::options::{Secret, SourceOptions};
use crate::testing::{Told, Web};
use crate::transport::FaultKind;
use crate::{SourceError, Sources};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const HUB: &str = "https://huggingface.co";

fn sha256(bytes: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("f"), bytes).unwrap();
    crate::sha256_file(&dir.path().join("f")).unwrap()
}

/// Publishes a repository: `(path, content)`; files of weights and Parquet are in large-file storage on another host.
fn publish(web: &Web, kind: &str, repo: &str, revision: &str, files: &[(&str, &str)]) {
    let prefix = if kind == "datasets" { "datasets/" } else { "" };
    let mut siblings = Vec::new();
    for (path, text) in files {
        let address = format!("{HUB}/{prefix}{repo}/resolve/{COMMIT}/{path}");
        let large = path.ends_with(".safetensors") || path.ends_with(".parquet") || path.ends_with(".gguf");
        if large {
            let storage = format!("https://cdn.example/{}?signature=s", path.replace('/', "-"));
            let digest = sha256(text.as_bytes());
            siblings.push(serde_json::json!({"rfilename": path, "size": text.len(), "blobId": "0".repeat(40),
                "lfs": {"sha256": digest, "size": text.len(), "pointerSize": 134}}));
            web.redirect(&address, &storage).file(&storage, *text, &[("content-type", "binary/octet-stream")]);
        } else {
            use sha1::Digest;
            let id = crate::hash::hex(&sha1::Sha1::digest(format!("blob {}\0{text}", text.len())));
            siblings.push(serde_json::json!({"rfilename": path, "size": text.len(), "blobId": id}));
            web.file(&address, *text, &[("content-type", "text/plain; charset=utf-8")]);
        }
    }
    let info = serde_json::json!({"id": repo, "sha": COMMIT, "siblings": siblings, "private": false});
    let revision = encode_segment(revision);
    web.file(&format!("{HUB}/api/{kind}/{repo}/revision/{revision}?blobs=true"), info.to_string(), &[]);
}

const MODEL: &[(&str, &str)] = &[
    (".gitattributes", "x"),
    ("README.md", "card"),
    ("config.json", "{}"),
    ("model.safetensors", "weights"),
    ("onnx/model.onnx", "no"),
    ("tokenizer.json", "{\"t\":1}"),
];

struct Bench {
    dir: tempfile::TempDir,
    web: Web,
}

impl Bench {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), web: Web::default() }
    }

    fn options(&self) -> SourceOptions {
        let mut options = SourceOptions::with_cache(self.dir.path().join("cache"));
        options.hub.cache_dir = Some(self.dir.path().join("hub"));
        options
    }

    fn get(&self, options: SourceOptions, text: &str, want: Want) -> (Result<Resolved>, Told) {
        let mut told = Told::default();
        let sources = Sources::with_client(options, self.web.client());
        (sources.resolve(&text.parse().unwrap(), want, &mut told), told)
    }

    fn ok(&self, text: &str, want: Want) -> Resolved {
        self.get(self.options(), text, want).0.unwrap_or_else(|e| panic!("{e}"))
    }

    fn error(&self, text: &str, want: Want) -> String {
        self.get(self.options(), text, want).0.unwrap_err().to_string()
    }
}

fn names(resolved: &Resolved) -> Vec<String> {
    resolved.files.iter().map(|f| f.strip_prefix(&resolved.root).unwrap().to_str().unwrap().to_owned()).collect()
}

fn split(name: &str) -> Want {
    Want::DatasetSplit { split: Some(name.into()) }
}

#[test]
fn a_model_is_brought_once_and_its_token_stays_home() {
    let bench = Bench::new();
    publish(&bench.web, "models", "o/n", "main", MODEL);
    let mut options = bench.options();
    options.hub.token = Some(Secret("hf_secret".into()));
    let first = bench.get(options, "hf:o/n", Want::ModelDir).0.unwrap();
    assert_eq!(names(&first), ["config.json", "model.safetensors", "tokenizer.json"]);
    assert!(!first.from_cache);
    assert_eq!(first.revision.as_deref(), Some(COMMIT));
    assert!(first.origin.contains("o/n") && first.origin.contains(COMMIT));
    for call in bench.web.calls() {
        let expected = call.url.starts_with(HUB).then_some("Bearer hf_secret");
        assert_eq!(call.sent("authorization"), expected, "{}", call.url);
    }
    let second = bench.ok("hf:o/n", Want::ModelDir);
    assert_eq!(bench.web.urls(), Vec::<String>::new(), "the cache needs no network");
    assert_eq!((second.from_cache, &second.files, &second.sha256), (true, &first.files, &first.sha256));
    // Another want of the same commit fetches what it lacks, and asks nothing again.
    let file = bench.ok("hf:o/n/README.md", Want::File);
    assert_eq!((fs::read_to_string(&file.root).unwrap(), file.sha256), ("card".into(), sha256(b"card")));
    assert_eq!(bench.web.urls(), [format!("{HUB}/o/n/resolve/{COMMIT}/README.md")]);
    // What the known commit lacks is nowhere.
    assert!(bench.error("hf:o/n/none.txt", Want::File).contains("`none.txt` in hf:o/n was not found"));
    assert_eq!(bench.web.urls(), Vec::<String>::new());
    // The commit by its own name is the same thing.
    assert!(bench.ok(&format!("hf:o/n@{COMMIT}"), Want::ModelDir).from_cache);
}

#[test]
fn wrong_bytes_never_reach_the_cache() {
    let bench = Bench::new();
    publish(&bench.web, "models", "o/n", "main", MODEL);
    bench.web.file("https://cdn.example/model.safetensors?signature=s", "wEights", &[]);
    let error = bench.error("hf:o/n", Want::ModelDir);
    assert!(error.contains("checksum mismatch") && error.contains("model.safetensors") && error.contains(&sha256(b"wEights")), "{error}");
    assert!(!error.contains("signature"), "{error}");
    bench.web.file(&format!("{HUB}/o/n/resolve/{COMMIT}/config.json"), "[]", &[]);
    assert!(!bench.dir.path().join("cache/hf/models--o--n/snapshots").join(COMMIT).join("model.safetensors").exists());
    bench.web.file("https://cdn.example/model.safetensors?signature=s", "weights", &[]);
    assert!(bench.get(bench.options().refresh(true), "hf:o/n", Want::ModelDir).0.is_ok(), "a good file that is here is not fetched again");
}

#[test]
fn a_damaged_file_of_the_cache_is_fetched_again() {
    let bench = Bench::new();
    publish(&bench.web, "models", "o/n", "main", MODEL);
    let first = bench.ok("hf:o/n", Want::ModelDir);
    fs::write(first.root.join("model.safetensors"), "wEights").unwrap();
    let offline = bench.get(bench.options().offline(true), "hf:o/n", Want::ModelDir).0.unwrap_err().to_string();
    assert!(offline.contains("lacking model.safetensors"), "{offline}");
    assert_eq!(bench.ok("hf:o/n", Want::ModelDir).sha256, first.sha256);
    // One of the wrong size is noticed without hashing.
    fs::write(first.root.join("tokenizer.json"), "{").unwrap();
    bench.web.calls();
    assert_eq!(bench.ok("hf:o/n", Want::ModelDir).sha256, first.sha256);
    assert_eq!(bench.web.urls(), [format!("{HUB}/o/n/resolve/{COMMIT}/tokenizer.json")]);
}

#[test]
fn the_hub_clients_cache_is_read_in_place() {
    let bench = Bench::new();
    let repo = bench.dir.path().join("hub/models--o--n");
    let snapshot = repo.join("snapshots").join(COMMIT);
    fs::create_dir_all(repo.join("blobs")).unwrap();
    fs::create_dir_all(repo.join("refs")).unwrap();
    fs::create_dir_all(&snapshot).unwrap();
    fs::write(repo.join("refs/main"), COMMIT).unwrap();
    for (name, text) in [("config.json", "{}"), ("model.safetensors", "weights"), ("tokenizer.json", "{}")] {
        let blob = repo.join("blobs").join(name);
        fs::write(&blob, text).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(&blob, snapshot.join(name)).unwrap();
        #[cfg(not(unix))]
        fs::copy(&blob, snapshot.join(name)).unwrap();
    }
    for options in [bench.options(), bench.options().offline(true)] {
        let found = bench.get(options, "hf:o/n", Want::ModelDir).0.unwrap();
        assert_eq!((found.root.as_path(), found.from_cache), (snapshot.as_path(), true));
    }
    assert_eq!(bench.web.urls(), Vec::<String>::new());
    // Incomplete there: brought to this project's cache, theirs is left alone.
    fs::remove_file(snapshot.join("model.safetensors")).unwrap();
    let before = fs::read_dir(&snapshot).unwrap().count();
    publish(&bench.web, "models", "o/n", "main", MODEL);
    assert!(bench.ok("hf:o/n", Want::ModelDir).root.starts_with(bench.dir.path().join("cache")));
    assert_eq!(fs::read_dir(&snapshot).unwrap().count(), before);
}

#[test]
fn a_model_brought_by_hand_is_found_where_the_error_said() {
    let bench = Bench::new();
    let offline = || bench.options().offline(true);
    let error = bench.get(offline(), "hf:o/n", Want::ModelDir).0.unwrap_err();
    assert!(matches!(error, SourceError::Offline { .. }));
    let text = error.to_string();
    let place = bench.dir.path().join("cache/hf/models--o--n/snapshots/main");
    assert!(text.contains("hf:o/n") && text.contains(&format!("{}/", place.display())) && text.contains("hf download o/n"), "{text}");
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join("config.json"), "{}").unwrap();
    let text = bench.get(offline(), "hf:o/n", Want::ModelDir).0.unwrap_err().to_string();
    assert!(text.contains("no weights"), "it says what is wrong with what is there: {text}");
    fs::write(place.join("model.safetensors"), "w").unwrap();
    assert_eq!(bench.get(offline(), "hf:o/n", Want::ModelDir).0.unwrap().root, place);
    let mut hub_only = bench.options();
    hub_only.hub.offline = true;
    assert!(matches!(bench.get(hub_only, "hf:o/other", Want::ModelDir).0, Err(SourceError::Offline { .. })));
    assert_eq!(bench.web.urls(), Vec::<String>::new());
}

#[test]
fn data_sets_by_readme_by_name_and_by_conversion() {
    let bench = Bench::new();
    let readme = "---\nconfigs:\n- config_name: default\n  data_files:\n  - {split: train, path: a.parquet}\n  - {split: test, path: b.parquet}\n---\n";
    publish(&bench.web, "datasets", "o/d", "main", &[("README.md", readme), ("a.parquet", "A"), ("b.parquet", "B"), ("old.csv", "c")]);
    let train = bench.ok("hf:datasets/o/d", split("train"));
    assert_eq!((train.root.file_name().unwrap().to_str(), train.files.len()), (Some("a.parquet"), 1));
    assert_eq!(train.sha256, sha256(b"A"));
    assert!(!train.from_cache && bench.ok("hf:datasets/o/d", split("train")).from_cache);
    assert!(bench.web.urls().iter().all(|u| !u.contains("b.parquet")), "only the split asked for");
    assert_eq!(bench.ok("hf:datasets/o/d", split("test")).sha256, sha256(b"B"));
    assert!(bench.error("hf:datasets/o/d", split("extra")).contains("its splits are test, train"));

    let shards =
        [("data/train-00000-of-00002.parquet", "1"), ("data/train-00001-of-00002.parquet", "2"), ("data/test-00000-of-00001.parquet", "3")];
    publish(&bench.web, "datasets", "o/shards", "v2", &shards);
    let train = bench.ok("hf:datasets/o/shards@v2", split("train"));
    assert_eq!(names(&train), [shards[0].0, shards[1].0]);

    // Nothing but a loading script: the hub's own conversion stands in, offline too.
    publish(&bench.web, "datasets", "o/script", "main", &[("script.py", "x"), ("README.md", "card")]);
    publish(
        &bench.web,
        "datasets",
        "o/script",
        CONVERTED,
        &[("default/train/0000.parquet", "T"), ("default/test/0000.parquet", "E"), ("other/train/0000.parquet", "O")],
    );
    let (found, told) = bench.get(bench.options(), "hf:datasets/o/script", split("train"));
    assert_eq!(found.unwrap().sha256, sha256(b"T"));
    assert!(told.lines.iter().any(|l| l.contains("Parquet version")), "{:?}", told.lines);
    assert!(bench.get(bench.options().offline(true), "hf:datasets/o/script", split("train")).0.unwrap().from_cache);
    assert_eq!(bench.ok("hf:datasets/o/script/other", split("train")).sha256, sha256(b"O"));
}

#[test]
fn refusals_in_the_hubs_own_terms() {
    let bench = Bench::new();
    let api = |repo: &str| format!("{HUB}/api/models/{repo}/revision/main?blobs=true");
    bench.web.status(&api("o/none"), 401, &[("x-error-code", "RepoNotFound"), ("x-error-message", "Repository not found")], "");
    let error = bench.error("hf:o/none", Want::ModelDir);
    assert!(error.contains("does not exist, or it is private") && error.contains("HF_TOKEN"), "{error}");
    bench.web.status(&api("o/rev"), 404, &[("x-error-code", "RevisionNotFound")], "");
    assert!(bench.error("hf:o/rev", Want::ModelDir).contains("the revision `main`"));
    publish(&bench.web, "models", "o/gated", "main", MODEL);
    let weights = format!("{HUB}/o/gated/resolve/{COMMIT}/config.json");
    bench.web.status(&weights, 403, &[("x-error-code", "GatedRepo")], "");
    let error = bench.error("hf:o/gated", Want::ModelDir);
    assert!(
        error.contains("gated") && error.contains("accept its terms at https://huggingface.co/o/gated") && error.contains("403"),
        "{error}"
    );
    let mut with_token = bench.options();
    with_token.hub.token = Some(Secret("hf_secret".into()));
    let error = bench.get(with_token, "hf:o/gated", Want::ModelDir).0.unwrap_err().to_string();
    assert!(error.contains("does not give access") && !error.contains("hf_secret"), "{error}");
    bench.web.file(&api("o/odd"), "<html>", &[]);
    assert!(bench.error("hf:o/odd", Want::ModelDir).contains("not the hub's description"));
    bench.web.status(&api("o/busy"), 503, &[], "{\"error\": \"Over capacity\\u001b[1m\"}");
    bench.web.calls();
    let error = bench.error("hf:o/busy", Want::ModelDir);
    assert!(error.contains("503") && error.ends_with("Over capacity[1m"), "{error}");
    assert_eq!(bench.web.urls().len(), 3, "a passing trouble is tried again");
}

#[test]
fn names_that_leave_the_cache_are_refused() {
    let bench = Bench::new();
    publish(&bench.web, "models", "o/n", "main", &[("../../evil.gguf", "x")]);
    let error = bench.error("hf:o/n", Want::ModelDir);
    assert!(error.contains("not a safe file name"), "{error}");
    assert!(!bench.dir.path().join("cache/hf/evil.gguf").exists());
}

#[test]
fn refresh_asks_again_and_falls_back_when_nobody_answers() {
    let bench = Bench::new();
    publish(&bench.web, "models", "o/n", "main", MODEL);
    bench.ok("hf:o/n", Want::ModelDir);
    bench.web.calls();
    bench.get(bench.options().refresh(true), "hf:o/n", Want::ModelDir).0.unwrap();
    assert_eq!(bench.web.urls(), [format!("{HUB}/api/models/o/n/revision/main?blobs=true")]);
    bench.web.fault(&format!("{HUB}/api/models/o/n/revision/main?blobs=true"), FaultKind::Silent);
    let (found, told) = bench.get(bench.options().refresh(true), "hf:o/n", Want::ModelDir);
    assert!(found.unwrap().from_cache);
    assert!(told.lines.iter().any(|l| l.contains("using what is here already")));
}

#[test]
fn a_mirror_that_lists_no_digests_announces_them_with_the_file() {
    let bench = Bench::new();
    let info = serde_json::json!({"sha": COMMIT, "siblings": [{"rfilename": "m.gguf"}]});
    bench.web.file("https://mirror.example/api/models/o/n/revision/main?blobs=true", info.to_string(), &[]);
    let address = format!("https://mirror.example/o/n/resolve/{COMMIT}/m.gguf");
    let digest = format!("\"{}\"", sha256(b"right"));
    bench.web.status(&address, 302, &[("location", "https://cdn.example/m"), ("x-linked-etag", &digest)], "");
    bench.web.file("https://cdn.example/m", "wrong", &[]);
    let mut options = bench.options();
    options.hub.endpoint = "https://mirror.example".into();
    let error = bench.get(options.clone(), "hf:o/n", Want::ModelDir).0.unwrap_err();
    assert!(matches!(error, SourceError::Checksum { .. }), "{error}");
    bench.web.file("https://cdn.example/m", "right", &[]);
    assert_eq!(bench.get(options, "hf:o/n", Want::ModelDir).0.unwrap().sha256, sha256(b"right"));
}
