//! sources: see ARCHITECTURE.md.
