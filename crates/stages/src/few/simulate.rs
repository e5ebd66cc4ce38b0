//! `tunesmith label simulate`: what would choosing rows have brought, on data whose labels are all known?

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use annotate::methods::active::{Point, Simulation, Strategy, accuracy, simulate};
use rayon::prelude::*;
use serde::Serialize;
use vectorize::learn::folds::stratified;

use super::{learner, prepare, test_rows};
use crate::environment::Environment;
use crate::error::{Result, StageError};
use crate::progress::{Progress, Unit};
use crate::vectorize::choices::{FeatureChoice, LearnerChoice};
use crate::vectorize::table::DataChoice;

/// What to simulate.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// Rows with labels.
    pub data: DataChoice,
    /// Rows to judge on; a fifth of `data` if not given.
    pub test: Option<String>,
    /// Strategies by name.
    pub strategies: Vec<String>,
    /// Number of seeds, from 0.
    pub seeds: u64,
    /// Labels to begin with.
    pub initial: usize,
    /// Labels of a round.
    pub batch: usize,
    /// Labels to end with: a share below 1, or a number.
    pub budget: f64,
    /// Features.
    pub features: FeatureChoice,
    /// Classifier.
    pub learner: LearnerChoice,
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Accuracy with all labels.
    pub full: f64,
    /// Rows that could be labelled.
    pub rows: usize,
    /// Rows judged on.
    pub test_rows: usize,
    /// A curve for each strategy and seed.
    pub curves: Vec<Curve>,
}

/// A learning curve.
#[derive(Clone, Debug, Serialize)]
pub struct Curve {
    /// Strategy.
    pub strategy: String,
    /// Seed.
    pub seed: u64,
    /// Labels and accuracy.
    pub points: Vec<Point>,
}

/// Labels, and over seeds the mean, lowest and highest accuracy with them.
type Summary = (usize, f64, f64, f64);

/// Simulates all strategies with all seeds.
///
/// # Errors
/// Data or settings that cannot be used.
pub fn run(environment: &Environment, job: &Job, progress: &mut dyn Progress) -> Result<Report> {
    let strategies: Vec<Strategy> =
        job.strategies.iter().map(|name| name.parse().map_err(|e| StageError::input(format!("--strategy: {e}")))).collect::<Result<_>>()?;
    let prepared = prepare(environment, &job.data, &job.features, &[], progress)?;
    let ((x, y), (test, test_y)) = match &job.test {
        Some(file) => {
            let test = test_rows(environment, &job.data, file, &prepared, progress)?;
            ((prepared.x.clone(), prepared.y.clone()), test)
        }
        None => {
            progress.note("test   a fifth of the rows, each class with its share (--test FILE for others)");
            let fold_of = stratified(&prepared.y, None, 5, 0);
            let (inside, outside): (Vec<usize>, Vec<usize>) = (0..prepared.y.len()).partition(|&i| fold_of[i] == 0);
            let of = |rows: &[usize]| (prepared.x.select(rows), rows.iter().map(|&i| prepared.y[i]).collect::<Vec<u32>>());
            (of(&outside), of(&inside))
        }
    };
    let settings = learner(job.learner, &job.features);
    let learner = settings.learner();
    let classes = prepared.labels.len();
    let budget = match job.budget {
        b if b > 0.0 && b < 1.0 => (b * x.rows() as f64).round() as usize,
        b if b >= 1.0 && b.is_finite() => b as usize,
        b => return Err(StageError::input(format!("--budget {b}: is neither a share below 1 nor a number of labels"))),
    };
    if job.initial == 0 || job.batch == 0 || job.seeds == 0 {
        return Err(StageError::input("--initial, --batch and --seeds are at least 1"));
    }
    if budget < job.initial {
        let (given, initial) = (job.budget, job.initial);
        let reason = format!("--budget {given}: {budget} labels of {} rows are fewer than --initial {initial}", x.rows());
        return Err(StageError::input(format!("{reason}; a budget from 1 on is a number of labels, below 1 a share of the rows")));
    }
    let s = Simulation { x: &x, y: &y, test: &test, test_y: &test_y, classes, learner, initial: job.initial, batch: job.batch, budget };
    let full = accuracy(&learner.fit(&x, &y, None, classes)?, &test, &test_y);
    let runs: Vec<(Strategy, u64)> = strategies.iter().flat_map(|&st| (0..job.seeds).map(move |seed| (st, seed))).collect();
    progress.begin("simulate", Some(runs.len() as u64), 0, Unit::Rows);
    let stop = AtomicUsize::new(0);
    let (tell, told) = mpsc::channel();
    let curves = std::thread::scope(|scope| {
        let (s, runs, stop) = (&s, &runs, &stop);
        let worker = scope.spawn(move || {
            let go_on = || stop.load(Ordering::Relaxed) == 0;
            let one = |tell: &mut mpsc::Sender<()>, &(strategy, seed): &(Strategy, u64)| {
                let points = simulate(s, strategy, seed, &go_on)?;
                let _ = tell.send(()); // nobody listens any more: then nobody is told
                Ok(Curve { strategy: strategy.to_string(), seed, points })
            };
            runs.par_iter().map_with(tell, one).collect::<std::result::Result<Vec<Curve>, vectorize::VectorizeError>>()
        });
        while let Ok(()) | Err(mpsc::RecvTimeoutError::Timeout) =
            told.recv_timeout(std::time::Duration::from_millis(100)).inspect(|()| progress.advance(1))
        {
            if progress.cancelled() {
                stop.store(1, Ordering::Relaxed);
            }
        }
        worker.join()
    });
    progress.end();
    let curves = match curves {
        Ok(curves) => curves?,
        Err(panic) => std::panic::resume_unwind(panic),
    };
    let empty = curves.iter().filter(|c| c.points.is_empty()).count();
    if empty > 0 {
        progress.warn(&format!("{empty} of {} curves have no point: their labels were of one class all along", curves.len()));
    }
    Ok(Report { full, rows: x.rows(), test_rows: test.rows(), curves })
}

impl Report {
    /// Mean accuracy of each strategy at each number of labels: `strategy -> [(labels, mean, lowest, highest)]`.
    fn means(&self) -> Vec<(&str, Vec<Summary>)> {
        let mut order: Vec<&str> = Vec::new();
        let mut all: BTreeMap<&str, BTreeMap<usize, Vec<f64>>> = BTreeMap::new();
        for curve in &self.curves {
            if !order.contains(&curve.strategy.as_str()) {
                order.push(&curve.strategy);
            }
            let of = all.entry(&curve.strategy).or_default();
            curve.points.iter().for_each(|p| of.entry(p.labels).or_default().push(p.accuracy));
        }
        let summary = |(&labels, v): (&usize, &Vec<f64>)| {
            let mean = v.iter().sum::<f64>() / v.len() as f64;
            (labels, mean, v.iter().copied().fold(1.0, f64::min), v.iter().copied().fold(0.0, f64::max))
        };
        order.into_iter().map(|name| (name, all[name].iter().map(summary).collect())).collect()
    }

    /// As a person reads it: about ten points of each curve, with a bar from its lowest to its highest accuracy.
    pub fn to_text(&self) -> String {
        let means = self.means();
        let values = || means.iter().flat_map(|(_, points)| points.iter().map(|p| p.1)).chain([self.full]);
        let (low, high) = (values().fold(1.0, f64::min), values().fold(0.0, f64::max));
        let mut out = format!("all {} labels: accuracy {:.3} on {} rows", self.rows, self.full, self.test_rows);
        for (name, points) in &means {
            let _ = write!(out, "\n\n{name}\n  labels  accuracy  of all  (seeds)");
            let step = points.len().div_ceil(10).max(1);
            for (i, (labels, mean, least, most)) in points.iter().enumerate() {
                if i % step != 0 && i + 1 != points.len() {
                    continue;
                }
                let width = if high > low { ((mean - low) / (high - low) * 40.0).round() as usize } else { 0 };
                let _ = write!(
                    out,
                    "\n  {labels:>6}  {mean:.3}     {:.3}   {least:.3}-{most:.3}  {}",
                    mean / self.full.max(1e-9),
                    "▇".repeat(width.max(1))
                );
            }
        }
        out
    }
}
