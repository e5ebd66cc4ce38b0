//! Cross-validation: rows divided into folds, each class evenly, and predictions for every row by a model that has not seen it.

use kernels::rng::Rng;

use super::Learner;
use crate::error::{Result, VectorizeError};
use crate::features::{ByClass, Features};

/// Keeps these draws apart from every other use of a seed ("fold").
const STREAM: u64 = 0x666f_6c64;

/// The fold (below `folds`) of every row: rows of a class are shuffled and dealt out in turn. Rows with equal `groups` go together
/// with the first of them (equal texts must not stand on both sides).
pub fn stratified(y: &[u32], groups: Option<&[u64]>, folds: usize, seed: u64) -> Vec<u32> {
    let mut order: Vec<usize> = (0..y.len()).collect();
    Rng::keyed(seed, &[STREAM, folds as u64]).shuffle(&mut order);
    // Stable: within a class the shuffled order stays.
    order.sort_by_key(|&i| y[i]);
    let mut out = vec![0u32; y.len()];
    order.iter().enumerate().for_each(|(place, &i)| out[i] = (place % folds.max(1)) as u32);
    if let Some(groups) = groups {
        let mut first = std::collections::HashMap::new();
        for (i, g) in groups.iter().enumerate() {
            out[i] = *first.entry(*g).or_insert(out[i]);
        }
    }
    out
}

/// Probabilities (and scores) of every row by the model that was fitted on the other folds.
pub struct OutOfFold {
    /// Probabilities.
    pub probabilities: ByClass,
    /// Scores, see [`super::Fitted::scores`].
    pub scores: ByClass,
}

/// Fits on all folds but one and predicts that one, for each fold.
///
/// # Errors
/// Too few rows; the learner's own.
pub fn out_of_fold(
    learner: &dyn Learner,
    x: &Features,
    y: &[u32],
    weights: Option<&[f64]>,
    classes: usize,
    fold_of: &[u32],
) -> Result<OutOfFold> {
    let folds = fold_of.iter().max().map_or(0, |&m| m as usize + 1);
    if folds < 2 {
        return Err(VectorizeError::data("too few rows to divide into folds"));
    }
    let mut out = OutOfFold { probabilities: ByClass::zeros(x.rows(), classes), scores: ByClass::zeros(x.rows(), classes) };
    for fold in 0..folds as u32 {
        let (inside, outside): (Vec<usize>, Vec<usize>) = (0..x.rows()).partition(|&i| fold_of[i] == fold);
        if inside.is_empty() {
            continue;
        }
        let chosen: Vec<u32> = outside.iter().map(|&i| y[i]).collect();
        let weights: Option<Vec<f64>> = weights.map(|w| outside.iter().map(|&i| w[i]).collect());
        let model = learner.fit(&x.select(&outside), &chosen, weights.as_deref(), classes)?;
        let rows = x.select(&inside);
        let (probabilities, scores) = (model.predict_proba(&rows), model.scores(&rows));
        for (at, &i) in inside.iter().enumerate() {
            out.probabilities.values[i * classes..(i + 1) * classes].copy_from_slice(probabilities.row(at));
            out.scores.values[i * classes..(i + 1) * classes].copy_from_slice(scores.row(at));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_hold_every_class_evenly_and_keep_groups_together() {
        let y: Vec<u32> = (0..100).map(|i| u32::from(i % 10 == 0)).collect();
        let folds = stratified(&y, None, 5, 1);
        for fold in 0..5 {
            let rows: Vec<usize> = (0..100).filter(|&i| folds[i] == fold).collect();
            assert_eq!((rows.len(), rows.iter().filter(|&&i| y[i] == 1).count()), (20, 2));
        }
        assert_eq!(folds, stratified(&y, None, 5, 1));
        assert_ne!(folds, stratified(&y, None, 5, 2));
        let groups: Vec<u64> = (0..100).map(|i| i / 4).collect();
        let together = stratified(&y, Some(&groups), 5, 1);
        assert!((0..25).all(|g| (0..4).all(|i| together[g * 4 + i] == together[g * 4])));
    }
}
