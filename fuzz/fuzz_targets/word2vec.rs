//! `word2vec` for `cargo +nightly fuzz run fuzz_word2vec`; without it the ordinary driver, see `fuzz/src/main.rs`.
#![cfg_attr(fuzzing, no_main)]

fuzz::libfuzzer!("word2vec");
