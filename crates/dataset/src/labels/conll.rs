//! CoNLL columns: a token a line with its tag last, a blank line between sentences, `-DOCSTART-` between documents.
//!
//! Schemes: IOB1 (`B-` only between two of a type), IOB2, IOE2 (`E-` at each end), BIOES and BILOU. Without `-DOCSTART-` each sentence
//! is a document. The text is the tokens joined by single spaces (sentences by line ends): what stood between them is not in the file,
//! which is counted. Tags are flat: spans that overlap, nest or are in parts are counted where they cannot be said.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::import::{Keys, ReadOptions};
use super::tokens::tokenize;
use super::{Body, Document, Format, Label, Losses, Native, Range, Statement, count_unsayable, native_of, slice};
use crate::error::BadRow;

/// How tags mark where spans begin and end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Inside; `B-` only where a span follows another of its type.
    Iob1,
    /// `B-` begins every span.
    Iob2,
    /// `E-` ends every span.
    Ioe2,
    /// `B- I- E-`, and `S-` alone.
    Bioes,
    /// `B- I- L-`, and `U-` alone.
    Bilou,
}

impl Scheme {
    /// All.
    pub const ALL: [Scheme; 5] = [Scheme::Iob1, Scheme::Iob2, Scheme::Ioe2, Scheme::Bioes, Scheme::Bilou];

    /// The name that a user types.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Iob1 => "iob1",
            Scheme::Iob2 => "iob2",
            Scheme::Ioe2 => "ioe2",
            Scheme::Bioes => "bioes",
            Scheme::Bilou => "bilou",
        }
    }

    /// The scheme of that name, under any of its names.
    pub fn of_name(name: &str) -> Option<Scheme> {
        match name.to_ascii_lowercase().as_str() {
            "bio" => Some(Scheme::Iob2),
            "iobes" => Some(Scheme::Bioes),
            name => Scheme::ALL.into_iter().find(|s| s.name() == name),
        }
    }
}

/// A document's lines before they are read.
#[derive(Debug, Clone, Default)]
pub struct Block {
    /// Line on which it starts, from 1.
    pub line: usize,
    /// The `-DOCSTART-` line, if it has one.
    pub start: Option<String>,
    /// Sentences of lines of columns.
    pub sentences: Vec<Vec<Vec<String>>>,
    /// Between the columns.
    pub tab: bool,
}

/// Cuts a file into documents.
///
/// # Errors
/// A line that has fewer columns than the others of its sentence.
pub fn blocks(text: &str, file: &str) -> Vec<Result<Block, BadRow>> {
    let documents = text.lines().any(|line| line.starts_with("-DOCSTART-"));
    let mut out: Vec<Result<Block, BadRow>> = Vec::new();
    let mut block: Option<Block> = None;
    let mut sentence: Vec<Vec<String>> = Vec::new();
    let mut bad: Option<BadRow> = None;
    let mut close = |block: &mut Option<Block>, bad: &mut Option<BadRow>| match (bad.take(), block.take()) {
        (Some(bad), _) => out.push(Err(bad)),
        (None, Some(block)) => out.push(Ok(block)),
        (None, None) => {}
    };
    for (i, line) in text.lines().enumerate() {
        let line = line.trim_end_matches('\r');
        let starts = line.starts_with("-DOCSTART-");
        if line.trim().is_empty() || starts {
            if !sentence.is_empty() {
                block.get_or_insert_with(|| Block { line: i, ..Block::default() }).sentences.push(std::mem::take(&mut sentence));
            }
            if starts || !documents {
                close(&mut block, &mut bad);
            }
            if starts {
                block = Some(Block { line: i + 1, start: Some(line.to_owned()), ..Block::default() });
            }
            continue;
        }
        let tab = line.contains('\t');
        let columns: Vec<String> =
            if tab { line.split('\t').map(str::to_owned).collect() } else { line.split_whitespace().map(str::to_owned).collect() };
        let open = block.get_or_insert_with(|| Block { line: i + 1, ..Block::default() });
        open.tab |= tab;
        let expected = sentence.first().or(open.sentences.first().and_then(|s| s.first())).map_or(columns.len().max(2), Vec::len);
        if columns.len() != expected && bad.is_none() {
            let reason = match columns.len() {
                1 => "a token without a tag".to_owned(),
                n => format!("{n} columns where the line before has {expected}"),
            };
            bad = Some(BadRow { file: file.to_owned(), line: i + 1, field: String::new(), reason });
        }
        sentence.push(columns);
    }
    if !sentence.is_empty() {
        block.get_or_insert_with(Block::default).sentences.push(sentence);
    }
    close(&mut block, &mut bad);
    out
}

/// The scheme that a file's tags follow, told from all of them.
pub fn detect<'a>(sentences: impl Iterator<Item = &'a [Vec<String>]>) -> Scheme {
    let mut letters = BTreeSet::new();
    // Evidence: a span that begins with I (no IOB2), one that does not end with E (no IOE2), a B that no span of its type precedes.
    let (mut starts_inside, mut free_begin) = (false, false);
    for sentence in sentences {
        let mut before: Option<(&str, &str)> = None;
        for row in sentence {
            let tag = split(row.last().map_or("O", String::as_str));
            if let Some((letter, kind)) = tag {
                letters.insert(letter);
                let follows = before.is_some_and(|(_, k)| k == kind);
                starts_inside |= letter == "I" && !follows;
                free_begin |= letter == "B" && !follows;
            }
            before = tag;
        }
    }
    if letters.contains("L") || letters.contains("U") {
        Scheme::Bilou
    } else if letters.contains("S") || letters.contains("E") && letters.contains("B") {
        Scheme::Bioes
    } else if letters.contains("E") {
        Scheme::Ioe2
    } else if starts_inside && !free_begin {
        Scheme::Iob1
    } else {
        Scheme::Iob2
    }
}

/// `B-PER` as (`B`, `PER`); `None` for `O`.
fn split(tag: &str) -> Option<(&str, &str)> {
    if tag == "O" || tag.is_empty() {
        return None;
    }
    match tag.split_once('-') {
        Some((letter, kind)) => Some((letter, kind)),
        // A bare `B` marks spans of a single type.
        None => Some((tag, "")),
    }
}

/// Spans of a sentence's tags as token ranges with types, and how many tags broke the scheme (they were read as `conlleval` does).
pub fn decode(tags: &[&str], scheme: Scheme) -> (Vec<(Range, String)>, usize) {
    let mut spans: Vec<(Range, String)> = Vec::new();
    let mut open: Option<(usize, &str)> = None;
    let mut broken = 0;
    for (i, tag) in tags.iter().chain([&"O"]).enumerate() {
        let now = split(tag);
        let before = i.checked_sub(1).and_then(|j| split(tags[j]));
        let continues = match (open, now) {
            (Some((_, kind)), Some((letter, k))) => {
                let ended = matches!(before.map(|b| b.0), Some("E" | "L" | "S" | "U"));
                kind == k && !ended && !matches!(letter, "B" | "S" | "U")
            }
            _ => false,
        };
        if continues {
            continue;
        }
        if let Some((start, kind)) = open.take() {
            spans.push(([start, i], kind.to_owned()));
            let last = before.map_or("", |b| b.0);
            broken += usize::from(match scheme {
                Scheme::Ioe2 => last != "E",
                Scheme::Bioes => !matches!(last, "E" | "S"),
                Scheme::Bilou => !matches!(last, "L" | "U"),
                Scheme::Iob1 | Scheme::Iob2 => false,
            });
        }
        if let Some((letter, kind)) = now {
            open = Some((i, kind));
            broken += usize::from(match scheme {
                Scheme::Iob1 => !(letter == "I" || letter == "B" && before.is_some_and(|(_, k)| k == kind)),
                Scheme::Iob2 => letter != "B",
                Scheme::Ioe2 => !matches!(letter, "I" | "E"),
                Scheme::Bioes => !matches!(letter, "B" | "S"),
                Scheme::Bilou => !matches!(letter, "B" | "U"),
            });
        }
    }
    (spans, broken)
}

/// Tags of a sentence of `n` tokens; spans are token ranges in order that do not overlap.
pub fn encode(n: usize, spans: &[(Range, String)], scheme: Scheme) -> Vec<String> {
    let mut tags = vec!["O".to_owned(); n];
    for (s, ([start, end], kind)) in spans.iter().enumerate() {
        for i in *start..*end {
            let (first, last) = (i == *start, i + 1 == *end);
            // Two spans of a type side by side would melt into one.
            let touches_before = s > 0 && spans[s - 1].0[1] == *start && spans[s - 1].1 == *kind;
            let letter = match scheme {
                Scheme::Iob1 => {
                    if first && touches_before {
                        "B"
                    } else {
                        "I"
                    }
                }
                Scheme::Iob2 => {
                    if first {
                        "B"
                    } else {
                        "I"
                    }
                }
                Scheme::Ioe2 => {
                    if last {
                        "E"
                    } else {
                        "I"
                    }
                }
                Scheme::Bioes => match (first, last) {
                    (true, true) => "S",
                    (true, false) => "B",
                    (false, true) => "E",
                    (false, false) => "I",
                },
                Scheme::Bilou => match (first, last) {
                    (true, true) => "U",
                    (true, false) => "B",
                    (false, true) => "L",
                    (false, false) => "I",
                },
            };
            tags[i] = if kind.is_empty() { letter.to_owned() } else { format!("{letter}-{kind}") };
        }
    }
    tags
}

/// The document that a block is.
pub fn document(block: Block, scheme: Scheme, options: &ReadOptions, keys: &mut Keys, losses: &mut Losses) -> Document {
    let mut text = String::new();
    let mut at = 0;
    let mut labels = Vec::new();
    let mut said = false;
    for (s, sentence) in block.sentences.iter().enumerate() {
        if s > 0 {
            text.push('\n');
            at += 1;
        }
        let mut tokens: Vec<Range> = Vec::with_capacity(sentence.len());
        for (i, row) in sentence.iter().enumerate() {
            if i > 0 {
                text.push(' ');
                at += 1;
            }
            let token = row.first().map_or("", String::as_str);
            text.push_str(token);
            let n = token.chars().count();
            tokens.push([at, at + n]);
            at += n;
        }
        let tags: Vec<&str> = sentence.iter().map(|row| if row.len() > 1 { row[row.len() - 1].as_str() } else { "O" }).collect();
        said |= sentence.iter().any(|row| row.len() > 1);
        let (spans, broken) = decode(&tags, scheme);
        losses.add("tags", broken, format!("they break {}: read as conlleval does", scheme.name()));
        for ([start, end], kind) in spans {
            labels.push(Label::new(Body::span(kind, tokens[start][0], tokens[end - 1][1])));
        }
    }
    losses.add("white space", 1, "what stood between tokens is not in the file: single spaces stand there");
    let mut fields = Map::new();
    if let Some(start) = &block.start {
        fields.insert("start".into(), start.as_str().into());
    }
    if block.tab {
        fields.insert("tab".into(), true.into());
    }
    // Columns between token and tag, and tokens that hold spaces, cannot be told from the text.
    let wide = block.sentences.iter().flatten().any(|row| row.len() > 2 || row[0].contains(char::is_whitespace));
    if wide {
        let columns: Vec<Value> =
            block.sentences.iter().map(|s| s.iter().map(|row| Value::from(row[..row.len().max(2) - 1].to_vec())).collect()).collect();
        fields.insert("columns".into(), columns.into());
    }
    let mut statements = Vec::new();
    if said {
        let mut statement = options.statement(labels);
        statement.place = Some(block.line as u64);
        fields.insert("scheme".into(), scheme.name().into());
        statements.push(statement);
    }
    let native = Native::new(Format::Conll, fields);
    Document { row: keys.key(None, block.line), text, native, statements, ..Document::default() }
}

/// How the documents of a file are laid out: they must agree, or the file cannot be read again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shape {
    /// What was seen: columns a line, `-DOCSTART-` lines, tabs.
    first: Option<(usize, bool, bool)>,
    /// They differ, or a document has not one sentence and no line to begin it.
    mixed: bool,
}

impl Shape {
    /// Takes in a document.
    pub fn see(&mut self, document: &Document) {
        let native = native_of(&document.native, Format::Conll);
        let start = native.is_some_and(|n| n.contains_key("start"));
        let (columns, sentences) = match native {
            Some(native) => {
                let tokens = own_tokens(&document.text, native.get("columns"));
                (tokens.iter().flatten().map(|(_, columns)| columns.len()).max().unwrap_or(1), tokens.len())
            }
            None => (1, cut(&document.text, &[], &mut Losses::default()).len()),
        };
        let shape = (columns, start, native.is_none_or(|n| n.contains_key("tab")));
        self.mixed |= *self.first.get_or_insert(shape) != shape || (!start && sentences != 1);
    }
}

/// The lines of a document.
pub fn write(document: &Document, current: Option<&Statement>, scheme: Option<Scheme>, shape: Shape, losses: &mut Losses) -> String {
    let native = native_of(&document.native, Format::Conll);
    let own = native.and_then(|n| n.get("scheme")).and_then(Value::as_str).and_then(Scheme::of_name);
    // One file has one scheme, too.
    let scheme = scheme.or(own.filter(|_| !shape.mixed)).unwrap_or(Scheme::Iob2);
    let tab = shape.mixed || native.is_none_or(|n| n.contains_key("tab"));
    let spans = current.map_or_else(Vec::new, |statement| flat(statement, losses));
    let mut sentences = match native {
        Some(native) => own_tokens(&document.text, native.get("columns")),
        None => cut(&document.text, &spans, losses),
    };
    let mut out = String::new();
    if shape.mixed {
        out.push_str("-DOCSTART-\tO\n\n");
        let further = sentences.iter().flatten().map(|(_, columns)| columns.len().saturating_sub(1)).sum();
        losses.add("columns", further, "documents of several sources lie in the file: they share token and tag alone");
        sentences.iter_mut().flatten().for_each(|(_, columns)| columns.truncate(1));
    } else if let Some(start) = native.and_then(|n| n.get("start")).and_then(Value::as_str) {
        out.push_str(start);
        out.push_str("\n\n");
    }
    let mut spans = spans.into_iter().peekable();
    for sentence in &sentences {
        let mut chosen: Vec<(Range, String)> = Vec::new();
        while let Some((range, _)) = spans.peek() {
            if sentence.last().is_none_or(|(last, _)| range[0] >= last[1]) {
                break;
            }
            let Some((range, kind)) = spans.next() else { break };
            let first = sentence.iter().position(|(token, _)| token[1] > range[0]);
            let last = sentence.iter().rposition(|(token, _)| token[0] < range[1]);
            match (first, last) {
                (Some(first), Some(last)) if first <= last && sentence.last().is_some_and(|(token, _)| range[1] <= token[1]) => {
                    if sentence[first].0[0] != range[0] || sentence[last].0[1] != range[1] {
                        losses.add("borders of spans", 1, "they lie inside a token: the whole token is tagged");
                    }
                    // A token has one tag.
                    if chosen.last().is_some_and(|(before, _)| before[1] > first) {
                        losses.add("spans", 1, "flat tags cannot say overlapping or nested spans");
                    } else {
                        chosen.push(([first, last + 1], kind));
                    }
                }
                _ => losses.add("spans", 1, "they run over the end of a sentence"),
            }
        }
        let tags = encode(sentence.len(), &chosen, scheme);
        for ((_, columns), tag) in sentence.iter().zip(tags) {
            out.push_str(&columns.join(if tab { "\t" } else { " " }));
            out.push(if tab { '\t' } else { ' ' });
            out.push_str(&tag);
            out.push('\n');
        }
        out.push('\n');
    }
    losses.add("spans", spans.count(), "they lie where no token is");
    out
}

/// Spans in order without those that flat tags cannot say.
fn flat(statement: &Statement, losses: &mut Losses) -> Vec<(Range, String)> {
    count_unsayable(losses, statement, Format::Conll, &["spans"]);
    let mut spans: Vec<(Range, String)> = Vec::new();
    for label in &statement.labels {
        let Some((kind, ranges)) = label.span() else { continue };
        match ranges {
            [range] => spans.push((*range, kind.to_owned())),
            _ => losses.add("spans", 1, "flat tags cannot say spans in parts"),
        }
    }
    // The longer of two that overlap is kept, as the outer one of nested spans.
    spans.sort_by_key(|([start, end], _)| (*start, std::cmp::Reverse(*end)));
    let before = spans.len();
    let mut reach = 0;
    spans.retain(|([start, end], _)| {
        let free = *start >= reach;
        if free {
            reach = *end;
        }
        free
    });
    losses.add("spans", before - spans.len(), "flat tags cannot say overlapping or nested spans");
    spans
}

type Token = (Range, Vec<String>);

/// The tokens of a file of ours: separated by single spaces and line ends, or as the kept columns say.
fn own_tokens(text: &str, columns: Option<&Value>) -> Vec<Vec<Token>> {
    let mut at = 0;
    if let Some(sentences) = columns.and_then(Value::as_array) {
        return sentences
            .iter()
            .map(|sentence| {
                sentence
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|row| {
                        let columns: Vec<String> =
                            row.as_array().into_iter().flatten().filter_map(|c| c.as_str().map(str::to_owned)).collect();
                        let n = columns.first().map_or(0, |token| token.chars().count());
                        let range = [at, at + n];
                        at += n + 1;
                        (range, columns)
                    })
                    .collect()
            })
            .collect();
    }
    let tokens = |line: &str, at: &mut usize| {
        line.split(' ')
            .map(|token| {
                let start = *at;
                *at += token.chars().count() + 1;
                ([start, *at - 1], vec![token.to_owned()])
            })
            .collect()
    };
    text.split('\n').map(|line| tokens(line, &mut at)).collect()
}

/// Tokens for a text that has none: sentences are lines, spans cut tokens.
fn cut(text: &str, spans: &[(Range, String)], losses: &mut Losses) -> Vec<Vec<Token>> {
    let cuts: BTreeSet<usize> = spans.iter().flat_map(|(range, _)| *range).collect();
    let mut sentences: Vec<Vec<Token>> = vec![Vec::new()];
    let tokens = tokenize(text, &cuts);
    let mut chars = text.chars().enumerate().peekable();
    let mut exact = true;
    for (i, &[start, end]) in tokens.iter().enumerate() {
        let mut gap = String::new();
        while let Some((_, c)) = chars.next_if(|(at, _)| *at < start) {
            gap.push(c);
        }
        while chars.next_if(|(at, _)| *at < end).is_some() {}
        if gap.contains('\n') && i > 0 {
            sentences.push(Vec::new());
        }
        exact &= i == 0 && gap.is_empty() || i > 0 && (gap == " " || gap == "\n");
        if let (Some(sentence), Some(token)) = (sentences.last_mut(), slice(text, start, end)) {
            sentence.push(([start, end], vec![token.to_owned()]));
        }
    }
    if !exact {
        losses.add("white space", 1, "tokens are written without what stood between them");
    }
    sentences.retain(|s| !s.is_empty());
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_scheme_says_the_same_spans() {
        let spans = vec![([0, 1], "A".to_owned()), ([1, 3], "A".to_owned()), ([4, 7], "B".to_owned())];
        let expected = [
            (Scheme::Iob1, "I-A B-A I-A O I-B I-B I-B"),
            (Scheme::Iob2, "B-A B-A I-A O B-B I-B I-B"),
            (Scheme::Ioe2, "E-A I-A E-A O I-B I-B E-B"),
            (Scheme::Bioes, "S-A B-A E-A O B-B I-B E-B"),
            (Scheme::Bilou, "U-A B-A L-A O B-B I-B L-B"),
        ];
        for (scheme, tags) in expected {
            assert_eq!(encode(7, &spans, scheme).join(" "), tags);
            let tags: Vec<&str> = tags.split(' ').collect();
            assert_eq!(decode(&tags, scheme), (spans.clone(), 0), "{}", scheme.name());
        }
    }

    #[test]
    fn broken_tags_are_read_and_counted() {
        assert_eq!(decode(&["I-A", "O", "B-B"], Scheme::Iob2), (vec![([0, 1], "A".into()), ([2, 3], "B".into())], 1));
        assert_eq!(decode(&["B-A", "I-B"], Scheme::Iob2).1, 1);
    }

    proptest! {
        #[test]
        fn tags_come_back(parts in prop::collection::vec((1usize..4, 0usize..3), 1..8)) {
            let (mut at, mut spans) = (0, Vec::new());
            for (len, kind) in parts {
                if kind < 2 {
                    spans.push(([at, at + len], ["A", "B"][kind].to_owned()));
                }
                at += len;
            }
            for scheme in Scheme::ALL {
                let tags = encode(at, &spans, scheme);
                let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
                prop_assert_eq!(decode(&tags, scheme), (spans.clone(), 0));
            }
        }
    }
}
