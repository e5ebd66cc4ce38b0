//! What goes into the store: documents, evidence, and which rows of our exports are which documents.

use rusqlite::{OptionalExtension, params};

use super::{Store, digest, text_hash};
use crate::error::{Error, Result};
use dataset::labels::{Document, Statement};

/// What became of a document that was added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// Its number in the store.
    pub document: i64,
    /// Whether it is new.
    pub new: bool,
    /// Which of its statements are new, by their index.
    pub statements: Vec<usize>,
    /// Whether it was put aside: what is said of it does not count.
    pub aside: bool,
}

/// A row of one of our files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The row's key as it is read back.
    pub row: String,
    /// Hash of its text as it is read back.
    pub text_hash: [u8; 32],
    /// The document that it is.
    pub document: i64,
    /// What its statements say as they are read back.
    pub digests: Vec<[u8; 32]>,
}

impl Store {
    /// Adds what is not there yet of a document and of what was said of it. The document is known if its source, row and text are, or
    /// if it is a row of one of our own exports; what the same author said in the same words before, or what is but our own export
    /// read back, is not added again.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn add(&mut self, source: &str, document: &Document, action: i64) -> Result<Added> {
        let hash = text_hash(&document.text);
        // Our own lines say which document a row is: in another store it becomes the same one.
        let (of, row) = document.known_as.as_ref().map_or((source, document.row.as_str()), |(source, row)| (source.as_str(), row.as_str()));
        let (mut known, mut exported) = (self.find(of, row, &hash)?, Vec::new());
        if let Some((id, digests)) = self.find_export(source, &document.row, &hash)? {
            // An own document of that name comes before a row that looks like it.
            if known.is_none_or(|known| known == id) {
                known = Some(id);
                exported = digests;
            }
        }
        let (id, new) = match known {
            Some(id) => (id, false),
            None => (self.insert(of, row, document, &hash)?, true),
        };
        let mut statements = Vec::new();
        for (i, statement) in document.statements.iter().enumerate() {
            let digest = digest(statement);
            if exported.contains(&digest) || !new && self.is_said(id, &digest)? {
                continue;
            }
            self.say_digested(id, statement, &digest, action)?;
            statements.push(i);
        }
        Ok(Added { document: id, new, statements, aside: self.aside.contains_key(&id) })
    }

    fn find(&self, source: &str, row: &str, hash: &[u8; 32]) -> Result<Option<i64>> {
        self.run(|c| {
            let mut query = c.prepare_cached("SELECT id FROM documents WHERE source = ? AND row = ? AND text_hash = ?")?;
            query.query_row(params![source, row, hash.as_slice()], |row| row.get(0)).optional()
        })
    }

    fn find_export(&self, name: &str, row: &str, hash: &[u8; 32]) -> Result<Option<(i64, Vec<[u8; 32]>)>> {
        let found: Option<(i64, Vec<u8>)> = self.run(|c| {
            let mut query = c.prepare_cached("SELECT document, digests FROM exports WHERE name = ? AND row = ? AND text_hash = ?")?;
            query.query_row(params![name, row, hash.as_slice()], |row| Ok((row.get(0)?, row.get(1)?))).optional()
        })?;
        Ok(found.map(|(id, bytes)| (id, bytes.as_chunks::<32>().0.to_vec())))
    }

    fn is_said(&self, document: i64, digest: &[u8; 32]) -> Result<bool> {
        let actions: Vec<i64> = self.run(|c| {
            let mut query = c.prepare_cached("SELECT action FROM evidence WHERE document = ? AND digest = ?")?;
            query.query_map(params![document, digest.as_slice()], |row| row.get(0))?.collect()
        })?;
        Ok(actions.iter().any(|action| !self.undone.contains(action)))
    }

    fn insert(&mut self, source: &str, row: &str, document: &Document, hash: &[u8; 32]) -> Result<i64> {
        let own_id = document.id.as_ref().map(ToString::to_string);
        let provenance = document.source.as_ref().map(json);
        let meta = (!document.meta.is_empty()).then(|| json(&document.meta));
        let native = document.native.as_ref().map(json);
        self.run(|c| {
            let mut insert = c.prepare_cached(
                "INSERT INTO documents (source, row, text_hash, text, own_id, provenance, meta, native) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            )?;
            insert.execute(params![source, row, hash.as_slice(), document.text, own_id, provenance, meta, native])?;
            Ok(c.last_insert_rowid())
        })
    }

    /// Says something of a document that is there.
    ///
    /// # Errors
    /// If there is no such document, or the database refuses.
    pub fn say(&mut self, document: i64, statement: &Statement, action: i64) -> Result<()> {
        let there: Option<i64> = self.run(|c| {
            let mut query = c.prepare_cached("SELECT id FROM documents WHERE id = ?")?;
            query.query_row([document], |row| row.get(0)).optional()
        })?;
        if there.is_none() {
            return Err(Error::Input(format!("there is no document {document} in the store")));
        }
        self.say_digested(document, statement, &digest(statement), action)
    }

    fn say_digested(&mut self, document: i64, statement: &Statement, digest: &[u8; 32], action: i64) -> Result<()> {
        let native = statement.native.as_ref().map(json);
        let place = statement.place.and_then(|p| i64::try_from(p).ok());
        self.run(|c| {
            let mut insert = c.prepare_cached(
                "INSERT INTO evidence (document, action, kind, author, answer, confidence, labels, native, place, digest)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?;
            insert.execute(params![
                document,
                action,
                statement.author.kind.name(),
                statement.author.name,
                statement.answer.name(),
                statement.confidence,
                json(&statement.labels),
                native,
                place,
                digest.as_slice()
            ])?;
            Ok(())
        })
    }

    /// Remembers a file of ours: which row is which document, and what its rows say when they are read back.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn remember_export(&mut self, name: &str, file_hash: &[u8; 32], rows: &[Exported]) -> Result<()> {
        self.run(|c| {
            c.execute("INSERT OR REPLACE INTO export_files (hash, name) VALUES (?, ?)", params![file_hash.as_slice(), name])?;
            let mut insert =
                c.prepare("INSERT OR REPLACE INTO exports (name, row, text_hash, document, digests) VALUES (?, ?, ?, ?, ?)")?;
            for row in rows {
                let digests = row.digests.concat();
                insert.execute(params![name, row.row, row.text_hash.as_slice(), row.document, digests])?;
            }
            Ok(())
        })
    }

    /// The name under which a file of exactly these bytes was exported.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn export_of(&self, file_hash: &[u8; 32]) -> Result<Option<String>> {
        self.run(|c| c.query_row("SELECT name FROM export_files WHERE hash = ?", [file_hash.as_slice()], |row| row.get(0)).optional())
    }
}

/// Our own types as JSON: nothing in them can fail to serialise.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
