//! GGUF: our writer against gguf-py's file, refusals by name, split models.

use std::fs;
use std::path::Path;

use containers::save::{LazyTensor, write_gguf};
use containers::{DType, GgufFile, Metadata, TensorSource, Value};
use proptest::prelude::*;

const TYPES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/types.gguf");

fn message(bytes: Vec<u8>) -> String {
    GgufFile::from_bytes("bad.gguf", bytes).unwrap_err().to_string()
}

/// Builds headers field by field, however wrong.
#[derive(Clone)]
struct Raw(Vec<u8>);

impl Raw {
    fn new(version: u32, tensors: u64, entries: u64) -> Raw {
        Raw(b"GGUF".to_vec()).u32(version).u64(tensors).u64(entries)
    }
    fn u32(mut self, v: u32) -> Raw {
        self.0.extend(v.to_le_bytes());
        self
    }
    fn u64(mut self, v: u64) -> Raw {
        self.0.extend(v.to_le_bytes());
        self
    }
    fn str(self, s: &str) -> Raw {
        let mut raw = self.u64(s.len() as u64);
        raw.0.extend(s.bytes());
        raw
    }
    fn tensor(self, name: &str, dims: &[u64], kind: u32, offset: u64) -> Raw {
        let raw = dims.iter().fold(self.str(name).u32(dims.len() as u32), |r, &d| r.u64(d));
        raw.u32(kind).u64(offset)
    }
    /// Pads to the alignment and adds `n` bytes of data.
    fn data(mut self, n: usize) -> Vec<u8> {
        let start = self.0.len().next_multiple_of(32);
        self.0.resize(start + n, 0);
        self.0
    }
}

#[test]
fn our_writer_reproduces_the_file_of_gguf_py() {
    let file = GgufFile::open(TYPES).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy.gguf");
    write_gguf(&copy, file.metadata(), file.tensors().map(LazyTensor::copy)).unwrap();
    assert!(fs::read(&copy).unwrap() == fs::read(TYPES).unwrap(), "byte for byte");
}

#[test]
fn encoded_tensors_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.gguf");
    let x: Vec<f32> = (0..3 * 64).map(|i| ((i * 31) % 64) as f32 / 32.0 - 1.0).collect();
    let mut metadata = Metadata::new();
    metadata.insert("general.architecture", Value::String("llama".into()));
    metadata.insert("general.alignment", Value::U32(64));
    let types = [DType::F32, DType::F16, DType::BF16, DType::Q8_0, DType::Q4_0, DType::Q4_1];
    write_gguf(&path, &metadata, types.map(|t| LazyTensor::from_f32(t.name(), t, [3, 64], &x))).unwrap();
    let file = GgufFile::open(&path).unwrap();
    assert_eq!(file.metadata().u64("general.alignment"), Some(64));
    let base = file.require("F32").unwrap().data.as_ptr() as usize;
    for view in file.tensors() {
        assert_eq!(view.shape, [3, 64], "the order of dimensions survives the reversal");
        assert!((view.data.as_ptr() as usize - base).is_multiple_of(64));
        let error = view.to_f32().unwrap().iter().zip(&x).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        let allowed = match view.dtype {
            DType::F32 | DType::F16 | DType::BF16 => 0.0, // these values have six bits
            DType::Q8_0 => 0.005,
            _ => 0.13,
        };
        assert!(error <= allowed, "{}: {error}", view.name);
    }
}

#[test]
fn files_of_another_kind_are_named() {
    let version = |v: u32| Raw::new(v, 0, 0).0;
    for (bytes, expected) in [
        (vec![], "an empty file"),
        (b"<html>".to_vec(), "a web page"),
        (b"version https://git-lfs.github.com/spec/v1".to_vec(), "a Git LFS pointer"),
        (b"PK\x03\x04zip".to_vec(), "not a GGUF file (it starts with [50, 4b, 03, 04])"),
        (b"tjgg\x01\0\0\0".to_vec(), "older than GGUF"),
        (version(3u32.swap_bytes()), "a big-endian GGUF file"),
        (version(1), "GGUF version 1"),
        (version(4), "GGUF version 4"),
        (Raw::new(3, 1, 0).tensor("w", &[32], 77, 0).data(64), "tensor `w` has type number 77"),
    ] {
        let message = message(bytes);
        assert!(message.starts_with("bad.gguf: ") && message.contains(expected), "{message}\nlacks: {expected}");
    }
}

#[test]
fn damaged_headers_are_named_and_cost_no_memory() {
    let one = |dims: &[u64], kind, offset| Raw::new(3, 1, 0).tensor("w", dims, kind, offset);
    let array = |kind: u32, n: u64| Raw::new(3, 0, 1).str("k").u32(9).u32(kind).u64(n);
    let nested = (0..20).fold(Raw::new(3, 0, 1).str("k").u32(9), |r, _| r.u32(9).u64(1));
    let key =
        |k: &str| Raw::new(3, 0, 2).str("a.b").u32(7).0.into_iter().chain([1]).chain(Raw(vec![]).str(k).u32(7).0).chain([1]).collect();
    for (bytes, expected) in [
        (b"GGUF".to_vec(), "header: the file ends at byte 4"),
        // Lying counts: allocating for any of these would end the process.
        (Raw::new(3, 0, u64::MAX).data(64), "18446744073709551615 metadata entries do not fit"),
        (Raw::new(3, 1 << 40, 0).data(64), "1099511627776 tensors do not fit"),
        (Raw::new(3, 0, 1).u64(1 << 50).data(64), "metadata entry 0: 1125899906842624 bytes of text do not fit"),
        (array(0, 1 << 45).data(64), "metadata key `k`: 35184372088832 array elements do not fit"),
        (array(12, 1 << 62).data(64), "array elements do not fit"),
        (array(8, u64::MAX / 8).data(64), "array elements do not fit"),
        (array(9, 1 << 41).data(64), "array elements do not fit"),
        (array(13, 1).data(64), "unknown value type 13"),
        (nested.data(64), "arrays nest deeper than 8"),
        (Raw::new(3, 0, 1).str("k").u32(7).u32(2).data(64), "2 is not a truth value"),
        (key("a.b"), "metadata key `a.b`: is there twice"),
        (Raw::new(3, 0, 1).str("general.alignment").u32(4).u32(0).data(0), "U32(0) is not a power of two"),
        (Raw::new(3, 0, 1).str("general.alignment").u32(4).u32(24).data(0), "U32(24) is not a power of two"),
        (one(&[8; 5], 0, 0).data(64), "tensor `w`: 5 dimensions"),
        (one(&[u64::MAX, 2], 0, 0).data(64), "larger than any memory"),
        (one(&[1 << 32, 1 << 32], 0, 0).data(64), "larger than any memory"),
        (one(&[1 << 61], 28, 0).data(64), "larger than any memory"),
        (one(&[31], 2, 0).data(64), "rows of 31 values are not whole Q4_0 blocks of 32"),
        // As many values as a block, but not in rows of whole blocks.
        (one(&[16, 2], 2, 0).data(64), "rows of 16 values are not whole Q4_0"),
        (one(&[4], 0, 8).data(64), "offset 8 is not a multiple of the alignment 32"),
        (one(&[4], 0, 64).data(64), "its 16 bytes end at"),
        (one(&[4], 0, 0).data(15), "its 16 bytes end at"),
        (one(&[4], 0, u64::MAX - 31).data(64), "its 16 bytes end at"),
        (Raw::new(3, 2, 0).tensor("a", &[9], 0, 0).tensor("b", &[1], 0, 32).data(64), "tensor `b`: overlaps tensor `a`"),
        (Raw::new(3, 2, 0).tensor("a", &[1], 0, 0).tensor("a", &[1], 0, 32).data(64), "tensor `a`: is there twice"),
    ] {
        let message = message(bytes);
        assert!(message.starts_with("bad.gguf: ") && message.contains(expected), "{message}\nlacks: {expected}");
    }
    let mut text = Raw::new(3, 0, 1).str("kk").u32(8).str("ab\u{e9}").data(64);
    let at = text.iter().position(|&b| b == 0xc3).unwrap();
    text[at] = 0xff;
    assert!(message(text).contains("metadata key `kk`: the text at byte"), "not UTF-8");
}

#[test]
fn odd_but_sound_files_open() {
    assert_eq!(GgufFile::from_bytes("v2", Raw::new(2, 0, 0).0).unwrap().version(), 2);
    // No padding needed when there is no data; a tensor without values has no place.
    let empty = Raw::new(3, 2, 0).tensor("none", &[0, 7], 0, 1 << 40).tensor("scalar", &[], 0, 0).data(4);
    let file = GgufFile::from_bytes("e", empty).unwrap();
    assert_eq!(file.require("none").unwrap().shape, [7, 0]);
    assert!(file.require("none").unwrap().to_f32().unwrap().is_empty());
    assert_eq!(file.require("scalar").unwrap().to_f32().unwrap(), [0.0]);
    // Types that are known but not decoded do not keep the others from being read.
    let codebook = Raw::new(3, 2, 0).tensor("iq", &[256], 22, 0).tensor("w", &[1], 0, 96).data(100);
    let file = GgufFile::from_bytes("iq", codebook).unwrap();
    let e = file.require("iq").unwrap().to_f32().unwrap_err().to_string();
    assert!(e.starts_with("tensor `iq`: IQ2_S is not decoded"), "{e}");
    assert!(file.require("w").unwrap().to_f32().is_ok());
}

#[test]
fn split_models_open_through_their_first_part() {
    let dir = tempfile::tempdir().unwrap();
    let part = |no: u16, name: &str, tensor: &str, value: f32| {
        let mut m = Metadata::new();
        m.insert("split.no", Value::U16(no));
        m.insert("split.count", Value::U16(2));
        m.insert("split.tensors.count", Value::I32(2));
        let values = [value];
        write_gguf(dir.path().join(name), &m, [LazyTensor::from_f32(tensor, DType::F32, [1], &values)]).unwrap();
    };
    let first = dir.path().join("m-00001-of-00002.gguf");
    part(0, "m-00001-of-00002.gguf", "a", 1.0);
    let missing = GgufFile::open(&first).unwrap_err().to_string();
    assert!(missing.contains("m-00002-of-00002.gguf: cannot open"), "{missing}");
    part(1, "m-00002-of-00002.gguf", "b", 2.0);
    let file = GgufFile::open(&first).unwrap();
    assert_eq!(file.names(), ["a", "b"]);
    assert_eq!(file.require("b").unwrap().to_f32().unwrap(), [2.0]);
    let second = GgufFile::open(dir.path().join("m-00002-of-00002.gguf")).unwrap_err().to_string();
    assert!(second.contains("give the file that ends in `-00001-of-"), "{second}");
    part(0, "m-00002-of-00002.gguf", "b", 2.0);
    assert!(GgufFile::open(&first).unwrap_err().to_string().contains("`split.no`: should be 1"));
    part(1, "m-00002-of-00002.gguf", "a", 2.0);
    assert!(GgufFile::open(&first).unwrap_err().to_string().contains("tensor `a`: is there twice"));
}

#[test]
fn unwritable_tensors_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.gguf");
    let refuse = |t: LazyTensor<'_>| write_gguf(&path, &Metadata::new(), [t]).unwrap_err().to_string();
    let bytes = |n: usize| move || Ok::<_, containers::BoxError>(vec![0u8; n]);
    assert!(refuse(LazyTensor::new("b", DType::Bool, [1], bytes(1))).contains("GGUF has no BOOL"));
    assert!(refuse(LazyTensor::new("b", DType::F32, [1, 1, 1, 1, 1], bytes(4))).contains("at most 4 dimensions"));
    assert!(refuse(LazyTensor::new("b", DType::Q8_0, [2, 16], bytes(34))).contains("cannot be stored as Q8_0"));
    let mut m = Metadata::new();
    m.insert("general.alignment", Value::U32(48));
    assert!(write_gguf(&path, &m, []).unwrap_err().to_string().contains("`general.alignment` is not a power of two"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_directory_or_a_missing_file_is_an_io_error() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path(), Path::new("/no/such/model.gguf")] {
        let e = GgufFile::open(path).unwrap_err();
        assert!(matches!(e, containers::Error::Io { action: "open", .. }), "{e}");
    }
    let empty = dir.path().join("empty.gguf");
    fs::write(&empty, "").unwrap();
    assert!(GgufFile::open(&empty).unwrap_err().to_string().contains("an empty file"));
}

fn value() -> impl Strategy<Value = Value> {
    use containers::Array;
    let array = prop_oneof![
        prop::collection::vec(any::<i16>(), 0..5).prop_map(Array::I16),
        prop::collection::vec(any::<u64>(), 0..5).prop_map(Array::U64),
        prop::collection::vec(any::<bool>(), 0..5).prop_map(Array::Bool),
        prop::collection::vec(".{0,6}", 0..5).prop_map(Array::String),
        prop::collection::vec(-1e9f64..1e9, 0..5).prop_map(Array::F64),
    ];
    let array = array.prop_recursive(3, 12, 3, |inner| prop::collection::vec(inner, 0..3).prop_map(Array::Array));
    prop_oneof![
        any::<u8>().prop_map(Value::U8),
        any::<i64>().prop_map(Value::I64),
        any::<bool>().prop_map(Value::Bool),
        (-1e9f32..1e9).prop_map(Value::F32),
        ".{0,12}".prop_map(Value::String),
        array.prop_map(Value::Array),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// What is written is read back: metadata of any kind in order, tensors of any shape.
    #[test]
    fn write_then_read(
        entries in prop::collection::btree_map("[a-z.]{1,8}", value(), 0..6),
        shapes in prop::collection::vec(prop::collection::vec(0usize..5, 0..5), 0..5),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.gguf");
        let mut metadata = Metadata::new();
        for (k, v) in &entries {
            metadata.insert(k.clone(), v.clone());
        }
        let values: Vec<f32> = (0..625).map(|i| i as f32).collect();
        let tensors = shapes.iter().enumerate().map(|(i, shape)| {
            LazyTensor::from_f32(format!("t{i}"), DType::F32, shape.clone(), &values[..shape.iter().product()])
        });
        write_gguf(&path, &metadata, tensors).unwrap();
        let file = GgufFile::open(&path).unwrap();
        prop_assert_eq!(file.metadata().iter().collect::<Vec<_>>(), metadata.iter().collect::<Vec<_>>());
        for (i, shape) in shapes.iter().enumerate() {
            let view = file.require(&format!("t{i}")).unwrap();
            prop_assert_eq!(view.shape, shape.as_slice());
            let numel: usize = shape.iter().product();
            prop_assert_eq!(view.to_f32().unwrap(), &values[..numel]);
        }
    }
}
