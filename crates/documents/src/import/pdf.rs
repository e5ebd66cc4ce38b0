//! PDFs: pages with a text layer are laid out, in parallel; the others are named.

use std::ops::Range;
use std::path::Path;

use rayon::prelude::*;

use super::ReadOptions;
use crate::block::{Extracted, PageFailure, PageInfo, PageSource};
use crate::error::DocumentError;
use crate::layout::{self, PageBlock};
use crate::pdf::{self, OpenError, PagedReader, RawPage};

/// Pages that one task reads: fonts are shared among them.
const TASK: usize = 16;

/// What reads pages that hold pictures instead of text.
pub trait Recogniser: Sync {
    /// Text of a page (from 0) of a file. `hint` is text of other pages, which shows the language.
    ///
    /// # Errors
    /// Why it cannot be recognised, and what to do.
    fn recognise(&self, reader: &dyn PagedReader, page: usize, size: (f32, f32), hint: &str) -> Result<Recognised, String>;
    /// What its results depend on.
    fn settings(&self) -> String;
}

/// A recognised page.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Recognised {
    /// Its blocks.
    pub blocks: Vec<crate::block::Block>,
    /// The language that the recogniser was given.
    pub language: String,
    /// Mean confidence of its words, 0 to 1; `None` without words.
    pub confidence: Option<f32>,
}

/// One page on its way.
struct Read {
    info: PageInfo,
    blocks: Vec<PageBlock>,
    picture: bool,
}

/// Reads a PDF.
///
/// # Errors
/// A password that is missing or wrong; damage that hides all pages.
pub fn read(
    path: &Path,
    bytes: Vec<u8>,
    options: &ReadOptions,
    recogniser: Option<&dyn Recogniser>,
    page_done: &(dyn Fn(u32) + Sync),
) -> Result<Extracted, DocumentError> {
    let unreadable = |reason: String| DocumentError::Unreadable { path: path.to_path_buf(), reason };
    let reader = pdf::open(bytes, &options.passwords).map_err(|e| match e {
        OpenError::Password if options.passwords.is_empty() => unreadable("it is encrypted; give its password with --password".into()),
        OpenError::Password => unreadable("it is encrypted, and no --password fits: give the one that opens it".into()),
        OpenError::Damaged(reason) => unreadable(reason),
    })?;
    read_pages("pdf", path, reader.as_ref(), recogniser, page_done)
}

/// Reads a picture as a file of one page, a TIFF as one of as many as it holds.
///
/// # Errors
/// A picture that cannot be decoded.
pub fn read_picture(
    path: &Path,
    bytes: Vec<u8>,
    recogniser: Option<&dyn Recogniser>,
    page_done: &(dyn Fn(u32) + Sync),
) -> Result<Extracted, DocumentError> {
    let unreadable = |reason: String| DocumentError::Unreadable { path: path.to_path_buf(), reason };
    if crate::ocr::tiff::is_tiff(&bytes) {
        let reader = crate::ocr::tiff::TiffReader::new(bytes).map_err(unreadable)?;
        return read_pages("picture", path, &reader, recogniser, page_done);
    }
    let picture = crate::ocr::picture::decode(&bytes).map_err(unreadable)?;
    read_pages("picture", path, &crate::ocr::PictureReader::new(picture), recogniser, page_done)
}

fn read_pages(
    format: &str,
    path: &Path,
    reader: &dyn PagedReader,
    recogniser: Option<&dyn Recogniser>,
    page_done: &(dyn Fn(u32) + Sync),
) -> Result<Extracted, DocumentError> {
    let unreadable = |reason: String| DocumentError::Unreadable { path: path.to_path_buf(), reason };
    let pages = reader.pages();
    let declared = reader.declared_pages();
    let tasks: Vec<Range<usize>> = (0..pages).step_by(TASK).map(|from| from..(from + TASK).min(pages)).collect();
    let mut read: Vec<Read> = tasks
        .into_par_iter()
        .map(|range| {
            let mut out = Vec::with_capacity(range.len());
            reader.read(range, &mut |number, page| {
                out.push(page_of(number, page));
                page_done(1);
            });
            out
        })
        .collect::<Vec<_>>()
        .into_iter()
        .flatten()
        .collect();
    let recognised = recognise(reader, &mut read, recogniser);

    let mut failures = Vec::new();
    if let Some(declared) = declared.filter(|d| *d != pages) {
        // More pages than stated is a matter for a note; fewer are lost.
        if declared > pages {
            failures.push(PageFailure {
                page: None,
                reason: format!("the file says that it has {declared} pages, but only {pages} can be found: it is damaged"),
            });
        }
    }
    let mut notes = Vec::new();
    if let Some(declared) = declared.filter(|d| *d < pages) {
        notes.push(format!("the file says that it has {declared} pages; {pages} were found and read"));
    }
    if pages == 0 {
        return Err(unreadable("it has no pages".into()));
    }
    let infos: Vec<PageInfo> = read.iter().map(|r| r.info.clone()).collect();
    let laid: Vec<(u32, Vec<PageBlock>)> = read.into_iter().map(|r| (r.info.number, r.blocks)).collect();
    let mut blocks = layout::document::blocks(laid);
    if !recognised.is_empty() {
        blocks.extend(recognised);
        // Stable: blocks of a page keep their order.
        blocks.sort_by_key(crate::block::Block::page);
    }
    Ok(Extracted {
        format: format.into(),
        encoding: None,
        declared_pages: declared.map(|d| d as u32),
        pages: infos,
        blocks,
        failures,
        notes,
    })
}

fn page_of(number: usize, page: Result<RawPage, String>) -> Read {
    let number = number as u32 + 1;
    let mut info = PageInfo::unpaged(number, true);
    match page {
        Err(reason) => {
            (info.source, info.reason) = (PageSource::Failed, Some(reason));
            Read { info, blocks: Vec::new(), picture: false }
        }
        Ok(raw) => {
            (info.width, info.height, info.rotation) = (raw.width, raw.height, raw.rotation);
            let blocks = if raw.has_usable_text() { layout::page(&raw) } else { Vec::new() };
            let text = !blocks.is_empty();
            if text {
                info.source = PageSource::Text;
            }
            // A scan with a page number stamped on it has text, but not its own.
            let letters = raw.text.chars().filter(|c| c.is_alphanumeric()).count();
            let stamped = letters < 40 && raw.picture_share() > 0.6;
            let unknown = raw.unknown > 0 && !raw.has_usable_text();
            let picture = (!text && (raw.has_picture() || unknown)) || stamped;
            Read { info, blocks, picture }
        }
    }
}

/// Recognises the pages that are pictures. Without a recogniser they are named as failed.
fn recognise(reader: &dyn PagedReader, pages: &mut [Read], recogniser: Option<&dyn Recogniser>) -> Vec<crate::block::Block> {
    if !pages.iter().any(|p| p.picture) {
        return Vec::new();
    }
    let hint: String = pages.iter().flat_map(|p| &p.blocks).map(|b| b.text.as_str()).take(50).collect::<Vec<_>>().join("\n");
    let done: Vec<Vec<crate::block::Block>> = pages
        .par_iter_mut()
        .filter(|p| p.picture)
        .map(|page| {
            let Some(recogniser) = recogniser else {
                if page.blocks.is_empty() {
                    page.info.source = PageSource::Failed;
                    page.info.reason = Some("it is a picture without text, and recognition is switched off".into());
                }
                return Vec::new();
            };
            let size = (page.info.width, page.info.height);
            match recogniser.recognise(reader, page.info.number as usize - 1, size, &hint) {
                Ok(result) => {
                    let letters = |n: usize, t: &str| n + t.chars().count();
                    let before = page.blocks.iter().fold(0, |n, b| letters(n, &b.text));
                    let found = result.blocks.iter().fold(0, |n, b| letters(n, &b.text));
                    if found == 0 && before == 0 {
                        page.info.reason = Some("a picture in which no text was recognised".into());
                    }
                    if found <= before {
                        return Vec::new();
                    }
                    page.blocks.clear();
                    page.info.source = PageSource::Ocr;
                    (page.info.language, page.info.confidence) = (Some(result.language), result.confidence);
                    result.blocks
                }
                Err(reason) => {
                    if page.blocks.is_empty() {
                        (page.info.source, page.info.reason) = (PageSource::Failed, Some(reason));
                    }
                    Vec::new()
                }
            }
        })
        .collect();
    done.into_iter().flatten().collect()
}
