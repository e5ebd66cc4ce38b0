//! CoNLL files as corpora have them: comments, line ends, numbered tokens, tags of every spelling. What is read is written again.

use std::fs;
use std::path::Path;

use dataset::labels::export::{WriteOptions, Writer};
use dataset::labels::import::{ReadOptions, open};
use dataset::labels::{Body, Document, Format, Label, Losses, surface};

struct Read {
    documents: Vec<Document>,
    bad: Vec<String>,
    losses: Losses,
}

fn read(text: &str) -> Read {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.conll");
    fs::write(&path, text).unwrap();
    let mut rows = open(Format::Conll, &path, &ReadOptions::default()).unwrap().documents().unwrap();
    let (mut documents, mut bad) = (Vec::new(), Vec::new());
    for row in &mut rows {
        match row {
            Ok(document) => documents.push(document),
            Err(dataset::import::RowError::Bad(row)) => bad.push(row.to_string()),
            Err(dataset::import::RowError::File(error)) => panic!("{error}"),
        }
    }
    Read { documents, bad, losses: rows.losses.clone() }
}

fn written(documents: &[Document]) -> (String, Losses) {
    let dir = tempfile::tempdir().unwrap();
    let path: &Path = &dir.path().join("b.conll");
    let mut writer = Writer::create(Format::Conll, path, WriteOptions::default()).unwrap();
    documents.iter().for_each(|d| writer.see(d, d.statements.first()));
    documents.iter().for_each(|d| writer.write(d, d.statements.first()).unwrap());
    let losses = writer.finish().unwrap();
    (fs::read_to_string(path).unwrap(), losses)
}

/// Texts with their spans as `TYPE surface`.
fn said(found: &Read) -> Vec<(String, Vec<String>)> {
    let one = |d: &Document| {
        let labels = d.statements.iter().flat_map(|s| &s.labels);
        let spans = labels.filter_map(Label::span).map(|(kind, ranges)| format!("{kind} {}", surface(&d.text, ranges).unwrap()));
        (d.text.clone(), spans.collect())
    };
    found.documents.iter().map(one).collect()
}

/// What these lines say, one document after the other; they come back byte for byte.
fn check(text: &str, want: &[(&str, &[&str])]) {
    let found = read(text);
    assert_eq!(found.bad, Vec::<String>::new(), "{text:?}");
    let want: Vec<(String, Vec<String>)> =
        want.iter().map(|(t, s)| ((*t).to_owned(), s.iter().map(|s| (*s).to_owned()).collect())).collect();
    assert_eq!(said(&found), want, "{text:?}");
    let (again, losses) = written(&found.documents);
    assert_eq!(again, text);
    assert!(losses.is_empty(), "{:?}", losses.list());
}

#[test]
fn comments_say_nothing_and_stay() {
    // Four columns with documents and Windows' line ends.
    check(
        "# made by hand\r\n-DOCSTART- -X- -X- O\r\n\r\n# first sentence\r\nAnn NNP B-NP B-PER\r\nruns VBZ B-VP O\r\n\r\nAcme NNP B-NP B-ORG\r\n\r\n",
        &[("Ann runs\nAcme", &["PER Ann", "ORG Acme"])],
    );
    // MultiCoNER: the comment's columns are not the lines'.
    check(
        "# id 52\tdomain=en\nAnn _ _ B-PER\nLee _ _ I-PER\n\n# id 53\tdomain=zh\n李 _ _ B-PER\n安 _ _ I-PER\n\n",
        &[("Ann Lee", &["PER Ann Lee"]), ("李 安", &["PER 李 安"])],
    );
    // GermEval: numbered tokens, outer and inner tags.
    check(
        "#\thttp://de.example.org/x [2009-10-17]\n1\tDie\tO\tO\n2\tAcme\tB-ORG\tO\n\n#\thttp://de.example.org/y [2010-01-02]\n1\tBonn\tB-LOC\tO\n\n",
        &[("Die Acme", &["ORG Acme"]), ("Bonn", &["LOC Bonn"])],
    );
    // Two columns; a token that is `#`, and one that begins so.
    check("# x\nAnn B-PER\n\n# 1 O\n# O\n1 O\n#Acme B-ORG\n\n# O\n", &[("Ann", &["PER Ann"]), ("# 1 #Acme", &["ORG #Acme"]), ("#", &[])]);
    // Comments alone at the end belong to what stands before them.
    check("Ann\tB-PER\n\n# the end\n", &[("Ann", &["PER Ann"])]);
    assert!(read("# nothing\n# here\n").documents.is_empty());
}

#[test]
fn universal_columns_are_texts() {
    let text = "# newdoc id = 1\n# text = Vámonos al mar.\n1-2\tVámonos\t_\t_\t_\t_\t_\t_\t_\t_\n1\tVamos\tir\tVERB\t_\t_\t0\troot\t_\t_\n2\tnos\tyo\tPRON\t_\t_\t1\tobj\t_\t_\n\
                3-4\tal\t_\t_\t_\t_\t_\t_\t_\t_\n3\ta\ta\tADP\t_\t_\t5\tcase\t_\t_\n4\tel\tel\tDET\t_\t_\t5\tdet\t_\t_\n5\tmar\tmar\tNOUN\t_\t_\t1\tobl\t_\tSpaceAfter=No\n\
                6\t.\t.\tPUNCT\t_\t_\t1\tpunct\t_\t_\n\n# text = 好。\n1\t好\t好\tADJ\t_\t_\t0\troot\t_\tSpaceAfter=No\n2\t。\t。\tPUNCT\t_\t_\t1\tpunct\t_\t_\n\n";
    check(text, &[("Vámonos al mar.", &[]), ("好。", &[])]);
    let found = read(text);
    assert!(found.documents.iter().all(|d| d.statements.is_empty()), "no column of it is a tag");
    assert_eq!((found.losses.count("columns"), found.losses.count("white space")), (2, 0));
}

#[test]
fn tags_of_every_spelling_keep_their_types() {
    check(
        "Ann PER\nLee PER\nruns O\nAcme ORG\n\n李 PER\n在 o\n北京 LOC\n\n",
        &[("Ann Lee runs Acme", &["PER Ann Lee", "ORG Acme"]), ("李 在 北京", &["PER 李", "LOC 北京"])],
    );
    check("Ann B_PER\nLee I_PER\nBo B_PER\n\n", &[("Ann Lee Bo", &["PER Ann Lee", "PER Bo"])]);
    check("王 B-NAME\n小 M-NAME\n明 E-NAME\n\n", &[("王 小 明", &["NAME 王 小 明"])]);
    check("Ann B\nLee I\nruns O\nBo B-\n\n", &[("Ann Lee runs Bo", &["span Ann Lee", "span Bo"])]);
    assert_eq!(read("Ann B\nLee I\nruns O\nBo B-\n\n").losses.count("types"), 2, "that they have none is said");
    for (text, reason) in [
        ("a O\nb 0\n", "a.conll:2: \"0\" is no tag"),
        ("# c\n\na (A0*\n", "a.conll:3: \"(A0*\" is no tag"),
        ("a\tB-X\nb\t\n", "a.conll:2: a token without a tag"),
    ] {
        let found = read(text);
        assert!(found.documents.is_empty() && found.bad[0].starts_with(reason), "{:?}", found.bad);
    }
}

#[test]
fn tabs_and_ascii_spaces_alone_separate() {
    check("Ann\tB-PER\t\nruns\tO\t\n\n", &[("Ann runs", &["PER Ann"])]);
    check("10\u{a0}km B-Q\n全\u{3000}角 O\n\n", &[("10\u{a0}km 全\u{3000}角", &["Q 10\u{a0}km"])]);
    check("Ann  B-PER\nruns   O", &[("Ann runs", &["PER Ann"])]);
}

#[test]
fn only_tags_that_changed_are_written_anew() {
    let mut found = read("# c\r\nAnn  x PER\r\nruns x o\r\n\r\n# d\r\nBo x PER\r\n");
    found.documents[0].statements[0].labels = vec![Label::new(Body::span("PER", 0, 3)), Label::new(Body::span("VERB", 4, 8))];
    let (text, losses) = written(&found.documents);
    assert_eq!(text, "# c\r\nAnn  x PER\r\nruns x VERB\r\n\r\n# d\r\nBo x PER\r\n");
    assert!(losses.is_empty());
    // The last lines of a file may end anywhere: what follows still begins a document.
    found.documents.reverse();
    let (text, _) = written(&found.documents);
    assert_eq!(said(&read(&text)).len(), 2, "{text:?}");
    // IO cannot say where one of two neighbours ends, nor any tag an empty type.
    found.documents[1].statements[0].labels = vec![Label::new(Body::span("A", 0, 3)), Label::new(Body::span("A", 4, 8))];
    assert_eq!(written(&found.documents).1.count("borders of spans"), 1);
    found.documents[1].statements[0].labels = vec![Label::new(Body::span("", 0, 3))];
    let (text, losses) = written(&found.documents);
    assert!(text.contains("Ann  x span") && losses.count("types") == 1, "{text}");
}
