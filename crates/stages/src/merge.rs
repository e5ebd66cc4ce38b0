//! `tunesmith merge`: the tuned model as one Hugging Face directory, tensor by tensor, never whole in memory.

use std::path::{Path, PathBuf};

use engine::ParamStore;
use model::load::BaseModel;
use model::save::{FileType, SaveOptions, save_pretrained};
use serde::Serialize;

use crate::environment::Environment;
use crate::error::{Result, StageError};
use crate::manifest::Manifest;
use crate::open::{ADAPTER_CONFIG, base_of, load_tokenizer};
use crate::progress::Progress;

/// Type of the written weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// As exact as training.
    F32,
    /// Half the size, the usual form.
    Bf16,
    /// Half the size, narrower range.
    F16,
}

/// What to merge.
pub struct Job {
    /// The run.
    pub run: PathBuf,
    /// The directory to write; must be new or empty.
    pub output: PathBuf,
    /// Type of the written weights.
    pub dtype: Dtype,
}

/// What was written.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The directory.
    pub output: PathBuf,
    /// Type of the weights.
    pub dtype: &'static str,
    /// Tensors.
    pub tensors: usize,
    /// Matrices that the adapter changed.
    pub merged: usize,
    /// Size of the weights.
    pub bytes: u64,
}

/// Merges.
pub fn run(environment: &Environment, job: &Job, progress: &mut dyn Progress) -> Result<Report> {
    let dir = &job.run;
    let Some(manifest) = Manifest::load(dir)? else {
        return Err(StageError::input_help(
            format!("{}: is no run (it has no run.json)", dir.display()),
            "give the output directory of `tunesmith train`",
        ));
    };
    refuse_used(&job.output)?;
    let (file_type, name) = match job.dtype {
        Dtype::F32 => (FileType::F32, "f32"),
        Dtype::Bf16 => (FileType::Bf16, "bf16"),
        Dtype::F16 => (FileType::F16, "f16"),
    };
    let options = SaveOptions { file_type, ..SaveOptions::default() };
    let (tensors, merged) = if dir.join(ADAPTER_CONFIG).is_file() {
        let base = base_of(environment, &manifest, progress)?;
        progress.note(&format!("merging into {} ({name})", job.output.display()));
        let merged = model::save::merge(base, dir, &job.output, Some(&manifest.model.sha256), options)?;
        merged.notes.iter().for_each(|note| progress.warn(note));
        (merged.tensors, merged.merged)
    } else {
        progress.note(&format!("copying into {} ({name})", job.output.display()));
        let decoder = BaseModel::open(dir)?.load()?;
        save_pretrained(&job.output, &decoder, &ParamStore::new(), None, options)?;
        (decoder.slots().len(), 0)
    };
    load_tokenizer(dir)?.save(&job.output)?;
    let bytes = std::fs::read_dir(&job.output)
        .map(|files| {
            files
                .flatten()
                .filter(|f| f.path().extension().is_some_and(|e| e == "safetensors"))
                .filter_map(|f| f.metadata().ok())
                .map(|m| m.len())
                .sum()
        })
        .unwrap_or(0);
    Ok(Report { output: job.output.clone(), dtype: name, tensors, merged, bytes })
}

fn refuse_used(output: &Path) -> Result<()> {
    let used = std::fs::read_dir(output).is_ok_and(|mut entries| entries.next().is_some());
    if used {
        return Err(StageError::input_help(format!("{}: is not empty", output.display()), "choose another --output, or empty it"));
    }
    Ok(())
}
