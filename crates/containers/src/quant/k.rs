//! ggml's "K" formats: 256 values in groups whose scales are themselves quantised.

use super::float::half_at;

/// 16 bytes of (scale, minimum) nibbles, 64 bytes of 2-bit values, d f16, dmin f16: `d·s·q − dmin·m`, groups of 16.
pub(super) fn q2_k(block: &[u8; 84], out: &mut [f32; 256]) {
    let (scales, qs) = (&block[..16], &block[16..80]);
    let (d, dmin) = (half_at(block, 80), half_at(block, 82));
    for g in 0..16 {
        let scale = d * f32::from(scales[g] & 15);
        let min = dmin * f32::from(scales[g] >> 4);
        let (from, shift) = two_bits(g);
        for i in 0..16 {
            out[16 * g + i] = scale * f32::from((qs[from + i] >> shift) & 3) - min;
        }
    }
}

/// Where group `g` of 16 values finds its 2-bit values: first byte and shift. A run of 32 bytes holds 128 values, 32 at a
/// time from the low bits up.
#[inline(always)]
fn two_bits(g: usize) -> (usize, usize) {
    (32 * (g / 8) + 16 * (g % 2), 2 * (g % 8 / 2))
}

/// 32 bytes of third bits (inverted), 64 bytes of 2-bit values, 12 bytes of 6-bit scales, d f16: `d·(s − 32)·(q − 4·!h)`,
/// groups of 16.
pub(super) fn q3_k(block: &[u8; 110], out: &mut [f32; 256]) {
    let (high, qs, packed) = (&block[..32], &block[32..96], &block[96..108]);
    let d = half_at(block, 108);
    for g in 0..16 {
        // Low nibbles of scales 0..8 and high nibbles for 8..16, then two bits each from the last four bytes.
        let low = if g < 8 { packed[g] & 15 } else { packed[g - 8] >> 4 };
        let top = (packed[8 + g % 4] >> (2 * (g / 4))) & 3;
        let scale = d * f32::from((low | (top << 4)) as i8 - 32);
        let (from, shift) = two_bits(g);
        // The third bits of values 32·b .. 32·b + 32 are bit b of the 32 bytes.
        let (hfrom, bit) = (16 * (g % 2), g / 2);
        for i in 0..16 {
            let q = ((qs[from + i] >> shift) & 3) as i8;
            let minus = if (high[hfrom + i] >> bit) & 1 == 0 { 4 } else { 0 };
            out[16 * g + i] = scale * f32::from(q - minus);
        }
    }
}

/// The 6-bit scale and minimum of group `g` of 8, from 12 bytes: the first four groups in the low six bits of bytes g and
/// g + 4; the last four in the nibbles of byte g + 4 with their upper two bits in the top of bytes g − 4 and g.
#[inline(always)]
fn scale_min(packed: &[u8], g: usize) -> (u8, u8) {
    if g < 4 {
        (packed[g] & 63, packed[g + 4] & 63)
    } else {
        ((packed[g + 4] & 15) | ((packed[g - 4] >> 6) << 4), (packed[g + 4] >> 4) | ((packed[g] >> 6) << 4))
    }
}

/// d f16, dmin f16, 12 bytes of scales and minima, 128 bytes of nibbles: `d·s·q − dmin·m`, groups of 32.
pub(super) fn q4_k(block: &[u8; 144], out: &mut [f32; 256]) {
    let (d, dmin) = (half_at(block, 0), half_at(block, 2));
    let (packed, qs) = (&block[4..16], &block[16..144]);
    for g in 0..8 {
        let (s, m) = scale_min(packed, g);
        let (scale, min) = (d * f32::from(s), dmin * f32::from(m));
        let (from, shift) = (32 * (g / 2), 4 * (g % 2));
        for i in 0..32 {
            out[32 * g + i] = scale * f32::from((qs[from + i] >> shift) & 15) - min;
        }
    }
}

/// As `q4_k` with 32 bytes of fifth bits (bit g for group g) before the nibbles.
pub(super) fn q5_k(block: &[u8; 176], out: &mut [f32; 256]) {
    let (d, dmin) = (half_at(block, 0), half_at(block, 2));
    let (packed, high, qs) = (&block[4..16], &block[16..48], &block[48..176]);
    for g in 0..8 {
        let (s, m) = scale_min(packed, g);
        let (scale, min) = (d * f32::from(s), dmin * f32::from(m));
        let (from, shift) = (32 * (g / 2), 4 * (g % 2));
        for i in 0..32 {
            let q = ((qs[from + i] >> shift) & 15) | (((high[i] >> g) & 1) << 4);
            out[32 * g + i] = scale * f32::from(q) - min;
        }
    }
}

/// 128 bytes of nibbles, 64 bytes of upper two bits, 16 signed scales, d f16: `d·s·(q − 32)`, groups of 16.
pub(super) fn q6_k(block: &[u8; 210], out: &mut [f32; 256]) {
    let (low, high, scales) = (&block[..128], &block[128..192], &block[192..208]);
    let d = half_at(block, 208);
    for g in 0..16 {
        let scale = d * f32::from(scales[g] as i8);
        // 128 values share 64 bytes of nibbles (values 0..64 low, 64..128 high) and 32 bytes of upper bits.
        let (part, within) = (g / 8, g % 8);
        let (from, shift) = (64 * part + 16 * (within % 4), 4 * (within / 4));
        let (hfrom, hshift) = (32 * part + 16 * (within % 2), 2 * (within / 2));
        for i in 0..16 {
            let q = ((low[from + i] >> shift) & 15) | (((high[hfrom + i] >> hshift) & 3) << 4);
            out[16 * g + i] = scale * f32::from(q as i8 - 32);
        }
    }
}
