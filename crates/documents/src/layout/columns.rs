//! Pieces to regions in reading order.
//!
//! A gutter is a band that no line crosses, with lines on both sides. It need not run through the whole page: a title above two columns
//! ends it. What stands above the gutter comes first, then the left side, then the right, then what stands below; each part is looked at
//! again. (After the recursive X-Y cut, Nagy & Seth 1984.)

use super::tables::Table;
use super::{PageBlock, Piece};
use crate::block::BBox;

/// Narrowest gutter, in em of the page's usual size.
const GUTTER: f32 = 0.9;
/// Lines that must stand on each side.
const LINES: usize = 3;
/// Deepest nesting of regions.
const DEPTH: usize = 24;

/// A part of a page that is read from above to below.
#[derive(Clone, Debug, Default)]
pub struct Region {
    /// Lines and tables, by their upper edge.
    pub items: Vec<Item>,
    /// Whether it is one of several columns, so that text may go on in the next region.
    pub column: bool,
}

/// What stands in a region.
#[derive(Clone, Debug)]
pub enum Item {
    /// A run of words.
    Piece(Piece),
    /// A table, done.
    Table(PageBlock),
}

impl Item {
    /// Its box.
    pub fn bbox(&self) -> BBox {
        match self {
            Item::Piece(piece) => piece.bbox(),
            Item::Table(table) => table.boxes.first().copied().unwrap_or_default(),
        }
    }
}

/// Regions in reading order.
pub fn regions(pieces: Vec<Piece>, tables: Vec<Table>) -> Vec<Region> {
    let em = usual_size(&pieces);
    let items: Vec<(BBox, Item)> =
        tables.into_iter().map(|t| Item::Table(t.block)).chain(pieces.into_iter().map(Item::Piece)).map(|i| (i.bbox(), i)).collect();
    let mut out = Vec::new();
    cut(items, em, 0, false, &mut out);
    out
}

/// The font size of most characters.
pub fn usual_size(pieces: &[Piece]) -> f32 {
    let mut sizes: Vec<(f32, usize)> = Vec::new();
    for piece in pieces {
        let n = piece.text.len();
        match sizes.iter_mut().find(|(s, _)| (*s - piece.size).abs() < 0.3) {
            Some((_, count)) => *count += n,
            None => sizes.push((piece.size, n)),
        }
    }
    sizes.iter().max_by_key(|(_, n)| *n).map_or(10.0, |(s, _)| *s).max(1.0)
}

struct Gutter {
    x: f32,
    top: f32,
    bottom: f32,
}

fn cut(mut items: Vec<(BBox, Item)>, em: f32, depth: usize, column: bool, out: &mut Vec<Region>) {
    if items.is_empty() {
        return;
    }
    super::tables::find_aligned(&mut items);
    let gutter = if depth < DEPTH { gutter(&items, em) } else { None };
    let Some(Gutter { x, top, bottom }) = gutter else {
        items.sort_by(|a, b| a.0.y0.total_cmp(&b.0.y0).then(a.0.x0.total_cmp(&b.0.x0)));
        out.push(Region { items: items.into_iter().map(|(_, i)| i).collect(), column });
        return;
    };
    let (mut above, mut left, mut right, mut below) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (b, item) in items {
        let middle = (b.y0 + b.y1) / 2.0;
        if middle < top {
            above.push((b, item));
        } else if middle > bottom {
            below.push((b, item));
        } else if b.x1 <= x {
            left.push((b, item));
        } else {
            right.push((b, item));
        }
    }
    cut(above, em, depth + 1, column, out);
    cut(left, em, depth + 1, true, out);
    cut(right, em, depth + 1, true, out);
    cut(below, em, depth + 1, column, out);
}

/// The gutter with most lines beside it.
fn gutter(items: &[(BBox, Item)], em: f32) -> Option<Gutter> {
    if items.len() < 2 * LINES {
        return None;
    }
    // Candidates: just right of where pieces end.
    let mut ends: Vec<f32> = items.iter().map(|(b, _)| b.x1).collect();
    ends.sort_by(f32::total_cmp);
    ends.dedup_by(|a, b| (*a - *b).abs() < 0.25 * em);
    let mut best: Option<(usize, f32, Gutter)> = None;
    let mut by_top: Vec<&BBox> = items.iter().map(|(b, _)| b).collect();
    by_top.sort_by(|a, b| a.y0.total_cmp(&b.y0));
    for end in ends {
        let x = end + 0.3 * em;
        // Runs between the items that cross.
        let mut run: Vec<&BBox> = Vec::new();
        let mut consider = |run: &mut Vec<&BBox>| {
            if let Some((score, width, gutter)) = judge(run, x, em) {
                let better = best.as_ref().is_none_or(|(s, w, _)| score > *s || (score == *s && width > *w));
                if better {
                    best = Some((score, width, gutter));
                }
            }
            run.clear();
        };
        for b in &by_top {
            if b.x0 < x && b.x1 > x {
                consider(&mut run);
            } else {
                run.push(b);
            }
        }
        consider(&mut run);
    }
    best.map(|(_, _, gutter)| gutter)
}

/// Lines on the weaker side of a gutter, and its width, if it is one.
fn judge(run: &[&BBox], x: f32, em: f32) -> Option<(usize, f32, Gutter)> {
    if run.len() < 2 * LINES {
        return None;
    }
    let (left, right): (Vec<&BBox>, Vec<&BBox>) = run.iter().copied().partition(|b| b.x1 <= x);
    let (left_lines, right_lines) = (lines(&left), lines(&right));
    let score = left_lines.min(right_lines);
    if score < LINES {
        return None;
    }
    let edge = |side: &[&BBox], f: fn(&BBox) -> f32, max: bool| {
        side.iter().map(|b| f(b)).fold(if max { f32::MIN } else { f32::MAX }, |a, b| if max { a.max(b) } else { a.min(b) })
    };
    let (left_end, right_start) = (edge(&left, |b| b.x1, true), edge(&right, |b| b.x0, false));
    let width = right_start - left_end;
    if width < GUTTER * em {
        return None;
    }
    let (ltop, lbottom) = (edge(&left, |b| b.y0, false), edge(&left, |b| b.y1, true));
    let (rtop, rbottom) = (edge(&right, |b| b.y0, false), edge(&right, |b| b.y1, true));
    let overlap = lbottom.min(rbottom) - ltop.max(rtop);
    if overlap < 0.4 * (lbottom - ltop).min(rbottom - rtop) {
        return None;
    }
    // Columns of text are wide; a column of numbers or of numerals is not one to be read by itself.
    let mean = |side: &[&BBox]| side.iter().map(|b| b.width()).sum::<f32>() / side.len() as f32;
    if mean(&left).min(mean(&right)) < 5.0 * em {
        return None;
    }
    Some((score, width, Gutter { x: (left_end + right_start) / 2.0, top: ltop.min(rtop), bottom: lbottom.max(rbottom) }))
}

fn lines(side: &[&BBox]) -> usize {
    // `run` is sorted by upper edge, so is each side.
    let mut count = 0;
    let mut last = f32::MIN;
    for b in side {
        let middle = (b.y0 + b.y1) / 2.0;
        if middle - last > 0.4 * b.height() {
            count += 1;
            last = middle;
        }
    }
    count
}
