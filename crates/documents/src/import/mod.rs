//! Files to [`Extracted`]: what a file is, and the reader for it.

use std::path::Path;

use crate::block::{Extracted, PageInfo};
use crate::error::DocumentError;

pub mod decode;
pub mod html;
pub mod markdown;
pub mod office;
pub mod pdf;
pub mod plain;
pub mod unread;

/// Files above this size are refused: nothing that people write comes near it, and a reader may need several times as much memory.
pub const MAX_FILE_BYTES: u64 = 2 << 30;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Portable Document Format.
    Pdf,
    /// A Word document.
    Docx,
    /// An Excel workbook.
    Xlsx,
    /// A picture: PNG, JPEG or TIFF.
    Picture,
    /// HTML or XHTML.
    Html,
    /// Markdown.
    Markdown,
    /// Plain text.
    Text,
}

/// Endings of files that `docs ingest` takes from a directory.
const ENDINGS: &[(&str, Format)] = &[
    ("pdf", Format::Pdf),
    ("docx", Format::Docx),
    ("docm", Format::Docx),
    ("xlsx", Format::Xlsx),
    ("xlsm", Format::Xlsx),
    ("png", Format::Picture),
    ("jpg", Format::Picture),
    ("jpeg", Format::Picture),
    ("tif", Format::Picture),
    ("tiff", Format::Picture),
    ("html", Format::Html),
    ("htm", Format::Html),
    ("xhtml", Format::Html),
    ("md", Format::Markdown),
    ("markdown", Format::Markdown),
    ("txt", Format::Text),
    ("text", Format::Text),
];

impl Format {
    /// The name in the store.
    pub fn name(self) -> &'static str {
        match self {
            Format::Pdf => "pdf",
            Format::Docx => "docx",
            Format::Xlsx => "xlsx",
            Format::Picture => "picture",
            Format::Html => "html",
            Format::Markdown => "markdown",
            Format::Text => "text",
        }
    }

    /// By the file name's ending alone.
    pub fn from_name(path: &Path) -> Option<Format> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        ENDINGS.iter().find(|(e, _)| *e == ending).map(|(_, format)| *format)
    }

    /// By content first (a PDF named `.txt` is a PDF), then by name; text that names no other format is plain text.
    pub fn detect(path: &Path, bytes: &[u8]) -> Option<Format> {
        let head = &bytes[..bytes.len().min(1024)];
        if head.windows(5).any(|w| w == b"%PDF-") {
            return Some(Format::Pdf);
        }
        if head.starts_with(b"\x89PNG\r\n") || head.starts_with(b"\xFF\xD8\xFF") || crate::ocr::tiff::is_tiff(head) {
            return Some(Format::Picture);
        }
        let named = Format::from_name(path);
        match named {
            Some(format) => Some(format),
            None => (!head.contains(&0) || decode::looks_utf16(head)).then_some(Format::Text),
        }
    }
}

/// What a reader may need to know.
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// The encoding of text files, if the user knows better.
    pub encoding: Option<String>,
    /// Passwords of encrypted files, tried in order.
    pub passwords: Vec<String>,
}

/// Reads a Word document or an Excel workbook.
///
/// # Errors
/// Why it cannot be read.
pub fn read_office(format: Format, path: &Path, bytes: &[u8]) -> Result<Extracted, DocumentError> {
    let read = match format {
        Format::Xlsx => office::xlsx::read(bytes),
        _ => office::docx::blocks(bytes).map(|blocks| {
            let pages = vec![PageInfo::unpaged(1, blocks.is_empty())];
            Extracted { pages, blocks, ..Extracted::default() }
        }),
    };
    let extracted = read.map_err(|reason| DocumentError::Unreadable { path: path.to_path_buf(), reason })?;
    Ok(Extracted { format: format.name().into(), ..extracted })
}

/// Reads a text-like file.
///
/// # Errors
/// A name that is no encoding; bytes that are not text in it.
pub fn read_text_like(format: Format, path: &Path, bytes: &[u8], options: &ReadOptions) -> Result<Extracted, DocumentError> {
    let declared = match (&options.encoding, format) {
        (None, Format::Html) => decode::html_charset(bytes),
        (declared, _) => declared.clone(),
    };
    let decoded = decode::decode(bytes, declared.as_deref(), options.encoding.is_some())
        .map_err(|reason| DocumentError::Unreadable { path: path.to_path_buf(), reason })?;
    let mut notes = Vec::new();
    if let Some(reason) = unread::reason(path).filter(|_| Format::from_name(path).is_none()) {
        notes.push(format!("read as plain text, marks and all, though its ending says: {reason}"));
    }
    let blocks = match format {
        Format::Html => html::blocks(&decoded.text),
        Format::Markdown => {
            let (matter, rest) = markdown::front_matter(&decoded.text);
            if let Some(matter) = matter {
                let lines = matter.lines().count();
                let lines = if lines == 1 { "1 line".to_owned() } else { format!("{lines} lines") };
                notes.push(format!("left out of the text: {lines} of metadata at its beginning, between lines of `---`"));
            }
            markdown::blocks(rest)
        }
        _ => plain::blocks(&decoded.text),
    };
    if decoded.replaced > 0 {
        let broken = if decoded.replaced == 1 { "1 character is".to_owned() } else { format!("{} characters are", decoded.replaced) };
        notes.push(format!("{broken} no {} text and became U+FFFD; --encoding names another one", decoded.encoding));
    }
    Ok(Extracted {
        format: format.name().into(),
        encoding: Some(decoded.encoding.to_owned()),
        pages: vec![PageInfo::unpaged(1, blocks.is_empty())],
        blocks,
        notes,
        ..Extracted::default()
    })
}
