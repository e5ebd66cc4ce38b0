//! Chunks of documents as Parquet, column by column: other programs read it without us, and [`crate::import`] reads it back with its
//! provenance. (Reading is `import::parquet`; these two know the library and nobody else does.)

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use crate::error::Error;

/// `source` is a group as it is an object in JSON lines: the same row, whatever the file.
const SCHEMA: &str = "message chunks {
    REQUIRED BYTE_ARRAY id (UTF8);
    REQUIRED BYTE_ARRAY text (UTF8);
    REQUIRED GROUP source {
        REQUIRED BYTE_ARRAY file (UTF8);
        REQUIRED BYTE_ARRAY sha256 (UTF8);
        REQUIRED INT64 page;
        REQUIRED INT64 page_end;
        REQUIRED INT64 start;
        REQUIRED INT64 end;
    }
}";

/// Rows of a group: what is held in memory.
const GROUP: usize = 20_000;

/// A piece of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkRow {
    /// Its name.
    pub id: String,
    /// Its text.
    pub text: String,
    /// The document that it is of.
    pub file: String,
    /// SHA-256 of the document's bytes, hexadecimal.
    pub sha256: String,
    /// First and last page, from 1.
    pub pages: [u32; 2],
    /// First code point in the document's text, and one past the last.
    pub range: [u64; 2],
}

/// A Parquet file of chunks that is being written. It appears whole or not at all.
pub struct ChunkFile {
    writer: SerializedFileWriter<File>,
    rows: Vec<ChunkRow>,
    path: PathBuf,
    part: PathBuf,
}

impl ChunkFile {
    /// Begins a file.
    ///
    /// # Errors
    /// If the place cannot be written to.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let part = path.with_extension("parquet.part");
        let file = File::create(&part).map_err(|e| Error::io(path, e))?;
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
        let schema = parse_message_type(SCHEMA).map_err(|e| failed(path, e))?;
        let writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties)).map_err(|e| failed(path, e))?;
        Ok(Self { writer, rows: Vec::new(), path: path.to_owned(), part })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn push(&mut self, row: ChunkRow) -> Result<(), Error> {
        self.rows.push(row);
        if self.rows.len() >= GROUP { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Error> {
        let rows = std::mem::take(&mut self.rows);
        let write = |writer: &mut SerializedFileWriter<File>| -> Result<(), ParquetError> {
            let mut group = writer.next_row_group()?;
            let texts: [fn(&ChunkRow) -> &str; 4] = [|r| &r.id, |r| &r.text, |r| &r.file, |r| &r.sha256];
            for of in texts {
                column::<ByteArrayType>(&mut group, &rows.iter().map(|r| ByteArray::from(of(r))).collect::<Vec<_>>())?;
            }
            let numbers: [fn(&ChunkRow) -> u64; 4] = [|r| r.pages[0].into(), |r| r.pages[1].into(), |r| r.range[0], |r| r.range[1]];
            for of in numbers {
                // No text has 2^63 characters.
                column::<Int64Type>(&mut group, &rows.iter().map(|r| of(r) as i64).collect::<Vec<_>>())?;
            }
            group.close().map(|_| ())
        };
        write(&mut self.writer).map_err(|e| self.give_up(e))
    }

    /// Ends the file.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn finish(mut self) -> Result<(), Error> {
        if !self.rows.is_empty() {
            self.flush()?;
        }
        let ended = self.writer.finish().map(|_| ());
        ended.map_err(|e| self.give_up(e))?;
        let kept = self.writer.inner().sync_all().and_then(|()| fs::rename(&self.part, &self.path));
        kept.map_err(|e| {
            // What is left of a failed attempt is of no use; that it could not be removed either is not the error to tell.
            let _ = fs::remove_file(&self.part);
            Error::io(&self.path, e)
        })
    }

    fn give_up(&self, e: ParquetError) -> Error {
        let _ = fs::remove_file(&self.part);
        failed(&self.path, e)
    }
}

fn column<T: DataType>(group: &mut SerializedRowGroupWriter<'_, File>, values: &[T::T]) -> Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else { return Err(ParquetError::General("the schema has fewer columns".into())) };
    column.typed::<T>().write_batch(values, None, None)?;
    column.close()
}

fn failed(path: &Path, e: ParquetError) -> Error {
    Error::io(path, std::io::Error::other(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::SourceEntry;
    use serde_json::{Value, json};

    fn row(i: u64) -> ChunkRow {
        let text = if i.is_multiple_of(2) { format!("a line\nof text {i}") } else { format!("第{i}条　😀") };
        ChunkRow { id: format!("ab.12345678.{i}"), text, file: "合同.pdf".into(), sha256: "ab".into(), pages: [1, 2], range: [i, i + 9] }
    }

    fn written(rows: u64) -> (Vec<u8>, Vec<Value>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.parquet");
        let mut file = ChunkFile::create(&path).unwrap();
        (0..rows).for_each(|i| file.push(row(i)).unwrap());
        file.finish().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
        let read = crate::import::open(&path, &SourceEntry::default()).unwrap();
        (fs::read(&path).unwrap(), read.map(|r| Value::Object(r.unwrap().fields)).collect())
    }

    #[test]
    fn chunks_come_back_with_their_provenance_over_groups_of_rows() {
        let (bytes, rows) = written(GROUP as u64 + 3);
        assert_eq!(rows.len(), GROUP + 3);
        for i in [0, 1, GROUP as u64 + 2] {
            let want = row(i);
            let source = json!({"file": "合同.pdf", "sha256": "ab", "page": 1, "page_end": 2, "start": i, "end": i + 9});
            assert_eq!(rows[i as usize], json!({"id": want.id, "text": want.text, "source": source}));
        }
        assert_eq!(written(GROUP as u64 + 3).0, bytes, "the same bytes again");
        assert_eq!(written(0).1, Vec::<Value>::new());
    }

    #[test]
    fn a_place_that_cannot_be_written_to_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = ChunkFile::create(&dir.path().join("none/c.parquet")).err().unwrap().to_string();
        assert!(error.contains("none/c.parquet"), "{error}");
    }
}
