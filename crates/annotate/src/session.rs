//! Annotating from the keyboard, without a terminal: keys in, what to say and what to show out.
//!
//! A class is one key; spans that a machine (or an earlier annotator) proposed are confirmed, rejected or given another type; a
//! dispute is settled by choosing whose labels stand. Every answer is said at once, so nothing is lost when the window closes.

use std::collections::BTreeSet;

use dataset::labels::{Answer, Author, AuthorKind, Body, Label, Statement};

use crate::store::Entry;
use crate::view::{Basis, Current, current};

/// A key that was pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// A character.
    Char(char),
    /// Return.
    Enter,
    /// Escape.
    Escape,
    /// The key that deletes backwards.
    Backspace,
    /// Tab or arrow down.
    Next,
    /// Shift and tab, or arrow up.
    Previous,
    /// Arrow left.
    Left,
    /// Arrow right.
    Right,
}

/// What is to be done after a key.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Say this of a document.
    Say {
        /// The document's number.
        document: i64,
        /// What is said: several statements belong together.
        statements: Vec<Statement>,
    },
    /// Take back what was said last in this session.
    Undo,
    /// The session is over.
    Quit,
}

/// What is asked of each document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Its class.
    Class,
    /// Its classes: any number.
    Classes,
    /// Which of the proposed spans are right.
    Spans,
    /// Whose labels stand.
    Adjudicate,
}

/// A piece of a line in one style.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The text.
    pub text: String,
    /// How it looks.
    pub style: Style,
}

/// How a piece looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// As usual.
    Plain,
    /// Less important.
    Dim,
    /// More important.
    Bold,
    /// Chosen, or right.
    Good,
    /// Rejected.
    Bad,
    /// Proposed and undecided.
    Open,
    /// Where the next key acts.
    Cursor,
}

/// What is to be seen: lines of pieces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Screen {
    /// The lines.
    pub lines: Vec<Vec<Piece>>,
}

impl Screen {
    /// The text alone.
    pub fn text(&self) -> String {
        self.lines.iter().map(|line| line.iter().map(|p| p.text.as_str()).collect::<String>() + "\n").collect()
    }
}

/// A proposed span and what was decided.
#[derive(Debug, Clone, PartialEq)]
struct Proposal {
    label: Label,
    verdict: Option<bool>,
}

#[derive(Debug, Clone)]
struct Item {
    entry: Entry,
    proposals: Vec<Proposal>,
    /// Relations and the like that stand if what they refer to does.
    others: Vec<Label>,
    chosen: BTreeSet<String>,
    answered: bool,
}

/// An annotator's way through some documents.
#[derive(Debug)]
pub struct Session {
    author: Author,
    task: Task,
    items: Vec<Item>,
    at: usize,
    cursor: usize,
    classes: Vec<String>,
    /// A class's name that is being typed.
    typing: Option<String>,
    /// Documents that were answered, last one last: where an undo goes back to.
    said: Vec<usize>,
    help: bool,
    message: String,
}

/// Keys that stand for classes, in order.
const KEYS: &str = "1234567890";

impl Session {
    /// A session of `annotator` over `entries` in their order. `classes` are offered under the digits, in order.
    pub fn new(task: Task, annotator: &str, entries: Vec<Entry>, classes: Vec<String>) -> Session {
        let kind = if task == Task::Adjudicate { AuthorKind::Adjudicator } else { AuthorKind::Human };
        let author = Author { kind, name: annotator.to_owned() };
        let items = entries.into_iter().map(|entry| item(entry, task)).collect();
        let (help, message) = (false, String::new());
        Session { author, task, items, at: 0, cursor: 0, classes, typing: None, said: Vec::new(), help, message }
    }

    /// Documents answered in this session, and all of them.
    pub fn progress(&self) -> (usize, usize) {
        (self.items.iter().filter(|i| i.answered).count(), self.items.len())
    }

    /// Takes a key.
    pub fn key(&mut self, key: Key) -> Vec<Effect> {
        self.message.clear();
        if let Some(typed) = &mut self.typing {
            match key {
                Key::Char(c) if !c.is_control() => typed.push(c),
                Key::Backspace => {
                    typed.pop();
                }
                Key::Escape => self.typing = None,
                Key::Enter => return self.typed(),
                // Tab completes the name as far as it is the only one.
                Key::Next => {
                    let mut fits = self.classes.iter().filter(|c| c.starts_with(typed.as_str()));
                    if let (Some(only), None) = (fits.next(), fits.next()) {
                        *typed = only.clone();
                    }
                }
                _ => {}
            }
            return Vec::new();
        }
        match key {
            Key::Char('q') | Key::Escape => return vec![Effect::Quit],
            Key::Char('?') => self.help = !self.help,
            Key::Char('u') => return self.undo(),
            Key::Char('n') | Key::Right => self.go(1),
            Key::Char('p') | Key::Left => self.go(-1),
            _ if self.items.is_empty() => {}
            Key::Char('s') => {
                let ignored = Statement { author: self.author.clone(), answer: Answer::Ignore, ..Statement::default() };
                return self.say(vec![ignored]);
            }
            key => match self.task {
                Task::Class | Task::Classes => return self.class_key(key),
                Task::Spans => return self.span_key(key),
                Task::Adjudicate => return self.judge_key(key),
            },
        }
        Vec::new()
    }

    fn item(&mut self) -> Option<&mut Item> {
        self.items.get_mut(self.at)
    }

    fn go(&mut self, by: isize) {
        self.cursor = 0;
        let last = self.items.len().saturating_sub(1);
        self.at = self.at.saturating_add_signed(by).min(last);
    }

    fn undo(&mut self) -> Vec<Effect> {
        let Some(at) = self.said.pop() else {
            self.message = "nothing of this session is left to undo".into();
            return Vec::new();
        };
        self.at = at;
        self.cursor = 0;
        if let Some(item) = self.item() {
            item.answered = false;
            item.chosen.clear();
            item.proposals.iter_mut().for_each(|p| p.verdict = None);
        }
        self.message = "taken back".into();
        vec![Effect::Undo]
    }

    /// Says something of the document at hand and goes to the next that has no answer.
    fn say(&mut self, statements: Vec<Statement>) -> Vec<Effect> {
        let at = self.at;
        let Some(item) = self.item() else { return Vec::new() };
        item.answered = true;
        let document = item.entry.id;
        self.said.push(at);
        let next = (at + 1..self.items.len()).chain(0..at).find(|&i| !self.items[i].answered);
        self.cursor = 0;
        match next {
            Some(next) => self.at = next,
            None => self.message = "every document has an answer; q ends, p and n look back".into(),
        }
        vec![Effect::Say { document, statements }]
    }

    fn class_at(&self, c: char) -> Option<String> {
        KEYS.find(c).and_then(|at| self.classes.get(at)).cloned()
    }

    fn class_key(&mut self, key: Key) -> Vec<Effect> {
        match key {
            Key::Char('/') => self.typing = Some(String::new()),
            Key::Char(c) => match self.class_at(c) {
                Some(class) => return self.choose(class),
                None => self.message = format!("{c:?} stands for nothing here; ? shows the keys"),
            },
            Key::Enter if self.task == Task::Classes => {
                let chosen = self.item().map(|item| item.chosen.clone()).unwrap_or_default();
                return self.say_classes(chosen);
            }
            // What a machine proposed is taken with Enter.
            Key::Enter => match self.proposed().first().cloned() {
                Some(class) => return self.choose(class),
                None => self.message = "nothing is proposed; press a class's key".into(),
            },
            _ => {}
        }
        Vec::new()
    }

    fn proposed(&self) -> Vec<String> {
        let Some(item) = self.items.get(self.at) else { return Vec::new() };
        match current(&item.entry.document.statements, &item.entry.actions) {
            // What another person said is not shown: it would not be a judgement of their own any more.
            Current::Resolved(statement, Basis::Model) => statement.classes().map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    }

    fn choose(&mut self, class: String) -> Vec<Effect> {
        if self.task == Task::Class {
            return self.say_classes(BTreeSet::from([class]));
        }
        if let Some(item) = self.item()
            && !item.chosen.remove(&class)
        {
            item.chosen.insert(class);
        }
        Vec::new()
    }

    fn say_classes(&mut self, classes: BTreeSet<String>) -> Vec<Effect> {
        if let Some(item) = self.item() {
            item.chosen.clone_from(&classes);
        }
        let labels = classes.into_iter().map(|c| Label::new(Body::class(c))).collect();
        self.say(vec![Statement { author: self.author.clone(), labels, ..Statement::default() }])
    }

    /// A typed name: the class that begins so if there is but one, or a new class.
    fn typed(&mut self) -> Vec<Effect> {
        let name = self.typing.take().unwrap_or_default().trim().to_owned();
        if name.is_empty() {
            return Vec::new();
        }
        let mut fits = self.classes.iter().filter(|c| c.starts_with(&name));
        let class = match (self.classes.contains(&name), fits.next(), fits.next()) {
            (false, Some(only), None) => only.clone(),
            _ => name,
        };
        if !self.classes.contains(&class) {
            self.classes.push(class.clone());
        }
        if self.task == Task::Spans {
            self.retype(class);
            return Vec::new();
        }
        self.choose(class)
    }

    fn retype(&mut self, class: String) {
        let cursor = self.cursor;
        let Some(proposal) = self.item().and_then(|item| item.proposals.get_mut(cursor)) else { return };
        if let Body::Span { label, .. } = &mut proposal.label.body {
            *label = class;
        }
        proposal.verdict = Some(true);
    }

    fn span_key(&mut self, key: Key) -> Vec<Effect> {
        let cursor = self.cursor;
        let n = self.items.get(self.at).map_or(0, |item| item.proposals.len());
        let mut decide = |verdict: Option<bool>| {
            if let Some(proposal) = self.items.get_mut(self.at).and_then(|item| item.proposals.get_mut(cursor)) {
                proposal.verdict = verdict;
                self.cursor = (cursor + 1).min(n.saturating_sub(1));
            }
        };
        match key {
            Key::Char('y') => decide(Some(true)),
            Key::Char('x') => decide(Some(false)),
            Key::Char('a' | 'r') => {
                let verdict = Some(key == Key::Char('a'));
                if let Some(item) = self.item() {
                    item.proposals.iter_mut().filter(|p| p.verdict.is_none()).for_each(|p| p.verdict = verdict);
                }
            }
            Key::Next => self.cursor = if n == 0 { 0 } else { (cursor + 1) % n },
            Key::Previous => self.cursor = if n == 0 { 0 } else { (cursor + n - 1) % n },
            Key::Char('/') if n > 0 => self.typing = Some(String::new()),
            Key::Char(c) => match self.class_at(c) {
                Some(class) if n > 0 => self.retype(class),
                _ => self.message = format!("{c:?} stands for nothing here; ? shows the keys"),
            },
            Key::Enter => return self.say_spans(),
            _ => {}
        }
        Vec::new()
    }

    /// The accepted spans with what hangs on them, and the rejected ones as evidence against.
    fn say_spans(&mut self) -> Vec<Effect> {
        let Some(item) = self.items.get(self.at) else { return Vec::new() };
        if let Some(open) = item.proposals.iter().position(|p| p.verdict.is_none()) {
            self.cursor = open;
            self.message = "some spans are undecided: y accepts, x rejects, a accepts the rest, r rejects the rest".into();
            return Vec::new();
        }
        let pick = |wanted| item.proposals.iter().filter(|p| p.verdict == Some(wanted)).map(|p| p.label.clone()).collect::<Vec<_>>();
        let (mut labels, rejected) = (pick(true), pick(false));
        let mut others = item.others.clone();
        loop {
            let ids: BTreeSet<String> = labels.iter().map(|l| l.id.clone()).collect();
            let (stand, wait): (Vec<Label>, Vec<Label>) =
                others.into_iter().partition(|l| l.body.refers_to().iter().all(|id| ids.contains(*id)));
            others = wait;
            if stand.is_empty() {
                break;
            }
            labels.extend(stand);
        }
        let mut statements = vec![Statement { author: self.author.clone(), labels, ..Statement::default() }];
        if !rejected.is_empty() {
            statements.push(Statement { author: self.author.clone(), answer: Answer::Reject, labels: rejected, ..Statement::default() });
        }
        self.say(statements)
    }

    fn judge_key(&mut self, key: Key) -> Vec<Effect> {
        let Some(item) = self.items.get(self.at) else { return Vec::new() };
        let candidates = candidates(&item.entry);
        let chosen = match key {
            Key::Char(c) => KEYS.find(c).and_then(|at| candidates.get(at)),
            Key::Enter => candidates.get(self.cursor),
            Key::Next => {
                self.cursor = (self.cursor + 1) % candidates.len().max(1);
                return Vec::new();
            }
            Key::Previous => {
                self.cursor = (self.cursor + candidates.len().max(1) - 1) % candidates.len().max(1);
                return Vec::new();
            }
            _ => None,
        };
        match chosen {
            Some((_, labels)) => {
                let statement = Statement { author: self.author.clone(), labels: labels.clone(), ..Statement::default() };
                self.say(vec![statement])
            }
            None => {
                self.message = "press the number of the labels that stand".into();
                Vec::new()
            }
        }
    }

    /// What is to be seen on `width` columns.
    pub fn screen(&self, width: usize) -> Screen {
        let mut lines: Vec<Vec<Piece>> = Vec::new();
        let (done, all) = self.progress();
        let Some(item) = self.items.get(self.at) else {
            lines.push(vec![piece("nothing waits for a label here", Style::Bold)]);
            lines.push(vec![piece("q ends", Style::Dim)]);
            return Screen { lines };
        };
        let document = &item.entry.document;
        let mut head = vec![piece(&format!("{}/{all}", self.at + 1), Style::Bold), piece(&format!("  {done} answered  "), Style::Dim)];
        head.push(piece(&format!("{} {}", item.entry.source, document.row), Style::Dim));
        if let Some(page) = document.source.as_ref().and_then(|s| s.get("page")) {
            head.push(piece(&format!("  page {page}"), Style::Dim));
        }
        if item.answered {
            head.push(piece("  answered", Style::Good));
        }
        lines.push(head);
        lines.push(Vec::new());
        lines.extend(wrap(&self.marked(item), width.max(20)));
        lines.push(Vec::new());
        self.choices(item, &mut lines);
        if let Some(typed) = &self.typing {
            lines.push(vec![
                piece("class: ", Style::Bold),
                piece(typed, Style::Cursor),
                piece("  Tab completes, Enter takes it, Esc leaves", Style::Dim),
            ]);
        }
        if !self.message.is_empty() {
            lines.push(vec![piece(&self.message, Style::Bold)]);
        }
        let keys = match self.task {
            _ if !self.help => "? keys   u undo   s pass over   q end",
            Task::Class => {
                "digit: class and next   Enter: the proposed class   /: type a class   s: pass over   u: undo   n p: next, previous   q: end"
            }
            Task::Classes => {
                "digit: class on or off   Enter: done   /: type a class   s: pass over   u: undo   n p: next, previous   q: end"
            }
            Task::Spans => {
                "y x: accept, reject   a r: accept, reject the rest   Tab: next span   digit or /: other type   Enter: done   s: pass over   u: undo   n p: next, previous   q: end"
            }
            Task::Adjudicate => "digit: these labels stand   s: pass over   u: undo   n p: next, previous   q: end",
        };
        lines.push(vec![piece(keys, Style::Dim)]);
        Screen { lines }
    }

    /// The text with its proposed spans.
    fn marked(&self, item: &Item) -> Vec<Piece> {
        let mut pieces: Vec<Piece> = Vec::new();
        for (at, c) in item.entry.document.text.chars().enumerate() {
            let mut style = Style::Plain;
            if self.task == Task::Spans {
                for (i, proposal) in item.proposals.iter().enumerate() {
                    let inside = proposal.label.span().is_some_and(|(_, ranges)| ranges.iter().any(|[s, e]| (*s..*e).contains(&at)));
                    if inside && i == self.cursor {
                        style = Style::Cursor;
                    } else if inside && style == Style::Plain {
                        style = verdict_style(proposal.verdict);
                    }
                }
            }
            match pieces.last_mut() {
                Some(last) if last.style == style => last.text.push(c),
                _ => pieces.push(piece(&c.to_string(), style)),
            }
        }
        pieces
    }

    fn choices(&self, item: &Item, lines: &mut Vec<Vec<Piece>>) {
        let text = &item.entry.document.text;
        match self.task {
            Task::Class | Task::Classes => {
                let proposed = self.proposed();
                for (i, class) in self.classes.iter().enumerate() {
                    let key = KEYS.chars().nth(i).map_or("  /".to_owned(), |k| format!("  {k}"));
                    let style = if item.chosen.contains(class) { Style::Good } else { Style::Plain };
                    let mut line = vec![piece(&key, Style::Bold), piece("  ", Style::Plain), piece(class, style)];
                    if proposed.contains(class) {
                        line.push(piece("  proposed", Style::Dim));
                    }
                    lines.push(line);
                }
                if self.classes.is_empty() {
                    lines.push(vec![piece("no class is known yet: / types one", Style::Dim)]);
                }
            }
            Task::Spans => {
                for (i, proposal) in item.proposals.iter().enumerate() {
                    let Some((name, ranges)) = proposal.label.span() else { continue };
                    let mark = match proposal.verdict {
                        Some(true) => "yes",
                        Some(false) => "no ",
                        None => " ? ",
                    };
                    let surface = dataset::labels::surface(text, ranges).unwrap_or_default().replace(['\r', '\n', '\t'], " ");
                    let style = if i == self.cursor { Style::Cursor } else { verdict_style(proposal.verdict) };
                    lines.push(vec![
                        piece(&format!("{mark}  "), verdict_style(proposal.verdict)),
                        piece(&format!("{name}: {surface}"), style),
                    ]);
                }
                if item.proposals.is_empty() {
                    lines.push(vec![piece("no span is proposed: Enter says that there is none", Style::Dim)]);
                }
                if !self.classes.is_empty() {
                    let types = self.classes.iter().zip(KEYS.chars()).map(|(class, key)| format!("{key} {class}")).collect::<Vec<_>>();
                    lines.push(vec![piece(&types.join("   "), Style::Dim)]);
                }
            }
            Task::Adjudicate => {
                for (i, (who, labels)) in candidates(&item.entry).iter().enumerate() {
                    let key = KEYS.chars().nth(i).map_or(" ".to_owned(), |k| k.to_string());
                    let style = if i == self.cursor { Style::Cursor } else { Style::Plain };
                    lines.push(vec![
                        piece(&format!("{key}  "), Style::Bold),
                        piece(&said(text, labels), style),
                        piece(&format!("  {who}"), Style::Dim),
                    ]);
                }
            }
        }
    }
}

fn item(entry: Entry, task: Task) -> Item {
    let mut proposals = Vec::new();
    let mut others = Vec::new();
    if task == Task::Spans {
        let labels = match current(&entry.document.statements, &entry.actions) {
            Current::Resolved(statement, _) | Current::Tied(statement) => statement.labels,
            Current::Unlabelled => Vec::new(),
        };
        for label in labels {
            match label.body {
                Body::Span { .. } => proposals.push(Proposal { label, verdict: None }),
                Body::Class { .. } | Body::Text { .. } | Body::Qa { .. } | Body::Other { .. } => {}
                _ => others.push(label),
            }
        }
        proposals.sort_by_key(|p| p.label.span().and_then(|(_, ranges)| ranges.first().copied()));
    }
    Item { entry, proposals, others, chosen: BTreeSet::new(), answered: false }
}

/// Whose labels could stand: each different set once, with all who say it; people first.
pub fn candidates(entry: &Entry) -> Vec<(String, Vec<Label>)> {
    let mut last: Vec<(&Author, &Statement)> = Vec::new();
    for statement in entry.document.statements.iter().filter(|s| s.answer == Answer::Accept && s.author.kind != AuthorKind::Adjudicator) {
        last.retain(|(author, _)| **author != statement.author);
        last.push((&statement.author, statement));
    }
    last.sort_by_key(|(author, _)| !author.kind.is_human());
    let mut found: Vec<(String, Vec<Label>)> = Vec::new();
    for (author, statement) in last {
        let name = match (author.name.is_empty(), author.kind.is_human()) {
            (true, true) => "(unnamed)".to_owned(),
            (_, true) => author.name.clone(),
            (_, false) => format!("{} {}", author.kind.name(), author.name),
        };
        let same = |labels: &[Label]| {
            labels.len() == statement.labels.len() && labels.iter().zip(&statement.labels).all(|(a, b)| a.body == b.body)
        };
        match found.iter_mut().find(|(_, labels)| same(labels)) {
            Some((who, _)) => *who = format!("{who}, {name}"),
            None => found.push((name, statement.labels.clone())),
        }
    }
    found
}

/// Labels in words.
fn said(text: &str, labels: &[Label]) -> String {
    if labels.is_empty() {
        return "nothing here".into();
    }
    let words = labels.iter().map(|label| match (label.class(), label.span()) {
        (Some(class), _) => class.to_owned(),
        (_, Some((name, ranges))) => format!("{name} {:?}", dataset::labels::surface(text, ranges).unwrap_or_default()),
        _ => label.body.kind().to_owned(),
    });
    words.collect::<Vec<_>>().join(", ")
}

fn verdict_style(verdict: Option<bool>) -> Style {
    match verdict {
        Some(true) => Style::Good,
        Some(false) => Style::Bad,
        None => Style::Open,
    }
}

fn piece(text: &str, style: Style) -> Piece {
    Piece { text: text.to_owned(), style }
}

/// Breaks pieces into lines of at most `width` columns, at white space where there is some.
fn wrap(pieces: &[Piece], width: usize) -> Vec<Vec<Piece>> {
    let chars: Vec<(char, Style)> = pieces.iter().flat_map(|p| p.text.chars().map(|c| (c, p.style))).collect();
    let mut lines = Vec::new();
    let mut start = 0;
    while start < chars.len() {
        let (mut at, mut columns, mut space) = (start, 0, None);
        while at < chars.len() && chars[at].0 != '\n' {
            columns += columns_of(chars[at].0);
            if columns > width {
                break;
            }
            if chars[at].0 == ' ' {
                space = Some(at);
            }
            at += 1;
        }
        let broken = at < chars.len() && chars[at].0 != '\n';
        let end = match space {
            Some(space) if broken && space > start => space + 1,
            _ => at.max(start + usize::from(broken && at == start)),
        };
        let mut line: Vec<Piece> = Vec::new();
        for &(c, style) in &chars[start..end] {
            // Control characters would move the cursor.
            let shown = if c.is_control() { ' ' } else { c };
            match line.last_mut() {
                Some(last) if last.style == style => last.text.push(shown),
                _ => line.push(piece(&shown.to_string(), style)),
            }
        }
        lines.push(line);
        start = if end < chars.len() && chars[end].0 == '\n' && !(broken && space.is_some()) { end + 1 } else { end };
    }
    lines
}

/// Columns that a character takes on a terminal.
fn columns_of(c: char) -> usize {
    match u32::from(c) {
        0x300..=0x36f | 0x200b..=0x200f | 0xfe00..=0xfe0f => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0x1f300..=0x1faff
        | 0x20000..=0x3ffff => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataset::labels::Document;

    fn entry(id: i64, text: &str, statements: Vec<Statement>) -> Entry {
        let actions = (0..statements.len() as i64).collect();
        Entry {
            id,
            source: "s".into(),
            actions,
            document: Document { row: id.to_string(), text: text.into(), statements, ..Document::default() },
        }
    }

    fn type_in(session: &mut Session, keys: &str) -> Vec<Effect> {
        keys.chars()
            .flat_map(|c| {
                session.key(match c {
                    '\n' => Key::Enter,
                    '\t' => Key::Next,
                    c => Key::Char(c),
                })
            })
            .collect()
    }

    fn classes(effects: &[Effect]) -> Vec<(i64, Vec<&str>, Answer)> {
        let said = effects.iter().filter_map(|e| match e {
            Effect::Say { document, statements } => Some((*document, statements[0].classes().collect(), statements[0].answer)),
            _ => None,
        });
        said.collect()
    }

    #[test]
    fn a_class_is_one_key() {
        let entries = (1..=4).map(|i| entry(i, "文字", vec![])).collect();
        let mut session = Session::new(Task::Class, "kim", entries, vec!["neg".into(), "pos".into()]);
        let effects = type_in(&mut session, "29s1");
        assert_eq!(classes(&effects), [(1, vec!["pos"], Answer::Accept), (2, vec![], Answer::Ignore), (3, vec!["neg"], Answer::Accept)]);
        assert_eq!(session.progress(), (3, 4));
        let effects = type_in(&mut session, "u1/ne\n/new one\nq");
        assert_eq!(effects[0], Effect::Undo);
        assert_eq!(
            classes(&effects),
            [(3, vec!["neg"], Answer::Accept), (4, vec!["neg"], Answer::Accept), (4, vec!["new one"], Answer::Accept)]
        );
        assert_eq!(effects.last(), Some(&Effect::Quit));
    }

    #[test]
    fn several_classes_are_switched_and_sent() {
        let mut session = Session::new(Task::Classes, "", vec![entry(1, "t", vec![])], vec!["a".into(), "b".into(), "c".into()]);
        let effects = type_in(&mut session, "1231\n");
        assert_eq!(classes(&effects), [(1, vec!["b", "c"], Answer::Accept)]);
    }

    fn spans() -> Statement {
        let args = vec![("a".to_owned(), "T1".to_owned()), ("b".to_owned(), "T2".to_owned())];
        let labels = vec![
            Label::named("T2", Body::span("ORG", 9, 13)),
            Label::named("T1", Body::span("PER", 0, 3)),
            Label::named("T3", Body::span("PER", 4, 8)),
            Label::named("R1", Body::Relation { label: "runs".into(), args }),
        ];
        Statement { author: Author { kind: AuthorKind::Model, name: "m".into() }, labels, ..Statement::default() }
    }

    #[test]
    fn spans_are_confirmed_and_relations_follow() {
        let mut session = Session::new(Task::Spans, "kim", vec![entry(1, "Ann runs Acme", vec![spans()])], vec!["CO".into()]);
        assert!(session.screen(80).text().contains("?   PER: Ann"));
        assert_eq!(type_in(&mut session, "yx\n"), [], "what is undecided is asked for");
        let effects = type_in(&mut session, "1\n");
        let Effect::Say { statements, .. } = &effects[0] else { panic!() };
        let said: Vec<_> = statements[0].labels.iter().map(|l| (l.id.as_str(), l.span().map(|s| s.0))).collect();
        assert_eq!(said, [("T1", Some("PER")), ("T2", Some("CO")), ("R1", None)]);
        assert_eq!((statements[1].answer, statements[1].labels[0].id.as_str()), (Answer::Reject, "T3"));
        let mut session = Session::new(Task::Spans, "kim", vec![entry(1, "Ann runs Acme", vec![spans()])], vec![]);
        let effects = type_in(&mut session, "xa\n");
        let Effect::Say { statements, .. } = &effects[0] else { panic!() };
        assert_eq!(statements[0].labels.len(), 2, "a relation falls with its end");
    }

    #[test]
    fn a_dispute_is_settled_by_number() {
        let class = |who: &str, c: &str| Statement::human(who, vec![Label::new(Body::class(c))]);
        let entries = vec![entry(1, "t", vec![class("a", "x"), class("b", "y"), class("c", "y")])];
        let mut session = Session::new(Task::Adjudicate, "judge", entries, vec![]);
        assert!(session.screen(80).text().contains("2  y  b, c"), "{}", session.screen(80).text());
        let effects = type_in(&mut session, "2");
        let Effect::Say { statements, .. } = &effects[0] else { panic!() };
        assert_eq!((statements[0].author.kind, statements[0].classes().next()), (AuthorKind::Adjudicator, Some("y")));
    }

    #[test]
    fn nothing_to_do_and_wrong_keys_are_said() {
        let mut session = Session::new(Task::Class, "", vec![], vec![]);
        assert_eq!(type_in(&mut session, "1s\nupn"), []);
        assert!(session.screen(10).text().contains("nothing waits"));
        let mut session = Session::new(Task::Class, "", vec![entry(1, "t", vec![])], vec![]);
        assert_eq!(type_in(&mut session, "7\n"), []);
        assert!(session.screen(40).text().contains("nothing is proposed"));
    }

    #[test]
    fn texts_are_wrapped_by_columns() {
        let lines = |text: &str, width| -> Vec<String> {
            wrap(&[piece(text, Style::Plain)], width).iter().map(|l| l.iter().map(|p| p.text.clone()).collect()).collect()
        };
        assert_eq!(lines("one two three", 8), ["one two ", "three"]);
        assert_eq!(lines("你好世界", 4), ["你好", "世界"]);
        assert_eq!(lines("a\n\nb", 10), ["a", "", "b"]);
        assert_eq!(lines("abcdef", 2), ["ab", "cd", "ef"]);
        assert_eq!(lines("你", 1), ["你"]);
    }
}
