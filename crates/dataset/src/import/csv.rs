//! CSV and TSV, as spreadsheets and `pandas` write them. Owns the `csv` library.

use std::io::BufRead;
use std::sync::Arc;

use csv::{ByteRecord, Reader, ReaderBuilder};
use serde_json::{Map, Value};

use super::decode::{not_utf8, universal_newlines};
use super::{Opened, Row, RowError};
use crate::error::Error;

type Input = Box<dyn BufRead + Send>;

/// The rows, and the separator that was used. `header` names the columns of a file without a header line; `verbatim` keeps line ends within cells as
/// they are.
pub(super) fn rows(
    mut opened: Opened,
    delimiter: Option<char>,
    header: Option<&[String]>,
    verbatim: bool,
) -> Result<(impl Iterator<Item = Result<Row, RowError>> + Send + use<>, char), Error> {
    let delimiter = match delimiter {
        Some(c) if c.is_ascii() && !matches!(c, '"' | '\n' | '\r') => c,
        Some(c) => return Err(Error::setting("delimiter", format!("{c:?} cannot separate columns: it must be one ASCII character"))),
        None => {
            let head = opened.input.fill_buf().map_err(|e| Error::io(opened.path.to_path_buf(), e))?;
            guess_delimiter(head)
        }
    };
    let input = std::mem::replace(&mut opened.input, Box::new(std::io::empty()));
    let input = if verbatim { input } else { universal_newlines(input) };
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter as u8).from_reader(input);
    let columns: Vec<String> = match header {
        Some(names) => names.to_vec(),
        None => {
            let mut first = ByteRecord::new();
            reader.read_byte_record(&mut first).map_err(|e| csv_error(&opened, &e))?;
            let mut names = Vec::with_capacity(first.len());
            for (i, bytes) in first.iter().enumerate() {
                let name = std::str::from_utf8(bytes).map_err(|_| Error::file(opened.path.to_path_buf(), 1, not_utf8(bytes)))?;
                // `pandas` writes its index under an empty name.
                names.push(if name.trim().is_empty() { format!("column_{}", i + 1) } else { name.trim().to_owned() });
            }
            names
        }
    };
    for (i, name) in columns.iter().enumerate() {
        if columns[..i].contains(name) {
            return Err(Error::file(opened.path.to_path_buf(), 1, format!("the column {name:?} is there twice")));
        }
    }
    Ok((CsvRows { reader, record: ByteRecord::new(), columns, opened, over: false }, delimiter))
}

struct CsvRows {
    reader: Reader<Input>,
    record: ByteRecord,
    columns: Vec<String>,
    opened: Opened,
    over: bool,
}

impl Iterator for CsvRows {
    type Item = Result<Row, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        match self.reader.read_byte_record(&mut self.record) {
            Ok(true) => {}
            Ok(false) => return None,
            Err(e) => {
                self.over = true;
                return Some(Err(RowError::File(csv_error(&self.opened, &e))));
            }
        }
        Some(self.row(self.first_line()))
    }
}

impl CsvRows {
    /// The line on which the record starts. The library's own position stands before the blank lines that it skips, so this counts
    /// back from the record's end; only a record that ends in an open quotation mark has no end to count back from.
    fn first_line(&self) -> usize {
        let before = self.record.position().map_or(1, |p| p.line() as usize);
        let inside = self.record.as_slice().iter().filter(|&&b| b == b'\n').count();
        (self.reader.position().line() as usize).saturating_sub(1 + inside).max(before)
    }

    fn row(&self, line: usize) -> Result<Row, RowError> {
        let (found, expected) = (self.record.len(), self.columns.len());
        if found != expected {
            let last_line = self.reader.position().line() as usize;
            let hint = if last_line > line + 1 {
                format!("; it runs to line {}: is a quotation mark left open?", last_line - 1)
            } else {
                String::new()
            };
            return Err(self.opened.bad(line, format!("{found} columns where the header has {expected}{hint}")));
        }
        let mut fields = Map::with_capacity(expected);
        for (name, bytes) in self.columns.iter().zip(self.record.iter()) {
            let text = std::str::from_utf8(bytes).map_err(|_| self.opened.bad(line, not_utf8(bytes)))?;
            fields.insert(name.clone(), Value::String(text.to_owned()));
        }
        Ok(Row { fields, file: Arc::clone(&self.opened.file), line })
    }
}

fn csv_error(opened: &Opened, error: &csv::Error) -> Error {
    let line = error.position().map_or(1, |p| p.line() as usize);
    Error::file(opened.path.to_path_buf(), line, error.to_string())
}

/// The candidate that separates the first line most often, counted outside quotation marks; a comma if none does.
fn guess_delimiter(head: &[u8]) -> char {
    let mut counts = [(',', 0), ('\t', 0), (';', 0), ('|', 0)];
    let mut quoted = false;
    for &byte in head {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' | b'\r' if !quoted => break,
            _ if quoted => {}
            _ => counts.iter_mut().filter(|(c, _)| *c as u8 == byte).for_each(|(_, n)| *n += 1),
        }
    }
    // `max_by_key` keeps the last of equals; reversed, the comma wins a tie.
    counts.iter().rev().max_by_key(|(_, n)| *n).map_or(',', |(c, _)| *c)
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;
    use crate::settings::SourceEntry;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn quoted_newlines_and_quotes_keep_the_line_numbers_right() {
        let text = "text,label\n\"two\nlines, one \"\"row\"\"\",1\r\n\n这部电影很好,0\n";
        let (rows, bad) = read("a.csv", text, &SourceEntry::default());
        assert_eq!(bad, Vec::<String>::new());
        assert_eq!(rows[0], (2, json!({"text": "two\nlines, one \"row\"", "label": "1"})));
        assert_eq!(rows[1], (5, json!({"text": "这部电影很好", "label": "0"})));
    }

    #[test]
    fn bad_rows_are_named_and_the_reading_goes_on() {
        let mut bytes = b"text,label\na,1,2\nb\n".to_vec();
        bytes.extend(encoding_rs::GB18030.encode("好评,1\n").0.iter());
        bytes.extend(b"c,0\nd,\"open\nto,the\nend\n");
        let (rows, bad) = read("a.csv", bytes, &SourceEntry::default());
        assert_eq!(rows, [(5, json!({"text": "c", "label": "0"})), (6, json!({"text": "d", "label": "open\nto,the\nend\n"}))]);
        assert_eq!(bad[0], "a.csv:2: 3 columns where the header has 2");
        assert_eq!(bad[1], "a.csv:3: 1 columns where the header has 2");
        assert!(bad[2].starts_with("a.csv:4: not UTF-8 at byte 1") && bad[2].contains("gb18030"), "{}", bad[2]);
    }

    #[test]
    fn an_open_quotation_mark_is_suspected() {
        let (_, bad) = read("a.csv", "text,label\n\"open,1\nb,2\nc,3\n", &SourceEntry::default());
        assert_eq!(bad.len(), 1);
        assert!(bad[0].starts_with("a.csv:2: 1 columns") && bad[0].contains("runs to line 4"), "{}", bad[0]);
    }

    #[test]
    fn separators_are_found_and_headers_may_be_given() {
        for (name, text) in [("a.csv", "text;label\na,b;1\n"), ("a.tsv", "text\tlabel\na,b\t1\n"), ("a.csv", "\"text\"|label\na,b|1\n")] {
            let (rows, _) = read(name, text, &SourceEntry::default());
            assert_eq!(rows, [(2, json!({"text": "a,b", "label": "1"}))], "{text}");
        }
        let entry = SourceEntry { header: Some(vec!["q".into(), "a".into()]), ..Default::default() };
        assert_eq!(read("a.csv", "x,y\n", &entry).0, [(1, json!({"q": "x", "a": "y"}))]);
    }

    proptest! {
        #[test]
        fn what_the_library_writes_is_read_back(rows in prop::collection::vec(("\\PC{0,8}[\n\",你]{0,3}", "[a-z]{1,4}"), 1..8)) {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(["text", "label"]).unwrap();
            for (text, label) in &rows {
                writer.write_record([text, label]).unwrap();
            }
            let (read, bad) = read("a.csv", writer.into_inner().unwrap(), &SourceEntry::default());
            prop_assert!(bad.is_empty());
            let expected: Vec<_> = rows.iter().map(|(text, label)| json!({"text": text, "label": label})).collect();
            prop_assert_eq!(read.into_iter().map(|r| r.1).collect::<Vec<_>>(), expected);
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let (_dir, path) = super::super::tests::file("a.csv", bytes);
            if let Ok(rows) = super::super::open(&path, &SourceEntry::default()) {
                let _ = rows.count();
            }
        }
    }
}
