//! Any text as CoNLL columns: an error for a document or spans that lie in its text, in every scheme, and tags written again.
#![no_main]

use dataset::labels::conll::{Scheme, blocks, detect, document, write};
use dataset::labels::import::{Keys, ReadOptions};
use dataset::labels::{Losses, surface};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let found = blocks(text, "fuzz");
    let _ = detect(found.iter().filter_map(|b| b.as_ref().ok()).flat_map(|b| b.sentences.iter().map(Vec::as_slice)));
    for block in found.into_iter().filter_map(Result::ok) {
        for scheme in Scheme::ALL {
            let mut losses = Losses::default();
            let document = document(block.clone(), scheme, &ReadOptions::default(), &mut Keys::default(), &mut losses);
            for label in document.statements.iter().flat_map(|s| &s.labels) {
                let (_, ranges) = label.span().expect("spans alone");
                assert!(surface(&document.text, ranges).is_some());
            }
            let _ = write(&document, document.statements.first(), Some(scheme), &mut losses);
        }
    }
});
