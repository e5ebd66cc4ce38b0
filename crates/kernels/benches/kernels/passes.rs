//! Passes over activations and parameters. Bytes are those that must move; buffers of a few megabytes stay in L3, so that
//! fractions of memory's rate above one are no mistake.

use crate::record::{Bound, Record, bits, numbers};
use kernels::activation::{self, Kind as Act};
use kernels::adamw::{AdamWStep, adamw_step_fused};
use kernels::element::Element;
use kernels::mat::{Mat, MatMut, Update};
use kernels::norm::{self, Kind};
use kernels::rope::{Pairs, Place, rotate};
use kernels::{elementwise, softmax};

const TOKENS: usize = 1024;
const WIDTH: usize = 576;
const HIDDEN: usize = 1536;

/// All of them.
pub fn run(r: &mut Record) {
    activations::<f32>(r, "f32", |x| x.to_vec());
    activations::<u16>(r, "bf16", bits);
    rows(r);
    logits(r);
    parameters(r);
}

fn activations<T: Element>(r: &mut Record, name: &str, made: impl Fn(&[f32]) -> Vec<T>) {
    let size = size_of::<T>();
    let n = TOKENS * HIDDEN;
    let (gate, up, dy) = (made(&numbers(n)), made(&numbers(n)), made(&numbers(n)));
    let (mut y, mut dgate, mut dup) = (vec![T::ZERO; n], vec![T::ZERO; n], vec![T::ZERO; n]);
    let (g, u) = (Mat::new(&gate[..], TOKENS, HIDDEN), Mat::new(&up[..], TOKENS, HIDDEN));
    r.bench(&format!("glu {name}"), Bound::Memory, (3 * n * size) as f64, || activation::forward(&mut y, g, Some(u), Act::Silu));
    r.bench(&format!("glu backward {name}"), Bound::Memory, (5 * n * size) as f64, || {
        let (dg, du) = (MatMut::new(&mut dgate, TOKENS, HIDDEN), MatMut::new(&mut dup, TOKENS, HIDDEN));
        activation::glu_backward(dg, du, &dy, g, u, Act::Silu, Update::Set)
    });
    let (tokens, heads, dim) = (TOKENS, 9, 64);
    let x = made(&numbers(tokens * heads * dim));
    let mut turned = vec![T::ZERO; x.len()];
    let (cos, sin) = (numbers(dim / 2), numbers(dim / 2));
    let angles = |_: usize| (&cos[..], &sin[..]);
    let from = Place { base: 0, token: heads * dim, head: dim };
    let to = Place { base: 0, token: dim, head: tokens * dim };
    r.bench(&format!("rope and layout {name}"), Bound::Memory, (2 * x.len() * size) as f64, || {
        rotate(&mut turned, to, &x, from, (tokens, heads, dim), Some(&angles), Pairs::Half, 0.125)
    });
}

fn rows(r: &mut Record) {
    let n = TOKENS * WIDTH;
    let (x, w, dy) = (numbers(n), numbers(WIDTH), numbers(n));
    let dy16 = bits(&dy);
    let (mut y, mut y16, mut dx) = (vec![0.0; n], vec![0u16; n], vec![0.0; n]);
    r.bench("norm f32", Bound::Memory, (8 * n) as f64, || norm::forward(&mut y, &x, &w, None, Kind::Rms, 1e-5));
    r.bench("norm f32 to bf16", Bound::Memory, (6 * n) as f64, || norm::forward(&mut y16, &x, &w, None, Kind::Rms, 1e-5));
    r.bench("norm backward f32", Bound::Memory, (16 * n) as f64, || norm::backward(&mut dx, &dy, &x, &w, Kind::Rms, 1e-5, Update::Add));
    r.bench("norm backward bf16", Bound::Memory, (14 * n) as f64, || norm::backward(&mut dx, &dy16, &x, &w, Kind::Rms, 1e-5, Update::Add));
    r.bench("add f32", Bound::Memory, (12 * n) as f64, || elementwise::add(&mut y, &x, &dy));
    r.bench("cast f32 to bf16", Bound::Memory, (6 * n) as f64, || elementwise::cast(&mut y16, &x));
}

fn logits(r: &mut Record) {
    let (rows, cols) = (64, 49152);
    let mut x = numbers(rows * cols);
    let (mut lse, scale) = (vec![0.0; rows], vec![1.0; rows]);
    r.bench("log-sum-exp f32", Bound::Memory, (4 * x.len()) as f64, || softmax::log_sum_exp_rows(&mut lse, &x, cols));
    let large = vec![1e3; rows];
    // Its own results become tiny inputs, which cost what others do.
    r.bench("softmax f32", Bound::Memory, (8 * rows * cols) as f64, || {
        softmax::scaled_softmax_rows(&mut x, &large, &scale, cols);
    });
}

fn parameters(r: &mut Record) {
    let n = 16 << 20;
    let (mut value, mut grad, mut m, mut v) = (numbers(n), numbers(n), vec![0.0; n], vec![0.0; n]);
    let s = AdamWStep {
        beta1: 0.9,
        one_minus_beta1: 0.1,
        beta2: 0.999,
        one_minus_beta2: 0.001,
        keep: 1.0,
        step_size: 1e-9,
        inv_sqrt_correction2: 1.0,
        eps: 1e-8,
    };
    r.bench("adamw", Bound::Memory, (32 * n) as f64, || adamw_step_fused(&mut value, &mut grad, &mut m, &mut v, &s, 1.0));
}
