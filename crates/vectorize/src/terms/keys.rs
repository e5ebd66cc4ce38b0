//! N-grams as numbers: the alphabetical ranks of their tokens side by side, so that numbers compare as the terms do.

use std::hash::Hash;

/// Ranks of up to [`Key::MOST`] tokens, each plus one (0 is no token), the first in the highest bits.
///
/// A term sorts before those that go on from it, and the space between tokens sorts before every byte of a token (the counting
/// checks that): so the order of keys is that of the joined strings.
pub(crate) trait Key: Copy + Ord + Hash + Send + Sync + 'static {
    const MOST: usize;
    /// Of no token.
    const ZERO: Self;
    /// The key of these tokens.
    fn of(ranks: &[u32]) -> Self;
    /// The tokens' ranks.
    fn ranks(self, out: &mut Vec<u32>);
    /// Spread over 64 bits.
    fn mix(self) -> u64;
}

macro_rules! key {
    ($type:ty, $most:literal, $mix:expr) => {
        impl Key for $type {
            const MOST: usize = $most;
            const ZERO: Self = 0;
            #[inline]
            fn of(ranks: &[u32]) -> Self {
                let mut key: Self = 0;
                for i in 0..$most {
                    key = key << 32 | ranks.get(i).map_or(0, |&r| r as Self + 1);
                }
                key
            }
            fn ranks(self, out: &mut Vec<u32>) {
                out.clear();
                out.extend((0..$most).rev().map(|i| (self >> (32 * i)) as u32).take_while(|&r| r > 0).map(|r| r - 1));
            }
            #[inline]
            fn mix(self) -> u64 {
                $mix(self)
            }
        }
    };
}

#[inline]
fn mix64(x: u64) -> u64 {
    let p = u128::from(x ^ 0x9E37_79B9_7F4A_7C15) * 0xD6E8_FEB8_6659_FD93_u128;
    p as u64 ^ (p >> 64) as u64
}

key!(u64, 2, mix64);
key!(u128, 4, |key: u128| mix64(mix64(key as u64) ^ (key >> 64) as u64));

/// Keys with their numbers in the order of first appearance, and how many documents hold each.
pub(crate) struct Table<K> {
    /// (key, number + 1); a power of two long, at most half full.
    places: Vec<(K, u32)>,
    /// Documents by number.
    pub documents: Vec<u32>,
}

impl<K: Key> Table<K> {
    pub fn with_capacity(entries: usize) -> Self {
        Self { places: vec![(K::ZERO, 0); (entries * 2).next_power_of_two().max(16)], documents: Vec::new() }
    }

    /// Counts one document for a key and gives its number.
    #[inline]
    pub fn add(&mut self, key: K) -> u32 {
        let mask = self.places.len() - 1;
        let mut at = key.mix() as usize & mask;
        loop {
            let place = &mut self.places[at];
            if place.1 == 0 {
                let number = self.documents.len() as u32;
                *place = (key, number + 1);
                self.documents.push(1);
                if self.documents.len() * 2 > self.places.len() {
                    self.grow();
                }
                return number;
            }
            if place.0 == key {
                let number = place.1 - 1;
                self.documents[number as usize] += 1;
                return number;
            }
            at = (at + 1) & mask;
        }
    }

    fn grow(&mut self) {
        let size = self.places.len() * 2;
        let old = std::mem::replace(&mut self.places, vec![(K::ZERO, 0); size]);
        for (key, number) in old.into_iter().filter(|p| p.1 > 0) {
            let mut at = key.mix() as usize & (size - 1);
            while self.places[at].1 != 0 {
                at = (at + 1) & (size - 1);
            }
            self.places[at] = (key, number);
        }
    }

    /// (key, number) of all, in no order.
    pub fn entries(&self) -> Vec<(K, u32)> {
        self.places.iter().filter(|p| p.1 > 0).map(|&(key, number)| (key, number - 1)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_sort_as_their_strings(a in prop::collection::vec(0u32..3, 1..5), b in prop::collection::vec(0u32..3, 1..5)) {
            let words = ["a", "ab", "b"];
            let text = |ranks: &[u32]| ranks.iter().map(|&r| words[r as usize]).collect::<Vec<_>>().join(" ");
            prop_assert_eq!(u128::of(&a).cmp(&u128::of(&b)), text(&a).cmp(&text(&b)));
            let mut back = Vec::new();
            u128::of(&a).ranks(&mut back);
            prop_assert_eq!(back, a);
        }
    }
}
