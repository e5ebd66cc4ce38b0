//! Bag of words, TF-IDF and hashing, with scikit-learn's parameters and numbers (`CountVectorizer`, `TfidfTransformer`,
//! `HashingVectorizer`).

mod count;
mod hashing;
mod intern;
mod keys;

use std::cmp::Reverse;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::analyze::{Analyzer, AnalyzerSettings, Scratch};
use crate::error::{Result, VectorizeError};
use crate::features::{Features, Norm};
pub use hashing::{HashingSettings, hash};
pub(crate) use intern::Interner;

/// A document frequency: a number of documents, or a share of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Frequency {
    /// A number of documents.
    Count(usize),
    /// A share of the documents, 0 to 1.
    Share(f64),
}

impl std::str::FromStr for Frequency {
    type Err = String;

    /// As Python distinguishes them: `1` is a number, `1.0` a share.
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if let Ok(count) = text.parse() {
            return Ok(Frequency::Count(count));
        }
        match text.parse::<f64>() {
            Ok(share) if (0.0..=1.0).contains(&share) => Ok(Frequency::Share(share)),
            _ => Err(format!("`{text}` is neither a number of documents (2) nor a share of them (0.01)")),
        }
    }
}

impl Frequency {
    fn of(self, documents: usize) -> f64 {
        match self {
            Frequency::Count(n) => n as f64,
            Frequency::Share(share) => share * documents as f64,
        }
    }
}

/// What a term counts for in a row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Weighting {
    /// Scale of a row.
    pub norm: Norm,
    /// Multiply by the inverse document frequency, `ln(n / df) + 1`.
    pub use_idf: bool,
    /// Count one more document that holds every term: `ln((1 + n) / (1 + df)) + 1`.
    pub smooth_idf: bool,
    /// `1 + ln(count)` instead of the count.
    pub sublinear_tf: bool,
}

impl Default for Weighting {
    /// scikit-learn's `TfidfVectorizer`.
    fn default() -> Self {
        Self { norm: Norm::L2, use_idf: true, smooth_idf: true, sublinear_tf: false }
    }
}

impl Weighting {
    /// Plain counts: scikit-learn's `CountVectorizer`.
    pub fn counts() -> Self {
        Self { norm: Norm::None, use_idf: false, smooth_idf: true, sublinear_tf: false }
    }
}

/// Settings of a vectoriser with a vocabulary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TermSettings {
    /// How texts become terms.
    pub analyzer: AnalyzerSettings,
    /// Leave out terms of fewer documents.
    pub min_df: Frequency,
    /// Leave out terms of more documents.
    pub max_df: Frequency,
    /// Keep only this many, the most frequent ones (of equals the alphabetically first).
    pub max_features: Option<usize>,
    /// Count a term once a document.
    pub binary: bool,
    /// What a term counts for.
    pub weighting: Weighting,
}

impl Default for TermSettings {
    fn default() -> Self {
        Self {
            analyzer: AnalyzerSettings::default(),
            min_df: Frequency::Count(1),
            max_df: Frequency::Share(1.0),
            max_features: None,
            binary: false,
            weighting: Weighting::default(),
        }
    }
}

/// Terms in alphabetical order (of code points, as Python sorts), one after the other in one string.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Terms {
    text: String,
    ends: Vec<usize>,
}

impl Terms {
    /// How many.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The term of a column.
    pub fn get(&self, column: usize) -> &str {
        let start = if column == 0 { 0 } else { self.ends[column - 1] };
        &self.text[start..self.ends[column]]
    }

    /// All in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        (0..self.len()).map(|i| self.get(i))
    }

    pub(crate) fn push(&mut self, parts: &[&str]) {
        for (i, part) in parts.iter().enumerate() {
            if i > 0 {
                self.text.push(' ');
            }
            self.text.push_str(part);
        }
        self.ends.push(self.text.len());
    }
}

impl<'a> FromIterator<&'a str> for Terms {
    fn from_iter<I: IntoIterator<Item = &'a str>>(iter: I) -> Self {
        let mut out = Terms::default();
        iter.into_iter().for_each(|t| out.push(&[t]));
        out
    }
}

/// Term counts of documents, before any weighting.
pub(crate) struct Counted {
    pub terms: Terms,
    /// Documents that hold each term.
    pub document_frequency: Vec<u32>,
    pub counts: Features,
}

/// A fitted vectoriser: texts in, rows of term weights out.
pub struct TermVectorizer {
    analyzer: Analyzer,
    settings: TermSettings,
    terms: Terms,
    idf: Vec<f64>,
    index: Interner,
}

impl std::fmt::Debug for TermVectorizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TermVectorizer").field("settings", &self.settings).field("terms", &self.terms.len()).finish_non_exhaustive()
    }
}

impl TermVectorizer {
    /// Learns vocabulary and document frequencies, and gives the texts' rows.
    ///
    /// # Errors
    /// A setting that makes no sense; texts that leave no term.
    pub fn fit_transform<T: AsRef<str> + Sync>(settings: &TermSettings, texts: &[T]) -> Result<(Self, Features)> {
        let analyzer = Analyzer::new(&settings.analyzer)?;
        let counted = count::count(&analyzer, settings, texts)?;
        let n = texts.len() as f64;
        let idf = if settings.weighting.use_idf {
            let extra = f64::from(u8::from(settings.weighting.smooth_idf));
            counted.document_frequency.iter().map(|&df| ((n + extra) / (f64::from(df) + extra)).ln() + 1.0).collect()
        } else {
            Vec::new()
        };
        let Counted { terms, mut counts, .. } = counted;
        let this = Self::from_parts(settings.clone(), analyzer, terms, idf);
        this.weigh(&mut counts);
        Ok((this, counts))
    }

    /// From what was saved: settings, terms in order, and the inverse document frequency of each if they are used.
    ///
    /// # Errors
    /// Parts that do not fit together.
    pub fn from_saved(settings: TermSettings, terms: Terms, idf: Vec<f64>) -> Result<Self> {
        let wanted = if settings.weighting.use_idf { terms.len() } else { 0 };
        if idf.len() != wanted {
            return Err(VectorizeError::data(format!("{} inverse document frequencies for {} terms", idf.len(), terms.len())));
        }
        let analyzer = Analyzer::new(&settings.analyzer)?;
        Ok(Self::from_parts(settings, analyzer, terms, idf))
    }

    fn from_parts(settings: TermSettings, analyzer: Analyzer, terms: Terms, idf: Vec<f64>) -> Self {
        let index = Interner::of(terms.iter());
        Self { analyzer, settings, terms, idf, index }
    }

    /// Rows of other texts; terms that are not in the vocabulary count for nothing.
    pub fn transform<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Features {
        let parts = by_parts(texts, |texts| {
            let mut scratch = Scratch::default();
            let mut out = Features::new(self.terms.len());
            let mut found: Vec<u32> = Vec::new();
            for text in texts {
                found.clear();
                self.analyzer.terms(text.as_ref(), &mut scratch, &mut |t| found.extend(self.index.get(t.as_bytes())));
                found.sort_unstable();
                let once = self.settings.binary;
                out.push(found.chunk_by(|a, b| a == b).map(|run| (run[0], if once { 1.0 } else { run.len() as f64 })));
            }
            out
        });
        let mut out = stack(self.terms.len(), parts);
        self.weigh(&mut out);
        out
    }

    /// Counts become weights.
    fn weigh(&self, counts: &mut Features) {
        let Weighting { norm, sublinear_tf, .. } = self.settings.weighting;
        if norm == Norm::None && !sublinear_tf && self.idf.is_empty() {
            return;
        }
        // Nearly every count is small: its logarithm is looked up.
        let logs: Vec<f64> = (0..256).map(|n| 1.0 + f64::from(n.max(1)).ln()).collect();
        let (starts, indices, mut rest) = counts.values_mut();
        // Rows as disjoint slices, so that they can be scaled in parallel.
        let mut rows: Vec<(&[u32], &mut [f64])> = Vec::with_capacity(starts.len());
        for pair in starts.windows(2) {
            let (row, after) = rest.split_at_mut(pair[1] - pair[0]);
            rows.push((&indices[pair[0]..pair[1]], row));
            rest = after;
        }
        rows.par_iter_mut().with_min_len(128).for_each(|(columns, row)| {
            if sublinear_tf {
                row.iter_mut().for_each(|v| *v = if *v < 256.0 { logs[*v as usize] } else { 1.0 + v.ln() });
            }
            if !self.idf.is_empty() {
                row.iter_mut().zip(columns.iter()).for_each(|(v, &c)| *v *= self.idf[c as usize]);
            }
            norm.apply(row);
        });
    }

    /// The vocabulary in the order of the columns.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Inverse document frequency of every column; empty if it is not used.
    pub fn idf(&self) -> &[f64] {
        &self.idf
    }

    /// How it was made.
    pub fn settings(&self) -> &TermSettings {
        &self.settings
    }

    /// The column of a term.
    pub fn column(&self, term: &str) -> Option<u32> {
        self.index.get(term.as_bytes())
    }
}

/// Works on contiguous parts of `texts` of about equal length, one a thread, and gives the results in order.
pub(crate) fn by_parts<T: AsRef<str> + Sync, R: Send>(texts: &[T], work: impl Fn(&[T]) -> R + Sync + Send) -> Vec<R> {
    let threads = rayon::current_num_threads();
    let total: usize = texts.iter().map(|t| t.as_ref().len() + 1).sum();
    let wanted = total / threads.max(1) + 1;
    let mut parts = Vec::with_capacity(threads);
    let (mut start, mut size) = (0, 0);
    for (i, text) in texts.iter().enumerate() {
        size += text.as_ref().len() + 1;
        if size >= wanted {
            parts.push(&texts[start..=i]);
            (start, size) = (i + 1, 0);
        }
    }
    if start < texts.len() {
        parts.push(&texts[start..]);
    }
    parts.into_par_iter().map(work).collect()
}

/// Rows of several parts, one after the other.
pub(crate) fn stack(columns: usize, parts: Vec<Features>) -> Features {
    let mut parts = parts.into_iter();
    let Some(first) = parts.next() else { return Features::new(columns) };
    let (mut starts, mut indices, mut values) = first.into_parts();
    for part in parts {
        let (more, i, v) = part.into_parts();
        let offset = indices.len();
        starts.extend(more[1..].iter().map(|s| s + offset));
        indices.extend(i);
        values.extend(v);
    }
    Features::from_parts(columns, starts, indices, values)
}

/// Which terms stay: between the two frequencies, and among the most frequent `max_features`. `document_frequency` and `total` are
/// by term in alphabetical order.
pub(crate) fn kept(
    settings: &TermSettings,
    documents: usize,
    document_frequency: &[u32],
    total: impl Fn(usize) -> u64,
) -> Result<Vec<u32>> {
    let (low, high) = (settings.min_df.of(documents), settings.max_df.of(documents));
    if high < low {
        return Err(VectorizeError::setting("max_df", "means fewer documents than min_df"));
    }
    let within = |df: u32| f64::from(df) >= low && f64::from(df) <= high;
    let mut kept: Vec<u32> = (0..document_frequency.len() as u32).filter(|&i| within(document_frequency[i as usize])).collect();
    if let Some(most) = settings.max_features.filter(|&most| most < kept.len()) {
        kept.sort_by_key(|&i| (Reverse(total(i as usize)), i));
        kept.truncate(most);
        kept.sort_unstable();
    }
    if kept.is_empty() {
        let reason = if document_frequency.is_empty() {
            "the texts hold no word: they are empty, or token_pattern and stop words leave nothing"
        } else {
            "no term is left: lower min_df, or raise max_df"
        };
        return Err(VectorizeError::data(reason));
    }
    Ok(kept)
}

/// A number that equal texts share.
pub fn hash_text(text: &str) -> u64 {
    intern::hash_bytes(text.as_bytes())
}
