//! The header of a GGUF file, byte by byte, trusting none of them.
//!
//! Layout: magic `GGUF`, version u32, tensor count u64, key-value count u64, the key-value pairs, the tensor infos,
//! padding to the alignment, then the tensor data. A count or length is compared with the bytes that are left before
//! anything is allocated for it.

use std::path::Path;

use super::metadata::{Array, Metadata, Value};
use crate::{DType, Error, Result};

pub(crate) const MAGIC: &[u8; 4] = b"GGUF";
/// Alignment of tensor data when `general.alignment` does not say otherwise.
pub(crate) const DEFAULT_ALIGNMENT: usize = 32;
/// ggml's `GGML_MAX_DIMS`.
pub(crate) const MAX_DIMS: usize = 4;
/// Arrays in arrays are allowed by the format, but nothing real nests deeper.
const MAX_NESTING: usize = 8;

/// What a file's header says; tensor ranges are absolute and lie within the file.
pub(super) struct Parsed {
    pub version: u32,
    pub metadata: Metadata,
    pub tensors: Vec<TensorInfo>,
}

pub(super) struct TensorInfo {
    pub name: String,
    pub dtype: DType,
    pub shape: Vec<usize>,
    pub start: usize,
    pub end: usize,
}

macro_rules! value_types {
    ($($variant:ident = $id:literal, min_bytes $min:literal;)+) => {
        /// GGUF's numbering of metadata value types.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum ValueType { $($variant = $id,)+ }

        impl ValueType {
            fn from_id(id: u32) -> Option<ValueType> {
                match id { $($id => Some(ValueType::$variant),)+ _ => None }
            }

            /// The least number of bytes an element takes: bounds the length of an array before it is allocated.
            fn min_bytes(self) -> usize {
                match self { $(ValueType::$variant => $min,)+ }
            }
        }
    };
}

value_types! {
    U8 = 0, min_bytes 1;
    I8 = 1, min_bytes 1;
    U16 = 2, min_bytes 2;
    I16 = 3, min_bytes 2;
    U32 = 4, min_bytes 4;
    I32 = 5, min_bytes 4;
    F32 = 6, min_bytes 4;
    Bool = 7, min_bytes 1;
    String = 8, min_bytes 8;
    Array = 9, min_bytes 12;
    U64 = 10, min_bytes 8;
    I64 = 11, min_bytes 8;
    F64 = 12, min_bytes 8;
}

/// Reads the whole header.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Parsed> {
    let mut r = Reader { path, bytes, at: 0, place: "header".to_owned() };
    if bytes.get(..4) != Some(MAGIC.as_slice()) {
        return Err(not_gguf(path, bytes));
    }
    r.at = 4;
    let version = r.u32()?;
    if version.swap_bytes() == 2 || version.swap_bytes() == 3 {
        return Err(Error::Unsupported {
            path: path.to_owned(),
            what: "a big-endian GGUF file".to_owned(),
            hint: "convert the model again without `--bigendian`",
        });
    }
    if !(2..=3).contains(&version) {
        return Err(Error::Unsupported {
            path: path.to_owned(),
            what: format!("GGUF version {version} (versions 2 and 3 are read)"),
            hint: "convert the model again with a current llama.cpp",
        });
    }
    let n_tensors = r.u64()?;
    let n_entries = r.u64()?;

    // Smallest entry: key length 8, type 4, one byte of value. Smallest tensor: name length 8, rank 4, type 4, offset 8.
    let n_entries = r.count(n_entries, 13, "metadata entries")?;
    let mut metadata = Metadata::of_file(path);
    for i in 0..n_entries {
        r.place = format!("metadata entry {i}");
        let key = r.string()?;
        r.place = format!("metadata key `{key}`");
        let value = r.value()?;
        if metadata.insert(key, value).is_some() {
            return Err(r.damaged("is there twice"));
        }
    }

    r.place = "header".to_owned();
    let n_tensors = r.count(n_tensors, 24, "tensors")?;
    let mut infos = Vec::with_capacity(n_tensors);
    for i in 0..n_tensors {
        r.place = format!("tensor {i}");
        infos.push(r.tensor_info()?);
    }

    let alignment = alignment(path, &metadata)?;
    let data_start = r.at.checked_next_multiple_of(alignment).unwrap_or(usize::MAX);
    let tensors = infos.into_iter().map(|info| info.place(path, data_start, alignment, bytes.len())).collect::<Result<Vec<_>>>()?;
    check_overlap(path, &tensors)?;
    Ok(Parsed { version, metadata, tensors })
}

fn not_gguf(path: &Path, bytes: &[u8]) -> Error {
    let what = match bytes {
        [] => "an empty file".to_owned(),
        [b'<', ..] => "not a GGUF file but a web page (a download that got an error page?)".to_owned(),
        b if b.starts_with(b"version https://git-lfs") => "a Git LFS pointer instead of the model".to_owned(),
        b if b.starts_with(b"FUGG") => "a big-endian GGUF file".to_owned(),
        b if [b"tjgg", b"fmgg", b"lmgg"].iter().any(|m| b.starts_with(*m)) => "a GGML file older than GGUF".to_owned(),
        b => format!("not a GGUF file (it starts with {:02x?})", &b[..b.len().min(4)]),
    };
    Error::Unsupported { path: path.to_owned(), what, hint: "give a file that ends in .gguf and was fetched completely" }
}

fn alignment(path: &Path, metadata: &Metadata) -> Result<usize> {
    let Some(value) = metadata.get("general.alignment") else { return Ok(DEFAULT_ALIGNMENT) };
    match value.as_u64().and_then(|v| usize::try_from(v).ok()) {
        Some(a) if a.is_power_of_two() => Ok(a),
        _ => Err(Error::damaged(path, "metadata key `general.alignment`", format!("{value:?} is not a power of two"))),
    }
}

/// No two tensors share bytes. Gaps are allowed: alignment makes them.
fn check_overlap(path: &Path, tensors: &[TensorInfo]) -> Result<()> {
    let mut order: Vec<&TensorInfo> = tensors.iter().filter(|t| t.start < t.end).collect();
    order.sort_by_key(|t| t.start);
    for pair in order.windows(2) {
        if pair[1].start < pair[0].end {
            let reason = format!("overlaps tensor `{}`", pair[0].name);
            return Err(Error::damaged(path, format!("tensor `{}`", pair[1].name), reason));
        }
    }
    Ok(())
}

/// A tensor info as read, its offset relative to the data section.
struct RawInfo {
    name: String,
    dtype: DType,
    shape: Vec<usize>,
    bytes: usize,
    offset: usize,
}

impl RawInfo {
    /// The absolute range, checked against alignment and the file's length.
    fn place(self, path: &Path, data_start: usize, alignment: usize, file_len: usize) -> Result<TensorInfo> {
        let damaged = |reason: String| Err(Error::damaged(path, format!("tensor `{}`", self.name), reason));
        if !self.offset.is_multiple_of(alignment) {
            return damaged(format!("offset {} is not a multiple of the alignment {alignment}", self.offset));
        }
        let start = data_start.saturating_add(self.offset);
        let end = start.saturating_add(self.bytes);
        if self.bytes == 0 {
            return Ok(TensorInfo { name: self.name, dtype: self.dtype, shape: self.shape, start: 0, end: 0 });
        }
        if end > file_len {
            return damaged(format!("its {} bytes end at {end}, the file at {file_len}", self.bytes));
        }
        Ok(TensorInfo { name: self.name, dtype: self.dtype, shape: self.shape, start, end })
    }
}

/// A cursor that knows what it is reading, for messages.
struct Reader<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    at: usize,
    place: String,
}

macro_rules! read_le {
    ($($name:ident: $t:ty;)+) => {
        $(fn $name(&mut self) -> Result<$t> {
            self.array().map(<$t>::from_le_bytes)
        })+
    };
}

impl<'a> Reader<'a> {
    read_le! { u32: u32; u64: u64; }

    fn damaged(&self, reason: impl Into<String>) -> Error {
        Error::damaged(self.path, self.place.clone(), reason)
    }

    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        if n > self.left() {
            return Err(self.damaged(format!("the file ends at byte {}, {n} bytes were to follow byte {}", self.bytes.len(), self.at)));
        }
        let slice = &self.bytes[self.at..self.at + n];
        self.at += n;
        Ok(slice)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let slice = self.take(N)?;
        Ok(slice.try_into().expect("take returned N bytes"))
    }

    /// A stored count, accepted only if that many items of `min_bytes` each can still follow.
    fn count(&self, n: u64, min_bytes: usize, what: &str) -> Result<usize> {
        match usize::try_from(n) {
            Ok(n) if n <= self.left() / min_bytes => Ok(n),
            _ => Err(self.damaged(format!("{n} {what} do not fit in the {} bytes that are left", self.left()))),
        }
    }

    fn string(&mut self) -> Result<String> {
        let n = self.u64()?;
        let n = self.count(n, 1, "bytes of text")?;
        let at = self.at;
        match std::str::from_utf8(self.take(n)?) {
            Ok(text) => Ok(text.to_owned()),
            Err(e) => Err(self.damaged(format!("the text at byte {} is not UTF-8", at + e.valid_up_to()))),
        }
    }

    fn value_type(&mut self) -> Result<ValueType> {
        let id = self.u32()?;
        ValueType::from_id(id).ok_or_else(|| self.damaged(format!("unknown value type {id}")))
    }

    fn bool(&mut self) -> Result<bool> {
        match self.array::<1>()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [b] => Err(self.damaged(format!("{b} is not a truth value"))),
        }
    }

    fn value(&mut self) -> Result<Value> {
        Ok(match self.value_type()? {
            ValueType::U8 => Value::U8(u8::from_le_bytes(self.array()?)),
            ValueType::I8 => Value::I8(i8::from_le_bytes(self.array()?)),
            ValueType::U16 => Value::U16(u16::from_le_bytes(self.array()?)),
            ValueType::I16 => Value::I16(i16::from_le_bytes(self.array()?)),
            ValueType::U32 => Value::U32(u32::from_le_bytes(self.array()?)),
            ValueType::I32 => Value::I32(i32::from_le_bytes(self.array()?)),
            ValueType::U64 => Value::U64(u64::from_le_bytes(self.array()?)),
            ValueType::I64 => Value::I64(i64::from_le_bytes(self.array()?)),
            ValueType::F32 => Value::F32(f32::from_le_bytes(self.array()?)),
            ValueType::F64 => Value::F64(f64::from_le_bytes(self.array()?)),
            ValueType::Bool => Value::Bool(self.bool()?),
            ValueType::String => Value::String(self.string()?),
            ValueType::Array => Value::Array(self.array_value(0)?),
        })
    }

    fn array_value(&mut self, depth: usize) -> Result<Array> {
        if depth >= MAX_NESTING {
            return Err(self.damaged(format!("arrays nest deeper than {MAX_NESTING}")));
        }
        let kind = self.value_type()?;
        let n = self.u64()?;
        let n = self.count(n, kind.min_bytes(), "array elements")?;
        Ok(match kind {
            ValueType::U8 => Array::U8(self.take(n)?.to_vec()),
            ValueType::I8 => Array::I8(self.numbers(n, i8::from_le_bytes)?),
            ValueType::U16 => Array::U16(self.numbers(n, u16::from_le_bytes)?),
            ValueType::I16 => Array::I16(self.numbers(n, i16::from_le_bytes)?),
            ValueType::U32 => Array::U32(self.numbers(n, u32::from_le_bytes)?),
            ValueType::I32 => Array::I32(self.numbers(n, i32::from_le_bytes)?),
            ValueType::U64 => Array::U64(self.numbers(n, u64::from_le_bytes)?),
            ValueType::I64 => Array::I64(self.numbers(n, i64::from_le_bytes)?),
            ValueType::F32 => Array::F32(self.numbers(n, f32::from_le_bytes)?),
            ValueType::F64 => Array::F64(self.numbers(n, f64::from_le_bytes)?),
            ValueType::Bool => Array::Bool((0..n).map(|_| self.bool()).collect::<Result<_>>()?),
            ValueType::String => Array::String((0..n).map(|_| self.string()).collect::<Result<_>>()?),
            ValueType::Array => Array::Array((0..n).map(|_| self.array_value(depth + 1)).collect::<Result<_>>()?),
        })
    }

    fn numbers<const N: usize, T>(&mut self, n: usize, read: fn([u8; N]) -> T) -> Result<Vec<T>> {
        // No overflow: `count` compared n with the bytes left over N.
        Ok(self.take(n * N)?.as_chunks::<N>().0.iter().map(|&b| read(b)).collect())
    }

    fn tensor_info(&mut self) -> Result<RawInfo> {
        let name = self.string()?;
        self.place = format!("tensor `{name}`");
        let rank = self.u32()? as usize;
        if rank > MAX_DIMS {
            return Err(self.damaged(format!("{rank} dimensions, at most {MAX_DIMS} are possible")));
        }
        let mut shape = Vec::with_capacity(rank);
        for _ in 0..rank {
            let dim = self.u64()?;
            shape.push(usize::try_from(dim).map_err(|_| self.damaged(format!("dimension {dim} is too large")))?);
        }
        shape.reverse(); // GGUF stores the innermost dimension first
        let id = self.u32()?;
        let dtype = DType::from_ggml_id(id).ok_or_else(|| Error::Unsupported {
            path: self.path.to_owned(),
            what: format!("tensor `{name}` has type number {id}, which is not known"),
            hint: "use a file with a common type such as Q4_K_M, Q8_0 or F16",
        })?;
        let offset = self.u64()?;
        let offset = usize::try_from(offset).map_err(|_| self.damaged(format!("offset {offset} is too large")))?;
        let cols = shape.last().copied().unwrap_or(1);
        if !cols.is_multiple_of(dtype.block_len()) {
            let reason = format!("rows of {cols} values are not whole {dtype} blocks of {}", dtype.block_len());
            return Err(self.damaged(reason));
        }
        let numel = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let bytes =
            numel.and_then(|n| dtype.bytes_for(n)).ok_or_else(|| self.damaged(format!("shape {shape:?} is larger than any memory")))?;
        Ok(RawInfo { name, dtype, shape, bytes, offset })
    }
}
