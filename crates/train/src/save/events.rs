//! TensorBoard's event file: one for the whole run, continued by a resumption so that its curves have no double points.

use std::path::Path;

use super::TENSORBOARD_DIR;
use super::disk::{At, Disk};
use super::lines::Growing;
use crate::error::Result;
use crate::tensorboard::{scalars_record, version_record};

/// The open file.
pub(crate) struct EventsFile {
    growing: Growing,
    name: String,
}

impl EventsFile {
    /// Opens the file that a checkpoint remembers and cuts it back, or begins a new one (and removes any other, which
    /// could only be of a run that left no checkpoint).
    pub fn begin(disk: &dyn Disk, output: &Path, continued: Option<&(String, u64)>, unix_time: f64) -> Result<Self> {
        let dir = output.join(TENSORBOARD_DIR);
        if let Some((name, bytes)) = continued {
            let path = dir.join(name);
            if path.metadata().is_ok_and(|file| file.len() >= *bytes) {
                return Ok(Self { growing: Growing::open(disk, &path, *bytes)?, name: name.clone() });
            }
        }
        if dir.exists() {
            disk.remove_dir_all(&dir).at("remove", &dir)?;
        }
        disk.create_dir_all(&dir).at("create", &dir)?;
        // TensorBoard wants `tfevents` in the name and sorts by the time that follows.
        let name = format!("events.out.tfevents.{:010}.tunesmith.0", unix_time.max(0.0) as u64);
        let mut growing = Growing::open(disk, &dir.join(&name), 0)?;
        growing.push(&version_record(unix_time))?;
        Ok(Self { growing, name })
    }

    /// Writes scalars of one step.
    pub fn scalars(&mut self, unix_time: f64, step: u64, scalars: &[(String, f64)]) -> Result<()> {
        self.growing.push(&scalars_record(unix_time, step, scalars))
    }

    /// Brings the file to the disk and returns its name and length.
    pub fn settle(&mut self) -> Result<(String, u64)> {
        Ok((self.name.clone(), self.growing.settle()?))
    }
}
