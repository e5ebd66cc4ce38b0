//! Annotating from the keyboard, without a terminal: keys in, what to say and what to show out.
//!
//! A class is one key; spans that a machine (or an earlier annotator) proposed are confirmed, rejected or given another type, and new
//! ones are drawn; a dispute is settled by choosing whose labels stand. Every answer is said at once, so nothing is lost when the window
//! closes.

mod draw;
mod judge;
mod screen;
mod spans;
mod words;

use std::collections::BTreeSet;

use dataset::labels::{Answer, Author, AuthorKind, Body, Label, Statement};

use crate::store::Entry;
use crate::view::{Current, Standing, current, standings};
use draw::Drawing;
pub use judge::candidates;
pub use screen::{Piece, Screen, Style};

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

/// A proposed span and what was decided.
#[derive(Debug, Clone, PartialEq)]
struct Proposal {
    label: Label,
    verdict: Option<bool>,
    /// The how manieth that was drawn in this session; none if it was proposed.
    drawn: Option<usize>,
}

impl Proposal {
    /// Where it begins.
    fn place(&self) -> Option<[usize; 2]> {
        self.label.span().and_then(|(_, ranges)| ranges.first().copied())
    }
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
    /// A span that is being drawn.
    drawing: Option<Drawing>,
    /// Spans that were drawn in all.
    drawn: usize,
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
        let (help, message, said) = (false, String::new(), Vec::new());
        Session { author, task, items, at: 0, cursor: 0, classes, typing: None, drawing: None, drawn: 0, said, help, message }
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
        if self.drawing.is_some() {
            return self.draw_key(key);
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
            item.proposals.retain(|p| p.drawn.is_none());
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
        // What another person said is not shown: it would not be a judgement of their own any more.
        let proposed = standings(&item.entry.document.statements, &item.entry.actions).into_values().filter(Standing::is_proposed);
        proposed.flat_map(|standing| standing.labels).filter_map(|label| label.class().map(str::to_owned)).collect()
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
            if self.drawing.is_some() {
                self.mark(class);
            } else {
                self.retype(class);
            }
            return Vec::new();
        }
        self.choose(class)
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
                Body::Span { .. } => proposals.push(Proposal { label, verdict: None, drawn: None }),
                Body::Class { .. } | Body::Text { .. } | Body::Qa { .. } | Body::Other { .. } => {}
                _ => others.push(label),
            }
        }
        proposals.sort_by_key(Proposal::place);
    }
    Item { entry, proposals, others, chosen: BTreeSet::new(), answered: false }
}

#[cfg(test)]
mod tests;
