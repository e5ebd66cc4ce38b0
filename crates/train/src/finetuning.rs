//! What to train: LoRA, some layers, or everything, under PEFT's and LLaMA-Factory's names.
//!
//! The counterpart of [`crate::arguments`]: that module says how long and how fast, this one says which tensors.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::arguments::{fingerprint_of, keys_of};
use crate::error::{Result, TrainError};

/// Which tensors are trained, and how the adapter is shaped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FinetuningArguments {
    /// `lora` trains small matrices beside frozen weights, `freeze` trains some layers as they are, `full` trains everything.
    pub finetuning_type: FinetuningType,
    /// Rank of the LoRA matrices.
    #[serde(alias = "r")]
    pub lora_rank: usize,
    /// LoRA's alpha; the branch is scaled by alpha / rank (alpha / sqrt(rank) with rsLoRA). 2 x rank if not given.
    pub lora_alpha: Option<f64>,
    /// Dropout on the input of the LoRA branch.
    pub lora_dropout: f64,
    /// Linear layers that get LoRA: `all-linear` (every one but the output head), a list of names
    /// (`[q_proj, v_proj]`), or a regular expression that matches whole module paths.
    #[serde(alias = "target_modules")]
    pub lora_target: LoraTarget,
    /// Layers that `lora_target` would reach but must not get LoRA; written like `lora_target`.
    pub exclude_modules: Option<LoraTarget>,
    /// Numbers of the layers that get LoRA, if not all; needs a list of names in `lora_target`.
    pub layers_to_transform: Option<Vec<usize>>,
    /// Rank-stabilised LoRA: scale by alpha / sqrt(rank) (Kalajdzievski 2023).
    pub use_rslora: bool,
    /// How matrix A starts (B starts at zero): `kaiming` (PEFT's default) or `gaussian`.
    pub init_lora_weights: LoraInit,
    /// Ranks for modules whose path matches: pattern -> rank; the first that matches wins.
    pub rank_pattern: Patterns<usize>,
    /// Alphas for modules whose path matches: pattern -> alpha; the first that matches wins.
    pub alpha_pattern: Patterns<f64>,
    /// Modules trained as a whole beside LoRA and saved with the adapter, e.g. `[embed_tokens, lm_head]`.
    #[serde(alias = "additional_target")]
    pub modules_to_save: Names,
    /// With `freeze`: how many layers train; 2 is the last two, -2 the first two. Ignored if `freeze_trainable_names` is given.
    pub freeze_trainable_layers: i64,
    /// With `freeze`: which modules of those layers train, e.g. `[self_attn]`, `[mlp, input_layernorm]`; `all` is every one.
    #[serde(alias = "name_module_trainable")]
    pub freeze_trainable_modules: Names,
    /// With `freeze`: train the tensors whose name contains one of these, e.g. `[layers.26, layers.27]` (`layers.2`
    /// does not contain `layers.27`), or matches it as a regular expression, e.g. `layers\.2[3-7]\.`.
    pub freeze_trainable_names: Names,
    /// With `freeze`: modules outside the layers that train too, e.g. `[norm]`.
    pub freeze_extra_modules: Names,
    /// With `freeze`: train the token (and position) embeddings too. If the head is tied to them, both are one matrix.
    pub train_embeddings: bool,
    /// With `freeze`: train the output head too. If it is tied to the embeddings, both are one matrix.
    pub train_head: bool,
}

impl Default for FinetuningArguments {
    fn default() -> Self {
        Self {
            finetuning_type: FinetuningType::Lora,
            lora_rank: 8,
            lora_alpha: None,
            lora_dropout: 0.0,
            lora_target: LoraTarget::AllLinear,
            exclude_modules: None,
            layers_to_transform: None,
            use_rslora: false,
            init_lora_weights: LoraInit::Kaiming,
            rank_pattern: Patterns::default(),
            alpha_pattern: Patterns::default(),
            modules_to_save: Names::default(),
            freeze_trainable_layers: 2,
            freeze_trainable_modules: Names(vec!["all".into()]),
            freeze_trainable_names: Names::default(),
            freeze_extra_modules: Names::default(),
            train_embeddings: false,
            train_head: false,
        }
    }
}

/// The three ways of fine-tuning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FinetuningType {
    /// Low-rank adapters (Hu et al. 2021): the base stays as it is, the result is a small PEFT adapter.
    Lora,
    /// Every tensor trains; the result is a whole model.
    Full,
    /// Some layers train, the rest is frozen; the result is a whole model.
    Freeze,
}

/// How LoRA's matrix A is initialised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoraInit {
    /// Uniform with Kaiming's bound for a = sqrt(5), as PEFT does (`true` there).
    Kaiming,
    /// Normal with standard deviation 1 / rank, as PEFT's `gaussian`.
    Gaussian,
}

impl<'de> Deserialize<'de> for LoraInit {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        use serde::de::Error;
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Raw {
            Flag(bool),
            Name(String),
        }
        match Raw::deserialize(deserializer)? {
            Raw::Flag(true) => Ok(LoraInit::Kaiming),
            Raw::Flag(false) => Err(D::Error::custom("init_lora_weights: false leaves B random; use `kaiming` or `gaussian`")),
            Raw::Name(name) => match name.as_str() {
                "kaiming" | "kaiming_uniform" => Ok(LoraInit::Kaiming),
                "gaussian" => Ok(LoraInit::Gaussian),
                other => Err(D::Error::custom(format!("init_lora_weights: `{other}` is not known; use `kaiming` or `gaussian`"))),
            },
        }
    }
}

/// Which linear layers get LoRA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "OneOrMany", into = "OneOrMany")]
#[schemars(with = "OneOrMany")]
pub enum LoraTarget {
    /// Every linear layer but the output head: `all-linear`, or `all`.
    AllLinear,
    /// Layers whose path ends in one of these names.
    Names(Vec<String>),
    /// Layers whose whole path matches this regular expression.
    Regex(String),
}

/// A list of names; one text with commas is understood as a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "OneOrMany", into = "Vec<String>")]
#[schemars(with = "OneOrMany")]
pub struct Names(pub Vec<String>);

impl std::ops::Deref for Names {
    type Target = [String];
    fn deref(&self) -> &[String] {
        &self.0
    }
}

/// Patterns and what holds for them, in the order in which they are written.
#[derive(Clone, Debug, PartialEq)]
pub struct Patterns<T>(pub Vec<(String, T)>);

impl<T> Default for Patterns<T> {
    fn default() -> Self {
        Patterns(Vec::new())
    }
}

impl<T: Serialize> Serialize for Patterns<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(pattern, value)| (pattern, value)))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patterns<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Pairs<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Pairs<T> {
            type Value = Patterns<T>;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a map from patterns to numbers")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Patterns<T>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Patterns(pairs))
            }
        }
        deserializer.deserialize_map(Pairs(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Patterns<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("PatternsOf_{}", T::schema_name()).into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        BTreeMap::<String, T>::json_schema(generator)
    }
}

/// One text or a list of texts, as YAML allows.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum OneOrMany {
    /// One text.
    One(String),
    /// A list.
    Many(Vec<String>),
    /// Nothing.
    Nothing(()),
}

impl OneOrMany {
    fn names(self) -> Vec<String> {
        let split = |text: String| text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
        match self {
            OneOrMany::One(text) => split(text),
            OneOrMany::Many(list) => list,
            OneOrMany::Nothing(()) => Vec::new(),
        }
    }
}

impl From<OneOrMany> for Names {
    fn from(value: OneOrMany) -> Self {
        match value {
            // A regular expression may hold a comma (`{2,3}`): only lists of plain names are split.
            OneOrMany::One(text) if !plain_names(&text) => Names(vec![text]),
            other => Names(other.names()),
        }
    }
}

impl From<Names> for Vec<String> {
    fn from(value: Names) -> Self {
        value.0
    }
}

impl From<OneOrMany> for LoraTarget {
    fn from(value: OneOrMany) -> Self {
        match value {
            OneOrMany::One(text) if matches!(text.trim(), "all" | "all-linear") => LoraTarget::AllLinear,
            OneOrMany::One(text) if !plain_names(&text) => LoraTarget::Regex(text),
            OneOrMany::Many(list) if list.len() == 1 && matches!(list[0].as_str(), "all" | "all-linear") => LoraTarget::AllLinear,
            other => LoraTarget::Names(other.names()),
        }
    }
}

impl From<LoraTarget> for OneOrMany {
    fn from(value: LoraTarget) -> Self {
        match value {
            LoraTarget::AllLinear => OneOrMany::One("all-linear".into()),
            LoraTarget::Names(names) => OneOrMany::Many(names),
            LoraTarget::Regex(pattern) => OneOrMany::One(pattern),
        }
    }
}

/// Whether a text is a plain name or several with commas, as LLaMA-Factory writes them, and not a regular expression.
fn plain_names(text: &str) -> bool {
    text.chars().all(|c| c.is_alphanumeric() || "_-., ".contains(c)) && !text.contains(".*")
}

/// Second names under which a key is understood: (alias, key).
pub const FINETUNING_ALIASES: &[(&str, &str)] = &[
    ("r", "lora_rank"),
    ("target_modules", "lora_target"),
    ("additional_target", "modules_to_save"),
    ("name_module_trainable", "freeze_trainable_modules"),
];

impl FinetuningArguments {
    /// True if tensors of the model itself train (not only matrices beside them).
    pub fn trains_weights(&self) -> bool {
        self.finetuning_type != FinetuningType::Lora || !self.modules_to_save.is_empty()
    }

    /// The keys a recipe may use, in order of declaration.
    pub fn keys() -> Vec<String> {
        keys_of(&Self::default())
    }

    /// What a checkpoint remembers to recognise a changed recipe: (key, value as JSON).
    pub fn fingerprint(&self) -> Vec<(String, String)> {
        fingerprint_of(self, &[])
    }

    /// LoRA's alpha: as given, or twice the rank.
    pub fn alpha(&self) -> f64 {
        self.lora_alpha.unwrap_or(2.0 * self.lora_rank as f64)
    }

    /// Refuses settings that make no sense.
    ///
    /// # Errors
    /// [`TrainError::Setting`] names the key, its value, why it is refused and what to write instead.
    pub fn validate(&self) -> Result<()> {
        let refuse = |key: &'static str, value: String, why: &str| Err(TrainError::Setting { key, value, why: why.into() });
        match self.finetuning_type {
            FinetuningType::Lora => {
                if self.lora_rank == 0 || self.rank_pattern.0.iter().any(|(_, rank)| *rank == 0) {
                    return refuse("lora_rank", "0".into(), "must be at least 1");
                }
                if !(self.alpha().is_finite() && self.alpha() > 0.0) {
                    return refuse("lora_alpha", self.alpha().to_string(), "must be positive");
                }
                if !(0.0..1.0).contains(&self.lora_dropout) {
                    return refuse("lora_dropout", self.lora_dropout.to_string(), "must be at least 0 and below 1");
                }
                if self.layers_to_transform.is_some() && !matches!(self.lora_target, LoraTarget::Names(_)) {
                    let why = "needs a list of names in lora_target, e.g. [q_proj, v_proj]";
                    return refuse("layers_to_transform", format!("{:?}", self.layers_to_transform.as_deref().unwrap_or_default()), why);
                }
                if self.lora_target == LoraTarget::Names(Vec::new()) {
                    return refuse("lora_target", "[]".into(), "names no layer; write `all-linear` or a list such as [q_proj, v_proj]");
                }
                if !self.freeze_trainable_names.is_empty() || self.train_embeddings || self.train_head {
                    let why =
                        "belongs to finetuning_type: freeze; with lora, modules_to_save: [embed_tokens, lm_head] trains whole modules";
                    let (key, value) = if self.train_embeddings {
                        ("train_embeddings", "true".into())
                    } else if self.train_head {
                        ("train_head", "true".into())
                    } else {
                        ("freeze_trainable_names", format!("{:?}", self.freeze_trainable_names.0))
                    };
                    return refuse(key, value, why);
                }
            }
            FinetuningType::Freeze => {
                let nothing = self.freeze_trainable_layers == 0
                    && self.freeze_trainable_names.is_empty()
                    && self.freeze_extra_modules.is_empty()
                    && !self.train_embeddings
                    && !self.train_head;
                if nothing {
                    let why = "selects nothing to train; give a number of layers (2 is the last two, -2 the first two)";
                    return refuse("freeze_trainable_layers", "0".into(), why);
                }
            }
            FinetuningType::Full => {}
        }
        Ok(())
    }
}
