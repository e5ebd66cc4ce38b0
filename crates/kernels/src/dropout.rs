//! Dropout masks that are functions of a token's key and a column, applied on the fly and never stored.

use crate::cpu::isa;
use crate::element::Element;
use crate::mat::Update;
use crate::par::{self, Shared};
use crate::rng::philox4x32;
use crate::simd::{Simd, dispatch};

/// Columns whose random words are drawn together.
const BLOCK: usize = 64;

#[inline(always)]
unsafe fn apply_body<S: Simd, Y: Element, X: Element>(y: &mut [Y], x: &[X], key: u64, threshold: u32, scale: f32, update: Update) {
    let key = [key as u32, (key >> 32) as u32];
    let mut words = [[0u32; 4]; BLOCK / 4];
    for (b, (y, x)) in y.chunks_mut(BLOCK).zip(x.chunks(BLOCK)).enumerate() {
        for (i, w) in words.iter_mut().enumerate() {
            *w = philox4x32([(b * (BLOCK / 4) + i) as u32, 0, 0, 0x6472_6F70], key);
        }
        let words = words.as_flattened();
        for i in 0..y.len() {
            let kept = if words[i] >= threshold { scale * x[i].to_f32() } else { 0.0 };
            y[i] = Y::from_f32(if update == Update::Add { y[i].to_f32() + kept } else { kept });
        }
    }
}
dispatch!(fn apply_isa<Y, X> =
    apply_body(y: &mut [Y], x: &[X], key: u64, threshold: u32, scale: f32, update: Update));

/// `y = mask ∘ x / (1 − p)` (or `+=`) for rows of `cols` elements; row `i` has the mask that belongs to `keys[i]`.
///
/// The same call on a gradient is the backward pass.
///
/// # Panics
/// Unless `0 ≤ p < 1`.
pub fn apply<Y: Element, X: Element>(y: &mut [Y], x: &[X], cols: usize, keys: &[u64], p: f32, update: Update) {
    assert!((0.0..1.0).contains(&p), "dropout with probability {p}");
    assert!(y.len() == x.len() && y.len() == keys.len() * cols, "dropout: shapes disagree");
    let threshold = (p as f64 * 4_294_967_296.0) as u32;
    let scale = 1.0 / (1.0 - p);
    let out = Shared::new(y);
    par::ranges(keys.len(), par::rows_per_task(4 * cols), |first, count| {
        for i in first..first + count {
            // SAFETY: rows are disjoint and in bounds.
            let y = unsafe { out.slice(i * cols, cols) };
            apply_isa(isa(), y, &x[i * cols..][..cols], keys[i], threshold, scale, update);
        }
    });
}
