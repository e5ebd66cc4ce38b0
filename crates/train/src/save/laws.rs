//! The laws of the loop, on a model small enough to break every file operation of a run: killed and resumed equals
//! uninterrupted; saved is saved; batch x accumulation is one number.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use engine::ParamStore;
use kernels::rng::Rng;

use crate::arguments::{Amount, ReportTarget, ReportTo, SaveStrategy, Strategy, TrainingArguments};
use crate::error::{Result, TrainError};
use crate::load;
use crate::objective::{Done, Objective, RowSize};
use crate::observe::{Clock, Event, Observer};
use crate::run::{Outcome, Setup, TrainReport, train};
use crate::save::faults::{Fault, FaultyDisk};
use crate::save::{METRICS_FILE, TENSORBOARD_DIR};

/// Least squares on rows of unequal length, with noise on the input keyed by (step, row) as dropout is.
struct Toy {
    sizes: Vec<RowSize>,
    inputs: Vec<[f32; 3]>,
    poisoned: Option<usize>,
}

impl Toy {
    fn new() -> Self {
        let mut rng = Rng::keyed(5, &[]);
        let rows = 13;
        let inputs = (0..rows).map(|_| [rng.normal(), rng.normal(), rng.normal()]).collect();
        let sizes = (0..rows).map(|row| RowSize { tokens: 3 + row % 4, trained: 1 + row % 3 }).collect();
        Self { sizes, inputs, poisoned: None }
    }
}

impl Objective for Toy {
    fn sizes(&self) -> &[RowSize] {
        &self.sizes
    }

    fn accumulate(
        &mut self,
        params: &mut ParamStore,
        rows: &[usize],
        step: u64,
        normaliser: u64,
    ) -> std::result::Result<Done, model::ModelError> {
        let mut loss = 0.0;
        for &row in rows {
            let noise = Rng::keyed(9, &[step, row as u64]).normal() * 0.01;
            let weight = self.sizes[row].trained as f64;
            let x = self.inputs[row];
            let target = 2.0 * x[0] - x[1] + 0.5 * x[2];
            let w = params.iter().next().map(|(_, p)| p.value.clone()).unwrap_or_default();
            let error = f64::from(x[0] * w[0] + x[1] * w[1] + x[2] * w[2] + noise - target);
            loss += weight * error * error;
            for (_, param) in params.iter_mut().take(2) {
                param.received = true;
                for (g, x) in param.grad.iter_mut().zip(x) {
                    *g += (2.0 * weight * error * f64::from(x) / normaliser as f64) as f32;
                }
            }
            if self.poisoned == Some(row) {
                loss = f64::NAN;
            }
        }
        Ok(Done { loss, shared_tokens: 1 })
    }
}

fn params() -> ParamStore {
    let mut params = ParamStore::new();
    params.add("w", &[3], vec![0.1, -0.2, 0.3], true).unwrap();
    params.add("中文/bias", &[1, 3], vec![0.0; 3], false).unwrap();
    params
}

/// Time that advances at each look.
struct Ticks(Cell<f64>);

impl Clock for Ticks {
    fn seconds(&self) -> f64 {
        self.0.set(self.0.get() + 0.125);
        self.0.get()
    }
    fn unix_time(&self) -> f64 {
        1.7e9
    }
}

/// Remembers what was said, and asks to stop before a batch.
#[derive(Default)]
struct Ear {
    stop_after: Option<u64>,
    asked: u64,
    saved: Vec<PathBuf>,
    messages: Vec<String>,
    losses: Vec<f64>,
    resumed: Option<(u64, u64, u64)>,
}

impl Observer for Ear {
    fn on(&mut self, event: Event<'_>) {
        match event {
            Event::Saved { checkpoint, .. } => self.saved.push(checkpoint.to_path_buf()),
            // Removal was announced before the file operations of the next save: it is no loss.
            Event::Removed { checkpoint } => self.saved.retain(|path| path != checkpoint),
            Event::Message(text) => self.messages.push(text.to_owned()),
            Event::Step(step) => self.losses.push(step.loss),
            Event::Resumed { step, batches, metrics_cut, .. } => self.resumed = Some((step, batches, metrics_cut)),
            _ => {}
        }
    }
    fn should_stop(&mut self) -> bool {
        self.asked += 1;
        self.stop_after.is_some_and(|after| self.asked > after)
    }
}

fn arguments() -> TrainingArguments {
    TrainingArguments {
        per_device_train_batch_size: 2,
        gradient_accumulation_steps: 3,
        num_train_epochs: 2.0,
        learning_rate: 0.1,
        weight_decay: 0.01,
        max_grad_norm: 1.0,
        // Checkpoints fall within a logging interval.
        logging_steps: Amount(3.0),
        eval_strategy: Strategy::Steps,
        eval_steps: Some(Amount(2.0)),
        save_steps: Amount(2.0),
        save_total_limit: Some(2),
        load_best_model_at_end: true,
        ..Default::default()
    }
}

struct Lab {
    dir: tempfile::TempDir,
    arguments: TrainingArguments,
    recipe: Vec<(String, String)>,
}

type NoExport = fn(&ParamStore, &Path) -> Result<()>;

impl Lab {
    fn new(arguments: TrainingArguments) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), recipe: arguments.fingerprint(), arguments }
    }

    fn train(&self, disk: &FaultyDisk, resume: bool, ear: &mut Ear) -> Result<(TrainReport, ParamStore)> {
        self.train_on(Toy::new(), disk, resume, ear)
    }

    fn train_on(&self, mut toy: Toy, disk: &FaultyDisk, resume: bool, ear: &mut Ear) -> Result<(TrainReport, ParamStore)> {
        let mut params = params();
        let export: NoExport = |_, dir| fs::write(dir.join("adapter.txt"), "adapter").map_err(|_| unreachable!());
        let setup = Setup {
            arguments: &self.arguments,
            output: self.dir.path(),
            resume,
            recipe: &self.recipe,
            total_parameters: 6,
            disk,
            // The exporter's own file operations are not behind the seam; a dead process has none.
            export: Some(export),
        };
        // The second evaluation is the best one, so that the best checkpoint is not the newest.
        let mut evaluate = |params: &ParamStore| {
            let first = params.iter().next().map_or(0.0, |(_, p)| f64::from(p.value[0]));
            Ok(BTreeMap::from([("loss".to_owned(), (first - 0.35).abs())]))
        };
        let report = train(&mut toy, &mut params, &setup, ear, &Ticks(Cell::new(0.0)), Some(&mut evaluate))?;
        Ok((report, params))
    }

    /// Names and lengths of TensorBoard's files; times make their content differ, but not how much there is.
    fn events(&self) -> Vec<(String, u64)> {
        let files = fs::read_dir(self.dir.path().join(TENSORBOARD_DIR)).unwrap().map(|entry| entry.unwrap());
        files.map(|file| (file.file_name().into_string().unwrap(), file.metadata().unwrap().len())).collect()
    }

    fn metrics(&self) -> String {
        fs::read_to_string(self.dir.path().join(METRICS_FILE)).unwrap()
    }
}

fn bits(params: &ParamStore) -> Vec<Vec<u32>> {
    params.iter().map(|(_, p)| p.value.iter().map(|v| v.to_bits()).collect()).collect()
}

#[test]
fn uninterrupted_run_does_what_the_settings_say() {
    let lab = Lab::new(TrainingArguments { logging_steps: Amount(1.0), ..arguments() });
    let mut ear = Ear::default();
    let (report, _) = lab.train(&FaultyDisk::sound(), false, &mut ear).unwrap();
    // 13 rows, 2 a batch: 7 batches, groups of 3, 3, 1: 3 steps an epoch.
    assert_eq!((report.outcome, report.steps, report.total_steps, report.epochs), (Outcome::Completed, 6, 6, 2.0));
    assert_eq!(report.tokens, 2 * Toy::new().sizes.iter().map(|s| s.tokens as u64).sum::<u64>());
    assert!(ear.losses.last() < ear.losses.first(), "{:?}", ear.losses);
    let history = load::metrics::history(lab.dir.path()).unwrap();
    assert_eq!(history.training.iter().map(|r| r.loss).collect::<Vec<_>>(), ear.losses);
    assert_eq!(history.evaluations.iter().map(|e| e.0).collect::<Vec<_>>(), [2, 4, 6]);
    let best = report.best.unwrap();
    let smallest = history.evaluations.iter().min_by(|a, b| a.2["loss"].total_cmp(&b.2["loss"])).unwrap();
    assert_eq!(best, (smallest.0, smallest.2["loss"]));
    assert_eq!(report.weights_of_step, best.0);
    assert!(best.0 < 6, "the test wants the best before the end");
    let names: Vec<_> = load::checkpoint::list(lab.dir.path()).unwrap().into_iter().map(|f| f.step).collect();
    assert_eq!(names, [best.0, 6], "the best and the newest stay");
}

/// Resumes until the end and compares with the run that nothing happened to.
fn assert_resumes(lab: &Lab, expected: &(TrainReport, ParamStore), whole: &Lab, what: &str) {
    let (report, params) = lab.train(&FaultyDisk::sound(), true, &mut Ear::default()).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(bits(&params), bits(&expected.1), "{what}");
    assert_eq!(lab.metrics(), whole.metrics(), "{what}");
    assert_eq!(lab.events(), whole.events(), "{what}");
    assert_eq!(
        (report.train_loss.to_bits(), report.tokens, report.best),
        (expected.0.train_loss.to_bits(), expected.0.tokens, expected.0.best),
        "{what}"
    );
    let kept: Vec<_> = fs::read_dir(lab.dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!kept.iter().any(|name| name.ends_with(".partial") || name.ends_with(".old")), "{what}: {kept:?}");
}

#[test]
fn stopped_before_any_batch_and_resumed_equals_uninterrupted() {
    let whole = Lab::new(arguments());
    let expected = whole.train(&FaultyDisk::sound(), false, &mut Ear::default()).unwrap();
    for batch in 0..14 {
        let lab = Lab::new(arguments());
        let mut ear = Ear { stop_after: Some(batch), ..Default::default() };
        let (report, _) = lab.train(&FaultyDisk::sound(), false, &mut ear).unwrap();
        assert_eq!(report.outcome, Outcome::Interrupted);
        assert_eq!(report.checkpoint.is_some(), batch > 0);
        assert_resumes(&lab, &expected, &whole, &format!("stopped after {batch} batches"));
    }
    // Twice within one group.
    let lab = Lab::new(arguments());
    for _ in 0..2 {
        let mut ear = Ear { stop_after: Some(1), ..Default::default() };
        lab.train(&FaultyDisk::sound(), true, &mut ear).unwrap();
    }
    assert_eq!(load::checkpoint::newest(lab.dir.path()).unwrap().checkpoint.unwrap().1.progress.batches, 2);
    assert_resumes(&lab, &expected, &whole, "stopped twice");
}

#[test]
fn broken_at_every_file_operation_and_resumed_equals_uninterrupted() {
    let whole = Lab::new(arguments());
    let disk = FaultyDisk::sound();
    let expected = whole.train(&disk, false, &mut Ear::default()).unwrap();
    assert!(disk.used() > 60, "{} operations", disk.used());
    for fault in [Fault::Kill, Fault::PowerLoss, Fault::Full] {
        for operation in 0..disk.used() {
            let what = format!("{fault:?} at operation {operation}");
            let lab = Lab::new(arguments());
            let mut ear = Ear::default();
            match lab.train(&FaultyDisk::failing_after(operation, fault), false, &mut ear) {
                Ok(_) => assert_eq!(fault, Fault::Full, "{what} was not noticed"),
                Err(error) => {
                    assert!(matches!(error, TrainError::Io { .. }) && !error.is_user_input(), "{what}: {error}");
                    assert_eq!(fault == Fault::Full, error.to_string().contains("free some space"), "{what}: {error}");
                }
            }
            // Whatever was reported as saved is whole, but for one whose removal had begun.
            let broken: Vec<_> = ear.saved.iter().filter(|path| load::checkpoint::open(path).is_err()).collect();
            let newest_two = ear.saved.len().saturating_sub(2);
            assert!(broken.iter().all(|path| ear.saved[..newest_two].contains(path)), "{what}: lost {broken:?} of {:?}", ear.saved);
            assert_resumes(&lab, &expected, &whole, &what);
        }
    }
}

#[test]
fn a_finished_run_resumes_to_the_same_report() {
    let lab = Lab::new(arguments());
    let expected = lab.train(&FaultyDisk::sound(), false, &mut Ear::default()).unwrap();
    let mut ear = Ear::default();
    let (report, params) = lab.train(&FaultyDisk::sound(), true, &mut ear).unwrap();
    assert_eq!((&report.outcome, report.train_seconds, bits(&params)), (&expected.0.outcome, expected.0.train_seconds, bits(&expected.1)));
    assert!(ear.losses.is_empty());
}

#[test]
fn resuming_where_there_is_no_checkpoint_says_so() {
    let lab = Lab::new(arguments());
    fs::write(lab.dir.path().join(METRICS_FILE), "{\"step\":1}\n").unwrap();
    let mut ear = Ear::default();
    lab.train(&FaultyDisk::sound(), true, &mut ear).unwrap();
    assert!(ear.messages.iter().any(|m| m.contains("starting from the beginning")), "{:?}", ear.messages);
    assert!(!lab.metrics().starts_with("{\"step\":1}"));
}

#[test]
fn a_damaged_checkpoint_is_noticed_and_the_one_before_it_used() {
    let lab = Lab::new(arguments());
    let expected = lab.train(&FaultyDisk::sound(), false, &mut Ear::default()).unwrap();
    let metrics = lab.metrics();
    let damage = |step: u64| {
        let path = lab.dir.path().join(format!("checkpoint-{step}")).join("state.safetensors");
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    damage(6);
    let mut ear = Ear::default();
    let (_, params) = lab.train(&FaultyDisk::sound(), true, &mut ear).unwrap();
    assert!(ear.messages[0].contains("damaged"), "{:?}", ear.messages);
    let (step, _, metrics_cut) = ear.resumed.unwrap();
    assert!(step < 6 && metrics_cut > 0);
    assert_eq!((bits(&params), lab.metrics()), (bits(&expected.1), metrics));
    // If none is whole, starting over would hide it.
    for found in load::checkpoint::list(lab.dir.path()).unwrap() {
        damage(found.step);
    }
    let error = lab.train(&FaultyDisk::sound(), true, &mut Ear::default()).unwrap_err();
    assert!(matches!(error, TrainError::Checkpoint { .. }), "{error}");
}

#[test]
fn a_changed_recipe_is_refused_by_key() {
    let mut lab = Lab::new(arguments());
    lab.train(&FaultyDisk::sound(), false, &mut Ear { stop_after: Some(8), ..Default::default() }).unwrap();
    let changed = TrainingArguments { learning_rate: 0.2, save_total_limit: None, ..arguments() };
    lab.recipe = changed.fingerprint();
    lab.arguments = changed;
    let error = lab.train(&FaultyDisk::sound(), true, &mut Ear::default()).unwrap_err();
    assert!(error.is_user_input());
    assert!(error.to_string().contains("learning_rate: was 0.1, now 0.2"), "{error}");
    assert!(!error.to_string().contains("save_total_limit"), "it changes nothing: {error}");
}

#[test]
fn early_stopping_ends_the_run_and_stays_stopped() {
    let mut settings = arguments();
    settings.eval_steps = Some(Amount(1.0));
    settings.early_stopping_patience = Some(1);
    settings.num_train_epochs = 50.0;
    let lab = Lab::new(settings);
    let (report, params) = lab.train(&FaultyDisk::sound(), false, &mut Ear::default()).unwrap();
    assert_eq!(report.outcome, Outcome::StoppedEarly);
    assert_eq!(Some(report.weights_of_step), report.best.map(|best| best.0));
    assert!(report.steps < 150 && report.weights_of_step == report.steps - 1);
    let (again, same) = lab.train(&FaultyDisk::sound(), true, &mut Ear::default()).unwrap();
    assert_eq!((again.outcome, again.steps, bits(&same)), (Outcome::StoppedEarly, report.steps, bits(&params)));
}

#[test]
fn batch_times_accumulation_is_one_number() {
    let losses = |batch, accumulation| {
        let settings = TrainingArguments { per_device_train_batch_size: batch, gradient_accumulation_steps: accumulation, ..arguments() };
        let mut ear = Ear::default();
        Lab::new(settings).train(&FaultyDisk::sound(), false, &mut ear).unwrap();
        ear.losses
    };
    let whole = losses(6, 1);
    for (batch, accumulation) in [(3, 2), (2, 3), (1, 6)] {
        let parts = losses(batch, accumulation);
        assert_eq!(parts.len(), whole.len());
        for (a, b) in parts.iter().zip(&whole) {
            assert!((a - b).abs() < 1e-5 * b.abs(), "{batch} x {accumulation}: {parts:?} is not {whole:?}");
        }
    }
}

#[test]
fn what_is_not_a_number_stops_the_run_and_is_not_saved() {
    let lab = Lab::new(TrainingArguments { save_steps: Amount(1.0), save_total_limit: None, ..arguments() });
    let mut toy = Toy::new();
    let epoch_order = crate::order::batches(&lab.arguments, &[1; 13], 0);
    toy.poisoned = Some(epoch_order[4][1]); // in the second step
    let mut ear = Ear::default();
    let error = lab.train_on(toy, &FaultyDisk::sound(), false, &mut ear).unwrap_err();
    let TrainError::NonFiniteLoss { step: 2, rows, .. } = &error else { panic!("{error}") };
    assert!(rows.split(", ").any(|row| row == (epoch_order[4][1] + 1).to_string()), "{rows}");
    assert_eq!(ear.saved.len(), 1);
    load::checkpoint::open(&ear.saved[0]).unwrap();
}

#[test]
fn a_tensor_without_gradient_is_named() {
    let lab = Lab::new(arguments());
    let mut store = params();
    store.add("unused.weight", &[2], vec![0.0; 2], true).unwrap();
    let setup = Setup {
        arguments: &lab.arguments,
        output: lab.dir.path(),
        resume: false,
        recipe: &[],
        total_parameters: 8,
        disk: &FaultyDisk::sound(),
        export: None::<NoExport>,
    };
    let mut evaluate = |_: &ParamStore| Ok(BTreeMap::new());
    let error = train(&mut Toy::new(), &mut store, &setup, &mut Ear::default(), &Ticks(Cell::new(0.0)), Some(&mut evaluate)).unwrap_err();
    assert!(matches!(&error, TrainError::NoGradient { count: 1, names } if names == "unused.weight"), "{error}");
}

#[test]
fn evaluation_needs_something_to_evaluate() {
    let lab = Lab::new(arguments());
    let disk = FaultyDisk::sound();
    let setup = Setup {
        arguments: &lab.arguments,
        output: lab.dir.path(),
        resume: false,
        recipe: &[],
        total_parameters: 6,
        disk: &disk,
        export: None::<NoExport>,
    };
    let error = train(&mut Toy::new(), &mut params(), &setup, &mut Ear::default(), &Ticks(Cell::new(0.0)), None).unwrap_err();
    assert!(matches!(error, TrainError::NoEvaluator));
}

#[test]
fn without_saving_and_reporting_only_metrics_are_written() {
    let settings = TrainingArguments {
        save_strategy: SaveStrategy::No,
        load_best_model_at_end: false,
        report_to: ReportTo::One(ReportTarget::None),
        ..arguments()
    };
    let lab = Lab::new(settings);
    lab.train(&FaultyDisk::sound(), false, &mut Ear::default()).unwrap();
    let names: Vec<_> = fs::read_dir(lab.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, [METRICS_FILE]);
}
