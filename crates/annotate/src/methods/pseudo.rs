//! Labels that a model gives to other rows, as more rows to learn from: self-training with calibrated thresholds (Yarowsky 1995), and
//! labels spread over a graph of neighbours (Zhou et al. 2004).

use vectorize::learn::calibrate::fit_calibrated;
use vectorize::learn::{CalibrationMethod, Knn, Neighbours};
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
    /// How probable the giver finds it.
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
        assert!(given.is_empty() && propagate(rows, Propagation::default()).is_empty());
        assert_eq!(model, learner.fit(&x, &y, Some(&vec![1.0; 40]), 2).unwrap());
    }
}
