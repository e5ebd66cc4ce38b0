//! model: see ARCHITECTURE.md.
