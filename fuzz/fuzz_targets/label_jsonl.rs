//! `label_jsonl` for `cargo +nightly fuzz run fuzz_label_jsonl`; without it the ordinary driver, see `fuzz/src/main.rs`.
#![cfg_attr(fuzzing, no_main)]

fuzz::libfuzzer!("label_jsonl");
