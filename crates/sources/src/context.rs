//! What every source needs to do its work, and the last step that all share: from chosen names to [`Resolved`].

use std::path::{Path, PathBuf};

use crate::cache::{Cache, below};
use crate::error::{Result, SourceError};
use crate::hash::{HashMemory, content_hash};
use crate::http::{Client, Patience};
use crate::options::SourceOptions;
use crate::progress::DownloadProgress;
use crate::select::{self, Selection};
use crate::{Resolved, SourceSpec, Want};

/// Settings, disk, wire.
pub(crate) struct Context<'a> {
    pub options: &'a SourceOptions,
    pub cache: &'a Cache,
    pub client: &'a Client,
    pub memory: HashMemory,
    pub patience: Patience,
}

/// Where the chosen files lie and what to say about them.
pub(crate) struct Found<'a> {
    pub spec: &'a SourceSpec,
    pub want: &'a Want,
    /// The directory that the selection's names start from.
    pub top: &'a Path,
    pub selection: &'a Selection,
    pub origin: String,
    pub revision: Option<String>,
    pub from_cache: bool,
}

impl Context<'_> {
    /// Checks that all is there, and hashes it.
    pub fn finish(&self, found: Found<'_>, progress: &mut dyn DownloadProgress) -> Result<Resolved> {
        let selection = found.selection;
        let what = found.spec.to_string();
        let outside = |name: &str| SourceError::Unusable { what: what.clone(), reason: format!("`{name}` is not a safe file name") };
        let path_of = |name: &str| below(found.top, name).ok_or_else(|| outside(name));
        let folder = match selection.dir.as_deref() {
            Some("") | None => found.top.to_owned(),
            Some(folder) => path_of(folder)?,
        };
        let files: Vec<PathBuf> = selection.files.iter().map(|n| path_of(n)).collect::<Result<_>>()?;
        if *found.want == Want::ModelDir && selection.dir.is_some() {
            select::check_index(&folder, &what)?;
        }
        let mut digests = Vec::with_capacity(files.len());
        for (name, path) in selection.files.iter().zip(&files) {
            let prefix = selection.dir.as_deref().unwrap_or_default();
            let relative = select::inside(name, prefix).unwrap_or(name);
            digests.push((relative.to_owned(), self.memory.sha256(path, progress)?));
        }
        let sha256 = match &digests[..] {
            [(_, one)] => one.clone(),
            _ => content_hash(digests),
        };
        // One file of a data set is that file; a model's directory stays a directory whatever it holds.
        let root = match (&files[..], found.want, &selection.dir) {
            ([first, ..], _, None) => first.clone(),
            ([only], Want::DatasetSplit { .. } | Want::File, _) => only.clone(),
            _ => folder,
        };
        selection.notes.iter().for_each(|note| progress.note(note));
        Ok(Resolved {
            spec: found.spec.clone(),
            files,
            root,
            sha256,
            origin: found.origin,
            revision: found.revision,
            from_cache: found.from_cache,
        })
    }
}

/// The files below a directory, with `/` between parts, sorted; links are followed, hidden folders and files are left out.
pub(crate) fn walk(dir: &Path, depth: usize) -> Result<Vec<String>> {
    let mut names = Vec::new();
    visit(dir, "", depth, &mut names)?;
    names.sort();
    Ok(names)
}

fn visit(dir: &Path, prefix: &str, depth: usize, names: &mut Vec<String>) -> Result<()> {
    let fail = |e| SourceError::io("reading", dir, e);
    for entry in std::fs::read_dir(dir).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        // A name that is no Unicode cannot be asked for.
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        if name.starts_with('.') {
            continue;
        }
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        // A dangling link is no file.
        match std::fs::metadata(entry.path()) {
            Ok(meta) if meta.is_file() => names.push(path),
            Ok(meta) if meta.is_dir() && depth > 0 => visit(&entry.path(), &path, depth - 1, names)?,
            _ => {}
        }
    }
    Ok(())
}
