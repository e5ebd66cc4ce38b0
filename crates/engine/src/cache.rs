//! Keys and values of what a model has already read, one slot for each running sequence.

use crate::data::{ComputeDtype, Dtype};
use crate::error::{EngineError, Result};
use crate::segments::Segments;

/// A key/value cache: `slots` sequences of at most `capacity` tokens for each layer. Keys are stored rotated.
///
/// Layout of a layer: `[slot, capacity, kv_dim]`, keys and values apart.
pub struct KvCache {
    layers: Vec<LayerCache>,
    lengths: Vec<usize>,
    capacity: usize,
    kv_dim: usize,
}

/// Keys and values of a layer, in the type that attention reads.
pub(crate) enum LayerCache {
    F32 { keys: Vec<f32>, values: Vec<f32> },
    Bf16 { keys: Vec<u16>, values: Vec<u16> },
}

impl KvCache {
    /// A cache in f32; `kv_dim` = key/value heads times head size.
    pub fn new(layers: usize, slots: usize, capacity: usize, kv_dim: usize) -> Self {
        Self::new_in(ComputeDtype::F32, layers, slots, capacity, kv_dim)
    }

    /// As [`Self::new`], in the type in which a model of type `compute` keeps keys and values.
    pub fn new_in(compute: ComputeDtype, layers: usize, slots: usize, capacity: usize, kv_dim: usize) -> Self {
        let len = slots * capacity * kv_dim;
        let layer = || match compute.activations() {
            Dtype::F32 => LayerCache::F32 { keys: vec![0.0; len], values: vec![0.0; len] },
            Dtype::Bf16 => LayerCache::Bf16 { keys: vec![0; len], values: vec![0; len] },
        };
        KvCache { layers: (0..layers).map(|_| layer()).collect(), lengths: vec![0; slots], capacity, kv_dim }
    }

    /// Number of layers.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// Number of slots.
    pub fn slots(&self) -> usize {
        self.lengths.len()
    }

    /// Tokens that a slot can hold.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Width of a key.
    pub fn kv_dim(&self) -> usize {
        self.kv_dim
    }

    /// Tokens that `slot` holds.
    pub fn len(&self, slot: usize) -> usize {
        self.lengths[slot]
    }

    /// True if no slot holds anything.
    pub fn is_empty(&self) -> bool {
        self.lengths.iter().all(|&n| n == 0)
    }

    /// Bytes that keys and values occupy.
    pub fn bytes(&self) -> usize {
        let element = match self.layers.first() {
            Some(LayerCache::Bf16 { .. }) => size_of::<u16>(),
            _ => size_of::<f32>(),
        };
        self.layers.len() * self.slots() * self.capacity * self.kv_dim * 2 * element
    }

    /// Counts the new tokens of `segments` as held; call it once after the last layer of a forward pass.
    ///
    /// # Errors
    /// If the segments were not made for the present state of this cache.
    pub fn advance(&mut self, segments: &Segments) -> Result<()> {
        const OP: &str = "KvCache::advance";
        for s in segments.iter() {
            let slot = s
                .slot
                .filter(|&i| i < self.slots() && self.lengths[i] == s.past)
                .ok_or_else(|| EngineError::Invalid { op: OP, reason: "these segments do not continue what the cache holds".into() })?;
            if s.past + s.len > self.capacity {
                return Err(EngineError::Index { op: OP, what: "position", index: s.past + s.len - 1, len: self.capacity });
            }
            self.lengths[slot] += s.len;
        }
        Ok(())
    }

    /// Forgets everything after the first `len` tokens of `slot`.
    pub fn truncate(&mut self, slot: usize, len: usize) {
        self.lengths[slot] = self.lengths[slot].min(len);
    }

    /// Makes slot `to` a copy of slot `from` (a prompt shared by several continuations).
    pub fn copy_slot(&mut self, from: usize, to: usize) {
        let stride = self.capacity * self.kv_dim;
        let used = self.lengths[from] * self.kv_dim;
        for layer in &mut self.layers {
            let range = from * stride..from * stride + used;
            match layer {
                LayerCache::F32 { keys, values } => [keys, values].map(|x| x.copy_within(range.clone(), to * stride)),
                LayerCache::Bf16 { keys, values } => [keys, values].map(|x| x.copy_within(range.clone(), to * stride)),
            };
        }
        self.lengths[to] = self.lengths[from];
    }

    pub(crate) fn layer_mut(&mut self, layer: usize) -> &mut LayerCache {
        &mut self.layers[layer]
    }
}

impl std::fmt::Debug for KvCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KvCache")
            .field("layers", &self.layers.len())
            .field("lengths", &self.lengths)
            .field("capacity", &self.capacity)
            .field("kv_dim", &self.kv_dim)
            .finish()
    }
}
