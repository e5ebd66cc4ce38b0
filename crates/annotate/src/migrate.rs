//! What was said of a text, carried to another version of it: ranges move with their characters, and what cannot move is counted.

use std::collections::BTreeSet;

use dataset::labels::{Body, Label, Losses, Range, Statement, surface};

/// A statement on the new version of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Carried {
    /// What is said of the new text.
    pub statement: Statement,
    /// Spans that are carried and read otherwise than before.
    pub changed: usize,
}

/// Carries a statement from `old` to `new`; `place` says where a range of the old text is in the new one. A span of which a part is gone,
/// and what refers to it, is left out and counted.
pub fn carry(statement: &Statement, old: &str, new: &str, place: &dyn Fn(Range) -> Option<Range>, losses: &mut Losses) -> Carried {
    let mut changed = 0;
    let mut labels: Vec<Label> = Vec::new();
    let mut gone: BTreeSet<&str> = BTreeSet::new();
    for label in &statement.labels {
        match moved(&label.body, place) {
            Ok(body) => {
                if let (Body::Span { ranges: before, .. }, Body::Span { ranges: after, .. }) = (&label.body, &body) {
                    changed += usize::from(surface(old, before) != surface(new, after));
                }
                labels.push(Label { body, ..label.clone() });
            }
            Err(reason) => {
                losses.add(label.body.kind(), 1, reason);
                if !label.id.is_empty() {
                    gone.insert(&label.id);
                }
            }
        }
    }
    // What refers to something that is gone goes, too, and so on.
    let mut gone: BTreeSet<String> = gone.into_iter().map(str::to_owned).collect();
    loop {
        let before = labels.len();
        labels.retain(|label| {
            let stands = !label.body.refers_to().iter().any(|id| gone.contains(*id));
            if !stands {
                losses.add(label.body.kind(), 1, "what they refer to is gone");
                if !label.id.is_empty() {
                    gone.insert(label.id.clone());
                }
            }
            stands
        });
        if labels.len() == before {
            break;
        }
    }
    if let Some(native) = &statement.native {
        losses.add("fields", 1, format!("only {} understands them, and they hold for the former text", native.format));
    }
    Carried { statement: Statement { labels, native: None, ..statement.clone() }, changed }
}

/// A label's body at its new place, or why there is none.
fn moved(body: &Body, place: &dyn Fn(Range) -> Option<Range>) -> Result<Body, &'static str> {
    Ok(match body {
        Body::Span { label, ranges, .. } => {
            let found: Vec<Range> = ranges.iter().filter_map(|range| place(*range)).collect();
            match found.len() {
                0 => return Err("the text that they mark is gone"),
                n if n < ranges.len() => return Err("a part of the text that they mark is gone"),
                _ => Body::Span { label: label.clone(), ranges: found, surface: None },
            }
        }
        // The answer stands by itself; the places that say so are there or not.
        Body::Qa { question, answer, ranges } => {
            let ranges = ranges.iter().filter_map(|range| place(*range)).collect();
            Body::Qa { question: question.clone(), answer: answer.clone(), ranges }
        }
        Body::Other { .. } => return Err("only their format understands them, and they hold for the former text"),
        body => body.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataset::labels::{Author, AuthorKind};

    #[test]
    fn spans_move_and_what_hangs_on_lost_ones_goes_with_them() {
        // "Ann  rings 12345 甲方" -> "Ann rings [PHONE] " with 甲方 cut away.
        let (old, new) = ("Ann  rings 12345 甲方", "Ann rings [PHONE] ");
        let place = |[start, end]: Range| match (start, end) {
            (0, 3) => Some([0, 3]),
            (5, 10) => Some([4, 9]),
            (11, 16) => Some([10, 17]),
            _ => None,
        };
        let args = |a: &str, b: &str| vec![("x".to_owned(), a.to_owned()), ("y".to_owned(), b.to_owned())];
        let labels = vec![
            Label::new(Body::class("call")),
            Label::named("T1", Body::span("PER", 0, 3)),
            Label::named("T2", Body::span("NUM", 11, 16)),
            Label::named("T3", Body::span("ORG", 17, 19)),
            Label::named("T4", Body::Span { label: "P".into(), ranges: vec![[0, 3], [17, 19]], surface: None }),
            Label::named("R1", Body::Relation { label: "has".into(), args: args("T1", "T2") }),
            Label::named("R2", Body::Relation { label: "of".into(), args: args("T1", "T3") }),
            Label::new(Body::Note { label: "n".into(), target: "R2".into(), text: "hm".into() }),
            Label::new(Body::Qa { question: "who?".into(), answer: "甲方".into(), ranges: vec![[17, 19]] }),
        ];
        let author = Author { kind: AuthorKind::Teacher, name: "t".into() };
        let said = Statement { author, labels, confidence: Some(0.5), ..Statement::default() };
        let mut losses = Losses::default();
        let carried = carry(&said, old, new, &place, &mut losses);
        assert_eq!(carried.changed, 1, "the number is masked now");
        let kinds: Vec<&str> = carried.statement.labels.iter().map(|l| l.body.kind()).collect();
        assert_eq!(kinds, ["classes", "spans", "spans", "relations", "questions"]);
        assert_eq!(carried.statement.labels[2].span(), Some(("NUM", &[[10, 17]][..])));
        assert_eq!((carried.statement.confidence, carried.statement.author.name.as_str()), (Some(0.5), "t"));
        let lost: Vec<(String, usize)> = losses.list().into_iter().map(|l| (format!("{}: {}", l.what, l.reason), l.count)).collect();
        let want = [
            ("notes: what they refer to is gone", 1),
            ("relations: what they refer to is gone", 1),
            ("spans: a part of the text that they mark is gone", 1),
            ("spans: the text that they mark is gone", 1),
        ];
        assert_eq!(lost, want.map(|(reason, n)| (reason.to_owned(), n)));
    }
}
