//! `tunesmith label undo --store DIR`: takes an action back. What it said stays in the store and counts no more.

use std::path::Path;

use ::annotate::{Action, Store};

use super::now;
use crate::error::{Result, StageError};

/// What was done so far.
///
/// # Errors
/// If there is no store.
pub fn list(store: &Path) -> Result<Vec<Action>> {
    Ok(Store::existing(store)?.actions()?)
}

/// Takes `action` back, or the last one; says which it was.
///
/// # Errors
/// If there is nothing to undo.
pub fn run(store: &Path, action: Option<i64>) -> Result<Action> {
    let mut store = Store::existing(store)?;
    let target = match action {
        Some(id) => id,
        None => store.last_action()?.ok_or_else(|| StageError::input("there is nothing to undo"))?.id,
    };
    store.undo(target, now())?;
    let done = store.actions()?.into_iter().find(|a| a.id == target);
    done.ok_or_else(|| StageError::input(format!("there is no action {target}")))
}
