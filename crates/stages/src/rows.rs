//! From the recipe's `dataset` to rows that train and rows that are held out, with everything that was left out counted and said.

use std::sync::Arc;

use dataset::import::Loaded;
use dataset::split::{Duplicates, Split};
use dataset::{BadRow, RenderedRows, Renderer, Sample, SampleKind, Shape, TaskSpec};
use model::ModelConfig;
use model::load::BaseModel;
use recipe::Recipe;
use sources::{Resolved, SourceSpec};
use text::Tokenizer;

use crate::environment::Environment;
use crate::error::Result;
use crate::fetch::{self, Used};
use crate::human::plural;
use crate::manifest::{Manifest, Rows};
use crate::open::load_tokenizer;
use crate::progress::Progress;

/// How many bad rows are shown by name; all are counted.
const SHOWN_BAD_ROWS: usize = 5;

/// The samples of a run.
pub(crate) struct Data {
    pub used: Used,
    pub eval_used: Option<Used>,
    pub train: Vec<Sample>,
    pub heldout: Vec<Sample>,
    pub facts: Facts,
}

/// What happened to the rows on the way.
pub(crate) struct Facts {
    pub read: usize,
    pub filtered: usize,
    pub unused: usize,
    pub bad: Vec<BadRow>,
    pub shape: Shape,
    pub duplicates: Duplicates,
}

/// Fetches, reads, filters, chooses and splits. With `before`, exactly the sources of that run are accepted.
fn load(environment: &Environment, recipe: &Recipe, before: Option<&Manifest>, progress: &mut dyn Progress) -> Result<Data> {
    let (entry, resolved, used) = fetch::dataset(environment, recipe, &recipe.dataset, before.map(|m| &m.dataset), progress)?;
    progress.note(&format!("data   {} ({})", used.source, fetch::short(&used.sha256)));
    let loaded = dataset::import::load(&resolved.files, &entry, &recipe.task)?;
    say_loaded(&loaded, progress);
    let seed = recipe.training.data_seed.unwrap_or(recipe.training.seed);
    let Loaded { samples, bad, read, filtered, shape, .. } = loaded;
    let split: Split = dataset::split::split(samples, &recipe.dataset, seed)?;
    if split.duplicates.contradictory > 0 {
        progress.warn(&match split.duplicates.contradictory {
            1 => "one text is there with different answers".to_owned(),
            n => format!("{n} texts are there with different answers"),
        });
    }
    let facts = Facts { read, filtered, unused: split.unused, bad, shape, duplicates: split.duplicates };
    let (mut heldout, mut eval_used) = (split.heldout, None);
    if let Some(spec) = &recipe.eval_dataset {
        let before = before.and_then(|m| m.eval_dataset.as_ref());
        let (entry, resolved, used) = fetch::dataset(environment, recipe, spec, before, progress)?;
        let loaded = dataset::import::load(&resolved.files, &entry, &recipe.task)?;
        progress.note(&format!("eval   {} ({})", used.source, fetch::short(&used.sha256)));
        say_loaded(&loaded, progress);
        let chosen = dataset::split::split(loaded.samples, spec, seed)?;
        heldout.extend(chosen.train);
        heldout.extend(chosen.heldout);
        eval_used = Some(used);
    }
    if let Some(most) = recipe.evaluation.max_samples {
        heldout.truncate(most);
    }
    Ok(Data { used, eval_used, train: split.train, heldout, facts })
}

/// Says which rows cannot be used.
pub(crate) fn say_loaded(loaded: &Loaded, progress: &mut dyn Progress) {
    if loaded.bad.is_empty() {
        return;
    }
    let percent = 100.0 * loaded.bad.len() as f64 / loaded.read.max(1) as f64;
    progress.warn(&format!("{} of {} cannot be used ({percent:.1}%):", loaded.bad.len(), plural(loaded.read, "row")));
    for row in loaded.bad.iter().take(SHOWN_BAD_ROWS) {
        progress.warn(&format!("  {row}"));
    }
    if loaded.bad.len() > SHOWN_BAD_ROWS {
        progress.warn(&format!("  … and {} more", loaded.bad.len() - SHOWN_BAD_ROWS));
    }
}

/// The samples as token ids.
pub(crate) struct Tokens {
    pub renderer: Renderer,
    pub train: RenderedRows,
    /// Empty for a classification, which scores labels instead.
    pub heldout: RenderedRows,
}

/// The renderer that training, evaluation and serving share.
fn renderer(recipe: &Recipe, tokenizer: Arc<Tokenizer>, config: &ModelConfig) -> Result<Renderer> {
    let template = tokenizer.chat_template()?;
    let cutoff_len = recipe.cutoff_len.min(config.max_positions);
    Ok(Renderer::new(tokenizer, template, recipe.task.clone(), cutoff_len, recipe.truncation)?)
}

/// `1 training row was`, `7 training rows were`.
fn were(n: usize, what: &str) -> String {
    format!("{n} {what} {}", if n == 1 { "row was" } else { "rows were" })
}

/// Renders all rows; what is cut or left out is said.
fn render(recipe: &Recipe, renderer: Renderer, longest: usize, data: &Data, progress: &mut dyn Progress) -> Result<Tokens> {
    let train = renderer.render_all(&data.train)?;
    let scored = matches!(recipe.task, TaskSpec::Classify(_));
    let heldout = if scored || data.heldout.is_empty() { RenderedRows::default() } else { renderer.render_all(&data.heldout)? };
    let limit = if recipe.cutoff_len <= longest { "cutoff_len" } else { "the model's context; cutoff_len is more" };
    for (rows, what) in [(&train, "training"), (&heldout, "held-out")] {
        if !rows.truncated.is_empty() {
            progress.warn(&format!("{} cut to {} tokens ({limit})", were(rows.truncated.len(), what), recipe.cutoff_len.min(longest)));
        }
        for row in rows.dropped.iter().take(SHOWN_BAD_ROWS) {
            progress.warn(&format!("{}: left out: {}", row.origin, row.reason));
        }
        if rows.dropped.len() > SHOWN_BAD_ROWS {
            progress.warn(&format!("… and {} left out", were(rows.dropped.len() - SHOWN_BAD_ROWS, &format!("more {what}"))));
        }
    }
    if let Some(template) = renderer.template_source() {
        unseen_tools(template, data.train.iter().chain(&data.heldout)).iter().for_each(|text| progress.warn(text));
    }
    let tokens: usize = train.rows.iter().map(|r| r.input_ids.len()).sum();
    let trained: usize = train.rows.iter().map(|r| r.trained_tokens()).sum();
    progress.note(&format!(
        "rows   {} to train on ({} tokens, {} of them trained), {} held out",
        train.rows.len(),
        crate::human::count(tokens as u64),
        crate::human::count(trained as u64),
        data.heldout.len()
    ));
    Ok(Tokens { renderer, train, heldout })
}

/// What rows hold that the chat template has no words for: the model never sees it, which must not go unsaid.
fn unseen_tools<'a>(template: &str, samples: impl Iterator<Item = &'a Sample>) -> Vec<String> {
    let (mut described, mut called) = (0, 0);
    for sample in samples {
        if let SampleKind::Messages { turns, tools } = &sample.kind {
            described += usize::from(tools.is_some());
            called += usize::from(turns.iter().any(|turn| turn.message.tool_calls.is_some()));
        }
    }
    [(described, "tools", "describe tools"), (called, "tool_calls", "hold tool calls")]
        .into_iter()
        .filter(|(rows, word, _)| *rows > 0 && !template.contains(word))
        .map(|(rows, word, what)| {
            let rows = plural(rows, "row");
            format!(
                "{rows} {what}, but the chat template does not know `{word}`: the model will not see them; choose another template or model"
            )
        })
        .collect()
}

/// Everything that comes before the weights: model files, rows, tokens.
pub(crate) struct Ready {
    pub files: Resolved,
    pub model_used: Used,
    pub base: BaseModel,
    pub data: Data,
    pub tokens: Tokens,
}

/// Fetches model and rows, opens the model and renders the rows. With `before`, exactly the sources of that run are accepted.
pub(crate) fn ready(environment: &Environment, recipe: &Recipe, before: Option<&Manifest>, progress: &mut dyn Progress) -> Result<Ready> {
    let sources: Vec<SourceSpec> = recipe.model.iter().map(|m| recipe.locate(m)).collect();
    let (files, model_used) = fetch::model(environment, &sources, before.map(|m| &m.model), progress)?;
    progress.note(&format!("model  {} ({})", model_used.source, fetch::short(&model_used.sha256)));
    let data = load(environment, recipe, before, progress)?;
    let base = BaseModel::open(&files.root)?;
    let tokenizer = load_tokenizer(&files.root)?;
    base.notes.iter().chain(tokenizer.notes()).for_each(|note| progress.warn(note));
    let renderer = renderer(recipe, Arc::new(tokenizer), &base.config)?;
    let tokens = render(recipe, renderer, base.config.max_positions, &data, progress)?;
    Ok(Ready { files, model_used, base, data, tokens })
}

/// The counts that a run's manifest keeps.
pub(crate) fn counts(data: &Data, tokens: &Tokens) -> Rows {
    Rows {
        train: tokens.train.rows.len(),
        heldout: data.heldout.len(),
        truncated: tokens.train.truncated.len(),
        dropped: data.facts.bad.len() + tokens.train.dropped.len(),
    }
}
