//! Quick measurements of single kernels: `cargo run --release -p kernels --example bench [filter]`.

use kernels::lowrank;
use kernels::mat::*;
use kernels::matmul::*;
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
    println!("{name:45} {:9.3} ms {:8.1} GFLOP/s", best * 1e3, flop / best * 1e-9);
}

fn numbers(n: usize) -> Vec<f32> {
    let mut rng = kernels::rng::Rng::keyed(1, &[n as u64]);
    (0..n).map(|_| rng.uniform() - 0.5).collect()
}

fn main() {
    for t in [32usize, 64, 128, 256] {
        let (n, k) = (49152, 576);
        let (x, w, mut y) = (numbers(t * k), numbers(n * k), numbers(t * n));
        let mut dx = numbers(t * k);
        let flop = 2.0 * (t * n * k) as f64;
        time(&format!("head nt {t}"), flop, || {
            matmul_nt(MatMut::new(&mut y, t, n), Mat::new(&x, t, k), Mat::new(&w, n, k), 1.0, Update::Set)
        });
        time(&format!("head nn {t}"), flop, || {
            matmul_nn(MatMut::new(&mut dx, t, k), Mat::new(&y, t, n), Mat::new(&w, n, k), 1.0, Update::Set)
        });
    }
    for t in [1usize, 2, 4, 8, 16, 33, 528, 1024] {
        for (n, k) in [(576, 576), (192, 576), (1536, 576), (576, 1536), (49152, 576), (8, 576), (576, 8), (8, 1536)] {
            if n == 49152 && t > 64 {
                continue;
            }
            let (x, w, mut y) = (numbers(t * k), numbers(n * k), numbers(t * n));
            let dy = numbers(t * n);
            let mut dx = numbers(t * k);
            let flop = 2.0 * (t * n * k) as f64;
            time(&format!("nt {t}x{k} -> {n}"), flop, || {
                matmul_nt(MatMut::new(&mut y, t, n), Mat::new(&x, t, k), Mat::new(&w, n, k), 1.0, Update::Set)
            });
            time(&format!("nn {t}x{n} -> {k}"), flop, || {
                matmul_nn(MatMut::new(&mut dx, t, k), Mat::new(&dy, t, n), Mat::new(&w, n, k), 1.0, Update::Set)
            });
            if t <= 64 || n <= 32 {
                time(&format!("dots {t}x{k} -> {n}"), flop, || {
                    lowrank::dots(MatMut::new(&mut y, t, n), Mat::new(&x, t, k), Mat::new(&w, n, k), 1.0, Update::Set)
                });
            }
            if n <= 32 {
                time(&format!("expand {t}x{n} -> {k}"), flop, || {
                    lowrank::expand(MatMut::new(&mut dx, t, k), Mat::new(&dy, t, n), Mat::new(&w, n, k), Update::Add)
                });
                let mut g = numbers(n * k);
                time(&format!("outer {t}: {n}x{k}"), flop, || {
                    lowrank::outer(MatMut::new(&mut g, n, k), Mat::new(&dy, t, n), Mat::new(&x, t, k), Update::Add)
                });
            }
            let mut dw = numbers(n * k);
            time(&format!("tn {t}: {n}x{k}"), flop, || {
                matmul_tn(MatMut::new(&mut dw, n, k), Mat::new(&dy, t, n), Mat::new(&x, t, k), 1.0, Update::Add)
            });
            black_box((&y, &dx, &dw));
        }
    }
}
