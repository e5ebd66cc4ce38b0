//! A knowledge base of `label distant`: entities with aliases, and relations, from CSV, JSON lines (or any other rows) or SQLite.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ::annotate::methods::distant::{Entity, Fact, Knowledge};
use ::annotate::store::knowledge::{is_database, rows};
use dataset::SourceEntry;
use dataset::import::RowError;
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

/// A row and where it stands.
struct Line {
    place: String,
    fields: Map<String, Value>,
}

/// Reads a knowledge base: a file that holds rows of entities and of relations, an SQLite file with the tables `entities` and `relations`,
/// or a directory with a file of each name.
///
/// # Errors
/// Files that cannot be read; rows that lack what they need; relations between entities that are not there. Each with its place.
pub(super) fn load(path: &Path) -> Result<Knowledge> {
    let mut lines = Vec::new();
    if path.is_dir() {
        let files = ["entities", "relations"].map(|stem| find(path, stem));
        let [Some(entities), relations] = files else {
            return Err(StageError::input_help(
                format!("{}: holds no file of entities", path.display()),
                "a knowledge base is a directory with entities.csv (or .jsonl) and relations.csv, one file of rows, or an SQLite file",
            ));
        };
        lines.extend(read(&entities)?);
        if let Some(relations) = relations {
            lines.extend(read(&relations)?);
        }
    } else if is_database(path) {
        for table in ["entities", "relations"] {
            for (i, fields) in rows(path, table)?.into_iter().enumerate() {
                lines.push(Line { place: format!("{}: {table}: row {}", path.display(), i + 1), fields });
            }
        }
    } else {
        lines = read(path)?;
    }
    build(path, lines)
}

/// The file of that name, whatever its format.
fn find(dir: &Path, stem: &str) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(dir).ok()?.flatten().map(|e| e.path()).collect();
    found.retain(|p| p.is_file() && p.file_stem().is_some_and(|s| s == stem));
    found.sort();
    found.into_iter().next()
}

fn read(path: &Path) -> Result<Vec<Line>> {
    let entry = SourceEntry::new(path.display().to_string());
    let mut out = Vec::new();
    for row in dataset::import::open(path, &entry)? {
        match row {
            Ok(row) => {
                let place = format!("{}:{}", row.file, row.line);
                out.push(Line { place, fields: row.fields.into_iter().collect() });
            }
            Err(RowError::Bad(bad)) => return Err(StageError::input(bad.to_string())),
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
fn aliases(line: &Line) -> Result<Vec<String>> {
    let Some(value) = ALIASES.iter().find_map(|name| line.fields.get(*name)) else { return Ok(Vec::new()) };
    let list = match value {
        Value::String(text) if text.trim_start().starts_with('[') => match serde_json::from_str(text) {
            Ok(Value::Array(items)) => items,
            _ => return Err(StageError::input(format!("{}: aliases: begins like a JSON list and is none", line.place))),
        },
        Value::String(text) => return Ok(text.split(SEPARATOR).map(|a| a.trim().to_owned()).filter(|a| !a.is_empty()).collect()),
        Value::Array(items) => items.clone(),
        Value::Null => Vec::new(),
        _ => return Err(StageError::input(format!("{}: aliases: is neither a list nor a text", line.place))),
    };
    let text = |item: &Value| item.as_str().map(str::to_owned);
    list.iter().map(|item| text(item).ok_or_else(|| StageError::input(format!("{}: aliases: {item} is no text", line.place)))).collect()
}

fn build(path: &Path, lines: Vec<Line>) -> Result<Knowledge> {
    let mut knowledge = Knowledge::default();
    let mut by_id: HashMap<String, usize> = HashMap::new();
    let mut by_name: HashMap<String, Option<usize>> = HashMap::new();
    let (relations, entities): (Vec<Line>, Vec<Line>) = lines.into_iter().partition(|l| cell(&l.fields, &RELATION).is_some());
    for line in &entities {
        let missing = |what: &str| StageError::input(format!("{}: {what}: is missing", line.place));
        let name = cell(&line.fields, &NAME).ok_or_else(|| missing("name"))?;
        let kind = cell(&line.fields, &KIND).ok_or_else(|| missing("type"))?;
        let number = knowledge.entities.len();
        let id = cell(&line.fields, &["id"]).unwrap_or_else(|| name.clone());
        if by_id.insert(id.clone(), number).is_some() {
            return Err(StageError::input(format!(
                "{}: id: {id:?} is there twice; an entity is one row, other names are its aliases",
                line.place
            )));
        }
        let mut names = vec![name];
        names.extend(aliases(line)?);
        for name in &names {
            by_name.entry(name.clone()).and_modify(|known| *known = None).or_insert(Some(number));
        }
        knowledge.entities.push(Entity { id, kind, names });
    }
    for line in &relations {
        let end = |columns: &[&str]| {
            let field = columns[0];
            let key = cell(&line.fields, columns).ok_or_else(|| StageError::input(format!("{}: {field}: is missing", line.place)))?;
            match (by_id.get(&key), by_name.get(&key)) {
                (Some(&number), _) | (None, Some(&Some(number))) => Ok(number),
                (None, Some(None)) => {
                    Err(StageError::input(format!("{}: {field}: {key:?} is a name of several entities; give its id", line.place)))
                }
                (None, None) => Err(StageError::input(format!("{}: {field}: no entity has the id or name {key:?}", line.place))),
            }
        };
        let label = cell(&line.fields, &RELATION).unwrap_or_default();
        knowledge.facts.push(Fact { from: end(&FROM)?, label, to: end(&TO)? });
    }
    if knowledge.entities.is_empty() {
        return Err(StageError::input_help(
            format!("{}: holds no entity", path.display()),
            "rows of entities have `name`, `type`, `aliases` and if need be `id`; rows of relations `subject`, `relation`, `object`",
        ));
    }
    Ok(knowledge)
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
        let (a, b) = (load(tables.path()).unwrap(), load(&lines.path().join("kb.jsonl")).unwrap());
        assert_eq!(a, b);
        assert_eq!(a.entities[0].names, ["Acme", "Acme Ltd.", "艾克米"]);
        assert_eq!(a.facts, [Fact { from: 1, label: "runs".into(), to: 0 }, Fact { from: 1, label: "owns".into(), to: 0 }]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (entities, relations, words) in [
            (ENTITIES, "subject,relation,object\nBob,runs,1\n", ["relations.csv:2", "Bob"]),
            (ENTITIES, "subject,relation,object\n,runs,1\n", ["relations.csv:2", "subject"]),
            ("name,type\nAcme,ORG\nAcme,PER\n", "", ["entities.csv:3", "twice"]),
            ("name,kind\nAcme,ORG\n", "", ["entities.csv:2", "type"]),
            ("id,name,type\n1,Acme,ORG\n2,Acme,PER\n", "subject,relation,object\nAcme,runs,1\n", ["relations.csv:2", "several"]),
            ("name,type,aliases\nAcme,ORG,\"[1\"\n", "", ["entities.csv:2", "aliases"]),
        ] {
            let dir = written(&[("entities.csv", entities)]);
            if !relations.is_empty() {
                std::fs::write(dir.path().join("relations.csv"), relations).unwrap();
            }
            let error = load(dir.path()).unwrap_err().to_string();
            assert!(words.iter().all(|w| error.contains(w)), "{error}");
        }
        assert!(load(written(&[]).path()).unwrap_err().to_string().contains("no file of entities"));
    }
}
