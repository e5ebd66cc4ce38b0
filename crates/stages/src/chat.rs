//! A conversation with a model in the terminal or a page: the rendered history, a cache that is kept between turns.

use std::ops::ControlFlow;

use generate::{GenerateError, Generation, Prompt, SamplingParams, Session};
use text::{ChatTemplate, Message};

use crate::error::{Result, StageError};
use crate::open::{Opened, SamplingChoice};

/// A conversation under way.
pub struct Chat {
    opened: Opened,
    template: Option<ChatTemplate>,
    sampling: SamplingParams,
    session: Session,
    system: Option<Message>,
    turns: Vec<Message>,
    answers: u64,
    forgotten: usize,
}

impl Chat {
    /// Begins a conversation.
    ///
    /// # Errors
    /// Sampling values out of range; a chat template that cannot be read.
    pub fn new(opened: Opened, system: Option<String>, choice: SamplingChoice) -> Result<Self> {
        let template = opened.tokenizer.chat_template()?;
        if template.is_none() && system.is_some() {
            return Err(StageError::input("--system: the model has no chat template, so it knows no system message"));
        }
        let sampling = opened.sampling(&choice)?;
        let session = Session::new(&opened.decoder, CONTEXT);
        let system = system.map(|text| Message::new("system", text));
        Ok(Self { opened, template, sampling, session, system, turns: Vec::new(), answers: 0, forgotten: 0 })
    }

    /// Forgets the turns so far; the system message stays.
    pub fn clear(&mut self) {
        self.turns.clear();
        self.forgotten = 0;
    }

    /// Messages (questions and answers) that the model no longer sees, because the conversation outgrew its context.
    pub fn forgotten(&self) -> usize {
        self.forgotten
    }

    /// Says something and streams the answer. `on_piece` gets whole characters and returns whether to go on.
    ///
    /// A conversation that outgrows the context loses its oldest turns: [`forgotten`](Self::forgotten) counts them.
    pub fn say(&mut self, text: &str, on_piece: &mut dyn FnMut(&str) -> bool) -> Result<Generation> {
        self.turns.push(Message::new("user", text));
        loop {
            let prompt = self.prompt()?;
            let opened = &self.opened;
            let mut forward = |piece: &str| if on_piece(piece) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
            let reply = self.session.reply(
                &opened.decoder,
                &opened.params,
                &opened.arena,
                &opened.tokenizer,
                &prompt,
                &self.sampling,
                &mut forward,
            );
            match reply {
                Err(GenerateError::PromptTooLong { .. }) if self.turns.len() > 2 => {
                    self.turns.drain(..2);
                    self.forgotten += 2;
                }
                Err(e) => {
                    self.turns.pop();
                    return Err(e.into());
                }
                Ok(generation) => {
                    self.answers += 1;
                    self.turns.push(Message::new("assistant", generation.text.clone()));
                    return Ok(generation);
                }
            }
        }
    }

    fn prompt(&self) -> Result<Prompt> {
        let stream = self.answers;
        if let Some(template) = &self.template {
            let messages: Vec<Message> = self.system.iter().chain(&self.turns).cloned().collect();
            let text = template.render(&messages, None, true, &Default::default())?.text;
            // The template writes its own beginning-of-text token: a second one would never have been seen in training.
            let ids = self.opened.tokenizer.encode(&text, false)?;
            return Ok(Prompt { text, ids, stream });
        }
        // A base model without a template continues the text of the turns.
        let text: Vec<String> = self.turns.iter().map(Message::text).collect();
        let text = text.join("\n");
        let ids = self.opened.tokenizer.encode(&text, true)?;
        Ok(Prompt { text, ids, stream })
    }
}

/// Longest conversation kept in the cache, in tokens; a model's shorter context limits it further.
const CONTEXT: usize = 8192;
