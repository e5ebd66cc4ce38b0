//! Any model of ours that says which label a text has: a run of `train`, a model with a recipe or a prompt, a classifier of
//! `vectorize classify`. What a language model says is remembered by its content, the question and the text.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::Path;

use dataset::{Renderer, TaskSpec};
use evaluate::classify::classify;
use recipe::Recipe;
use serde_json::Value;
use vectorize::{ByClass, Classifier};

use super::remember::{Key, Remembered, key};
use super::{asking, sample};
use crate::environment::{Environment, native_compute};
use crate::error::{Result, StageError};
use crate::human::plural;
use crate::manifest::Manifest;
use crate::open::{ADAPTER_CONFIG, Opened, open};
use crate::progress::{Progress, Unit};

/// Version of the arithmetic: scores of another one are computed anew.
const VERSION: u32 = 1;
/// Texts asked between two writes to the cache.
const KEEP_EVERY: usize = 1024;

/// Something that gives texts labels with probabilities.
pub(crate) struct Teacher {
    name: String,
    kind: Kind,
}

enum Kind {
    Classifier(Box<Classifier>),
    Model(Box<Asked>),
}

struct Asked {
    opened: Opened,
    renderer: Renderer,
    remembered: Remembered,
    /// Texts that it was trained on; `None` if nobody knows.
    seen: Option<HashSet<Key>>,
}

/// What makes two texts one: white space aside.
fn same(text: &str) -> Key {
    key(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

impl Teacher {
    /// Opens a classifier's directory, a run, or with a recipe that says the task any model.
    ///
    /// # Errors
    /// Nothing of that kind there; a task that is no classification of one text.
    pub fn open(environment: &Environment, target: &str, recipe: Option<&Recipe>, progress: &mut dyn Progress) -> Result<Self> {
        let dir = Path::new(target);
        if vectorize::load::is_classifier(dir) {
            let classifier = crate::vectorize::classify::open(environment, dir, progress)?;
            return Ok(Self { name: named(target), kind: Kind::Classifier(Box::new(classifier)) });
        }
        let opened = open(environment, target, recipe, None, progress)?;
        if !matches!(opened.recipe.as_ref().map(|r| &r.task), Some(TaskSpec::Classify(_))) {
            return Err(StageError::input_help(
                format!("{target}: does not say which labels it gives"),
                "a run of a classification does, a classifier of `vectorize classify`, or any model with --recipe FILE",
            ));
        }
        let renderer = opened.renderer()?;
        let seen = match Manifest::load(dir)? {
            Some(_) => Some(trained_on(dir)?),
            // An adapter that another tool made does not say what it learned from.
            None => (!dir.join(ADAPTER_CONFIG).is_file()).then(HashSet::new),
        };
        Ok(Self { name: named(target), kind: Kind::Model(Box::new(Asked::new(environment, opened, renderer, seen))) })
    }

    /// Any model, asked with a prompt; `labels` as a recipe lists them (a list of names, or names with their texts).
    ///
    /// # Errors
    /// A model that cannot be opened; a prompt or labels that cannot be used.
    pub fn prompted(environment: &Environment, model: &str, prompt: &str, labels: Value, progress: &mut dyn Progress) -> Result<Self> {
        let opened = open(environment, model, None, Some(native_compute()), progress)?;
        let most = opened.decoder.config.max_positions.min(2048);
        let renderer = asking(&opened.tokenizer, prompt, labels, most)?;
        Ok(Self { name: named(model), kind: Kind::Model(Box::new(Asked::new(environment, opened, renderer, Some(HashSet::new())))) })
    }

    /// What its evidence is signed with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it was trained on this very text. Of a classifier's directory that is not known.
    pub fn has_seen(&self, text: &str) -> bool {
        match &self.kind {
            Kind::Classifier(_) => false,
            Kind::Model(asked) => asked.seen.as_ref().is_some_and(|seen| seen.contains(&same(text))),
        }
    }

    /// Whether it is known which rows it was trained on: those of its run, or none.
    pub fn tells_its_rows(&self) -> bool {
        matches!(&self.kind, Kind::Model(asked) if asked.seen.is_some())
    }

    /// Whether nobody taught it the task: a bare model that is asked.
    pub fn is_untaught(&self) -> bool {
        matches!(&self.kind, Kind::Model(asked) if asked.seen.as_ref().is_some_and(HashSet::is_empty))
    }

    /// Whether it is a run that says which texts it was trained on.
    pub fn is_run(&self) -> bool {
        matches!(&self.kind, Kind::Model(asked) if asked.seen.as_ref().is_some_and(|seen| !seen.is_empty()))
    }

    /// The names of its labels.
    pub fn labels(&self) -> Vec<String> {
        match &self.kind {
            Kind::Classifier(classifier) => classifier.labels.clone(),
            Kind::Model(asked) => asked.renderer.label_ids().iter().map(|l| l.name.clone()).collect(),
        }
    }

    /// Which of its labels each of `labels` is, by name or as its recipe lists them; `None` for one that it does not give.
    fn places(&self, labels: &[String]) -> Vec<Option<usize>> {
        let own = self.labels();
        let find = |label: &String| {
            let listed = match &self.kind {
                Kind::Model(asked) => match asked.renderer.task() {
                    TaskSpec::Classify(task) => task.labels.resolve(&Value::from(label.as_str())).ok().map(str::to_owned),
                    _ => None,
                },
                Kind::Classifier(_) => None,
            };
            let name = listed.unwrap_or_else(|| label.clone());
            own.iter().position(|l| *l == name)
        };
        labels.iter().map(find).collect()
    }

    /// Refuses labels that it does not give.
    ///
    /// # Errors
    /// The first of them.
    pub fn check(&self, labels: &[String]) -> Result<()> {
        match self.places(labels).iter().position(Option::is_none) {
            Some(first) => Err(self.unknown(&labels[first])),
            None => Ok(()),
        }
    }

    fn unknown(&self, label: &str) -> StageError {
        StageError::input_help(
            format!("{}: does not know the label {label:?}; it gives {}", self.name, self.labels().join(", ")),
            "labels that are called otherwise are translated with --label-map, e.g. --label-map pos=positive,neg=negative",
        )
    }

    /// Probability of each of `labels` for each text. They do not add up to 1 if it gives other labels, too.
    ///
    /// # Errors
    /// No label that it knows; a model that fails; [`StageError::Stopped`]. What was computed until then is kept.
    pub fn probabilities(&self, texts: &[String], labels: &[String], progress: &mut dyn Progress) -> Result<ByClass> {
        let places = self.places(labels);
        if let (true, Some(first)) = (places.iter().all(Option::is_none), labels.first()) {
            return Err(self.unknown(first));
        }
        let all = match &self.kind {
            Kind::Classifier(classifier) => classifier.predict_proba(texts)?,
            Kind::Model(asked) => asked.probabilities(&self.name, texts, progress)?,
        };
        let mut out = ByClass::zeros(texts.len(), labels.len());
        for (i, row) in out.values.chunks_exact_mut(labels.len()).enumerate() {
            row.iter_mut().zip(&places).for_each(|(p, place)| *p = place.map_or(0.0, |place| all.row(i)[place]));
        }
        Ok(out)
    }
}

impl Asked {
    fn new(environment: &Environment, opened: Opened, renderer: Renderer, seen: Option<HashSet<Key>>) -> Self {
        // The renderer's task says the question in full.
        let task = serde_json::to_string(renderer.task()).unwrap_or_default();
        let identity = format!("{VERSION}|{}|{:?}|{}|{task}", opened.content, opened.decoder.compute, renderer.cutoff_len());
        let remembered = Remembered::new(environment, &identity, renderer.label_ids().len());
        Self { opened, renderer, remembered, seen }
    }

    fn probabilities(&self, name: &str, texts: &[String], progress: &mut dyn Progress) -> Result<ByClass> {
        let classes = self.renderer.label_ids().len();
        let keys: Vec<Key> = texts.iter().map(|t| key(t)).collect();
        let mut known = self.remembered.known(&keys.iter().copied().collect());
        let mut asked: HashSet<Key> = HashSet::new();
        let new: Vec<usize> = (0..texts.len()).filter(|&i| !known.contains_key(&keys[i]) && asked.insert(keys[i])).collect();
        if !new.is_empty() {
            progress.begin(&format!("ask {name}"), Some(new.len() as u64), 0, Unit::Rows);
        }
        let mut cut = 0;
        for batch in new.chunks(KEEP_EVERY) {
            let samples = batch.iter().map(|&i| sample(&self.renderer, &texts[i], i + 1)).collect::<Result<Vec<_>>>()?;
            let mut told = 0;
            let mut go_on = |done: usize, _: usize| {
                progress.advance((done - told) as u64);
                told = done;
                if progress.cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let Opened { decoder, params, arena, .. } = &self.opened;
            let said = classify(decoder, params, arena, &self.renderer, &samples, &mut go_on);
            let said = match said {
                Err(evaluate::EvaluateError::Stopped { .. }) => {
                    progress.end();
                    return Err(StageError::Stopped { help: Some("what was asked is kept; the same command goes on".into()) });
                }
                other => other?,
            };
            cut += said.truncated();
            if let Some(dropped) = said.dropped.first() {
                progress.end();
                return Err(StageError::input(format!("{}: {}", texts[batch[dropped.sample]], dropped.reason)));
            }
            let rows: Vec<(Key, Vec<f32>)> = said
                .rows
                .iter()
                .map(|row| (keys[batch[row.sample]], row.scored.normalized.iter().map(|p| p.max(1e-30).ln() as f32).collect()))
                .collect();
            if let Err(error) = self.remembered.add(rows.iter().map(|(k, v)| (*k, &v[..]))) {
                progress.warn(&format!("what {name} says is not kept for a next time: {error}"));
            }
            known.extend(rows);
        }
        if !new.is_empty() {
            progress.end();
        }
        if cut > 0 {
            progress.warn(&format!("{} cut to fit the model", plural(cut, "text")));
        }
        let mut out = ByClass::zeros(texts.len(), classes);
        for (row, key) in out.values.chunks_exact_mut(classes).zip(&keys) {
            // Asked just now, if it was not known before.
            if let Some(logs) = known.get(key) {
                row.iter_mut().zip(logs).for_each(|(p, log)| *p = f64::from(*log).exp());
            }
        }
        Ok(out)
    }
}

/// What a directory or source is called in reports and as an author.
fn named(target: &str) -> String {
    target.trim_end_matches('/').rsplit('/').next().unwrap_or(target).to_owned()
}

/// The texts that a run trained on, as its `train.jsonl` has them.
fn trained_on(dir: &Path) -> Result<HashSet<Key>> {
    let path = dir.join("train.jsonl");
    let text = std::fs::read_to_string(&path).map_err(|e| {
        StageError::input_help(
            format!("{}: cannot be read: {e}", path.display()),
            "without it nobody knows which rows the run was trained on",
        )
    })?;
    let mut seen = HashSet::new();
    for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.is_empty()) {
        let row: Value = serde_json::from_str(line).map_err(|e| StageError::input(format!("{}:{}: {e}", path.display(), i + 1)))?;
        // Fields of the prompt stand by their names; a text in any of them counts.
        let values =
            row.as_object().into_iter().flatten().filter(|(k, _)| !["id", "label", "origin", "source", "file"].contains(&k.as_str()));
        seen.extend(values.filter_map(|(_, v)| v.as_str()).map(same));
    }
    Ok(seen)
}

/// Probabilities corrected for what the model prefers whatever the text (batch calibration, Zhou et al. 2024): each class's mean
/// logarithm over all texts is taken off. `shares` of the classes, if they are known, are put in its place.
pub(crate) fn without_preference(p: &mut ByClass, shares: Option<&[f64]>) {
    let (rows, classes) = (p.rows().max(1) as f64, p.classes);
    let mut mean = vec![0.0; classes];
    p.values.chunks_exact(classes).for_each(|row| mean.iter_mut().zip(row).for_each(|(m, v)| *m += v.max(1e-30).ln() / rows));
    for row in p.values.chunks_exact_mut(classes) {
        let prior = |c: usize| shares.map_or(0.0, |s| s[c].max(1e-12).ln());
        let logs: Vec<f64> = (0..classes).map(|c| row[c].max(1e-30).ln() - mean[c] + prior(c)).collect();
        let max = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = logs.iter().map(|l| (l - max).exp()).sum();
        row.iter_mut().zip(&logs).for_each(|(p, l)| *p = (l - max).exp() / sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preference_is_taken_off_and_order_stays() {
        // A model that says "b" of everything, though rather of the third text.
        let mut p = ByClass { classes: 2, values: vec![0.2, 0.8, 0.3, 0.7, 0.05, 0.95] };
        without_preference(&mut p, None);
        assert_eq!([p.best(0), p.best(1), p.best(2)], [0, 0, 1]);
        assert!(p.row(1)[0] > p.row(0)[0]);
        assert!((0..3).all(|i| (p.row(i).iter().sum::<f64>() - 1.0).abs() < 1e-12));
        let mut rare = ByClass { classes: 2, values: vec![0.2, 0.8, 0.3, 0.7, 0.05, 0.95] };
        without_preference(&mut rare, Some(&[0.1, 0.9]));
        assert!(rare.row(1)[0] < p.row(1)[0]);
    }

    #[test]
    fn names_are_the_last_part() {
        assert_eq!(named("runs/first/"), "first");
        assert_eq!(named("hf:a/b"), "b");
    }
}
