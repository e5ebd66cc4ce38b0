//! What a classifier can learn from the store: documents whose class people settled, as features and numbers; and which documents teach it
//! nothing, and why.

use std::collections::BTreeMap;

use ::annotate::{Entry, Kind, Question, standings};
use serde::Serialize;
use vectorize::Features;

use crate::environment::Environment;
use crate::error::Result;
use crate::progress::Progress;
use crate::vectorize::choices::FeatureChoice;
use crate::vectorize::features::Source;

/// Documents with classes of a question each.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The question, where the classes are of a group.
    pub question: String,
    /// The documents' texts.
    pub texts: Vec<String>,
    /// Number of each one's class; where a document may have several, of their combination.
    pub y: Vec<u32>,
    /// Names of the classes, in the order of their numbers.
    pub classes: Vec<String>,
    /// Where a document may have several: of each document whether it has each class.
    pub sets: Option<Vec<Vec<bool>>>,
    /// Documents that people labelled and that teach nothing.
    pub left_out: Vec<LeftOut>,
}

/// Documents that people labelled and a classifier does not learn from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// How many.
    pub count: usize,
    /// Why.
    pub reason: String,
}

impl Known {
    /// Documents left out, whatever the reason.
    pub fn others(&self) -> usize {
        self.left_out.iter().map(|l| l.count).sum()
    }
}

/// What people said of one group of classes.
#[derive(Debug, Default)]
struct Group {
    /// Texts and their classes: one, several, none.
    rows: Vec<(String, Vec<String>)>,
    /// Documents in dispute.
    disputed: usize,
}

impl Group {
    fn with(&self, wanted: impl Fn(usize) -> bool) -> usize {
        self.rows.iter().filter(|(_, classes)| wanted(classes.len())).count()
    }

    /// Whether a document may have several classes: one in ten with a class has; fewer are slips.
    fn is_several(&self) -> bool {
        self.with(|n| n > 1) * 10 >= self.with(|n| n > 0).max(1)
    }
}

/// Gathers such documents.
#[derive(Debug, Default)]
pub(super) struct Gather {
    /// Documents that people labelled in any way.
    labelled: usize,
    /// Those of which nobody gave a class.
    classless: usize,
    /// Texts of those of which people said that nothing is there, whatever is asked.
    nothing: Vec<String>,
    groups: BTreeMap<String, Group>,
}

impl Gather {
    /// Takes in a document: what people settled of its classes, whatever is said of the rest.
    pub fn add(&mut self, entry: &Entry) {
        let standings = standings(&entry.document.statements, &entry.actions);
        let people: Vec<_> = standings.into_iter().filter(|(_, standing)| standing.people > 0).collect();
        self.labelled += usize::from(!people.is_empty());
        if !people.is_empty() && people.iter().all(|(question, _)| question.kind() != Kind::Class) {
            let silent = entry.document.statements.iter().filter(|s| s.author.kind.is_human()).all(|s| s.labels.is_empty());
            if silent { self.nothing.push(entry.document.text.clone()) } else { self.classless += 1 }
        }
        for (question, standing) in people {
            let Question::Class(name) = question else { continue };
            let group = self.groups.entry(name).or_default();
            if standing.tied {
                group.disputed += 1;
                continue;
            }
            let mut classes: Vec<String> = standing.labels.iter().filter_map(|l| l.class().map(str::to_owned)).collect();
            classes.sort_unstable();
            classes.dedup();
            group.rows.push((entry.document.text.clone(), classes));
        }
    }

    /// Documents with one class, of the question on which most is known; of equals the first by name.
    pub fn of_one_class(self) -> Known {
        self.finish(false)
    }

    /// As [`Gather::of_one_class`]; where documents have several classes, with all of them.
    pub fn of_any_classes(self) -> Known {
        self.finish(true)
    }

    fn finish(mut self, several: bool) -> Known {
        let size = |group: &Group| group.with(|n| n == 1 || several && n > 0);
        let best = self.groups.values().map(size).max().unwrap_or(0);
        let question = self.groups.iter().find(|(_, group)| size(group) == best).map(|(name, _)| name.clone());
        let mut group = question.as_ref().and_then(|name| self.groups.remove(name)).unwrap_or_default();
        // Where classes are asked "nothing here" is an answer, too.
        group.rows.extend(self.nothing.into_iter().map(|text| (text, Vec::new())));
        let several = several && group.is_several();
        let mut left_out = Vec::new();
        let mut leave = |count: usize, reason: String| {
            if count > 0 {
                left_out.push(LeftOut { count, reason });
            }
        };
        if !several {
            leave(group.with(|n| n > 1), "several classes: the classifier gives one class a document".into());
            leave(group.with(|n| n == 0), "no class: people found none that fits".into());
        }
        leave(group.disputed, "people disagree on the class".into());
        let others = self.labelled - self.classless - group.rows.len() - group.disputed;
        leave(others, "classes of another question alone".into());
        leave(self.classless, "spans or texts, and no class: the classifier learns classes".into());
        let question = question.unwrap_or_default();
        let rows: Vec<(String, Vec<String>)> = group.rows.into_iter().filter(|(_, classes)| several || classes.len() == 1).collect();
        let mut classes: Vec<String> = rows.iter().flat_map(|(_, classes)| classes.iter().cloned()).collect();
        classes.sort_unstable();
        classes.dedup();
        let mut kinds: Vec<&Vec<String>> = rows.iter().map(|(_, classes)| classes).collect();
        kinds.sort_unstable();
        kinds.dedup();
        // Of single classes the order of the combinations is that of the classes.
        let y = rows.iter().map(|(_, own)| kinds.binary_search(&own).unwrap_or_default() as u32).collect();
        let has = |own: &[String]| classes.iter().map(|class| own.contains(class)).collect();
        let sets = several.then(|| rows.iter().map(|(_, own)| has(own)).collect());
        Known { question, y, sets, left_out, texts: rows.into_iter().map(|(text, _)| text).collect(), classes }
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
