//! Glyphs to pieces: runs of words on one baseline.

use super::{Frame, Piece, space_between};
use crate::pdf::{Direction, Glyph, RawPage};

/// A gap wider than this (em) parts pieces: it may be a gutter.
const PART: f32 = 0.95;
/// Steps back of more than this (em) begin a new piece.
const BACK: f32 = 0.6;

/// A glyph in the frame of its direction.
#[derive(Clone, Copy)]
struct Set<'a> {
    text: &'a str,
    x0: f32,
    x1: f32,
    y: f32,
    size: f32,
    bold: bool,
    link: Option<u32>,
}

/// Pieces of one direction, sorted by nothing yet.
pub fn pieces(raw: &RawPage, direction: Direction) -> Vec<Piece> {
    let frame = Frame { direction, width: raw.width, height: raw.height };
    let (width, height) = frame.size();
    let mut out: Vec<Piece> = Vec::new();
    let mut run: Vec<Set<'_>> = Vec::new();
    let mut space = false;
    for glyph in raw.glyphs.iter().filter(|g| g.direction == direction) {
        let set = place(raw, glyph, &frame, direction);
        // What is drawn beside the page is not on it.
        let margin = set.size;
        if set.x1 < -margin || set.x0 > width + margin || set.y < -margin || set.y > height + 2.0 * margin {
            continue;
        }
        if set.text.trim().is_empty() {
            space = true;
            continue;
        }
        if let Some(last) = run.last() {
            let em = last.size.max(set.size);
            let gap = (set.x0 - last.x1) / em;
            // Bold without a bold font: the same letter again, a hair beside itself.
            let again = set.text == last.text && (set.x0 - last.x0).abs() < 0.15 * em && (set.y - last.y).abs() < 0.15 * em;
            if again {
                continue;
            }
            let same_line = (set.y - last.y).abs() < 0.45 * em && last.size.min(set.size) > 0.4 * em;
            let raised = (set.y - last.y).abs() > 0.12 * em && last.size.min(set.size) > 0.85 * em;
            if !same_line || raised || !(-BACK..=PART).contains(&gap) {
                finish(&mut run, space, &mut out);
            } else if space {
                run.push(Set { text: " ", x0: last.x1, x1: last.x1, ..set });
            }
        }
        space = false;
        run.push(set);
    }
    finish(&mut run, space, &mut out);
    merge(out)
}

fn place<'a>(raw: &'a RawPage, glyph: &Glyph, frame: &Frame, direction: Direction) -> Set<'a> {
    let (ax, ay) = frame.point(glyph.x, glyph.y);
    let (bx, _) = frame.point(glyph.end_x, glyph.end_y);
    // Columns of vertical text are placed by their middle: the baseline is a little below it.
    let y = if direction == Direction::Vertical { ay + 0.3 * glyph.size } else { ay };
    let link = (!raw.links.is_empty())
        .then(|| {
            let (x, y) = ((glyph.x + glyph.end_x) / 2.0, (glyph.y + glyph.end_y) / 2.0 - 0.25 * glyph.size);
            raw.links.iter().position(|l| l.bbox.holds(x, y)).map(|i| i as u32)
        })
        .flatten();
    let text = raw.text.get(glyph.chars.0 as usize..glyph.chars.1 as usize).unwrap_or("");
    Set { text, x0: ax.min(bx), x1: ax.max(bx), y, size: glyph.size, bold: glyph.bold, link }
}

/// Makes a piece of a run of glyphs.
fn finish(run: &mut Vec<Set<'_>>, space_after: bool, out: &mut Vec<Piece>) {
    while run.last().is_some_and(|s| s.text == " ") {
        run.pop();
    }
    if run.is_empty() {
        return;
    }
    // Letterspaced text: the usual gap is no word space.
    let mut gaps: Vec<f32> =
        run.windows(2).filter(|w| w[0].text != " " && w[1].text != " ").map(|w| (w[1].x0 - w[0].x1) / w[1].size).collect();
    gaps.sort_by(f32::total_cmp);
    let loose = gaps.get(gaps.len() / 2).copied().filter(|g| *g > 0.06 && gaps.len() >= 4).unwrap_or(0.0);
    let mut piece = Piece { space_after, x0: f32::MAX, x1: f32::MIN, ..Piece::default() };
    let (mut count, mut bold, mut size_of_most) = (0usize, 0usize, Vec::<(f32, usize)>::new());
    let mut seen = false;
    let mut last: Option<(char, f32)> = None;
    for set in run.iter() {
        if set.text == " " {
            seen = true;
            continue;
        }
        let first = set.text.chars().next().unwrap_or(' ');
        if let Some((before, end)) = last
            && space_between(before, first, (set.x0 - end) / set.size, seen, loose)
        {
            piece.text.push(' ');
            count += 1;
        }
        seen = false;
        let n = set.text.chars().count();
        if let Some(link) = set.link {
            match piece.links.last_mut() {
                Some((_, end, l)) if *l == link && count - *end <= 1 => *end = count + n,
                _ => piece.links.push((count, count + n, link)),
            }
        }
        piece.text.push_str(set.text);
        count += n;
        bold += if set.bold { n } else { 0 };
        match size_of_most.iter_mut().find(|(s, _)| (*s - set.size).abs() < 0.2) {
            Some((_, c)) => *c += n,
            None => size_of_most.push((set.size, n)),
        }
        piece.x0 = piece.x0.min(set.x0);
        piece.x1 = piece.x1.max(set.x1);
        last = set.text.chars().next_back().map(|c| (c, set.x1));
    }
    piece.bold = bold * 2 > count;
    piece.size = size_of_most.iter().max_by_key(|(_, c)| *c).map_or(0.0, |(s, _)| *s);
    // The baseline of most: raised signs do not lift the line.
    piece.y = run.iter().find(|s| (s.size - piece.size).abs() < 0.2).map_or(run[0].y, |s| s.y);
    run.clear();
    out.push(piece);
}

/// Joins pieces of one baseline that stand close: words drawn one by one, or out of order.
fn merge(mut pieces: Vec<Piece>) -> Vec<Piece> {
    pieces.sort_by(|a, b| a.y.total_cmp(&b.y).then(a.x0.total_cmp(&b.x0)));
    let mut done: Vec<Piece> = Vec::with_capacity(pieces.len());
    let mut row: Vec<Piece> = Vec::new();
    let mut row_y = f32::MIN;
    for piece in pieces {
        let near = (piece.y - row_y).abs() <= 0.25 * piece.size.min(row.last().map_or(piece.size, |p| p.size));
        if !near {
            flush_row(&mut row, &mut done);
            row_y = piece.y;
        }
        row.push(piece);
    }
    flush_row(&mut row, &mut done);
    attach_raised(done)
}

fn flush_row(row: &mut Vec<Piece>, done: &mut Vec<Piece>) {
    row.sort_by(|a, b| a.x0.total_cmp(&b.x0));
    let mut current: Option<Piece> = None;
    for piece in row.drain(..) {
        match current.as_mut() {
            Some(last) => {
                let em = last.size.max(piece.size);
                let gap = (piece.x0 - last.x1) / em;
                // The same words twice at one place: a shadow.
                if piece.text == last.text && (piece.x0 - last.x0).abs() < 0.2 * em {
                    continue;
                }
                if gap <= PART && gap > -BACK {
                    let (before, after) = (last.text.chars().next_back().unwrap_or(' '), piece.text.chars().next().unwrap_or(' '));
                    let space = space_between(before, after, gap, last.space_after, 0.0);
                    last.append(piece, space);
                } else {
                    done.extend(current.replace(piece));
                }
            }
            None => current = Some(piece),
        }
    }
    done.extend(current);
}

/// Footnote signs and exponents stand on a baseline of their own; they belong to the words beside them.
fn attach_raised(pieces: Vec<Piece>) -> Vec<Piece> {
    let small = |p: &Piece| p.text.chars().count() <= 4;
    if !pieces.iter().any(small) {
        return pieces;
    }
    let mut keep: Vec<Option<Piece>> = pieces.into_iter().map(Some).collect();
    for i in 0..keep.len() {
        let Some(sign) = keep[i].clone().filter(small) else { continue };
        // Rows are sorted by baseline: a host is near in the list.
        let host = (i.saturating_sub(60)..(i + 60).min(keep.len())).filter(|&j| j != i).find(|&j| {
            keep[j].as_ref().is_some_and(|host| {
                let dy = host.y - sign.y;
                let gap = sign.x0 - host.x1;
                sign.size < 0.82 * host.size && dy.abs() < 0.6 * host.size && gap > -0.2 * host.size && gap < 0.3 * host.size
            })
        });
        if let (Some(j), Some(sign)) = (host, keep[i].take_if(|_| host.is_some()))
            && let Some(host) = keep[j].as_mut()
        {
            let (y, bold) = (host.y, host.bold);
            host.append(sign, false);
            (host.y, host.bold) = (y, bold);
        }
    }
    // What follows the sign on the host's line could not be joined before.
    let mut rest: Vec<Piece> = keep.into_iter().flatten().collect();
    rest.sort_by(|a, b| a.y.total_cmp(&b.y).then(a.x0.total_cmp(&b.x0)));
    let mut done = Vec::with_capacity(rest.len());
    let mut row: Vec<Piece> = Vec::new();
    for piece in rest {
        if row.last().is_some_and(|last: &Piece| (last.y - piece.y).abs() > 0.25 * last.size.min(piece.size)) {
            flush_row(&mut row, &mut done);
        }
        row.push(piece);
    }
    flush_row(&mut row, &mut done);
    done
}
