//! Numbers and comparisons that the tests share.

#![allow(dead_code)] // each test binary uses some

use kernels::attention::Span;
use kernels::rng::Rng;

pub fn numbers(seed: u64, n: usize) -> Vec<f32> {
    let mut rng = Rng::keyed(seed, &[n as u64]);
    (0..n).map(|_| rng.normal()).collect()
}

/// `‖a − b‖ ≤ tolerance·‖b‖` (or f32's last bits of one), and everything finite.
#[track_caller]
pub fn close(a: &[f32], b: &[f64], tolerance: f64, what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    assert!(a.iter().all(|x| x.is_finite()), "{what}: not finite");
    let error = a.iter().zip(b).map(|(a, b)| (*a as f64 - b).powi(2)).sum::<f64>().sqrt();
    let size = b.iter().map(|b| b * b).sum::<f64>().sqrt();
    // Numbers here are of order one; differences of near equals keep an absolute error.
    assert!(error <= tolerance * size + 3e-8 * (a.len() as f64).sqrt(), "{what}: {error} of {size}");
}

pub fn widen(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&v| v as f64).collect()
}

/// Runs `f` on one, two and five threads and asserts equal bits.
pub fn same_on_all_threads(f: impl Fn() -> Vec<f32> + Sync + Send) -> Vec<f32> {
    let on = |n| rayon::ThreadPoolBuilder::new().num_threads(n).build().expect("threads").install(&f);
    let one = on(1);
    for n in [2, 5] {
        let other = on(n);
        assert!(one.iter().zip(&other).all(|(a, b)| a.to_bits() == b.to_bits()), "{n} threads change bits");
    }
    one
}

pub fn spans(lengths: &[usize], dim: usize) -> (Vec<Span>, usize) {
    let whole: Vec<_> = lengths.iter().map(|&len| (0, len)).collect();
    spans_with_past(&whole, dim)
}

/// Spans of `(past, len)`; keys of the spans lie end to end, but a span that begins where the one before it ends continues its
/// path. Also the number of queries.
pub fn spans_with_past(lengths: &[(usize, usize)], dim: usize) -> (Vec<Span>, usize) {
    let (mut start, mut row, mut end, mut first) = (0, 0, 0, 0);
    let spans = lengths
        .iter()
        .map(|&(past, len)| {
            if past != end {
                first = row;
            }
            let s = Span { start, len, past, key_base: first * dim, value_base: first * dim };
            (start, row, end) = (start + len, first + past + len, past + len);
            s
        })
        .collect();
    (spans, start)
}
