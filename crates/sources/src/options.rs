//! Settings of the sources, read once from the environment (and pip's and the hub's files) or set by the caller.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::error::{Result, SourceError};

/// Where to look, what to trust, whether to touch the network.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    cache_dir: PathBuf,
    offline: bool,
    refresh: bool,
}

impl SourceOptions {
    /// Reads `TUNESMITH_CACHE`, `TUNESMITH_OFFLINE`, `XDG_CACHE_HOME`; `HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME`, `HF_HUB_CACHE`,
    /// `HF_HUB_OFFLINE`; pip's `PIP_*` variables and configuration files; `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`.
    ///
    /// # Errors
    /// [`SourceError::Setting`] for a value that cannot be used.
    pub fn from_env() -> Result<Self> {
        Self::from_lookup(&|name| std::env::var_os(name))
    }

    /// As [`Self::from_env`] with the environment given as a function, for tests and embedders.
    ///
    /// # Errors
    /// As [`Self::from_env`].
    pub fn from_lookup(env: &dyn Fn(&str) -> Option<OsString>) -> Result<Self> {
        let set = |name: &str| env(name).filter(|v| !v.is_empty());
        let cache_dir = set("TUNESMITH_CACHE").map(PathBuf::from).ok_or(SourceError::NoSource)?;
        Ok(Self { cache_dir, offline: false, refresh: false })
    }

    /// Settings without any environment: the public hub and index, no token, no proxy, this cache.
    pub fn with_cache(cache_dir: impl Into<PathBuf>) -> Self {
        Self { cache_dir: cache_dir.into(), offline: false, refresh: false }
    }

    /// With true no socket is opened.
    pub fn offline(mut self, offline: bool) -> Self {
        self.offline = offline;
        self
    }

    /// With true the hub is asked for a newer commit of a branch, and addresses are fetched again, though the cache has them.
    pub fn refresh(mut self, refresh: bool) -> Self {
        self.refresh = refresh;
        self
    }

    /// Where downloads are kept.
    pub fn cache_dir(&self) -> &Path {
        &self.cache_dir
    }

    /// Whether the network is off.
    pub fn is_offline(&self) -> bool {
        self.offline
    }
}
