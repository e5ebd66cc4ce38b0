//! Rotary position embeddings (Su et al. 2021, arXiv:2104.09864): the table of cosines and sines.
//!
//! The model decides the frequencies (scaling variants, partial rotary dimensions); rows are computed on demand in
//! blocks, so that a context length of 131,072 costs nothing until somebody goes there.

use std::sync::OnceLock;

/// Which elements of a head form a rotated pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopeLayout {
    /// `(i, i + rotary/2)`: Hugging Face's Llama, GPT-NeoX.
    Half,
    /// `(2i, 2i + 1)`: the paper's, GPT-J, ChatGLM.
    Interleaved,
}

const BLOCK: usize = 256;

/// Cosines and sines for every position, times the attention factor of the scaling method.
pub struct RopeTable {
    inv_freq: Vec<f32>,
    attention_factor: f32,
    layout: RopeLayout,
    max_positions: usize,
    /// Block `b` holds, for each of its positions, `rotary/2` cosines followed by `rotary/2` sines.
    blocks: Vec<OnceLock<Box<[f32]>>>,
}

impl RopeTable {
    /// `inv_freq` has one entry for each rotated pair (half the rotary dimensions); `max_positions` bounds the
    /// positions that may be asked for; `attention_factor` multiplies cosines and sines (YaRN, LongRoPE; else 1).
    pub fn new(inv_freq: Vec<f32>, max_positions: usize, attention_factor: f32, layout: RopeLayout) -> Self {
        let blocks = (0..max_positions.div_ceil(BLOCK)).map(|_| OnceLock::new()).collect();
        RopeTable { inv_freq, attention_factor, layout, max_positions, blocks }
    }

    /// The plain table: `inv_freq[i] = theta^(-2i/rotary_dims)`.
    pub fn plain(theta: f64, rotary_dims: usize, max_positions: usize, layout: RopeLayout) -> Self {
        let inv_freq = (0..rotary_dims / 2).map(|i| theta.powf(-((2 * i) as f64) / rotary_dims as f64) as f32).collect();
        Self::new(inv_freq, max_positions, 1.0, layout)
    }

    /// Number of leading elements of a head that are rotated.
    pub fn rotary_dims(&self) -> usize {
        2 * self.inv_freq.len()
    }

    /// Number of positions.
    pub fn max_positions(&self) -> usize {
        self.max_positions
    }

    /// Which elements form a pair.
    pub fn layout(&self) -> RopeLayout {
        self.layout
    }

    /// `(cosines, sines)` of a position, one each per pair.
    ///
    /// The angle is rounded to f32 as in the reference implementations, its cosine is then exact to f32.
    ///
    /// # Panics
    /// If `position >= max_positions`.
    pub fn at(&self, position: usize) -> (&[f32], &[f32]) {
        assert!(position < self.max_positions, "position {position} of {}", self.max_positions);
        let half = self.inv_freq.len();
        let block = self.blocks[position / BLOCK].get_or_init(|| {
            let start = position / BLOCK * BLOCK;
            let mut rows = Vec::with_capacity(BLOCK * 2 * half);
            for p in start..start + BLOCK {
                let angle = |f: &f32| (p as f32 * f) as f64;
                rows.extend(self.inv_freq.iter().map(|f| angle(f).cos() as f32 * self.attention_factor));
                rows.extend(self.inv_freq.iter().map(|f| angle(f).sin() as f32 * self.attention_factor));
            }
            rows.into_boxed_slice()
        });
        let row = &block[position % BLOCK * 2 * half..][..2 * half];
        row.split_at(half)
    }
}

impl std::fmt::Debug for RopeTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RopeTable")
            .field("rotary_dims", &self.rotary_dims())
            .field("max_positions", &self.max_positions)
            .field("layout", &self.layout)
            .finish()
    }
}
