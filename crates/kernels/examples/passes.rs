//! Measures kernels that are bound by memory: `cargo run --release -p kernels --example passes [filter]`.
//!
//! Bytes are those that must move: each operand once, written ones twice where they were read before.

use kernels::activation::{self, Kind as Act};
use kernels::adamw::{AdamWStep, adamw_step, adamw_step_fused};
use kernels::mat::{Mat, Update};
use kernels::norm::{self, Kind};
use kernels::rope::{Pairs, Place};
use kernels::*;
use std::hint::black_box;
use std::time::Instant;

fn time(name: &str, bytes: usize, mut f: impl FnMut()) {
    if let Some(filter) = std::env::args().nth(1)
        && !name.contains(&filter)
    {
        return;
    }
    f();
    let mut best = f64::INFINITY;
    let start = Instant::now();
    let mut n = 0;
    while n < 5 || start.elapsed().as_secs_f64() < 0.3 {
        let t = Instant::now();
        f();
        best = best.min(t.elapsed().as_secs_f64());
        n += 1;
    }
    println!("{name:30} {:9.3} ms {:8.1} GB/s", best * 1e3, bytes as f64 / best * 1e-9);
}

fn main() {
    let (t, d, inner) = (1024, 576, 1536);
    let mut rng = rng::Rng::keyed(1, &[]);
    let mut numbers = |n: usize| -> Vec<f32> { (0..n).map(|_| rng.normal()).collect() };
    let narrow = |x: &[f32]| {
        let mut y = vec![0u16; x.len()];
        elementwise::cast(&mut y, x);
        y
    };
    let (x, w, mut dx) = (numbers(t * d), numbers(d), numbers(t * d));
    let (mut y, mut y16) = (x.clone(), narrow(&x));
    let dy16 = narrow(&x);
    time("cast f32 to bf16", 6 * t * d, || elementwise::cast(&mut y16, &x));
    time("norm f32", 8 * t * d, || norm::forward(&mut y, &x, &w, None, Kind::Rms, 1e-5));
    time("norm bf16", 6 * t * d, || norm::forward(&mut y16, &x, &w, None, Kind::Rms, 1e-5));
    time("norm backward f32", 16 * t * d, || norm::backward(&mut dx, &y, &x, &w, Kind::Rms, 1e-5, Update::Add));
    time("norm backward bf16", 14 * t * d, || norm::backward(&mut dx, &dy16, &x, &w, Kind::Rms, 1e-5, Update::Add));

    let (gate, up, mut z) = (numbers(t * inner), numbers(t * inner), numbers(t * inner));
    let (gate16, up16, mut z16, dz16) = (narrow(&gate), narrow(&up), narrow(&gate), narrow(&up));
    let (mut fused, mut fused16) = (numbers(t * 2 * inner), vec![0u16; t * 2 * inner]);
    let (g, u) = (Mat::new(&gate, t, inner), Mat::new(&up, t, inner));
    let (g16, u16) = (Mat::new(&gate16, t, inner), Mat::new(&up16, t, inner));
    time("glu f32", 12 * t * inner, || activation::forward(&mut z, g, Some(u), Act::Silu));
    time("glu bf16", 6 * t * inner, || activation::forward(&mut z16, g16, Some(u16), Act::Silu));
    time("glu backward f32", 20 * t * inner, || {
        activation::glu_backward_fused(&mut fused, 2 * inner, 0, inner, &z, g, u, Act::Silu, Update::Set)
    });
    time("glu backward bf16", 10 * t * inner, || {
        activation::glu_backward_fused(&mut fused16, 2 * inner, 0, inner, &dz16, g16, u16, Act::Silu, Update::Set)
    });

    let (cos, sin) = (numbers(t * 32), numbers(t * 32));
    let angles = |t: usize| (&cos[t * 32..][..32], &sin[t * 32..][..32]);
    let (rows, heads) = (Place { base: 0, token: d, head: 64 }, Place { base: 0, token: 64, head: t * 64 });
    let size = (t, 9, 64);
    time("rotate f32", 8 * t * d, || rope::rotate(&mut y, heads, &x, rows, size, Some(&angles), Pairs::Half, 0.125));
    time("rotate bf16", 4 * t * d, || rope::rotate(&mut y16, heads, &dy16, rows, size, Some(&angles), Pairs::Half, 0.125));
    time("rotate back to bf16", 6 * t * d, || {
        rope::rotate_back(&mut y16, rows, &x, heads, (1, 0), size, Some(&angles), Pairs::Half, 0.125, Update::Set)
    });
    let keys: Vec<u64> = (0..t as u64).collect();
    time("dropout bf16", 4 * t * d, || dropout::apply(&mut y16, &dy16, d, &keys, 0.1, Update::Set));
    black_box((&y, &y16, &dx, &z, &z16, &fused, &fused16));

    let n = 32 << 20;
    let (mut value, mut grad, mut m, mut v) = (numbers(n), numbers(n), vec![0.0; n], vec![0.0; n]);
    let mut copy = vec![0u16; n];
    let step = AdamWStep {
        beta1: 0.9,
        one_minus_beta1: 0.1,
        beta2: 0.999,
        one_minus_beta2: 0.001,
        keep: 0.99,
        step_size: 1e-3,
        inv_sqrt_correction2: 1.1,
        eps: 1e-8,
    };
    time("sum of squares", 4 * n, || {
        black_box(reduce::sum_of_squares(&grad));
    });
    time("adamw: scale, step, zero", 44 * n, || {
        elementwise::scale(&mut grad, 0.5);
        adamw_step(&mut value, &grad, &mut m, &mut v, &step);
        elementwise::fill(&mut grad, 0.0);
    });
    time("adamw fused", 32 * n, || adamw_step_fused(&mut value, &mut grad, &mut m, &mut v, &step, 0.5, None));
    time("adamw fused with a copy", 36 * n, || adamw_step_fused(&mut value, &mut grad, &mut m, &mut v, &step, 0.5, Some(&mut copy)));
}
