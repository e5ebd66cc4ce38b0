//! Every stored type against values from gguf-py and Hugging Face's safetensors (`oracles/gguf_types.py`): equal bits.

use std::path::{Path, PathBuf};

use containers::{Array, DType, GgufFile, QuantError, SafetensorsFile, TensorSource, Value, quant};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn assert_same_bits(name: &str, ours: &[f32], reference: &[f32]) {
    assert_eq!(ours.len(), reference.len(), "{name}");
    for (i, (a, b)) in ours.iter().zip(reference).enumerate() {
        assert!(a.to_bits() == b.to_bits(), "{name}[{i}]: ours {a:e}, reference {b:e}");
    }
}

#[test]
fn every_type_decodes_to_the_reference_bits() {
    let stored = GgufFile::open(data("types.gguf")).unwrap();
    let reference = SafetensorsFile::open(data("types.safetensors")).unwrap();
    let mut seen = Vec::new();
    for view in stored.tensors() {
        assert_eq!(view.name, view.dtype.name(), "the oracle names tensors by type");
        let expected = reference.require(view.name).unwrap();
        assert_eq!(view.shape, expected.shape);
        assert_same_bits(view.name, &view.to_f32().unwrap(), &expected.to_f32().unwrap());
        seen.push(view.dtype);
    }
    seen.sort();
    let mut readable: Vec<_> = DType::ALL.iter().copied().filter(|d| d.is_readable_as_f32()).collect();
    readable.sort();
    assert_eq!(seen, readable, "a readable type without a reference");
}

#[test]
fn rows_are_those_of_the_whole() {
    let stored = GgufFile::open(data("types.gguf")).unwrap();
    for view in stored.tensors() {
        let (rows, cols) = view.rows_cols();
        let all = view.to_f32().unwrap();
        let mut two = vec![0.0; 2 * cols];
        view.rows_to_f32_into(rows - 2, &mut two).unwrap();
        assert_same_bits(view.name, &two, &all[(rows - 2) * cols..]);
        assert!(view.rows_to_f32_into(rows - 1, &mut two).is_err(), "{}: past the end", view.name);
        assert!(view.rows_to_f32_into(usize::MAX, &mut two).is_err());
        assert!(view.rows_to_f32_into(0, &mut two[1..]).is_err(), "not whole rows");
    }
}

#[test]
fn encoders_equal_the_reference_bytes() {
    let file = SafetensorsFile::open(data("quantize.safetensors")).unwrap();
    let x = file.require("x").unwrap();
    let (values, cols) = (x.to_f32().unwrap(), x.rows_cols().1);
    for dtype in [DType::Q8_0, DType::Q4_0, DType::Q4_1] {
        let expected = file.require(dtype.name()).unwrap().data;
        let ours = quant::encode(dtype, &values, cols).unwrap();
        let (size, values_per) = (dtype.block_bytes(), dtype.block_len());
        for (i, (a, b)) in ours.chunks(size).zip(expected.chunks(size)).enumerate() {
            assert_eq!(a, b, "{dtype} block {i}: {:?}", &values[i * values_per..(i + 1) * values_per]);
        }
        assert_eq!(ours.len(), expected.len());
    }
}

#[test]
fn metadata_of_every_value_type() {
    let file = GgufFile::open(data("types.gguf")).unwrap();
    let m = file.metadata();
    assert_eq!(file.version(), 3);
    assert_eq!(file.architecture(), Some("llama"));
    for (key, value) in [
        ("value.u8", Value::U8(200)),
        ("value.i8", Value::I8(-100)),
        ("value.u16", Value::U16(60000)),
        ("value.i16", Value::I16(-30000)),
        ("value.u32", Value::U32(4_000_000_000)),
        ("value.i32", Value::I32(-2_000_000_000)),
        ("value.u64", Value::U64((1 << 63) + 1)),
        ("value.i64", Value::I64(-(1 << 62))),
        ("value.f32", Value::F32(0.1)),
        ("value.f64", Value::F64(0.1)),
        ("value.bool", Value::Bool(true)),
        ("value.string", Value::String("Grüße, 世界 🌍".into())),
        ("array.f32", Value::Array(Array::F32(vec![0.5, -1.25]))),
        ("array.bool", Value::Array(Array::Bool(vec![true, false]))),
        ("array.string", Value::Array(Array::String(vec!["".into(), "a".into(), "中文".into()]))),
    ] {
        assert_eq!(m.get(key), Some(&value), "{key}");
    }
    // Typed getters convert between integer widths but not across kinds, and refuse what does not fit.
    assert_eq!(m.u64("value.u8"), Some(200));
    assert_eq!(m.u64("value.i8"), None);
    assert_eq!(m.i64("value.u64"), None);
    assert_eq!(m.u64("value.u64"), Some((1 << 63) + 1));
    assert_eq!(m.u32("value.u64"), None);
    assert_eq!(m.f64("value.i8"), Some(-100.0));
    assert_eq!(m.f32("value.f64"), Some(0.1));
    assert_eq!(m.str("value.u8"), None);
    assert_eq!(m.i32_array("array.i32"), Some(vec![1, -2, 3]));
    assert_eq!(m.u64_array("array.i32"), None);
    assert_eq!(m.f32_array("array.f32"), Some(vec![0.5, -1.25]));
    assert_eq!(m.bool_array("array.bool"), Some(vec![true, false]));
    assert_eq!(m.str_array("array.string").unwrap()[2], "中文");
    let missing = m.require_u64("llama.block_count").unwrap_err().to_string();
    assert!(missing.contains("types.gguf") && missing.contains("`llama.block_count` is missing"), "{missing}");
    let wrong = m.require_str("array.f32").unwrap_err().to_string();
    assert!(wrong.contains("is of type array of f32, wanted: string"), "{wrong}");
}

#[test]
fn the_same_bits_on_any_number_of_threads() {
    // More than one unit of parallel work, with a ragged end.
    let blocks = 3 * (1 << 16) / 32 + 7;
    let bytes: Vec<u8> = (0..blocks * 20).map(|i: usize| (i.wrapping_mul(2_654_435_761) >> 7) as u8 & 0x3f).collect();
    let decode = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut out = vec![f32::NAN; blocks * 32];
        pool.install(|| quant::dequantize(DType::Q4_1, &bytes, &mut out)).unwrap();
        (pool.install(|| quant::encode(DType::Q8_0, &out, 32)).unwrap(), out)
    };
    let (encoded, one) = decode(1);
    let (encoded_by_three, three) = decode(3);
    assert_same_bits("Q4_1", &three, &one);
    assert_eq!(encoded, encoded_by_three);
    // And equal to decoding each block alone.
    let mut single = [0.0; 32];
    for b in [0, 2047, 2048, blocks - 1] {
        quant::dequantize(DType::Q4_1, &bytes[b * 20..(b + 1) * 20], &mut single).unwrap();
        assert_same_bits("block", &single, &one[b * 32..(b + 1) * 32]);
    }
}

#[test]
fn encoding_loses_at_most_half_a_step() {
    let values: Vec<f32> = (0..64).map(|i| ((i * 37 % 64) as f32 - 20.0) / 16.0).collect();
    for (dtype, step) in [(DType::Q8_0, 43.0 / 16.0 / 127.0), (DType::Q4_0, 43.0 / 16.0 / 8.0), (DType::Q4_1, 63.0 / 16.0 / 15.0)] {
        let bytes = quant::encode(dtype, &values, 64).unwrap();
        let mut back = vec![0.0; 64];
        quant::dequantize(dtype, &bytes, &mut back).unwrap();
        for (a, b) in values.iter().zip(&back) {
            // Q4_0 has no code for +8 steps: the far end may lose a whole step.
            let allowed = if dtype == DType::Q4_0 { step } else { step / 2.0 };
            // Scale and minimum are rounded to halves: 2⁻¹¹ of what they span, here below 4.
            let allowed = allowed + 4.0 / 2048.0;
            assert!((a - b).abs() <= allowed, "{dtype}: {a} became {b}");
        }
    }
}

#[test]
fn what_cannot_be_converted_is_refused() {
    let mut out = [0.0; 32];
    assert_eq!(quant::dequantize(DType::I32, &[0; 128], &mut out), Err(QuantError::NotWeights(DType::I32)));
    assert_eq!(quant::dequantize(DType::F8_E4M3, &[0; 32], &mut out), Err(QuantError::NotWeights(DType::F8_E4M3)));
    assert_eq!(quant::dequantize(DType::IQ2_S, &[0; 82], &mut [0.0; 256]), Err(QuantError::Undecoded(DType::IQ2_S)));
    assert!(matches!(quant::dequantize(DType::Q4_0, &[0; 17], &mut out), Err(QuantError::Length { .. })));
    assert!(matches!(quant::dequantize(DType::Q4_0, &[0; 18], &mut out[1..]), Err(QuantError::Length { .. })));
    assert!(matches!(quant::encode(DType::Q8_0, &out, 16), Err(QuantError::Row { row: 16, block: 32, .. })));
    assert_eq!(quant::encode(DType::Q4_K, &[0.0; 256], 256), Err(QuantError::NoEncoder(DType::Q4_K)));
    out[9] = f32::NAN;
    assert!(matches!(quant::encode(DType::Q8_0, &out, 32), Err(QuantError::Value { index: 9, .. })));
    // The largest single that still rounds to a finite half, and the first that does not.
    assert_eq!(quant::encode(DType::F16, &[65519.996], 1).unwrap(), [0xff, 0x7b]);
    assert!(matches!(quant::encode(DType::F16, &[1.0, -65520.0], 1), Err(QuantError::Value { index: 1, .. })));
    assert_eq!(quant::encode(DType::F16, &[f32::INFINITY], 1).unwrap(), [0x00, 0x7c]);
}
