//! What training of word and document vectors shares: workers that take texts in turn, and a rate that falls with the words done.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::error::{Result, VectorizeError};

/// Words that a worker takes at a time.
const CHUNK: usize = 10_000;

/// The schedule of a training.
#[derive(Clone, Copy)]
pub(super) struct Schedule {
    pub epochs: usize,
    pub alpha: f32,
    pub min_alpha: f32,
    pub workers: usize,
}

impl Schedule {
    pub fn check(&self) -> Result<()> {
        let fine = self.alpha.is_finite() && self.alpha > 0.0 && self.min_alpha >= 0.0 && self.min_alpha <= self.alpha;
        if !fine {
            return Err(VectorizeError::setting("alpha", format!("{} falling to {} is no learning rate", self.alpha, self.min_alpha)));
        }
        if self.epochs == 0 {
            return Err(VectorizeError::setting("epochs", "are at least 1"));
        }
        if self.workers == 0 || self.workers > 1024 {
            return Err(VectorizeError::setting("workers", "are between 1 and 1024"));
        }
        Ok(())
    }

    /// Runs `work(epoch, texts, rate, worker's state)` over all texts, `epochs` times. Ranges of texts are handed out in order; one
    /// worker therefore sees them in order. `step` hears of words done and may end the work.
    pub fn run<S: Send>(
        &self,
        ends: &[usize],
        state: impl Fn(usize) -> S + Sync,
        work: impl Fn(u64, std::ops::Range<usize>, f32, &mut S) + Sync,
        step: &mut (dyn FnMut(u64) -> bool + Send),
    ) -> Result<()> {
        let mut ranges = Vec::new();
        let (mut first, mut start) = (0, 0);
        for (i, &end) in ends.iter().enumerate() {
            if end - start >= CHUNK || i + 1 == ends.len() {
                ranges.push((first..i + 1, (end - start) as u64));
                (first, start) = (i + 1, end);
            }
        }
        let all = ends.last().copied().unwrap_or(0) as f64 * self.epochs as f64;
        let done = AtomicU64::new(0);
        let stop = AtomicBool::new(false);
        let step = std::sync::Mutex::new(step);
        let mut states: Vec<S> = (0..self.workers).map(state).collect();
        for epoch in 0..self.epochs as u64 {
            let next = AtomicUsize::new(0);
            let one = |state: &mut S| {
                while let Some((texts, words)) = ranges.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let share = done.load(Ordering::Relaxed) as f64 / all.max(1.0);
                    let rate = (f64::from(self.alpha) - f64::from(self.alpha - self.min_alpha) * share) as f32;
                    work(epoch, texts.clone(), rate.max(self.min_alpha), state);
                    done.fetch_add(*words, Ordering::Relaxed);
                    if let Ok(mut step) = step.lock()
                        && !step(*words)
                    {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            };
            if let [state] = &mut states[..] {
                one(state);
            } else {
                // Threads of their own: a worker waits for nobody, and the number asked for is the number there is.
                std::thread::scope(|scope| {
                    states.iter_mut().for_each(|state| {
                        scope.spawn(|| one(state));
                    });
                });
            }
            if stop.load(Ordering::Relaxed) {
                return Err(VectorizeError::Stopped);
            }
        }
        Ok(())
    }
}
