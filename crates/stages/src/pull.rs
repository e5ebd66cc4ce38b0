//! Fetching by name: `tunesmith pull`.

use std::path::PathBuf;

use serde::Serialize;
use sources::{RepoType, SourceSpec, Want};

use crate::environment::Environment;
use crate::error::Result;
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
    let want = match &spec {
        SourceSpec::Hf { path: Some(_), .. } => Want::File,
        SourceSpec::Hf { repo_type: RepoType::Model, .. } => Want::ModelDir,
        SourceSpec::Hf { .. } => Want::DatasetSplit { split: split.map(str::to_owned) },
        _ => Want::File,
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
