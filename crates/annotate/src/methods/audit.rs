//! Labels that are likely wrong: confident learning (Northcutt et al. 2021) with several learners, equal and nearly equal texts with
//! different labels, rows like no other.

use std::collections::BTreeMap;

use serde::Serialize;
use vectorize::learn::folds::{out_of_fold, stratified};
use vectorize::learn::{Knn, Neighbours};
use vectorize::{ByClass, Features, Learner};

use super::Result;

/// Cosine from which two texts are nearly equal.
const NEARLY_EQUAL: f64 = 0.9;
/// Neighbours that are looked at.
const NEIGHBOURS: usize = 10;
/// Of rows: the share whose likeness to their neighbours is the smallest, which are outliers if nothing is like them at all.
const OUTLIERS: f64 = 0.01;
/// Likeness to the nearest row below which there is none to speak of.
const ALIEN: f64 = 0.1;

/// Why a row is in doubt.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// Models that had not seen the row are confident that it is of another class.
    ConfidentlyOther {
        /// How many of the learners.
        learners: usize,
        /// Of how many.
        of: usize,
    },
    /// The same text has another label.
    SameText {
        /// A row that has it.
        row: usize,
    },
    /// Nearly the same text has another label.
    NearlySameText {
        /// The row.
        row: usize,
        /// Cosine.
        similarity: f64,
    },
    /// No other row is like it.
    Outlier {
        /// Cosine to the nearest.
        similarity: f64,
    },
}

/// A row in the ranked list.
#[derive(Clone, Debug, PartialEq)]
pub struct Doubt {
    /// The row.
    pub row: usize,
    /// How doubtful, about -1 (surely right) to 1 (surely wrong).
    pub score: f64,
    /// The class that the models would give.
    pub suggested: u32,
    /// Probability of that class.
    pub probability: f64,
    /// Why; empty where only the rank speaks.
    pub reasons: Vec<Reason>,
}

/// What the rows are judged with.
pub struct Judges<'a> {
    /// Learners, one at least. A judge counts by how well it agrees with the labels.
    pub learners: &'a [&'a dyn Learner],
    /// Folds of the cross-validation.
    pub folds: usize,
    /// What models from elsewhere say of rows that they had not seen (a tuned run's held-out scores).
    pub given: &'a [Outside],
    /// Seed of the folds.
    pub seed: u64,
}

/// A judge's probabilities, with what they are worth.
#[derive(Clone, Debug)]
pub struct Outside {
    /// Probabilities of each row.
    pub probabilities: ByClass,
    /// Whether the judge may speak of a row: it had not seen it.
    pub unseen: Vec<bool>,
}

/// A judge that was weighed.
struct Weighed {
    p: ByClass,
    unseen: Vec<bool>,
    /// Per class the mean probability that rows of it get for it: what counts as confident.
    confident: Vec<f64>,
    weight: f64,
}

impl Weighed {
    /// A judge counts by how far its agreement with the labels lies above chance, in log-odds: labels err, but rarely.
    fn new(outside: Outside, y: &[u32]) -> Self {
        let Outside { probabilities: p, unseen } = outside;
        let (mut sums, mut right, mut all) = (vec![(0.0, 0usize); p.classes], 0.5, 1.0);
        for (i, &c) in y.iter().enumerate().filter(|(i, _)| unseen[*i]) {
            sums[c as usize].0 += p.row(i)[c as usize];
            sums[c as usize].1 += 1;
            right += f64::from(u8::from(p.best(i) == c as usize));
            all += 1.0;
        }
        let odds = |p: f64| (p / (1.0 - p)).ln();
        let weight = (odds(right / all) - odds(1.0 / p.classes.max(2) as f64)).max(1e-3);
        let confident = sums.into_iter().map(|(sum, n)| if n > 0 { sum / n as f64 } else { 1.0 }).collect();
        Self { p, unseen, confident, weight }
    }
}

/// Probabilities of each learner for rows that it had not seen, beside those from elsewhere.
fn probabilities(x: &Features, y: &[u32], classes: usize, groups: &[u64], judges: &Judges<'_>) -> Result<Vec<Weighed>> {
    let fold_of = stratified(y, Some(groups), judges.folds, judges.seed);
    let mut out: Vec<Weighed> = judges.given.iter().map(|outside| Weighed::new(outside.clone(), y)).collect();
    for learner in judges.learners {
        let probabilities = out_of_fold(*learner, x, y, None, classes, &fold_of)?.probabilities;
        out.push(Weighed::new(Outside { probabilities, unseen: vec![true; y.len()] }, y));
    }
    Ok(out)
}

/// Whether a row is confidently of another class than the given one.
fn confidently_other(p: &[f64], own: u32, thresholds: &[f64]) -> bool {
    let confident = (0..p.len()).filter(|&c| p[c] >= thresholds[c]);
    confident.max_by(|&a, &b| p[a].total_cmp(&p[b])).is_some_and(|best| best != own as usize)
}

/// All rows, the most doubtful first. `texts` are what is compared for equality, white space and case aside.
///
/// # Errors
/// Too few rows, the learners' own.
pub fn audit(x: &Features, y: &[u32], classes: usize, texts: &[String], judges: &Judges<'_>) -> Result<Vec<Doubt>> {
    let same: Vec<String> = texts.iter().map(|t| t.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()).collect();
    let groups: Vec<u64> = same.iter().map(|t| vectorize::terms::hash_text(t)).collect();
    let all = probabilities(x, y, classes, &groups, judges)?;
    let mut doubts: Vec<Doubt> = (0..y.len())
        .map(|row| {
            let judges: Vec<&Weighed> = all.iter().filter(|j| j.unseen[row]).collect();
            let total: f64 = judges.iter().map(|j| j.weight).sum();
            let mean: Vec<f64> = (0..classes).map(|c| judges.iter().map(|j| j.weight * j.p.row(row)[c]).sum::<f64>() / total).collect();
            let own = y[row] as usize;
            // Of equals the first: in order of the classes.
            let other = (0..classes).filter(|&c| c != own).fold(usize::from(own == 0), |b, c| if mean[c] > mean[b] { c } else { b });
            let suggested = if mean[other] > mean[own] { other } else { own };
            let learners = judges.iter().filter(|j| confidently_other(j.p.row(row), y[row], &j.confident)).count();
            let mut reasons = Vec::new();
            if learners * 2 > judges.len() {
                reasons.push(Reason::ConfidentlyOther { learners, of: judges.len() });
            }
            let probability = mean[suggested];
            Doubt { row, score: mean[other] - mean[own], suggested: suggested as u32, probability, reasons }
        })
        .collect();
    mark_equal(&same, y, &mut doubts);
    mark_neighbours(x, y, &mut doubts);
    doubts.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
    Ok(doubts)
}

/// Equal texts with different labels.
fn mark_equal(same: &[String], y: &[u32], doubts: &mut [Doubt]) {
    let mut rows: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    same.iter().enumerate().for_each(|(i, t)| rows.entry(t).or_default().push(i));
    for rows in rows.values().filter(|r| r.len() > 1) {
        for &row in rows {
            let mut votes: BTreeMap<u32, usize> = BTreeMap::new();
            rows.iter().for_each(|&r| *votes.entry(y[r]).or_insert(0) += 1);
            if let Some(&other) = rows.iter().find(|&&r| y[r] != y[row]) {
                doubts[row].reasons.push(Reason::SameText { row: other });
                // One of them is wrong for certain; the minority more likely.
                let own = votes[&y[row]] as f64 / rows.len() as f64;
                doubts[row].score = doubts[row].score.max(1.0 - own);
            }
        }
    }
}

/// Near duplicates with different labels, and rows without neighbours.
fn mark_neighbours(x: &Features, y: &[u32], doubts: &mut [Doubt]) {
    let settings = Knn { neighbors: NEIGHBOURS + 1, weighted: true };
    let near = Neighbours::of_rows(settings, x).nearest_all(x);
    let mut best: Vec<(f64, usize)> = Vec::with_capacity(near.len());
    for (row, near) in near.iter().enumerate() {
        let others = near.iter().filter(|(other, _)| *other as usize != row);
        best.push((others.clone().map(|n| n.1).fold(0.0, f64::max), row));
        let already = doubts[row].reasons.iter().any(|r| matches!(r, Reason::SameText { .. }));
        if let Some(&(other, similarity)) = others.clone().find(|(o, s)| *s >= NEARLY_EQUAL && y[*o as usize] != y[row])
            && !already
        {
            doubts[row].reasons.push(Reason::NearlySameText { row: other as usize, similarity });
            doubts[row].score = doubts[row].score.max(0.0) + 0.25 * similarity;
        }
    }
    best.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let most = (OUTLIERS * y.len() as f64).ceil() as usize;
    for &(similarity, row) in best.iter().take(most).filter(|(s, _)| *s < ALIEN) {
        doubts[row].reasons.push(Reason::Outlier { similarity });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::rng::Rng;
    use vectorize::learn::{LogisticRegression, NaiveBayes};
    use vectorize::{TermSettings, TermVectorizer};

    #[test]
    fn flipped_labels_equal_texts_and_strangers_are_found() {
        let mut rng = Rng::keyed(4, &[]);
        let words = [["good", "fine", "lovely", "superb", "很好"], ["bad", "dull", "awful", "boring", "糟糕"]];
        let (mut texts, mut y): (Vec<String>, Vec<u32>) = (Vec::new(), Vec::new());
        for i in 0..400u32 {
            let class = i % 2;
            let mut text: Vec<String> = (0..4).map(|_| words[class as usize][rng.below(5) as usize].to_owned()).collect();
            text.extend((0..6).map(|_| format!("w{}", rng.below(200))));
            texts.push(text.join(" "));
            y.push(class);
        }
        let flipped: Vec<usize> = (0..20).map(|i| i * 19 + 3).collect();
        flipped.iter().for_each(|&i| y[i] = 1 - y[i]);
        texts.extend(["the same text twice".to_owned(), "The  same text twice".to_owned(), "zzz qqq".to_owned()]);
        y.extend([0, 1, 0]);
        let (_, x) = TermVectorizer::fit_transform(&TermSettings::default(), &texts).unwrap();
        let (logistic, bayes) = (LogisticRegression::default(), NaiveBayes::default());
        let judges = Judges { learners: &[&logistic, &bayes], folds: 5, given: &[], seed: 1 };
        let doubts = audit(&x, &y, 2, &texts, &judges).unwrap();
        assert_eq!(doubts.len(), 403);
        let top: Vec<usize> = doubts.iter().take(40).map(|d| d.row).collect();
        let found = flipped.iter().filter(|i| top.contains(i)).count();
        assert!(found >= 19, "{found} of 20");
        let of = |row: usize| doubts.iter().find(|d| d.row == row).unwrap();
        assert!(of(flipped[0]).reasons.iter().any(|r| matches!(r, Reason::ConfidentlyOther { .. })));
        assert_eq!(of(flipped[0]).suggested, 1 - y[flipped[0]]);
        assert!(of(400).reasons.contains(&Reason::SameText { row: 401 }));
        assert!(of(402).reasons.iter().any(|r| matches!(r, Reason::Outlier { .. })), "{:?}", of(402));

        // A judge from elsewhere that knows the truth of the even rows and was trained on the odd ones, where it repeats what it learned.
        let truth = |i: usize| if flipped.contains(&i) { 1 - y[i] } else { y[i] };
        let say = |i: usize| if i.is_multiple_of(2) { truth(i) } else { y[i] };
        let values = (0..403).flat_map(|i| [0, 1].map(|c| if say(i) == c { 0.99 } else { 0.01 })).collect();
        let outside = Outside { probabilities: ByClass { classes: 2, values }, unseen: (0..403).map(|i| i % 2 == 0).collect() };
        let judges = Judges { learners: &[&logistic], folds: 5, given: &[outside], seed: 1 };
        let doubts = audit(&x, &y, 2, &texts, &judges).unwrap();
        let top: Vec<usize> = doubts.iter().take(24).map(|d| d.row).collect();
        assert!(flipped.iter().filter(|i| *i % 2 == 0).all(|i| top.contains(i)), "{top:?}");
        let top: Vec<usize> = doubts.iter().take(40).map(|d| d.row).collect();
        assert!(flipped.iter().filter(|i| *i % 2 == 1 && top.contains(i)).count() >= 8, "what it was trained on it does not excuse");
    }
}
