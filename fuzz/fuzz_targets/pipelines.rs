//! Any text through every step that changes text, and cut into chunks: maps and chunks fit the texts.
#![no_main]

use documents::chunk::{Characters, ChunkOptions, Cleaned, cut};
use documents::clean::{Cleaner, Draft, Form, HeadersFooters, Pii, Pipeline, Step, Width};
use documents::import::plain;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let mut steps = Pipeline::default().steps;
    steps.extend([Step::Unicode(Form::Nfkc), Step::Width(Width::All), Step::HeadersFooters(HeadersFooters::default()), Step::Pii(Pii::default())]);
    let draft = Draft::new(&plain::blocks(text));
    let before = draft.text.chars().count();
    let outcome = Cleaner::new(Pipeline { steps }).clean("a", draft, &[]);
    let whole = outcome.maps.iter().try_fold(0..before, |range, map| map.forward(&range));
    let after = outcome.draft.text.chars().count();
    assert!(whole.is_none_or(|w| w.end <= after));
    let cleaned = Cleaned { file: "a", sha256: "0", pipeline: "", text: &outcome.draft.text, parts: &outcome.draft.parts };
    let chunks = cut(&cleaned, ChunkOptions { size: 40, overlap: 10 }, &Characters).unwrap_or_default();
    assert!(chunks.iter().all(|c| c.start < c.end && c.end <= after));
});
