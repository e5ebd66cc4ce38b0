//! GGUF out, version 3.

use std::path::Path;

use super::{AtomicFile, LazyTensor, check_names, unwritable};
use crate::gguf::{Array, DEFAULT_ALIGNMENT, MAGIC, MAX_DIMS, Metadata, Value, ValueType};
use crate::{Error, Result};

/// Writes a GGUF file with the metadata and the tensors in the given order, aligned by `general.alignment` (32 if absent).
///
/// # Errors
/// [`Error::Unwritable`] for a duplicate name, more than four dimensions, a type that GGUF lacks or a wrong byte count;
/// [`Error::Produce`] when a closure fails; [`Error::Io`]. After an error the destination is as it was before.
pub fn write_gguf<'a>(path: impl AsRef<Path>, metadata: &Metadata, tensors: impl IntoIterator<Item = LazyTensor<'a>>) -> Result<()> {
    let path = path.as_ref();
    let tensors: Vec<_> = tensors.into_iter().collect();
    check_names(path, &tensors)?;
    let alignment = match metadata.get("general.alignment") {
        None => DEFAULT_ALIGNMENT,
        Some(v) => match v.as_u64().and_then(|a| usize::try_from(a).ok()).filter(|a| a.is_power_of_two()) {
            Some(a) => a,
            None => {
                let reason = "is not a power of two".to_owned();
                return Err(Error::Metadata { path: path.to_owned(), key: "general.alignment".to_owned(), reason });
            }
        },
    };
    let mut header = Vec::new();
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&3u32.to_le_bytes());
    header.extend_from_slice(&(tensors.len() as u64).to_le_bytes());
    header.extend_from_slice(&(metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata.iter() {
        put_str(&mut header, key);
        put_value(&mut header, value);
    }
    let mut offset = 0usize;
    for t in &tensors {
        offset = put_tensor_info(path, &mut header, t, offset, alignment)?;
    }
    pad(&mut header, alignment);

    let mut file = AtomicFile::create(path)?;
    file.put(&header)?;
    let zeros = vec![0; alignment];
    for tensor in tensors {
        let (_, bytes) = tensor.bytes(path)?;
        file.put(&bytes)?;
        // Padded after the last one too: llama.cpp checks for it.
        file.put(&zeros[..bytes.len().next_multiple_of(alignment) - bytes.len()])?;
    }
    file.commit()
}

/// Writes one info; returns the offset of the next tensor.
fn put_tensor_info(path: &Path, header: &mut Vec<u8>, t: &LazyTensor<'_>, offset: usize, alignment: usize) -> Result<usize> {
    let Some(id) = t.dtype.ggml_id() else {
        return Err(unwritable(path, t.name(), format!("GGUF has no {}", t.dtype)));
    };
    if t.shape.len() > MAX_DIMS {
        return Err(unwritable(path, t.name(), format!("GGUF has at most {MAX_DIMS} dimensions, this has {}", t.shape.len())));
    }
    put_str(header, t.name());
    header.extend_from_slice(&(t.shape.len() as u32).to_le_bytes());
    for &dim in t.shape.iter().rev() {
        header.extend_from_slice(&(dim as u64).to_le_bytes());
    }
    header.extend_from_slice(&id.to_le_bytes());
    header.extend_from_slice(&(offset as u64).to_le_bytes());
    t.size(path)?
        .checked_next_multiple_of(alignment)
        .and_then(|n| n.checked_add(offset))
        .ok_or_else(|| unwritable(path, t.name(), "the file would be too large"))
}

fn pad(bytes: &mut Vec<u8>, alignment: usize) {
    bytes.resize(bytes.len().next_multiple_of(alignment), 0);
}

fn put_str(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u64).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn put_type(out: &mut Vec<u8>, kind: ValueType) {
    out.extend_from_slice(&(kind as u32).to_le_bytes());
}

macro_rules! put_scalar {
    ($out:expr, $kind:ident, $v:expr) => {{
        put_type($out, ValueType::$kind);
        $out.extend_from_slice(&$v.to_le_bytes());
    }};
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::U8(v) => put_scalar!(out, U8, v),
        Value::I8(v) => put_scalar!(out, I8, v),
        Value::U16(v) => put_scalar!(out, U16, v),
        Value::I16(v) => put_scalar!(out, I16, v),
        Value::U32(v) => put_scalar!(out, U32, v),
        Value::I32(v) => put_scalar!(out, I32, v),
        Value::U64(v) => put_scalar!(out, U64, v),
        Value::I64(v) => put_scalar!(out, I64, v),
        Value::F32(v) => put_scalar!(out, F32, v),
        Value::F64(v) => put_scalar!(out, F64, v),
        Value::Bool(v) => put_scalar!(out, Bool, u8::from(*v)),
        Value::String(v) => {
            put_type(out, ValueType::String);
            put_str(out, v);
        }
        Value::Array(v) => {
            put_type(out, ValueType::Array);
            put_array(out, v);
        }
    }
}

macro_rules! put_numbers {
    ($out:expr, $kind:ident, $v:expr) => {{
        put_type($out, ValueType::$kind);
        $out.extend_from_slice(&($v.len() as u64).to_le_bytes());
        $v.iter().for_each(|x| $out.extend_from_slice(&x.to_le_bytes()));
    }};
}

fn put_array(out: &mut Vec<u8>, array: &Array) {
    match array {
        Array::U8(v) => put_numbers!(out, U8, v),
        Array::I8(v) => put_numbers!(out, I8, v),
        Array::U16(v) => put_numbers!(out, U16, v),
        Array::I16(v) => put_numbers!(out, I16, v),
        Array::U32(v) => put_numbers!(out, U32, v),
        Array::I32(v) => put_numbers!(out, I32, v),
        Array::U64(v) => put_numbers!(out, U64, v),
        Array::I64(v) => put_numbers!(out, I64, v),
        Array::F32(v) => put_numbers!(out, F32, v),
        Array::F64(v) => put_numbers!(out, F64, v),
        Array::Bool(v) => {
            put_type(out, ValueType::Bool);
            out.extend_from_slice(&(v.len() as u64).to_le_bytes());
            out.extend(v.iter().map(|&b| u8::from(b)));
        }
        Array::String(v) => {
            put_type(out, ValueType::String);
            out.extend_from_slice(&(v.len() as u64).to_le_bytes());
            v.iter().for_each(|s| put_str(out, s));
        }
        Array::Array(v) => {
            put_type(out, ValueType::Array);
            out.extend_from_slice(&(v.len() as u64).to_le_bytes());
            v.iter().for_each(|a| put_array(out, a));
        }
    }
}
