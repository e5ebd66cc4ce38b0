//! A run, an adapter or a bare model, opened to be asked: the same decoder, tokenizer, template and renderer that training used.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use containers::GgufFile;
use dataset::{Renderer, SftTask, Shape, TaskSpec, Truncation};
use engine::{Arena, ComputeDtype, ParamStore};
use generate::SamplingParams;
use model::Decoder;
use model::load::BaseModel;
use recipe::Recipe;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use sources::SourceSpec;
use text::Tokenizer;

use crate::environment::{Environment, native_compute};
use crate::error::{Result, StageError};
use crate::fetch::{self, Used};
use crate::manifest::Manifest;
use crate::progress::Progress;

/// A model that can be asked.
pub struct Opened {
    /// The weights.
    pub decoder: Decoder,
    /// The adapter's tensors, if there is one.
    pub params: ParamStore,
    /// Buffers.
    pub arena: Arena,
    /// Text to ids and back.
    pub tokenizer: Arc<Tokenizer>,
    /// What it was taught, or what a recipe says it should do; `None` for a bare model.
    pub recipe: Option<Recipe>,
    /// What one row was: a bare text is asked as one of these.
    pub shape: Shape,
    /// How its makers would sample.
    pub generation: GenerationDefaults,
    /// Hash of all that decides what it says, but for the arithmetic: weights, adapter, tokenizer.
    pub(crate) content: String,
}

/// What `generation_config.json` says about sampling.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct GenerationDefaults {
    do_sample: Option<bool>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    top_k: Option<usize>,
    repetition_penalty: Option<f32>,
    max_new_tokens: Option<usize>,
}

/// The user's words on sampling; unset ones are left to the model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SamplingChoice {
    /// Longest answer in tokens.
    pub max_new_tokens: Option<usize>,
    /// 0 takes the likeliest token.
    pub temperature: Option<f32>,
    /// Nucleus.
    pub top_p: Option<f32>,
    /// The likeliest k; 0 is all.
    pub top_k: Option<usize>,
    /// Above 1 discourages repetition.
    pub repetition_penalty: Option<f32>,
    /// Same seed, same answer.
    pub seed: Option<u64>,
    /// Texts that end the answer.
    pub stop: Vec<String>,
}

impl Opened {
    /// The renderer for the task; for a bare model, that of a conversation.
    pub fn renderer(&self) -> Result<Renderer> {
        let template = self.tokenizer.chat_template()?;
        let longest = self.decoder.config.max_positions;
        let (task, cutoff_len, truncation) = match &self.recipe {
            Some(recipe) => (recipe.task.clone(), recipe.cutoff_len.min(longest), recipe.truncation),
            None => (TaskSpec::Sft(SftTask::default()), longest, Truncation::default()),
        };
        Ok(Renderer::new(self.tokenizer.clone(), template, task, cutoff_len, truncation)?)
    }

    /// The choice with the model's own defaults filled in.
    ///
    /// # Errors
    /// A value out of range, by name.
    pub fn sampling(&self, choice: &SamplingChoice) -> Result<SamplingParams> {
        let own = &self.generation;
        let usual = SamplingParams::default();
        // As transformers reads the file: its temperature counts only if it says that it samples.
        let samples = own.do_sample.unwrap_or(false) || choice.temperature.is_some();
        let sampling = SamplingParams {
            max_new_tokens: choice.max_new_tokens.or(own.max_new_tokens).unwrap_or(usual.max_new_tokens),
            temperature: choice.temperature.or(own.temperature.filter(|_| samples)).unwrap_or(usual.temperature),
            top_p: choice.top_p.or(own.top_p.filter(|_| samples)).unwrap_or(usual.top_p),
            top_k: choice.top_k.or(own.top_k.filter(|_| samples)).unwrap_or(usual.top_k),
            repetition_penalty: choice.repetition_penalty.or(own.repetition_penalty).unwrap_or(usual.repetition_penalty),
            seed: choice.seed.unwrap_or(usual.seed),
            stop: choice.stop.clone(),
            ..usual
        };
        sampling.validate()?;
        Ok(sampling)
    }
}

/// Opens a run's directory, an adapter's directory, or any model source. `recipe` says the task of what is no run, and overrides
/// that of a run.
///
/// Without `compute`, a run and a model with a recipe compute as they were (or would be) trained; a bare model from a file of 4-
/// or 8-bit groups computes on those groups, any other in the fastest arithmetic that loses no accuracy here.
pub fn open(
    environment: &Environment,
    target: &str,
    recipe: Option<&Recipe>,
    compute: Option<ComputeDtype>,
    progress: &mut dyn Progress,
) -> Result<Opened> {
    let dir = Path::new(target);
    if let Some(manifest) = Manifest::load(dir)? {
        return open_run(environment, dir, &manifest, recipe, compute, progress);
    }
    if dir.join(ADAPTER_CONFIG).is_file() {
        return open_adapter(environment, dir, recipe, compute, progress);
    }
    let spec: SourceSpec = target.parse()?;
    let (resolved, used) = fetch::model(environment, &[spec], None, progress)?;
    let base = BaseModel::open(&resolved.root)?;
    let compute = match recipe {
        None if base.has_groups() => compute.unwrap_or(ComputeDtype::Native),
        _ => compute.unwrap_or_else(|| compute_of(recipe)),
    };
    Ok(Opened {
        decoder: base.load_in(compute)?,
        params: ParamStore::new(),
        arena: Arena::new(),
        tokenizer: Arc::new(load_tokenizer(&resolved.root)?),
        recipe: recipe.cloned(),
        shape: Shape::Messages,
        generation: generation_defaults(&resolved.root)?,
        content: used.sha256,
    })
}

/// A recipe's arithmetic, or this processor's.
fn compute_of(recipe: Option<&Recipe>) -> ComputeDtype {
    recipe.map_or_else(native_compute, |recipe| recipe.training.compute(native_compute()))
}

/// PEFT's configuration file.
pub(crate) const ADAPTER_CONFIG: &str = "adapter_config.json";

fn open_run(
    environment: &Environment,
    dir: &Path,
    manifest: &Manifest,
    recipe: Option<&Recipe>,
    compute: Option<ComputeDtype>,
    progress: &mut dyn Progress,
) -> Result<Opened> {
    let recipe = match recipe {
        Some(recipe) => recipe.clone(),
        None => manifest.recipe(dir)?,
    };
    let adapter = dir.join(ADAPTER_CONFIG).is_file();
    if !adapter && !dir.join("config.json").is_file() {
        return Err(StageError::input_help(
            format!("{}: the run has no result yet", dir.display()),
            "let it finish (`tunesmith train … --resume`)",
        ));
    }
    let tokenizer = load_tokenizer(dir)?;
    if tokenizer.hash() != manifest.tokenizer_sha256 {
        return Err(StageError::input_help(
            format!("{}: tokenizer or chat template is not the one that the run was trained with", dir.display()),
            "bring back tokenizer.json, tokenizer_config.json and chat_template.jinja as the run wrote them",
        ));
    }
    // Asked in the arithmetic that it was taught in.
    let compute = compute.unwrap_or_else(|| compute_of(Some(&recipe)));
    let (root, mut decoder) = if adapter {
        let base = base_of(environment, manifest, progress)?;
        let decoder = BaseModel::open(&base)?.load_in(compute)?;
        (base, decoder)
    } else {
        // The arithmetic is the run's: what it trained was multiplied in bf16, also beside frozen int8.
        (dir.to_path_buf(), as_trained(&BaseModel::open(dir)?, &manifest.recipe(dir)?, compute)?)
    };
    let mut params = ParamStore::new();
    if adapter {
        attach(dir, &mut decoder, &mut params, &manifest.model)?;
    }
    Ok(Opened {
        decoder,
        params,
        arena: Arena::new(),
        tokenizer: Arc::new(tokenizer),
        recipe: Some(recipe),
        shape: manifest.shape,
        generation: generation_defaults(&root)?,
        content: content_of(&[&manifest.model.sha256, &manifest.tokenizer_sha256], dir)?,
    })
}

/// A model as a run of `recipe` computes with it. A LoRA run computes with its base as it is.
pub(crate) fn as_trained(base: &BaseModel, recipe: &Recipe, compute: ComputeDtype) -> Result<Decoder> {
    Ok(match train::trained_tensors(&recipe.finetuning) {
        Some(trained) => base.load_beside(compute, &trained)?,
        None => base.load_in(compute)?,
    })
}

/// The base model of a run: the very source that it used, with the very content.
pub(crate) fn base_of(environment: &Environment, manifest: &Manifest, progress: &mut dyn Progress) -> Result<PathBuf> {
    let (resolved, _) = fetch::model(environment, &[manifest.model.spec()?], Some(&manifest.model), progress)?;
    Ok(resolved.root)
}

/// An adapter that another tool made: its base is what the recipe or the adapter names.
fn open_adapter(
    environment: &Environment,
    dir: &Path,
    recipe: Option<&Recipe>,
    compute: Option<ComputeDtype>,
    progress: &mut dyn Progress,
) -> Result<Opened> {
    let alternatives = match recipe {
        Some(recipe) => recipe.model.iter().map(|m| recipe.locate(m)).collect(),
        None => vec![named_base(dir)?],
    };
    let (resolved, used): (_, Used) = fetch::model(environment, &alternatives, None, progress)?;
    let mut decoder = BaseModel::open(&resolved.root)?.load_in(compute.unwrap_or_else(|| compute_of(recipe)))?;
    let mut params = ParamStore::new();
    attach(dir, &mut decoder, &mut params, &used)?;
    let tokenizer = if dir.join("tokenizer.json").is_file() { load_tokenizer(dir)? } else { load_tokenizer(&resolved.root)? };
    let content = content_of(&[&used.sha256, tokenizer.hash()], dir)?;
    Ok(Opened {
        decoder,
        params,
        arena: Arena::new(),
        tokenizer: Arc::new(tokenizer),
        recipe: recipe.cloned(),
        shape: Shape::Messages,
        generation: generation_defaults(&resolved.root)?,
        content,
    })
}

/// Hash of names and of the weights in a run's or an adapter's directory.
fn content_of(names: &[&str], dir: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    names.iter().for_each(|name| hash.update(name.as_bytes()));
    let entries = std::fs::read_dir(dir).map_err(|e| StageError::io(dir, "read", &e))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    files.retain(|p| p.extension().is_some_and(|e| e == "safetensors") || p.file_name().is_some_and(|n| n == ADAPTER_CONFIG));
    files.sort();
    let mut buffer = vec![0; 1 << 16];
    for path in files {
        hash.update(path.file_name().unwrap_or_default().as_encoded_bytes());
        let mut file = std::fs::File::open(&path).map_err(|e| StageError::io(&path, "read", &e))?;
        loop {
            let n = file.read(&mut buffer).map_err(|e| StageError::io(&path, "read", &e))?;
            if n == 0 {
                break;
            }
            hash.update(&buffer[..n]);
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn attach(dir: &Path, decoder: &mut Decoder, params: &mut ParamStore, base: &Used) -> Result<()> {
    let adapter = model::load::load_adapter(dir)?;
    adapter.check_base(&base.sha256)?;
    adapter.attach(decoder, params)?;
    Ok(())
}

/// `base_model_name_or_path` of an adapter: a path if it exists, else a name on the hub.
fn named_base(dir: &Path) -> Result<SourceSpec> {
    let path = dir.join(ADAPTER_CONFIG);
    let text = std::fs::read(&path).map_err(|e| StageError::io(&path, "read", &e))?;
    let config: serde_json::Value = serde_json::from_slice(&text)
        .map_err(|e| StageError::input(format!("{}:{}: not an adapter's configuration: {e}", path.display(), e.line())))?;
    let name = config.get("base_model_name_or_path").and_then(|n| n.as_str()).filter(|n| !n.is_empty()).ok_or_else(|| {
        StageError::input_help(
            format!("{}: base_model_name_or_path: is missing", path.display()),
            "name the base model in a recipe and give it with --recipe",
        )
    })?;
    let local = Path::new(name);
    if local.exists() {
        return Ok(SourceSpec::Path(local.to_path_buf()));
    }
    let known = ["hf:", "pypi:", "https:", "http:"].iter().any(|scheme| name.starts_with(scheme));
    Ok(if known { name.parse()? } else { format!("hf:{name}").parse()? })
}

/// The tokenizer of a model's directory or GGUF file.
pub(crate) fn load_tokenizer(path: &Path) -> Result<Tokenizer> {
    if path.is_dir() {
        return Ok(Tokenizer::from_dir(path)?);
    }
    let file = GgufFile::open(path).map_err(|e| StageError::input(e.to_string()))?;
    Ok(Tokenizer::from_gguf(&file)?)
}

fn generation_defaults(root: &Path) -> Result<GenerationDefaults> {
    let path = root.join("generation_config.json");
    match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|e| StageError::input(format!("{}:{}: {e}", path.display(), e.line()))),
        Err(_) => Ok(GenerationDefaults::default()),
    }
}
