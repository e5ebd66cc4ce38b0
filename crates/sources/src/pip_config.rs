//! Where pip would look for packages: its environment variables and configuration files, read as pip reads them.
//!
//! Order and places are those of pip's "Configuration" page: global files, the user's, the virtual environment's,
//! `PIP_CONFIG_FILE`, then `PIP_*` variables, each overriding the one before. Of the sections, `[global]`, `[install]`
//! and `[download]` are read.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::error::{Result, SourceError};

/// The index that pip uses when nothing is configured.
pub(crate) const DEFAULT_INDEX: &str = "https://pypi.org/simple";

/// Settings of the package index.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PipSettings {
    /// Base addresses of the simple API, in the order searched; empty with `no-index`.
    pub indexes: Vec<String>,
    /// Directories, pages and files that list wheels beside the indexes.
    pub find_links: Vec<String>,
    /// A bundle of certificates for the index.
    pub cert: Option<PathBuf>,
    /// `host` or `host:port` for which plain `http` and unverifiable certificates are accepted.
    pub trusted_hosts: Vec<String>,
    /// Proxy for the index, instead of the environment's.
    pub proxy: Option<String>,
}

impl std::fmt::Debug for PipSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let indexes: Vec<_> = self.indexes.iter().map(|i| crate::urls::redact(i)).collect();
        f.debug_struct("PipSettings").field("indexes", &indexes).field("find_links", &self.find_links.len()).finish_non_exhaustive()
    }
}

impl Default for PipSettings {
    fn default() -> Self {
        Self { indexes: vec![DEFAULT_INDEX.to_owned()], find_links: Vec::new(), cert: None, trusted_hosts: Vec::new(), proxy: None }
    }
}

type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

impl PipSettings {
    /// Reads files and variables.
    pub fn read(env: Env<'_>) -> Result<Self> {
        Self::read_below(env, Path::new("/etc"))
    }

    /// As [`Self::read`] with the directory that holds the machine's own settings.
    fn read_below(env: Env<'_>, etc: &Path) -> Result<Self> {
        let mut values = BTreeMap::new();
        for file in config_files(env, etc) {
            match std::fs::read(&file) {
                Ok(bytes) => parse_ini(&file, &String::from_utf8_lossy(&bytes), &mut values)?,
                // pip reads what there is; a file that may not be read is somebody else's.
                Err(_) => continue,
            }
        }
        for key in KEYS {
            let name = format!("PIP_{}", key.to_ascii_uppercase().replace('-', "_"));
            if let Some(value) = env(&name).filter(|v| !v.is_empty()) {
                values.insert((*key).to_owned(), (name, value.to_string_lossy().into_owned()));
            }
        }
        Self::from_values(&values)
    }

    fn from_values(values: &BTreeMap<String, (String, String)>) -> Result<Self> {
        let one = |key: &str| values.get(key).map(|(_, v)| v.trim().to_owned()).filter(|v| !v.is_empty());
        let many = |key: &str| -> Vec<String> {
            values.get(key).map(|(_, v)| v.split_whitespace().map(str::to_owned).collect()).unwrap_or_default()
        };
        let no_index = match values.get("no-index") {
            Some((place, value)) => parse_bool(value)
                .ok_or_else(|| SourceError::Setting { place: place.clone(), reason: format!("`{value}` is neither true nor false") })?,
            None => false,
        };
        let mut indexes = Vec::new();
        if !no_index {
            indexes.push(one("index-url").or_else(|| one("pypi-url")).unwrap_or_else(|| DEFAULT_INDEX.to_owned()));
            indexes.extend(many("extra-index-url"));
        }
        Ok(Self {
            indexes,
            find_links: many("find-links"),
            cert: one("cert").map(PathBuf::from),
            trusted_hosts: many("trusted-host").iter().map(|h| h.to_ascii_lowercase()).collect(),
            proxy: one("proxy"),
        })
    }

    /// Whether `host[:port]` was declared trusted.
    pub fn trusts(&self, url: &crate::urls::Url) -> bool {
        let with_port = format!("{}:{}", url.host, url.effective_port());
        self.trusted_hosts.iter().any(|t| *t == url.host || *t == with_port)
    }
}

const KEYS: &[&str] = &["index-url", "pypi-url", "extra-index-url", "find-links", "no-index", "cert", "trusted-host", "proxy"];

/// pip's own words for booleans (`distutils.util.strtobool`).
fn parse_bool(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" | "t" | "true" | "on" | "1" => Some(true),
        "n" | "no" | "f" | "false" | "off" | "0" => Some(false),
        _ => None,
    }
}

fn config_files(env: Env<'_>, etc: &Path) -> Vec<PathBuf> {
    let path = |name: &str| env(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let own = path("PIP_CONFIG_FILE");
    if own.as_deref() == Some(Path::new("/dev/null")) || own.as_deref() == Some(Path::new("nul")) {
        return Vec::new();
    }
    let mut files = Vec::new();
    // Global, least important first.
    if cfg!(target_os = "macos") {
        files.push(PathBuf::from("/Library/Application Support/pip/pip.conf"));
    } else if cfg!(windows) {
        files.extend(path("ProgramData").map(|d| d.join("pip\\pip.ini")));
    } else {
        let dirs = env("XDG_CONFIG_DIRS").filter(|v| !v.is_empty()).unwrap_or_else(|| etc.join("xdg").into());
        files.extend(std::env::split_paths(&dirs).map(|d| d.join("pip/pip.conf")));
        files.push(etc.join("pip.conf"));
    }
    // The user's own are left out where PIP_CONFIG_FILE names a file that exists.
    if !own.as_deref().is_some_and(Path::exists) {
        if cfg!(windows) {
            files.extend(path("USERPROFILE").map(|h| h.join("pip\\pip.ini")));
            files.extend(path("APPDATA").map(|d| d.join("pip\\pip.ini")));
        } else if let Some(home) = path("HOME") {
            files.push(home.join(".pip/pip.conf"));
            let mac = home.join("Library/Application Support/pip");
            if cfg!(target_os = "macos") && mac.is_dir() {
                files.push(mac.join("pip.conf"));
            } else {
                files.push(path("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config")).join("pip/pip.conf"));
            }
        }
    }
    let name = if cfg!(windows) { "pip.ini" } else { "pip.conf" };
    files.extend(path("VIRTUAL_ENV").or_else(|| path("CONDA_PREFIX")).map(|p| p.join(name)));
    files.extend(own);
    files
}

/// The subset of Python's `configparser` that pip's files use: sections, `key = value` or `key: value`, continuation lines that
/// are indented, comments on lines of their own.
fn parse_ini(file: &Path, text: &str, values: &mut BTreeMap<String, (String, String)>) -> Result<()> {
    // A section for the command outranks [global] wherever it stands in the file.
    let mut sections: [BTreeMap<String, (String, String)>; 3] = Default::default();
    let mut section: Option<usize> = None;
    let mut key: Option<String> = None;
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let place = |key: &str| format!("{}:{}: {key}", file.display(), number + 1);
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if line.starts_with([' ', '\t']) {
            if let (Some(at), Some(key)) = (section, &key)
                && let Some((_, value)) = sections[at].get_mut(key)
            {
                value.push('\n');
                value.push_str(trimmed);
            }
            continue;
        }
        if let Some(name) = trimmed.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            section = ["global", "install", "download"].iter().position(|s| *s == name.trim());
            key = None;
            continue;
        }
        let Some((name, value)) = trimmed.split_once(['=', ':']) else {
            if section.is_some() {
                return Err(SourceError::Setting { place: place(trimmed), reason: "expected `key = value`".into() });
            }
            continue;
        };
        let name = name.trim().to_ascii_lowercase().replace('_', "-");
        key = Some(name.clone());
        if let Some(at) = section {
            sections[at].insert(name.clone(), (place(&name), value.trim().to_owned()));
        }
    }
    for section in sections {
        values.extend(section);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::urls::Url;

    fn settings(vars: &[(&str, &str)]) -> Result<PipSettings> {
        let vars: BTreeMap<_, _> = vars.iter().map(|(k, v)| (k.to_string(), OsString::from(v))).collect();
        PipSettings::read_below(&|name| vars.get(name).cloned(), Path::new("/nowhere"))
    }

    #[test]
    fn variables_and_files_in_pips_order() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        let venv = dir.path().join("venv");
        std::fs::create_dir_all(home.join(".config/pip")).unwrap();
        std::fs::create_dir_all(&venv).unwrap();
        std::fs::write(
            home.join(".config/pip/pip.conf"),
            "[install]\nfind-links =\n    /a\n    # not a value\n    /b\n[global]\nindex-url = https://user.example/simple\n; note\ncert: /ca.pem\n\
             find_links=/ignored\ntrusted-host = a.example\n  b.example:8080\n[freeze]\ntimeout = 10\n",
        )
        .unwrap();
        std::fs::write(venv.join("pip.conf"), "\u{feff}[global]\r\nextra-index-url = https://x/1 https://x/2\r\nproxy=http://p:1\r\n")
            .unwrap();
        let base = [("HOME", home.to_str().unwrap()), ("VIRTUAL_ENV", venv.to_str().unwrap())];
        let s = settings(&base).unwrap();
        assert_eq!(s.indexes, ["https://user.example/simple", "https://x/1", "https://x/2"]);
        assert_eq!(s.find_links, ["/a", "/b"]);
        assert_eq!(s.cert.as_deref(), Some(Path::new("/ca.pem")));
        assert_eq!(s.proxy.as_deref(), Some("http://p:1"));
        assert!(s.trusts(&Url::parse("http://a.example:99/").unwrap()) && s.trusts(&Url::parse("http://b.example:8080/").unwrap()));
        assert!(!s.trusts(&Url::parse("http://b.example/").unwrap()));

        // A variable outranks every file.
        let with = |more: &[(&str, &str)]| settings(&[&base[..], more].concat());
        let s = with(&[("PIP_INDEX_URL", "https://env/simple"), ("PIP_EXTRA_INDEX_URL", "https://e/")]).unwrap();
        assert_eq!(s.indexes, ["https://env/simple", "https://e/"]);
        assert_eq!(with(&[("PIP_NO_INDEX", "yes")]).unwrap().indexes, Vec::<String>::new());
        let wrong = with(&[("PIP_NO_INDEX", "perhaps")]).unwrap_err();
        assert_eq!(wrong.to_string(), "PIP_NO_INDEX: `perhaps` is neither true nor false");

        // PIP_CONFIG_FILE replaces the user's file; /dev/null replaces all.
        let own = dir.path().join("own.conf");
        std::fs::write(&own, "[global]\nindex-url=https://own/\n").unwrap();
        let s = with(&[("PIP_CONFIG_FILE", own.to_str().unwrap())]).unwrap();
        assert_eq!((s.indexes[0].as_str(), s.cert), ("https://own/", None));
        assert_eq!(with(&[("PIP_CONFIG_FILE", "/dev/null")]).unwrap(), PipSettings::default());
        std::fs::write(&own, "[global]\nnonsense\n").unwrap();
        let wrong = with(&[("PIP_CONFIG_FILE", own.to_str().unwrap())]).unwrap_err().to_string();
        assert!(wrong.contains("own.conf:2: nonsense"), "{wrong}");
    }

    #[test]
    fn without_anything_it_is_the_public_index() {
        assert_eq!(settings(&[("PIP_CONFIG_FILE", "/dev/null")]).unwrap(), PipSettings::default());
        let shown = format!("{:?}", settings(&[("PIP_CONFIG_FILE", "/dev/null"), ("PIP_INDEX_URL", "https://u:secret@h/")]).unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }
}
