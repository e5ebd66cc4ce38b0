//! `tunesmith predict`: labels or continuations for texts and files, a row at a time, in order.

use std::ops::ControlFlow;

use dataset::import::RowError;
use dataset::shape::Answers;
use dataset::{Renderer, Sample, SourceEntry, TaskSpec};
use evaluate::Prediction;
use evaluate::classify::classify;
use generate::{Generation, Prompt};
use serde::Serialize;
use sources::{SourceSpec, Want};

use crate::environment::Environment;
use crate::error::{Result, StageError};
use crate::eval::other_rows;
use crate::open::{Opened, SamplingChoice};
use crate::progress::{Downloads, Progress};

/// What to predict.
pub enum Input {
    /// Texts, one a row.
    Texts(Vec<String>),
    /// A file or any data source; its rows may lack answers.
    File(String),
}

/// How.
pub struct Job {
    /// The rows.
    pub input: Input,
    /// Add the exact text scored and the label's text.
    pub show_prompt: bool,
    /// Rows computed at once.
    pub batch_size: usize,
    /// For generation.
    pub sampling: SamplingChoice,
}

/// One row's result.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Row {
    /// A label.
    Label(Prediction),
    /// A text.
    Text(Generation),
}

/// Predicts every row and hands each to `sink` in the order of the input, as soon as its batch is done.
pub fn run(
    environment: &Environment,
    opened: &mut Opened,
    job: &Job,
    sink: &mut dyn FnMut(&Row),
    progress: &mut dyn Progress,
) -> Result<()> {
    let renderer = opened.renderer()?;
    let batch_size = job.batch_size.max(1);
    match &job.input {
        Input::Texts(texts) => {
            let one = |(i, text): (usize, &String)| dataset::shape::from_text(renderer.task(), opened.shape, text, i + 1);
            let samples = texts.iter().enumerate().map(one).collect::<std::result::Result<Vec<_>, _>>()?;
            for (i, batch) in samples.chunks(batch_size).enumerate() {
                answer(opened, &renderer, job, batch, i * batch_size, sink, progress)?;
            }
        }
        Input::File(file) => stream(environment, opened, &renderer, job, file, sink, progress)?,
    }
    Ok(())
}

/// Rows of a file, a batch at a time: a file of any length needs the memory of one batch.
fn stream(
    environment: &Environment,
    opened: &Opened,
    renderer: &Renderer,
    job: &Job,
    file: &str,
    sink: &mut dyn FnMut(&Row),
    progress: &mut dyn Progress,
) -> Result<()> {
    let (entry, files) = match &opened.recipe {
        Some(recipe) => {
            let (entry, files, _) = other_rows(environment, recipe, file, progress)?;
            (entry, files)
        }
        None => {
            let spec: SourceSpec = file.parse()?;
            let want = Want::DatasetSplit { split: None };
            (SourceEntry::new(file), environment.sources.resolve(&spec, want, &mut Downloads(progress))?.files)
        }
    };
    let (mut batch, mut done, mut bad) = (Vec::new(), 0, 0usize);
    for path in &files {
        for row in dataset::import::stream(path, &entry, renderer.task(), Answers::Optional)? {
            match row {
                Ok(sample) => batch.push(sample),
                Err(RowError::Bad(row)) => {
                    bad += 1;
                    progress.warn(&row.to_string());
                }
                Err(RowError::File(e)) => return Err(e.into()),
            }
            if batch.len() == job.batch_size.max(1) {
                answer(opened, renderer, job, &batch, done, sink, progress)?;
                done += batch.len();
                batch.clear();
            }
        }
    }
    answer(opened, renderer, job, &batch, done, sink, progress)?;
    if bad > 0 {
        progress.warn(&match bad {
            1 => "1 row could not be read and has no line in the output".to_owned(),
            _ => format!("{bad} rows could not be read and have no line in the output"),
        });
    }
    if done + batch.len() == 0 {
        return Err(StageError::input(format!("{file}: there is no row to predict")));
    }
    Ok(())
}

fn answer(
    opened: &Opened,
    renderer: &Renderer,
    job: &Job,
    samples: &[Sample],
    first: usize,
    sink: &mut dyn FnMut(&Row),
    progress: &mut dyn Progress,
) -> Result<()> {
    if samples.is_empty() {
        return Ok(());
    }
    if progress.cancelled() {
        return Err(StageError::Stopped { help: None });
    }
    match renderer.task() {
        TaskSpec::Classify(_) => {
            let mut go_on = |_: usize, _: usize| if progress.cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
            let c = classify(&opened.decoder, &opened.params, &opened.arena, renderer, samples, &mut go_on)?;
            c.dropped.iter().for_each(|d| progress.warn(&format!("{}: has no prediction: {}", d.origin, d.reason)));
            let cut = c.truncated();
            if cut > 0 {
                progress.warn(&if cut == 1 {
                    "1 row was cut to fit the model".to_owned()
                } else {
                    format!("{cut} rows were cut to fit the model")
                });
            }
            c.predictions(samples, job.show_prompt).for_each(|p| sink(&Row::Label(p)));
        }
        _ => {
            let sampling = opened.sampling(&job.sampling)?;
            let mut prompts = Vec::with_capacity(samples.len());
            for (i, sample) in samples.iter().enumerate() {
                match renderer.prompt(sample) {
                    Ok(prompt) => prompts.push(Prompt { text: prompt.text, ids: prompt.ids, stream: (first + i) as u64 }),
                    Err(why) => progress.warn(&format!("{}: has no prediction: {}", sample.origin, why.reason)),
                }
            }
            let tokenizer = renderer.tokenizer();
            let mut go_on = |_: generate::Event<'_>| if progress.cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
            let texts = generate::generate(&opened.decoder, &opened.params, &opened.arena, tokenizer, &prompts, &sampling, &mut go_on)?;
            texts.into_iter().for_each(|t| sink(&Row::Text(t)));
        }
    }
    Ok(())
}
