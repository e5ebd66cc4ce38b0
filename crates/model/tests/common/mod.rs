//! The oracle's cases (`oracles/tiny_models.py`) and running a decoder on them.
#![allow(dead_code)] // each test file uses its part

use containers::{SafetensorsFile, TensorSource};
use engine::{Arena, Mode, ParamStore, Segments, Tape, Target};
use model::Decoder;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Relative error that the oracle tests allow, per tensor: ‖a−b‖/‖b‖.
pub const BOUND: f64 = 1e-4;

pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// What the oracle computed: sequences, loss, logits and gradients.
pub struct Expected {
    pub json: Value,
    pub tensors: SafetensorsFile,
}

impl Expected {
    pub fn open(dir: &Path) -> Self {
        let text = std::fs::read_to_string(dir.join("expected.json")).unwrap();
        let tensors = SafetensorsFile::open(dir.join("expected.safetensors")).unwrap();
        Expected { json: serde_json::from_str(&text).unwrap(), tensors }
    }

    pub fn tensor(&self, name: &str) -> Vec<f32> {
        self.tensors.require(name).unwrap().to_f32().unwrap()
    }

    pub fn shape(&self, name: &str) -> Vec<usize> {
        self.tensors.require(name).unwrap().shape.to_vec()
    }

    pub fn loss(&self) -> f64 {
        self.json["loss"].as_f64().unwrap()
    }

    /// Names under `grad.`.
    pub fn gradients(&self) -> Vec<String> {
        self.tensors.names().iter().filter_map(|n| n.strip_prefix("grad.")).map(str::to_owned).collect()
    }

    pub fn rows(&self) -> Vec<Row> {
        let list = |row: &Value, key: &str| -> Vec<i64> { row[key].as_array().unwrap().iter().map(|v| v.as_i64().unwrap()).collect() };
        let rows = self.json["rows"].as_array().unwrap();
        rows.iter().map(|r| Row { ids: list(r, "input_ids").iter().map(|i| *i as u32).collect(), labels: list(r, "labels") }).collect()
    }
}

#[derive(Clone)]
pub struct Row {
    pub ids: Vec<u32>,
    pub labels: Vec<i64>,
}

pub fn relative(found: &[f32], wanted: &[f32]) -> f64 {
    assert_eq!(found.len(), wanted.len());
    let diff: f64 = found.iter().zip(wanted).map(|(a, b)| ((a - b) as f64).powi(2)).sum();
    let norm: f64 = wanted.iter().map(|b| (*b as f64).powi(2)).sum();
    assert!(norm > 0.0, "an oracle tensor of zeros proves nothing");
    (diff / norm).sqrt()
}

#[track_caller]
pub fn close(found: &[f32], wanted: &[f32], what: &str) {
    let error = relative(found, wanted);
    assert!(error < BOUND, "{what}: relative error {error:.2e}");
}

/// Logits of every row of the batch, the rows laid end to end as segments.
pub fn logits(decoder: &Decoder, params: &ParamStore, rows: &[Row]) -> Vec<Vec<f32>> {
    let arena = Arena::new();
    let mut tape = Tape::inference(params, &arena);
    let ids: Vec<u32> = rows.iter().flat_map(|r| r.ids.clone()).collect();
    let lengths: Vec<usize> = rows.iter().map(|r| r.ids.len()).collect();
    let hidden = decoder.forward(&mut tape, &ids, &Segments::from_lengths(&lengths), None).unwrap();
    let logits = tape.linear(&hidden, decoder.head()).unwrap();
    let all = tape.read(&logits);
    let vocab = decoder.config.vocab_size;
    let mut from = 0;
    lengths
        .iter()
        .map(|n| {
            let part = all[from * vocab..(from + n) * vocab].to_vec();
            from += n;
            part
        })
        .collect()
}

/// Mean cross-entropy over the trained tokens; the gradients are left in `params`.
pub fn loss_and_gradients(decoder: &Decoder, params: &mut ParamStore, rows: &[Row]) -> f64 {
    let ids: Vec<u32> = rows.iter().flat_map(|r| r.ids.clone()).collect();
    let lengths: Vec<usize> = rows.iter().map(|r| r.ids.len()).collect();
    let trained = rows.iter().flat_map(|r| &r.labels[1..]).filter(|l| **l >= 0).count();
    let mut targets = Vec::new();
    let mut first = 0;
    for row in rows {
        for (i, label) in row.labels.iter().enumerate().skip(1).filter(|(_, l)| **l >= 0) {
            targets.push(Target { row: first + i as u32 - 1, token: *label as u32, weight: 1.0 / trained as f32 });
        }
        first += row.ids.len() as u32;
    }
    params.zero_grads();
    let arena = Arena::new();
    let mut tape = Tape::new(params, &arena, Mode::Training { seed: 0, step: 0, tokens: Vec::new() });
    let hidden = decoder.forward(&mut tape, &ids, &Segments::from_lengths(&lengths), None).unwrap();
    let log_probs = tape.cross_entropy(&hidden, decoder.head(), &targets).unwrap();
    drop(hidden);
    tape.backward();
    -log_probs.iter().map(|p| *p as f64).sum::<f64>() / trained as f64
}
