//! Which modules an adapter reaches: PEFT's matching rules (`check_target_module_exists`, `get_pattern_key`).

use super::config::{LoraConfig, Targets};
use crate::error::{ModelError, Result};
use crate::family::{Family, Slot};
use regex::Regex;
use std::collections::BTreeSet;

/// A module that gets a low-rank branch.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Module path.
    pub path: String,
    /// Position among the model's linear layers, in the order of the forward pass: the key of its random numbers.
    pub index: usize,
    /// Rank.
    pub rank: usize,
    /// `alpha / rank` or `alpha / √rank`.
    pub scale: f32,
}

/// `name` is the path or its end.
pub(crate) fn ends_with(path: &str, name: &str) -> bool {
    path.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// `name` is a run of whole components of the path: `layers.2` is in `model.layers.2.mlp`, not in `model.layers.27.mlp`.
pub(crate) fn contains(path: &str, name: &str) -> bool {
    path.match_indices(name).any(|(at, _)| {
        let (before, after) = (&path[..at], &path[at + name.len()..]);
        (before.is_empty() || before.ends_with('.')) && (after.is_empty() || after.starts_with('.'))
    })
}

/// A pattern of the user's or of an adapter's, which must match the whole of a path.
pub(crate) fn whole(pattern: &str, setting: &str) -> Result<Regex> {
    compile(&format!("^(?:{pattern})$"), pattern, setting)
}

pub(crate) fn compile(full: &str, pattern: &str, setting: &str) -> Result<Regex> {
    Regex::new(full).map_err(|e| {
        let reason = e.to_string();
        let last = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        ModelError::setting(setting, format!("the pattern {pattern:?} cannot be used: {last}"))
    })
}

struct Matcher {
    names: Vec<String>,
    regex: Option<Regex>,
    all_linear: bool,
}

impl Matcher {
    fn new(targets: &Targets, setting: &str) -> Result<Self> {
        Ok(match targets {
            Targets::AllLinear => Matcher { names: Vec::new(), regex: None, all_linear: true },
            Targets::Names(names) => Matcher { names: names.clone(), regex: None, all_linear: false },
            Targets::Regex(p) => Matcher { names: Vec::new(), regex: Some(whole(p, setting)?), all_linear: false },
        })
    }

    fn matches(&self, path: &str, head: &str) -> bool {
        match &self.regex {
            Some(regex) => regex.is_match(path),
            None if self.all_linear => path != head,
            None => self.names.iter().any(|n| ends_with(path, n)),
        }
    }
}

/// The modules of `paths` (every linear layer of a model, in order, the head among them) that `config` reaches.
/// `strict`: every listed name must reach one (a user's settings, where it would be a typing error).
///
/// # Errors
/// If a pattern does not compile, nothing is reached, or a name reaches nothing.
pub fn targets(config: &LoraConfig, family: &Family, slots: &[Slot], strict: bool) -> Result<Vec<Target>> {
    const SETTING: &str = "target_modules";
    let head = family.names.head;
    let paths = linear_paths(family, slots);
    let wanted = Matcher::new(&config.targets, SETTING)?;
    let excluded = config.exclude.as_ref().map(|e| Matcher::new(e, "exclude_modules")).transpose()?;
    let saved = |path: &str| config.modules_to_save.iter().any(|m| ends_with(path, m) || path.contains(&format!(".{m}.")));
    let layer_patterns = config
        .layers_pattern
        .iter()
        .map(|p| compile(&format!(r"^(?:.*?\.)?(?:{p})\.(\d+)\."), p, "layers_pattern"))
        .collect::<Result<Vec<_>>>()?;
    let in_layers = |path: &str| match (&config.layers_to_transform, &config.targets) {
        (Some(layers), Targets::Names(names)) if !names.iter().any(|n| n == path) => {
            let number = |s: &str| s.parse::<usize>().ok();
            let layer = if layer_patterns.is_empty() {
                path.split('.').skip(2).find_map(number)
            } else {
                layer_patterns.iter().find_map(|p| number(p.captures(path)?.get(1)?.as_str()))
            };
            layer.is_some_and(|l| layers.contains(&l))
        }
        _ => true,
    };
    if let Targets::Names(names) = &config.targets {
        for name in names {
            let embeds = [family.names.embed, family.names.positions];
            if embeds.iter().any(|e| !e.is_empty() && ends_with(e, name)) {
                let reason = format!(
                    "{name} is an embedding; low-rank branches are for linear layers. List it under modules_to_save to \
                     train it whole"
                );
                return Err(ModelError::setting(SETTING, reason));
            }
            if strict && !paths.iter().any(|p| ends_with(p, name)) {
                return Err(ModelError::setting(SETTING, format!("no linear layer is called {name}; {}", there_are(&paths))));
            }
        }
    }
    let patterns = |entries: &[(String, f64)], setting: &str| {
        entries.iter().map(|(p, v)| Ok((compile(&format!(r"^(?:.*\.)?(?:{p})$"), p, setting)?, *v))).collect::<Result<Vec<_>>>()
    };
    let ranks: Vec<_> = config.rank_pattern.iter().map(|(p, r)| (p.clone(), *r as f64)).collect();
    let ranks = patterns(&ranks, "rank_pattern")?;
    let alphas = patterns(&config.alpha_pattern, "alpha_pattern")?;
    let pick =
        |entries: &[(Regex, f64)], path: &str, default: f64| entries.iter().find(|(p, _)| p.is_match(path)).map_or(default, |(_, v)| *v);
    let found: Vec<Target> = paths
        .iter()
        .enumerate()
        .filter(|(_, p)| wanted.matches(p, head) && in_layers(p) && !saved(p))
        .filter(|(_, p)| !excluded.as_ref().is_some_and(|e| e.matches(p, head)))
        .map(|(index, path)| {
            let rank = pick(&ranks, path, config.r as f64);
            let alpha = pick(&alphas, path, config.alpha);
            let scale = alpha / if config.rslora { rank.sqrt() } else { rank };
            Target { path: path.clone(), index, rank: rank as usize, scale: scale as f32 }
        })
        .collect();
    if found.is_empty() {
        return Err(ModelError::setting(SETTING, format!("no linear layer is reached; {}", there_are(&paths))));
    }
    Ok(found)
}

/// Paths of all linear layers in the order of the forward pass, the head last (tied or not).
fn linear_paths(family: &Family, slots: &[Slot]) -> Vec<String> {
    let mut paths: Vec<String> = Vec::new();
    for slot in slots.iter().filter(|s| s.layer().is_some() && s.shape.len() == 2) {
        paths.push(slot.module.clone());
    }
    paths.push(family.names.head.to_owned());
    paths
}

fn there_are(paths: &[String]) -> String {
    let leaves: BTreeSet<&str> = paths.iter().filter_map(|p| p.rsplit('.').next()).collect();
    format!("this model has {}", leaves.into_iter().collect::<Vec<_>>().join(", "))
}

/// The shortest list of endings that reaches exactly `chosen`, or the full paths if endings would reach more.
pub(crate) fn short_names(chosen: &[&str], family: &Family, slots: &[Slot]) -> Vec<String> {
    let leaf = |p: &str| p.rsplit('.').next().unwrap_or(p).to_owned();
    let leaves: BTreeSet<String> = chosen.iter().map(|p| leaf(p)).collect();
    let reached = linear_paths(family, slots).into_iter().filter(|p| leaves.contains(&leaf(p))).count();
    if reached == chosen.len() {
        leaves.into_iter().collect()
    } else {
        chosen.iter().map(|p| (*p).to_owned()).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ModelConfig;
    use crate::family::slots;
    use serde_json::json;

    fn model(kind: &str) -> ModelConfig {
        let json = json!({"model_type": kind, "vocab_size": 9, "hidden_size": 8, "intermediate_size": 8, "n_embd": 8,
            "num_hidden_layers": 3, "n_layer": 3, "n_head": 2, "num_attention_heads": 2});
        ModelConfig::from_config_json(&json, "config.json").expect("a valid configuration")
    }

    fn reached(config: &LoraConfig, kind: &str) -> Vec<String> {
        let model = model(kind);
        let found = targets(config, model.family, &slots(&model), true).expect("targets");
        found.into_iter().map(|t| t.path).collect()
    }

    #[test]
    fn all_linear_leaves_the_head_alone() {
        let paths = reached(&LoraConfig::default(), "llama");
        assert_eq!(paths.len(), 21);
        assert!(!paths.iter().any(|p| p == "lm_head"));
        assert_eq!(reached(&LoraConfig::default(), "gpt2").len(), 12);
    }

    #[test]
    fn names_are_whole_components_of_a_path() {
        let names = |n: &str| LoraConfig { targets: Targets::Names(vec![n.into()]), ..Default::default() };
        assert_eq!(reached(&names("q_proj"), "llama").len(), 3);
        assert_eq!(reached(&names("1.self_attn.q_proj"), "llama"), ["model.layers.1.self_attn.q_proj"]);
        assert_eq!(reached(&names("lm_head"), "llama"), ["lm_head"]);
        let model = model("llama");
        let why = |n: &str| targets(&names(n), model.family, &slots(&model), true).expect_err("refused").to_string();
        assert!(why("proj").contains("no linear layer is called proj; this model has down_proj, gate_proj"), "{}", why("proj"));
        assert!(why("embed_tokens").contains("modules_to_save"));
    }

    #[test]
    fn layers_exclusions_patterns_and_saved_modules() {
        let config = LoraConfig {
            targets: Targets::Names(vec!["q_proj".into(), "v_proj".into(), "up_proj".into()]),
            layers_to_transform: Some(vec![0, 2]),
            exclude: Some(Targets::Names(vec!["v_proj".into()])),
            modules_to_save: vec!["2.mlp".into()],
            rank_pattern: vec![("q_proj".into(), 2), (r"layers\.2\.self_attn\.q_proj".into(), 5)],
            alpha_pattern: vec![(r"layers\.2\..*".into(), 32.0)],
            ..Default::default()
        };
        let model = model("llama");
        let found = targets(&config, model.family, &slots(&model), true).expect("targets");
        let shown: Vec<_> = found.iter().map(|t| (t.path.as_str(), t.rank, t.scale)).collect();
        assert_eq!(
            shown,
            [
                ("model.layers.0.self_attn.q_proj", 2, 8.0),
                ("model.layers.0.mlp.up_proj", 8, 2.0),
                ("model.layers.2.self_attn.q_proj", 2, 16.0),
            ]
        );
    }

    #[test]
    fn a_pattern_must_match_the_whole_path() {
        let regex = |p: &str| LoraConfig { targets: Targets::Regex(p.into()), ..Default::default() };
        assert_eq!(reached(&regex(r".*layers\.[01]\..*\.k_proj"), "llama").len(), 2);
        let model = model("llama");
        let why = |p: &str| targets(&regex(p), model.family, &slots(&model), true).expect_err("refused").to_string();
        assert!(why("k_proj").contains("no linear layer is reached"));
        assert!(why("(").contains("the pattern \"(\" cannot be used"), "{}", why("("));
    }
}
