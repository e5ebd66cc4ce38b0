//! `label_brat` for `cargo +nightly fuzz run fuzz_label_brat`; without it the ordinary driver, see `fuzz/src/main.rs`.
#![cfg_attr(fuzzing, no_main)]

fuzz::libfuzzer!("label_brat");
