//! Is the tuned model better, by how much, and how sure is that?
//!
//! | module | answers |
//! |---|---|
//! | [`metrics`] | accuracy, precision, recall, F1, confusion: one definition for the whole project |
//! | [`intervals`] | how far chance alone could have moved a number: bootstrap, paired differences, means over seeds |
//! | [`labels`] | the names of classes in order; `--label-map` |
//! | [`results`] | what a script may rely on: the JSON of an evaluation and of a prediction |
//! | [`score`] | which label does the language model find most likely? |
//! | [`classify`] | the same for samples: predictions and metrics |
//! | [`perplexity`] | how well does it predict the trained tokens of rows held out? |
//! | [`report`] | all of it on one page: a self-contained HTML file |
//!
//! The crate prints nothing and reads no clock; work that takes long reports rows done through a callback, which
//! can also stop it.

pub mod classify;
pub mod error;
pub mod intervals;
pub mod labels;
pub mod metrics;
pub mod perplexity;
pub mod report;
pub mod results;
pub mod score;

pub use classify::{Classification, classify};
pub use error::{EvaluateError, Progress};
pub use intervals::{Bootstrap, Difference, Interval};
pub use labels::{LabelMap, Labelled};
pub use metrics::{Averages, ClassScores, Confusion};
pub use results::{Confidence, EvalReport, Prediction, ScoredRow};
pub use score::Scorer;
