//! Frequencies of rotary position embeddings and their scaling methods.
//!
//! Every method answers one question: which angle per position does each rotated pair get, and by which factor are
//! cosines and sines multiplied. Formulas follow `transformers/modeling_rope_utils.py`, rounded to f32 where it rounds,
//! because position times frequency amplifies the last bit of a frequency by the position.

use engine::{RopeLayout, RopeTable};
use std::sync::{Arc, Mutex};

/// A context-extension method.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// Plain RoPE (Su et al. 2021, arXiv:2104.09864).
    None,
    /// Positions divided by `factor` (Chen et al. 2023, arXiv:2306.15595).
    Linear {
        /// Divisor of the positions.
        factor: f64,
    },
    /// Dynamic NTK: beyond the trained context the base grows with the sequence.
    Dynamic {
        /// Strength of the growth.
        factor: f64,
    },
    /// YaRN (Peng et al. 2023, arXiv:2309.00071): slow pairs interpolated, fast pairs kept, a ramp between.
    Yarn {
        /// Context extension.
        factor: f64,
        /// Trained context.
        original: usize,
        /// Multiplies cosines and sines; from `factor` if absent.
        attention_factor: Option<f64>,
        /// Rotations above which a pair is kept.
        beta_fast: f64,
        /// Rotations below which a pair is interpolated.
        beta_slow: f64,
        /// DeepSeek's numerator of the attention factor.
        mscale: Option<f64>,
        /// DeepSeek's denominator of the attention factor.
        mscale_all_dim: Option<f64>,
        /// Round the ramp's ends to whole dimensions.
        truncate: bool,
    },
    /// Llama 3.1: long waves divided by `factor`, short ones kept, the middle blended.
    Llama3 {
        /// Divisor for long waves.
        factor: f64,
        /// Waves longer than `original / low` are divided.
        low: f64,
        /// Waves shorter than `original / high` are kept.
        high: f64,
        /// Trained context.
        original: usize,
    },
    /// LongRoPE (Ding et al. 2024, arXiv:2402.13753): one divisor for each pair, two sets of them.
    LongRope {
        /// Divisors up to the trained context.
        short: Vec<f64>,
        /// Divisors beyond it.
        long: Vec<f64>,
        /// Trained context.
        original: usize,
        /// Multiplies cosines and sines.
        attention_factor: f64,
    },
}

/// Rotary embeddings of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeConfig {
    /// Base of the geometric series of frequencies.
    pub theta: f64,
    /// Leading elements of each head that are rotated (`head_dim` unless the family rotates a part).
    pub rotary_dims: usize,
    /// Context extension.
    pub scaling: RopeScaling,
    /// The configured context length (`max_position_embeddings`), which some methods refer to.
    pub max_positions: usize,
}

impl RopeConfig {
    /// `(radians per position of each pair, attention factor)` for sequences of which the longest has `longest` tokens.
    pub fn frequencies(&self, longest: usize) -> (Vec<f32>, f32) {
        let dims = self.rotary_dims;
        // f32 where the reference is f32: exponent, power, reciprocal
        let power = |base: f64, i: usize| (base.powf(((2 * i) as f32 / dims as f32) as f64)) as f32;
        let plain = |base: f64| (0..dims / 2).map(move |i| 1.0 / power(base, i));
        match &self.scaling {
            RopeScaling::None => (plain(self.theta).collect(), 1.0),
            RopeScaling::Linear { factor } => (plain(self.theta).map(|f| f / *factor as f32).collect(), 1.0),
            RopeScaling::Dynamic { factor } => {
                let max = self.max_positions as f64;
                let seen = (longest as f64).max(max);
                let exponent = dims as f64 / (dims as f64 - 2.0);
                let base = self.theta * ((factor * seen / max) - (factor - 1.0)).powf(exponent);
                (plain(base).collect(), 1.0)
            }
            RopeScaling::Yarn { factor, original, attention_factor, beta_fast, beta_slow, mscale, mscale_all_dim, truncate } => {
                let attention = attention_factor.unwrap_or_else(|| match (mscale, mscale_all_dim) {
                    (Some(m), Some(all)) if *m != 0.0 && *all != 0.0 => yarn_mscale(*factor, *m) / yarn_mscale(*factor, *all),
                    _ => yarn_mscale(*factor, 1.0),
                });
                // the pair that turns `rotations` times within the trained context
                let pair =
                    |rotations: f64| dims as f64 * (*original as f64 / (rotations * std::f64::consts::TAU)).ln() / (2.0 * self.theta.ln());
                let (mut low, mut high) = (pair(*beta_fast), pair(*beta_slow));
                if *truncate {
                    (low, high) = (low.floor(), high.ceil());
                }
                let (low, mut high) = (low.max(0.0), high.min(dims as f64 - 1.0));
                if low == high {
                    high += 0.001;
                }
                let frequencies = (0..dims / 2)
                    .map(|i| {
                        let interpolate = ((i as f64 - low) / (high - low)).clamp(0.0, 1.0) as f32;
                        let keep = 1.0 - interpolate;
                        let power = power(self.theta, i);
                        1.0 / (*factor as f32 * power) * (1.0 - keep) + 1.0 / power * keep
                    })
                    .collect();
                (frequencies, attention as f32)
            }
            RopeScaling::Llama3 { factor, low, high, original } => {
                let original = *original as f64;
                let frequencies = plain(self.theta)
                    .map(|f| {
                        let wave = std::f64::consts::TAU / f as f64;
                        if wave < original / high {
                            f
                        } else if wave > original / low {
                            f / *factor as f32
                        } else {
                            let smooth = (original / wave - low) / (high - low);
                            ((1.0 - smooth) * f as f64 / factor + smooth * f as f64) as f32
                        }
                    })
                    .collect();
                (frequencies, 1.0)
            }
            RopeScaling::LongRope { short, long, original, attention_factor } => {
                let factors = if longest > *original { long } else { short };
                let frequencies = factors.iter().enumerate().map(|(i, f)| 1.0 / (*f as f32 * power(self.theta, i))).collect();
                (frequencies, *attention_factor as f32)
            }
        }
    }

    /// Two lengths with the same key have the same frequencies: 0 unless the method looks at the length.
    pub(crate) fn length_class(&self, longest: usize) -> usize {
        match &self.scaling {
            RopeScaling::Dynamic { .. } if longest > self.max_positions => longest,
            RopeScaling::LongRope { original, .. } => (longest > *original) as usize,
            _ => 0,
        }
    }
}

fn yarn_mscale(scale: f64, mscale: f64) -> f64 {
    if scale <= 1.0 { 1.0 } else { 0.1 * mscale * scale.ln() + 1.0 }
}

/// Hands out the table for a forward pass and keeps the last one: building a row costs a cosine for each pair.
///
/// Dynamic NTK and LongRoPE choose their frequencies by the longest sequence of a *batch*, as transformers does.
#[derive(Debug)]
pub struct RopeTables {
    config: RopeConfig,
    last: Mutex<Option<(usize, Arc<RopeTable>)>>,
}

impl RopeTables {
    /// Tables for `config`.
    pub fn new(config: RopeConfig) -> Self {
        RopeTables { config, last: Mutex::new(None) }
    }

    /// The configuration.
    pub fn config(&self) -> &RopeConfig {
        &self.config
    }

    /// The table for sequences of which the longest has `longest` tokens (what came before counted).
    pub fn table(&self, longest: usize) -> Arc<RopeTable> {
        let class = self.config.length_class(longest);
        // a poisoned lock only means that another thread died while it held a table; the table is whole
        let mut last = self.last.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match &*last {
            Some((key, table)) if *key == class && table.max_positions() >= longest => table.clone(),
            _ => {
                let (frequencies, attention_factor) = self.config.frequencies(longest);
                let positions = longest.max(self.config.max_positions).next_power_of_two();
                let table = Arc::new(RopeTable::new(frequencies, positions, attention_factor, RopeLayout::Half));
                *last = Some((class, table.clone()));
                table
            }
        }
    }
}
