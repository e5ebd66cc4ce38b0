//! A knowledge base of `label distant`: entities with aliases, and relations, from CSV, JSON lines (or any other rows) or SQLite.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use ::annotate::methods::distant::{Entity, Fact, Knowledge};
use ::annotate::store::knowledge::{is_database, rows};
use dataset::SourceEntry;
use dataset::import::RowError;
use dataset::labels::{Losses, Lost};
use serde_json::{Map, Value};

use crate::error::{Result, StageError};

/// Names of columns, the first that is there counts.
const NAME: [&str; 2] = ["name", "entity"];
const KIND: [&str; 2] = ["type", "label"];
const ALIASES: [&str; 2] = ["aliases", "alias"];
const FROM: [&str; 3] = ["subject", "head", "from"];
const RELATION: [&str; 2] = ["relation", "predicate"];
const TO: [&str; 3] = ["object", "tail", "to"];

/// What stands between aliases in one cell.
const SEPARATOR: char = '|';

/// Rows that cannot be used, by reason.
#[derive(Default)]
struct Skipped(BTreeMap<(&'static str, String), (usize, String)>);

impl Skipped {
    /// One of `what`; `detail` says more of the first one.
    fn add(&mut self, what: &'static str, reason: impl Into<String>, first: impl FnOnce() -> String) {
        self.0.entry((what, reason.into())).or_insert_with(|| (0, first())).0 += 1;
    }

    fn list(self) -> Vec<Lost> {
        let mut losses = Losses::default();
        for ((what, reason), (count, first)) in self.0 {
            losses.add(what, count, format!("{reason} (first: {first})"));
        }
        losses.list()
    }
}

/// A row and where it stands.
struct Line {
    place: String,
    fields: Map<String, Value>,
}

/// Reads a knowledge base: a file that holds rows of entities and of relations, an SQLite file with the tables `entities` and `relations`,
/// or a directory with a file of each name. Rows that lack what they need, and relations between entities that are not there, are
/// passed over and counted. `encoding` is said of files that are no UTF-8.
///
/// # Errors
/// Files that cannot be read; no entity at all. Each with its place.
pub(super) fn load(path: &Path, encoding: Option<&str>) -> Result<(Knowledge, Vec<Lost>)> {
    let mut skipped = Skipped::default();
    let mut lines = Vec::new();
    if path.is_dir() {
        let files = ["entities", "relations"].map(|stem| find(path, stem));
        let [Some(entities), relations] = files else {
            return Err(StageError::input_help(
                format!("{}: holds no file of entities", path.display()),
                "a knowledge base is a directory with entities.csv (or .jsonl) and relations.csv, one file of rows, or an SQLite file",
            ));
        };
        lines.extend(read(&entities, encoding, &mut skipped)?);
        if let Some(relations) = relations {
            lines.extend(read(&relations, encoding, &mut skipped)?);
        }
    } else if is_database(path) {
        for table in ["entities", "relations"] {
            for (i, fields) in rows(path, table)?.into_iter().enumerate() {
                lines.push(Line { place: format!("{}: {table}: row {}", path.display(), i + 1), fields });
            }
        }
    } else {
        lines = read(path, encoding, &mut skipped)?;
    }
    let knowledge = build(lines, &mut skipped);
    let lost = skipped.list();
    if knowledge.entities.is_empty() {
        let first = lost.iter().find(|lost| lost.what != "relations").map(|lost| format!(": {}", lost.reason)).unwrap_or_default();
        return Err(StageError::input_help(
            format!("{}: holds no entity{first}", path.display()),
            "rows of entities have `name`, `type`, `aliases` and if need be `id`; rows of relations `subject`, `relation`, `object`",
        ));
    }
    Ok((knowledge, lost))
}

/// The file of that name, whatever its format.
fn find(dir: &Path, stem: &str) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(dir).ok()?.flatten().map(|e| e.path()).collect();
    found.retain(|p| p.is_file() && p.file_stem().is_some_and(|s| s == stem));
    found.sort();
    found.into_iter().next()
}

fn read(path: &Path, encoding: Option<&str>, skipped: &mut Skipped) -> Result<Vec<Line>> {
    // The data may be in another encoding than this: what is UTF-8 is read as that.
    let utf8 = encoding.is_some() && std::fs::read(path).is_ok_and(|bytes| std::str::from_utf8(&bytes).is_ok());
    let encoding = encoding.filter(|_| !utf8).map(str::to_owned);
    let entry = SourceEntry { encoding, ..SourceEntry::new(path.display().to_string()) };
    let advice = |message: String| message.replace("--encoding", "--kb-encoding");
    let mut out = Vec::new();
    for row in dataset::import::open(path, &entry).map_err(|e| StageError::input(advice(e.to_string())))? {
        match row {
            Ok(row) => {
                let place = format!("{}:{}", row.file, row.line);
                out.push(Line { place, fields: row.fields.into_iter().collect() });
            }
            Err(RowError::Bad(bad)) => skipped.add("rows", dataset::kind_of(&advice(bad.reason.clone())), || advice(bad.to_string())),
            Err(RowError::File(error)) => return Err(error.into()),
        }
    }
    Ok(out)
}

/// The text in the first of these columns that has one.
fn cell(fields: &Map<String, Value>, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| match fields.get(*name)? {
        Value::String(text) => Some(text.trim().to_owned()).filter(|t| !t.is_empty()),
        Value::Number(n) => Some(n.to_string()),
        _ => None,
    })
}

/// A list, a list written as JSON, or texts with `|` between them.
///
/// # Errors
/// What is wrong with them.
fn aliases(line: &Line) -> std::result::Result<Vec<String>, String> {
    let Some(value) = ALIASES.iter().find_map(|name| line.fields.get(*name)) else { return Ok(Vec::new()) };
    let list = match value {
        Value::String(text) if text.trim_start().starts_with('[') => match serde_json::from_str(text) {
            Ok(Value::Array(items)) => items,
            _ => return Err("begin like a JSON list and are none".into()),
        },
        Value::String(text) => return Ok(text.split(SEPARATOR).map(|a| a.trim().to_owned()).filter(|a| !a.is_empty()).collect()),
        Value::Array(items) => items.clone(),
        Value::Null => Vec::new(),
        _ => return Err("are neither a list nor a text".into()),
    };
    let text = |item: &Value| item.as_str().map(str::to_owned);
    list.iter().map(|item| text(item).ok_or_else(|| "are not all texts".to_owned())).collect()
}

fn build(lines: Vec<Line>, skipped: &mut Skipped) -> Knowledge {
    let mut knowledge = Knowledge::default();
    let mut by_id: HashMap<String, usize> = HashMap::new();
    let mut by_name: HashMap<String, Option<usize>> = HashMap::new();
    let (relations, entities): (Vec<Line>, Vec<Line>) = lines.into_iter().partition(|l| cell(&l.fields, &RELATION).is_some());
    for line in &entities {
        let (Some(name), Some(kind)) = (cell(&line.fields, &NAME), cell(&line.fields, &KIND)) else {
            let what = if cell(&line.fields, &NAME).is_none() { "name" } else { "type" };
            skipped.add("entities", format!("{what}: is missing"), || line.place.clone());
            continue;
        };
        let number = knowledge.entities.len();
        let id = cell(&line.fields, &["id"]).unwrap_or_else(|| name.clone());
        if by_id.contains_key(&id) {
            let reason = "id: is there twice, the first row counts; an entity is one row, other names are its aliases";
            skipped.add("entities", reason, || format!("{}: {id:?}", line.place));
            continue;
        }
        by_id.insert(id.clone(), number);
        let mut names = vec![name];
        match aliases(line) {
            Ok(more) => names.extend(more),
            Err(reason) => skipped.add("aliases", reason, || line.place.clone()),
        }
        for name in &names {
            by_name.entry(name.clone()).and_modify(|known| *known = None).or_insert(Some(number));
        }
        knowledge.entities.push(Entity { id, kind, names });
    }
    for line in &relations {
        let mut end = |columns: &[&str]| {
            let field = columns[0];
            let Some(key) = cell(&line.fields, columns) else {
                skipped.add("relations", format!("{field}: is missing"), || line.place.clone());
                return None;
            };
            let reason = match (by_id.get(&key), by_name.get(&key)) {
                (Some(&number), _) | (None, Some(&Some(number))) => return Some(number),
                (None, Some(None)) => "is a name of several entities; give its id",
                (None, None) => "no entity has that id or name",
            };
            skipped.add("relations", format!("{field}: {reason}"), || format!("{}: {key:?}", line.place));
            None
        };
        let label = cell(&line.fields, &RELATION).unwrap_or_default();
        if let Some((from, to)) = end(&FROM).and_then(|from| Some((from, end(&TO)?))) {
            knowledge.facts.push(Fact { from, label, to });
        }
    }
    knowledge
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, text)| std::fs::write(dir.path().join(name), text).unwrap());
        dir
    }

    const ENTITIES: &str = "id,name,type,aliases\n1,Acme,ORG,Acme Ltd.|艾克米\n2,Ann Lee,PER,\n";
    const RELATIONS: &str = "subject,relation,object\nAnn Lee,runs,艾克米\n2,owns,1\n";

    #[test]
    fn csv_and_json_lines_say_the_same() {
        let tables = written(&[("entities.csv", ENTITIES), ("relations.csv", RELATIONS)]);
        let lines = written(&[(
            "kb.jsonl",
            "{\"id\": 1, \"name\": \"Acme\", \"type\": \"ORG\", \"aliases\": [\"Acme Ltd.\", \"艾克米\"]}\n{\"id\": 2, \"name\": \"Ann Lee\", \"type\": \"PER\"}\n\
             {\"head\": \"Ann Lee\", \"relation\": \"runs\", \"tail\": \"艾克米\"}\n{\"subject\": 2, \"relation\": \"owns\", \"object\": 1}\n",
        )]);
        let ((a, lost), (b, _)) = (load(tables.path(), None).unwrap(), load(&lines.path().join("kb.jsonl"), None).unwrap());
        assert_eq!((&a, lost.len()), (&b, 0));
        assert_eq!(a.entities[0].names, ["Acme", "Acme Ltd.", "艾克米"]);
        assert_eq!(a.facts, [Fact { from: 1, label: "runs".into(), to: 0 }, Fact { from: 1, label: "owns".into(), to: 0 }]);
    }

    #[test]
    fn what_is_wrong_is_passed_over_and_counted_with_its_place() {
        for (entities, relations, words) in [
            (ENTITIES, "subject,relation,object\nBob,runs,1\n2,owns,1\nEve,runs,1\n", ["relations.csv:2", "Bob", "2 relations"]),
            (ENTITIES, "subject,relation,object\n2,owns,1\n,runs,1\n", ["relations.csv:3", "subject", "1 relations"]),
            ("name,type\nAcme,ORG\nAcme,PER\n", "", ["entities.csv:3", "twice", "1 entities"]),
            ("name,type\n李安,PER\n,ORG\n", "", ["entities.csv:3", "name", "1 entities"]),
            (
                "id,name,type\n1,Acme,ORG\n2,Acme,PER\n",
                "subject,relation,object\nAcme,runs,1\n",
                ["relations.csv:2", "several", "1 relations"],
            ),
            ("name,type,aliases\nAcme,ORG,\"[1\"\n", "", ["entities.csv:2", "JSON list", "1 aliases"]),
        ] {
            let dir = written(&[("entities.csv", entities)]);
            if !relations.is_empty() {
                std::fs::write(dir.path().join("relations.csv"), relations).unwrap();
            }
            let (_, lost) = load(dir.path(), None).unwrap();
            let said = lost.iter().map(|l| format!("{} {} {}", l.count, l.what, l.reason)).collect::<Vec<_>>().join("; ");
            assert!(lost.len() == 1 && words.iter().all(|w| said.contains(w)), "{said}");
        }
        let dir = written(&[("entities.csv", ENTITIES), ("relations.csv", "subject,relation,object\nBob,runs,1\n2,owns,1\n")]);
        assert_eq!(load(dir.path(), None).unwrap().0.facts.len(), 1, "what is sound stays");
        let dir = written(&[("entities.csv", "name,kind\nAcme,ORG\n")]);
        let error = load(dir.path(), None).unwrap_err().to_string();
        assert!(error.contains("no entity") && error.contains("type: is missing (first: entities.csv:2)"), "{error}");
        assert!(load(written(&[]).path(), None).unwrap_err().to_string().contains("no file of entities"));
    }

    #[test]
    fn the_encoding_is_said_of_what_is_no_utf8() {
        // 李安 in GB18030.
        let gb = b"name,type\n\xc0\xee\xb0\xb2,PER\n";
        let dir = written(&[("relations.csv", "subject,relation,object\n李安,runs,李安\n")]);
        std::fs::write(dir.path().join("entities.csv"), gb).unwrap();
        let (knowledge, lost) = load(dir.path(), Some("gb18030")).unwrap();
        assert_eq!((knowledge.entities[0].names[0].as_str(), knowledge.facts.len(), lost.len()), ("李安", 1, 0));
        let error = load(dir.path(), None).unwrap_err().to_string();
        assert!(error.contains("--kb-encoding gb18030"), "{error}");
    }
}
