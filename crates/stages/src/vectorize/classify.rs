//! `tunesmith vectorize classify train|eval|predict|explain`.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use evaluate::{EvalReport, Prediction};
use serde::{Deserialize, Serialize};
use vectorize::classifier::{Contribution, CrossValidation, Labelled, cross_validate};
use vectorize::{Classifier, ClassifierSettings};

use super::choices::{Calibration, FeatureChoice, LOGISTIC_C, LearnerChoice};
use super::features::{Source, attach};
use super::fit::{check_free, learning};
use super::table::{DataChoice, Labels, Table, read};
use crate::environment::Environment;
use crate::error::{Result, StageError};
use crate::human::{count, plural};
use crate::manifest::write_atomic;
use crate::measure::headline;
use crate::progress::{Progress, Unit};

/// What was trained on, beside the classifier: enough to ask it about other files without naming their columns again.
const DATA_CARD: &str = "data.json";

/// What to train.
#[derive(Clone, Debug, Default)]
pub struct TrainJob {
    /// The rows.
    pub data: DataChoice,
    /// Other rows to judge on.
    pub test: Option<String>,
    /// Features.
    pub features: FeatureChoice,
    /// Classifier.
    pub learner: LearnerChoice,
    /// Probabilities.
    pub calibration: Calibration,
    /// Folds of the cross-validation; 0 for none.
    pub folds: usize,
    /// Seed of every choice.
    pub seed: u64,
    /// Where it goes.
    pub output_dir: PathBuf,
    /// Replace a classifier that is there.
    pub force: bool,
}

/// What was trained.
#[derive(Clone, Debug, Serialize)]
pub struct TrainReport {
    /// The directory.
    pub output_dir: PathBuf,
    /// Rows trained on.
    pub rows: usize,
    /// Rows that could not be used.
    pub dropped: usize,
    /// Names of the classes.
    pub labels: Vec<String>,
    /// Columns.
    pub features: usize,
    /// Verdict by cross-validation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cross_validation: Option<CrossValidation>,
    /// Verdict on `--test`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<EvalReport>,
}

#[derive(Serialize, Deserialize)]
struct DataCard {
    source: String,
    text_column: Vec<String>,
    label_column: String,
    rows: usize,
}

/// Trains, judges, saves.
///
/// # Errors
/// Data or settings that cannot be used.
pub fn train(environment: &Environment, job: &TrainJob, progress: &mut dyn Progress) -> Result<TrainReport> {
    check_free(&job.output_dir, job.force)?;
    let table = read(environment, &job.data, Labels::Required, progress)?;
    let (labels, classes) = table.classes()?;
    let source = Source::open(environment, &job.features, &table.texts, progress)?;
    let settings = ClassifierSettings {
        features: source.settings.clone(),
        learner: job.learner.on(job.features.kind, LOGISTIC_C).settings(),
        calibration: job.learner.calibration(job.calibration),
        seed: job.seed,
    };
    progress.note(&format!("rows   {} of {} classes: {}", count(table.texts.len() as u64), labels.len(), shares(&labels, &classes)));
    source.prepare(&table.texts, progress)?;
    let model = source.model();
    let pretrained = source.pretrained.as_ref();
    let data = Labelled { texts: &table.texts, classes: &classes, labels: &labels, pretrained, model: model.as_ref() };
    let cross_validation = if job.folds == 0 {
        None
    } else {
        progress.begin("cross-validation", Some(table.texts.len() as u64), 0, Unit::Rows);
        let mut step = |rows: usize| {
            progress.advance(rows as u64);
            !progress.cancelled()
        };
        let found = cross_validate(&settings, data, job.folds, &mut step);
        progress.end();
        Some(found?)
    };
    let classifier = learning(&settings.features, progress, |step| Classifier::train(&settings, data, step))?;
    if progress.cancelled() {
        return Err(StageError::Stopped { help: None });
    }
    vectorize::save::classifier(&job.output_dir, &classifier)?;
    let card = DataCard {
        source: job.data.data.clone(),
        text_column: job.data.text_column.clone(),
        label_column: job.data.label_column.clone(),
        rows: table.texts.len(),
    };
    save_card(&job.output_dir, &card)?;
    let test = match &job.test {
        Some(file) => Some(judge(environment, &classifier, &job.data.other(file), progress)?),
        None => None,
    };
    Ok(TrainReport {
        output_dir: job.output_dir.clone(),
        rows: table.texts.len(),
        dropped: table.bad.len(),
        labels,
        features: classifier.vectorizer.columns(),
        cross_validation,
        test,
    })
}

fn save_card(dir: &Path, card: &DataCard) -> Result<()> {
    let text = serde_json::to_string_pretty(card)
        .map_err(|e| StageError::Work { message: format!("{DATA_CARD}: cannot be written as JSON: {e}"), help: None })?;
    write_atomic(&dir.join(DATA_CARD), (text + "\n").as_bytes())
}

/// `negative 4,265, positive 4,265`; of many classes the largest ones.
fn shares(labels: &[String], classes: &[u32]) -> String {
    let mut rows = vec![0u64; labels.len()];
    classes.iter().for_each(|&c| rows[c as usize] += 1);
    let mut order: Vec<usize> = (0..labels.len()).collect();
    if labels.len() > 8 {
        order.sort_by_key(|&i| (std::cmp::Reverse(rows[i]), i));
    }
    let shown: Vec<String> = order.iter().take(8).map(|&i| format!("{} {}", labels[i], count(rows[i]))).collect();
    format!("{}{}", shown.join(", "), if labels.len() > 8 { ", …" } else { "" })
}

/// Opens a classifier's directory, and the language model that its features come from, if they come from one.
pub(crate) fn open(environment: &Environment, dir: &Path, progress: &mut dyn Progress) -> Result<Classifier> {
    if !vectorize::load::is_classifier(dir) {
        return Err(StageError::input_help(
            format!("{}: holds no classifier ({} is missing)", dir.display(), vectorize::save::CLASSIFIER),
            "make one: tunesmith vectorize classify train DATA --output-dir DIR",
        ));
    }
    let mut classifier = vectorize::load::classifier(dir)?;
    attach(environment, &mut classifier.vectorizer, progress)?;
    Ok(classifier)
}

/// The columns that the classifier was trained on, where the user names none.
fn with_columns(dir: &Path, choice: &DataChoice) -> DataChoice {
    let card = std::fs::read(dir.join(DATA_CARD)).ok().and_then(|bytes| serde_json::from_slice::<DataCard>(&bytes).ok());
    let mut out = choice.clone();
    if out.text_column.is_empty() {
        out.text_column = card.as_ref().map_or_else(|| vec!["text".to_owned()], |c| c.text_column.clone());
    }
    if out.label_column.is_empty() {
        out.label_column = card.map_or_else(|| "label".to_owned(), |c| c.label_column);
    }
    out
}

/// Judges on a file.
///
/// # Errors
/// A directory that holds no classifier; data that cannot be used.
pub fn eval(environment: &Environment, dir: &Path, data: &DataChoice, progress: &mut dyn Progress) -> Result<crate::eval::Outcome> {
    let classifier = open(environment, dir, progress)?;
    Ok(crate::eval::Outcome { report: judge(environment, &classifier, &with_columns(dir, data), progress)? })
}

fn judge(environment: &Environment, classifier: &Classifier, data: &DataChoice, progress: &mut dyn Progress) -> Result<EvalReport> {
    let mut table = read(environment, data, Labels::Required, progress)?;
    let classes = known(&mut table, &classifier.labels, progress)?;
    Ok(classifier.evaluate(&table.texts, &classes)?)
}

/// Leaves the rows whose label the classifier knows, and says which it does not.
pub(crate) fn known(table: &mut Table, labels: &[String], progress: &mut dyn Progress) -> Result<Vec<u32>> {
    let numbers = table.numbers(labels);
    let help = format!("the classifier's labels are {}; others are translated with --label-map theirs=ours", labels.join(", "));
    if let Some(first) = numbers.iter().position(Option::is_none) {
        let unknown = numbers.iter().filter(|n| n.is_none()).count();
        let example = format!("{}: {:?}", table.origins[first], table.labels[first].as_deref().unwrap_or_default());
        if unknown == numbers.len() {
            return Err(StageError::input_help(format!("no row has a label that the classifier knows ({example})"), help));
        }
        progress.warn(&format!("{} with a label that the classifier does not know (the first: {example})", plural(unknown, "row")));
        progress.warn(&format!("  {help}"));
    }
    table.retain(&numbers.iter().map(Option::is_some).collect::<Vec<_>>());
    Ok(numbers.into_iter().flatten().collect())
}

/// Predicts texts, or the rows of a file, a line each.
///
/// # Errors
/// A directory that holds no classifier; data that cannot be used.
pub fn predict(
    environment: &Environment,
    dir: &Path,
    texts: &[String],
    data: Option<&DataChoice>,
    sink: &mut dyn FnMut(&Prediction),
    progress: &mut dyn Progress,
) -> Result<()> {
    let classifier = open(environment, dir, progress)?;
    let read_texts;
    let texts = match data {
        Some(data) => {
            read_texts = read(environment, &with_columns(dir, data), Labels::Ignored, progress)?.texts;
            &read_texts
        }
        None => texts,
    };
    for batch in texts.chunks(1024) {
        classifier.predict(batch)?.iter().for_each(&mut *sink);
        if progress.cancelled() {
            return Err(StageError::Stopped { help: None });
        }
    }
    Ok(())
}

/// What speaks for which class.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// Strongest features of every class.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassFeatures>,
    /// Of one text: what it was called, and what in it spoke for that and against it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<TextExplanation>,
}

/// Features of a class.
#[derive(Clone, Debug, Serialize)]
pub struct ClassFeatures {
    /// The class.
    pub label: String,
    /// Strongest first.
    pub features: Vec<Contribution>,
}

/// Why a text was called what it was.
#[derive(Clone, Debug, Serialize)]
pub struct TextExplanation {
    /// The prediction.
    #[serde(flatten)]
    pub prediction: Prediction,
    /// For it first, against it last.
    pub features: Vec<Contribution>,
}

/// Top features of every class, or of one text.
///
/// # Errors
/// A classifier without weights.
pub fn explain(environment: &Environment, dir: &Path, text: Option<&str>, top: usize, progress: &mut dyn Progress) -> Result<Explanation> {
    let classifier = open(environment, dir, progress)?;
    let Some(text) = text else {
        let features = classifier.top_features(top)?;
        let classes = classifier.labels.iter().cloned().zip(features).map(|(label, features)| ClassFeatures { label, features }).collect();
        return Ok(Explanation { classes, text: None });
    };
    let mut predictions = classifier.predict(&[text.to_owned()])?;
    // One text in, one prediction out.
    let prediction = predictions.remove(0);
    let class = classifier.labels.iter().position(|l| *l == prediction.label).unwrap_or(0);
    let features = classifier.explain(text, class, top)?;
    Ok(Explanation { classes: Vec::new(), text: Some(TextExplanation { prediction, features }) })
}

impl TrainReport {
    /// As a person reads it.
    pub fn to_text(&self) -> String {
        let mut out = format!(
            "{}: {} on {} and {} features",
            self.output_dir.display(),
            plural(self.labels.len(), "class").replace("classs", "classes"),
            plural(self.rows, "row"),
            count(self.features as u64)
        );
        if let Some(cv) = &self.cross_validation {
            let spread: Vec<String> = cv.accuracies.iter().map(|a| format!("{a:.3}")).collect();
            let _ = write!(out, "\ncross-validation ({} folds)  {}", cv.folds, headline(&cv.report));
            let _ = write!(out, "\n  by fold {}; calibration error {:.3}", spread.join(" "), cv.calibration_error);
        }
        if let Some(test) = &self.test {
            let _ = write!(out, "\ntest  {} on {}", headline(test), plural(test.n, "row"));
        }
        out
    }
}

impl Explanation {
    /// As a person reads it.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        for class in &self.classes {
            let _ = writeln!(out, "{}", class.label);
            class.features.iter().for_each(|f| {
                let _ = writeln!(out, "  {:>8.3}  {}", f.weight, f.feature);
            });
        }
        if let Some(text) = &self.text {
            let p = text.prediction.normalized.get(&text.prediction.label).copied().unwrap_or_default();
            let _ = writeln!(out, "{} ({p:.3})", text.prediction.label);
            text.features.iter().for_each(|f| {
                let _ = writeln!(out, "  {:>+8.3}  {}", f.weight, f.feature);
            });
        }
        out.trim_end().to_owned()
    }
}
