//! What frozen lower layers compute for a row is the same in every epoch: computed once, rounded to bf16, kept.
//!
//! Rounding happens in any case while the cache is on, also for what was computed a moment ago; and rows are computed in chunks
//! that follow from the data alone. So a row's numbers do not depend on whether they were kept, lost, damaged or never
//! asked for before: cached equals uncached, bit for bit.

use std::ops::Range;
use std::path::Path;

use dataset::Rendered;
use dataset::share::{Forest, needed};
use engine::{Arena, ParamStore, Segments, Tape};
use kernels::elementwise::cast;
use model::{Decoder, ModelError};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::arguments::{PrefixCache, Steps, TrainingArguments};
use crate::error::{Result, TrainError};
use crate::load;
use crate::save::prefix::PrefixFile;

/// Tokens of the rows that are computed together.
const CHUNK_TOKENS: usize = 1024;
const MIB: u64 = 1 << 20;

/// Where the results of the frozen layers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PrefixPlace {
    /// In memory.
    Memory,
    /// In a file in the output directory, removed at the end.
    Disk,
}

/// What is kept of the frozen layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PrefixPlan {
    /// Number of frozen layers, from the first on.
    pub layers: usize,
    /// Bytes for all rows.
    pub bytes: u64,
    /// Where.
    pub place: PrefixPlace,
}

/// Decides whether and where results of frozen layers are kept, and what the user should know about that. Settings, model and
/// rows decide, not the machine: rounding must not depend on it.
///
/// # Errors
/// [`TrainError::Setting`] if a place is asked for that the budget does not allow.
pub(crate) fn decide(
    decoder: &Decoder,
    arguments: &TrainingArguments,
    steps: &Steps,
    rows: &[&Rendered],
) -> Result<(Option<PrefixPlan>, Option<String>)> {
    let asked = arguments.frozen_prefix_cache;
    let layers = decoder.frozen_layers();
    let off = |why: &str| (None, (asked != PrefixCache::Auto).then(|| format!("frozen_prefix_cache has no effect: {why}")));
    if asked == PrefixCache::Off {
        return Ok((None, None));
    }
    if layers == 0 {
        return Ok(off("the first layer (or the embedding, or dropout there) changes from step to step"));
    }
    if !decoder.same_in_every_batch(rows.iter().map(|row| row.input_ids.len()).max().unwrap_or(0)) {
        return Ok(off("this model's positions depend on the longest row of a batch"));
    }
    if asked == PrefixCache::Auto && steps.total <= steps.per_epoch {
        return Ok((None, None));
    }
    let tokens: usize = rows.iter().map(|row| needed(row).len()).sum();
    let bytes = (tokens * decoder.config.hidden_size * size_of::<u16>()) as u64;
    let (memory, disk) = (arguments.frozen_prefix_cache_memory_mb, arguments.frozen_prefix_cache_disk_mb);
    let fits = |budget: u64| bytes <= budget.saturating_mul(MIB);
    let plan = |place| Some(PrefixPlan { layers, bytes, place });
    let mib = bytes.div_ceil(MIB);
    let too_small = |key: &'static str, budget: u64| {
        let why =
            format!("the results of the {layers} frozen layers take {mib} MiB: raise it, or set frozen_prefix_cache to `auto` or `off`");
        Err(TrainError::Setting { key, value: budget.to_string(), why })
    };
    Ok((
        match asked {
            PrefixCache::Memory | PrefixCache::Auto if fits(memory) => plan(PrefixPlace::Memory),
            PrefixCache::Disk | PrefixCache::Auto if fits(disk) => plan(PrefixPlace::Disk),
            PrefixCache::Memory => return too_small("frozen_prefix_cache_memory_mb", memory),
            PrefixCache::Disk => return too_small("frozen_prefix_cache_disk_mb", disk),
            PrefixCache::Auto | PrefixCache::Off => {
                let text = format!(
                    "the {layers} frozen layers are computed anew in every epoch: their results take {mib} MiB, more than \
                     frozen_prefix_cache_memory_mb ({memory}) and frozen_prefix_cache_disk_mb ({disk}). They are not rounded to bf16 then: \
                     a larger budget is another run"
                );
                return Ok((None, Some(text)));
            }
        },
        None,
    ))
}

/// Where rows are kept.
enum Store {
    Memory(Vec<Option<Box<[u16]>>>),
    Disk(PrefixFile),
    /// Nothing is kept: the disk refused, or a test wants to know that it makes no difference.
    Nowhere,
}

/// Gives the residual stream before the first layer that trains.
pub(crate) struct Prefix<'a> {
    decoder: &'a Decoder,
    arena: &'a Arena,
    layers: usize,
    rows: Vec<&'a [u32]>,
    chunk_of: Vec<u32>,
    chunks: Vec<Range<usize>>,
    store: Store,
    notes: Vec<String>,
    /// The row that was looked at last.
    row: Vec<u16>,
    /// Tokens that went through the frozen layers.
    computed: u64,
}

impl<'a> Prefix<'a> {
    /// For all rows of a run, kept in memory.
    pub fn new(decoder: &'a Decoder, arena: &'a Arena, layers: usize, rows: &[&'a Rendered]) -> Self {
        let rows: Vec<&[u32]> = rows.iter().map(|row| needed(row)).collect();
        let mut chunks: Vec<Range<usize>> = Vec::new();
        let mut filled = 0;
        for (i, row) in rows.iter().enumerate() {
            match chunks.last_mut() {
                Some(chunk) if filled + row.len() <= CHUNK_TOKENS => chunk.end = i + 1,
                _ => {
                    chunks.push(i..i + 1);
                    filled = 0;
                }
            }
            filled += row.len();
        }
        let chunk_of = chunks.iter().enumerate().flat_map(|(c, rows)| rows.clone().map(move |_| c as u32)).collect();
        let store = Store::Memory(vec![None; rows.len()]);
        Self { decoder, arena, layers, rows, chunk_of, chunks, store, notes: Vec::new(), row: Vec::new(), computed: 0 }
    }

    /// Keeps nothing.
    #[cfg(test)]
    pub fn forgetful(mut self) -> Self {
        self.store = Store::Nowhere;
        self
    }

    /// Keeps rows in a file of `dir`, and uses what lies there if it was made from the same rows by the same model, which
    /// `identity` names (and of which a sample is computed again to make sure).
    ///
    /// # Errors
    /// If the model cannot compute a row. What goes wrong with the file becomes a note: it is only a cache.
    pub fn on_disk(mut self, dir: &Path, identity: &str, params: &ParamStore) -> std::result::Result<Self, ModelError> {
        let hidden = self.decoder.config.hidden_size;
        let mut key = Sha256::new();
        let facts = [self.layers, hidden, CHUNK_TOKENS, self.rows.len()];
        facts.iter().for_each(|fact| key.update((*fact as u64).to_le_bytes()));
        // Products round by the compute type and by what the processor multiplies.
        for name in [self.decoder.compute.name(), kernels::cpu::isa().name(), kernels::cpu::bf16_path().name(), identity] {
            key.update((name.len() as u64).to_le_bytes());
            key.update(name.as_bytes());
        }
        for row in &self.rows {
            key.update((row.len() as u64).to_le_bytes());
            row.iter().for_each(|id| key.update(id.to_le_bytes()));
        }
        let lengths: Vec<usize> = self.rows.iter().map(|row| row.len() * hidden).collect();
        let opened = PrefixFile::open(dir, key.finalize().into(), &lengths);
        let mut file = match opened {
            Ok((file, note)) => {
                self.notes.extend(note);
                file
            }
            Err(error) => {
                self.give_up(&error);
                return Ok(self);
            }
        };
        if let Some(row) = file.first() {
            let computed = self.compute(params, row)?;
            let own = &computed[row - self.chunks[self.chunk_of[row] as usize].start];
            if load::prefix::row(&mut file, row, &mut self.row).is_ok_and(|found| found) && self.row[..] != own[..] {
                self.notes.push("what was kept of the frozen layers is of another model and is computed again".into());
                if let Err(error) = file.clear() {
                    self.give_up(&error);
                    return Ok(self);
                }
            }
        }
        self.store = Store::Disk(file);
        Ok(self)
    }

    /// What the user should know.
    pub fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// Number of frozen layers.
    pub fn layers(&self) -> usize {
        self.layers
    }

    /// Tokens that went through the frozen layers so far.
    pub fn computed(&self) -> u64 {
        self.computed
    }

    /// Writes the residual stream of a batch to `out`, `[tokens, hidden]`: `forest` lays out rows of which `numbers` are the places
    /// among all rows.
    pub fn states(
        &mut self,
        params: &ParamStore,
        forest: &Forest,
        numbers: &[usize],
        out: &mut Vec<f32>,
    ) -> std::result::Result<(), ModelError> {
        let hidden = self.decoder.config.hidden_size;
        out.resize(forest.tokens() * hidden, 0.0);
        let mut start = 0;
        let mut present = None;
        for node in &forest.nodes {
            let row = numbers[node.row];
            if present != Some(row) {
                self.look_up(params, row)?;
                present = Some(row);
            }
            let end = start + node.len * hidden;
            cast(&mut out[start..end], &self.row[node.past * hidden..(node.past + node.len) * hidden]);
            start = end;
        }
        Ok(())
    }

    /// Brings the numbers of `row` to `self.row`.
    fn look_up(&mut self, params: &ParamStore, row: usize) -> std::result::Result<(), ModelError> {
        match &mut self.store {
            Store::Memory(rows) => {
                if let Some(kept) = &rows[row] {
                    self.row.clear();
                    self.row.extend_from_slice(kept);
                    return Ok(());
                }
            }
            Store::Disk(file) => match load::prefix::row(file, row, &mut self.row) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(why) => self.notes.push(format!("what was kept of the frozen layers for row {} {why}: computed again", row + 1)),
            },
            Store::Nowhere => {}
        }
        let chunk = self.chunks[self.chunk_of[row] as usize].clone();
        let computed = self.compute(params, row)?;
        self.row.clear();
        self.row.extend_from_slice(&computed[row - chunk.start]);
        let mut refused = None;
        match &mut self.store {
            Store::Memory(rows) => chunk.zip(computed).for_each(|(i, row)| rows[i] = Some(row)),
            Store::Disk(file) => refused = chunk.zip(&computed).find_map(|(i, row)| file.put(i, row).err()),
            Store::Nowhere => {}
        }
        if let Some(error) = refused {
            self.give_up(&error);
        }
        Ok(())
    }

    fn give_up(&mut self, error: &TrainError) {
        self.store = Store::Nowhere;
        self.notes.push(format!("{error}; the frozen layers are computed anew in every epoch"));
    }

    /// Runs the frozen layers on the chunk that holds `row`; the results of the chunk's rows.
    fn compute(&mut self, params: &ParamStore, row: usize) -> std::result::Result<Vec<Box<[u16]>>, ModelError> {
        let hidden = self.decoder.config.hidden_size;
        let rows = &self.rows[self.chunks[self.chunk_of[row] as usize].clone()];
        let forest = Forest::new(rows, true);
        let segments = Segments::tree(&forest.parts())?;
        let mut tape = Tape::inference(params, self.arena);
        let x = self.decoder.forward_to(&mut tape, &forest.ids(rows), &segments, None, self.layers)?;
        let x = tape.read(&x);
        let mut all = vec![0u16; x.len()];
        cast(&mut all, &x);
        self.computed += forest.tokens() as u64;
        let states = |i: usize| {
            let mut states = vec![0u16; rows[i].len() * hidden].into_boxed_slice();
            for (at, state) in states.chunks_exact_mut(hidden).enumerate() {
                if let Some(place) = forest.place(i, at) {
                    state.copy_from_slice(&all[place * hidden..(place + 1) * hidden]);
                }
            }
            states
        };
        Ok((0..rows.len()).map(states).collect())
    }
}
