//! Cleaning as a declared pipeline. Every step is a list of edits; the edits of a step are its alignment map, so whatever was marked in one
//! version of a text can be carried to another.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::block::{Block, BlockKind, PageInfo};
use crate::chunk::Part;

pub mod align;
pub mod language;
pub mod near;
mod pii;
mod steps;

pub use align::{AlignMap, Migration, migrate};
pub use near::{NearDuplicates, Verdict};

/// A pipeline, as its YAML file says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// Steps in order.
    pub steps: Vec<Step>,
}

/// One step. In YAML a mapping with one key, or the bare name of a step without settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Unicode normalisation.
    Unicode(Form),
    /// Full-width forms to half-width.
    Width(Width),
    /// Control characters, zero-width characters, soft hyphens out.
    Control(Remove),
    /// Repeated headers and footers and page numbers out.
    HeadersFooters(HeadersFooters),
    /// Runs of spaces and blank lines to one.
    Whitespace(Collapse),
    /// Personal data to placeholders.
    Pii(Pii),
    /// Only documents in these languages (`en`, `zh`, `ja`, `ko`, `de`, `fr`, `es`, `it`, `pt`, `nl`, `ru`, `ar`).
    Language(Languages),
    /// Only documents of this length in characters.
    Length(Length),
    /// Of equal or nearly equal documents only the first.
    Duplicates(Duplicates),
}

/// Unicode normalisation forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// Canonical composition: looks the same.
    #[serde(alias = "NFC")]
    Nfc,
    /// Compatibility composition: ligatures, circled numbers, full-width forms become plain.
    #[serde(alias = "NFKC")]
    Nfkc,
}

/// Which full-width forms change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Width {
    /// Letters and digits; Chinese punctuation stays.
    Alphanumeric,
    /// Punctuation and the ideographic space too.
    All,
}

/// The one word of a step that removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Remove {
    /// Out.
    Remove,
}

/// The one word of a step that collapses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Collapse {
    /// To one.
    Collapse,
}

/// How repeated lines are told.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeadersFooters {
    /// Share of a document's pages on which a line must stand (numbers in it may differ).
    pub share: f32,
    /// Pages on which it must stand at least.
    pub min_pages: usize,
    /// Height of the zones above and below, as a share of the page.
    pub zone: f32,
}

impl Default for HeadersFooters {
    fn default() -> Self {
        HeadersFooters { share: 0.4, min_pages: 3, zone: 0.12 }
    }
}

/// What is masked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pii {
    /// Kinds; none named: all.
    pub kinds: Vec<PiiKind>,
    /// The user's own patterns.
    pub custom: Vec<Custom>,
}

/// Kinds of personal data that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PiiKind {
    /// E-mail addresses.
    Email,
    /// Telephone numbers: Chinese mobile and landline, international with `+`, North American.
    Phone,
    /// Chinese identity numbers (GB 11643), by their check digit.
    CnId,
    /// Payment cards, by their Luhn digit.
    Card,
}

/// A pattern of the user's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Custom {
    /// Stands in the placeholder: `[NAME]`.
    pub name: String,
    /// A regular expression.
    pub pattern: String,
}

/// Languages that stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Languages {
    /// Their codes.
    pub keep: Vec<String>,
}

/// Lengths that stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Length {
    /// At least.
    pub min: usize,
    /// At most.
    pub max: Option<usize>,
}

/// Which documents are one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Duplicates {
    /// Jaccard similarity of their shingles from which two are one (0.5 to 1; 1: only equal texts).
    pub near: f32,
}

impl Default for Duplicates {
    fn default() -> Self {
        Duplicates { near: 0.9 }
    }
}

impl Default for Pipeline {
    /// What nobody misses: canonical composition, controls, headers and footers, white space.
    fn default() -> Self {
        Pipeline {
            steps: vec![
                Step::Unicode(Form::Nfc),
                Step::Control(Remove::Remove),
                Step::HeadersFooters(HeadersFooters::default()),
                Step::Whitespace(Collapse::Collapse),
            ],
        }
    }
}

impl Pipeline {
    /// Refuses what parses and cannot work; the error names the step (from 0) and the reason.
    pub fn check(&self) -> Result<(), (usize, String)> {
        for (i, step) in self.steps.iter().enumerate() {
            let problem = match step {
                Step::HeadersFooters(h) if !(0.0..=1.0).contains(&h.share) || !(0.0..=0.5).contains(&h.zone) => {
                    Some("share lies between 0 and 1, zone between 0 and 0.5".to_owned())
                }
                Step::Pii(pii) => {
                    pii.custom.iter().find_map(|c| pii::problem(&c.pattern).map(|e| format!("custom pattern {:?}: {e}", c.name)))
                }
                Step::Language(l) => {
                    let unknown = l.keep.iter().find(|k| !language::KNOWN.contains(&k.as_str()));
                    unknown.map(|k| format!("{k:?} is no language that is told; known are {}", language::KNOWN.join(", ")))
                }
                Step::Length(l) if l.max.is_some_and(|m| m < l.min) => Some("max is below min: nothing would stay".to_owned()),
                Step::Duplicates(d) if !(0.5..=1.0).contains(&d.near) => Some("near lies between 0.5 and 1".to_owned()),
                _ => None,
            };
            if let Some(problem) = problem {
                return Err((i, problem));
            }
        }
        Ok(())
    }

    /// A text that says what the pipeline does: part of the version of what it made.
    pub fn signature(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Step {
    /// Its name in YAML.
    pub fn name(&self) -> &'static str {
        match self {
            Step::Unicode(_) => "unicode",
            Step::Width(_) => "width",
            Step::Control(_) => "control",
            Step::HeadersFooters(_) => "headers_footers",
            Step::Whitespace(_) => "whitespace",
            Step::Pii(_) => "pii",
            Step::Language(_) => "language",
            Step::Length(_) => "length",
            Step::Duplicates(_) => "duplicates",
        }
    }
}

/// A replacement in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Bytes that go.
    pub range: Range<usize>,
    /// What comes.
    pub with: String,
    /// What kind of thing it is, where a step knows several (`email`).
    pub kind: &'static str,
}

/// A document on its way through a pipeline.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Its text.
    pub text: String,
    /// Its blocks.
    pub parts: Vec<Part>,
}

impl Draft {
    /// A document as it was read.
    pub fn new(blocks: &[Block]) -> Self {
        let (text, ranges) = crate::block::join(blocks);
        let parts = blocks.iter().zip(ranges).map(|(b, range)| Part { kind: b.kind, range, places: b.places.clone() }).collect();
        Draft { text, parts }
    }

    /// Makes edits (sorted, without overlap); gives their map. Parts that lose all their text go.
    fn apply(&mut self, edits: &[Edit]) -> AlignMap {
        let map = AlignMap::of(&self.text, edits);
        let mut text = String::with_capacity(self.text.len());
        // Byte positions, old and new, where the texts agree again.
        let mut shifts: Vec<(usize, usize)> = Vec::with_capacity(edits.len());
        let mut at = 0;
        for edit in edits {
            text.push_str(&self.text[at..edit.range.start]);
            text.push_str(&edit.with);
            at = edit.range.end;
            shifts.push((edit.range.end, text.len()));
        }
        text.push_str(&self.text[at..]);
        let place = |old: usize, begin: bool| {
            let i = shifts.partition_point(|(o, _)| *o <= old);
            let (from, to) = if i == 0 { (0, 0) } else { shifts[i - 1] };
            match edits.get(i) {
                // Inside an edit: its beginning, or its end.
                Some(e) if e.range.start < old => {
                    if begin {
                        shifts[i].1
                    } else {
                        to + (e.range.start - from)
                    }
                }
                _ => to + (old - from),
            }
        };
        for part in &mut self.parts {
            let (start, end) = (place(part.range.start, true), place(part.range.end, false));
            part.range = start..end.max(start);
        }
        self.text = text;
        let text = &self.text;
        self.parts.retain(|p| !text[p.range.clone()].trim().is_empty());
        map
    }
}

/// What a step did to a document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StepCount {
    /// The step's name.
    pub step: String,
    /// Places that changed.
    pub edits: usize,
    /// Of them by kind, where the step knows kinds.
    pub kinds: std::collections::BTreeMap<String, usize>,
    /// Characters that went.
    pub removed: usize,
    /// Characters that came.
    pub added: usize,
    /// Documents that were left out.
    pub dropped: usize,
}

/// A cleaned document.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// It, and its blocks.
    pub draft: Draft,
    /// One map a step.
    pub maps: Vec<AlignMap>,
    /// One count a step.
    pub counts: Vec<StepCount>,
    /// Why it is left out as a whole.
    pub dropped: Option<String>,
    /// Edits of each step in the text that the step saw, for who wants to show them.
    pub edits: Vec<Vec<Edit>>,
}

/// A pipeline at work on one document after the other: it remembers what it saw, for duplicates.
pub struct Cleaner {
    pipeline: Pipeline,
    masks: Vec<Option<pii::Masks>>,
    seen: Vec<Option<(NearDuplicates, Vec<String>)>>,
}

impl Cleaner {
    /// For a pipeline that passed [`Pipeline::check`].
    pub fn new(pipeline: Pipeline) -> Self {
        let masks = pipeline.steps.iter().map(|s| if let Step::Pii(p) = s { Some(pii::Masks::new(p)) } else { None }).collect();
        let seen = pipeline
            .steps
            .iter()
            .map(|s| if let Step::Duplicates(d) = s { Some((NearDuplicates::new(d.near), Vec::new())) } else { None })
            .collect();
        Cleaner { pipeline, masks, seen }
    }

    /// Cleans a document.
    pub fn clean(&mut self, name: &str, draft: Draft, pages: &[PageInfo]) -> Outcome {
        let mut out = Outcome { draft, maps: Vec::new(), counts: Vec::new(), dropped: None, edits: Vec::new() };
        for (i, step) in self.pipeline.steps.iter().enumerate() {
            let mut count = StepCount { step: step.name().into(), ..StepCount::default() };
            let draft = &out.draft;
            let edits = match step {
                _ if out.dropped.is_some() => Vec::new(),
                Step::Unicode(form) => steps::unicode(&draft.text, *form),
                Step::Width(width) => steps::width(&draft.text, *width),
                Step::Control(Remove::Remove) => steps::control(&draft.text),
                Step::HeadersFooters(settings) => steps::headers_footers(draft, pages, settings),
                Step::Whitespace(Collapse::Collapse) => steps::whitespace(draft),
                Step::Pii(_) => self.masks[i].as_ref().map(|m| m.find(&draft.text)).unwrap_or_default(),
                Step::Language(languages) => {
                    let found = language::detect(&draft.text);
                    if !languages.keep.iter().any(|l| Some(l.as_str()) == found) {
                        out.dropped = Some(format!("its language is {}", found.unwrap_or("not known")));
                    }
                    Vec::new()
                }
                Step::Length(length) => {
                    let n = draft.text.chars().count();
                    if n < length.min || length.max.is_some_and(|m| n > m) {
                        out.dropped = Some(format!("it has {n} characters"));
                    }
                    Vec::new()
                }
                Step::Duplicates(_) => {
                    if let Some((seen, names)) = &mut self.seen[i] {
                        match seen.push(&draft.text) {
                            Verdict::Unique => {}
                            Verdict::Equal(of) => out.dropped = Some(format!("it is equal to {}", names[of])),
                            Verdict::Near(of, share) => out.dropped = Some(format!("{:.0} % of it are in {}", 100.0 * share, names[of])),
                        }
                        names.push(name.to_owned());
                    }
                    Vec::new()
                }
            };
            count.dropped = usize::from(out.dropped.is_some() && out.counts.iter().all(|c: &StepCount| c.dropped == 0));
            count.edits = edits.len();
            for edit in &edits {
                count.removed += out.draft.text[edit.range.clone()].chars().count();
                count.added += edit.with.chars().count();
                if !edit.kind.is_empty() {
                    *count.kinds.entry(edit.kind.to_owned()).or_default() += 1;
                }
            }
            let map = out.draft.apply(&edits);
            out.maps.push(map);
            out.counts.push(count);
            out.edits.push(edits);
        }
        out
    }
}

/// Whether text of this kind keeps its spaces and line ends.
fn is_laid_out(kind: BlockKind) -> bool {
    matches!(kind, BlockKind::Code | BlockKind::Table)
}
