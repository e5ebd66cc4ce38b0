//! `tunesmith vectorize fit|transform`: features of a data file, saved, and rows of numbers for other programs.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value};
use vectorize::save::vectors::VectorFormat;
use vectorize::{FeatureSettings, Features, Vectorizer};

use super::choices::FeatureChoice;
use super::features::{Source, attach};
use super::table::{DataChoice, Labels, read};
use crate::environment::Environment;
use crate::error::{Result, StageError};
use crate::progress::{Progress, Unit};

/// What was fitted.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The directory.
    pub output_dir: PathBuf,
    /// Rows read.
    pub rows: usize,
    /// Columns.
    pub features: usize,
    /// Numbers that are not zero.
    pub stored: usize,
    /// Rows that could not be used.
    pub dropped: usize,
    /// The file of word vectors that was written beside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vectors: Option<PathBuf>,
}

/// What to fit.
#[derive(Clone, Debug, Default)]
pub struct FitJob {
    /// The rows.
    pub data: DataChoice,
    /// Features.
    pub features: FeatureChoice,
    /// Where they go.
    pub output_dir: PathBuf,
    /// Replace features that are there.
    pub force: bool,
    /// Write the word vectors as a word2vec file, too; binary if its name ends in `.bin`.
    pub save_vectors: Option<PathBuf>,
}

/// How a file of word vectors is written: by its name.
pub(crate) fn format_of(path: &Path) -> VectorFormat {
    if path.extension().is_some_and(|e| e == "bin") { VectorFormat::Binary } else { VectorFormat::Text }
}

/// Runs what may learn vectors, with a bar of words learned from.
pub(crate) fn learning<T>(
    settings: &FeatureSettings,
    progress: &mut dyn Progress,
    work: impl FnOnce(&mut (dyn FnMut(u64) -> bool + Send)) -> vectorize::Result<T> + Send,
) -> Result<T>
where
    T: Send,
{
    if !matches!(settings, FeatureSettings::Vectors(_) | FeatureSettings::Documents(_) | FeatureSettings::Combined { .. }) {
        return Ok(work(&mut |_| true)?);
    }
    // Workers tell from their own threads; the terminal is drawn on this one.
    progress.begin("learn vectors", None, 0, Unit::Words);
    let done = std::sync::atomic::AtomicU64::new(0);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let order = std::sync::atomic::Ordering::Relaxed;
    let result = std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            work(&mut |words| {
                done.fetch_add(words, order);
                !stop.load(order)
            })
        });
        let mut told = 0;
        while !worker.is_finished() {
            std::thread::sleep(std::time::Duration::from_millis(50));
            let now = done.load(order);
            progress.advance(now - told);
            told = now;
            if progress.cancelled() {
                stop.store(true, order);
            }
        }
        worker.join()
    });
    progress.end();
    match result {
        Ok(result) => Ok(result?),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Refuses a directory that holds something else, unless `force`.
pub(crate) fn check_free(dir: &Path, force: bool) -> Result<()> {
    let occupied = std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
    if occupied && !force {
        return Err(StageError::input_help(format!("{}: is not empty", dir.display()), "give another directory, or --force"));
    }
    if occupied && !dir.join(vectorize::save::VECTORIZER).is_file() && !dir.join(vectorize::save::CLASSIFIER).is_file() {
        return Err(StageError::input_help(
            format!("{}: holds no vectoriser or classifier", dir.display()),
            "--force replaces only such ones",
        ));
    }
    Ok(())
}

/// Fits features and saves them.
///
/// # Errors
/// Data or settings that cannot be used.
pub fn fit(environment: &Environment, job: &FitJob, progress: &mut dyn Progress) -> Result<Report> {
    check_free(&job.output_dir, job.force)?;
    let table = read(environment, &job.data, Labels::Ignored, progress)?;
    let (vectorizer, rows) = Source::open(environment, &job.features, &table.texts, progress)?.fit(&table.texts, progress)?;
    vectorize::save::vectorizer(&job.output_dir, &vectorizer)?;
    if let Some(path) = &job.save_vectors {
        let vectors = vectorizer
            .word_vectors()
            .ok_or_else(|| StageError::input("--save-vectors: only --features word2vec and ngram+word2vec have word vectors"))?;
        vectorize::save::vectors::word2vec(path, vectors, format_of(path))?;
    }
    Ok(Report {
        output_dir: job.output_dir.clone(),
        rows: rows.rows(),
        features: vectorizer.columns(),
        stored: rows.stored(),
        dropped: table.bad.len(),
        vectors: job.save_vectors.clone(),
    })
}

/// One row of features, sparse.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The row's id.
    pub id: String,
    /// Column names with their values; `null` where the values stand in `vector`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub features: Option<Map<String, Value>>,
    /// All values in order, of dense features.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector: Option<Vec<f64>>,
    /// Columns and values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub indices: Option<Vec<u32>>,
    /// Their values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values: Option<Vec<f64>>,
}

/// What `transform` writes of each row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// Terms with their weights.
    #[default]
    Names,
    /// Numbers of columns and their weights.
    Indices,
    /// All numbers, zeros too.
    Dense,
}

/// Rows of saved features for the texts of a file (or these texts), one after the other to `sink`.
///
/// # Errors
/// A directory that holds no features; data that cannot be used.
pub fn transform(
    environment: &Environment,
    dir: &Path,
    data: &DataChoice,
    texts: &[String],
    form: Form,
    sink: &mut dyn FnMut(&Row),
    progress: &mut dyn Progress,
) -> Result<()> {
    let mut vectorizer = vectorize::load::vectorizer(dir)?;
    let model = attach(environment, &mut vectorizer, progress)?;
    let (ids, texts) = if texts.is_empty() {
        let table = read(environment, data, Labels::Ignored, progress)?;
        (table.ids, table.texts)
    } else {
        ((1..=texts.len()).map(|i| i.to_string()).collect(), texts.to_vec())
    };
    if let Some(model) = model {
        model.prepare(&texts, progress)?;
    }
    // A batch at a time: dense rows of a large vocabulary would not fit in memory at once.
    for (ids, texts) in ids.chunks(512).zip(texts.chunks(512)) {
        let x = vectorizer.transform(texts)?;
        for (i, id) in ids.iter().enumerate() {
            sink(&row(&vectorizer, &x, i, id, form));
        }
        if progress.cancelled() {
            return Err(StageError::Stopped { help: None });
        }
    }
    Ok(())
}

fn row(vectorizer: &Vectorizer, x: &Features, i: usize, id: &str, form: Form) -> Row {
    let mut row = Row { id: id.to_owned(), features: None, vector: None, indices: None, values: None };
    match form {
        Form::Names => row.features = Some(x.entries(i).map(|(c, v)| (vectorizer.name(c as usize), v.into())).collect()),
        Form::Indices => {
            row.indices = Some(x.row(i).0.to_vec());
            row.values = Some(x.row(i).1.to_vec());
        }
        Form::Dense => {
            let mut vector = vec![0.0; x.columns()];
            x.entries(i).for_each(|(c, v)| vector[c as usize] = v);
            row.vector = Some(vector);
        }
    }
    row
}
