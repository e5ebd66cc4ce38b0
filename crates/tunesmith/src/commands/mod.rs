//! One file a verb: arguments in, a stage run, its result shown. No logic that a web page would need too.

pub mod bench;
pub mod chat;
pub mod docs;
pub mod doctor;
pub mod eval;
pub mod few;
pub mod init;
pub mod label;
pub mod merge;
pub mod plan;
pub mod predict;
pub mod preview;
pub mod pull;
pub mod schema;
pub mod train;
pub mod vectorize;

use std::path::Path;

use stages::{Environment, Recipe, Result, StageError};

use crate::cli::{Global, Sampling, Target};
use crate::screen::Screen;
use crate::stop;

/// What every verb needs.
pub struct Context {
    /// Results as JSON.
    pub json: bool,
    /// Caches, network settings.
    pub environment: Environment,
    quiet: bool,
}

impl Context {
    /// Reads the environment, sizes the thread pool, listens to Ctrl-C.
    pub fn new(global: &Global) -> Result<Self> {
        stop::listen();
        if let Some(threads) = global.threads {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.into()).build_global();
            pool.map_err(|e| StageError::input(format!("--threads {threads}: {e}")))?;
        }
        Ok(Self { json: global.json, environment: Environment::from_env(global.offline)?, quiet: global.quiet })
    }

    /// A fresh listener for one stage.
    pub fn screen(&self) -> Screen {
        Screen::new(self.quiet)
    }
}

/// The target of eval, predict and chat, opened.
fn open(context: &Context, target: &Target, screen: &mut Screen) -> Result<stages::Opened> {
    let recipe = target.recipe.as_deref().map(|path| Recipe::load(path, &target.sets)).transpose()?;
    if recipe.is_none() && !target.sets.is_empty() {
        return Err(StageError::input("--set changes a recipe: give one with --recipe"));
    }
    stages::open(&context.environment, &target.target, recipe.as_ref(), target.compute_dtype.into(), screen)
}

/// The command line's words on sampling; unset ones are left to the model.
fn sampling(args: &Sampling) -> stages::SamplingChoice {
    stages::SamplingChoice {
        max_new_tokens: args.max_new_tokens,
        temperature: args.temperature,
        top_p: args.top_p,
        top_k: args.top_k,
        repetition_penalty: args.repetition_penalty,
        seed: args.seed,
        stop: args.stop.clone(),
    }
}

/// How this program was called, so that what is printed next can be typed: `tunesmith` from the path, `target/release/tunesmith`
/// under cargo.
fn program() -> String {
    let called = std::env::args().next().unwrap_or_default();
    let relative = std::env::current_dir().ok().and_then(|dir| Path::new(&called).strip_prefix(dir).ok().map(shown));
    match relative {
        Some(path) => path,
        None if called.is_empty() => "tunesmith".to_owned(),
        None => called,
    }
}

/// A path as the user would type it again.
fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    if text.contains(' ') { format!("\"{text}\"") } else { text }
}
