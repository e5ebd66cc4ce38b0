//! What this machine has and what runs fast on it: `tunesmith doctor`. Numbers are measured, not looked up.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Instant;

use kernels::{cpu, peak};
use serde::Serialize;

use crate::environment::{Environment, Memory, mebibytes};
use crate::human;

/// The report.
#[derive(Clone, Debug, Serialize)]
pub struct Doctor {
    /// The program's version.
    pub version: String,
    /// The processor.
    pub cpu: Cpu,
    /// Threads in use.
    pub threads: usize,
    /// The machine's memory in MiB, or the container's limit.
    pub memory_mb: Option<u64>,
    /// What is free of it.
    pub available_memory_mb: Option<u64>,
    /// Where fetched files are kept.
    pub cache: CacheState,
    /// Whether the network is off.
    pub offline: bool,
    /// What was measured just now.
    pub measured: Measured,
}

/// The processor as the kernels see it.
#[derive(Clone, Debug, Serialize)]
pub struct Cpu {
    /// The code path that the kernels take.
    pub kernels: String,
    /// Features that matter for speed, and whether they are there.
    pub features: BTreeMap<String, bool>,
}

/// The cache of fetched files.
#[derive(Clone, Debug, Serialize)]
pub struct CacheState {
    /// Its directory.
    pub path: PathBuf,
    /// Whether it exists.
    pub exists: bool,
    /// Size of all files in it.
    pub bytes: u64,
    /// Whether it can be written to.
    pub writable: bool,
}

/// Speeds of this machine: what its processor could do at best, and its memory.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Measured {
    /// f32 multiply-adds, all threads, 10^9 operations a second.
    pub gflops_f32: f64,
    /// The same on bf16 operands.
    pub gflops_bf16: f64,
    /// The same on 8-bit integers.
    pub gops_int8: f64,
    /// Reading memory, all threads, 10^9 bytes a second.
    pub read_gb_per_second: f64,
}

/// Looks and measures; about a second.
pub fn run(environment: &Environment) -> Doctor {
    let memory = Memory::now();
    let path = environment.sources.options().cache_dir().to_path_buf();
    let exists = path.is_dir();
    Doctor {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cpu: Cpu {
            kernels: cpu::isa().name().to_owned(),
            features: cpu::features().into_iter().map(|(name, has)| (name.to_owned(), has)).collect(),
        },
        threads: cpu::threads(),
        memory_mb: memory.total.map(mebibytes),
        available_memory_mb: memory.available.map(mebibytes),
        cache: CacheState { exists, bytes: folder_size(&path), writable: writable(&path), path },
        offline: environment.sources.options().is_offline(),
        measured: Measured {
            gflops_f32: measure_peak(Kind::F32),
            gflops_bf16: measure_peak(Kind::Bf16),
            gops_int8: measure_peak(Kind::Int8),
            read_gb_per_second: measure_reading(),
        },
    }
}

impl Doctor {
    /// As a person reads it.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        let has: Vec<&str> = self.cpu.features.iter().filter(|(_, has)| **has).map(|(name, _)| name.as_str()).collect();
        let lacks: Vec<&str> = self.cpu.features.iter().filter(|(_, has)| !**has).map(|(name, _)| name.as_str()).collect();
        let gib = |mb: Option<u64>| mb.map_or("unknown".to_owned(), |m| format!("{:.1} GiB", m as f64 / 1024.0));
        let _ = writeln!(out, "tunesmith {}", self.version);
        let _ = writeln!(out, "processor   {} kernels; has {}{}", self.cpu.kernels, has.join(" "), lacking(&lacks));
        let _ = writeln!(out, "threads     {}", self.threads);
        let _ = writeln!(out, "memory      {} of {} free", gib(self.available_memory_mb), gib(self.memory_mb));
        let state = match (self.cache.exists, self.cache.writable) {
            (_, false) => "CANNOT BE WRITTEN TO; set TUNESMITH_CACHE to another directory".to_owned(),
            (true, true) => human::bytes(self.cache.bytes),
            (false, true) => "not there yet".to_owned(),
        };
        let _ = writeln!(out, "cache       {} ({state})", self.cache.path.display());
        let _ = writeln!(out, "network     {}", if self.offline { "off" } else { "used by pull, and by recipes that name remote sources" });
        let _ = writeln!(
            out,
            "measured    {:.0} GFLOP/s in f32, {:.0} in bf16, {:.0} GOP/s in int8, {:.1} GB/s reading memory",
            self.measured.gflops_f32, self.measured.gflops_bf16, self.measured.gops_int8, self.measured.read_gb_per_second
        );
        // Forward and backward of a frozen body cost about 4 operations a parameter and token.
        let (name, peak) = if self.measured.gflops_bf16 > self.measured.gflops_f32 {
            ("bf16", self.measured.gflops_bf16)
        } else {
            ("f32", self.measured.gflops_f32)
        };
        let rate = |parameters: f64| peak * 1e9 / (4.0 * parameters);
        let _ = write!(
            out,
            "so          a LoRA step in {name} stays below {:.0} tokens/s on a 135M model, {:.0} on a 500M model",
            rate(106e6),
            rate(360e6)
        );
        out
    }
}

fn lacking(lacks: &[&str]) -> String {
    if lacks.is_empty() { String::new() } else { format!("; lacks {}", lacks.join(" ")) }
}

/// Which multiply-adds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    F32,
    Bf16,
    Int8,
}

/// Multiply-adds on registers, in 10⁹ a second: the best of a few short runs is what the machine can do. Without the
/// instructions of a kind, f32 is what its kernels come down to.
pub(crate) fn measure_peak(kind: Kind) -> f64 {
    // About a hundredth of a second.
    const TASKS: usize = 1 << 10;
    let mut best = 0f64;
    for _ in 0..6 {
        let begun = Instant::now();
        let operations = match kind {
            Kind::F32 => None,
            Kind::Bf16 => peak::bf16(TASKS),
            Kind::Int8 => peak::int8(TASKS),
        };
        let operations = operations.unwrap_or_else(|| peak::f32(TASKS));
        best = best.max(operations / begun.elapsed().as_secs_f64() / 1e9);
    }
    best
}

/// Sums a buffer far larger than any cache.
pub(crate) fn measure_reading() -> f64 {
    measure_reading_of(&[&vec![1; 256 << 20]])
}

/// The same of given memory: where it happens to lie decides, too.
pub(crate) fn measure_reading_of(parts: &[&[u8]]) -> f64 {
    let mut best = 0f64;
    for _ in 0..3 {
        let begun = Instant::now();
        let bytes = peak::read(parts);
        best = best.max(bytes / begun.elapsed().as_secs_f64() / 1e9);
    }
    best
}

fn folder_size(folder: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => folder_size(&entry.path()),
        Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |m| m.len()),
        _ => 0,
    };
    entries.flatten().map(size).sum()
}

/// Whether a file could be made there (or in the nearest parent that exists), without leaving one.
fn writable(path: &std::path::Path) -> bool {
    let Some(existing) = path.ancestors().find(|p| p.is_dir()) else { return false };
    let probe = existing.join(format!(".tunesmith-probe-{}", std::process::id()));
    let made = std::fs::File::create(&probe).is_ok();
    let _ = std::fs::remove_file(&probe);
    made
}
