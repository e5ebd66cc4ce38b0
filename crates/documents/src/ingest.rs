//! Many files into a store: in parallel, within bounded memory, so that one broken file stops nothing and a kill loses nothing that was finished.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use rayon::prelude::*;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::block::{Extracted, PageSource};
use crate::error::{DocumentError, Result};
use crate::import::pdf::{Recognised, Recogniser};
use crate::import::{self, Format, MAX_FILE_BYTES, ReadOptions};
use crate::pdf::PagedReader;
use crate::store::{NewFile, Store};

/// What reads a page changes with this number: files read by another version are read again.
const READER_VERSION: u32 = 2;
/// Interpreting a page nests as deep as its forms do.
const STACK: usize = 32 << 20;

/// What to ingest and how.
#[derive(Clone, Debug, Default)]
pub struct IngestOptions {
    /// Files and directories.
    pub paths: Vec<PathBuf>,
    /// What readers need to know.
    pub read: ReadOptions,
    /// Read again what has not changed.
    pub again: bool,
}

/// What happens, for who watches.
#[derive(Clone, Debug)]
pub enum IngestEvent {
    /// So many files were found.
    Found(usize),
    /// Pages of a file were read.
    Pages(u32),
    /// A file is done.
    File {
        /// Its name.
        name: String,
        /// Its encoding, of text formats.
        encoding: Option<String>,
        /// What was odd about it.
        notes: Vec<String>,
        /// Whether it was in the store already.
        unchanged: bool,
    },
}

/// A page or file that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// The file.
    pub file: String,
    /// The page, from 1; none: the file.
    pub page: Option<u32>,
    /// Why, and what to do.
    pub reason: String,
}

/// A file of a directory that was not looked into.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PassedOver {
    /// The file.
    pub file: String,
    /// Why, and what to do.
    pub reason: String,
}

/// The state of all files that were given, those that had not changed included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct IngestReport {
    /// Files that are in the store now.
    pub files: usize,
    /// Their pages.
    pub pages: usize,
    /// Pages that were recognised in pictures.
    pub ocr_pages: usize,
    /// Pages with nothing on them.
    pub empty_pages: usize,
    /// Pages and files that could not be read.
    pub failed: Vec<Failed>,
    /// Files of a directory that are no documents this program reads, by name.
    pub passed_over: Vec<PassedOver>,
    /// Files of the store under the given paths that are no longer there, by name. They stay in the store until they are removed.
    pub gone: Vec<String>,
    /// Of the files, those that had not changed.
    #[serde(skip)]
    pub unchanged: usize,
}

/// Ingests. `each` hears what happens; `cancelled` is asked between files.
///
/// # Errors
/// A path that does not exist; a store that cannot be written; a stop. Files that cannot be read are no error: they are in the report.
pub fn run(
    store: &mut Store,
    options: &IngestOptions,
    recogniser: Option<&dyn Recogniser>,
    each: &mut dyn FnMut(IngestEvent),
    cancelled: &dyn Fn() -> bool,
) -> Result<IngestReport> {
    let Found { files, passed_over, unreadable } = collect(&options.paths, store.directory())?;
    each(IngestEvent::Found(files.len()));
    let gone = gone(store, &options.paths, &files, &passed_over)?;
    let mut report = IngestReport { passed_over, gone, failed: unreadable, ..IngestReport::default() };
    let settings = settings(options, recogniser);
    let threads = rayon::current_num_threads().max(1);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .stack_size(STACK)
        .build()
        .map_err(|e| DocumentError::Option { option: "--threads".into(), reason: e.to_string() })?;
    let stop = AtomicBool::new(false);
    let (send, receive) = mpsc::sync_channel::<Message>(threads * 2);
    std::thread::scope(|scope| -> Result<()> {
        let (stop, files) = (&stop, &files);
        scope.spawn(move || {
            pool.install(|| {
                files.par_iter().for_each_with(send, |send, file| {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let message = work(file, options, recogniser, send);
                    // The receiver is gone only after an error of the store, which ends everything.
                    let _ = send.send(message);
                });
            });
        });
        let outcome = serve(store, &receive, &settings, &mut report, each, &|| {
            if cancelled() {
                stop.store(true, Ordering::Relaxed);
            }
        });
        stop.store(true, Ordering::Relaxed);
        // Workers that wait to send must not wait for ever.
        drop(receive);
        outcome
    })?;
    if cancelled() {
        return Err(DocumentError::Stopped);
    }
    report.failed.sort_by(|a, b| a.file.cmp(&b.file).then(a.page.cmp(&b.page)));
    Ok(report)
}

enum Message {
    /// Whether the store has a file.
    Ask {
        name: String,
        sha256: String,
        answer: mpsc::SyncSender<bool>,
    },
    /// A page that was recognised before, as it was kept.
    AskPage {
        sha256: String,
        page: u32,
        answer: mpsc::SyncSender<Option<String>>,
    },
    /// A recognised page, to be kept.
    KeepPage {
        sha256: String,
        page: u32,
        result: String,
    },
    Pages(u32),
    Unchanged {
        name: String,
    },
    Done {
        name: String,
        sha256: String,
        bytes: u64,
        outcome: std::result::Result<Extracted, String>,
    },
}

fn work(file: &Path, options: &IngestOptions, recogniser: Option<&dyn Recogniser>, send: &mpsc::SyncSender<Message>) -> Message {
    let name = name_of(file);
    let failed = |sha256: String, bytes: u64, reason: String| Message::Done { name: name.clone(), sha256, bytes, outcome: Err(reason) };
    let bytes = match load(file) {
        Ok(bytes) => bytes,
        Err(reason) => return failed(String::new(), 0, reason),
    };
    let (size, sha256) = (bytes.len() as u64, hash(&bytes));
    if !options.again {
        let (answer, answered) = mpsc::sync_channel(1);
        let asked = send.send(Message::Ask { name: name.clone(), sha256: sha256.clone(), answer });
        if asked.is_ok() && answered.recv().unwrap_or(false) {
            return Message::Unchanged { name };
        }
    }
    let sender = std::sync::Mutex::new(send.clone());
    let page_done = |n: u32| {
        if let Ok(sender) = sender.lock() {
            let _ = sender.try_send(Message::Pages(n));
        }
    };
    let keeping =
        recogniser.map(|inner| Keeping { inner, sha256: sha256.clone(), again: options.again, send: std::sync::Mutex::new(send.clone()) });
    let recogniser = keeping.as_ref().map(|k| k as &dyn Recogniser);
    match read(file, bytes, &options.read, recogniser, &page_done) {
        Ok(extracted) => Message::Done { name, sha256, bytes: size, outcome: Ok(extracted) },
        Err(DocumentError::Unreadable { reason, .. }) => failed(sha256, size, reason),
        Err(e) => failed(sha256, size, e.to_string()),
    }
}

/// A recogniser whose pages are kept in the store as they are done: the work of seconds each, which a kill must not lose.
struct Keeping<'r> {
    inner: &'r dyn Recogniser,
    sha256: String,
    again: bool,
    send: std::sync::Mutex<mpsc::SyncSender<Message>>,
}

impl Keeping<'_> {
    fn tell(&self, message: Message) -> Option<()> {
        let send = self.send.lock().ok()?.clone();
        send.send(message).ok()
    }
}

impl Recogniser for Keeping<'_> {
    fn recognise(&self, reader: &dyn PagedReader, page: usize, size: (f32, f32), hint: &str) -> std::result::Result<Recognised, String> {
        let number = page as u32 + 1;
        if !self.again {
            let (answer, answered) = mpsc::sync_channel(1);
            let asked = self.tell(Message::AskPage { sha256: self.sha256.clone(), page: number, answer });
            let kept = asked.and_then(|()| answered.recv().ok().flatten());
            if let Some(result) = kept.and_then(|text| serde_json::from_str(&text).ok()) {
                return Ok(result);
            }
        }
        let result = self.inner.recognise(reader, page, size, hint)?;
        let text = serde_json::to_string(&result).unwrap_or_default();
        self.tell(Message::KeepPage { sha256: self.sha256.clone(), page: number, result: text });
        Ok(result)
    }

    fn settings(&self) -> String {
        self.inner.settings()
    }
}

/// Reads one file, whatever it is.
///
/// # Errors
/// Why it cannot be read.
pub fn read(
    path: &Path,
    bytes: Vec<u8>,
    options: &ReadOptions,
    recogniser: Option<&dyn Recogniser>,
    page_done: &(dyn Fn(u32) + Sync),
) -> Result<Extracted> {
    let unreadable = |reason: &str| DocumentError::Unreadable { path: path.to_path_buf(), reason: reason.into() };
    if bytes.is_empty() {
        return Err(unreadable("the file is empty"));
    }
    if let Some(reason) = import::unread::refused(path, &bytes) {
        return Err(unreadable(&reason));
    }
    let format = Format::detect(path, &bytes).ok_or_else(|| unreadable("not a kind of file that this program reads; save it as PDF"))?;
    match format {
        Format::Pdf => import::pdf::read(path, bytes, options, recogniser, page_done),
        Format::Docx | Format::Xlsx => import::read_office(format, path, &bytes),
        Format::Picture => import::pdf::read_picture(path, bytes, recogniser, page_done),
        Format::Html | Format::Markdown | Format::Text => import::read_text_like(format, path, &bytes, options),
    }
}

fn serve(
    store: &mut Store,
    receive: &mpsc::Receiver<Message>,
    settings: &str,
    report: &mut IngestReport,
    each: &mut dyn FnMut(IngestEvent),
    look: &dyn Fn(),
) -> Result<()> {
    loop {
        look();
        let message = match receive.recv_timeout(std::time::Duration::from_millis(100)) {
            Ok(message) => message,
            Err(mpsc::RecvTimeoutError::Timeout) => continue,
            Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
        };
        match message {
            Message::Ask { name, sha256, answer } => {
                // One that does not wait any more is gone with everything else.
                let _ = answer.send(store.has(&name, &sha256, settings)?);
            }
            Message::AskPage { sha256, page, answer } => {
                let _ = answer.send(store.recognised(&sha256, page, settings)?);
            }
            Message::KeepPage { sha256, page, result } => store.put_recognised(&sha256, page, settings, &result)?,
            Message::Pages(n) => each(IngestEvent::Pages(n)),
            Message::Unchanged { name } => {
                let file = store.find(&name)?;
                let failures = store.failures(&file)?;
                report.unchanged += 1;
                report.files += 1;
                report.pages += file.pages as usize;
                report.ocr_pages += file.ocr_pages as usize;
                report.empty_pages += file.empty_pages as usize;
                report.failed.extend(failures.into_iter().map(|f| Failed { file: name.clone(), page: f.page, reason: f.reason }));
                each(IngestEvent::File { name, encoding: file.encoding, notes: Vec::new(), unchanged: true });
            }
            Message::Done { name, sha256, bytes, outcome } => {
                let new = NewFile { name: &name, sha256: &sha256, bytes, settings, outcome: outcome.as_ref().map_err(String::as_str) };
                store.put(&new)?;
                let (encoding, notes) = match outcome {
                    Ok(extracted) => {
                        count(report, &name, &extracted);
                        (extracted.encoding, extracted.notes)
                    }
                    Err(reason) => {
                        report.failed.push(Failed { file: name.clone(), page: None, reason });
                        (None, Vec::new())
                    }
                };
                each(IngestEvent::File { name, encoding, notes, unchanged: false });
            }
        }
    }
}

fn count(report: &mut IngestReport, name: &str, extracted: &Extracted) {
    report.files += 1;
    report.pages += extracted.pages.len();
    for page in &extracted.pages {
        match page.source {
            PageSource::Ocr => report.ocr_pages += 1,
            PageSource::Empty => report.empty_pages += 1,
            PageSource::Failed => {
                let reason = page.reason.clone().unwrap_or_default();
                report.failed.push(Failed { file: name.into(), page: Some(page.number), reason });
            }
            PageSource::Text => {}
        }
    }
    report.failed.extend(extracted.failures.iter().map(|f| Failed { file: name.into(), page: f.page, reason: f.reason.clone() }));
}

/// What was read with other settings is read again.
fn settings(options: &IngestOptions, recogniser: Option<&dyn Recogniser>) -> String {
    let encoding = options.read.encoding.as_deref().unwrap_or("auto");
    let ocr = recogniser.map_or("none".to_owned(), Recogniser::settings);
    format!("reader {READER_VERSION}; encoding {encoding}; ocr {ocr}")
}

/// What lies under the given paths.
#[derive(Default)]
struct Found {
    /// Files to read, sorted, each once.
    files: BTreeSet<PathBuf>,
    /// Files of directories that are of no known kind, or no files (pipes, devices).
    passed_over: Vec<PassedOver>,
    /// Directories that cannot be looked into.
    unreadable: Vec<Failed>,
}

/// Whether the given paths are there: asked before a store is made for them.
///
/// # Errors
/// The first that is not, or that is neither a file nor a directory.
pub fn check_paths(paths: &[PathBuf]) -> Result<()> {
    for path in paths {
        let kind = std::fs::metadata(path).map_err(|e| DocumentError::io(path, "read", e))?;
        if !kind.is_dir() && !kind.is_file() {
            return Err(DocumentError::Unreadable { path: path.clone(), reason: "is neither a file nor a directory".into() });
        }
    }
    Ok(())
}

/// Files of the store under the given directories that are no longer on the disk.
fn gone(store: &Store, paths: &[PathBuf], files: &BTreeSet<PathBuf>, passed_over: &[PassedOver]) -> Result<Vec<String>> {
    let directories: Vec<(String, bool)> =
        paths.iter().filter(|p| p.is_dir()).map(|p| (name_of(p).trim_end_matches('/').to_owned(), p.is_absolute())).collect();
    if directories.is_empty() {
        return Ok(Vec::new());
    }
    let under = |name: &str| {
        directories.iter().any(|(directory, absolute)| match directory.as_str() {
            // `.`, and `/`.
            "" | "." => Path::new(name).is_absolute() == *absolute && !name.starts_with("../"),
            directory => name.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/')),
        })
    };
    let there: BTreeSet<String> = files.iter().map(|f| name_of(f)).chain(passed_over.iter().map(|p| p.file.clone())).collect();
    let missing = |name: &str| std::fs::symlink_metadata(name).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound);
    let names = store.names()?.into_iter();
    Ok(names.filter(|name| under(name) && !there.contains(name) && missing(name)).collect())
}

/// `store`: the store's own directory, whose databases are not worth a word.
fn collect(paths: &[PathBuf], store: &Path) -> Result<Found> {
    let store = std::fs::canonicalize(store).ok();
    let own = |file: &Path| {
        let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        [crate::store::FILE, "labels.db"].iter().any(|database| name.starts_with(database))
            && store.is_some()
            && file.parent().and_then(|p| std::fs::canonicalize(p).ok()) == store
    };
    check_paths(paths)?;
    let mut found = Found::default();
    let mut seen = BTreeSet::new();
    for path in paths {
        if !path.is_dir() {
            found.files.insert(path.clone());
            continue;
        }
        let mut directories = vec![path.clone()];
        while let Some(directory) = directories.pop() {
            // A link that leads back to a directory above must not lead round for ever.
            let entries = std::fs::canonicalize(&directory)
                .and_then(|real| if seen.insert(real) { std::fs::read_dir(&directory).map(Some) } else { Ok(None) });
            let entries = match entries {
                Ok(Some(entries)) => entries,
                Ok(None) => continue,
                Err(e) => {
                    found.unreadable.push(Failed { file: name_of(&directory), page: None, reason: format!("cannot be looked into: {e}") });
                    continue;
                }
            };
            for entry in entries.flatten().map(|e| e.path()) {
                let hidden = entry.file_name().is_some_and(|n| n.to_string_lossy().starts_with(['.', '~']));
                if hidden {
                    continue;
                }
                // A pipe would be waited for; a dangling link is named when it is read.
                let odd = std::fs::metadata(&entry).is_ok_and(|m| !m.is_file() && !m.is_dir());
                if entry.is_dir() {
                    directories.push(entry);
                } else if Format::from_name(&entry).is_some() && !odd {
                    found.files.insert(entry);
                } else if !own(&entry) {
                    let reason = if odd { "no file: a pipe, a socket or a device" } else { import::unread::passed_over(&entry) };
                    found.passed_over.push(PassedOver { file: name_of(&entry), reason: reason.into() });
                }
            }
        }
    }
    // One that was given by itself is read.
    let given: BTreeSet<String> = found.files.iter().map(|f| name_of(f)).collect();
    found.passed_over.retain(|p| !given.contains(&p.file));
    found.passed_over.sort();
    Ok(found)
}

/// The name in the store: the path as it was given, with forward slashes, without `./`; bytes that are no text and control characters are
/// written as `\xFF`, so that no two files share a name and every name fits a line.
fn name_of(path: &Path) -> String {
    let mut name = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' if cfg!(windows) => name.push('/'),
                c if c.is_control() => name.extend(c.to_string().bytes().map(|b| format!("\\x{b:02X}"))),
                c => name.push(c),
            }
        }
        name.extend(chunk.invalid().iter().map(|b| format!("\\x{b:02X}")));
    }
    name.strip_prefix("./").map(str::to_owned).unwrap_or(name)
}

fn load(path: &Path) -> std::result::Result<Vec<u8>, String> {
    let size = std::fs::metadata(path).map_err(|e| format!("cannot read: {e}"))?.len();
    if size > MAX_FILE_BYTES {
        return Err(format!("it has {} MB; files above {} MB are not read", size >> 20, MAX_FILE_BYTES >> 20));
    }
    std::fs::read(path).map_err(|e| format!("cannot read: {e}"))
}

/// SHA-256 in hexadecimal.
pub fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ingest(store: &mut Store, dir: &Path) -> IngestReport {
        let options = IngestOptions { paths: vec![dir.to_path_buf()], ..IngestOptions::default() };
        run(store, &options, None, &mut |_| {}, &|| false).unwrap()
    }

    #[test]
    fn a_folder_is_ingested_and_only_changes_are_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let docs = dir.path().join("docs/sub");
        std::fs::create_dir_all(&docs).unwrap();
        std::fs::write(docs.join("a.txt"), "甲方\n\n乙方").unwrap();
        std::fs::write(docs.join("b.md"), "# T\n\ntext").unwrap();
        std::fs::write(docs.join("c.pdf"), "no pdf").unwrap();
        std::fs::write(docs.join("d.txt"), "").unwrap();
        std::fs::write(docs.join("e.exe"), "MZ").unwrap();
        std::fs::write(docs.join("f.txt"), "   ").unwrap();
        let mut store = Store::create(&dir.path().join("store")).unwrap();
        let first = ingest(&mut store, &dir.path().join("docs"));
        assert_eq!((first.files, first.pages, first.empty_pages, first.unchanged, first.passed_over.len()), (3, 3, 1, 0, 1));
        let failed: Vec<(&str, bool)> = first.failed.iter().map(|f| (f.file.rsplit('/').next().unwrap(), f.page.is_none())).collect();
        assert_eq!(failed, [("c.pdf", true), ("d.txt", true)]);

        std::fs::write(docs.join("a.txt"), "changed").unwrap();
        let second = ingest(&mut store, &dir.path().join("docs"));
        assert_eq!((second.files, second.unchanged), (3, 2));
        let file = store.find("sub/a.txt").unwrap();
        assert_eq!(store.blocks(&file).unwrap()[0].text, "changed");
        assert_eq!(IngestReport { unchanged: 0, ..first }.failed, second.failed);
    }

    #[cfg(unix)]
    #[test]
    fn pipes_are_passed_over_and_odd_names_stay_apart() {
        use std::os::unix::ffi::OsStrExt;
        let dir = tempfile::tempdir().unwrap();
        let docs = dir.path().join("docs");
        std::fs::create_dir(&docs).unwrap();
        for name in [&b"a\xFF.txt"[..], b"a\xFE.txt", b"two\nlines.txt", "合 同.txt".as_bytes()] {
            std::fs::write(docs.join(std::ffi::OsStr::from_bytes(name)), "text").unwrap();
        }
        std::os::unix::fs::symlink("..", docs.join("up")).unwrap();
        // A socket stands for all that is no file: nothing of it can be read, and opening a pipe would wait for ever.
        let _socket = std::os::unix::net::UnixListener::bind(docs.join("s.txt")).unwrap();
        let mut store = Store::create(&dir.path().join("store")).unwrap();
        let report = ingest(&mut store, &docs);
        assert_eq!((report.files, report.failed.len()), (4, 0), "{report:?}");
        let socket: Vec<&PassedOver> = report.passed_over.iter().filter(|p| p.file.ends_with("s.txt")).collect();
        assert!(!socket.is_empty() && socket[0].reason.contains("socket"), "{:?}", report.passed_over);
        let names: Vec<String> = store.files().unwrap().into_iter().map(|f| f.name.rsplit('/').next().unwrap().to_owned()).collect();
        assert_eq!(names, ["a\\xFE.txt", "a\\xFF.txt", "two\\x0Alines.txt", "合 同.txt"]);
        let error = run(&mut store, &IngestOptions { paths: vec![docs.join("s.txt")], ..Default::default() }, None, &mut |_| {}, &|| false);
        assert!(error.unwrap_err().to_string().contains("neither a file"));
    }

    #[test]
    fn what_is_passed_over_or_gone_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let docs = dir.path().join("docs");
        std::fs::create_dir_all(docs.join("sub")).unwrap();
        for name in ["a.txt", "sub/合同.txt", "old.doc", "f.rtf", "g.csv", "noext", "given"] {
            std::fs::write(docs.join(name), "text").unwrap();
        }
        std::fs::write(dir.path().join("docs2.txt"), "beside").unwrap();
        // The store lies in the folder itself: its own files are no news.
        let mut store = Store::create(&docs).unwrap();
        let path = |name: &str| docs.join(name);
        let short = |names: &[String]| names.iter().map(|n| n.split("docs/").nth(1).unwrap().to_owned()).collect::<Vec<_>>();
        let options = |paths: Vec<PathBuf>| IngestOptions { paths, ..IngestOptions::default() };
        let quiet = |store: &mut Store, paths| run(store, &options(paths), None, &mut |_| {}, &|| false).unwrap();
        // A file without an ending, and one beside the folder, given by themselves.
        let report = quiet(&mut store, vec![path("given"), dir.path().join("docs2.txt"), docs.clone()]);
        let names: Vec<String> = report.passed_over.iter().map(|p| p.file.clone()).collect();
        assert_eq!((report.files, short(&names)), (4, ["f.rtf", "g.csv", "noext", "old.doc"].map(str::to_owned).to_vec()));
        assert!(report.passed_over[3].reason.contains(".docx") && report.gone.is_empty());

        for name in ["sub/合同.txt", "given"] {
            std::fs::remove_file(path(name)).unwrap();
        }
        std::fs::remove_file(dir.path().join("docs2.txt")).unwrap();
        let report = quiet(&mut store, vec![docs.clone()]);
        assert_eq!((report.files, short(&report.gone)), (1, vec!["given".to_owned(), "sub/合同.txt".into()]));
        assert!(store.find("sub/合同.txt").is_ok(), "nothing is removed by itself");
        assert!(quiet(&mut store, vec![path("a.txt")]).gone.is_empty());
    }

    #[test]
    fn rich_text_is_refused_and_what_is_odd_is_noted() {
        for name in ["f.rtf", "f.txt", "f"] {
            let error = read(Path::new(name), b"{\\rtf1 hi}".to_vec(), &ReadOptions::default(), None, &|_| {}).unwrap_err().to_string();
            assert!(error.contains("RTF") && error.contains(".docx"), "{error}");
        }
        let csv = read(Path::new("g.csv"), b"a,b\n1,2\n".to_vec(), &ReadOptions::default(), None, &|_| {}).unwrap();
        assert!(csv.notes[0].contains("plain text"), "{:?}", csv.notes);
        let noted = read(
            Path::new("a.md"),
            "---\ntitle: 合同\n---\n第一条 租金\u{3002}\n第二条".as_bytes()[..44].to_vec(),
            &ReadOptions::default(),
            None,
            &|_| {},
        );
        let noted = noted.unwrap();
        assert_eq!((noted.blocks.len(), noted.encoding.as_deref()), (1, Some("UTF-8")));
        assert!(noted.notes[0].contains("1 line of metadata") && noted.notes[1].contains("1 character"), "{:?}", noted.notes);
    }

    #[test]
    fn a_stop_is_heard_and_missing_paths_are_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.txt"), "a").unwrap();
        let mut store = Store::create(&dir.path().join("store")).unwrap();
        let options = |path: &str| IngestOptions { paths: vec![dir.path().join(path)], ..IngestOptions::default() };
        assert!(matches!(run(&mut store, &options("a.txt"), None, &mut |_| {}, &|| true), Err(DocumentError::Stopped)));
        let error = run(&mut store, &options("none"), None, &mut |_| {}, &|| false).unwrap_err();
        assert!(error.is_user_input() && error.to_string().contains("none"));
    }
}
