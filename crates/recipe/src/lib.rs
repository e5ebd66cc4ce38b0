//! recipe: see ARCHITECTURE.md.
