//! The database of a labelling project: `labels.db` in the store's directory. Owns the `rusqlite` library.
//!
//! `documents` are texts by (source, row, text); `evidence` is what was said of them, appended and never changed (the database itself
//! refuses); `actions` are the commands that said it, each of which can be undone by a further action; `exports` remembers which rows
//! of our own files are which documents, so that reading one back adds nothing; `standings` says which documents were put aside since
//! another version of their text stands in their place.

mod aside;
pub mod knowledge;
mod read;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use dataset::labels::{Body, Label, Statement};

pub use aside::Aside;
pub use read::Entry;
pub use write::{Added, Exported};

/// File name in the store's directory.
pub const FILE: &str = "labels.db";

/// Version of the tables. A file of another version is refused by name.
const VERSION: i64 = 1;

const TABLES: &str = "
CREATE TABLE documents (
    id INTEGER PRIMARY KEY,
    source TEXT NOT NULL,
    row TEXT NOT NULL,
    text_hash BLOB NOT NULL,
    text TEXT NOT NULL,
    own_id TEXT,
    provenance TEXT,
    meta TEXT,
    native TEXT,
    UNIQUE (source, row, text_hash)
);
CREATE TABLE actions (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    at INTEGER NOT NULL,
    detail TEXT NOT NULL,
    undoes INTEGER REFERENCES actions (id)
);
CREATE TABLE evidence (
    id INTEGER PRIMARY KEY,
    document INTEGER NOT NULL REFERENCES documents (id),
    action INTEGER NOT NULL REFERENCES actions (id),
    kind TEXT NOT NULL,
    author TEXT NOT NULL,
    answer TEXT NOT NULL,
    confidence REAL,
    labels TEXT NOT NULL,
    native TEXT,
    place INTEGER,
    digest BLOB NOT NULL
);
CREATE INDEX evidence_of ON evidence (document, id);
CREATE TABLE exports (
    name TEXT NOT NULL,
    row TEXT NOT NULL,
    text_hash BLOB NOT NULL,
    document INTEGER NOT NULL REFERENCES documents (id),
    digests BLOB NOT NULL,
    PRIMARY KEY (name, row, text_hash)
) WITHOUT ROWID;
CREATE TABLE export_files (hash BLOB PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID;
CREATE TRIGGER evidence_stays BEFORE UPDATE ON evidence BEGIN SELECT RAISE(ABORT, 'evidence is append-only'); END;
CREATE TRIGGER evidence_remains BEFORE DELETE ON evidence BEGIN SELECT RAISE(ABORT, 'evidence is append-only'); END;
";

/// An open store.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
    /// Actions that were undone: what they said does not count.
    undone: BTreeSet<i64>,
    /// Documents that do not count, since another version of their text does.
    aside: BTreeMap<i64, Aside>,
}

/// A command that said something.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Action {
    /// Its number.
    pub id: i64,
    /// What it was: `import`, `annotate`, `adjudicate`, `undo`, …
    pub kind: String,
    /// When, in seconds since 1970.
    pub at: i64,
    /// What a person should know of it.
    pub detail: Value,
    /// The action that it takes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undoes: Option<i64>,
    /// Whether it was taken back itself.
    pub undone: bool,
}

impl Store {
    /// Opens the store in `dir`; both are created if they are not there.
    ///
    /// # Errors
    /// If the directory cannot be made, or the file is no store of ours.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        fs::create_dir_all(dir).map_err(|e| Error::Store { path: path.clone(), reason: e.to_string() })?;
        let fail = |e: rusqlite::Error| explain(&path, &e);
        let connection = Connection::open(&path).map_err(fail)?;
        // Write-ahead log: a reader is never in the way of the writer, and what is committed survives kill -9.
        connection.pragma_update(None, "journal_mode", "WAL").map_err(fail)?;
        connection.pragma_update(None, "synchronous", "NORMAL").map_err(fail)?;
        Store::over(connection, path)
    }

    /// Opens a store that must be there already.
    ///
    /// # Errors
    /// If it is not.
    pub fn existing(dir: &Path) -> Result<Self> {
        if !dir.join(FILE).exists() {
            return Err(Error::Input(format!(
                "{}: there is no {FILE} in it; `tunesmith label import FORMAT PATH --store {0}` makes one",
                dir.display()
            )));
        }
        Store::open(dir)
    }

    /// A store that ends with the process: for trying things out.
    ///
    /// # Errors
    /// If there is no memory for it.
    pub fn in_memory() -> Result<Self> {
        let path = PathBuf::from(":memory:");
        let connection = Connection::open_in_memory().map_err(|e| explain(&path, &e))?;
        Store::over(connection, path)
    }

    fn over(connection: Connection, path: PathBuf) -> Result<Self> {
        let mut store = Store { connection, path, undone: BTreeSet::new(), aside: BTreeMap::new() };
        store.run(|c| c.busy_timeout(std::time::Duration::from_secs(10)))?;
        let version: i64 = store.run(|c| c.pragma_query_value(None, "user_version", |row| row.get(0)))?;
        match version {
            0 => store.run(|c| c.execute_batch(&format!("BEGIN IMMEDIATE;{TABLES}PRAGMA user_version = {VERSION};COMMIT;")))?,
            VERSION => {}
            other => {
                let reason = format!("has tables of version {other}; this program knows version {VERSION}");
                return Err(Error::Store { path: store.path, reason });
            }
        }
        store.run(|c| c.execute_batch(aside::TABLES))?;
        store.look_again()?;
        Ok(store)
    }

    /// Works out anew what counts.
    fn look_again(&mut self) -> Result<()> {
        self.undone = undone(&self.actions()?);
        self.aside = self.standing()?;
        Ok(())
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs a query and says which file refused it.
    fn run<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        work(&self.connection).map_err(|e| explain(&self.path, &e))
    }

    /// Everything that was done, first to last.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn actions(&self) -> Result<Vec<Action>> {
        let rows = self.run(|c| {
            let mut query = c.prepare("SELECT id, kind, at, detail, undoes FROM actions ORDER BY id")?;
            let rows = query.query_map([], |row| {
                let detail: String = row.get(3)?;
                let detail = serde_json::from_str(&detail).unwrap_or(Value::Null);
                Ok(Action { id: row.get(0)?, kind: row.get(1)?, at: row.get(2)?, detail, undoes: row.get(4)?, undone: false })
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        let gone = undone(&rows);
        Ok(rows.into_iter().map(|action| Action { undone: gone.contains(&action.id), ..action }).collect())
    }

    /// Begins an action; what is said next refers to it.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn act(&mut self, kind: &str, at: i64, detail: &Value) -> Result<i64> {
        let detail = detail.to_string();
        self.run(|c| {
            c.execute("INSERT INTO actions (kind, at, detail) VALUES (?, ?, ?)", params![kind, at, detail])?;
            Ok(c.last_insert_rowid())
        })
    }

    /// Puts an action in the place of a former one, which counts no more. If the later one is undone, the former counts again; if the
    /// later one is superseded itself, it does not.
    ///
    /// # Errors
    /// If there is no such action, or it does not count any more.
    pub fn supersede(&mut self, former: i64, by: i64, at: i64) -> Result<()> {
        self.take_back(former, at, &json!({ BY: by }))
    }

    /// Takes an action back: what it said stays in the store and does not count any more. An undo can be undone.
    ///
    /// # Errors
    /// If there is no such action, or it was taken back before.
    pub fn undo(&mut self, action: i64, at: i64) -> Result<()> {
        self.take_back(action, at, &json!({}))
    }

    fn take_back(&mut self, action: i64, at: i64, detail: &Value) -> Result<()> {
        let known: Option<i64> = self.run(|c| c.query_row("SELECT id FROM actions WHERE id = ?", [action], |row| row.get(0)).optional())?;
        if known.is_none() {
            return Err(Error::Input(format!("there is no action {action}; `tunesmith label undo --list` names them")));
        }
        if self.undone.contains(&action) {
            return Err(Error::Input(format!("action {action} was undone before")));
        }
        let detail = detail.to_string();
        self.run(|c| c.execute("INSERT INTO actions (kind, at, detail, undoes) VALUES ('undo', ?, ?, ?)", params![at, detail, action]))?;
        self.look_again()
    }

    /// The last action that counts and said something.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn last_action(&self) -> Result<Option<Action>> {
        Ok(self.actions()?.into_iter().rev().find(|a| !a.undone && a.kind != "undo"))
    }

    /// All further changes are kept only if [`Store::commit`] is reached.
    ///
    /// # Errors
    /// If another process writes for too long.
    pub fn begin(&mut self) -> Result<()> {
        self.run(|c| c.execute_batch("BEGIN IMMEDIATE"))
    }

    /// Keeps the changes since [`Store::begin`].
    ///
    /// # Errors
    /// If the database refuses; then nothing was kept.
    pub fn commit(&mut self) -> Result<()> {
        self.run(|c| c.execute_batch("COMMIT"))
    }

    /// Forgets the changes since [`Store::begin`].
    ///
    /// # Errors
    /// If the database refuses.
    pub fn roll_back(&mut self) -> Result<()> {
        self.run(|c| c.execute_batch("ROLLBACK"))?;
        self.look_again()
    }
}

/// In an undo's detail: the action in whose favour it was done.
const BY: &str = "superseded_by";

/// Actions that do not count: those that an action undoes which counts itself. An undo in favour of another action counts as long as
/// nobody took that one back; that it was superseded in its turn brings nothing back.
fn undone(actions: &[Action]) -> BTreeSet<i64> {
    let (mut gone, mut taken_back) = (BTreeSet::new(), BTreeSet::new());
    for action in actions.iter().rev() {
        let by = action.detail.get(BY).and_then(Value::as_i64);
        if let Some(target) = action.undoes
            && !gone.contains(&action.id)
            && by.is_none_or(|by| !taken_back.contains(&by))
        {
            gone.insert(target);
            if by.is_none() {
                taken_back.insert(target);
            }
        }
    }
    gone
}

fn explain(path: &Path, error: &rusqlite::Error) -> Error {
    let reason = match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
            "another process is writing to it; try again when it is done".to_owned()
        }
        Some(rusqlite::ErrorCode::NotADatabase) => "is no database: another program's file is in its place".to_owned(),
        Some(rusqlite::ErrorCode::DiskFull) => "the disk is full; what was committed before is safe".to_owned(),
        _ => error.to_string(),
    };
    Error::Store { path: path.to_owned(), reason }
}

/// SHA-256 of a text.
pub fn text_hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// What makes two statements the same: author, answer, confidence and what the labels say, in whatever order kinds are listed. Fields
/// that only a format understands and places in files do not count.
pub fn digest(statement: &Statement) -> [u8; 32] {
    let mut labels: Vec<(&str, &Label)> = statement.labels.iter().map(|l| (l.body.kind(), l)).collect();
    labels.sort_by_key(|(kind, _)| *kind);
    let said: Vec<(&str, &Body)> = labels.iter().map(|(_, l)| (l.id.as_str(), &l.body)).collect();
    let mut hash = Sha256::new();
    let head = (statement.author.kind.name(), &statement.author.name, statement.answer.name(), statement.confidence);
    // Tuples of texts and numbers: writing them as JSON cannot fail.
    hash.update(serde_json::to_vec(&(head, said)).unwrap_or_default());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataset::labels::Document;

    #[test]
    fn a_store_appears_where_it_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Store::existing(dir.path()).unwrap_err().to_string().contains("label import"));
        let store = Store::open(&dir.path().join("a/b")).unwrap();
        assert!(store.path().ends_with("a/b/labels.db") && store.path().exists());
        fs::write(dir.path().join(FILE), "no database at all, just text that is long enough to look like one").unwrap();
        assert!(Store::open(dir.path()).unwrap_err().to_string().contains("labels.db: is no database"));
    }

    #[test]
    fn a_newer_store_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        Store::open(dir.path()).unwrap().run(|c| c.pragma_update(None, "user_version", 9)).unwrap();
        assert!(Store::open(dir.path()).unwrap_err().to_string().contains("version 9"));
    }

    #[test]
    fn evidence_cannot_be_changed_even_by_hand() {
        let mut store = Store::in_memory().unwrap();
        let action = store.act("import", 0, &Value::Null).unwrap();
        let document =
            Document { row: "1".into(), text: "a".into(), statements: vec![Statement::human("k", vec![])], ..Document::default() };
        store.add("s", &document, action).unwrap();
        for sql in ["UPDATE evidence SET author = 'x'", "DELETE FROM evidence"] {
            assert!(store.run(|c| c.execute_batch(sql)).unwrap_err().to_string().contains("append-only"));
        }
    }

    #[test]
    fn what_was_superseded_comes_back_only_if_its_successor_is_undone() {
        let mut store = Store::in_memory().unwrap();
        let act = |store: &mut Store, former: Option<i64>| {
            let action = store.act("pseudo", 0, &Value::Null).unwrap();
            former.into_iter().for_each(|former| store.supersede(former, action, 0).unwrap());
            action
        };
        let a = act(&mut store, None);
        let b = act(&mut store, Some(a));
        let c = act(&mut store, Some(b));
        let counts = |store: &Store| -> Vec<i64> {
            store.actions().unwrap().into_iter().filter(|x| x.kind == "pseudo" && !x.undone).map(|x| x.id).collect()
        };
        assert_eq!(counts(&store), [c]);
        assert!(store.supersede(a, c, 1).is_err(), "it does not count already");
        store.undo(c, 1).unwrap();
        let undo = store.actions().unwrap().last().unwrap().id;
        assert_eq!((counts(&store), store.last_action().unwrap().unwrap().id), (vec![b], b), "not what it replaced in its time");
        store.undo(b, 2).unwrap();
        assert_eq!(counts(&store), [a]);
        let second = store.actions().unwrap().last().unwrap().id;
        // Undos are undone in turn.
        store.undo(second, 3).unwrap();
        store.undo(undo, 4).unwrap();
        assert_eq!(counts(&store), [c]);
    }

    #[test]
    fn undos_hide_and_can_be_undone() {
        let mut store = Store::in_memory().unwrap();
        let a = store.act("import", 0, &Value::Null).unwrap();
        let b = store.act("annotate", 1, &Value::Null).unwrap();
        assert_eq!(store.last_action().unwrap().unwrap().id, b);
        store.undo(b, 2).unwrap();
        assert_eq!(store.last_action().unwrap().unwrap().id, a);
        assert!(store.undo(b, 3).is_err() && store.undo(99, 3).is_err());
        let undo = store.actions().unwrap().last().unwrap().id;
        store.undo(undo, 4).unwrap();
        assert_eq!(store.last_action().unwrap().unwrap().id, b);
    }
}
