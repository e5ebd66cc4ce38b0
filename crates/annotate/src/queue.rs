//! Which documents are to be looked at next.

use dataset::labels::Statement;
use sha2::{Digest, Sha256};

use crate::store::{Entry, text_hash};
use crate::view::{Current, current};

/// How documents are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// In an order drawn from the seed: every document has the same chance, so what is found holds for all of them.
    Random,
    /// Where stored machines' labels are least sure, or contradict each other.
    Uncertainty,
}

/// A document that waits for a person.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// Its number in the store.
    pub document: i64,
    /// How unsure machines are, from 0 (certain) to 1; `None` if none spoke.
    pub uncertainty: Option<f64>,
    rank: [u8; 8],
}

/// Gathers documents on which no person settled anything.
#[derive(Debug)]
pub struct Gather {
    seed: u64,
    waiting: Vec<Waiting>,
    /// Leave out what this annotator looked at, instead of what people settled.
    annotator: Option<String>,
}

impl Gather {
    /// Gathers what nobody labelled, or what `annotator` did not look at yet.
    pub fn new(seed: u64, annotator: Option<String>) -> Self {
        Gather { seed, waiting: Vec::new(), annotator }
    }

    /// Takes in a document.
    pub fn add(&mut self, entry: &Entry) {
        let statements = &entry.document.statements;
        let done = match &self.annotator {
            Some(name) => statements.iter().any(|s| s.author.kind.is_human() && s.author.name == *name),
            // What is in dispute waits for an adjudicator and not for a further label.
            None => statements.iter().any(|s| s.author.kind.is_human()),
        };
        if done {
            return;
        }
        let mut hash = Sha256::new();
        hash.update(self.seed.to_le_bytes());
        hash.update(text_hash(&entry.document.text));
        hash.update(entry.document.row.as_bytes());
        let mut rank = [0; 8];
        rank.copy_from_slice(&hash.finalize()[..8]);
        self.waiting.push(Waiting { document: entry.id, uncertainty: uncertainty(entry), rank });
    }

    /// The first `n` by a strategy; ties fall in the random order. Documents without machines' labels come last under
    /// [`Strategy::Uncertainty`].
    pub fn choose(mut self, strategy: Strategy, n: usize) -> Vec<Waiting> {
        self.waiting.sort_by(|a, b| {
            let by_rank = a.rank.cmp(&b.rank).then(a.document.cmp(&b.document));
            match strategy {
                Strategy::Random => by_rank,
                Strategy::Uncertainty => {
                    let of = |w: &Waiting| w.uncertainty.unwrap_or(-1.0);
                    of(b).total_cmp(&of(a)).then(by_rank)
                }
            }
        });
        self.waiting.truncate(n);
        self.waiting
    }
}

/// One minus the confidence of the label that machines settle on: the share of its votes, each weighted by its confidence.
fn uncertainty(entry: &Entry) -> Option<f64> {
    let of = entry.document.statements.iter().zip(&entry.actions).filter(|(s, _)| !s.author.kind.is_human());
    let (machines, actions): (Vec<Statement>, Vec<i64>) = of.map(|(s, a)| (s.clone(), *a)).unzip();
    match current(&machines, &actions) {
        Current::Resolved(now, _) => {
            let same = |s: &&Statement| s.labels.iter().map(|l| &l.body).eq(now.labels.iter().map(|l| &l.body));
            let sure: f64 = machines.iter().filter(same).map(|s| s.confidence.unwrap_or(1.0)).sum();
            Some((1.0 - sure / machines.len() as f64).clamp(0.0, 1.0))
        }
        Current::Tied(_) => Some(1.0),
        Current::Unlabelled => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataset::labels::{Author, AuthorKind, Body, Document, Label};

    fn entry(id: i64, machines: &[(&str, f64)], human: bool) -> Entry {
        let mut statements: Vec<Statement> = machines
            .iter()
            .enumerate()
            .map(|(i, (class, confidence))| Statement {
                author: Author { kind: AuthorKind::Model, name: format!("m{i}") },
                confidence: Some(*confidence),
                labels: vec![Label::new(Body::class(*class))],
                ..Statement::default()
            })
            .collect();
        if human {
            statements.push(Statement::human("k", vec![]));
        }
        let actions = vec![0; statements.len()];
        Entry {
            id,
            source: "s".into(),
            actions,
            document: Document { row: id.to_string(), text: format!("t{id}"), statements, ..Document::default() },
        }
    }

    fn chosen(strategy: Strategy, seed: u64, annotator: Option<&str>) -> Vec<i64> {
        let mut gather = Gather::new(seed, annotator.map(str::to_owned));
        let machines: [&[(&str, f64)]; 5] = [&[("x", 0.9)], &[("x", 0.5)], &[], &[("x", 0.8), ("y", 0.8)], &[("x", 0.1)]];
        machines.iter().enumerate().for_each(|(i, m)| gather.add(&entry(i as i64, m, i == 4)));
        gather.choose(strategy, 9).into_iter().map(|w| w.document).collect()
    }

    #[test]
    fn the_unsure_come_first_and_the_done_not_at_all() {
        assert_eq!(chosen(Strategy::Uncertainty, 1, None), [3, 1, 0, 2]);
        assert_eq!(chosen(Strategy::Uncertainty, 1, Some("other")), [3, 4, 1, 0, 2]);
        assert_eq!(chosen(Strategy::Uncertainty, 1, Some("k")), [3, 1, 0, 2]);
    }

    #[test]
    fn random_is_the_seeds_and_nothing_elses() {
        assert_eq!(chosen(Strategy::Random, 5, None), chosen(Strategy::Random, 5, None));
        assert!((0..20).any(|seed| chosen(Strategy::Random, seed, None) != chosen(Strategy::Random, 5, None)));
    }
}
