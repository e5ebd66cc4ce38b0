//! containers: see ARCHITECTURE.md.
