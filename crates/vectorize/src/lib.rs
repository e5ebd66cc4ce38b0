//! Classic vectorisers and the classifiers on top of them: a first model in seconds, and the yardstick for every larger one.
//!
//! texts → [`analyze`] → terms → [`terms`] (bag of words, TF-IDF, hashing) → [`features`] → [`learn`] (logistic regression, support
//! vector machine, naive Bayes, nearest neighbours) → [`classifier`]. Beside terms: [`embed`] (word2vec, doc2vec, a language model's hidden states); on top of either:
//! [`keywords`], [`cluster`].
//!
//! Numbers are scikit-learn's where it has them; `oracles/vectorize_*.py` made the values that the tests compare with.
//! Deliberately absent: printing, the clock, arguments, and files outside [`mod@load`] and [`mod@save`].

pub mod analyze;
pub mod classifier;
pub mod cluster;
pub mod embed;
mod error;
pub mod features;
pub mod keywords;
pub mod learn;
pub mod load;
pub mod pipeline;
pub mod save;
pub mod terms;

pub use analyze::{AnalyzerSettings, StopWords, StripAccents, Unit};
pub use classifier::{Classifier, ClassifierSettings};
pub use embed::{ModelSettings, StatePooling, TextModel, WordVectors};
pub use error::{Result, VectorizeError};
pub use features::{ByClass, Features, Norm};
pub use learn::{Fitted, Learner, LearnerSettings};
pub use pipeline::{FeatureSettings, Given, Vectorizer};
pub use terms::{Frequency, TermSettings, TermVectorizer, Weighting};
