//! From settings to trainable tensors: attaches LoRA or unfreezes part of the model.

use engine::ParamStore;
use model::Decoder;
use model::freeze::{self, FreezePart, FreezeSpec};
use model::lora::{self, Adapter, Init, LoraConfig, Targets};

use crate::error::{Result, TrainError};
use crate::finetuning::{FinetuningArguments, FinetuningType, LoraInit, LoraTarget};

/// What trains.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The trainable tensors. With LoRA they bear the names of PEFT's file, otherwise those of the model's.
    pub params: ParamStore,
    /// The adapter, with LoRA.
    pub adapter: Option<Adapter>,
}

/// Makes the tensors trainable that the settings name.
///
/// `base_model` is what the adapter's configuration will say about where its base came from.
///
/// # Errors
/// [`TrainError::Setting`] for senseless settings; [`TrainError::Selection`] if they reach no tensor of this model, with
/// the names that it has.
pub fn prepare(decoder: &mut Decoder, arguments: &FinetuningArguments, base_model: Option<String>, seed: u64) -> Result<Prepared> {
    arguments.validate()?;
    let refused = |error: model::ModelError| TrainError::Selection(error.to_string());
    let mut params = ParamStore::new();
    let adapter = match arguments.finetuning_type {
        FinetuningType::Lora => {
            let config = lora_config(arguments, base_model);
            Some(lora::attach(decoder, &mut params, &config, seed).map_err(refused)?)
        }
        FinetuningType::Full | FinetuningType::Freeze => {
            if let Some(spec) = trained_tensors(arguments) {
                freeze::select(decoder, &mut params, &spec).map_err(refused)?;
            }
            None
        }
    };
    Ok(Prepared { params, adapter })
}

/// Which of the model's own tensors train; `None` with LoRA, whose `modules_to_save` the adapter knows.
pub fn trained_tensors(arguments: &FinetuningArguments) -> Option<FreezeSpec> {
    match arguments.finetuning_type {
        FinetuningType::Lora => None,
        FinetuningType::Full => Some(FreezeSpec::Full),
        FinetuningType::Freeze => Some(FreezeSpec::Part(FreezePart {
            layers: arguments.freeze_trainable_layers,
            modules: arguments.freeze_trainable_modules.to_vec(),
            names: arguments.freeze_trainable_names.to_vec(),
            extra_modules: arguments.freeze_extra_modules.to_vec(),
            embeddings: arguments.train_embeddings,
            head: arguments.train_head,
        })),
    }
}

/// The settings in the words of PEFT's `adapter_config.json`.
pub fn lora_config(arguments: &FinetuningArguments, base_model: Option<String>) -> LoraConfig {
    let targets = |target: &LoraTarget| match target {
        LoraTarget::AllLinear => Targets::AllLinear,
        LoraTarget::Names(names) => Targets::Names(names.clone()),
        LoraTarget::Regex(pattern) => Targets::Regex(pattern.clone()),
    };
    LoraConfig {
        r: arguments.lora_rank,
        alpha: arguments.alpha(),
        dropout: arguments.lora_dropout as f32,
        targets: targets(&arguments.lora_target),
        exclude: arguments.exclude_modules.as_ref().map(targets),
        rslora: arguments.use_rslora,
        init: match arguments.init_lora_weights {
            LoraInit::Kaiming => Init::Kaiming,
            LoraInit::Gaussian => Init::Gaussian,
        },
        modules_to_save: arguments.modules_to_save.to_vec(),
        rank_pattern: arguments.rank_pattern.0.clone(),
        alpha_pattern: arguments.alpha_pattern.0.clone(),
        layers_to_transform: arguments.layers_to_transform.clone(),
        base_model,
        ..LoraConfig::default()
    }
}
