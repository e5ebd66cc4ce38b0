//! `tunesmith plan`: what a run will need, predicted from a few timed steps on its own longest and ordinary batches.

use std::fmt::Write;
use std::path::Path;
use std::time::Instant;

use dataset::TaskSpec;
use engine::{Arena, ComputeDtype};
use recipe::Recipe;
use serde::Serialize;

use crate::environment::{Environment, Memory, WallClock, mebibytes, native_compute};
use crate::error::Result;
use crate::progress::Progress;
use crate::{human, rows};

/// Ordinary batches that are timed.
const TIMED_BATCHES: usize = 4;

/// The prediction.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Phases in order.
    pub phases: Vec<Phase>,
    /// The largest memory peak, MiB.
    pub peak_memory_mb: u64,
    /// What this machine has free, MiB (what this process holds counted as free).
    pub available_memory_mb: Option<u64>,
    /// Disk needed altogether, MiB.
    pub disk_mb: u64,
    /// Whether memory and disk suffice.
    pub fits: bool,
    /// Time altogether.
    pub seconds: f64,
    /// Optimizer steps.
    pub steps: u64,
    /// Tokens of all rows of all epochs.
    pub tokens: u64,
    /// What is kept of layers that do not train, from epoch to epoch.
    pub frozen_prefix: Option<FrozenPrefix>,
    /// What to change if it does not fit.
    pub advice: Vec<String>,
}

/// What is kept of layers that do not train.
#[derive(Clone, Debug, Serialize)]
pub struct FrozenPrefix {
    /// Number of these layers.
    pub layers: usize,
    /// What their results take for all rows, MiB.
    pub mb: u64,
    /// `memory` or `disk`.
    pub place: train::PrefixPlace,
}

/// One phase of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// How long it takes.
    pub seconds: f64,
    /// Memory peak while it lasts, MiB.
    pub memory_mb: u64,
    /// Disk it takes, MiB.
    pub disk_mb: u64,
}

/// Loads the model, times a few steps without keeping them, and predicts.
pub fn run(environment: &Environment, recipe: &Recipe, progress: &mut dyn Progress) -> Result<Plan> {
    let begun = Instant::now();
    let rows::Ready { base, data, tokens, .. } = rows::ready(environment, recipe, None, progress)?;
    let compute = recipe.training.compute(native_compute());
    let mut decoder = if recipe.finetuning.trains_weights() { base.load()? } else { base.load_in(compute)? };
    let parameters = decoder.parameters() as u64;
    let mut prepared = train::prepare(&mut decoder, &recipe.finetuning, None, recipe.training.seed)?;
    decoder.pack(compute)?;
    let load_seconds = begun.elapsed().as_secs_f64();
    let memory = Memory::now();
    let resident = memory.rss.unwrap_or(4 * parameters);
    progress.note("timing a few steps (nothing is kept)");
    let arena = Arena::new();
    let measured = train::plan::measure(
        &decoder,
        &mut prepared.params,
        &arena,
        &tokens.train.rows,
        &recipe.training,
        &WallClock::start(),
        TIMED_BATCHES,
        memory.available,
    )?;
    let heldout_tokens: u64 = match &recipe.task {
        // The labels of a row are a few tokens beside its prompt; the training rows' mean length stands for it.
        TaskSpec::Classify(_) => mean_tokens(&tokens) * data.heldout.len() as u64,
        _ => tokens.heldout.rows.iter().map(|r| r.input_ids.len() as u64).sum(),
    };
    let lora = prepared.adapter.is_some();
    let trainable = prepared.params.numel() as u64;
    let facts = train::plan::Facts {
        finetuning: recipe.finetuning.finetuning_type,
        total_parameters: decoder.parameters_with(&prepared.params) as u64,
        trainable_parameters: trainable,
        largest_tensor: decoder.slots().iter().map(|s| s.shape.iter().product::<usize>() as u64).max().unwrap_or(0),
        packed_bytes: if lora || decoder.compute == ComputeDtype::F32 { 0 } else { 2 * trainable },
        resident_bytes: resident,
        loading_bytes: memory.peak_rss.unwrap_or(resident).max(resident),
        load_seconds,
        evaluation_tokens: heldout_tokens,
        validation_tokens: heldout_tokens,
        merged_bytes: lora.then_some(4 * parameters),
        memory_available: memory.available.map(|a| a + resident),
        disk_available: free_space(recipe.output_dir.as_deref().unwrap_or(Path::new("."))),
    };
    let plan = train::plan::plan(&recipe.training, &tokens.train.rows, &facts, &measured);
    Ok(Plan {
        phases: plan
            .phases
            .iter()
            .map(|p| Phase {
                name: p.name.to_owned(),
                seconds: p.seconds,
                memory_mb: mebibytes(p.memory_bytes),
                disk_mb: mebibytes(p.disk_bytes),
            })
            .collect(),
        peak_memory_mb: mebibytes(plan.memory_bytes),
        available_memory_mb: facts.memory_available.map(mebibytes),
        disk_mb: mebibytes(plan.disk_bytes),
        fits: plan.memory_fits.unwrap_or(true) && plan.disk_fits.unwrap_or(true),
        seconds: plan.seconds,
        steps: plan.steps,
        tokens: plan.tokens,
        frozen_prefix: plan.frozen_prefix.map(|kept| FrozenPrefix {
            layers: kept.layers,
            mb: kept.bytes.div_ceil(1 << 20),
            place: kept.place,
        }),
        advice: plan.advice,
    })
}

fn mean_tokens(tokens: &rows::Tokens) -> u64 {
    let sum: usize = tokens.train.rows.iter().map(|r| r.input_ids.len()).sum();
    (sum / tokens.train.rows.len().max(1)) as u64
}

impl Plan {
    /// As a person reads it.
    pub fn to_text(&self) -> String {
        let mut out = format!(
            "{} steps over {} tokens\n\n{:<16}  {:>8}  {:>12}  {:>10}\n",
            self.steps,
            human::count(self.tokens),
            "phase",
            "time",
            "memory",
            "disk"
        );
        for phase in &self.phases {
            let _ = writeln!(
                out,
                "{:<16}  {:>8}  {:>8} MiB  {:>6} MiB",
                phase.name,
                human::duration(phase.seconds),
                phase.memory_mb,
                phase.disk_mb
            );
        }
        if let Some(kept) = &self.frozen_prefix {
            let place = match kept.place {
                train::PrefixPlace::Memory => "memory",
                train::PrefixPlace::Disk => "the output directory",
            };
            let (layers, mb) = (kept.layers, kept.mb);
            let _ = writeln!(out, "\nresults of the {layers} frozen layers are computed once and kept in {place}: {mb} MiB");
        }
        let available = self.available_memory_mb.map_or(String::new(), |a| format!(" of {a} MiB that can be had"));
        let verdict = if self.fits { "fits" } else { "DOES NOT FIT" };
        let _ = write!(
            out,
            "\naltogether about {}, {} MiB of memory{available}, {} MiB of disk: {verdict}",
            human::duration(self.seconds),
            self.peak_memory_mb,
            self.disk_mb
        );
        for advice in &self.advice {
            let _ = write!(out, "\n  - {advice}");
        }
        out
    }
}

/// Free space of the file system that holds `path`, or its nearest parent that exists.
fn free_space(path: &Path) -> Option<u64> {
    let existing = std::path::absolute(path).ok()?.ancestors().find(|p| p.exists())?.to_path_buf();
    let facts = rustix::fs::statvfs(existing).ok()?;
    Some(facts.f_bavail * facts.f_frsize)
}
