//! Vectorisers and classifiers as files: settings and names as JSON that a person can read, numbers as safetensors.
//!
//! A directory holds `vectorizer.json` (settings), `vocabulary.json` (terms in the order of the columns), `vectorizer.safetensors`;
//! a language model's states also `states.safetensors` (the model itself is not in it), word and document vectors also `words.json` and `vectors.safetensors`,
//! a classifier also `classifier.json` (settings, classes, shape of the model; written last) and `classifier.safetensors`.

pub mod vectors;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;

use containers::DType;
use containers::save::{LazyTensor, write_atomic, write_safetensors};
use serde::{Deserialize, Serialize};

use crate::classifier::{Classifier, ClassifierSettings};
use crate::embed::{Pooled, States};
use crate::error::{Result, VectorizeError};
use crate::features::Features;
use crate::learn::calibrate::Curve;
use crate::learn::{Fitted, Knn, Link};
use crate::pipeline::Vectorizer;
use crate::terms::TermVectorizer;

/// Settings of features.
pub const VECTORIZER: &str = "vectorizer.json";
/// Terms.
pub(crate) const VOCABULARY: &str = "vocabulary.json";
/// Numbers of features.
pub(crate) const VECTORIZER_NUMBERS: &str = "vectorizer.safetensors";
/// Words that have vectors.
pub(crate) const WORDS: &str = "words.json";
/// Their vectors.
pub(crate) const VECTORS: &str = "vectors.safetensors";
/// What the words of pooled vectors count for: vocabulary and numbers.
pub(crate) const POOLING: (&str, &str) = ("pooling.json", "pooling.safetensors");
/// Means and spreads of a language model's hidden states.
pub(crate) const STATES: &str = "states.safetensors";
/// What makes a directory a classifier's.
pub const CLASSIFIER: &str = "classifier.json";
/// Numbers of a classifier.
pub(crate) const CLASSIFIER_NUMBERS: &str = "classifier.safetensors";
/// Version of the files: a reader refuses others.
pub(crate) const VERSION: u32 = 1;

/// `classifier.json`.
#[derive(Serialize, Deserialize)]
pub(crate) struct Card {
    pub version: u32,
    pub labels: Vec<String>,
    pub settings: ClassifierSettings,
    pub model: ModelCard,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub curves: Vec<Curve>,
}

/// What the tensors of a classifier are.
#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ModelCard {
    Linear { link: Link, outputs: usize },
    Neighbours { settings: Knn },
}

fn f64s<'a>(name: &str, shape: Vec<usize>, values: &'a [f64]) -> LazyTensor<'a> {
    LazyTensor::new(name, DType::F64, shape, move || -> std::result::Result<_, Infallible> {
        Ok(values.iter().flat_map(|v| v.to_le_bytes()).collect())
    })
}

fn json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| VectorizeError::Data { reason: format!("{}: cannot be written as JSON: {e}", path.display()) })?;
    Ok(write_atomic(path, (text + "\n").as_bytes())?)
}

fn directory(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(VectorizeError::io(dir, "create"))
}

fn terms(dir: &Path, (vocabulary, numbers): (&str, &str), fitted: &TermVectorizer) -> Result<()> {
    let terms: Vec<&str> = fitted.terms().iter().collect();
    json(&dir.join(vocabulary), &terms)?;
    let idf = (!fitted.idf().is_empty()).then(|| f64s("idf", vec![fitted.idf().len()], fitted.idf()));
    Ok(write_safetensors(dir.join(numbers), &BTreeMap::new(), idf)?)
}

fn pooled(dir: &Path, fitted: &Pooled) -> Result<()> {
    terms(dir, POOLING, fitted.weights())?;
    let vectors = fitted.vectors();
    json(&dir.join(WORDS), &vectors.words())?;
    let shape = vec![vectors.len(), vectors.dim()];
    let tensor = LazyTensor::from_f32("vectors", DType::F32, shape, vectors.values());
    Ok(write_safetensors(dir.join(VECTORS), &BTreeMap::new(), [tensor])?)
}

fn states(dir: &Path, fitted: &States) -> Result<()> {
    let (mean, scale) = fitted.parts();
    let tensors = [f64s("mean", vec![mean.len()], mean), f64s("scale", vec![scale.len()], scale)];
    Ok(write_safetensors(dir.join(STATES), &BTreeMap::new(), tensors)?)
}

/// Writes fitted features into a directory, which is made if it is not there.
///
/// # Errors
/// What the system refuses.
pub fn vectorizer(dir: &Path, vectorizer: &Vectorizer) -> Result<()> {
    directory(dir)?;
    match vectorizer {
        Vectorizer::Terms(fitted) => terms(dir, (VOCABULARY, VECTORIZER_NUMBERS), fitted)?,
        Vectorizer::Hashing(_) => {}
        Vectorizer::Vectors(fitted) => pooled(dir, fitted)?,
        Vectorizer::Combined(both) => {
            terms(dir, (VOCABULARY, VECTORIZER_NUMBERS), &both.0)?;
            pooled(dir, &both.1)?;
        }
        Vectorizer::Model(fitted) => states(dir, fitted)?,
        Vectorizer::TermsAndModel(both) => {
            terms(dir, (VOCABULARY, VECTORIZER_NUMBERS), &both.0)?;
            states(dir, &both.1)?;
        }
        Vectorizer::Documents(fitted) => {
            let (words, counts, input, output) = fitted.parts();
            let words: Vec<(&str, u64)> = words.iter().map(String::as_str).zip(counts.iter().copied()).collect();
            json(&dir.join(WORDS), &words)?;
            let shape = vec![words.len(), fitted.settings().vector_size];
            let tensors = [
                LazyTensor::from_f32("input", DType::F32, shape.clone(), &input),
                LazyTensor::from_f32("output", DType::F32, shape, &output),
            ];
            write_safetensors(dir.join(VECTORS), &BTreeMap::new(), tensors)?;
        }
    }
    json(&dir.join(VECTORIZER), &vectorizer.settings())
}

/// Writes a classifier into a directory, which is made if it is not there.
///
/// # Errors
/// What the system refuses.
pub fn classifier(dir: &Path, classifier: &Classifier) -> Result<()> {
    vectorizer(dir, &classifier.vectorizer)?;
    let (base, curves) = match &classifier.model {
        Fitted::Calibrated(calibrated) => (&calibrated.base, calibrated.curves.clone()),
        other => (other, Vec::new()),
    };
    let path = dir.join(CLASSIFIER_NUMBERS);
    let model = match base {
        Fitted::Linear(linear) => {
            let columns = linear.weights.len() / linear.outputs.max(1);
            let tensors = [
                f64s("weights", vec![columns, linear.outputs], &linear.weights),
                f64s("intercepts", vec![linear.outputs], &linear.intercepts),
            ];
            write_safetensors(&path, &BTreeMap::new(), tensors)?;
            ModelCard::Linear { link: linear.link, outputs: linear.outputs }
        }
        Fitted::Neighbours(neighbours) => {
            let rows = neighbours.rows();
            let (columns, (starts, indices, values)) = (rows.columns(), numbers(rows));
            let labels: Vec<f64> = neighbours.labels.iter().map(|&l| f64::from(l)).collect();
            let shape = [columns as f64];
            let tensors = [
                f64s("columns", vec![1], &shape),
                f64s("starts", vec![starts.len()], &starts),
                f64s("indices", vec![indices.len()], &indices),
                f64s("values", vec![values.len()], &values),
                f64s("labels", vec![labels.len()], &labels),
                f64s("weights", vec![labels.len()], &neighbours.weights),
            ];
            write_safetensors(&path, &BTreeMap::new(), tensors)?;
            ModelCard::Neighbours { settings: neighbours.settings }
        }
        Fitted::Calibrated(_) => return Err(VectorizeError::Data { reason: "a calibrated model cannot be calibrated again".into() }),
    };
    let card = Card { version: VERSION, labels: classifier.labels.clone(), settings: classifier.settings.clone(), model, curves };
    json(&dir.join(CLASSIFIER), &card)
}

/// A sparse matrix as numbers that a tensor file holds; whole numbers below 2⁵³ are exact.
fn numbers(rows: Features) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let (starts, indices, values) = rows.into_parts();
    (starts.into_iter().map(|s| s as f64).collect(), indices.into_iter().map(f64::from).collect(), values)
}
