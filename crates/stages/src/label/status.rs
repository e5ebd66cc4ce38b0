//! `tunesmith label status --store DIR`: where a project stands, and what more labels should bring.

use std::path::Path;

use ::annotate::Store;
use ::annotate::forecast::{Judged, Plan, Rows, too_few};
use ::annotate::status::Gather;
use rayon::prelude::*;
use serde::Serialize;

pub use ::annotate::forecast::{Forecast, Point};
pub use ::annotate::status::{AuthorCount, ClassCount, QuestionCount, Status};

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
}

/// A learning curve of the store's labels, by the classifier of `label queue`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Curve {
    /// The question, where classes are of a group.
    pub question: String,
    /// The classes.
    pub classes: Vec<String>,
    /// Documents that people settled and that it says nothing of: several classes, none, spans only.
    pub others: usize,
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
        return Ok(Report { status, learning_curve: None, no_learning_curve: Some("not asked for".into()) });
    }
    let known = known.finish();
    if let Some(reason) = too_few(&known.y) {
        return Ok(Report { status, learning_curve: None, no_learning_curve: Some(reason) });
    }
    let forecast = foretell(environment, &known, progress)?;
    let curve = Curve { question: known.question, classes: known.classes, others: known.others, forecast };
    Ok(Report { status, learning_curve: Some(curve), no_learning_curve: None })
}

fn foretell(environment: &Environment, known: &learn::Known, progress: &mut dyn Progress) -> Result<Forecast> {
    let x = learn::features(environment, &FeatureChoice::default(), &known.texts, &mut crate::Silent)?;
    let settings = learner(LearnerChoice::default(), &FeatureChoice::default());
    let rows = Rows { x: &x, y: &known.y, classes: known.classes.len(), learner: settings.learner() };
    let plan = Plan::new(&known.y);
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
