//! A network of the tests' own: addresses with files, redirects, faults; ranges work as on a real server; every call is kept.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::http::{Client, Patience};
use crate::progress::DownloadProgress;
use crate::transport::{Answer, Call, Fault, FaultKind, Transport};

/// What stands at an address.
#[derive(Clone)]
pub(crate) enum Page {
    File {
        bytes: Vec<u8>,
        headers: Vec<(String, String)>,
        ranges: bool,
    },
    Status(u16, Vec<(String, String)>, String),
    Fault(FaultKind),
    /// Sends this many bytes of the file, then breaks; each visit takes the next entry, afterwards the file is whole.
    Cut {
        bytes: Vec<u8>,
        headers: Vec<(String, String)>,
        after: Vec<usize>,
        kind: io::ErrorKind,
    },
}

/// Pages by address, and the calls made.
type State = (BTreeMap<String, Page>, Vec<Call>);

#[derive(Clone, Default)]
pub(crate) struct Web(Arc<Mutex<State>>);

fn owned(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
}

impl Web {
    pub fn put(&self, url: &str, page: Page) -> &Self {
        self.0.lock().unwrap().0.insert(url.to_owned(), page);
        self
    }
    pub fn file(&self, url: &str, bytes: impl Into<Vec<u8>>, headers: &[(&str, &str)]) -> &Self {
        self.put(url, Page::File { bytes: bytes.into(), headers: owned(headers), ranges: true })
    }
    pub fn status(&self, url: &str, status: u16, headers: &[(&str, &str)], body: &str) -> &Self {
        self.put(url, Page::Status(status, owned(headers), body.to_owned()))
    }
    pub fn redirect(&self, url: &str, to: &str) -> &Self {
        self.status(url, 302, &[("location", to)], "")
    }
    pub fn fault(&self, url: &str, kind: FaultKind) -> &Self {
        self.put(url, Page::Fault(kind))
    }
    /// Calls since the last question.
    pub fn calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.0.lock().unwrap().1)
    }
    pub fn urls(&self) -> Vec<String> {
        self.calls().into_iter().map(|c| c.url).collect()
    }
    pub fn client(&self) -> Client {
        Client::hasty(self.clone())
    }
}

impl Call {
    pub fn sent(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

impl Transport for Web {
    fn call(&self, call: &Call) -> Result<Answer, Fault> {
        let mut inner = self.0.lock().unwrap();
        inner.1.push(call.clone());
        let answer = |status, headers, body: Vec<u8>| Answer { status, headers, body: Box::new(Cursor::new(body)) };
        match inner.0.get_mut(&call.url) {
            None => Ok(answer(404, Vec::new(), Vec::new())),
            Some(Page::Fault(kind)) => Err(Fault { kind: *kind, reason: format!("{kind:?}") }),
            Some(Page::Status(status, headers, body)) => Ok(answer(*status, headers.clone(), body.clone().into_bytes())),
            Some(Page::File { bytes, headers, ranges }) => Ok(serve(call, bytes, headers, *ranges)),
            Some(Page::Cut { bytes, headers, after, kind }) => {
                let mut whole = serve(call, bytes, headers, true);
                if !after.is_empty() {
                    let n = after.remove(0);
                    whole.body = Box::new(whole.body.take(n as u64).chain(Broken(*kind)));
                }
                Ok(whole)
            }
        }
    }
}

fn serve(call: &Call, bytes: &[u8], headers: &[(String, String)], ranges: bool) -> Answer {
    let mut headers = headers.to_vec();
    let etag = headers.iter().find(|(n, _)| n == "etag").map(|(_, v)| v.clone());
    let start = call.sent("range").and_then(|r| r.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let changed = call.sent("if-range").is_some_and(|v| Some(v) != etag.as_deref());
    let (status, from) = match start.filter(|_| ranges && !changed) {
        Some(start) if start >= bytes.len() => {
            headers.push(("content-range".into(), format!("bytes */{}", bytes.len())));
            return Answer { status: 416, headers, body: Box::new(io::empty()) };
        }
        Some(start) => {
            headers.push(("content-range".into(), format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len())));
            (206, start)
        }
        None => (200, 0),
    };
    headers.push(("content-length".into(), (bytes.len() - from).to_string()));
    Answer { status, headers, body: Box::new(Cursor::new(bytes[from..].to_vec())) }
}

struct Broken(io::ErrorKind);
impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::new(self.0, "cut"))
    }
}

/// Keeps what it is told.
#[derive(Default)]
pub(crate) struct Told {
    pub lines: Vec<String>,
    pub starts: Vec<(String, Option<u64>, u64)>,
    pub bytes: u64,
    /// Cancels once this many bytes arrived.
    pub stop_after: Option<u64>,
}

impl DownloadProgress for Told {
    fn start(&mut self, what: &str, total: Option<u64>, already: u64) {
        self.starts.push((what.to_owned(), total, already));
    }
    fn advance(&mut self, n: u64) {
        self.bytes += n;
    }
    fn finish(&mut self) {}
    fn note(&mut self, msg: &str) {
        self.lines.push(msg.to_owned());
    }
    fn cancelled(&self) -> bool {
        self.stop_after.is_some_and(|n| self.bytes >= n)
    }
}

pub(crate) const PATIENCE: Patience = Patience { first_byte: Duration::from_secs(9), retries: 2, after_stall: false };

/// A wheel as a build tool makes it: members, then `NAME.dist-info/RECORD`, whose digests `forged` replaces.
pub(crate) fn wheel_bytes(name: &str, members: &[(&str, &[u8])], forged: Option<&str>) -> Vec<u8> {
    use sha2::Digest;
    use std::io::Write;
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut record = String::new();
    for (path, bytes) in members {
        zip.start_file(*path, options).unwrap();
        zip.write_all(bytes).unwrap();
        let digest = forged.map_or_else(|| crate::hash::base64url(&sha2::Sha256::digest(bytes)), str::to_owned);
        let path = if path.contains(',') { format!("\"{path}\"") } else { path.to_string() };
        record.push_str(&format!("{path},sha256={digest},{}\n", bytes.len()));
    }
    zip.start_file(format!("{name}.dist-info/RECORD"), options).unwrap();
    zip.write_all(record.as_bytes()).unwrap();
    zip.finish().unwrap().into_inner()
}
