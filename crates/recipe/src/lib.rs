//! The recipe: one YAML file that says everything about a run, read strictly and resolved once into typed settings.
//!
//! The way of a key: [`document`] reads YAML with places → [`overrides`] applies `--set` → [`aliases`] turns other tools' names
//! into ours → [`check`] refuses unknown keys with the nearest name → serde types each section. Nothing after this crate looks at
//! YAML or guesses a default.

mod aliases;
mod check;
mod document;
mod overrides;
mod schema;
mod settings;

pub use document::{Node, Place, Value};
pub use schema::json_schema;
pub use settings::{EvaluationSettings, Recipe};

/// Why a recipe cannot be used. All of these are the user's input: exit code 2.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// The file cannot be read.
    #[error("{path}: {reason}")]
    Unreadable {
        /// The path as given.
        path: String,
        /// The system's reason and what to do.
        reason: String,
    },
    /// Not YAML, or YAML that a recipe does not use.
    #[error("{place}: {reason}")]
    Syntax {
        /// File and line.
        place: Place,
        /// What is wrong.
        reason: String,
    },
    /// A key that means nothing here.
    #[error("{place}: {field}: unknown key{}", suggestion(.nearest))]
    UnknownKey {
        /// File and line of the key.
        place: Place,
        /// The key with its parents (`dataset.max_sample`).
        field: String,
        /// The known key that looks most like it.
        nearest: Option<String>,
    },
    /// A known key whose value does not fit.
    #[error("{place}: {field}: {reason}")]
    Invalid {
        /// File and line.
        place: Place,
        /// The key with its parents.
        field: String,
        /// What is wrong with the value, and what would be right.
        reason: String,
    },
}

fn suggestion(nearest: &Option<String>) -> String {
    match nearest {
        Some(name) => format!("; did you mean '{name}'?"),
        None => "; `tunesmith schema` lists all keys".to_owned(),
    }
}
