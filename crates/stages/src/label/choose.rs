//! Which documents are looked at next, for `label queue` and `label annotate`: by chance, by what machines said of them, or by a classifier
//! that learns from the labels so far.

use ::annotate::methods::active::{self, Pool, Strategy as Learned};
use ::annotate::queue::{self, Gather, Strategy as Stored, Waiting};
use ::annotate::{Current, Kind, Store, current};
use vectorize::ByClass;

use super::learn::{self, LeftOut};
use crate::environment::Environment;
use crate::error::{Result, StageError};
use crate::few::learner;
use crate::progress::Progress;
use crate::vectorize::choices::{FeatureChoice, LearnerChoice};

/// Documents that a classifier looks at; of more that wait so many are drawn.
const POOL: usize = 50_000;

/// How to choose.
#[derive(Debug, Clone, Default)]
pub struct Choosing {
    /// The strategy's name.
    pub strategy: String,
    /// How many.
    pub n: usize,
    /// Which of equals come first.
    pub seed: u64,
    /// Leave out what this annotator looked at, instead of what anybody did.
    pub annotator: Option<String>,
    /// What is asked of the documents; told from the labels in the store if not given.
    pub kind: Option<Kind>,
    /// Features of the strategies that learn.
    pub features: FeatureChoice,
    /// Their classifier.
    pub learner: LearnerChoice,
}

/// A document that was chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    /// Its number in the store.
    pub document: i64,
    /// What the strategy gives it: larger is more wanted. None where chance decided.
    pub score: Option<f64>,
    /// That in words.
    pub why: String,
    /// How unsure machines' labels in the store are of it.
    pub uncertainty: Option<f64>,
}

/// What was chosen, and how.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The documents, most wanted first.
    pub rows: Vec<Chosen>,
    /// What is asked of them.
    pub kind: Kind,
    /// Documents that wait for that.
    pub waiting: usize,
    /// The strategy that chose: another than the wanted one where that had nothing to learn from.
    pub used: String,
    /// Why it is another.
    pub reason: Option<String>,
    /// Labels that were learned from.
    pub learned_from: usize,
    /// Their classes.
    pub classes: Vec<String>,
    /// Documents that people labelled and the classifier did not learn from, with the reasons.
    pub left_out: Vec<LeftOut>,
}

enum Way {
    Stored(Stored),
    Learned(Learned),
}

/// The name of the strategy that stored machines' labels decide.
const UNCERTAINTY: &str = "uncertainty";

fn way(name: &str) -> Result<Way> {
    match name {
        "random" => Ok(Way::Stored(Stored::Random)),
        UNCERTAINTY => Ok(Way::Stored(Stored::Uncertainty)),
        name => name.parse().map(Way::Learned).map_err(|_| {
            let learned = active::STRATEGIES.iter().map(|(_, name)| *name).filter(|name| *name != "random");
            let names: Vec<&str> = ["random", UNCERTAINTY].into_iter().chain(learned).collect();
            StageError::input(format!("--strategy {name}: there is no such strategy; known: {}", names.join(", ")))
        }),
    }
}

/// Chooses among the documents that wait. `also` sees every document with what counts of it.
///
/// # Errors
/// An unknown strategy; one that needs machines' labels where there are none; features that make no sense.
pub(super) fn choose(
    environment: &Environment,
    store: &Store,
    choosing: &Choosing,
    progress: &mut dyn Progress,
    also: &mut dyn FnMut(&::annotate::Entry, &Current),
) -> Result<Choice> {
    let way = way(&choosing.strategy)?;
    let mut gather = Gather::new(choosing.seed, choosing.annotator.clone());
    let mut known = learn::Gather::default();
    store.each(&mut |entry| {
        let now = current(&entry.document.statements, &entry.actions);
        gather.add(&entry);
        if matches!(way, Way::Learned(_)) {
            known.add(&entry);
        }
        also(&entry, &now);
        Ok(())
    })?;
    let kind = choosing.kind.unwrap_or_else(|| gather.asked());
    let none = Choice {
        rows: Vec::new(),
        kind,
        waiting: 0,
        used: choosing.strategy.clone(),
        reason: None,
        learned_from: 0,
        classes: Vec::new(),
        left_out: Vec::new(),
    };
    match way {
        Way::Stored(strategy) => stored(gather, strategy, choosing, none),
        Way::Learned(strategy) => learned(environment, store, (gather, known.of_one_class()), strategy, choosing, none, progress),
    }
}

fn stored(gather: Gather, strategy: Stored, choosing: &Choosing, choice: Choice) -> Result<Choice> {
    let mut all = gather.choose(choice.kind, strategy, usize::MAX);
    let waiting = all.len();
    if strategy == Stored::Uncertainty && waiting > 0 && all.iter().all(|w| w.uncertainty.is_none()) {
        return Err(StageError::input_help(
            "--strategy uncertainty needs labels of machines with their confidence, and the store has none",
            "import predictions with `label import jsonl FILE --author-kind model` (rows with `document`, `label`, `confidence`), or choose --strategy random",
        ));
    }
    all.truncate(choosing.n);
    let one = |w: Waiting| {
        let (score, why) = match (strategy, w.uncertainty) {
            (queue::Strategy::Uncertainty, Some(u)) => (Some(u), format!("machines' labels are unsure by {u:.2}")),
            (queue::Strategy::Uncertainty, None) => (None, "no machine labelled it".to_owned()),
            (queue::Strategy::Random, _) => (None, DRAWN.to_owned()),
        };
        Chosen { document: w.document, score, why, uncertainty: w.uncertainty }
    };
    let rows = all.into_iter().map(one).collect();
    Ok(Choice { rows, waiting, ..choice })
}

const DRAWN: &str = "drawn by chance";

fn learned(
    environment: &Environment,
    store: &Store,
    (gather, known): (Gather, learn::Known),
    wanted: Learned,
    choosing: &Choosing,
    mut choice: Choice,
    progress: &mut dyn Progress,
) -> Result<Choice> {
    // In an order drawn from the seed, so that a pool of the first is a fair one.
    let mut waiting = gather.choose(choice.kind, Stored::Random, usize::MAX);
    choice.waiting = waiting.len();
    if waiting.len() > POOL {
        progress.note(&format!("pool   {POOL} of the {} documents that wait, drawn by chance", waiting.len()));
        waiting.truncate(POOL);
    }
    let mut strategy = wanted;
    // A classifier of classes knows nothing of where spans are doubtful.
    let known = if choice.kind == Kind::Class { known } else { learn::Known::default() };
    choice.classes.clone_from(&known.classes);
    if wanted != Learned::Cluster {
        choice.left_out.clone_from(&known.left_out);
    }
    if wanted != Learned::Cluster && known.classes.len() < 2 {
        let have = match (choice.kind, known.y.len(), known.others()) {
            (Kind::Spans | Kind::Texts, ..) => format!("a classifier of classes cannot tell which {} are in doubt", choice.kind.name()),
            (_, 0, 0) => "nobody labelled a document yet".to_owned(),
            (_, 0, n) => format!("none of the {n} documents that people labelled has just one class"),
            (_, n, _) => format!("all {n} labels are of one class"),
        };
        choice.reason = Some(format!("{have}: nothing to learn from, so rows near the centres of groups of similar texts (cold start)"));
        strategy = Learned::Cluster;
    }
    choice.used = strategy.to_string();
    if waiting.is_empty() {
        return Ok(choice);
    }
    let mut texts = known.texts;
    let labelled: Vec<(usize, u32)> = known.y.iter().copied().enumerate().collect();
    for row in &waiting {
        texts.push(store.entry(row.document)?.document.text);
    }
    let unlabelled: Vec<usize> = (labelled.len()..texts.len()).collect();
    let x = learn::features(environment, &choosing.features, &texts, progress)?;
    drop(texts);
    let groups = match strategy.wants_groups() {
        true => active::groups(&x, choosing.seed).ok(),
        false => None,
    };
    if strategy.wants_groups() && groups.is_none() {
        let note = "the texts have too little in common to be grouped";
        progress.warn(note);
        let reason = choice.reason.take().map_or_else(|| note.to_owned(), |reason| format!("{reason}; {note}: drawn by chance"));
        choice.reason = Some(reason);
    }
    let settings = learner(choosing.learner, &choosing.features);
    let learner = settings.learner();
    let model = match known.classes.len() {
        0 | 1 => None,
        classes => {
            let rows: Vec<usize> = (0..labelled.len()).collect();
            choice.learned_from = rows.len();
            Some(learner.fit(&x.select(&rows), &known.y, None, classes)?)
        }
    };
    let pool = Pool {
        x: &x,
        labelled: &labelled,
        unlabelled: &unlabelled,
        classes: known.classes.len(),
        groups: groups.as_ref(),
        seed: choosing.seed,
        // Another queue, after more labels, draws anew.
        round: labelled.len() as u64,
    };
    let ranked = active::ranked(strategy, &pool, learner, model.as_ref(), choosing.n.min(unlabelled.len()))?;
    let rows: Vec<usize> = ranked.iter().map(|(row, _)| *row).collect();
    let p = model.filter(|_| strategy != Learned::Cluster).map(|m| m.predict_proba(&x.select(&rows)));
    for (i, (row, score)) in ranked.into_iter().enumerate() {
        let of = &waiting[row - labelled.len()];
        let why = match (&p, score) {
            (Some(p), Some(_)) => said(strategy, p, i, &known.classes, score),
            (None, Some(score)) => format!("near the centre of a group of similar texts (cosine {score:.2})"),
            (_, None) => DRAWN.to_owned(),
        };
        choice.rows.push(Chosen { document: of.document, score, why, uncertainty: of.uncertainty });
    }
    Ok(choice)
}

/// A classifier's doubt in words.
fn said(strategy: Learned, p: &ByClass, row: usize, classes: &[String], score: Option<f64>) -> String {
    let p = p.row(row);
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[b].total_cmp(&p[a]));
    let likely: Vec<String> = order.iter().take(2).map(|&c| format!("{} {:.2}", classes[c], p[c])).collect();
    let likely = likely.join(", ");
    let score = score.unwrap_or_default();
    match strategy {
        Learned::Entropy => format!("{likely}; entropy {score:.2}"),
        Learned::Committee => format!("{likely}; divergence of the committee {score:.3}"),
        Learned::Density => format!("{likely}; doubt times likeness to the others {score:.3}"),
        Learned::ClusterMargin => format!("{likely}; first of its group"),
        Learned::Balanced => format!("{likely}; in turn with the other classes"),
        _ => likely,
    }
}
