//! The one decoder: embeddings, layers of attention and MLP, a final norm, a head.
//!
//! Everything that distinguishes families is data here ([`ModelConfig`]) or an optional tensor (a bias, a gate, learned
//! positions). Training, evaluation and serving run this same code; what a tape records is the tape's business.

use crate::config::{Dropouts, ModelConfig};
use crate::error::Result;
use crate::family::{Half, Part, Place, Slot, slots};
use crate::rope::RopeTables;
use engine::{AttentionSpec, EngineError, FrozenMatrix, KvCache, Linear, Matrix, Norm, NormKind, Segments, Tape, Tensor, Vector};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Queries, keys and values: three matrices or one.
#[derive(Clone, Debug)]
pub enum Qkv {
    /// One projection each.
    Separate([Linear; 3]),
    /// `[q; k; v]` stacked.
    Fused(Linear),
}

/// One layer.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Before attention.
    pub input_norm: Norm,
    /// Queries, keys, values.
    pub qkv: Qkv,
    /// Attention output.
    pub output: Linear,
    /// Before the MLP.
    pub post_norm: Norm,
    /// Gate of a gated MLP.
    pub gate: Option<Linear>,
    /// MLP in.
    pub up: Linear,
    /// MLP out.
    pub down: Linear,
}

/// A decoder-only language model.
#[derive(Debug)]
pub struct Decoder {
    /// Its configuration.
    pub config: ModelConfig,
    /// Token embedding `[vocab, hidden]`.
    pub embed_tokens: Matrix,
    /// Learned positions `[positions, hidden]`.
    pub positions: Option<Matrix>,
    /// The layers.
    pub layers: Vec<Layer>,
    /// Before the head.
    pub final_norm: Norm,
    /// The head. In a tied model its weight is the embedding's storage (or parameter).
    pub lm_head: Linear,
    /// Dropout in training; from the configuration, may be changed.
    pub dropout: Dropouts,
    /// What the user should know about how the model was loaded (tensors that were not used, settings without effect).
    pub notes: Vec<String>,
    rope: Option<RopeTables>,
}

/// Keys of the model's own dropout sites, apart from those of LoRA's modules.
const DROPOUT_SITES: u64 = 1 << 32;

/// The fetched tensors, taken out by place while the decoder is put together.
struct Parts(BTreeMap<Place, (Vec<usize>, Vec<f32>)>);

impl Parts {
    fn matrix(&mut self, place: Place) -> Result<Option<Matrix>> {
        let Some((shape, data)) = self.0.remove(&place) else { return Ok(None) };
        let cols = shape.get(1).copied().unwrap_or(1);
        Ok(Some(Matrix::Frozen(Arc::new(FrozenMatrix::from_f32(shape[0], cols, data)?))))
    }

    fn vector(&mut self, place: Place) -> Option<Vector> {
        self.0.remove(&place).map(|(_, data)| Vector::Frozen(Arc::new(data)))
    }

    fn linear(&mut self, layer: usize, part: fn(Half) -> Part) -> Result<Option<Linear>> {
        let weight = self.matrix(Place::Layer(layer, part(Half::Weight)))?;
        let bias = self.vector(Place::Layer(layer, part(Half::Bias)));
        Ok(weight.map(|weight| Linear { weight, bias, lora: None }))
    }

    fn norm(&mut self, config: &ModelConfig, place: impl Fn(Half) -> Place) -> Result<Norm> {
        let kind = if config.family.layer_norm { NormKind::Layer } else { NormKind::Rms };
        let weight = self.vector(place(Half::Weight));
        Ok(Norm { kind, weight: there(weight)?, bias: self.vector(place(Half::Bias)), eps: config.norm_eps })
    }
}

/// `slots` lists every tensor that a decoder takes: absence is a fault of this crate, but still no reason to panic.
fn there<T>(part: Option<T>) -> Result<T> {
    part.ok_or_else(|| EngineError::Invalid { op: "Decoder::assemble", reason: "a tensor of the model is not listed".into() }.into())
}

impl Decoder {
    /// Builds a decoder; `fetch` gives each tensor's numbers once, in the layout of [`Slot::shape`].
    ///
    /// # Errors
    /// Whatever `fetch` returns; wrong lengths.
    pub fn assemble(config: ModelConfig, mut fetch: impl FnMut(&Slot) -> Result<Vec<f32>>) -> Result<Self> {
        let mut parts = Parts(BTreeMap::new());
        for slot in slots(&config) {
            let data = fetch(&slot)?;
            parts.0.insert(slot.place, (slot.shape, data));
        }
        let embed_tokens = there(parts.matrix(Place::Embed)?)?;
        let lm_head = Linear::new(match parts.matrix(Place::Head)? {
            Some(own) => own,
            None => embed_tokens.clone(),
        });
        let layers = (0..config.layers)
            .map(|i| {
                let qkv = match parts.linear(i, Part::FusedQkv)? {
                    Some(fused) => Qkv::Fused(fused),
                    None => Qkv::Separate([
                        there(parts.linear(i, |h| Part::Qkv(0, h))?)?,
                        there(parts.linear(i, |h| Part::Qkv(1, h))?)?,
                        there(parts.linear(i, |h| Part::Qkv(2, h))?)?,
                    ]),
                };
                Ok(Layer {
                    input_norm: parts.norm(&config, |h| Place::Layer(i, Part::InputNorm(h)))?,
                    qkv,
                    output: there(parts.linear(i, Part::Output)?)?,
                    post_norm: parts.norm(&config, |h| Place::Layer(i, Part::PostNorm(h)))?,
                    gate: parts.linear(i, Part::Gate)?,
                    up: there(parts.linear(i, Part::Up)?)?,
                    down: there(parts.linear(i, Part::Down)?)?,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Decoder {
            embed_tokens,
            positions: parts.matrix(Place::Positions)?,
            layers,
            final_norm: parts.norm(&config, Place::FinalNorm)?,
            lm_head,
            dropout: config.dropout,
            notes: config.notes(),
            rope: config.rope.clone().map(RopeTables::new),
            config,
        })
    }

    /// The output head, as [`Tape::cross_entropy`] takes it.
    pub fn head(&self) -> &Linear {
        &self.lm_head
    }

    /// Token ids to hidden states after the final norm: `[tokens, hidden]`. `segments` lay the sequences end to end; with a
    /// cache (inference) they continue what it holds, and the cache is advanced.
    ///
    /// # Errors
    /// If a token id is outside the vocabulary, a sequence is longer than learned positions reach, or shapes disagree.
    pub fn forward(
        &self,
        tape: &mut Tape<'_>,
        ids: &[u32],
        segments: &Segments,
        mut cache: Option<&mut KvCache>,
    ) -> engine::Result<Tensor> {
        let longest = segments.iter().map(|s| s.past + s.len).max().unwrap_or(0);
        let mut x = tape.embedding(&self.embed_tokens, ids)?;
        if let Some(table) = &self.positions {
            if longest > self.config.max_positions {
                return Err(EngineError::Invalid {
                    op: "Decoder::forward",
                    reason: format!(
                        "a sequence of {longest} tokens does not fit the model's {} positions; shorten it",
                        self.config.max_positions
                    ),
                });
            }
            let positions = tape.embedding(table, &segments.positions())?;
            x = tape.add(&x, &positions)?;
        }
        if self.dropout.embedding > 0.0 {
            x = tape.dropout(&x, self.dropout.embedding, DROPOUT_SITES)?;
        }
        let rope = self.rope.as_ref().map(|r| r.table(longest.max(1)));
        for (i, layer) in self.layers.iter().enumerate() {
            let spec = AttentionSpec {
                n_heads: self.config.heads,
                n_kv_heads: self.config.kv_heads,
                head_dim: self.config.head_dim,
                scale: self.config.attention_scales[i],
                rope: rope.clone(),
                causal: true,
                window: self.config.windows[i],
            };
            // each step's intermediates end with its function: the tape may then reuse their buffers
            let mixed = self.attend(tape, &x, layer, &spec, segments, cache.as_deref_mut().map(|c| (c, i)))?;
            x = self.residual(tape, &mixed, &layer.output, &x, 2 * i as u64 + 1)?;
            drop(mixed);
            let inner = self.mlp(tape, &x, layer)?;
            x = self.residual(tape, &inner, &layer.down, &x, 2 * i as u64 + 2)?;
        }
        if let Some(cache) = cache {
            cache.advance(segments)?;
        }
        tape.norm(&x, &self.final_norm)
    }

    fn attend(
        &self,
        tape: &mut Tape<'_>,
        x: &Tensor,
        layer: &Layer,
        spec: &AttentionSpec,
        segments: &Segments,
        cache: Option<(&mut KvCache, usize)>,
    ) -> engine::Result<Tensor> {
        let h = tape.norm(x, &layer.input_norm)?;
        match &layer.qkv {
            Qkv::Separate([q, k, v]) => {
                let (q, k, v) = (tape.linear(&h, q)?, tape.linear(&h, k)?, tape.linear(&h, v)?);
                drop(h);
                tape.attention(q.full(), k.full(), v.full(), spec, segments, cache)
            }
            Qkv::Fused(qkv) => {
                let qkv = tape.linear(&h, qkv)?;
                drop(h);
                let (q, kv) = (spec.n_heads * spec.head_dim, spec.n_kv_heads * spec.head_dim);
                let (queries, keys, values) = (qkv.view(0, q), qkv.view(q, kv), qkv.view(q + kv, kv));
                tape.attention(queries, keys, values, spec, segments, cache)
            }
        }
    }

    fn mlp(&self, tape: &mut Tape<'_>, x: &Tensor, layer: &Layer) -> engine::Result<Tensor> {
        let h = tape.norm(x, &layer.post_norm)?;
        let up = tape.linear(&h, &layer.up)?;
        match &layer.gate {
            Some(gate) => {
                let gate = tape.linear(&h, gate)?;
                drop(h);
                tape.glu(gate.full(), up.full(), self.config.activation)
            }
            None => tape.activation(&up, self.config.activation),
        }
    }

    /// `x + dropout(layer(inner))`.
    fn residual(&self, tape: &mut Tape<'_>, inner: &Tensor, layer: &Linear, x: &Tensor, site: u64) -> engine::Result<Tensor> {
        if self.dropout.residual > 0.0 && tape.is_training() {
            let y = tape.linear(inner, layer)?;
            let y = tape.dropout(&y, self.dropout.residual, DROPOUT_SITES + site)?;
            tape.add(x, &y)
        } else {
            tape.linear_add(inner, layer, x)
        }
    }

    /// A cache for `slots` sequences of at most `capacity` tokens.
    pub fn cache(&self, slots: usize, capacity: usize) -> KvCache {
        KvCache::new(self.config.layers, slots, capacity, self.config.kv_dim())
    }

    /// Every tensor that the model has, in the order of the forward pass.
    pub fn slots(&self) -> Vec<Slot> {
        slots(&self.config)
    }

    /// Hugging Face's names of all tensors.
    pub fn parameter_names(&self) -> Vec<String> {
        self.slots().into_iter().map(|s| s.name).collect()
    }

    /// Number of parameters of the base model (a tied matrix counts once, adapters do not count).
    pub fn parameters(&self) -> usize {
        self.config.parameters()
    }

    /// True if the head shares the embedding's weight.
    pub fn is_tied(&self) -> bool {
        match (&self.embed_tokens, &self.lm_head.weight) {
            (Matrix::Frozen(a), Matrix::Frozen(b)) => Arc::ptr_eq(a, b),
            (Matrix::Param(a), Matrix::Param(b)) => a == b,
            _ => false,
        }
    }
}
