//! The inner loop in plain Rust.

use super::{Format, GROUP, PANEL, Tile};
use half::f16;

/// Rows one after the other.
///
/// # Safety
/// See [`Tile`].
pub(super) unsafe fn run(format: Format, rows: usize, t: &Tile) {
    for r in 0..rows {
        // SAFETY: the caller vouches for the pointers.
        let (x, meta, panel) = unsafe {
            let x = std::slice::from_raw_parts(t.x.add(r * t.groups * GROUP), t.groups * GROUP);
            let meta = std::slice::from_raw_parts(t.meta.add(r * t.groups), t.groups);
            (x, meta, std::slice::from_raw_parts(t.panel, t.groups * format.panel_bytes()))
        };
        let mut y = [0.0f32; PANEL];
        for ((x, meta), group) in x.as_chunks::<GROUP>().0.iter().zip(meta).zip(panel.chunks_exact(format.panel_bytes())) {
            let half = |at: usize| f16::from_le_bytes([group[2 * at], group[2 * at + 1]]).to_f32();
            let numbers = &group[if format == Format::Q4_1 { 4 } else { 2 } * PANEL..];
            for j in 0..PANEL {
                let mut acc = format.zero_shift().map_or(0, |shift| meta.minus_sum << shift);
                for step in 0..numbers.len() / (4 * PANEL) {
                    for b in 0..4 {
                        let q = numbers[4 * (step * PANEL + j) + b] as i32;
                        acc += match format {
                            Format::Q8_0 => q * x[4 * step + b] as i32,
                            _ => (q & 15) * x[4 * step + b] as i32 + (q >> 4) * x[16 + 4 * step + b] as i32,
                        };
                    }
                }
                y[j] += acc as f32 * meta.scale * half(j);
                if format == Format::Q4_1 {
                    y[j] += meta.sum * half(PANEL + j);
                }
            }
        }
        for (j, y) in y.iter().enumerate().take(t.cols) {
            // SAFETY: as above.
            unsafe {
                let to = t.out.add(r * t.out_stride + j);
                *to = if t.add { *to + y } else { *y };
            }
        }
    }
}
