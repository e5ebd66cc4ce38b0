//! The store: what was read, in one SQLite file, `documents.db`. Owns the library `rusqlite`.
//!
//! Every file is written in one transaction, so a process that is killed loses at most the files it was reading. Offsets in the database count code points.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use crate::block::{Block, Extracted, PageFailure, PageInfo, PageSource};
use crate::chunk::Chunk;
use crate::clean::AlignMap;
use crate::error::{DocumentError, Result};

/// The database's name in a store's directory.
pub const FILE: &str = "documents.db";
/// Version of the tables; a store of another version is refused.
const SCHEMA: i64 = 1;

const TABLES: &str = "
CREATE TABLE files (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, sha256 TEXT NOT NULL, bytes INTEGER NOT NULL, format TEXT NOT NULL,
  encoding TEXT, declared_pages INTEGER, settings TEXT NOT NULL, failed TEXT, notes TEXT NOT NULL
);
CREATE TABLE pages (
  file INTEGER NOT NULL REFERENCES files(id) ON DELETE CASCADE, number INTEGER NOT NULL, source TEXT NOT NULL, width REAL NOT NULL,
  height REAL NOT NULL, rotation INTEGER NOT NULL, language TEXT, confidence REAL, reason TEXT, PRIMARY KEY (file, number)
) WITHOUT ROWID;
CREATE TABLE blocks (
  file INTEGER NOT NULL REFERENCES files(id) ON DELETE CASCADE, ordinal INTEGER NOT NULL, page INTEGER NOT NULL, block TEXT NOT NULL,
  PRIMARY KEY (file, ordinal)
) WITHOUT ROWID;
CREATE TABLE failures (
  file INTEGER NOT NULL REFERENCES files(id) ON DELETE CASCADE, page INTEGER, reason TEXT NOT NULL
);
CREATE TABLE chunks (
  file INTEGER NOT NULL REFERENCES files(id) ON DELETE CASCADE, ordinal INTEGER NOT NULL, id TEXT NOT NULL UNIQUE, chunk TEXT NOT NULL,
  PRIMARY KEY (file, ordinal)
) WITHOUT ROWID;
CREATE TABLE cleaned (
  file INTEGER PRIMARY KEY REFERENCES files(id) ON DELETE CASCADE, text TEXT NOT NULL, maps TEXT NOT NULL
);
CREATE TABLE recognised (
  sha256 TEXT NOT NULL, page INTEGER NOT NULL, settings TEXT NOT NULL, result TEXT NOT NULL, PRIMARY KEY (sha256, page, settings)
) WITHOUT ROWID;
";

/// The maps of every cleaning that chunks were cut from, so that labels of an older version can be carried to a newer one. It came after the
/// others: a store without it gets it, and what is known of its current chunks.
const CLEANINGS: &str = "
CREATE TABLE IF NOT EXISTS cleanings (
  file INTEGER NOT NULL REFERENCES files(id) ON DELETE CASCADE, version TEXT NOT NULL, maps TEXT NOT NULL, PRIMARY KEY (file, version)
) WITHOUT ROWID;
INSERT OR IGNORE INTO cleanings SELECT c.file, substr(c.id, instr(c.id, '.') + 1, 8), t.maps FROM chunks c JOIN cleaned t ON t.file = c.file;
";

/// An open store.
pub struct Store {
    connection: Connection,
    path: PathBuf,
}

/// One file of the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileRow {
    /// Its key in the database.
    #[serde(skip)]
    pub key: i64,
    /// The path as it was ingested.
    pub name: String,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
    /// `pdf`, `docx`, …
    pub format: String,
    /// Its encoding, of text formats.
    pub encoding: Option<String>,
    /// The page count that it states itself.
    pub declared_pages: Option<u32>,
    /// Why nothing of it could be read.
    pub failed: Option<String>,
    /// Worth telling.
    pub notes: Vec<String>,
    /// Pages in the store.
    pub pages: u32,
    /// Pages that were recognised in pictures.
    pub ocr_pages: u32,
    /// Pages with nothing on them.
    pub empty_pages: u32,
    /// Pages that could not be read.
    pub failed_pages: u32,
    /// Blocks.
    pub blocks: u32,
    /// Current chunks.
    pub chunks: u32,
}

/// What a file is stored as.
#[derive(Clone, Debug)]
pub struct NewFile<'a> {
    /// The path as it was given.
    pub name: &'a str,
    /// SHA-256 of its bytes.
    pub sha256: &'a str,
    /// Its size.
    pub bytes: u64,
    /// The settings that it was read with: other settings read it again.
    pub settings: &'a str,
    /// What was read, or why nothing was.
    pub outcome: std::result::Result<&'a Extracted, &'a str>,
}

impl Store {
    /// Opens the store of a directory, making both if there is none.
    ///
    /// # Errors
    /// A directory that cannot be made; a database of another version, or that is none.
    pub fn create(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(|e| DocumentError::io(dir, "make this directory", e))?;
        Self::at(&dir.join(FILE))
    }

    /// Opens the store of a directory that must have one.
    ///
    /// # Errors
    /// As [`Store::create`], and where there is no store.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        if !path.is_file() {
            let reason = "there is no store of documents here; `tunesmith docs ingest PATH… --store DIR` makes one".to_owned();
            return Err(DocumentError::Store { path, reason, user: true });
        }
        Self::at(&path)
    }

    fn at(path: &Path) -> Result<Self> {
        let fail = |e: rusqlite::Error| failure(path, &e);
        let connection = Connection::open(path).map_err(fail)?;
        connection.busy_timeout(Duration::from_secs(30)).map_err(fail)?;
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;").map_err(fail)?;
        let version: i64 = connection.query_row("PRAGMA user_version", [], |r| r.get(0)).map_err(fail)?;
        match version {
            SCHEMA => {}
            0 => {
                let begin = format!("BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {SCHEMA}; COMMIT;");
                connection.execute_batch(&begin).map_err(fail)?;
            }
            other => {
                let reason = format!("this store has version {other} of the tables; this program knows version {SCHEMA}");
                return Err(DocumentError::Store { path: path.into(), reason, user: true });
            }
        }
        let query = "SELECT count(*) FROM sqlite_master WHERE name = 'cleanings'";
        let there: i64 = connection.query_row(query, [], |r| r.get(0)).map_err(fail)?;
        if there == 0 {
            connection.execute_batch(&format!("BEGIN IMMEDIATE; {CLEANINGS} COMMIT;")).map_err(fail)?;
        }
        Ok(Store { connection, path: path.into() })
    }

    fn fail(&self, e: rusqlite::Error) -> DocumentError {
        failure(&self.path, &e)
    }

    /// Whether a file of that name, content and settings is there and was read.
    pub fn has(&self, name: &str, sha256: &str, settings: &str) -> Result<bool> {
        let query = "SELECT 1 FROM files WHERE name = ?1 AND sha256 = ?2 AND settings = ?3 AND failed IS NULL";
        let found = self.connection.query_row(query, params![name, sha256, settings], |_| Ok(())).optional();
        found.map(|f| f.is_some()).map_err(|e| self.fail(e))
    }

    /// Stores a file in place of any of the same name, in one transaction.
    pub fn put(&mut self, file: &NewFile<'_>) -> Result<()> {
        let path = self.path.clone();
        let fail = |e: rusqlite::Error| failure(&path, &e);
        let transaction = self.connection.transaction().map_err(fail)?;
        transaction.execute("DELETE FROM files WHERE name = ?1", [file.name]).map_err(fail)?;
        let extracted = file.outcome.ok();
        transaction
            .execute(
                "INSERT INTO files (name, sha256, bytes, format, encoding, declared_pages, settings, failed, notes) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                params![
                    file.name,
                    file.sha256,
                    file.bytes as i64,
                    extracted.map_or("", |e| &e.format),
                    extracted.and_then(|e| e.encoding.as_deref()),
                    extracted.and_then(|e| e.declared_pages),
                    file.settings,
                    file.outcome.err(),
                    json(&extracted.map_or(&Vec::new(), |e| &e.notes)),
                ],
            )
            .map_err(fail)?;
        let key = transaction.last_insert_rowid();
        if let Some(extracted) = extracted {
            let mut page_row = transaction.prepare_cached("INSERT INTO pages VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)").map_err(fail)?;
            for p in &extracted.pages {
                let values = params![key, p.number, p.source.name(), p.width, p.height, p.rotation, p.language, p.confidence, p.reason];
                page_row.execute(values).map_err(fail)?;
            }
            let mut block_row = transaction.prepare_cached("INSERT INTO blocks VALUES (?1, ?2, ?3, ?4)").map_err(fail)?;
            for (i, block) in extracted.blocks.iter().enumerate() {
                block_row.execute(params![key, i as i64, block.page(), json(block)]).map_err(fail)?;
            }
            let mut failure_row = transaction.prepare_cached("INSERT INTO failures VALUES (?1, ?2, ?3)").map_err(fail)?;
            for f in &extracted.failures {
                failure_row.execute(params![key, f.page, f.reason]).map_err(fail)?;
            }
        }
        transaction.commit().map_err(fail)
    }

    /// All files by name.
    pub fn files(&self) -> Result<Vec<FileRow>> {
        let query = "SELECT f.id, f.name, f.sha256, f.bytes, f.format, f.encoding, f.declared_pages, f.failed, f.notes,
              (SELECT count(*) FROM pages p WHERE p.file = f.id),
              (SELECT count(*) FROM pages p WHERE p.file = f.id AND p.source = 'ocr'),
              (SELECT count(*) FROM pages p WHERE p.file = f.id AND p.source = 'empty'),
              (SELECT count(*) FROM pages p WHERE p.file = f.id AND p.source = 'failed') + (SELECT count(*) FROM failures x WHERE x.file = f.id),
              (SELECT count(*) FROM blocks b WHERE b.file = f.id), (SELECT count(*) FROM chunks c WHERE c.file = f.id)
            FROM files f ORDER BY f.name";
        let row = |r: &rusqlite::Row<'_>| {
            Ok(FileRow {
                key: r.get(0)?,
                name: r.get(1)?,
                sha256: r.get(2)?,
                bytes: r.get::<_, i64>(3)? as u64,
                format: r.get(4)?,
                encoding: r.get(5)?,
                declared_pages: r.get(6)?,
                failed: r.get(7)?,
                notes: serde_json::from_str(&r.get::<_, String>(8)?).unwrap_or_default(),
                pages: r.get(9)?,
                ocr_pages: r.get(10)?,
                empty_pages: r.get(11)?,
                failed_pages: r.get(12)?,
                blocks: r.get(13)?,
                chunks: r.get(14)?,
            })
        };
        let mut statement = self.connection.prepare(query).map_err(|e| self.fail(e))?;
        let rows = statement.query_map([], row).map_err(|e| self.fail(e))?;
        rows.collect::<rusqlite::Result<_>>().map_err(|e| self.fail(e))
    }

    /// The directory that the database lies in.
    pub fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    /// Names of all files, in order.
    pub fn names(&self) -> Result<Vec<String>> {
        let mut statement = self.connection.prepare("SELECT name FROM files ORDER BY name").map_err(|e| self.fail(e))?;
        let rows = statement.query_map([], |r| r.get(0)).map_err(|e| self.fail(e))?;
        rows.collect::<rusqlite::Result<_>>().map_err(|e| self.fail(e))
    }

    /// The file that a name stands for: the name as ingested, or an ending of it that only one file has, or the beginning of a hash.
    pub fn find(&self, name: &str) -> Result<FileRow> {
        let files = self.files()?;
        let wanted = name.strip_prefix("./").unwrap_or(name);
        if let Some(exact) = files.iter().find(|f| f.name == wanted) {
            return Ok(exact.clone());
        }
        let fits = |f: &&FileRow| f.name.ends_with(&format!("/{wanted}")) || (wanted.len() >= 8 && f.sha256.starts_with(wanted));
        let mut candidates = files.iter().filter(fits);
        match (candidates.next(), candidates.next()) {
            (Some(file), None) => Ok(file.clone()),
            (Some(a), Some(b)) => {
                let reason = format!("more than one document has this name: {}, {}; give more of the path", a.name, b.name);
                Err(DocumentError::Name { name: name.into(), reason })
            }
            (None, _) => {
                let reason = "no such document in the store; `tunesmith docs list --store DIR` shows all".to_owned();
                Err(DocumentError::Name { name: name.into(), reason })
            }
        }
    }

    /// Pages of a file in order.
    pub fn pages(&self, file: &FileRow) -> Result<Vec<PageInfo>> {
        let query =
            "SELECT number, source, width, height, rotation, language, confidence, reason FROM pages WHERE file = ?1 ORDER BY number";
        let row = |r: &rusqlite::Row<'_>| {
            Ok(PageInfo {
                number: r.get(0)?,
                source: PageSource::from_name(&r.get::<_, String>(1)?).unwrap_or(PageSource::Failed),
                width: r.get(2)?,
                height: r.get(3)?,
                rotation: r.get(4)?,
                language: r.get(5)?,
                confidence: r.get(6)?,
                reason: r.get(7)?,
            })
        };
        let mut statement = self.connection.prepare_cached(query).map_err(|e| self.fail(e))?;
        let rows = statement.query_map([file.key], row).map_err(|e| self.fail(e))?;
        rows.collect::<rusqlite::Result<_>>().map_err(|e| self.fail(e))
    }

    /// Blocks of a file in reading order.
    pub fn blocks(&self, file: &FileRow) -> Result<Vec<Block>> {
        let mut statement =
            self.connection.prepare_cached("SELECT block FROM blocks WHERE file = ?1 ORDER BY ordinal").map_err(|e| self.fail(e))?;
        let rows = statement.query_map([file.key], |r| r.get::<_, String>(0)).map_err(|e| self.fail(e))?;
        rows.map(|row| self.parse(&row.map_err(|e| self.fail(e))?)).collect()
    }

    fn parse<T: for<'d> Deserialize<'d>>(&self, text: &str) -> Result<T> {
        serde_json::from_str(text).map_err(|e| DocumentError::Store {
            path: self.path.clone(),
            reason: format!("an entry is damaged: {e}"),
            user: false,
        })
    }

    /// What could not be read of a file: the whole, single pages, missing pages.
    pub fn failures(&self, file: &FileRow) -> Result<Vec<PageFailure>> {
        if let Some(reason) = &file.failed {
            return Ok(vec![PageFailure { page: None, reason: reason.clone() }]);
        }
        let query = "SELECT number, coalesce(reason, '') FROM pages WHERE file = ?1 AND source = 'failed'
            UNION ALL SELECT page, reason FROM failures WHERE file = ?1 ORDER BY 1";
        let mut statement = self.connection.prepare_cached(query).map_err(|e| self.fail(e))?;
        let rows = statement.query_map([file.key], |r| Ok(PageFailure { page: r.get(0)?, reason: r.get(1)? })).map_err(|e| self.fail(e))?;
        rows.collect::<rusqlite::Result<_>>().map_err(|e| self.fail(e))
    }

    /// Forgets files with all that was made from them.
    pub fn remove(&mut self, files: &[FileRow]) -> Result<()> {
        let path = self.path.clone();
        let fail = |e: rusqlite::Error| failure(&path, &e);
        let transaction = self.connection.transaction().map_err(fail)?;
        for file in files {
            transaction.execute("DELETE FROM files WHERE id = ?1", [file.key]).map_err(fail)?;
            let others = transaction
                .query_row("SELECT count(*) FROM files WHERE sha256 = ?1", [&file.sha256], |r| r.get::<_, i64>(0))
                .map_err(fail)?;
            if others == 0 {
                transaction.execute("DELETE FROM recognised WHERE sha256 = ?1", [&file.sha256]).map_err(fail)?;
            }
        }
        transaction.commit().map_err(fail)?;
        // What was deleted must be gone from the disk as well, not only from the tables.
        self.connection.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);").map_err(|e| self.fail(e))
    }

    /// Replaces the cleaned text of a file, the maps of the steps that made it, and its chunks.
    pub fn put_chunks(&mut self, file: &FileRow, text: &str, maps: &[AlignMap], chunks: &[Chunk]) -> Result<()> {
        let path = self.path.clone();
        let fail = |e: rusqlite::Error| failure(&path, &e);
        let transaction = self.connection.transaction().map_err(fail)?;
        transaction.execute("DELETE FROM chunks WHERE file = ?1", [file.key]).map_err(fail)?;
        let cleaned = params![file.key, text, json(&maps)];
        transaction.execute("INSERT OR REPLACE INTO cleaned VALUES (?1, ?2, ?3)", cleaned).map_err(fail)?;
        {
            let mut row = transaction.prepare_cached("INSERT INTO chunks VALUES (?1, ?2, ?3, ?4)").map_err(fail)?;
            for (i, chunk) in chunks.iter().enumerate() {
                row.execute(params![file.key, i as i64, chunk.id, json(chunk)]).map_err(fail)?;
            }
        }
        if let Some(version) = chunks.first().and_then(|c| crate::chunk::version_of(&c.id)) {
            let cleaning = params![file.key, version, json(&maps)];
            transaction.execute("INSERT OR REPLACE INTO cleanings VALUES (?1, ?2, ?3)", cleaning).map_err(fail)?;
        }
        transaction.commit().map_err(fail)
    }

    /// Remembers the maps of a cleaning under the version that ids of its pieces carry.
    pub fn put_cleaning(&mut self, file: &FileRow, version: &str, maps: &[AlignMap]) -> Result<()> {
        let insert = "INSERT OR REPLACE INTO cleanings VALUES (?1, ?2, ?3)";
        self.connection.execute(insert, params![file.key, version, json(&maps)]).map(|_| ()).map_err(|e| self.fail(e))
    }

    /// The maps of the cleaning that chunks of a version were cut from; `None` if no file of these bytes has such a version (any more).
    pub fn cleaning(&self, sha256: &str, version: &str) -> Result<Option<Vec<AlignMap>>> {
        let query = "SELECT c.maps FROM cleanings c JOIN files f ON f.id = c.file WHERE f.sha256 = ?1 AND c.version = ?2";
        let maps = self.connection.query_row(query, params![sha256, version], |r| r.get::<_, String>(0)).optional();
        maps.map_err(|e| self.fail(e))?.map(|maps| self.parse(&maps)).transpose()
    }

    /// The current cleaned text of a file with the maps of the steps that made it (for [`crate::clean::migrate`]); `None` before the first
    /// cleaning.
    pub fn cleaned(&self, file: &FileRow) -> Result<Option<(String, Vec<AlignMap>)>> {
        let query = "SELECT text, maps FROM cleaned WHERE file = ?1";
        let row = self.connection.query_row(query, [file.key], |r| Ok((r.get::<_, String>(0)?, r.get::<_, String>(1)?)));
        match row.optional().map_err(|e| self.fail(e))? {
            Some((text, maps)) => Ok(Some((text, self.parse(&maps)?))),
            None => Ok(None),
        }
    }

    /// The current chunks of all files, by file name and order; `each` may end the walk with an error.
    pub fn each_chunk(&self, each: &mut dyn FnMut(Chunk) -> Result<()>) -> Result<()> {
        let query = "SELECT c.chunk FROM chunks c JOIN files f ON f.id = c.file ORDER BY f.name, c.ordinal";
        let mut statement = self.connection.prepare_cached(query).map_err(|e| self.fail(e))?;
        let mut rows = statement.query([]).map_err(|e| self.fail(e))?;
        while let Some(row) = rows.next().map_err(|e| self.fail(e))? {
            let text: String = row.get(0).map_err(|e| self.fail(e))?;
            each(self.parse(&text)?)?;
        }
        Ok(())
    }

    /// A page that was recognised before with these settings.
    pub fn recognised(&self, sha256: &str, page: u32, settings: &str) -> Result<Option<String>> {
        let query = "SELECT result FROM recognised WHERE sha256 = ?1 AND page = ?2 AND settings = ?3";
        self.connection.query_row(query, params![sha256, page, settings], |r| r.get(0)).optional().map_err(|e| self.fail(e))
    }

    /// Keeps a recognised page: the work of seconds that a kill must not lose.
    pub fn put_recognised(&self, sha256: &str, page: u32, settings: &str, result: &str) -> Result<()> {
        let insert = "INSERT OR REPLACE INTO recognised VALUES (?1, ?2, ?3, ?4)";
        self.connection.execute(insert, params![sha256, page, settings, result]).map(|_| ()).map_err(|e| self.fail(e))
    }
}

fn json(value: &impl Serialize) -> String {
    // Plain structs of strings and finite numbers: nothing in them can fail to serialise.
    serde_json::to_string(value).unwrap_or_default()
}

fn failure(path: &Path, error: &rusqlite::Error) -> DocumentError {
    use rusqlite::ErrorCode as Code;
    let code = error.sqlite_error_code();
    let (hint, user) = match code {
        Some(Code::NotADatabase | Code::DatabaseCorrupt) => ("; this is no store, or a damaged one", true),
        Some(Code::CannotOpen | Code::ReadOnly | Code::PermissionDenied) => ("; choose a directory that can be written to", true),
        Some(Code::DiskFull) => ("; free some space and try again: what was stored before is untouched", false),
        Some(Code::DatabaseBusy | Code::DatabaseLocked) => ("; another process writes to this store", false),
        _ => ("", false),
    };
    DocumentError::Store { path: path.into(), reason: format!("{error}{hint}"), user }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::BlockKind;

    fn extracted(text: &str) -> Extracted {
        let mut failed = PageInfo::unpaged(2, false);
        (failed.source, failed.reason) = (PageSource::Failed, Some("damaged".into()));
        Extracted {
            format: "text".into(),
            pages: vec![PageInfo::unpaged(1, false), failed],
            blocks: vec![Block::plain(BlockKind::Heading(2), text, 1), Block::plain(BlockKind::Paragraph, "正文", 1)],
            failures: vec![PageFailure { page: None, reason: "two pages are missing".into() }],
            ..Extracted::default()
        }
    }

    #[test]
    fn what_is_put_is_found_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::create(dir.path()).unwrap();
        let first = extracted("first");
        let new = NewFile { name: "a/x.txt", sha256: "0123456789ab", bytes: 5, settings: "s", outcome: Ok(&first) };
        store.put(&new).unwrap();
        store.put(&NewFile { name: "b/x.txt", sha256: "ff", ..new.clone() }).unwrap();
        store.put(&NewFile { name: "bad.pdf", sha256: "ee", outcome: Err("empty"), ..new.clone() }).unwrap();
        assert!(store.has("a/x.txt", "0123456789ab", "s").unwrap());
        assert!(!store.has("a/x.txt", "0123456789ab", "t").unwrap() && !store.has("bad.pdf", "ee", "s").unwrap());

        let file = Store::open(dir.path()).unwrap().find("a/x.txt").unwrap();
        assert_eq!((file.pages, file.failed_pages, file.blocks), (2, 2, 2));
        assert_eq!(store.blocks(&file).unwrap(), first.blocks);
        assert_eq!(store.pages(&file).unwrap(), first.pages);
        let pages: Vec<Option<u32>> = store.failures(&file).unwrap().into_iter().map(|f| f.page).collect();
        assert_eq!(pages, [None, Some(2)]);
        assert_eq!(store.find("01234567").unwrap().name, "a/x.txt");
        assert!(store.find("x.txt").unwrap_err().to_string().contains("more than one"));
        assert!(store.find("y.txt").unwrap_err().to_string().contains("docs list"));

        // The same name again replaces; the others stay.
        let second = extracted("second");
        store.put(&NewFile { outcome: Ok(&second), ..new }).unwrap();
        assert_eq!(store.files().unwrap().len(), 3);
        let file = store.find("a/x.txt").unwrap();
        assert_eq!(store.blocks(&file).unwrap()[0].text, "second");
        store.remove(&[file]).unwrap();
        assert_eq!(store.files().unwrap().iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["b/x.txt", "bad.pdf"]);
        let bytes = std::fs::read(dir.path().join(FILE)).unwrap();
        assert!(!bytes.windows(6).any(|w| w == b"second"), "removed text is gone from the disk");
    }

    #[test]
    fn every_cleaning_that_was_cut_is_remembered_in_older_stores_too() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::create(dir.path()).unwrap();
        let first = extracted("first");
        let new = NewFile { name: "x.txt", sha256: "0123456789abcdef01", bytes: 5, settings: "s", outcome: Ok(&first) };
        store.put(&new).unwrap();
        let file = store.find("x.txt").unwrap();
        let chunk = |version: &str| Chunk {
            id: format!("0123456789abcdef.{version}.0"),
            text: "t".into(),
            file: "x.txt".into(),
            sha256: file.sha256.clone(),
            page: 1,
            page_end: 1,
            start: 0,
            end: 1,
            places: Vec::new(),
            headings: Vec::new(),
            length: 1,
        };
        let map = |with: &str| vec![AlignMap::of("abc", &[crate::clean::Edit { range: 1..2, with: with.into(), kind: "" }])];
        store.put_chunks(&file, "t", &map(""), &[chunk("aaaaaaaa")]).unwrap();
        store.put_chunks(&file, "t", &map("xy"), &[chunk("bbbbbbbb")]).unwrap();
        store.put_cleaning(&file, "cccccccc", &[]).unwrap();
        let found = |store: &Store| ["aaaaaaaa", "bbbbbbbb", "cccccccc", "dddddddd"].map(|v| store.cleaning(&file.sha256, v).unwrap());
        assert_eq!(found(&store), [Some(map("")), Some(map("xy")), Some(vec![]), None]);
        // A store from before the table was there knows its current chunks.
        store.connection.execute_batch("DROP TABLE cleanings").unwrap();
        drop(store);
        let mut store = Store::open(dir.path()).unwrap();
        assert_eq!(found(&store), [None, Some(map("xy")), None, None]);
        // The file read again is another text: its maps are of no use.
        store.put(&new).unwrap();
        let file = store.find("x.txt").unwrap();
        assert_eq!(store.cleaning(&file.sha256, "bbbbbbbb").unwrap(), None);
    }

    #[test]
    fn what_is_no_store_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Store::open(dir.path()).err().unwrap().is_user_input());
        std::fs::write(dir.path().join(FILE), "this is not a database, but long enough to be looked at as one").unwrap();
        let error = Store::open(dir.path()).err().unwrap();
        assert!(error.is_user_input() && error.to_string().contains("no store"), "{error}");
    }
}
