//! Cross-entropy straight from hidden states.

use crate::data::{Data, Dtype};
use crate::error::{EngineError, Result};
use crate::tape::Tape;
use crate::tensor::Tensor;
use crate::weights::Linear;
use kernels::element::Element;
use kernels::mat::Update;
use kernels::{elementwise, softmax};

/// A token whose probability is wanted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// Row of the hidden states that predicts it.
    pub row: u32,
    /// The token.
    pub token: u32,
    /// Factor of `-log p` in the loss (usually 1 / number of trained tokens of the step); 0 gives no gradient.
    pub weight: f32,
}

/// Rows of logits that exist at a time, at most: 25 MB at a vocabulary of 49,152. Fewer make the products with the
/// head slower (at 64 rows by a fifth), more cost memory.
const TILE_ROWS: usize = 128;
/// The same where the head itself is trained: its gradient is read and written for each tile, 113 MB at that vocabulary and 576
/// inputs.
const TRAINED_TILE_ROWS: usize = 512;

impl Tape<'_> {
    /// `log p(token)` of each target under `softmax(head(hidden[row]))`, in the order of `targets`.
    ///
    /// Logits exist for a tile of rows at a time and never for rows without a target. In training mode the gradient
    /// of `Σ -weight·log p` is seeded into the tape (and the head's own gradient accumulated) in the same pass.
    /// Several targets may share a row.
    ///
    /// # Errors
    /// If a row or token does not exist or the head does not fit the hidden states.
    pub fn cross_entropy(&mut self, hidden: &Tensor, head: &Linear, targets: &[Target]) -> Result<Vec<f32>> {
        const OP: &str = "cross_entropy";
        self.sweep();
        let vocabulary = head.outputs(self.params());
        for t in targets {
            if t.row as usize >= hidden.rows {
                return Err(EngineError::Index { op: OP, what: "row", index: t.row as usize, len: hidden.rows });
            }
            if t.token as usize >= vocabulary {
                return Err(EngineError::Index { op: OP, what: "token", index: t.token as usize, len: vocabulary });
            }
        }
        let d = hidden.cols;
        let wants_dx = self.requires_grad(hidden.id);
        let wants_grad = self.training && (wants_dx || head.trainable());
        let mut dx = (wants_grad && wants_dx).then(|| self.open_grad_zeroed(hidden.id));

        // Targets by row; each row's logits are computed once.
        let mut order: Vec<u32> = (0..targets.len() as u32).collect();
        order.sort_by_key(|&i| targets[i as usize].row);
        let mut log_probs = vec![0.0; targets.len()];
        let node_keys = self.nodes[hidden.id as usize].keys;
        let tile_rows = if wants_grad && head.weight.param().is_some() { TRAINED_TILE_ROWS } else { TILE_ROWS };
        // Products with the head round the gradient; then it need not be written in f32. A bias sums it, unrounded.
        let rounds = self.compute.activations() == Dtype::Bf16 && head.bias.as_ref().is_none_or(|b| b.param().is_none());
        let mut rest = &order[..];
        while !rest.is_empty() {
            let mut rows: Vec<u32> = Vec::with_capacity(tile_rows);
            let mut taken = 0;
            for &i in rest {
                let row = targets[i as usize].row;
                if rows.last() != Some(&row) {
                    if rows.len() == tile_rows {
                        break;
                    }
                    rows.push(row);
                }
                taken += 1;
            }
            let (tile, after) = rest.split_at(taken);
            rest = after;

            let m = rows.len();
            let h = self.gathered(hidden.id, &rows);
            let keys = self.select_keys(node_keys, &rows, hidden.rows);
            let call = self.linear_call(OP, head, m, d, keys)?;
            let mut logits = Data::F32(self.arena.take(m * vocabulary));
            let u = call.forward(&mut logits, &h, None, self.params.store(), &self.arena);
            // Place of each target in the tile; targets are sorted by row, so the place only grows.
            let mut scale = vec![0.0f32; m];
            let mut place = 0;
            let mut places = Vec::with_capacity(tile.len());
            for &i in tile {
                let t = &targets[i as usize];
                while rows[place] != t.row {
                    place += 1;
                }
                scale[place] += t.weight;
                places.push(place);
            }

            // d(-Σ w·log p)/dz = (Σ w)·softmax(z) - Σ w·onehot
            let mut lse = self.arena.take(m);
            let mut rounded = (wants_grad && rounds).then(|| self.arena.take::<u16>(m * vocabulary));
            match &mut rounded {
                Some(grad) => softmax::weighted_softmax_rows(&mut lse, grad, logits.f32(), &scale, vocabulary),
                None => softmax::log_sum_exp_rows(&mut lse, logits.f32(), vocabulary),
            }
            for (&i, &place) in tile.iter().zip(&places) {
                log_probs[i as usize] = logits.f32()[place * vocabulary + targets[i as usize].token as usize] - lse[place];
            }
            if !wants_grad {
                continue;
            }
            let dz = match rounded {
                Some(mut grad) => {
                    // A token that is the target of a row several times is rounded once, after all of them.
                    let mut of_row: Vec<(usize, f32)> = Vec::new();
                    for (&i, &place) in tile.iter().zip(&places) {
                        let t = &targets[i as usize];
                        let at = place * vocabulary + t.token as usize;
                        of_row.retain(|(other, _)| other / vocabulary == place);
                        let known = of_row.iter().position(|(other, _)| *other == at).unwrap_or_else(|| {
                            of_row.push((at, softmax::weighted_softmax(logits.f32()[at], lse[place], scale[place])));
                            of_row.len() - 1
                        });
                        of_row[known].1 -= t.weight;
                        grad[at] = u16::from_f32(of_row[known].1);
                    }
                    drop(logits);
                    Data::Bf16(grad)
                }
                None => {
                    let numbers = logits.f32_mut();
                    softmax::scaled_softmax_rows(numbers, &lse, &scale, vocabulary);
                    for (&i, place) in tile.iter().zip(places) {
                        let t = &targets[i as usize];
                        numbers[place * vocabulary + t.token as usize] -= t.weight;
                    }
                    logits
                }
            };
            let mut dh = wants_dx.then(|| Data::F32(self.arena.take(m * d)));
            let out = dh.as_mut().map(|b| (b, Update::Set));
            call.backward(&dz, Some(&h), u.as_deref(), out, &mut self.params, &self.arena);
            if let (Some(dx), Some(dh)) = (&mut dx, &dh) {
                elementwise::scatter_add_rows(dx, dh.f32(), d, &rows);
            }
        }
        if let Some(dx) = dx {
            self.close_grad(hidden.id, dx);
        }
        Ok(log_probs)
    }

    /// A key set for some rows of another; the empty one if that has no keys.
    pub(crate) fn select_keys(&mut self, keys: u32, rows: &[u32], of: usize) -> u32 {
        let old = &self.key_sets[keys as usize];
        let selected = if old.len() == of { rows.iter().map(|&r| old[r as usize]).collect() } else { Vec::new() };
        self.key_sets.push(selected);
        (self.key_sets.len() - 1) as u32
    }
}
