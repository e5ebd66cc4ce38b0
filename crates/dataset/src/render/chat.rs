//! Conversations: the template's text as ids, with the places that the assistant wrote.
//!
//! **What the assistant wrote** comes from the template's `{% generation %}` blocks; where it has none, from rendering the conversation
//! turn by turn: what appears between "the turns before, and the header of an answer" and "the turns up to the answer" is the answer.
//! Each rendering must be a prefix of the whole one; a template that rewrites earlier turns is refused for rows that train them.
//!
//! **Tokens never straddle a border** between given and written text: the pieces are tokenised one by one, because at serving time the
//! model is given the one and writes the other. Only where a tokenizer puts a space before every piece (SentencePiece) the whole is
//! tokenised at once, and a token that lies on both sides counts as written.
//!
//! A question goes the same way as a training row, so the ids of a question are exactly those that precede the answer in training.
//!
//! **EOS** ends every complete answer, once: if the template wrote an end-of-turn token it is trained, if it wrote none one is added.

use std::ops::Range;

use serde_json::{Map, Value};
use text::{ChatTemplate, Content, Message, Tokenizer};

use super::{Dropped, dropped};
use crate::sample::Turn;

/// A template and how it is used.
pub(super) struct Chat {
    pub(super) template: ChatTemplate,
    /// One of ours: it writes no BOS and knows plain texts only.
    pub(super) declared: bool,
    /// The system message of conversations that have none.
    pub(super) system: Option<String>,
    pub(super) mask_history: bool,
    /// Whether a piece of text can be tokenised by itself.
    pub(super) piecewise: bool,
    pub(super) eos: u32,
}

/// A conversation as ids, with whether each is the assistant's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Conversation {
    pub(super) text: String,
    pub(super) ids: Vec<u32>,
    pub(super) trained: Vec<bool>,
}

/// A stretch of text that the assistant wrote.
struct Answer {
    bytes: Range<usize>,
    trained: bool,
    /// Found by prefixes: it may hold white space after the end of the turn, which nobody has to learn.
    by_prefix: bool,
}

impl Chat {
    /// Whether text pieces of this tokenizer can be tokenised one by one: not if it puts a space before each.
    pub(super) fn pieces_are_exact(tokenizer: &Tokenizer) -> bool {
        let first = tokenizer.encode("a", false).ok().and_then(|ids| ids.first().copied());
        first.and_then(|id| tokenizer.byte_surface(id)).is_some_and(|bytes| bytes == b"a")
    }

    /// The whole conversation. With `ask`, it ends with the header of the assistant's next turn.
    pub(super) fn conversation(
        &self,
        turns: &[Turn],
        tools: Option<&[Value]>,
        ask: bool,
        tokenizer: &Tokenizer,
    ) -> Result<Conversation, Dropped> {
        let messages = self.messages(turns, tokenizer);
        // The default system message, if it was put in front.
        let added = messages.len() - turns.len();
        let rendered = self.render(&messages, tools, ask)?;
        let wanted = |i: usize| {
            !ask && match i.checked_sub(added).and_then(|at| turns[at].train) {
                Some(train) => train,
                None => !self.mask_history || messages[i + 1..].iter().all(|m| m.role != "assistant"),
            }
        };
        let written: Vec<usize> = (0..messages.len()).filter(|&i| messages[i].role == "assistant").collect();
        let answers = if self.template.marks_generation() {
            marked(&rendered.generation_spans, &written, wanted)?
        } else {
            self.by_prefixes(&messages, tools, &rendered.text, &written, wanted)?
        };
        self.tokenise(rendered.text, &answers, tokenizer)
    }

    /// The messages that the template sees.
    fn messages(&self, turns: &[Turn], tokenizer: &Tokenizer) -> Vec<Message> {
        let mut messages = Vec::with_capacity(turns.len() + 1);
        if let Some(system) = &self.system
            && turns.first().is_none_or(|turn| turn.message.role != "system")
        {
            messages.push(Message::system(system.as_str()));
        }
        let eos = tokenizer.special_tokens().eos().unwrap_or_default();
        messages.extend(turns.iter().map(|turn| {
            let mut message = turn.message.clone();
            if self.declared {
                message.content = Some(Content::Text(message.text()));
            }
            // Rows that bring their own EOS would end with two.
            if let (true, Some(Content::Text(text))) = (message.role == "assistant" && !eos.is_empty(), &mut message.content)
                && let Some(bare) = text.trim_end().strip_suffix(eos)
            {
                *text = bare.to_owned();
            }
            message
        }));
        messages
    }

    fn render(&self, messages: &[Message], tools: Option<&[Value]>, ask: bool) -> Result<text::Rendered, Dropped> {
        self.template.render(messages, tools, ask, &Map::new()).map_err(Dropped::from)
    }

    /// The answers of a template without marks. Those that are not trained may stay unfound.
    fn by_prefixes(
        &self,
        messages: &[Message],
        tools: Option<&[Value]>,
        whole: &str,
        written: &[usize],
        wanted: impl Fn(usize) -> bool,
    ) -> Result<Vec<Answer>, Dropped> {
        let mut answers = Vec::with_capacity(written.len());
        for &i in written {
            let find = || {
                let before = self.render(&messages[..i], tools, true)?.text;
                let through = self.render(&messages[..=i], tools, false)?.text;
                if through.starts_with(&before) && whole.starts_with(&through) {
                    Ok(before.len()..through.len())
                } else {
                    Err(dropped(format!(
                        "the chat template writes turn {} otherwise when more follows, so its words cannot be told from the rest: \
                         use a template with {{% generation %}} blocks, or train on the last answer alone (`mask_history: true`)",
                        i + 1
                    )))
                }
            };
            match find() {
                Ok(bytes) => answers.push(Answer { bytes, trained: wanted(i), by_prefix: true }),
                Err(error) if wanted(i) => return Err(error),
                Err(_) => {}
            }
        }
        Ok(answers)
    }

    /// Ids of the pieces, EOS where it belongs, and the mask.
    fn tokenise(&self, text: String, answers: &[Answer], tokenizer: &Tokenizer) -> Result<Conversation, Dropped> {
        // Each piece: its ids, and the answer that it is.
        let mut pieces: Vec<(Vec<u32>, Option<&Answer>)> = Vec::new();
        if self.piecewise {
            let mut at = 0;
            for answer in answers {
                pieces.push((tokenizer.encode(&text[at..answer.bytes.start], false)?, None));
                pieces.push((tokenizer.encode(&text[answer.bytes.clone()], false)?, Some(answer)));
                at = answer.bytes.end;
            }
            pieces.push((tokenizer.encode(&text[at..], false)?, None));
        } else {
            let encoding = tokenizer.encode_with_offsets(&text, false)?;
            let mut owner: Vec<Option<usize>> = vec![None; encoding.ids.len()];
            for (a, answer) in answers.iter().enumerate() {
                let mask = encoding.mask(std::slice::from_ref(&answer.bytes));
                owner.iter_mut().zip(mask).filter(|(_, inside)| *inside).for_each(|(o, _)| *o = Some(a));
            }
            for (id, owner) in encoding.ids.into_iter().zip(owner) {
                let answer = owner.map(|a| &answers[a]);
                match pieces.last_mut() {
                    Some((ids, last)) if last.map(std::ptr::from_ref) == answer.map(std::ptr::from_ref) => ids.push(id),
                    _ => pieces.push((vec![id], answer)),
                }
            }
        }

        let mut ids = Vec::new();
        let mut trained = Vec::new();
        if self.declared && tokenizer.adds_bos() {
            ids.extend(tokenizer.bos());
            trained.resize(ids.len(), false);
        }
        // Trained-ness of an EOS that is expected at the start of the next piece.
        let mut owed: Option<bool> = None;
        for (piece, answer) in &pieces {
            if let (Some(train), false) = (owed, piece.is_empty() && answer.is_none()) {
                match self.leading_eos(piece, tokenizer) {
                    // The template wrote it outside of its mark: it is trained with the answer.
                    Some(n) if answer.is_none() => {
                        trained.extend(std::iter::repeat_n(train, n));
                    }
                    _ => {
                        ids.push(self.eos);
                        trained.push(train);
                    }
                }
                owed = None;
            }
            ids.extend_from_slice(piece);
            let Some(answer) = answer else {
                trained.resize(ids.len(), false);
                continue;
            };
            let end = self.closing_eos(piece, tokenizer);
            let learned = match end {
                Some(end) if answer.by_prefix => end,
                _ => piece.len(),
            };
            trained.extend(std::iter::repeat_n(answer.trained, learned));
            trained.resize(ids.len(), false);
            owed = end.is_none().then_some(answer.trained);
        }
        if let Some(train) = owed {
            ids.push(self.eos);
            trained.push(train);
        }
        Ok(Conversation { text, ids, trained })
    }

    fn ends_turn(&self, id: u32, tokenizer: &Tokenizer) -> bool {
        id == self.eos || tokenizer.eos_ids().contains(&id)
    }

    /// Number of tokens up to and including an end-of-turn token at the start of a piece, white space before it aside.
    fn leading_eos(&self, piece: &[u32], tokenizer: &Tokenizer) -> Option<usize> {
        let at = piece.iter().position(|&id| !is_blank(id, tokenizer))?;
        self.ends_turn(piece[at], tokenizer).then_some(at + 1)
    }

    /// Number of tokens up to and including an end-of-turn token at the end of a piece, white space after it aside.
    fn closing_eos(&self, piece: &[u32], tokenizer: &Tokenizer) -> Option<usize> {
        let at = piece.iter().rposition(|&id| !is_blank(id, tokenizer))?;
        self.ends_turn(piece[at], tokenizer).then_some(at + 1)
    }
}

/// The answers of a template that marks them: one mark for each assistant turn, or no wish to tell turns apart.
fn marked(spans: &[Range<usize>], written: &[usize], wanted: impl Fn(usize) -> bool) -> Result<Vec<Answer>, Dropped> {
    let answer = |(bytes, trained): (&Range<usize>, bool)| Answer { bytes: bytes.clone(), trained, by_prefix: false };
    if spans.len() == written.len() {
        return Ok(spans.iter().zip(written.iter().map(|&i| wanted(i))).map(answer).collect());
    }
    let trained = written.iter().filter(|&&i| wanted(i)).count();
    if trained == 0 || trained == written.len() {
        return Ok(spans.iter().map(|span| answer((span, trained > 0))).collect());
    }
    Err(dropped(format!(
        "the chat template marks {} stretches for {} assistant turns, so one turn cannot be trained without the others",
        spans.len(),
        written.len()
    )))
}

fn is_blank(id: u32, tokenizer: &Tokenizer) -> bool {
    tokenizer.byte_surface(id).is_some_and(|bytes| bytes.iter().all(u8::is_ascii_whitespace))
}
