//! Every kernel against its slow version in f64, at odd sizes, on every path that this machine has; and the promise
//! that the number of threads changes no bit.

mod common;

use common::*;
use kernels::activation::Kind as Act;
use kernels::adamw::{AdamWStep, adamw_step_fused_on, adamw_step_on};
use kernels::attention::{Heads, Shape, Span};
use kernels::cpu::Isa;
use kernels::element::Element;
use kernels::mat::{Mat, MatMut, Update};
use kernels::norm::Kind;
use kernels::rng::Rng;
use kernels::rope::{Pairs, Place};
use kernels::*;
use proptest::prelude::*;

const SIZES: [usize; 12] = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 65, 200];

#[test]
fn elementwise_loops() {
    for isa in Isa::available() {
        for n in SIZES {
            let (a, b) = (numbers(1, n), numbers(2, n));
            let mut y = vec![f32::NAN; n];
            elementwise::paths(isa, &mut y, &a, &b, 0.3);
            let expected: Vec<f64> = a.iter().zip(&b).map(|(&a, &b)| 0.3 * (2.0 * a as f64 + b as f64)).collect();
            close(&y, &expected, 1e-6, isa.name());
        }
    }
    let big = numbers(3, 100_003);
    let sum = same_on_all_threads(|| {
        let mut y = vec![0.0; big.len()];
        elementwise::add(&mut y, &big, &big);
        elementwise::accumulate(&mut y, &big);
        elementwise::scale(&mut y, 0.5);
        let mut z = vec![1.0; big.len()];
        elementwise::copy(&mut z, &y);
        z
    });
    close(&sum, &big.iter().map(|&v| 1.5 * v as f64).collect::<Vec<_>>(), 1e-6, "sum");
}

#[test]
fn rows_and_columns() {
    let (rows, cols, stride) = (301, 130, 137);
    let x = numbers(1, rows * stride);
    let row = numbers(2, cols);
    let view = || Mat::strided(&x[3..], rows - 1, cols, stride);
    let got = same_on_all_threads(|| {
        let mut sums = row.clone();
        elementwise::add_column_sums(&mut sums, view());
        sums
    });
    let column = |j: usize| (0..rows - 1).map(|i| x[3 + i * stride + j] as f64).sum::<f64>();
    let expected: Vec<f64> = (0..cols).map(|j| row[j] as f64 + column(j)).collect();
    close(&got, &expected, 1e-5, "column sums");

    let mut y = vec![0.0; (rows - 1) * cols];
    elementwise::broadcast_row(MatMut::new(&mut y, rows - 1, cols), &row);
    elementwise::add_row(MatMut::new(&mut y, rows - 1, cols), &row);
    elementwise::assign(MatMut::new(&mut y, rows - 1, cols), view(), Update::Add);
    let expected: Vec<f64> = (0..y.len()).map(|i| 2.0 * row[i % cols] as f64 + x[3 + i / cols * stride + i % cols] as f64).collect();
    close(&y, &expected, 1e-6, "rows");

    let ids = [5u32, 0, 5, 7];
    let table = numbers(4, 8 * cols);
    let mut picked = vec![0.0; 4 * cols];
    elementwise::gather_rows(&mut picked, &table, cols, &ids);
    assert_eq!(picked[2 * cols..3 * cols], table[5 * cols..6 * cols]);
    let mut back = vec![0.0; 8 * cols];
    elementwise::scatter_add_rows(&mut back, &picked, cols, &ids);
    assert_eq!(back[5 * cols], 2.0 * table[5 * cols]);
    assert!(back[cols..5 * cols].iter().all(|&v| v == 0.0));

    let mut t = vec![1.0; 6];
    elementwise::transpose_small(&mut t, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2, 3, 10.0, Update::Add);
    assert_eq!(t, [11.0, 41.0, 21.0, 51.0, 31.0, 61.0]);
}

#[test]
fn norms() {
    for isa in Isa::available() {
        for kind in [Kind::Rms, Kind::Layer] {
            for (rows, cols) in [(0, 5), (1, 1), (3, 7), (2, 16), (5, 67), (2, 576), (1, 131)] {
                let (x, dy, w) = (numbers(1, rows * cols), numbers(2, rows * cols), numbers(3, cols));
                let (mut y, mut dx) = (vec![f32::NAN; x.len()], vec![f32::NAN; x.len()]);
                norm::paths(isa, &mut y, &mut dx, &dy, &x, &w, kind, 1e-3);
                close(&y, &reference::norm_forward(&x, &w, kind, 1e-3), 1e-5, "norm");
                close(&dx, &reference::norm_backward(&dy, &x, &w, kind, 1e-3), 2e-5, "norm backward");
            }
        }
    }
    let (rows, cols) = (150, 200);
    let (x, dy, w) = (numbers(1, rows * cols), numbers(2, rows * cols), numbers(3, cols));
    for kind in [Kind::Rms, Kind::Layer] {
        let got = same_on_all_threads(|| {
            let mut y = vec![0.0; x.len()];
            norm::forward(&mut y, &x, &w, Some(&w), kind, 1e-5);
            norm::backward(&mut y, &dy, &x, &w, kind, 1e-5, Update::Add);
            y
        });
        let forward = reference::norm_forward(&x, &w, kind, 1e-5);
        let backward = reference::norm_backward(&dy, &x, &w, kind, 1e-5);
        let expected: Vec<f64> = (0..got.len()).map(|i| forward[i] + w[i % cols] as f64 + backward[i]).collect();
        close(&got, &expected, 1e-5, "norm with bias, backward added");
        let dw = same_on_all_threads(|| {
            let mut dw = vec![0.0; cols];
            norm::backward_weight(&mut dw, &dy, &x, kind, 1e-5, &mut vec![0.0; 2 * rows]);
            dw
        });
        close(&dw, &reference::norm_backward_weight(&dy, &x, cols, kind, 1e-5), 1e-5, "norm weight");
    }
}

#[test]
fn activations() {
    for isa in Isa::available() {
        for kind in [Act::Silu, Act::Gelu, Act::GeluTanh, Act::Relu] {
            for n in SIZES {
                // From far left to far right, and dense around zero.
                let x: Vec<f32> = numbers(1, n).iter().enumerate().map(|(i, v)| v * [0.1, 1.0, 6.0, 30.0][i % 4]).collect();
                let (up, dy) = (numbers(2, n), numbers(3, n));
                let (mut y, mut dg, mut du) = (vec![f32::NAN; n], vec![f32::NAN; n], vec![f32::NAN; n]);
                activation::paths(isa, &mut y, &mut dg, &mut du, &dy, &x, &up, kind);
                let f: Vec<f64> = x.iter().map(|&x| reference::activation(x as f64, kind)).collect();
                let expect = |g: &dyn Fn(usize) -> f64| (0..n).map(g).collect::<Vec<f64>>();
                close(&y, &expect(&|i| f[i] * up[i] as f64), 1e-5, "value");
                close(&du, &expect(&|i| f[i] * dy[i] as f64), 1e-5, "up");
                let slope = |i: usize| reference::activation_slope(x[i] as f64, kind);
                close(&dg, &expect(&|i| slope(i) * up[i] as f64 * dy[i] as f64), 1e-5, "gate");
            }
        }
    }
}

#[test]
fn functions_are_accurate_point_by_point() {
    // Relative error of f(x) for single numbers, where a norm over many would hide one.
    for isa in Isa::available() {
        for i in -4000..4000 {
            let x = i as f32 * 0.004;
            for kind in [Act::Silu, Act::Gelu, Act::GeluTanh] {
                let (mut y, mut dg, mut du) = ([0.0], [0.0], [0.0]);
                activation::paths(isa, &mut y, &mut dg, &mut du, &[1.0], &[x], &[1.0], kind);
                let expected = reference::activation(x as f64, kind);
                let error = (y[0] as f64 - expected).abs();
                // The left tail of GELU is a difference of near equals: absolute there, relative elsewhere.
                assert!(error <= 4e-6 * expected.abs() + 1e-6, "{kind:?}({x}) = {} not {expected}", y[0]);
                let slope = reference::activation_slope(x as f64, kind);
                assert!((dg[0] as f64 - slope).abs() < 2e-6, "{kind:?}'({x}) = {} not {slope}", dg[0]);
            }
        }
    }
}

#[test]
fn a_nan_stays_a_nan() {
    for isa in Isa::available() {
        for kind in [Act::Silu, Act::Gelu, Act::GeluTanh, Act::Relu] {
            let (mut y, mut dg, mut du) = ([0.0], [0.0], [0.0]);
            activation::paths(isa, &mut y, &mut dg, &mut du, &[1.0], &[f32::NAN], &[1.0], kind);
            assert!(y[0].is_nan(), "{kind:?}");
        }
        for at in [0, 20, 32] {
            let mut row = numbers(1, 33);
            row[at] = f32::NAN;
            assert!(softmax::log_sum_exp_on(isa, &row).is_nan());
        }
    }
    assert!(!reduce::all_finite(&[0.0, f32::NAN, 1.0]) && !reduce::all_finite(&[f32::INFINITY; 40]));
    assert!(reduce::all_finite(&[f32::MAX; 40]) && reduce::all_finite(&[]));
}

#[test]
fn the_first_of_the_largest() {
    for isa in Isa::available() {
        for n in SIZES.into_iter().filter(|&n| n > 0) {
            let mut x = numbers(9, n);
            let want = (0..n).max_by(|&a, &b| x[a].total_cmp(&x[b])).unwrap();
            assert_eq!(softmax::arg_max_on(isa, &x), want, "{} of {n}", isa.name());
            // The last element, and then an equal one before it.
            x[n - 1] = 100.0;
            assert_eq!(softmax::arg_max_on(isa, &x), n - 1);
            x[n / 2] = 100.0;
            assert_eq!(softmax::arg_max_on(isa, &x), n / 2);
            assert_eq!(softmax::arg_max_on(isa, &vec![f32::NEG_INFINITY; n]), 0);
        }
    }
    assert_eq!(softmax::arg_max(&[]), 0);
}

#[test]
fn log_sum_exp_and_softmax() {
    for isa in Isa::available() {
        for n in [1, 2, 15, 16, 17, 31, 33, 1023, 1025, 49152] {
            for scale in [1.0, 50.0] {
                let x: Vec<f32> = numbers(1, n).iter().map(|v| v * scale + 500.0).collect();
                let lse = softmax::log_sum_exp_on(isa, &x);
                let expected = reference::log_sum_exp(&x);
                assert!((lse as f64 - expected).abs() < 1e-6 * expected, "{lse} {expected}");
                let mut p = x.clone();
                softmax::scaled_softmax_on(isa, &mut p, lse, 2.0);
                let expected: Vec<f64> = x.iter().map(|&v| 2.0 * (v as f64 - expected).exp()).collect();
                close(&p, &expected, 1e-4, "softmax");
                let mut rounded = vec![0u16; n];
                softmax::weighted_softmax_on(isa, &mut rounded, &x, lse, 2.0);
                assert!(rounded.iter().zip(&p).all(|(&r, &p)| r == u16::from_f32(p)), "{n} numbers, rounded");
            }
        }
        assert_eq!(softmax::log_sum_exp_on(isa, &[f32::NEG_INFINITY; 20]), f32::NEG_INFINITY);
    }
    let x = numbers(5, 7 * 5000);
    same_on_all_threads(|| {
        let (mut lse, mut p) = (vec![0.0; 7], x.clone());
        softmax::log_sum_exp_rows(&mut lse, &x, 5000);
        softmax::scaled_softmax_rows(&mut p, &lse, &[1.0; 7], 5000);
        let (mut sums, mut rounded) = (vec![0.0; 7], vec![0; 7 * 5000]);
        softmax::weighted_softmax_rows(&mut sums, &mut rounded, &x, &[1.0; 7], 5000);
        assert_eq!(sums, lse);
        assert!(rounded.iter().zip(&p).all(|(&r, &p)| r == u16::from_f32(p)));
        assert_eq!(softmax::weighted_softmax(x[5000], lse[1], 1.0), p[5000]);
        p
    });
}

#[test]
fn products_against_the_definition_and_on_all_threads() {
    for (m, n, k) in [(1, 1, 1), (1, 70, 33), (5, 3, 0), (0, 4, 4), (33, 65, 130), (130, 70, 600), (17, 200, 1)] {
        let (x, w, old) = (numbers(1, m * k), numbers(2, n * k), numbers(3, m * n));
        let mut expected = widen(&old);
        reference::matmul_nt(&mut expected, &x, &w, (m, n, k), 0.5, 1.0);
        let (xt, wt) = (reference::transpose(&x, m, k), reference::transpose(&w, n, k));
        let nt = same_on_all_threads(|| {
            let mut y = old.clone();
            matmul::matmul_nt(MatMut::new(&mut y, m, n), Mat::new(&x, m, k), Mat::new(&w, n, k), 0.5, Update::Add);
            y
        });
        let nn = same_on_all_threads(|| {
            let mut y = old.clone();
            matmul::matmul_nn(MatMut::new(&mut y, m, n), Mat::new(&x, m, k), Mat::new(&wt, k, n), 0.5, Update::Add);
            y
        });
        let tn = same_on_all_threads(|| {
            let mut y = old.clone();
            matmul::matmul_tn(MatMut::new(&mut y, m, n), Mat::new(&xt, k, m), Mat::new(&wt, k, n), 0.5, Update::Add);
            y
        });
        let dots = same_on_all_threads(|| {
            let mut y = old.clone();
            lowrank::dots(MatMut::new(&mut y, m, n), Mat::new(&x, m, k), Mat::new(&w, n, k), 0.5, Update::Add);
            y
        });
        for (got, name) in [(nt, "nt"), (nn, "nn"), (tn, "tn"), (dots, "dots")] {
            close(&got, &expected, 1e-5, &format!("{name} {m} {n} {k}"));
        }
    }
}

#[test]
fn overwriting_reads_nothing() {
    let (x, w) = (numbers(1, 40 * 9), numbers(2, 30 * 9));
    let mut expected = vec![0.0; 40 * 30];
    reference::matmul_nt(&mut expected, &x, &w, (40, 30, 9), 1.0, 0.0);
    let (xm, wm) = (Mat::new(&x, 40, 9), Mat::new(&w, 30, 9));
    for kernel in [matmul::matmul_nt, lowrank::dots] {
        let mut y = vec![f32::NAN; 40 * 30];
        kernel(MatMut::new(&mut y, 40, 30), xm, wm, 1.0, Update::Set);
        close(&y, &expected, 1e-5, "overwritten");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn short_sided_products(m in 0usize..40, n in 0usize..70, k in 0usize..70, pad in 0usize..3, seed in 0u64..1000) {
        for isa in Isa::available() {
            let (x, w) = (numbers(seed, m * k), numbers(seed + 1, n * k));
            let wt = reference::transpose(&w, n, k);
            let xt = reference::transpose(&x, m, k);
            let stride = n + pad;
            let old = numbers(seed + 2, m * stride);
            let dense: Vec<f64> = (0..m * n).map(|i| old[i / n.max(1) * stride + i % n.max(1)] as f64).collect();
            for update in [Update::Set, Update::Add] {
                let mut expected = dense.clone();
                let keep = if update == Update::Add { 1.0 } else { 0.0 };
                reference::matmul_nt(&mut expected, &x, &w, (m, n, k), 1.0, keep);
                let mut results = Vec::new();
                for which in 0..3 {
                    let mut y = old.clone();
                    let to = MatMut::strided(&mut y, m, n, stride);
                    match which {
                        0 => lowrank::dots_on(isa, to, Mat::new(&x, m, k), Mat::new(&w, n, k), 1.0, update),
                        1 => lowrank::expand_on(isa, to, Mat::new(&x, m, k), Mat::new(&wt, k, n), update),
                        _ => lowrank::outer_on(isa, to, Mat::new(&xt, k, m), Mat::new(&wt, k, n), update),
                    }
                    results.push(y);
                }
                for y in results {
                    let got: Vec<f32> = (0..m * n).map(|i| y[i / n * stride + i % n]).collect();
                    close(&got, &expected, 1e-5, isa.name());
                    // What lies between the rows is not touched.
                    for i in 0..m {
                        prop_assert_eq!(&y[i * stride + n..(i + 1) * stride], &old[i * stride + n..(i + 1) * stride]);
                    }
                }
            }
        }
    }
}

#[test]
fn attention_against_the_definition() {
    // Query heads, key heads, width, (past, length) of each span, causal, window.
    type Case = (usize, usize, usize, &'static [(usize, usize)], bool, usize);
    let cases: [Case; 13] = [
        (1, 1, 1, &[(0, 1)], true, usize::MAX),
        (2, 1, 5, &[(0, 0), (0, 3), (0, 1)], true, usize::MAX),
        (9, 3, 64, &[(0, 33), (0, 7)], true, usize::MAX),
        (4, 4, 17, &[(0, 70)], true, usize::MAX),
        (3, 1, 16, &[(0, 200), (0, 5)], true, usize::MAX),
        (2, 2, 24, &[(0, 150)], true, 20),
        (2, 1, 8, &[(0, 90), (0, 66)], false, usize::MAX),
        (2, 1, 256, &[(0, 65)], true, 2),
        (6, 2, 10, &[(5, 37), (64, 1), (0, 9), (70, 0), (131, 66)], true, usize::MAX),
        (2, 1, 8, &[(90, 66), (3, 4)], false, usize::MAX),
        (3, 3, 7, &[(100, 70), (1, 80)], true, 33),
        (4, 2, 6, &[(0, 70), (70, 65), (135, 3), (0, 5), (5, 1), (70, 20), (90, 30)], true, usize::MAX),
        (3, 1, 8, &[(0, 40), (40, 0), (40, 90), (9, 9)], true, 50),
    ];
    for (heads, kv_heads, dim, lengths, causal, window) in cases {
        let (spans, tokens) = spans_with_past(lengths, dim);
        let rows = attention::key_rows(&spans);
        let shape = Shape { tokens, heads, kv_heads, dim, causal, window };
        let (q, dout) = (numbers(1, heads * tokens * dim), numbers(2, heads * tokens * dim));
        let q: Vec<f32> = q.iter().map(|v| v * 0.5).collect();
        let (k, v) = (numbers(3, kv_heads * rows * dim), numbers(4, kv_heads * rows * dim));
        let expected = reference::attention(&q, &k, &v, &spans, &shape);
        let (dq_e, dk_e, dv_e) = reference::attention_backward(&dout, &q, &k, &v, &spans, &shape);
        let kh = Heads { data: &k, token: dim, head: rows * dim };
        let vh = Heads { data: &v, token: dim, head: rows * dim };
        for isa in Isa::available() {
            for parts in [1, 3] {
                let got = same_on_all_threads(|| {
                    let (mut out, mut lse) = (vec![f32::NAN; q.len()], vec![f32::NAN; heads * tokens]);
                    attention::forward_on(isa, &mut out, Some(&mut lse), &q, kh, vh, &spans, &shape);
                    let size = k.len();
                    let mut dq = vec![f32::NAN; q.len()];
                    let (mut dk, mut dv) = (vec![f32::NAN; parts * size], vec![f32::NAN; parts * size]);
                    let grads = (&mut dq[..], &mut dk[..], &mut dv[..]);
                    attention::backward_on(isa, grads, parts, &dout, &out, &lse, &q, kh, vh, &spans, &shape);
                    let summed = |x: &[f32]| (0..size).map(|i| x.iter().skip(i).step_by(size).sum()).collect::<Vec<f32>>();
                    [out, dq, summed(&dk), summed(&dv)].concat()
                });
                let (n, size) = (q.len(), k.len());
                let what = format!("{} {heads}/{kv_heads}x{dim} {lengths:?}", isa.name());
                close(&got[..n], &expected, 2e-5, &format!("{what} out"));
                close(&got[n..2 * n], &dq_e, 5e-5, &format!("{what} dq"));
                close(&got[2 * n..2 * n + size], &dk_e, 5e-5, &format!("{what} dk"));
                close(&got[2 * n + size..], &dv_e, 5e-5, &format!("{what} dv"));
            }
        }
    }
}

#[test]
fn attention_of_a_span_does_not_depend_on_its_neighbours_nor_on_the_cut_into_past_and_present() {
    let (heads, kv_heads, dim) = (6, 2, 10);
    let lengths = [37, 90, 4];
    let (all, tokens) = spans(&lengths, dim);
    let shape = Shape { tokens, heads, kv_heads, dim, causal: true, window: usize::MAX };
    let q = numbers(1, heads * tokens * dim);
    let (k, v) = (numbers(3, kv_heads * tokens * dim), numbers(4, kv_heads * tokens * dim));
    let run = |isa: Isa, q: &[f32], spans: &[Span], shape: &Shape| {
        let mut out = vec![0.0; shape.tokens * heads * dim];
        let kh = Heads { data: &k, token: dim, head: tokens * dim };
        let vh = Heads { data: &v, token: dim, head: tokens * dim };
        attention::forward_on(isa, &mut out, None, q, kh, vh, spans, shape);
        out
    };
    let packed: Vec<_> = Isa::available().into_iter().map(|isa| (isa, run(isa, &q, &all, &shape))).collect();
    for ((isa, packed), s) in packed.iter().flat_map(|packed| all.iter().map(move |s| (packed, s))) {
        // Split the span in parts, some of a single query: each part's queries with everything before them as past.
        for (from, to) in [(0, s.len), (0, 1), (1, s.len.min(3)), (s.len.min(3), s.len), (s.len / 2, s.len / 2 + 1), (s.len - 1, s.len)] {
            let n = to - from;
            let part: Vec<f32> = (0..heads).flat_map(|h| &q[(h * tokens + s.start + from) * dim..][..n * dim]).copied().collect();
            let span = Span { start: 0, len: n, past: from, ..*s };
            let alone = run(*isa, &part, &[span], &Shape { tokens: n, ..shape });
            let expected = &packed[(s.start + from) * heads * dim..][..n * heads * dim];
            assert!(alone.iter().zip(expected).all(|(a, b)| a.to_bits() == b.to_bits()), "{isa:?} {s:?} {from}..{to}");
        }
    }
}

#[test]
fn rotations() {
    let (tokens, heads, dim, half) = (5, 3, 10, 4);
    let x = numbers(1, tokens * heads * dim);
    let angle = |t: usize, i: usize| (t as f64 + 1.0) * 0.3 / (i as f64 + 1.0);
    let table: Vec<(Vec<f32>, Vec<f32>)> = (0..tokens)
        .map(|t| {
            let row = |f: fn(f64) -> f64| (0..half).map(|i| f(angle(t, i)) as f32).collect();
            (row(f64::cos), row(f64::sin))
        })
        .collect();
    let angles = |t: usize| (&table[t].0[..], &table[t].1[..]);
    let rows = Place { base: 0, token: heads * dim, head: dim };
    let head_major = Place { base: 0, token: dim, head: tokens * dim };
    for pairs in [Pairs::Half, Pairs::Interleaved] {
        let mut y = vec![f32::NAN; x.len()];
        rope::rotate(&mut y, head_major, &x, rows, (tokens, heads, dim), Some(&angles), pairs, 2.0);
        let mut expected = vec![0.0; x.len()];
        for t in 0..tokens {
            for h in 0..heads {
                let (from, to) = ((t * heads + h) * dim, (h * tokens + t) * dim);
                for i in 0..dim {
                    expected[to + i] = 2.0 * x[from + i] as f64;
                }
                for i in 0..half {
                    let (a, b) = if pairs == Pairs::Half { (i, i + half) } else { (2 * i, 2 * i + 1) };
                    let (xa, xb) = (x[from + a] as f64, x[from + b] as f64);
                    let (sin, cos) = angle(t, i).sin_cos();
                    expected[to + a] = 2.0 * (xa * cos - xb * sin);
                    expected[to + b] = 2.0 * (xb * cos + xa * sin);
                }
            }
        }
        close(&y, &expected, 1e-6, "rotated");
        // Rotating back two halves of it gives the original, added to what was there.
        let halves: Vec<f32> = y.iter().chain(&y).map(|v| v * 0.5).collect();
        for (update, keep) in [(Update::Set, 0.0), (Update::Add, 1.0)] {
            let (parts, mut back) = (halves.clone(), x.clone());
            let size = (tokens, heads, dim);
            let two = (2, x.len());
            rope::rotate_back(&mut back, rows, &parts, head_major, two, size, Some(&angles), pairs, 0.5, update);
            let expected: Vec<f64> = x.iter().map(|&v| (1.0 + keep) * v as f64).collect();
            close(&back, &expected, 1e-6, "rotated back");
        }
    }
}

#[test]
fn dropout_masks() {
    let (rows, cols) = (200, 130);
    let x = vec![1.0; rows * cols];
    let keys: Vec<u64> = (0..rows as u64).map(|i| rng::fold(7, &[i])).collect();
    let y = same_on_all_threads(|| {
        let mut y = vec![f32::NAN; x.len()];
        dropout::apply(&mut y, &x, cols, &keys, 0.25, Update::Set);
        y
    });
    assert!(y.iter().all(|&v| v == 0.0 || (v - 4.0 / 3.0).abs() < 1e-6));
    let zeros = y.iter().filter(|&&v| v == 0.0).count() as f64 / y.len() as f64;
    assert!((zeros - 0.25).abs() < 0.01, "{zeros}");
    // A row's mask is its own wherever it lies, and columns differ from each other.
    let mut alone = vec![0.0; cols];
    dropout::apply(&mut alone, &x[..cols], cols, &keys[150..151], 0.25, Update::Add);
    assert_eq!(alone, y[150 * cols..151 * cols]);
    assert_ne!(y[..64], y[64..128]);
    let mut same = vec![0.0; x.len()];
    dropout::apply(&mut same, &x, cols, &keys, 0.0, Update::Set);
    assert_eq!(same, x);
}

#[test]
fn adamw_against_the_definition() {
    for isa in Isa::available() {
        for n in [0, 1, 17, 40_001] {
            let (value, grad, m) = (numbers(1, n), numbers(2, n), numbers(3, n));
            let v: Vec<f32> = numbers(4, n).iter().map(|x| x * x).collect();
            let (lr, decay, betas, eps, t) = (0.01f64, 0.1, (0.9f64, 0.999f64), 1e-8, 3);
            let step = AdamWStep {
                beta1: betas.0 as f32,
                one_minus_beta1: (1.0 - betas.0) as f32,
                beta2: betas.1 as f32,
                one_minus_beta2: (1.0 - betas.1) as f32,
                keep: (1.0 - lr * decay) as f32,
                step_size: (lr / (1.0 - betas.0.powi(t))) as f32,
                inv_sqrt_correction2: (1.0 / (1.0 - betas.1.powi(t)).sqrt()) as f32,
                eps: eps as f32,
            };
            let got = same_on_all_threads(|| {
                let (mut value, mut m, mut v) = (value.clone(), m.clone(), v.clone());
                adamw_step_on(isa, &mut value, &grad, &mut m, &mut v, &step);
                [value, m, v].concat()
            });
            // Scaling and zeroing on the way change nothing.
            let (mut value2, mut grad2, mut m2, mut v2) = (value.clone(), grad.clone(), m.clone(), v.clone());
            elementwise::scale(&mut grad2, 3.0);
            adamw_step_on(isa, &mut value2, &grad2, &mut m2, &mut v2, &step);
            let (mut value3, mut grad3, mut m3, mut v3) = (value.clone(), grad.clone(), m.clone(), v.clone());
            adamw_step_fused_on(isa, &mut value3, &mut grad3, &mut m3, &mut v3, &step, 3.0);
            assert!((value2 == value3) && (m2 == m3) && (v2 == v3) && grad3.iter().all(|&g| g == 0.0));
            let one = |i: usize| {
                let state = (value[i] as f64, m[i] as f64, v[i] as f64);
                reference::adamw(state, grad[i] as f64, lr, decay, betas, eps, t)
            };
            let all: Vec<_> = (0..n).map(one).collect();
            let expected: Vec<f64> = all.iter().map(|s| s.0).chain(all.iter().map(|s| s.1)).chain(all.iter().map(|s| s.2)).collect();
            close(&got, &expected, 1e-6, "adamw");
        }
    }
}

#[test]
fn sums_of_squares() {
    for n in [0, 1, 7, 40_000, 100_001] {
        let x = numbers(1, n);
        let expected: f64 = x.iter().map(|&v| v as f64 * v as f64).sum();
        same_on_all_threads(|| {
            let (squares, sum) = (reduce::sum_of_squares(&x), reduce::sum(&x));
            assert!((squares - expected).abs() <= 1e-12 * expected);
            let bits = [squares.to_bits(), sum.to_bits()];
            bits.iter().flat_map(|b| [f32::from_bits(*b as u32), f32::from_bits((*b >> 32) as u32)]).collect()
        });
    }
}

#[test]
fn an_arena_reuses_and_merges() {
    let arena = pool::Arena::new();
    let mut rng = Rng::keyed(1, &[]);
    for round in 0..200 {
        let mut buffers: Vec<pool::Buffer> = (0..20).map(|_| arena.take(rng.below(100_000) as usize)).collect();
        for (i, b) in buffers.iter_mut().enumerate() {
            assert_eq!(b.as_ptr() as usize % 64, 0);
            b.fill(i as f32);
        }
        for (i, b) in buffers.iter().enumerate() {
            assert!(b.iter().all(|&v| v == i as f32), "buffers overlap in round {round}");
        }
        // Dropped in a random order.
        rng.shuffle(&mut buffers);
    }
    let stats = arena.stats();
    assert_eq!((stats.regions_allocated, stats.bytes_live), (1, 0));
    // Everything merged again: the whole region can be had in one piece.
    let whole = arena.take::<f32>(stats.bytes_reserved / 4);
    assert_eq!(arena.stats().regions_allocated, 1);
    assert!(whole.len() > 1_000_000);
    drop(whole);
    arena.shrink();
    assert_eq!(arena.stats().bytes_reserved, 0);
    assert_eq!(arena.take::<f32>(0).len(), 0);
}

#[test]
fn rows_copied_into_paths_and_summed_back() {
    use kernels::paths::{Piece, fold, gather};
    let (heads, dim, tokens, keys, parts) = (3, 5, 20, 26, 2);
    let piece = |packed, path, len| Piece { packed, path, len };
    // Rows 0..6 in two paths, 4..6 in three; rows 18 and 19 in none; key 25 from nowhere.
    let pieces = [piece(0, 0, 6), piece(6, 6, 4), piece(0, 10, 6), piece(10, 16, 7), piece(4, 23, 2), piece(17, 12, 0)];
    let x = numbers(1, tokens * heads * dim + 7);
    let from = Place { base: 7, token: heads * dim, head: dim };
    let mut y = vec![9.0; heads * keys * dim];
    gather(&mut y, keys, &x, from, &pieces, (heads, dim));
    let place = |h: usize, row: usize| (h * keys + row) * dim;
    for h in 0..heads {
        for p in &pieces {
            for i in 0..p.len {
                assert_eq!(y[place(h, p.path + i)..][..dim], x[7 + ((p.packed + i) * heads + h) * dim..][..dim]);
            }
        }
        assert_eq!(y[place(h, 25)..][..dim], [9.0; 5]);
    }
    // Dense heads take the other way.
    let dense: Vec<f32> = (0..heads)
        .flat_map(|h| (0..tokens).flat_map(move |t| (0..dim).map(move |d| (h, t, d))))
        .map(|(h, t, d)| x[7 + (t * heads + h) * dim + d])
        .collect();
    let mut z = vec![9.0; y.len()];
    gather(&mut z, keys, &dense, Place { base: 0, token: dim, head: tokens * dim }, &pieces, (heads, dim));
    assert_eq!(y, z);

    let copies = numbers(2, parts * heads * keys * dim);
    let sum = same_on_all_threads(|| {
        let mut sum = vec![f32::NAN; heads * tokens * dim];
        fold(&mut sum, tokens, &copies, (parts, keys), &pieces, (heads, dim));
        sum
    });
    let mut expected = vec![0.0f64; sum.len()];
    for part in 0..parts {
        for h in 0..heads {
            for p in &pieces {
                for i in 0..p.len * dim {
                    expected[(h * tokens + p.packed) * dim + i] += copies[part * heads * keys * dim + place(h, p.path) + i] as f64;
                }
            }
        }
    }
    close(&sum, &expected, 1e-6, "fold");
    fold(&mut [], 0, &[], (1, 0), &[], (heads, dim));
    gather::<f32>(&mut [], 0, &[], from, &[], (heads, dim));
}
