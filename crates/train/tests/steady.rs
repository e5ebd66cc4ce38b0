//! What a step takes from the heap once buffers exist: handles and small lists, never numbers of activations, weights or gradients.
//! Those live in the arena, whose size stays where the first steps brought it.

use std::alloc::System;
use std::path::Path;

use dataset::Rendered;
use engine::{Arena, ComputeDtype};
use model::Decoder;
use model::config::ModelConfig;
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use train::{Stepper, TrainingArguments};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// `count` rows of `length` tokens, all of them trained.
fn rows(count: usize, length: usize) -> Vec<Rendered> {
    let id = |row: usize, i: usize| ((row * 7 + i * 3) % 40 + 1) as u32;
    (0..count)
        .map(|row| {
            let input_ids: Vec<u32> = (0..length).map(|i| id(row, i)).collect();
            let labels = input_ids.iter().map(|&id| id as i32).collect();
            Rendered { input_ids, labels, cut: 0, key: row as u64 }
        })
        .collect()
}

/// The model of the other tests, so many times as wide and with other numbers.
fn model(width: usize, compute: ComputeDtype) -> Decoder {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/base/config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for key in ["hidden_size", "intermediate_size", "head_dim"] {
        config[key] = json!(config[key].as_u64().unwrap() as usize * width);
    }
    let config = ModelConfig::from_config_json(&config, "config.json").unwrap();
    let number = |i: usize| ((i * 37 % 101) as f32 - 50.0) / 500.0;
    Decoder::assemble_in(config, compute, |slot| Ok((0..slot.shape.iter().product()).map(number).collect())).unwrap()
}

/// Bytes that one steady-state step takes from the heap, and bytes of activations.
fn bytes_of_a_step(method: &str, compute: ComputeDtype, width: usize, rows: &[Rendered]) -> (usize, usize) {
    let mut decoder = model(width, compute);
    let finetuning = serde_json::from_value(json!({ "finetuning_type": method })).unwrap();
    let mut params = train::prepare(&mut decoder, &finetuning, None, 1).unwrap().params;
    let arena = Arena::new();
    let mut stepper = Stepper::new(&decoder, &params, &arena, rows, &TrainingArguments::default(), false).unwrap();
    let batch: Vec<usize> = (0..rows.len()).collect();
    for _ in 0..2 {
        stepper.step(&mut params, &batch, 1e-3).unwrap();
    }
    let peak = arena.stats().bytes_peak;
    let region = Region::new(HEAP);
    stepper.step(&mut params, &batch, 1e-3).unwrap();
    let taken = region.change().bytes_allocated;
    assert_eq!(arena.stats().bytes_peak, peak, "{method} {compute:?}: the arena still grows in the third step");
    (taken, peak)
}

/// One test: others beside it would allocate too.
#[test]
fn a_steady_state_step_takes_no_buffers_from_the_heap() {
    // One worker: rayon's own queues are not what is counted.
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().unwrap();
    for method in ["lora", "full"] {
        // In f32 the `gemm` crate packs into buffers of its own.
        for compute in [ComputeDtype::Bf16, ComputeDtype::Int8] {
            let (short, few) = bytes_of_a_step(method, compute, 1, &rows(4, 16));
            let (long, many) = bytes_of_a_step(method, compute, 1, &rows(4, 64));
            println!("{method} {compute:?}: {short} and {long} bytes from the heap, {few} and {many} of activations");
            // 192 tokens more: some dozens of bytes each for lists of rows and positions, where activations take kilobytes.
            let (heap, activations) = ((long - short) / 192, (many - few) / 192);
            assert!(activations > 1000, "{method} {compute:?}: only {activations} bytes of activations a token");
            assert!(heap < 200, "{method} {compute:?}: {heap} bytes from the heap for each further token");
            // A model four times as wide has matrices of 24 kB where these have 1.5: nothing of their size is taken.
            let (wide, _) = bytes_of_a_step(method, compute, 4, &rows(4, 16));
            assert!(wide < short + 1000, "{method} {compute:?}: {wide} bytes from the heap where matrices are wider, {short} else");
        }
    }
}
