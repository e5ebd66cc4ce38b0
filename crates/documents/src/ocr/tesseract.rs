//! Tesseract as a process: pictures in through a pipe, words with boxes and confidences out as tab-separated values.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::picture::pgm;
use super::{Found, Orientation};
use crate::pdf::Gray;

/// A page takes seconds; one that takes minutes is not text.
const PATIENCE: Duration = Duration::from_secs(180);
/// How sure the script must be to be believed.
const SURE: f32 = 0.5;

/// What Debian calls the packages.
const INSTALL: &str = "`apt-get install tesseract-ocr tesseract-ocr-chi-sim` brings it";

/// The recogniser.
pub struct Tesseract {
    /// Languages to use instead of the page's own, as Tesseract names them (`chi_sim`, `eng`).
    language: Option<String>,
    installed: OnceLock<Result<Vec<String>, String>>,
}

impl Tesseract {
    /// With the language told from each page, or the one given.
    pub fn new(language: Option<String>) -> Self {
        Tesseract { language, installed: OnceLock::new() }
    }

    /// The settings that a result depends on: whether Tesseract is there is one of them, so that installing it reads again what needs it.
    pub(super) fn describe(&self) -> String {
        let there = self.languages().map_or("missing".to_owned(), |l| l.join(","));
        format!("tesseract 1 {}; {there}", self.language.as_deref().unwrap_or("auto"))
    }

    /// Languages that are installed.
    ///
    /// # Errors
    /// It is not installed, or has no language: the message names the package.
    pub fn languages(&self) -> Result<&[String], String> {
        let ask = || {
            let output = Command::new("tesseract")
                .arg("--list-langs")
                .stdin(Stdio::null())
                .output()
                .map_err(|_| format!("it is a picture, and reading it needs Tesseract, which is not installed: {INSTALL}"))?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            let languages: Vec<String> =
                text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.contains(' ')).map(str::to_owned).collect();
            if languages.iter().any(|l| l != "osd") {
                Ok(languages)
            } else {
                Err(format!("Tesseract has no language installed: {INSTALL}"))
            }
        };
        self.installed.get_or_init(ask).as_deref().map_err(Clone::clone)
    }

    /// Whether pages can be read.
    pub(super) fn ready(&self) -> Result<(), String> {
        let languages = self.languages()?;
        for wanted in self.language.iter().flat_map(|l| l.split('+')) {
            if !languages.iter().any(|l| l == wanted) {
                return Err(format!(
                    "Tesseract's language {wanted} is not installed: `apt-get install tesseract-ocr-{}`",
                    wanted.replace('_', "-")
                ));
            }
        }
        Ok(())
    }

    /// Script and turn of a page; `None` where it cannot be told (few letters, or its data are not installed).
    pub(super) fn orientation(&self, picture: &Gray) -> Option<Orientation> {
        let out = run(&["stdin", "stdout", "--psm", "0", "-l", "osd", "--dpi", "300"], picture).ok()?;
        parse_orientation(&out)
    }

    /// Words of an upright picture and the language they were read in.
    pub(super) fn read(&self, picture: &Gray, orientation: &Orientation, hint: &str) -> Result<(String, Vec<Found>), String> {
        let candidates = match &self.language {
            Some(language) => vec![language.clone()],
            None => candidates(self.languages()?, orientation, hint),
        };
        let mut best: Option<(f32, String, Vec<Found>)> = None;
        for language in candidates {
            let out = run(&["stdin", "stdout", "--psm", "3", "-l", &language, "--dpi", "300", "tsv"], picture)?;
            let words = parse_words(&out);
            let letters: f32 = words.iter().map(|w| w.text.chars().count() as f32).sum();
            let sure = words.iter().map(|w| w.confidence * w.text.chars().count() as f32).sum::<f32>() / letters.max(1.0);
            if best.as_ref().is_none_or(|(s, ..)| sure > *s) {
                best = Some((sure, language, words));
            }
        }
        best.map(|(_, language, words)| (language, words)).ok_or_else(|| format!("Tesseract has no language for this page: {INSTALL}"))
    }
}

/// Languages to try: one where the script is known, Chinese and English where it is not. One at a time: both at once read worse than the
/// right one alone.
fn candidates(installed: &[String], orientation: &Orientation, hint: &str) -> Vec<String> {
    let has = |l: &str| installed.iter().any(|i| i == l);
    let chinese = || ["chi_sim", "chi_tra"].into_iter().find(|l| has(l)).map(str::to_owned);
    let latin = || {
        let others = installed.iter().find(|l| *l != "osd" && !l.starts_with("chi") && !l.starts_with("jpn") && !l.starts_with("kor"));
        if has("eng") { Some("eng".to_owned()) } else { others.cloned() }
    };
    let by_script = match orientation.script.as_str() {
        "Han" => chinese(),
        "Latin" => latin(),
        "Japanese" => has("jpn").then(|| "jpn".to_owned()).or_else(chinese),
        "Korean" | "Hangul" => has("kor").then(|| "kor".to_owned()),
        "Cyrillic" => has("rus").then(|| "rus".to_owned()),
        "Arabic" => has("ara").then(|| "ara".to_owned()),
        _ => None,
    };
    if let Some(language) = by_script.filter(|_| orientation.confidence >= SURE) {
        return vec![language];
    }
    let first = match crate::script::cjk_share(hint) {
        Some(share) if share > 0.3 => chinese(),
        Some(_) => latin(),
        None => None,
    };
    let mut all: Vec<String> = first.into_iter().chain(chinese()).chain(latin()).collect();
    let mut seen = Vec::new();
    all.retain(|l| {
        !seen.contains(l) && {
            seen.push(l.clone());
            true
        }
    });
    all
}

/// Runs Tesseract on a picture; what it prints.
fn run(arguments: &[&str], picture: &Gray) -> Result<String, String> {
    let mut child = Command::new("tesseract")
        .args(arguments)
        // Pages run side by side; threads within a page would only fight for the cores.
        .env("OMP_THREAD_LIMIT", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("Tesseract cannot be started: {e}; {INSTALL}"))?;
    let (mut stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if let Some(stdin) = stdin.as_mut() {
                // One that ends early says why on its own.
                let _ = stdin.write_all(&pgm(picture));
            }
        });
        let out = scope.spawn(move || drain(stdout));
        let err = scope.spawn(move || drain(stderr));
        let status = wait(&mut child);
        let (out, err) = (out.join().unwrap_or_default(), err.join().unwrap_or_default());
        match status {
            Ok(true) => Ok(out),
            Ok(false) => Err(format!("Tesseract failed: {}", err.lines().last().unwrap_or("it did not say why"))),
            Err(reason) => Err(reason),
        }
    })
}

fn drain(stream: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        let _ = stream.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Waits for a process with patience; ends it after that.
fn wait(child: &mut Child) -> Result<bool, String> {
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status.success()),
            Ok(None) if begun.elapsed() > PATIENCE => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("Tesseract did not finish this page in {} s", PATIENCE.as_secs()));
            }
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            Err(e) => return Err(format!("Tesseract was lost: {e}")),
        }
    }
}

fn parse_orientation(text: &str) -> Option<Orientation> {
    let value = |name: &str| text.lines().find_map(|l| l.strip_prefix(name)).map(str::trim);
    let rotate: u16 = value("Rotate:")?.parse().ok()?;
    let sure: f32 = value("Orientation confidence:").and_then(|v| v.parse().ok()).unwrap_or(0.0);
    Some(Orientation {
        // A turn that is guessed does more harm than none.
        rotate: if sure >= 2.0 && rotate.is_multiple_of(90) { rotate % 360 } else { 0 },
        script: value("Script:")?.to_owned(),
        confidence: value("Script confidence:").and_then(|v| v.parse().ok()).unwrap_or(0.0),
    })
}

/// Words of Tesseract's table: level, page, block, paragraph, line, word, left, top, width, height, confidence, text.
fn parse_words(tsv: &str) -> Vec<Found> {
    let mut out = Vec::new();
    for row in tsv.lines().skip(1) {
        let cells: Vec<&str> = row.splitn(12, '\t').collect();
        let [level, _, block, paragraph, line, _, left, top, width, height, confidence, text] = cells[..] else { continue };
        let text = text.trim();
        if level != "5" || text.is_empty() {
            continue;
        }
        let number = |cell: &str| cell.parse::<f32>().unwrap_or(0.0);
        let integer = |cell: &str| cell.parse::<u32>().unwrap_or(0);
        out.push(Found {
            line: (integer(block), integer(paragraph), integer(line)),
            text: text.to_owned(),
            x: number(left),
            y: number(top),
            width: number(width),
            height: number(height),
            confidence: (number(confidence) / 100.0).clamp(0.0, 1.0),
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn langs(names: &[&str]) -> Vec<String> {
        names.iter().map(|n| (*n).to_owned()).collect()
    }

    #[test]
    fn the_language_follows_the_page() {
        let all = langs(&["chi_sim", "eng", "osd"]);
        let page = |script: &str, confidence| Orientation { rotate: 0, script: script.into(), confidence };
        assert_eq!(candidates(&all, &page("Han", 3.0), ""), ["chi_sim"]);
        assert_eq!(candidates(&all, &page("Latin", 3.0), "中文"), ["eng"]);
        assert_eq!(candidates(&all, &page("Han", 0.0), "English words"), ["eng", "chi_sim"]);
        assert_eq!(candidates(&all, &Orientation::default(), ""), ["chi_sim", "eng"]);
        assert_eq!(candidates(&langs(&["deu", "osd"]), &page("Latin", 3.0), ""), ["deu"]);
    }

    #[test]
    fn tables_of_words_are_parsed() {
        let tsv = "level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext\n\
                   4\t1\t1\t1\t1\t0\t10\t10\t90\t20\t-1\t\n5\t1\t1\t1\t1\t1\t10\t12\t40\t18\t96.5\tRent\nbroken\n5\t1\t1\t1\t2\t1\t10\t42\t40\t18\t50\t租\t金\n";
        let words = parse_words(tsv);
        assert_eq!(words.len(), 2);
        assert_eq!((words[0].text.as_str(), words[0].x, words[0].height, words[0].line), ("Rent", 10.0, 18.0, (1, 1, 1)));
        assert!((words[0].confidence - 0.965).abs() < 1e-6);
        let osd =
            "Page number: 0\nOrientation in degrees: 270\nRotate: 90\nOrientation confidence: 8.2\nScript: Han\nScript confidence: 2.1\n";
        assert_eq!(parse_orientation(osd), Some(Orientation { rotate: 90, script: "Han".into(), confidence: 2.1 }));
        assert_eq!(parse_orientation("Too few characters"), None);
    }
}
