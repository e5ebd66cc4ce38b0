//! Models and adapters to files. Every file appears under its name only when it is complete.

mod adapter;
mod merge;
mod pretrained;

pub use adapter::{SIDE_FILE, SideFile, save_adapter};
pub use merge::{MergeReport, merge};
pub use pretrained::{FileType, SaveOptions, save_pretrained};

use crate::error::{ModelError, Result};
use containers::save::write_atomic;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// safetensors metadata without which older `transformers` refuse a file.
fn format_pt() -> BTreeMap<String, String> {
    BTreeMap::from([("format".to_owned(), "pt".to_owned())])
}

/// Creates the directory.
fn create(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).map_err(|e| ModelError::file(dir, format!("cannot be created: {e}")))
}

/// Indented JSON with a final newline.
fn write_json(path: &Path, value: &Value) -> Result<()> {
    write_atomic(path, format!("{value:#}\n").as_bytes()).map_err(crate::load::base::container)
}

/// `value` with the keys of every object sorted, as PEFT and transformers write them.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let map: BTreeMap<String, Value> = map.into_iter().map(|(k, v)| (k, sorted(v))).collect();
            Value::Object(map.into_iter().collect())
        }
        other => other,
    }
}

/// `w += scale · b·a` with `w` `[outputs, inputs]`, `b` `[outputs, rank]`, `a` `[rank, inputs]`.
///
/// In f64 over the rank: merging happens once, and its rounding should not be what merged and unmerged logits differ by.
fn add_low_rank(w: &mut [f32], a: &[f32], b: &[f32], rank: usize, scale: f32) {
    use rayon::prelude::*;
    let inputs = a.len().checked_div(rank).unwrap_or(0);
    if inputs == 0 {
        return;
    }
    w.par_chunks_mut(inputs).zip(b.par_chunks(rank)).for_each(|(row, b)| {
        let mut delta = vec![0.0f64; inputs];
        for (r, b) in b.iter().enumerate() {
            let factor = *b as f64 * scale as f64;
            for (d, a) in delta.iter_mut().zip(&a[r * inputs..]) {
                *d += factor * *a as f64;
            }
        }
        for (w, d) in row.iter_mut().zip(delta) {
            *w = (*w as f64 + d) as f32;
        }
    });
}
