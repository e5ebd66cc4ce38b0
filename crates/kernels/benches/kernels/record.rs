//! Criterion with a table: what each kernel did and which part of the limit that is.

use criterion::Criterion;
use kernels::element::Element;
use kernels::peak;
use kernels::rng::Rng;
use std::cell::Cell;
use std::time::{Duration, Instant};

/// What bounds a kernel.
#[derive(Clone, Copy)]
pub enum Bound {
    /// f32 multiply-adds.
    F32,
    /// bf16 dot products.
    Bf16,
    /// 8-bit dot products.
    Int8,
    /// Reading and writing memory.
    Memory,
}

/// Criterion, the limits of this machine, and what has been measured.
pub struct Record {
    criterion: Criterion,
    limits: [f64; 4],
    rows: Vec<(String, f64, f64, Bound)>,
}

/// Most operations (or bytes) a second of several runs of `f`, which returns their number.
fn most(f: impl Fn() -> f64) -> f64 {
    (0..20).fold(0.0, |best: f64, _| {
        let start = Instant::now();
        let count = f();
        best.max(count / start.elapsed().as_secs_f64())
    })
}

impl Record {
    /// Measures the limits.
    pub fn new() -> Self {
        let criterion = Criterion::default()
            .sample_size(20)
            .warm_up_time(Duration::from_millis(100))
            .measurement_time(Duration::from_millis(500))
            .configure_from_args();
        let mut r = Record { criterion, limits: [0.0; 4], rows: Vec::new() };
        r.measure_limits();
        r.print_limits();
        r
    }

    /// Raises the limits to what the machine does now, if that is more.
    fn measure_limits(&mut self) {
        let tasks = 64 * kernels::cpu::threads();
        let memory = vec![1; 256 << 20];
        let f32 = most(|| peak::f32(tasks));
        let bf16 = most(|| peak::bf16(tasks).unwrap_or(0.0)).max(f32);
        let int8 = most(|| peak::int8(tasks).unwrap_or(0.0)).max(f32);
        let now = [f32, bf16, int8, most(|| peak::read(&[&memory]))];
        for (limit, now) in self.limits.iter_mut().zip(now) {
            *limit = limit.max(now);
        }
    }

    fn print_limits(&self) {
        let [f32, bf16, int8, read] = self.limits.map(|l| l * 1e-9);
        let threads = kernels::cpu::threads();
        println!("{threads} threads: f32 {f32:.0} GFLOP/s, bf16 {bf16:.0} GFLOP/s, int8 {int8:.0} GOP/s, reading {read:.1} GB/s");
    }

    /// Measures `f`, which does `count` operations (or moves as many bytes) a call.
    pub fn bench(&mut self, name: &str, bound: Bound, count: f64, mut f: impl FnMut()) {
        let best = Cell::new(f64::INFINITY);
        self.criterion.bench_function(name, |b| {
            b.iter_custom(|n| {
                let start = Instant::now();
                for _ in 0..n {
                    f();
                }
                let time = start.elapsed();
                best.set(best.get().min(time.as_secs_f64() / n as f64));
                time
            })
        });
        if best.get().is_finite() {
            self.rows.push((name.to_owned(), best.get(), count, bound));
        }
    }

    /// Prints the table.
    pub fn finish(mut self) {
        self.criterion.final_summary();
        // Whatever slowed the first measurement down has often passed.
        self.measure_limits();
        println!("\n{:44} {:>10} {:>12} {:>9}", "best sample of", "ms", "", "of limit");
        for (name, seconds, count, bound) in &self.rows {
            let rate = count / seconds * 1e-9;
            let (unit, limit) = match bound {
                Bound::F32 => ("GFLOP/s", self.limits[0]),
                Bound::Bf16 => ("GFLOP/s", self.limits[1]),
                Bound::Int8 => ("GOP/s", self.limits[2]),
                Bound::Memory => ("GB/s", self.limits[3]),
            };
            println!("{name:44} {:10.4} {rate:8.1} {unit:7} {:5.0} %", seconds * 1e3, 100.0 * rate * 1e9 / limit);
        }
        self.print_limits();
    }
}

/// Numbers around zero.
pub fn numbers(n: usize) -> Vec<f32> {
    let mut rng = Rng::keyed(1, &[n as u64]);
    (0..n).map(|_| rng.uniform() - 0.5).collect()
}

/// The same in bf16.
pub fn bits(x: &[f32]) -> Vec<u16> {
    x.iter().map(|&v| u16::from_f32(v)).collect()
}
