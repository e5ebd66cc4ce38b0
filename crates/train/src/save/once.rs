//! Laws of what is computed only once: rows that begin alike, frozen layers, batches in parts. Whatever is saved, the numbers are
//! those of the plain run.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use dataset::Rendered;
use engine::{Arena, ComputeDtype, ParamStore};
use model::Decoder;
use serde_json::{Value, json};

use crate::arguments::TrainingArguments;
use crate::finetuning::FinetuningArguments;
use crate::objective::{Done, NextToken, Objective};
use crate::observe::{Clock, Event, Observer};
use crate::prefix::{PrefixPlace, PrefixPlan, decide};
use crate::run::{Job, Outcome, TrainReport, run};
use crate::save::OutputDir;
use crate::save::prefix::PREFIX_FILE;

fn base() -> Decoder {
    model::load_model(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/base")).unwrap()
}

fn arguments(more: Value) -> TrainingArguments {
    let mut settings = json!({
        "learning_rate": 0.01, "num_train_epochs": 3, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "logging_steps": 1,
        "save_strategy": "no", "report_to": "none",
    });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(settings).unwrap()
}

fn prepared(finetuning: Value) -> (Decoder, ParamStore) {
    let mut decoder = base();
    let finetuning: FinetuningArguments = serde_json::from_value(finetuning).unwrap();
    let mut params = crate::prepare(&mut decoder, &finetuning, None, 1).unwrap().params;
    // B of a fresh adapter is zero, and A then has no gradient.
    for (i, (_, param)) in params.iter_mut().enumerate() {
        param.value.iter_mut().enumerate().for_each(|(j, v)| *v += ((i * 31 + j * 17) % 13) as f32 * 0.002);
    }
    (decoder, params)
}

/// Eleven rows: seven begin with one prompt, three of these with more; some train the prompt's end, one is there twice.
fn rows() -> Vec<Rendered> {
    let id = |i: usize| 3 + ((i * i + 5 * i) % 19) as u32;
    let row = |key: usize, shared: usize, more: usize, own: usize, trained: usize| {
        let ids = (0..shared).map(id).chain((0..more).map(|i| id(i + 40))).chain((0..own).map(|i| id(i * 3 + key)));
        let input_ids: Vec<u32> = ids.collect();
        let first = input_ids.len() - trained;
        let labels = input_ids.iter().enumerate().map(|(i, &id)| if i < first { -100 } else { id as i32 }).collect();
        Rendered { input_ids, labels, cut: 0, key: key as u64 }
    };
    let mut rows: Vec<Rendered> = [
        (12, 0, 4, 2),
        (0, 0, 9, 3),
        (12, 10, 3, 9),
        (12, 10, 5, 5),
        (0, 0, 6, 6),
        (12, 0, 7, 15),
        (12, 10, 2, 20),
        (3, 0, 20, 4),
        (12, 0, 1, 1),
    ]
    .into_iter()
    .enumerate()
    .map(|(key, (shared, more, own, trained))| row(key, shared, more, own, trained))
    .collect();
    rows.push(Rendered { key: 9, ..rows[2].clone() });
    rows.push(row(10, 0, 0, 14, 13));
    // Behind the last trained token nothing counts.
    rows[3].labels[26] = -100;
    rows
}

/// Gradients and what was done, of one batch of all rows.
fn step(decoder: &Decoder, params: &mut ParamStore, rows: &[Rendered], settings: Value) -> (Done, Vec<f32>) {
    params.zero_grads();
    let arena = Arena::new();
    let mut objective = NextToken::new(decoder, &arena, rows, &arguments(settings));
    let all: Vec<usize> = (0..rows.len()).collect();
    let done = objective.accumulate(params, &all, 3, 40).unwrap();
    (done, params.iter().flat_map(|(_, p)| p.grad.clone()).collect())
}

#[track_caller]
fn close(found: &[f32], wanted: &[f32], bound: f64) {
    assert_eq!(found.len(), wanted.len());
    let error: f64 = found.iter().zip(wanted).map(|(a, b)| f64::from(a - b).powi(2)).sum();
    let size: f64 = wanted.iter().map(|b| f64::from(*b).powi(2)).sum();
    assert!(size > 0.0 && (error / size).sqrt() < bound, "{:.2e}", (error / size).sqrt());
}

#[test]
fn shared_beginnings_and_parts_change_rounding_only() {
    for finetuning in
        [json!({"lora_rank": 3}), json!({"finetuning_type": "full"}), json!({"finetuning_type": "freeze", "freeze_trainable_layers": 1})]
    {
        let (decoder, mut params) = prepared(finetuning);
        let rows = rows();
        let (plain, grads) = step(&decoder, &mut params, &rows, json!({"share_prefixes": false, "tokens_per_pass": 10_000}));
        assert_eq!(plain.shared_tokens, 0);
        for (settings, shared) in [
            // Seven times 12 tokens but one, four times 10 but one, and the three of the row that is there twice.
            (json!({"tokens_per_pass": 10_000}), 6 * 12 + 3 * 10),
            (json!({"share_prefixes": false, "tokens_per_pass": 30}), 0),
            (json!({"share_prefixes": false, "tokens_per_pass": 1}), 0),
            (json!({"tokens_per_pass": 60}), 3 * 10),
            (json!({"tokens_per_pass": 1}), 0),
        ] {
            let (done, found) = step(&decoder, &mut params, &rows, settings.clone());
            assert!((done.loss / plain.loss - 1.0).abs() < 1e-6, "{settings}: {} and {}", done.loss, plain.loss);
            close(&found, &grads, 3e-6);
            assert!(done.shared_tokens >= shared && (shared > 0 || done.shared_tokens == 0), "{settings}: {}", done.shared_tokens);
        }
    }
}

#[test]
fn with_dropout_rows_share_nothing_and_draw_their_own() {
    let (decoder, mut params) = prepared(json!({"lora_rank": 3, "lora_dropout": 0.3}));
    assert!(decoder.drops());
    let rows = rows();
    let (a, ga) = step(&decoder, &mut params, &rows, json!({}));
    let (b, gb) = step(&decoder, &mut params, &rows, json!({"share_prefixes": false}));
    assert_eq!((a, a.shared_tokens, ga), (b, 0, gb));
    // Parts of a batch draw what the whole draws.
    let (c, gc) = step(&decoder, &mut params, &rows, json!({"tokens_per_pass": 40}));
    assert!((c.loss / a.loss - 1.0).abs() < 1e-6);
    let gb = step(&decoder, &mut params, &rows, json!({})).1;
    close(&gc, &gb, 3e-6);
}

const LAST_LAYER: &str = r#"{"finetuning_type": "freeze", "freeze_trainable_layers": 1, "freeze_extra_modules": ["norm"]}"#;

#[test]
fn the_settings_decide_whether_and_where_frozen_layers_are_kept() {
    let rows = rows();
    let list: Vec<&Rendered> = rows.iter().collect();
    let ask = |finetuning: &str, settings: Value| {
        let (decoder, _) = prepared(serde_json::from_str(finetuning).unwrap());
        let arguments = arguments(settings);
        decide(&decoder, &arguments, &arguments.steps_for(rows.len()), &list)
    };
    let place = |settings: Value| ask(LAST_LAYER, settings).unwrap().0.map(|plan| plan.place);
    let (Some(plan), None) = ask(LAST_LAYER, json!({})).unwrap() else { panic!("auto keeps them in memory") };
    let needed: usize = rows.iter().map(|row| dataset::share::needed(row).len()).sum();
    assert_eq!(plan, PrefixPlan { layers: 1, bytes: (needed * 16 * 2) as u64, place: PrefixPlace::Memory });
    assert_eq!(place(json!({"frozen_prefix_cache_memory_mb": 0})), Some(PrefixPlace::Disk));
    assert_eq!(place(json!({"frozen_prefix_cache": "disk"})), Some(PrefixPlace::Disk));
    assert_eq!(place(json!({"frozen_prefix_cache": "off"})), None);
    assert_eq!(place(json!({"num_train_epochs": 1})), None);
    assert_eq!(place(json!({"num_train_epochs": 1, "frozen_prefix_cache": "memory"})), Some(PrefixPlace::Memory));
    let (None, Some(note)) = ask(LAST_LAYER, json!({"frozen_prefix_cache_memory_mb": 0, "frozen_prefix_cache_disk_mb": 0})).unwrap() else {
        panic!("no budget suffices")
    };
    assert!(note.contains("1 frozen layers are computed anew in every epoch"), "{note}");
    let why = ask(LAST_LAYER, json!({"frozen_prefix_cache": "disk", "frozen_prefix_cache_disk_mb": 0})).unwrap_err();
    assert!(why.is_user_input() && why.to_string().contains("frozen_prefix_cache_disk_mb"), "{why}");
    // With nothing frozen there is nothing to keep: said if it was asked for.
    for finetuning in
        [r#"{"finetuning_type": "full"}"#, r#"{"lora_rank": 2}"#, r#"{"finetuning_type": "freeze", "freeze_trainable_layers": -1}"#]
    {
        assert_eq!(ask(finetuning, json!({})).unwrap(), (None, None));
        let (None, Some(note)) = ask(finetuning, json!({"frozen_prefix_cache": "memory"})).unwrap() else { panic!("{finetuning}") };
        assert!(note.contains("has no effect"), "{note}");
    }
}

#[test]
fn kept_or_forgotten_frozen_layers_give_the_same_bits() {
    for finetuning in [LAST_LAYER, r#"{"finetuning_type": "freeze", "freeze_extra_modules": ["norm"], "freeze_trainable_layers": 0}"#] {
        let (decoder, mut params) = prepared(serde_json::from_str(finetuning).unwrap());
        let rows = rows();
        let dir = tempfile::tempdir().unwrap();
        let mut gradients = |place: Option<PrefixPlace>, forget: bool| {
            let arena = Arena::new();
            let arguments = arguments(json!({"tokens_per_pass": 50}));
            let mut objective = NextToken::new(&decoder, &arena, &rows, &arguments);
            if let Some(place) = place {
                let plan = PrefixPlan { layers: decoder.frozen_layers(), bytes: 0, place };
                objective = objective.keep_prefix(plan, dir.path(), "", &params).unwrap();
            }
            if forget {
                objective = objective.forget_prefix();
            }
            let mut all = Vec::new();
            for batch in [&[3usize, 1, 10][..], &[0, 2, 4, 5, 6, 7, 8, 9], &[9, 8, 7, 3], &[10], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]] {
                params.zero_grads();
                objective.accumulate(&mut params, batch, 0, 10).unwrap();
                all.extend(params.iter().flat_map(|(_, p)| p.grad.clone()));
            }
            assert_eq!(objective.take_notes(), Vec::<String>::new());
            all
        };
        let kept = gradients(Some(PrefixPlace::Memory), false);
        let bits = |x: &[f32]| x.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert!(bits(&kept) == bits(&gradients(Some(PrefixPlace::Memory), true)), "forgotten");
        assert!(bits(&kept) == bits(&gradients(Some(PrefixPlace::Disk), false)), "a new file");
        assert!(bits(&kept) == bits(&gradients(Some(PrefixPlace::Disk), false)), "the file of the run before");
        // Without the cache nothing is rounded to bf16: near, but not the same.
        let exact = gradients(None, false);
        assert!(bits(&kept) != bits(&exact));
        close(&kept, &exact, 2e-2);
    }
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
    stop_after: Option<u64>,
    asked: u64,
    messages: Vec<String>,
    /// Called with the number of batches so far.
    meanwhile: Option<Box<dyn Fn(u64)>>,
}

impl Observer for Ear {
    fn on(&mut self, event: Event<'_>) {
        if let Event::Message(text) = event {
            self.messages.push(text.to_owned());
        }
    }
    fn should_stop(&mut self) -> bool {
        self.asked += 1;
        if let Some(f) = &self.meanwhile {
            f(self.asked);
        }
        self.stop_after.is_some_and(|after| self.asked > after)
    }
}

/// A whole run: weights, the lines of metrics, what was said.
fn train(dir: &Path, resume: bool, rows: &[Rendered], settings: Value, mut ear: Ear) -> (Vec<u32>, String, TrainReport, Vec<String>) {
    let (decoder, mut params) = prepared(serde_json::from_str(LAST_LAYER).unwrap());
    let arguments = arguments(settings);
    let job = Job {
        decoder: &decoder,
        params: &mut params,
        arena: &Arena::new(),
        total_parameters: 0,
        rows,
        arguments: &arguments,
        output: &OutputDir::claim(dir, resume).unwrap(),
        recipe: &[("model".into(), "tiny".into())],
        export: None,
    };
    let report = run(job, &mut ear, &NoTime, None).unwrap();
    let bits = params.iter().flat_map(|(_, p)| p.value.iter().map(|v| v.to_bits())).collect();
    (bits, std::fs::read_to_string(dir.join("metrics.jsonl")).unwrap(), report, ear.messages)
}

#[test]
fn runs_with_kept_layers_are_interrupted_and_resumed_without_a_trace() {
    let rows = rows();
    let memory = json!({});
    let disk = json!({"frozen_prefix_cache": "disk"});
    let dir = || tempfile::tempdir().unwrap();
    let whole = dir();
    let (weights, metrics, report, messages) = train(whole.path(), false, &rows, memory.clone(), Ear::default());
    assert!(messages.iter().any(|m| m.contains("1 frozen layers are kept in memory: 1 MiB")), "{messages:?}");
    assert!(messages.iter().any(|m| m.contains("tokens were not computed again")), "{messages:?}");
    assert_eq!(report.tokens, 3 * rows.iter().map(|row| row.input_ids.len() as u64).sum::<u64>());
    let other = dir();
    let (on_disk, on_disk_metrics, _, messages) = train(other.path(), false, &rows, disk.clone(), Ear::default());
    assert!(messages.iter().any(|m| m.contains("kept on disk")), "{messages:?}");
    assert!(weights == on_disk && metrics == on_disk_metrics);
    assert!(!other.path().join(PREFIX_FILE).exists(), "a finished run leaves no cache");

    for (settings, stop) in [(&memory, 4), (&disk, 1), (&disk, 4), (&disk, 8)] {
        let dir = dir();
        let stopping = Ear { stop_after: Some(stop), ..Ear::default() };
        let report = train(dir.path(), false, &rows, settings.clone(), stopping).2;
        assert_eq!(report.outcome, Outcome::Interrupted);
        assert_eq!(dir.path().join(PREFIX_FILE).exists(), settings == &disk);
        let (resumed, resumed_metrics, report, _) = train(dir.path(), true, &rows, settings.clone(), Ear::default());
        assert_eq!(report.outcome, Outcome::Completed);
        assert!(weights == resumed && metrics == resumed_metrics);
    }
}

/// Bytes of a file, changed.
fn change(path: PathBuf, f: impl Fn(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(&path).unwrap();
    f(&mut bytes);
    std::fs::write(&path, bytes).unwrap();
}

#[test]
fn a_damaged_or_foreign_file_costs_time_and_nothing_else() {
    let rows = rows();
    let disk = json!({"frozen_prefix_cache": "disk"});
    let dir = || tempfile::tempdir().unwrap();
    let whole = dir();
    let (weights, ..) = train(whole.path(), false, &rows, disk.clone(), Ear::default());

    // Damage done between two epochs, while the run goes on: to a row, to a checksum, to the whole file.
    let damages: [fn(&mut Vec<u8>); 3] = [
        |bytes| *bytes.last_mut().unwrap() ^= 1,
        |bytes| bytes.truncate(bytes.len() - 100),
        |bytes| bytes.iter_mut().skip(400).for_each(|b| *b = 0),
    ];
    for damage in damages {
        let dir = dir();
        let path = dir.path().join(PREFIX_FILE);
        let meanwhile = move |batch: u64| {
            if batch == 5 {
                change(path.clone(), damage);
            }
        };
        let ear = Ear { meanwhile: Some(Box::new(meanwhile)), ..Ear::default() };
        let (found, _, _, messages) = train(dir.path(), false, &rows, disk.clone(), ear);
        assert!(found == weights);
        assert!(messages.iter().any(|m| m.contains("frozen layers for row") && m.contains("computed again")), "{messages:?}");
    }

    // A file from elsewhere: of other rows, of another model with the same name, of nothing at all.
    let stopped = |rows: &[Rendered]| {
        let dir = dir();
        train(dir.path(), false, rows, disk.clone(), Ear { stop_after: Some(5), ..Ear::default() });
        std::fs::read(dir.path().join(PREFIX_FILE)).unwrap()
    };
    let mut others = rows.clone();
    others[5].input_ids[2] += 1;
    let mut foreign_model = stopped(&rows);
    for (bytes, said) in [(stopped(&others), "other rows or settings"), (b"not a cache".to_vec(), "other rows or settings")] {
        let dir = dir();
        std::fs::write(dir.path().join(PREFIX_FILE), bytes).unwrap();
        let (found, _, _, messages) = resumed_fresh(dir.path(), &rows, &disk);
        assert!(found == weights);
        assert!(messages.iter().any(|m| m.contains(said)), "{messages:?}");
    }
    // As another model would have left it: row 0 has other numbers and their own checksum.
    let (table, first) = (48, 48 + 32 * rows.len());
    let len = 2 * 16 * dataset::share::needed(&rows[0]).len();
    foreign_model[first] ^= 1;
    let check = crate::save::prefix::check(0, &foreign_model[first..first + len]);
    foreign_model[table..table + 32].copy_from_slice(&check);
    let foreign = dir();
    std::fs::write(foreign.path().join(PREFIX_FILE), foreign_model).unwrap();
    let (found, _, _, messages) = resumed_fresh(foreign.path(), &rows, &disk);
    assert!(found == weights);
    assert!(messages.iter().any(|m| m.contains("of another model")), "{messages:?}");

    // Where no file can be made the run goes on without.
    let blocked = dir();
    std::fs::create_dir(blocked.path().join(PREFIX_FILE)).unwrap();
    let (found, _, _, messages) = resumed_fresh(blocked.path(), &rows, &disk);
    assert!(found == weights);
    assert!(messages.iter().any(|m| m.contains("computed anew in every epoch")), "{messages:?}");
}

/// A run from the beginning in a directory that is not empty.
fn resumed_fresh(dir: &Path, rows: &[Rendered], settings: &Value) -> (Vec<u32>, String, TrainReport, Vec<String>) {
    train(dir, true, rows, settings.clone(), Ear::default())
}

#[test]
fn a_batch_in_parts_takes_the_memory_of_a_part() {
    let (decoder, mut params) = prepared(json!({"lora_rank": 2}));
    let row = |key: u64| {
        let ids: Vec<u32> = (0..40).map(|i| 3 + ((i * 7 + key * 11) % 19) as u32).collect();
        Rendered { labels: ids.iter().map(|&id| id as i32).collect(), input_ids: ids, cut: 0, key }
    };
    let rows: Vec<Rendered> = (0..16).map(row).collect();
    let mut peak = |tokens: usize| {
        let arena = Arena::new();
        let mut objective = NextToken::new(&decoder, &arena, &rows, &arguments(json!({"tokens_per_pass": tokens})));
        let all: Vec<usize> = (0..rows.len()).collect();
        let run = RefCell::new(|| objective.accumulate(&mut params, &all, 0, 1).unwrap());
        (run.borrow_mut())();
        let first = arena.stats();
        (run.borrow_mut())();
        assert_eq!(arena.stats().regions_allocated, first.regions_allocated);
        assert_eq!(arena.stats().bytes_live, 0);
        first.bytes_peak
    };
    // Twice the rows take twice the memory; a batch in four parts takes a quarter (scratch that does not grow aside).
    let (whole, half, quarter) = (peak(10_000), peak(320), peak(160));
    assert!(half < whole * 6 / 10 && quarter < half * 6 / 10, "{whole} {half} {quarter}");
}

#[test]
fn layers_computed_twice_give_the_same_bits() {
    let rows = rows();
    let methods = [
        (json!({"lora_rank": 3}), 0.0),
        (json!({"lora_rank": 3, "lora_dropout": 0.3}), 0.0),
        (json!({"lora_rank": 2, "lora_target": ["q_proj"], "layers_to_transform": [1], "modules_to_save": ["lm_head"]}), 0.0),
        (json!({"finetuning_type": "full"}), 0.0),
        (json!({"finetuning_type": "full"}), 0.2),
        (json!({"finetuning_type": "freeze", "freeze_trainable_layers": 1}), 0.2),
        (json!({"finetuning_type": "freeze", "freeze_trainable_layers": -1}), 0.0),
        (json!({"finetuning_type": "freeze", "freeze_trainable_layers": 0, "train_embeddings": true}), 0.0),
        (json!({"finetuning_type": "freeze", "freeze_trainable_layers": 0, "freeze_extra_modules": ["norm"]}), 0.0),
    ];
    for compute in [ComputeDtype::F32, ComputeDtype::Bf16, ComputeDtype::Int8] {
        for (finetuning, dropout) in &methods {
            let (mut decoder, mut params) = prepared(finetuning.clone());
            decoder.pack(compute).unwrap();
            (decoder.dropout.embedding, decoder.dropout.residual) = (*dropout, *dropout);
            let (plain, wanted) = step(&decoder, &mut params, &rows, json!({}));
            let (twice, found) = step(&decoder, &mut params, &rows, json!({"gradient_checkpointing": true}));
            assert_eq!(twice, plain, "{finetuning} {compute:?}");
            assert!(wanted.iter().any(|g| *g != 0.0));
            let bits = |gradients: &[f32]| gradients.iter().map(|g| g.to_bits()).collect::<Vec<_>>();
            assert!(bits(&found) == bits(&wanted), "{finetuning} {compute:?}");
        }
    }
}

#[test]
fn layers_computed_twice_take_less_memory_and_meet_the_cache() {
    let dir = || tempfile::tempdir().unwrap();
    let rows = rows();
    let settings = json!({"frozen_prefix_cache": "memory"});
    let (plain, ..) = train(dir().path(), false, &rows, settings.clone(), Ear::default());
    let mut twice = settings;
    twice["gradient_checkpointing"] = json!(true);
    let (found, ..) = train(dir().path(), false, &rows, twice, Ear::default());
    assert!(found == plain);

    let (decoder, mut params) = prepared(json!({"lora_rank": 2}));
    let ids: Vec<u32> = (0..200).map(|i| 3 + (i * 7 % 19) as u32).collect();
    let row = [Rendered { labels: ids.iter().map(|&id| id as i32).collect(), input_ids: ids, cut: 0, key: 0 }];
    let mut peak = |checkpointing: bool| {
        let arena = Arena::new();
        let mut objective = NextToken::new(&decoder, &arena, &row, &arguments(json!({"gradient_checkpointing": checkpointing})));
        objective.accumulate(&mut params, &[0], 0, 1).unwrap();
        assert_eq!(arena.stats().bytes_live, 0);
        arena.stats().bytes_peak
    };
    let (kept, computed_twice) = (peak(false), peak(true));
    assert!(computed_twice < kept * 8 / 10, "{computed_twice} {kept}");
}
