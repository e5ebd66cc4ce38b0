//! Which labelled rows are trained on, watched and measured on: whole documents at a time, classes in proportion.
//!
//! Rows of one file, and rows with equal texts, stand on one side: what is measured was not seen. Groups are placed in the order of
//! their hashes with the seed, each where its classes are missing most, so the order of the store does not matter. Val and test take
//! labels of people only: a machine's labels go to train, or nowhere if their document is held out.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

/// A labelled document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its number in the store.
    pub document: i64,
    /// Hash of its text.
    pub text_hash: [u8; 32],
    /// The file that it was cut from, if it was.
    pub file: Option<String>,
    /// Its (first) class; empty if it has spans only.
    pub class: String,
    /// Whether people settled its labels.
    pub human: bool,
}

/// Where a row goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// To train on.
    Train,
    /// To watch the training.
    Val,
    /// To measure on.
    Test,
    /// Nowhere.
    LeftOut,
}

/// Rows to be divided.
#[derive(Debug, Clone, Default)]
pub struct Split {
    rows: Vec<Row>,
}

impl Split {
    /// Takes in a row.
    pub fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// The part of each row, by the document's number. `shares` of train, val and test are brought to a sum of 1.
    ///
    /// # Errors
    /// If a share is negative or not a number, or all are 0.
    pub fn divide(&self, shares: [f64; 3], seed: u64) -> Result<BTreeMap<i64, Part>, String> {
        let sum: f64 = shares.iter().sum();
        if shares.iter().any(|s| !s.is_finite() || *s < 0.0) || sum <= 0.0 {
            return Err(format!("--split {shares:?}: needs three shares that are not negative, such as .8,.1,.1"));
        }
        let shares = shares.map(|s| s / sum);
        let groups = self.groups(seed);
        let mut missing: BTreeMap<&str, [f64; 3]> = BTreeMap::new();
        let mut missing_in_all = [0.0; 3];
        for row in self.rows.iter().filter(|r| r.human) {
            for p in 0..3 {
                missing.entry(&row.class).or_default()[p] += shares[p];
                missing_in_all[p] += shares[p];
            }
        }
        let mut parts = BTreeMap::new();
        for group in groups {
            let human: Vec<&Row> = group.iter().map(|&i| &self.rows[i]).filter(|r| r.human).collect();
            // Where this group's classes are missing most, compared with what is wanted there; the whole decides between equals.
            let need = |p: usize| -> (f64, f64) {
                let of_classes: f64 = human.iter().map(|r| missing.get(r.class.as_str()).map_or(0.0, |m| m[p])).sum();
                (of_classes / human.len().max(1) as f64, missing_in_all[p])
            };
            let fits = |p: usize| p == 0 || missing_in_all[p] + 0.5 >= human.len() as f64;
            let mut best = 0;
            for p in 1..3 {
                let better = need(p).0 > need(best).0 + 1e-9 || (need(p).0 > need(best).0 - 1e-9 && need(p).1 > need(best).1 + 1e-9);
                if !human.is_empty() && shares[p] > 0.0 && fits(p) && (better || shares[best] == 0.0) {
                    best = p;
                }
            }
            for row in &human {
                missing_in_all[best] -= 1.0;
                if let Some(class) = missing.get_mut(row.class.as_str()) {
                    class[best] -= 1.0;
                }
            }
            let part = [Part::Train, Part::Val, Part::Test][best];
            for &i in &group {
                let row = &self.rows[i];
                parts.insert(row.document, if row.human || part == Part::Train { part } else { Part::LeftOut });
            }
        }
        Ok(parts)
    }

    /// Rows that must stay together, in an order drawn from the seed.
    fn groups(&self, seed: u64) -> Vec<Vec<usize>> {
        let mut leader: Vec<usize> = (0..self.rows.len()).collect();
        fn find(leader: &mut [usize], mut i: usize) -> usize {
            while leader[i] != i {
                leader[i] = leader[leader[i]];
                i = leader[i];
            }
            i
        }
        let mut texts: BTreeMap<[u8; 32], usize> = BTreeMap::new();
        let mut files: BTreeMap<&str, usize> = BTreeMap::new();
        for (i, row) in self.rows.iter().enumerate() {
            let same_text = *texts.entry(row.text_hash).or_insert(i);
            let same_file = row.file.as_deref().map_or(i, |file| *files.entry(file).or_insert(i));
            for other in [same_text, same_file] {
                let (a, b) = (find(&mut leader, i), find(&mut leader, other));
                leader[a.max(b)] = a.min(b);
            }
        }
        let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for i in 0..self.rows.len() {
            groups.entry(find(&mut leader, i)).or_default().push(i);
        }
        let rank = |group: &[usize]| -> [u8; 32] {
            let texts: BTreeSet<&[u8; 32]> = group.iter().map(|&i| &self.rows[i].text_hash).collect();
            let mut hash = Sha256::new();
            hash.update(seed.to_le_bytes());
            texts.iter().for_each(|text| hash.update(text));
            hash.finalize().into()
        };
        let mut groups: Vec<Vec<usize>> = groups.into_values().collect();
        groups.sort_by_cached_key(|group| rank(group));
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(i: i64, text: u8, file: Option<&str>, class: &str, human: bool) -> Row {
        let hash = Sha256::digest([text, (i >> 8) as u8]).into();
        Row { document: i, text_hash: hash, file: file.map(str::to_owned), class: class.into(), human }
    }

    fn sizes(parts: &BTreeMap<i64, Part>) -> [usize; 4] {
        [Part::Train, Part::Val, Part::Test, Part::LeftOut].map(|p| parts.values().filter(|q| **q == p).count())
    }

    #[test]
    fn shares_hold_for_every_class_and_any_order() {
        let mut split = Split::default();
        for i in 0..200 {
            split.add(row(i, i as u8, None, if i % 4 == 0 { "rare" } else { "often" }, true));
        }
        let parts = split.divide([8.0, 1.0, 1.0], 1).unwrap();
        assert_eq!(sizes(&parts), [160, 20, 20, 0]);
        let rare = |part| (0..200).filter(|i| i % 4 == 0 && parts[i] == part).count();
        assert_eq!([rare(Part::Train), rare(Part::Val), rare(Part::Test)], [40, 5, 5]);
        split.rows.reverse();
        assert_eq!(split.divide([0.8, 0.1, 0.1], 1).unwrap(), parts);
        assert_ne!(split.divide([0.8, 0.1, 0.1], 2).unwrap(), parts);
    }

    #[test]
    fn held_out_rows_are_peoples_and_their_documents_are_not_trained_on() {
        let mut split = Split::default();
        for i in 0..100 {
            let file = format!("{}.pdf", i / 5);
            split.add(row(i, i as u8, Some(&file), "c", i % 5 != 0));
        }
        let parts = split.divide([0.6, 0.2, 0.2], 7).unwrap();
        for (document, part) in &parts {
            let beside =
                parts.iter().filter(|(d, p)| **d / 5 == document / 5 && **p != Part::LeftOut).map(|(_, p)| *p).collect::<BTreeSet<_>>();
            assert_eq!(beside.len(), 1, "a file lies on one side");
            assert!(*part == Part::Train || *part == Part::LeftOut || document % 5 != 0, "{document} is a machine's");
        }
        assert_eq!(sizes(&parts), [60, 16, 16, 8]);
    }

    #[test]
    fn machines_alone_give_no_test() {
        let mut split = Split::default();
        (0..10).for_each(|i| split.add(row(i, i as u8, None, "c", false)));
        assert_eq!(sizes(&split.divide([0.5, 0.25, 0.25], 0).unwrap()), [10, 0, 0, 0]);
        assert!(split.divide([0.0, 0.0, 0.0], 0).is_err() && split.divide([1.0, -1.0, 0.0], 0).is_err());
    }

    proptest! {
        #[test]
        fn equal_texts_are_never_parted(texts in prop::collection::vec((0u8..6, 0usize..4, any::<bool>()), 1..40), seed: u64) {
            let mut split = Split::default();
            for (i, (text, file, human)) in texts.iter().enumerate() {
                let file = ["a", "b", "c"].get(*file).copied();
                split.add(row(i as i64, *text, file, "c", *human));
            }
            let parts = split.divide([0.5, 0.25, 0.25], seed).unwrap();
            prop_assert_eq!(parts.len(), texts.len());
            for (i, a) in texts.iter().enumerate() {
                for (j, b) in texts.iter().enumerate() {
                    let (p, q) = (parts[&(i as i64)], parts[&(j as i64)]);
                    let together = a.0 == b.0 || a.1 == b.1 && a.1 < 3;
                    prop_assert!(!together || p == q || p == Part::LeftOut || q == Part::LeftOut);
                }
            }
        }
    }
}
