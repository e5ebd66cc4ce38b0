//! Activation functions, plain and gated, forward and backward.

use crate::cpu::{Isa, isa};
use crate::element::Element;
use crate::mat::{Mat, MatMut, Update};
use crate::par::{self, Shared};
use crate::simd::{Simd, dispatch, erf, exp, load_n, sigmoid, store_n, tanh};

/// An element-wise non-linearity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `x·σ(x)`.
    Silu,
    /// `x·Φ(x)`.
    Gelu,
    /// The tanh approximation of GELU.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
}

const SQRT_2_OVER_PI: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;

/// `f(x)`.
#[inline(always)]
unsafe fn value<S: Simd>(x: S::V, kind: Kind) -> S::V {
    // SAFETY: the caller vouches for the instruction set.
    unsafe { value_and_slope::<S>(x, kind).0 }
}

/// `(f(x), f'(x))`; what the caller does not use is not computed.
#[inline(always)]
unsafe fn value_and_slope<S: Simd>(x: S::V, kind: Kind) -> (S::V, S::V) {
    unsafe {
        let (one, half) = (S::splat(1.0), S::splat(0.5));
        match kind {
            Kind::Silu => {
                let s = sigmoid::<S>(x);
                let f = S::mul(x, s);
                // s + x·s·(1 - s)
                (f, S::fma(f, S::sub(one, s), s))
            }
            Kind::Gelu => {
                let phi = S::mul(half, S::add(one, erf::<S>(S::mul(x, S::splat(std::f32::consts::FRAC_1_SQRT_2)))));
                let density = S::mul(S::splat(0.398_942_3), exp::<S>(S::mul(S::mul(x, x), S::splat(-0.5))));
                (S::mul(x, phi), S::fma(x, density, phi))
            }
            Kind::GeluTanh => {
                let z = S::mul(x, x);
                let u = S::mul(S::mul(x, S::splat(SQRT_2_OVER_PI)), S::fma(z, S::splat(CUBIC), one));
                let t = tanh::<S>(u);
                let du = S::mul(S::splat(SQRT_2_OVER_PI), S::fma(z, S::splat(3.0 * CUBIC), one));
                let h = S::mul(half, S::add(one, t));
                let sech2 = S::sub(one, S::mul(t, t));
                (S::mul(x, h), S::fma(S::mul(S::mul(half, x), sech2), du, h))
            }
            Kind::Relu => {
                let zero = S::splat(0.0);
                (S::max(zero, x), S::select_lt(zero, x, one, zero))
            }
        }
    }
}

macro_rules! by_kind {
    ($kind:expr, $f:ident) => {
        match $kind {
            Kind::Silu => $f!(Kind::Silu),
            Kind::Gelu => $f!(Kind::Gelu),
            Kind::GeluTanh => $f!(Kind::GeluTanh),
            Kind::Relu => $f!(Kind::Relu),
        }
    };
}

#[inline(always)]
unsafe fn forward_body<S: Simd, Y: Element, X: Element>(y: &mut [Y], x: &[X], up: Option<&[X]>, kind: Kind) {
    unsafe {
        macro_rules! run {
            ($kind:expr) => {
                for i in (0..y.len()).step_by(S::LANES) {
                    let n = y.len() - i;
                    let mut v = value::<S>(load_n::<S>(x.as_ptr().add(i), n), $kind);
                    if let Some(up) = up {
                        v = S::mul(v, load_n::<S>(up.as_ptr().add(i), n));
                    }
                    store_n::<S>(y.as_mut_ptr().add(i), v, n);
                }
            };
        }
        by_kind!(kind, run)
    }
}
dispatch!(fn forward_isa<Y, X> = forward_body(y: &mut [Y], x: &[X], up: Option<&[X]>, kind: Kind));

#[inline(always)]
unsafe fn backward_body<S: Simd, G: Element, D: Element, X: Element>(dx: &mut [G], dy: &[D], x: &[X], kind: Kind, update: Update) {
    unsafe {
        macro_rules! run {
            ($kind:expr) => {
                for i in (0..dx.len()).step_by(S::LANES) {
                    let n = dx.len() - i;
                    let slope = value_and_slope::<S>(load_n::<S>(x.as_ptr().add(i), n), $kind).1;
                    put::<S>(dx, i, S::mul(load_n::<S>(dy.as_ptr().add(i), n), slope), update);
                }
            };
        }
        by_kind!(kind, run)
    }
}
dispatch!(fn backward_isa<G, D, X> = backward_body(dx: &mut [G], dy: &[D], x: &[X], kind: Kind, update: Update));

#[inline(always)]
unsafe fn glu_backward_body<S: Simd, G: Element, D: Element, X: Element>(
    dgate: &mut [G],
    dup: &mut [G],
    dy: &[D],
    gate: &[X],
    up: &[X],
    kind: Kind,
    update: Update,
) {
    unsafe {
        macro_rules! run {
            ($kind:expr) => {
                for i in (0..dgate.len()).step_by(S::LANES) {
                    let n = dgate.len() - i;
                    let d = load_n::<S>(dy.as_ptr().add(i), n);
                    let (f, slope) = value_and_slope::<S>(load_n::<S>(gate.as_ptr().add(i), n), $kind);
                    let u = load_n::<S>(up.as_ptr().add(i), n);
                    put::<S>(dgate, i, S::mul(S::mul(d, u), slope), update);
                    put::<S>(dup, i, S::mul(d, f), update);
                }
            };
        }
        by_kind!(kind, run)
    }
}
dispatch!(fn glu_backward_isa<G, D, X> = glu_backward_body(
    dgate: &mut [G], dup: &mut [G], dy: &[D], gate: &[X], up: &[X], kind: Kind, update: Update));

/// Sets or adds one vector (or the rest of the row) at element `i`.
#[inline(always)]
unsafe fn put<S: Simd>(row: &mut [impl Element], i: usize, v: S::V, update: Update) {
    unsafe {
        let n = row.len() - i;
        let p = row.as_mut_ptr().add(i);
        let v = if update == Update::Add { S::add(v, load_n::<S>(p, n)) } else { v };
        store_n::<S>(p, v, n);
    }
}

/// `y = f(x)`, or `f(x) ∘ up`; `y` is dense.
pub fn forward<Y: Element, X: Element>(y: &mut [Y], x: Mat<X>, up: Option<Mat<X>>, kind: Kind) {
    let (rows, cols) = (x.rows, x.cols);
    assert_eq!(y.len(), rows * cols, "activation: shapes disagree");
    assert!(up.is_none_or(|up| (up.rows, up.cols) == (rows, cols)), "activation: gate and up disagree");
    let out = Shared::new(y);
    par::ranges(rows, par::rows_per_task(cols), |first, count| {
        for i in first..first + count {
            // SAFETY: rows are disjoint and in bounds.
            let y = unsafe { out.slice(i * cols, cols) };
            forward_isa(isa(), y, x.row(i), up.map(|up| up.row(i)), kind);
        }
    });
}

/// The gradient of `f(x)` to `x`; `dy` and `dx` are dense.
pub fn backward<G: Element, D: Element, X: Element>(dx: &mut [G], dy: &[D], x: Mat<X>, kind: Kind, update: Update) {
    let (rows, cols) = (x.rows, x.cols);
    assert!(dx.len() == rows * cols && dy.len() == dx.len(), "activation: shapes disagree");
    let out = Shared::new(dx);
    par::ranges(rows, par::rows_per_task(cols), |first, count| {
        for i in first..first + count {
            // SAFETY: rows are disjoint and in bounds.
            let dx = unsafe { out.slice(i * cols, cols) };
            backward_isa(isa(), dx, &dy[i * cols..][..cols], x.row(i), kind, update);
        }
    });
}

/// The gradients of `f(gate) ∘ up`; `dy` is dense, `dgate` and `dup` share one shape and may lie in one buffer only
/// through [`MatMut`]s of disjoint memory.
pub fn glu_backward<G: Element, D: Element, X: Element>(
    dgate: MatMut<G>,
    dup: MatMut<G>,
    dy: &[D],
    gate: Mat<X>,
    up: Mat<X>,
    kind: Kind,
    update: Update,
) {
    let (rows, cols) = (gate.rows, gate.cols);
    let shape = (rows, cols);
    assert!((dgate.rows, dgate.cols) == shape && (dup.rows, dup.cols) == shape, "glu: shapes disagree");
    assert!((up.rows, up.cols) == shape && dy.len() == rows * cols, "glu: shapes disagree");
    let (gate_stride, up_stride) = (dgate.stride, dup.stride);
    let (out_gate, out_up) = (Shared::new(dgate.data), Shared::new(dup.data));
    par::ranges(rows, par::rows_per_task(cols), |first, count| {
        for i in first..first + count {
            // SAFETY: rows are disjoint and in bounds (`MatMut` checked).
            let (dgate, dup) = unsafe { (out_gate.slice(i * gate_stride, cols), out_up.slice(i * up_stride, cols)) };
            glu_backward_isa(isa(), dgate, dup, &dy[i * cols..][..cols], gate.row(i), up.row(i), kind, update);
        }
    });
}

/// The gradients of `f(gate) ∘ up` where `gate` and `up` are column ranges of one buffer: `[gate | up]` columns
/// starting at `gate_col` and `up_col` of rows `stride` apart.
pub fn glu_backward_fused<G: Element, D: Element, X: Element>(
    d: &mut [G],
    stride: usize,
    gate_col: usize,
    up_col: usize,
    dy: &[D],
    gate: Mat<X>,
    up: Mat<X>,
    kind: Kind,
    update: Update,
) {
    let (rows, cols) = (gate.rows, gate.cols);
    assert!((up.rows, up.cols) == (rows, cols) && dy.len() == rows * cols, "glu: shapes disagree");
    let end = gate_col.max(up_col) + cols;
    assert!(end <= stride && gate_col.abs_diff(up_col) >= cols, "glu: column ranges overlap or leave the row");
    assert!(d.len() >= rows * stride, "glu: shapes disagree");
    let out = Shared::new(d);
    par::ranges(rows, par::rows_per_task(cols), |first, count| {
        for i in first..first + count {
            let at = i * stride;
            // SAFETY: rows are disjoint, in bounds, and the two column ranges do not overlap: all asserted above.
            let (dgate, dup) = unsafe { (out.slice(at + gate_col, cols), out.slice(at + up_col, cols)) };
            glu_backward_isa(isa(), dgate, dup, &dy[i * cols..][..cols], gate.row(i), up.row(i), kind, update);
        }
    });
}

/// Runs the row kernels on a given path, for tests.
#[doc(hidden)]
pub fn paths<E: Element>(isa: Isa, y: &mut [E], dgate: &mut [E], dup: &mut [E], dy: &[E], x: &[E], up: &[E], k: Kind) {
    forward_isa(isa, y, x, Some(up), k);
    glu_backward_isa(isa, dgate, dup, dy, x, up, k, Update::Set);
}
