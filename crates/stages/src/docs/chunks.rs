//! `docs chunks`: the store's documents cut into pieces that a model can read, each with its origin.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use documents::chunk::{Characters, Chunk, Cleaned};
use documents::clean::{AlignMap, Cleaner, Draft, StepCount};
use documents::store::FileRow;
use documents::{ChunkOptions, Measure, Store, chunk, export};
use serde::Serialize;

use super::{pipeline, preview};
use crate::environment::Environment;
use crate::error::{Result, StageError};
use crate::human::{count, plural};
use crate::open::load_tokenizer;
use crate::progress::{Downloads, Progress, Unit};

/// What to cut and how.
#[derive(Clone, Debug)]
pub struct Job {
    /// The store's directory.
    pub store: PathBuf,
    /// How to cut.
    pub cutting: Cutting,
    /// A file of rows to write: Parquet if its name ends in `.parquet`, JSON lines otherwise.
    pub output: Option<PathBuf>,
}

/// How documents become chunks.
#[derive(Clone, Debug)]
pub struct Cutting {
    /// A model whose tokens count; none: code points count.
    pub tokenizer: Option<String>,
    /// The cleaning: a pipeline's file, `default` or `none`.
    pub clean: String,
    /// Longest chunk and what it repeats of the one before.
    pub options: ChunkOptions,
}

/// Longest chunk where the user says nothing.
pub const DEFAULT_SIZE: usize = 512;

impl Default for Cutting {
    fn default() -> Self {
        Self { tokenizer: None, clean: pipeline::DEFAULT.to_owned(), options: ChunkOptions { size: DEFAULT_SIZE, overlap: 0 } }
    }
}

/// What was cut.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Documents with text.
    pub documents: usize,
    /// Chunks of all.
    pub chunks: usize,
    /// Their mean length.
    pub mean_length: f64,
    /// The longest.
    pub longest: usize,
    /// Chunks above the size: one sentence or row that is longer by itself.
    pub over_size: usize,
    /// `tokens` or `characters`.
    pub unit: String,
    /// What each step of the cleaning did.
    pub steps: Vec<StepCount>,
    /// Documents that the cleaning left out.
    pub dropped: Vec<preview::Dropped>,
    /// The file of rows.
    pub output: Option<String>,
}

/// Cuts all documents, keeps the chunks in the store, and writes them as rows where a file is named.
///
/// # Errors
/// Options that make no sense; no store; a tokenizer that cannot be had; a file that cannot be written.
pub fn run(environment: &Environment, job: &Job, progress: &mut dyn Progress) -> Result<Report> {
    let mut store = Store::open(&job.store)?;
    let mut report = cut(environment, &job.cutting, &mut store, progress, &mut |store, file, text, maps, chunks| {
        store.put_chunks(file, text, maps, chunks)?;
        Ok(())
    })?;
    if let Some(output) = &job.output {
        write(&store, output)?;
        report.output = Some(output.display().to_string());
    }
    Ok(report)
}

/// Hears of a file what was cut: its cleaned text, the maps of the steps that made it, its chunks (none, if the cleaning left it out).
pub(crate) type Take<'t> = &'t mut dyn FnMut(&mut Store, &FileRow, &str, &[AlignMap], &[Chunk]) -> Result<()>;

/// Cuts all documents of the store, one file after the other, by name. What becomes of the chunks is the caller's.
///
/// # Errors
/// Options that make no sense; a tokenizer that cannot be had; what `take` says.
pub(crate) fn cut(
    environment: &Environment,
    cutting: &Cutting,
    store: &mut Store,
    progress: &mut dyn Progress,
    take: Take<'_>,
) -> Result<Report> {
    cutting.options.check()?;
    let pipeline = pipeline::load(&cutting.clean)?;
    let signature = pipeline.signature();
    let mut cleaner = Cleaner::new(pipeline);
    let tokenizer = match &cutting.tokenizer {
        Some(source) => {
            let spec = source.parse()?;
            let resolved = environment.sources.resolve(&spec, sources::Want::ModelDir, &mut Downloads(progress))?;
            Some(load_tokenizer(&resolved.root)?)
        }
        None => None,
    };
    let measure: &dyn Measure = tokenizer.as_ref().map_or(&Characters, |t| t as &dyn Measure);
    let files = store.files()?;
    let unit = if tokenizer.is_some() { "tokens" } else { "characters" };
    let mut report = Report { unit: unit.into(), ..Report::default() };
    progress.begin("chunks", Some(files.len() as u64), 0, Unit::Files);
    let mut total = 0usize;
    let mut copies: BTreeMap<&str, usize> = BTreeMap::new();
    for file in &files {
        if progress.cancelled() {
            return Err(StageError::Stopped { help: Some("run the same command again".into()) });
        }
        let outcome = cleaner.clean(&file.name, Draft::new(&store.blocks(file)?), &store.pages(file)?);
        preview::add(&mut report.steps, &outcome.counts);
        if let Some(reason) = outcome.dropped.filter(|_| file.failed.is_none()) {
            report.dropped.push(preview::Dropped { file: file.name.clone(), reason });
            take(store, file, "", &[], &[])?;
            progress.advance(1);
            continue;
        }
        let draft = &outcome.draft;
        let seen = copies.entry(&file.sha256).or_insert(0usize);
        *seen += 1;
        // The same bytes again under another name: other chunks, so other ids.
        let copy = if *seen > 1 { format!("{signature} copy {seen}") } else { String::new() };
        let pipeline = if copy.is_empty() { &signature } else { &copy };
        let cleaned = Cleaned { file: &file.name, sha256: &file.sha256, pipeline, text: &draft.text, parts: &draft.parts };
        let chunks = chunk::cut(&cleaned, cutting.options, measure)?;
        take(store, file, &draft.text, &outcome.maps, &chunks)?;
        report.documents += usize::from(!chunks.is_empty());
        report.chunks += chunks.len();
        total += chunks.iter().map(|c| c.length).sum::<usize>();
        report.longest = chunks.iter().map(|c| c.length).fold(report.longest, usize::max);
        report.over_size += chunks.iter().filter(|c| c.length > cutting.options.size).count();
        progress.advance(1);
    }
    progress.end();
    report.mean_length = total as f64 / report.chunks.max(1) as f64;
    Ok(report)
}

/// Writes the store's current chunks; the file appears whole or not at all.
fn write(store: &Store, output: &Path) -> Result<()> {
    if output.extension().is_some_and(|e| e.eq_ignore_ascii_case("parquet")) {
        let mut file = dataset::export::parquet::ChunkFile::create(output)?;
        let mut failed = None;
        store.each_chunk(&mut |c| {
            if failed.is_none() {
                let row = dataset::export::parquet::ChunkRow {
                    id: c.id,
                    text: c.text,
                    file: c.file,
                    sha256: c.sha256,
                    pages: [c.page, c.page_end],
                    range: [c.start as u64, c.end as u64],
                };
                failed = file.push(row).err();
            }
            Ok(())
        })?;
        return match failed {
            Some(e) => Err(e.into()),
            None => Ok(file.finish()?),
        };
    }
    write_lines(store, output)
}

/// As JSON lines.
fn write_lines(store: &Store, output: &Path) -> Result<()> {
    let part = output.with_extension("part");
    let fail = |e: &std::io::Error| StageError::io(output, "write", e);
    let file = std::fs::File::create(&part).map_err(|e| fail(&e))?;
    let mut out = std::io::BufWriter::new(file);
    let mut failed = None;
    store.each_chunk(&mut |chunk| {
        if failed.is_none() {
            failed = writeln!(out, "{}", export::row(&chunk)).err();
        }
        Ok(())
    })?;
    let done = match failed {
        Some(e) => Err(e),
        None => out.into_inner().map_err(std::io::IntoInnerError::into_error).and_then(|f| f.sync_all()),
    };
    done.and_then(|()| std::fs::rename(&part, output)).map_err(|e| {
        let _ = std::fs::remove_file(&part);
        fail(&e)
    })
}

impl Report {
    /// As a person reads it.
    pub fn to_text(&self) -> String {
        let mut out = format!(
            "{} from {}: {:.0} {} in the mean, {} in the longest",
            plural(self.chunks, "chunk"),
            plural(self.documents, "document"),
            self.mean_length,
            self.unit,
            count(self.longest as u64)
        );
        if !self.steps.is_empty() {
            out = format!("{}\n\n{out}", preview::steps_text(&self.steps, self.documents + self.dropped.len()));
        }
        for dropped in &self.dropped {
            out.push_str(&format!("\n  left out: {}: {}", dropped.file, dropped.reason));
        }
        if self.over_size > 0 {
            out.push_str(&format!("\n{} longer than --size: one sentence or table row that is not cut", plural(self.over_size, "chunk")));
        }
        if let Some(output) = &self.output {
            out.push_str(&format!("\nwritten to {output}"));
        }
        out
    }
}
