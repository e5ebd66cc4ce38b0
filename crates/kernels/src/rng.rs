//! Counter-based random numbers: Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
//!
//! A stream is a pure function of its keys (seed, step, row, module, …): nothing has to be saved to continue a run,
//! and neither the composition of a batch nor the number of threads can change what is drawn.

const M0: u32 = 0xD251_1F53;
const M1: u32 = 0xCD9E_8D57;
const W0: u32 = 0x9E37_79B9;
const W1: u32 = 0xBB67_AE85;

/// The Philox4x32-10 block function: four random words from a counter and a key.
#[inline(always)]
pub fn philox4x32(mut ctr: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let p0 = M0 as u64 * ctr[0] as u64;
        let p1 = M1 as u64 * ctr[2] as u64;
        ctr = [(p1 >> 32) as u32 ^ ctr[1] ^ key[0], p1 as u32, (p0 >> 32) as u32 ^ ctr[3] ^ key[1], p0 as u32];
        key = [key[0].wrapping_add(W0), key[1].wrapping_add(W1)];
    }
    ctr
}

/// Folds a seed and any number of keys into 64 bits (each key is absorbed by one Philox block).
pub fn fold(seed: u64, keys: &[u64]) -> u64 {
    let mut state = seed;
    for (i, &k) in keys.iter().enumerate() {
        let ctr = [k as u32, (k >> 32) as u32, i as u32, 0x746D_6974];
        let out = philox4x32(ctr, [state as u32, (state >> 32) as u32]);
        state = out[0] as u64 | (out[1] as u64) << 32;
    }
    state
}

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Rng {
    key: [u32; 2],
    domain: u64,
    counter: u64,
    block: [u32; 4],
    used: usize,
    spare_normal: Option<f64>,
}

impl Rng {
    /// The stream that belongs to these keys.
    pub fn keyed(seed: u64, keys: &[u64]) -> Self {
        // The number of keys is part of the key: [a] and [a, 0] are different streams.
        let key = fold(seed, keys);
        let domain = keys.len() as u64;
        Rng { key: [key as u32, (key >> 32) as u32], domain, counter: 0, block: [0; 4], used: 4, spare_normal: None }
    }

    /// 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            let c = self.counter;
            let d = self.domain;
            self.block = philox4x32([c as u32, (c >> 32) as u32, d as u32, (d >> 32) as u32], self.key);
            self.counter += 1;
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used - 1]
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let low = self.next_u32() as u64;
        low | (self.next_u32() as u64) << 32
    }

    /// Uniform in `[0, 1)`, 24 bits.
    pub fn uniform(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 * (1.0 / (1 << 24) as f32)
    }

    /// Uniform in `[0, 1)`, 53 bits.
    pub fn uniform_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Standard normal (Box–Muller).
    pub fn normal(&mut self) -> f32 {
        if let Some(z) = self.spare_normal.take() {
            return z as f32;
        }
        let u = 1.0 - self.uniform_f64(); // in (0, 1]: its logarithm is finite
        let v = self.uniform_f64();
        let r = (-2.0 * u.ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * v).sin_cos();
        self.spare_normal = Some(r * sin);
        (r * cos) as f32
    }

    /// Uniform in `0..n`, without bias (Lemire 2019).
    ///
    /// # Panics
    /// If `n` is zero.
    pub fn below(&mut self, n: u64) -> u64 {
        assert!(n > 0, "a number below zero does not exist");
        loop {
            let product = self.next_u64() as u128 * n as u128;
            let low = product as u64;
            if low >= n || low >= n.wrapping_neg() % n {
                return (product >> 64) as u64;
            }
        }
    }

    /// Puts `items` in a random order (Fisher–Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_published_test_vectors() {
        // kat_vectors of the authors' Random123 distribution.
        assert_eq!(philox4x32([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox4x32([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox4x32([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn streams_depend_on_every_key_and_repeat() {
        let first = |seed, keys: &[u64]| Rng::keyed(seed, keys).next_u64();
        assert_eq!(first(7, &[1, 2]), first(7, &[1, 2]));
        let all = [first(7, &[1, 2]), first(8, &[1, 2]), first(7, &[2, 1]), first(7, &[1]), first(7, &[1, 0]), first(7, &[])];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b), "{i}");
        }
    }

    #[test]
    fn distributions_have_the_right_moments() {
        let mut rng = Rng::keyed(1, &[]);
        let n = 200_000;
        let normals: Vec<f64> = (0..n).map(|_| rng.normal() as f64).collect();
        let mean = normals.iter().sum::<f64>() / n as f64;
        let var = normals.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n as f64;
        assert!(mean.abs() < 0.01 && (var - 1.0).abs() < 0.02, "{mean} {var}");
        let uniform = (0..n).map(|_| rng.uniform() as f64).sum::<f64>() / n as f64;
        assert!((uniform - 0.5).abs() < 0.005, "{uniform}");
        let mut counts = [0usize; 7];
        (0..70_000).for_each(|_| counts[rng.below(7) as usize] += 1);
        assert!(counts.iter().all(|c| (9_500..10_500).contains(c)), "{counts:?}");
    }

    #[test]
    fn a_shuffle_is_a_permutation() {
        let mut items: Vec<u32> = (0..1000).collect();
        Rng::keyed(3, &[9]).shuffle(&mut items);
        assert_ne!(items, (0..1000).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..1000).collect::<Vec<_>>());
        Rng::keyed(3, &[9]).shuffle::<u32>(&mut []);
    }
}
