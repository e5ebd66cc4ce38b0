//! The one decoder: embeddings, layers of attention and MLP, a final norm, a head.
//!
//! Everything that distinguishes families is data here ([`ModelConfig`]) or an optional tensor (a bias, a gate, learned
//! positions). Training, evaluation and serving run this same code; what a tape records is the tape's business.

use crate::config::{Dropouts, ModelConfig};
use crate::error::Result;
use crate::family::{Half, Part, Place, Slot, slots};
use crate::rope::RopeTables;
use engine::{
    AttentionSpec, ComputeDtype, EngineError, FrozenMatrix, GroupFormat, KvCache, Linear, Matrix, Norm, NormKind, Segments, Tape, Tensor,
    Vector,
};
use std::collections::BTreeMap;
use std::iter;
use std::ops::Range;
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

impl Qkv {
    /// Its layers.
    pub(crate) fn linears(&self) -> &[Linear] {
        match self {
            Qkv::Separate(three) => three,
            Qkv::Fused(one) => std::slice::from_ref(one),
        }
    }
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
    /// Arithmetic of its products and type of its activations.
    pub compute: ComputeDtype,
    /// What the user should know about how the model was loaded (tensors that were not used, settings without effect).
    pub notes: Vec<String>,
    rope: Option<RopeTables>,
}

/// Keys of the model's own dropout sites, apart from those of LoRA's modules.
const DROPOUT_SITES: u64 = 1 << 32;

/// A tensor as the decoder keeps it.
pub(crate) enum Piece {
    Matrix(FrozenMatrix),
    Vector(Vec<f32>),
}

impl Piece {
    /// Numbers of a slot, packed for products in `compute`.
    pub(crate) fn new(slot: &Slot, data: Vec<f32>, compute: ComputeDtype) -> Result<Self> {
        match slot.shape[..] {
            [rows, cols] => Ok(Piece::Matrix(FrozenMatrix::packed(rows, cols, data, storage_of(slot.place, compute))?)),
            _ => Ok(Piece::Vector(data)),
        }
    }

    /// A matrix in its file's own groups; row `i` is row `row(i)` of the file's.
    pub(crate) fn from_groups(slot: &Slot, format: GroupFormat, blocks: &[u8], row: impl Fn(usize) -> usize + Sync) -> Result<Self> {
        let (rows, cols) = (slot.shape.first().copied().unwrap_or(1), slot.shape.get(1).copied().unwrap_or(1));
        Ok(Piece::Matrix(FrozenMatrix::from_groups(rows, cols, format, blocks, row)?))
    }
}

/// What a matrix is kept in. Int8 is for the layers: the head's outputs are compared with each other, and rows of the
/// embedding go into the residual stream as they are.
fn storage_of(place: Place, compute: ComputeDtype) -> ComputeDtype {
    match (place, compute) {
        (Place::Positions, _) | (_, ComputeDtype::F32 | ComputeDtype::Native) => ComputeDtype::F32,
        (Place::Embed | Place::Head, _) => ComputeDtype::Bf16,
        (_, compute) => compute,
    }
}

/// The fetched tensors, taken out by place while the decoder is put together.
struct Parts(BTreeMap<Place, Piece>);

impl Parts {
    fn matrix(&mut self, place: Place) -> Option<Matrix> {
        match self.0.remove(&place)? {
            Piece::Matrix(m) => Some(Matrix::Frozen(Arc::new(m))),
            Piece::Vector(_) => None,
        }
    }

    fn vector(&mut self, place: Place) -> Option<Vector> {
        match self.0.remove(&place)? {
            Piece::Vector(data) => Some(Vector::Frozen(Arc::new(data))),
            Piece::Matrix(_) => None,
        }
    }

    fn linear(&mut self, layer: usize, part: fn(Half) -> Part) -> Option<Linear> {
        let weight = self.matrix(Place::Layer(layer, part(Half::Weight)))?;
        let bias = self.vector(Place::Layer(layer, part(Half::Bias)));
        Some(Linear { weight, bias, lora: None })
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
    /// Builds a decoder in f32; `fetch` gives each tensor's numbers once, in the layout of [`Slot::shape`].
    ///
    /// # Errors
    /// Whatever `fetch` returns; wrong lengths.
    pub fn assemble(config: ModelConfig, fetch: impl FnMut(&Slot) -> Result<Vec<f32>>) -> Result<Self> {
        Self::assemble_in(config, ComputeDtype::F32, fetch)
    }

    /// As [`Self::assemble`], for products in `compute`; each tensor is packed as it comes.
    ///
    /// # Errors
    /// Whatever `fetch` returns; wrong lengths.
    pub fn assemble_in(config: ModelConfig, compute: ComputeDtype, mut fetch: impl FnMut(&Slot) -> Result<Vec<f32>>) -> Result<Self> {
        let mut pieces = BTreeMap::new();
        for slot in slots(&config) {
            let piece = Piece::new(&slot, fetch(&slot)?, compute)?;
            pieces.insert(slot.place, piece);
        }
        Self::from_pieces(config, compute, pieces)
    }

    pub(crate) fn from_pieces(config: ModelConfig, compute: ComputeDtype, pieces: BTreeMap<Place, Piece>) -> Result<Self> {
        let mut parts = Parts(pieces);
        let embed_tokens = there(parts.matrix(Place::Embed))?;
        let lm_head = Linear::new(match parts.matrix(Place::Head) {
            Some(own) => own,
            None => embed_tokens.clone(),
        });
        let layers = (0..config.layers)
            .map(|i| {
                let qkv = match parts.linear(i, Part::FusedQkv) {
                    Some(fused) => Qkv::Fused(fused),
                    None => Qkv::Separate([
                        there(parts.linear(i, |h| Part::Qkv(0, h)))?,
                        there(parts.linear(i, |h| Part::Qkv(1, h)))?,
                        there(parts.linear(i, |h| Part::Qkv(2, h)))?,
                    ]),
                };
                Ok(Layer {
                    input_norm: parts.norm(&config, |h| Place::Layer(i, Part::InputNorm(h)))?,
                    qkv,
                    output: there(parts.linear(i, Part::Output))?,
                    post_norm: parts.norm(&config, |h| Place::Layer(i, Part::PostNorm(h)))?,
                    gate: parts.linear(i, Part::Gate),
                    up: there(parts.linear(i, Part::Up))?,
                    down: there(parts.linear(i, Part::Down))?,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Decoder {
            embed_tokens,
            positions: parts.matrix(Place::Positions),
            layers,
            final_norm: parts.norm(&config, Place::FinalNorm)?,
            lm_head,
            dropout: config.dropout,
            compute,
            notes: config.notes(),
            rope: config.rope.clone().map(RopeTables::new),
            config,
        })
    }

    /// Packs what is still frozen in f32 for products in `compute`. Trainable tensors stay: their masters are f32.
    ///
    /// # Errors
    /// None at present.
    pub fn pack(&mut self, compute: ComputeDtype) -> Result<()> {
        let tied = self.is_tied();
        let pack = |m: &mut Matrix, place: Place| -> Result<()> {
            let to = storage_of(place, compute);
            if let Matrix::Frozen(frozen) = m
                && frozen.compute() == ComputeDtype::F32
                && to != ComputeDtype::F32
            {
                *m = Matrix::Frozen(Arc::new(FrozenMatrix::packed(frozen.rows(), frozen.cols(), frozen.to_f32(), to)?));
            }
            Ok(())
        };
        pack(&mut self.embed_tokens, Place::Embed)?;
        if tied {
            self.lm_head.weight = self.embed_tokens.clone();
        }
        let head = self.config.family.names.head;
        for (path, linear) in self.modules_mut() {
            let place = if path == head { Place::Head } else { Place::Layer(0, Part::Up(Half::Weight)) };
            pack(&mut linear.weight, place)?;
        }
        self.compute = compute;
        Ok(())
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
    pub fn forward(&self, tape: &mut Tape<'_>, ids: &[u32], segments: &Segments, cache: Option<&mut KvCache>) -> engine::Result<Tensor> {
        self.forward_rows(tape, ids, segments, cache, None)
    }

    /// As [`Self::forward`], but only for `rows` (ascending, each once; `None`: all): `[rows, hidden]`. What only other rows
    /// need is not computed in the last layer: there, other rows have keys and values but no query, attention output or MLP.
    ///
    /// # Errors
    /// As [`Self::forward`]; if the rows do not ascend.
    pub fn forward_rows(
        &self,
        tape: &mut Tape<'_>,
        ids: &[u32],
        segments: &Segments,
        mut cache: Option<&mut KvCache>,
        rows: Option<&[u32]>,
    ) -> engine::Result<Tensor> {
        let x = self.forward_to(tape, ids, segments, cache.as_deref_mut(), 0)?;
        let hidden = self.forward_from(tape, x, segments, cache.as_deref_mut(), 0, rows)?;
        if let Some(cache) = cache {
            cache.advance(segments)?;
        }
        Ok(hidden)
    }

    /// The residual stream before layer `end`: `[tokens, hidden]`. A cache gets the keys and values of these layers and is not
    /// advanced.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_to(
        &self,
        tape: &mut Tape<'_>,
        ids: &[u32],
        segments: &Segments,
        mut cache: Option<&mut KvCache>,
        end: usize,
    ) -> engine::Result<Tensor> {
        tape.compute_in(self.compute);
        let mut x = tape.embedding(&self.embed_tokens, ids)?;
        if let Some(table) = &self.positions {
            let longest = segments.longest();
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
        for i in 0..end {
            x = self.layer(tape, x, i, segments, cache.as_deref_mut(), None)?;
        }
        Ok(x)
    }

    /// The residual stream behind `layers`, from that before them: `[tokens, hidden]` both.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_through(&self, tape: &mut Tape<'_>, mut x: Tensor, segments: &Segments, layers: Range<usize>) -> engine::Result<Tensor> {
        tape.compute_in(self.compute);
        for i in layers {
            x = self.layer(tape, x, i, segments, None, None)?;
        }
        Ok(x)
    }

    /// From the residual stream before layer `first` to hidden states after the final norm, of `rows` only (see
    /// [`Self::forward_rows`]). A cache is not advanced.
    ///
    /// # Errors
    /// As [`Self::forward_rows`].
    pub fn forward_from(
        &self,
        tape: &mut Tape<'_>,
        mut x: Tensor,
        segments: &Segments,
        mut cache: Option<&mut KvCache>,
        first: usize,
        rows: Option<&[u32]>,
    ) -> engine::Result<Tensor> {
        tape.compute_in(self.compute);
        let rows = rows.filter(|rows| rows.len() < segments.tokens());
        let last = self.layers.len();
        for i in first..last {
            x = self.layer(tape, x, i, segments, cache.as_deref_mut(), rows.filter(|_| i + 1 == last))?;
        }
        if let Some(rows) = rows.filter(|_| first >= last) {
            x = tape.select_rows(&x, rows)?;
        }
        tape.norm(&x, &self.final_norm)
    }

    /// One layer. Each step's intermediates end with its function: the tape may then reuse their buffers.
    fn layer(
        &self,
        tape: &mut Tape<'_>,
        x: Tensor,
        i: usize,
        segments: &Segments,
        cache: Option<&mut KvCache>,
        rows: Option<&[u32]>,
    ) -> engine::Result<Tensor> {
        let layer = &self.layers[i];
        let spec = AttentionSpec {
            n_heads: self.config.heads,
            n_kv_heads: self.config.kv_heads,
            head_dim: self.config.head_dim,
            scale: self.config.attention_scales[i],
            rope: self.rope.as_ref().map(|r| r.table(segments.longest().max(1))),
            causal: true,
            window: self.config.windows[i],
        };
        let cache = cache.map(|c| (c, i));
        let asked = rows.map_or(x.rows(), <[u32]>::len);
        tape.expect(asked, [&layer.output]);
        let (mixed, mut x) = match rows {
            None => (self.attend(tape, &x, layer, &spec, segments, cache)?, x),
            Some(rows) => self.attend_rows(tape, x, layer, &spec, segments, cache, rows)?,
        };
        tape.expect(asked, iter::once(&layer.up).chain(&layer.gate));
        x = self.residual(tape, &mixed, &layer.output, &x, 2 * i as u64 + 1)?;
        drop(mixed);
        tape.expect(asked, [&layer.down]);
        let inner = self.mlp(tape, &x, layer)?;
        match self.layers.get(i + 1) {
            Some(next) => tape.expect(asked, next.qkv.linears()),
            None => tape.expect(asked, [&self.lm_head]),
        }
        self.residual(tape, &inner, &layer.down, &x, 2 * i as u64 + 2)
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
                let [q, k, v] = tape.linears(&h, [q, k, v])?;
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

    /// As [`Self::attend`], with queries of some rows only; also these rows of `x`.
    #[allow(clippy::too_many_arguments)]
    fn attend_rows(
        &self,
        tape: &mut Tape<'_>,
        x: Tensor,
        layer: &Layer,
        spec: &AttentionSpec,
        segments: &Segments,
        cache: Option<(&mut KvCache, usize)>,
        rows: &[u32],
    ) -> engine::Result<(Tensor, Tensor)> {
        let segments = segments.asking(rows)?;
        let h = tape.norm(&x, &layer.input_norm)?;
        let mixed = match &layer.qkv {
            Qkv::Separate([q, k, v]) => {
                let [k, v] = tape.linears(&h, [k, v])?;
                drop(h);
                // Normed again, not selected from the norm: nothing then has to be kept for it.
                let few = tape.select_rows(&x, rows)?;
                let h = tape.norm(&few, &layer.input_norm)?;
                let q = tape.linear(&h, q)?;
                drop(h);
                return Ok((tape.attention(q.full(), k.full(), v.full(), spec, &segments, cache)?, few));
            }
            Qkv::Fused(qkv) => {
                let qkv = tape.linear(&h, qkv)?;
                drop(h);
                let (q, kv) = (spec.n_heads * spec.head_dim, spec.n_kv_heads * spec.head_dim);
                let queries = tape.select_rows(&qkv, rows)?;
                tape.attention(queries.view(0, q), qkv.view(q, kv), qkv.view(q + kv, kv), spec, &segments, cache)?
            }
        };
        Ok((mixed, tape.select_rows(&x, rows)?))
    }

    fn mlp(&self, tape: &mut Tape<'_>, x: &Tensor, layer: &Layer) -> engine::Result<Tensor> {
        let h = tape.norm(x, &layer.post_norm)?;
        match &layer.gate {
            Some(gate) => {
                let [up, gate] = tape.linears(&h, [&layer.up, gate])?;
                drop(h);
                tape.glu(gate.full(), up.full(), self.config.activation)
            }
            None => {
                let up = tape.linear(&h, &layer.up)?;
                tape.activation(&up, self.config.activation)
            }
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
        KvCache::new_in(self.compute, self.config.layers, slots, capacity, self.config.kv_dim())
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
