//! Do people agree? Chance-corrected coefficients on classes, F1 on spans, and the documents on which they differ.
//!
//! Cohen 1960 (two raters), Fleiss 1971 (a fixed number of raters), Krippendorff 2004, ch. 11 (nominal alpha, any number of raters,
//! missing judgements allowed). Of spans there is no table of chances; pairs of annotators are compared by F1, exactly and where they
//! overlap under the same type. So are relations, exactly: the same type between the same ends.

use std::collections::{BTreeMap, BTreeSet};

use dataset::labels::{Body, Label, Range};
use evaluate::Confusion;
use serde::Serialize;

use crate::store::Entry;
use crate::view::{Basis, Opinion, Question, meaning, opinions, standings};

/// Agreement on all documents that at least two people judged.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Agreement {
    /// Each question on classes.
    pub classes: Vec<ClassAgreement>,
    /// Spans; `None` if no document's spans were judged by two.
    pub spans: Option<SpanAgreement>,
    /// Relations and events; `None` if nobody saw one where two people judged.
    pub relations: Option<RelationAgreement>,
    /// Documents on which people differ, in the order of the store.
    pub disagreements: Vec<Disagreement>,
}

/// Agreement on a question of classes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassAgreement {
    /// The question: `class`, or a group's name.
    pub question: String,
    /// Documents that two or more people judged.
    pub documents: usize,
    /// Share of pairs of judgements of one document that are the same.
    pub observed: f64,
    /// Krippendorff's alpha; `None` where only one class was ever chosen (it is then undefined).
    pub krippendorff: Option<f64>,
    /// Fleiss' kappa over the documents with the most usual number of judgements.
    pub fleiss: Option<f64>,
    /// That number of judgements.
    pub fleiss_raters: usize,
    /// Cohen's kappa of each pair.
    pub pairs: Vec<Pair>,
    /// Each class against all others.
    pub labels: Vec<LabelAgreement>,
    /// Each annotator against the others.
    pub annotators: Vec<AnnotatorAgreement>,
}

/// Two annotators.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pair {
    /// One.
    pub a: String,
    /// The other.
    pub b: String,
    /// Documents that both judged.
    pub documents: usize,
    /// Share on which they agree.
    pub observed: f64,
    /// Cohen's kappa; `None` if both always chose one and the same class.
    pub cohen: Option<f64>,
}

/// One class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LabelAgreement {
    /// The class.
    pub label: String,
    /// Judgements that chose it.
    pub judgements: usize,
    /// Krippendorff's alpha of choosing it or not.
    pub krippendorff: Option<f64>,
}

/// One annotator.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AnnotatorAgreement {
    /// Who.
    pub annotator: String,
    /// Documents that someone else judged, too.
    pub documents: usize,
    /// Share of pairs with another's judgement that are the same.
    pub observed: f64,
}

/// Agreement on spans.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpanAgreement {
    /// Documents that two or more people judged.
    pub documents: usize,
    /// F1 over all pairs of annotators: same type, same ranges.
    pub exact_f1: f64,
    /// F1 over all pairs: same type, overlapping.
    pub partial_f1: f64,
    /// Each pair of annotators.
    pub pairs: Vec<SpanPair>,
    /// Each type of span.
    pub labels: Vec<SpanLabel>,
}

/// Spans of two annotators.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpanPair {
    /// One.
    pub a: String,
    /// The other.
    pub b: String,
    /// Documents that both judged.
    pub documents: usize,
    /// F1, same type and ranges.
    pub exact_f1: f64,
    /// F1, same type and overlapping.
    pub partial_f1: f64,
}

/// One type of span.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpanLabel {
    /// The type.
    pub label: String,
    /// F1, same ranges.
    pub exact_f1: f64,
    /// F1, overlapping.
    pub partial_f1: f64,
}

/// Agreement on relations and events. They are the same if their types are, and their ends: roles, types and places of the spans.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RelationAgreement {
    /// Documents that two or more people judged, and in which somebody saw one.
    pub documents: usize,
    /// F1 over all pairs of annotators.
    pub exact_f1: f64,
    /// Each pair of annotators.
    pub pairs: Vec<RelationPair>,
    /// Each type.
    pub labels: Vec<RelationLabel>,
}

/// Relations of two annotators.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RelationPair {
    /// One.
    pub a: String,
    /// The other.
    pub b: String,
    /// Documents that both judged.
    pub documents: usize,
    /// F1, same type and ends.
    pub exact_f1: f64,
}

/// One type of relation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RelationLabel {
    /// The type.
    pub label: String,
    /// F1, same ends.
    pub exact_f1: f64,
}

/// A document on which people differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Disagreement {
    /// Its number in the store.
    pub document: i64,
    /// Its source.
    pub source: String,
    /// Its row there.
    pub row: String,
    /// On what.
    pub question: String,
    /// The beginning of its text.
    pub text: String,
    /// Who says what.
    pub opinions: Vec<(String, Vec<String>)>,
    /// How it is settled: `adjudicated`, `majority`, or not: `tie`.
    pub settled: &'static str,
}

/// Gathers agreement document by document.
#[derive(Debug, Default)]
pub struct Gather {
    classes: BTreeMap<String, Vec<BTreeMap<String, BTreeSet<String>>>>,
    spans: Vec<ByPerson<Vec<Range>>>,
    relations: Vec<ByPerson<String>>,
    disagreements: Vec<Disagreement>,
}

/// Characters of a text that are shown.
const SHOWN: usize = 120;

impl Gather {
    /// Takes in a document.
    pub fn add(&mut self, entry: &Entry) {
        let standings = standings(&entry.document.statements, &entry.actions);
        for (question, people) in opinions(&entry.document.statements, &entry.actions) {
            if people.len() < 2 {
                continue;
            }
            let differ = match &question {
                Question::Class(_) => {
                    let judged: BTreeMap<String, BTreeSet<String>> = people
                        .iter()
                        .map(|p| (p.author.name.clone(), p.labels.iter().filter_map(|l| l.class().map(str::to_owned)).collect()))
                        .collect();
                    let differ = judged.values().any(|set| Some(set) != judged.values().next());
                    self.classes.entry(question.to_string()).or_default().push(judged);
                    differ
                }
                Question::Spans => {
                    let judged: ByPerson<Vec<Range>> = people.iter().map(|p| (p.author.name.clone(), spans(p))).collect();
                    let related: ByPerson<String> = people.iter().map(|p| (p.author.name.clone(), relations(p))).collect();
                    let differ = judged.values().any(|set| Some(set) != judged.values().next())
                        || related.values().any(|set| Some(set) != related.values().next());
                    self.spans.push(judged);
                    // Where nobody sees a relation none is asked for, as far as is known.
                    if related.values().any(|list| !list.is_empty()) {
                        self.relations.push(related);
                    }
                    differ
                }
                Question::Texts => people.iter().any(|p| p.labels.iter().map(|l| &l.body).ne(people[0].labels.iter().map(|l| &l.body))),
            };
            if differ {
                let settled = match standings.get(&question) {
                    Some(s) if s.tied => "tie",
                    Some(s) if s.basis == Basis::Adjudicated => "adjudicated",
                    _ => "majority",
                };
                self.disagreements.push(Disagreement {
                    document: entry.id,
                    source: entry.source.clone(),
                    row: entry.document.row.clone(),
                    question: question.to_string(),
                    text: entry.document.text.chars().take(SHOWN).collect(),
                    opinions: people.iter().map(|p| (p.author.name.clone(), shown(&entry.document.text, p))).collect(),
                    settled,
                });
            }
        }
    }

    /// The coefficients.
    pub fn finish(self) -> Agreement {
        let classes = self.classes.into_iter().map(|(question, documents)| class_agreement(question, &documents)).collect();
        let spans = (!self.spans.is_empty()).then(|| span_agreement(&self.spans));
        let relations = (!self.relations.is_empty()).then(|| relation_agreement(&self.relations));
        Agreement { classes, spans, relations, disagreements: self.disagreements }
    }
}

fn spans(opinion: &Opinion) -> Vec<(String, Vec<Range>)> {
    let mut spans: Vec<(String, Vec<Range>)> =
        opinion.labels.iter().filter_map(|l| l.span().map(|(name, r)| (name.to_owned(), r.to_vec()))).collect();
    spans.sort();
    spans
}

/// Types of relations and events, each with all that it says: its ends by their types and places, whatever they are called.
fn relations(opinion: &Opinion) -> Vec<(String, String)> {
    let of = |label: &&Label| match &label.body {
        Body::Relation { label: name, .. } | Body::Event { label: name, .. } => Some((name.clone(), meaning(label, &opinion.labels, 0))),
        _ => None,
    };
    let mut relations: Vec<(String, String)> = opinion.labels.iter().filter_map(of).collect();
    relations.sort();
    relations
}

/// An opinion in words.
pub fn shown(text: &str, opinion: &Opinion) -> Vec<String> {
    let words = |ranges: &[Range]| format!("{:?}", dataset::labels::surface(text, ranges).unwrap_or_default());
    let end = |id: &str| {
        let span = opinion.labels.iter().find(|l| l.id == id).and_then(|l| l.span());
        span.map_or_else(|| id.to_owned(), |(_, ranges)| words(ranges))
    };
    let labels = opinion.labels.iter().map(|label| match (&label.body, label.span()) {
        (Body::Class { label, .. }, _) => label.clone(),
        (_, Some((name, ranges))) => format!("{name} {}", words(ranges)),
        (Body::Relation { label: name, .. } | Body::Event { label: name, .. }, _) => {
            let ends: Vec<String> = label.body.refers_to().into_iter().map(end).collect();
            format!("{name} ({})", ends.join(", "))
        }
        (body, _) => body.kind().to_owned(),
    });
    labels.collect()
}

/// Cohen's kappa of pairs of choices among `n` classes; `None` where chance alone would always agree.
pub fn cohen(n: usize, pairs: impl IntoIterator<Item = (usize, usize)>) -> Option<f64> {
    let table = Confusion::from_pairs(n, pairs);
    let total = table.total() as f64;
    let chance: f64 = (0..n).map(|c| table.support(c) as f64 * table.predicted(c) as f64).sum::<f64>() / (total * total);
    (total > 0.0 && chance < 1.0).then(|| (table.accuracy() - chance) / (1.0 - chance))
}

/// Fleiss' kappa: each row counts how many raters chose each class; all rows have the same number of raters, at least two.
pub fn fleiss(rows: &[Vec<usize>]) -> Option<f64> {
    let raters = rows.first()?.iter().sum::<usize>() as f64;
    let total = rows.len() as f64 * raters;
    let same = |row: &Vec<usize>| row.iter().map(|&n| n as f64 * (n as f64 - 1.0)).sum::<f64>() / (raters * (raters - 1.0));
    let observed = rows.iter().map(same).sum::<f64>() / rows.len() as f64;
    let chance: f64 = (0..rows[0].len()).map(|c| (rows.iter().map(|r| r[c] as f64).sum::<f64>() / total).powi(2)).sum();
    (raters > 1.0 && chance < 1.0).then(|| (observed - chance) / (1.0 - chance))
}

/// Krippendorff's alpha for classes: each unit lists the choices made for it, in any number.
pub fn krippendorff(n: usize, units: &[Vec<usize>]) -> Option<f64> {
    let mut matrix = vec![vec![0.0; n]; n];
    for unit in units.iter().filter(|u| u.len() > 1) {
        for (i, &a) in unit.iter().enumerate() {
            for (j, &b) in unit.iter().enumerate() {
                if i != j {
                    matrix[a][b] += 1.0 / (unit.len() as f64 - 1.0);
                }
            }
        }
    }
    let margins: Vec<f64> = matrix.iter().map(|row| row.iter().sum()).collect();
    let total: f64 = margins.iter().sum();
    let (mut observed, mut expected) = (0.0, 0.0);
    for a in 0..n {
        for b in 0..n {
            if a != b {
                observed += matrix[a][b];
                expected += margins[a] * margins[b];
            }
        }
    }
    (expected > 0.0).then(|| 1.0 - (total - 1.0) * observed / expected)
}

fn class_agreement(question: String, documents: &[BTreeMap<String, BTreeSet<String>>]) -> ClassAgreement {
    // Several classes together are one choice.
    let mut names: BTreeSet<&BTreeSet<String>> = BTreeSet::new();
    documents.iter().for_each(|d| names.extend(d.values()));
    let index: BTreeMap<&BTreeSet<String>, usize> = names.iter().enumerate().map(|(i, set)| (*set, i)).collect();
    let units: Vec<Vec<usize>> = documents.iter().map(|d| d.values().map(|set| index[set]).collect()).collect();
    let agree = |unit: &[usize]| {
        let pairs = unit.len() * (unit.len() - 1) / 2;
        let same = (0..unit.len()).flat_map(|i| (0..i).map(move |j| (i, j))).filter(|&(i, j)| unit[i] == unit[j]).count();
        (same, pairs)
    };
    let (same, pairs) = units.iter().map(|u| agree(u)).fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
    let mut sizes: BTreeMap<usize, usize> = BTreeMap::new();
    units.iter().for_each(|u| *sizes.entry(u.len()).or_default() += 1);
    let raters = sizes.iter().max_by_key(|(size, n)| (**n, **size)).map_or(0, |(size, _)| *size);
    let rows: Vec<Vec<usize>> = units
        .iter()
        .filter(|u| u.len() == raters)
        .map(|u| (0..index.len()).map(|c| u.iter().filter(|&&x| x == c).count()).collect())
        .collect();
    let labels: BTreeSet<&String> = documents.iter().flat_map(|d| d.values().flatten()).collect();
    let labels = labels.into_iter().map(|label| {
        let chosen: Vec<Vec<usize>> = documents.iter().map(|d| d.values().map(|set| usize::from(set.contains(label))).collect()).collect();
        LabelAgreement { label: label.clone(), judgements: chosen.iter().flatten().sum(), krippendorff: krippendorff(2, &chosen) }
    });
    let people: BTreeSet<&String> = documents.iter().flat_map(|d| d.keys()).collect();
    let people: Vec<&String> = people.into_iter().collect();
    let mut list = Vec::new();
    for (i, a) in people.iter().enumerate() {
        for b in &people[i + 1..] {
            let both: Vec<(usize, usize)> = documents.iter().filter_map(|d| Some((index[d.get(*a)?], index[d.get(*b)?]))).collect();
            if both.is_empty() {
                continue;
            }
            let observed = both.iter().filter(|(x, y)| x == y).count() as f64 / both.len() as f64;
            let cohen = cohen(index.len(), both.iter().copied());
            list.push(Pair { a: (*a).clone(), b: (*b).clone(), documents: both.len(), observed, cohen });
        }
    }
    let annotators = people.iter().map(|who| {
        let (mut same, mut all, mut n) = (0, 0, 0);
        for document in documents {
            let Some(own) = document.get(*who) else { continue };
            n += 1;
            all += document.len() - 1;
            same += document.iter().filter(|(name, set)| name != who && *set == own).count();
        }
        AnnotatorAgreement { annotator: (*who).clone(), documents: n, observed: same as f64 / all.max(1) as f64 }
    });
    ClassAgreement {
        question,
        documents: documents.len(),
        observed: same as f64 / pairs.max(1) as f64,
        krippendorff: krippendorff(index.len(), &units),
        fleiss: fleiss(&rows),
        fleiss_raters: raters,
        pairs: list,
        labels: labels.collect(),
        annotators: annotators.collect(),
    }
}

/// Found and missed, both ways.
#[derive(Debug, Clone, Copy, Default)]
struct Hits {
    exact: usize,
    partial_a: usize,
    partial_b: usize,
    a: usize,
    b: usize,
}

impl Hits {
    fn add(&mut self, other: Hits) {
        self.exact += other.exact;
        self.partial_a += other.partial_a;
        self.partial_b += other.partial_b;
        self.a += other.a;
        self.b += other.b;
    }

    /// Two who found nothing agree.
    fn exact_f1(self) -> f64 {
        if self.a + self.b == 0 { 1.0 } else { 2.0 * self.exact as f64 / (self.a + self.b) as f64 }
    }

    /// Harmonic mean of the shares of each side's spans that overlap one of the other's.
    fn partial_f1(self) -> f64 {
        if self.a + self.b == 0 {
            return 1.0;
        }
        let (p, r) = (self.partial_a as f64 / self.a.max(1) as f64, self.partial_b as f64 / self.b.max(1) as f64);
        if p + r == 0.0 { 0.0 } else { 2.0 * p * r / (p + r) }
    }
}

/// How many of `a` are in `b`; repeated ones find one partner each.
fn exact<T: PartialEq>(a: &[&T], b: &[&T]) -> usize {
    let mut rest = b.to_vec();
    let mut found = 0;
    for one in a {
        if let Some(at) = rest.iter().position(|other| other == one) {
            rest.remove(at);
            found += 1;
        }
    }
    found
}

fn span_hits(a: &[&(String, Vec<Range>)], b: &[&(String, Vec<Range>)]) -> Hits {
    let overlap = |x: &[Range], y: &[Range]| x.iter().any(|[s, e]| y.iter().any(|[t, f]| s < f && t < e));
    let found = |x: &[&(String, Vec<Range>)], y: &[&(String, Vec<Range>)]| {
        x.iter().filter(|(l, r)| y.iter().any(|(m, q)| l == m && overlap(r, q))).count()
    };
    Hits { exact: exact(a, b), partial_a: found(a, b), partial_b: found(b, a), a: a.len(), b: b.len() }
}

fn relation_hits(a: &[&(String, String)], b: &[&(String, String)]) -> Hits {
    Hits { exact: exact(a, b), a: a.len(), b: b.len(), ..Hits::default() }
}

/// All of a list, or those of one type.
fn of_type<'l, T>(list: &'l [(String, T)], only: Option<&String>) -> Vec<&'l (String, T)> {
    list.iter().filter(|(label, _)| only.is_none_or(|only| only == label)).collect()
}

/// What people found that has a type, of each document.
type ByPerson<T> = BTreeMap<String, Vec<(String, T)>>;

/// Hits in all, of each pair of annotators with the documents that both judged, and of each type.
#[derive(Default)]
struct Tally<'d> {
    all: Hits,
    pairs: BTreeMap<(&'d String, &'d String), (usize, Hits)>,
    labels: BTreeMap<&'d String, Hits>,
}

impl<'d> Tally<'d> {
    fn new<T>(documents: &'d [ByPerson<T>], hits: impl Fn(&[&(String, T)], &[&(String, T)]) -> Hits) -> Self {
        let mut tally = Tally::default();
        for document in documents {
            let people: Vec<_> = document.iter().collect();
            for (i, &(a, x)) in people.iter().enumerate() {
                for &(b, y) in &people[i + 1..] {
                    let found = hits(&of_type(x, None), &of_type(y, None));
                    tally.all.add(found);
                    let pair = tally.pairs.entry((a, b)).or_default();
                    pair.0 += 1;
                    pair.1.add(found);
                    let labels: BTreeSet<&String> = x.iter().chain(y).map(|(label, _)| label).collect();
                    for label in labels {
                        tally.labels.entry(label).or_default().add(hits(&of_type(x, Some(label)), &of_type(y, Some(label))));
                    }
                }
            }
        }
        tally
    }
}

fn span_agreement(documents: &[ByPerson<Vec<Range>>]) -> SpanAgreement {
    let Tally { all, pairs, labels } = Tally::new(documents, span_hits);
    let pairs = pairs.into_iter().map(|((a, b), (documents, h))| SpanPair {
        a: a.clone(),
        b: b.clone(),
        documents,
        exact_f1: h.exact_f1(),
        partial_f1: h.partial_f1(),
    });
    let labels =
        labels.into_iter().map(|(label, h)| SpanLabel { label: label.clone(), exact_f1: h.exact_f1(), partial_f1: h.partial_f1() });
    SpanAgreement {
        documents: documents.len(),
        exact_f1: all.exact_f1(),
        partial_f1: all.partial_f1(),
        pairs: pairs.collect(),
        labels: labels.collect(),
    }
}

fn relation_agreement(documents: &[ByPerson<String>]) -> RelationAgreement {
    let Tally { all, pairs, labels } = Tally::new(documents, relation_hits);
    let pairs =
        pairs.into_iter().map(|((a, b), (documents, h))| RelationPair { a: a.clone(), b: b.clone(), documents, exact_f1: h.exact_f1() });
    let labels = labels.into_iter().map(|(label, h)| RelationLabel { label: label.clone(), exact_f1: h.exact_f1() });
    RelationAgreement { documents: documents.len(), exact_f1: all.exact_f1(), pairs: pairs.collect(), labels: labels.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataset::labels::{Document, Statement};

    #[test]
    fn coefficients_are_the_peers() {
        // Values of scikit-learn, statsmodels and krippendorff (oracles/agreement.py).
        let oracle: serde_json::Value = serde_json::from_str(include_str!("../tests/data/agreement.json")).unwrap();
        let list = |v: &serde_json::Value| -> Vec<usize> { v.as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as usize).collect() };
        for case in oracle["cases"].as_array().unwrap() {
            let n = case["classes"].as_u64().unwrap() as usize;
            let (a, b) = (list(&case["a"]), list(&case["b"]));
            let near = |found: Option<f64>, key: &str| {
                let wanted = case[key].as_f64().unwrap();
                assert!((found.unwrap() - wanted).abs() < 1e-9, "{key}: {found:?} {wanted}");
            };
            near(cohen(n, a.into_iter().zip(b)), "cohen");
            let rows: Vec<Vec<usize>> = case["fleiss_rows"].as_array().unwrap().iter().map(list).collect();
            near(fleiss(&rows), "fleiss");
            let units: Vec<Vec<usize>> = case["units"].as_array().unwrap().iter().map(list).collect();
            near(krippendorff(n, &units), "krippendorff");
        }
        assert_eq!((cohen(2, [(1, 1), (1, 1)]), krippendorff(2, &[vec![1, 1]])), (None, None), "one class alone says nothing");
    }

    fn entry(id: i64, statements: Vec<Statement>) -> Entry {
        let actions = (0..statements.len() as i64).collect();
        Entry {
            id,
            source: "s".into(),
            actions,
            document: Document { row: format!("{id}"), text: "Ann Lee runs Acme".into(), statements, ..Document::default() },
        }
    }

    #[test]
    fn classes_spans_and_disagreements_are_found() {
        let class = |who: &str, c: &str| Statement::human(who, vec![Label::new(Body::class(c))]);
        let span = |who: &str, list: &[(&str, usize, usize)]| {
            Statement::human(who, list.iter().map(|(l, s, e)| Label::new(Body::span(*l, *s, *e))).collect())
        };
        let mut gather = Gather::default();
        gather.add(&entry(1, vec![class("a", "x"), class("b", "x"), class("c", "y")]));
        gather.add(&entry(2, vec![class("a", "y"), class("b", "x")]));
        gather.add(&entry(3, vec![class("a", "x")]));
        gather.add(&entry(4, vec![span("a", &[("P", 0, 7), ("O", 13, 17)]), span("b", &[("P", 0, 3), ("O", 13, 17)])]));
        let found = gather.finish();
        let classes = &found.classes[0];
        assert_eq!((classes.documents, classes.pairs.len(), classes.labels.len()), (2, 3, 2));
        assert_eq!(classes.observed, 0.25);
        assert_eq!(classes.annotators[0], AnnotatorAgreement { annotator: "a".into(), documents: 2, observed: 1.0 / 3.0 });
        let spans = found.spans.unwrap();
        assert_eq!((spans.exact_f1, spans.partial_f1), (0.5, 1.0));
        assert_eq!(spans.labels.iter().map(|l| (l.label.as_str(), l.exact_f1)).collect::<Vec<_>>(), [("O", 1.0), ("P", 0.0)]);
        let list: Vec<_> = found.disagreements.iter().map(|d| (d.document, d.question.as_str(), d.settled)).collect();
        assert_eq!(list, [(1, "class", "majority"), (2, "class", "tie"), (4, "spans", "tie")]);
        assert_eq!(
            found.disagreements[2].opinions[0].1,
            ["O \"Acme\"", "P \"Ann Lee\""].map(String::from).into_iter().rev().collect::<Vec<_>>()
        );
    }

    #[test]
    fn relations_are_compared_by_type_and_ends() {
        // Each names the spans as they like.
        let says = |who: &str, ids: [&str; 3], relations: &[(&str, usize, usize)]| {
            let spans = [("PER", 0, 2), ("ORG", 4, 7), ("LOC", 8, 10)];
            let mut labels: Vec<Label> = ids.iter().zip(spans).map(|(id, (l, s, e))| Label::named(*id, Body::span(l, s, e))).collect();
            labels.extend(relations.iter().map(|(name, from, to)| {
                let args = vec![("from".to_owned(), ids[*from].to_owned()), ("to".to_owned(), ids[*to].to_owned())];
                Label::new(Body::Relation { label: (*name).to_owned(), args })
            }));
            Statement::human(who, labels)
        };
        let mut gather = Gather::default();
        let mut add = |id: i64, statements: Vec<Statement>| {
            let mut entry = entry(id, statements);
            entry.document.text = "李安经营艾克米于北京".into();
            gather.add(&entry);
        };
        let (t, x, n) = (["T1", "T2", "T3"], ["x", "y", "z"], ["3", "1", "2"]);
        let same = [("runs", 0, 1), ("lives", 0, 2)];
        add(1, vec![says("a", t, &same), says("b", x, &same)]);
        // Turned round, and of another type; the third sees none.
        add(2, vec![says("a", t, &same), says("b", x, &[("runs", 1, 0), ("works", 0, 2)]), says("c", n, &[])]);
        add(3, vec![says("a", t, &[("runs", 0, 1)]), says("b", x, &[("runs", 0, 1), ("runs", 0, 1)])]);
        // Nobody sees a relation.
        add(4, vec![says("a", t, &[]), says("b", x, &[])]);
        let found = gather.finish();
        assert_eq!(found.spans.as_ref().map(|s| (s.documents, s.exact_f1)), Some((4, 1.0)));
        let relations = found.relations.unwrap();
        assert_eq!(relations.documents, 3);
        let pairs: Vec<_> = relations.pairs.iter().map(|p| (p.a.as_str(), p.b.as_str(), p.documents, p.exact_f1)).collect();
        // a and b: 2 + 0 + 1 right of 5 and 6.
        assert_eq!(pairs, [("a", "b", 3, 6.0 / 11.0), ("a", "c", 1, 0.0), ("b", "c", 1, 0.0)]);
        // Over all pairs; a relation of a and of b is held against c's none, too.
        assert_eq!(relations.exact_f1, 6.0 / 15.0);
        let labels: Vec<_> = relations.labels.iter().map(|l| (l.label.as_str(), l.exact_f1)).collect();
        assert_eq!(labels, [("lives", 2.0 / 4.0), ("runs", 4.0 / 9.0), ("works", 0.0)]);
        let differ: Vec<i64> = found.disagreements.iter().map(|d| d.document).collect();
        assert_eq!(differ, [2, 3], "where only the relations differ, too");
        let (name, labels) = &found.disagreements[0].opinions[0];
        assert_eq!((name.as_str(), labels[3].as_str()), ("a", "runs (\"李安\", \"艾克米\")"));
    }
}
