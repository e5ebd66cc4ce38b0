//! A session of annotating on a real terminal: keys in, screens out. Owns the `crossterm` library; what keys mean is the library's.

use std::io::{self, IsTerminal, Write};

use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use crossterm::style::{Attribute, Color, Print, ResetColor, SetAttribute, SetForegroundColor};
use crossterm::terminal::{Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size};
use crossterm::{cursor, execute, queue};
use stages::label::annotate::Annotating;
use stages::label::{Key, Screen, Style};
use stages::{Result, StageError};

/// Runs a session until its user ends it.
pub fn run(annotating: &mut Annotating) -> Result<()> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(StageError::input_help(
            "annotating by keys needs a terminal",
            "`label queue` writes rows to fill in anywhere, `label import jsonl` reads them back",
        ));
    }
    let fail = |e: io::Error| StageError::Work { message: format!("the terminal: {e}"), help: None };
    let raw = Raw::enter().map_err(fail)?;
    let outcome = keys(annotating);
    drop(raw);
    outcome
}

fn keys(annotating: &mut Annotating) -> Result<()> {
    let fail = |e: io::Error| StageError::Work { message: format!("the terminal: {e}"), help: None };
    loop {
        let (width, height) = size().unwrap_or((80, 24));
        draw(&annotating.screen(width.into()).fit(usize::from(height).saturating_sub(1))).map_err(fail)?;
        let Event::Key(pressed) = event::read().map_err(fail)? else { continue };
        if pressed.kind == KeyEventKind::Release {
            continue;
        }
        let key = match pressed.code {
            KeyCode::Char('c' | 'd') if pressed.modifiers.contains(KeyModifiers::CONTROL) => return Ok(()),
            KeyCode::Char(c) => Key::Char(c),
            KeyCode::Enter => Key::Enter,
            KeyCode::Esc => Key::Escape,
            KeyCode::Backspace => Key::Backspace,
            KeyCode::Tab | KeyCode::Down => Key::Next,
            KeyCode::BackTab | KeyCode::Up => Key::Previous,
            KeyCode::Left => Key::Left,
            KeyCode::Right => Key::Right,
            _ => continue,
        };
        if !annotating.key(key)? {
            return Ok(());
        }
    }
}

/// The other screen, without echo; the user's own comes back however this ends.
struct Raw;

impl Raw {
    fn enter() -> io::Result<Raw> {
        enable_raw_mode()?;
        let raw = Raw;
        execute!(io::stdout(), EnterAlternateScreen, cursor::Hide)?;
        Ok(raw)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // There is nobody left to tell if this fails.
        let _ = execute!(io::stdout(), cursor::Show, LeaveAlternateScreen);
        let _ = disable_raw_mode();
    }
}

fn draw(screen: &Screen) -> io::Result<()> {
    let mut out = io::stdout().lock();
    queue!(out, cursor::MoveTo(0, 0), Clear(ClearType::All))?;
    for line in &screen.lines {
        for piece in line {
            match piece.style {
                Style::Plain => {}
                Style::Dim => queue!(out, SetAttribute(Attribute::Dim))?,
                Style::Bold => queue!(out, SetAttribute(Attribute::Bold))?,
                Style::Good => queue!(out, SetForegroundColor(Color::Green))?,
                Style::Bad => queue!(out, SetForegroundColor(Color::Red), SetAttribute(Attribute::CrossedOut))?,
                Style::Open => queue!(out, SetForegroundColor(Color::Yellow))?,
                Style::Cursor => queue!(out, SetAttribute(Attribute::Reverse))?,
            }
            queue!(out, Print(&piece.text), SetAttribute(Attribute::Reset), ResetColor)?;
        }
        queue!(out, Print("\r\n"))?;
    }
    out.flush()
}
