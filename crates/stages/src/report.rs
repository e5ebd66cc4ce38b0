//! Gathers what the report page shows. The page itself is `evaluate::report`.

use std::collections::BTreeMap;

use dataset::{Renderer, Sample, TaskSpec};
use engine::{Arena, ParamStore};
use evaluate::report::{
    Command, CurvePoint, DataSummary, Dropped, Fact, LabelCount, ReportData, SampleRow, Setting, SettingGroup, TrainingSummary,
};
use generate::{Prompt, SamplingParams};
use model::Decoder;
use recipe::Recipe;
use train::{FinetuningArguments, FinetuningType, Outcome, TrainReport, TrainingArguments};

use crate::environment::Memory;
use crate::error::Result;
use crate::human;
use crate::manifest::Manifest;
use crate::measure::Measurement;
use crate::progress::Progress;
use crate::rows::{Data, Tokens};
use crate::train::Summary;

/// Answers shown for a task that generates, and their length.
const ANSWERS: usize = 6;
const ANSWER_TOKENS: usize = 64;

/// Everything that a finished run knows.
pub(crate) struct Story<'a> {
    pub recipe: &'a Recipe,
    pub manifest: &'a Manifest,
    pub data: &'a Data,
    pub tokens: &'a Tokens,
    pub first: Option<&'a Measurement>,
    pub after: Option<&'a Measurement>,
    pub trained: &'a TrainReport,
    pub summary: &'a Summary,
    pub trainable: u64,
    pub total: u64,
    pub answers: Vec<SampleRow>,
}

/// The page.
pub(crate) fn page(story: &Story<'_>) -> Result<String> {
    let Story { recipe, manifest, trained, summary, .. } = story;
    let both = story.first.zip(story.after);
    let classification = matches!(recipe.task, TaskSpec::Classify(_));
    let report = ReportData {
        title: None,
        model: short_name(&manifest.model.source),
        dataset: short_name(&manifest.dataset.source),
        method: method(&recipe.finetuning),
        task: task(&recipe.task),
        created: None,
        version: Some(manifest.tunesmith.clone()),
        before: story.first.map(|m| m.report.clone()),
        after: story.after.map(|m| m.report.clone()),
        accuracy_change: both.and_then(|(first, after)| after.accuracy_change(first)),
        loss_change: both.and_then(|(first, after)| after.loss_change(first)),
        training: Some(TrainingSummary {
            steps: trained.steps,
            epochs: trained.epochs,
            train_loss: Some(trained.train_loss),
            seconds: trained.train_seconds,
            tokens_per_second: trained.tokens_per_second,
            trained_tokens: trained.trained_tokens,
            peak_rss_mb: Some(summary.peak_rss_mb as f64),
            trainable_parameters: story.trainable,
            total_parameters: story.total,
            notes: match trained.outcome {
                Outcome::StoppedEarly => vec![format!("stopped early at step {}", trained.steps)],
                _ => Vec::new(),
            },
        }),
        curve: curve(&summary.output_dir)?,
        samples: if classification { verdicts(story) } else { story.answers.clone() },
        data: data_summary(story),
        settings: settings(recipe),
        provenance: provenance(manifest),
        reproduce: vec![Command {
            what: "repeat this run (same seed, machine and recipe: same bytes)".into(),
            command: format!("tunesmith train {} --output-dir {}-again", shown(&recipe.path), shown(&summary.output_dir)),
        }],
        next: next(&summary.output_dir),
    };
    Ok(evaluate::report::render(&report))
}

/// What the tuned model answers to a few held-out prompts; nothing for a classification.
pub(crate) fn answers(
    recipe: &Recipe,
    decoder: &Decoder,
    params: &ParamStore,
    arena: &Arena,
    renderer: &Renderer,
    heldout: &[Sample],
    progress: &mut dyn Progress,
) -> Result<Vec<SampleRow>> {
    if !matches!(recipe.task, TaskSpec::Sft(_)) {
        return Ok(Vec::new());
    }
    let chosen: Vec<&Sample> = heldout.iter().take(ANSWERS.min(recipe.evaluation.samples_in_report)).collect();
    let mut prompts = Vec::new();
    let mut rows = Vec::new();
    for sample in chosen {
        // A row that gives no prompt (too long, dropped) has nothing to show.
        if let Ok(prompt) = renderer.prompt(sample) {
            prompts.push(Prompt { text: prompt.text.clone(), ids: prompt.ids, stream: prompts.len() as u64 });
            rows.push(SampleRow {
                text: sample.question(),
                origin: Some(sample.origin.to_string()),
                gold: sample.answer().unwrap_or_default(),
                ..SampleRow::default()
            });
        }
    }
    if prompts.is_empty() {
        return Ok(rows);
    }
    progress.note("writing a few answers for the report");
    let sampling = SamplingParams { max_new_tokens: ANSWER_TOKENS, ..SamplingParams::default() };
    let tokenizer = renderer.tokenizer();
    let mut go_on = |_: generate::Event<'_>| std::ops::ControlFlow::Continue(());
    let texts = generate::generate(decoder, params, arena, tokenizer, &prompts, &sampling, &mut go_on)?;
    for (row, generation) in rows.iter_mut().zip(texts) {
        row.predicted = generation.text;
    }
    Ok(rows)
}

/// Wrong rows first: they teach the reader most; then right ones.
fn verdicts(story: &Story<'_>) -> Vec<SampleRow> {
    let Some(after) = story.after else { return Vec::new() };
    let before: BTreeMap<usize, &str> =
        story.first.map(|m| m.rows.iter().map(|r| (r.sample, r.label.as_str())).collect()).unwrap_or_default();
    let samples = &story.data.heldout;
    let mut rows: Vec<SampleRow> = after
        .rows
        .iter()
        .map(|row| SampleRow {
            text: samples[row.sample].text(),
            origin: Some(samples[row.sample].origin.to_string()),
            gold: samples[row.sample].label().unwrap_or_default().to_owned(),
            predicted: row.label.clone(),
            before: before.get(&row.sample).map(|l| (*l).to_owned()),
            normalized: Some(row.normalized.clone()),
        })
        .collect();
    let wanted = story.recipe.evaluation.samples_in_report;
    let (wrong, right): (Vec<SampleRow>, Vec<SampleRow>) = rows.drain(..).partition(|r| r.gold != r.predicted);
    let wrongs = wrong.len().min(wanted.div_ceil(2));
    wrong.into_iter().take(wrongs).chain(right).take(wanted).collect()
}

fn curve(dir: &std::path::Path) -> Result<Vec<CurvePoint>> {
    let history = train::load::metrics::history(dir)?;
    let mut points: Vec<CurvePoint> = history
        .training
        .iter()
        .map(|log| CurvePoint {
            step: log.step,
            epoch: Some(log.epoch),
            loss: Some(log.loss),
            learning_rate: Some(log.learning_rate),
            grad_norm: Some(log.grad_norm),
            ..CurvePoint::default()
        })
        .collect();
    for (step, epoch, numbers) in history.evaluations {
        let (eval_loss, eval_accuracy) = (numbers.get("loss").copied(), numbers.get("accuracy").copied());
        points.push(CurvePoint { step, epoch: Some(epoch), eval_loss, eval_accuracy, ..CurvePoint::default() });
    }
    points.sort_by_key(|p| p.step);
    Ok(points)
}

fn data_summary(story: &Story<'_>) -> DataSummary {
    let (data, tokens) = (story.data, story.tokens);
    // By kind: reasons that differ in their numbers are shown as one, by the first.
    let mut reasons: BTreeMap<String, (String, usize, String)> = BTreeMap::new();
    let bad = data.facts.bad.iter().map(|b| (b.reason.clone(), format!("{}:{}", b.file, b.line)));
    let dropped = tokens.train.dropped.iter().map(|d| (d.reason.clone(), d.origin.to_string()));
    for (reason, place) in bad.chain(dropped) {
        reasons.entry(dataset::kind_of(&reason)).or_insert((reason, 0, place)).1 += 1;
    }
    let mut labels: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    data.train.iter().filter_map(Sample::label).for_each(|l| labels.entry(l).or_default().0 += 1);
    data.heldout.iter().filter_map(Sample::label).for_each(|l| labels.entry(l).or_default().1 += 1);
    let mut facts = vec![Fact::code("source", &data.used.source), Fact::new("shape", data.facts.shape.to_string())];
    let mut count = |n: usize, name: &str| {
        if n > 0 {
            facts.push(Fact::new(name, human::count(n as u64)));
        }
    };
    count(data.facts.filtered, "left out by the filter");
    count(data.facts.unused, "beyond max_samples");
    count(data.facts.duplicates.texts, "texts there more than once");
    count(data.facts.duplicates.contradictory, "texts with different answers");
    let mut summary = DataSummary {
        rows_read: Some(data.facts.read),
        train_rows: tokens.train.rows.len(),
        heldout_rows: data.heldout.len(),
        dropped: reasons.into_values().map(|(reason, count, place)| Dropped { reason, count, example: Some(place) }).collect(),
        truncated: tokens.train.truncated.len(),
        cutoff_len: Some(story.recipe.cutoff_len),
        tokens: tokens.train.rows.iter().map(|r| r.input_ids.len() as u64).sum(),
        trained_tokens: tokens.train.rows.iter().map(|r| r.trained_tokens() as u64).sum(),
        labels: labels.into_iter().map(|(l, (train, heldout))| LabelCount { label: l.to_owned(), train, heldout }).collect(),
        facts,
        ..DataSummary::default()
    };
    let lengths: Vec<usize> = tokens.train.rows.iter().map(|r| r.input_ids.len()).collect();
    summary.set_lengths(&lengths);
    summary
}

/// Every setting, those that differ from the defaults marked.
fn settings(recipe: &Recipe) -> Vec<SettingGroup> {
    let serde_json::Value::Object(all) = recipe.to_json() else { return Vec::new() };
    let defaults = |value: serde_json::Result<serde_json::Value>| value.ok().and_then(|v| v.as_object().cloned()).unwrap_or_default();
    let finetuning = defaults(serde_json::to_value(FinetuningArguments::default()));
    let training = defaults(serde_json::to_value(TrainingArguments::default()));
    let mut groups = [("Model, data and task", Vec::new()), ("What trains", Vec::new()), ("Training", Vec::new())];
    for (key, value) in &all {
        let (group, default) = match (finetuning.get(key), training.get(key)) {
            (Some(default), _) => (1, Some(default)),
            (_, Some(default)) => (2, Some(default)),
            _ => (0, None),
        };
        let shown = match value {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        groups[group].1.push(Setting { key: key.clone(), value: shown, given: default != Some(value) });
    }
    groups.into_iter().map(|(title, rows)| SettingGroup { title: title.to_owned(), rows }).collect()
}

fn provenance(manifest: &Manifest) -> Vec<Fact> {
    let mut facts = vec![
        Fact::code("base model", &manifest.model.source),
        Fact::new("its origin", &manifest.model.origin),
        Fact::code("its SHA-256", &manifest.model.sha256),
        Fact::code("data set", &manifest.dataset.source),
        Fact::new("its origin", &manifest.dataset.origin),
        Fact::code("its SHA-256", &manifest.dataset.sha256),
    ];
    if let Some(used) = &manifest.eval_dataset {
        facts.push(Fact::code("evaluation data", &used.source));
        facts.push(Fact::code("its SHA-256", &used.sha256));
    }
    facts.push(Fact::code("tokenizer and template", &manifest.tokenizer_sha256));
    facts.push(Fact::new("Tunesmith", &manifest.tunesmith));
    facts.push(Fact::new("kernels", kernels::cpu::isa().name()));
    if let Some(total) = Memory::now().total {
        facts.push(Fact::new("machine's memory", human::bytes(total)));
    }
    facts
}

fn next(dir: &std::path::Path) -> Vec<Command> {
    let dir = shown(dir);
    let command = |what: &str, command: String| Command { what: what.to_owned(), command };
    vec![
        command("use it", format!("tunesmith predict {dir} \"your text\"")),
        command("measure it on other rows", format!("tunesmith eval {dir} --data test.csv")),
        command("make one model of it", format!("tunesmith merge {dir} --output {dir}-merged")),
    ]
}

fn shown(path: &std::path::Path) -> String {
    path.display().to_string()
}

/// The last part of a source's name, without a file's extension.
fn short_name(source: &str) -> String {
    let last = source.trim_end_matches('/').rsplit(['/', '\\']).next().unwrap_or(source);
    let known = [".gguf", ".csv", ".jsonl", ".json", ".parquet", ".tsv", ".txt"];
    known.iter().find_map(|e| last.strip_suffix(e)).unwrap_or(last).to_owned()
}

fn method(arguments: &FinetuningArguments) -> String {
    match arguments.finetuning_type {
        FinetuningType::Lora => {
            let targets = match &arguments.lora_target {
                train::finetuning::LoraTarget::AllLinear => "all linear layers".to_owned(),
                train::finetuning::LoraTarget::Names(names) => names.join(", "),
                train::finetuning::LoraTarget::Regex(pattern) => pattern.clone(),
            };
            format!("LoRA, rank {}, alpha {}, {targets}", arguments.lora_rank, arguments.alpha())
        }
        FinetuningType::Full => "full fine-tuning".to_owned(),
        FinetuningType::Freeze if !arguments.freeze_trainable_names.is_empty() => {
            format!("freeze, training {}", arguments.freeze_trainable_names.join(", "))
        }
        FinetuningType::Freeze if arguments.freeze_trainable_layers < 0 => {
            format!("freeze, training the first {} layers", -arguments.freeze_trainable_layers)
        }
        FinetuningType::Freeze => format!("freeze, training the last {} layers", arguments.freeze_trainable_layers),
    }
}

fn task(task: &TaskSpec) -> String {
    match task {
        TaskSpec::Classify(classify) => format!("classify: {}", classify.labels.names().collect::<Vec<_>>().join(", ")),
        TaskSpec::Sft(_) => "answer".to_owned(),
        TaskSpec::Text(_) => "continue text".to_owned(),
    }
}
