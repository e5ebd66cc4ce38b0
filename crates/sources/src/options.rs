//! Settings of the sources, read once from the environment (and pip's and the hub's files) or set by the caller.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Result, SourceError};
use crate::pip_config::PipSettings;
use crate::proxy::Proxies;
use crate::urls::Url;

/// A host that has sent nothing for this long is given up: name, connection, handshake and first byte together.
const FIRST_BYTE: Duration = Duration::from_secs(9);

/// Where to look, what to trust, whether to touch the network.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    pub(crate) cache_dir: PathBuf,
    pub(crate) offline: bool,
    pub(crate) refresh: bool,
    pub(crate) home: Option<PathBuf>,
    pub(crate) hub: HubSettings,
    pub(crate) pip: PipSettings,
    pub(crate) proxies: Proxies,
    /// Bundles beside the system's that the environment names to other programs.
    pub(crate) ca_files: Vec<PathBuf>,
    pub(crate) first_byte: Duration,
}

/// Settings of the Hugging Face hub.
#[derive(Debug, Clone)]
pub(crate) struct HubSettings {
    /// Without a slash at its end.
    pub endpoint: String,
    pub token: Option<Secret>,
    /// `HF_HUB_OFFLINE`: only this source is offline.
    pub offline: bool,
    /// The hub client's own cache, read in place.
    pub cache_dir: Option<PathBuf>,
}

/// A token that does not show itself.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl SourceOptions {
    /// Reads `TUNESMITH_CACHE`, `TUNESMITH_OFFLINE`, `XDG_CACHE_HOME`; `HF_ENDPOINT`, `HF_TOKEN`, `HF_TOKEN_PATH`, `HF_HOME`,
    /// `HF_HUB_CACHE`, `HF_HUB_OFFLINE`, `HF_HUB_DISABLE_IMPLICIT_TOKEN`; pip's `PIP_*` variables and configuration files;
    /// `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`; `REQUESTS_CA_BUNDLE`, `CURL_CA_BUNDLE`.
    /// (`SSL_CERT_FILE` and `SSL_CERT_DIR` are read when the first secure connection is made.)
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
        let home = set("HOME").or_else(|| set("USERPROFILE")).map(PathBuf::from);
        // XDG: a relative path in such a variable is invalid and ignored.
        let xdg = set("XDG_CACHE_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
        let caches = xdg.or_else(|| home.as_ref().map(|h| h.join(".cache")));
        let cache_dir = match set("TUNESMITH_CACHE").map(|v| expand_home(Path::new(&v), home.as_deref())) {
            Some(dir) => dir,
            None => caches.as_ref().map(|c| c.join("tunesmith")).ok_or_else(|| SourceError::Setting {
                place: "TUNESMITH_CACHE".into(),
                reason: "neither it nor XDG_CACHE_HOME nor HOME is set: name a directory for downloads".into(),
            })?,
        };
        let cache_dir = std::path::absolute(&cache_dir).unwrap_or(cache_dir);
        Ok(Self {
            cache_dir,
            offline: flag(env, "TUNESMITH_OFFLINE")?,
            refresh: false,
            hub: hub_settings(env, home.as_deref(), caches.as_deref())?,
            pip: PipSettings::read(env)?,
            proxies: Proxies::read(env),
            ca_files: ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"]
                .iter()
                .filter_map(|n| set(n))
                .map(PathBuf::from)
                .filter(|p| p.exists())
                .collect(),
            home,
            first_byte: FIRST_BYTE,
        })
    }

    /// Settings without any environment: the public hub and index, no token, no proxy, this cache.
    pub fn with_cache(cache_dir: impl Into<PathBuf>) -> Self {
        Self {
            cache_dir: cache_dir.into(),
            offline: false,
            refresh: false,
            home: None,
            hub: HubSettings { endpoint: DEFAULT_ENDPOINT.to_owned(), token: None, offline: false, cache_dir: None },
            pip: PipSettings::default(),
            proxies: Proxies::default(),
            ca_files: Vec::new(),
            first_byte: FIRST_BYTE,
        }
    }

    /// With true no socket is opened.
    pub fn offline(mut self, offline: bool) -> Self {
        self.offline = offline;
        self
    }

    /// With true the hub is asked for a newer commit of a branch, the index for a newer release where no version is given, and
    /// addresses are fetched again, though the cache has them.
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

    /// The hub's address in use.
    pub fn hub_endpoint(&self) -> &str {
        &self.hub.endpoint
    }

    /// The package indexes in use, without credentials.
    pub fn package_indexes(&self) -> Vec<String> {
        self.pip.indexes.iter().map(|i| crate::urls::redact(i)).collect()
    }
}

const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

fn hub_settings(env: &dyn Fn(&str) -> Option<OsString>, home: Option<&Path>, caches: Option<&Path>) -> Result<HubSettings> {
    let text = |name: &str| env(name).map(|v| v.to_string_lossy().trim().to_owned()).filter(|v| !v.is_empty());
    let path = |name: &str| env(name).filter(|v| !v.is_empty()).map(|v| expand_home(Path::new(&v), home));
    let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned());
    let endpoint = endpoint.trim_end_matches('/').to_owned();
    if !Url::parse(&endpoint).is_some_and(|u| u.scheme == "https" || u.scheme == "http") {
        return Err(SourceError::Setting {
            place: "HF_ENDPOINT".into(),
            reason: format!("`{}` is not an address: write https://host", crate::urls::redact(&endpoint)),
        });
    }
    let hf_home = path("HF_HOME").or_else(|| caches.map(|c| c.join("huggingface")));
    let cache_dir = path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE")).or_else(|| hf_home.as_ref().map(|h| h.join("hub")));
    let mut token = text("HF_TOKEN").or_else(|| text("HUGGING_FACE_HUB_TOKEN"));
    if token.is_none() && !flag(env, "HF_HUB_DISABLE_IMPLICIT_TOKEN")? {
        let file = path("HF_TOKEN_PATH").or_else(|| hf_home.as_ref().map(|h| h.join("token")));
        token = file.and_then(|f| std::fs::read_to_string(f).ok()).map(|t| t.trim().to_owned()).filter(|t| !t.is_empty());
    }
    if token.as_ref().is_some_and(|t| t.chars().any(|c| c.is_whitespace() || c.is_control() || !c.is_ascii())) {
        return Err(SourceError::Setting {
            place: "HF_TOKEN".into(),
            reason: "the token holds characters that no token has; copy it again from the hub's settings page".into(),
        });
    }
    let offline = flag(env, "HF_HUB_OFFLINE")? || flag(env, "TRANSFORMERS_OFFLINE")?;
    Ok(HubSettings { endpoint, token: token.map(Secret), offline, cache_dir })
}

/// `1`, `true`, `yes`, `on` and their opposites in any case; unset and empty are false.
fn flag(env: &dyn Fn(&str) -> Option<OsString>, name: &str) -> Result<bool> {
    let value = env(name).map(|v| v.to_string_lossy().trim().to_ascii_lowercase()).unwrap_or_default();
    match value.as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "" | "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(SourceError::Setting { place: name.into(), reason: format!("`{value}` is neither 1 nor 0") }),
    }
}

/// `~` and `~/…`.
pub(crate) fn expand_home(path: &Path, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)]) -> Result<SourceOptions> {
        let vars = [vars, &[("PIP_CONFIG_FILE", "/dev/null")]].concat();
        SourceOptions::from_lookup(&|name| vars.iter().find(|(k, _)| *k == name).map(|(_, v)| v.into()))
    }

    #[test]
    fn the_cache_follows_its_own_variable_then_xdg_then_home() {
        assert_eq!(read(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x"), ("TUNESMITH_CACHE", "/t")]).unwrap().cache_dir(), Path::new("/t"));
        assert_eq!(read(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]).unwrap().cache_dir(), Path::new("/x/tunesmith"));
        assert_eq!(read(&[("HOME", "/h"), ("XDG_CACHE_HOME", "rel")]).unwrap().cache_dir(), Path::new("/h/.cache/tunesmith"));
        assert_eq!(read(&[("HOME", "/h"), ("TUNESMITH_CACHE", "~/c")]).unwrap().cache_dir(), Path::new("/h/c"));
        let none = read(&[]).unwrap_err();
        assert!(none.is_user_input() && none.to_string().starts_with("TUNESMITH_CACHE:"), "{none}");
    }

    #[test]
    fn hub_settings_follow_the_hub_client() {
        let dir = tempfile::tempdir().unwrap();
        let hf = dir.path().to_str().unwrap();
        std::fs::write(dir.path().join("token"), "hf_file\n").unwrap();
        let o = read(&[("HOME", "/h"), ("HF_HOME", hf), ("HF_ENDPOINT", "https://mirror.example/"), ("HF_HUB_OFFLINE", "ON")]).unwrap();
        assert_eq!(o.hub_endpoint(), "https://mirror.example");
        assert_eq!(o.hub.token, Some(Secret("hf_file".into())));
        assert_eq!(o.hub.cache_dir, Some(dir.path().join("hub")));
        assert!(o.hub.offline && !o.is_offline());
        let o = read(&[("HOME", "/h"), ("HF_HOME", hf), ("HF_TOKEN", "hf_env"), ("HF_HUB_CACHE", "/c")]).unwrap();
        assert_eq!((o.hub.token.clone(), o.hub.cache_dir.clone()), (Some(Secret("hf_env".into())), Some("/c".into())));
        assert!(!format!("{o:?}").contains("hf_env"));
        assert_eq!(read(&[("HOME", "/h"), ("HF_HOME", hf), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]).unwrap().hub.token, None);
        assert_eq!(read(&[("HOME", "/h")]).unwrap().hub.cache_dir, Some("/h/.cache/huggingface/hub".into()));
        for (name, value) in [("HF_ENDPOINT", "mirror"), ("TUNESMITH_OFFLINE", "maybe"), ("HF_TOKEN", "a b")] {
            let e = read(&[("HOME", "/h"), (name, value)]).unwrap_err();
            assert!(e.is_user_input() && e.to_string().starts_with(name), "{e}");
        }
        assert!(read(&[("HOME", "/h"), ("TUNESMITH_OFFLINE", "1")]).unwrap().is_offline());
    }
}
