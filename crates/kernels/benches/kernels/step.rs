//! The products of a training step over a frozen model: the shapes of SmolLM2-135M, each layer with its own weights, so that they
//! come from memory as they do in a step. Operations of the low-rank branches are not counted.

use crate::record::{Bound, Record, bits, numbers};
use kernels::mat::{Acts, Mat, MatMut, Out, Update};
use kernels::pool::Arena;
use kernels::product::{Bf16Panels, Epilogue, Weights, nn, nt};

const TOKENS: usize = 1024;
const LAYERS: usize = 30;
const RANK: usize = 8;
/// Outputs, inputs, and whether the result goes to the residual stream.
const LINEARS: [(usize, usize, bool); 7] =
    [(576, 576, false), (192, 576, false), (192, 576, false), (576, 576, true), (1536, 576, false), (1536, 576, false), (576, 1536, true)];

/// Forward and to the input, bare and with what a LoRA step fuses behind them.
pub fn run(r: &mut Record) {
    if !r.wants("products of a step") {
        return;
    }
    let arena = Arena::new();
    let noise = numbers(1536 * 1536);
    let panels: Vec<Vec<Bf16Panels>> =
        (0..LAYERS).map(|_| LINEARS.iter().map(|&(n, k, _)| Bf16Panels::new(Mat::new(&noise[..n * k], n, k))).collect()).collect();
    let x16 = bits(&numbers(TOKENS * 1536));
    let (mut wide, mut narrow) = (vec![0.0; TOKENS * 1536], vec![0u16; TOKENS * 1536]);
    let (u, w, residual) = (numbers(TOKENS * RANK), numbers(RANK * 1536), numbers(TOKENS * 1536));
    let flop: f64 = LINEARS.iter().map(|&(n, k, _)| 2.0 * (LAYERS * TOKENS * n * k) as f64).sum();
    for branch in [false, true] {
        let low = |n: usize| branch.then(|| (Mat::new(&u, TOKENS, RANK), Mat::new(&w[..RANK * n], RANK, n)));
        let name = |way: &str| format!("products of a step, {way}{}", if branch { ", rank 8" } else { "" });
        r.bench(&name("forward"), Bound::Bf16, flop, || {
            for layer in &panels {
                for (panels, &(n, k, add)) in layer.iter().zip(&LINEARS) {
                    let x = Acts::Bf16(Mat::new(&x16[..TOKENS * k], TOKENS, k));
                    let residual = add.then(|| Mat::new(&residual[..TOKENS * n], TOKENS, n));
                    let e = Epilogue { residual, low_rank: low(n), ..Epilogue::default() };
                    let out = if add {
                        Out::F32(MatMut::new(&mut wide[..TOKENS * n], TOKENS, n))
                    } else {
                        Out::Bf16(MatMut::new(&mut narrow[..TOKENS * n], TOKENS, n))
                    };
                    nt(out, x, Weights::Bf16(panels), &e, &arena);
                }
            }
        });
        r.bench(&name("to the input"), Bound::Bf16, flop, || {
            for layer in panels.iter().rev() {
                for (i, (panels, &(n, k, _))) in layer.iter().zip(&LINEARS).enumerate().rev() {
                    let dy = Acts::Bf16(Mat::new(&x16[..TOKENS * n], TOKENS, n));
                    // Queries, keys and values share an input, and so do gate and up.
                    let update = if matches!(i, 0 | 1 | 4) { Update::Add } else { Update::Set };
                    let e = Epilogue { update, low_rank: low(k), ..Epilogue::default() };
                    nn(Out::Bf16(MatMut::new(&mut narrow[..TOKENS * k], TOKENS, k)), dy, Weights::Bf16(panels), &e, &arena);
                }
            }
        });
    }
}
