//! Texts to features, whatever the features are: what `--features` chooses, fitted once and used again.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::embed::{Doc2Vec, Doc2VecSettings, ModelSettings, Pooled, States, TextModel, VectorSettings, WordVectors};
use crate::error::{Result, VectorizeError};
use crate::features::{Features, Norm};
use crate::terms::{HashingSettings, TermSettings, TermVectorizer, hash};

/// What a row of features is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "features", rename_all = "snake_case")]
pub enum FeatureSettings {
    /// Terms of a vocabulary: bag of words, TF-IDF.
    Terms(TermSettings),
    /// Hashed terms.
    Hashing(HashingSettings),
    /// The weighted mean of word vectors.
    Vectors(VectorSettings),
    /// A document's own vector.
    Documents(Doc2VecSettings),
    /// Terms and word vectors side by side.
    Combined {
        /// The terms.
        terms: TermSettings,
        /// The vectors.
        vectors: VectorSettings,
    },
    /// A language model's hidden states.
    Model(ModelSettings),
    /// Terms and hidden states side by side.
    TermsAndModel {
        /// The terms.
        terms: TermSettings,
        /// The states.
        model: ModelSettings,
    },
}

impl FeatureSettings {
    /// The language model that the features need open, if they need one.
    pub fn model(&self) -> Option<&ModelSettings> {
        match self {
            FeatureSettings::Model(model) | FeatureSettings::TermsAndModel { model, .. } => Some(model),
            _ => None,
        }
    }
}

/// Fitted features.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // there is one of them, not a list
pub enum Vectorizer {
    /// Terms of a vocabulary.
    Terms(TermVectorizer),
    /// Hashed terms.
    Hashing(HashingSettings),
    /// Word vectors.
    Vectors(Pooled),
    /// Document vectors.
    Documents(Box<Doc2Vec>),
    /// Terms and word vectors side by side.
    Combined(Box<(TermVectorizer, Pooled)>),
    /// A language model's hidden states.
    Model(States),
    /// Terms and hidden states side by side.
    TermsAndModel(Box<(TermVectorizer, States)>),
}

/// What fitting is given beside the texts.
pub struct Given<'a> {
    /// Word vectors from a file.
    pub pretrained: Option<&'a Arc<WordVectors>>,
    /// The language model that features come from.
    pub model: Option<&'a Arc<dyn TextModel>>,
    /// Hears of words that vectors have learned from; ends the work by `false`.
    pub step: &'a mut (dyn FnMut(u64) -> bool + Send),
}

/// Document vectors have length 1, too, so that every learner's defaults suit them.
fn document_rows(model: &Doc2Vec, vectors: &[f32]) -> Features {
    let dim = model.settings().vector_size;
    let mut rows = Features::from_dense(dim, &vectors.iter().map(|&v| f64::from(v)).collect::<Vec<_>>());
    rows.normalize(Norm::L2);
    rows
}

impl Vectorizer {
    /// Fits and gives the texts' rows.
    ///
    /// # Errors
    /// A setting that makes no sense; texts that leave nothing to count.
    pub fn fit_transform<T: AsRef<str> + Sync>(settings: &FeatureSettings, texts: &[T], given: Given<'_>) -> Result<(Self, Features)> {
        Ok(match settings {
            FeatureSettings::Terms(terms) => {
                let (fitted, rows) = TermVectorizer::fit_transform(terms, texts)?;
                (Vectorizer::Terms(fitted), rows)
            }
            FeatureSettings::Hashing(hashing) => (Vectorizer::Hashing(hashing.clone()), hash(hashing, texts)?),
            FeatureSettings::Vectors(vectors) => {
                let fitted = Pooled::fit(vectors, texts, given.pretrained, given.step)?;
                let rows = fitted.transform(texts);
                (Vectorizer::Vectors(fitted), rows)
            }
            FeatureSettings::Documents(documents) => {
                let fitted = Doc2Vec::train(documents, texts, given.step)?;
                // Not the vectors of the training: a classifier must learn on what it will be asked about.
                let rows = document_rows(&fitted, &fitted.infer(texts));
                (Vectorizer::Documents(Box::new(fitted)), rows)
            }
            FeatureSettings::Combined { terms, vectors } => {
                let (terms, left) = TermVectorizer::fit_transform(terms, texts)?;
                let vectors = Pooled::fit(vectors, texts, given.pretrained, given.step)?;
                let rows = left.beside(&vectors.transform(texts));
                (Vectorizer::Combined(Box::new((terms, vectors))), rows)
            }
            FeatureSettings::Model(settings) => {
                let (fitted, rows) = States::fit_transform(settings, texts, given.model)?;
                (Vectorizer::Model(fitted), rows)
            }
            FeatureSettings::TermsAndModel { terms, model } => {
                let (terms, left) = TermVectorizer::fit_transform(terms, texts)?;
                let (states, right) = States::fit_transform(model, texts, given.model)?;
                (Vectorizer::TermsAndModel(Box::new((terms, states))), left.beside(&right))
            }
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
            Vectorizer::Vectors(fitted) => Ok(fitted.transform(texts)),
            Vectorizer::Documents(fitted) => Ok(document_rows(fitted, &fitted.infer(texts))),
            Vectorizer::Combined(both) => Ok(both.0.transform(texts).beside(&both.1.transform(texts))),
            Vectorizer::Model(states) => states.transform(texts),
            Vectorizer::TermsAndModel(both) => Ok(both.0.transform(texts).beside(&both.1.transform(texts)?)),
        }
    }

    /// Gives features that were loaded the language model that they come from.
    ///
    /// # Errors
    /// Another model than the one they were made with; features that need none.
    pub fn attach(&mut self, model: &Arc<dyn TextModel>) -> Result<()> {
        match self {
            Vectorizer::Model(states) => states.attach(model),
            Vectorizer::TermsAndModel(both) => both.1.attach(model),
            _ => Err(VectorizeError::setting("model", "these features need none")),
        }
    }

    /// How it was made.
    pub fn settings(&self) -> FeatureSettings {
        match self {
            Vectorizer::Terms(fitted) => FeatureSettings::Terms(fitted.settings().clone()),
            Vectorizer::Hashing(settings) => FeatureSettings::Hashing(settings.clone()),
            Vectorizer::Vectors(fitted) => FeatureSettings::Vectors(fitted.settings().clone()),
            Vectorizer::Documents(fitted) => FeatureSettings::Documents(fitted.settings().clone()),
            Vectorizer::Combined(both) => {
                FeatureSettings::Combined { terms: both.0.settings().clone(), vectors: both.1.settings().clone() }
            }
            Vectorizer::Model(states) => FeatureSettings::Model(states.settings().clone()),
            Vectorizer::TermsAndModel(both) => {
                FeatureSettings::TermsAndModel { terms: both.0.settings().clone(), model: both.1.settings().clone() }
            }
        }
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        match self {
            Vectorizer::Terms(fitted) => fitted.terms().len(),
            Vectorizer::Hashing(settings) => settings.n_features,
            Vectorizer::Vectors(fitted) => fitted.vectors().dim(),
            Vectorizer::Documents(fitted) => fitted.settings().vector_size,
            Vectorizer::Combined(both) => both.0.terms().len() + both.1.vectors().dim(),
            Vectorizer::Model(states) => states.settings().dim,
            Vectorizer::TermsAndModel(both) => both.0.terms().len() + both.1.settings().dim,
        }
    }

    /// What a column stands for: a term, or a place.
    pub fn name(&self, column: usize) -> String {
        match self {
            Vectorizer::Terms(fitted) => fitted.terms().get(column).to_owned(),
            Vectorizer::Combined(both) => beside(&both.0, column, "vector"),
            Vectorizer::TermsAndModel(both) => beside(&both.0, column, "state"),
            Vectorizer::Model(_) => format!("state[{column}]"),
            Vectorizer::Hashing(_) => format!("hash[{column}]"),
            Vectorizer::Vectors(_) | Vectorizer::Documents(_) => format!("vector[{column}]"),
        }
    }

    /// Its word vectors, if it has some.
    pub fn word_vectors(&self) -> Option<&Arc<WordVectors>> {
        match self {
            Vectorizer::Vectors(fitted) => Some(fitted.vectors()),
            Vectorizer::Combined(both) => Some(both.1.vectors()),
            _ => None,
        }
    }
}

/// A term, or the place among what stands beside the terms.
fn beside(terms: &TermVectorizer, column: usize, what: &str) -> String {
    match column.checked_sub(terms.terms().len()) {
        None => terms.terms().get(column).to_owned(),
        Some(place) => format!("{what}[{place}]"),
    }
}
