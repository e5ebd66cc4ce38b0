//! Proposed spans: accepted, rejected, given another type, and said.

use std::collections::BTreeSet;

use dataset::labels::{Answer, Body, Label, Statement};

use super::{Effect, Key, Session};

impl Session {
    pub(super) fn retype(&mut self, class: String) {
        let cursor = self.cursor;
        let Some(proposal) = self.item().and_then(|item| item.proposals.get_mut(cursor)) else { return };
        if let Body::Span { label, .. } = &mut proposal.label.body {
            *label = class;
        }
        proposal.verdict = Some(true);
    }

    pub(super) fn span_key(&mut self, key: Key) -> Vec<Effect> {
        let cursor = self.cursor;
        let n = self.items.get(self.at).map_or(0, |item| item.proposals.len());
        match key {
            Key::Char('d') => self.draw(),
            Key::Char('x') if self.is_drawn(cursor) => self.drop_at(cursor),
            Key::Char('y') => self.decide(cursor, true),
            Key::Char('x') => self.decide(cursor, false),
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

    /// Decides on a proposal and goes to the next.
    fn decide(&mut self, at: usize, verdict: bool) {
        let Some(item) = self.item() else { return };
        let n = item.proposals.len();
        if let Some(proposal) = item.proposals.get_mut(at) {
            proposal.verdict = Some(verdict);
            self.cursor = (at + 1).min(n.saturating_sub(1));
        }
    }

    fn is_drawn(&self, at: usize) -> bool {
        self.items.get(self.at).and_then(|item| item.proposals.get(at)).is_some_and(|p| p.drawn.is_some())
    }

    /// One's own span is not rejected, it is not said.
    fn drop_at(&mut self, at: usize) {
        if let Some(item) = self.item() {
            item.proposals.remove(at);
            self.cursor = at.min(self.items[self.at].proposals.len().saturating_sub(1));
        }
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
}
