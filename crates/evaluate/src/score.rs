//! Classification with a language model: which label's text does the model find most likely after the prompt?
//!
//! `scores[label]` is the sum of the log-probabilities of the label text's tokens; prompt and label are tokenised
//! separately and joined, as in training. `normalized` is the softmax over the scores, and it decides. Where the
//! text of one label begins the text of another (`" good"`, `" good enough"`), the shorter one would win whatever
//! comes after it; then `log p(EOS)` after each label is added to every label before the softmax (and only there).
//!
//! ## How little is computed
//! Prompts are packed end to end without padding, what they begin with in common is read once, and the last layer and the head are
//! applied to the last position of each. When every
//! label is one token, that is all. Otherwise the labels form a tree of token prefixes (`" not good"` and `" not
//! bad"` share `" not"`), which is walked over a key/value cache holding the prompts: a prompt is read once, a shared
//! beginning once, and only positions that predict a label's token reach the head.

use crate::error::{EvaluateError, Progress, Result};
use crate::results::ScoredRow;
use dataset::LabelIds;
use dataset::share::Forest;
use engine::{Arena, KvCache, ParamStore, Segments, Tape, Target, Tensor};
use model::Decoder;

/// Prompts are packed until they have this many tokens: enough to keep matrix products at full speed, little enough
/// to keep activations small.
pub const BATCH_TOKENS: usize = 1024;

/// The labels of a task, ready to be scored.
#[derive(Debug, Clone, PartialEq)]
pub struct Scorer {
    names: Vec<String>,
    texts: Vec<String>,
    ids: Vec<Vec<u32>>,
    /// Set if the end-of-sequence rule applies.
    eos: Option<u32>,
}

impl Scorer {
    /// For labels in the task's order; `eos` is the tokenizer's end-of-sequence token.
    ///
    /// # Errors
    /// No labels, a label without tokens, or prefix labels without an end-of-sequence token.
    pub fn new(labels: &[LabelIds], eos: Option<u32>) -> Result<Self> {
        if labels.is_empty() {
            return Err(EvaluateError::NoLabels);
        }
        if let Some(empty) = labels.iter().find(|l| l.ids.is_empty()) {
            return Err(EvaluateError::EmptyLabel { label: empty.name.clone() });
        }
        let begins = |a: &LabelIds, b: &LabelIds| b.text.starts_with(&a.text) || b.ids.starts_with(&a.ids);
        let pairs = labels.iter().enumerate().flat_map(|(i, a)| labels.iter().enumerate().map(move |(j, b)| (i != j, a, b)));
        let prefix = pairs.into_iter().find(|&(different, a, b)| different && begins(a, b));
        let eos = match (prefix, eos) {
            (None, _) => None,
            (Some(_), Some(eos)) => Some(eos),
            (Some((_, a, b)), None) => return Err(EvaluateError::PrefixWithoutEos { prefix: a.text.clone(), longer: b.text.clone() }),
        };
        Ok(Self {
            names: labels.iter().map(|l| l.name.clone()).collect(),
            texts: labels.iter().map(|l| l.text.clone()).collect(),
            ids: labels.iter().map(|l| l.ids.clone()).collect(),
            eos,
        })
    }

    /// Names of the labels in the task's order.
    pub fn labels(&self) -> &[String] {
        &self.names
    }

    /// Texts of the labels in the same order.
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// True if `log p(EOS)` is part of the decision, because one label's text begins another's.
    pub fn adds_eos(&self) -> bool {
        self.eos.is_some()
    }

    /// Scores prompts (their tokens) in one packed batch, in their order.
    ///
    /// # Errors
    /// An empty prompt, a prompt longer than the model's positions, a model that gives NaN.
    pub fn score(&self, decoder: &Decoder, params: &ParamStore, arena: &Arena, prompts: &[&[u32]]) -> Result<Vec<ScoredRow>> {
        if let Some(i) = prompts.iter().position(|p| p.is_empty()) {
            return Err(EvaluateError::EmptyPrompt { row: format!("row {}", i + 1) });
        }
        if prompts.is_empty() {
            return Ok(Vec::new());
        }
        let longest = prompts.iter().map(|p| p.len()).max().unwrap_or(0);
        let longest_label = self.ids.iter().map(Vec::len).max().unwrap_or(0);
        let goes_on = longest_label > 1 || self.eos.is_some();

        // Prompts of one task begin alike; that is read once. Of what remains only each last token has a result.
        let mut tape = Tape::inference(params, arena);
        let mut cache = goes_on.then(|| decoder.cache(prompts.len(), longest + longest_label));
        let last = match &mut cache {
            Some(cache) => {
                let shared = shared_beginning(prompts);
                if shared > 0 {
                    let segments = Segments::cached(cache, &[(0, shared)])?.reaching(longest);
                    decoder.forward_rows(&mut tape, &prompts[0][..shared], &segments, Some(cache), Some(&[]))?;
                    (1..prompts.len()).for_each(|slot| cache.copy_slot(0, slot));
                }
                let rest: Vec<(usize, usize)> = prompts.iter().map(|p| p.len() - shared).enumerate().collect();
                let ids: Vec<u32> = prompts.iter().flat_map(|p| &p[shared..]).copied().collect();
                let segments = Segments::cached(cache, &rest)?;
                let rows = segments.last_rows();
                decoder.forward_rows(&mut tape, &ids, &segments, Some(cache), Some(&rows))?
            }
            None => {
                let forest = Forest::new(prompts, true);
                let segments = Segments::tree(&forest.parts())?;
                let places: Vec<u32> =
                    prompts.iter().enumerate().filter_map(|(i, p)| forest.place(i, p.len() - 1)).map(|place| place as u32).collect();
                let mut rows = places.clone();
                rows.sort_unstable();
                rows.dedup();
                let hidden = decoder.forward_rows(&mut tape, &forest.ids(prompts), &segments, None, Some(&rows))?;
                let order: Vec<u32> = places.iter().filter_map(|place| rows.binary_search(place).ok()).map(|i| i as u32).collect();
                tape.select_rows(&hidden, &order)?
            }
        };

        let k = self.ids.len();
        let mut walk = Walk {
            scorer: self,
            decoder,
            tape,
            cache,
            rows: prompts.len(),
            scores: vec![0.0; prompts.len() * k],
            eos: vec![0.0; prompts.len() * k],
        };
        walk.visit(last, 0, (0..k).collect())?;
        let Walk { scores, eos, .. } = walk;
        let rows = (0..prompts.len()).map(|r| {
            let of = |all: &[f64]| all[r * k..(r + 1) * k].to_vec();
            let row = ScoredRow::new(of(&scores), self.eos.map(|_| of(&eos)).as_deref());
            // Minus infinity is an honest answer for a hopeless label; NaN, or no possible label at all, is not.
            let sound = row.scores.iter().all(|s| !s.is_nan()) && row.normalized.iter().all(|p| p.is_finite());
            if sound { Ok(row) } else { Err(EvaluateError::NonFinite { row: format!("row {}", r + 1) }) }
        });
        rows.collect()
    }

    /// Scores any number of prompts, packed by length into batches of about [`BATCH_TOKENS`] tokens. The results
    /// are in the order of the prompts; packing changes them by rounding at most.
    pub fn score_all(
        &self,
        decoder: &Decoder,
        params: &ParamStore,
        arena: &Arena,
        prompts: &[&[u32]],
        progress: &mut Progress<'_>,
    ) -> Result<Vec<ScoredRow>> {
        // Equal lengths together: the cache gives every slot the room of the longest.
        let mut order: Vec<usize> = (0..prompts.len()).collect();
        order.sort_by_key(|&i| prompts[i].len());
        let mut results: Vec<Option<ScoredRow>> = vec![None; prompts.len()];
        let mut done = 0;
        while done < order.len() {
            let mut tokens = 0;
            let batch: Vec<usize> = order[done..]
                .iter()
                .copied()
                .take_while(|&i| {
                    let first = tokens == 0;
                    tokens += prompts[i].len().max(1);
                    first || tokens <= BATCH_TOKENS
                })
                .collect();
            let texts: Vec<&[u32]> = batch.iter().map(|&i| prompts[i]).collect();
            let scored = self.score(decoder, params, arena, &texts).map_err(|e| name_row(e, &batch))?;
            for (&i, row) in batch.iter().zip(scored) {
                results[i] = Some(row);
            }
            done += batch.len();
            if progress(done, order.len()).is_break() && done < order.len() {
                return Err(EvaluateError::Stopped { done, total: order.len() });
            }
        }
        Ok(results.into_iter().flatten().collect())
    }
}

/// Rows of a batch as rows of the request.
fn name_row(error: EvaluateError, batch: &[usize]) -> EvaluateError {
    let rename = |row: String| {
        let number = row.strip_prefix("row ").and_then(|n| n.parse::<usize>().ok());
        number.and_then(|n| batch.get(n - 1)).map_or(row.clone(), |i| format!("row {}", i + 1))
    };
    match error {
        EvaluateError::EmptyPrompt { row } => EvaluateError::EmptyPrompt { row: rename(row) },
        EvaluateError::NonFinite { row } => EvaluateError::NonFinite { row: rename(row) },
        other => other,
    }
}

/// The walk over the tree of label prefixes, depth first, all rows of the batch together. The cache holds for each
/// row its prompt and the tokens from the root to the present node.
struct Walk<'a> {
    scorer: &'a Scorer,
    decoder: &'a Decoder,
    tape: Tape<'a>,
    cache: Option<KvCache>,
    rows: usize,
    /// `[row, label]`.
    scores: Vec<f64>,
    /// `[row, label]`: log p(EOS) after the label.
    eos: Vec<f64>,
}

impl Walk<'_> {
    /// `last` is each row's hidden state after `depth` tokens, which `labels` have in common.
    fn visit(&mut self, last: Tensor, depth: usize, labels: Vec<usize>) -> Result<()> {
        let ids = &self.scorer.ids;
        let (ended, going): (Vec<usize>, Vec<usize>) = labels.into_iter().partition(|&l| ids[l].len() == depth);
        let groups = group_by_token(ids, &going, depth);

        // What may come next: the first token of each group, and the end where a label ends here.
        let eos = self.scorer.eos.filter(|_| !ended.is_empty());
        let next: Vec<u32> = groups.iter().map(|g| ids[g[0]][depth]).chain(eos).collect();
        let log_p = self.predict(&last, (0..self.rows).flat_map(|row| next.iter().map(move |&token| (row, token))))?;
        drop(last);
        for (row, p) in log_p.chunks_exact(next.len().max(1)).enumerate() {
            for (group, &p) in groups.iter().zip(p) {
                self.add(row, group, p);
            }
            for &label in ended.iter().filter(|_| eos.is_some()) {
                self.eos[row * ids.len() + label] = p[groups.len()];
            }
        }

        for group in groups {
            self.descend(depth, group)?;
        }
        Ok(())
    }

    /// Reads what the labels of a group share beyond `depth` (at least one token) and visits what follows.
    fn descend(&mut self, depth: usize, group: Vec<usize>) -> Result<()> {
        let ids = &self.scorer.ids;
        let shared = common_prefix(ids, &group);
        let tokens = &ids[group[0]][depth..shared];
        let more = self.scorer.eos.is_some() || group.iter().any(|&l| ids[l].len() > shared);
        // The last token has to be read only if something after it is asked for.
        let read = if more { tokens.len() } else { tokens.len() - 1 };
        if read == 0 {
            return Ok(());
        }
        let Some(cache) = self.cache.as_mut() else {
            return Err(engine::EngineError::Invalid { op: "score", reason: "labels of several tokens need a cache".into() }.into());
        };
        let segments = Segments::cached(cache, &(0..self.rows).map(|row| (row, read)).collect::<Vec<_>>())?;
        let input: Vec<u32> = (0..self.rows).flat_map(|_| tokens[..read].iter().copied()).collect();
        let hidden = self.decoder.forward(&mut self.tape, &input, &segments, Some(cache))?;

        // Inside the shared part each token predicts the next.
        let inner = tokens.len() - 1;
        let rows = self.rows;
        let log_p = self.predict(&hidden, (0..rows).flat_map(|row| (0..inner).map(move |j| (row * read + j, tokens[j + 1]))))?;
        for row in 0..rows {
            for &p in &log_p[row * inner..(row + 1) * inner] {
                self.add(row, &group, p);
            }
        }
        if more {
            let last = self.tape.select_rows(&hidden, &segments.last_rows())?;
            drop(hidden);
            self.visit(last, shared, group)?;
        }
        if let Some(cache) = self.cache.as_mut() {
            for s in segments.iter() {
                cache.truncate(s.slot.unwrap_or(0), s.past);
            }
        }
        Ok(())
    }

    /// log p of tokens after rows of hidden states.
    fn predict(&mut self, hidden: &Tensor, targets: impl Iterator<Item = (usize, u32)>) -> Result<Vec<f64>> {
        let targets: Vec<Target> = targets.map(|(row, token)| Target { row: row as u32, token, weight: 0.0 }).collect();
        if targets.is_empty() {
            return Ok(Vec::new());
        }
        let log_p = self.tape.cross_entropy(hidden, self.decoder.head(), &targets)?;
        Ok(log_p.into_iter().map(f64::from).collect())
    }

    fn add(&mut self, row: usize, labels: &[usize], log_p: f64) {
        for &l in labels {
            self.scores[row * self.scorer.ids.len() + l] += log_p;
        }
    }
}

/// How many tokens all prompts begin with, if reading them once spares something; the last token of each is not among them.
fn shared_beginning(prompts: &[&[u32]]) -> usize {
    const WORTH: usize = 8;
    let first = prompts[0];
    let agreed = |p: &&[u32]| first.iter().zip(*p).take_while(|(a, b)| a == b).count().min(p.len() - 1);
    let shared = prompts.iter().map(agreed).min().unwrap_or(0);
    if shared * (prompts.len() - 1) < WORTH { 0 } else { shared }
}

/// Labels that have the same token at `depth`, in the order of their first member.
fn group_by_token(ids: &[Vec<u32>], labels: &[usize], depth: usize) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for &l in labels {
        match groups.iter_mut().find(|g| ids[g[0]][depth] == ids[l][depth]) {
            Some(group) => group.push(l),
            None => groups.push(vec![l]),
        }
    }
    groups
}

/// How many tokens all these labels begin with.
fn common_prefix(ids: &[Vec<u32>], labels: &[usize]) -> usize {
    let first = &ids[labels[0]];
    labels.iter().map(|&l| first.iter().zip(&ids[l]).take_while(|(a, b)| a == b).count()).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(name: &str, text: &str, ids: &[u32]) -> LabelIds {
        LabelIds { name: name.into(), text: text.into(), ids: ids.into() }
    }

    #[test]
    fn the_end_rule_applies_to_prefixes_of_text_or_tokens_only() {
        let of = |labels: &[LabelIds]| Scorer::new(labels, Some(9)).unwrap().adds_eos();
        assert!(!of(&[label("a", " neg", &[1]), label("b", " pos", &[2])]));
        assert!(of(&[label("a", " good", &[1]), label("b", " good enough", &[1, 2])]));
        // The tokens differ, but the text of one still begins the other's.
        assert!(of(&[label("a", " positives", &[1]), label("b", " positive", &[2])]));
        assert!(of(&[label("a", "x", &[3, 4]), label("b", "y", &[3])]));
    }

    #[test]
    fn labels_that_cannot_be_scored_are_refused() {
        assert!(matches!(Scorer::new(&[], None), Err(EvaluateError::NoLabels)));
        let e = Scorer::new(&[label("a", "", &[])], None).unwrap_err().to_string();
        assert!(e.contains("label `a`"), "{e}");
        let e = Scorer::new(&[label("a", " good", &[1]), label("b", " good enough", &[1, 2])], None).unwrap_err().to_string();
        assert!(e.contains("` good` begins ` good enough`"), "{e}");
    }

    #[test]
    fn groups_and_prefixes() {
        let ids = vec![vec![1, 2, 3], vec![4], vec![1, 2, 5, 6], vec![1, 7]];
        assert_eq!(group_by_token(&ids, &[0, 1, 2, 3], 0), [vec![0, 2, 3], vec![1]]);
        assert_eq!(common_prefix(&ids, &[0, 2, 3]), 1);
        assert_eq!(common_prefix(&ids, &[0, 2]), 2);
        assert_eq!(common_prefix(&ids, &[2]), 4);
    }
}
