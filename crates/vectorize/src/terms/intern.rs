//! Strings to numbers, in the order of their first appearance. (A plain hash table; the standard one hashes slower and keeps every
//! string apart.)

/// Strings with their numbers.
#[derive(Clone, Debug)]
pub(crate) struct Interner {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// (upper half of the hash, number + 1); 0 is an empty place. A power of two long, at most half full.
    table: Vec<(u32, u32)>,
}

impl Default for Interner {
    fn default() -> Self {
        Self { bytes: Vec::new(), ends: Vec::new(), table: vec![(0, 0); 1 << 10] }
    }
}

/// A hash of bytes, eight at a time (multiply and fold, as in wyhash).
#[inline]
pub(crate) fn hash_bytes(bytes: &[u8]) -> u64 {
    const K: u64 = 0x9E37_79B9_7F4A_7C15;
    let fold = |a: u64, b: u64| {
        let p = u128::from(a) * u128::from(b);
        p as u64 ^ (p >> 64) as u64
    };
    let mut h = K ^ bytes.len() as u64;
    let mut chunks = bytes.chunks_exact(8);
    for c in &mut chunks {
        let word = c.iter().rev().fold(0u64, |w, &b| w << 8 | u64::from(b));
        h = fold(h ^ word, K);
    }
    let rest = chunks.remainder().iter().rev().fold(0u64, |w, &b| w << 8 | u64::from(b));
    fold(h ^ rest, 0xD6E8_FEB8_6659_FD93)
}

impl Interner {
    /// Of distinct strings in order.
    pub fn of<'a>(strings: impl Iterator<Item = &'a str>) -> Self {
        let mut out = Self::default();
        strings.for_each(|s| {
            out.intern(s.as_bytes());
        });
        out
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The string of a number.
    #[inline]
    pub fn get_bytes(&self, number: u32) -> &[u8] {
        let i = number as usize;
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.bytes[start..self.ends[i]]
    }

    /// The place of a string in the table, or the empty place where it belongs.
    #[inline]
    fn place(&self, bytes: &[u8], hash: u64) -> usize {
        let (mask, tag) = (self.table.len() - 1, (hash >> 32) as u32);
        let mut at = hash as usize & mask;
        loop {
            let (known, number) = self.table[at];
            if number == 0 || (known == tag && self.get_bytes(number - 1) == bytes) {
                return at;
            }
            at = (at + 1) & mask;
        }
    }

    /// The number of a string, if it has one.
    #[inline]
    pub fn get(&self, bytes: &[u8]) -> Option<u32> {
        let number = self.table[self.place(bytes, hash_bytes(bytes))].1;
        number.checked_sub(1)
    }

    /// The number of a string, a new one if it has none.
    #[inline]
    pub fn intern(&mut self, bytes: &[u8]) -> u32 {
        let hash = hash_bytes(bytes);
        let at = self.place(bytes, hash);
        if let Some(number) = self.table[at].1.checked_sub(1) {
            return number;
        }
        let number = self.ends.len() as u32;
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
        self.table[at] = ((hash >> 32) as u32, number + 1);
        if self.ends.len() * 2 > self.table.len() {
            self.grow();
        }
        number
    }

    fn grow(&mut self) {
        let size = self.table.len() * 4;
        self.table = vec![(0, 0); size];
        for number in 0..self.ends.len() as u32 {
            let hash = hash_bytes(self.get_bytes(number));
            let mut at = hash as usize & (size - 1);
            while self.table[at].1 != 0 {
                at = (at + 1) & (size - 1);
            }
            self.table[at] = ((hash >> 32) as u32, number + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        #[test]
        fn as_a_map_of_the_standard_library(words in prop::collection::vec("[a-c]{0,12}", 0..3000)) {
            let (mut interner, mut known) = (Interner::default(), HashMap::new());
            for word in &words {
                let next = known.len() as u32;
                let want = *known.entry(word.clone()).or_insert(next);
                prop_assert_eq!(interner.intern(word.as_bytes()), want);
            }
            for (word, number) in &known {
                prop_assert_eq!(interner.get(word.as_bytes()), Some(*number));
                prop_assert_eq!(interner.get_bytes(*number), word.as_bytes());
            }
            prop_assert_eq!(interner.get(b"d"), None);
            prop_assert_eq!(interner.len(), known.len());
        }
    }
}
