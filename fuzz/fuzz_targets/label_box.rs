//! Any JSON object as a row of Labelbox: an error or a document whose settled spans lie in its text, which is written again.
#![no_main]

use dataset::import::Row;
use dataset::labels::check::{Survey, settle};
use dataset::labels::import::{Keys, ReadOptions};
use dataset::labels::{Losses, surface};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(fields) = serde_json::from_slice(bytes) else { return };
    let row = Row { fields, file: "fuzz".into(), line: 1 };
    let (options, mut keys, mut losses) = (ReadOptions::default(), Keys::default(), Losses::default());
    let Ok(mut document) = dataset::labels::labelbox::read(row, &options, &mut keys, &mut losses) else { return };
    let mut survey = Survey::default();
    survey.add(&document);
    settle(&mut document, survey.verdict(), &mut losses);
    for (_, ranges) in document.statements.iter().flat_map(|s| &s.labels).filter_map(|l| l.span()) {
        assert!(surface(&document.text, ranges).is_some());
    }
    let _ = losses.list();
});
