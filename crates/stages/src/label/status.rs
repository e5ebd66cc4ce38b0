//! `tunesmith label status --store DIR`: where a project stands.

use std::path::Path;

use ::annotate::Store;
use ::annotate::status::Gather;

pub use ::annotate::status::{AuthorCount, ClassCount, Status};

use crate::error::Result;

/// The status of the store in `dir` against a budget of labels.
///
/// # Errors
/// If there is no store.
pub fn run(dir: &Path, budget: usize) -> Result<Status> {
    let store = Store::existing(dir)?;
    let mut gather = Gather::default();
    store.each(&mut |entry| {
        gather.add(&entry);
        Ok(())
    })?;
    Ok(gather.finish(budget))
}
