//! Where a place of one text is in another that was made from it by edits. Code points.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::Edit;

/// The edits of one step: code points that went and code points that came; in between nothing changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlignMap {
    /// Start and end in the old text, start and end in the new one; in order.
    edits: Vec<(usize, usize, usize, usize)>,
}

impl AlignMap {
    /// Of sorted edits of a text that do not overlap.
    pub fn of(text: &str, edits: &[Edit]) -> Self {
        let points = text::spans::CodePoints::new(text);
        let mut out = Vec::with_capacity(edits.len());
        let mut shift = 0isize;
        for edit in edits {
            // Edits begin and end on characters: they were found as such.
            let Some(old) = points.point_range(&edit.range) else { continue };
            let start = (old.start as isize + shift) as usize;
            let length = edit.with.chars().count();
            out.push((old.start, old.end, start, start + length));
            shift += length as isize - old.len() as isize;
        }
        AlignMap { edits: out }
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Where a range of the old text is in the new one; `None` if nothing of it is left. An end inside an edit moves to the edit's border, so
    /// that a half-masked name becomes the whole mask.
    pub fn forward(&self, range: &Range<usize>) -> Option<Range<usize>> {
        carry(&self.edits, range, |e| (e.0, e.1, e.2, e.3))
    }

    /// Where a range of the new text was in the old one.
    pub fn back(&self, range: &Range<usize>) -> Option<Range<usize>> {
        carry(&self.edits, range, |e| (e.2, e.3, e.0, e.1))
    }
}

type Quad = (usize, usize, usize, usize);

fn carry(edits: &[Quad], range: &Range<usize>, turn: impl Fn(&Quad) -> Quad) -> Option<Range<usize>> {
    let start = edge(edits, range.start, true, &turn);
    let end = edge(edits, range.end, false, &turn);
    (start < end || (range.is_empty() && start == end)).then_some(start..end)
}

fn edge(edits: &[Quad], at: usize, begin: bool, turn: &impl Fn(&Quad) -> Quad) -> usize {
    // Edits that end at or before the place shift it; one around it holds it at its border.
    let i = edits.partition_point(|e| {
        let (from, to, ..) = turn(e);
        // An insertion at the very place stands before what begins there and behind what ends there.
        if begin { to <= at } else { to < at || (to == at && from < to) }
    });
    let shifted = |at: usize, i: usize| match i.checked_sub(1).and_then(|i| edits.get(i)) {
        Some(e) => {
            let (_, to, _, new_to) = turn(e);
            new_to + (at - to)
        }
        None => at,
    };
    match edits.get(i).map(turn) {
        Some((from, _, new_from, new_to)) if from < at => {
            if begin {
                new_from
            } else {
                new_to
            }
        }
        _ => shifted(at, i),
    }
}

/// What became of ranges that were carried from one cleaning to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// Each range in the new text; `None`: nothing of it is left.
    pub ranges: Vec<Option<Range<usize>>>,
    /// How many were lost.
    pub lost: usize,
}

/// Carries ranges of one cleaned text to another cleaning of the same document: back through the steps of the one, forward through those of
/// the other.
pub fn migrate(ranges: &[Range<usize>], from: &[AlignMap], to: &[AlignMap]) -> Migration {
    let ranges: Vec<Option<Range<usize>>> = ranges
        .iter()
        .map(|range| {
            let raw = from.iter().rev().try_fold(range.clone(), |r, map| map.back(&r))?;
            to.iter().try_fold(raw, |r, map| map.forward(&r))
        })
        .collect();
    let lost = ranges.iter().filter(|r| r.is_none()).count();
    Migration { ranges, lost }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn edit(range: Range<usize>, with: &str) -> Edit {
        Edit { range, with: with.into(), kind: "" }
    }

    #[test]
    fn places_move_with_their_text() {
        // "Tel 12345 of 甲方" -> "Tel [N] of甲方 Co"
        let text = "Tel 12345 of 甲方";
        let map = AlignMap::of(text, &[edit(4..9, "[N]"), edit(12..13, ""), edit(19..19, " Co")]);
        assert_eq!(map.forward(&(0..3)), Some(0..3));
        assert_eq!(map.forward(&(4..9)), Some(4..7));
        assert_eq!(map.forward(&(6..8)), Some(4..7), "a part of what was masked is the mask");
        assert_eq!(map.forward(&(10..12)), Some(8..10));
        assert_eq!(map.forward(&(12..13)), None, "nothing is left");
        assert_eq!(map.forward(&(13..15)), Some(10..12), "code points, not bytes");
        assert_eq!(map.back(&(10..12)), Some(13..15));
        assert_eq!(map.back(&(4..7)), Some(4..9));
        assert_eq!(map.back(&(12..15)), None, "what was added was nowhere");
    }

    #[test]
    fn marks_survive_another_cleaning_or_are_counted() {
        let old = [AlignMap::of("a  b c", &[edit(1..3, " ")])];
        let new = [AlignMap::of("a  b c", &[edit(3..4, "")]), AlignMap::of("a   c", &[edit(1..4, "")])];
        let moved = migrate(&[0..1, 2..3, 4..5], &old, &new);
        assert_eq!(moved.ranges, [Some(0..1), None, Some(1..2)]);
        assert_eq!(moved.lost, 1);
    }

    proptest! {
        /// What an edit does not touch reads the same in both texts.
        #[test]
        fn untouched_text_is_found_again(text in "[a-d好\u{1F600} ]{1,40}", cuts in prop::collection::vec((0usize..40, 0usize..4, "[xy中]{0,3}"), 0..5), span in (0usize..40, 1usize..6)) {
            let chars: Vec<char> = text.chars().collect();
            let byte = |i: usize| chars[..i.min(chars.len())].iter().map(|c| c.len_utf8()).sum::<usize>();
            let mut cuts = cuts;
            cuts.sort();
            let mut edits: Vec<Edit> = Vec::new();
            let mut at = 0;
            for (start, length, with) in cuts {
                let (start, end) = (start.max(at).min(chars.len()), (start.max(at) + length).min(chars.len()));
                if start > at || edits.is_empty() {
                    edits.push(edit(byte(start)..byte(end), &with));
                    at = end + 1;
                }
            }
            let map = AlignMap::of(&text, &edits);
            let mut new = String::new();
            let mut from = 0;
            for e in &edits {
                new.push_str(&text[from..e.range.start]);
                new.push_str(&e.with);
                from = e.range.end;
            }
            new.push_str(&text[from..]);
            let (start, end) = (span.0.min(chars.len()), (span.0 + span.1).min(chars.len()));
            let touched = edits.iter().any(|e| e.range.start < byte(end) && byte(start) < e.range.end || (e.range.is_empty() && byte(start) < e.range.start && e.range.start < byte(end)));
            if start < end && !touched {
                let moved = map.forward(&(start..end)).unwrap();
                let found: String = new.chars().skip(moved.start).take(moved.len()).collect();
                prop_assert_eq!(found, chars[start..end].iter().collect::<String>());
                prop_assert_eq!(map.back(&moved), Some(start..end));
            }
        }
    }
}
