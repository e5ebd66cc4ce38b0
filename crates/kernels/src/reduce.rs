//! Sums over long slices in a fixed order.

/// Elements that are summed by one task, whatever the number of threads.
const CHUNK: usize = 1 << 15;

/// Sum of squares, chunks summed in f64 in order.
pub fn sum_of_squares(x: &[f32]) -> f64 {
    x.chunks(CHUNK).map(|c| c.iter().map(|&v| v as f64 * v as f64).sum::<f64>()).sum()
}

/// True if no element is NaN or infinite.
pub fn all_finite(x: &[f32]) -> bool {
    x.iter().all(|v| v.is_finite())
}
