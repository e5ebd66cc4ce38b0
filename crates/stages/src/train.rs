//! `tunesmith train`: from a recipe to a tuned, measured, reported model. Reads from top to bottom; the loop itself is `train::run`.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use engine::Arena;
use evaluate::EvalReport;
use model::Decoder;
use model::load::BaseModel;
use model::lora::Adapter;
use model::save::{SaveOptions, SideFile, save_adapter, save_pretrained};
use recipe::Recipe;
use serde::Serialize;
use sources::SourceSpec;
use train::arguments::ComputeChoice;
use train::{Outcome, OutputDir, TrainReport};

use crate::environment::{Environment, Memory, WallClock, mebibytes, native_compute};
use crate::error::{Result, StageError};
use crate::fetch::Used;
use crate::manifest::{Manifest, write_atomic};
use crate::measure::{Asked, During, Measurement, headline, measure};
use crate::open::{as_trained, load_tokenizer};
use crate::progress::Progress;
use crate::rows::{self, Data, Ready, Tokens};
use crate::watch::Watch;
use crate::{human, report};

/// What to train and where to.
pub struct Job {
    /// The recipe.
    pub recipe: Recipe,
    /// Overrides the recipe's `output_dir`.
    pub output_dir: Option<PathBuf>,
    /// Go on from the last checkpoint.
    pub resume: bool,
    /// The command that goes on after an interruption, shown to the user.
    pub command: String,
}

/// What scripts may rely on.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// The run's directory.
    pub output_dir: PathBuf,
    /// Optimizer steps.
    pub steps: u64,
    /// Passes over the data.
    pub epochs: f64,
    /// Mean loss of a trained token over the whole run.
    pub train_loss: f64,
    /// Seconds of the loop alone, without load and evaluation.
    pub train_seconds: f64,
    /// Tokens of the rows (each counted whole, there are no pads) / `train_seconds`.
    pub tokens_per_second: f64,
    /// Tokens that were trained.
    pub trained_tokens: u64,
    /// Tokens that were computed once for several rows of a batch that begin alike. They count in `tokens_per_second` all the same: it
    /// says how fast rows are worked off.
    pub shared_tokens: u64,
    /// Most memory held at once, in MiB.
    pub peak_rss_mb: u64,
    /// The held-out rows' verdict.
    pub metrics: Metrics,
    /// What kind of result lies in the directory; for people.
    #[serde(skip)]
    pub result: &'static str,
}

/// Before and after.
#[derive(Clone, Debug, Serialize)]
pub struct Metrics {
    /// The untouched model.
    pub before: Option<EvalReport>,
    /// The result.
    pub after: Option<EvalReport>,
}

/// Where the first measurement waits for a resumed run.
const BEFORE_FILE: &str = "evaluation_before.json";

/// Trains.
///
/// # Errors
/// [`StageError::Stopped`] after an interruption, with the command that goes on; anything else as its own text says.
pub fn run(environment: &Environment, job: &Job, progress: &mut dyn Progress) -> Result<Summary> {
    run_stages(environment, job, progress).map_err(|e| match e {
        StageError::Stopped { help: None } => StageError::Stopped { help: Some(format!("go on with:\n  {}", job.command)) },
        other => other,
    })
}

fn run_stages(environment: &Environment, job: &Job, progress: &mut dyn Progress) -> Result<Summary> {
    job.recipe.notes.iter().for_each(|note| progress.note(note));
    let dir = output_dir(job)?;
    let output = OutputDir::claim(&dir, job.resume)?;
    let before = if job.resume { Manifest::load(&dir)? } else { None };
    let recipe = &with_compute(&job.recipe, &dir, before.as_ref())?;
    let compute = recipe.training.compute(native_compute());
    progress.note(&format!("computing in {}", compute.name()));

    // What to train on, and what.
    let Ready { files, model_used, base, data, tokens } = rows::ready(environment, recipe, before.as_ref(), progress)?;
    check_evaluation(recipe, &data)?;

    // A changed recipe is refused before anything in the directory is touched: what lies there belongs to the former one.
    let fingerprint = fingerprint(recipe, &model_used, &data.used);
    train::resume_point(&output, &fingerprint)?;

    // The directory can be used and understood from here on, whatever happens.
    save_rows(&dir, &data)?;
    let tokenizer_sha256 = save_tokenizer(&dir, &files.root, &tokens)?;
    let manifest = Manifest {
        tunesmith: env!("CARGO_PKG_VERSION").to_owned(),
        model: model_used.clone(),
        dataset: data.used.clone(),
        eval_dataset: data.eval_used.clone(),
        shape: data.facts.shape,
        rows: rows::counts(&data, &tokens),
        tokenizer_sha256,
        recipe: recipe.to_json(),
    };
    // What was measured under other settings says nothing about these.
    if before.is_some_and(|before| before != manifest) {
        let _ = std::fs::remove_file(dir.join(BEFORE_FILE));
    }
    manifest.save(&dir)?;

    // The untouched model, then the trainable tensors in it.
    let arena = Arena::new();
    let trains_weights = recipe.finetuning.trains_weights();
    let untouched = || as_trained(&base, recipe, compute);
    let (first, measured) = first_measurement(&dir, recipe, &untouched, &arena, &data, &tokens, progress)?;
    let mut decoder = match measured.filter(|_| !trains_weights) {
        Some(decoder) => decoder,
        // Masters begin as the file has them, not as products round them.
        None if trains_weights => base.load()?,
        None => untouched()?,
    };
    let mut prepared = train::prepare(&mut decoder, &recipe.finetuning, Some(base_name(&files.spec, &files.root)), recipe.training.seed)?;
    decoder.pack(compute)?;
    let side = side_file(&manifest);
    let export = |decoder: &Decoder, params: &engine::ParamStore, to: &Path| -> std::result::Result<(), train::observe::EvaluatorError> {
        if let Some(adapter) = &prepared.adapter {
            save_adapter(to, decoder, params, adapter, &side)?;
        }
        Ok(())
    };
    let total_parameters = decoder.parameters_with(&prepared.params) as u64;
    let during = During { renderer: &tokens.renderer, samples: &data.heldout, rendered: &tokens.heldout.rows };
    let mut evaluator = (!data.heldout.is_empty()).then_some(during);
    let trained = {
        let loop_job = train::Job {
            decoder: &decoder,
            params: &mut prepared.params,
            arena: &arena,
            total_parameters,
            rows: &tokens.train.rows,
            arguments: &recipe.training,
            output: &output,
            recipe: &fingerprint,
            export: Some(&export),
        };
        let mut watch = Watch::new(progress);
        let outcome = train::run(loop_job, &mut watch, &WallClock::start(), evaluator.as_mut().map(|e| e as &mut dyn train::Evaluator));
        watch.end();
        outcome?
    };
    if trained.outcome == Outcome::Interrupted {
        return Err(stopped(&trained, &job.command));
    }

    // The result, measured.
    let result = save_result(&dir, &decoder, &prepared, &base, &side)?;
    let after = match recipe.evaluation.after && !data.heldout.is_empty() {
        true => {
            let asked = Asked { decoder: &decoder, params: &prepared.params, arena: &arena, renderer: &tokens.renderer };
            let measured = measure(asked, &data.heldout, &tokens.heldout.rows, "evaluate after", progress)?;
            progress.note(&format!("after  {}", headline(&measured.report)));
            Some(measured)
        }
        false => None,
    };
    let peak_rss_mb = Memory::now().peak_rss.map_or(0, mebibytes);
    let summary = Summary {
        output_dir: dir.clone(),
        steps: trained.steps,
        epochs: trained.epochs,
        train_loss: trained.train_loss,
        train_seconds: trained.train_seconds,
        tokens_per_second: trained.tokens_per_second,
        trained_tokens: trained.trained_tokens,
        shared_tokens: trained.shared_tokens,
        peak_rss_mb,
        metrics: Metrics { before: first.as_ref().map(|m| m.report.clone()), after: after.as_ref().map(|m| m.report.clone()) },
        result,
    };
    let answers = report::answers(recipe, &decoder, &prepared.params, &arena, &tokens.renderer, &data.heldout, progress)?;
    let page = report::page(&report::Story {
        recipe,
        manifest: &manifest,
        data: &data,
        tokens: &tokens,
        first: first.as_ref(),
        after: after.as_ref(),
        trained: &trained,
        summary: &summary,
        trainable: prepared.params.numel() as u64,
        total: total_parameters,
        answers,
    })?;
    write_atomic(&dir.join("report.html"), page.as_bytes())?;
    let numbers = serde_json::to_string_pretty(&summary.metrics).unwrap_or_default();
    write_atomic(&dir.join("evaluation.json"), (numbers + "\n").as_bytes())?;
    Ok(summary)
}

impl Summary {
    /// The last lines that a person reads.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(
            out,
            "trained {} steps ({:.2} epochs) in {}, {:.0} tokens/s, loss {:.4}, peak memory {} MiB",
            self.steps,
            self.epochs,
            human::duration(self.train_seconds),
            self.tokens_per_second,
            self.train_loss,
            self.peak_rss_mb
        );
        for (name, report) in [("before", &self.metrics.before), ("after", &self.metrics.after)] {
            if let Some(report) = report {
                let _ = writeln!(out, "{name:<7} {} on {}", headline(report), human::plural(report.n, "held-out row"));
            }
        }
        let _ = write!(out, "{} in {}", self.result, self.output_dir.display());
        out
    }
}

/// The recipe with `compute_dtype: auto` resolved: as the run began, or as this processor likes it.
fn with_compute(recipe: &Recipe, dir: &Path, before: Option<&Manifest>) -> Result<Recipe> {
    let mut resolved = recipe.clone();
    if recipe.training.compute_dtype == ComputeChoice::Auto {
        let native = match before {
            Some(manifest) => manifest.recipe(dir)?.training.compute(native_compute()),
            None => native_compute(),
        };
        resolved.training.compute_dtype = recipe.training.compute(native).into();
    }
    Ok(resolved)
}

fn output_dir(job: &Job) -> Result<PathBuf> {
    job.output_dir
        .clone()
        .or_else(|| job.recipe.output_dir.clone())
        .ok_or_else(|| StageError::input_help("there is no output directory", "give one with --output-dir, or `output_dir:` in the recipe"))
}

/// Settings that need held-out rows are refused before hours are spent.
fn check_evaluation(recipe: &Recipe, data: &Data) -> Result<()> {
    let wanted = recipe.training.eval_strategy != train::arguments::Strategy::No;
    if wanted && data.heldout.is_empty() {
        return Err(train::TrainError::NoEvaluator.into());
    }
    Ok(())
}

fn save_rows(dir: &Path, data: &Data) -> Result<()> {
    for (name, samples) in [("train.jsonl", &data.train), ("heldout.jsonl", &data.heldout)] {
        dataset::export::write_jsonl(&dir.join(name), samples)?;
    }
    Ok(())
}

/// Saves the tokenizer with the template that training used; gives its hash as it will be read back.
fn save_tokenizer(dir: &Path, model: &Path, tokens: &Tokens) -> Result<String> {
    let mut tokenizer = load_tokenizer(model)?;
    if let Some(source) = tokens.renderer.template_source() {
        tokenizer.set_chat_template(source)?;
    }
    tokenizer.save(dir)?;
    Ok(text::Tokenizer::from_dir(dir)?.hash().to_owned())
}

/// The untouched model on the held-out rows; a resumed run remembers it.
fn first_measurement(
    dir: &Path,
    recipe: &Recipe,
    untouched: &dyn Fn() -> Result<Decoder>,
    arena: &Arena,
    data: &Data,
    tokens: &Tokens,
    progress: &mut dyn Progress,
) -> Result<(Option<Measurement>, Option<Decoder>)> {
    if !recipe.evaluation.before || data.heldout.is_empty() {
        return Ok((None, None));
    }
    let path = dir.join(BEFORE_FILE);
    if let Some(remembered) = std::fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Measurement>(&text).ok()) {
        progress.note(&format!("before {} (measured when the run began)", headline(&remembered.report)));
        return Ok((Some(remembered), None));
    }
    let params = engine::ParamStore::new();
    let decoder = untouched()?;
    let asked = Asked { decoder: &decoder, params: &params, arena, renderer: &tokens.renderer };
    let measured = measure(asked, &data.heldout, &tokens.heldout.rows, "evaluate before", progress)?;
    progress.note(&format!("before {}", headline(&measured.report)));
    let text = serde_json::to_vec(&measured)
        .map_err(|e| StageError::Work { message: format!("{BEFORE_FILE}: cannot be written as JSON: {e}"), help: None })?;
    write_atomic(&path, &text)?;
    Ok((Some(measured), Some(decoder)))
}

/// The recipe and the sources, as a checkpoint remembers them.
fn fingerprint(recipe: &Recipe, model: &Used, dataset: &Used) -> Vec<(String, String)> {
    let mut prints = recipe.fingerprint();
    let mut add = |key: &str, used: &Used| prints.push((key.to_owned(), format!("{} (sha256 {})", used.source, used.sha256)));
    add("model", model);
    add("dataset content", dataset);
    prints
}

/// What PEFT will look for: a name on the hub, or a path.
fn base_name(spec: &SourceSpec, root: &Path) -> String {
    match spec {
        SourceSpec::Hf { repo, .. } => repo.clone(),
        SourceSpec::Path(_) => root.display().to_string(),
        other => other.to_string(),
    }
}

fn side_file(manifest: &Manifest) -> SideFile {
    let other = [
        ("tokenizer_sha256".to_owned(), manifest.tokenizer_sha256.clone().into()),
        ("tunesmith".to_owned(), manifest.tunesmith.clone().into()),
    ];
    SideFile { base_model: manifest.model.source.clone(), base_hash: manifest.model.sha256.clone(), other: other.into() }
}

fn save_result(dir: &Path, decoder: &Decoder, prepared: &train::Prepared, base: &BaseModel, side: &SideFile) -> Result<&'static str> {
    match &prepared.adapter {
        Some(adapter) => {
            let adapter: &Adapter = adapter;
            save_adapter(dir, decoder, &prepared.params, adapter, side)?;
            Ok("adapter")
        }
        None => {
            save_pretrained(dir, decoder, &prepared.params, Some(base), SaveOptions::default())?;
            Ok("model")
        }
    }
}

fn stopped(trained: &TrainReport, command: &str) -> StageError {
    let help = match &trained.checkpoint {
        Some(checkpoint) => {
            format!("step {} of {} is saved in {}; go on with:\n  {command}", trained.steps, trained.total_steps, checkpoint.display())
        }
        None => format!("nothing was trained yet; begin again with:\n  {command}"),
    };
    StageError::Stopped { help: Some(help) }
}
