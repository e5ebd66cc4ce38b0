//! Developer chores: `cargo xtask tidy` proves the structural rules of ARCHITECTURE.md, `cargo xtask schema` rewrites the recipe's
//! JSON schema.

mod map;
mod purity;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The generated schema, relative to the workspace root.
const SCHEMA: &str = "docs/recipe.schema.json";

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_path_buf();
    let task = std::env::args().nth(1).unwrap_or_default();
    let outcome = match task.as_str() {
        "tidy" => tidy(&root),
        "schema" => std::fs::write(root.join(SCHEMA), schema_text()).map_err(|e| vec![format!("{SCHEMA}: {e}")]),
        _ => Err(vec!["usage: cargo xtask tidy | schema".to_owned()]),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problems) => {
            problems.iter().for_each(|p| eprintln!("{p}"));
            eprintln!("{} problem(s)", problems.len());
            ExitCode::FAILURE
        }
    }
}

fn schema_text() -> String {
    let mut text = serde_json::to_string_pretty(&recipe::json_schema()).expect("a schema is plain JSON");
    text.push('\n');
    text
}

fn tidy(root: &Path) -> Result<(), Vec<String>> {
    let mut problems = Vec::new();
    let mut files = Vec::new();
    for folder in ["crates", "fuzz", "xtask"] {
        rust_files(&root.join(folder), &mut files);
    }
    files.sort();
    if files.len() < 50 {
        problems.push(format!("only {} Rust files found: the search itself must be broken", files.len()));
    }
    for path in &files {
        let name = path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/");
        match std::fs::read_to_string(path) {
            Ok(text) => problems.extend(purity::check_file(&name, &text)),
            Err(e) => problems.push(format!("{name}: {e}")),
        }
    }
    let architecture = std::fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap_or_default();
    match map::members(root) {
        Ok(members) => {
            problems.extend(map::check_directions(&members));
            problems.extend(map::check_documented(&members, &architecture));
        }
        Err(e) => problems.push(e),
    }
    if std::fs::read_to_string(root.join(SCHEMA)).ok() != Some(schema_text()) {
        problems.push(format!("{SCHEMA} is not what the settings types generate; run `cargo xtask schema`"));
    }
    if problems.is_empty() {
        println!("tidy: {} files, all rules hold", files.len());
        return Ok(());
    }
    Err(problems)
}

fn rust_files(folder: &Path, out: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|e| e.path()) {
        if path.is_dir() {
            if path.file_name().is_none_or(|n| n != "target") {
                rust_files(&path, out);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}
