//! Classification: a prompt with fields, then the label's text, tokenised separately and joined.

use std::collections::BTreeMap;

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
        let offsets = tokenizer.encode_with_offsets(text, false).map_err(Dropped::from)?.offsets;
        let mut fields = fields.clone();
        let mut keep = offsets.len().saturating_sub(length - self.budget);
        loop {
            let kept = match self.truncation {
                Truncation::Left => &text[offsets.get(offsets.len() - keep).map_or(text.len(), |o| o.start)..],
                _ => &text[..keep.checked_sub(1).map_or(0, |last| offsets[last].end)],
            };
            fields.insert(name.clone(), strip(kept).to_owned());
            let part = self.fill(&fields, tokenizer)?;
            if part.ids.len() <= self.budget && !strip(kept).is_empty() {
                return Ok(Prompt { cut: length - part.ids.len(), ..part });
            }
            if keep == 0 || strip(kept).is_empty() {
                let around = part.ids.len();
                return Err(dropped(format!("too long even without {name}: {around} tokens around it, {} fit", self.budget)));
            }
            // Tokens at the cut may merge otherwise than before: take off what is still too much, one at least.
            keep -= (part.ids.len() - self.budget).clamp(1, keep);
        }
    }

    fn fill(&self, fields: &BTreeMap<String, String>, tokenizer: &Tokenizer) -> Result<Prompt, Dropped> {
        let text = self.template.fill(fields);
        Ok(Prompt { ids: framed(tokenizer, &text)?, text, cut: 0 })
    }
}
