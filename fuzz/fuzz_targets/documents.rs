//! Any bytes as a document of each format (the first byte chooses): an error or blocks whose ranges hold, never a panic.
#![no_main]

use std::path::Path;

use documents::import::ReadOptions;
use documents::{block, ingest};

const NAMES: &[&str] = &["a.pdf", "a.docx", "a.xlsx", "a.html", "a.md", "a.txt", "a.png", "a.jpg"];

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    let name = NAMES[usize::from(*first) % NAMES.len()];
    let Ok(read) = ingest::read(Path::new(name), rest.to_vec(), &ReadOptions::default(), None, &|_| {}) else { return };
    let (text, ranges) = block::join(&read.blocks);
    assert_eq!(ranges.len(), read.blocks.len());
    assert!(ranges.iter().all(|r| text.get(r.clone()).is_some()));
    for block in &read.blocks {
        let length = block.text.chars().count();
        assert!(block.links.iter().all(|l| l.start <= l.end && l.end <= length));
    }
});
