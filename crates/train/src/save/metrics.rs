//! `metrics.jsonl`: one JSON object a line, training lines and evaluations in the order in which they happened.
//!
//! Only numbers that the run determines go in, no times and no rates: two runs of one recipe write the same bytes, and a
//! resumed run the same as an uninterrupted one.

use std::path::Path;

use serde_json::{Map, Value};

use super::METRICS_FILE;
use super::disk::Disk;
use super::lines::Growing;
use crate::error::Result;
use crate::load;
use crate::observe::{EvaluationRecord, LogRecord};

/// The open file.
pub(crate) struct MetricsFile {
    growing: Growing,
}

impl MetricsFile {
    /// Opens the file in `output` and cuts it back to `keep` bytes; also returns the number of lines cut.
    ///
    /// If the file is shorter than that (a crash of the system, or someone's editor), its whole lines stay.
    pub fn begin(disk: &dyn Disk, output: &Path, keep: u64) -> Result<(Self, u64)> {
        let path = output.join(METRICS_FILE);
        let (keep, cut) = load::metrics::cut_at(&path, keep)?;
        Ok((Self { growing: Growing::open(disk, &path, keep)? }, cut))
    }

    /// Writes a training line.
    pub fn log(&mut self, record: &LogRecord) -> Result<()> {
        let mut line = Map::new();
        line.insert("step".into(), record.step.into());
        line.insert("epoch".into(), record.epoch.into());
        line.insert("loss".into(), record.loss.into());
        line.insert("learning_rate".into(), record.learning_rate.into());
        line.insert("grad_norm".into(), record.grad_norm.into());
        line.insert("tokens".into(), record.tokens.into());
        line.insert("trained_tokens".into(), record.trained_tokens.into());
        self.push(line)
    }

    /// Writes an evaluation.
    pub fn evaluation(&mut self, record: &EvaluationRecord) -> Result<()> {
        let mut line = Map::new();
        line.insert("step".into(), record.step.into());
        line.insert("epoch".into(), record.epoch.into());
        for (name, value) in &record.metrics {
            line.insert(format!("eval_{name}"), (*value).into());
        }
        self.push(line)
    }

    /// Writes the last line of a run.
    pub fn end(&mut self, step: u64, epoch: f64, train_loss: f64) -> Result<()> {
        let mut line = Map::new();
        line.insert("step".into(), step.into());
        line.insert("epoch".into(), epoch.into());
        line.insert("train_loss".into(), train_loss.into());
        self.push(line)
    }

    fn push(&mut self, line: Map<String, Value>) -> Result<()> {
        let mut text = Value::Object(line).to_string();
        text.push('\n');
        self.growing.push(text.as_bytes())
    }

    /// Brings the file to the disk and returns its length.
    pub fn settle(&mut self) -> Result<u64> {
        self.growing.settle()
    }
}
