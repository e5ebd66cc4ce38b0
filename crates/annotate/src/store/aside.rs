//! Documents that are put aside: a newer version of their text stands in their place. Nothing is removed: each change of standing belongs
//! to an action, and an undo of the action takes it back.

use std::collections::BTreeMap;

use rusqlite::params;

use super::Store;
use crate::error::Result;

/// Came after the other tables; an older store gets it when it is opened.
pub(super) const TABLES: &str = "
CREATE TABLE IF NOT EXISTS standings (
    id INTEGER PRIMARY KEY,
    action INTEGER NOT NULL REFERENCES actions (id),
    document INTEGER NOT NULL REFERENCES documents (id),
    stands INTEGER NOT NULL,
    successor INTEGER REFERENCES documents (id)
);
";

/// Why a document does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aside {
    /// The action that put it aside, or that made it and was undone.
    pub action: i64,
    /// What stands in its place, if anything.
    pub successor: Option<i64>,
}

impl Store {
    /// Puts a document aside: it counts no more, `successor` does.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn put_aside(&mut self, document: i64, successor: Option<i64>, action: i64) -> Result<()> {
        self.stand(document, false, successor, action)?;
        self.aside.insert(document, Aside { action, successor });
        Ok(())
    }

    /// Lets a document count, until the action is undone: one that the action made, or that was put aside before.
    ///
    /// # Errors
    /// If the database refuses.
    pub fn bring_in(&mut self, document: i64, action: i64) -> Result<()> {
        self.stand(document, true, None, action)?;
        self.aside.remove(&document);
        Ok(())
    }

    fn stand(&mut self, document: i64, stands: bool, successor: Option<i64>, action: i64) -> Result<()> {
        self.run(|c| {
            let mut insert = c.prepare_cached("INSERT INTO standings (action, document, stands, successor) VALUES (?, ?, ?, ?)")?;
            insert.execute(params![action, document, stands, successor]).map(|_| ())
        })
    }

    /// Why a document does not count; `None` if it does.
    pub fn aside(&self, document: i64) -> Option<Aside> {
        self.aside.get(&document).copied()
    }

    /// What stands in the place of a document that was put aside, by way of others that were put aside since; `None` if nothing does.
    pub fn heir(&self, document: i64) -> Option<i64> {
        let mut heir = self.aside.get(&document)?.successor;
        while let Some(next) = heir.and_then(|h| self.aside.get(&h)) {
            heir = next.successor;
        }
        heir
    }

    /// What the standings come to: of each document the last one whose action was not undone. Where all were undone, a document is what it
    /// was before the first: one that was brought in was not there.
    pub(super) fn standing(&self) -> Result<BTreeMap<i64, Aside>> {
        let rows: Vec<(i64, i64, bool, Option<i64>)> = self.run(|c| {
            let mut query = c.prepare("SELECT document, action, stands, successor FROM standings ORDER BY id")?;
            let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
            rows.collect()
        })?;
        let mut now: BTreeMap<i64, Option<Aside>> = BTreeMap::new();
        for (document, action, stands, successor) in rows {
            let before = now.entry(document).or_insert(if stands { Some(Aside { action, successor: None }) } else { None });
            if !self.undone.contains(&action) {
                *before = if stands { None } else { Some(Aside { action, successor }) };
            }
        }
        Ok(now.into_iter().filter_map(|(document, aside)| Some((document, aside?))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataset::labels::Document;
    use serde_json::Value;

    fn visible(store: &Store) -> Vec<String> {
        let mut texts = Vec::new();
        store
            .each(&mut |entry| {
                texts.push(entry.document.text);
                Ok(())
            })
            .unwrap();
        assert_eq!(store.count().unwrap(), texts.len());
        texts
    }

    #[test]
    fn what_is_put_aside_comes_back_with_an_undo_and_goes_again_with_its_undo() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        let add = |store: &mut Store, text: &str, action: i64| {
            store.add("s", &Document { row: "1".into(), text: text.into(), ..Document::default() }, action).unwrap().document
        };
        let first = store.act("import", 0, &Value::Null).unwrap();
        let old = add(&mut store, "old", first);
        let moved = store.act("migrate", 1, &Value::Null).unwrap();
        let new = add(&mut store, "new", moved);
        store.bring_in(new, moved).unwrap();
        store.put_aside(old, Some(new), moved).unwrap();
        assert_eq!((visible(&store), store.aside(old)), (vec!["new".to_owned()], Some(Aside { action: moved, successor: Some(new) })));
        let again = store.act("migrate", 2, &Value::Null).unwrap();
        let newer = add(&mut store, "newer", again);
        store.bring_in(newer, again).unwrap();
        store.put_aside(new, Some(newer), again).unwrap();
        assert_eq!(visible(&store), ["newer"]);
        assert_eq!((store.heir(old), store.heir(new), store.heir(newer)), (Some(newer), Some(newer), None));
        store.undo(again, 3).unwrap();
        assert_eq!(visible(&store), ["new"]);
        store.undo(moved, 4).unwrap();
        assert_eq!(visible(&store), ["old"]);
        let undo = store.actions().unwrap().last().unwrap().id;
        store.undo(undo, 5).unwrap();
        assert_eq!(visible(&store), ["new"]);
        assert_eq!(visible(&Store::open(dir.path()).unwrap()), ["new"], "another process sees the same");
        // What is not committed was not done.
        store.begin().unwrap();
        let third = store.act("migrate", 6, &Value::Null).unwrap();
        store.put_aside(new, None, third).unwrap();
        store.roll_back().unwrap();
        assert_eq!(visible(&store), ["new"]);
    }
}
