//! Files with flipped, overwritten, cut and repeated bytes: opening them and reading whatever opens gives an error or
//! values, never a panic, and no allocation beyond the file's own size.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use containers::save::{LazyTensor, write_gguf, write_safetensors};
use containers::{Array, DType, GgufFile, Metadata, SafetensorsFile, TensorView, Value};
use proptest::prelude::*;

/// A sound file of each format, small so that damage hits the header often.
fn sound() -> &'static [Vec<u8>; 2] {
    static FILES: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
    FILES.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let x = [0.5f32; 64];
        let tensors = |types: &[DType]| -> Vec<LazyTensor<'_>> {
            types.iter().map(|&t| LazyTensor::from_f32(format!("w.{t}"), t, [2, 32], &x)).collect()
        };
        let mut metadata = Metadata::new();
        metadata.insert("general.architecture", Value::String("llama".into()));
        metadata.insert("general.alignment", Value::U32(32));
        metadata.insert("tokens", Value::Array(Array::String(vec!["a".into(), "é".into()])));
        metadata.insert("scores", Value::Array(Array::F32(vec![1.0, 2.0])));
        metadata.insert("nested", Value::Array(Array::Array(vec![Array::U8(vec![1]), Array::Bool(vec![true])])));
        write_gguf(&path, &metadata, tensors(&[DType::F32, DType::Q4_1, DType::Q8_0])).unwrap();
        let gguf = std::fs::read(&path).unwrap();
        let info = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
        write_safetensors(&path, &info, tensors(&[DType::F32, DType::BF16])).unwrap();
        [gguf, std::fs::read(&path).unwrap()]
    })
}

/// Opens and reads everything; returns whether the file opened.
fn exercise(format: usize, bytes: Vec<u8>) -> bool {
    let size = bytes.len();
    let read = |view: TensorView<'_>| {
        let numel = view.numel();
        assert_eq!(view.dtype.bytes_for(numel), Some(view.data.len()), "a view holds what its shape says");
        assert!(view.data.len() <= size);
        if let Ok(values) = view.to_f32() {
            assert_eq!(values.len(), numel);
        }
        let (rows, cols) = view.rows_cols();
        if rows > 0 && cols <= size * 256 {
            let _ = view.rows_to_f32_into(rows - 1, &mut vec![0.0; cols]);
        }
    };
    if format == 0 {
        GgufFile::from_bytes("damaged.gguf", bytes).map(|f| f.tensors().for_each(read)).is_ok()
    } else {
        SafetensorsFile::from_bytes("damaged.safetensors", bytes).map(|f| f.tensors().for_each(read)).is_ok()
    }
}

/// Damage at a relative position, so that it shrinks well and fits every file.
#[derive(Clone, Debug)]
enum Damage {
    Flip(f64, u8),
    Byte(f64, u8),
    /// A 64-bit field replaced by an extreme value.
    Word(f64, u64),
    Cut(f64),
    Remove(f64, usize),
    Repeat(f64, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = || 0.0..1.0f64;
    let extreme = prop_oneof![
        Just(u64::MAX),
        Just(1u64 << 63),
        Just((1u64 << 62) + 1),
        Just(1u64 << 40),
        Just(u64::from(u32::MAX)),
        0u64..64,
        any::<u64>()
    ];
    prop_oneof![
        4 => (at(), 0u8..8).prop_map(|(p, b)| Damage::Flip(p, b)),
        2 => (at(), any::<u8>()).prop_map(|(p, b)| Damage::Byte(p, b)),
        3 => (at(), extreme).prop_map(|(p, v)| Damage::Word(p, v)),
        1 => at().prop_map(Damage::Cut),
        1 => (at(), 1usize..20).prop_map(|(p, n)| Damage::Remove(p, n)),
        1 => (at(), 1usize..20).prop_map(|(p, n)| Damage::Repeat(p, n)),
    ]
}

fn apply(bytes: &mut Vec<u8>, damage: &Damage) {
    if bytes.is_empty() {
        return;
    }
    let place = |p: f64| ((p * bytes.len() as f64) as usize).min(bytes.len() - 1);
    match *damage {
        Damage::Flip(p, bit) => {
            let i = place(p);
            bytes[i] ^= 1 << bit;
        }
        Damage::Byte(p, b) => {
            let i = place(p);
            bytes[i] = b;
        }
        Damage::Word(p, v) => {
            let i = place(p);
            let n = (bytes.len() - i).min(8);
            bytes[i..i + n].copy_from_slice(&v.to_le_bytes()[..n]);
        }
        Damage::Cut(p) => bytes.truncate(place(p)),
        Damage::Remove(p, n) => {
            let i = place(p);
            bytes.drain(i..(i + n).min(bytes.len()));
        }
        Damage::Repeat(p, n) => {
            let i = place(p);
            let piece = bytes[i..(i + n).min(bytes.len())].to_vec();
            bytes.splice(i..i, piece);
        }
    }
}

#[test]
fn the_sound_files_open() {
    for (format, bytes) in sound().iter().enumerate() {
        assert!(exercise(format, bytes.clone()));
    }
}

#[test]
fn every_prefix_is_refused() {
    for (format, bytes) in sound().iter().enumerate() {
        // GGUF files end in padding, which may be missing.
        let needed = if format == 0 { bytes.len() - 32 } else { bytes.len() };
        for n in 0..needed {
            assert!(!exercise(format, bytes[..n].to_vec()), "{n} of {} bytes opened", bytes.len());
        }
    }
}

#[test]
fn every_single_bit_flip_is_survived() {
    for (format, bytes) in sound().iter().enumerate() {
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            exercise(format, bytes);
        }
    }
}

#[test]
fn every_word_made_extreme_is_survived() {
    for (format, bytes) in sound().iter().enumerate() {
        for at in 0..bytes.len() - 8 {
            for value in [u64::MAX, 1 << 63, 1 << 40, 1 << 36, 1 << 32, 0] {
                let mut bytes = bytes.clone();
                bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
                exercise(format, bytes);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn combined_damage_is_survived(format in 0usize..2, damages in prop::collection::vec(damage(), 1..6)) {
        let mut bytes = sound()[format].clone();
        for d in &damages {
            apply(&mut bytes, d);
        }
        exercise(format, bytes);
    }

    #[test]
    fn arbitrary_bytes_are_survived(format in 0usize..2, tail in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut bytes = if format == 0 { b"GGUF\x03\0\0\0".to_vec() } else { (tail.len() as u64).to_le_bytes().to_vec() };
        bytes.extend(&tail);
        exercise(format, bytes);
    }
}
