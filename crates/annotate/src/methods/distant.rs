//! Distant supervision (Mintz et al. 2009): entities of a knowledge base found in texts by their names, and its relations proposed where
//! both ends stand together. What is found is a candidate until somebody looked at it ([`review`]).
//!
//! Names match after normalisation: compatibility forms and full width (NFKC), case, runs of white space; zero-width characters do not
//! count. A name that begins or ends with a letter or digit of a script that puts spaces between words must stand at a word's border; Han,
//! kana, Hangul and Thai have none. Of overlapping matches the longest counts (Aho & Corasick 1975 finds them all in one pass).

use std::collections::{BTreeMap, HashMap};

use aho_corasick::AhoCorasick;
use dataset::labels::{Answer, AuthorKind, Body, Label, Range, Statement};
use serde::Serialize;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::canonical_combining_class;

use crate::error::{Error, Result};
use crate::store::Entry;
use crate::view::{Question, standings};

/// Something that has names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entity {
    /// Its key in the knowledge base.
    pub id: String,
    /// Its type: the label of its spans.
    pub kind: String,
    /// Its own name first, then the others.
    pub names: Vec<String>,
}

/// Two entities stand in a relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Number of the first entity.
    pub from: usize,
    /// The relation.
    pub label: String,
    /// Number of the second.
    pub to: usize,
}

/// A knowledge base.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Knowledge {
    /// The entities.
    pub entities: Vec<Entity>,
    /// The relations.
    pub facts: Vec<Fact>,
}

/// How near the ends of a relation must stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Within {
    /// In one sentence.
    #[default]
    Sentence,
    /// In one document.
    Document,
}

/// A name in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mention {
    /// Code points.
    pub range: Range,
    /// The entities that have this name, ascending.
    pub entities: Vec<usize>,
}

/// What was found in a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Names, in the order of the text; they do not overlap.
    pub mentions: Vec<Mention>,
    /// Relations that may be meant: number of the fact, of the mention of its first end, of its second. Each fact once a sentence, where
    /// its ends stand nearest.
    pub facts: Vec<(usize, usize, usize)>,
}

/// A knowledge base, ready to be looked for.
#[derive(Debug)]
pub struct Matcher<'k> {
    knowledge: &'k Knowledge,
    automaton: AhoCorasick,
    /// The entities of each pattern.
    entities: Vec<Vec<usize>>,
    facts: HashMap<(usize, usize), Vec<usize>>,
    within: Within,
}

/// A text as it is compared, and for each of its bytes the code points that it came from.
struct Normal {
    text: String,
    from: Vec<Range>,
}

fn invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}')
}

/// Letters of scripts that put no spaces between words.
fn unspaced(c: char) -> bool {
    matches!(c, '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1100}'..='\u{11ff}' | '\u{1780}'..='\u{17ff}'
        | '\u{3005}'..='\u{3007}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{323af}')
}

fn word(c: char) -> bool {
    c.is_alphanumeric() && !unspaced(c)
}

fn normal(text: &str) -> Normal {
    let chars: Vec<char> = text.chars().collect();
    let mut out = Normal { text: String::with_capacity(text.len()), from: Vec::with_capacity(text.len()) };
    let mut at = 0;
    while at < chars.len() {
        let first = at;
        at += 1;
        if invisible(chars[first]) {
            continue;
        }
        if chars[first].is_whitespace() {
            while at < chars.len() && (chars[at].is_whitespace() || invisible(chars[at])) {
                at += 1;
            }
            out.text.push(' ');
            out.from.push([first, at]);
            continue;
        }
        while at < chars.len() && canonical_combining_class(chars[at]) != 0 {
            at += 1;
        }
        let before = out.text.len();
        out.text.extend(chars[first..at].iter().copied().nfkc().flat_map(char::to_lowercase));
        out.from.resize(out.from.len() + out.text.len() - before, [first, at]);
    }
    out
}

/// Sentences as ranges of code points: they end with a full stop of any script, and at line ends that stand twice.
fn sentences(text: &str) -> Vec<Range> {
    let chars: Vec<char> = text.chars().collect();
    let (mut out, mut start) = (Vec::new(), 0);
    for (i, &c) in chars.iter().enumerate() {
        let next = chars.get(i + 1).copied().unwrap_or('\n');
        let ends = match c {
            '。' | '！' | '？' | '；' | '!' | '?' => true,
            // "No. 5" and "Ltd. and" go on; "Acme Ltd. The seller" ends.
            '.' => {
                next.is_whitespace() && chars[i + 1..].iter().find(|c| !c.is_whitespace()).is_none_or(|c| c.is_uppercase() || unspaced(*c))
            }
            '\n' => next == '\n' || next == '\r',
            _ => false,
        };
        if ends {
            out.push([start, i + 1]);
            start = i + 1;
        }
    }
    if start < chars.len() {
        out.push([start, chars.len()]);
    }
    out
}

impl<'k> Matcher<'k> {
    /// Prepares the names of a knowledge base.
    ///
    /// # Errors
    /// No name to look for, or so many that they do not fit.
    pub fn new(knowledge: &'k Knowledge, within: Within) -> Result<Self> {
        let mut of: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (number, entity) in knowledge.entities.iter().enumerate() {
            for name in &entity.names {
                let name = normal(name.trim()).text;
                let has = of.entry(name).or_default();
                if has.last() != Some(&number) {
                    has.push(number);
                }
            }
        }
        of.remove("");
        if of.is_empty() {
            return Err(Error::Input("the knowledge base has no entity with a name".into()));
        }
        let (names, entities): (Vec<String>, Vec<Vec<usize>>) = of.into_iter().unzip();
        let automaton = AhoCorasick::new(&names).map_err(|e| Error::Input(format!("the knowledge base has too many names: {e}")))?;
        let mut facts: HashMap<(usize, usize), Vec<usize>> = HashMap::new();
        for (i, fact) in knowledge.facts.iter().enumerate() {
            facts.entry((fact.from, fact.to)).or_default().push(i);
        }
        Ok(Self { knowledge, automaton, entities, facts, within })
    }

    /// Names and relations of a text.
    pub fn find(&self, text: &str) -> Found {
        let normal = normal(text);
        let mut hits: Vec<(usize, usize, usize)> = self
            .automaton
            .find_overlapping_iter(&normal.text)
            .map(|hit| (hit.start(), hit.end(), hit.pattern().as_usize()))
            .filter(|&(start, end, _)| at_borders(&normal.text, start, end))
            .collect();
        // Leftmost, then longest.
        hits.sort_by_key(|&(start, end, _)| (start, std::cmp::Reverse(end)));
        let (mut mentions, mut free): (Vec<Mention>, usize) = (Vec::new(), 0);
        for (start, end, pattern) in hits {
            if start >= free {
                let range = [normal.from[start][0], normal.from[end - 1][1]];
                mentions.push(Mention { range, entities: self.entities[pattern].clone() });
                free = end;
            }
        }
        let facts = self.relate(text, &mentions);
        Found { mentions, facts }
    }

    fn relate(&self, text: &str, mentions: &[Mention]) -> Vec<(usize, usize, usize)> {
        if self.facts.is_empty() || mentions.len() < 2 {
            return Vec::new();
        }
        let windows = match self.within {
            Within::Sentence => sentences(text),
            Within::Document => vec![[0, usize::MAX]],
        };
        let mut out = Vec::new();
        let mut first = 0;
        for [_, end] in windows {
            let last = first + mentions[first..].iter().take_while(|m| m.range[0] < end).count();
            let mut nearest: BTreeMap<usize, (usize, usize, usize)> = BTreeMap::new();
            for a in first..last {
                for b in (first..last).filter(|&b| b != a) {
                    let distance = mentions[a.max(b)].range[0].saturating_sub(mentions[a.min(b)].range[1]);
                    for &x in &mentions[a].entities {
                        for fact in mentions[b].entities.iter().filter_map(|&y| self.facts.get(&(x, y))).flatten() {
                            let best = nearest.entry(*fact).or_insert((distance, a, b));
                            *best = (*best).min((distance, a, b));
                        }
                    }
                }
            }
            out.extend(nearest.into_iter().map(|(fact, (_, a, b))| (fact, a, b)));
            first = last;
        }
        out
    }

    /// What was found, as labels: a span for each type that a name may be of, linked to its entities, and the relations between them.
    pub fn labels(&self, found: &Found) -> Vec<Label> {
        let (mut labels, mut links) = (Vec::new(), Vec::new());
        let mut ids: HashMap<(usize, &str), String> = HashMap::new();
        for (m, mention) in found.mentions.iter().enumerate() {
            for &e in &mention.entities {
                let entity = &self.knowledge.entities[e];
                let next = format!("T{}", ids.len() + 1);
                let id = ids.entry((m, &entity.kind)).or_insert_with(|| {
                    let body = Body::Span { label: entity.kind.clone(), ranges: vec![mention.range], surface: None };
                    labels.push(Label::named(next.clone(), body));
                    next
                });
                let name = entity.names.first().cloned().unwrap_or_default();
                let body =
                    Body::Normalisation { label: "Reference".into(), target: id.clone(), entry: format!("kb:{}", entity.id), text: name };
                links.push(Label::named(format!("N{}", links.len() + 1), body));
            }
        }
        for (n, &(fact, a, b)) in found.facts.iter().enumerate() {
            let fact = &self.knowledge.facts[fact];
            let end = |mention: usize, entity: usize| ids.get(&(mention, self.knowledge.entities[entity].kind.as_str())).cloned();
            if let (Some(from), Some(to)) = (end(a, fact.from), end(b, fact.to)) {
                let args = vec![("from".to_owned(), from), ("to".to_owned(), to)];
                labels.push(Label::named(format!("R{}", n + 1), Body::Relation { label: fact.label.clone(), args }));
            }
        }
        labels.extend(links);
        labels
    }
}

/// Whether a match stands at words' borders where its script has some.
fn at_borders(text: &str, start: usize, end: usize) -> bool {
    let inner = &text[start..end];
    let (first, last) = (inner.chars().next(), inner.chars().next_back());
    let (before, after) = (text[..start].chars().next_back(), text[end..].chars().next());
    let cut = |inside: Option<char>, outside: Option<char>| inside.is_some_and(word) && outside.is_some_and(word);
    !cut(first, before) && !cut(last, after)
}

/// How many candidates people looked at, and how many of them they agreed with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Precision {
    /// Candidates in all.
    pub candidates: usize,
    /// Candidates of documents that people settled.
    pub reviewed: usize,
    /// Those that people have, too.
    pub right: usize,
    /// Their share; `None` if nothing was reviewed.
    pub precision: Option<f64>,
    /// Wilson's interval of the share at 95 % (Wilson 1927).
    pub low: Option<f64>,
    /// Its upper end.
    pub high: Option<f64>,
}

impl Precision {
    fn count(&mut self, right: Option<bool>) {
        self.candidates += 1;
        self.reviewed += usize::from(right.is_some());
        self.right += usize::from(right == Some(true));
    }

    fn estimate(&mut self) {
        if self.reviewed > 0 {
            let (low, high) = wilson(self.right, self.reviewed);
            self.precision = Some(self.right as f64 / self.reviewed as f64);
            (self.low, self.high) = (Some(low), Some(high));
        }
    }
}

/// Wilson's 95 % interval of a share.
pub fn wilson(right: usize, n: usize) -> (f64, f64) {
    const Z: f64 = 1.959_963_984_540_054;
    let (n, p) = (n as f64, right as f64 / n as f64);
    let centre = p + Z * Z / (2.0 * n);
    let spread = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    (((centre - spread) / scale).max(0.0), ((centre + spread) / scale).min(1.0))
}

/// Whether it is a relation, its type, and its ends (of a span itself) by role, type and ranges.
type Meaning = (bool, String, Vec<(String, Vec<Range>)>);

/// What a candidate says, names of ids aside.
fn meaning(label: &Label, all: &[Label]) -> Option<Meaning> {
    match &label.body {
        Body::Span { label, ranges, .. } => Some((false, label.clone(), vec![(String::new(), ranges.clone())])),
        Body::Relation { label, args } => {
            let end = |(role, id): &(String, String)| {
                let span = all.iter().find(|l| l.id == *id).and_then(Label::span);
                span.map(|(kind, ranges)| (format!("{role}:{kind}"), ranges.to_vec()))
            };
            let mut ends: Vec<(String, Vec<Range>)> = args.iter().map(end).collect::<Option<_>>()?;
            ends.sort();
            Some((true, label.clone(), ends))
        }
        _ => None,
    }
}

/// Precision of candidates by what people said of the same documents, for spans and relations, by label.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Review {
    /// All spans.
    pub spans: Precision,
    /// All relations.
    pub relations: Precision,
    /// Each type of span and relation.
    pub labels: BTreeMap<String, Precision>,
}

/// Adds a document's candidates. People have reviewed it if what they say of its spans is settled.
pub fn review(into: &mut Review, candidates: &[Label], entry: &Entry) {
    let of = entry.document.statements.iter().zip(&entry.actions).filter(|(s, _)| s.author.kind.is_human() && on_spans(s));
    let (people, actions): (Vec<Statement>, Vec<i64>) = of.map(|(s, a)| (s.clone(), *a)).unzip();
    let settled = match standings(&people, &actions).remove(&Question::Spans) {
        Some(spans) => (!spans.tied).then_some(spans.labels),
        // Everything was rejected: settled, too.
        None => (!people.is_empty()).then(Vec::new),
    };
    let known: Option<Vec<_>> = settled.map(|now| now.iter().filter_map(|l| meaning(l, &now)).collect());
    for label in candidates {
        let Some(said) = meaning(label, candidates) else { continue };
        let right = known.as_ref().map(|known| known.contains(&said));
        let all = if said.0 { &mut into.relations } else { &mut into.spans };
        all.count(right);
        into.labels.entry(said.1).or_default().count(right);
    }
}

/// Whether a statement is on spans: it holds some, or says that there are none.
fn on_spans(statement: &Statement) -> bool {
    let spans = statement.labels.iter().any(|l| matches!(l.body, Body::Span { .. } | Body::Relation { .. }));
    statement.answer != Answer::Ignore && (spans || statement.labels.is_empty())
}

impl Review {
    /// Fills in shares and intervals.
    pub fn estimate(&mut self) {
        self.spans.estimate();
        self.relations.estimate();
        self.labels.values_mut().for_each(Precision::estimate);
    }
}

/// The kind of evidence that candidates are.
pub const KIND: AuthorKind = AuthorKind::Distant;

#[cfg(test)]
mod tests {
    use super::*;
    use dataset::labels::{Author, Document};

    fn knowledge() -> Knowledge {
        let entity = |id: &str, kind: &str, names: &[&str]| Entity {
            id: id.into(),
            kind: kind.into(),
            names: names.iter().map(|n| (*n).to_owned()).collect(),
        };
        let entities = vec![
            entity("1", "ORG", &["Acme", "Acme Steel Ltd."]),
            entity("2", "PER", &["Ann Lee", "李安"]),
            entity("3", "ORG", &["北京钢铁有限公司", "北京钢铁"]),
            entity("4", "PLACE", &["北京"]),
            entity("5", "PLACE", &["Acme"]),
        ];
        let fact = |from, label: &str, to| Fact { from, label: label.into(), to };
        Knowledge { entities, facts: vec![fact(1, "runs", 0), fact(2, "seat", 3), fact(1, "runs", 2)] }
    }

    fn surfaces(text: &str) -> Vec<String> {
        let knowledge = knowledge();
        let found = Matcher::new(&knowledge, Within::Sentence).unwrap().find(text);
        let chars: Vec<char> = text.chars().collect();
        found.mentions.iter().map(|m| chars[m.range[0]..m.range[1]].iter().collect()).collect()
    }

    #[test]
    fn the_longest_name_counts_whatever_its_width_case_and_spaces() {
        assert_eq!(surfaces("ACME  Steel\nLtd. sells"), ["ACME  Steel\nLtd."]);
        assert_eq!(surfaces("😀ＡＣＭＥ，北京钢铁有限公司在北京"), ["ＡＣＭＥ", "北京钢铁有限公司", "北京"]);
        assert_eq!(surfaces("Ac\u{200b}me"), ["Ac\u{200b}me"]);
        assert_eq!(surfaces("李安和Ann  Lee"), ["李安", "Ann  Lee"]);
        assert!(surfaces("").is_empty());
    }

    #[test]
    fn latin_names_stand_at_words_borders_and_han_names_anywhere() {
        assert!(surfaces("Acmes, Macme, acme2").is_empty());
        assert_eq!(surfaces("(Acme) Acme-Werke 的Acme公司"), ["Acme"; 3]);
        assert_eq!(surfaces("在北京市"), ["北京"]);
        // The longer name does not end at a border, the shorter does.
        let longer = Knowledge {
            entities: vec![Entity { id: "1".into(), kind: "X".into(), names: vec!["New York".into(), "New Yorkshire A".into()] }],
            facts: vec![],
        };
        let found = Matcher::new(&longer, Within::Sentence).unwrap().find("New York, New Yorkshire Ax");
        assert_eq!(found.mentions.iter().map(|m| m.range).collect::<Vec<_>>(), [[0, 8]]);
    }

    #[test]
    fn relations_need_both_ends_in_a_sentence() {
        let knowledge = knowledge();
        let matcher = Matcher::new(&knowledge, Within::Sentence).unwrap();
        let text = "Acme sells. Ann Lee of Acme pays Acme. 李安经营北京钢铁，地点北京。";
        let found = matcher.find(text);
        assert_eq!(found.mentions[0].entities, [0, 4], "two things are called Acme");
        // The nearer of two in the sentence; the fact of another sentence does not reach over.
        assert_eq!(found.facts, [(0, 1, 2), (1, 5, 6), (2, 4, 5)]);
        let labels = matcher.labels(&found);
        let relations: Vec<&Label> = labels.iter().filter(|l| matches!(l.body, Body::Relation { .. })).collect();
        assert_eq!(relations.len(), 3);
        let spans = labels.iter().filter(|l| l.span().is_some()).count();
        assert_eq!(spans, 3 * 2 + 4, "a name of two types is a candidate of both");
        let split = "Ann Lee pays.\n\nAcme sells.";
        assert!(matcher.find(split).facts.is_empty());
        assert_eq!(Matcher::new(&knowledge, Within::Document).unwrap().find(split).facts.len(), 1);
        assert_eq!(sentences("Acme Ltd. and No. 5. The end").len(), 2);
    }

    #[test]
    fn precision_is_what_people_confirmed() {
        let knowledge = knowledge();
        let matcher = Matcher::new(&knowledge, Within::Sentence).unwrap();
        let text = "Ann Lee runs 北京钢铁 in 北京";
        let labels = matcher.labels(&matcher.find(text));
        let entry = |statements: Vec<Statement>| Entry {
            id: 1,
            source: "s".into(),
            actions: vec![0; statements.len()],
            document: Document { row: "1".into(), text: text.into(), statements, ..Document::default() },
        };
        let mut unseen = Review::default();
        review(&mut unseen, &labels, &entry(vec![]));
        unseen.estimate();
        assert_eq!((unseen.spans.candidates, unseen.spans.reviewed, unseen.spans.precision), (3, 0, None));
        // A person keeps the first two spans under other names, and one relation between them.
        let kept = |id: &str, label: &Label| Label { id: id.into(), ..label.clone() };
        let args = vec![("from".into(), "A".into()), ("to".into(), "B".into())];
        let own = vec![kept("A", &labels[0]), kept("B", &labels[1]), Label::named("C", Body::Relation { label: "runs".into(), args })];
        let person = Statement { author: Author { kind: AuthorKind::Human, name: "k".into() }, labels: own, ..Statement::default() };
        let mut seen = Review::default();
        review(&mut seen, &labels, &entry(vec![person]));
        seen.estimate();
        assert_eq!((seen.spans.right, seen.spans.reviewed), (2, 3));
        assert_eq!((seen.relations.right, seen.relations.reviewed), (1, 2));
        assert_eq!(seen.labels["runs"].precision, Some(1.0));
        // Statsmodels' proportion_confint(2, 3, method="wilson").
        let (low, high) = wilson(2, 3);
        assert!((low - 0.207_659_6).abs() < 1e-6 && (high - 0.938_508_1).abs() < 1e-6, "{low} {high}");
        assert_eq!(wilson(0, 5).0, 0.0);
    }
}
