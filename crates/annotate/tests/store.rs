//! The store's laws: documents by source and row, evidence appended once, nothing lost between processes.

use annotate::{Current, Entry, Store, current};
use dataset::labels::{Body, Document, Label, Statement};
use proptest::prelude::*;
use serde_json::{Value, json};

fn class(who: &str, class: &str) -> Statement {
    Statement::human(who, vec![Label::new(Body::class(class))])
}

fn document(row: &str, text: &str, statements: Vec<Statement>) -> Document {
    Document { row: row.into(), text: text.into(), statements, ..Document::default() }
}

fn entries(store: &Store) -> Vec<Entry> {
    let mut all = Vec::new();
    store
        .each(&mut |entry| {
            all.push(entry);
            Ok(())
        })
        .unwrap();
    all
}

#[test]
fn equal_texts_stay_apart_and_equal_rows_come_together() {
    let mut store = Store::in_memory().unwrap();
    let action = store.act("import", 1, &Value::Null).unwrap();
    let first = store.add("a", &document("1", "same", vec![class("k", "x")]), action).unwrap();
    let twin = store.add("a", &document("2", "same", vec![class("k", "x")]), action).unwrap();
    let elsewhere = store.add("b", &document("1", "same", vec![]), action).unwrap();
    let changed = store.add("a", &document("1", "other", vec![]), action).unwrap();
    assert!(first.new && twin.new && elsewhere.new && changed.new);
    let again = store.add("a", &document("1", "same", vec![class("k", "x"), class("l", "y")]), action).unwrap();
    assert_eq!((again.document, again.new, again.statements), (first.document, false, vec![1]));
    assert_eq!(store.count().unwrap(), 4);
    assert_eq!(store.entry(first.document).unwrap().document.statements.len(), 2);
}

#[test]
fn what_was_undone_can_be_said_again() {
    let mut store = Store::in_memory().unwrap();
    let first = store.act("import", 1, &Value::Null).unwrap();
    let given = document("1", "t", vec![class("k", "x")]);
    let id = store.add("a", &given, first).unwrap().document;
    store.undo(first, 2).unwrap();
    let entry = store.entry(id).unwrap();
    assert_eq!(current(&entry.document.statements, &entry.actions), Current::Unlabelled);
    let second = store.act("import", 3, &Value::Null).unwrap();
    assert_eq!(store.add("a", &given, second).unwrap().statements, [0]);
}

#[test]
fn committed_work_outlives_a_process_that_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    store.begin().unwrap();
    let action = store.act("import", 1, &Value::Null).unwrap();
    store.add("a", &document("1", "kept", vec![class("k", "x")]), action).unwrap();
    store.commit().unwrap();
    store.begin().unwrap();
    store.add("a", &document("2", "not committed", vec![]), action).unwrap();
    // Never closed: as kill -9 leaves it, the log beside the file.
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(dir.path()).unwrap().flatten() {
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    let texts: Vec<String> = entries(&Store::open(copy.path()).unwrap()).into_iter().map(|e| e.document.text).collect();
    assert_eq!(texts, ["kept"]);
}

#[test]
fn documents_come_back_whole() {
    let mut store = Store::in_memory().unwrap();
    let action = store.act("import", 1, &json!({"a": 1})).unwrap();
    let mut given = document("r", "😀\r\n", vec![class("k", "好")]);
    given.id = Some(json!(7));
    given.source = json!({"file": "a.pdf", "page": 2}).as_object().cloned();
    given.meta = json!({"deep": {"er": [1, null, 1.5]}}).as_object().cloned().unwrap();
    given.statements[0].confidence = Some(0.25);
    given.statements[0].place = Some(3);
    store.add("s", &given, action).unwrap();
    let entry = entries(&store).remove(0);
    assert_eq!((entry.document, entry.source.as_str(), entry.actions), (given, "s", vec![action]));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    /// Importing any file any number of times is importing it once.
    #[test]
    fn imports_are_idempotent(rows in prop::collection::vec((0u8..4, 0u8..3, 0u8..3, 0u8..3), 0..20)) {
        let documents: Vec<Document> = rows
            .iter()
            .map(|(row, text, who, label)| document(&row.to_string(), &format!("t{text}"), vec![class(&format!("a{who}"), &format!("c{label}"))]))
            .collect();
        let mut store = Store::in_memory().unwrap();
        let mut runs = Vec::new();
        for _ in 0..3 {
            let action = store.act("import", 1, &Value::Null).unwrap();
            for document in &documents {
                store.add("s", document, action).unwrap();
            }
            runs.push(entries(&store));
        }
        prop_assert_eq!(&runs[0], &runs[1]);
        prop_assert_eq!(&runs[0], &runs[2]);
    }
}
