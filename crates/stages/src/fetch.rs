//! Sources of a recipe become files: alternatives tried in order, the one used remembered with its content hash.

use std::path::{Component, Path, PathBuf};

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
        let origin = match resolved.spec {
            SourceSpec::Path(_) => tidy(Path::new(&resolved.origin)).display().to_string(),
            _ => resolved.origin.clone(),
        };
        Self { source: resolved.spec.to_string(), origin, sha256: resolved.sha256.clone() }
    }

    /// Whether this is what `spec` names. A local path may be spelled as seen from another directory.
    fn is(&self, spec: &SourceSpec) -> bool {
        let elsewhere = || match spec {
            SourceSpec::Path(path) => std::path::absolute(path).is_ok_and(|p| tidy(&p) == Path::new(&self.origin)),
            _ => false,
        };
        self.source == spec.to_string() || elsewhere()
    }

    /// Where the very same content is found, from whatever directory the program is run.
    pub(crate) fn spec(&self) -> Result<SourceSpec> {
        let spec = self.source.parse()?;
        let origin = Path::new(&self.origin);
        Ok(if matches!(spec, SourceSpec::Path(_)) && origin.exists() { SourceSpec::Path(origin.to_path_buf()) } else { spec })
    }

    /// This use as the run `before` spells it.
    ///
    /// # Errors
    /// The content is another one.
    fn again(self, before: Option<&Used>, what: &str) -> Result<Self> {
        match before {
            Some(before) if before.sha256 != self.sha256 => Err(StageError::input_help(
                format!(
                    "{what}: {} has changed: the run used content {}, now it is {}",
                    self.source,
                    short(&before.sha256),
                    short(&self.sha256)
                ),
                "bring back the former content, or start another run with another --output-dir",
            )),
            Some(before) => Ok(Self { source: before.source.clone(), ..self }),
            None => Ok(self),
        }
    }
}

/// The model's files. With `before` (what a run used), exactly that source with exactly that content is accepted.
pub(crate) fn model(
    environment: &Environment,
    alternatives: &[SourceSpec],
    before: Option<&Used>,
    progress: &mut dyn Progress,
) -> Result<(Resolved, Used)> {
    let alternatives = restrict(alternatives, before, "model", |spec| spec)?;
    let (_, resolved) = environment.sources.resolve_first(&alternatives, Want::ModelDir, &mut Downloads(progress))?;
    let used = Used::new(&resolved).again(before, "model")?;
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
    let parsed = restrict(&parsed, before, "data set", |(_, source)| source)?;
    let wanted: Vec<(SourceSpec, Want)> =
        parsed.iter().map(|(entry, source)| (source.clone(), Want::DatasetSplit { split: entry.split.clone() })).collect();
    let (index, resolved) = environment.sources.resolve_first_of(&wanted, &mut Downloads(progress))?;
    let used = Used::new(&resolved).again(before, "data set")?;
    Ok((parsed[index].0.clone(), resolved, used))
}

/// Of the alternatives, those that a run may go on with: all for a new run, the one it used otherwise.
fn restrict<T: Clone>(all: &[T], before: Option<&Used>, what: &str, spec: impl Fn(&T) -> &SourceSpec) -> Result<Vec<T>> {
    let Some(before) = before else { return Ok(all.to_vec()) };
    let kept: Vec<T> = all.iter().filter(|a| before.is(spec(a))).cloned().collect();
    if kept.is_empty() {
        return Err(StageError::input_help(
            format!("{what}: the run used {}, which the recipe no longer names", before.source),
            "restore that source in the recipe, or start another run with another --output-dir",
        ));
    }
    Ok(kept)
}

/// A path without `.` and `..`, so that two spellings of one place are equal.
fn tidy(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut out, part| {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            part => out.push(part),
        }
        out
    })
}

/// Enough of a hash to tell two apart in a message.
pub(crate) fn short(sha256: &str) -> &str {
    sha256.get(..12).unwrap_or(sha256)
}
