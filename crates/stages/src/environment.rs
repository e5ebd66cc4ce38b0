//! What a stage needs from outside: the sources with their cache, a clock, the machine's memory.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use sources::{SourceOptions, Sources};

use crate::error::Result;

/// Kept for the length of a command.
pub struct Environment {
    /// Where models and data come from.
    pub sources: Sources,
}

impl Environment {
    /// Reads `TUNESMITH_CACHE`, `HF_…`, pip's settings and the proxies; `offline` adds to `TUNESMITH_OFFLINE`.
    ///
    /// # Errors
    /// A variable with an unusable value, by name.
    pub fn from_env(offline: bool) -> Result<Self> {
        let options = SourceOptions::from_env()?;
        let offline = offline || options.is_offline();
        Ok(Self { sources: Sources::new(options.offline(offline)) })
    }

    /// With sources of the caller's making.
    pub fn new(sources: Sources) -> Self {
        Self { sources }
    }
}

/// The machine's clock, for the training loop.
pub(crate) struct WallClock(Instant);

impl WallClock {
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl train::Clock for WallClock {
    fn seconds(&self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }

    fn unix_time(&self) -> f64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64())
    }
}

/// Memory of this process and machine, in bytes. Linux only; elsewhere nothing is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Most that this process has held at once.
    pub peak_rss: Option<u64>,
    /// What it holds now.
    pub rss: Option<u64>,
    /// The machine's memory, or the control group's limit if that is smaller.
    pub total: Option<u64>,
    /// What a new process could have without swapping.
    pub available: Option<u64>,
}

impl Memory {
    /// Reads `/proc`.
    pub fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let machine = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|t| t.trim().parse::<u64>().ok());
        let within = |bytes: Option<u64>| bytes.map(|b| limit.map_or(b, |l| b.min(l)));
        Self {
            peak_rss: field(&status, "VmHWM:"),
            rss: field(&status, "VmRSS:"),
            total: within(field(&machine, "MemTotal:")),
            available: within(field(&machine, "MemAvailable:")),
        }
    }
}

/// A line such as `VmHWM:    1234 kB`, in bytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find(|l| l.starts_with(name))?;
    line[name.len()..].trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kb| kb * 1024)
}

/// Bytes as the `…_mb` keys of JSON results count them: mebibytes, rounded.
pub(crate) fn mebibytes(bytes: u64) -> u64 {
    bytes.saturating_add(1 << 19) >> 20
}

/// The arithmetic that `auto` means here: bf16 where the processor multiplies it natively, otherwise f32.
pub fn native_compute() -> engine::ComputeDtype {
    let bf16 = kernels::cpu::features().iter().any(|&(name, has)| name == "avx512bf16" && has);
    if bf16 { engine::ComputeDtype::Bf16 } else { engine::ComputeDtype::F32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_lines_are_kilobytes() {
        assert_eq!(field("Name:\tx\nVmHWM:\t    2048 kB\n", "VmHWM:"), Some(2048 * 1024));
        assert_eq!(field("", "VmHWM:"), None);
        assert_eq!(mebibytes(3 << 20), 3);
    }
}
