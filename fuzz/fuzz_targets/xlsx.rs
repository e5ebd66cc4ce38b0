//! `xlsx` for `cargo +nightly fuzz run fuzz_xlsx`; without it the ordinary driver, see `fuzz/src/main.rs`.
#![cfg_attr(fuzzing, no_main)]

fuzz::libfuzzer!("xlsx");
