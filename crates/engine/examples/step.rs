//! Times a LoRA training step of SmolLM2-135M's shape on random weights, part by part:
//! `cargo run --release -p engine --example step [rows] [tokens a row] [all|last] [f32|bf16|int8]`.

use engine::rng::Rng;
use engine::*;
use std::sync::Arc;
use std::time::Instant;

const D: usize = 576;
const F: usize = 1536;
const KV: usize = 192;
const VOCAB: usize = 49152;
const LAYERS: usize = 30;

struct Layer {
    norm1: Norm,
    norm2: Norm,
    linears: Vec<Linear>,
}

fn frozen(rows: usize, cols: usize, key: u64, compute: ComputeDtype) -> Matrix {
    let mut rng = Rng::keyed(1, &[key]);
    let data = (0..rows * cols).map(|_| (rng.uniform() - 0.5) * 0.06).collect();
    Matrix::Frozen(Arc::new(FrozenMatrix::packed(rows, cols, data, compute).expect("the shape fits")))
}

fn lora(p: &mut ParamStore, weight: Matrix, out: usize, inp: usize) -> Linear {
    let n = p.len();
    let mut rng = Rng::keyed(2, &[n as u64]);
    let a = (0..8 * inp).map(|_| (rng.uniform() - 0.5) * 0.1).collect();
    let b = (0..8 * out).map(|_| (rng.uniform() - 0.5) * 0.1).collect();
    let a = p.add(format!("{n}.a"), &[8, inp], a, true).expect("a new name");
    let b = p.add(format!("{n}.b"), &[out, 8], b, true).expect("a new name");
    Linear { weight, bias: None, lora: Some(Lora { a, b, scale: 2.0, dropout: 0.0, module: n as u64 }) }
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let arg = |i: usize, default: usize| args.get(i).and_then(|s| s.parse().ok()).unwrap_or(default);
    let (rows, len) = (arg(1, 16), arg(2, 33));
    let all = args.get(3).is_some_and(|s| s == "all");
    let compute: ComputeDtype = args.get(4).map_or(Ok(ComputeDtype::F32), |s| s.parse())?;
    let head_compute = if compute == ComputeDtype::F32 { compute } else { ComputeDtype::Bf16 };
    let t = rows * len;

    let mut p = ParamStore::new();
    let embed = frozen(VOCAB, D, 0, head_compute);
    let norm = |_| Norm { kind: NormKind::Rms, weight: Vector::Frozen(Arc::new(vec![1.0; D])), bias: None, eps: 1e-5 };
    let shapes = [(D, D), (KV, D), (KV, D), (D, D), (F, D), (F, D), (D, F)];
    let layers: Vec<Layer> = (0..LAYERS)
        .map(|i| Layer {
            norm1: norm(i),
            norm2: norm(i),
            linears: shapes
                .iter()
                .enumerate()
                .map(|(j, &(o, n))| lora(&mut p, frozen(o, n, (i * 7 + j) as u64 + 1, compute), o, n))
                .collect(),
        })
        .collect();
    let final_norm = norm(0);
    let head = Linear::new(embed.clone());
    let spec = AttentionSpec {
        n_heads: 9,
        n_kv_heads: 3,
        head_dim: 64,
        scale: 0.125,
        rope: Some(Arc::new(RopeTable::plain(100_000.0, 64, 8192, RopeLayout::Half))),
        causal: true,
        window: None,
    };
    let segments = Segments::from_lengths(&vec![len; rows]);
    let ids: Vec<u32> = (0..t as u32).map(|i| i * 7919 % VOCAB as u32).collect();
    let trained: Vec<u32> = (0..t as u32).filter(|i| all || (*i as usize + 2).is_multiple_of(len)).collect();
    let targets: Vec<Target> =
        trained.iter().map(|&row| Target { row, token: row * 31 % VOCAB as u32, weight: 1.0 / trained.len() as f32 }).collect();
    let arena = Arena::new();
    let mut optimizer = AdamW::new(AdamWConfig::default(), &p);

    let mut times = Vec::new();
    for _ in 0..8 {
        let start = Instant::now();
        p.zero_grads();
        let mut tape = Tape::new(&mut p, &arena, Mode::Training { seed: 1, step: 1, tokens: Vec::new() });
        tape.compute_in(compute);
        let mut x = tape.embedding(&embed, &ids)?;
        for l in &layers {
            let h = tape.norm(&x, &l.norm1)?;
            let (q, k, v) = (tape.linear(&h, &l.linears[0])?, tape.linear(&h, &l.linears[1])?, tape.linear(&h, &l.linears[2])?);
            drop(h);
            let o = tape.attention(q.full(), k.full(), v.full(), &spec, &segments, None)?;
            drop((q, k, v));
            x = tape.linear_add(&o, &l.linears[3], &x)?;
            drop(o);
            let h = tape.norm(&x, &l.norm2)?;
            let (gate, up) = (tape.linear(&h, &l.linears[4])?, tape.linear(&h, &l.linears[5])?);
            drop(h);
            let m = tape.glu(gate.full(), up.full(), Activation::Silu)?;
            drop((gate, up));
            x = tape.linear_add(&m, &l.linears[6], &x)?;
        }
        let h = tape.norm(&x, &final_norm)?;
        drop(x);
        let forward = start.elapsed();
        let log_probs = tape.cross_entropy(&h, &head, &targets)?;
        drop(h);
        let loss = start.elapsed();
        tape.backward();
        let backward = start.elapsed();
        p.grad_norm();
        optimizer.step(&mut p, 1e-4, 1.0);
        let ms = |a: std::time::Duration, b: std::time::Duration| (a.as_secs_f64() - b.as_secs_f64()) * 1e3;
        println!(
            "step {:7.1} ms: forward {:6.1}, loss {:6.1}, backward {:6.1}, optimizer {:5.1}   loss {:.3}  {:?}",
            start.elapsed().as_secs_f64() * 1e3,
            ms(forward, Default::default()),
            ms(loss, forward),
            ms(backward, loss),
            ms(start.elapsed(), backward),
            -log_probs.iter().sum::<f32>() / log_probs.len() as f32,
            arena.stats(),
        );
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);

    let median = times[times.len() / 2];
    println!("median {median:.1} ms ({:.0} tokens/s)", t as f64 / median * 1e3);
    Ok(())
}
