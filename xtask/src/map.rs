//! The map: which crate may depend on which, and that ARCHITECTURE.md names exactly the crates there are.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::Value as Json;

/// The table of ARCHITECTURE.md. A crate that is not here is refused, so the table cannot rot.
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("containers", &[]),
    ("sources", &[]),
    ("kernels", &[]),
    ("engine", &["kernels"]),
    ("text", &["containers"]),
    ("model", &["engine", "containers", "kernels"]),
    ("dataset", &["text", "kernels"]),
    ("documents", &["text"]),
    ("train", &["engine", "model", "dataset", "kernels"]),
    ("generate", &["engine", "model", "text", "kernels"]),
    ("evaluate", &["engine", "model", "dataset", "generate", "text", "kernels"]),
    ("vectorize", &["kernels", "containers", "evaluate"]),
    ("annotate", &["dataset", "evaluate", "vectorize", "kernels"]),
    ("recipe", &["dataset", "sources", "train", "model"]),
    (
        "stages",
        &[
            "containers",
            "sources",
            "kernels",
            "engine",
            "text",
            "model",
            "dataset",
            "documents",
            "train",
            "generate",
            "evaluate",
            "vectorize",
            "annotate",
            "recipe",
        ],
    ),
    ("tunesmith", &["stages"]),
    ("fuzz", &["containers", "dataset", "documents", "vectorize"]),
    ("xtask", &["recipe"]),
];

/// Workspace members with their workspace dependencies (those of tests left out).
pub type Members = BTreeMap<String, Vec<String>>;

/// Asks cargo for the members.
pub fn members(root: &Path) -> Result<Members, String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root)
        .output()
        .map_err(|e| format!("cargo metadata: {e}"))?;
    let metadata: Json = serde_json::from_slice(&output.stdout).map_err(|e| format!("cargo metadata: {e}"))?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata names no packages")?;
    let names: Vec<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    let mut members = Members::new();
    for package in packages {
        let dependencies = package["dependencies"].as_array().into_iter().flatten();
        let ours = dependencies.filter(|d| d["kind"] != "dev").filter_map(|d| d["name"].as_str()).filter(|d| names.contains(d));
        members.insert(package["name"].as_str().unwrap_or_default().to_owned(), ours.map(str::to_owned).collect());
    }
    Ok(members)
}

/// Dependencies against the table's direction, and crates the table lacks.
pub fn check_directions(members: &Members) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, dependencies) in members {
        let Some((_, allowed)) = MAY_DEPEND_ON.iter().find(|(n, _)| n == name) else {
            problems.push(format!("crates/{name}: not in the dependency table (xtask/src/map.rs, ARCHITECTURE.md)"));
            continue;
        };
        for dependency in dependencies.iter().filter(|d| !allowed.contains(&d.as_str())) {
            problems.push(format!("crates/{name}: may not depend on {dependency} (ARCHITECTURE.md, the map)"));
        }
    }
    problems
}

/// Rows of the architecture's table (`| \`name\` | …`) against the members.
pub fn check_documented(members: &Members, architecture: &str) -> Vec<String> {
    let rows: Vec<&str> =
        architecture.lines().filter_map(|l| l.strip_prefix("| `")).filter_map(|l| l.split_once('`')).map(|(name, _)| name).collect();
    let missing = members.keys().filter(|m| !rows.contains(&m.as_str())).map(|m| format!("ARCHITECTURE.md: no row for crate {m}"));
    let stale = rows.iter().filter(|r| !members.contains_key(**r)).map(|r| format!("ARCHITECTURE.md: row for {r}, which is no crate"));
    missing.chain(stale).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, dependencies: &[&str]) -> Members {
        [(name.to_owned(), dependencies.iter().map(|d| (*d).to_owned()).collect())].into()
    }

    #[test]
    fn planted_wrong_directions_are_found() {
        assert_eq!(check_directions(&with("engine", &["kernels"])), Vec::<String>::new());
        assert_eq!(check_directions(&with("engine", &["model"])).len(), 1);
        assert_eq!(check_directions(&with("misc", &[])).len(), 1);
    }

    #[test]
    fn planted_map_rot_is_found() {
        let page = "| `engine` | ops |\n| `gone` | ? |\n";
        assert_eq!(check_documented(&with("engine", &[]), page).len(), 1);
        assert_eq!(check_documented(&with("kernels", &[]), page).len(), 3);
    }

    #[test]
    fn the_table_has_no_cycle() {
        // Every crate may use only crates listed above it.
        for (i, (name, allowed)) in MAY_DEPEND_ON.iter().enumerate() {
            for dependency in *allowed {
                let at = MAY_DEPEND_ON.iter().position(|(n, _)| n == dependency);
                assert!(at.is_some_and(|at| at < i), "{name} -> {dependency}");
            }
        }
    }
}
