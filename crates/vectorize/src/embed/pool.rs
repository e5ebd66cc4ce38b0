//! A text's vector out of those of its words: their mean, or their mean weighted by TF-IDF.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::vectors::WordVectors;
use super::word2vec::{Word2VecSettings, train};
use crate::analyze::{Analyzer, AnalyzerSettings};
use crate::error::{Result, VectorizeError};
use crate::features::{Features, Norm};
use crate::terms::{TermSettings, TermVectorizer, Weighting};

/// What a word counts for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// Once each time it is there.
    Mean,
    /// Its TF-IDF.
    #[default]
    Tfidf,
}

/// Settings of pooled word vectors.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VectorSettings {
    /// How texts become words (always single ones).
    pub analyzer: AnalyzerSettings,
    /// How vectors are learned, where they do not come from a file.
    pub word2vec: Word2VecSettings,
    /// What a word counts for.
    pub pooling: Pooling,
    /// Vectors come from a file and are not learned.
    pub pretrained: bool,
}

impl VectorSettings {
    /// How words are weighed.
    pub(crate) fn term_settings(&self) -> TermSettings {
        let weighting = match self.pooling {
            Pooling::Mean => Weighting::counts(),
            Pooling::Tfidf => Weighting { norm: Norm::None, sublinear_tf: true, ..Weighting::default() },
        };
        TermSettings { analyzer: AnalyzerSettings { ngram_range: (1, 1), ..self.analyzer.clone() }, weighting, ..Default::default() }
    }
}

/// Fitted: a text becomes the weighted mean of its words' vectors, scaled to length 1.
#[derive(Debug)]
pub struct Pooled {
    settings: VectorSettings,
    weights: TermVectorizer,
    vectors: Arc<WordVectors>,
    /// The vector of each column of `weights`.
    row_of: Vec<Option<u32>>,
}

impl Pooled {
    /// Learns vectors (or takes `pretrained`) and weights.
    ///
    /// # Errors
    /// Settings out of range, too little text, vectors that none of the texts' words has.
    pub fn fit<T: AsRef<str> + Sync>(
        settings: &VectorSettings,
        texts: &[T],
        pretrained: Option<&Arc<WordVectors>>,
        progress: &mut (dyn FnMut(u64) -> bool + Send),
    ) -> Result<Self> {
        let terms = settings.term_settings();
        let vectors = match pretrained {
            Some(vectors) => Arc::clone(vectors),
            None => Arc::new(train(&Analyzer::new(&terms.analyzer)?, &settings.word2vec, texts, progress)?),
        };
        let (weights, _) = TermVectorizer::fit_transform(&terms, texts)?;
        Self::from_parts(VectorSettings { pretrained: pretrained.is_some(), ..settings.clone() }, weights, vectors)
    }

    /// From what was saved or fitted.
    pub(crate) fn from_parts(settings: VectorSettings, weights: TermVectorizer, vectors: Arc<WordVectors>) -> Result<Self> {
        let row_of: Vec<Option<u32>> = weights.terms().iter().map(|w| vectors.find(w)).collect();
        if row_of.iter().all(Option::is_none) {
            return Err(VectorizeError::data("none of the texts' words has a vector: is it the right file, language, case?"));
        }
        Ok(Self { settings, weights, vectors, row_of })
    }

    /// Rows of `dim` numbers.
    pub fn transform<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Features {
        let x = self.weights.transform(texts);
        let dim = self.vectors.dim();
        let mut out = Features::new(dim);
        for i in 0..x.rows() {
            let mut sum = vec![0.0; dim];
            for (column, weight) in x.entries(i) {
                if let Some(row) = self.row_of[column as usize] {
                    sum.iter_mut().zip(self.vectors.row(row)).for_each(|(s, v)| *s += weight * f64::from(*v));
                }
            }
            Norm::L2.apply(&mut sum);
            out.push(sum.into_iter().enumerate().map(|(c, v)| (c as u32, v)));
        }
        out
    }

    /// How it was made.
    pub fn settings(&self) -> &VectorSettings {
        &self.settings
    }

    /// The vectors.
    pub fn vectors(&self) -> &Arc<WordVectors> {
        &self.vectors
    }

    pub(crate) fn weights(&self) -> &TermVectorizer {
        &self.weights
    }
}
