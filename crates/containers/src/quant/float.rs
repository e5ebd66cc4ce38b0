//! 16-bit floats, one value at a time, without branches so that the compiler vectorises loops over them on every CPU.

/// IEEE half to single, exact.
#[inline(always)]
pub fn f16_to_f32(h: u16) -> f32 {
    let sign = u32::from(h & 0x8000) << 16;
    let magnitude = u32::from(h & 0x7fff);
    // Normal numbers: move the fields, rebias the exponent by 127 - 15. Infinity and NaN: rebias once more, to 255.
    let top = if magnitude >= 0x7c00 { (2 * 112) << 23 } else { 112 << 23 };
    let normal = (magnitude << 13) + top;
    // Subnormal: m · 2⁻²⁴. In [½, 1) the last bit of a single weighs 2⁻²⁴, so place m there and take ½ away.
    let subnormal = (f32::from_bits(0x3f00_0000 + magnitude) - 0.5).to_bits();
    f32::from_bits(sign | if magnitude < 0x0400 { subnormal } else { normal })
}

/// bfloat16 to single, exact.
#[inline(always)]
pub fn bf16_to_f32(h: u16) -> f32 {
    f32::from_bits(u32::from(h) << 16)
}

/// Single to IEEE half, to nearest, ties to even; overflow gives infinity.
#[inline]
pub fn f32_to_f16(x: f32) -> u16 {
    half::f16::from_f32(x).to_bits()
}

/// Single to bfloat16, to nearest, ties to even; a NaN stays one.
#[inline(always)]
pub fn f32_to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() {
        return ((bits >> 16) | 0x0040) as u16; // quiet, so that dropping the low bits cannot make it an infinity
    }
    ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

/// The half at byte `at` of a block.
#[inline(always)]
pub(super) fn half_at(block: &[u8], at: usize) -> f32 {
    f16_to_f32(u16::from_le_bytes([block[at], block[at + 1]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_equals_the_half_crate() {
        for h in 0..=u16::MAX {
            let (ours, theirs) = (f16_to_f32(h), half::f16::from_bits(h).to_f32());
            assert!(ours.to_bits() == theirs.to_bits() || (ours.is_nan() && theirs.is_nan()), "{h:#06x}: {ours} {theirs}");
        }
    }

    #[test]
    fn bfloat_equals_the_half_crate() {
        // Every pattern of the upper half, with lower halves around the rounding borders.
        for high in 0..=u16::MAX {
            assert_eq!(bf16_to_f32(high).to_bits(), u32::from(high) << 16);
            for low in [0u32, 1, 0x7fff, 0x8000, 0x8001, 0xffff] {
                let x = f32::from_bits(u32::from(high) << 16 | low);
                let (ours, theirs) = (f32_to_bf16(x), half::bf16::from_f32(x));
                assert!(ours == theirs.to_bits() || (x.is_nan() && bf16_to_f32(ours).is_nan()), "{x}");
            }
        }
    }
}
