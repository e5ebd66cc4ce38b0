//! Adapters: fresh ones, PEFT's directories read and written, merging, freezing.

mod common;

use common::*;
use containers::save::{LazyTensor, write_safetensors};
use containers::{DType, SafetensorsFile};
use engine::ParamStore;
use model::freeze::{FreezePart, FreezeSpec, select};
use model::lora::{BiasMode, Init, LoraConfig, Targets, attach};
use model::save::{FileType, SaveOptions, SideFile, merge, save_adapter, save_pretrained};
use model::{Decoder, load_adapter, load_model};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Name -> shape and numbers.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

const CASES: [(&str, &[&str]); 4] = [
    ("llama_mha", &["all_linear", "modules_to_save", "lm_head"]),
    ("llama_gqa", &["all_linear", "patterns", "layers"]),
    ("llama_bias", &["all_linear", "bias_lora_only", "bias_all"]),
    ("gpt2", &["all_linear", "c_attn"]),
];

fn read_json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn tensors(path: &Path) -> Tensors {
    let file = SafetensorsFile::open(path).unwrap();
    file.tensors().map(|t| (t.name.to_owned(), (t.shape.to_vec(), t.to_f32().unwrap()))).collect()
}

fn write_tensors(path: &Path, tensors: &Tensors) {
    let list = tensors.iter().map(|(n, (shape, data))| LazyTensor::from_f32(n, DType::F32, shape.clone(), data));
    write_safetensors(path, &BTreeMap::new(), list).unwrap();
}

fn copy_dir(from: &Path, to: &Path) {
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

/// A model with something trained into its fresh adapter.
fn trained(case: &str, config: &LoraConfig) -> (Decoder, ParamStore, model::Adapter) {
    let mut decoder = load_model(data(case)).unwrap();
    let mut params = ParamStore::new();
    let adapter = attach(&mut decoder, &mut params, config, 3).unwrap();
    for (id, p) in params.iter_mut() {
        let mut rng = engine::rng::Rng::keyed(5, &[id.index() as u64]);
        p.value.iter_mut().for_each(|x| *x += 0.1 * rng.normal());
    }
    (decoder, params, adapter)
}

#[test]
fn what_peft_saved_is_saved_again_with_the_same_names_and_bytes() {
    for (case, adapters) in CASES {
        for name in adapters {
            let dir = data(case).join("adapters").join(name);
            let (mut decoder, mut params) = (load_model(data(case)).unwrap(), ParamStore::new());
            let adapter = load_adapter(&dir).unwrap().attach(&mut decoder, &mut params).unwrap();
            let out = tempfile::tempdir().unwrap();
            save_adapter(out.path(), &decoder, &params, &adapter, &SideFile::default()).unwrap();
            let file = "adapter_model.safetensors";
            assert_eq!(tensors(&out.path().join(file)), tensors(&dir.join(file)), "{case}/{name}");
            let (ours, theirs) = (read_json(&out.path().join("adapter_config.json")), read_json(&dir.join("adapter_config.json")));
            for (key, value) in ours.as_object().unwrap() {
                assert_eq!(value, &theirs[key], "{case}/{name}: {key}");
            }
        }
    }
}

#[test]
fn a_fresh_adapter_changes_nothing_and_depends_on_the_seed_alone() {
    for (case, _) in CASES {
        let rows = Expected::open(&data(case)).rows();
        let mut decoder = load_model(data(case)).unwrap();
        let mut params = ParamStore::new();
        let before = logits(&decoder, &params, &rows);
        attach(&mut decoder, &mut params, &LoraConfig::default(), 11).unwrap();
        assert_eq!(logits(&decoder, &params, &rows), before, "{case}: B is zero");
        let start = |seed, init| {
            let (mut decoder, mut params) = (load_model(data(case)).unwrap(), ParamStore::new());
            attach(&mut decoder, &mut params, &LoraConfig { init, ..Default::default() }, seed).unwrap();
            params.iter().map(|(_, p)| (p.name.clone(), p.value.clone())).collect::<Vec<_>>()
        };
        let first = start(11, Init::Kaiming);
        assert_eq!(first, start(11, Init::Kaiming));
        assert_ne!(first, start(12, Init::Kaiming));
        for pair in first.chunks(2) {
            let inputs = pair[0].1.len() / 8;
            let bound = 1.0 / (inputs as f32).sqrt();
            assert!(pair[0].1.iter().all(|x| x.abs() <= bound) && pair[0].1.iter().any(|x| x.abs() > 0.7 * bound));
            assert!(pair[1].1.iter().all(|x| *x == 0.0));
        }
        // 1/r = 1/8: the standard deviation of a few hundred draws comes near it
        let draws: Vec<f32> = start(1, Init::Gaussian).into_iter().step_by(2).flat_map(|(_, a)| a).collect();
        let deviation = (draws.iter().map(|x| x * x).sum::<f32>() / draws.len() as f32).sqrt();
        assert!((deviation - 0.125).abs() < 0.02, "{deviation}");
    }
}

/// merged = adapter, from safetensors and from GGUF, streamed and from memory.
#[test]
fn merged_equals_unmerged() {
    for (case, adapters) in CASES {
        let rows = Expected::open(&data(case)).rows();
        let head = LoraConfig { targets: Targets::Names(vec!["lm_head".into()]), ..Default::default() };
        let embed = if case == "gpt2" { "wte" } else { "embed_tokens" };
        let whole = LoraConfig { modules_to_save: vec![embed.into()], ..Default::default() };
        let out = tempfile::tempdir().unwrap();
        let mut all = Vec::new();
        for name in adapters {
            let (mut decoder, mut params) = (load_model(data(case)).unwrap(), ParamStore::new());
            let dir = data(case).join("adapters").join(name);
            load_adapter(&dir).unwrap().attach(&mut decoder, &mut params).unwrap();
            all.push((decoder, params, dir));
        }
        for (name, config) in [("head", head), ("whole", whole)] {
            let (decoder, params, adapter) = trained(case, &config);
            let dir = out.path().join(name);
            save_adapter(&dir, &decoder, &params, &adapter, &SideFile::default()).unwrap();
            all.push((decoder, params, dir));
        }
        for (decoder, params, dir) in all {
            let wanted = logits(&decoder, &params, &rows);
            let mut merged = vec![out.path().join("merged")];
            let report = merge(data(case), &dir, &merged[0], None, SaveOptions::default()).unwrap();
            assert!(report.merged > 0);
            let gguf = data(&format!("gguf/{case}.gguf"));
            if gguf.is_file() {
                merged.push(out.path().join("merged_gguf"));
                merge(gguf, &dir, &merged[1], None, SaveOptions::default()).unwrap();
            }
            merged.push(out.path().join("from_memory"));
            save_pretrained(merged.last().unwrap(), &decoder, &params, None, SaveOptions::default()).unwrap();
            for path in &merged {
                let model = load_model(path).unwrap();
                assert_eq!(report.parameters, model.parameters());
                for (found, wanted) in logits(&model, &ParamStore::new(), &rows).iter().zip(&wanted) {
                    let error = relative(found, wanted);
                    assert!(error < 1e-5, "{}: {error:.2e}", dir.display());
                }
            }
        }
    }
}

#[test]
fn merging_in_16_bits_rounds_once() {
    let out = tempfile::tempdir().unwrap();
    let adapter = data("llama_gqa/adapters/all_linear");
    let save = |name: &str, file_type| {
        let options = SaveOptions { file_type, ..Default::default() };
        merge(data("llama_gqa"), &adapter, out.path().join(name), None, options).unwrap();
        tensors(&out.path().join(name).join("model.safetensors"))
    };
    let exact = save("f32", FileType::F32);
    for (name, file_type, bits) in [("bf16", FileType::Bf16, 8), ("f16", FileType::F16, 11)] {
        let rounded = save(name, file_type);
        assert_eq!(read_json(&out.path().join(name).join("config.json"))["torch_dtype"], file_type.torch_name());
        for (tensor, (_, wanted)) in &exact {
            for (found, wanted) in rounded[tensor].1.iter().zip(wanted) {
                assert!((found - wanted).abs() <= wanted.abs() * 0.5f32.powi(bits) + 1e-7, "{tensor}: {found} {wanted}");
            }
        }
        load_model(out.path().join(name)).unwrap();
    }
}

#[test]
fn unknown_keys_are_ignored_and_those_that_change_the_arithmetic_refused() {
    let dir = tempfile::tempdir().unwrap();
    copy_dir(&data("llama_mha/adapters/all_linear"), dir.path());
    let path = dir.path().join("adapter_config.json");
    let original = read_json(&path);
    let with = |key: &str, value: Value| {
        let mut config = original.clone();
        config[key] = value;
        std::fs::write(&path, config.to_string()).unwrap();
        load_adapter(dir.path()).map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(with("a_key_of_next_year", json!({"deep": [1, 2]})), Ok(()));
    assert_eq!(with("eva_config", json!({"rho": 2.0})), Ok(()));
    for (key, value) in [
        ("use_dora", json!(true)),
        ("peft_type", json!("IA3")),
        ("init_lora_weights", json!("pissa")),
        ("lora_bias", json!(true)),
        ("layer_replication", json!([[0, 1]])),
        ("trainable_token_indices", json!([3])),
    ] {
        let why = with(key, value).unwrap_err();
        assert!(why.contains("adapter_config.json") && why.contains(key), "{why}");
    }
    assert!(with("r", json!(0)).unwrap_err().contains("r: a positive whole number"));
    assert!(with("target_modules", json!([1])).unwrap_err().contains("target_modules: a list of names"));
    // only two keys are strictly needed
    std::fs::write(&path, json!({"peft_type": "LORA", "target_modules": ["q_proj"]}).to_string()).unwrap();
    assert_eq!(load_adapter(dir.path()).unwrap().config.alpha, 8.0);
}

#[test]
fn adapters_that_do_not_fit_say_what_does_not() {
    let refuse = |case: &str, change: &dyn Fn(&mut Tensors)| {
        let dir = tempfile::tempdir().unwrap();
        copy_dir(&data(case).join("adapters/all_linear"), dir.path());
        let path = dir.path().join("adapter_model.safetensors");
        let mut all = tensors(&path);
        change(&mut all);
        write_tensors(&path, &all);
        let (mut decoder, mut params) = (load_model(data(case)).unwrap(), ParamStore::new());
        load_adapter(dir.path()).and_then(|a| a.attach(&mut decoder, &mut params)).unwrap_err().to_string()
    };
    let q = "base_model.model.model.layers.0.self_attn.q_proj";
    let why = refuse("llama_mha", &|all| drop(all.remove(&format!("{q}.lora_B.weight"))));
    assert!(why.contains("q_proj") && why.contains("only one of lora_A and lora_B"), "{why}");
    let why = refuse("llama_mha", &|all| drop(all.insert(format!("{q}.lora_A.weight"), (vec![4, 8], vec![0.0; 32]))));
    assert!(why.contains("[4, 8]") && why.contains("[4, 16]"), "{why}");
    let why = refuse("llama_mha", &|all| drop(all.insert("base_model.model.score.weight".into(), (vec![2], vec![0.0; 2]))));
    assert!(why.contains("score.weight") && why.contains("no such tensor"), "{why}");
    let why = refuse("llama_mha", &|all| drop(all.insert(format!("{q}.lora_magnitude_vector"), (vec![2], vec![0.0; 2]))));
    assert!(why.contains("DoRA"), "{why}");
    let why = refuse("llama_mha", &|all| {
        drop(all.insert("base_model.model.model.embed_tokens.lora_embedding_A".into(), (vec![2], vec![0.0; 2])))
    });
    assert!(why.contains("LoRA on an embedding"), "{why}");
    // an adapter of another model
    let (mut decoder, mut params) = (load_model(data("gpt2")).unwrap(), ParamStore::new());
    let other = load_adapter(data("llama_mha/adapters/all_linear")).unwrap();
    assert!(other.attach(&mut decoder, &mut params).unwrap_err().to_string().contains("this model has c_attn"));
}

#[test]
fn directories_of_peft() {
    let dir = tempfile::tempdir().unwrap();
    let why = || load_adapter(dir.path()).unwrap_err().to_string();
    assert!(why().contains("there is no adapter_config.json"));
    let named = dir.path().join("mine");
    std::fs::create_dir(&named).unwrap();
    copy_dir(&data("llama_mha/adapters/all_linear"), &named);
    assert_eq!(load_adapter(dir.path()).unwrap().dir(), named);
    let second = dir.path().join("yours");
    std::fs::create_dir(&second).unwrap();
    copy_dir(&data("llama_mha/adapters/all_linear"), &second);
    assert!(why().contains("several adapters"));
    std::fs::remove_file(named.join("adapter_model.safetensors")).unwrap();
    std::fs::write(named.join("adapter_model.bin"), b"pickle").unwrap();
    assert!(load_adapter(&named).unwrap_err().to_string().contains("save it again as safetensors"));
}

/// PEFT saves embedding and head with an adapter whose vocabulary was resized; the base at hand has the old one.
#[test]
fn an_adapter_of_a_resized_vocabulary_resizes_the_model() {
    for (case, with_head) in [("llama_mha", true), ("llama_gqa", true), ("llama_gqa", false)] {
        let dir = tempfile::tempdir().unwrap();
        copy_dir(&data(case).join("adapters/all_linear"), dir.path());
        let path = dir.path().join("adapter_model.safetensors");
        let mut all = tensors(&path);
        let base = tensors(&data(case).join("model.safetensors"));
        let longer = |name: &str| {
            let (shape, mut values) = base[name].clone();
            values.extend((0..3 * shape[1]).map(|i| 0.01 * i as f32));
            (vec![shape[0] + 3, shape[1]], values)
        };
        let embed = longer("model.embed_tokens.weight");
        let head = if case == "llama_mha" { longer("lm_head.weight") } else { embed.clone() };
        all.insert("base_model.model.model.embed_tokens.weight".into(), embed);
        if with_head {
            all.insert("base_model.model.lm_head.weight".into(), head);
        }
        write_tensors(&path, &all);
        let (mut decoder, mut params) = (load_model(data(case)).unwrap(), ParamStore::new());
        let adapter = load_adapter(dir.path()).unwrap().attach(&mut decoder, &mut params).unwrap();
        assert_eq!(decoder.config.vocab_size, 51);
        assert_eq!(decoder.is_tied(), case == "llama_gqa");
        // the new rows were not trained: only the branches are
        assert!(params.iter().all(|(_, p)| p.name.contains("lora_")));
        let rows = Expected::open(&data(case)).rows();
        let expected = Expected::open(&data(case).join("adapters/all_linear"));
        let found = logits(&decoder, &params, &rows);
        let old: Vec<f32> = found[0].chunks(51).flat_map(|r| r[..48].to_vec()).collect();
        close(&old, &expected.tensor("logits.0"), case);
        // a new token can be used
        logits(&decoder, &params, &[Row { ids: vec![50, 3], labels: vec![] }]);
        // and nothing is lost by saving or merging
        let out = tempfile::tempdir().unwrap();
        save_adapter(out.path(), &decoder, &params, &adapter, &SideFile::default()).unwrap();
        assert_eq!(tensors(&out.path().join("adapter_model.safetensors")), all);
        merge(data(case), dir.path(), out.path().join("merged"), None, SaveOptions::default()).unwrap();
        let merged = load_model(out.path().join("merged")).unwrap();
        assert_eq!(merged.config.vocab_size, 51);
        for (a, b) in logits(&merged, &ParamStore::new(), &rows).iter().zip(&found) {
            assert!(relative(a, b) < 1e-5);
        }
    }
}

#[test]
fn the_base_is_checked_by_content() {
    let (decoder, params, adapter) = trained("llama_mha", &LoraConfig::default());
    let out = tempfile::tempdir().unwrap();
    let mut side = SideFile { base_model: "hf:org/name".into(), base_hash: "aa".repeat(32), ..Default::default() };
    side.other.insert("tokenizer_hash".into(), json!("bb"));
    save_adapter(out.path(), &decoder, &params, &adapter, &side).unwrap();
    let loaded = load_adapter(out.path()).unwrap();
    assert_eq!(loaded.side.as_ref(), Some(&side));
    assert_eq!(loaded.config.base_model.as_deref(), Some("hf:org/name"));
    loaded.check_base(&"aa".repeat(32)).unwrap();
    let why = merge(data("llama_mha"), out.path(), out.path().join("m"), Some("cc"), SaveOptions::default()).unwrap_err();
    assert!(why.to_string().contains("hf:org/name") && why.to_string().contains("cc"), "{why}");
    assert!(!out.path().join("m").exists());
    // other programs leave no hash
    load_adapter(data("llama_mha/adapters/all_linear")).unwrap().check_base("cc").unwrap();
}

#[test]
fn a_broken_adapter_is_not_saved() {
    let (decoder, mut params, adapter) = trained("llama_mha", &LoraConfig::default());
    params.get_mut(adapter.modules[2].b).value[1] = f32::NAN;
    let out = tempfile::tempdir().unwrap();
    let why = save_adapter(out.path(), &decoder, &params, &adapter, &SideFile::default()).unwrap_err().to_string();
    assert!(why.contains("v_proj.lora_B.weight") && why.contains("NaN"), "{why}");
    assert!(!out.path().join("adapter_model.safetensors").exists());
    assert!(save_pretrained(out.path(), &decoder, &params, None, SaveOptions::default()).is_err());
    assert!(!out.path().join("model.safetensors").exists());
}

#[test]
fn settings_that_reach_nothing() {
    let why = |config: LoraConfig| {
        let (mut decoder, mut params) = (load_model(data("llama_mha")).unwrap(), ParamStore::new());
        attach(&mut decoder, &mut params, &config, 0).unwrap_err().to_string()
    };
    let saved = why(LoraConfig { modules_to_save: vec!["wte".into()], ..Default::default() });
    assert!(saved.contains("there is no module wte") && saved.contains("embed_tokens"), "{saved}");
    assert!(why(LoraConfig { r: 0, ..Default::default() }).contains("lora_rank"));
    assert!(why(LoraConfig { dropout: 1.0, ..Default::default() }).contains("lora_dropout"));
    let (mut decoder, mut params) = (load_model(data("llama_mha")).unwrap(), ParamStore::new());
    attach(&mut decoder, &mut params, &LoraConfig::default(), 0).unwrap();
    assert!(attach(&mut decoder, &mut params, &LoraConfig::default(), 0).is_err());
}

/// A tied matrix that trains is one parameter whose gradient has both uses; it is saved under both names.
#[test]
fn a_tied_head_that_trains_is_one_master() {
    let expected = Expected::open(&data("llama_gqa"));
    let wanted = expected.tensor("grad.model.embed_tokens.weight");
    let rows = expected.rows();
    for name in ["embed_tokens", "lm_head"] {
        let (mut decoder, mut params) = (load_model(data("llama_gqa")).unwrap(), ParamStore::new());
        let config = LoraConfig { modules_to_save: vec![name.into()], ..Default::default() };
        let adapter = attach(&mut decoder, &mut params, &config, 0).unwrap();
        assert!(decoder.is_tied());
        // PEFT's copy of the matrix is our matrix: it counts once.
        let whole = params.iter().filter(|(_, p)| !p.name.contains("lora_")).map(|(_, p)| p.numel()).sum::<usize>();
        assert_eq!(decoder.parameters_with(&params), decoder.parameters() + params.numel() - whole);
        assert!(whole > 0);
        loss_and_gradients(&decoder, &mut params, &rows);
        let id = params.by_name("base_model.model.model.embed_tokens.weight").unwrap();
        close(&params.get(id).grad, &wanted, name);
        let out = tempfile::tempdir().unwrap();
        save_adapter(out.path(), &decoder, &params, &adapter, &SideFile::default()).unwrap();
        let file = tensors(&out.path().join("adapter_model.safetensors"));
        assert_eq!(file["base_model.model.model.embed_tokens.weight"], file["base_model.model.lm_head.weight"]);
        let again = load_adapter(out.path()).unwrap();
        let (mut decoder, mut params) = (load_model(data("llama_gqa")).unwrap(), ParamStore::new());
        again.attach(&mut decoder, &mut params).unwrap();
        assert!(decoder.is_tied(), "equal copies are one matrix again");
    }
    let (mut decoder, mut params) = (load_model(data("llama_gqa")).unwrap(), ParamStore::new());
    let part = FreezePart { head: true, ..Default::default() };
    assert_eq!(select(&mut decoder, &mut params, &FreezeSpec::Part(part)).unwrap(), ["model.embed_tokens.weight"]);
    loss_and_gradients(&decoder, &mut params, &rows);
    close(&params.iter().next().unwrap().1.grad, &wanted, "freeze");
}

#[test]
fn freezing_selects_layers_names_and_ends() {
    let chosen = |part: FreezePart| {
        let (mut decoder, mut params) = (load_model(data("llama_mha")).unwrap(), ParamStore::new());
        select(&mut decoder, &mut params, &FreezeSpec::Part(part)).map(|names| {
            assert_eq!(names, params.iter().map(|(_, p)| p.name.clone()).collect::<Vec<_>>());
            names
        })
    };
    let layer = |n: usize, names: &[String]| names.iter().all(|t| t.starts_with(&format!("model.layers.{n}.")));
    let last = chosen(FreezePart { layers: 1, ..Default::default() }).unwrap();
    assert!(last.len() == 9 && layer(1, &last));
    let first = chosen(FreezePart { layers: -1, modules: vec!["all".into()], ..Default::default() }).unwrap();
    assert!(first.len() == 9 && layer(0, &first));
    let mlp = chosen(FreezePart { layers: 2, modules: vec!["mlp".into(), "input_layernorm".into()], ..Default::default() });
    assert_eq!(mlp.unwrap().len(), 8);
    let ends = FreezePart { embeddings: true, head: true, extra_modules: vec!["norm".into()], ..Default::default() };
    assert_eq!(chosen(ends).unwrap(), ["model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"]);
    let named = |n: &str| chosen(FreezePart { names: vec![n.into()], ..Default::default() });
    assert_eq!(named("layers.1").unwrap().len(), 9);
    assert_eq!(named(r"layers\.[01]\.self_attn\.q").unwrap().len(), 2);
    for (why, words) in [
        (named("layers.2"), "layers.2 is in no tensor's name; names look like model.layers.0"),
        (named("layers.[").map(|_| vec![]), "cannot be used"),
        (chosen(FreezePart { layers: 3, ..Default::default() }), "3 layers are asked for, the model has 2"),
        (chosen(FreezePart::default()), "nothing would train"),
        (chosen(FreezePart { layers: 1, modules: vec!["attn".into()], ..Default::default() }), "attn is in no"),
    ] {
        let why = why.unwrap_err().to_string();
        assert!(why.contains(words), "{why}");
    }
}

/// Gradients of a frozen model are those of the full one, for what trains.
#[test]
fn a_part_has_the_gradients_of_the_whole() {
    for case in ["llama_mha", "gpt2"] {
        let expected = Expected::open(&data(case));
        let (mut decoder, mut params) = (load_model(data(case)).unwrap(), ParamStore::new());
        let part = FreezePart { layers: 1, ..Default::default() };
        select(&mut decoder, &mut params, &FreezeSpec::Part(part)).unwrap();
        loss_and_gradients(&decoder, &mut params, &expected.rows());
        assert!(params.params_without_gradient().is_empty());
        for (_, p) in params.iter().filter(|(_, p)| p.shape.len() == 1) {
            close(&p.grad, &expected.tensor(&format!("grad.{}", p.name)), &p.name);
        }
    }
}

#[test]
fn what_was_trained_is_what_is_saved() {
    for (case, _) in CASES {
        let (mut decoder, mut params) = (load_model(data(case)).unwrap(), ParamStore::new());
        let rows = Expected::open(&data(case)).rows();
        select(&mut decoder, &mut params, &FreezeSpec::Full).unwrap();
        for (id, p) in params.iter_mut() {
            p.value.iter_mut().for_each(|x| *x *= 1.0 + 0.01 * id.index() as f32);
        }
        let wanted = logits(&decoder, &params, &rows);
        let out = tempfile::tempdir().unwrap();
        save_pretrained(out.path(), &decoder, &params, None, SaveOptions::default()).unwrap();
        let again = load_model(out.path()).unwrap();
        assert_eq!(again.is_tied(), decoder.is_tied());
        assert_eq!(logits(&again, &ParamStore::new(), &rows), wanted);
        // the names that transformers gave its own file
        let names = |dir: &Path| tensors(&dir.join("model.safetensors")).into_keys().collect::<Vec<_>>();
        assert_eq!(names(out.path()), names(&data(case)));
    }
}

#[test]
fn trained_biases_keep_their_names() {
    let config = LoraConfig { targets: Targets::Names(vec!["c_attn".into()]), bias: BiasMode::All, ..Default::default() };
    let (decoder, params, adapter) = trained("gpt2", &config);
    let names: Vec<&str> = params.iter().map(|(_, p)| p.name.as_str()).collect();
    assert!(names.contains(&"base_model.model.transformer.h.0.attn.c_attn.base_layer.bias"));
    assert!(names.contains(&"base_model.model.transformer.h.0.attn.c_proj.bias"));
    assert!(names.contains(&"base_model.model.transformer.ln_f.bias"));
    let out = tempfile::tempdir().unwrap();
    save_adapter(out.path(), &decoder, &params, &adapter, &SideFile::default()).unwrap();
    assert_eq!(read_json(&out.path().join("adapter_config.json"))["fan_in_fan_out"], true);
    let (mut again, mut loaded) = (load_model(data("gpt2")).unwrap(), ParamStore::new());
    load_adapter(out.path()).unwrap().attach(&mut again, &mut loaded).unwrap();
    let rows = Expected::open(&data("gpt2")).rows();
    assert_eq!(logits(&again, &loaded, &rows), logits(&decoder, &params, &rows));
}
