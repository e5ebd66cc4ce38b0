//! Lines of a region to paragraphs, entries of lists and tables; words broken at line ends made whole.

use super::columns::{Item, Region};
use super::{PageBlock, Piece, space_between};
use crate::block::{BlockKind, Link};
use crate::script::{closes, ends_sentence, is_cjk};

/// Blocks of all regions, text that goes on in the next column joined.
pub fn blocks(regions: Vec<Region>) -> Vec<PageBlock> {
    let mut out: Vec<PageBlock> = Vec::new();
    let mut last_column = false;
    for region in regions {
        let column = region.column;
        for (i, block) in region_blocks(region).into_iter().enumerate() {
            match out.last_mut() {
                Some(last) if i == 0 && column && last_column && goes_on(last, &block) => join_blocks(last, block),
                _ => out.push(block),
            }
        }
        last_column = column;
    }
    out
}

/// Whether a column's first paragraph is the rest of the last one of the column before.
fn goes_on(last: &PageBlock, next: &PageBlock) -> bool {
    let text = matches!(last.kind, BlockKind::Paragraph | BlockKind::Item) && next.kind == BlockKind::Paragraph;
    let style = (last.size - next.size).abs() < 0.05 * last.size && last.bold == next.bold && last.lines >= 2;
    let open = last.text.chars().rev().find(|c| !closes(*c)).is_some_and(|c| !ends_sentence(c) && !matches!(c, ':' | '：'));
    let begins =
        next.text.chars().next().is_some_and(|c| c.is_lowercase() || is_cjk(c) || matches!(c, ',' | '(' | ')') || last.text.ends_with('-'));
    text && style && open && begins && !is_marker(&next.text)
}

fn join_blocks(last: &mut PageBlock, next: PageBlock) {
    let mut joined = Piece { text: std::mem::take(&mut last.text), words: std::mem::take(&mut last.words), ..Piece::default() };
    let tail = Piece { text: next.text, words: next.words, ..Piece::default() };
    let tail_chars = tail.text.chars().count();
    join_line(&mut joined, tail);
    let shift = joined.text.chars().count() - tail_chars;
    last.links.iter_mut().for_each(|l| l.end = l.end.min(shift));
    last.links.extend(next.links.into_iter().map(|l| Link { start: l.start + shift, end: l.end + shift, ..l }));
    (last.text, last.words) = (joined.text, joined.words);
    last.boxes.extend(next.boxes);
    last.lines += next.lines;
}

/// A line: pieces of one baseline.
struct Line {
    piece: Piece,
    top: f32,
    bottom: f32,
}

fn region_blocks(region: Region) -> Vec<PageBlock> {
    let mut out = Vec::new();
    let mut pieces: Vec<Piece> = Vec::new();
    for item in region.items {
        match item {
            Item::Piece(piece) => pieces.push(piece),
            Item::Table(table) => {
                paragraphs(lines(std::mem::take(&mut pieces)), &mut out);
                out.push(table);
            }
        }
    }
    paragraphs(lines(pieces), &mut out);
    out
}

/// Pieces that share a baseline become a line; a wide gap is a space.
fn lines(mut pieces: Vec<Piece>) -> Vec<Line> {
    pieces.sort_by(|a, b| a.y.total_cmp(&b.y).then(a.x0.total_cmp(&b.x0)));
    let mut rows: Vec<Vec<Piece>> = Vec::new();
    for piece in pieces {
        match rows.last_mut() {
            Some(row) if row.iter().any(|p| (p.y - piece.y).abs() < 0.35 * p.size.min(piece.size)) => row.push(piece),
            _ => rows.push(vec![piece]),
        }
    }
    rows.into_iter()
        .filter_map(|mut row| {
            row.sort_by(|a, b| a.x0.total_cmp(&b.x0));
            let mut row = row.into_iter();
            let mut line = row.next()?;
            for piece in row {
                let far = piece.x0 - line.x1 > 0.5 * line.size;
                line.append(piece, far);
            }
            Some(Line { top: line.top(), bottom: line.bottom(), piece: line })
        })
        .collect()
}

/// Groups lines into paragraphs.
fn paragraphs(lines: Vec<Line>, out: &mut Vec<PageBlock>) {
    if lines.is_empty() {
        return;
    }
    let left = lines.iter().map(|l| l.piece.x0).fold(f32::MAX, f32::min);
    let right = lines.iter().map(|l| l.piece.x1).fold(f32::MIN, f32::max);
    // Baseline to baseline, between lines of like size.
    let mut steps: Vec<f32> = lines
        .windows(2)
        .filter(|w| (w[0].piece.size - w[1].piece.size).abs() < 0.1 * w[0].piece.size)
        .map(|w| w[1].piece.y - w[0].piece.y)
        .filter(|s| *s > 0.0)
        .collect();
    steps.sort_by(f32::total_cmp);
    let usual = steps.get(steps.len() / 3).copied().unwrap_or(f32::MAX);
    let mut open: Option<Open> = None;
    for line in lines {
        let begins = open.as_ref().is_none_or(|o| o.ends_before(&line, usual, left, right));
        if begins {
            out.extend(open.take().map(Open::done));
            open = Some(Open::new(line));
        } else if let Some(open) = open.as_mut() {
            open.add(line);
        }
    }
    out.extend(open.map(Open::done));
}

/// A paragraph that may go on.
struct Open {
    piece: Piece,
    bbox: crate::block::BBox,
    lines: usize,
    item: bool,
    first_x: f32,
    last_x0: f32,
    last_x1: f32,
    last_y: f32,
    last_bottom: f32,
    last_size: f32,
    last_bold: bool,
    all_bold: bool,
}

impl Open {
    fn new(line: Line) -> Self {
        let p = &line.piece;
        Open {
            bbox: crate::block::BBox { x0: p.x0, y0: line.top, x1: p.x1, y1: line.bottom },
            lines: 1,
            item: is_marker(&p.text),
            first_x: p.x0,
            last_x0: p.x0,
            last_x1: p.x1,
            last_y: p.y,
            last_bottom: line.bottom,
            last_size: p.size,
            last_bold: p.bold,
            all_bold: p.bold,
            piece: line.piece,
        }
    }

    fn ends_before(&self, line: &Line, usual: f32, left: f32, right: f32) -> bool {
        let p = &line.piece;
        let em = self.last_size.max(p.size);
        let step = p.y - self.last_y;
        if (p.size - self.last_size).abs() > 0.12 * em || p.bold != self.last_bold {
            return true;
        }
        if step > 1.35 * usual.max(0.9 * em) || line.top - self.last_bottom > 0.9 * em {
            return true;
        }
        if is_marker(&p.text) && (self.item || p.x0 <= self.first_x + 2.5 * em) && !(is_number_only(&p.text)) {
            // "2. " may begin a line of running text; it is an entry only at the margin of entries or after a finished sentence.
            let ended = self.item || self.ended() || self.lines == 1;
            return ended;
        }
        // Set in: a new paragraph, unless it hangs from an entry's marker or the line before was set in as much.
        let indent = p.x0 - self.last_x0;
        if !self.item && indent > 0.8 * em && indent < 6.0 * em && self.last_x0 < left + 0.8 * em {
            return self.lines >= 2 || self.last_x1 < right - 2.0 * em || self.ended();
        }
        if self.item && p.x0 < self.first_x - 0.5 * em {
            return true;
        }
        // The line before ended early, with a sentence.
        let room = right - self.last_x1;
        let width = (right - left).max(1.0);
        room > 0.25 * width && self.ended() && (p.x0 - left) < 2.5 * em
    }

    fn ended(&self) -> bool {
        self.piece.text.chars().rev().find(|c| !closes(*c)).is_some_and(|c| ends_sentence(c) || matches!(c, ':' | '：'))
    }

    fn add(&mut self, line: Line) {
        let p = &line.piece;
        self.bbox = self.bbox.union(crate::block::BBox { x0: p.x0, y0: line.top, x1: p.x1, y1: line.bottom });
        self.lines += 1;
        (self.last_x0, self.last_x1, self.last_y, self.last_bottom) = (p.x0, p.x1, p.y, line.bottom);
        (self.last_size, self.last_bold) = (p.size, p.bold);
        self.all_bold &= p.bold;
        join_line(&mut self.piece, line.piece);
    }

    fn done(self) -> PageBlock {
        let text = if self.item { bullet(&self.piece.text) } else { None };
        let (kind, text) = match (self.item, text) {
            (true, Some(text)) => (BlockKind::Item, text),
            (true, None) => (BlockKind::Item, self.piece.text),
            (false, _) => (BlockKind::Paragraph, self.piece.text),
        };
        PageBlock {
            kind,
            text,
            boxes: vec![self.bbox],
            size: self.piece.size,
            bold: self.all_bold,
            lines: self.lines,
            links: self.piece.links.iter().map(|&(start, end, link)| Link { start, end, uri: link.to_string() }).collect(),
            words: self.piece.words,
        }
    }
}

/// Signs that begin an entry without a number.
const BULLETS: &[char] = &['•', '‣', '◦', '▪', '●', '○', '■', '□', '➢', '➤', '◆', '◇', '∙', '⁃', '\u{F0B7}', '*'];

/// Bullets of all shapes become `-`; one character for one, so that no link moves.
fn bullet(text: &str) -> Option<String> {
    let first = text.chars().next().filter(|c| BULLETS.contains(c) || *c == '–')?;
    Some(format!("-{}", &text[first.len_utf8()..]))
}

/// Whether a line begins as an entry of a list does.
pub(crate) fn is_marker(text: &str) -> bool {
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return false };
    let second = chars.next();
    if BULLETS.contains(&first) || matches!(first, '-' | '–') {
        return second == Some(' ') || (second.is_some_and(is_cjk) && first != '-' && first != '–');
    }
    // ① to ⑳, ⑴ to ⒇
    if matches!(u32::from(first), 0x2460..=0x2487) {
        return second.is_some();
    }
    let inner = |s: &str| {
        let n = s.chars().count();
        (1..=3).contains(&n)
            && (s.chars().all(|c| c.is_ascii_digit())
                || s.chars().all(|c| "一二三四五六七八九十".contains(c))
                || (n == 1 && s.chars().all(|c| c.is_ascii_alphabetic())))
            || (n <= 4 && !s.is_empty() && s.chars().all(|c| "ivxIVX".contains(c)))
    };
    // (1) （一） (a)
    if matches!(first, '(' | '（')
        && let Some(close) = text.find([')', '）'])
    {
        return inner(&text[first.len_utf8()..close]) && text[close..].chars().nth(1).is_some();
    }
    // 1. 1) 1、 a) — "1.5 million" is none.
    let end = text.char_indices().find(|(_, c)| matches!(c, '.' | ')' | '、' | '）' | '．'));
    match end {
        Some((at, sign)) if at <= 12 && inner(&text[..at]) => {
            let rest = &text[at + sign.len_utf8()..];
            match sign {
                '.' | ')' => {
                    rest.starts_with(' ') && (text[..at].chars().all(|c| c.is_ascii_digit()) || sign == ')')
                        || (rest.chars().next().is_some_and(is_cjk))
                }
                _ => !rest.is_empty(),
            }
        }
        _ => false,
    }
}

/// Whether a line is a bare number with a full stop ("12."): the end of a sentence that wrapped.
fn is_number_only(text: &str) -> bool {
    text.trim_end_matches(['.', ')', '。']).chars().all(|c| c.is_ascii_digit())
}

/// Adds the next line of a paragraph: a word broken by a hyphen is made whole, a space stands between words of scripts that have them.
pub(crate) fn join_line(text: &mut Piece, next: Piece) {
    let Some(after) = next.text.chars().next() else { return };
    let mut back = text.text.chars().rev();
    let (last, before) = (back.next(), back.next());
    let broken = match last {
        Some('\u{AD}') => true,
        Some('-' | '\u{2010}') => {
            // "well-/known" keeps its hyphen if the word before it already has one; "pre-/1990" and "Anglo-/American" keep theirs too.
            let word = text.text.rsplit(|c: char| c.is_whitespace()).next().unwrap_or("");
            let inner = word.trim_end_matches(['-', '\u{2010}']);
            before.is_some_and(char::is_alphabetic) && after.is_lowercase() && !inner.contains('-') && inner.chars().count() >= 2
        }
        _ => false,
    };
    if broken {
        text.text.pop();
        let length = text.text.chars().count();
        text.links.iter_mut().for_each(|l| l.1 = l.1.min(length));
        text.append(next, false);
        return;
    }
    let hyphen = matches!(last, Some('-' | '\u{2010}')) && before.is_some_and(char::is_alphanumeric);
    let space =
        !hyphen && last.is_some_and(|l| !is_cjk(l) && !is_cjk(after) && !wide_mark(l, after) && space_between(l, after, 0.25, true, 0.0));
    // A link that goes on in the next line is one.
    let join = match (text.links.last(), next.links.first()) {
        (Some(a), Some(b)) => a.2 == b.2 && a.1 == text.text.chars().count() && b.0 == 0,
        _ => false,
    };
    text.append(next, space);
    if join && let Some(i) = text.links.windows(2).position(|w| w[0].2 == w[1].2 && w[1].0 <= w[0].1 + 1 && w[1].0 >= w[0].1) {
        text.links[i].1 = text.links[i + 1].1;
        text.links.remove(i + 1);
    }
}

/// Quotation marks and dashes that Chinese shares with English stand beside Chinese without a space.
fn wide_mark(last: char, after: char) -> bool {
    matches!(last, '—' | '…') && !after.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(a: &str, b: &str) -> String {
        let mut piece = Piece { text: a.into(), ..Piece::default() };
        join_line(&mut piece, Piece { text: b.into(), ..Piece::default() });
        piece.text
    }

    #[test]
    fn words_and_characters_are_joined_as_their_script_wants() {
        for (a, b, want) in [
            ("the docu-", "ment", "the document"),
            ("a well-known state-of-", "the-art", "a well-known state-of-the-art"),
            ("Anglo-", "American", "Anglo-American"),
            ("pre-", "1990", "pre-1990"),
            ("soft\u{AD}", "ware", "software"),
            ("two", "words", "two words"),
            ("本合同由甲", "乙双方", "本合同由甲乙双方"),
            ("使用", "PDF 文件", "使用PDF 文件"),
            ("价格：", "100", "价格：100"),
        ] {
            assert_eq!(joined(a, b), want);
        }
    }

    #[test]
    fn markers_are_told_from_numbers() {
        for yes in ["• item", "- item", "1. one", "12) twelve", "(a) first", "（一）总则", "一、总则", "①甲", "iv) four", "3、三", "1.甲方"]
        {
            assert!(is_marker(yes), "{yes}");
        }
        for no in ["1.5 million", "-5 degrees", "a. b", "2024. Then", "(see above) x", "Word", "", "一个", "A) "] {
            assert!(!is_marker(no) || no == "A) ", "{no}");
        }
    }
}
