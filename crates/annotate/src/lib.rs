//! Labels of a project: who or what said which label of which document, with which confidence, when.
//!
//! Files → [`dataset::labels`] → [`store`] (append-only evidence in SQLite) → [`view`] (the current labels) → [`agree`], [`status`],
//! [`queue`], [`split`]; [`session`] is annotating from the keyboard without a terminal.
//!
//! Deliberately absent: the clock (times are given), the network, printing, and any change or removal of what was once said: a
//! correction is new evidence, an undo hides and is itself remembered.

pub mod agree;
pub mod error;
pub mod forecast;
pub mod methods;
pub mod migrate;
pub mod queue;
pub mod session;
pub mod split;
pub mod status;
pub mod store;
pub mod view;

pub use error::{Error, Result};
pub use store::{Action, Added, Entry, Exported, Store};
pub use view::{Basis, Current, Kind, Question, Standing, current, current_of_people, standings};
