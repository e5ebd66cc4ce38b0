//! `tunesmith chat RUN_OR_MODEL`

use std::io::{self, BufRead, IsTerminal, Write};

use stages::Result;
use stages::chat::Chat as Conversation;

use super::{Context, open, sampling};
use crate::output;
use crate::{cli::Chat, stop};

pub fn run(context: &Context, args: &Chat) -> Result<()> {
    let mut screen = context.screen();
    let opened = open(context, &args.target, &mut screen)?;
    let mut chat = Conversation::new(opened, args.system.clone(), sampling(&args.sampling))?;
    let terminal = io::stdin().is_terminal();
    if terminal {
        output::note(format_args!("talking with {}; /clear starts anew, /quit or Ctrl-D ends", args.target.target));
    }
    let mut line = String::new();
    let mut forgotten = 0;
    loop {
        if terminal {
            let _ = write!(io::stderr(), "> ").and_then(|()| io::stderr().flush());
        }
        line.clear();
        let read = io::stdin().lock().read_line(&mut line);
        match (read, line.trim()) {
            (Ok(0) | Err(_), _) | (_, "/quit" | "/exit") => return Ok(()),
            (_, "") => continue,
            (_, "/clear") => chat.clear(),
            (_, text) => {
                let turn = if context.json {
                    chat.say(text, &mut |_| !stop::asked())?
                } else {
                    let turn = chat.say(text, &mut |piece| {
                        output::piece(piece);
                        !stop::asked()
                    })?;
                    output::line("");
                    turn
                };
                if context.json {
                    output::json(&turn);
                }
                if chat.forgotten() > forgotten {
                    let text = "the conversation outgrew the model's context: the model no longer sees its oldest";
                    output::note(format_args!("{text} {} messages", chat.forgotten()));
                }
                forgotten = chat.forgotten();
                if stop::asked() {
                    return Ok(());
                }
            }
        }
    }
}
