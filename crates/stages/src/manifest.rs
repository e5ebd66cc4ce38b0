//! `run.json`: what a run's directory says about itself, enough to use, resume, merge and trace it without the recipe's file.

use std::io::Write;
use std::path::Path;

use dataset::Shape;
use recipe::Recipe;
use serde::{Deserialize, Serialize};

use crate::error::{Result, StageError};
use crate::fetch::Used;

/// The manifest's file name.
pub const FILE: &str = "run.json";

/// What a run is. It holds no times: equal runs have equal manifests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The program's version that wrote it.
    pub tunesmith: String,
    /// The base model.
    pub model: Used,
    /// The rows.
    pub dataset: Used,
    /// The rows to measure on, where they are a data set of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval_dataset: Option<Used>,
    /// What one row was.
    pub shape: Shape,
    /// What the rows were: counts that a reader asks for first.
    pub rows: Rows,
    /// SHA-256 over tokenizer and chat template: what the model was taught with, it must be asked with.
    pub tokenizer_sha256: String,
    /// The recipe, resolved, with every default filled in.
    pub recipe: serde_json::Value,
}

/// How many rows became what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows {
    /// Trained on.
    pub train: usize,
    /// Held out.
    pub heldout: usize,
    /// Cut because they were longer than `cutoff_len`.
    pub truncated: usize,
    /// Left out: unreadable, no known label, nothing to train.
    pub dropped: usize,
}

impl Manifest {
    /// Writes it into a run's directory, by rename.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|e| StageError::Work { message: format!("{FILE}: cannot be written as JSON: {e}"), help: None })?;
        write_atomic(&dir.join(FILE), (text + "\n").as_bytes())
    }

    /// The manifest of a directory; `None` where there is none.
    pub fn load(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => return Ok(None),
            Err(e) => return Err(StageError::io(&path, "read", &e)),
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| StageError::input(format!("{}:{}: not a run's manifest: {e}", path.display(), e.line())))
    }

    /// The recipe in it.
    pub fn recipe(&self, dir: &Path) -> Result<Recipe> {
        Ok(Recipe::from_json(&self.recipe.to_string(), &dir.join(FILE).display().to_string())?)
    }
}

/// Writes a file so that a reader sees all of it or none.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let written = std::fs::File::create(&temporary).and_then(|mut f| f.write_all(bytes).and_then(|()| f.sync_all()));
    written.and_then(|()| std::fs::rename(&temporary, path)).map_err(|e| {
        let _ = std::fs::remove_file(&temporary);
        StageError::io(path, "write", &e)
    })
}
