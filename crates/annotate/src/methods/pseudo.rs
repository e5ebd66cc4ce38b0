//! Labels that a model gives to other rows, as more rows to learn from: self-training with calibrated thresholds (Yarowsky 1995),
//! labels spread over a graph of neighbours (Zhou et al. 2004), and naive Bayes whose unknown labels are expected (Nigam et al. 2000).

use vectorize::learn::calibrate::{fit_calibrated, temper, tempered};
use vectorize::learn::folds::{out_of_fold, stratified};
use vectorize::learn::{CalibrationMethod, Knn, NaiveBayes, Neighbours};
use vectorize::{Features, Fitted, Learner};

use super::Result;

/// Rows with classes, and rows without.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    /// Rows with a class.
    pub labelled: &'a Features,
    /// Their classes.
    pub y: &'a [u32],
    /// Rows without.
    pub unlabelled: &'a Features,
    /// Number of classes.
    pub classes: usize,
}

/// A label that was given to an unlabelled row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Given {
    /// The row among the unlabelled.
    pub row: usize,
    /// The class.
    pub class: u32,
    /// How probable the giver finds it: never less than it finds any other class.
    pub confidence: f64,
}

/// Settings of self-training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SelfTraining {
    /// Calibrated probability from which a label is believed.
    pub threshold: f64,
    /// Rounds; in each all labels are given anew.
    pub rounds: usize,
    /// What a believed row counts for, against 1 of a labelled one, times its confidence.
    pub weight: f64,
    /// Folds of the calibration.
    pub folds: usize,
    /// Seed of the folds.
    pub seed: u64,
}

impl Default for SelfTraining {
    fn default() -> Self {
        Self { threshold: 0.8, rounds: 5, weight: 0.5, folds: 3, seed: 42 }
    }
}

/// Labels with at most as many of each class as its share among the labelled rows allows, surest first.
fn balanced(mut given: Vec<Given>, y: &[u32], classes: usize) -> Vec<Given> {
    let mut share = vec![0.0; classes];
    y.iter().for_each(|&c| share[c as usize] += 1.0 / y.len() as f64);
    let mut count = vec![0usize; classes];
    given.iter().for_each(|g| count[g.class as usize] += 1);
    // The class that has the fewest for its share sets the measure; one that nobody was given does not.
    let measure =
        (0..classes).filter(|&c| count[c] > 0 && share[c] > 0.0).map(|c| count[c] as f64 / share[c]).fold(f64::INFINITY, f64::min);
    given.sort_by(|a, b| b.confidence.total_cmp(&a.confidence).then(a.row.cmp(&b.row)));
    let mut left: Vec<usize> = share.iter().map(|s| if measure.is_finite() { (s * measure).ceil() as usize } else { 0 }).collect();
    given.retain(|g| {
        let keep = left[g.class as usize] > 0;
        left[g.class as usize] -= usize::from(keep);
        keep
    });
    given
}

/// Labelled rows with the given ones after them: rows, classes, weights.
fn together(rows: Rows<'_>, given: &[Given], weight: f64) -> (Features, Vec<u32>, Vec<f64>) {
    let mut x = rows.labelled.clone();
    let mut y = rows.y.to_vec();
    let mut weights = vec![1.0; y.len()];
    for g in given {
        x.push(rows.unlabelled.entries(g.row));
        y.push(g.class);
        weights.push(weight * g.confidence);
    }
    (x, y, weights)
}

/// Trains, believes what it is sure of, and trains again.
///
/// # Errors
/// The learner's own.
pub fn self_training(learner: &dyn Learner, rows: Rows<'_>, settings: SelfTraining) -> Result<(Fitted, Vec<Given>)> {
    let Rows { labelled, y, unlabelled, classes } = rows;
    let mut given: Vec<Given> = Vec::new();
    for _ in 0..settings.rounds.max(1) {
        // The curve comes from labelled rows alone: what a model thinks of its own labels says nothing about being right.
        let judge = fit_calibrated(learner, CalibrationMethod::Sigmoid, (labelled, y, None, classes), settings.folds, settings.seed)?;
        let judge = match judge {
            Fitted::Calibrated(mut calibrated) if !given.is_empty() => {
                let (x, y, weights) = together(rows, &given, settings.weight);
                calibrated.base = learner.fit(&x, &y, Some(&weights), classes)?;
                Fitted::Calibrated(calibrated)
            }
            other => other,
        };
        let p = judge.predict_proba(unlabelled);
        let sure = (0..unlabelled.rows()).filter_map(|row| {
            let class = p.best(row);
            let confidence = p.row(row)[class];
            (confidence >= settings.threshold).then_some(Given { row, class: class as u32, confidence })
        });
        let next = balanced(sure.collect(), y, classes);
        let same = next.len() == given.len() && next.iter().zip(&given).all(|(a, b)| (a.row, a.class) == (b.row, b.class));
        given = next;
        if same {
            break;
        }
    }
    let (x, all, weights) = together(rows, &given, settings.weight);
    Ok((learner.fit(&x, &all, Some(&weights), classes)?, given))
}

/// Settings of label propagation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Propagation {
    /// Neighbours that a row hands its label to.
    pub neighbours: usize,
    /// How much a row listens to its neighbours, against its own label.
    pub alpha: f64,
    /// Rounds.
    pub rounds: usize,
}

impl Default for Propagation {
    fn default() -> Self {
        Self { neighbours: 15, alpha: 0.9, rounds: 50 }
    }
}

/// Spreads labels over the graph of nearest neighbours of all rows: a label and its share for every unlabelled row that is reached.
pub fn propagate(rows: Rows<'_>, settings: Propagation) -> Vec<Given> {
    let Rows { labelled, y, unlabelled, classes } = rows;
    let (n, l) = (labelled.rows() + unlabelled.rows(), labelled.rows());
    let mut x = labelled.clone();
    (0..unlabelled.rows()).for_each(|i| x.push(unlabelled.entries(i)));
    let knn = Knn { neighbors: settings.neighbours + 1, weighted: true };
    let near = Neighbours::of_rows(knn, &x).nearest_all(&x);
    // Neighbours of each other, whoever found whom; sorted and without doubles.
    let mut edges: Vec<Vec<(u32, f64)>> = vec![Vec::new(); n];
    for (i, near) in near.iter().enumerate() {
        for &(j, w) in near.iter().filter(|(j, w)| *j as usize != i && *w > 0.0) {
            edges[i].push((j, w));
            edges[j as usize].push((i as u32, w));
        }
    }
    for e in &mut edges {
        e.sort_by_key(|a| a.0);
        e.dedup_by_key(|a| a.0);
    }
    let degree: Vec<f64> = edges.iter().map(|e| e.iter().map(|(_, w)| w).sum::<f64>()).collect();
    let mut rows_of = vec![0.0; classes];
    y.iter().for_each(|&c| rows_of[c as usize] += 1.0);
    // Every class starts with the same weight: a frequent one would otherwise flood the graph.
    let start: Vec<f64> = (0..l)
        .flat_map(|i| (0..classes).map(move |c| (i, c)))
        .map(|(i, c)| if y[i] as usize == c { 1.0 / rows_of[c] } else { 0.0 })
        .collect();
    let mut now = start.clone();
    now.resize(n * classes, 0.0);
    for _ in 0..settings.rounds {
        let mut next = vec![0.0; n * classes];
        for i in 0..n {
            let out = &mut next[i * classes..(i + 1) * classes];
            for &(j, w) in &edges[i] {
                let s = settings.alpha * w / (degree[i] * degree[j as usize]).sqrt();
                out.iter_mut().zip(&now[j as usize * classes..]).for_each(|(o, v)| *o += s * v);
            }
            if i < l {
                out.iter_mut().zip(&start[i * classes..]).for_each(|(o, v)| *o += (1.0 - settings.alpha) * v);
            }
        }
        now = next;
    }
    (0..unlabelled.rows())
        .filter_map(|row| {
            let f = &now[(l + row) * classes..(l + row + 1) * classes];
            let sum: f64 = f.iter().sum();
            let best = (0..classes).fold(0, |b, c| if f[c] > f[b] { c } else { b });
            (sum > 0.0).then(|| Given { row, class: best as u32, confidence: f[best] / sum })
        })
        .collect()
}

/// A model of labelled rows and of propagated labels, each weighing its confidence above chance.
///
/// # Errors
/// The learner's own.
pub fn fit_propagated(learner: &dyn Learner, rows: Rows<'_>, given: &[Given], weight: f64) -> Result<Fitted> {
    let chance = 1.0 / rows.classes as f64;
    let sure: Vec<Given> = given
        .iter()
        .map(|g| Given { confidence: ((g.confidence - chance) / (1.0 - chance)).max(0.0), ..*g })
        .filter(|g| g.confidence > 0.0)
        .collect();
    let (x, y, weights) = together(rows, &sure, weight);
    learner.fit(&x, &y, Some(&weights), rows.classes)
}

/// Multinomial naive Bayes that learns from rows without labels, too: what it expects their classes to be teaches it the terms of each
/// class, and so on until nothing changes (expectation-maximisation). The classes keep the shares that they have among labelled rows:
/// learned shares would let one class swallow the others.
#[derive(Clone, Copy, Debug)]
pub struct Expectation<'a> {
    /// Rows without a label; nothing in them is negative.
    pub unlabelled: &'a Features,
    /// What an unlabelled row counts for, against 1 of a labelled one.
    pub weight: f64,
    /// Smoothing of naive Bayes.
    pub alpha: f64,
    /// Most rounds.
    pub rounds: usize,
}

/// Change of a probability below which expectation has come to rest.
const REST: f64 = 1e-3;

impl<'a> Expectation<'a> {
    /// With the usual settings. Smoothing goes with the weight: a tenth of it kept classes apart on reviews where as much let one of them
    /// swallow the other.
    pub fn new(unlabelled: &'a Features) -> Self {
        Self { unlabelled, weight: 0.3, alpha: 0.03, rounds: 20 }
    }
}

impl Learner for Expectation<'_> {
    fn fit(&self, x: &Features, y: &[u32], weights: Option<&[f64]>, classes: usize) -> Result<Fitted> {
        let bayes = NaiveBayes { alpha: self.alpha, complement: false };
        let own: Vec<f64> = weights.map_or_else(|| vec![1.0; y.len()], <[f64]>::to_vec);
        let mut shares = vec![0.0; classes];
        y.iter().zip(&own).for_each(|(&c, w)| shares[c as usize] += w);
        let all: f64 = shares.iter().sum();
        let logs: Vec<f64> = shares.iter().map(|s| (s / all).max(1e-12).ln()).collect();
        let fixed = |fitted: Fitted| match fitted {
            Fitted::Linear(mut linear) => {
                linear.intercepts.clone_from(&logs);
                Fitted::Linear(linear)
            }
            other => other,
        };
        let mut model = fixed(bayes.fit(x, y, weights, classes)?);
        let mut before = model.predict_proba(self.unlabelled);
        for _ in 0..self.rounds {
            let (mut rows, mut all_y, mut all_weights) = (x.clone(), y.to_vec(), own.clone());
            for i in 0..self.unlabelled.rows() {
                for (class, &p) in before.row(i).iter().enumerate().filter(|(_, p)| **p > REST) {
                    rows.push(self.unlabelled.entries(i));
                    all_y.push(class as u32);
                    all_weights.push(self.weight * p);
                }
            }
            model = fixed(bayes.fit(&rows, &all_y, Some(&all_weights), classes)?);
            let now = model.predict_proba(self.unlabelled);
            let change = now.values.iter().zip(&before.values).fold(0.0f64, |m, (a, b)| m.max((a - b).abs()));
            before = now;
            if change < REST {
                break;
            }
        }
        Ok(model)
    }

    fn name(&self) -> &'static str {
        "expectation"
    }
}

/// Naive Bayes by expectation, and its labels of the unlabelled rows. The confidences are its own probabilities, which are far too sure,
/// tempered on labelled rows that it had not seen: of all ways to calibrate the one that cannot contradict the labels.
///
/// # Errors
/// Rows that are negative in part; too few of a class to calibrate on.
pub fn expectation(rows: Rows<'_>, folds: usize, seed: u64) -> Result<(Fitted, Vec<Given>)> {
    let learner = Expectation::new(rows.unlabelled);
    let model = learner.fit(rows.labelled, rows.y, None, rows.classes)?;
    let fold_of = stratified(rows.y, None, folds, seed);
    let unseen = out_of_fold(&learner, rows.labelled, rows.y, None, rows.classes, &fold_of)?;
    let t = temper(&unseen.probabilities, rows.y);
    let p = model.predict_proba(rows.unlabelled);
    let one = |row: usize| Given { row, class: p.best(row) as u32, confidence: tempered(p.row(row), t)[p.best(row)] };
    Ok((model, (0..rows.unlabelled.rows()).map(one).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::active::accuracy;
    use kernels::rng::Rng;
    use vectorize::learn::LogisticRegression;
    use vectorize::{TermSettings, TermVectorizer};

    /// Texts of two worlds of words; each text has a few words of its own world, so that labels can travel from text to text.
    fn texts(n: usize, seed: u64) -> (Vec<String>, Vec<u32>) {
        let mut rng = Rng::keyed(seed, &[]);
        let mut one = |i: usize| {
            let mut words: Vec<String> = (0..4).map(|_| format!("{}{}", ["甲", "b"][i % 2], rng.below(60))).collect();
            words.extend((0..2).map(|_| format!("n{}", rng.below(30))));
            words.join(" ")
        };
        ((0..n).map(&mut one).collect(), (0..n).map(|i| (i % 2) as u32).collect())
    }

    #[test]
    fn unlabelled_rows_help_where_words_hang_together() {
        let (all, y) = texts(600, 1);
        let (vectorizer, x) = TermVectorizer::fit_transform(&TermSettings::default(), &all).unwrap();
        let (asked, asked_y) = texts(300, 2);
        let test = vectorizer.transform(&asked);
        let (few, rest): (Vec<usize>, Vec<usize>) = ((0..16).collect(), (16..600).collect());
        let (labelled, unlabelled) = (x.select(&few), x.select(&rest));
        let rows = Rows { labelled: &labelled, y: &y[..16], unlabelled: &unlabelled, classes: 2 };
        let learner = LogisticRegression { c: 10.0, ..Default::default() };
        let alone = accuracy(&learner.fit(&labelled, &y[..16], None, 2).unwrap(), &test, &asked_y);
        let (model, given) = self_training(&learner, rows, SelfTraining { threshold: 0.6, ..Default::default() }).unwrap();
        let trained = accuracy(&model, &test, &asked_y);
        let spread = propagate(rows, Propagation::default());
        let propagated = accuracy(&fit_propagated(&learner, rows, &spread, 0.5).unwrap(), &test, &asked_y);
        assert!(propagated > alone + 0.05 && trained >= alone, "{alone} {trained} {propagated}");
        let right = spread.iter().filter(|g| y[16 + g.row] == g.class).count();
        assert!(right as f64 > 0.9 * spread.len() as f64, "{right} of {}", spread.len());
        let (expected, all) = expectation(rows, 3, 42).unwrap();
        let expected = accuracy(&expected, &test, &asked_y);
        assert!(expected > alone + 0.05 && all.len() == 584, "{alone} {expected}");
        let unsure = |given: &[Given]| given.iter().filter(|g| !(0.5..=1.0).contains(&g.confidence)).count();
        assert_eq!((unsure(&all), unsure(&given), unsure(&spread)), (0, 0, 0), "no label is less likely than the other one");
        // The words of one class among many more labels of the other: what is rare is still called by its own probability.
        let skew: Vec<usize> = (0..100).filter(|i| i % 2 == 0 || i % 10 == 1).collect();
        let (x_skew, y_skew) = (x.select(&skew), skew.iter().map(|&i| y[i]).collect::<Vec<u32>>());
        let rare = Rows { labelled: &x_skew, y: &y_skew, unlabelled: &unlabelled, classes: 2 };
        let (_, all) = expectation(rare, 3, 42).unwrap();
        assert_eq!(unsure(&all), 0);
        let right = all.iter().filter(|g| y[16 + g.row] == g.class).map(|g| g.confidence);
        let wrong = all.iter().filter(|g| y[16 + g.row] != g.class).map(|g| g.confidence);
        let mean = |c: Vec<f64>| c.iter().sum::<f64>() / c.len().max(1) as f64;
        assert!(mean(right.collect()) > mean(wrong.collect()), "surer where it is right");
        let ones = given.iter().filter(|g| g.class == 1).count();
        assert!(ones.abs_diff(given.len() - ones) <= 1, "as balanced as the labelled rows");
    }

    #[test]
    fn no_unlabelled_row_changes_nothing() {
        let (all, y) = texts(40, 3);
        let (_, x) = TermVectorizer::fit_transform(&TermSettings::default(), &all).unwrap();
        let none = Features::new(x.columns());
        let rows = Rows { labelled: &x, y: &y, unlabelled: &none, classes: 2 };
        let learner = LogisticRegression::default();
        let (model, given) = self_training(&learner, rows, SelfTraining::default()).unwrap();
        let bayes = Expectation::new(&none).fit(&x, &y, None, 2).unwrap();
        assert_eq!(
            bayes,
            NaiveBayes { alpha: 0.03, complement: false }.fit(&x, &y, None, 2).unwrap(),
            "the shares of labelled rows are the prior"
        );
        assert!(given.is_empty() && propagate(rows, Propagation::default()).is_empty());
        assert_eq!(model, learner.fit(&x, &y, Some(&vec![1.0; 40]), 2).unwrap());
    }
}
