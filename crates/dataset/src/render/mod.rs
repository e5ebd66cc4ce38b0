//! The renderer: a sample becomes input ids, attention mask and labels.
//!
//! There is one, and training, evaluation, prediction and serving all use it: what a model is asked is what it was taught.

mod chat;
mod classify;
pub mod templates;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use rayon::prelude::*;
use serde::Serialize;
use serde_json::Value;
use text::{ChatTemplate, Message, TextError, Tokenizer};

use crate::error::{Error, summarise};
use crate::sample::{Origin, Sample, SampleKind, Turn};
use crate::settings::{SftTask, TaskSpec, TemplateName, Truncation};
use chat::Chat;
use classify::Classify;

/// The label of a token that is not trained (PyTorch's `ignore_index`).
pub const IGNORED: i32 = -100;

/// One row as the model sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// Token ids.
    pub input_ids: Vec<u32>,
    /// As long as `input_ids`: the id at the same place where it is trained, [`IGNORED`] elsewhere (as Hugging Face has it; the loss
    /// shifts).
    pub labels: Vec<i32>,
    /// Number of tokens that were cut off because the row was too long.
    pub cut: usize,
    /// Key of the row for counter-based random numbers (dropout): from its text alone, so that it does not depend on the order of
    /// files or rows.
    pub key: u64,
}

impl Rendered {
    /// The attention mask: rows are never padded, so it is all ones.
    pub fn attention_mask(&self) -> Vec<u8> {
        vec![1; self.input_ids.len()]
    }

    /// Number of predictions that are trained. A row's first token is predicted by nothing and never counts.
    pub fn trained_tokens(&self) -> usize {
        self.labels.iter().skip(1).filter(|&&label| label != IGNORED).count()
    }
}

/// Why a sample gives no row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{reason}")]
pub struct Dropped {
    /// What is wrong with it.
    pub reason: String,
}

impl From<TextError> for Dropped {
    fn from(error: TextError) -> Self {
        dropped(error.to_string())
    }
}

fn dropped(reason: String) -> Dropped {
    Dropped { reason }
}

/// What the model is given when it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Token ids, BOS included where the model wants one.
    pub ids: Vec<u32>,
    /// The exact text that was tokenised (without a BOS that the tokenizer adds).
    pub text: String,
    /// Number of tokens that were cut off because the row was too long.
    pub cut: usize,
}

/// Many samples rendered, and what became of those that were cut or left out.
#[derive(Debug, Clone, Default)]
pub struct RenderedRows {
    /// The rows, in the order of the samples.
    pub rows: Vec<Rendered>,
    /// For each row, the index of its sample.
    pub samples: Vec<usize>,
    /// Rows that lost tokens.
    pub truncated: Vec<Truncated>,
    /// Samples that gave no row.
    pub dropped: Vec<DroppedSample>,
}

/// A row that lost tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Truncated {
    /// Index of the sample.
    pub sample: usize,
    /// Its id.
    pub id: String,
    /// Where it was read.
    pub origin: Origin,
    /// Number of tokens cut off.
    pub cut: usize,
}

/// A sample that gave no row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DroppedSample {
    /// Index of the sample.
    pub sample: usize,
    /// Its id.
    pub id: String,
    /// Where it was read.
    pub origin: Origin,
    /// Why.
    pub reason: String,
}

/// Turns samples into ids.
pub struct Renderer {
    tokenizer: Arc<Tokenizer>,
    task: TaskSpec,
    cutoff_len: usize,
    truncation: Truncation,
    eos: u32,
    method: Method,
}

/// What the task prepared. There is one in a renderer: its size does not matter.
#[allow(clippy::large_enum_variant)]
enum Method {
    Classify(Classify),
    /// Conversations; `None` if the model has no template and the recipe declares none. Prompt and completion are joined plainly
    /// unless `templated`.
    Sft {
        chat: Option<Chat>,
        train_on_prompt: bool,
        templated: bool,
    },
    Text,
}

impl Renderer {
    /// A renderer for one task.
    ///
    /// `template` is the model's own chat template, if it has one. `cutoff_len` is the most tokens that a training row may have.
    ///
    /// # Errors
    /// If the prompt or a label cannot be used, the tokenizer has no EOS, or `cutoff_len` leaves no room.
    pub fn new(
        tokenizer: Arc<Tokenizer>,
        template: Option<ChatTemplate>,
        task: TaskSpec,
        cutoff_len: usize,
        truncation: Truncation,
    ) -> Result<Self, Error> {
        let eos = tokenizer.eos().ok_or_else(|| {
            Error::setting("model", "its tokenizer names no end-of-sequence token: a model trained without one never stops")
        })?;
        if cutoff_len < 2 {
            return Err(Error::setting("cutoff_len", format!("{cutoff_len}: a row needs two tokens at least")));
        }
        let method = match &task {
            TaskSpec::Classify(classify) => Method::Classify(Classify::new(classify, &tokenizer, cutoff_len, truncation)?),
            TaskSpec::Sft(sft) => Method::Sft {
                chat: chat(sft, template, &tokenizer, eos)?,
                train_on_prompt: sft.train_on_prompt,
                templated: sft.template.is_some_and(|name| name != TemplateName::Plain),
            },
            TaskSpec::Text(_) => Method::Text,
        };
        Ok(Renderer { tokenizer, task, cutoff_len, truncation, eos, method })
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// The task.
    pub fn task(&self) -> &TaskSpec {
        &self.task
    }

    /// The most tokens that a training row may have.
    pub fn cutoff_len(&self) -> usize {
        self.cutoff_len
    }

    /// The source of the chat template in use (the model's or the declared one): it is saved with the result. `None` if the task
    /// uses none.
    pub fn template_source(&self) -> Option<&str> {
        match &self.method {
            Method::Sft { chat: Some(chat), .. } => Some(chat.template.source()),
            _ => None,
        }
    }

    /// The row of one sample; several for a text that is split.
    pub fn render(&self, sample: &Sample) -> Result<Vec<Rendered>, Dropped> {
        let key = u64::from_le_bytes(*sample.text_hash.first_chunk().expect("a SHA-256 has 32 bytes"));
        let mut rows = match (&self.method, &sample.kind) {
            (Method::Classify(classify), SampleKind::Classify { fields, label }) => {
                let label = label.as_deref().ok_or_else(|| dropped("it has no label".into()))?;
                let label = classify
                    .labels
                    .iter()
                    .find(|l| l.name == label)
                    .ok_or_else(|| dropped(format!("{label:?} is no label of the task")))?;
                let prompt = classify.prompt(fields, &self.tokenizer)?;
                vec![self.joined(prompt.ids, [label.ids.as_slice(), &[self.eos]].concat(), prompt.cut)]
            }
            (Method::Sft { chat, train_on_prompt, templated }, SampleKind::Prompt { prompt, completion }) => {
                let completion = completion.as_deref().ok_or_else(|| dropped("it has no completion".into()))?;
                let row = if *templated {
                    let turns = [Turn::from(Message::user(prompt.as_str())), Turn::from(Message::assistant(completion))];
                    self.conversation(needed(chat)?, &turns, None)?
                } else {
                    self.plain(prompt, completion)?
                };
                vec![if *train_on_prompt { all_trained(row) } else { row }]
            }
            (Method::Sft { chat, train_on_prompt, .. }, SampleKind::Messages { turns, tools }) => {
                let row = self.conversation(needed(chat)?, turns, tools.as_deref())?;
                vec![if *train_on_prompt { all_trained(row) } else { row }]
            }
            (Method::Text, SampleKind::Text { text }) => self.text(text)?,
            _ => return Err(dropped(format!("a row of this kind does not fit a task of type {}", self.task.name()))),
        };
        let cut: usize = rows.iter().map(|row| row.cut).sum();
        rows.retain(|row| row.trained_tokens() > 0);
        rows.iter_mut().enumerate().for_each(|(i, row)| row.key = key.wrapping_add(i as u64));
        match (rows.is_empty(), cut) {
            (false, _) => Ok(rows),
            (true, 0) => Err(dropped("nothing in it would be trained".to_owned())),
            (true, _) => Err(dropped(format!("nothing is left to train after cutting {cut} tokens to fit cutoff_len {}", self.cutoff_len))),
        }
    }

    /// The rows of many samples, in parallel; the result does not depend on the number of threads.
    ///
    /// # Errors
    /// [`Error::NothingTrained`] if not one token would be trained, [`Error::NoTemplate`] if there are conversations and no way to
    /// write them.
    pub fn render_all(&self, samples: &[Sample]) -> Result<RenderedRows, Error> {
        if let Method::Sft { chat: None, templated, .. } = &self.method {
            let needs = |sample: &Sample| match sample.kind {
                SampleKind::Messages { .. } => true,
                SampleKind::Prompt { .. } => *templated,
                _ => false,
            };
            if samples.iter().any(needs) {
                return Err(Error::NoTemplate);
            }
        }
        let results: Vec<_> = samples.par_iter().map(|sample| self.render(sample)).collect();
        let mut all = RenderedRows::default();
        for (i, (sample, result)) in samples.iter().zip(results).enumerate() {
            match result {
                Ok(rows) => {
                    let cut: usize = rows.iter().map(|row| row.cut).sum();
                    if cut > 0 {
                        all.truncated.push(Truncated { sample: i, id: sample.id.clone(), origin: sample.origin.clone(), cut });
                    }
                    all.samples.extend(std::iter::repeat_n(i, rows.len()));
                    all.rows.extend(rows);
                }
                Err(Dropped { reason }) => {
                    all.dropped.push(DroppedSample { sample: i, id: sample.id.clone(), origin: sample.origin.clone(), reason });
                }
            }
        }
        if all.rows.is_empty() {
            let places: Vec<String> = all.dropped.iter().map(|row| row.origin.to_string()).collect();
            let reasons = all.dropped.iter().zip(&places).map(|(row, place)| (row.reason.clone(), place.as_str()));
            let reasons = if samples.is_empty() { "there are no rows".to_owned() } else { summarise(reasons) };
            return Err(Error::NothingTrained { reasons });
        }
        Ok(all)
    }

    /// What the model is given for a sample, without the answer.
    ///
    /// In classification these are exactly the ids that precede the label in the training row, cut in the same way. A question to be
    /// answered freely is never cut: what bounds it is the model's context, which the caller knows.
    pub fn prompt(&self, sample: &Sample) -> Result<Prompt, Dropped> {
        match (&self.method, &sample.kind) {
            (Method::Classify(classify), SampleKind::Classify { fields, .. }) => classify.prompt(fields, &self.tokenizer),
            (Method::Sft { templated: true, .. }, SampleKind::Prompt { prompt, .. }) => {
                self.chat_prompt(&[Message::user(prompt.as_str())], None)
            }
            (Method::Sft { .. }, SampleKind::Prompt { prompt: text, .. }) | (Method::Text, SampleKind::Text { text }) => {
                Ok(Prompt { ids: framed(&self.tokenizer, text)?, text: text.clone(), cut: 0 })
            }
            (Method::Sft { chat, .. }, SampleKind::Messages { turns, tools }) => {
                let asked = match turns.split_last() {
                    Some((last, before)) if last.message.role == "assistant" => before,
                    _ => turns,
                };
                self.ask(needed(chat)?, asked, tools.as_deref())
            }
            _ => Err(dropped(format!("a row of this kind does not fit a task of type {}", self.task.name()))),
        }
    }

    /// What the model is given to go on with a conversation. It is never cut.
    pub fn chat_prompt(&self, messages: &[Message], tools: Option<&[Value]>) -> Result<Prompt, Dropped> {
        let Method::Sft { chat, .. } = &self.method else {
            return Err(dropped(format!("a task of type {} has no conversations", self.task.name())));
        };
        let turns: Vec<Turn> = messages.iter().cloned().map(Turn::from).collect();
        self.ask(needed(chat)?, &turns, tools)
    }

    /// The classes and their tokens, in the recipe's order; empty if the task is no classification.
    pub fn label_ids(&self) -> &[LabelIds] {
        match &self.method {
            Method::Classify(classify) => &classify.labels,
            _ => &[],
        }
    }

    fn ask(&self, chat: &Chat, turns: &[Turn], tools: Option<&[Value]>) -> Result<Prompt, Dropped> {
        let asked = chat.conversation(turns, tools, true, &self.tokenizer)?;
        Ok(Prompt { ids: asked.ids, text: asked.text, cut: 0 })
    }

    /// Given ids that are not trained, then ids that are.
    fn joined(&self, given: Vec<u32>, written: Vec<u32>, cut: usize) -> Rendered {
        let mut labels = vec![IGNORED; given.len()];
        labels.extend(written.iter().map(|&id| label(id)));
        Rendered { input_ids: [given, written].concat(), labels, cut, key: 0 }
    }

    /// Prompt and completion, one after the other, tokenised separately.
    fn plain(&self, prompt: &str, completion: &str) -> Result<Rendered, Dropped> {
        let mut given = framed(&self.tokenizer, prompt)?;
        let mut written = self.tokenizer.encode(completion, false)?;
        if written.last() != Some(&self.eos) {
            written.push(self.eos);
        }
        let length = given.len() + written.len();
        let over = length.saturating_sub(self.cutoff_len);
        if over > 0 {
            match self.truncation {
                Truncation::Right => written.truncate(written.len().saturating_sub(over)),
                Truncation::Left => {
                    // What the tokenizer puts in front stays there.
                    let frame = usize::from(self.tokenizer.adds_bos());
                    if given.len() < frame + over {
                        return Err(dropped(format!(
                            "too long: the completion alone has {} tokens, cutoff_len is {}",
                            written.len(),
                            self.cutoff_len
                        )));
                    }
                    given.drain(frame..frame + over);
                }
                Truncation::Drop | Truncation::Split => return Err(self.too_long(length)),
            }
        }
        if written.is_empty() {
            return Err(dropped(format!("too long: the prompt alone has {} tokens, cutoff_len is {}", given.len(), self.cutoff_len)));
        }
        Ok(self.joined(given, written, over))
    }

    /// A conversation, cut if need be.
    fn conversation(&self, chat: &Chat, turns: &[Turn], tools: Option<&[Value]>) -> Result<Rendered, Dropped> {
        let row = |c: chat::Conversation, cut: usize| {
            let labels = c.ids.iter().zip(&c.trained).map(|(&id, &trained)| if trained { label(id) } else { IGNORED }).collect();
            Rendered { input_ids: c.ids, labels, cut, key: 0 }
        };
        let mut whole = chat.conversation(turns, tools, false, &self.tokenizer)?;
        let length = whole.ids.len();
        if length <= self.cutoff_len {
            return Ok(row(whole, 0));
        }
        match self.truncation {
            Truncation::Right => {
                whole.ids.truncate(self.cutoff_len);
                whole.trained.truncate(self.cutoff_len);
                Ok(row(whole, length - self.cutoff_len))
            }
            Truncation::Left => {
                let system = usize::from(turns.first().is_some_and(|turn| turn.message.role == "system"));
                // A conversation may begin at any later question.
                for start in (system + 1..turns.len()).filter(|&i| turns[i].message.role == "user") {
                    let rest: Vec<Turn> = turns[..system].iter().chain(&turns[start..]).cloned().collect();
                    let rest = chat.conversation(&rest, tools, false, &self.tokenizer)?;
                    if rest.ids.len() <= self.cutoff_len {
                        let cut = length - rest.ids.len();
                        return Ok(row(rest, cut));
                    }
                }
                Err(self.too_long(length))
            }
            Truncation::Drop | Truncation::Split => Err(self.too_long(length)),
        }
    }

    /// Plain text with EOS at its end, every token trained.
    fn text(&self, text: &str) -> Result<Vec<Rendered>, Dropped> {
        let mut ids = framed(&self.tokenizer, text)?;
        if ids.last() != Some(&self.eos) {
            ids.push(self.eos);
        }
        let length = ids.len();
        let over = length.saturating_sub(self.cutoff_len);
        let frame = usize::from(self.tokenizer.adds_bos());
        if over > 0 {
            match self.truncation {
                Truncation::Right => ids.truncate(self.cutoff_len),
                Truncation::Left => drop(ids.drain(frame..frame + over)),
                Truncation::Drop => return Err(self.too_long(length)),
                Truncation::Split => {
                    // Nearly equal parts: the last would otherwise be a scrap. Each begins as a text begins.
                    let bos = ids[..frame].to_vec();
                    let body = &ids[frame..];
                    let parts = body.len().div_ceil((self.cutoff_len - frame).max(1));
                    let part = |i: usize| [&bos, &body[body.len() * i / parts..body.len() * (i + 1) / parts]].concat();
                    return Ok((0..parts).map(|i| all_trained(self.joined(Vec::new(), part(i), 0))).collect());
                }
            }
        }
        Ok(vec![all_trained(self.joined(Vec::new(), ids, over))])
    }

    fn too_long(&self, length: usize) -> Dropped {
        dropped(format!("too long: {length} tokens, cutoff_len is {}", self.cutoff_len))
    }
}

impl std::fmt::Debug for Renderer {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.debug_struct("Renderer").field("task", &self.task).field("cutoff_len", &self.cutoff_len).finish_non_exhaustive()
    }
}

/// The template of a conversational task: the declared one, or the model's.
fn chat(task: &SftTask, own: Option<ChatTemplate>, tokenizer: &Tokenizer, eos: u32) -> Result<Option<Chat>, Error> {
    let declared = task.template.and_then(templates::source);
    let template = match &declared {
        Some(source) => Some(ChatTemplate::new(source, tokenizer.special_tokens().clone())?),
        None => own,
    };
    Ok(template.map(|template| Chat {
        template,
        declared: declared.is_some(),
        system: task.system.clone(),
        mask_history: task.mask_history,
        piecewise: Chat::pieces_are_exact(tokenizer),
        eos,
    }))
}

fn needed(chat: &Option<Chat>) -> Result<&Chat, Dropped> {
    chat.as_ref().ok_or_else(|| dropped(Error::NoTemplate.to_string()))
}

/// The ids of a text as a row begins: after one BOS if the tokenizer puts one, and never two. The tokenizer's own frame is not used,
/// because some put an EOS at the end of it, which must not stand before an answer.
fn framed(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>, TextError> {
    let mut ids = tokenizer.encode(text, false)?;
    if let Some(bos) = tokenizer.bos().filter(|bos| tokenizer.adds_bos() && ids.first() != Some(bos)) {
        ids.insert(0, bos);
    }
    Ok(ids)
}

fn label(id: u32) -> i32 {
    i32::try_from(id).expect("vocabularies are far below 2^31 tokens")
}

fn all_trained(mut row: Rendered) -> Rendered {
    row.labels = row.input_ids.iter().map(|&id| label(id)).collect();
    row
}

/// A class as the model writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelIds {
    /// The class's name.
    pub name: String,
    /// Its text.
    pub text: String,
    /// The text's tokens, tokenised by itself, without EOS.
    pub ids: Vec<u32>,
}
