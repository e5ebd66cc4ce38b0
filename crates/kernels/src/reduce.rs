//! Sums over long slices in a fixed order.

use rayon::prelude::*;

/// Elements that are summed by one task, whatever the number of threads.
const CHUNK: usize = 1 << 15;
/// Chunks whose sums are kept at a time.
const BATCH: usize = 256;

/// `Σ f(chunk)` over chunks in order; chunks are worked on in parallel, their results added one after another.
fn in_order<T: Copy + Default + Send + Sync>(x: &[f32], f: impl Fn(&[f32]) -> T + Sync, mut add: impl FnMut(T)) {
    for batch in x.chunks(CHUNK * BATCH) {
        let mut partial = [T::default(); BATCH];
        let n = batch.len().div_ceil(CHUNK);
        partial[..n].par_iter_mut().zip(batch.par_chunks(CHUNK)).for_each(|(p, c)| *p = f(c));
        partial[..n].iter().for_each(|&p| add(p));
    }
}

/// Sum of squares in f64.
pub fn sum_of_squares(x: &[f32]) -> f64 {
    let mut total = 0.0;
    in_order(x, |c| lanes(c, |v| v as f64 * v as f64), |p| total += p);
    total
}

/// Sum in f64.
pub fn sum(x: &[f32]) -> f64 {
    let mut total = 0.0;
    in_order(x, |c| lanes(c, |v| v as f64), |p| total += p);
    total
}

/// Eight running sums, so that the compiler may use vectors without changing the order.
fn lanes(x: &[f32], f: impl Fn(f32) -> f64) -> f64 {
    let mut acc = [0.0f64; 8];
    let mut chunks = x.chunks_exact(8);
    for c in &mut chunks {
        for i in 0..8 {
            acc[i] += f(c[i]);
        }
    }
    let rest: f64 = chunks.remainder().iter().map(|&v| f(v)).sum();
    acc.iter().sum::<f64>() + rest
}

/// True if no element is NaN or infinite.
pub fn all_finite(x: &[f32]) -> bool {
    // `0·x` is NaN exactly for NaN and infinities; a sum keeps it.
    x.par_chunks(CHUNK).all(|c| {
        let mut acc = [0.0f32; 16];
        let mut chunks = c.chunks_exact(16);
        for c in &mut chunks {
            for i in 0..16 {
                acc[i] += 0.0 * c[i];
            }
        }
        acc.iter().sum::<f32>() == 0.0 && chunks.remainder().iter().all(|v| v.is_finite())
    })
}
