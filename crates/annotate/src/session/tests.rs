//! Keys in, effects and screens out.

use super::screen::{piece, wrap};
use super::*;
use dataset::labels::Document;

fn entry(id: i64, text: &str, statements: Vec<Statement>) -> Entry {
    let actions = (0..statements.len() as i64).collect();
    Entry {
        id,
        source: "s".into(),
        actions,
        document: Document { row: id.to_string(), text: text.into(), statements, ..Document::default() },
    }
}

fn type_in(session: &mut Session, keys: &str) -> Vec<Effect> {
    keys.chars()
        .flat_map(|c| {
            session.key(match c {
                '\n' => Key::Enter,
                '\t' => Key::Next,
                '\u{8}' => Key::Backspace,
                c => Key::Char(c),
            })
        })
        .collect()
}

fn classes(effects: &[Effect]) -> Vec<(i64, Vec<&str>, Answer)> {
    let said = effects.iter().filter_map(|e| match e {
        Effect::Say { document, statements } => Some((*document, statements[0].classes().collect(), statements[0].answer)),
        _ => None,
    });
    said.collect()
}

#[test]
fn a_class_is_one_key() {
    let entries = (1..=4).map(|i| entry(i, "文字", vec![])).collect();
    let mut session = Session::new(Task::Class, "kim", entries, vec!["neg".into(), "pos".into()]);
    let effects = type_in(&mut session, "29s1");
    assert_eq!(classes(&effects), [(1, vec!["pos"], Answer::Accept), (2, vec![], Answer::Ignore), (3, vec!["neg"], Answer::Accept)]);
    assert_eq!(session.progress(), (3, 4));
    let effects = type_in(&mut session, "u1/ne\n/new one\nq");
    assert_eq!(effects[0], Effect::Undo);
    assert_eq!(
        classes(&effects),
        [(3, vec!["neg"], Answer::Accept), (4, vec!["neg"], Answer::Accept), (4, vec!["new one"], Answer::Accept)]
    );
    assert_eq!(effects.last(), Some(&Effect::Quit));
}

#[test]
fn what_machines_propose_is_shown_and_what_people_chose_is_not() {
    let machine =
        |labels: Vec<Label>| Statement { author: Author { kind: AuthorKind::Model, name: "m".into() }, labels, ..Statement::default() };
    let class = |name: &str| Label::new(Body::class(name));
    let span = || Label::named("T1", Body::span("PER", 0, 2));
    let shown = |statements: Vec<Statement>| {
        let session = Session::new(Task::Class, "kim", vec![entry(1, "李安来了", statements)], vec!["好".into(), "坏".into()]);
        session.screen(80).text().matches("proposed\n").count()
    };
    // Another person's spans do not hide a machine's class; a machine's spans do not show another person's class.
    assert_eq!(shown(vec![machine(vec![class("好")]), Statement::human("lee", vec![span()])]), 1);
    assert_eq!(shown(vec![machine(vec![span()]), Statement::human("lee", vec![class("好")])]), 0);
}

#[test]
fn several_classes_are_switched_and_sent() {
    let mut session = Session::new(Task::Classes, "", vec![entry(1, "t", vec![])], vec!["a".into(), "b".into(), "c".into()]);
    let effects = type_in(&mut session, "1231\n");
    assert_eq!(classes(&effects), [(1, vec!["b", "c"], Answer::Accept)]);
}

fn spans() -> Statement {
    let args = vec![("a".to_owned(), "T1".to_owned()), ("b".to_owned(), "T2".to_owned())];
    let labels = vec![
        Label::named("T2", Body::span("ORG", 9, 13)),
        Label::named("T1", Body::span("PER", 0, 3)),
        Label::named("T3", Body::span("PER", 4, 8)),
        Label::named("R1", Body::Relation { label: "runs".into(), args }),
    ];
    Statement { author: Author { kind: AuthorKind::Model, name: "m".into() }, labels, ..Statement::default() }
}

#[test]
fn spans_are_confirmed_and_relations_follow() {
    let mut session = Session::new(Task::Spans, "kim", vec![entry(1, "Ann runs Acme", vec![spans()])], vec!["CO".into()]);
    assert!(session.screen(80).text().contains("?   PER: Ann"));
    assert_eq!(type_in(&mut session, "yx\n"), [], "what is undecided is asked for");
    let effects = type_in(&mut session, "1\n");
    let Effect::Say { statements, .. } = &effects[0] else { panic!() };
    let said: Vec<_> = statements[0].labels.iter().map(|l| (l.id.as_str(), l.span().map(|s| s.0))).collect();
    assert_eq!(said, [("T1", Some("PER")), ("T2", Some("CO")), ("R1", None)]);
    assert_eq!((statements[1].answer, statements[1].labels[0].id.as_str()), (Answer::Reject, "T3"));
    let mut session = Session::new(Task::Spans, "kim", vec![entry(1, "Ann runs Acme", vec![spans()])], vec![]);
    let effects = type_in(&mut session, "xa\n");
    let Effect::Say { statements, .. } = &effects[0] else { panic!() };
    assert_eq!(statements[0].labels.len(), 2, "a relation falls with its end");
}

/// What is said of the only document: type, range and text of each span; and what is rejected.
fn drawn(text: &str, statements: Vec<Statement>, classes: &[&str], keys: &str) -> (Vec<(String, [usize; 2], String)>, usize) {
    let classes = classes.iter().map(|c| (*c).to_owned()).collect();
    let mut session = Session::new(Task::Spans, "kim", vec![entry(1, text, statements)], classes);
    let effects = type_in(&mut session, keys);
    let [Effect::Say { statements, .. }] = &effects[..] else { panic!("{effects:?}: {}", session.screen(80).text()) };
    let of = |label: &Label| {
        let (name, ranges) = label.span()?;
        Some((name.to_owned(), ranges[0], dataset::labels::surface(text, ranges)?))
    };
    (statements[0].labels.iter().filter_map(of).collect(), statements.get(1).map_or(0, |s| s.labels.len()))
}

fn said(name: &str, range: [usize; 2], text: &str) -> (String, [usize; 2], String) {
    (name.to_owned(), range, text.to_owned())
}

#[test]
fn spans_are_drawn_by_word_and_character() {
    let text = "Ann Lee runs Acme Ltd. in Rome.";
    let classes = ["PER", "ORG", "LOC"];
    // The first word to the end of the second; the fourth and fifth; the last word alone, which is under the cursor.
    let (spans, rejected) = drawn(text, vec![], &classes, "d we1ww ee2\t\nd\tGh3\n\n");
    assert_eq!(rejected, 0);
    assert_eq!(spans, [said("PER", [0, 7], "Ann Lee"), said("ORG", [13, 21], "Acme Ltd"), said("LOC", [26, 30], "Rome")]);
    // By characters, backwards too; the mark is dropped and set anew; a new type is typed.
    let (spans, _) = drawn(text, vec![], &[], "dw  lhe hh/ORG PART\n\n\n");
    assert_eq!(spans, [said("ORG PART", [4, 7], "Lee")]);
    // What was drawn last goes; the same span twice is one.
    let (spans, _) = drawn(text, vec![], &classes, "d1w2\u{8}bb11\n\n");
    assert_eq!(spans, [said("PER", [0, 3], "Ann")]);
}

#[test]
fn spans_are_drawn_in_chinese_by_words_sentences_and_characters() {
    let text = "第一条　甲方支付租金。\r\n第二条　押金为两个月租金。";
    let (spans, _) = drawn(text, vec![], &["方", "款", "数"], "dw1\tw2w le3\n\n");
    assert_eq!(spans, [said("方", [4, 6], "甲方"), said("款", [17, 19], "押金"), said("数", [19, 22], "为两个")]);
    // The cursor does not rest on line ends: from the full stop one step leads to the next line.
    let (spans, _) = drawn(text, vec![], &["方"], &format!("d{} l1\n\n", "l".repeat(10)));
    assert_eq!(spans, [said("方", [10, 14], "。\r\n第")]);
}

#[test]
fn drawn_and_proposed_spans_are_said_together() {
    // T1 and T2 of a machine are kept, T3 is rejected; what is drawn has a name of its own, and its relation stands.
    let mut session = Session::new(Task::Spans, "kim", vec![entry(1, "Ann runs Acme", vec![spans()])], vec!["X".into()]);
    let said = |effects: &[Effect]| -> (Vec<String>, Vec<String>) {
        let [Effect::Say { statements, .. }] = effects else { panic!("{effects:?}") };
        let ids = |i: usize| statements.get(i).map(|s| s.labels.iter().map(|l| l.id.clone()).collect()).unwrap_or_default();
        (ids(0), ids(1))
    };
    let (ids, rejected) = said(&type_in(&mut session, "yxyd\td\n"));
    assert_eq!((ids.join(" "), rejected.join(" ")), ("T1 T2 R1".into(), "T3".into()), "leaving by d draws nothing");
    type_in(&mut session, "u");
    let (ids, rejected) = said(&type_in(&mut session, "yxydgw1\n\n"));
    assert_eq!((ids.join(" "), rejected.join(" ")), ("T1 T4 T2 R1".into(), "T3".into()));
    // Taken back, what was drawn is gone; `x` on one's own span takes it away and rejects nothing.
    assert_eq!(type_in(&mut session, "u"), [Effect::Undo]);
    assert!(!session.screen(80).text().contains("X: runs"));
    type_in(&mut session, "yxydgw1\n");
    assert!(session.screen(80).text().contains("yes  X: runs"), "{}", session.screen(80).text());
    let (ids, rejected) = said(&type_in(&mut session, "x\n"));
    assert_eq!((ids.join(" "), rejected.join(" ")), ("T1 T2 R1".into(), "T3".into()));
}

#[test]
fn the_cursor_stays_on_the_screen() {
    let text = (0..60).map(|i| format!("line {i}\n")).collect::<String>();
    let mut session = Session::new(Task::Spans, "", vec![entry(1, &text, vec![])], vec!["A".into()]);
    assert_eq!(session.screen(40).fit(12).lines.len(), 12);
    assert!(session.screen(40).fit(12).text().contains("line 0"));
    type_in(&mut session, "d\t\t");
    for lines in [8, 12, 20] {
        type_in(&mut session, &"w".repeat(20));
        let shown = session.screen(40).fit(lines);
        assert!(shown.lines.len() <= lines);
        assert!(shown.lines.iter().take(lines / 2 + 1).flatten().any(|p| p.style == Style::Cursor), "{}", shown.text());
        assert!(shown.text().contains("digit or / marks"), "{}", shown.text());
    }
    let short = session.screen(40);
    assert_eq!(short.fit(500), short);
}

#[test]
fn a_dispute_is_settled_by_number() {
    let class = |who: &str, c: &str| Statement::human(who, vec![Label::new(Body::class(c))]);
    let entries = vec![entry(1, "t", vec![class("a", "x"), class("b", "y"), class("c", "y")])];
    let mut session = Session::new(Task::Adjudicate, "judge", entries, vec![]);
    assert!(session.screen(80).text().contains("2  y  b, c"), "{}", session.screen(80).text());
    let effects = type_in(&mut session, "2");
    let Effect::Say { statements, .. } = &effects[0] else { panic!() };
    assert_eq!((statements[0].author.kind, statements[0].classes().next()), (AuthorKind::Adjudicator, Some("y")));
}

#[test]
fn nothing_to_do_and_wrong_keys_are_said() {
    let mut session = Session::new(Task::Class, "", vec![], vec![]);
    assert_eq!(type_in(&mut session, "1s\nupn"), []);
    assert!(session.screen(10).text().contains("nothing waits"));
    let mut session = Session::new(Task::Class, "", vec![entry(1, "t", vec![])], vec![]);
    assert_eq!(type_in(&mut session, "7\n"), []);
    assert!(session.screen(40).text().contains("nothing is proposed"));
}

#[test]
fn texts_are_wrapped_by_columns() {
    let lines = |text: &str, width| -> Vec<String> {
        wrap(&[piece(text, Style::Plain)], width).iter().map(|l| l.iter().map(|p| p.text.clone()).collect()).collect()
    };
    assert_eq!(lines("one two three", 8), ["one two ", "three"]);
    assert_eq!(lines("你好世界", 4), ["你好", "世界"]);
    assert_eq!(lines("a\n\nb", 10), ["a", "", "b"]);
    assert_eq!(lines("abcdef", 2), ["ab", "cd", "ef"]);
    assert_eq!(lines("你", 1), ["你"]);
}
