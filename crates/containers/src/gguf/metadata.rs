//! GGUF's key-value metadata: model settings, tokenizer, chat template.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// A metadata value.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    U64(u64),
    I64(i64),
    F32(f32),
    F64(f64),
    Bool(bool),
    String(String),
    Array(Array),
}

/// An array of one element type, stored flat.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Array {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Bool(Vec<bool>),
    String(Vec<String>),
    Array(Vec<Array>),
}

impl Array {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Array::U8(v) => v.len(),
            Array::I8(v) => v.len(),
            Array::U16(v) => v.len(),
            Array::I16(v) => v.len(),
            Array::U32(v) => v.len(),
            Array::I32(v) => v.len(),
            Array::U64(v) => v.len(),
            Array::I64(v) => v.len(),
            Array::F32(v) => v.len(),
            Array::F64(v) => v.len(),
            Array::Bool(v) => v.len(),
            Array::String(v) => v.len(),
            Array::Array(v) => v.len(),
        }
    }

    /// Whether it has no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements as integers; `None` for other types (or a `u64` beyond `i64`).
    pub fn integers(&self) -> Option<Vec<i64>> {
        fn all<T: Copy>(v: &[T]) -> Option<Vec<i64>>
        where
            i64: TryFrom<T>,
        {
            v.iter().map(|&x| i64::try_from(x).ok()).collect()
        }
        match self {
            Array::U8(v) => all(v),
            Array::I8(v) => all(v),
            Array::U16(v) => all(v),
            Array::I16(v) => all(v),
            Array::U32(v) => all(v),
            Array::I32(v) => all(v),
            Array::U64(v) => all(v),
            Array::I64(v) => all(v),
            _ => None,
        }
    }
}

impl Value {
    /// The type's name, for messages.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::U8(_) => "u8",
            Value::I8(_) => "i8",
            Value::U16(_) => "u16",
            Value::I16(_) => "i16",
            Value::U32(_) => "u32",
            Value::I32(_) => "i32",
            Value::U64(_) => "u64",
            Value::I64(_) => "i64",
            Value::F32(_) => "f32",
            Value::F64(_) => "f64",
            Value::Bool(_) => "bool",
            Value::String(_) => "string",
            Value::Array(Array::U8(_)) => "array of u8",
            Value::Array(Array::I8(_)) => "array of i8",
            Value::Array(Array::U16(_)) => "array of u16",
            Value::Array(Array::I16(_)) => "array of i16",
            Value::Array(Array::U32(_)) => "array of u32",
            Value::Array(Array::I32(_)) => "array of i32",
            Value::Array(Array::U64(_)) => "array of u64",
            Value::Array(Array::I64(_)) => "array of i64",
            Value::Array(Array::F32(_)) => "array of f32",
            Value::Array(Array::F64(_)) => "array of f64",
            Value::Array(Array::Bool(_)) => "array of bool",
            Value::Array(Array::String(_)) => "array of string",
            Value::Array(Array::Array(_)) => "array of array",
        }
    }

    /// Any integer type, if not negative.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Value::U64(v) => Some(v),
            _ => self.as_i64().and_then(|v| u64::try_from(v).ok()),
        }
    }

    /// Any integer type that fits.
    pub fn as_i64(&self) -> Option<i64> {
        match *self {
            Value::U8(v) => Some(v.into()),
            Value::I8(v) => Some(v.into()),
            Value::U16(v) => Some(v.into()),
            Value::I16(v) => Some(v.into()),
            Value::U32(v) => Some(v.into()),
            Value::I32(v) => Some(v.into()),
            Value::U64(v) => i64::try_from(v).ok(),
            Value::I64(v) => Some(v),
            _ => None,
        }
    }

    /// Any float type, and integers.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Value::F32(v) => Some(v.into()),
            Value::F64(v) => Some(v),
            Value::U64(v) => Some(v as f64),
            _ => self.as_i64().map(|v| v as f64),
        }
    }

    /// A truth value.
    pub fn as_bool(&self) -> Option<bool> {
        match *self {
            Value::Bool(v) => Some(v),
            _ => None,
        }
    }

    /// A string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(v) => Some(v),
            _ => None,
        }
    }

    /// An array of any type.
    pub fn as_array(&self) -> Option<&Array> {
        match self {
            Value::Array(v) => Some(v),
            _ => None,
        }
    }
}

/// The metadata of a GGUF file, in the file's order.
///
/// The plain getters answer `None` both for a missing key and for one of another type; where that difference matters to
/// the user, the `require_*` getters return an error that says which it was.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    path: PathBuf,
    entries: Vec<(String, Value)>,
    index: HashMap<String, usize>,
}

impl Metadata {
    /// No entries.
    pub fn new() -> Metadata {
        Metadata::default()
    }

    /// No entries yet, of the file at `path`.
    pub(super) fn of_file(path: &Path) -> Metadata {
        Metadata { path: path.to_owned(), ..Metadata::default() }
    }

    /// Sets a key, replacing an earlier value in place.
    pub fn insert(&mut self, key: impl Into<String>, value: Value) -> Option<Value> {
        let key = key.into();
        if let Some(&at) = self.index.get(&key) {
            return Some(std::mem::replace(&mut self.entries[at].1, value));
        }
        self.index.insert(key.clone(), self.entries.len());
        self.entries.push((key, value));
        None
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.index.get(key).map(|&i| &self.entries[i].1)
    }

    /// Whether the key is there.
    pub fn contains(&self, key: &str) -> bool {
        self.index.contains_key(key)
    }

    /// Entries in the file's order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(k, v)| (k.as_str(), v))
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The file it came from (empty if built in memory).
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A string.
    pub fn str(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    /// Any non-negative integer.
    pub fn u64(&self, key: &str) -> Option<u64> {
        self.get(key)?.as_u64()
    }

    /// Any non-negative integer that fits `u32`, e.g. a token id.
    pub fn u32(&self, key: &str) -> Option<u32> {
        self.u64(key).and_then(|v| u32::try_from(v).ok())
    }

    /// Any non-negative integer that fits `usize`, e.g. a dimension.
    pub fn usize(&self, key: &str) -> Option<usize> {
        self.u64(key).and_then(|v| usize::try_from(v).ok())
    }

    /// Any integer.
    pub fn i64(&self, key: &str) -> Option<i64> {
        self.get(key)?.as_i64()
    }

    /// Any float or integer.
    pub fn f64(&self, key: &str) -> Option<f64> {
        self.get(key)?.as_f64()
    }

    /// A float as stored (an `f64` is rounded).
    pub fn f32(&self, key: &str) -> Option<f32> {
        self.f64(key).map(|v| v as f32)
    }

    /// A truth value.
    pub fn bool(&self, key: &str) -> Option<bool> {
        self.get(key)?.as_bool()
    }

    /// An array of strings.
    pub fn str_array(&self, key: &str) -> Option<&[String]> {
        match self.get(key)? {
            Value::Array(Array::String(v)) => Some(v),
            _ => None,
        }
    }

    /// An array of any integer type whose elements fit `i32`.
    pub fn i32_array(&self, key: &str) -> Option<Vec<i32>> {
        let values = self.get(key)?.as_array()?.integers()?;
        values.into_iter().map(|v| i32::try_from(v).ok()).collect()
    }

    /// An array of any integer type without negative elements.
    pub fn u64_array(&self, key: &str) -> Option<Vec<u64>> {
        match self.get(key)?.as_array()? {
            Array::U64(v) => Some(v.clone()),
            other => other.integers()?.into_iter().map(|v| u64::try_from(v).ok()).collect(),
        }
    }

    /// An array of floats.
    pub fn f32_array(&self, key: &str) -> Option<Vec<f32>> {
        match self.get(key)?.as_array()? {
            Array::F32(v) => Some(v.clone()),
            Array::F64(v) => Some(v.iter().map(|&x| x as f32).collect()),
            _ => None,
        }
    }

    /// An array of truth values (some writers use bytes).
    pub fn bool_array(&self, key: &str) -> Option<Vec<bool>> {
        match self.get(key)?.as_array()? {
            Array::Bool(v) => Some(v.clone()),
            Array::U8(v) => Some(v.iter().map(|&x| x != 0).collect()),
            _ => None,
        }
    }

    /// As [`str`](Self::str), or an error that names the key and what was found.
    pub fn require_str(&self, key: &str) -> Result<&str> {
        self.str(key).ok_or_else(|| self.lacking(key, "string"))
    }

    /// As [`u64`](Self::u64), or an error that names the key and what was found.
    pub fn require_u64(&self, key: &str) -> Result<u64> {
        self.u64(key).ok_or_else(|| self.lacking(key, "non-negative integer"))
    }

    /// As [`usize`](Self::usize), or an error that names the key and what was found.
    pub fn require_usize(&self, key: &str) -> Result<usize> {
        self.usize(key).ok_or_else(|| self.lacking(key, "non-negative integer"))
    }

    /// As [`f64`](Self::f64), or an error that names the key and what was found.
    pub fn require_f64(&self, key: &str) -> Result<f64> {
        self.f64(key).ok_or_else(|| self.lacking(key, "number"))
    }

    /// As [`str_array`](Self::str_array), or an error that names the key and what was found.
    pub fn require_str_array(&self, key: &str) -> Result<&[String]> {
        self.str_array(key).ok_or_else(|| self.lacking(key, "array of string"))
    }

    fn lacking(&self, key: &str, wanted: &str) -> Error {
        let reason = match self.get(key) {
            None => format!("is missing (wanted: {wanted}); the file was converted incompletely, use another one"),
            Some(v) => format!("is of type {}, wanted: {wanted}", v.type_name()),
        };
        Error::Metadata { path: self.path.clone(), key: key.to_owned(), reason }
    }
}
