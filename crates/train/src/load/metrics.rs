//! `metrics.jsonl` read back: for curves, and to find where a resumed run must cut it.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::error::{Result, TrainError};
use crate::observe::LogRecord;
use crate::save::METRICS_FILE;
use crate::save::disk::At;

/// The numbers of a run so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// Training lines.
    pub training: Vec<LogRecord>,
    /// Evaluations: (step, epoch, numbers by name without the prefix `eval_`).
    pub evaluations: Vec<(u64, f64, BTreeMap<String, f64>)>,
}

/// Reads `metrics.jsonl` of an output directory; empty if there is none.
///
/// # Errors
/// If it cannot be read, or a line is not what this crate writes; the message has file and line.
pub fn history(output: &Path) -> Result<History> {
    let path = output.join(METRICS_FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(History::default()),
        Err(error) => return Err(error).at("read", &path),
    };
    let mut history = History::default();
    for (number, line) in text.lines().enumerate() {
        let bad = |why: String| TrainError::Checkpoint { path: path.clone(), why: format!("line {}: {why}", number + 1) };
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).map_err(|error| bad(error.to_string()))?;
        if object.contains_key("loss") {
            history.training.push(serde_json::from_str(line).map_err(|error| bad(error.to_string()))?);
        } else if object.keys().any(|key| key.starts_with("eval_")) {
            let step = object.get("step").and_then(|v| v.as_u64()).ok_or_else(|| bad("no `step`".into()))?;
            let epoch = object.get("epoch").and_then(|v| v.as_f64()).ok_or_else(|| bad("no `epoch`".into()))?;
            let numbers = object.iter().filter_map(|(key, value)| {
                // JSON has no NaN: an evaluation's NaN was written as null.
                Some((key.strip_prefix("eval_")?.to_owned(), value.as_f64().unwrap_or(f64::NAN)))
            });
            history.evaluations.push((step, epoch, numbers.collect()));
        }
    }
    Ok(history)
}

/// Where to cut the file so that at most `keep` bytes and only whole lines stay, and how many lines that cuts off.
pub(crate) fn cut_at(path: &Path, keep: u64) -> Result<(u64, u64)> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok((0, 0)),
        Err(error) => return Err(error).at("read", path),
    };
    let head = &bytes[..bytes.len().min(keep as usize)];
    let keep = head.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    let tail = &bytes[keep..];
    let cut = tail.iter().filter(|&&byte| byte == b'\n').count() + usize::from(tail.last().is_some_and(|&byte| byte != b'\n'));
    Ok((keep as u64, cut as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_at_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(METRICS_FILE);
        assert_eq!(cut_at(&path, 10).unwrap(), (0, 0));
        fs::write(&path, "{}\n{}\n{}\n{").unwrap();
        assert_eq!(cut_at(&path, 6).unwrap(), (6, 2));
        assert_eq!(cut_at(&path, 7).unwrap(), (6, 2));
        assert_eq!(cut_at(&path, 0).unwrap(), (0, 4));
        assert_eq!(cut_at(&path, 1000).unwrap(), (9, 1));
    }
}
