//! Models and adapters from files.

mod adapter;
pub(crate) mod base;

pub use adapter::{LoadedAdapter, LowRank, load_adapter};
pub use base::{BaseModel, load_model, load_model_in};

use crate::error::{ModelError, Result};
use serde_json::Value;
use std::path::Path;

/// Reads a JSON file; errors name it with line and column.
pub(crate) fn json(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).map_err(|e| ModelError::file(path, format!("cannot be read: {e}")))?;
    serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|e| ModelError::file(path, format!("is not JSON: {e}")))
}
