//! `adapter_config.json`.
//!
//! Reading ignores keys that it does not know (every PEFT version adds some), except those that change the arithmetic.
//! Writing keeps to a subset that every PEFT version of recent years reads.

use crate::error::{ModelError, Result};
use serde_json::{Map, Value, json};

/// Which modules get a low-rank branch.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// Every linear layer but the output head.
    AllLinear,
    /// Module paths or their endings (`q_proj`).
    Names(Vec<String>),
    /// A regular expression that the whole module path must match.
    Regex(String),
}

/// How A starts; B starts at zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Init {
    /// Uniform in `±1/√inputs`: PEFT's default (`kaiming_uniform_` with `a = √5`).
    #[default]
    Kaiming,
    /// Normal with standard deviation `1/r`.
    Gaussian,
}

/// Which biases train beside the low-rank branches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum BiasMode {
    /// None.
    #[default]
    None,
    /// Every bias of the model.
    All,
    /// Those of the targeted modules.
    LoraOnly,
}

/// Settings of a LoRA adapter.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraConfig {
    /// Rank.
    pub r: usize,
    /// The branch is scaled by `alpha / r` (`alpha / √r` with rsLoRA).
    pub alpha: f64,
    /// Dropout on the branch's input.
    pub dropout: f32,
    /// Which modules.
    pub targets: Targets,
    /// Modules that the targets would reach but must not.
    pub exclude: Option<Targets>,
    /// Rank-stabilised scaling (Kalajdzievski 2023, arXiv:2312.03732).
    pub rslora: bool,
    /// How A starts.
    pub init: Init,
    /// Which biases train.
    pub bias: BiasMode,
    /// Modules trained as a whole and saved with the adapter (names or endings of paths).
    pub modules_to_save: Vec<String>,
    /// Pattern of module paths -> rank; the first that matches wins.
    pub rank_pattern: Vec<(String, usize)>,
    /// Pattern of module paths -> alpha.
    pub alpha_pattern: Vec<(String, f64)>,
    /// Only these layers (with [`Targets::Names`] only).
    pub layers_to_transform: Option<Vec<usize>>,
    /// Name of the list of layers, where there are several.
    pub layers_pattern: Vec<String>,
    /// Where the base model came from.
    pub base_model: Option<String>,
    /// Its revision.
    pub revision: Option<String>,
    /// `CAUSAL_LM` etc.
    pub task_type: Option<String>,
}

impl Default for LoraConfig {
    /// Rank 8, alpha 16, every linear layer.
    fn default() -> Self {
        LoraConfig {
            r: 8,
            alpha: 16.0,
            dropout: 0.0,
            targets: Targets::AllLinear,
            exclude: None,
            rslora: false,
            init: Init::Kaiming,
            bias: BiasMode::None,
            modules_to_save: Vec::new(),
            rank_pattern: Vec::new(),
            alpha_pattern: Vec::new(),
            layers_to_transform: None,
            layers_pattern: Vec::new(),
            base_model: None,
            revision: None,
            task_type: Some("CAUSAL_LM".into()),
        }
    }
}

/// Keys that change the arithmetic and are not implemented, with their neutral values (null and absent are neutral).
fn neutral() -> Vec<(&'static str, Vec<Value>)> {
    let off = || vec![json!(false)];
    vec![
        ("use_dora", off()),
        ("use_qalora", off()),
        ("use_bdlora", off()),
        ("lora_bias", off()),
        ("alora_invocation_tokens", vec![json!([])]),
        ("target_parameters", vec![json!([])]),
        ("layer_replication", vec![json!([])]),
        ("trainable_token_indices", vec![json!([]), json!({})]),
        ("arrow_config", vec![]),
        ("kasa_config", vec![]),
        ("monteclora_config", vec![]),
        ("velora_config", vec![]),
    ]
}

impl LoraConfig {
    /// Reads the content of an `adapter_config.json`; `file` names it in errors.
    ///
    /// # Errors
    /// If it is no LoRA adapter, a value has the wrong type, or asks for arithmetic that is not implemented.
    pub fn from_json(value: &Value, file: &str) -> Result<Self> {
        let map = value.as_object().ok_or_else(|| ModelError::config(file, "(top level)", "a JSON object is expected"))?;
        let get = |key: &str| map.get(key).filter(|v| !v.is_null());
        let unsupported = |key: &str, value: &Value, supported: &str| ModelError::Unsupported {
            file: file.into(),
            field: key.into(),
            value: value.to_string(),
            supported: supported.into(),
        };
        let wrong = |key: &str, kind: &str| {
            let found = get(key).map(Value::to_string).unwrap_or_else(|| "nothing".into());
            ModelError::config(file, key, format!("{kind} is expected, found {found}"))
        };
        match get("peft_type").and_then(Value::as_str) {
            Some("LORA") => {}
            Some(other) => return Err(unsupported("peft_type", &json!(other), "LORA")),
            None => return Err(wrong("peft_type", "\"LORA\"")),
        }
        for (key, neutral) in neutral() {
            if let Some(value) = get(key)
                && !neutral.contains(value)
            {
                return Err(unsupported(key, value, "plain LoRA"));
            }
        }
        let init = match get("init_lora_weights") {
            None | Some(Value::Bool(_)) => Init::Kaiming,
            Some(Value::String(s)) => match s.to_ascii_lowercase().as_str() {
                "gaussian" => Init::Gaussian,
                // how A started does not matter once it is trained, unless the base was changed along with it
                "eva" | "orthogonal" => Init::Kaiming,
                _ => {
                    let supported = "true, false, gaussian (this one changes the base weights; convert the adapter with \
                                     PEFT's path_initial_model_for_weight_conversion)";
                    return Err(unsupported("init_lora_weights", &json!(s), supported));
                }
            },
            Some(_) => return Err(wrong("init_lora_weights", "true, false or a name")),
        };
        let names = |key: &str| -> Result<Vec<String>> {
            match get(key) {
                None => Ok(Vec::new()),
                Some(Value::String(s)) => Ok(vec![s.clone()]),
                Some(Value::Array(list)) => {
                    list.iter().map(|v| v.as_str().map(str::to_owned).ok_or_else(|| wrong(key, "a list of names"))).collect()
                }
                Some(_) => Err(wrong(key, "a list of names")),
            }
        };
        let targets = |key: &str| -> Result<Option<Targets>> {
            Ok(match get(key) {
                None => None,
                Some(Value::String(s)) if s.eq_ignore_ascii_case("all-linear") => Some(Targets::AllLinear),
                Some(Value::String(s)) => Some(Targets::Regex(s.clone())),
                Some(_) => Some(Targets::Names(names(key)?)),
            })
        };
        let number = |key: &str, default: f64| match get(key) {
            None => Ok(default),
            Some(v) => v.as_f64().filter(|f| f.is_finite()).ok_or_else(|| wrong(key, "a number")),
        };
        let flag = |key: &str| match get(key) {
            None => Ok(false),
            Some(v) => v.as_bool().ok_or_else(|| wrong(key, "true or false")),
        };
        let whole = |v: &Value| v.as_u64().map(|n| n as usize);
        let pattern = |key: &str| -> Result<Vec<(String, f64)>> {
            let entries = match get(key) {
                None => return Ok(Vec::new()),
                Some(v) => v.as_object().ok_or_else(|| wrong(key, "an object"))?,
            };
            entries.iter().map(|(k, v)| v.as_f64().map(|v| (k.clone(), v)).ok_or_else(|| wrong(key, "an object of numbers"))).collect()
        };
        let r = match get("r") {
            None => 8,
            Some(v) => whole(v).filter(|r| *r > 0).ok_or_else(|| wrong("r", "a positive whole number"))?,
        };
        let rank_pattern = pattern("rank_pattern")?
            .into_iter()
            .map(|(k, v)| {
                let rank = (v >= 1.0 && v.fract() == 0.0).then_some(v as usize);
                rank.map(|rank| (k, rank)).ok_or_else(|| wrong("rank_pattern", "an object of positive whole numbers"))
            })
            .collect::<Result<_>>()?;
        let bias = match get("bias").and_then(Value::as_str).unwrap_or("none") {
            "none" => BiasMode::None,
            "all" => BiasMode::All,
            "lora_only" => BiasMode::LoraOnly,
            _ => return Err(wrong("bias", "none, all or lora_only")),
        };
        let layers_to_transform = match get("layers_to_transform") {
            None => None,
            Some(Value::Array(list)) if list.is_empty() => None,
            Some(Value::Array(list)) => Some(
                list.iter()
                    .map(|v| whole(v).ok_or_else(|| wrong("layers_to_transform", "a list of layer numbers")))
                    .collect::<Result<_>>()?,
            ),
            Some(v) => Some(vec![whole(v).ok_or_else(|| wrong("layers_to_transform", "a layer number"))?]),
        };
        let text = |key: &str| get(key).and_then(Value::as_str).map(str::to_owned);
        Ok(LoraConfig {
            r,
            alpha: number("lora_alpha", 8.0)?,
            dropout: number("lora_dropout", 0.0)? as f32,
            targets: targets("target_modules")?.ok_or_else(|| wrong("target_modules", "a list of names or a pattern"))?,
            exclude: targets("exclude_modules")?,
            rslora: flag("use_rslora")?,
            init,
            bias,
            modules_to_save: names("modules_to_save")?,
            rank_pattern,
            alpha_pattern: pattern("alpha_pattern")?,
            layers_to_transform,
            layers_pattern: names("layers_pattern")?,
            base_model: text("base_model_name_or_path"),
            revision: text("revision"),
            task_type: text("task_type"),
        })
    }

    /// `adapter_config.json` with sorted keys. `names` stands for [`Targets::AllLinear`], which PEFT writes out as names
    /// too; `fan_in_fan_out` says that the base stores its matrices `[in, out]`.
    pub fn to_json(&self, names: &[String], fan_in_fan_out: bool) -> Value {
        let targets = |t: &Targets| match t {
            Targets::AllLinear => json!(names),
            Targets::Names(list) => json!(list),
            Targets::Regex(pattern) => json!(pattern),
        };
        let list_or_null = |list: &[String]| if list.is_empty() { Value::Null } else { json!(list) };
        let pattern = |entries: Vec<(String, Value)>| Value::Object(entries.into_iter().collect::<Map<_, _>>());
        // insertion in sorted order: this workspace's JSON objects keep theirs
        json!({
            "alpha_pattern": pattern(self.alpha_pattern.iter().map(|(k, v)| (k.clone(), number(*v))).collect()),
            "base_model_name_or_path": self.base_model,
            "bias": match self.bias { BiasMode::None => "none", BiasMode::All => "all", BiasMode::LoraOnly => "lora_only" },
            "exclude_modules": self.exclude.as_ref().map(targets),
            "fan_in_fan_out": fan_in_fan_out,
            "inference_mode": true,
            "init_lora_weights": match self.init { Init::Kaiming => json!(true), Init::Gaussian => json!("gaussian") },
            "layers_pattern": list_or_null(&self.layers_pattern),
            "layers_to_transform": self.layers_to_transform,
            "lora_alpha": number(self.alpha),
            "lora_dropout": shortest(self.dropout),
            "modules_to_save": list_or_null(&self.modules_to_save),
            "peft_type": "LORA",
            "r": self.r,
            "rank_pattern": pattern(self.rank_pattern.iter().map(|(k, v)| (k.clone(), json!(v))).collect()),
            "revision": self.revision,
            "target_modules": targets(&self.targets),
            "task_type": self.task_type,
            "use_dora": false,
            "use_rslora": self.rslora,
        })
    }
}

/// Whole numbers without a fraction, as PEFT writes `lora_alpha`.
fn number(x: f64) -> Value {
    if x.fract() == 0.0 && x.abs() < 1e15 { json!(x as i64) } else { json!(x) }
}

/// The f64 that prints as the f32 does.
fn shortest(x: f32) -> f64 {
    x.to_string().parse().unwrap_or(x as f64)
}
