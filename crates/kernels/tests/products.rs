//! Products on packed weights against their definition in f64, at odd sizes.

use half::bf16;
use kernels::cpu::Paths;
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
const SHAPES: [(usize, usize, usize); 12] = [
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

/// Quantising both sides to 8 bits leaves about one percent of a product of normally distributed numbers.
#[test]
fn int8_products_are_near() {
    let arena = Arena::new();
    for (m, n, k) in SHAPES {
        let (x, w, dy) = (numbers(1, m * k), numbers(2, n * k), numbers(3, m * n));
        let packed = I8Panels::new(Mat::new(&w, n, k));
        let mut expected = vec![0.0; m * n];
        reference::matmul_nt(&mut expected, &x, &packed.to_f32(), (m, n, k), 1.0, 0.0);
        let mut y = vec![f32::NAN; m * n];
        let (none, w) = (Epilogue::default(), Weights::I8(&packed));
        product::nt(Out::F32(MatMut::new(&mut y, m, n)), Acts::F32(Mat::new(&x, m, k)), w, &none, &arena);
        close(&y, &expected, 0.02, &format!("int8 nt {m} {n} {k}"));
        let mut expected = vec![0.0; m * k];
        let wt = reference::transpose(&packed.to_f32(), n, k);
        reference::matmul_nt(&mut expected, &dy, &wt, (m, k, n), 1.0, 0.0);
        let mut dx = vec![f32::NAN; m * k];
        product::nn(Out::F32(MatMut::new(&mut dx, m, k)), Acts::F32(Mat::new(&dy, m, n)), w, &none, &arena);
        close(&dx, &expected, 0.02, &format!("int8 nn {m} {n} {k}"));
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
