//! `docs rm`: documents out of a store, and what was made from them named.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use documents::Store;
use documents::store::FileRow;
use serde::Serialize;

use crate::error::{Result, StageError};
use crate::human::{count, plural};

/// What to remove.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// The store's directory.
    pub store: PathBuf,
    /// Names of documents.
    pub names: Vec<String>,
    /// A directory of runs to search for rows that came from them.
    pub runs: Option<PathBuf>,
    /// Only tell what would be tainted.
    pub dry_run: bool,
}

/// What was made from the documents.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Taint {
    /// The documents.
    pub removed: Vec<String>,
    /// Chunks that go with them.
    pub chunks: u64,
    /// Rows of the labels' store that were cut from them; they stay there.
    pub rows: u64,
    /// Labels that were said of these rows.
    pub labels: u64,
    /// Runs that were trained or measured on rows from them.
    pub runs: Vec<TaintedRun>,
    /// Whether nothing was removed yet.
    pub dry_run: bool,
}

/// A run with rows from removed documents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TaintedRun {
    /// Its directory.
    pub run: String,
    /// Such rows.
    pub rows: u64,
}

/// Removes documents with their chunks; tells what else holds their text.
///
/// # Errors
/// No store; no such document; a directory of runs that cannot be read.
pub fn run(job: &Job) -> Result<Taint> {
    let mut store = Store::open(&job.store)?;
    let files: Vec<FileRow> = job.names.iter().map(|n| store.find(n)).collect::<documents::Result<_>>()?;
    let runs = match &job.runs {
        Some(dir) => tainted_runs(dir, &files)?,
        None => Vec::new(),
    };
    let (rows, labels) = if job.store.join(annotate::store::FILE).exists() {
        let hashes: BTreeSet<String> = files.iter().map(|f| f.sha256.clone()).collect();
        annotate::Store::existing(&job.store)?.cut_from(&hashes.into_iter().collect::<Vec<_>>())?
    } else {
        (0, 0)
    };
    let taint = Taint {
        removed: files.iter().map(|f| f.name.clone()).collect(),
        chunks: files.iter().map(|f| u64::from(f.chunks)).sum(),
        rows,
        labels,
        runs,
        dry_run: job.dry_run,
    };
    if !job.dry_run {
        store.remove(&files)?;
    }
    Ok(taint)
}

/// Runs below a directory whose rows name one of the files' hashes.
fn tainted_runs(dir: &Path, files: &[FileRow]) -> Result<Vec<TaintedRun>> {
    let mut found: BTreeMap<PathBuf, u64> = BTreeMap::new();
    let mut directories = vec![(dir.to_path_buf(), 0)];
    while let Some((directory, depth)) = directories.pop() {
        let entries = std::fs::read_dir(&directory).map_err(|e| match depth {
            0 => StageError::input(format!("--runs {}: {e}", directory.display())),
            _ => StageError::io(&directory, "read", &e),
        })?;
        for entry in entries {
            let path = entry.map_err(|e| StageError::io(&directory, "read", &e))?.path();
            if path.is_dir() && depth < 6 {
                directories.push((path, depth + 1));
            } else if path.file_name().is_some_and(|n| n == "train.jsonl" || n == "heldout.jsonl") {
                let rows = tainted_rows(&path, files)?;
                if rows > 0 {
                    *found.entry(directory.clone()).or_default() += rows;
                }
            }
        }
    }
    Ok(found.into_iter().map(|(run, rows)| TaintedRun { run: run.display().to_string(), rows }).collect())
}

/// Lines that name one of the files' hashes; a hash is long enough to mean nothing else.
fn tainted_rows(path: &Path, files: &[FileRow]) -> Result<u64> {
    let file = std::fs::File::open(path).map_err(|e| StageError::io(path, "read", &e))?;
    let mut rows = 0;
    for line in BufReader::new(file).split(b'\n') {
        let line = line.map_err(|e| StageError::io(path, "read", &e))?;
        let text = String::from_utf8_lossy(&line);
        rows += u64::from(
            files.iter().any(|f| !f.sha256.is_empty() && (text.contains(&f.sha256) || text.contains(&format!("\"{}.", &f.sha256[..16])))),
        );
    }
    Ok(rows)
}

impl Taint {
    /// As a person reads it.
    pub fn to_text(&self) -> String {
        let verb = if self.dry_run { "would be removed" } else { "removed" };
        let mut out = format!("{verb}: {} with {} chunks", plural(self.removed.len(), "document"), count(self.chunks));
        for name in &self.removed {
            let _ = write!(out, "\n  {name}");
        }
        if self.rows > 0 {
            let (rows, labels) = (count(self.rows), count(self.labels));
            let _ = write!(out, "\n\nlabels.db holds {rows} rows of their text with {labels} labels; it keeps what was said, these too");
        }
        if !self.runs.is_empty() {
            out.push_str("\n\nruns that hold rows from them, and models that learnt from those rows:");
            for run in &self.runs {
                let _ = write!(out, "\n  {}: {} rows", run.run, count(run.rows));
            }
        }
        out
    }
}
