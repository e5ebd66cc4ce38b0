//! Every operation's gradients against central differences of its own forward pass in small dimensions, and of whole
//! little networks. Losses are accumulated in f64; steps are chosen so that f32 rounding stays below the tolerance.

use engine::rng::Rng;
use engine::*;
use std::sync::Arc;

fn numbers(seed: u64, n: usize) -> Vec<f32> {
    let mut rng = Rng::keyed(seed, &[n as u64]);
    (0..n).map(|_| rng.normal()).collect()
}

fn training() -> Mode {
    training_with(Vec::new())
}

fn training_with(tokens: Vec<TokenKey>) -> Mode {
    Mode::Training { seed: 5, step: 3, tokens }
}

/// Runs `build` and returns `Σ out·c` with random but fixed `c`; in `backward` the gradients are left in the store.
fn run(params: &mut ParamStore, mode: &Mode, backward: bool, build: &dyn Fn(&mut Tape) -> Tensor) -> f64 {
    let arena = Arena::new();
    let mut tape = Tape::new(params, &arena, mode.clone());
    let out = build(&mut tape);
    let c = numbers(99, out.rows() * out.cols());
    let loss = tape.read(&out).iter().zip(&c).map(|(a, b)| *a as f64 * *b as f64).sum();
    if backward {
        tape.seed(&out, &c).unwrap();
        drop(out);
        tape.backward();
    }
    loss
}

/// Compares every parameter's gradient with central differences.
fn check(params: &mut ParamStore, mode: Mode, loss: &dyn Fn(&mut ParamStore, &Mode, bool) -> f64) {
    params.zero_grads();
    loss(params, &mode, true);
    assert!(params.params_without_gradient().is_empty(), "{:?}", params.params_without_gradient());
    // Taken out first: cross-entropy adds the head's gradient in its forward pass, so further runs add to them.
    let gradients: Vec<(ParamId, Vec<f32>)> = params.iter().map(|(id, p)| (id, p.grad.clone())).collect();
    for (id, analytic) in gradients {
        let mut numeric = Vec::new();
        for i in 0..analytic.len() {
            let old = params.get(id).value[i];
            let h = 4e-3f32;
            params.get_mut(id).value[i] = old + h;
            let above = loss(params, &mode, false);
            params.get_mut(id).value[i] = old - h;
            let below = loss(params, &mode, false);
            params.get_mut(id).value[i] = old;
            numeric.push((above - below) / (2.0 * h as f64));
        }
        let error: f64 = analytic.iter().zip(&numeric).map(|(a, n)| (*a as f64 - n).powi(2)).sum::<f64>().sqrt();
        let size: f64 = numeric.iter().map(|n| n * n).sum::<f64>().sqrt();
        assert!(size > 1e-3, "{}: the gradient is zero, the test proves nothing", params.get(id).name);
        assert!(error / size < 2e-3, "{}: {error} of {size}\n{analytic:?}\n{numeric:?}", params.get(id).name);
    }
}

fn check_op(params: &mut ParamStore, mode: Mode, build: impl Fn(&mut Tape) -> Tensor) {
    check(params, mode, &|p, m, b| run(p, m, b, &build));
}

/// A trainable `[rows, cols]` tensor as an activation: an embedding of all its rows.
fn leaf(params: &mut ParamStore, name: &str, rows: usize, cols: usize) -> impl Fn(&mut Tape) -> Tensor + use<> {
    let id = params.add(name, &[rows, cols], numbers(name.len() as u64 * 77 + rows as u64, rows * cols), true).unwrap();
    let ids: Vec<u32> = (0..rows as u32).collect();
    move |tape| tape.embedding(&Matrix::Param(id), &ids).unwrap()
}

fn vector(params: &mut ParamStore, name: &str, n: usize) -> Vector {
    Vector::Param(params.add(name, &[n], numbers(name.len() as u64, n), false).unwrap())
}

fn matrix(params: &mut ParamStore, name: &str, rows: usize, cols: usize) -> Matrix {
    Matrix::Param(params.add(name, &[rows, cols], numbers(name.len() as u64, rows * cols), true).unwrap())
}

fn frozen(rows: usize, cols: usize) -> Matrix {
    Matrix::Frozen(Arc::new(FrozenMatrix::from_f32(rows, cols, numbers(11, rows * cols)).unwrap()))
}

#[test]
fn embedding_with_repeated_rows() {
    let mut p = ParamStore::new();
    let table = matrix(&mut p, "table", 5, 3);
    check_op(&mut p, training(), |t| t.embedding(&table, &[4, 0, 4, 1, 2, 3]).unwrap());
}

#[test]
fn linear_with_everything_trainable() {
    for rows in [1, 5, 19] {
        let mut p = ParamStore::new();
        let x = leaf(&mut p, "x", rows, 7);
        let layer = Linear { weight: matrix(&mut p, "w", 5, 7), bias: Some(vector(&mut p, "bias", 5)), lora: None };
        check_op(&mut p, training(), |t| {
            let x = x(t);
            t.linear(&x, &layer).unwrap()
        });
    }
}

fn lora(p: &mut ParamStore, inputs: usize, outputs: usize, rank: usize, dropout: f32) -> Lora {
    let a = p.add("lora_a", &[rank, inputs], numbers(1, rank * inputs), true).unwrap();
    let b = p.add("lora_b", &[outputs, rank], numbers(2, rank * outputs), true).unwrap();
    Lora { a, b, scale: 0.7, dropout, module: 3 }
}

#[test]
fn linear_with_low_rank_branch() {
    for (rank, dropout) in [(1, 0.0), (3, 0.0), (40, 0.0), (3, 0.4)] {
        let mut p = ParamStore::new();
        let x = leaf(&mut p, "x", 6, 7);
        let lora = lora(&mut p, 7, 5, rank, dropout);
        let layer = Linear { weight: frozen(5, 7), bias: Some(vector(&mut p, "bias", 5)), lora: Some(lora) };
        let keys = TokenKey::for_rows(&[8, 2], &[4, 2]);
        check_op(&mut p, training_with(keys), |t| {
            let x = x(t);
            t.linear(&x, &layer).unwrap()
        });
    }
}

#[test]
fn linear_added_to_a_residual_that_is_used_again() {
    let mut p = ParamStore::new();
    let x = leaf(&mut p, "x", 4, 5);
    let layer = Linear { weight: frozen(5, 5), bias: None, lora: Some(lora(&mut p, 5, 5, 2, 0.0)) };
    check_op(&mut p, training(), |t| {
        let x = x(t);
        let y = t.linear_add(&x, &layer, &x).unwrap();
        let z = t.linear_add(&y, &layer, &x).unwrap();
        t.add(&z, &y).unwrap()
    });
}

#[test]
fn norms() {
    for kind in [NormKind::Rms, NormKind::Layer] {
        for cols in [3, 37] {
            let mut p = ParamStore::new();
            let x = leaf(&mut p, "x", 4, cols);
            let norm = Norm { kind, weight: vector(&mut p, "weight", cols), bias: Some(vector(&mut p, "bias", cols)), eps: 1e-5 };
            check_op(&mut p, training(), |t| {
                let x = x(t);
                t.norm(&x, &norm).unwrap()
            });
        }
    }
}

#[test]
fn activations_plain_and_gated() {
    for f in [Activation::Silu, Activation::Gelu, Activation::GeluTanh] {
        let mut p = ParamStore::new();
        let x = leaf(&mut p, "x", 3, 19);
        check_op(&mut p, training(), |t| {
            let x = x(t);
            t.activation(&x, f).unwrap()
        });
        // Gate and up from two tensors, from one, and from overlapping uses of one.
        let mut p = ParamStore::new();
        let (gate, up) = (leaf(&mut p, "gate", 3, 9), leaf(&mut p, "up", 3, 9));
        check_op(&mut p, training(), |t| {
            let (gate, up) = (gate(t), up(t));
            t.glu(gate.full(), up.full(), f).unwrap()
        });
        let mut p = ParamStore::new();
        let both = leaf(&mut p, "both", 3, 18);
        check_op(&mut p, training(), |t| {
            let both = both(t);
            let y = t.glu(both.view(0, 9), both.view(9, 9), f).unwrap();
            let z = t.glu(both.view(2, 9), y.full(), f).unwrap();
            t.add(&y, &z).unwrap()
        });
    }
    // ReLU away from its corner.
    let mut p = ParamStore::new();
    let id = p.add("x", &[2, 4], vec![-2.0, -1.0, 0.5, 1.0, 2.0, -0.5, 3.0, -3.0], true).unwrap();
    check_op(&mut p, training(), |t| {
        let x = t.embedding(&Matrix::Param(id), &[0, 1]).unwrap();
        t.activation(&x, Activation::Relu).unwrap()
    });
}

#[test]
fn sums_selections_and_dropout() {
    let mut p = ParamStore::new();
    let (a, b) = (leaf(&mut p, "a", 5, 6), leaf(&mut p, "bb", 5, 6));
    let keys = TokenKey::for_rows(&[3], &[5]);
    check_op(&mut p, training_with(keys), |t| {
        let (a, b) = (a(t), b(t));
        let sum = t.add(&a, &b).unwrap();
        let twice = t.add(&sum, &a).unwrap();
        let picked = t.select_rows(&twice, &[4, 0, 4, 1, 2, 3]).unwrap();
        t.dropout(&picked, 0.3, 12).unwrap()
    });
}

fn attention_case(spec: AttentionSpec, lengths: &[usize], fused: bool) {
    let mut p = ParamStore::new();
    let tokens: usize = lengths.iter().sum();
    let (dq, dkv) = (spec.n_heads * spec.head_dim, spec.n_kv_heads * spec.head_dim);
    let segments = Segments::from_lengths(lengths);
    if fused {
        let qkv = leaf(&mut p, "qkv", tokens, dq + 2 * dkv);
        check_op(&mut p, training(), |t| {
            let x = qkv(t);
            t.attention(x.view(0, dq), x.view(dq, dkv), x.view(dq + dkv, dkv), &spec, &segments, None).unwrap()
        });
    } else {
        let q = leaf(&mut p, "q", tokens, dq);
        let k = leaf(&mut p, "kk", tokens, dkv);
        let v = leaf(&mut p, "vvv", tokens, dkv);
        check_op(&mut p, training(), |t| {
            let (q, k, v) = (q(t), k(t), v(t));
            t.attention(q.full(), k.full(), v.full(), &spec, &segments, None).unwrap()
        });
    }
}

#[test]
fn attention() {
    let table = |dims, layout| Some(Arc::new(RopeTable::plain(100.0, dims, 64, layout)));
    let plain = AttentionSpec { n_heads: 2, n_kv_heads: 2, head_dim: 4, scale: 0.5, rope: None, causal: true, window: None };
    attention_case(plain.clone(), &[5, 0, 1, 3], true);
    let grouped = AttentionSpec { n_heads: 6, n_kv_heads: 2, rope: table(4, RopeLayout::Half), ..plain.clone() };
    attention_case(grouped.clone(), &[7, 2], false);
    let partial = AttentionSpec { rope: table(2, RopeLayout::Interleaved), ..grouped.clone() };
    attention_case(partial, &[7, 2], true);
    attention_case(AttentionSpec { window: Some(3), ..grouped.clone() }, &[7, 2], false);
    attention_case(AttentionSpec { causal: false, ..grouped }, &[4, 3], false);
}

#[test]
fn cross_entropy_from_hidden_states() {
    for with_lora in [false, true] {
        let mut p = ParamStore::new();
        let hidden = leaf(&mut p, "hidden", 6, 5);
        let lora = with_lora.then(|| lora(&mut p, 5, 11, 2, 0.0));
        let weight = if with_lora { frozen(11, 5) } else { matrix(&mut p, "head", 11, 5) };
        let head = Linear { weight, bias: Some(vector(&mut p, "bias", 11)), lora };
        let target = |row, token, weight| Target { row, token, weight };
        let targets = [target(4, 3, 0.5), target(0, 10, 0.25), target(4, 7, 0.3), target(2, 0, -0.4), target(5, 1, 0.0)];
        check(&mut p, training(), &|p, mode, backward| {
            let arena = Arena::new();
            let mut tape = Tape::new(p, &arena, mode.clone());
            let h = hidden(&mut tape);
            let log_probs = tape.cross_entropy(&h, &head, &targets).unwrap();
            if backward {
                tape.backward();
            }
            log_probs.iter().zip(&targets).map(|(l, t)| -(*l as f64) * t.weight as f64).sum()
        });
    }
}

#[test]
fn a_tied_matrix_gets_one_summed_gradient() {
    let mut p = ParamStore::new();
    let table = matrix(&mut p, "tied", 7, 4);
    let head = Linear::new(table.clone());
    check(&mut p, training(), &|p, mode, backward| {
        let arena = Arena::new();
        let mut tape = Tape::new(p, &arena, mode.clone());
        let h = tape.embedding(&table, &[1, 5, 1]).unwrap();
        let targets = [Target { row: 0, token: 5, weight: 0.5 }, Target { row: 2, token: 1, weight: 0.5 }];
        let log_probs = tape.cross_entropy(&h, &head, &targets).unwrap();
        if backward {
            tape.backward();
        }
        log_probs.iter().map(|l| -0.5 * *l as f64).sum()
    });
}
