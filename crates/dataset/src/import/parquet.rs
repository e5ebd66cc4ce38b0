//! Parquet through its row interface: no column store is needed for rows that are rendered one by one. Owns the `parquet` library
//! (with `export::parquet`, which writes).

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;
use parquet::record::Field;
use parquet::record::reader::RowIter;
use serde_json::{Map, Number, Value};

use super::{Row, RowError};
use crate::error::Error;

/// The rows of a Parquet file; their "line" is their number, from 1.
pub(super) fn rows(path: &Path, file: Arc<str>) -> Result<impl Iterator<Item = Result<Row, RowError>> + Send + use<>, Error> {
    let input = File::open(path).map_err(|e| Error::io(path, e))?;
    let reader =
        guarded(|| SerializedFileReader::new(input)).map_err(|e| Error::file(path, 1, format!("not a readable Parquet file: {e}")))?;
    let total = reader.metadata().file_metadata().num_rows();
    let mut iter = guarded(|| Ok(RowIter::from_file_into(Box::new(reader)))).map_err(|e| Error::file(path, 1, e))?;
    let path = path.to_path_buf();
    let mut number = 0;
    let mut over = false;
    Ok(std::iter::from_fn(move || {
        if over {
            return None;
        }
        number += 1;
        let row = match guarded(|| iter.next().transpose()).transpose() {
            Some(Ok(row)) => {
                let fields = row.into_columns().into_iter().map(|(name, field)| (name, value(field))).collect();
                Ok(Row { fields, file: Arc::clone(&file), line: number })
            }
            Some(Err(e)) => {
                over = true;
                let reason = match e.split_once("Disabled feature at compile time: ") {
                    Some((_, codec)) => format!("compressed with {codec}, which is not read: write it with snappy, zstd, gzip or lz4"),
                    None => format!("damaged Parquet file: {e}"),
                };
                Err(RowError::File(Error::file(&path, number, reason)))
            }
            None => {
                over = true;
                // The library ends quietly where a column has no more values.
                if (number as i64 - 1) >= total {
                    return None;
                }
                Err(RowError::File(Error::file(&path, number, format!("damaged Parquet file: {} of {total} rows are there", number - 1))))
            }
        };
        Some(row)
    }))
}

/// Runs a step of the library, which asserts where a damaged file contradicts itself: that must end one reading, not the process.
/// Whatever the step held is not used again after an error.
fn guarded<T>(step: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(step)) {
        Ok(result) => result.map_err(|e| e.to_string()),
        Err(panic) => {
            let message = panic.downcast_ref::<&str>().map(|m| (*m).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
            Err(message.unwrap_or_else(|| "its parts contradict each other".to_owned()))
        }
    }
}

/// A cell as JSON. Bytes that are no text (pictures, audio) become null: no column of text can be missing because of them.
fn value(field: Field) -> Value {
    let float = |x: f64| Number::from_f64(x).map_or(Value::Null, Value::Number);
    match field {
        Field::Null => Value::Null,
        Field::Bool(b) => Value::Bool(b),
        Field::Byte(n) => n.into(),
        Field::Short(n) => n.into(),
        Field::Int(n) => n.into(),
        Field::Long(n) => n.into(),
        Field::UByte(n) => n.into(),
        Field::UShort(n) => n.into(),
        Field::UInt(n) => n.into(),
        Field::ULong(n) => n.into(),
        Field::Float16(x) => float(x.to_f64()),
        Field::Float(x) => float(f64::from(x)),
        Field::Double(x) => float(x),
        Field::Str(text) => Value::String(text),
        Field::Bytes(bytes) => std::str::from_utf8(bytes.data()).map_or(Value::Null, |text| Value::String(text.to_owned())),
        Field::Group(row) => Value::Object(row.into_columns().into_iter().map(|(name, field)| (name, value(field))).collect()),
        Field::ListInternal(list) => Value::Array(list.elements().iter().cloned().map(value).collect()),
        Field::MapInternal(map) => {
            let key = |field: &Field| match value(field.clone()) {
                Value::String(text) => text,
                other => other.to_string(),
            };
            Value::Object(map.entries().iter().map(|(k, v)| (key(k), value(v.clone()))).collect::<Map<_, _>>())
        }
        // Decimals, dates and times print as people write them.
        other => Value::String(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{file, read};
    use crate::settings::SourceEntry;
    use parquet::basic::Compression;
    use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;
    use proptest::prelude::*;
    use serde_json::json;
    use std::sync::Arc;

    /// text + label, with a missing text where `None`, in row groups of two.
    fn write(rows: &[(Option<&str>, i64)], compression: Compression) -> Vec<u8> {
        let schema = Arc::new(parse_message_type("message m { OPTIONAL BYTE_ARRAY text (UTF8); REQUIRED INT64 label; }").unwrap());
        let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
        let mut out = Vec::new();
        let mut writer = SerializedFileWriter::new(&mut out, schema, properties).unwrap();
        for group in rows.chunks(2) {
            let mut columns = writer.next_row_group().unwrap();
            let texts: Vec<ByteArray> = group.iter().filter_map(|r| r.0).map(ByteArray::from).collect();
            let levels: Vec<i16> = group.iter().map(|r| r.0.is_some() as i16).collect();
            let mut column = columns.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&texts, Some(&levels), None).unwrap();
            column.close().unwrap();
            let labels: Vec<i64> = group.iter().map(|r| r.1).collect();
            let mut column = columns.next_column().unwrap().unwrap();
            column.typed::<Int64Type>().write_batch(&labels, None, None).unwrap();
            column.close().unwrap();
            columns.close().unwrap();
        }
        writer.close().unwrap();
        out
    }

    const ROWS: [(Option<&str>, i64); 3] = [(Some("这部电影很好"), 1), (None, 0), (Some("dull"), 0)];

    #[test]
    fn every_usual_compression_reads() {
        for compression in [
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::ZSTD(Default::default()),
            Compression::GZIP(Default::default()),
            Compression::LZ4_RAW,
        ] {
            let (rows, bad) = read("a.parquet", write(&ROWS, compression), &SourceEntry::default());
            assert_eq!(bad, Vec::<String>::new());
            let want = [
                (1, json!({"text": "这部电影很好", "label": 1})),
                (2, json!({"text": null, "label": 0})),
                (3, json!({"text": "dull", "label": 0})),
            ];
            assert_eq!(rows, want, "{compression:?}");
        }
    }

    #[test]
    fn lists_of_structures_become_conversations() {
        let schema = "message m { OPTIONAL GROUP messages (LIST) { REPEATED GROUP list { OPTIONAL GROUP element {
            OPTIONAL BYTE_ARRAY role (UTF8); OPTIONAL BYTE_ARRAY content (UTF8); } } } }";
        let mut out = Vec::new();
        let mut writer = SerializedFileWriter::new(&mut out, Arc::new(parse_message_type(schema).unwrap()), Default::default()).unwrap();
        let mut columns = writer.next_row_group().unwrap();
        for texts in [["user", "assistant"], ["你好", "Hi!"]] {
            let mut column = columns.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&texts.map(ByteArray::from), Some(&[4, 4]), Some(&[0, 1])).unwrap();
            column.close().unwrap();
        }
        columns.close().unwrap();
        writer.close().unwrap();
        let (rows, _) = read("a.parquet", out, &SourceEntry::default());
        assert_eq!(rows, [(1, json!({"messages": [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "Hi!"}]}))]);
    }

    #[test]
    fn what_is_no_parquet_is_refused() {
        let (_dir, path) = file("a.parquet", "text,label\n");
        assert!(super::super::open(&path, &SourceEntry::default()).unwrap_err().to_string().contains("not a readable Parquet"));
    }

    proptest! {
        #[test]
        fn damage_gives_errors(at in 0usize..600, with: u8, cut in 0usize..600) {
            let mut bytes = write(&ROWS, Compression::SNAPPY);
            let n = bytes.len();
            bytes[at % n] ^= with | 1;
            let (_dir, path) = file("a.parquet", &bytes);
            if let Ok(rows) = super::super::open(&path, &SourceEntry::default()) {
                let _ = rows.count();
            }
            let (_dir, path) = file("a.parquet", &write(&ROWS, Compression::SNAPPY)[..cut % n]);
            prop_assert!(super::super::open(&path, &SourceEntry::default()).is_err());
        }
    }
}
