//! Active learning: the rows whose labels would teach most (Settles 2009 for the classic strategies).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use kernels::rng::Rng;
use vectorize::cluster::kmeans;
use vectorize::{ByClass, Features, Fitted, Learner};

use super::Result;

/// Keeps these draws apart from every other use of a seed ("actv").
const STREAM: u64 = 0x6163_7476;
/// Members of a committee.
const COMMITTEE: usize = 5;
/// Most groups that rows are divided into for the strategies that want variety.
const GROUPS: usize = 40;
/// Candidates by margin, of each row that is wanted, that cluster-margin chooses from (Citovsky et al. 2021).
const CANDIDATES: usize = 5;

/// How rows are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// By chance.
    Random,
    /// Smallest probability of the best class.
    LeastConfidence,
    /// Smallest distance between the two best classes.
    Margin,
    /// Largest entropy of the classes.
    Entropy,
    /// Largest disagreement between models of different samples (vote by mean divergence, McCallum & Nigam 1998).
    Committee,
    /// Small margins, out of different groups of rows (Citovsky et al. 2021).
    ClusterMargin,
    /// Small margins among rows that resemble many others.
    Density,
    /// Rows near the centres of groups, before there is any label.
    Cluster,
    /// Small margins, as many of each predicted class.
    Balanced,
}

/// All, with their names.
pub const STRATEGIES: [(Strategy, &str); 9] = [
    (Strategy::Random, "random"),
    (Strategy::LeastConfidence, "least-confidence"),
    (Strategy::Margin, "margin"),
    (Strategy::Entropy, "entropy"),
    (Strategy::Committee, "committee"),
    (Strategy::ClusterMargin, "cluster-margin"),
    (Strategy::Density, "density"),
    (Strategy::Cluster, "cluster"),
    (Strategy::Balanced, "balanced"),
];

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(STRATEGIES.iter().find(|(s, _)| s == self).map_or("", |(_, name)| name))
    }
}

impl FromStr for Strategy {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        STRATEGIES.iter().find(|(_, name)| *name == text).map(|(s, _)| *s).ok_or_else(|| {
            let names: Vec<&str> = STRATEGIES.iter().map(|(_, name)| *name).collect();
            format!("`{text}` is no strategy; there are {}", names.join(", "))
        })
    }
}

/// Rows of which some have labels.
pub struct Pool<'a> {
    /// All rows.
    pub x: &'a Features,
    /// Rows with a label, with their classes.
    pub labelled: &'a [(usize, u32)],
    /// Rows without.
    pub unlabelled: &'a [usize],
    /// Number of classes.
    pub classes: usize,
    /// Group of every row, for the strategies that want variety; see [`groups`].
    pub groups: Option<&'a Groups>,
    /// Seed of chance, and the round: two rounds draw differently.
    pub seed: u64,
    /// The round.
    pub round: u64,
}

/// Groups of rows.
pub struct Groups {
    of: Vec<u32>,
    similarity: Vec<f64>,
}

impl Strategy {
    /// Whether [`Pool::groups`] is used.
    pub fn wants_groups(self) -> bool {
        matches!(self, Strategy::ClusterMargin | Strategy::Cluster)
    }
}

/// Divides rows for the strategies that want variety: once for a pool, as it does not depend on labels.
///
/// # Errors
/// No rows.
pub fn groups(x: &Features, seed: u64) -> Result<Groups> {
    let k = GROUPS.min(x.rows() / 4).max(1);
    let found = kmeans(x, k, 1, 20, seed)?;
    Ok(Groups { of: found.assignment, similarity: found.similarity })
}

/// The `n` rows of the pool to label next, most wanted first.
///
/// # Errors
/// The learner's own, of a committee.
pub fn choose(strategy: Strategy, pool: &Pool<'_>, learner: &dyn Learner, model: Option<&Fitted>, n: usize) -> Result<Vec<usize>> {
    Ok(ranked(strategy, pool, learner, model, n)?.into_iter().map(|(row, _)| row).collect())
}

/// As [`choose`], each row with the score that the strategy gives it (larger is more wanted; the strategies' scores are not comparable);
/// none where chance decided.
///
/// # Errors
/// The learner's own, of a committee.
pub fn ranked(
    strategy: Strategy,
    pool: &Pool<'_>,
    learner: &dyn Learner,
    model: Option<&Fitted>,
    n: usize,
) -> Result<Vec<(usize, Option<f64>)>> {
    let mut rng = Rng::keyed(pool.seed, &[STREAM, pool.round]);
    let mut order: Vec<usize> = pool.unlabelled.to_vec();
    // Chance decides between equals; and it is all there is before a first model.
    rng.shuffle(&mut order);
    let groups = pool.groups;
    if let (Strategy::Cluster, Some(groups)) = (strategy, groups) {
        return Ok(central(groups, &order, n).into_iter().map(|row| (row, Some(groups.similarity[row]))).collect());
    }
    let Some(model) = model.filter(|_| strategy != Strategy::Random) else {
        order.truncate(n);
        return Ok(order.into_iter().map(|row| (row, None)).collect());
    };
    let p = model.predict_proba(&pool.x.select(&order));
    let score: Vec<f64> = match strategy {
        Strategy::LeastConfidence => (0..order.len()).map(|i| 1.0 - p.row(i)[p.best(i)]).collect(),
        Strategy::Entropy => (0..order.len()).map(|i| entropy(p.row(i))).collect(),
        Strategy::Committee => disagreement(pool, learner, &order, &mut rng)?,
        Strategy::Density => {
            let density = density(pool.x, &order);
            (0..order.len()).map(|i| (1.0 - margin(p.row(i))) * density[i]).collect()
        }
        _ => (0..order.len()).map(|i| 1.0 - margin(p.row(i))).collect(),
    };
    let mut ranked: Vec<usize> = (0..order.len()).collect();
    ranked.sort_by(|&a, &b| score[b].total_cmp(&score[a]).then(a.cmp(&b)));
    match (strategy, groups) {
        (Strategy::ClusterMargin, Some(groups)) => {
            ranked.truncate(n.saturating_mul(CANDIDATES));
            ranked = in_turn(ranked, |i| groups.of[order[i]], true);
        }
        (Strategy::Balanced, _) => ranked = in_turn(ranked, |i| p.best(i) as u32, false),
        _ => {}
    }
    ranked.truncate(n);
    Ok(ranked.into_iter().map(|i| (order[i], Some(score[i]))).collect())
}

/// Distance between the two best classes.
fn margin(p: &[f64]) -> f64 {
    let (mut first, mut second) = (0.0f64, 0.0f64);
    for &v in p {
        if v > first {
            (first, second) = (v, first);
        } else if v > second {
            second = v;
        }
    }
    first - second
}

/// In nats.
fn entropy(p: &[f64]) -> f64 {
    -p.iter().filter(|v| **v > 0.0).map(|v| v * v.ln()).sum::<f64>()
}

/// One of each group in turn, in the order of `ranked` within a group; with `small_first` groups of fewer candidates come first.
fn in_turn(ranked: Vec<usize>, group: impl Fn(usize) -> u32, small_first: bool) -> Vec<usize> {
    let mut queues: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    let total = ranked.len();
    ranked.into_iter().for_each(|i| queues.entry(group(i)).or_default().push(i));
    let mut queues: Vec<Vec<usize>> = queues.into_values().collect();
    if small_first {
        queues.sort_by_key(Vec::len);
    }
    let mut out = Vec::with_capacity(total);
    let mut depth = 0;
    while out.len() < total {
        out.extend(queues.iter().filter_map(|q| q.get(depth)));
        depth += 1;
    }
    out
}

/// Rows nearest to the centres, groups in turn.
fn central(groups: &Groups, order: &[usize], n: usize) -> Vec<usize> {
    let mut ranked = order.to_vec();
    ranked.sort_by(|&a, &b| groups.similarity[b].total_cmp(&groups.similarity[a]));
    let mut out = in_turn(ranked, |i| groups.of[i], false);
    out.truncate(n);
    out
}

/// How much each row resembles the others: the mean cosine, which is the cosine to the mean of unit rows but for a factor.
fn density(x: &Features, rows: &[usize]) -> Vec<f64> {
    let mut unit = x.select(rows);
    unit.normalize(vectorize::Norm::L2);
    let mut mean = vec![0.0; x.columns()];
    for i in 0..unit.rows() {
        unit.entries(i).for_each(|(c, v)| mean[c as usize] += v / rows.len() as f64);
    }
    (0..unit.rows()).map(|i| unit.entries(i).map(|(c, v)| v * mean[c as usize]).sum::<f64>().max(0.0)).collect()
}

/// Mean Kullback-Leibler divergence of the members of a committee from their mean; each learned from rows drawn with replacement.
fn disagreement(pool: &Pool<'_>, learner: &dyn Learner, order: &[usize], rng: &mut Rng) -> Result<Vec<f64>> {
    let asked = pool.x.select(order);
    let mut members: Vec<ByClass> = Vec::with_capacity(COMMITTEE);
    let mut seen: Vec<u32> = pool.labelled.iter().map(|(_, c)| *c).collect();
    seen.sort_unstable();
    seen.dedup();
    for _ in 0..COMMITTEE {
        let n = pool.labelled.len() as u64;
        let mut drawn: Vec<(usize, u32)> = (0..n).map(|_| pool.labelled[rng.below(n) as usize]).collect();
        // A class that the draw left out comes in with its first row: a model of fewer classes could not be compared.
        for class in &seen {
            if !drawn.iter().any(|(_, c)| c == class) {
                drawn.extend(pool.labelled.iter().find(|(_, c)| c == class));
            }
        }
        let (rows, y): (Vec<usize>, Vec<u32>) = drawn.into_iter().unzip();
        members.push(learner.fit(&pool.x.select(&rows), &y, None, pool.classes)?.predict_proba(&asked));
    }
    let one = |i: usize| {
        let mean: Vec<f64> = (0..pool.classes).map(|c| members.iter().map(|m| m.row(i)[c]).sum::<f64>() / COMMITTEE as f64).collect();
        // Mean divergence from the mean = entropy of the mean - mean entropy.
        entropy(&mean) - members.iter().map(|m| entropy(m.row(i))).sum::<f64>() / COMMITTEE as f64
    };
    Ok((0..order.len()).map(one).collect())
}

/// One point of a learning curve.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Point {
    /// Labels that the model had.
    pub labels: usize,
    /// Its accuracy on the test rows.
    pub accuracy: f64,
}

/// What a simulation needs.
pub struct Simulation<'a> {
    /// Rows, all of them with known classes that are shown when asked for.
    pub x: &'a Features,
    /// Their classes.
    pub y: &'a [u32],
    /// Rows to judge on.
    pub test: &'a Features,
    /// Their classes.
    pub test_y: &'a [u32],
    /// Number of classes.
    pub classes: usize,
    /// What learns.
    pub learner: &'a dyn Learner,
    /// Labels to begin with; drawn by chance (by [`Strategy::Cluster`] near centres).
    pub initial: usize,
    /// Labels of each round.
    pub batch: usize,
    /// Labels to end with.
    pub budget: usize,
}

/// The share of test rows that a model gets right.
pub fn accuracy(model: &Fitted, test: &Features, y: &[u32]) -> f64 {
    let p = model.predict_proba(test);
    let hits = y.iter().enumerate().filter(|(i, c)| p.best(*i) == **c as usize).count();
    hits as f64 / y.len().max(1) as f64
}

/// The learning curve of one strategy with one seed. `go_on` is asked after every point.
///
/// # Errors
/// The learner's own; [`vectorize::VectorizeError::Stopped`].
pub fn simulate(s: &Simulation<'_>, strategy: Strategy, seed: u64, go_on: &(dyn Fn() -> bool + Sync)) -> Result<Vec<Point>> {
    let budget = s.budget.min(s.x.rows());
    let groups = if strategy.wants_groups() { Some(groups(s.x, seed)?) } else { None };
    let mut unlabelled: Vec<usize> = (0..s.x.rows()).collect();
    let mut labelled: Vec<(usize, u32)> = Vec::new();
    let mut model: Option<Fitted> = None;
    let mut points = Vec::new();
    for round in 0.. {
        let wanted = if round == 0 { s.initial.max(1) } else { s.batch.max(1) }.min(budget - labelled.len());
        let pool = Pool { x: s.x, labelled: &labelled, unlabelled: &unlabelled, classes: s.classes, groups: groups.as_ref(), seed, round };
        // Centres of groups are a beginning; afterwards margins know more.
        let by = if strategy == Strategy::Cluster && round > 0 { Strategy::Margin } else { strategy };
        let chosen = choose(by, &pool, s.learner, model.as_ref(), wanted)?;
        let mut taken = vec![false; s.x.rows()];
        chosen.iter().for_each(|&i| taken[i] = true);
        unlabelled.retain(|&i| !taken[i]);
        labelled.extend(chosen.iter().map(|&i| (i, s.y[i])));
        let first = labelled.first().map(|l| l.1);
        if labelled.iter().any(|l| Some(l.1) != first) {
            let (rows, y): (Vec<usize>, Vec<u32>) = labelled.iter().copied().unzip();
            let fitted = s.learner.fit(&s.x.select(&rows), &y, None, s.classes)?;
            points.push(Point { labels: labelled.len(), accuracy: accuracy(&fitted, s.test, s.test_y) });
            model = Some(fitted);
        }
        if labelled.len() >= budget || unlabelled.is_empty() {
            break;
        }
        if !go_on() {
            return Err(vectorize::VectorizeError::Stopped);
        }
    }
    Ok(points)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vectorize::learn::LogisticRegression;

    /// Rows of three columns whose class is told by the first; most rows are far from the border.
    fn rows(n: usize, seed: u64) -> (Features, Vec<u32>) {
        let mut rng = Rng::keyed(seed, &[]);
        let (mut x, mut y) = (Features::new(12), Vec::new());
        for _ in 0..n {
            let values: Vec<f64> = (0..12).map(|_| f64::from(rng.normal())).collect();
            y.push(u32::from(values[0] + 0.5 * values[1] > 0.0));
            x.push(values.into_iter().enumerate().map(|(c, v)| (c as u32, v)));
        }
        (x, y)
    }

    #[test]
    fn margins_learn_faster_than_chance_and_every_strategy_ends() {
        let ((x, y), (test, test_y)) = (rows(600, 1), rows(500, 2));
        let learner = LogisticRegression::default();
        let s =
            Simulation { x: &x, y: &y, test: &test, test_y: &test_y, classes: 2, learner: &learner, initial: 10, batch: 10, budget: 100 };
        let mean = |strategy: Strategy| {
            let last = |seed| simulate(&s, strategy, seed, &|| true).unwrap().last().copied().unwrap();
            let ends: Vec<Point> = (0..6).map(last).collect();
            assert!(ends.iter().all(|p| p.labels == 100), "{strategy}");
            ends.iter().map(|p| p.accuracy).sum::<f64>() / 6.0
        };
        let (random, margin) = (mean(Strategy::Random), mean(Strategy::Margin));
        assert!(margin > random + 0.01, "{margin} {random}");
        for (strategy, name) in STRATEGIES {
            assert_eq!(name.parse::<Strategy>().unwrap(), strategy);
            assert_eq!(simulate(&s, strategy, 3, &|| true).unwrap(), simulate(&s, strategy, 3, &|| true).unwrap());
        }
        assert!("margn".parse::<Strategy>().unwrap_err().contains("margin"));
        assert!(simulate(&s, Strategy::Random, 1, &|| false).is_err());
    }

    #[test]
    fn what_is_chosen_is_what_was_asked_for() {
        let (x, y) = rows(200, 5);
        let learner = LogisticRegression::default();
        let labelled: Vec<(usize, u32)> = (0..20).map(|i| (i, y[i])).collect();
        let unlabelled: Vec<usize> = (20..200).collect();
        let groups = groups(&x, 1).unwrap();
        let pool = Pool { x: &x, labelled: &labelled, unlabelled: &unlabelled, classes: 2, groups: Some(&groups), seed: 1, round: 1 };
        let known: Vec<usize> = (0..20).collect();
        let model = learner.fit(&x.select(&known), &y[..20], None, 2).unwrap();
        for (strategy, name) in STRATEGIES {
            let mut chosen = choose(strategy, &pool, &learner, Some(&model), 30).unwrap();
            assert!(chosen.iter().all(|i| *i >= 20), "{name}");
            chosen.sort_unstable();
            chosen.dedup();
            assert_eq!(chosen.len(), 30, "{name}");
        }
        let p = model.predict_proba(&x);
        let chosen = choose(Strategy::Margin, &pool, &learner, Some(&model), 1).unwrap();
        assert!((20..200).all(|i| margin(p.row(i)) >= margin(p.row(chosen[0]))));
        let scored = ranked(Strategy::Entropy, &pool, &learner, Some(&model), 30).unwrap();
        assert!(scored.windows(2).all(|w| w[0].1 >= w[1].1) && scored[0].1 == Some(entropy(p.row(scored[0].0))));
        assert!(ranked(Strategy::Margin, &pool, &learner, None, 5).unwrap().iter().all(|(_, score)| score.is_none()));
    }
}
