//! `tunesmith label migrate --store DIR --clean FILE`: labels of chunks to the text as another cleaning leaves it. Every row keeps its
//! borders: the stretch of its document moves through the maps of both cleanings, and its labels move with it as new evidence of the same
//! authors. The former row is put aside; an undo brings it back.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ::annotate::migrate::carry;
use ::annotate::view::last_words;
use ::annotate::{Entry, Store};
use dataset::labels::{Body, Document, Losses, Lost, Range, Statement};
use documents::chunk::{carried, version_of};
use documents::clean::{AlignMap, Cleaner, Draft, migrate};
use documents::store::FileRow;
use serde::Serialize;
use serde_json::{Value, json};
use text::spans::CodePoints;

use super::now;
use crate::docs::pipeline;
use crate::error::{Result, StageError};
use crate::progress::{Progress, Unit};

/// What to migrate to.
#[derive(Debug, Clone)]
pub struct Job {
    /// The directory of both stores.
    pub store: PathBuf,
    /// The new cleaning: a pipeline's file, `default` or `none`.
    pub clean: String,
    /// Count only, change nothing.
    pub dry_run: bool,
}

/// What scripts may rely on.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// Rows that have a new text now.
    pub documents: usize,
    /// Rows whose text the new cleaning leaves as it was.
    pub unchanged: usize,
    /// Labels of every kind that were carried.
    pub labels: usize,
    /// Spans among them.
    pub spans: usize,
    /// Relations among them.
    pub relations: usize,
    /// Carried spans that read otherwise than before.
    pub changed: usize,
    /// What could not be carried.
    pub lost: Vec<Lost>,
    /// The action, for `label undo`; none if nothing was done.
    pub action: Option<i64>,
    /// Whether nothing was changed.
    pub dry_run: bool,
}

/// A document under the new cleaning.
struct Target {
    file: FileRow,
    text: String,
    maps: Vec<AlignMap>,
    /// Why the new cleaning leaves it out.
    dropped: Option<String>,
    /// Maps of the versions that its rows are of, as they are asked for.
    known: BTreeMap<String, Option<Vec<AlignMap>>>,
    /// What the cleaned text is now, with its maps: for rows whose version is not known.
    latest: Option<(String, Vec<AlignMap>)>,
}

/// Carries all rows that were cut from documents of the store.
///
/// # Errors
/// No store of documents or of labels; a pipeline that cannot be used.
pub fn run(job: &Job, progress: &mut dyn Progress) -> Result<Report> {
    let pipeline = pipeline::load(&job.clean)?;
    let mut documents = documents::Store::open(&job.store)?;
    let mut store = Store::existing(&job.store)?;
    let files = documents.files()?;
    // Rows of each file, by hash and name; a file that was renamed since is known by its hash.
    let mut rows: BTreeMap<(String, String), Vec<i64>> = BTreeMap::new();
    store.each_of_all(&mut |entry| {
        if let Some(sha256) = text_of(&entry, "sha256") {
            let name = text_of(&entry, "file").unwrap_or_default();
            let mut same = files.iter().filter(|f| f.sha256 == sha256);
            let name = match same.clone().any(|f| f.name == name) {
                true => name,
                false => same.next().map_or(name, |f| f.name.clone()),
            };
            rows.entry((sha256, name)).or_default().push(entry.id);
        }
        Ok(())
    })?;
    if rows.is_empty() {
        return Err(StageError::input_help(
            "no row of the store says which document it was cut from",
            "`label import chunks --store DIR` makes rows of documents; only such rows can follow a cleaning",
        ));
    }
    let signature = pipeline.signature();
    // In the order of the files, as cutting does: of duplicates the first stays.
    let mut work = Work { report: Report { dry_run: job.dry_run, ..Report::default() }, losses: Losses::default(), signature, action: 0 };
    let mut cleaner = Cleaner::new(pipeline);
    let total = rows.values().map(Vec::len).sum::<usize>();
    progress.begin("rows", Some(total as u64), 0, Unit::Rows);
    store.begin()?;
    work.action = store.act("migrate", now(), &json!({"clean": job.clean}))?;
    let mut cleanings: Vec<(FileRow, String, Vec<AlignMap>)> = Vec::new();
    for file in &files {
        if progress.cancelled() {
            store.roll_back()?;
            return Err(StageError::Stopped { help: Some("nothing was changed; run the same command again".into()) });
        }
        if file.failed.is_some() {
            continue;
        }
        let outcome = cleaner.clean(&file.name, Draft::new(&documents.blocks(file)?), &documents.pages(file)?);
        let Some(ids) = rows.remove(&(file.sha256.clone(), file.name.clone())) else { continue };
        let latest = documents.cleaned(file)?;
        let mut target = Target {
            file: file.clone(),
            text: outcome.draft.text,
            maps: outcome.maps,
            dropped: outcome.dropped,
            known: BTreeMap::new(),
            latest,
        };
        let new = work.file(&documents, &mut store, &mut target, &ids)?;
        cleanings.extend(new.into_iter().map(|version| (target.file.clone(), version, target.maps.clone())));
        progress.advance(ids.len() as u64);
    }
    progress.end();
    for ids in rows.values() {
        let visible = ids.iter().filter(|id| store.aside(**id).is_none()).count();
        work.losses.add("documents", visible, "their file is not in the store any more, or was read again since: they stay as they are");
    }
    let Work { mut report, losses, action, .. } = work;
    report.lost = losses.list();
    if job.dry_run || !report.did_something() {
        store.roll_back()?;
        return Ok(report);
    }
    // First the maps: rows of a version that is not known could never move again.
    for (file, version, maps) in cleanings {
        documents.put_cleaning(&file, &version, &maps)?;
    }
    store.commit()?;
    Ok(Report { action: Some(action), ..report })
}

impl Report {
    fn did_something(&self) -> bool {
        self.documents > 0 || self.labels > 0 || self.lost.iter().any(|l| l.reason.starts_with(LEFT_OUT))
    }
}

/// How the reasons of rows begin that the new cleaning has no place for.
const LEFT_OUT: &str = "put aside: ";

struct Work {
    report: Report,
    losses: Losses,
    signature: String,
    action: i64,
}

/// Text under a key of a row's provenance.
fn text_of(entry: &Entry, key: &str) -> Option<String> {
    Some(entry.document.source.as_ref()?.get(key)?.as_str()?.to_owned())
}

/// Number under a key of a row's provenance.
fn number_of(entry: &Entry, key: &str) -> Option<usize> {
    usize::try_from(entry.document.source.as_ref()?.get(key)?.as_u64()?).ok()
}

impl Work {
    /// Carries the rows of one document. Gives the versions that are new.
    fn file(&mut self, documents: &documents::Store, store: &mut Store, target: &mut Target, ids: &[i64]) -> Result<Vec<String>> {
        let text = std::mem::take(&mut target.text);
        let points = CodePoints::new(&text);
        let mut versions = Vec::new();
        let (late, visible): (Vec<i64>, Vec<i64>) = ids.iter().partition(|id| store.aside(**id).is_some());
        for id in visible {
            let entry = store.entry(id)?;
            let Some(row) = self.row(documents, target, &entry)? else { continue };
            if same(&row.from, &target.maps) && target.dropped.is_none() {
                self.report.unchanged += 1;
                continue;
            }
            let said: Vec<Statement> = last_words(&entry.document.statements, &entry.actions).into_iter().map(|(_, s)| s).collect();
            let carried = moves([row.start, row.end], &row.from, &target.maps);
            let place = carried.filter(|_| target.dropped.is_none()).and_then(|r| points.byte_range(&r).map(|bytes| (r, bytes)));
            let Some((range, bytes)) = place else {
                let reason = match &target.dropped {
                    Some(reason) => format!("{LEFT_OUT}the new cleaning leaves their file out: {reason}"),
                    None => format!("{LEFT_OUT}the new cleaning leaves nothing of their text"),
                };
                self.losses.add("documents", 1, reason.clone());
                self.losses.add("labels", said.iter().map(|s| s.labels.len()).sum(), reason);
                store.put_aside(id, None, self.action)?;
                continue;
            };
            let document = moved(&entry, &text[bytes], [range.start, range.end], &self.signature, &text);
            let added = store.add(&entry.source, &document, self.action)?;
            if added.document == id {
                self.report.unchanged += 1;
                continue;
            }
            if let Some(version) = version_of(&document.row).filter(|v| !versions.iter().any(|known| known == v)) {
                versions.push(version.to_owned());
            }
            // Also one that was there before an undo.
            store.bring_in(added.document, self.action)?;
            self.say(store, &entry, &said, (added.document, &document.text, range), &row.from, &target.maps)?;
            store.put_aside(id, Some(added.document), self.action)?;
            self.report.documents += 1;
        }
        for id in late {
            self.late(documents, store, target, id)?;
        }
        Ok(versions)
    }

    /// What was said of a row after it was put aside (a queue that was filled in meanwhile) goes to the row in its place.
    fn late(&mut self, documents: &documents::Store, store: &mut Store, target: &mut Target, id: i64) -> Result<()> {
        let Some(aside) = store.aside(id) else { return Ok(()) };
        let entry = store.entry(id)?;
        if entry.actions.iter().all(|action| *action <= aside.action) {
            return Ok(());
        }
        let words = last_words(&entry.document.statements, &entry.actions).into_iter();
        let said: Vec<Statement> = words.filter(|(i, _)| entry.actions[*i] > aside.action).map(|(_, s)| s).collect();
        let heir = store.heir(id);
        let of = |losses: &mut Losses, reason: &str| losses.add("labels", said.iter().map(|s| s.labels.len()).sum(), reason);
        let Some(heir) = heir else {
            of(&mut self.losses, "said of rows in whose place nothing stands");
            return Ok(());
        };
        let heir = store.entry(heir)?;
        let Some(row) = self.row(documents, target, &entry)? else { return Ok(()) };
        let (Some(start), Some(end)) = (number_of(&heir, "start"), number_of(&heir, "end")) else { return Ok(()) };
        self.say(store, &entry, &said, (heir.id, &heir.document.text, start..end), &row.from, &target.maps)?;
        store.put_aside(id, aside.successor, self.action)?;
        Ok(())
    }

    /// Where a row was cut from, and by which cleaning; counted if that is not known.
    fn row(&mut self, documents: &documents::Store, target: &mut Target, entry: &Entry) -> Result<Option<Cut>> {
        let (Some(start), Some(end)) = (number_of(entry, "start"), number_of(entry, "end")) else {
            self.losses.add("documents", 1, "their rows do not say which stretch of the file they are: they stay as they are");
            return Ok(None);
        };
        let from = from(documents, target, entry, [start, end])?;
        if from.is_none() {
            self.losses.add("documents", 1, "which cleaning they were cut from is not known any more: they stay as they are");
        }
        Ok(from.map(|from| Cut { start, end, from }))
    }

    /// Says of the row `to` (its number, text and place in the file) what was said of `entry`.
    fn say(
        &mut self,
        store: &mut Store,
        entry: &Entry,
        said: &[Statement],
        (to, text, place): (i64, &str, std::ops::Range<usize>),
        from: &[AlignMap],
        maps: &[AlignMap],
    ) -> Result<()> {
        let start = number_of(entry, "start").unwrap_or_default();
        let inside = |[s, e]: Range| -> Option<Range> {
            let found = moves([start + s, start + e], from, maps)?;
            (found.start >= place.start && found.end <= place.end).then(|| [found.start - place.start, found.end - place.start])
        };
        for statement in said {
            let carried = carry(statement, &entry.document.text, text, &inside, &mut self.losses);
            let of = |want: fn(&Body) -> bool| carried.statement.labels.iter().filter(|l| want(&l.body)).count();
            self.report.labels += carried.statement.labels.len();
            self.report.spans += of(|b| matches!(b, Body::Span { .. }));
            self.report.relations += of(|b| matches!(b, Body::Relation { .. }));
            self.report.changed += carried.changed;
            // Somebody who said nothing but what is lost has not said that nothing is there.
            if !carried.statement.labels.is_empty() || statement.labels.is_empty() {
                store.say(to, &carried.statement, self.action)?;
            }
        }
        Ok(())
    }
}

/// Where a row was cut from.
struct Cut {
    start: usize,
    end: usize,
    /// The maps of the cleaning.
    from: Vec<AlignMap>,
}

/// Where a stretch of one cleaned text is in another.
fn moves([start, end]: Range, from: &[AlignMap], to: &[AlignMap]) -> Option<std::ops::Range<usize>> {
    migrate(std::slice::from_ref(&(start..end)), from, to).ranges.into_iter().next().flatten()
}

/// Whether two cleanings did the same to a document; a step that changed nothing is no difference.
fn same(a: &[AlignMap], b: &[AlignMap]) -> bool {
    a.iter().filter(|m| !m.is_empty()).eq(b.iter().filter(|m| !m.is_empty()))
}

/// The maps of the cleaning that a row was cut from: by the version in its id, or where it has none, of the cleaning that is known, if its
/// text is there.
fn from(documents: &documents::Store, target: &mut Target, entry: &Entry, [start, end]: Range) -> Result<Option<Vec<AlignMap>>> {
    if let Some(version) = version_of(&entry.document.row) {
        if !target.known.contains_key(version) {
            let maps = documents.cleaning(&target.file.sha256, version)?;
            target.known.insert(version.to_owned(), maps);
        }
        if let Some(Some(maps)) = target.known.get(version) {
            return Ok(Some(maps.clone()));
        }
    }
    let fits = |text: &str| dataset::labels::slice(text, start, end) == Some(entry.document.text.as_str());
    Ok(target.latest.as_ref().filter(|(text, _)| fits(text)).map(|(_, maps)| maps.clone()))
}

/// The row with its new text and place, under an id of its own.
fn moved(entry: &Entry, text: &str, [start, end]: Range, signature: &str, whole: &str) -> Document {
    let old = &entry.document;
    let mut source = old.source.clone().unwrap_or_default();
    source.insert("start".into(), start.into());
    source.insert("end".into(), end.into());
    let mut parts = old.row.split('.');
    let (hash, version, ordinal) = (parts.next(), version_of(&old.row), old.row.rsplit('.').next());
    let row = match (hash, version, ordinal) {
        (Some(hash), Some(version), Some(ordinal)) => format!("{hash}.{}.{ordinal}", carried(version, signature, whole)),
        _ => old.row.clone(),
    };
    let id = if row == old.row { old.id.clone() } else { Some(Value::from(row.as_str())) };
    Document {
        row,
        id,
        known_as: None,
        text: text.to_owned(),
        source: Some(source),
        meta: old.meta.clone(),
        native: None,
        statements: vec![],
    }
}
