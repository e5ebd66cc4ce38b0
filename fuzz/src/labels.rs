//! Label files: an error that names the row, or documents whose settled spans lie in their texts, which are written again.

use std::path::Path;

use dataset::import::{Row, RowError};
use dataset::labels::check::{Survey, settle};
use dataset::labels::conll::Scheme;
use dataset::labels::export::{WriteOptions, Writer};
use dataset::labels::import::{Keys, ReadOptions, open};
use dataset::labels::jsonl::Detail;
use dataset::labels::{self, Body, Document, Format, Losses, Statement, surface};

use crate::{Outcome, outcome};

/// brat annotations: taken apart and written back byte for byte; then as a document of a text, spans and all.
pub fn brat(bytes: &[u8]) -> Outcome {
    let Ok(ann) = std::str::from_utf8(bytes) else { return 0 };
    let text = "Ann Lee runs Acme 😀 in Beijing 北京。\r\nSecond line with e\u{301} marks.\n";
    let mut statement = labels::brat::statement(ann, &labels::brat::parse(ann), Statement::default());
    let kinds: String = statement.labels.iter().take(12).map(|l| l.body.kind()).collect();
    let count = statement.labels.len();
    let mut document = Document { text: text.into(), statements: vec![statement.clone()], ..Document::default() };
    settled(&mut document);
    let _ = labels::brat::write(text, &document.statements[0], &mut Losses::default());
    for label in &mut statement.labels {
        if let Body::Span { surface, .. } = &mut label.body {
            *surface = None;
        }
    }
    assert_eq!(labels::brat::write("some text", &statement, &mut Losses::default()), ann);
    outcome(&kinds, &[count])
}

/// CoNLL columns, read in every scheme.
pub fn conll(bytes: &[u8]) -> Outcome {
    use labels::conll::{Shape, blocks, detect, document, write};
    let Ok(text) = std::str::from_utf8(bytes) else { return 0 };
    let found = blocks(text, "fuzz");
    let scheme = detect(found.iter().filter_map(|b| b.as_ref().ok()));
    let whole = found.iter().all(Result::is_ok);
    let kept: String = found.iter().filter_map(|b| b.as_ref().ok()).map(|b| b.raw.as_str()).collect();
    assert!(!whole || found.is_empty() || kept == text, "every line is in a document");
    let bad: String = found.iter().filter_map(|b| b.as_ref().err()).take(3).map(ToString::to_string).collect();
    let mut numbers = vec![found.len(), scheme as usize];
    for block in found.into_iter().filter_map(Result::ok) {
        for scheme in Scheme::ALL {
            let mut losses = Losses::default();
            let document = document(block.clone(), scheme, &ReadOptions::default(), &mut Keys::default(), &mut losses);
            // Finding a surface costs as much as the text is long: some of a document of thousands are enough.
            for label in document.statements.iter().flat_map(|s| &s.labels).step_by(1 + document.text.len() / 4096) {
                let (_, ranges) = label.span().expect("spans alone");
                assert!(surface(&document.text, ranges).is_some());
            }
            let again = write(&document, document.statements.first(), Some(scheme), Shape::default(), &mut losses);
            assert!(document.statements.is_empty() || again == block.raw, "{scheme:?}: an untouched document is written as it was");
            numbers.push(document.statements.iter().map(|s| s.labels.len()).sum());
        }
        numbers.truncate(12);
    }
    outcome(&bad, &numbers)
}

/// Spans are settled; what stays lies in the text.
fn settled(document: &mut Document) -> Losses {
    let (mut survey, mut losses) = (Survey::default(), Losses::default());
    survey.add(document);
    settle(document, survey.verdict(), &mut losses);
    for (_, ranges) in document.statements.iter().flat_map(|s| &s.labels).filter_map(|l| l.span()) {
        assert!(surface(&document.text, ranges).is_some());
    }
    losses
}

/// A row: `read` makes a document of it, `write` writes that.
fn row(
    bytes: &[u8],
    read: impl FnOnce(Row, &ReadOptions, &mut Keys, &mut Losses) -> Result<Document, dataset::BadRow>,
    write: impl FnOnce(&Document, &mut Losses),
) -> Outcome {
    let Ok(fields) = serde_json::from_slice(bytes) else { return 0 };
    let row = Row { fields, file: "fuzz".into(), line: 1 };
    let mut losses = Losses::default();
    match read(row, &ReadOptions::default(), &mut Keys::default(), &mut losses) {
        Err(bad) => outcome(&bad.to_string(), &[]),
        Ok(mut document) => {
            losses.extend(settled(&mut document));
            write(&document, &mut losses);
            let kinds: String = document.statements.iter().flat_map(|s| &s.labels).take(8).map(|l| l.body.kind()).collect();
            let lost: String = losses.list().iter().take(3).map(|l| format!("{} {}", l.what, l.reason)).collect();
            outcome(&(kinds + &lost), &[document.statements.len(), document.meta.len()])
        }
    }
}

/// A row of Labelbox.
pub fn labelbox(bytes: &[u8]) -> Outcome {
    row(bytes, labels::labelbox::read, |_, _| {})
}

/// A row of a table.
pub fn csv(bytes: &[u8]) -> Outcome {
    row(
        bytes,
        |row, options, keys, _| labels::csv::read(row, options, keys),
        |document, losses| {
            let mut columns = labels::csv::Columns::default();
            columns.see(document, document.statements.first());
            let _ = columns.header() + &columns.row(document, document.statements.first(), "#", losses);
        },
    )
}

/// A row of doccano.
pub fn doccano(bytes: &[u8]) -> Outcome {
    row(
        bytes,
        |row, options, keys, _| labels::doccano::read(row, options, keys, false),
        |document, losses| {
            let _ = labels::doccano::write(document, document.statements.first(), losses);
        },
    )
}

/// A row of our own JSON lines: written and read again it says the same.
pub fn jsonl(bytes: &[u8]) -> Outcome {
    row(
        bytes,
        |row, options, keys, _| labels::jsonl::read(row, options, keys),
        |document, _| {
            let again = |document: &Document| {
                let fields = labels::jsonl::write(document, document.statements.first(), Detail::Full);
                let row = Row { fields, file: "fuzz".into(), line: 1 };
                let mut read = labels::jsonl::read(row, &ReadOptions::default(), &mut Keys::default()).expect("our own line");
                settled(&mut read);
                read
            };
            // What may be said in two ways is said in one after the first writing.
            let once = again(document);
            assert_eq!(again(&once), once);
        },
    )
}

/// A row of Prodigy.
pub fn prodigy(bytes: &[u8]) -> Outcome {
    row(
        bytes,
        |row, options, keys, _| labels::prodigy::read(row, options, keys, &mut Default::default()),
        |document, losses| {
            let _ = labels::prodigy::write(document, losses);
        },
    )
}

/// A task of Label Studio.
pub fn label_studio(bytes: &[u8]) -> Outcome {
    row(bytes, labels::label_studio::read, |document, losses| {
        let _ = labels::label_studio::write(document, losses);
    })
}

/// A whole file as every format that its first letters allow: what is read is written, and read again it says the same.
pub fn files(bytes: &[u8]) -> Outcome {
    let json = bytes.iter().find(|b| !b.is_ascii_whitespace()).is_some_and(|b| matches!(b, b'{' | b'['));
    let kinds: &[(Format, &str)] = if json {
        &[
            (Format::Doccano, "jsonl"),
            (Format::Jsonl, "jsonl"),
            (Format::Prodigy, "jsonl"),
            (Format::LabelStudio, "json"),
            (Format::Labelbox, "jsonl"),
            (Format::Doccano, "json"),
        ]
    } else {
        &[(Format::Conll, "txt"), (Format::Csv, "csv"), (Format::Doccano, "csv"), (Format::Doccano, "txt"), (Format::Brat, "ann")]
    };
    let dir = tempfile::tempdir().expect("a directory for the file");
    let mut said = String::new();
    let mut numbers = Vec::new();
    for (format, extension) in kinds {
        let path = dir.path().join(format!("in.{extension}"));
        std::fs::write(&path, bytes).expect("a file");
        if *format == Format::Brat {
            std::fs::write(dir.path().join("in.txt"), "Ann Lee runs Acme 😀 in Beijing 北京。\nSecond line.").expect("a file");
        }
        let path = if *format == Format::Brat { dir.path() } else { &path };
        match file(*format, path, extension) {
            Ok((documents, labels, lost)) => {
                numbers.extend([documents, labels]);
                said += &lost;
            }
            Err(reason) => said += &reason,
        }
    }
    outcome(&said, &numbers)
}

fn read(format: Format, path: &Path, options: &ReadOptions) -> Result<(Vec<Document>, Losses, String), String> {
    let import = open(format, path, options).map_err(|e| e.to_string())?;
    let mut rows = import.documents().map_err(|e| e.to_string())?;
    let (mut documents, mut bad) = (Vec::new(), String::new());
    for row in &mut rows {
        match row {
            Ok(document) => documents.push(document),
            Err(RowError::Bad(row)) if bad.len() < 200 => bad += &row.to_string(),
            Err(RowError::Bad(_)) => {}
            Err(RowError::File(error)) => return Err(error.to_string()),
        }
    }
    Ok((documents, rows.losses.clone(), bad))
}

fn file(format: Format, path: &Path, extension: &str) -> Result<(usize, usize, String), String> {
    let (documents, losses, mut said) = read(format, path, &ReadOptions::default())?;
    let labels = documents.iter().flat_map(|d| &d.statements).map(|s| s.labels.len()).sum();
    for document in &documents {
        for (_, ranges) in document.statements.iter().flat_map(|s| &s.labels).filter_map(|l| l.span()) {
            assert!(surface(&document.text, ranges).is_some());
        }
    }
    said.extend(losses.list().iter().take(3).map(|l| l.reason.clone()));
    if format != Format::Labelbox && !documents.is_empty() {
        let out = tempfile::tempdir().expect("a directory for what is written");
        let path = if format == Format::Brat { out.path().join("out") } else { out.path().join(format!("out.{extension}")) };
        let mut writer = Writer::create(format, &path, WriteOptions::default()).map_err(|e| e.to_string())?;
        if writer.looks_ahead() {
            documents.iter().for_each(|d| writer.see(d, d.statements.first()));
        }
        for document in &documents {
            writer.write(document, document.statements.first()).map_err(|e| e.to_string())?;
        }
        let options = writer.read_options();
        writer.finish().map_err(|e| e.to_string())?;
        let (again, ..) = read(format, &path, &options).unwrap_or_else(|e| panic!("our own {} file cannot be read: {e}", format.name()));
        // Formats that part annotators give a row each; the texts stay.
        let texts = |documents: &[Document]| documents.iter().map(|d| d.text.clone()).collect::<std::collections::BTreeSet<String>>();
        if matches!(format, Format::Jsonl | Format::LabelStudio | Format::Brat | Format::Csv | Format::Prodigy) {
            assert_eq!(texts(&again), texts(&documents), "{}: texts", format.name());
        }
    }
    Ok((documents.len(), labels, said))
}
