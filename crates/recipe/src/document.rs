//! A YAML document as a tree in which every key and value knows its line.
//!
//! Serde alone loses the place of a value as soon as it is stored; a recipe's errors must say `file:line: field`. So the text
//! is first read into [`Node`]s, checked and overridden there, and only then handed to serde as JSON. This module owns the
//! YAML parser library.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle, Span};

use crate::RecipeError;

/// Nested collections beyond this depth are refused instead of exhausting the stack.
const MAX_DEPTH: usize = 64;

/// More values than this after aliases are expanded are refused: a few nested anchors can stand for billions.
const MAX_NODES: usize = 100_000;

/// Where a key or value was written: a recipe file's line, or a `--set` argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// File name, or `--set key=value`.
    pub source: Arc<str>,
    /// One-based line; 0 when the source has no lines (an override).
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 { write!(f, "{}", self.source) } else { write!(f, "{}:{}", self.source, self.line) }
    }
}

/// A value with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What was written.
    pub value: Value,
    /// Where it begins.
    pub place: Place,
}

/// The YAML 1.2 core schema's values.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// `true`, `false` (also capitalised); `yes`/`no` are strings, as `eval_strategy: no` needs.
    Bool(bool),
    /// Decimal, `0x…`, `0o…`.
    Int(i64),
    /// With a point or an exponent: `2e-4` is a number here, unlike in PyYAML.
    Float(f64),
    /// Everything else.
    Str(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in its written order; keys are strings.
    Map(Vec<Entry>),
}

/// One `key: value` of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key as written.
    pub key: String,
    /// Where the key stands.
    pub place: Place,
    /// Its value.
    pub node: Node,
}

impl Node {
    /// Reads one YAML document. `source` names it in errors.
    pub fn parse(text: &str, source: &str) -> Result<Node, RecipeError> {
        let source: Arc<str> = source.into();
        let mut reader = Reader { parser: Parser::new_from_str(text), source, anchors: HashMap::new(), nodes: 0 };
        reader.document().map_err(|error| match error {
            // The parser has no words for it.
            RecipeError::Syntax { place, reason } if reason.starts_with(" (column") => {
                let line = text.lines().nth(place.line.saturating_sub(1)).unwrap_or_default();
                let tab = line.trim_start_matches([' ', '-']).starts_with('\t');
                let what = if tab { "a tab cannot indent in YAML: use spaces" } else { "this is no YAML" };
                RecipeError::Syntax { place, reason: format!("{what}{reason}") }
            }
            other => other,
        })
    }

    /// Whether a document says nothing: blank lines, comments and `---`.
    pub fn is_blank(text: &str) -> bool {
        text.trim_start_matches('\u{feff}').lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#') || line == "---")
    }

    /// This node and all below it.
    fn count(&self) -> usize {
        1 + match &self.value {
            Value::List(items) => items.iter().map(Node::count).sum(),
            Value::Map(entries) => entries.iter().map(|e| e.node.count()).sum(),
            _ => 0,
        }
    }

    /// The entries of a mapping; empty for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The value of `key` in a mapping.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|e| e.key == key).map(|e| &e.node)
    }

    /// Sets the value at a dotted path (`dataset.max_samples`), making mappings on the way; list elements are chosen by number.
    pub fn set(&mut self, path: &str, node: Node) -> Result<(), RecipeError> {
        let (head, rest) = match path.split_once('.') {
            Some((head, rest)) => (head, Some(rest)),
            None => (path, None),
        };
        let place = node.place.clone();
        if let Value::List(items) = &mut self.value {
            let len = items.len();
            let item = head.parse::<usize>().ok().and_then(|i| items.get_mut(i)).ok_or_else(|| RecipeError::Invalid {
                place: place.clone(),
                field: path.to_owned(),
                reason: format!("'{head}' does not number one of the list's {len} elements (the first is 0)"),
            })?;
            return match rest {
                Some(rest) => item.set(rest, node),
                None => {
                    *item = node;
                    Ok(())
                }
            };
        }
        if !matches!(self.value, Value::Map(_)) {
            self.value = Value::Map(Vec::new());
        }
        let Value::Map(entries) = &mut self.value else { return Ok(()) };
        let index = match entries.iter().position(|e| e.key == head) {
            Some(index) => index,
            None => {
                let node = Node { value: Value::Null, place: place.clone() };
                entries.push(Entry { key: head.to_owned(), place: place.clone(), node });
                entries.len() - 1
            }
        };
        let entry = &mut entries[index];
        match rest {
            Some(rest) => entry.node.set(rest, node),
            None => {
                entry.place = place;
                entry.node = node;
                Ok(())
            }
        }
    }

    /// The place of the value at a path such as `dataset.sources[0].where`, or of its nearest written parent.
    pub fn place_of(&self, path: &str) -> &Place {
        let mut node = self;
        let mut place = &self.place;
        for step in path.split(['.', '[', ']']).filter(|s| !s.is_empty()) {
            let next = match &node.value {
                Value::Map(entries) => entries.iter().find(|e| e.key == step).map(|e| (&e.node, &e.place)),
                Value::List(items) => step.parse::<usize>().ok().and_then(|i| items.get(i)).map(|n| (n, &n.place)),
                _ => None,
            };
            let Some((inner, at)) = next else { break };
            node = inner;
            place = at;
        }
        place
    }

    /// The same value as JSON, places dropped.
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as J;
        match &self.value {
            Value::Null => J::Null,
            Value::Bool(b) => J::Bool(*b),
            Value::Int(i) => J::from(*i),
            // JSON has no infinities; as text they give a readable type error at the field that refuses them.
            Value::Float(f) => serde_json::Number::from_f64(*f).map_or_else(|| J::String(f.to_string()), J::Number),
            Value::Str(s) => J::String(s.clone()),
            Value::List(items) => J::Array(items.iter().map(Node::to_json).collect()),
            Value::Map(entries) => J::Object(entries.iter().map(|e| (e.key.clone(), e.node.to_json())).collect()),
        }
    }
}

struct Reader<'t> {
    parser: Parser<'t, granit_parser::StrInput<'t>>,
    source: Arc<str>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl Reader<'_> {
    fn document(&mut self) -> Result<Node, RecipeError> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                event if root.is_none() => root = Some(self.node(event, span, 0)?),
                _ => return Err(self.syntax(&span, "a recipe is one YAML document; this file holds several")),
            }
        }
        root.ok_or_else(|| RecipeError::Syntax {
            place: Place { source: self.source.clone(), line: 1 },
            reason: "the file is empty; a recipe needs at least `model`, `dataset` and `task`".into(),
        })
    }

    fn next(&mut self) -> Result<(Event<'static>, Span), RecipeError> {
        match self.parser.next() {
            None => Ok((Event::StreamEnd, Span::default())),
            Some(Ok((event, span))) => Ok((owned(event), span)),
            Some(Err(e)) => {
                let place = Place { source: self.source.clone(), line: e.marker().line() };
                Err(RecipeError::Syntax { place, reason: format!("{} (column {})", e.info(), e.marker().col() + 1) })
            }
        }
    }

    fn place(&self, span: &Span) -> Place {
        Place { source: self.source.clone(), line: span.start.line() }
    }

    fn syntax(&self, span: &Span, reason: &str) -> RecipeError {
        RecipeError::Syntax { place: self.place(span), reason: reason.to_owned() }
    }

    fn node(&mut self, event: Event<'static>, span: Span, depth: usize) -> Result<Node, RecipeError> {
        if depth > MAX_DEPTH {
            return Err(self.syntax(&span, "the nesting is deeper than any recipe needs"));
        }
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(self.syntax(&span, "too many values (aliases expanded); no recipe needs that many"));
        }
        let place = self.place(&span);
        let anchor = event.anchor_id();
        let node = match event {
            Event::Scalar(text, style, _, tag) => {
                let forced_text = tag.as_deref().is_some_and(|t| t.is_yaml_core_schema_tag("str"));
                let plain = style == ScalarStyle::Plain && !forced_text;
                let value = if plain { resolve_plain(&text) } else { Value::Str(text.into_owned()) };
                Node { value, place }
            }
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if matches!(event, Event::SequenceEnd) {
                        break;
                    }
                    items.push(self.node(event, span, depth + 1)?);
                }
                Node { value: Value::List(items), place }
            }
            Event::MappingStart(..) => Node { value: Value::Map(self.entries(depth)?), place },
            Event::Alias(id) => match self.anchors.get(&id) {
                Some(node) => {
                    self.nodes += node.count();
                    node.clone()
                }
                None => return Err(self.syntax(&span, "this alias refers to an anchor that contains it")),
            },
            _ => return Err(self.syntax(&span, "a value was expected here")),
        };
        if let Some(id) = anchor {
            self.anchors.insert(id, node.clone());
        }
        Ok(node)
    }

    fn entries(&mut self, depth: usize) -> Result<Vec<Entry>, RecipeError> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Ok(entries),
                Event::Scalar(text, ..) => text.into_owned(),
                _ => return Err(self.syntax(&span, "a key must be plain text")),
            };
            let place = self.place(&span);
            if let Some(first) = entries.iter().find(|e| e.key == key) {
                let reason = format!("the key is already given in line {}", first.place.line);
                return Err(RecipeError::Invalid { place, field: key, reason });
            }
            let (event, span) = self.next()?;
            let node = self.node(event, span, depth + 1)?;
            entries.push(Entry { key, place, node });
        }
    }
}

/// Detaches an event from the parser's text, so that the reader can go on borrowing the parser.
fn owned(event: Event<'_>) -> Event<'static> {
    let own = |tag: Option<std::borrow::Cow<'_, granit_parser::Tag>>| tag.map(|t| std::borrow::Cow::Owned(t.into_owned()));
    match event {
        Event::Scalar(text, style, anchor, tag) => Event::Scalar(text.into_owned().into(), style, anchor, own(tag)),
        Event::SequenceStart(style, anchor, tag) => Event::SequenceStart(style, anchor, own(tag)),
        Event::MappingStart(style, anchor, tag) => Event::MappingStart(style, anchor, own(tag)),
        Event::SequenceEnd => Event::SequenceEnd,
        Event::MappingEnd => Event::MappingEnd,
        Event::Alias(id) => Event::Alias(id),
        Event::StreamStart => Event::StreamStart,
        Event::DocumentStart(explicit, version) => Event::DocumentStart(explicit, version),
        Event::DocumentEnd => Event::DocumentEnd,
        _ => Event::StreamEnd,
    }
}

/// YAML 1.2, 10.3.2: the core schema's resolution of plain scalars.
pub(crate) fn resolve_plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Value::Float(f64::NAN),
        ".inf" | "+.inf" | ".Inf" | ".INF" => return Value::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Value::Float(f64::NEG_INFINITY),
        _ => {}
    }
    if let Some(hex) = text.strip_prefix("0x")
        && let Ok(i) = i64::from_str_radix(hex, 16)
    {
        return Value::Int(i);
    }
    if let Some(octal) = text.strip_prefix("0o")
        && let Ok(i) = i64::from_str_radix(octal, 8)
    {
        return Value::Int(i);
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let numeric = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'))
        && digits.chars().any(|c| c.is_ascii_digit());
    if numeric {
        if let Ok(i) = text.parse::<i64>() {
            return Value::Int(i);
        }
        if let Ok(f) = text.parse::<f64>() {
            return Value::Float(f);
        }
    }
    Value::Str(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Node {
        Node::parse(text, "r.yaml").unwrap()
    }

    #[test]
    fn scalars_follow_the_core_schema() {
        let json = parse("{a: 2e-4, b: 0x10, c: no, d: '1', e: ~, f: True, g: -3, h: 1.5, i: 1.2.3, j: +7, k: .5, l: 0o17}").to_json();
        let want = serde_json::json!({"a": 2e-4, "b": 16, "c": "no", "d": "1", "e": null, "f": true, "g": -3, "h": 1.5, "i": "1.2.3", "j": 7, "k": 0.5, "l": 15});
        assert_eq!(json, want);
    }

    #[test]
    fn a_tab_is_called_by_its_name() {
        for text in ["a:\n\tb: 1\n", "a:\n  - b\n\t- c\n"] {
            let error = Node::parse(text, "r.yaml").unwrap_err().to_string();
            assert!(!error.contains(":  (") && !error.contains(": (column"), "{error}");
        }
        let error = Node::parse("labels: [a]\nrules:\n\t- {label: a}\n", "r.yaml").unwrap_err().to_string();
        assert!(error.contains("r.yaml:3") && error.contains("a tab cannot indent in YAML: use spaces"), "{error}");
        assert!(Node::is_blank("\u{feff}---\n# c\n\n") && !Node::is_blank("a: 1"));
    }

    #[test]
    fn every_key_knows_its_line() {
        let root = parse("# comment\nmodel: x\ndataset:\n  sources:\n    - source: a\n    - source: b\n      where: {s: 1}\n");
        assert_eq!(root.place_of("model").line, 2);
        assert_eq!(root.place_of("dataset.sources[1].where").line, 7);
        // Unknown steps fall back to the nearest parent that was written.
        assert_eq!(root.place_of("dataset.max_samples").line, 3);
    }

    #[test]
    fn anchors_repeat_their_value() {
        assert_eq!(parse("a: &x {p: 1}\nb: *x").to_json(), serde_json::json!({"a": {"p": 1}, "b": {"p": 1}}));
    }

    #[test]
    fn alias_bombs_are_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..9 {
            let one = format!("*a{}, ", i - 1);
            text += &format!("a{i}: &a{i} [{}]\n", one.repeat(10));
        }
        assert!(Node::parse(&text, "r.yaml").unwrap_err().to_string().contains("too many values"));
    }

    #[test]
    fn duplicate_keys_are_refused_with_both_lines() {
        let error = Node::parse("seed: 1\nlr: 2\nseed: 3\n", "r.yaml").unwrap_err().to_string();
        assert_eq!(error, "r.yaml:3: seed: the key is already given in line 1");
    }

    #[test]
    fn syntax_errors_say_where() {
        let error = Node::parse("a: [1, 2\nb: 3", "r.yaml").unwrap_err().to_string();
        assert!(error.starts_with("r.yaml:"), "{error}");
        assert!(Node::parse("", "r.yaml").unwrap_err().to_string().contains("empty"));
        assert!(Node::parse(&"[".repeat(500), "r.yaml").is_err());
    }

    #[test]
    fn dotted_paths_set_nested_values() {
        let mut root = parse("dataset: {max_samples: 1, sources: [{source: a}]}");
        for (path, value) in [("dataset.max_samples", "9"), ("dataset.sources.0.split", "test"), ("task.type", "text")] {
            root.set(path, parse(value)).unwrap();
        }
        let want =
            serde_json::json!({"dataset": {"max_samples": 9, "sources": [{"source": "a", "split": "test"}]}, "task": {"type": "text"}});
        assert_eq!(root.to_json(), want);
        assert!(root.set("dataset.sources.4.split", parse("x")).is_err());
    }
}
