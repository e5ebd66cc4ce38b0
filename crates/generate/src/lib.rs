//! generate: see ARCHITECTURE.md.
