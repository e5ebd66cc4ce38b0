//! Attention over packed segments.

use crate::cache::KvCache;
use crate::error::Result;
use crate::rope::RopeTable;
use crate::segments::Segments;
use crate::tape::Tape;
use crate::tensor::{Tensor, View};
use std::sync::Arc;

/// What kind of attention.
#[derive(Clone, Debug)]
pub struct AttentionSpec {
    /// Query heads.
    pub n_heads: usize,
    /// Key/value heads; divides `n_heads` (grouped-query attention, Ainslie et al. 2023, arXiv:2305.13245).
    pub n_kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Multiplies the scores, usually `1/√head_dim`.
    pub scale: f32,
    /// Rotates queries and keys by their position.
    pub rope: Option<Arc<RopeTable>>,
    /// Each token sees only itself and what came before.
    pub causal: bool,
    /// Each token sees only the last `window` tokens, itself included.
    pub window: Option<usize>,
}

impl Tape<'_> {
    /// Attention within each segment: `q [T, n_heads·d]`, `k` and `v` `[T, n_kv_heads·d]` give `[T, n_heads·d]`.
    ///
    /// With a cache (inference only) the new keys and values are appended to layer `cache.1` of each segment's slot
    /// and the queries see everything there; call [`KvCache::advance`] after the last layer.
    pub fn attention(
        &mut self,
        q: View,
        k: View,
        v: View,
        spec: &AttentionSpec,
        segments: &Segments,
        cache: Option<(&mut KvCache, usize)>,
    ) -> Result<Tensor> {
        todo!()
    }
}
