//! Measures attention: `cargo run --release -p kernels --example attention [filter]`.
//!
//! Heads as in SmolLM2-135M. Operations are counted as the visible half of the scores needs them: two products
//! forward, five backward.

use kernels::attention::{self, Heads, Shape, Span};
use kernels::element::Element;
use std::hint::black_box;
use std::time::Instant;

fn time(name: &str, flop: f64, mut f: impl FnMut()) {
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
    println!("{name:30} {:9.3} ms {:8.1} GFLOP/s", best * 1e3, flop / best * 1e-9);
}

fn main() {
    let (heads, kv_heads, dim) = (9, 3, 64);
    for (count, len) in [(16usize, 64usize), (4, 256), (2, 1024), (1, 256), (1, 4096)] {
        let tokens = count * len;
        let shape = Shape { tokens, heads, kv_heads, dim, causal: true, window: usize::MAX };
        let spans: Vec<Span> =
            (0..count).map(|i| Span { start: i * len, len, past: 0, key_base: i * len * dim, value_base: i * len * dim }).collect();
        let mut rng = kernels::rng::Rng::keyed(1, &[len as u64]);
        let mut numbers = |n: usize, scale: f32| -> Vec<f32> { (0..n).map(|_| rng.normal() * scale).collect() };
        let q = numbers(heads * tokens * dim, 0.125);
        let (k, v) = (numbers(kv_heads * tokens * dim, 1.0), numbers(kv_heads * tokens * dim, 1.0));
        let dout = numbers(q.len(), 1.0);
        let narrow = |x: &[f32]| -> Vec<u16> { x.iter().map(|&v| u16::from_f32(v)).collect() };
        let product = 2.0 * (heads * dim * count) as f64 * (len * (len + 1) / 2) as f64;
        let parts = attention::backward_parts(&shape, len);
        let (mut out, mut lse, mut dq) = (vec![0.0; q.len()], vec![0.0; heads * tokens], vec![0.0; q.len()]);
        let (mut dk, mut dv) = (vec![0.0; parts * k.len()], vec![0.0; parts * k.len()]);
        let (kh, vh) = (Heads { data: &k[..], token: dim, head: tokens * dim }, Heads { data: &v[..], token: dim, head: tokens * dim });
        time(&format!("f32 forward [{count} x {len}]"), 2.0 * product, || {
            attention::forward(&mut out, Some(&mut lse), &q, kh, vh, &spans, &shape)
        });
        time(&format!("f32 backward [{count} x {len}]"), 5.0 * product, || {
            attention::backward((&mut dq, &mut dk, &mut dv), parts, &dout, &out, &lse, &q, kh, vh, &spans, &shape)
        });
        let (q, k, v, dout) = (narrow(&q), narrow(&k), narrow(&v), narrow(&dout));
        let mut out = narrow(&out);
        let parts = attention::bf16::backward_parts(&spans, &shape);
        let (mut dk, mut dv) = (vec![0.0; parts * k.len()], vec![0.0; parts * k.len()]);
        let kh = Heads { data: &k[..], token: dim, head: tokens * dim };
        let vh = Heads { data: &v[..], token: dim, head: tokens * dim };
        time(&format!("bf16 forward [{count} x {len}]"), 2.0 * product, || {
            attention::bf16::forward(&mut out, Some(&mut lse), &q, kh, vh, &spans, &shape)
        });
        time(&format!("bf16 backward [{count} x {len}]"), 5.0 * product, || {
            attention::bf16::backward((&mut dq, &mut dk, &mut dv), parts, &dout, &out, &lse, &q, kh, vh, &spans, &shape)
        });
        black_box((&out, &dq, &dk, &dv));
    }
}
