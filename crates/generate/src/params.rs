//! The settings of a generation: names, defaults and ranges as Hugging Face's `GenerationConfig` has them.

use crate::GenerateError;
use serde::{Deserialize, Serialize};

/// How the next token is chosen and when generation ends.
///
/// Applied in Hugging Face's order: repetition penalty, temperature, top-k, top-p, min-p.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplingParams {
    /// Divides the logits; 0 takes the most likely token always (greedy). Default 0.
    pub temperature: f32,
    /// Nucleus sampling: the fewest most likely tokens whose probabilities reach this sum; 1 keeps all. Default 1.
    /// (Holtzman et al., 2020, "The Curious Case of Neural Text Degeneration".)
    pub top_p: f32,
    /// Keeps this many most likely tokens; 0 keeps all. Default 0.
    pub top_k: usize,
    /// Keeps tokens at least this fraction as likely as the most likely one; 0 keeps all. Default 0.
    pub min_p: f32,
    /// Above 1 makes tokens that already occurred (prompt included) less likely; 1 does nothing. Default 1.
    /// (Keskar et al., 2019, "CTRL", section 4.1.)
    pub repetition_penalty: f32,
    /// Seed of the random numbers. Same seed, same model, same prompt: same text. Default 42.
    pub seed: u64,
    /// Ends after this many new tokens. Default 256.
    pub max_new_tokens: usize,
    /// Generation ends before the first of these strings that appears; the string itself is not part of the text.
    pub stop: Vec<String>,
}

impl Default for SamplingParams {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            seed: 42,
            max_new_tokens: 256,
            stop: Vec::new(),
        }
    }
}

impl SamplingParams {
    /// True if no random number is drawn.
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0
    }

    /// Checks every range; the error names the setting.
    pub fn validate(&self) -> Result<(), GenerateError> {
        let check = |ok: bool, name, value: &dyn std::fmt::Display, must| {
            if ok { Ok(()) } else { Err(GenerateError::Setting { name, value: value.to_string(), must }) }
        };
        let finite_at_least = |v: f32, low: f32| v.is_finite() && v >= low;
        check(finite_at_least(self.temperature, 0.0), "temperature", &self.temperature, "0 (greedy) or above")?;
        check(self.top_p > 0.0 && self.top_p <= 1.0, "top_p", &self.top_p, "above 0 and at most 1")?;
        check((0.0..=1.0).contains(&self.min_p), "min_p", &self.min_p, "from 0 to 1")?;
        check(
            self.repetition_penalty.is_finite() && self.repetition_penalty > 0.0,
            "repetition_penalty",
            &self.repetition_penalty,
            "above 0 (1 does nothing)",
        )?;
        check(self.max_new_tokens > 0, "max_new_tokens", &self.max_new_tokens, "at least 1")?;
        check(self.stop.iter().all(|s| !s.is_empty()), "stop", &"\"\"", "non-empty strings")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_greedy() {
        let p = SamplingParams::default();
        p.validate().unwrap();
        assert!(p.is_greedy());
    }

    #[test]
    fn every_bad_setting_is_named() {
        let bad = |f: fn(&mut SamplingParams)| {
            let mut p = SamplingParams::default();
            f(&mut p);
            p.validate().unwrap_err().to_string()
        };
        assert!(bad(|p| p.temperature = -0.1).contains("temperature is -0.1"));
        assert!(bad(|p| p.temperature = f32::NAN).contains("temperature"));
        assert!(bad(|p| p.top_p = 0.0).contains("top_p"));
        assert!(bad(|p| p.top_p = 1.5).contains("top_p"));
        assert!(bad(|p| p.top_p = f32::NAN).contains("top_p"));
        assert!(bad(|p| p.min_p = 2.0).contains("min_p"));
        assert!(bad(|p| p.repetition_penalty = 0.0).contains("repetition_penalty"));
        assert!(bad(|p| p.max_new_tokens = 0).contains("max_new_tokens"));
        assert!(bad(|p| p.stop = vec![String::new()]).contains("stop"));
    }
}
