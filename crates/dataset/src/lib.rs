//! dataset: see ARCHITECTURE.md.
