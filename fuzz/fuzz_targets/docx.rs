//! `docx` for `cargo +nightly fuzz run fuzz_docx`; without it the ordinary driver, see `fuzz/src/main.rs`.
#![cfg_attr(fuzzing, no_main)]

fuzz::libfuzzer!("docx");
