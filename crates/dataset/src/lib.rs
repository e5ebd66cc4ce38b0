//! Rows of data on their way to token ids: reading, meaning, choosing, rendering.
//!
//! files → [`import`] → rows → ([`shape`]) samples with provenance → [`mod@split`] → [`render`] → ids and labels → [`pack`].
//!
//! [`settings`] are what a recipe says about all of it, [`preview`] shows what the model would see, [`export`] writes the rows that a
//! run used, and [`inspect`] looks at a user's own file to propose a recipe. [`labels`] are the files of annotation tools, both ways.
//!
//! Deliberately absent: the network (files come from the `sources` crate), random numbers (every choice ranks rows by a hash of their
//! text, so that the order of a file does not matter), printing, and any second way to turn a row into ids.

pub mod error;
pub mod export;
pub mod import;
pub mod inspect;
pub mod labels;
pub mod pack;
pub mod preview;
mod prompt;
pub mod render;
pub mod sample;
pub mod settings;
pub mod shape;
pub mod share;
pub mod split;
#[cfg(test)]
mod testing;

pub use error::{BadRow, Error, kind_of};
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
