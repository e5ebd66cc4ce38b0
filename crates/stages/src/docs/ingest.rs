//! `docs ingest`: files into a store.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::path::PathBuf;

use documents::ocr::Tesseract;
use documents::{IngestEvent, IngestOptions, Store};
use serde::Serialize;

use crate::error::{Result, StageError};
use crate::human::{count, plural};
use crate::progress::{Progress, Unit};

/// What to ingest.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// Files and directories.
    pub paths: Vec<PathBuf>,
    /// The store's directory; made if there is none.
    pub store: PathBuf,
    /// The encoding of text files, where the user knows better.
    pub encoding: Option<String>,
    /// Passwords of encrypted files.
    pub passwords: Vec<String>,
    /// Whether pages that are pictures are recognised.
    pub ocr: bool,
    /// The recogniser's language, where the user knows better (`chi_sim`, `eng`).
    pub ocr_language: Option<String>,
    /// Read again what has not changed.
    pub again: bool,
}

/// Files passed over, or gone, that a person is shown.
const SHOWN: usize = 10;

/// What became of the files.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Report(pub documents::IngestReport);

/// Reads the files into the store. Files that cannot be read are in the report; only if no file at all could be read is
/// [`Report::verdict`] an error.
///
/// # Errors
/// A path that does not exist, a store that cannot be written, a stop.
pub fn run(job: &Job, progress: &mut dyn Progress) -> Result<Report> {
    documents::ingest::check_paths(&job.paths)?;
    let mut store = Store::create(&job.store)?;
    let options = IngestOptions {
        paths: job.paths.clone(),
        read: documents::import::ReadOptions { encoding: job.encoding.clone(), passwords: job.passwords.clone() },
        again: job.again,
    };
    let tesseract = Tesseract::new(job.ocr_language.clone());
    let recogniser = job.ocr.then_some(&tesseract as &dyn documents::import::pdf::Recogniser);
    let progress = RefCell::new(progress);
    let report = documents::ingest::run(
        &mut store,
        &options,
        recogniser,
        &mut |event| {
            let mut progress = progress.borrow_mut();
            match event {
                IngestEvent::Found(files) => progress.begin("documents", Some(files as u64), 0, Unit::Files),
                IngestEvent::Pages(_) => {}
                IngestEvent::File { name, encoding, notes, unchanged } => {
                    progress.advance(1);
                    if let Some(encoding) = encoding.filter(|e| e != "UTF-8" && !unchanged) {
                        progress.note(&format!("{name}: read as {encoding}"));
                    }
                    notes.iter().for_each(|note| progress.warn(&format!("{name}: {note}")));
                }
            }
        },
        &|| progress.borrow().cancelled(),
    )?;
    let progress = progress.into_inner();
    progress.end();
    Ok(Report(report))
}

impl Report {
    /// An error where files were given and none could be read.
    ///
    /// # Errors
    /// That, with the first reason.
    pub fn verdict(&self) -> Result<()> {
        let report = &self.0;
        match report.failed.first().filter(|_| report.files == 0) {
            Some(first) => Err(StageError::input(format!("{}: {}", first.file, first.reason))),
            None if report.files == 0 => Err(StageError::input_help(
                match report.passed_over.first() {
                    Some(first) => {
                        let more = report.passed_over.len() - 1;
                        let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
                        format!("no documents were found; passed over was {}: {}{more}", first.file, first.reason)
                    }
                    None => "no documents were found".to_owned(),
                },
                "a directory is searched for the endings of known formats (pdf, docx, xlsx, html, md, txt, png, jpg, …)",
            )),
            None => Ok(()),
        }
    }

    /// As a person reads it.
    pub fn to_text(&self) -> String {
        let r = &self.0;
        let mut out = format!("{}, {}", plural(r.files, "file"), plural(r.pages, "page"));
        let mut details = Vec::new();
        for (n, what) in [(r.unchanged, "files unchanged"), (r.ocr_pages, "pages recognised"), (r.empty_pages, "pages empty")] {
            if n > 0 {
                details.push(format!("{} {what}", count(n as u64)));
            }
        }
        if !details.is_empty() {
            let _ = write!(out, " ({})", details.join(", "));
        }
        if !r.failed.is_empty() {
            let _ = write!(out, "\n\nnot read ({}):", r.failed.len());
            for f in r.failed.iter().take(50) {
                let page = f.page.map_or(String::new(), |p| format!(", page {p}"));
                let _ = write!(out, "\n  {}{page}: {}", f.file, f.reason);
            }
            if r.failed.len() > 50 {
                let _ = write!(out, "\n  and {} more; `docs list` shows all", r.failed.len() - 50);
            }
        }
        if !r.passed_over.is_empty() {
            let _ = write!(out, "\n\npassed over ({}):", r.passed_over.len());
            for p in r.passed_over.iter().take(SHOWN) {
                let _ = write!(out, "\n  {}: {}", p.file, p.reason);
            }
            if r.passed_over.len() > SHOWN {
                let _ = write!(out, "\n  and {} more; --json names all", r.passed_over.len() - SHOWN);
            }
        }
        if !r.gone.is_empty() {
            let _ = write!(out, "\n\nno longer on the disk, still in the store ({}); `docs rm` removes them:", r.gone.len());
            for name in r.gone.iter().take(SHOWN) {
                let _ = write!(out, "\n  {name}");
            }
            if r.gone.len() > SHOWN {
                let _ = write!(out, "\n  and {} more; --json names all", r.gone.len() - SHOWN);
            }
        }
        out
    }
}
