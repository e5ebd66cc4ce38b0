//! Slow, readable versions of the kernels, in f64: what each one means. Tests compare the fast ones with these.

use crate::activation;
use crate::attention::{Shape, Span, groups, key_rows, reach};
use crate::norm;
use crate::quant::{Format, GROUP};

/// `y [m, n] = alpha·x [m, k]·wᵀ [n, k] + keep·y`.
pub fn matmul_nt(y: &mut [f64], x: &[f32], w: &[f32], (m, n, k): (usize, usize, usize), alpha: f64, keep: f64) {
    for i in 0..m {
        for j in 0..n {
            let dot: f64 = (0..k).map(|l| x[i * k + l] as f64 * w[j * k + l] as f64).sum();
            y[i * n + j] = keep * y[i * n + j] + alpha * dot;
        }
    }
}

/// `[cols, rows]` from `[rows, cols]`.
pub fn transpose(x: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    (0..rows * cols).map(|i| x[i % rows * cols + i / rows]).collect()
}

/// `(mean, 1/std)` of a row.
fn row_stats(x: &[f32], kind: norm::Kind, eps: f32) -> (f64, f64) {
    let n = x.len() as f64;
    let mean = match kind {
        norm::Kind::Rms => 0.0,
        norm::Kind::Layer => x.iter().map(|&v| v as f64).sum::<f64>() / n,
    };
    let var = x.iter().map(|&v| (v as f64 - mean).powi(2)).sum::<f64>() / n;
    (mean, 1.0 / (var + eps as f64).sqrt())
}

/// Normalised rows times weight.
pub fn norm_forward(x: &[f32], w: &[f32], kind: norm::Kind, eps: f32) -> Vec<f64> {
    x.chunks(w.len())
        .flat_map(|x| {
            let (mean, rstd) = row_stats(x, kind, eps);
            x.iter().zip(w).map(move |(&x, &w)| (x as f64 - mean) * rstd * w as f64)
        })
        .collect()
}

/// Gradient of [`norm_forward`] to its input.
pub fn norm_backward(dy: &[f32], x: &[f32], w: &[f32], kind: norm::Kind, eps: f32) -> Vec<f64> {
    let n = w.len() as f64;
    let row = |(dy, x): (&[f32], &[f32])| {
        let (mean, rstd) = row_stats(x, kind, eps);
        let g: Vec<f64> = dy.iter().zip(w).map(|(&d, &w)| d as f64 * w as f64).collect();
        let hat: Vec<f64> = x.iter().map(|&x| (x as f64 - mean) * rstd).collect();
        let projection = g.iter().zip(&hat).map(|(g, h)| g * h).sum::<f64>() / n;
        let average = match kind {
            norm::Kind::Rms => 0.0,
            norm::Kind::Layer => g.iter().sum::<f64>() / n,
        };
        (0..x.len()).map(|i| rstd * (g[i] - average - hat[i] * projection)).collect::<Vec<_>>()
    };
    dy.chunks(w.len()).zip(x.chunks(w.len())).flat_map(row).collect()
}

/// Gradient of [`norm_forward`] to its weight.
pub fn norm_backward_weight(dy: &[f32], x: &[f32], cols: usize, kind: norm::Kind, eps: f32) -> Vec<f64> {
    let mut dw = vec![0.0; cols];
    for (dy, x) in dy.chunks(cols).zip(x.chunks(cols)) {
        let (mean, rstd) = row_stats(x, kind, eps);
        for i in 0..cols {
            dw[i] += dy[i] as f64 * (x[i] as f64 - mean) * rstd;
        }
    }
    dw
}

/// `erf`, by its Maclaurin series or continued fraction: more than f32 needs.
pub fn erf(x: f64) -> f64 {
    let a = x.abs();
    if a < 3.0 {
        let (mut term, mut sum) = (a, a);
        for n in 1..200 {
            term *= -a * a / n as f64;
            sum += term / (2 * n + 1) as f64;
        }
        return (sum * std::f64::consts::FRAC_2_SQRT_PI).copysign(x);
    }
    let fraction = (1..60).rev().fold(a, |f, k| a + (k as f64 / 2.0) / f);
    (1.0 - (-a * a).exp() / (fraction * std::f64::consts::PI.sqrt())).copysign(x)
}

/// `f(x)`.
pub fn activation(x: f64, kind: activation::Kind) -> f64 {
    match kind {
        activation::Kind::Silu => x / (1.0 + (-x).exp()),
        activation::Kind::Gelu => 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2)),
        activation::Kind::GeluTanh => {
            let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            0.5 * x * (1.0 + u.tanh())
        }
        activation::Kind::Relu => x.max(0.0),
    }
}

/// `f'(x)` by a central difference in f64.
pub fn activation_slope(x: f64, kind: activation::Kind) -> f64 {
    let h = 1e-5;
    (activation(x + h, kind) - activation(x - h, kind)) / (2.0 * h)
}

/// The softmax weights of one query over the keys that it sees (zero for the others).
fn weights(q: &[f32], key: impl Fn(usize) -> Vec<f32>, keys: usize, position: usize, shape: &Shape) -> Vec<f64> {
    let seen = |j: usize| (!shape.causal || j <= position) && j.saturating_add(shape.window) > position;
    let score = |j: usize| q.iter().zip(key(j)).map(|(&a, b)| a as f64 * b as f64).sum::<f64>();
    let scores: Vec<f64> = (0..keys).map(|j| if seen(j) { score(j) } else { f64::NEG_INFINITY }).collect();
    let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = scores.iter().map(|s| (s - top).exp()).sum();
    scores.iter().map(|s| (s - top).exp() / total).collect()
}

/// Each span with the row of its first key.
fn with_first_key(spans: &[Span]) -> Vec<(usize, &Span)> {
    let mut first = 0;
    let mut list = Vec::new();
    for group in groups(spans) {
        list.extend(group.iter().map(|s| (first, s)));
        first += reach(group);
    }
    list
}

/// Attention of each span with dense keys and values `[kv_heads, key rows, dim]`, where the spans' keys (past ones
/// included) follow one another, and spans in a row with one key base share theirs; `q` is `[heads, tokens, dim]`, the result `[tokens, heads·dim]`.
pub fn attention(q: &[f32], k: &[f32], v: &[f32], spans: &[Span], shape: &Shape) -> Vec<f64> {
    let (t, d) = (shape.tokens, shape.dim);
    let mut out = vec![0.0; t * shape.heads * d];
    let (group, rows) = (shape.heads / shape.kv_heads, key_rows(spans));
    for (first, s) in with_first_key(spans) {
        let keys = s.past + s.len;
        for h in 0..shape.heads {
            let kv = |x: &[f32], j: usize| x[(h / group * rows + first + j) * d..][..d].to_vec();
            for i in 0..s.len {
                let p = weights(&q[(h * t + s.start + i) * d..][..d], |j| kv(k, j), keys, s.past + i, shape);
                let to = &mut out[((s.start + i) * shape.heads + h) * d..][..d];
                for j in 0..keys {
                    for (o, v) in to.iter_mut().zip(kv(v, j)) {
                        *o += p[j] * v as f64;
                    }
                }
            }
        }
    }
    out
}

/// Gradients `(dq, dk, dv)` of [`attention`] in the layouts of its inputs.
pub fn attention_backward(dout: &[f32], q: &[f32], k: &[f32], v: &[f32], spans: &[Span], shape: &Shape) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let (t, d) = (shape.tokens, shape.dim);
    let (group, rows) = (shape.heads / shape.kv_heads, key_rows(spans));
    let (mut dq, mut dk, mut dv) = (vec![0.0; q.len()], vec![0.0; k.len()], vec![0.0; v.len()]);
    for (first, s) in with_first_key(spans) {
        let keys = s.past + s.len;
        for h in 0..shape.heads {
            let kv = |j: usize| (h / group * rows + first + j) * d;
            for i in 0..s.len {
                let at = (h * t + s.start + i) * d;
                let p = weights(&q[at..][..d], |j| k[kv(j)..][..d].to_vec(), keys, s.past + i, shape);
                let g = &dout[((s.start + i) * shape.heads + h) * d..][..d];
                let dp: Vec<f64> = (0..keys).map(|j| (0..d).map(|c| g[c] as f64 * v[kv(j) + c] as f64).sum()).collect();
                let mean: f64 = p.iter().zip(&dp).map(|(p, dp)| p * dp).sum();
                for j in 0..keys {
                    let ds = p[j] * (dp[j] - mean);
                    for c in 0..d {
                        dv[kv(j) + c] += p[j] * g[c] as f64;
                        dk[kv(j) + c] += ds * q[at + c] as f64;
                        dq[at + c] += ds * k[kv(j) + c] as f64;
                    }
                }
            }
        }
    }
    (dq, dk, dv)
}

/// `log Σ eˣ`.
pub fn log_sum_exp(x: &[f32]) -> f64 {
    let top = x.iter().fold(f64::NEG_INFINITY, |m, &v| m.max(v as f64));
    top + x.iter().map(|&v| (v as f64 - top).exp()).sum::<f64>().ln()
}

/// One AdamW step of a number: `(value, m, v)`.
pub fn adamw((value, m, v): (f64, f64, f64), grad: f64, lr: f64, decay: f64, betas: (f64, f64), eps: f64, t: i32) -> (f64, f64, f64) {
    let m = betas.0 * m + (1.0 - betas.0) * grad;
    let v = betas.1 * v + (1.0 - betas.1) * grad * grad;
    let value = value * (1.0 - lr * decay);
    let (m_hat, v_hat) = (m / (1.0 - betas.0.powi(t)), v / (1.0 - betas.1.powi(t)));
    (value - lr * m_hat / (v_hat.sqrt() + eps), m, v)
}

/// The numbers of GGUF blocks, one after the other.
pub fn dequantise(format: Format, blocks: &[u8]) -> Vec<f32> {
    let half = |b: &[u8]| half::f16::from_le_bytes([b[0], b[1]]).to_f32();
    let value = |block: &[u8], i: usize| {
        let nibble = |from: usize| {
            let byte = block[from + i % 16];
            if i < 16 { byte & 15 } else { byte >> 4 }
        };
        match format {
            Format::Q4_0 => half(block) * (nibble(2) as i32 - 8) as f32,
            Format::Q4_1 => half(block) * nibble(4) as f32 + half(&block[2..]),
            Format::Q8_0 => half(block) * (block[2 + i] as i8) as f32,
        }
    };
    blocks.chunks(format.block_bytes()).flat_map(|block| (0..GROUP).map(move |i| value(block, i))).collect()
}

/// Activations as a product with quantised weights sees them: multiples of a 127th of their group's largest magnitude.
pub fn quantised_activations(x: &[f32]) -> Vec<f32> {
    let group = |x: &[f32]| {
        let top = x.iter().fold(0.0f32, |m, x| m.max(x.abs()));
        let unit = top / 127.0;
        x.iter().map(|x| if top > 0.0 { (x * (127.0 / top)).round_ties_even() * unit } else { 0.0 }).collect::<Vec<_>>()
    };
    x.chunks(GROUP).flat_map(group).collect()
}
