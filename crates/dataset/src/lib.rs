//! Rows of data on their way to token ids: reading, meaning, choosing, rendering.
//!
//! files → [`import`] → rows → samples (with provenance) → [`mod@split`] → [`render`] → [`pack`].

pub mod error;
pub mod import;
pub mod pack;
mod prompt;
pub mod render;
pub mod sample;
pub mod settings;
pub mod shape;
pub mod split;
#[cfg(test)]
mod testing;

pub use error::{BadRow, Error};
pub use import::{DatasetInfo, Loaded};
pub use pack::Batch;
pub use render::{LabelIds, Prompt, Rendered, RenderedRows, Renderer};
pub use sample::{Origin, Sample, SampleKind, Turn};
pub use settings::{
    ClassifyTask, ColumnSpec, Condition, DatasetSpec, FileFormat, LabelSet, LabelSpec, SampleBy, Scalar, SftTask, Shape, SourceEntry, Tags,
    TaskSpec, TemplateName, TextTask, Truncation, ValSize,
};
pub use shape::Answers;
pub use split::Split;
