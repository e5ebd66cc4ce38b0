//! evaluate: see ARCHITECTURE.md.
