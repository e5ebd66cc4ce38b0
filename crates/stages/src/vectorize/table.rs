//! Texts and labels of a data file: CSV, TSV, JSON, JSONL, Parquet or text, from a path or any data source.

use std::collections::BTreeMap;
use std::path::PathBuf;

use dataset::import::{Row, RowError};
use dataset::{BadRow, Condition, Origin, Scalar, SourceEntry};
use evaluate::LabelMap;
use serde_json::Value;
use sources::{SourceSpec, Want};

use crate::environment::Environment;
use crate::error::{Result, StageError};
use crate::progress::{Downloads, Progress};

/// How many bad rows are shown by name; all are counted.
const SHOWN_BAD_ROWS: usize = 5;

/// Which rows of which file, and what their columns mean.
#[derive(Clone, Debug, Default)]
pub struct DataChoice {
    /// A file or any data source.
    pub data: String,
    /// The documents of this store instead.
    pub store: Option<PathBuf>,
    /// The column of the texts; several are joined by a line break.
    pub text_column: Vec<String>,
    /// The column of the labels.
    pub label_column: String,
    /// Only rows with these values: `COLUMN=VALUE`.
    pub filter: Vec<String>,
    /// Of a data set on the hub: only this split.
    pub split: Option<String>,
    /// The file's character encoding, if it is not UTF-8 or UTF-16.
    pub encoding: Option<String>,
    /// `pos=positive,neg=negative`; empty for none.
    pub label_map: String,
    /// Only the first rows.
    pub limit: Option<usize>,
}

impl DataChoice {
    /// Another file that is read in the same way.
    pub(crate) fn other(&self, file: &str) -> Self {
        Self { data: file.to_owned(), store: None, filter: Vec::new(), split: None, limit: None, ..self.clone() }
    }
}

/// Whether rows have to have a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Labels {
    /// A row without one is bad.
    Required,
    /// A row without one is a row without one.
    Optional,
    /// Nobody looks.
    Ignored,
}

/// Rows with a text.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// The source as it was named.
    pub source: String,
    /// Row's own `id`, or `file:line`.
    pub ids: Vec<String>,
    /// Where each was read.
    pub origins: Vec<Origin>,
    /// The texts.
    pub texts: Vec<String>,
    /// The labels as they are written.
    pub labels: Vec<Option<String>>,
    /// Of a store: the document of each row, and the question that their labels answer.
    pub documents: Vec<i64>,
    /// The group of classes that people chose from.
    pub group: String,
    /// The other columns of each row.
    pub fields: Vec<serde_json::Map<String, Value>>,
    /// Rows read, bad ones included.
    pub read: usize,
    /// Rows that cannot be used.
    pub bad: Vec<BadRow>,
}

/// Fetches and reads. What cannot be used is counted and said.
///
/// # Errors
/// A source that cannot be had; a column that is not there; no row that can be used.
pub fn read(environment: &Environment, choice: &DataChoice, labels: Labels, progress: &mut dyn Progress) -> Result<Table> {
    if let Some(store) = &choice.store {
        return crate::few::evidence::read(store, choice, labels, progress);
    }
    let spec: SourceSpec = choice.data.parse()?;
    let want = Want::DatasetSplit { split: choice.split.clone() };
    let resolved = environment.sources.resolve(&spec, want, &mut Downloads(progress))?;
    let entry = SourceEntry { encoding: choice.encoding.clone(), ..SourceEntry::new(choice.data.clone()) };
    let filter = filters(&choice.filter)?;
    let map = LabelMap::parse(&choice.label_map).map_err(|e| StageError::input(format!("--label-map: {e}")))?;
    let mut table = Table { source: choice.data.clone(), ..Default::default() };
    let mut columns: Vec<String> = Vec::new();
    for file in &resolved.files {
        for row in dataset::import::open(file, &entry)? {
            if table.texts.len() >= choice.limit.unwrap_or(usize::MAX) {
                break;
            }
            table.read += 1;
            match row {
                Ok(row) => {
                    if columns.is_empty() {
                        columns = row.fields.keys().cloned().collect();
                        check_columns(choice, labels, &filter, &row)?;
                    }
                    if filter.iter().all(|(column, condition)| condition.accepts(row.fields.get(column).unwrap_or(&Value::Null))) {
                        take(&mut table, row, choice, labels, &map);
                    }
                }
                Err(RowError::Bad(bad)) => table.bad.push(bad),
                Err(RowError::File(e)) => return Err(e.into()),
            }
        }
    }
    say(&table, progress);
    if table.texts.is_empty() {
        let why = match table.bad.first() {
            Some(bad) => format!("the first: {bad}"),
            None if table.read > 0 => "--where leaves none".to_owned(),
            None => "it is empty".to_owned(),
        };
        return Err(StageError::input(format!("{}: no row can be used ({why})", choice.data)));
    }
    Ok(table)
}

/// `COLUMN=VALUE` to conditions.
fn filters(texts: &[String]) -> Result<BTreeMap<String, Condition>> {
    let mut out = BTreeMap::new();
    for text in texts {
        let (column, value) =
            text.split_once('=').ok_or_else(|| StageError::input(format!("--where {text}: is not of the form COLUMN=VALUE")))?;
        out.insert(column.to_owned(), Condition::Is(Scalar::Text(value.to_owned())));
    }
    Ok(out)
}

/// A column that the first row has not is a slip of the pen.
fn check_columns(choice: &DataChoice, labels: Labels, filter: &BTreeMap<String, Condition>, row: &Row) -> Result<()> {
    let names = || row.fields.keys().cloned().collect::<Vec<_>>().join(", ");
    let missing = |option: &str, column: &str| {
        StageError::input_help(
            format!("{}:{}: {column}: no such column ({option})", row.file, row.line),
            format!("the columns are: {}", names()),
        )
    };
    for column in &choice.text_column {
        if !row.fields.contains_key(column) {
            return Err(missing("--text-column", column));
        }
    }
    if labels == Labels::Required && !row.fields.contains_key(&choice.label_column) {
        return Err(missing("--label-column", &choice.label_column));
    }
    match filter.keys().find(|c| !row.fields.contains_key(*c)) {
        Some(column) => Err(missing("--where", column)),
        None => Ok(()),
    }
}

fn take(table: &mut Table, mut row: Row, choice: &DataChoice, labels: Labels, map: &LabelMap) {
    let mut text = String::new();
    for column in &choice.text_column {
        // A text is what it is: white space at its ends counts among characters.
        let piece = match row.fields.get(column) {
            Some(Value::String(piece)) => piece.clone(),
            other => other.and_then(written).unwrap_or_default(),
        };
        if !text.is_empty() && !piece.is_empty() {
            text.push('\n');
        }
        text.push_str(&piece);
    }
    if text.trim().is_empty() {
        return table.bad.push(row.bad(choice.text_column.join(", "), "empty"));
    }
    let label = match labels {
        Labels::Ignored => None,
        _ => row.fields.get(&choice.label_column).and_then(written).filter(|l| !l.is_empty()).map(|l| map.apply(&l).to_owned()),
    };
    if label.is_none() && labels == Labels::Required {
        return table.bad.push(row.bad(&choice.label_column, "empty"));
    }
    choice.text_column.iter().for_each(|column| {
        row.fields.shift_remove(column);
    });
    let id = row.fields.get("id").and_then(written).filter(|id| !id.is_empty());
    table.ids.push(id.unwrap_or_else(|| format!("{}:{}", row.file, row.line)));
    table.origins.push(Origin { file: row.file.to_string(), line: row.line });
    table.texts.push(text);
    table.labels.push(label);
    table.fields.push(row.fields);
}

/// A cell as a person would write it; lists, objects and nothing are none.
fn written(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(n) => Some(n.to_string()),
        Value::Bool(b) => Some(b.to_string()),
        _ => None,
    }
}

fn say(table: &Table, progress: &mut dyn Progress) {
    if table.bad.is_empty() {
        return;
    }
    progress.warn(&format!("{} of {} rows cannot be used:", table.bad.len(), table.read));
    table.bad.iter().take(SHOWN_BAD_ROWS).for_each(|row| progress.warn(&format!("  {row}")));
    if table.bad.len() > SHOWN_BAD_ROWS {
        progress.warn(&format!("  … and {} more", table.bad.len() - SHOWN_BAD_ROWS));
    }
}

impl Table {
    /// Names of the labels in order (numbers by value, others alphabetically), and the number of each row's label.
    ///
    /// # Errors
    /// Fewer than two labels, or so many that they can be no classes.
    pub fn classes(&self) -> Result<(Vec<String>, Vec<u32>)> {
        let mut names: Vec<&String> = self.labels.iter().flatten().collect();
        names.sort_unstable();
        names.dedup();
        if names.iter().all(|n| n.parse::<f64>().is_ok()) {
            // Parsed above, every one.
            names.sort_by(|a, b| a.parse::<f64>().unwrap_or(0.0).total_cmp(&b.parse::<f64>().unwrap_or(0.0)));
        }
        if names.len() < 2 {
            return Err(StageError::input(format!(
                "{}: a classifier needs rows of at least two labels; there is {}",
                self.source,
                names.first().map_or("none".to_owned(), |n| format!("only {n:?}"))
            )));
        }
        if names.len() > 1000 {
            return Err(StageError::input(format!(
                "{}: {} different labels are no classes; is it the right column?",
                self.source,
                names.len()
            )));
        }
        let names: Vec<String> = names.into_iter().cloned().collect();
        let numbers = self.numbers(&names);
        Ok((names, numbers.into_iter().flatten().collect()))
    }

    /// The number of each row's label among `names`; `None` where it has none or another.
    pub fn numbers(&self, names: &[String]) -> Vec<Option<u32>> {
        let index: BTreeMap<&str, u32> = names.iter().enumerate().map(|(i, n)| (n.as_str(), i as u32)).collect();
        self.labels.iter().map(|l| l.as_deref().and_then(|l| index.get(l).copied())).collect()
    }

    /// The rows for which `keep` holds.
    pub fn retain(&mut self, keep: &[bool]) {
        fn only<T>(items: &mut Vec<T>, keep: &[bool]) {
            let mut keep = keep.iter();
            items.retain(|_| keep.next().copied().unwrap_or(false));
        }
        only(&mut self.ids, keep);
        only(&mut self.origins, keep);
        only(&mut self.texts, keep);
        only(&mut self.labels, keep);
        only(&mut self.fields, keep);
        only(&mut self.documents, keep);
    }
}
