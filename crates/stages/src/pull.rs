//! Fetching by name: `tunesmith pull`.

use std::path::PathBuf;

use serde::Serialize;
use sources::{SourceSpec, Want};

use crate::environment::Environment;
use crate::error::{Result, StageError};
use crate::progress::{Downloads, Progress};

/// What was fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pulled {
    /// As asked for.
    pub source: String,
    /// The file, or the directory that holds the files.
    pub path: String,
    /// The files.
    pub files: Vec<PathBuf>,
    /// SHA-256 of the content.
    pub sha256: String,
    /// Size of all files.
    pub bytes: u64,
    /// Nothing had to be downloaded.
    pub from_cache: bool,
}

/// Brings a source into the cache. `split` concerns data sets.
pub fn run(environment: &Environment, source: &str, split: Option<&str>, progress: &mut dyn Progress) -> Result<Pulled> {
    let spec: SourceSpec = source.parse()?;
    let want = match (spec.usual_want(), split) {
        (Want::DatasetSplit { .. }, Some(split)) => Want::DatasetSplit { split: Some(split.to_owned()) },
        (want, None) => want,
        (_, Some(split)) => {
            return Err(StageError::input(format!("--split {split}: {spec} is no data set of the hub, so it has no splits")));
        }
    };
    let resolved = environment.sources.resolve(&spec, want, &mut Downloads(progress))?;
    let bytes = resolved.files.iter().filter_map(|f| std::fs::metadata(f).ok()).map(|m| m.len()).sum();
    Ok(Pulled {
        source: resolved.spec.to_string(),
        path: resolved.root.display().to_string(),
        files: resolved.files,
        sha256: resolved.sha256,
        bytes,
        from_cache: resolved.from_cache,
    })
}
