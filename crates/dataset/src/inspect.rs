//! A look at a user's own file, to propose what `tunesmith init` writes: which columns are text and label, which classes there are, and
//! what the file leaves open.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use crate::error::{BadRow, Error};
use crate::import::{Row, RowError, open};
use crate::settings::{ClassifyTask, ColumnSpec, FileFormat, LabelSet, LabelSpec, Scalar, SftTask, Shape, SourceEntry, TaskSpec, TextTask};
use crate::shape::{Answers, Converter};

/// A column with more different values than this is no label; they are not counted further.
const MOST_VALUES: usize = 1000;
/// The most classes that are proposed.
const MOST_CLASSES: usize = 50;
/// Complaints and examples that are kept.
const KEPT: usize = 5;
/// Characters of an example.
const EXAMPLE: usize = 120;

const LABEL_NAMES: [&str; 16] = [
    "label",
    "labels",
    "class",
    "category",
    "sentiment",
    "target",
    "intent",
    "topic",
    "tag",
    "polarity",
    "标签",
    "类别",
    "分类",
    "情感",
    "意图",
    "主题",
];
const TEXT_NAMES: [&str; 18] = [
    "text", "review", "sentence", "content", "comment", "body", "message", "document", "tweet", "question", "query", "文本", "内容",
    "评论", "正文", "句子", "问题", "文档",
];
/// Columns that together are a question and its answer.
const PAIRS: [(&str, &str); 8] = [
    ("question", "answer"),
    ("query", "response"),
    ("prompt", "response"),
    ("input", "output"),
    ("问题", "答案"),
    ("问题", "回答"),
    ("提问", "回复"),
    ("问", "答"),
];

/// What a file looks like, and what to do with it.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// How it is written.
    pub format: FileFormat,
    /// Its character encoding; `None` for Parquet.
    pub encoding: Option<String>,
    /// Its separator, if it is a CSV or TSV file.
    pub delimiter: Option<char>,
    /// Number of rows that can be read.
    pub rows: usize,
    /// Number of rows that cannot.
    pub bad_rows: usize,
    /// The first of them.
    pub bad: Vec<BadRow>,
    /// Its columns, in order.
    pub columns: Vec<Column>,
    /// The proposal; `None` if no column looks like anything to train on.
    pub proposal: Option<Proposal>,
}

/// One column.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Rows in which it is not empty.
    pub filled: usize,
    /// Rows in which it holds a list or an object.
    pub nested: usize,
    /// Mean number of characters where it is not empty.
    pub mean_chars: f64,
    /// Most characters.
    pub max_chars: usize,
    /// Different values with their counts, most frequent first; empty if there are too many.
    pub values: Vec<(String, usize)>,
    /// The first values, shortened.
    pub examples: Vec<String>,
}

/// What the file could be used for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Proposal {
    /// What one row is.
    pub shape: Shape,
    /// How to read it.
    pub entry: SourceEntry,
    /// What to learn from it.
    pub task: TaskSpec,
    /// What the user should look at before training, one sentence each.
    pub notes: Vec<String>,
}

/// Reads a file (at most `limit` rows of it) and proposes what to do with it.
pub fn inspect(path: &Path, limit: Option<usize>) -> Result<Inspection, Error> {
    let entry = SourceEntry::new(path.to_string_lossy());
    let mut rows = open(path, &entry)?;
    let (format, encoding, delimiter) = (rows.format(), rows.encoding().map(str::to_owned), rows.delimiter());
    let mut table = Table::default();
    let (mut count, mut bad_rows, mut bad) = (0, 0, Vec::new());
    let mut first = None;
    while limit.is_none_or(|limit| count < limit) {
        match rows.next() {
            None => break,
            Some(Ok(row)) => {
                count += 1;
                table.add(&row);
                first.get_or_insert(row);
            }
            Some(Err(RowError::Bad(row))) => {
                bad_rows += 1;
                if bad.len() < KEPT {
                    bad.push(row);
                }
            }
            Some(Err(RowError::File(error))) => return Err(error),
        }
    }
    let columns = table.finish();
    let mut proposal = first.and_then(|row| propose(&entry, row, &columns));
    if let (Some(proposal), true) = (&mut proposal, bad_rows > 0) {
        proposal.notes.push(format!("{bad_rows} rows cannot be read, the first: {}", bad[0]));
    }
    Ok(Inspection { format, encoding, delimiter, rows: count, bad_rows, bad, columns, proposal })
}

/// Columns under way, with the count of each value until there are too many.
#[derive(Default)]
struct Table {
    columns: Vec<(Column, Option<BTreeMap<String, usize>>)>,
    by_name: BTreeMap<String, usize>,
}

impl Table {
    fn add(&mut self, row: &Row) {
        for (name, value) in &row.fields {
            let at = match self.by_name.get(name) {
                Some(&at) => at,
                None => {
                    self.columns.push((Column { name: name.clone(), ..Default::default() }, Some(BTreeMap::new())));
                    self.by_name.insert(name.clone(), self.columns.len() - 1);
                    self.columns.len() - 1
                }
            };
            let (column, values) = &mut self.columns[at];
            let text = match value {
                Value::Null => continue,
                Value::String(text) => text.trim().to_owned(),
                Value::Array(_) | Value::Object(_) => {
                    column.nested += 1;
                    value.to_string()
                }
                other => other.to_string(),
            };
            if text.is_empty() {
                continue;
            }
            let chars = text.chars().count();
            column.filled += 1;
            // The sum until `finish`; whole numbers of this size are exact in an f64.
            column.mean_chars += chars as f64;
            column.max_chars = column.max_chars.max(chars);
            if column.examples.len() < KEPT {
                column.examples.push(text.chars().take(EXAMPLE).collect());
            }
            if let Some(counts) = values {
                *counts.entry(text).or_insert(0) += 1;
                if counts.len() > MOST_VALUES {
                    *values = None;
                }
            }
        }
    }

    fn finish(self) -> Vec<Column> {
        let finish = |(mut column, values): (Column, Option<BTreeMap<String, usize>>)| {
            column.mean_chars /= column.filled.max(1) as f64;
            column.values = values.unwrap_or_default().into_iter().collect();
            column.values.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
            column
        };
        self.columns.into_iter().map(finish).collect()
    }
}

fn propose(entry: &SourceEntry, first: Row, columns: &[Column]) -> Option<Proposal> {
    conversation(entry, first, columns)
        .or_else(|| classification(entry, columns))
        .or_else(|| pair(entry, columns))
        .or_else(|| text(entry, columns))
}

/// Rows that say themselves what they are.
fn conversation(entry: &SourceEntry, first: Row, columns: &[Column]) -> Option<Proposal> {
    let task = TaskSpec::Sft(SftTask::default());
    let mut converter = Converter::new(entry, &task, Answers::Required).ok()?;
    converter.convert(first).ok()?;
    let shape = converter.shape()?;
    let mut notes = Vec::new();
    if shape == Shape::PromptCompletion {
        notes.push("prompt and completion are joined as they are; `template: model` makes a conversation of them".to_owned());
    }
    if let Some(tools) = columns.iter().find(|c| c.name == "tools" && c.filled > 0) {
        notes.push(format!("{} rows describe tools: the model's template must know them", tools.filled));
    }
    Some(Proposal { shape, entry: entry.clone(), task, notes })
}

/// A column of few values and a column of text.
fn classification(entry: &SourceEntry, columns: &[Column]) -> Option<Proposal> {
    let is_label = |c: &&Column| {
        let n = c.values.len();
        (2..=MOST_CLASSES).contains(&n) && c.nested == 0 && c.filled >= 2 * n && c.values.iter().all(|(v, _)| v.chars().count() <= 60)
    };
    let named = |names: &[&str], c: &Column| names.iter().position(|n| n.eq_ignore_ascii_case(&c.name));
    // A name that says so wins; without one, the column with the fewest values.
    let by_name = columns.iter().filter(is_label).filter_map(|c| Some((named(&LABEL_NAMES, c)?, c))).min_by_key(|(rank, _)| *rank);
    let label = by_name.map(|(_, c)| c).or_else(|| columns.iter().filter(is_label).min_by_key(|c| c.values.len()))?;
    let text = text_column(columns, Some(&label.name))?;
    let chinese = mostly_chinese(text);
    let prompt = match (chinese, label.name.to_ascii_lowercase().as_str()) {
        (true, _) => format!("文本：{{text}}\n{}：", if label.name.is_ascii() { "类别" } else { &label.name }),
        (false, "sentiment" | "polarity") => "Review: {text}\nSentiment:".to_owned(),
        (false, "intent") => "Message: {text}\nIntent:".to_owned(),
        (false, "topic" | "category") => "Text: {text}\nTopic:".to_owned(),
        _ => "Text: {text}\nLabel:".to_owned(),
    };
    let mut notes = Vec::new();
    let glue = if chinese { "" } else { " " };
    let mut values: Vec<&str> = label.values.iter().map(|(value, _)| value.as_str()).collect();
    values.sort_unstable();
    let labels = values.iter().map(|value| {
        let from = value.parse().map(Scalar::Int).unwrap_or_else(|_| Scalar::from(*value));
        ((*value).to_owned(), LabelSpec { from: vec![from], text: Some(format!("{glue}{value}")) })
    });
    let labels = LabelSet::new(labels.collect()).ok()?;
    if values.iter().all(|v| v.parse::<f64>().is_ok()) {
        notes.push(format!(
            "the labels are numbers ({}): give them telling names and texts, a model knows what \"{glue}positive\" means and not what \"{glue}1\" does",
            values.join(", ")
        ));
    }
    let (most, least) = (label.values.first()?, label.values.last()?);
    if most.1 > 5 * least.1 {
        notes.push(format!("the classes are uneven: {:?} has {} rows, {:?} has {}", most.0, most.1, least.0, least.1));
    }
    for other in columns.iter().filter(is_label).filter(|c| c.name != label.name) {
        let shown: Vec<&str> = other.values.iter().take(KEPT).map(|(v, _)| v.as_str()).collect();
        notes.push(format!("`where: {{{}: …}}` would take a part of the rows: it has {}", other.name, shown.join(", ")));
    }
    let mut entry = entry.clone();
    for (role, column) in [("text", &text.name), ("label", &label.name)] {
        if role != column {
            entry.columns.insert(role.to_owned(), ColumnSpec::from(column.as_str()));
        }
    }
    Some(Proposal {
        shape: Shape::TextLabel,
        entry,
        task: TaskSpec::Classify(ClassifyTask { prompt, labels, truncate_field: None }),
        notes,
    })
}

/// A question and an answer under other names.
fn pair(entry: &SourceEntry, columns: &[Column]) -> Option<Proposal> {
    let find = |name: &str| columns.iter().find(|c| c.name.eq_ignore_ascii_case(name) && c.nested == 0 && c.filled > 0);
    let (question, answer) = PAIRS.iter().find_map(|(q, a)| Some((find(q)?, find(a)?)))?;
    let mut entry = entry.clone();
    entry.columns.insert("instruction".to_owned(), ColumnSpec::from(question.name.as_str()));
    entry.columns.insert("output".to_owned(), ColumnSpec::from(answer.name.as_str()));
    Some(Proposal { shape: Shape::Alpaca, entry, task: TaskSpec::Sft(SftTask::default()), notes: Vec::new() })
}

/// Text alone.
fn text(entry: &SourceEntry, columns: &[Column]) -> Option<Proposal> {
    let text = text_column(columns, None)?;
    let mut entry = entry.clone();
    if text.name != "text" {
        entry.columns.insert("text".to_owned(), ColumnSpec::from(text.name.as_str()));
    }
    Some(Proposal { shape: Shape::Text, entry, task: TaskSpec::Text(TextTask {}), notes: Vec::new() })
}

/// The column with a telling name, or the longest.
fn text_column<'a>(columns: &'a [Column], but: Option<&str>) -> Option<&'a Column> {
    let candidates = || columns.iter().filter(|c| Some(c.name.as_str()) != but && c.nested == 0 && c.filled > 0);
    let number = |c: &Column| c.examples.iter().all(|e| e.parse::<f64>().is_ok());
    let named = TEXT_NAMES.iter().find_map(|name| candidates().find(|c| c.name.eq_ignore_ascii_case(name)));
    named.or_else(|| candidates().filter(|c| !number(c)).max_by(|a, b| a.mean_chars.total_cmp(&b.mean_chars)))
}

/// Whether most letters of the examples are Chinese.
fn mostly_chinese(column: &Column) -> bool {
    let letters = || column.examples.iter().flat_map(|e| e.chars()).filter(|c| c.is_alphabetic());
    let chinese = letters().filter(|c| ('\u{3400}'..='\u{9FFF}').contains(c)).count();
    2 * chinese > letters().count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::load;
    use crate::import::tests::file;

    /// Inspects, and checks the law that every row the proposal covers can be loaded by it.
    fn look(name: &str, text: &str) -> Inspection {
        let (_dir, path) = file(name, text);
        let seen = inspect(&path, None).unwrap();
        if let Some(proposal) = &seen.proposal {
            let loaded = load(&[path], &proposal.entry, &proposal.task).unwrap();
            assert_eq!((loaded.samples.len(), loaded.shape), (seen.rows, proposal.shape));
        }
        seen
    }

    #[test]
    fn reviews_become_a_classification() {
        let seen = look("r.csv", "text,label,source\ngood film,1,a\nbad film,0,a\nfine,1,b\nawful,0,b\n");
        let proposal = seen.proposal.unwrap();
        let TaskSpec::Classify(task) = &proposal.task else { panic!("{proposal:?}") };
        assert_eq!(task.prompt, "Text: {text}\nLabel:");
        assert_eq!(task.labels.names().collect::<Vec<_>>(), ["0", "1"]);
        assert_eq!(proposal.entry.columns.len(), 0);
        assert!(proposal.notes[0].contains("labels are numbers (0, 1)"), "{:?}", proposal.notes);
        assert!(proposal.notes[1].contains("where: {source: …}"), "{:?}", proposal.notes);
    }

    #[test]
    fn chinese_columns_and_prompts() {
        let seen = look("r.csv", "编号,评论,情感\n1,很好看,好评\n2,太差了,差评\n3,喜欢,好评\n4,无聊,差评\n5,一般,差评\n");
        let proposal = seen.proposal.unwrap();
        let TaskSpec::Classify(task) = &proposal.task else { panic!("{proposal:?}") };
        assert_eq!(task.prompt, "文本：{text}\n情感：");
        assert_eq!(task.labels.texts(&task.prompt), ["好评", "差评"]);
        assert_eq!(proposal.entry.columns["text"].column, "评论");
        assert_eq!(proposal.entry.columns["label"].column, "情感");
    }

    #[test]
    fn conversations_pairs_and_texts() {
        let shape = |name, text| look(name, text).proposal.map(|p| p.shape);
        assert_eq!(
            shape("a.jsonl", "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": \"b\"}]}"),
            Some(Shape::Messages)
        );
        assert_eq!(shape("a.json", "[{\"instruction\": \"a\", \"input\": \"\", \"output\": \"b\"}]"), Some(Shape::Alpaca));
        assert_eq!(shape("a.csv", "Question,Answer\na?,b\nc?,d\n"), Some(Shape::Alpaca));
        assert_eq!(shape("a.csv", "问题,答案\n甲,乙\n丙,丁\n"), Some(Shape::Alpaca));
        assert_eq!(shape("a.txt", "one\n二\n"), Some(Shape::Text));
        assert_eq!(shape("a.csv", "n,m\n1,2\n3,4\n"), None);
    }

    #[test]
    fn bad_rows_are_counted_and_shown() {
        let (_dir, path) = file("a.csv", "text,label\na,x\nb\nc,y\nd,x\ne,y\n");
        let seen = inspect(&path, None).unwrap();
        assert_eq!((seen.rows, seen.bad_rows), (4, 1));
        assert!(seen.proposal.unwrap().notes[0].contains("a.csv:3: 1 columns"));
        assert_eq!(inspect(&path, Some(1)).unwrap().rows, 1);
    }
}
