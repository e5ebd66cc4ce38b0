//! What a classifier can learn from the store: documents with a class that people settled, as features and numbers.

use std::collections::BTreeMap;

use ::annotate::{Entry, Question, standings};
use vectorize::Features;

use crate::environment::Environment;
use crate::error::Result;
use crate::progress::Progress;
use crate::vectorize::choices::FeatureChoice;
use crate::vectorize::features::Source;

/// Documents with one class of a question each.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The question, where the classes are of a group.
    pub question: String,
    /// The documents' texts.
    pub texts: Vec<String>,
    /// Number of each one's class.
    pub y: Vec<u32>,
    /// Names of the classes, in the order of their numbers.
    pub classes: Vec<String>,
    /// Documents that people settled and a classifier of one class cannot learn from: several classes, none, spans only.
    pub others: usize,
}

/// Gathers such documents.
#[derive(Debug, Default)]
pub(super) struct Gather {
    settled: usize,
    questions: BTreeMap<String, Vec<(String, String)>>,
}

impl Gather {
    /// Takes in a document: what people settled of its classes, whatever is said of the rest.
    pub fn add(&mut self, entry: &Entry) {
        let mut settled = false;
        for (question, standing) in standings(&entry.document.statements, &entry.actions) {
            if !standing.is_human() {
                continue;
            }
            settled = true;
            if let (Question::Class(group), [only]) = (question, &standing.labels[..]) {
                let class = only.class().unwrap_or_default().to_owned();
                self.questions.entry(group).or_default().push((entry.document.text.clone(), class));
            }
        }
        self.settled += usize::from(settled);
    }

    /// The question on which most is known; of equals the first by name.
    pub fn finish(self) -> Known {
        let best = self.questions.values().map(Vec::len).max().unwrap_or(0);
        let Some((question, rows)) = self.questions.into_iter().find(|(_, rows)| rows.len() == best) else {
            return Known { others: self.settled, ..Known::default() };
        };
        let mut classes: Vec<String> = rows.iter().map(|(_, class)| class.clone()).collect();
        classes.sort_unstable();
        classes.dedup();
        let number = |class: &String| classes.binary_search(class).unwrap_or_default() as u32;
        let y = rows.iter().map(|(_, class)| number(class)).collect();
        Known { question, others: self.settled - rows.len(), y, texts: rows.into_iter().map(|(text, _)| text).collect(), classes }
    }
}

/// Texts as features that are fitted on them.
///
/// # Errors
/// Settings that make no sense; texts that leave nothing to count; a model that cannot be read.
pub(super) fn features(
    environment: &Environment,
    choice: &FeatureChoice,
    texts: &[String],
    progress: &mut dyn Progress,
) -> Result<Features> {
    Ok(Source::open(environment, choice, texts, progress)?.fit(texts, progress)?.1)
}
