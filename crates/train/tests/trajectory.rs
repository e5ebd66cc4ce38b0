//! Twenty optimizer steps against PyTorch, step by step, for LoRA and for full fine-tuning.
//!
//! `oracles/trajectory.py` explains the procedure and made the values in `tests/data/`.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dataset::Rendered;
use engine::{Arena, ParamStore};
use serde_json::{Value, json};
use train::observe::StepRecord;
use train::{Clock, Evaluator, Event, FinetuningArguments, Job, Observer, Outcome, OutputDir, Prepared, TrainingArguments};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn read_json(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(data(name)).unwrap()).unwrap()
}

/// Tensors of a safetensors file, as f32.
fn read_tensors(name: &str) -> BTreeMap<String, Vec<f32>> {
    let bytes = std::fs::read(data(name)).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let entries: BTreeMap<String, Value> = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let body = &bytes[8 + header..];
    entries
        .into_iter()
        .filter(|(name, _)| name != "__metadata__")
        .map(|(name, entry)| {
            assert_eq!(entry["dtype"], "F32");
            let offset = |i: usize| entry["data_offsets"][i].as_u64().unwrap() as usize;
            let numbers = body[offset(0)..offset(1)].chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
            (name, numbers.collect())
        })
        .collect()
}

fn rows() -> Vec<Rendered> {
    let numbers = |value: &Value| value.as_array().unwrap().iter().map(|v| v.as_i64().unwrap()).collect::<Vec<_>>();
    let rows = read_json("rows.json");
    let rows = rows.as_array().unwrap().iter().enumerate();
    rows.map(|(key, row)| Rendered {
        input_ids: numbers(&row["input_ids"]).into_iter().map(|id| id as u32).collect(),
        labels: numbers(&row["labels"]).into_iter().map(|label| label as i32).collect(),
        cut: 0,
        key: key as u64,
    })
    .collect()
}

struct NoTime;

impl Clock for NoTime {
    fn seconds(&self) -> f64 {
        0.0
    }
    fn unix_time(&self) -> f64 {
        0.0
    }
}

#[derive(Default)]
struct Ear {
    steps: Vec<StepRecord>,
    batches: Cell<u64>,
    stop_after: Option<u64>,
}

impl Observer for Ear {
    fn on(&mut self, event: Event<'_>) {
        if let Event::Step(step) = event {
            self.steps.push(step.clone());
        }
    }
    fn should_stop(&mut self) -> bool {
        self.batches.set(self.batches.get() + 1);
        self.stop_after.is_some_and(|after| self.batches.get() > after)
    }
}

struct Run {
    ear: Ear,
    params: ParamStore,
    outcome: Outcome,
    checkpoint: Option<PathBuf>,
    metrics: String,
}

/// Trains the tiny model as `settings` say; `change` alters arguments, `stop_after` asks to stop after so many batches.
fn train(method: &str, dir: &Path, resume: bool, change: Value, stop_after: Option<u64>) -> Run {
    let mut settings = read_json(&format!("{method}/trajectory.json"))["settings"].clone();
    let more = json!({"train_sampling_strategy": "sequential", "logging_steps": 1, "save_steps": 6, "report_to": "none"});
    for source in [more, change] {
        settings.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
    }
    let dropout = settings.as_object_mut().unwrap().remove("lora_dropout").unwrap_or(json!(0.0));
    let arguments: TrainingArguments = serde_json::from_value(settings).unwrap();
    let finetuning: FinetuningArguments = serde_json::from_value(match method {
        "lora" => json!({"finetuning_type": "lora", "lora_rank": 4, "lora_alpha": 8, "lora_dropout": dropout}),
        method => json!({ "finetuning_type": method }),
    })
    .unwrap();

    let mut decoder = model::load_model(data("base")).unwrap();
    let Prepared { mut params, .. } = train::prepare(&mut decoder, &finetuning, None, 1).unwrap();
    if method == "lora" {
        let initial = read_tensors("lora/initial/adapter_model.safetensors");
        assert_eq!(initial.len(), params.len());
        for (_, param) in params.iter_mut() {
            param.value = initial[&param.name].clone();
        }
    }
    let (rows, arena) = (rows(), Arena::new());
    let output = OutputDir::claim(dir, resume).unwrap();
    let mut ear = Ear { stop_after, ..Default::default() };
    let job = Job {
        decoder: &decoder,
        params: &mut params,
        arena: &arena,
        total_parameters: decoder.parameters() as u64,
        rows: &rows,
        arguments: &arguments,
        output: &output,
        recipe: &[],
        export: None,
    };
    let report = train::run(job, &mut ear, &NoTime, None).unwrap();
    let metrics = std::fs::read_to_string(dir.join("metrics.jsonl")).unwrap();
    Run { ear, params, outcome: report.outcome, checkpoint: report.checkpoint, metrics }
}

fn bits(params: &ParamStore) -> Vec<u32> {
    params.iter().flat_map(|(_, param)| param.value.iter().map(|value| value.to_bits())).collect()
}

fn assert_follows_pytorch(method: &str) {
    let dir = tempfile::tempdir().unwrap();
    let run = train(method, dir.path(), false, json!({}), None);
    let oracle = read_json(&format!("{method}/trajectory.json"));
    let expected = oracle["steps"].as_array().unwrap();
    assert_eq!((run.ear.steps.len(), expected.len(), run.outcome), (20, 20, Outcome::Completed));
    for (ours, theirs) in run.ear.steps.iter().zip(expected) {
        let number = |key: &str| theirs[key].as_f64().unwrap();
        let step = ours.step;
        assert!((ours.loss - number("loss")).abs() < 1e-4, "step {step}: loss {} is not {}", ours.loss, number("loss"));
        assert!(
            (ours.grad_norm / number("grad_norm") - 1.0).abs() < 1e-3,
            "step {step}: norm {} is not {}",
            ours.grad_norm,
            number("grad_norm")
        );
        assert!((ours.learning_rate - number("lr")).abs() < 1e-9, "step {step}");
        assert_eq!(ours.trained_tokens, theirs["tokens"].as_u64().unwrap(), "step {step}");
    }
    let last = read_tensors(&format!("{method}/final.safetensors"));
    for (_, param) in run.params.iter() {
        let theirs = last.get(&param.name).unwrap_or_else(|| panic!("{} is not in {:?}", param.name, last.keys()));
        let norm = |numbers: &mut dyn Iterator<Item = f64>| numbers.map(|v| v * v).sum::<f64>().sqrt();
        let difference = norm(&mut param.value.iter().zip(theirs).map(|(a, b)| f64::from(a - b)));
        let size = norm(&mut theirs.iter().map(|&b| f64::from(b)));
        assert!(difference < 2e-3 * size, "{}: {difference} of {size}", param.name);
    }
}

#[test]
fn lora_follows_pytorch() {
    assert_follows_pytorch("lora");
}

#[test]
fn full_fine_tuning_follows_pytorch() {
    assert_follows_pytorch("full");
}

#[test]
fn what_would_be_resumed_is_known_before_the_model_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    train("lora", dir.path(), false, json!({}), Some(7));
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let output = OutputDir::claim(dir.path(), true).unwrap();
    let point = train::resume_point(&output, &[pair("seed", "42")]).unwrap().unwrap();
    assert_eq!((point.step, point.checkpoint), (2, dir.path().join("checkpoint-2+1")));
    let error = train::resume_point(&output, &[pair("seed", "43")]).unwrap_err();
    assert!(error.to_string().contains("seed: was 42, now 43"), "{error}");

    // Other rows are a changed recipe too, and rows without a trained token are none.
    let mut decoder = model::load_model(data("base")).unwrap();
    let mut params = train::prepare(&mut decoder, &FinetuningArguments::default(), None, 1).unwrap().params;
    let settings = json!({"max_steps": 1, "train_sampling_strategy": "sequential"});
    let arguments: TrainingArguments = serde_json::from_value(settings).unwrap();
    let mut other = rows();
    other.iter_mut().for_each(|row| row.labels.fill(-100));
    let mut run = |rows: &[Rendered]| {
        let job = Job {
            decoder: &decoder,
            params: &mut params,
            arena: &Arena::new(),
            total_parameters: 0,
            rows,
            arguments: &arguments,
            output: &output,
            recipe: &[],
            export: None,
        };
        train::run(job, &mut Ear::default(), &NoTime, None).unwrap_err()
    };
    assert!(matches!(run(&other), train::TrainError::NothingTrained { rows: 21 }));
    let error = run(&rows()[1..]);
    assert!(error.is_user_input() && error.to_string().contains("training rows (sha256): was "), "{error}");
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let change = json!({"per_device_train_batch_size": 21, "lora_dropout": 0.1});
        let run = pool.install(|| train("lora", dir.path(), false, change, None));
        (bits(&run.params), run.metrics)
    };
    let one = run(1);
    assert!(one == run(2) && one == run(5));
}

#[test]
fn held_out_loss_is_the_loss_of_training() {
    let mut decoder = model::load_model(data("base")).unwrap();
    let params = train::prepare(&mut decoder, &FinetuningArguments::default(), None, 1).unwrap().params;
    let rows = rows();
    // The first step of the trajectory sees the first six rows with the base's weights (B is zero).
    for batch_size in [1, 4, 6] {
        let mut evaluator = train::HeldOutLoss::new(&rows[..6], batch_size);
        let metrics = evaluator.evaluate(&decoder, &params, &Arena::new()).unwrap();
        let expected = read_json("lora/trajectory.json")["steps"][0]["loss"].as_f64().unwrap();
        assert!((metrics["loss"] - expected).abs() < 1e-5, "{metrics:?}, {expected}");
        assert!((metrics["perplexity"] - expected.exp()).abs() < 1e-2);
    }
}

#[test]
fn measuring_changes_no_weight_and_finds_the_largest_batch() {
    struct Ticks(Cell<f64>);
    impl Clock for Ticks {
        fn seconds(&self) -> f64 {
            self.0.set(self.0.get() + 1.0);
            self.0.get()
        }
        fn unix_time(&self) -> f64 {
            0.0
        }
    }
    let mut decoder = model::load_model(data("base")).unwrap();
    let mut params = train::prepare(&mut decoder, &FinetuningArguments::default(), None, 1).unwrap().params;
    let (before, arena, rows) = (bits(&params), Arena::new(), rows());
    let arguments: TrainingArguments = serde_json::from_value(json!({"per_device_train_batch_size": 1, "num_train_epochs": 1})).unwrap();
    let measured = train::plan::measure(&decoder, &mut params, &arena, &rows, &arguments, &Ticks(Cell::new(0.0)), 3, None).unwrap();
    assert_eq!(bits(&params), before);
    assert!(params.iter().all(|(_, param)| param.grad.iter().all(|&g| g == 0.0)));
    let longest = rows.iter().map(|row| row.input_ids.len() as u64).max().unwrap();
    assert_eq!((measured.batches, measured.largest_batch_tokens), (3, longest));
    assert!(measured.activation_bytes >= longest * decoder.config.hidden_size as u64 * 4, "{measured:?}");
    assert_eq!(measured.train_seconds_per_token, 1.0 / measured.tokens as f64);
}

#[test]
fn a_plan_does_not_run_what_cannot_fit() {
    struct Still;
    impl Clock for Still {
        fn seconds(&self) -> f64 {
            0.0
        }
        fn unix_time(&self) -> f64 {
            0.0
        }
    }
    let mut decoder = model::load_model(data("base")).unwrap();
    let mut params = train::prepare(&mut decoder, &FinetuningArguments::default(), None, 1).unwrap().params;
    // 120 rows in one batch, in one pass.
    let rows: Vec<Rendered> = (0..15).flat_map(|_| rows()).collect();
    let arguments = json!({"per_device_train_batch_size": rows.len(), "tokens_per_pass": 100_000, "share_prefixes": false});
    let arguments: TrainingArguments = serde_json::from_value(arguments).unwrap();
    let mut measure = |memory| {
        let arena = Arena::new();
        let measured = train::plan::measure(&decoder, &mut params, &arena, &rows, &arguments, &Still, 1, memory).unwrap();
        (measured, arena.stats().bytes_peak as u64)
    };
    let (run, _) = measure(None);
    let (judged, used) = measure(Some(run.activation_bytes / 2));
    assert_eq!(judged.largest_batch_tokens, run.largest_batch_tokens);
    assert!(used < run.activation_bytes / 2, "{used} of {} bytes were used", run.activation_bytes);
    let ratio = judged.activation_bytes as f64 / run.activation_bytes as f64;
    assert!((0.9..1.3).contains(&ratio), "judged {} where {} are needed", judged.activation_bytes, run.activation_bytes);
}

#[test]
fn freeze_trains_what_it_names_and_nothing_else() {
    let names = |settings: Value| {
        let finetuning: FinetuningArguments = serde_json::from_value(settings).unwrap();
        let mut decoder = model::load_model(data("base")).unwrap();
        let prepared = train::prepare(&mut decoder, &finetuning, None, 1)?;
        Ok::<_, train::TrainError>(prepared.params.iter().map(|(_, param)| param.name.clone()).collect::<Vec<_>>())
    };
    let last = names(json!({"finetuning_type": "freeze", "freeze_trainable_layers": 1})).unwrap();
    assert!(!last.is_empty() && last.iter().all(|name| name.contains("layers.1.")), "{last:?}");
    let first = names(json!({"finetuning_type": "freeze", "freeze_trainable_layers": -1, "freeze_trainable_modules": "mlp"})).unwrap();
    assert!(!first.is_empty() && first.iter().all(|name| name.contains("layers.0.mlp.")), "{first:?}");
    let head = names(json!({"finetuning_type": "freeze", "freeze_trainable_layers": 0, "train_head": true})).unwrap();
    assert_eq!(head.len(), 1, "{head:?}");
    let error = names(json!({"finetuning_type": "freeze", "freeze_trainable_names": ["layers.27"]})).unwrap_err();
    assert!(error.is_user_input() && error.to_string().contains("layers.27"), "{error}");
    let error = names(json!({"lora_target": ["q_porj"]})).unwrap_err();
    assert!(error.is_user_input() && error.to_string().contains("q_porj"), "{error}");
}

#[test]
fn batch_times_accumulation_is_one_loss() {
    for dropout in [0.0, 0.3] {
        let losses = |batch: u64, accumulation: u64| {
            let dir = tempfile::tempdir().unwrap();
            let change =
                json!({"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation, "lora_dropout": dropout});
            train("lora", dir.path(), false, change, None).ear.steps.into_iter().map(|step| step.loss).collect::<Vec<_>>()
        };
        let whole = losses(6, 1);
        for (batch, accumulation) in [(2, 3), (3, 2), (1, 6)] {
            for (step, (a, b)) in losses(batch, accumulation).iter().zip(&whole).enumerate() {
                assert!((a - b).abs() < 1e-4, "{batch} x {accumulation}, dropout {dropout}, step {step}: {a} is not {b}");
            }
        }
    }
}

#[test]
fn stopped_anywhere_and_resumed_equals_uninterrupted() {
    for method in ["lora", "full"] {
        let whole_dir = tempfile::tempdir().unwrap();
        let change = || json!({"train_sampling_strategy": "random", "lora_dropout": 0.2});
        let whole = train(method, whole_dir.path(), false, change(), None);
        // Within a group, at its border, in the second epoch, and one after the other in the same directory.
        let dir = tempfile::tempdir().unwrap();
        for (run, batches) in [2, 4, 9, 7].into_iter().enumerate() {
            let stopped = train(method, dir.path(), run > 0, change(), Some(batches));
            assert_eq!(stopped.outcome, Outcome::Interrupted);
            assert!(stopped.checkpoint.is_some_and(|path| path.join("DONE").exists()));
        }
        let resumed = train(method, dir.path(), true, change(), None);
        assert_eq!(bits(&resumed.params), bits(&whole.params), "{method}");
        assert_eq!(resumed.metrics, whole.metrics, "{method}");
    }
}
