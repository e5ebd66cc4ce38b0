//! One AdamW update of a parameter (Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2).

use crate::cpu::{Isa, isa};
use crate::par::{self, GRAIN, Shared};
use crate::simd::{Simd, dispatch, load_n, store_n};

/// The scalars of one step, worked out in f64 by the caller.
#[derive(Clone, Copy, Debug)]
pub struct AdamWStep {
    /// Decay rate of the first moment.
    pub beta1: f32,
    /// `1 - beta1`.
    pub one_minus_beta1: f32,
    /// Decay rate of the second moment.
    pub beta2: f32,
    /// `1 - beta2`.
    pub one_minus_beta2: f32,
    /// `1 - lr * weight_decay`: what decoupled decay leaves of the value.
    pub keep: f32,
    /// `lr / (1 - beta1^t)`.
    pub step_size: f32,
    /// `1 / sqrt(1 - beta2^t)`.
    pub inv_sqrt_correction2: f32,
    /// Added to the root.
    pub eps: f32,
}

#[inline(always)]
unsafe fn step_body<S: Simd>(value: &mut [f32], grad: &[f32], m: &mut [f32], v: &mut [f32], s: &AdamWStep) {
    unsafe {
        let (b1, c1) = (S::splat(s.beta1), S::splat(s.one_minus_beta1));
        let (b2, c2) = (S::splat(s.beta2), S::splat(s.one_minus_beta2));
        let (keep, size) = (S::splat(s.keep), S::splat(-s.step_size));
        let (root, eps) = (S::splat(s.inv_sqrt_correction2), S::splat(s.eps));
        for i in (0..value.len()).step_by(S::LANES) {
            let n = value.len() - i;
            let (pv, pm, pw) = (v.as_mut_ptr().add(i), m.as_mut_ptr().add(i), value.as_mut_ptr().add(i));
            let g = load_n::<S>(grad.as_ptr().add(i), n);
            let first = S::fma(c1, g, S::mul(b1, load_n::<S>(pm, n)));
            let second = S::fma(S::mul(c2, g), g, S::mul(b2, load_n::<S>(pv, n)));
            let denominator = S::fma(S::sqrt(second), root, eps);
            let w = S::fma(size, S::div(first, denominator), S::mul(keep, load_n::<S>(pw, n)));
            store_n::<S>(pm, first, n);
            store_n::<S>(pv, second, n);
            store_n::<S>(pw, w, n);
        }
    }
}
dispatch!(fn step_isa = step_body(value: &mut [f32], grad: &[f32], m: &mut [f32], v: &mut [f32], s: &AdamWStep));

/// Updates `value`, `m` and `v` from `grad`.
pub fn adamw_step(value: &mut [f32], grad: &[f32], m: &mut [f32], v: &mut [f32], s: &AdamWStep) {
    adamw_step_on(isa(), value, grad, m, v, s);
}

/// [`adamw_step`] on a given path, for tests.
#[doc(hidden)]
pub fn adamw_step_on(isa: Isa, value: &mut [f32], grad: &[f32], m: &mut [f32], v: &mut [f32], s: &AdamWStep) {
    let n = value.len();
    assert!(grad.len() == n && m.len() == n && v.len() == n, "adamw: lengths disagree");
    let (value, m, v) = (Shared::new(value), Shared::new(m), Shared::new(v));
    par::ranges(n, GRAIN, |first, count| {
        // SAFETY: ranges are disjoint and in bounds.
        let (value, m, v) = unsafe { (value.slice(first, count), m.slice(first, count), v.slice(first, count)) };
        step_isa(isa, value, &grad[first..][..count], m, v, s);
    });
}
