//! Drawing spans that nobody proposed: a cursor that goes by character, word or sentence, a mark to begin with, and a type's key.

use std::collections::BTreeSet;

use dataset::labels::{Body, Label};

use super::words::Words;
use super::{Effect, Key, Proposal, Session};

/// The state of drawing in one document.
#[derive(Debug, Clone)]
pub(super) struct Drawing {
    /// The code point under the cursor.
    at: usize,
    /// Where the span began, if that was said.
    from: Option<usize>,
    words: Words,
}

impl Drawing {
    /// What would be marked: from the beginning to the cursor; without a beginning the word under the cursor.
    pub fn selection(&self) -> [usize; 2] {
        match self.from {
            Some(from) => [from.min(self.at), from.max(self.at) + 1],
            None => self.words.around(self.at).unwrap_or([self.at, self.at + 1]),
        }
    }

    /// One character on or back; line ends, which nobody sees, are passed over.
    fn step(&mut self, by: isize) {
        let mut at = self.at;
        loop {
            let Some(next) = at.checked_add_signed(by).filter(|n| *n < self.words.len()) else { return };
            at = next;
            if !self.words.is_line_end(at) {
                self.at = at;
                return;
            }
        }
    }

    /// To the first of `places` behind the cursor, or the last before it.
    fn jump(&mut self, places: impl DoubleEndedIterator<Item = usize>, forward: bool) {
        let at = self.at;
        let mut places = places;
        let found = if forward { places.find(|p| *p > at) } else { places.rev().find(|p| *p < at) };
        if let Some(place) = found {
            self.at = place;
        }
    }
}

impl Session {
    /// Begins to draw in the document at hand, at the proposal that the cursor is on.
    pub(super) fn draw(&mut self) {
        let Some(item) = self.items.get(self.at) else { return };
        let words = Words::of(&item.entry.document.text);
        let begin = item.proposals.get(self.cursor).and_then(|p| p.label.span()).and_then(|(_, ranges)| ranges.first().map(|r| r[0]));
        let begin = begin.or(words.words.first().map(|w| w[0])).unwrap_or(0);
        if words.len() == 0 {
            self.message = "there is no text to mark".into();
            return;
        }
        self.drawing = Some(Drawing { at: begin.min(words.len() - 1), from: None, words });
    }

    /// Takes a key while a span is drawn.
    pub(super) fn draw_key(&mut self, key: Key) -> Vec<Effect> {
        let Some(drawing) = &mut self.drawing else { return Vec::new() };
        match key {
            Key::Right | Key::Char('l') => drawing.step(1),
            Key::Left | Key::Char('h') => drawing.step(-1),
            Key::Char('w' | 'b') => {
                let starts: Vec<usize> = drawing.words.words.iter().map(|w| w[0]).collect();
                drawing.jump(starts.into_iter(), key == Key::Char('w'));
            }
            Key::Char('e') => {
                let ends: Vec<usize> = drawing.words.words.iter().map(|w| w[1] - 1).collect();
                drawing.jump(ends.into_iter(), true);
            }
            Key::Next | Key::Previous => {
                let starts = drawing.words.sentences.clone();
                drawing.jump(starts.into_iter(), key == Key::Next);
            }
            Key::Char('g') => drawing.at = 0,
            Key::Char('G') => {
                drawing.at = drawing.words.len() - 1;
                if drawing.words.is_line_end(drawing.at) {
                    drawing.step(-1);
                }
            }
            Key::Char(' ') => drawing.from = if drawing.from.is_some() { None } else { Some(drawing.at) },
            Key::Escape if drawing.from.is_some() => drawing.from = None,
            Key::Enter | Key::Escape | Key::Char('d' | 'q') => self.drawing = None,
            Key::Char('/') => self.typing = Some(String::new()),
            Key::Char('?') => self.help = !self.help,
            Key::Backspace => self.drop_last(),
            Key::Char(c) => match self.class_at(c) {
                Some(class) => self.mark(class),
                None => self.message = format!("{c:?} stands for no type here; / types one, ? shows the keys"),
            },
        }
        Vec::new()
    }

    /// Marks what is selected as a span of a type.
    pub(super) fn mark(&mut self, class: String) {
        let Some(drawing) = &mut self.drawing else { return };
        let range = drawing.selection();
        drawing.from = None;
        drawing.at = range[1] - 1;
        let (at, drawn) = (self.at, self.drawn);
        let Some(item) = self.items.get_mut(at) else { return };
        let same = |p: &Proposal| p.label.span().is_some_and(|(name, ranges)| name == class && ranges == [range]);
        match item.proposals.iter().position(same) {
            Some(known) => {
                item.proposals[known].verdict = Some(true);
                self.cursor = known;
            }
            None => {
                let labels = item.proposals.iter().map(|p| &p.label).chain(&item.others);
                let taken: BTreeSet<&str> = labels.map(|l| l.id.as_str()).collect();
                let id = (1..).map(|n| format!("T{n}")).find(|id| !taken.contains(id.as_str())).unwrap_or_default();
                let label = Label::named(id, Body::span(class, range[0], range[1]));
                item.proposals.push(Proposal { label, verdict: Some(true), drawn: Some(drawn) });
                self.drawn += 1;
                self.sort(drawn);
            }
        }
    }

    /// Puts proposals in the order of the text, the cursor on the one that was drawn as the `drawn`th.
    fn sort(&mut self, drawn: usize) {
        let Some(item) = self.items.get_mut(self.at) else { return };
        item.proposals.sort_by_key(Proposal::place);
        self.cursor = item.proposals.iter().position(|p| p.drawn == Some(drawn)).unwrap_or(0);
    }

    /// Drops the span that was drawn last in this document.
    fn drop_last(&mut self) {
        let Some(item) = self.items.get_mut(self.at) else { return };
        match item.proposals.iter().enumerate().filter_map(|(i, p)| Some((p.drawn?, i))).max() {
            Some((_, last)) => {
                item.proposals.remove(last);
                self.cursor = self.cursor.min(item.proposals.len().saturating_sub(1));
            }
            None => self.message = "nothing was drawn here".into(),
        }
    }
}
