//! What [`crate::save`] wrote, read back; whatever does not fit together is refused by name.

pub mod vectors;

use std::path::Path;
use std::sync::Arc;

use containers::{DType, SafetensorsFile, TensorSource};
use serde::de::DeserializeOwned;

use crate::classifier::Classifier;
use crate::embed::{Doc2Vec, ModelSettings, Pooled, States, VectorSettings, WordVectors};
use crate::error::{Result, VectorizeError};
use crate::features::Features;
use crate::learn::{Calibrated, Fitted, Linear, Link, Neighbours};
use crate::pipeline::{FeatureSettings, Vectorizer};
use crate::save::{
    CLASSIFIER, CLASSIFIER_NUMBERS, Card, ModelCard, POOLING, STATES, VECTORIZER, VECTORIZER_NUMBERS, VECTORS, VERSION, VOCABULARY, WORDS,
};
use crate::terms::{TermSettings, TermVectorizer, Terms};

fn json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = std::fs::read(path).map_err(VectorizeError::io(path, "read"))?;
    serde_json::from_slice(&bytes).map_err(|e| VectorizeError::file(path, e.line(), e.to_string()))
}

/// A tensor of doubles.
fn f64s(file: &SafetensorsFile, name: &str) -> Result<Vec<f64>> {
    let view = file.require(name)?;
    if view.dtype != DType::F64 {
        return Err(VectorizeError::file(file.path(), 1, format!("{name}: is {}, not F64", view.dtype)));
    }
    // Chunks of exactly eight bytes.
    Ok(view.data.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap_or_default())).collect())
}

/// Whether a directory holds a classifier of ours.
pub fn is_classifier(dir: &Path) -> bool {
    dir.join(CLASSIFIER).is_file()
}

fn terms(dir: &Path, (vocabulary, numbers): (&str, &str), settings: TermSettings) -> Result<TermVectorizer> {
    let terms: Vec<String> = json(&dir.join(vocabulary))?;
    let idf = if settings.weighting.use_idf { f64s(&SafetensorsFile::open(dir.join(numbers))?, "idf")? } else { Vec::new() };
    TermVectorizer::from_saved(settings, terms.iter().map(String::as_str).collect::<Terms>(), idf)
}

fn pooled(dir: &Path, settings: VectorSettings) -> Result<Pooled> {
    let weights = terms(dir, POOLING, settings.term_settings())?;
    let words: Vec<String> = json(&dir.join(WORDS))?;
    let file = SafetensorsFile::open(dir.join(VECTORS))?;
    let view = file.require("vectors")?;
    let vectors = WordVectors::new(words, view.rows_cols().1, view.to_f32()?)?;
    Pooled::from_parts(settings, weights, Arc::new(vectors))
}

fn states(dir: &Path, settings: ModelSettings) -> Result<States> {
    let file = SafetensorsFile::open(dir.join(STATES))?;
    States::from_parts(settings, f64s(&file, "mean")?, f64s(&file, "scale")?)
}

/// Fitted features. Those of a language model need it attached before they are asked ([`Vectorizer::attach`]).
///
/// # Errors
/// Files that are missing or damaged, by name.
pub fn vectorizer(dir: &Path) -> Result<Vectorizer> {
    let settings: FeatureSettings = json(&dir.join(VECTORIZER))?;
    Ok(match settings {
        FeatureSettings::Terms(settings) => Vectorizer::Terms(terms(dir, (VOCABULARY, VECTORIZER_NUMBERS), settings)?),
        FeatureSettings::Hashing(settings) => Vectorizer::Hashing(settings),
        FeatureSettings::Vectors(settings) => Vectorizer::Vectors(pooled(dir, settings)?),
        FeatureSettings::Combined { terms: left, vectors } => {
            Vectorizer::Combined(Box::new((terms(dir, (VOCABULARY, VECTORIZER_NUMBERS), left)?, pooled(dir, vectors)?)))
        }
        FeatureSettings::Model(settings) => Vectorizer::Model(states(dir, settings)?),
        FeatureSettings::TermsAndModel { terms: left, model } => {
            Vectorizer::TermsAndModel(Box::new((terms(dir, (VOCABULARY, VECTORIZER_NUMBERS), left)?, states(dir, model)?)))
        }
        FeatureSettings::Documents(settings) => {
            let words: Vec<(String, u64)> = json(&dir.join(WORDS))?;
            let file = SafetensorsFile::open(dir.join(VECTORS))?;
            let (input, output) = (file.require("input")?.to_f32()?, file.require("output")?.to_f32()?);
            let (words, counts) = words.into_iter().unzip();
            Vectorizer::Documents(Box::new(Doc2Vec::from_saved(settings, words, counts, &input, &output)?))
        }
    })
}

/// A classifier.
///
/// # Errors
/// Files that are missing or damaged, by name.
pub fn classifier(dir: &Path) -> Result<Classifier> {
    let path = dir.join(CLASSIFIER);
    let card: Card = json(&path)?;
    if card.version != VERSION {
        return Err(VectorizeError::file(&path, 1, format!("version {} of a newer program; this one reads {VERSION}", card.version)));
    }
    let wrong = |what: &str| VectorizeError::file(&path, 1, format!("{what} do not fit the numbers in {CLASSIFIER_NUMBERS}"));
    let vectorizer = vectorizer(dir)?;
    let file = SafetensorsFile::open(dir.join(CLASSIFIER_NUMBERS))?;
    let classes = card.labels.len();
    let base = match card.model {
        ModelCard::Linear { link, outputs } => {
            let (weights, intercepts) = (f64s(&file, "weights")?, f64s(&file, "intercepts")?);
            let fits = match link {
                Link::Logistic => outputs == 1 && classes == 2,
                Link::Softmax => outputs == classes,
                Link::Margin => outputs == classes || (outputs == 1 && classes == 2),
            };
            if !fits || intercepts.len() != outputs || weights.len() != vectorizer.columns() * outputs {
                return Err(wrong("classes and columns"));
            }
            Fitted::Linear(Linear { classes, outputs, weights, intercepts, link })
        }
        ModelCard::Neighbours { settings } => {
            let whole = |name: &str| -> Result<Vec<usize>> { Ok(f64s(&file, name)?.into_iter().map(|v| v as usize).collect()) };
            let (columns, starts, indices, values) = (whole("columns")?, whole("starts")?, whole("indices")?, f64s(&file, "values")?);
            let (labels, weights) = (whole("labels")?, f64s(&file, "weights")?);
            let columns = columns.first().copied().unwrap_or(0);
            let fits = columns == vectorizer.columns()
                && starts.first() == Some(&0)
                && starts.windows(2).all(|w| w[0] <= w[1])
                && starts.last() == Some(&indices.len())
                && indices.len() == values.len()
                && starts.len() == labels.len() + 1
                && weights.len() == labels.len()
                && indices.iter().all(|&c| c < columns)
                && labels.iter().all(|&l| l < classes);
            if !fits {
                return Err(wrong("rows"));
            }
            let x = Features::from_parts(columns, starts, indices.into_iter().map(|c| c as u32).collect(), values);
            Fitted::Neighbours(Neighbours::new(settings, &x, labels.into_iter().map(|l| l as u32).collect(), weights, classes))
        }
    };
    let model = match card.curves.len() {
        0 => base,
        n if n == classes || (n == 1 && classes == 2) => Fitted::Calibrated(Box::new(Calibrated { base, curves: card.curves })),
        _ => return Err(wrong("curves")),
    };
    Ok(Classifier { settings: card.settings, labels: card.labels, vectorizer, model })
}
