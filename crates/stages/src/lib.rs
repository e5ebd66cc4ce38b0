//! What Tunesmith does, one plain function a verb: `run(environment, job, progress) -> Result<Report>`. The command line calls these
//! and shows their reports; a web page will call the same. Nothing here knows arguments or a terminal.

pub mod bench;
pub mod chat;
pub mod docs;
pub mod doctor;
mod environment;
mod error;
pub mod eval;
mod fetch;
pub mod few;
pub mod human;
pub mod init;
pub mod label;
mod language;
mod manifest;
mod measure;
pub mod merge;
mod open;
pub mod plan;
pub mod predict;
pub mod preview;
mod progress;
pub mod pull;
mod report;
mod rows;
pub mod train;
pub mod vectorize;
mod watch;

pub use engine::ComputeDtype;
pub use environment::{Environment, Memory};
pub use error::{Result, StageError};
pub use fetch::Used;
pub use human::duration;
pub use manifest::Manifest;
pub use open::{GenerationDefaults, Opened, SamplingChoice, open};
pub use progress::{Progress, Silent, TrainEvent, Unit};
pub use recipe::{Recipe, json_schema};
