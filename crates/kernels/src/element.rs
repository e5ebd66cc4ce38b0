//! What an array may hold: f32, or bf16 as its bits in a `u16`. Arithmetic is in f32 either way.
//!
//! Narrowing rounds to nearest, ties to even, in integer arithmetic on every path: the same bits everywhere, for
//! denormals too (they are kept); values beyond the largest bf16 become infinite, and a NaN stays a NaN (quiet, with
//! its sign and upper payload). A processor's own conversion instruction gives the same for all normal numbers and
//! differs for denormals, which it takes for zeros; it is used only inside matrix products.

use crate::pool::Plain;
use sealed::Lanes;

pub(crate) mod sealed {
    use crate::simd::Simd;

    /// Loads and stores that widen and narrow.
    ///
    /// # Safety
    /// As for [`Simd`].
    #[allow(clippy::missing_safety_doc)] // stated once, for the trait
    pub trait Lanes: Copy {
        unsafe fn load<S: Simd>(p: *const Self) -> S::V;
        unsafe fn store<S: Simd>(p: *mut Self, v: S::V);
        /// Two vectors, one after the other.
        unsafe fn store_two<S: Simd>(p: *mut Self, a: S::V, b: S::V);
        unsafe fn load_partial<S: Simd>(p: *const Self, n: usize) -> S::V;
        unsafe fn store_partial<S: Simd>(p: *mut Self, v: S::V, n: usize);
    }

    impl Lanes for f32 {
        #[inline(always)]
        unsafe fn load<S: Simd>(p: *const f32) -> S::V {
            unsafe { S::load(p) }
        }
        #[inline(always)]
        unsafe fn store<S: Simd>(p: *mut f32, v: S::V) {
            unsafe { S::store(p, v) }
        }
        #[inline(always)]
        unsafe fn store_two<S: Simd>(p: *mut f32, a: S::V, b: S::V) {
            unsafe {
                S::store(p, a);
                S::store(p.add(S::LANES), b);
            }
        }
        #[inline(always)]
        unsafe fn load_partial<S: Simd>(p: *const f32, n: usize) -> S::V {
            unsafe { S::load_partial(p, n) }
        }
        #[inline(always)]
        unsafe fn store_partial<S: Simd>(p: *mut f32, v: S::V, n: usize) {
            unsafe { S::store_partial(p, v, n) }
        }
    }

    impl Lanes for u16 {
        #[inline(always)]
        unsafe fn load<S: Simd>(p: *const u16) -> S::V {
            unsafe { S::load_bf16(p) }
        }
        #[inline(always)]
        unsafe fn store<S: Simd>(p: *mut u16, v: S::V) {
            unsafe { S::store_bf16(p, v) }
        }
        #[inline(always)]
        unsafe fn store_two<S: Simd>(p: *mut u16, a: S::V, b: S::V) {
            unsafe { S::store_bf16_two(p, a, b) }
        }
        #[inline(always)]
        unsafe fn load_partial<S: Simd>(p: *const u16, n: usize) -> S::V {
            let mut all = [0u16; 16];
            unsafe {
                std::ptr::copy_nonoverlapping(p, all.as_mut_ptr(), n);
                S::load_bf16(all.as_ptr())
            }
        }
        #[inline(always)]
        unsafe fn store_partial<S: Simd>(p: *mut u16, v: S::V, n: usize) {
            let mut all = [0u16; 16];
            unsafe {
                S::store_bf16(all.as_mut_ptr(), v);
                std::ptr::copy_nonoverlapping(all.as_ptr(), p, n);
            }
        }
    }
}

/// An element of an array: `f32`, or `u16` for the bits of a bf16.
pub trait Element: Plain + Lanes + PartialEq + std::fmt::Debug {
    /// Zero.
    const ZERO: Self;
    /// The number, exactly.
    fn to_f32(self) -> f32;
    /// The nearest number, ties to even.
    fn from_f32(x: f32) -> Self;
}

impl Element for f32 {
    const ZERO: f32 = 0.0;
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }
    #[inline(always)]
    fn from_f32(x: f32) -> f32 {
        x
    }
}

impl Element for u16 {
    const ZERO: u16 = 0;
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from_bits((self as u32) << 16)
    }
    #[inline(always)]
    fn from_f32(x: f32) -> u16 {
        let bits = x.to_bits();
        let rounded = bits.wrapping_add(0x7FFF + (bits >> 16 & 1)) >> 16;
        (if x.is_nan() { bits >> 16 | 0x40 } else { rounded }) as u16
    }
}
