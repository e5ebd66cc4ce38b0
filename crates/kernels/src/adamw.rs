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

/// The step's scalars in all lanes.
#[derive(Clone, Copy)]
struct Factors<S: Simd> {
    beta1: S::V,
    one_minus_beta1: S::V,
    beta2: S::V,
    one_minus_beta2: S::V,
    keep: S::V,
    size: S::V,
    root: S::V,
    eps: S::V,
}

impl<S: Simd> Factors<S> {
    #[inline(always)]
    unsafe fn new(s: &AdamWStep) -> Self {
        unsafe {
            Factors {
                beta1: S::splat(s.beta1),
                one_minus_beta1: S::splat(s.one_minus_beta1),
                beta2: S::splat(s.beta2),
                one_minus_beta2: S::splat(s.one_minus_beta2),
                keep: S::splat(s.keep),
                size: S::splat(-s.step_size),
                root: S::splat(s.inv_sqrt_correction2),
                eps: S::splat(s.eps),
            }
        }
    }

    /// One vector of at most `n` parameters with gradient `g`.
    #[inline(always)]
    unsafe fn update(&self, g: S::V, (pw, pm, pv): (*mut f32, *mut f32, *mut f32), n: usize) {
        unsafe {
            let first = S::fma(self.one_minus_beta1, g, S::mul(self.beta1, load_n::<S>(pm, n)));
            let second = S::fma(S::mul(self.one_minus_beta2, g), g, S::mul(self.beta2, load_n::<S>(pv, n)));
            let denominator = S::fma(S::sqrt(second), self.root, self.eps);
            let w = S::fma(self.size, S::div(first, denominator), S::mul(self.keep, load_n::<S>(pw, n)));
            store_n::<S>(pm, first, n);
            store_n::<S>(pv, second, n);
            store_n::<S>(pw, w, n);
        }
    }
}

#[inline(always)]
unsafe fn step_body<S: Simd>(value: &mut [f32], grad: &[f32], m: &mut [f32], v: &mut [f32], s: &AdamWStep) {
    unsafe {
        let factors = Factors::<S>::new(s);
        for i in (0..value.len()).step_by(S::LANES) {
            let n = value.len() - i;
            let state = (value.as_mut_ptr().add(i), m.as_mut_ptr().add(i), v.as_mut_ptr().add(i));
            factors.update(load_n::<S>(grad.as_ptr().add(i), n), state, n);
        }
    }
}
dispatch!(fn step_isa = step_body(value: &mut [f32], grad: &[f32], m: &mut [f32], v: &mut [f32], s: &AdamWStep));

#[inline(always)]
unsafe fn fused_body<S: Simd>(value: &mut [f32], grad: &mut [f32], m: &mut [f32], v: &mut [f32], s: &AdamWStep, scale: f32) {
    unsafe {
        let factors = Factors::<S>::new(s);
        let (scale, zero) = (S::splat(scale), S::splat(0.0));
        for i in (0..value.len()).step_by(S::LANES) {
            let n = value.len() - i;
            let state = (value.as_mut_ptr().add(i), m.as_mut_ptr().add(i), v.as_mut_ptr().add(i));
            let pg = grad.as_mut_ptr().add(i);
            factors.update(S::mul(load_n::<S>(pg, n), scale), state, n);
            store_n::<S>(pg, zero, n);
        }
    }
}
dispatch!(fn fused_isa = fused_body(
    value: &mut [f32], grad: &mut [f32], m: &mut [f32], v: &mut [f32], s: &AdamWStep, scale: f32));

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

/// [`adamw_step`] with `grad_scale · grad`, which leaves zeros in `grad`: one pass over memory (32 bytes a parameter) instead of
/// three. The same bits as scaling first.
pub fn adamw_step_fused(value: &mut [f32], grad: &mut [f32], m: &mut [f32], v: &mut [f32], s: &AdamWStep, grad_scale: f32) {
    adamw_step_fused_on(isa(), value, grad, m, v, s, grad_scale);
}

/// [`adamw_step_fused`] on a given path, for tests.
#[doc(hidden)]
pub fn adamw_step_fused_on(isa: Isa, value: &mut [f32], grad: &mut [f32], m: &mut [f32], v: &mut [f32], s: &AdamWStep, grad_scale: f32) {
    let n = value.len();
    assert!(grad.len() == n && m.len() == n && v.len() == n, "adamw: lengths disagree");
    let (value, grad, m, v) = (Shared::new(value), Shared::new(grad), Shared::new(m), Shared::new(v));
    par::ranges(n, GRAIN, |first, count| {
        // SAFETY: ranges are disjoint and in bounds.
        let (value, grad, m, v) =
            unsafe { (value.slice(first, count), grad.slice(first, count), m.slice(first, count), v.slice(first, count)) };
        fused_isa(isa, value, grad, m, v, s, grad_scale);
    });
}
