//! f32 to stored types, by ggml's reference roundings (`quantize_row_*_ref` of `ggml-quants.c`).

use rayon::prelude::*;

use super::TASK;
use super::float::{f32_to_bf16, f32_to_f16};
use crate::{DType, QuantError};

/// Encodes `values` as `dtype` (F32, F16, BF16, Q8_0, Q4_0, Q4_1); `row` is the length of the innermost dimension, which
/// must be whole blocks.
///
/// # Errors
/// [`QuantError::NoEncoder`], [`QuantError::Row`], and [`QuantError::Value`] for a value that the type cannot hold: a
/// number beyond F16's range, a NaN or infinity in a block format. Nothing is clipped silently.
pub fn encode(dtype: DType, values: &[f32], row: usize) -> Result<Vec<u8>, QuantError> {
    let block = dtype.block_len();
    if !row.is_multiple_of(block) {
        return Err(QuantError::Row { dtype, row, block });
    }
    let Some(bytes) = dtype.bytes_for(values.len()) else {
        return Err(QuantError::Row { dtype, row: values.len(), block });
    };
    let fits: fn(f32) -> bool = match dtype {
        DType::F32 | DType::BF16 => |_| true,
        // 65520 rounds to infinity; infinity and NaN themselves are representable.
        DType::F16 => |x| !(65520.0..f32::INFINITY).contains(&x.abs()),
        _ => f32::is_finite,
    };
    if let Some(index) = values.iter().position(|&x| !fits(x)) {
        return Err(QuantError::Value { dtype, index, value: values[index] });
    }
    let mut out = vec![0; bytes];
    match dtype {
        DType::F32 => blocks(values, &mut out, |[x]: &[f32; 1], b| *b = x.to_le_bytes()),
        DType::F16 => blocks(values, &mut out, |[x]: &[f32; 1], b| *b = f32_to_f16(*x).to_le_bytes()),
        DType::BF16 => blocks(values, &mut out, |[x]: &[f32; 1], b| *b = f32_to_bf16(*x).to_le_bytes()),
        DType::Q8_0 => blocks(values, &mut out, q8_0),
        DType::Q4_0 => blocks(values, &mut out, q4_0),
        DType::Q4_1 => blocks(values, &mut out, q4_1),
        other => return Err(QuantError::NoEncoder(other)),
    }
    Ok(out)
}

fn blocks<const N: usize, const B: usize>(values: &[f32], out: &mut [u8], encode: impl Fn(&[f32; N], &mut [u8; B]) + Sync) {
    values.par_chunks(TASK).zip(out.par_chunks_mut(TASK / N * B)).for_each(|(values, out)| {
        for (x, b) in values.as_chunks::<N>().0.iter().zip(out.as_chunks_mut::<B>().0) {
            encode(x, b);
        }
    });
}

fn inverse(d: f32) -> f32 {
    if d == 0.0 { 0.0 } else { 1.0 / d }
}

/// Scale = largest magnitude / 127, values rounded half away from zero.
fn q8_0(x: &[f32; 32], block: &mut [u8; 34]) {
    let d = x.iter().fold(0f32, |m, v| m.max(v.abs())) / 127.0;
    let id = inverse(d);
    block[..2].copy_from_slice(&f32_to_f16(d).to_le_bytes());
    for i in 0..32 {
        block[2 + i] = (x[i] * id).round() as i8 as u8;
    }
}

/// Scale = the value of largest magnitude, with its sign, / −8: that value becomes code 0 exactly.
fn q4_0(x: &[f32; 32], block: &mut [u8; 18]) {
    // The first of equal magnitudes, as the reference.
    let max = x.iter().fold(0f32, |m, &v| if v.abs() > m.abs() { v } else { m });
    let d = max / -8.0;
    let id = inverse(d);
    let code = |v: f32| ((v * id + 8.5) as u8).min(15);
    block[..2].copy_from_slice(&f32_to_f16(d).to_le_bytes());
    for i in 0..16 {
        block[2 + i] = code(x[i]) | (code(x[16 + i]) << 4);
    }
}

/// Minimum, and scale = range / 15.
fn q4_1(x: &[f32; 32], block: &mut [u8; 20]) {
    let min = x.iter().copied().fold(f32::INFINITY, f32::min);
    let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let d = (max - min) / 15.0;
    let id = inverse(d);
    let code = |v: f32| (((v - min) * id + 0.5) as u8).min(15);
    block[..2].copy_from_slice(&f32_to_f16(d).to_le_bytes());
    block[2..4].copy_from_slice(&f32_to_f16(min).to_le_bytes());
    for i in 0..16 {
        block[4 + i] = code(x[i]) | (code(x[16 + i]) << 4);
    }
}
