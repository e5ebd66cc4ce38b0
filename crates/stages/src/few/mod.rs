//! `tunesmith label simulate|audit|weak|pseudo`: much from few labels, straight on a data file.

pub mod audit;
pub mod pseudo;
mod rules;
pub mod simulate;
pub mod weak;

use vectorize::{Features, Given, LearnerSettings, Vectorizer};

use crate::environment::Environment;
use crate::error::Result;
use crate::progress::Progress;
use crate::vectorize::choices::{FeatureChoice, LearnerChoice};
use crate::vectorize::classify::known;
use crate::vectorize::fit::learning;
use crate::vectorize::table::{DataChoice, Labels, Table, read};

/// Weak penalty: few rows are learned from, and a batch's probabilities are to be told apart.
pub(crate) const FEW_LABELS_C: f64 = 10.0;

/// The learner, with the penalty that suits few labels if none is chosen.
pub(crate) fn learner(choice: LearnerChoice) -> LearnerSettings {
    LearnerChoice { c: choice.c.or(Some(FEW_LABELS_C)), ..choice }.settings()
}

/// Rows with classes as features.
pub(crate) struct Prepared {
    pub table: Table,
    pub labels: Vec<String>,
    pub y: Vec<u32>,
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
    let settings = features.settings(&table.texts, progress)?;
    let pretrained = features.pretrained(progress)?;
    let (vectorizer, x) = learning(&settings, progress, |step| {
        Vectorizer::fit_transform(&settings, &texts, Given { pretrained: pretrained.as_ref(), step })
    })?;
    let own: Vec<usize> = (0..table.texts.len()).collect();
    let x = if also.is_empty() { x } else { x.select(&own) };
    Ok(Prepared { table, labels, y, vectorizer, x })
}

/// Rows to judge on: their features and classes.
pub(crate) fn test_rows(
    environment: &Environment,
    data: &DataChoice,
    file: &str,
    prepared: &Prepared,
    progress: &mut dyn Progress,
) -> Result<(Features, Vec<u32>)> {
    let choice = DataChoice { data: file.to_owned(), filter: Vec::new(), split: None, limit: None, ..data.clone() };
    let mut table = read(environment, &choice, Labels::Required, progress)?;
    let y = known(&mut table, &prepared.labels, progress)?;
    Ok((prepared.vectorizer.transform(&table.texts)?, y))
}
