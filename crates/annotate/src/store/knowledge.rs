//! Tables of a knowledge base that is an SQLite file. Nothing is written to it.

use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Map, Value};

use super::explain;
use crate::error::Result;

/// Whether a file is an SQLite database, by its first bytes.
pub fn is_database(path: &Path) -> bool {
    use std::io::Read;
    let mut head = [0; 16];
    std::fs::File::open(path).and_then(|mut f| f.read_exact(&mut head)).is_ok() && head == *b"SQLite format 3\0"
}

/// The rows of a table, or of a view of that name, in its own order; none if there is no such table.
///
/// # Errors
/// A file that is no database, or damaged.
pub fn rows(path: &Path, table: &str) -> Result<Vec<Map<String, Value>>> {
    let read = || -> rusqlite::Result<Vec<Map<String, Value>>> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        let there: i64 = connection.query_row(
            "SELECT COUNT(*) FROM sqlite_master WHERE type IN ('table', 'view') AND lower(name) = lower(?)",
            [table],
            |row| row.get(0),
        )?;
        if there == 0 {
            return Ok(Vec::new());
        }
        // Names of tables cannot be parameters; quotes within one are doubled.
        let mut query = connection.prepare(&format!("SELECT * FROM \"{}\"", table.replace('"', "\"\"")))?;
        let columns: Vec<String> = query.column_names().into_iter().map(str::to_lowercase).collect();
        let mut rows = query.query([])?;
        let mut out = Vec::new();
        while let Some(row) = rows.next()? {
            let mut fields = Map::new();
            for (i, column) in columns.iter().enumerate() {
                fields.insert(column.clone(), value(row.get_ref(i)?));
            }
            out.push(fields);
        }
        Ok(out)
    };
    read().map_err(|e| explain(path, &e))
}

fn value(cell: ValueRef<'_>) -> Value {
    match cell {
        ValueRef::Null | ValueRef::Blob(_) => Value::Null,
        ValueRef::Integer(n) => n.into(),
        ValueRef::Real(x) => x.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read_and_what_is_none_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kb.sqlite");
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch("CREATE TABLE Entities (ID INTEGER, name TEXT); INSERT INTO Entities VALUES (1, '李安'), (NULL, 'x')")
            .unwrap();
        drop(connection);
        assert!(is_database(&path));
        let found = rows(&path, "entities").unwrap();
        assert_eq!(serde_json::to_string(&found).unwrap(), r#"[{"id":1,"name":"李安"},{"id":null,"name":"x"}]"#);
        assert!(rows(&path, "relations").unwrap().is_empty());
        std::fs::write(dir.path().join("no.db"), "just text, and long enough to be looked at as a head").unwrap();
        assert!(!is_database(&dir.path().join("no.db")));
        assert!(rows(&dir.path().join("no.db"), "entities").unwrap_err().to_string().contains("no.db: is no database"));
    }
}
