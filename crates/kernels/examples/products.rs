//! Quick measurements of products on packed weights: `cargo run --release -p kernels --example products [filter]`.

use half::bf16;
use kernels::mat::*;
use kernels::pool::Arena;
use kernels::product::*;
use std::time::Instant;

fn time(name: &str, flop: f64, bytes: f64, mut f: impl FnMut()) {
    if let Some(filter) = std::env::args().nth(1)
        && !name.contains(&filter)
    {
        return;
    }
    for _ in 0..3 {
        f();
    }
    let (mut times, start) = (Vec::new(), Instant::now());
    // One thread's own time does not count what others take from it.
    let now: &dyn Fn() -> f64 = if kernels::cpu::threads() == 1 { &cpu_time } else { &|| start.elapsed().as_secs_f64() };
    while times.len() < 5 || start.elapsed().as_secs_f64() < 0.25 {
        let t = now();
        f();
        times.push(now() - t);
    }
    times.sort_by(f64::total_cmp);
    let (median, best) = (times[times.len() / 2], times[0]);
    println!(
        "{name:45} {:9.3} ms {:8.1} GFLOP/s (best {:8.1}) {:6.1} GB/s",
        median * 1e3,
        flop / median * 1e-9,
        flop / best * 1e-9,
        bytes / median * 1e-9
    );
}

fn cpu_time() -> f64 {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes the struct.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut t) };
    t.tv_sec as f64 + t.tv_nsec as f64 * 1e-9
}

fn numbers(n: usize) -> Vec<f32> {
    let mut rng = kernels::rng::Rng::keyed(1, &[n as u64]);
    (0..n).map(|_| rng.uniform() - 0.5).collect()
}

fn bits(x: &[f32]) -> Vec<u16> {
    x.iter().map(|&v| bf16::from_f32(v).to_bits()).collect()
}

fn main() {
    let arena = Arena::new();
    let e = Epilogue::default();
    for m in [1usize, 4, 16, 48, 256, 512, 1024] {
        for (k, n) in [(576, 1536), (1536, 576), (576, 576), (576, 192), (576, 49152)] {
            if n == 49152 && m > 256 {
                continue;
            }
            let flop = 2.0 * (m * n * k) as f64;
            // Enough copies that a small product's weights come from memory, as in a model.
            let copies = if m <= 48 { (64 << 20) / (n * k * 2) + 1 } else { 1 };
            let panels: Vec<_> = (0..copies).map(|_| Bf16Panels::new(Mat::new(&numbers(n * k), n, k))).collect();
            let (x, dy) = (numbers(m * k), numbers(m * n));
            let (x16, dy16) = (bits(&x), bits(&dy));
            let (mut y, mut dx) = (vec![0u16; m * n], vec![0u16; m * k]);
            let mut at = 0;
            time(&format!("nt bf16 {m} x {k} -> {n}"), flop, (n * k * 2) as f64, || {
                at = (at + 1) % copies;
                nt(Out::Bf16(MatMut16::new(&mut y, m, n)), Acts::Bf16(Mat16::new(&x16, m, k)), Weights::Bf16(&panels[at]), &e, &arena)
            });
            time(&format!("nt f32>bf16 {m} x {k} -> {n}"), flop, (n * k * 2) as f64, || {
                at = (at + 1) % copies;
                nt(Out::Bf16(MatMut16::new(&mut y, m, n)), Acts::F32(Mat::new(&x, m, k)), Weights::Bf16(&panels[at]), &e, &arena)
            });
            let panels8 = I8Panels::new(Mat::new(&numbers(n * k), n, k));
            time(&format!("nt int8 {m} x {k} -> {n}"), flop, (n * k) as f64, || {
                nt(Out::Bf16(MatMut16::new(&mut y, m, n)), Acts::Bf16(Mat16::new(&x16, m, k)), Weights::I8(&panels8), &e, &arena)
            });
            if m > 48 {
                time(&format!("nn int8 {m} x {n} -> {k}"), flop, (n * k) as f64, || {
                    nn(Out::Bf16(MatMut16::new(&mut dx, m, k)), Acts::Bf16(Mat16::new(&dy16, m, n)), Weights::I8(&panels8), &e, &arena)
                });
            }
            if m > 48 && n < 49152 {
                let mut g = vec![0f32; n * k];
                let (acts, dacts) = (Acts::Bf16(Mat16::new(&x16, m, k)), Acts::Bf16(Mat16::new(&dy16, m, n)));
                time(&format!("tn bf16 {m}: {n} x {k}"), flop, 0.0, || {
                    tn(MatMut::new(&mut g, n, k), dacts, acts, 1.0, Update::Add, &arena)
                });
                let r = 8;
                let (a, b, mut u) = (numbers(r * k), numbers(n * r), vec![0f32; m * r]);
                let f = |c: usize| 2.0 * (m * r * c) as f64;
                time(&format!("nt narrow {m} x {k} -> {r}"), f(k), (m * k * 2) as f64, || {
                    nt_narrow(MatMut::new(&mut u, m, r), acts, Mat::new(&a, r, k), 1.0, Update::Set, &arena)
                });
                time(&format!("nn narrow {m} x {n} -> {r}"), f(n), (m * n * 2) as f64, || {
                    nn_narrow(MatMut::new(&mut u, m, r), dacts, Mat::new(&b, n, r), 1.0, Update::Set, &arena)
                });
                time(&format!("tn short {m}: {r} x {k}"), f(k), (m * k * 2) as f64, || {
                    tn(MatMut::new(&mut g[..r * k], r, k), Acts::F32(Mat::new(&u, m, r)), acts, 1.0, Update::Add, &arena)
                });
                time(&format!("tn short {m}: {n} x {r}"), f(n), (m * n * 2) as f64, || {
                    tn(MatMut::new(&mut g[..r * n], n, r), dacts, Acts::F32(Mat::new(&u, m, r)), 1.0, Update::Add, &arena)
                });
                let w = numbers(n * k);
                time(&format!("nt f32 weight {m} x {k} -> {n}"), flop, 0.0, || {
                    nt(Out::Bf16(MatMut16::new(&mut y, m, n)), acts, Weights::F32(Mat::new(&w, n, k)), &e, &arena)
                });
                time(&format!("nn f32 weight {m} x {n} -> {k}"), flop, 0.0, || {
                    nn(Out::Bf16(MatMut16::new(&mut dx, m, k)), dacts, Weights::F32(Mat::new(&w, n, k)), &e, &arena)
                });
            }
            if m > 48 {
                time(&format!("nn bf16 {m} x {n} -> {k}"), flop, (n * k * 2) as f64, || {
                    nn(Out::Bf16(MatMut16::new(&mut dx, m, k)), Acts::Bf16(Mat16::new(&dy16, m, n)), Weights::Bf16(&panels[0]), &e, &arena)
                });
            }
        }
    }
}
