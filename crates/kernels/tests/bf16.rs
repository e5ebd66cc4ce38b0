//! Kernels on bf16 against the same definitions in f64 as those on f32, within bounds that follow from the rounding
//! (a bf16 is within 2⁻⁹ of the number that it stands for), on every path that this machine has.

mod common;

use common::*;
use kernels::activation::Kind as Act;
use kernels::attention::{self, Heads, Shape, Span};
use kernels::cpu::{Bf16Path, Isa};
use kernels::element::Element;
use kernels::mat::{Mat, MatMut, Update};
use kernels::norm::Kind;
use kernels::rope::{Pairs, Place};
use kernels::*;

/// One rounding to bf16, relative, in the worst case.
const ROUNDING: f64 = 1.0 / 256.0;

fn narrow(x: &[f32]) -> Vec<u16> {
    x.iter().map(|&v| u16::from_f32(v)).collect()
}

fn wide(x: &[u16]) -> Vec<f32> {
    x.iter().map(|&v| v.to_f32()).collect()
}

/// Normally distributed numbers that are bf16, in both forms.
fn both(seed: u64, n: usize) -> (Vec<u16>, Vec<f32>) {
    let half = narrow(&numbers(seed, n));
    let full = wide(&half);
    (half, full)
}

#[test]
fn rounding_is_to_nearest_even_on_every_path() {
    // Every upper half with every interesting lower half.
    let mut x = Vec::new();
    for upper in 0..=0xFFFFu32 {
        for lower in [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF] {
            x.push(f32::from_bits(upper << 16 | lower));
        }
    }
    let expected: Vec<u16> = x
        .iter()
        .map(|&v| {
            let (down, up) = (v.to_bits() >> 16, (v.to_bits() >> 16) + 1);
            if v.is_nan() {
                return (down | 0x40) as u16;
            }
            // Distances in units of the lower half; the next number after the largest is infinity.
            let rest = v.to_bits() & 0xFFFF;
            (if rest > 0x8000 || (rest == 0x8000 && down % 2 == 1) { up } else { down }) as u16
        })
        .collect();
    assert_eq!(narrow(&x), expected);
    for isa in Isa::available() {
        for chunk in [5, 37, x.len()] {
            for (x, expected) in x.chunks(chunk).zip(expected.chunks(chunk)).step_by(if chunk == 5 { 97 } else { 1 }) {
                let mut y = vec![0xAAAA; x.len()];
                elementwise::cast_on(isa, &mut y, x);
                assert_eq!(y, expected, "{}", isa.name());
                let mut back = vec![0.0; y.len()];
                elementwise::cast_on(isa, &mut back, &y);
                assert!(back.iter().zip(&y).all(|(b, y)| b.to_bits() == (*y as u32) << 16));
            }
        }
    }
}

#[test]
fn elementwise_loops() {
    for isa in Isa::available() {
        for n in [0, 1, 2, 7, 8, 9, 15, 16, 17, 33, 200] {
            let ((a, af), (b, bf)) = (both(1, n), both(2, n));
            let mut y = vec![0xFFFF; n];
            elementwise::paths(isa, &mut y, &a, &b, 0.5);
            let expected: Vec<f64> = af.iter().zip(&bf).map(|(&a, &b)| 0.5 * (2.0 * a as f64 + b as f64)).collect();
            close(&wide(&y), &expected, 2.0 * ROUNDING, isa.name());
        }
    }
    let (x, xf) = both(3, 100_003);
    let sum = same_on_all_threads(|| {
        let mut y = xf.clone();
        elementwise::accumulate(&mut y, &x);
        let mut z = vec![0u16; y.len()];
        elementwise::cast(&mut z, &y);
        elementwise::add(&mut y, &z, &x);
        y
    });
    // Twice a bf16 is a bf16, and three times one an f32: nothing is rounded.
    assert!(sum.iter().zip(&xf).all(|(s, x)| *s == 3.0 * x));
}

#[test]
fn rows_and_columns() {
    let (rows, cols, stride) = (301, 130, 137);
    let (x, xf) = both(1, rows * stride);
    let view = || Mat::strided(&x[3..], rows - 1, cols, stride);
    let sums = same_on_all_threads(|| {
        let mut sums = vec![0.0; cols];
        elementwise::add_column_sums(&mut sums, view());
        sums
    });
    let column = |j: usize| (0..rows - 1).map(|i| xf[3 + i * stride + j] as f64).sum::<f64>();
    close(&sums, &(0..cols).map(column).collect::<Vec<_>>(), 1e-5, "column sums");

    let mut y = vec![0.0f32; (rows - 1) * cols];
    elementwise::assign(MatMut::new(&mut y, rows - 1, cols), view(), Update::Set);
    elementwise::assign(MatMut::new(&mut y, rows - 1, cols), view(), Update::Add);
    assert!((0..y.len()).all(|i| y[i] == 2.0 * xf[3 + i / cols * stride + i % cols]));
    let mut half = vec![0u16; y.len()];
    elementwise::broadcast_row(MatMut::new(&mut half, rows - 1, cols), &sums);
    elementwise::add_row(MatMut::new(&mut half, rows - 1, cols), &sums);
    let expected: Vec<f64> = (0..half.len()).map(|i| 2.0 * sums[i % cols] as f64).collect();
    close(&wide(&half), &expected, ROUNDING, "rows");

    let ids = [5u32, 0, 5, 7];
    let mut picked = vec![0.0f32; 4 * cols];
    elementwise::gather_rows(&mut picked, &x, cols, &ids);
    assert_eq!(picked[2 * cols..3 * cols], xf[5 * cols..6 * cols]);
    let mut back = vec![0.0f32; 8 * cols];
    elementwise::scatter_add_rows(&mut back, &x[..4 * cols], cols, &ids);
    assert!((0..cols).all(|j| back[5 * cols + j] == xf[j] + xf[2 * cols + j]));
}

#[test]
fn norms() {
    for isa in Isa::available() {
        for kind in [Kind::Rms, Kind::Layer] {
            for (rows, cols) in [(0, 5), (1, 2), (3, 7), (2, 16), (5, 67), (2, 576), (1, 131)] {
                let (x, w) = (numbers(1, rows * cols), numbers(3, cols));
                let (dy, dyf) = both(2, rows * cols);
                let (mut y, mut dx) = (vec![0xFFFF; x.len()], vec![f32::NAN; x.len()]);
                norm::paths(isa, &mut y, &mut dx, &dy, &x, &w, kind, 1e-3);
                close(&wide(&y), &reference::norm_forward(&x, &w, kind, 1e-3), ROUNDING, "norm");
                // Sums are f32: no bound is wider than on f32.
                close(&dx, &reference::norm_backward(&dyf, &x, &w, kind, 1e-3), 2e-5, "norm backward");
                let mut dw = vec![0.0; cols];
                norm::backward_weight(&mut dw, &dy, &x, kind, 1e-3, &mut vec![0.0; 2 * rows]);
                close(&dw, &reference::norm_backward_weight(&dyf, &x, cols, kind, 1e-3), 1e-5, "norm weight");
            }
        }
    }
}

#[test]
fn activations() {
    for isa in Isa::available() {
        for kind in [Act::Silu, Act::Gelu, Act::GeluTanh, Act::Relu] {
            for n in [0, 1, 7, 8, 17, 33, 200] {
                let ((x, xf), (up, upf), (dy, dyf)) = (both(1, n), both(2, n), both(3, n));
                let (mut y, mut dg, mut du) = (vec![0xFFFF; n], vec![0xFFFF; n], vec![0xFFFF; n]);
                activation::paths(isa, &mut y, &mut dg, &mut du, &dy, &x, &up, kind);
                let f: Vec<f64> = xf.iter().map(|&x| reference::activation(x as f64, kind)).collect();
                let expect = |g: &dyn Fn(usize) -> f64| (0..n).map(g).collect::<Vec<f64>>();
                close(&wide(&y), &expect(&|i| f[i] * upf[i] as f64), ROUNDING, "value");
                close(&wide(&du), &expect(&|i| f[i] * dyf[i] as f64), ROUNDING, "up");
                let slope = |i: usize| reference::activation_slope(xf[i] as f64, kind);
                close(&wide(&dg), &expect(&|i| slope(i) * upf[i] as f64 * dyf[i] as f64), ROUNDING, "gate");
            }
        }
    }
    // Gate and up as columns of one buffer, as a fused projection leaves them.
    let (rows, cols) = (70, 50);
    let ((x, xf), (dy, dyf)) = (both(4, rows * 2 * cols), both(5, rows * cols));
    let (gate, up) = (Mat::strided(&x, rows, cols, 2 * cols), Mat::strided(&x[cols..], rows, cols, 2 * cols));
    let got = same_on_all_threads(|| {
        let mut d = vec![0xFFFFu16; rows * 2 * cols];
        activation::glu_backward_fused(&mut d, 2 * cols, 0, cols, &dy, gate, up, Act::Silu, Update::Set);
        wide(&d)
    });
    let expected: Vec<f64> = (0..got.len())
        .map(|i| {
            let (row, col) = (i / (2 * cols), i % (2 * cols));
            let (g, u) = (xf[row * 2 * cols + col % cols] as f64, xf[row * 2 * cols + cols + col % cols] as f64);
            let d = dyf[row * cols + col % cols] as f64;
            if col < cols { d * u * reference::activation_slope(g, Act::Silu) } else { d * reference::activation(g, Act::Silu) }
        })
        .collect();
    close(&got, &expected, ROUNDING, "fused");
}

#[test]
fn rotations_are_those_of_f32_rounded() {
    let (tokens, heads) = (5, 3);
    for (dim, half) in [(10, 4), (64, 32), (7, 3)] {
        let (x, xf) = both(1, tokens * heads * dim);
        let table: Vec<(Vec<f32>, Vec<f32>)> = (0..tokens)
            .map(|t| (0..half).map(|i| ((t + 1) as f32 * 0.3 / (i + 1) as f32).sin_cos()).map(|(s, c)| (c, s)).unzip())
            .collect();
        let angles = |t: usize| (&table[t].0[..], &table[t].1[..]);
        let rows = Place { base: 0, token: heads * dim, head: dim };
        let head_major = Place { base: 0, token: dim, head: tokens * dim };
        let size = (tokens, heads, dim);
        for pairs in [Pairs::Half, Pairs::Interleaved] {
            let (mut y, mut yf) = (vec![0xFFFF; x.len()], vec![f32::NAN; x.len()]);
            rope::rotate(&mut y, head_major, &x, rows, size, Some(&angles), pairs, 2.0);
            rope::rotate(&mut yf, head_major, &xf, rows, size, Some(&angles), pairs, 2.0);
            assert_eq!(y, narrow(&yf), "rotated");
            let parts: Vec<f32> = yf.iter().chain(&xf).copied().collect();
            let (mut back, mut back_f) = (x.clone(), xf.clone());
            rope::rotate_back(&mut back, rows, &parts, head_major, (2, x.len()), size, Some(&angles), pairs, 0.5, Update::Add);
            rope::rotate_back(&mut back_f, rows, &parts, head_major, (2, x.len()), size, Some(&angles), pairs, 0.5, Update::Add);
            assert_eq!(back, narrow(&back_f), "rotated back");
        }
    }
}

#[test]
fn dropout_masks_are_those_of_f32() {
    let (rows, cols) = (50, 130);
    let (x, xf) = both(1, rows * cols);
    let keys: Vec<u64> = (0..rows as u64).map(|i| rng::fold(7, &[i])).collect();
    let (mut y, mut yf) = (vec![0xFFFF; x.len()], vec![f32::NAN; x.len()]);
    dropout::apply(&mut y, &x, cols, &keys, 0.25, Update::Set);
    dropout::apply(&mut yf, &xf, cols, &keys, 0.25, Update::Set);
    assert_eq!(y, narrow(&yf));
}

#[test]
fn attention_against_the_definition() {
    // Query heads, key heads, width, (past, length) of each span, causal, window.
    type Case = (usize, usize, usize, &'static [(usize, usize)], bool, usize);
    let cases: [Case; 14] = [
        (1, 1, 1, &[(0, 1)], true, usize::MAX),
        (2, 1, 5, &[(0, 0), (0, 3), (0, 1)], true, usize::MAX),
        (9, 3, 64, &[(0, 33), (0, 7)], true, usize::MAX),
        (9, 3, 64, &[(0, 300)], true, usize::MAX),
        (4, 4, 17, &[(0, 70)], true, usize::MAX),
        (3, 1, 16, &[(0, 200), (0, 5)], true, usize::MAX),
        (2, 2, 24, &[(0, 150)], true, 20),
        (2, 1, 8, &[(0, 90), (0, 66)], false, usize::MAX),
        (2, 1, 256, &[(0, 65)], true, 2),
        (2, 1, 255, &[(0, 70)], true, usize::MAX),
        (6, 2, 10, &[(5, 37), (64, 1), (0, 9), (70, 0), (131, 66)], true, usize::MAX),
        (2, 1, 80, &[(90, 66), (3, 4)], false, usize::MAX),
        (6, 2, 32, &[(0, 70), (70, 30), (100, 101), (10, 2)], true, usize::MAX),
        (3, 3, 7, &[(100, 70), (1, 80)], true, 33),
    ];
    for (heads, kv_heads, dim, lengths, causal, window) in cases {
        let (spans, tokens) = spans_with_past(lengths, dim);
        let rows = attention::key_rows(&spans);
        let shape = Shape { tokens, heads, kv_heads, dim, causal, window };
        let (dout, dout_f) = both(2, heads * tokens * dim);
        let q = narrow(&numbers(1, heads * tokens * dim).iter().map(|v| v / (dim as f32).sqrt()).collect::<Vec<_>>());
        let q_f = wide(&q);
        let ((k, k_f), (v, v_f)) = (both(3, kv_heads * rows * dim), both(4, kv_heads * rows * dim));
        let expected = reference::attention(&q_f, &k_f, &v_f, &spans, &shape);
        let (dq_e, dk_e, dv_e) = reference::attention_backward(&dout_f, &q_f, &k_f, &v_f, &spans, &shape);
        let kh = Heads { data: &k[..], token: dim, head: rows * dim };
        let vh = Heads { data: &v[..], token: dim, head: rows * dim };
        for path in Bf16Path::available() {
            // More than needed: what is not used must be zero.
            let parts = 5;
            {
                let got = same_on_all_threads(|| {
                    let (mut out, mut lse) = (vec![0xFFFF; q.len()], vec![f32::NAN; heads * tokens]);
                    attention::bf16::forward_on(path, &mut out, Some(&mut lse), &q, kh, vh, &spans, &shape);
                    let size = k.len();
                    let mut dq = vec![f32::NAN; q.len()];
                    let (mut dk, mut dv) = (vec![f32::NAN; parts * size], vec![f32::NAN; parts * size]);
                    let grads = (&mut dq[..], &mut dk[..], &mut dv[..]);
                    attention::bf16::backward_on(path, grads, parts, &dout, &out, &lse, &q, kh, vh, &spans, &shape);
                    let summed = |x: &[f32]| (0..size).map(|i| x.iter().skip(i).step_by(size).sum()).collect::<Vec<f32>>();
                    [wide(&out), dq, summed(&dk), summed(&dv)].concat()
                });
                let (n, size) = (q.len(), k.len());
                let what = format!("{} {heads}/{kv_heads}x{dim} {lengths:?}", path.name());
                close(&got[..n], &expected, ROUNDING, &format!("{what} out"));
                // The output was rounded before it met its gradient, probabilities and score gradients before products.
                close(&got[n..2 * n], &dq_e, 2.0 * ROUNDING, &format!("{what} dq"));
                close(&got[2 * n..2 * n + size], &dk_e, 2.0 * ROUNDING, &format!("{what} dk"));
                close(&got[2 * n + size..], &dv_e, ROUNDING, &format!("{what} dv"));
            }
        }
    }
}

#[test]
fn attention_of_a_span_does_not_depend_on_its_neighbours_nor_on_the_cut_into_past_and_present() {
    let shapes = [(6, 2, 10, usize::MAX), (9, 3, 64, usize::MAX), (2, 1, 33, 40)];
    for (path, (heads, kv_heads, dim, window)) in Bf16Path::available().into_iter().flat_map(|path| shapes.map(|shape| (path, shape))) {
        let lengths = [37, 190, 4];
        let (all, tokens) = spans(&lengths, dim);
        let shape = Shape { tokens, heads, kv_heads, dim, causal: true, window };
        let (q, _) = both(1, heads * tokens * dim);
        let ((k, _), (v, _), (dout, _)) = (both(3, kv_heads * tokens * dim), both(4, kv_heads * tokens * dim), both(5, q.len()));
        let kh = Heads { data: &k[..], token: dim, head: tokens * dim };
        let vh = Heads { data: &v[..], token: dim, head: tokens * dim };
        let run = |q: &[u16], spans: &[Span], shape: &Shape| {
            let (mut out, mut lse) = (vec![0; shape.tokens * heads * dim], vec![0.0; shape.tokens * heads]);
            attention::bf16::forward_on(path, &mut out, Some(&mut lse), q, kh, vh, spans, shape);
            (out, lse)
        };
        let (packed, lse) = run(&q, &all, &shape);
        let backward = |dout: &[u16], out: &[u16], lse: &[f32], q: &[u16], spans: &[Span], shape: &Shape| {
            let parts = attention::bf16::backward_parts(spans, shape);
            let size = attention::key_rows(spans) * kv_heads * dim;
            let (mut dq, mut dk, mut dv) = (vec![0.0; q.len()], vec![0.0; parts * size], vec![0.0; parts * size]);
            attention::bf16::backward_on(path, (&mut dq, &mut dk, &mut dv), parts, dout, out, lse, q, kh, vh, spans, shape);
            let sum = |x: &[f32]| (0..size).map(|i| x[i..].iter().step_by(size).sum::<f32>()).collect::<Vec<_>>();
            (dq, sum(&dk), sum(&dv))
        };
        let (dq, dk, dv) = backward(&dout, &packed, &lse, &q, &all, &shape);
        let head_rows = |x: &[u16], s: &Span, from: usize, n: usize| -> Vec<u16> {
            (0..heads).flat_map(|h| &x[(h * tokens + s.start + from) * dim..][..n * dim]).copied().collect()
        };
        for s in &all {
            // Split the span in parts, some of a single query: each part's queries with everything before them as past.
            for (from, to) in [(0, s.len), (0, 1), (1, s.len.min(3)), (s.len.min(3), s.len), (s.len / 2, s.len / 2 + 1), (s.len - 1, s.len)]
            {
                let n = to - from;
                let part = head_rows(&q, s, from, n);
                let span = Span { start: 0, len: n, past: from, ..*s };
                let (alone, alone_lse) = run(&part, &[span], &Shape { tokens: n, ..shape });
                let expected = &packed[(s.start + from) * heads * dim..][..n * heads * dim];
                assert_eq!(alone, expected, "{} {s:?} {from}..{to}", path.name());
                if n < s.len {
                    continue;
                }
                let d = &dout[s.start * heads * dim..][..n * heads * dim];
                let alone = backward(d, &alone, &alone_lse, &part, &[span], &Shape { tokens: n, ..shape });
                let same = |got: &[f32], all: &[f32], heads: usize, what: &str| {
                    let expected = (0..heads).flat_map(|h| &all[(h * tokens + s.start) * dim..][..n * dim]);
                    assert!(got.iter().zip(expected).all(|(a, b)| a.to_bits() == b.to_bits()), "{} {what} of {s:?}", path.name());
                };
                same(&alone.0, &dq, heads, "dq");
                same(&alone.1, &dk, kv_heads, "dk");
                same(&alone.2, &dv, kv_heads, "dv");
            }
        }
    }
}
