//! Which of a model's own tensors train: all of them, or the last few layers, or what a name pattern says.
//!
//! A tensor that trains becomes a parameter under its Hugging Face name. Tied embeddings and head are one master with one
//! gradient from both uses.

use crate::config::ModelConfig;
use crate::decoder::Decoder;
use crate::error::{ModelError, Result};
use crate::family::{Place, Slot, slots};
use crate::lora::contains_component;
use crate::weights::Weight;
use engine::{Matrix, ParamStore, Vector};
use regex::Regex;
use std::collections::BTreeSet;

/// What trains.
#[derive(Clone, Debug, PartialEq)]
pub enum FreezeSpec {
    /// Everything.
    Full,
    /// A part.
    Part(FreezePart),
}

/// A part of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FreezePart {
    /// The last `n` layers, or the first `-n`; 0 is none. Not used if `names` is given.
    pub layers: i64,
    /// Which modules of those layers, e.g. `self_attn`, `mlp`, `input_layernorm`; empty or `all` is every one.
    pub modules: Vec<String>,
    /// Instead of layers: tensors whose name contains one of these as whole components (`layers.2` is not in `layers.27`),
    /// or, if it holds regular-expression signs, matches it somewhere (`layers\.2[3-7]\.`).
    pub names: Vec<String>,
    /// Modules outside the layers, e.g. `norm`.
    pub extra_modules: Vec<String>,
    /// Token and position embeddings.
    pub embeddings: bool,
    /// The output head.
    pub head: bool,
}

/// Makes what `spec` names trainable and returns the names, in the order of the forward pass.
///
/// # Errors
/// If there are fewer layers than asked for, or a name or pattern reaches no tensor, or nothing is chosen.
pub fn select(decoder: &mut Decoder, params: &mut ParamStore, spec: &FreezeSpec) -> Result<Vec<String>> {
    let slots = decoder.slots();
    let chosen = chosen(&decoder.config, &slots, spec)?;
    for slot in &chosen {
        make_trainable(decoder, params, slot, &slot.name)?;
    }
    Ok(chosen.into_iter().map(|s| s.name.clone()).collect())
}

/// Where the tensors are that `spec` names.
///
/// # Errors
/// As [`select`].
pub(crate) fn places(config: &ModelConfig, spec: &FreezeSpec) -> Result<BTreeSet<Place>> {
    Ok(chosen(config, &slots(config), spec)?.into_iter().map(|slot| slot.place).collect())
}

fn chosen<'s>(config: &ModelConfig, slots: &'s [Slot], spec: &FreezeSpec) -> Result<Vec<&'s Slot>> {
    let chosen: Vec<&Slot> = match spec {
        FreezeSpec::Full => slots.iter().collect(),
        FreezeSpec::Part(part) => choose(config, slots, part)?,
    };
    if chosen.is_empty() {
        return Err(ModelError::setting("freeze_trainable_layers", "nothing would train; name layers, names, or the head"));
    }
    Ok(chosen)
}

fn choose<'s>(config: &ModelConfig, slots: &'s [Slot], part: &FreezePart) -> Result<Vec<&'s Slot>> {
    let count = config.layers;
    let mut chosen = vec![false; slots.len()];
    let mut mark = |setting: &str, name: &str, test: &dyn Fn(&Slot) -> bool| -> Result<()> {
        let mut reached = false;
        for (slot, chosen) in slots.iter().zip(&mut chosen) {
            if test(slot) {
                (*chosen, reached) = (true, true);
            }
        }
        if reached {
            Ok(())
        } else {
            let example = slots.iter().find(|s| s.layer().is_some()).map_or("", |s| s.name.as_str());
            Err(ModelError::setting(setting, format!("{name} is in no tensor's name; names look like {example}")))
        }
    };
    if !part.names.is_empty() {
        for name in &part.names {
            let test = name_test(name)?;
            mark("freeze_trainable_names", name, &|s| test(&s.name))?;
        }
    } else if part.layers != 0 {
        let n = part.layers.unsigned_abs() as usize;
        if n > count {
            let reason = format!("{n} layers are asked for, the model has {count}");
            return Err(ModelError::setting("freeze_trainable_layers", reason));
        }
        let range = if part.layers > 0 { count - n..count } else { 0..n };
        let all = part.modules.is_empty() || part.modules.iter().any(|m| m == "all");
        let modules: &[String] = if all { &[] } else { &part.modules };
        if all {
            mark("freeze_trainable_layers", "that", &|s| s.layer().is_some_and(|l| range.contains(&l)))?;
        }
        for module in modules {
            mark("freeze_trainable_modules", module, &|s| {
                s.layer().is_some_and(|l| range.contains(&l)) && contains_component(&s.module, module)
            })?;
        }
    }
    for module in &part.extra_modules {
        mark("freeze_extra_modules", module, &|s| s.layer().is_none() && contains_component(&s.module, module))?;
    }
    if part.embeddings {
        mark("train_embeddings", "the embedding", &|s| matches!(s.place, Place::Embed | Place::Positions))?;
    }
    if part.head {
        mark("train_head", "the head", &|s| s.place == if config.tied { Place::Embed } else { Place::Head })?;
    }
    Ok(slots.iter().zip(chosen).filter(|(_, c)| *c).map(|(s, _)| s).collect())
}

type NameTest = Box<dyn Fn(&str) -> bool>;

/// A test of tensor names from what a user wrote.
fn name_test(name: &str) -> Result<NameTest> {
    // a dot alone is how names are written, not a sign of a pattern
    if name.contains(['\\', '[', ']', '(', ')', '*', '+', '?', '|', '^', '$', '{', '}']) {
        let regex = Regex::new(name).map_err(|e| {
            let reason = format!("the pattern {name:?} cannot be used: {}", e.to_string().lines().last().unwrap_or_default());
            ModelError::setting("freeze_trainable_names", reason)
        })?;
        return Ok(Box::new(move |n| regex.is_match(n)));
    }
    let name = name.to_owned();
    Ok(Box::new(move |n| contains_component(n, &name)))
}

/// Turns one tensor into a parameter called `name` (unless it is one already).
pub(crate) fn make_trainable(decoder: &mut Decoder, params: &mut ParamStore, slot: &Slot, name: &str) -> Result<()> {
    let Some(weight) = decoder.weight(slot.place) else {
        return Err(ModelError::setting(name, "the model has no such tensor"));
    };
    if weight.param().is_some() {
        return Ok(());
    }
    let id = params.add(name, &slot.shape, weight.to_f32(params), slot.decays())?;
    let shared = decoder.is_tied();
    let weight = match weight {
        Weight::Matrix(_) => Weight::Matrix(Matrix::Param(id)),
        Weight::Vector(_) => Weight::Vector(Vector::Param(id)),
    };
    if shared && matches!(slot.place, Place::Embed | Place::Head) {
        decoder.set_weight(Place::Head, weight.clone());
        decoder.set_weight(Place::Embed, weight);
    } else {
        decoder.set_weight(slot.place, weight);
    }
    Ok(())
}
