//! What more labels should bring: a learning curve by cross-validation on nested subsets of the labels there are, a power law through it,
//! and how uncertain both are.
//!
//! The error of a classifier that learned from `n` labels is taken to be `a + b·n⁻ᶜ` (Cortes et al. 1994, Learning Curves: Asymptotic
//! Values and Rate of Convergence), fitted by least squares in which larger subsets weigh more (Figueroa et al. 2012, Predicting sample
//! size required for classification performance, section Methods). The intervals come from drawing documents and seeds anew and fitting
//! again (Efron's bootstrap).

use std::collections::BTreeSet;

use kernels::rng::Rng;
use serde::Serialize;
use vectorize::learn::folds::stratified;
use vectorize::{Features, Learner};

/// Labels ahead that are foretold.
pub const AHEAD: usize = 100;
/// Fewer labels tell nothing.
pub const LEAST: usize = 50;
/// So many labels must not be of the most frequent class.
pub const LEAST_OTHERS: usize = 10;
/// Folds of the cross-validation.
pub const FOLDS: usize = 5;
/// Sizes of subsets, as shares of what is learned from.
const SHARES: [f64; 6] = [0.15, 0.25, 0.4, 0.6, 0.8, 1.0];
/// Samples of the bootstrap.
const SAMPLES: usize = 300;
/// Share of the samples on each side of an interval.
const TAIL: f64 = 0.05;
/// Exponents that are tried, from 0.1 to 1.5: steps of a 250th.
const EXPONENTS: std::ops::RangeInclusive<u32> = 25..=375;
/// Keeps these draws apart from every other use of a seed ("crve").
const STREAM: u64 = 0x6372_7665;

/// Rows of known class.
pub struct Rows<'a> {
    /// Their features.
    pub x: &'a Features,
    /// Their classes; where a row may have several, which combination of them it has.
    pub y: &'a [u32],
    /// Where a row may have several: of each row whether it has each class. Then every class is learned by itself (binary relevance), and a
    /// row is right if all of its classes are.
    pub sets: Option<&'a [Vec<bool>]>,
    /// Number of classes.
    pub classes: usize,
    /// What learns.
    pub learner: &'a dyn Learner,
}

/// Why these classes of rows give no curve; `None` if they do.
pub fn too_few(y: &[u32]) -> Option<String> {
    let classes: BTreeSet<u32> = y.iter().copied().collect();
    let most = classes.iter().map(|c| y.iter().filter(|d| *d == c).count()).max().unwrap_or(0);
    if classes.len() < 2 {
        return Some(match y.len() {
            0 => "no document has a class that people settled".into(),
            n => format!("{n} labels of one class only: a classifier needs two"),
        });
    }
    if y.len() < LEAST {
        return Some(format!("{} documents with a class of people: {LEAST} are needed to tell", y.len()));
    }
    let others = y.len() - most;
    (others < LEAST_OTHERS).then(|| format!("only {others} labels are not of the most frequent class: {LEAST_OTHERS} are needed to tell"))
}

/// A cross-validation on subsets: all pairs of [`Plan::jobs`] are to be [`Plan::run`], in any order.
#[derive(Debug, Clone)]
pub struct Plan {
    seeds: u64,
    sizes: Vec<usize>,
    folds: Vec<Vec<u32>>,
}

/// Which rows were judged right: of each size, of each row of the fold.
pub type Judged = Vec<Vec<bool>>;

impl Plan {
    /// For rows of these classes (or combinations of classes), with as many seeds as a few seconds allow if each model is made of so many
    /// classifiers.
    pub fn new(y: &[u32], classifiers: usize) -> Self {
        let seeds = (4000 / (y.len() * classifiers).max(1)).clamp(1, 5) as u64;
        let folds: Vec<Vec<u32>> = (0..seeds).map(|seed| stratified(y, None, FOLDS, seed)).collect();
        let smallest = y.len() - y.len().div_ceil(FOLDS);
        let mut sizes: Vec<usize> = SHARES.iter().map(|share| (share * smallest as f64).round() as usize).collect();
        sizes.retain(|n| *n >= 2);
        sizes.dedup();
        Self { seeds, sizes, folds }
    }

    /// Seeds and folds, each a piece of work of its own.
    pub fn jobs(&self) -> Vec<(u64, u32)> {
        (0..self.seeds).flat_map(|seed| (0..FOLDS as u32).map(move |fold| (seed, fold))).collect()
    }

    /// Learns from nested subsets of all rows but the fold's, and judges the fold's.
    ///
    /// # Errors
    /// The learner's own.
    pub fn run(&self, rows: &Rows<'_>, (seed, fold): (u64, u32)) -> vectorize::Result<Judged> {
        let of = &self.folds[seed as usize];
        let (inside, mut outside): (Vec<usize>, Vec<usize>) = (0..rows.y.len()).partition(|&i| of[i] == fold);
        Rng::keyed(seed, &[STREAM, u64::from(fold)]).shuffle(&mut outside);
        let asked = rows.x.select(&inside);
        let one = |size: &usize| {
            let subset = &outside[..(*size).min(outside.len())];
            if let Some(sets) = rows.sets {
                return each_class(rows, sets, subset, &inside, &asked);
            }
            let y: Vec<u32> = subset.iter().map(|&i| rows.y[i]).collect();
            // Of one class alone nothing is learned but that class.
            if y.iter().all(|c| *c == y[0]) {
                return Ok(inside.iter().map(|&i| rows.y[i] == y[0]).collect());
            }
            let model = rows.learner.fit(&rows.x.select(subset), &y, None, rows.classes)?;
            let p = model.predict_proba(&asked);
            Ok(inside.iter().enumerate().map(|(at, &i)| p.best(at) == rows.y[i] as usize).collect())
        };
        self.sizes.iter().map(one).collect()
    }

    /// The forecast from what all jobs found, in their order.
    pub fn forecast(&self, jobs: &[Judged]) -> Forecast {
        let labels = self.folds.first().map_or(0, Vec::len);
        // right[seed][size][row]
        let mut right = vec![vec![vec![false; labels]; self.sizes.len()]; self.seeds as usize];
        for ((seed, fold), judged) in self.jobs().into_iter().zip(jobs) {
            let inside: Vec<usize> = (0..labels).filter(|&i| self.folds[seed as usize][i] == fold).collect();
            for (size, row) in judged.iter().enumerate() {
                inside.iter().zip(row).for_each(|(&i, hit)| right[seed as usize][size][i] = *hit);
            }
        }
        let curve = |rows: &[u32], seeds: &[u32]| -> Vec<f64> {
            let total = rows.iter().sum::<u32>() as f64 * seeds.iter().sum::<u32>() as f64;
            let at = |size: usize| {
                let of_seed = |seed: usize| right[seed][size].iter().zip(rows).map(|(hit, n)| if *hit { *n } else { 0 }).sum::<u32>();
                seeds.iter().enumerate().map(|(seed, n)| f64::from(*n) * f64::from(of_seed(seed))).sum::<f64>() / total
            };
            (0..self.sizes.len()).map(at).collect()
        };
        let mut rng = Rng::keyed(0, &[STREAM, labels as u64]);
        let mut draw = |n: usize| {
            let mut counts = vec![0u32; n];
            (0..n).for_each(|_| counts[rng.below(n as u64) as usize] += 1);
            counts
        };
        let samples: Vec<Vec<f64>> = (0..SAMPLES).map(|_| curve(&draw(labels), &draw(self.seeds as usize))).collect();
        let mean = curve(&vec![1; labels], &vec![1; self.seeds as usize]);
        let fit = PowerLaw::fit(&self.sizes, &mean);
        let fits: Vec<PowerLaw> = samples.iter().map(|s| PowerLaw::fit(&self.sizes, s)).collect();
        let points = self.sizes.iter().enumerate();
        let points = points.map(|(k, &n)| point(n, mean[k], samples.iter().map(|s| s[k]).collect())).collect();
        let foretold = |n: usize| point(n, fit.accuracy(n), fits.iter().map(|f| f.accuracy(n)).collect());
        let gain = |f: &PowerLaw| f.accuracy(labels + AHEAD) - f.accuracy(labels);
        let Point { accuracy: mean, low, high, .. } = point(AHEAD, gain(&fit), fits.iter().map(gain).collect());
        let (now, next) = (foretold(labels), foretold(labels + AHEAD));
        Forecast { labels, folds: FOLDS, seeds: self.seeds, points, fit, now, next, gain: Gain { labels: AHEAD, mean, low, high } }
    }
}

/// Which rows of the fold get all of their classes right, each from a classifier of its own.
fn each_class(rows: &Rows<'_>, sets: &[Vec<bool>], subset: &[usize], inside: &[usize], asked: &Features) -> vectorize::Result<Vec<bool>> {
    let x = rows.x.select(subset);
    let mut right = vec![true; inside.len()];
    for class in 0..rows.classes {
        let y: Vec<u32> = subset.iter().map(|&i| u32::from(sets[i][class])).collect();
        // What all rows have, or none, is learned without a classifier.
        let says: Vec<bool> = if y.iter().all(|c| *c == y[0]) {
            vec![y[0] == 1; inside.len()]
        } else {
            let p = rows.learner.fit(&x, &y, None, 2)?.predict_proba(asked);
            (0..inside.len()).map(|at| p.best(at) == 1).collect()
        };
        right.iter_mut().zip(says).zip(inside).for_each(|((right, says), &i)| *right &= says == sets[i][class]);
    }
    Ok(right)
}

fn point(labels: usize, accuracy: f64, mut samples: Vec<f64>) -> Point {
    samples.sort_by(f64::total_cmp);
    let at = |share: f64| samples.get((share * (samples.len().max(1) - 1) as f64).round() as usize).copied().unwrap_or(accuracy);
    Point { labels, accuracy, low: at(TAIL), high: at(1.0 - TAIL) }
}

/// `accuracy = ceiling - scale·n^-exponent`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PowerLaw {
    /// What no number of labels will exceed.
    pub ceiling: f64,
    /// How far below it one label is.
    pub scale: f64,
    /// How fast it is approached.
    pub exponent: f64,
}

impl PowerLaw {
    /// The law of least weighted squares with a ceiling of at most 1 that does not fall.
    pub fn fit(sizes: &[usize], accuracy: &[f64]) -> Self {
        let weights: Vec<f64> = (1..=sizes.len()).map(|j| j as f64 / sizes.len() as f64).collect();
        let with = |exponent: f64| {
            let z: Vec<f64> = sizes.iter().map(|n| (*n as f64).powf(-exponent)).collect();
            let mean =
                |v: &dyn Fn(usize) -> f64| weights.iter().enumerate().map(|(j, w)| w * v(j)).sum::<f64>() / weights.iter().sum::<f64>();
            let (mz, me) = (mean(&|j| z[j]), mean(&|j| 1.0 - accuracy[j]));
            let (szz, sze) = (mean(&|j| (z[j] - mz).powi(2)), mean(&|j| (z[j] - mz) * (1.0 - accuracy[j] - me)));
            let mut scale = if szz > 0.0 { (sze / szz).max(0.0) } else { 0.0 };
            let mut floor = me - scale * mz;
            if floor < 0.0 {
                // The best with a floor of none.
                floor = 0.0;
                scale = (mean(&|j| z[j] * (1.0 - accuracy[j])) / mean(&|j| z[j] * z[j])).max(0.0);
            }
            let law = PowerLaw { ceiling: 1.0 - floor, scale, exponent };
            (mean(&|j| (accuracy[j] - law.accuracy(sizes[j])).powi(2)), law)
        };
        let tried = EXPONENTS.map(|e| with(f64::from(e) / 250.0));
        // There are exponents to try; of equals the first.
        tried
            .reduce(|best, next| if next.0 < best.0 { next } else { best })
            .map_or(Self { ceiling: 0.0, scale: 0.0, exponent: 0.0 }, |b| b.1)
    }

    /// At a number of labels.
    pub fn accuracy(&self, labels: usize) -> f64 {
        (self.ceiling - self.scale * (labels.max(1) as f64).powf(-self.exponent)).clamp(0.0, 1.0)
    }
}

/// Accuracy at a number of labels, with its interval of 90 %.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// Labels learned from.
    pub labels: usize,
    /// Share of rows judged right.
    pub accuracy: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// What is gained, with its interval of 90 %.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Gain {
    /// By so many more labels.
    pub labels: usize,
    /// Accuracy.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// A learning curve and where it goes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Forecast {
    /// Documents with a class of people.
    pub labels: usize,
    /// Folds of the cross-validation.
    pub folds: usize,
    /// Times that it was made.
    pub seeds: u64,
    /// What was measured.
    pub points: Vec<Point>,
    /// The law through the points.
    pub fit: PowerLaw,
    /// By that law: with the labels there are.
    pub now: Point,
    /// By that law: with [`AHEAD`] more.
    pub next: Point,
    /// The difference.
    pub gain: Gain,
}

#[cfg(test)]
mod tests {
    use super::*;
    use vectorize::learn::LogisticRegression;

    #[test]
    fn a_power_law_is_found_again() {
        let sizes = [12, 20, 32, 48, 64, 80, 400];
        for (ceiling, scale, exponent) in [(0.9, 1.2, 0.5), (0.75, 0.8, 0.3), (1.0, 2.0, 1.0)] {
            let law = PowerLaw { ceiling, scale, exponent };
            let accuracy: Vec<f64> = sizes.iter().map(|n| law.accuracy(*n)).collect();
            let found = PowerLaw::fit(&sizes, &accuracy);
            assert!((found.ceiling - ceiling).abs() < 1e-6 && (found.exponent - exponent).abs() < 1e-6, "{found:?}");
        }
        // What does not rise is foretold to stay; what falls, too.
        for accuracy in [vec![0.6; 7], vec![0.7, 0.7, 0.6, 0.6, 0.6, 0.6, 0.6]] {
            let flat = PowerLaw::fit(&sizes, &accuracy);
            assert!((flat.accuracy(5000) - flat.accuracy(12)).abs() < 1e-12, "{flat:?}");
        }
    }

    /// Values of `oracles/learning_curve.py`: scipy's bounded least squares on the same points, weights and law.
    #[test]
    fn the_fit_is_scipys() {
        let sizes = [30, 50, 80, 120, 160, 200];
        for (accuracy, at_250, at_350) in SCIPY {
            let law = PowerLaw::fit(&sizes, &accuracy);
            assert!((law.accuracy(250) - at_250).abs() < 1e-3 && (law.accuracy(350) - at_350).abs() < 1e-3, "{law:?}");
        }
    }

    const SCIPY: [([f64; 6], f64, f64); 4] = [
        ([0.52, 0.56, 0.6, 0.63, 0.645, 0.655], 0.667288, 0.682325),
        ([0.7, 0.78, 0.83, 0.86, 0.875, 0.885], 0.893219, 0.902998),
        ([0.5, 0.55, 0.53, 0.58, 0.57, 0.6], 0.601168, 0.614749),
        ([0.9, 0.91, 0.905, 0.912, 0.91, 0.911], 0.910927, 0.911094),
    ];

    #[test]
    fn too_few_labels_are_told() {
        assert!(too_few(&[]).unwrap().contains("no document"));
        assert!(too_few(&[1; 80]).unwrap().contains("one class"));
        assert!(too_few(&[0, 1].repeat(20)).unwrap().contains("40 documents"));
        assert!(too_few(&[vec![0; 95], vec![1; 9]].concat()).unwrap().contains("only 9"));
        assert_eq!(too_few(&[0, 1].repeat(25)), None);
    }

    /// Rows whose class is told by several columns with noise: more labels help.
    fn rows(n: usize, seed: u64) -> (Features, Vec<u32>) {
        let mut rng = Rng::keyed(seed, &[]);
        let (mut x, mut y) = (Features::new(40), Vec::new());
        for _ in 0..n {
            let values: Vec<f64> = (0..40).map(|_| f64::from(rng.normal())).collect();
            y.push(u32::from(values[..10].iter().sum::<f64>() + f64::from(rng.normal()) > 0.0));
            x.push(values.into_iter().enumerate().map(|(c, v)| (c as u32, v)));
        }
        (x, y)
    }

    #[test]
    fn more_labels_bring_about_what_was_foretold() {
        let learner = LogisticRegression::default();
        let (test, test_y) = rows(2000, 99);
        let (mut inside, mut gains) = (0, Vec::new());
        for seed in 0..8 {
            let (x, y) = rows(220, seed);
            let first: Vec<usize> = (0..120).collect();
            let (now, now_y) = (x.select(&first), &y[..120]);
            let all = Rows { x: &now, y: now_y, sets: None, classes: 2, learner: &learner };
            let plan = Plan::new(now_y, 1);
            let jobs: Vec<Judged> = plan.jobs().into_iter().map(|job| plan.run(&all, job).unwrap()).collect();
            let forecast = plan.forecast(&jobs);
            assert_eq!(forecast, plan.forecast(&jobs));
            assert_eq!((forecast.labels, forecast.next.labels), (120, 220));
            assert!(forecast.gain.low <= forecast.gain.mean && forecast.gain.mean <= forecast.gain.high, "{forecast:?}");
            let model = learner.fit(&x, &y, None, 2).unwrap();
            let p = model.predict_proba(&test);
            let reached = test_y.iter().enumerate().filter(|(i, c)| p.best(*i) == **c as usize).count() as f64 / 2000.0;
            inside += usize::from((forecast.next.low..=forecast.next.high).contains(&reached));
            gains.push(forecast.gain.mean);
        }
        let mean = gains.iter().sum::<f64>() / gains.len() as f64;
        assert!(inside >= 6, "{inside} of 8 intervals hold what was reached");
        assert!((0.005..0.08).contains(&mean), "{gains:?}");
    }

    #[test]
    fn several_classes_are_learned_one_by_one() {
        // Two questions in one: each class has columns of its own, and half of the rows each.
        let learner = LogisticRegression::default();
        let (x, first) = rows(150, 3);
        let (other, second) = rows(150, 4);
        let mut both = Features::new(80);
        (0..150).for_each(|i| both.push(x.entries(i).chain(other.entries(i).map(|(c, v)| (c + 40, v)))));
        let sets: Vec<Vec<bool>> = first.iter().zip(&second).map(|(a, b)| vec![*a == 1, *b == 1, false]).collect();
        let y: Vec<u32> = first.iter().zip(&second).map(|(a, b)| 2 * a + b).collect();
        let plan = Plan::new(&y, 3);
        let judged = |sets: Option<&[Vec<bool>]>, y: &[u32], classes: usize, x: &Features| -> Vec<Judged> {
            let rows = Rows { x, y, sets, classes, learner: &learner };
            plan.jobs().into_iter().map(|job| plan.run(&rows, job).unwrap()).collect()
        };
        // A row is right if it is right on both; a class that nobody has takes nothing away.
        let all = judged(Some(&sets), &y, 3, &both);
        let one: Vec<Vec<bool>> = first.iter().map(|a| vec![*a == 1]).collect();
        let a = judged(Some(&one), &y, 1, &both);
        let single = judged(None, &first, 2, &both);
        assert_eq!(a, single, "of one class it is the classifier of two");
        let right = |j: &[Judged]| j.iter().flatten().flatten().filter(|hit| **hit).count();
        assert!(right(&all) < right(&a) && right(&all) > 0);
        assert!(all.iter().flatten().flatten().zip(a.iter().flatten().flatten()).all(|(both, one)| *one || !both));
    }
}
