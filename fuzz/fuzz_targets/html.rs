//! `html` for `cargo +nightly fuzz run fuzz_html`; without it the ordinary driver, see `fuzz/src/main.rs`.
#![cfg_attr(fuzzing, no_main)]

fuzz::libfuzzer!("html");
