//! The hub client's cache on disk, `models--org--name/{refs,snapshots}/…`: this project's own cache uses the same layout, so one reader
//! serves both. <https://huggingface.co/docs/huggingface_hub/guides/manage-cache>

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cache::{below, write_atomically};
use crate::context::walk;
use crate::error::Result;
use crate::hash::{Checksum, is_hex_digest};
use crate::spec::RepoType;

/// Folders below a snapshot that are looked into when no listing says what there is.
const DEPTH: usize = 6;

/// A repository as the hub described it at one commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listing {
    pub commit: String,
    pub files: Vec<ListedFile>,
}

/// One file of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ListedFile {
    pub path: String,
    pub size: Option<u64>,
    pub checksum: Option<Checksum>,
}

impl Listing {
    pub fn names(&self) -> Vec<String> {
        self.files.iter().map(|f| f.path.clone()).collect()
    }

    pub fn file(&self, path: &str) -> Option<&ListedFile> {
        self.files.iter().find(|f| f.path == path)
    }
}

/// A repository's directory in some cache.
#[derive(Debug, Clone)]
pub(crate) struct RepoDir {
    dir: PathBuf,
}

impl RepoDir {
    pub fn new(cache: &Path, repo_type: RepoType, repo: &str) -> Self {
        let kind = match repo_type {
            RepoType::Model => "models",
            RepoType::Dataset => "datasets",
        };
        Self { dir: cache.join(format!("{kind}--{}", repo.replace('/', "--"))) }
    }

    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// The commit that a branch, tag or commit stands for here. A snapshot that was put under the branch's own name by hand counts.
    pub fn commit_of(&self, revision: &str) -> Option<String> {
        let noted = below(&self.dir.join("refs"), revision).and_then(|path| fs::read_to_string(path).ok());
        let noted = noted.map(|text| text.trim().to_owned()).filter(|commit| is_hex_digest(commit, 20));
        let by_hand = || self.snapshot(revision).filter(|dir| dir.is_dir()).map(|_| revision.to_owned());
        noted.or_else(by_hand).or_else(|| self.listing(revision).map(|l| l.commit))
    }

    /// Notes what a branch or tag stands for.
    pub fn note_commit(&self, revision: &str, commit: &str) -> Result<()> {
        match below(&self.dir.join("refs"), revision) {
            Some(path) if revision != commit => write_atomically(&path, commit.as_bytes()),
            _ => Ok(()),
        }
    }

    /// Where a commit's files lie.
    pub fn snapshot(&self, commit: &str) -> Option<PathBuf> {
        below(&self.dir.join("snapshots"), commit)
    }

    /// The listing that was kept when the commit was first seen. The hub client keeps none.
    pub fn listing(&self, commit: &str) -> Option<Listing> {
        let path = below(&self.dir.join("listings"), &format!("{commit}.json"))?;
        let listing: Listing = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        (listing.commit == commit).then_some(listing)
    }

    pub fn keep_listing(&self, listing: &Listing) -> Result<()> {
        match below(&self.dir.join("listings"), &format!("{}.json", listing.commit)) {
            Some(path) => write_atomically(&path, &serde_json::to_vec(listing).unwrap_or_default()),
            None => Ok(()),
        }
    }

    /// The files that a snapshot holds at present.
    pub fn present(&self, commit: &str) -> Vec<String> {
        self.snapshot(commit).and_then(|dir| walk(&dir, DEPTH).ok()).unwrap_or_default()
    }
}
