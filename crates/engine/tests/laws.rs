//! What must hold of whole networks: packed = alone, one thread = many, recomputed = saved, decoded with a cache =
//! read at once, and how much memory all that may take.

use engine::rng::Rng;
use engine::*;
use std::sync::Arc;

const D: usize = 48;
const F: usize = 80;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const DIM: usize = 12;
const KV: usize = KV_HEADS * DIM;
const VOCAB: usize = 150;
const RANK: usize = 3;

struct Layer {
    norm1: Norm,
    norm2: Norm,
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    gate: Linear,
    up: Linear,
    down: Linear,
}

/// A small Llama with low-rank branches everywhere from layer `frozen` on.
struct Net {
    embed: Matrix,
    layers: Vec<Layer>,
    norm: Norm,
    head: Linear,
    spec: AttentionSpec,
    compute: ComputeDtype,
}

const COMPUTE: [ComputeDtype; 3] = [ComputeDtype::F32, ComputeDtype::Bf16, ComputeDtype::Int8];

fn numbers(seed: u64, n: usize, size: f32) -> Vec<f32> {
    let mut rng = Rng::keyed(seed, &[n as u64]);
    (0..n).map(|_| rng.normal() * size).collect()
}

impl Net {
    fn new(layers: usize, frozen: usize, dropout: f32) -> (Net, ParamStore) {
        Self::new_in(ComputeDtype::F32, layers, frozen, dropout)
    }

    fn new_in(compute: ComputeDtype, layers: usize, frozen: usize, dropout: f32) -> (Net, ParamStore) {
        let mut p = ParamStore::new();
        let mut key = 0;
        let mut matrix = |rows: usize, cols: usize| {
            key += 1;
            let data = numbers(key, rows * cols, 1.0 / (cols as f32).sqrt());
            Matrix::Frozen(Arc::new(FrozenMatrix::packed(rows, cols, data, compute).unwrap()))
        };
        let norm = || Norm { kind: NormKind::Rms, weight: Vector::Frozen(Arc::new(vec![1.1; D])), bias: None, eps: 1e-5 };
        let embed = matrix(VOCAB, D);
        let list = (0..layers)
            .map(|i| {
                let mut linear = |out: usize, inp: usize| {
                    let weight = matrix(out, inp);
                    if i < frozen {
                        return Linear::new(weight);
                    }
                    let module = p.len() as u64;
                    let a = p.add(format!("{module}.a"), &[RANK, inp], numbers(module, RANK * inp, 0.1), true).unwrap();
                    let b = p.add(format!("{module}.b"), &[out, RANK], numbers(module, out * RANK, 0.1), true).unwrap();
                    Linear { weight, bias: None, lora: Some(Lora { a, b, scale: 2.0, dropout, module }) }
                };
                Layer {
                    q: linear(HEADS * DIM, D),
                    k: linear(KV, D),
                    v: linear(KV, D),
                    o: linear(D, HEADS * DIM),
                    gate: linear(F, D),
                    up: linear(F, D),
                    down: linear(D, F),
                    norm1: norm(),
                    norm2: norm(),
                }
            })
            .collect();
        let head = Linear::new(embed.clone());
        let spec = AttentionSpec {
            n_heads: HEADS,
            n_kv_heads: KV_HEADS,
            head_dim: DIM,
            scale: 0.3,
            rope: Some(Arc::new(RopeTable::plain(1000.0, DIM, 512, RopeLayout::Half))),
            causal: true,
            window: None,
        };
        (Net { embed, layers: list, norm: norm(), head, spec, compute }, p)
    }

    fn forward(&self, t: &mut Tape, ids: &[u32], s: &Segments, mut cache: Option<&mut KvCache>) -> Tensor {
        t.compute_in(self.compute);
        let mut x = t.embedding(&self.embed, ids).unwrap();
        for (i, l) in self.layers.iter().enumerate() {
            let h = t.norm(&x, &l.norm1).unwrap();
            let (q, k, v) = (t.linear(&h, &l.q).unwrap(), t.linear(&h, &l.k).unwrap(), t.linear(&h, &l.v).unwrap());
            drop(h);
            let cache = cache.as_deref_mut().map(|c| (c, i));
            let o = t.attention(q.full(), k.full(), v.full(), &self.spec, s, cache).unwrap();
            drop((q, k, v));
            x = t.linear_add(&o, &l.o, &x).unwrap();
            drop(o);
            let h = t.norm(&x, &l.norm2).unwrap();
            let (gate, up) = (t.linear(&h, &l.gate).unwrap(), t.linear(&h, &l.up).unwrap());
            drop(h);
            let m = t.glu(gate.full(), up.full(), Activation::Silu).unwrap();
            drop((gate, up));
            x = t.linear_add(&m, &l.down, &x).unwrap();
        }
        t.norm(&x, &self.norm).unwrap()
    }

    /// Log-probabilities of every next token, then all gradients.
    fn step(&self, p: &mut ParamStore, arena: &Arena, lengths: &[usize], rows: &[u64], keep: bool) -> (Vec<f32>, Vec<f32>) {
        p.zero_grads();
        let (ids, targets) = batch(lengths, rows);
        let tokens = TokenKey::for_rows(rows, lengths);
        let mut t = Tape::new(p, arena, Mode::Training { seed: 1, step: 2, tokens });
        if keep {
            t.keep_everything();
        }
        let h = self.forward(&mut t, &ids, &Segments::from_lengths(lengths), None);
        let log_probs = t.cross_entropy(&h, &self.head, &targets).unwrap();
        drop(h);
        t.backward();
        (log_probs, p.iter().flat_map(|(_, p)| p.grad.clone()).collect())
    }
}

/// Token `i` of row `row` of the data.
fn token(row: u64, i: usize) -> u32 {
    (rng::fold(77, &[row, i as u64]) % VOCAB as u64) as u32
}

fn batch(lengths: &[usize], rows: &[u64]) -> (Vec<u32>, Vec<Target>) {
    let ids: Vec<u32> = rows.iter().zip(lengths).flat_map(|(&r, &n)| (0..n).map(move |i| token(r, i))).collect();
    let mut targets = Vec::new();
    let mut start = 0;
    for &n in lengths {
        for i in 1..n {
            targets.push(Target { row: (start + i - 1) as u32, token: ids[start + i], weight: 0.01 });
        }
        start += n;
    }
    (ids, targets)
}

#[track_caller]
fn same_bits(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert!(a.to_bits() == b.to_bits(), "element {i}: {a} and {b}");
    }
}

#[track_caller]
fn close(a: &[f32], b: &[f32], tolerance: f64) {
    assert_eq!(a.len(), b.len());
    let error = a.iter().zip(b).map(|(a, b)| (*a as f64 - *b as f64).powi(2)).sum::<f64>().sqrt();
    let size = b.iter().map(|b| *b as f64 * *b as f64).sum::<f64>().sqrt();
    assert!(size > 0.0 && error <= tolerance * size, "{error} of {size}");
}

#[test]
fn segments_packed_together_equal_each_alone() {
    for (dropout, compute) in [0.0, 0.2].into_iter().flat_map(|d| COMPUTE.map(|c| (d, c))) {
        let (net, mut p) = Net::new_in(compute, 2, 0, dropout);
        let f32 = compute == ComputeDtype::F32;
        let arena = Arena::new();
        for (lengths, exact) in [(&[9usize, 1, 20, 13][..], true), (&[40, 90, 5, 61], false)] {
            let rows: Vec<u64> = (0..lengths.len() as u64).map(|i| 10 + i).collect();
            let (packed, packed_grads) = net.step(&mut p, &arena, lengths, &rows, false);
            let mut alone = Vec::new();
            let mut sum = vec![0.0f32; packed_grads.len()];
            for (&n, &row) in lengths.iter().zip(&rows) {
                let (log_probs, grads) = net.step(&mut p, &arena, &[n], &[row], false);
                alone.extend(log_probs);
                sum.iter_mut().zip(grads).for_each(|(s, g)| *s += g);
            }
            if exact || !f32 {
                // Products on packed weights add in one order for every number of rows; in f32, few rows all take the
                // same path: equal to the bit.
                same_bits(&packed, &alone);
            }
            close(&packed, &alone, 1e-6);
            close(&packed_grads, &sum, if f32 { 5e-6 } else { 1e-4 });
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let run = |compute: ComputeDtype, threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let (net, mut p) = Net::new_in(compute, 2, 0, 0.1);
            let mut optimizer = AdamW::new(AdamWConfig { weight_decay: 0.01, ..Default::default() }, &p);
            let arena = Arena::new();
            let mut log_probs = Vec::new();
            for _ in 0..3 {
                log_probs.extend(net.step(&mut p, &arena, &[70, 3, 120, 33], &[1, 2, 3, 4], false).0);
                let norm = p.grad_norm();
                optimizer.step(&mut p, 1e-2, 0.5 / norm as f32);
            }
            log_probs.extend(p.iter().flat_map(|(_, p)| p.value.clone()));
            log_probs
        })
    };
    for compute in COMPUTE {
        let one = run(compute, 1);
        for threads in [2, 3, 7] {
            same_bits(&one, &run(compute, threads));
        }
    }
}

#[test]
fn recomputed_equals_saved() {
    for (frozen, compute) in [0, 1].into_iter().flat_map(|f| COMPUTE.map(|c| (f, c))) {
        let (net, mut p) = Net::new_in(compute, 3, frozen, 0.1);
        let arena = Arena::new();
        arena.reset_peak();
        let (a, ga) = net.step(&mut p, &arena, &[50, 30], &[1, 2], false);
        let recomputing = arena.stats().bytes_peak;
        arena.reset_peak();
        let (b, gb) = net.step(&mut p, &arena, &[50, 30], &[1, 2], true);
        same_bits(&a, &b);
        same_bits(&ga, &gb);
        assert!(arena.stats().bytes_peak > recomputing);
    }
}

#[test]
fn decoding_with_a_cache_equals_reading_at_once() {
    COMPUTE.into_iter().for_each(decode_with_a_cache);
}

fn decode_with_a_cache(compute: ComputeDtype) {
    let (net, p) = Net::new_in(compute, 2, 0, 0.0);
    let arena = Arena::new();
    let lengths = [17, 30];
    let (ids, _) = batch(&lengths, &[1, 2]);
    let (first, second) = ids.split_at(17);
    let read = |ids: &[u32], lengths: &[usize]| {
        let mut t = Tape::inference(&p, &arena);
        let h = net.forward(&mut t, ids, &Segments::from_lengths(lengths), None);
        t.read(&h)
    };
    let full = read(&ids, &lengths);
    let (full_first, full_second) = full.split_at(17 * D);

    let mut cache = KvCache::new_in(compute, 2, 3, 64, KV);
    let feed = |cache: &mut KvCache, parts: &[(usize, &[u32])]| {
        let sizes: Vec<(usize, usize)> = parts.iter().map(|(slot, ids)| (*slot, ids.len())).collect();
        let segments = Segments::cached(cache, &sizes).unwrap();
        let ids: Vec<u32> = parts.iter().flat_map(|(_, ids)| ids.iter().copied()).collect();
        let mut t = Tape::inference(&p, &arena);
        let h = net.forward(&mut t, &ids, &segments, Some(cache));
        let out = t.read(&h);
        drop((h, t));
        cache.advance(&segments).unwrap();
        out
    };
    // Prompts of different lengths together, then token by token, out of step with each other.
    let prompts = feed(&mut cache, &[(2, &first[..10]), (0, &second[..4])]);
    same_bits(&prompts[..10 * D], &full_first[..10 * D]);
    same_bits(&prompts[10 * D..], &full_second[..4 * D]);
    for i in 0..7 {
        let both = feed(&mut cache, &[(0, &second[4 + i..5 + i]), (2, &first[10 + i..11 + i])]);
        same_bits(&both[..D], &full_second[(4 + i) * D..][..D]);
        same_bits(&both[D..], &full_first[(10 + i) * D..][..D]);
    }
    // A copied slot goes on as the original does; a truncated one can be read again.
    cache.copy_slot(0, 1);
    let a = feed(&mut cache, &[(1, &second[11..])]);
    same_bits(&a, &full_second[11 * D..]);
    assert_eq!((cache.len(0), cache.len(1), cache.len(2)), (11, 30, 17));
    cache.truncate(1, 20);
    let a = feed(&mut cache, &[(1, &second[20..25]), (0, &second[11..13])]);
    same_bits(&a[..5 * D], &full_second[20 * D..25 * D]);
    same_bits(&a[5 * D..], &full_second[11 * D..13 * D]);

    // Beyond the cache's end, and with stale segments: refused.
    assert!(Segments::cached(&cache, &[(1, 40)]).is_err());
    assert!(Segments::cached(&cache, &[(3, 1)]).is_err());
    assert!(Segments::cached(&cache, &[(1, 1), (1, 1)]).is_err());
    let segments = Segments::cached(&cache, &[(1, 1)]).unwrap();
    cache.advance(&segments).unwrap();
    assert!(cache.advance(&segments).is_err());
}

#[test]
fn a_long_sequence_decodes_to_the_same_within_rounding() {
    COMPUTE.into_iter().for_each(decode_a_long_sequence);
}

fn decode_a_long_sequence(compute: ComputeDtype) {
    let (net, p) = Net::new_in(compute, 2, 0, 0.0);
    let arena = Arena::new();
    let (ids, _) = batch(&[300], &[5]);
    let mut t = Tape::inference(&p, &arena);
    let h = net.forward(&mut t, &ids, &Segments::from_lengths(&[300]), None);
    let full = t.read(&h);
    let mut cache = KvCache::new_in(compute, 2, 1, 300, KV);
    let mut pieces = Vec::new();
    for chunk in [&ids[..290], &ids[290..299], &ids[299..]] {
        let segments = Segments::cached(&cache, &[(0, chunk.len())]).unwrap();
        let mut t = Tape::inference(&p, &arena);
        let h = net.forward(&mut t, chunk, &segments, Some(&mut cache));
        pieces.extend(t.read(&h));
        cache.advance(&segments).unwrap();
    }
    close(&pieces, &full, 1e-6);
    if compute != ComputeDtype::F32 {
        same_bits(&pieces, &full);
    }
}

#[test]
fn a_steady_state_allocates_nothing() {
    COMPUTE.into_iter().for_each(steady_state);
}

fn steady_state(compute: ComputeDtype) {
    let (net, mut p) = Net::new_in(compute, 3, 0, 0.1);
    let arena = Arena::new();
    let step = |p: &mut ParamStore, lengths: &[usize]| {
        let rows: Vec<u64> = (0..lengths.len() as u64).collect();
        net.step(p, &arena, lengths, &rows, false);
    };
    step(&mut p, &[60, 70, 80]);
    let first = arena.stats();
    // Other compositions, none longer in sum.
    for lengths in [&[60usize, 70, 80][..], &[210], &[1, 2, 3], &[100, 9, 90], &[60, 70, 80]] {
        step(&mut p, lengths);
    }
    let last = arena.stats();
    assert_eq!(first.regions_allocated, last.regions_allocated);
    assert_eq!(last.bytes_live, 0, "every buffer came back");
}

/// Bytes that a training tape holds after the forward pass of a model.
fn saved(layers: usize, frozen: usize, tokens: usize) -> usize {
    let (net, mut p) = Net::new(layers, frozen, 0.0);
    let arena = Arena::new();
    let (ids, _) = batch(&[tokens], &[1]);
    let mut t = Tape::new(&mut p, &arena, Mode::Training { seed: 1, step: 2, tokens: Vec::new() });
    let h = net.forward(&mut t, &ids, &Segments::from_lengths(&[tokens]), None);
    drop(h);
    // Letting go takes effect with the next operation.
    let empty = t.input(0, 1, &[]).unwrap();
    drop(empty);
    arena.stats().bytes_live
}

#[test]
fn what_a_layer_saves() {
    let tokens = 64; // buffers are whole cache lines: exact sums
    let per_layer = (saved(3, 0, tokens) - saved(2, 0, tokens)) / (4 * tokens);
    // Two inputs of the residual stream, q, k, v, the attention's output, gate and up; beside them what the branches
    // (u of seven linears) and the softmax (one number a head) need. No norm output, no gated product.
    let expected = 2 * D + (HEADS + 2 * KV_HEADS) * DIM + HEADS * DIM + 2 * F + 7 * RANK + HEADS;
    assert_eq!(per_layer, expected);
    // Frozen layers below the lowest trainable tensor save nothing.
    assert_eq!(saved(4, 3, tokens), saved(2, 1, tokens));
}

#[test]
fn inference_holds_no_more_than_it_needs() {
    let (net, p) = Net::new(4, 0, 0.0);
    let arena = Arena::new();
    let (ids, _) = batch(&[64], &[1]);
    let mut t = Tape::inference(&p, &arena);
    let h = net.forward(&mut t, &ids, &Segments::from_lengths(&[64]), None);
    t.read(&h);
    // At the widest point: the stream, the norm's output, gate, up and the branch's scratch.
    assert!(arena.stats().bytes_peak <= 64 * 4 * (2 * D + 3 * F + 64), "{:?}", arena.stats());
}

#[test]
fn only_what_trains_is_reached() {
    let (net, mut p) = Net::new(2, 0, 0.0);
    let extra = p.add("unused", &[3], vec![0.0; 3], true).unwrap();
    net.step(&mut p, &Arena::new(), &[5], &[1], false);
    assert_eq!(p.params_without_gradient(), ["unused"]);
    assert!(!p.get(extra).received);
    assert!(p.first_non_finite_grad().is_none());
    p.get_mut(extra).grad[1] = f32::NAN;
    assert_eq!(p.first_non_finite_grad(), Some("unused"));
    p.zero_grads();
    assert_eq!(p.params_without_gradient().len(), p.len());
}

#[test]
fn dropout_belongs_to_the_row_not_to_the_batch() {
    let (net, mut p) = Net::new(2, 0, 0.3);
    let arena = Arena::new();
    let (a, _) = net.step(&mut p, &arena, &[8, 12], &[1, 2], false);
    let (b, _) = net.step(&mut p, &arena, &[12, 3, 8], &[2, 7, 1], false);
    same_bits(&a[..7], &b[11 + 2..]);
    same_bits(&a[7..], &b[..11]);
    let (other, _) = net.step(&mut p, &arena, &[8], &[9], false);
    assert_ne!(a[..7], other[..]);
    // Without keys there is nothing to draw from.
    let mut t = Tape::new(&mut p, &arena, Mode::Training { seed: 1, step: 2, tokens: Vec::new() });
    let x = t.input(1, D, &[1.0; D]).unwrap();
    assert!(t.linear(&x, &net.layers[0].q).is_err());
    // In inference the branch drops nothing.
    let mut t = Tape::inference(&p, &arena);
    let x = t.input(1, D, &[1.0; D]).unwrap();
    assert!(t.linear(&x, &net.layers[0].q).is_ok());
}

#[test]
fn empty_batches_pass_through() {
    let (net, mut p) = Net::new(2, 0, 0.0);
    let (log_probs, grads) = net.step(&mut p, &Arena::new(), &[], &[], false);
    assert!(log_probs.is_empty() && grads.iter().all(|&g| g == 0.0));
    let (log_probs, _) = net.step(&mut p, &Arena::new(), &[0, 1, 0], &[1, 2, 3], false);
    assert!(log_probs.is_empty());
}

#[test]
fn wrong_input_is_an_error_and_says_what() {
    let (net, mut p) = Net::new(1, 0, 0.0);
    let arena = Arena::new();
    let mut t = Tape::new(&mut p, &arena, Mode::Inference);
    let said = |e: EngineError| e.to_string();
    assert_eq!(
        said(t.embedding(&net.embed, &[3, VOCAB as u32]).unwrap_err()),
        format!("embedding: row {VOCAB} is out of range: there are {VOCAB}")
    );
    let x = t.input(2, D, &[0.5; 2 * D]).unwrap();
    assert!(t.input(2, D, &[0.0; 3]).is_err());
    let narrow = t.input(2, D - 1, &[0.5; 2 * D - 2]).unwrap();
    assert!(said(t.linear(&narrow, &net.layers[0].q).unwrap_err()).contains("should be 48 but is 47"));
    assert!(t.norm(&narrow, &net.norm).is_err());
    assert!(t.add(&x, &narrow).is_err());
    assert!(t.select_rows(&x, &[2]).is_err());
    assert!(t.glu(x.view(0, 40), x.view(40, 40), Activation::Silu).is_err());
    let target = |row, token| [Target { row, token, weight: 1.0 }];
    assert!(t.cross_entropy(&x, &net.head, &target(2, 0)).is_err());
    assert!(t.cross_entropy(&x, &net.head, &target(0, VOCAB as u32)).is_err());
    let k = t.input(2, KV, &[0.5; 2 * KV]).unwrap();
    let mut attend = |spec: &AttentionSpec, lengths: &[usize]| {
        t.attention(x.full(), k.full(), k.full(), spec, &Segments::from_lengths(lengths), None).map(|_| ())
    };
    assert!(attend(&net.spec, &[2]).is_ok());
    assert!(attend(&net.spec, &[3]).is_err());
    assert!(attend(&AttentionSpec { n_kv_heads: 3, ..net.spec.clone() }, &[2]).is_err());
    assert!(attend(&AttentionSpec { window: Some(0), ..net.spec.clone() }, &[2]).is_err());
    let short = Some(Arc::new(RopeTable::plain(10.0, DIM, 1, RopeLayout::Half)));
    assert!(said(attend(&AttentionSpec { rope: short, ..net.spec.clone() }, &[2]).unwrap_err()).contains("position 1"));
    let mut store = ParamStore::new();
    assert!(store.add("a", &[2, 2], vec![0.0; 3], true).is_err());
    store.add("a", &[2], vec![0.0; 2], true).unwrap();
    assert!(store.add("a", &[2], vec![0.0; 2], true).is_err());
}

#[test]
fn the_optimizer_goes_on_from_what_was_saved() {
    let (net, mut p) = Net::new(1, 0, 0.0);
    let config = AdamWConfig { weight_decay: 0.1, ..Default::default() };
    let mut optimizer = AdamW::new(config, &p);
    let arena = Arena::new();
    let step = |optimizer: &mut AdamW, p: &mut ParamStore| {
        net.step(p, &arena, &[9, 4], &[1, 2], false);
        optimizer.step(p, 1e-3, 1.0);
    };
    step(&mut optimizer, &mut p);
    let (mut p2, saved) = (p.clone(), (optimizer.steps(), optimizer.moments().to_vec()));
    step(&mut optimizer, &mut p);
    let mut restored = AdamW::new(config, &p2);
    restored.restore(saved.0, saved.1.clone(), &p2).unwrap();
    step(&mut restored, &mut p2);
    for ((_, a), (_, b)) in p.iter().zip(p2.iter()) {
        same_bits(&a.value, &b.value);
    }
    assert!(restored.restore(1, saved.1[1..].to_vec(), &p2).is_err());
    let mut wrong = saved.1;
    wrong[0].m.pop();
    assert!(restored.restore(1, wrong, &p2).unwrap_err().to_string().starts_with("0.a: "));
}
