//! Which documents are to be looked at next: those on which people did not answer the kind of question that is asked.

use dataset::labels::{Label, Statement};
use sha2::{Digest, Sha256};

use crate::store::{Entry, text_hash};
use crate::view::{Current, Kind, current};

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

/// Gathers documents that people did not answer.
#[derive(Debug)]
pub struct Gather {
    seed: u64,
    documents: Vec<Candidate>,
    /// Leave out what this annotator looked at, instead of what people settled.
    annotator: Option<String>,
    /// Kinds of labels that somebody gave, in the order of [`Kind::ALL`].
    seen: [bool; 3],
}

/// A document that waits for an answer of some kind.
#[derive(Debug)]
struct Candidate {
    document: i64,
    rank: [u8; 8],
    /// Of each kind whether it waits, and how unsure machines are.
    kinds: [(bool, Option<f64>); 3],
}

impl Gather {
    /// Gathers what nobody labelled, or what `annotator` did not look at yet.
    pub fn new(seed: u64, annotator: Option<String>) -> Self {
        Gather { seed, documents: Vec::new(), annotator, seen: [false; 3] }
    }

    /// Takes in a document.
    pub fn add(&mut self, entry: &Entry) {
        let statements = &entry.document.statements;
        for label in statements.iter().flat_map(|s| &s.labels) {
            self.seen[Kind::of(&label.body) as usize] = true;
        }
        // What is in dispute waits for an adjudicator and not for a further label.
        let looked = |s: &&Statement| s.author.kind.is_human() && self.annotator.as_ref().is_none_or(|name| s.author.name == *name);
        let kinds = Kind::ALL.map(|kind| {
            let done = statements.iter().filter(looked).any(|s| is_on(s, kind));
            (!done, if done { None } else { uncertainty(entry, kind) })
        });
        if kinds.iter().all(|(waits, _)| !waits) {
            return;
        }
        let mut hash = Sha256::new();
        hash.update(self.seed.to_le_bytes());
        hash.update(text_hash(&entry.document.text));
        hash.update(entry.document.row.as_bytes());
        let mut rank = [0; 8];
        rank.copy_from_slice(&hash.finalize()[..8]);
        self.documents.push(Candidate { document: entry.id, rank, kinds });
    }

    /// What is asked where nobody says: classes if the store has some, else spans, else texts; of a store without labels classes.
    pub fn asked(&self) -> Kind {
        Kind::ALL.into_iter().find(|kind| self.seen[*kind as usize]).unwrap_or(Kind::Class)
    }

    /// The first `n` that wait for an answer of a kind, by a strategy; ties fall in the random order. Documents without machines' labels come last under
    /// [`Strategy::Uncertainty`].
    pub fn choose(self, kind: Kind, strategy: Strategy, n: usize) -> Vec<Waiting> {
        let of = |c: Candidate| {
            let (waits, uncertainty) = c.kinds[kind as usize];
            waits.then_some(Waiting { document: c.document, uncertainty, rank: c.rank })
        };
        let mut waiting: Vec<Waiting> = self.documents.into_iter().filter_map(of).collect();
        waiting.sort_by(|a, b| {
            let by_rank = a.rank.cmp(&b.rank).then(a.document.cmp(&b.document));
            match strategy {
                Strategy::Random => by_rank,
                Strategy::Uncertainty => {
                    let of = |w: &Waiting| w.uncertainty.unwrap_or(-1.0);
                    of(b).total_cmp(&of(a)).then(by_rank)
                }
            }
        });
        waiting.truncate(n);
        waiting
    }
}

/// Whether a statement is on a kind of question; who says "nothing here", or passes a document over, means all of them.
fn is_on(statement: &Statement, kind: Kind) -> bool {
    statement.labels.is_empty() || statement.labels.iter().any(|l| Kind::of(&l.body) == kind)
}

/// One minus the confidence of the labels of a kind that machines settle on: the share of its votes, each weighted by its confidence.
fn uncertainty(entry: &Entry, kind: Kind) -> Option<f64> {
    let of = entry.document.statements.iter().zip(&entry.actions).filter(|(s, _)| !s.author.kind.is_human() && is_on(s, kind));
    let on = |s: &Statement| -> Vec<Label> { s.labels.iter().filter(|l| Kind::of(&l.body) == kind).cloned().collect() };
    let (machines, actions): (Vec<Statement>, Vec<i64>) = of.map(|(s, a)| (Statement { labels: on(s), ..s.clone() }, *a)).unzip();
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
        let class = Kind::Class;
        let mut gather = Gather::new(seed, annotator.map(str::to_owned));
        let machines: [&[(&str, f64)]; 5] = [&[("x", 0.9)], &[("x", 0.5)], &[], &[("x", 0.8), ("y", 0.8)], &[("x", 0.1)]];
        machines.iter().enumerate().for_each(|(i, m)| gather.add(&entry(i as i64, m, i == 4)));
        gather.choose(class, strategy, 9).into_iter().map(|w| w.document).collect()
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

    #[test]
    fn an_answer_of_one_kind_leaves_the_other_kind_waiting() {
        let span = || Label::new(Body::span("PER", 0, 2));
        let kb = Author { kind: AuthorKind::Distant, name: "kb".into() };
        let mut both = entry(1, &[], false);
        let class = vec![Label::new(Body::class("好"))];
        both.document.statements = vec![
            Statement::human("kim", class.clone()),
            Statement { author: kb, confidence: Some(0.75), labels: vec![span()], ..Statement::default() },
        ];
        both.actions = vec![1, 2];
        let mut spans = entry(2, &[("好", 0.9)], false);
        spans.document.statements.push(Statement::human("kim", vec![span()]));
        spans.actions.push(3);
        let gather = || {
            let mut gather = Gather::new(1, None);
            [&both, &spans].into_iter().for_each(|e| gather.add(e));
            gather
        };
        let of = |kind| -> Vec<(i64, Option<f64>)> {
            gather().choose(kind, Strategy::Uncertainty, 9).into_iter().map(|w| (w.document, w.uncertainty)).collect()
        };
        assert_eq!(of(Kind::Spans), [(1, Some(0.25))], "its class is a person's, its spans are a machine's");
        let waiting = of(Kind::Class);
        assert!(waiting.len() == 1 && waiting[0].0 == 2 && (waiting[0].1.unwrap() - 0.1).abs() < 1e-9, "{waiting:?}");
        assert_eq!(gather().asked(), Kind::Class);
        let mut only = Gather::new(1, None);
        both.document.statements.remove(0);
        only.add(&both);
        assert_eq!((only.asked(), Gather::new(1, None).asked()), (Kind::Spans, Kind::Class));
    }
}
