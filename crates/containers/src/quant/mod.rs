//! Stored values to f32 and back.
//!
//! One small function per type, on one block, written to be read beside ggml's `ggml-quants.c`; this module runs them over
//! a tensor. Blocks are independent, so the work is split over threads freely and the bits do not depend on the split.
//! Every product and sum is rounded to f32 on its own, in ggml's order: results equal the reference bit for bit.

mod encode;
pub(crate) mod float;
mod k;
mod levels;
mod simple;

use rayon::prelude::*;

pub use encode::encode;
pub use float::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};

use crate::{DType, QuantError};

/// Values of one unit of parallel work: small enough to balance, large enough to hide the scheduling. A multiple of every
/// block length.
const TASK: usize = 1 << 16;

/// Decodes `data` of type `dtype` into `out`, which must have exactly the number of values that `data` holds.
///
/// # Errors
/// [`QuantError::Length`] when the sides differ, [`QuantError::NotWeights`] and [`QuantError::Undecoded`] for types that
/// give no f32.
pub fn dequantize(dtype: DType, data: &[u8], out: &mut [f32]) -> Result<(), QuantError> {
    if dtype.bytes_for(out.len()) != Some(data.len()) {
        return Err(QuantError::Length { dtype, bytes: data.len(), values: out.len() });
    }
    match dtype {
        DType::F64 => values(data, out, |b| f64::from_le_bytes(b) as f32),
        DType::F32 => values(data, out, f32::from_le_bytes),
        DType::F16 => values(data, out, |b| f16_to_f32(u16::from_le_bytes(b))),
        DType::BF16 => values(data, out, |b| bf16_to_f32(u16::from_le_bytes(b))),
        DType::Q4_0 => blocks(data, out, simple::q4_0),
        DType::Q4_1 => blocks(data, out, simple::q4_1),
        DType::Q5_0 => blocks(data, out, simple::q5_0),
        DType::Q5_1 => blocks(data, out, simple::q5_1),
        DType::Q8_0 => blocks(data, out, simple::q8_0),
        DType::Q2_K => blocks(data, out, k::q2_k),
        DType::Q3_K => blocks(data, out, k::q3_k),
        DType::Q4_K => blocks(data, out, k::q4_k),
        DType::Q5_K => blocks(data, out, k::q5_k),
        DType::Q6_K => blocks(data, out, k::q6_k),
        DType::IQ4_NL => blocks(data, out, levels::iq4_nl),
        DType::IQ4_XS => blocks(data, out, levels::iq4_xs),
        DType::TQ1_0 => blocks(data, out, levels::tq1_0),
        DType::TQ2_0 => blocks(data, out, levels::tq2_0),
        DType::MXFP4 => blocks(data, out, levels::mxfp4),
        other => return Err(unreadable(other)),
    }
    Ok(())
}

/// Why a type gives no f32.
pub(crate) fn unreadable(dtype: DType) -> QuantError {
    if dtype.is_quantized() { QuantError::Undecoded(dtype) } else { QuantError::NotWeights(dtype) }
}

/// Runs `decode` over blocks of `B` bytes and `N` values.
fn blocks<const B: usize, const N: usize>(data: &[u8], out: &mut [f32], decode: impl Fn(&[u8; B], &mut [f32; N]) + Sync) {
    let run = |data: &[u8], out: &mut [f32]| {
        for (block, values) in data.as_chunks::<B>().0.iter().zip(out.as_chunks_mut::<N>().0) {
            decode(block, values);
        }
    };
    if out.len() <= TASK {
        return run(data, out);
    }
    data.par_chunks(TASK / N * B).zip(out.par_chunks_mut(TASK)).for_each(|(data, out)| run(data, out));
}

/// Runs `decode` over single values of `B` bytes.
fn values<const B: usize>(data: &[u8], out: &mut [f32], decode: impl Fn([u8; B]) -> f32 + Sync) {
    let run = |data: &[u8], out: &mut [f32]| {
        for (bytes, value) in data.as_chunks::<B>().0.iter().zip(out) {
            *value = decode(*bytes);
        }
    };
    if out.len() <= TASK {
        return run(data, out);
    }
    data.par_chunks(TASK * B).zip(out.par_chunks_mut(TASK)).for_each(|(data, out)| run(data, out));
}
