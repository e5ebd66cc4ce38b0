//! `tunesmith vectorize fit|transform`: features of a data file, saved, and rows of numbers for other programs.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Map, Value};
use vectorize::{Features, Vectorizer};

use super::choices::FeatureChoice;
use super::table::{DataChoice, Labels, read};
use crate::environment::Environment;
use crate::error::{Result, StageError};
use crate::progress::Progress;

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
pub fn fit(
    environment: &Environment,
    data: &DataChoice,
    features: &FeatureChoice,
    output_dir: &Path,
    force: bool,
    progress: &mut dyn Progress,
) -> Result<Report> {
    check_free(output_dir, force)?;
    let table = read(environment, data, Labels::Ignored, progress)?;
    let settings = features.settings(&table.texts, progress)?;
    let (vectorizer, rows) = Vectorizer::fit_transform(&settings, &table.texts)?;
    vectorize::save::vectorizer(output_dir, &vectorizer)?;
    Ok(Report {
        output_dir: output_dir.to_path_buf(),
        rows: rows.rows(),
        features: vectorizer.columns(),
        stored: rows.stored(),
        dropped: table.bad.len(),
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
    let vectorizer = vectorize::load::vectorizer(dir)?;
    let (ids, texts) = if texts.is_empty() {
        let table = read(environment, data, Labels::Ignored, progress)?;
        (table.ids, table.texts)
    } else {
        ((1..=texts.len()).map(|i| i.to_string()).collect(), texts.to_vec())
    };
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
