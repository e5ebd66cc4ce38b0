//! Plain text: paragraphs are parted by blank lines; a form feed begins nothing but is no text either.

use crate::block::{Block, BlockKind};

/// Longest block that is made of lines without a blank line between them, in bytes: a log of a gigabyte is not one paragraph.
const MAX_PARAGRAPH: usize = 64 * 1024;

/// Blocks of a plain text. Lines keep their ends within a paragraph: nobody knows whether they were wrapped or meant.
pub fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut paragraph = String::new();
    let mut flush = |paragraph: &mut String| {
        if !paragraph.is_empty() {
            let text = std::mem::take(paragraph);
            blocks.push(Block::plain(BlockKind::Paragraph, text, 1));
        }
    };
    for line in text.split(['\n', '\u{0C}']) {
        let line = line.trim_end();
        if line.trim_start_matches('\u{FEFF}').is_empty() || paragraph.len() > MAX_PARAGRAPH {
            flush(&mut paragraph);
        }
        if !line.is_empty() {
            if !paragraph.is_empty() {
                paragraph.push('\n');
            }
            paragraph.push_str(line);
        }
    }
    flush(&mut paragraph);
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_part_paragraphs() {
        let texts: Vec<String> = blocks("one\ntwo  \n\n \n三\u{0C}four\n").into_iter().map(|b| b.text).collect();
        assert_eq!(texts, ["one\ntwo", "三\nfour"]);
        assert!(blocks(" \n\n").is_empty());
    }
}
