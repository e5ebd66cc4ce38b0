//! Do a file's offsets mean what we take them for? Every span is held against its surface; what does not fit is diagnosed.
//!
//! Tools count differently: Python counts code points (as we do), JavaScript UTF-16 units, others bytes; some count `\r\n` as one,
//! some name the last character instead of the one after it. A file is repaired only if one way of counting fits *every* span of it;
//! otherwise the spans that do not fit are left out and the ways in which they would fit are counted.

use std::collections::BTreeMap;

use super::{Body, Document, Losses, Range, Surface};

/// What one step of an offset is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Unit {
    CodePoint,
    Utf16,
    Byte,
    /// Code points, `\r\n` counted as one.
    Collapsed,
    /// Code points, `\n` alone counted as two: the offsets were made on a text with `\r\n`.
    Expanded,
}

const UNITS: [Unit; 5] = [Unit::CodePoint, Unit::Utf16, Unit::Byte, Unit::Collapsed, Unit::Expanded];

/// A way to count: a unit, and whether the end is part of the span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counting {
    unit: Unit,
    inclusive: bool,
}

impl Counting {
    /// Ours.
    pub const CODE_POINTS: Counting = Counting { unit: Unit::CodePoint, inclusive: false };
    /// Ours, with the end part of the span.
    pub const INCLUSIVE: Counting = Counting { unit: Unit::CodePoint, inclusive: true };

    fn all() -> impl Iterator<Item = Counting> {
        [false, true].into_iter().flat_map(|inclusive| UNITS.map(|unit| Counting { unit, inclusive }))
    }
}

impl std::fmt::Display for Counting {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(match self.unit {
            Unit::CodePoint if self.inclusive => "inclusive end",
            Unit::CodePoint => "code points",
            Unit::Utf16 => "UTF-16",
            Unit::Byte => "bytes",
            Unit::Collapsed => "CRLF counted as one",
            Unit::Expanded => "LF counted as CRLF",
        })?;
        if self.inclusive && self.unit != Unit::CodePoint {
            f.write_str(" with inclusive end")?;
        }
        Ok(())
    }
}

/// Where each code point of a text starts, in every unit.
struct Ruler<'t> {
    text: &'t str,
    /// Byte at which each code point starts, and the text's length.
    bytes: Vec<usize>,
    /// All units agree: ASCII without a line end.
    plain: bool,
}

impl<'t> Ruler<'t> {
    fn new(text: &'t str) -> Self {
        let bytes = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let plain = text.bytes().all(|b| b.is_ascii() && b != b'\n' && b != b'\r');
        Ruler { text, bytes, plain }
    }

    /// Positions of the code points in `unit`, ascending; two are equal only within a collapsed line end.
    fn positions(&self, unit: Unit) -> Vec<usize> {
        let mut at = 0;
        let mut before = '\0';
        let mut chars = self.text.chars().peekable();
        let mut positions = Vec::with_capacity(self.bytes.len());
        while let Some(c) = chars.next() {
            positions.push(at);
            at += match unit {
                Unit::CodePoint => 1,
                Unit::Utf16 => c.len_utf16(),
                Unit::Byte => c.len_utf8(),
                Unit::Collapsed => usize::from(!(c == '\r' && chars.peek() == Some(&'\n'))),
                Unit::Expanded => 1 + usize::from(c == '\n' && before != '\r'),
            };
            before = c;
        }
        positions.push(at);
        positions
    }

    fn convert(&self, positions: &[usize], inclusive: bool, [start, end]: Range) -> Option<Range> {
        let find = |offset: usize| {
            let at = positions.partition_point(|&p| p < offset);
            (positions.get(at) == Some(&offset)).then_some(at)
        };
        let start = find(start)?;
        let end = if inclusive {
            // One code point further than the one whose first or last unit the end names.
            let last = positions.partition_point(|&p| p <= end).checked_sub(1)?;
            let after = *positions.get(last + 1)?;
            (positions[last] == end || after == end + 1).then_some(last + 1)?
        } else {
            find(end)?
        };
        (start < end).then_some([start, end])
    }

    fn fits(&self, ranges: &[Range], surface: Option<&Surface>) -> bool {
        let Some(surface) = surface else { return true };
        let mut found = String::new();
        for (i, &[start, end]) in ranges.iter().enumerate() {
            if i > 0 {
                found.push(' ');
            }
            // The ranges were found among the positions, so they lie within the text on code points.
            found.push_str(&self.text[self.bytes[start]..self.bytes[end]]);
        }
        same(&found, surface)
    }
}

/// Whether a stretch of text is what the file says. Formats of one line a span write line ends as spaces.
fn same(found: &str, surface: &Surface) -> bool {
    if found == surface.text {
        return true;
    }
    if surface.loose {
        let bare = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
        return bare(found) == bare(&surface.text);
    }
    // Tools write line ends as spaces, leave blanks at the end of a line, and cut those of a span.
    found.split_whitespace().eq(surface.text.split_whitespace())
}

/// How a file's spans fit, gathered over all of it before any is used.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    spans: usize,
    with_surface: usize,
    fits: BTreeMap<Counting, usize>,
}

/// What to do with a file's spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They count as we do, or there is no way that fits all: what does not fit is left out.
    AsIs,
    /// All of them fit this way.
    Recount(Counting),
}

impl Survey {
    /// Takes in the spans of one document.
    pub fn add(&mut self, document: &Document) {
        let mut ruler = None;
        for (ranges, surface) in spans(document) {
            let ruler = ruler.get_or_insert_with(|| Rulers::new(&document.text));
            self.spans += 1;
            self.with_surface += usize::from(surface.is_some());
            for counting in Counting::all() {
                if ruler.recount(counting, ranges, surface).is_some() {
                    *self.fits.entry(counting).or_default() += 1;
                }
            }
        }
    }

    /// What the whole file says. Of several ways that fit all spans, the first in the order of likelihood is taken if surfaces prove
    /// it; without any surface only a way that is the only one.
    pub fn verdict(&self) -> Verdict {
        let all = |counting: &Counting| self.fits.get(counting).copied().unwrap_or(0) == self.spans;
        if self.spans == 0 || all(&Counting::CODE_POINTS) {
            return Verdict::AsIs;
        }
        let fitting: Vec<Counting> = Counting::all().filter(all).collect();
        match fitting[..] {
            [only] => Verdict::Recount(only),
            [first, ..] if self.with_surface > 0 => Verdict::Recount(first),
            _ => Verdict::AsIs,
        }
    }
}

/// A text's positions in every unit, computed when first asked for.
struct Rulers<'t> {
    ruler: Ruler<'t>,
    positions: BTreeMap<Unit, Vec<usize>>,
}

impl<'t> Rulers<'t> {
    fn new(text: &'t str) -> Self {
        Rulers { ruler: Ruler::new(text), positions: BTreeMap::new() }
    }

    fn recount(&mut self, counting: Counting, ranges: &[Range], surface: Option<&Surface>) -> Option<Vec<Range>> {
        let unit = if self.ruler.plain { Unit::CodePoint } else { counting.unit };
        let positions = self.positions.entry(unit).or_insert_with(|| self.ruler.positions(unit));
        let found: Option<Vec<Range>> = ranges.iter().map(|&range| self.ruler.convert(positions, counting.inclusive, range)).collect();
        found.filter(|ranges| !ranges.is_empty() && self.ruler.fits(ranges, surface))
    }
}

fn spans(document: &Document) -> impl Iterator<Item = (&[Range], Option<&Surface>)> {
    document.statements.iter().flat_map(|s| &s.labels).filter_map(|label| match &label.body {
        Body::Span { ranges, surface, .. } => Some((&ranges[..], surface.as_ref())),
        _ => None,
    })
}

/// Brings a document's spans to code points as the file's verdict says, drops the surfaces, and leaves out what does not fit together
/// with what refers to it. Returns how many spans were recounted.
pub fn settle(document: &mut Document, verdict: Verdict, losses: &mut Losses) -> usize {
    if spans(document).next().is_none() {
        return 0;
    }
    let counting = match verdict {
        Verdict::AsIs => Counting::CODE_POINTS,
        Verdict::Recount(counting) => counting,
    };
    let text = std::mem::take(&mut document.text);
    let mut rulers = Rulers::new(&text);
    let mut recounted = 0;
    for statement in &mut document.statements {
        let mut gone: Vec<String> = Vec::new();
        let mut unused: Vec<serde_json::Value> = Vec::new();
        statement.labels.retain_mut(|label| {
            let Body::Span { ranges, surface, .. } = &mut label.body else { return true };
            let surface = surface.take();
            if let Some(found) = rulers.recount(counting, ranges, surface.as_ref()) {
                recounted += usize::from(verdict != Verdict::AsIs);
                *ranges = found;
                return true;
            }
            let ways: Vec<String> =
                Counting::all().filter(|&c| rulers.recount(c, ranges, surface.as_ref()).is_some()).map(|c| c.to_string()).collect();
            let reason = match &ways[..] {
                [] if surface.is_some() => "the text there is not what the file says, in no way of counting".to_owned(),
                [] => "the offsets lie outside the text, in every way of counting".to_owned(),
                ways => format!("the offsets fit as {}, but not all spans of the file do", ways.join(" or ")),
            };
            losses.add("spans", 1, reason);
            unused.push(super::brat::tag(label).into());
            gone.push(std::mem::take(&mut label.id));
            false
        });
        drop_dangling(statement, gone, &mut unused, losses);
        if let Some(native) = statement.native.as_mut().filter(|n| n.format == super::Format::Brat && !unused.is_empty()) {
            // What cannot be used is written back all the same.
            native.fields.insert("unused".into(), unused.into());
        }
    }
    document.text = text;
    recounted
}

/// Leaves out what refers to labels that are gone, and what refers to that.
fn drop_dangling(statement: &mut super::Statement, mut gone: Vec<String>, unused: &mut Vec<serde_json::Value>, losses: &mut Losses) {
    gone.retain(|id| !id.is_empty());
    while !gone.is_empty() {
        let mut next = Vec::new();
        statement.labels.retain_mut(|label| {
            if !label.body.refers_to().iter().any(|id| gone.iter().any(|g| g == id)) {
                return true;
            }
            losses.add(label.body.kind(), 1, "what they refer to was left out");
            unused.push(super::brat::tag(label).into());
            if !label.id.is_empty() {
                next.push(std::mem::take(&mut label.id));
            }
            false
        });
        gone = next;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Label, Statement};
    use super::*;
    use proptest::prelude::*;

    fn document(text: &str, spans: &[(usize, usize, Option<&str>)]) -> Document {
        let labels = spans.iter().enumerate().map(|(i, &(start, end, surface))| {
            let surface = surface.map(|text| Surface { text: text.into(), loose: false });
            Label::named(format!("T{i}"), Body::Span { label: "X".into(), ranges: vec![[start, end]], surface })
        });
        Document { text: text.into(), statements: vec![Statement::human("", labels.collect())], ..Document::default() }
    }

    fn settled(mut document: Document) -> (Vec<Vec<Range>>, String, usize, Losses) {
        let mut survey = Survey::default();
        survey.add(&document);
        let verdict = survey.verdict();
        let mut losses = Losses::default();
        let recounted = settle(&mut document, verdict, &mut losses);
        let ranges = spans(&document).map(|(ranges, _)| ranges.to_vec()).collect();
        let way = match verdict {
            Verdict::AsIs => String::new(),
            Verdict::Recount(counting) => counting.to_string(),
        };
        (ranges, way, recounted, losses)
    }

    #[test]
    fn each_way_of_counting_is_told_from_the_surface() {
        let cases = [
            ("😀 Ann met Bo", vec![(3, 6, Some("Ann")), (11, 13, Some("Bo"))], "UTF-16"),
            ("é Ann met 你好", vec![(3, 6, Some("Ann")), (11, 17, Some("你好"))], "bytes"),
            ("a\r\nAnn\r\nBo", vec![(2, 5, Some("Ann")), (6, 8, Some("Bo"))], "CRLF counted as one"),
            ("a\nAnn\nBo", vec![(3, 6, Some("Ann")), (8, 10, Some("Bo"))], "LF counted as CRLF"),
            ("EU cuts aid", vec![(0, 1, Some("EU")), (3, 6, Some("cuts"))], "inclusive end"),
            ("😀 EU 😀", vec![(3, 4, Some("EU"))], "UTF-16 with inclusive end"),
        ];
        for (text, spans, way) in cases {
            let given = spans.clone();
            let (ranges, found, recounted, losses) = settled(document(text, &spans));
            assert_eq!((found.as_str(), recounted), (way, spans.len()), "{text:?}");
            assert!(losses.is_empty());
            for (ranges, (_, _, surface)) in ranges.iter().zip(given) {
                assert_eq!(super::super::surface(text, ranges).as_deref(), surface);
            }
        }
    }

    #[test]
    fn a_file_that_disagrees_is_not_repaired_but_diagnosed() {
        let mut both = document("😀 Ann met Bo", &[(3, 6, Some("Ann")), (10, 12, Some("Bo")), (0, 3, Some("zzz")), (90, 95, None)]);
        both.statements[0].labels.push(Label::named("R1", Body::Relation { label: "r".into(), args: vec![("a".into(), "T0".into())] }));
        both.statements[0].labels.push(Label::new(Body::Note { label: "n".into(), target: "R1".into(), text: "x".into() }));
        let (ranges, way, recounted, losses) = settled(both);
        assert_eq!((ranges, way.as_str(), recounted), (vec![vec![[10, 12]]], "", 0));
        assert_eq!((losses.count("spans"), losses.count("relations"), losses.count("notes")), (3, 1, 1));
        let reasons: Vec<String> = losses.list().into_iter().map(|l| l.reason).collect();
        assert!(reasons.iter().any(|r| r.contains("fit as UTF-16")), "{reasons:?}");
        assert!(reasons.iter().any(|r| r.contains("outside the text")), "{reasons:?}");
    }

    #[test]
    fn without_surfaces_only_the_single_possible_way_is_taken() {
        // The end lies outside in code points; as UTF-16 it fits, as bytes it would cut a character in two.
        let (ranges, way, ..) = settled(document("é😀", &[(0, 3, None)]));
        assert_eq!((ranges, way.as_str()), (vec![vec![[0, 2]]], "UTF-16"));
        let (ranges, way, _, losses) = settled(document("ab\u{e9}", &[(0, 9, None)]));
        assert_eq!((ranges.len(), way.as_str(), losses.count("spans")), (0, "", 1));
    }

    proptest! {
        #[test]
        fn offsets_of_every_unit_come_back(text in "[a-z 😀é\u{301}你\r\n]{1,40}", cut: (usize, usize), inclusive: bool) {
            let ruler = Ruler::new(&text);
            let n = ruler.bytes.len() - 1;
            let (a, b) = (cut.0 % n, cut.1 % n);
            let range = [a.min(b), a.max(b) + 1];
            for unit in UNITS {
                let positions = ruler.positions(unit);
                let end = if inclusive { positions[range[1]].saturating_sub(1) } else { positions[range[1]] };
                let found = ruler.convert(&positions, inclusive, [positions[range[0]], end]);
                // Half a line end has no offset of its own when it counts as one.
                if unit != Unit::Collapsed || !text.contains("\r\n") {
                    prop_assert_eq!(found, Some(range), "{:?}", unit);
                }
            }
        }
    }
}
