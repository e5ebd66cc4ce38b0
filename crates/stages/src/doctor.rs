//! What this machine has and what runs fast on it: `tunesmith doctor`. Numbers are measured, not looked up.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;
use std::time::Instant;

use kernels::cpu;
use kernels::mat::{Mat, MatMut, Update};
use rayon::prelude::*;
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

/// Speeds of this machine.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Measured {
    /// f32 matrix products, all threads, 10^9 operations a second.
    pub gflops_f32: f64,
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
        measured: Measured { gflops_f32: measure_products(), read_gb_per_second: measure_reading() },
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
            "measured    {:.0} GFLOP/s in f32 products, {:.1} GB/s reading memory",
            self.measured.gflops_f32, self.measured.read_gb_per_second
        );
        // Forward and backward of a frozen body cost about 4 operations a parameter and token.
        let rate = |parameters: f64| self.measured.gflops_f32 * 1e9 / (4.0 * parameters);
        let _ = write!(
            out,
            "so          a LoRA step in f32 can reach about {:.0} tokens/s on a 135M model, {:.0} on a 500M model",
            rate(106e6),
            rate(360e6)
        );
        out
    }
}

fn lacking(lacks: &[&str]) -> String {
    if lacks.is_empty() { String::new() } else { format!("; lacks {}", lacks.join(" ")) }
}

/// The shape of a 135M model's MLP at 1,024 tokens; the best of a few runs is what the machine can do.
pub(crate) fn measure_products() -> f64 {
    let (tokens, width, hidden) = (1024, 576, 1536);
    let x = vec![0.5f32; tokens * width];
    let w = vec![0.25f32; hidden * width];
    let mut y = vec![0f32; tokens * hidden];
    let mut best = f64::INFINITY;
    for _ in 0..12 {
        let begun = Instant::now();
        kernels::matmul::matmul_nt(
            MatMut::new(&mut y, tokens, hidden),
            Mat::new(&x, tokens, width),
            Mat::new(&w, hidden, width),
            1.0,
            Update::Set,
        );
        best = best.min(begun.elapsed().as_secs_f64());
    }
    2.0 * (tokens * width * hidden) as f64 / best / 1e9
}

/// Sums a buffer far larger than any cache.
pub(crate) fn measure_reading() -> f64 {
    let buffer = vec![1u64; 32 << 20];
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        let begun = Instant::now();
        let sum: u64 = buffer.par_chunks(1 << 20).map(|c| c.iter().fold(0u64, |a, b| a.wrapping_add(*b))).sum();
        std::hint::black_box(sum);
        best = best.min(begun.elapsed().as_secs_f64());
    }
    (buffer.len() * 8) as f64 / best / 1e9
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
