//! Texts that are nearly the same: MinHash signatures (Broder 1997) in bands (Indyk & Motwani 1998; Leskovec et al., Mining of Massive Datasets, 3.4).
//!
//! A text is the set of its shingles: three words, or five characters where words are not parted by spaces. A signature keeps, for each of 128
//! hash functions, the smallest value over the shingles; the share of equal values estimates the Jaccard similarity of two sets (standard
//! error at most 0.044). 16 bits of each value are kept: a million texts take about 0.4 GB at a threshold of 0.9, 0.7 GB at 0.5.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Hash functions.
const FUNCTIONS: usize = 128;

/// What a text is beside those before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// New.
    Unique,
    /// Letter for letter the text of this number.
    Equal(usize),
    /// Like the text of this number; the estimated similarity.
    Near(usize, f32),
}

/// Texts seen so far.
pub struct NearDuplicates {
    threshold: f32,
    multipliers: Vec<(u64, u64)>,
    /// Signatures of texts that were unique, one after the other.
    signatures: Vec<[u16; FUNCTIONS]>,
    /// Number of the text of each signature.
    numbers: Vec<u32>,
    bands: Vec<Band>,
    exact: HashMap<u64, u32, BuildHasherDefault<Same>>,
    count: usize,
}

/// One band of all signatures: for each value that the band takes, the first signature with it. Open addressing over numbers of
/// signatures, which hold the values themselves: 4 to 8 bytes a text.
struct Band {
    /// Number of a signature plus one; 0: free. A power of two of them, at most half taken.
    slots: Vec<u32>,
    taken: usize,
    values: std::ops::Range<usize>,
}

impl Band {
    fn new(values: std::ops::Range<usize>) -> Self {
        Band { slots: vec![0; 16], taken: 0, values }
    }

    /// The slot of a band's value: taken by a signature that has the same, or free.
    fn slot(&self, value: &[u16], signatures: &[[u16; FUNCTIONS]]) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = value.iter().fold(0u64, |h, v| mix(h ^ u64::from(*v))) as usize & mask;
        while self.slots[at] != 0 && &signatures[self.slots[at] as usize - 1][self.values.clone()] != value {
            at = (at + 1) & mask;
        }
        at
    }

    fn get(&self, signature: &[u16; FUNCTIONS], signatures: &[[u16; FUNCTIONS]]) -> Option<u32> {
        self.slots[self.slot(&signature[self.values.clone()], signatures)].checked_sub(1)
    }

    /// Remembers the signature of number `index`, which is in `signatures`, unless one before it has the same value.
    fn insert(&mut self, index: u32, signatures: &[[u16; FUNCTIONS]]) {
        if (self.taken + 1) * 2 > self.slots.len() {
            let all = std::mem::take(&mut self.slots);
            self.slots = vec![0; all.len() * 2];
            for number in all.into_iter().filter(|n| *n != 0) {
                let at = self.slot(&signatures[number as usize - 1][self.values.clone()], signatures);
                self.slots[at] = number;
            }
        }
        let at = self.slot(&signatures[index as usize][self.values.clone()], signatures);
        if self.slots[at] == 0 {
            self.slots[at] = index + 1;
            self.taken += 1;
        }
    }
}

/// Keys are hashes already.
#[derive(Clone, Copy, Default)]
struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = fnv(bytes);
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

impl NearDuplicates {
    /// Texts from this similarity on are one; 1: only equal ones.
    pub fn new(threshold: f32) -> Self {
        // Rows a band so that pairs at the threshold meet in some band nearly always.
        let missed = |rows: usize| (1.0 - f64::from(threshold).powi(rows as i32)).powi((FUNCTIONS / rows) as i32);
        let rows = (2..=16).rev().find(|&r| missed(r) < 0.005).unwrap_or(2);
        let mut state = 0x9E37_79B9_7F4A_7C15u64;
        let mut random = || {
            // SplitMix64 (Steele et al. 2014): the same functions on every machine.
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            mix(state)
        };
        let multipliers = (0..FUNCTIONS).map(|_| (random() | 1, random())).collect();
        let bands = (0..FUNCTIONS / rows).map(|b| Band::new(b * rows..(b + 1) * rows)).collect();
        NearDuplicates { threshold, multipliers, signatures: Vec::new(), numbers: Vec::new(), bands, exact: HashMap::default(), count: 0 }
    }

    /// Judges the next text; texts are numbered from 0. Only unique texts are remembered for comparison.
    pub fn push(&mut self, text: &str) -> Verdict {
        let number = self.count;
        self.count += 1;
        let whole = mix(fnv(text.as_bytes()));
        if let Some(first) = self.exact.get(&whole) {
            return Verdict::Equal(*first as usize);
        }
        if self.threshold >= 1.0 {
            self.exact.insert(whole, number as u32);
            return Verdict::Unique;
        }
        let signature = self.signature(text);
        let mut best: Option<(u32, f32)> = None;
        let mut looked_at = Vec::new();
        for band in &self.bands {
            let Some(index) = band.get(&signature, &self.signatures) else { continue };
            if looked_at.contains(&index) {
                continue;
            }
            looked_at.push(index);
            let same = self.signatures[index as usize].iter().zip(&signature).filter(|(a, b)| a == b).count();
            let share = same as f32 / FUNCTIONS as f32;
            if share >= self.threshold && best.is_none_or(|(_, s)| share > s) {
                best = Some((index, share));
            }
        }
        if let Some((index, share)) = best {
            return Verdict::Near(self.numbers[index as usize] as usize, share);
        }
        let index = self.signatures.len() as u32;
        self.signatures.push(signature);
        for band in &mut self.bands {
            band.insert(index, &self.signatures);
        }
        self.exact.insert(whole, number as u32);
        self.numbers.push(number as u32);
        Verdict::Unique
    }

    fn signature(&self, text: &str) -> [u16; FUNCTIONS] {
        let mut least = [u64::MAX; FUNCTIONS];
        let mut seen = |shingle: u64| {
            for (slot, (a, b)) in least.iter_mut().zip(&self.multipliers) {
                // Multiply-shift: the high bits are well mixed.
                *slot = (*slot).min(shingle.wrapping_mul(*a).wrapping_add(*b) >> 16);
            }
        };
        shingles(text, &mut seen);
        // The low bits of the minimum: the high ones are nearly all zero.
        std::array::from_fn(|i| mix(least[i]) as u16)
    }
}

/// Hashes of a text's shingles, case and white space aside.
fn shingles(text: &str, each: &mut dyn FnMut(u64)) {
    let mut tokens: Vec<u64> = Vec::new();
    let mut cjk = 0usize;
    let mut word = 0xCBF2_9CE4_8422_2325u64;
    let mut open = false;
    for c in text.chars() {
        if crate::script::is_han(c) || matches!(u32::from(c), 0x3040..=0x30FF) {
            if std::mem::take(&mut open) {
                tokens.push(word);
                word = 0xCBF2_9CE4_8422_2325;
            }
            tokens.push(mix(u64::from(u32::from(c))));
            cjk += 1;
        } else if c.is_alphanumeric() {
            for l in c.to_lowercase() {
                word = (word ^ u64::from(u32::from(l))).wrapping_mul(0x100_0000_01B3);
            }
            open = true;
        } else if std::mem::take(&mut open) {
            tokens.push(word);
            word = 0xCBF2_9CE4_8422_2325;
        }
    }
    if open {
        tokens.push(word);
    }
    let size = if cjk * 2 > tokens.len() { 5 } else { 3 };
    if tokens.len() < size {
        each(tokens.iter().fold(7, |h, t| mix(h ^ t)));
        return;
    }
    for window in tokens.windows(size) {
        each(window.iter().fold(7, |h, t| mix(h ^ t)));
    }
}

fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01B3))
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(seed: usize, words: usize) -> Vec<String> {
        (0..words).map(|i| format!("w{}", mix((seed * 100_003 + i) as u64) % 5000)).collect()
    }

    #[test]
    fn near_texts_are_found_and_others_are_not() {
        let mut seen = NearDuplicates::new(0.8);
        let originals: Vec<Vec<String>> = (0..200).map(|s| text(s, 300)).collect();
        for words in &originals {
            assert_eq!(seen.push(&words.join(" ")), Verdict::Unique);
        }
        let mut found = 0;
        for (i, words) in originals.iter().enumerate() {
            // Five words of 300 differ: at most 15 shingles of 298, a similarity of about 0.9.
            let mut changed = words.clone();
            (0..5).for_each(|k| changed[k * 60 + 3] = "changed".into());
            match seen.push(&changed.join("  ").to_uppercase()) {
                Verdict::Near(of, share) => {
                    assert_eq!(of, i);
                    assert!((share - 0.9).abs() < 0.12, "{share}");
                    found += 1;
                }
                other => assert_eq!(other, Verdict::Unique),
            }
        }
        assert!(found >= 190, "{found} of 200");
        assert_eq!(seen.push(&originals[7].join(" ")), Verdict::Equal(7));
        // Half of the words are others: a similarity of about a third at most.
        let half: Vec<String> = originals[3][..150].iter().cloned().chain(text(999, 150)).collect();
        assert_eq!(seen.push(&half.join(" ")), Verdict::Unique);
    }

    #[test]
    fn chinese_is_compared_by_characters() {
        let mut seen = NearDuplicates::new(0.7);
        let base = "承租方逾期支付租金超过十四日的，出租方有权按照基准利率上浮五个百分点收取违约金，并可以要求赔偿其他损失。";
        assert_eq!(seen.push(base), Verdict::Unique);
        assert!(matches!(seen.push(&base.replace("十四", "十五")), Verdict::Near(0, _)));
        assert_eq!(seen.push("任何一方均可提前三个月书面通知对方，在季度末解除本合同。"), Verdict::Unique);
        let mut exact = NearDuplicates::new(1.0);
        assert_eq!(exact.push(base), Verdict::Unique);
        assert_eq!(exact.push(&base.replace("十四", "十五")), Verdict::Unique);
        assert_eq!(exact.push(base), Verdict::Equal(0));
    }
}
