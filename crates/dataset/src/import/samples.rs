//! Rows to samples: filtered, given their meaning, and everything that was left out counted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{DatasetInfo, RowError, Rows, open};
use crate::error::{BadRow, Error, summarise};
use crate::sample::Sample;
use crate::settings::{Shape, SourceEntry, TaskSpec};
use crate::shape::{Answers, Converter};

/// How many different values of a filtered column an error message shows.
const SHOWN_VALUES: usize = 8;

/// What a source holds, and what became of every row of it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The rows that can be used, in the order of the files.
    pub samples: Vec<Sample>,
    /// The rows that cannot, each with its reason.
    pub bad: Vec<BadRow>,
    /// Number of rows read, bad ones included.
    pub read: usize,
    /// Number of rows that the `where` filter left out.
    pub filtered: usize,
    /// What one row is, as declared or detected.
    pub shape: Shape,
    /// Column names, in the order of their first appearance.
    pub columns: Vec<String>,
}

impl Loaded {
    /// Number of samples of each class, in the order of the classes' names; empty if the task is no classification.
    pub fn label_counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for label in self.samples.iter().filter_map(Sample::label) {
            *counts.entry(label.to_owned()).or_insert(0) += 1;
        }
        counts
    }
}

/// Reads all files of a source. Every row must have an answer (label, completion, …).
///
/// A `dataset_info.json` among `files` stands for the file that its entry `entry.name` names beside it.
///
/// # Errors
/// [`Error::NoRows`] if no row can be used, with the reasons; [`Error::Setting`] if the filter names a column that is not there.
pub fn load(files: &[PathBuf], entry: &SourceEntry, task: &TaskSpec) -> Result<Loaded, Error> {
    if let Some((files, entry)) = from_catalogue(files, entry)? {
        return load(&files, &entry, task);
    }
    let mut samples = Vec::new();
    let mut bad = Vec::new();
    let mut progress = Progress::default();
    for file in files {
        let left = entry.num_samples.map(|limit| limit.saturating_sub(progress.read));
        if left == Some(0) {
            break;
        }
        let mut stream = Samples::new(open(file, entry)?, entry, task, Answers::Required)?;
        stream.progress = progress;
        stream.limit = entry.num_samples;
        for row in &mut stream {
            match row {
                Ok(sample) => samples.push(sample),
                Err(RowError::Bad(row)) => bad.push(row),
                Err(RowError::File(error)) => return Err(error),
            }
        }
        progress = stream.progress;
    }
    if progress.read > bad.len() {
        progress.check_filter(entry)?;
    }
    let Some(shape) = progress.shape.filter(|_| !samples.is_empty()) else {
        return Err(Error::NoRows { what: entry.source.clone(), reasons: progress.why_none(&bad) });
    };
    Ok(Loaded { samples, bad, read: progress.read, filtered: progress.filtered, shape, columns: progress.columns })
}

/// The samples of one file, one by one; for rows that are to be answered, `answers` is [`Answers::Optional`].
pub fn stream(path: &Path, entry: &SourceEntry, task: &TaskSpec, answers: Answers) -> Result<Samples, Error> {
    Samples::new(open(path, entry)?, entry, task, answers)
}

/// What `entry` says about columns, for another file (`eval --data FILE`): each of the entry's columns that the file has means the
/// same there (rows that are to be answered lack the label's), and if it has none of them (as in the rows that a run wrote, where
/// every column is named by its role) its own names count. Filter, split and limits belong to the entry's own source and are not
/// carried over.
pub fn entry_for(path: &Path, entry: &SourceEntry) -> Result<SourceEntry, Error> {
    let bare = SourceEntry { tags: entry.tags.clone(), ..SourceEntry::new(path.to_string_lossy()) };
    let Some(first) = open(path, &bare)?.find_map(Result::ok) else { return Ok(bare) };
    let mut columns = entry.columns.clone();
    columns.retain(|_, spec| first.fields.contains_key(&spec.column));
    let foreign = columns.is_empty() && !entry.columns.is_empty();
    Ok(if foreign { bare } else { SourceEntry { columns, shape: entry.shape, ..bare } })
}

/// If `files` hold a catalogue and the entry names one of its data sets: that data set's files and meaning. What the entry itself
/// says wins over the catalogue.
fn from_catalogue(files: &[PathBuf], entry: &SourceEntry) -> Result<Option<(Vec<PathBuf>, SourceEntry)>, Error> {
    let Some(path) = files.iter().find(|path| DatasetInfo::is_one(path)) else {
        return match &entry.name {
            Some(name) => Err(Error::setting("name", format!("{name:?} names an entry of a dataset_info.json, and the source has none"))),
            None => Ok(None),
        };
    };
    let info = DatasetInfo::open(path)?;
    let names: Vec<&str> = info.names().collect();
    let name = match (&entry.name, &names[..]) {
        (Some(name), _) => name.as_str(),
        (None, [only]) => only,
        (None, _) => return Err(Error::setting("name", format!("say which data set of {}: {}", path.display(), names.join(", ")))),
    };
    let mut found = info.entry(name)?;
    if found.source.starts_with("hf:") {
        return Err(Error::setting("name", format!("{name} is on the hub: write `source: {}`", found.source)));
    }
    let file = PathBuf::from(&found.source);
    found.format = entry.format;
    found.shape = entry.shape.or(found.shape);
    found.filter = entry.filter.clone();
    found.columns.extend(entry.columns.clone());
    found.num_samples = entry.num_samples.or(found.num_samples);
    found.encoding = entry.encoding.clone();
    if !entry.tags.is_default() {
        found.tags = entry.tags.clone();
    }
    Ok(Some((vec![file], found)))
}

/// Counts of a reading under way.
#[derive(Debug, Default)]
struct Progress {
    read: usize,
    filtered: usize,
    shape: Option<Shape>,
    columns: Vec<String>,
    /// Values of the filtered columns with their counts, for the message if nothing passes.
    values: BTreeMap<String, Vec<(String, usize)>>,
}

impl Progress {
    fn see(&mut self, fields: &serde_json::Map<String, Value>) {
        // All rows of a table have the columns of the first; rows of JSON may bring new ones, at the end as a rule.
        if fields.len() != self.columns.len() || fields.keys().zip(&self.columns).any(|(a, b)| a != b) {
            for name in fields.keys() {
                if !self.columns.contains(name) {
                    self.columns.push(name.clone());
                }
            }
        }
    }

    fn see_value(&mut self, column: &str, value: &Value) {
        let shown = match value {
            Value::String(text) => text.chars().take(40).collect(),
            other => other.to_string(),
        };
        let values = match self.values.get_mut(column) {
            Some(values) => values,
            None => self.values.entry(column.to_owned()).or_default(),
        };
        match values.iter().position(|(known, _)| *known == shown) {
            Some(at) => values[at].1 += 1,
            None if values.len() < SHOWN_VALUES => values.push((shown, 1)),
            None => {}
        }
    }

    /// A filter on a column that no row has is a slip of the pen, not an empty result.
    fn check_filter(&self, entry: &SourceEntry) -> Result<(), Error> {
        match entry.filter.keys().find(|column| !self.columns.contains(column)) {
            Some(column) => {
                Err(Error::setting(format!("where.{column}"), format!("no such column; there are: {}", self.columns.join(", "))))
            }
            None => Ok(()),
        }
    }

    fn why_none(&self, bad: &[BadRow]) -> String {
        if self.read == 0 {
            return "there is no row in it".into();
        }
        let mut reasons = Vec::new();
        if self.filtered > 0 {
            let seen = self.values.iter().map(|(column, values)| {
                let values = values.iter().map(|(value, n)| format!("{value:?} ({n})")).collect::<Vec<_>>().join(", ");
                format!("{column} has {values}")
            });
            reasons.push(format!("{} rows: left out by `where` ({})", self.filtered, seen.collect::<Vec<_>>().join("; ")));
        }
        if !bad.is_empty() {
            let places: Vec<String> = bad.iter().map(|row| format!("{}:{}", row.file, row.line)).collect();
            let reason = |row: &BadRow| if row.field.is_empty() { row.reason.clone() } else { format!("{}: {}", row.field, row.reason) };
            reasons.push(summarise(bad.iter().zip(&places).map(|(row, place)| (reason(row), place.as_str()))));
        }
        reasons.join("; ")
    }
}

/// The samples of one file, streamed.
#[derive(Debug)]
pub struct Samples {
    rows: Rows,
    filter: BTreeMap<String, crate::settings::Condition>,
    converter: Converter,
    progress: Progress,
    limit: Option<usize>,
}

impl Samples {
    fn new(rows: Rows, entry: &SourceEntry, task: &TaskSpec, answers: Answers) -> Result<Self, Error> {
        let converter = Converter::new(entry, task, answers)?;
        Ok(Samples { rows, filter: entry.filter.clone(), converter, progress: Progress::default(), limit: None })
    }

    /// Number of rows read so far.
    pub fn read(&self) -> usize {
        self.progress.read
    }

    /// Number of rows that the filter left out so far.
    pub fn filtered(&self) -> usize {
        self.progress.filtered
    }
}

impl Iterator for Samples {
    type Item = Result<Sample, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.limit.is_none_or(|limit| self.progress.read < limit) {
            let row = match self.rows.next()? {
                Ok(row) => row,
                Err(error) => {
                    self.progress.read += 1;
                    return Some(Err(error));
                }
            };
            self.progress.read += 1;
            self.progress.see(&row.fields);
            let mut passes = true;
            for (column, condition) in &self.filter {
                let value = row.fields.get(column).unwrap_or(&Value::Null);
                if !condition.accepts(value) {
                    passes = false;
                    self.progress.see_value(column, value);
                }
            }
            if !passes {
                self.progress.filtered += 1;
                continue;
            }
            let sample = self.converter.convert(row).map_err(RowError::Bad);
            self.progress.shape = self.converter.shape();
            return Some(sample);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::file;
    use super::*;
    use crate::sample::SampleKind;
    use serde_json::json;

    fn task() -> TaskSpec {
        serde_json::from_value(json!({"type": "classify", "prompt": "Review: {text}\nSentiment:",
            "labels": {"negative": {"from": [0, "neg"]}, "positive": {"from": [1, "pos"]}}}))
        .unwrap()
    }

    fn entry(value: Value) -> SourceEntry {
        serde_json::from_value(value).unwrap()
    }

    const REVIEWS: &str = "text,label,source\n  good  ,1,rt\nbad,neg,rt\nodd,2,rt\n,1,rt\nlong,0,imdb\n这部电影很好,pos,rt\n";

    #[test]
    fn rows_are_filtered_stripped_labelled_and_counted() {
        let (_dir, path) = file("r.csv", REVIEWS);
        let loaded = load(&[path], &entry(json!({"source": "r", "where": {"source": "rt"}})), &task()).unwrap();
        assert_eq!((loaded.read, loaded.filtered, loaded.shape), (6, 1, Shape::TextLabel));
        assert_eq!(loaded.columns, ["text", "label", "source"]);
        let rows: Vec<_> = loaded.samples.iter().map(|s| (s.id.as_str(), s.text(), s.label().unwrap())).collect();
        assert_eq!(
            rows,
            [("r.csv:2", "good".into(), "positive"), ("r.csv:3", "bad".into(), "negative"), ("r.csv:7", "这部电影很好".into(), "positive")]
        );
        let bad: Vec<String> = loaded.bad.iter().map(BadRow::to_string).collect();
        assert_eq!(
            bad,
            [
                "r.csv:4: label: unknown label \"2\"; known: 0, neg, negative → negative; 1, pos, positive → positive",
                "r.csv:5: text: empty"
            ]
        );
        assert_eq!(loaded.label_counts(), BTreeMap::from([("negative".into(), 1), ("positive".into(), 2)]));
    }

    #[test]
    fn nothing_left_says_why() {
        let (_dir, path) = file("r.csv", REVIEWS);
        let files = [path];
        let error = |value| load(&files, &entry(value), &task()).unwrap_err().to_string();
        let message = error(json!({"source": "r", "where": {"source": "rotten"}}));
        assert!(message.contains("6 rows: left out by `where`") && message.contains("\"rt\" (5)"), "{message}");
        let message = error(json!({"source": "r", "where": {"sauce": "rt"}}));
        assert!(message.contains("where.sauce: no such column; there are: text, label, source"), "{message}");
        let message = error(json!({"source": "r", "columns": {"text": "review"}}));
        assert!(message.contains("review: no such column; the row has: text, label, source; if another one is meant, say so: `columns: {text: …}` (first: r.csv:2)"), "{message}");
    }

    #[test]
    fn a_catalogue_stands_for_its_file() {
        let (dir, path) = file("dataset_info.json", r#"{"zh": {"file_name": "zh.json", "columns": {"prompt": "问", "response": "答"}}}"#);
        std::fs::write(dir.path().join("zh.json"), r#"[{"问": "你好", "答": "您好"}]"#).unwrap();
        let sft: TaskSpec = serde_json::from_value(json!({"type": "sft"})).unwrap();
        for name in [json!("zh"), Value::Null] {
            let loaded = load(std::slice::from_ref(&path), &entry(json!({"source": "d", "name": name})), &sft).unwrap();
            assert_eq!(loaded.shape, Shape::Alpaca);
            let SampleKind::Messages { turns, .. } = &loaded.samples[0].kind else { panic!() };
            assert_eq!(turns[1].message.text(), "您好");
        }
    }

    #[test]
    fn num_samples_counts_over_all_files() {
        let (_dir, a) = file("a.csv", "text,label\na,0\nb,1\n");
        let (_dir, b) = file("b.csv", "text,label\nc,0\nd,1\n");
        let loaded = load(&[a, b], &entry(json!({"source": "r", "num_samples": 3})), &task()).unwrap();
        assert_eq!(loaded.samples.iter().map(Sample::text).collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    #[test]
    fn columns_carry_over_to_files_that_have_them() {
        let entry = entry(json!({"source": "r", "where": {"x": 1}, "columns": {"text": "评论"}}));
        let (_dir, same) = file("same.csv", "评论,label\n好,1\n");
        let (_dir, own) = file("own.jsonl", "{\"text\": \"好\", \"label\": \"positive\"}\n");
        for path in [same, own] {
            let loaded = load(std::slice::from_ref(&path), &entry_for(&path, &entry).unwrap(), &task()).unwrap();
            assert_eq!((loaded.samples[0].text(), loaded.samples[0].label()), ("好".into(), Some("positive")));
        }
        let both = SourceEntry { columns: serde_json::from_value(json!({"text": "评论", "label": "情感"})).unwrap(), ..entry };
        let (_dir, asked) = file("asked.csv", "号,评论\n1,好\n");
        let columns = entry_for(&asked, &both).unwrap();
        let samples: Vec<_> = stream(&asked, &columns, &task(), Answers::Optional).unwrap().map(Result::unwrap).collect();
        assert_eq!((samples[0].text(), samples[0].label()), ("好".into(), None));
    }

    #[test]
    fn rows_to_be_answered_need_no_label() {
        let (_dir, path) = file("q.csv", "text\n很好\n");
        let samples: Vec<_> = stream(&path, &SourceEntry::default(), &task(), Answers::Optional).unwrap().map(Result::unwrap).collect();
        assert_eq!((samples[0].text(), samples[0].label()), ("很好".into(), None));
    }
}
