//! The training loop, from top to bottom.
//!
//! [`run`] prepares, `train` is the loop: which rows, their gradients, the update, then what is told, evaluated and saved.
//! Everything that a step needs is a function of settings, data and `Progress`; so a run that is killed and resumed
//! computes the same bytes as one that is not.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use dataset::Rendered;
use engine::{AdamW, AdamWConfig, Arena, ParamStore};
use model::Decoder;
use sha2::{Digest, Sha256};

use crate::arguments::{SaveStrategy, Steps, Strategy, TrainingArguments};
use crate::error::{Result, TrainError};
use crate::load;
use crate::objective::{NextToken, Objective};
use crate::observe::{Clock, EvaluationRecord, Evaluator, EvaluatorError, Event, LogRecord, Observer, Start, StepRecord};
use crate::order;
use crate::prefix::{self, PrefixPlace};
use crate::progress::{LossSum, Progress};
use crate::save;
use crate::save::checkpoint::{self, Export, FORMAT, Saved};
use crate::save::disk::{Disk, RealDisk};
use crate::save::{EventsFile, MetricsFile, OutputDir};
use crate::schedule::Schedule;

/// Adds files to a checkpoint directory, e.g. the adapter in PEFT's format.
pub type Exporter<'a> = &'a dyn Fn(&Decoder, &ParamStore, &Path) -> std::result::Result<(), EvaluatorError>;

/// What to train, on what, and where to.
pub struct Job<'a> {
    /// The model; its trainable tensors live in `params`.
    pub decoder: &'a Decoder,
    /// The trainable tensors; they hold the result afterwards.
    pub params: &'a mut ParamStore,
    /// Buffers for activations.
    pub arena: &'a Arena,
    /// All numbers of the model, the trainable ones included (to be shown).
    pub total_parameters: u64,
    /// The training rows.
    pub rows: &'a [Rendered],
    /// The settings.
    pub arguments: &'a TrainingArguments,
    /// The output directory, claimed.
    pub output: &'a OutputDir,
    /// The recipe as (key, value), in the order in which changed keys should be named. The training arguments and a hash of
    /// the rows are added to it.
    pub recipe: &'a [(String, String)],
    /// Adds files to each checkpoint.
    pub export: Option<Exporter<'a>>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All steps are done.
    Completed,
    /// Early stopping ended it.
    StoppedEarly,
    /// The observer asked to stop; the state is in [`TrainReport::checkpoint`].
    Interrupted,
}

/// The numbers of a run, over all its resumptions.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainReport {
    /// How it ended.
    pub outcome: Outcome,
    /// Optimizer steps done.
    pub steps: u64,
    /// Optimizer steps of a complete run.
    pub total_steps: u64,
    /// Epochs passed.
    pub epochs: f64,
    /// Mean loss over all trained tokens of the run; NaN if no step was made.
    pub train_loss: f64,
    /// Seconds of the loop alone, without evaluation and saving.
    pub train_seconds: f64,
    /// Tokens of the rows that were trained on, every row counted whole (there is no padding). This is what speeds refer to, also
    /// where less had to be computed.
    pub tokens: u64,
    /// Tokens of these that were computed once for several rows of a batch that begin alike: not computed again.
    pub shared_tokens: u64,
    /// Tokens trained.
    pub trained_tokens: u64,
    /// `tokens / train_seconds`.
    pub tokens_per_second: f64,
    /// The best evaluation: (step, value of the deciding metric).
    pub best: Option<(u64, f64)>,
    /// The step whose weights are in `params` now.
    pub weights_of_step: u64,
    /// The newest checkpoint.
    pub checkpoint: Option<PathBuf>,
}

/// Trains.
///
/// With `output.resume()`, continues from the newest whole checkpoint, or starts fresh and says so if there is none.
///
/// # Errors
/// See [`TrainError`]; whatever happens, checkpoints that were reported as saved stay whole.
pub fn run(job: Job<'_>, observer: &mut dyn Observer, clock: &dyn Clock, evaluator: Option<&mut dyn Evaluator>) -> Result<TrainReport> {
    let Job { decoder, params, arena, total_parameters, rows, arguments, output, recipe, export } = job;
    let mut objective = NextToken::new(decoder, arena, rows, arguments);
    let left_out = rows.len() - objective.rows().len();
    if left_out == rows.len() {
        return Err(TrainError::NothingTrained { rows: rows.len() });
    }
    if left_out > 0 {
        observer.on(Event::Message(&format!("{left_out} of {} rows have no trained token and are left out", rows.len())));
    }
    let steps = arguments.steps_for(objective.rows().len());
    let (kept, note) = prefix::decide(decoder, arguments, &steps, objective.rows())?;
    note.iter().for_each(|note| observer.on(Event::Message(note)));
    if let Some(plan) = kept {
        let model = recipe.iter().rev().find(|(key, _)| key == "model").map_or("", |(_, model)| model);
        objective =
            objective.keep_prefix(plan, output.path(), model, params).map_err(|why| TrainError::Model { step: 0, why: why.to_string() })?;
        let place = match plan.place {
            PrefixPlace::Memory => "in memory",
            PrefixPlace::Disk => "on disk",
        };
        let mib = plan.bytes.div_ceil(1 << 20);
        observer.on(Event::Message(&format!("results of the {} frozen layers are kept {place}: {mib} MiB", plan.layers)));
    }
    let mut whole_recipe = recipe.to_vec();
    let added = arguments.fingerprint().into_iter().chain([("training rows (sha256)".to_owned(), hash_rows(objective.rows()))]);
    whole_recipe.extend(added.filter(|(key, _)| !recipe.iter().any(|(known, _)| known == key)));

    let mut evaluate = evaluator.map(|evaluator| move |params: &ParamStore| evaluator.evaluate(decoder, params, arena));
    let setup = Setup {
        arguments,
        output: output.path(),
        resume: output.resume(),
        recipe: &whole_recipe,
        total_parameters,
        disk: &RealDisk,
        export: export.map(|export| {
            move |params: &ParamStore, dir: &Path| {
                export(decoder, params, dir).map_err(|why| TrainError::Export { path: dir.to_path_buf(), why: why.to_string() })
            }
        }),
    };
    let report = train(&mut objective, params, &setup, observer, clock, evaluate.as_mut().map(|e| e as _))?;
    if report.outcome != Outcome::Interrupted {
        save::prefix::remove(output.path());
    }
    if report.shared_tokens > 0 {
        let (shared, all) = (report.shared_tokens, report.tokens);
        observer.on(Event::Message(&format!("{shared} of {all} tokens were not computed again: rows of a batch began with the same ones")));
    }
    Ok(report)
}

/// Where a run in this directory would go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumePoint {
    /// The newest whole checkpoint.
    pub checkpoint: PathBuf,
    /// Optimizer steps done.
    pub step: u64,
}

/// Looks at what [`run`] would resume from, before a model is loaded: `None` if there is no checkpoint, or the directory was
/// not claimed for resuming. Of the checkpoint's recipe only the keys given here are compared.
///
/// # Errors
/// [`TrainError::RecipeChanged`] naming the keys; [`TrainError::Checkpoint`] if there are checkpoints but none is whole.
pub fn resume_point(output: &OutputDir, recipe: &[(String, String)]) -> Result<Option<ResumePoint>> {
    if !output.resume() {
        return Ok(None);
    }
    let Some((found, saved)) = load::checkpoint::newest(output.path())?.checkpoint else { return Ok(None) };
    let known: Vec<_> = saved.recipe.into_iter().filter(|(key, _)| recipe.iter().any(|(given, _)| given == key)).collect();
    load::checkpoint::check_recipe(&found.path, &known, recipe)?;
    Ok(Some(ResumePoint { checkpoint: found.path, step: found.step }))
}

/// What [`train`] needs beside the objective.
pub(crate) struct Setup<'a, E> {
    pub arguments: &'a TrainingArguments,
    pub output: &'a Path,
    pub resume: bool,
    pub recipe: &'a [(String, String)],
    pub total_parameters: u64,
    pub disk: &'a dyn Disk,
    pub export: Option<E>,
}

/// Evaluates the weights as they are now.
pub(crate) type Evaluate<'a> = &'a mut dyn FnMut(&ParamStore) -> std::result::Result<BTreeMap<String, f64>, EvaluatorError>;

/// The loop.
pub(crate) fn train<E: Fn(&ParamStore, &Path) -> Result<()>>(
    objective: &mut dyn Objective,
    params: &mut ParamStore,
    setup: &Setup<'_, E>,
    observer: &mut dyn Observer,
    clock: &dyn Clock,
    mut evaluate: Option<Evaluate<'_>>,
) -> Result<TrainReport> {
    let arguments = setup.arguments;
    arguments.validate()?;
    if params.is_empty() {
        return Err(TrainError::NoTrainableTensor);
    }
    if arguments.eval_strategy != Strategy::No && evaluate.is_none() {
        return Err(TrainError::NoEvaluator);
    }

    let sizes = objective.sizes().to_vec();
    let lengths: Vec<usize> = sizes.iter().map(|size| size.tokens).collect();
    let steps = arguments.steps_for(sizes.len());
    let schedule = Schedule::new(arguments, &steps);
    let config = AdamWConfig {
        beta1: arguments.adam_beta1,
        beta2: arguments.adam_beta2,
        eps: arguments.adam_epsilon,
        weight_decay: arguments.weight_decay,
    };
    let mut optimizer = AdamW::new(config, params);

    // ── Where to begin: at the newest whole checkpoint, or fresh.
    let (mut progress, resumed) = begin(setup, params, &mut optimizer, observer)?;
    let kept_bytes = resumed.as_ref().map_or(0, |(_, saved)| saved.metrics_bytes);
    let kept_events = resumed.as_ref().and_then(|(_, saved)| saved.events.clone());
    let (metrics, metrics_cut) = MetricsFile::begin(setup.disk, setup.output, kept_bytes)?;
    let events = match arguments.report_to.tensorboard() {
        true => Some(EventsFile::begin(setup.disk, setup.output, kept_events.as_ref(), clock.unix_time())?),
        false => None,
    };
    if let Some((path, _)) = &resumed {
        let (step, batches) = (progress.step, progress.batches);
        observer.on(Event::Resumed { checkpoint: path, step, batches, metrics_cut });
    }
    let last_saved = resumed.map(|(path, saved)| (saved.progress.step, saved.progress.batches, path));
    let mut files = Files { setup, metrics, events, last_saved };
    observer.on(Event::Start(&Start {
        rows: sizes.len(),
        tokens: sizes.iter().map(|size| size.tokens as u64).sum(),
        trained_tokens: sizes.iter().map(|size| size.trained as u64).sum(),
        total_steps: steps.total,
        done_steps: progress.step,
        trainable_parameters: params.numel() as u64,
        total_parameters: setup.total_parameters,
    }));

    // The optimizer's step leaves gradients at zero.
    if progress.batches == 0 {
        params.zero_grads();
    }
    let mut order: Option<(u64, Vec<Vec<usize>>)> = None;
    let mut speed = Speed::default();
    let mut timer = Timer::start(clock);
    let mut gradients_checked = false;

    while progress.step < steps.total && progress.stopped_early_at.is_none() {
        // ── Which rows: the next group of batches of this epoch.
        let place = order::place(arguments, &steps, progress.step);
        if order.as_ref().is_none_or(|(epoch, _)| *epoch != place.epoch) {
            order = Some((place.epoch, order::batches(arguments, &lengths, place.epoch)));
        }
        let Some((_, batches)) = &order else { unreachable!("set above") };
        let group = &batches[place.first..place.end];
        let group_rows = || group.iter().flatten().map(|&row| sizes[row]);
        let group_tokens: u64 = group_rows().map(|size| size.tokens as u64).sum();
        let group_trained: u64 = group_rows().map(|size| size.trained as u64).sum();
        let number = progress.step + 1;

        // ── Gradients: each batch adds its share of the mean over *all* trained tokens of the group, tail included.
        for batch in &group[progress.batches as usize..] {
            if observer.should_stop() {
                progress.train_seconds += timer.lap();
                files.save(&progress, params, &optimizer, observer)?;
                return Ok(report(Outcome::Interrupted, arguments, &steps, &progress, progress.step, &files));
            }
            let done = objective
                .accumulate(params, batch, progress.step, group_trained)
                .map_err(|why| TrainError::Model { step: number, why: why.to_string() })?;
            objective.take_notes().iter().for_each(|note| observer.on(Event::Message(note)));
            let loss = done.loss;
            if !loss.is_finite() {
                let rows = batch.iter().map(|&row| objective.number(row).to_string()).collect::<Vec<_>>().join(", ");
                return Err(TrainError::NonFiniteLoss { step: number, loss, rows });
            }
            let sizes = batch.iter().map(|&row| sizes[row]);
            progress.group.add(LossSum { loss, tokens: sizes.clone().map(|size| size.trained as u64).sum() });
            progress.shared_tokens += done.shared_tokens;
            progress.tokens += sizes.map(|size| size.tokens as u64).sum::<u64>();
            progress.batches += 1;
        }

        // ── Update: clip as torch.nn.utils.clip_grad_norm_ does, then AdamW.
        if !gradients_checked {
            all_received(params)?;
            gradients_checked = true;
        }
        let grad_norm = params.grad_norm();
        if !grad_norm.is_finite() {
            let tensor = params.first_non_finite_grad().unwrap_or("all tensors together").to_owned();
            return Err(TrainError::NonFiniteGradient { step: number, tensor, norm: grad_norm });
        }
        let factor = arguments.max_grad_norm / (grad_norm + 1e-6);
        let grad_scale = if arguments.max_grad_norm > 0.0 && factor < 1.0 { factor as f32 } else { 1.0 };
        let learning_rate = schedule.rate_after(progress.step);
        optimizer.step(params, learning_rate, grad_scale);
        let loss = progress.finish_step();
        let seconds = timer.lap();
        progress.train_seconds += seconds;

        // ── Tell.
        let step = progress.step;
        let (last, epoch_ends) = (step == steps.total, step.is_multiple_of(steps.per_epoch));
        let epoch = order::epochs(arguments, &steps, step, 0);
        let tokens_per_second = speed.after_step(group_tokens, seconds);
        observer.on(Event::Step(&StepRecord {
            step,
            total_steps: steps.total,
            epoch,
            loss: loss.mean(),
            learning_rate,
            grad_norm,
            tokens: group_tokens,
            trained_tokens: group_trained,
            tokens_per_second,
            seconds_left: speed.seconds_a_step() * (steps.total - step) as f64,
        }));
        let due = is_due(arguments.logging_strategy, steps.logging, step, epoch_ends) || (step == 1 && arguments.logging_first_step);
        if arguments.logging_strategy != Strategy::No && (due || last) {
            let window = std::mem::take(&mut progress.window);
            let (tokens, trained_tokens) = (progress.tokens, progress.whole.tokens);
            let record = LogRecord { step, epoch, loss: window.mean(), learning_rate, grad_norm, tokens, trained_tokens };
            files.log(&record, tokens_per_second, clock)?;
            observer.on(Event::Logged(&record));
        }

        // ── Evaluate; may end the run.
        let mut new_best = false;
        if let Some(evaluate) = &mut evaluate
            && arguments.eval_strategy != Strategy::No
            && (last || is_due(arguments.eval_strategy, steps.eval, step, epoch_ends))
        {
            observer.on(Event::EvaluationStarts { step });
            let mut evaluation_timer = Timer::start(clock);
            let metrics = evaluate(params).map_err(|why| TrainError::Evaluation { step, why: why.to_string() })?;
            let verdict = progress.judge(arguments, &metrics)?;
            new_best = verdict.best;
            let record = EvaluationRecord { step, epoch, metrics, best: verdict.best, seconds: evaluation_timer.lap() };
            files.evaluation(&record, clock)?;
            observer.on(Event::Evaluated(&record));
            if verdict.stop && !last {
                progress.stopped_early_at = Some(step);
                let metric = arguments.best_metric();
                observer.on(Event::Message(&format!("stopping early: {} evaluations without a better {metric}", progress.stale)));
            }
        }

        // ── Save.
        let ends = last || progress.stopped_early_at.is_some();
        let due = match arguments.save_strategy {
            SaveStrategy::No => false,
            SaveStrategy::Best => new_best,
            SaveStrategy::Steps => ends || step.is_multiple_of(steps.save),
            SaveStrategy::Epoch => ends || epoch_ends,
        };
        if due || (new_best && arguments.load_best_model_at_end) {
            files.save(&progress, params, &optimizer, observer)?;
        }
        timer = Timer::start(clock);
    }

    // ── The end: the last weights, or the best ones.
    let mut weights_of_step = progress.step;
    if let Some(tensor) = params.first_non_finite_value() {
        return Err(TrainError::NonFiniteWeight { step: progress.step, tensor: tensor.to_owned() });
    }
    if let Some(best) = progress.best.as_ref().filter(|best| arguments.load_best_model_at_end && best.step != progress.step) {
        let path = setup.output.join(checkpoint::name(best.step, 0));
        load::checkpoint::open(&path)?;
        load::checkpoint::restore_values(&path, params)?;
        weights_of_step = best.step;
        let metric = arguments.best_metric();
        observer.on(Event::Message(&format!("the weights of step {} are the best ({metric} {:.6}) and are kept", best.step, best.value)));
    }
    files.metrics.end(progress.step, order::epochs(arguments, &steps, progress.step, 0), progress.whole.mean())?;
    files.settle()?;
    let outcome = if progress.stopped_early_at.is_some() { Outcome::StoppedEarly } else { Outcome::Completed };
    Ok(report(outcome, arguments, &steps, &progress, weights_of_step, &files))
}

/// Sweeps up after an interrupted run and restores the newest whole checkpoint, if there is one and it is wanted.
fn begin<E>(
    setup: &Setup<'_, E>,
    params: &mut ParamStore,
    optimizer: &mut AdamW,
    observer: &mut dyn Observer,
) -> Result<(Progress, Option<(PathBuf, Saved)>)> {
    checkpoint::sweep(setup.disk, setup.output)?;
    if !setup.resume {
        return Ok((Progress::default(), None));
    }
    let newest = load::checkpoint::newest(setup.output)?;
    for note in &newest.notes {
        observer.on(Event::Message(note));
    }
    let Some((found, saved)) = newest.checkpoint else {
        observer.on(Event::Message("there is no checkpoint to resume from: starting from the beginning"));
        return Ok((Progress::default(), None));
    };
    load::checkpoint::check_recipe(&found.path, &saved.recipe, setup.recipe)?;
    load::checkpoint::restore(&found.path, &saved, params, optimizer)?;
    // Newer ones are damaged. Out of the way they cannot be taken for the newest when old ones are removed.
    for newer in load::checkpoint::list(setup.output)?.iter().filter(|other| **other > found) {
        checkpoint::set_aside(setup.disk, &newer.path)?;
    }
    Ok((saved.progress.clone(), Some((found.path, saved))))
}

/// The files of a run while it goes on.
struct Files<'s, 'a, E> {
    setup: &'s Setup<'a, E>,
    metrics: MetricsFile,
    events: Option<EventsFile>,
    last_saved: Option<(u64, u64, PathBuf)>,
}

impl<E: Fn(&ParamStore, &Path) -> Result<()>> Files<'_, '_, E> {
    fn log(&mut self, record: &LogRecord, tokens_per_second: f64, clock: &dyn Clock) -> Result<()> {
        self.metrics.log(record)?;
        let scalars = [
            ("train/loss", record.loss),
            ("train/learning_rate", record.learning_rate),
            ("train/grad_norm", record.grad_norm),
            ("train/epoch", record.epoch),
            ("train/tokens_per_second", tokens_per_second),
        ];
        self.events(clock, record.step, scalars.map(|(tag, value)| (tag.to_owned(), value)).to_vec())
    }

    fn evaluation(&mut self, record: &EvaluationRecord, clock: &dyn Clock) -> Result<()> {
        self.metrics.evaluation(record)?;
        let scalars = record.metrics.iter().map(|(name, value)| (format!("eval/{name}"), *value)).collect();
        self.events(clock, record.step, scalars)
    }

    fn events(&mut self, clock: &dyn Clock, step: u64, scalars: Vec<(String, f64)>) -> Result<()> {
        self.events.as_mut().map_or(Ok(()), |events| events.scalars(clock.unix_time(), step, &scalars))
    }

    /// Brings both metric files to the disk; their lengths.
    fn settle(&mut self) -> Result<(u64, Option<(String, u64)>)> {
        let metrics = self.metrics.settle()?;
        Ok((metrics, self.events.as_mut().map(EventsFile::settle).transpose()?))
    }

    /// Saves a checkpoint (unless this very state is saved already), then removes those that are too many.
    fn save(&mut self, progress: &Progress, params: &ParamStore, optimizer: &AdamW, observer: &mut dyn Observer) -> Result<()> {
        let position = (progress.step, progress.batches);
        if position == (0, 0) || self.last_saved.as_ref().is_some_and(|(step, batches, _)| (*step, *batches) == position) {
            return Ok(());
        }
        if let Some(tensor) = params.first_non_finite_value() {
            return Err(TrainError::NonFiniteWeight { step: progress.step, tensor: tensor.to_owned() });
        }
        let (metrics_bytes, events) = self.settle()?;
        let received = if progress.batches > 0 { params.iter().map(|(_, param)| param.received).collect() } else { Vec::new() };
        let saved = Saved {
            format: FORMAT,
            progress: progress.clone(),
            optimizer_steps: optimizer.steps(),
            received,
            metrics_bytes,
            events,
            recipe: self.setup.recipe.to_vec(),
        };
        let setup = self.setup;
        let export = setup.export.as_ref().map(|export| move |dir: &Path| export(params, dir));
        let export = export.as_ref().map(|export| export as Export<'_>);
        let (path, bytes) = checkpoint::write(setup.disk, setup.output, &saved, params, optimizer, export)?;
        observer.on(Event::Saved { checkpoint: &path, step: progress.step, bytes });
        self.last_saved = Some((position.0, position.1, path));
        self.rotate(progress, observer)
    }

    /// Removes the oldest checkpoints beyond `save_total_limit`; never the newest, never the best.
    fn rotate(&self, progress: &Progress, observer: &mut dyn Observer) -> Result<()> {
        let arguments = self.setup.arguments;
        let Some(limit) = arguments.save_total_limit else { return Ok(()) };
        let keeps_best = arguments.load_best_model_at_end || arguments.save_strategy == SaveStrategy::Best;
        let best = progress.best.as_ref().filter(|_| keeps_best).map(|best| best.step);
        let all = load::checkpoint::list(self.setup.output)?;
        let Some((_, older)) = all.split_last() else { return Ok(()) };
        let is_best = |found: &&load::checkpoint::Found| Some(found.step) == best && found.batches == 0;
        // The newest takes one place and so does the best, if it is another one.
        let taken = 1 + usize::from(older.iter().any(|found| is_best(&found)));
        let removable: Vec<_> = older.iter().filter(|found| !is_best(found)).collect();
        let excess = removable.len().saturating_sub(limit.saturating_sub(taken));
        for found in &removable[..excess] {
            checkpoint::remove(self.setup.disk, &found.path)?;
            observer.on(Event::Removed { checkpoint: &found.path });
        }
        Ok(())
    }
}

/// Whether something that happens every `interval` steps or at the end of epochs happens now.
fn is_due(strategy: Strategy, interval: u64, step: u64, epoch_ends: bool) -> bool {
    match strategy {
        Strategy::No => false,
        Strategy::Steps => step.is_multiple_of(interval),
        Strategy::Epoch => epoch_ends,
    }
}

/// Refuses trainable tensors that backward has not reached.
fn all_received(params: &ParamStore) -> Result<()> {
    const SHOWN: usize = 8;
    let missing = params.params_without_gradient();
    if missing.is_empty() {
        return Ok(());
    }
    let more = if missing.len() > SHOWN { ", …" } else { "" };
    Err(TrainError::NoGradient { count: missing.len(), names: format!("{}{more}", missing[..missing.len().min(SHOWN)].join(", ")) })
}

/// A hash of ids and labels: other rows, or the same ones in another order, would train otherwise.
fn hash_rows(rows: &[&Rendered]) -> String {
    let mut hash = Sha256::new();
    for row in rows {
        hash.update((row.input_ids.len() as u64).to_le_bytes());
        for (id, label) in row.input_ids.iter().zip(&row.labels) {
            hash.update(id.to_le_bytes());
            hash.update(label.to_le_bytes());
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn report<E>(
    outcome: Outcome,
    arguments: &TrainingArguments,
    steps: &Steps,
    progress: &Progress,
    weights_of_step: u64,
    files: &Files<'_, '_, E>,
) -> TrainReport {
    // A group that was begun counts too: its tokens were computed.
    let mut whole = progress.whole;
    whole.add(progress.group);
    TrainReport {
        outcome,
        steps: progress.step,
        total_steps: steps.total,
        epochs: order::epochs(arguments, steps, progress.step, progress.batches),
        train_loss: whole.mean(),
        train_seconds: progress.train_seconds,
        tokens: progress.tokens,
        shared_tokens: progress.shared_tokens,
        trained_tokens: whole.tokens,
        tokens_per_second: if progress.train_seconds > 0.0 { progress.tokens as f64 / progress.train_seconds } else { 0.0 },
        best: progress.best.as_ref().map(|best| (best.step, best.value)),
        weights_of_step,
        checkpoint: files.last_saved.as_ref().map(|(_, _, path)| path.clone()),
    }
}

/// Measures stretches of time.
struct Timer<'c> {
    clock: &'c dyn Clock,
    since: f64,
}

impl<'c> Timer<'c> {
    fn start(clock: &'c dyn Clock) -> Self {
        Self { clock, since: clock.seconds() }
    }

    /// Seconds since the start or the last lap.
    fn lap(&mut self) -> f64 {
        let now = self.clock.seconds();
        now - std::mem::replace(&mut self.since, now)
    }
}

/// Speed over the last few steps: rows differ in length, so one step says little, and the whole run says nothing new.
#[derive(Default)]
struct Speed {
    recent: VecDeque<(u64, f64)>,
}

impl Speed {
    const STEPS: usize = 20;

    /// Takes a step into account; tokens per second.
    fn after_step(&mut self, tokens: u64, seconds: f64) -> f64 {
        if self.recent.len() == Self::STEPS {
            self.recent.pop_front();
        }
        self.recent.push_back((tokens, seconds));
        let tokens: u64 = self.recent.iter().map(|(tokens, _)| tokens).sum();
        let seconds: f64 = self.recent.iter().map(|(_, seconds)| seconds).sum();
        if seconds > 0.0 { tokens as f64 / seconds } else { 0.0 }
    }

    fn seconds_a_step(&self) -> f64 {
        self.recent.iter().map(|(_, seconds)| seconds).sum::<f64>() / self.recent.len().max(1) as f64
    }
}
