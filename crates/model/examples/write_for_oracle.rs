//! Writes what `oracles/check_saved.py` then loads with transformers and PEFT: adapters, merged models, logits.
//!
//!     cargo run -p model --example write_for_oracle -- saved DIR        # from the tiny models in tests/data
//!     cargo run --release -p model --example write_for_oracle -- logits MODEL IDS.json OUT.safetensors
//!
//! `IDS.json` is a list of lists of token ids; `OUT.safetensors` gets `logits.0`, `logits.1`, …

use containers::DType;
use containers::save::{LazyTensor, write_safetensors};
use engine::rng::Rng;
use engine::{Arena, ParamStore, Segments, Tape};
use model::lora::{BiasMode, Init, LoraConfig, Targets, attach};
use model::save::{FileType, SaveOptions, SideFile, merge, save_adapter, save_pretrained};
use model::{Decoder, load_adapter, load_model};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["saved", out] => saved(Path::new(out)),
        ["logits", model, ids, out] => {
            let ids: Vec<Vec<u32>> = serde_json::from_str(&std::fs::read_to_string(ids)?)?;
            let start = std::time::Instant::now();
            let decoder = load_model(model)?;
            println!("loaded {} parameters in {:.3} s", decoder.parameters(), start.elapsed().as_secs_f64());
            decoder.notes.iter().for_each(|n| println!("note: {n}"));
            write_logits(&decoder, &ParamStore::new(), &ids, Path::new(out))
        }
        _ => Err("usage: see the top of the file".into()),
    }
}

fn write_logits(decoder: &Decoder, params: &ParamStore, ids: &[Vec<u32>], out: &Path) -> Result<()> {
    let mut all = Vec::new();
    for row in ids {
        let arena = Arena::new();
        let mut tape = Tape::inference(params, &arena);
        let hidden = decoder.forward(&mut tape, row, &Segments::from_lengths(&[row.len()]), None)?;
        let logits = tape.linear(&hidden, decoder.head())?;
        all.push(tape.read(&logits));
    }
    let vocab = decoder.config.vocab_size;
    let tensors = all
        .iter()
        .enumerate()
        .map(|(i, data)| LazyTensor::from_f32(format!("logits.{i}"), DType::F32, vec![data.len() / vocab, vocab], data));
    Ok(write_safetensors(out, &BTreeMap::new(), tensors)?)
}

/// For each tiny model: every PEFT adapter loaded and saved again, fresh adapters of several kinds, merged models.
fn saved(out: &Path) -> Result<()> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let hash = "0".repeat(64);
    for case in ["llama_mha", "llama_gqa", "llama_bias", "gpt2"] {
        let base = data.join(case);
        let expected: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(base.join("expected.json"))?)?;
        let rows = expected["rows"].as_array().ok_or("no rows")?;
        let ids: Vec<Vec<u32>> =
            rows.iter().map(|r| serde_json::from_value(r["input_ids"].clone())).collect::<std::result::Result<_, _>>()?;
        let side = SideFile { base_model: base.display().to_string(), base_hash: hash.clone(), ..Default::default() };
        let finish = |name: &str, decoder: &Decoder, params: &ParamStore, adapter: &model::Adapter| -> Result<()> {
            let dir = out.join(case).join(name);
            save_adapter(dir.join("adapter"), decoder, params, adapter, &side)?;
            write_logits(decoder, params, &ids, &dir.join("logits.safetensors"))?;
            merge(&base, dir.join("adapter"), dir.join("merged"), Some(&hash), SaveOptions::default())?;
            let sharded = SaveOptions { max_shard_bytes: 6000, ..Default::default() };
            save_pretrained(dir.join("sharded"), decoder, params, None, sharded)?;
            let half = SaveOptions { file_type: FileType::Bf16, ..Default::default() };
            merge(&base, dir.join("adapter"), dir.join("merged_bf16"), None, half)?;
            let gguf = data.join("gguf").join(format!("{case}.gguf"));
            if gguf.is_file() {
                merge(gguf, dir.join("adapter"), dir.join("merged_gguf"), None, SaveOptions::default())?;
            }
            println!("{case}/{name}");
            Ok(())
        };
        let mut names: Vec<_> = std::fs::read_dir(base.join("adapters"))?.flatten().map(|e| e.path()).collect();
        names.sort();
        for dir in names {
            let mut decoder = load_model(&base)?;
            let mut params = ParamStore::new();
            let adapter = load_adapter(&dir)?.attach(&mut decoder, &mut params)?;
            let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
            finish(&format!("peft_{name}"), &decoder, &params, &adapter)?;
        }
        let leaf = if case == "gpt2" { ("c_attn", "c_proj", "wte") } else { ("q_proj", "o_proj", "embed_tokens") };
        let fresh = [
            ("fresh_default", LoraConfig::default()),
            ("fresh_rslora", LoraConfig { rslora: true, init: Init::Gaussian, r: 3, ..Default::default() }),
            (
                "fresh_saved",
                LoraConfig {
                    targets: Targets::Names(vec![leaf.0.into()]),
                    modules_to_save: vec![leaf.2.into(), leaf.1.into()],
                    ..Default::default()
                },
            ),
            ("fresh_bias", LoraConfig { targets: Targets::Names(vec![leaf.1.into()]), bias: BiasMode::All, ..Default::default() }),
            ("fresh_head", LoraConfig { targets: Targets::Names(vec!["lm_head".into(), leaf.0.into()]), ..Default::default() }),
            ("fresh_regex", LoraConfig { targets: Targets::Regex(format!(r".*\.1\..*{}", leaf.0)), ..Default::default() }),
        ];
        for (name, config) in fresh {
            let mut decoder = load_model(&base)?;
            let mut params = ParamStore::new();
            let adapter = attach(&mut decoder, &mut params, &config, 7)?;
            // as if trained
            for (id, p) in params.iter_mut() {
                let mut rng = Rng::keyed(9, &[id.index() as u64]);
                p.value.iter_mut().for_each(|x| *x += 0.1 * rng.normal());
            }
            finish(name, &decoder, &params, &adapter)?;
        }
    }
    Ok(())
}
