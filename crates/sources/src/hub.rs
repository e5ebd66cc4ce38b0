//! Repositories of the Hugging Face hub: from the hub client's cache in place, from this project's cache, or over the network.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::cache::{below, discard};
use crate::context::{Context, Found};
use crate::download::{Job, download};
use crate::error::{Result, SourceError};
use crate::hash::{Checksum, is_hex_digest};
use crate::http::{Fetch, Reply};
use crate::hub_layout::{ListedFile, Listing, RepoDir};
use crate::progress::DownloadProgress;
use crate::select::{self, Offer, Selection};
use crate::spec::RepoType;
use crate::splits;
use crate::transport::Trust;
use crate::urls::{Url, encode_path, encode_segment};
use crate::{Resolved, SourceSpec, Want};

/// Longest listing that is read: a repository of a hundred thousand files.
const LISTING_LIMIT: u64 = 64 << 20;

/// Where the hub keeps its own Parquet version of data sets that are a loading script or an odd format.
const CONVERTED: &str = "refs/convert/parquet";

/// A repository, or a part of it, at a revision.
#[derive(Clone, Copy)]
pub(crate) struct Repo<'a> {
    pub repo_type: RepoType,
    pub repo: &'a str,
    pub revision: Option<&'a str>,
    pub path: Option<&'a str>,
}

impl Repo<'_> {
    fn revision(&self) -> &str {
        self.revision.unwrap_or("main")
    }

    /// `datasets/` in the addresses of data sets.
    fn prefix(&self) -> &'static str {
        if self.repo_type == RepoType::Dataset { "datasets/" } else { "" }
    }

    /// The source without its path.
    fn name(&self) -> String {
        let revision = self.revision.map(|r| format!("@{r}")).unwrap_or_default();
        format!("hf:{}{}{revision}", self.prefix(), self.repo)
    }

    fn page(&self, endpoint: &str) -> String {
        format!("{endpoint}/{}{}", self.prefix(), self.repo)
    }
}

pub(crate) fn resolve(
    ctx: &Context<'_>,
    spec: &SourceSpec,
    repo: Repo<'_>,
    want: &Want,
    progress: &mut dyn DownloadProgress,
) -> Result<Resolved> {
    let hub = Hub { ctx, spec, repo, want, own: RepoDir::new(&ctx.cache.hub_dir(), repo.repo_type, repo.repo) };
    let offline = ctx.options.offline || ctx.options.hub.offline;
    if offline || !ctx.options.refresh {
        match hub.on_disk(progress)? {
            Disk::Here(resolved) => return Ok(*resolved),
            Disk::Lacking(lacking) if offline => return Err(hub.offline(&lacking)),
            Disk::Lacking(_) => {}
        }
    }
    match hub.fetch(progress) {
        // What was asked for may be here in an older state.
        Err(error @ SourceError::Unreachable { .. }) if ctx.options.refresh => match hub.on_disk(progress)? {
            Disk::Here(resolved) => {
                progress.note(&format!("{error}; using what is here already"));
                Ok(*resolved)
            }
            Disk::Lacking(_) => Err(error),
        },
        outcome => outcome,
    }
}

struct Hub<'a> {
    ctx: &'a Context<'a>,
    spec: &'a SourceSpec,
    repo: Repo<'a>,
    want: &'a Want,
    /// The repository in this project's cache.
    own: RepoDir,
}

/// What the disk has.
enum Disk {
    Here(Box<Resolved>),
    Lacking(Lacking),
}

/// What the disk lacks, as far as it can tell.
#[derive(Default)]
struct Lacking {
    /// The commit whose listing is known, with the files of it that are missing.
    files: Option<(String, Vec<String>)>,
    /// Why a snapshot that is there could not be used.
    reasons: Vec<String>,
}

impl Hub<'_> {
    /// Looks in this project's cache, then in the hub client's.
    fn on_disk(&self, progress: &mut dyn DownloadProgress) -> Result<Disk> {
        let mut lacking = Lacking::default();
        let theirs = self.ctx.options.hub.cache_dir.as_ref().map(|dir| RepoDir::new(dir, self.repo.repo_type, self.repo.repo));
        for dir in [Some(&self.own), theirs.as_ref()].into_iter().flatten() {
            let Some(commit) = dir.commit_of(self.repo.revision()) else { continue };
            let Some(snapshot) = dir.snapshot(&commit) else { continue };
            let listing = dir.listing(&commit);
            let selection = match self.choose_on_disk(dir, &commit, &snapshot, listing.as_ref()) {
                Ok(Some(selection)) => selection,
                Ok(None) => {
                    lacking.files = Some((commit, vec!["README.md".to_owned()]));
                    continue;
                }
                // A listing is the whole truth about that commit.
                Err(error) if listing.is_some() && !self.may_convert(listing.as_ref()) => {
                    progress.note(&format!(
                        "{}: looking at commit {commit}, known from an earlier run; --refresh asks for a newer one",
                        self.repo.name()
                    ));
                    return Err(error);
                }
                Err(error) => {
                    lacking.reasons.push(format!("{}: {error}", snapshot.display()));
                    continue;
                }
            };
            let absent: Vec<String> = selection.files.iter().filter(|f| !present(&snapshot, f, listing.as_ref())).cloned().collect();
            if !absent.is_empty() {
                lacking.files = Some((commit, absent));
                continue;
            }
            if let Some(listing) = &listing {
                let damaged = self.damaged(&snapshot, &selection, listing, progress)?;
                if !damaged.is_empty() {
                    lacking.files = Some((commit, damaged));
                    continue;
                }
            }
            match self.found(&snapshot, &selection, &commit, true, progress) {
                Ok(resolved) => return Ok(Disk::Here(Box::new(resolved))),
                Err(error @ SourceError::Unusable { .. }) => lacking.reasons.push(error.to_string()),
                Err(error) => return Err(error),
            }
        }
        // A data set that exists only as the hub's own conversion is kept under that revision.
        if self.may_convert(None)
            && let Some(converted) = self.converted()
            && let Disk::Here(resolved) = converted.on_disk(progress)?
        {
            return Ok(Disk::Here(resolved));
        }
        Ok(Disk::Lacking(lacking))
    }

    /// Files of the right size with the wrong content are put away, so that they are fetched again.
    fn damaged(
        &self,
        snapshot: &Path,
        selection: &Selection,
        listing: &Listing,
        progress: &mut dyn DownloadProgress,
    ) -> Result<Vec<String>> {
        let mut damaged = Vec::new();
        for name in &selection.files {
            let Some(Checksum::Sha256(expected)) = listing.file(name).and_then(|f| f.checksum.as_ref()) else { continue };
            let path = snapshot.join(name);
            if self.ctx.memory.sha256(&path, progress)? != *expected {
                progress.note(&format!("{} is damaged; it has to be fetched again", path.display()));
                discard(&path);
                damaged.push(name.clone());
            }
        }
        Ok(damaged)
    }

    /// Chooses among what is listed, else among what is there; `None` when that needs a README that is listed but not here.
    fn choose_on_disk(&self, dir: &RepoDir, commit: &str, snapshot: &Path, listing: Option<&Listing>) -> Result<Option<Selection>> {
        let names = listing.map(Listing::names).unwrap_or_else(|| dir.present(commit));
        let mut want = self.want.clone();
        let mut readme = None;
        if let Want::DatasetSplit { split } = &mut want {
            readme = std::fs::read_to_string(snapshot.join("README.md")).ok();
            if readme.is_none() && listing.is_some_and(|l| l.file("README.md").is_some()) {
                return Ok(None);
            }
            // Without a listing the other splits may merely not be here, so the only one that is must not be taken for all.
            if listing.is_none() && split.is_none() {
                *split = Some("train".to_owned());
            }
        }
        self.choose(&names, readme.as_deref(), &want).map(Some)
    }

    fn choose(&self, names: &[String], readme: Option<&str>, want: &Want) -> Result<Selection> {
        let what = self.repo.name();
        let offer = Offer { what: &what, names, readme };
        let mut path = self.repo.path;
        if self.repo.revision == Some(CONVERTED) && path.is_none() {
            // The conversion has one folder for each configuration, CONFIG/SPLIT/0000.parquet.
            let mut folders: Vec<&str> = names.iter().filter_map(|n| Some(n.split_once('/')?.0)).collect();
            folders.dedup();
            path = folders.iter().copied().find(|f| *f == "default");
            if path.is_none() && folders.len() > 1 {
                let reason = format!("it has several configurations: add /NAME with one of {}", select::listed(&folders));
                return Err(select::unusable(&offer, reason));
            }
        }
        select::choose(&offer, path, want)
    }

    /// Brings what is missing.
    fn fetch(&self, progress: &mut dyn DownloadProgress) -> Result<Resolved> {
        let _lock = self.ctx.cache.lock(&self.repo.name(), progress)?;
        let mut known = None;
        if !self.ctx.options.refresh {
            // Another process may have brought it while this one waited.
            if let Disk::Here(resolved) = self.on_disk(progress)? {
                return Ok(*resolved);
            }
            known = self.own.commit_of(self.repo.revision()).and_then(|commit| self.own.listing(&commit));
        }
        let listing = match known {
            Some(listing) => listing,
            None => self.ask()?,
        };
        let commit = &listing.commit;
        let unsafe_name =
            |name: &str| SourceError::Unusable { what: self.repo.name(), reason: format!("`{name}` is not a safe file name") };
        let snapshot = self.own.snapshot(commit).ok_or_else(|| unsafe_name(commit))?;
        self.ctx.cache.create_dir(&snapshot)?;
        let names = listing.names();
        let mut readme = None;
        if let (Want::DatasetSplit { .. }, Some(file)) = (self.want, listing.file("README.md")) {
            self.bring(&listing, file, &snapshot, progress)?;
            readme = std::fs::read_to_string(snapshot.join("README.md")).ok();
        }
        if self.may_convert(Some(&listing))
            && let Some(converted) = self.converted()
        {
            progress.note(&format!("{}: it has no data files of its own; taking the hub's Parquet version of it", self.repo.name()));
            return converted.fetch(progress);
        }
        let selection = self.choose(&names, readme.as_deref(), self.want)?;
        for name in &selection.files {
            let file = listing.file(name).ok_or_else(|| unsafe_name(name))?;
            self.bring(&listing, file, &snapshot, progress)?;
        }
        self.found(&snapshot, &selection, commit, false, progress)
    }

    /// Whether the hub's own conversion is worth asking for: a data set without data, at its ordinary revision.
    fn may_convert(&self, listing: Option<&Listing>) -> bool {
        let empty = listing.is_none_or(|l| !splits::has_data(&l.names()));
        empty && self.repo.repo_type == RepoType::Dataset && self.repo.revision.is_none() && matches!(self.want, Want::DatasetSplit { .. })
    }

    fn converted(&self) -> Option<Hub<'_>> {
        let repo = Repo { revision: Some(CONVERTED), ..self.repo };
        Some(Hub { ctx: self.ctx, spec: self.spec, repo, want: self.want, own: self.own.clone() })
    }

    fn found(
        &self,
        snapshot: &Path,
        selection: &Selection,
        commit: &str,
        from_cache: bool,
        progress: &mut dyn DownloadProgress,
    ) -> Result<Resolved> {
        let origin =
            format!("{}{} at {commit} ({})", self.repo.prefix(), self.repo.repo, crate::urls::redact(&self.ctx.options.hub.endpoint));
        let revision = Some(commit.to_owned());
        self.ctx.finish(Found { spec: self.spec, want: self.want, top: snapshot, selection, origin, revision, from_cache }, progress)
    }

    fn address(&self, path: &str) -> Result<Url> {
        let endpoint = &self.ctx.options.hub.endpoint;
        Url::parse(&format!("{endpoint}/{path}"))
            .ok_or_else(|| SourceError::Setting { place: "HF_ENDPOINT".into(), reason: "it is not an address: write https://host".into() })
    }

    fn request(&self, url: Url) -> Fetch {
        Fetch {
            url,
            headers: Vec::new(),
            token: self.ctx.options.hub.token.clone(),
            trust: Trust { ca_files: self.ctx.options.ca_files.clone(), unverified: false },
            proxy: None,
            patience: self.ctx.patience,
        }
    }

    /// Asks the hub for the revision's commit and files, and keeps the answer.
    fn ask(&self) -> Result<Listing> {
        let kind = if self.repo.repo_type == RepoType::Dataset { "datasets" } else { "models" };
        let revision = encode_segment(self.repo.revision());
        let url = self.address(&format!("api/{kind}/{}/revision/{revision}?blobs=true", encode_path(self.repo.repo)))?;
        let mut fetch = self.request(url);
        fetch.headers.push(("accept", "application/json".into()));
        let reply = self.ctx.client.get(&fetch)?;
        if reply.answer.status != 200 {
            return Err(self.refusal(reply, &self.repo.name()));
        }
        let url = reply.url.shown();
        let listing = parse_listing(&reply.text(LISTING_LIMIT)?).map_err(|reason| SourceError::Answer { url, reason })?;
        self.ctx.cache.create_dir(self.own.path())?;
        self.own.keep_listing(&listing)?;
        self.own.note_commit(self.repo.revision(), &listing.commit)?;
        Ok(listing)
    }

    /// Downloads one file unless it is there.
    fn bring(&self, listing: &Listing, file: &ListedFile, snapshot: &Path, progress: &mut dyn DownloadProgress) -> Result<()> {
        if present(snapshot, &file.path, Some(listing)) {
            return Ok(());
        }
        let place = below(snapshot, &file.path)
            .ok_or_else(|| SourceError::Unusable { what: self.repo.name(), reason: format!("`{}` is not a safe file name", file.path) })?;
        let url = self.file_address(&listing.commit, &file.path)?;
        let what = format!("{}/{}", self.repo.name(), file.path);
        let job = Job {
            partial: self.ctx.cache.partial(&url.shown(), file.path.rsplit('/').next().unwrap_or_default()),
            fetch: self.request(url),
            name: &file.path,
            place: place.clone(),
            checksum: file.checksum.clone(),
            size: file.size,
            page_is_fine: true,
            refusal: &|reply| self.refusal(reply, &what),
        };
        let brought = download(self.ctx.client, &job, progress)?;
        self.ctx.memory.remember(&place, &brought.sha256);
        Ok(())
    }

    fn file_address(&self, commit: &str, path: &str) -> Result<Url> {
        self.address(&format!("{}{}/resolve/{}/{}", self.repo.prefix(), self.repo.repo, encode_segment(commit), encode_path(path)))
    }

    /// What the hub means by a refusal, and what helps. It answers 401 for what does not exist, so as not to tell whether it does.
    fn refusal(&self, mut reply: Reply, what: &str) -> SourceError {
        let code = reply.header("x-error-code").unwrap_or_default().to_owned();
        let status = reply.answer.status;
        let (endpoint, has_token) = (&self.ctx.options.hub.endpoint, self.ctx.options.hub.token.is_some());
        let page = self.repo.page(endpoint);
        let token = match has_token {
            true => "the token in HF_TOKEN (or in the hub's token file) does not give access",
            false => "set HF_TOKEN to a token that has access",
        };
        match (code.as_str(), status) {
            ("GatedRepo", _) => SourceError::Denied {
                what: what.to_owned(),
                status,
                reason: format!("the repository is gated: accept its terms at {page}, and {token} (tokens: {endpoint}/settings/tokens)"),
            },
            ("RepoNotFound", _) | ("", 401) => SourceError::NotFound {
                what: self.repo.name(),
                reason: format!("{page} does not exist, or it is private: check the name, or {token}"),
            },
            ("RevisionNotFound", _) => SourceError::NotFound {
                what: format!("the revision `{}` of {}", self.repo.revision(), self.repo.repo),
                reason: format!("see {page}/tree/main for its branches and tags"),
            },
            ("EntryNotFound", _) => SourceError::NotFound { what: what.to_owned(), reason: format!("see {page}/tree/main for its files") },
            (_, 401 | 403) => {
                let words = reply.words();
                let reason = if words.is_empty() { token.to_owned() } else { format!("{words}; {token}") };
                SourceError::Denied { what: what.to_owned(), status, reason }
            }
            _ => reply.into_error(what),
        }
    }

    fn offline(&self, lacking: &Lacking) -> SourceError {
        let repo = &self.repo;
        let missing = match &lacking.files {
            Some((_, files)) if files.len() <= 12 => format!("{} (lacking {})", self.spec, files.join(", ")),
            Some((_, files)) => format!("{} (lacking {} files)", self.spec, files.len()),
            None => self.spec.to_string(),
        };
        let mut text: String = lacking.reasons.iter().map(|r| format!("  ({r})\n")).collect();
        text.push_str("To bring it by hand, on a machine with a network run\n");
        let kind = if repo.repo_type == RepoType::Dataset { " --repo-type dataset" } else { "" };
        let commit = lacking.files.as_ref().map(|(commit, _)| commit.as_str());
        let target = commit.unwrap_or(repo.revision());
        let snapshot = self.own.snapshot(target).unwrap_or_else(|| PathBuf::from("snapshots"));
        text.push_str(&format!("  hf download {}{kind} --revision {target} --local-dir FOLDER\n", repo.repo));
        text.push_str(&format!("and put the folder's files here:\n  {}/", snapshot.display()));
        if let Some((commit, files)) = &lacking.files {
            for file in files.iter().take(12) {
                if let Ok(url) = self.file_address(commit, file) {
                    text.push_str(&format!("\n  {} from {}", snapshot.join(file).display(), url.shown()));
                }
            }
        }
        if let Some(theirs) = &self.ctx.options.hub.cache_dir {
            let dir = RepoDir::new(theirs, repo.repo_type, repo.repo);
            text.push_str(&format!("\nor copy the directory of this name from another machine's hub cache to\n  {}", dir.path().display()));
        }
        SourceError::Offline { missing, by_hand: text }
    }
}

/// Whether a file is there, with the size that it should have.
fn present(snapshot: &Path, name: &str, listing: Option<&Listing>) -> bool {
    let size = listing.and_then(|l| l.file(name)).and_then(|f| f.size);
    let meta = below(snapshot, name).and_then(|path| std::fs::metadata(path).ok());
    meta.is_some_and(|m| m.is_file() && size.is_none_or(|s| s == m.len()))
}

#[derive(Deserialize)]
struct ApiInfo {
    sha: Option<String>,
    #[serde(default)]
    siblings: Vec<ApiFile>,
}

#[derive(Deserialize)]
struct ApiFile {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob: Option<String>,
    lfs: Option<ApiLfs>,
}

#[derive(Deserialize)]
struct ApiLfs {
    sha256: Option<String>,
    oid: Option<String>,
    size: Option<u64>,
}

fn parse_listing(text: &str) -> std::result::Result<Listing, String> {
    let info: ApiInfo = serde_json::from_str(text).map_err(|e| format!("the answer is not the hub's description of a repository: {e}"))?;
    let commit = info.sha.filter(|sha| is_hex_digest(sha, 20)).ok_or("the answer names no commit")?;
    let mut files: Vec<ListedFile> = info
        .siblings
        .into_iter()
        .map(|file| {
            let checksum = match &file.lfs {
                Some(lfs) => {
                    let digest = lfs.sha256.as_deref().or(lfs.oid.as_deref());
                    digest.and_then(|d| Checksum::from_name("sha256", d.trim_start_matches("sha256:")))
                }
                None => file.blob.filter(|id| is_hex_digest(id, 20)).map(Checksum::GitBlob),
            };
            ListedFile { size: file.lfs.and_then(|l| l.size).or(file.size), path: file.rfilename, checksum }
        })
        .collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Listing { commit: commit.to_ascii_lowercase(), files })
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
