//! Documents to files of labels. Files appear whole or not at all.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::conll::{Scheme, Shape};
use super::csv::Columns;
use super::import::ReadOptions;
use super::jsonl::Detail;
use super::{Body, Document, Format, Losses, Statement, brat, conll, count_unsayable, doccano, jsonl, label_studio, native_of, prodigy};
use crate::error::Error;

/// How to write.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// Scheme of CoNLL tags; the document's own, or IOB2, if not given.
    pub scheme: Option<Scheme>,
    /// Between several labels in a table's cell.
    pub separator: String,
    /// How much JSON lines tell.
    pub detail: Detail,
}

impl Default for WriteOptions {
    fn default() -> Self {
        WriteOptions { scheme: None, separator: "#".into(), detail: Detail::Full }
    }
}

/// Whether a format tells what each author said, or the current labels alone.
pub fn tells_all(format: Format) -> bool {
    matches!(format, Format::Jsonl | Format::LabelStudio | Format::Prodigy)
}

/// A file (of brat: a directory) that is being written.
#[derive(Debug)]
pub struct Writer {
    format: Format,
    kind: Kind,
    path: PathBuf,
    out: Option<BufWriter<File>>,
    options: WriteOptions,
    columns: Columns,
    shape: Shape,
    /// Rows that keep the order of the file that they came from.
    rows: Vec<(u64, String)>,
    names: BTreeSet<String>,
    last: Option<String>,
    written: usize,
    /// What has to stand before another document of CoNLL.
    gap: &'static str,
    /// What the format could not say.
    pub losses: Losses,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Lines,
    Table,
    FastText,
    Array,
    Directory,
    Ordered,
}

impl Writer {
    /// How the file must be read again: the columns that a table was written with.
    pub fn read_options(&self) -> ReadOptions {
        let (text, label, id) = self.columns.roles();
        let table = self.format == Format::Csv;
        ReadOptions {
            text: text.filter(|_| table),
            label: label.filter(|_| table),
            id: id.filter(|_| table),
            separator: Some(self.options.separator.clone()),
            ..ReadOptions::default()
        }
    }

    /// The key that the document written last will be known by, where the file's place says it (brat).
    pub fn last_key(&self) -> Option<&str> {
        self.last.as_deref()
    }

    /// Begins a file.
    ///
    /// # Errors
    /// If the format is read only, or the place cannot be written to.
    pub fn create(format: Format, path: &Path, options: WriteOptions) -> Result<Writer, Error> {
        let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
        let kind = match (format, extension.as_str()) {
            (Format::Labelbox, _) => return Err(Error::setting("format", "labelbox can be imported only")),
            (Format::Csv, _) | (Format::Doccano, "csv") => Kind::Table,
            (Format::Doccano, "txt") => Kind::FastText,
            (Format::LabelStudio, _) => Kind::Array,
            (Format::Brat, _) => Kind::Directory,
            (Format::Prodigy, _) => Kind::Ordered,
            _ => Kind::Lines,
        };
        let out = if kind == Kind::Directory {
            fs::create_dir_all(path).map_err(|e| Error::io(path, e))?;
            None
        } else {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(|e| Error::io(parent, e))?;
            }
            let part = part(path);
            Some(BufWriter::new(File::create(&part).map_err(|e| Error::io(&part, e))?))
        };
        let path = path.to_owned();
        let (columns, shape, rows, names, losses) = (Columns::default(), Shape::default(), Vec::new(), BTreeSet::new(), Losses::default());
        Ok(Writer { format, kind, path, out, options, columns, shape, rows, names, last: None, written: 0, gap: "", losses })
    }

    /// Whether [`Writer::see`] must be told of every document before the first is written: a table needs its columns, CoNLL one layout.
    pub fn looks_ahead(&self) -> bool {
        self.kind == Kind::Table || self.format == Format::Conll
    }

    /// Takes in what a document needs.
    pub fn see(&mut self, document: &Document, current: Option<&Statement>) {
        if self.format == Format::Conll {
            self.shape.see(document);
        } else {
            self.columns.see(document, current);
        }
    }

    /// Writes a document; `current` are the labels that count, for formats that have room for one opinion.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn write(&mut self, document: &Document, current: Option<&Statement>) -> Result<(), Error> {
        if !tells_all(self.format) {
            self.count_voices(document, current);
        }
        let losses = &mut self.losses;
        let text = match self.kind {
            Kind::Directory => return self.write_brat(document, current),
            Kind::Ordered => {
                for (place, row) in prodigy::write(document, losses) {
                    let line = serde_json::Value::Object(row).to_string();
                    // Without a place of its own a row stays behind the one before it.
                    let place = place.or(self.rows.last().map(|(place, _)| *place)).unwrap_or(0);
                    self.rows.push((place, line));
                }
                return Ok(());
            }
            Kind::Table => {
                let head = if self.written == 0 { self.columns.header() } else { String::new() };
                head + &self.columns.row(document, current, &self.options.separator, losses)
            }
            Kind::FastText => fast_text(document, current, losses),
            Kind::Array => {
                let task = label_studio::write(document, losses);
                format!("{}{task}", if self.written == 0 { "[\n" } else { ",\n" })
            }
            Kind::Lines => match self.format {
                Format::Conll => {
                    let lines = conll::write(document, current, self.options.scheme, self.shape, losses);
                    let gap = std::mem::replace(&mut self.gap, conll::gap(&lines));
                    format!("{gap}{lines}")
                }
                Format::Doccano => serde_json::Value::Object(doccano::write(document, current, losses)).to_string() + "\n",
                _ => serde_json::Value::Object(jsonl::write(document, current, self.options.detail)).to_string() + "\n",
            },
        };
        self.written += 1;
        self.put(&text)
    }

    /// What is lost where several authors become one voice.
    fn count_voices(&mut self, document: &Document, current: Option<&Statement>) {
        let format = self.format;
        let others = document.statements.iter().filter(|s| current.is_none_or(|c| c.author != s.author || c.labels != s.labels)).count();
        let reason = format!("{format} has room for the current labels, not for who said what");
        self.losses.add("statements", others.saturating_sub(usize::from(current.is_some() && document.statements.len() == others)), reason);
        if let Some(current) = current {
            let named = !current.author.name.is_empty() && format != Format::Csv;
            self.losses.add("annotators", usize::from(named), format!("{format} does not say who labelled"));
        }
        if document.native.as_ref().is_some_and(|n| n.format != format && n.format.has_own_fields()) {
            self.losses.add("fields", 1, "documents have fields that only another format understands");
        }
    }

    fn put(&mut self, text: &str) -> Result<(), Error> {
        match &mut self.out {
            Some(out) => out.write_all(text.as_bytes()).map_err(|e| Error::io(&self.path, e)),
            None => Ok(()),
        }
    }

    fn write_brat(&mut self, document: &Document, current: Option<&Statement>) -> Result<(), Error> {
        let own = native_of(&document.native, Format::Brat).is_some();
        let mut name = safe_path(&document.row, own);
        let mut n = 1;
        while !self.names.insert(name.clone()) {
            n += 1;
            name = format!("{}-{n}", safe_path(&document.row, own));
        }
        if !document.meta.is_empty() {
            self.losses.add("meta fields", document.meta.len(), "brat has texts and annotations alone");
        }
        if document.source.is_some() {
            self.losses.add("sources", 1, "brat has texts and annotations alone");
        }
        self.save(&format!("{name}.txt"), &document.text)?;
        if let Some(statement) = current {
            let ann = brat::write(&document.text, statement, &mut self.losses);
            self.save(&format!("{name}.ann"), &ann)?;
        } else if !own {
            // brat shows a text only if there is a file of annotations beside it.
            self.save(&format!("{name}.ann"), "")?;
        }
        self.last = Some(name);
        self.written += 1;
        Ok(())
    }

    fn save(&self, name: &str, text: &str) -> Result<(), Error> {
        let path = self.path.join(name);
        let write = || -> std::io::Result<()> {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            let part = part(&path);
            fs::write(&part, text)?;
            fs::rename(&part, &path)
        };
        write().map_err(|e| Error::io(&path, e))
    }

    /// Ends the file and puts it in its place.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn finish(mut self) -> Result<Losses, Error> {
        self.rows.sort_by_key(|(place, _)| *place);
        for (_, line) in std::mem::take(&mut self.rows) {
            self.put(&line)?;
            self.put("\n")?;
        }
        match (self.kind, self.written) {
            (Kind::Array, 0) => self.put("[]\n")?,
            (Kind::Array, _) => self.put("\n]\n")?,
            (Kind::Table, 0) => {
                let header = self.columns.header();
                self.put(&header)?;
            }
            _ => {}
        }
        if let Some(out) = self.out.take() {
            let part = part(&self.path);
            let done = out.into_inner().map_err(|e| e.into_error()).and_then(|file| file.sync_all());
            done.and_then(|()| fs::rename(&part, &self.path)).map_err(|e| Error::io(&self.path, e))?;
        }
        Ok(std::mem::take(&mut self.losses))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // A file that was not finished is of no use.
        if self.out.take().is_some() {
            let _ = fs::remove_file(part(&self.path));
        }
    }
}

fn part(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    path.with_file_name(name)
}

/// A row's key as a relative path that stays where it should: a brat path keeps its folders, any other key becomes one name.
fn safe_path(row: &str, own: bool) -> String {
    let clean = |part: &str| -> String {
        let part: String = part.chars().map(|c| if c.is_alphanumeric() || "._-+ ()[]".contains(c) { c } else { '_' }).collect();
        // `..` would climb, and what begins with a dot is hidden.
        if part.is_empty() || part.starts_with('.') { format!("_{}", part.trim_start_matches('.')) } else { part }
    };
    if own {
        // Names on a disk are what they are; only climbing is out of the question.
        let parts: Vec<&str> = row.split('/').filter(|p| !p.is_empty() && *p != "." && *p != "..").collect();
        if !parts.is_empty() && !row.contains('\\') {
            return parts.join("/");
        }
    }
    let name = clean(row);
    name.chars().take(120).collect()
}

fn fast_text(document: &Document, current: Option<&Statement>, losses: &mut Losses) -> String {
    let mut line = String::new();
    if let Some(statement) = current {
        count_unsayable(losses, statement, Format::Doccano, &["classes"]);
        for label in &statement.labels {
            if let Body::Class { label, .. } = &label.body {
                let word: String = label.chars().map(|c| if c.is_whitespace() { '_' } else { c }).collect();
                losses.add("white space in classes", usize::from(word != *label), "a fastText label is one word");
                line.push_str(&format!("__label__{word} "));
            }
        }
    }
    let flat = document.text.replace("\r\n", " ").replace(['\r', '\n'], " ");
    losses.add("line ends", usize::from(flat != document.text), "a fastText document is one line");
    line.push_str(&flat);
    line.push('\n');
    line
}
