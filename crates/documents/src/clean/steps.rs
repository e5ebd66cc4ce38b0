//! The steps that change text, each as the edits it makes.

use std::collections::BTreeMap;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::canonical_combining_class;

use super::{Draft, Edit, Form, HeadersFooters, Width, is_laid_out};
use crate::block::PageInfo;

fn edit(range: std::ops::Range<usize>, with: impl Into<String>) -> Edit {
    Edit { range, with: with.into(), kind: "" }
}

/// Normalisation, cluster by cluster, so that each edit is as small as it can be.
pub(super) fn unicode(text: &str, form: Form) -> Vec<Edit> {
    if text.is_ascii() {
        return Vec::new();
    }
    let mut out = Vec::new();
    let mut start = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((_, c)) = chars.next() {
        let end = chars.peek().map_or(text.len(), |(i, _)| *i);
        // A cluster goes on with combining marks, with vowels and finals of Hangul, and with halfwidth voice marks.
        let goes_on = chars
            .peek()
            .is_some_and(|(_, n)| canonical_combining_class(*n) != 0 || matches!(*n, '\u{1160}'..='\u{11FF}' | '\u{FF9E}' | '\u{FF9F}'));
        if goes_on {
            continue;
        }
        let cluster = &text[start..end];
        if !(cluster.is_ascii() || (cluster.len() == c.len_utf8() && matches!(u32::from(c), 0x4E00..=0x9FFF))) {
            let normal: String = match form {
                Form::Nfc => cluster.nfc().collect(),
                Form::Nfkc => cluster.nfkc().collect(),
            };
            if normal != cluster {
                out.push(edit(start..end, normal));
            }
        }
        start = end;
    }
    out
}

/// Full-width letters and digits, or all full-width forms, to their narrow ones.
pub(super) fn width(text: &str, width: Width) -> Vec<Edit> {
    let narrow = |c: char| match c {
        '\u{FF10}'..='\u{FF19}' | '\u{FF21}'..='\u{FF3A}' | '\u{FF41}'..='\u{FF5A}' => char::from_u32(u32::from(c) - 0xFEE0),
        '\u{FF01}'..='\u{FF5E}' if width == Width::All => char::from_u32(u32::from(c) - 0xFEE0),
        '\u{3000}' if width == Width::All => Some(' '),
        _ => None,
    };
    text.char_indices().filter_map(|(i, c)| narrow(c).map(|n| edit(i..i + c.len_utf8(), n))).collect()
}

/// Controls, zero-width characters and direction marks; a joiner inside an emoji stays.
pub(super) fn control(text: &str) -> Vec<Edit> {
    let mut out = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some((i, c)) = chars.next() {
        let next = chars.peek().map(|(_, n)| *n);
        let goes = match c {
            '\n' | '\t' => false,
            '\u{200D}' => !next.is_some_and(|n| u32::from(n) >= 0x1F000 || matches!(u32::from(n), 0x2600..=0x27BF)),
            '\u{AD}'
            | '\u{200B}'..='\u{200F}'
            | '\u{202A}'..='\u{202E}'
            | '\u{2060}'..='\u{2069}'
            | '\u{FEFF}'
            | '\u{FFF9}'..='\u{FFFB}' => true,
            c => c.is_control(),
        };
        if goes {
            out.push(edit(i..i + c.len_utf8(), ""));
        }
    }
    out
}

/// Runs of spaces to one, spaces at line ends and more than one blank line out; code and tables keep theirs.
pub(super) fn whitespace(draft: &Draft) -> Vec<Edit> {
    let mut out = Vec::new();
    for part in draft.parts.iter().filter(|p| !is_laid_out(p.kind)) {
        let text = &draft.text[part.range.clone()];
        let mut chars = text.char_indices().peekable();
        while let Some((start, c)) = chars.next() {
            if !c.is_whitespace() {
                continue;
            }
            let mut end = start + c.len_utf8();
            let mut run = vec![c];
            while let Some((i, n)) = chars.next_if(|(_, n)| n.is_whitespace()) {
                end = i + n.len_utf8();
                run.push(n);
            }
            let lines = run.iter().filter(|c| **c == '\n').count();
            let outer = start == 0 || end == text.len();
            let with = match lines {
                _ if outer => "",
                0 => " ",
                1 => "\n",
                _ => "\n\n",
            };
            let kept = run.len() == 1 && c == '\u{3000}';
            if !kept && text[start..end] != *with {
                out.push(edit(part.range.start + start..part.range.start + end, with));
            }
        }
    }
    out
}

/// Lines in the zones above and below that stand on many pages (numbers in them may differ), and bare page numbers.
pub(super) fn headers_footers(draft: &Draft, pages: &[PageInfo], settings: &HeadersFooters) -> Vec<Edit> {
    let height = |page: u32| pages.iter().find(|p| p.number == page).map_or(0.0, |p| p.height);
    let mut zones: BTreeMap<(bool, String), Vec<usize>> = BTreeMap::new();
    for (i, part) in draft.parts.iter().enumerate() {
        let [place] = part.places[..] else { continue };
        let Some(b) = place.bbox else { continue };
        let h = height(place.page);
        let text = &draft.text[part.range.clone()];
        if h <= 0.0 || text.chars().count() > 160 {
            continue;
        }
        let above = b.y1 < settings.zone * h;
        if above || b.y0 > (1.0 - settings.zone) * h {
            zones.entry((above, shape(text))).or_default().push(i);
        }
    }
    let least = settings.min_pages.max((settings.share * pages.len() as f32).ceil() as usize);
    let mut goes: Vec<(usize, &'static str)> = Vec::new();
    for ((_, shape), parts) in zones {
        let mut on: Vec<u32> = parts.iter().map(|&i| draft.parts[i].places[0].page).collect();
        on.dedup();
        let number = is_page_number(&shape);
        if on.len() >= least || (number && on.len() * 2 >= pages.len().min(4)) {
            goes.extend(parts.into_iter().map(|i| (i, if number { "page number" } else { "header or footer" })));
        }
    }
    goes.sort_unstable();
    goes.into_iter()
        .map(|(i, kind)| {
            // With the separator behind it, or before it at the end.
            let range = draft.parts[i].range.clone();
            let end = draft.parts.get(i + 1).map_or(range.end, |next| next.range.start);
            Edit { range: range.start..end, with: String::new(), kind }
        })
        .collect()
}

/// A text with its numbers made equal.
fn shape(text: &str) -> String {
    let mut out = String::new();
    for c in text.trim().chars() {
        if c.is_ascii_digit() {
            if !out.ends_with('#') {
                out.push('#');
            }
        } else if c.is_whitespace() {
            if !out.ends_with(' ') {
                out.push(' ');
            }
        } else {
            out.extend(c.to_lowercase());
        }
    }
    out
}

/// `#`, `- # -`, `page # of #`, `# / #`, `第#页 共#页`.
fn is_page_number(shape: &str) -> bool {
    let bare: String = shape.chars().filter(|c| !matches!(c, ' ' | '-' | '–' | '—' | '·' | '|' | ',' | '，' | '.')).collect();
    matches!(bare.as_str(), "#" | "#/#" | "page#" | "page#of#" | "#of#" | "第#页" | "第#页共#页" | "第#页/共#页" | "p#" | "seite#" | "#页")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::{BBox, Block, BlockKind, Place};
    use crate::clean::{Cleaner, Pipeline, Step};
    use proptest::prelude::*;

    fn apply(text: &str, edits: &[Edit]) -> String {
        let mut out = String::new();
        let mut at = 0;
        for e in edits {
            out.push_str(&text[at..e.range.start]);
            out.push_str(&e.with);
            at = e.range.end;
        }
        out + &text[at..]
    }

    #[test]
    fn single_steps_do_what_they_say() {
        let cases = [
            (unicode("cafe\u{301} 好 ①", Form::Nfc), "cafe\u{301} 好 ①", "café 好 ①"),
            (unicode("ﬁ ① Ａ １", Form::Nfkc), "ﬁ ① Ａ １", "fi 1 A 1"),
            (width("Ａ１，。", Width::Alphanumeric), "Ａ１，。", "A1，。"),
            (width("Ａ　，", Width::All), "Ａ　，", "A ,"),
            (control("a\u{200B}b\u{7}\nc\u{FEFF}👩\u{200D}👧"), "a\u{200B}b\u{7}\nc\u{FEFF}👩\u{200D}👧", "ab\nc👩\u{200D}👧"),
        ];
        for (edits, text, want) in cases {
            assert_eq!(apply(text, &edits), want);
        }
        let draft =
            Draft::new(&[Block::plain(BlockKind::Paragraph, "  a \t b \n c\n\n\n d ", 1), Block::plain(BlockKind::Code, "x   y", 1)]);
        assert_eq!(apply(&draft.text, &whitespace(&draft)), "a b\nc\n\nd\n\nx   y");
    }

    fn page(number: u32) -> PageInfo {
        PageInfo { width: 600.0, height: 800.0, ..PageInfo::unpaged(number, false) }
    }

    fn at(text: &str, page: u32, y: f32) -> Block {
        let bbox = Some(BBox { x0: 50.0, y0: y, x1: 300.0, y1: y + 12.0 });
        Block { places: vec![Place { page, bbox }], ..Block::plain(BlockKind::Paragraph, text, page) }
    }

    #[test]
    fn what_stands_on_every_page_goes() {
        let blocks: Vec<Block> = (1..=4)
            .flat_map(|n| {
                [
                    at(&format!("合同编号 2024-0{n}"), n, 20.0),
                    at(&format!("Text {n} of its own."), n, 300.0),
                    at(&format!("- {n} -"), n, 770.0),
                ]
            })
            .chain([at("Signed once", 4, 30.0)])
            .collect();
        let pages: Vec<PageInfo> = (1..=4).map(page).collect();
        let pipeline = Pipeline { steps: vec![Step::HeadersFooters(HeadersFooters::default())] };
        let out = Cleaner::new(pipeline).clean("a", Draft::new(&blocks), &pages);
        let texts: Vec<&str> = out.draft.parts.iter().map(|p| &out.draft.text[p.range.clone()]).collect();
        assert_eq!(texts, ["Text 1 of its own.", "Text 2 of its own.", "Text 3 of its own.", "Text 4 of its own.", "Signed once"]);
        assert_eq!(out.counts[0].kinds["page number"], 4);
        assert_eq!(out.counts[0].edits, 8);
        // One page: its number goes, its heading stays.
        let single = [at("合同", 1, 20.0), at("body", 1, 300.0), at("第 1 页", 1, 770.0)];
        let pipeline = Pipeline::default();
        let out = Cleaner::new(pipeline).clean("a", Draft::new(&single), &[page(1)]);
        assert_eq!(out.draft.text.trim(), "合同\n\nbody");
    }

    proptest! {
        #[test]
        fn clusters_make_the_normal_form(text in "[a-zé\u{301}\u{327}가각\u{1100}\u{1161}\u{11A8}好①ﬁＡｶ\u{FF9E} ]{0,30}") {
            prop_assert_eq!(apply(&text, &unicode(&text, Form::Nfc)), text.nfc().collect::<String>());
            prop_assert_eq!(apply(&text, &unicode(&text, Form::Nfkc)), text.nfkc().collect::<String>());
        }
    }
}
