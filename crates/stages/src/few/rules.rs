//! `RULES.yaml` of `label weak`, read strictly.

use std::path::{Path, PathBuf};

use annotate::methods::rules::{Rule, Test, keywords, pattern};
use recipe::{Node, Value};

use crate::error::{Result, StageError};

/// What a rule is made of.
pub(super) enum Function {
    /// Judged from the row alone.
    Rule(Rule),
    /// A model that gives labels: it votes for the one that it gives at least this probability, if `only` allows it.
    Model { name: String, which: Which, threshold: f64, only: Option<u32> },
}

/// A model that gives labels.
pub(super) enum Which {
    /// A directory of `vectorize classify train`, or a run.
    Directory(PathBuf),
    /// A language model, asked with a prompt which of `labels` (a recipe's `labels`) comes next. With `calibrate` what it prefers
    /// whatever the text is taken off.
    Prompt { model: String, prompt: String, labels: serde_json::Value, calibrate: bool },
}

impl Function {
    pub fn name(&self) -> &str {
        match self {
            Function::Rule(rule) => &rule.name,
            Function::Model { name, .. } => name,
        }
    }
}

/// Rules of a file, in its order.
pub(super) struct Rules {
    pub labels: Vec<String>,
    pub functions: Vec<Function>,
    /// Shares of the classes, if the file says them.
    pub balance: Option<Vec<f64>>,
}

const KEYS: [&str; 15] = [
    "name",
    "label",
    "keywords",
    "regex",
    "gazetteer",
    "min_length",
    "max_length",
    "column",
    "values",
    "classifier",
    "prompt",
    "model",
    "texts",
    "calibrate",
    "threshold",
];
/// Probability from which a model votes, if the rule does not say.
const THRESHOLD: f64 = 0.7;

fn wrong(node: &Node, field: &str, reason: impl std::fmt::Display) -> StageError {
    StageError::input(format!("{}: {field}: {reason}", node.place))
}

fn text(node: &Node, field: &str) -> Result<String> {
    match &node.value {
        Value::Map(_) | Value::List(_) | Value::Null => Err(wrong(node, field, "is a text")),
        _ => Ok(match node.to_json() {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        }),
    }
}

fn number(node: &Node, field: &str) -> Result<f64> {
    node.to_json().as_f64().ok_or_else(|| wrong(node, field, "is a number"))
}

fn texts(node: &Node, field: &str) -> Result<Vec<String>> {
    match &node.value {
        Value::List(items) => items.iter().map(|item| text(item, field)).collect(),
        _ => Ok(vec![text(node, field)?]),
    }
}

/// Reads a file of rules. Paths in it are seen from its own directory.
pub(super) fn load(path: &Path) -> Result<Rules> {
    let source = std::fs::read_to_string(path).map_err(|e| StageError::input(format!("{}: {e}", path.display())))?;
    if Node::is_blank(&source) {
        return Err(StageError::input(format!("{}: the file is empty; there is no rule in it", path.display())));
    }
    let document = Node::parse(&source, &path.display().to_string())?;
    for entry in document.entries() {
        if !["labels", "rules", "balance", "model"].contains(&entry.key.as_str()) {
            let reason = "unknown key; there are labels, rules, balance and model";
            return Err(StageError::input(format!("{}: {}: {reason}", entry.place, entry.key)));
        }
    }
    let rules = match document.get("rules").map(|n| &n.value) {
        Some(Value::List(items)) if !items.is_empty() => items,
        _ => return Err(wrong(&document, "rules", "is a list of rules, and needs one at least")),
    };
    let mut labels = document.get("labels").map(|n| texts(n, "labels")).transpose()?.unwrap_or_default();
    if labels.is_empty() {
        for rule in rules {
            if let Some(label) = rule.get("label").map(|n| text(n, "label")).transpose()?.filter(|l| !labels.contains(l)) {
                labels.push(label);
            }
        }
        labels.sort_unstable();
    }
    if labels.len() < 2 {
        return Err(wrong(&document, "labels", "rules for at least two labels are needed"));
    }
    let base = path.parent().unwrap_or(Path::new("."));
    let model = document.get("model").map(|n| text(n, "model")).transpose()?;
    let given = Surroundings { labels: &labels, base, model: model.as_deref() };
    let functions: Vec<Function> = rules.iter().enumerate().map(|(i, rule)| function(rule, i, &given)).collect::<Result<_>>()?;
    let balance = match document.get("balance") {
        None => None,
        Some(node) => {
            let shares: Vec<f64> = labels
                .iter()
                .map(|l| node.get(l).ok_or_else(|| wrong(node, "balance", format!("says nothing of {l:?}"))).and_then(|n| number(n, l)))
                .collect::<Result<_>>()?;
            let sum: f64 = shares.iter().sum();
            if shares.iter().any(|s| *s <= 0.0) || sum <= 0.0 {
                return Err(wrong(node, "balance", "every share is above 0"));
            }
            if let Some(entry) = node.entries().iter().find(|e| !labels.contains(&e.key)) {
                let reason = format!("{:?} is none of {}", entry.key, labels.join(", "));
                return Err(StageError::input(format!("{}: balance: {reason}", entry.place)));
            }
            // Thirds are rarely written out.
            if (sum - 1.0).abs() > 0.015 {
                return Err(wrong(node, "balance", format!("the shares of all labels are 1 together, not {}", (sum * 1e4).round() / 1e4)));
            }
            Some(shares.into_iter().map(|s| s / sum).collect())
        }
    };
    Ok(Rules { labels, functions, balance })
}

/// What a rule is read with.
struct Surroundings<'a> {
    labels: &'a [String],
    /// Paths are seen from here.
    base: &'a Path,
    /// The model of prompts that name none.
    model: Option<&'a str>,
}

fn function(rule: &Node, index: usize, given: &Surroundings<'_>) -> Result<Function> {
    let (labels, base) = (given.labels, given.base);
    for entry in rule.entries() {
        if !KEYS.contains(&entry.key.as_str()) {
            return Err(StageError::input(format!(
                "{}: rules[{index}].{}: unknown key; there are {}",
                entry.place,
                entry.key,
                KEYS.join(", ")
            )));
        }
    }
    let field = |key: &str| format!("rules[{index}].{key}");
    let name = rule.get("name").map(|n| text(n, "name")).transpose()?;
    let class = match rule.get("label") {
        None => None,
        Some(node) => {
            let label = text(node, "label")?;
            let class = labels.iter().position(|l| *l == label);
            Some(class.ok_or_else(|| wrong(node, &field("label"), format!("{label:?} is none of {}", labels.join(", "))))? as u32)
        }
    };
    if let Some(node) = rule.get("classifier") {
        let dir = base.join(text(node, &field("classifier"))?);
        let name = name.unwrap_or_else(|| format!("classifier {}", dir.display()));
        return Ok(Function::Model { name, which: Which::Directory(dir), threshold: threshold(rule, &field)?, only: class });
    }
    if let Some(node) = rule.get("prompt") {
        let which = prompt(rule, node, &field, given)?;
        let name = name.unwrap_or_else(|| format!("prompt {}", index + 1));
        return Ok(Function::Model { name, which, threshold: threshold(rule, &field)?, only: class });
    }
    let class = class.ok_or_else(|| wrong(rule, &field("label"), "is missing: what does the rule vote for?"))?;
    let (kind, test) = test(rule, &field, base)?;
    Ok(Function::Rule(Rule { name: name.unwrap_or_else(|| format!("{kind} {} ({})", index + 1, labels[class as usize])), class, test }))
}

fn threshold(rule: &Node, field: &dyn Fn(&str) -> String) -> Result<f64> {
    let Some(node) = rule.get("threshold") else { return Ok(THRESHOLD) };
    let threshold = number(node, &field("threshold"))?;
    if !(0.0..=1.0).contains(&threshold) {
        return Err(wrong(node, &field("threshold"), format!("{threshold} is no probability")));
    }
    Ok(threshold)
}

fn prompt(rule: &Node, node: &Node, field: &dyn Fn(&str) -> String, given: &Surroundings<'_>) -> Result<Which> {
    let model = rule.get("model").map(|n| text(n, &field("model"))).transpose()?.or_else(|| given.model.map(str::to_owned));
    let model =
        model.ok_or_else(|| wrong(rule, &field("model"), "is missing: which language model answers? (`model:` of the file is for all)"))?;
    // A path of the file's own directory comes before a source of that name.
    let beside = given.base.join(&model);
    let model = if beside.exists() { beside.display().to_string() } else { model };
    let labels = match rule.get("texts") {
        None => serde_json::Value::from(given.labels.to_vec()),
        Some(texts) => {
            let mut out = serde_json::Map::new();
            for label in given.labels {
                let said = texts.get(label).ok_or_else(|| wrong(texts, &field("texts"), format!("says nothing of {label:?}")))?;
                out.insert(label.clone(), text(said, &field("texts"))?.into());
            }
            if let Some(entry) = texts.entries().iter().find(|e| !given.labels.contains(&e.key)) {
                return Err(StageError::input(format!(
                    "{}: {}: {:?} is none of {}",
                    entry.place,
                    field("texts"),
                    entry.key,
                    given.labels.join(", ")
                )));
            }
            out.into()
        }
    };
    let calibrate = match rule.get("calibrate").map(|n| (n, n.to_json())) {
        None => true,
        Some((_, serde_json::Value::Bool(yes))) => yes,
        Some((node, _)) => return Err(wrong(node, &field("calibrate"), "is true or false")),
    };
    Ok(Which::Prompt { model, prompt: text(node, &field("prompt"))?, labels, calibrate })
}

fn test(rule: &Node, field: &dyn Fn(&str) -> String, base: &Path) -> Result<(&'static str, Test)> {
    if let Some(node) = rule.get("keywords") {
        let test = keywords(&texts(node, &field("keywords"))?).map_err(|e| wrong(node, &field("keywords"), e))?;
        return Ok(("keywords", test));
    }
    if let Some(node) = rule.get("regex") {
        return Ok(("regex", pattern(&text(node, &field("regex"))?).map_err(|e| wrong(node, &field("regex"), e))?));
    }
    if let Some(node) = rule.get("gazetteer") {
        let path = base.join(text(node, &field("gazetteer"))?);
        let list = std::fs::read_to_string(&path).map_err(|e| wrong(node, &field("gazetteer"), format!("{}: {e}", path.display())))?;
        let words: Vec<String> = list.trim_start_matches('\u{feff}').lines().map(str::to_owned).collect();
        return Ok(("gazetteer", keywords(&words).map_err(|e| wrong(node, &field("gazetteer"), e))?));
    }
    let bound = |key: &str| rule.get(key).map(|n| number(n, &field(key))).transpose();
    let (min, max) = (bound("min_length")?, bound("max_length")?);
    if min.is_some() || max.is_some() {
        let test = Test::Length { min: min.unwrap_or(0.0) as usize, max: max.map_or(usize::MAX, |m| m as usize) };
        return Ok(("length", test));
    }
    if let (Some(column), Some(values)) = (rule.get("column"), rule.get("values")) {
        let column = text(column, &field("column"))?;
        return Ok(("column", Test::Equals { column, values: texts(values, &field("values"))? }));
    }
    Err(wrong(
        rule,
        &field(""),
        "says nothing to look for: keywords, regex, gazetteer, min_length/max_length, column with values, classifier, or prompt",
    ))
}
