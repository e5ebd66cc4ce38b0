//! Where models and data come from: the Hugging Face hub, wheels on a Python package index, addresses, local paths.
//!
//! A [`SourceSpec`] is the name that a recipe or the command line gives; [`Sources::resolve`] turns it into files on this
//! machine, through one cache that downloads enter verified and atomically, and says which bytes they are
//! ([`Resolved::sha256`]). [`Sources::resolve_first`] tries alternatives in order. Offline, no socket is opened and the
//! error says how to bring what is missing by hand.
//!
//! How the parts stand together:
//! - names: [`spec`], settings: [`options`] (environment, pip's files), messages: [`error`], display: [`progress`]
//! - the wire: `transport` (the only module that knows the HTTP and TLS libraries), `http` (redirects, credentials,
//!   retries, dead hosts), `download` (resume, verify, put in place)
//! - the disk: `cache` (places, locks, atomic writes), `hash` (digests and their memory)
//! - the sources: `hub` and `hub_layout`, `pypi` with `simple_index`, `version` and `wheel`, `local`
//! - the choice of files in a repository: `select` for models, `splits` for data sets

mod cache;
mod context;
mod download;
pub mod error;
mod glob;
mod hash;
mod http;
mod hub;
mod hub_layout;
mod local;
pub mod options;
mod pip_config;
pub mod progress;
mod proxy;
mod pypi;
mod readme;
mod select;
mod simple_index;
pub mod spec;
mod splits;
#[cfg(test)]
mod testing;
mod transport;
mod urls;
mod version;
mod web;
mod wheel;

use std::path::PathBuf;

use context::Context;
use hash::HashMemory;
use http::{Client, Patience};
use transport::{Network, Transport};
use urls::redact;

pub use cache::Cache;
pub use error::{Result, SourceError};
pub use hash::sha256_file;
pub use options::SourceOptions;
pub use progress::{DownloadProgress, Lines, Silent};
pub use spec::{RepoType, SourceSpec};

/// What the caller will do with the source; it decides which files of a repository or directory are taken.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Want {
    /// A model: `config.json`, `*.safetensors` (and index), tokenizer files, chat template, `generation_config.json`; or
    /// a GGUF file, the one named or the only one; or a PEFT adapter's directory.
    ModelDir,
    /// The files of one split of a data set. Without a split: `train` where the repository has several, else everything.
    DatasetSplit {
        /// `train`, `validation`, `test`, or a name from the repository's README.
        split: Option<String>,
    },
    /// Exactly the file that the source names.
    File,
}

/// A source as files on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resolved {
    /// The source as it was asked for.
    pub spec: SourceSpec,
    /// The chosen files, sorted by their name relative to `root`.
    pub files: Vec<PathBuf>,
    /// The directory that holds them, or the single file.
    pub root: PathBuf,
    /// SHA-256, hexadecimal: of the file when there is one, else over the sorted `sha256  name\n` lines of all.
    pub sha256: String,
    /// For people: where the bytes came from (repository and commit, wheel, address, path). No secrets.
    pub origin: String,
    /// The commit or version that was taken, where the source has such a thing.
    pub revision: Option<String>,
    /// Nothing was downloaded.
    pub from_cache: bool,
}

/// Resolves sources. Keep one for the length of a command: it remembers which hosts did not answer.
pub struct Sources {
    options: SourceOptions,
    cache: Cache,
    client: Client,
}

impl Sources {
    /// Opens nothing and creates nothing yet.
    pub fn new(options: SourceOptions) -> Self {
        // Offline there is nothing that could open a socket.
        let transport = (!options.offline).then(|| Box::new(Network::default()) as Box<dyn Transport>);
        let client = Client::new(transport, options.proxies.clone());
        Self::with_client(options, client)
    }

    fn with_client(options: SourceOptions, client: Client) -> Self {
        let cache = Cache::new(options.cache_dir());
        Self { options, cache, client }
    }

    /// The settings in use.
    pub fn options(&self) -> &SourceOptions {
        &self.options
    }

    /// The cache in use.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Brings `spec` to this machine, unless it is here already, and names its files and their content hash.
    ///
    /// # Errors
    /// [`SourceError`]; its text says what failed and what to do.
    pub fn resolve(&self, spec: &SourceSpec, want: Want, progress: &mut dyn DownloadProgress) -> Result<Resolved> {
        self.resolve_one(spec, &want, true, progress)
    }

    /// Tries `specs` in order and returns the index of the first that works, with its files. Each failure is told to
    /// `progress` with its reason. A full disk, an unwritable cache or a cancellation end the search at once.
    ///
    /// # Errors
    /// [`SourceError::AllFailed`] with every reason; with one alternative only, its own error.
    pub fn resolve_first(&self, specs: &[SourceSpec], want: Want, progress: &mut dyn DownloadProgress) -> Result<(usize, Resolved)> {
        let wanted: Vec<(SourceSpec, Want)> = specs.iter().map(|spec| (spec.clone(), want.clone())).collect();
        self.resolve_first_of(&wanted, progress)
    }

    /// As [`Sources::resolve_first`], where each alternative is wanted for its own purpose (another split of another data set).
    ///
    /// # Errors
    /// As [`Sources::resolve_first`].
    pub fn resolve_first_of(&self, wanted: &[(SourceSpec, Want)], progress: &mut dyn DownloadProgress) -> Result<(usize, Resolved)> {
        let mut failures = Vec::new();
        for (index, (spec, want)) in wanted.iter().enumerate() {
            let last = index + 1 == wanted.len();
            match self.resolve_one(spec, want, last, progress) {
                Ok(resolved) => return Ok((index, resolved)),
                Err(error) if error.ends_everything() || wanted.len() == 1 => return Err(error),
                Err(error) => {
                    if !last {
                        // One line here; should all fail, the error has every word.
                        let text = error.to_string();
                        let reason = text.lines().next().unwrap_or_default();
                        progress.note(&format!(
                            "{}: {reason}; trying {}",
                            redact(&spec.to_string()),
                            redact(&wanted[index + 1].0.to_string())
                        ));
                    }
                    failures.push((spec.clone(), error));
                }
            }
        }
        if failures.is_empty() { Err(SourceError::NoSource) } else { Err(SourceError::AllFailed(failures)) }
    }

    fn resolve_one(&self, spec: &SourceSpec, want: &Want, last: bool, progress: &mut dyn DownloadProgress) -> Result<Resolved> {
        // Where something else can be tried instead, a host that stalls is left at once; where not, it gets more chances.
        let patience = Patience { first_byte: self.options.first_byte, retries: if last { 5 } else { 2 }, after_stall: last };
        let ctx =
            Context { options: &self.options, cache: &self.cache, client: &self.client, memory: HashMemory::new(&self.cache), patience };
        match spec {
            SourceSpec::Hf { repo_type, repo, revision, path } => {
                let repo = hub::Repo { repo_type: *repo_type, repo, revision: revision.as_deref(), path: path.as_deref() };
                hub::resolve(&ctx, spec, repo, want, progress)
            }
            SourceSpec::Pypi { package, version, path } => {
                let package = pypi::Package { package, version: version.as_deref(), path: path.as_deref() };
                pypi::resolve(&ctx, spec, package, want, progress)
            }
            SourceSpec::Url(url) => web::resolve(&ctx, spec, url, want, progress),
            SourceSpec::Path(path) => local::resolve(&ctx, spec, path, want, progress),
        }
    }
}

impl SourceSpec {
    /// What `tunesmith pull` means by a source that it knows nothing else about.
    pub fn usual_want(&self) -> Want {
        match self {
            Self::Hf { repo_type: RepoType::Dataset, .. } => Want::DatasetSplit { split: None },
            Self::Hf { path: None, .. } | Self::Pypi { path: None, .. } => Want::ModelDir,
            Self::Path(path) if path.is_dir() => Want::ModelDir,
            Self::Hf { .. } | Self::Pypi { .. } | Self::Url(_) | Self::Path(_) => Want::File,
        }
    }
}

#[cfg(test)]
#[path = "sources_tests.rs"]
mod tests;
