//! The products by widening everything to f32 first: stands in until the kernels on panels land.

use super::{Epilogue, Weights};
use crate::mat::{Acts, Mat, MatMut, Out, Update};
use crate::matmul::{matmul_nn, matmul_nt};
use crate::pool::{Arena, Buffer};
use half::bf16;

fn round(x: f32) -> f32 {
    bf16::from_f32(x).to_f32()
}

/// Activations rounded to bf16.
fn widened(x: Acts, arena: &Arena) -> Buffer {
    let (rows, cols) = (x.rows(), x.cols());
    let mut out: Buffer = arena.take(rows * cols);
    for i in 0..rows {
        for j in 0..cols {
            out[i * cols + j] = match x {
                Acts::F32(m) => round(m.data[i * m.stride + j]),
                Acts::Bf16(m) => bf16::from_bits(m.data[i * m.stride + j]).to_f32(),
            };
        }
    }
    out
}

/// Rows as quantisation to 255 levels leaves them.
fn quantised(x: &mut [f32], cols: usize) {
    if cols == 0 {
        return;
    }
    for row in x.chunks_mut(cols) {
        let scale = row.iter().fold(0.0f32, |m, v| m.max(v.abs())) / 127.0;
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        row.iter_mut().for_each(|v| *v = (*v * inverse).round_ties_even() * scale);
    }
}

fn finish(out: Out, product: &[f32], e: &Epilogue) {
    let (rows, cols) = (out.rows(), out.cols());
    let sum = |i: usize, j: usize| {
        let mut v = product[i * cols + j];
        if let Some((u, w)) = e.low_rank {
            for l in 0..u.cols {
                v += u.row(i)[l] * w.row(l)[j];
            }
        }
        if let Some(r) = e.residual {
            v += r.row(i)[j];
        }
        v + e.bias.map_or(0.0, |b| b[j])
    };
    let add = e.update == Update::Add;
    match out {
        Out::F32(m) => {
            for i in 0..rows {
                for j in 0..cols {
                    let to = &mut m.data[i * m.stride + j];
                    *to = sum(i, j) + if add { *to } else { 0.0 };
                }
            }
        }
        Out::Bf16(m) => {
            for i in 0..rows {
                for j in 0..cols {
                    let to = &mut m.data[i * m.stride + j];
                    *to = bf16::from_f32(sum(i, j) + if add { bf16::from_bits(*to).to_f32() } else { 0.0 }).to_bits();
                }
            }
        }
    }
}

fn weight(w: Weights, transposed: bool, x: &mut [f32], cols: usize) -> Vec<f32> {
    match w {
        Weights::Bf16(p) => p.to_f32(),
        Weights::I8(p) => {
            if !transposed {
                quantised(x, cols);
            }
            p.to_f32()
        }
        Weights::F32(m) => (0..m.rows).flat_map(|i| m.row(i).iter().map(|&v| round(v))).collect(),
    }
}

pub(super) fn nt(out: Out, x: Acts, w: Weights, e: &Epilogue, arena: &Arena) {
    let (m, n, k) = (out.rows(), out.cols(), x.cols());
    let mut x = widened(x, arena);
    let w = weight(w, false, &mut x, k);
    let mut y: Buffer = arena.take(m * n);
    matmul_nt(MatMut::new(&mut y, m, n), Mat::new(&x, m, k), Mat::new(&w, n, k), 1.0, Update::Set);
    finish(out, &y, e);
}

pub(super) fn nn(out: Out, dy: Acts, w: Weights, e: &Epilogue, arena: &Arena) {
    let (m, n, k) = (out.rows(), dy.cols(), out.cols());
    let mut dy = widened(dy, arena);
    let w = weight(w, true, &mut dy, n);
    let mut y: Buffer = arena.take(m * k);
    matmul_nn(MatMut::new(&mut y, m, k), Mat::new(&dy, m, n), Mat::new(&w, n, k), 1.0, Update::Set);
    finish(out, &y, e);
}
