//! Where a project stands: how much of the budget is used, what is settled, which classes are thin, who did what.

use std::collections::{BTreeMap, BTreeSet};

use dataset::labels::{Answer, Body};
use serde::Serialize;

use crate::store::Entry;
use crate::view::{Basis, Question, Standing, answered_by, standings};

/// Below this many labels a class is thin, whatever the others have.
pub const THIN: usize = 20;

/// The state of a project.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Status {
    /// Labels that may be spent.
    pub budget: usize,
    /// Answers of people so far: a document counts once for each person and each question (classes of a group, spans, texts).
    pub used: usize,
    /// What is left of the budget.
    pub left: usize,
    /// Documents in the store.
    pub documents: usize,
    /// Of which people or the adjudicator settled something, whatever machines say of other questions.
    pub human: usize,
    /// Of which the adjudicator settled something, of these.
    pub adjudicated: usize,
    /// Labelled by machines only.
    pub model: usize,
    /// In dispute on some question.
    pub unresolved: usize,
    /// Nobody said anything.
    pub unlabelled: usize,
    /// Each question by itself: what people said of classes is no answer on spans.
    pub questions: Vec<QuestionCount>,
    /// Settled classes, most frequent first.
    pub classes: Vec<ClassCount>,
    /// Settled types of spans, most frequent first.
    pub spans: Vec<ClassCount>,
    /// Settled types of relations and events, most frequent first.
    pub relations: Vec<ClassCount>,
    /// Who said how much, people first.
    pub annotators: Vec<AuthorCount>,
}

/// How many documents stand how on one question.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct QuestionCount {
    /// `class` (or the group's name), `spans`, `texts`.
    pub question: String,
    /// Answers of people: a document counts once for each person.
    pub used: usize,
    /// Settled by people or the adjudicator.
    pub human: usize,
    /// Settled by the adjudicator, of these.
    pub adjudicated: usize,
    /// Answered by machines only.
    pub model: usize,
    /// In dispute.
    pub unresolved: usize,
    /// Without an answer.
    pub unlabelled: usize,
}

impl QuestionCount {
    fn add(&mut self, standing: &Standing) {
        self.used += standing.people;
        match (standing.tied, standing.basis) {
            (true, _) => self.unresolved += 1,
            (_, Basis::Model) => self.model += 1,
            (_, basis) => {
                self.human += 1;
                self.adjudicated += usize::from(basis == Basis::Adjudicated);
            }
        }
    }
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
    questions: BTreeMap<Question, QuestionCount>,
    /// Documents of which people said that nothing is there, how many of them did, and the questions that were answered nevertheless.
    nothing: Vec<(usize, BTreeSet<Question>)>,
    counts: [BTreeMap<String, (usize, usize)>; 3],
    authors: BTreeMap<(usize, String), AuthorCount>,
}

impl Gather {
    /// Takes in a document.
    pub fn add(&mut self, entry: &Entry) {
        let statements = &entry.document.statements;
        let standings = standings(statements, &entry.actions);
        let status = &mut self.status;
        status.documents += 1;
        match standings.values().map(|s| s.basis).max() {
            None => status.unlabelled += 1,
            Some(_) if standings.values().any(|s| s.tied) => status.unresolved += 1,
            Some(Basis::Model) => status.model += 1,
            Some(basis) => {
                status.human += 1;
                status.adjudicated += usize::from(basis == Basis::Adjudicated);
            }
        }
        let labelled = statements.iter().any(|s| !s.labels.is_empty());
        let answered = answered_by(statements);
        status.used += answered.values().map(|questions| questions.len().max(1)).sum::<usize>();
        let silent = answered.values().filter(|questions| questions.is_empty()).count();
        if silent > 0 {
            let elsewhere = if labelled { standings.keys().cloned().collect() } else { BTreeSet::new() };
            self.nothing.push((silent, elsewhere));
        }
        for (question, standing) in standings.iter().filter(|_| labelled) {
            self.questions.entry(question.clone()).or_default().add(standing);
            for label in standing.labels.iter().filter(|_| !standing.tied) {
                let (kind, name) = match &label.body {
                    Body::Class { group, label } if group.is_empty() => (0, label.clone()),
                    Body::Class { group, label } => (0, format!("{group}: {label}")),
                    Body::Span { label, .. } => (1, label.clone()),
                    Body::Relation { label, .. } | Body::Event { label, .. } => (2, label.clone()),
                    _ => continue,
                };
                let count = self.counts[kind].entry(name).or_default();
                count.0 += 1;
                count.1 += usize::from(standing.is_human());
            }
        }
        let mut judged = BTreeSet::new();
        let mut passed = BTreeSet::new();
        for statement in statements {
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
            }
        }
    }

    /// The status against a budget of labels.
    pub fn finish(mut self, budget: usize) -> Status {
        // "Nothing here" answers every question that is asked in the store; where none is, it was said of spans.
        if self.questions.is_empty() && !self.nothing.is_empty() {
            self.questions.insert(Question::Spans, QuestionCount::default());
        }
        let documents = self.status.documents;
        let of = |(question, mut count): (Question, QuestionCount)| {
            for (people, _) in self.nothing.iter().filter(|(_, elsewhere)| !elsewhere.contains(&question)) {
                count.human += 1;
                count.used += people;
            }
            count.unlabelled = documents.saturating_sub(count.human + count.model + count.unresolved);
            QuestionCount { question: question.to_string(), ..count }
        };
        let questions = self.questions.into_iter().map(of).collect();
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
        Status { budget, left, questions, classes, spans, relations, annotators, ..self.status }
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
        assert_eq!(status.questions.len(), 1);
        assert_eq!((status.questions[0].question.as_str(), status.questions[0].used), ("class", 34));
        assert_eq!((status.human, status.model, status.unresolved, status.unlabelled), (31, 1, 1, 2));
        let classes: Vec<_> = status.classes.iter().map(|c| (c.label.as_str(), c.count, c.human, c.thin)).collect();
        assert_eq!(classes, [("often", 31, 30, false), ("rare", 1, 1, true)]);
        let authors: Vec<_> = status.annotators.iter().map(|a| (a.name.as_str(), a.documents, a.ignored)).collect();
        assert_eq!(authors, [("a", 32, 0), ("b", 2, 1), ("m", 1, 0)]);
    }

    #[test]
    fn each_question_is_counted_by_itself() {
        let author = |kind: AuthorKind, name: &str| Author { kind, name: name.into() };
        let says = |who: &Author, labels: Vec<Label>| Statement { author: who.clone(), labels, ..Statement::default() };
        let (kim, machine) = (author(AuthorKind::Human, "kim"), author(AuthorKind::Distant, "kb"));
        let judge = author(AuthorKind::Adjudicator, "judge");
        let class = |name: &str| Label::new(Body::class(name));
        let span = || Label::named("T1", Body::span("PER", 0, 2));
        let mut gather = Gather::default();
        let mut add = |statements: Vec<Statement>| {
            let actions = (0..statements.len() as i64).collect();
            let document = Document { text: "李安 runs Acme".into(), statements, ..Document::default() };
            gather.add(&Entry { id: 1, source: "s".into(), actions, document });
        };
        for _ in 0..THIN {
            add(vec![says(&kim, vec![class("好")]), says(&machine, vec![span()])]);
        }
        // Spans of a person beside a machine's class; both of one person; classes in dispute beside settled spans; the adjudicator.
        add(vec![says(&kim, vec![span()]), says(&machine, vec![class("坏")])]);
        add(vec![says(&kim, vec![class("好")]), says(&kim, vec![span()])]);
        add(vec![says(&kim, vec![class("好"), span()]), says(&author(AuthorKind::Human, "lee"), vec![class("坏")])]);
        add(vec![says(&judge, vec![class("好")]), says(&machine, vec![span()])]);
        add(vec![says(&kim, vec![])]);
        add(vec![]);
        let status = gather.finish(100);
        assert_eq!(
            (status.documents, status.human, status.adjudicated, status.model, status.unresolved, status.unlabelled),
            (26, 24, 1, 0, 1, 1)
        );
        let [classes, spans] = &status.questions[..] else { panic!("{status:?}") };
        assert_eq!((classes.question.as_str(), spans.question.as_str()), ("class", "spans"));
        let of = |q: &QuestionCount| (q.used, q.human, q.adjudicated, q.model, q.unresolved, q.unlabelled);
        assert_eq!(of(classes), (25, 23, 1, 1, 1, 1));
        assert_eq!(of(spans), (4, 4, 0, 21, 0, 1));
        // Answers, not documents: two of the document with both; the one where nothing is stands for itself.
        assert_eq!(status.used, 20 + 1 + 2 + 3 + 1 + 1);
        let labels: Vec<_> = status.classes.iter().chain(&status.spans).map(|c| (c.label.as_str(), c.count, c.human, c.thin)).collect();
        assert_eq!(labels, [("好", 22, 22, false), ("坏", 1, 0, true), ("PER", 24, 3, true)]);
    }
}
