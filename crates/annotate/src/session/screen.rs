//! What is to be seen of a session: lines of pieces, each in a style, for whatever shows them.

use dataset::labels::Label;

use super::judge::candidates;
use super::{Item, KEYS, Session, Task};

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
    /// What of it is shown on `height` lines. Of a longer screen the middle is left out, never the choices at its end, nor the first line,
    /// nor where the cursor is in the text.
    pub fn fit(&self, height: usize) -> Screen {
        let room = height.max(8);
        if self.lines.len() <= room {
            return self.clone();
        }
        let gap = || vec![piece("…", Style::Dim)];
        let (body, tail) = self.lines.split_at(self.lines.len() - room / 2);
        let shown = room - tail.len() - 1;
        let cursor = body.iter().position(|line| line.iter().any(|p| p.style == Style::Cursor)).unwrap_or(0);
        let mut lines = Vec::with_capacity(room);
        if cursor < shown {
            lines.extend_from_slice(&body[..shown]);
        } else {
            // The line behind the cursor's is the last, where there is room for both.
            let window = shown - 2;
            let last = (cursor + window.min(2)).min(body.len());
            lines.push(body[0].clone());
            lines.push(gap());
            lines.extend_from_slice(&body[last - window.min(last)..last]);
        }
        lines.push(gap());
        lines.extend_from_slice(tail);
        Screen { lines }
    }

    /// The text alone.
    pub fn text(&self) -> String {
        self.lines.iter().map(|line| line.iter().map(|p| p.text.as_str()).collect::<String>() + "\n").collect()
    }
}

impl Session {
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
            _ if self.drawing.is_some() && !self.help => "digit or / marks   space begins   arrows w b e move   Enter: done   ? keys",
            _ if self.drawing.is_some() => {
                "arrows: by character   w b: next, previous word   e: end of the word   Tab: next sentence   g G: first, last character   space: begin here (again: not)   digit or /: the type of what is marked   Backspace: drop the span drawn last   Enter: done"
            }
            _ if !self.help => "? keys   u undo   s pass over   q end",
            Task::Class => {
                "digit: class and next   Enter: the proposed class   /: type a class   s: pass over   u: undo   n p: next, previous   q: end"
            }
            Task::Classes => {
                "digit: class on or off   Enter: done   /: type a class   s: pass over   u: undo   n p: next, previous   q: end"
            }
            Task::Spans => {
                "y x: accept, reject   a r: accept, reject the rest   Tab: next span   digit or /: other type   d: draw a span   Enter: done   s: pass over   u: undo   n p: next, previous   q: end"
            }
            Task::Adjudicate => "digit: these labels stand   s: pass over   u: undo   n p: next, previous   q: end",
        };
        lines.push(vec![piece(keys, Style::Dim)]);
        Screen { lines }
    }

    /// The text with its proposed spans.
    fn marked(&self, item: &Item) -> Vec<Piece> {
        let mut pieces: Vec<Piece> = Vec::new();
        let drawn = self.drawing.as_ref().map(|d| d.selection());
        for (at, c) in item.entry.document.text.chars().enumerate() {
            let mut style = Style::Plain;
            if let Some([start, end]) = drawn
                && (start..end).contains(&at)
            {
                style = Style::Cursor;
            } else if self.task == Task::Spans {
                for (i, proposal) in item.proposals.iter().enumerate() {
                    let inside = proposal.label.span().is_some_and(|(_, ranges)| ranges.iter().any(|[s, e]| (*s..*e).contains(&at)));
                    if inside && i == self.cursor && drawn.is_none() {
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
                    lines.push(vec![piece("no span is proposed: d draws one, Enter says that there is none", Style::Dim)]);
                }
                if let Some(drawing) = &self.drawing {
                    let [start, end] = drawing.selection();
                    let marked = dataset::labels::slice(text, start, end).unwrap_or_default().replace(['\r', '\n', '\t'], " ");
                    lines.push(vec![piece("mark  ", Style::Bold), piece(&format!("{start}-{end}: {marked}"), Style::Open)]);
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

pub(super) fn piece(text: &str, style: Style) -> Piece {
    Piece { text: text.to_owned(), style }
}

/// Breaks pieces into lines of at most `width` columns, at white space where there is some.
pub(super) fn wrap(pieces: &[Piece], width: usize) -> Vec<Vec<Piece>> {
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
