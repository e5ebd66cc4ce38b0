//! Which documents of a store say nearly what another one says: of each group one is kept, the one that people labelled before one that a
//! machine labelled before one that waits, and the first of those.

use std::collections::HashSet;

use ::annotate::{Basis, Store, standings};
use documents::clean::{NearDuplicates, Verdict};

use crate::error::{Result, StageError};

/// Documents that go.
#[derive(Debug, Default)]
pub(super) struct Duplicates {
    /// By their numbers.
    pub documents: HashSet<i64>,
    /// Letter for letter another one.
    pub equal: usize,
    /// Nearly another one.
    pub near: usize,
}

/// Finds them: texts whose shingles (three words, five Chinese characters) are alike from `near` on (Jaccard, estimated by MinHash).
pub(super) fn find(store: &Store, near: f32, labelled: bool) -> Result<Duplicates> {
    if !(0.5..=1.0).contains(&near) {
        return Err(StageError::input(format!(
            "--near-duplicates {near}: lies between 0.5 (half of all word runs shared) and 1 (equal texts)"
        )));
    }
    let (mut seen, mut out) = (NearDuplicates::new(near), Duplicates::default());
    // Better labels first; a pass for each kind that there is.
    let mut passes = vec![0u8];
    let mut pass = 0;
    while let Some(&rank) = passes.get(pass) {
        pass += 1;
        store.each(&mut |entry| {
            let standings = standings(&entry.document.statements, &entry.actions);
            let own = match standings.values().map(|s| s.basis).max() {
                None => 2,
                Some(_) if standings.values().any(|s| s.tied) => 2,
                Some(Basis::Model) => 1,
                Some(_) => 0,
            };
            if own != rank {
                if pass == 1 && !passes.contains(&own) && !(labelled && own == 2) {
                    passes.push(own);
                    passes.sort_unstable();
                }
                return Ok(());
            }
            match seen.push(&entry.document.text) {
                Verdict::Unique => {}
                Verdict::Equal(_) => {
                    out.equal += 1;
                    out.documents.insert(entry.id);
                }
                Verdict::Near(..) => {
                    out.near += 1;
                    out.documents.insert(entry.id);
                }
            }
            Ok(())
        })?;
    }
    Ok(out)
}
