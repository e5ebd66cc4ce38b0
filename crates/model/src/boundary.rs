//! What a decoder's state says about the work that a training step needs: where the frozen part ends, whether anything is random.

use crate::decoder::{Decoder, Layer};
use engine::{Linear, Matrix};

impl Layer {
    fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.qkv.linears().iter().chain([&self.output, &self.up, &self.down]).chain(&self.gate)
    }

    fn trainable(&self) -> bool {
        self.linears().any(Linear::trainable) || self.input_norm.trainable() || self.post_norm.trainable()
    }
}

impl Decoder {
    /// Number of layers, counted from the first, below which nothing trains and nothing is dropped: what they compute for a row
    /// is the same in every step of a training run.
    pub fn frozen_layers(&self) -> usize {
        if self.dropout.embedding > 0.0 || self.dropout.residual > 0.0 {
            return 0;
        }
        self.untrained_layers()
    }

    /// Number of layers, counted from the first, below which nothing trains, whether something is dropped there or not.
    pub fn untrained_layers(&self) -> usize {
        if self.trains_embedding() {
            return 0;
        }
        self.layers.iter().take_while(|layer| !layer.trainable()).count()
    }

    /// True if embeddings of tokens or positions train.
    pub fn trains_embedding(&self) -> bool {
        [Some(&self.embed_tokens), self.positions.as_ref()].into_iter().flatten().any(|m| matches!(m, Matrix::Param(_)))
    }

    /// True if training draws random numbers for each row: what two rows have in common is then no longer the same.
    pub fn drops(&self) -> bool {
        let branches = self.layers.iter().flat_map(Layer::linears).chain([&self.lm_head]);
        self.dropout.embedding > 0.0
            || self.dropout.residual > 0.0
            || branches.filter_map(|linear| linear.lora.as_ref()).any(|lora| lora.dropout > 0.0)
    }

    /// True if a token of a row is computed the same whatever else is in the batch, for rows of at most `longest` tokens. Some
    /// ways of stretching rotary embeddings look at the longest row.
    pub fn same_in_every_batch(&self, longest: usize) -> bool {
        self.config.rope.as_ref().is_none_or(|rope| rope.length_class(1) == rope.length_class(longest))
    }
}
