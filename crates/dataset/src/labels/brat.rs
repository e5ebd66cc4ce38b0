//! brat standoff: `NAME.txt` and `NAME.ann`, one annotation a line.
//!
//! Lines are kept as they are: what nobody touched is written back byte for byte (odd white space, unsorted ids, legacy letters), what
//! was edited is rewritten where it stood, what is new comes last.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{Body, Format, Label, Losses, Native, Range, Statement, Surface, count_unsayable, fresh_id, native_of, surface};

/// What a file of annotations says, and per line whether it says it.
#[derive(Debug, Clone, Default)]
pub struct Parsed {
    /// Each line with its end; the label that it is, if it is one that we understand.
    pub lines: Vec<(String, Option<Label>)>,
    /// Lines that were not understood: number and reason.
    pub odd: Vec<(usize, String)>,
}

/// Takes a file of annotations apart. No line is an error: one that is not understood is kept and named.
pub fn parse(ann: &str) -> Parsed {
    let mut parsed = Parsed::default();
    for (i, line) in ann.split_inclusive('\n').enumerate() {
        let body = line.trim_end_matches(['\n', '\r']);
        let label = if body.trim().is_empty() {
            None
        } else {
            match parse_line(body) {
                Ok(label) => Some(label),
                Err(reason) => {
                    parsed.odd.push((i + 1, reason));
                    None
                }
            }
        };
        parsed.lines.push((line.to_owned(), label));
    }
    parsed
}

fn parse_line(line: &str) -> Result<Label, String> {
    let mut columns = line.splitn(3, '\t');
    let id = columns.next().unwrap_or_default().trim();
    let middle = columns.next().ok_or("no tab after the id")?;
    let last = columns.next();
    let words: Vec<&str> = middle.split_whitespace().collect();
    let kind = words.first().copied().ok_or("nothing after the id")?;
    let number = id.get(1..).unwrap_or_default();
    if id != "*" && (number.is_empty() || number.contains(char::is_whitespace) || id.starts_with('*')) {
        return Err(format!("{id:?} is no id: one is a letter and a number"));
    }
    let body = match id.chars().next() {
        Some('T') => {
            let ranges = ranges(&words[1..]).ok_or("the offsets are not `start end`, or several of them with `;` between")?;
            let said = last.map(|text| Surface { text: text.to_owned(), loose: false });
            Body::Span { label: kind.to_owned(), ranges, surface: said }
        }
        Some('R') => Body::Relation { label: kind.to_owned(), args: args(&words[1..])? },
        Some('E') => {
            let (label, trigger) = kind.split_once(':').ok_or("an event is written Type:trigger")?;
            Body::Event { label: label.to_owned(), trigger: trigger.to_owned(), args: args(&words[1..])? }
        }
        Some(letter @ ('A' | 'M')) => {
            let target = words.get(1).ok_or("the attribute has no target")?;
            let value = (words.len() > 2).then(|| words[2..].join(" "));
            Body::Attribute { label: kind.to_owned(), target: (*target).to_owned(), value, legacy: letter == 'M' }
        }
        Some('*') => {
            let members: Vec<String> = words[1..].iter().map(|w| (*w).to_owned()).collect();
            if members.is_empty() {
                return Err("the line has no members".into());
            }
            Body::Equiv { label: kind.to_owned(), members }
        }
        Some('N') => {
            let [_, target, entry, ..] = words[..] else { return Err("a normalisation needs a target and an entry".into()) };
            let text = last.unwrap_or_default().to_owned();
            Body::Normalisation { label: kind.to_owned(), target: target.to_owned(), entry: entry.to_owned(), text }
        }
        Some('#') => {
            let target = words.get(1).copied().unwrap_or_default();
            Body::Note { label: kind.to_owned(), target: target.to_owned(), text: last.unwrap_or_default().to_owned() }
        }
        _ => return Err(format!("{id:?} begins with none of the letters T R E A M N # *")),
    };
    // `*` is no name.
    let id = if id.starts_with('*') { String::new() } else { id.to_owned() };
    let mut label = Label { id, body, native: Map::new() };
    if let Body::Note { .. } | Body::Normalisation { .. } = label.body
        && last.is_none()
    {
        label.native.insert("no_text".into(), true.into());
    }
    Ok(label)
}

fn ranges(words: &[&str]) -> Option<Vec<Range>> {
    let joined = words.join(" ");
    joined
        .split(';')
        .map(|part| {
            let mut bounds = part.split_whitespace().map(|word| word.parse().ok());
            match (bounds.next(), bounds.next(), bounds.next()) {
                (Some(Some(start)), Some(Some(end)), None) => Some([start, end]),
                _ => None,
            }
        })
        .collect()
}

fn args(words: &[&str]) -> Result<Vec<(String, String)>, String> {
    words
        .iter()
        .map(|word| {
            let (role, id) = word.split_once(':').ok_or_else(|| format!("{word:?} is not written role:id"))?;
            Ok((role.to_owned(), id.to_owned()))
        })
        .collect()
}

/// The statement that a file of annotations is: its labels, and the file itself.
pub fn statement(ann: &str, parsed: &Parsed, mut statement: Statement) -> Statement {
    statement.labels = parsed.lines.iter().filter_map(|(_, label)| label.clone()).collect();
    statement.native = Native::new(Format::Brat, Map::from_iter([("ann".to_owned(), Value::from(ann))]));
    statement
}

const SAYABLE: [&str; 7] = ["spans", "relations", "events", "attributes", "equivs", "notes", "normalisations"];

/// The file of annotations for the current labels of a text.
pub fn write(text: &str, statement: &Statement, losses: &mut Losses) -> String {
    count_unsayable(losses, statement, Format::Brat, &SAYABLE);
    let original = native_of(&statement.native, Format::Brat).and_then(|f| f.get("ann")).and_then(Value::as_str).unwrap_or_default();
    let parsed = parse(original);
    let labels = named(&statement.labels);
    let mut left: Vec<Option<&Label>> = labels.iter().map(Some).collect();
    let mut by_id: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (i, label) in labels.iter().enumerate().filter(|(_, l)| !l.id.is_empty()) {
        by_id.entry(&label.id).or_default().push(i);
    }
    let unused: Vec<&str> = native_of(&statement.native, Format::Brat)
        .and_then(|f| f.get("unused")?.as_array())
        .map_or_else(Vec::new, |list| list.iter().filter_map(Value::as_str).collect());
    let mut out = String::with_capacity(original.len());
    for (line, label) in &parsed.lines {
        let Some(label) = label else {
            out.push_str(line);
            continue;
        };
        // A line stands for the label of the same name, or, where lines have none, of the same content.
        let at = if label.id.is_empty() {
            labels.iter().enumerate().position(|(i, l)| left[i].is_some() && same(l, label))
        } else {
            // A file may give one name twice: the label that says the same comes first.
            let left = || by_id.get(label.id.as_str()).into_iter().flatten().copied().filter(|&i| left[i].is_some());
            left().find(|&i| same(&labels[i], label)).or_else(|| left().next())
        };
        let Some(now) = at.and_then(|i| left[i].take()) else {
            // A line that could not be used is not one that somebody deleted.
            if unused.contains(&tag(label).as_str()) {
                out.push_str(line);
            }
            continue;
        };
        if same(now, label) {
            out.push_str(line);
        } else if let Some(new) = format_label(text, now) {
            let end = if line.ends_with("\r\n") { "\r\n" } else { "\n" };
            out.push_str(&new);
            out.push_str(end);
        }
    }
    for label in left.into_iter().flatten() {
        if let Some(line) = format_label(text, label) {
            if !out.is_empty() && !out.ends_with('\n') {
                out.push('\n');
            }
            out.push_str(&line);
            out.push('\n');
        }
    }
    out
}

/// How a line is recognised: by its name, or by what it says where it has none.
pub(super) fn tag(label: &Label) -> String {
    match &label.body {
        Body::Equiv { label, members } => format!("* {label} {}", members.join(" ")),
        _ => label.id.clone(),
    }
}

/// Whether a label says what a line says; the line's surface is no part of it, and offsets were settled for both alike.
fn same(now: &Label, line: &Label) -> bool {
    match (&now.body, &line.body) {
        (Body::Span { label: a, ranges: x, .. }, Body::Span { label: b, ranges: y, .. }) => a == b && x == y,
        (a, b) => a == b,
    }
}

/// The labels with brat's kind of names: `T1`, `R1`, … where they have others or none, references with them.
fn named(labels: &[Label]) -> Vec<Label> {
    let fits = |label: &Label| {
        let letters: &[char] = match label.body {
            Body::Span { .. } => &['T'],
            Body::Relation { .. } => &['R'],
            Body::Event { .. } => &['E'],
            Body::Attribute { .. } => &['A', 'M'],
            Body::Note { .. } => &['#'],
            Body::Normalisation { .. } => &['N'],
            _ => return true,
        };
        label.id.strip_prefix(letters).is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace))
    };
    let mut taken: BTreeSet<String> = labels.iter().filter(|l| fits(l)).map(|l| l.id.clone()).collect();
    let mut renamed: BTreeMap<String, String> = BTreeMap::new();
    let mut labels = labels.to_vec();
    for label in labels.iter_mut().filter(|l| !fits(l)) {
        let letter = match label.body {
            Body::Span { .. } => "T",
            Body::Relation { .. } => "R",
            Body::Event { .. } => "E",
            Body::Attribute { .. } => "A",
            Body::Note { .. } => "#",
            _ => "N",
        };
        let id = fresh_id(&mut taken, letter);
        let before = std::mem::replace(&mut label.id, id.clone());
        if !before.is_empty() {
            renamed.insert(before, id);
        }
    }
    if renamed.is_empty() {
        return labels;
    }
    let rename = |id: &mut String| {
        if let Some(new) = renamed.get(id) {
            id.clone_from(new);
        }
    };
    for label in &mut labels {
        match &mut label.body {
            Body::Relation { args, .. } => args.iter_mut().for_each(|(_, id)| rename(id)),
            Body::Event { trigger, args, .. } => {
                rename(trigger);
                args.iter_mut().for_each(|(_, id)| rename(id));
            }
            Body::Attribute { target, .. } | Body::Note { target, .. } | Body::Normalisation { target, .. } => rename(target),
            Body::Equiv { members, .. } => members.iter_mut().for_each(rename),
            _ => {}
        }
    }
    labels
}

/// A type as brat can write it: without white space.
fn word(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_whitespace() { '_' } else { c }).collect();
    if text.is_empty() { "Untyped".to_owned() } else { text }
}

/// A text on one line.
fn flat(text: &str) -> String {
    text.replace("\r\n", "  ").replace(['\r', '\n', '\t'], " ")
}

fn format_label(text: &str, label: &Label) -> Option<String> {
    let id = &label.id;
    let args = |args: &[(String, String)]| args.iter().map(|(role, id)| format!(" {}:{id}", word(role))).collect::<String>();
    Some(match &label.body {
        Body::Span { label, ranges, .. } => {
            let offsets: Vec<String> = ranges.iter().map(|[start, end]| format!("{start} {end}")).collect();
            format!("{id}\t{} {}\t{}", word(label), offsets.join(";"), flat(&surface(text, ranges)?))
        }
        Body::Relation { label, args: given } => format!("{id}\t{}{}", word(label), args(given)),
        Body::Event { label, trigger, args: given } => format!("{id}\t{}:{trigger}{}", word(label), args(given)),
        Body::Attribute { label, target, value, .. } => {
            format!("{id}\t{} {target}{}", word(label), value.as_ref().map(|v| format!(" {}", flat(v))).unwrap_or_default())
        }
        Body::Equiv { label, members } => format!("*\t{} {}", word(label), members.join(" ")),
        Body::Note { label, target, text } => format!("{id}\t{} {target}\t{}", word(label), flat(text)),
        Body::Normalisation { label, target, entry, text } => format!("{id}\t{} {target} {}\t{}", word(label), word(entry), flat(text)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::Author;
    use super::*;
    use proptest::prelude::*;

    /// Every trap of the format in one file: unsorted ids, double spaces, trailing blanks and tabs, a discontinuous span, events that
    /// refer forward, legacy attributes, an Equiv of three, a note with leading spaces, an odd line, CRLF, no final newline.
    const TRAPS: &str = "T10\tPerson 0 7\tAnn Lee\nT2\tOrg  12 16 \tAcme\r\nE1\tHire:T3 Who:T10 To:T2 \nR1\tWorks-for Arg1:T10 Arg2:T2\t\n\
                         T3\tHired 8 11;17 22\tran there\nM1\tSpeculation E1\nA1\tConfidence E1 Likely\n*\tEquiv T10 T2 T3\n\n\
                         N1\tReference T2 Wiki:123\tAcme\n#1\tAnnotatorNotes T10\t   check\nX what is this\n#2\tAnnotatorNotes E1";

    fn of(ann: &str) -> Statement {
        let mut statement = statement(ann, &parse(ann), Statement::default());
        statement.labels.iter_mut().for_each(|l| {
            if let Body::Span { surface, .. } = &mut l.body {
                *surface = None;
            }
        });
        statement
    }

    const TEXT: &str = "Ann Lee ran Acme there now";

    #[test]
    fn what_nobody_touched_is_written_byte_for_byte() {
        let mut losses = Losses::default();
        assert_eq!(write(TEXT, &of(TRAPS), &mut losses), TRAPS);
        assert!(losses.is_empty());
        assert_eq!(parse(TRAPS).odd.len(), 1);
        let note = parse(TRAPS).lines.iter().filter_map(|(_, l)| l.clone()).find(|l| l.id == "#1").unwrap();
        assert_eq!(note.body, Body::Note { label: "AnnotatorNotes".into(), target: "T10".into(), text: "   check".into() });
    }

    #[test]
    fn an_edit_leaves_the_other_lines_and_their_order() {
        let mut now = of(TRAPS);
        now.labels.retain(|l| l.id != "R1");
        for label in &mut now.labels {
            if label.id == "T2" {
                label.body = Body::span("Company", 12, 16);
            }
        }
        now.labels.push(Label::new(Body::span("When", 23, 26)));
        let written = write(TEXT, &now, &mut Losses::default());
        let expected =
            TRAPS.replace("T2\tOrg  12 16 \tAcme\r\n", "T2\tCompany 12 16\tAcme\r\n").replace("R1\tWorks-for Arg1:T10 Arg2:T2\t\n", "")
                + "\nT1\tWhen 23 26\tnow\n";
        assert_eq!(written, expected);
    }

    #[test]
    fn foreign_names_become_brats_with_what_refers_to_them() {
        let labels = vec![
            Label::named("x", Body::Span { label: "a type".into(), ranges: vec![[0, 3], [4, 7]], surface: None }),
            Label::new(Body::Relation { label: "r".into(), args: vec![("from".into(), "x".into()), ("to".into(), "x".into())] }),
            Label::new(Body::class("news")),
        ];
        let statement = Statement { author: Author::default(), labels, ..Statement::default() };
        let mut losses = Losses::default();
        assert_eq!(write(TEXT, &statement, &mut losses), "T1\ta_type 0 3;4 7\tAnn Lee\nR1\tr from:T1 to:T1\n");
        assert_eq!(losses.count("classes"), 1);
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_and_written_back(ann in "([TREAMN#*][0-9]{0,2}[\t ]{0,2}[A-Z:a-z ]{0,6} ?[0-9; ]{0,6}[\t ]?\\PC{0,4}\r?\n?){0,5}") {
            prop_assert_eq!(write(TEXT, &of(&ann), &mut Losses::default()), ann);
        }
    }
}
