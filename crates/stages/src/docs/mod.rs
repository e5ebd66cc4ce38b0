//! Documents: read into a store, listed, shown, cut into chunks, removed. One function a verb.

pub mod chunks;
pub mod ingest;
pub mod list;
pub mod pipeline;
pub mod preview;
pub mod remove;
pub mod show;

use std::fmt::Write as _;

pub use chunks::{Cutting, DEFAULT_SIZE};
pub use documents::ChunkOptions;

/// Columns of texts, each as wide as its widest cell; numbers (cells of digits) to the right.
fn columns(header: &[&str], rows: &[Vec<String>]) -> String {
    let width = |c: usize| rows.iter().map(|r| shown(&r[c])).chain([shown(header[c])]).max().unwrap_or(0);
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let mut out = String::new();
    let mut line = |cells: Vec<&str>| {
        let mut text = String::new();
        for (i, cell) in cells.iter().enumerate() {
            let pad = " ".repeat(widths[i] - shown(cell));
            let number = !cell.is_empty() && cell.chars().all(|c| c.is_ascii_digit() || c == ',');
            let _ = if number { write!(text, "{pad}{cell}  ") } else { write!(text, "{cell}{pad}  ") };
        }
        out.push_str(text.trim_end());
        out.push('\n');
    };
    line(header.to_vec());
    rows.iter().for_each(|row| line(row.iter().map(String::as_str).collect()));
    out.truncate(out.trim_end().len());
    out
}

/// Columns of a terminal that a text takes: Chinese characters take two.
fn shown(text: &str) -> usize {
    text.chars().map(|c| if documents::script::is_cjk(c) { 2 } else { 1 }).sum()
}
