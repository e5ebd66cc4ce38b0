//! The typed recipe, and the one way to get it.

use std::path::{Path, PathBuf};

use dataset::{DatasetSpec, TaskSpec, Truncation};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sources::SourceSpec;
use train::arguments::ComputeChoice;
use train::finetuning::FinetuningType;
use train::{FinetuningArguments, TrainingArguments};

use crate::document::Node;
use crate::{Place, RecipeError, aliases, check, overrides, schema};

/// Everything about a run, resolved.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Where the recipe was read from; empty for one made in memory.
    pub path: PathBuf,
    /// Alternatives for the base model, in order.
    pub model: Vec<SourceSpec>,
    /// The rows.
    pub dataset: DatasetSpec,
    /// Rows to measure on instead of a part of `dataset`.
    pub eval_dataset: Option<DatasetSpec>,
    /// What a row teaches.
    pub task: TaskSpec,
    /// Longest row in tokens.
    pub cutoff_len: usize,
    /// What happens to longer rows.
    pub truncation: Truncation,
    /// Which tensors train.
    pub finetuning: FinetuningArguments,
    /// The loop.
    pub training: TrainingArguments,
    /// What is measured around the training.
    pub evaluation: EvaluationSettings,
    /// Where the run goes; the command line may say otherwise.
    pub output_dir: Option<PathBuf>,
    /// What was accepted without effect, a line each.
    pub notes: Vec<String>,
}

/// What is measured around the training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EvaluationSettings {
    /// Measure the untouched model first, so that the report can say what the training changed.
    pub before: bool,
    /// Measure the result on the held-out rows.
    pub after: bool,
    /// Measure on at most this many held-out rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_samples: Option<usize>,
    /// Rows whose predictions the report shows.
    pub samples_in_report: usize,
}

impl Default for EvaluationSettings {
    fn default() -> Self {
        Self { before: true, after: true, max_samples: None, samples_in_report: 24 }
    }
}

/// The keys of a recipe that belong to no other crate.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Top {
    /// The base model: one source, or alternatives tried in order.
    model: OneOrMany,
    /// The rows.
    dataset: DatasetSpec,
    /// Rows to measure on; if not given, `dataset.val_size` holds some of `dataset` out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    eval_dataset: Option<DatasetSpec>,
    /// What a row teaches the model; supervised fine-tuning on conversations if not given.
    #[serde(default = "default_task")]
    task: TaskSpec,
    /// Longest row in tokens; longer ones are treated as `truncation` says, and counted.
    #[serde(default = "default_cutoff_len")]
    #[schemars(range(min = 2))]
    cutoff_len: usize,
    /// What happens to rows longer than `cutoff_len`.
    #[serde(default)]
    truncation: Truncation,
    /// What is measured before and after.
    #[serde(default)]
    evaluation: EvaluationSettings,
    /// Where the run goes; `--output-dir` says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    output_dir: Option<PathBuf>,
}

/// One text or a list of texts.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum OneOrMany {
    /// One.
    One(String),
    /// Alternatives.
    Many(Vec<String>),
}

fn default_task() -> TaskSpec {
    TaskSpec::Sft(dataset::SftTask::default())
}

fn default_cutoff_len() -> usize {
    2048
}

impl Recipe {
    /// Reads, overrides, translates, checks and types a recipe file. `sets` are `key=value` texts, the last word on any key.
    ///
    /// # Errors
    /// Names file, line and field; all are the user's input.
    pub fn load(path: &Path, sets: &[String]) -> Result<Recipe, RecipeError> {
        let name = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|e| RecipeError::Unreadable {
            path: name.clone(),
            reason: match e.kind() {
                std::io::ErrorKind::NotFound => "there is no such recipe; `tunesmith init DATA` writes one".to_owned(),
                _ => format!("cannot be read: {e}"),
            },
        })?;
        let text = String::from_utf8(bytes)
            .map_err(|e| RecipeError::Unreadable { path: name.clone(), reason: format!("is not UTF-8 text: {e}") })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let mut recipe = Self::parse(text, &name, sets)?;
        recipe.path = path.to_path_buf();
        Ok(recipe)
    }

    /// As [`Recipe::load`], from text; `name` stands for the file in errors.
    pub fn parse(text: &str, name: &str, sets: &[String]) -> Result<Recipe, RecipeError> {
        let mut root = Node::parse(text, name)?;
        let mut notes = aliases::translate(&mut root)?;
        notes.extend(overrides::apply(&mut root, sets)?);
        let schema = schema::json_schema();
        check::unknown_keys(&root, &schema, &schema, "")?;
        Self::from_node(&root, notes)
    }

    fn from_node(root: &Node, notes: Vec<String>) -> Result<Recipe, RecipeError> {
        let finetuning_keys = FinetuningArguments::keys();
        let training_keys = TrainingArguments::keys();
        let section = |belongs: &dyn Fn(&str) -> bool| -> Json {
            let own = root.entries().iter().filter(|e| belongs(&e.key));
            Json::Object(own.map(|e| (e.key.clone(), e.node.to_json())).collect())
        };
        let is_finetuning = |k: &str| finetuning_keys.iter().any(|f| f == k);
        let is_training = |k: &str| training_keys.iter().any(|f| f == k);
        let top: Top = typed(root, section(&|k| !is_finetuning(k) && !is_training(k)))?;
        let finetuning: FinetuningArguments = typed(root, section(&is_finetuning))?;
        let training: TrainingArguments = typed(root, section(&is_training))?;
        let refused =
            |field: &str, reason: String| RecipeError::Invalid { place: root.place_of(field).clone(), field: field.to_owned(), reason };
        training.validate().map_err(|e| setting_error(root, &e))?;
        finetuning.validate().map_err(|e| setting_error(root, &e))?;
        if training.compute_dtype == ComputeChoice::Int8 && finetuning.finetuning_type == FinetuningType::Full {
            let why = "int8 is for weights that stay as they are, and finetuning_type: full trains all of them; choose lora or freeze, \
                       or bf16";
            return Err(refused("compute_dtype", format!("\"int8\": {why}")));
        }
        if let TaskSpec::Classify(task) = &top.task {
            task.labels.validate().map_err(|e| refused("task.labels", e))?;
        }
        if top.cutoff_len < 2 {
            return Err(refused("cutoff_len", "must be at least 2 tokens".into()));
        }
        for (field, spec) in [("dataset", Some(&top.dataset)), ("eval_dataset", top.eval_dataset.as_ref())] {
            if spec.is_some_and(|s| s.sources.is_empty()) {
                return Err(refused(field, "needs at least one source".into()));
            }
        }
        let texts = match top.model {
            OneOrMany::One(one) => vec![one],
            OneOrMany::Many(many) => many,
        };
        if texts.is_empty() {
            return Err(refused("model", "needs at least one source".into()));
        }
        let many = texts.len() > 1;
        let parse = |(i, text): (usize, &String)| {
            let field = if many { format!("model[{i}]") } else { "model".to_owned() };
            text.parse::<SourceSpec>().map_err(|e| refused(&field, e.to_string()))
        };
        let model = texts.iter().enumerate().map(parse).collect::<Result<_, _>>()?;
        Ok(Recipe {
            path: PathBuf::new(),
            model,
            dataset: top.dataset,
            eval_dataset: top.eval_dataset,
            task: top.task,
            cutoff_len: top.cutoff_len,
            truncation: top.truncation,
            finetuning,
            training,
            evaluation: top.evaluation,
            output_dir: top.output_dir,
            notes,
        })
    }

    /// The resolved recipe as one JSON object with every default filled in, in a fixed order: what a run stores and a report shows.
    pub fn to_json(&self) -> Json {
        let model: Vec<String> = self.model.iter().map(ToString::to_string).collect();
        let top = Top {
            model: OneOrMany::Many(model),
            dataset: self.dataset.clone(),
            eval_dataset: self.eval_dataset.clone(),
            task: self.task.clone(),
            cutoff_len: self.cutoff_len,
            truncation: self.truncation,
            evaluation: self.evaluation.clone(),
            output_dir: self.output_dir.clone(),
        };
        let mut all = serde_json::Map::new();
        let parts = [serde_json::to_value(&top), serde_json::to_value(&self.finetuning), serde_json::to_value(&self.training)];
        for part in parts.into_iter().flatten() {
            if let Json::Object(part) = part {
                all.extend(part);
            }
        }
        Json::Object(all)
    }

    /// Reads what [`Recipe::to_json`] wrote.
    pub fn from_json(text: &str, name: &str) -> Result<Recipe, RecipeError> {
        // JSON is YAML: the same strict way in.
        Self::parse(text, name, &[])
    }

    /// What a checkpoint remembers to recognise a changed recipe: (key, value as JSON) of all that can change a weight.
    pub fn fingerprint(&self) -> Vec<(String, String)> {
        let Json::Object(all) = self.to_json() else { return Vec::new() };
        let training = TrainingArguments::keys();
        let finetuning = FinetuningArguments::keys();
        let own =
            |k: &String| !training.contains(k) && !finetuning.contains(k) && !matches!(k.as_str(), "output_dir" | "evaluation" | "model");
        let mut prints: Vec<(String, String)> = all.iter().filter(|(k, _)| own(k)).map(|(k, v)| (k.clone(), v.to_string())).collect();
        prints.extend(self.finetuning.fingerprint());
        prints.extend(self.training.fingerprint());
        prints
    }

    /// The path that a local source means: beside the recipe if it exists there, else from the working directory.
    pub fn locate(&self, source: &SourceSpec) -> SourceSpec {
        let SourceSpec::Path(path) = source else { return source.clone() };
        let beside = self.path.parent().map(|p| p.join(path));
        match beside.filter(|p| path.is_relative() && p.exists()) {
            Some(found) => SourceSpec::Path(found),
            None => source.clone(),
        }
    }
}

fn typed<T: DeserializeOwned>(root: &Node, section: Json) -> Result<T, RecipeError> {
    serde_path_to_error::deserialize(section).map_err(|e| {
        let path = e.path().to_string();
        let reason = e.inner().to_string();
        // A missing key has no place of its own; the message names it, so the field must not hide it.
        let field = if path == "." { missing_field(&reason).unwrap_or_else(|| "recipe".to_owned()) } else { path.clone() };
        RecipeError::Invalid { place: root.place_of(&path).clone(), field, reason: plain(&reason) }
    })
}

fn missing_field(reason: &str) -> Option<String> {
    reason.strip_prefix("missing field `")?.split('`').next().map(str::to_owned)
}

/// Serde's messages speak of Rust's types; a recipe's writer knows numbers and texts.
fn plain(reason: &str) -> String {
    if missing_field(reason).is_some() {
        return "is missing".to_owned();
    }
    let pairs = [
        ("usize", "a whole number"),
        ("u64", "a whole number"),
        ("i64", "a whole number"),
        ("f64", "a number"),
        ("f32", "a number"),
        ("a boolean", "true or false"),
    ];
    let mut text = reason.to_owned();
    for (rust, word) in pairs {
        text = text.replace(&format!("expected {rust}"), &format!("expected {word}"));
    }
    text
}

fn setting_error(root: &Node, error: &train::TrainError) -> RecipeError {
    match error {
        train::TrainError::Setting { key, value, why } => {
            RecipeError::Invalid { place: root.place_of(key).clone(), field: (*key).to_owned(), reason: format!("{value}: {why}") }
        }
        other => RecipeError::Invalid { place: Place::clone(&root.place), field: "recipe".into(), reason: other.to_string() },
    }
}
