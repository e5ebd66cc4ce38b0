//! Texts to features, whatever the features are: what `--features` chooses, fitted once and used again.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::features::Features;
use crate::terms::{HashingSettings, TermSettings, TermVectorizer, hash};

/// What a row of features is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "features", rename_all = "snake_case")]
pub enum FeatureSettings {
    /// Terms of a vocabulary: bag of words, TF-IDF.
    Terms(TermSettings),
    /// Hashed terms.
    Hashing(HashingSettings),
}

/// Fitted features.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // there is one of them, not a list
pub enum Vectorizer {
    /// Terms of a vocabulary.
    Terms(TermVectorizer),
    /// Hashed terms.
    Hashing(HashingSettings),
}

impl Vectorizer {
    /// Fits and gives the texts' rows.
    ///
    /// # Errors
    /// A setting that makes no sense; texts that leave nothing to count.
    pub fn fit_transform<T: AsRef<str> + Sync>(settings: &FeatureSettings, texts: &[T]) -> Result<(Self, Features)> {
        Ok(match settings {
            FeatureSettings::Terms(terms) => {
                let (fitted, rows) = TermVectorizer::fit_transform(terms, texts)?;
                (Vectorizer::Terms(fitted), rows)
            }
            FeatureSettings::Hashing(hashing) => (Vectorizer::Hashing(hashing.clone()), hash(hashing, texts)?),
        })
    }

    /// Rows of other texts.
    ///
    /// # Errors
    /// A setting that makes no sense.
    pub fn transform<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Result<Features> {
        match self {
            Vectorizer::Terms(fitted) => Ok(fitted.transform(texts)),
            Vectorizer::Hashing(settings) => hash(settings, texts),
        }
    }

    /// How it was made.
    pub fn settings(&self) -> FeatureSettings {
        match self {
            Vectorizer::Terms(fitted) => FeatureSettings::Terms(fitted.settings().clone()),
            Vectorizer::Hashing(settings) => FeatureSettings::Hashing(settings.clone()),
        }
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        match self {
            Vectorizer::Terms(fitted) => fitted.terms().len(),
            Vectorizer::Hashing(settings) => settings.n_features,
        }
    }

    /// What a column stands for: a term, or a place.
    pub fn name(&self, column: usize) -> String {
        match self {
            Vectorizer::Terms(fitted) => fitted.terms().get(column).to_owned(),
            Vectorizer::Hashing(_) => format!("#{column}"),
        }
    }
}
