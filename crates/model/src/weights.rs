//! Finding the decoder's tensors: linear layers by module path, any tensor by its place.
//!
//! Adapters, freezing, saving and loading all go through here, so that none of them knows how a layer is built.

use crate::decoder::{Decoder, Layer, Qkv};
use crate::family::{Half, Part, Place};
use engine::{Linear, Matrix, Norm, ParamId, ParamStore, Vector};

/// A tensor of the decoder (a handle: cloning shares the numbers).
#[derive(Clone, Debug)]
pub enum Weight {
    /// Two-dimensional.
    Matrix(Matrix),
    /// One-dimensional.
    Vector(Vector),
}

impl Weight {
    /// The numbers.
    pub fn to_f32(&self, params: &ParamStore) -> Vec<f32> {
        match self {
            Weight::Matrix(m) => m.to_f32(params),
            Weight::Vector(v) => v.to_f32(params),
        }
    }

    /// The parameter, if it is trained.
    pub fn param(&self) -> Option<ParamId> {
        match self {
            Weight::Matrix(Matrix::Param(id)) | Weight::Vector(Vector::Param(id)) => Some(*id),
            _ => None,
        }
    }
}

/// Both listings (shared and mutable) from one order.
macro_rules! list_modules {
    ($self:ident, $iter:ident, $as_ref:ident, $($mutable:tt)?) => {{
        let names = $self.config.family.names;
        let mut list = Vec::new();
        for (i, layer) in $self.layers.$iter().enumerate() {
            let path = |name: &str| format!("{}.{i}.{name}", names.layers);
            let Layer { qkv, output, gate, up, down, .. } = layer;
            match qkv {
                Qkv::Separate(three) => list.extend(names.qkv.iter().zip(three).map(|(name, l)| (path(name), l))),
                Qkv::Fused(l) => list.push((path(names.fused_qkv), l)),
            }
            list.push((path(names.output), output));
            list.extend(gate.$as_ref().map(|l| (path(names.gate), l)));
            list.push((path(names.up), up));
            list.push((path(names.down), down));
        }
        list.push((names.head.to_owned(), &$($mutable)? $self.lm_head));
        list
    }};
}

impl Decoder {
    /// Every linear layer with its module path, in the order of the forward pass, the head last.
    pub fn modules(&self) -> Vec<(String, &Linear)> {
        list_modules!(self, iter, as_ref,)
    }

    /// As [`Self::modules`], to change them.
    pub fn modules_mut(&mut self) -> Vec<(String, &mut Linear)> {
        list_modules!(self, iter_mut, as_mut, mut)
    }

    /// Number of all numbers that the model and its adapter hold. What trains as a whole is a tensor of the base and counts once,
    /// however many names it is saved under.
    pub fn parameters_with(&self, params: &ParamStore) -> usize {
        let branches = self.modules().into_iter().filter_map(|(_, linear)| linear.lora.as_ref());
        self.parameters() + branches.map(|lora| params.get(lora.a).numel() + params.get(lora.b).numel()).sum::<usize>()
    }

    /// The linear layer at a module path.
    pub fn linear_mut(&mut self, path: &str) -> Option<&mut Linear> {
        self.modules_mut().into_iter().find(|(p, _)| p == path).map(|(_, l)| l)
    }

    /// The tensor at a place. The place of the head of a tied model gives the embedding.
    pub fn weight(&self, place: Place) -> Option<Weight> {
        match place {
            Place::Embed => Some(Weight::Matrix(self.embed_tokens.clone())),
            Place::Positions => self.positions.clone().map(Weight::Matrix),
            Place::Head => Some(Weight::Matrix(self.lm_head.weight.clone())),
            Place::FinalNorm(half) => norm_half(&self.final_norm, half),
            Place::Layer(i, part) => {
                let layer = self.layers.get(i)?;
                match part {
                    Part::InputNorm(half) => norm_half(&layer.input_norm, half),
                    Part::PostNorm(half) => norm_half(&layer.post_norm, half),
                    Part::Qkv(n, half) => match &layer.qkv {
                        Qkv::Separate(three) => linear_half(three.get(n)?, half),
                        Qkv::Fused(_) => None,
                    },
                    Part::FusedQkv(half) => match &layer.qkv {
                        Qkv::Fused(l) => linear_half(l, half),
                        Qkv::Separate(_) => None,
                    },
                    Part::Output(half) => linear_half(&layer.output, half),
                    Part::Gate(half) => linear_half(layer.gate.as_ref()?, half),
                    Part::Up(half) => linear_half(&layer.up, half),
                    Part::Down(half) => linear_half(&layer.down, half),
                }
            }
        }
    }

    /// Declares the number of rows of embedding and head, and whether they are one; the tensors follow by
    /// [`Self::set_weight`].
    pub(crate) fn set_vocabulary(&mut self, rows: usize, tied: bool) {
        self.config.vocab_size = rows;
        self.config.tied = tied;
    }

    /// Puts a tensor in its place. A tied head follows the embedding. False if there is no such place.
    pub(crate) fn set_weight(&mut self, place: Place, weight: Weight) -> bool {
        match (place, weight) {
            (Place::Embed, Weight::Matrix(m)) => {
                if self.config.tied {
                    self.lm_head.weight = m.clone();
                }
                self.embed_tokens = m;
                true
            }
            (Place::Positions, Weight::Matrix(m)) => self.positions.replace(m).is_some(),
            (Place::Head, Weight::Matrix(m)) => {
                self.lm_head.weight = m;
                true
            }
            (Place::FinalNorm(half), Weight::Vector(v)) => set_norm(&mut self.final_norm, half, v),
            (Place::Layer(i, part), weight) => {
                let Some(layer) = self.layers.get_mut(i) else { return false };
                let (linear, half) = match (part, &mut layer.qkv) {
                    (Part::InputNorm(half), _) => match weight {
                        Weight::Vector(v) => return set_norm(&mut layer.input_norm, half, v),
                        Weight::Matrix(_) => return false,
                    },
                    (Part::PostNorm(half), _) => match weight {
                        Weight::Vector(v) => return set_norm(&mut layer.post_norm, half, v),
                        Weight::Matrix(_) => return false,
                    },
                    (Part::Qkv(n, half), Qkv::Separate(three)) => (three.get_mut(n), half),
                    (Part::FusedQkv(half), Qkv::Fused(l)) => (Some(l), half),
                    (Part::Output(half), _) => (Some(&mut layer.output), half),
                    (Part::Gate(half), _) => (layer.gate.as_mut(), half),
                    (Part::Up(half), _) => (Some(&mut layer.up), half),
                    (Part::Down(half), _) => (Some(&mut layer.down), half),
                    _ => (None, Half::Weight),
                };
                match (linear, half, weight) {
                    (Some(l), Half::Weight, Weight::Matrix(m)) => l.weight = m,
                    (Some(l), Half::Bias, Weight::Vector(v)) => l.bias = Some(v),
                    _ => return false,
                }
                true
            }
            _ => false,
        }
    }
}

fn norm_half(norm: &Norm, half: Half) -> Option<Weight> {
    match half {
        Half::Weight => Some(Weight::Vector(norm.weight.clone())),
        Half::Bias => norm.bias.clone().map(Weight::Vector),
    }
}

fn set_norm(norm: &mut Norm, half: Half, vector: Vector) -> bool {
    match half {
        Half::Weight => norm.weight = vector,
        Half::Bias => norm.bias = Some(vector),
    }
    true
}

fn linear_half(linear: &Linear, half: Half) -> Option<Weight> {
    match half {
        Half::Weight => Some(Weight::Matrix(linear.weight.clone())),
        Half::Bias => linear.bias.clone().map(Weight::Vector),
    }
}
