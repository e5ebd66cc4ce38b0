//! Hidden states of a local language model as features: `--features lm`, `--features tfidf+lm`.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use dataset::share::Forest;
use dataset::{Renderer, TaskSpec};
use engine::{Segments, Tape};
use evaluate::score::BATCH_TOKENS;
use vectorize::{ModelSettings, StatePooling, TextModel, VectorizeError};

use super::remember::{Key, Remembered, key};
use super::{reading, sample};
use crate::environment::{Environment, native_compute};
use crate::error::{Result, StageError};
use crate::human::plural;
use crate::open::{Opened, open};
use crate::progress::{Progress, Silent, Unit};

/// Version of the arithmetic: vectors of another one are computed anew.
const VERSION: u32 = 1;
/// Longest text in tokens, if nobody says otherwise.
const MAX_TOKENS: usize = 512;
/// Texts between two writes to the cache.
const KEEP_EVERY: usize = 2048;

/// Which model, and what of it; unset ones follow from the model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelChoice {
    /// A run, an adapter's directory, or any model source.
    pub model: Option<String>,
    /// What it reads, with the text's place in braces. Unset: a classification run's own prompt, else the text alone.
    pub prompt: Option<String>,
    /// Unset: the last token's state where there is a prompt, the mean of all tokens where the text is alone.
    pub pooling: Option<StatePooling>,
    /// After how many layers.
    pub layer: Option<usize>,
    /// Longest prompt in tokens.
    pub max_tokens: Option<usize>,
}

/// A language model that gives texts their vectors.
pub(crate) struct StateModel {
    settings: ModelSettings,
    renderer: Renderer,
    opened: Mutex<Opened>,
    remembered: Remembered,
    memory: Mutex<HashMap<Key, Arc<[f32]>>>,
}

impl std::fmt::Debug for StateModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateModel").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// A path of a directory or file as it is seen from everywhere; another source as it is.
fn everywhere(target: &str) -> String {
    let path = Path::new(target);
    let absolute = if path.exists() { std::path::absolute(path).ok() } else { None };
    absolute.map_or_else(|| target.to_owned(), |p| p.display().to_string())
}

impl StateModel {
    /// Opens what is chosen.
    ///
    /// # Errors
    /// No model chosen, one that cannot be opened, settings that it cannot obey.
    pub fn open(environment: &Environment, choice: &ModelChoice, progress: &mut dyn Progress) -> Result<Arc<Self>> {
        let target = choice.model.as_deref().ok_or_else(|| {
            StageError::input_help(
                "--features lm needs a model whose hidden states are the features",
                "name it with --model: a run's directory, hf:…, pypi:…, a directory or a .gguf file",
            )
        })?;
        let opened = open(environment, target, None, Some(native_compute()), progress)?;
        let layers = opened.decoder.layers.len();
        let own = opened.recipe.as_ref().and_then(|recipe| match &recipe.task {
            TaskSpec::Classify(task) => Some(task.prompt.clone()),
            _ => None,
        });
        let prompt = choice.prompt.clone().or(own).unwrap_or_else(|| "{text}".to_owned());
        let alone = prompt.trim().starts_with('{') && prompt.trim().ends_with('}');
        let pooling = choice.pooling.unwrap_or(if alone { StatePooling::Mean } else { StatePooling::Last });
        let layer = choice.layer.unwrap_or_else(|| usual_layer(layers, pooling));
        if layer == 0 || layer > layers {
            return Err(StageError::input(format!("--lm-layer {layer}: the model has layers 1 to {layers}")));
        }
        let most = opened.decoder.config.max_positions;
        let settings = ModelSettings {
            model: everywhere(target),
            content: opened.content.clone(),
            prompt,
            pooling,
            layer,
            max_tokens: choice.max_tokens.unwrap_or(MAX_TOKENS).min(most),
            dim: opened.decoder.config.hidden_size,
        };
        Self::with(environment, settings, opened)
    }

    /// Opens the model that saved features were made with.
    ///
    /// # Errors
    /// A model that is not there any more, or another one.
    pub fn again(environment: &Environment, settings: &ModelSettings, progress: &mut dyn Progress) -> Result<Arc<Self>> {
        let opened = open(environment, &settings.model, None, Some(native_compute()), progress)?;
        if opened.content != settings.content {
            return Err(StageError::input_help(
                format!("{}: is not the model any more that the features were made with", settings.model),
                "bring it back as it was, or train the classifier again",
            ));
        }
        Self::with(environment, settings.clone(), opened)
    }

    fn with(environment: &Environment, settings: ModelSettings, opened: Opened) -> Result<Arc<Self>> {
        let renderer = reading(&opened.tokenizer, &settings.prompt, settings.max_tokens)?;
        let ModelSettings { content, prompt, pooling, layer, max_tokens, dim, .. } = &settings;
        let identity = format!("{VERSION}|{content}|{:?}|{pooling:?}|{layer}|{max_tokens}|{prompt}", opened.decoder.compute);
        let remembered = Remembered::new(environment, &identity, *dim);
        Ok(Arc::new(Self { settings, renderer, opened: Mutex::new(opened), remembered, memory: Mutex::default() }))
    }

    /// Computes what is not known of these texts, with a bar: what is asked of them afterwards is at hand.
    ///
    /// # Errors
    /// A model that fails; [`StageError::Stopped`]. What was computed until then is kept.
    pub fn prepare<T: AsRef<str>>(&self, texts: &[T], progress: &mut dyn Progress) -> Result<()> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let mut asked: HashSet<Key> = HashSet::new();
        let new: Vec<(Key, &str)> = texts.iter().map(|t| (key(t.as_ref()), t.as_ref())).collect();
        let new: Vec<(Key, &str)> = new.into_iter().filter(|(k, _)| !memory.contains_key(k) && asked.insert(*k)).collect();
        if new.is_empty() {
            return Ok(());
        }
        memory.extend(self.remembered.known(&asked).into_iter().map(|(k, v)| (k, v.into())));
        let mut rows: Vec<(Key, Vec<u32>)> = Vec::new();
        let mut cut = 0;
        for (i, (k, text)) in new.iter().enumerate().filter(|(_, (k, _))| !memory.contains_key(k)) {
            let prompt = self.renderer.prompt(&sample(&self.renderer, text, i + 1)?).map_err(|e| StageError::input(e.reason))?;
            cut += usize::from(prompt.cut > 0);
            rows.push((*k, prompt.ids));
        }
        if rows.is_empty() {
            return Ok(());
        }
        if cut > 0 {
            progress.warn(&format!("{} cut to {} tokens (--lm-max-tokens)", plural(cut, "text"), self.settings.max_tokens));
        }
        // Texts of like length together; equal ones in their order.
        rows.sort_by_key(|(_, ids)| ids.len());
        progress.begin("hidden states", Some(rows.len() as u64), 0, Unit::Rows);
        let done = self.compute(&rows, &mut memory, progress);
        progress.end();
        done
    }

    fn compute(&self, rows: &[(Key, Vec<u32>)], memory: &mut HashMap<Key, Arc<[f32]>>, progress: &mut dyn Progress) -> Result<()> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut at, mut kept) = (0, 0);
        let mut stopped = false;
        while at < rows.len() && !stopped {
            let mut tokens = 0;
            let fits = |row: &&(Key, Vec<u32>)| {
                let first = tokens == 0;
                tokens += row.1.len();
                first || tokens <= BATCH_TOKENS
            };
            let n = rows[at..].iter().take_while(fits).count();
            let prompts: Vec<&[u32]> = rows[at..at + n].iter().map(|(_, ids)| ids.as_slice()).collect();
            let vectors = self.states(&opened, &prompts)?;
            for ((k, _), vector) in rows[at..at + n].iter().zip(vectors.chunks_exact(self.settings.dim)) {
                memory.insert(*k, vector.into());
            }
            at += n;
            progress.advance(n as u64);
            stopped = progress.cancelled();
            if at - kept >= KEEP_EVERY || at == rows.len() || stopped {
                let new = rows[kept..at].iter().filter_map(|(k, _)| memory.get(k).map(|v| (*k, &v[..])));
                if let Err(error) = self.remembered.add(new) {
                    progress.warn(&format!("the hidden states are not kept for a next time: {error}"));
                }
                kept = at;
            }
        }
        if stopped && at < rows.len() {
            return Err(StageError::Stopped { help: Some("what was computed is kept; the same command goes on".into()) });
        }
        Ok(())
    }

    /// Vectors of one packed batch, `prompts × dim`.
    fn states(&self, opened: &Opened, prompts: &[&[u32]]) -> Result<Vec<f32>> {
        let (decoder, dim) = (&opened.decoder, self.settings.dim);
        let forest = Forest::new(prompts, true);
        // As long as any text may be: some ways of stretching positions look at the longest of a batch.
        let segments = Segments::tree(&forest.parts()).map_err(model::ModelError::from)?.reaching(self.settings.max_tokens);
        let ids = forest.ids(prompts);
        let mut tape = Tape::inference(&opened.params, &opened.arena);
        let states = if self.settings.layer == decoder.layers.len() {
            decoder.forward(&mut tape, &ids, &segments, None)
        } else {
            decoder.forward_to(&mut tape, &ids, &segments, None, self.settings.layer)
        };
        let states = tape.read(&states.map_err(model::ModelError::from)?);
        let of = |row: usize, position: usize| forest.place(row, position).map(|at| &states[at * dim..(at + 1) * dim]);
        let mut out = Vec::with_capacity(prompts.len() * dim);
        for (row, prompt) in prompts.iter().enumerate() {
            let vector: Vec<f64> = match self.settings.pooling {
                StatePooling::Last => match prompt.len().checked_sub(1).and_then(|last| of(row, last)) {
                    Some(state) => state.iter().map(|v| f64::from(*v)).collect(),
                    None => vec![0.0; dim],
                },
                StatePooling::Mean => {
                    let mut sum = vec![0.0; dim];
                    for state in (0..prompt.len()).filter_map(|position| of(row, position)) {
                        let norm = state.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
                        sum.iter_mut().zip(state).for_each(|(s, v)| *s += f64::from(*v) / norm);
                    }
                    sum.iter_mut().for_each(|s| *s /= prompt.len().max(1) as f64);
                    sum
                }
            };
            if vector.iter().any(|v| !v.is_finite()) {
                return Err(StageError::Work { message: format!("{}: gives numbers that are none", self.settings.model), help: None });
            }
            out.extend(vector.into_iter().map(|v| v as f32));
        }
        Ok(out)
    }
}

/// The layer whose states tell most of a text, if nobody says otherwise: the middle for the mean, three quarters of the way for the last
/// token of a prompt, which by then has gathered the answer and not yet chosen its words (tried on reviews with SmolLM2-135M).
fn usual_layer(layers: usize, pooling: StatePooling) -> usize {
    match pooling {
        StatePooling::Mean => layers.div_ceil(2),
        StatePooling::Last => (layers * 3).div_ceil(4),
    }
}

impl TextModel for StateModel {
    fn settings(&self) -> &ModelSettings {
        &self.settings
    }

    fn vectors(&self, texts: &[&str]) -> vectorize::Result<Vec<f32>> {
        self.prepare(texts, &mut Silent).map_err(|e| VectorizeError::Model { reason: e.to_string() })?;
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = Vec::with_capacity(texts.len() * self.settings.dim);
        for text in texts {
            // Prepared just now.
            let vector = memory.get(&key(text)).ok_or_else(|| VectorizeError::Model { reason: "a text has no hidden states".into() })?;
            out.extend_from_slice(vector);
        }
        Ok(out)
    }
}
