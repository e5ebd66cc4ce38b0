//! One AdamW update of a parameter.

/// The scalars of one step, worked out in f64 by the caller.
#[derive(Clone, Copy, Debug)]
pub struct AdamWStep {
    /// Decay rate of the first moment.
    pub beta1: f32,
    /// `1 - beta1`.
    pub one_minus_beta1: f32,
    /// Decay rate of the second moment.
    pub beta2: f32,
    /// `1 - beta2`.
    pub one_minus_beta2: f32,
    /// `1 - lr * weight_decay`: what decoupled decay leaves of the value.
    pub keep: f32,
    /// `lr / (1 - beta1^t)`.
    pub step_size: f32,
    /// `1 / sqrt(1 - beta2^t)`.
    pub inv_sqrt_correction2: f32,
    /// Added to the root.
    pub eps: f32,
}

/// Updates `value`, `m` and `v` from `grad`.
pub fn adamw_step(value: &mut [f32], grad: &[f32], m: &mut [f32], v: &mut [f32], s: &AdamWStep) {
    for i in 0..value.len() {
        let g = grad[i];
        m[i] = s.beta1 * m[i] + s.one_minus_beta1 * g;
        v[i] = s.beta2 * v[i] + s.one_minus_beta2 * g * g;
        let denom = v[i].sqrt() * s.inv_sqrt_correction2 + s.eps;
        value[i] = s.keep * value[i] - s.step_size * (m[i] / denom);
    }
}
