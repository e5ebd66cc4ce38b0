//! `tunesmith vectorize neighbours|keywords|cluster`: looking at texts through their features.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;
use vectorize::embed::Near;
use vectorize::keywords::{self, Keyword};
use vectorize::{Features, Vectorizer, WordVectors, cluster};

use super::choices::{FeatureChoice, FeatureKind};
use super::features::Source;
use super::fit::format_of;
use super::table::{DataChoice, Labels, read};
use crate::environment::Environment;
use crate::error::{Result, StageError};
use crate::human::plural;
use crate::manifest::write_atomic;
use crate::progress::Progress;

/// Words near others.
#[derive(Clone, Debug, Serialize)]
pub struct NeighboursReport {
    /// Looked for near these.
    pub words: Vec<String>,
    /// And away from these.
    pub negative: Vec<String>,
    /// Nearest first.
    pub neighbours: Vec<Near>,
    /// The file that was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exported: Option<PathBuf>,
}

/// Vectors of a directory that `fit` or `classify train` wrote, or of a word2vec file.
fn word_vectors(path: &Path) -> Result<std::sync::Arc<WordVectors>> {
    if !path.is_dir() {
        return Ok(std::sync::Arc::new(vectorize::load::vectors::word2vec(path)?));
    }
    let vectorizer = vectorize::load::vectorizer(path)?;
    vectorizer.word_vectors().cloned().ok_or_else(|| {
        StageError::input_help(
            format!("{}: these features have no word vectors", path.display()),
            "learn some: tunesmith vectorize fit DATA --features word2vec --output-dir DIR",
        )
    })
}

/// The words nearest to `words`; with `negative` an analogy (`king`, `woman` against `man`). With `export` the vectors are written to
/// that file, binary if its name ends in `.bin`.
///
/// # Errors
/// Words without a vector, files that hold none.
pub fn neighbours(path: &Path, words: &[String], negative: &[String], n: usize, export: Option<&Path>) -> Result<NeighboursReport> {
    let vectors = word_vectors(path)?;
    if let Some(file) = export {
        vectorize::save::vectors::word2vec(file, &vectors, format_of(file))?;
    }
    let (near, away): (Vec<&str>, Vec<&str>) = (words.iter().map(String::as_str).collect(), negative.iter().map(String::as_str).collect());
    let neighbours = if words.is_empty() && negative.is_empty() { Vec::new() } else { vectors.nearest(&near, &away, n)? };
    Ok(NeighboursReport { words: words.to_vec(), negative: negative.to_vec(), neighbours, exported: export.map(Path::to_path_buf) })
}

impl NeighboursReport {
    /// As a person reads it.
    pub fn to_text(&self) -> String {
        let mut lines: Vec<String> = self.neighbours.iter().map(|n| format!("{:.3}  {}", n.similarity, n.word)).collect();
        lines.extend(self.exported.as_ref().map(|path| format!("written: {}", path.display())));
        lines.join("\n")
    }
}

/// Keywords of a row or a group of rows.
#[derive(Clone, Debug, Serialize)]
pub struct KeywordRow {
    /// The row, if keywords are by row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The group, if they are by group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Heaviest first.
    pub keywords: Vec<Keyword>,
}

/// Keywords of every row, or with `group_by` of all rows with one value of that column.
///
/// # Errors
/// Data or settings that cannot be used.
pub fn keywords(
    environment: &Environment,
    data: &DataChoice,
    features: &FeatureChoice,
    group_by: Option<&str>,
    n: usize,
    progress: &mut dyn Progress,
) -> Result<Vec<KeywordRow>> {
    if !matches!(features.kind, FeatureKind::Tfidf | FeatureKind::Bow) {
        return Err(StageError::input("--features: keywords are terms: take tfidf or bow"));
    }
    let choice = DataChoice { label_column: group_by.unwrap_or_default().to_owned(), ..data.clone() };
    let table = read(environment, &choice, if group_by.is_some() { Labels::Required } else { Labels::Ignored }, progress)?;
    let mut terms = features.terms.clone();
    terms.ngram_range = terms.ngram_range.or(Some((1, 1)));
    let settings = terms.settings(features.kind, &table.texts, progress)?;
    if group_by.is_some() {
        let groups: Vec<String> = table.labels.iter().flatten().cloned().collect();
        let found = keywords::of_groups(&settings, &table.texts, &groups, n)?;
        return Ok(found.into_iter().map(|(group, keywords)| KeywordRow { id: None, group: Some(group), keywords }).collect());
    }
    let found = keywords::of_texts(&settings, &table.texts, n)?;
    Ok(table.ids.into_iter().zip(found).map(|(id, keywords)| KeywordRow { id: Some(id), group: None, keywords }).collect())
}

impl KeywordRow {
    /// As a person reads it.
    pub fn to_text(&self) -> String {
        let name = self.id.as_deref().or(self.group.as_deref()).unwrap_or_default();
        format!("{name}: {}", self.keywords.iter().map(|k| k.term.as_str()).collect::<Vec<_>>().join(", "))
    }
}

/// What to group.
#[derive(Clone, Debug, Default)]
pub struct ClusterJob {
    /// The rows.
    pub data: DataChoice,
    /// Features.
    pub features: FeatureChoice,
    /// Number of groups.
    pub k: usize,
    /// Beginnings, the best of which counts.
    pub starts: usize,
    /// Seed.
    pub seed: u64,
    /// Terms and examples that are shown of each group.
    pub top: usize,
    /// Write each row's group here, as JSON lines.
    pub output: Option<PathBuf>,
}

/// Groups.
#[derive(Clone, Debug, Serialize)]
pub struct ClusterReport {
    /// Rows grouped.
    pub rows: usize,
    /// Number of groups.
    pub k: usize,
    /// Mean of 1 - cosine between a row and its centre.
    pub inertia: f64,
    /// Rounds of the best beginning.
    pub iterations: usize,
    /// The groups, largest first.
    pub clusters: Vec<ClusterRow>,
}

/// A group.
#[derive(Clone, Debug, Serialize)]
pub struct ClusterRow {
    /// Its number in the output file.
    pub id: usize,
    /// Its rows.
    pub size: usize,
    /// Heaviest features of its centre; none for vectors, whose places mean nothing.
    pub terms: Vec<String>,
    /// Ids of the rows nearest to its centre.
    pub examples: Vec<String>,
    /// The text of the nearest one, cut.
    pub example: String,
}

/// Groups rows.
///
/// # Errors
/// Data or settings that cannot be used.
pub fn cluster(environment: &Environment, job: &ClusterJob, progress: &mut dyn Progress) -> Result<ClusterReport> {
    let table = read(environment, &job.data, Labels::Ignored, progress)?;
    let mut features = job.features.clone();
    if features.kind == FeatureKind::Tfidf {
        features.terms.ngram_range = features.terms.ngram_range.or(Some((1, 1)));
    }
    let (vectorizer, x) = Source::open(environment, &features, &table.texts, progress)?.fit(&table.texts, progress)?;
    let found = cluster::kmeans(&x, job.k, job.starts, 100, job.seed)?;
    if let Some(path) = &job.output {
        let mut lines = String::new();
        for (i, id) in table.ids.iter().enumerate() {
            let row = json!({"id": id, "cluster": found.assignment[i], "similarity": found.similarity[i], "text": table.texts[i]});
            lines.push_str(&row.to_string());
            lines.push('\n');
        }
        write_atomic(path, lines.as_bytes())?;
    }
    let mut clusters: Vec<ClusterRow> = (0..job.k).map(|group| describe(&vectorizer, &x, &found, group, &table, job.top)).collect();
    clusters.sort_by_key(|c| (std::cmp::Reverse(c.size), c.id));
    Ok(ClusterReport { rows: x.rows(), k: job.k, inertia: found.inertia, iterations: found.iterations, clusters })
}

fn describe(
    vectorizer: &Vectorizer,
    x: &Features,
    found: &cluster::Clusters,
    group: usize,
    table: &super::table::Table,
    top: usize,
) -> ClusterRow {
    let mut rows: Vec<usize> = (0..x.rows()).filter(|&i| found.assignment[i] as usize == group).collect();
    rows.sort_by(|&a, &b| found.similarity[b].total_cmp(&found.similarity[a]).then(a.cmp(&b)));
    let centre = &found.centres[group * x.columns()..(group + 1) * x.columns()];
    let mut columns: Vec<usize> = (0..centre.len()).filter(|&c| centre[c] > 0.0).collect();
    columns.sort_by(|&a, &b| centre[b].total_cmp(&centre[a]).then(a.cmp(&b)));
    let named = matches!(vectorizer, Vectorizer::Terms(_));
    ClusterRow {
        id: group,
        size: rows.len(),
        terms: columns.iter().take(if named { top } else { 0 }).map(|&c| vectorizer.name(c)).collect(),
        examples: rows.iter().take(top).map(|&i| table.ids[i].clone()).collect(),
        example: rows.first().map(|&i| table.texts[i].chars().take(80).collect()).unwrap_or_default(),
    }
}

impl ClusterReport {
    /// As a person reads it.
    pub fn to_text(&self) -> String {
        let mut out = format!("{} in {} groups, mean distance {:.3}", plural(self.rows, "row"), self.k, self.inertia);
        for c in &self.clusters {
            let _ = write!(out, "\n{:>4} {:>7}  {}", c.id, c.size, if c.terms.is_empty() { c.example.clone() } else { c.terms.join(", ") });
        }
        out
    }
}
