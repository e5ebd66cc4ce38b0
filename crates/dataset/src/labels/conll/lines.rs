//! Lines of CoNLL files: columns, comments, documents, and where in a line token and tag stand.
//!
//! A line that begins with `#` is a comment where it is no token: a token has as many columns as its neighbours and a tag that the
//! file knows. Comments say nothing of labels and stay where they are when an untouched document is written again.

use std::collections::{BTreeMap, BTreeSet};

use super::tag;
use crate::error::BadRow;
use crate::labels::Range;

/// Where token and tag stand in the lines of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Layout {
    /// The token first, the tag last.
    #[default]
    Plain,
    /// The token's number first, then the token; the tag last.
    Indexed,
    /// As `Indexed`, with two columns of tags (GermEval 2014): the outer ones count.
    Nested,
    /// CoNLL-U: ten columns, none of them a tag.
    Universal,
}

impl Layout {
    /// Its name where it is kept.
    pub fn name(self) -> &'static str {
        match self {
            Layout::Plain => "plain",
            Layout::Indexed => "indexed",
            Layout::Nested => "nested",
            Layout::Universal => "universal",
        }
    }

    /// The layout of that name.
    pub fn of_name(name: &str) -> Option<Layout> {
        [Layout::Plain, Layout::Indexed, Layout::Nested, Layout::Universal].into_iter().find(|l| l.name() == name)
    }

    /// The column of the token.
    pub(super) fn token(self) -> usize {
        usize::from(self != Layout::Plain)
    }

    /// The column of the tag in a line of `width` columns.
    pub(super) fn tag(self, width: usize) -> Option<usize> {
        match self {
            Layout::Plain => width.checked_sub(1).filter(|&at| at > 0),
            Layout::Indexed => width.checked_sub(1).filter(|&at| at > 1),
            Layout::Nested => width.checked_sub(2).filter(|&at| at > 1),
            Layout::Universal => None,
        }
    }
}

/// A line of columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Which of its document's lines it is, from 0.
    pub at: usize,
    /// Its columns.
    pub columns: Vec<String>,
}

/// A document's lines before its tags are read.
#[derive(Debug, Clone, Default)]
pub struct Block {
    /// Line on which it starts, from 1.
    pub line: usize,
    /// The `-DOCSTART-` line, if it has one.
    pub start: Option<String>,
    /// Sentences of lines of columns.
    pub sentences: Vec<Vec<Line>>,
    /// Between the columns.
    pub tab: bool,
    /// Where token and tag stand.
    pub layout: Layout,
    /// All its lines as they are.
    pub raw: String,
    /// Which of them are comments, from 0.
    pub comments: Vec<usize>,
    /// Line of the file on which `raw` begins, from 1.
    first: usize,
}

/// The columns of a line: by tabs if it has one, else by spaces. Other white space is part of a token. A separator at the end parts
/// nothing.
pub(super) fn columns(line: &str) -> Vec<&str> {
    let line = line.trim_end_matches(['\r', '\n']);
    if !line.contains('\t') {
        return line.split(' ').filter(|column| !column.is_empty()).collect();
    }
    let mut columns: Vec<&str> = line.split('\t').collect();
    while columns.len() > 1 && columns.last().is_some_and(|last| last.is_empty()) {
        columns.pop();
    }
    columns
}

fn starts_document(line: &str) -> bool {
    line.starts_with("-DOCSTART-")
}

/// The sentences of a document's lines.
pub(super) fn sentences(raw: &str, comments: &BTreeSet<usize>) -> Vec<Vec<Line>> {
    let mut out: Vec<Vec<Line>> = Vec::new();
    let mut open = false;
    for (at, line) in raw.split_inclusive('\n').enumerate() {
        if line.trim().is_empty() || starts_document(line) {
            open = false;
        } else if !comments.contains(&at) {
            if !std::mem::replace(&mut open, true) {
                out.push(Vec::new());
            }
            let columns = columns(line).into_iter().map(str::to_owned).collect();
            if let Some(sentence) = out.last_mut() {
                sentence.push(Line { at, columns });
            }
        }
    }
    out
}

/// What tells a comment from a token that begins with `#`.
struct Comments<'a> {
    /// Tags of lines that are no comments for sure.
    tags: BTreeSet<&'a str>,
    /// Columns of the next such line of the paragraph; 0 if there is none.
    next: Vec<usize>,
    /// Columns that most lines have.
    usual: usize,
}

impl<'a> Comments<'a> {
    /// `None` if no line begins with `#`.
    fn of(lines: &[&'a str]) -> Option<Comments<'a>> {
        if !lines.iter().any(|line| line.starts_with('#')) {
            return None;
        }
        let (mut tags, mut counts) = (BTreeSet::new(), BTreeMap::<usize, usize>::new());
        let mut next = vec![0; lines.len() + 1];
        for (i, line) in lines.iter().enumerate().rev() {
            if line.starts_with('#') {
                next[i] = next[i + 1];
            } else if !line.trim().is_empty() && !starts_document(line) {
                let columns = columns(line);
                next[i] = columns.len();
                *counts.entry(columns.len()).or_default() += 1;
                tags.extend(columns.last());
            }
        }
        let usual = counts.iter().max_by_key(|(width, n)| (**n, **width)).map_or(2, |(width, _)| *width);
        Some(Comments { tags, next, usual })
    }

    /// Whether line `i` is one; `width` is the number of columns of the sentence that it stands in, 0 where one would begin.
    fn is(&self, i: usize, line: &str, width: usize) -> bool {
        if !line.starts_with('#') {
            return false;
        }
        let columns = columns(line);
        let expected = [width, self.next[i], self.usual].into_iter().find(|n| *n > 0).unwrap_or(2);
        let tagged = columns.last().is_some_and(|last| tag::is_of_a_scheme(last) || self.tags.contains(last));
        if columns.len() == expected && columns.len() > 1 && tagged {
            return false;
        }
        width == 0 || columns.first() == Some(&"#")
    }
}

/// Cuts a file into documents. All its lines are in one of them, but those of documents that cannot be read.
///
/// # Errors
/// For each document the first line that has fewer columns than the others of its sentence, or no tag where one should be.
pub fn blocks(text: &str, file: &str) -> Vec<Result<Block, BadRow>> {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let documents = lines.iter().any(|line| starts_document(line));
    let comments = Comments::of(&lines);
    let mut out: Vec<Block> = Vec::new();
    let mut block = Block { first: 1, ..Block::default() };
    // Columns of the sentence that is open; whether the document has a line of its own.
    let (mut width, mut filled, mut ended) = (0, false, false);
    for (i, line) in lines.iter().enumerate() {
        let blank = line.trim().is_empty();
        let starts = starts_document(line);
        if filled && (starts || ended && !blank) {
            out.push(std::mem::replace(&mut block, Block { first: i + 1, ..Block::default() }));
            (width, filled, ended) = (0, false, false);
        }
        if starts {
            (filled, block.line, block.start) = (true, i + 1, Some(line.trim_end_matches(['\r', '\n']).to_owned()));
        } else if blank {
            width = 0;
            ended = filled && !documents;
        } else if comments.as_ref().is_some_and(|c| c.is(i, line, width)) {
            block.comments.push(i + 1 - block.first);
        } else {
            if !std::mem::replace(&mut filled, true) {
                block.line = i + 1;
            }
            width = if width == 0 { columns(line).len() } else { width };
            block.tab |= line.contains('\t');
        }
        block.raw.push_str(line);
    }
    match (filled, out.last_mut()) {
        (true, _) => out.push(block),
        // Comments at the end of the file belong to what stands before them.
        (false, Some(last)) => {
            let before = last.raw.split_inclusive('\n').count();
            last.comments.extend(block.comments.iter().map(|at| at + before));
            last.raw.push_str(&block.raw);
        }
        (false, None) => {}
    }
    for block in &mut out {
        block.sentences = sentences(&block.raw, &block.comments.iter().copied().collect());
    }
    let layout = layout(&out);
    out.into_iter()
        .map(|mut block| {
            block.layout = layout;
            block.check(file).map(|()| block)
        })
        .collect()
}

impl Block {
    fn check(&self, file: &str) -> Result<(), BadRow> {
        let mut expected = None;
        for line in self.sentences.iter().flatten() {
            let bad = |reason| BadRow { file: file.to_owned(), line: self.first + line.at, field: String::new(), reason };
            let width = line.columns.len();
            let expected = *expected.get_or_insert(width.max(2));
            if width != expected {
                return Err(bad(match width {
                    1 => "a token without a tag".to_owned(),
                    _ => format!("{width} columns where the line before has {expected}"),
                }));
            }
            let said = self.layout.tag(width).map(|at| line.columns[at].as_str());
            if let Some(said) = said.filter(|said| tag::parse(said).is_err()) {
                return Err(bad(format!("{said:?} is no tag: O, a type (PER), or a scheme's letter with a type (B-PER) are")));
            }
        }
        Ok(())
    }
}

/// Where token and tag stand, told from all lines: numbered lines count each sentence from 1.
fn layout(blocks: &[Block]) -> Layout {
    let sentences = || blocks.iter().flat_map(|b| &b.sentences);
    let wide = |n: usize| sentences().flatten().all(|line| line.columns.len() >= n);
    if !wide(3) || !sentences().any(|s| s.len() > 1) || !sentences().all(|s| is_counted(s)) {
        return Layout::Plain;
    }
    if sentences().flatten().all(|line| line.columns.len() == 10) {
        return Layout::Universal;
    }
    let two = |line: &Line| line.columns[line.columns.len() - 2..].iter().all(|said| tag::is_of_a_scheme(said));
    if wide(4) && sentences().flatten().all(two) { Layout::Nested } else { Layout::Indexed }
}

/// Whether the first columns are 1, 2, 3, …, with CoNLL-U's ranges of words (`3-4`) and empty nodes (`5.1`) between them.
fn is_counted(sentence: &[Line]) -> bool {
    let mut n = 0usize;
    sentence.iter().all(|line| {
        let number = line.columns[0].as_str();
        if number.contains(['-', '.']) {
            return number.split(['-', '.']).all(|part| part.parse::<usize>().is_ok());
        }
        n += 1;
        number.parse() == Ok(n)
    })
}

/// A token and its line.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    /// Where it stands in the text.
    pub range: Range,
    /// Its line, of those of its sentence.
    pub row: usize,
}

/// The text that a document's tokens make, and where they stand in it: single spaces between them, line ends between sentences.
/// CoNLL-U says where no space stands; of several words in one token (`3-4`) the token counts.
pub(super) fn place(sentences: &[Vec<Line>], layout: Layout) -> (String, Vec<Vec<Placed>>) {
    let mut text = String::new();
    let mut at = 0;
    let mut out = Vec::with_capacity(sentences.len());
    for (s, sentence) in sentences.iter().enumerate() {
        if s > 0 {
            text.push('\n');
            at += 1;
        }
        let mut placed: Vec<Placed> = Vec::with_capacity(sentence.len());
        let (mut covered, mut glued) = (0usize, false);
        for (row, line) in sentence.iter().enumerate() {
            if layout == Layout::Universal {
                let number = line.columns[0].as_str();
                match number.split_once('-') {
                    Some((_, last)) => covered = last.parse().unwrap_or(0),
                    None if number.contains('.') || number.parse::<usize>().is_ok_and(|n| n <= covered) => continue,
                    None => {}
                }
            }
            if !placed.is_empty() && !glued {
                text.push(' ');
                at += 1;
            }
            let token = line.columns.get(layout.token()).map_or("", String::as_str);
            text.push_str(token);
            let n = token.chars().count();
            placed.push(Placed { range: [at, at + n], row });
            at += n;
            glued = layout == Layout::Universal && tells_spaces(line);
        }
        out.push(placed);
    }
    (text, out)
}

/// Whether a line of CoNLL-U says that no space follows.
pub(super) fn tells_spaces(line: &Line) -> bool {
    line.columns.last().is_some_and(|misc| misc.split('|').any(|item| item == "SpaceAfter=No"))
}

/// A line with another tag; everything else stays as it is.
pub(super) fn with_tag(line: &str, at: usize, tag: &str) -> String {
    let body = line.trim_end_matches(['\r', '\n']);
    let separator = if body.contains('\t') { '\t' } else { ' ' };
    let mut column = 0;
    let pieces = body.split(separator).map(|piece| {
        if separator == ' ' && piece.is_empty() {
            return piece;
        }
        column += 1;
        if column == at + 1 { tag } else { piece }
    });
    pieces.collect::<Vec<_>>().join(if separator == '\t' { "\t" } else { " " }) + &line[body.len()..]
}
