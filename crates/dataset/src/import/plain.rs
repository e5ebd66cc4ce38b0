//! Plain text: lines, paragraphs or the whole file become rows with the one column `text`.

use std::io::BufRead;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::decode::{not_utf8, universal_newlines};
use super::{Opened, Row, RowError};
use crate::settings::SampleBy;

/// The rows of a text file.
pub(super) fn rows(mut opened: Opened, by: SampleBy) -> Box<dyn Iterator<Item = Result<Row, RowError>> + Send> {
    opened.input = universal_newlines(opened.input);
    Box::new(PlainRows { opened, by, line: 0, over: false })
}

struct PlainRows {
    opened: Opened,
    by: SampleBy,
    line: usize,
    over: bool,
}

impl Iterator for PlainRows {
    type Item = Result<Row, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut text: Vec<u8> = Vec::new();
        let mut start = 0;
        while !self.over {
            let before = text.len();
            match self.opened.input.read_until(b'\n', &mut text) {
                Err(e) => {
                    self.over = true;
                    return Some(Err(self.opened.io(e)));
                }
                Ok(0) => self.over = true,
                Ok(_) => {
                    self.line += 1;
                    let blank = text[before..].trim_ascii().is_empty();
                    if blank && start == 0 {
                        // Blank lines before a row belong to nothing.
                        text.clear();
                        continue;
                    }
                    if start == 0 {
                        start = self.line;
                    }
                    let ends = match self.by {
                        SampleBy::Line => true,
                        SampleBy::Paragraph => blank,
                        SampleBy::Document => false,
                    };
                    if ends {
                        break;
                    }
                }
            }
        }
        if start == 0 {
            return None;
        }
        let bytes = text.trim_ascii_end();
        Some(match std::str::from_utf8(bytes) {
            Ok(text) => {
                let fields = Map::from_iter([("text".to_owned(), Value::String(text.to_owned()))]);
                Ok(Row { fields, file: Arc::clone(&self.opened.file), line: start })
            }
            Err(e) => {
                let line = start + bytes[..e.valid_up_to()].iter().filter(|&&b| b == b'\n').count();
                let whole: Vec<&[u8]> = bytes.split(|&b| b == b'\n').collect();
                Err(self.opened.bad(line, not_utf8(whole[line - start])))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;
    use crate::settings::{SampleBy, SourceEntry};
    use serde_json::json;

    #[test]
    fn lines_paragraphs_and_documents() {
        let text = "\r\n一行\r\nsecond line\r\n\r\nthird\r\n";
        let rows = |by| {
            let entry = SourceEntry { sample_by: by, ..Default::default() };
            read("a.txt", text, &entry)
                .0
                .into_iter()
                .map(|(line, row)| (line, row["text"].as_str().unwrap().to_owned()))
                .collect::<Vec<_>>()
        };
        let own = |rows: &[(usize, &str)]| rows.iter().map(|(l, t)| (*l, t.to_string())).collect::<Vec<_>>();
        assert_eq!(rows(None), own(&[(2, "一行"), (3, "second line"), (5, "third")]));
        assert_eq!(rows(Some(SampleBy::Paragraph)), own(&[(2, "一行\nsecond line"), (5, "third")]));
        assert_eq!(rows(Some(SampleBy::Document)), own(&[(2, "一行\nsecond line\n\nthird")]));
    }

    #[test]
    fn a_line_that_is_not_utf8_is_named() {
        let (rows, bad) = read("a.txt", b"ok\n\xC4\xE3\xBA\xC3\nok\n", &SourceEntry::default());
        assert_eq!(rows, [(1, json!({"text": "ok"})), (3, json!({"text": "ok"}))]);
        assert!(bad[0].starts_with("a.txt:2: not UTF-8"), "{}", bad[0]);
    }
}
