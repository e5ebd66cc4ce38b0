//! CoNLL columns: a token a line with its tag last, a blank line between sentences, `-DOCSTART-` between documents.
//!
//! Schemes: IO (types alone), IOB1 (`B-` only between two of a type), IOB2, IOE2 (`E-` at each end), BIOES and BILOU. Without
//! `-DOCSTART-` each sentence is a document. The text is the tokens joined by single spaces (sentences by line ends): what stood between
//! them is not in the file, which is counted. Tags are flat: spans that overlap, nest or are in parts are counted where they cannot be
//! said. Where our own way of writing is not the file's, its lines are kept: only tags that changed are written anew.

mod lines;
mod tag;

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::import::{Keys, ReadOptions};
use super::tokens::tokenize;
use super::{Body, Document, Format, Label, Losses, Native, Range, Statement, count_unsayable, native_of, slice};
pub use lines::{Block, Layout, Line, blocks};
use tag::UNTYPED;

/// How tags mark where spans begin and end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// The type alone: spans of a type that touch are one.
    Io,
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
    pub const ALL: [Scheme; 6] = [Scheme::Io, Scheme::Iob1, Scheme::Iob2, Scheme::Ioe2, Scheme::Bioes, Scheme::Bilou];

    /// The name that a user types.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Io => "io",
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

/// The scheme that a file's tags follow, told from all of them.
pub fn detect<'a>(blocks: impl Iterator<Item = &'a Block>) -> Scheme {
    let mut letters = BTreeSet::new();
    let mut bare = false;
    // Evidence: a span that begins with I (no IOB2), one that does not end with E (no IOE2), a B that no span of its type precedes.
    let (mut starts_inside, mut free_begin) = (false, false);
    for block in blocks {
        for sentence in &block.sentences {
            let mut before: Option<tag::Mark> = None;
            for said in tags(sentence, block.layout) {
                let mark = split(said);
                if let Some((letter, kind)) = mark {
                    bare |= letter.is_none();
                    letters.extend(letter);
                    let follows = before.is_some_and(|(_, k)| k == kind);
                    starts_inside |= letter == Some('I') && !follows;
                    free_begin |= letter == Some('B') && !follows;
                }
                before = mark;
            }
        }
    }
    if bare && letters.is_empty() {
        Scheme::Io
    } else if letters.contains(&'L') || letters.contains(&'U') {
        Scheme::Bilou
    } else if letters.contains(&'S') || letters.contains(&'E') && letters.contains(&'B') {
        Scheme::Bioes
    } else if letters.contains(&'E') {
        Scheme::Ioe2
    } else if starts_inside && !free_begin {
        Scheme::Iob1
    } else {
        Scheme::Iob2
    }
}

/// The tags of a sentence's lines.
fn tags(sentence: &[Line], layout: Layout) -> Vec<&str> {
    sentence.iter().map(|line| layout.tag(line.columns.len()).map_or("O", |at| line.columns[at].as_str())).collect()
}

/// A tag's letter and type; what is no tag marks nothing (a file with such a line is not read).
fn split(said: &str) -> Option<tag::Mark<'_>> {
    tag::parse(said).ok().flatten()
}

/// Spans of a sentence's tags as token ranges with types, and how many tags broke the scheme (they were read as `conlleval` does).
pub fn decode(tags: &[&str], scheme: Scheme) -> (Vec<(Range, String)>, usize) {
    let mut spans: Vec<(Range, String)> = Vec::new();
    let mut open: Option<(usize, &str)> = None;
    let mut broken = 0;
    for (i, said) in tags.iter().chain([&"O"]).enumerate() {
        let now = split(said);
        let before = i.checked_sub(1).and_then(|j| split(tags[j]));
        let continues = match (open, now) {
            (Some((_, kind)), Some((letter, k))) => {
                let ended = matches!(before.and_then(|b| b.0), Some('E' | 'L' | 'S' | 'U'));
                kind == k && !ended && !matches!(letter, Some('B' | 'S' | 'U'))
            }
            _ => false,
        };
        if continues {
            continue;
        }
        if let Some((start, kind)) = open.take() {
            spans.push(([start, i], kind.to_owned()));
            let last = before.and_then(|b| b.0);
            broken += usize::from(match scheme {
                Scheme::Ioe2 => last != Some('E'),
                Scheme::Bioes => !matches!(last, Some('E' | 'S')),
                Scheme::Bilou => !matches!(last, Some('L' | 'U')),
                Scheme::Io | Scheme::Iob1 | Scheme::Iob2 => false,
            });
        }
        if let Some((letter, kind)) = now {
            open = Some((i, kind));
            broken += usize::from(match scheme {
                Scheme::Io => false,
                Scheme::Iob1 => !(letter == Some('I') || letter == Some('B') && before.is_some_and(|(_, k)| k == kind)),
                Scheme::Iob2 => letter != Some('B'),
                Scheme::Ioe2 => !matches!(letter, Some('I' | 'E')),
                Scheme::Bioes => !matches!(letter, Some('B' | 'S')),
                Scheme::Bilou => !matches!(letter, Some('B' | 'U')),
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
                // A type that would be read as a letter with another type has to have a letter of its own.
                Scheme::Io if split(kind) == Some((None, kind)) => {
                    tags[i].clone_from(kind);
                    continue;
                }
                Scheme::Io => "I",
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
    let layout = block.layout;
    let (text, placed) = lines::place(&block.sentences, layout);
    let mut labels = Vec::new();
    let mut said = false;
    for (sentence, placed) in block.sentences.iter().zip(&placed) {
        let tags = tags(sentence, layout);
        said |= sentence.iter().any(|line| layout.tag(line.columns.len()).is_some());
        let (spans, broken) = decode(&tags, scheme);
        losses.add("tags", broken, format!("they break {}: read as conlleval does", scheme.name()));
        let untyped = spans.iter().filter(|([start, _], _)| tag::is_untyped(tags[*start])).count();
        losses.add("types", untyped, format!("tags that name none (`B`, `B-`): their spans are called {UNTYPED:?}"));
        // Only CoNLL-U has fewer tokens than lines, and it has no tags.
        for ([start, end], kind) in spans.into_iter().filter(|([_, end], _)| *end <= placed.len()) {
            labels.push(Label::new(Body::span(kind, placed[start].range[0], placed[end - 1].range[1])));
        }
        if layout == Layout::Nested {
            let inner: Vec<&str> = sentence.iter().filter_map(|line| line.columns.last().map(String::as_str)).collect();
            losses.add(
                "spans",
                decode(&inner, scheme).0.len(),
                "the second column of tags, of nested spans, is not read; its lines are kept",
            );
        }
    }
    let spaced = layout == Layout::Universal && block.sentences.iter().flatten().any(lines::tells_spaces);
    losses.add("white space", usize::from(!spaced), "what stood between tokens is not in the file: single spaces stand there");
    if layout == Layout::Universal {
        losses.add("columns", 1, "CoNLL-U has none of spans: its texts alone are read, its lines are kept");
    }
    let mut fields = Map::new();
    if let Some(start) = &block.start {
        fields.insert("start".into(), start.as_str().into());
    }
    if block.tab {
        fields.insert("tab".into(), true.into());
    }
    let mut statements = Vec::new();
    if said {
        let mut statement = options.statement(labels);
        statement.place = Some(block.line as u64);
        fields.insert("scheme".into(), scheme.name().into());
        statements.push(statement);
    }
    let mut document = Document { row: keys.key(None, block.line), text, statements, ..Document::default() };
    let mut ours = fields.clone();
    // Columns between token and tag, and tokens that hold spaces, cannot be told from the text.
    let wide = block.sentences.iter().flatten().any(|line| line.columns.len() > 2 || line.columns[0].contains(char::is_whitespace));
    if wide {
        let width = |line: &Line| line.columns.len().max(2) - 1;
        let columns: Vec<Value> =
            block.sentences.iter().map(|s| s.iter().map(|line| Value::from(line.columns[..width(line)].to_vec())).collect()).collect();
        ours.insert("columns".into(), columns.into());
    }
    document.native = Native::new(Format::Conll, ours);
    let written = write(&document, document.statements.first(), None, Shape::default(), &mut Losses::default());
    if layout != Layout::Plain || written != block.raw {
        fields.insert("raw".into(), block.raw.into());
        if !block.comments.is_empty() {
            fields.insert("comments".into(), block.comments.into());
        }
        if layout != Layout::Plain {
            fields.insert("layout".into(), layout.name().into());
        }
        document.native = Native::new(Format::Conll, fields);
    }
    document
}

/// The lines that a document was read from, where they were kept.
struct Kept<'a> {
    raw: &'a str,
    layout: Layout,
    sentences: Vec<Vec<Line>>,
    placed: Vec<Vec<lines::Placed>>,
}

impl<'a> Kept<'a> {
    /// `None` if none were, or the document has another text now.
    fn of(document: &'a Document) -> Option<Kept<'a>> {
        let native = native_of(&document.native, Format::Conll)?;
        let raw = native.get("raw")?.as_str()?;
        let comments = native.get("comments").and_then(Value::as_array).into_iter().flatten();
        let comments: BTreeSet<usize> = comments.filter_map(|at| usize::try_from(at.as_u64()?).ok()).collect();
        let layout = native.get("layout").and_then(Value::as_str).and_then(Layout::of_name).unwrap_or_default();
        let sentences = lines::sentences(raw, &comments);
        let (text, placed) = lines::place(&sentences, layout);
        (text == document.text).then_some(Kept { raw, layout, sentences, placed })
    }

    /// The tokens of each sentence.
    fn tokens(&self) -> Vec<Vec<Token>> {
        let token = |s: usize, p: &lines::Placed| {
            let line = &self.sentences[s][p.row];
            (p.range, vec![line.columns.get(self.layout.token()).cloned().unwrap_or_default()])
        };
        self.placed.iter().enumerate().map(|(s, placed)| placed.iter().map(|p| token(s, p)).collect()).collect()
    }

    /// The spans that its tags say.
    fn spans(&self, scheme: Scheme) -> Vec<(Range, String)> {
        let of = |(sentence, placed): (&Vec<Line>, &Vec<lines::Placed>)| {
            let spans = decode(&tags(sentence, self.layout), scheme).0.into_iter();
            spans.map(|([start, end], kind)| ([placed[start].range[0], placed[end - 1].range[1]], kind)).collect::<Vec<_>>()
        };
        if self.layout == Layout::Universal { Vec::new() } else { self.sentences.iter().zip(&self.placed).flat_map(of).collect() }
    }

    /// The lines with the tags of these spans: a sentence that says the same spans in the same scheme keeps its own.
    fn write(&self, spans: Vec<(Range, String)>, own: Option<Scheme>, scheme: Scheme, losses: &mut Losses) -> String {
        if self.layout == Layout::Universal {
            losses.add("spans", spans.len(), "CoNLL-U has no column of tags: its lines are written as they were");
            return self.raw.to_owned();
        }
        if own == Some(scheme) && spans == self.spans(scheme) {
            return self.raw.to_owned();
        }
        let tab = self.raw.contains('\t');
        let mut changed: std::collections::BTreeMap<usize, (usize, String)> = std::collections::BTreeMap::new();
        let mut spans = spans.into_iter().peekable();
        for (sentence, tokens) in self.sentences.iter().zip(self.tokens()) {
            let chosen = choose(&mut spans, &tokens, tab, losses);
            let own_tags = tags(sentence, self.layout);
            if own == Some(scheme) && decode(&own_tags, scheme).0 == chosen {
                continue;
            }
            count_touching(&chosen, scheme, losses);
            for (line, said) in sentence.iter().zip(encode(sentence.len(), &chosen, scheme)) {
                if let Some(at) = self.layout.tag(line.columns.len()) {
                    changed.insert(line.at, (at, said));
                }
            }
        }
        losses.add("spans", spans.count(), "they lie where no token is");
        let line = |(i, line): (usize, &str)| match changed.get(&i) {
            Some((at, said)) => lines::with_tag(line, *at, said),
            None => line.to_owned(),
        };
        self.raw.split_inclusive('\n').enumerate().map(line).collect()
    }
}

/// How the documents of a file are laid out: they must agree, or the file cannot be read again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shape {
    /// What was seen: columns a line, `-DOCSTART-` lines, tabs.
    first: Option<(usize, bool, bool, Layout)>,
    /// They differ, or a document has not one sentence and no line to begin it.
    mixed: bool,
}

impl Shape {
    /// Takes in a document.
    pub fn see(&mut self, document: &Document) {
        let native = native_of(&document.native, Format::Conll);
        let start = native.is_some_and(|n| n.contains_key("start"));
        let kept = Kept::of(document);
        let layout = kept.as_ref().map_or(Layout::Plain, |kept| kept.layout);
        let (columns, sentences) = match native {
            _ if kept.is_some() => {
                let sentences = kept.map_or_else(Vec::new, |kept| kept.sentences);
                // As below: columns before the tag.
                let before = |line: &Line| line.columns.len().max(2) - 1;
                (sentences.iter().flatten().map(before).max().unwrap_or(1), sentences.len())
            }
            Some(native) => {
                let tokens = own_tokens(&document.text, native.get("columns"));
                (tokens.iter().flatten().map(|(_, columns)| columns.len()).max().unwrap_or(1), tokens.len())
            }
            None => (1, cut(&document.text, &[], &mut Losses::default()).len()),
        };
        let shape = (columns, start, native.is_none_or(|n| n.contains_key("tab")), layout);
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
    let kept = Kept::of(document);
    if let (Some(kept), false) = (&kept, shape.mixed) {
        return kept.write(spans, own, scheme, losses);
    }
    let mut sentences = match (native, &kept) {
        (_, Some(kept)) => kept.tokens(),
        (Some(native), None) => own_tokens(&document.text, native.get("columns")),
        (None, None) => cut(&document.text, &spans, losses),
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
        let chosen = choose(&mut spans, sentence, tab, losses);
        count_touching(&chosen, scheme, losses);
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

/// What is missing behind these lines before another document can follow: the last of a file may lack its line ends.
pub(super) fn gap(lines: &str) -> &'static str {
    let windows = lines.contains("\r\n");
    match (lines.lines().next_back().is_none_or(|last| last.trim().is_empty()), lines.ends_with('\n')) {
        (true, _) => "",
        (false, true) => ["\n", "\r\n"][usize::from(windows)],
        (false, false) => ["\n\n", "\r\n\r\n"][usize::from(windows)],
    }
}

/// Takes the spans of a sentence: as tokens, with types that a tag can hold.
fn choose(
    spans: &mut std::iter::Peekable<impl Iterator<Item = (Range, String)>>,
    sentence: &[Token],
    tab: bool,
    losses: &mut Losses,
) -> Vec<(Range, String)> {
    let mut chosen: Vec<(Range, String)> = Vec::new();
    while let Some((range, _)) = spans.peek() {
        if sentence.last().is_none_or(|(last, _)| range[0] >= last[1]) {
            break;
        }
        let Some((range, kind)) = spans.next() else { break };
        // Tokens stand in their order.
        let first = sentence.partition_point(|(token, _)| token[1] <= range[0]);
        let last = sentence.partition_point(|(token, _)| token[0] < range[1]).checked_sub(1);
        match last {
            Some(last) if first <= last && sentence.last().is_some_and(|(token, _)| range[1] <= token[1]) => {
                if sentence[first].0[0] != range[0] || sentence[last].0[1] != range[1] {
                    losses.add("borders of spans", 1, "they lie inside a token: the whole token is tagged");
                }
                // A token has one tag.
                if chosen.last().is_some_and(|(before, _)| before[1] > first) {
                    losses.add("spans", 1, "flat tags cannot say overlapping or nested spans");
                } else {
                    chosen.push(([first, last + 1], type_of_tag(kind, tab, losses)));
                }
            }
            _ => losses.add("spans", 1, "they run over the end of a sentence"),
        }
    }
    chosen
}

/// A span's type as a tag can say it: not empty, and without what separates columns.
fn type_of_tag(kind: String, tab: bool, losses: &mut Losses) -> String {
    let parts = |c: char| matches!(c, '\t' | '\n' | '\r') || !tab && c == ' ';
    if kind.is_empty() {
        losses.add("types", 1, format!("spans without one are called {UNTYPED:?}"));
        return UNTYPED.to_owned();
    }
    if kind.contains(parts) {
        losses.add("types", 1, "they hold what separates columns: `_` stands for it");
        return kind.replace(parts, "_");
    }
    kind
}

/// Spans of a type side by side are one in IO.
fn count_touching(spans: &[(Range, String)], scheme: Scheme, losses: &mut Losses) {
    if scheme == Scheme::Io {
        let touching = spans.windows(2).filter(|pair| pair[0].0[1] == pair[1].0[0] && pair[0].1 == pair[1].1).count();
        losses.add("borders of spans", touching, "io cannot part two spans of a type that touch: they become one");
    }
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

    #[test]
    fn types_alone_are_spans_as_far_as_they_reach() {
        let spans = vec![([0, 2], "PER".to_owned()), ([2, 3], "ORG".to_owned()), ([4, 5], "e-mail".to_owned())];
        assert_eq!(decode(&["PER", "PER", "ORG", "o", "e-mail"], Scheme::Io), (spans.clone(), 0));
        assert_eq!(encode(5, &spans, Scheme::Io), ["PER", "PER", "ORG", "O", "e-mail"]);
        let odd = vec![([0, 1], "B-1".to_owned())];
        let tags = encode(1, &odd, Scheme::Io);
        assert_eq!(decode(&[&tags[0]], Scheme::Io), (odd, 0), "{tags:?}");
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
            for scheme in Scheme::ALL.into_iter().filter(|s| *s != Scheme::Io) {
                let tags = encode(at, &spans, scheme);
                let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
                prop_assert_eq!(decode(&tags, scheme), (spans.clone(), 0));
            }
        }
    }
}
