//! What can be typed after `tunesmith label`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// A directory of a project, shared with `docs`.
#[derive(Debug, Args)]
pub struct StoreDir {
    /// The project's directory
    #[arg(long, value_name = "DIR")]
    pub store: PathBuf,
}

#[derive(Debug, Subcommand)]
pub enum Label {
    /// Read a file of labels into the store; what is there already is not added again
    #[command(after_help = "Examples:
  tunesmith label import doccano reviews.jsonl --store project
  tunesmith label import brat corpus/ --store project --dry-run
  tunesmith label import conll train.txt --scheme iob1 --store project
  tunesmith label import csv reviews.csv --text-column review --label-column stars --store project
  tunesmith label import jsonl predictions.jsonl --author-kind model --annotator run-3 --store project
  tunesmith label import chunks --store project
  tunesmith label import chunks --clean clean.yaml --size 800 --store project

Formats: brat (a directory), conll, csv, doccano (JSONL, JSON, CSV, fastText .txt), jsonl (also unlabelled rows),
label-studio, labelbox, prodigy. chunks takes no file: the documents of `docs ingest` in the same directory become rows
without labels, cut as `docs chunks` cuts them (or as it cut them last, if nothing is said of it). Offsets are code points; every span is held against its text, and a file that counts
otherwise (UTF-16, bytes, CRLF, inclusive end) is repaired if all its spans agree on it.

JSON keys: documents, labels, spans, relations (what is new; labels counts every kind), repaired, lost [{what, count,
reason}], repair, read {rows, statements, labels, spans, relations}, source, dry_run")]
    Import(Box<Import>),
    /// Write the store's documents and labels as a file of any tool's, or split for training
    #[command(after_help = "Examples:
  tunesmith label export doccano --store project --output labels.jsonl
  tunesmith label export brat --store project --output corpus/
  tunesmith label export conll --scheme bioes --store project --output train.txt
  tunesmith label export jsonl --split .8,.1,.1 --near-duplicates .9 --store project --output data/

Untouched brat documents get their original bytes. prodigy, label-studio and jsonl say who said what; the others have
room for the current labels: what was adjudicated, else what most people say, else what a model says. With --split,
rows of one document stay together and val.jsonl and test.jsonl hold labels of people only. --near-duplicates keeps one of
documents that share that much of their three-word runs (Chinese: five characters): one that people labelled, if there is.

JSON keys: output, documents, labelled, unresolved, duplicates (with --near-duplicates), lost [{what, count, reason}], split
{train, val, test, left_out}")]
    Export(Export),
    /// Label documents in the terminal, by keys
    #[command(after_help = "Examples:
  tunesmith label annotate --store project --classes neg,pos
  tunesmith label annotate --store project --annotator kim --task spans --classes PER,ORG
  tunesmith label annotate --store project --strategy uncertainty --limit 50

A digit is a class (or a span's type), s passes a document over, u takes the last answer back, ? shows all keys. Every
answer is in the store at once. Proposed spans (a machine's, or another annotator's) are accepted with y, rejected with x.
d draws spans: arrows, w b e and Tab move by character, word and sentence, Space begins, a digit marks.

JSON keys: answered, waiting, undone")]
    Annotate(Annotate),
    /// Write rows that wait for a label, to fill in anywhere and import back
    #[command(after_help = "Examples:
  tunesmith label queue --n 100 --store project --output todo.jsonl
  tunesmith label import jsonl todo.jsonl --annotator kim --store project

  tunesmith label queue --strategy margin --store project --output todo.jsonl

Each row has a `document` that says which one it is, and `queued` {strategy, score, why}; put a `label` (or `labels`,
`spans`) into it. Strategies: random; uncertainty (where machines' labels in the store are least sure or disagree); those
of a classifier that learns from the labels so far: least-confidence, margin, entropy, committee, cluster-margin
(small margins out of different groups of texts), density (small margins among texts that resemble many), balanced (as
many of each likely class); cluster (centres of groups of texts, for the beginning). With labels of fewer than two classes
they begin with cluster, and say so. The default of -C is 10 here.

A row waits until a person answers what is asked: classes of people do not keep it from --task spans, nor do spans of a
machine keep it from --task class.

JSON keys: output, rows, task, waiting, strategy, used, reason, learned_from, classes, left_out [{count, reason}] (labelled
documents that teach the classifier nothing), uncertainty")]
    Queue(Box<Queue>),
    /// Say how far annotators agree, and on which documents they do not
    #[command(after_help = "Example:
  tunesmith label agree --store project

JSON keys: classes [{question, documents, observed, krippendorff, fleiss, fleiss_raters, pairs [{a, b, documents, observed,
cohen}], labels [{label, judgements, krippendorff}], annotators [{annotator, documents, observed}]}], spans {documents,
exact_f1, partial_f1, pairs, labels}, relations {documents, exact_f1, pairs [{a, b, documents, exact_f1}], labels [{label,
exact_f1}]}, disagreements [{document, source, row, question, text, opinions, settled}]")]
    Agree(Agree),
    /// Settle what annotators disagree about: in the terminal, or one document by its number
    #[command(after_help = "Examples:
  tunesmith label adjudicate --store project
  tunesmith label adjudicate --store project --document 17 --label pos
  tunesmith label adjudicate --store project --document 17 --take kim

JSON keys: document, classes, labels, action (with --document); answered, waiting, undone (in the terminal)")]
    Adjudicate(Adjudicate),
    /// Say where the project stands: budget, thin classes, disputes, who did what, what more labels should bring
    #[command(after_help = "Example:
  tunesmith label status --store project --budget 500

What 100 more labels should bring is told by a classifier's learning curve: cross-validation on nested parts of the labels,
and a power law through them, with intervals of 90 % (at least 50 documents with a class). Where documents have several
classes there is a classifier for each, and a document is right if all are. What it says nothing of is counted: left_out.

Classes, spans and texts are counted by themselves: a document whose classes a person gave is labelled for classes, whatever
a machine says of its spans.

JSON keys: budget, used, left, documents, human, adjudicated, model, unresolved, unlabelled, questions [{question, used,
human, adjudicated, model, unresolved, unlabelled}], classes, spans, relations [{label, count, human, thin}], annotators [{name, kind, documents, ignored, labels}], learning_curve {question, classes,
others, several, labels, folds, seeds, points [{labels, accuracy, low, high}], fit {ceiling, scale, exponent}, now {labels,
accuracy, low, high}, next, gain {labels, mean, low, high}}, no_learning_curve (why there is none), left_out [{count, reason}]")]
    Status(Status),
    /// Carry labels of chunks to the text as another cleaning leaves it; the former rows are put aside
    #[command(after_help = "Examples:
  tunesmith label migrate --store project --clean masked.yaml --dry-run
  tunesmith label migrate --store project --clean masked.yaml

Every row that was cut from a document keeps its borders: its stretch of the document and the spans in it move with their
characters, as new evidence of the same authors. What was said of a former row since the last time (a queue filled in
meanwhile) is carried, too. `label undo` takes it all back.

JSON keys: documents, unchanged, labels, spans, relations, changed (spans that read otherwise now), lost [{what, count,
reason}], action, dry_run")]
    Migrate(Migrate),
    /// Take an action back (the last one, if none is named); what it said stays in the store and counts no more
    #[command(after_help = "Examples:
  tunesmith label undo --store project
  tunesmith label undo --list --store project
  tunesmith label undo 3 --store project

JSON keys: id, kind, at, detail, undone, undoes; with --list one line an action")]
    Undo(Undo),
    /// What choosing rows would have brought: learning curves of active learning on rows whose labels are known
    #[command(after_help = "Example:
  tunesmith label simulate train.csv --test test.csv --strategy margin,random --seeds 5 --initial 100 --batch 100 --budget .5

The default of -C is 10 here: few rows are learned from.

JSON keys: full, rows, test_rows, curves [{strategy, seed, points [{labels, accuracy}]}]")]
    Simulate(Box<super::few::Simulate>),
    /// Labels that are likely wrong, most likely first, with reasons
    #[command(after_help = "Examples:
  tunesmith label audit train.csv --output doubts.jsonl
  tunesmith label audit train.csv --run runs/first-half --run runs/second-half
  tunesmith label audit --store project

Learners judge rows that they did not see, by cross-validation; a run judges the rows that are not in its train.jsonl and
is silent on the others. With --store the suggested label of each row in doubt is written as evidence of a model.

JSON keys: rows, doubtful, reasons {kind: rows}, runs [{run, judged, trained_on, agreement}], top [{rank, id, origin, label,
suggested, probability, score, reasons, text}], store {action, documents, replaced}; --output holds all rows")]
    Audit(Box<super::few::Audit>),
    /// Labels from rules that err and abstain, weighed against each other, and a classifier on top
    #[command(after_help = "Examples:
  tunesmith label weak reviews.csv --rules rules.yaml --test test.csv --output labelled.jsonl
  tunesmith label weak --store project --rules rules.yaml

RULES.yaml:
  labels: [negative, positive]
  rules:
    - {label: negative, keywords: [dull, boring, 无聊]}
    - {label: positive, regex: '(?:must|should) see'}
    - {label: positive, gazetteer: praise.txt}         # a word or phrase a line
    - {label: negative, column: stars, values: [1, 2]}
    - {label: negative, max_length: 20}
    - {classifier: runs/tfidf, threshold: 0.8}         # a directory of `vectorize classify train`, or a run
    - {prompt: \"Review: {text}\\nSentiment:\", threshold: 0.7}   # which label does the language model find likelier?
  model: hf:HuggingFaceTB/SmolLM2-135M-Instruct        # the language model of prompts (or `model:` of a rule)
  balance: {negative: .5, positive: .5}                # learned if not given

A prompt's labels follow it by their names, or as the rule's `texts: {negative: \" bad\", positive: \" good\"}` say; below the
threshold it abstains. What the model prefers whatever the text is taken off first (`calibrate: false` leaves it).

JSON keys: rows, covered, labels, balance, functions [{name, coverage, overlap, conflict, accuracy,
estimated_accuracy}], majority_accuracy, label_model_accuracy, end_model_accuracy, missing_columns (asked for by rules, in no
row), output, store {action, documents, replaced}")]
    Weak(Box<super::few::Weak>),
    /// Names and relations of a knowledge base found in texts: spans and triples for people to confirm
    #[command(after_help = "Examples:
  tunesmith label distant kb/ --store project
  tunesmith label annotate --store project --task spans
  tunesmith label distant kb/ --store project               # once more: how many candidates did people confirm?
  tunesmith label distant kb.sqlite texts.jsonl --output candidates.jsonl

The knowledge base: rows of entities (name, type, aliases, id) and of relations (subject, relation, object: ids or names). In
CSV aliases have | between them, in JSON lines they are a list; an SQLite file has the tables entities and relations. Names
match in whatever case, width and spacing; of overlapping ones the longest counts. A relation is proposed where both ends
stand in one sentence. With --store candidates are evidence of kind distant; documents where people settled the spans give
the precision, with Wilson's 95 % interval.

Rows of it that cannot be used (no name, a relation to nobody) are passed over and counted. A knowledge base that is no UTF-8 is
read in --kb-encoding, or as --encoding says of the data.

JSON keys: entities, names, facts, lost [{what, count, reason}], documents, matched, entities_found, spans {type: n}, relations
{type: n}, precision {spans, relations, labels {type: …}: {candidates, reviewed, right, precision, low, high}}, output, store {action, documents, replaced}")]
    Distant(super::few::Distant),
    /// Rows without labels as more rows to learn from, and whether that helped
    #[command(after_help = "Examples:
  tunesmith label pseudo labelled.csv --unlabelled rest.csv --test test.csv --output pseudo.jsonl
  tunesmith label pseudo labelled.csv --unlabelled rest.csv --features tfidf+lm --model hf:HuggingFaceTB/SmolLM2-135M-Instruct
  tunesmith label pseudo --store project

The default of -C is 10 here: few rows are learned from. With --store labels of a method that helped are written as evidence
of kind pseudo. A label's confidence is the probability that the method itself gives it, never below that of another class:
calibrated on labelled rows (self-training, expectation), or the share of what its neighbours handed on (label-propagation).

JSON keys: labelled, unlabelled, supervised, methods [{method, accuracy, given}], helped, output, store {action, documents,
replaced}")]
    Pseudo(Box<super::few::Pseudo>),
    /// A small classifier learns from what a larger model says of rows without labels, and whether that helped
    #[command(after_help = "Examples:
  tunesmith label distill labelled.csv --unlabelled rest.csv --teacher runs/tuned --test test.csv --output soft.jsonl
  tunesmith label distill labelled.csv --unlabelled rest.csv --teacher hf:HuggingFaceTB/SmolLM2-135M-Instruct --recipe task.yaml
  tunesmith label distill --store project --teacher runs/tuned

The teacher's probabilities are fitted to labelled rows that it was not trained on, if there are twenty of each class; what a
bare model prefers whatever the text is taken off otherwise. What its rows count for is chosen by cross-validation on labelled
rows. The default of -C is 10. With --store the teacher's labels are written as evidence of kind teacher.

JSON keys: labelled, unlabelled, teacher, calibration (labels, preference, none), teacher_accuracy, supervised, distilled,
weight, helped, output, store {action, documents, replaced}")]
    Distill(Box<super::few::Distill>),
}

/// What is read.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ImportFormat {
    Brat,
    /// The documents in the same directory
    Chunks,
    Conll,
    Csv,
    Doccano,
    Jsonl,
    #[value(alias = "label_studio", alias = "labelstudio")]
    LabelStudio,
    Labelbox,
    Prodigy,
}

impl ImportFormat {
    /// The format of a file of labels; none for chunks.
    pub fn of_files(self) -> Option<stages::label::Format> {
        use stages::label::Format as To;
        Some(match self {
            Self::Chunks => return None,
            Self::Brat => To::Brat,
            Self::Conll => To::Conll,
            Self::Csv => To::Csv,
            Self::Doccano => To::Doccano,
            Self::Jsonl => To::Jsonl,
            Self::LabelStudio => To::LabelStudio,
            Self::Labelbox => To::Labelbox,
            Self::Prodigy => To::Prodigy,
        })
    }
}

/// How a file is written.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ExportFormat {
    Brat,
    Conll,
    Csv,
    Doccano,
    Jsonl,
    #[value(alias = "label_studio", alias = "labelstudio")]
    LabelStudio,
    /// Named so that its refusal says more than that it is unknown
    #[value(hide = true)]
    Labelbox,
    Prodigy,
}

impl From<ExportFormat> for stages::label::Format {
    fn from(format: ExportFormat) -> Self {
        match format {
            ExportFormat::Brat => Self::Brat,
            ExportFormat::Conll => Self::Conll,
            ExportFormat::Csv => Self::Csv,
            ExportFormat::Doccano => Self::Doccano,
            ExportFormat::Jsonl => Self::Jsonl,
            ExportFormat::LabelStudio => Self::LabelStudio,
            ExportFormat::Labelbox => Self::Labelbox,
            ExportFormat::Prodigy => Self::Prodigy,
        }
    }
}

/// How CoNLL tags mark spans.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Scheme {
    Io,
    Iob1,
    #[value(alias = "bio")]
    Iob2,
    Ioe2,
    #[value(alias = "iobes")]
    Bioes,
    Bilou,
}

impl From<Scheme> for stages::label::Scheme {
    fn from(scheme: Scheme) -> Self {
        match scheme {
            Scheme::Io => Self::Io,
            Scheme::Iob1 => Self::Iob1,
            Scheme::Iob2 => Self::Iob2,
            Scheme::Ioe2 => Self::Ioe2,
            Scheme::Bioes => Self::Bioes,
            Scheme::Bilou => Self::Bilou,
        }
    }
}

/// What speaks in a file.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum Kind {
    #[default]
    Human,
    Adjudicator,
    Rule,
    Distant,
    Pseudo,
    Teacher,
    Model,
}

impl From<Kind> for stages::label::AuthorKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Human => Self::Human,
            Kind::Adjudicator => Self::Adjudicator,
            Kind::Rule => Self::Rule,
            Kind::Distant => Self::Distant,
            Kind::Pseudo => Self::Pseudo,
            Kind::Teacher => Self::Teacher,
            Kind::Model => Self::Model,
        }
    }
}

/// What texts in a list of labels are.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum LabelsAre {
    /// Classes of the document
    #[default]
    Classes,
    /// Free texts: translations, summaries (doccano's sequence to sequence)
    Texts,
}

#[derive(Debug, Args)]
pub struct Import {
    /// How the file is written, or chunks
    #[arg(value_enum)]
    pub format: ImportFormat,
    /// The file; of brat the directory; of chunks nothing
    pub path: Option<PathBuf>,
    #[command(flatten)]
    pub store: StoreDir,
    #[command(flatten, next_help_heading = "Cutting (chunks only)")]
    pub cutting: super::docs::CuttingArgs,
    /// Count what would be new and what would be lost; change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Name under which the documents are known (default: the file's name)
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Who labelled, where the file does not say
    #[arg(long, value_name = "NAME")]
    pub annotator: Option<String>,
    /// What that is
    #[arg(long, value_enum, default_value = "human")]
    pub author_kind: Kind,
    /// Key or column of the text
    #[arg(long, value_name = "NAME")]
    pub text_column: Option<String>,
    /// Key or column of the label
    #[arg(long, value_name = "NAME")]
    pub label_column: Option<String>,
    /// Key or column of the row's id
    #[arg(long, value_name = "NAME")]
    pub id_column: Option<String>,
    /// What texts in a list of labels are
    #[arg(long, value_enum, default_value = "classes")]
    pub labels_are: LabelsAre,
    /// Between several labels in a table's cell
    #[arg(long, value_name = "TEXT")]
    pub label_separator: Option<String>,
    /// Scheme of CoNLL tags (default: told from the file)
    #[arg(long, value_enum)]
    pub scheme: Option<Scheme>,
    /// Character encoding, where the file does not show it
    #[arg(long, value_name = "NAME")]
    pub encoding: Option<String>,
    /// Between the columns of a table (default: told from the header)
    #[arg(long, value_name = "CHAR")]
    pub delimiter: Option<char>,
}

#[derive(Debug, Args)]
pub struct Migrate {
    #[command(flatten)]
    pub store: StoreDir,
    /// The new cleaning: a YAML file (see docs preview), default or none
    #[arg(long, value_name = "FILE")]
    pub clean: String,
    /// Count what would be carried and what would be lost; change nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct Export {
    /// How to write
    #[arg(value_enum)]
    pub format: ExportFormat,
    #[command(flatten)]
    pub store: StoreDir,
    /// The file; of brat, and with --split, the directory
    #[arg(long, short)]
    pub output: PathBuf,
    /// Leave out documents without settled labels
    #[arg(long)]
    pub labelled: bool,
    /// Scheme of CoNLL tags (default: the file's own, or IOB2)
    #[arg(long, value_enum)]
    pub scheme: Option<Scheme>,
    /// Between several labels in a table's cell (default #)
    #[arg(long, value_name = "TEXT")]
    pub label_separator: Option<String>,
    /// Shares of train, val and test
    #[arg(long, value_name = "A,B,C", value_delimiter = ',', num_args = 1..=3)]
    pub split: Option<Vec<f64>>,
    /// Which rows fall where
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// Of documents that are alike keep one: 0.9 is nearly the same words, 1 equal texts
    #[arg(long, value_name = "SHARE")]
    pub near_duplicates: Option<f32>,
}

#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    pub store: StoreDir,
    /// Labels that may be spent
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub budget: usize,
    /// Leave out the learning curve, which takes seconds with many labels
    #[arg(long)]
    pub no_curve: bool,
}

#[derive(Debug, Args)]
pub struct Undo {
    /// The action's number (default: the last that counts)
    pub action: Option<i64>,
    #[command(flatten)]
    pub store: StoreDir,
    /// Only name the actions
    #[arg(long, conflicts_with = "action")]
    pub list: bool,
}

/// What is asked of each document.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Task {
    /// Its class
    Class,
    /// Its classes: any number
    Classes,
    /// Which of the proposed spans are right
    Spans,
}

/// What rows are queued for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Asked {
    /// Classes
    Class,
    /// Spans and relations
    Spans,
    /// Free texts
    Texts,
}

impl From<Asked> for stages::label::Kind {
    fn from(asked: Asked) -> Self {
        match asked {
            Asked::Class => Self::Class,
            Asked::Spans => Self::Spans,
            Asked::Texts => Self::Texts,
        }
    }
}

#[derive(Debug, Args)]
pub struct Annotate {
    #[command(flatten)]
    pub store: StoreDir,
    /// Who annotates (default: the unnamed one, as in files that name nobody)
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub annotator: String,
    /// What is asked (default: told from the labels in the store)
    #[arg(long, value_enum)]
    pub task: Option<Task>,
    /// Classes (or types of spans) to offer first
    #[arg(long, value_name = "A,B,…", value_delimiter = ',')]
    pub classes: Vec<String>,
    /// Order of the documents: random, uncertainty, margin, … (see label queue)
    #[arg(long, default_value = "random")]
    pub strategy: String,
    /// At most this many documents
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
    /// Which documents come first
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
}

#[derive(Debug, Args)]
pub struct Queue {
    #[command(flatten)]
    pub store: StoreDir,
    /// How many rows
    #[arg(long, short, value_name = "N", default_value_t = 100)]
    pub n: usize,
    /// How they are chosen: random, uncertainty, least-confidence, margin, entropy, committee, cluster-margin, density,
    /// balanced, cluster
    #[arg(long, default_value = "random")]
    pub strategy: String,
    /// What is asked of them (default: told from the labels in the store); an answer of one kind leaves the others waiting
    #[arg(long, value_enum)]
    pub task: Option<Asked>,
    /// The file of rows (JSON lines)
    #[arg(long, short)]
    pub output: PathBuf,
    /// Leave out only what this annotator looked at (default: what anybody did)
    #[arg(long, value_name = "NAME")]
    pub annotator: Option<String>,
    /// Which documents come first
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    #[command(flatten)]
    pub features: super::vectorize::FeatureArgs,
    #[command(flatten)]
    pub learner: super::vectorize::LearnerArgs,
}

#[derive(Debug, Args)]
pub struct Agree {
    #[command(flatten)]
    pub store: StoreDir,
    /// How many disagreements to show (JSON has all)
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub rows: usize,
}

#[derive(Debug, Args)]
pub struct Adjudicate {
    #[command(flatten)]
    pub store: StoreDir,
    /// Who settles
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    pub adjudicator: String,
    /// Settle this document, by the number that `label agree` shows
    #[arg(long, value_name = "N", requires = "choice")]
    pub document: Option<i64>,
    /// These classes stand
    #[arg(long, value_name = "CLASS,…", value_delimiter = ',', group = "choice", requires = "document")]
    pub label: Vec<String>,
    /// This annotator's labels stand
    #[arg(long, value_name = "NAME", group = "choice", requires = "document")]
    pub take: Option<String>,
    /// In the terminal: at most this many documents
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
}
