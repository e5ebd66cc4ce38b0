//! Packing: rows laid end to end as exact isolated segments. No padding is stored, moved or computed, and because attention stops at
//! a segment's border, packed rows never see each other.

use crate::render::Rendered;

/// Rows laid end to end. Every token belongs to exactly one segment; the attention mask of a segment is all ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Token ids of all rows, in order.
    pub input_ids: Vec<u32>,
    /// Labels beside them: the id at the same place, or [`crate::render::IGNORED`]. They are shifted by the loss, not here.
    pub labels: Vec<i32>,
    /// Length of each row; they add up to `input_ids.len()`.
    pub lengths: Vec<usize>,
    /// Key of each row for counter-based random numbers; see [`Rendered::key`].
    pub keys: Vec<u64>,
}

/// A token to be predicted: place of the hidden state that predicts it, and the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Index into [`Batch::input_ids`] of the token *before* the predicted one.
    pub position: usize,
    /// The token to predict.
    pub token: u32,
}

impl Batch {
    /// Lays rows end to end.
    pub fn new<'a>(rows: impl IntoIterator<Item = &'a Rendered>) -> Self {
        let mut batch = Batch::default();
        for row in rows {
            batch.input_ids.extend_from_slice(&row.input_ids);
            batch.labels.extend_from_slice(&row.labels);
            batch.lengths.push(row.input_ids.len());
            batch.keys.push(row.key);
        }
        batch
    }

    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.input_ids.len()
    }

    /// The predictions that are trained, in order. The first token of a segment is predicted by nothing.
    pub fn targets(&self) -> Vec<Target> {
        let mut targets = Vec::new();
        let mut start = 0;
        for &length in &self.lengths {
            for at in start + 1..start + length {
                if self.labels[at] >= 0 {
                    targets.push(Target { position: at - 1, token: self.labels[at] as u32 });
                }
            }
            start += length;
        }
        targets
    }
}

/// The rows named by `order`, `rows_per_batch` at a time; the last batch may be smaller.
///
/// An index outside `rows` is the caller's error and panics.
pub fn batches<'a>(rows: &'a [Rendered], order: &'a [usize], rows_per_batch: usize) -> impl ExactSizeIterator<Item = Batch> + 'a {
    order.chunks(rows_per_batch.max(1)).map(|chunk| Batch::new(chunk.iter().map(|&i| &rows[i])))
}

/// Groups `order` so that each group holds at most `max_tokens` tokens (a longer row stands alone). Rows keep their order: the
/// groups' concatenation is `order`.
pub fn groups_by_tokens(rows: &[Rendered], order: &[usize], max_tokens: usize) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut filled = 0;
    for &i in order {
        let length = rows[i].input_ids.len();
        match groups.last_mut() {
            Some(group) if filled + length <= max_tokens => {
                group.push(i);
                filled += length;
            }
            _ => {
                groups.push(vec![i]);
                filled = length;
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::IGNORED;
    use proptest::prelude::*;

    fn row(ids: &[u32], trained_from: usize) -> Rendered {
        let labels = ids.iter().enumerate().map(|(i, &id)| if i < trained_from { IGNORED } else { id as i32 }).collect();
        Rendered { input_ids: ids.to_vec(), labels, cut: 0, key: ids.len() as u64 }
    }

    #[test]
    fn targets_stay_inside_their_segment() {
        let rows = [row(&[1, 2, 3], 1), row(&[4, 5], 0), row(&[6], 0)];
        let batch = Batch::new(&rows);
        assert_eq!(batch.lengths, [3, 2, 1]);
        let targets: Vec<_> = batch.targets().iter().map(|t| (t.position, t.token)).collect();
        // 4 and 6 begin their segments: nothing predicts them, least of all the row before.
        assert_eq!(targets, [(0, 2), (1, 3), (3, 5)]);
    }

    proptest! {
        #[test]
        fn packing_loses_and_invents_nothing(lengths in prop::collection::vec(1usize..9, 0..20), size in 1usize..6, budget in 1usize..20) {
            let rows: Vec<Rendered> = lengths.iter().enumerate().map(|(i, &n)| row(&vec![i as u32; n], i % n)).collect();
            let order: Vec<usize> = (0..rows.len()).rev().collect();
            let packed: Vec<Batch> = batches(&rows, &order, size).collect();
            let ids: Vec<u32> = packed.iter().flat_map(|b| b.input_ids.clone()).collect();
            let expected: Vec<u32> = order.iter().flat_map(|&i| rows[i].input_ids.clone()).collect();
            prop_assert_eq!(ids, expected);
            let trained: usize = packed.iter().map(|b| b.targets().len()).sum();
            prop_assert_eq!(trained, rows.iter().map(Rendered::trained_tokens).sum::<usize>());
            let groups = groups_by_tokens(&rows, &order, budget);
            prop_assert_eq!(groups.concat(), order);
            for group in groups {
                let tokens: usize = group.iter().map(|&i| rows[i].input_ids.len()).sum();
                prop_assert!(tokens <= budget || group.len() == 1);
            }
        }
    }
}
