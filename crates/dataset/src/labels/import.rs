//! Files of labels to documents, one by one; the spans of the whole file are surveyed before any is used.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::check::{Counting, Survey, Verdict, settle};
use super::conll::{Block, Scheme};
use super::prodigy::Tasks;
use super::{Author, scalar};
use super::{
    AuthorKind, Document, Format, Label, Losses, Native, Statement, brat, conll, csv, doccano, jsonl, label_studio, labelbox, prodigy,
};
use crate::error::{BadRow, Error};
use crate::import::{Row, RowError, Rows, open_verbatim};
use crate::settings::{FileFormat, SourceEntry};

/// What a user may say about a file.
#[derive(Debug, Clone, Default)]
pub struct ReadOptions {
    /// Key or column of the text, where it is not the format's own.
    pub text: Option<String>,
    /// Key or column of the label.
    pub label: Option<String>,
    /// Key or column of the row's id.
    pub id: Option<String>,
    /// Who labelled, where the file does not say.
    pub author: Option<String>,
    /// What that author is.
    pub author_kind: AuthorKind,
    /// What texts in a list of labels are.
    pub labels_are: LabelsAre,
    /// Between several labels in a table's cell.
    pub separator: Option<String>,
    /// Scheme of CoNLL tags; told from the file if not given.
    pub scheme: Option<Scheme>,
    /// Character encoding, where the file does not show it.
    pub encoding: Option<String>,
    /// Between the columns of a table; told from the header if not given.
    pub delimiter: Option<char>,
}

impl ReadOptions {
    /// What the file's author said.
    pub(super) fn statement(&self, labels: Vec<Label>) -> Statement {
        let author = Author { kind: self.author_kind, name: self.author.clone().unwrap_or_default() };
        Statement { author, labels, ..Statement::default() }
    }
}

/// What texts in a list of labels are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LabelsAre {
    /// Classes.
    #[default]
    Classes,
    /// Free texts: translations, summaries, answers.
    Texts,
}

/// Names for rows, each given once.
#[derive(Debug, Default)]
pub struct Keys(HashMap<String, usize>);

impl Keys {
    /// The row's id, or its line; what is there a second time gets a number.
    pub fn key(&mut self, id: Option<&Value>, line: usize) -> String {
        let Some(id) = id.and_then(scalar).filter(|id| !id.trim().is_empty()) else { return format!(":{line}") };
        let n = self.0.entry(id.clone()).or_default();
        *n += 1;
        match *n {
            1 => id,
            n => format!("{id}#{n}"),
        }
    }
}

/// A file of labels whose spans were surveyed.
#[derive(Debug)]
pub struct Import {
    format: Format,
    path: PathBuf,
    options: ReadOptions,
    verdict: Verdict,
    /// brat keeps a file of spans for each document: where the directory does not agree on one way of counting, these are its files'.
    own: BTreeSet<Counting>,
}

/// Opens a file (of brat: a directory) and surveys its spans.
///
/// # Errors
/// If it cannot be read at all. Rows that cannot be used are told by [`Import::documents`].
pub fn open(format: Format, path: &Path, options: &ReadOptions) -> Result<Import, Error> {
    let mut import = Import { format, path: path.to_owned(), options: options.clone(), verdict: Verdict::AsIs, own: BTreeSet::new() };
    let mut survey = Survey::default();
    let mut rows = import.raw()?;
    let mut losses = Losses::default();
    while let Some(row) = rows.next(&mut losses) {
        match row {
            Ok(document) => {
                survey.add(&document);
                if let (Format::Brat, Verdict::Recount(counting)) = (format, alone(&document)) {
                    import.own.insert(counting);
                }
            }
            Err(RowError::Bad(_)) => {}
            Err(RowError::File(error)) => return Err(error),
        }
    }
    import.verdict = survey.verdict();
    if import.verdict != Verdict::AsIs {
        import.own.clear();
    }
    Ok(import)
}

/// What a document's spans say by themselves.
fn alone(document: &Document) -> Verdict {
    let mut survey = Survey::default();
    survey.add(document);
    survey.verdict()
}

impl Import {
    /// How the file's offsets were counted, if it was not as we do and all spans agree on it; of brat, where only the spans of each file
    /// do, all the ways.
    pub fn repair(&self) -> Option<String> {
        match self.verdict {
            // Labelbox names the last character: that is its way.
            Verdict::Recount(Counting::INCLUSIVE) if self.format == Format::Labelbox => None,
            Verdict::Recount(counting) => Some(counting.to_string()),
            Verdict::AsIs if self.own.is_empty() => None,
            Verdict::AsIs => Some(self.own.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
        }
    }

    /// The name under which its documents are known if the user gives none: the file's, without its directory.
    pub fn name(&self) -> String {
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        path.file_name().map_or_else(|| "labels".to_owned(), |name| name.to_string_lossy().into_owned())
    }

    /// The documents, spans in code points.
    ///
    /// # Errors
    /// If the file cannot be opened again.
    pub fn documents(&self) -> Result<Documents, Error> {
        let counts = self.repair().is_some();
        Ok(Documents {
            rows: self.raw()?,
            verdict: self.verdict,
            each: !self.own.is_empty(),
            counts,
            repaired: 0,
            losses: Losses::default(),
        })
    }

    fn raw(&self) -> Result<Box<dyn RawRows>, Error> {
        let options = self.options.clone();
        let extension = self.path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
        let keys = Keys::default();
        Ok(match self.format {
            Format::Brat => Box::new(BratFiles::new(&self.path, options)?),
            Format::Conll => {
                let text = read_text(&self.path, options.encoding.as_deref())?;
                let file = file_name(&self.path);
                let blocks = conll::blocks(&text, &file);
                let scheme = options.scheme.unwrap_or_else(|| conll::detect(blocks.iter().filter_map(|b| b.as_ref().ok())));
                Box::new(ConllBlocks { blocks: blocks.into_iter(), scheme, options, keys })
            }
            Format::LabelStudio => Box::new(StudioTasks { rows: label_studio_rows(&self.path, &options)?.into_iter(), options, keys }),
            Format::Doccano if extension == "txt" => {
                let text = read_text(&self.path, options.encoding.as_deref())?;
                let lines = text.lines().map(str::to_owned).collect::<Vec<_>>().into_iter().enumerate();
                Box::new(Lines { lines, options, keys })
            }
            Format::Csv | Format::Doccano | Format::Jsonl | Format::Labelbox | Format::Prodigy => {
                let table = self.format == Format::Csv || matches!(extension.as_str(), "csv" | "tsv");
                let format = match extension.as_str() {
                    "tsv" if table => FileFormat::Tsv,
                    _ if table => FileFormat::Csv,
                    "json" => FileFormat::Json,
                    _ => FileFormat::Jsonl,
                };
                let entry = SourceEntry {
                    format: Some(format),
                    encoding: options.encoding.clone(),
                    delimiter: options.delimiter,
                    ..SourceEntry::default()
                };
                let rows = open_verbatim(&self.path, &entry, options.text.as_deref().unwrap_or("text"))?;
                Box::new(Streamed { rows, format: self.format, table, options, keys, tasks: Tasks::default() })
            }
        })
    }
}

/// Documents of a file, one by one.
pub struct Documents {
    rows: Box<dyn RawRows>,
    verdict: Verdict,
    /// Each document is judged by itself.
    each: bool,
    counts: bool,
    /// How many spans were recounted so far.
    pub repaired: usize,
    /// What could not be used so far.
    pub losses: Losses,
}

impl std::fmt::Debug for Documents {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Documents").field("verdict", &self.verdict).field("repaired", &self.repaired).finish_non_exhaustive()
    }
}

impl Iterator for Documents {
    type Item = Result<Document, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut row = self.rows.next(&mut self.losses)?;
        if let Ok(document) = &mut row {
            let verdict = if self.each { alone(document) } else { self.verdict };
            let recounted = settle(document, verdict, &mut self.losses);
            self.repaired += if self.counts { recounted } else { 0 };
        }
        Some(row)
    }
}

/// Rows before their spans are settled.
trait RawRows {
    fn next(&mut self, losses: &mut Losses) -> Option<Result<Document, RowError>>;
}

/// Formats of one row a line.
struct Streamed {
    rows: Rows,
    format: Format,
    table: bool,
    options: ReadOptions,
    keys: Keys,
    tasks: Tasks,
}

impl RawRows for Streamed {
    fn next(&mut self, losses: &mut Losses) -> Option<Result<Document, RowError>> {
        let row = match self.rows.next()? {
            Ok(row) => row,
            Err(error) => return Some(Err(error)),
        };
        let (options, keys) = (&self.options, &mut self.keys);
        let document = match self.format {
            Format::Csv => csv::read(row, options, keys),
            Format::Doccano => doccano::read(row, options, keys, self.table),
            Format::Labelbox => labelbox::read(row, options, keys, losses),
            Format::Prodigy => prodigy::read(row, options, keys, &mut self.tasks),
            _ => jsonl::read(row, options, keys),
        };
        Some(document.map_err(RowError::Bad))
    }
}

struct Lines {
    lines: std::iter::Enumerate<std::vec::IntoIter<String>>,
    options: ReadOptions,
    keys: Keys,
}

impl RawRows for Lines {
    fn next(&mut self, _: &mut Losses) -> Option<Result<Document, RowError>> {
        loop {
            let (i, line) = self.lines.next()?;
            if let Some(document) = doccano::read_line(&line, i + 1, &self.options, &mut self.keys) {
                return Some(Ok(document));
            }
        }
    }
}

/// Label Studio's tasks.
struct StudioTasks {
    rows: std::vec::IntoIter<Result<Row, BadRow>>,
    options: ReadOptions,
    keys: Keys,
}

impl RawRows for StudioTasks {
    fn next(&mut self, losses: &mut Losses) -> Option<Result<Document, RowError>> {
        let document = self.rows.next()?.and_then(|row| label_studio::read(row, &self.options, &mut self.keys, losses));
        Some(document.map_err(RowError::Bad))
    }
}

struct ConllBlocks {
    blocks: std::vec::IntoIter<Result<Block, BadRow>>,
    scheme: Scheme,
    options: ReadOptions,
    keys: Keys,
}

impl RawRows for ConllBlocks {
    fn next(&mut self, losses: &mut Losses) -> Option<Result<Document, RowError>> {
        Some(match self.blocks.next()? {
            Ok(block) => Ok(conll::document(block, self.scheme, &self.options, &mut self.keys, losses)),
            Err(bad) => Err(RowError::Bad(bad)),
        })
    }
}

/// A brat collection: pairs of files, by their paths below the directory.
struct BratFiles {
    root: PathBuf,
    names: std::vec::IntoIter<String>,
    others: usize,
    /// Files of the BioNLP shared tasks.
    split: usize,
    options: ReadOptions,
}

impl BratFiles {
    fn new(path: &Path, options: ReadOptions) -> Result<Self, Error> {
        let meta = fs::metadata(path).map_err(|e| Error::io(path, e))?;
        let (root, mut files) = if meta.is_dir() {
            let mut files = Vec::new();
            walk(path, &mut files)?;
            (path.to_owned(), files)
        } else {
            (path.parent().unwrap_or(Path::new("")).to_owned(), vec![path.to_owned()])
        };
        files.sort();
        let (mut others, mut split) = (0, 0);
        let mut names: Vec<String> = Vec::new();
        for file in files {
            let known = file.extension().is_some_and(|e| e == "ann" || e == "txt");
            let Ok(relative) = file.strip_prefix(&root) else { continue };
            if known {
                let parts: Vec<String> = relative.with_extension("").iter().map(|p| p.to_string_lossy().into_owned()).collect();
                names.push(parts.join("/"));
            } else if file.extension().is_some_and(|e| e == "a1" || e == "a2") {
                split += 1;
            } else {
                others += 1;
            }
        }
        names.sort();
        names.dedup();
        if names.is_empty() {
            return Err(Error::file(path, 1, "there is no .txt with an .ann beside it here: this is no brat collection"));
        }
        Ok(BratFiles { root, names: names.into_iter(), others, split, options })
    }

    fn read(&self, name: &str, losses: &mut Losses) -> Result<Document, BadRow> {
        let bad = |extension: &str, reason: String| BadRow { file: format!("{name}.{extension}"), line: 1, field: String::new(), reason };
        let load = |extension: &str| -> Result<Option<String>, BadRow> {
            // Not `with_extension`: a name may have dots of its own.
            let path = self.root.join(format!("{name}.{extension}"));
            match fs::read(&path) {
                Ok(bytes) => String::from_utf8(bytes).map(Some).map_err(|e| bad(extension, format!("not UTF-8: {}", e.utf8_error()))),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(e) => Err(bad(extension, e.to_string())),
            }
        };
        let text = load("txt")?.ok_or_else(|| bad("ann", "there is no .txt beside it".into()))?;
        let mut statements = Vec::new();
        if let Some(ann) = load("ann")? {
            let parsed = brat::parse(&ann);
            if let Some((line, reason)) = parsed.odd.first() {
                let reason = format!("not understood, kept as they are (first: {name}.ann:{line}: {reason})");
                losses.add("lines", parsed.odd.len(), reason);
            }
            statements.push(brat::statement(&ann, &parsed, self.options.statement(Vec::new())));
        }
        let native = Native::new(Format::Brat, Map::from_iter([("path".to_owned(), name.into())]));
        Ok(Document { row: name.to_owned(), text, native, statements, ..Document::default() })
    }
}

impl RawRows for BratFiles {
    fn next(&mut self, losses: &mut Losses) -> Option<Result<Document, RowError>> {
        losses.add("files", std::mem::take(&mut self.others), "neither .txt nor .ann (settings of brat are not read)");
        let split = "BioNLP shared task: entities in .a1, events in .a2; `cat X.a1 X.a2 > X.ann` makes one file of both";
        losses.add("files", std::mem::take(&mut self.split), split);
        let name = self.names.next()?;
        Some(self.read(&name, losses).map_err(RowError::Bad))
    }
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    let entries = fs::read_dir(dir).map_err(|e| Error::io(dir, e))?;
    for entry in entries {
        let path = entry.map_err(|e| Error::io(dir, e))?.path();
        // Hidden files are no part of a collection, and a link to a directory may lead in circles.
        if path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.')) {
            continue;
        }
        if path.is_dir() {
            if !path.is_symlink() {
                walk(&path, files)?;
            }
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// A whole file as text.
fn read_text(path: &Path, encoding: Option<&str>) -> Result<String, Error> {
    let file = fs::File::open(path).map_err(|e| Error::io(path, e))?;
    let opened = crate::import::utf8(file, encoding).map_err(|e| Error::io(path, e))?;
    let mut bytes = Vec::new();
    let mut input = opened.map_err(|reason| Error::setting("encoding", reason))?;
    input.read_to_end(&mut bytes).map_err(|e| Error::io(path, e))?;
    String::from_utf8(bytes).map_err(|e| {
        let line = e.as_bytes()[..e.utf8_error().valid_up_to()].iter().filter(|&&b| b == b'\n').count() + 1;
        Error::file(path, line, "not UTF-8; name its encoding with --encoding")
    })
}

/// A JSON array of tasks, one task, or a task a line.
fn label_studio_rows(path: &Path, options: &ReadOptions) -> Result<Vec<Result<Row, BadRow>>, Error> {
    let text = read_text(path, options.encoding.as_deref())?;
    let file: std::sync::Arc<str> = file_name(path).into();
    let row = |value: Value, line: usize| match value {
        Value::Object(fields) => Ok(Row { fields, file: file.clone(), line }),
        _ => Err(BadRow { file: file.to_string(), line, field: String::new(), reason: "is no task".into() }),
    };
    match serde_json::from_str::<Value>(&text) {
        Ok(Value::Array(tasks)) => Ok(tasks.into_iter().enumerate().map(|(i, task)| row(task, i + 1)).collect()),
        Ok(task) => Ok(vec![row(task, 1)]),
        Err(error) => {
            let lines: Vec<(usize, &str)> = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).collect();
            let first_is_whole = lines.first().is_some_and(|(_, line)| serde_json::from_str::<Map<String, Value>>(line).is_ok());
            if !first_is_whole {
                return Err(Error::file(path, error.line().max(1), format!("not JSON: {error}")));
            }
            let parse = |(i, line): (usize, &str)| match serde_json::from_str::<Value>(line) {
                Ok(task) => row(task, i + 1),
                Err(e) => Err(BadRow { file: file.to_string(), line: i + 1, field: String::new(), reason: format!("not JSON: {e}") }),
            };
            Ok(lines.into_iter().map(parse).collect())
        }
    }
}
