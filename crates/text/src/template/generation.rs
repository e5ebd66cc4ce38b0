//! `{% generation %}…{% endgeneration %}`: which part of the text the assistant wrote.
//!
//! The tag is Hugging Face's own. It is rewritten into a filter block, `{% filter … %}…{% endfilter %}`, that puts two marks around its
//! text; after rendering the marks are taken out and their places noted. (Jinja's whitespace rules treat both tags alike, and the
//! rewriting stays on the tag's line, so text and line numbers in errors are the same.) The marks begin with a character that Unicode
//! reserves for such internal use, one that does not occur in the variables.

use std::ops::Range;

use minijinja::{Error, State, Value};
use serde_json::Map;

/// The filter's name in rewritten templates.
pub(super) const FILTER: &str = "__generation__";
/// The variable through which the filter learns its marks.
const VARIABLE: &str = "__generation_mark__";

/// Rewrites the tags; `None` if there is none.
pub(super) fn rewrite(source: &str) -> Option<String> {
    let mut out = String::with_capacity(source.len() + 64);
    let mut rest = source;
    let mut found = false;
    while let Some(at) = rest.find('{') {
        let (before, tail) = rest.split_at(at);
        out.push_str(before);
        let end = match tail.as_bytes().get(1) {
            Some(b'#') => tail.find("#}").map_or(tail.len(), |e| e + 2),
            Some(b'{') => tag_end(tail, "}}"),
            Some(b'%') => {
                let end = tag_end(tail, "%}");
                let name = tag_name(tail);
                match &tail[name.clone()] {
                    word @ ("generation" | "endgeneration") => {
                        found = true;
                        out.push_str(&tail[..name.start]);
                        if word == "generation" {
                            out.push_str("filter ");
                            out.push_str(FILTER);
                        } else {
                            out.push_str("endfilter");
                        }
                        rest = &tail[name.end..];
                        continue;
                    }
                    "raw" => raw_end(tail, end),
                    _ => end,
                }
            }
            _ => 1,
        };
        out.push_str(&tail[..end]);
        rest = &tail[end..];
    }
    out.push_str(rest);
    found.then_some(out)
}

/// Where the tag that begins `text` ends (behind `close`), strings inside it skipped.
fn tag_end(text: &str, close: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 2;
    let mut depth = 0usize;
    while at < bytes.len() {
        match bytes[at] {
            quote @ (b'"' | b'\'') => {
                at += 1;
                while at < bytes.len() && bytes[at] != quote {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
            }
            b'{' => depth += 1,
            // A dict's own brace before the tag's two.
            b'}' if depth > 0 => depth -= 1,
            _ if bytes[at..].starts_with(close.as_bytes()) => return at + close.len(),
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// The place of the first word in a block tag.
fn tag_name(tag: &str) -> Range<usize> {
    let body = &tag[2..];
    let trimmed = body.trim_start_matches(['-', '+']).trim_start();
    let start = tag.len() - trimmed.len();
    let len = trimmed.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(trimmed.len());
    start..start + len
}

/// Where a raw block ends: behind its `endraw` tag.
fn raw_end(text: &str, begin: usize) -> usize {
    let mut at = begin;
    while let Some(open) = text[at..].find("{%").map(|o| o + at) {
        let name = tag_name(&text[open..]);
        if &text[open..][name] == "endraw" {
            return open + tag_end(&text[open..], "%}");
        }
        at = open + 2;
    }
    text.len()
}

/// The filter: its text between two marks.
pub(super) fn mark(state: &State, value: &Value) -> Result<Value, Error> {
    let mark = state.lookup(VARIABLE).map(|m| m.to_string()).unwrap_or_default();
    let mut marks = mark.chars();
    let (open, close) = (marks.next().map(String::from).unwrap_or_default(), marks.next().map(String::from).unwrap_or_default());
    Ok(Value::from(format!("{open}{value}{close}")))
}

/// Two characters that occur nowhere in the variables.
pub(super) struct Marks {
    open: char,
    close: char,
}

impl Marks {
    /// Chooses the marks among Unicode's noncharacters U+FDD0..=U+FDEF.
    pub(super) fn absent_from(variables: &Map<String, serde_json::Value>) -> Self {
        let mut used = [false; 32];
        for value in variables.values() {
            note(value, &mut used);
        }
        let mut free = (0..32u32).filter(|&i| !used[i as usize]).filter_map(|i| char::from_u32(0xFDD0 + i));
        // Somebody whose messages hold 31 of 32 noncharacters gets wrong spans, never a wrong text length.
        Marks { open: free.next().unwrap_or('\u{FDD0}'), close: free.next().unwrap_or('\u{FDD1}') }
    }

    /// Tells the filter.
    pub(super) fn announce(&self, variables: &mut Map<String, serde_json::Value>) {
        variables.insert(VARIABLE.into(), String::from_iter([self.open, self.close]).into());
    }

    /// The text without marks, and what was between them: sorted, disjoint, none empty. Of nested blocks the outer one counts.
    pub(super) fn take_out(&self, marked: &str) -> (String, Vec<Range<usize>>) {
        let mut text = String::with_capacity(marked.len());
        let mut spans = Vec::new();
        let mut open: Vec<usize> = Vec::new();
        for c in marked.chars() {
            if c == self.open {
                open.push(text.len());
            } else if c == self.close {
                if let Some(start) = open.pop()
                    && open.is_empty()
                    && start < text.len()
                {
                    spans.push(start..text.len());
                }
            } else {
                text.push(c);
            }
        }
        (text, spans)
    }
}

/// Notes which noncharacters a value holds, keys included.
fn note(value: &serde_json::Value, used: &mut [bool; 32]) {
    let mut text = |s: &str| {
        for c in s.chars().filter(|c| ('\u{FDD0}'..='\u{FDEF}').contains(c)) {
            used[(c as usize) - 0xFDD0] = true;
        }
    };
    match value {
        serde_json::Value::String(s) => text(s),
        serde_json::Value::Array(list) => list.iter().for_each(|v| note(v, used)),
        serde_json::Value::Object(map) => {
            map.keys().for_each(|k| text(k));
            map.values().for_each(|v| note(v, used));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewrites_tags_and_nothing_else() {
        assert_eq!(rewrite("no tag {{ '{% generation %}' }} {# {% generation %} #} {% raw %}{% generation %}{% endraw %}"), None);
        assert_eq!(
            rewrite("a {%- generation -%}x{{ {'}}': {}} }}{%+ endgeneration %} b").as_deref(),
            Some("a {%- filter __generation__ -%}x{{ {'}}': {}} }}{%+ endfilter %} b")
        );
        assert_eq!(rewrite("{% set generation = 1 %}{{ generation }}"), None);
        assert_eq!(rewrite("{%"), None);
        assert_eq!(rewrite("{% 'unclosed"), None);
    }

    #[test]
    fn marks_avoid_what_the_messages_hold() {
        let variables = serde_json::json!({"messages": [{"content": "\u{FDD0}", "\u{FDD1}": 1}]});
        let marks = Marks::absent_from(variables.as_object().unwrap());
        assert_eq!((marks.open, marks.close), ('\u{FDD2}', '\u{FDD3}'));
        let (text, spans) = marks.take_out("a\u{FDD2}é\u{FDD0}\u{FDD3}b\u{FDD2}\u{FDD3}");
        assert_eq!(text, "aé\u{FDD0}b");
        assert_eq!((spans.len(), spans[0].clone()), (1, 1..6));
    }
}
