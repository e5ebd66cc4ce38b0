//! JSON documents and JSON lines.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;

use super::decode::not_utf8;
use super::{Opened, Row, RowError};
use crate::error::Error;

type BoxedRows = Box<dyn Iterator<Item = Result<Row, RowError>> + Send>;

/// One JSON object a line; blank lines are skipped. `lines_before` counts lines already taken from the input.
pub(super) fn lines(opened: Opened, lines_before: usize) -> impl Iterator<Item = Result<Row, RowError>> + Send {
    JsonLines { opened, line: lines_before, buffer: Vec::new(), over: false }
}

struct JsonLines {
    opened: Opened,
    line: usize,
    buffer: Vec<u8>,
    over: bool,
}

impl Iterator for JsonLines {
    type Item = Result<Row, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.over {
            self.buffer.clear();
            match self.opened.input.read_until(b'\n', &mut self.buffer) {
                Ok(0) => self.over = true,
                Ok(_) => {
                    self.line += 1;
                    let text = self.buffer.trim_ascii();
                    if !text.is_empty() {
                        return Some(match std::str::from_utf8(text) {
                            Ok(text) => object(&self.opened, self.line, text),
                            Err(_) => Err(self.opened.bad(self.line, not_utf8(text))),
                        });
                    }
                }
                Err(e) => {
                    self.over = true;
                    return Some(Err(self.opened.io(e)));
                }
            }
        }
        None
    }
}

/// A `.json` file: an array of objects, an object that holds one, one object, or (as many are named) JSON lines. An object with a text
/// under one of `own` is a row itself, whatever lists it holds.
pub(super) fn document(mut opened: Opened, own: &[&str]) -> Result<BoxedRows, Error> {
    let mut bytes = Vec::new();
    opened.input.read_to_end(&mut bytes).map_err(|e| Error::io(opened.path.to_path_buf(), e))?;
    // JSON lines: the first line is a whole object and more than white space follows it.
    let body = bytes.trim_ascii_start();
    if body.first() == Some(&b'{')
        && let Some(end) = body.iter().position(|&b| b == b'\n')
        && !body[end..].trim_ascii().is_empty()
        && serde_json::from_slice::<&RawValue>(&body[..end]).is_ok()
    {
        opened.input = Box::new(std::io::Cursor::new(bytes));
        return Ok(Box::new(lines(opened, 0)));
    }
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        Err(e) => {
            let before = &bytes[..e.valid_up_to()];
            let line = before.iter().filter(|&&b| b == b'\n').count();
            let start = before.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
            let rest = &bytes[start..];
            let end = rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
            return Err(Error::file(opened.path.to_path_buf(), line + 1, not_utf8(&rest[..end])));
        }
    };
    let rows = match body.first() {
        None => Vec::new(),
        Some(b'[') => elements(&opened, text, text)?,
        Some(b'{') => {
            let keys: BTreeMap<String, &RawValue> = parse(&opened, text)?;
            let lists: Vec<_> = keys.iter().filter(|(_, raw)| of_objects(raw.get())).collect();
            let is_row = own.iter().any(|key| keys.get(*key).is_some_and(|raw| raw.get().starts_with('"')));
            match lists[..] {
                _ if is_row => vec![object(&opened, 1, text)],
                [] => vec![object(&opened, 1, text)],
                // One row of a conversational shape, not a table under the key "messages".
                [(key, _)] if matches!(key.as_str(), "messages" | "conversations" | "conversation") => vec![object(&opened, 1, text)],
                [(_, raw)] => elements(&opened, text, raw.get())?,
                _ => {
                    let names = lists.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>().join(", ");
                    return Err(Error::file(opened.path.to_path_buf(), 1, format!("several lists of rows: {names}; keep one in the file")));
                }
            }
        }
        Some(_) => return Err(Error::file(opened.path.to_path_buf(), 1, "neither an array nor an object")),
    };
    Ok(Box::new(rows.into_iter()))
}

/// Whether a raw value is a list whose first element is an object.
fn of_objects(raw: &str) -> bool {
    raw.strip_prefix('[').is_some_and(|rest| rest.trim_start().starts_with('{'))
}

/// The objects of `array`, a slice of the document `text`, each with the line it starts on.
fn elements(opened: &Opened, text: &str, array: &str) -> Result<Vec<Result<Row, RowError>>, Error> {
    let items: Vec<&RawValue> = parse(opened, array)?;
    let (mut line, mut at) = (1, 0);
    let rows = items.into_iter().map(|item| {
        // Raw values borrow from the document: their distance from its start is their offset.
        let start = item.get().as_ptr() as usize - text.as_ptr() as usize;
        line += text.as_bytes()[at..start].iter().filter(|&&b| b == b'\n').count();
        at = start;
        object(opened, line, item.get())
    });
    Ok(rows.collect())
}

fn parse<'a, T: serde::Deserialize<'a>>(opened: &Opened, text: &'a str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|e| Error::file(opened.path.to_path_buf(), e.line(), reason(&e)))
}

fn object(opened: &Opened, line: usize, text: &str) -> Result<Row, RowError> {
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => Ok(Row { fields, file: Arc::clone(&opened.file), line }),
        Ok(other) => Err(opened.bad(line, format!("{}, where an object was expected", super::super::shape::kind_of(&other)))),
        Err(e) => Err(opened.bad(line, reason(&e))),
    }
}

/// The parser's message with its column; the line is told by us.
fn reason(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let bare = message.rsplit_once(" at line ").map_or(message.as_str(), |(bare, _)| bare);
    format!("not JSON: {bare} at column {}", error.column())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{file, read};
    use crate::settings::SourceEntry;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn lines_are_rows_and_bad_ones_are_named() {
        let text = "\u{FEFF}{\"text\": \"好\"}\r\n\n[1]\n{\"text\": }\n{\"text\": \"b\"}";
        let (rows, bad) = read("a.jsonl", text, &SourceEntry::default());
        assert_eq!(rows, [(1, json!({"text": "好"})), (5, json!({"text": "b"}))]);
        assert_eq!(bad, ["a.jsonl:3: a list, where an object was expected", "a.jsonl:4: not JSON: expected value at column 10"]);
    }

    #[test]
    fn documents_come_as_array_wrapper_object_or_lines() {
        let want = [(2, json!({"text": "好"})), (4, json!({"text": "b"}))];
        for text in [
            "[\n{\"text\": \"好\"},\n\n{\"text\": \"b\"}]",
            "{\"data\": [\n{\"text\": \"好\"},\n\n{\"text\": \"b\"}]}",
            "\n{\"text\": \"好\"}\n\n{\"text\": \"b\"}\n",
        ] {
            let (rows, bad) = read("a.json", text, &SourceEntry::default());
            assert_eq!((rows.as_slice(), bad.len()), (want.as_slice(), 0), "{text}");
        }
        assert_eq!(read("a.json", "{\n\"text\": \"a\"\n}", &SourceEntry::default()).0, [(1, json!({"text": "a"}))]);
        let own = r#"{"text": "李安", "entities": [{"start": 0}], "relations": [{"from": 1}]}"#;
        assert_eq!(read("a.json", own, &SourceEntry::default()).0, [(1, serde_json::from_str(own).unwrap())], "a row with lists");
        let chat = r#"{"messages": [{"role": "user", "content": "hi"}]}"#;
        assert_eq!(read("a.json", chat, &SourceEntry::default()).0.len(), 1);
        assert_eq!(read("a.json", "", &SourceEntry::default()).0.len(), 0);
    }

    #[test]
    fn an_array_cut_short_is_an_error_at_its_line() {
        let (_dir, path) = file("a.json", "[{\"a\": 1},\n{\"a\": 2},\n{\"a\":");
        let error = super::super::open(&path, &SourceEntry::default()).unwrap_err().to_string();
        assert!(error.contains("a.json:3: not JSON: EOF"), "{error}");
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "[\\[\\]{}\":,a1\n ]{0,60}") {
            for name in ["a.json", "a.jsonl"] {
                let (_dir, path) = file(name, &text);
                if let Ok(rows) = super::super::open(&path, &SourceEntry::default()) {
                    let _ = rows.count();
                }
            }
        }
    }
}
