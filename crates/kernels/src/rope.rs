//! Rotary position embeddings and the change of layout that goes with them.
//!
//! Activations are `[token, head·dim]`; attention wants each head's rows together, or the row of a cache. One pass
//! rotates, scales and moves.

use crate::mat::Update;
use crate::par::{self, Shared};

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

/// `dst = scale · R(src)` for `tokens × heads` heads of `dim` elements; without angles only scaled and moved.
/// `pairs` tells what `angles` rotates; elements beyond the rotary dimensions pass unrotated.
pub fn rotate(
    dst: &mut [f32],
    to: Place,
    src: &[f32],
    from: Place,
    (tokens, heads, dim): (usize, usize, usize),
    angles: Option<Angles>,
    pairs: Pairs,
    scale: f32,
) {
    assert!(dst.len() >= to.end(tokens, heads, dim), "rotate: destination too short");
    assert!(to.disjoint(tokens, heads, dim), "rotate: destination overlaps itself");
    let out = Shared::new(dst);
    par::ranges(tokens, par::rows_per_task(heads * dim), |first, count| {
        for t in first..first + count {
            let angles = angles.map(|f| f(t));
            for h in 0..heads {
                let x = &src[from.at(t, h)..][..dim];
                // SAFETY: heads are disjoint and in bounds, asserted above.
                let y = unsafe { out.slice(to.at(t, h), dim) };
                match angles {
                    None => y.iter_mut().zip(x).for_each(|(y, x)| *y = scale * x),
                    Some((cos, sin)) => rotate_head(y, x, cos, sin, pairs, scale, false),
                }
            }
        }
    });
}

/// The transpose of [`rotate`], summed over `parts` copies of the source `part_stride` apart:
/// `dst = scale · R⁻¹(Σ src)` (or `+=`). Part 0 of the source
/// is overwritten with the sum.
pub fn rotate_back(
    dst: &mut [f32],
    to: Place,
    src: &mut [f32],
    from: Place,
    (parts, part_stride): (usize, usize),
    (tokens, heads, dim): (usize, usize, usize),
    angles: Option<Angles>,
    pairs: Pairs,
    scale: f32,
    update: Update,
) {
    assert!(dim <= MAX_ROTARY, "rotate_back: heads of {dim} elements");
    assert!(dst.len() >= to.end(tokens, heads, dim), "rotate_back: destination too short");
    assert!(to.disjoint(tokens, heads, dim), "rotate_back: destination overlaps itself");
    assert!(src.len() >= from.end(tokens, heads, dim) + (parts - 1) * part_stride, "rotate_back: source too short");
    assert!(from.disjoint(tokens, heads, dim), "rotate_back: source overlaps itself");
    let (out, src) = (Shared::new(dst), Shared::new(src));
    par::ranges(tokens, par::rows_per_task(heads * dim), |first, count| {
        for t in first..first + count {
            let angles = angles.map(|f| f(t));
            for h in 0..heads {
                // SAFETY: heads are disjoint and in bounds, asserted above; other parts are only read, and by the
                // task that owns this token and head.
                let x = unsafe { src.slice(from.at(t, h), dim) };
                for p in 1..parts {
                    let part = unsafe { src.slice(from.at(t, h) + p * part_stride, dim) };
                    x.iter_mut().zip(part).for_each(|(x, p)| *x += *p);
                }
                // SAFETY: as above.
                let y = unsafe { out.slice(to.at(t, h), dim) };
                match (angles, update) {
                    (None, Update::Set) => y.iter_mut().zip(x).for_each(|(y, x)| *y = scale * *x),
                    (None, Update::Add) => y.iter_mut().zip(x).for_each(|(y, x)| *y += scale * *x),
                    (Some((cos, sin)), Update::Set) => rotate_head(y, x, cos, sin, pairs, scale, true),
                    (Some((cos, sin)), Update::Add) => {
                        let mut rotated = [0.0f32; MAX_ROTARY];
                        let rotated = &mut rotated[..dim];
                        rotate_head(rotated, x, cos, sin, pairs, scale, true);
                        y.iter_mut().zip(rotated).for_each(|(y, r)| *y += *r);
                    }
                }
            }
        }
    });
}

/// Widest head that attention takes.
pub const MAX_ROTARY: usize = 256;

#[inline]
fn rotate_head(y: &mut [f32], x: &[f32], cos: &[f32], sin: &[f32], pairs: Pairs, scale: f32, back: bool) {
    let half = cos.len();
    let sign = if back { -scale } else { scale };
    match pairs {
        Pairs::Half => {
            let (y0, rest) = y.split_at_mut(half);
            let (y1, y2) = rest.split_at_mut(half);
            let (x0, rest) = x.split_at(half);
            let (x1, x2) = rest.split_at(half);
            for i in 0..half {
                let (c, s) = (cos[i] * scale, sin[i] * sign);
                y0[i] = x0[i] * c - x1[i] * s;
                y1[i] = x1[i] * c + x0[i] * s;
            }
            y2.iter_mut().zip(x2).for_each(|(y, x)| *y = scale * x);
        }
        Pairs::Interleaved => {
            for i in 0..half {
                let (c, s) = (cos[i] * scale, sin[i] * sign);
                let (a, b) = (x[2 * i], x[2 * i + 1]);
                y[2 * i] = a * c - b * s;
                y[2 * i + 1] = b * c + a * s;
            }
            y[2 * half..].iter_mut().zip(&x[2 * half..]).for_each(|(y, x)| *y = scale * x);
        }
    }
}
