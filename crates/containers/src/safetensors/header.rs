//! The JSON header of a safetensors file.
//!
//! Layout: u64 length, that many bytes of JSON (`{"name": {"dtype", "shape", "data_offsets": [begin, end]}, …}` and an
//! optional `__metadata__` of strings), then the data. The tensors must tile the data without gap or overlap, as the
//! reference implementation demands: no byte of the file is unaccounted for.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use crate::{DType, Error, Result};

/// The reference implementation's limit.
const MAX_HEADER: u64 = 100_000_000;

pub(super) struct Header {
    pub metadata: BTreeMap<String, String>,
    /// In the order of their data.
    pub tensors: Vec<Entry>,
}

/// A tensor's type, shape and absolute byte range in the file.
#[derive(Debug)]
pub(super) struct Entry {
    pub name: String,
    pub dtype: DType,
    pub shape: Vec<usize>,
    pub start: usize,
    pub end: usize,
}

pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Header> {
    let damaged = |reason: String| Error::damaged(path, "header", reason);
    let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(damaged(format!("the file has {} bytes, the header's length alone takes 8", bytes.len())));
    };
    let n = u64::from_le_bytes(*length);
    if bytes.starts_with(b"version https://git-lfs") || bytes.starts_with(b"PK\x03\x04") || bytes[0] == 0x80 || bytes[0] == b'<' {
        // A length never starts like this in practice, these files do. Checked only if the length is absurd as well.
        if n > MAX_HEADER {
            return Err(Error::Unsupported {
                path: path.to_owned(),
                what: "not a safetensors file (a Git LFS pointer, a web page or a pickled PyTorch file)".to_owned(),
                hint: "fetch the .safetensors file itself; convert PyTorch files with `save_pretrained(safe_serialization=True)`",
            });
        }
    }
    if n > MAX_HEADER {
        return Err(damaged(format!("it claims {n} bytes, more than the {MAX_HEADER} allowed; is this a safetensors file?")));
    }
    // n <= MAX_HEADER, so the cast is exact.
    let Some((json, data)) = rest.split_at_checked(n as usize) else {
        return Err(damaged(format!("it claims {n} bytes, the file has {} after the length", rest.len())));
    };
    let raw: RawHeader = serde_json::from_slice(json).map_err(|e| damaged(e.to_string()))?;
    let data_start = bytes.len() - data.len();
    let tensors = place(path, raw.tensors, data_start, data.len())?;
    Ok(Header { metadata: raw.metadata, tensors })
}

/// Orders the tensors by their data and checks each against its type, its shape and its neighbours.
fn place(path: &Path, mut raw: Vec<(String, RawTensor)>, data_start: usize, data_len: usize) -> Result<Vec<Entry>> {
    raw.sort_by(|a, b| (a.1.data_offsets, &a.0).cmp(&(b.1.data_offsets, &b.0)));
    let mut next = 0usize;
    let mut tensors: Vec<Entry> = Vec::with_capacity(raw.len());
    for (name, t) in raw {
        let damaged = |reason: String| Error::damaged(path, format!("tensor `{name}`"), reason);
        let dtype = DType::from_safetensors_name(&t.dtype).ok_or_else(|| Error::Unsupported {
            path: path.to_owned(),
            what: format!("tensor `{name}` has element type `{}`, which is not known", t.dtype),
            hint: "convert the model to F32, F16 or BF16 first",
        })?;
        let need = t.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).and_then(|n| dtype.bytes_for(n));
        let (begin, end) = t.data_offsets;
        if need.is_none() || end.checked_sub(begin) != need {
            return Err(damaged(format!("bytes {begin}..{end} do not hold shape {:?} of {dtype}", t.shape)));
        }
        if begin != next {
            let what = if begin < next { "overlaps the tensor before it" } else { "leaves a gap before it" };
            return Err(damaged(format!("its data {what} (begins at {begin}, expected {next})")));
        }
        if end > data_len {
            return Err(damaged(format!("its data end at {end}, the file's at {data_len}")));
        }
        next = end;
        tensors.push(Entry { name, dtype, shape: t.shape, start: data_start + begin, end: data_start + end });
    }
    if next != data_len {
        let reason = format!("the tensors take {next} bytes, the file has {data_len} bytes of data");
        return Err(Error::damaged(path, "header", reason));
    }
    Ok(tensors)
}

#[derive(serde::Deserialize)]
struct RawTensor {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

/// The header as JSON, duplicates refused (a map would silently keep the last).
struct RawHeader {
    metadata: BTreeMap<String, String>,
    tensors: Vec<(String, RawTensor)>,
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = RawHeader;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
                let mut header = RawHeader { metadata: BTreeMap::new(), tensors: Vec::new() };
                let mut seen = std::collections::HashSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    if !seen.insert(name.clone()) {
                        map.next_value::<IgnoredAny>()?;
                        return Err(A::Error::custom(format_args!("`{name}` is there twice")));
                    }
                    if name == "__metadata__" {
                        header.metadata = map.next_value::<Option<_>>()?.unwrap_or_default();
                    } else {
                        let tensor = map.next_value::<RawTensor>();
                        header.tensors.push((name.clone(), tensor.map_err(|e| A::Error::custom(format_args!("tensor `{name}`: {e}")))?));
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
