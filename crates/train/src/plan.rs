//! What a run will need, said before it begins: memory, disk and time of each phase, and what to change if it does not fit.
//!
//! Two halves. [`measure`] runs a few real batches, the largest of the whole run among them, without changing a weight.
//! [`plan`] is arithmetic on these numbers and the [`Facts`] that the caller knows.

use std::path::Path;

use serde::Serialize;

use crate::arguments::{SaveStrategy, Steps, Strategy, TrainingArguments};
use crate::error::{Result, TrainError};
use crate::finetuning::FinetuningType;
use crate::objective::{NextToken, Objective, RowSize};
use crate::observe::Clock;
use crate::order;
use crate::prefix::{self, PrefixPlace, PrefixPlan};
use dataset::Rendered;
use engine::{AdamW, AdamWConfig, Arena, ParamStore};
use model::{Decoder, ModelError};

/// Bytes of one f32.
const F32: u64 = 4;
/// How fast a disk is assumed to take checkpoints and models: a modest SSD, hashing and syncing included.
const DISK_BYTES_PER_SECOND: f64 = 200e6;
/// A plan that needs more than this part of what is available is called tight.
const TIGHT: f64 = 0.9;

/// What a few real batches showed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// Batches that were timed.
    pub batches: usize,
    /// Tokens of these.
    pub tokens: u64,
    /// Seconds a token of forward and backward pass.
    pub train_seconds_per_token: f64,
    /// What is kept of frozen layers, which is then not in [`Self::train_seconds_per_token`].
    pub frozen_prefix: Option<PrefixPlan>,
    /// Seconds a token of the frozen layers, paid in the first epoch.
    pub prefix_seconds_per_token: f64,
    /// Seconds a token of the forward pass alone.
    pub forward_seconds_per_token: f64,
    /// Seconds of one update of the weights.
    pub update_seconds: f64,
    /// Tokens of the largest batch of the run: what is computed of it in one pass is at most `tokens_per_pass`.
    pub largest_batch_tokens: u64,
    /// Peak of activations in that batch.
    pub activation_bytes: u64,
}

/// What the caller knows.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// How it is trained.
    pub finetuning: FinetuningType,
    /// All numbers of the model.
    pub total_parameters: u64,
    /// Trainable numbers.
    pub trainable_parameters: u64,
    /// Numbers of the largest tensor: merging holds one at a time.
    pub largest_tensor: u64,
    /// What products read instead of trained matrices: copies in bf16, if that is what they compute in.
    pub packed_bytes: u64,
    /// Memory in use with model, trainable tensors and data loaded, before any step or measurement.
    pub resident_bytes: u64,
    /// Most memory while the model was loaded and packed: masters and what is packed of them lie side by side for a while.
    pub loading_bytes: u64,
    /// Seconds that loading took.
    pub load_seconds: f64,
    /// Tokens of one evaluation before or after training (every row with every candidate); 0 if there is none.
    pub evaluation_tokens: u64,
    /// Tokens of one evaluation in the midst of training; 0 if there is none.
    pub validation_tokens: u64,
    /// Size of the merged model, if merging is wanted.
    pub merged_bytes: Option<u64>,
    /// Memory that can be had, if known (what is in use by this process included).
    pub memory_available: Option<u64>,
    /// Space in the output directory's file system, if known.
    pub disk_available: Option<u64>,
}

/// One phase of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Phase {
    /// Its name.
    pub name: &'static str,
    /// How long it takes.
    pub seconds: f64,
    /// Memory peak while it lasts.
    pub memory_bytes: u64,
    /// Space that it takes on the disk, at most.
    pub disk_bytes: u64,
}

/// What a run will need.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Optimizer steps.
    pub steps: u64,
    /// Tokens of all rows of all epochs.
    pub tokens: u64,
    /// What is kept of frozen layers, and where.
    pub frozen_prefix: Option<PrefixPlan>,
    /// Phases in order.
    pub phases: Vec<Phase>,
    /// The largest memory peak.
    pub memory_bytes: u64,
    /// Space on the disk altogether, at most.
    pub disk_bytes: u64,
    /// Time altogether.
    pub seconds: f64,
    /// Whether the memory suffices, if it is known how much there is.
    pub memory_fits: Option<bool>,
    /// Whether the disk suffices, if it is known how much there is.
    pub disk_fits: Option<bool>,
    /// What to change, in order of preference; empty if everything fits.
    pub advice: Vec<String>,
    /// The measurement behind it.
    pub measured: Measured,
}

/// The batches of a whole run, counted.
struct Workload {
    tokens: u64,
    largest: Vec<usize>,
}

/// Epochs that are walked through: more would hardly change the mean.
const WALKED_EPOCHS: u64 = 32;

/// Walks through the run's order without computing anything; of very many epochs, through the first ones.
fn workload(arguments: &TrainingArguments, steps: &Steps, sizes: &[RowSize]) -> Workload {
    let lengths: Vec<usize> = sizes.iter().map(|size| size.tokens).collect();
    let tokens_of = |batch: &[usize]| batch.iter().map(|&row| lengths[row] as u64).sum::<u64>();
    let (mut tokens, mut largest, mut largest_tokens) = (0, Vec::new(), 0);
    let walked = steps.total.min(WALKED_EPOCHS * steps.per_epoch);
    for epoch in 0..walked.div_ceil(steps.per_epoch.max(1)) {
        let left = walked - epoch * steps.per_epoch;
        let batches = order::batches(arguments, &lengths, epoch);
        let used = (left * arguments.gradient_accumulation_steps as u64).min(batches.len() as u64) as usize;
        for batch in &batches[..used] {
            let of_batch = tokens_of(batch);
            tokens += of_batch;
            if of_batch > largest_tokens {
                (largest, largest_tokens) = (batch.clone(), of_batch);
            }
        }
    }
    if steps.total > walked {
        tokens = (tokens as f64 * (steps.total as f64 / walked as f64)) as u64;
    }
    Workload { tokens, largest }
}

/// Tokens that are run to see whether the largest batch can be.
const SAMPLE_TOKENS: usize = 512;

/// The first rows of a batch, about [`SAMPLE_TOKENS`] together: at least one.
fn sample(batch: &[usize], sizes: &[RowSize]) -> Vec<usize> {
    let mut tokens = 0;
    let fits = |&&row: &&usize| {
        let first = tokens == 0;
        tokens += sizes[row].tokens;
        first || tokens <= SAMPLE_TOKENS
    };
    batch.iter().take_while(fits).copied().collect()
}

/// Runs the largest batch of the run and then `batches` ordinary ones, forward and backward, and updates with a learning rate
/// of zero. Weights are as before; gradients are zero.
///
/// Where a part of the largest batch shows that the whole would take more than `memory` bytes of activations, that part alone is
/// run, and the whole's need is the part's for as many tokens more.
///
/// # Errors
/// If nothing is trained, or the model cannot compute the rows.
pub fn measure(
    decoder: &Decoder,
    params: &mut ParamStore,
    arena: &Arena,
    rows: &[Rendered],
    arguments: &TrainingArguments,
    clock: &dyn Clock,
    batches: usize,
    memory: Option<u64>,
) -> Result<Measured> {
    let mut objective = NextToken::new(decoder, arena, rows, arguments);
    if objective.sizes().is_empty() {
        return Err(TrainError::NothingTrained { rows: rows.len() });
    }
    let sizes = objective.sizes().to_vec();
    let steps = arguments.steps_for(sizes.len());
    let (frozen_prefix, _) = prefix::decide(decoder, arguments, &steps, objective.rows())?;
    let model = |why: ModelError| TrainError::Model { step: 0, why: why.to_string() };
    if let Some(plan) = frozen_prefix {
        // For a few batches memory is good enough, whatever the run will use.
        let plan = PrefixPlan { place: PrefixPlace::Memory, ..plan };
        objective = objective.keep_prefix(plan, Path::new(""), "", params).map_err(model)?;
    }
    let tokens_of = |batch: &[usize]| batch.iter().map(|&row| sizes[row].tokens as u64).sum::<u64>();
    let lengths: Vec<usize> = sizes.iter().map(|size| size.tokens).collect();
    let work = workload(arguments, &steps, &sizes);

    arena.reset_peak();
    params.zero_grads();
    let sample = sample(&work.largest, &sizes);
    objective.accumulate(params, &sample, 0, 1).map_err(model)?;
    let mut activation_bytes = arena.stats().bytes_peak as u64;
    // What is computed at a time: a pass, or the longest row if that is longer.
    let longest = work.largest.iter().map(|&row| sizes[row].tokens).max().unwrap_or(0).max(objective.pass_tokens()) as u64;
    let at_once = tokens_of(&work.largest).min(longest);
    let whole = (activation_bytes as f64 * at_once as f64 / tokens_of(&sample).max(1) as f64) as u64;
    let fits = memory.is_none_or(|memory| whole.max(activation_bytes) <= memory);
    if fits {
        objective.accumulate(params, &work.largest, 0, 1).map_err(model)?;
        activation_bytes = arena.stats().bytes_peak as u64;
    } else {
        activation_bytes = activation_bytes.max(whole);
    }

    let ordinary = if fits { order::batches(arguments, &lengths, 0) } else { vec![sample] };
    let ordinary = &ordinary[..ordinary.len().min(batches.max(1))];
    let tokens: u64 = ordinary.iter().map(|batch| tokens_of(batch)).sum();
    let seconds = |work: &mut dyn FnMut() -> Result<()>| {
        let start = clock.seconds();
        work()?;
        Ok::<f64, TrainError>(clock.seconds() - start)
    };
    let mut prefix_tokens = 0;
    let prefix = seconds(&mut || {
        ordinary.iter().try_for_each(|batch| objective.prepare(params, batch).map(|tokens| prefix_tokens += tokens).map_err(model))
    })?;
    let train =
        seconds(&mut || ordinary.iter().try_for_each(|batch| objective.accumulate(params, batch, 0, 1).map(|_| ()).map_err(model)))?;
    let forward = seconds(&mut || ordinary.iter().try_for_each(|batch| objective.look(params, batch).map(|_| ()).map_err(model)))?;
    params.zero_grads();
    let mut optimizer = AdamW::new(AdamWConfig::default(), params);
    optimizer.step(params, 0.0, 1.0); // the first one touches the moments' memory, which a run does once
    let update_seconds = seconds(&mut || {
        optimizer.step(params, 0.0, 1.0);
        Ok(())
    })?;
    Ok(Measured {
        batches: ordinary.len(),
        tokens,
        train_seconds_per_token: train / tokens as f64,
        frozen_prefix,
        prefix_seconds_per_token: if prefix_tokens > 0 { prefix / prefix_tokens as f64 } else { 0.0 },
        forward_seconds_per_token: forward / tokens as f64,
        update_seconds,
        largest_batch_tokens: tokens_of(&work.largest),
        activation_bytes,
    })
}

/// Predicts a run over these rows.
pub fn plan(arguments: &TrainingArguments, rows: &[Rendered], facts: &Facts, measured: &Measured) -> Plan {
    let sizes: Vec<RowSize> = rows
        .iter()
        .map(|row| RowSize { tokens: row.input_ids.len(), trained: row.trained_tokens() })
        .filter(|size| size.trained > 0)
        .collect();
    let steps = arguments.steps_for(sizes.len());
    let work = workload(arguments, &steps, &sizes);
    predict(arguments, &steps, work.tokens, sizes.iter().map(|size| size.tokens as u64).sum(), facts, measured)
}

/// `tokens` are those of the run, `epoch` those of an epoch.
fn predict(arguments: &TrainingArguments, steps: &Steps, tokens: u64, epoch: u64, facts: &Facts, measured: &Measured) -> Plan {
    let lora = facts.finetuning == FinetuningType::Lora;
    // Gradients and both moments; their zeros take no memory until the first step touches them.
    let state = 3 * F32 * facts.trainable_parameters;
    // A checkpoint has value, m and v; with LoRA the adapter itself too.
    let checkpoint = F32 * facts.trainable_parameters * if lora { 4 } else { 3 };
    let result = F32 * if lora { facts.trainable_parameters } else { facts.total_parameters };
    let times = |every: u64, by_epoch: bool| match (every, by_epoch) {
        (_, true) => steps.total.div_ceil(steps.per_epoch.max(1)),
        (0, _) => 0,
        (every, _) => steps.total.div_ceil(every),
    };
    let evaluations = times(steps.eval, arguments.eval_strategy == Strategy::Epoch);
    let saves = match arguments.save_strategy {
        SaveStrategy::Best => evaluations,
        strategy => times(steps.save, strategy == SaveStrategy::Epoch),
    };
    let saves = if arguments.load_best_model_at_end { saves.max(evaluations) } else { saves };
    // A new checkpoint is whole before an old one goes, and the best one may stay beside the newest.
    let kept = arguments.save_total_limit.map_or(saves, |limit| saves.min(limit.max(2) as u64 + 1)).max(1);

    let kept_in = |place| measured.frozen_prefix.filter(|plan| plan.place == place).map_or(0, |plan| plan.bytes);
    let training = facts.resident_bytes + facts.packed_bytes + state + measured.activation_bytes + kept_in(PrefixPlace::Memory);
    // Evaluation keeps no activations of earlier layers; a training batch's peak bounds it from above.
    let evaluating = facts.resident_bytes + facts.packed_bytes + measured.activation_bytes / 4;
    let forward = measured.forward_seconds_per_token;
    let written = |bytes: u64| bytes as f64 / DISK_BYTES_PER_SECOND;
    let mut phases = vec![Phase { name: "load", seconds: facts.load_seconds, memory_bytes: facts.loading_bytes, disk_bytes: 0 }];
    let mut add = |wanted: bool, name, seconds, memory_bytes, disk_bytes| {
        if wanted {
            phases.push(Phase { name, seconds, memory_bytes, disk_bytes });
        }
    };
    let around = facts.evaluation_tokens > 0;
    let evaluation_seconds = facts.evaluation_tokens as f64 * forward;
    let frozen_seconds = epoch.min(tokens) as f64 * measured.prefix_seconds_per_token;
    let train_seconds = frozen_seconds + tokens as f64 * measured.train_seconds_per_token + steps.total as f64 * measured.update_seconds;
    let within = evaluations > 0 && facts.validation_tokens > 0;
    let within_seconds = evaluations as f64 * facts.validation_tokens as f64 * forward;
    add(around, "evaluate before", evaluation_seconds, evaluating, 0);
    add(true, "train", train_seconds, training, kept_in(PrefixPlace::Disk));
    add(within, "evaluate during", within_seconds, evaluating + state, 0);
    add(saves > 0, "checkpoints", saves as f64 * written(checkpoint), facts.resident_bytes + state, kept * checkpoint);
    add(around, "evaluate after", evaluation_seconds, evaluating, 0);
    add(true, "save", written(result), facts.resident_bytes, result);
    if let Some(merged) = facts.merged_bytes {
        // One tensor at a time: the base's, the product of the adapter's, and their sum.
        let memory = 3 * F32 * facts.largest_tensor + F32 * facts.trainable_parameters;
        add(true, "merge", written(merged) + facts.load_seconds, memory, merged);
    }

    let memory_bytes = phases.iter().map(|phase| phase.memory_bytes).max().unwrap_or(0);
    let disk_bytes = phases.iter().map(|phase| phase.disk_bytes).sum();
    let advice = advice(arguments, facts, measured, training, checkpoint, kept, disk_bytes);
    Plan {
        steps: steps.total,
        tokens,
        frozen_prefix: measured.frozen_prefix,
        memory_bytes,
        disk_bytes,
        seconds: phases.iter().map(|phase| phase.seconds).sum(),
        memory_fits: facts.memory_available.map(|available| memory_bytes <= available),
        disk_fits: facts.disk_available.map(|available| disk_bytes <= available),
        advice,
        phases,
        measured: measured.clone(),
    }
}

/// What to change so that the run fits, the least painful first.
fn advice(
    arguments: &TrainingArguments,
    facts: &Facts,
    measured: &Measured,
    training: u64,
    checkpoint: u64,
    kept: u64,
    disk: u64,
) -> Vec<String> {
    let mut advice = Vec::new();
    let batch = arguments.per_device_train_batch_size as u64;
    let fixed = training - measured.activation_bytes;
    if let Some(available) = facts.memory_available
        && training > (available as f64 * TIGHT) as u64
    {
        let room = ((available as f64 * TIGHT) as u64).saturating_sub(fixed);
        let smaller = batch * room / measured.activation_bytes.max(1);
        if smaller >= 1 && smaller < batch {
            let accumulation = (batch * arguments.gradient_accumulation_steps as u64).div_ceil(smaller);
            advice.push(format!(
                "activations take {}: per_device_train_batch_size: {smaller} with gradient_accumulation_steps: {accumulation} trains \
                 about the same in {}",
                size(measured.activation_bytes),
                size(fixed + measured.activation_bytes * smaller / batch),
            ));
        } else if smaller == 0 {
            if facts.finetuning != FinetuningType::Lora {
                let state = 4 * F32 * facts.trainable_parameters;
                advice.push(format!(
                    "weights, gradients and optimizer of {} trainable parameters take {}: finetuning_type: lora needs a small part of \
                     that, finetuning_type: freeze with few layers less too",
                    facts.trainable_parameters,
                    size(state),
                ));
            }
            if !arguments.gradient_checkpointing && room > 0 {
                advice.push(format!(
                    "activations take {}: gradient_checkpointing: true keeps a part of that, for about a third more time",
                    size(measured.activation_bytes)
                ));
            }
            if room > 0 {
                let tokens = measured.largest_batch_tokens * room / measured.activation_bytes.max(1);
                advice.push(format!("even one row a batch is too much at this length: cutoff_len: {} would fit", tokens.max(1)));
            }
            if fixed > available {
                advice.push("the weights alone do not fit: choose a smaller model".into());
            }
        } else if training <= available {
            advice.push(format!("memory is tight: {} of {} available; other programs must stay small", size(training), size(available)));
        }
    }
    if let Some(available) = facts.disk_available
        && disk > available
    {
        if kept > 3 {
            let saved = (kept - 3) * checkpoint;
            advice.push(format!("checkpoints take {}: save_total_limit: 2 saves {}", size(kept * checkpoint), size(saved)));
        } else if arguments.save_strategy != SaveStrategy::No {
            advice.push(format!("each checkpoint takes {}: save_strategy: no keeps none", size(checkpoint)));
        }
        if facts.merged_bytes.is_some() {
            advice.push("leave the merge for another disk: it needs only the base and the adapter".into());
        }
        advice.push(format!("free {} or choose another output directory", size(disk - available)));
    }
    advice
}

/// A size for people.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Amount;

    const GIB: u64 = 1 << 30;

    fn facts() -> Facts {
        Facts {
            finetuning: FinetuningType::Lora,
            total_parameters: 135_000_000,
            trainable_parameters: 2_400_000,
            largest_tensor: 28_000_000,
            packed_bytes: 0,
            resident_bytes: 600 << 20,
            loading_bytes: 700 << 20,
            load_seconds: 1.0,
            evaluation_tokens: 1000,
            validation_tokens: 500,
            merged_bytes: Some(270_000_000),
            memory_available: Some(4 * GIB),
            disk_available: Some(20 * GIB),
        }
    }

    fn measured() -> Measured {
        Measured {
            batches: 3,
            tokens: 3000,
            train_seconds_per_token: 2e-3,
            frozen_prefix: None,
            prefix_seconds_per_token: 0.0,
            forward_seconds_per_token: 1e-3,
            update_seconds: 0.01,
            largest_batch_tokens: 1200,
            activation_bytes: GIB,
        }
    }

    fn arguments() -> TrainingArguments {
        TrainingArguments {
            per_device_train_batch_size: 16,
            num_train_epochs: 1.0,
            eval_strategy: Strategy::Steps,
            eval_steps: Some(Amount(10.0)),
            save_steps: Amount(10.0),
            ..Default::default()
        }
    }

    fn predicted(arguments: &TrainingArguments, facts: &Facts) -> Plan {
        predict(arguments, &arguments.steps_for(640), 50_000, 50_000, facts, &measured())
    }

    #[test]
    fn phases_add_up() {
        let plan = predicted(&arguments(), &facts());
        assert_eq!(plan.steps, 40);
        let phase = |name: &str| plan.phases.iter().find(|p| p.name == name).unwrap_or_else(|| panic!("{name}"));
        assert!((phase("train").seconds - (50_000.0 * 2e-3 + 40.0 * 0.01)).abs() < 1e-9);
        assert_eq!(phase("train").memory_bytes, (600 << 20) + 12 * 2_400_000 + GIB);
        assert!((phase("evaluate during").seconds - 4.0 * 500.0 * 1e-3).abs() < 1e-9);
        assert_eq!(phase("checkpoints").disk_bytes, 4 * 16 * 2_400_000);
        assert_eq!(phase("merge").disk_bytes, 270_000_000);
        assert!((plan.seconds - plan.phases.iter().map(|p| p.seconds).sum::<f64>()).abs() < 1e-9);
        assert_eq!((plan.memory_fits, plan.disk_fits, plan.advice.len()), (Some(true), Some(true), 0));
    }

    #[test]
    fn frozen_layers_cost_time_in_the_first_epoch_and_room_where_they_are_kept() {
        let (arguments, facts) = (arguments(), facts());
        let with = |place: Option<PrefixPlace>| {
            let kept = place.map(|place| PrefixPlan { layers: 3, bytes: GIB, place });
            let measured = Measured { frozen_prefix: kept, prefix_seconds_per_token: 1e-3, ..measured() };
            let plan = predict(&arguments, &arguments.steps_for(640), 100_000, 50_000, &facts, &measured);
            assert_eq!(plan.frozen_prefix, kept);
            plan.phases.into_iter().find(|phase| phase.name == "train").unwrap()
        };
        let (plain, memory, disk) = (with(None), with(Some(PrefixPlace::Memory)), with(Some(PrefixPlace::Disk)));
        assert_eq!((memory.memory_bytes - plain.memory_bytes, disk.memory_bytes), (GIB, plain.memory_bytes));
        assert_eq!((disk.disk_bytes, memory.disk_bytes), (GIB, 0));
        assert!((plain.seconds - (100_000.0 * 2e-3 + 50_000.0 * 1e-3 + 40.0 * 0.01)).abs() < 1e-9);
    }

    #[test]
    fn too_little_memory_asks_for_smaller_batches_that_fit() {
        let facts = Facts { memory_available: Some(GIB), ..facts() };
        let plan = predicted(&arguments(), &facts);
        assert_eq!(plan.memory_fits, Some(false));
        assert!(plan.advice[0].contains("per_device_train_batch_size: 4 with gradient_accumulation_steps: 4"), "{:?}", plan.advice);
        let fixed = (600 << 20) + 12 * 2_400_000;
        assert!(fixed + GIB * 4 / 16 <= GIB, "the advice would not help");
    }

    #[test]
    fn full_fine_tuning_that_cannot_fit_asks_for_lora() {
        let facts = Facts {
            finetuning: FinetuningType::Full,
            trainable_parameters: 135_000_000,
            resident_bytes: 2 * GIB,
            loading_bytes: 2 * GIB,
            memory_available: Some(2 * GIB),
            ..facts()
        };
        let plan = predicted(&arguments(), &facts);
        assert!(plan.advice[0].contains("finetuning_type: lora"), "{:?}", plan.advice);
        assert!(plan.advice.iter().any(|advice| advice.contains("smaller model")), "{:?}", plan.advice);
    }

    #[test]
    fn too_little_disk_asks_for_fewer_checkpoints() {
        let facts = Facts { disk_available: Some(300_000_000), ..facts() };
        let every_step = TrainingArguments { save_steps: Amount(1.0), ..arguments() };
        let plan = predicted(&every_step, &facts);
        assert!(plan.advice[0].contains("save_total_limit: 2"), "{:?}", plan.advice);
        let limited = TrainingArguments { save_total_limit: Some(2), ..every_step };
        assert!(predicted(&limited, &facts).disk_bytes < plan.disk_bytes);
    }

    #[test]
    fn the_workload_is_that_of_the_run() {
        let sizes: Vec<RowSize> = (1..=21).map(|tokens| RowSize { tokens, trained: 1 }).collect();
        let arguments = TrainingArguments {
            per_device_train_batch_size: 2,
            gradient_accumulation_steps: 3,
            num_train_epochs: 2.0,
            ..Default::default()
        };
        let steps = arguments.steps_for(sizes.len());
        assert_eq!(workload(&arguments, &steps, &sizes).tokens, 2 * 231);
        let short = TrainingArguments { max_steps: 5, ..arguments };
        let lengths: Vec<usize> = sizes.iter().map(|s| s.tokens).collect();
        let second: usize = order::batches(&short, &lengths, 1)[..3].iter().flatten().map(|&row| lengths[row]).sum();
        assert_eq!(workload(&short, &short.steps_for(21), &sizes).tokens, 231 + second as u64);
        let long = TrainingArguments { max_steps: 4_000_000_000, ..short };
        assert_eq!(workload(&long, &long.steps_for(21), &sizes).tokens, 231 * 1_000_000_000);
    }
}
