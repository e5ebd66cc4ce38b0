//! Tables: grids of rules, rows between horizontal rules, and rows of cells that only their alignment shows.

use super::columns::{Item, usual_size};
use super::paragraphs::join_line;
use super::{PageBlock, Piece};
use crate::block::{BBox, BlockKind};
use crate::table::markdown;

/// Rules nearer than this (points) are one.
const NEAR: f32 = 2.5;

/// A table on a page.
#[derive(Clone, Debug)]
pub struct Table {
    /// The table as a block.
    pub block: PageBlock,
}

/// Tables that rules show, and the pieces that are in none of them.
pub fn find(pieces: Vec<Piece>, rules: &[BBox], width: f32, height: f32) -> (Vec<Table>, Vec<Piece>) {
    let (horizontal, vertical) = sort_rules(rules);
    let mut tables = Vec::new();
    let mut rest = pieces;
    for grid in grids(&horizontal, &vertical) {
        if grid.bounds().width() > 0.98 * width && grid.bounds().height() > 0.98 * height {
            continue;
        }
        rest = take_grid(&grid, rest, &vertical, &mut tables);
    }
    for bounds in ruled_rows(&horizontal, &vertical) {
        if tables
            .iter()
            .any(|t: &Table| t.block.boxes.iter().any(|b| b.y0 < bounds.y1 && bounds.y0 < b.y1 && b.x0 < bounds.x1 && bounds.x0 < b.x1))
        {
            continue;
        }
        let (inside, outside): (Vec<Piece>, Vec<Piece>) =
            rest.into_iter().partition(|p| bounds.holds((p.x0 + p.x1) / 2.0, p.y - 0.3 * p.size));
        rest = outside;
        match aligned_rows(&inside, 2) {
            Some(rows) => tables.push(Table { block: block(rows, &inside, Some(bounds)) }),
            None => rest.extend(inside),
        }
    }
    (tables, rest)
}

/// Rows of cells in one region that only their alignment shows: they are taken out of `items` and put back as tables.
pub fn find_aligned(items: &mut Vec<(BBox, Item)>) {
    let pieces: Vec<usize> = (0..items.len()).filter(|&i| matches!(items[i].1, Item::Piece(_))).collect();
    let piece = |i: usize| match &items[i].1 {
        Item::Piece(p) => p,
        Item::Table(_) => unreachable!("only pieces are asked for"),
    };
    let mut order = pieces;
    order.sort_by(|&a, &b| piece(a).y.total_cmp(&piece(b).y).then(piece(a).x0.total_cmp(&piece(b).x0)));
    let mut rows: Vec<Vec<usize>> = Vec::new();
    for i in order {
        match rows.last_mut() {
            Some(row) if same_row(piece(row[0]), piece(i)) => row.push(i),
            _ => rows.push(vec![i]),
        }
    }
    let mut found: Vec<Vec<usize>> = Vec::new();
    let mut run: Vec<usize> = Vec::new();
    let (mut run_rows, mut last_y, mut pitch) = (0, f32::MIN, f32::MAX);
    let mut end = |run: &mut Vec<usize>, run_rows: &mut usize| {
        if *run_rows >= 3 {
            found.push(std::mem::take(run));
        }
        run.clear();
        *run_rows = 0;
    };
    for row in &rows {
        let first = piece(row[0]);
        let step = first.y - last_y;
        let far = step > 3.0 * first.size || step > 1.9 * pitch;
        if row.len() < 2 || far {
            end(&mut run, &mut run_rows);
            pitch = f32::MAX;
        } else if run_rows > 0 {
            pitch = pitch.min(step.max(first.size));
        }
        last_y = first.y;
        if row.len() >= 2 {
            run.extend(row);
            run_rows += 1;
        }
    }
    end(&mut run, &mut run_rows);
    let mut taken: Vec<usize> = Vec::new();
    let mut tables = Vec::new();
    for run in found {
        let inside: Vec<Piece> = run.iter().map(|&i| piece(i).clone()).collect();
        if let Some(rows) = aligned_rows(&inside, 3) {
            tables.push(block(rows, &inside, None));
            taken.extend(run);
        }
    }
    if tables.is_empty() {
        return;
    }
    taken.sort_unstable();
    let mut index = 0;
    items.retain(|_| {
        index += 1;
        taken.binary_search(&(index - 1)).is_err()
    });
    items.extend(tables.into_iter().map(|t| (t.boxes[0], Item::Table(t))));
}

fn same_row(a: &Piece, b: &Piece) -> bool {
    (a.y - b.y).abs() < 0.4 * a.size.min(b.size)
}

/// Rows of cells, if the pieces are a table with at least two columns and `least` rows and no columns of running text.
fn aligned_rows(pieces: &[Piece], least: usize) -> Option<Vec<Vec<Piece>>> {
    let em = usual_size(pieces);
    let mut spans: Vec<(f32, f32)> = pieces.iter().map(|p| (p.x0, p.x1)).collect();
    spans.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut columns: Vec<(f32, f32)> = Vec::new();
    for (x0, x1) in spans {
        match columns.last_mut() {
            Some(last) if x0 < last.1 + 0.6 * em => last.1 = last.1.max(x1),
            _ => columns.push((x0, x1)),
        }
    }
    if columns.len() < 2 {
        return None;
    }
    let column_of = |p: &Piece| columns.iter().position(|c| (p.x0 + p.x1) / 2.0 <= c.1).unwrap_or(columns.len() - 1);
    // Running text fills its column line after line; cells do not.
    let mut prose = 0;
    for (i, c) in columns.iter().enumerate() {
        let widths: Vec<f32> = pieces.iter().filter(|p| column_of(p) == i).map(|p| p.x1 - p.x0).collect();
        let mean = widths.iter().sum::<f32>() / widths.len().max(1) as f32;
        let width = c.1 - c.0;
        prose += usize::from(width > 9.0 * em && mean > 0.72 * width && widths.len() >= 3);
    }
    if prose * 2 >= columns.len() && prose > 0 && !(prose == 1 && columns.len() > 2) {
        return None;
    }
    let mut order: Vec<&Piece> = pieces.iter().collect();
    order.sort_by(|a, b| a.y.total_cmp(&b.y).then(a.x0.total_cmp(&b.x0)));
    let mut rows: Vec<(f32, Vec<Vec<&Piece>>)> = Vec::new();
    for piece in order {
        let column = column_of(piece);
        match rows.last_mut() {
            Some((y, row)) if (piece.y - *y).abs() < 0.4 * em => row[column].push(piece),
            _ => {
                let mut row = vec![Vec::new(); columns.len()];
                row[column].push(piece);
                rows.push((piece.y, row));
            }
        }
    }
    // A line without a first cell, close below: the row above goes on.
    let mut steps: Vec<f32> = rows.windows(2).map(|w| w[1].0 - w[0].0).collect();
    steps.sort_by(f32::total_cmp);
    let usual = steps.get(steps.len() / 2).copied().unwrap_or(em);
    let mut merged: Vec<(f32, Vec<Vec<&Piece>>)> = Vec::new();
    for (y, row) in rows {
        let goes_on = row[0].is_empty() && row.iter().filter(|c| !c.is_empty()).count() < columns.len().clamp(2, 3);
        match merged.last_mut() {
            Some((last, above)) if goes_on && y - *last <= 1.15 * usual.min(1.5 * em) => {
                above.iter_mut().zip(row).for_each(|(a, mut r)| a.append(&mut r));
                *last = y;
            }
            _ => merged.push((y, row)),
        }
    }
    let full = merged.iter().filter(|(_, row)| row.iter().filter(|c| !c.is_empty()).count() >= 2).count();
    if merged.len() < least || full * 3 < merged.len() * 2 {
        return None;
    }
    Some(merged.into_iter().map(|(_, row)| row.into_iter().map(|cell| cell_text(cell.into_iter().cloned().collect())).collect()).collect())
}

/// The pieces of a cell as one.
fn cell_text(mut pieces: Vec<Piece>) -> Piece {
    pieces.sort_by(|a, b| if same_row(a, b) { a.x0.total_cmp(&b.x0) } else { a.y.total_cmp(&b.y) });
    let mut pieces = pieces.into_iter();
    let Some(mut cell) = pieces.next() else { return Piece::default() };
    let mut y = cell.y;
    for piece in pieces {
        if (piece.y - y).abs() < 0.4 * piece.size {
            cell.append(piece, true);
        } else {
            y = piece.y;
            join_line(&mut cell, piece);
        }
    }
    cell
}

fn block(rows: Vec<Vec<Piece>>, pieces: &[Piece], bounds: Option<BBox>) -> PageBlock {
    let texts: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|c| c.text.clone()).collect()).collect();
    let bbox = pieces.iter().map(Piece::bbox).chain(bounds).reduce(BBox::union).unwrap_or_default();
    let words = rows.into_iter().flatten().flat_map(|c| c.words).collect();
    PageBlock {
        kind: BlockKind::Table,
        text: markdown(&texts),
        boxes: vec![bbox],
        size: usual_size(pieces),
        bold: false,
        lines: texts.len(),
        links: Vec::new(),
        words,
    }
}

/// A rule: place across it, and where it begins and ends along it.
#[derive(Clone, Copy, Debug)]
struct Rule {
    at: f32,
    from: f32,
    to: f32,
}

fn sort_rules(rules: &[BBox]) -> (Vec<Rule>, Vec<Rule>) {
    let (mut horizontal, mut vertical) = (Vec::new(), Vec::new());
    for r in rules {
        if r.width() >= r.height() {
            horizontal.push(Rule { at: (r.y0 + r.y1) / 2.0, from: r.x0, to: r.x1 });
        } else {
            vertical.push(Rule { at: (r.x0 + r.x1) / 2.0, from: r.y0, to: r.y1 });
        }
    }
    (merge(horizontal), merge(vertical))
}

/// Rules of one line that touch become one.
fn merge(mut rules: Vec<Rule>) -> Vec<Rule> {
    rules.sort_by(|a, b| a.at.total_cmp(&b.at).then(a.from.total_cmp(&b.from)));
    let mut out: Vec<Rule> = Vec::new();
    let mut line = 0;
    for rule in rules {
        if out.get(line).is_none_or(|first| rule.at - first.at > NEAR) {
            line = out.len();
        }
        match out[line..].iter_mut().find(|r| rule.from <= r.to + NEAR && r.from <= rule.to + NEAR) {
            Some(r) => (r.from, r.to) = (r.from.min(rule.from), r.to.max(rule.to)),
            None => out.push(rule),
        }
    }
    out
}

/// Rules that cross each other.
struct Grid {
    xs: Vec<f32>,
    ys: Vec<f32>,
}

impl Grid {
    fn bounds(&self) -> BBox {
        let ends = |v: &[f32]| (v.first().copied().unwrap_or(0.0), v.last().copied().unwrap_or(0.0));
        let ((x0, x1), (y0, y1)) = (ends(&self.xs), ends(&self.ys));
        BBox { x0, y0, x1, y1 }
    }
}

fn grids(horizontal: &[Rule], vertical: &[Rule]) -> Vec<Grid> {
    let n = horizontal.len() + vertical.len();
    // A page with more rules than this is a drawing.
    if n > 2000 || horizontal.len() < 2 || vertical.len() < 2 {
        return Vec::new();
    }
    let mut parent: Vec<usize> = (0..n).collect();
    fn root(parent: &mut [usize], mut i: usize) -> usize {
        while parent[i] != i {
            parent[i] = parent[parent[i]];
            i = parent[i];
        }
        i
    }
    for (i, h) in horizontal.iter().enumerate() {
        for (j, v) in vertical.iter().enumerate() {
            let touch = v.at >= h.from - NEAR && v.at <= h.to + NEAR && h.at >= v.from - NEAR && h.at <= v.to + NEAR;
            if touch {
                let (a, b) = (root(&mut parent, i), root(&mut parent, horizontal.len() + j));
                parent[a.max(b)] = a.min(b);
            }
        }
    }
    let mut out = Vec::new();
    for k in 0..horizontal.len() {
        if root(&mut parent, k) != k {
            continue;
        }
        let mut ys: Vec<f32> = (0..horizontal.len()).filter(|&i| root(&mut parent, i) == k).map(|i| horizontal[i].at).collect();
        let mut xs: Vec<f32> =
            (0..vertical.len()).filter(|&j| root(&mut parent, horizontal.len() + j) == k).map(|j| vertical[j].at).collect();
        for v in [&mut xs, &mut ys] {
            v.sort_by(f32::total_cmp);
            v.dedup_by(|a, b| (*a - *b).abs() <= 2.0 * NEAR);
        }
        if xs.len() >= 3 && ys.len() >= 2 && xs.len() <= 100 {
            out.push(Grid { xs, ys });
        }
    }
    out
}

fn take_grid(grid: &Grid, pieces: Vec<Piece>, vertical: &[Rule], tables: &mut Vec<Table>) -> Vec<Piece> {
    let bounds = grid.bounds();
    let inside = |p: &Piece| bounds.holds((p.x0 + p.x1) / 2.0, p.y - 0.3 * p.size);
    let (mine, mut rest): (Vec<Piece>, Vec<Piece>) = pieces.into_iter().partition(inside);
    let mut cells: Vec<Vec<Vec<Piece>>> = vec![vec![Vec::new(); grid.xs.len() - 1]; grid.ys.len() - 1];
    let mine: Vec<Piece> = mine.into_iter().flat_map(|p| split_at_rules(p, vertical)).collect();
    for piece in &mine {
        let slot = |edges: &[f32], at: f32| edges.windows(2).position(|w| w[0] <= at && at <= w[1]).unwrap_or(0);
        // A cell that spans several columns gives its text to the first of them.
        let column = slot(&grid.xs, piece.x0 + 0.5 * piece.size.min(piece.x1 - piece.x0));
        cells[slot(&grid.ys, piece.y - 0.3 * piece.size)][column].push(piece.clone());
    }
    let filled = cells.iter().flatten().filter(|c| !c.is_empty()).count();
    let columns_used = (0..grid.xs.len() - 1).filter(|&c| cells.iter().any(|row| !row[c].is_empty())).count();
    // A drawing makes grids too, with little in them.
    let all = (grid.xs.len() - 1) * (grid.ys.len() - 1);
    if filled < 2 || columns_used < 2 || filled * 4 < all || columns_used * 2 < grid.xs.len() - 1 {
        rest.extend(mine);
        return rest;
    }
    let rows: Vec<Vec<Piece>> =
        cells.into_iter().filter(|row| row.iter().any(|c| !c.is_empty())).map(|row| row.into_iter().map(cell_text).collect()).collect();
    tables.push(Table { block: block(rows, &mine, Some(bounds)) });
    rest
}

/// Words of two cells that stand so close that they became one piece are parted where the rule runs.
fn split_at_rules(piece: Piece, vertical: &[Rule]) -> Vec<Piece> {
    let middle = piece.y - 0.3 * piece.size;
    let crossing = vertical
        .iter()
        .find(|v| v.from <= middle && middle <= v.to && v.at > piece.x0 + 0.5 * piece.size && v.at < piece.x1 - 0.5 * piece.size);
    let Some(rule) = crossing else { return vec![piece] };
    let share = (rule.at - piece.x0) / (piece.x1 - piece.x0);
    let target = share * piece.text.len() as f32;
    let at = piece
        .text
        .char_indices()
        .filter(|(i, c)| *i > 0 && *c == ' ')
        .map(|(i, _)| i)
        .min_by(|a, b| (*a as f32 - target).abs().total_cmp(&(*b as f32 - target).abs()));
    let Some(at) = at else { return vec![piece] };
    let (head, tail) = (piece.text[..at].to_owned(), piece.text[at + 1..].to_owned());
    let left = Piece { text: head, x1: rule.at, links: Vec::new(), ..piece.clone() };
    let right = Piece { text: tail, x0: rule.at, links: Vec::new(), words: Vec::new(), ..piece };
    let mut out = vec![left];
    out.extend(split_at_rules(right, vertical));
    out
}

/// Boxes between the first and last of at least three horizontal rules of equal extent that no vertical rule touches.
fn ruled_rows(horizontal: &[Rule], vertical: &[Rule]) -> Vec<BBox> {
    let mut used = vec![false; horizontal.len()];
    let mut out = Vec::new();
    for i in 0..horizontal.len().min(2000) {
        if used[i] {
            continue;
        }
        let first = horizontal[i];
        let same: Vec<usize> = (i..horizontal.len())
            .filter(|&j| !used[j] && (horizontal[j].from - first.from).abs() < 3.0 && (horizontal[j].to - first.to).abs() < 3.0)
            .collect();
        same.iter().for_each(|&j| used[j] = true);
        let Some(last) = same.last().map(|&j| horizontal[j]).filter(|_| same.len() >= 3) else { continue };
        let touched = vertical.iter().any(|v| v.at > first.from - NEAR && v.at < first.to + NEAR && v.from < last.at && v.to > first.at);
        if !touched && first.to - first.from > 40.0 {
            out.push(BBox { x0: first.from - NEAR, y0: first.at - NEAR, x1: first.to + NEAR, y1: last.at + NEAR });
        }
    }
    out
}
