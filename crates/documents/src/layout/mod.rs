//! From glyphs to text in reading order. Ours, whoever read the glyphs.
//!
//! A page goes through: [`pieces`] (glyphs to runs of words on one baseline) → [`tables`] (grids of rules, rows of aligned cells) → [`columns`]
//! (regions in reading order, by the widest gaps that no line crosses; after the recursive X-Y cut of Nagy and Seth 1984, with gutters
//! that need not cross the whole region) → [`paragraphs`] (lines to paragraphs, entries of lists). What is a heading is decided with all
//! pages in sight, in [`document`].

pub mod columns;
pub mod document;
pub mod paragraphs;
pub mod pieces;
pub mod tables;

use crate::block::{BBox, BlockKind, Link, Word};
use crate::pdf::{Direction, RawPage};

/// A run of words on one baseline: a line of a column, or a part of it where the gap is wide.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Piece {
    /// Its text.
    pub text: String,
    /// Left edge, in the frame in which its text runs to the right.
    pub x0: f32,
    /// Right edge.
    pub x1: f32,
    /// Baseline, downward.
    pub y: f32,
    /// Font size in points (the largest in it).
    pub size: f32,
    /// Whether most of it is bold.
    pub bold: bool,
    /// Whether a space was seen after its end.
    pub space_after: bool,
    /// Linked code points: start, end, number of the link.
    pub links: Vec<(usize, usize, u32)>,
    /// Recognised words in it.
    pub words: Vec<Word>,
}

impl Piece {
    /// Upper edge of its letters.
    pub fn top(&self) -> f32 {
        self.y - 0.8 * self.size
    }

    /// Lower edge of its letters.
    pub fn bottom(&self) -> f32 {
        self.y + 0.2 * self.size
    }

    /// Its box.
    pub fn bbox(&self) -> BBox {
        BBox { x0: self.x0, y0: self.top(), x1: self.x1, y1: self.bottom() }
    }

    /// Adds `other` behind it, with a space where `space` says so.
    pub fn append(&mut self, other: Piece, space: bool) {
        if space && !self.text.ends_with(' ') && !other.text.starts_with(' ') {
            self.text.push(' ');
        }
        let shift = self.text.chars().count();
        let weight = |p: &Piece| p.text.chars().count();
        if weight(&other) > weight(self) {
            self.bold = other.bold;
            self.y = other.y;
        }
        self.text.push_str(&other.text);
        self.links.extend(other.links.into_iter().map(|(a, b, l)| (a + shift, b + shift, l)));
        self.words.extend(other.words);
        self.x0 = self.x0.min(other.x0);
        self.x1 = self.x1.max(other.x1);
        self.size = self.size.max(other.size);
        self.space_after = other.space_after;
    }
}

/// A block of one page, before headings are known.
#[derive(Clone, Debug, PartialEq)]
pub struct PageBlock {
    /// Paragraph, entry of a list, or table; never a heading.
    pub kind: BlockKind,
    /// Its text.
    pub text: String,
    /// Boxes on the page; several if it goes on in the next column.
    pub boxes: Vec<BBox>,
    /// Font size of most of it, points.
    pub size: f32,
    /// Whether all its lines are bold.
    pub bold: bool,
    /// Lines.
    pub lines: usize,
    /// Links.
    pub links: Vec<Link>,
    /// Recognised words.
    pub words: Vec<Word>,
}

/// Lays out a page with a text layer.
pub fn page(raw: &RawPage) -> Vec<PageBlock> {
    let mut out = Vec::new();
    let mut directions: Vec<(Direction, usize)> = Vec::new();
    for glyph in &raw.glyphs {
        match directions.iter_mut().find(|(d, _)| *d == glyph.direction) {
            Some((_, n)) => *n += 1,
            None => directions.push((glyph.direction, 1)),
        }
    }
    // The direction of most of the text first: a stamp on the margin comes after it.
    directions.sort_by_key(|&(d, n)| (std::cmp::Reverse(n), d));
    for (direction, _) in directions {
        let frame = Frame { direction, width: raw.width, height: raw.height };
        let mut pieces = pieces::pieces(raw, direction);
        if direction == Direction::Oblique {
            pieces.truncate(200);
        }
        let rules: Vec<BBox> =
            if matches!(direction, Direction::Oblique) { Vec::new() } else { raw.rules.iter().map(|r| frame.enter(*r)).collect() };
        let (width, height) = frame.size();
        let mut blocks = pieces_to_blocks(pieces, &rules, width, height);
        for block in &mut blocks {
            for bbox in &mut block.boxes {
                *bbox = frame.leave(*bbox);
            }
            for link in &mut block.links {
                if let Some(target) = link.uri.parse::<usize>().ok().and_then(|i| raw.links.get(i)) {
                    link.uri.clone_from(&target.uri);
                }
            }
        }
        out.append(&mut blocks);
    }
    out
}

/// Lays out pieces that were found in whatever way: by glyphs, by a recogniser.
pub fn pieces_to_blocks(pieces: Vec<Piece>, rules: &[BBox], width: f32, height: f32) -> Vec<PageBlock> {
    let (tables, pieces) = tables::find(pieces, rules, width, height);
    let regions = columns::regions(pieces, tables);
    paragraphs::blocks(regions)
}

/// The frame in which text of one direction runs to the right.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// The direction on the page.
    pub direction: Direction,
    /// The page's width.
    pub width: f32,
    /// The page's height.
    pub height: f32,
}

impl Frame {
    /// Width and height of the frame.
    pub fn size(&self) -> (f32, f32) {
        match self.direction {
            Direction::Right | Direction::Left | Direction::Oblique => (self.width, self.height),
            Direction::Down | Direction::Up | Direction::Vertical => (self.height, self.width),
        }
    }

    /// A point of the page in the frame.
    pub fn point(&self, x: f32, y: f32) -> (f32, f32) {
        match self.direction {
            Direction::Right | Direction::Oblique => (x, y),
            Direction::Left => (self.width - x, self.height - y),
            // Columns from right to left become lines from above.
            Direction::Down | Direction::Vertical => (y, self.width - x),
            Direction::Up => (self.height - y, x),
        }
    }

    fn back(&self, x: f32, y: f32) -> (f32, f32) {
        match self.direction {
            Direction::Right | Direction::Oblique => (x, y),
            Direction::Left => (self.width - x, self.height - y),
            Direction::Down | Direction::Vertical => (self.width - y, x),
            Direction::Up => (y, self.height - x),
        }
    }

    /// A box of the page in the frame.
    pub fn enter(&self, b: BBox) -> BBox {
        span(self.point(b.x0, b.y0), self.point(b.x1, b.y1))
    }

    /// A box of the frame on the page.
    pub fn leave(&self, b: BBox) -> BBox {
        span(self.back(b.x0, b.y0), self.back(b.x1, b.y1))
    }
}

fn span(a: (f32, f32), b: (f32, f32)) -> BBox {
    BBox { x0: a.0.min(b.0), y0: a.1.min(b.1), x1: a.0.max(b.0), y1: a.1.max(b.1) }
}

/// Whether a space belongs between two characters that stand `gap` (in em) apart.
///
/// Between characters of scripts without spaces there is none unless the gap is a character wide; between those and Latin letters
/// typesetters put a quarter em that is no space either, unless a space is written there.
pub(crate) fn space_between(before: char, after: char, gap: f32, seen: bool, loose: f32) -> bool {
    use crate::script::is_cjk;
    if before == ' ' || after == ' ' {
        return false;
    }
    match (wide(before), wide(after)) {
        (true, true) => gap > 0.8,
        (true, false) | (false, true) if is_cjk(before) || is_cjk(after) => (seen && gap > 0.15) || gap > 0.45,
        _ => seen || gap > 0.13 + loose,
    }
}

/// Characters that fill a square and want no space: CJK, and the quotation marks and dashes that Chinese shares with English.
fn wide(c: char) -> bool {
    crate::script::is_cjk(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_undone() {
        for direction in [Direction::Right, Direction::Down, Direction::Left, Direction::Up, Direction::Vertical] {
            let frame = Frame { direction, width: 600.0, height: 800.0 };
            let b = BBox { x0: 10.0, y0: 20.0, x1: 110.0, y1: 50.0 };
            assert_eq!(frame.leave(frame.enter(b)), b, "{direction:?}");
        }
    }

    #[test]
    fn spaces_depend_on_script() {
        assert!(space_between('a', 'b', 0.25, false, 0.0) && space_between('a', 'b', 0.05, true, 0.0));
        assert!(!space_between('a', 'b', 0.05, false, 0.0));
        assert!(!space_between('中', '文', 0.3, true, 0.0) && !space_between('中', 'a', 0.25, false, 0.0));
        assert!(space_between('中', 'a', 0.25, true, 0.0) && space_between('1', '中', 0.25, true, 0.0));
        assert!(!space_between('中', 'a', 0.05, true, 0.0), "a space without width");
        assert!(space_between('中', '文', 1.0, true, 0.0) && space_between('中', 'a', 0.5, true, 0.0));
    }
}
