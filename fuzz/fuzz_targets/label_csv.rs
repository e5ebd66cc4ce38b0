//! `label_csv` for `cargo +nightly fuzz run fuzz_label_csv`; without it the ordinary driver, see `fuzz/src/main.rs`.
#![cfg_attr(fuzzing, no_main)]

fuzz::libfuzzer!("label_csv");
