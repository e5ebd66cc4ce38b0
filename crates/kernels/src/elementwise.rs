//! Element-wise loops.

/// Sets every element.
pub fn fill(x: &mut [f32], value: f32) {
    x.fill(value);
}

/// Multiplies every element.
pub fn scale(x: &mut [f32], factor: f32) {
    for v in x {
        *v *= factor;
    }
}
