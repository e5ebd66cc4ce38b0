//! The order in which rows are trained: a function of seed and epoch, so that a resumed run needs no memory of it.

use kernels::rng::Rng;

use crate::arguments::{SamplingStrategy, Steps, TrainingArguments};

/// Keeps this use of the seed apart from every other.
const DOMAIN: u64 = u64::from_be_bytes(*b"roworder");

/// Batches that are sorted by length together in `group_by_length`, at most (as in transformers).
const MEGA_BATCHES: usize = 50;

/// The batches of one epoch, each a list of row indices. `lengths` has the tokens of each row.
pub fn batches(arguments: &TrainingArguments, lengths: &[usize], epoch: u64) -> Vec<Vec<usize>> {
    let size = arguments.per_device_train_batch_size.max(1);
    let mut rng = Rng::keyed(arguments.data_seed.unwrap_or(arguments.seed), &[DOMAIN, epoch]);
    let mut rows: Vec<usize> = (0..lengths.len()).collect();
    if arguments.train_sampling_strategy != SamplingStrategy::Sequential {
        rng.shuffle(&mut rows);
    }
    let mut batches: Vec<Vec<usize>> = match arguments.train_sampling_strategy {
        SamplingStrategy::GroupByLength => {
            let groups = (rows.len() / (size * 4)).clamp(1, MEGA_BATCHES);
            for mega in rows.chunks_mut(size * groups) {
                mega.sort_by_key(|&row| std::cmp::Reverse(lengths[row]));
            }
            let mut batches: Vec<_> = rows.chunks(size).map(<[usize]>::to_vec).collect();
            // The short batch, if there is one, stays last: `dataloader_drop_last` must drop that one.
            let full = batches.iter().take_while(|batch| batch.len() == size).count();
            rng.shuffle(&mut batches[..full]);
            batches
        }
        _ => rows.chunks(size).map(<[usize]>::to_vec).collect(),
    };
    if arguments.dataloader_drop_last && batches.len() > 1 && batches.last().is_some_and(|batch| batch.len() < size) {
        batches.pop();
    }
    batches
}

/// Where in the data an optimizer step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The epoch, from 0.
    pub epoch: u64,
    /// The first batch of the step within the epoch.
    pub first: usize,
    /// The end of its batches.
    pub end: usize,
}

/// The batches of the step that follows `done` finished steps. A step never crosses the end of an epoch.
pub fn place(arguments: &TrainingArguments, steps: &Steps, done: u64) -> Place {
    let group = arguments.gradient_accumulation_steps.max(1) as u64;
    let (epoch, step) = (done / steps.per_epoch, done % steps.per_epoch);
    let first = step * group;
    Place { epoch, first: first as usize, end: (first + group).min(steps.batches_per_epoch) as usize }
}

/// Epochs passed after `done` steps and `batches` more batches, as a fraction.
pub fn epochs(arguments: &TrainingArguments, steps: &Steps, done: u64, batches: u64) -> f64 {
    let place = place(arguments, steps, done);
    place.epoch as f64 + (place.first as u64 + batches) as f64 / steps.batches_per_epoch as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Amount;

    fn arguments(batch: usize, accumulation: usize) -> TrainingArguments {
        TrainingArguments { per_device_train_batch_size: batch, gradient_accumulation_steps: accumulation, ..Default::default() }
    }

    fn sorted(batches: &[Vec<usize>]) -> Vec<usize> {
        let mut rows: Vec<usize> = batches.iter().flatten().copied().collect();
        rows.sort();
        rows
    }

    #[test]
    fn every_epoch_has_every_row_once_in_its_own_order() {
        for strategy in [SamplingStrategy::Random, SamplingStrategy::Sequential, SamplingStrategy::GroupByLength] {
            let a = TrainingArguments { train_sampling_strategy: strategy, ..arguments(4, 1) };
            let lengths: Vec<usize> = (0..103).map(|i| i * 7 % 31 + 1).collect();
            let (first, second) = (batches(&a, &lengths, 0), batches(&a, &lengths, 1));
            assert_eq!(sorted(&first), (0..103).collect::<Vec<_>>());
            assert_eq!(sorted(&second), (0..103).collect::<Vec<_>>());
            assert_eq!(first, batches(&a, &lengths, 0));
            assert_eq!(first == second, strategy == SamplingStrategy::Sequential);
            assert_eq!(first.last().map(Vec::len), Some(3));
        }
    }

    #[test]
    fn the_order_does_not_depend_on_the_batch_size() {
        let lengths = vec![1; 40];
        let flat = |batch| batches(&arguments(batch, 1), &lengths, 3).concat();
        assert_eq!(flat(1), flat(8));
        let other = TrainingArguments { data_seed: Some(7), ..arguments(8, 1) };
        assert_ne!(flat(8), batches(&other, &lengths, 3).concat());
    }

    #[test]
    fn rows_of_like_length_meet() {
        let a = TrainingArguments { train_sampling_strategy: SamplingStrategy::GroupByLength, ..arguments(4, 1) };
        let lengths: Vec<usize> = (0..64).map(|i| i * 37 % 64).collect();
        let spread = |b: &Vec<usize>| {
            let l: Vec<usize> = b.iter().map(|&r| lengths[r]).collect();
            l.iter().max().unwrap_or(&0) - l.iter().min().unwrap_or(&0)
        };
        let grouped: usize = batches(&a, &lengths, 0).iter().map(spread).sum();
        let random: usize = batches(&arguments(4, 1), &lengths, 0).iter().map(spread).sum();
        assert!(grouped * 2 < random, "{grouped} against {random}");
    }

    #[test]
    fn the_tail_of_an_epoch_is_a_step_of_its_own() {
        // 21 rows, 2 a batch: 11 batches; groups of 3: 3 3 3 2.
        let a = TrainingArguments { num_train_epochs: 5.0, warmup_steps: Amount(0.1), ..arguments(2, 3) };
        let steps = a.steps_for(21);
        assert_eq!((steps.batches_per_epoch, steps.per_epoch, steps.total, steps.warmup), (11, 4, 20, 2));
        assert_eq!(place(&a, &steps, 3), Place { epoch: 0, first: 9, end: 11 });
        assert_eq!(place(&a, &steps, 4), Place { epoch: 1, first: 0, end: 3 });
        assert_eq!(epochs(&a, &steps, 4, 0), 1.0);
        assert_eq!(epochs(&a, &steps, 20, 0), 5.0);
        let dropping = TrainingArguments { dataloader_drop_last: true, ..a };
        assert_eq!(dropping.steps_for(21).batches_per_epoch, 10);
        assert_eq!(batches(&dropping, &[1; 21], 0).len(), 10);
        assert_eq!(dropping.steps_for(1).total, 5, "one short batch is better than none");
        assert_eq!(batches(&dropping, &[1; 1], 0).len(), 1);
    }

    #[test]
    fn fractions_of_epochs_and_of_steps() {
        let a = TrainingArguments { num_train_epochs: 0.5, save_steps: Amount(0.25), ..arguments(1, 1) };
        let steps = a.steps_for(25);
        assert_eq!((steps.total, steps.save), (13, 4));
        let b = TrainingArguments { max_steps: 7, ..a };
        assert_eq!(b.steps_for(25).total, 7);
    }
}
