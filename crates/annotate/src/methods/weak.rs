//! Weak supervision: many functions that vote or abstain, one label a row out of what they say together.
//!
//! The label model is generative (Ratner et al. 2016; Dawid & Skene 1979 with abstention): given the true class, functions vote
//! independently. A function has a set of classes that it votes for; it votes with one rate where the truth is among them and with
//! another where it is not (so that silence tells something), and is right with an accuracy of its own for each class. All is
//! learned from agreement and disagreement alone, by expectation maximisation from the majority's vote.

use serde::Serialize;

/// Largest change of a probability at which the learning ends.
const TOLERANCE: f64 = 1e-6;
/// Rounds at most.
const ROUNDS: usize = 500;
/// Rows that a function's accuracy of one class is drawn towards its accuracy of all.
const SHRINKAGE: f64 = 20.0;
/// Rounds before the class balance may move: first the functions must be told apart.
const PATIENCE: usize = 10;

/// Votes: `rows × functions`, each a class or nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Votes {
    functions: usize,
    classes: usize,
    values: Vec<Option<u32>>,
}

impl Votes {
    /// From what each function says of each row.
    ///
    /// # Panics
    /// If the functions speak of different numbers of rows.
    pub fn from_columns(columns: &[Vec<Option<u32>>], classes: usize) -> Self {
        let rows = columns.first().map_or(0, Vec::len);
        assert!(columns.iter().all(|c| c.len() == rows), "every function is asked about every row");
        let values = (0..rows).flat_map(|i| columns.iter().map(move |c| c[i].filter(|&v| (v as usize) < classes))).collect();
        Self { functions: columns.len(), classes, values }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.values.len() / self.functions.max(1)
    }

    /// What is said of a row.
    pub fn row(&self, i: usize) -> &[Option<u32>] {
        &self.values[i * self.functions..(i + 1) * self.functions]
    }

    /// Whether anything is said of a row.
    pub fn covered(&self, i: usize) -> bool {
        self.row(i).iter().any(Option::is_some)
    }
}

/// A function in numbers; shares are of all rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FunctionStats {
    /// Rows it votes on.
    pub coverage: f64,
    /// Rows it votes on and another, too.
    pub overlap: f64,
    /// Rows on which another votes otherwise.
    pub conflict: f64,
    /// Of its votes on rows of known class, the share that is right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// What the label model believes that share to be.
    pub estimated_accuracy: f64,
}

/// The table of all functions; `truth` is known for some rows or none.
pub fn table(votes: &Votes, model: &LabelModel, truth: &[Option<u32>]) -> Vec<FunctionStats> {
    let n = votes.rows().max(1) as f64;
    (0..votes.functions)
        .map(|j| {
            let (mut covered, mut overlap, mut conflict, mut right, mut known) = (0.0, 0.0, 0.0, 0.0, 0.0);
            for i in 0..votes.rows() {
                let row = votes.row(i);
                let Some(own) = row[j] else { continue };
                let others = || row.iter().enumerate().filter(|(o, _)| *o != j).filter_map(|(_, v)| *v);
                covered += 1.0;
                overlap += f64::from(u8::from(others().next().is_some()));
                conflict += f64::from(u8::from(others().any(|v| v != own)));
                if let Some(Some(class)) = truth.get(i) {
                    known += 1.0;
                    right += f64::from(u8::from(*class == own));
                }
            }
            FunctionStats {
                coverage: covered / n,
                overlap: overlap / n,
                conflict: conflict / n,
                accuracy: (known > 0.0).then(|| right / known),
                estimated_accuracy: model.accuracy(j),
            }
        })
        .collect()
}

/// Shares of the votes on each row (`rows × classes`); equal shares where nobody votes.
pub fn majority(votes: &Votes) -> Vec<f64> {
    let k = votes.classes;
    let mut out = vec![0.0; votes.rows() * k];
    for i in 0..votes.rows() {
        let row = &mut out[i * k..(i + 1) * k];
        votes.row(i).iter().flatten().for_each(|&v| row[v as usize] += 1.0);
        let sum: f64 = row.iter().sum();
        row.iter_mut().for_each(|p| *p = if sum > 0.0 { *p / sum } else { 1.0 / k as f64 });
    }
    out
}

/// How much the majority's first estimate of a function that does not vote for every class goes on to count, against what is
/// learned. Such functions say little about each other: without an anchor, learning can wander off to a worse explanation.
const ANCHOR: f64 = 0.5;

/// One function's parameters.
#[derive(Clone, Debug, PartialEq)]
struct Function {
    /// Of a function that does not vote for every class: votes and rows of the majority's estimate, inside its classes and outside.
    anchor: Option<([f64; 2], [f64; 2])>,
    /// Classes that it votes for.
    votes_for: Vec<bool>,
    /// How many these are.
    size: usize,
    /// How often it votes where the truth is one of them, and where it is not.
    rate: [f64; 2],
    /// How often its vote is right, by true class.
    accuracy: Vec<f64>,
}

impl Function {
    /// Probability of a vote given the class.
    fn likelihood(&self, vote: Option<u32>, class: usize) -> f64 {
        let inside = self.votes_for[class];
        let rate = self.rate[usize::from(!inside)];
        match vote {
            None => 1.0 - rate,
            Some(_) if !inside => rate / self.size as f64,
            Some(v) if v as usize == class => rate * self.accuracy[class],
            Some(_) => rate * (1.0 - self.accuracy[class]) / (self.size - 1).max(1) as f64,
        }
    }
}

/// What was learned of the functions.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelModel {
    functions: Vec<Function>,
    /// Share of each class.
    pub balance: Vec<f64>,
    /// Rounds until nothing changed.
    pub rounds: usize,
    /// The majority's estimate of the balance, in rows.
    first_balance: Option<Vec<f64>>,
}

/// Keeps probabilities off 0 and 1, where one vote would decide for ever.
fn inside(p: f64) -> f64 {
    p.clamp(1e-3, 1.0 - 1e-3)
}

impl LabelModel {
    /// Learns from votes; `balance` if the shares of the classes are known.
    pub fn fit(votes: &Votes, balance: Option<&[f64]>) -> Self {
        let (n, m, k) = (votes.rows(), votes.functions, votes.classes);
        let functions = (0..m)
            .map(|j| {
                let mut votes_for = vec![false; k];
                (0..n).filter_map(|i| votes.row(i)[j]).for_each(|v| votes_for[v as usize] = true);
                let size = votes_for.iter().filter(|v| **v).count();
                Function { anchor: None, votes_for, size: size.max(1), rate: [0.5, 0.5], accuracy: vec![0.75; k] }
            })
            .collect();
        let mut model = Self { functions, balance: vec![1.0 / k as f64; k], rounds: 0, first_balance: None };
        let mut posterior = majority(votes);
        let covered: Vec<bool> = (0..n).map(|i| votes.covered(i)).collect();
        if let Some(known) = balance {
            model.balance = known.to_vec();
        } else {
            model.learn_balance(&posterior, &covered);
        }
        for round in 0..ROUNDS {
            model.learn(votes, &posterior);
            if balance.is_none() && round >= PATIENCE {
                model.learn_balance(&posterior, &covered);
            }
            let next = model.expect(votes);
            let change = next.iter().zip(&posterior).fold(0.0f64, |m, (a, b)| m.max((a - b).abs()));
            posterior = next;
            model.rounds = round + 1;
            if change < TOLERANCE && round > PATIENCE {
                break;
            }
        }
        model
    }

    /// Rates and accuracies that explain the votes best, given what each row probably is.
    fn learn(&mut self, votes: &Votes, posterior: &[f64]) {
        let (n, k) = (votes.rows(), votes.classes);
        for (j, f) in self.functions.iter_mut().enumerate() {
            let (mut voted, mut all) = ([0.0; 2], [0.0; 2]);
            let (mut right, mut own) = (vec![0.0; k], vec![0.0; k]);
            for i in 0..n {
                let p = &posterior[i * k..(i + 1) * k];
                let vote = votes.row(i)[j];
                let mut within = 0.0;
                for c in 0..k {
                    if f.votes_for[c] {
                        within += p[c];
                        if let Some(v) = vote {
                            own[c] += p[c];
                            right[c] += if v as usize == c { p[c] } else { 0.0 };
                        }
                    }
                }
                for (side, share) in [within, 1.0 - within].into_iter().enumerate() {
                    all[side] += share;
                    voted[side] += if vote.is_some() { share } else { 0.0 };
                }
            }
            if f.size < k {
                let (first_voted, first_all) = *f.anchor.get_or_insert((voted, all));
                for side in 0..2 {
                    voted[side] += ANCHOR * first_voted[side];
                    all[side] += ANCHOR * first_all[side];
                }
            }
            f.rate = [0, 1].map(|s| inside((voted[s] + 0.5) / (all[s] + 1.0)));
            if f.size < k && f.rate[0] < f.rate[1] {
                // A function that spoke rather where it has nothing to say would be worse than chance: then its silence tells nothing.
                let rate = inside((voted[0] + voted[1] + 0.5) / (all[0] + all[1] + 1.0));
                f.rate = [rate, rate];
            }
            if f.size == 1 {
                f.accuracy.fill(1.0);
                continue;
            }
            let chance = 1.0 / f.size as f64;
            let (hits, total): (f64, f64) = (right.iter().sum(), own.iter().sum());
            let mean = inside((hits + 1.0) / (total + 1.5)).max(chance);
            for c in 0..k {
                f.accuracy[c] = inside((right[c] + SHRINKAGE * mean) / (own[c] + SHRINKAGE)).max(chance);
            }
        }
    }

    fn learn_balance(&mut self, posterior: &[f64], covered: &[bool]) {
        let k = self.balance.len();
        let mut sums = vec![1.0; k];
        for (i, _) in covered.iter().enumerate().filter(|(_, c)| **c) {
            sums.iter_mut().zip(&posterior[i * k..]).for_each(|(s, p)| *s += p);
        }
        if self.functions.iter().any(|f| f.size < k) {
            let first = self.first_balance.get_or_insert_with(|| sums.clone());
            sums.iter_mut().zip(first.iter()).for_each(|(s, f)| *s += ANCHOR * f);
        }
        let total: f64 = sums.iter().sum();
        self.balance = sums.into_iter().map(|s| s / total).collect();
    }

    fn expect(&self, votes: &Votes) -> Vec<f64> {
        let k = votes.classes;
        let mut out = vec![0.0; votes.rows() * k];
        for (i, row) in out.chunks_exact_mut(k).enumerate() {
            for (c, p) in row.iter_mut().enumerate() {
                *p = self.balance[c].max(1e-12).ln();
                for (f, &vote) in self.functions.iter().zip(votes.row(i)) {
                    *p += f.likelihood(vote, c).max(1e-12).ln();
                }
            }
            let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            row.iter_mut().for_each(|p| *p = (*p - max).exp());
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|p| *p /= sum);
        }
        out
    }

    /// Probability of each class for each row (`rows × classes`). Where all that vote agree, theirs is the likeliest class: functions
    /// are trusted to be better than chance, and what they agree on is not overruled by the balance of classes. If every function
    /// votes for one class only, the larger number of votes is not overruled either, and equals stay equal: how often such functions
    /// err can hardly be told from how frequent their classes are. What is learned then says how sure the label is.
    pub fn probabilities(&self, votes: &Votes) -> Vec<f64> {
        let k = votes.classes;
        let cautious = self.functions.iter().all(|f| f.size == 1);
        let mut out = self.expect(votes);
        let mut count = vec![0usize; k];
        for (i, row) in out.chunks_exact_mut(k).enumerate() {
            count.fill(0);
            votes.row(i).iter().flatten().for_each(|&v| count[v as usize] += 1);
            let most = count.iter().copied().max().unwrap_or(0);
            let tied = count.iter().filter(|&&n| n == most).count();
            if cautious && most > 0 && tied > 1 {
                row.iter_mut().zip(&count).for_each(|(p, &n)| *p = if n == most { 1.0 / tied as f64 } else { 0.0 });
                continue;
            }
            let agreed = most > 0 && (cautious || count.iter().sum::<usize>() == most);
            let best = (0..k).fold(0, |b, c| if row[c] > row[b] { c } else { b });
            if agreed && count[best] < most {
                // The likeliest of those with the most votes takes the place of the likeliest of all.
                let first = (0..k).filter(|&c| count[c] == most).fold(None, |b: Option<usize>, c| match b {
                    Some(b) if row[b] >= row[c] => Some(b),
                    _ => Some(c),
                });
                if let Some(first) = first {
                    row.swap(best, first);
                }
            }
        }
        out
    }

    /// The share of a function's votes that is right.
    pub fn accuracy(&self, function: usize) -> f64 {
        let f = &self.functions[function];
        let (mut right, mut voted) = (0.0, 0.0);
        for (c, share) in self.balance.iter().enumerate() {
            let rate = f.rate[usize::from(!f.votes_for[c])] * share;
            voted += rate;
            right += if f.votes_for[c] { rate * f.accuracy[c] } else { 0.0 };
        }
        if voted > 0.0 { right / voted } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::rng::Rng;

    /// Rows of `k` classes and functions of known accuracy: each votes with probability `coverage`, and errs evenly.
    fn synthetic(rows: usize, functions: usize, k: u32, coverage: f64, seed: u64) -> (Votes, Vec<u32>) {
        let mut rng = Rng::keyed(seed, &[]);
        let truth: Vec<u32> = (0..rows).map(|_| rng.below(u64::from(k)) as u32).collect();
        let columns: Vec<Vec<Option<u32>>> = (0..functions)
            .map(|j| {
                let accuracy = 0.6 + 0.3 * j as f64 / (functions - 1) as f64;
                let vote = |&t: &u32| {
                    if rng.uniform_f64() >= coverage {
                        None
                    } else if rng.uniform_f64() < accuracy {
                        Some(t)
                    } else {
                        Some((t + 1 + rng.below(u64::from(k) - 1) as u32) % k)
                    }
                };
                truth.iter().map(vote).collect()
            })
            .collect();
        (Votes::from_columns(&columns, k as usize), truth)
    }

    /// Functions that vote for one class each, with rates of hits and false alarms.
    fn one_class(rows: usize, rates: &[(u32, f64, f64)], shares: &[f64], seed: u64) -> (Votes, Vec<u32>) {
        let mut rng = Rng::keyed(seed, &[]);
        let truth: Vec<u32> = (0..rows)
            .map(|_| {
                let mut left = rng.uniform_f64();
                shares
                    .iter()
                    .position(|s| {
                        left -= s;
                        left < 0.0
                    })
                    .unwrap_or(0) as u32
            })
            .collect();
        let columns: Vec<Vec<Option<u32>>> = rates
            .iter()
            .map(|&(class, hit, alarm)| {
                truth.iter().map(|&t| (rng.uniform_f64() < if t == class { hit } else { alarm }).then_some(class)).collect()
            })
            .collect();
        (Votes::from_columns(&columns, shares.len()), truth)
    }

    /// Share of the covered rows whose likeliest class is the truth; ties count by halves and so on.
    fn right(p: &[f64], votes: &Votes, truth: &[u32]) -> f64 {
        let k = votes.classes;
        let (mut sum, mut n) = (0.0, 0.0);
        for (i, &t) in truth.iter().enumerate().filter(|(i, _)| votes.covered(*i)) {
            let row = &p[i * k..(i + 1) * k];
            let max = row.iter().copied().fold(0.0, f64::max);
            let best: Vec<usize> = (0..k).filter(|&c| row[c] >= max - 1e-12).collect();
            n += 1.0;
            sum += if best.contains(&(t as usize)) { 1.0 / best.len() as f64 } else { 0.0 };
        }
        sum / n
    }

    #[test]
    fn accuracies_are_found_without_labels() {
        for k in [2, 5, 20] {
            for (coverage, least) in [(1.0, 0.9), (0.5, 0.85)] {
                let (votes, truth) = synthetic(10_000, 10, k, coverage, u64::from(k));
                let model = LabelModel::fit(&votes, None);
                let known: Vec<Option<u32>> = truth.iter().map(|&t| Some(t)).collect();
                let stats = table(&votes, &model, &known);
                let error = stats.iter().map(|s| (s.accuracy.unwrap() - s.estimated_accuracy).abs()).sum::<f64>() / 10.0;
                assert!(error <= 0.01, "{k} classes, coverage {coverage}: {error}");
                let (ours, most) = (right(&model.probabilities(&votes), &votes, &truth), right(&majority(&votes), &votes, &truth));
                assert!(ours >= least && ours >= most - 0.002, "{k} classes, coverage {coverage}: {ours}, majority {most}");
            }
        }
    }

    #[test]
    fn functions_of_one_class_are_never_worse_than_the_majority() {
        let mut seed = 0;
        for shares in [&[0.5, 0.5][..], &[0.8, 0.2], &[0.2, 0.3, 0.5]] {
            for (hit, alarm) in [(0.3, 0.05), (0.15, 0.08), (0.5, 0.2), (0.05, 0.01)] {
                for many in [1usize, 3] {
                    seed += 1;
                    let rates: Vec<(u32, f64, f64)> = (0..shares.len() * many + 2)
                        .map(|j| ((j % shares.len()) as u32, hit * (1.0 + 0.1 * j as f64), alarm * (1.0 + 0.05 * j as f64)))
                        .collect();
                    let (votes, truth) = one_class(20_000, &rates, shares, seed);
                    let model = LabelModel::fit(&votes, None);
                    let (ours, most) = (right(&model.probabilities(&votes), &votes, &truth), right(&majority(&votes), &votes, &truth));
                    assert!(ours >= most - 2e-3, "{shares:?} {hit} {alarm} {many}: {ours}, majority {most}");
                }
            }
        }
    }

    #[test]
    fn the_table_counts() {
        let columns = [vec![Some(0), None, Some(1), Some(0)], vec![Some(0), None, Some(0), None]];
        let votes = Votes::from_columns(&columns, 2);
        let model = LabelModel::fit(&votes, Some(&[0.5, 0.5]));
        let stats = table(&votes, &model, &[Some(0), None, Some(0), None]);
        assert_eq!((stats[0].coverage, stats[0].overlap, stats[0].conflict, stats[0].accuracy), (0.75, 0.5, 0.25, Some(0.5)));
        assert_eq!(stats[1].accuracy, Some(1.0));
        assert!(!votes.covered(1));
    }
}
