//! `tunesmith label agree --store DIR`: how far people agree, and where they do not.

use std::path::Path;

use ::annotate::Store;
use ::annotate::agree::Gather;

pub use ::annotate::agree::{Agreement, ClassAgreement, Disagreement, RelationAgreement, SpanAgreement};

use crate::error::Result;

/// Agreement on all documents of the store in `dir` that at least two people judged.
///
/// # Errors
/// If there is no store.
pub fn run(dir: &Path) -> Result<Agreement> {
    let store = Store::existing(dir)?;
    let mut gather = Gather::default();
    store.each(&mut |entry| {
        gather.add(&entry);
        Ok(())
    })?;
    Ok(gather.finish())
}
