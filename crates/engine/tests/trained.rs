//! What must hold of matrices that train: products read a packed copy of their values, which must never be older than the values;
//! the first gradient of a step replaces what lies there, later ones are added.

use engine::rng::Rng;
use engine::*;

const D: usize = 40;
const VOCAB: usize = 90;

/// Embedding and head are one parameter, between them a trained layer.
struct Net {
    table: ParamId,
    embed: Matrix,
    layer: Linear,
    head: Linear,
    compute: ComputeDtype,
}

fn numbers(seed: u64, n: usize) -> Vec<f32> {
    let mut rng = Rng::keyed(seed, &[]);
    (0..n).map(|_| rng.normal() * 0.2).collect()
}

impl Net {
    fn new(compute: ComputeDtype) -> (Net, ParamStore) {
        let mut p = ParamStore::new();
        let table = p.add("table", &[VOCAB, D], numbers(1, VOCAB * D), true).unwrap();
        let weight = p.add("layer", &[D, D], numbers(2, D * D), true).unwrap();
        let embed = Matrix::Param(table);
        (Net { table, embed: embed.clone(), layer: Linear::new(Matrix::Param(weight)), head: Linear::new(embed), compute }, p)
    }

    /// Log-probabilities of next tokens; gradients are added to what is there.
    fn pass(&self, p: &mut ParamStore, first: u32) -> Vec<f32> {
        self.pass_of(p, first, 1)
    }

    /// As [`Self::pass`], each target given `copies` times with its share of the weight.
    fn pass_of(&self, p: &mut ParamStore, first: u32, copies: usize) -> Vec<f32> {
        let ids: Vec<u32> = (0..33).map(|i| (first + 7 * i) % VOCAB as u32).collect();
        let target = |i: usize| Target { row: i as u32 - 1, token: ids[i], weight: 0.05 / copies as f32 };
        let targets: Vec<Target> = (0..copies).flat_map(|_| (1..ids.len()).map(target)).collect();
        let tokens = TokenKey::for_rows(&[1], &[ids.len()]);
        let arena = Arena::new();
        let mut t = Tape::new(p, &arena, Mode::Training { seed: 1, step: 1, tokens });
        t.compute_in(self.compute);
        let x = t.embedding(&self.embed, &ids).unwrap();
        let x = t.linear_add(&x, &self.layer, &x).unwrap();
        let log_probs = t.cross_entropy(&x, &self.head, &targets).unwrap();
        drop(x);
        t.backward();
        log_probs
    }
}

fn grads(p: &ParamStore) -> Vec<f32> {
    p.iter().flat_map(|(_, p)| p.grad.clone()).collect()
}

const COMPUTE: [ComputeDtype; 3] = [ComputeDtype::F32, ComputeDtype::Bf16, ComputeDtype::Int8];

/// A store with the same values that has never multiplied.
fn fresh(net: &Net, p: &ParamStore) -> ParamStore {
    let (_, mut q) = Net::new(net.compute);
    for ((_, to), (_, from)) in q.iter_mut().zip(p.iter()) {
        to.value.clone_from(&from.value);
    }
    q
}

#[test]
fn products_see_the_values_that_the_optimizer_left() {
    for compute in COMPUTE {
        let (net, mut p) = Net::new(compute);
        let mut optimizer = AdamW::new(AdamWConfig::default(), &p);
        let mut last = Vec::new();
        for step in 0..3 {
            let log_probs = net.pass(&mut p, 3);
            assert_eq!(log_probs, net.pass(&mut fresh(&net, &p), 3), "{compute:?} in step {step}");
            assert_ne!(log_probs, last, "{compute:?}: a step changes what is computed");
            last = log_probs;
            optimizer.step(&mut p, 1e-2, 1.0);
            assert!(p.iter().all(|(_, p)| !p.received && p.grad.iter().all(|&g| g == 0.0)), "gradients are zero after a step");
        }
    }
}

#[test]
fn products_see_values_that_were_put_there() {
    for compute in COMPUTE {
        let (net, mut p) = Net::new(compute);
        let before = net.pass(&mut p, 3);
        p.get_mut(net.table).value.iter_mut().for_each(|v| *v *= 2.0);
        let after = net.pass(&mut p, 3);
        assert!(before != after && after == net.pass(&mut fresh(&net, &p), 3), "{compute:?}: get_mut");
        p.iter_mut().for_each(|(_, p)| p.value.iter_mut().for_each(|v| *v *= 0.5));
        assert_eq!(net.pass(&mut p, 3), net.pass(&mut fresh(&net, &p), 3), "{compute:?}: iter_mut");
    }
}

#[test]
fn a_target_in_parts_is_the_target() {
    for compute in COMPUTE {
        let (net, p) = Net::new(compute);
        let of = |copies: usize| {
            let mut q = fresh(&net, &p);
            net.pass_of(&mut q, 3, copies);
            grads(&q)
        };
        let (whole, parts) = (of(1), of(4));
        let size: f64 = whole.iter().map(|g| f64::from(*g).powi(2)).sum();
        let error: f64 = whole.iter().zip(&parts).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        assert!(error.sqrt() < 2e-3 * size.sqrt(), "{compute:?}: {:e}", (error / size).sqrt());
    }
}

#[test]
fn gradients_of_passes_and_places_add_up() {
    for compute in COMPUTE {
        let (net, mut p) = Net::new(compute);
        let of = |first: u32| {
            let mut q = fresh(&net, &p);
            net.pass(&mut q, first);
            grads(&q)
        };
        let (a, b) = (of(3), of(50));
        // Rows that are looked up and never predicted, and the reverse, both have gradients: the table is used in two places.
        assert!(a[..VOCAB * D].iter().filter(|g| **g != 0.0).count() > VOCAB * D / 2);
        net.pass(&mut p, 3);
        net.pass(&mut p, 50);
        let (size, error) = grads(&p).iter().zip(a.iter().zip(&b)).fold((0.0, 0.0), |(size, error): (f64, f64), (got, (a, b))| {
            (size + f64::from(a + b).powi(2), error + f64::from(got - (a + b)).powi(2))
        });
        assert!(size > 0.0 && error.sqrt() < 1e-5 * size.sqrt(), "{compute:?}: {error} of {size}");
    }
}

/// The table's gradient is the sum of what it gets as embedding and as head, each trained alone.
#[test]
fn a_tied_table_gets_both_gradients() {
    for compute in COMPUTE {
        let (net, mut p) = Net::new(compute);
        let values = p.get(net.table).value.clone();
        let frozen = || {
            let m = FrozenMatrix::packed(VOCAB, D, values.clone(), compute).unwrap();
            Matrix::Frozen(std::sync::Arc::new(m))
        };
        let alone = |embed: Matrix, head: Matrix| {
            let mut q = fresh(&net, &p);
            Net { table: net.table, embed, layer: net.layer.clone(), head: Linear::new(head), compute }.pass(&mut q, 3);
            q.get(net.table).grad.clone()
        };
        let as_embedding = alone(Matrix::Param(net.table), frozen());
        let as_head = alone(frozen(), Matrix::Param(net.table));
        net.pass(&mut p, 3);
        let tied = &p.get(net.table).grad;
        let norm = |x: &mut dyn Iterator<Item = f32>| x.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        let (size, error) =
            (norm(&mut tied.iter().copied()), norm(&mut tied.iter().zip(as_embedding.iter().zip(&as_head)).map(|(t, (a, b))| t - (a + b))));
        // A frozen table is int8 in that mode, a trained one is rounded to bf16.
        let bound = if compute == ComputeDtype::Int8 { 0.05 } else { 1e-5 };
        assert!(norm(&mut as_embedding.into_iter()) > 0.0 && norm(&mut as_head.into_iter()) > 0.0);
        assert!(size > 0.0 && error < bound * size, "{compute:?}: {error} of {size}");
    }
}
