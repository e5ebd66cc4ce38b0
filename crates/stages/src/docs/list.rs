//! `docs list`: what is in a store.

use std::fmt::Write as _;
use std::path::Path;

use documents::Store;
use documents::store::FileRow;
use serde::Serialize;

use crate::error::Result;
use crate::human::{bytes, count, plural};

/// The files of a store.
#[derive(Clone, Debug, Serialize)]
pub struct Listing {
    /// Files by name.
    pub files: Vec<FileRow>,
    /// Pages of all.
    pub pages: u64,
    /// Current chunks of all.
    pub chunks: u64,
    /// Pages with nothing on them, and pictures in which no text was recognised.
    pub empty: Vec<EmptyPage>,
    /// What could not be read.
    pub failed: Vec<documents::ingest::Failed>,
}

/// A page without text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EmptyPage {
    /// The file.
    pub file: String,
    /// The page, from 1.
    pub page: u32,
    /// What is on it, if it is a picture.
    pub reason: Option<String>,
}

/// Lists a store.
///
/// # Errors
/// A directory without a store.
pub fn run(store: &Path) -> Result<Listing> {
    let store = Store::open(store)?;
    let files = store.files()?;
    let mut failed = Vec::new();
    for file in files.iter().filter(|f| f.failed.is_some() || f.failed_pages > 0) {
        let failures = store.failures(file)?.into_iter();
        failed.extend(failures.map(|f| documents::ingest::Failed { file: file.name.clone(), page: f.page, reason: f.reason }));
    }
    let mut empty = Vec::new();
    for file in files.iter().filter(|f| f.empty_pages > 0) {
        let pages = store.pages(file)?.into_iter().filter(|p| p.source == documents::PageSource::Empty);
        empty.extend(pages.map(|p| EmptyPage { file: file.name.clone(), page: p.number, reason: p.reason }));
    }
    let sum = |f: fn(&FileRow) -> u32| files.iter().map(|r| u64::from(f(r))).sum();
    Ok(Listing { pages: sum(|f| f.pages), chunks: sum(|f| f.chunks), files, empty, failed })
}

impl Listing {
    /// As a person reads it.
    pub fn to_text(&self) -> String {
        let rows: Vec<Vec<String>> = self
            .files
            .iter()
            .map(|f| {
                let format = match &f.encoding {
                    Some(encoding) if encoding != "UTF-8" => format!("{} ({encoding})", f.format),
                    _ if f.failed.is_some() => "not read".to_owned(),
                    _ => f.format.clone(),
                };
                vec![
                    f.name.clone(),
                    format,
                    bytes(f.bytes),
                    count(u64::from(f.pages)),
                    count(u64::from(f.ocr_pages)),
                    count(u64::from(f.empty_pages)),
                    count(u64::from(f.failed_pages) + u64::from(f.failed.is_some())),
                    count(u64::from(f.chunks)),
                ]
            })
            .collect();
        let mut out = super::columns(&["file", "format", "size", "pages", "ocr", "empty", "failed", "chunks"], &rows);
        let _ = write!(out, "\n\n{}, {} pages, {} chunks", plural(self.files.len(), "file"), count(self.pages), count(self.chunks));
        for e in &self.empty {
            let _ = write!(out, "\n  empty: {}, page {}: {}", e.file, e.page, e.reason.as_deref().unwrap_or("nothing is on it"));
        }
        for f in &self.failed {
            let page = f.page.map_or(String::new(), |p| format!(", page {p}"));
            let _ = write!(out, "\n  not read: {}{page}: {}", f.file, f.reason);
        }
        out
    }
}
