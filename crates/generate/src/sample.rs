//! From one row of logits to one token.
//!
//! Plain functions on slices: the caller supplies the uniform random number, so that everything here can be tested
//! against a direct definition. Ties are always broken towards the smaller token id; sums run in a fixed order.

use crate::params::SamplingParams;
use std::cmp::Ordering;

/// A chosen token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// The token id.
    pub token: u32,
    /// Its log-probability (natural) under the model itself: before penalty, temperature and filters.
    pub logprob: f64,
}

/// `ln Σ exp(x)` of the row divided by a temperature, accumulated in f64 from the first to the last element.
fn log_sum_exp_at(x: &[f32], temperature: f32) -> f64 {
    let inv_t = 1.0 / f64::from(temperature);
    let max = x.iter().map(|&v| f64::from(v) * inv_t).fold(f64::NEG_INFINITY, f64::max);
    max + x.iter().map(|&v| (f64::from(v) * inv_t - max).exp()).sum::<f64>().ln()
}

/// Divides the positive and multiplies the negative logits of every token in `seen` by `penalty`, each token once
/// however often it occurs (Keskar et al. 2019, section 4.1; Hugging Face's `RepetitionPenaltyLogitsProcessor`).
/// Ids outside the row are ignored.
pub fn penalise_repetition(logits: &mut [f32], seen: &[u32], penalty: f32) {
    if penalty == 1.0 {
        return;
    }
    let mut unique: Vec<u32> = seen.to_vec();
    unique.sort_unstable();
    unique.dedup();
    for id in unique {
        if let Some(l) = logits.get_mut(id as usize) {
            *l = if *l < 0.0 { *l * penalty } else { *l / penalty };
        }
    }
}

/// Most likely first; equal logits by ascending id: a total order on non-NaN rows.
fn by_likelihood(logits: &[f32], a: u32, b: u32) -> Ordering {
    logits[b as usize].total_cmp(&logits[a as usize]).then(a.cmp(&b))
}

/// The tokens that survive top-k, top-p and min-p, most likely first, with their renormalised probabilities at
/// `params.temperature` (which must be above 0). Never empty for a row with a finite maximum.
///
/// Each filter keeps a head of one and the same order and is measured on the probabilities that the filters before
/// it left, as in Hugging Face's warpers. Only as much of the vocabulary is sorted as the head needs.
pub fn distribution(logits: &[f32], params: &SamplingParams) -> Vec<(u32, f64)> {
    let inv_t = 1.0 / f64::from(params.temperature);
    let max = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let weight = |id: u32| ((f64::from(logits[id as usize]) - max) * inv_t).exp();
    let order = |&a: &u32, &b: &u32| by_likelihood(logits, a, b);

    let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
    if params.top_k > 0 && params.top_k < ids.len() {
        ids.select_nth_unstable_by(params.top_k - 1, order);
        ids.truncate(params.top_k);
        ids.sort_unstable(); // the sum below must not depend on how the selection shuffles
    }
    let total: f64 = ids.iter().map(|&id| weight(id)).sum();
    let (p_target, p_low) = (f64::from(params.top_p) * total, f64::from(params.min_p));

    // The head usually ends within a few hundred tokens of a vocabulary of many thousands.
    let mut sorted = ids.len().min(256);
    if params.top_p >= 1.0 && params.min_p == 0.0 {
        sorted = ids.len();
    }
    let kept = loop {
        if sorted < ids.len() {
            ids.select_nth_unstable_by(sorted - 1, order);
        }
        ids[..sorted].sort_unstable_by(order);
        let (head, ended) = head(ids[..sorted].iter().map(|&id| (id, weight(id))), params.top_p, p_target, p_low);
        if ended || sorted == ids.len() {
            break head;
        }
        sorted = ids.len().min(sorted * 8);
    };
    let sum: f64 = kept.iter().map(|k| k.1).sum();
    kept.into_iter().map(|(id, w)| (id, w / sum)).collect()
}

/// Takes (token, weight) pairs, most likely first and the first of weight 1, until top-p or min-p cuts; true if one
/// of them did.
fn head(sorted: impl Iterator<Item = (u32, f64)>, top_p: f32, p_target: f64, p_low: f64) -> (Vec<(u32, f64)>, bool) {
    let (mut kept, mut sum) = (Vec::new(), 0.0);
    for (id, w) in sorted {
        if w < p_low && !kept.is_empty() {
            return (kept, true);
        }
        kept.push((id, w));
        sum += w;
        if top_p < 1.0 && sum >= p_target {
            return (kept, true);
        }
    }
    (kept, false)
}

/// Chooses the next token. `seen` is the sequence so far (prompt and generated), for the repetition penalty;
/// `uniform` in [0, 1) is used only if the temperature is above 0.
///
/// Returns `None` if the row holds a NaN, plus infinity, or no finite logit.
pub fn choose(logits: &[f32], seen: &[u32], params: &SamplingParams, uniform: f64) -> Option<Choice> {
    let lse = f64::from(engine::log_sum_exp(logits));
    if !lse.is_finite() {
        return None;
    }
    let penalised;
    let scores: &[f32] = if params.repetition_penalty == 1.0 {
        logits
    } else {
        let mut copy = logits.to_vec();
        penalise_repetition(&mut copy, seen, params.repetition_penalty);
        penalised = copy;
        &penalised
    };
    let token = if params.is_greedy() {
        // Without penalty the maximum is the same before and after log-softmax.
        engine::arg_max(scores) as u32
    } else if params.top_k == 0 && params.top_p >= 1.0 && params.min_p == 0.0 {
        // No filter: no order needed, the vocabulary's own will do.
        let (lse, inv_t) = (log_sum_exp_at(scores, params.temperature), 1.0 / f64::from(params.temperature));
        let probabilities = scores.iter().map(|&l| (f64::from(l) * inv_t - lse).exp());
        pick((0u32..).zip(probabilities).filter(|c| c.1 > 0.0), uniform)?
    } else {
        pick(distribution(scores, params).into_iter(), uniform)?
    };
    Some(Choice { token, logprob: f64::from(logits[token as usize]) - lse })
}

/// Inverse of the cumulative distribution: the first token whose cumulative probability exceeds `uniform`.
fn pick(candidates: impl Iterator<Item = (u32, f64)>, uniform: f64) -> Option<u32> {
    let (mut sum, mut last) = (0.0, None);
    for (id, p) in candidates {
        sum += p;
        last = Some(id);
        if uniform < sum {
            return last;
        }
    }
    // Rounding may leave the sum a hair below 1.
    last
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sampled(f: impl FnOnce(&mut SamplingParams)) -> SamplingParams {
        let mut p = SamplingParams { temperature: 1.0, ..Default::default() };
        f(&mut p);
        p
    }

    /// Softmax in the plainest way.
    fn softmax(logits: &[f32], t: f32) -> Vec<f64> {
        let e: Vec<f64> = logits.iter().map(|&l| (f64::from(l) / f64::from(t)).exp()).collect();
        let s: f64 = e.iter().sum();
        e.iter().map(|v| v / s).collect()
    }

    #[test]
    fn greedy_takes_the_maximum_and_the_first_of_equals() {
        let p = SamplingParams::default();
        let c = choose(&[0.0, 3.0, -1.0, 3.0], &[], &p, 0.99).unwrap();
        assert_eq!(c.token, 1);
        let expected = 3.0 - (1.0 + 3f64.exp() * 2.0 + (-1f64).exp()).ln();
        assert!((c.logprob - expected).abs() < 1e-6);
    }

    #[test]
    fn repetition_penalty_moves_both_signs_down_and_counts_once() {
        let mut l = vec![2.0, -2.0, 1.0];
        penalise_repetition(&mut l, &[0, 1, 0, 99], 2.0);
        assert_eq!(l, [1.0, -4.0, 1.0]);
        let p = SamplingParams { repetition_penalty: 3.0, ..Default::default() };
        assert_eq!(choose(&[2.0, 1.0], &[0], &p, 0.0).unwrap().token, 1);
    }

    #[test]
    fn log_probability_is_the_models_own() {
        // Penalty and temperature change the choice, never the reported log-probability.
        let logits = [2.0, 1.0, 0.0];
        let lse = logits.iter().map(|&l: &f32| f64::from(l).exp()).sum::<f64>().ln();
        let p = sampled(|p| {
            p.temperature = 0.3;
            p.repetition_penalty = 5.0;
        });
        let c = choose(&logits, &[0], &p, 0.0).unwrap();
        assert!((c.logprob - (f64::from(logits[c.token as usize]) - lse)).abs() < 1e-6);
    }

    #[test]
    fn damaged_rows_are_refused() {
        let p = SamplingParams::default();
        assert!(choose(&[1.0, f32::NAN], &[], &p, 0.0).is_none());
        assert!(choose(&[f32::NEG_INFINITY; 3], &[], &p, 0.0).is_none());
        assert!(choose(&[f32::INFINITY, 0.0], &[], &p, 0.0).is_none());
        assert!(choose(&[], &[], &p, 0.0).is_none());
        // Some impossible tokens are fine.
        assert_eq!(choose(&[f32::NEG_INFINITY, 0.0], &[], &sampled(|_| ()), 0.999).unwrap().token, 1);
    }

    #[test]
    fn top_p_keeps_the_token_that_crosses_the_sum() {
        // Probabilities 0.5, 0.3, 0.2 (up to rounding): 0.75 needs two tokens.
        let logits: Vec<f32> = [0.2f32, 0.5, 0.3].iter().map(|p| p.ln()).collect();
        let ids = |p: f32| distribution(&logits, &sampled(|s| s.top_p = p)).iter().map(|c| c.0).collect::<Vec<_>>();
        assert_eq!(ids(0.4), [1]);
        assert_eq!(ids(0.75), [1, 2]);
        assert_eq!(ids(0.9), [1, 2, 0]);
    }

    #[test]
    fn frequencies_follow_the_probabilities() {
        let logits = [0.0f32, 1.0, 2.0, -1.0];
        let p = sampled(|p| p.temperature = 0.7);
        let expected = softmax(&logits, 0.7);
        let n = 10_000;
        let mut count = [0usize; 4];
        // An evenly spaced grid of uniforms makes the frequencies exact to 1/n.
        for i in 0..n {
            count[choose(&logits, &[], &p, i as f64 / n as f64).unwrap().token as usize] += 1;
        }
        for (c, e) in count.iter().zip(&expected) {
            assert!((*c as f64 / n as f64 - e).abs() < 2.0 / n as f64, "{count:?} {expected:?}");
        }
    }

    proptest! {
        /// The filters against their definitions on probabilities, in Hugging Face's order.
        #[test]
        fn filters_match_their_definitions(
            logits in prop::collection::vec(-8f32..8.0, 1..600),
            temperature in 0.2f32..3.0,
            top_k in 0usize..70,
            top_p in 0.05f32..1.0,
            min_p in 0f32..0.6,
        ) {
            let params = sampled(|p| {
                p.temperature = temperature; p.top_k = top_k; p.top_p = top_p; p.min_p = min_p;
            });
            let got = distribution(&logits, &params);

            // Definition: sort, cut to k, renormalise, cut to p, cut by min-p, renormalise.
            let mut all: Vec<(u32, f64)> = softmax(&logits, temperature).into_iter().enumerate()
                .map(|(i, p)| (i as u32, p)).collect();
            all.sort_by(|a, b| logits[b.0 as usize].total_cmp(&logits[a.0 as usize]).then(a.0.cmp(&b.0)));
            if top_k > 0 { all.truncate(top_k); }
            let s: f64 = all.iter().map(|a| a.1).sum();
            let mut cut = all.len();
            let mut sum = 0.0;
            for (i, a) in all.iter().enumerate() {
                sum += a.1 / s;
                if sum >= f64::from(top_p) { cut = i + 1; break; }
            }
            // At the very border rounding decides; both cuts are right there.
            let near = (sum - f64::from(top_p)).abs() < 1e-9;
            all.truncate(cut);
            let best = all[0].1;
            prop_assume!(!near && all.iter().all(|a| (a.1 / best - f64::from(min_p)).abs() > 1e-9));
            all.retain(|a| a.1 / best >= f64::from(min_p));
            let s: f64 = all.iter().map(|a| a.1).sum();
            prop_assert_eq!(got.iter().map(|c| c.0).collect::<Vec<_>>(), all.iter().map(|c| c.0).collect::<Vec<_>>());
            for (g, e) in got.iter().zip(&all) {
                prop_assert!((g.1 - e.1 / s).abs() < 1e-9);
            }
            prop_assert!((got.iter().map(|c| c.1).sum::<f64>() - 1.0).abs() < 1e-9);
        }

        /// Whatever the number drawn, the token is one that survives, and the choice is monotone in it.
        #[test]
        fn choice_stays_inside_the_distribution(
            logits in prop::collection::vec(-8f32..8.0, 1..60),
            top_k in 1usize..10,
            u in 0f64..1.0,
        ) {
            let params = sampled(|p| p.top_k = top_k);
            let d = distribution(&logits, &params);
            let c = choose(&logits, &[], &params, u).unwrap();
            prop_assert!(d.iter().any(|x| x.0 == c.token));
            prop_assert_eq!(choose(&logits, &[], &params, 0.0).unwrap().token, d[0].0);
            prop_assert_eq!(choose(&logits, &[], &params, 1.0 - 1e-16).unwrap().token, d[d.len() - 1].0);
        }
    }
}
