//! Files and directories on this machine, taken as they are: nothing is copied or written beside them.

use std::path::Path;

use crate::context::{Context, Found, walk};
use crate::error::{Result, SourceError};
use crate::options::expand_home;
use crate::progress::DownloadProgress;
use crate::select::{self, Offer};
use crate::{Resolved, SourceSpec, Want};

/// Folders below a data set's or model's directory that are looked into.
const DEPTH: usize = 4;

pub(crate) fn resolve(
    ctx: &Context<'_>,
    spec: &SourceSpec,
    path: &Path,
    want: &Want,
    progress: &mut dyn DownloadProgress,
) -> Result<Resolved> {
    let expanded = expand_home(path, ctx.options.home.as_deref());
    let what = path.display().to_string();
    let meta = match std::fs::metadata(&expanded) {
        Ok(meta) => meta,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(absent(path, &expanded)),
        Err(e) => return Err(SourceError::io("reading", &expanded, e)),
    };
    let absolute = std::path::absolute(&expanded).unwrap_or(expanded);
    let (top, inner) = if meta.is_dir() {
        (absolute.as_path(), None)
    } else {
        let name = absolute.file_name().and_then(|n| n.to_str()).map(str::to_owned);
        let name = name.ok_or_else(|| SourceError::Unusable { what: what.clone(), reason: "its name is not valid Unicode".into() })?;
        (absolute.parent().unwrap_or(Path::new("/")), Some(name))
    };
    // For one file its neighbours matter only where it may be part of a split one.
    let names = match &inner {
        Some(name) if *want != Want::ModelDir => vec![name.clone()],
        Some(_) => walk(top, 0)?,
        None => walk(top, DEPTH)?,
    };
    let readme = match (&inner, want) {
        (None, Want::DatasetSplit { .. }) => std::fs::read_to_string(top.join("README.md")).ok(),
        _ => None,
    };
    let offer = Offer { what: &what, names: &names, readme: readme.as_deref() };
    // A hidden file is not listed, but may be named.
    let selection = match &inner {
        Some(name) if *want != Want::ModelDir => select::Selection::file(name),
        inner => select::choose(&offer, inner.as_deref(), want)?,
    };
    let origin = absolute.display().to_string();
    ctx.finish(Found { spec, want, top, selection: &selection, origin, revision: None, from_cache: true }, progress)
}

fn absent(path: &Path, expanded: &Path) -> SourceError {
    let text = path.to_string_lossy();
    let parts: Vec<&str> = text.split('/').collect();
    let looks_like_repository = matches!(&parts[..], [org, name] if !org.is_empty() && !name.is_empty() && !org.starts_with(['.', '~']));
    let hint = if looks_like_repository && !text.contains(['\\', ':']) {
        format!("; for the hub's repository of that name write hf:{text} (a data set: hf:datasets/{text})")
    } else if let Some((before, _)) = text.split_once(':').filter(|(b, _)| b.len() > 1 && b.chars().all(|c| c.is_ascii_alphanumeric())) {
        format!("; `{before}:` is no source that is known: there are hf:, pypi: and https://")
    } else {
        String::new()
    };
    let place = if expanded.is_absolute() {
        String::new()
    } else {
        std::env::current_dir().map(|d| format!(" in {}", d.display())).unwrap_or_default()
    };
    SourceError::NotFound { what: format!("`{text}`"), reason: format!("there is no such file or directory{place}{hint}") }
}
