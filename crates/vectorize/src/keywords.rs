//! The terms that tell a text (or a group of texts) from the others.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::error::Result;
use crate::features::Features;
use crate::terms::{TermSettings, TermVectorizer, Terms, Weighting};

/// A term with its weight.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Keyword {
    /// The term.
    pub term: String,
    /// TF-IDF.
    pub weight: f64,
}

/// The `n` heaviest terms of a row, heaviest first; of equals the alphabetically first.
fn heaviest(terms: &Terms, x: &Features, row: usize, n: usize) -> Vec<Keyword> {
    let mut entries: Vec<(u32, f64)> = x.entries(row).collect();
    entries.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    entries.truncate(n);
    entries.into_iter().map(|(c, weight)| Keyword { term: terms.get(c as usize).to_owned(), weight }).collect()
}

/// Keywords of every text by TF-IDF among all.
///
/// # Errors
/// Settings that make no sense, texts without a term.
pub fn of_texts<T: AsRef<str> + Sync>(settings: &TermSettings, texts: &[T], n: usize) -> Result<Vec<Vec<Keyword>>> {
    let (vectorizer, x) = TermVectorizer::fit_transform(settings, texts)?;
    Ok((0..x.rows()).map(|i| heaviest(vectorizer.terms(), &x, i, n)).collect())
}

/// Keywords of every group: the texts of a group count as one, and a term weighs `tf·ln(1 + mean words of a group / frequency in all)`
/// (class-based TF-IDF, Grootendorst 2022).
///
/// # Errors
/// Settings that make no sense, texts without a term.
pub fn of_groups<T: AsRef<str> + Sync>(
    settings: &TermSettings,
    texts: &[T],
    groups: &[String],
    n: usize,
) -> Result<Vec<(String, Vec<Keyword>)>> {
    let counts = TermSettings { weighting: Weighting::counts(), ..settings.clone() };
    let (vectorizer, x) = TermVectorizer::fit_transform(&counts, texts)?;
    let columns = vectorizer.terms().len();
    let mut sums: BTreeMap<&str, BTreeMap<u32, f64>> = BTreeMap::new();
    let mut all = vec![0.0; columns];
    for (i, group) in groups.iter().enumerate() {
        let sum = sums.entry(group).or_default();
        for (c, v) in x.entries(i) {
            *sum.entry(c).or_insert(0.0) += v;
            all[c as usize] += v;
        }
    }
    let mean = all.iter().sum::<f64>() / sums.len().max(1) as f64;
    let mut weighted = Features::new(columns);
    for sum in sums.values() {
        let words: f64 = sum.values().sum();
        weighted.push(sum.iter().map(|(&c, v)| (c, v / words * (1.0 + mean / all[c as usize]).ln())));
    }
    Ok(sums.keys().enumerate().map(|(i, g)| ((*g).to_owned(), heaviest(vectorizer.terms(), &weighted, i, n))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_one_text_says_is_its_keyword() {
        let texts = ["the film the cast", "the 合同 违约金 the 违约金", "the film"];
        let found = of_texts(&TermSettings::default(), &texts, 1).unwrap();
        assert_eq!(found.iter().map(|k| k[0].term.as_str()).collect::<Vec<_>>(), ["the", "违约金", "film"]);
        let groups = ["a", "b", "a"].map(str::to_owned);
        let found = of_groups(&TermSettings::default(), &texts, &groups, 1).unwrap();
        assert_eq!(found[1].1[0].term, "违约金");
    }
}
