//! Rows of data on their way to token ids: reading, meaning, choosing, rendering.
//!
//! files → [`import`] → rows → samples (with provenance) → [`mod@split`] → [`render`] → [`pack`].

pub mod settings;

pub use settings::{
    ClassifyTask, ColumnSpec, Condition, DatasetSpec, FileFormat, LabelSet, LabelSpec, SampleBy, Scalar, SftTask, Shape, SourceEntry, Tags,
    TaskSpec, TemplateName, TextTask, Truncation, ValSize,
};
