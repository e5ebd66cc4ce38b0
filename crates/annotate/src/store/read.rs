//! What comes out of the store: documents with what counts of what was said.

use rusqlite::{Row, Rows, params};
use serde_json::Value;

use super::Store;
use crate::error::{Error, Result};
use dataset::labels::{Answer, Author, AuthorKind, Document, Statement};

/// A document of the store.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its number.
    pub id: i64,
    /// The source that it came with.
    pub source: String,
    /// The document; its statements are those that were not undone, first to last.
    pub document: Document,
    /// The action that each statement belongs to.
    pub actions: Vec<i64>,
}

/// What was read and cannot be: the store was written by something else.
fn broken(what: &str) -> rusqlite::Error {
    rusqlite::Error::InvalidColumnName(what.to_owned())
}

fn parsed<T: serde::de::DeserializeOwned>(text: Option<String>, what: &str) -> rusqlite::Result<Option<T>> {
    text.map(|text| serde_json::from_str(&text).map_err(|_| broken(what))).transpose()
}

fn document(row: &Row) -> rusqlite::Result<Entry> {
    let document = Document {
        row: row.get(2)?,
        id: parsed::<Value>(row.get(4)?, "own_id")?,
        known_as: None,
        text: row.get(3)?,
        source: parsed(row.get(5)?, "provenance")?,
        meta: parsed(row.get(6)?, "meta")?.unwrap_or_default(),
        native: parsed(row.get(7)?, "native")?,
        statements: Vec::new(),
    };
    Ok(Entry { id: row.get(0)?, source: row.get(1)?, document, actions: Vec::new() })
}

/// A statement with its document and action.
fn statement(row: &Row) -> rusqlite::Result<(i64, i64, Statement)> {
    let (kind, answer): (String, String) = (row.get(2)?, row.get(4)?);
    let author = Author { kind: AuthorKind::of_name(&kind).ok_or_else(|| broken("kind"))?, name: row.get(3)? };
    let statement = Statement {
        author,
        answer: Answer::of_name(&answer).ok_or_else(|| broken("answer"))?,
        confidence: row.get(5)?,
        labels: parsed(Some(row.get(6)?), "labels")?.unwrap_or_default(),
        native: parsed(row.get(7)?, "native")?,
        place: row.get::<_, Option<i64>>(8)?.and_then(|p| u64::try_from(p).ok()),
    };
    Ok((row.get(0)?, row.get(1)?, statement))
}

const DOCUMENT: &str = "SELECT id, source, row, text, own_id, provenance, meta, native FROM documents";
const EVIDENCE: &str = "SELECT document, action, kind, author, answer, confidence, labels, native, place FROM evidence";

/// The next row of evidence, kept until its document comes.
struct Ahead<'r> {
    rows: Rows<'r>,
    next: Option<(i64, i64, Statement)>,
}

impl Ahead<'_> {
    fn advance(&mut self) -> rusqlite::Result<()> {
        self.next = self.rows.next()?.map(statement).transpose()?;
        Ok(())
    }
}

impl Store {
    /// Calls `work` with every document that was not put aside, in the order in which they came, one at a time: a million do not have to
    /// fit into memory.
    ///
    /// # Errors
    /// The first error of the database or of `work`.
    pub fn each(&self, work: &mut dyn FnMut(Entry) -> Result<()>) -> Result<()> {
        self.each_of_all(&mut |entry| if self.aside.contains_key(&entry.id) { Ok(()) } else { work(entry) })
    }

    /// As [`Store::each`], with those that were put aside.
    ///
    /// # Errors
    /// The first error of the database or of `work`.
    pub fn each_of_all(&self, work: &mut dyn FnMut(Entry) -> Result<()>) -> Result<()> {
        let mut stopped = None;
        self.run(|c| {
            let mut documents = c.prepare(&format!("{DOCUMENT} ORDER BY id"))?;
            let mut evidence = c.prepare(&format!("{EVIDENCE} ORDER BY document, id"))?;
            let mut documents = documents.query([])?;
            let mut ahead = Ahead { rows: evidence.query([])?, next: None };
            ahead.advance()?;
            while let Some(row) = documents.next()? {
                let mut entry = document(row)?;
                while let Some((_, action, said)) = ahead.next.take_if(|(of, ..)| *of == entry.id) {
                    if !self.undone.contains(&action) {
                        entry.document.statements.push(said);
                        entry.actions.push(action);
                    }
                    ahead.advance()?;
                }
                if let Err(error) = work(entry) {
                    stopped = Some(error);
                    return Ok(());
                }
            }
            Ok(())
        })?;
        stopped.map_or(Ok(()), Err)
    }

    /// One document.
    ///
    /// # Errors
    /// If there is none of that number.
    pub fn entry(&self, id: i64) -> Result<Entry> {
        let found = self.run(|c| {
            let mut query = c.prepare_cached(&format!("{DOCUMENT} WHERE id = ?"))?;
            let mut rows = query.query([id])?;
            let Some(row) = rows.next()? else { return Ok(None) };
            let mut entry = document(row)?;
            let mut query = c.prepare_cached(&format!("{EVIDENCE} WHERE document = ? ORDER BY id"))?;
            let mut rows = query.query(params![id])?;
            while let Some(row) = rows.next()? {
                let (_, action, said) = statement(row)?;
                if !self.undone.contains(&action) {
                    entry.document.statements.push(said);
                    entry.actions.push(action);
                }
            }
            Ok(Some(entry))
        })?;
        found.ok_or_else(|| Error::Input(format!("there is no document {id} in the store")))
    }

    /// How many documents there are that were not put aside.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn count(&self) -> Result<usize> {
        let n: i64 = self.run(|c| c.query_row("SELECT COUNT(*) FROM documents", [], |row| row.get(0)))?;
        Ok(usize::try_from(n).unwrap_or(0).saturating_sub(self.aside.len()))
    }

    /// Documents of a source: their rows and numbers, those that were put aside too.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn rows_of(&self, source: &str) -> Result<Vec<(String, i64)>> {
        self.run(|c| {
            let mut query = c.prepare("SELECT row, id FROM documents WHERE source = ? ORDER BY id")?;
            let rows = query.query_map([source], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        })
    }

    /// Rows of all other sources that say where their text was cut from, each with its source.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn rows_elsewhere(&self, source: &str) -> Result<Vec<(String, String)>> {
        self.run(|c| {
            let mut query = c.prepare("SELECT row, source FROM documents WHERE source <> ? AND provenance IS NOT NULL ORDER BY id DESC")?;
            let rows = query.query_map([source], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        })
    }

    /// What was cut from the files of these hashes: rows (those that were put aside too), and labels that were said of them.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn cut_from(&self, sha256: &[String]) -> Result<(u64, u64)> {
        let (mut rows, mut labels) = (0, 0);
        for hash in sha256.iter().filter(|h| !h.is_empty()) {
            // As this store writes provenance; a hash holds nothing that means more in a pattern.
            let pattern = format!("%\"sha256\":\"{hash}\"%");
            let found: Vec<(i64, Option<i64>)> = self.run(|c| {
                let mut query = c.prepare(
                    "SELECT json_array_length(e.labels), e.action FROM documents d JOIN evidence e ON e.document = d.id
                     WHERE d.provenance LIKE ?",
                )?;
                let rows = query.query_map([&pattern], |row| Ok((row.get(0)?, row.get(1)?)))?;
                rows.collect()
            })?;
            let counts = |action: &Option<i64>| action.is_some_and(|a| !self.undone.contains(&a));
            labels += found.iter().filter(|(_, action)| counts(action)).map(|(n, _)| u64::try_from(*n).unwrap_or(0)).sum::<u64>();
            let n: i64 =
                self.run(|c| c.query_row("SELECT COUNT(*) FROM documents WHERE provenance LIKE ?", [&pattern], |row| row.get(0)))?;
            rows += u64::try_from(n).unwrap_or(0);
        }
        Ok((rows, labels))
    }
}
