//! From a file to clean, located text, and from that to chunks.
//!
//! The way of a file:
//!
//! - [`import`]: any file becomes [`Extracted`]: pages, and blocks that know their page, their place on it and their kind.
//! - [`pdf`]: the pages of a PDF as positioned glyphs, rules and pictures, behind the trait [`pdf::PagedReader`]; one module owns the library.
//! - [`layout`]: glyphs to lines, columns, tables, paragraphs, headings in reading order. Ours, whoever read the glyphs.
//! - [`ocr`]: pages that are pictures, cleaned by us and recognised by Tesseract.
//! - [`clean`]: declared steps over the text, each with the map between before and after.
//! - [`store`]: what was read, in one SQLite file; a file that did not change is not read again.
//! - [`chunk`]: cleaned text cut by structure and length, each piece with file, page and character range.
//!
//! Offsets that leave this crate count code points.

pub mod block;
pub mod chunk;
pub mod clean;
pub mod error;
pub mod export;
pub mod import;
pub mod ingest;
pub mod layout;
pub mod ocr;
pub mod pdf;
pub mod script;
pub mod store;
pub mod table;

pub use block::{BBox, Block, BlockKind, Extracted, Link, PageFailure, PageInfo, PageSource, Place};
pub use chunk::{Chunk, ChunkOptions, Measure};
pub use error::{DocumentError, Result};
pub use ingest::{IngestEvent, IngestOptions, IngestReport};
pub use store::Store;
