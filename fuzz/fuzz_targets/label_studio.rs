//! `label_studio` for `cargo +nightly fuzz run fuzz_label_studio`; without it the ordinary driver, see `fuzz/src/main.rs`.
#![cfg_attr(fuzzing, no_main)]

fuzz::libfuzzer!("label_studio");
