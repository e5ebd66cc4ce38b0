//! Text cut into chunks: along its structure, no longer than a model reads, never inside a sentence or a row of a table.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::block::{BlockKind, Place};
use crate::error::{DocumentError, Result};
use crate::script::{closes, is_cjk};

/// How long a text is, in the unit that chunks are limited by.
pub trait Measure: Sync {
    /// Length of a text.
    ///
    /// # Errors
    /// What a tokenizer refuses.
    fn length(&self, text: &str) -> Result<usize>;
    /// What it measures with: part of a chunk's version.
    fn name(&self) -> String;
}

/// Counts code points.
#[derive(Clone, Copy, Debug, Default)]
pub struct Characters;

impl Measure for Characters {
    fn length(&self, text: &str) -> Result<usize> {
        Ok(text.chars().count())
    }

    fn name(&self) -> String {
        "characters".into()
    }
}

impl Measure for text::Tokenizer {
    fn length(&self, text: &str) -> Result<usize> {
        Ok(self.encode(text, false)?.len())
    }

    fn name(&self) -> String {
        format!("tokens:{}", self.hash())
    }
}

/// How chunks are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ChunkOptions {
    /// Longest chunk.
    pub size: usize,
    /// What the next chunk repeats of the last, at most.
    pub overlap: usize,
}

impl ChunkOptions {
    /// Refuses sizes that cannot work.
    pub fn check(&self) -> Result<()> {
        let refuse = |option: &str, reason: String| Err(DocumentError::Option { option: option.into(), reason });
        if self.size == 0 {
            return refuse("--size", "a chunk holds at least 1".into());
        }
        if self.overlap * 2 > self.size {
            return refuse("--overlap", format!("{} is more than half of --size {}: chunks would hardly move on", self.overlap, self.size));
        }
        Ok(())
    }
}

/// A piece of a document, with its origin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chunk {
    /// The same for the same file content, cleaning and cutting: `HASH.VERSION.ORDINAL`.
    pub id: String,
    /// Its text: exactly the code points `start..end` of the document's cleaned text.
    pub text: String,
    /// The document's name as ingested.
    pub file: String,
    /// SHA-256 of the document's bytes.
    pub sha256: String,
    /// First page, from 1.
    pub page: u32,
    /// Last page.
    pub page_end: u32,
    /// First code point in the cleaned text.
    pub start: usize,
    /// One past the last.
    pub end: usize,
    /// Where its blocks stand on their pages.
    pub places: Vec<Place>,
    /// Headings that it stands under, outermost first.
    pub headings: Vec<String>,
    /// Its length in the unit of the cut.
    pub length: usize,
}

/// A block of a cleaned text.
#[derive(Clone, Debug)]
pub struct Part {
    /// What it is.
    pub kind: BlockKind,
    /// Its bytes in the text.
    pub range: Range<usize>,
    /// Where it stands.
    pub places: Vec<Place>,
}

/// A document to cut.
#[derive(Clone, Copy, Debug)]
pub struct Cleaned<'a> {
    /// Name as ingested.
    pub file: &'a str,
    /// SHA-256 of its bytes.
    pub sha256: &'a str,
    /// What cleaned it: part of a chunk's version.
    pub pipeline: &'a str,
    /// Its text.
    pub text: &'a str,
    /// Its blocks in order, without overlap.
    pub parts: &'a [Part],
}

/// What may not be parted: a sentence, a row, a heading.
struct Atom {
    range: Range<usize>,
    part: usize,
    length: usize,
    heading: Option<u8>,
}

/// Cuts a document. Chunks longer than the size hold one sentence or row that is longer by itself.
///
/// # Errors
/// What the tokenizer refuses.
pub fn cut(document: &Cleaned<'_>, options: ChunkOptions, measure: &dyn Measure) -> Result<Vec<Chunk>> {
    let atoms = atoms(document, measure)?;
    let version = version(document, options, measure);
    let points = text::spans::CodePoints::new(document.text);
    let mut chunks: Vec<Chunk> = Vec::new();
    // Headings of all atoms before `next`.
    let mut headings: Vec<(u8, String)> = Vec::new();
    let (mut next, mut at) = (0, 0);
    while next < atoms.len() {
        let repeated: usize = atoms[at..next].iter().map(|a| a.length).sum();
        if repeated + atoms[next].length > options.size {
            at = next;
        }
        let mut end = at;
        let mut length = 0;
        while end < atoms.len() {
            let atom = &atoms[end];
            let full = end > at && length + atom.length > options.size;
            // A section begins a chunk of its own unless the last one is still short.
            let text_before = || atoms[at..end].iter().any(|a| a.heading.is_none());
            let section = atom.heading.is_some() && end > next && length * 3 >= options.size && text_before();
            if full || section {
                break;
            }
            length += atom.length;
            end += 1;
        }
        // A heading at the end belongs to what follows.
        while end < atoms.len() && end > next + 1 && atoms[end - 1].heading.is_some() {
            end -= 1;
        }
        // Joined atoms may measure more than their sum.
        let mut total = measure.length(&document.text[atoms[at].range.start..atoms[end - 1].range.end])?;
        while total > options.size && end > next + 1 {
            end -= 1;
            total = measure.length(&document.text[atoms[at].range.start..atoms[end - 1].range.end])?;
        }
        let mut context = headings.clone();
        enter(&mut context, document, atoms[at..end].iter().take_while(|a| a.heading.is_some()));
        enter(&mut headings, document, atoms[next..end].iter());
        let whole = atoms[at].range.start..atoms[end - 1].range.end;
        // The space behind the last sentence is nobody's.
        let bytes = whole.start..whole.start + document.text[whole.clone()].trim_end().len();
        let parts = &document.parts[atoms[at].part..=atoms[end - 1].part];
        let places: Vec<Place> = parts.iter().flat_map(|p| p.places.iter().copied()).collect();
        let pages = || places.iter().map(|p| p.page);
        // Byte offsets of atoms are character boundaries of this text.
        let range = points.point_range(&bytes).unwrap_or_default();
        chunks.push(Chunk {
            id: format!("{}.{version}.{}", &document.sha256[..document.sha256.len().min(16)], chunks.len()),
            text: document.text[bytes].to_owned(),
            file: document.file.to_owned(),
            sha256: document.sha256.to_owned(),
            page: pages().min().unwrap_or(1),
            page_end: pages().max().unwrap_or(1),
            start: range.start,
            end: range.end,
            places,
            headings: context.into_iter().map(|(_, h)| h).collect(),
            length: total,
        });
        next = end;
        at = back(&atoms, at, end, options.overlap);
    }
    Ok(chunks)
}

/// Headings come into force: each ends those of its level and below.
fn enter<'a>(headings: &mut Vec<(u8, String)>, document: &Cleaned<'_>, atoms: impl Iterator<Item = &'a Atom>) {
    for atom in atoms {
        if let Some(level) = atom.heading {
            headings.retain(|(l, _)| *l < level);
            headings.push((level, document.text[atom.range.clone()].trim().to_owned()));
        }
    }
}

/// Where the next chunk begins: some whole atoms back, no further than a heading.
fn back(atoms: &[Atom], at: usize, end: usize, overlap: usize) -> usize {
    if end >= atoms.len() || atoms[end].heading.is_some() {
        return end;
    }
    let (mut from, mut length) = (end, 0);
    while from > at + 1 && atoms[from - 1].heading.is_none() && length + atoms[from - 1].length <= overlap {
        from -= 1;
        length += atoms[from].length;
    }
    from
}

fn version(document: &Cleaned<'_>, options: ChunkOptions, measure: &dyn Measure) -> String {
    hashed(&[document.text, document.pipeline, &options.size.to_string(), &options.overlap.to_string(), &measure.name()])
}

/// The version of pieces that keep the borders of those of `version`, in another cleaning of their document.
pub fn carried(version: &str, pipeline: &str, text: &str) -> String {
    hashed(&["carried", version, pipeline, text])
}

/// The version in a chunk's id; `None` if it is no such id.
pub fn version_of(id: &str) -> Option<&str> {
    let mut parts = id.split('.');
    let (Some(_), Some(version), Some(ordinal), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else { return None };
    (version.len() == 8 && ordinal.bytes().all(|b| b.is_ascii_digit())).then_some(version)
}

fn hashed(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().take(4).map(|b| format!("{b:02x}")).collect()
}

fn atoms(document: &Cleaned<'_>, measure: &dyn Measure) -> Result<Vec<Atom>> {
    let mut out = Vec::new();
    for (part, block) in document.parts.iter().enumerate() {
        let text = &document.text[block.range.clone()];
        let pieces: Vec<Range<usize>> = match block.kind {
            BlockKind::Heading(_) => std::iter::once(0..text.len()).collect(),
            BlockKind::Table => rows(text),
            BlockKind::Code => lines(text),
            BlockKind::Paragraph | BlockKind::Item => sentences(text),
        };
        let heading = if let BlockKind::Heading(level) = block.kind { Some(level) } else { None };
        for piece in pieces.into_iter().filter(|p| !text[p.clone()].trim().is_empty()) {
            let length = measure.length(&text[piece.clone()])?;
            out.push(Atom { range: block.range.start + piece.start..block.range.start + piece.end, part, length, heading });
        }
    }
    Ok(out)
}

/// Lines, each with its end.
fn lines(text: &str) -> Vec<Range<usize>> {
    let mut at = 0;
    text.split_inclusive('\n')
        .map(|line| {
            at += line.len();
            at - line.len()..at
        })
        .collect()
}

/// Rows of a Markdown table; the header stays with its rule and the first row.
fn rows(text: &str) -> Vec<Range<usize>> {
    let mut rows = lines(text);
    let ruled = rows.get(1).is_some_and(|r| text[r.clone()].trim().chars().all(|c| matches!(c, '|' | '-' | ':' | ' ')));
    if ruled {
        let end = rows[rows.len().min(3) - 1].end;
        rows.splice(..rows.len().min(3), std::iter::once(0..end));
    }
    rows
}

/// Words with a full stop that ends no sentence.
const ABBREVIATIONS: &[&str] = &[
    "mr", "mrs", "ms", "dr", "prof", "sr", "jr", "st", "art", "arts", "sec", "para", "fig", "figs", "eq", "vol", "pp", "ed", "eds", "vs",
    "etc", "inc", "ltd", "co", "corp", "e.g", "i.e", "cf", "al", "approx", "dept", "est", "jan", "feb", "mar", "apr", "jun", "jul", "aug",
    "sep", "sept", "oct", "nov", "dec", "u.s", "u.k", "ph.d", "a.m", "p.m",
];

/// Sentences of a text as byte ranges that cover it; each holds the space behind it.
pub fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut out = Vec::new();
    let mut start = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((i, c)) = chars.next() {
        let chinese = matches!(c, '。' | '！' | '？' | '；');
        if !chinese && !matches!(c, '.' | '!' | '?' | '…') {
            continue;
        }
        let mut end = i + c.len_utf8();
        let sign = end;
        while let Some(&(_, next)) = chars.peek().filter(|(_, n)| closes(*n) || matches!(n, '.' | '!' | '?' | '。' | '！' | '？' | '…'))
        {
            end += next.len_utf8();
            chars.next();
        }
        let after = text[end..].chars().next();
        let ended = chinese
            || match after {
                None => true,
                Some(a) if a.is_whitespace() => {
                    let begins = text[end..].trim_start().chars().next();
                    let upper = begins.is_none_or(|b| !b.is_lowercase());
                    upper && (c != '.' || end > sign || !abbreviated(&text[start..i], begins))
                }
                Some(a) => is_cjk(a) && c != '.',
            };
        if !ended {
            continue;
        }
        while let Some(&(_, next)) = chars.peek().filter(|(_, n)| n.is_whitespace()) {
            end += next.len_utf8();
            chars.next();
        }
        out.push(start..end);
        start = end;
    }
    if start < text.len() {
        out.push(start..text.len());
    }
    out
}

/// Whether the word before a full stop is an abbreviation, an initial or the number of a list.
fn abbreviated(before: &str, after: Option<char>) -> bool {
    let word = before.rsplit(|c: char| c.is_whitespace() || matches!(c, '(' | '[' | '"' | '“')).next().unwrap_or("");
    let single = word.chars().count() == 1 && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    let number = word.len() == before.trim_start().len() && !word.is_empty() && word.chars().all(|c| c.is_ascii_digit() || c == '.');
    // "no. 5", but "He said no."
    let numbered = matches!(word, "No" | "Nos" | "no" | "nos") && after.is_some_and(|a| a.is_ascii_digit());
    single || number || numbered || ABBREVIATIONS.contains(&word.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(text: &str) -> Vec<&str> {
        sentences(text).into_iter().map(|r| text[r].trim()).collect()
    }

    #[test]
    fn sentences_end_where_people_end_them() {
        let english = "Mr. Smith pays 1.5 percent (see Art. 3). He said \"no.\" Then e.g. nothing! 2. Is it? Yes... maybe. U.S. law";
        assert_eq!(
            split(english),
            ["Mr. Smith pays 1.5 percent (see Art. 3).", "He said \"no.\"", "Then e.g. nothing!", "2. Is it?", "Yes... maybe.", "U.S. law"]
        );
        assert_eq!(split("他说：“好。”我走了！真的？是；对"), ["他说：“好。”", "我走了！", "真的？", "是；", "对"]);
        assert_eq!(split("版本1.2发布。OK"), ["版本1.2发布。", "OK"]);
    }

    fn document(blocks: &[(BlockKind, &str)]) -> (String, Vec<Part>) {
        let blocks: Vec<crate::block::Block> =
            blocks.iter().enumerate().map(|(i, (k, t))| crate::block::Block::plain(*k, *t, i as u32 / 2 + 1)).collect();
        let (text, ranges) = crate::block::join(&blocks);
        let parts = blocks.iter().zip(ranges).map(|(b, range)| Part { kind: b.kind, range, places: b.places.clone() }).collect();
        (text, parts)
    }

    fn chunks(blocks: &[(BlockKind, &str)], size: usize, overlap: usize) -> Vec<Chunk> {
        let (text, parts) = document(blocks);
        let cleaned = Cleaned { file: "a.pdf", sha256: "0123456789abcdef0123", pipeline: "", text: &text, parts: &parts };
        let chunks = cut(&cleaned, ChunkOptions { size, overlap }, &Characters).unwrap();
        for chunk in &chunks {
            let slice: String = text.chars().skip(chunk.start).take(chunk.end - chunk.start).collect();
            assert_eq!(slice, chunk.text);
        }
        chunks
    }

    #[test]
    fn structure_rules_the_cuts() {
        use BlockKind::{Heading, Paragraph, Table};
        let table = "| a | b |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |\n| 5 | 6 |";
        let got = chunks(
            &[(Heading(1), "Title"), (Paragraph, "One sentence here. And a second one. 第三句话。"), (Heading(2), "Next"), (Table, table)],
            44,
            20,
        );
        let texts: Vec<&str> = got.iter().map(|c| c.text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "Title\n\nOne sentence here. And a second one.",
                "And a second one. 第三句话。",
                "Next\n\n| a | b |\n| --- | --- |\n| 1 | 2 |",
                "| 3 | 4 |\n| 5 | 6 |"
            ]
        );
        assert_eq!(got[1].headings, ["Title"]);
        assert_eq!(got[3].headings, ["Title", "Next"]);
        assert_eq!((got[0].page, got[2].page, got[2].page_end), (1, 2, 2));
        assert!(got[0].id.starts_with("0123456789abcdef.") && got[0].id.ends_with(".0"));
        // One row alone is longer than the size: kept whole.
        assert_eq!(chunks(&[(Table, table)], 5, 0).len(), 3);
        assert!(ChunkOptions { size: 10, overlap: 6 }.check().is_err());
    }

    #[test]
    fn ids_change_with_what_changes_the_text() {
        let blocks = [(BlockKind::Paragraph, "Some text.")];
        let id = |size| chunks(&blocks, size, 0)[0].id.clone();
        assert_eq!(id(100), id(100));
        assert_ne!(id(100), id(101));
        let id = id(100);
        let version = version_of(&id).unwrap();
        assert!(id.starts_with(&format!("0123456789abcdef.{version}.")));
        assert_ne!(carried(version, "a", "t"), carried(version, "b", "t"));
        assert!(version_of("a.b.c").is_none() && version_of("7").is_none() && version_of("a.12345678.x").is_none());
    }

    proptest! {
        #[test]
        fn every_character_is_in_a_chunk(texts in prop::collection::vec("[A-Za-z。. 好\n]{1,80}", 1..12), size in 1usize..60, share in 0usize..3) {
            let blocks: Vec<(BlockKind, &str)> = texts.iter().enumerate().map(|(i, t)| {
                (if i % 4 == 0 { BlockKind::Heading(1 + (i % 3) as u8) } else { BlockKind::Paragraph }, t.as_str())
            }).collect();
            let got = chunks(&blocks, size, size * share / 4);
            let (text, _) = document(&blocks);
            let mut covered = vec![false; text.chars().count()];
            for chunk in &got {
                prop_assert!(chunk.start < chunk.end);
                covered[chunk.start..chunk.end].iter_mut().for_each(|c| *c = true);
            }
            for (c, covered) in text.chars().zip(covered) {
                prop_assert!(covered || c.is_whitespace());
            }
            prop_assert!(got.windows(2).all(|w| w[0].end < w[1].end));
        }
    }
}
