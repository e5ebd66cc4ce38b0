//! What a user chooses, with the defaults that belong together, made into the library's settings.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use vectorize::WordVectors;
use vectorize::embed::{Architecture, Doc2VecSettings, Pooling, VectorSettings, Word2VecSettings};
use vectorize::learn::{CalibrationMethod, Knn, LinearSvm, LogisticRegression, NaiveBayes};
use vectorize::terms::HashingSettings;
use vectorize::{
    AnalyzerSettings, FeatureSettings, Frequency, LearnerSettings, ModelSettings, Norm, StopWords, StripAccents, TermSettings, Unit,
    Weighting,
};

use crate::error::{Result, StageError};
use crate::language::states::ModelChoice;
use crate::progress::Progress;

/// What rows of features are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FeatureKind {
    /// Term weights: 1-2-grams, sublinear counts, unless told otherwise.
    #[default]
    Tfidf,
    /// Term counts.
    Bow,
    /// Hashed term counts.
    Hashing,
    /// Pooled word vectors.
    Word2vec,
    /// Document vectors.
    Doc2vec,
    /// Term weights and pooled word vectors side by side.
    NgramWord2vec,
    /// A language model's hidden states.
    Model,
    /// Term weights and hidden states side by side.
    TfidfModel,
}

impl FeatureKind {
    /// Whether a language model has to be open.
    pub fn needs_model(self) -> bool {
        matches!(self, FeatureKind::Model | FeatureKind::TfidfModel)
    }
}

/// How texts become terms and what these count for; unset ones follow from the kind of features.
#[derive(Clone, Debug, Default)]
pub struct TermChoice {
    /// Words, jieba's words, characters; unset: jieba where a fifth of the letters are Chinese, words otherwise.
    pub analyzer: Option<Unit>,
    /// Shortest and longest n-gram.
    pub ngram_range: Option<(usize, usize)>,
    /// Least documents of a term.
    pub min_df: Option<Frequency>,
    /// Most documents of a term.
    pub max_df: Option<Frequency>,
    /// Most terms.
    pub max_features: Option<usize>,
    /// Count a term once a document.
    pub binary: bool,
    /// `1 + ln(count)`.
    pub sublinear_tf: Option<bool>,
    /// Inverse document frequency.
    pub use_idf: Option<bool>,
    /// One more document in it.
    pub smooth_idf: Option<bool>,
    /// Scale of a row.
    pub norm: Option<Norm>,
    /// `english`, or a file with a word a line.
    pub stop_words: Option<String>,
    /// What a token is.
    pub token_pattern: Option<String>,
    /// jieba's user dictionary.
    pub user_dict: Option<PathBuf>,
    /// Keep capitals.
    pub keep_case: bool,
    /// Drop accents.
    pub strip_accents: Option<StripAccents>,
    /// Columns of hashed features.
    pub n_features: Option<usize>,
    /// Hashed features without signs (naive Bayes needs that).
    pub unsigned: bool,
}

/// How vectors of words and documents are learned; unset ones have word2vec's (doc2vec's) defaults.
#[derive(Clone, Debug, Default)]
pub struct VectorChoice {
    /// CBOW or skip-gram.
    pub architecture: Option<Architecture>,
    /// PV-DM instead of PV-DBOW.
    pub dm: bool,
    /// Numbers of a vector.
    pub vector_size: Option<usize>,
    /// Words to each side.
    pub window: Option<usize>,
    /// Least appearances of a word.
    pub min_count: Option<u64>,
    /// Words drawn against each.
    pub negative: Option<usize>,
    /// Skipping of frequent words.
    pub sample: Option<f64>,
    /// Passes.
    pub epochs: Option<usize>,
    /// Learning rate.
    pub alpha: Option<f32>,
    /// Threads without locks; 1 repeats to the bit.
    pub workers: Option<usize>,
    /// What a word counts for in a text's vector.
    pub pooling: Pooling,
    /// A file of vectors instead of learning them.
    pub file: Option<PathBuf>,
    /// Seed.
    pub seed: Option<u64>,
}

/// Puts what was chosen in place of the defaults.
macro_rules! given {
    ($choice:ident => $settings:ident: $($field:ident)*) => {
        $(if let Some(value) = $choice.$field {
            $settings.$field = value;
        })*
    };
}

impl VectorChoice {
    fn word2vec(&self) -> Word2VecSettings {
        let mut settings = Word2VecSettings::default();
        given!(self => settings: architecture vector_size window min_count negative sample epochs alpha workers seed);
        settings
    }

    fn doc2vec(&self, analyzer: AnalyzerSettings) -> Doc2VecSettings {
        let mut settings = Doc2VecSettings { analyzer, dm: self.dm, ..Doc2VecSettings::default() };
        given!(self => settings: vector_size window min_count negative sample epochs alpha workers seed);
        settings
    }
}

/// Features as chosen.
#[derive(Clone, Debug, Default)]
pub struct FeatureChoice {
    /// Which.
    pub kind: FeatureKind,
    /// Terms.
    pub terms: TermChoice,
    /// Vectors.
    pub vectors: VectorChoice,
    /// Language model.
    pub model: ModelChoice,
}

/// Share of Chinese letters above which words are cut by jieba.
const CHINESE: f64 = 0.2;
/// Characters looked at to tell the language.
const LOOKED_AT: usize = 200_000;

/// The analyzer that the texts call for.
fn analyzer_for(texts: &[String]) -> Unit {
    let (mut han, mut letters) = (0usize, 0usize);
    for c in texts.iter().flat_map(|t| t.chars()).take(LOOKED_AT) {
        letters += usize::from(c.is_alphabetic());
        han += usize::from(matches!(c, '\u{3400}'..='\u{9fff}' | '\u{20000}'..='\u{323af}'));
    }
    if letters > 0 && han as f64 > CHINESE * letters as f64 { Unit::Jieba } else { Unit::Word }
}

/// Lines of a text file that belongs to the settings.
fn lines(path: &Path, option: &str) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(|e| StageError::input(format!("{option} {}: {e}", path.display())))?;
    Ok(text.trim_start_matches('\u{feff}').lines().map(str::trim_end).filter(|l| !l.is_empty()).map(str::to_owned).collect())
}

impl TermChoice {
    /// How texts become terms; `ngrams` if nothing is chosen.
    pub(crate) fn analyzer(&self, ngrams: (usize, usize), texts: &[String], progress: &mut dyn Progress) -> Result<AnalyzerSettings> {
        let unit = match self.analyzer {
            Some(unit) => unit,
            None => {
                let unit = analyzer_for(texts);
                if unit == Unit::Jieba {
                    progress.note("words  the texts are Chinese: cut by jieba (--analyzer han for characters)");
                }
                unit
            }
        };
        let user_dictionary = self.user_dict.as_deref().map(|path| lines(path, "--user-dict")).transpose()?.unwrap_or_default();
        let stop_words = match self.stop_words.as_deref() {
            None => StopWords::None,
            Some("english") => StopWords::English,
            Some(file) => StopWords::List(lines(Path::new(file), "--stop-words")?),
        };
        Ok(AnalyzerSettings {
            unit,
            ngram_range: self.ngram_range.unwrap_or(ngrams),
            lowercase: !self.keep_case,
            strip_accents: self.strip_accents,
            token_pattern: self.token_pattern.clone(),
            stop_words,
            user_dictionary,
        })
    }

    pub(crate) fn settings(&self, kind: FeatureKind, texts: &[String], progress: &mut dyn Progress) -> Result<TermSettings> {
        let defaults = TermSettings::default();
        let (ngrams, weighting) = match kind {
            FeatureKind::Bow => ((1, 1), Weighting::counts()),
            _ => ((1, 2), Weighting { sublinear_tf: true, ..Weighting::default() }),
        };
        Ok(TermSettings {
            analyzer: self.analyzer(ngrams, texts, progress)?,
            min_df: self.min_df.unwrap_or(defaults.min_df),
            max_df: self.max_df.unwrap_or(defaults.max_df),
            max_features: self.max_features,
            binary: self.binary,
            weighting: Weighting {
                norm: self.norm.unwrap_or(weighting.norm),
                use_idf: self.use_idf.unwrap_or(weighting.use_idf),
                smooth_idf: self.smooth_idf.unwrap_or(weighting.smooth_idf),
                sublinear_tf: self.sublinear_tf.unwrap_or(weighting.sublinear_tf),
            },
        })
    }
}

impl FeatureChoice {
    /// The library's settings for these texts; `model` is what was opened, for features that need it.
    ///
    /// # Errors
    /// A file of words that cannot be read; a model that is missing, or that nobody needs.
    pub(crate) fn settings(&self, texts: &[String], model: Option<&ModelSettings>, progress: &mut dyn Progress) -> Result<FeatureSettings> {
        if !self.kind.needs_model() && self.model != ModelChoice::default() {
            return Err(StageError::input("--model and --lm-…: only --features lm and tfidf+lm use a language model"));
        }
        let model = || model.cloned().ok_or_else(|| StageError::input("--features lm: no model is open"));
        Ok(match self.kind {
            FeatureKind::Model => FeatureSettings::Model(model()?),
            FeatureKind::TfidfModel => {
                FeatureSettings::TermsAndModel { terms: self.terms.settings(FeatureKind::Tfidf, texts, progress)?, model: model()? }
            }
            FeatureKind::Tfidf | FeatureKind::Bow => FeatureSettings::Terms(self.terms.settings(self.kind, texts, progress)?),
            FeatureKind::Hashing => {
                let defaults = HashingSettings::default();
                FeatureSettings::Hashing(HashingSettings {
                    analyzer: self.terms.analyzer((1, 2), texts, progress)?,
                    n_features: self.terms.n_features.unwrap_or(defaults.n_features),
                    alternate_sign: !self.terms.unsigned,
                    binary: self.terms.binary,
                    norm: self.terms.norm.unwrap_or(defaults.norm),
                })
            }
            FeatureKind::Word2vec => FeatureSettings::Vectors(self.vector_settings(texts, progress)?),
            FeatureKind::Doc2vec => FeatureSettings::Documents(self.vectors.doc2vec(self.terms.analyzer((1, 1), texts, progress)?)),
            FeatureKind::NgramWord2vec => FeatureSettings::Combined {
                terms: self.terms.settings(FeatureKind::Tfidf, texts, progress)?,
                vectors: self.vector_settings(texts, &mut crate::Silent)?,
            },
        })
    }

    fn vector_settings(&self, texts: &[String], progress: &mut dyn Progress) -> Result<VectorSettings> {
        Ok(VectorSettings {
            analyzer: AnalyzerSettings { ngram_range: (1, 1), ..self.terms.analyzer((1, 1), texts, progress)? },
            word2vec: self.vectors.word2vec(),
            pooling: self.vectors.pooling,
            pretrained: self.vectors.file.is_some(),
        })
    }

    /// The vectors of the file that was chosen, if the features use some.
    ///
    /// # Errors
    /// A file that is no word2vec file; a file for features without word vectors.
    pub fn pretrained(&self, progress: &mut dyn Progress) -> Result<Option<Arc<WordVectors>>> {
        let Some(path) = &self.vectors.file else { return Ok(None) };
        if !matches!(self.kind, FeatureKind::Word2vec | FeatureKind::NgramWord2vec) {
            return Err(StageError::input("--vectors: only --features word2vec and ngram+word2vec use word vectors"));
        }
        let vectors = vectorize::load::vectors::word2vec(path)?;
        progress.note(&format!("vectors {} words of {} numbers from {}", vectors.len(), vectors.dim(), path.display()));
        Ok(Some(Arc::new(vectors)))
    }
}

/// Inverse strength of logistic regression's penalty, if nobody chooses.
pub(crate) const LOGISTIC_C: f64 = 3.0;

/// Which classifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Classifier {
    /// Logistic regression.
    #[default]
    Logistic,
    /// Linear support vector machine.
    Svm,
    /// Multinomial naive Bayes.
    MultinomialNb,
    /// Complement naive Bayes.
    ComplementNb,
    /// Nearest neighbours.
    Knn,
}

/// A classifier as chosen; unset ones have the classifier's defaults.
#[derive(Clone, Copy, Debug, Default)]
pub struct LearnerChoice {
    /// Which.
    pub classifier: Classifier,
    /// Inverse strength of the penalty (logistic: 3, svm: 1).
    pub c: Option<f64>,
    /// Smoothing of naive Bayes.
    pub alpha: Option<f64>,
    /// Neighbours that have a say.
    pub neighbors: Option<usize>,
    /// Every class counts the same.
    pub balanced: bool,
}

impl LearnerChoice {
    /// With the penalty that suits the features, where none was chosen: `usual` for terms; a language model's states are few and all
    /// speak of every text, which wants a stronger one.
    pub(crate) fn on(self, kind: FeatureKind, usual: f64) -> Self {
        let c = match kind {
            FeatureKind::Model => usual.min(1.0),
            FeatureKind::TfidfModel => usual.min(2.0),
            _ => usual,
        };
        if self.classifier == Classifier::Logistic { Self { c: self.c.or(Some(c)), ..self } } else { self }
    }

    /// The library's settings.
    pub fn settings(&self) -> LearnerSettings {
        let balanced = self.balanced;
        let bayes =
            |complement| LearnerSettings::Bayes(NaiveBayes { alpha: self.alpha.unwrap_or(NaiveBayes::default().alpha), complement });
        match self.classifier {
            Classifier::Logistic => {
                LearnerSettings::Logistic(LogisticRegression { c: self.c.unwrap_or(LOGISTIC_C), balanced, ..Default::default() })
            }
            Classifier::Svm => LearnerSettings::Svm(LinearSvm { c: self.c.unwrap_or(1.0), balanced, ..Default::default() }),
            Classifier::MultinomialNb => bayes(false),
            Classifier::ComplementNb => bayes(true),
            Classifier::Knn => {
                LearnerSettings::Knn(Knn { neighbors: self.neighbors.unwrap_or(Knn::default().neighbors), ..Knn::default() })
            }
        }
    }

    /// How scores become probabilities: `chosen`, or a logistic curve for the support vector machine, whose margins are none.
    pub fn calibration(&self, chosen: Calibration) -> Option<CalibrationMethod> {
        match chosen {
            Calibration::Auto if self.classifier == Classifier::Svm => Some(CalibrationMethod::Sigmoid),
            Calibration::Auto | Calibration::None => None,
            Calibration::Sigmoid => Some(CalibrationMethod::Sigmoid),
            Calibration::Isotonic => Some(CalibrationMethod::Isotonic),
        }
    }
}

/// What a user says on calibration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Calibration {
    /// As the classifier needs it.
    #[default]
    Auto,
    /// None.
    None,
    /// A logistic curve.
    Sigmoid,
    /// A staircase.
    Isotonic,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_chooses_the_analyzer() {
        let texts = |t: &str| vec![t.to_owned()];
        assert_eq!(analyzer_for(&texts("A fine film, 很好")), Unit::Word);
        assert_eq!(analyzer_for(&texts("这部电影 is fine")), Unit::Jieba);
        assert_eq!(analyzer_for(&texts("123")), Unit::Word);
    }

    #[test]
    fn tfidf_means_bigrams_and_sublinear_counts() {
        let settings = FeatureChoice::default().settings(&["a film".to_owned()], None, &mut crate::Silent).unwrap();
        let FeatureSettings::Terms(terms) = settings else { panic!("{settings:?}") };
        assert_eq!((terms.analyzer.ngram_range, terms.weighting.sublinear_tf), ((1, 2), true));
        assert_eq!(LearnerChoice::default().settings(), LearnerSettings::Logistic(LogisticRegression { c: 3.0, ..Default::default() }));
    }
}
