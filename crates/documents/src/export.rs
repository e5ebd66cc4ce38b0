//! Chunks and documents as others read them.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::block::{Block, BlockKind, PageInfo};
use crate::chunk::Chunk;
use crate::store::FileRow;

/// A chunk as a row of data: `{"id","text","source":{"file","sha256","page","page_end","start","end"}}`.
pub fn row(chunk: &Chunk) -> Value {
    json!({
        "id": chunk.id,
        "text": chunk.text,
        "source": {
            "file": chunk.file, "sha256": chunk.sha256, "page": chunk.page, "page_end": chunk.page_end,
            "start": chunk.start, "end": chunk.end,
        },
    })
}

/// Blocks as Markdown: headings get their signs, links their targets.
pub fn markdown(blocks: &[Block]) -> String {
    let mut out = String::new();
    for (i, block) in blocks.iter().enumerate() {
        if i > 0 {
            let same_list = block.kind == BlockKind::Item && blocks[i - 1].kind == BlockKind::Item;
            out.push_str(if same_list { "\n" } else { "\n\n" });
        }
        match block.kind {
            BlockKind::Heading(level) => {
                let _ = write!(out, "{} {}", "#".repeat(usize::from(level.clamp(1, 6))), linked(block).replace('\n', " "));
            }
            BlockKind::Code => {
                let _ = write!(out, "```\n{}\n```", block.text);
            }
            _ => out.push_str(&linked(block)),
        }
    }
    out
}

/// A block's text with its links written out.
fn linked(block: &Block) -> String {
    if block.links.is_empty() {
        return block.text.clone();
    }
    let points = text::spans::CodePoints::new(&block.text);
    let mut links: Vec<_> = block.links.iter().collect();
    links.sort_by_key(|l| l.start);
    let mut out = String::new();
    let mut at = 0;
    for link in links {
        let Some(range) = points.byte_range(&(link.start..link.end)).filter(|r| r.start >= at) else { continue };
        let _ = write!(out, "{}[{}]({})", &block.text[at..range.start], &block.text[range.clone()], link.uri);
        at = range.end;
    }
    out.push_str(&block.text[at..]);
    out
}

/// A document with everything that is known of it.
pub fn document(file: &FileRow, pages: &[PageInfo], blocks: &[Block], text: &str) -> Value {
    let (_, ranges) = crate::block::join(blocks);
    let points = text::spans::CodePoints::new(text);
    let blocks: Vec<Value> = blocks
        .iter()
        .zip(ranges)
        .map(|(block, range)| {
            let range = points.point_range(&range).unwrap_or_default();
            let mut value = serde_json::to_value(block).unwrap_or_default();
            if let Some(map) = value.as_object_mut() {
                let (kind, level) = match block.kind {
                    BlockKind::Heading(level) => ("heading", Some(level)),
                    BlockKind::Paragraph => ("paragraph", None),
                    BlockKind::Item => ("item", None),
                    BlockKind::Table => ("table", None),
                    BlockKind::Code => ("code", None),
                };
                map.insert("kind".into(), kind.into());
                if let Some(level) = level {
                    map.insert("level".into(), level.into());
                }
                map.insert("start".into(), range.start.into());
                map.insert("end".into(), range.end.into());
            }
            value
        })
        .collect();
    json!({"file": file, "pages": pages, "blocks": blocks, "text": text})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Link;

    #[test]
    fn markdown_writes_what_blocks_know() {
        let mut linked = Block::plain(BlockKind::Paragraph, "见 这里 now", 1);
        linked.links = vec![Link { start: 2, end: 4, uri: "https://x.org".into() }];
        let blocks = [
            Block::plain(BlockKind::Heading(2), "标题", 1),
            linked,
            Block::plain(BlockKind::Item, "- a", 1),
            Block::plain(BlockKind::Item, "- b", 1),
            Block::plain(BlockKind::Code, "x", 1),
        ];
        assert_eq!(markdown(&blocks), "## 标题\n\n见 [这里](https://x.org) now\n\n- a\n- b\n\n```\nx\n```");
    }
}
