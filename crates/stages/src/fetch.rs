//! Sources of a recipe become files: alternatives tried in order, the one used remembered with its content hash.

use dataset::{DatasetSpec, SourceEntry};
use recipe::Recipe;
use serde::{Deserialize, Serialize};
use sources::{Resolved, SourceSpec, Want};

use crate::environment::Environment;
use crate::error::{Result, StageError};
use crate::progress::{Downloads, Progress};

/// The source that was used, as a run remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// As the recipe names it.
    pub source: String,
    /// Where its bytes came from (repository and commit, wheel, path).
    pub origin: String,
    /// SHA-256 of its content.
    pub sha256: String,
}

impl Used {
    fn new(resolved: &Resolved) -> Self {
        Self { source: resolved.spec.to_string(), origin: resolved.origin.clone(), sha256: resolved.sha256.clone() }
    }
}

/// The model's files. With `before` (what a run used), exactly that source with exactly that content is accepted.
pub(crate) fn model(
    environment: &Environment,
    alternatives: &[SourceSpec],
    before: Option<&Used>,
    progress: &mut dyn Progress,
) -> Result<(Resolved, Used)> {
    let alternatives = restrict(alternatives, before, "model", |spec| spec.to_string())?;
    let (_, resolved) = environment.sources.resolve_first(&alternatives, Want::ModelDir, &mut Downloads(progress))?;
    let used = Used::new(&resolved);
    same(before, &used, "model")?;
    Ok((resolved, used))
}

/// The rows' files, and the entry that says how to read them. `before` as in [`model`].
pub(crate) fn dataset(
    environment: &Environment,
    recipe: &Recipe,
    spec: &DatasetSpec,
    before: Option<&Used>,
    progress: &mut dyn Progress,
) -> Result<(SourceEntry, Resolved, Used)> {
    let mut parsed = Vec::new();
    for entry in &spec.sources {
        let source: SourceSpec = entry.source.parse()?;
        parsed.push((entry.clone(), recipe.locate(&source)));
    }
    let parsed = restrict(&parsed, before, "data set", |(_, source)| source.to_string())?;
    let wanted: Vec<(SourceSpec, Want)> =
        parsed.iter().map(|(entry, source)| (source.clone(), Want::DatasetSplit { split: entry.split.clone() })).collect();
    let (index, resolved) = environment.sources.resolve_first_of(&wanted, &mut Downloads(progress))?;
    let used = Used::new(&resolved);
    same(before, &used, "data set")?;
    Ok((parsed[index].0.clone(), resolved, used))
}

/// Of the alternatives, those that a run may go on with: all for a new run, the one it used otherwise.
fn restrict<T: Clone>(all: &[T], before: Option<&Used>, what: &str, name: impl Fn(&T) -> String) -> Result<Vec<T>> {
    let Some(before) = before else { return Ok(all.to_vec()) };
    let kept: Vec<T> = all.iter().filter(|a| name(a) == before.source).cloned().collect();
    if kept.is_empty() {
        return Err(StageError::input_help(
            format!("{what}: the run used {}, which the recipe no longer names", before.source),
            "restore that source in the recipe, or start another run with another --output-dir",
        ));
    }
    Ok(kept)
}

fn same(before: Option<&Used>, now: &Used, what: &str) -> Result<()> {
    match before {
        Some(before) if before.sha256 != now.sha256 => Err(StageError::input_help(
            format!("{what}: {} has changed: the run used content {}, now it is {}", now.source, short(&before.sha256), short(&now.sha256)),
            "bring back the former content, or start another run with another --output-dir",
        )),
        _ => Ok(()),
    }
}

/// Enough of a hash to tell two apart in a message.
pub(crate) fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}
