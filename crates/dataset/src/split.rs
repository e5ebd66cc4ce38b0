//! Which samples are trained on, which are held out, and in what order.
//!
//! Every choice ranks samples by SHA-256 of (purpose, seed, text hash) and never by their place in a file: the same rows in another
//! order, or in several files, give the same choice. Samples with equal texts rank equally and are moved together, so a text never
//! stands on both sides of the split, not even with two different labels.

use std::collections::BTreeMap;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::sample::Sample;
use crate::settings::DatasetSpec;

/// Samples divided.
#[derive(Debug, Clone)]
pub struct Split {
    /// To train on; in an order drawn from the seed unless `shuffle: false`.
    pub train: Vec<Sample>,
    /// Held out, in an order drawn from the seed unless `shuffle: false`.
    pub heldout: Vec<Sample>,
    /// Number of samples beyond `max_samples`.
    pub unused: usize,
    /// Texts that are there more than once.
    pub duplicates: Duplicates,
}

/// How much of the data says the same.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Duplicates {
    /// Number of different texts that are there more than once.
    pub texts: usize,
    /// Number of samples that have one of these texts.
    pub samples: usize,
    /// Number of texts that are there with different answers.
    pub contradictory: usize,
}

/// Takes at most `max_samples` of the samples and divides them by `val_size`, each with the same share of every class.
///
/// # Errors
/// If the held-out rows would leave nothing to train on.
pub fn split(samples: Vec<Sample>, spec: &DatasetSpec, seed: u64) -> Result<Split, Error> {
    let duplicates = duplicates(&samples);
    let total = samples.len();
    let chosen = match spec.max_samples {
        Some(max) if max < total => choose(&samples, max, seed),
        _ => (0..total).collect(),
    };
    let unused = total - chosen.len();
    let rows = spec.val_size.rows(chosen.len()).map_err(|reason| Error::Setting { field: "val_size".into(), reason })?;
    let (mut train, mut heldout) = divide(&samples, &chosen, rows, seed);
    if train.is_empty() && !heldout.is_empty() {
        let reason = format!("{} would hold out every one of {} rows", spec.val_size, chosen.len());
        return Err(Error::Setting { field: "val_size".into(), reason });
    }
    if spec.shuffle {
        by_rank(&samples, &mut train, "order", seed);
        by_rank(&samples, &mut heldout, "order", seed);
    } else {
        train.sort_unstable();
        heldout.sort_unstable();
    }
    let mut samples: Vec<Option<Sample>> = samples.into_iter().map(Some).collect();
    // Each index is there once: `divide` partitions `chosen`.
    let mut take = |indices: Vec<usize>| indices.into_iter().filter_map(|i| samples[i].take()).collect();
    Ok(Split { train: take(train), heldout: take(heldout), unused, duplicates })
}

/// `max` samples, each class with its share, lowest rank first.
fn choose(samples: &[Sample], max: usize, seed: u64) -> Vec<usize> {
    let mut classes: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (i, sample) in samples.iter().enumerate() {
        classes.entry(sample.label().unwrap_or_default()).or_default().push(i);
    }
    let sizes: Vec<usize> = classes.values().map(Vec::len).collect();
    let mut chosen = Vec::with_capacity(max);
    for (mut members, quota) in classes.into_values().zip(apportion(&sizes, max)) {
        by_rank(samples, &mut members, "select", seed);
        chosen.extend_from_slice(&members[..quota]);
    }
    chosen.sort_unstable();
    chosen
}

/// Divides `chosen` into those to train on and about `rows` held out, whole texts at a time.
fn divide(samples: &[Sample], chosen: &[usize], rows: usize, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let mut texts: BTreeMap<[u8; 32], Vec<usize>> = BTreeMap::new();
    for &i in chosen {
        texts.entry(samples[i].text_hash).or_default().push(i);
    }
    // A text's class is the first of its labels: a contradictory text must go somewhere, as a whole.
    let mut classes: BTreeMap<&str, Vec<Vec<usize>>> = BTreeMap::new();
    for members in texts.into_values() {
        let class = members.iter().map(|&i| samples[i].label().unwrap_or_default()).min().unwrap_or_default();
        classes.entry(class).or_default().push(members);
    }
    let sizes: Vec<usize> = classes.values().map(|texts| texts.iter().map(Vec::len).sum()).collect();
    let (mut train, mut heldout) = (Vec::new(), Vec::new());
    for (mut texts, quota) in classes.into_values().zip(apportion(&sizes, rows)) {
        texts.sort_by_cached_key(|members| rank("split", seed, &samples[members[0]].text_hash));
        let mut held = 0;
        for members in texts {
            // A text that is there too often to fit is passed over; the next that fits takes its place.
            if held + members.len() <= quota {
                held += members.len();
                heldout.extend(members);
            } else {
                train.extend(members);
            }
        }
    }
    (train, heldout)
}

/// Shares `total` among groups in proportion to their sizes (largest remainder; the first group wins a tie). The shares add up to
/// `total` and none is larger than its group, given that `total` is at most the sum of the sizes.
fn apportion(sizes: &[usize], total: usize) -> Vec<usize> {
    let sum: u128 = sizes.iter().map(|&n| n as u128).sum();
    if sum == 0 {
        return vec![0; sizes.len()];
    }
    let exact = |n: usize| n as u128 * total as u128;
    let mut shares: Vec<usize> = sizes.iter().map(|&n| (exact(n) / sum) as usize).collect();
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&i| (std::cmp::Reverse(exact(sizes[i]) % sum), i));
    let missing = total - shares.iter().sum::<usize>();
    order.into_iter().take(missing).for_each(|i| shares[i] += 1);
    shares
}

/// Sorts by rank; equal texts by their answers, then by id, so that only truly equal samples keep the order they came in.
fn by_rank(samples: &[Sample], indices: &mut [usize], purpose: &str, seed: u64) {
    indices.sort_by_cached_key(|&i| {
        let sample = &samples[i];
        (rank(purpose, seed, &sample.text_hash), sample.answer(), sample.id.clone())
    });
}

fn rank(purpose: &str, seed: u64, text_hash: &[u8; 32]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(purpose.as_bytes());
    hash.update(seed.to_le_bytes());
    hash.update(text_hash);
    hash.finalize().into()
}

fn duplicates(samples: &[Sample]) -> Duplicates {
    let mut texts: BTreeMap<[u8; 32], (usize, Option<String>, bool)> = BTreeMap::new();
    for sample in samples {
        texts
            .entry(sample.text_hash)
            .and_modify(|(n, answer, differ)| {
                *n += 1;
                *differ |= *answer != sample.answer();
            })
            .or_insert_with(|| (1, sample.answer(), false));
    }
    let repeated = texts.values().filter(|(n, _, _)| *n > 1);
    repeated.fold(Duplicates::default(), |sum, (n, _, differ)| Duplicates {
        texts: sum.texts + 1,
        samples: sum.samples + n,
        contradictory: sum.contradictory + usize::from(*differ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Origin, SampleKind};
    use crate::settings::ValSize;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn sample(line: usize, text: &str, label: &str) -> Sample {
        let kind = SampleKind::Classify { fields: BTreeMap::from([("text".into(), text.into())]), label: Some(label.into()) };
        Sample::new(format!("f:{line}"), Origin { file: "f".into(), line }, kind)
    }

    fn spec(max_samples: Option<usize>, val_size: ValSize) -> DatasetSpec {
        DatasetSpec { max_samples, val_size, ..DatasetSpec::new(vec![]) }
    }

    fn numbered(n: usize, positive: usize) -> Vec<Sample> {
        (0..n).map(|i| sample(i, &format!("第{i}行 row {i}"), if i < positive { "好" } else { "差" })).collect()
    }

    fn texts(samples: &[Sample]) -> Vec<String> {
        samples.iter().map(Sample::text).collect()
    }

    fn count(samples: &[Sample], label: &str) -> usize {
        samples.iter().filter(|s| s.label() == Some(label)).count()
    }

    #[test]
    fn every_class_keeps_its_share() {
        let parts = split(numbered(1000, 250), &spec(Some(400), ValSize::Share(0.1)), 42).unwrap();
        assert_eq!((parts.train.len(), parts.heldout.len(), parts.unused), (360, 40, 600));
        assert_eq!((count(&parts.train, "好"), count(&parts.heldout, "好")), (90, 10));
    }

    #[test]
    fn the_seed_decides_and_the_order_of_the_file_does_not() {
        let spec = spec(Some(60), ValSize::Rows(10));
        let parts = split(numbered(100, 50), &spec, 1).unwrap();
        let mut reversed = numbered(100, 50);
        reversed.reverse();
        let again = split(reversed, &spec, 1).unwrap();
        assert_eq!((texts(&parts.train), texts(&parts.heldout)), (texts(&again.train), texts(&again.heldout)));
        let other = split(numbered(100, 50), &spec, 2).unwrap();
        assert_ne!(texts(&parts.heldout), texts(&other.heldout));
        assert_ne!(texts(&parts.train)[..10], texts(&numbered(10, 50))[..]);
    }

    #[test]
    fn without_shuffling_rows_keep_the_order_of_the_file() {
        let parts = split(numbered(20, 10), &DatasetSpec { shuffle: false, ..spec(None, ValSize::Rows(4)) }, 1).unwrap();
        assert!(parts.train.windows(2).all(|w| w[0].origin.line < w[1].origin.line));
    }

    #[test]
    fn duplicates_are_counted_and_contradictions_told() {
        let rows = vec![sample(1, "a", "x"), sample(2, "a", "y"), sample(3, "b", "x"), sample(4, "b", "x"), sample(5, "c", "x")];
        assert_eq!(duplicates(&rows), Duplicates { texts: 2, samples: 4, contradictory: 1 });
    }

    #[test]
    fn holding_everything_out_is_refused() {
        assert!(split(numbered(5, 2), &spec(None, ValSize::Rows(5)), 1).unwrap_err().to_string().contains("leave none to train on"));
        assert_eq!(split(numbered(1, 1), &spec(None, ValSize::default()), 1).unwrap().train.len(), 1);
    }

    proptest! {
        #[test]
        fn a_split_is_a_partition_that_no_text_straddles(
            rows in prop::collection::vec((0u8..12, 0u8..3), 2..60), held in 0usize..20, max in 1usize..60, seed: u64, turn in 0usize..60,
        ) {
            let samples: Vec<Sample> = rows.iter().enumerate().map(|(i, (t, l))| sample(i, &format!("t{t}"), &format!("l{l}"))).collect();
            let spec = spec(Some(max), ValSize::Rows(held));
            let Ok(parts) = split(samples.clone(), &spec, seed) else { return Ok(()); };
            prop_assert_eq!(parts.train.len() + parts.heldout.len(), max.min(rows.len()));
            prop_assert!(parts.heldout.len() <= held);
            let ids: BTreeSet<_> = parts.train.iter().chain(&parts.heldout).map(|s| s.id.clone()).collect();
            prop_assert_eq!(ids.len(), max.min(rows.len()));
            let train: BTreeSet<_> = texts(&parts.train).into_iter().collect();
            prop_assert!(texts(&parts.heldout).iter().all(|t| !train.contains(t)));
            // The same rows in another order of the file.
            let mut turned = samples;
            let by = turn % turned.len();
            turned.rotate_left(by);
            let again = split(turned, &spec, seed).unwrap();
            prop_assert_eq!(texts(&parts.train), texts(&again.train));
            prop_assert_eq!(texts(&parts.heldout), texts(&again.heldout));
        }

        #[test]
        fn shares_add_up_and_fit(sizes in prop::collection::vec(0usize..50, 1..8), part in 0.0f64..=1.0) {
            let sum: usize = sizes.iter().sum();
            let total = (part * sum as f64) as usize;
            let shares = apportion(&sizes, total);
            prop_assert_eq!(shares.iter().sum::<usize>(), total);
            prop_assert!(shares.iter().zip(&sizes).all(|(share, size)| share <= size));
        }
    }
}
