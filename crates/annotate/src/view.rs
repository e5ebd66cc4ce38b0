//! The current labels of a document: what was adjudicated, else what most people say, else what a model says. Ties stay unresolved.
//!
//! Questions are settled one by one: each group of classes, the spans with all that hangs on them, free texts. Of one author the last
//! action on a question counts; an author who said "nothing here" has spoken on the questions that they did not answer otherwise.

use std::collections::{BTreeMap, BTreeSet};

use dataset::labels::{Answer, Author, AuthorKind, Body, Format, Label, Statement};
use serde::Serialize;

/// On whose word the current labels stand; the weakest of all questions'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// Machines'.
    Model,
    /// People's.
    Human,
    /// The adjudicator's.
    Adjudicated,
}

/// What a document is, as far as is known.
#[derive(Debug, Clone, PartialEq)]
pub enum Current {
    /// Nobody said anything that counts.
    Unlabelled,
    /// The labels, and on whose word.
    Resolved(Statement, Basis),
    /// Those who spoke disagree and nobody has the majority; what is not in dispute.
    Tied(Statement),
}

impl Current {
    /// The labels, if there is agreement on them.
    pub fn resolved(&self) -> Option<&Statement> {
        match self {
            Current::Resolved(statement, _) => Some(statement),
            _ => None,
        }
    }
}

/// How one question of a document stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// The labels; of a tie those that are not in dispute.
    pub labels: Vec<Label>,
    /// On whose word.
    pub basis: Basis,
    /// Those who spoke disagree and nobody has the majority.
    pub tied: bool,
    /// People who answered it.
    pub people: usize,
}

impl Standing {
    /// Whether people settled it.
    pub fn is_human(&self) -> bool {
        !self.tied && self.basis >= Basis::Human
    }

    /// Whether it stands on machines' word alone.
    pub fn is_proposed(&self) -> bool {
        !self.tied && self.basis == Basis::Model
    }
}

/// A question that is settled by itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// Classes of a group.
    Class(String),
    /// Spans and all that hangs on them.
    Spans,
    /// Free texts, questions and whatever only a format understands.
    Texts,
}

/// What a question asks for, whatever its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Classes.
    Class,
    /// Spans, relations, events.
    Spans,
    /// Free texts, questions and answers.
    Texts,
}

impl Kind {
    /// All.
    pub const ALL: [Kind; 3] = [Kind::Class, Kind::Spans, Kind::Texts];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Class => "class",
            Kind::Spans => "spans",
            Kind::Texts => "texts",
        }
    }

    /// The kind of question that a label answers.
    pub fn of(body: &Body) -> Kind {
        question(body).kind()
    }
}

impl Question {
    /// What it asks for.
    pub fn kind(&self) -> Kind {
        match self {
            Question::Class(_) => Kind::Class,
            Question::Spans => Kind::Spans,
            Question::Texts => Kind::Texts,
        }
    }
}

impl std::fmt::Display for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Question::Class(group) if group.is_empty() => f.write_str("class"),
            Question::Class(group) => f.write_str(group),
            Question::Spans => f.write_str("spans"),
            Question::Texts => f.write_str("texts"),
        }
    }
}

/// What a person says on a question, last words only.
#[derive(Debug, Clone, PartialEq)]
pub struct Opinion<'s> {
    /// Who.
    pub author: &'s Author,
    /// The labels that the person stands by.
    pub labels: Vec<&'s Label>,
}

/// What people (not the adjudicator) say on each question; who only rejected has no opinion of their own.
pub fn opinions<'s>(statements: &'s [Statement], actions: &[i64]) -> BTreeMap<Question, Vec<Opinion<'s>>> {
    let mut all = BTreeMap::new();
    for (question, voices) in voices(statements, actions) {
        let people = voices.into_iter().filter(|v| v.author.kind == AuthorKind::Human && v.speaks());
        let people: Vec<Opinion> = people.map(|v| Opinion { author: v.author, labels: v.accepted }).collect();
        if !people.is_empty() {
            all.insert(question, people);
        }
    }
    all
}

/// How each question stands that somebody answered: what is known of one says nothing of the others.
pub fn standings(statements: &[Statement], actions: &[i64]) -> BTreeMap<Question, Standing> {
    let one = |(question, voices): (Question, Vec<Voice>)| {
        let (labels, basis, tied) = settle(&question, &voices);
        // Who only rejects what nobody said answers nothing.
        let spoke = tied || !labels.is_empty() || voices.iter().any(Voice::speaks);
        let people = voices.iter().filter(|v| v.author.kind.is_human()).count();
        spoke.then_some((question, Standing { labels, basis, tied, people }))
    };
    voices(statements, actions).into_iter().filter_map(one).collect()
}

/// The questions on which each person gave labels, for or against; none if the person only said that there is nothing.
pub fn answered_by(statements: &[Statement]) -> BTreeMap<&Author, BTreeSet<Question>> {
    let mut all: BTreeMap<&Author, BTreeSet<Question>> = BTreeMap::new();
    for statement in statements.iter().filter(|s| s.author.kind.is_human() && s.answer != Answer::Ignore) {
        all.entry(&statement.author).or_default().extend(statement.labels.iter().map(|l| question(&l.body)));
    }
    all
}

fn question(body: &Body) -> Question {
    match body {
        Body::Class { group, .. } => Question::Class(group.clone()),
        Body::Text { .. } | Body::Qa { .. } | Body::Other { .. } => Question::Texts,
        _ => Question::Spans,
    }
}

/// What one author says on one question.
#[derive(Debug, Clone)]
struct Voice<'s> {
    author: &'s Author,
    accepted: Vec<&'s Label>,
    rejected: Vec<&'s Label>,
    confidence: f64,
    /// The last statement's index: later speaks after earlier.
    at: usize,
}

impl Voice<'_> {
    /// Whether more is said than that others are wrong.
    fn speaks(&self) -> bool {
        !self.accepted.is_empty() || self.rejected.is_empty()
    }
}

/// What counts of the statements, each with the action that it belongs to.
pub fn current(statements: &[Statement], actions: &[i64]) -> Current {
    let spoken: Vec<usize> = (0..statements.len()).filter(|&i| statements[i].answer != Answer::Ignore).collect();
    match spoken[..] {
        [] => return Current::Unlabelled,
        // One voice alone is taken as it is, with all that its format knows.
        [only] if statements[only].answer == Answer::Accept => {
            let statement = statements[only].clone();
            let basis = basis(statement.author.kind);
            return Current::Resolved(statement, basis);
        }
        _ => {}
    }
    let mut labels = Vec::new();
    let mut weakest = Basis::Adjudicated;
    let (mut tied, mut spoke) = (false, false);
    let mut sole: BTreeSet<usize> = BTreeSet::new();
    for (question, voices) in voices(statements, actions) {
        let (settled, basis, tie) = settle(&question, &voices);
        spoke |= voices.iter().any(Voice::speaks);
        weakest = weakest.min(basis);
        tied |= tie;
        labels.extend(settled);
        sole.extend(voices.iter().map(|v| v.at));
    }
    if !spoke && labels.is_empty() && !tied {
        return Current::Unlabelled;
    }
    let kind = match weakest {
        Basis::Adjudicated => AuthorKind::Adjudicator,
        Basis::Human => AuthorKind::Human,
        Basis::Model => AuthorKind::Model,
    };
    let authors: BTreeSet<&Author> = sole.iter().map(|&i| &statements[i].author).collect();
    let name = match authors.iter().collect::<Vec<_>>()[..] {
        [only] => only.name.clone(),
        _ => String::new(),
    };
    let own = match sole.iter().collect::<Vec<_>>()[..] {
        [&only] => statements[only].native.clone(),
        _ => None,
    };
    // A brat file's own lines are needed to write back what nobody touched.
    let native = own.or_else(|| statements.iter().rev().filter_map(|s| s.native.clone()).find(|n| n.format == Format::Brat));
    let statement = Statement { author: Author { kind, name }, labels, native, ..Statement::default() };
    if tied { Current::Tied(statement) } else { Current::Resolved(statement, weakest) }
}

/// As [`current`], of what people and the adjudicator said alone.
pub fn current_of_people(statements: &[Statement], actions: &[i64]) -> Current {
    let people = |i: &usize| basis(statements[*i].author.kind) >= Basis::Human;
    let chosen: Vec<usize> = (0..statements.len()).filter(people).collect();
    let said: Vec<Statement> = chosen.iter().map(|&i| statements[i].clone()).collect();
    let actions: Vec<i64> = chosen.iter().map(|&i| actions.get(i).copied().unwrap_or_default()).collect();
    current(&said, &actions)
}

fn basis(kind: AuthorKind) -> Basis {
    match kind {
        AuthorKind::Adjudicator => Basis::Adjudicated,
        AuthorKind::Human => Basis::Human,
        _ => Basis::Model,
    }
}

/// Who says what on which question, by the authors' last words.
fn voices<'s>(statements: &'s [Statement], actions: &[i64]) -> BTreeMap<Question, Vec<Voice<'s>>> {
    let mut all: BTreeMap<Question, Vec<Voice<'s>>> = BTreeMap::new();
    for (author, q, counting) in counting(statements, actions) {
        let counting: Vec<usize> = counting.into_iter().filter(|&i| statements[i].answer != Answer::Ignore).collect();
        let Some(&at) = counting.last() else { continue };
        let pick = |answer: Answer| -> Vec<&'s Label> {
            let chosen = counting.iter().filter(|&&i| statements[i].answer == answer);
            chosen.flat_map(|&i| &statements[i].labels).filter(|l| question(&l.body) == q).collect()
        };
        let confidence = statements[at].confidence.unwrap_or(1.0);
        let voice = Voice { author, accepted: pick(Answer::Accept), rejected: pick(Answer::Reject), confidence, at };
        all.entry(q).or_default().push(voice);
    }
    all
}

/// Of each author on each question the statements (by their index) that are the last word.
fn counting<'s>(statements: &'s [Statement], actions: &[i64]) -> Vec<(&'s Author, Question, Vec<usize>)> {
    let asked: BTreeSet<Question> = statements.iter().flat_map(|s| s.labels.iter().map(|l| question(&l.body))).collect();
    // Where nothing but "nothing here" was said, it was said of the spans.
    let asked = if asked.is_empty() { BTreeSet::from([Question::Spans]) } else { asked };
    let authors: BTreeSet<&Author> = statements.iter().map(|s| &s.author).collect();
    let mut all = Vec::new();
    for author in authors {
        let own: Vec<usize> = (0..statements.len()).filter(|&i| statements[i].author == *author).collect();
        for q in &asked {
            let on = |i: &usize| statements[*i].labels.iter().any(|l| question(&l.body) == *q);
            let action = |i: usize| actions.get(i).copied().unwrap_or_default();
            let last = own.iter().copied().filter(on).map(action).max();
            // Several rows of one file (a question a row) belong to one action and count together.
            let counting: Vec<usize> = match last {
                Some(last) => own.iter().copied().filter(|&i| action(i) == last && on(&i)).collect(),
                None => own.iter().copied().filter(|&i| statements[i].labels.is_empty()).collect(),
            };
            all.push((author, q.clone(), counting));
        }
    }
    all
}

/// The statements that are their authors' last words, each with those of its labels that are, and its index: said together in one action
/// they come to the same labels as all that was said one after the other.
pub fn last_words(statements: &[Statement], actions: &[i64]) -> Vec<(usize, Statement)> {
    let mut kept: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (_, q, counting) in counting(statements, actions) {
        for i in counting {
            let labels = statements[i].labels.iter().enumerate().filter(|(_, l)| question(&l.body) == q).map(|(at, _)| at);
            kept.entry(i).or_default().extend(labels);
        }
    }
    let of = |(i, labels): (usize, BTreeSet<usize>)| {
        let all = statements[i].labels.iter().enumerate();
        let labels = all.filter(|(at, _)| labels.contains(at)).map(|(_, label)| label.clone()).collect();
        (i, Statement { labels, ..statements[i].clone() })
    };
    kept.into_iter().map(of).collect()
}

/// The labels of one question, on whose word, and whether there is a tie.
fn settle(question: &Question, voices: &[Voice]) -> (Vec<Label>, Basis, bool) {
    let of = |wanted: Basis| voices.iter().filter(|v| basis(v.author.kind) == wanted).cloned().collect::<Vec<_>>();
    // The last adjudication settles it.
    if let Some(judge) = of(Basis::Adjudicated).iter().max_by_key(|v| v.at) {
        return (judge.accepted.iter().map(|l| (*l).clone()).collect(), Basis::Adjudicated, false);
    }
    let human = of(Basis::Human);
    let (speaking, basis) = if human.is_empty() { (of(Basis::Model), Basis::Model) } else { (human, Basis::Human) };
    // One voice alone is taken as it is.
    if let [only] = &speaking[..]
        && only.rejected.is_empty()
    {
        return (only.accepted.iter().map(|l| (*l).clone()).collect(), basis, false);
    }
    let (labels, tied) = match question {
        Question::Class(_) => settle_class(&speaking, basis),
        // Machines' spans are not put together: the last word of one of them is a consistent whole.
        _ if basis == Basis::Model => {
            let last = speaking.iter().max_by_key(|v| v.at);
            (last.map(|v| v.accepted.iter().map(|l| (*l).clone()).collect()).unwrap_or_default(), false)
        }
        _ => settle_structure(&speaking),
    };
    (labels, basis, tied)
}

fn settle_class(voices: &[Voice], basis: Basis) -> (Vec<Label>, bool) {
    let weight = |voice: &Voice| if basis == Basis::Model { voice.confidence } else { 1.0 };
    let mut votes: BTreeMap<&str, (f64, &Label)> = BTreeMap::new();
    let mut voters = 0.0;
    for voice in voices {
        voters += weight(voice);
        for (labels, sign) in [(&voice.accepted, 1.0), (&voice.rejected, -1.0)] {
            let mut seen = BTreeSet::new();
            for label in labels.iter() {
                let Some(name) = label.class().filter(|name| seen.insert(*name)) else { continue };
                votes.entry(name).or_insert((0.0, label)).0 += sign * weight(voice);
            }
        }
    }
    let several = voices.iter().any(|v| v.accepted.iter().filter_map(|l| l.class()).collect::<BTreeSet<_>>().len() > 1);
    let nothing = voices.iter().any(|v| v.accepted.is_empty() && v.rejected.is_empty());
    if several || nothing && votes.len() > 1 {
        let tied = votes.values().any(|(n, _)| *n > 0.0 && *n * 2.0 == voters);
        return (votes.values().filter(|(n, _)| *n * 2.0 > voters).map(|(_, l)| (*l).clone()).collect(), tied);
    }
    let silent = voices.iter().filter(|v| v.accepted.is_empty() && v.rejected.is_empty()).map(weight).sum::<f64>();
    let best = votes.values().map(|(n, _)| *n).fold(silent, f64::max);
    if best <= 0.0 {
        return (Vec::new(), false);
    }
    let winners: Vec<&Label> = votes.values().filter(|(n, _)| *n == best).map(|(_, l)| *l).collect();
    match winners[..] {
        [only] if silent < best => (vec![only.clone()], false),
        [] => (Vec::new(), false),
        _ => (Vec::new(), true),
    }
}

/// What more than half of the voices say, each label held together with what it refers to; exactly half is a tie.
fn settle_structure(voices: &[Voice]) -> (Vec<Label>, bool) {
    if let [only] = voices {
        return (only.accepted.iter().map(|l| (*l).clone()).collect(), false);
    }
    let mut order: Vec<(String, usize, &Label)> = Vec::new();
    let mut votes: BTreeMap<String, f64> = BTreeMap::new();
    for (v, voice) in voices.iter().enumerate() {
        for (labels, sign) in [(&voice.accepted, 1.0), (&voice.rejected, -1.0)] {
            let mut times: BTreeMap<String, usize> = BTreeMap::new();
            for label in labels.iter() {
                let mut key = meaning(label, labels, 0);
                // Repeated spans are told apart by their number.
                let n = times.entry(key.clone()).or_default();
                *n += 1;
                key.push_str(&format!("#{n}"));
                let known = votes.contains_key(&key);
                *votes.entry(key.clone()).or_default() += sign;
                if !known || sign > 0.0 && !order.iter().any(|(k, ..)| *k == key) {
                    order.push((key, v, label));
                }
            }
        }
    }
    let needed = voices.len() as f64 / 2.0;
    let tied = votes.values().any(|&n| n == needed);
    let mut ids: BTreeMap<(usize, &str), String> = BTreeMap::new();
    let mut by_meaning: BTreeMap<String, String> = BTreeMap::new();
    let mut taken = BTreeSet::new();
    let mut chosen = Vec::new();
    for (key, voice, label) in &order {
        if votes.get(key).is_none_or(|&n| n <= needed) {
            continue;
        }
        let mut label = (*label).clone();
        if !label.id.is_empty() {
            let mut id = label.id.clone();
            let mut n = 1;
            while !taken.insert(id.clone()) {
                n += 1;
                id = format!("{}_{n}", label.id);
            }
            by_meaning.insert(key.clone(), id.clone());
            label.id = id;
        }
        chosen.push((*voice, label));
    }
    // Whatever anyone calls a label, it is called by the chosen name.
    for (v, voice) in voices.iter().enumerate() {
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for label in &voice.accepted {
            let mut key = meaning(label, &voice.accepted, 0);
            let n = times.entry(key.clone()).or_default();
            *n += 1;
            key.push_str(&format!("#{n}"));
            if let (false, Some(id)) = (label.id.is_empty(), by_meaning.get(&key)) {
                ids.insert((v, &label.id), id.clone());
            }
        }
    }
    let mut labels: Vec<Label> = Vec::new();
    for (voice, mut label) in chosen {
        let complete = label.body.refers_to().iter().all(|id| ids.contains_key(&(voice, *id)));
        rename(&mut label.body, &|id| ids.get(&(voice, id)).cloned());
        // A relation with the majority whose ends lack it cannot be: ends are named with it. Notes on nothing may stand.
        if complete || matches!(label.body, Body::Note { .. }) {
            labels.push(label);
        }
    }
    (labels, tied)
}

/// What a label says, with what it refers to spelled out: equal for two authors who say the same under different names.
pub(crate) fn meaning(label: &Label, all: &[&Label], depth: usize) -> String {
    let of = |id: &str| -> String {
        match all.iter().find(|l| l.id == id) {
            // References may run in circles in broken files.
            Some(found) if depth < 4 => meaning(found, all, depth + 1),
            _ => format!("?{id}"),
        }
    };
    let args = |args: &[(String, String)]| args.iter().map(|(role, id)| format!("{role}={}", of(id))).collect::<Vec<_>>().join(",");
    match &label.body {
        Body::Span { label, ranges, .. } => format!("span({label:?},{ranges:?})"),
        Body::Relation { label, args: given } => format!("relation({label:?},{})", args(given)),
        Body::Event { label, trigger, args: given } => format!("event({label:?},{},{})", of(trigger), args(given)),
        Body::Attribute { label, target, value, .. } => format!("attribute({label:?},{},{value:?})", of(target)),
        Body::Equiv { label, members } => {
            let mut members: Vec<String> = members.iter().map(|m| of(m)).collect();
            members.sort();
            format!("equiv({label:?},{})", members.join(","))
        }
        Body::Note { label, target, text } => format!("note({label:?},{},{text:?})", of(target)),
        Body::Normalisation { label, target, entry, .. } => format!("normalisation({label:?},{},{entry:?})", of(target)),
        other => format!("{other:?}"),
    }
}

fn rename(body: &mut Body, to: &dyn Fn(&str) -> Option<String>) {
    let change = |id: &mut String| {
        if let Some(new) = to(id) {
            *id = new;
        }
    };
    match body {
        Body::Relation { args, .. } => args.iter_mut().for_each(|(_, id)| change(id)),
        Body::Event { trigger, args, .. } => {
            change(trigger);
            args.iter_mut().for_each(|(_, id)| change(id));
        }
        Body::Attribute { target, .. } | Body::Note { target, .. } | Body::Normalisation { target, .. } => change(target),
        Body::Equiv { members, .. } => members.iter_mut().for_each(change),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(kind: AuthorKind, name: &str, classes: &[&str]) -> Statement {
        let labels = classes.iter().map(|c| Label::new(Body::class(*c))).collect();
        Statement { author: Author { kind, name: name.into() }, labels, ..Statement::default() }
    }

    fn human(name: &str, classes: &[&str]) -> Statement {
        said(AuthorKind::Human, name, classes)
    }

    fn classes(statements: &[Statement]) -> (Vec<String>, Option<Basis>) {
        let actions: Vec<i64> = (0..statements.len() as i64).collect();
        match current(statements, &actions) {
            Current::Unlabelled => (vec!["-".into()], None),
            Current::Tied(_) => (vec!["?".into()], None),
            Current::Resolved(s, basis) => (s.classes().map(str::to_owned).collect(), Some(basis)),
        }
    }

    #[test]
    fn adjudication_beats_majority_beats_models_and_ties_stay() {
        let (a, b, c) = (human("a", &["x"]), human("b", &["y"]), human("c", &["y"]));
        let model = said(AuthorKind::Model, "m", &["z"]);
        assert_eq!(classes(&[]), (vec!["-".into()], None));
        assert_eq!(classes(std::slice::from_ref(&model)), (vec!["z".into()], Some(Basis::Model)));
        assert_eq!(classes(&[a.clone(), model.clone()]), (vec!["x".into()], Some(Basis::Human)));
        assert_eq!(classes(&[a.clone(), b.clone(), model.clone()]), (vec!["?".into()], None));
        assert_eq!(classes(&[a.clone(), b.clone(), c.clone(), model.clone()]), (vec!["y".into()], Some(Basis::Human)));
        let judge = said(AuthorKind::Adjudicator, "j", &["x"]);
        assert_eq!(classes(&[a, b, judge, c, model]), (vec!["x".into()], Some(Basis::Adjudicated)));
    }

    #[test]
    fn the_last_word_of_an_author_counts_and_rejections_count_against() {
        assert_eq!(classes(&[human("a", &["x"]), human("a", &["y"])]).0, ["y"]);
        let no = |name: &str, class: &str| Statement { answer: Answer::Reject, ..human(name, &[class]) };
        assert_eq!(classes(&[human("a", &["x"]), no("b", "x")]).0, Vec::<String>::new());
        assert_eq!(classes(&[human("a", &["x"]), no("b", "x"), human("c", &["x"])]).0, ["x"]);
        assert_eq!(classes(&[no("a", "x")]).0, ["-"]);
        let pass = Statement { answer: Answer::Ignore, ..human("b", &["y"]) };
        assert_eq!(classes(&[human("a", &["x"]), pass]).0, ["x"]);
        // Rows of one file that ask a question each belong together.
        assert_eq!(current(&[human("a", &["x"]), no("a", "y")], &[1, 1]).resolved().unwrap().classes().collect::<Vec<_>>(), ["x"]);
    }

    #[test]
    fn last_words_alone_come_to_the_same() {
        let no = |name: &str, class: &str| Statement { answer: Answer::Reject, ..human(name, &[class]) };
        let pass = |name: &str| Statement { answer: Answer::Ignore, ..human(name, &[]) };
        let spans = |name: &str, at: usize| {
            Statement::human(name, vec![Label::new(Body::span("P", at, at + 1)), Label::new(Body::class(format!("c{at}")))])
        };
        let histories = [
            vec![human("a", &["x"]), human("a", &["y"])],
            vec![human("a", &["x"]), human("b", &["y"]), human("a", &["y"]), pass("b")],
            vec![human("a", &[]), human("b", &["x"]), human("a", &["x"]), no("c", "x")],
            vec![spans("a", 1), spans("b", 1), human("a", &["z"]), spans("b", 2)],
            vec![human("a", &[]), pass("a")],
            vec![said(AuthorKind::Model, "m", &["x"]), said(AuthorKind::Model, "m", &["y"]), said(AuthorKind::Rule, "r", &["y"])],
        ];
        for history in histories {
            let actions: Vec<i64> = (1..=history.len() as i64).collect();
            let (_, last): (Vec<usize>, Vec<Statement>) = last_words(&history, &actions).into_iter().unzip();
            let labels = |now: Current| now.resolved().map(|s| s.labels.clone());
            assert_eq!(labels(current(&last, &vec![9; last.len()])), labels(current(&history, &actions)), "{history:?}");
        }
        let kept = last_words(&[spans("a", 1), human("a", &["z"])], &[1, 2]);
        assert_eq!(
            kept.iter().map(|(i, s)| (*i, s.labels.len())).collect::<Vec<_>>(),
            [(0, 1), (1, 1)],
            "the span stays, its class does not"
        );
    }

    #[test]
    fn questions_stand_by_themselves() {
        let model = Author { kind: AuthorKind::Model, name: "m".into() };
        let machine = |labels: Vec<Label>| Statement { author: model.clone(), labels, ..Statement::default() };
        let span = || Label::named("T1", Body::span("P", 0, 2));
        let of = |statements: &[Statement]| -> Vec<(String, Basis, bool, usize, usize)> {
            let actions: Vec<i64> = (0..statements.len() as i64).collect();
            let all = standings(statements, &actions);
            all.iter().map(|(q, s)| (q.to_string(), s.basis, s.tied, s.people, s.labels.len())).collect()
        };
        // People's classes beside machines' spans, and the other way round.
        let statements = [human("a", &["好"]), machine(vec![span(), Label::new(Body::class("bad"))])];
        assert_eq!(of(&statements), [("class".into(), Basis::Human, false, 1, 1), ("spans".into(), Basis::Model, false, 0, 1)]);
        assert!(matches!(current(&statements, &[0, 1]), Current::Resolved(_, Basis::Model)), "of all the weakest");
        let statements = [Statement::human("a", vec![span()]), machine(vec![Label::new(Body::class("bad"))])];
        assert_eq!(of(&statements), [("class".into(), Basis::Model, false, 0, 1), ("spans".into(), Basis::Human, false, 1, 1)]);
        // A dispute on one leaves the other alone.
        let statements = [human("a", &["x"]), human("b", &["y"]), Statement::human("a", vec![span()])];
        assert_eq!(of(&statements), [("class".into(), Basis::Human, true, 2, 0), ("spans".into(), Basis::Human, false, 1, 1)]);
        // "Nothing here" is said of what is asked; a rejection alone answers nothing.
        assert_eq!(of(&[Statement::human("a", vec![])]), [("spans".into(), Basis::Human, false, 1, 0)]);
        assert_eq!(of(&[Statement { answer: Answer::Reject, ..human("a", &["x"]) }]), []);
        let asked = answered_by(&statements);
        assert_eq!(asked.values().map(BTreeSet::len).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn several_classes_are_settled_one_by_one() {
        assert_eq!(classes(&[human("a", &["x", "y"]), human("b", &["x"]), human("c", &["x", "y"])]).0, ["x", "y"]);
        assert_eq!(classes(&[human("a", &["x", "y"]), human("b", &["x"])]).0, ["?"]);
    }

    #[test]
    fn groups_of_classes_do_not_disturb_each_other() {
        let grouped = |name: &str, group: &str, label: &str| {
            Statement::human(name, vec![Label::new(Body::Class { group: group.into(), label: label.into() })])
        };
        let statements = [grouped("a", "topic", "t"), grouped("a", "mood", "good")];
        assert_eq!(classes(&statements).0, ["good", "t"]);
    }

    fn spans(name: &str, of: &[(&str, &str, usize, usize)], relation: bool) -> Statement {
        let mut labels: Vec<Label> = of.iter().map(|(id, l, s, e)| Label::named(*id, Body::span(*l, *s, *e))).collect();
        if relation {
            let args = vec![("a".to_owned(), of[0].0.to_owned()), ("b".to_owned(), of[1].0.to_owned())];
            labels.push(Label::named(format!("R-{name}"), Body::Relation { label: "r".into(), args }));
        }
        Statement::human(name, labels)
    }

    #[test]
    fn spans_and_relations_have_majorities_under_any_names() {
        let statements = [
            spans("a", &[("T1", "P", 0, 3), ("T2", "O", 5, 8)], true),
            spans("b", &[("x", "O", 5, 8), ("y", "P", 0, 3)], false),
            spans("c", &[("T1", "P", 0, 3), ("T9", "O", 5, 8)], true),
        ];
        let now = current(&statements, &[1, 2, 3]);
        let labels = &now.resolved().unwrap().labels;
        assert_eq!(labels.iter().map(|l| l.id.as_str()).collect::<Vec<_>>(), ["T1", "T2", "R-a"]);
        let two = current(&statements[..2], &[1, 2]);
        let Current::Tied(agreed) = two else { panic!("{two:?}") };
        assert_eq!(agreed.labels.len(), 2);
    }

    #[test]
    fn nothing_here_is_an_opinion_too() {
        let empty = Statement::human("b", vec![]);
        assert!(matches!(current(&[spans("a", &[("T1", "P", 0, 3)], false), empty.clone()], &[1, 2]), Current::Tied(_)));
        // Who labelled spans and then said "no class" in another file has not taken the spans back.
        let mine = [spans("a", &[("T1", "P", 0, 3)], false), Statement::human("a", vec![])];
        assert_eq!(current(&mine, &[1, 2]).resolved().unwrap().labels.len(), 1);
    }
}
