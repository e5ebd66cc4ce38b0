//! Formats whose codes index a table of levels: uneven 4-bit levels, 4-bit floats, ternary values.

use super::float::half_at;

/// The 16 levels of `IQ4_NL` and `IQ4_XS` (`kvalues_iq4nl` of ggml).
const IQ4: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
/// The values of a 4-bit float E2M1, doubled (OCP microscaling specification, table 5).
const E2M1: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// 16 bytes of nibbles through a table, times `d`; byte i holds values i and i + 16.
#[inline(always)]
fn nibbles(levels: &[i8; 16], d: f32, qs: &[u8], out: &mut [f32]) {
    for i in 0..16 {
        out[i] = d * f32::from(levels[usize::from(qs[i] & 15)]);
        out[16 + i] = d * f32::from(levels[usize::from(qs[i] >> 4)]);
    }
}

/// Scale f16, 16 bytes of nibbles: `d·level[q]`.
pub(super) fn iq4_nl(block: &[u8; 18], out: &mut [f32; 32]) {
    nibbles(&IQ4, half_at(block, 0), &block[2..], out);
}

/// d f16, upper scale bits u16, 4 bytes of lower scale bits, 128 bytes of nibbles: `d·(s − 32)·level[q]`, groups of 32.
pub(super) fn iq4_xs(block: &[u8; 136], out: &mut [f32; 256]) {
    let d = half_at(block, 0);
    let high = u16::from_le_bytes([block[2], block[3]]);
    let (low, qs) = (&block[4..8], &block[8..136]);
    for g in 0..8 {
        let s = ((low[g / 2] >> (4 * (g % 2))) & 15) | ((((high >> (2 * g)) & 3) as u8) << 4);
        let scale = d * f32::from(s as i8 - 32);
        nibbles(&IQ4, scale, &qs[16 * g..16 * g + 16], &mut out[32 * g..32 * g + 32]);
    }
}

/// Power of two E8M0, 16 bytes of nibbles.
pub(super) fn mxfp4(block: &[u8; 17], out: &mut [f32; 32]) {
    // Half of 2^(e − 127), because the table is doubled; the two smallest are subnormal.
    let e = u32::from(block[0]);
    let d = f32::from_bits(if e < 2 { 0x0020_0000 << e } else { (e - 1) << 23 });
    nibbles(&E2M1, d, &block[1..], out);
}

/// The ternary digit `n` of a byte, as −1, 0 or 1. Five digits are stored as the fraction value/243 scaled to 256, so a
/// multiplication by 3ⁿ (modulo 256) brings digit n to the top.
#[inline(always)]
fn trit(byte: u8, power: u8) -> f32 {
    let q = byte.wrapping_mul(power);
    f32::from(((u16::from(q) * 3) >> 8) as i8 - 1)
}

/// 48 bytes of five ternary digits each (32 + 16 bytes wide), 4 bytes of four, d f16.
pub(super) fn tq1_0(block: &[u8; 54], out: &mut [f32; 256]) {
    const POWERS: [u8; 5] = [1, 3, 9, 27, 81];
    let d = half_at(block, 52);
    let mut at = 0;
    for (bytes, digits) in [(&block[..32], 5), (&block[32..48], 5), (&block[48..52], 4)] {
        for &power in &POWERS[..digits] {
            for &byte in bytes {
                out[at] = d * trit(byte, power);
                at += 1;
            }
        }
    }
}

/// 64 bytes of four 2-bit values each (32 bytes wide), d f16: `d·(q − 1)`.
pub(super) fn tq2_0(block: &[u8; 66], out: &mut [f32; 256]) {
    let d = half_at(block, 64);
    for half in 0..2 {
        for digit in 0..4 {
            for i in 0..32 {
                let q = (block[32 * half + i] >> (2 * digit)) & 3;
                out[128 * half + 32 * digit + i] = d * f32::from(q as i8 - 1);
            }
        }
    }
}
