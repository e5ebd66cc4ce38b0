//! Matrix products.

use crate::record::{Bound, Record, bits, numbers};
use kernels::lowrank;
use kernels::mat::{Acts, Mat, MatMut, Out, Update};
use kernels::matmul::{matmul_nn, matmul_nt, matmul_tn};
use kernels::pool::Arena;
use kernels::product::{Bf16Panels, Epilogue, I8Panels, Weights, nn, nn_narrow, nt, nt_narrow, tn};
use kernels::quant::{self, Format, QuantPanels};

/// Outputs and inputs of the model's layers.
const LAYERS: [(usize, usize); 4] = [(1536, 576), (576, 1536), (576, 576), (192, 576)];
/// Outputs and inputs of its head.
const HEAD: (usize, usize) = (49152, 576);

/// All of them.
pub fn run(r: &mut Record) {
    let arena = Arena::new();
    for m in [256, 1024] {
        for (n, k) in LAYERS {
            large(r, m, n, k, &arena);
        }
    }
    large(r, 64, HEAD.0, HEAD.1, &arena);
    for m in [1, 4, 16, 48] {
        few(r, m, HEAD.0, HEAD.1, &arena);
    }
    for (n, k) in [(8, 576), (8, 1536), (24, 576)] {
        narrow(r, 1024, n, k, &arena);
    }
}

fn large(r: &mut Record, m: usize, n: usize, k: usize, arena: &Arena) {
    let e = Epilogue::default();
    let flop = 2.0 * (m * n * k) as f64;
    let (x, dy, w) = (numbers(m * k), numbers(m * n), numbers(n * k));
    let (x16, dy16) = (bits(&x), bits(&dy));
    let (mut y, mut dx, mut g) = (vec![0.0; m * n], vec![0.0; m * k], vec![0.0; n * k]);
    let (xm, dym, wm) = (Mat::new(&x, m, k), Mat::new(&dy, m, n), Mat::new(&w, n, k));
    let (acts, dacts) = (Acts::Bf16(Mat::new(&x16, m, k)), Acts::Bf16(Mat::new(&dy16, m, n)));
    let (forward, backward, gradient) = (format!("{m}x{k}->{n}"), format!("{m}x{n}->{k}"), format!("{n}x{m}x{k}"));

    r.bench(&format!("nt f32 {forward}"), Bound::F32, flop, || matmul_nt(MatMut::new(&mut y, m, n), xm, wm, 1.0, Update::Set));
    r.bench(&format!("nn f32 {backward}"), Bound::F32, flop, || matmul_nn(MatMut::new(&mut dx, m, k), dym, wm, 1.0, Update::Set));
    let wide = Bf16Panels::new(wm);
    let small = I8Panels::new(wm);
    let (mut y16, mut dx16) = (vec![0u16; m * n], vec![0u16; m * k]);
    let weights = [
        ("bf16", Weights::Bf16(&wide), Bound::Bf16),
        ("int8", Weights::I8(&small), Bound::Int8),
        ("bf16 of f32", Weights::F32(wm), Bound::Bf16),
    ];
    for (name, w, bound) in weights {
        r.bench(&format!("nt {name} {forward}"), bound, flop, || nt(Out::Bf16(MatMut::new(&mut y16, m, n)), acts, w, &e, arena));
        r.bench(&format!("nn {name} {backward}"), bound, flop, || nn(Out::Bf16(MatMut::new(&mut dx16, m, k)), dacts, w, &e, arena));
    }
    if (n, k) == HEAD {
        return;
    }
    r.bench(&format!("tn f32 {gradient}"), Bound::F32, flop, || matmul_tn(MatMut::new(&mut g, n, k), dym, xm, 1.0, Update::Add));
    r.bench(&format!("tn bf16 {gradient}"), Bound::Bf16, flop, || tn(MatMut::new(&mut g, n, k), dacts, acts, 1.0, Update::Add, arena));
    let bias = numbers(n);
    let (residual, u, b) = (numbers(m * n), numbers(m * 8), numbers(8 * n));
    let low_rank = Some((Mat::new(&u, m, 8), Mat::new(&b, 8, n)));
    let e = Epilogue { update: Update::Set, residual: Some(Mat::new(&residual, m, n)), bias: Some(&bias), low_rank };
    r.bench(&format!("nt bf16 + residual, bias, rank 8 {forward}"), Bound::Bf16, flop, || {
        nt(Out::F32(MatMut::new(&mut y, m, n)), acts, Weights::Bf16(&wide), &e, arena)
    });
    quantised(r, m, n, k, Bound::Int8, flop, arena);
}

/// Random blocks of a format, with scales that are numbers.
fn blocks(format: Format, n: usize, k: usize) -> QuantPanels {
    let size = format.block_bytes();
    let mut bytes: Vec<u8> = (0..n * k / quant::GROUP * size).map(|i| (i * 37 % 251) as u8).collect();
    for block in bytes.chunks_mut(size) {
        block[..2].copy_from_slice(&0x2000u16.to_le_bytes());
        if matches!(format, Format::Q4_1) {
            block[2..4].copy_from_slice(&0x2000u16.to_le_bytes());
        }
    }
    QuantPanels::new(format, n, k, &bytes, |i| i)
}

fn quantised(r: &mut Record, m: usize, n: usize, k: usize, bound: Bound, count: f64, arena: &Arena) {
    let (x, mut y) = (numbers(m * k), vec![0.0; m * n]);
    for format in [Format::Q4_0, Format::Q4_1, Format::Q8_0] {
        let w = blocks(format, n, k);
        let count = if matches!(bound, Bound::Memory) { w.bytes() as f64 } else { count };
        r.bench(&format!("nt {format:?} {m}x{k}->{n}"), bound, count, || {
            quant::nt(MatMut::new(&mut y, m, n), Mat::new(&x, m, k), &w, Update::Set, arena)
        });
    }
}

/// Few rows: reading the weight is what takes time. 28 million numbers: in 8 bits and less a large L3 holds a part of them.
fn few(r: &mut Record, m: usize, n: usize, k: usize, arena: &Arena) {
    let e = Epilogue::default();
    let (x, w, mut y) = (numbers(m * k), numbers(n * k), vec![0.0; m * n]);
    let (xm, wm) = (Mat::new(&x, m, k), Mat::new(&w, n, k));
    let name = format!("{m}x{k}->{n}");
    r.bench(&format!("dots f32 {name}"), Bound::Memory, (4 * n * k) as f64, || {
        lowrank::dots(MatMut::new(&mut y, m, n), xm, wm, 1.0, Update::Set)
    });
    let (wide, small) = (Bf16Panels::new(wm), I8Panels::new(wm));
    for (kind, w, bytes) in [("bf16", Weights::Bf16(&wide), wide.bytes()), ("int8", Weights::I8(&small), small.bytes())] {
        r.bench(&format!("nt {kind} {name}"), Bound::Memory, bytes as f64, || {
            nt(Out::F32(MatMut::new(&mut y, m, n)), Acts::F32(xm), w, &e, arena)
        });
    }
    quantised(r, m, n, k, Bound::Memory, 0.0, arena);
}

/// The low-rank branch: one side is a handful, the other is read from L2 or L3.
fn narrow(r: &mut Record, m: usize, n: usize, k: usize, arena: &Arena) {
    let flop = 2.0 * (m * n * k) as f64;
    let (x, a, u) = (numbers(m * k), numbers(n * k), numbers(m * n));
    let x16 = bits(&x);
    let acts = Acts::Bf16(Mat::new(&x16, m, k));
    let (mut v, mut y, mut g) = (vec![0.0; m * n], vec![0.0; m * k], vec![0.0; n * k]);
    let (xm, am, um) = (Mat::new(&x, m, k), Mat::new(&a, n, k), Mat::new(&u, m, n));
    let b = Mat::new(&a, k, n);
    r.bench(&format!("dots f32 {m}x{k}->{n}"), Bound::F32, flop, || lowrank::dots(MatMut::new(&mut v, m, n), xm, am, 1.0, Update::Set));
    r.bench(&format!("expand f32 {m}x{n}->{k}"), Bound::F32, flop, || lowrank::expand(MatMut::new(&mut y, m, k), um, am, Update::Set));
    r.bench(&format!("outer f32 {n}x{m}x{k}"), Bound::F32, flop, || lowrank::outer(MatMut::new(&mut g, n, k), um, xm, Update::Add));
    r.bench(&format!("nt_narrow bf16 {m}x{k}->{n}"), Bound::Bf16, flop, || {
        nt_narrow(MatMut::new(&mut v, m, n), acts, am, 1.0, Update::Set, arena)
    });
    r.bench(&format!("nn_narrow bf16 {m}x{k}->{n}"), Bound::Bf16, flop, || {
        nn_narrow(MatMut::new(&mut v, m, n), acts, b, 1.0, Update::Set, arena)
    });
    r.bench(&format!("tn bf16 {n}x{m}x{k}"), Bound::Bf16, flop, || {
        tn(MatMut::new(&mut g, n, k), Acts::F32(um), acts, 1.0, Update::Add, arena)
    });
    r.bench(&format!("tn bf16 {k}x{m}x{n}"), Bound::Bf16, flop, || {
        tn(MatMut::new(&mut g, k, n), acts, Acts::F32(um), 1.0, Update::Add, arena)
    });
}
