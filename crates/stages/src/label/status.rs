//! `tunesmith label status --store DIR`: where a project stands, and what more labels should bring.

use std::path::Path;

use ::annotate::Store;
use ::annotate::forecast::{Judged, Plan, Rows, too_few};
use ::annotate::status::Gather;
use rayon::prelude::*;
use serde::Serialize;

pub use ::annotate::forecast::{Forecast, Point};
pub use ::annotate::status::{AuthorCount, ClassCount, QuestionCount, Status};

pub use super::learn::LeftOut;

use super::learn;
use crate::environment::Environment;
use crate::error::{Result, StageError};
use crate::few::learner;
use crate::progress::{Progress, Unit};
use crate::vectorize::choices::{FeatureChoice, LearnerChoice};

/// What scripts may rely on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Counts.
    #[serde(flatten)]
    pub status: Status,
    /// What more labels should bring.
    pub learning_curve: Option<Curve>,
    /// Why that is not told.
    pub no_learning_curve: Option<String>,
    /// Documents that people labelled and the learning curve says nothing of, with the reasons.
    pub left_out: Vec<LeftOut>,
}

/// A learning curve of the store's labels, by the classifier of `label queue`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Curve {
    /// The question, where classes are of a group.
    pub question: String,
    /// The classes.
    pub classes: Vec<String>,
    /// Documents that people labelled and that it says nothing of.
    pub others: usize,
    /// Whether documents have several classes: then there is a classifier for each, and accuracy is the share of documents that all of them
    /// get right.
    pub several: bool,
    /// Points, law, what is foretold.
    #[serde(flatten)]
    pub forecast: Forecast,
}

/// The status of the store in `dir` against a budget of labels; with `curve`, what more labels should bring.
///
/// # Errors
/// If there is no store.
pub fn run(environment: &Environment, dir: &Path, budget: usize, curve: bool, progress: &mut dyn Progress) -> Result<Report> {
    let store = Store::existing(dir)?;
    let mut gather = Gather::default();
    let mut known = learn::Gather::default();
    store.each(&mut |entry| {
        gather.add(&entry);
        if curve {
            known.add(&entry);
        }
        Ok(())
    })?;
    let status = gather.finish(budget);
    if !curve {
        return Ok(Report { status, learning_curve: None, no_learning_curve: Some("not asked for".into()), left_out: Vec::new() });
    }
    let mut known = known.of_any_classes();
    let others = known.others();
    let left_out = std::mem::take(&mut known.left_out);
    if let Some(reason) = too_few(&known.y) {
        return Ok(Report { status, learning_curve: None, no_learning_curve: Some(reason), left_out });
    }
    let forecast = foretell(environment, &known, progress)?;
    let curve = Curve { question: known.question, classes: known.classes, others, several: known.sets.is_some(), forecast };
    Ok(Report { status, learning_curve: Some(curve), no_learning_curve: None, left_out })
}

fn foretell(environment: &Environment, known: &learn::Known, progress: &mut dyn Progress) -> Result<Forecast> {
    let x = learn::features(environment, &FeatureChoice::default(), &known.texts, &mut crate::Silent)?;
    let settings = learner(LearnerChoice::default(), &FeatureChoice::default());
    let classes = known.classes.len();
    let rows = Rows { x: &x, y: &known.y, sets: known.sets.as_deref(), classes, learner: settings.learner() };
    let plan = Plan::new(&known.y, if known.sets.is_some() { classes } else { 1 });
    let jobs = plan.jobs();
    progress.begin("learning curve", Some(jobs.len() as u64), 0, Unit::Rows);
    let mut judged: Vec<Judged> = Vec::with_capacity(jobs.len());
    // A few at a time, so that a stop is heard.
    for some in jobs.chunks(rayon::current_num_threads().max(1)) {
        if progress.cancelled() {
            progress.end();
            return Err(StageError::Stopped { help: Some("--no-curve leaves the learning curve out".into()) });
        }
        judged.extend(some.par_iter().map(|job| plan.run(&rows, *job)).collect::<vectorize::Result<Vec<Judged>>>()?);
        progress.advance(some.len() as u64);
    }
    progress.end();
    Ok(plan.forecast(&judged))
}
