//! Products on packed weights against their definition in f64, at odd sizes.

use half::bf16;
use kernels::cpu::Paths;
use kernels::element::Element;
use kernels::mat::{Acts, Mat, Mat16, MatMut, MatMut16, Out, Update};
use kernels::pool::Arena;
use kernels::product::{self, Bf16Panels, Epilogue, I8Panels, Weights};
use kernels::reference;
use kernels::rng::Rng;

fn numbers(seed: u64, n: usize) -> Vec<f32> {
    let mut rng = Rng::keyed(seed, &[n as u64]);
    (0..n).map(|_| rng.normal()).collect()
}

fn rounded(x: &[f32]) -> Vec<f32> {
    x.iter().map(|&v| bf16::from_f32(v).to_f32()).collect()
}

fn bits(x: &[f32]) -> Vec<u16> {
    x.iter().map(|&v| bf16::from_f32(v).to_bits()).collect()
}

/// `‖a − b‖ ≤ tolerance·‖b‖`, and everything finite.
#[track_caller]
fn close(a: &[f32], b: &[f64], tolerance: f64, what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    assert!(a.iter().all(|x| x.is_finite()), "{what}: not finite");
    let error = a.iter().zip(b).map(|(a, b)| (*a as f64 - b).powi(2)).sum::<f64>().sqrt();
    let size = b.iter().map(|b| b * b).sum::<f64>().sqrt();
    assert!(error <= tolerance * size + 3e-8 * (a.len() as f64).sqrt(), "{what}: {error} of {size}");
}

/// Rows, outputs, inputs.
const SHAPES: [(usize, usize, usize); 13] = [
    (0, 3, 5),
    (1, 1, 1),
    (1, 64, 2),
    (2, 70, 33),
    (5, 3, 7),
    (6, 64, 64),
    (7, 130, 257),
    (13, 200, 600),
    (48, 65, 129),
    (64, 192, 576),
    (131, 67, 300),
    (3, 1000, 16),
    // More than one block of the inner dimension, either way.
    (8, 1700, 1602),
];

#[test]
fn bf16_products_against_the_definition() {
    let arena = Arena::new();
    for (m, n, k) in SHAPES {
        let (x, w) = (numbers(1, m * k), numbers(2, n * k));
        let (xr, wr) = (rounded(&x), rounded(&w));
        let packed = Bf16Panels::new(Mat::new(&w, n, k));
        let mut forward = vec![0.0; m * n];
        reference::matmul_nt(&mut forward, &xr, &wr, (m, n, k), 1.0, 0.0);
        let dy = numbers(3, m * n);
        let wt = reference::transpose(&wr, n, k);
        let mut backward = vec![0.0; m * k];
        reference::matmul_nt(&mut backward, &rounded(&dy), &wt, (m, k, n), 1.0, 0.0);
        for w in [Weights::Bf16(&packed), Weights::F32(Mat::new(&w, n, k))] {
            for paths in Paths::available() {
                let (name, none) = (paths.bf16.name(), Epilogue::default());
                for acts in [Acts::F32(Mat::new(&x, m, k)), Acts::Bf16(Mat16::new(&bits(&x), m, k))] {
                    let mut y = vec![f32::NAN; m * n];
                    product::nt_on(paths, Out::F32(MatMut::new(&mut y, m, n)), acts, w, &none, &arena);
                    close(&y, &forward, 2e-6, &format!("nt {m} {n} {k} {name}"));
                }
                for acts in [Acts::F32(Mat::new(&dy, m, n)), Acts::Bf16(Mat16::new(&bits(&dy), m, n))] {
                    let mut dx = vec![f32::NAN; m * k];
                    product::nn_on(paths, Out::F32(MatMut::new(&mut dx, m, k)), acts, w, &none, &arena);
                    close(&dx, &backward, 2e-6, &format!("nn {m} {n} {k} {name}"));
                }
            }
        }
    }
}

#[test]
fn what_follows_a_product() {
    let arena = Arena::new();
    let (m, n, k, r) = (11, 70, 40, 3);
    let (x, w) = (rounded(&numbers(1, m * k)), rounded(&numbers(2, n * k)));
    let (residual, bias, u, b) = (numbers(3, m * (n + 1)), numbers(4, n), numbers(5, m * r), numbers(6, r * n));
    let old = rounded(&numbers(7, m * (n + 2)));
    let packed = Bf16Panels::new(Mat::new(&w, n, k));
    let mut product = vec![0.0; m * n];
    reference::matmul_nt(&mut product, &x, &w, (m, n, k), 1.0, 0.0);
    let mut branch = vec![0.0; m * n];
    reference::matmul_nt(&mut branch, &u, &reference::transpose(&b, r, n), (m, n, r), 1.0, 0.0);
    for choice in 0..16 {
        let has = |bit: usize| choice >> bit & 1 == 1;
        let e = Epilogue {
            update: if has(0) { Update::Add } else { Update::Set },
            residual: has(1).then(|| Mat::strided(&residual, m, n, n + 1)),
            bias: has(2).then_some(&bias[..]),
            low_rank: has(3).then(|| (Mat::new(&u, m, r), Mat::new(&b, r, n))),
        };
        let expected: Vec<f64> = (0..m * n)
            .map(|at| {
                let (i, j) = (at / n, at % n);
                let term = |bit, v: f64| if has(bit) { v } else { 0.0 };
                let sum = product[at] + term(0, old[i * (n + 2) + j] as f64) + term(1, residual[i * (n + 1) + j] as f64);
                sum + term(2, bias[j] as f64) + term(3, branch[at])
            })
            .collect();
        let gather = |y: &[f32]| (0..m * n).map(|at| y[at / n * (n + 2) + at % n]).collect::<Vec<f32>>();
        let mut y = old.clone();
        let x16 = bits(&x);
        let acts = Acts::Bf16(Mat16::new(&x16, m, k));
        product::nt(Out::F32(MatMut::strided(&mut y, m, n, n + 2)), acts, Weights::Bf16(&packed), &e, &arena);
        close(&gather(&y), &expected, 2e-6, &format!("epilogue {choice}"));
        let mut y16 = bits(&old);
        product::nt(Out::Bf16(MatMut16::strided(&mut y16, m, n, n + 2)), acts, Weights::Bf16(&packed), &e, &arena);
        let wide: Vec<f32> = y16.iter().map(|&b| bf16::from_bits(b).to_f32()).collect();
        close(&gather(&wide), &expected, 3e-3, &format!("epilogue {choice} in bf16"));
        for i in 0..m - 1 {
            assert_eq!(y[i * (n + 2) + n..(i + 1) * (n + 2)], old[i * (n + 2) + n..(i + 1) * (n + 2)], "between rows");
            assert_eq!(wide[i * (n + 2) + n..(i + 1) * (n + 2)], old[i * (n + 2) + n..(i + 1) * (n + 2)], "between rows");
        }
    }
}

#[test]
fn results_are_rounded_to_nearest_even() {
    // Every upper half with every interesting lower half, as the residual of a product that is zero.
    let lower = [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF];
    let residual: Vec<f32> = (0..=0xFFFFu32).flat_map(|upper| lower.map(|l| f32::from_bits(upper << 16 | l))).collect();
    let (m, n) = (residual.len() / 64, 64);
    let (x, w) = (vec![0.0; m], vec![0.0; n]);
    let w = Bf16Panels::new(Mat::new(&w, n, 1));
    let e = Epilogue { residual: Some(Mat::new(&residual, m, n)), ..Epilogue::default() };
    let expected: Vec<u16> = residual.iter().map(|&v| u16::from_f32(0.0 + v)).collect();
    for paths in Paths::available() {
        let mut y = vec![0xAAAA; m * n];
        let x = Acts::F32(Mat::new(&x, m, 1));
        product::nt_on(paths, Out::Bf16(MatMut16::new(&mut y, m, n)), x, Weights::Bf16(&w), &e, &Arena::new());
        let wrong = y.iter().zip(&expected).position(|(y, e)| y != e);
        assert_eq!(wrong.map(|i| (residual[i].to_bits(), y[i], expected[i])), None, "{}", paths.bf16.name());
    }
}

#[test]
fn weight_gradients_against_the_definition() {
    let arena = Arena::new();
    for (t, n, k) in SHAPES.into_iter().chain([(100, 8, 131), (77, 131, 8), (1000, 3, 40)]) {
        let (dy, x, old) = (numbers(1, t * n), numbers(2, t * k), numbers(3, n * k));
        let (dyt, xt) = (reference::transpose(&rounded(&dy), t, n), reference::transpose(&rounded(&x), t, k));
        for update in [Update::Set, Update::Add] {
            let mut expected: Vec<f64> = old.iter().map(|&v| v as f64).collect();
            let keep = if update == Update::Add { 1.0 } else { 0.0 };
            reference::matmul_nt(&mut expected, &dyt, &xt, (n, k, t), 0.5, keep);
            for paths in Paths::available() {
                let (dy16, x16) = (bits(&dy), bits(&x));
                let wide = (Acts::F32(Mat::new(&dy, t, n)), Acts::F32(Mat::new(&x, t, k)));
                let narrow = (Acts::Bf16(Mat16::new(&dy16, t, n)), Acts::Bf16(Mat16::new(&x16, t, k)));
                for (dy, x) in [wide, narrow] {
                    let mut g = old.clone();
                    product::tn_on(paths, MatMut::new(&mut g, n, k), dy, x, 0.5, update, &arena);
                    close(&g, &expected, 3e-6, &format!("tn {t} {n} {k} {}", paths.bf16.name()));
                }
            }
        }
    }
}

#[test]
fn narrow_products_against_the_definition() {
    let arena = Arena::new();
    for (m, r, k) in [(0, 3, 5), (1, 1, 1), (7, 8, 33), (20, 16, 576), (33, 17, 70), (9, 32, 64), (5, 40, 50), (14, 70, 30)] {
        let (x, a) = (numbers(1, m * k), numbers(2, r * k));
        let mut expected = vec![0.0; m * r];
        reference::matmul_nt(&mut expected, &rounded(&x), &rounded(&a), (m, r, k), 0.5, 0.0);
        let acts = Acts::F32(Mat::new(&x, m, k));
        let at = reference::transpose(&a, r, k);
        let twice: Vec<f64> = expected.iter().map(|v| 2.0 * v).collect();
        for paths in Paths::available() {
            let mut u = vec![f32::NAN; m * r];
            product::nt_narrow_on(paths, MatMut::new(&mut u, m, r), acts, Mat::new(&a, r, k), 0.5, Update::Set, &arena);
            close(&u, &expected, 2e-6, &format!("nt_narrow {m} {r} {k} {}", paths.bf16.name()));
            product::nn_narrow_on(paths, MatMut::new(&mut u, m, r), acts, Mat::new(&at, k, r), 0.5, Update::Add, &arena);
            close(&u, &twice, 2e-6, &format!("nn_narrow, added {m} {r} {k} {}", paths.bf16.name()));
        }
    }
}

/// The bound that `product::int8` states, with the largest number of a row in place of each block's; and for products that
/// are not tiny the error that quantisation of normally distributed numbers leaves, about one percent.
#[test]
fn int8_products_within_their_bounds() {
    let arena = Arena::new();
    for (m, n, k) in SHAPES.into_iter().chain([(4, 40, 1500), (3, 1500, 40)]) {
        let (x, w, dy) = (numbers(1, m * k), numbers(2, n * k), numbers(3, m * n));
        let packed = I8Panels::new(Mat::new(&w, n, k));
        let wq = packed.to_f32();
        let mut forward = vec![0.0; m * n];
        reference::matmul_nt(&mut forward, &x, &wq, (m, n, k), 1.0, 0.0);
        let scales: Vec<f32> = (0..n).map(|j| w[j * k..(j + 1) * k].iter().fold(0.0f32, |m, v| m.max(v.abs())) / 127.0).collect();
        // As the kernel sees it: scales on dy, whole numbers in the weight.
        let folded: Vec<f32> = (0..m * n).map(|at| dy[at] * scales[at % n]).collect();
        let whole: Vec<f32> = (0..n * k).map(|at| wq[at] / scales[at / k]).collect();
        let wt = reference::transpose(&whole, n, k);
        let mut backward = vec![0.0; m * k];
        reference::matmul_nt(&mut backward, &folded, &wt, (m, k, n), 1.0, 0.0);
        let (none, w) = (Epilogue::default(), Weights::I8(&packed));
        let check = |got: &[f32], expected: &[f64], x: &[f32], w: &[f32], inner: usize, what: &str| {
            let cols = w.len() / inner.max(1);
            for (at, (g, e)) in got.iter().zip(expected).enumerate() {
                let (i, j) = (at / cols, at % cols);
                let top = x[i * inner..(i + 1) * inner].iter().fold(0.0f32, |m, v| m.max(v.abs())) as f64;
                let weight: f64 = w[j * inner..(j + 1) * inner].iter().map(|v| v.abs() as f64).sum();
                assert!((*g as f64 - e).abs() <= top / 253.0 * weight, "{what}: {g} for {e}");
            }
            if got.len() > 1000 {
                close(got, expected, 0.015, what);
            }
        };
        for paths in Paths::available() {
            let name = paths.int8.name();
            let mut y = vec![f32::NAN; m * n];
            product::nt_on(paths, Out::F32(MatMut::new(&mut y, m, n)), Acts::F32(Mat::new(&x, m, k)), w, &none, &arena);
            check(&y, &forward, &x, &wq, k, &format!("int8 nt {m} {n} {k} {name}"));
            let mut dx = vec![f32::NAN; m * k];
            product::nn_on(paths, Out::F32(MatMut::new(&mut dx, m, k)), Acts::F32(Mat::new(&dy, m, n)), w, &none, &arena);
            check(&dx, &backward, &folded, &wt, n, &format!("int8 nn {m} {n} {k} {name}"));
        }
    }
}

/// Rows multiplied alone, in a batch and on several threads agree in every bit, on every path.
#[test]
fn a_row_does_not_feel_its_neighbours() {
    let arena = Arena::new();
    let (m, n, k) = (211, 150, 700);
    let (x, w, u, b) = (numbers(1, m * k), numbers(2, n * k), numbers(3, m * 5), numbers(4, 5 * n));
    let (wide, narrow) = (Bf16Panels::new(Mat::new(&w, n, k)), I8Panels::new(Mat::new(&w, n, k)));
    // The other direction takes a weight [k, n] so that its inner dimension is the long one as well.
    let (back, back8) = (Bf16Panels::new(Mat::new(&w, k, n)), I8Panels::new(Mat::new(&w, k, n)));
    for paths in Paths::available() {
        for kind in 0..7 {
            let product = |x: &[f32], u: &[f32], threads: usize| {
                let m = x.len() / k;
                let mut y = vec![f32::NAN; m * n];
                let e = Epilogue { low_rank: Some((Mat::new(u, m, 5), Mat::new(&b, 5, n))), ..Epilogue::default() };
                let acts = Acts::F32(Mat::new(x, m, k));
                let run = || {
                    let to = Out::F32(MatMut::new(&mut y, m, n));
                    match kind {
                        0 => product::nt_on(paths, to, acts, Weights::Bf16(&wide), &e, &arena),
                        1 => product::nt_on(paths, to, acts, Weights::I8(&narrow), &e, &arena),
                        2 => product::nt_on(paths, to, acts, Weights::F32(Mat::new(&w, n, k)), &e, &arena),
                        3 => product::nn_on(paths, to, acts, Weights::Bf16(&back), &e, &arena),
                        4 => product::nn_on(paths, to, acts, Weights::I8(&back8), &e, &arena),
                        5 => product::nn_on(paths, to, acts, Weights::F32(Mat::new(&w, k, n)), &e, &arena),
                        _ => {
                            let a = Mat::new(&w, 20, k);
                            product::nt_narrow_on(paths, MatMut::strided(&mut y, m, 20, n), acts, a, 1.0, Update::Set, &arena);
                        }
                    }
                };
                rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads").install(run);
                y.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            let all = product(&x, &u, 2);
            assert!(all == product(&x, &u, 1), "threads, {kind} {paths:?}");
            for (first, rows) in [(0, 1), (210, 1), (17, 1), (5, 6), (40, 7), (100, 50)] {
                let part = product(&x[first * k..(first + rows) * k], &u[first * 5..(first + rows) * 5], 1);
                assert!(part == all[first * n..(first + rows) * n], "rows {first}..+{rows}, {kind} {paths:?}");
            }
        }
        // A rounded weight is a rounded weight.
        let acts = Acts::F32(Mat::new(&x, m, k));
        let (mut packed, mut rounded) = (vec![0.0; m * n], vec![0.0; m * n]);
        let none = Epilogue::default();
        product::nt_on(paths, Out::F32(MatMut::new(&mut packed, m, n)), acts, Weights::Bf16(&wide), &none, &arena);
        product::nt_on(paths, Out::F32(MatMut::new(&mut rounded, m, n)), acts, Weights::F32(Mat::new(&w, n, k)), &none, &arena);
        assert!(packed == rounded);
    }
}

#[test]
fn a_nan_reaches_its_row_and_no_other() {
    let arena = Arena::new();
    let (m, n, k) = (9, 70, 1300);
    let (mut x, w) = (numbers(1, m * k), numbers(2, n * k));
    x[4 * k + 700] = f32::NAN;
    let (wide, narrow) = (Bf16Panels::new(Mat::new(&w, n, k)), I8Panels::new(Mat::new(&w, n, k)));
    for paths in Paths::available() {
        for w in [Weights::Bf16(&wide), Weights::I8(&narrow), Weights::F32(Mat::new(&w, n, k))] {
            let (mut y, none) = (vec![0.0; m * n], Epilogue::default());
            product::nt_on(paths, Out::F32(MatMut::new(&mut y, m, n)), Acts::F32(Mat::new(&x, m, k)), w, &none, &arena);
            assert!(y.iter().enumerate().all(|(at, v)| v.is_nan() == (at / n == 4)), "{paths:?}");
        }
    }
}

#[test]
fn gradients_do_not_depend_on_threads() {
    let arena = Arena::new();
    for (t, n, k) in [(301, 200, 130), (301, 8, 500), (301, 500, 8)] {
        let (dy, x) = (numbers(1, t * n), numbers(2, t * k));
        for paths in Paths::available() {
            let on = |threads: usize| {
                let mut g = vec![0.0; n * k];
                let run = || {
                    let (dy, x) = (Acts::F32(Mat::new(&dy, t, n)), Acts::F32(Mat::new(&x, t, k)));
                    product::tn_on(paths, MatMut::new(&mut g, n, k), dy, x, 1.0, Update::Set, &arena);
                };
                rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads").install(run);
                g
            };
            assert!(on(1) == on(2));
        }
    }
}

#[test]
fn packing_keeps_the_numbers() {
    for (n, k) in [(0, 4), (4, 0), (1, 1), (64, 6), (65, 7), (130, 577)] {
        let w = numbers(1, n * k);
        let mut packed = Bf16Panels::new(Mat::new(&w, n, k));
        assert_eq!(packed.to_f32(), rounded(&w));
        let other = numbers(2, n * k);
        packed.repack(&other);
        assert_eq!(packed.to_f32(), rounded(&other));
        let from_bits = Bf16Panels::from_bits(Mat16::new(&bits(&other), n, k));
        assert_eq!(from_bits.to_f32(), packed.to_f32());
        let quantised = I8Panels::new(Mat::new(&w, n, k)).to_f32();
        for i in 0..n {
            let row = i * k..(i + 1) * k;
            let step = w[row.clone()].iter().fold(0.0f32, |m, v| m.max(v.abs())) / 127.0;
            assert!(row.into_iter().all(|at| (w[at] - quantised[at]).abs() <= 0.5001 * step));
        }
    }
}
