//! How much arithmetic a step needs: multiplications and additions that no implementation could leave out. What is computed twice to
//! save memory does not count, and neither does what a masked position or a frozen prefix makes needless.

use engine::{Linear, Matrix, ParamStore};
use model::Decoder;
use model::decoder::{Layer, Qkv};

/// A batch of equal rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    /// How many.
    pub batch: usize,
    /// Tokens of each.
    pub seq: usize,
    /// Positions of each whose prediction is wanted: the last ones but one (the very last predicts nothing).
    pub wanted: usize,
}

/// Operations of forward and backward pass; with `cached`, without the forward pass below the first trainable tensor.
pub(super) fn train_step(decoder: &Decoder, params: &ParamStore, rows: Rows, cached: bool) -> f64 {
    let all = (rows.batch * rows.seq) as f64;
    let wanted = (rows.batch * rows.wanted) as f64;
    let last = decoder.layers.len().saturating_sub(1);
    let first = first_trainable_layer(decoder);
    // Whether something trainable lies below: then the gradient has to go further down.
    let mut below = embedding_trains(decoder);
    let mut sum = 0.0;
    for (i, layer) in decoder.layers.iter().enumerate() {
        if cached && i < first {
            continue;
        }
        // Nobody needs what the last layer makes of untrained positions, but for their keys and values.
        let queries = if i == last { wanted } else { all };
        below |= layer.input_norm.trainable();
        let fresh = below;
        match &layer.qkv {
            Qkv::Separate([q, k, v]) => {
                sum += linear(q, params, queries, fresh) + linear(k, params, all, fresh) + linear(v, params, all, fresh);
                below |= q.trainable() || k.trainable() || v.trainable();
            }
            Qkv::Fused(qkv) => {
                sum += linear(qkv, params, all, fresh);
                below |= qkv.trainable();
            }
        }
        sum += attention(decoder, i, rows, i == last) * if below { 3.0 } else { 1.0 };
        sum += linear(&layer.output, params, queries, below);
        below |= layer.output.trainable() || layer.post_norm.trainable();
        let fresh = below;
        for l in layer.gate.iter().chain([&layer.up]) {
            sum += linear(l, params, queries, fresh);
            below |= l.trainable();
        }
        sum += linear(&layer.down, params, queries, below);
        below |= layer.down.trainable();
    }
    below |= decoder.final_norm.trainable();
    sum + linear(&decoder.lm_head, params, wanted, below)
}

/// Operations of reading `tokens` tokens and predicting the next one.
pub(super) fn prefill(decoder: &Decoder, params: &ParamStore, tokens: usize) -> f64 {
    let rows = Rows { batch: 1, seq: tokens, wanted: tokens };
    let product = |l: &Linear, n: f64| 2.0 * n * (l.inputs(params) * l.outputs(params)) as f64;
    let body: f64 = decoder.layers.iter().map(|layer| linears(layer).map(|l| product(l, tokens as f64)).sum::<f64>()).sum();
    let attention: f64 = (0..decoder.layers.len()).map(|i| attention(decoder, i, rows, false)).sum();
    body + attention + product(&decoder.lm_head, 1.0)
}

/// All linear layers of a layer.
pub(super) fn linears(layer: &Layer) -> impl Iterator<Item = &Linear> {
    let qkv: Vec<&Linear> = match &layer.qkv {
        Qkv::Separate(three) => three.iter().collect(),
        Qkv::Fused(one) => vec![one],
    };
    qkv.into_iter().chain([&layer.output]).chain(&layer.gate).chain([&layer.up, &layer.down])
}

/// The first layer that holds something trainable; 0 if the embedding does, the number of layers if none does.
fn first_trainable_layer(decoder: &Decoder) -> usize {
    if embedding_trains(decoder) {
        return 0;
    }
    let trainable = |l: &Layer| linears(l).any(Linear::trainable) || l.input_norm.trainable() || l.post_norm.trainable();
    decoder.layers.iter().position(trainable).unwrap_or(decoder.layers.len())
}

/// Forward, gradient to the input where `dx`, gradient to the weight where it is trained, and the low-rank branch.
fn linear(l: &Linear, params: &ParamStore, rows: f64, dx: bool) -> f64 {
    let (inputs, outputs) = (l.inputs(params), l.outputs(params));
    let trained = matches!(l.weight, Matrix::Param(_));
    let times = 1.0 + f64::from(u8::from(dx)) + f64::from(u8::from(trained));
    let branch = l.lora.as_ref().map_or(0.0, |lora| {
        let rank = params.get(lora.a).shape.first().copied().unwrap_or(0);
        let (a, b) = ((rank * inputs) as f64, (rank * outputs) as f64);
        // Forward u = x·Aᵀ and u·Bᵀ; backward du = dy·B, dB, dA, and du·A where dx is wanted.
        2.0 * rows * (2.0 * a + 3.0 * b + if dx { a } else { 0.0 })
    });
    2.0 * rows * (inputs * outputs) as f64 * times + branch
}

/// Scores and mixing of one layer's forward pass, each position seeing itself and those before it.
fn attention(decoder: &Decoder, layer: usize, rows: Rows, trimmed: bool) -> f64 {
    let config = &decoder.config;
    let window = config.windows.get(layer).copied().flatten().unwrap_or(usize::MAX);
    // Wanted predictions are made by the last positions but one.
    let positions = if trimmed && rows.wanted < rows.seq { rows.seq - 1 - rows.wanted..rows.seq - 1 } else { 0..rows.seq };
    let pairs: f64 = positions.map(|p| (p + 1).min(window) as f64).sum();
    4.0 * rows.batch as f64 * pairs * (config.heads * config.head_dim) as f64
}

/// Whether the token or position embedding trains.
fn embedding_trains(decoder: &Decoder) -> bool {
    let param = |m: &Matrix| matches!(m, Matrix::Param(_));
    param(&decoder.embed_tokens) || decoder.positions.as_ref().is_some_and(param)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Method, arch};
    use engine::ComputeDtype;

    /// Against the sums done by hand for a shape that can be done by hand.
    #[test]
    fn operations_are_those_of_the_textbook() {
        let count = |method: &str, wanted: usize, cached: bool| {
            let mut decoder = arch::build("tiny", ComputeDtype::F32).unwrap();
            let method: Method = method.parse().unwrap();
            let prepared = train::prepare(&mut decoder, &method.arguments(8), None, 0).unwrap();
            train_step(&decoder, &prepared.params, Rows { batch: 2, seq: 10, wanted }, cached)
        };
        let (d, kv, inner, vocab, layers) = (64.0, 32.0, 160.0, 512.0, 4.0);
        let (all, wanted) = (20.0, 18.0);
        let scores = |pairs: f64| 4.0 * 2.0 * pairs * d;
        let (keys, rest) = (2.0 * d * kv, 2.0 * d * d + 3.0 * d * inner);
        let head = vocab * d;
        // Everything trains: three products a matrix. In the last layer the last position of a row needs keys and values only.
        let layer = 2.0 * all * (keys + rest) + scores(55.0);
        let last = 2.0 * (all * keys + wanted * rest) + scores(45.0);
        let full = 3.0 * ((layers - 1.0) * layer + last + 2.0 * wanted * head);
        assert_eq!(count("full", 9, false), full);
        // The last layer alone: the others forward, or not at all; its input needs no gradient past queries, keys and values, whose
        // norm trains.
        let tail = 3.0 * last + 2.0 * 2.0 * wanted * head;
        assert_eq!(count("last1", 9, true), tail);
        assert_eq!(count("last1", 9, false), (layers - 1.0) * layer + tail);
        // One prediction a row costs almost nothing beyond keys and values in the last layer.
        let single = 3.0 * (2.0 * (all * keys + 2.0 * rest) + scores(9.0)) + 2.0 * 2.0 * 2.0 * head;
        assert_eq!(count("last1", 1, true), single);
        // LoRA: two products a matrix but for the first queries, keys and values, and the branches.
        let frozen = 2.0 * ((layers - 1.0) * layer + last + 2.0 * wanted * head) - 2.0 * all * (d * d + keys)
            + (layers - 1.0) * scores(55.0)
            + scores(45.0);
        let branches = count("lora", 9, false) - frozen;
        assert!(branches > 0.0 && branches < 0.5 * frozen, "{branches} beside {frozen}");
    }
}
