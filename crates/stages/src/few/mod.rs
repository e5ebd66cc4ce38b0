//! `tunesmith label simulate|audit|weak|distant|pseudo|distill`: much from few labels, on a data file or on a store.

pub mod audit;
pub mod distant;
pub mod distill;
pub(crate) mod evidence;
mod knowledge;
pub mod pseudo;
mod rules;
pub mod simulate;
pub mod weak;

pub use evidence::Written;

use vectorize::learn::folds::stratified;
use vectorize::{Features, LearnerSettings, Vectorizer};

use crate::environment::Environment;
use crate::error::{Result, StageError};
use crate::progress::Progress;
use crate::vectorize::choices::{FeatureChoice, LearnerChoice};
use crate::vectorize::classify::known;
use crate::vectorize::features::Source;
use crate::vectorize::table::{DataChoice, Labels, Table, read};

/// Weak penalty: few rows are learned from, and a batch's probabilities are to be told apart.
pub(crate) const FEW_LABELS_C: f64 = 10.0;
/// Parts of the labelled rows of which one judges, where there is no other file to judge on.
const PARTS: usize = 5;

/// Rows with labels, and what learns from them.
#[derive(Clone, Debug, Default)]
pub struct Learning {
    /// Rows with labels: of a file, or of a store.
    pub data: DataChoice,
    /// Their features.
    pub features: FeatureChoice,
    /// The classifier.
    pub learner: LearnerChoice,
}

/// The learner, with the penalty that suits few labels if none is chosen.
pub(crate) fn learner(choice: LearnerChoice, features: &FeatureChoice) -> LearnerSettings {
    let choice = choice.on(features.kind, FEW_LABELS_C);
    LearnerChoice { c: choice.c.or(Some(FEW_LABELS_C)), ..choice }.settings()
}

/// Rows with classes as features.
pub(crate) struct Prepared {
    pub table: Table,
    pub labels: Vec<String>,
    pub y: Vec<u32>,
    pub source: Source,
    pub vectorizer: Vectorizer,
    pub x: Features,
}

/// Reads rows with labels and fits features on their texts (and those of `also`, which have no labels that count).
pub(crate) fn prepare(
    environment: &Environment,
    data: &DataChoice,
    features: &FeatureChoice,
    also: &[String],
    progress: &mut dyn Progress,
) -> Result<Prepared> {
    let table = read(environment, data, Labels::Required, progress)?;
    let (labels, y) = table.classes()?;
    let texts: Vec<&str> = table.texts.iter().chain(also).map(String::as_str).collect();
    let source = Source::open(environment, features, &table.texts, progress)?;
    let (vectorizer, x) = source.fit(&texts, progress)?;
    let own: Vec<usize> = (0..table.texts.len()).collect();
    let x = if also.is_empty() { x } else { x.select(&own) };
    Ok(Prepared { table, labels, y, source, vectorizer, x })
}

impl Prepared {
    /// Rows of other texts.
    pub fn transform(&self, texts: &[String], progress: &mut dyn Progress) -> Result<Features> {
        self.source.transform(&self.vectorizer, texts, progress)
    }
}

/// Rows to judge on: their features and classes.
pub(crate) fn test_rows(
    environment: &Environment,
    data: &DataChoice,
    file: &str,
    prepared: &Prepared,
    progress: &mut dyn Progress,
) -> Result<(Features, Vec<u32>)> {
    let mut table = read(environment, &data.other(file), Labels::Required, progress)?;
    let y = known(&mut table, &prepared.labels, progress)?;
    Ok((prepared.transform(&table.texts, progress)?, y))
}

/// Rows that methods are compared on.
pub(crate) struct Comparison {
    /// Learned from.
    pub x: Features,
    /// Their classes.
    pub y: Vec<u32>,
    /// Which of the labelled rows they are; `None` for all.
    pub rows: Option<Vec<usize>>,
    /// Judged on.
    pub test: Features,
    /// Their classes.
    pub test_y: Vec<u32>,
}

/// All labelled rows against `file`; without one a fifth of the labelled rows, each class with its share, judges what the others teach.
pub(crate) fn comparison(
    environment: &Environment,
    data: &DataChoice,
    file: Option<&str>,
    prepared: &Prepared,
    progress: &mut dyn Progress,
) -> Result<Comparison> {
    if let Some(file) = file {
        let (test, test_y) = test_rows(environment, data, file, prepared, progress)?;
        return Ok(Comparison { x: prepared.x.clone(), y: prepared.y.clone(), rows: None, test, test_y });
    }
    let fold_of = stratified(&prepared.y, None, PARTS, 0);
    let (inside, outside): (Vec<usize>, Vec<usize>) = (0..prepared.y.len()).partition(|&i| fold_of[i] == 0);
    let of = |rows: &[usize]| (prepared.x.select(rows), rows.iter().map(|&i| prepared.y[i]).collect::<Vec<u32>>());
    let ((x, y), (test, test_y)) = (of(&outside), of(&inside));
    if test_y.is_empty() || y.first().is_none_or(|first| y.iter().all(|c| c == first)) {
        return Err(StageError::input_help(
            "there are too few labelled rows to judge on a part of them",
            "label some more, or give --test FILE",
        ));
    }
    Ok(Comparison { x, y, rows: Some(outside), test, test_y })
}

/// Rows without a label: of another file, or the store's documents that people did not settle.
pub(crate) fn unlabelled(environment: &Environment, data: &DataChoice, file: Option<&str>, progress: &mut dyn Progress) -> Result<Table> {
    if let Some(file) = file {
        return read(environment, &data.other(file), Labels::Ignored, progress);
    }
    if data.store.is_none() {
        return Err(StageError::input("--unlabelled FILE: which rows have no label? (with --store those that people did not settle)"));
    }
    let mut table = read(environment, data, Labels::Optional, progress)?;
    let keep: Vec<bool> = table.labels.iter().map(Option::is_none).collect();
    table.retain(&keep);
    if table.texts.is_empty() {
        return Err(StageError::input("people settled every document of the store: there is none without a label"));
    }
    Ok(table)
}
