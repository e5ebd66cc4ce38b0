//! What only all pages together show: which sizes are headings, and of which level.

use super::PageBlock;
use crate::block::{Block, BlockKind, Place};

/// Longest heading, characters.
const MAX_HEADING: usize = 160;

/// Laid-out pages as blocks of a document; `pages` are numbers from 1 with their blocks.
pub fn blocks(pages: Vec<(u32, Vec<PageBlock>)>) -> Vec<Block> {
    let body = body_size(pages.iter().flat_map(|(_, blocks)| blocks));
    // Sizes of headings, largest first; sizes within a tenth of a point are one.
    let mut sizes: Vec<f32> = Vec::new();
    for block in pages.iter().flat_map(|(_, blocks)| blocks).filter(|b| is_heading(b, body)) {
        if !sizes.iter().any(|s| (s - block.size).abs() < 0.35) {
            sizes.push(block.size);
        }
    }
    sizes.sort_by(|a, b| b.total_cmp(a));
    let mut out = Vec::new();
    for (number, blocks) in pages {
        for block in blocks {
            let kind = if is_heading(&block, body) {
                let rank = sizes.iter().position(|s| (s - block.size).abs() < 0.35).unwrap_or(0);
                BlockKind::Heading((rank + 1).min(6) as u8)
            } else {
                block.kind
            };
            let confidence =
                (!block.words.is_empty()).then(|| block.words.iter().map(|w| w.confidence).sum::<f32>() / block.words.len() as f32);
            out.push(Block {
                kind,
                text: block.text,
                places: block.boxes.into_iter().map(|bbox| Place { page: number, bbox: Some(bbox) }).collect(),
                links: block.links,
                confidence,
                words: block.words,
            });
        }
    }
    out
}

/// The font size of most characters.
fn body_size<'a>(blocks: impl Iterator<Item = &'a PageBlock>) -> f32 {
    let mut sizes: Vec<(f32, usize)> = Vec::new();
    for block in blocks.filter(|b| b.kind != BlockKind::Table) {
        let n = block.text.chars().count();
        match sizes.iter_mut().find(|(s, _)| (*s - block.size).abs() < 0.35) {
            Some((_, count)) => *count += n,
            None => sizes.push((block.size, n)),
        }
    }
    sizes.into_iter().max_by_key(|(_, n)| *n).map_or(10.0, |(s, _)| s)
}

/// Larger than the text, or bold, or numbered as sections are; short; no sentence.
fn is_heading(block: &PageBlock, body: f32) -> bool {
    if !matches!(block.kind, BlockKind::Paragraph | BlockKind::Item) || block.lines > 3 {
        return false;
    }
    let text = block.text.trim();
    let length = text.chars().count();
    if !(2..=MAX_HEADING).contains(&length) || !text.chars().any(char::is_alphabetic) {
        return false;
    }
    let sentence = text.ends_with(['.', '。', ';', '；', ',', '，', '！']) && !text.ends_with("...");
    let large = block.size > 1.12 * body;
    let bold = block.bold && block.size > 0.95 * body && length <= 100;
    let listed = block.kind == BlockKind::Item && !large && !bold;
    (large && !(sentence && length > 60))
        || (bold && !sentence && !listed)
        || (numbered(text) && !sentence && block.size > 0.95 * body && length <= 60 && block.lines == 1)
}

/// `3.1 Title`, `第三章 …`, `Article 5`: but not `1. an entry`, which may be a list.
fn numbered(text: &str) -> bool {
    if let Some(rest) = text.strip_prefix('第') {
        let n = rest.chars().take_while(|c| "一二三四五六七八九十百零〇0123456789".contains(*c)).count();
        let mut rest = rest.chars().skip(n);
        return n > 0 && rest.next().is_some_and(|c| "章节編编部篇".contains(c)) && text.chars().count() <= 40;
    }
    let head: &str = text.split(' ').next().unwrap_or("");
    let parts: Vec<&str> = head.trim_end_matches('.').split('.').collect();
    parts.len() >= 2
        && parts.len() <= 5
        && parts.iter().all(|p| (1..=2).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()))
        && text[head.len()..].trim_start().chars().next().is_some_and(|c| c.is_uppercase() || crate::script::is_cjk(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::BBox;

    fn block(text: &str, size: f32, bold: bool, lines: usize) -> PageBlock {
        PageBlock {
            kind: BlockKind::Paragraph,
            text: text.into(),
            boxes: vec![BBox::default()],
            size,
            bold,
            lines,
            links: Vec::new(),
            words: Vec::new(),
        }
    }

    #[test]
    fn headings_stand_out() {
        let long = "Running text that says what the agreement is about, at length. ".repeat(5);
        let page = vec![
            block("Lease Agreement", 20.0, true, 1),
            block("Section one", 14.0, false, 1),
            block(&long, 10.0, false, 6),
            block("Bold words", 10.0, true, 1),
            block("2.1 Payment of rent", 10.0, false, 1),
            block("第三章 违约责任", 10.0, false, 1),
            block("1.5 percent of the rent.", 10.0, false, 1),
            block("12", 20.0, false, 1),
        ];
        let kinds: Vec<BlockKind> = blocks(vec![(1, page)]).into_iter().map(|b| b.kind).collect();
        let (h, p) = (BlockKind::Heading, BlockKind::Paragraph);
        assert_eq!(kinds, [h(1), h(2), p, h(3), h(3), h(3), p, p]);
    }
}
