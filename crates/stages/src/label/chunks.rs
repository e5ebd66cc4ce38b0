//! `tunesmith label import chunks --store DIR`: the chunks of the documents in the same directory as rows that wait for a label. They are
//! cut as `docs chunks` cuts them, and know their file, page and range.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use ::annotate::Store;
use ::annotate::store::FILE;
use dataset::labels::{Document, Losses};
use documents::{Chunk, export};
use serde_json::{Value, json};

use super::import::{Report, count};
use super::now;
use crate::docs::chunks::{self, Cutting};
use crate::environment::Environment;
use crate::error::Result;
use crate::human::plural;
use crate::progress::Progress;

/// Name under which chunks are known, unless the user gives another.
pub const SOURCE: &str = "chunks";

/// Which chunks.
#[derive(Debug, Clone)]
pub struct Job {
    /// The directory of both stores.
    pub store: PathBuf,
    /// Cut anew, in this way; otherwise the chunks that `docs chunks` cut last, or if there are none, cut in the usual way.
    pub cutting: Option<Cutting>,
    /// Name under which the chunks are known.
    pub source: Option<String>,
    /// Count only, change nothing.
    pub dry_run: bool,
}

/// Rows on their way into the store of labels.
struct Rows<'s> {
    store: &'s mut Store,
    source: &'s str,
    action: i64,
    report: Report,
    /// Ids of the chunks that there are.
    ids: BTreeSet<String>,
    /// Sources under which chunks are known already: a file that `docs chunks` wrote was imported.
    elsewhere: BTreeMap<String, String>,
    changed: usize,
}

impl Rows<'_> {
    fn add(&mut self, chunk: &Chunk) -> Result<()> {
        let mut document = document(chunk);
        document.known_as = self.elsewhere.get(&document.row).map(|source| (source.clone(), document.row.clone()));
        let added = self.store.add(self.source, &document, self.action)?;
        let mut new = added.new;
        if added.aside {
            match self.store.heir(added.document) {
                // Another cleaning of it stands, and goes on to.
                Some(heir) => {
                    self.ids.insert(self.store.entry(heir)?.document.row);
                }
                // Put aside by another cut: the user cuts as before.
                None => {
                    self.store.bring_in(added.document, self.action)?;
                    new = true;
                }
            }
        }
        self.changed += usize::from(new);
        count(&mut self.report, &document, new, &[]);
        self.ids.insert(document.row);
        Ok(())
    }

    /// Rows of another cut on which nobody said anything make room; others stay, and how many is told.
    fn make_room(&mut self) -> Result<(usize, usize)> {
        let rows = self.store.rows_of(self.source)?;
        let (mut gone, mut stay) = (0, 0);
        for (row, id) in rows.into_iter().filter(|(row, _)| !self.ids.contains(row)) {
            if self.store.aside(id).is_some() || documents::chunk::version_of(&row).is_none() {
                continue;
            }
            if self.store.entry(id)?.document.statements.is_empty() {
                self.store.put_aside(id, None, self.action)?;
                gone += 1;
            } else {
                stay += 1;
            }
        }
        self.changed += gone;
        Ok((gone, stay))
    }
}

/// The row that a chunk is.
fn document(chunk: &Chunk) -> Document {
    let mut row = export::row(chunk);
    let source = match row.get_mut("source").map(Value::take) {
        Some(Value::Object(source)) => Some(source),
        _ => None,
    };
    Document { row: chunk.id.clone(), id: Some(chunk.id.as_str().into()), text: chunk.text.clone(), source, ..Document::default() }
}

/// Takes the chunks in. What is there is not added again.
///
/// # Errors
/// No store of documents; a cutting that makes no sense.
pub fn run(environment: &Environment, job: &Job, progress: &mut dyn Progress) -> Result<Report> {
    let mut documents = documents::Store::open(&job.store)?;
    let fresh = job.dry_run && !job.store.join(FILE).exists();
    let mut store = if fresh { Store::in_memory()? } else { Store::open(&job.store)? };
    let source = job.source.as_deref().unwrap_or(SOURCE);
    let mut losses = Losses::default();
    let files = documents.files()?;
    losses.add("files", files.iter().filter(|f| f.failed.is_some()).count(), "could not be read; `docs list` says why");
    let cutting = match &job.cutting {
        None if files.iter().all(|f| f.chunks == 0) => {
            progress.note("the documents have no chunks yet: they are cut in the usual way (--size, --clean … choose another)");
            Some(Cutting::default())
        }
        chosen => chosen.clone(),
    };
    store.begin()?;
    let action = store.act("import", now(), &json!({"format": "chunks", "source": source}))?;
    let report = Report { source: source.to_owned(), dry_run: job.dry_run, ..Report::default() };
    let elsewhere = if job.source.is_none() { store.rows_elsewhere(source)?.into_iter().collect() } else { BTreeMap::new() };
    let mut rows = Rows { store: &mut store, source, action, report, ids: BTreeSet::new(), elsewhere, changed: 0 };
    let done = fill(environment, cutting.as_ref(), &mut documents, &mut rows, &mut losses, job.dry_run, progress);
    let (report, changed) = (std::mem::take(&mut rows.report), rows.changed);
    match done {
        Ok(()) if changed > 0 && !job.dry_run => store.commit()?,
        // Nothing new is no action.
        Ok(()) => store.roll_back()?,
        Err(error) => {
            store.roll_back()?;
            return Err(error);
        }
    }
    Ok(Report { lost: losses.list(), ..report })
}

fn fill(
    environment: &Environment,
    cutting: Option<&Cutting>,
    documents: &mut documents::Store,
    rows: &mut Rows<'_>,
    losses: &mut Losses,
    dry_run: bool,
    progress: &mut dyn Progress,
) -> Result<()> {
    match cutting {
        Some(cutting) => {
            let cut = chunks::cut(environment, cutting, documents, progress, &mut |documents, file, text, maps, chunks| {
                if !dry_run {
                    documents.put_chunks(file, text, maps, chunks)?;
                }
                chunks.iter().try_for_each(|chunk| rows.add(chunk))
            })?;
            for dropped in cut.dropped {
                losses.add("documents", 1, format!("left out by the cleaning: {}", dropped.reason));
            }
        }
        None => {
            let mut failed = None;
            documents.each_chunk(&mut |chunk| {
                if failed.is_none() {
                    failed = rows.add(&chunk).err();
                }
                Ok(())
            })?;
            failed.map_or(Ok(()), Err)?;
            let mut uncut = 0;
            for file in documents.files()?.iter().filter(|f| f.failed.is_none() && f.chunks == 0 && f.blocks > 0) {
                uncut += usize::from(documents.cleaned(file)?.is_none());
            }
            if uncut > 0 {
                let (what, have) = (plural(uncut, "document"), if uncut == 1 { "was" } else { "were" });
                progress.warn(&format!("{what} {have} read after the chunks were cut: give --size (or --clean, --tokenizer) to cut again"));
                losses.add("documents", uncut, "read after the chunks were cut: give --size, --clean or --tokenizer to cut again");
            }
        }
    }
    let (gone, stay) = rows.make_room()?;
    if gone > 0 {
        progress.note(&format!(
            "{} of another cut, on which nobody said anything, put aside (`label undo` brings them back)",
            plural(gone, "row")
        ));
    }
    if stay > 0 {
        let kept = plural(stay, "row");
        progress
            .warn(&format!("kept: {kept} of another cut that somebody labelled; rows of the new cut hold the same text, without labels"));
    }
    Ok(())
}
