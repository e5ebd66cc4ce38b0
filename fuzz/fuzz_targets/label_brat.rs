//! Any text as brat annotations: taken apart and written back byte for byte.
#![no_main]

use dataset::labels::{Body, Losses, Statement, brat};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(ann) = std::str::from_utf8(bytes) else { return };
    let mut statement = brat::statement(ann, &brat::parse(ann), Statement::default());
    for label in &mut statement.labels {
        if let Body::Span { surface, .. } = &mut label.body {
            *surface = None;
        }
    }
    assert_eq!(brat::write("some text", &statement, &mut Losses::default()), ann);
});
