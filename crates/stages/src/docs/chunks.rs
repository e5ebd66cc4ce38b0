//! `docs chunks`: the store's documents cut into pieces that a model can read, each with its origin.

use std::io::Write as _;
use std::path::PathBuf;

use documents::chunk::{Characters, Cleaned};
use documents::clean::{Cleaner, Draft, StepCount};
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
    /// A model whose tokens count; none: code points count.
    pub tokenizer: Option<String>,
    /// The cleaning: a pipeline's file, `default` or `none`.
    pub clean: String,
    /// Longest chunk and what it repeats of the one before.
    pub options: ChunkOptions,
    /// A file of rows to write.
    pub output: Option<PathBuf>,
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
    job.options.check()?;
    let pipeline = pipeline::load(&job.clean)?;
    let signature = pipeline.signature();
    let mut cleaner = Cleaner::new(pipeline);
    let mut store = Store::open(&job.store)?;
    let tokenizer = match &job.tokenizer {
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
    let mut report = Report { documents: 0, chunks: 0, mean_length: 0.0, longest: 0, over_size: 0, unit: unit.into(), ..Report::default() };
    progress.begin("chunks", Some(files.len() as u64), 0, Unit::Files);
    let mut total = 0usize;
    for file in &files {
        if progress.cancelled() {
            return Err(StageError::Stopped { help: Some("run the same command again".into()) });
        }
        let outcome = cleaner.clean(&file.name, Draft::new(&store.blocks(file)?), &store.pages(file)?);
        preview::add(&mut report.steps, &outcome.counts);
        if let Some(reason) = outcome.dropped.filter(|_| file.failed.is_none()) {
            report.dropped.push(preview::Dropped { file: file.name.clone(), reason });
            store.put_chunks(file, "", &[], &[])?;
            progress.advance(1);
            continue;
        }
        let draft = &outcome.draft;
        let cleaned = Cleaned { file: &file.name, sha256: &file.sha256, pipeline: &signature, text: &draft.text, parts: &draft.parts };
        let chunks = chunk::cut(&cleaned, job.options, measure)?;
        store.put_chunks(file, &draft.text, &outcome.maps, &chunks)?;
        report.documents += usize::from(!chunks.is_empty());
        report.chunks += chunks.len();
        total += chunks.iter().map(|c| c.length).sum::<usize>();
        report.longest = chunks.iter().map(|c| c.length).fold(report.longest, usize::max);
        report.over_size += chunks.iter().filter(|c| c.length > job.options.size).count();
        progress.advance(1);
    }
    progress.end();
    report.mean_length = total as f64 / report.chunks.max(1) as f64;
    if let Some(output) = &job.output {
        write(&store, output)?;
        report.output = Some(output.display().to_string());
    }
    Ok(report)
}

/// Writes the store's current chunks as JSON lines; the file appears whole or not at all.
fn write(store: &Store, output: &std::path::Path) -> Result<()> {
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
