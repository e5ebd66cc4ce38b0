//! Markdown: headings, lists, tables, code and paragraphs as blocks. Inline marks stay as they were written.

use crate::block::{Block, BlockKind};

/// Blocks of a Markdown text.
pub fn blocks(text: &str) -> Vec<Block> {
    let lines: Vec<&str> = text.split('\n').collect();
    let mut out = Out { blocks: Vec::new(), paragraph: String::new(), kind: BlockKind::Paragraph };
    let mut i = 0;
    while i < lines.len() {
        let line = lines[i].trim_end();
        let bare = line.trim_start();
        if let Some(fence) = fence(bare) {
            out.flush();
            let from = i + 1;
            let end = (from..lines.len())
                .find(|&j| lines[j].trim().starts_with(fence) && lines[j].trim().trim_start_matches(&fence[..1]).is_empty());
            let to = end.unwrap_or(lines.len());
            out.push(BlockKind::Code, lines[from.min(to)..to].join("\n"));
            i = to + 1;
            continue;
        }
        if bare.is_empty() {
            out.flush();
        } else if let Some((level, title)) = atx(bare) {
            out.flush();
            out.push(BlockKind::Heading(level), title.to_owned());
        } else if let Some(level) = setext(bare).filter(|_| !out.paragraph.is_empty() && out.kind == BlockKind::Paragraph) {
            let title = std::mem::take(&mut out.paragraph);
            out.push(BlockKind::Heading(level), title);
        } else if bare.starts_with('|') || (bare.contains('|') && lines.get(i + 1).is_some_and(|next| is_rule(next))) {
            out.flush();
            let end = (i..lines.len()).find(|&j| !lines[j].contains('|')).unwrap_or(lines.len());
            out.push(BlockKind::Table, lines[i..end].iter().map(|l| l.trim()).collect::<Vec<_>>().join("\n"));
            i = end;
            continue;
        } else if is_item(bare) {
            out.flush();
            out.kind = BlockKind::Item;
            out.paragraph.push_str(bare);
        } else {
            out.line(if out.kind == BlockKind::Item { bare } else { line });
        }
        i += 1;
    }
    out.flush();
    out.blocks
}

/// Parts the metadata at the very beginning (YAML between lines of `---`) from the text; `None` where what stands there is text.
pub fn front_matter(text: &str) -> (Option<&str>, &str) {
    let Some(inner) = text.strip_prefix("---").and_then(|t| t.trim_start_matches([' ', '\t']).strip_prefix('\n')) else {
        return (None, text);
    };
    let (mut at, mut keys) = (0, 0);
    for line in inner.split_inclusive('\n') {
        let bare = line.trim_end();
        if matches!(bare, "---" | "...") {
            return if keys > 0 { (Some(&inner[..at]), &inner[at + line.len()..]) } else { (None, text) };
        }
        let key = bare.split_once(':').is_some_and(|(key, value)| {
            // The first key is one word, so that a sentence with a colon is none.
            (keys > 0 || !key.contains(char::is_whitespace)) && !key.is_empty() && (value.is_empty() || value.starts_with([' ', '\t']))
        });
        keys += usize::from(key);
        // Within the values: what is indented, entries of lists, their brackets; between them comments and nothing.
        let part = bare.is_empty() || (keys > 0 && bare.starts_with([' ', '\t', '-', ']', '}'])) || bare.starts_with('#');
        if !(key || part) {
            break;
        }
        at += line.len();
    }
    (None, text)
}

struct Out {
    blocks: Vec<Block>,
    paragraph: String,
    kind: BlockKind,
}

impl Out {
    fn push(&mut self, kind: BlockKind, text: String) {
        if !text.trim().is_empty() {
            self.blocks.push(Block::plain(kind, text, 1));
        }
    }

    fn flush(&mut self) {
        let text = std::mem::take(&mut self.paragraph);
        self.push(self.kind, text);
        self.kind = BlockKind::Paragraph;
    }

    fn line(&mut self, line: &str) {
        if !self.paragraph.is_empty() {
            self.paragraph.push('\n');
        }
        self.paragraph.push_str(line);
    }
}

fn fence(line: &str) -> Option<&'static str> {
    ["```", "~~~"].into_iter().find(|f| line.starts_with(f))
}

fn atx(line: &str) -> Option<(u8, &str)> {
    let level = line.bytes().take_while(|&b| b == b'#').count();
    let rest = &line[level..];
    ((1..=6).contains(&level) && (rest.is_empty() || rest.starts_with([' ', '\t'])))
        .then(|| (level as u8, rest.trim().trim_end_matches('#').trim_end()))
}

fn setext(line: &str) -> Option<u8> {
    let all = |c: char| line.len() >= 2 && line.chars().all(|x| x == c);
    if all('=') { Some(1) } else { all('-').then_some(2) }
}

fn is_rule(line: &str) -> bool {
    let line = line.trim();
    line.contains('-') && line.contains('|') && line.chars().all(|c| matches!(c, '|' | '-' | ':' | ' '))
}

fn is_item(line: &str) -> bool {
    if let Some(rest) = line.strip_prefix(['-', '*', '+']) {
        return rest.starts_with(' ');
    }
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    (1..=9).contains(&digits) && line[digits..].strip_prefix(['.', ')']).is_some_and(|rest| rest.starts_with(' '))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn structure_is_seen() {
        let text = "# Title #\n\nSome\ntext.\n\nSub\n---\n- one\n- two\n  more\n1. three\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```rust\nfn f() {}\n\nx\n```\n第一章\n======\n尾";
        let got: Vec<(BlockKind, String)> = blocks(text).into_iter().map(|b| (b.kind, b.text)).collect();
        let want = [
            (BlockKind::Heading(1), "Title"),
            (BlockKind::Paragraph, "Some\ntext."),
            (BlockKind::Heading(2), "Sub"),
            (BlockKind::Item, "- one"),
            (BlockKind::Item, "- two\nmore"),
            (BlockKind::Item, "1. three"),
            (BlockKind::Table, "| a | b |\n|---|---|\n| 1 | 2 |"),
            (BlockKind::Code, "fn f() {}\n\nx"),
            (BlockKind::Heading(1), "第一章"),
            (BlockKind::Paragraph, "尾"),
        ];
        assert_eq!(got, want.map(|(k, t)| (k, t.to_owned())));
    }

    #[test]
    fn front_matter_is_told_from_text() {
        for (text, matter, rest) in [
            ("---\ntitle: 合同 \"x\"\ntags: [a, b]\n---\n# Head\n", Some("title: 合同 \"x\"\ntags: [a, b]\n"), "# Head\n"),
            (
                "--- \n# note\nlist:\n- a\n- b\nlong: >\n  folded\n\nx: {\n}\n...\nText",
                Some("# note\nlist:\n- a\n- b\nlong: >\n  folded\n\nx: {\n}\n"),
                "Text",
            ),
            ("---\nid: 1\ndate created: 2024\n---\n", Some("id: 1\ndate created: 2024\n"), ""),
            ("---\nDear all: hello\n---\n", None, "---\nDear all: hello\n---\n"),
            ("---\n\nSome text.\n\n---\nmore", None, "---\n\nSome text.\n\n---\nmore"),
            ("---\ntitle: never closed\n\nText", None, "---\ntitle: never closed\n\nText"),
            ("---\n---\nx", None, "---\n---\nx"),
            ("text\n\n---\na: b\n---\n", None, "text\n\n---\na: b\n---\n"),
            ("--- x\na: b\n---\n", None, "--- x\na: b\n---\n"),
        ] {
            assert_eq!(front_matter(text), (matter, rest));
        }
    }

    proptest! {
        #[test]
        fn no_text_is_lost_but_marks(text in "[a-z好 \n#|`~=-]{0,200}") {
            let kept: String = blocks(&text).iter().flat_map(|b| b.text.chars()).filter(|c| c.is_alphabetic()).collect();
            // The word behind a fence names the code's language.
            if !text.contains("```") && !text.contains("~~~") {
                prop_assert_eq!(kept, text.chars().filter(|c| c.is_alphabetic()).collect::<String>());
            }
        }
    }
}
