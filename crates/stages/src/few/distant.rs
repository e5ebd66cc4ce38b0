//! `tunesmith label distant KB`: names and relations of a knowledge base found in texts, as candidates for people to confirm.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use ::annotate::Store;
use ::annotate::methods::distant::{KIND, Matcher, Precision, Review, Within, review};
use dataset::labels::export::{WriteOptions, Writer};
use dataset::labels::{Author, Body, Document, Format, Label, Lost, Statement};
use serde::Serialize;
use serde_json::json;

use super::evidence::{self, Said, Written};
use super::knowledge::load;
use crate::environment::Environment;
use crate::error::{Result, StageError};
use crate::human::{count, plural};
use crate::progress::{Progress, Unit};
use crate::vectorize::table::{DataChoice, Labels, read};

/// What to look for, and where.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// The knowledge base.
    pub knowledge: PathBuf,
    /// The knowledge base's character encoding, where it is no UTF-8; the data's, if not given.
    pub encoding: Option<String>,
    /// Rows, or a store's documents.
    pub data: DataChoice,
    /// Relations may reach over a whole document, not a sentence only.
    pub across_sentences: bool,
    /// Write the documents with candidates here, as JSON lines that `label import jsonl` reads.
    pub output: Option<PathBuf>,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Entities of the knowledge base.
    pub entities: usize,
    /// Names that were looked for.
    pub names: usize,
    /// Relations of the knowledge base.
    pub facts: usize,
    /// What of the knowledge base could not be used.
    pub lost: Vec<Lost>,
    /// Documents looked at.
    pub documents: usize,
    /// Documents with a candidate.
    pub matched: usize,
    /// Entities that were found somewhere.
    pub entities_found: usize,
    /// Candidate spans of each type.
    pub spans: BTreeMap<String, usize>,
    /// Candidate relations of each type.
    pub relations: BTreeMap<String, usize>,
    /// Precision by what people said of the same documents of the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<Review>,
    /// The file of candidates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<PathBuf>,
    /// What went into the store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<Written>,
}

impl Report {
    fn count(&mut self, labels: &[Label]) {
        self.documents += 1;
        self.matched += usize::from(!labels.is_empty());
        for label in labels {
            match &label.body {
                Body::Span { label, .. } => *self.spans.entry(label.clone()).or_default() += 1,
                Body::Relation { label, .. } => *self.relations.entry(label.clone()).or_default() += 1,
                _ => {}
            }
        }
    }
}

/// Looks for the knowledge base's names.
///
/// # Errors
/// A knowledge base, data or a store that cannot be used.
pub fn run(environment: &Environment, job: &Job, progress: &mut dyn Progress) -> Result<Report> {
    let (knowledge, lost) = load(&job.knowledge, job.encoding.as_deref().or(job.data.encoding.as_deref()))?;
    let matcher = Matcher::new(&knowledge, if job.across_sentences { Within::Document } else { Within::Sentence })?;
    let name = job.knowledge.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut report = Report {
        entities: knowledge.entities.len(),
        names: knowledge.entities.iter().map(|e| e.names.len()).sum(),
        facts: knowledge.facts.len(),
        lost,
        documents: 0,
        matched: 0,
        entities_found: 0,
        spans: BTreeMap::new(),
        relations: BTreeMap::new(),
        precision: None,
        output: job.output.clone(),
        store: None,
    };
    let mut found = vec![false; knowledge.entities.len()];
    let mut writer = job.output.as_deref().map(|path| Writer::create(Format::Jsonl, path, WriteOptions::default())).transpose()?;
    let author = Author { kind: KIND, name: name.clone() };
    let mut write = |mut document: Document, labels: &[Label]| -> Result<()> {
        if let (Some(writer), false) = (&mut writer, labels.is_empty()) {
            document.statements = vec![Statement { author: author.clone(), labels: labels.to_vec(), ..Statement::default() }];
            let current = document.statements[0].clone();
            writer.write(&document, Some(&current))?;
        }
        Ok(())
    };
    let mut look = |text: &str, report: &mut Report| {
        let matches = matcher.find(text);
        matches.mentions.iter().flat_map(|m| &m.entities).for_each(|&e| found[e] = true);
        let labels = matcher.labels(&matches);
        report.count(&labels);
        labels
    };
    match &job.data.store {
        Some(dir) => {
            let store = Store::existing(dir)?;
            let (mut said, mut precision) = (Vec::new(), Review::default());
            progress.begin("match", Some(store.count()? as u64), 0, Unit::Rows);
            let mut failed = None;
            store.each(&mut |entry| {
                progress.advance(1);
                let labels = look(&entry.document.text, &mut report);
                if labels.is_empty() || failed.is_some() {
                    return Ok(());
                }
                review(&mut precision, &labels, &entry);
                let mut document = entry.document;
                document.known_as = Some((entry.source, document.row.clone()));
                failed = write(document, &labels).err();
                said.push(Said { document: entry.id, labels, confidence: None });
                Ok(())
            })?;
            progress.end();
            if let Some(error) = failed {
                return Err(error);
            }
            if progress.cancelled() {
                return Err(StageError::Stopped { help: None });
            }
            precision.estimate();
            report.precision = Some(precision);
            let detail = json!({"knowledge": job.knowledge.display().to_string()});
            report.store = Some(evidence::write(dir, "distant", KIND, &name, detail, said)?);
        }
        None => {
            let table = read(environment, &job.data, Labels::Ignored, progress)?;
            for (i, text) in table.texts.iter().enumerate() {
                let labels = look(text, &mut report);
                let (row, id) = (table.ids[i].clone(), Some(table.ids[i].clone().into()));
                write(Document { row, id, text: text.clone(), ..Document::default() }, &labels)?;
            }
        }
    }
    if let Some(writer) = writer {
        writer.finish()?;
    }
    report.entities_found = found.iter().filter(|f| **f).count();
    Ok(report)
}

impl Report {
    /// As a person reads it.
    pub fn to_text(&self) -> String {
        let mut out = format!(
            "{} with {}, {}: {} found",
            plural(self.entities, "entity").replace("entitys", "entities"),
            plural(self.names, "name"),
            plural(self.facts, "relation"),
            count(self.entities_found as u64)
        );
        for lost in &self.lost {
            let _ = write!(out, "\npassed over {} {}: {}", count(lost.count as u64), lost.what, lost.reason);
        }
        let _ = write!(out, "\ncandidates in {} of {}", count(self.matched as u64), plural(self.documents, "document"));
        let kinds = self.spans.iter().map(|(l, n)| ("span", l, n)).chain(self.relations.iter().map(|(l, n)| ("relation", l, n)));
        let width = kinds.clone().map(|(_, l, _)| l.chars().count()).max().unwrap_or(0).max(5);
        for (what, label, n) in kinds {
            let reviewed = self.precision.as_ref().and_then(|p| p.labels.get(label)).map(shown).unwrap_or_default();
            let _ = write!(out, "\n  {what:<8}  {label:<width$}  {n:>6}{reviewed}");
        }
        if let Some(precision) = &self.precision {
            for (what, p) in [("spans", &precision.spans), ("relations", &precision.relations)] {
                if p.reviewed > 0 {
                    let _ = write!(out, "\n{what}{}", shown(p));
                }
            }
            if precision.spans.reviewed + precision.relations.reviewed == 0 {
                let _ = write!(
                    out,
                    "\nnobody looked at any of them yet: `label annotate --task spans` shows them, then this says how many are right"
                );
            }
        }
        if let Some(store) = &self.store {
            let _ = write!(out, "\n{}", store.to_text());
        }
        out
    }
}

/// `, 18 of 20 reviewed are right: 0.900 [0.699, 0.972]`.
fn shown(p: &Precision) -> String {
    match (p.precision, p.low, p.high) {
        (Some(precision), Some(low), Some(high)) => {
            format!("  {} of {} reviewed are right: {precision:.3} [{low:.3}, {high:.3}]", p.right, p.reviewed)
        }
        _ => String::new(),
    }
}
