//! text: see ARCHITECTURE.md.
