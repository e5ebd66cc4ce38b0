//! The rows that a run used, as JSON lines: `train.jsonl` and `heldout.jsonl`.
//!
//! Every column is named by its role, so the files read back without a column map, here and in any other tool.

pub mod parquet;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::sample::{Sample, SampleKind};

/// One sample as a JSON object: `id`, its fields (`text`, `label`; `prompt`, `completion`; `messages`, `tools`), where its text was cut from
/// if that is known (`source`, `file`, `page`, `range`), and its `origin`.
pub fn row(sample: &Sample) -> Map<String, Value> {
    let mut row = Map::new();
    row.insert("id".into(), sample.id.as_str().into());
    match &sample.kind {
        SampleKind::Classify { fields, label } => {
            row.extend(fields.iter().map(|(name, text)| (name.clone(), text.as_str().into())));
            if let Some(label) = label {
                row.insert("label".into(), label.as_str().into());
            }
        }
        SampleKind::Prompt { prompt, completion } => {
            row.insert("prompt".into(), prompt.as_str().into());
            if let Some(completion) = completion {
                row.insert("completion".into(), completion.as_str().into());
            }
        }
        SampleKind::Messages { turns, tools } => {
            let turns = turns.iter().map(|turn| {
                // A message is a struct of strings and JSON values: nothing in it can fail to serialise.
                let mut message = serde_json::to_value(&turn.message).unwrap_or(Value::Null);
                if let (Some(train), Some(message)) = (turn.train, message.as_object_mut()) {
                    message.insert("train".into(), train.into());
                }
                message
            });
            row.insert("messages".into(), turns.collect());
            if let Some(tools) = tools {
                row.insert("tools".into(), tools.clone().into());
            }
        }
        SampleKind::Text { text } => {
            row.insert("text".into(), text.as_str().into());
        }
    }
    for (key, value) in &sample.provenance {
        // A field of the prompt may have the same name: it holds the same value.
        row.entry(key.clone()).or_insert_with(|| value.clone());
    }
    row.insert("origin".into(), json!({"file": sample.origin.file, "line": sample.origin.line}));
    row
}

/// Writes samples as JSON lines. The file appears whole or not at all.
pub fn write_jsonl(path: &Path, samples: &[Sample]) -> Result<(), Error> {
    let part = path.with_extension("jsonl.part");
    let write = || -> std::io::Result<()> {
        let mut out = BufWriter::new(File::create(&part)?);
        for sample in samples {
            serde_json::to_writer(&mut out, &row(sample))?;
            out.write_all(b"\n")?;
        }
        out.into_inner()?.sync_all()?;
        fs::rename(&part, path)
    };
    write().map_err(|e| {
        // What is left of a failed attempt is of no use; that it could not be removed either is not the error to tell.
        let _ = fs::remove_file(&part);
        Error::io(path, e)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::load;
    use crate::settings::{SourceEntry, TaskSpec};
    use crate::testing::{chat, review, sample};

    fn round_trip(samples: &[Sample], task: Value) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("train.jsonl");
        write_jsonl(&path, samples).unwrap();
        let task: TaskSpec = serde_json::from_value(task).unwrap();
        let read = load(&[path], &SourceEntry::default(), &task).unwrap().samples;
        let said = |samples: &[Sample]| samples.iter().map(|s| (s.id.clone(), s.kind.clone(), s.text_hash)).collect::<Vec<_>>();
        assert_eq!(said(&read), said(samples));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside the file");
    }

    #[test]
    fn rows_read_back_without_a_column_map() {
        let task = json!({"type": "classify", "prompt": "{text}:", "labels": ["好", "neg"]});
        round_trip(&[review("这部\n电影\u{2028}\"很好\"", "好"), review("bad", "neg")], task);
        let mut talk = chat(&[("system", "s"), ("user", "你好"), ("assistant", "hi"), ("user", "a"), ("assistant", "b")]);
        let SampleKind::Messages { turns, tools } = &mut talk.kind else { unreachable!() };
        turns[2].train = Some(false);
        *tools = Some(vec![json!({"name": "f"})]);
        round_trip(&[talk], json!({"type": "sft"}));
        round_trip(&[sample(SampleKind::Prompt { prompt: " q".into(), completion: Some("a ".into()) })], json!({"type": "sft"}));
        round_trip(&[sample(SampleKind::Text { text: "一 ".into() })], json!({"type": "text"}));
    }

    #[test]
    fn a_row_has_what_scripts_rely_on() {
        let row = Value::Object(row(&review("a", "好")));
        assert_eq!(row, json!({"id": "f:1", "text": "a", "label": "好", "origin": {"file": "f", "line": 1}}));
    }

    #[test]
    fn provenance_is_carried_along() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("train.jsonl");
        let given = json!({"id": "c1", "text": "很好", "label": "pos", "file": "a.pdf", "page": 3, "range": [0, 2],
            "source": {"file": "a.pdf", "sha256": "00", "page": 3, "page_end": 3, "start": 0, "end": 2}, "other": 1});
        std::fs::write(&path, format!("{given}\n{}\n", json!({"text": "b", "label": "pos", "source": "rt", "file": "x"}))).unwrap();
        let task: TaskSpec = serde_json::from_value(json!({"type": "classify", "prompt": "{text}:", "labels": ["pos", "neg"]})).unwrap();
        let rows: Vec<_> = load(&[path], &SourceEntry::default(), &task).unwrap().samples.iter().map(row).collect();
        for key in ["id", "source", "file", "page", "range"] {
            assert_eq!(rows[0].get(key), given.get(key), "{key}");
        }
        assert!(!rows[0].contains_key("other") && !rows[1].contains_key("source") && !rows[1].contains_key("file"));
    }

    #[test]
    fn a_failure_names_the_file() {
        let error = write_jsonl(Path::new("/nonexistent/x/train.jsonl"), &[]).unwrap_err().to_string();
        assert!(error.starts_with("/nonexistent/x/train.jsonl: "), "{error}");
    }
}
