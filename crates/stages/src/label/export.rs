//! `tunesmith label export FORMAT --store DIR --output PATH`: the store's documents and labels as a file of any tool's.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use ::annotate::split::{Part, Row, Split};
use ::annotate::store::{digest, text_hash};
use ::annotate::{Current, Entry, Exported, Store, current, current_of_people};
use dataset::labels::conll::Scheme;
use dataset::labels::export::{WriteOptions, Writer, tells_all};
use dataset::labels::jsonl::Detail;
use dataset::labels::{Format, Losses, Lost};
use serde::Serialize;
use serde_json::{Value, json};

use super::duplicates::{self, Duplicates};
use super::{hash, shown_id};
use crate::error::{Result, StageError};
use crate::progress::{Progress, Unit};

/// What to export.
#[derive(Debug, Clone)]
pub struct Job {
    /// How to write.
    pub format: Format,
    /// The store's directory.
    pub store: PathBuf,
    /// The file; of brat, and with `split`, the directory.
    pub output: PathBuf,
    /// Leave out documents without settled labels.
    pub labelled: bool,
    /// Scheme of CoNLL tags.
    pub scheme: Option<Scheme>,
    /// Between several labels in a table's cell.
    pub separator: Option<String>,
    /// Shares of train, val and test: three files of rows to train on.
    pub split: Option<[f64; 3]>,
    /// Which rows fall where.
    pub seed: u64,
    /// Of documents that are alike from this similarity on (0.5 to 1) keep one.
    pub near_duplicates: Option<f32>,
}

/// What scripts may rely on.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// Where it lies.
    pub output: PathBuf,
    /// Documents written.
    pub documents: usize,
    /// Documents with settled labels among them.
    pub labelled: usize,
    /// Documents whose labels are in dispute: they are written without.
    pub unresolved: usize,
    /// Documents left out because another one says (nearly) the same, with `--near-duplicates`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicates: Option<usize>,
    /// What the format could not say.
    pub lost: Vec<Lost>,
    /// Rows of each part, with `--split`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<Parts>,
}

/// Rows of each part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Parts {
    /// To train on.
    pub train: usize,
    /// To watch the training.
    pub val: usize,
    /// To measure on: labels of people alone.
    pub test: usize,
    /// Left out: labels of machines on documents whose other rows are held out, and held-out rows whose text is trained on.
    pub left_out: usize,
}

/// Exports.
///
/// # Errors
/// If there is no store, the format cannot be written, or the system refuses.
pub fn run(job: &Job, progress: &mut dyn Progress) -> Result<Report> {
    let mut store = Store::existing(&job.store)?;
    let doubles = match job.near_duplicates {
        Some(near) => duplicates::find(&store, near, job.labelled || job.split.is_some())?,
        None => Duplicates::default(),
    };
    if doubles.equal + doubles.near > 0 {
        progress.note(&format!("left out {} documents equal to another one and {} nearly so", doubles.equal, doubles.near));
    }
    let mut report = match job.split {
        Some(shares) => split(job, shares, &mut store, &doubles, progress)?,
        None => whole(job, &mut store, &doubles, progress)?,
    };
    report.duplicates = job.near_duplicates.map(|_| doubles.documents.len());
    Ok(report)
}

/// One file (of brat: a directory) of all documents.
fn whole(job: &Job, store: &mut Store, doubles: &Duplicates, progress: &mut dyn Progress) -> Result<Report> {
    let mut options = WriteOptions { scheme: job.scheme, ..WriteOptions::default() };
    if let Some(separator) = &job.separator {
        options.separator.clone_from(separator);
    }
    let mut writer = Writer::create(job.format, &job.output, options)?;
    let mut report = Report { output: job.output.clone(), ..Report::default() };
    if writer.looks_ahead() {
        store.each(&mut |mut entry| {
            tell_apart(job.format, &mut entry);
            let now = current(&entry.document.statements, &entry.actions);
            if !doubles.documents.contains(&entry.id) && (!job.labelled || now.resolved().is_some()) {
                writer.see(&entry.document, now.resolved());
            }
            Ok(())
        })?;
    }
    // Our own lines name the documents themselves; other files are read back to know their rows again.
    let mut written: Option<Written> = (job.format != Format::Jsonl).then(Written::default);
    progress.begin("export", Some(store.count()? as u64), 0, Unit::Rows);
    let mut losses = Losses::default();
    store.each(&mut |mut entry| {
        progress.advance(1);
        if doubles.documents.contains(&entry.id) {
            return Ok(());
        }
        tell_apart(job.format, &mut entry);
        let now = current(&entry.document.statements, &entry.actions);
        report.unresolved += usize::from(matches!(now, Current::Tied(_)));
        if job.labelled && now.resolved().is_none() {
            return Ok(());
        }
        if matches!(now, Current::Tied(_)) && !tells_all(job.format) {
            losses.add("documents", 1, "people disagree on them: written without labels (`label adjudicate` settles them)");
        }
        report.documents += 1;
        report.labelled += usize::from(now.resolved().is_some());
        if job.format == Format::Jsonl {
            name(&mut entry);
        }
        writer.write(&entry.document, now.resolved())?;
        if let Some(written) = &mut written {
            written.add(&entry, writer.last_key());
        }
        Ok(())
    })?;
    progress.end();
    let reading = writer.read_options();
    losses.extend(writer.finish()?);
    if let Some(written) = written {
        remember(store, job.format, &job.output, &reading, written)?;
    }
    report.lost = losses.list();
    Ok(report)
}

/// Rows of a table are known by their ids: what came from no table has at least its name or place.
fn tell_apart(format: Format, entry: &mut Entry) {
    let table = entry.document.native.as_ref().is_some_and(|native| native.format == Format::Csv);
    if format == Format::Csv && !table && entry.document.id.is_none() {
        entry.document.id = Some(shown_id(entry).into());
    }
}

/// Says in the row which document of the store it is.
fn name(entry: &mut Entry) {
    entry.document.known_as = Some((entry.source.clone(), entry.document.row.clone()));
    if entry.document.id.is_none() {
        entry.document.id = Some(shown_id(entry).into());
    }
}

/// Which documents were written, by their texts and places.
#[derive(Default)]
struct Written {
    order: Vec<i64>,
    by_text: BTreeMap<[u8; 32], VecDeque<i64>>,
    by_key: BTreeMap<String, i64>,
}

impl Written {
    fn add(&mut self, entry: &Entry, key: Option<&str>) {
        self.order.push(entry.id);
        if let Some(key) = key {
            self.by_key.insert(key.to_owned(), entry.id);
            return;
        }
        self.by_text.entry(text_hash(&entry.document.text)).or_default().push_back(entry.id);
    }
}

/// Reads a file of ours back and remembers its rows, so that importing it adds nothing.
fn remember(
    store: &mut Store,
    format: Format,
    path: &Path,
    reading: &dataset::labels::import::ReadOptions,
    mut written: Written,
) -> Result<()> {
    let import = dataset::labels::import::open(format, path, reading)?;
    let mut rows: Vec<Exported> = Vec::new();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for (i, document) in import.documents()?.filter_map(std::result::Result::ok).enumerate() {
        let digests = document.statements.iter().map(digest);
        if let Some(&at) = known.get(&document.row) {
            rows[at].digests.extend(digests);
            continue;
        }
        let text_hash = text_hash(&document.text);
        let id = match written.by_key.get(&document.row) {
            Some(&id) => Some(id),
            // A directory may hold documents that are not ours.
            None if !written.by_key.is_empty() => continue,
            None => written.by_text.get_mut(&text_hash).and_then(VecDeque::pop_front).or_else(|| written.order.get(i).copied()),
        };
        let Some(document_id) = id else { continue };
        known.insert(document.row.clone(), rows.len());
        rows.push(Exported { row: document.row, text_hash, document: document_id, digests: digests.collect() });
    }
    store.begin()?;
    store.remember_export(&import.name(), &hash(path)?, &rows)?;
    store.commit()?;
    Ok(())
}

/// Three files of rows to train on.
fn split(job: &Job, shares: [f64; 3], store: &mut Store, doubles: &Duplicates, progress: &mut dyn Progress) -> Result<Report> {
    if job.format != Format::Jsonl {
        return Err(StageError::input("--split writes rows to train on: `label export jsonl --split .8,.1,.1`"));
    }
    let sum: f64 = shares.iter().sum();
    if sum.is_finite() && sum > 0.0 && (sum - 1.0).abs() > 1e-6 {
        let rounded = |share: f64| (share * 1e4).round() / 1e4;
        if shares.iter().any(|share| share.fract() != 0.0) {
            return Err(StageError::input(format!(
                "--split: the shares of train, val and test are 1 together, not {}: .8,.1,.1 (or parts in whole numbers: 8,1,1)",
                rounded(sum)
            )));
        }
        let [train, val, test] = shares.map(|share| rounded(share / sum));
        progress.note(&format!("--split: of the parts become the shares {train}, {val} and {test}"));
    }
    let mut split = Split::default();
    let mut report = Report { output: job.output.clone(), ..Report::default() };
    store.each(&mut |entry| {
        if doubles.documents.contains(&entry.id) {
            return Ok(());
        }
        match current(&entry.document.statements, &entry.actions) {
            Current::Resolved(statement, _) => {
                let people = current_of_people(&entry.document.statements, &entry.actions);
                let statement = people.resolved().unwrap_or(&statement);
                split.add(Row {
                    document: entry.id,
                    text_hash: text_hash(&entry.document.text),
                    file: entry
                        .document
                        .source
                        .as_ref()
                        .and_then(|s| ["sha256", "file"].iter().find_map(|k| s.get(*k)?.as_str().map(str::to_owned))),
                    class: statement.classes().next().unwrap_or_default().to_owned(),
                    human: people.resolved().is_some(),
                })
            }
            Current::Tied(_) => report.unresolved += 1,
            Current::Unlabelled => {}
        }
        Ok(())
    })?;
    let parts = split.divide(shares, job.seed).map_err(StageError::input)?;
    let names = [(Part::Train, "train.jsonl"), (Part::Val, "val.jsonl"), (Part::Test, "test.jsonl")];
    let mut counts = Parts { left_out: parts.values().filter(|p| **p == Part::LeftOut).count(), ..Parts::default() };
    let mut losses = Losses::default();
    for (part, file) in names {
        let path = job.output.join(file);
        let mut writer = Writer::create(Format::Jsonl, &path, WriteOptions { detail: Detail::Plain, ..WriteOptions::default() })?;
        let mut written = Written::default();
        let mut n = 0;
        store.each(&mut |mut entry| {
            if parts.get(&entry.id) != Some(&part) {
                return Ok(());
            }
            let mut now = current(&entry.document.statements, &entry.actions);
            if part != Part::Train {
                let said = |now: &Current| now.resolved().map_or(0, |s| s.labels.len());
                let people = current_of_people(&entry.document.statements, &entry.actions);
                losses.add(
                    "labels",
                    said(&now).saturating_sub(said(&people)),
                    "machines' labels beside people's on rows that are held out",
                );
                now = people;
            }
            place(&mut entry);
            writer.write(&entry.document, now.resolved())?;
            written.add(&entry, None);
            n += 1;
            Ok(())
        })?;
        let reading = writer.read_options();
        losses.extend(writer.finish()?);
        remember(store, Format::Jsonl, &path, &reading, written)?;
        match part {
            Part::Train => counts.train = n,
            Part::Val => counts.val = n,
            _ => counts.test = n,
        }
        report.documents += n;
        report.labelled += n;
    }
    if report.documents == 0 {
        progress.warn("no document of the store has settled labels: the files are empty");
    } else if counts.test == 0 && shares[2] > 0.0 {
        progress.warn("test is empty: it holds labels of people only, and there are too few of them");
    }
    report.lost = losses.list();
    report.split = Some(counts);
    Ok(report)
}

/// Puts id, file, page and range where every reader finds them.
fn place(entry: &mut Entry) {
    if entry.document.id.is_none() {
        entry.document.id = Some(shown_id(entry).into());
    }
    let meta = &mut entry.document.meta;
    match &entry.document.source {
        Some(source) => {
            for key in ["file", "page"] {
                if let Some(value) = source.get(key).filter(|v| !v.is_null()) {
                    meta.insert(key.into(), value.clone());
                }
            }
            if let (Some(start), Some(end)) = (source.get("start"), source.get("end")) {
                meta.insert("range".into(), json!([start, end]));
            }
        }
        // A row of a table was cut from nothing: it is the table's.
        None => {
            meta.entry("file").or_insert_with(|| Value::from(entry.source.as_str()));
        }
    }
}
