//! One file at an address.

use std::fs;
use std::path::Path;

use crate::cache::write_atomically;
use crate::context::{Context, Found};
use crate::download::{Job, download};
use crate::error::{Result, SourceError};
use crate::hash::Checksum;
use crate::http::Fetch;
use crate::progress::DownloadProgress;
use crate::select::Selection;
use crate::transport::Trust;
use crate::urls::{Url, split_fragment};
use crate::{Resolved, SourceSpec, Want};

pub(crate) fn resolve(
    ctx: &Context<'_>,
    spec: &SourceSpec,
    text: &str,
    want: &Want,
    progress: &mut dyn DownloadProgress,
) -> Result<Resolved> {
    let bad = |reason: String| SourceError::Spec { input: crate::urls::redact(text), reason };
    let (address, fragment) = split_fragment(text);
    let url = Url::parse(address).ok_or_else(|| bad("the address has no host; write https://host/file".into()))?;
    let checksum = match fragment.and_then(|f| f.split('&').find_map(|part| part.split_once('='))) {
        Some((name, digest)) if name.starts_with("sha") => {
            let known = Checksum::from_name(name, digest);
            Some(known.ok_or_else(|| bad(format!("`#{name}=` must be followed by the {name} of the file in hexadecimal")))?)
        }
        _ => None,
    };
    let name = safe_name(&url);
    let lower = name.to_ascii_lowercase();
    if *want == Want::ModelDir && !lower.ends_with(".gguf") {
        let reason = "an address gives one file, and only a .gguf is a whole model; a directory of files comes with hf:org/name or a path";
        return Err(SourceError::Unusable { what: url.shown(), reason: reason.into() });
    }
    let dir = ctx.cache.url_dir(address);
    let place = dir.join(&name);
    let selection = Selection::file(&name);
    let found = |from_cache| Found { spec, want, top: &dir, selection: &selection, origin: url.shown(), revision: None, from_cache };
    let usable = |progress: &mut dyn DownloadProgress| -> Result<Option<Resolved>> {
        if !place.is_file() {
            return Ok(None);
        }
        let resolved = ctx.finish(found(true), progress)?;
        match checksum.as_ref().map(|c| c.verify(&place, &resolved.sha256, &place.display().to_string())) {
            None | Some(Ok(())) => Ok(Some(resolved)),
            Some(Err(_)) if !ctx.options.offline => Ok(None),
            Some(Err(error)) => Err(error),
        }
    };
    if (!ctx.options.refresh || ctx.options.offline)
        && let Some(resolved) = usable(progress)?
    {
        return Ok(resolved);
    }
    if ctx.options.offline {
        return Err(offline(&url, &place));
    }
    let _lock = ctx.cache.lock(&url.shown(), progress)?;
    // Another process may have brought it while this one waited.
    if !ctx.options.refresh
        && let Some(resolved) = usable(progress)?
    {
        return Ok(resolved);
    }
    let shown = url.shown();
    let job = Job {
        fetch: Fetch {
            url: url.clone(),
            headers: Vec::new(),
            token: None,
            trust: Trust { ca_files: ctx.options.ca_files.clone(), unverified: false },
            proxy: None,
            patience: ctx.patience,
        },
        name: &name,
        partial: ctx.cache.partial(address, &name),
        place: place.clone(),
        checksum: checksum.clone(),
        size: None,
        page_is_fine: lower.ends_with(".html") || lower.ends_with(".htm"),
        refusal: &|reply| reply.into_error(&shown),
    };
    ctx.cache.create_dir(&dir)?;
    let brought = download(ctx.client, &job, progress)?;
    ctx.memory.remember(&place, &brought.sha256);
    // For people who look into the cache.
    let record = serde_json::json!({ "url": url.shown(), "size": brought.size, "sha256": brought.sha256, "etag": brought.etag });
    write_atomically(&dir.join("source.json"), format!("{record:#}\n").as_bytes())?;
    ctx.finish(found(false), progress)
}

/// The address's last part as a file name of the cache.
fn safe_name(url: &Url) -> String {
    let name = url.file_name().unwrap_or_else(|| "download".to_owned());
    let name: String = name.chars().map(|c| if c.is_control() || "/\\:".contains(c) { '_' } else { c }).take(120).collect();
    // `source.json` stands beside the file.
    if name.starts_with('.') || name == "source.json" { format!("_{name}") } else { name }
}

fn offline(url: &Url, place: &Path) -> SourceError {
    let dir = place.parent().unwrap_or(place);
    let exists = fs::exists(dir).unwrap_or(false);
    let mkdir = if exists { String::new() } else { format!("mkdir -p '{}' && ", dir.display()) };
    SourceError::Offline {
        missing: url.shown(),
        by_hand: format!(
            "To bring it by hand, download it on a machine with a network and put it exactly here:\n  {}\nor, with a network on this one:\n  \
             {mkdir}curl -L -o '{}' '{}'",
            place.display(),
            place.display(),
            url.shown()
        ),
    }
}
