//! Products with group-quantised weights against their definition, on every path that this machine has.

use kernels::cpu::Isa;
use kernels::mat::{Mat, MatMut, Update};
use kernels::pool::Arena;
use kernels::quant::{Format, GROUP, Product, QuantPanels, Rows, nt, nt_on, several};
use kernels::reference;
use kernels::rng::Rng;

const FORMATS: [Format; 3] = [Format::Q4_0, Format::Q4_1, Format::Q8_0];

fn numbers(seed: u64, n: usize) -> Vec<f32> {
    let mut rng = Rng::keyed(seed, &[n as u64]);
    (0..n).map(|_| rng.normal()).collect()
}

/// Blocks with every value of their numbers, scales of both signs.
fn blocks(format: Format, seed: u64, groups: usize) -> Vec<u8> {
    let mut rng = Rng::keyed(seed, &[groups as u64]);
    let mut out = Vec::new();
    for _ in 0..groups {
        let at = out.len();
        out.extend((0..format.block_bytes()).map(|_| (rng.uniform() * 256.0) as u8));
        let halves = if format == Format::Q4_1 { 2 } else { 1 };
        for h in 0..halves {
            out[at + 2 * h..][..2].copy_from_slice(&half::f16::from_f32(0.1 * rng.normal()).to_le_bytes());
        }
    }
    out
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn packing_changes_no_number() {
    for format in FORMATS {
        for (rows, groups) in [(0, 3), (1, 1), (31, 2), (32, 1), (65, 5), (7, 0)] {
            let cols = groups * GROUP;
            let file = blocks(format, 1, rows * groups);
            let want = reference::dequantise(format, &file);
            let w = QuantPanels::new(format, rows, cols, &file, |i| i);
            assert_eq!(bits(&w.to_f32()), bits(&want), "{format:?} {rows} x {cols}");
            // Rows may come in another order.
            let w = QuantPanels::new(format, rows, cols, &file, |i| rows - 1 - i);
            let mut row = vec![f32::NAN; cols];
            for i in 0..rows {
                w.copy_row(i, &mut row);
                assert_eq!(bits(&row), bits(&want[(rows - 1 - i) * cols..][..cols]));
            }
            assert!(w.bytes() >= file.len());
        }
    }
}

#[test]
fn products_against_the_definition() {
    let arena = Arena::new();
    for format in FORMATS {
        for (m, n, groups) in [(0, 5, 1), (1, 1, 1), (1, 33, 3), (2, 64, 18), (3, 16, 2), (7, 47, 5), (13, 95, 1), (100, 70, 4), (2, 3, 0)]
        {
            let k = groups * GROUP;
            let file = blocks(format, 2, n * groups);
            let w = QuantPanels::new(format, n, k, &file, |i| i);
            // Groups of very different size, one of zeros.
            let x: Vec<f32> = numbers(3, m * k).iter().enumerate().map(|(i, v)| v * [1.0, 100.0, 0.0, 1e-3][i / GROUP % 4]).collect();
            let wf = reference::dequantise(format, &file);
            let old = numbers(4, m * n);
            let mut want: Vec<f64> = old.iter().map(|&v| v as f64).collect();
            let mut exact = want.clone();
            reference::matmul_nt(&mut want, &reference::quantised_activations(&x), &wf, (m, n, k), 1.0, 1.0);
            reference::matmul_nt(&mut exact, &x, &wf, (m, n, k), 1.0, 1.0);
            let mut paths = Vec::new();
            for isa in Isa::available() {
                // Rows of the output lie apart, and what is between them stays.
                let stride = n + 3;
                let mut got = vec![7.5f32; m * stride];
                for i in 0..m {
                    got[i * stride..][..n].copy_from_slice(&old[i * n..][..n]);
                }
                nt_on(isa, MatMut::strided(&mut got, m, n, stride), Mat::new(&x, m, k), &w, Update::Add, &arena);
                for i in 0..m {
                    assert_eq!(got[i * stride + n..][..3], [7.5; 3]);
                    for j in 0..n {
                        let size: f64 = (0..k).map(|l| (x[i * k + l] * wf[j * k + l]).abs() as f64).sum::<f64>() + 1.0;
                        let (got, want) = (got[i * stride + j] as f64, want[i * n + j]);
                        assert!((got - want).abs() <= 2e-6 * size, "{format:?} {}: {got} for {want}", isa.name());
                        // The stated bound of what quantising the activations costs.
                        let half_steps = |g: usize| {
                            let of = |x: &[f32]| x[g * GROUP..][..GROUP].to_vec();
                            let top = of(&x[i * k..]).iter().fold(0.0f32, |m, v| m.max(v.abs())) as f64;
                            top / 254.0 * of(&wf[j * k..]).iter().map(|w| w.abs() as f64).sum::<f64>()
                        };
                        let bound: f64 = (0..groups).map(half_steps).sum();
                        assert!((got - exact[i * n + j]).abs() <= 1.0001 * bound + 2e-6 * size);
                    }
                }
                let mut set = vec![f32::NAN; m * n];
                nt_on(isa, MatMut::new(&mut set, m, n), Mat::new(&x, m, k), &w, Update::Set, &arena);
                assert!(set.iter().all(|v| v.is_finite()));
                paths.push(set);
            }
            // Both paths with fused multiply-add compute the very same.
            if let [_, avx2, avx512] = &paths[..] {
                assert_eq!(bits(avx2), bits(avx512));
            }
        }
    }
}

#[test]
fn a_row_alone_is_a_row_in_a_batch_on_any_number_of_threads() {
    let arena = Arena::new();
    let (m, k) = (205, 5 * GROUP);
    let x = numbers(1, m * k);
    for format in FORMATS {
        let weights: Vec<QuantPanels> =
            [1500, 70].iter().map(|&n| QuantPanels::new(format, n, k, &blocks(format, 5, n * 5), |i| i)).collect();
        let together = |threads: usize| {
            let mut out: Vec<Vec<f32>> = weights.iter().map(|w| vec![0.0; m * w.rows()]).collect();
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| {
                let rows = Rows::new(Mat::new(&x, m, k), &arena);
                let products: Vec<Product> =
                    out.iter_mut().zip(&weights).map(|(y, w)| Product::new(MatMut::new(y, m, w.rows()), w, Update::Set)).collect();
                several(&products, &rows);
            });
            out
        };
        let one = together(1);
        for threads in [2, 5] {
            assert!(one.iter().zip(together(threads)).all(|(a, b)| bits(a) == bits(&b)), "{threads} threads change bits");
        }
        for (w, all) in weights.iter().zip(&one) {
            let n = w.rows();
            for (first, count) in [(0, 1), (17, 1), (200, 5), (3, 6), (90, 8)] {
                let mut alone = vec![0.0; count * n];
                nt(MatMut::new(&mut alone, count, n), Mat::new(&x[first * k..][..count * k], count, k), w, Update::Set, &arena);
                assert_eq!(bits(&alone), bits(&all[first * n..][..count * n]));
            }
        }
    }
}

#[test]
fn the_same_holds_on_every_path() {
    let arena = Arena::new();
    let (m, n, k) = (21, 130, 3 * GROUP);
    let x = numbers(1, m * k);
    for (format, isa) in FORMATS.into_iter().flat_map(|format| Isa::available().into_iter().map(move |isa| (format, isa))) {
        let w = QuantPanels::new(format, n, k, &blocks(format, 5, n * 3), |i| i);
        let rows = |first: usize, count: usize, threads: usize| {
            let mut y = vec![0.0; count * n];
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| {
                let x = Mat::new(&x[first * k..][..count * k], count, k);
                nt_on(isa, MatMut::new(&mut y, count, n), x, &w, Update::Set, &arena);
            });
            bits(&y)
        };
        let all = rows(0, m, 1);
        assert_eq!(rows(0, m, 3), all, "{format:?} {isa:?}: threads");
        for (first, count) in [(0, 1), (20, 1), (7, 5), (3, 9)] {
            assert_eq!(rows(first, count, 1), all[first * n..][..count * n], "{format:?} {isa:?}: rows {first}, {count}");
        }
    }
}

#[test]
fn what_is_no_number_reaches_the_result() {
    let arena = Arena::new();
    let w = QuantPanels::new(Format::Q8_0, 1, 2 * GROUP, &blocks(Format::Q8_0, 6, 2), |i| i);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut x = numbers(7, 2 * GROUP);
        x[40] = bad;
        for isa in Isa::available() {
            let mut y = [0.0];
            nt_on(isa, MatMut::new(&mut y, 1, 1), Mat::new(&x, 1, 2 * GROUP), &w, Update::Set, &arena);
            assert!(!y[0].is_finite(), "{bad} gives {}", y[0]);
        }
    }
    // Numbers near both ends of f32.
    for size in [1e-38f32, 1e-20, 1e30] {
        let x: Vec<f32> = numbers(8, 2 * GROUP).iter().map(|v| v * size).collect();
        let mut y = [f32::NAN];
        nt(MatMut::new(&mut y, 1, 1), Mat::new(&x, 1, 2 * GROUP), &w, Update::Set, &arena);
        assert!(y[0].is_finite());
    }
}
