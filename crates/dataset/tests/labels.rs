//! Label files of every format: what they hold is read, and written again it says the same. Fixtures are our own, one a trap.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use dataset::import::RowError;
use dataset::labels::export::{WriteOptions, Writer};
use dataset::labels::import::{LabelsAre, ReadOptions, open};
use dataset::labels::{Answer, AuthorKind, Body, Document, Format, Label, Losses, Statement, surface};
use proptest::prelude::*;
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/labels").join(name)
}

struct Read {
    documents: Vec<Document>,
    bad: Vec<String>,
    losses: Losses,
    repaired: usize,
    repair: Option<String>,
}

fn read_with(format: Format, path: &Path, options: &ReadOptions) -> Read {
    let import = open(format, path, options).unwrap();
    let mut rows = import.documents().unwrap();
    let (mut documents, mut bad) = (Vec::new(), Vec::new());
    for row in &mut rows {
        match row {
            Ok(document) => documents.push(document),
            Err(RowError::Bad(row)) => bad.push(row.to_string()),
            Err(RowError::File(error)) => panic!("{error}"),
        }
    }
    Read { documents, bad, losses: rows.losses.clone(), repaired: rows.repaired, repair: import.repair() }
}

fn read(format: Format, path: &Path) -> Read {
    read_with(format, path, &ReadOptions::default())
}

/// Rows of one document become one, as the store does it.
fn merged(documents: &[Document]) -> Vec<Document> {
    let mut by_row: BTreeMap<&str, usize> = BTreeMap::new();
    let mut out: Vec<Document> = Vec::new();
    for document in documents {
        match by_row.get(document.row.as_str()) {
            Some(&at) => out[at].statements.extend(document.statements.clone()),
            None => {
                by_row.insert(&document.row, out.len());
                out.push(document.clone());
            }
        }
    }
    out
}

fn write(format: Format, path: &Path, documents: &[Document], options: WriteOptions) -> Losses {
    let mut writer = Writer::create(format, path, options).unwrap();
    for document in documents {
        writer.see(document, document.statements.first());
    }
    for document in documents {
        writer.write(document, document.statements.first()).unwrap();
    }
    writer.finish().unwrap()
}

fn values(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    match serde_json::from_str(&text) {
        Ok(Value::Array(list)) => list,
        _ => text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
    }
}

/// A JSON file read and written again holds the same values, row by row, and nothing is lost.
fn json_identity(format: Format, name: &str, options: &ReadOptions) -> Vec<Document> {
    let found = read_with(format, &fixture(name), options);
    assert_eq!(found.bad, Vec::<String>::new());
    assert!(found.losses.is_empty() && found.repaired == 0, "{:?}", found.losses.list());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    let losses = write(format, &path, &merged(&found.documents), WriteOptions::default());
    assert!(losses.is_empty(), "{:?}", losses.list());
    for (written, given) in values(&path).iter().zip(values(&fixture(name))) {
        assert_eq!(*written, given);
    }
    assert_eq!(values(&path).len(), values(&fixture(name)).len());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside the file");
    found.documents
}

#[test]
fn doccano_jsonl_is_an_identity() {
    let documents = json_identity(Format::Doccano, "doccano.jsonl", &ReadOptions::default());
    let said = |i: usize| &documents[i].statements[0].labels;
    assert_eq!(said(0)[0].class(), Some("pos"));
    assert_eq!(said(2).len(), 3);
    let args = vec![("from".to_owned(), "10".to_owned()), ("to".to_owned(), "11".to_owned())];
    assert_eq!(said(2)[2].body, Body::Relation { label: "runs".into(), args });
    assert!(documents[4].statements.is_empty(), "without a key it is unlabelled");
    assert_eq!((documents[5].statements.len(), said(5).len()), (1, 0), "an empty list says: nothing here");
    assert_eq!(documents[6].meta["rating"], 4);
    let rows: Vec<&str> = documents.iter().map(|d| d.row.as_str()).collect();
    assert_eq!(rows, ["1", "2", "3", "4", ":5", "6", "7", "8", "2#2", "9", "10"], "a repeated id is another document");
    assert_eq!(
        said(10).iter().map(|l| surface(&documents[10].text, l.span().unwrap().1).unwrap()).collect::<Vec<_>>()[..2],
        ["😀", "😀 emoji e"]
    );
}

#[test]
fn doccano_answers_may_be_texts() {
    let options = ReadOptions { labels_are: LabelsAre::Texts, ..ReadOptions::default() };
    let documents = json_identity(Format::Doccano, "doccano-seq2seq.jsonl", &options);
    assert_eq!(documents[0].statements[0].labels[1].body, Body::Text { name: String::new(), text: "您好".into() });
}

#[test]
fn doccano_tables_and_fasttext_lines_are_identities() {
    let options = ReadOptions { separator: Some("#".into()), ..ReadOptions::default() };
    for (name, options) in [("doccano-fasttext.txt", ReadOptions::default()), ("doccano.csv", options)] {
        let found = read_with(Format::Doccano, &fixture(name), &options);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        let losses = write(Format::Doccano, &path, &found.documents, WriteOptions::default());
        assert!(losses.is_empty(), "{:?}", losses.list());
        let again = read_with(Format::Doccano, &path, &options);
        assert_eq!(again.documents, found.documents, "{name}");
        assert_eq!(found.documents.iter().map(|d| d.statements.iter().flat_map(|s| s.classes()).count()).collect::<Vec<_>>()[2], 0);
        assert_eq!(found.documents[if name.ends_with("txt") { 1 } else { 0 }].statements[0].classes().count(), 2);
    }
    let table = read_with(Format::Csv, &fixture("doccano.csv"), &ReadOptions { separator: Some("#".into()), ..ReadOptions::default() });
    assert_eq!(table.documents[1].text, "two\r\nlines", "line ends within a cell stay");
    let dir = tempfile::tempdir().unwrap();
    write(Format::Csv, &dir.path().join("a.csv"), &table.documents, WriteOptions::default());
    assert_eq!(
        fs::read_to_string(dir.path().join("a.csv")).unwrap(),
        fs::read_to_string(fixture("doccano.csv")).unwrap().replace("\"x#y\"", "x#y")
    );
}

#[test]
fn prodigy_is_an_identity_with_every_annotator() {
    let rows = json_identity(Format::Prodigy, "prodigy.jsonl", &ReadOptions::default());
    let documents = merged(&rows);
    assert_eq!(documents.len(), 9, "two rows of two annotators are one document each");
    let who: Vec<_> = documents[0].statements.iter().map(|s| s.author.name.as_str()).collect();
    assert_eq!(who, ["ann", "bo"]);
    assert_eq!(documents[1].statements.iter().map(|s| s.answer).collect::<Vec<_>>(), [Answer::Reject, Answer::Ignore]);
    let relations: Vec<_> = documents[0].statements[0].labels.iter().filter(|l| matches!(l.body, Body::Relation { .. })).collect();
    assert_eq!(relations.len(), 2);
    assert_eq!(documents[4].statements[0].classes().collect::<Vec<_>>(), ["a", "2"]);
    assert!(documents[6].statements.is_empty());
}

#[test]
fn brat_files_are_recounted_one_by_one() {
    let dir = tempfile::tempdir().unwrap();
    for (name, text, span) in [
        ("fine", "😀 Ann ok", "T1\tP 2 5\tAnn\n"),
        ("utf16", "😀 Bob ok", "T1\tP 3 6\tBob\n"),
        // No way of counting fits both spans: nothing here is recounted.
        ("torn", "😀 Eve and Kim", "T1\tP 3 6\tEve\nT2\tP 0 1\tKim\n"),
    ] {
        fs::write(dir.path().join(name).with_extension("txt"), text).unwrap();
        fs::write(dir.path().join(name).with_extension("ann"), span).unwrap();
    }
    let found = read(Format::Brat, dir.path());
    assert_eq!((found.repair.as_deref(), found.repaired, found.losses.count("spans")), (Some("UTF-16"), 1, 2), "{:?}", found.losses.list());
    let of = |i: usize| found.documents[i].statements[0].labels.iter().filter_map(|l| l.span()).map(|s| s.1.to_vec()).collect::<Vec<_>>();
    assert_eq!((of(0), of(2)), (vec![vec![[2, 5]]], vec![vec![[2, 5]]]));
}

#[test]
fn prodigy_tokens_prove_offsets() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.jsonl");
    let row = r#"{"text":"😀 Ann ok","tokens":[{"text":"😀","start":0,"end":2,"id":0},{"text":"Ann","start":3,"end":6,"id":1}],"spans":[{"start":3,"end":6,"token_start":1,"token_end":1,"label":"P"}],"answer":"accept"}"#;
    fs::write(&path, row).unwrap();
    let found = read(Format::Prodigy, &path);
    assert_eq!((found.repair.as_deref(), found.repaired), (Some("UTF-16"), 1));
    assert_eq!(found.documents[0].statements[0].labels[0].span().unwrap().1, [[2, 5]]);
}

#[test]
fn label_studio_is_an_identity() {
    let documents = json_identity(Format::LabelStudio, "label-studio.json", &ReadOptions::default());
    let said = &documents[0].statements;
    assert_eq!(said[0].author.name, "kim@example.org");
    assert_eq!((said[1].answer, said[2].author.kind, said[2].confidence), (Answer::Ignore, AuthorKind::Model, Some(0.75)));
    assert_eq!(said[0].labels.iter().filter(|l| l.span().is_some()).count(), 3, "two labels of a region are two spans");
    assert_eq!(said[0].classes().collect::<Vec<_>>(), ["good", "calm"]);
    assert_eq!(documents[0].meta["ref"], "r1");
}

#[test]
fn label_studio_relations_to_missing_regions_are_counted_and_kept() {
    // A region that was deleted, regions of another annotation, a prediction without any; one that joins a rating is whole.
    let path = fixture("label-studio-dangling.json");
    let found = read(Format::LabelStudio, &path);
    let [lost] = &found.losses.list()[..] else { panic!("{:?}", found.losses.list()) };
    assert_eq!((lost.what.as_str(), lost.count), ("relations", 3));
    assert!(lost.reason.contains("region that is not in their annotation"), "{}", lost.reason);
    let of = |document: usize, statement: usize| -> Vec<&str> {
        found.documents[document].statements[statement].labels.iter().map(|l| l.body.kind()).collect()
    };
    assert_eq!(of(0, 0), ["spans", "spans", "relations", "others"]);
    assert_eq!((of(0, 1), of(0, 2)), (vec!["others"], vec!["others"]));
    assert_eq!(of(1, 0), ["others", "spans", "relations"]);
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("a.json");
    assert!(write(Format::LabelStudio, &out, &found.documents, WriteOptions::default()).is_empty());
    let parse = |path: &Path| serde_json::from_str::<Value>(&fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(parse(&out), parse(&path), "our own export loses none");
    assert_eq!(read(Format::LabelStudio, &out).losses, found.losses);
}

#[test]
fn labelbox_names_the_last_character() {
    let found = read(Format::Labelbox, &fixture("labelbox.ndjson"));
    assert_eq!(found.bad.len(), 1);
    assert!(found.bad[0].contains("labelbox.ndjson:2: data_row.row_data: is an address"), "{}", found.bad[0]);
    let document = &found.documents[0];
    let said = &document.statements[0];
    let spans: Vec<_> = said.labels.iter().filter_map(Label::span).map(|(name, r)| (name, surface(&document.text, r).unwrap())).collect();
    assert_eq!(spans, [("PER", "Ann".into()), ("ORG", "Acme".into())]);
    assert_eq!((found.repaired, found.repair, found.losses.is_empty()), (0, None, true), "that is its way and no mistake");
    assert_eq!(said.classes().collect::<Vec<_>>(), ["good", "a", "b"]);
    assert_eq!((document.row.as_str(), said.author.name.as_str()), ("doc-1", "kim@example.org"));
    assert!(Writer::create(Format::Labelbox, Path::new("x"), WriteOptions::default()).unwrap_err().to_string().contains("imported only"));
}

#[test]
fn conll_of_2003_is_written_byte_for_byte() {
    for (name, documents, spans) in [("conll2003.txt", 2, 5), ("bioes.txt", 2, 2)] {
        let found = read(Format::Conll, &fixture(name));
        assert_eq!(found.documents.len(), documents, "{name}");
        let all: Vec<_> = found.documents.iter().flat_map(|d| d.statements[0].labels.iter().map(move |l| (d, l.span().unwrap()))).collect();
        assert_eq!(all.len(), spans);
        assert_eq!(found.losses.count("white space"), documents, "what the file does not hold is said");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        assert!(write(Format::Conll, &path, &found.documents, WriteOptions::default()).is_empty());
        assert_eq!(fs::read_to_string(&path).unwrap(), fs::read_to_string(fixture(name)).unwrap());
    }
    let two = read(Format::Conll, &fixture("conll2003.txt"));
    let texts: Vec<_> =
        two.documents[0].statements[0].labels.iter().map(|l| surface(&two.documents[0].text, l.span().unwrap().1).unwrap()).collect();
    assert_eq!(texts, ["EU", "German", "Ann", "Bo Lee"], "B- parts two names of one type");
}

#[test]
fn flat_tags_lose_what_overlaps_and_say_so() {
    let text = "Ann Lee of Acme";
    let spans = [("A", 0, 7), ("B", 4, 7), ("C", 8, 15), ("D", 11, 15)];
    let mut labels: Vec<Label> = spans.iter().map(|(l, s, e)| Label::new(Body::span(*l, *s, *e))).collect();
    labels.push(Label::new(Body::Span { label: "E".into(), ranges: vec![[0, 3], [8, 10]], surface: None }));
    let document = Document { text: text.into(), statements: vec![Statement::human("", labels)], ..Document::default() };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.txt");
    let losses = write(Format::Conll, &path, &[document], WriteOptions::default());
    assert_eq!(losses.count("spans"), 3);
    assert_eq!(fs::read_to_string(&path).unwrap(), "Ann\tB-A\nLee\tI-A\nof\tB-C\nAcme\tI-C\n\n");
}

#[test]
fn a_brat_collection_is_an_identity_of_bytes_and_paths() {
    let found = read(Format::Brat, &fixture("brat"));
    assert_eq!(found.bad, Vec::<String>::new());
    let rows: Vec<&str> = found.documents.iter().map(|d| d.row.as_str()).collect();
    assert_eq!(rows, ["bare", "broken", "deep/odd", "empty"]);
    assert_eq!((found.losses.count("spans"), found.losses.count("lines")), (1, 1), "one span's text is another, one line is odd");
    let odd = &found.documents[2].statements[0].labels;
    assert_eq!(odd.len(), 17);
    let text = &found.documents[2].text;
    let at = |id: &str| surface(text, odd.iter().find(|l| l.id == id).unwrap().span().unwrap().1).unwrap();
    assert_eq!((at("T3"), at("T5"), at("T4")), ("Ann ran".into(), "北京".into(), "ran\r\nAcme".into()));
    assert!(odd.iter().any(|l| matches!(&l.body, Body::Equiv { members, .. } if members.len() == 3)));
    assert!(odd.iter().any(|l| matches!(&l.body, Body::Attribute { legacy: true, .. })));
    let dir = tempfile::tempdir().unwrap();
    assert!(write(Format::Brat, dir.path(), &found.documents, WriteOptions::default()).is_empty());
    for name in ["bare.txt", "broken.txt", "broken.ann", "deep/odd.txt", "deep/odd.ann", "empty.txt", "empty.ann"] {
        assert_eq!(fs::read(dir.path().join(name)).unwrap(), fs::read(fixture("brat").join(name)).unwrap(), "{name}");
    }
    assert!(!dir.path().join("bare.ann").exists(), "what was not annotated stays so");
}

#[test]
fn rows_without_labels_keep_where_they_came_from() {
    let documents = json_identity(Format::Jsonl, "chunks.jsonl", &ReadOptions::default());
    assert_eq!(documents[0].source.as_ref().unwrap()["page_end"], 2);
    assert!(documents.iter().all(|d| d.statements.is_empty()));
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.jsonl");
    let cases = [
        (Format::Jsonl, r#"{"txt":"a"}"#, "a.jsonl:1: text: no such key"),
        (Format::Jsonl, r#"{"text":"a","spans":[{"label":"P","start":-1,"end":1}]}"#, "a.jsonl:1: spans[0].start: is no offset"),
        (Format::Doccano, r#"{"text":"a","label":[[0,1]]}"#, "a.jsonl:1: label[0]: is no [start, end, \"label\"]"),
        (Format::Prodigy, r#"{"text":"a","answer":"maybe"}"#, "a.jsonl:1: answer: \"maybe\" is none of accept, reject, ignore"),
        (Format::Labelbox, r#"{"text":"a"}"#, "a.jsonl:1: data_row: no such object"),
        (Format::LabelStudio, r#"[{"text":"a"}]"#, "a.jsonl:1: data: no such key"),
        (Format::Conll, "a B-X\nb\n", "a.jsonl:2: a token without a tag"),
    ];
    for (format, text, reason) in cases {
        fs::write(&path, text).unwrap();
        let found = read(format, &path);
        assert!(found.documents.is_empty() && found.bad[0].starts_with(reason), "{:?}", found.bad);
    }
    assert!(open(Format::Brat, dir.path(), &ReadOptions::default()).unwrap_err().to_string().contains("no brat collection"));
}

#[test]
fn keys_of_a_person_survive_names_that_have_a_meaning() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a.jsonl"), dir.path().join("b.jsonl"));
    fs::write(&a, r#"{"id":1,"text":"t","label":"x","answer":42,"notes":null,"source":"web","confidence":7,"author":"Poe"}"#).unwrap();
    let once = read(Format::Jsonl, &a).documents;
    assert_eq!(once[0].meta["author"], "Poe");
    write(Format::Jsonl, &b, &once, WriteOptions::default());
    assert_eq!(read(Format::Jsonl, &b).documents[0].meta, once[0].meta);
}

#[test]
fn older_doccano_rows_keep_who_gave_which_label() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.jsonl");
    fs::write(
        &path,
        concat!(
            r#"{"id":1,"text":"Ann runs","annotations":[{"label":2,"start_offset":0,"end_offset":3,"user":1},{"label":"动","start_offset":4,"end_offset":8,"user":7}]}"#,
            "\n",
            r#"{"id":2,"text":"好","annotations":[{"label":2,"user":1},{"label":3,"user":1}]}"#,
            "\n",
            r#"{"id":3,"text":"a","annotations":[{"text":"一","user":1}]}"#,
            "\n",
            r#"{"id":4,"text":"a","annotations":[]}"#,
            "\n",
            r#"{"id":5,"text":"a","annotations":[{"rating":3}]}"#,
            "\n"
        ),
    )
    .unwrap();
    let found = read(Format::Doccano, &path);
    let who = |i: usize| found.documents[i].statements.iter().map(|s| s.author.name.as_str()).collect::<Vec<_>>();
    assert_eq!((who(0), who(1), who(3).len()), (vec!["1", "7"], vec!["1"], 0));
    assert_eq!(found.documents[0].statements[0].labels, [Label::new(Body::span("2", 0, 3))]);
    assert_eq!(found.documents[0].statements[1].labels, [Label::new(Body::span("动", 4, 8))]);
    assert_eq!(found.documents[1].statements[0].classes().collect::<Vec<_>>(), ["2", "3"]);
    assert_eq!(found.documents[2].statements[0].labels[0].body, Body::Text { name: String::new(), text: "一".into() });
    assert!(found.documents[..4].iter().all(|d| d.meta.is_empty()));
    assert_eq!(found.bad, ["a.jsonl:5: annotations[0]: has neither a label nor a text"]);
}

#[test]
fn one_object_with_lists_is_one_row() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.json");
    let row = r#"{"text":"Ann runs Acme","entities":[{"id":1,"label":"PER","start_offset":0,"end_offset":3},{"id":2,"label":"ORG","start_offset":9,"end_offset":13}],"relations":[{"id":1,"from_id":1,"to_id":2,"type":"runs"}]}"#;
    fs::write(&path, row).unwrap();
    assert_eq!(read(Format::Doccano, &path).documents[0].statements[0].labels.len(), 3);
    fs::write(&path, row.replace("\"text\"", "\"正文\"")).unwrap();
    let options = ReadOptions { text: Some("正文".into()), ..ReadOptions::default() };
    assert_eq!(read_with(Format::Doccano, &path, &options).documents[0].statements[0].labels.len(), 3);
}

#[test]
fn label_studio_rows_without_tasks_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.json");
    let end = |who: u32, n: u32| {
        format!(
            r#""annotator":{who},"annotation_id":{n},"created_at":"2026-01-02T00:00:00Z","updated_at":"2026-01-02T00:00:00Z","lead_time":2.5"#
        )
    };
    let rows = format!(
        r#"[{{"text":"Ann 在 Acme","ref":"r1","id":7,"label":[{{"start":0,"end":3,"text":"Ann","labels":["PER"]}},{{"start":6,"end":10,"text":"Acme","labels":["ORG"]}}],"mood":"好",{}}},
           {{"text":"Ann 在 Acme","ref":"r1","id":7,"mood":{{"choices":["a","b"]}},{}}},
           {{"text":"x","id":8,"stars":[{{"rating":3}}],{}}}]"#,
        end(1, 11),
        end(2, 12),
        end(1, 13)
    );
    fs::write(&path, rows).unwrap();
    let found = read(Format::LabelStudio, &path);
    assert_eq!((found.bad.len(), found.losses.is_empty()), (0, true), "{:?}", found.bad);
    let documents = merged(&found.documents);
    assert_eq!((documents.len(), documents[0].row.as_str(), &documents[0].meta["ref"]), (2, "7", &Value::from("r1")));
    assert!(documents[0].meta.len() == 1 && documents[1].meta.is_empty());
    let said = &documents[0].statements;
    assert_eq!(said.iter().map(|s| s.author.name.as_str()).collect::<Vec<_>>(), ["1", "2"]);
    let spans: Vec<_> = said[0].labels.iter().filter_map(Label::span).map(|(k, r)| (k, surface(&documents[0].text, r).unwrap())).collect();
    assert_eq!(spans, [("PER", "Ann".into()), ("ORG", "Acme".into())]);
    assert_eq!((said[0].classes().collect::<Vec<_>>(), said[1].classes().collect::<Vec<_>>()), (vec!["好"], vec!["a", "b"]));
    assert_eq!(documents[1].statements[0].labels[0].body.kind(), "others", "kept, though there is no word for it");
    let out = dir.path().join("b.json");
    assert!(write(Format::LabelStudio, &out, &documents, WriteOptions::default()).is_empty());
    assert_eq!(merged(&read(Format::LabelStudio, &out).documents)[0].statements.len(), 2);
}

/// Any text: emoji, combining marks, line ends of both kinds, Han.
fn text() -> impl Strategy<Value = String> {
    "([a-c ]|😀|👩\u{200d}🚀|e\u{301}|你|好|\r\n|\n|\t|\"|,|;){1,16}"
}

/// Spans that nest, cross and repeat, some in parts, with relations, classes and an attribute.
fn document() -> impl Strategy<Value = Document> {
    let spans = prop::collection::vec((any::<(u8, u8, u8, u8)>(), any::<bool>(), 0usize..3), 0..6);
    (text(), spans, prop::collection::vec(any::<(u8, u8)>(), 0..3), prop::collection::vec("[a-z好]{1,3}", 0..3)).prop_map(
        |(text, spans, relations, classes)| {
            let n = text.chars().count();
            let mut labels: Vec<Label> = classes.into_iter().map(|c| Label::new(Body::class(c))).collect();
            let mut ids = Vec::new();
            for (i, ((a, b, c, d), parts, kind)) in spans.into_iter().enumerate() {
                let mut cuts = [a, b, c, d].map(|x| x as usize % (n + 1));
                cuts.sort_unstable();
                let mut ranges = vec![[cuts[0], cuts[1].max(cuts[0] + 1).min(n)]];
                if parts && cuts[2] > ranges[0][1] && cuts[3] > cuts[2] {
                    ranges.push([cuts[2], cuts[3]]);
                }
                if ranges.iter().all(|[s, e]| s < e) {
                    let id = format!("T{}", i + 1);
                    ids.push(id.clone());
                    labels.push(Label::named(id, Body::Span { label: ["PER", "ORG", "地名"][kind].into(), ranges, surface: None }));
                }
            }
            if !ids.is_empty() {
                for (i, (a, b)) in relations.into_iter().enumerate() {
                    let end = |x: u8| ids[x as usize % ids.len()].clone();
                    let args = vec![("Arg1".to_owned(), end(a)), ("Arg2".to_owned(), end(b))];
                    labels.push(Label::named(format!("R{}", i + 1), Body::Relation { label: "rel".into(), args }));
                }
            }
            Document { text, statements: vec![Statement::human("", labels)], ..Document::default() }
        },
    )
}

/// What a document says, without names of labels and roles, which tools give themselves.
fn said(document: &Document, kinds: &[&str]) -> Vec<String> {
    let empty = Vec::new();
    let labels = document.statements.first().map_or(&empty, |s| &s.labels);
    let of = |id: &str| labels.iter().find(|l| l.id == id).map(|l| format!("{:?}", l.span()));
    let mut out: Vec<String> = labels
        .iter()
        .filter(|l| kinds.contains(&l.body.kind()))
        .map(|l| match &l.body {
            Body::Class { label, .. } => format!("class {label}"),
            Body::Span { label, ranges, .. } => format!("span {label} {ranges:?}"),
            Body::Relation { label, args } => format!("relation {label} {:?}", args.iter().map(|(_, id)| of(id)).collect::<Vec<_>>()),
            other => format!("{other:?}"),
        })
        .collect();
    out.sort();
    out
}

fn round_trip(format: Format, document: &Document) -> (Document, Losses) {
    let dir = tempfile::tempdir().unwrap();
    let path = match format {
        Format::Brat => dir.path().join("c"),
        Format::LabelStudio => dir.path().join("a.json"),
        _ => dir.path().join("a.jsonl"),
    };
    let losses = write(format, &path, std::slice::from_ref(document), WriteOptions::default());
    let found = read(format, &path);
    assert_eq!(found.bad, Vec::<String>::new());
    assert_eq!((found.repaired, found.losses.count("spans")), (0, 0), "{:?}", found.losses.list());
    (found.documents.into_iter().next().unwrap(), losses)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn our_lines_and_brat_keep_everything_they_can_say(document in document()) {
        let (again, losses) = round_trip(Format::Jsonl, &document);
        prop_assert!(losses.is_empty());
        prop_assert_eq!(&again.text, &document.text);
        let all = ["classes", "spans", "relations"];
        prop_assert_eq!(said(&again, &all), said(&document, &all));
        let (again, _) = round_trip(Format::Brat, &document);
        prop_assert_eq!(&again.text, &document.text);
        prop_assert_eq!(said(&again, &all[1..]), said(&document, &all[1..]));
    }

    #[test]
    fn tools_without_spans_in_parts_keep_the_others(mut document in document()) {
        for label in &mut document.statements[0].labels {
            if let Body::Span { ranges, .. } = &mut label.body {
                ranges.truncate(1);
            }
        }
        // Two regions of one stretch cannot both be the end of a relation in Prodigy: it names tokens.
        let all = ["classes", "spans", "relations"];
        for (format, kinds) in [(Format::Doccano, &all[..]), (Format::LabelStudio, &all[..]), (Format::Prodigy, &all[..2])] {
            let (again, losses) = round_trip(format, &document);
            prop_assert!(losses.is_empty(), "{:?}", losses.list());
            prop_assert_eq!(&again.text, &document.text);
            prop_assert_eq!(said(&again, kinds), said(&document, kinds), "{}", format);
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..120), json in "(\\{\"(text|label|spans|data|id)\":[\\[\\]0-9a\",:\\{\\}]{0,20}\\}\n?){0,3}") {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a.jsonl", "a.json", "a.csv", "a.txt", "a.ann"] {
            for content in [&bytes[..], json.as_bytes()] {
                let path = dir.path().join(name);
                fs::write(&path, content).unwrap();
                for format in Format::ALL {
                    if let Ok(rows) = open(format, &path, &ReadOptions::default()).and_then(|i| i.documents()) {
                        let _ = rows.count();
                    }
                }
            }
        }
    }
}
