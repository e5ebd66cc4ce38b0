//! Downloads that break, stall, change, lie, and are taken up again.

use std::fs;

use super::*;
use crate::hash::sha256_text;
use crate::http::Patience;
use crate::testing::{PATIENCE, Page, Told, Web};
use crate::transport::{FaultKind, Trust};
use crate::urls::Url;

const URL: &str = "https://h.example/data.bin";
const TEXT: &str = "0123456789abcdefghij";

struct Bench {
    dir: tempfile::TempDir,
    web: Web,
    checksum: Option<Checksum>,
    patience: Patience,
    told: Told,
}

impl Bench {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), web: Web::default(), checksum: None, patience: PATIENCE, told: Told::default() }
    }

    fn verified() -> Self {
        Self { checksum: Some(Checksum::Sha256(sha256_text(TEXT))), ..Self::new() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&mut self) -> Result<Brought> {
        let job = Job {
            fetch: Fetch {
                url: Url::parse(URL).unwrap(),
                headers: Vec::new(),
                token: None,
                trust: Trust::default(),
                proxy: None,
                patience: self.patience,
            },
            name: "data.bin",
            partial: self.file("partial/x"),
            place: self.file("place/data.bin"),
            checksum: self.checksum.clone(),
            size: None,
            page_is_fine: false,
            refusal: &|reply| reply.into_error("data.bin"),
        };
        let client = self.web.client();
        download(&client, &job, &mut self.told)
    }

    /// The ranges asked for since the last question.
    fn ranges(&self) -> Vec<Option<String>> {
        self.web.calls().iter().map(|c| c.sent("range").map(str::to_owned)).collect()
    }

    fn placed(&self) -> Option<String> {
        fs::read_to_string(self.file("place/data.bin")).ok()
    }

    /// Stops a run as a kill would: after some bytes reached the disk.
    fn interrupted_after(&mut self, n: u64) {
        self.cut(&[n as usize], ErrorKind::ConnectionReset, &[("etag", "\"v1\"")]);
        self.told.stop_after = Some(self.told.bytes + n);
        assert!(matches!(self.run(), Err(SourceError::Cancelled)));
        self.told.stop_after = None;
        self.web.calls();
        assert_eq!(self.placed(), None);
    }

    fn cut(&self, after: &[usize], kind: ErrorKind, headers: &[(&str, &str)]) {
        let headers = headers.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
        self.web.put(URL, Page::Cut { bytes: TEXT.into(), headers, after: after.to_vec(), kind });
    }
}

#[test]
fn a_whole_file_in_one_go() {
    let mut bench = Bench::verified();
    bench.web.file(URL, TEXT, &[("etag", "\"v1\"")]);
    let brought = bench.run().unwrap();
    assert_eq!(brought, Brought { sha256: sha256_text(TEXT), size: 20, etag: Some("\"v1\"".into()) });
    assert_eq!(bench.placed().as_deref(), Some(TEXT));
    assert_eq!(bench.told.starts, [("data.bin".to_owned(), Some(20), 0)]);
    assert_eq!(bench.told.bytes, 20);
    assert_eq!(fs::read_dir(bench.file("partial")).unwrap().count(), 0, "nothing is left behind");
    assert_eq!(bench.web.calls()[0].sent("accept-encoding"), Some("identity"));
}

#[test]
fn a_broken_transfer_is_continued_at_once() {
    let mut bench = Bench::verified();
    bench.cut(&[5, 4], ErrorKind::ConnectionReset, &[]);
    bench.run().unwrap();
    assert_eq!(bench.ranges(), [None, Some("bytes=5-".into()), Some("bytes=9-".into())]);
    assert_eq!(bench.placed().as_deref(), Some(TEXT));
    // No progress: given up after the retries, and what arrived is kept.
    let mut bench = Bench::verified();
    bench.cut(&[5, 0, 0, 0, 0], ErrorKind::ConnectionReset, &[]);
    let error = bench.run().unwrap_err();
    assert!(matches!(error, SourceError::Unreachable { .. }) && error.to_string().contains("after 5 B"), "{error}");
    assert_eq!(fs::read_to_string(bench.file("partial/x")).unwrap(), "01234");
}

#[test]
fn a_stall_fails_over_where_there_is_another_source() {
    let mut bench = Bench::verified();
    bench.cut(&[5], ErrorKind::TimedOut, &[]);
    assert!(matches!(bench.run(), Err(SourceError::Unreachable { .. })));
    assert_eq!(bench.ranges().len(), 1);
    let mut bench = Bench::verified();
    bench.patience.after_stall = true;
    bench.cut(&[5], ErrorKind::TimedOut, &[]);
    bench.run().unwrap();
    assert_eq!(bench.ranges().len(), 2);
}

#[test]
fn the_next_run_goes_on_where_this_one_stopped() {
    for checksum in [None, Some(Checksum::Sha256(sha256_text(TEXT)))] {
        let mut bench = Bench { checksum: checksum.clone(), ..Bench::new() };
        bench.interrupted_after(7);
        bench.web.file(URL, TEXT, &[("etag", "\"v1\"")]);
        bench.run().unwrap();
        let calls = bench.web.calls();
        assert_eq!(calls[0].sent("range"), Some("bytes=7-"));
        // Where no digest decides at the end, the server has to confirm that it is still the same file.
        assert_eq!(calls[0].sent("if-range"), checksum.is_none().then_some("\"v1\""));
        assert_eq!(bench.placed().as_deref(), Some(TEXT));
        assert_eq!(bench.told.starts.last().unwrap().2, 7);
    }
}

#[test]
fn another_file_is_not_appended() {
    // Changed at its source, and the server knows If-Range.
    let mut bench = Bench::new();
    bench.interrupted_after(7);
    bench.web.file(URL, "another file, longer than the first", &[("etag", "\"v2\"")]);
    bench.run().unwrap();
    assert_eq!(bench.placed().as_deref(), Some("another file, longer than the first"));

    // A server that ignores If-Range betrays itself by the tag or the length.
    for headers in [&[("etag", "\"v2\""), ("content-range", "bytes 7-19/20")], &[("etag", "\"v1\""), ("content-range", "bytes 7-29/30")]] {
        let mut bench = Bench::new();
        bench.interrupted_after(7);
        bench.web.status(URL, 206, headers, "XXX");
        bench.patience.retries = 0;
        assert!(bench.run().unwrap_err().to_string().contains("changed at its source"));
        assert_eq!(fs::read(bench.file("partial/x")).unwrap(), b"");
    }

    // No validator and no digest: nothing to go by, so from the start.
    let mut bench = Bench::new();
    bench.cut(&[7], ErrorKind::ConnectionReset, &[]);
    bench.told.stop_after = Some(7);
    assert!(bench.run().is_err());
    bench.told.stop_after = None;
    bench.web.calls();
    bench.run().unwrap();
    assert_eq!(bench.ranges(), [None]);
    // A weak tag is not good enough for a range either.
    let mut bench = Bench::new();
    bench.cut(&[7], ErrorKind::ConnectionReset, &[("etag", "W/\"v1\"")]);
    bench.told.stop_after = Some(7);
    assert!(bench.run().is_err());
    bench.told.stop_after = None;
    bench.web.calls();
    bench.run().unwrap();
    assert_eq!(bench.ranges(), [None]);
    // A partial file of another digest is not continued.
    let mut bench = Bench::verified();
    bench.interrupted_after(7);
    bench.checksum = Some(Checksum::Sha256(sha256_text("other")));
    bench.web.file(URL, "other", &[]);
    bench.run().unwrap();
    assert_eq!(bench.ranges(), [None]);
}

#[test]
fn a_server_without_ranges_starts_over() {
    let mut bench = Bench::verified();
    bench.interrupted_after(7);
    bench.web.put(URL, Page::File { bytes: TEXT.into(), headers: Vec::new(), ranges: false });
    bench.run().unwrap();
    assert_eq!(bench.placed().as_deref(), Some(TEXT));
    assert_eq!(bench.told.starts.last().unwrap().2, 0);
}

#[test]
fn wrong_bytes_are_discarded() {
    let mut bench = Bench::verified();
    bench.web.file(URL, "01234567X9abcdefghij", &[]);
    let error = bench.run().unwrap_err();
    assert!(matches!(error, SourceError::Checksum { .. }) && error.to_string().contains(URL), "{error}");
    assert_eq!((bench.placed(), bench.file("partial/x").exists(), bench.ranges().len()), (None, false, 1));

    // The inherited half may be what is damaged: once from the start.
    let mut bench = Bench::verified();
    bench.interrupted_after(7);
    fs::write(bench.file("partial/x"), "\0\0\0\0\0\0\0").unwrap();
    bench.web.file(URL, TEXT, &[]);
    bench.run().unwrap();
    assert_eq!(bench.ranges(), [Some("bytes=7-".into()), None]);
    assert!(bench.told.lines.iter().any(|l| l.contains("starting over")), "{:?}", bench.told.lines);

    // A partial file that is longer than the whole.
    let mut bench = Bench::verified();
    bench.interrupted_after(7);
    fs::write(bench.file("partial/x"), "x".repeat(99)).unwrap();
    bench.web.file(URL, TEXT, &[]);
    bench.run().unwrap();
    assert_eq!(bench.placed().as_deref(), Some(TEXT));

    // Complete before the kill: checked and put in place without a request.
    let mut bench = Bench::verified();
    bench.interrupted_after(7);
    fs::write(bench.file("partial/x"), TEXT).unwrap();
    bench.run().unwrap();
    assert_eq!(bench.ranges(), []);
}

#[test]
fn answers_that_are_not_the_file() {
    let mut bench = Bench::new();
    bench.web.file(URL, "<html>", &[("content-type", "text/html; charset=utf-8")]);
    assert!(bench.run().unwrap_err().to_string().contains("web page"));
    bench.web.status(URL, 404, &[], "");
    assert!(matches!(bench.run(), Err(SourceError::NotFound { .. })));
    bench.web.status(URL, 401, &[], "");
    assert!(matches!(bench.run(), Err(SourceError::Denied { status: 401, .. })));
    bench.web.fault(URL, FaultKind::NotResolved);
    assert!(matches!(bench.run(), Err(SourceError::Unreachable { .. })));
    bench.web.status(URL, 200, &[("content-length", "3")], "12345");
    assert!(bench.run().unwrap_err().to_string().contains("5 bytes arrived, 3 were announced"));
    bench.web.status(URL, 200, &[("content-length", "9")], "12345");
    bench.patience.retries = 0;
    assert!(bench.run().unwrap_err().to_string().contains("ended early"));
    assert_eq!(bench.placed(), None);
}

#[test]
fn an_empty_file_is_a_file() {
    let mut bench = Bench { checksum: Some(Checksum::Sha256(sha256_text(""))), ..Bench::new() };
    bench.web.file(URL, "", &[]);
    assert_eq!(bench.run().unwrap().size, 0);
    assert_eq!(bench.placed().as_deref(), Some(""));
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let mut bench = Bench::new();
    bench.web.file(URL, TEXT, &[]);
    fs::write(bench.file("partial"), "a file where the directory should be").unwrap();
    let error = bench.run().unwrap_err().to_string();
    assert!(error.contains(bench.file("partial").to_str().unwrap()), "{error}");
    for (kind, words) in [
        (ErrorKind::StorageFull, "no space left"),
        (ErrorKind::QuotaExceeded, "no space left"),
        (ErrorKind::ReadOnlyFilesystem, "set TUNESMITH_CACHE"),
        (ErrorKind::PermissionDenied, "set TUNESMITH_CACHE"),
    ] {
        let error = SourceError::cache_io("writing", Path::new("/c/x"), kind.into());
        assert!(error.to_string().contains(words) && error.to_string().contains("/c/x") && error.ends_everything(), "{error}");
    }
}
