//! Texts as numbers of their frequent words, and the draws that training needs.

use crate::analyze::{Analyzer, Scratch};
use crate::error::{Result, VectorizeError};
use crate::terms::{Interner, by_parts};

/// Words with their counts, and every text as numbers of words. The most frequent word is number 0.
pub(super) struct Corpus {
    pub words: Vec<String>,
    pub counts: Vec<u64>,
    pub tokens: Vec<u32>,
    /// Where each text ends in `tokens`.
    pub ends: Vec<usize>,
}

/// Text of each part: local numbers.
struct Part {
    words: Interner,
    tokens: Vec<u32>,
    ends: Vec<usize>,
}

impl Corpus {
    /// Reads texts; words of fewer than `min_count` appearances are left out, as if they were not there.
    pub fn read<T: AsRef<str> + Sync>(analyzer: &Analyzer, texts: &[T], min_count: u64) -> Result<Self> {
        let parts = by_parts(texts, |texts| {
            let mut part = Part { words: Interner::default(), tokens: Vec::new(), ends: Vec::with_capacity(texts.len()) };
            let mut scratch = Scratch::default();
            for text in texts {
                let Part { words, tokens, .. } = &mut part;
                analyzer.tokens(text.as_ref(), &mut scratch, &mut |t| tokens.push(words.intern(t.as_bytes())));
                part.ends.push(part.tokens.len());
            }
            part
        });
        let mut all = Interner::default();
        let mut counts: Vec<u64> = Vec::new();
        let mut global: Vec<Vec<u32>> = Vec::new();
        for part in &parts {
            let map: Vec<u32> = (0..part.words.len() as u32).map(|w| all.intern(part.words.get_bytes(w))).collect();
            counts.resize(all.len(), 0);
            part.tokens.iter().for_each(|&t| counts[map[t as usize] as usize] += 1);
            global.push(map);
        }
        let mut order: Vec<u32> = (0..all.len() as u32).filter(|&i| counts[i as usize] >= min_count).collect();
        order.sort_by(|&a, &b| counts[b as usize].cmp(&counts[a as usize]).then_with(|| all.get_bytes(a).cmp(all.get_bytes(b))));
        if order.len() < 2 {
            return Err(VectorizeError::data(format!(
                "fewer than two words are there {min_count} times: more text is needed, or a lower min_count"
            )));
        }
        let mut rank = vec![u32::MAX; all.len()];
        order.iter().enumerate().for_each(|(r, &i)| rank[i as usize] = r as u32);
        let (mut tokens, mut ends) = (Vec::new(), Vec::new());
        for (part, map) in parts.iter().zip(&global) {
            let mut start = 0;
            for &end in &part.ends {
                tokens.extend(part.tokens[start..end].iter().map(|&t| rank[map[t as usize] as usize]).filter(|&r| r != u32::MAX));
                ends.push(tokens.len());
                start = end;
            }
        }
        // Tokens are pieces of strings.
        let words = order.iter().map(|&i| String::from_utf8_lossy(all.get_bytes(i)).into_owned()).collect();
        Ok(Self { words, counts: order.iter().map(|&i| counts[i as usize]).collect(), tokens, ends })
    }

    /// The words of a text.
    pub fn text(&self, i: usize) -> &[u32] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.tokens[start..self.ends[i]]
    }
}

/// Fast random numbers for one worker (xorshift64*, Vigna 2016); seeded from the keyed generator.
pub(super) struct Fast(u64);

impl Fast {
    pub fn keyed(seed: u64, keys: &[u64]) -> Self {
        Fast(kernels::rng::Rng::keyed(seed, keys).next_u64() | 1)
    }

    #[inline]
    pub fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as u32
    }

    /// Below `n`; the bias of n / 2³² does not matter here.
    #[inline]
    pub fn below(&mut self, n: u32) -> u32 {
        ((u64::from(self.next()) * u64::from(n)) >> 32) as u32
    }
}

/// Draws words in proportion to their counts to the power of 0.75, in constant time (alias method, Walker 1977).
pub(super) struct Noise {
    threshold: Vec<u32>,
    alias: Vec<u32>,
}

impl Noise {
    pub fn new(counts: &[u64]) -> Self {
        let n = counts.len();
        let weights: Vec<f64> = counts.iter().map(|&c| (c as f64).powf(0.75)).collect();
        let total: f64 = weights.iter().sum();
        let mut share: Vec<f64> = weights.iter().map(|w| w * n as f64 / total).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..n).partition(|&i| share[i] < 1.0);
        let mut out = Self { threshold: vec![u32::MAX; n], alias: (0..n as u32).collect() };
        while let (Some(s), Some(&l)) = (small.pop(), large.last()) {
            out.threshold[s] = (share[s] * f64::from(u32::MAX)) as u32;
            out.alias[s] = l as u32;
            share[l] -= 1.0 - share[s];
            if share[l] < 1.0 {
                large.pop();
                small.push(l);
            }
        }
        out
    }

    #[inline]
    pub fn draw(&self, rng: &mut Fast) -> u32 {
        let i = rng.below(self.alias.len() as u32);
        if rng.next() <= self.threshold[i as usize] { i } else { self.alias[i as usize] }
    }
}

/// For each word the chance to be kept, of 2³² (gensim's formula for `sample`); nothing is dropped at 0.
pub(super) fn keep(counts: &[u64], sample: f64) -> Vec<u32> {
    let total: u64 = counts.iter().sum();
    let threshold = sample * total as f64;
    let chance = |&c: &u64| {
        if threshold <= 0.0 {
            return u32::MAX;
        }
        let p = ((c as f64 / threshold).sqrt() + 1.0) * threshold / c as f64;
        (p.min(1.0) * f64::from(u32::MAX)) as u32
    };
    counts.iter().map(chance).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_has_the_right_frequencies() {
        let counts = [1000, 100, 10, 1];
        let noise = Noise::new(&counts);
        let mut rng = Fast::keyed(1, &[]);
        let mut seen = [0u32; 4];
        (0..200_000).for_each(|_| seen[noise.draw(&mut rng) as usize] += 1);
        let total: f64 = counts.iter().map(|&c| f64::from(c as u32).powf(0.75)).sum();
        for (s, c) in seen.iter().zip(counts) {
            let want = f64::from(c as u32).powf(0.75) / total;
            assert!((f64::from(*s) / 200_000.0 - want).abs() < 0.005, "{seen:?}");
        }
    }
}
