//! Readers under attack: every reader of files that come from elsewhere, as a function of bytes that may return or assert, never more.
//!
//! Two ways to run them. `cargo run -p fuzz -- --seconds 60 pdf` is the driver of this crate on any toolchain: it mutates the committed
//! files of the tests ([`seeds`], [`mutate`]) and keeps mutants that a target answers in a new way ([`Outcome`]). With a nightly compiler and
//! cargo-fuzz installed, `cargo +nightly fuzz run fuzz_pdf` runs the same functions under libFuzzer, guided by coverage.

pub mod files;
pub mod labels;
pub mod mutate;
pub mod seeds;

/// What a target says of an input: equal for inputs that it treats alike, as far as it can tell. Inputs with a new one are mutated further.
pub type Outcome = u64;

/// One reader.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Reads bytes; a panic is a finding.
    pub run: fn(&[u8]) -> Outcome,
    /// Where its seeds lie, from the workspace's root, and how their names end.
    pub seeds: &'static [(&'static str, &'static [&'static str])],
    /// Words that mean something to it.
    pub words: &'static [&'static str],
}

const LABELS: &str = "crates/dataset/tests/data/labels";
const DOCUMENTS: &str = "crates/documents/tests/fixtures";
const JSON_WORDS: &[&str] = &["null", "-1", "1e308", "4294967296", "18446744073709551615", "\"\"", "[]", "{}", "😀", "e\u{301}", "\r\n"];

/// All readers.
pub const TARGETS: &[Target] = &[
    Target { name: "gguf", run: files::gguf, seeds: &[("crates/model/tests/data/gguf", &[".gguf"])], words: &["general.alignment"] },
    Target {
        name: "safetensors",
        run: files::safetensors,
        seeds: &[("crates/model/tests/data/mistral_window", &[".safetensors"])],
        words: &["\"F32\"", "\"U8\"", "data_offsets"],
    },
    Target { name: "word2vec", run: files::word2vec, seeds: &[], words: &[" ", "\n", "NaN", "inf", "1e999", "-0", "1 1\n", "9999999999"] },
    Target { name: "pdf", run: files::pdf, seeds: &[(DOCUMENTS, &[".pdf"])], words: seeds::PDF_WORDS },
    Target { name: "docx", run: files::docx, seeds: &[(DOCUMENTS, &[".docx"])], words: seeds::OFFICE_WORDS },
    Target { name: "xlsx", run: files::xlsx, seeds: &[(DOCUMENTS, &[".xlsx"])], words: seeds::OFFICE_WORDS },
    Target { name: "html", run: files::html, seeds: &[], words: seeds::HTML_WORDS },
    Target { name: "markdown", run: files::markdown, seeds: &[("docs", &[".md"])], words: seeds::MARKDOWN_WORDS },
    Target { name: "text", run: files::text, seeds: &[("docs", &["labels.md"])], words: &["\u{feff}", "\r", "\u{c}", "\0", "\u{2028}"] },
    Target { name: "picture", run: files::picture, seeds: &[], words: &["IHDR", "IDAT", "tRNS", "PLTE", "IEND"] },
    Target { name: "pipelines", run: files::pipelines, seeds: &[("docs", &[".md"])], words: seeds::TEXT_WORDS },
    Target {
        name: "label_brat",
        run: labels::brat,
        seeds: &[(LABELS, &[".ann"])],
        words: &["T1\t", "R1\t", "E1\t", "A1\t", "M1\t", "*\tEquiv", "#1\t", "N1\t", "Arg1:T1", ";", "\r\n", "99999999999"],
    },
    Target { name: "label_box", run: labels::labelbox, seeds: &[(LABELS, &[".ndjson"])], words: JSON_WORDS },
    Target {
        name: "label_conll",
        run: labels::conll,
        seeds: &[(LABELS, &["bioes.txt", "conll2003.txt"])],
        words: &["B-PER", "I-PER", "E-", "S-X", "L-", "U-", "-DOCSTART-", "\t", "\n\n", "\r\n", " O\n"],
    },
    Target { name: "label_csv", run: labels::csv, seeds: &[(LABELS, &["doccano.jsonl"])], words: JSON_WORDS },
    Target {
        name: "label_doccano",
        run: labels::doccano,
        seeds: &[(LABELS, &["doccano.jsonl", "doccano-seq2seq.jsonl"])],
        words: JSON_WORDS,
    },
    Target { name: "label_jsonl", run: labels::jsonl, seeds: &[(LABELS, &["chunks.jsonl"])], words: JSON_WORDS },
    Target { name: "label_prodigy", run: labels::prodigy, seeds: &[(LABELS, &["prodigy.jsonl"])], words: JSON_WORDS },
    Target {
        name: "label_studio",
        run: labels::label_studio,
        seeds: &[(LABELS, &["label-studio.json", "label-studio-dangling.json"])],
        words: JSON_WORDS,
    },
    Target {
        name: "label_files",
        run: labels::files,
        seeds: &[(LABELS, &[".json", ".jsonl", ".ndjson", ".txt", ".csv", ".ann"])],
        words: &["\u{feff}", "\r\n", "\n\n", "__label__", "\"", ",", "\t", "😀"],
    },
];

/// The target of a name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|t| t.name == name)
}

/// Makes a binary a target of libFuzzer where `cargo fuzz` builds it, and the ordinary driver for that target elsewhere.
#[macro_export]
macro_rules! libfuzzer {
    ($name:literal) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
            if let Some(target) = $crate::target($name) {
                (target.run)(bytes);
            }
        });

        #[cfg(not(fuzzing))]
        fn main() {
            println!("cargo run -p fuzz -- {}", $name);
        }
    };
}

/// An outcome made of a text without its numbers (those of a place or a count make no new behaviour) and of a few small numbers.
pub fn outcome(text: &str, numbers: &[usize]) -> Outcome {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    // What is quoted is the input's own.
    let mut quoted = false;
    for c in text.chars().take(400) {
        if matches!(c, '"' | '`') {
            quoted = !quoted;
        }
        if !c.is_ascii_digit() && !quoted {
            c.hash(&mut hasher);
        }
    }
    // Sizes by their magnitude.
    numbers.iter().for_each(|n| (usize::BITS - n.leading_zeros()).hash(&mut hasher));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutate::{Random, mutate};

    /// A smoke test; the driver goes on for as long as one lets it.
    #[test]
    fn every_target_has_seeds_and_stands_a_few_mutants() {
        for target in TARGETS {
            let seeds = seeds::of(target);
            assert!(!seeds.is_empty(), "{}", target.name);
            let plain: Vec<Outcome> = seeds.iter().map(|s| (target.run)(s)).collect();
            assert!(plain.len() < 2 || plain.iter().any(|o| *o != plain[0]), "{} treats all its seeds alike", target.name);
            let mut random = Random::new(1);
            let rounds = if target.name == "pdf" { 5 } else { 40 };
            for _ in 0..rounds {
                let mutant = mutate(&mut random, &seeds, target.words);
                (target.run)(&mutant);
            }
        }
    }

    #[test]
    fn outcomes_tell_reasons_apart_and_not_places() {
        assert_eq!(outcome("a.txt:3: no word \"x\"", &[5]), outcome("a.txt:77: no word \"yy\"", &[6]));
        assert_ne!(outcome("no word", &[5]), outcome("no number", &[5]));
        assert_ne!(outcome("", &[1]), outcome("", &[100]));
    }
}
