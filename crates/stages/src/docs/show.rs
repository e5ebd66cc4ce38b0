//! `docs show`: one document as text, Markdown or JSON.

use std::path::Path;

use documents::{Store, block, export};

use crate::error::Result;

/// How a document is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Its text.
    Text,
    /// With headings and links marked.
    Markdown,
    /// With pages, blocks, boxes and ranges.
    Json,
}

/// A document as text of the wanted format; of `pages` only, where some are named.
///
/// # Errors
/// No store; no such document.
pub fn run(store: &Path, name: &str, format: Format, page: Option<u32>) -> Result<String> {
    let store = Store::open(store)?;
    let file = store.find(name)?;
    let mut blocks = store.blocks(&file)?;
    let mut pages = store.pages(&file)?;
    if let Some(page) = page {
        blocks.retain(|b| b.places.iter().any(|p| p.page == page));
        pages.retain(|p| p.number == page);
    }
    let (text, _) = block::join(&blocks);
    Ok(match format {
        Format::Text => text,
        Format::Markdown => export::markdown(&blocks),
        Format::Json => export::document(&file, &pages, &blocks, &text).to_string(),
    })
}
