//! Fresh adapters.

use super::config::{BiasMode, Init, LoraConfig};
use super::targets::{ends_with, targets};
use super::{AdaptedModule, Adapter, PREFIX, WholeTensor};
use crate::decoder::Decoder;
use crate::error::{ModelError, Result};
use crate::family::{Half, Place, Slot};
use crate::freeze::make_trainable;
use engine::{Lora, ParamStore, rng::Rng};

/// Key of the random numbers that start A, apart from every other use of the seed.
const LORA_INIT: u64 = 0x4c6f_5241;

/// Gives `decoder` a fresh adapter: low-rank branches (A random from `seed` and the module, B zero), and the whole modules
/// and biases that the settings name become trainable. Everything trainable is added to `params` under PEFT's file names.
///
/// In a tied model, listing the embedding or the head under `modules_to_save` trains one matrix with the gradient of both
/// uses; it is saved under both names.
///
/// # Errors
/// If the settings reach no module, name something that is not there, or the decoder has an adapter already.
pub fn attach(decoder: &mut Decoder, params: &mut ParamStore, config: &LoraConfig, seed: u64) -> Result<Adapter> {
    if !(0.0..1.0).contains(&config.dropout) {
        return Err(ModelError::setting("lora_dropout", format!("at least 0 and below 1 is expected, found {}", config.dropout)));
    }
    if config.r == 0 || config.rank_pattern.iter().any(|(_, r)| *r == 0) {
        return Err(ModelError::setting("lora_rank", "a rank of at least 1 is expected"));
    }
    let slots = decoder.slots();
    let found = targets(config, decoder.config.family, &slots, true)?;
    let mut modules = Vec::with_capacity(found.len());
    for target in &found {
        let linear = decoder
            .linear_mut(&target.path)
            .ok_or_else(|| ModelError::setting("target_modules", format!("there is no module {}", target.path)))?;
        if linear.lora.is_some() {
            return Err(ModelError::setting("target_modules", format!("{} has an adapter already", target.path)));
        }
        let (outputs, inputs) = linear.weight.shape(params);
        if target.rank > outputs.max(inputs) {
            let reason = format!(
                "{} is more than {}, a matrix of {outputs} x {inputs}, has rows or columns: its branch would be larger than the matrix; 8 to \
                 64 is usual",
                target.rank, target.path
            );
            return Err(ModelError::setting("lora_rank", reason));
        }
        let mut rng = Rng::keyed(seed, &[LORA_INIT, target.index as u64]);
        let bound = (inputs as f32).sqrt().recip();
        let start = |rng: &mut Rng| match config.init {
            Init::Kaiming => (2.0 * rng.uniform() - 1.0) * bound,
            Init::Gaussian => rng.normal() / target.rank as f32,
        };
        let a = (0..target.rank * inputs).map(|_| start(&mut rng)).collect();
        let a = params.add(format!("{PREFIX}{}.lora_A.weight", target.path), &[target.rank, inputs], a, true)?;
        let b = vec![0.0; outputs * target.rank];
        let b = params.add(format!("{PREFIX}{}.lora_B.weight", target.path), &[outputs, target.rank], b, true)?;
        linear.lora = Some(Lora { a, b, scale: target.scale, dropout: config.dropout, module: target.index as u64 });
        modules.push(AdaptedModule { path: target.path.clone(), a, b });
    }
    let mut config = config.clone();
    let adapted = |path: &str| found.iter().any(|t| t.path == path);
    let whole = whole_tensors(decoder, params, &mut config, &slots, &adapted)?;
    Ok(Adapter { config, modules, whole })
}

/// Makes the whole tensors that the settings name trainable.
fn whole_tensors(
    decoder: &mut Decoder,
    params: &mut ParamStore,
    config: &mut LoraConfig,
    slots: &[Slot],
    adapted: &dyn Fn(&str) -> bool,
) -> Result<Vec<WholeTensor>> {
    let names = decoder.config.family.names;
    let tied = decoder.is_tied();
    let mut chosen: Vec<Slot> = Vec::new();
    for name in &config.modules_to_save {
        let mut reached = false;
        for slot in slots.iter().filter(|s| ends_with(&s.module, name)) {
            reached = true;
            if !chosen.iter().any(|c| c.place == slot.place) {
                chosen.push(slot.clone());
            }
        }
        if tied && ends_with(names.head, name) {
            reached = true;
            chosen.extend(slots.iter().find(|s| s.place == Place::Embed && !chosen.contains(s)).cloned());
        }
        if !reached {
            let modules: std::collections::BTreeSet<&str> =
                slots.iter().filter_map(|s| s.module.rsplit('.').next()).filter(|m| m.parse::<u32>().is_err()).collect();
            let modules = modules.into_iter().chain(tied.then_some(names.head)).collect::<Vec<_>>().join(", ");
            let reason = format!("there is no module {name}; this model has {modules}");
            return Err(ModelError::setting("modules_to_save", reason));
        }
    }
    let biases = slots.iter().filter(|s| is_bias(s)).filter(|s| match config.bias {
        BiasMode::None => false,
        BiasMode::All => true,
        BiasMode::LoraOnly => adapted(&s.module),
    });
    for slot in biases {
        if !chosen.iter().any(|c| c.place == slot.place) {
            chosen.push(slot.clone());
        }
    }
    let mut whole = Vec::new();
    for slot in &chosen {
        let base = if adapted(&slot.module) { "base_layer." } else { "" };
        let half = if is_bias(slot) { "bias" } else { "weight" };
        let entry = |module: &str, base: &str, place| WholeTensor {
            name: format!("{PREFIX}{module}.{base}{half}"),
            place,
            transposed: slot.transposed,
            shape: slot.file_shape(),
        };
        let tensor = entry(&slot.module, base, slot.place);
        make_trainable(decoder, params, slot, &tensor.name)?;
        whole.push(tensor);
        if tied && slot.place == Place::Embed {
            // PEFT unties what it wraps: both names, or its head would stay the old one
            whole.push(entry(names.head, "", Place::Head));
            for module in [names.embed, names.head] {
                if !config.modules_to_save.iter().any(|m| ends_with(module, m)) {
                    let leaf = module.rsplit('.').next().unwrap_or(module);
                    config.modules_to_save.push(leaf.to_owned());
                }
            }
        }
    }
    Ok(whole)
}

fn is_bias(slot: &Slot) -> bool {
    use crate::family::Part::*;
    match slot.place {
        Place::FinalNorm(half) => half == Half::Bias,
        Place::Layer(_, part) => match part {
            InputNorm(half) | FusedQkv(half) | Output(half) | PostNorm(half) | Gate(half) | Up(half) | Down(half) => half == Half::Bias,
            Qkv(_, half) => half == Half::Bias,
        },
        _ => false,
    }
}
