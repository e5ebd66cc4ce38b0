//! Classification: a prompt with fields, then the label's text, tokenised separately and joined.

use std::collections::BTreeMap;
use std::ops::Range;

use text::Tokenizer;

use super::{Dropped, LabelIds, Prompt, dropped, framed};
use crate::error::Error;
use crate::prompt::PromptTemplate;
use crate::settings::{ClassifyTask, Truncation};
use crate::shape::{prompt_fields, strip};

/// The prepared task.
pub(super) struct Classify {
    template: PromptTemplate,
    pub(super) labels: Vec<LabelIds>,
    /// The field that is cut; the longest if `None`.
    field: Option<String>,
    /// The most tokens that a prompt may have: the same for training, where one label follows, and scoring, where any may.
    budget: usize,
    truncation: Truncation,
}

impl Classify {
    pub(super) fn new(task: &ClassifyTask, tokenizer: &Tokenizer, cutoff_len: usize, truncation: Truncation) -> Result<Self, Error> {
        let fields = prompt_fields(&task.prompt)?;
        let template = PromptTemplate::parse(&task.prompt).map_err(|reason| Error::setting("prompt", reason))?;
        if let Some(field) = task.truncate_field.as_ref().filter(|f| !fields.contains(f)) {
            return Err(Error::setting("truncate_field", format!("{field:?} is no field of the prompt; it has: {}", fields.join(", "))));
        }
        let texts = task.labels.texts(&task.prompt);
        let mut labels: Vec<LabelIds> = Vec::with_capacity(texts.len());
        for (name, text) in task.labels.names().zip(texts) {
            let ids = tokenizer.encode(&text, false)?;
            if ids.is_empty() {
                return Err(Error::setting("labels", format!("the text {text:?} of {name:?} has no token")));
            }
            if let Some(other) = labels.iter().find(|other| other.ids == ids) {
                let reason =
                    format!("the texts of {name:?} and {:?} have the same tokens: the model could not tell them apart", other.name);
                return Err(Error::setting("labels", reason));
            }
            labels.push(LabelIds { name: name.to_owned(), text, ids });
        }
        // The longest label and EOS.
        let reserve = labels.iter().map(|l| l.ids.len()).max().unwrap_or(0) + 1;
        let budget = cutoff_len.checked_sub(reserve).filter(|&n| n > 0).ok_or_else(|| {
            Error::setting(
                "cutoff_len",
                format!("{cutoff_len} leaves no room for a prompt: the longest label and EOS take {reserve} tokens"),
            )
        })?;
        Ok(Classify { template, labels, field: task.truncate_field.clone(), budget, truncation })
    }

    /// The prompt of one row, its text field cut if need be.
    pub(super) fn prompt(&self, fields: &BTreeMap<String, String>, tokenizer: &Tokenizer) -> Result<Prompt, Dropped> {
        let whole = self.fill(fields, tokenizer)?;
        let length = whole.ids.len();
        if length <= self.budget {
            return Ok(whole);
        }
        if matches!(self.truncation, Truncation::Drop | Truncation::Split) {
            return Err(dropped(format!("too long: the prompt has {length} tokens, {} fit", self.budget)));
        }
        let longest = || fields.iter().max_by_key(|(_, text)| text.len()).map(|(name, _)| name);
        let Some(name) = self.field.as_ref().or_else(longest) else {
            return Err(dropped("too long, and there is no field to cut".to_owned()));
        };
        let text = fields.get(name).map_or("", String::as_str);
        let mut fields = fields.clone();
        fields.insert(name.clone(), String::new());
        let around = self.fill(&fields, tokenizer)?.ids.len();
        let no_room = || dropped(format!("too long even without {name}: {around} tokens around it, {} fit", self.budget));
        // One more than seems to fit: the white space before the field is a token by itself only while the field is empty.
        let mut keep = self.budget.checked_sub(around).ok_or_else(no_room)? + 1;
        let left = self.truncation == Truncation::Left;
        let near = self.near_cut(text, keep, length.saturating_sub(around), left, tokenizer)?;
        loop {
            let kept = strip(near.keep(keep, left));
            if kept.is_empty() {
                return Err(no_room());
            }
            fields.insert(name.clone(), kept.to_owned());
            let part = self.fill(&fields, tokenizer)?;
            if part.ids.len() <= self.budget {
                return Ok(Prompt { cut: length.saturating_sub(part.ids.len()), ..part });
            }
            // Tokens at the cut may merge otherwise than before: take off what is still too much.
            keep = keep.min(near.offsets.len()).saturating_sub(part.ids.len() - self.budget);
        }
    }

    /// The side of `text` that stays, tokenised a little beyond `keep` tokens: a long text need not be tokenised to its end to be cut
    /// near its start. `tokens` is about how many tokens the whole text has.
    fn near_cut<'a>(&self, text: &'a str, keep: usize, tokens: usize, left: bool, tokenizer: &Tokenizer) -> Result<NearCut<'a>, Dropped> {
        let mut bytes = text.len() * keep / tokens.max(1) * 5 / 4 + 64;
        loop {
            let window = match left {
                false => &text[..text.floor_char_boundary(bytes)],
                true => &text[text.ceil_char_boundary(text.len().saturating_sub(bytes))..],
            };
            let offsets = tokenizer.encode_with_offsets(window, false)?.offsets;
            if offsets.len() > keep || window.len() == text.len() {
                return Ok(NearCut { window, offsets });
            }
            bytes *= 2;
        }
    }

    fn fill(&self, fields: &BTreeMap<String, String>, tokenizer: &Tokenizer) -> Result<Prompt, Dropped> {
        let text = self.template.fill(fields);
        Ok(Prompt { ids: framed(tokenizer, &text)?, text, cut: 0 })
    }
}

/// A piece of text with the byte range of each of its tokens.
struct NearCut<'a> {
    window: &'a str,
    offsets: Vec<Range<usize>>,
}

impl<'a> NearCut<'a> {
    /// Its first (or, from the left, last) `n` tokens.
    fn keep(&self, n: usize, left: bool) -> &'a str {
        let n = n.min(self.offsets.len());
        match (n, left) {
            (0, _) => "",
            (n, false) => &self.window[..self.offsets[n - 1].end],
            (n, true) => &self.window[self.offsets[self.offsets.len() - n].start..],
        }
    }
}
