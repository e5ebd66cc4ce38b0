//! What a decoder leaves out or computes once changes no number: rows that nobody wants, beginnings that sequences share, a
//! pass in two halves.

mod common;

use common::{Expected, Row, data, relative};
use engine::{Arena, ComputeDtype, Mode, ParamStore, Segments, Tape, Target, TokenKey};
use model::load_model;
use model::{Decoder, FreezeSpec, freeze};

const COMPUTE: [ComputeDtype; 3] = [ComputeDtype::F32, ComputeDtype::Bf16, ComputeDtype::Int8];
const CASES: [&str; 9] =
    ["llama_mha", "llama_gqa", "gpt2", "mistral_window", "qwen2", "stablelm_partial", "rope_yarn", "rope_dynamic", "rope_longrope"];

fn same_bits(a: &[f32], b: &[f32], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    assert!(a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits()), "{what}");
}

/// The oracle's rows; for f32 48 tokens at most: up to there all products in f32 take one path, and equal rows give equal bits.
fn rows_of(case: &str, compute: ComputeDtype) -> Vec<Row> {
    let mut rows = Expected::open(&data(case)).rows();
    if compute != ComputeDtype::F32 {
        // Here there is one order of sums for every number of rows.
        let more: Vec<Row> = rows.clone();
        rows.extend(more.into_iter().chain(rows.clone()));
        return rows;
    }
    let each = 48 / rows.len();
    rows.iter_mut().for_each(|r| r.ids.truncate(each));
    rows
}

fn all_ids(rows: &[Row]) -> (Vec<u32>, Segments) {
    let lengths: Vec<usize> = rows.iter().map(|r| r.ids.len()).collect();
    (rows.iter().flat_map(|r| r.ids.clone()).collect(), Segments::from_lengths(&lengths))
}

#[test]
fn wanted_rows_are_those_of_the_whole_pass() {
    for (case, compute) in CASES.into_iter().flat_map(|case| COMPUTE.map(|compute| (case, compute))) {
        let mut decoder = load_model(data(case)).unwrap();
        decoder.pack(compute).unwrap();
        let (ids, segments) = all_ids(&rows_of(case, compute));
        let (params, arena) = (ParamStore::new(), Arena::new());
        let n = ids.len() as u32;
        let whole = {
            let mut tape = Tape::inference(&params, &arena);
            let hidden = decoder.forward(&mut tape, &ids, &segments, None).unwrap();
            tape.read(&hidden)
        };
        let width = whole.len() / ids.len();
        let wanted = [vec![n - 1], vec![0], segments.last_rows(), (0..n).filter(|r| r % 3 != 1).collect(), (0..n).collect(), vec![]];
        for rows in wanted {
            let expected: Vec<f32> = rows.iter().flat_map(|&r| whole[r as usize * width..][..width].to_vec()).collect();
            let mut tape = Tape::inference(&params, &arena);
            let hidden = decoder.forward_rows(&mut tape, &ids, &segments, None, Some(&rows)).unwrap();
            same_bits(&tape.read(&hidden), &expected, case);
            // In two halves, cut before each layer and behind the last one.
            for cut in 0..=decoder.layers.len() {
                let x = decoder.forward_to(&mut tape, &ids, &segments, None, cut).unwrap();
                let x = tape.read(&x);
                let x = tape.input(ids.len(), width, &x).unwrap();
                let hidden = decoder.forward_from(&mut tape, x, &segments, None, cut, Some(&rows)).unwrap();
                same_bits(&tape.read(&hidden), &expected, &format!("{case}, cut at {cut}"));
            }
            // With a cache, which holds the same afterwards.
            let mut cache = decoder.cache(segments.len(), 64);
            let cached = Segments::cached(&cache, &segments.iter().enumerate().map(|(i, s)| (i, s.len)).collect::<Vec<_>>()).unwrap();
            let hidden = decoder.forward_rows(&mut tape, &ids, &cached, Some(&mut cache), Some(&rows)).unwrap();
            same_bits(&tape.read(&hidden), &expected, case);
            assert_eq!(cache.len(0), segments.as_slice()[0].len);
        }
        let mut tape = Tape::inference(&params, &arena);
        assert!(decoder.forward_rows(&mut tape, &ids, &segments, None, Some(&[n])).is_err());
        assert!(decoder.forward_rows(&mut tape, &ids, &segments, None, Some(&[2, 1])).is_err());
    }
}

/// Log-probabilities and all gradients of a full fine-tuning step; `targets` name rows of the packed tensor.
fn step(
    decoder: &Decoder,
    params: &mut ParamStore,
    ids: &[u32],
    segments: &Segments,
    targets: &[Target],
    few: bool,
    keys: Vec<TokenKey>,
) -> (Vec<f32>, Vec<f32>) {
    params.zero_grads();
    let mut tape = Tape::new(params, &Arena::new(), Mode::Training { seed: 3, step: 1, tokens: keys });
    let mut rows: Vec<u32> = targets.iter().map(|t| t.row).collect();
    rows.sort_unstable();
    rows.dedup();
    let hidden = decoder.forward_rows(&mut tape, ids, segments, None, few.then_some(&rows)).unwrap();
    let targets: Vec<Target> =
        targets.iter().map(|t| Target { row: if few { rows.binary_search(&t.row).unwrap() as u32 } else { t.row }, ..*t }).collect();
    let log_probs = tape.cross_entropy(&hidden, decoder.head(), &targets).unwrap();
    drop(hidden);
    tape.backward();
    (log_probs, params.iter().flat_map(|(_, p)| p.grad.clone()).collect())
}

fn trainable(case: &str, compute: ComputeDtype) -> (Decoder, ParamStore) {
    let mut decoder = load_model(data(case)).unwrap();
    let mut params = ParamStore::new();
    freeze::select(&mut decoder, &mut params, &FreezeSpec::Full).unwrap();
    decoder.pack(compute).unwrap();
    (decoder, params)
}

#[test]
fn gradients_of_wanted_rows_are_those_of_the_whole_pass() {
    for (case, compute) in CASES.into_iter().flat_map(|case| COMPUTE.map(|compute| (case, compute))) {
        let (mut decoder, mut params) = trainable(case, compute);
        for dropout in [0.0, 0.3] {
            decoder.dropout.residual = dropout;
            let rows = rows_of(case, compute);
            let (ids, segments) = all_ids(&rows);
            let lengths: Vec<usize> = rows.iter().map(|r| r.ids.len()).collect();
            let keys: Vec<u64> = (0..rows.len() as u64).collect();
            let target = |row: usize| Target { row: row as u32, token: ids[(row * 5) % ids.len()], weight: 0.3 };
            let targets: Vec<Target> = (0..ids.len()).filter(|r| r % 4 == 1 || r % 7 == 2).map(target).collect();
            let mut run = |few| step(&decoder, &mut params, &ids, &segments, &targets, few, TokenKey::for_rows(&keys, &lengths));
            let ((a, ga), (b, gb)) = (run(true), run(false));
            same_bits(&a, &b, case);
            // In bf16 a sum that is a hair greater may round the other way before it goes on.
            let bound = if compute == ComputeDtype::F32 { 1e-6 } else { 3e-3 };
            assert!(relative(&ga, &gb) < bound, "{case} {compute:?}: {:.1e}", relative(&ga, &gb));
        }
    }
}

#[test]
fn a_shared_beginning_is_computed_once() {
    for (case, compute) in CASES.into_iter().flat_map(|case| COMPUTE.map(|compute| (case, compute))) {
        let (decoder, mut params) = trainable(case, compute);
        let id = |i: usize| (i * 7 % 40) as u32;
        // A prompt of 9; two answers of 4 and 6, and a third row that goes on from the first answer's second token.
        let ids: Vec<u32> = (0..9).chain(9..11).chain(11..13).chain(20..24).chain(30..36).map(id).collect();
        let tree = Segments::tree(&[(None, 9), (Some(0), 2), (Some(1), 2), (Some(1), 4), (Some(0), 6)]).unwrap();
        let paths: [Vec<usize>; 3] = [(0..13).collect(), (0..11).chain(13..17).collect(), (0..9).chain(17..23).collect()];
        let plain: Vec<u32> = paths.iter().flatten().map(|&i| ids[i]).collect();
        let lengths: Vec<usize> = paths.iter().map(Vec::len).collect();
        let segments = Segments::from_lengths(&lengths);
        // Every token of every row is trained to be followed by the next of its row.
        let (mut whole, mut shared): (Vec<Target>, Vec<Target>) = Default::default();
        let mut first = 0;
        for path in &paths {
            for (i, pair) in path.windows(2).enumerate() {
                let target = Target { row: (first + i) as u32, token: ids[pair[1]], weight: 0.05 };
                whole.push(target);
                match shared.iter_mut().find(|t| t.row == pair[0] as u32 && t.token == target.token) {
                    Some(known) => known.weight += 0.05,
                    None => shared.push(Target { row: pair[0] as u32, ..target }),
                }
            }
            first += path.len();
        }
        assert!(shared.len() < whole.len());
        for few in [false, true] {
            let (a, ga) = step(&decoder, &mut params, &ids, &tree, &shared, few, Vec::new());
            let (b, gb) = step(&decoder, &mut params, &plain, &segments, &whole, false, Vec::new());
            let sum = |p: &[f32], t: &[Target]| p.iter().zip(t).map(|(p, t)| p * t.weight).sum::<f32>();
            assert!((sum(&a, &shared) / sum(&b, &whole) - 1.0).abs() < 1e-6, "{case}");
            same_bits(&a[..12], &b[..12], case);
            // In bf16 the shared rows' gradients are rounded once, as a sum, instead of each.
            let bound = if compute == ComputeDtype::F32 { 2e-6 } else { 1e-2 };
            assert!(relative(&ga, &gb) < bound, "{case} {compute:?}: {:.1e}", relative(&ga, &gb));
        }
    }
}
