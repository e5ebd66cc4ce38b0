//! What a step takes from the heap once buffers exist: handles and small lists, never numbers of activations, weights or gradients.
//! Those live in the arena, whose size stays where the first steps brought it.

use std::alloc::System;
use std::path::Path;

use dataset::Rendered;
use engine::{Arena, ComputeDtype};
use model::load::BaseModel;
use serde_json::json;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use train::Stepper;

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

/// Bytes that one steady-state step takes from the heap, and bytes of activations.
fn bytes_of_a_step(method: &str, compute: ComputeDtype, rows: &[Rendered]) -> (usize, usize) {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/base");
    let mut decoder = BaseModel::open(base).unwrap().load_in(compute).unwrap();
    let finetuning = serde_json::from_value(json!({ "finetuning_type": method })).unwrap();
    let mut params = train::prepare(&mut decoder, &finetuning, None, 1).unwrap().params;
    let arena = Arena::new();
    let mut stepper = Stepper::new(&decoder, &params, &arena, rows, false).unwrap();
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
            let (short, few) = bytes_of_a_step(method, compute, &rows(4, 16));
            let (long, many) = bytes_of_a_step(method, compute, &rows(4, 64));
            println!("{method} {compute:?}: {short} and {long} bytes from the heap, {few} and {many} of activations");
            // 192 tokens more: some dozens of bytes each for lists of rows and positions, where activations take kilobytes.
            let (heap, activations) = ((long - short) / 192, (many - few) / 192);
            assert!(activations > 1000, "{method} {compute:?}: only {activations} bytes of activations a token");
            assert!(heap < 200, "{method} {compute:?}: {heap} bytes from the heap for each further token");
        }
    }
}
