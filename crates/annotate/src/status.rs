//! Where a project stands: how much of the budget is used, what is settled, which classes are thin, who did what.

use std::collections::{BTreeMap, BTreeSet};

use dataset::labels::{Answer, Body};
use serde::Serialize;

use crate::store::Entry;
use crate::view::{Basis, Current, current};

/// Below this many labels a class is thin, whatever the others have.
pub const THIN: usize = 20;

/// The state of a project.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Status {
    /// Labels that may be spent.
    pub budget: usize,
    /// Judgements of people so far: a document looked at by two people counts twice.
    pub used: usize,
    /// What is left of the budget.
    pub left: usize,
    /// Documents in the store.
    pub documents: usize,
    /// Settled by people or the adjudicator.
    pub human: usize,
    /// Settled by the adjudicator, of these.
    pub adjudicated: usize,
    /// Labelled by machines only.
    pub model: usize,
    /// In dispute.
    pub unresolved: usize,
    /// Nobody said anything.
    pub unlabelled: usize,
    /// Settled classes, most frequent first.
    pub classes: Vec<ClassCount>,
    /// Settled types of spans, most frequent first.
    pub spans: Vec<ClassCount>,
    /// Settled types of relations and events, most frequent first.
    pub relations: Vec<ClassCount>,
    /// Who said how much, people first.
    pub annotators: Vec<AuthorCount>,
}

/// How often a label stands in the current labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClassCount {
    /// The label, with its group before it where it has one (`mood: good`).
    pub label: String,
    /// How often in all.
    pub count: usize,
    /// How often on people's word.
    pub human: usize,
    /// Fewer labels of people than [`THIN`], or than a fifth of the average label of its kind.
    pub thin: bool,
}

/// What one author did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuthorCount {
    /// Name; empty where a file named nobody.
    pub name: String,
    /// What it is.
    pub kind: String,
    /// Documents on which the author said something.
    pub documents: usize,
    /// Documents that the author passed over.
    pub ignored: usize,
    /// Labels in what the author said last or before.
    pub labels: usize,
}

/// Gathers a status document by document.
#[derive(Debug, Default)]
pub struct Gather {
    status: Status,
    counts: [BTreeMap<String, (usize, usize)>; 3],
    authors: BTreeMap<(usize, String), AuthorCount>,
}

impl Gather {
    /// Takes in a document.
    pub fn add(&mut self, entry: &Entry) {
        let now = current(&entry.document.statements, &entry.actions);
        let status = &mut self.status;
        status.documents += 1;
        match &now {
            Current::Unlabelled => status.unlabelled += 1,
            Current::Tied(_) => status.unresolved += 1,
            Current::Resolved(_, Basis::Model) => status.model += 1,
            Current::Resolved(_, basis) => {
                status.human += 1;
                status.adjudicated += usize::from(*basis == Basis::Adjudicated);
            }
        }
        if let Some(statement) = now.resolved() {
            for label in &statement.labels {
                let (kind, name) = match &label.body {
                    Body::Class { group, label } if group.is_empty() => (0, label.clone()),
                    Body::Class { group, label } => (0, format!("{group}: {label}")),
                    Body::Span { label, .. } => (1, label.clone()),
                    Body::Relation { label, .. } | Body::Event { label, .. } => (2, label.clone()),
                    _ => continue,
                };
                let count = self.counts[kind].entry(name).or_default();
                count.0 += 1;
                count.1 += usize::from(now.is_human());
            }
        }
        let mut judged = BTreeSet::new();
        let mut passed = BTreeSet::new();
        for statement in &entry.document.statements {
            let key =
                (usize::from(!statement.author.kind.is_human()), format!("{}\u{0}{}", statement.author.kind.name(), statement.author.name));
            let author = self.authors.entry(key).or_insert_with(|| AuthorCount {
                name: statement.author.name.clone(),
                kind: statement.author.kind.name().to_owned(),
                documents: 0,
                ignored: 0,
                labels: 0,
            });
            author.labels += statement.labels.len();
            if statement.answer == Answer::Ignore {
                author.ignored += usize::from(passed.insert(&statement.author));
            } else if judged.insert(&statement.author) {
                author.documents += 1;
                status.used += usize::from(statement.author.kind.is_human());
            }
        }
    }

    /// The status against a budget of labels.
    pub fn finish(self, budget: usize) -> Status {
        let [classes, spans, relations] = self.counts.map(|counts| {
            let mean = counts.values().map(|(_, human)| *human).sum::<usize>() as f64 / counts.len().max(1) as f64;
            let mut list: Vec<ClassCount> = counts
                .into_iter()
                .map(|(label, (count, human))| ClassCount { label, count, human, thin: human < THIN || (human as f64) < mean / 5.0 })
                .collect();
            // Equal counts stay in the order of their names.
            list.sort_by_key(|c| std::cmp::Reverse(c.count));
            list
        });
        let annotators = self.authors.into_values().collect();
        let left = budget.saturating_sub(self.status.used);
        Status { budget, left, classes, spans, relations, annotators, ..self.status }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataset::labels::{Author, AuthorKind, Document, Label, Statement};

    #[test]
    fn budget_thin_classes_and_authors_are_counted() {
        let class = |name: &str| vec![Label::new(Body::class(name))];
        let entry = |statements: Vec<Statement>| Entry {
            id: 1,
            source: "s".into(),
            actions: (0..statements.len() as i64).collect(),
            document: Document { text: "t".into(), statements, ..Document::default() },
        };
        let mut gather = Gather::default();
        for _ in 0..30 {
            gather.add(&entry(vec![Statement::human("a", class("often"))]));
        }
        gather.add(&entry(vec![Statement::human("a", class("rare")), Statement::human("b", class("rare"))]));
        gather.add(&entry(vec![Statement::human("a", class("rare")), Statement::human("b", class("often"))]));
        let model = Author { kind: AuthorKind::Model, name: "m".into() };
        gather.add(&entry(vec![Statement { author: model, labels: class("often"), ..Statement::default() }]));
        gather.add(&entry(vec![Statement { answer: Answer::Ignore, ..Statement::human("b", vec![]) }]));
        gather.add(&entry(vec![]));
        let status = gather.finish(1000);
        assert_eq!((status.used, status.left, status.documents), (34, 966, 35));
        assert_eq!((status.human, status.model, status.unresolved, status.unlabelled), (31, 1, 1, 2));
        let classes: Vec<_> = status.classes.iter().map(|c| (c.label.as_str(), c.count, c.human, c.thin)).collect();
        assert_eq!(classes, [("often", 31, 30, false), ("rare", 1, 1, true)]);
        let authors: Vec<_> = status.annotators.iter().map(|a| (a.name.as_str(), a.documents, a.ignored)).collect();
        assert_eq!(authors, [("a", 32, 0), ("b", 2, 1), ("m", 1, 0)]);
    }
}
