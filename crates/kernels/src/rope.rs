//! Rotary position embeddings and the change of layout that goes with them.
//!
//! Activations are `[token, head·dim]`; attention wants each head's rows together, or the row of a cache. One pass
//! rotates, scales and moves.

use crate::cpu::isa;
use crate::element::Element;
use crate::mat::Update;
use crate::par::{self, Shared};
use crate::simd::{Simd, dispatch, load_n, store_n};

/// Cosines and sines of a token, one each per rotated pair.
pub type Angles<'a> = &'a (dyn Fn(usize) -> (&'a [f32], &'a [f32]) + Sync);

/// How the rotated pairs of a head lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairs {
    /// `(i, i + rotary/2)`.
    Half,
    /// `(2i, 2i + 1)`.
    Interleaved,
}

/// A place of heads: token `t`, head `h` begins at `base + t·token + h·head`.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// First element.
    pub base: usize,
    /// Distance of tokens.
    pub token: usize,
    /// Distance of heads.
    pub head: usize,
}

impl Place {
    fn at(&self, t: usize, h: usize) -> usize {
        self.base + t * self.token + h * self.head
    }

    /// One past the last element that `tokens × heads` heads of `dim` elements touch.
    fn end(&self, tokens: usize, heads: usize, dim: usize) -> usize {
        if tokens == 0 || heads == 0 { 0 } else { self.at(tokens - 1, heads - 1) + dim }
    }

    /// True if no two heads overlap.
    fn disjoint(&self, tokens: usize, heads: usize, dim: usize) -> bool {
        if tokens == 0 || heads == 0 {
            return true;
        }
        let (inner, outer, n) = if self.token <= self.head { (self.token, self.head, tokens) } else { (self.head, self.token, heads) };
        let inner_ok = n <= 1 || inner >= dim;
        let other = if self.token <= self.head { heads } else { tokens };
        inner_ok && (other <= 1 || outer >= n.saturating_sub(1) * inner + dim)
    }
}

/// One token's heads: where they come from and go to, and what happens to them on the way.
#[derive(Clone, Copy)]
struct Turn<'a> {
    heads: usize,
    dim: usize,
    /// Distances of the heads in destination and source.
    to_head: usize,
    from_head: usize,
    /// Number and distance of the source's copies, to be summed in order.
    parts: usize,
    part_stride: usize,
    angles: Option<(&'a [f32], &'a [f32])>,
    pairs: Pairs,
    /// Factor of everything, and of the sines (its negative turns back).
    scale: f32,
    sine_scale: f32,
    update: Update,
}

impl Turn<'_> {
    /// Sum of the source's copies, `n ≤ LANES` elements.
    #[inline(always)]
    unsafe fn load<S: Simd>(&self, x: *const impl Element, n: usize) -> S::V {
        unsafe {
            let mut sum = load_n::<S>(x, n);
            for p in 1..self.parts {
                sum = S::add(sum, load_n::<S>(x.add(p * self.part_stride), n));
            }
            sum
        }
    }

    #[inline(always)]
    unsafe fn load_one(&self, x: *const impl Element) -> f32 {
        unsafe { (1..self.parts).fold((*x).to_f32(), |sum, p| sum + (*x.add(p * self.part_stride)).to_f32()) }
    }

    #[inline(always)]
    unsafe fn put<S: Simd>(&self, y: *mut impl Element, v: S::V, n: usize) {
        unsafe {
            let v = if self.update == Update::Add { S::add(load_n::<S>(y, n), v) } else { v };
            store_n::<S>(y, v, n);
        }
    }

    #[inline(always)]
    unsafe fn put_one<Y: Element>(&self, y: *mut Y, v: f32) {
        unsafe { *y = Y::from_f32(if self.update == Update::Add { (*y).to_f32() + v } else { v }) }
    }
}

#[inline(always)]
unsafe fn turn_body<S: Simd, Y: Element, X: Element>(y: *mut Y, x: *const X, turn: Turn) {
    unsafe {
        let scale = S::splat(turn.scale);
        let sine_scale = S::splat(turn.sine_scale);
        for h in 0..turn.heads {
            let (y, x) = (y.add(h * turn.to_head), x.add(h * turn.from_head));
            let (cos, sin) = turn.angles.unwrap_or((&[], &[]));
            let half = cos.len();
            match turn.pairs {
                Pairs::Half => {
                    for i in (0..half).step_by(S::LANES) {
                        let n = half - i;
                        let c = S::mul(load_n::<S>(cos.as_ptr().add(i), n), scale);
                        let s = S::mul(load_n::<S>(sin.as_ptr().add(i), n), sine_scale);
                        let (a, b) = (turn.load::<S>(x.add(i), n), turn.load::<S>(x.add(half + i), n));
                        turn.put::<S>(y.add(i), S::sub(S::mul(a, c), S::mul(b, s)), n);
                        turn.put::<S>(y.add(half + i), S::add(S::mul(b, c), S::mul(a, s)), n);
                    }
                }
                Pairs::Interleaved => {
                    for i in 0..half {
                        let (c, s) = (cos[i] * turn.scale, sin[i] * turn.sine_scale);
                        let (a, b) = (turn.load_one(x.add(2 * i)), turn.load_one(x.add(2 * i + 1)));
                        turn.put_one(y.add(2 * i), a * c - b * s);
                        turn.put_one(y.add(2 * i + 1), b * c + a * s);
                    }
                }
            }
            for i in (2 * half..turn.dim).step_by(S::LANES) {
                let n = turn.dim - i;
                turn.put::<S>(y.add(i), S::mul(scale, turn.load::<S>(x.add(i), n)), n);
            }
        }
    }
}
dispatch!(fn turn_isa<Y, X> = turn_body(y: *mut Y, x: *const X, turn: Turn));

/// `dst = scale · R(src)` for `tokens × heads` heads of `dim` elements; without angles only scaled and moved.
/// `pairs` tells what `angles` rotates; elements beyond the rotary dimensions pass unrotated.
pub fn rotate<Y: Element, X: Element>(
    dst: &mut [Y],
    to: Place,
    src: &[X],
    from: Place,
    (tokens, heads, dim): (usize, usize, usize),
    angles: Option<Angles>,
    pairs: Pairs,
    scale: f32,
) {
    let factors = (scale, scale);
    turn_all(dst, to, src, from, (1, 0), (tokens, heads, dim), angles, pairs, factors, Update::Set);
}

/// The transpose of [`rotate`], summed over `parts` copies of the source `part_stride` apart:
/// `dst = scale · R⁻¹(Σ src)` (or `+=`).
pub fn rotate_back<Y: Element, X: Element>(
    dst: &mut [Y],
    to: Place,
    src: &[X],
    from: Place,
    (parts, part_stride): (usize, usize),
    (tokens, heads, dim): (usize, usize, usize),
    angles: Option<Angles>,
    pairs: Pairs,
    scale: f32,
    update: Update,
) {
    let factors = (scale, -scale);
    turn_all(dst, to, src, from, (parts, part_stride), (tokens, heads, dim), angles, pairs, factors, update);
}

fn turn_all<Y: Element, X: Element>(
    dst: &mut [Y],
    to: Place,
    src: &[X],
    from: Place,
    (parts, part_stride): (usize, usize),
    (tokens, heads, dim): (usize, usize, usize),
    angles: Option<Angles>,
    pairs: Pairs,
    (scale, sine_scale): (f32, f32),
    update: Update,
) {
    assert!(parts > 0, "rotate: no source");
    assert!(dst.len() >= to.end(tokens, heads, dim), "rotate: destination too short");
    assert!(to.disjoint(tokens, heads, dim), "rotate: destination overlaps itself");
    assert!(src.len() >= from.end(tokens, heads, dim) + (parts - 1) * part_stride, "rotate: source too short");
    if heads == 0 {
        return;
    }
    let out = Shared::new(dst);
    par::ranges(tokens, par::rows_per_task(heads * dim), |first, count| {
        for t in first..first + count {
            let angles = angles.map(|f| f(t));
            assert!(angles.is_none_or(|(cos, sin)| cos.len() == sin.len() && 2 * cos.len() <= dim), "rotate: too many angles");
            let (to_head, from_head) = (to.head, from.head);
            let turn = Turn { heads, dim, to_head, from_head, parts, part_stride, angles, pairs, scale, sine_scale, update };
            // SAFETY: heads are disjoint and in bounds, as are all copies of the source: asserted above.
            turn_isa(isa(), unsafe { out.ptr().add(to.at(t, 0)) }, unsafe { src.as_ptr().add(from.at(t, 0)) }, turn);
        }
    });
}

/// Widest head that attention takes.
pub const MAX_ROTARY: usize = 256;
