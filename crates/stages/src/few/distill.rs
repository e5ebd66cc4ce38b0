//! `tunesmith label distill`: a small classifier learns from what a larger model says of rows without labels, and whether that helped.

use std::fmt::Write;
use std::path::PathBuf;

use annotate::methods::active::accuracy;
use dataset::labels::AuthorKind;
use recipe::Recipe;
use serde::Serialize;
use serde_json::{Map, json};
use vectorize::learn::LogisticRegression;
use vectorize::learn::folds::stratified;
use vectorize::{ByClass, Features, Fitted, Learner};

use super::evidence::{self, Said, Written};
use super::{Learning, comparison, learner, prepare, unlabelled};
use crate::environment::Environment;
use crate::error::Result;
use crate::human::plural;
use crate::language::teacher::{Teacher, without_preference};
use crate::manifest::write_atomic;
use crate::progress::Progress;
use crate::vectorize::table::Table;

/// What a row of the teacher's may count for, against 1 of a labelled one; cross-validation on labelled rows chooses.
const WEIGHTS: [f64; 4] = [0.03, 0.1, 0.3, 1.0];
/// Folds of that choice.
const FOLDS: usize = 5;
/// Labelled rows of each class, new to the teacher, from which its probabilities are fitted to them.
const ENOUGH: usize = 20;
/// Gain in accuracy below which the teacher is not said to have helped.
const GAIN: f64 = 0.005;
/// Probabilities below this are not learned from.
const LEAST: f64 = 1e-3;

/// What to learn from.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// Rows with labels, the student's features, and the student.
    pub learning: Learning,
    /// Rows without; of a store those that people did not settle, if not given.
    pub unlabelled: Option<String>,
    /// A run, a classifier's directory, or with `recipe` any model.
    pub teacher: String,
    /// Says the task of a teacher that is no run.
    pub recipe: Option<Recipe>,
    /// Rows to judge on; a fifth of the labelled rows if not given.
    pub test: Option<String>,
    /// Write the data set here, as JSON lines.
    pub output: Option<PathBuf>,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Labelled rows.
    pub labelled: usize,
    /// Rows that the teacher labelled.
    pub unlabelled: usize,
    /// The teacher.
    pub teacher: String,
    /// How its probabilities were put right: `labels` (fitted to labelled rows that it had not seen), `preference` (what it prefers
    /// whatever the text taken off), `none`.
    pub calibration: &'static str,
    /// Accuracy of the teacher, so put right, on the rows judged on that it had not been trained on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher_accuracy: Option<f64>,
    /// Accuracy of the student of labelled rows alone.
    pub supervised: f64,
    /// Accuracy of the student of the teacher's rows, too.
    pub distilled: f64,
    /// What a row of the teacher's counts for.
    pub weight: f64,
    /// Whether that helped.
    pub helped: bool,
    /// The data set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<PathBuf>,
    /// What went into the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<Written>,
}

/// A teacher's probabilities of the rows without labels, and how they were put right.
struct Lessons {
    p: ByClass,
    calibration: &'static str,
    judge: Option<Fitted>,
}

/// Natural logarithms as rows of features.
fn logs(p: &ByClass) -> Features {
    Features::from_dense(p.classes, &p.values.iter().map(|p| p.max(1e-30).ln()).collect::<Vec<_>>())
}

/// Rows that add up to 1.
fn whole(mut p: ByClass) -> ByClass {
    let classes = p.classes;
    for row in p.values.chunks_exact_mut(classes.max(1)) {
        let sum: f64 = row.iter().sum();
        row.iter_mut().for_each(|v| *v = if sum > 0.0 { *v / sum } else { 1.0 / classes as f64 });
    }
    p
}

/// Puts the teacher's probabilities right. `known` are what it says of labelled rows that are new to it, with their classes.
fn lessons(raw: ByClass, known: (&ByClass, &[u32])) -> Result<Lessons> {
    let classes = raw.classes;
    let fewest = (0..classes as u32).map(|c| known.1.iter().filter(|y| **y == c).count()).min().unwrap_or(0);
    if fewest >= ENOUGH {
        // A logistic regression on logarithms (Platt's scaling of every class) learns scale and preference at once.
        let judge = LogisticRegression { c: 1.0, ..Default::default() }.fit(&logs(known.0), known.1, None, classes)?;
        return Ok(Lessons { p: judge.predict_proba(&logs(&raw)), calibration: "labels", judge: Some(judge) });
    }
    Ok(Lessons { p: raw, calibration: "none", judge: None })
}

/// Labelled rows, then every row of the teacher's once for each class that it finds possible.
fn together(x: &Features, y: &[u32], rest: &Features, p: &ByClass, weight: f64) -> (Features, Vec<u32>, Vec<f64>) {
    let (mut all, mut classes, mut weights) = (x.clone(), y.to_vec(), vec![1.0; y.len()]);
    for i in 0..rest.rows() {
        for (class, &share) in p.row(i).iter().enumerate().filter(|(_, share)| **share > LEAST) {
            all.push(rest.entries(i));
            classes.push(class as u32);
            weights.push(weight * share);
        }
    }
    (all, classes, weights)
}

/// The weight with which labelled rows that were held out are told best.
fn best_weight(learner: &dyn Learner, x: &Features, y: &[u32], rest: &Features, p: &ByClass) -> Result<f64> {
    let fold_of = stratified(y, None, FOLDS, 0);
    let mut right = [0usize; WEIGHTS.len()];
    for fold in 0..FOLDS as u32 {
        let (inside, outside): (Vec<usize>, Vec<usize>) = (0..y.len()).partition(|&i| fold_of[i] == fold);
        let of = |rows: &[usize]| (x.select(rows), rows.iter().map(|&i| y[i]).collect::<Vec<u32>>());
        let ((asked, asked_y), (own, own_y)) = (of(&inside), of(&outside));
        if asked_y.is_empty() || own_y.is_empty() {
            continue;
        }
        for (n, &weight) in right.iter_mut().zip(&WEIGHTS) {
            let (x, y, weights) = together(&own, &own_y, rest, p, weight);
            let said = learner.fit(&x, &y, Some(&weights), p.classes)?.predict_proba(&asked);
            *n += asked_y.iter().enumerate().filter(|(i, c)| said.best(*i) == **c as usize).count();
        }
    }
    // Of equals the smaller: people's labels count for more.
    let best = (0..WEIGHTS.len()).fold(0, |b, i| if right[i] > right[b] { i } else { b });
    Ok(WEIGHTS[best])
}

/// Asks the teacher, trains the student with and without, writes both's rows.
///
/// # Errors
/// Data, a teacher or settings that cannot be used.
pub fn run(environment: &Environment, job: &Job, progress: &mut dyn Progress) -> Result<Report> {
    let rest = unlabelled(environment, &job.learning.data, job.unlabelled.as_deref(), progress)?;
    let prepared = prepare(environment, &job.learning.data, &job.learning.features, &rest.texts, progress)?;
    let judged = comparison(environment, &job.learning.data, job.test.as_deref(), &prepared, progress)?;
    let (labels, texts) = (&prepared.labels, &prepared.table.texts);
    let teacher = Teacher::open(environment, &job.teacher, job.recipe.as_ref(), progress)?;
    teacher.check(labels)?;
    let mut raw = whole(teacher.probabilities(&rest.texts, labels, progress)?);
    let rows: Vec<usize> = judged.rows.clone().unwrap_or_else(|| (0..texts.len()).collect());
    let new: Vec<usize> = rows.into_iter().filter(|&i| teacher.tells_its_rows() && !teacher.has_seen(&texts[i])).collect();
    let asked: Vec<String> = new.iter().map(|&i| texts[i].clone()).collect();
    let known = whole(teacher.probabilities(&asked, labels, progress)?);
    let known_y: Vec<u32> = new.iter().map(|&i| prepared.y[i]).collect();
    let mut taught = lessons(raw.clone(), (&known, &known_y))?;
    if taught.judge.is_none() && teacher.is_untaught() {
        without_preference(&mut raw, None);
        taught = Lessons { p: raw, calibration: "preference", judge: None };
    }
    let settings = learner(job.learning.learner, &job.learning.features);
    let learner = settings.learner();
    let classes = labels.len();
    let unlabelled = prepared.transform(&rest.texts, progress)?;
    let score = |model: &Fitted| accuracy(model, &judged.test, &judged.test_y);
    let supervised = score(&learner.fit(&judged.x, &judged.y, None, classes)?);
    let weight = best_weight(learner, &judged.x, &judged.y, &unlabelled, &taught.p)?;
    let (x, y, weights) = together(&judged.x, &judged.y, &unlabelled, &taught.p, weight);
    let distilled = score(&learner.fit(&x, &y, Some(&weights), classes)?);
    let helped = distilled >= supervised + GAIN;
    if let Some(path) = &job.output {
        write_atomic(path, data_set(&prepared.table, &rest, labels, &taught.p, teacher.name()).as_bytes())?;
    }
    let best = |i: usize| (taught.p.best(i), taught.p.row(i)[taught.p.best(i)]);
    let store = match &job.learning.data.store {
        Some(dir) => {
            let one = |i: usize| Said::class(rest.documents[i], &prepared.table.group, &labels[best(i).0], best(i).1);
            let detail =
                json!({"teacher": job.teacher, "calibration": taught.calibration, "supervised": supervised, "distilled": distilled});
            // Rows of a file are none of the store's.
            let said = (0..rest.documents.len()).map(one).collect();
            Some(evidence::write(dir, "distill", AuthorKind::Teacher, teacher.name(), detail, said)?)
        }
        None => None,
    };
    let teacher_accuracy = on_test(environment, job, &prepared, &judged, (&teacher, &taught), progress)?;
    Ok(Report {
        labelled: prepared.y.len(),
        unlabelled: rest.texts.len(),
        teacher: teacher.name().to_owned(),
        calibration: taught.calibration,
        teacher_accuracy,
        supervised,
        distilled,
        weight,
        helped,
        output: job.output.clone(),
        store,
    })
}

/// The teacher itself on the rows that are judged on.
fn on_test(
    environment: &Environment,
    job: &Job,
    prepared: &super::Prepared,
    judged: &super::Comparison,
    (teacher, taught): (&Teacher, &Lessons),
    progress: &mut dyn Progress,
) -> Result<Option<f64>> {
    let labels = &prepared.labels;
    let (texts, y): (Vec<String>, Vec<u32>) = match (&job.test, &judged.rows) {
        (Some(file), _) => {
            let mut table = super::read(environment, &job.learning.data.other(file), super::Labels::Required, progress)?;
            let y = super::known(&mut table, labels, progress)?;
            (table.texts, y)
        }
        (None, Some(learned)) => {
            let held: Vec<usize> = (0..prepared.y.len()).filter(|i| learned.binary_search(i).is_err()).collect();
            (held.iter().map(|&i| prepared.table.texts[i].clone()).collect(), held.iter().map(|&i| prepared.y[i]).collect())
        }
        (None, None) => return Ok(None),
    };
    let new: Vec<usize> = (0..texts.len()).filter(|&i| !teacher.has_seen(&texts[i])).collect();
    if new.is_empty() || !teacher.tells_its_rows() {
        return Ok(None);
    }
    let asked: Vec<String> = new.iter().map(|&i| texts[i].clone()).collect();
    let mut p = whole(teacher.probabilities(&asked, labels, progress)?);
    match (&taught.judge, taught.calibration) {
        (Some(judge), _) => p = judge.predict_proba(&logs(&p)),
        (None, "preference") => without_preference(&mut p, None),
        _ => {}
    }
    let right = new.iter().enumerate().filter(|(at, i)| p.best(*at) == y[**i] as usize).count();
    Ok(Some(right as f64 / new.len() as f64))
}

/// Labelled rows as people labelled them, then the others with the teacher's label and probabilities; `by` keeps them apart.
fn data_set(labelled: &Table, rest: &Table, labels: &[String], p: &ByClass, teacher: &str) -> String {
    let mut lines = String::new();
    for i in 0..labelled.texts.len() {
        let row = json!({"id": labelled.ids[i], "text": labelled.texts[i], "label": labelled.labels[i], "by": "human"});
        lines.push_str(&row.to_string());
        lines.push('\n');
    }
    for i in 0..rest.texts.len() {
        let (best, row) = (p.best(i), p.row(i));
        let soft: Map<String, serde_json::Value> = labels.iter().cloned().zip(row.iter().map(|&v| json!(v))).collect();
        let by = json!({"id": rest.ids[i], "text": rest.texts[i], "label": labels[best], "by": "teacher", "teacher": teacher,
            "confidence": row[best], "probabilities": soft});
        lines.push_str(&by.to_string());
        lines.push('\n');
    }
    lines
}

impl Report {
    /// As a person reads it.
    pub fn to_text(&self) -> String {
        let mut out = format!("{} labelled rows alone: accuracy {:.3}", self.labelled, self.supervised);
        let right = match self.calibration {
            "labels" => ", its probabilities fitted to labelled rows",
            "preference" => ", what it prefers whatever the text taken off",
            _ => "",
        };
        if let Some(accuracy) = self.teacher_accuracy {
            let _ = write!(out, "\n{} itself: {accuracy:.3}{right}", self.teacher);
        }
        let gain = self.distilled - self.supervised;
        let _ = write!(
            out,
            "\nwith {} of the teacher's, each counting {}: {:.3} ({gain:+.3})",
            plural(self.unlabelled, "row"),
            self.weight,
            self.distilled
        );
        let _ = write!(out, "\n{}", if self.helped { "the teacher helped" } else { "the teacher did not help on these rows" });
        if let Some(store) = &self.store {
            let _ = write!(out, "\n{}", store.to_text());
        }
        out
    }
}
