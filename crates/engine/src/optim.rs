//! AdamW with decoupled weight decay (Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2), as PyTorch computes it.

use crate::error::{EngineError, Result};
use crate::params::ParamStore;
use kernels::adamw::{AdamWStep, adamw_step_fused};

/// Settings of the optimizer; the learning rate comes with each step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWConfig {
    /// Decay rate of the first moment.
    pub beta1: f64,
    /// Decay rate of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled decay, applied to parameters with `decay` set.
    pub weight_decay: f64,
}

impl Default for AdamWConfig {
    /// Hugging Face's `TrainingArguments`.
    fn default() -> Self {
        AdamWConfig { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 }
    }
}

/// First and second moment of one parameter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moments {
    /// First moment, as long as the parameter.
    pub m: Vec<f32>,
    /// Second moment.
    pub v: Vec<f32>,
}

/// The optimizer: its settings, the number of steps taken, and the moments of each parameter in the store's order.
#[derive(Clone, Debug)]
pub struct AdamW {
    /// Settings.
    pub config: AdamWConfig,
    step: u64,
    moments: Vec<Moments>,
}

impl AdamW {
    /// Moments of zero for every parameter of `params`.
    pub fn new(config: AdamWConfig, params: &ParamStore) -> Self {
        let moments = params.iter().map(|(_, p)| Moments { m: vec![0.0; p.numel()], v: vec![0.0; p.numel()] }).collect();
        AdamW { config, step: 0, moments }
    }

    /// Updates every parameter from `grad_scale` times its gradient (1, or what clipping asks for) and leaves the gradients at zero,
    /// as [`ParamStore::zero_grads`] does: one pass over memory.
    ///
    /// # Panics
    /// If parameters were added since the optimizer was made.
    pub fn step(&mut self, params: &mut ParamStore, lr: f64, grad_scale: f32) {
        assert_eq!(self.moments.len(), params.len(), "the optimizer was made for other parameters");
        self.step += 1;
        let c = &self.config;
        let t = self.step as f64;
        let correction1 = 1.0 - c.beta1.powf(t);
        let correction2 = 1.0 - c.beta2.powf(t);
        for (p, moments) in params.params_mut().zip(&mut self.moments) {
            let decay = if p.decay { c.weight_decay } else { 0.0 };
            let step = AdamWStep {
                beta1: c.beta1 as f32,
                one_minus_beta1: (1.0 - c.beta1) as f32,
                beta2: c.beta2 as f32,
                one_minus_beta2: (1.0 - c.beta2) as f32,
                keep: (1.0 - lr * decay) as f32,
                step_size: (lr / correction1) as f32,
                inv_sqrt_correction2: (1.0 / correction2.sqrt()) as f32,
                eps: c.eps as f32,
            };
            adamw_step_fused(&mut p.value, &mut p.grad, &mut moments.m, &mut moments.v, &step, grad_scale);
            p.received = false;
            p.packed.renew(&p.value);
        }
    }

    /// Number of steps taken.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// Moments of each parameter, in the store's order: what a checkpoint saves beside [`Self::steps`].
    pub fn moments(&self) -> &[Moments] {
        &self.moments
    }

    /// Puts back what a checkpoint saved.
    ///
    /// # Errors
    /// If the moments do not fit the parameters.
    pub fn restore(&mut self, step: u64, moments: Vec<Moments>, params: &ParamStore) -> Result<()> {
        if moments.len() != params.len() {
            return Err(EngineError::State {
                name: "optimizer".into(),
                reason: format!("moments of {} parameters were saved, there are {}", moments.len(), params.len()),
            });
        }
        for ((_, p), s) in params.iter().zip(&moments) {
            if s.m.len() != p.numel() || s.v.len() != p.numel() {
                return Err(EngineError::State {
                    name: p.name.clone(),
                    reason: format!("saved moments have {} elements, the parameter {}", s.m.len(), p.numel()),
                });
            }
        }
        self.step = step;
        self.moments = moments;
        Ok(())
    }
}
