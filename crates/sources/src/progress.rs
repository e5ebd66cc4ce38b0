//! How a download tells the caller what it does: a trait for the terminal or the page to implement, a silent one, and
//! one that writes plain lines with rate and time left.

use std::io::Write;
use std::time::{Duration, Instant};

/// What a caller may show while sources are resolved.
pub trait DownloadProgress {
    /// A transfer begins. `what` names it, `total` is its size in bytes where known, `already` the bytes that an earlier
    /// run left behind.
    fn start(&mut self, what: &str, total: Option<u64>, already: u64);
    /// `n` more bytes arrived.
    fn advance(&mut self, n: u64);
    /// The transfer that was started last ended (well or badly).
    fn finish(&mut self);
    /// Something worth a line: a fail-over with its reason, waiting for another process, a copy from the cache.
    fn note(&mut self, msg: &str);
    /// Asked between chunks and while waiting: true ends the work with [`crate::SourceError::Cancelled`].
    fn cancelled(&self) -> bool {
        false
    }
}

/// Shows nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl DownloadProgress for Silent {
    fn start(&mut self, _what: &str, _total: Option<u64>, _already: u64) {}
    fn advance(&mut self, _n: u64) {}
    fn finish(&mut self) {}
    fn note(&mut self, _msg: &str) {}
}

/// Plain lines for logs and pipes: one at the start, one every few seconds with rate and time left, one at the end.
#[derive(Debug)]
pub struct Lines<W> {
    out: W,
    every: Duration,
    current: Option<Transfer>,
}

#[derive(Debug)]
struct Transfer {
    what: String,
    total: Option<u64>,
    already: u64,
    here: u64,
    begun: Instant,
    shown: Instant,
}

impl<W: Write> Lines<W> {
    /// Writes to `out`, at most one line in `every` while bytes flow. A line that cannot be written is dropped: progress
    /// must not end a download.
    pub fn new(out: W, every: Duration) -> Self {
        Self { out, every, current: None }
    }

    fn line(&mut self, text: &str) {
        let _ = writeln!(self.out, "{text}");
        let _ = self.out.flush();
    }
}

impl<W: Write> DownloadProgress for Lines<W> {
    fn start(&mut self, what: &str, total: Option<u64>, already: u64) {
        let size = total.map_or_else(|| "size unknown".to_owned(), bytes);
        let resumed = if already > 0 { format!(", {} already here", bytes(already)) } else { String::new() };
        self.line(&format!("{what}: {size}{resumed}"));
        let now = Instant::now();
        self.current = Some(Transfer { what: what.to_owned(), total, already, here: 0, begun: now, shown: now });
    }

    fn advance(&mut self, n: u64) {
        let every = self.every;
        let Some(t) = &mut self.current else { return };
        t.here += n;
        if t.shown.elapsed() < every {
            return;
        }
        t.shown = Instant::now();
        let text = describe(&t.what, t.total, t.already, t.here, t.begun.elapsed());
        self.line(&text);
    }

    fn finish(&mut self) {
        if let Some(t) = self.current.take() {
            let text = describe(&t.what, t.total, t.already, t.here, t.begun.elapsed());
            self.line(&text);
        }
    }

    fn note(&mut self, msg: &str) {
        self.line(msg);
    }
}

/// `what: 3.1 of 94.6 MB (3%), 1.2 MB/s, 1m16s left`; `here` counts what arrived in `elapsed`, on top of `already`.
pub fn describe(what: &str, total: Option<u64>, already: u64, here: u64, elapsed: Duration) -> String {
    let done = already + here;
    let rate = here as f64 / elapsed.as_secs_f64().max(1e-3);
    let mut text = match total {
        Some(total) if total > 0 => {
            format!("{what}: {} of {} ({}%)", bytes(done), bytes(total), done.saturating_mul(100) / total)
        }
        _ => format!("{what}: {}", bytes(done)),
    };
    if here > 0 {
        text.push_str(&format!(", {}/s", bytes(rate as u64)));
    }
    if let Some(left) = total.and_then(|t| t.checked_sub(done)).filter(|&left| left > 0 && rate >= 1.0) {
        text.push_str(&format!(", {} left", duration((left as f64 / rate).ceil() as u64)));
    }
    text
}

/// A size for people: decimal units as disks and downloads are labelled.
pub fn bytes(n: u64) -> String {
    let n = n as f64;
    match n {
        n if n < 1e3 => format!("{n} B"),
        n if n < 999.5e3 => format!("{:.0} kB", n / 1e3),
        n if n < 999.95e6 => format!("{:.1} MB", n / 1e6),
        n => format!("{:.2} GB", n / 1e9),
    }
}

fn duration(seconds: u64) -> String {
    match seconds {
        s if s < 60 => format!("{s}s"),
        s if s < 3600 => format!("{}m{:02}s", s / 60, s % 60),
        s => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_rate_and_time_left() {
        let text = describe("a.gguf", Some(94_600_000), 4_600_000, 10_000_000, Duration::from_secs(5));
        assert_eq!(text, "a.gguf: 14.6 MB of 94.6 MB (15%), 2.0 MB/s, 40s left");
        assert_eq!(describe("a", Some(10), 10, 0, Duration::ZERO), "a: 10 B of 10 B (100%)");
        assert_eq!(describe("a", None, 0, 7_600, Duration::from_secs(2)), "a: 8 kB, 4 kB/s");
        assert!(describe("a", Some(80_000_000), 0, 1_000_000, Duration::from_secs(1)).ends_with("1m19s left"));
        assert!(describe("a", Some(8_000_000_000), 0, 1_000_000, Duration::from_secs(1)).ends_with("2h13m left"));
        // A server that announces less than it sends must not underflow.
        assert_eq!(describe("a", Some(5), 0, 10, Duration::from_secs(1)), "a: 10 B of 5 B (200%), 10 B/s");
    }

    #[test]
    fn writes_plain_lines() {
        let mut out = Vec::new();
        let mut lines = Lines::new(&mut out, Duration::ZERO);
        lines.advance(1); // without a start: ignored
        lines.start("f", Some(2000), 500);
        lines.advance(1500);
        lines.finish();
        lines.finish();
        lines.note("done");
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "f: 2 kB, 500 B already here");
        assert!(lines[1].starts_with("f: 2 kB of 2 kB (100%)"), "{text}");
        assert_eq!(lines.last(), Some(&"done"));
        assert_eq!(lines.len(), 4);
    }
}
