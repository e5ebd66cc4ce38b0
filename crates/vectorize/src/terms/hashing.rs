//! The hashing trick: columns without a vocabulary (scikit-learn's `HashingVectorizer`; Weinberger et al. 2009).

use serde::{Deserialize, Serialize};

use super::{by_parts, stack};
use crate::analyze::{Analyzer, AnalyzerSettings, Scratch};
use crate::error::{Result, VectorizeError};
use crate::features::{Features, Norm};

/// Settings; the names are scikit-learn's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HashingSettings {
    /// How texts become terms.
    pub analyzer: AnalyzerSettings,
    /// Number of columns.
    pub n_features: usize,
    /// A term counts +1 or -1 by a bit of its hash, so that collisions cancel on average.
    pub alternate_sign: bool,
    /// Count a term once a document.
    pub binary: bool,
    /// Scale of a row.
    pub norm: Norm,
}

impl Default for HashingSettings {
    fn default() -> Self {
        Self { analyzer: AnalyzerSettings::default(), n_features: 1 << 20, alternate_sign: true, binary: false, norm: Norm::L2 }
    }
}

/// Rows of hashed terms.
///
/// # Errors
/// A setting that makes no sense.
pub fn hash<T: AsRef<str> + Sync>(settings: &HashingSettings, texts: &[T]) -> Result<Features> {
    if settings.n_features == 0 || settings.n_features > i32::MAX as usize {
        return Err(VectorizeError::setting("n_features", format!("{} is not between 1 and 2147483647", settings.n_features)));
    }
    let analyzer = Analyzer::new(&settings.analyzer)?;
    let parts = by_parts(texts, |texts| {
        let mut scratch = Scratch::default();
        let mut out = Features::new(settings.n_features);
        let mut found: Vec<(u32, f64)> = Vec::new();
        for text in texts {
            found.clear();
            analyzer.terms(text.as_ref(), &mut scratch, &mut |t| {
                let h = murmur3(t.as_bytes(), 0) as i32;
                let sign = if settings.alternate_sign && h < 0 { -1.0 } else { 1.0 };
                found.push((h.unsigned_abs() % settings.n_features as u32, sign));
            });
            found.sort_by_key(|e| e.0);
            let sum = |run: &[(u32, f64)]| if settings.binary { 1.0 } else { run.iter().map(|e| e.1).sum() };
            out.push(found.chunk_by(|a, b| a.0 == b.0).map(|run| (run[0].0, sum(run))));
        }
        out.normalize(settings.norm);
        out
    });
    Ok(stack(settings.n_features, parts))
}

/// MurmurHash3_x86_32 (Austin Appleby).
fn murmur3(bytes: &[u8], seed: u32) -> u32 {
    let scramble = |k: u32| k.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let mut h = seed;
    let mut chunks = bytes.chunks_exact(4);
    for c in &mut chunks {
        h ^= scramble(u32::from_le_bytes([c[0], c[1], c[2], c[3]]));
        h = h.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        h ^= scramble(rest.iter().rev().fold(0, |k, &b| k << 8 | u32::from(b)));
    }
    h ^= bytes.len() as u32;
    h = (h ^ h >> 16).wrapping_mul(0x85eb_ca6b);
    h = (h ^ h >> 13).wrapping_mul(0xc2b2_ae35);
    h ^ h >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur_gives_the_published_values() {
        assert_eq!(murmur3(b"", 0), 0);
        assert_eq!(murmur3(b"", 1), 0x514E_28B7);
        assert_eq!(murmur3(b"test", 0), 0xba6b_d213);
        assert_eq!(murmur3(b"Hello, world!", 0), 0xc036_3e43);
    }

    #[test]
    fn no_column_is_out_of_range() {
        let settings = HashingSettings { n_features: 1, norm: Norm::None, alternate_sign: false, ..Default::default() };
        let rows = hash(&settings, &["good 很好 film", ""]).unwrap();
        assert_eq!((rows.entries(0).collect::<Vec<_>>(), rows.row(1).0.len()), (vec![(0, 3.0)], 0));
        assert!(hash(&HashingSettings { n_features: 0, ..settings }, &["a"]).is_err());
    }
}
