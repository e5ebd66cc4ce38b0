//! Counting terms fast: tokens become numbers in one pass over the text, n-grams are counted as numbers, and only what stays becomes
//! a string. Every thread has its own part of the texts; the result does not depend on how many there are, because columns are in
//! alphabetical order.

use rayon::prelude::*;

use super::intern::Interner;
use super::keys::{Key, Table};
use super::{Counted, TermSettings, Terms, by_parts, kept};
use crate::analyze::{Analyzer, Scratch};
use crate::error::{Result, VectorizeError};
use crate::features::Features;

/// Tokens of one part of the texts.
struct Part {
    words: Interner,
    /// Numbers of the tokens, document after document.
    tokens: Vec<u32>,
    /// Where each document ends.
    ends: Vec<usize>,
}

impl Part {
    fn documents(&self) -> impl Iterator<Item = &[u32]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let document = &self.tokens[start..end];
            start = end;
            document
        })
    }
}

/// Vocabulary and counts of `texts`.
pub(super) fn count<T: AsRef<str> + Sync>(analyzer: &Analyzer, settings: &TermSettings, texts: &[T]) -> Result<Counted> {
    let (low, high) = analyzer.joins();
    let bytes: usize = texts.iter().map(|t| t.as_ref().len()).sum();
    if texts.len() >= u32::MAX as usize || bytes >= u32::MAX as usize * 2 {
        return Err(VectorizeError::data("more text than one vocabulary can be made of (8 GB, 4 billion rows)"));
    }
    // Beyond four tokens a key would not fit: n-grams are then strings from the start.
    let as_strings = high > u128::MOST;
    let mut parts = read(analyzer, texts, as_strings);
    let mut words = rank(&mut parts);
    if high > 1 && !as_strings && words.iter().any(|w| w.bytes().any(|b| b <= b' ')) {
        // A token with a space in it (a pattern of the user's): joined strings may coincide.
        parts = read(analyzer, texts, true);
        words = rank(&mut parts);
        return finish_words(settings, texts.len(), &words, &parts);
    }
    match high {
        _ if as_strings => finish_words(settings, texts.len(), &words, &parts),
        1 => finish_words(settings, texts.len(), &words, &parts),
        2 => finish_keys::<u64>(settings, texts.len(), &words, &parts, (low, high)),
        _ => finish_keys::<u128>(settings, texts.len(), &words, &parts, (low, high)),
    }
}

/// Texts to numbers of tokens (or of whole terms).
fn read<T: AsRef<str> + Sync>(analyzer: &Analyzer, texts: &[T], whole_terms: bool) -> Vec<Part> {
    by_parts(texts, |texts| {
        let mut part = Part { words: Interner::default(), tokens: Vec::new(), ends: Vec::with_capacity(texts.len()) };
        let mut scratch = Scratch::default();
        for text in texts {
            let Part { words, tokens, .. } = &mut part;
            let mut each = |t: &str| tokens.push(words.intern(t.as_bytes()));
            if whole_terms {
                analyzer.terms(text.as_ref(), &mut scratch, &mut each);
            } else {
                analyzer.tokens(text.as_ref(), &mut scratch, &mut each);
            }
            part.ends.push(part.tokens.len());
        }
        part
    })
}

/// Makes every part's numbers the alphabetical ranks of the words; gives the words.
fn rank(parts: &mut [Part]) -> Vec<String> {
    let mut all: Vec<(u64, u32, u32)> = Vec::with_capacity(parts.iter().map(|p| p.words.len()).sum());
    for (p, part) in parts.iter().enumerate() {
        // The first eight bytes decide nearly every comparison.
        all.extend((0..part.words.len() as u32).map(|w| (prefix(part.words.get_bytes(w)), p as u32, w)));
    }
    let bytes = |e: &(u64, u32, u32)| parts[e.1 as usize].words.get_bytes(e.2);
    all.par_sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| bytes(a).cmp(bytes(b))).then(a.1.cmp(&b.1)));
    let mut ranks: Vec<Vec<u32>> = parts.iter().map(|p| vec![0; p.words.len()]).collect();
    let mut words: Vec<String> = Vec::with_capacity(all.len());
    for entry in &all {
        if words.last().is_none_or(|last| last.as_bytes() != bytes(entry)) {
            // Tokens are pieces of strings.
            words.push(String::from_utf8_lossy(bytes(entry)).into_owned());
        }
        ranks[entry.1 as usize][entry.2 as usize] = words.len() as u32 - 1;
    }
    parts.par_iter_mut().zip(&ranks).for_each(|(part, ranks)| {
        part.tokens.iter_mut().for_each(|t| *t = ranks[*t as usize]);
    });
    words
}

fn prefix(bytes: &[u8]) -> u64 {
    let mut first = [0u8; 8];
    let n = bytes.len().min(8);
    first[..n].copy_from_slice(&bytes[..n]);
    u64::from_be_bytes(first)
}

/// Counts of a part: (number of the term, times) document after document.
struct PartCounts {
    entries: Vec<(u32, u32)>,
    ends: Vec<usize>,
}

impl PartCounts {
    /// Rows of the terms that stay; `column` is `u32::MAX` for the others. Its order is that of the numbers' terms.
    fn rows(&self, columns: usize, column: &[u32], binary: bool) -> Features {
        let mut out =
            (Vec::with_capacity(self.ends.len() + 1), Vec::with_capacity(self.entries.len()), Vec::with_capacity(self.entries.len()));
        out.0.push(0);
        let mut start = 0;
        for &end in &self.ends {
            for &(number, times) in &self.entries[start..end] {
                let c = column[number as usize];
                if c != u32::MAX {
                    out.1.push(c);
                    out.2.push(if binary { 1.0 } else { f64::from(times) });
                }
            }
            start = end;
            out.0.push(out.1.len());
        }
        Features::from_parts(columns, out.0, out.1, out.2)
    }
}

/// Every word is a term.
fn finish_words(settings: &TermSettings, documents: usize, words: &[String], parts: &[Part]) -> Result<Counted> {
    let counted: Vec<(PartCounts, Vec<u32>)> = parts
        .par_iter()
        .map(|part| {
            let mut times = vec![0u32; words.len()];
            let mut frequency = vec![0u32; words.len()];
            let mut touched: Vec<u32> = Vec::new();
            let mut counts = PartCounts { entries: Vec::with_capacity(part.tokens.len()), ends: Vec::with_capacity(part.ends.len()) };
            for document in part.documents() {
                for &t in document {
                    if times[t as usize] == 0 {
                        touched.push(t);
                    }
                    times[t as usize] += 1;
                }
                touched.sort_unstable();
                for &t in &touched {
                    counts.entries.push((t, std::mem::take(&mut times[t as usize])));
                    frequency[t as usize] += 1;
                }
                touched.clear();
                counts.ends.push(counts.entries.len());
            }
            (counts, frequency)
        })
        .collect();
    let mut frequency = vec![0u32; words.len()];
    for (_, part) in &counted {
        frequency.iter_mut().zip(part).for_each(|(sum, f)| *sum += f);
    }
    let totals = totals(settings, words.len(), counted.iter().map(|(c, _)| (c, None)));
    let kept = kept(settings, documents, &frequency, |i| totals[i])?;
    let mut column = vec![u32::MAX; words.len()];
    kept.iter().enumerate().for_each(|(c, &i)| column[i as usize] = c as u32);
    let rows = counted.par_iter().map(|(c, _)| c.rows(kept.len(), &column, settings.binary)).collect();
    Ok(Counted {
        terms: kept.iter().map(|&i| words[i as usize].as_str()).collect(),
        document_frequency: kept.iter().map(|&i| frequency[i as usize]).collect(),
        counts: super::stack(kept.len(), rows),
    })
}

/// How often each term is there in all, if anybody asks. With `map`, the entries' numbers are translated through it.
fn totals<'a>(settings: &TermSettings, terms: usize, parts: impl Iterator<Item = (&'a PartCounts, Option<&'a [u32]>)>) -> Vec<u64> {
    let mut out = vec![0u64; terms];
    if settings.max_features.is_some() {
        for (part, map) in parts {
            for &(number, times) in &part.entries {
                out[map.map_or(number, |m| m[number as usize]) as usize] += if settings.binary { 1 } else { u64::from(times) };
            }
        }
    }
    out
}

/// Terms are runs of words.
fn finish_keys<K: Key>(
    settings: &TermSettings,
    documents: usize,
    words: &[String],
    parts: &[Part],
    (low, high): (usize, usize),
) -> Result<Counted> {
    let counted: Vec<(PartCounts, Table<K>)> = parts.par_iter().map(|part| keys_of(part, low, high)).collect();
    // All keys in order, each with the place in its part.
    let mut sorted: Vec<Vec<(K, u32)>> = counted.iter().map(|(_, table)| table.entries()).collect();
    sorted.iter_mut().for_each(|s| s.par_sort_unstable());
    let mut next = vec![0usize; sorted.len()];
    let mut frequency: Vec<u32> = Vec::new();
    let mut keys: Vec<K> = Vec::new();
    // Number in the part -> rank among all keys.
    let mut ranks: Vec<Vec<u32>> = counted.iter().map(|(_, t)| vec![0; t.documents.len()]).collect();
    loop {
        let heads = next.iter().zip(&sorted).filter_map(|(&n, s)| s.get(n).map(|e| e.0));
        let Some(smallest) = heads.min() else { break };
        let mut sum = 0;
        for (p, s) in sorted.iter().enumerate() {
            if let Some(&(key, number)) = s.get(next[p])
                && key == smallest
            {
                sum += counted[p].1.documents[number as usize];
                ranks[p][number as usize] = keys.len() as u32;
                next[p] += 1;
            }
        }
        keys.push(smallest);
        frequency.push(sum);
    }
    drop(sorted);
    let totals = totals(settings, keys.len(), counted.iter().zip(&ranks).map(|((c, _), r)| (c, Some(&r[..]))));
    let kept = kept(settings, documents, &frequency, |i| totals[i])?;
    let mut column = vec![u32::MAX; keys.len()];
    kept.iter().enumerate().for_each(|(c, &i)| column[i as usize] = c as u32);
    let rows: Vec<Features> = counted
        .par_iter()
        .zip(&mut ranks)
        .map(|((counts, _), ranks)| {
            ranks.iter_mut().for_each(|r| *r = column[*r as usize]);
            counts.rows(kept.len(), ranks, settings.binary)
        })
        .collect();
    let mut terms = Terms::default();
    let (mut tokens, mut pieces): (Vec<u32>, Vec<&str>) = (Vec::new(), Vec::new());
    for &i in &kept {
        keys[i as usize].ranks(&mut tokens);
        pieces.clear();
        pieces.extend(tokens.iter().map(|&t| words[t as usize].as_str()));
        terms.push(&pieces);
    }
    Ok(Counted { terms, document_frequency: kept.iter().map(|&i| frequency[i as usize]).collect(), counts: super::stack(kept.len(), rows) })
}

/// Counts of the n-grams of a part; a document's entries are in the order of their keys.
fn keys_of<K: Key>(part: &Part, low: usize, high: usize) -> (PartCounts, Table<K>) {
    let mut table = Table::with_capacity(part.tokens.len() / 4);
    let mut counts = PartCounts { entries: Vec::with_capacity(part.tokens.len()), ends: Vec::with_capacity(part.ends.len()) };
    let mut keys: Vec<K> = Vec::new();
    for document in part.documents() {
        keys.clear();
        for n in low..=high {
            keys.extend(document.windows(n).map(K::of));
        }
        keys.sort_unstable();
        counts.entries.extend(keys.chunk_by(|a, b| a == b).map(|run| (table.add(run[0]), run.len() as u32)));
        counts.ends.push(counts.entries.len());
    }
    (counts, table)
}

#[cfg(test)]
mod tests {
    use super::super::{Frequency, TermVectorizer, Weighting};
    use super::*;
    use crate::analyze::AnalyzerSettings;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn settings(range: (usize, usize)) -> TermSettings {
        TermSettings {
            analyzer: AnalyzerSettings { ngram_range: range, token_pattern: Some(r"(?u)\b\w+\b".into()), ..Default::default() },
            weighting: Weighting::counts(),
            ..Default::default()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Keys, strings and the plain definition agree, with every filter, on any number of threads.
        #[test]
        fn counts_are_those_of_a_map(
            texts in prop::collection::vec("[abc好 ]{0,24}", 1..40), low in 1usize..3, more in 0usize..5,
            min_df in 1usize..3, max_features in prop::option::of(1usize..8), binary: bool, threads in 1usize..4,
        ) {
            let settings = TermSettings { min_df: Frequency::Count(min_df), max_features, binary, ..settings((low, low + more)) };
            let analyzer = Analyzer::new(&settings.analyzer).unwrap();
            let documents: Vec<BTreeMap<String, u64>> = texts.iter().map(|t| {
                let mut map = BTreeMap::new();
                analyzer.terms(t, &mut Scratch::default(), &mut |t| *map.entry(t.to_owned()).or_insert(0) += 1);
                map
            }).collect();
            let mut all: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
            for (term, n) in documents.iter().flatten() {
                let entry = all.entry(term).or_default();
                entry.0 += 1;
                entry.1 += if binary { 1 } else { *n };
            }
            all.retain(|_, (df, _)| *df >= min_df);
            let mut order: Vec<&str> = all.keys().copied().collect();
            order.sort_by_key(|t| (std::cmp::Reverse(all[t].1), *t));
            let vocabulary: BTreeSet<&str> = order.into_iter().take(max_features.unwrap_or(usize::MAX)).collect();
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let got = pool.install(|| TermVectorizer::fit_transform(&settings, &texts));
            if vocabulary.is_empty() {
                prop_assert!(got.is_err());
            } else {
                let (vectorizer, rows) = got.unwrap();
                prop_assert_eq!(vectorizer.terms().iter().collect::<Vec<_>>(), vocabulary.into_iter().collect::<Vec<_>>());
                for (i, document) in documents.iter().enumerate() {
                    let want: Vec<(u32, f64)> = document.iter()
                        .filter_map(|(t, n)| vectorizer.column(t).map(|c| (c, if binary { 1.0 } else { *n as f64 }))).collect();
                    prop_assert_eq!(rows.entries(i).collect::<Vec<_>>(), want);
                }
                prop_assert_eq!(&vectorizer.transform(&texts), &rows);
            }
        }
    }

    #[test]
    fn a_token_with_a_space_joins_as_its_string() {
        let analyzer = AnalyzerSettings { token_pattern: Some("a b|[abc]".into()), ngram_range: (1, 2), ..Default::default() };
        let settings = TermSettings { analyzer, weighting: Weighting::counts(), ..Default::default() };
        let (vectorizer, rows) = TermVectorizer::fit_transform(&settings, &["a b", "a c b", "b"]).unwrap();
        assert_eq!(vectorizer.terms().iter().collect::<Vec<_>>(), ["a", "a b", "a c", "b", "c", "c b"]);
        assert_eq!(rows.entries(0).collect::<Vec<_>>(), [(1, 1.0)]);
    }
}
