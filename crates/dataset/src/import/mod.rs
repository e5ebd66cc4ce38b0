//! Files to rows: JSON, JSONL, CSV, TSV, Parquet and plain text in any usual encoding.
//!
//! [`open`] streams the rows of one file; [`load`] reads all files of a source, filters, and gives every row its meaning. A row that
//! cannot be used is a [`BadRow`] and the reading goes on; a file that cannot be used is an [`Error`].

mod csv;
mod decode;
mod info;
mod json;
mod parquet;
mod plain;
mod samples;

use std::fs::File;
use std::io::{BufRead, Read};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::error::{BadRow, Error};
use crate::settings::{FileFormat, SourceEntry};
pub use info::DatasetInfo;
pub use samples::{Loaded, Samples, entry_for, load, stream};

/// One row as the file has it: columns in the file's order.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Column name to value. Everything in CSV is text.
    pub fields: Map<String, Value>,
    /// File name, without its directory.
    pub file: Arc<str>,
    /// Line on which the row starts, from 1 (row number in Parquet).
    pub line: usize,
}

impl Row {
    /// A complaint about one column of this row.
    pub fn bad(&self, field: impl Into<String>, reason: impl Into<String>) -> BadRow {
        BadRow { file: self.file.to_string(), line: self.line, field: field.into(), reason: reason.into() }
    }
}

/// Why there is no row at this place.
#[derive(Debug)]
pub enum RowError {
    /// This row cannot be used; the next may.
    Bad(BadRow),
    /// The file cannot be read any further.
    File(Error),
}

/// The rows of one file, streamed.
pub struct Rows {
    rows: Box<dyn Iterator<Item = Result<Row, RowError>> + Send>,
    format: FileFormat,
    encoding: Option<&'static str>,
    delimiter: Option<char>,
}

impl Rows {
    /// How the file is written.
    pub fn format(&self) -> FileFormat {
        self.format
    }

    /// Its character encoding; `None` for Parquet.
    pub fn encoding(&self) -> Option<&'static str> {
        self.encoding
    }

    /// Its separator, if it is a CSV or TSV file.
    pub fn delimiter(&self) -> Option<char> {
        self.delimiter
    }
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Rows").field("format", &self.format).field("encoding", &self.encoding).finish_non_exhaustive()
    }
}

impl Iterator for Rows {
    type Item = Result<Row, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rows.next()
    }
}

/// What every reader of a text format gets.
struct Opened {
    input: Box<dyn BufRead + Send>,
    path: Box<Path>,
    file: Arc<str>,
}

impl Opened {
    fn bad(&self, line: usize, reason: impl Into<String>) -> RowError {
        RowError::Bad(BadRow { file: self.file.to_string(), line, field: String::new(), reason: reason.into() })
    }

    fn io(&self, source: std::io::Error) -> RowError {
        RowError::File(Error::io(self.path.to_path_buf(), source))
    }
}

/// Opens one file. Of `entry` only what says how to read counts (`format`, `encoding`, `delimiter`, `header`, `sample_by`).
pub fn open(path: &Path, entry: &SourceEntry) -> Result<Rows, Error> {
    open_as(path, entry, false, "text")
}

/// As [`open`]; line ends within a table's cells stay what they are, since labels count characters. `text` is the key of the texts.
pub(crate) fn open_verbatim(path: &Path, entry: &SourceEntry, text: &str) -> Result<Rows, Error> {
    open_as(path, entry, true, text)
}

/// A stream of UTF-8; the inner error is a name that is no encoding.
pub(crate) fn utf8(input: File, encoding: Option<&str>) -> std::io::Result<Result<Box<dyn BufRead + Send>, String>> {
    Ok(decode::utf8(input, encoding)?.map(|(input, _)| input))
}

fn open_as(path: &Path, entry: &SourceEntry, verbatim: bool, text: &str) -> Result<Rows, Error> {
    let mut input = File::open(path).map_err(|e| Error::io(path, e))?;
    if input.metadata().map_err(|e| Error::io(path, e))?.is_dir() {
        return Err(Error::file(path, 1, "is a directory; name the file in it"));
    }
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let mut head = Vec::new();
    input.by_ref().take(512).read_to_end(&mut head).map_err(|e| Error::io(path, e))?;
    if head.starts_with(b"version https://git-lfs") {
        return Err(Error::file(path, 1, "is a Git LFS pointer and not the data: fetch it with `git lfs pull`"));
    }
    let format = match entry.format {
        Some(format) => format,
        None => format_of(&name, &head).ok_or_else(|| {
            Error::file(path, 1, "cannot tell how this file is written: name it with `format:` json, jsonl, csv, tsv, parquet or text")
        })?,
    };
    if format == FileFormat::Parquet {
        let rows = parquet::rows(path, name.as_ref().into())?;
        return Ok(Rows { rows: Box::new(rows), format, encoding: None, delimiter: None });
    }
    let start = std::io::Cursor::new(head).chain(input);
    let (input, detected) = decode::utf8(start, entry.encoding.as_deref())
        .map_err(|e| Error::io(path, e))?
        .map_err(|reason| Error::setting("encoding", reason))?;
    let opened = Opened { input, path: path.into(), file: name.as_ref().into() };
    let mut delimiter = None;
    let rows: Box<dyn Iterator<Item = _> + Send> = match format {
        FileFormat::Csv | FileFormat::Tsv => {
            let tab = (format == FileFormat::Tsv).then_some('\t');
            let (rows, separator) = csv::rows(opened, entry.delimiter.or(tab), entry.header.as_deref(), verbatim)?;
            delimiter = Some(separator);
            Box::new(rows)
        }
        FileFormat::Json => json::document(opened, &["text", text])?,
        FileFormat::Jsonl => Box::new(json::lines(opened, 0)),
        FileFormat::Text => plain::rows(opened, entry.sample_by.unwrap_or_default()),
        FileFormat::Parquet => unreachable!("returned above"),
    };
    Ok(Rows { rows, format, encoding: Some(detected.name()), delimiter })
}

/// By extension, and by the first bytes where that says nothing.
fn format_of(name: &str, head: &[u8]) -> Option<FileFormat> {
    let extension = name.rsplit_once('.').map(|(_, e)| e.to_ascii_lowercase()).unwrap_or_default();
    match extension.as_str() {
        "json" => Some(FileFormat::Json),
        "jsonl" | "ndjson" => Some(FileFormat::Jsonl),
        "csv" => Some(FileFormat::Csv),
        "tsv" | "tab" => Some(FileFormat::Tsv),
        "parquet" | "pq" => Some(FileFormat::Parquet),
        "txt" | "text" | "md" => Some(FileFormat::Text),
        _ if head.starts_with(b"PAR1") => Some(FileFormat::Parquet),
        _ => match head.trim_ascii_start().first() {
            Some(b'[' | b'{') => Some(FileFormat::Json),
            _ => None,
        },
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::path::PathBuf;

    /// Writes `bytes` under `name` in a directory that lives as long as the guard.
    pub(crate) fn file(name: &str, bytes: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        (dir, path)
    }

    /// All rows as (line, fields), and all complaints.
    pub(crate) fn read(name: &str, bytes: impl AsRef<[u8]>, entry: &SourceEntry) -> (Vec<(usize, Value)>, Vec<String>) {
        let (_dir, path) = file(name, bytes);
        let (mut rows, mut bad) = (Vec::new(), Vec::new());
        for row in open(&path, entry).unwrap() {
            match row {
                Ok(row) => rows.push((row.line, Value::Object(row.fields))),
                Err(RowError::Bad(row)) => bad.push(row.to_string()),
                Err(RowError::File(error)) => bad.push(format!("fatal: {error}")),
            }
        }
        (rows, bad)
    }

    #[test]
    fn formats_are_told_by_name_then_by_content() {
        assert_eq!(format_of("a.CSV", b""), Some(FileFormat::Csv));
        assert_eq!(format_of("a.ndjson", b""), Some(FileFormat::Jsonl));
        assert_eq!(format_of("0123abc", b"PAR1"), Some(FileFormat::Parquet));
        assert_eq!(format_of("data", b" \n[{"), Some(FileFormat::Json));
        assert_eq!(format_of("data.bin", b"\0\x01"), None);
    }

    #[test]
    fn what_is_no_data_is_said_to_be_none() {
        let (_dir, path) = file("train.csv", "version https://git-lfs.github.com/spec/v1\noid sha256:00\n");
        assert!(open(&path, &SourceEntry::default()).unwrap_err().to_string().contains("git lfs pull"));
        let missing = path.with_file_name("none.csv");
        assert!(open(&missing, &SourceEntry::default()).unwrap_err().to_string().contains("none.csv"));
        assert!(open(path.parent().unwrap(), &SourceEntry::default()).unwrap_err().to_string().contains("directory"));
    }
}
