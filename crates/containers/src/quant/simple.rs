//! ggml's first block formats: 32 values, one scale, perhaps a minimum.
//!
//! Nibbles lie so that byte i holds value i (low) and value i + 16 (high).

use super::float::half_at;

/// Scale f16, 16 bytes of nibbles: `d·(q − 8)`.
pub(super) fn q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let d = half_at(block, 0);
    for i in 0..16 {
        let q = block[2 + i];
        out[i] = d * f32::from((q & 15) as i8 - 8);
        out[16 + i] = d * f32::from((q >> 4) as i8 - 8);
    }
}

/// Scale f16, minimum f16, 16 bytes of nibbles: `d·q + m`.
pub(super) fn q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    for i in 0..16 {
        let q = block[4 + i];
        out[i] = d * f32::from(q & 15) + m;
        out[16 + i] = d * f32::from(q >> 4) + m;
    }
}

/// Scale f16, fifth bits u32, 16 bytes of nibbles: `d·(q − 16)`.
pub(super) fn q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let d = half_at(block, 0);
    let high = u32::from_le_bytes([block[2], block[3], block[4], block[5]]);
    for i in 0..16 {
        let (lo, hi) = five_bits(block[6 + i], high, i);
        out[i] = d * f32::from(lo as i8 - 16);
        out[16 + i] = d * f32::from(hi as i8 - 16);
    }
}

/// Scale f16, minimum f16, fifth bits u32, 16 bytes of nibbles: `d·q + m`.
pub(super) fn q5_1(block: &[u8; 24], out: &mut [f32; 32]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    let high = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
    for i in 0..16 {
        let (lo, hi) = five_bits(block[8 + i], high, i);
        out[i] = d * f32::from(lo) + m;
        out[16 + i] = d * f32::from(hi) + m;
    }
}

/// Values i and i + 16: a nibble each and their fifth bits.
#[inline(always)]
fn five_bits(nibbles: u8, high: u32, i: usize) -> (u8, u8) {
    let bit = |n: usize| ((high >> n) & 1) as u8;
    ((nibbles & 15) | (bit(i) << 4), (nibbles >> 4) | (bit(16 + i) << 4))
}

/// Scale f16, 32 signed bytes: `d·q`.
pub(super) fn q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let d = half_at(block, 0);
    for i in 0..32 {
        out[i] = d * f32::from(block[2 + i] as i8);
    }
}
