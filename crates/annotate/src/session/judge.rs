//! Settling a dispute: whose labels stand.

use dataset::labels::{Answer, Author, AuthorKind, Label, Statement};

use super::{Effect, KEYS, Key, Session};
use crate::store::Entry;

impl Session {
    pub(super) fn judge_key(&mut self, key: Key) -> Vec<Effect> {
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
