//! `tunesmith bench products`: the matrix products of a step over frozen weights, alone. Each matrix has numbers of its own, so that
//! weights come from memory as they do in a step; what lies between the products of a real step is left out.

use std::fmt::Write;

use engine::rng::Rng;
use engine::{Arena, ComputeDtype};
use kernels::element::Element;
use kernels::mat::{Acts, Mat, MatMut, Out, Update};
use kernels::matmul::{matmul_nn, matmul_nt};
use kernels::product::{Bf16Panels, Epilogue, I8Panels, Weights, nn, nt};
use model::family::{Half, Part, Place, Slot, slots};
use serde::Serialize;

use super::{Peak, Subject, arch, at_least_one, median_ms, peak, timed};
use crate::environment::Environment;
use crate::error::{Result, StageError};
use crate::progress::{Progress, Unit};

/// What to time.
#[derive(Clone, Debug)]
pub struct ProductsJob {
    /// The model whose shapes count.
    pub subject: Subject,
    /// Rows of every product.
    pub tokens: usize,
    /// Rank of a low-rank branch that is added behind each product; 0 is none.
    pub rank: usize,
    /// What products are computed in.
    pub dtype: ComputeDtype,
    /// Repetitions that are timed; one more before them is not.
    pub repeats: usize,
    /// Measure the machine's peaks afterwards.
    pub peak: bool,
}

/// One direction.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Way {
    /// Median milliseconds of all products.
    pub ms: f64,
    /// Arithmetic, that of the low-rank branch behind each product included, 10^9 operations.
    pub gflop: f64,
    /// `gflop` a second.
    pub gflops: f64,
    /// `gflops / peak.gflops`.
    pub fraction_of_peak: Option<f64>,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Products {
    /// The model.
    pub model: String,
    /// Matrices of all layers (the head is none of them).
    pub matrices: usize,
    /// Rows of every product.
    pub tokens: usize,
    /// Rank of the branch behind each.
    pub rank: usize,
    /// What products were computed in.
    #[serde(serialize_with = "super::dtype_name")]
    pub dtype: ComputeDtype,
    /// Worker threads.
    pub threads: usize,
    /// Repetitions that were timed.
    pub repeats: usize,
    /// `x·Wᵀ`, onto the residual stream where the layer does that.
    pub forward: Way,
    /// `dy·W`.
    pub to_input: Way,
    /// What the machine can do, unless that was not to be measured.
    pub peak: Option<Peak>,
}

/// A weight as products of a type want it.
enum Packed {
    F32(Vec<f32>),
    Bf16(Bf16Panels),
    Int8(I8Panels),
}

/// One linear layer.
struct Matrix {
    outputs: usize,
    inputs: usize,
    /// Its result joins the residual stream.
    joins: bool,
    /// Another matrix has written the gradient of its input before.
    adds: bool,
    weight: Packed,
}

/// Times the products.
///
/// # Errors
/// Sizes of zero, groups of a file as the type; a model that cannot be had.
pub fn products(environment: &Environment, job: &ProductsJob, progress: &mut dyn Progress) -> Result<Products> {
    at_least_one(&[("--tokens", job.tokens), ("--repeats", job.repeats)])?;
    if job.dtype == ComputeDtype::Native {
        return Err(StageError::input("--dtype native: a file's own groups have no gradient; choose int8, bf16 or f32"));
    }
    if job.dtype == ComputeDtype::F32 && job.rank > 0 {
        return Err(StageError::input("--rank: in f32 the low-rank branch is no part of the product; leave it out"));
    }
    let config = match &job.subject {
        Subject::Arch(name) => arch::config(name)?,
        Subject::Model(_) => job.subject.base(environment, progress)?.config,
    };
    let matrices: Vec<Matrix> = slots(&config).iter().enumerate().filter_map(|(i, slot)| matrix(slot, i, job.dtype)).collect();
    let widest = matrices.iter().map(|m| m.inputs.max(m.outputs)).max().unwrap_or(1);
    let mut bench = Buffers::new(job.tokens, widest, job.rank);
    let (mut forward, mut to_input) = (Vec::new(), Vec::new());
    progress.begin("multiply", Some(job.repeats as u64 + 1), 0, Unit::Rows);
    for repeat in 0..=job.repeats {
        if progress.cancelled() {
            progress.end();
            return Err(StageError::Stopped { help: None });
        }
        let ((), first) = timed(|| {
            matrices.iter().for_each(|m| bench.forward(m));
            Ok(())
        })?;
        let ((), second) = timed(|| {
            matrices.iter().rev().for_each(|m| bench.backward(m));
            Ok(())
        })?;
        // The first round meets cold caches and new memory.
        if repeat > 0 {
            forward.push(first);
            to_input.push(second);
        }
        progress.advance(1);
    }
    progress.end();
    // The branch adds a thin product of its rank to each. (What it begins with, `x·Aᵀ` or `dy·B`, is not part of this.)
    let gflop = |thin: fn(&Matrix) -> usize| {
        matrices.iter().map(|m| 2.0 * (job.tokens * (m.inputs * m.outputs + job.rank * thin(m))) as f64).sum::<f64>() / 1e9
    };
    let peak = job.peak.then(|| peak(job.dtype));
    let way = |seconds: &mut [f64], gflop: f64| {
        let ms = median_ms(seconds);
        let gflops = gflop / ms * 1e3;
        Way { ms, gflop, gflops, fraction_of_peak: peak.map(|peak| gflops / peak.gflops) }
    };
    Ok(Products {
        model: job.subject.to_string(),
        matrices: matrices.len(),
        tokens: job.tokens,
        rank: job.rank,
        dtype: job.dtype,
        threads: kernels::cpu::threads(),
        repeats: job.repeats,
        forward: way(&mut forward, gflop(|m| m.outputs)),
        to_input: way(&mut to_input, gflop(|m| m.inputs)),
        peak,
    })
}

/// The matrix of a slot, if it is a layer's.
fn matrix(slot: &Slot, index: usize, dtype: ComputeDtype) -> Option<Matrix> {
    let Place::Layer(_, part) = slot.place else { return None };
    let &[outputs, inputs] = &slot.shape[..] else { return None };
    let numbers = numbers(outputs * inputs, index as u64);
    let mat = Mat::new(&numbers, outputs, inputs);
    let weight = match dtype {
        ComputeDtype::Bf16 => Packed::Bf16(Bf16Panels::new(mat)),
        ComputeDtype::Int8 => Packed::Int8(I8Panels::new(mat)),
        _ => Packed::F32(numbers),
    };
    let joins = matches!(part, Part::Output(Half::Weight) | Part::Down(Half::Weight));
    // Backward, the last of those that share an input comes first.
    let adds = matches!(part, Part::Qkv(0 | 1, _) | Part::Gate(_));
    Some(Matrix { outputs, inputs, joins, adds, weight })
}

/// Numbers around zero, the same in every run.
fn numbers(n: usize, stream: u64) -> Vec<f32> {
    let mut rng = Rng::keyed(0, &[stream]);
    (0..n).map(|_| rng.uniform() - 0.5).collect()
}

/// What products read and write besides weights.
struct Buffers {
    tokens: usize,
    rank: usize,
    arena: Arena,
    wide: Vec<f32>,
    narrow: Vec<u16>,
    residual: Vec<f32>,
    /// The low-rank branch, `[tokens, rank]` and `[rank, widest]`.
    u: Vec<f32>,
    b: Vec<f32>,
    out: Vec<f32>,
    out_narrow: Vec<u16>,
}

impl Buffers {
    fn new(tokens: usize, widest: usize, rank: usize) -> Self {
        let n = tokens * widest;
        let wide = numbers(n, 1 << 32);
        let narrow = wide.iter().map(|&x| u16::from_f32(x)).collect();
        Buffers {
            tokens,
            rank,
            arena: Arena::new(),
            narrow,
            residual: wide.clone(),
            wide,
            u: numbers(tokens * rank, 2 << 32),
            b: numbers(rank * widest, 3 << 32),
            out: vec![0.0; n],
            out_narrow: vec![0; n],
        }
    }

    fn forward(&mut self, m: &Matrix) {
        let (t, n, k) = (self.tokens, m.outputs, m.inputs);
        let w = match &m.weight {
            Packed::F32(w) => {
                return matmul_nt(out(&mut self.out, t, n), Mat::new(&self.wide[..t * k], t, k), Mat::new(w, n, k), 1.0, Update::Set);
            }
            Packed::Bf16(w) => Weights::Bf16(w),
            Packed::Int8(w) => Weights::I8(w),
        };
        let e = Epilogue {
            residual: m.joins.then(|| Mat::new(&self.residual[..t * n], t, n)),
            low_rank: (self.rank > 0).then(|| (Mat::new(&self.u, t, self.rank), Mat::new(&self.b[..self.rank * n], self.rank, n))),
            ..Epilogue::default()
        };
        let x = Acts::Bf16(Mat::new(&self.narrow[..t * k], t, k));
        let to = if m.joins { Out::F32(out(&mut self.out, t, n)) } else { Out::Bf16(out(&mut self.out_narrow, t, n)) };
        nt(to, x, w, &e, &self.arena);
    }

    fn backward(&mut self, m: &Matrix) {
        let (t, n, k) = (self.tokens, m.outputs, m.inputs);
        let update = if m.adds { Update::Add } else { Update::Set };
        let w = match &m.weight {
            Packed::F32(w) => {
                return matmul_nn(out(&mut self.out, t, k), Mat::new(&self.wide[..t * n], t, n), Mat::new(w, n, k), 1.0, update);
            }
            Packed::Bf16(w) => Weights::Bf16(w),
            Packed::Int8(w) => Weights::I8(w),
        };
        let e = Epilogue {
            update,
            low_rank: (self.rank > 0).then(|| (Mat::new(&self.u, t, self.rank), Mat::new(&self.b[..self.rank * k], self.rank, k))),
            ..Epilogue::default()
        };
        let dy = Acts::Bf16(Mat::new(&self.narrow[..t * n], t, n));
        nn(Out::Bf16(out(&mut self.out_narrow, t, k)), dy, w, &e, &self.arena);
    }
}

/// The beginning of a buffer as a matrix.
fn out<T>(buffer: &mut [T], rows: usize, cols: usize) -> MatMut<'_, T> {
    MatMut::new(&mut buffer[..rows * cols], rows, cols)
}

impl Products {
    /// As a person reads it.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        let branch = if self.rank > 0 { format!(", a branch of rank {} behind each", self.rank) } else { String::new() };
        let _ = writeln!(
            out,
            "{}: {} products of {} tokens in {}, {} threads{branch}",
            self.model,
            self.matrices,
            self.tokens,
            self.dtype.name(),
            self.threads
        );
        for (i, (name, way)) in [("forward", self.forward), ("to the input", self.to_input)].into_iter().enumerate() {
            let line = if i > 0 { "\n" } else { "" };
            let _ = write!(out, "{line}{name:12}  {:.1} GFLOP in {:.1} ms, {:.0} GFLOP/s", way.gflop, way.ms, way.gflops);
            if let (Some(fraction), Some(peak)) = (way.fraction_of_peak, self.peak) {
                let _ =
                    write!(out, ": {:.0}% of the {:.0} that this machine can do in {}", 100.0 * fraction, peak.gflops, self.dtype.name());
            }
        }
        out
    }
}
