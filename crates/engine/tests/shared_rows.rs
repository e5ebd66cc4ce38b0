//! Sequences that share their beginnings, and rows that do not ask: the numbers are those of the plain run, laid out whole.

use engine::rng::Rng;
use engine::*;
use proptest::prelude::*;
use std::sync::Arc;

const D: usize = 24;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const DIM: usize = 6;
const VOCAB: usize = 40;

fn numbers(seed: u64, n: usize, size: f32) -> Vec<f32> {
    let mut rng = Rng::keyed(seed, &[n as u64]);
    (0..n).map(|_| rng.normal() * size).collect()
}

/// Embedding, attention (fused projections or three), head; everything trains.
struct Net {
    store: ParamStore,
    embed: Matrix,
    qkv: Vec<Linear>,
    head: Linear,
    spec: AttentionSpec,
}

impl Net {
    fn new(fused: bool, window: Option<usize>) -> Self {
        let mut store = ParamStore::new();
        let mut matrix = |rows: usize, cols: usize, seed: u64| {
            let data = numbers(seed, rows * cols, 1.0 / (cols as f32).sqrt());
            Matrix::Param(store.add(format!("{seed}"), &[rows, cols], data, true).unwrap())
        };
        let embed = matrix(VOCAB, D, 1);
        let (q, kv) = (HEADS * DIM, KV_HEADS * DIM);
        let widths: &[usize] = if fused { &[q + 2 * kv] } else { &[q, kv, kv] };
        let qkv = widths.iter().enumerate().map(|(i, &w)| Linear::new(matrix(w, D, 2 + i as u64))).collect();
        let head = Linear::new(matrix(VOCAB, q, 9));
        let rope = Some(Arc::new(RopeTable::plain(100.0, DIM, 512, RopeLayout::Half)));
        let spec = AttentionSpec { n_heads: HEADS, n_kv_heads: KV_HEADS, head_dim: DIM, scale: 0.6, rope, causal: true, window };
        Net { store, embed, qkv, head, spec }
    }

    /// Log-probabilities of the targets and all gradients; `asking` are the rows whose results are wanted, and targets name
    /// places among them.
    fn step(&mut self, ids: &[u32], segments: &Segments, asking: Option<&[u32]>, targets: &[Target]) -> (Vec<f32>, Vec<f32>) {
        let Net { store, embed, qkv, head, spec } = self;
        store.zero_grads();
        let mut t = Tape::new(store, &Arena::new(), Mode::Training { seed: 0, step: 0, tokens: Vec::new() });
        let x = t.embedding(embed, ids).unwrap();
        let segments = asking.map_or(segments.clone(), |rows| segments.asking(rows).unwrap());
        let o = if let [qkv] = &qkv[..] {
            let all = t.linear(&x, qkv).unwrap();
            let (q, kv) = (HEADS * DIM, KV_HEADS * DIM);
            let few = asking.map_or(all.clone(), |rows| t.select_rows(&all, rows).unwrap());
            t.attention(few.view(0, q), all.view(q, kv), all.view(q + kv, kv), spec, &segments, None).unwrap()
        } else {
            let few = asking.map_or(x.clone(), |rows| t.select_rows(&x, rows).unwrap());
            let (q, k, v) = (t.linear(&few, &qkv[0]).unwrap(), t.linear(&x, &qkv[1]).unwrap(), t.linear(&x, &qkv[2]).unwrap());
            t.attention(q.full(), k.full(), v.full(), spec, &segments, None).unwrap()
        };
        let log_probs = t.cross_entropy(&o, head, targets).unwrap();
        drop((x, o));
        t.backward();
        (log_probs, store.iter().flat_map(|(_, p)| p.grad.clone()).collect())
    }
}

#[track_caller]
fn close(a: &[f32], b: &[f32], tolerance: f64) {
    assert_eq!(a.len(), b.len());
    let error = a.iter().zip(b).map(|(a, b)| (*a as f64 - *b as f64).powi(2)).sum::<f64>().sqrt();
    let size = b.iter().map(|b| *b as f64 * *b as f64).sum::<f64>().sqrt();
    assert!(error <= tolerance * size + 1e-12, "{error} of {size}");
}

/// A forest as `(parent, length)`, parents first.
fn forests() -> impl Strategy<Value = Vec<(Option<usize>, usize)>> {
    prop::collection::vec((any::<prop::sample::Index>(), 0usize..4, 0usize..40), 1..9).prop_map(|list| {
        let part = |(i, (at, root, len)): (usize, (prop::sample::Index, usize, usize))| {
            (if i == 0 || root == 0 { None } else { Some(at.index(i)) }, len)
        };
        list.into_iter().enumerate().map(part).collect()
    })
}

/// Compares a forest with its paths laid out whole: a sequence for each segment, in which only the segment's own rows have
/// targets.
fn forest_is_its_paths(net: &mut Net, forest: &[(Option<usize>, usize)], every: usize) {
    let tree = Segments::tree(forest).unwrap();
    let ids: Vec<u32> = (0..tree.tokens()).map(|i| (rng::fold(5, &[i as u64]) % VOCAB as u64) as u32).collect();
    let segments = tree.as_slice();

    let (mut asking, mut shared, mut plain, mut plain_ids, mut lengths) = (vec![], vec![], vec![], vec![], vec![]);
    for (i, s) in segments.iter().enumerate() {
        let mut path = vec![i];
        while let Some(parent) = segments[path[path.len() - 1]].parent {
            path.push(parent);
        }
        let first = plain_ids.len() + s.past;
        for &p in path.iter().rev() {
            plain_ids.extend_from_slice(&ids[segments[p].start..segments[p].start + segments[p].len]);
        }
        lengths.push(s.past + s.len);
        for row in (s.start..s.start + s.len).filter(|row| (row * 7 + row / 5) % every == 0) {
            let (token, weight) = (row as u32 % VOCAB as u32, 0.1 + (row % 3) as f32);
            shared.push(Target { row: if every == 1 { row } else { asking.len() } as u32, token, weight });
            plain.push(Target { row: (first + row - s.start) as u32, token, weight });
            asking.push(row as u32);
        }
    }
    let (a, ga) = net.step(&ids, &tree, (every > 1).then_some(&asking), &shared);
    let (b, gb) = net.step(&plain_ids, &Segments::from_lengths(&lengths), None, &plain);
    // Up to 48 rows all products take one path, and equal rows give equal bits.
    if plain_ids.len() <= 48 {
        assert!(a.iter().zip(&b).all(|(a, b)| a.to_bits() == b.to_bits()), "{a:?}\n{b:?}");
    }
    close(&a, &b, 1e-6);
    close(&ga, &gb, 3e-6);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn shared_beginnings_are_computed_once_and_count_for_all(
        forest in forests(), every in 1usize..5, fused: bool, window in prop::option::of(1usize..50),
    ) {
        forest_is_its_paths(&mut Net::new(fused, window), &forest, every);
    }
}

#[test]
fn deep_trees_and_long_paths() {
    for every in [1, 3] {
        let net = &mut Net::new(false, None);
        forest_is_its_paths(
            net,
            &[(None, 200), (Some(0), 70), (Some(1), 65), (Some(1), 130), (Some(0), 1), (None, 90), (Some(5), 3)],
            every,
        );
        forest_is_its_paths(net, &[(None, 5), (Some(0), 4), (Some(1), 3), (Some(2), 2), (Some(3), 1)], every);
        // Children that are not behind their parents.
        forest_is_its_paths(net, &[(None, 30), (None, 20), (Some(0), 10), (Some(1), 10), (Some(0), 9)], every);
    }
}

#[test]
fn only_what_asks_is_answered_from_a_cache() {
    let net = Net::new(false, None);
    let arena = Arena::new();
    let ids: Vec<u32> = (0..40).map(|i| (i * 7 % VOCAB) as u32).collect();
    let run = |rows: &[u32], asking: bool| {
        let mut cache = KvCache::new(1, 2, 40, KV_HEADS * DIM);
        let mut t = Tape::inference(&net.store, &arena);
        let mut out = Vec::new();
        for (ids, parts) in [(&ids[..13], [(0, 9), (1, 4)]), (&ids[13..40], [(1, 7), (0, 20)])] {
            let all = Segments::cached(&cache, &parts).unwrap();
            let rows: Vec<u32> = rows.iter().copied().filter(|&r| (r as usize) < ids.len()).collect();
            let segments = if asking { all.asking(&rows).unwrap() } else { all.clone() };
            let x = t.embedding(&net.embed, ids).unwrap();
            let few = if asking { t.select_rows(&x, &rows).unwrap() } else { x.clone() };
            let [q, k, v] = [(&few, 0), (&x, 1), (&x, 2)].map(|(x, i)| t.linear(x, &net.qkv[i]).unwrap());
            let o = t.attention(q.full(), k.full(), v.full(), &net.spec, &segments, Some((&mut cache, 0))).unwrap();
            let o = if asking { o } else { t.select_rows(&o, &rows).unwrap() };
            out.extend(t.read(&o));
            cache.advance(&all).unwrap();
        }
        out
    };
    for rows in [&[8, 12][..], &[0, 1, 2, 6, 7, 11, 26], &[], &(0..27).collect::<Vec<u32>>()] {
        let (a, b) = (run(rows, true), run(rows, false));
        assert_eq!(a.len(), b.len());
        assert!(a.iter().zip(&b).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    assert!(Segments::tree(&[(None, 3), (Some(1), 2)]).is_err());
    assert!(Segments::tree(&[(Some(0), 3)]).is_err());
    let plain = Segments::from_lengths(&[3, 2]);
    assert!(plain.asking(&[0, 5]).is_err());
    assert!(plain.asking(&[2, 1]).is_err());
    assert!(plain.asking(&[1, 1]).is_err());
    assert_eq!(plain.asking(&[0, 4]).unwrap().queries(), 2);
    assert_eq!((plain.longest(), plain.clone().reaching(9).longest(), plain.reaching(1).longest()), (3, 9, 3));

    let mut net = Net::new(false, None);
    net.spec.causal = false;
    let tree = Segments::tree(&[(None, 2), (Some(0), 1)]).unwrap();
    assert_eq!(tree.positions(), [0, 1, 2]);
    let mut t = Tape::inference(&net.store, &Arena::new());
    let x = t.embedding(&net.embed, &[1, 2, 3]).unwrap();
    let [q, k, v] = [0, 1, 2].map(|i| t.linear(&x, &net.qkv[i]).unwrap());
    let why = t.attention(q.full(), k.full(), v.full(), &net.spec, &tree, None).unwrap_err().to_string();
    assert!(why.contains("only causal attention"), "{why}");
    net.spec.causal = true;
    let few = tree.asking(&[1]).unwrap();
    assert!(t.attention(q.full(), k.full(), v.full(), &net.spec, &few, None).is_err(), "three queries, one asks");
}
